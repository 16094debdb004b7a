"""A journal that cannot be written, and one that is full: nothing is acknowledged that is not
stored, and all goes on when there is room."""
import collections
import contextlib
import os
import subprocess

import harness
from harness import check, equal

COUNT = 5000


def small_disk(t, size):
    """A file system of its own for the journal."""
    folder = os.path.join(t.folder, 'small')
    os.makedirs(folder)
    done = subprocess.run(
        ['mount', '-t', 'tmpfs', '-o', 'size=%d,mode=755' % size, 'listener-test', folder], stderr=subprocess.PIPE
    )
    if done.returncode != 0:
        raise harness.Skip('cannot mount a tmpfs: ' + done.stderr.decode().strip())
    t.stack.callback(subprocess.run, ['umount', '-l', folder])
    return folder


@contextlib.contextmanager
def filled(folder, leave=0):
    """No room in FOLDER, but for LEAVE bytes."""
    ballast = os.path.join(folder, 'ballast')
    space = os.statvfs(folder)
    with open(ballast, 'wb') as f:
        os.posix_fallocate(f.fileno(), 0, space.f_bavail * space.f_frsize - leave)
    try:
        yield
    finally:
        os.unlink(ballast)


def events(first, number):
    return [
        ('create/resource/%d' % i, b'{"n": %d, "pad": "%s"}' % (i, b'x' * 300)) for i in range(first, first + number)
    ]


def all_once(daemon, number):
    daemon.wait_jobs(number, 120)
    ran = collections.Counter(line['topic'] for line in daemon.json_lines())
    equal(len(ran), number, 'events that ran')
    equal([topic for topic, times in ran.items() if times != 1], [], 'events that ran more than once')


def test_disk_full_while_5000_events_arrive(t):
    folder, broker = small_disk(t, 48 << 20), t.broker()
    daemon = t.listener(
        broker, ini={'journal': {'path': folder + '/journal.db'}, 'broker': {'keepalive': '5s'}}
    ).start()
    daemon.script('a.py', 'pass\n', topic='create/#')
    broker.publish_all(events(0, 100))
    daemon.wait_jobs(100)
    with filled(folder):
        broker.publish_all(events(100, COUNT - 100))
        daemon.wait_log('the journal cannot be written, so nothing is acknowledged or started')
        status = harness.wait(
            lambda: (lambda s: s if s['journal'].get('error') else None)(daemon.status()),
            'status to say so',
        )
        stored = daemon.status()['jobs']
        # it gives up on us, and keeps what we did not acknowledge
        daemon.wait_log('disconnected from the broker', 30)
        equal(daemon.status()['jobs'], stored, 'jobs while the disk is full')
        check(status, 'no status')
    daemon.wait_log('the journal can be written again', 30)
    all_once(daemon, COUNT)


def test_disk_full_and_killed(t):
    """What was read while the disk was full was not acknowledged, so it comes again to the next
    daemon."""
    folder, broker = small_disk(t, 48 << 20), t.broker()
    daemon = t.listener(broker, ini={'journal': {'path': folder + '/journal.db'}}).start()
    daemon.script('a.py', 'pass\n', topic='create/#')
    broker.publish_all(events(0, 100))
    daemon.wait_jobs(100)
    with filled(folder):
        broker.publish_all(events(100, 900))
        daemon.wait_log('the journal cannot be written')
        daemon.kill()
    daemon.start()
    all_once(daemon, 1000)


def test_little_free_disk_holds_the_broker(t):
    folder, broker = small_disk(t, 64 << 20), t.broker()
    daemon = t.listener(
        broker, ini={'journal': {'path': folder + '/journal.db', 'disk_free_min': str(8 << 20)}}
    ).start()
    daemon.script('a.py', 'pass\n', topic='create/#')
    broker.publish_all(events(0, 100))
    daemon.wait_jobs(100)
    with filled(folder, 4 << 20):
        broker.publish_all(events(100, 1))  # a turn of the loop looks at the disk
        daemon.wait_log('no more events are taken for now.*disk_free_min')
        harness.wait(lambda: daemon.status()['broker']['state'] == 'paused', 'the broker to be held')
        taken = daemon.counters()['events']
        broker.publish_all(events(101, 899))
        check(daemon.counters()['events'] == taken, 'events are taken without room for them')
    daemon.wait_log('the journal has room again')
    all_once(daemon, 1000)


def test_too_many_unfinished_jobs_hold_the_broker(t):
    """Jobs that nothing can run: their executor is not configured until the reload."""
    broker = t.broker()
    daemon = t.listener(
        broker,
        ini={
            'journal': {'jobs_max': '200'},
            'dispatcher': {'default_executor': 'later'},
            'executor later': {'module': 'json-lines', 'path': '/dev/full'},
        },
    )
    daemon.change({'executor later': {'path': daemon.lines}, 'dispatcher': {'max_running': '1'}})
    daemon.script('a.py', 'pass\n', topic='create/#')
    daemon.change(
        {
            'dispatcher': {'default_executor': 'docker-sandbox'},
            'executor later': None,
            'executor docker-sandbox': {'socket': '/nonexistent/docker.sock'},
        }
    )
    daemon.start()
    daemon.wait_script('a.py')
    broker.publish_all(events(0, 1500))
    daemon.wait_log('no more events are taken for now.*jobs')
    harness.wait(lambda: daemon.status()['broker']['state'] == 'paused', 'the broker to be held')
    status = daemon.status()
    # the limit, and what one batch may exceed it by
    check(200 <= status['jobs']['queued'] <= 1200, 'jobs taken: %s' % status['jobs'])
    check(status['oldest_waiting_usec'] > 0, 'the age of the oldest waiting event is missing')
    daemon.change({'dispatcher': {'default_executor': 'json-lines', 'max_running': '64'}})
    daemon.reload()
    daemon.wait_log('the journal has room again', 30)
    all_once(daemon, 1500)


def test_size_limit_holds_the_broker(t):
    broker = t.broker()
    daemon = t.listener(
        broker,
        ini={
            'journal': {'size_max': '16M'},
            'dispatcher': {'default_executor': 'docker-sandbox'},
            'executor docker-sandbox': {'socket': '/nonexistent/docker.sock'},
        },
    ).start()
    daemon.script('a.py', 'pass\n', topic='create/#')
    broker.publish_all([('create/resource/%d' % i, b'x' * 8000) for i in range(4000)])
    daemon.wait_log('no more events are taken for now.*size_max')
    size = sum(
        os.path.getsize(os.path.join(daemon.state, name))
        for name in os.listdir(daemon.state)
        if name.startswith('journal.db')
    )
    check(size < 48 << 20, 'the journal has %d bytes' % size)
    daemon.change({'dispatcher': {'default_executor': 'json-lines'}})
    daemon.reload()
    # History goes before its time, so only json-lines still knows all of them.
    harness.wait(lambda: open(daemon.lines, 'rb').read().count(b'\n') >= 4000, 'the jobs to run', 60, 0.5)
    daemon.settle()
    ran = collections.Counter(line['topic'] for line in daemon.json_lines())
    equal((len(ran), set(ran.values())), (4000, {1}), 'topics that ran, and how often')


if __name__ == '__main__':
    harness.main()
