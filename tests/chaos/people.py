"""people.py - who asks at the control socket meanwhile: operators who cancel, retry and replay many
jobs at once, readers who ask for much and read little. The daemon may be gone at any moment, so
each act is written down before it is tried."""
import collections
import contextlib
import json
import socket
import threading
import time

import harness

MANY = b''.join(
    json.dumps(request).encode() + b'\n'
    for request in ({'command': 'jobs', 'topic': 'nothing/#', 'limit': 1000}, {'command': 'jobs', 'limit': 1000})
)
ACT_SECONDS = 20
BULK = 200  # jobs at once


class People:
    def __init__(self, path, socket_of, count):
        """SOCKET_OF() is the daemon's control socket. COUNT(what) counts for the report."""
        self.acts, self.socket_of, self.count = open(path, 'w', buffering=1), socket_of, count
        self.lock = threading.Lock()

    def ask(self, request):
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as s:
            s.settimeout(ACT_SECONDS)
            s.connect(self.socket_of())
            s.sendall(json.dumps(request).encode() + b'\n')
            return [json.loads(line) for line in self.lines(s)]

    @staticmethod
    def lines(s):
        for line in s.makefile('rb'):
            yield line
            if b'"end"' in line:
                return

    def ids(self, **filters):
        return [row['id'] for row in self.ask(dict({'command': 'jobs', 'limit': BULK}, **filters)) if 'id' in row]

    def act(self, command, jobs):
        if not jobs:
            return
        with self.lock:
            self.acts.write(json.dumps({'act': command, 'jobs': jobs}) + '\n')
        self.ask({'command': command, 'jobs': jobs})
        self.count('jobs told to ' + command, len(jobs))

    def many_queued(self):
        """Those that wait, when there are many, or after some time."""
        until, waiting = time.monotonic() + 3, []
        while len(waiting) < 20 and time.monotonic() < until:
            waiting = self.ids(state='queued')
            time.sleep(0.05)
        return waiting

    def operate(self, what, _):
        with contextlib.suppress(OSError, ValueError):  # it died meanwhile
            if what == 'cancel':
                self.act('cancel', self.many_queued() + self.ids(state='running')[:2])
            elif what == 'retry':
                self.act('retry', self.ids(outcome='cancelled'))
            else:
                self.act('replay', self.ids(script='line.py', state='finished')[:60])

    def pause(self, what, how_long):
        """A pause that is ended later, perhaps by another daemon, or at the end of all."""
        scope = {
            'all': {'all': True},
            'executor': {'executor': 'docker-sandbox'},
            'pattern': {'scripts': ['*.py']},
            'script': {'scripts': ['line.py']},
        }[what]
        for command in ('pause', 'resume'):
            with contextlib.suppress(OSError, ValueError):
                self.ask(dict(scope, command=command))
                self.count(command + ' ' + what, 1)
            time.sleep(how_long if command == 'pause' else 0)

    def resume_all(self):
        """What deaths have left paused. Nothing else may be held: all events come from outside."""
        for hold in self.ask({'command': 'holds'}):
            if 'hold' not in hold:
                continue
            if hold['kind'] != 'pause':
                raise harness.Failed('held although nothing loops: %s' % hold)
            scope = {'all': True} if hold['scope'] == 'all' else {'executor': hold['name']}
            scope = {'scripts': [hold['name']]} if hold['scope'] == 'script' else scope
            self.ask(dict(scope, command='resume'))

    def read(self, what, how_long):
        """Twelve connections that ask without end and read slowly, or not at all."""
        until, links = time.monotonic() + how_long, []
        with contextlib.suppress(OSError):
            for _ in range(12):
                link = socket.socket(socket.AF_UNIX)
                link.setblocking(False)
                links.append(link)
                link.connect(self.socket_of())
            while time.monotonic() < until:
                for link in links:
                    with contextlib.suppress(BlockingIOError):
                        link.send(MANY * 100)
                    if what == 'greedy':
                        with contextlib.suppress(BlockingIOError):
                            link.recv(4096)
                time.sleep(0.05)
        for link in links:
            link.close()
        self.count('readers ' + what, 1)


def read_acts(path):
    """{act: how often it was asked for, by job}"""
    acts = {name: collections.Counter() for name in ('cancel', 'retry', 'replay')}
    for line in open(path):
        one = json.loads(line)
        acts[one['act']].update(one['jobs'])
    return acts
