# forkserver.py - a warm Python: a script starts in a forked child that finds the interpreter ready.
#
# sandbox-init starts it as `python3 -c STUB serve MAX_FORKS MODULES` behind all walls (Landlock, seccomp, no-new-privileges), root with SETUID and
# SETGID only, with 2 = init's stderr, 3 = a SOCK_SEQPACKET socket to init, 4 = this text, 5 = the note, a memfd. Or, for a run in a new
# interpreter, as `python3 -c STUB one NAME TOPIC [PAYLOAD]` in the script's own identity, with 3 = the script.
#
# One child is always forked ahead. It waits for the RUN frame on the same socket as the server would, takes it, writes the job's number into
# the note, becomes nobody, then a fresh `python3 NAME TOPIC PAYLOAD`, and runs the script. The server waits for it, tells init how it
# ended and forks the next. So the server never looks at what a job brings: not at the frame, not at the script. The first child of a script
# version compiles it, as nobody, and leaves the code in the note; the server hands those bytes on unread to later children.
#
# What a script can find different from a new interpreter: the hash seed is that of the server (init starts a new server every MAX_FORKS jobs),
# frames of this file lie below its own, the script is not there as a file. Runs on Python 3.4 and later.
import sys
import os
import io
import _signal

PLAIN_MAIN = [(k, v) for k, v in sys.modules['__main__'].__dict__.items() if k.startswith('__')]
THIS_MAIN = sys.modules['__main__']  # kept: its end would take our globals along

SOCKET_FD, NOTE_FD = 3, 5
NOBODY = 65534
FRAME_MAX = 160 * 1024
MAGIC = 0x4c534231
RUN = '=IHHII7Q6I64s'  # struct sb_run of protocol.h
CAPTURE = 1
ARG_PAYLOAD_MAX = 128 * 1024 - 1
SERVER = '=IiQQQQ'  # struct server_frame of server.c
READY, DONE = 1, 2
NOTE = '=Q64sQ'  # job, script version, size of the marshalled code behind it
CODE_MAX = 16 << 20
CACHE_MAX = 4


# ------------------------------------------------------------------------------------------------ being __main__

def text_stream(fd, old, mode, name):
    """A new text stream on FD as the interpreter makes it at its start; OLD is the one it made."""
    binary = io.open(fd, mode + 'b', -1, closefd=False)
    binary.raw.name = name
    text = io.TextIOWrapper(binary, old.encoding, old.errors, '\n', old.line_buffering)
    text.mode = mode
    return text


def new_streams():
    sys.stdin = sys.__stdin__ = text_stream(0, sys.__stdin__, 'r', '<stdin>')
    sys.stdout = sys.__stdout__ = text_stream(1, sys.__stdout__, 'w', '<stdout>')
    sys.stderr = sys.__stderr__ = text_stream(2, sys.__stderr__, 'w', '<stderr>')


def new_main(name, source):
    """A __main__ as `python3 NAME` in /scripts has it. SOURCE gives the bytes, for tracebacks and inspect."""
    filename = os.path.join('/scripts', name) if sys.version_info >= (3, 9) else name
    main = type(sys)('__main__')
    main.__dict__.clear()
    main.__dict__.update(PLAIN_MAIN)
    machinery = sys.modules.get('_frozen_importlib_external') or sys.modules['_frozen_importlib']
    loader = machinery.SourceFileLoader('__main__', filename)
    loader.get_data = lambda path: source()
    main.__loader__ = loader
    main.__file__ = filename
    if sys.version_info < (3, 15):
        main.__cached__ = None
    sys.modules['__main__'] = main
    sys.path[0] = os.path.dirname(os.path.join('/scripts', name))
    return main, filename


def flush(stream):
    try:
        if stream is not None and not stream.closed:
            stream.flush()
        return True
    except Exception:
        return False


def print_exception(kind, value, tb):
    import traceback
    traceback.print_exception(kind, value, tb)


def show(kind, value, tb):
    """What the interpreter does with an exception nobody caught."""
    flush(sys.stdout)
    sys.last_type, sys.last_value, sys.last_traceback = kind, value, tb
    if sys.version_info >= (3, 12):
        sys.last_exc = value
    hook = sys.excepthook
    try:
        if hook is sys.__excepthook__:
            print_exception(kind, value, tb)
        else:
            hook(kind, value, tb)
    except SystemExit as e:
        flush(sys.stderr)
        return exit_status(e)
    except BaseException:
        try:
            print('Error in sys.excepthook:', file=sys.stderr)
            print_exception(*sys.exc_info())
            print('\nOriginal exception was:', file=sys.stderr)
            print_exception(kind, value, tb)
        except BaseException:
            pass
    flush(sys.stderr)
    return 1


