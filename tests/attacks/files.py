# files.py - is there one place where a script can create, change, rename, truncate or chmod
# anything?
# null, zero, full: to be written to
HARMLESS = {os.makedev(1, 3), os.makedev(1, 5), os.makedev(1, 7)}
BIG = ('/usr', '/lib', '/etc', '/var', '/opt')  # of these a few files per folder are enough
# looked at not as deep
SKIP = ('/proc/sys/', '/sys/kernel/', '/sys/devices/', '/sys/module/', '/sys/fs/cgroup/')
O_TMPFILE = getattr(os, 'O_TMPFILE', 0o20200000)


def close(fd):
    os.close(fd)


def in_folder(path):
    """Everything one can make in a folder."""
    probe = os.path.join(path, '.attack-%d' % os.getpid())

    def made(what, make, unmake=os.unlink):
        if attempt('%s in %s' % (what, path), make) is not None or os.path.lexists(probe):
            try:
                unmake(probe)
            except OSError:
                pass

    made('create', lambda: close(os.open(probe, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600)))
    made('mkdir', lambda: os.mkdir(probe), os.rmdir)
    made('symlink', lambda: os.symlink('/etc/passwd', probe))
    made('link', lambda: os.link('/proc/self/fd/0', probe))
    made('fifo', lambda: os.mkfifo(probe))
    made('device', lambda: os.mknod(probe, 0o666 | stat.S_IFCHR, os.makedev(1, 3)))
    made('file node', lambda: os.mknod(probe, 0o666 | stat.S_IFREG))
    made('unix socket', lambda: socket.socket(socket.AF_UNIX).bind(probe))
    attempt('unnamed file in ' + path, lambda: close(os.open(path, O_TMPFILE | os.O_RDWR, 0o600)))
    change(path)


def change(path):
    """Everything one can do to what is there. Nothing that succeeds does lasting harm."""
    info = os.lstat(path)
    attempt('chmod ' + path, lambda: os.chmod(path, stat.S_IMODE(info.st_mode)))
    attempt('chmod to other of ' + path, lambda: os.chmod(path, stat.S_IMODE(info.st_mode) ^ 0o022))
    attempt(
        'chown ' + path,
        lambda: os.chown(path, os.getuid(), os.getgid()) if info.st_uid != os.getuid() else os.chown(path, 1, 1),
    )
    # times there are of what the kernel makes up on the spot, of our own process
    if not path.startswith('/proc/'):
        attempt('touch ' + path, lambda: os.utime(path))
        attempt('utime ' + path, lambda: os.utime(path, (1, 1)))
    attempt('setxattr ' + path, lambda: os.setxattr(path, 'user.attack', b'1'))
    attempt('rename ' + path, lambda: rename_and_back(path))


def rename_and_back(path):
    os.rename(path, path + '.attack')
    os.rename(path + '.attack', path)


def on_file(path):
    info = os.stat(path)
    if info.st_rdev in HARMLESS and stat.S_ISCHR(info.st_mode):
        change(path)
        return
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_APPEND):
        attempt(
            'open for writing (%o) %s' % (flags, path),
            lambda: close(os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)),
        )
    if stat.S_ISREG(info.st_mode):
        attempt('truncate ' + path, lambda: os.truncate(path, info.st_size))
    change(path)
    if not path.startswith('/proc/') and not path.startswith('/sys/'):
        attempt('link beside ' + path, lambda: (os.link(path, path + '.attack'), os.unlink(path + '.attack')))


def walk():
    own = {'/proc/self', '/proc/thread-self', '/proc/%d' % os.getpid()}
    for top, folders, files in os.walk('/', onerror=None):
        parts = top.split('/')
        if len(parts) > 2 and parts[1] == 'proc' and parts[2].isdigit() and int(parts[2]) != os.getpid():
            folders[:] = []
        if len(parts) > (4 if top.startswith(SKIP) else 7) or '/task/' in top + '/' and top.startswith('/proc'):
            folders[:] = []
        try:
            if top not in own:
                in_folder(top)
        except OSError:
            pass
        if top.startswith(BIG):
            files = files[:2]
        for name in files:
            path = os.path.join(top, name)
            try:
                if not os.path.islink(path):
                    on_file(path)
            except OSError:
                pass


