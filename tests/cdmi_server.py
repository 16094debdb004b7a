#!/usr/bin/env python3
"""cdmi_server.py - an archive for tests and demonstrations: CDMI over HTTP as Indigo serves it,
quirks included, and the events that Indigo publishes.

    archive = cdmi_server.Archive(broker_port=1883)
    server = cdmi_server.Server(archive).start()        # server.url: http://127.0.0.1:PORT/api/cdmi
    archive.web_create('/scripts/a.py', b'print(1)', {'topic': 'create/#'})
    server.fault('a.py', 404, mode='content', times=2)  # 404, 404, then 200
    server.count('content')                             # requests seen

flavour = 'indigo' (the default), 'radon', 'cdmi11', 'cdmi20' chooses whose habits it has. Run as a
program it serves until killed; see --help. Python's standard library only."""
import argparse
import base64
import datetime
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
import uuid
from urllib.parse import unquote, urlsplit

REASONS = {
    200: 'OK',
    201: 'Created',
    204: 'No Content',
    301: 'Moved Permanently',
    302: 'Found',
    307: 'Temporary Redirect',
    308: 'Permanent Redirect',
    400: 'Bad Request',
    401: 'Unauthorized',
    403: 'Forbidden',
    404: 'Not Found',
    405: 'Method Not Allowed',
    406: 'Not Acceptable',
    410: 'Gone',
    500: 'Internal Server Error',
    502: 'Bad Gateway',
    503: 'Service Unavailable',
    504: 'Gateway Timeout',
}
HEADER = 'x-cdmi-specification-version'


# ------------------------------------------------------------------------------------------- events


def mqtt_string(data):
    data = data.encode() if isinstance(data, str) else data
    return len(data).to_bytes(2, 'big') + data


def mqtt_packet(first, body):
    size, length = len(body), b''
    while True:
        size, low = size >> 7, size & 0x7F
        length += bytes([low | (0x80 if size else 0)])
        if not size:
            return bytes([first]) + length + body


def publish(port, topic, payload, level=3, host='127.0.0.1'):
    """QoS 0, one connection per message: CONNECT, PUBLISH, DISCONNECT. Level 3 is MQTT 3.1 (paho
    1.1), 4 is 3.1.1."""
    name = 'paho/' + base64.b64encode(os.urandom(18)).decode()[:18]
    with socket.create_connection((host, port), 5) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        s.sendall(
            mqtt_packet(
                0x10, mqtt_string('MQIsdp' if level == 3 else 'MQTT') + bytes([level, 2, 0, 60]) + mqtt_string(name)
            )
        )
        answer = b''
        while len(answer) < 4:
            part = s.recv(4 - len(answer))
            if not part:
                raise OSError('the broker closed the connection')
            answer += part
        s.sendall(mqtt_packet(0x30, mqtt_string(topic) + payload) + b'\xe0\x00')
        s.shutdown(socket.SHUT_WR)
        while s.recv(4096):
            pass


def event_topic(operation, kind, ident):
    """Empty levels go, then '#' and '+' wherever they stand; nothing else is escaped."""
    levels = [level for level in '/'.join((operation, kind, ident)).split('/') if level]
    return '/'.join(levels).replace('#', '').replace('+', '')


# ------------------------------------------------------------------------------------------ archive


def cdmi_id():
    return '0000A4EF0018' + uuid.uuid4().hex.upper() + '0000'


def now():
    moment = datetime.datetime.now()
    return moment.isoformat()


def split(path):
    path = '/' + '/'.join(level for level in path.split('/') if level)
    container, name = path.rsplit('/', 1)
    return path, container or '/', name


def stored(metadata):
    """Empty values are not stored."""
    return {key: value for key, value in metadata.items() if value not in ('', 0, None, [], False)}


class Node:
    def __init__(self, kind, container, name, metadata=None, content=None, mimetype=None, url=None):
        # kind: collection, object, reference
        self.kind, self.container, self.name = kind, container, name
        self.uuid, self.metadata = cdmi_id(), stored(metadata or {})
        self.content, self.mimetype = content, mimetype
        self.url = url or 'cassandra://' + cdmi_id()
        self.created = self.modified = now()
        self.broken = False  # listed, but not there
        self.emptied = False  # by HTTP PUT: reading it gives 500
        self.denied = False  # no read right

    def state(self):
        name = self.name + ('?' if self.kind == 'reference' else '')
        state = {
            'uuid': self.uuid,
            'container': self.container,
            'name': name,
            'create_ts': self.created,
            'modified_ts': self.modified,
            'metadata': self.metadata,
        }
        if self.kind != 'collection':
            state['url'] = self.url
        return json.loads(json.dumps(state))


