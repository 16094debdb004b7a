#!/usr/bin/env python3
"""listenerctl doctor: its rows follow what the broker, the disk, the source and the files really
do."""
import contextlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import time

import harness
from harness import check, equal, wait

PROBE = 'listenerd-doctor'


def examine(daemon):
    """Rows by text; the exit status must be that of the worst."""
    done = daemon.ctl_run('--json', 'doctor')
    rows = [json.loads(line) for line in done.stdout.decode().splitlines()]
    check(rows, 'doctor says nothing: ' + done.stderr.decode())
    worst = max(['ok', 'warning', 'failure'].index(row['level']) for row in rows)
    equal(done.returncode, worst, 'exit status with %s' % rows)
    for row in rows:
        equal('remedy' in row, row['level'] != 'ok', 'a remedy in %s' % row)
    return rows


def find(rows, area, words):
    found = [row for row in rows if row['area'] == area and words in row['what']]
    check(
        len(found) == 1,
        '%d rows of %s say %r, should be one; rows: %s' % (len(found), area, words, json.dumps(rows, indent=1)),
    )
    return found[0]


def has(rows, level, area, words):
    row = find(rows, area, words)
    equal(row['level'], level, 'level of %s' % row)
    return row


def lacks(rows, area, words):
    check(not [row for row in rows if row['area'] == area and words in row['what']], '%r in %s' % (words, rows))


def sessions_left(broker):
    """What the broker still knows of probes: its database holds every session, and is written when
    it ends. It also holds the events that wait for the daemon, with the id of the client that
    published them, which has a letter behind it."""
    path = broker.folder + '/mosquitto.db'
    if os.path.exists(path):
        os.unlink(path)
    broker.process.send_signal(signal.SIGUSR1)
    wait(lambda: os.path.exists(path), 'mosquitto to save its database')
    with open(path, 'rb') as f:
        return len(re.findall(rb'-doctor-[0-9a-f]{8}(?!-)', f.read()))


def test_a_good_broker_is_ok(t):
    broker = t.broker()
    daemon = t.listener(broker).start()
    rows = examine(daemon)
    has(rows, 'ok', 'broker', 'connected as listenerd-')
    has(rows, 'ok', 'broker', 'an event reaches the daemon for 5 of 5 subscriptions')
    has(rows, 'ok', 'broker', 'arrives at QoS 1')
    has(rows, 'ok', 'broker', 'arrives once with 5 subscriptions')
    has(rows, 'ok', 'broker', 'while the daemon is away is kept')
    has(rows, 'ok', 'broker', 'before newer ones, under the old packet ids, with the DUP flag: each was recognised')
    has(rows, 'ok', 'broker', 'an event of 1048576 bytes arrives')
    has(rows, 'ok', 'broker', 'sends 1000 events without acknowledgement')
    has(rows, 'ok', 'broker', 'keeps 1750 events')
    has(rows, 'ok', 'broker', 'was written during the probe')
    has(rows, 'ok', 'config', 'is what the daemon runs with')
    has(rows, 'ok', 'journal', 'storing 4 KiB')
    has(rows, 'ok', 'source', 'can be read')
    has(rows, 'ok', 'json-lines', '')
    equal(sessions_left(broker), 0, 'sessions of probes at the broker')
    equal(daemon.counters()['events'], 0, 'probes taken for events')
    equal(daemon.status()['broker']['connects'], 1, 'connections of the daemon')


def test_mosquitto_as_it_comes_is_not(t):
    broker = t.broker(drop_in=False)
    daemon = t.listener(broker).start()
    rows = examine(daemon)
    has(rows, 'failure', 'broker', 'arrives at QoS 0')
    has(rows, 'failure', 'broker', 'while the daemon is away is lost')
    has(rows, 'warning', 'broker', 'sends only 20 events')
    has(rows, 'warning', 'broker', 'keeps only 1')
    has(rows, 'failure', 'broker', 'persistence is off')


def test_each_setting_is_seen_alone(t):
    """Mosquitto queues at the QoS it would deliver at, so either setting makes it keep what comes
    while the daemon is away."""
    settings = 'max_queued_messages 5000\nmax_inflight_messages 2000\npersistence true\n'
    broker = t.broker(settings + 'upgrade_outgoing_qos true\n', drop_in=False)
    rows = examine(t.listener(broker).start())
    has(rows, 'ok', 'broker', 'arrives at QoS 1')
    has(rows, 'ok', 'broker', 'while the daemon is away is kept')
    has(rows, 'ok', 'broker', 'sends at least 1750 events without acknowledgement (32768 can be recognised')
    has(rows, 'ok', 'broker', 'keeps 1750 events')
    has(rows, 'warning', 'broker', 'saves its queue each 1800 s only')
    broker = t.broker(settings + 'queue_qos0_messages true\n', drop_in=False)
    rows = examine(t.listener(broker).start())
    has(rows, 'failure', 'broker', 'arrives at QoS 0')
    has(rows, 'ok', 'broker', 'while the daemon is away is kept')


