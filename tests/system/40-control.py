"""listenerctl and the control socket, as people and programs use them."""
import json
import os
import re
import shutil
import subprocess

import harness
from harness import check, equal


def test_daemon_away_is_status_3(t):
    broker = t.broker()
    daemon = t.listener(broker)
    done = daemon.ctl_run('status')
    equal(done.returncode, 3)
    check(b'not running' in done.stderr, done.stderr)
    daemon.start()
    equal(daemon.ctl_run('status').returncode, 0)
    daemon.kill()  # leaves the socket file behind
    equal(daemon.ctl_run('status').returncode, 3)


def test_usage_is_status_2(t):
    daemon = t.listener(None)
    for words in (
        (),
        ('dance',),
        ('show',),
        ('show', 'x'),
        ('show', '1', '2'),
        ('jobs', '--limit', 'many'),
        ('status', '--limit', '3'),
        ('replay',),
        ('jobs', '--since', 'yesterday-ish'),
        ('jobs', '--since', '12:30pm'),
        ('jobs', '--since', 'm'),
        ('explain',),
        ('explain', 'a', 'b', 'c'),
        ('--nonsense',),
    ):
        done = daemon.ctl_run(*words)
        equal((words, done.returncode), (words, 2))
        check(done.stderr, 'no message for %r' % (words,))
    equal(daemon.ctl_run('--help').returncode, 0)


def test_every_reading_command(t):
    broker = t.broker()
    daemon = t.listener(broker).start()
    daemon.script('a.py', 'pass\n', topic='create/#')
    daemon.script('no-topic.py', 'pass\n', ready=False)
    broker.publish('create/resource/a', b'{"a": 1}')
    job = daemon.wait_jobs(1)[0]
    for words in (
        ('status',),
        ('scripts',),
        ('scripts', 'a.py'),
        ('executors',),
        ('jobs',),
        ('jobs', '--script', 'a.py', '--since', '1h'),
        ('show', job['id']),
        ('show', job['id'], '--payload'),
        ('rejected',),
        ('why', 'a.py', 'create/x'),
        ('explain', 'a.py', 'create/x'),
        ('explain', 'create/x'),
        ('check',),
        ('rescan',),
    ):
        human, rows = daemon.ctl_run(*words), daemon.ctl(*words)
        equal((words, human.returncode, human.stderr), (words, 0, b''))
        check(not rows or all('end' not in row for row in rows), rows)
    status = daemon.status()
    equal(
        (status['state'], status['identity'], status['broker']['state'], status['scripts']['active']),
        ('running', daemon.identity, 'connected', 1),
    )
    shown = daemon.ctl('show', job['id'], '--payload')[0]
    equal(
        (shown['topic'], shown['payload'], shown['payload_bytes'], len(shown['runs'])),
        ('create/resource/a', '{"a": 1}', 8, 1),
    )
    states = {row['name']: row['state'] for row in daemon.ctl('scripts')}
    equal(states, {'a.py': 'active', 'no-topic.py': 'no-topic'})
    equal([row['name'] for row in daemon.ctl('scripts', '--state', 'no-topic')], ['no-topic.py'])


def test_job_filters(t):
    broker = t.broker()
    daemon = t.listener(broker).start()
    daemon.script('a.py', 'pass\n', topic='create/#')
    daemon.script('b.py', 'pass\n', topic='create/resource/+')
    broker.publish('create/resource/x', b'{}')
    broker.publish('create/collection/x', b'{}')
    jobs = daemon.wait_jobs(3)
    equal(len(daemon.jobs('--script', 'a.py')), 2)
    equal(len(daemon.jobs('--topic', '+/resource/#')), 2)
    equal(len(daemon.jobs('--state', 'finished')), 3)
    equal(len(daemon.jobs('--state', 'lost')), 0)
    equal(len(daemon.jobs('--outcome', 'success')), 3)
    equal(len(daemon.jobs('--until', '1h')), 0)
    for since in ('10m', '1.5m', 'yesterday', '2h', '1min', '2020-01-31 12:00'):
        equal((since, len(daemon.jobs('--since', since))), (since, 3))
    equal(len(daemon.jobs('--until', 'yesterday')), 0)
    equal([row['id'] for row in daemon.ctl('jobs', '--limit', 2)], [jobs[2]['id'], jobs[1]['id']])
    equal([row['id'] for row in daemon.ctl('jobs', '--before', jobs[1]['id'])], [jobs[0]['id']])
    for words in (('--state', 'done'), ('--outcome', 'fine'), ('--topic', 'a/#/b')):
        done = daemon.ctl_run('jobs', *words)
        equal((words, done.returncode), (words, 1))
    equal(daemon.ctl_run('show', 4711).returncode, 1)
    rows, last = daemon.ask({'command': 'jobs', 'scirpt': 'a.py'})
    equal((rows, 'error' in last), ([], True), 'a misspelt filter')


