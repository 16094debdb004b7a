"""What listenerctl does for the authors of scripts: test, sample."""
import json
import os
import re
import shutil
import signal
import subprocess
import time

import harness
import indigo
from harness import check, equal

SECONDS = 60  # for what takes milliseconds on a quiet machine
TOPIC = 'create/resource/projects/p1/a.csv'
LOOKS = '''import json, os, sys
print(json.dumps({'argv': sys.argv, 'stdin': sys.stdin.read(), 'uid': os.getuid(), 'cwd': os.getcwd(),
    'environment': {k: v for k, v in os.environ.items() if k.startswith('LISTENER')}}))
print('to stderr', file=sys.stderr)
try:
    open('/tmp/x', 'w')
except OSError as e:
    print(e.strerror, file=sys.stderr)
sys.exit(7)
'''


def lonely(t, docker=None, ini=None):
    """A listener with neither broker nor scripts, that knows what the administrator allows."""
    daemon = t.listener(None, docker=docker, ini=ini).start(ready=False)

    def answers():
        return daemon.ctl_run('status').returncode == 0

    def is_well():
        return all(not row['problem'] for row in daemon.ctl('executors'))

    harness.wait(answers, lambda: 'an answer of the daemon: %s' % daemon.log_text()[-1000:], SECONDS)
    harness.wait(is_well, lambda: 'an executor that can run: %s' % daemon.ctl('executors'), SECONDS)
    return daemon


def write(daemon, name, text, **metadata):
    """A script of an author's own, which nobody has registered."""
    folder = os.path.join(daemon.folder, 'mine')
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, name)
    with open(path, 'w') as f:
        f.write(text)
    if os.path.exists(path + '.meta'):
        os.remove(path + '.meta')
    if metadata:
        with open(path + '.meta', 'w') as f:
            f.write(''.join('%s = %s\n' % item for item in metadata.items()))
    return path


def tries(daemon, *words, status=0, stdin=b''):
    """(standard output, standard error) of listenerctl test, which has ended with STATUS."""
    done = subprocess.run(
        [harness.BUILD + '/listenerctl', '-s', daemon.socket, 'test'] + [str(word) for word in words],
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(os.environ, ASAN_OPTIONS='detect_leaks=0'),
        timeout=200,
    )
    out, err = done.stdout.decode(), done.stderr.decode()
    equal(done.returncode, status, 'status of test %s (%s / %s)' % (words, out, err))
    return out, err


def running(daemon, name='docker-sandbox'):
    return [row['running'] for row in daemon.ctl('executors') if row['name'] == name][0]


def moody(t, ini=None, broker=None, **options):
    """A listener whose scripts run on moody."""
    daemon = t.listener(broker, ini=dict({'listener': {'drain': '100ms'}}, **(ini or {})))
    shutil.copy(harness.BUILD + '/tests/plugins/moody.so', daemon.modules)
    os.chmod(daemon.modules + '/moody.so', 0o755)
    daemon.change({'dispatcher': {'default_executor': 'moody'}, 'executor moody': dict({'open': 'yes'}, **options)})
    daemon.start(ready=broker is not None)
    harness.wait(lambda: daemon.ctl_run('status').returncode == 0, 'an answer of the daemon', SECONDS)
    return daemon


# ----------------------------------------------------------------------------------- in the sandbox
def test_a_script_runs_where_it_would_run(t):
    daemon = lonely(t, docker={}, ini={'limits': {'timeout_max': '20s'}})
    path = write(daemon, 'looks.py', LOOKS, topic='create/+/projects/#', timeout='15s')
    out, err = tries(daemon, path, TOPIC, '{"pre": {}}', status=7)
    saw = json.loads(out)
    equal((saw['argv'], saw['stdin']), (['looks.py', TOPIC, '{"pre": {}}'], '{"pre": {}}'))
    equal((saw['uid'], saw['cwd']), (65534, '/scripts'))
    equal((saw['environment']['LISTENER_TEST'], saw['environment']['LISTENER_ATTEMPT']), ('1', '1'))
    for words in (
        'looks.py would be registered: create/+/projects/#, 15.0 s',
        '[%s] {"pre": {}}' % TOPIC,
        'to stderr\nRead-only file system\n',
        'failure: exit status 7 after ',
        'This was a real run',
    ):
        check(words in err, (words, err))
    equal(daemon.jobs(), [], 'jobs in the journal')
    equal(daemon.status()['counters']['finished'], 0)