def devices():
    """Things that appear by being opened: terminals, shared memory, queues."""
    try:
        fds = os.openpty()
        change(os.ttyname(fds[1]))
        os.close(fds[0])
        os.close(fds[1])
    except OSError:
        pass
    for path in ('/dev/ptmx', '/dev/pts/ptmx'):
        for flags in (os.O_RDWR, os.O_RDONLY, os.O_WRONLY):
            attempt(
                'a pseudo terminal by opening %s (%o)' % (path, flags),
                lambda: close(os.open(path, flags | os.O_NOCTTY)),
            )
    attempt('pseudo terminal', os.openpty)
    for name in ('/dev/shm', '/dev/mqueue', '/tmp', '/var/tmp', '/run', '/run/lock', '/scripts', '/dev'):
        attempt('a file in ' + name, lambda: close(os.open(name + '/x', os.O_CREAT | os.O_RDWR, 0o600)))
    attempt('shm_open', lambda: check(libc.shm_open(b'/attack', os.O_CREAT | os.O_RDWR, 0o600)))
    attempt('sem_open', lambda: check(-(libc.sem_open(b'/attack', os.O_CREAT, 0o600, 1) in (0, -1))))
    attempt('mq_open', lambda: check(libc.mq_open(b'/attack', os.O_CREAT | os.O_RDWR, 0o600, None)))


def check(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), 'refused')
    return result


def own_descriptors():
    """What we were handed: the payload must not change under another script that reads the same
    event."""
    for fd in range(0, 64):
        try:
            info = os.fstat(fd)
        except OSError:
            continue
        path = '/proc/self/fd/%d' % fd
        if not stat.S_ISREG(info.st_mode):
            continue
        for flags in (os.O_WRONLY, os.O_RDWR):

            def write():
                other = os.open(path, flags)
                try:
                    os.pwrite(other, b'X', 0)
                finally:
                    os.close(other)

            attempt('write to descriptor %d' % fd, write)
        attempt('truncate descriptor %d' % fd, lambda: os.truncate(path, 0))
        attempt('grow descriptor %d' % fd, lambda: os.truncate(path, 1 << 20))
        attempt('fchmod descriptor %d' % fd, lambda: os.fchmod(fd, 0o777))
        attempt('touch descriptor %d' % fd, lambda: os.utime(fd))
        attempt('touch by path descriptor %d' % fd, lambda: os.utime(path))
        attempt('setxattr descriptor %d' % fd, lambda: os.setxattr(fd, 'user.attack', b'1'))


def ways_around():
    """The same places by other names."""
    for root in ('/proc/self/root', '/proc/self/cwd', '/proc/thread-self/root', '/proc/1/root', '/proc/1/cwd'):
        for sub in ('', '/tmp', '/scripts', '/dev/shm', '/var/tmp'):
            attempt(
                'create by way of ' + root + sub,
                lambda: close(os.open(root + sub + '/x', os.O_CREAT | os.O_WRONLY, 0o600)),
            )
    for name in ('/tmp', '/', '/scripts'):
        try:
            fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            continue
        attempt('openat in ' + name, lambda: close(os.open('x', os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=fd)))
        attempt('mkdirat in ' + name, lambda: os.mkdir('x', dir_fd=fd))
        attempt('fchmod ' + name, lambda: os.fchmod(fd, 0o777))
        os.close(fd)
    for name in (
        'oom_score_adj',
        'coredump_filter',
        'comm',
        'clear_refs',
        'uid_map',
        'gid_map',
        'setgroups',
        'timerslack_ns',
        'loginuid',
        'attr/current',
        'autogroup',
        'mem',
        'timens_offsets',
    ):
        attempt('open for writing /proc/self/' + name, lambda: close(os.open('/proc/self/' + name, os.O_WRONLY)))


devices()
ways_around()
own_descriptors()
walk()
end()
