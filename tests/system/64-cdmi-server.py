"""The test archive itself: its habits are Indigo's, else the other tests prove nothing."""
import base64
import http.client
import json

import cdmi
from harness import check, equal, main

VERSION = {'X-CDMI-Specification-Version': '1.1'}
OBJECT = dict(VERSION, **{'Accept': 'application/cdmi-object', 'Content-Type': 'application/cdmi-object'})
CONTAINER = dict(VERSION, **{'Accept': 'application/cdmi-container', 'Content-Type': 'application/cdmi-container'})
PLAIN = {'Accept': '*/*', 'Content-Type': 'text/x-python'}


class Client:
    def __init__(self, t, **options):
        self.archive = cdmi.cdmi_server.Archive(**options)
        self.server = cdmi.cdmi_server.Server(self.archive).start()
        t.stack.callback(self.server.stop)

    def __call__(self, method, path, headers, body=None, login=b'listener:s3cret'):
        connection = http.client.HTTPConnection('127.0.0.1', self.server.port, timeout=10)
        connection.putrequest(method, '/api/cdmi' + path, skip_accept_encoding=True)
        headers = dict(headers, **({'Authorization': 'Basic ' + base64.b64encode(login).decode()} if login else {}))
        body = json.dumps(body).encode() if isinstance(body, dict) else body
        if body is not None:
            headers['Content-Length'] = str(len(body))
        for item in headers.items():
            connection.putheader(*item)
        connection.endheaders(body)
        self.reply = connection.getresponse()
        self.body = self.reply.read()
        connection.close()
        return self.reply.status

    def events(self):
        events, self.archive.events = self.archive.events, []
        return events


def test_reading(t):
    c = Client(t)
    c.archive.make('/scripts/a.py', b'pass\n', {'topic': 'create/#'})
    c.archive.make('/scripts/sub')
    c.archive.make('/scripts/empty', b'')
    c.archive.make('/scripts/ref', b'', kind='reference', url='http://x.example.org/')
    equal(c('GET', '/scripts/a.py', OBJECT), 200)
    shown = json.loads(c.body.decode())
    check('value' not in shown and 'cdmi_size' not in shown['metadata'], 'never the value')
    equal(
        (shown['valuetransferencoding'], shown['metadata']['topic'], len(shown['objectID'])), ('utf-8', 'create/#', 48)
    )
    equal(c('GET', '/scripts/a.py?value', OBJECT), 406)
    equal(c('GET', '/scripts/a.py?metadata', OBJECT), 200)
    equal(list(json.loads(c.body.decode())), ['metadata'])
    equal(
        (c('GET', '/scripts/a.py?metadata=topic', OBJECT), c('GET', '/scripts/?metadata=topic', CONTAINER)), (500, 406)
    )
    # Accept is missing
    equal((c('GET', '/scripts/a.py', VERSION), c('GET', '/scripts/', VERSION)), (406, 406))
    equal(c('GET', '/scripts/a.py', dict(OBJECT, **{'X-CDMI-Specification-Version': '2.0.0'})), 400)
    equal(c('GET', '/scripts/a.py', PLAIN), 200)
    equal(
        (c.body, c.reply.getheader('Content-Length'), c.reply.getheader('Transfer-Encoding')),
        (b'pass\n', None, 'chunked'),
    )
    equal(
        (
            c('GET', '/scripts/a.py', {'Accept': 'text/plain'}),
            c('GET', '/scripts/a.py', dict(PLAIN, Range='bytes=0-1')),
        ),
        (406, 500),
    )
    equal((c('GET', '/scripts/empty', PLAIN), c.body), (200, b'None'))
    equal((c('GET', '/scripts/a.py/', OBJECT), c('GET', '/scripts/none', OBJECT), c.body), (404, 404, b''))
    equal((c('GET', '/scripts/ref', OBJECT), c.reply.getheader('Location')), (302, None))
    equal(json.loads(c.body.decode())['reference'], 'http://x.example.org/')
    equal((c('GET', '/scripts/ref', PLAIN), c.reply.getheader('Location'), c.body), (302, 'http://x.example.org/', b''))
    equal(
        (c('GET', '/scripts', CONTAINER), c('GET', '/scripts/', OBJECT), c('GET', '/scripts/', PLAIN)), (200, 406, 406)
    )
    equal(c('GET', '/scripts/', CONTAINER), 200)
    shown = json.loads(c.body.decode())
    equal(
        (shown['children'], shown['childrenrange'], shown['objectName']),
        (['sub/', 'a.py', 'empty', 'ref'], '0-3', 'scripts'),
    )
    equal(
        (c('GET', '/scripts/?children=1-99', CONTAINER), json.loads(c.body.decode())),
        (200, {'children': ['a.py', 'empty', 'ref']}),
    )
    equal((c('GET', '/scripts/?children=x', CONTAINER), c('GET', '/scripts/?children:0-9', CONTAINER)), (406, 406))
    equal((c('GET', '', CONTAINER), c.reply.getheader('Location')), (301, '/api/cdmi/'))
    equal(
        (c('GET', '/scripts/', CONTAINER, login=None), c.reply.getheader('WWW-Authenticate')),
        (401, 'Basic realm="Indigo"'),
    )
    check(b'not provided' in c.body, c.body)
    equal(
        (c('GET', '/scripts/', CONTAINER, login=b'listener:x'), json.loads(c.body.decode())['detail']),
        (401, 'Invalid username/password.'),
    )


