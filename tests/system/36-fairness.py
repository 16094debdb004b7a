"""Nobody who may only look can keep events waiting."""
import contextlib
import socket
import threading

import harness
from harness import check


def test_flood_of_questions(t):
    broker = t.broker()
    daemon = t.listener(broker).start()
    daemon.script('a.py', 'pass\n', topic='create/#')
    over = threading.Event()

    def ask_for_ever():
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as s, contextlib.suppress(OSError):
            s.settimeout(1)
            s.connect(daemon.socket)
            threading.Thread(target=drain, args=(s,), daemon=True).start()
            while not over.is_set():
                with contextlib.suppress(TimeoutError):
                    s.sendall(b'{"command": "ping"}\n' * 500)

    def drain(s):
        with contextlib.suppress(OSError):
            while not over.is_set():
                with contextlib.suppress(TimeoutError):
                    if not s.recv(1 << 20):
                        return

    threads = [threading.Thread(target=ask_for_ever) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        broker.publish_all([('create/resource/%d' % i, b'{}') for i in range(50)])
        harness.wait(lambda: open(daemon.lines, 'rb').read().count(b'\n') == 50, '50 jobs to run', 15)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    check(len(daemon.wait_jobs(50)) == 50, 'jobs')


if __name__ == '__main__':
    harness.main()
