"""The archive away, slow or in another's hands; the daemon killed while it reads; ten thousand
scripts."""
import hashlib
import os
import re
import socket
import time

import cdmi
import harness
from harness import check, equal

TOPIC = {'topic': 'create/#'}


def sha(content):
    return hashlib.sha256(content).hexdigest()


def make(w, names, content=cdmi.TEXT):
    for name in names:
        w.archive.make('/scripts/' + name, content, dict(TOPIC))


def is_archive(w):
    """The registry equals the archive."""
    should = {
        path[len('/scripts/') :]: sha(node.content)
        for path, node in w.archive.nodes.items()
        if path.startswith('/scripts/') and node.kind == 'object'
    }
    return {
        row['name']: row['version'] for row in w.daemon.ctl('scripts') if row['state'] == 'active'
    } == should and len(w.registry()) == len(should)


def running(w):
    w.t.wait(lambda: w.daemon.status()['broker']['state'] == 'connected', 'the broker to be connected', 30)


# --------------------------------------------------------------------------------------------- away


def test_archive_away_for_the_whole_start(t):
    w = cdmi.World(t)
    make(w, ('a.py', 'b.py', 'gone.py'))
    w.start()
    w.daemon.stop()
    w.server.stop()
    w.daemon.start(ready=False)
    t.wait(lambda: status_or_none(w), 'the daemon to answer')
    running(w)
    equal(sorted(w.active()), ['a.py', 'b.py', 'gone.py'])
    w.broker.publish('create/user/x', b'{}')
    w.daemon.wait_jobs(3)
    source = w.source()
    equal((source['state'], source['scanned_realtime_usec']), ('away', 0))
    check('Connection refused' in source['error'], source['error'])
    shown = w.daemon.ctl_run('status').stdout.decode()
    check('away' in shown and 'connect' in shown, 'listenerctl status: ' + shown)
    w.archive.mute = True  # the broker was told, but nobody heard
    w.archive.replace('/scripts/a.py', b'print(2)\n')
    w.archive.delete('/scripts/gone.py')
    w.archive.web_create('/scripts/new.py', cdmi.TEXT, dict(TOPIC))
    time.sleep(1)
    w.server.start()
    t.wait(lambda: is_archive(w), lambda: 'the registry to be the archive: %s, %s' % (w.registry(), w.source()), 10)
    w.idle()
    equal(w.source()['error'], '')
    check('archive can be read again' in w.daemon.log_text(), 'the log says so')
    equal(w.daemon.starts, 2)


def status_or_none(w):
    try:
        return w.daemon.status()
    except harness.Failed:
        return None


def test_back_off(t):
    w = cdmi.World(t)
    make(w, ('a.py',))
    w.start()
    w.server.stop()
    with socket.socket() as dead:  # counts who knocks
        dead.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        dead.bind(('127.0.0.1', w.server.port))
        dead.listen(64)
        dead.setblocking(False)
        w.daemon.ctl('rescan')
        knocks, end = 0, time.monotonic() + 8
        while time.monotonic() < end:
            try:
                dead.accept()[0].close()
                knocks += 1
            except BlockingIOError:
                time.sleep(0.01)
    check(
        2 <= knocks <= 8, '%d attempts in 8 s, should be some 4: now, after 1, 2, 4 s (libcurl may repeat one)' % knocks
    )


def test_an_event_hastens_the_return(t):
    w = cdmi.World(t)
    make(w, ('a.py',))
    w.start()
    w.server.stop()
    for _ in range(6):
        w.daemon.ctl('rescan')
        t.wait(lambda: w.source()['state'] == 'away', 'away')
    w.server.start()
    w.archive.replace('/scripts/a.py', b'print(2)\n')
    t.wait(lambda: w.version('a.py') == sha(b'print(2)\n'), 'the new content, long before the back-off of 32 s', 5)


def test_away_in_the_middle_of_a_scan(t):
    w = cdmi.World(t, scripts={'timeout': '1s'})
    make(w, ['s%03d.py' % n for n in range(200)])
    w.start()
    w.server.fault(r's1..\.py', 'drop')
    w.server.fault(r's05.\.py', 'slow:0.1')
    w.archive.mute = True
    for name in ('s000.py', 's199.py'):
        w.archive.replace('/scripts/' + name, b'print(2)\n')
    w.archive.delete('/scripts/s100.py')
    w.daemon.ctl('rescan')
    t.wait(lambda: w.source()['state'] == 'away', lambda: 'away: %s' % w.source())
    equal(len(w.active()), 200, 'nothing is withdrawn by half a scan')
    w.server.heal()
    t.wait(lambda: is_archive(w), lambda: 'the registry to be the archive: %s' % w.source(), 20)


