"""Every script of tests/attacks through the daemon, with both kinds of reuse, where nothing gets
through; and in an ordinary container, where something does."""
import json
import os
import re
import shutil
import subprocess

import attacks
import harness
from harness import check, docker, equal

IMAGE = attacks.IMAGE
LIMITS = {'timeout': '4min', 'timeout_max': '4min', 'memory_max': '256M'}

# What Landlock alone refuses: a script's own files in /proc, bytes for the kernel's randomness, our
# programs, which hold no secret. See docs/security.md.
HELD_BY_LANDLOCK = re.compile(
    r'(open for writing|truncate).* /proc/(self|\d+)/|(open for writing).* /dev/u?random$|read /listener/'
)


def counts_stamps():
    """Only newer kernels have the setting for each sandbox; elsewhere it is the operator's."""
    with open('/proc/sys/net/core/tstamp_allow_data') as f:
        return tuple(int(n) for n in re.findall(r'\d+', os.uname().release)[:2]) >= (6, 18) or f.read().strip() == '0'


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
    through, tried = attacks.run(t, broker, daemon)
    if not counts_stamps():
        print('     this kernel cannot count packets with time stamps', flush=True)
        through = [line for line in through if not line.endswith('keep packets with their time stamps')]
    if not landlock:
        through = [line for line in through if not HELD_BY_LANDLOCK.search(line)]
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
    with open(attacks.ATTACKS + '/hogs/forger.py') as f:
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
    daemon.script('sibling.py', attacks.attack('sibling'), topic='create/#', timeout='1s', output='capture')
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
    echoes = attacks.Echoes(t)
    host = attacks.neighbour(t, network)
    message = attacks.payload(echoes, {'neighbours': [host], 'neighbour_tcp': [9999]})
    for attack_name in ('files', 'secrets', 'processes', 'kernel', 'network', 'leftovers'):
        for _ in range(2 if attack_name == 'leftovers' else 1):
            text = plain(name, attacks.attack(attack_name), message)
        attempts, count, what = attacks.result_of(text)
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
