"""Every script of tests/attacks through the daemon, with both kinds of reuse, where nothing gets
through; and in an ordinary container, where something does."""
import glob
import json
import os
import re
import shutil
import socket
import subprocess
import threading

import harness
from harness import check, docker, equal

ATTACKS = os.path.join(harness.ROOT, 'tests/attacks')
IMAGE = 'listener-sandbox:latest'
LIMITS = {'timeout': '4min', 'timeout_max': '4min', 'memory_max': '256M'}


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


# What Landlock alone refuses: a script's own files in /proc, bytes for the kernel's randomness, a
# listening socket that nobody can reach, our programs, which hold no secret. See docs/security.md.
HELD_BY_LANDLOCK = re.compile(
    r'(open for writing|truncate).* /proc/(self|\d+)/|(open for writing).* /dev/u?random$|listen for others$|read /listener/'
)


def without_landlock(t):
    """A folder of programs whose seccomp list has no Landlock, as if the kernel had none."""
    folder = os.path.join(t.folder, 'libexec')
    shutil.copytree(harness.BUILD + '/libexec', folder)
    os.chmod(folder, 0o755)
    with open(folder + '/seccomp.json') as f:
        profile = json.load(f)
    for entry in profile['syscalls']:
        entry['names'] = [name for name in entry['names'] if not name.startswith('landlock_')]
    with open(folder + '/seccomp.json', 'w') as f:
        json.dump(profile, f)
    return folder


def start(t, reuse, landlock, **docker_options):
    broker = t.broker()
    ini = {'limits': dict(LIMITS, on_lost_allowed='yes')}
    if not landlock:
        ini['listener'] = {'libexec_dir': without_landlock(t)}
    return broker, t.listener(broker, docker=dict(docker_options, reuse=reuse, pool_max=4), ini=ini).start()


def check_landlock(daemon, wanted):
    """The test is about what its name says."""
    details = next(row['details'] for row in daemon.ctl('executors') if row['name'] == 'docker-sandbox')
    if wanted and details['landlock_abi'] == '0':
        print('     this kernel has no Landlock', flush=True)
    check(wanted or details['landlock_abi'] == '0', 'Landlock is there: ABI ' + details['landlock_abi'])


def run_all(t, reuse, landlock=True):
    broker, daemon = start(t, reuse, landlock)
    echoes = Echoes(t)
    network = t.wait(
        lambda: docker(
            'network', 'ls', '--filter', 'label=org.indigo.listener=' + daemon.identity, '--format', '{{.Name}}'
        ).strip(),
        'the network of the sandboxes',
    )
    host = neighbour(t, network)
    names = sorted(
        os.path.basename(p)[:-3]
        for p in glob.glob(ATTACKS + '/*.py')
        if os.path.basename(p) not in ('attack.py', 'hostile_init.py')
    )
    for name in names:
        daemon.script(name + '.py', attack(name), topic='create/resource/%s/#' % name, output='capture', timeout='4min')
        message = payload(echoes, {'neighbours': [host], 'neighbour_tcp': [9999]} if name == 'network' else None)
        for number in range(3 if name == 'leftovers' else 1):
            broker.publish('create/resource/%s/%d' % (name, number), message)
            daemon.settle()
    jobs = daemon.wait_jobs(len(names) + 2, 300)
    through, tried = [], 0
    for job in jobs:
        equal(job['outcome'], 'success', '%s: %s' % (job['script'], job['message']))
        attempts, count, what = result_of(daemon.output(job['id']).decode(errors='replace'))
        check(attempts >= 40, '%s made %d attempts only' % (job['script'], attempts))
        print('     %s: %d attempts, %d through' % (job['script'], attempts, count), flush=True)
        tried += attempts
        through += ['%s: %s' % (job['script'], line) for line in what if landlock or not HELD_BY_LANDLOCK.search(line)]
    check_landlock(daemon, landlock)
    check(
        not through,
        '%d of %d attempts got through:\n%s' % (len(through), tried, '\n'.join(through[:60] + through[-20:])),
    )


