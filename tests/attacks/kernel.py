# kernel.py - the kernel's surface: system calls that no script needs, socket families, namespaces,
# a second ABI, another identity. A call gets through if it does not fail, or fails in a way that
# shows the kernel looked at it (EFAULT, EINVAL and the like instead of EPERM, ENOSYS,
# EAFNOSUPPORT).
WALL = {
    errno.EPERM,
    errno.EACCES,
    errno.ENOSYS,
    errno.EAFNOSUPPORT,
    errno.EPROTONOSUPPORT,
    errno.ESOCKTNOSUPPORT,
    errno.EOPNOTSUPP,
    errno.EMFILE,
}
CALLS = {  # x86_64 numbers; those from 424 on are the same everywhere
    'ptrace': (101, 0, 0, 0, 0),
    'shmget': (29, 0, 4096, 0o1600),
    'shmat': (30, 0, 0, 0),
    'shmctl': (31, 0, 13, 0),
    'semget': (64, 0, 1, 0o1600),
    'semop': (65, 0, 0, 0),
    'semctl': (66, 0, 0, 18),
    'msgget': (68, 0, 0o1600),
    'msgsnd': (69, 0, 0, 0, 0),
    'msgrcv': (70, 0, 0, 0, 0, 0),
    'mq_open': (240, b'attack', 0o102, 0o600, 0),
    'mq_unlink': (241, b'attack'),
    'add_key': (248, b'user', b'a', b'b', 1, -2),
    'request_key': (249, b'user', b'a', 0, -2),
    'keyctl': (250, 0, -3, 1),
    'bpf': (321, 0, 0, 0),
    'perf_event_open': (298, 0, 0, -1, -1, 0),
    'userfaultfd': (323, 0),
    'userfaultfd user': (323, 1),
    'io_uring_setup': (425, 8, 0),
    'io_uring_enter': (426, -1, 0, 0, 0, 0, 0),
    'io_uring_register': (427, -1, 0, 0, 0),
    'unshare user': (272, 0x10000000),
    'unshare net': (272, 0x40000000),
    'unshare mnt': (272, 0x20000),
    'mount': (165, b'a', b'/tmp', b'tmpfs', 0, 0),
    'umount2': (166, b'/proc', 2),
    'pivot_root': (155, b'/', b'/'),
    'chroot': (161, b'/tmp'),
    'open_tree': (428, -100, b'/', 1),
    'move_mount': (429, -1, b'', -1, b'', 0),
    'fsopen': (430, b'tmpfs', 0),
    'fsconfig': (431, -1, 0, 0, 0, 0),
    'fsmount': (432, -1, 0, 0),
    'fspick': (433, -100, b'/', 0),
    'mount_setattr': (442, -100, b'/', 0, 0, 0),
    'statmount': (457, 0, 0, 0, 0),
    'listmount': (458, 0, 0, 0, 0),
    'setns': (308, 0, 0),
    'swapon': (167, b'/x', 0),
    'reboot': (169, 0, 0, 0, 0),
    'kexec_load': (246, 0, 0, 0, 0),
    'init_module': (175, 0, 0, 0),
    'finit_module': (313, -1, 0, 0),
    'delete_module': (176, b'x', 0),
    'sethostname': (170, b'x', 1),
    'setdomainname': (171, b'x', 1),
    'settimeofday': (164, 0, 0),
    'clock_settime': (227, 0, 0),
    'adjtimex': (159, 0),
    'clock_adjtime': (305, 0, 0),
    'acct': (163, 0),
    'quotactl': (179, 0, 0, 0, 0),
    'quotactl_fd': (443, -1, 0, 0, 0),
    'syslog': (103, 2, 0, 0),
    'vhangup': (153,),
    'iopl': (172, 3),
    'ioperm': (173, 0, 1, 1),
    'modify_ldt': (154, 0, 0, 0),
    'uselib': (134, b'x'),
    'ustat': (136, 0, 0),
    'sysfs': (139, 3),
    'lookup_dcookie': (212, 0, 0, 0),
    'name_to_handle_at': (303, -100, b'/', 0, 0, 0),
    'open_by_handle_at': (304, -1, 0, 0),
    'fanotify_init': (300, 0, 0),
    'fanotify_mark': (301, -1, 0, 0, 0, 0),
    'process_vm_readv': (310, 1, 0, 0, 0, 0, 0),
    'kcmp': (312, 1, 1, 0, 0, 0),
    'mbind': (237, 0, 0, 0, 0, 0, 0),
    'set_mempolicy': (238, 0, 0, 0),
    'get_mempolicy': (239, 0, 0, 0, 0, 0),
    'migrate_pages': (256, 0, 0, 0, 0),
    'move_pages': (279, 0, 0, 0, 0, 0, 0),
    'personality': (135, 0x20),
    'pidfd_getfd': (438, -1, 0, 0),
    'process_madvise': (440, -1, 0, 0, 0, 0),
    'process_mrelease': (448, -1, 0),
    'memfd_secret': (447, 0),
    'ioprio_set': (251, 1, 0, 0),
    'setuid 0': (105, 0),
    'setgid 0': (106, 0),
    'setresuid 0': (117, 0, 0, 0),
    'setresgid 0': (119, 0, 0, 0),
    'setreuid 0': (113, 0, 0),
    'setgroups': (116, 1, struct.pack('=I', 0)),
    'capset all': (
        126,
        struct.pack('=Ii', 0x20080522, 0),
        struct.pack('=IIIIII', 0xFFFFFFFF, 0xFFFFFFFF, 0, 0xFF, 0xFF, 0),
    ),
    'mknod device': (133, b'/tmp/attack', 0o20666, 259),
    'clone3': (435, 0, 0),
    'uretprobe': (335,),
    'cachestat': (451, -1, 0, 0, 0),
    'map_shadow_stack': (453, 0, 0, 0),
    'lsm_set_self_attr': (460, 0, 0, 0, 0),
    'nfsservctl': (180, 0, 0, 0),
    'io_setup': (206, 1, 0),
    'remap_file_pages': (216, 0, 0, 0, 0, 0),
    'filter of our own, kept by a descriptor': (317, 1, 8, 0),
    'listen': (50, -1, 1),
    'nonsense 500': (500,),
    'nonsense 1000': (1000,),
}