class Archive:
    """The tree, and what each action publishes (indigo's table "action -> events")."""

    def __init__(self, broker_port=None, flavour='indigo', mqtt_level=3):
        self.broker_port, self.flavour, self.mqtt_level = broker_port, flavour, mqtt_level
        self.lock = threading.RLock()
        self.nodes = {'/': Node('collection', '', 'Home')}
        self.users, self.groups = {}, {}
        self.events, self.lost = [], 0
        self.drastic = False  # Drastic's topics
        self.mute = False  # publish nothing: events that got lost
        self.make('/scripts')

    # ------------------------------------------------------------------------------- without events
    def make(self, path, content=None, metadata=None, kind=None, mimetype=None, url=None):
        """Put something there as if it had always been."""
        path, container, name = split(path)
        with self.lock:
            if container not in self.nodes:
                self.make(container)
            kind = kind or ('collection' if content is None else 'object')
            node = self.nodes[path] = Node(kind, container, name, metadata, content, mimetype, url)
        return node

    def fill(self, count, folder='/scripts', topic='create/resource/fill/%d/#', content=b'print(%d)\n'):
        for number in range(count):
            self.make('%s/s%05d.py' % (folder, number), content % number, {'topic': topic % number})

    def children(self, path):
        below = [node for node in self.nodes.values() if node.container == path]
        mark = '' if self.flavour == 'indigo' else '?'
        names = [n.name + '/' for n in below if n.kind == 'collection']
        leaves = [
            n.name + (mark if n.kind == 'reference' else '#' if n.broken and self.flavour == 'radon' else '')
            for n in below
            if n.kind != 'collection'
        ]
        return sorted(names, key=str.encode) + sorted(leaves, key=str.encode)

    # --------------------------------------------------------------------------------------- events
    def emit(self, operation, kind, ident, pre, post, extra=None):
        topic, message = event_topic(operation, kind, ident), {'pre': pre, 'post': post}
        if self.flavour in ('cdmi11', 'cdmi20'):
            return  # the standard knows no events
        if self.drastic and kind in ('collection', 'resource'):
            topic = event_topic(operation, kind, (post or pre)['uuid'] + '/' + ident)
        if self.flavour == 'radon':
            state = post or pre
            about = dict(state, path=ident) if kind in ('collection', 'resource') else state
            about = {'path': ident} if operation == 'delete' else about
            message = {'obj': about, 'meta': {'sender': 'test', 'req_id': uuid.uuid4().hex}}
            if operation == 'update':
                message['new'] = about
            self.send(event_topic(operation + '/request', kind, ident), message)
            topic = event_topic(operation + '/success', kind, ident)
        self.send(topic, message)

    def send(self, topic, message):
        payload = json.dumps(message).encode()
        self.events.append((topic, message))
        if self.broker_port and not self.mute:
            try:
                publish(self.broker_port, topic, payload, self.mqtt_level)
            except OSError:
                self.lost += 1  # caught, logged, never resent

    def emit_node(self, operation, path, pre, post):
        node = self.nodes.get(path)
        kind = 'collection' if 'url' not in (post or pre) else 'resource'
        ident = node.name if node and node.kind == 'reference' else path
        self.emit(operation, kind, ident, pre, post)

    def create(self, path, *words, **named):
        path = split(path)[0]
        node = self.make(path, *words, **named)
        self.emit_node('create', path, {}, node.state())
        return node

    def update(self, path, operation='update', **values):
        path = split(path)[0]
        with self.lock:
            node = self.nodes[path]
            pre = node.state()
            for key, value in values.items():
                setattr(node, key, value)
            node.modified = now()
            post = node.state()
        self.emit_node(operation, path, pre, post)

    def replace(self, path, content, **values):
        self.update(path, content=content, url='cassandra://' + cdmi_id(), **values)

    # -------------------------------------------------------------------------------------- actions
    def web_create(self, path, content=None, metadata=None):
        return self.create(path, content, metadata)

    def web_edit(self, path, metadata, operation='update'):
        self.update(path, operation, metadata=stored(metadata))

    def web_reference(self, path, url, metadata=None):
        return self.create(path, b'', metadata, kind='reference', url=url)

    def http_put(self, path, body, mimetype='application/octet-stream'):
        path = split(path)[0]
        if path not in self.nodes:
            self.create(path, body, mimetype=mimetype)
            return 201
        self.replace(path, body, mimetype=None, emptied=not body)
        return 204

    def cdmi_put(self, path, body):
        path, container, _ = split(path)
        metadata, value = body.get('metadata'), body.get('value')
        if value is not None and body.get('valuetransferencoding') == 'base64':
            value = base64.b64decode(value)
        elif value is not None:
            if not value.isascii():
                return 500
            value = value.encode()
        if container not in self.nodes:
            return 404
        extra = {'cdmi_valuetransferencoding': body.get('valuetransferencoding', 'utf-8')}
        if metadata is None:
            extra['cdmi_mimetype'] = body.get('mimetype', 'application/octet-stream')
        if path not in self.nodes:
            self.create(path, value or b'', mimetype=body.get('mimetype'))
            self.update(path, metadata=stored(dict(metadata or {}, **extra)))
        elif value is None:
            self.update(
                path,
                metadata=stored(dict(metadata))
                if metadata is not None
                else {'cdmi_mimetype': body.get('mimetype', 'application/octet-stream')},
            )
        else:  # the metadata lands on the blob that is discarded
            self.replace(path, value, metadata={})
            self.replace(path, value, metadata={})
        simple = all(
            isinstance(v, str) or (isinstance(v, list) and all(isinstance(x, str) for x in v))
            for v in (metadata or {}).values()
        )
        return 201 if simple else 500

    def cdmi_put_container(self, path, body):
        path, container, _ = split(path)
        metadata = body.get('metadata')
        if container not in self.nodes:
            return 404
        if path in self.nodes:
            self.update(path, metadata=stored(metadata or {}))
            return 204
        self.create(path)
        if metadata:
            self.update(path, metadata=stored(metadata))
        return 201

    def delete(self, path):
        """Depth first: objects, sub-collections, then the collection itself."""
        path = split(path)[0]
        node = self.nodes[path]
        if node.kind == 'collection':
            below = [(n.kind == 'collection', p) for p, n in self.nodes.items() if n.container == path]
            for _, child in sorted(below):
                self.delete(child)
        state = node.state()
        with self.lock:
            del self.nodes[path]
        self.emit(
            'delete',
            'collection' if node.kind == 'collection' else 'resource',
            node.name if node.kind == 'reference' else path,
            state,
            {},
        )

    # ----------------------------------------------------------------------------- users and groups
    def user_state(self, name):
        return json.loads(json.dumps(self.users[name]))

    def create_user(self, name, email='u@example.org'):
        self.users[name] = {'uuid': str(uuid.uuid4()), 'name': name, 'email': email, 'active': True, 'groups': []}
        self.emit('create', 'user', self.users[name]['uuid'], {}, self.user_state(name))

    def modify_user(self, name, **fields):
        for key, value in fields.items():  # one update per field, those that do not show included
            pre = self.user_state(name)
            if key in self.users[name]:
                self.users[name][key] = value
            self.emit('update', 'user', name, pre, self.user_state(name))

    def delete_user(self, name):
        state = self.users.pop(name)
        self.emit('delete', 'user', state['uuid'], state, {})

    def group_state(self, name):
        return {
            'uuid': self.groups[name],
            'name': name,
            'members': [u for u, s in self.users.items() if name in s['groups']],
        }

    def create_group(self, name):
        self.groups[name] = str(uuid.uuid4())
        self.emit('create', 'group', name, {}, self.group_state(name))

    def add_to_group(self, user, group, web=False):
        pre = self.user_state(user)
        self.users[user]['groups'].append(group)
        self.emit('update', 'user', user, pre, self.user_state(user))
        if web:
            self.emit('update', 'group', group, self.group_state(group), self.group_state(group))

    def remove_from_group(self, user, group):
        pre = self.user_state(user)
        self.users[user]['groups'].remove(group)
        self.emit('update', 'user', user, pre, self.user_state(user))

    def delete_group(self, name):
        state = self.group_state(name)
        for user in self.users.values():
            user['groups'] = [g for g in user['groups'] if g != name]
        del self.groups[name]
        self.emit('delete', 'group', name, state, {})


