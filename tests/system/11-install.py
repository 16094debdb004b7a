"""make: what is installed is built for where it goes, in whatever order it was asked for; what an
administrator changed stays; uninstall takes the rest away. In a copy of the tree."""
import glob
import os
import shutil
import subprocess

import debian
import harness
from harness import check, equal

PARTS = [
    'Makefile',
    'CHANGELOG.md',
    'README.md',
    'LICENSE',
    'SECURITY.md',
    'mk',
    'lib',
    'core',
    'include',
    'sandbox',
    'executors',
    'tools',
    'conf.d',
    'docs',
    'web',
]


def copy_tree(t):
    """The sources with what is built of them, times included: only what must be is compiled
    again."""
    tree = os.path.join(t.folder, 'tree')
    os.makedirs(tree + '/build')
    parts = [os.path.join(harness.ROOT, part) for part in PARTS]
    built = [
        os.path.join(harness.ROOT, 'build', part)
        for part in PARTS + ['libexec', 'listenerd', 'listenerctl', 'listener-web']
    ]
    subprocess.run(['cp', '-a', *parts, tree], check=True)
    subprocess.run(['cp', '-a', *filter(os.path.exists, built), tree + '/build'], check=True)
    return tree


def make(tree, *words, status=0):
    environment = {
        key: value
        for key, value in os.environ.items()
        if key not in ('MAKEFLAGS', 'MFLAGS', 'MAKELEVEL', 'SANITIZE', 'PREFIX', 'DESTDIR')
    }
    done = subprocess.run(
        ['make', '-C', tree, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )
    equal(done.returncode, status, 'make %s, which says: %s; status' % (' '.join(words), done.stdout[-3000:]))
    return done.stdout


def files(folder):
    return sorted(
        os.path.relpath(path, folder) for path in glob.glob(folder + '/**', recursive=True) if not os.path.isdir(path)
    )


def configuration_of(program):
    text = subprocess.run([program, '--help'], stdout=subprocess.PIPE, text=True, check=True).stdout
    return text.split('default: ', 1)[1].split(')', 1)[0]


def test_built_for_where_it_goes(t):
    tree, stage = copy_tree(t), os.path.join(t.folder, 'stage')
    make(tree, 'all')
    equal(configuration_of(tree + '/build/listenerd'), '/usr/local/etc/listenerd/listenerd.ini')
    make(tree, 'install', 'PREFIX=/usr', 'DESTDIR=' + stage)
    equal(configuration_of(stage + '/usr/sbin/listenerd'), '/etc/listenerd/listenerd.ini')
    make(tree, 'install', 'DESTDIR=' + stage)
    equal(configuration_of(stage + '/usr/local/sbin/listenerd'), '/usr/local/etc/listenerd/listenerd.ini')
    equal(make(tree, 'all', 'V=1').count(' -c '), 0, 'files compiled although nothing changed')
    unit = open(stage + '/usr/lib/systemd/system/listenerd.service').read()
    for name in ('service', 'socket'):
        text = open(stage + '/usr/lib/systemd/system/listener-web.' + name).read()
        check('@S' not in text, text)
    check('ExecStart=/usr/sbin/listenerd -c /etc/listenerd/listenerd.ini\n' in unit and '@S' not in unit, unit)


def test_second_install_and_uninstall(t):
    tree, stage = copy_tree(t), os.path.join(t.folder, 'stage')
    there = ['PREFIX=/usr', 'DESTDIR=' + stage]
    make(tree, 'install', *there)
    first = files(stage)
    for name in (
        'usr/include/listener/executor.h',
        'usr/lib/listenerd/debian-sources',
        'usr/lib/systemd/system/listener-web.socket',
        'usr/sbin/listener-web',
        'usr/lib/listenerd/libexec/portwall',
        'usr/lib/listenerd/executors/docker-sandbox.so',
        'usr/share/man/man8/listenerd.8',
        'usr/share/bash-completion/completions/listenerctl',
        'usr/share/zsh/vendor-completions/_listenerctl',
        'usr/share/man/man7/listener-script.7',
        'usr/share/man/man3/listener-executor.3',
        'etc/listenerd/listenerd.ini',
    ):
        check(name in first, '%s is not installed' % name)
    make(tree, 'install', *there)
    equal(files(stage), first, 'what a second install leaves')
    ini = stage + '/etc/listenerd/listenerd.ini'
    with open(ini, 'a') as f:
        f.write('[listener]\nlog_level = debug\n')
    kept = open(ini).read()
    make(tree, 'install', *there)
    equal(
        files(stage),
        sorted(first + ['etc/listenerd/listenerd.ini.new']),
        'what an install leaves beside a changed file',
    )
    equal(open(ini).read(), kept, 'the changed file')
    make(tree, 'uninstall', *there)
    equal(files(stage), [name for name in first if name.startswith('etc/')], 'what uninstall leaves')


def test_deps_goes_first_in_any_order(t):
    """With nothing missing and no package tool that could do anything: only the order is looked
    at."""
    tree = copy_tree(t)
    with open(tree + '/tools/deps', 'w') as f:
        f.write('#!/bin/sh\necho deps ran >>%s/order\n' % t.folder)
    with open(tree + '/Makefile', 'a') as f:
        f.write(
            'ifeq ($(filter deps,$(MAKECMDGOALS)),)\nnote one:\n\t@echo $@ in a make without deps >>%s/order\nendif\n'
            % t.folder
        )
    for goals in (['deps', 'note', 'one'], ['note', 'deps', 'one'], ['-j4', 'note', 'one', 'deps']):
        make(tree, *goals)
        first, *others = open(t.folder + '/order').read().splitlines()
        equal(first, 'deps ran', ' '.join(goals))
        equal(sorted(others), ['note in a make without deps', 'one in a make without deps'], ' '.join(goals))
        os.unlink(t.folder + '/order')


def test_missing_libraries_are_named(t):
    tree = copy_tree(t)
    empty = os.path.join(t.folder, 'empty')
    os.mkdir(empty)
    text = make(tree, 'all', 'PKG_CONFIG_LIBDIR=' + empty, status=2)
    check('libmosquitto' in text and 'make deps installs them' in text, text)


def test_packages_bring_no_other_servers(t):
    """Nothing of what tests need runs on the machine itself."""
    for words in ([], ['--tests'], ['--tests', '--vm', '--lint', '--bench']):
        listed = subprocess.run(
            [harness.ROOT + '/tools/deps', '--list', *words], stdout=subprocess.PIPE, text=True, check=True
        ).stdout.split()
        check({'gcc', 'mosquitto', 'docker.io'} <= set(listed), listed)
        servers = {
            name
            for name in listed
            for server in ('nginx', 'ftpd', 'openssh-server', 'exim', 'rabbitmq', 'nats', 'slurm')
            if server in name
        }
        equal(servers, set(), 'servers among the packages')
    check(shutil.which('make'), 'no make')


# The list of packages is cut down to one that brings a service.
SWITCHED_OFF = r'''set -e
rm -f /usr/sbin/policy-rc.d
apt-get -qy purge mosquitto >/dev/null 2>&1
enabled() { find /etc/systemd/system -path '*.wants/*' | sort; }
enabled >/tmp/before
sed 's/^wanted=.* list=/wanted=mosquitto list=/' $1/tools/deps >/tmp/deps
sh /tmp/deps >&2
dpkg-query -W -f '${db:Status-Status}\n' mosquitto
enabled | diff /tmp/before - || true
ls /usr/sbin/policy-rc.d 2>/dev/null || true
'''


def test_what_packages_bring_starts_at_no_boot(t):
    """Real packages in a throw-away root. That nothing runs meanwhile is seen where systemd is:
    make check-vm."""
    script = SWITCHED_OFF.replace('/tmp/', t.folder + '/')
    for suite in ('bookworm', 'trixie'):
        debian.install('mosquitto', suite=suite)
        done = subprocess.run(
            debian.command('sh', '-c', script, 'sh', harness.ROOT, suite=suite),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        equal((done.returncode, done.stdout), (0, 'installed\n'), '%s; deps says %s' % (suite, done.stderr))


if __name__ == '__main__':
    harness.main()
