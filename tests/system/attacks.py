"""attacks.py - what tests need that run the scripts of tests/attacks through the daemon."""
import glob
import json
import os
import re
import socket
import threading

import harness
from harness import check, docker, equal

ATTACKS = os.path.join(harness.ROOT, 'tests/attacks')
IMAGE = 'listener-sandbox:latest'


def attack(name):
    """The text of an attack, with what goes before it."""
    return ''.join(open('%s/%s.py' % (ATTACKS, part)).read() for part in ('attack', name))


def result_of(text):
    """(attempts, how many got through, the lines that say what) of what an attack printed."""
    last = re.search(r'^attempts=(\d+) through=(\d+)$', text, re.MULTILINE)
    check(last, 'the attack did not come to its end: ' + text[-2000:])
    return int(last.group(1)), int(last.group(2)), re.findall('^THROUGH: .*', text, re.MULTILINE)


class Echoes:
    """Somebody who listens on many ports of this host, TCP and UDP, and answers, so that a refusal
    means the wall."""

    def __init__(self, t, count=100):
        self.sockets, self.stop = [], False
        self.tcp, self.udp = [], []
        for kind, ports in ((socket.SOCK_STREAM, self.tcp), (socket.SOCK_DGRAM, self.udp)):
            for _ in range(count if kind == socket.SOCK_STREAM else 5):
                s = socket.socket(socket.AF_INET, kind)
                s.bind(('0.0.0.0', 0))
                if kind == socket.SOCK_STREAM:
                    s.listen(8)
                else:
                    threading.Thread(target=self.answer, args=(s,), daemon=True).start()
                self.sockets.append(s)
                ports.append(s.getsockname()[1])
        t.stack.callback(self.close)

    def answer(self, s):
        while not self.stop:
            try:
                data, peer = s.recvfrom(2000)
                s.sendto(data, peer)
            except OSError:
                return

    def close(self):
        self.stop = True
        for s in self.sockets:
            s.close()


def payload(echoes, more=None):
    return json.dumps(
        dict({'hosts': [], 'tcp': echoes.tcp, 'udp': echoes.udp, 'listen': True}, **(more or {}))
    ).encode()


def neighbour(t, network):
    """A container in the sandboxes' own network that listens. Its address."""
    script = 'import socket,time\nfor p in (80,22,9999):\n    s=socket.socket(); s.bind(("",p)); s.listen(9); globals()["s%d"%p]=s\ntime.sleep(600)'
    name = 'lsn-test-neighbour-%d-%d' % (os.getpid(), t.count())
    docker('run', '-d', '--rm', '--name', name, '--network', network, '--entrypoint', 'python3', IMAGE, '-c', script)
    t.stack.callback(lambda: docker('rm', '-f', name, check_status=False))
    return docker('inspect', '-f', '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}', name).strip()


def names():
    """The attacks that are scripts of their own."""
    found = sorted(os.path.basename(p)[:-3] for p in glob.glob(ATTACKS + '/*.py'))
    return [name for name in found if name not in ('attack', 'hostile_init')]


def run(t, broker, daemon):
    """Every attack through DAEMON; what got through, as "SCRIPT: THROUGH: WHAT", and how much was
    tried."""
    echoes = Echoes(t)
    network = t.wait(
        lambda: docker(
            'network', 'ls', '--filter', 'label=org.indigo.listener=' + daemon.identity, '--format', '{{.Name}}'
        ).strip(),
        'the network of the sandboxes',
    )
    host = neighbour(t, network)
    # only what looks for leftovers must come one after the other
    published = 0
    for name in sorted(names(), key=lambda name: name == 'leftovers'):
        daemon.script(name + '.py', attack(name), topic='create/resource/%s/#' % name, output='capture', timeout='4min')
        message = payload(echoes, {'neighbours': [host], 'neighbour_tcp': [9999]} if name == 'network' else None)
        for number in range(3 if name == 'leftovers' else 1):
            broker.publish('create/resource/%s/%d' % (name, number), message)
            published += 1
            if name == 'leftovers':
                daemon.wait_jobs(published, 300)
    through, tried = [], 0
    for job in daemon.wait_jobs(published, 300):
        equal(job['outcome'], 'success', '%s: %s' % (job['script'], job['message']))
        attempts, count, what = result_of(daemon.output(job['id']).decode(errors='replace'))
        check(attempts >= 40, '%s made %d attempts only' % (job['script'], attempts))
        print('     %s: %d attempts, %d through' % (job['script'], attempts, count), flush=True)
        tried += attempts
        through += ['%s: %s' % (job['script'], line) for line in what]
    return through, tried
