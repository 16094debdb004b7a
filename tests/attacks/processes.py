# processes.py - what can be done to processes that are not ours: init, the fork server, its spare
# child, other runs.
NR = {
    'x86_64': dict(
        ptrace=101,
        process_vm_readv=310,
        process_vm_writev=311,
        pidfd_getfd=438,
        pidfd_open=434,
        pidfd_send_signal=424,
        kcmp=312,
        move_pages=279,
        migrate_pages=256,
        ioprio_set=251,
        setns=308,
        sched_setattr=314,
        process_madvise=440,
        process_mrelease=448,
        prlimit64=302,
        tgkill=234,
        tkill=200,
        rt_sigqueueinfo=129,
        get_robust_list=274,
        setpgid=109,
        perf_event_open=298,
    )
}.get(MACHINE, {})


def number(name):
    if name not in NR:
        raise OSError(errno.ENOSYS, 'not known here')
    return NR[name]


def kill_group(group):
    # 0 would mean our own group, 1 everybody, and that never fails
    if group in (0, 1, os.getpgrp()):
        raise OSError('none, or ours')
    os.killpg(group, 0)


def signals(pid):
    for n in (0, signal.SIGTERM, signal.SIGSTOP, signal.SIGCONT, signal.SIGWINCH, signal.SIGKILL):
        attempt('kill %d with %d' % (pid, n), lambda: os.kill(pid, n))
        attempt('tgkill %d with %d' % (pid, n), lambda: syscall(number('tgkill'), pid, pid, n))
    attempt('killpg %d' % pid, lambda: kill_group(os.getpgid(pid)))
    attempt(
        'sigqueue %d' % pid,
        lambda: syscall(number('rt_sigqueueinfo'), pid, 10, struct.pack('=iii', 10, 0, -1) + bytes(116)),
    )

    def by_pidfd():
        fd = syscall(number('pidfd_open'), pid, 0)
        syscall(number('pidfd_send_signal'), fd, 0, None, 0)

    attempt('pidfd_send_signal to %d' % pid, by_pidfd)


def insides(pid):
    for request in (16, 0x4206, 12):  # ATTACH, SEIZE, GETREGS
        attempt('ptrace %d request %#x' % (pid, request), lambda: syscall(number('ptrace'), request, pid, 0, 0))
    buffer = ctypes.create_string_buffer(8)
    iov = struct.pack('=QQ', ctypes.addressof(buffer), 8)
    for address in (0x400000, 0x555555554000, id(buffer)):
        remote = struct.pack('=QQ', address, 8)
        attempt('process_vm_readv %d' % pid, lambda: syscall(number('process_vm_readv'), pid, iov, 1, remote, 1, 0))
        attempt('process_vm_writev %d' % pid, lambda: syscall(number('process_vm_writev'), pid, iov, 1, remote, 1, 0))
    attempt('write memory of %d' % pid, lambda: os.close(os.open('/proc/%d/mem' % pid, os.O_RDWR)))

    def take_descriptor():
        fd = syscall(number('pidfd_open'), pid, 0)
        for n in range(0, 20):
            try:
                syscall(number('pidfd_getfd'), fd, n, 0)
                return
            except OSError:
                pass
        raise OSError('none')

    attempt('take a descriptor of %d' % pid, take_descriptor)
    attempt('kcmp with %d' % pid, lambda: syscall(number('kcmp'), os.getpid(), pid, 2, 0, 0))
    attempt(
        'robust list of %d' % pid,
        lambda: syscall(number('get_robust_list'), pid, ctypes.create_string_buffer(8), ctypes.create_string_buffer(8)),
    )
    attempt('map of %d' % pid, lambda: open('/proc/%d/maps' % pid).read(1))


def burdens(pid):
    attempt('renice %d' % pid, lambda: os.setpriority(os.PRIO_PROCESS, pid, 19))
    attempt('renice group of %d' % pid, lambda: os.setpriority(os.PRIO_PGRP, pid, 19))
    attempt('affinity of %d' % pid, lambda: os.sched_setaffinity(pid, {0}))
    attempt('scheduler of %d' % pid, lambda: os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0)))
    attempt(
        'sched_setattr of %d' % pid,
        lambda: syscall(number('sched_setattr'), pid, struct.pack('=IIQiIQQQ', 48, 5, 0, 0, 0, 0, 0, 0), 0),
    )
    attempt('io priority of %d' % pid, lambda: syscall(number('ioprio_set'), 1, pid, 3 << 13))
    for resource in range(16):
        attempt(
            'limit %d of %d' % (resource, pid),
            lambda: syscall(number('prlimit64'), pid, resource, struct.pack('=QQ', 1, 1), None),
        )
    attempt('oom score of %d' % pid, lambda: os.close(os.open('/proc/%d/oom_score_adj' % pid, os.O_WRONLY)))
    attempt('process group of %d' % pid, lambda: os.setpgid(pid, 0))
    attempt(
        'migrate pages of %d' % pid,
        lambda: syscall(number('migrate_pages'), pid, 8, struct.pack('=Q', 1), struct.pack('=Q', 1)),
    )
    attempt('perf events of %d' % pid, lambda: syscall(number('perf_event_open'), bytes(128), pid, -1, -1, 0))


def namespaces(pid):
    for name in ('mnt', 'net', 'pid', 'user', 'uts', 'ipc', 'cgroup', 'time'):

        def enter():
            fd = os.open('/proc/%d/ns/%s' % (pid, name), os.O_RDONLY)
            syscall(number('setns'), fd, 0)

        in_child('enter the %s namespace of %d' % (name, pid), enter)


def everybody():
    attempt('renice everybody of user 0', lambda: os.setpriority(os.PRIO_USER, 0, 19))
    in_child(
        'signal all but ourselves', lambda: (signal.signal(signal.SIGWINCH, signal.SIG_IGN), os.setsid(), to_all())
    )


def to_all():
    """kill(-1) reaches ourselves too; it gets through if somebody is there who is not of our
    making."""
    mine = {os.getpid(), os.getppid()}
    for pid in others():
        if pid not in mine:
            os.kill(pid, 0)
            return
    raise OSError('nobody else')


# Each of them by itself, so that one that harms itself harms nothing else. Between looks a spare
# child may come and go: it is looked for again.
for _ in range(3):
    for target in others():
        signals(target)
        insides(target)
        burdens(target)
    time.sleep(0.02)
for target in others()[:3]:
    namespaces(target)
everybody()
end()
