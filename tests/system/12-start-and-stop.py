"""How the daemon comes and goes, as a service manager sees it: it does not wait for jobs that go on
without it, and says once why it cannot start."""
import os
import shutil
import subprocess
import time

import harness
from harness import check, equal

SLEEPER = 'import json, sys, time\ntime.sleep(json.load(sys.stdin)["seconds"])\nprint("slept")\n'
DRAIN_SECONDS = 120


def test_stop_does_not_wait_for_jobs_that_go_on(t):
    broker = t.broker()
    daemon = t.listener(
        broker, docker={}, ini={'listener': {'drain': '%ds' % DRAIN_SECONDS}, 'limits': {'timeout_max': '2min'}}
    ).start()
    daemon.script('sleeper.py', SLEEPER, topic='create/#', output='capture', timeout='2min')
    broker.publish('create/resource/a', b'{"seconds": 10}')
    t.wait(lambda: [job for job in daemon.jobs() if job['state'] == 'running'], 'the job to run', 60)
    began = time.monotonic()
    daemon.stop()
    took = time.monotonic() - began
    check(took < DRAIN_SECONDS / 4, 'stopping took %.1f s' % took)
    daemon.start()
    job = daemon.wait_jobs(1, 90)[0]
    equal((job['outcome'], len(daemon.show(job['id'])['runs'])), ('success', 1), 'outcome and runs')
    daemon.wait_log('1 running jobs continue')
    equal(daemon.output(job['id']), b'slept\n')


def test_stop_waits_for_jobs_that_would_end(t):
    broker = t.broker()
    daemon = t.listener(broker, ini={'listener': {'drain': '3s'}, 'executor bad-done-never': {'open': 'yes'}})
    shutil.copy(harness.BUILD + '/tests/plugins/bad-done-never.so', daemon.modules)
    daemon.start().script('never.py', 'pass\n', topic='create/#', executor='bad-done-never')
    broker.publish('create/resource/a', b'{}')
    t.wait(lambda: [job for job in daemon.jobs() if job['state'] == 'running'], 'the job to run', 30)
    began = time.monotonic()
    daemon.stop()
    check(time.monotonic() - began >= 3, 'stopping took %.1f s' % (time.monotonic() - began))
    daemon.wait_log('1 running jobs cannot be left behind')


def as_a_service(daemon, *words):
    """(status, what it prints, what it logs) with a log that is systemd's, as far as the daemon can
    see."""
    read, write = os.pipe()
    stream = os.fstat(write)
    process = subprocess.Popen(
        [harness.BUILD + '/listenerd', '-c', daemon.file, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=write,
        env=dict(os.environ, JOURNAL_STREAM='%d:%d' % (stream.st_dev, stream.st_ino)),
    )
    os.close(write)
    with os.fdopen(read) as log:
        text = log.read()
    return process.wait(60), process.stdout.read().decode(), text


BROKEN = [
    ({'listener': {'drain': 'soon'}}, 'listenerd.ini:'),
    ({'listener': {'no_such_key': '1'}}, 'listenerd.ini:'),
    ({'executors': {'folder': '/no/such/folder'}}, '/no/such/folder'),
    ({'executor nosuch': {}}, 'nosuch'),
]


def test_a_broken_configuration_is_said_once(t):
    for change, where in BROKEN:
        daemon = t.listener(None, ini=change)
        status, printed, log = as_a_service(daemon)
        equal((status, printed), (78, ''), 'status and output with %s' % change)
        errors = [line for line in log.splitlines() if line.startswith('<3>')]
        check(len(errors) == 1 and where in errors[0], '%s: the log is:\n%s' % (change, log))


def test_an_unreadable_file_is_named_with_its_remedy(t):
    """As root makes it with a careful mask; the daemon is another user."""
    daemon, program = t.listener(None), os.path.join(t.folder, 'listenerd')
    if os.getuid() != 0:
        raise harness.Skip('needs root to become another user')
    shutil.copy(harness.BUILD + '/listenerd', program)
    drop_ins = os.path.join(daemon.folder, 'conf.d')
    os.mkdir(drop_ins, 0o755)
    for path, mode in ((program, 0o755), (daemon.folder, 0o755), (daemon.file, 0o644)):
        os.chmod(path, mode)
    with open(drop_ins + '/50-mine.ini', 'w') as f:
        os.fchmod(f.fileno(), 0o600)
    text = subprocess.run(
        ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', program, '-t', '-c', daemon.file],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ).stdout
    check('50-mine.ini: Permission denied; remedy: chgrp nogroup ' in text, text)


def test_quiet_test_prints_only_what_is_wrong(t):
    daemon = t.listener(None)
    equal(as_a_service(daemon, '-t', '-q'), (0, '', ''))
    check('[journal]' in as_a_service(daemon, '-t')[1], 'without -q the configuration is printed')
    daemon.change({'listener': {'no_such_key': '1'}})
    status, printed, log = as_a_service(daemon, '-t', '-q')
    equal((status, printed), (78, ''))
    check('no_such_key' in log, log)


if __name__ == '__main__':
    harness.main()