def test_nothing_gets_through_with_reuse(t):
    run_all(t, 'script')


def test_nothing_gets_through_without_reuse(t):
    run_all(t, 'never')


def test_nothing_gets_through_without_landlock(t):
    run_all(t, 'script', landlock=False)


def test_nothing_gets_through_without_landlock_and_reuse(t):
    run_all(t, 'never', landlock=False)


def forge(t, reuse):
    """Scripts that say to init what only the engine says: they end by their time limit."""
    broker, daemon = start(t, reuse, False, grace='100ms')
    with open(ATTACKS + '/hogs/forger.py') as f:
        daemon.script('forger.py', f.read(), topic='create/#', timeout='500ms', on_lost='rerun')
    for number in range(12):
        broker.publish('create/resource/%d' % number, b'{}')
    jobs = daemon.wait_jobs(12, 120)
    check_landlock(daemon, False)
    said = '; '.join(sorted({job['message'] for job in jobs}))
    equal([job['outcome'] for job in jobs], ['timeout'] * 12, 'how they ended (%s)' % said)


def test_init_takes_no_forged_signal(t):
    forge(t, 'script')


def test_init_takes_no_forged_signal_without_reuse(t):
    forge(t, 'never')


def test_the_fork_server_gets_no_foreign_child(t):
    """One that it does not wait for would turn a success of 10 ms into a timeout."""
    broker, daemon = start(t, 'script', True)
    daemon.script('sibling.py', attack('sibling'), topic='create/#', timeout='1s', output='capture')
    broker.publish('create/resource/1', b'{}')
    job = daemon.wait_jobs(1, 60)[0]
    equal(job['outcome'], 'success', job['message'])


def test_attacks_are_real(t):
    """The same scripts in a container with Docker's own settings: a writable root, its default
    seccomp profile, its bridge; user nobody."""
    network = 'lsn-test-plain-%d-%d' % (os.getpid(), t.count())
    docker('network', 'create', network)
    t.stack.callback(lambda: docker('network', 'rm', network, check_status=False))
    name = network + '-c'
    docker(
        'run',
        '-d',
        '--rm',
        '--name',
        name,
        '--network',
        network,
        '--user',
        '65534:65534',
        '--entrypoint',
        'sleep',
        IMAGE,
        '3600',
    )
    t.stack.callback(lambda: docker('rm', '-f', name, check_status=False))
    echoes = Echoes(t)
    host = neighbour(t, network)
    message = payload(echoes, {'neighbours': [host], 'neighbour_tcp': [9999]})
    for attack_name in ('files', 'secrets', 'processes', 'kernel', 'network', 'leftovers'):
        for _ in range(2 if attack_name == 'leftovers' else 1):
            text = plain(name, attack(attack_name), message)
        attempts, count, what = result_of(text)
        print(
            '     %s: %d attempts, %d through, such as %s'
            % (attack_name, attempts, count, '; '.join(w[9:] for w in what[:3])),
            flush=True,
        )
        check(count > 0, '%s gets nowhere in an ordinary container: it shows nothing' % attack_name)


def plain(container, text, stdin):
    """The attack in CONTAINER, by the docker command: what it printed."""
    command = [
        'docker',
        'exec',
        '-i',
        '-w',
        '/',
        container,
        'python3',
        '-c',
        'import os,sys;f=os.memfd_create("attack");os.write(f,%r);exec(compile(os.pread(f,1<<20,0),"attack","exec"))'
        % text.encode(),
    ]
    done = subprocess.run(
        command,
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=400,
        env=dict(os.environ, DOCKER_HOST='unix://' + harness.DOCKER_SOCKET),
    )
    return done.stdout.decode(errors='replace') + done.stderr.decode(errors='replace')[-1000:]


if __name__ == '__main__':
    harness.main()
