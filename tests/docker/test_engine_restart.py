#!/usr/bin/env python3
"""test_engine_restart.py - docker-sandbox while its engine dies and comes again, with live-restore
and without. The engine is the test's own."""
import contextlib
import os
import re
import signal
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import case
import driver
from case import ECHO, sleeper
from driver import LISTENER, containers, docker, folders, place_of, tables, there, wait_for
from engine import Engine


def fds(process):
    return len(os.listdir('/proc/%d/fd' % process.pid))


FDS_EACH = 4  # at most, of a sandbox


def own_fds(d):
    """Descriptors of the process but for those of its sandboxes, of which there may be one more."""
    return fds(d.process) - FDS_EACH * sum(pool(d))


def pool(d):
    """spare, idle, busy, starting, ending"""
    return [int(n) for n in re.findall(r'\d+', d.describe()['pool'])][:5]


def networks():
    return docker('network', 'ls', '-q', '--filter', 'label=org.indigo.listener=' + LISTENER).stdout.split()


class Case(case.Case):
    args = ()
    options = {'pool_min': 2, 'pool_max': 4}

    @classmethod
    def setUpClass(cls):
        cls.engine = Engine(*cls.args)

    @classmethod
    def tearDownClass(cls):
        cls.engine.stop()

    def driver(self, **options):
        return super().driver(socket=self.engine.socket, **options)

    def spares(self, d, count=2):
        """So many spares, or one more: it was started for a job that another sandbox then served,
        and goes when it has been idle for long enough."""
        try:
            wait_for(
                '%d spare sandboxes' % count,
                lambda: re.match('[%d-4] spare, .* 0 starting, 0 ending' % count, d.describe()['pool']),
            )
        except AssertionError as e:
            raise AssertionError('%s; the pool is %s; %s' % (e, d.describe()['pool'], d.tail()))

    def quiet(self, d):
        """Containers, folders and networks are those in use; afterwards there are none."""
        figures = pool(d)
        self.assertEqual(len(containers()), sum(figures), figures)
        self.assertEqual(sorted(folders(d)), sorted(place_of(c) for c in containers()))
        self.assertEqual(len(networks()), 1)
        self.assertEqual(d.end(), 0)
        # The end is bounded in time: what a slow engine has not done by then (the network comes
        # last) serves the next start, or is removed by it.
        self.assertLessEqual(len(networks()), 1)
        wait_for('nothing to be left', lambda: (containers(), folders(d), tables()) == ([], [], []))
        for left in networks():
            docker('network', 'rm', left)


