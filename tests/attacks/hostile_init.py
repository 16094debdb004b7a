#!/usr/bin/python3
# hostile_init.py - in the place of sandbox-init: a sandbox that has been taken over entirely, root
# in its container, and does to the daemon what the file `mode` beside it says. Python's standard
# library, as it stands in for a program of the listener's that scripts cannot touch.
import array
import os
import socket
import struct
import time

MAGIC, VERSION = 0x4C534231, 1
HELLO, READY, RESULT, RUN = 1, 2, 3, 64
MODE = open('/listener/mode').read().strip()


def frame(kind, body=b'', size=None, magic=MAGIC, version=VERSION):
    return struct.pack('=IHHII', magic, kind, version, 16 + len(body) if size is None else size, 0) + body


def hello(state=0, job=0, walls=0x3F):
    return frame(HELLO, struct.pack('=IIIIQQ', state, walls, 7, 1, job, 0))


def result(job, outcome=0, status=0, signal=0, sizes=(0, 0), clean=1, figure=5, message=b'', started=1):
    return frame(
        RESULT,
        struct.pack(
            '=QIiiIII5QQQ128s',
            job,
            outcome,
            status,
            signal,
            0,
            0,
            clean,
            started,
            figure,
            figure,
            figure,
            figure,
            sizes[0],
            sizes[1],
            message,
        ),
    )


def memfd(data=b'', seal=True):
    import fcntl

    fd = os.memfd_create('x', os.MFD_ALLOW_SEALING)
    os.write(fd, data)
    if seal:
        fcntl.fcntl(fd, 1033, 0xF)
    return fd


def send(s, data, fds=()):
    s.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', fds))] if fds else [])


def connect():
    while True:
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            s.connect('/listener-control/socket')
            return s
        except OSError:
            s.close()
            time.sleep(0.05)


def serve(s, answer):
    """Behave until a job comes, then ANSWER(job)."""
    send(s, hello())
    send(s, frame(READY))
    while True:
        data = s.recv(1 << 18)
        if not data:
            return
        if struct.unpack_from('=IHH', data)[1] == RUN:
            answer(struct.unpack_from('=Q', data, 16)[0])


def flood(s, what):
    while True:
        send(s, what)


def main():
    s = connect()
    pipe = os.pipe()
    zero = os.open('/dev/zero', os.O_RDONLY)
    good, small, open_memfd = memfd(b'hello\n'), memfd(b'x'), memfd(b'hello\n', False)
    at_once = {
        'short': lambda: send(s, b'abc'),
        'empty': lambda: send(s, b''),
        'long': lambda: send(s, b'x' * 100000),
        'magic': lambda: send(s, frame(READY, magic=1)),
        'size': lambda: send(s, frame(READY, size=1 << 30)),
        'version': lambda: send(s, frame(READY, version=9)),
        'type': lambda: send(s, frame(77)),
        'result first': lambda: send(s, result(1)),
        'running': lambda: send(s, hello(1, 5)),
        'finished': lambda: send(s, hello(2, 5)),
        'no state': lambda: send(s, hello(9)),
        'no walls': lambda: send(s, hello(walls=0)),
        'descriptors': lambda: send(s, hello(), [zero] * 4),
        'many': lambda: send(s, hello(), [zero] * 200),
        'hello flood': lambda: flood(s, hello()),
        'ready flood': lambda: (send(s, hello()), flood(s, frame(READY))),
        'silent': lambda: time.sleep(600),
        'connections': lambda: [connect().close() for _ in range(1000)],
        'crowd': lambda: [connect() for _ in range(1000)],
    }
    with_job = {
        'another job': lambda job: send(s, result(job + 1), [good, good]),
        'no job': lambda job: send(s, result(0), [good, good]),
        'outcome': lambda job: send(s, result(job, outcome=99), [good, good]),
        'lost': lambda job: send(s, result(job, outcome=10), [good, good]),
        'contradiction': lambda job: send(s, result(job, outcome=0, status=1), [good, good]),
        'no output': lambda job: send(s, result(job)),
        'one descriptor': lambda job: send(s, result(job), [good]),
        'promise': lambda job: send(s, result(job, sizes=(1 << 63, 5)), [small, small]),
        'unsealed': lambda job: send(s, result(job, sizes=(6, 6)), [open_memfd, open_memfd]),
        'pipe': lambda job: send(s, result(job), [pipe[0], pipe[0]]),
        'device': lambda job: send(s, result(job, sizes=(100, 100)), [zero, zero]),
        'message': lambda job: send(s, result(job, message=b'x' * 128), [good, good]),
        'figures': lambda job: send(
            s,
            result(job, figure=(1 << 64) - 1, started=(1 << 64) - 1, sizes=(6, 6), message=b'\x1b[31m\nred\xff'),
            [good, good],
        ),
        'twice': lambda job: [send(s, result(job, sizes=(6, 6)), [good, good]) for _ in range(2)],
        'result flood': lambda job: [send(s, result(job, sizes=(6, 6)), [good, good]) for _ in range(100000)],
        'hello in between': lambda job: send(s, hello(0)),
        'vanish': lambda job: os._exit(0),
        'never': lambda job: None,
    }
    try:
        if MODE in at_once:
            at_once[MODE]()
            s.recv(1)
            time.sleep(600)
        else:
            serve(s, with_job[MODE])
    except OSError:
        pass


while True:
    main()
    time.sleep(0.02)
