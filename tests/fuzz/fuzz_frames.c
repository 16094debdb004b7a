/* fuzz_frames.c - frames from a sandbox's init to docker-sandbox, by way of a real control
 * socket. The input is a row of packets: a byte that says how many and what kind of descriptors
 * come along, two bytes of size, then the packet. What the hooks are handed must be as control.h
 * promises. */
#include "fuzz.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "control.h"
#include "fuzz_host.h"

static int dir_fd = -1, kinds[4];
static char folder[64];
static struct control control;
static bool over;

static void on_hello(void *data, const struct sb_hello *hello)
{
	(void)data;
	must(hello->head.type == SB_HELLO && hello->head.size == sizeof *hello);
}

static void on_ready(void *data, uint64_t used_bytes)
{
	(void)data;
	(void)used_bytes;
}

static void on_result(void *data, const struct sb_result *result, const int fds[2])
{
	struct stat st;

	(void)data;
	must(memchr(result->message, 0, sizeof result->message));
	must((fds[0] < 0) == (fds[1] < 0));
	for (int i = 0; i < 2; i++)
		if (fds[i] >= 0)
			must(fstat(fds[i], &st) == 0 && S_ISREG(st.st_mode) &&
			     (uint64_t)st.st_size >= (i ? result->err_size : result->out_size));
		else
			must(result->out_size == 0 && result->err_size == 0);
}

static void on_closed(void *data)
{
	(void)data;
	over = true;
}

static void on_violation(void *data, const char *what)
{
	(void)data;
	must(what && *what);
	over = true;
	control_close(&control);
}

static void clean(void)
{
	(void)unlinkat(dir_fd, "socket", 0);
	(void)rmdir(folder);
}

static void prepare(void)
{
	(void)snprintf(folder, sizeof folder, "/tmp/fuzz-frames.XXXXXX");
	must(mkdtemp(folder));
	dir_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	kinds[0] = memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	must(dir_fd >= 0 && ftruncate(kinds[0], 100) == 0);
	must(fcntl(kinds[0], F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) == 0);
	kinds[1] = memfd_create("open", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	kinds[2] = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	kinds[3] = dir_fd;
	must(atexit(clean) == 0);
}

static int connect_to_control(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	(void)snprintf(address.sun_path, sizeof address.sun_path, "%s/socket", folder);
	must(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
	return fd;
}

static void send_packet(int fd, uint8_t with, const void *data, size_t size)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * 7)];
	} anc = { 0 };
	struct iovec iov = { (void *)(uintptr_t)data, size };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	size_t count = with & 7;

	if (count > 0) {
		msg.msg_control = anc.bytes;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * count);
		struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * count);
		for (size_t i = 0; i < count; i++)
			memcpy(CMSG_DATA(c) + i * sizeof(int), &kinds[with >> (i & 1 ? 5 : 3) & 3], sizeof(int));
	}
	(void)sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct control_hooks hooks = { on_hello, on_ready, on_result, on_closed, on_violation, NULL };

	if (dir_fd < 0)
		prepare();
	over = false;
	must(control_open(&control, &fuzz_host, dir_fd, &hooks) == 0);
	int fd = connect_to_control();
	(void)fuzz_host_turn();
	for (size_t at = 0; at + 3 <= size && !over;) {
		size_t n = data[at + 1] | (size_t)data[at + 2] << 8;
		if (n > size - at - 3)
			n = size - at - 3;
		send_packet(fd, data[at], data + at + 3, n);
		at += 3 + n;
		while (!over && fuzz_host_turn())
			;
	}
	(void)close(fd);
	while (fuzz_host_turn())
		;
	control_close(&control);
	fuzz_host_reset();
	/* nothing it was handed is left open */
	int next = dup(kinds[2]);
	must(next >= 0 && next < 64);
	(void)close(next);
	return 0;
}
