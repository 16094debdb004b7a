"""stalls - how long one turn of the daemon's loop takes at most, in the situations that used to
block it.

Each row is `stall_usec_max` of status (the journal's commit is not part of it), in milliseconds.
Used by tools/bench. """
import os
import re
import socket
import sqlite3
import subprocess
import time

SCRIPTS = 20000
JOBS = 1000000
QUESTIONS = 40
PAYLOADS = 60
PAYLOAD_BYTES = 7900000
# Text as it is, with escapes, beyond ASCII, and none at all.
PAYLOAD_KINDS = (b'x', b'{\n  "key": "value"\n}\n', 'gr\u00fc\u00df '.encode(), bytes(range(256)))


def longest_ms(daemon):
    loop = daemon.status()['loop']
    print(
        '    %6.1f ms, %s; commit %.1f ms'
        % (loop['stall_usec_max'] / 1000, loop['stall_cause'], loop['commit_usec_max'] / 1000)
    )
    return loop['stall_usec_max'] / 1000


def peak_rss_mib(daemon):
    with open('/proc/%d/status' % daemon.process.pid) as f:
        return int(re.search(r'^VmHWM:\s+(\d+)', f.read(), re.M).group(1)) / 1024


def many_scripts(t, put, wait):
    daemon = t.listener(t.broker(), ini={'listener': {'log_level': 'info'}})
    for i in range(SCRIPTS):
        with open('%s/%05d.py' % (daemon.scripts, i), 'w') as f:
            f.write('# %d\n' % i)
        with open('%s/%05d.py.meta' % (daemon.scripts, i), 'w') as f:
            f.write('topic = create/resource/%d/#\n' % i)
    daemon.start(ready=False)
    wait(lambda: active(daemon) == SCRIPTS, 'the scripts', 120)
    put(stall_ms_max_first_scan=longest_ms(daemon))
    daemon.restart()
    daemon.change({'limits': {'timeout': '11s'}})
    daemon.reload()
    time.sleep(1)
    wait(lambda: active(daemon) == SCRIPTS, 'the scripts again', 120)
    put(stall_ms_max_limit_reload=longest_ms(daemon))


def active(daemon):
    try:
        return daemon.status()['scripts']['active']
    except Exception:  # it starts
        return 0


def fill_journal(path):
    """A million finished jobs like the one that is there."""
    with sqlite3.connect(path) as db:
        columns = [row[1] for row in db.execute('PRAGMA table_info(jobs)')]
        others = ', '.join(column for column in columns if column != 'id')
        db.execute(
            'INSERT INTO jobs(id, %s) WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < %d)'
            ' SELECT n.i, %s FROM n, jobs WHERE jobs.id = 1'
            % (others, JOBS, ', '.join('jobs.' + c for c in others.split(', ')))
        )
    db.close()


def greedy_reader(t, put):
    broker = t.broker()
    daemon = t.listener(broker, ini={'journal': {'keep': '1000d', 'keep_jobs': '100000000'}}).start()
    daemon.script('a.py', 'pass\n', topic='create/#')
    broker.publish('create/resource/a', b'{}')
    daemon.wait_jobs(1)
    daemon.stop()
    fill_journal(os.path.join(daemon.state, 'journal.db'))
    daemon.start()
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(300)
        s.connect(daemon.socket)
        s.sendall(b'{"command": "jobs", "topic": "nothing/#"}\n' * QUESTIONS)
        file, start = s.makefile('rb'), time.monotonic()
        for _ in range(QUESTIONS):
            file.readline()
        print('    %d questions to %d jobs in %.1f s' % (QUESTIONS, JOBS, time.monotonic() - start))
    put(stall_ms_max_greedy_reader=longest_ms(daemon))


def silent_resolvers(t, put):
    daemon = t.listener(None, ini={'broker': {'host': 'broker.example'}})
    resolv = os.path.join(daemon.folder, 'resolv.conf')
    with open(resolv, 'w') as f:
        f.write('nameserver 192.0.2.1\n')
    # In a network of its own, where a name server's address leads nowhere.
    daemon.wrapper = [
        'unshare',
        '--mount',
        '--net',
        'sh',
        '-c',
        'ip link set lo up; ip link add nowhere type dummy; ip addr add 192.0.2.2/24 dev nowhere; ip link set nowhere up;'
        ' mount --bind %s "$(readlink -f /etc/resolv.conf)"; exec "$@"' % resolv,
        'sh',
    ]
    daemon.start(ready=False)
    time.sleep(8)
    put(stall_ms_max_silent_resolvers=longest_ms(daemon))
    start = time.monotonic()
    daemon.stop()
    print('    SIGTERM to the end: %.2f s' % (time.monotonic() - start))


def hung_engine(t, put):
    broker = t.broker()
    daemon = t.listener(broker).start()
    path = os.path.join(daemon.run_dir, 'silent.sock')
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen(64)
        for number in ('1', '2'):
            daemon.change({'executor docker-sandbox': {'socket': path, 'pool_min': number}})
            daemon.reload()
        daemon.change({'executor docker-sandbox': None})
        daemon.reload()
        time.sleep(1)
        put(stall_ms_max_hung_engine=longest_ms(daemon))


def large_payloads(t, put, wait):
    broker = t.broker()
    daemon = t.listener(broker).start()
    daemon.script('a.py', 'pass\n', topic='create/#')
    wait(lambda: active(daemon) == 1, 'the script')
    daemon.stop()
    for i in range(PAYLOADS):
        kind = PAYLOAD_KINDS[i % len(PAYLOAD_KINDS)]
        broker.publish('create/resource/%d' % i, kind * (PAYLOAD_BYTES // len(kind)))
    daemon.start(ready=False)
    wait(lambda: events(daemon) == PAYLOADS, 'the payloads', 300)
    put(stall_ms_max_large_payloads=longest_ms(daemon), rss_mib_large_payloads=peak_rss_mib(daemon))


def events(daemon):
    try:
        return daemon.status()['counters']['finished']
    except Exception:  # it starts
        return 0
