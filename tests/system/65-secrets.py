"""What the manual advises in place of secrets for scripts: a proxy that adds the password."""
import http.client
import http.server
import os
import subprocess
import threading

import brokers
import debian
import harness
from harness import check, equal, main


class Archive(http.server.BaseHTTPRequestHandler):
    """Takes everything, and notes what came with which password."""

    def do_GET(self):
        self.server.seen.append((self.command, self.path, self.headers.get('Authorization')))
        self.rfile.read(int(self.headers.get('Content-Length') or 0))
        self.send_response(204)
        self.end_headers()

    do_PUT = do_POST = do_DELETE = do_GET

    def log_message(self, *_):
        pass


def example(page, begin, changes):
    """The block of PAGE that begins with the line BEGIN, with CHANGES of words."""
    with open(os.path.join(harness.ROOT, 'docs', page)) as f:
        text = f.read()
    start = text.index('\n    %s\n' % begin) + 1
    block = text[start : text.index('\n\n', start)]
    for old, new in changes.items():
        check(old in block, 'no %r in %s' % (old, block))
        block = block.replace(old, new)
    return block


def nginx(t, server, port):
    """Debian's, with the block SERVER of the manual."""
    debian.install('nginx-light')
    folder = os.path.join(t.folder, 'nginx')
    os.makedirs(folder)
    for path in (t.folder, folder):
        os.chmod(path, 0o777)
    conf = os.path.join(folder, 'nginx.conf')
    with open(conf, 'w') as f:
        f.write('daemon off; pid %s/pid; error_log stderr; events { }\nhttp { access_log off;\n' % folder)
        for name in ('client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'):
            f.write('%s_temp_path %s/%s;\n' % (name, folder, name))
        f.write(server + '\n}\n')
    t.process(*debian.command('nginx', '-c', conf, '-p', folder), stderr=subprocess.DEVNULL)
    harness.wait(lambda: brokers.can_connect(port), 'nginx', 30)


def test_a_proxy_adds_the_password_as_the_manual_says(t):
    """docs/security.md, "Secrets for scripts": only these methods, only below this path."""
    archive = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Archive)
    archive.seen = []
    threading.Thread(target=archive.serve_forever, daemon=True).start()
    t.stack.callback(archive.shutdown)
    port = harness.free_port()
    changes = {'listen 80': 'listen 127.0.0.1:%d' % port, '10.0.0.0/24': '127.0.0.1'}
    changes['https://archive.example.org'] = 'http://127.0.0.1:%d' % archive.server_address[1]
    nginx(t, example('security.md', 'server {', changes), port)

    def ask(method, path):
        connection = http.client.HTTPConnection('127.0.0.1', port, timeout=30)
        connection.request(method, path, body=b'{}' if method in ('PUT', 'POST') else None)
        status = connection.getresponse().status
        connection.close()
        return status

    inside, outside = '/api/cdmi/projects/a', '/api/cdmi/other/a'
    answers = {(m, p): ask(m, p) for m in ('GET', 'PUT', 'POST', 'DELETE') for p in (inside, outside)}
    equal({request for request in answers if answers[request] == 204}, {('GET', inside), ('PUT', inside)})
    password = 'Basic c2NyaXB0czpzM2NyZXQ='
    equal(archive.seen, [('GET', inside, password), ('PUT', inside, password)], 'what reached the archive')


main()