def test_writing(t):
    c = Client(t)
    equal(c('PUT', '/scripts/c++.py', PLAIN, b'pass\n'), 201)
    ((topic, event),) = c.events()
    equal(
        (topic, event['pre'], event['post']['name'], event['post']['metadata']),
        ('create/resource/scripts/c.py', {}, 'c++.py', {}),
    )
    url = event['post']['url']
    equal(c('PUT', '/scripts/c++.py', OBJECT, {'metadata': {'topic': 'create/#', 'empty': ''}}), 201)
    ((topic, event),) = c.events()
    equal(
        (topic, event['post']['metadata'], event['post']['url']),
        ('update/resource/scripts/c.py', {'topic': 'create/#'}, url),
    )
    equal(c('PUT', '/scripts/c++.py', PLAIN, b'pass # 2\n'), 204)
    ((topic, event),) = c.events()
    equal((event['post']['metadata'], event['post']['url'] != event['pre']['url']), ({'topic': 'create/#'}, True))
    equal(c('PUT', '/scripts/c++.py', OBJECT, {'value': 'pass # 3\n'}), 201)
    equal([event['post']['metadata'] for _, event in c.events()], [{}, {}])
    equal(
        c(
            'PUT',
            '/scripts/new.py',
            OBJECT,
            {'value': 'cGFzcw==', 'valuetransferencoding': 'base64', 'metadata': {'topic': 'a'}},
        ),
        201,
    )
    created, updated = c.events()
    equal(
        (created[0].split('/')[0], created[1]['post']['metadata'], updated[1]['post']['metadata']['topic']),
        ('create', {}, 'a'),
    )
    equal(c('PUT', '/scripts/x.py', OBJECT, {'value': 'é'}), 500)
    equal(c('PUT', '/scripts/new.py', OBJECT, {'metadata': {'topic': {'a': 1}}}), 500)
    equal(len(c.events()), 1, 'published all the same')
    equal(c('PUT', '/scripts/y.py', {'Content-Type': 'application/cdmi-object'}, b'{}'), 400)
    equal(c('PUT', '/none/y.py', OBJECT, {}), 404)
    equal(
        (
            c('PUT', '/scripts/sub/', CONTAINER, {}),
            c('PUT', '/scripts/sub/', CONTAINER, {}),
            c('PUT', '/scripts/sub/', PLAIN, b''),
        ),
        (201, 204, 406),
    )
    c.events()
    equal((c('DELETE', '/scripts/new.py', OBJECT), c('DELETE', '/scripts/new.py', OBJECT)), (204, 404))
    ((topic, event),) = c.events()
    equal((topic, event['post'], event['pre']['name']), ('delete/resource/scripts/new.py', {}, 'new.py'))
    c.archive.create_user('u')
    c.archive.modify_user('u', email='x')
    c.archive.delete_user('u')
    create, update, delete = [topic.split('/')[2] for topic, _ in c.events()]
    equal((len(create), update, delete), (36, 'u', create))


main()
