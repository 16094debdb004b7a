"""Runs outlive the daemon: killed, stopped, replaced by another build."""
import os
import shutil
import subprocess

import harness
from harness import check, equal

SLEEP = '''import os, sys, time
for i in range(%d):
	print(i, flush=True)
	time.sleep(1)
print("ended", file=sys.stderr)
'''


def running(daemon):
    return harness.wait(lambda: [job for job in daemon.all_jobs() if job['state'] == 'running'], 'the job to run', 60)[
        0
    ]


def killed_in_mid_run(t, seconds, **meta):
    """The daemon, which is dead, and the job of one script that runs for so long."""
    broker = t.broker()
    daemon = t.listener(broker, docker={}).start()
    daemon.script('a.py', SLEEP % seconds, topic='create/#', **meta)
    broker.publish('create/resource/a', b'{}')
    job = running(daemon)
    daemon.kill()
    return daemon, job


def build_another(t):
    """A new build of everything: other binaries, another version."""
    folder = os.path.join(t.folder, 'build')
    done = subprocess.run(
        ['make', '-s', '-j2', 'BUILD=' + folder, 'OPT=-O0', 'VERSION=99.0', 'all'],
        cwd=harness.ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={k: v for k, v in os.environ.items() if not k.startswith('MAKE')},
    )
    check(done.returncode == 0, 'the new build: ' + done.stdout.decode()[-1500:])
    return folder


def upgrade(daemon, folder):
    for name in os.listdir(folder + '/executors'):
        if name.endswith('.so'):
            path = os.path.join(daemon.modules, name)
            shutil.copy(os.path.join(folder, 'executors', name), path + '.new')
            os.chmod(path + '.new', 0o755)
            os.rename(path + '.new', path)
    daemon.change({'listener': {'libexec_dir': folder + '/libexec'}})


def test_30_seconds_over_a_kill_and_an_upgrade(t):
    folder, broker = build_another(t), t.broker()
    daemon = t.listener(broker, docker={}, ini={'limits': {'timeout': '60s', 'timeout_max': '60s'}}).start()
    daemon.script('long.py', SLEEP % 30, topic='create/#', output='capture')
    broker.publish('create/resource/a', b'{}')
    job = running(daemon)
    before = daemon.status()['version']
    daemon.kill()
    upgrade(daemon, folder)
    build, harness.BUILD = harness.BUILD, folder
    try:
        daemon.start()
        status = daemon.status()
        equal((status['version'] == before, status['jobs']['running']), (False, 1))
        broker.publish('create/resource/b', b'{}')  # and new jobs start beside it
        jobs = daemon.wait_jobs(2, 90)
        daemon.stop()
        daemon.start()
    finally:
        harness.BUILD = build
    old = next(row for row in jobs if row['id'] == job['id'])
    equal((old['state'], old['outcome'], old['attempt']), ('finished', 'success', 1))
    run = daemon.show(job['id'])['runs']
    equal(len(run), 1, 'runs')
    check(30e6 <= run[0]['duration_usec'] < 33e6 * harness.SLOW, 'it took %d us' % run[0]['duration_usec'])
    equal(daemon.output(job['id']), b''.join(b'%d\n' % i for i in range(30)))


def test_it_ends_while_the_daemon_is_away(t):
    daemon, job = killed_in_mid_run(t, 3, output='capture')
    began = job['started_realtime_usec'] / 1e6
    harness.wait(lambda: harness.time.time() > began + 5, 'the script to end by itself', 20)
    daemon.start()
    job = daemon.wait_jobs(1, 30)[0]
    equal((job['state'], job['outcome']), ('finished', 'success'))
    check(3e6 <= job['duration_usec'] < 4.5e6 * harness.SLOW, 'it took %d us' % job['duration_usec'])
    equal(daemon.output(job['id']), b'0\n1\n2\n')


def test_it_ended_well_however_late_that_is_seen(t):
    daemon, job = killed_in_mid_run(t, 1, timeout='2s', output='capture')
    began = job['started_realtime_usec'] / 1e6
    harness.wait(lambda: harness.time.time() > began + 8, 'much more time to pass than the script may take', 20)
    daemon.start()
    job = daemon.wait_jobs(1, 30)[0]
    equal((job['state'], job['outcome'], daemon.output(job['id'])), ('finished', 'success', b'0\n'))


def test_its_deadline_holds_while_the_daemon_is_away(t):
    daemon, job = killed_in_mid_run(t, 60, timeout='3s')
    began = job['started_realtime_usec'] / 1e6
    harness.wait(lambda: harness.time.time() > began + 6, 'the deadline to pass', 20)
    daemon.start()
    job = daemon.wait_jobs(1, 30)[0]
    equal((job['state'], job['outcome']), ('finished', 'timeout'))
    check(job['duration_usec'] < 5e6 * harness.SLOW, 'it was killed after %d us' % job['duration_usec'])


def test_stop_leaves_it_running(t):
    broker = t.broker()
    daemon = t.listener(broker, docker={}, ini={'listener': {'drain': '200ms'}}).start()
    daemon.script('a.py', SLEEP % 5, topic='create/#', output='capture')
    broker.publish('create/resource/a', b'{}')
    running(daemon)
    daemon.restart()
    job = daemon.wait_jobs(1, 30)[0]
    equal((job['state'], job['outcome'], job['attempt']), ('finished', 'success', 1))
    equal(daemon.output(job['id']), b'0\n1\n2\n3\n4\n')


def test_a_start_that_fails_late_leaves_it_running(t):
    daemon, job = killed_in_mid_run(t, 6, output='capture')
    # The control socket is made last, after the executor was asked about the job.
    os.remove(daemon.socket)
    os.makedirs(daemon.socket + '/in-the-way')
    status = daemon.start(ready=False).process.wait(60)
    check(status == 1, 'a start that should fail ended with %s' % status)
    check('control' in daemon.log_text().splitlines()[-1], daemon.log_text()[-500:])
    shutil.rmtree(daemon.socket)
    daemon.start()
    job = daemon.wait_jobs(1, 30)[0]
    equal((job['state'], job['outcome'], job['attempt']), ('finished', 'success', 1))
    equal(daemon.output(job['id']), b''.join(b'%d\n' % i for i in range(6)))


if __name__ == '__main__':
    harness.main()
