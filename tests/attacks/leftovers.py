# leftovers.py - can one run see what an earlier run of the same script left? First looks for the
# marks, then leaves them, in every way it knows.
import builtins
import gc
import resource
import subprocess
import tempfile
import threading

MARK = 'lsn-leftover'
PLACES = [
    '/tmp',
    '/var/tmp',
    '/dev/shm',
    '/dev/mqueue',
    '/run',
    '/run/lock',
    '/scripts',
    '/',
    os.path.expanduser('~'),
    '/dev',
    '/proc',
    '/sys/fs/cgroup',
]


def see(what, found):
    global attempts
    attempts += 1
    if found:
        got('from an earlier run: %s%s' % (what, '' if found is True else ' %r' % (found,)))


def look_at_files():
    for place in PLACES:
        try:
            see('file in ' + place, [n for n in os.listdir(place) if MARK in n])
        except OSError:
            see('file in ' + place, False)
    for fd in range(3, 256):
        try:
            os.fstat(fd)
            see('descriptor', fd)
        except OSError:
            see('descriptor', False)


def look_at_processes():
    for pid in others():
        try:
            uid = os.stat('/proc/%d' % pid).st_uid
            status = open('/proc/%d/status' % pid).read()
        except OSError:
            continue
        see('process', uid == os.getuid() and 'PPid:\t%d\n' % os.getpid() not in status and status.split('\n')[0])
    see('a child to wait for', has_child())


def has_child():
    try:
        os.waitpid(-1, os.WNOHANG)
        return True
    except ChildProcessError:
        return False


def look_at_ipc():
    for name in ('shm', 'sem', 'msg'):
        try:
            see('System V ' + name, len(open('/proc/sysvipc/' + name).read().splitlines()) > 1)
        except OSError:
            see('System V ' + name, False)
    for key in (0x1234, 0x4321):
        for number, args in ((29, (key, 1, 0)), (64, (key, 1, 0)), (68, (key, 0))):
            try:
                see('System V object', syscall(number, *args) >= 0 if MACHINE == 'x86_64' else False)
            except OSError:
                see('System V object', False)
    try:
        see('abstract socket', [l for l in open('/proc/net/unix').read().splitlines() if MARK in l])
    except OSError:
        pass
    with socket.socket(socket.AF_UNIX) as s:
        try:
            s.connect('\0' + MARK)
            see('abstract socket that answers', True)
        except OSError:
            see('abstract socket that answers', False)
    if MACHINE == 'x86_64':
        try:
            see('key in the session keyring', syscall(249, b'user', MARK.encode(), None, 0) >= 0)
        except OSError:
            see('key in the session keyring', False)
    for path in ('/proc/net/tcp', '/proc/net/udp', '/proc/net/tcp6', '/proc/net/udp6'):
        try:  # state 06 is a connection that has ended
            see(
                'open socket in ' + path,
                [
                    l.split()[1]
                    for l in open(path).read().splitlines()[1:]
                    if l.split()[7] == str(os.getuid()) and l.split()[3] != '06'
                ],
            )
        except (OSError, IndexError):
            pass


def look_at_ourselves():
    see('environment', 'LEFTOVER' in os.environ)
    see('working directory', os.getcwd() not in ('/scripts', '/') and os.getcwd())
    mask = os.umask(0o22)
    see('umask', mask != 0o22 and oct(mask))
    see('niceness', os.nice(0) != 0 and os.nice(0))
    see('scheduler', os.sched_getscheduler(0) != os.SCHED_OTHER)
    see('affinity', len(os.sched_getaffinity(0)) < (os.cpu_count() or 1) and len(os.sched_getaffinity(0)))
    see(
        'a signal that is ignored',
        [
            n
            for n in range(1, 65)
            if n not in (2, 9, 13, 19, 25, 32, 33) and signal.getsignal(n) not in (signal.SIG_DFL, None)
        ],
    )
    see('blocked signals', signal.pthread_sigmask(signal.SIG_BLOCK, []))
    see('pending signals', signal.sigpending())
    for which in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
        see('timer', signal.getitimer(which) != (0.0, 0.0))
    see('limit of open files', resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 77)
    see('limit of CPU time', resource.getrlimit(resource.RLIMIT_CPU)[0] == 777)
    see('limit of file size', resource.getrlimit(resource.RLIMIT_FSIZE)[0] == 7777)
    see('name', open('/proc/self/comm').read().startswith(MARK[:8]))
    see('parent death signal', parent_death_signal())
    see('threads', threading.active_count() > 1)


def parent_death_signal():
    value = ctypes.c_int(0)
    libc.prctl(2, ctypes.byref(value), 0, 0, 0)
    return value.value


