"""Brokers that nobody here wrote: what they send again is recognised, what they refuse is named.

`make check` runs 200 events with mosquitto and NATS, which are here at once. `make check-brokers`
(LISTENER_BROKERS=1) unpacks
RabbitMQ and aedes as well and Debian 13's versions, runs 2,000 events with each, and prints the
table of docs/exactly-once.md."""
import json
import os
import time

import brokers
import harness
from harness import check, equal, wait

ALL = bool(os.environ.get('LISTENER_BROKERS'))
EVENTS = 2000 if ALL else 200


def storm(t, name, restarts=True, wire=(), **options):
    broker = brokers.start(t, name, **options)
    s = brokers.Storm(t, broker, EVENTS, restarts, wire)
    result = s.rage()
    counters = s.daemon.counters()
    print(
        '     %-12s %-8s MQTT %-6s %s, %d events, %d repeats recognised'
        % (name, options.get('suite') or '', broker.version, result, EVENTS, counters['repeats'])
    )
    return s, result


NEITHER = {'twice': 0, 'lost': 0}


def test_mosquitto(t):
    for version in brokers.Mosquitto.versions:
        equal(storm(t, 'mosquitto', version=version)[1], NEITHER, 'MQTT ' + version)


def test_mosquitto_behind_what_clears_the_dup_flag(t):
    equal(storm(t, 'mosquitto', wire=('clear-dup',))[1], NEITHER)


def test_nats(t):
    """Debian 12's, wherever this runs: that of Debian 13 loses events (below). Without restarts of
    the broker: after one it sends what it had sent before as if for the first time, under new
    packet ids."""
    equal(storm(t, 'nats', suite='bookworm', restarts=False)[1], NEITHER)


def test_rabbitmq(t):
    equal(storm(t, 'rabbitmq')[1], NEITHER)


def test_aedes(t):
    """It marks no repeat, and sends what is published meanwhile between them. How many run twice is
    a matter of moments: docs/exactly-once.md has the figures. Its sessions are in memory, so it is
    never restarted here."""
    equal(storm(t, 'aedes', restarts=False)[1]['lost'], 0)


def test_mosquitto_of_debian_13(t):
    for version in brokers.Mosquitto.versions:
        equal(storm(t, 'mosquitto', suite='trixie', version=version)[1], NEITHER, 'MQTT ' + version)


def test_nats_of_debian_13(t):
    """It loses some that it has confirmed, see docs/exactly-once.md: they are never on the wire.
    But nothing runs twice."""
    equal(storm(t, 'nats', suite='trixie', restarts=False)[1]['twice'], 0)


def test_rabbitmq_of_debian_13(t):
    equal(storm(t, 'rabbitmq', suite='trixie')[1], NEITHER)


def test_rabbitmq_refuses_a_subscription(t):
    """It closes the connection instead. The others are served, the one is named, nobody is taken
    for a rival."""
    broker = brokers.start(t, 'rabbitmq')
    broker.control('set_topic_permissions', 'guest', 'amq.topic', '.*', '^(create|delete)')
    daemon = t.listener(broker, ini=broker.ini).start()
    daemon.script('a.py', 'pass\n', topic='+/#')

    def states():
        return {s['filter']: s['state'] for s in daemon.status()['broker']['subscriptions']}

    t.wait(
        lambda: states() == {'create/#': 'granted', 'update/#': 'refused', 'delete/#': 'granted'},
        lambda: 'it to be found: %s' % daemon.status()['broker'],
        60,
    )
    check('update/#' in daemon.status()['broker']['error'], daemon.status()['broker'])
    with open(daemon.log) as f:
        check('the same client id' not in f.read(), 'a rival was seen')
    broker.publish_all([('create/resource/a', b'{}'), ('delete/resource/a', b'{}')], qos=1)
    daemon.wait_jobs(2)
    why = daemon.ctl_run('explain', 'a.py', 'update/resource/a').stdout.decode()
    check('update/#' in why and 'does not arrive' in why, why)


def test_a_lost_session_is_said_until_it_is_seen(t):
    """A broker that forgets its sessions when it is restarted."""
    broker = t.broker('upgrade_outgoing_qos true\n', drop_in=False)
    daemon = t.listener(broker).start()
    check('session_lost' not in daemon.status()['broker'], daemon.status())
    before = time.time() * 1e6
    broker.stop()
    broker.start()
    wait(lambda: 'session_lost' in daemon.status()['broker'], 'status to say it', 60)
    lost = daemon.status()['broker']['session_lost']
    check(before - 60e6 < lost['from_realtime_usec'] <= lost['to_realtime_usec'] <= time.time() * 1e6, lost)
    daemon.restart()
    equal(daemon.status()['broker']['session_lost'], lost, 'after a restart of the daemon')
    daemon.ctl('seen')
    check('session_lost' not in daemon.status()['broker'], daemon.status())
    daemon.restart()
    check('session_lost' not in daemon.status()['broker'], 'said again')


