#!/usr/bin/env python3
"""test_sandbox.py - sandbox-init and its fork server in real containers, against their contract
(sandbox/protocol.h).

    tests/sandbox/test_sandbox.py [-v] [part of a test's name ...]

Needs a Docker engine (DOCKER_HOST), the image SANDBOX_IMAGE and the built SANDBOX_LIBEXEC
(build/libexec)."""
import os
import struct
import sys
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from sandbox import CAPTURE, ENV, FINISHED, IDLE, RUNNING, RUNTIME  # noqa: E402
from sandbox import Sandbox, docker, engine_nice, memfd, wait_until  # noqa: E402

REPORT = r'''
import sys, os, json, signal, resource, random
status = dict(l.split(':', 1) for l in open('/proc/self/status').read().splitlines())
plain = set(sys.modules)
data = sys.stdin.buffer.read()
json.dump({
 'argv': sys.argv, 'stdin': len(data), 'sum': __import__('zlib').crc32(data), 'env': dict(os.environ), 'cwd': os.getcwd(),
 'uid': os.getresuid(), 'gid': os.getresgid(), 'groups': os.getgroups(), 'status': {k: v.strip() for k, v in status.items()},
 'umask': os.umask(0), 'sid': os.getsid(0) == os.getpid(), 'nice': os.nice(0), 'file': __file__, 'name': __name__, 'path0': sys.path[0],
 'flags': repr(sys.flags), 'fds': sorted(int(f) for f in os.listdir('/proc/self/fd') if os.path.exists('/proc/self/fd/' + f)),
 'nofile': resource.getrlimit(resource.RLIMIT_NOFILE), 'core': resource.getrlimit(resource.RLIMIT_CORE),
 'mq': resource.getrlimit(resource.RLIMIT_MSGQUEUE), 'modules': sorted(plain), 'main': sorted(k for k in globals() if k.startswith('__')),
 'stdin_enc': [sys.stdin.encoding, sys.stdin.errors, sys.stdin.line_buffering, sys.stdin.name, sys.stdin.mode],
 'stdout_enc': [sys.stdout.encoding, sys.stdout.errors, sys.stdout.line_buffering, sys.stdout.name, sys.stdout.mode],
 'stderr_enc': [sys.stderr.encoding, sys.stderr.errors, sys.stderr.line_buffering, sys.stderr.name, sys.stderr.mode],
 'sigint': str(signal.getsignal(signal.SIGINT)), 'sigterm': str(signal.getsignal(signal.SIGTERM)), 'random': random.random(),
 'executable': sys.executable, 'path': sys.path, 'orig_argv': getattr(sys, 'orig_argv', None), 'environ': open('/proc/self/environ').read(),
}, sys.stdout)
'''
ATTACK_FS = r'''
import os, json
got = []
for top, dirs, files in os.walk('/'):
    if top.startswith('/proc/') and not top.startswith('/proc/self'):
        dirs[:] = []
        continue
    if top.startswith('/sys/kernel') or top.startswith('/proc/self/task') or top.count('/') > 5:
        dirs[:] = []
    try:
        os.close(os.open(os.path.join(top, '.probe'), os.O_CREAT | os.O_WRONLY, 0o600)); got.append('create ' + top)
    except OSError: pass
    try:
        os.mkdir(os.path.join(top, '.probed')); got.append('mkdir ' + top)
    except OSError: pass
    if top.startswith('/usr'): files = files[:3]
    for f in files:
        p = os.path.join(top, f)
        if os.path.islink(p): continue
        try:
            # null, zero, full; null also masks files of /proc
            if os.stat(p).st_rdev in (os.makedev(1, 3), os.makedev(1, 5), os.makedev(1, 7)): continue
        except OSError: continue
        for what, act in (('write', lambda: os.close(os.open(p, os.O_WRONLY | os.O_NONBLOCK))), ('chmod', lambda: os.chmod(p, 0o777)),
                          ('truncate', lambda: os.truncate(p, 0)), ('unlink', lambda: os.unlink(p)), ('rename', lambda: os.rename(p, p + 'x'))):
            try:
                act(); got.append(what + ' ' + p)
            except OSError: pass
for p in ('/listener/forkserver.py', '/listener-control/socket', '/proc/1/environ', '/proc/1/mem', '/proc/1/fd/3', '/root'):
    try:
        os.open(p, os.O_RDONLY); got.append('open ' + p)
    except OSError: pass
print(json.dumps(got))
'''
ATTACK_KERNEL = r'''
import ctypes, json, os, socket
libc = ctypes.CDLL(None, use_errno=True)
got = []
def call(name, nr, *args):
    r = libc.syscall(nr, *args)
    if r >= 0: got.append(name)
call('ptrace', 101, 16, 1, 0, 0); call('unshare user', 272, 0x10000000); call('keyctl', 250, 0, -3, 1); call('add_key', 248, b'user', b'a', b'b', 1, -2)
call('bpf', 321, 0, 0, 0); call('perf', 298, 0, 0, -1, -1, 0); call('io_uring', 425, 8, 0); call('userfaultfd', 323, 0); call('mq_open', 240, b'x', 0o102, 0o600, 0)
call('shmget', 29, 0, 4096, 0o1600); call('semget', 64, 0, 1, 0o1600); call('msgget', 68, 0, 0o1600); call('mount', 165, b'a', b'/tmp', b'tmpfs', 0, 0)
call('clone3', 435, 0, 0); call('setuid0', 105, 0); call('setresuid', 117, 0, 0, 0); call('personality', 135, 8); call('pidfd_getfd', 438, 0, 0, 0)
call('process_vm_readv', 310, 1, 0, 0, 0, 0, 0); call('setpriority init', 141, 0, 1, 5); call('setpriority user', 141, 2, 65534, 5)
call('kill init', 62, 1, 9); call('open_tree', 428, -100, b'/', 1); call('fsopen', 430, b'tmpfs', 0); call('name_to_handle_at', 303, 0, 0, 0, 0, 0)
for pid in os.listdir('/proc'):
    if pid.isdigit() and int(pid) != os.getpid():
        try: os.kill(int(pid), 0); got.append('signal ' + pid)
        except OSError: pass
for family, kind, proto in ((16, 3, 0), (17, 3, 0), (2, 3, 1), (10, 3, 58), (40, 1, 0), (38, 5, 0), (2, 1, 262), (2, 1, 132), (2, 2, 1), (2, 2, 136), (2, 5, 132), (43, 1, 0), (30, 1, 0), (29, 3, 1)):
    try: socket.socket(family, kind, proto); got.append('socket %d %d %d' % (family, kind, proto))
    except OSError: pass
def connect(port):
    s = socket.socket(); s.settimeout(1)
    try: s.connect(('127.0.0.1', port)); return 'connected'
    except PermissionError: return 'denied'
    except OSError as e: return type(e).__name__
ports = {p: connect(p) for p in (80, 443, 22, 8080, 53)}
try: socket.socket().bind(('127.0.0.1', 0)); got.append('bind')
except OSError: pass
s = socket.socket()
try: s.sendto(b'x', 0x20000000, ('127.0.0.1', 8080)); got.append('fast open')
except PermissionError: pass
except OSError as e:
    if e.errno not in (95, 13): got.append('fast open %s' % e)
print(json.dumps([got, ports]))
'''


