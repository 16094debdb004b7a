/* walls.c - what scripts are shut in with, besides what the engine does: no capability,
 * Landlock, a seccomp filter (filter.c), another user.
 *
 * Landlock's interface is written down here because the headers of the distributions we build on
 * know its first version only. */
#include "init.h"
#include "protocol.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CAPS_INIT (1u << CAP_SETUID | 1u << CAP_SETGID | 1u << CAP_KILL)
#define CAPS_SERVER (1u << CAP_SETUID | 1u << CAP_SETGID)

/* Where core_pattern is a pipe the kernel starts its helper even with a limit of 0; 1 it takes for
 * the helper's own dump, and starts nothing. */
#define CORE_NONE 1

enum { LL_CREATE_RULESET = 444, LL_ADD_RULE = 445, LL_RESTRICT_SELF = 446 };
enum { LL_RULE_PATH = 1, LL_RULE_PORT = 2 };

#define LL_FS_EXECUTE (UINT64_C(1) << 0)
#define LL_FS_WRITE_FILE (UINT64_C(1) << 1)
#define LL_FS_READ_FILE (UINT64_C(1) << 2)
#define LL_FS_READ_DIR (UINT64_C(1) << 3)
#define LL_FS_ABI_1 ((UINT64_C(1) << 13) - 1) /* execute .. make_sym */
#define LL_FS_REFER (UINT64_C(1) << 13) /* ABI 2 */
#define LL_FS_TRUNCATE (UINT64_C(1) << 14) /* ABI 3 */
#define LL_FS_IOCTL_DEV (UINT64_C(1) << 15) /* ABI 5 */
#define LL_NET_BIND (UINT64_C(1) << 0) /* ABI 4 */
#define LL_NET_CONNECT (UINT64_C(1) << 1)
#define LL_SCOPE_ABSTRACT (UINT64_C(1) << 0) /* ABI 6 */
#define LL_SCOPE_SIGNAL (UINT64_C(1) << 1)

struct ll_ruleset {
	uint64_t fs, net, scoped;
};
struct ll_path {
	uint64_t access;
	int32_t fd;
} __attribute__((packed));
struct ll_port {
	uint64_t access, port;
};

/* ------------------------------------------------------------------------------------- Landlock */

static int allow_path(int ruleset, int dir, const char *name, uint64_t access)
{
	int fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	struct stat st;
	int r = 0;
	if (fstat(fd, &st) < 0)
		r = -errno;
	else if (!S_ISLNK(st.st_mode)) {
		struct ll_path rule = { .access = access, .fd = fd };
		if (!S_ISDIR(st.st_mode))
			rule.access &= ~LL_FS_READ_DIR;
		if (syscall(LL_ADD_RULE, ruleset, LL_RULE_PATH, &rule, 0) < 0)
			r = -errno;
	}
	(void)close(fd);
	return r;
}

static bool is_closed(const char *name)
{
	static const char *const closed[] = { ".", "..", "dev", &SB_DIR[1], &SB_CONTROL_DIR[1] };
	for (size_t i = 0; i < sizeof closed / sizeof closed[0]; i++)
		if (strcmp(name, closed[i]) == 0)
			return true;
	return false;
}

/* Everything in the root may be read and executed but what is ours and /dev; a rule always
 * covers all below, so the entries are named one by one. Folders may be listed anywhere: the
 * root itself must, and the control folder is closed to the script by its mode. */
static int allow_reading(int ruleset)
{
	DIR *root = opendir("/");
	if (!root)
		return -errno;
	int r = allow_path(ruleset, dirfd(root), ".", LL_FS_READ_DIR);
	for (struct dirent *d; r == 0 && (d = readdir(root));) {
		if (is_closed(d->d_name))
			continue;
		r = allow_path(ruleset, dirfd(root), d->d_name, LL_FS_EXECUTE | LL_FS_READ_FILE | LL_FS_READ_DIR);
		if (r == -EACCES || r == -ENOENT)
			r = 0; /* closed to us, so to the script too */
	}
	(void)closedir(root);
	return r;
}