def test_a_large_event_is_tried(t):
    broker = t.broker('message_size_limit 100000\n')
    row = has(examine(t.listener(broker).start()), 'failure', 'broker', 'an event of 1048576 bytes does not arrive')
    check('message_size_limit' in row['remedy'] and 'RabbitMQ' not in row['remedy'], row)
    daemon = t.listener(broker, ini={'listener': {'payload_max': '50K'}}).start()
    has(examine(daemon), 'ok', 'broker', 'an event of 51200 bytes arrives')


def test_shares_are_tried_as_shares(t):
    ini = {'broker': {'subscriptions': '$share/g/create/# update/#'}}
    broker = t.broker()
    has(examine(t.listener(broker, ini=ini).start()), 'ok', 'broker', 'arrives once with 2 subscriptions')
    equal(sessions_left(broker), 0, 'sessions of probes at the broker')


def test_mqtt_5_tells_the_broker_its_limit(t):
    broker = t.broker()
    daemon = t.listener(broker, ini={'broker': {'version': '5', 'receive_max': '300'}}).start()
    rows = examine(daemon)
    has(rows, 'ok', 'broker', 'sends 300 events without acknowledgement')
    has(rows, 'ok', 'broker', 'keeps 1500 events')
    equal(sessions_left(broker), 0, 'sessions of probes at the broker')


def test_a_broker_that_is_away_is_said(t):
    broker = t.broker()
    daemon = t.listener(broker).start()
    broker.stop()
    wait(lambda: daemon.status()['broker']['state'] != 'connected', 'the daemon to notice')
    rows = examine(daemon)
    has(rows, 'failure', 'broker', 'the daemon is ')
    has(rows, 'failure', 'broker', 'cannot connect: Connection refused')


def test_a_broker_that_hangs_does_not_hold_the_daemon(t):
    broker = t.broker()
    daemon = t.listener(broker).start()
    doctor = None
    broker.process.send_signal(signal.SIGSTOP)
    try:
        doctor = t.process(
            harness.BUILD + '/listenerctl', '-s', daemon.socket, '--json', 'doctor', stdout=subprocess.PIPE
        )
        for _ in range(10):
            began = time.monotonic()
            daemon.status()
            check(time.monotonic() - began < 1 * harness.SLOW, 'status took %g s' % (time.monotonic() - began))
            time.sleep(0.1)
        rows, last = daemon.ask({'command': 'doctor'})
        check('under way' in last['error']['message'], last)
        out = doctor.communicate(timeout=60 * harness.SLOW)[0].decode()
        equal(doctor.returncode, 2, 'exit status')
        check('no answer from the broker' in out, out)
    finally:
        broker.process.send_signal(signal.SIGCONT)


def test_access_rules_are_not_taken_for_a_fault(t):
    rules = os.path.join(t.folder, 'acl')
    with open(rules, 'w') as f:
        f.write('topic readwrite create/#\ntopic readwrite update/#\ntopic readwrite delete/#\n')
    broker = t.broker('acl_file %s\n' % rules)
    daemon = t.listener(broker).start()
    row = has(examine(daemon), 'warning', 'broker', 'does not let us')
    check(PROBE + '/#' in row['remedy'], row)
    equal(sessions_left(broker), 0, 'sessions of probes at the broker')


def with_rules(t, text, **more):
    """A daemon whose broker has access rules, beside those for doctor's own topics."""
    rules = os.path.join(t.folder, 'acl-%d' % t.count())
    with open(rules, 'w') as f:
        f.write('topic readwrite listenerd-doctor/#\n' + text)
    daemon = t.listener(t.broker('acl_file %s\n' % rules), **more).start()
    daemon.script('a.py', 'pass\n', topic='#')
    return daemon


