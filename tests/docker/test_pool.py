#!/usr/bin/env python3
"""test_pool.py - how many sandboxes docker-sandbox keeps, for whom, and for how long."""
import os
import re
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import case
from case import ECHO
from driver import container_of, containers, docker, folders, inspect, nothing_left, there, wait_for

SLEEPER = 'import sys, time\ntime.sleep(float(sys.stdin.read()))\n'


def script(number, more=''):
    return 'print(%d)\n%s' % (number, more)


class Case(case.Case):
    options = {'network': 'none'}

    def ok(self, d, job, text, **kw):
        result = d.run(job, text, **kw)
        self.assertEqual(result.outcome, 'success', repr(result))
        return d.places[job]

    def pool(self, d):
        """spare, idle, busy, starting, ending"""
        return tuple(int(n) for n in re.findall(r'\d+', d.describe()['pool'])[:5])

    def settle(self, d, *figures):
        try:
            wait_for('the pool %r' % (figures,), lambda: self.pool(d) == figures + (0, 0))
        except AssertionError as e:
            raise AssertionError('%s; it is %s; %s' % (e, self.pool(d), d.tail()))


class Size(Case):
    def test_min_is_kept(self):
        d = self.driver(pool_min=3, pool_max=6)
        self.settle(d, 3, 0, 0)
        self.ok(d, 1, ECHO)  # the spare it takes is replaced
        self.settle(d, 3, 1, 0)
        self.ok(d, 2, script(2))
        self.settle(d, 3, 2, 0)

    def test_max_holds(self):
        d = self.driver(pool_min=0, pool_max=3, starting=3)
        self.assertEqual(self.pool(d), (0, 0, 0, 0, 0))
        most = 0
        for i in range(1, 13):
            d.job(i, 'import time; time.sleep(0.3)\n')
        while len(d.results) < 12:
            d.until('another', lambda n=len(d.results): len(d.results) > n)
            most = max(most, len(containers()))
        self.assertLessEqual(most, 3)
        self.assertEqual(len(set(d.places.values())), 3)

    def test_idle_ones_go_and_spares_stay(self):
        d = self.driver(pool_min=1, pool_max=6, idle_timeout='2s')
        places = [self.ok(d, i, script(i)) for i in range(1, 4)]
        wait_for('the idle ones to go', lambda: not any(there(p) for p in places))
        self.settle(d, 1, 0, 0)
        kept = set(containers())
        time.sleep(3)
        self.assertEqual(set(containers()), kept)

    def test_no_timeout_no_end(self):
        d = self.driver(idle_timeout='0', max_age='0')
        place = self.ok(d, 1, ECHO)
        time.sleep(2)
        self.assertTrue(there(place))


class Whose(Case):
    def test_least_recently_used_goes(self):
        d = self.driver(pool_min=0, pool_max=3)
        a, b, c = [self.ok(d, i, script(i)) for i in (1, 2, 3)]
        self.assertEqual(self.ok(d, 4, script(1)), a)
        self.ok(d, 5, script(5))
        wait_for('the second to go', lambda: not there(b))
        self.assertTrue(there(a) and there(c))
        self.assertEqual(self.ok(d, 6, script(1)), a)

    def test_new_version_new_sandbox(self):
        d = self.driver(pool_max=4)
        old = self.ok(d, 1, script(1), name='same')
        os.unlink(d.folder + '/same.py')
        new = self.ok(d, 2, script(2), name='same')
        self.assertEqual((d.results[1].out, d.results[2].out), (b'1\n', b'2\n'))
        self.assertNotEqual(old, new)

    def test_other_memory_other_sandbox(self):
        d = self.driver(pool_max=4)
        small = self.ok(d, 1, ECHO, memory=64 << 20)
        large = self.ok(d, 2, ECHO, memory=128 << 20)
        self.assertNotEqual(small, large)
        self.assertEqual(self.ok(d, 3, ECHO, memory=64 << 20), small)