def look(number, args):
    """Did the kernel itself look at the call?"""
    try:
        syscall(number, *args)
    except OSError as e:
        if e.errno in WALL:
            raise


def calls():
    for name, (number, *args) in sorted(CALLS.items()):
        if MACHINE == 'x86_64' or number >= 424:
            in_child('system call ' + name, lambda: look(number, args))


def clones():
    """Namespaces by clone: flags in a register, so a filter can see them."""
    if MACHINE != 'x86_64':
        return
    for name, flag in (
        ('user', 0x10000000),
        ('net', 0x40000000),
        ('pid', 0x20000000),
        ('mnt', 0x20000),
        ('ipc', 0x8000000),
        ('uts', 0x4000000),
        ('cgroup', 0x2000000),
    ):
        for extra in (0, 0x10000000):

            def clone():
                pid = syscall(56, flag | extra | signal.SIGCHLD, 0, 0, 0, 0)
                if pid == 0:
                    os._exit(0)
                os.waitpid(pid, 0)

            in_child('clone into a new %s namespace%s' % (name, ' with a user namespace' if extra else ''), clone)


def siblings():
    """A child that is its parent's brother: who must wait does not know it (CLONE_PARENT)."""

    def clone():
        if syscall({'x86_64': 56}.get(MACHINE, 220), 0x8000 | signal.SIGCHLD, 0, 0, 0, 0) == 0:
            os._exit(0)

    in_child('a child of our parent', clone)


def families():
    """A socket of any kind but TCP, UDP and unix."""
    for family in range(1, 46):
        for kind in (1, 2, 3, 4, 5, 6, 10):
            for proto in (0, 1, 2, 6, 17, 33, 58, 94, 132, 136, 255, 262):
                plain = kind in (1, 2) and (
                    (family in (2, 10) and proto in (0, {1: 6, 2: 17}[kind])) or (family == 1 and proto in (0, 1))
                )
                if plain or (family == 1 and kind in (3, 5)):
                    continue
                attempt('socket %d %d %d' % (family, kind, proto), lambda: os.close(raw_socket(family, kind, proto)))
    for family in (2, 10, 16, 17, 40):
        attempt('socketpair of family %d' % family, lambda: socket.socketpair(family, socket.SOCK_STREAM))


