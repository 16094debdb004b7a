/* server.c - the warm interpreter: forkserver.py, root with SETUID and SETGID behind all walls.
 * It keeps one child forked ahead which waits for the RUN frame on the same socket, so a job
 * finds everything ready; the server itself only waits for it and tells how it ended. */
#include "init.h"
#include "protocol.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define FAILURES_MAX 3 /* servers that end before they are warm, in a row */

/* What it tells: it is warm; the child with JOB has ended (0: it had none); it has ended before
 * the script began. Numbers as in forkserver.py. */
enum server_type { SERVER_READY = 1, SERVER_DONE, SERVER_FAILED };
struct server_frame {
	uint32_t type;
	int32_t status;
	uint64_t job, user_usec, system_usec, max_rss_bytes;
};

/* 0, 1: nothing; 2: ours, for its own complaints; 3: the socket; 4: its code; 5: the note, its
 * own: a successor warms up beside it; 6: its place in the kernel's queue of those to kill when
 * memory is short. */
static int place_fds(const struct init *in, int sock, int oom_fd)
{
	int note = memfd_create("note", MFD_CLOEXEC);
	const int from[7] = {
		in->null_fd, in->null_fd, STDERR_FILENO, sock, in->code_fd, note, oom_fd >= 0 ? oom_fd : in->null_fd
	};
	int high[7];

	if (note < 0)
		return -errno;
	for (int i = 0; i < 7; i++)
		if ((high[i] = fcntl(from[i], F_DUPFD_CLOEXEC, HIGH_FD)) < 0)
			return -errno;
	for (int i = 0; i < 7; i++)
		if (dup2(high[i], i) < 0)
			return -errno;
	return 0;
}

__attribute__((noreturn)) static void become_server(const struct init *in, int sock)
{
	char score[16] = "0", job_score[16] = "0";
	char stub[] = "import os;exec(compile(os.pread(4,1<<20,0),'<forkserver>','exec'))";
	/* argv[0] is the whole path: Python finds its library by it. */
	char *const argv[] = { (char *)in->options.python,  (char *)"-c", stub, (char *)"serve", score, job_score,
			       (char *)in->options.preload, NULL };
	/* what the Python side blanks stands last, from HOME on */
	char *const env[] = { (char *)"PATH=/usr/local/bin:/usr/bin:/bin", (char *)"LANG=C.UTF-8",
			      (char *)"HOME=/nonexistent", (char *)"LD_BIND_NOW=1", NULL };
	sigset_t none;
	(void)sigemptyset(&none);
	int oom_fd = oom_score_open(score, job_score);
	if (place_fds(in, sock, oom_fd) < 0 || chdir(SB_SCRIPTS_DIR) < 0 || setsid() < 0 || walls_limits() < 0)
		say("fork server: cannot prepare: %s", strerror(errno));
	else if (walls_enter(in) < 0 || walls_keep_setid() < 0)
		say("fork server: cannot put up the walls: %s", strerror(errno));
	else if (sigprocmask(SIG_SETMASK, &none, NULL) == 0) {
		(void)execve(in->options.python, argv, env);
		say("%s: %s", in->options.python, strerror(errno));
	}
	_exit(127);
}

