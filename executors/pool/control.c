/* control.c - frames of protocol.h over SOCK_SEQPACKET. */
#include "control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cleanup.h>
#include <util.h>

#include "log_line.h"

#define FDS_MAX 4

/* -------------------------------------------------------------------------------------- sending */

static int send_frame(struct control *control, const void *frame, size_t size, const int *fds, size_t count)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * 2)];
	} anc = { 0 };
	struct iovec iov = { (void *)frame, size };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (control->fd < 0)
		return -ENOTCONN;
	if (count > 0) {
		msg.msg_control = anc.bytes;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * count);
		struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * count);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * count);
	}
	return sendmsg(control->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

static struct sb_head make_head(enum sb_type type, size_t size)
{
	return (struct sb_head){
		.magic = SB_MAGIC, .type = (uint16_t)type, .version = SB_PROTOCOL_VERSION, .size = (uint32_t)size
	};
}

int control_send_job(struct control *control, enum sb_type type, uint64_t job)
{
	struct sb_job_frame frame = { .head = make_head(type, sizeof frame), .job = job };
	return send_frame(control, &frame, sizeof frame, NULL, 0);
}

static char *frame_append(char *at, const char *text, size_t size)
{
	memcpy(at, text, size);
	at[size] = 0;
	return at + size + 1;
}

/* A daemon of 1.2 knows no tests. */
static bool is_test(const struct lsn_job *job)
{
	return job->size >= offsetof(struct lsn_job, test) + sizeof job->test && job->test;
}

/* The whole environment of a script, each string with its NUL. Returns the bytes used. */
static size_t write_env(char *env, size_t size, const struct lsn_job *job, uint32_t *ret_count)
{
	int n = snprintf(
		env, size,
		"PATH=/usr/local/bin:/usr/bin:/bin%cLANG=C.UTF-8%cLISTENER_EVENT=%llu%cLISTENER_JOB=%llu%cLISTENER_ATTEMPT=%u",
		0, 0, (unsigned long long)job->event, 0, (unsigned long long)job->id, 0, job->attempt);
	*ret_count = 5;
	if (job->replay_of > 0) {
		n += 1 + snprintf(env + n + 1, size - (size_t)n - 1, "LISTENER_REPLAY=%llu",
				  (unsigned long long)job->replay_of);
		++*ret_count;
	}
	if (is_test(job)) {
		n += 1 + snprintf(env + n + 1, size - (size_t)n - 1, "LISTENER_TEST=1");
		++*ret_count;
	}
	return (size_t)n + 1;
}

/* A daemon of 1.1 knows files only. */
static bool is_for_pipe(const struct lsn_job *job)
{
	return job->size >= offsetof(struct lsn_job, input) + sizeof job->input && job->input == LSN_INPUT_PIPE;
}

static uint32_t run_flags(const struct lsn_job *job, const struct control_run *run)
{
	return (job->output == LSN_OUTPUT_CAPTURE ? SB_RUN_CAPTURE : 0u) | (run->exec ? SB_RUN_EXEC : 0u) |
	       (is_for_pipe(job) ? SB_RUN_PIPE : 0u);
}

int control_send_run(struct control *control, const struct lsn_job *job, const struct control_run *run)
{
	char env[256];
	uint32_t env_count;
	size_t name_size = strlen(job->script), env_size = write_env(env, sizeof env, job, &env_count);
	size_t size = sizeof(struct sb_run) + name_size + 1 + job->topic_size + 1 + env_size;
	_cleanup_close_ int script = -1, payload = -1;

	if (name_size > SB_NAME_MAX || size > SB_FRAME_MAX)
		return -E2BIG;
	_cleanup_free_ struct sb_run *frame = calloc(1, size);
	if (!frame)
		return -ENOMEM;
	*frame = (struct sb_run){
		.head = make_head(SB_RUN, size),
		.job = job->id,
		.timeout_usec = job->timeout_usec,
		.grace_usec = run->grace_usec,
		.cpu_usec = run->cpu_usec,
		.output_limit_bytes = job->output_limit_bytes,
		.payload_size = job->payload_size,
		.script_size = job->script_size,
		.nofile = run->nofile,
		.name_size = (uint32_t)name_size,
		.topic_size = (uint32_t)job->topic_size,
		.env_count = env_count,
		.flags = run_flags(job, run),
	};
	memcpy(frame->script_version, job->script_version, strnlen(job->script_version, sizeof frame->script_version));
	char *at = frame_append((char *)(frame + 1), job->script, name_size);
	at = frame_append(at, job->topic, job->topic_size);
	memcpy(at, env, env_size);
	script = fd_reopen(job->script_fd);
	payload = fd_reopen(job->payload_fd);
	if (script < 0 || payload < 0)
		return script < 0 ? script : payload;
	const int fds[] = { script, payload };
	control->frames = 0;
	control_expect(control, job->output == LSN_OUTPUT_CAPTURE ? job->output_limit_bytes : 0);
	return send_frame(control, frame, size, fds, 2);
}

/* ------------------------------------------------------------------------------------ receiving */

static bool outcome_fits(const struct sb_result *r)
{
	switch (r->outcome) {
	case LSN_OUTCOME_SUCCESS: return r->exit_status == 0 && r->signal == 0;
	case LSN_OUTCOME_FAILURE: return r->exit_status >= 1 && r->exit_status <= 255 && r->signal == 0;
	case LSN_OUTCOME_SIGNAL: return r->signal >= 1 && r->signal <= 64;
	case LSN_OUTCOME_TIMEOUT:
	case LSN_OUTCOME_MEMORY:
	case LSN_OUTCOME_CPU:
	case LSN_OUTCOME_OUTPUT:
	case LSN_OUTCOME_PROCESSES:
	case LSN_OUTCOME_CANCELLED:
	case LSN_OUTCOME_ERROR:
		return r->exit_status >= 0 && r->exit_status <= 255 && r->signal >= 0 && r->signal <= 64;
	default: /* only we can say LOST and NOT_STARTED */ return false;
	}
}

const char *control_check_result(const void *frame, size_t size, size_t fd_count)
{
	const struct sb_result *r = frame;

	if (size < sizeof r->head || size != (r->head.version < 2 ? SB_RESULT_SIZE_1 : sizeof *r))
		return "a result of the wrong size";
	if (!memchr(r->message, 0, sizeof r->message))
		return "a result whose message has no end";
	if (!outcome_fits(r) || r->clean > 1 || r->out_truncated > 1 || r->err_truncated > 1)
		return "a result that contradicts itself";
	if (fd_count != 0 && fd_count != 2)
		return "a result with the wrong number of descriptors";
	if (fd_count == 0 && (r->out_size || r->err_size))
		return "a result that promises output and brings none";
	return NULL;
}

/* Output must be a memfd that nobody can change any more: reading it can then neither block nor
 * fault. */
static bool is_output(int fd, uint64_t size)
{
	const int wanted = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK;
	int seals = fcntl(fd, F_GET_SEALS);
	struct stat st;

	return seals >= 0 && (seals & wanted) == wanted && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	       st.st_size >= 0 && (uint64_t)st.st_size >= size;
}

static void take_result(struct control *control, const void *frame, size_t size, const int *fds, size_t count)
{
	const struct control_hooks *hooks = &control->hooks;
	const struct sb_result *result = frame;
	int pieces[2];

	if (output_take(&control->output, pieces) && count == 0) {
		fds = pieces;
		count = 2;
	}
	const char *wrong = control_check_result(frame, size, count);
	if (wrong)
		hooks->violation(hooks->data, wrong);
	else if (count == 2 && (!is_output(fds[0], result->out_size) || !is_output(fds[1], result->err_size)))
		hooks->violation(hooks->data, "output that is not a sealed memfd of its size");
	else
		hooks->result(hooks->data, result, count == 2 ? fds : (const int[]){ -1, -1 });
	for (int i = 0; i < 2; i++)
		if (pieces[i] >= 0)
			(void)close(pieces[i]);
}

static void take_output(struct control *control, const void *frame, size_t size)
{
	const char *wrong = output_add(&control->output, frame, size);

	if (wrong)
		control->hooks.violation(control->hooks.data, wrong);
}

static void take_frame(struct control *control, const void *frame, size_t size, const int fds[FDS_MAX], size_t count)
{
	const struct sb_head *head = frame;
	const struct control_hooks *hooks = &control->hooks;

	if (size < sizeof *head || head->magic != SB_MAGIC || head->size != size || head->reserved != 0)
		hooks->violation(hooks->data, "a frame with a bad head");
	else if (head->version == 0 || head->version > SB_PROTOCOL_VERSION)
		hooks->violation(hooks->data, "another version of the protocol");
	else if (head->type == SB_HELLO && size == sizeof(struct sb_hello) && count == 0)
		hooks->hello(hooks->data, frame);
	else if (head->type == SB_READY && size == (head->version < 2 ? SB_READY_SIZE_1 : sizeof(struct sb_ready)) &&
		 count == 0)
		hooks->ready(hooks->data, ((const struct sb_ready *)frame)->used_bytes);
	else if (head->type == SB_OUTPUT && head->version >= 3 && count == 0)
		take_output(control, frame, size);
	else if (head->type == SB_RESULT)
		take_result(control, frame, size, fds, count);
	else
		hooks->violation(hooks->data, "a frame of an unknown type");
}

static size_t collect_fds(struct msghdr *msg, int fds[FDS_MAX])
{
	size_t count = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS || c->cmsg_len < CMSG_LEN(0))
			continue;
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n && count < FDS_MAX; i++)
			memcpy(&fds[count++], CMSG_DATA(c) + i * sizeof(int), sizeof(int));
	}
	return count;
}

