"""The image of the sandboxes: what was added to it is listed, what somebody chose stays, what is
missing is named with the step that mends it."""
import os
import subprocess

import harness
from harness import check, docker, equal

TOOL = os.path.join(harness.ROOT, 'tools/build-image')


def chosen_image(t, **labels):
    """An image as build-image makes it, but for its labels."""
    tag = 'listener-test:%d-%d' % (os.getpid(), t.count())
    container = docker('create', '--network', 'none', 'listener-sandbox:latest').strip()
    t.stack.callback(docker, 'rm', '-f', container)
    changes = [word for key, value in labels.items() for word in ('--change', 'LABEL listener.%s="%s"' % (key, value))]
    docker('commit', *changes, container, tag)
    t.stack.callback(docker, 'rmi', '-f', tag)
    return tag


def build_image(*words, **environment):
    done = subprocess.run(
        [TOOL, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=dict(dict(os.environ, DOCKER_HOST='unix://' + harness.DOCKER_SOCKET), **environment),
    )
    return done.returncode, done.stdout


def details(daemon):
    return {row['name']: row for row in daemon.ctl('executors')}['docker-sandbox']['details']


def test_added_libraries_are_listed(t):
    broker = t.broker()
    daemon = t.listener(broker, docker={'image': chosen_image(t, libraries='python3-numpy python3-lxml')}).start()
    t.wait(lambda: details(daemon).get('libraries'), 'the libraries', 30)
    equal(details(daemon)['libraries'], 'python3-numpy python3-lxml')


def test_a_chosen_image_stays(t):
    tag = chosen_image(t, recipe='debian-0123456789abcdef-0123456789abcdef')
    equal(build_image('--if-missing', '--tag', tag), (0, ''))
    kept = docker('image', 'inspect', '--format', '{{index .Config.Labels "listener.recipe"}}', tag).strip()
    equal(kept, 'debian-0123456789abcdef-0123456789abcdef')


WRONG = [
    (['--with', 'no such'], 'not the name of a Debian package: "no such"'),
    (['--with', '$(reboot)'], 'not the name of a Debian package: "$(reboot)"'),
    (['--from-registry', '--with', 'python3-numpy'], '--requirements FILE'),
    (['--requirements', '/dev/null'], '--with PACKAGE'),
    (['--from-registry', '--requirements', '/no/such/file'], 'cannot read /no/such/file'),
    (['--from-debian', 'nosuchrelease'], 'got no Debian release "nosuchrelease" from the mirror'),
]


def test_what_cannot_be_is_refused(t):
    for words, wanted in WRONG:
        status, text = build_image('--tag', 'listener-test:never', *words)
        check(status == 1 and wanted in text, '%s: status %d: %s' % (words, status, text))


def test_a_missing_engine_is_named_with_its_command(t):
    """The machine's own engine, and one that DOCKER_HOST names."""
    status, text = build_image(DOCKER_HOST='unix:///no/such/socket')
    check(status == 1 and 'answers at DOCKER_HOST=unix:///no/such/socket' in text, text)
    empty = dict(os.environ, HOME=t.folder, PATH='/usr/bin:/bin')
    empty.pop('DOCKER_HOST')
    # In a mount namespace without the engine's socket.
    hidden = ['unshare', '--mount', 'sh', '-c', 'mount -t tmpfs tmpfs /run && exec ' + TOOL]
    done = subprocess.run(
        hidden, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=empty
    )
    check(done.returncode == 1 and 'systemctl start docker' in done.stdout, done.stdout)


if __name__ == '__main__':
    harness.main()
