"""What is paused or held: nothing of it is lost, nothing runs twice, and others go on."""
import harness
from harness import check, equal

EVENTS = 10000


def test_a_pause_over_a_death(t):
    broker = t.broker()
    d = t.listener(broker).start()
    d.script('line.py', 'pass\n', 'create/#')
    d.script('other.py', 'pass\n', 'update/#')
    row = d.ctl('pause', 'line.py', '--reason', 'archive migration')[0]
    equal((row['scope'], row['name'], row['ok'], row['waiting']), ('script', 'line.py', True, 0))
    topics = ['create/resource/%d' % n for n in range(EVENTS)]
    broker.publish_all([(topic, b'{}') for topic in topics[: EVENTS // 2]], qos=1)
    d.wait_counter('jobs', 1)
    d.kill()
    broker.publish_all([(topic, b'{}') for topic in topics[EVENTS // 2 :]], qos=1)
    d.start()
    t.wait(lambda: d.status()['jobs']['queued'] == EVENTS, lambda: '%d queued: %s' % (EVENTS, d.status()['jobs']), 60)
    broker.publish('update/resource/1', b'{}', qos=1)
    t.wait(lambda: len(d.json_lines()) == 1, 'another script to run')
    equal(d.json_lines()[0]['topic'], 'update/resource/1')
    status = d.status()
    equal((status['jobs']['held'], status['oldest_waiting_usec']), (EVENTS, 0))
    held = [row for row in status['conditions'] if row['id'] == 'held']
    check(len(held) == 1 and 'archive migration' in held[0]['text'], status['conditions'])
    done = d.ctl_run('check')
    equal(done.returncode, 1, done.stdout)
    check(b'line.py is paused' in done.stdout, done.stdout)
    check('line.py' in d.ctl_run('holds').stdout.decode(), 'the list of holds')
    d.ctl('resume', 'line.py')
    t.wait(lambda: d.status()['jobs']['queued'] + d.status()['jobs']['running'] == 0, 'the jobs to end', 60)
    equal(sorted(line['topic'] for line in d.json_lines()), sorted(topics + ['update/resource/1']), 'what ran')
    equal(d.ctl('holds'), [])


harness.main()
