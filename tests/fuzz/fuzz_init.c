/* fuzz_init.c - the other end: frames that reach sandbox-init. The daemon is not hostile, but a
 * bug there shall not become one in pid 1. Same input as fuzz_frames.c. */
#include "fuzz.h"

#include <fcntl.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "init.h"

static struct init in;
static int memfd = -1;

uint64_t now_usec(void) { return 1; }

void say(const char *format, ...)
{
	char line[512];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(line, sizeof line, format, ap);
	va_end(ap);
}

void run_start(struct init *i, const struct run_request *req)
{
	const char *at = req->env;

	(void)i;
	must(strlen(req->name) == req->frame->name_size && strlen(req->topic) == req->frame->topic_size);
	for (uint32_t n = 0; n < req->frame->env_count; n++) {
		must(strchr(at, '='));
		at += strlen(at) + 1;
	}
	must(at == (const char *)req->frame + req->frame->head.size);
	must(req->frame->timeout_usec > 0 && req->script_fd >= 0 && req->payload_fd >= 0);
}

void run_refuse(struct init *i, uint64_t job, const char *why)
{
	(void)i, (void)job;
	must(why && *why);
}

void run_cancel(struct init *i, uint64_t job) { (void)i, (void)job; }

void run_forget(struct init *i, uint64_t job) { (void)i, (void)job; }

static void prepare(void)
{
	char path[32];
	int fd = memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	must(fd >= 0 && ftruncate(fd, 100) == 0);
	must(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) == 0);
	(void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	memfd = open(path, O_RDONLY | O_CLOEXEC);
	must(memfd >= 0);
	in.frame = malloc(SB_FRAME_MAX);
	must(in.frame);
}

static void send_packet(int fd, const void *data, size_t size, size_t count)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * 7)];
	} anc = { 0 };
	struct iovec iov = { (void *)(uintptr_t)data, size };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (count > 0) {
		msg.msg_control = anc.bytes;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * count);
		struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * count);
		for (size_t i = 0; i < count; i++)
			memcpy(CMSG_DATA(c) + i * sizeof(int), &memfd, sizeof(int));
	}
	(void)sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int ends[2];

	if (memfd < 0)
		prepare();
	must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
	in.control_fd = ends[0];
	for (size_t at = 0; at + 3 <= size && in.control_fd >= 0;) {
		size_t n = data[at + 1] | (size_t)data[at + 2] << 8;
		if (n > size - at - 3)
			n = size - at - 3;
		send_packet(ends[1], data + at + 3, n, data[at] & 7);
		in.state = data[at] >> 3 & 1 ? SB_RUNNING : SB_IDLE;
		at += 3 + n;
		control_read(&in);
	}
	if (in.control_fd >= 0)
		(void)close(in.control_fd);
	in.control_fd = -1;
	(void)close(ends[1]);
	int next = dup(0);
	must(next < 64);
	(void)close(next);
	return 0;
}