class Room(Case):
    """How many there may be, and who makes room."""

    def most(self, d):
        return re.search(r'at most (\d+) by (.*)', d.describe()['pool']).groups()

    def test_memory_is_the_limit(self):
        d = self.driver(pool_memory='400M')
        self.ok(d, 1, ECHO)
        most, limit = self.most(d)
        self.assertEqual(limit, 'pool_memory')
        each = float(re.match(r'([\d.]+) MiB each', d.describe()['memory']).group(1))
        self.assertTrue(4 < each < 64, each)
        self.assertAlmostEqual(400 / each, int(most), delta=1)

    def test_memory_is_kept_to(self):
        d = self.driver(pool_memory='60M', pool_min=0, starting=3)
        for i in range(1, 13):
            self.ok(d, i, script(i))
        most, limit = self.most(d)
        self.assertLess(int(most), 10)
        wait_for('the surplus to go', lambda: len(containers()) <= int(self.most(d)[0]))

    def test_addresses_are_a_limit(self):
        d = self.driver(network='bridge', subnet='10.213.77.0/29')
        self.ok(d, 1, ECHO)
        self.assertEqual(self.most(d), ('5', 'addresses of the network'))
        for i in range(2, 8):  # more scripts than addresses
            self.ok(d, i, script(i), timeout=30)

    def test_use_decides_not_age(self):
        d = self.driver(pool_min=0, pool_max=3)
        often = [self.ok(d, i, script(1)) for i in range(1, 21)][0]
        seldom = self.ok(d, 30, script(2))
        last = self.ok(d, 31, script(3))
        self.ok(d, 32, script(4))
        wait_for('the one used once to go', lambda: not there(seldom))
        self.assertTrue(there(often) and there(last))
        self.assertEqual(self.ok(d, 33, script(1)), often)

    def test_worked_off_together(self):
        """One place, two scripts: each change of hands costs a container, so there are few."""
        d = self.driver(pool_min=0, pool_max=1)
        for i in range(1, 61):
            d.job(i, script(i % 2), timeout=30)
        for i in range(1, 61):
            self.assertEqual(d.done(i, 60).outcome, 'success')
        self.assertLessEqual(len(set(d.places.values())), 6)

    def test_long_jobs_do_not_keep_the_place(self):
        """The other script's job is served although jobs of the first never cease to wait."""
        d = self.driver(pool_min=0, pool_max=1)
        for i in range(1, 31):
            d.job(i, 'import time\ntime.sleep(0.5)\n', timeout=30)
        d.running(1)
        self.assertEqual(d.run(50, script(2), timeout=30).outcome, 'success')
        self.assertLess(len(d.results), 25)

    def test_first_before_second(self):
        d = self.driver(pool_min=0, pool_max=2, starting=2)
        for i in range(1, 13):
            d.job(i, 'import time\ntime.sleep(0.4)\n', timeout=30)
        d.running(1)
        d.job(50, script(2))
        self.assertEqual(d.done(50).outcome, 'success')
        self.assertLess(len(d.results), 12)

    def test_registered_scripts_find_spares(self):
        d = self.driver(pool_memory='2G')
        self.settle(d, 1, 0, 0)
        d.send('expect', 4)
        self.settle(d, 4, 0, 0)
        for i in range(1, 5):
            self.ok(d, i, script(i))
        self.assertEqual([d.describe()[key] for key in ('hits', 'spares', 'misses')], ['0', '4', '0'])

    def test_counted(self):
        d = self.driver(pool_min=0, pool_max=1)
        for i in range(1, 4):
            self.ok(d, i, script(1))
        self.ok(d, 4, script(2))
        self.assertEqual([d.describe()[key] for key in ('hits', 'spares', 'misses', 'evictions')], ['2', '0', '2', '1'])

    def test_doctor_names_the_key(self):
        d = self.driver(pool_min=0, pool_max=1)
        for i in range(1, 56):
            self.ok(d, i, script(i % 2 if i > 30 else 1))
        said = [line for level, line in d.probe() if level == 1 and 'waited for a sandbox' in line]
        self.assertEqual(len(said), 1)
        self.assertIn('pool_max', said[0])