def test_a_subscription_that_is_granted_and_delivers_nothing(t):
    """Rules for reading count when the broker delivers, not when it grants."""
    for version in ('3.1.1', '5'):
        daemon = with_rules(
            t,
            'topic write create/#\ntopic readwrite update/#\ntopic readwrite delete/#\n',
            ini={'broker': {'subscriptions': 'create/# update/# delete/#', 'version': version}},
        )
        rows = examine(daemon)
        row = has(rows, 'failure', 'broker', 'does not reach the daemon for 1 of 3 subscriptions')
        check('create/#' in row['what'] and 'acl_file' in row['remedy'], row)
        has(rows, 'ok', 'broker', 'an event reaches the daemon for 2 of 3 subscriptions')
        equal(daemon.all_jobs(), [], 'jobs of what doctor published')
        equal((daemon.counters()['doctor'], daemon.counters()['events']), (2, 0), 'doctor\'s, and events')


def test_who_may_only_read_cannot_try(t):
    daemon = with_rules(
        t, 'topic read create/#\ntopic readwrite update/#\n', ini={'broker': {'subscriptions': 'create/# update/#'}}
    )
    rows = examine(daemon)
    row = has(rows, 'warning', 'broker', 'cannot be tried for 1 of 2 subscriptions, the first is create/#')
    check('write to such topics' in row['remedy'], row)
    lacks(rows, 'broker', 'does not reach the daemon')


def test_each_kind_of_subscription_is_tried(t):
    """On topics that match: with wildcards in the middle, none, and a share."""
    daemon = t.listener(t.broker(), ini={'broker': {'subscriptions': '+/a/+/x/# create/b $share/g/update/b/#'}}).start()
    daemon.script('a.py', 'pass\n', topic='#')
    has(examine(daemon), 'ok', 'broker', 'an event reaches the daemon for 3 of 3 subscriptions')
    equal(daemon.all_jobs(), [], 'jobs of what doctor published')
    listed = [row['topic'] for row in daemon.ask({'command': 'events', 'decision': 'doctor'})[0] if 'topic' in row]
    equal(
        sorted(listed),
        ['create/b', 'listenerd-doctor/a/listenerd-doctor/x/listenerd-doctor', 'update/b/listenerd-doctor'],
        'topics of doctor',
    )


