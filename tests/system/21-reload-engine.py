"""A reload of docker-sandbox holds nobody up: with an engine that answers, and with one that
hangs."""
import contextlib
import os
import socket
import subprocess
import threading
import time

import harness
from harness import check, equal


@contextlib.contextmanager
def silent_engine(folder):
    """A socket that takes connections and never says a word: what an engine that is stopped looks
    like."""
    path = os.path.join(folder, 'silent.sock')
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen(64)
    try:
        yield path
    finally:
        server.close()


class Pinger(threading.Thread):
    """Asks for the status again and again; `longest` is the longest that an answer took, in
    seconds."""

    def __init__(self, daemon):
        super().__init__(daemon=True)
        self.listener, self.longest, self.answers, self.over = daemon, 0, 0, False

    def run(self):
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as s:
            s.connect(self.listener.socket)
            file = s.makefile('rwb')
            while not self.over:
                start = time.monotonic()
                file.write(b'{"command": "status"}\n')
                file.flush()
                file.readline()
                self.longest = max(self.longest, time.monotonic() - start)
                self.answers += 1


def reload_while_asked(daemon):
    pinger = Pinger(daemon)
    pinger.start()
    start = time.monotonic()
    done = daemon.ctl_run('reload')
    took = time.monotonic() - start
    time.sleep(0.2)  # the old instance ends after the answer
    pinger.over = True
    pinger.join(30)
    equal(done.returncode, 0, 'status of listenerctl reload (it says %r)' % done.stderr)
    check(pinger.answers > 10, 'only %d answers while the daemon was reloaded' % pinger.answers)
    return took, pinger.longest


def test_a_reload_with_a_hung_engine_holds_nobody_up(t):
    broker = t.broker()
    daemon = t.listener(broker, docker={}, ini={'dispatcher': {'default_executor': 'json-lines'}}).start()
    daemon.script('a.py', 'pass\n', topic='create/#')
    with silent_engine(daemon.folder) as path:
        daemon.change({'executor docker-sandbox': {'socket': path}})
        took, longest = reload_while_asked(daemon)
        check(took > 1, 'the engine was not asked at all')
        check(longest < 1, 'status took %.1f s meanwhile' % longest)
        daemon.change({'executor docker-sandbox': {'pool_min': '2'}})
        longest = reload_while_asked(daemon)[1]
        check(longest < 1, 'status took %.1f s while the old instance ended' % longest)
        stall = daemon.status()['loop']
        check(stall['stall_usec_max'] < 500000, 'a turn took %r' % stall)
    daemon.change({'executor docker-sandbox': {'socket': harness.DOCKER_SOCKET}})
    daemon.reload()
    harness.wait(lambda: details(daemon)['state'] == 'up', 'the executor to be up again', 60)


def details(daemon):
    return [row for row in daemon.ctl('executors') if row['name'] == 'docker-sandbox'][0]['details']


def containers(daemon):
    return harness.docker('ps', '-aq', '--filter', 'label=%s=%s' % (harness.LABEL, daemon.identity)).split()


def test_what_a_reload_replaces_is_removed(t):
    broker = t.broker()
    daemon = t.listener(broker, docker={'pool_min': '2'}).start()
    daemon.script('a.py', 'pass\n', topic='create/#')
    broker.publish('create/resource/a', b'{}')
    daemon.wait_jobs(1)
    harness.wait(lambda: len(containers(daemon)) >= 2, 'spare sandboxes', 60)
    before = set(containers(daemon))
    daemon.change({'executor docker-sandbox': {'pool_min': '1'}})
    longest = reload_while_asked(daemon)[1]
    check(longest < 1, 'status took %.1f s' % longest)
    harness.wait(lambda: not before & set(containers(daemon)), 'the old sandboxes to be removed', 60)
    broker.publish('create/resource/b', b'{}')
    daemon.wait_jobs(2)


if __name__ == '__main__':
    harness.main()