def test_limits_and_what_becomes_of_them(t):
    daemon = lonely(t, docker={}, ini={'limits': {'timeout_max': '20s'}})
    for name, text, metadata, status, words in (
        ('good.py', 'pass\n', {}, 0, 'success after'),
        ('syntax.py', 'def f(:\n', {}, 1, 'SyntaxError'),
        ('slow.py', 'import time; time.sleep(60)\n', {'timeout': '1s'}, 124, 'timeout after 1.'),
        ('killed.py', 'import os; os.kill(os.getpid(), 15)\n', {}, 143, 'signal 15'),
        ('large.py', 'x = bytearray(100 << 20)\n', {'memory': '16M'}, 1, 'MemoryError'),
    ):
        path = write(daemon, name, text, topic='create/#', **metadata)
        if name == 'large.py':  # killed by the kernel, or refused by it
            done = daemon.ctl_run('test', path)
            check(done.returncode in (1, 137), done)
            continue
        out, err = tries(daemon, path, status=status)
        check(words in err, (name, err))
    out, err = tries(
        daemon, write(daemon, 'slow.py', 'import time; time.sleep(60)\n'), '--set', 'timeout=1s', status=124
    )
    check('slow.py would not be registered: it has no topic' in err and 'timeout after 1.' in err, err)


def test_output_comes_as_it_is(t):
    daemon = lonely(t, docker={})
    path = write(daemon, 'bytes.py', 'import sys; sys.stdout.buffer.write(bytes(range(256)) * 2)\n', topic='create/#')
    done = subprocess.run(
        [harness.BUILD + '/listenerctl', '-s', daemon.socket, 'test', path], stdout=subprocess.PIPE, timeout=200
    )
    equal((done.returncode, done.stdout), (0, bytes(range(256)) * 2))
    path = write(daemon, 'much.py', 'print("x" * 300000)\n', topic='create/#')
    out, err = tries(daemon, path)
    equal(len(out), 256 * 1024)
    check('stdout is cut here' in err, err)
    row = json.loads(tries(daemon, path, '--json')[0])
    equal((row['state'], row['run']['outcome'], row['run']['out_truncated']), ('active', 'success', True))


def test_events_from_everywhere(t):
    daemon = lonely(t, docker={})
    path = write(daemon, 'echo.py', 'import sys; print(sys.argv[1]); print(sys.stdin.read())\n', topic='update/user/+')
    messages = dict(indigo.messages())
    out, err = tries(daemon, path)  # a sample of what its topic matches
    equal(out, 'update/user/user1\n%s\n' % messages['update/user/user1'].decode())
    check('(a sample; --event FILE for yours)' in err, err)
    out, err = tries(daemon, path, 'delete/group/curators')
    equal(out, 'delete/group/curators\n%s\n' % messages['delete/group/curators'].decode())
    check('its topics do not match this one' in err, err)
    equal(tries(daemon, path, 'some/thing/else')[0], 'some/thing/else\n{}\n')
    all_of_them = daemon.ctl_run('sample').stdout
    should = ''.join('%s\n%s\n' % (topic, payload.decode()) for topic, payload in indigo.messages())
    equal(tries(daemon, path, '--event', '-', stdin=all_of_them)[0], should)
    file = os.path.join(daemon.folder, 'event')
    for text, topic, payload in (
        (b'[create/resource/a [1] b.csv] {"pre": {}}\n', 'create/resource/a [1] b.csv', '{"pre": {}}'),
        (b'["a", "] "]', 'update/user/user1', '["a", "] "]'),
        (b'not JSON\n', 'update/user/user1', 'not JSON\n'),
        (b'', 'update/user/user1', ''),
    ):
        with open(file, 'wb') as f:
            f.write(text)
        equal(tries(daemon, path, '--event', file)[0], '%s\n%s\n' % (topic, payload))
    with open(file, 'wb') as f:
        f.write(b'[a/b] {}\nsomething else\n')
    check(
        'event:2: this line is not [TOPIC] PAYLOAD' in tries(daemon, path, '--event', file, status=125)[1], 'a bad line'
    )
    check('cannot be read' in tries(daemon, path, '--event', '/nowhere', status=125)[1], 'no file')