/* One by one: opening /dev/ptmx, if only for reading, makes a terminal in /dev/pts that the
 * script owns and may chmod. */
static int allow_devices(int ruleset, uint64_t handled)
{
	static const struct {
		const char *path;
		uint64_t access;
	} devices[] = {
		{ "/dev/null", LL_FS_READ_FILE | LL_FS_WRITE_FILE | LL_FS_IOCTL_DEV },
		{ "/dev/zero", LL_FS_READ_FILE | LL_FS_WRITE_FILE | LL_FS_IOCTL_DEV },
		{ "/dev/full", LL_FS_READ_FILE | LL_FS_WRITE_FILE | LL_FS_IOCTL_DEV },
		{ "/dev/random", LL_FS_READ_FILE },
		{ "/dev/urandom", LL_FS_READ_FILE },
	};
	for (size_t i = 0; i < sizeof devices / sizeof devices[0]; i++) {
		int r = allow_path(ruleset, AT_FDCWD, devices[i].path, devices[i].access & handled);
		if (r < 0 && r != -ENOENT)
			return r;
	}
	return 0;
}

static int allow_port(int ruleset, unsigned port)
{
	struct ll_port rule = { .access = LL_NET_CONNECT, .port = port };
	return syscall(LL_ADD_RULE, ruleset, LL_RULE_PORT, &rule, 0) < 0 ? -errno : 0;
}

/* Landlock has no ranges. The rules of all unprivileged ports cost 20 ms once per sandbox and
 * some megabytes, and only if FTP data is wanted; not to handle connections at all would open
 * the privileged ports to whoever gets past the firewall. */
static int allow_ports(int ruleset, const struct options *o)
{
	int r = o->dns ? allow_port(ruleset, 53) : 0;
	for (size_t i = 0; r == 0 && i < o->port_count; i++)
		r = allow_port(ruleset, o->ports[i]);
	for (unsigned port = 1024; r == 0 && o->ftp_data && port <= 65535; port++)
		r = allow_port(ruleset, port);
	return r;
}

static struct ll_ruleset handled_by(uint32_t abi)
{
	struct ll_ruleset attr = { .fs = LL_FS_ABI_1 };
	if (abi >= 2)
		attr.fs |= LL_FS_REFER;
	if (abi >= 3)
		attr.fs |= LL_FS_TRUNCATE;
	if (abi >= 4)
		attr.net = LL_NET_BIND | LL_NET_CONNECT;
	if (abi >= 5)
		attr.fs |= LL_FS_IOCTL_DEV;
	if (abi >= 6)
		attr.scoped = LL_SCOPE_ABSTRACT | LL_SCOPE_SIGNAL;
	return attr;
}

static int make_ruleset(struct init *in)
{
	long abi = syscall(LL_CREATE_RULESET, NULL, 0, 1);
	if (abi < 1)
		return 0; /* this kernel has none: the daemon reads it in HELLO and decides */
	in->landlock_abi = (uint32_t)abi;
	struct ll_ruleset attr = handled_by(in->landlock_abi);
	size_t size = abi >= 6   ? sizeof attr
		      : abi >= 4 ? offsetof(struct ll_ruleset, scoped)
				 : offsetof(struct ll_ruleset, net);
	int made = (int)syscall(LL_CREATE_RULESET, &attr, size, 0);
	if (made < 0)
		return -errno;
	int fd = fcntl(made, F_DUPFD_CLOEXEC, HIGH_FD);
	(void)close(made);
	if (fd < 0)
		return -errno;
	int r = allow_reading(fd);
	if (r == 0)
		r = allow_devices(fd, attr.fs);
	if (r == 0 && attr.net)
		r = allow_ports(fd, &in->options);
	if (r < 0) {
		(void)close(fd);
		return r;
	}
	in->ruleset_fd = fd;
	in->walls |= SB_WALL_LANDLOCK_FS | (attr.net ? SB_WALL_LANDLOCK_TCP : 0) |
		     (attr.scoped ? SB_WALL_LANDLOCK_SCOPE : 0);
	return 0;
}

