"""Why does it not run? Each reason is made on purpose, and explain, jobs, show, status and check
each name it."""
import os
import shutil
import signal
import subprocess
import time

import harness
import world as worlds
from harness import check, equal

SECONDS = 30  # machines are slow at times; a quiet one needs less than 10


def explain(daemon, *words):
    """The answer for one script, or the rows for all and the last object."""
    request = dict(zip(('script', 'topic') if len(words) == 2 else ('topic',), words), command='explain')
    rows, last = daemon.ask(request)
    check('error' not in last, last)
    return last if len(words) == 2 else (rows, last)


def says(daemon, script, topic, rung, words):
    """explain stops at RUNG and says WORDS there, and so does listenerctl."""
    answer = explain(daemon, script, topic)
    equal((script, topic, answer['runs'], answer['rung']), (script, topic, False, rung), answer['why'])
    check(words in answer['why'], answer['why'])
    noes = [step['rung'] for step in answer['ladder'] if not step['ok'] and step['rung'] != 'arrived']
    equal(noes[0], rung, answer['ladder'])
    done = daemon.ctl_run('explain', script, topic)
    equal((done.returncode, done.stderr), (4, b''))
    check(words in done.stdout.decode(), done.stdout)


def job_waits(daemon, script, reason, words):
    """The last job of SCRIPT waits for REASON; `jobs` and `show` say so."""
    job = daemon.ctl('jobs', '--script', script, '--limit', 1)[0]
    equal((script, job['state'] in ('queued', 'backoff'), job['waits_for']), (script, True, reason), job)
    check(words in job['waits_text'], job)
    for asked in (('jobs', '--script', script), ('show', job['id'])):
        text = daemon.ctl_run(*asked).stdout.decode()
        check(words in text, text)
    return job


def wait_waits(daemon, script, reason, words):
    def waiting():
        rows = daemon.ctl('jobs', '--script', script, '--limit', 1)
        return rows and rows[0]['waits_for'] == reason

    harness.wait(waiting, lambda: '%s to wait for %s: %s' % (script, reason, daemon.jobs()), SECONDS)
    return job_waits(daemon, script, reason, words)


def conditions(daemon):
    return {(row['id'], row['level']): row['text'] for row in daemon.ask({'command': 'conditions'})[0]}


def wrong(daemon, name, level, words, worst=None):
    """The condition NAME comes up, status begins with it and check ends with its level."""
    began = time.monotonic()
    harness.wait(
        lambda: words in conditions(daemon).get((name, level), ''),
        lambda: '%s in the conditions: %s' % (name, conditions(daemon)),
        SECONDS,
    )
    print('     %s after %.1f s' % (name, time.monotonic() - began), flush=True)
    done = daemon.ctl_run('status')
    check(words in done.stdout.decode().split('\n\n')[0] and done.returncode == 0, done.stdout)
    check('docs/troubleshooting.md#%s\n' % name in done.stdout.decode(), done.stdout)
    done = daemon.ctl_run('check')
    equal(done.returncode, {'failure': 2, 'warning': 1}[worst or level], done.stdout)
    check(done.stdout.decode().count('\n') == 1 and b' | waiting=' in done.stdout, done.stdout)
    equal(daemon.ctl_run('--json', 'check').returncode, {'failure': 2, 'warning': 1}[worst or level])


def well(daemon):
    harness.wait(lambda: not conditions(daemon), lambda: 'all to be well: %s' % conditions(daemon), SECONDS)
    done = daemon.ctl_run('check')
    equal((done.returncode, done.stdout.startswith(b'LISTENERD OK - all is well | ')), (0, True), done.stdout)


def moody(t, broker, ini=None, **options):
    """A listener whose scripts run on moody, unless they choose json-lines."""
    daemon = t.listener(broker, ini=ini)
    shutil.copy(harness.BUILD + '/tests/plugins/moody.so', daemon.modules)
    os.chmod(daemon.modules + '/moody.so', 0o755)
    daemon.change({'dispatcher': {'default_executor': 'moody'}, 'executor moody': dict({'open': 'yes'}, **options)})
    return daemon