class Replaced(Case):
    def test_after_its_jobs(self):
        d = self.driver(max_jobs=3, pool_max=4)
        places = [self.ok(d, i, ECHO) for i in range(1, 8)]
        self.assertEqual([places[0]] * 3, places[:3])
        self.assertEqual([places[3]] * 3, places[3:6])
        self.assertEqual(len(set(places)), 3)
        wait_for('the used ones to go', lambda: not there(places[0]) and not there(places[3]))

    def test_after_its_age(self):
        d = self.driver(max_age='3s', pool_min=2, pool_max=4)
        place = self.ok(d, 1, ECHO)
        old = set(containers())
        wait_for('all to be replaced', lambda: not old & set(containers()))
        self.assertNotEqual(self.ok(d, 2, ECHO), place)

    def test_after_a_limit(self):
        d = self.driver(pool_max=3, grace='200ms', cpu_time='1s')
        limits = {
            'timeout': 'import time; time.sleep(30)',
            'memory': 'b = bytearray(1 << 30)\nfor i in range(0, 1 << 30, 4096): b[i] = 1',
            'cpu': 'while True: pass',
        }
        for i, (outcome, text) in enumerate(sorted(limits.items())):
            text = 'import sys\nif not sys.stdin.read(): sys.exit()\n' + text
            before = self.ok(d, 10 * i + 1, text)
            self.assertEqual(self.ok(d, 10 * i + 2, text), before)
            result = d.run(10 * i + 3, text, payload='now', timeout=1 if outcome == 'timeout' else 15)
            self.assertEqual((result.outcome, d.places[10 * i + 3]), (outcome, before), repr(result))
            wait_for('it to go', lambda: not there(before))
            self.assertNotEqual(self.ok(d, 10 * i + 4, text), before)

    def test_failures_are_no_reason(self):
        d = self.driver(pool_max=3)
        places = []
        for i, text in enumerate(('import sys; sys.exit(3)', 'import os; os.kill(os.getpid(), 11)')):
            for k in range(2):
                d.run(10 * i + k + 1, text)
                places.append(d.places[10 * i + k + 1])
        self.assertEqual((places[0], places[2]), (places[1], places[3]))

    def test_never_reused(self):
        d = self.driver(reuse='never', pool_min=3, pool_max=6)
        places = [self.ok(d, i, ECHO) for i in range(1, 7)]
        self.assertEqual(len(set(places)), 6)
        self.settle(d, 3, 0, 0)
        self.assertFalse(any(there(p) for p in places))


