/* control.c - the connection to the daemon's side. It may go at any time and come back; nothing
 * that runs here depends on it. */
#include "init.h"
#include "protocol.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define FDS_MAX 4 /* descriptors taken with one frame; RUN brings two */
#define ROOM_MSEC 5000 /* for a daemon that does not read */
#define SEALS (F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK)

static struct sb_head frame_head(const struct init *in, enum sb_type type, size_t size)
{
	return (struct sb_head){
		.magic = SB_MAGIC,
		.type = (uint16_t)type,
		.version = (uint16_t)in->options.protocol,
		.size = (uint32_t)size,
	};
}

static int try_to_send(const struct init *in, const void *frame, size_t size, const int *fds, size_t count)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int) * FDS_MAX)];
	} anc = { 0 };
	struct iovec iov = { .iov_base = (void *)frame, .iov_len = size };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	if (in->control_fd < 0)
		return -ENOTCONN;
	if (count > 0) {
		msg.msg_control = anc.buf;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * count);
		struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * count);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * count);
	}
	return sendmsg(in->control_fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

static void drop_if_failed(struct init *in, int r)
{
	if (r == 0 || r == -ENOTCONN)
		return;
	say("cannot send to the daemon: %s", strerror(-r));
	control_drop(in);
}

static void send_frame(struct init *in, const void *frame, size_t size)
{
	drop_if_failed(in, try_to_send(in, frame, size, NULL, 0));
}

static void send_hello(struct init *in)
{
	struct sb_hello hello = {
		.head = frame_head(in, SB_HELLO, sizeof hello),
		.state = in->state,
		.walls = in->walls,
		.landlock_abi = in->landlock_abi,
		.warm = in->options.forkserver,
		.job = in->state == SB_FINISHED  ? in->result.job
		       : in->state == SB_RUNNING ? in->run.job
						 : 0,
		.jobs_done = in->jobs_done,
	};
	send_frame(in, &hello, sizeof hello);
}

/* Without a fork server there is nothing to warm: READY at once. */
void control_send_ready(struct init *in)
{
	if (in->control_fd < 0 || in->warm_told || (in->options.forkserver && !in->server.ready))
		return;
	size_t size = in->options.protocol < 2 ? SB_READY_SIZE_1 : sizeof(struct sb_ready);
	const struct sb_ready ready = { .head = frame_head(in, SB_READY, size), .used_bytes = cgroup_memory() };
	in->warm_told = true;
	send_frame(in, &ready, size);
}

/* There is no run and nothing else to do while the daemon makes room. */
static int send_patiently(const struct init *in, const void *frame, size_t size)
{
	struct pollfd room = { .fd = in->control_fd, .events = POLLOUT };
	int r;
	while ((r = try_to_send(in, frame, size, NULL, 0)) == -EAGAIN)
		if (poll(&room, 1, ROOM_MSEC) <= 0)
			return -ETIMEDOUT;
	return r;
}

static int send_output(const struct init *in, uint32_t stream, uint64_t size)
{
	static struct {
		struct sb_output head;
		char bytes[SB_OUTPUT_MAX];
	} frame;
	uint64_t at = 0;
	do {
		size_t want = size - at < SB_OUTPUT_MAX ? (size_t)(size - at) : SB_OUTPUT_MAX;
		if (pread(in->result_fds[stream], frame.bytes, want, (off_t)at) != (ssize_t)want)
			return -EIO;
		size_t whole = sizeof frame.head + want;
		frame.head = (struct sb_output){ .head = frame_head(in, SB_OUTPUT, whole),
						 .job = in->result.job,
						 .stream = stream };
		int r = send_patiently(in, &frame, whole);
		if (r < 0)
			return r;
		at += want;
	} while (at < size);
	return 0;
}

static int send_result_in_pieces(const struct init *in, size_t size)
{
	int r = send_output(in, 0, in->result.out_size);
	if (r == 0)
		r = send_output(in, 1, in->result.err_size);
	return r < 0 ? r : send_patiently(in, &in->result, size);
}

/* gVisor's kernel hands no descriptor to a process outside, and calls that -EINVAL. */
void control_send_result(struct init *in)
{
	size_t size = in->options.protocol < 2 ? SB_RESULT_SIZE_1 : sizeof in->result;
	in->result.head = frame_head(in, SB_RESULT, size);
	int r = try_to_send(in, &in->result, size, in->result_fds, in->result_fds[0] >= 0 ? 2 : 0);
	if (r == -EINVAL && in->result_fds[0] >= 0 && in->options.protocol >= 3)
		r = send_result_in_pieces(in, size);
	drop_if_failed(in, r);
}

/* ----------------------------------------------------------------------------------- connecting */

void control_drop(struct init *in)
{
	if (in->control_fd < 0)
		return;
	(void)close(in->control_fd);
	in->control_fd = -1;
	in->connect_tries = 0;
	in->away_usec = now_usec();
	in->connect_usec = in->away_usec + USEC_PER_SEC / 10;
}

static int open_control(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof addr.sun_path)
		return -ENAMETOOLONG;
	memcpy(addr.sun_path, path, strlen(path) + 1);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&addr, sizeof addr) < 0) {
		int e = errno;
		(void)close(fd);
		return -e;
	}
	return fd;
}

