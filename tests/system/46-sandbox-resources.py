"""What one script uses up is its own: hogs of every kind, their neighbours, and the daemon's memory
meanwhile."""
import os
import statistics
import time

import harness
from harness import check, equal

HOGS = os.path.join(harness.ROOT, 'tests/attacks/hogs')
ENDS = {  # what each may end with
    'processes': {'timeout', 'processes', 'memory'},
    'memory': {'memory'},
    'output': {'success', 'timeout'},
    'threads': {'timeout', 'processes', 'memory'},
    'descriptors': {'timeout', 'processes', 'memory'},
    'cpu': {'timeout'},
}
# About a fifth of a second of computing: long enough to be slowed down, short enough to be asked
# often.
NEIGHBOUR = '''import time
end = time.process_time() + 0.2
while time.process_time() < end:
    pass
'''


def rss_kilobytes(daemon):
    with open('/proc/%d/status' % daemon.process.pid) as f:
        return next(int(line.split()[1]) for line in f if line.startswith('VmRSS:'))


class Neighbour:
    def __init__(self, daemon, broker):
        self.daemon, self.broker, self.number = daemon, broker, 0
        daemon.script('neighbour.py', NEIGHBOUR, topic='create/resource/neighbour/#')

    def run(self):
        """One job, from the publication to its end; seconds."""
        self.number += 1
        topic, began = 'create/resource/neighbour/%d' % self.number, time.monotonic()
        self.broker.publish(topic, b'{}')

        def ended():
            rows = [job for job in self.daemon.jobs('--script', 'neighbour.py') if job['topic'] == topic]
            return rows[0] if rows and rows[0]['state'] in ('finished', 'lost') else None

        job = harness.wait(ended, 'the neighbour', 60)
        equal(job['outcome'], 'success', job['message'])
        return time.monotonic() - began

    def usual(self, times=7):
        self.run()
        return statistics.median(self.run() for _ in range(times))


def start(t):
    broker = t.broker()
    daemon = t.listener(
        broker, docker={'pool_min': 2, 'pool_max': 6}, ini={'limits': {'timeout_max': '12s', 'memory_max': '256M'}}
    ).start()
    return broker, daemon


def hog_job(daemon, topic):
    rows = [job for job in daemon.all_jobs() if job['topic'] == topic]
    return rows[0] if rows else None


def test_hogs_end_and_neighbours_do_not_notice(t):
    broker, daemon = start(t)
    neighbour = Neighbour(daemon, broker)
    usual = neighbour.usual()
    bound = max(2 * usual, usual + 1) * harness.SLOW
    before = rss_kilobytes(daemon)
    for name, ends in ENDS.items():
        daemon.script(
            name + '.py',
            open('%s/%s.py' % (HOGS, name)).read(),
            topic='create/resource/hog/%s/#' % name,
            timeout='4s',
            output='capture',
        )
        topic = 'create/resource/hog/%s/1' % name
        broker.publish(topic, b'{}')
        t.wait(lambda: (hog_job(daemon, topic) or {}).get('state') in ('running', 'finished'), 'the hog to run')
        # of what it takes meanwhile the middle counts: one hiccup of the machine is not the hog's
        # doing
        took = [neighbour.run() for _ in range(5)]
        job = t.wait(
            lambda: (lambda j: j if j['state'] in ('finished', 'lost') else None)(hog_job(daemon, topic)),
            'the hog to end',
            30,
        )
        print(
            '     %-11s %-9s after %.1f s; its neighbour %.2f s beside %.2f s usually'
            % (name, job['outcome'], job['duration_usec'] / 1e6, statistics.median(took), usual),
            flush=True,
        )
        check(job['outcome'] in ends, '%s ended with %s: %s' % (name, job['outcome'], job['message']))
        check(statistics.median(took) <= bound, 'beside %s the neighbour took %s, usually %.2f s' % (name, took, usual))
    grown = rss_kilobytes(daemon) - before
    check(grown < 8192 * harness.SLOW, 'the daemon has grown by %d kB' % grown)


def test_output_flood_is_bounded(t):
    """A gigabyte on both streams, many times: what is kept is what the limit says, and the daemon
    does not grow with it."""
    broker, daemon = start(t)
    daemon.script('flood.py', open(HOGS + '/output.py').read(), topic='create/#', output='capture')
    sizes = []
    for number in range(8):
        broker.publish('create/resource/%d' % number, b'{}')
        daemon.wait_jobs(number + 1)
        sizes.append(rss_kilobytes(daemon))
    for job in daemon.all_jobs():
        check(job['outcome'] in ENDS['output'], job['outcome'])
        run = daemon.show(job['id'])['runs'][-1]
        check(len(daemon.output(job['id'])) <= 1 << 20, 'more than the limit was kept')
        check(run.get('out_truncated') or run.get('err_truncated'), 'nobody says that there was more: %r' % sorted(run))
    check(max(sizes[4:]) - sizes[1] < 8192 * harness.SLOW, 'the daemon grows: %r kB' % sizes)


def test_nothing_outlives_a_run(t):
    """Daemons, stopped ones, ones that ignore everything, ones that fork on: after the run the
    sandbox holds none of them, and serves again."""
    broker, daemon = start(t)
    daemon.script(
        'stay.py',
        '''
import os, signal, time
for how in range(4):
    if os.fork() == 0:
        for n in range(1, 65):
            try: signal.signal(n, signal.SIG_IGN)
            except (OSError, ValueError): pass
        os.setsid()
        if how == 1: os.kill(os.getpid(), signal.SIGSTOP)
        while how == 2:
            if os.fork(): os._exit(0)
        time.sleep(600)
print('left')
''',
        topic='create/#',
        output='capture',
    )
    for number in range(3):
        broker.publish('create/resource/%d' % number, b'{}')
        for job in daemon.wait_jobs(number + 1):
            equal(job['outcome'], 'success', job['message'])
        ids = harness.docker('ps', '-q', '--filter', 'label=org.indigo.listener=' + daemon.identity).split()
        for container in ids:
            lines = harness.docker('top', container, '-eo', 'uid,pid,stat,args').splitlines()[1:]
            left = [line for line in lines if line.split()[0] == '65534']
            check(not left, 'left over: %r' % left)


if __name__ == '__main__':
    harness.main()