def same(a, b, what=''):
    if a != b:
        raise AssertionError('%s: %r is not %r' % (what, a, b))


def outcome(r, wanted, **more):
    same(r.outcome, wanted, r)
    same(r.clean, 1, r)
    for key, value in more.items():
        same(getattr(r, key), value, r)
    return r


# ------------------------------------------------------------------------------------- the contract


def check_report(r, payload):
    argv = (
        ['on_create.py', 'create/resource/\u00e4', payload.decode()]
        if len(payload) < 131072 and b'\0' not in payload
        else None
    )
    same(r['argv'], argv or ['on_create.py', 'create/resource/\u00e4'])
    same(r['stdin'], len(payload))
    same(r['env'], dict(e.decode().split('=', 1) for e in ENV))
    same(r['cwd'], '/scripts')
    same([r['uid'], r['gid'], r['groups']], [[65534] * 3, [65534] * 3, []])
    for cap in ('CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'):
        same(r['status'].get(cap, '0' * 16), '0' * 16, cap)  # gVisor's kernel has no ambient set
    same([r['status'].get('NoNewPrivs', '1'), r['status']['Seccomp']], ['1', '2'])
    same([r['umask'], r['sid'], r['nice'], r['name'], r['path0']], [0o22, True, engine_nice(), '__main__', '/scripts'])
    same([r['nofile'], r['core'], r['mq']], [[256, 256], [1, 1], [0, 0]])
    same(r['fds'], [0, 1, 2])
    if not RUNTIME:  # it does not say where the environment is
        same({name.split('=')[0] for name in r['environ'].split('\0') if name} - set(r['env']), set(), 'environ')


def test_contract__fork_server():
    with Sandbox() as s:
        s.wait_ready()
        walls = 0x38 if RUNTIME else 0x3F  # gVisor's kernel has no Landlock
        same([s.hello_version, s.state, s.walls & 0x3B, s.warm], [3 if RUNTIME else 1, IDLE, walls & 0x3B, 1])
        for payload in (b'{"a": 1}', b'', b'a\0b', b'x' * 131071, b'x' * 131072):
            check_report(
                s.json(REPORT, payload=payload, topic='create/resource/\u00e4'.encode(), limit=1 << 20), payload
            )


def test_contract__new_interpreter():
    with Sandbox() as s:
        s.wait_ready()
        for payload in (b'{"a": 1}', b'', b'a\0b', b'x' * 131071, b'x' * 131072):
            check_report(
                s.json(REPORT, payload=payload, topic='create/resource/\u00e4'.encode(), exec_=True, limit=1 << 20),
                payload,
            )


def test_contract__same_as_plain_python():
    """Fork server, new interpreter and `python3 on_create.py` itself, on the same image."""
    plain = docker(
        'run',
        '--rm',
        '-i',
        '--label',
        'sbtest=1',
        '--network',
        'none',
        '--user',
        '65534:65534',
        '-w',
        '/scripts',
        '--entrypoint',
        '/usr/bin/env',
        Sandbox.__init__.__defaults__[5],
        '-i',
        *[e.decode() for e in ENV],
        'sh',
        '-c',
        'cat > /tmp/on_create.py; cd /tmp; cat /dev/null | python3 on_create.py a {} | cat',
        input=REPORT
    )
    import json

    plain = json.loads(plain.stdout)
    with Sandbox() as s:
        s.wait_ready()
        for exec_ in (False, True):
            r = s.json(REPORT, topic=b'a', exec_=exec_)
            for key in (
                'argv',
                'flags',
                'name',
                'main',
                'sigint',
                'sigterm',
                'stdin_enc',
                'stdout_enc',
                'stderr_enc',
                'executable',
                'orig_argv',
                'modules',
                'nice',
            ):
                a, b = r[key], plain[key]
                if key == 'modules':
                    a, b = sorted(set(a) - set(b)), sorted(set(b) - set(a))
                same(a, b, '%s exec=%s' % (key, exec_))
            same(r['file'], plain['file'].replace('/tmp', '/scripts'))
            same(r['path'][1:], plain['path'][1:])


