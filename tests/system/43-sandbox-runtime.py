"""Sandboxes with a kernel of their own: runtime = runsc, Debian's gVisor.

    43-sandbox-runtime.py                   what `make check` runs
    LISTENER_RUNSC=1 43-sandbox-runtime.py  all of it, what `make check-runsc` runs

docs/security.md, "Other runtimes", says what does not hold there. Its lists are in this file."""
import json
import os
import re
import subprocess

import attacks
import debian
import harness
import world as worlds
from harness import Skip, check, equal

RUNTIME = 'runsc'
# init's connection and the kernel's own way out; see docs/security.md
ARGUMENTS = ['--host-uds=open', '--network=host', '--oci-seccomp']
PIDS = '1024'  # gVisor's own threads count as well
SCRIPT = '''
import json, os, sys
print(json.dumps({'argv': sys.argv, 'stdin': sys.stdin.read(), 'uid': os.getresuid(), 'kernel': open('/proc/version').read()}))
print('x' * (1 << 20), file=sys.stderr)
sys.exit(3)
'''


def in_full(test):
    """A test of `make check-runsc` alone."""
    return test if os.environ.get('LISTENER_RUNSC') else None


def set_up(t, **options):
    # before the world begins: it has no way to the mirror
    program = debian.install('runsc') + '/usr/bin/runsc'
    config = os.path.join(t.folder, 'engine.json')
    with open(config, 'w') as f:
        json.dump({'runtimes': {RUNTIME: {'path': program, 'runtimeArgs': ARGUMENTS}}}, f)
    world = worlds.World(t, '--config-file=' + config)
    can_start(world)
    broker = t.broker()
    daemon = t.listener(
        broker,
        docker=dict(
            {
                'socket': world.socket,
                'dns': worlds.OUTSIDE,
                'runtime': RUNTIME,
                'pids': PIDS,
                'pool_min': 1,
                'pool_max': 2,
                'start_timeout': '2min',
            },
            **options
        ),
        ini={'limits': {'timeout': '1min', 'timeout_max': '10min', 'memory_max': '512M'}},
    ).start()
    return world, broker, daemon


