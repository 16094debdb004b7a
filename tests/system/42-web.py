"""listener-web: each page of a real daemon with hostile topics, names and outputs, read by a real
HTML parser; headers, refusals, slow readers, memory, a daemon that is away."""
import contextlib
import html.parser
import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.parse

import harness
from harness import check, equal

SECONDS = 30
NOBODY = 65534
CSP = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
CSP += "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
HOSTILE = '"\'><script>alert(1)</script><img src=x onerror=alert(1)>&lt;\u202e\u200b\u2066'
LONG = 'create/' + 'x' * 60000
VIEWS = ['/', '/scripts', '/jobs', '/jobs?failed=yes&limit=9', '/events', '/explain', '/about']
# what a page of ours consists of: an element or an attribute beyond these came from outside
ELEMENTS = set(
    'html head meta title link body a header nav ul ol li main footer h1 h2 h3 p div span strong code pre br dl dt dd time '
    'table caption thead tbody tr th td form label input select option button figure figcaption svg circle path'.split()
)
ATTRIBUTES = set(
    'lang charset name content rel href class id role aria-label aria-current aria-hidden datetime scope data-label '
    'method action type value selected checked tabindex viewbox r cx cy d'.split()
)
CLASSES = set('skip box failure warning ok failed waits note conditions figures cards name ladder'.split())
VOID = {'meta', 'link', 'br', 'input', 'circle', 'path'}
LINK = re.compile(
    r'^(#main|/|/style\.css|/(scripts|jobs|events|explain|about|healthz|metrics)(\?[\w.~%=&-]*)?'
    r'|/(scripts|jobs|output)/[\w.~%-]+(\?[\w.~%=&-]*)?|/\?[\w.~%=&-]*)$'
)