# -------------------------------------------------------------------------------- it is not matched
def test_what_is_between_an_event_and_a_script(t):
    broker = t.broker()
    daemon = t.listener(broker, ini={'limits': {'timeout_max': '12s'}}).start()
    well(daemon)
    daemon.script('good.py', 'pass\n', topic='create/+/projects/#')
    daemon.script('dead.py', 'pass\n', topic='creat/+/projects/#')
    daemon.script('case.py', 'pass\n', topic='create/resource/Projects/#')
    daemon.script('no-topic.py', 'pass\n', ready=False)
    daemon.script('cap.py', 'pass\n', topic='create/#', ready=False, timeout='60')
    daemon.script('bad.py', 'pass\n', topic='create/#/x', ready=False)
    daemon.wait_script('cap.py', lambda row: row['state'] == 'refused')
    daemon.wait_script('bad.py', lambda row: row['state'] == 'refused')
    daemon.wait_script('no-topic.py', lambda row: row['state'] == 'no-topic')
    topic = 'create/resource/projects/a'
    for script, about, rung, words in (
        ('none.py', topic, 'known', 'no script of that name'),
        ('no-topic.py', topic, 'active', 'not active'),
        ('cap.py', topic, 'active', 'timeout'),
        ('bad.py', topic, 'active', 'not active'),
        ('good.py', 'update/resource/projects/a', 'filter', 'does not match'),
        ('case.py', topic, 'filter', 'does not match'),
        ('good.py', '/' + topic, 'taken', 'did you mean ' + topic),
        ('good.py', 'other/x', 'taken', 'does not subscribe'),
        ('good.py', 'create/resource/scripts/good.py', 'taken', 'scripts collection'),
    ):
        says(daemon, script, about, rung, words)
    rows, last = explain(daemon, topic)
    verdicts = {row['script']: (row['verdict'], row['rung']) for row in rows}
    equal(
        verdicts,
        {
            'good.py': ('runs', ''),
            'case.py': ('nearly', 'filter'),
            'dead.py': ('nearly', 'filter'),
            'no-topic.py': ('nearly', 'active'),
            'cap.py': ('nearly', 'active'),
            'bad.py': ('nearly', 'active'),
        },
    )
    equal((last['taken'], last['runs'], last['others']), (True, 1, 0))
    text = daemon.ctl_run('explain', topic).stdout.decode()
    for words in ('RUNS', 'NEARLY', 'upper and lower case', "level 1 of its filter is 'creat'", 'timeout'):
        check(words in text, text)
    wrong(daemon, 'scripts-refused', 'warning', '2 scripts are refused')
    wrong(daemon, 'scripts-undeliverable', 'warning', 'the first is dead.py')
    equal(daemon.ctl_run('explain', 'delete/group/x').returncode, 4)


def test_did_it_arrive(t):
    broker = t.broker()
    daemon = t.listener(broker, ini={'listener': {'payload_max': '1K'}}).start()
    daemon.script('a.py', 'pass\n', topic='create/resource/#')
    check('no event with this topic came' in daemon.ctl_run('explain', 'create/resource/a').stdout.decode(), 'arrived')
    broker.publish('create/resource/a', b'', qos=1)
    broker.publish('create/group/b', b'{}')
    broker.publish('create/resource/scripts/x', b'')
    broker.publish('create/resource/large', b'x' * 2000)
    decisions = {'create/resource/a': 'matched', 'create/group/b': 'unmatched'}
    decisions.update({'create/resource/scripts/x': 'shielded', 'create/resource/large': 'rejected'})
    harness.wait(lambda: len(daemon.ctl('events')) == 5, 'the events', SECONDS)  # the last is reach_realtime_usec
    rows = daemon.ctl('events')[:-1]
    equal({row['topic']: row['decision'] for row in rows}, decisions)
    equal([(row['event'] > 0, row['jobs']) for row in rows if row['decision'] == 'matched'], [(True, 1)])
    equal([row['topic'] for row in daemon.ctl('events', '--decision', 'unmatched')[:-1]], ['create/group/b'])
    equal(len(daemon.ctl('events', '--topic', '+/resource/#', '--limit', '2')), 3)
    equal(daemon.ctl_run('events', '--decision', 'lost').returncode, 1)
    equal(daemon.ctl_run('events', '--topic', 'a/#/b').returncode, 1)
    text = daemon.ctl_run('explain', 'a.py', 'create/resource/a').stdout.decode()
    check('1 with this topic came in the last' in text and 'ago: matched' in text, text)
    equal(explain(daemon, 'a.py', 'create/resource/never')['runs'], True, 'an event that never came is no hindrance')


def test_the_broker(t):
    broker = t.broker()
    daemon = t.listener(broker, ini={'broker': {'reconnect_max': '100ms'}}).start()
    daemon.script('a.py', 'pass\n', topic='create/#')
    broker.stop()
    wrong(daemon, 'broker-away', 'warning', 'no events come')
    since = daemon.status()['broker']['since_realtime_usec']
    says(daemon, 'a.py', 'create/a', 'taken', 'no event can arrive now')
    time.sleep(0.5)
    equal(daemon.status()['broker']['since_realtime_usec'], since, 'the time of the loss')
    broker.start()
    well(daemon)
    daemon.stop()
    done = daemon.ctl_run('check')
    equal((done.returncode, done.stdout), (2, b'LISTENERD CRITICAL - listenerd is not running\n'))


