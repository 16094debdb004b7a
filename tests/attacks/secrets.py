# secrets.py - what belongs to others: the connection of init to the daemon, init's memory and
# descriptors, other scripts, the host.


def close(fd):
    os.close(fd)


def sockets():
    """Connect to every socket there is: in the file system, in /proc/net/unix, by names one would
    guess."""
    names = {
        '/listener-control/socket',
        '/var/run/docker.sock',
        '/run/docker.sock',
        '/run/listenerd/control',
        '/run/dbus/system_bus_socket',
        '/run/systemd/notify',
        '/run/containerd/containerd.sock',
        '/dev/log',
    }
    for top, folders, files in os.walk('/'):
        if top.startswith(('/proc', '/sys', '/usr')):
            folders[:] = []
            continue
        for name in files:
            path = os.path.join(top, name)
            try:
                if stat.S_ISSOCK(os.lstat(path).st_mode):
                    names.add(path)
            except OSError:
                pass
    try:
        for line in open('/proc/net/unix').read().splitlines()[1:]:
            if len(line.split(None, 7)) == 8:
                name = line.split(None, 7)[7]
                names.add('\0' + name[1:] if name.startswith('@') else name)
    except OSError:
        pass
    for name in sorted(names):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
            attempt('connect (%d) to %r' % (kind, name), lambda: connect(name, kind))


def connect(name, kind):
    with socket.socket(socket.AF_UNIX, kind) as s:
        s.settimeout(1)
        s.connect(name)


def inherited():
    """Open descriptors beyond the three."""
    global attempts
    for fd in range(3, 4096):
        attempts += 1
        try:
            os.fstat(fd)
        except OSError:
            continue
        target = os.readlink('/proc/self/fd/%d' % fd) if os.path.lexists('/proc/self/fd/%d' % fd) else '?'
        got('descriptor %d is open: %s' % (fd, target))


def processes():
    for pid in others():
        base = '/proc/%d/' % pid
        for name in (
            'environ',
            'mem',
            'maps',
            'auxv',
            'stack',
            'syscall',
            'io',
            'personality',
            'pagemap',
            'smaps',
            'numa_maps',
            'timers',
        ):

            def read():
                with open(base + name, 'rb') as f:
                    if name != 'mem':
                        f.read(1)

            attempt('read ' + base + name, read)
        for name in ('cwd', 'root', 'exe', 'ns/mnt', 'ns/net', 'ns/user'):
            attempt('follow ' + base + name, lambda: os.stat(base + name))
        attempt('list ' + base + 'fd', lambda: os.listdir(base + 'fd'))
        for fd in range(0, 40):
            attempt(
                'open %sfd/%d' % (base, fd), lambda: close(os.open('%sfd/%d' % (base, fd), os.O_RDONLY | os.O_NONBLOCK))
            )
        attempt('map_files ' + base, lambda: os.listdir(base + 'map_files'))


def scripts():
    """Files of the listener, other scripts, what root left lying about."""
    for path in (
        '/listener/sandbox-init',
        '/listener/forkserver.py',
        '/listener/portwall',
        '/listener/seccomp.json',
        '/listener-control',
        '/etc/shadow',
        '/etc/gshadow',
        '/root',
        '/root/.ssh',
        '/root/.docker',
        '/var/lib/listenerd',
        '/etc/listenerd',
        '/var/lib/docker',
        '/etc/ssh/ssh_host_rsa_key',
        '/proc/kcore',
        '/proc/kmsg',
        '/dev/mem',
        '/dev/kmem',
        '/dev/kmsg',
        '/dev/port',
        '/dev/sda',
        '/dev/vda',
        '/dev/fuse',
        '/dev/net/tun',
        '/dev/kvm',
        '/dev/vhost-vsock',
        '/dev/loop0',
        '/dev/mapper/control',
        '/proc/sysrq-trigger',
        '/sys/kernel/debug',
        '/sys/kernel/tracing',
        '/sys/kernel/security',
        '/sys/firmware/dmi',
    ):

        def read():
            if os.path.isdir(path):
                if not os.listdir(path):
                    raise OSError('empty')
            else:
                with open(path, 'rb') as f:
                    if not f.read(1):
                        raise OSError('empty')

        attempt('read ' + path, read)
    try:
        for name in os.listdir('/scripts'):
            got('another script: ' + name)
    except OSError:
        pass


def kernel_files():
    """What of /proc and /sys tells about the machine's keys, addresses and other users."""
    for path in (
        '/proc/keys',
        '/proc/key-users',
        '/proc/kallsyms',
        '/proc/timer_list',
        '/proc/sched_debug',
        '/proc/slabinfo',
        '/proc/vmallocinfo',
        '/proc/sys/kernel/core_pattern',
        '/proc/acpi/wakeup',
        '/proc/scsi/scsi',
    ):

        def write():
            with open(path, 'wb') as f:
                if os.fstat(f.fileno()).st_rdev == os.makedev(1, 3):
                    raise OSError('/dev/null lies over it')

        attempt('write ' + path, write)


sockets()
inherited()
processes()
scripts()
kernel_files()
end()