/* The first fifty tries come every 100 ms, later ones every second: a daemon that restarts is
 * back soon, one that was stopped is not. */
void control_connect(struct init *in)
{
	uint64_t now = now_usec();
	if (in->control_fd >= 0 || now < in->connect_usec)
		return;
	int fd = open_control(in->options.control);
	if (fd < 0) {
		in->connect_usec = now + (++in->connect_tries < 50 ? USEC_PER_SEC / 10 : USEC_PER_SEC);
		return;
	}
	in->control_fd = fd;
	in->warm_told = false;
	send_hello(in);
	control_send_ready(in);
	if (in->state == SB_FINISHED)
		control_send_result(in);
}

/* -------------------------------------------------------------------------------------- reading */

static bool string_known(const char *at, size_t size) { return at[size] == '\0' && strlen(at) == size; }

/* The strings behind the fixed part: everything must be used up, every string end where it says. */
static bool split_strings(const struct sb_run *run, struct run_request *req)
{
	const char *at = (const char *)(run + 1), *end = (const char *)run + run->head.size;
	size_t left = (size_t)(end - at);
	if (run->name_size == 0 || run->name_size > SB_NAME_MAX || run->name_size >= left || run->topic_size > 65535 ||
	    run->env_count > 64)
		return false;
	req->name = at;
	left -= run->name_size + 1;
	if (run->topic_size >= left)
		return false;
	req->topic = req->name + run->name_size + 1;
	req->env = req->topic + run->topic_size + 1;
	if (!string_known(req->name, run->name_size) || !string_known(req->topic, run->topic_size))
		return false;
	at = req->env;
	for (uint32_t i = 0; i < run->env_count; i++) {
		const char *nul = memchr(at, '\0', (size_t)(end - at));
		if (!nul || !memchr(at, '=', (size_t)(nul - at)) || *at == '=')
			return false;
		at = nul + 1;
	}
	return at == end;
}

/* Between the two calls. F_GET_SEALS of what is no memory file, or of one whose kernel is not ours
 * (gVisor's runsc), is an error. */
static int seals_of(int fd)
{
	int seals = fcntl(fd, F_GET_SEALS);
	return seals < 0 ? -errno : seals;
}

/* copy_file - FD's SIZE bytes in a sealed memfd of our own, behind FD's number.
 * false: it has another size, or there is no memory. */
