/* disk.c - a file system in memory for SQLite, and descriptors that may run out.
 *
 * The files outlive the daemon. A daemon that has died (world.dead) writes no more; nor does
 * anybody on a broken disk. */
#include "sim.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define FILES_MAX 4
#define SHM_REGIONS_MAX 64

struct file {
	char name[128];
	char *data;
	size_t size, capacity, unsynced;
	bool exists;
};

static struct file files[FILES_MAX], kept[FILES_MAX];
static void *shm[SHM_REGIONS_MAX]; /* the WAL's index: of one life */
static bool disk_broken;

struct handle {
	sqlite3_file base;
	struct file *file;
};

/* ---------------------------------------------------------------------------------------- files */

static struct file *file_find(const char *name, bool make)
{
	struct file *unused = NULL;

	for (size_t i = 0; i < FILES_MAX; i++) {
		if (files[i].exists && streq(files[i].name, name))
			return &files[i];
		if (!files[i].exists && !unused)
			unused = &files[i];
	}
	if (!make)
		return NULL;
	assert(unused && strlen(name) < sizeof unused->name);
	(void)snprintf(unused->name, sizeof unused->name, "%s", name);
	unused->exists = true;
	unused->size = unused->unsynced = 0;
	return unused;
}

static void file_grow(struct file *file, size_t size)
{
	if (size > file->capacity) {
		file->capacity = size < 65536 ? 65536 : 2 * size;
		file->data = realloc(file->data, file->capacity);
	}
	if (size > file->size) {
		memset(file->data + file->size, 0, size - file->size);
		file->size = size;
	}
}

static void file_copy(struct file *to, const struct file *from)
{
	char *data = to->data;
	size_t capacity = to->capacity;

	*to = *from;
	to->data = data;
	to->capacity = capacity;
	to->size = 0;
	if (from->size > 0) {
		file_grow(to, from->size);
		memcpy(to->data, from->data, from->size);
	}
}

static bool cannot_write(void) { return disk_broken || world.dead; }

static int on_close(sqlite3_file *base)
{
	(void)base;
	return SQLITE_OK;
}

static int on_read(sqlite3_file *base, void *to, int size, sqlite3_int64 at)
{
	const struct file *file = ((struct handle *)base)->file;
	size_t offset = (size_t)at, wanted = (size_t)size;
	size_t there = offset < file->size ? file->size - offset : 0;

	if (there >= wanted) {
		memcpy(to, file->data + offset, wanted);
		return SQLITE_OK;
	}
	memset(to, 0, wanted);
	if (there > 0)
		memcpy(to, file->data + offset, there);
	return SQLITE_IOERR_SHORT_READ;
}

static int on_write(sqlite3_file *base, const void *from, int size, sqlite3_int64 at)
{
	struct file *file = ((struct handle *)base)->file;

	if (cannot_write())
		return SQLITE_FULL;
	file_grow(file, (size_t)at + (size_t)size);
	memcpy(file->data + at, from, (size_t)size);
	file->unsynced += (size_t)size;
	return SQLITE_OK;
}

static int on_truncate(sqlite3_file *base, sqlite3_int64 size)
{
	struct file *file = ((struct handle *)base)->file;

	if (cannot_write())
		return SQLITE_IOERR_TRUNCATE;
	file_grow(file, (size_t)size);
	file->size = (size_t)size;
	return SQLITE_OK;
}

static int on_sync(sqlite3_file *base, int flags)
{
	(void)flags;
	if (cannot_write())
		return SQLITE_IOERR_FSYNC;
	((struct handle *)base)->file->unsynced = 0;
	return SQLITE_OK;
}

static int on_size(sqlite3_file *base, sqlite3_int64 *ret)
{
	*ret = (sqlite3_int64)((struct handle *)base)->file->size;
	return SQLITE_OK;
}

static int on_lock(sqlite3_file *base, int lock)
{
	(void)base, (void)lock;
	return SQLITE_OK;
}

static int on_check_lock(sqlite3_file *base, int *ret)
{
	(void)base;
	*ret = 0;
	return SQLITE_OK;
}

static int on_control(sqlite3_file *base, int what, void *data)
{
	(void)base, (void)what, (void)data;
	return SQLITE_NOTFOUND;
}