def exit_status(e):
    code = e.code
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xff
    flush(sys.stdout)
    try:
        print(code, file=sys.stderr)
    except BaseException:
        pass
    return 1


def finish(main, status, interrupted):
    """As Py_Finalize does it: threads, atexit, streams, the objects of __main__; but not the rest of the interpreter."""
    threading = sys.modules.get('threading')
    if threading is not None:
        try:
            threading._shutdown()
        except BaseException:
            print_exception(*sys.exc_info())
    atexit = sys.modules.get('atexit')
    if atexit is not None:
        try:
            atexit._run_exitfuncs()
        except BaseException:
            if sys.version_info < (3, 7):
                pass  # printed already
    ok = flush(sys.stdout)
    flush(sys.stderr)
    stdout, stderr = sys.stdout, sys.stderr
    names = main.__dict__
    for key in [k for k in names if k.startswith('_') and k != '__builtins__']:
        names[key] = None
    for key in [k for k in names if k != '__builtins__']:
        names[key] = None
    gc = sys.modules.get('gc') or __import__('gc')
    gc.collect()
    ok = flush(stdout) and ok
    flush(stderr)
    if interrupted:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
        os.kill(os.getpid(), _signal.SIGINT)
    os._exit(status if ok else 120)


def run_main(main, get_code):
    status, interrupted = 0, False
    try:
        exec(get_code(), main.__dict__)
    except SystemExit as e:
        status = exit_status(e)
    except BaseException as e:
        kind, value, tb = sys.exc_info()
        while tb is not None and tb.tb_frame.f_globals is globals():
            tb = tb.tb_next
        interrupted = kind is KeyboardInterrupt and sys.version_info >= (3, 8)
        status = show(kind, value.with_traceback(tb), tb)
        kind = value = tb = e = None
    finish(main, status, interrupted)


def read_all(fd):
    parts, at = [], 0
    while True:
        part = os.pread(fd, 1 << 20, at)
        if not part:
            return b''.join(parts)
        parts.append(part)
        at += len(part)


# --------------------------------------------------------------------------------------------- a new interpreter

def one():
    name = sys.argv[2]
    source = read_all(3)
    os.closerange(3, 5)
    sys.argv = sys.argv[2:]
    if hasattr(sys, 'orig_argv'):
        sys.orig_argv = ['python3'] + sys.argv
    main, filename = new_main(name, lambda: source)
    run_main(main, lambda: compile(source, filename, 'exec', 0, True))


# ---------------------------------------------------------------------------------------------- the fork server

