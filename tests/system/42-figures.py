"""Figures: what scripts did and have to do, as people and monitoring read them."""
import json
import os
import re
import signal
import subprocess

import debian
import harness
from harness import check, equal

MONITORING = os.path.join(harness.ROOT, 'docs/monitoring')
SERIES = re.compile(r'(listenerd_\w+?)(_bucket|_sum|_count)?(\{.*\})? (\S+)$')
METRIC = re.compile(r'\blistenerd_\w+')


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


def promtool(*words, text=b''):
    debian.install('prometheus')
    done = subprocess.run(
        debian.command('promtool', *words), input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    equal((words, done.returncode), (words, 0), done.stdout.decode() + text.decode())


def metrics(daemon):
    """{family: {labels and suffix: value}}, read strictly: families in one piece, series once."""
    text, families, family = daemon.ctl_run('metrics').stdout.decode(), {}, None
    for line in text.splitlines():
        if line.startswith('# HELP '):
            family = line.split()[2]
            check(family not in families, line)
            families[family] = {}
        elif not line.startswith('# TYPE %s ' % family):
            name, suffix, labels, value = SERIES.match(line).groups()
            check(name == family or name + (suffix or '') == family, line)
            key = (suffix or '') + (labels or '')
            check(key not in families[family], line)
            families[family][key] = float(value)
    return families, text.encode()


def with_everything(t):
    """A daemon that has samples in every family."""
    broker = t.broker()
    daemon = t.listener(broker).start()
    daemon.script('good.py', 'pass\n', topic='create/#')
    daemon.script('no "good"\\.py', 'pass\n', topic='update/#')
    daemon.script('bad.py', 'pass\n', topic='a/#/b', ready=False)
    broker.publish('create/resource/a', b'{}')
    broker.publish('update/resource/b', b'{}')
    daemon.wait_jobs(2)
    harness.wait(lambda: daemon.ask({'command': 'conditions'})[0], 'the refused script in the conditions', 30)
    return daemon


def test_metrics_are_what_the_document_says(t):
    families, text = metrics(with_everything(t))
    equal(families['listenerd_up'], {'': 1})
    equal(families['listenerd_condition'], {'{id="scripts-refused",level="warning"}': 1})
    equal(families['listenerd_events_total']['{decision="matched"}'], 2)
    equal(families['listenerd_script_runs_total']['{script="good.py",outcome="success"}'], 1)
    equal(families['listenerd_script_runs_total']['{script="no \\"good\\"\\\\.py",outcome="success"}'], 1)
    equal(families['listenerd_start_delay_seconds']['_bucket{executor="json-lines",le="+Inf"}'], 2)
    equal(families['listenerd_start_delay_seconds']['_count{executor="json-lines"}'], 2)
    check(families['listenerd_journal_commit_seconds']['_count'] > 0, families)
    with open(os.path.join(harness.ROOT, 'docs/monitoring.md')) as f:
        told = re.findall(r'^\| `(listenerd_\w+)` \|', f.read(), re.M)
    equal(sorted(told), sorted(families))
    promtool('check', 'metrics', text=text)


def test_rules_and_dashboard_ask_for_what_there_is(t):
    families, _ = metrics(with_everything(t))
    with open(MONITORING + '/grafana-dashboard.json') as f:
        board = json.load(f)
    queries = [target['expr'] for panel in board['panels'] for target in panel['targets']]
    equal(len(board['panels']), 8)
    with open(MONITORING + '/listenerd.rules.yml') as f:
        rules = f.read()
    for name in METRIC.findall('\n'.join(queries) + rules):
        check(re.sub('_bucket$', '', name) in families, name)
    with open(os.path.join(harness.ROOT, 'docs/monitoring.md')) as f:
        told = re.findall(r'`((?:Listener|Script)\w+)`', f.read())
    equal(sorted(set(told)), sorted(set(re.findall(r'^ +- alert: (\w+)', rules, re.M))))
    as_rules = os.path.join(t.folder, 'queries.yml')
    with open(as_rules, 'w') as f:
        f.write('groups:\n- name: queries\n  rules:\n')
        for query in queries:
            query = query.replace('$__rate_interval', '5m')
            f.write('  - {record: "query", expr: %s}\n' % json.dumps(query))
    promtool('check', 'rules', MONITORING + '/listenerd.rules.yml')
    promtool('check', 'rules', '--lint=none', as_rules)


def test_metrics_of_a_daemon_that_is_away(t):
    daemon = t.listener(None)
    done = daemon.ctl_run('metrics')
    equal((done.returncode, done.stdout.splitlines()[-1]), (3, b'listenerd_up 0'))
    equal(daemon.ctl_run('--json', 'metrics').stdout, b'')
    promtool('check', 'metrics', text=done.stdout)


def test_metrics_of_a_daemon_that_hangs(t):
    daemon = t.listener(t.broker()).start()
    daemon.process.send_signal(signal.SIGSTOP)
    try:
        done = daemon.ctl_run('metrics')
    finally:
        daemon.process.send_signal(signal.SIGCONT)
    equal((done.returncode, done.stdout.splitlines()[2:]), (1, [b'listenerd_up 0']))
    equal(done.stderr, b'listenerctl: listenerd does not answer\n')


def test_counters_go_on_and_begin_anew(t):
    """Over a reload they go on; with a new daemon they begin at 0."""
    daemon = with_everything(t)
    daemon.reload()
    equal(metrics(daemon)[0]['listenerd_jobs_created_total'], {'': 2})
    daemon.restart()
    families, _ = metrics(daemon)
    equal(families['listenerd_jobs_created_total'], {'': 0})
    check('listenerd_runs_total' not in families, families)


if __name__ == '__main__':
    harness.main()