class Namespaces(Case):
    """reuse = never: a backlog of one script is worked off in network namespaces that are kept for
    it."""

    def namespaces(self):
        return [
            c
            for c in containers(False)
            if docker('inspect', '-f', '{{index .Config.Entrypoint 0}}', c).stdout.strip() == 'sleep'
        ]

    def netns_of(self, place):
        found = docker('inspect', '-f', '{{.HostConfig.NetworkMode}}', container_of(place))
        mode = found.stdout.strip()  # "" if it has gone
        return mode[len('container:') :] if mode.startswith('container:') else None

    def watch(self, d, jobs):
        """Each job's netns, as far as one was quick enough to see it."""
        used = {}
        while len(used) < len(jobs):
            d.until('another to run', lambda: set(d.begun) - set(used))
            for i in set(d.begun) - set(used):
                used[i] = self.netns_of(d.places[i])
        return used

    def backlog(self, d, first, count=10, seconds=0.5, word='x'):
        for i in range(first, first + count):
            d.job(i, 'import time\ntime.sleep(%s)\nprint("%s")\n' % (seconds, word), timeout=30)

    def test_backlog(self):
        d = self.driver(network='bridge', reuse='never', pool_min=0, pool_max=4, idle_timeout='3s')
        self.backlog(d, 1, 14)
        used = self.watch(d, range(1, 15))
        for i in range(1, 15):
            self.assertEqual(d.done(i).outcome, 'success', d.results[i])
        self.assertEqual(len(set(d.places.values())), 14)  # fresh all the same
        taken = [b for b in used.values() if b]
        self.assertGreater(len(taken), len(set(taken)))
        self.assertLessEqual(len(set(taken)), 4)
        other = self.ok(d, 50, 'import socket\nprint(socket.gethostname())')
        self.assertNotIn(self.netns_of(other) if there(other) else None, taken)
        wait_for('the namespaces to go', lambda: not self.namespaces(), 40)
        self.assertEqual(d.end(), 0)
        nothing_left(lambda: (containers(), folders(d)))

    def test_never_two_scripts(self):
        d = self.driver(network='bridge', reuse='never', pool_min=0, pool_max=4)
        self.backlog(d, 1, 8, word='one')
        self.backlog(d, 101, 8, word='two')
        self.backlog(d, 109, 8, word='two')
        jobs = list(range(1, 9)) + list(range(101, 117))
        used = self.watch(d, jobs)
        for i in jobs:
            self.assertEqual(d.done(i).outcome, 'success', d.results[i])
        one, two = ({used[i] for i in jobs if used[i] and (i > 100) == later} for later in (False, True))
        self.assertFalse(one & two, used)
        self.assertTrue(one or two, used)

    def test_each_finds_the_routes_of_the_first(self):
        d = self.driver(network='bridge', reuse='never', pool_min=0, pool_max=2)
        for i in range(1, 21):
            d.job(i, 'import time\nprint(open("/proc/net/route").read())\ntime.sleep(0.3)\n', capture=1, timeout=30)
        used = self.watch(d, range(1, 21))
        routes = {}
        for i in range(1, 21):
            self.assertEqual(d.done(i).outcome, 'success', d.results[i])
            if used[i]:
                routes.setdefault(used[i], []).append(sorted(d.results[i].out.decode().split('\n')))
        self.assertTrue(any(len(seen) >= 3 for seen in routes.values()), routes)
        for seen in routes.values():
            self.assertEqual([one for one in seen if one != seen[0]], [])

    def in_netns(self, d, seconds):
        """A job that runs in one, as long as that."""
        for i in range(1, 21):  # a backlog of short ones first
            d.job(i, SLEEPER, payload='0.1' if i <= 12 else str(seconds), timeout=30)
        seen = set()
        while True:
            d.until('another to run', lambda: set(d.begun) - seen)
            for i in set(d.begun) - seen:
                seen.add(i)
                if i > 12 and self.netns_of(d.places[i]):
                    return i, d.places[i]

    def test_daemon_killed(self):
        d = self.driver(network='bridge', reuse='never', pool_min=0, pool_max=2, orphan_grace='60s')
        job, place = self.in_netns(d, 4)
        netns = self.netns_of(place)
        d.kill()
        d = self.driver(network='bridge', reuse='never', pool_min=0, pool_max=2)
        d.recover(job, SLEEPER, place, payload='4', timeout=30)
        time.sleep(2)  # the janitor has been there
        self.assertTrue(inspect(netns)['State']['Running'])
        self.assertEqual(d.done(job).outcome, 'success', d.results)
        wait_for('all of it to go', lambda: not containers())
        self.assertEqual(d.end(), 0)
        self.assertEqual(folders(d), [])

    def test_detached(self):
        d = self.driver(network='bridge', reuse='never', pool_min=0, pool_max=2)
        job, place = self.in_netns(d, 4)
        self.assertEqual(d.end('detach'), 0)
        self.assertLessEqual(len(self.namespaces()), 2)
        d = self.driver(network='bridge', reuse='never', pool_min=0, pool_max=2)
        d.recover(job, SLEEPER, place, payload='4', timeout=30)
        self.assertEqual(d.done(job).outcome, 'success', d.results)
        wait_for('all of it to go', lambda: not containers())
        self.assertEqual(d.end(), 0)

    def test_netns_removed_from_outside(self):
        d = self.driver(network='bridge', reuse='never', pool_min=0, pool_max=4)
        self.backlog(d, 1, 12, 0.3)
        for b in wait_for('a netns', self.namespaces):
            docker('rm', '-f', b)
        for i in range(1, 13):
            self.assertEqual(d.done(i, 60).outcome, 'success', d.results[i])

    def test_walls(self):
        """What holds in a sandbox with a network of its own holds in a netns."""
        d = self.driver(network='bridge', reuse='never', pool_min=0, pool_max=2)
        probe = (
            'import os, socket, time\ntime.sleep(0.3)\nprint(os.getuid(), open("/proc/self/status").read().count("CapEff:\\t0000000000000000"), socket.gethostname())\n'
            's = socket.socket()\ns.settimeout(1)\ntry: s.connect(("%s", 1883)); print("open")\nexcept OSError as e: print(e.errno)\n'
            % '172.31.0.1'
        )
        for i in range(1, 9):
            d.job(i, probe, timeout=30)
        for i in range(1, 9):
            self.assertEqual(d.done(i).out, b'65534 1 sandbox\n13\n', d.results[i])


class Quiet(Case):
    def test_an_idle_pool_costs_nothing(self):
        d = self.driver(pool_min=3)
        self.ok(d, 1, ECHO)
        self.settle(d, 3, 1, 0)
        time.sleep(3)  # the janitor, a second after the start
        before = ticks(d)
        time.sleep(5)
        self.assertEqual(ticks(d), before)


def ticks(d):
    """(times it woke up, CPU time in ticks)"""
    with open('/proc/%d/status' % d.process.pid) as f:
        woke = int(re.search(r'^voluntary_ctxt_switches:\s+(\d+)', f.read(), re.M).group(1))
    with open('/proc/%d/stat' % d.process.pid) as f:
        fields = f.read().rsplit(')', 1)[1].split()
    return woke, int(fields[11]) + int(fields[12])


setUpModule = case.need_image


if __name__ == '__main__':
    unittest.main(verbosity=2)
