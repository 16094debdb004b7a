#!/usr/bin/env python3
"""test_engines.py - engines that are not what they were, or do not do what they say.

It is the real one, behind a proxy that changes what passes."""
import http.client
import http.server
import json
import os
import re
import socket
import socketserver
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from case import ECHO, Case, init_of, need_image, sleeper
from driver import SOCKET, clean_up, container_of, containers, docker, there, wait_for


SPEAKS_AND_ENDS = '''#!/usr/bin/python3
import socket, struct
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.connect("/listener-control/socket")
s.send(struct.pack("=IHHIIIIIIQQ", 0x4c534231, 1, 1, 48, 0, 0, 0x3f, 7, 1, 0, 0))
s.send(struct.pack("=IHHII", 0x4c534231, 2, 1, 16, 0))
'''


def kernel():
    return tuple(int(n) for n in re.findall(r'\d+', os.uname().release)[:2])


def exists(name):
    return docker('inspect', name).returncode == 0


def removals(proxy, name):
    return [path for method, path in proxy.seen if method == 'DELETE' and name in path]


def no_script(place):
    """Nothing of the script's user runs there."""
    return '65534' not in docker('top', container_of(place), '-eo', 'ruid').stdout.split()


class Connection(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(SOCKET)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def pass_on(self):
        body = self.rfile.read(int(self.headers.get('Content-Length', 0)))
        status, answer = self.server.proxy.answer(self.command, self.path, body)
        self.send_response(status)
        self.send_header('Content-Type', 'application/json')
        if not self.server.proxy.keeps:
            self.send_header('Connection', 'close')
        if status != 204:
            self.send_header('Content-Length', str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = do_DELETE = pass_on

    def address_string(self):
        return 'proxy'

    def log_message(self, *args):
        pass


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def handle_error(self, request, address):
        """The client does not wait for every answer."""


class Held:
    def __init__(self, what):
        self.what, self.path, self.go_on = what, None, threading.Event()

    def wait(self):
        """Until there is such a request; its container's name."""
        wait_for('a request with ' + self.what, lambda: self.path)
        return re.search(r'lsn-[\w-]+', self.path).group(0)


class Proxy:
    """In front of the real engine.

    `oldest` is the oldest version that it seems to speak. weaken(host_config, reply) changes what
    it tells of a container. hold() delays one request, or the reply to it."""

    def __init__(self, case):
        self.folder = tempfile.mkdtemp(prefix='engine-proxy.')
        self.socket, self.oldest, self.weaken, self.seen = self.folder + '/socket', None, None, []
        self.asked, self.answered = [], []  # (what path, an event that is waited for)
        self.keeps = True  # its connections
        server = Server(self.socket, Handler)
        server.proxy = self
        threading.Thread(target=server.serve_forever, daemon=True).start()
        case.addCleanup(server.server_close)
        case.addCleanup(server.shutdown)

    def hold(self, where, what):
        """The next request whose path or body has WHAT waits before it is passed on (WHERE:
        proxy.asked) or before its reply is (proxy.answered). A Held."""
        held = Held(what)
        where.append(held)
        return held

    @staticmethod
    def wait_if_held(where, path, body):
        for held in where:
            if held.what in path + body.decode():
                where.remove(held)
                held.path = path
                held.go_on.wait(60)
                return

    def answer(self, method, path, body):
        version = re.match(r'/v1\.(\d+)', path)
        self.seen.append((method, path))
        if version and self.oldest and int(version.group(1)) < self.oldest:
            return 400, json.dumps({'message': 'Diese Version spricht hier niemand mehr'}).encode()
        if version:
            path = path.replace(version.group(0), '/v1.41', 1)
        self.wait_if_held(self.asked, path, body)
        status, answer = self.ask(method, path, body)
        self.wait_if_held(self.answered, path, body)
        if path == '/version' and self.oldest:
            now = {'Version': '99.0', 'MinAPIVersion': '1.%d' % self.oldest, 'ApiVersion': '1.%d' % (self.oldest + 3)}
            answer = json.dumps(dict(json.loads(answer), **now)).encode()
        if self.weaken and re.search(r'/containers/[^/]*/json', path) and status == 200:
            changed = json.loads(answer)
            self.weaken(changed['HostConfig'], changed)
            answer = json.dumps(changed).encode()
        return status, answer

    def ask(self, method, path, body):
        connection = Connection('engine', timeout=60)
        connection.request(method, path, body or None, {'Content-Type': 'application/json'} if body else {})
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        return response.status, answer


class Engines(Case):
    def test_upgraded_meanwhile(self):
        """It refuses the version that was agreed on: another is, also for removals at the end."""
        proxy = Proxy(self)
        d = self.driver(socket=proxy.socket, reuse='never')
        self.check(d.run(1, ECHO), 'success')
        proxy.oldest = 44
        proxy.seen.clear()
        self.check(d.run(2, ECHO, timeout=60), 'success')
        self.check(d.run(3, ECHO, timeout=60), 'success')
        wait_for('the new version', lambda: 'API 1.44' in d.describe()['engine'])
        proxy.seen.clear()
        self.assertEqual(d.end(), 0)
        wait_for('the containers to go', lambda: not containers())  # a process of its own removes them
        removed = [path for method, path in proxy.seen if method == 'DELETE']
        self.assertTrue(removed)
        self.assertEqual([path for path in removed if not path.startswith('/v1.44/')], [])

    def test_weakened(self):
        """Nothing starts if a container is not as it was asked for; the reason names the wall."""
        for key, value, wall in (
            ('IpcMode', 'shareable', 'shared memory'),
            ('ReadonlyRootfs', False, 'read-only root'),
            ('Tmpfs', {'/tmp': 'rw'}, 'file systems'),
            ('MaskedPaths', ['/proc/kcore'], 'masked paths'),
            ('CapAdd', ['SETUID', 'SETGID', 'KILL', 'SETPCAP', 'SYS_ADMIN'], 'capabilities'),
            ('SecurityOpt', ['no-new-privileges'], 'system calls'),
            ('Sysctls', None, 'packets'),
            ('PidsLimit', None, 'processes'),
        ):
            if key == 'Sysctls' and kernel() < (6, 18):
                continue  # it is not asked for
            with self.subTest(key):
                proxy = Proxy(self)
                proxy.weaken = lambda host, whole: host.update({key: value})
                d = self.driver(socket=proxy.socket)
                d.job(1, ECHO)
                wait_for('the reason', lambda: 'weakens' in d.describe()['problem'])
                problem = d.describe()['problem']
                self.assertIn(wall, problem)
                self.assertEqual(d.results, {})
                self.assertFalse([path for method, path in proxy.seen if path.endswith('/start')])
                d.kill()
                clean_up()

    def test_looked_at_once(self):
        """The look costs the first container only."""
        proxy = Proxy(self)
        d = self.driver(socket=proxy.socket, reuse='never', pool_min=0)
        for number in range(3):
            self.check(d.run(number + 1, ECHO), 'success')
        looks = [path for method, path in proxy.seen if re.search(r'/containers/[^/]+/json', path)]
        self.assertEqual(len(looks), 1, looks)


class Late(Case):
    """What the engine does after nobody waits for it any more."""

    def gone(self, name):
        wait_for('%s to be there' % name, lambda: exists(name))
        wait_for('%s to go' % name, lambda: not exists(name), 120)

    def late(self, what, **options):
        proxy = Proxy(self)
        held = proxy.hold(proxy.asked, what)
        d = self.driver(socket=proxy.socket, **options)
        name = held.wait()
        return d, held, name, proxy

    def test_created_after_it_was_given_up(self):
        d, held, name, proxy = self.late('/containers/create', network='none', start_timeout='8s', pool_min=1)
        wait_for('the first attempt to remove it', lambda: removals(proxy, name))
        held.go_on.set()
        self.gone(name)
        d.job(1, ECHO)
        self.check(d.done(1, 120), 'success')
        self.assertEqual(d.end(), 0)

    def test_created_after_the_engine_took_too_long(self):
        d, held, name, proxy = self.late('/containers/create', network='none', engine_timeout='8s', pool_min=1)
        wait_for('the first attempt to remove it', lambda: removals(proxy, name))
        held.go_on.set()
        self.gone(name)
        d.job(1, ECHO)
        self.check(d.done(1, 120), 'success')
        self.assertEqual(d.end(), 0)

    def test_namespace_that_came_late(self):
        proxy = Proxy(self)
        held = proxy.hold(proxy.asked, '"sleep"')
        d = self.driver(socket=proxy.socket, reuse='never', engine_timeout='8s', pool_max=4)
        for number in range(30):
            d.job(number + 1, ECHO)
        name = held.wait()
        wait_for('the first attempt to remove it', lambda: removals(proxy, name))
        held.go_on.set()
        self.gone(name)
        for number in range(30):
            self.check(d.done(number + 1, 120), 'success')
        self.assertEqual(d.end(), 0)

    def test_ended_before_the_engine_said_that_it_runs(self):
        """Its init spoke and ended, and then came the reply to its start: it is no spare."""
        proxy = Proxy(self)
        held = proxy.hold(proxy.answered, '/start')
        d = self.driver(
            socket=proxy.socket, libexec=init_of(self, SPEAKS_AND_ENDS), network='none', pool_min=1, pool_max=1
        )
        name = held.wait()
        wait_for('its end', lambda: docker('inspect', '-f', '{{.State.Status}}', name).stdout.strip() == 'exited')
        held.go_on.set()
        wait_for('it to go', lambda: not exists(name))


class Short(Case):
    def test_of_descriptors(self):
        """Ours: no result is lost, and the engine is not away."""
        proxy = Proxy(self)
        proxy.keeps = False
        d = self.driver(socket=proxy.socket, reuse='never', network='none', pool_min=0)
        for job, capture in ((1, True), (2, False)):
            d.job(job, sleeper(1), capture=capture, timeout=60)
            place = d.running(job)
            with d.without_descriptors():
                wait_for('the script to end', lambda: no_script(place))
                time.sleep(1)
            self.check(d.done(job), 'success', out=b'slept\n' if capture else b'')
            wait_for('the container to go', lambda: not there(place))
        self.assertEqual(d.said('is away'), 0)


class Names(Case):
    def test_only_the_resolvers_that_the_wall_opens(self):
        """By resolv.conf, by the engine's own name server, with no resolver at all."""
        look = 'print(open("/etc/resolv.conf").read())'
        d = self.driver(dns='192.0.2.53,192.0.2.54')
        lines = d.run(1, look).out.decode().splitlines()
        self.assertEqual(
            [l for l in lines if l.startswith('nameserver')], ['nameserver 192.0.2.53', 'nameserver 192.0.2.54']
        )
        host = docker('inspect', '-f', '{{json .HostConfig.Dns}}', *containers()).stdout.split()
        self.assertEqual(set(host), {'["192.0.2.53","192.0.2.54"]'})


def setUpModule():
    need_image()


def tearDownModule():
    clean_up()


if __name__ == '__main__':
    unittest.main(verbosity=2)
