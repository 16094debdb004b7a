"""A sandbox that has been taken over entirely: in the place of init sits
tests/attacks/hostile_init.py, which breaks every rule of the protocol, one after the other. The
daemon must end it, say what happened to the job, serve on, and neither grow nor keep descriptors
nor spin."""
import contextlib
import os
import re
import shutil
import time

import harness
from harness import check, equal

HOSTILE = os.path.join(harness.ROOT, 'tests/attacks/hostile_init.py')
AT_ONCE = [
    'short',
    'empty',
    'long',
    'magic',
    'size',
    'version',
    'type',
    'result first',
    'running',
    'finished',
    'no state',
    'no walls',
    'descriptors',
    'many',
    'hello flood',
    'silent',
    'connections',
    'crowd',
    'ready flood',
]
WITH_JOB = {  # mode: outcomes the job may have
    'another job': {'lost'},
    'no job': {'lost'},
    'outcome': {'lost'},
    'lost': {'lost'},
    'contradiction': {'lost'},
    'no output': {'lost'},
    'one descriptor': {'lost'},
    'promise': {'lost'},
    'unsealed': {'lost'},
    'pipe': {'lost'},
    'device': {'lost'},
    'message': {'lost'},
    'figures': {'success'},
    'twice': {'success'},
    'result flood': {'success'},
    'hello in between': {'error', 'lost'},
    'vanish': {'lost'},
    'never': {'timeout'},
}


def set_up(t):
    libexec = os.path.join(t.folder, 'libexec')
    shutil.copytree(harness.BUILD + '/libexec', libexec)
    os.remove(libexec + '/sandbox-init')
    shutil.copy(HOSTILE, libexec + '/sandbox-init')
    os.chmod(libexec + '/sandbox-init', 0o755)
    os.chmod(libexec, 0o755)
    set_mode(libexec, 'silent')
    broker = t.broker()
    daemon = t.listener(
        broker,
        docker={
            'network': 'none',
            'pool_min': 0,
            'pool_max': 1,
            'start_timeout': '3s',
            'grace': '100ms',
            'landlock': 'use',
        },
        ini={'listener': {'libexec_dir': libexec}, 'limits': {'timeout': '1s'}},
    ).start()
    daemon.script('a.py', 'pass\n', topic='create/#', output='capture')
    return libexec, broker, daemon


def set_mode(libexec, mode):
    with open(libexec + '/mode', 'w') as f:
        f.write(mode)


class Standing:
    """What the daemon must not use up."""

    def __init__(self, daemon):
        self.pid = daemon.process.pid
        self.kilobytes, self.descriptors, self.seconds, self.began = self.now()

    def now(self):
        with open('/proc/%d/status' % self.pid) as f:
            kilobytes = next(int(line.split()[1]) for line in f if line.startswith('VmRSS:'))
        with open('/proc/%d/stat' % self.pid) as f:
            fields = f.read().rsplit(')', 1)[1].split()
        seconds = (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')
        # a bounded number of scripts and payloads is kept open for the next run
        kept = [fd for fd in self.links() if 'memfd:content' not in fd]
        return kilobytes, len(kept), seconds, time.monotonic()

    def links(self):
        folder, links = '/proc/%d/fd' % self.pid, []
        for fd in os.listdir(folder):
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                links.append(os.readlink(os.path.join(folder, fd)))
        return links

    def check(self):
        kilobytes, descriptors, seconds, now = self.now()
        check(
            kilobytes - self.kilobytes < 8192 * harness.SLOW,
            'the daemon has grown by %d kB' % (kilobytes - self.kilobytes),
        )
        check(
            descriptors - self.descriptors < 12, 'the daemon has %d descriptors more' % (descriptors - self.descriptors)
        )
        check(
            harness.SLOW > 1 or seconds - self.seconds < 0.5 * (now - self.began),
            'the daemon has used %.1f s of CPU in %.1f s' % (seconds - self.seconds, now - self.began),
        )


def test_while_starting(t):
    """A daemon each: after a few failed starts it waits longer and longer, as it should."""
    libexec, broker, daemon = set_up(t)
    broker.publish('create/resource/1', b'{}')
    daemon.wait_counter('jobs', 1)
    for mode in AT_ONCE:
        daemon.stop()
        set_mode(libexec, mode)
        before = given_up(daemon)
        daemon.start()
        standing = Standing(daemon)
        t.wait(lambda: given_up(daemon) > before, lambda: 'mode "%s" to be given up' % mode, 30)
        equal(daemon.status()['state'], 'running')
        # who says READY before the flood may be given the job in between, and then it is lost
        states = ['queued', 'running', 'lost'] if mode == 'ready flood' else ['queued']
        check(daemon.jobs()[0]['state'] in states, 'mode "%s" left the job %s' % (mode, daemon.jobs()[0]['state']))
        standing.check()


def given_up(daemon):
    return len(re.findall('it is given up', daemon.log_text()))


def test_with_a_job(t):
    libexec, broker, daemon = set_up(t)
    standing, number = Standing(daemon), 0
    for mode, outcomes in WITH_JOB.items():
        set_mode(libexec, mode)
        end_sandboxes(daemon)
        number += 1
        broker.publish('create/resource/%d' % number, b'{}')
        job = daemon.wait_jobs(number, 90)[-1]
        outcome = job['outcome'] or job['state']
        print('     %-18s %-8s %s' % (mode, outcome, job['message']), flush=True)
        check(outcome in outcomes, 'mode "%s" gave %s: %s' % (mode, outcome, job['message']))
        check(
            not re.search(r'[\x00-\x1f\x7f]', job['message']), 'control characters in the message %r' % job['message']
        )
        check(0 <= job['duration_usec'] < 1 << 63, 'duration %d' % job['duration_usec'])
        equal(daemon.status()['state'], 'running')
    standing.check()


def end_sandboxes(daemon):
    """One that waits with the old mode goes."""
    ids = harness.docker('ps', '-q', '--filter', 'label=org.indigo.listener=' + daemon.identity).split()
    if ids:
        harness.docker('rm', '-f', *ids, check_status=False)


if __name__ == '__main__':
    harness.main()