static void drop_connection(struct control *control)
{
	control->host->unwatch(control->host->handle, control->watch);
	control->watch = NULL;
	output_clear(&control->output);
	if (control->fd >= 0)
		(void)close(control->fd);
	control->fd = -1;
}

/* What the frame brought was left behind, and there is room for more of it in the message: this
 * process has no descriptors. */
static bool is_shortage(const struct msghdr *msg, size_t count)
{
	return (msg->msg_flags & MSG_CTRUNC) && count < FDS_MAX;
}

/* Init comes again, with the same: it is asked for until there are descriptors. */
static void control_put_off(struct control *control)
{
	drop_connection(control);
	control->connects -= control->connects > 0;
	control->hooks.closed(control->hooks.data);
}

static void socket_readable(void *data, int fd, uint32_t events)
{
	struct control *control = data;
	union {
		struct sb_result align;
		char bytes[sizeof(struct sb_output) + SB_OUTPUT_MAX];
	} frame;
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * FDS_MAX)];
	} anc;
	struct iovec iov = { frame.bytes, sizeof frame.bytes };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = anc.bytes, .msg_controllen = sizeof anc.bytes
	};
	int fds[FDS_MAX];

	(void)events;
	memset(&frame.align, 0, sizeof frame.align); /* what a frame of an older version lacks is 0 */
	ssize_t n = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		drop_connection(control);
		control->hooks.closed(control->hooks.data);
		return;
	}
	size_t count = collect_fds(&msg, fds);
	if (is_shortage(&msg, count))
		control_put_off(control);
	else if (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
		control->hooks.violation(control->hooks.data, "a frame that is too long");
	else if (++control->frames > CONTROL_FRAMES_MAX + output_frames_max(&control->output))
		control->hooks.violation(control->hooks.data, "more frames than one job may have");
	else
		take_frame(control, frame.bytes, (size_t)n, fds, count);
	for (size_t i = 0; i < count; i++)
		(void)close(fds[i]);
}

