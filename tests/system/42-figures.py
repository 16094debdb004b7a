"""Figures: what scripts did and have to do, as people and monitoring read them."""
import json

import harness
from harness import check, equal


def figures(daemon, script):
    rows, last = daemon.ask({'command': 'stats', 'script': script})
    check('error' not in last, last)
    return rows[0], last


def test_top_tells_who_runs_and_who_fails(t):
    broker = t.broker()
    daemon = t.listener(broker, docker={}).start()
    daemon.script('good.py', 'sum(range(100000))\n', topic='create/#')
    daemon.script('bad.py', 'raise SystemExit(3)\n', topic='update/#')
    for i in range(3):
        broker.publish('create/resource/a%d' % i, b'{}')
    broker.publish('update/resource/a', b'{}')
    daemon.wait_jobs(4)
    good, last = figures(daemon, 'good.py')
    equal((good['jobs'], good['outcomes'], good['waiting'], good['running']), (3, {'success': 3}, 0, 0))
    check(0 < good['took_median_usec'] <= good['took_95_usec'], good)
    check(0 < good['delay_median_usec'] <= good['delay_95_usec'] and good['cpu_usec'] > 0, good)
    check(good['rss_max_bytes'] > 1 << 20 and 0 < good['jobs_per_sec_1min'] <= 0.05, good)
    equal(figures(daemon, 'bad.py')[0]['outcomes'], {'failure': 1})
    equal((last['jobs'], last['outcomes']), (4, {'success': 3, 'failure': 1}))
    equal(last['events']['matched'], 4)
    done = daemon.ctl_run('top', '--by', 'failed')
    equal((done.returncode, done.stderr), (0, b''))
    lines = done.stdout.decode().splitlines()
    equal([line.split()[0] for line in lines], ['SCRIPT', 'bad.py', 'good.py', 'total'], lines)
    check(' 100.0 ' in lines[1] and ' 25.0 ' in lines[3], lines)
    equal([line.split()[0] for line in daemon.ctl_run('top').stdout.decode().splitlines()][1], 'good.py')
    equal(len(daemon.ctl_run('top', '-n', 2).stdout.splitlines()), 8)
    equal(json.loads(daemon.ctl_run('--json', 'top', '--by', 'cpu', '--count', 1).stdout.splitlines()[0])['jobs'], 3)
    for words in (('--by', 'colour'), ('-n', '0'), ('-n', 'x')):
        equal((words, daemon.ctl_run('top', *words).returncode), (words, 2))


if __name__ == '__main__':
    harness.main()