static int on_sector(sqlite3_file *base)
{
	(void)base;
	return 4096;
}

static int on_device(sqlite3_file *base)
{
	(void)base;
	return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

static int on_shm_map(sqlite3_file *base, int region, int size, int extend, void volatile **ret)
{
	(void)base;
	if (region >= SHM_REGIONS_MAX)
		return SQLITE_NOMEM;
	if (!shm[region] && extend)
		shm[region] = calloc(1, (size_t)size);
	*ret = shm[region];
	return SQLITE_OK;
}

static int on_shm_lock(sqlite3_file *base, int offset, int n, int flags)
{
	(void)base, (void)offset, (void)n, (void)flags;
	return SQLITE_OK;
}

static void on_shm_barrier(sqlite3_file *base) { (void)base; }

static int on_shm_unmap(sqlite3_file *base, int delete)
{
	(void)base, (void)delete;
	for (size_t i = 0; i < SHM_REGIONS_MAX; i++) {
		free(shm[i]);
		shm[i] = NULL;
	}
	return SQLITE_OK;
}

static const sqlite3_io_methods methods = {
	.iVersion = 2,
	.xClose = on_close,
	.xRead = on_read,
	.xWrite = on_write,
	.xTruncate = on_truncate,
	.xSync = on_sync,
	.xFileSize = on_size,
	.xLock = on_lock,
	.xUnlock = on_lock,
	.xCheckReservedLock = on_check_lock,
	.xFileControl = on_control,
	.xSectorSize = on_sector,
	.xDeviceCharacteristics = on_device,
	.xShmMap = on_shm_map,
	.xShmLock = on_shm_lock,
	.xShmBarrier = on_shm_barrier,
	.xShmUnmap = on_shm_unmap,
};

/* ------------------------------------------------------------------------------ the file system */

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *base, int flags, int *ret_flags)
{
	struct handle *handle = (struct handle *)base;

	(void)vfs;
	handle->file = file_find(name ? name : "temporary", true);
	handle->base.pMethods = &methods;
	if (ret_flags)
		*ret_flags = flags;
	return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
	struct file *file = file_find(name, false);

	(void)vfs, (void)sync;
	if (cannot_write())
		return SQLITE_IOERR_DELETE;
	if (!file)
		return SQLITE_IOERR_DELETE_NOENT;
	file->exists = false;
	return SQLITE_OK;
}

static int vfs_access(sqlite3_vfs *vfs, const char *name, int flags, int *ret)
{
	const struct file *file = file_find(name, false);

	(void)vfs, (void)flags;
	*ret = file && file->size > 0;
	return SQLITE_OK;
}

static int vfs_full_name(sqlite3_vfs *vfs, const char *name, int size, char *ret)
{
	(void)vfs;
	(void)snprintf(ret, (size_t)size, "%s", name);
	return SQLITE_OK;
}

static int vfs_random(sqlite3_vfs *vfs, int size, char *ret)
{
	uint64_t state = world.seed;

	(void)vfs;
	for (int i = 0; i < size; i++)
		ret[i] = (char)draw(&state, 256);
	return size;
}

static int vfs_sleep(sqlite3_vfs *vfs, int usec)
{
	(void)vfs;
	return usec;
}

static int vfs_time(sqlite3_vfs *vfs, double *ret)
{
	(void)vfs;
	*ret = 2461000.5;
	return SQLITE_OK;
}

static int vfs_error(sqlite3_vfs *vfs, int size, char *ret)
{
	(void)vfs, (void)size, (void)ret;
	return 0;
}

static sqlite3_vfs vfs = {
	.iVersion = 1,
	.szOsFile = sizeof(struct handle),
	.mxPathname = 256,
	.zName = "sim",
	.xOpen = vfs_open,
	.xDelete = vfs_delete,
	.xAccess = vfs_access,
	.xFullPathname = vfs_full_name,
	.xRandomness = vfs_random,
	.xSleep = vfs_sleep,
	.xCurrentTime = vfs_time,
	.xGetLastError = vfs_error,
};

void disk_begin(void)
{
	static bool registered;

	if (!registered)
		(void)sqlite3_vfs_register(&vfs, 1);
	registered = true;
	disk_broken = false;
	for (size_t i = 0; i < FILES_MAX; i++)
		file_copy(&files[i], &kept[i]);
	descriptors_limit(UINT32_MAX);
}