def test_a_broker_that_replaces_client_ids_keeps_our_session(t):
    passwords = os.path.join(t.folder, 'passwords')
    subprocess.run(
        ['mosquitto_passwd', '-c', '-b', passwords, 'indigo', 'secret'],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.chmod(passwords, 0o644)
    broker = t.broker('password_file %s\nuse_username_as_clientid true\n' % passwords)
    daemon = t.listener(broker, ini={'broker': {'user': 'indigo', 'password': 'secret'}}).start()
    has(examine(daemon), 'failure', 'broker', 'replaces client ids')
    wait(lambda: daemon.status()['broker']['state'] == 'connected', 'the daemon to come back')
    daemon.wait_log('session resumed')


def test_subscription_to_everything_does_not_see_probes(t):
    broker = t.broker()
    daemon = t.listener(broker, ini={'broker': {'subscriptions': '#'}}).start()
    rows = examine(daemon)
    has(rows, 'ok', 'broker', 'arrives once with 1 subscription like')
    equal(daemon.counters()['events'], 0, 'probes taken for events')


def test_changed_files_are_said(t):
    daemon = t.listener(t.broker()).start()
    daemon.change({'limits': {'timeout': '7s'}})
    row = has(examine(daemon), 'warning', 'config', 'differ from')
    check('timeout = 7' in row['what'] and '[limits]' in row['what'], row)
    daemon.change({'broker': {'port': 'many'}})
    has(examine(daemon), 'failure', 'config', 'listenerd.ini:')


def test_the_source_is_looked_at_now(t):
    daemon = t.listener(t.broker()).start()
    daemon.script('good.py', 'pass\n', topic='create/#')
    daemon.script('bad.py', 'pass\n', topic='create/#/x', ready=False)
    daemon.wait_script('bad.py', lambda row: row['state'] == 'refused')
    has(examine(daemon), 'warning', 'source', '1 scripts are refused')
    shutil.rmtree(daemon.scripts)
    has(examine(daemon), 'failure', 'source', daemon.scripts)


def test_a_password_in_the_clear_is_said(t):
    scripts = {'source': 'cdmi', 'url': 'http://192.0.2.1/api/cdmi', 'user': 'u', 'password': 'p', 'timeout': '500ms'}
    daemon = t.listener(t.broker(), ini={'scripts': scripts}).start(ready=False)
    wait(lambda: os.path.exists(daemon.socket), 'the control socket')
    has(examine(daemon), 'warning', 'source', 'unencrypted')


def test_journal_in_memory_is_said(t):
    if not os.path.isdir('/dev/shm'):
        raise harness.Skip('no tmpfs at /dev/shm')
    folder = '/dev/shm/lsn-test-%d' % os.getpid()
    os.makedirs(folder, exist_ok=True)
    t.stack.callback(shutil.rmtree, folder, True)
    daemon = t.listener(t.broker(), ini={'journal': {'path': folder + '/journal.db', 'size_max': '900G'}}).start()
    rows = examine(daemon)
    has(rows, 'warning', 'journal', 'is on tmpfs')
    has(rows, 'warning', 'journal', 'it may grow by')
    equal([name for name in os.listdir(folder) if 'doctor' in name], [], 'files left')


def test_daemon_stopped_or_killed_meanwhile_leaves_nothing(t):
    broker = t.broker()
    daemon = t.listener(broker).start()
    for end in (signal.SIGTERM, signal.SIGKILL):
        doctor = t.process(
            harness.BUILD + '/listenerctl',
            '-s',
            daemon.socket,
            'doctor',
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait(lambda: '-doctor-' in open(broker.log).read().rsplit('MARK', 1)[-1], 'the probe at the broker')
        daemon.stop(end)
        doctor.wait(20)
        wait(lambda: sessions_left(broker) == 0, 'the probe to take its session away', 20)
        with open(broker.log, 'a') as f:
            f.write('MARK\n')
        daemon.start()


# ------------------------------------------------------------------------------- reload of [broker]


def taken(daemon, broker, topic, number):
    before = daemon.counters()['events']
    broker.publish(topic, b'{}')
    broker.publish('create/resource/mark', b'{}')
    daemon.wait_counter('events', before + number + 1)
    equal(daemon.counters()['events'], before + number + 1, 'events after one of ' + topic)


def test_reload_takes_old_subscriptions_off_the_session(t):
    broker = t.broker()
    daemon = t.listener(broker).start()
    taken(daemon, broker, 'delete/resource/a', 1)
    daemon.change({'broker': {'subscriptions': 'create/#'}})
    daemon.reload()
    daemon.wait_ready()
    taken(daemon, broker, 'delete/resource/a', 0)
    taken(daemon, broker, 'update/resource/a', 0)
    daemon.change({'broker': {'subscriptions': 'create/# update/#'}})
    daemon.reload()
    daemon.wait_ready()
    taken(daemon, broker, 'update/resource/a', 1)
    taken(daemon, broker, 'delete/resource/a', 0)


def test_old_subscriptions_are_taken_off_after_two_reloads_without_a_broker(t):
    broker = t.broker()
    daemon = t.listener(broker).start()
    taken(daemon, broker, 'delete/resource/a', 1)
    broker.stop()
    for subscriptions in ('create/# update/#', 'create/#'):
        daemon.change({'broker': {'subscriptions': subscriptions}})
        daemon.reload()
    broker.start()
    daemon.wait_ready()
    taken(daemon, broker, 'delete/resource/a', 0)
    taken(daemon, broker, 'update/resource/a', 0)


def test_old_subscriptions_are_taken_off_after_a_restart(t):
    broker = t.broker()
    daemon = t.listener(broker).start()
    taken(daemon, broker, 'delete/resource/a', 1)
    daemon.kill()
    daemon.change({'broker': {'subscriptions': 'create/#'}})
    daemon.start()
    taken(daemon, broker, 'delete/resource/a', 0)
    daemon.restart()
    daemon.change({'broker': {'subscriptions': 'create/# delete/#'}})
    daemon.restart()
    taken(daemon, broker, 'delete/resource/a', 1)


def test_a_larger_receive_max_is_remembered_by_the_window(t):
    broker = t.broker()
    daemon = t.listener(broker, ini={'broker': {'receive_max': '5', 'version': '5'}}).start()
    daemon.script('a.py', 'pass\n', topic='create/#')
    daemon.change({'broker': {'receive_max': '200'}})
    daemon.reload()
    daemon.wait_ready()
    broker.publish_all([('create/resource/%d' % i, b'{}') for i in range(100)])
    daemon.wait_jobs(100)
    # saved with the commits: 18 bytes for each publication, and as many before the first
    with contextlib.closing(sqlite3.connect('file:%s/journal.db?mode=ro' % daemon.state, uri=True)) as db:
        size = db.execute('SELECT sum(length(data)) FROM window').fetchone()[0]
    check(size > 18 * 20, 'the window has %d bytes' % size)


if __name__ == '__main__':
    harness.main()