static bool file_copy(int fd, uint64_t size)
{
	static char buf[64 * 1024];
	uint64_t at = 0;
	ssize_t n = 1;
	int mem = memfd_create("copy", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	while (mem >= 0 && at < size && (n = pread(fd, buf, sizeof buf, (off_t)at)) > 0 &&
	       write(mem, buf, (size_t)n) == n)
		at += (uint64_t)n;
	bool whole = mem >= 0 && at == size && fcntl(mem, F_ADD_SEALS, SEALS | F_SEAL_SEAL) == 0 &&
		     lseek(mem, 0, SEEK_SET) == 0 && dup3(mem, fd, O_CLOEXEC) == fd;
	if (mem >= 0)
		(void)close(mem);
	return whole;
}

/* A payload must be what it seems: the script gets this very descriptor as stdin and could
 * change a file that is not sealed. Where nobody can tell, it gets a copy. */
static bool file_sealed(int fd, uint64_t size)
{
	struct stat st;
	int flags = fcntl(fd, F_GETFL), seals = seals_of(fd);
	if (flags < 0 || (flags & O_ACCMODE) != O_RDONLY || fstat(fd, &st) < 0 || (uint64_t)st.st_size != size)
		return false;
	if (seals == -EINVAL)
		return file_copy(fd, size);
	return seals >= 0 && (seals & SEALS) == SEALS && lseek(fd, 0, SEEK_SET) == 0;
}

static void take_run(struct init *in, size_t size, const int *fds, size_t count)
{
	const struct sb_run *run = (const struct sb_run *)in->frame;
	struct run_request req = { .frame = run };
	if (size < sizeof *run) {
		say("a RUN frame of %zu bytes: dropping the connection", size);
		control_drop(in);
	} else if (in->state != SB_IDLE) {
		say("RUN for job %llu while busy: dropping the connection", (unsigned long long)run->job);
		control_drop(in);
	} else if (!split_strings(run, &req) || run->timeout_usec == 0 || run->timeout_usec > UINT64_C(1) << 50 ||
		   run->grace_usec > UINT64_C(1) << 50) {
		run_refuse(in, run->job, "the RUN frame is malformed");
	} else if (count != 2 || !file_sealed(fds[0], run->script_size) || !file_sealed(fds[1], run->payload_size)) {
		run_refuse(in, run->job,
			   "script and payload must come as two read-only, sealed memfds of the sizes named");
	} else {
		req.script_fd = fds[0];
		req.payload_fd = fds[1];
		run_start(in, &req);
	}
}

static void take_frame(struct init *in, size_t size, const int *fds, size_t count)
{
	const struct sb_head *h = (const struct sb_head *)in->frame;
	const struct sb_job_frame *j = (const struct sb_job_frame *)in->frame;
	if (size < sizeof *h || h->magic != SB_MAGIC || h->size != size) {
		say("a frame with a bad head: dropping the connection");
		control_drop(in);
		return;
	}
	if (h->type == SB_RUN)
		take_run(in, size, fds, count);
	else if (h->type == SB_FORGET && size == sizeof *j)
		run_forget(in, j->job);
	else if (h->type == SB_CANCEL && size == sizeof *j)
		run_cancel(in, j->job);
	else
		say("a frame of type %u and %zu bytes, ignoring", h->type, size);
}

static size_t collect_fds(struct msghdr *msg, int fds[FDS_MAX])
{
	size_t count = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n && count < FDS_MAX; i++)
			memcpy(&fds[count++], CMSG_DATA(c) + i * sizeof(int), sizeof(int));
	}
	return count;
}

/* At most a few frames per turn: the run's limits are looked after in between. */
void control_read(struct init *in)
{
	for (int i = 0; i < 8 && in->control_fd >= 0; i++) {
		union {
			struct cmsghdr align;
			char buf[CMSG_SPACE(sizeof(int) * FDS_MAX)];
		} anc;
		int fds[FDS_MAX];
		struct iovec iov = { .iov_base = in->frame, .iov_len = SB_FRAME_MAX };
		struct msghdr msg = {
			.msg_iov = &iov, .msg_iovlen = 1, .msg_control = anc.buf, .msg_controllen = sizeof anc.buf
		};
		ssize_t n = recvmsg(in->control_fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			control_drop(in);
			return;
		}
		size_t count = collect_fds(&msg, fds);
		if (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
			say("a frame that is too long: dropping the connection");
			control_drop(in);
		} else
			take_frame(in, (size_t)n, fds, count);
		for (size_t k = 0; k < count; k++)
			(void)close(fds[k]);
	}
}