# --------------------------------------------------------------------------------------------- HTTP


class Reply(Exception):
    """What is answered. BODY None: none; a list of bytes: chunks without a length."""

    def __init__(self, status, body=b'', content_type='text/html', headers=()):
        Exception.__init__(self, status)
        self.status, self.body, self.content_type, self.headers = status, body, content_type, list(headers)


def detail(status, text, headers=()):
    """The odd media type of Indigo's error bodies is not a slip here."""
    return Reply(
        status,
        json.dumps({'detail': text}).encode(),
        'application/cdmi-container;application/cdmi-container+json; charset=utf-8',
        headers,
    )


class Request:
    def __init__(self, method, target, headers, body):
        self.method, self.target, self.headers, self.body = method, target, headers, body
        parts = urlsplit(target)
        self.raw_path, self.query = parts.path, parts.query
        self.mode = 'other'  # list, metadata, content, other
        self.authorization = headers.get('authorization')


class Rule:
    def __init__(self, pattern, action, mode, times):
        self.pattern, self.action, self.mode, self.times = re.compile(pattern), action, mode, times


CONTAINER_KEYS = (
    'objectType',
    'objectID',
    'objectName',
    'parentURI',
    'parentID',
    'domainURI',
    'capabilitiesURI',
    'completionStatus',
    'percentComplete',
    'metadata',
    'childrenrange',
    'children',
)
OBJECT_KEYS = CONTAINER_KEYS[:10] + ('mimetype', 'valuetransferencoding')