def test_why(t):
    broker = t.broker()
    daemon = t.listener(broker).start()
    daemon.script('a.py', 'pass\n', topic='create/+/a/#')
    for script, topic, runs, word in (
        ('a.py', 'create/resource/a/b', True, ''),
        ('a.py', 'create/resource/b', False, 'match'),
        ('a.py', 'create/resource/scripts/a', False, ''),
        ('none.py', 'create/a', False, ''),
    ):
        done = daemon.ctl_run('--json', 'why', script, topic)
        answer = json.loads(done.stdout)
        equal((script, topic, answer['runs'], done.returncode), (script, topic, runs, 0 if runs else 4))
        check(word in answer['why'], answer['why'])


def test_replay(t):
    broker = t.broker()
    daemon = t.listener(broker).start()
    daemon.script('a.py', 'first\n', topic='create/#')
    broker.publish('create/resource/x', b'payload')
    old = daemon.wait_jobs(1)[0]
    daemon.script('a.py', 'second\n', topic='create/#')
    row = daemon.ctl('replay', old['id'])[0]
    new = daemon.wait_jobs(2)[1]
    equal((new['id'], new['replay_of'], new['version']), (row['new_job'], old['id'], old['version']))
    daemon.ctl('replay', old['id'], '--current')
    newest = daemon.wait_jobs(3)[2]
    check(newest['version'] != old['version'], 'the current version did not run')
    equal([line['payload'] for line in daemon.json_lines()], ['payload'] * 3)
    done = daemon.ctl_run('replay', 4711)
    equal(done.returncode, 1)
    equal(daemon.ctl_run('retry', old['id']).returncode, 1, 'status of retrying a success')


def test_retry_and_cancel(t):
    broker = t.broker()
    daemon = t.listener(broker, docker={}).start()
    daemon.script('fail.py', 'import sys\nsys.exit(3)\n', topic='create/fail')
    daemon.script('slow.py', 'import time\ntime.sleep(11)\n', topic='create/slow')
    broker.publish('create/fail', b'')
    job = daemon.wait_jobs(1)[0]
    equal(job['outcome'], 'failure')
    daemon.ctl('retry', job['id'])
    harness.wait(
        lambda: [run['exit_status'] for run in daemon.show(job['id'])['runs'] if run['outcome']] == [3, 3],
        'the second attempt',
    )
    broker.publish('create/slow', b'')
    harness.wait(
        lambda: [row['state'] for row in daemon.jobs('--script', 'slow.py')] == ['running'], 'the slow job to run', 30
    )
    daemon.ctl('cancel', daemon.jobs('--script', 'slow.py')[0]['id'])
    harness.wait(
        lambda: [row['outcome'] for row in daemon.jobs('--script', 'slow.py')] == ['cancelled'], 'it to be cancelled', 8
    )


def test_hostile_text_does_not_reach_the_terminal(t):
    broker = t.broker()
    daemon = t.listener(broker).start()
    daemon.script('\u202ea\u009b31m.py', 'pass\n', topic='create/#')
    # the broker itself refuses control characters
    broker.publish('create/resource/\u202e2Jx', b'{}')
    daemon.wait_jobs(1)
    for words in (('jobs',), ('scripts',), ('show', daemon.jobs()[0]['id'])):
        text = daemon.ctl_run(*words).stdout.decode()
        check(not re.search('[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]', text), repr(text))
    equal(daemon.jobs()[0]['topic'], 'create/resource/\u202e2Jx', 'topic in JSON')


def test_socket_belongs_to_its_group(t):
    daemon = t.listener(t.broker()).start()
    equal(os.stat(daemon.socket).st_mode & 0o7777, 0o660)
    if os.geteuid() != 0:
        raise harness.Skip('needs root to become somebody else')
    done = daemon_as_nobody(daemon, 'status')
    equal(done.returncode, 1)
    check(b'group' in done.stderr, done.stderr)
    daemon.change({'control': {'readers': 'nobody'}})
    daemon.reload()
    equal(daemon_as_nobody(daemon, 'status').returncode, 0)
    done = daemon_as_nobody(daemon, 'reload')
    equal(done.returncode, 1)
    check(b'operators' in done.stderr, done.stderr)


def daemon_as_nobody(daemon, *words):
    program = shutil.copy(harness.BUILD + '/listenerctl', daemon.run_dir)
    os.chmod(program, 0o755)

    def become():
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)

    return subprocess.run(
        [program, '-s', daemon.socket] + list(words),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=become,
        env={'ASAN_OPTIONS': 'detect_leaks=0'},
    )


def test_status_is_one_line_of_json(t):
    daemon = t.listener(t.broker()).start()
    done = daemon.ctl_run('--json', 'status')
    equal(done.stdout.count(b'\n'), 1)
    json.loads(done.stdout.decode())


if __name__ == '__main__':
    harness.main()