class Frozen(Case):
    """An engine that accepts requests and answers none: SIGSTOP."""

    def freeze(self):
        os.kill(self.engine.pid, signal.SIGSTOP)

    def tearDown(self):
        self.thaw(self.engine.pid)  # before it is asked what is left
        super().tearDown()

    @staticmethod
    def thaw(pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    def test_noticed_in_time(self):
        d = self.driver(pool_min=0, reuse='never')
        self.check(d.run(1, ECHO), 'success')
        self.freeze()
        self.assertNotIn('does not answer', d.describe()['problem'])  # nothing has been asked of it
        began = time.time()
        d.job(2, ECHO)
        wait_for('the problem', lambda: 'does not answer' in d.describe()['problem'], 5 * driver.SLOW)
        since = int(d.describe()['problem_since_realtime_usec']) / 1e6
        self.assertTrue(began - 0.5 <= since <= time.time(), (began, since, time.time()))
        self.thaw(self.engine.pid)
        self.check(d.done(2), 'success')
        wait_for('the problem to go', lambda: d.describe()['problem'] == 'none')
        # once for each silence: a machine that is busy may have a second one
        said = [d.tail().count(text) for text in ('does not answer, waiting for it', 'answers again')]
        self.assertTrue(1 <= said[0] <= 3 and said[0] == said[1], d.tail())

    def test_no_descriptor_to_ask_with(self):
        """That says nothing about the engine."""
        d = self.driver(pool_min=0, reuse='never')
        self.check(d.run(1, ECHO), 'success')
        self.freeze()
        d.job(2, ECHO)
        wait_for('a request', lambda: pool(d)[3] == 1)
        with d.without_descriptors():
            time.sleep(3)  # a ping each second
        self.assertEqual(d.said('is away'), 0)
        wait_for('the problem', lambda: 'does not answer' in d.describe()['problem'])
        self.thaw(self.engine.pid)
        self.check(d.done(2), 'success')
        self.assertEqual(d.said('is away'), 0)

    def test_killed_while_silent(self):
        """Nothing else may be asked of it: the pings find out."""
        d = self.driver(pool_min=0, reuse='never')
        self.freeze()
        d.job(1, ECHO)
        wait_for('the problem', lambda: 'does not answer' in d.describe()['problem'])
        self.engine.kill()
        wait_for('another problem', lambda: 'does not answer' not in d.describe()['problem'])
        self.engine.start()
        self.check(d.done(1), 'success')
        wait_for('the problem to go', lambda: d.describe()['problem'] == 'none')


class WithoutLiveRestore(Case):
    def test_killed_while_idle(self):
        d = self.driver()
        self.check(d.run(1, ECHO), 'success')
        self.spares(d)
        before, old, held = own_fds(d), set(containers()), len(d.tail())
        for i in range(3):
            self.engine.restart(away=0.5 * i)
            self.check(d.run(2 + i, ECHO), 'success')
        self.spares(d)
        wait_for('the old ones to go', lambda: not old & set(containers()))
        self.assertLessEqual(own_fds(d), before + 4)
        self.assertLess(len(d.tail()) - held, 5000)  # it says so once, not at every attempt
        self.quiet(d)

    def test_stopped_in_order(self):
        d = self.driver()
        d.job(1, sleeper(60), timeout=60)
        place = d.running(1)
        self.engine.restart(sig=signal.SIGTERM)
        self.check(d.done(1), 'lost')
        self.assertFalse(there(place))
        self.check(d.run(2, ECHO), 'success')
        self.spares(d)
        self.quiet(d)

    def test_killed_while_jobs_run(self):
        """What is still running when the engine is back is ended by it: lost. What waits is run
        then; what ended meanwhile has its result."""
        d = self.driver()
        d.job(1, sleeper(60), timeout=60)
        d.job(2, sleeper(1.5, 'meanwhile'), timeout=60)
        places = [d.running(1), d.running(2)]
        self.engine.kill()
        d.job(3, ECHO)
        self.check(d.done(2), 'success', out=b'meanwhile\n')
        self.assertNotIn(1, d.results)
        time.sleep(1)
        self.assertNotIn(3, d.results)
        self.engine.start()
        self.check(d.done(1), 'lost')
        self.assertIn('stopped', d.results[1].message)
        self.check(d.done(3), 'success')
        wait_for('the lost ones to go', lambda: not any(there(p) for p in places))
        self.spares(d)
        self.quiet(d)

    def test_killed_while_sandboxes_start(self):
        for i in range(3):
            d = self.driver(pool_min=4, starting=2)
            d.job(1, ECHO)
            time.sleep(0.1 + 0.2 * i)
            # Away for long enough: a sandbox that is warm just when the engine returns, and ends
            # all there are, would lose the job rightly.
            self.engine.restart(away=1.5)
            self.check(d.done(1), 'success')
            wait_for(
                'a full pool',
                lambda: re.search('0 busy, 0 starting, 0 ending; at most', d.describe()['pool'])
                and len(containers()) == 4,
            )
            self.quiet(d)

    def test_daemon_and_engine_killed(self):
        d = self.driver()
        d.job(1, sleeper(60), timeout=60)
        place = d.running(1)
        d.kill()
        self.engine.kill()
        d = self.driver()
        d.recover(1, sleeper(60), place, timeout=60)
        time.sleep(1)
        self.engine.start()
        self.check(d.done(1), 'lost')
        self.check(d.run(2, ECHO), 'success')
        self.spares(d)
        self.quiet(d)

    def test_long_away(self):
        """Attempts thin out; when it is back the waiting job runs within the longest pause of so
        short an absence."""
        d = self.driver()
        self.check(d.run(1, ECHO), 'success')
        self.engine.kill()
        d.job(2, sleeper(0.01, 'other'))
        time.sleep(5)
        self.assertRegex(d.describe()['state'], 'waiting for the engine')
        before = switches(d.process)
        time.sleep(3)
        self.assertLess(switches(d.process) - before, 30)
        self.engine.start()
        began = time.monotonic()
        self.check(d.done(2), 'success')
        self.assertLess(time.monotonic() - began, 12 * driver.SLOW)
        self.quiet(d)


class WithLiveRestore(Case):
    args = ('--live-restore',)

    def test_killed_while_jobs_run(self):
        d = self.driver()
        d.job(1, sleeper(4, 'kept'), timeout=60)
        place = d.running(1)
        self.engine.restart(away=0.5)
        d.job(2, ECHO)
        self.check(d.done(1), 'success', out=b'kept\n')
        self.check(d.done(2), 'success')
        self.assertTrue(there(place))  # it serves on
        self.check(d.run(3, sleeper(4, 'kept'), timeout=60), 'success')
        self.assertEqual(d.places[3], place)
        self.spares(d)
        self.quiet(d)

    def test_killed_while_idle(self):
        d = self.driver()
        self.check(d.run(1, ECHO), 'success')
        self.spares(d)
        old, before = set(containers()), own_fds(d)
        self.engine.restart()
        self.check(d.run(2, ECHO), 'success')
        self.assertEqual(d.places[2], d.places[1])
        self.spares(d)
        self.assertEqual(set(containers()), old)
        self.assertLessEqual(own_fds(d), before + 4)
        self.quiet(d)

    def test_time_limit_holds_while_the_engine_is_away(self):
        d = self.driver(grace='200ms')
        d.job(1, sleeper(60), timeout=2)
        d.running(1)
        self.engine.kill()
        self.check(d.done(1), 'timeout')
        self.engine.start()
        self.check(d.run(2, ECHO), 'success')
        self.spares(d)
        self.quiet(d)

    def test_daemon_and_engine_killed(self):
        d = self.driver()
        d.job(1, sleeper(4, 'adopted'), timeout=60)
        place = d.running(1)
        d.kill()
        self.engine.restart()
        d = self.driver()
        d.recover(1, sleeper(4, 'adopted'), place, timeout=60)
        self.check(d.done(1), 'success', out=b'adopted\n')
        wait_for('the adopted one to be replaced', lambda: not there(place))
        self.spares(d)
        self.quiet(d)


def switches(process):
    with open('/proc/%d/status' % process.pid) as f:
        return int(re.search(r'^voluntary_ctxt_switches:\s+(\d+)', f.read(), re.M).group(1))


def setUpModule():
    if os.geteuid() != 0:
        raise unittest.SkipTest('an engine of our own needs root')


if __name__ == '__main__':
    unittest.main(verbosity=2)
