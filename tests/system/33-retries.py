"""Further attempts, back-off, on_lost, and an operator's retry."""
import os
import resource
import time

import harness
from harness import check, equal

FAIL = 'import os, sys\nprint("attempt", os.environ["LISTENER_ATTEMPT"])\nsys.exit(%s)\n'


def attempts(daemon, job):
    return [(run['attempt'], run['outcome']) for run in daemon.show(job)['runs']]


def test_off_by_default(t):
    broker = t.broker()
    daemon = t.listener(broker, docker={}).start()
    daemon.script('a.py', FAIL % '3', topic='create/#')
    broker.publish('create/a', b'{}')
    job = daemon.wait_jobs(1)[0]
    equal((job['outcome'], attempts(daemon, job['id'])), ('failure', [(1, 'failure')]))


def test_until_it_succeeds(t):
    broker = t.broker()
    daemon = t.listener(broker, docker={}).start()
    daemon.script(
        'a.py',
        FAIL % 'int(os.environ["LISTENER_ATTEMPT"]) < 3',
        topic='create/#',
        output='capture',
        retries=5,
        retry_delay='300ms',
    )
    broker.publish('create/a', b'{}')
    job = daemon.wait_jobs(1, 60)[0]
    equal((job['outcome'], job['attempt']), ('success', 3))
    equal(attempts(daemon, job['id']), [(1, 'failure'), (2, 'failure'), (3, 'success')])
    runs = daemon.show(job['id'])['runs']
    gaps = [(b['started_realtime_usec'] - a['started_realtime_usec']) / 1e6 for a, b in zip(runs, runs[1:])]
    check(0.3 <= gaps[0] and 0.6 <= gaps[1], 'the back-off does not double: gaps of %s s' % gaps)
    equal(
        [harness.base64.b64decode(run['out_base64']) if 'out_base64' in run else run['out'].encode() for run in runs],
        [b'attempt %d\n' % n for n in (1, 2, 3)],
        'output of each attempt',
    )


def test_only_outcomes_that_were_named(t):
    broker = t.broker()
    daemon = t.listener(broker, docker={}).start()
    daemon.script(
        'a.py',
        'import os, signal\nos.kill(os.getpid(), signal.SIGUSR1)\n',
        topic='create/#',
        retries=2,
        retry_delay='10ms',
        retry_on='failure',
    )
    daemon.script(
        'b.py',
        'import os, signal\nos.kill(os.getpid(), signal.SIGUSR1)\n',
        topic='create/#',
        retries=2,
        retry_delay='10ms',
        retry_on='signal',
    )
    broker.publish('create/a', b'{}')
    jobs = {job['script']: job for job in daemon.wait_jobs(2, 60)}
    equal(
        {name: (job['outcome'], job['attempt']) for name, job in jobs.items()},
        {'a.py': ('signal', 1), 'b.py': ('signal', 3)},
    )


def test_back_off_survives_the_daemon(t):
    broker = t.broker()
    daemon = t.listener(broker, docker={}).start()
    daemon.script(
        'a.py', FAIL % 'int(os.environ["LISTENER_ATTEMPT"]) < 2', topic='create/#', retries=1, retry_delay='3s'
    )
    broker.publish('create/a', b'{}')
    harness.wait(lambda: [job['state'] for job in daemon.all_jobs()] == ['backoff'], 'the back-off', 30)
    daemon.kill()
    daemon.start()
    equal([job['state'] for job in daemon.all_jobs()], ['backoff'])
    job = daemon.wait_jobs(1, 30)[0]
    equal((job['outcome'], job['attempt']), ('success', 2))


def test_back_off_has_a_limit(t):
    broker = t.broker()
    daemon = t.listener(
        broker, docker={}, ini={'limits': {'retry_delay_max': '400ms', 'retry_delay': '200ms', 'retries_max': '6'}}
    ).start()
    daemon.script('a.py', FAIL % '1', topic='create/#', retries=6)
    broker.publish('create/a', b'{}')
    # without the limit the delays add up to 12.6 s, with it to 2.2 s
    job = daemon.wait_jobs(1, 15)[0]
    runs = daemon.show(job['id'])['runs']
    equal(len(runs), 7)
    check(
        runs[-1]['started_realtime_usec'] - runs[0]['started_realtime_usec'] < 9e6 * harness.SLOW,
        'the back-off grows beyond retry_delay_max',
    )