class Reader(html.parser.HTMLParser):
    """Fails at whatever a page of ours does not have; keeps the text."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.open, self.text, self.links, self.values = [], '', [], {}
        self.feed(page)
        self.close()
        equal(self.open, [], 'elements that are not closed')

    def handle_starttag(self, tag, attributes):
        check(tag in ELEMENTS, 'an element <%s>' % tag)
        for name, value in attributes:
            check(name in ATTRIBUTES, 'an attribute %s of <%s>' % (name, tag))
            check(name != 'class' or set(value.split()) <= CLASSES, 'a class %r' % value)
            check(name not in ('href', 'action') or LINK.match(value), 'a link %r' % value)
            if name == 'href':
                self.links.append(value)
        if tag == 'input':
            fields = dict(attributes)
            self.values[fields['name']] = fields.get('value')
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        equal(self.open.pop(), tag, 'the element that ends')

    def handle_data(self, data):
        self.text += data

    def handle_comment(self, data):
        raise harness.Failed('a comment %r' % data)

    def unknown_decl(self, data):
        raise harness.Failed('a declaration %r' % data)


class Web:
    """listener-web with a listening socket of ours, as systemd would start it."""

    def __init__(self, t, control, *options, user=None):
        self.log = os.path.join(t.folder, 'listener-web%d.log' % t.count())
        with contextlib.closing(socket.socket()) as listener:
            listener.bind(('127.0.0.1', 0))
            listener.listen(128)
            self.port = listener.getsockname()[1]

            def hand_over():
                os.dup2(listener.fileno(), 3)
                if user is not None:
                    os.setgroups([])
                    os.setgid(user)
                    os.setuid(user)

            # a build folder may be closed to others
            program = shutil.copy(harness.BUILD + '/listener-web', '%s/listener-web%d' % (t.folder, t.count()))

            command = ['sh', '-c', 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"', 'sh', program, '--socket', control, *options]
            with open(self.log, 'wb') as log:
                self.process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=hand_over, pass_fds=(3,)
                )
        t.stack.callback(self.end)
        self.send('/style.css')  # it serves: from now on a signal ends it in good order

    def end(self):
        """A clean end, without a word: sanitizers would have one."""
        status = harness.end_process(self.process)
        with open(self.log, errors='replace') as log:
            equal((status, log.read()), (0, ''), 'how listener-web ended')

    def send(self, target, method='GET', host=None, body=None):
        """(status, headers, bytes)"""
        connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=SECONDS * harness.SLOW)
        with contextlib.closing(connection):
            connection.putrequest(method, target, skip_host=True)
            if host != '':
                connection.putheader('Host', host or 'localhost:%d' % self.port)
            if body:
                connection.putheader('Content-Length', str(len(body)))
            connection.endheaders(body)
            reply = connection.getresponse()
            return reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read()

    def page(self, target, status=200):
        got, headers, body = self.send(target)
        equal(got, status, '%s says %s; status' % (target, body.decode()[-800:]))
        equal(headers['content-type'], 'text/html; charset=utf-8')
        harmless_headers(headers)
        text = body.decode()
        plain = [c for c in text if c != '\n' and c != '\t' and (ord(c) < 32 or c in '\x7f\u202e\u200b\u2066')]
        equal(plain, [], 'characters that a browser would obey')
        return Reader(text)

    def resident_kib(self):
        with open('/proc/%d/status' % self.process.pid) as f:
            return int(re.search(r'VmRSS:\s+(\d+)', f.read()).group(1))


def harmless_headers(headers):
    equal(headers['content-security-policy'], CSP)
    equal(headers['x-content-type-options'], 'nosniff')
    equal(headers['referrer-policy'], 'no-referrer')
    equal(headers['cross-origin-resource-policy'], 'same-origin')
    equal(headers['cache-control'], 'no-store')


def says(web, target, words):
    text = web.page(target).text
    check(words in text, 'no %r in %s: %s' % (words, target, text))


def hostile_daemon(t):
    broker = t.broker()
    daemon = t.listener(broker).start()
    daemon.script('a.py', 'pass', topic='create/#')
    broker.publish('create/resource/' + HOSTILE, HOSTILE)
    broker.publish(LONG, b'{}')
    broker.publish('delete/' + HOSTILE, b'\0' * 100)
    daemon.wait_jobs(2)
    daemon.wait_counter('events', 3)
    return broker, daemon


def test_each_view_with_hostile_names(t):
    broker, daemon = hostile_daemon(t)
    name = '<script>alert(1)</script>\u202e "\'&.py'.replace('/', '')
    daemon.put(name + '.meta', b'topic = create/hostile/' + HOSTILE.encode().replace(b'/', b'') + b'\n')
    daemon.put(name, b'print(1)')
    daemon.wait_script(name)
    web = Web(t, daemon.socket)
    texts = {view: web.page(view).text for view in VIEWS}
    check('All is well' in texts['/'] or 'What to do' in texts['/'], texts['/'])
    check('<script>alert(1)</script>' in texts['/jobs'], texts['/jobs'])
    check('\\u{202e}' in texts['/jobs'] and 'more bytes]' in texts['/jobs'], texts['/jobs'])
    check('\\u{202e}' in texts['/events'] and '<img src=x' in texts['/events'], texts['/events'])
    check('json-lines' in texts['/about'] and daemon.identity in texts['/about'], texts['/about'])
    link = '/scripts/' + urllib.parse.quote(name, safe='')
    scripts = web.page('/scripts')
    check(link in scripts.links, scripts.links)
    says(web, link, name.split('\u202e')[0])
    says(web, '/scripts?text=a.py', 'a.py')
    check('/scripts/a.py' not in web.page('/scripts?text=alert').links, 'a.py is found')
    for job in daemon.all_jobs():
        page = web.page('/jobs/%d' % job['id'])
        check('success' in page.text and 'a.py' in page.text, page.text)
    for topic in ('create/resource/' + HOSTILE, 'creat/x', '\u202e'):
        one, every = ({'topic': topic, 'script': 'a.py'}, {'topic': topic})
        for asked in (one, every):
            page = web.page('/explain?' + urllib.parse.urlencode(asked))
            equal(page.values['topic'].replace('\\u{202e}', '\u202e')[:16], topic[:16])
    answer = web.page('/explain?topic=create/x&script=a.py').text
    check('runs on json-lines' in answer, answer)


def test_filters_and_paging(t):
    broker = t.broker()
    daemon = t.listener(broker).start()
    daemon.script('a.py', 'pass', topic='create/#')
    broker.publish_all([('create/%d' % i, b'') for i in range(60)])
    daemon.wait_jobs(60)
    web = Web(t, daemon.socket)
    first = web.page('/jobs?script=a.py&topic=create/%23&state=finished&outcome=success&latest=yes')
    older = [link for link in first.links if 'before=' in link]
    equal(len([link for link in first.links if re.match(r'^/jobs/\d+$', link)]), 50)
    second = web.page(older[0])
    equal(len([link for link in second.links if re.match(r'^/jobs/\d+$', link)]), 10)
    says(web, '/jobs?failed=yes', 'No jobs')
    says(web, '/jobs?script=no.py', 'No jobs')
    says(web, '/events?decision=rejected', 'No events')
    says(web, '/', '60 runs')
    says(web, '/scripts/a.py', '60, success 60')
    check('Holds' not in web.page('/').text, 'a hold')
    daemon.ctl('pause', 'a.py', '--reason', HOSTILE)
    broker.publish('create/held', b'')
    daemon.wait_counter('events', 61)
    says(web, '/', '<img src=x')
    says(web, '/jobs/61', 'and waits:')
    refused = web.page('/jobs?state=nonsense', 400).text
    check('nonsense' in refused, refused)
    web.page('/jobs/abc', 400)
    web.page('/jobs/99999', 404)
    web.page('/scripts/no.py', 404)
    status, headers, _ = web.send('/jobs?refresh=15')
    equal((status, headers['refresh']), (200, '15'))
    check('refresh' not in web.send('/jobs?refresh=1')[1], 'a refresh each second')


def test_refusals(t):
    daemon = t.listener(t.broker()).start()
    web = Web(t, daemon.socket, '--host', 'listener.example.org')
    for host in (
        'evil.example',
        'local',
        '127',
        'localhost.evil.example',
        'localhost:80:80',
        'localhost:x',
        '127.0.0.1.',
        '[::1',
        'a@localhost',
    ):
        status, headers, body = web.send('/', host=host)
        equal((host, status), (host, 421), body)
        harmless_headers(headers)
    # newer libmicrohttpd refuses it itself
    check(web.send('/', host='')[0] in (400, 421), 'an empty name')
    for host in ('localhost', 'LOCALHOST:1', '127.0.0.1:80', '[::1]:9732', 'listener.example.org'):
        equal((host, web.send('/about', host=host)[0]), (host, 200))
    for method in ('POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'BREW'):
        status, headers, _ = web.send('/jobs', method, body=b'x' * 1000)
        equal((method, status, headers.get('allow')), (method, 405, 'GET, HEAD'))
        harmless_headers(headers)
    status, headers, body = web.send('/', 'HEAD')
    equal((status, body), (200, b''))
    check(int(headers['content-length']) > 1000, headers)
    for target, status in (
        ('/nothing', 404),
        ('/jobs/', 404),
        ('//', 404),
        ('/../etc/passwd', 404),
        ('/jobs/%00', 400),
        ('/jobs?topic=%00', 400),
        ('/jobs/%ff', 400),
        ('/jobs?topic=%ff', 400),
        ('/jobs?%ff=1', 400),
        ('/jobs?' + '&'.join('a%d=1' % i for i in range(17)), 400),
        ('/' + 'x' * 3000, 400),
        ('/output/1', 403),
    ):
        got, headers, body = web.send(target)
        equal((target[:40], got), (target[:40], status), body)
        harmless_headers(headers)
    status, headers, body = web.send('/style.css')
    equal((status, headers['content-type']), (200, 'text/css; charset=utf-8'))
    equal(body, open(harness.ROOT + '/web/style.css', 'rb').read())


def test_health(t):
    broker = t.broker()
    daemon = t.listener(broker, ini={'broker': {'reconnect_min': '100ms'}}).start()
    web = Web(t, daemon.socket)
    harness.wait(lambda: web.send('/healthz')[2] == b'ok\n', lambda: 'health: %r' % (web.send('/healthz'),), SECONDS)
    equal(web.send('/healthz')[0], 200)
    broker.stop()
    harness.wait(lambda: b'broker-away' in web.send('/healthz')[2], 'broker-away in /healthz', SECONDS)
    says(web, '/', 'broker')
    broker.start()
    daemon.stop()
    for view in VIEWS:
        text = web.page(view, 200 if view == '/explain' else 503).text
        check(view == '/explain' or 'is listenerd running?' in text, text)
    status, headers, body = web.send('/healthz')
    equal((status, headers['content-type']), (503, 'text/plain; charset=utf-8'))
    check(body.startswith(b'failure listenerd-away: ') and body.count(b'\n') == 1, body)
    equal(
        web.send('/metrics')[0::2],
        (200, b'# HELP listenerd_up 1 if listenerd answers.\n# TYPE listenerd_up gauge\nlistenerd_up 0\n'),
    )
    daemon.start()
    web.page('/')


def test_metrics(t):
    """What listenerctl prints, but for the figures that move by themselves."""
    broker, daemon = hostile_daemon(t)
    web = Web(t, daemon.socket)
    status, headers, body = web.send('/metrics')
    equal((status, headers['content-type']), (200, 'text/plain; version=0.0.4; charset=utf-8'))
    harmless_headers(headers)
    check(b'\nlistenerd_up 1\n' in body and b'listenerd_script_runs_total{script="a.py"' in body, body)
    told = daemon.ctl_run('metrics').stdout

    def names(text):
        return [line.split(b' ')[0] for line in text.splitlines() if not line.startswith(b'#')]

    equal(names(body), names(told))


def test_rights(t):
    """As a user of its own: it may look if [control] readers says so; else the page tells what to
    set."""
    if os.getuid() != 0:
        raise harness.Skip('only root can start listener-web as another user')
    daemon = t.listener(t.broker()).start()
    web = Web(t, daemon.socket, user=NOBODY)
    check('[control] readers' in web.page('/', 503).text, 'without readers')
    daemon.change({'control': {'readers': 'daemon'}}).reload()
    # The daemon says why, and closes: whether we have read it by then is luck.
    status, _, body = web.send('/')
    check(status in (403, 503) and b'[control] readers' in body, body)
    daemon.change({'control': {'readers': 'nobody'}}).reload()
    for view in VIEWS:
        web.page(view)


PRINTS = """import os, sys
hostile = sys.argv[1].encode()
os.write(1, hostile + b'\\x00\\xff\\x1b[31m\\n')
os.write(2, b'y' * 40000 + hostile)
sys.exit(3)
"""


def test_output(t):
    """What a script printed in its sandbox, whatever it is: shown if the administrator wants it."""
    broker = t.broker()
    daemon = t.listener(broker, docker={}).start()
    daemon.script('a.py', PRINTS, topic='create/#', output='capture')
    topic = 'create/resource/' + HOSTILE
    broker.publish(topic, b'{}')
    daemon.wait_jobs(1, 120)
    open_web, web = Web(t, daemon.socket, '--output', 'yes'), Web(t, daemon.socket)
    text = open_web.page('/jobs/1').text
    for part in (
        'Standard output',
        'Standard error',
        '<img src=x',
        '\\u{0}\\xff\\u{1b}[31m',
        'y' * 40000,
        'exit status 3',
    ):
        check(part in text, 'no %s in %s' % (harness.shorten(part, 50), text[:3000]))
    status, headers, body = open_web.send('/output/1')
    equal((status, headers['content-type']), (200, 'text/plain; charset=utf-8'))
    equal(headers['content-disposition'], 'attachment; filename="output.txt"')
    harmless_headers(headers)
    check(topic.encode() + b'\0\xff\x1b[31m\n' in body and b'y' * 40000 + topic.encode() in body, body[:2000])
    check('1 failed' not in open_web.page('/').text, 'a plot of one run')
    check('Last failure' in open_web.page('/scripts/a.py').text, 'the script has failed')
    text = web.page('/jobs/1').text
    # The message of a failed job is the last line of its standard error, for every reader.
    check('--output yes' in text and 'Standard error' not in text and '\\xff' not in text, text)
    equal(web.send('/output/1')[0], 403)


def test_slow_readers(t):
    """64 connections that send nothing, or read nothing, cost the daemon nothing and us little."""
    broker, daemon = hostile_daemon(t)
    web = Web(t, daemon.socket)
    web.page('/')
    before = len(os.listdir('/proc/%d/fd' % daemon.process.pid))
    with contextlib.ExitStack() as stack:
        for i in range(64):
            client = socket.create_connection(('127.0.0.1', web.port), SECONDS)
            stack.callback(client.close)
            if i % 2:
                client.sendall(b'GET /jobs HTTP/1.1\r\nHost: localhost\r\n')
            else:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                client.sendall(b'GET /jobs HTTP/1.1\r\nHost: localhost\r\n\r\n')
        began = time.monotonic()
        daemon.status()
        check(time.monotonic() - began < 5, 'the daemon was slow')
        after = len(os.listdir('/proc/%d/fd' % daemon.process.pid))
        check(after <= before + 4, 'the daemon has %d descriptors, had %d' % (after, before))
        broker.publish('create/after', b'')
        daemon.wait_jobs(3)
        check(harness.SLOW > 1 or web.resident_kib() < 32768, 'listener-web takes %d KiB' % web.resident_kib())
        # It sees all of them end in one turn, and must listen again.
        os.kill(web.process.pid, signal.SIGSTOP)
    os.kill(web.process.pid, signal.SIGCONT)
    harness.wait(lambda: web.send('/about')[0] == 200, 'an answer after the slow readers', SECONDS)


def test_memory_stays(t):
    """Many large pages, one after the other: nothing is kept."""
    broker, daemon = hostile_daemon(t)
    broker.publish_all([(LONG[:-4] + '%d' % i, b'') for i in range(100, 130)])
    daemon.wait_jobs(32)
    web = Web(t, daemon.socket)
    views = ['/', '/jobs', '/events', '/scripts/a.py', '/jobs/1']
    for view in views * 2:
        web.page(view)
    settled = web.resident_kib()
    for view in views * 5:
        equal(web.send(view)[0], 200)
    check(
        harness.SLOW > 1 or web.resident_kib() < settled + 2048, '%d KiB became %d KiB' % (settled, web.resident_kib())
    )


def test_nobody_looks(t):
    """No request, no wake-up."""
    daemon = t.listener(t.broker()).start()
    web = Web(t, daemon.socket)
    web.page('/')

    def switches():
        with open('/proc/%d/status' % web.process.pid) as f:
            return int(re.search(r'\nvoluntary_ctxt_switches:\s+(\d+)', f.read()).group(1))

    harness.wait(lambda: (lambda n: time.sleep(1) or switches() == n)(switches()), 'listener-web to sleep', SECONDS)


def test_command_line(t):
    program = harness.BUILD + '/listener-web'

    def run(*words):
        done = subprocess.run(
            [program, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        return done.returncode, (done.stdout + done.stderr).decode()

    status, text = run('--help')
    check(status == 0 and '--host NAME' in text, text)
    for words, says in (
        (('--host', 'a:80'), 'without a port'),
        (('--output', 'perhaps'), 'yes or no'),
        (('extra',), 'only options'),
        (('--nonsense',), 'usage'),
    ):
        status, text = run(*words)
        equal((words, status), (words, 64), text)
        check(says in text, text)
    status, text = run()
    check(status == 1 and 'listener-web.socket' in text, text)


if __name__ == '__main__':
    harness.main()