class Server(object):
    def __init__(self, modules):
        """Imports beyond what a new interpreter has are C modules only, and the children do not see them."""
        self.plain = set(sys.modules)
        for module in modules:
            try:
                __import__(module)
            except Exception as e:
                print('forkserver: cannot preload %s: %s' % (module, e), file=sys.stderr)
        self.keep = set(sys.modules)
        import _ctypes
        import _socket
        import _struct
        import gc
        import marshal
        import resource
        import time
        self.sleep = time.sleep
        self.struct, self.marshal, self.resource, self.gc = _struct, marshal, resource, gc
        self.hidden = [m for m in sys.modules if m not in self.keep]
        self.socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, SOCKET_FD)
        self.anc_size = _socket.CMSG_SPACE(4 * 8)
        self.call = _ctypes.call_function
        libc = _ctypes.dlopen(None, 0)
        self.prctl = _ctypes.dlsym(libc, 'prctl')
        self.capset = _ctypes.dlsym(libc, 'capset')
        self.no_caps = (_struct.pack('=Ii', 0x20080522, 0), bytes(24))
        self.cache = {}
        self.null = os.open('/dev/null', os.O_RDWR)
        self.set_dumpable(0)
        self.random = [sys.modules[m].seed for m in ('random',) if m in sys.modules and sys.version_info < (3, 7)]
        if 'numpy.random' in sys.modules:
            self.random.append(sys.modules['numpy.random'].seed)

    def set_dumpable(self, value):
        if self.call(self.prctl, (4, value, 0, 0, 0)) != 0:
            raise OSError('PR_SET_DUMPABLE')

    def serve(self):
        """Until init closes the socket."""
        self.gc.collect()
        self.gc.disable()
        if hasattr(self.gc, 'freeze'):
            self.gc.freeze()
        ready = False
        while True:
            pid = self.fork()
            if pid == 0:
                self.child()
            if not ready:
                self.socket.send(self.struct.pack(SERVER, READY, 0, 0, 0, 0, 0))
                ready = True
            _, status, usage = os.wait4(pid, 0)
            job, version, size = self.read_note()
            self.socket.send(self.struct.pack(SERVER, DONE, status, job, int(usage.ru_utime * 1000000), int(usage.ru_stime * 1000000),
                                              usage.ru_maxrss * 1024))
            self.keep_code(version, size)

    def fork(self):
        """What the last run left may fill the process limit until init has swept it."""
        for _ in range(1000):
            try:
                return os.fork()
            except OSError:
                self.sleep(0.005)
        os._exit(1)

    def read_note(self):
        head = os.pread(NOTE_FD, self.struct.calcsize(NOTE), 0)
        if len(head) < self.struct.calcsize(NOTE):
            return 0, b'', 0
        return self.struct.unpack(NOTE, head)

    def keep_code(self, version, size):
        """Bytes only: what they mean is for unprivileged children to find out."""
        start = self.struct.calcsize(NOTE)
        if 0 < size <= CODE_MAX and os.fstat(NOTE_FD).st_size == start + size:
            code = os.pread(NOTE_FD, size, start)
            if len(self.cache) >= CACHE_MAX:
                self.cache.clear()
            self.cache[version] = code
        os.ftruncate(NOTE_FD, 0)

    # ---- in the child

    def child(self):
        try:
            self.become_script()
        finally:
            os._exit(255)

    def take(self):
        try:
            data, anc, flags, _ = self.socket.recvmsg(FRAME_MAX, self.anc_size)
        except (OSError, KeyboardInterrupt):
            os._exit(0)
        if not data:
            os._exit(0)
        fds = []
        for _, _, part in anc:
            fds += self.struct.unpack('=%di' % (len(part) // 4), part)
        return data, fds

    def become_script(self):
        data, fds = self.take()
        head = self.struct.unpack_from(RUN, data)
        job, cpu_usec, payload_size, flags, nofile, name_size, topic_size, version = (
            head[5], head[8], head[10], head[12], head[13], head[14], head[15], head[18])
        strings = data[self.struct.calcsize(RUN):]
        name, topic = strings[:name_size], strings[name_size + 1:name_size + 1 + topic_size]
        env = strings[name_size + topic_size + 2:].split(b'\0')[:-1]
        cached = self.cache.get(version)
        os.pwrite(NOTE_FD, self.struct.pack(NOTE, job, version, 0), 0)
        script = fds[0]
        os.dup2(fds[1], 0)
        os.dup2(fds[2] if flags & CAPTURE else self.null, 1)
        os.dup2(fds[3] if flags & CAPTURE else self.null, 2)
        os.setsid()
        self.set_limits(nofile, cpu_usec)
        self.drop()
        self.set_env(env)
        sys.argv = [os.fsdecode(name), os.fsdecode(topic)] + self.payload_argument(payload_size)
        if hasattr(sys, 'orig_argv'):
            sys.orig_argv = ['python3'] + sys.argv
        self.forget_ourselves()
        self.start(sys.argv[0], read_all(script), cached, version, job)

    def set_limits(self, nofile, cpu_usec):
        if nofile:
            self.resource.setrlimit(self.resource.RLIMIT_NOFILE, (nofile, nofile))
        if cpu_usec:
            seconds = (cpu_usec + 999999) // 1000000
            self.resource.setrlimit(self.resource.RLIMIT_CPU, (seconds, seconds + 1))

    def drop(self):
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        if self.call(self.capset, self.no_caps) != 0:
            os._exit(254)
        self.set_dumpable(1)

    def set_env(self, env):
        os.environ.clear()
        for item in env:
            key, _, value = item.partition(b'=')
            os.environb[key] = value

    def payload_argument(self, size):
        if size > ARG_PAYLOAD_MAX:
            return []
        payload = os.pread(0, size, 0)
        return [] if b'\0' in payload else [os.fsdecode(payload)]

    def forget_ourselves(self):
        for module in self.hidden:
            sys.modules.pop(module, None)
        for seed in self.random:
            seed()
        new_streams()

    def start(self, name, source, cached, version, job):
        marshal, struct, gc = self.marshal, self.struct, self.gc
        main, filename = new_main(name, lambda: source)

        def get_code():
            if cached is not None:
                return marshal.loads(cached)
            code = compile(source, filename, 'exec', 0, True)
            data = marshal.dumps(code)
            if len(data) <= CODE_MAX:
                os.pwrite(NOTE_FD, data, struct.calcsize(NOTE))
                os.pwrite(NOTE_FD, struct.pack(NOTE, job, version, len(data)), 0)
            return code

        def prepared():
            """The last thing before the script: nothing of ours stays open."""
            try:
                return get_code()
            finally:
                self.socket.detach()
                os.closerange(3, 64)
                gc.enable()

        run_main(main, prepared)


def main():
    if sys.argv[1] == 'one':
        one()
    os.close(4)
    sys.path[0] = '/scripts'
    Server([m for m in sys.argv[3].split(',') if m]).serve()


main()