def test_slower_than_allowed(t):
    """A script that never comes is that script's trouble; a list that never comes is the
    archive's."""
    w = cdmi.World(t, scripts={'timeout': '300ms'})
    make(w, ('a.py', 'b.py'))
    w.start()
    w.server.fault('a.py', 'slow:1', mode='content')
    w.archive.replace('/scripts/a.py', b'print(2)\n')
    t.wait(lambda: w.registry()['a.py'][0] == 'fetch-failed', lambda: 'fetch-failed: %s' % w.registry())
    equal((w.registry()['b.py'][0], w.source()['state']), ('active', 'incomplete'))
    w.server.fault('/scripts/$', 'slow:1')
    w.daemon.ctl('rescan')
    t.wait(lambda: w.source()['state'] == 'away', lambda: 'away: %s' % w.source())
    equal(w.version('a.py'), sha(cdmi.TEXT))
    w.server.heal()
    t.wait(lambda: is_archive(w), lambda: 'the registry to be the archive: %s' % w.source())


def test_lost_events_of_a_dead_broker(t):
    """Indigo does not resend: what was published while the broker was down shows after the next
    session that it did not keep."""
    w = cdmi.World(t)
    make(w, ('a.py', 'b.py'))
    w.start()
    w.broker.kill()
    w.archive.replace('/scripts/a.py', b'print(2)\n')
    w.archive.delete('/scripts/b.py')
    equal(w.archive.lost, 2)
    for name in os.listdir(w.broker.folder):
        if name.endswith('.db'):
            os.remove(os.path.join(w.broker.folder, name))
    w.broker.start()
    t.wait(lambda: is_archive(w), lambda: 'the registry to be the archive: %s' % w.registry(), 20)


def test_a_reconnect_with_its_session_rescans(t):
    w = cdmi.World(t)
    make(w, ('a.py', 'b.py'))
    w.start()
    scans = w.source()['scans']
    w.broker.stop()
    w.archive.delete('/scripts/b.py')
    w.archive.web_create('/scripts/c.py', cdmi.TEXT, dict(TOPIC))
    w.broker.start()
    t.wait(lambda: w.source()['scans'] > scans, 'a rescan', 20)
    t.wait(lambda: is_archive(w), lambda: 'the registry to be the archive: %s' % w.registry(), 20)


def test_rescan_by_time(t):
    w = cdmi.World(t, scripts={'rescan': '1s'})
    make(w, ('a.py',))
    w.start()
    w.archive.mute = True
    w.archive.web_create('/scripts/b.py', cdmi.TEXT, dict(TOPIC))
    w.archive.web_edit('/scripts/a.py', {'topic': 'update/#'})
    w.becomes({'a.py': 'update/#', 'b.py': 'create/#'}, 6)


def test_more_scripts_than_allowed(t):
    w = cdmi.World(t, scripts={'scripts_max': '3'})
    make(w, ('a.py', 'b.py', 'c.py', 'd.py'))
    w.start()
    equal(sorted(w.active()), ['a.py', 'b.py', 'c.py'])
    check('scripts_max' in w.source()['error'], w.source()['error'])
    w.archive.web_create('/scripts/aa.py', cdmi.TEXT, dict(TOPIC))
    w.archive.delete('/scripts/a.py')
    w.becomes({'aa.py': 'create/#', 'b.py': 'create/#', 'c.py': 'create/#'})


# ---------------------------------------------------------------------------------------------- TLS


def test_tls(t):
    certificate = cdmi.cdmi_server.self_signed(t.folder)
    w = cdmi.World(t, tls=certificate)
    make(w, ('a.py',))
    w.daemon.start(ready=False)
    t.wait(lambda: status_or_none(w) and w.source()['state'] == 'away', 'a self-signed certificate to be refused')
    check('certificate' in w.source()['error'], w.source()['error'])
    equal(w.server.count(), 0)
    w.daemon.change({'scripts': {'ca_file': certificate[0]}}).reload()
    w.becomes({'a.py': 'create/#'})
    w.daemon.change({'scripts': {'ca_file': None, 'verify': 'no'}}).reload()
    w.idle()
    equal((w.source()['state'], w.source()['error']), ('current', ''))


def test_plain_port_redirects_to_tls(t):
    """As the TLS variant of Indigo has it: port 80 sends everything to https."""
    certificate = cdmi.cdmi_server.self_signed(t.folder)
    w = cdmi.World(t, tls=certificate)
    make(w, ('a.py',))
    plain = cdmi.cdmi_server.Server(w.archive, to_https='https://127.0.0.1:%d' % w.server.port).start()
    t.stack.callback(plain.stop)
    w.daemon.change({'scripts': {'url': plain.url, 'ca_file': certificate[0]}})
    w.start()
    w.becomes({'a.py': 'create/#'})
    check(all(r.authorization for r in w.server.requests), 'credentials go to the same host over TLS')
    # and never back to plain
    w.server.fault('b.py', 'redirect:http://127.0.0.1:%d%%' % plain.port)
    w.archive.web_create('/scripts/b.py', cdmi.TEXT, dict(TOPIC))
    w.becomes({'a.py': 'create/#', 'b.py': ('refused', None)})
    equal(plain.count(pattern='b.py'), 1)