class Server:
    def __init__(self, archive, port=0, user='listener', password='s3cret', tls=None, to_https=None, host='127.0.0.1'):
        """TLS: (certificate, key) files. TO_HTTPS: answer everything with 301 to this base ("https://host:port")."""
        self.archive, self.host, self.port, self.tls, self.to_https = archive, host, port, tls, to_https
        self.accounts = {user: password} if user else {}
        self.inactive = set()
        self.flavour = archive.flavour
        self.root = '/cdmi/2.0.0' if self.flavour == 'cdmi20' else '/api/cdmi'
        self.rules, self.requests, self.lock = [], [], threading.Lock()
        self.keep = True  # remember requests
        self.tally = {}
        self.connections = set()
        self.socket = None
        # has not served a data object read yet: answers 406 to a CDMI PUT although it is stored
        self.cold_worker = False

    @property
    def url(self):
        return '%s://%s:%d%s' % ('https' if self.tls else 'http', self.host, self.port, self.root)

    def start(self):
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind((self.host, self.port))
        self.socket.listen(128)
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.accept, args=(self.socket,), daemon=True).start()
        return self

    def stop(self):
        """Away: refuses connections, breaks those there are. start() again serves on the same
        port."""
        listening, self.socket = self.socket, None
        if listening:
            listening.shutdown(socket.SHUT_RDWR)
            listening.close()
        for connection in list(self.connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    # -------------------------------------------------------------------------------- for the tests
    def fault(self, pattern, action, mode=None, times=None):
        """Requests whose path matches PATTERN (a regular expression) and whose mode is MODE (list,
        metadata, content) get ACTION, TIMES times or for good: a status; 'slow:SECONDS'; 'cut'
        (chunks that do not end); 'short' (less than Content-Length); 'drop' (no reply); 'garbage';
        'redirect:URL' ('%' is the path asked for); a function of the request that returns a Reply
        or None."""
        rule = Rule(pattern, action, mode, times)
        self.rules.append(rule)
        return rule

    def heal(self):
        self.rules.clear()

    def count(self, mode=None, pattern=''):
        if not pattern:
            return sum(self.tally.values()) if mode is None else self.tally.get(mode, 0)
        return sum(
            1 for r in list(self.requests) if (mode is None or r.mode == mode) and re.search(pattern, r.raw_path)
        )

    def reset(self):
        with self.lock:
            self.requests.clear()
            self.tally.clear()

    # ------------------------------------------------------------------------------------ transport
    def accept(self, listening):
        context = None
        if self.tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self.tls)
        while self.socket is listening:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection, context), daemon=True).start()

    def serve(self, connection, context):
        self.connections.add(connection)
        raw = connection
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if context:
                connection = context.wrap_socket(connection, server_side=True)
            stream = connection.makefile('rb')
            while self.exchange(connection, stream):
                pass
        except (OSError, ValueError):
            pass
        finally:
            self.connections.discard(raw)
            connection.close()

    def exchange(self, connection, stream):
        line = stream.readline(65536).decode('latin-1').split()
        if len(line) != 3:
            return False
        headers = {}
        while True:
            header = stream.readline(65536).decode('latin-1').rstrip('\r\n')
            if not header:
                break
            key, _, value = header.partition(':')
            headers[key.lower()] = value.strip()
        body = stream.read(int(headers.get('content-length', 0)))
        request = Request(line[0], line[1], headers, body)
        fault, reply = None, None
        try:
            reply = self.answer(request)
        except Reply as refusal:
            reply = refusal
        except Exception as problem:  # a bug of this server: say so instead of hanging
            print('cdmi_server: %s %s: %r' % (request.method, request.target, problem), file=sys.stderr, flush=True)
            reply = Reply(500, b'<h1>Server Error (500)</h1>')
        fault = self.find_fault(request)
        self.remember(request)
        keep = line[2] == 'HTTP/1.1' and headers.get('connection', '').lower() != 'close'
        if fault is not None:
            reply = self.misbehave(connection, request, reply, fault)
            if reply is None:
                return False
        self.send(connection, reply, line[2] == 'HTTP/1.1', request.method)
        return keep

    def remember(self, request):
        with self.lock:
            self.tally[request.mode] = self.tally.get(request.mode, 0) + 1
            if self.keep:
                self.requests.append(request)

    def find_fault(self, request):
        path = unquote(request.raw_path)
        with self.lock:
            for rule in self.rules:
                if rule.times == 0 or (rule.mode and rule.mode != request.mode) or not rule.pattern.search(path):
                    continue
                if rule.times:
                    rule.times -= 1
                return rule.action
        return None

    def misbehave(self, connection, request, reply, action):
        if callable(action):
            return action(request) or reply
        if isinstance(action, int):
            if action == 401:
                return detail(401, 'Invalid username/password.', [('WWW-Authenticate', 'Basic realm="Indigo"')])
            return Reply(action, b'' if action in (403, 404) else b'<html>trouble</html>')
        kind, _, value = action.partition(':')
        if kind == 'slow':
            time.sleep(float(value))
            return reply
        if kind == 'garbage':
            return Reply(200, b'<html>It works!</html>')
        if kind == 'redirect':
            return Reply(301, b'', 'text/html', [('Location', value.replace('%', request.target))])
        if kind == 'cut':
            connection.sendall(
                b'HTTP/1.1 200 OK\r\nContent-Type: text/x-python\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\nprint("half'
            )
        if kind == 'short':
            connection.sendall(
                b'HTTP/1.1 200 OK\r\nContent-Type: text/x-python\r\nContent-Length: 5000\r\n\r\nprint("half'
            )
        if kind in ('drop', 'cut', 'short'):
            connection.shutdown(socket.SHUT_RDWR)
            return None
        raise ValueError('no such fault: ' + action)

    @staticmethod
    def send(connection, reply, chunked, method):
        lines = [
            'HTTP/1.1 %d %s' % (reply.status, REASONS.get(reply.status, 'Unknown')),
            'Content-Type: ' + reply.content_type,
        ]
        lines += ['%s: %s' % header for header in reply.headers]
        if isinstance(reply.body, list) and chunked:
            lines.append('Transfer-Encoding: chunked')
            data = b''.join(b'%x\r\n%s\r\n' % (len(part), part) for part in reply.body if part) + b'0\r\n\r\n'
        elif isinstance(reply.body, list):
            lines.append('Connection: close')
            data = b''.join(reply.body)
        else:
            data = reply.body
            if reply.status != 204:
                lines.append('Content-Length: %d' % len(data))
        connection.sendall(('\r\n'.join(lines) + '\r\n\r\n').encode('latin-1') + (b'' if reply.status == 204 else data))
        if isinstance(reply.body, list) and not chunked:
            connection.shutdown(socket.SHUT_RDWR)

    # -------------------------------------------------------------------------------------- answers
    def answer(self, request):
        if self.to_https:
            request.mode = 'redirect'
            return Reply(301, b'', 'text/html', [('Location', self.to_https + request.target)])
        if request.raw_path == self.root:
            return Reply(301, b'', 'text/html', [('Location', self.root + '/')])
        if not request.raw_path.startswith(self.root + '/'):
            return Reply(404)
        path = unquote(request.raw_path[len(self.root) :])
        cdmi = self.is_cdmi(request)
        slash = path.endswith('/')
        request.mode = 'list' if cdmi and slash else 'metadata' if cdmi else 'content'
        self.authenticate(request)
        if request.method == 'GET':
            return self.get(request, path, slash, cdmi)
        request.mode = 'write'
        if request.method == 'PUT':
            return Reply(self.put(request, path, slash, cdmi))
        if request.method == 'DELETE':
            if split(path)[0] not in self.archive.nodes:
                return Reply(404)
            self.archive.delete(path)
            return Reply(204)
        return detail(405, 'Method "%s" not allowed.' % request.method)

    def is_cdmi(self, request):
        version = request.headers.get(HEADER)
        if self.flavour == 'cdmi20':
            if version is not None:
                raise Reply(400, b'the version is in the path')
            kind = request.headers.get('content-type' if request.method == 'PUT' else 'accept', '')
            return kind.startswith('application/cdmi-')
        if version is None:
            return False
        if not any(v.strip() in ('1.1', '1.1.1', '1.0.2') for v in version.split(',')):
            raise Reply(400, b'')
        return True

    def authenticate(self, request):
        if not self.accounts:
            return
        realm = {'radon': 'Radon'}.get(self.flavour, 'Indigo')
        ask = [('WWW-Authenticate', 'Basic realm="%s"' % realm)]
        if not request.authorization:
            raise detail(401, 'Authentication credentials were not provided.', ask)
        kind, _, code = request.authorization.partition(' ')
        try:
            user, _, password = base64.b64decode(code).decode('latin-1').partition(':')
        except ValueError:
            raise detail(401, 'Invalid basic header.', ask)
        if user not in self.accounts or user in self.inactive:
            raise detail(401, 'User inactive or deleted.', ask)
        if kind.lower() != 'basic' or self.accounts[user] != password:
            raise detail(401, 'Invalid username/password.', ask)

    def accept_type(self, request, cdmi):
        accept = request.headers.get('accept')
        if accept is None:
            if cdmi:
                raise detail(406, 'Could not satisfy the request Accept header.')
            return '*/*'
        first = accept.split(',')[0]  # not trimmed, so only the first surely counts
        known = (
            'application/cdmi-container',
            'application/cdmi-object',
            'application/json',
            'application/octet-stream',
            '*/*',
            'application/*',
        )
        if self.flavour in ('indigo', 'radon') and first not in known:
            raise detail(406, 'Could not satisfy the request Accept header.')
        return first

    def get(self, request, path, slash, cdmi):
        if 'range' in request.headers:
            return Reply(500, b'<h1>Server Error (500)</h1>')
        accept = self.accept_type(request, cdmi)
        node = self.archive.nodes.get(split(path)[0])
        if node is None or node.broken:
            return Reply(404)
        if node.denied:
            return Reply(403)
        if node.kind == 'collection':
            return self.get_container(request, path, node, slash, cdmi, accept)
        if slash:
            return Reply(404)
        if node.kind == 'reference':
            return self.get_reference(node, cdmi)
        return self.get_object(request, node) if cdmi else self.get_content(node)

    def get_container(self, request, path, node, slash, cdmi, accept):
        if not slash and self.flavour == 'radon':
            return Reply(404)
        if not slash and self.flavour in ('cdmi11', 'cdmi20'):
            return Reply(301, b'', 'text/html', [('Location', request.raw_path + '/')])
        if not cdmi or accept == 'application/cdmi-object':
            return detail(406, 'Could not satisfy the request Accept header.')
        request.mode = 'list'
        children = self.archive.children(split(path)[0])
        shown = self.describe(node, 'container')
        if node.name != 'Home' and self.flavour != 'indigo':
            shown['objectName'] += '/'
        shown['childrenrange'] = '0-%d' % max(0, len(children) - 1)
        shown['children'] = children
        return self.cdmi_reply(self.select(request, shown, CONTAINER_KEYS, True), 'application/cdmi-container')

    def get_reference(self, node, cdmi):
        if not cdmi:
            return Reply(302, b'', 'text/html', [('Location', node.url)])
        shown = self.describe(node, 'dataobject')
        shown['reference'] = node.url
        headers = [('Location', node.url)] if self.flavour in ('cdmi11', 'cdmi20') else []
        return Reply(302, json.dumps(shown).encode(), 'application/cdmi-object', headers)

    def get_object(self, request, node):
        shown = self.describe(node, 'dataobject')
        shown['mimetype'] = node.mimetype or (
            'text/x-python' if node.name.endswith('.py') else 'application/octet-stream'
        )
        if self.flavour == 'indigo':
            shown['valuetransferencoding'] = 'utf-8'
        elif self.flavour == 'radon':
            shown['valueTransferEncoding'] = 'utf-8'
            shown['valueRange'] = '0-%d' % max(0, len(node.content) - 1)
        else:
            self.inline(shown, node)
        self.cold_worker = False
        return self.cdmi_reply(self.select(request, shown, OBJECT_KEYS, False), 'application/cdmi-object')

    @staticmethod
    def inline(shown, node):
        shown['valuerange'] = '0-%d' % max(0, len(node.content) - 1)
        shown['metadata']['cdmi_size'] = str(len(node.content))
        shown['metadata']['cdmi_mtime'] = node.modified
        try:
            shown['value'], shown['valuetransferencoding'] = node.content.decode(), 'utf-8'
        except UnicodeDecodeError:
            shown['value'], shown['valuetransferencoding'] = base64.b64encode(node.content).decode(), 'base64'
        if node.metadata.get('encoding') == 'base64':
            shown['value'], shown['valuetransferencoding'] = base64.b64encode(node.content).decode(), 'base64'

    def get_content(self, node):
        if node.emptied:
            return Reply(500, b'<h1>Server Error (500)</h1>')
        content = node.content
        if self.flavour == 'indigo' and content == b'':
            content = b'None'
        parts = [content[i : i + (1 << 20)] for i in range(0, len(content), 1 << 20)]
        kind = node.mimetype or ('text/x-python' if node.name.endswith('.py') else 'application/octet-stream')
        return Reply(200, parts if self.flavour in ('indigo', 'radon') else content, kind)

    def describe(self, node, kind):
        path = split(node.container + '/' + node.name)[0] if node.container else '/'
        parent = self.archive.nodes.get(node.container)
        base = 'http://127.0.0.1/api/cdmi'
        metadata = dict(node.metadata)
        metadata['cdmi_acl'] = (
            [
                {
                    'acetype': 'ALLOW',
                    'identifier': 'AUTHENTICATED@',
                    'aceflags': 'CONTAINER_INHERIT, OBJECT_INHERIT',
                    'acemask': 'READ_METADATA, LIST_CONTAINER',
                }
            ]
            if kind == 'container'
            else []
        )
        return {
            'objectType': 'application/cdmi-' + ('container' if kind == 'container' else 'object'),
            'objectID': node.uuid,
            'objectName': node.name,
            'parentURI': (node.container.rstrip('/') + '/') if node.container else '/',
            'parentID': parent.uuid if parent else '',
            'domainURI': base + '/cdmi_domains/indigo/',
            'capabilitiesURI': '%s/cdmi_capabilities/%s%s' % (base, kind, path),
            'completionStatus': 'Complete',
            'percentComplete': '100',
            'metadata': metadata,
        }

    def select(self, request, shown, known, container):
        """?a, ?a;b, ?a&b, ?children=0-9; what is not known is refused."""
        if not request.query:
            return shown
        chosen = {}
        for field in re.split('[;&]', request.query):
            key, equals, value = unquote(field).partition('=')
            if key == 'metadata' and equals and self.flavour == 'indigo':
                raise detail(406, 'metadata') if container else Reply(500, b'<h1>Server Error (500)</h1>')
            if key not in known or (equals and key != 'children'):
                raise detail(406, 'Unknown field')
            chosen[key] = shown[key]
            if equals:
                bounds = re.fullmatch(r'(\d+)-(\d+)', value)
                if not bounds:
                    raise detail(406, 'Malformed range')
                chosen[key] = shown[key][int(bounds.group(1)) : int(bounds.group(2)) + 1]
        return chosen

    def cdmi_reply(self, shown, kind):
        headers = [] if self.flavour == 'cdmi20' else [('X-CDMI-Specification-Version', '1.1')]
        return Reply(200, json.dumps(shown).encode(), kind, headers)

    # -------------------------------------------------------------------------------------- writing
    def put(self, request, path, slash, cdmi):
        kind = request.headers.get('content-type', '').split(';')[0]
        target = self.archive.nodes.get(split(path)[0])
        container = (
            slash or kind == 'application/cdmi-container' or (target is not None and target.kind == 'collection')
        )
        if not cdmi:
            if kind.startswith('application/cdmi-'):
                return 400
            if container:
                return 406 if target else self.archive.cdmi_put_container(path, {})
            if split(path)[1] not in self.archive.nodes:
                return 404
            return self.archive.http_put(path, request.body, kind or 'application/octet-stream')
        try:
            body = json.loads(request.body or b'{}')
        except ValueError:
            return 400
        if container:
            return self.archive.cdmi_put_container(path, body)
        status = self.archive.cdmi_put(path, body)
        return 406 if self.cold_worker and 'value' in body else status


