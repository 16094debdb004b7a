/* metrics_self.c - see metrics_self.h. The usual names begin with `process_`; a file for
 * node_exporter must not have those, for they are node_exporter's own. */
#include "metrics_self.h"
#include "metrics_row.h"
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

static double cpu_sec(void)
{
	struct rusage usage;

	if (getrusage(RUSAGE_SELF, &usage) < 0)
		return 0;
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static double resident_bytes(void)
{
	FILE *file = fopen("/proc/self/statm", "re");
	uint64_t pages = 0;

	if (!file || fscanf(file, "%*u %" SCNu64, &pages) != 1)
		pages = 0;
	if (file)
		(void)fclose(file);
	return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

/* open_fds - without the one that counts. */
static unsigned open_fds(void)
{
	DIR *folder = opendir("/proc/self/fd");
	unsigned count = 0;

	if (!folder)
		return 0;
	for (const struct dirent *entry; (entry = readdir(folder));)
		count += entry->d_name[0] != '.';
	(void)closedir(folder);
	return count - 1;
}

void metrics_send_self(struct control_reply *reply)
{
	struct rlimit limit = { 0 };

	(void)getrlimit(RLIMIT_NOFILE, &limit);
	metrics_one(reply, "listenerd_process_cpu_seconds_total", "counter", "CPU time that listenerd has used.",
		    cpu_sec());
	metrics_one(reply, "listenerd_process_resident_memory_bytes", "gauge", "Memory of listenerd.",
		    resident_bytes());
	metrics_one(reply, "listenerd_process_open_fds", "gauge", "Open descriptors of listenerd.", open_fds());
	metrics_one(reply, "listenerd_process_max_fds", "gauge", "How many it may have.", (double)limit.rlim_cur);
}