def raw_socket(family, kind, proto):
    fd = libc.socket(family, kind | 0o2000000, proto)
    if fd < 0:
        raise OSError(ctypes.get_errno(), 'refused')
    return fd


def machine_code(what, code):
    """Run CODE, which returns what a getpid of another ABI gives."""
    import mmap

    def run():
        memory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        memory.write(code)
        value = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(memory)))()
        if value != os.getpid():
            raise OSError('refused')

    in_child(what, run)


def other_abis():
    if MACHINE != 'x86_64':
        return
    machine_code('i386 system calls (int 0x80)', bytes([0xB8, 20, 0, 0, 0, 0xCD, 0x80, 0xC3]))
    machine_code('x32 system calls', bytes([0xB8, 39, 0, 0, 0x40, 0x0F, 0x05, 0xC3]))

    def i386_socket():
        import mmap

        # socketcall's modern sibling: socket(AF_VSOCK) = 359, so that a filter of 64-bit numbers is
        # passed by
        memory = mmap.mmap(-1, 4096, prot=7)
        memory.write(
            bytes([0x53, 0xB8, 0x67, 1, 0, 0, 0xBB, 40, 0, 0, 0, 0xB9, 1, 0, 0, 0, 0x31, 0xD2, 0xCD, 0x80, 0x5B, 0xC3])
        )
        if ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(memory)))() < 0:
            raise OSError('refused')

    in_child('AF_VSOCK by way of i386', i386_socket)


def identity():
    """Who are we, and can we become more?"""
    global attempts
    status = dict(line.split(':', 1) for line in open('/proc/self/status').read().splitlines())
    for key in ('CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'):
        attempts += 1
        if int(status.get(key, '0'), 16) != 0:  # gVisor's kernel has no ambient set
            got('%s is %s' % (key, status[key].strip()))
    attempts += 4
    if libc.prctl(39, 0, 0, 0, 0) != 1:
        got('new privileges are possible')
    ids = ''.join(status.get(key, '') for key in ('Uid', 'Gid', 'Groups'))
    if {int(n) for n in ids.split()} - {65534} or os.getgroups():
        got('identity: %s %s' % (ids, os.getgroups()))
    if status['Seccomp'].strip() != '2':
        got('no seccomp filter')
    if os.getresuid() != (65534,) * 3 or os.getresgid() != (65534,) * 3:
        got('identity: %r %r' % (os.getresuid(), os.getresgid()))
    for top in ('/bin', '/sbin', '/usr/bin', '/usr/sbin', '/usr/lib'):
        for folder, _, files in os.walk(top):
            for name in files:
                path = os.path.join(folder, name)
                try:
                    mode = os.lstat(path).st_mode
                except OSError:
                    continue
                if stat.S_ISREG(mode) and mode & (stat.S_ISUID | stat.S_ISGID):
                    in_child('identity by way of ' + path, lambda: become(path))