def can_start(world):
    """Where runsc itself cannot run there is nothing to test: not the listener's doing."""
    done = subprocess.run(
        ['docker', '-H', 'unix://' + world.socket, 'run', '--rm', '--runtime', RUNTIME, '--network', 'none']
        + ['--entrypoint', 'true', attacks.IMAGE],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if done.returncode != 0:
        raise Skip('runsc starts nothing here: ' + done.stdout.decode(errors='replace').strip()[:200])


def test_scripts_have_a_kernel_of_their_own(t):
    """What scripts are promised, and `landlock = require`."""
    world, broker, daemon = set_up(t)
    daemon.script('all.py', SCRIPT, topic='create/resource/all', output='capture')
    daemon.script('long.py', 'import time; time.sleep(60)', topic='create/resource/long', timeout='1s')
    daemon.script('stay.py', 'import os, time\nif os.fork() == 0: time.sleep(600)', topic='create/resource/stay/#')
    for name in ('all', 'long', 'stay/1', 'stay/2'):
        broker.publish('create/resource/' + name, b'{"a": 1}')
    jobs = {job['script']: job for job in daemon.wait_jobs(4, 240)}
    said = {name: (job['outcome'], job['message']) for name, job in jobs.items()}
    outcomes = {name: outcome for name, (outcome, _) in said.items()}
    equal(outcomes, {'all.py': 'failure', 'long.py': 'timeout', 'stay.py': 'success'}, said)
    run = daemon.show(jobs['all.py']['id'])['runs'][-1]
    equal(run['exit_status'], 3)
    seen = json.loads(daemon.output(jobs['all.py']['id']).decode())
    equal(
        [seen['argv'], seen['stdin'], seen['uid']],
        [['all.py', 'create/resource/all', '{"a": 1}'], '{"a": 1}', [65534] * 3],
    )
    check(seen['kernel'].strip() != open('/proc/version').read().strip(), 'it runs on the kernel of the host')
    landlock_is_required(t, world)


def landlock_is_required(t, world):
    broker = t.broker()
    daemon = t.listener(
        broker,
        docker={'socket': world.socket, 'network': 'none', 'runtime': RUNTIME, 'pids': PIDS, 'landlock': 'require'},
    ).start()
    daemon.script('a.py', 'pass', topic='create/#')
    broker.publish('create/resource/1', b'{}')
    daemon.wait_log('could not put up the walls that are required', 60)
    equal(daemon.jobs()[0]['state'], 'queued')


# What gets through there; docs/security.md, "Other runtimes", has the same list in words.
DOES_NOT_HOLD = re.compile(
    r'.*: THROUGH: ('
    r'open for writing (\(\d+\) )?/dev/(u?random|fuse|pts/\w+)|(a )?pseudo terminal.*|'
    r'open for writing (\(\d+\) )?/proc/(self|\d+)/(comm|[ug]id_map|oom_score_adj)|'
    r'read /listener/.*|higher priority|'
    r'(renice|affinity of|map of|robust list of) [12]|'
    r'(read|follow|list|open) /proc/[12]/(auxv|environ|s?maps|ns/\w+|fd|fd/\d+))$'
)


def run_attacks(t, reuse):
    world, broker, daemon = set_up(t, reuse=reuse)
    through, tried = attacks.run(t, broker, daemon)
    new = [line for line in through if not DOES_NOT_HOLD.match(line)]
    check(not new, '%d of %d attempts got through:\n%s' % (len(new), tried, '\n'.join(new[:60])))
    check(len(through) > len(new), 'all that is said not to hold holds: this is not gVisor')


@in_full
def test_contract(t):
    world, broker, daemon = set_up(t)
    done = subprocess.run(
        ['python3', os.path.join(harness.ROOT, 'tests/sandbox/test_sandbox.py')],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=dict(
            os.environ,
            DOCKER_HOST='unix://' + world.socket,
            SANDBOX_RUNTIME=RUNTIME,
            SANDBOX_LIBEXEC=os.path.join(harness.ROOT, harness.BUILD, 'libexec'),
        ),
    )
    check(done.returncode == 0, done.stdout.decode(errors='replace')[-6000:])


@in_full
def test_attacks_with_reuse(t):
    run_attacks(t, 'script')


@in_full
def test_attacks_without_reuse(t):
    run_attacks(t, 'never')


def run_hogs(t, names, memory, **options):
    """How each ended: (outcome or state, message) by its name."""
    world, broker, daemon = set_up(t, **options)
    for name in names:
        with open('%s/hogs/%s.py' % (attacks.ATTACKS, name)) as f:
            text = f.read()
        daemon.script(name + '.py', text, topic='create/resource/' + name, timeout='20s', memory=memory)
        broker.publish('create/resource/' + name, b'{}')
        daemon.settle()
    jobs = daemon.wait_jobs(len(names), 240)
    return {job['script'][:-3]: (job['outcome'] or job['state'], job['message']) for job in jobs}


@in_full
def test_limits_end_the_whole_sandbox(t):
    """gVisor gives memory and processes to all in it: there is no part of it that could end
    alone."""
    said = run_hogs(t, ('memory', 'processes'), '128M', pids='300')
    equal(said['memory'][0], 'memory', said)
    check(said['processes'][0] in ('memory', 'processes', 'lost', 'timeout'), said)


@in_full
def test_time_limit(t):
    """Its kernel counts as well: six processes that only compute take more than 128 MiB, and
    several hundred of the host's threads."""
    said = run_hogs(t, ('cpu',), '512M')
    equal(said['cpu'][0], 'timeout', said)


if __name__ == '__main__':
    harness.main()
