/* filter.c - a seccomp filter for scripts, beside the one the engine applies (seccomp.json).
 * That one is a list of what is allowed and can be replaced or switched off by whoever runs the
 * engine; this one names what must not be, whatever the engine does. Raw BPF: a static init that
 * links libseccomp would be ten times its size.
 *
 * It also closes two holes that Landlock's port rules have: TCP fast open in a send call, and
 * MPTCP. */
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef __x86_64__
#define FILTER_ARCH AUDIT_ARCH_X86_64
#define X32_BIT 0x40000000u
#elif defined __aarch64__
#define FILTER_ARCH AUDIT_ARCH_AARCH64
#else
#error "which architecture is this?"
#endif

#define NEWEST_SYSCALL 470 /* unknown to us: as if the kernel had it not */
#define FILTER_MAX 800
#define NS_FLAGS 0x7e020000u /* CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET */
#define FASTOPEN 0x20000000u /* MSG_FASTOPEN */
#define PARENT 0x8000u /* CLONE_PARENT */
#define HUGE_PAGES 0x40000u /* MAP_HUGETLB */
#define HUGE_FILE 0x4u /* MFD_HUGETLB */
/* In the kernel, but not in every libc header that we need. */
#define IPV6_FREEBIND 78
#define IPV6_FLOWLABEL_MGR 32
#define UDP_ENCAP 100
#define TCP_AO_ADD_KEY 38
#define TCP_AO_LAST 42
#define SO_TIMESTAMP_NEW_64 63 /* .. 65: SO_TIMESTAMPNS, SO_TIMESTAMPING */
#define PR_SCHED_CORE_CALL 62
#define PR_SET_VMA_CALL 0x53564d41u

#define RET_ERRNO(e) (SECCOMP_RET_ERRNO | (e))
/* Said to be done, and not done: for what programs ask for without need and do not expect to
 * fail. */
#define RET_DONE RET_ERRNO(0)

struct filter {
	struct sock_filter code[FILTER_MAX];
	unsigned short size;
};

/* Refused outright. Numbers that an old header lacks are written out; they are the same on all
 * architectures from 424 on. */
static const int denied[] = {
	/* other processes' insides */
	SYS_ptrace,
	SYS_process_vm_readv,
	SYS_process_vm_writev,
	SYS_kcmp,
	438 /* pidfd_getfd */,
	440 /* process_madvise */,
	448 /* process_mrelease */,
	SYS_ioprio_set,
	/* the kernel's wide attack surfaces */
	SYS_bpf,
	SYS_perf_event_open,
	SYS_userfaultfd,
	425,
	426,
	427 /* io_uring_* */,
	SYS_add_key,
	SYS_request_key,
	SYS_keyctl,
	SYS_fanotify_init,
	SYS_fanotify_mark,
	SYS_lookup_dcookie,
	/* Filters of the script's own: a descriptor keeps one after its process has ended, 100 KiB
	 * each in no limit, and their compiled code has a limit for the whole machine. */
	SYS_seccomp,
	/* Nobody may call. A connection that nobody has accepted is in no limit; Landlock's rules
	 * for ports come later than some kernels. */
	SYS_listen,
	SYS_syslog,
	SYS_acct,
	SYS_quotactl,
	443 /* quotactl_fd */,
	SYS_vhangup,
	SYS_name_to_handle_at,
	SYS_open_by_handle_at,
	SYS_personality,
	447 /* memfd_secret */,
	453 /* map_shadow_stack */,
	/* mounts, namespaces, the machine */
	SYS_mount,
	SYS_umount2,
	SYS_pivot_root,
	SYS_chroot,
	428,
	429,
	430,
	431,
	432,
	433 /* open_tree .. fspick */,
	442 /* mount_setattr */,
	457,
	458 /* statmount, listmount */,
	SYS_unshare,
	SYS_setns,
	SYS_swapon,
	SYS_swapoff,
	SYS_reboot,
	SYS_kexec_load,
	SYS_init_module,
	SYS_finit_module,
	SYS_delete_module,
	SYS_sethostname,
	SYS_setdomainname,
	SYS_settimeofday,
	SYS_clock_settime,
	SYS_adjtimex,
	SYS_clock_adjtime,
	SYS_nfsservctl,
	SYS_mknodat,
	/* memory policy of the machine */
	SYS_mbind,
	SYS_set_mempolicy,
	SYS_migrate_pages,
	SYS_move_pages,
	450 /* set_mempolicy_home_node */,
	/* what outlives its maker: System V IPC, message queues */
	SYS_shmget,
	SYS_shmat,
	SYS_shmctl,
	SYS_semget,
	SYS_semop,
	SYS_semctl,
	SYS_semtimedop,
	SYS_msgget,
	SYS_msgsnd,
	SYS_msgrcv,
	SYS_msgctl,
	SYS_mq_open,
	SYS_mq_unlink,
	SYS_mq_timedsend,
	SYS_mq_timedreceive,
	SYS_mq_notify,
	SYS_mq_getsetattr,
	/* modes, owners, times: Landlock does not know them, and the nodes in /dev are for all
	 * to touch */
	SYS_fchmod,
	SYS_fchmodat,
	452 /* fchmodat2 */,
	SYS_fchown,
	SYS_fchownat,
	SYS_utimensat,
	SYS_setxattr,
	SYS_lsetxattr,
	SYS_fsetxattr,
	SYS_removexattr,
	SYS_lremovexattr,
	SYS_fremovexattr,
	463,
	466 /* setxattrat, removexattrat */,
	469 /* file_setattr */,
#ifdef __x86_64__
	SYS_chmod,
	SYS_chown,
	SYS_lchown,
	SYS_utime,
	SYS_utimes,
	SYS_futimesat,
	SYS_modify_ldt,
	SYS_iopl,
	SYS_ioperm,
	SYS_mknod,
	SYS_uselib,
	SYS_ustat,
	SYS_sysfs,
	SYS__sysctl,
	SYS_kexec_file_load,
#endif
};

