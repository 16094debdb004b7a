"""Servers for tests come from a root below build/, not from the machine: tools/test-root,
tools/debian-sources."""
import os
import shutil
import subprocess
import tempfile

import debian
import harness
from harness import check, equal

RELEASES = ('bookworm', 'trixie')


def say(command, **options):
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options
    )
    return done.returncode, done.stdout


def printed(command, **options):
    status, text = say(command, **options)
    equal(status, 0, '%s, which says: %s; status' % (' '.join(command), text))
    return text


def machine_packages():
    return printed(['dpkg-query', '-W', '-f', '${Package} ${Version} ${db:Status-Status}\n'])


def test_a_server_of_each_release(t):
    before = machine_packages()
    for suite, version in zip(RELEASES, ('2.0.11', '2.0.21')):
        root = debian.install('mosquitto', suite=suite)
        port, log = harness.free_port(), os.path.join(t.folder, suite + '.log')
        with open(log, 'wb') as f:
            server = t.process(
                *debian.command('mosquitto', '-v', '-p', str(port), suite=suite),
                stdin=subprocess.DEVNULL,
                stdout=f,
                stderr=subprocess.STDOUT
            )
        t.wait(
            lambda: 'running' in open(log).read(),
            lambda: 'mosquitto of %s; it says: %s' % (suite, open(log).read()),
            30,
        )
        check('mosquitto version %s ' % version in open(log).read(), 'another version runs: ' + open(log).read())
        with open('/proc/%d/comm' % server.pid) as f:
            equal(f.read(), 'mosquitto\n', 'the program of the process that was started')
        equal(harness.end_process(server), 0, 'status of mosquitto')
        check(root.startswith(harness.ROOT + '/build/'), 'the root is at ' + root)
    equal(machine_packages(), before, 'what is installed on the machine')


def test_what_a_program_writes_is_gone_with_it(t):
    root = debian.install('mosquitto')
    inside = os.path.join(t.folder, 'seen')
    printed(
        debian.command(
            'sh',
            '-c',
            'echo 1 >/etc/mosquitto/written; echo 1 >/run/written; ls /etc/mosquitto/written /run/written >' + inside,
        )
    )
    equal(open(inside).read(), '/etc/mosquitto/written\n/run/written\n', 'what the program saw of its own')
    check(
        not os.path.exists(root + '/etc/mosquitto/written') and not os.path.exists('/run/written'),
        'what the program wrote stayed',
    )
    with open('/proc/self/mounts') as f:
        check('test-root' not in f.read(), 'a mount stayed')


def test_a_program_sees_the_paths_it_is_lent(t):
    debian.install('mosquitto')
    lent = tempfile.mkdtemp(prefix='listener-test.', dir='/run')
    t.stack.callback(shutil.rmtree, lent)
    with open(lent + '/file', 'w') as f:
        f.write('lent\n')
    equal(printed(debian.command('cat', lent + '/file', paths=[lent])), 'lent\n')
    equal(printed(debian.command('cat', lent + '/file', paths=[lent + '/file'])), 'lent\n')
    equal(say(debian.command('cat', lent + '/file'))[0], 1, 'status without the path')


def test_a_second_program_joins_the_first(t):
    debian.install('mosquitto')
    first = t.process(
        *debian.command('sh', '-c', 'echo here >/etc/note; echo ready; exec sleep 600'),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE
    )
    equal(first.stdout.readline(), b'ready\n')
    equal(printed(['nsenter', '-t', str(first.pid), '-m', '-r', '-w', 'cat', '/etc/note']), 'here\n')


def test_nothing_is_fetched_twice(t):
    debian.install('mosquitto')
    # A network of its own, without any interface: whoever asks for the mirror fails.
    text = printed(['unshare', '-n', debian.TOOL, 'install', 'mosquitto'])
    check(text.strip().endswith('/build/test-root/' + os.path.basename(text.strip())), text)


def test_a_package_that_is_not_there_is_named(t):
    debian.install('mosquitto')
    status, text = say([debian.TOOL, 'install', 'mosquitto', 'no-such-package'])
    check(status == 1 and 'no-such-package' in text, 'status %d: %s' % (status, text))
    status, text = say([debian.TOOL, '-s', '../etc', 'install', 'mosquitto'])
    check(status == 1 and 'not a Debian release: "../etc"' in text, 'status %d: %s' % (status, text))
    status, text = say([debian.TOOL, '-s', 'nosuch', 'run', 'true'])
    check(status == 1 and 'no root of Debian nosuch yet' in text, 'status %d: %s' % (status, text))


def test_sources_are_the_machines_mirrors(t):
    tool = os.path.join(harness.ROOT, 'tools/debian-sources')
    for suite in RELEASES:
        lines = printed([tool, suite]).splitlines()
        kinds = {line.split()[2] for line in lines}
        check({suite, suite + '-updates', suite + '-security'} >= kinds >= {suite}, '%s: %s' % (suite, lines))
        check(all(line.split()[::3] == ['deb', 'main'] for line in lines), lines)
    mirror = dict(os.environ, LISTENER_DEBIAN_MIRROR='http://mirror.invalid/debian')
    equal(printed([tool], env=mirror).split()[1], 'http://mirror.invalid/debian')
    check(shutil.which('mmdebstrap'), 'no mmdebstrap; tools/deps installs it')


if __name__ == '__main__':
    harness.main()
