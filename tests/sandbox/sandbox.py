"""sandbox.py - the executor's side of a sandbox, for tests: a real container with the real options,
and the socket its init connects to."""
import array
import fcntl
import functools
import hashlib
import json
import os
import select
import shutil
import socket
import struct
import subprocess
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
LIBEXEC = os.environ.get('SANDBOX_LIBEXEC', os.path.join(ROOT, 'build/libexec'))
RUNTIME = os.environ.get('SANDBOX_RUNTIME', '')  # the engine's own unless given
IMAGE = os.environ.get('SANDBOX_IMAGE', 'listener-sandbox:latest')
MAGIC = 0x4C534231
HELLO, READY, RESULT, OUTPUT, RUN, FORGET, CANCEL = 1, 2, 3, 4, 64, 65, 66
IDLE, RUNNING, FINISHED = 0, 1, 2
CAPTURE, EXEC, PIPE = 1, 2, 4
OUTCOMES = [
    'success',
    'failure',
    'signal',
    'timeout',
    'memory',
    'cpu',
    'output',
    'processes',
    'cancelled',
    'error',
    'lost',
    'not_started',
]
HEAD = '=IHHII'
ENV = [
    b'PATH=/usr/local/bin:/usr/bin:/bin',
    b'LANG=C.UTF-8',
    b'LISTENER_EVENT=7',
    b'LISTENER_JOB=9',
    b'LISTENER_ATTEMPT=1',
]


@functools.lru_cache()
def engine_nice():
    """The niceness that the engine gives to containers: its own."""
    program = 'import os; print(os.nice(0))'
    options = ['--rm', '--label', 'sbtest=1', '--network', 'none', '--entrypoint', 'python3']
    return int(docker('run', *options, IMAGE, '-c', program).stdout)