def test_a_daemon_that_hangs(t):
    daemon = t.listener(t.broker()).start()
    daemon.process.send_signal(signal.SIGSTOP)
    try:
        done = daemon.ctl_run('check')
    finally:
        daemon.process.send_signal(signal.SIGCONT)
    equal((done.returncode, done.stdout), (2, b'LISTENERD CRITICAL - no answer from listenerd\n'))


# ----------------------------------------------------------------------------- it waits for a place
def test_an_executor_with_a_problem_and_one_that_is_missing(t):
    broker = t.broker()
    daemon = moody(t, broker, sick=1, places=0).start()
    daemon.script('a.py', 'pass\n', topic='create/#')
    wrong(daemon, 'executor-down', 'warning', 'no job waits for it')
    broker.publish('create/resource/a', b'')
    words = 'executor moody runs nothing: in a bad mood'
    wait_waits(daemon, 'a.py', 'executor-down', words)
    says(daemon, 'a.py', 'create/resource/b', 'place', words)
    wrong(daemon, 'executor-down', 'failure', 'in a bad mood; 1 job waits for it')
    check(words in daemon.ctl_run('explain', 'create/resource/b').stdout.decode(), 'explain for all')
    check('runs nothing: in a bad mood' in daemon.ctl_run('executors').stdout.decode(), 'executors')
    daemon.script('b.py', 'pass\n', topic='update/#', executor='moody')
    broker.publish('update/resource/a', b'')
    wait_waits(daemon, 'b.py', 'executor-down', words)
    daemon.change({'dispatcher': {'default_executor': 'json-lines'}, 'executor moody': None})
    daemon.reload()
    harness.wait(lambda: daemon.ctl('jobs', '--script', 'a.py')[0]['outcome'] == 'success', 'a.py to run', SECONDS)
    wait_waits(daemon, 'b.py', 'executor-missing', "executor 'moody' is not configured")
    wrong(daemon, 'executor-missing', 'failure', '1 jobs wait for it')
    daemon.ctl('cancel', daemon.ctl('jobs', '--script', 'b.py')[0]['id'])


def test_full_places_and_limits(t):
    broker = t.broker()
    daemon = moody(t, broker, {'dispatcher': {'per_script': 2, 'max_running': 4}}, delay_ms=600000, places=1).start()
    daemon.script('full.py', 'pass\n', topic='create/#')
    broker.publish_all([('create/resource/%d' % n, b'') for n in range(2)])
    wait_waits(daemon, 'full.py', 'executor-full', 'executor moody has no place free, 1 jobs run')
    says(daemon, 'full.py', 'create/resource/x', 'place', 'no place free')
    broker.publish('create/resource/0', b'')
    first = daemon.ctl('jobs', '--state', 'running')[0]['id']
    wait_waits(daemon, 'full.py', 'order', 'job %d of the script is about the same object' % first)
    says(daemon, 'full.py', 'create/resource/0', 'place', 'job %d of the script' % first)
    equal([row['id'] for row in daemon.ask({'command': 'conditions'})[0]], [], 'a full pool is no fault')
    daemon.change({'executor moody': {'concurrency': 1}})
    daemon.reload()
    daemon.script('other.py', 'pass\n', topic='update/#')
    broker.publish('update/resource/1', b'')
    wait_waits(daemon, 'other.py', 'executor-full', '1 of 1 places of executor moody are in use')
    daemon.change({'executor moody': {'concurrency': 64, 'places': 1000}})
    daemon.reload()
    broker.publish_all([('create/resource/%d' % n, b'') for n in range(10, 14)])
    wait_waits(daemon, 'full.py', 'script-limit', '2 of 2 jobs of the script run')
    says(daemon, 'full.py', 'create/resource/x', 'place', 'per_script')
    broker.publish_all([('update/resource/%d' % n, b'') for n in range(4)])
    daemon.script('third.py', 'pass\n', topic='delete/#')
    broker.publish('delete/resource/1', b'')
    wait_waits(daemon, 'third.py', 'limit', '4 of 4 jobs of all scripts run')
    daemon.kill()


