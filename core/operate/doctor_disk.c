/* doctor_disk.c - the journal's disk: each event waits for one sync of it before it is
 * acknowledged. */
#include "doctor.h"
#include "cleanup.h"
#include "util.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/vfs.h>

#define TRIES 21
#define BLOCK_SIZE 4096
#define SLOW_USEC (20 * USEC_PER_MSEC)
#define TIME_MAX_USEC (10 * USEC_PER_SEC)

#ifndef CIFS_SUPER_MAGIC
#define CIFS_SUPER_MAGIC 0xFF534D42
#endif
#ifndef SMB2_SUPER_MAGIC
#define SMB2_SUPER_MAGIC 0xFE534D42
#endif
#ifndef FUSE_SUPER_MAGIC
#define FUSE_SUPER_MAGIC 0x65735546
#endif

static const struct {
	unsigned long magic;
	const char *name;
	enum lsn_probe_level level;
	const char *what, *remedy;
} known[] = {
	{ TMPFS_MAGIC, "tmpfs", LSN_PROBE_WARNING, "it does not survive a power loss or a restart of the machine",
	  "put [journal] path on a disk" },
	{ RAMFS_MAGIC, "ramfs", LSN_PROBE_WARNING, "it does not survive a power loss or a restart of the machine",
	  "put [journal] path on a disk" },
	{ NFS_SUPER_MAGIC, "NFS", LSN_PROBE_FAILURE, "SQLite's write-ahead log is not safe on a network file system",
	  "put [journal] path on a local disk" },
	{ CIFS_SUPER_MAGIC, "CIFS", LSN_PROBE_FAILURE, "SQLite's write-ahead log is not safe on a network file system",
	  "put [journal] path on a local disk" },
	{ SMB2_SUPER_MAGIC, "SMB", LSN_PROBE_FAILURE, "SQLite's write-ahead log is not safe on a network file system",
	  "put [journal] path on a local disk" },
	{ FUSE_SUPER_MAGIC, "FUSE", LSN_PROBE_WARNING, "what a sync means there depends on its server",
	  "put [journal] path on a local disk" },
	{ OVERLAYFS_SUPER_MAGIC, "overlayfs", LSN_PROBE_WARNING, "it is deleted with its container",
	  "put [journal] path on a volume" },
};

static void check_type(const struct doctor_sink *sink, const char *folder)
{
	struct statfs fs;

	if (statfs(folder, &fs) < 0) {
		doctor_report(sink, LSN_PROBE_FAILURE, "journal", "see [journal] path", "cannot examine %s: %s", folder,
			      strerror(errno));
		return;
	}
	for (size_t i = 0; i < ELEMENTSOF(known); i++)
		if ((unsigned long)fs.f_type == known[i].magic)
			doctor_report(sink, known[i].level, "journal", known[i].remedy, "%s is on %s: %s", folder,
				      known[i].name, known[i].what);
}

static int open_nameless(const char *folder)
{
	char path[4096];

	int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR))
		return fd;
	(void)snprintf(path, sizeof path, "%s/.doctor-XXXXXX", folder);
	fd = mkostemp(path, O_CLOEXEC);
	if (fd >= 0)
		(void)unlink(path);
	return fd;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

/* time_syncs - append and sync, as SQLite does with its log. Returns how many TIMES there are,
 * or a negative errno. */
static int time_syncs(int fd, uint64_t times[TRIES])
{
	static const char block[BLOCK_SIZE];
	uint64_t began = now_monotonic_usec();
	int n = 0;

	while (n < TRIES && !doctor_child_stopping() && now_monotonic_usec() - began < TIME_MAX_USEC) {
		uint64_t start = now_monotonic_usec();
		if (write(fd, block, sizeof block) != (ssize_t)sizeof block || fdatasync(fd) < 0)
			return errno ? -errno : -EIO;
		times[n++] = now_monotonic_usec() - start;
	}
	qsort(times, (size_t)n, sizeof *times, compare);
	return n;
}

void doctor_disk(const struct doctor_sink *sink, const char *journal_path)
{
	_cleanup_free_ char *folder = strdup(journal_path);
	char *slash = folder ? strrchr(folder, '/') : NULL;
	uint64_t times[TRIES];

	if (!slash)
		return;
	slash[slash == folder] = 0;
	check_type(sink, folder);
	_cleanup_close_ int fd = open_nameless(folder);
	int n = fd < 0 ? -errno : time_syncs(fd, times);
	if (n < 0) {
		doctor_report(sink, LSN_PROBE_FAILURE, "journal", "see [journal] path",
			      "cannot store anything in %s: %s", folder, strerror(-n));
		return;
	}
	if (n == 0)
		return;
	uint64_t median = times[n / 2], worst = times[n - 1];
	doctor_report(sink, median > SLOW_USEC ? LSN_PROBE_WARNING : LSN_PROBE_OK, "journal",
		      "each event waits for it: put [journal] path on a faster disk",
		      "storing 4 KiB in %s takes %" PRIu64 ".%" PRIu64 " ms (median of %d, at most %" PRIu64 ".%" PRIu64
		      ")",
		      folder, median / 1000, median % 1000 / 100, n, worst / 1000, worst % 1000 / 100);
}
