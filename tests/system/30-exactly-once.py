"""kill -9 and restarts: every acknowledged event's jobs run once, or are reported lost."""
import collections
import signal
import threading
import time

import harness
from harness import check, equal


def scripts(daemon, number, text='pass\n'):
    for i in range(number):
        daemon.script('s%02d.py' % i, text, topic='create/#', ready=False)
    harness.wait(lambda: daemon.status()['scripts']['active'] == number, '%d scripts' % number)


def publish_in_background(broker, number):
    """At QoS 0, as Indigo does; the drop-in makes the broker keep them."""
    thread = threading.Thread(
        target=broker.publish_all, args=([('create/resource/%d' % i, b'{"n": %d}' % i) for i in range(number)],)
    )
    thread.start()
    return thread


def test_kill_in_the_middle_of_a_thousand_events(t):
    broker = t.broker()
    daemon = t.listener(broker).start()
    scripts(daemon, 10)
    thread = publish_in_background(broker, 1000)
    for kill in range(5):
        harness.wait(lambda: len(daemon.json_lines()) >= (kill + 1) * 700, 'jobs to run', 60)
        daemon.kill()
        daemon.start()
    thread.join()
    daemon.wait_jobs(10000, 240)
    ran = collections.Counter((line['script'], line['topic']) for line in daemon.json_lines())
    equal(len(ran), 10000, 'pairs of event and script that ran')
    twice = [pair for pair, times in ran.items() if times != 1]
    equal(twice, [], 'pairs that ran more than once')
    equal(collections.Counter(job['state'] for job in daemon.all_jobs()), {'finished': 10000})


def test_kill_with_docker_sandboxes(t):
    broker = t.broker()
    daemon = t.listener(broker, docker={}).start()
    scripts(daemon, 3, 'import sys\nprint(sys.argv[1])\n')
    thread = publish_in_background(broker, 100)
    for kill in range(3):
        harness.wait(
            lambda: sum(job['state'] == 'finished' for job in daemon.all_jobs()) >= (kill + 1) * 50, 'jobs to run', 90
        )
        daemon.kill()
        daemon.start()
    thread.join()
    jobs = daemon.wait_jobs(300, 180)
    equal(collections.Counter(job['state'] + '/' + str(job['outcome']) for job in jobs), {'finished/success': 300})
    equal(max(len(daemon.show(job['id'])['runs']) for job in jobs[:30]), 1, 'runs of a job')


def test_running_job_is_adopted(t):
    broker = t.broker()
    daemon = t.listener(broker, docker={}).start()
    daemon.script(
        'slow.py',
        'import time\nprint("began", flush=True)\ntime.sleep(6)\nprint("ended")\n',
        topic='create/#',
        output='capture',
    )
    broker.publish('create/a', b'{}')
    harness.wait(lambda: [job['state'] for job in daemon.all_jobs()] == ['running'], 'the job to run', 60)
    daemon.kill()
    daemon.start()
    job = daemon.wait_jobs(1, 60)[0]
    equal(job['outcome'], 'success', job['message'])
    equal(daemon.output(job['id']), b'began\nended\n')
    check(6e6 <= job['duration_usec'] < 9e6 * harness.SLOW, 'it took %d us' % job['duration_usec'])
    equal(len(daemon.show(job['id'])['runs']), 1)


def test_events_while_the_daemon_is_away(t):
    broker = t.broker()
    daemon = t.listener(broker).start()
    scripts(daemon, 1)
    daemon.stop()
    broker.publish_all([('create/resource/%d' % i, b'{}') for i in range(500)])
    daemon.start()
    daemon.wait_jobs(500, 60)


def test_broker_killed_and_restarted(t):
    broker = t.broker()
    daemon = t.listener(broker).start()
    scripts(daemon, 1)
    for turn in range(3):
        broker.publish_all([('create/%d/%d' % (turn, i), b'{}') for i in range(100)])
        daemon.wait_counter('events', 100 * (turn + 1))
        broker.kill()
        harness.wait(lambda: daemon.status()['broker']['state'] != 'connected', 'the daemon to notice')
        broker.start()
        daemon.wait_ready()
    daemon.wait_jobs(300, 60)
    equal(len(daemon.json_lines()), 300)


def test_death_at_every_named_step(t):
    broker = t.broker()
    daemon = t.listener(broker).start()
    scripts(daemon, 2)
    published = 0
    for step in harness.STEPS:
        daemon.stop()
        daemon.start(env={'LISTENER_FAILPOINT': step + ':3'})
        broker.publish_all([('create/%s/batch/%d' % (step, i), b'{}') for i in range(20)])
        published += 20
        deadline = time.monotonic() + 20 * harness.SLOW
        while daemon.process.poll() is None:  # one by one, so that there are more turns of the loop
            check(time.monotonic() < deadline, 'the daemon does not die at ' + step)
            broker.publish('create/%s/%d' % (step, published), b'{}')
            published += 1
        equal(daemon.process.returncode, -signal.SIGKILL, 'status at ' + step)
        daemon.process = None
        daemon.start()
        jobs = daemon.wait_jobs(2 * published, 60)
        equal(collections.Counter(job['state'] for job in jobs), {'finished': 2 * published}, 'after ' + step)
        ran = collections.Counter((line['script'], line['topic']) for line in daemon.json_lines())
        equal([pair for pair, times in ran.items() if times != 1], [], 'pairs that ran twice after ' + step)


if __name__ == '__main__':
    harness.main()
