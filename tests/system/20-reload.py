"""A reload that fails anywhere changes nothing and says why; one that works takes in new modules,
swaps changed ones, drains removed ones."""
import contextlib
import os
import re
import shutil
import signal
import sqlite3
import subprocess

import harness
from harness import check, equal


def plugin(daemon, name, module):
    """Drop tests/plugins' NAME into the executors folder as MODULE.so, in place at once."""
    path = os.path.join(daemon.modules, module + '.so')
    shutil.copy('%s/tests/plugins/%s.so' % (harness.BUILD, name), path + '.new')
    os.chmod(path + '.new', 0o755)
    os.rename(path + '.new', path)


def serves(daemon, broker):
    before = len(daemon.json_lines())
    broker.publish('create/resource/still-there', b'{}')
    harness.wait(lambda: len(daemon.json_lines()) > before, 'the daemon to serve on')


def refused(daemon, *words):
    """Reload, and it must fail with all of WORDS in its message; returns the message."""
    done = daemon.ctl_run('reload')
    equal(done.returncode, 1, 'status of listenerctl reload (it says %r)' % (done.stdout + done.stderr))
    message = done.stderr.decode()
    for word in words:
        check(word in message, '%r is not in the message %r' % (word, message))
    return message


def start(t):
    broker = t.broker()
    daemon = t.listener(broker).start()
    daemon.script('a.py', 'pass\n', topic='create/#')
    serves(daemon, broker)
    return broker, daemon


def test_broken_ini_keeps_the_old_state(t):
    broker, daemon = start(t)
    good = open(daemon.file).read()
    for broken, words in (
        (re.sub('port = .*', 'port = many', good), ['listenerd.ini:', 'port']),
        (good + '[broker]\nport = 1\n', ['listenerd.ini:', 'broker']),
        (good.replace('log_level', 'log_levle'), ['listenerd.ini:', 'log_levle', 'log_level']),
        (good + '[nonsense]\na = b\n', ['listenerd.ini:', 'nonsense']),
        (good.replace('[broker]', '[broker'), ['listenerd.ini:']),
        (good.replace('path = ', 'pth = '), ['listenerd.ini:', 'pth']),
        (good.replace('default_executor = json-lines', 'default_executor = no-such'), ['no-such']),
    ):
        with open(daemon.file, 'w') as f:
            f.write(broken)
        refused(daemon, *words)
        serves(daemon, broker)
    with open(daemon.file, 'w') as f:
        f.write(good)
    daemon.reload()
    serves(daemon, broker)


def test_sighup_with_a_broken_ini_keeps_the_old_state(t):
    broker, daemon = start(t)
    daemon.change({'broker': {'port': 'many'}})
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_log(r'listenerd.ini:\d+: .*port')
    serves(daemon, broker)


def test_bad_modules_keep_the_old_state(t):
    broker, daemon = start(t)
    for name, words in (
        ('bad-no-symbol', ['lsn_executor']),
        ('bad-major', ['version']),
        ('bad-short-struct', []),
        ('bad-init-fails', []),
    ):
        plugin(daemon, name, 'extra')
        daemon.change({'executor extra': {}})
        refused(daemon, 'extra', *words)
        serves(daemon, broker)
        daemon.change({'executor extra': None})
    with open(os.path.join(daemon.modules, 'extra.so'), 'wb') as f:
        f.write(b'\x7fELF this is not')
    daemon.change({'executor extra': {}})
    refused(daemon, 'extra')
    os.unlink(os.path.join(daemon.modules, 'extra.so'))
    refused(daemon, 'extra')
    plugin(daemon, 'good', 'extra')
    os.chmod(os.path.join(daemon.modules, 'extra.so'), 0o777)
    refused(daemon, 'extra.so', 'writ')
    serves(daemon, broker)