/* Said to be done. A script has no file to write, but a read-only mount leads to file systems of
 * this host, whose disks would be flushed a thousand times a second, for nobody's account. */
static const int pretended[] = { SYS_fsync, SYS_fdatasync, SYS_sync, SYS_syncfs };

static void insn_emit(struct filter *f, uint16_t code, uint32_t k, uint8_t jt, uint8_t jf)
{
	if (f->size < FILTER_MAX)
		f->code[f->size++] = (struct sock_filter){ .code = code, .k = k, .jt = jt, .jf = jf };
}

static void insn_load(struct filter *f, size_t offset)
{
	insn_emit(f, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

/* The low half of an argument: all we ask about are ints to the kernel. Both architectures are
 * little-endian. */
static void load_arg(struct filter *f, int n) { insn_load(f, offsetof(struct seccomp_data, args) + (size_t)n * 8); }

static void insn_ret(struct filter *f, uint32_t action) { insn_emit(f, BPF_RET | BPF_K, action, 0, 0); }

static void ret_if_equal(struct filter *f, uint32_t k, uint32_t action)
{
	insn_emit(f, BPF_JMP | BPF_JEQ | BPF_K, k, 0, 1);
	insn_ret(f, action);
}

static void ret_if_any(struct filter *f, uint32_t mask, uint32_t action)
{
	insn_emit(f, BPF_JMP | BPF_JSET | BPF_K, mask, 0, 1);
	insn_ret(f, action);
}

/* call NR { ...; the rest is allowed }: begin_call() .. end_call() */
static unsigned short begin_call(struct filter *f, int nr)
{
	insn_emit(f, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)nr, 0, 0);
	return f->size;
}

static void end_call(struct filter *f, unsigned short begun)
{
	insn_ret(f, SECCOMP_RET_ALLOW);
	f->code[begun - 1].jf = (uint8_t)(f->size - begun);
}

static void rule_socket(struct filter *f)
{
	unsigned short call = begin_call(f, SYS_socket);
	load_arg(f, 0);
	ret_if_equal(f, AF_UNIX, SECCOMP_RET_ALLOW);
	insn_emit(f, BPF_JMP | BPF_JEQ | BPF_K, AF_INET, 2, 0);
	insn_emit(f, BPF_JMP | BPF_JEQ | BPF_K, AF_INET6, 1, 0);
	insn_ret(f, RET_ERRNO(EAFNOSUPPORT));
	load_arg(f, 1);
	insn_emit(f, BPF_ALU | BPF_AND | BPF_K, 0xf, 0, 0);
	insn_emit(f, BPF_JMP | BPF_JEQ | BPF_K, SOCK_STREAM, 0, 4);
	load_arg(f, 2);
	ret_if_equal(f, 0, SECCOMP_RET_ALLOW);
	insn_emit(f, BPF_JMP | BPF_JEQ | BPF_K, 6 /* TCP */, 5, 6);
	insn_emit(f, BPF_JMP | BPF_JEQ | BPF_K, SOCK_DGRAM, 0, 5);
	load_arg(f, 2);
	ret_if_equal(f, 0, SECCOMP_RET_ALLOW);
	insn_emit(f, BPF_JMP | BPF_JEQ | BPF_K, 17 /* UDP */, 0, 1);
	insn_ret(f, SECCOMP_RET_ALLOW);
	insn_ret(f, RET_ERRNO(EPROTONOSUPPORT));
	end_call(f, call);
}

static void rule_fast_open(struct filter *f, int nr, int arg)
{
	unsigned short call = begin_call(f, nr);
	load_arg(f, arg);
	ret_if_any(f, FASTOPEN, RET_ERRNO(EOPNOTSUPP));
	end_call(f, call);
}

/* Scheduling calls may aim at any process of one's user, and init is that for the moment
 * kill_scripts() takes. */
static void rule_not_init(struct filter *f, int nr)
{
	unsigned short call = begin_call(f, nr);
	load_arg(f, 0);
	ret_if_equal(f, 1, RET_ERRNO(EPERM));
	end_call(f, call);
}

/* NR is refused if any bit of MASK is set in ARG. */
static void rule_not_with(struct filter *f, int nr, int arg, uint32_t mask)
{
	unsigned short call = begin_call(f, nr);
	load_arg(f, arg);
	ret_if_any(f, mask, RET_ERRNO(EPERM));
	end_call(f, call);
}

/* Limit the size of core dumps: only asked for, never set. See CORE_NONE in walls.c. */
static void rules_core(struct filter *f)
{
	unsigned short call = begin_call(f, SYS_setrlimit);
	load_arg(f, 0);
	ret_if_equal(f, RLIMIT_CORE, RET_ERRNO(EPERM));
	end_call(f, call);
	call = begin_call(f, SYS_prlimit64);
	load_arg(f, 1);
	insn_emit(f, BPF_JMP | BPF_JEQ | BPF_K, RLIMIT_CORE, 1, 0);
	insn_ret(f, SECCOMP_RET_ALLOW);
	load_arg(f, 2); /* the new limit: a pointer of two halves */
	ret_if_any(f, UINT32_MAX, RET_ERRNO(EPERM));
	insn_load(f, offsetof(struct seccomp_data, args) + 2 * 8 + 4);
	ret_if_any(f, UINT32_MAX, RET_ERRNO(EPERM));
	end_call(f, call);
}

/* Options of sockets that are refused, from FIRST to LAST of LEVEL. Those "uncounted" make the
 * kernel keep memory that is in no limit of a control group, up to optmem_max or SO_RCVBUF for each
 * socket, or without any end. No script needs them: multicast is closed anyway. */
struct option_range {
	uint32_t level, first, last;
};

static const struct option_range options_refused[] = {
	{ SOL_SOCKET, SO_TIMESTAMP, SO_TIMESTAMP }, /* a switch of the whole machine */
	{ SOL_SOCKET, SO_TIMESTAMPNS, SO_TIMESTAMPNS }, /* likewise */
	{ SOL_SOCKET, SO_TIMESTAMPING, SO_TIMESTAMPING }, /* likewise; uncounted: the queue of errors */
	{ SOL_SOCKET, SO_ZEROCOPY, SO_ZEROCOPY }, /* uncounted: the queue of errors; pages of all nobodies */
	{ SOL_SOCKET, SO_TIMESTAMP_NEW_64, SO_TIMESTAMP_NEW_64 + 2 },
	{ SOL_SOCKET, SO_ATTACH_FILTER, SO_ATTACH_FILTER }, /* uncounted; compiled by the kernel */
	{ SOL_SOCKET, SO_ATTACH_BPF, SO_ATTACH_REUSEPORT_EBPF }, /* likewise */
	{ IPPROTO_IP, IP_OPTIONS, IP_OPTIONS }, /* source routes */
	{ IPPROTO_IP, IP_FREEBIND, IP_XFRM_POLICY }, /* addresses that are not ours; IPsec */
	{ IPPROTO_IP, IP_TRANSPARENT, IP_TRANSPARENT }, /* addresses that are not ours */
	{ IPPROTO_IP, IP_ADD_MEMBERSHIP, MCAST_MSFILTER }, /* uncounted: multicast groups */
	{ IPPROTO_TCP, TCP_MD5SIG, TCP_MD5SIG }, /* uncounted: keys */
	{ IPPROTO_TCP, TCP_ULP, TCP_MD5SIG_EXT }, /* TLS in the kernel; uncounted: keys */
	{ IPPROTO_TCP, TCP_AO_ADD_KEY, TCP_AO_LAST }, /* uncounted: keys */
	{ IPPROTO_UDP, UDP_ENCAP, UDP_ENCAP }, /* IPsec in UDP */
	{ IPPROTO_IPV6, IPV6_2292RTHDR, IPV6_2292PKTOPTIONS }, /* source routes; uncounted: options */
	{ IPPROTO_IPV6, IPV6_JOIN_GROUP, IPV6_LEAVE_GROUP }, /* uncounted: multicast groups */
	{ IPPROTO_IPV6, IPV6_JOIN_ANYCAST, IPV6_LEAVE_ANYCAST }, /* uncounted: addresses */
	{ IPPROTO_IPV6, IPV6_FLOWLABEL_MGR, IPV6_XFRM_POLICY }, /* a table of all hosts'; IPsec */
	{ IPPROTO_IPV6, MCAST_JOIN_GROUP, MCAST_MSFILTER }, /* uncounted: multicast groups */
	{ IPPROTO_IPV6, IPV6_RTHDR, IPV6_RTHDR }, /* source routes */
	{ IPPROTO_IPV6, IPV6_TRANSPARENT, IPV6_TRANSPARENT }, /* addresses that are not ours */
	{ IPPROTO_IPV6, IPV6_FREEBIND, IPV6_FREEBIND }, /* likewise */
};

/* Said to be done. The C library's resolver sets IP_RECVERR and gives up if it cannot; without it
 * a port that is closed still answers. SO_RCVBUF bounds the queue of errors, which no limit counts:
 * it stays as it is. */
static const struct option_range options_pretended[] = {
	{ SOL_SOCKET, SO_RCVBUF, SO_RCVBUF },
	{ IPPROTO_IP, IP_RECVERR, IP_RECVERR },
	{ IPPROTO_IP, IP_RECVERR_RFC4884, IP_RECVERR_RFC4884 },
	{ IPPROTO_IPV6, IPV6_RECVERR, IPV6_RECVERR },
	{ IPPROTO_IPV6, IPV6_RECVERR_RFC4884, IPV6_RECVERR_RFC4884 },
};

static void rules_for_options(struct filter *f, const struct option_range *options, size_t count, uint32_t action)
{
	for (size_t i = 0; i < count; i++) {
		load_arg(f, 1);
		insn_emit(f, BPF_JMP | BPF_JEQ | BPF_K, options[i].level, 0, 4);
		load_arg(f, 2);
		insn_emit(f, BPF_JMP | BPF_JGE | BPF_K, options[i].first, 0, 2);
		insn_emit(f, BPF_JMP | BPF_JGT | BPF_K, options[i].last, 1, 0);
		insn_ret(f, action);
	}
}

static void rule_socket_options(struct filter *f)
{
	unsigned short call = begin_call(f, SYS_setsockopt);
	rules_for_options(f, options_refused, sizeof options_refused / sizeof options_refused[0], RET_ERRNO(EPERM));
	rules_for_options(f, options_pretended, sizeof options_pretended / sizeof options_pretended[0], RET_DONE);
	end_call(f, call);
}

/* NR with VALUE in ARG ends with ACTION. */
static void rule_not_equal(struct filter *f, int nr, int arg, uint32_t value, uint32_t action)
{
	unsigned short call = begin_call(f, nr);
	load_arg(f, arg);
	ret_if_equal(f, value, action);
	end_call(f, call);
}

/* As if the kernel had none of it: filters (see SYS_seccomp); a core of one's own, which leaves the
 * core's other thread idle; names of memory areas, which are uncounted. */
static void rule_prctl(struct filter *f)
{
	unsigned short call = begin_call(f, SYS_prctl);
	load_arg(f, 0);
	ret_if_equal(f, PR_SET_SECCOMP, RET_ERRNO(EINVAL));
	ret_if_equal(f, PR_SCHED_CORE_CALL, RET_ERRNO(EINVAL));
	ret_if_equal(f, PR_SET_VMA_CALL, RET_ERRNO(EINVAL));
	end_call(f, call);
}

/* The image's files are in the page cache once, for all sandboxes: nobody sends them out of it. And
 * nobody's memory is compared with that of others. */
static void rules_memory(struct filter *f)
{
	rule_not_equal(f, SYS_fadvise64, 3, POSIX_FADV_DONTNEED, RET_DONE);
	rule_not_equal(f, SYS_madvise, 2, MADV_MERGEABLE, RET_ERRNO(EINVAL));
}

/* Locks of ranges of a file are in no limit, and there is no file that a script could write.
 * flock() is another call: it has one lock for each open file. */
static void rule_locks(struct filter *f)
{
	static const uint32_t commands[] = { F_SETLK, F_SETLKW, F_OFD_SETLK, F_OFD_SETLKW };
	unsigned short call = begin_call(f, SYS_fcntl);
	load_arg(f, 1);
	for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
		ret_if_equal(f, commands[i], RET_ERRNO(ENOLCK));
	end_call(f, call);
}

static void rules_by_argument(struct filter *f)
{
	unsigned short call;
	rule_not_with(f, SYS_mmap, 3, HUGE_PAGES); /* often called: it comes first */
	rule_not_with(f, SYS_memfd_create, 1, HUGE_FILE);
	rules_core(f);
	rule_socket_options(f);
	rule_locks(f);
	rule_prctl(f);
	rules_memory(f);
	rule_socket(f);
	call = begin_call(f, SYS_socketpair);
	load_arg(f, 0);
	ret_if_equal(f, AF_UNIX, SECCOMP_RET_ALLOW);
	insn_ret(f, RET_ERRNO(EAFNOSUPPORT));
	end_call(f, call);
	call = begin_call(f, SYS_clone);
	load_arg(f, 0);
	ret_if_any(f, NS_FLAGS | PARENT, RET_ERRNO(EPERM));
	end_call(f, call);
	rule_fast_open(f, SYS_sendto, 3);
	rule_fast_open(f, SYS_sendmsg, 2);
	rule_fast_open(f, SYS_sendmmsg, 3);
	rule_not_init(f, SYS_sched_setaffinity);
	rule_not_init(f, SYS_sched_setscheduler);
	rule_not_init(f, SYS_sched_setparam);
	rule_not_init(f, SYS_sched_setattr);
	call = begin_call(f, SYS_setpriority);
	load_arg(f, 0);
	insn_emit(f, BPF_JMP | BPF_JEQ | BPF_K, 0 /* PRIO_PROCESS */, 1, 0);
	insn_ret(f, RET_ERRNO(EPERM));
	load_arg(f, 1);
	ret_if_equal(f, 1, RET_ERRNO(EPERM));
	end_call(f, call);
	call = begin_call(f, SYS_ioctl);
	load_arg(f, 1);
	ret_if_equal(f, 0x5412 /* TIOCSTI */, RET_ERRNO(EPERM));
	ret_if_equal(f, 0x541c /* TIOCLINUX */, RET_ERRNO(EPERM));
	end_call(f, call);
}

static void filter_build(struct filter *f)
{
	insn_load(f, offsetof(struct seccomp_data, arch));
	insn_emit(f, BPF_JMP | BPF_JEQ | BPF_K, FILTER_ARCH, 1, 0);
	insn_ret(f, SECCOMP_RET_KILL_PROCESS);
	insn_load(f, offsetof(struct seccomp_data, nr));
#ifdef X32_BIT
	insn_emit(f, BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 0, 1);
	insn_ret(f, SECCOMP_RET_KILL_PROCESS);
#endif
	insn_emit(f, BPF_JMP | BPF_JGT | BPF_K, NEWEST_SYSCALL, 0, 1);
	insn_ret(f, RET_ERRNO(ENOSYS));
	/* Its flags lie in memory, where a filter cannot look: libraries fall back to clone on
	 * ENOSYS. */
	ret_if_equal(f, 435 /* clone3 */, RET_ERRNO(ENOSYS));
	for (size_t i = 0; i < sizeof denied / sizeof denied[0]; i++)
		ret_if_equal(f, (uint32_t)denied[i], RET_ERRNO(EPERM));
	for (size_t i = 0; i < sizeof pretended / sizeof pretended[0]; i++)
		ret_if_equal(f, (uint32_t)pretended[i], RET_DONE);
	rules_by_argument(f);
	insn_ret(f, SECCOMP_RET_ALLOW);
}

/* SPEC_ALLOW: without it some kernels switch off speculation for whoever has a filter, and
 * Python runs a third slower. gVisor's knows no such flag. */
int filter_install(void)
{
	static struct filter f;
	if (f.size == 0)
		filter_build(&f);
	if (f.size >= FILTER_MAX)
		return -E2BIG;
	struct sock_fprog prog = { .len = f.size, .filter = f.code };
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &prog) == 0 ||
	    (errno == EINVAL && syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) == 0))
		return 0;
	return -errno;
}