def test_contract__payload_exact():
    payload = bytes(range(256)) * 4096
    with Sandbox() as s:
        s.wait_ready()
        for exec_ in (False, True):
            r = s.run(
                'import sys\nsys.stdout.buffer.write(sys.stdin.buffer.read())',
                payload=payload,
                limit=1 << 21,
                exec_=exec_,
            )
            same(r.out == payload, True, 'payload')
            r = s.run(
                'import sys,os\nprint(os.lseek(0, 0, 1))\ntry:\n os.write(os.open("/proc/self/fd/0", os.O_RDWR), b"x")\nexcept OSError as e: print(e.errno)',
                payload=b'abc',
                exec_=exec_,
                pipe=False,
            )
            same(r.out, b'0\n1\n', r)


INPUT_SIZES = (0, 1, 65535, 65536, 65537, 8 << 20)
INPUT_DIGEST = 'import hashlib, sys\nprint(hashlib.md5(sys.stdin.buffer.read()).hexdigest())'
INPUT_KIND = r'''
import os, stat, sys
print('pipe' if stat.S_ISFIFO(os.fstat(0).st_mode) else 'file', sys.stdin.seekable(), sys.stdin.buffer.raw.seekable())
with open('/dev/stdin', 'rb') as again: print(again.read(3))
sys.stdout.flush()
os.system('cat; for fd in /proc/self/fd/*; do printf "%s " ${fd##*/}; done')
'''
INPUT_ASYNCIO = r'''
import asyncio, selectors, sys
chosen = selectors.DefaultSelector()
chosen.register(0, selectors.EVENT_READ)
assert chosen.select(10)
async def read_all():
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return await reader.read()
print(len(asyncio.run(read_all())))
'''
INPUT_CLOSED = 'import os, time\nos.read(0, 10)\nos.close(0)\ntime.sleep(.2)'
INPUT_LATE = 'import sys, time\ntime.sleep(.3)\nprint(len(sys.stdin.buffer.read()))'
INPUT_CHILD = 'import subprocess, sys\nsys.exit(len(subprocess.check_output(["cat"])) != 1 << 20)'
INPUT_LINES = 'import sys\nprint(sum(1 for line in sys.stdin))'


def each_input(s):
    """Fork server and new interpreter, pipe and file."""
    for exec_ in (False, True):
        for pipe in (True, False):
            yield dict(exec_=exec_, pipe=pipe)