def become(path):
    """Start a set-id program, stop it at once, look who it is."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(r, 0)
        os.execv(path, [path])
    try:
        for _ in range(200):
            time.sleep(0.005)
            status = dict(line.split(':', 1) for line in open('/proc/%d/status' % pid).read().splitlines())
            if {int(n) for n in (status['Uid'] + status['Gid']).split()} - {65534}:
                return
            if status['State'].split()[0] == 'Z':
                break
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    raise OSError('still nobody')


def limits():
    import resource

    if resource.getrlimit(resource.RLIMIT_CORE) != (1, 1):
        got('a crash starts the helper of a core_pattern that is a pipe')
    attempt('core dumps', lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)))
    if hasattr(resource, 'prlimit'):
        attempt('core dumps of ourselves by pid', lambda: resource.prlimit(os.getpid(), resource.RLIMIT_CORE, (0, 0)))
    attempt('real time priority', lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)))
    attempt('higher priority', lambda: os.setpriority(os.PRIO_PROCESS, 0, -5))
    attempt(
        'more open files',
        lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (1 << 19, 1 << 19))
        if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 1 << 19
        else None,
    )
    for name in ('RLIMIT_MEMLOCK', 'RLIMIT_MSGQUEUE', 'RLIMIT_NICE', 'RLIMIT_RTPRIO'):
        attempt('raise ' + name, lambda: resource.setrlimit(getattr(resource, name), (1 << 40, 1 << 40)))
    in_child('lock memory', lambda: check_zero(libc.mlock(ctypes.create_string_buffer(16 << 20), 16 << 20)))


def huge_pages():
    """Memory that no limit counts: the kernel must not even look whether there is any."""
    import mmap

    def refused_by_a_wall(function):
        try:
            function()
        except OSError as e:
            if e.errno in WALL:
                raise

    for kind in (mmap.MAP_PRIVATE, mmap.MAP_SHARED):
        attempt(
            'huge pages by mmap',
            lambda: refused_by_a_wall(lambda: mmap.mmap(-1, 2 << 20, flags=kind | mmap.MAP_ANONYMOUS | 0x40000)),
        )
    for size in (0, 21 << 26, 30 << 26):
        attempt(
            'huge pages by memfd',
            lambda: refused_by_a_wall(lambda: syscall({'x86_64': 319}.get(MACHINE, 279), b'attack', 4 | size)),
        )


# level, option, value: what makes the kernel keep memory that no limit counts, go other ways than
# addresses say, or take a program.
OPTIONS = {
    'socket filter': (1, 26, struct.pack('=HHIQ', 1, 0, 0, 0)),
    'BPF socket filter': (1, 50, struct.pack('=i', 0)),
    'reuseport filter': (1, 51, struct.pack('=HHIQ', 1, 0, 0, 0)),
    'IPv4 source route': (0, 4, bytes([131, 7, 4, 127, 0, 0, 1, 0])),
    'IPv4 multicast group': (0, 35, socket.inet_aton('239.1.2.3') + socket.inet_aton('127.0.0.1')),
    'IPv4 multicast group by index': (0, 42, struct.pack('=IIHH', 1, 0, 2, 0) + bytes(124)),
    'IPv4 multicast source': (0, 39, socket.inet_aton('232.1.2.3') + bytes(8)),
    'IPv6 multicast group': (41, 20, b'\xff\x0e' + bytes(13) + b'\7' + struct.pack('=I', 1)),
    'IPv6 multicast group by index': (41, 42, struct.pack('=IIHH', 1, 0, 10, 0) + bytes(124)),
    'IPv6 anycast address': (41, 27, bytes(15) + b'\1' + struct.pack('=I', 1)),
    'IPv6 flow label': (41, 32, bytes(15) + b'\1' + struct.pack('=IBBHHHI', 0, 0, 1, 1, 60, 60, 0)),
    'IPv6 packet options': (41, 6, struct.pack('=QiiI4x', 20, 41, 52, 64) * 100),
    'time stamps': (1, 29, struct.pack('=i', 1)),
    'fine time stamps': (1, 35, struct.pack('=i', 1)),
    'time stamps of what is sent': (1, 37, struct.pack('=i', 2)),
    'time stamps of 64 bits': (1, 65, struct.pack('=i', 2)),
    'sending without a copy': (1, 60, struct.pack('=i', 1)),
    'IPv6 routing header': (41, 57, bytes([0, 2, 4, 0, 0, 0, 0, 0]) + bytes(16)),
    'TCP key': (6, 14, struct.pack('=HH4s120xBBHI', 2, 0, bytes(4), 0, 0, 4, 0) + b'abcd' + bytes(76)),
    'TCP key of a network': (6, 32, struct.pack('=HH4s120xBBHI', 2, 0, bytes(4), 1, 8, 4, 0) + b'abcd' + bytes(76)),
    'TCP authentication': (6, 38, bytes(280)),
    'TLS in the kernel': (6, 31, b'tls'),
    'UDP encapsulation': (17, 100, struct.pack('=i', 2)),
}


def uncounted():
    """The kernel must not even look at it."""
    import fcntl

    def refused_by_a_wall(function):
        try:
            function()
        except OSError as e:
            if e.errno in WALL or e.errno == errno.ENOLCK:
                raise

    for name, (level, option, value) in sorted(OPTIONS.items()):
        kind = socket.SOCK_STREAM if level == 6 else socket.SOCK_DGRAM
        with socket.socket(socket.AF_INET6 if level == 41 else socket.AF_INET, kind) as s:
            attempt('socket option: ' + name, lambda: refused_by_a_wall(lambda: s.setsockopt(level, option, value)))
    fd = syscall({'x86_64': 319}.get(MACHINE, 279), b'attack', 0)
    for command in (6, 7, 37, 38):  # F_SETLK, F_SETLKW, F_OFD_SETLK, F_OFD_SETLKW
        lock = struct.pack('=hh4xqqi4x', 1, 0, command, 1, 0)
        attempt('lock of a range (%d)' % command, lambda: refused_by_a_wall(lambda: fcntl.fcntl(fd, command, lock)))
    os.close(fd)


def memory_of(s):
    """Bytes of the receive queue, which has the errors as well."""
    return struct.unpack('=9I', s.getsockopt(socket.SOL_SOCKET, 55, 36))[0]


def errors_kept():
    """Errors that nobody fetches: SO_RCVBUF for each socket, which no limit counts."""
    for family, level, option, address in ((2, 0, 11, '127.0.0.1'), (10, 41, 25, '::1')):
        with socket.socket(family, socket.SOCK_DGRAM) as s:
            s.setsockopt(level, option, 1)
            for _ in range(50):
                try:
                    s.sendto(bytes(1000), (address, 9))
                except OSError:
                    pass
            if memory_of(s) > 0:
                return
    raise OSError('none')


def stamps_by_message():
    """A time stamp, and with it a copy of the packet, that a control message asks for."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for option in (37, 65):  # SO_TIMESTAMPING of both sizes
            control = [(socket.SOL_SOCKET, option, struct.pack('=I', 2))]
            s.sendmsg([bytes(1000)], control, 0, ('127.0.0.1', 9))
        if memory_of(s) == 0:
            raise OSError('none')