/* --------------------------------------------------------------------------------- capabilities */

static int set_caps(uint32_t permitted, uint32_t inheritable)
{
	struct __user_cap_header_struct hdr = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = {
		{ .effective = permitted, .permitted = permitted, .inheritable = inheritable }
	};
	return syscall(SYS_capset, &hdr, data) < 0 ? -errno : 0;
}

/* An empty bounding set needs SETPCAP once. Without it (an engine configured otherwise) the set
 * stays as the engine left it, which no-new-privileges makes harmless; the wall is then not
 * claimed. */
static bool empty_bounding_set(void)
{
	bool empty = true;
	for (unsigned long cap = 0; cap < 64; cap++) {
		int r = prctl(PR_CAPBSET_READ, cap, 0, 0, 0);
		if (r == 1 && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			empty = false;
	}
	return empty;
}

int walls_init(struct init *in)
{
	if (getpid() != 1 || geteuid() != 0)
		say("not pid 1 or not root: only good for a trial");
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	in->walls |= SB_WALL_NO_NEW_PRIVS | SB_WALL_SECCOMP;
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	/* What the fork server will inherit must be named while it is in the bounding set. */
	int r = set_caps(CAPS_INIT | 1u << CAP_SETPCAP, CAPS_SERVER);
	if (r < 0)
		r = set_caps(CAPS_INIT, CAPS_SERVER);
	if (r < 0)
		return r;
	if (empty_bounding_set())
		in->walls |= SB_WALL_NO_CAPS;
	r = set_caps(CAPS_INIT, CAPS_SERVER);
	if (r == 0 && setresuid(SB_INIT_UID, 0, 0) < 0)
		r = -errno;
	return r < 0 ? r : make_ruleset(in);
}

/* A root program loses what the (empty) bounding set lacks when it executes, but what it may
 * inherit it keeps. */
int walls_keep_setid(void)
{
	if (setresuid(0, 0, 0) < 0)
		return -errno;
	return set_caps(CAPS_SERVER, CAPS_SERVER);
}

int walls_enter(const struct init *in)
{
	if (in->ruleset_fd >= 0 && syscall(LL_RESTRICT_SELF, in->ruleset_fd, 0) < 0)
		return -errno;
	return filter_install();
}

int walls_drop(void)
{
	if (setgroups(0, NULL) < 0 || setresgid(SB_SCRIPT_GID, SB_SCRIPT_GID, SB_SCRIPT_GID) < 0 ||
	    setresuid(SB_SCRIPT_UID, SB_SCRIPT_UID, SB_SCRIPT_UID) < 0)
		return -errno;
	return set_caps(0, 0);
}

int oom_score_open(char score[16], char job_score[16])
{
	int fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : pread(fd, score, 15, 0);
	score[n > 0 ? n : 0] = '\0';
	long value = strtol(score, NULL, 10);
	(void)snprintf(score, 16, "%ld", value);
	(void)snprintf(job_score, 16, "%ld", value > 800 ? 1000 : value + 200);
	return fd;
}

int walls_limits(void)
{
	static const struct {
		int resource;
		rlim_t limit;
	} table[] = { { RLIMIT_CORE, CORE_NONE },
		      { RLIMIT_MSGQUEUE, 0 },
		      { RLIMIT_MEMLOCK, 64 * 1024 },
		      { RLIMIT_NICE, 0 },
		      { RLIMIT_RTPRIO, 0 } };
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		struct rlimit old = { 0 }, new = { table[i].limit, table[i].limit };
		if (getrlimit((__rlimit_resource_t)table[i].resource, &old) < 0)
			return -errno;
		if (old.rlim_max < new.rlim_max)
			new.rlim_cur = new.rlim_max = old.rlim_max;
		if (old.rlim_cur == new.rlim_cur && old.rlim_max == new.rlim_max)
			continue; /* the engine's filter may refuse to set what it has set */
		if (setrlimit((__rlimit_resource_t)table[i].resource, &new) < 0)
			return -errno;
	}
	return 0;
}