def test_input__byte_exact():
    import hashlib

    with Sandbox() as s:
        s.wait_ready()
        for size in INPUT_SIZES:
            payload = (bytes(range(251)) * (size // 251 + 1))[:size]
            for kw in each_input(s):
                r = outcome(s.run(INPUT_DIGEST, payload=payload, **kw), 'success')
                same(r.out.decode(), hashlib.md5(payload).hexdigest() + '\n', (size, kw))
                r = outcome(s.run(b'#!/bin/sh\nmd5sum', payload=payload, **kw), 'success')
                same(r.out.decode().split()[0], hashlib.md5(payload).hexdigest(), (size, kw))


def test_input__is_what_was_asked_for():
    with Sandbox() as s:
        s.wait_ready()
        for kw in each_input(s):
            r = outcome(s.run(INPUT_KIND, payload=b'abcdef', **kw), 'success')
            wanted = b'pipe False False' if kw['pipe'] else b'file True True'
            rest = b'' if kw['pipe'] else b'abcdef'
            same(r.out, b"%s\nb'abc'\n%s0 1 2 3 " % (wanted, rest), (kw, r))


def test_input__asyncio_and_selectors():
    with Sandbox() as s:
        s.wait_ready()
        for exec_ in (False, True):
            for size in (0, 3, 1 << 20):
                same(outcome(s.run(INPUT_ASYNCIO, payload=b'x' * size, exec_=exec_), 'success').out, b'%d\n' % size)


def test_input__not_read_or_closed_or_late():
    """Whatever the script does with it, it ends as it would, and the next one is served."""
    with Sandbox() as s:
        s.wait_ready()
        big = b'x\n' * (512 << 10)
        for kw in each_input(s):
            outcome(s.run('pass', payload=big, **kw), 'success')
            outcome(s.run(INPUT_CLOSED, payload=big, **kw), 'success')
            same(outcome(s.run(INPUT_LATE, payload=big, **kw), 'success').out, b'1048576\n', kw)
            outcome(s.run(INPUT_CHILD, payload=big, **kw), 'success')
            same(outcome(s.run(INPUT_LINES, payload=big, **kw), 'success').out, b'524288\n', kw)
            outcome(s.run('import time\ntime.sleep(60)', payload=big, timeout=0.3, **kw), 'timeout')
            outcome(s.run('import os\nos.kill(os.getpid(), 9)', payload=big, **kw), 'signal', signal=9)
            outcome(s.run('1 +', payload=big, **kw), 'failure')
            outcome(s.run(b'#!/no/such\n', payload=big, **kw), 'error')
        for _ in range(40):  # no descriptor of init's is lost
            outcome(s.run('pass', payload=big), 'success')
        if RUNTIME:  # that process is the runtime's own
            return
        pid = docker('inspect', '-f', '{{.State.Pid}}', s.name).stdout.strip()
        same(len(os.listdir('/proc/%s/fd' % pid)) < 20, True, os.listdir('/proc/%s/fd' % pid))


def test_input__a_pipe_has_no_other_reader():
    """A script that reads while init has more to give, cancelled in the middle."""
    with Sandbox() as s:
        s.wait_ready()
        s.send_run('import os, time\nos.read(0, 100000)\ntime.sleep(60)', payload=bytes(8 << 20), grace=0.1)
        time.sleep(0.3)
        s.cancel()
        outcome(s.result(), 'cancelled')
        s.forget()
        same(outcome(s.run('import sys\nprint(sys.stdin.read())', payload=b'{}'), 'success').out, b'{}\n')


def test_contract__exit_status_and_tracebacks():
    cases = [
        ('pass', 0, b'', b''),
        ('import sys; sys.exit(7)', 7, b'', b''),
        ('import sys; sys.exit("gone")', 1, b'', b'gone\n'),
        ('import sys; sys.exit(None)', 0, b'', b''),
        ('import sys; sys.exit(256 + 3)', 3, b'', b''),
        ('raise SystemExit', 0, b'', b''),
        ('import os; os._exit(9)', 9, b'', b''),
        ('import atexit; atexit.register(print, "bye"); print("hi")', 0, b'hi\nbye\n', b''),
        (
            'import threading, time\nthreading.Thread(target=lambda: (time.sleep(.1), print("late"))).start()',
            0,
            b'late\n',
            b'',
        ),
        ('class A:\n def __del__(self): print("del")\na = A()', 0, b'del\n', b''),
        ('class A:\n def __del__(self): print("del")\na = A(); a.me = a', 0, b'del\n', b''),
        (
            'import sys; sys.excepthook = lambda *a: print("hook", a[0].__name__); 1/0',
            1,
            b'hook ZeroDivisionError\n',
            b'',
        ),
        ('# -*- coding: latin-1 -*-\nprint(ascii("\xe9"))'.encode('latin-1'), 0, b"'\\xe9'\n", b''),
        (
            'print(__import__("linecache").getline(__file__, 1, globals()))',
            0,
            b'print(__import__("linecache").getline(__file__, 1, globals()))\n\n',
            b'',
        ),
    ]
    with Sandbox() as s:
        s.wait_ready()
        for exec_ in (False, True):
            for script, status, out, err in cases:
                r = outcome(s.run(script, exec_=exec_), 'success' if status == 0 else 'failure', exit_status=status)
                same([r.out, r.err], [out, err], script)
            for _ in range(2):
                r = outcome(s.run('def f():\n    return 1 / 0\nf()', exec_=exec_), 'failure', exit_status=1)
                same(
                    r.err.startswith(
                        b'Traceback (most recent call last):\n  File "/scripts/on_create.py", line 3, in <module>\n    f()\n'
                    ),
                    True,
                    r,
                )
                same(r.err.endswith(b'ZeroDivisionError: division by zero\n') and b'forkserver' not in r.err, True, r)
            r = outcome(s.run('def f(:\n', exec_=exec_), 'failure', exit_status=1)
            same(
                r.err.startswith(b'  File "/scripts/on_create.py", line 1\n    def f(:\n')
                and r.err.endswith(b'SyntaxError: invalid syntax\n'),
                True,
                r,
            )
            outcome(s.run('raise KeyboardInterrupt', exec_=exec_), 'signal', signal=2)
            outcome(s.run('import os, signal; os.kill(os.getpid(), signal.SIGSEGV)', exec_=exec_), 'signal', signal=11)
            outcome(s.run('1/0', exec_=exec_, capture=False), 'failure', exit_status=1)


def test_contract__libraries_work():
    script = '''
import ctypes, socket, json, subprocess, threading, multiprocessing, asyncio, resource, struct, gc, marshal, ssl, urllib.request, random, hashlib
assert subprocess.run(['sh', '-c', 'echo hi'], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout == b'hi\\n'
assert sorted(l.split(b'=')[0] for l in subprocess.run(['env'], stdout=subprocess.PIPE).stdout.split()) == sorted(__import__('os').environb)
assert 'LD_BIND_NOW' not in __import__('os').environ
c = multiprocessing.get_context('fork').Process(target=print, args=('child',)); c.start(); c.join(); assert c.exitcode == 0
async def f():
    p = await asyncio.create_subprocess_exec('true'); return await p.wait()
assert asyncio.run(f()) == 0
assert socket.getaddrinfo('localhost', 80, type=socket.SOCK_STREAM)
assert socket.getaddrinfo('127.0.0.1', 80)
a, b = socket.socketpair(); a.send(b'x'); assert b.recv(1) == b'x'
assert ctypes.CDLL(None).getpid() == __import__('os').getpid()
t = [threading.Thread(target=lambda: None) for _ in range(8)]; [x.start() for x in t]; [x.join() for x in t]
print('fine')
'''
    with Sandbox() as s:
        s.wait_ready()
        for exec_ in (False, True):
            r = outcome(s.run(script, exec_=exec_), 'success')
            same(r.out[-5:], b'fine\n', r)


def test_contract__other_interpreters():
    with Sandbox() as s:
        s.wait_ready()
        r = outcome(
            s.run('#!/bin/sh -e\necho "$1 $2"; cat; pwd; id -u; ls -l /proc/self/fd | wc -l; exit 4', payload=b'in'),
            'failure',
            exit_status=4,
        )
        same(r.out[:38], b'create/resource/a in\nin/scripts\n65534\n', r)
        r = outcome(
            s.run(
                '#!/usr/bin/perl\nprint "$ARGV[0]\\n"; open F, "/proc/self/status"; print grep /Cap|NoNew|Seccomp:/, <F>'
            ),
            'success',
        )
        same(r.out.count(b'0000000000000000'), 4 if RUNTIME else 5, r)
        r = outcome(s.run('#!/usr/bin/env python3\nimport sys; print(sys.argv[0])'), 'success')
        same(r.out, b'on_create.py\n', r)
        r = outcome(s.run('#!/no/such/thing\n'), 'error')
        same('/no/such/thing' in r.message, True, r)


def test_contract__fresh_between_runs():
    dirty = '''
import os, sys, signal, resource, builtins, json, gc
os.environ['LEFT'] = 'x'; os.umask(0); os.nice(5); signal.signal(signal.SIGUSR1, signal.SIG_IGN); signal.alarm(5); builtins.left = 1
json.left = 1; sys.path.append('/left'); os.chdir('/'); sys.setrecursionlimit(77 + 500); gc.disable()
os.sched_setaffinity(0, {0}); resource.setrlimit(resource.RLIMIT_NOFILE, (50, 50)); os.setpgid(0, 0) if os.getpgid(0) != os.getpid() else None
'''
    look = '''
import os, sys, signal, resource, builtins, json, gc, random
print(os.environ.get('LEFT'), oct(os.umask(0)), os.nice(0), signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL, hasattr(builtins, 'left'),
      hasattr(json, 'left'), '/left' in sys.path, os.getcwd(), sys.getrecursionlimit(), gc.isenabled(), len(os.sched_getaffinity(0)) == os.cpu_count(),
      resource.getrlimit(resource.RLIMIT_NOFILE))
print(random.random(), file=sys.stderr)
'''
    with Sandbox(options=['--preload', 'json,random']) as s:
        s.wait_ready()
        before = outcome(s.run(look), 'success')
        outcome(s.run(dirty), 'success')
        after = outcome(s.run(look), 'success')
        same(after.out, before.out)
        same(before.out, b'None 0o22 %d True False False False /scripts 1000 True True (256, 256)\n' % engine_nice())
        same(after.err != before.err, True, 'random state is fresh')


# ------------------------------------------------------------------------------------------- limits


def test_limits__timeout():
    with Sandbox() as s:
        s.wait_ready()
        for exec_ in (False, True):
            r = outcome(s.run('import time; time.sleep(60)', timeout=0.5, grace=20, exec_=exec_), 'timeout')
            same(0.5 <= r.duration / 1e6 < 20, True, r)  # by SIGTERM: no grace was needed
            r = outcome(
                s.run(
                    'import signal, time\nsignal.signal(15, signal.SIG_IGN)\nprint("on", flush=True)\nwhile 1: time.sleep(9)',
                    timeout=3,
                    grace=0.3,
                    exec_=exec_,
                ),
                'timeout',
            )
            # three seconds to begin to ignore it, on a busy machine
            same(3.3 <= r.duration / 1e6 and r.out == b'on\n', True, r)
            outcome(
                s.run('import os, signal; os.kill(os.getpid(), signal.SIGSTOP)', timeout=0.2, grace=0.1, exec_=exec_),
                'timeout',
            )
        outcome(s.run('pass'), 'success')


def test_limits__memory():
    with Sandbox(memory='64m') as s:
        s.wait_ready()
        for exec_ in (False, True):
            outcome(s.run('x = []\nwhile 1: x.append(bytearray(1 << 20))', exec_=exec_), 'memory')
        outcome(s.run('pass'), 'success')


def test_limits__memory_of_many():
    """The kernel chooses among many equals: never the fork server or init."""
    with Sandbox(memory='64m', pids=100) as s:
        s.wait_ready()
        script = 'import os, time\nfor i in range(60):\n    if os.fork() == 0:\n        x = bytearray(4 << 20); time.sleep(60)\ntime.sleep(60)'
        for _ in range(3):
            same(s.run(script, timeout=1, grace=0.1).outcome in ('memory', 'timeout'), True)
        same([' serve ' in p[3] for p in s.processes()].count(True) >= 1, True, s.processes())
        same('fork server ended' in s.logs(), False)
        outcome(s.run('pass'), 'success')


def test_limits__cpu():
    with Sandbox() as s:
        s.wait_ready()
        outcome(s.run('while 1: pass', cpu=1), 'cpu')
        outcome(s.run('import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile 1: pass', cpu=1), 'cpu')


PYTHON_LINES = [
    '#!/usr/bin/env python2',
    '#!C:\\Python34\\python.exe',
    '#!"C:\\Program Files\\Python\\Python.EXE" -u',
    '#!C:\\Program Files\\python3.exe',
    '#!/usr/local/bin/pypy3',
    '#!/usr/bin/env python3 -u',
    '#!/usr/bin/env -S python3 -u -X dev',
    '#!/usr/bin/env -Spython3',
    '#!/usr/bin/env -i A=b -u HOME python3',
    '#!/usr/bin/env --split-string=python3 -O',
    '#! /usr/bin/python2.7\t-E ',
    '#!python',
    '#!/usr/bin/env pypy',
    '#!/opt/python/bin/python3.99',
    '#!',
    '#!/usr/bin/env python3\r',
    '\ufeff#!/usr/bin/env python3',
]


def test_other_languages__python_by_any_name():
    """A Python script is never refused for its first line."""
    with Sandbox() as s:
        s.wait_ready()
        for line in PYTHON_LINES:
            r = outcome(s.run((line + '\nimport sys; print(sys.version_info[0], len(sys.argv))\n').encode()), 'success')
            same(r.out, b'3 3\n', line)


def test_other_languages__what_is_there_is_used():
    with Sandbox() as s:
        s.wait_ready()
        for line in '#!/bin/sh', '#!/usr/bin/env sh', '#!/usr/bin/env -S sh -e', '#!/bin/sh\r':
            same(outcome(s.run((line + '\necho "$0"\n').encode()), 'success').out, b'/proc/self/fd/3\n', line)
        r = outcome(s.run(b'#!/opt/rakudo/bin/raku\nsay 1\n'), 'error')
        same('/opt/rakudo/bin/raku, which its first line names: No such file' in r.message, True, r.message)


def test_limits__output():
    """The copy is cut and says so; the script is not to notice."""
    with Sandbox() as s:
        s.wait_ready()
        for exec_ in (False, True):
            r = outcome(
                s.run(
                    'import sys\nfor _ in range(500): sys.stdout.write("x" * 4096)\nsys.exit(3)',
                    limit=10000,
                    exec_=exec_,
                ),
                'failure',
                exit_status=3,
                out_truncated=1,
                out_size=10000,
            )
            same(r.out, b'x' * 10000)
        outcome(
            s.run('import sys\nsys.stderr.write("x" * 10001)', limit=10000), 'success', err_truncated=1, err_size=10000
        )
        outcome(
            s.run('import sys\nsys.stderr.write("x" * 10000)', limit=10000), 'success', err_truncated=0, err_size=10000
        )
        outcome(
            s.run('import sys\nwhile 1: sys.stdout.write("x" * 4096)', limit=10000, timeout=0.5),
            'timeout',
            out_truncated=1,
            out_size=10000,
        )
        r = outcome(
            s.run('import fcntl, os, sys\nfcntl.fcntl(1, 1031, 1 << 20)\nos.write(1, b"y" * 900000)', limit=1000000),
            'success',
            out_size=900000,
        )
        outcome(s.run('import sys\nfor _ in range(1 << 12): sys.stdout.write("x" * 4096)', capture=False), 'success')


def test_output__opened_by_name():
    """With output = capture and without."""
    script = (
        'import os\nfor fd, name in (1, "stdout"), (2, "stderr"), (1, "fd/1"):\n    with open("/dev/" + name, "w") as f: f.write(name + "\\n")\n'
        'assert os.system("echo sh >/dev/stdout") == 0'
    )
    with Sandbox() as s:
        s.wait_ready()
        for exec_ in (False, True):
            outcome(s.run(script, capture=False, exec_=exec_), 'success')
            r = outcome(s.run(script, exec_=exec_), 'success')
            same((r.out, r.err), (b'stdout\nfd/1\nsh\n', b'stderr\n'))


BUFFERED = [  # what is in a file's buffer when the script ends, wherever the file is held
    'import sys\nprint("x", file=sys.__stdout__)\nsys.stdout = open("/dev/null", "w")',
    'import sys, colorsys\ncolorsys.f = open(1, "w", closefd=False)\ncolorsys.f.write("x\\n")',
    'import sys\nsys.f = open(1, "wb", closefd=False)\nsys.f.write(b"x\\n")',
    'class A: pass\na = A(); a.a = a; a.f = open(1, "w", closefd=False); a.f.write("x\\n")',
    'import builtins\nclass A:\n    def __init__(self): self.me = self; self.f = open(1, "w", closefd=False); self.f.write("x\\n")\nbuiltins.a = A()',
    'import subprocess, colorsys\ncolorsys.p = p = subprocess.Popen(["cat"], stdin=subprocess.PIPE)\np.stdin.write(b"x\\n")\n'
    'import threading, time\nthreading.Thread(target=time.sleep, args=(.3,)).start()\ndel p',
]


def test_output__buffered_at_the_end():
    with Sandbox() as s:
        s.wait_ready()
        for script in BUFFERED:
            for exec_ in (False, True):
                same(outcome(s.run(script, exec_=exec_), 'success').out, b'x\n', script)


def test_limits__processes():
    with Sandbox(pids=40, memory='512m') as s:
        s.wait_ready()
        outcome(s.run('import os, time\nfor i in range(100):\n    if os.fork() == 0: time.sleep(60)'), 'processes')
        outcome(
            s.run(
                'import threading, time\nfor i in range(100): threading.Thread(target=time.sleep, args=(60,), daemon=True).start()'
            ),
            'processes',
        )
        outcome(s.run('pass'), 'success')
        same(len(s.processes()) <= 3, True, s.processes())


def test_limits__cancel():
    with Sandbox() as s:
        s.wait_ready()
        for exec_ in (False, True):
            job = s.send_run('import time; time.sleep(60)', exec_=exec_)
            time.sleep(0.2)
            s.cancel(job + 1)
            s.cancel()
            outcome(s.result(), 'cancelled', job=job)
            s.forget()


# ----------------------------------------------------------------------------- nothing is left over

LEFTOVERS = {
    'daemon': 'import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        time.sleep(99)\n    os._exit(0)',
    'ignores signals': 'import os, signal, time\nif os.fork() == 0:\n    [signal.signal(n, signal.SIG_IGN) for n in range(1, 32) if n not in (9, 17, 19)]\n    time.sleep(99)',
    'stopped': 'import os, signal\nif os.fork() == 0: os.kill(os.getpid(), signal.SIGSTOP)',
    'forking on': 'import os\nif os.fork() == 0:\n    while 1:\n        if os.fork() != 0: os._exit(0)',
    'not dumpable': 'import os, ctypes, time\nif os.fork() == 0:\n    ctypes.CDLL(None).prctl(4, 0, 0, 0, 0); time.sleep(99)',
    'subreaper': 'import os, ctypes, time\nctypes.CDLL(None).prctl(36, 1, 0, 0, 0)\nfor i in range(5):\n    if os.fork() == 0: time.sleep(99)',
    'exec': 'import subprocess\nsubprocess.Popen(["setsid", "sleep", "99"])',
    'thread leader gone': 'import ctypes, os, threading, time\nif os.fork() == 0:\n    threading.Thread(target=time.sleep, args=(99,)).start()\n    ctypes.CDLL(None).syscall(60, 0)',
    'vfork': 'import os, ctypes\nif os.fork() == 0:\n    os.system("sleep 99 & sleep 99")',
    'writes into the socket pair': 'import os\nfor fd in range(3, 64):\n    try: os.write(fd, b"x" * 40)\n    except OSError: pass',
    'pipe in flight': 'import socket, array, os\na, b = socket.socketpair()\nfor s in (a, b): s.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [1, 2, a.fileno(), b.fileno()]))])',
}


def test_leftovers__all_die():
    with Sandbox() as s:
        s.wait_ready()
        outcome(s.run('pass'), 'success')
        for exec_ in (False, True):
            for what, script in LEFTOVERS.items():
                r = outcome(s.run(script, exec_=exec_), 'success')
                left = [p for p in s.processes() if p[0] != '0' and p[0] != 'root']
                same(left, [], what)
        outcome(s.run('pass'), 'success')
        same(s.alive(), True)


def test_leftovers__fork_bomb():
    with Sandbox(pids=50) as s:
        s.wait_ready()
        r = s.run('import os\nwhile 1:\n    try: os.fork()\n    except OSError: pass', timeout=1.5, grace=0.2)
        outcome(r, 'timeout')
        same('limit of processes' in r.message, True, r)
        outcome(s.run('print(1)'), 'success', out=b'1\n')


# ------------------------------------------------------------------------------------------ attacks


def test_walls__no_place_to_write():
    with Sandbox() as s:
        s.wait_ready()
        for exec_ in (False, True):
            same(s.json(ATTACK_FS, exec_=exec_, timeout=30), [])


def test_walls__kernel_surface():
    with Sandbox() as s:
        s.wait_ready()
        for exec_ in (False, True):
            got, ports = s.json(ATTACK_KERNEL, exec_=exec_)
            same(got, [])
            same(
                ports,
                {
                    '80': 'ConnectionRefusedError',
                    '443': 'ConnectionRefusedError',
                    '22': 'denied',
                    '8080': 'denied',
                    '53': 'denied',
                },
            )


def test_walls__own_filter_without_dockers():
    """With the engine's seccomp off, init's own filter and Landlock still hold."""
    with Sandbox(seccomp=False, docker_options=['--security-opt', 'seccomp=unconfined'], options=['--dns']) as s:
        s.wait_ready()
        got, ports = s.json(ATTACK_KERNEL)
        same(got, [])
        same(ports['53'], 'ConnectionRefusedError')
        same(s.json(ATTACK_FS, timeout=30), [])


def test_walls__other_abis_die():
    script = '''
import ctypes, mmap, os, sys
code = bytes(bytearray(%s))
m = mmap.mmap(-1, 4096, prot=7); m.write(code)
ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(m)))()
print("alive")
'''
    with Sandbox() as s:
        s.wait_ready()
        i386 = [0xB8, 20, 0, 0, 0, 0xCD, 0x80, 0xC3]  # getpid by int 0x80
        x32 = [0xB8, 39, 0, 0, 0x40, 0x0F, 0x05, 0xC3]  # getpid | x32 bit
        for code in (i386, x32):
            r = s.run(script % code)
            same(b'alive' in r.out and r.outcome == 'success', False, r)


# ----------------------------------------------------------------------------------- the connection


def test_control__daemon_goes_and_comes_back():
    with Sandbox() as s:
        s.wait_ready()
        job = s.send_run('import time; time.sleep(0.5); print("done")')
        s.conn.close()
        s.accept()
        same([s.state, s.hello_job], [RUNNING, job])
        s.conn.close()
        s.listener.close()
        time.sleep(0.8)
        s.listen()
        s.accept()
        same([s.state, s.hello_job], [FINISHED, job])
        s.wait_ready()
        r = outcome(s.result(), 'success', job=job, out=b'done\n')
        s.conn.close()
        s.accept()
        same(s.state, FINISHED)
        outcome(s.result(), 'success', job=job, out=b'done\n')
        s.forget(job + 1)
        s.forget(job)
        s.conn.close()
        s.accept()
        same([s.state, s.jobs_done], [IDLE, 1])
        outcome(s.run('pass'), 'success')


def test_control__orphan_ends():
    with Sandbox(options=['--orphan-timeout', '1']) as s:
        s.wait_ready()
        s.conn.close()
        s.listener.close()
        same(wait_until(lambda: not s.alive(), 8), True, 'ends')


def test_control__bad_frames():
    with Sandbox() as s:
        s.wait_ready()
        for bad in (
            b'',
            b'x',
            struct.pack('=IHHII', 1, 64, 1, 16, 0),
            struct.pack('=IHHII', 0x4C534231, 64, 1, 16, 0),
            struct.pack('=IHHII', 0x4C534231, 64, 1, 999, 0),
            b'x' * 163841,
        ):
            try:
                s.conn.send(bad)
            except OSError:
                pass
            s.accept()
            same(s.state, IDLE)
        s.conn.send(s.frame(99, b'what'))
        s.conn.send(s.frame(66, struct.pack('=Q', 5)))
        # strings that do not add up, descriptors that are missing or not sealed
        body = struct.pack('=7Q6I64s', 5, 1000000, 0, 0, 0, 2, 2, CAPTURE, 0, 900, 900, 9, 0, b'') + b'a\0b\0'
        s.conn.send(s.frame(64, body))
        outcome(s.result(), 'error', job=5)
        s.forget(5)
        body = struct.pack('=7Q6I64s', 6, 1000000, 0, 0, 0, 2, 2, CAPTURE, 0, 1, 1, 0, 0, b'') + b'a\0b\0'
        s.conn.send(s.frame(64, body))
        outcome(s.result(), 'error', job=6)
        s.forget(6)
        s.job = 6
        if not RUNTIME:  # nobody tells the seals there: the script gets a copy
            s.send_run('pass', seal=False)
            outcome(s.result(), 'error')
            s.forget()
        outcome(s.run('pass'), 'success')


def test_control__run_while_busy():
    with Sandbox() as s:
        s.wait_ready()
        job = s.send_run('import time; time.sleep(0.3)')
        s.send_run('pass')
        s.accept()
        same([s.state, s.hello_job], [RUNNING, job])
        outcome(s.result(), 'success', job=job)


# -------------------------------------------------------------------------------------- fork server


def test_server__replaced_after_max_forks():
    with Sandbox(options=['--max-forks', '3']) as s:
        s.wait_ready()
        seeds = set()
        for _ in range(12):
            r = outcome(s.run('print(hash("seed"))'), 'success')
            seeds.add(r.out)
            time.sleep(0.15)
        same(len(seeds) >= 3, True, seeds)


def test_server__successor_warms_up_under_a_job():
    with Sandbox(options=['--max-forks', '2']) as s:
        s.wait_ready()
        for number in range(6):
            r = outcome(s.run('import time; time.sleep(1); print(%d)' % number), 'success')
            same(r.out, b'%d\n' % number, r)


def test_server__one_text_two_names():
    with Sandbox() as s:
        s.wait_ready()
        for name in (b'first.py', b'second.py', b'second.py', b'first.py'):
            r = outcome(s.run('raise OSError(1)', name=name), 'failure')
            same(b'/scripts/' + name in r.err or b'"' + name in r.err, True, r)


def test_server__killed():
    with Sandbox() as s:
        s.wait_ready()
        outcome(s.run('pass'), 'success')
        s.send_run('import time; print(1, flush=True); time.sleep(30)')
        time.sleep(0.3)
        pids = [p[1] for p in s.processes() if 'serve' in p[3] and p[0] in ('0', 'root')]
        os.kill(int(pids[0]), 9)
        r = s.result()
        same([r.outcome, r.clean], ['lost', 1], r)
        s.forget()
        outcome(s.run('pass'), 'success')


def test_server__off_or_missing():
    with Sandbox(options=['--no-forkserver']) as s:
        s.wait_ready()
        same(s.warm, 0)
        r = outcome(s.run('import sys; print(sys.argv)'), 'success')
        same(r.out, b"['on_create.py', 'create/resource/a', '{}']\n")
    with Sandbox(options=['--python', '/nowhere/python3']) as s:
        s.wait_ready()
        r = outcome(s.run('pass'), 'error')
        same('python3' in r.message, True, r)
        outcome(s.run('#!/bin/sh\nexit 0'), 'success')


def test_server__idle_child_killed():
    with Sandbox() as s:
        s.wait_ready()
        for _ in range(3):
            outcome(s.run('pass', nofile=1 << 30), 'success')
            time.sleep(0.1)
            os.kill(max(int(p[1]) for p in s.processes()), 9)
        outcome(s.run('pass'), 'success')
        same(s.alive(), True)


def test_server__preload():
    with Sandbox(options=['--preload', 'json,requests,no_such_module']) as s:
        s.wait_ready()
        r = outcome(
            s.run(
                'import sys; print("requests" in sys.modules, "ctypes" in sys.modules, "_ctypes" in sys.modules)\nimport requests, json'
            ),
            'success',
        )
        same(r.out, b'True False False\n', r)
        for _ in range(3):
            outcome(s.run('import requests, threading, logging; print(requests.Session())'), 'success')


def test_server__no_job_starts_an_interpreter():
    """Each is forked from the same server, which has started long before: what that has made lies
    where it was, and an interpreter of its own would have it elsewhere. How fast it is, says `make
    bench`."""
    with Sandbox() as s:
        s.wait_ready()
        runs = [outcome(s.run('import os, sys; print(id(sys), os.getpid())'), 'success') for _ in range(50)]
        places, processes = zip(*(r.out.split() for r in runs))
        same(len(set(places)), 1, 'interpreters')
        same(len(set(processes)) > 1, True, 'processes of their own')


# Of a runtime with a kernel of its own (gVisor): tests/system/43-sandbox-runtime.py.
NOT_OF_A_RUNTIME = {
    'test_leftovers__fork_bomb': 'a limit ends the whole sandbox',
    'test_limits__memory': 'a limit ends the whole sandbox',
    'test_limits__memory_of_many': 'a limit ends the whole sandbox',
    'test_limits__processes': 'a limit ends the whole sandbox',
    'test_server__idle_child_killed': 'its processes are not the host\'s',
    'test_server__killed': 'its processes are not the host\'s',
    'test_walls__kernel_surface': 'no Landlock; the attacks say more',
    'test_walls__no_place_to_write': 'no Landlock; the attacks say more',
    'test_walls__other_abis_die': 'it has no other, and says so without killing',
    'test_walls__own_filter_without_dockers': 'no Landlock; the attacks say more',
}


def main():
    args = [a for a in sys.argv[1:] if a != '-v']
    passed = failed = 0
    for name, test in sorted((n, t) for n, t in globals().items() if n.startswith('test_')):
        if args and not any(a in name for a in args):
            continue
        if RUNTIME and name in NOT_OF_A_RUNTIME:
            print('     %s: left out, %s' % (name, NOT_OF_A_RUNTIME[name]))
            continue
        start = time.monotonic()
        try:
            test()
            passed += 1
            print('ok   %s (%.1f s)' % (name, time.monotonic() - start))
        except Exception:
            failed += 1
            print('FAIL %s\n%s' % (name, traceback.format_exc()))
        sys.stdout.flush()
    print('%d passed, %d failed' % (passed, failed))
    return 1 if failed or not passed else 0


if __name__ == '__main__':
    sys.exit(main())