def test_backoff_and_shortage(t):
    broker = t.broker()
    daemon = moody(t, broker, {'limits': {'retries_max': 3, 'retry_delay_max': '1h'}}, fail=1, delay_ms=1).start()
    daemon.script('again.py', 'pass\n', topic='create/#', retries='1', retry_delay='1h')
    broker.publish('create/resource/1', b'')
    wait_waits(daemon, 'again.py', 'backoff', 'attempt 1 ended without success; the next is due in 3')
    daemon.change({'executor moody': {'refuse_reserve': 100000}})
    daemon.reload()
    daemon.script('short.py', 'pass\n', topic='update/#')
    broker.publish('update/resource/1', b'')
    wait_waits(daemon, 'short.py', 'shortage', 'tried again soon: in a bad mood')
    daemon.kill()


def test_a_failing_journal(t):
    folder = os.path.join(t.folder, 'small')
    os.makedirs(folder)
    mounted = ['mount', '-t', 'tmpfs', '-o', 'size=8m,mode=755', 'listener-test', folder]
    if subprocess.run(mounted, stderr=subprocess.DEVNULL).returncode != 0:
        raise harness.Skip('cannot mount a tmpfs')
    t.stack.callback(subprocess.run, ['umount', '-l', folder])
    broker = t.broker()
    daemon = moody(t, broker, {'journal': {'path': folder + '/journal.db'}}, places=0).start()
    daemon.script('a.py', 'pass\n', topic='create/#')
    broker.publish('create/resource/a', b'')
    wait_waits(daemon, 'a.py', 'executor-full', 'no place free')
    space = os.statvfs(folder)
    with open(folder + '/ballast', 'wb') as f:
        os.posix_fallocate(f.fileno(), 0, space.f_bavail * space.f_frsize)
    broker.publish_all([('create/resource/%d' % n, b'x' * 3000) for n in range(300)])
    wrong(daemon, 'journal-failing', 'failure', 'no job starts')
    job = daemon.ctl('jobs', '--script', 'a.py', '--limit', 1)[0]
    equal(job['waits_for'], 'journal', job)
    says(daemon, 'a.py', 'create/resource/b', 'place', 'the journal cannot be written')
    os.unlink(folder + '/ballast')
    daemon.kill()


def test_a_reload_that_fails(t):
    daemon = t.listener(t.broker()).start()
    daemon.change({'listener': {'nonsense': '1'}})
    check(daemon.ctl_run('reload').returncode == 1, 'the reload')
    wrong(daemon, 'reload-failed', 'failure', 'unknown key')
    daemon.change({'listener': {'nonsense': None}})
    daemon.reload()
    well(daemon)


# ----------------------------------------------------------------------------- the sandbox executor
def test_a_frozen_engine_and_a_dead_port_wall(t):
    world = worlds.World(t)
    libexec = os.path.join(t.folder, 'libexec')
    shutil.copytree(harness.BUILD + '/libexec', libexec)
    broker = t.broker()
    daemon = t.listener(
        broker,
        docker={'socket': world.socket, 'dns': worlds.OUTSIDE, 'pool_min': 0, 'reuse': 'never'},
        ini={'listener': {'libexec_dir': libexec}},
    ).start()
    daemon.script('a.py', 'pass\n', topic='create/#')
    broker.publish('create/resource/0', b'')
    equal(daemon.wait_jobs(1, 60)[0]['outcome'], 'success')

    # frozen
    os.kill(world.engine_pid(), signal.SIGSTOP)
    t.stack.callback(os.kill, world.engine_pid(), signal.SIGCONT)
    broker.publish('create/resource/1', b'')
    words = 'the Docker Engine does not answer'
    wrong(daemon, 'executor-down', 'failure', words)
    wait_waits(daemon, 'a.py', 'executor-down', words)
    says(daemon, 'a.py', 'create/resource/x', 'place', words)
    os.kill(world.engine_pid(), signal.SIGCONT)
    daemon.wait_jobs(2, 60)
    well(daemon)

    # rules flushed by another program: they come back, and somebody should know
    subprocess.run(['nft', 'flush', 'ruleset'], check=True)
    wrong(daemon, 'executor-warning', 'warning', 'port wall: somebody removed or changed its rules')

    # a helper that is killed and does not start again
    helper = subprocess.run(['pgrep', '-P', str(daemon.process.pid), 'portwall'], stdout=subprocess.PIPE).stdout.split()
    os.unlink(libexec + '/portwall')
    shutil.copy('/bin/false', libexec + '/portwall')
    os.kill(int(helper[0]), signal.SIGKILL)
    broker.publish('create/resource/2', b'')
    wrong(daemon, 'executor-down', 'failure', 'port wall: the helper')
    wait_waits(daemon, 'a.py', 'executor-down', 'port wall: the helper')
    says(daemon, 'a.py', 'create/resource/x', 'place', 'port wall: the helper')
    daemon.kill()


if __name__ == '__main__':
    harness.main()
