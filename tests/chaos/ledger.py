"""ledger.py - the witness: an HTTP server that appends what scripts report to a file, on disk
before it answers. Knows nothing of the listener.

    ledger.py ADDRESS PORT FILE"""
import http.server
import os
import sys


class Handler(http.server.BaseHTTPRequestHandler):
    timeout = 30

    def do_POST(self):
        body = self.rfile.read(min(int(self.headers.get('Content-Length', 0)), 65536))
        os.write(self.server.file, body.replace(b'\n', b' ') + b'\n')
        os.fsync(self.server.file)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *words):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request, client_address):
        pass  # a script that was killed in the middle


def main():
    address, port, name = sys.argv[1:]
    server = Server((address, int(port)), Handler)
    server.file = os.open(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
    print('ready', flush=True)
    server.serve_forever()


if __name__ == '__main__':
    main()
