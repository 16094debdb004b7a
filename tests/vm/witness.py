"""witness.py - counts, outside of the virtual machine, what scripts tell it: it survives whatever
happens to the machine.

Sandboxes reach it as http://ADDRESS/ on port 80. QEMU starts this file as a program for each connection, which joins it
to the witness's own port on the loopback interface."""
import collections
import http.server
import socket
import sys
import threading

ADDRESS = '10.0.2.100'


class Witness:
    def __init__(self):
        self.told = collections.Counter()
        witness = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                witness.told[self.rfile.read(int(self.headers['Content-Length'])).decode()] += 1
                self.send_response(200)
                self.send_header('Content-Length', '0')
                self.end_headers()

            def log_message(self, *words):
                pass

        self.server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def qemu_option(self):
        return ',guestfwd=tcp:%s:80-cmd:%s %s %d' % (ADDRESS, sys.executable, __file__, self.port)

    def count(self, what, names):
        return {name: self.told['%s %s' % (what, name)] for name in names}


def relay(port):
    """Standard input to the witness, its answers to standard output; one connection."""
    with socket.create_connection(('127.0.0.1', port)) as s:

        def up():
            while True:
                data = sys.stdin.buffer.raw.read(65536)
                if not data:
                    break
                s.sendall(data)
            s.shutdown(socket.SHUT_WR)

        threading.Thread(target=up, daemon=True).start()
        while True:
            data = s.recv(65536)
            if not data:
                return
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()


if __name__ == '__main__':
    relay(int(sys.argv[1]))