def look_at_python():
    see('builtins', hasattr(builtins, 'leftover'))
    see('a module', [m for m in sys.modules if MARK in m])
    see('json', hasattr(json, 'leftover') or getattr(json.dumps, 'leftover', False))
    see('os', hasattr(os, 'leftover'))
    see('sys.path', [p for p in sys.path if MARK in p])
    see('sys.path_hooks', len(sys.path_hooks) > 3)
    see('sys.meta_path', len(sys.meta_path) > 4)
    see('trace', sys.gettrace() is not None or sys.getprofile() is not None)
    see('recursion limit', sys.getrecursionlimit() == 1234)
    see('switch interval', sys.getswitchinterval() == 0.123)
    see('garbage collector', not gc.isenabled() or gc.get_threshold()[0] == 77)
    see('excepthook', sys.excepthook is not sys.__excepthook__)
    see('a global', 'LEFT_HERE' in globals())
    see('default timeout', socket.getdefaulttimeout() is not None)
    see('temporary folder', tempfile.tempdir is not None and MARK in str(tempfile.tempdir))


def leave(function):
    """Whatever cannot be left has not been."""
    try:
        function()
    except (OSError, ValueError, AttributeError, RuntimeError):
        pass


def leave_files():
    for place in PLACES:
        leave(lambda: open(os.path.join(place, MARK), 'w').close())
        leave(lambda: os.mkdir(os.path.join(place, MARK + '.d')))
        leave(lambda: socket.socket(socket.AF_UNIX).bind(os.path.join(place, MARK + '.s')))
    leave(lambda: libc.shm_open(b'/' + MARK.encode(), 0o102, 0o666))
    leave(lambda: libc.sem_open(b'/' + MARK.encode(), 0o100, 0o666, 1))
    leave(lambda: libc.mq_open(b'/' + MARK.encode(), 0o102, 0o666, None))


def leave_ipc():
    if MACHINE == 'x86_64':
        for number, args in (
            (29, (0x1234, 4096, 0o1666)),
            (64, (0x1234, 1, 0o1666)),
            (68, (0x4321, 0o1666)),
            (248, (b'user', MARK.encode(), b'x', 1, -3)),
            (248, (b'user', MARK.encode(), b'x', 1, -4)),
        ):
            leave(lambda: syscall(number, *args))


def stay(how):
    """A process that does not want to go."""
    if os.fork() != 0:
        return
    libc.prctl(15, MARK.encode(), 0, 0, 0)
    for n in range(1, 65):
        leave(lambda: signal.signal(n, signal.SIG_IGN))
    leave(os.setsid)
    if how in ('daemon', 'forking') and os.fork() != 0:
        os._exit(0)
    s = socket.socket(socket.AF_UNIX)
    leave(lambda: (s.bind('\0' + MARK), s.listen(5)))
    t = socket.socket()
    leave(lambda: (t.bind(('127.0.0.1', 0)), t.listen(1)))
    if how == 'stopped':
        os.kill(os.getpid(), signal.SIGSTOP)
    if how == 'undumpable':
        libc.prctl(4, 0, 0, 0, 0)
    end_time = time.time() + 60
    while time.time() < end_time:
        time.sleep(0.01)
        if how == 'forking' and os.fork() != 0:
            os._exit(0)
    os._exit(0)


def leave_processes():
    for how in ('daemon', 'stopped', 'undumpable', 'forking', 'orphan'):
        leave(lambda: stay(how))
    leave(lambda: subprocess.Popen(['sleep', '60'], start_new_session=True))
    threading.Thread(target=time.sleep, args=(0.05,)).start()


def leave_ourselves():
    os.environ['LEFTOVER'] = '1'
    for function in (
        lambda: os.chdir('/usr'),
        lambda: os.umask(0),
        lambda: os.nice(5),
        lambda: os.sched_setaffinity(0, {0}),
        lambda: os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0)),
        lambda: signal.setitimer(signal.ITIMER_VIRTUAL, 1000),
        lambda: signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1]),
        lambda: signal.pthread_kill(threading.get_ident(), signal.SIGUSR1),
        lambda: signal.signal(signal.SIGUSR2, signal.SIG_IGN),
        lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (77, 77)),
        lambda: resource.setrlimit(resource.RLIMIT_CPU, (777, 777)),
        lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (7777, 7777)),
        lambda: libc.prctl(15, MARK.encode(), 0, 0, 0),
        lambda: libc.prctl(1, signal.SIGUSR1, 0, 0, 0),
        lambda: libc.prctl(36, 1, 0, 0, 0),
    ):
        leave(function)


def leave_python():
    global LEFT_HERE
    LEFT_HERE = builtins.leftover = os.leftover = json.leftover = True
    sys.modules[MARK] = sys
    sys.path.append('/' + MARK)
    sys.setrecursionlimit(1234)
    sys.setswitchinterval(0.123)
    gc.set_threshold(77)
    socket.setdefaulttimeout(7)
    tempfile.tempdir = '/' + MARK
    sys.excepthook = lambda *_: None
    sys.path_hooks.append(lambda path: None)


for look in (look_at_files, look_at_processes, look_at_ipc, look_at_ourselves, look_at_python):
    look()
print('attempts=%d through=%d' % (attempts, through), flush=True)
for leaving in (leave_files, leave_ipc, leave_processes, leave_python, leave_ourselves):
    leave(leaving)
