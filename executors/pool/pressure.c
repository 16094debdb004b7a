/* pressure.c - see pressure.h. */
#include "pressure.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define TRIGGER "some 200000 2000000" /* usec of stall in usec; whole two seconds: needs no privilege */
#define LOOK_USEC (10 * UINT64_C(1000000))
#define PARTS_LEFT 20

static bool find_kib(const char *meminfo, const char *key, unsigned long long *ret)
{
	const char *line = strstr(meminfo, key);

	return line && sscanf(line + strlen(key), " %llu", ret) == 1;
}

bool pressure_is_short(const char *meminfo, unsigned parts)
{
	unsigned long long total, available;

	return find_kib(meminfo, "MemTotal:", &total) && find_kib(meminfo, "MemAvailable:", &available) &&
	       (parts <= 1 || available < total / parts);
}

static bool is_short_now(unsigned parts)
{
	char text[1024];
	int fd = open("/proc/meminfo", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);

	if (fd >= 0)
		(void)close(fd);
	text[n > 0 ? n : 0] = '\0';
	return pressure_is_short(text, parts);
}

bool pressure_now(void) { return is_short_now(PARTS_LEFT); }

bool pressure_counted(const struct pressure *pressure) { return pressure->watch != NULL; }

/* ---------------------------------------------------------------------------- the kernel tells */

/* An epoll instance of our own: the host's watches know nothing of EPOLLPRI, by which PSI
 * speaks. That it is readable is the whole message: whoever asks for the event takes it, and the
 * host's loop has asked. */
static void on_stall(void *data, int fd, uint32_t events)
{
	struct pressure *pressure = data;

	(void)fd;
	(void)events;
	if (is_short_now(pressure->parts))
		pressure->fn(pressure->data);
}

static int open_trigger(const char *psi_file)
{
	int fd = open(psi_file, O_RDWR | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (write(fd, TRIGGER, sizeof TRIGGER) >= 0)
		return fd;
	int r = -errno;
	(void)close(fd);
	return r;
}

static int watch_stalls(struct pressure *pressure, const char *psi_file)
{
	struct epoll_event event = { .events = EPOLLPRI };
	const struct lsn_host *host = pressure->host;

	pressure->psi_fd = open_trigger(psi_file);
	if (pressure->psi_fd < 0)
		return pressure->psi_fd;
	pressure->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (pressure->epoll_fd < 0 || epoll_ctl(pressure->epoll_fd, EPOLL_CTL_ADD, pressure->psi_fd, &event) < 0)
		return -errno;
	return host->watch(host->handle, pressure->epoll_fd, LSN_WATCH_READ, on_stall, pressure, &pressure->watch);
}

/* ------------------------------------------------------------------------------------- we look */

static int memory_look_later(struct pressure *pressure);

static void memory_look(void *data)
{
	struct pressure *pressure = data;

	pressure->timer = NULL;
	if (pressure_now())
		pressure->fn(pressure->data);
	(void)memory_look_later(pressure);
}

static int memory_look_later(struct pressure *pressure)
{
	return pressure->host->timer(pressure->host->handle, LOOK_USEC, memory_look, pressure, &pressure->timer);
}

/* ---------------------------------------------------------------------------------------- life */

void pressure_close(struct pressure *pressure)
{
	if (!pressure->host)
		return;
	pressure->host->unwatch(pressure->host->handle, pressure->watch);
	pressure->host->timer_cancel(pressure->host->handle, pressure->timer);
	if (pressure->epoll_fd >= 0)
		(void)close(pressure->epoll_fd);
	if (pressure->psi_fd >= 0)
		(void)close(pressure->psi_fd);
	*pressure = (struct pressure){ .psi_fd = -1, .epoll_fd = -1 };
}

int pressure_open(struct pressure *pressure, const struct lsn_host *host, const char *psi_file, unsigned parts,
		  void (*fn)(void *data), void *data)
{
	const struct pressure closed = {
		.host = host, .parts = parts, .fn = fn, .data = data, .psi_fd = -1, .epoll_fd = -1
	};

	*pressure = closed;
	if (watch_stalls(pressure, psi_file) == 0)
		return 0;
	pressure_close(pressure);
	*pressure = closed;
	return memory_look_later(pressure);
}