def test_registered_scripts_and_old_events(t):
    broker = t.broker()
    daemon = t.listener(broker, docker={}).start()
    text = 'import os, sys; print("first", sys.argv[1], sys.stdin.read(), os.environ.get("LISTENER_TEST"))\n'
    daemon.script('sub/a.py', text, topic='create/#', timeout='7s', output='capture')
    broker.publish(TOPIC, b'{"real": 1}')
    job = daemon.wait_jobs(1, SECONDS)[0]
    equal(daemon.output(job['id']), b'first %s {"real": 1} None\n' % TOPIC.encode())
    out, err = tries(daemon, '--script', 'sub/a.py')
    check(out.startswith('first create/resource/example.csv {"pre": {}') and out.endswith(' 1\n'), out)
    check('sub/a.py is registered: create/#, 7.0 s' in err, err)
    equal(tries(daemon, '--job', job['id'])[0], 'first %s {"real": 1} 1\n' % TOPIC)
    path = write(daemon, 'b.py', text.replace('first', 'second'))
    out, err = tries(daemon, path, '--as', 'sub/a.py', '--job', job['id'])
    equal(out, 'second %s {"real": 1} 1\n' % TOPIC)
    check('sub/a.py would be registered: create/#, 7.0 s' in err, err)
    check('no script of that name' in tries(daemon, '--script', 'none.py', status=125)[1], 'unknown')
    check('no job 999' in tries(daemon, path, '--job', 999, status=125)[1], 'unknown job')
    equal(len(daemon.jobs()), 1, 'jobs in the journal')


def test_who_is_refused_does_not_run(t):
    daemon = lonely(t, ini={'limits': {'timeout_max': '12s'}})
    for metadata, text, words in (
        ({'topic': 'create/#', 'timeout': '60s'}, 'pass\n', 'timeout = 60s: the administrator allows at most 12s'),
        ({'topic': 'create/#/x'}, 'pass\n', 'topic = "create/#/x"'),
        ({'Topic': 'create/#'}, 'pass\n', 'did you mean topic?'),
        ({'topic': 'create/#', 'timeuot': '5s'}, 'pass\n', 'did you mean timeout?'),
        ({'topic': 'create/#', 'executor': 'none'}, 'pass\n', 'has not opened'),
        ({'topic': 'create/#'}, '', 'the script is empty'),
        ({'topic': 'create/#', 'nonsense\nx': '1'}, 'pass\n', 'a.py.meta:2: this line is not KEY = VALUE'),
    ):
        path = write(daemon, 'a.py', text, **metadata)
        check(words in tries(daemon, path, status=126)[1], words)
    path = write(daemon, 'a.py', 'pass\n', topic='create/#')
    check('a test can set' in tries(daemon, path, '--set', 'topic=x', status=126)[1], 'a key that is none')
    equal(json.loads(tries(daemon, path, '--set', 'timeout=99h', '--json', status=126)[0])['state'], 'refused')
    equal(daemon.json_lines(), [])
    check('there is no file' in tries(daemon, '/nowhere/a.py', status=125)[1], 'no file')
    for words in ((), (path, 'a/b', '{}', 'more'), (path, 'a/b', '--event', '-'), ('--script', 'a', '--as', 'b')):
        equal((words, daemon.ctl_run('test', *words).returncode), (words, 125))


def test_json_lines_says_that_it_is_a_test(t):
    daemon = lonely(t)
    tries(daemon, write(daemon, 'a.py', 'pass\n', topic='create/#'), TOPIC, '{}')
    line = daemon.json_lines()[0]
    equal((line['script'], line['topic'], line['payload'], line['test']), ('a.py', TOPIC, '{}', True))