static int start(struct init *in, struct server *server)
{
	int ends[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	pid_t pid = fork();
	if (pid == 0)
		become_server(in, ends[1]);
	(void)close(ends[1]);
	if (pid < 0) {
		int e = errno;
		(void)close(ends[0]);
		return -e;
	}
	*server = (struct server){ .pid = pid, .fd = ends[0] };
	return 0;
}

void server_stop(struct server *server)
{
	if (server->fd >= 0)
		(void)close(server->fd);
	/* It ends by itself when its socket does, unless it hangs. Its spare child sees the same
	 * end of file. */
	if (server->pid > 0)
		(void)kill(server->pid, SIGKILL);
	*server = (struct server){ .fd = -1 };
}

bool server_usable(const struct init *in) { return in->options.forkserver && in->server.pid > 0; }

/* A job that comes before it is warm waits in the socket. Its descriptors: script, payload, stdin
 * if that is a pipe, stdout and stderr if they are captured. */
int server_run(struct init *in, const struct run_request *req, const struct script_fds *script)
{
	int fds[5] = { req->script_fd, req->payload_fd };
	size_t count = 2;
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof fds)];
	} anc = { 0 };
	if (script->in >= 0)
		fds[count++] = script->in;
	if (script->out >= 0) {
		fds[count++] = script->out;
		fds[count++] = script->err;
	}
	struct iovec iov = { .iov_base = (void *)req->frame, .iov_len = req->frame->head.size };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = anc.buf,
			      .msg_controllen = CMSG_SPACE(sizeof(int) * count) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int) * count);
	memcpy(CMSG_DATA(c), fds, sizeof(int) * count);
	if (sendmsg(in->server.fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return -errno;
	in->server.jobs++;
	return 0;
}

static void became_ready(struct init *in, struct server *server)
{
	server->ready = true;
	in->server_failures = 0;
	control_send_ready(in);
}

/* Its frames are checked like the daemon's: a script's child could have found a hole in the
 * interpreter before it dropped. */
static bool take(struct init *in, struct server *server, const struct server_frame *frame, ssize_t n)
{
	if (n != (ssize_t)sizeof *frame)
		return false;
	if (frame->type == SERVER_READY) {
		became_ready(in, server);
		return true;
	}
	if (frame->type != SERVER_DONE && frame->type != SERVER_FAILED)
		return false;
	if (in->run.phase == RUN_NONE || in->run.pid > 0 || server != &in->server || frame->job != in->run.job)
		return true; /* a spare child that ended before it had a job */
	struct rusage ru = {
		.ru_utime = { .tv_sec = (time_t)(frame->user_usec / USEC_PER_SEC),
			      .tv_usec = (suseconds_t)(frame->user_usec % USEC_PER_SEC) },
		.ru_stime = { .tv_sec = (time_t)(frame->system_usec / USEC_PER_SEC),
			      .tv_usec = (suseconds_t)(frame->system_usec % USEC_PER_SEC) },
		.ru_maxrss = (long)(frame->max_rss_bytes / 1024),
	};
	in->run.unstarted = frame->type == SERVER_FAILED;
	run_main_ended(in, frame->status, &ru);
	return true;
}

void server_read(struct init *in, struct server *server)
{
	struct server_frame frame;
	ssize_t n = recv(server->fd, &frame, sizeof frame, MSG_DONTWAIT | MSG_TRUNC);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0 && take(in, server, &frame, n))
		return;
	/* Its end, or nonsense: SIGCHLD follows and server_exited() does the rest. */
	if (n > 0)
		say("the fork server sent a malformed message: ending it");
	(void)kill(server->pid, SIGKILL);
	(void)close(server->fd);
	server->fd = -1;
}

bool server_exited(struct init *in, pid_t pid)
{
	struct server *server = pid == in->server.pid ? &in->server : pid == in->successor.pid ? &in->successor : NULL;
	if (!server || pid <= 0)
		return false;
	bool was_ready = server->ready;
	if (server->fd >= 0)
		(void)close(server->fd);
	*server = (struct server){ .fd = -1 };
	if (!was_ready && ++in->server_failures >= FAILURES_MAX) {
		say("the fork server does not start: every run starts a new interpreter from now on");
		in->options.forkserver = false;
		in->server_retry_usec = USEC_NEVER;
		control_send_ready(in);
	} else
		in->server_retry_usec = now_usec() + USEC_PER_SEC / 100 * (1 + 10 * in->server_failures);
	if (server == &in->server)
		run_server_died(in);
	return true;
}

/* A server that has served enough is replaced by one that is warm already: between two runs,
 * without a gap. */
static void replace(struct init *in)
{
	if (in->successor.pid == 0 && in->server_retry_usec == USEC_NEVER) {
		if (start(in, &in->successor) < 0)
			in->server_retry_usec = now_usec() + USEC_PER_SEC;
		return;
	}
	if (!in->successor.ready)
		return;
	server_stop(&in->server);
	in->server = in->successor;
	in->successor = (struct server){ .fd = -1 };
}

void server_keep(struct init *in)
{
	if (!in->options.forkserver || in->run.phase != RUN_NONE)
		return;
	if (in->server_retry_usec != USEC_NEVER) {
		if (now_usec() < in->server_retry_usec)
			return;
		in->server_retry_usec = USEC_NEVER;
	}
	if (in->server.pid == 0) {
		if (start(in, &in->server) < 0)
			in->server_retry_usec = now_usec() + USEC_PER_SEC;
	} else if (in->server.jobs >= in->options.max_forks)
		replace(in);
}