/* ----------------------------------------------------------------------------------- connecting */

/* A new connection takes the place of the old one: init has only one, and gives up the old
 * before it comes again. Nobody but the container's root can reach the socket; a script that
 * managed to would show its own user id. */
static void accept_init(void *data, int fd, uint32_t events)
{
	struct control *control = data;
	_cleanup_close_ int new_fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct ucred peer;
	socklen_t size = sizeof peer;
	int room = 2 * SB_FRAME_MAX;

	(void)events;
	if (new_fd < 0)
		return;
	if (++control->connects > CONTROL_CONNECTS_MAX) {
		control->hooks.violation(control->hooks.data, "too many connections");
		return;
	}
	if (getsockopt(new_fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 || peer.uid == SB_SCRIPT_UID) {
		control->hooks.violation(control->hooks.data, "a connection of the scripts' user");
		return;
	}
	(void)setsockopt(new_fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
	drop_connection(control);
	control->frames = 0; /* CONTROL_CONNECTS_MAX bounds how often */
	if (control->host->watch(control->host->handle, new_fd, LSN_WATCH_READ, socket_readable, control,
				 &control->watch) < 0)
		return;
	control->fd = TAKE_FD(new_fd);
}

int control_open(struct control *control, const struct lsn_host *host, int dir_fd, const struct control_hooks *hooks)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int r;

	*control = (struct control){ .host = host, .hooks = *hooks, .listen_fd = -1, .fd = -1 };
	output_init(&control->output, 0);
	/* by way of the folder's descriptor: its path may be longer than a socket's address can
	 * be */
	(void)snprintf(addr.sun_path, sizeof addr.sun_path, "/proc/self/fd/%d/socket", dir_fd);
	(void)unlinkat(dir_fd, "socket", 0);
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof addr) < 0 || fchmodat(dir_fd, "socket", 0660, 0) < 0 ||
	    listen(fd, 4) < 0)
		return -errno;
	r = host->watch(host->handle, fd, LSN_WATCH_READ, accept_init, control, &control->listen_watch);
	if (r < 0)
		return r;
	control->listen_fd = TAKE_FD(fd);
	return 0;
}

void control_close(struct control *control)
{
	if (!control->host)
		return;
	drop_connection(control);
	control->host->unwatch(control->host->handle, control->listen_watch);
	control->listen_watch = NULL;
	if (control->listen_fd >= 0)
		(void)close(control->listen_fd);
	control->listen_fd = -1;
}

void control_expect(struct control *control, uint64_t limit_bytes)
{
	output_clear(&control->output);
	output_init(&control->output, limit_bytes);
}

bool control_connected(const struct control *control) { return control->fd >= 0; }