def larger_buffer():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        before = s.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2 * before)
        if s.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == before:
            raise OSError('as before')


PRETENDED = {  # x86_64: said to be done, so the kernel does not even miss the descriptor
    'flush a disk of the host': (74, -1),
    'flush data of the host': (75, -1),
    'flush a file system of the host': (306, -1),
    'send a file out of the page cache': (221, -1, 0, 0, 4),
}


def missed(number, args):
    try:
        syscall(number, *args)
    except OSError as e:
        if e.errno == errno.EBADF:
            return
    raise OSError('the kernel has not looked')


def others_share():
    """What the machine has once, for all."""
    import mmap

    if MACHINE == 'x86_64':
        for name, (number, *args) in sorted(PRETENDED.items()):
            attempt(name, lambda: missed(number, args))
    attempt('keep errors', errors_kept)
    attempt('keep packets with their time stamps', stamps_by_message)
    attempt('a larger receive buffer', larger_buffer)
    in_child('filter of our own', lambda: own_filter())
    in_child('a core of our own', lambda: check_zero(libc.prctl(62, 1, 0, 0, 0)))
    memory = mmap.mmap(-1, 4096)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    attempt('name of a memory area', lambda: check_zero(libc.prctl(0x53564D41, 0, ctypes.c_ulong(start), 4096, b'x')))
    attempt(
        'compare our memory with that of others',
        lambda: check_zero(libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(4096), 12)),
    )


def own_filter():
    """Without a program: EFAULT, where the kernel looks for it."""
    if libc.prctl(22, 2, None, 0, 0) == 0 or ctypes.get_errno() != errno.EFAULT:
        raise OSError('the kernel has not looked')


def check_zero(result):
    if result != 0:
        raise OSError('refused')


def injections():
    """Typing into a terminal that is not ours."""
    import fcntl

    for fd in (0, 1, 2):
        attempt('TIOCSTI on %d' % fd, lambda: fcntl.ioctl(fd, 0x5412, b'x'))


calls()
clones()
siblings()
families()
other_abis()
identity()
limits()
huge_pages()
uncounted()
others_share()
injections()
end()