void disk_end(void)
{
	for (size_t i = 0; i < FILES_MAX; i++) {
		free(files[i].data);
		free(kept[i].data);
		files[i] = kept[i] = (struct file){ 0 };
	}
}

void disk_keep(void)
{
	for (size_t i = 0; i < FILES_MAX; i++)
		file_copy(&kept[i], &files[i]);
}

/* What the journal asks of its files, and of their file system. */

int __real_stat(const char *path, struct stat *ret);
int __wrap_stat(const char *path, struct stat *ret);
int __wrap_statvfs(const char *path, struct statvfs *ret);

int __wrap_stat(const char *path, struct stat *ret)
{
	const struct file *file = file_find(path, false);

	if (!file)
		return __real_stat(path, ret);
	*ret = (struct stat){ .st_mode = S_IFREG | 0600, .st_size = (off_t)file->size };
	return 0;
}

int __wrap_statvfs(const char *path, struct statvfs *ret)
{
	(void)path;
	*ret = (struct statvfs){ .f_frsize = 4096, .f_bavail = 1 << 24 };
	return 0;
}

void disk_break(bool broken) { disk_broken = broken; }

size_t disk_unsynced(void)
{
	size_t sum = 0;

	for (size_t i = 0; i < FILES_MAX; i++)
		if (files[i].exists && strstr(files[i].name, "-wal"))
			sum += files[i].unsynced;
	return sum;
}

/* ---------------------------------------------------------------------------------- descriptors */

#define DESCRIPTOR_FIRST 1000000 /* above all real ones */

struct descriptor {
	bool open;
	size_t size;
	char content[120];
};

static struct descriptor *descriptors;
static unsigned descriptor_slots, descriptor_count, descriptor_limit = UINT32_MAX, descriptor_next;

int __real_close(int fd);
int __wrap_close(int fd);
int __wrap_memfd_sealed(const char *name, const void *data, size_t size);

static int descriptor_slot(void)
{
	for (unsigned i = 0; i < descriptor_slots; i++) {
		unsigned slot = (descriptor_next + i) % descriptor_slots;
		if (!descriptors[slot].open)
			return (int)slot;
	}
	unsigned slots = descriptor_slots ? 2 * descriptor_slots : 64;
	descriptors = realloc(descriptors, slots * sizeof *descriptors);
	memset(descriptors + descriptor_slots, 0, (slots - descriptor_slots) * sizeof *descriptors);
	int slot = (int)descriptor_slots;
	descriptor_slots = slots;
	return slot;
}

int __wrap_memfd_sealed(const char *name, const void *data, size_t size)
{
	(void)name;
	if (descriptor_count >= descriptor_limit)
		return -EMFILE;
	int slot = descriptor_slot();
	struct descriptor *d = &descriptors[slot];
	d->open = true;
	d->size = size < sizeof d->content - 1 ? size : sizeof d->content - 1;
	if (d->size > 0)
		memcpy(d->content, data, d->size);
	d->content[d->size] = 0;
	descriptor_count++;
	descriptor_next = (unsigned)slot + 1;
	return DESCRIPTOR_FIRST + slot;
}

int __wrap_close(int fd)
{
	unsigned slot = (unsigned)(fd - DESCRIPTOR_FIRST);

	if (fd < DESCRIPTOR_FIRST)
		return __real_close(fd);
	if (slot >= descriptor_slots || !descriptors[slot].open)
		sim_fail("a descriptor is closed that is not open");
	descriptors[slot].open = false;
	descriptor_count--;
	return 0;
}

const char *descriptor_content(int fd, size_t *ret_size)
{
	unsigned slot = (unsigned)(fd - DESCRIPTOR_FIRST);

	if (slot >= descriptor_slots || !descriptors[slot].open)
		sim_fail("an executor is given a descriptor that is not open");
	*ret_size = descriptors[slot].size;
	return descriptors[slot].content;
}

void descriptors_limit(unsigned limit) { descriptor_limit = limit; }
unsigned descriptors_open(void) { return descriptor_count; }
bool descriptors_short(unsigned wanted)
{
	return descriptor_limit - (descriptor_count < descriptor_limit ? descriptor_count : descriptor_limit) < wanted;
}
