#!/usr/bin/env python3
"""The other end of test_http.c: a real HTTP server that also misbehaves on request.

Usage: http_server.py FOLDER

Writes FOLDER/socket (unix), FOLDER/cert.pem; prints "PORT TLS_PORT" when it is ready.
It ends when its standard input does, so that it cannot outlive the test.
"""
import http.server
import json
import os
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
import time
from urllib.parse import parse_qs, urlsplit

connections = 0


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self):
        global connections
        connections += 1
        self.disable_nagle_algorithm = self.request.family != socket.AF_UNIX
        super().setup()

    def address_string(self):
        return "test"

    def log_message(self, *args):
        pass

    def head(self, status, length=None, **headers):
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def any(self):
        url = urlsplit(self.path)
        query = {k: v[0] for k, v in parse_qs(url.query).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        getattr(self, "do_" + url.path.strip("/").replace("/", "_"))(query, body)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = any

    def do_echo(self, query, body):
        text = json.dumps(
            {
                "method": self.command,
                "path": self.path,
                "headers": {k.lower(): v for k, v in self.headers.items()},
                "body": body.decode("latin-1"),
                "connections": connections,
            }
        ).encode()
        self.head(int(query.get("status", 200)), len(text), Content_Type="application/json")
        if self.command != "HEAD":
            self.wfile.write(text)

    def do_big(self, query, body):
        size = int(query["size"])
        if "unsized" in query:
            self.head(200, Transfer_Encoding="chunked")
            while size > 0:
                n = min(size, 10000)
                self.wfile.write(b"%x\r\n%s\r\n" % (n, b"x" * n))
                size -= n
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.head(200, size)
            self.wfile.write(b"x" * size)

    def do_empty(self, query, body):
        self.send_response(204)
        self.end_headers()

    def do_cut(self, query, body):
        self.head(200, 100)
        self.wfile.write(b"only this")
        self.close_connection = True

    def do_chunkcut(self, query, body):
        self.head(200, Transfer_Encoding="chunked")
        self.wfile.write(b"5\r\nhello\r\n5\r\nwo")
        self.close_connection = True

    def do_chunkbad(self, query, body):
        self.head(200, Transfer_Encoding="chunked")
        self.wfile.write(b"5\r\nhello\r\nzz\r\n")
        self.close_connection = True

    def do_nothing(self, query, body):
        self.close_connection = True

    def do_garbage(self, query, body):
        self.wfile.write(b"this is not HTTP at all\r\n\r\n")
        self.close_connection = True

    def do_headers(self, query, body):
        self.send_response(200)
        for i in range(int(query["count"])):
            self.send_header("X-%d" % i, "y" * 1000)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_slow(self, query, body):
        time.sleep(float(query["sec"]))
        self.head(200, 4)
        self.wfile.write(b"slow")

    def do_trickle(self, query, body):
        self.head(200, 1000)
        try:
            for _ in range(1000):
                self.wfile.write(b".")
                time.sleep(0.02)
        except OSError:
            self.close_connection = True

    def do_redirect(self, query, body):
        self.head(int(query.get("code", 307)), 5, Location=query["to"])
        if self.command != "HEAD":
            self.wfile.write(b"moved")

    def do_loop(self, query, body):
        self.head(301, 0, Location="/loop")

    def do_dropold(self, query, body):
        """Answer, keep the connection open for the client's pool, then drop it."""
        self.head(200, 2)
        self.wfile.write(b"ok")
        self.wfile.flush()
        self.close_connection = True


class UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def get_request(self):
        request, _ = super().get_request()
        return request, ("unix", 0)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # clients that hang up are part of the test


def main():
    folder = sys.argv[1]
    cert, key = os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-keyout",
            key,
            "-out",
            cert,
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
        ],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    plain = Server(("127.0.0.1", 0), Handler)
    tls = Server(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    tls.socket = context.wrap_socket(tls.socket, server_side=True)
    unix = UnixServer(os.path.join(folder, "socket"), Handler)
    for server in plain, tls, unix:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    print(plain.server_port, tls.server_port, flush=True)
    sys.stdin.read()


main()