# ------------------------------------------------------------------------------------------ helpers


def self_signed(folder, name='127.0.0.1'):
    """(certificate, key) for NAME."""
    files = os.path.join(folder, 'cert.pem'), os.path.join(folder, 'key.pem')
    kind = 'IP' if re.fullmatch(r'[0-9.]+', name) else 'DNS'
    subprocess.run(
        [
            'openssl',
            'req',
            '-x509',
            '-newkey',
            'rsa:2048',
            '-nodes',
            '-days',
            '2',
            '-subj',
            '/CN=' + name,
            '-addext',
            'subjectAltName=%s:%s' % (kind, name),
            '-out',
            files[0],
            '-keyout',
            files[1],
        ],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    return files


def main():
    parser = argparse.ArgumentParser(description='An archive for tests and demonstrations: CDMI over HTTP, and events.')
    parser.add_argument('--host', default='127.0.0.1')
    parser.add_argument('--port', type=int, default=8000)
    parser.add_argument('--broker', type=int, help='port of the MQTT broker on this host; none: no events')
    parser.add_argument('--flavour', choices=('indigo', 'radon', 'cdmi11', 'cdmi20'), default='indigo')
    parser.add_argument('--user', default='listener')
    parser.add_argument('--password', default='s3cret')
    parser.add_argument('--mqtt', choices=('3.1', '3.1.1'), default='3.1')
    parser.add_argument('--fill', type=int, default=0, help='so many scripts')
    parser.add_argument(
        '--scripts', help='folder whose files (with metadata in NAME.meta) stand in /scripts at the start'
    )
    parser.add_argument(
        '--make', action='append', default=[], metavar='COLLECTION', help='a collection that is there at the start'
    )
    parser.add_argument('--fault', action='append', default=[], metavar='PATTERN=ACTION', help='see Server.fault()')
    parser.add_argument('--tls', metavar='FOLDER', help='serve TLS with a self-signed certificate made there')
    options = parser.parse_args()
    archive = Archive(options.broker, options.flavour, 3 if options.mqtt == '3.1' else 4)
    archive.fill(options.fill)
    for path in options.make:
        archive.make(path)
    if options.scripts:
        load_folder(archive, options.scripts)
    server = Server(
        archive,
        options.port,
        options.user,
        options.password,
        self_signed(options.tls, options.host) if options.tls else None,
        host=options.host,
    )
    server.keep = False
    for fault in options.fault:
        pattern, _, action = fault.rpartition('=')
        server.fault(pattern, int(action) if action.isdigit() else action)
    server.start()
    print(server.url, flush=True)
    threading.Event().wait()


def load_folder(archive, folder):
    for name in sorted(os.listdir(folder)):
        meta = os.path.join(folder, name + '.meta')
        if os.path.isfile(meta):
            pairs = (
                line.partition('=') for line in open(meta) if '=' in line and not line.lstrip().startswith(('#', ';'))
            )
            metadata = {key.strip(): value.strip() for key, _, value in pairs}
            with open(os.path.join(folder, name), 'rb') as f:
                archive.make('/scripts/' + name, f.read(), metadata)


if __name__ == '__main__':
    main()