# ----------------------------------------------------------------------------------- in the way of it
def start_test(daemon, *words):
    return subprocess.Popen(
        [harness.BUILD + '/listenerctl', '-s', daemon.socket, 'test'] + [str(word) for word in words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


SLEEPS = 'import time; time.sleep(600)\n'


def test_it_ends_with_who_asked_for_it(t):
    daemon = lonely(t, docker={}, ini={'limits': {'timeout_max': '10min'}})
    path = write(daemon, 'sleeps.py', SLEEPS, topic='create/#', timeout='10min')
    tried = start_test(daemon, path)
    harness.wait(lambda: running(daemon) == 1, 'the test to run', SECONDS)
    harness.end_process(tried, signal.SIGINT)
    harness.wait(lambda: running(daemon) == 0, 'the test to be cancelled', SECONDS)
    equal(daemon.jobs(), [])
    tried = start_test(daemon, path)
    harness.wait(lambda: running(daemon) == 1, 'the next test to run', SECONDS)
    daemon.stop()  # and so it does with the daemon
    out = tried.communicate(timeout=SECONDS)[0].decode()
    equal((tried.returncode, 'the daemon is stopping' in out), (125, True), out)


def nobodys(daemon):
    """Processes of user nobody in the daemon's sandboxes: scripts."""
    ids = harness.docker('ps', '-q', '--filter', 'label=%s=%s' % (harness.LABEL, daemon.identity)).split()
    lines = [line for i in ids for line in harness.docker('top', i, '-eo', 'pid,uid', check_status=False).splitlines()]
    return [line for line in lines if '65534' in line]


def test_a_daemon_that_is_killed_leaves_nothing(t):
    broker = t.broker()
    daemon = t.listener(broker, docker={}, ini={'limits': {'timeout_max': '10min'}}).start()
    harness.wait(lambda: not [r for r in daemon.ctl('executors') if r['problem']], 'an executor that can run', SECONDS)
    path = write(daemon, 'sleeps.py', SLEEPS, topic='create/#', timeout='10min')
    tried = start_test(daemon, path)
    harness.wait(lambda: running(daemon) == 1, 'the test to run', SECONDS)
    harness.wait(lambda: nobodys(daemon), 'a process of the script', SECONDS)
    daemon.kill()
    out = tried.communicate(timeout=SECONDS)[0].decode()
    equal((tried.returncode, 'closed the connection' in out), (125, True), out)
    daemon.start()
    harness.wait(lambda: not nobodys(daemon), lambda: 'its process to be gone: %s' % nobodys(daemon), SECONDS)
    equal(daemon.jobs(), [])
    equal(daemon.status()['jobs']['lost'], 0)
    daemon.script('a.py', 'pass\n', topic='create/#')
    broker.publish(TOPIC, b'')
    equal(daemon.wait_jobs(1, SECONDS)[0]['outcome'], 'success')


def test_an_executor_without_a_place(t):
    daemon = moody(t, places=0)
    path = write(daemon, 'a.py', 'pass\n', topic='create/#')
    began = time.monotonic()
    out, err = tries(daemon, path, '--wait', '500ms', status=125)
    check('executor moody has had no place for 0.5 s' in err and time.monotonic() - began >= 0.5, err)
    asked = daemon.log_text().count('command=test')
    waits = [start_test(daemon, path, '--wait', '10min') for _ in range(2)]  # [control] tests

    def third():
        return b'2 tests run or wait already' in daemon.ctl_run('test', path, '--wait', '1ms').stderr

    # each asks twice: what would it be registered as, and run
    harness.wait(lambda: daemon.log_text().count('command=test') == asked + 4, 'both to wait', SECONDS)
    check(third(), 'a third one may wait, too')
    waits[0].kill()
    waits[0].wait()
    harness.wait(lambda: not third(), 'the first to be gone', SECONDS)
    daemon.change({'executor moody': {'places': '9'}})
    daemon.reload()
    out = waits[1].communicate(timeout=SECONDS)[0].decode()
    equal((waits[1].returncode, 'success after' in out), (0, True), out)
    equal(daemon.jobs(), [])


def test_a_test_comes_before_a_backlog(t):
    broker = t.broker()
    daemon = t.listener(broker, docker={'concurrency': 1}).start()
    daemon.script('busy.py', 'import time; time.sleep(0.2)\n', topic='create/#')
    for number in range(300):
        broker.publish('create/resource/%d' % number, b'')
    harness.wait(lambda: running(daemon) == 1, 'the backlog to begin', SECONDS)
    tries(daemon, write(daemon, 'a.py', 'pass\n', topic='create/#'), TOPIC)
    jobs = daemon.status()['jobs']
    check(jobs['queued'] > 0, 'the backlog was over first: %s' % jobs)


def test_an_executor_that_is_down(t):
    daemon = moody(t, sick=1, places=0)
    path = write(daemon, 'a.py', 'pass\n', topic='create/#')
    check('executor moody runs nothing: in a bad mood' in tries(daemon, path, status=125)[1], 'sick')
    daemon.change({'control': {'tests': '0'}})
    daemon.reload()
    check('[control] tests = 0' in tries(daemon, path, status=125)[1], 'not allowed')
    daemon.change({'dispatcher': {'default_executor': 'json-lines'}, 'control': {'tests': '1'}})
    daemon.reload()
    tries(daemon, path)
    daemon.stop()
    check('listenerd is not running' in tries(daemon, path, status=125)[1], 'no daemon')


def test_an_executor_that_never_reports_or_never_begins(t):
    daemon = moody(t, delay_ms=600000, grace_ms=200)
    path = write(daemon, 'a.py', 'pass\n', topic='create/#', timeout='300ms')
    check('has not reported the end of the test' in tries(daemon, path, status=125)[1], 'silent')
    daemon = moody(t, idle=2)  # two runs that never begin, then one that does
    tries(daemon, write(daemon, 'a.py', 'pass\n', topic='create/#'))
    daemon = moody(t, idle=1000)
    path = write(daemon, 'a.py', 'pass\n', topic='create/#')
    check('the script did not begin' in tries(daemon, path, '--wait', '500ms', status=125)[1], 'never begins')


def test_who_may(t):
    if os.geteuid() != 0:
        raise harness.Skip('needs root, to be somebody else')
    daemon = lonely(t, ini={'control': {'readers': '65533', 'testers': '65534'}})
    path = write(daemon, 'a.py', 'pass\n', topic='create/#')
    for folder in (daemon.folder, os.path.dirname(path)):
        os.chmod(folder, 0o755)

    def as_user(number, *words):
        return subprocess.run(
            ['setpriv', '--reuid=%d' % number, '--regid=%d' % number, '--clear-groups', '/proc/self/fd/9', '-s']
            + [daemon.socket, 'test']
            + [str(word) for word in words],
            stdin=script(path),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(9,),
            timeout=200,
        )

    def script(name):
        return open(name)

    program = os.open(harness.BUILD + '/listenerctl', os.O_RDONLY)
    os.dup2(program, 9)
    try:
        done = as_user(65534, '/proc/self/fd/0', '--as', 'a.py')
        check(b'no script of that name' in done.stderr, done.stderr)
        done = as_user(65534, '/proc/self/fd/0')
        equal((done.returncode, b'success' in done.stderr), (0, True), done.stderr)
        check(b'this command is for testers and operators' in as_user(65533, '/proc/self/fd/0').stderr, 'a reader')
        check(b'only operators may test with the payload' in as_user(65534, '--job', '1').stderr, 'a payload')
    finally:
        os.close(9)
        os.close(program)
    rows, last = daemon.ask({'command': 'test', 'script': 'a.py', 'topic': TOPIC})
    check('no payload' in last['error']['message'] or 'no script' in last['error']['message'], last)


# -------------------------------------------------------------------------------- why did it fail?
def test_output_of_failures_is_kept(t):
    broker = t.broker()
    daemon = t.listener(broker, docker={}).start()
    text = 'import sys; print("out"); print("a\\n%s\\n" % (sys.argv[1][-1] * 5), file=sys.stderr); sys.exit(sys.argv[1][-1] == "x")\n'
    for kept in ('discard', 'failures', 'capture'):
        daemon.script(kept + '.py', text, topic='create/#', output=kept)
    for topic in ('create/resource/good', 'create/resource/x'):
        broker.publish(topic, b'{}')
    jobs = {(job['script'], job['outcome']): job for job in daemon.wait_jobs(6, SECONDS)}
    output = {key: 'out' in daemon.show(job['id'])['runs'][0] for key, job in jobs.items()}
    should = {('discard.py', 'success'): False, ('discard.py', 'failure'): False}
    should.update({('failures.py', 'success'): False, ('failures.py', 'failure'): True})
    should.update({('capture.py', 'success'): True, ('capture.py', 'failure'): True})
    equal(output, should)
    messages = {key: job['message'] for key, job in jobs.items() if job['message']}
    equal(messages, {('failures.py', 'failure'): 'xxxxx', ('capture.py', 'failure'): 'xxxxx'})
    check('xxxxx' in daemon.ctl_run('jobs', '--failed').stdout.decode(), 'the table')
    check('failure: xxxxx' in daemon.ctl_run('explain', 'failures.py', 'create/resource/x').stdout.decode(), 'explain')
    shown = daemon.ctl_run('show', jobs['discard.py', 'failure']['id']).stdout.decode()
    check('No output was kept' in shown and 'listenerctl test --job' in shown, shown)
    check('No output' not in daemon.ctl_run('show', jobs['failures.py', 'failure']['id']).stdout.decode(), 'kept')
    equal(daemon.script_row('failures.py')['output'], 'failures')
    daemon.change({'limits': {'capture_allowed': 'no'}})
    daemon.reload()
    for name in ('failures.py', 'capture.py'):
        row = daemon.wait_script(name, lambda row: row['state'] == 'refused')
        check('the administrator' in row['reason'], row)
    daemon.change({'limits': {'output': 'failures'}})
    daemon.reload()
    daemon.wait_script('failures.py', lambda row: row['state'] == 'active')
    equal(daemon.script_row('capture.py')['state'], 'refused')


# -------------------------------------------------------------------------------------- help, sample
def test_each_command_has_help_with_an_example(t):
    def run(*words):
        return subprocess.run([harness.BUILD + '/listenerctl'] + list(words), stdout=subprocess.PIPE, timeout=60)

    done = run('--help')
    names = re.findall(r'^  ([a-z]+) ', done.stdout.decode().split('\n\n')[1], re.M)
    check(done.returncode == 0 and {'status', 'test', 'sample', 'help'} <= set(names), names)
    equal(run('help').stdout, done.stdout)
    for name in names:
        text = run('help', name).stdout.decode()
        equal(run(name, '--help').stdout.decode(), text)
        check(text.startswith('usage: listenerctl %s' % name), text)
        check(re.search(r'\nexamples:\n  .*listenerctl( --json)? %s' % name, text), text)
    check('--set KEY=VALUE' in run('test', '--help').stdout.decode(), 'options')
    equal(run('help', 'none').returncode, 2)


def test_bash_completes(t):
    daemon = t.listener(t.broker()).start()
    daemon.script('hello.py', 'pass\n', topic='create/#')
    file = os.path.join(harness.ROOT, 'conf.d/completion/listenerctl.bash')

    def completes(*words):
        script = (
            '. %s; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _listenerctl; printf "%%s\\n" "${COMPREPLY[@]}"' % file
        )
        environment = dict(os.environ, PATH=harness.BUILD + ':' + os.environ['PATH'], LISTENER_SOCKET=daemon.socket)
        command = ['bash', '-O', 'extglob', '-c', script, 'bash', 'listenerctl'] + list(words)
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, timeout=60)
        equal((done.returncode, done.stderr), (0, b''))
        return done.stdout.decode().split()

    equal(completes('sam'), ['sample'])
    equal(completes('help', 'rel'), ['reload', 'release'])
    equal(completes('-s', 'x', 'jobs', '--fai'), ['--failed'])
    equal(completes('jobs', '--state', 'qu'), ['queued'])
    equal(completes('nothing', '--'), [])
    harness.wait(lambda: completes('explain', 'he') == ['hello.py'], 'the name of a script', SECONDS)


def test_samples(t):
    program = harness.BUILD + '/listenerctl'

    def sample(*words, status=0):
        done = subprocess.run([program, 'sample'] + list(words), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        equal(done.returncode, status, done.stderr)
        return [
            re.fullmatch(r'\[(.*?)\] (.*)', line).groups() for line in done.stdout.decode().splitlines()
        ], done.stderr

    real = [(topic, payload.decode()) for topic, payload in indigo.messages()]
    equal(sample()[0], real)
    equal(sample('create')[0], [pair for pair in real if pair[0].startswith('create/')])
    equal(sample('user')[0], [pair for pair in real if '/user/' in pair[0]])
    equal(sample('delete/group')[0], [pair for pair in real if pair[0].startswith('delete/group')])
    equal(
        sample('update/resource/projects/p1/a.csv')[0],
        [pair for pair in real if pair[0] == 'update/resource/projects/p1/a.csv'],
    )
    ((topic, payload),) = sample('update_metadata/resource/x/y z/ä.csv')[0]
    state = json.loads(payload)['post']
    equal((topic, state['container'], state['name']), ('update_metadata/resource/x/y z/ä.csv', '/x/y z', 'ä.csv'))
    check(payload.isascii(), 'as the archive writes it')
    ((topic, payload),) = sample('create/resource/top.csv')[0]
    equal((json.loads(payload)['post']['container'], json.loads(payload)['post']['name']), ('/', 'top.csv'))
    for word in ('x', 'create/thing', 'move/resource/a', ''):
        check(b'the kinds are: create/collection' in sample(word, status=2)[1], word)


if __name__ == '__main__':
    harness.main()