# --------------------------------------------------------------------------------------------- kill


def test_killed_at_every_step_of_a_refresh(t):
    """SIGKILL before and after each commit, of scans and of events: the next start makes the
    registry equal the archive."""
    for step in ('after-scan', 'after-scan-commit'):
        for number in (1, 2, 3):
            w = cdmi.World(t)
            make(w, ['s%03d.py' % n for n in range(100)])
            w.daemon.start(ready=False, env={'LISTENER_FAILPOINT': '%s:%d' % (step, number)})
            check(w.daemon.process.wait(20 * harness.SLOW) != 0, 'it was to be killed')
            w.daemon.process = None
            w.archive.replace('/scripts/s001.py', b'print(2)\n')
            w.archive.delete('/scripts/s002.py')
            w.start()
            check(
                is_archive(w), 'after a scan, %s %d: the registry is not the archive: %s' % (step, number, w.registry())
            )
            w.daemon.kill()
            killed_in_event(w, step)
            w.daemon.stop()
            w.server.stop()
            w.broker.stop()


def killed_in_event(w, step):
    """A resumed session: one scan at the start with two commits at most when nothing changed, then
    the event's."""
    w.daemon.start(ready=False, env={'LISTENER_FAILPOINT': '%s:2' % step})
    w.t.wait(
        lambda: dead(w)
        or ((status_or_none(w) or {}).get('scripts') or {'source': {}})['source'].get('state') == 'current',
        'the daemon to be up or dead',
    )
    if not dead(w):
        w.archive.replace('/scripts/s003.py', b'print(3)\n')
        w.archive.delete('/scripts/s004.py')
        w.archive.web_create('/scripts/t.py', cdmi.TEXT, dict(TOPIC))
    w.t.wait(lambda: dead(w), 'the daemon to be killed')
    w.daemon.process = None
    w.archive.web_edit('/scripts/s005.py', {'topic': 'update/#'})
    w.start()
    check(is_archive(w), 'after an event, %s: the registry is not the archive: %s' % (step, w.registry()))
    equal(w.active()['s005.py'], 'update/#')


def dead(w):
    return w.daemon.process.poll() is not None


def test_killed_with_an_event_announced_but_not_read(t):
    """The event was acknowledged, the fetch was not over: the deep scan of the next start makes up
    for it."""
    w = cdmi.World(t)
    make(w, ('a.py',))
    w.start()
    w.server.fault('a.py', 'slow:3', mode='content', times=1)
    w.archive.replace('/scripts/a.py', b'print(2)\n')
    t.wait(lambda: w.server.count('content') >= 2, 'the content to be asked for')
    w.daemon.kill()
    w.start()
    equal(w.version('a.py'), sha(b'print(2)\n'))


# ------------------------------------------------------------------------------------------- volume


def resident(pid):
    return int(re.search(r'VmRSS:\s+(\d+)', open('/proc/%d/status' % pid).read()).group(1)) * 1024


def test_ten_thousand_scripts(t):
    w = cdmi.World(t)
    w.server.keep = False
    w.start()
    empty = resident(w.daemon.process.pid)
    w.daemon.stop()
    w.archive.fill(10000)
    w.server.reset()
    began = time.monotonic()
    w.daemon.start(ready=False)
    t.wait(
        lambda: status_or_none(w) and w.daemon.status()['scripts']['active'] == 10000,
        lambda: 'all scripts: %s' % w.source(),
        120,
    )
    seconds = time.monotonic() - began
    running(w)
    w.idle(120)
    equal(w.server.count('content') % 10000, 0, 'contents')
    grown = resident(w.daemon.process.pid) - empty
    print('     10,000 scripts in %.1f s, %.1f MB for them' % (seconds, grown / 1e6), flush=True)
    check(seconds < 30 * harness.SLOW, '%.1f s' % seconds)
    check(harness.SLOW > 1 or grown < 30e6, 'grown by %d bytes' % grown)
    w.server.reset()
    w.rescan()
    equal(
        (w.server.count('list'), w.server.count('metadata'), w.server.count('content')),
        (1, 10000, 0),
        'requests of a rescan that finds nothing new',
    )
    w.archive.delete('/scripts')
    t.wait(lambda: w.registry() == {}, lambda: '%d scripts to go' % len(w.registry()), 60)


harness.main()