def test_later_events_of_an_object_wait_for_its_retries(t):
    broker = t.broker()
    daemon = t.listener(broker, docker={}).start()
    daemon.script(
        'a.py',
        FAIL % 'sys.argv[1] == "create/resource/x" and int(os.environ["LISTENER_ATTEMPT"]) < 3',
        topic='+/resource/#',
        retries=3,
        retry_delay='200ms',
    )
    broker.publish_all([('create/resource/x', b'{}'), ('update/resource/x', b'{}'), ('update/resource/y', b'{}')])
    jobs = daemon.wait_jobs(3, 60)
    x, later, other = jobs
    equal([job['outcome'] for job in jobs], ['success'] * 3)
    check(
        later['started_realtime_usec'] >= x['finished_realtime_usec'] - 50000,
        'an update ran before the create it follows had succeeded',
    )
    check(other['finished_realtime_usec'] < x['finished_realtime_usec'], 'another object had to wait')


def test_a_replay_is_told_so(t):
    broker = t.broker()
    daemon = t.listener(broker, docker={}).start()
    daemon.script(
        'a.py',
        'import os, sys\nprint(sys.argv[1], sys.stdin.read(), os.environ.get("LISTENER_REPLAY"))\n',
        topic='create/#',
        output='capture',
    )
    broker.publish('create/a', b'{"x": 1}')
    old = daemon.wait_jobs(1, 60)[0]
    daemon.ctl('replay', old['id'])
    new = daemon.wait_jobs(2, 60)[1]
    equal(
        [daemon.output(job['id']) for job in (old, new)],
        [b'create/a {"x": 1} None\n', b'create/a {"x": 1} %d\n' % old['id']],
    )


def lose_one(t, **settings):
    """A job whose container is taken away while it runs and the daemon is dead."""
    broker = t.broker()
    daemon = t.listener(broker, docker={}).start()
    daemon.script(
        'a.py',
        'import os, time\nprint("began", flush=True)\nif os.environ["LISTENER_ATTEMPT"] == "1":\n\ttime.sleep(10)\n',
        topic='create/#',
        output='capture',
        **settings
    )
    broker.publish('create/a', b'{}')
    harness.wait(lambda: [job['state'] for job in daemon.all_jobs()] == ['running'], 'the job to run', 60)
    daemon.kill()
    ids = harness.docker('ps', '-q', '--filter', 'label=%s=%s' % (harness.LABEL, daemon.identity)).split()
    harness.docker('rm', '-f', *ids)
    daemon.start()
    return daemon


def test_lost_is_reported(t):
    daemon = lose_one(t)
    job = daemon.wait_jobs(1, 60)[0]
    equal((job['state'], job['attempt']), ('lost', 1))
    check(job['message'], 'no reason is given')
    equal([row['id'] for row in daemon.jobs('--state', 'lost')], [job['id']])
    equal(daemon.status()['jobs']['lost'], 1)
    daemon.ctl('retry', job['id'])
    harness.wait(lambda: daemon.all_jobs()[0]['state'] == 'finished', lambda: 'the retry; %s' % daemon.all_jobs(), 60)
    equal(attempts(daemon, job['id']), [(1, 'lost'), (2, 'success')])
    equal(daemon.status()['jobs']['lost'], 0)


def test_lost_is_run_again_if_so_wished(t):
    daemon = lose_one(t, on_lost='rerun')
    job = daemon.wait_jobs(1, 60)[0]
    equal((job['state'], job['outcome']), ('finished', 'success'))
    equal(attempts(daemon, job['id']), [(1, 'lost'), (2, 'success')])


def test_lost_is_run_again_by_the_administrators_default(t):
    broker = t.broker()
    daemon = t.listener(broker, docker={}, ini={'limits': {'on_lost': 'rerun'}}).start()
    daemon.script(
        'a.py', 'import os, time\nif os.environ["LISTENER_ATTEMPT"] == "1":\n\ttime.sleep(10)\n', topic='create/#'
    )
    broker.publish('create/a', b'{}')
    harness.wait(lambda: [job['state'] for job in daemon.all_jobs()] == ['running'], 'the job to run', 60)
    ids = harness.docker('ps', '-q', '--filter', 'label=%s=%s' % (harness.LABEL, daemon.identity)).split()
    harness.docker('kill', *ids)  # with the daemon alive
    job = daemon.wait_jobs(1, 60)[0]
    equal((job['state'], job['outcome'], job['attempt']), ('finished', 'success', 2))


def test_running_out_of_descriptors_is_no_outcome(t):
    """At the moment of the hand-over there is none for the file: the job waits, and is written
    once."""
    broker = t.broker()
    daemon = t.listener(broker).start()
    daemon.script('a.py', 'pass\n', topic='create/#', executor='json-lines')
    pid = daemon.process.pid
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    for spare in range(5):
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(os.listdir('/proc/%d/fd' % pid)) + spare, hard))
        broker.publish('create/%d' % spare, b'{}', qos=1)
        time.sleep(0.2)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
        jobs = daemon.wait_jobs(spare + 1, 60)
        equal([(job['outcome'], job['attempt']) for job in jobs], [('success', 1)] * (spare + 1))
    equal(len(daemon.json_lines()), 5)


if __name__ == '__main__':
    harness.main()