def docker(*args, **kw):
    return subprocess.run(
        ['docker'] + list(args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, **kw
    )


def memfd(data, seal=True):
    fd = os.memfd_create('test', os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
    if seal:
        fcntl.fcntl(fd, 1033, 1 | 2 | 4 | 8)
    ro = os.open('/proc/self/fd/%d' % fd, os.O_RDONLY | os.O_CLOEXEC)
    os.close(fd)
    return ro


class Result(object):
    BODY = '=QIiiIII7Q128s'  # of version 1

    def __init__(self, data, fds, pieces=(b'', b'')):
        (
            self.job,
            outcome,
            self.exit_status,
            self.signal,
            self.out_truncated,
            self.err_truncated,
            self.clean,
            self.started,
            self.duration,
            self.user,
            self.system,
            self.max_rss,
            self.out_size,
            self.err_size,
            message,
        ) = struct.unpack_from(self.BODY, data, 16)
        self.outcome = OUTCOMES[outcome]
        self.message = message.split(b'\0')[0].decode()
        self.out, self.err = pieces
        if fds:
            self.out = os.pread(fds[0], self.out_size, 0)
            self.err = os.pread(fds[1], self.err_size, 0)
        for fd in fds:
            os.close(fd)

    def __repr__(self):
        return '%s status=%d signal=%d clean=%d %.1f ms %r out=%r err=%r' % (
            self.outcome,
            self.exit_status,
            self.signal,
            self.clean,
            self.duration / 1000,
            self.message,
            self.out[-300:],
            self.err[-1500:],
        )


class Sandbox(object):
    count = 0

    def __init__(
        self, options=(), docker_options=(), memory='128m', pids=64, ports='80,443', image=IMAGE, seccomp=True
    ):
        Sandbox.count += 1
        self.name = 'sbtest-%d-%d' % (os.getpid(), Sandbox.count)
        self.dir = tempfile.mkdtemp(prefix='sbtest-')
        os.chmod(self.dir, 0o750)
        self.job = 0
        self.listen()
        # DAC_OVERRIDE is gone inside: what init reaches, it reaches as root's group, as in
        # production.
        args = [
            'run',
            '-d',
            '--rm',
            '--name',
            self.name,
            '--label',
            'sbtest=1',
            '--user',
            '0:%d' % os.getgid(),
            '--cap-drop',
            'ALL',
            '--cap-add',
            'SETUID',
            '--cap-add',
            'SETGID',
            '--cap-add',
            'KILL',
            '--cap-add',
            'SETPCAP',
            '--security-opt',
            'no-new-privileges',
            '--read-only',
            '--ipc',
            'none',
            '--network',
            'none',
            '--log-driver',
            'json-file',
            '--ulimit',
            'msgqueue=0:0',
            '--ulimit',
            'core=1:1',
            '--pids-limit',
            str(pids),
            '--memory',
            memory,
            '--memory-swap',
            memory,
            '--oom-score-adj',
            '500',
            '-v',
            LIBEXEC + ':/listener:ro',
            '-v',
            self.dir + ':/listener-control:ro',
            '--entrypoint',
            '/listener/sandbox-init',
        ]
        if seccomp:
            args += ['--security-opt', 'seccomp=' + os.path.join(LIBEXEC, 'seccomp.json')]
        if RUNTIME:
            args[args.index('--pids-limit') + 1] = '1024'  # its own threads count as well
            args += ['--runtime', RUNTIME]
            options = ['--protocol=3'] + list(options)
        args += list(docker_options) + [image, '--ports', ports] + list(options)
        r = docker(*args)
        if r.returncode:
            self.close()
            raise RuntimeError(r.stderr)
        self.accept()

    def listen(self):
        path = os.path.join(self.dir, 'socket')
        if os.path.exists(path):
            os.unlink(path)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(path)
        os.chmod(path, 0o660)
        self.listener.listen(4)

    def accept(self, timeout=10):
        self.listener.settimeout(timeout)
        try:
            self.conn, _ = self.listener.accept()
        except socket.timeout:
            raise RuntimeError('init did not connect: ' + self.logs())
        kind, data, _ = self.recv(timeout)
        assert kind == HELLO, kind
        self.state, self.walls, self.abi, self.warm, self.hello_job, self.jobs_done = struct.unpack(
            '=IIIIQQ', data[16:]
        )
        self.hello_version = struct.unpack(HEAD, data[:16])[2]

    def recv(self, timeout=15):
        if not select.select([self.conn], [], [], timeout)[0]:
            raise RuntimeError('silence; logs: ' + self.logs())
        data, anc, flags, _ = self.conn.recvmsg(200000, 1024)
        if not data:
            raise EOFError('closed; logs: ' + self.logs())
        fds = array.array('i')
        for _, _, part in anc:
            fds.frombytes(part)
        magic, kind, version, size, _ = struct.unpack(HEAD, data[:16])
        assert magic == MAGIC and size == len(data), (magic, size, len(data))
        return kind, data, list(fds)

    def wait_ready(self):
        kind, _, _ = self.recv()
        assert kind == READY, kind
        return self

    def frame(self, kind, body):
        return struct.pack(HEAD, MAGIC, kind, 1, 16 + len(body), 0) + body

    def send_run(
        self,
        script,
        payload=b'{}',
        name=b'on_create.py',
        topic=b'create/resource/a',
        timeout=10.0,
        grace=0.5,
        cpu=0,
        limit=65536,
        capture=True,
        exec_=False,
        nofile=256,
        env=ENV,
        seal=True,
        pipe=True,
    ):
        self.job += 1
        script = script.encode() if isinstance(script, str) else script
        fds = [memfd(script, seal), memfd(payload, seal)]
        body = struct.pack(
            '=7Q6I64s',
            self.job,
            int(timeout * 1e6),
            int(grace * 1e6),
            int(cpu * 1e6),
            limit,
            len(payload),
            len(script),
            (CAPTURE if capture else 0) | (EXEC if exec_ else 0) | (PIPE if pipe else 0),
            nofile,
            len(name),
            len(topic),
            len(env),
            0,
            hashlib.sha256(script).hexdigest().encode(),
        )
        body += name + b'\0' + topic + b'\0' + b''.join(e + b'\0' for e in env)
        self.sent = time.perf_counter()
        self.conn.sendmsg([self.frame(RUN, body)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', fds))])
        for fd in fds:
            os.close(fd)
        return self.job

    def result(self, timeout=30):
        pieces = [b'', b'']
        kind, data, fds = self.recv(timeout)
        while kind in (READY, OUTPUT):
            if kind == OUTPUT:
                pieces[struct.unpack_from('=QI', data, 16)[1]] += data[32:]
            kind, data, fds = self.recv(timeout)
        assert kind == RESULT, kind
        return Result(data, fds, pieces)

    def forget(self, job=None):
        self.conn.send(self.frame(FORGET, struct.pack('=Q', job or self.job)))

    def cancel(self, job=None):
        self.conn.send(self.frame(CANCEL, struct.pack('=Q', job or self.job)))

    def run(self, script, **kw):
        self.send_run(script, **kw)
        r = self.result()
        assert r.job == self.job, (r.job, self.job)
        self.forget()
        return r

    def json(self, script, **kw):
        """Run a script that prints JSON."""
        r = self.run(script, **kw)
        assert r.outcome == 'success', r
        return json.loads(r.out.decode())

    def logs(self):
        r = docker('logs', self.name)
        return r.stdout + r.stderr

    def alive(self):
        return docker('inspect', '-f', '{{.State.Running}}', self.name).stdout.strip() == 'true'

    def processes(self):
        """(uid, command) of every process of the container, from outside."""
        r = docker('top', self.name, '-eo', 'uid,pid,stat,args')
        return [line.split(None, 3) for line in r.stdout.splitlines()[1:]]

    def close(self):
        docker('rm', '-f', self.name)
        for s in (getattr(self, 'conn', None), self.listener):
            if s:
                s.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


def wait_until(what, seconds=10):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return True
        time.sleep(0.02)
    return False