def test_a_module_that_hangs_at_load_holds_nobody_up(t):
    broker, daemon = start(t)
    plugin(daemon, 'bad-load-hangs', 'extra')
    daemon.change({'executor extra': {}})
    reload = subprocess.Popen(
        [harness.BUILD + '/listenerctl', '-s', daemon.socket, 'reload'], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    turns = 0
    while reload.poll() is None:
        serves(daemon, broker)
        turns += 1
    check(turns >= 2, 'the daemon served %d times while the module hung' % turns)
    equal(reload.returncode, 1)
    check(b'hang' in reload.stderr.read(), 'the message does not say what happened')
    daemon.change({'executor extra': None})
    daemon.reload()
    serves(daemon, broker)


def test_new_module_is_loaded_replaced_and_removed(t):
    broker, daemon = start(t)
    equal([row['name'] for row in daemon.ctl('executors')], ['json-lines'])
    second = daemon.folder + '/second.jsonl'
    daemon.change(
        {
            'executor second': {'module': 'json-lines', 'path': second},
            'route two': {'script': 'b.py', 'executor': 'second'},
        }
    )
    daemon.reload()
    equal(sorted(row['name'] for row in daemon.ctl('executors')), ['json-lines', 'second'])
    daemon.script('b.py', 'pass\n', topic='create/#')
    broker.publish('create/resource/x', b'{}')
    harness.wait(
        lambda: os.path.exists(second) and len(open(second).readlines()) == 1, 'the second instance to get a job'
    )
    daemon.change({'executor second': None, 'route two': None})
    daemon.reload()
    harness.wait(
        lambda: [row['name'] for row in daemon.ctl('executors')] == ['json-lines'], 'the second instance to go'
    )
    serves(daemon, broker)


def test_module_overwritten_in_place_hurts_nobody(t):
    broker, daemon = start(t)
    with open(daemon.modules + '/json-lines.so', 'r+b') as f:
        f.truncate(0)
    serves(daemon, broker)
    refused(daemon, 'json-lines')
    serves(daemon, broker)
    shutil.copy(harness.BUILD + '/executors/json-lines.so', daemon.modules)
    daemon.reload()
    serves(daemon, broker)


def test_missing_image_is_said_and_the_old_state_serves(t):
    broker = t.broker()
    daemon = t.listener(broker, docker={}, ini={'dispatcher': {'default_executor': 'json-lines'}}).start()
    daemon.script('a.py', 'pass\n', topic='create/#')
    serves(daemon, broker)
    daemon.change({'executor docker-sandbox': {'image': 'no-such-image:ever'}})
    refused(daemon, 'no-such-image:ever', 'build-image')
    serves(daemon, broker)


def test_a_start_without_the_image_waits_for_it(t):
    """A machine whose image is made later, as after the installation of a package."""
    image = 'listener-test-later-%d:latest' % os.getpid()
    broker = t.broker()
    daemon = t.listener(broker, docker={}, ini={'executor docker-sandbox': {'image': image}}).start()
    daemon.script('a.py', 'pass\n', topic='create/#')
    broker.publish('create/resource/a', b'{}')
    harness.wait(
        lambda: 'image %s not found: build it with build-image' % image
        in next(row for row in daemon.ctl('executors') if row['name'] == 'docker-sandbox')['details']['problem'],
        'the reason to be shown',
    )
    harness.docker('tag', 'listener-sandbox:latest', image)
    try:
        equal(daemon.wait_jobs(1, 60)[0]['outcome'], 'success')
        daemon.stop()
    finally:
        harness.docker('rmi', image, check_status=False)


def test_tls_files_are_tried_before_the_old_state_goes(t):
    broker, daemon = start(t)
    garbage = os.path.join(daemon.folder, 'garbage.pem')
    with open(garbage, 'w') as f:
        f.write('not a certificate\n')
    for key, file in (('tls_ca_file', '/no/such/ca.pem'), ('tls_ca_file', garbage)):
        daemon.change({'broker': {'tls': 'yes', key: file}})
        refused(daemon, 'broker', key, file)
        equal(daemon.status()['broker']['state'], 'connected')
        serves(daemon, broker)
    daemon.change({'broker': {'tls': None, 'tls_ca_file': None, 'keepalive': '77s'}})
    daemon.reload()
    harness.wait(lambda: daemon.status()['broker']['state'] == 'connected', 'the connection with the new settings')
    serves(daemon, broker)


def test_unusable_tls_files_at_the_start_are_78(t):
    daemon = t.listener(t.broker())
    daemon.change({'broker': {'tls': 'yes', 'tls_ca_file': '/no/such/ca.pem'}})
    daemon.start(ready=False)
    process, daemon.process = daemon.process, None
    equal(process.wait(60), 78)
    check('tls_ca_file' in daemon.log_text() and '/no/such/ca.pem' in daemon.log_text(), daemon.log_text())


def ask(daemon):
    """listenerd -t: (status, what it means, what it complains of)."""
    done = subprocess.run(
        [harness.BUILD + '/listenerd', '-t', '-c', daemon.file],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=60 * harness.SLOW,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_dash_t_tells_beforehand_what_would_not_start(t):
    broker, daemon = start(t)
    status, meaning, problems = ask(daemon)
    equal((status, problems), (0, ''), 'listenerd -t beside a running daemon')
    check('port = %d' % broker.port in meaning, meaning)
    plugin(daemon, 'bad-load-crashes', 'extra')
    daemon.change({'executor extra': {}, 'executor gone': {'module': 'no-such'}, 'control': {'group': 'no-such-group'}})
    status, _, problems = ask(daemon)
    equal(status, 78, 'status with modules that cannot be loaded')
    for pattern in (
        r'listenerd.ini:\d+: .*extra',
        r'listenerd.ini:\d+: module: .*no-such',
        r'listenerd.ini:\d+: group: .*no-such-group',
    ):
        check(re.search(pattern, problems), '%r is not in %r' % (pattern, problems))
    serves(daemon, broker)


def test_the_command_line_has_the_last_word_on_the_log(t):
    broker = t.broker()
    daemon = t.listener(broker, ini={'listener': {'log_level': 'error'}}, arguments=['-vv']).start()
    daemon.reload()
    at = len(daemon.log_text())
    daemon.script('a.py', 'pass\n', topic='create/#')
    serves(daemon, broker)
    check(' debug: ' in daemon.log_text()[at:], 'no debug line after a reload in\n' + daemon.log_text())


def test_broken_configuration_at_the_start_is_78(t):
    broker = t.broker()
    daemon = t.listener(broker)
    daemon.change({'broker': {'port': 'many'}})
    daemon.start(ready=False)
    process, daemon.process = daemon.process, None
    equal(process.wait(20), 78)
    check('listenerd.ini:' in daemon.log_text(), daemon.log_text())


def test_a_journal_that_is_not_ours_to_open_is_78(t):
    """Of a newer release, or damaged: nothing that a restart could mend, and nothing is written."""
    daemon = t.listener(t.broker()).start()
    daemon.stop()
    path = os.path.join(daemon.state, 'journal.db')
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute('PRAGMA user_version = 1000')
        db.commit()
    refused_at_start(daemon, 'newer listenerd')
    with contextlib.closing(sqlite3.connect(path)) as db:
        equal(db.execute('PRAGMA user_version').fetchone()[0], 1000)
    with open(path, 'r+b') as f:
        f.write(b'no database' * 100)
    refused_at_start(daemon, 'journal.db')


def refused_at_start(daemon, word):
    at = len(daemon.log_text())
    daemon.start(ready=False)
    process, daemon.process = daemon.process, None
    equal(process.wait(60), 78)
    check(word in daemon.log_text()[at:], daemon.log_text()[at:])


if __name__ == '__main__':
    harness.main()
