/* pressure.h - tells when the machine is short of memory.
 *
 * Where the kernel counts stalls (PSI, /proc/pressure/memory) it wakes us when processes waited for
 * memory a tenth of two seconds, and costs nothing else. A process that reaches a limit of its own
 * waits, too, and is no reason: less than an eighth of the memory must be available. Elsewhere
 * that is looked at every ten seconds, and memory is short when a twentieth is left. Loop thread
 * only. */
#ifndef POOL_PRESSURE_H
#define POOL_PRESSURE_H

#include <listener/executor.h>

#define PRESSURE_PARTS 8
#define PRESSURE_FILE "/proc/pressure/memory"

struct pressure {
	const struct lsn_host *host;
	unsigned parts;
	void (*fn)(void *data);
	void *data;
	int psi_fd, epoll_fd; /* -1: none */
	struct lsn_watch *watch;
	struct lsn_timer *timer;
};

/* pressure_open - FN is called from the loop, at most every two seconds, as long as memory is
 * short. PSI_FILE: PRESSURE_FILE; a file that cannot be used is no error. A stall counts where less
 * than one in PARTS of the memory is available; PRESSURE_PARTS, or 1: always.
 * 0, or negative errno; then nothing is left. */
int pressure_open(struct pressure *pressure, const struct lsn_host *host, const char *psi_file, unsigned parts,
		  void (*fn)(void *data), void *data);
void pressure_close(struct pressure *pressure); /* twice is fine */

/* pressure_counted - the kernel tells; false: we look. */
bool pressure_counted(const struct pressure *pressure);

/* pressure_is_short - MEMINFO, the text of /proc/meminfo, says that less than one in PARTS is
 * available. */
bool pressure_is_short(const char *meminfo, unsigned parts);

/* pressure_now - less than a twentieth of this machine's memory is available. */
bool pressure_now(void);

#endif