def restarted(t, name, confirmed=20, **options):
    """Events that wait while the daemon is away and the broker is restarted; and what came."""
    broker = brokers.start(t, name, **options)
    daemon = t.listener(broker, ini=broker.ini).start()
    daemon.script('a.py', 'pass\n', topic='create/#')
    daemon.wait_ready()
    daemon.stop()
    broker.publish_all([('create/resource/%d' % i, b'{}') for i in range(confirmed)], qos=1)
    broker.stop()
    broker.start()
    daemon.start()
    wait(lambda: daemon.status()['broker']['state'] == 'connected', 'the daemon to be back', 60)
    broker.publish_all([('create/resource/last', b'{}')], qos=1)
    wait(lambda: 'create/resource/last' in [job['topic'] for job in daemon.all_jobs()], 'the last event', 60)
    time.sleep(broker.quiet)
    topics = [job['topic'] for job in daemon.all_jobs()]
    equal(len(topics), len(set(topics)), 'jobs for as many events')
    return len(topics) - 1, daemon


def test_nats_keeps_events_over_its_restart(t):
    equal(restarted(t, 'nats')[0], 20, 'events of the time before')


def test_rabbitmq_keeps_events_over_its_restart(t):
    equal(restarted(t, 'rabbitmq')[0], 20, 'events of the time before')


def test_aedes_forgets_events_over_its_restart(t):
    kept, daemon = restarted(t, 'aedes')
    equal(kept, 0, 'events of the time before')
    check('session_lost' in daemon.status()['broker'], daemon.status())


def test_aedes_of_debian_13s_node(t):
    equal(storm(t, 'aedes', restarts=False, release='1.2.0')[1]['lost'], 0)


def test_rabbitmq_4_with_mqtt_5(t):
    equal(storm(t, 'rabbitmq', suite='trixie', version='5')[1], NEITHER)


def examine(t, name, subscriptions=None, **options):
    """What doctor says about the broker, by text."""
    broker = brokers.start(t, name, **options)
    ini = broker.ini
    ini['broker']['subscriptions'] = subscriptions or ini['broker']['subscriptions']
    done = t.listener(broker, ini=ini).start().ctl_run('--json', 'doctor')
    rows = [json.loads(line) for line in done.stdout.decode().splitlines()]
    return broker, [row for row in rows if row['area'] == 'broker']


def row_with(rows, level, words):
    found = [row for row in rows if words in row['what']]
    check(len(found) == 1 and found[0]['level'] == level, '%s %r, once, in %s' % (level, words, rows))
    return found[0]


AGAIN = 'sends unacknowledged events again '


def test_doctor_examines_nats(t):
    """It speaks 3.1.1 only."""
    broker, rows = examine(t, 'nats')
    row_with(rows, 'ok', AGAIN + 'after newer ones, under the old packet ids, with the DUP flag: each was recognised')
    row_with(rows, 'warning', 'version 2.10 of NATS loses events that it has confirmed')
    row_with(rows, 'ok', 'an event arrives once with 3 subscriptions')
    row_with(rows, 'ok', 'an event reaches the daemon for 3 of 3 subscriptions')
    row = row_with(rows, 'failure', 'an event published at QoS 0 (as Indigo does) arrives at QoS 0')
    check('drop-in' not in row['remedy'], row)


def test_doctor_sees_that_nats_knows_no_shares(t):
    row = row_with(
        examine(t, 'nats', '$share/g/create/# update/#')[1], 'failure', 'nothing arrives for 1 of 2 subscriptions'
    )
    check('$share' in row['remedy'], row)


def test_rabbitmq_is_examined(t):
    broker, rows = examine(t, 'rabbitmq')
    row_with(rows, 'ok', AGAIN + 'before newer ones, under new packet ids, with the DUP flag: each was recognised')
    row_with(rows, 'ok', 'sends 100 events without acknowledgement')
    row_with(rows, 'ok', 'an event reaches the daemon for 3 of 3 subscriptions')
    check('-doctor-' not in broker.control('list_queues'), 'no session of a probe is left')


def test_aedes_is_examined(t):
    broker, rows = examine(t, 'aedes')
    row_with(rows, 'ok', 'an event reaches the daemon for 3 of 3 subscriptions')
    row_with(
        rows, 'ok', AGAIN + 'before newer ones, under the old packet ids, without the DUP flag: each was recognised'
    )
    row_with(rows, 'warning', 'does not mark what it sends again')


if not ALL:  # these take minutes to unpack
    for name in [n for n in globals() if n.startswith(('test_rabbitmq', 'test_aedes')) or n.endswith('debian_13')]:
        del globals()[name]

harness.main()
