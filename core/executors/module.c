/* module.c - see module.h. */
#include "module.h"

#include "log.h"

#include <dirent.h>
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <util.h>

/* What version 1.0 of the ABI had: no module can be smaller. */
#define ABI_SIZE_1_0 (offsetof(struct lsn_executor_module, probe) + sizeof(void (*)(void)))
/* Nothing grows so large in one major version; a larger figure is a struct that begins with
 * something else. */
#define ABI_SIZE_MAX 4096

bool module_name_valid(const char *name)
{
	size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-");

	return n > 0 && n <= MODULE_NAME_MAX && !name[n];
}

/* ----------------------------------------------------------------------------- reading the file */

/* PATH, open as FD, must be beyond the reach of everybody but root and ourselves. */
static int check_owner(int fd, const char *path, struct stat *ret, struct lsn_error *err)
{
	if (fstat(fd, ret) < 0)
		return lsn_error_set(err, -errno, "%s: %s", path, strerror(errno));
	if (ret->st_uid != 0 && ret->st_uid != geteuid())
		return lsn_error_set(err, -EPERM,
				     "%s belongs to user %u, who could put other code into the daemon: chown root '%s'",
				     path, ret->st_uid, path);
	if (ret->st_mode & (S_IWGRP | S_IWOTH))
		return lsn_error_set(
			err, -EPERM,
			"%s can be written by %s, who could put other code into the daemon: chmod go-w '%s'", path,
			ret->st_mode & S_IWOTH ? "everybody" : "its group", path);
	return 0;
}

static int compare_names(const void *a, const void *b) { return strcmp(a, b); }

/* Which modules are there? For the message that one is not. */
static void list_modules(int folder_fd, char *buf, size_t size)
{
	char names[16][MODULE_NAME_MAX + 4];
	int fd = openat(folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *entry;
	size_t count = 0, used = 0;

	while (dir && count < ELEMENTSOF(names) && (entry = readdir(dir))) {
		size_t n = strlen(entry->d_name);
		if (n > 3 && n < sizeof names[0] && streq(entry->d_name + n - 3, ".so"))
			(void)snprintf(names[count++], sizeof names[0], "%.*s", (int)(n - 3), entry->d_name);
	}
	if (dir)
		(void)closedir(dir);
	else if (fd >= 0)
		(void)close(fd);
	qsort(names, count, sizeof names[0], compare_names);
	(void)snprintf(buf, size, "none");
	for (size_t i = 0; i < count && used < size; i++)
		used += (size_t)snprintf(buf + used, size - used, "%s%s", i ? ", " : "", names[i]);
}

static int open_file(const char *folder, const char *name, char *path, size_t path_size, struct lsn_error *err)
{
	/* Opened for searching only: the folder need not be readable by us, and a link in the
	 * path to it is the administrator's own. */
	_cleanup_close_ int folder_fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	char file[MODULE_NAME_MAX + 4], there[256];
	struct stat st;
	int fd, r;

	if (folder_fd < 0)
		return lsn_error_set(err, -errno, "cannot open the folder of modules %s: %s", folder, strerror(errno));
	r = check_owner(folder_fd, folder, &st, err);
	if (r < 0)
		return r;
	(void)snprintf(file, sizeof file, "%s.so", name);
	(void)snprintf(path, path_size, "%s/%s", folder, file);
	fd = openat(folder_fd, file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd >= 0)
		return fd;
	r = -errno;
	if (r == -ELOOP)
		return lsn_error_set(err, -EPERM,
				     "%s is a symbolic link, which others could change: put the file itself there",
				     path);
	if (r != -ENOENT)
		return lsn_error_set(err, r, "cannot open %s: %s", path, strerror(-r));
	list_modules(folder_fd, there, sizeof there);
	return lsn_error_set(err, r, "there is no %s; these modules exist: %s", path, there);
}

static int read_all(int fd, char *data, size_t size)
{
	for (size_t done = 0; done < size;) {
		ssize_t n = pread(fd, data + done, size - done, (off_t)done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EBUSY;
		done += (size_t)n;
	}
	return 0;
}

static bool same_state(const struct stat *a, const struct stat *b)
{
	return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	       a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
	       a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* The bytes of NAME.so, checked. A file that changes while we read would be half of one version
 * and half of another. */
static int read_module(const char *folder, const char *name, char **ret, size_t *ret_size, struct lsn_error *err)
{
	char path[PATH_MAX];
	_cleanup_close_ int fd = open_file(folder, name, path, sizeof path, err);
	_cleanup_free_ char *data = NULL;
	struct stat before, after;
	int r;

	if (fd < 0)
		return fd;
	r = check_owner(fd, path, &before, err);
	if (r < 0)
		return r;
	if (!S_ISREG(before.st_mode))
		return lsn_error_set(err, -EINVAL, "%s is not a regular file", path);
	if (before.st_size <= 0 || before.st_size > MODULE_FILE_MAX)
		return lsn_error_set(err, before.st_size ? -EFBIG : -ENOEXEC, "%s has %jd bytes: not a module", path,
				     (intmax_t)before.st_size);
	data = malloc((size_t)before.st_size);
	if (!data)
		return lsn_error_set(err, -ENOMEM, "out of memory");
	r = read_all(fd, data, (size_t)before.st_size);
	if (r == 0 && (fstat(fd, &after) < 0 || !same_state(&before, &after)))
		r = -EBUSY;
	if (r < 0)
		return lsn_error_set(err, r, "cannot read %s: %s", path,
				     r == -EBUSY ? "it changed while it was read; try again when it has been copied "
						   "completely"
						 : strerror(-r));
	*ret = TAKE_PTR(data);
	*ret_size = (size_t)before.st_size;
	return 0;
}

static int hash_bytes(const void *data, size_t size, char ret[MODULE_HASH_SIZE])
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned int digest_size = 0;

	if (EVP_Digest(data, size, digest, &digest_size, EVP_sha256(), NULL) != 1 || digest_size != 32)
		return -ENOMEM;
	hex_encode(digest, digest_size, ret);
	return 0;
}

/* ------------------------------------------------------------------------- opening and checking */

/* The symbol must be data, and as large as its own `size` says: a struct that lies about its
 * size would have us read its neighbours. */
static int check_symbol(const void *symbol, uint32_t size, struct lsn_error *err)
{
	const ElfW(Sym) *elf = NULL;
	Dl_info info;

	if (!dladdr1(symbol, &info, (void **)&elf, RTLD_DL_SYMENT) || !elf)
		return 0; /* cannot be looked up, so cannot be checked */
	if ((elf->st_info & 0xf) != STT_OBJECT)
		return lsn_error_set(err, -ELIBBAD, "its symbol %s is not a struct", LSN_EXECUTOR_SYMBOL);
	if (elf->st_size < size)
		return lsn_error_set(err, -ELIBBAD, "its struct %s has %zu bytes but says size = %u",
				     LSN_EXECUTOR_SYMBOL, (size_t)elf->st_size, size);
	return 0;
}

static int check_head(const struct lsn_executor_module *abi, struct lsn_error *err)
{
	if (abi->version >> 16 != LSN_ABI_MAJOR)
		return lsn_error_set(
			err, -ELIBBAD,
			"it is built for executor ABI %u.%u, this daemon has %d.%d: build it again with this "
			"version's "
			"headers",
			abi->version >> 16, abi->version & 0xffff, LSN_ABI_MAJOR, LSN_ABI_MINOR);
	if (abi->size < ABI_SIZE_1_0 || abi->size > ABI_SIZE_MAX)
		return lsn_error_set(err, -ELIBBAD,
				     "its struct %s says size = %u, expected %zu to %d: set .size = sizeof(struct "
				     "lsn_executor_module)",
				     LSN_EXECUTOR_SYMBOL, abi->size, ABI_SIZE_1_0, ABI_SIZE_MAX);
	return check_symbol(abi, abi->size, err);
}

static int check_members(const struct lsn_executor_module *abi, const char *name, struct lsn_error *err)
{
	const char *missing = !abi->init ? "init" : !abi->free ? "free" : !abi->submit ? "submit" : NULL;

	if (!abi->name || !streq(abi->name, name))
		return lsn_error_set(err, -ELIBBAD, "it calls itself '%s': the file must be named %s.so",
				     abi->name ? abi->name : "(nothing)", abi->name ? abi->name : "after it");
	if (missing)
		return lsn_error_set(err, -ELIBBAD, "it has no %s(), which every executor needs", missing);
	if (abi->reserve && !abi->release)
		return lsn_error_set(err, -ELIBBAD, "it has reserve() but no release()");
	return 0;
}

int module_open(const char *path, const char *name, void **ret_library, struct lsn_executor_module *ret_abi,
		struct lsn_error *err)
{
	void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	const struct lsn_executor_module *abi;
	const char *reason;
	int r;

	if (!library) {
		reason = dlerror();
		return lsn_error_set(err, -ENOEXEC, "it will not load: %s", reason ? reason : "no reason given");
	}
	abi = dlsym(library, LSN_EXECUTOR_SYMBOL);
	r = abi ? check_head(abi, err)
		: lsn_error_set(err, -ELIBBAD,
				"it exports no symbol %s: is it an executor, and is the struct LSN_EXPORT?",
				LSN_EXECUTOR_SYMBOL);
	if (abi && r == 0) {
		memset(ret_abi, 0, sizeof *ret_abi);
		memcpy(ret_abi, abi, abi->size < sizeof *ret_abi ? abi->size : sizeof *ret_abi);
		r = check_members(ret_abi, name, err);
	}
	if (r < 0) {
		(void)dlclose(library);
		return r;
	}
	*ret_library = library;
	return 0;
}

/* The loader knows a library by the name it was opened with. If it stays in memory after
 * dlclose() (a library may ask for that, and some C++ symbols do), the descriptor must stay open
 * too: another module opened through the same number would be taken for it. */
static void close_library(struct module *module)
{
	char path[64];

	(void)snprintf(path, sizeof path, "/proc/%d/fd/%d", getpid(), module->fd);
	if (module->library) {
		(void)dlclose(module->library);
		if (dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD)) {
			log_notice("module %s-%.12s cannot be unloaded and stays in memory", module->name,
				   module->hash);
			return;
		}
	}
	if (module->fd >= 0)
		(void)close(module->fd);
}

int module_load_copy(struct module *module, struct lsn_error *err)
{
	char path[64];

	if (module->library)
		return 0;
	(void)snprintf(path, sizeof path, "/proc/%d/fd/%d", getpid(), module->fd);
	return module_open(path, module->name, &module->library, &module->abi, err);
}

/* --------------------------------------------------------------------------------- life and end */

static struct module *find_loaded(struct module_list *loaded, const char *name, const char *hash)
{
	struct module *module;

	LIST_FOREACH (module, loaded, list)
		if (streq(module->name, name) && streq(module->hash, hash))
			return module_ref(module);
	return NULL;
}

static int make_module(struct module_list *loaded, const char *name, const char *hash, const void *data, size_t size,
		       struct module **ret, struct lsn_error *err)
{
	struct module *module = calloc(1, sizeof *module);
	char text[64];

	if (!module)
		return lsn_error_set(err, -ENOMEM, "out of memory");
	module->refs = 1;
	memcpy(module->name, name, strlen(name) + 1);
	memcpy(module->hash, hash, sizeof module->hash);
	LIST_INSERT_HEAD(loaded, module, list);
	(void)snprintf(text, sizeof text, "%s-%.12s", module->name, module->hash);
	module->fd = memfd_sealed(text, data, size);
	if (module->fd < 0) {
		int r = lsn_error_set(err, module->fd, "cannot copy it: %s", strerror(-module->fd));
		(void)module_unref(module);
		return r;
	}
	*ret = module;
	return 0;
}

int module_find(struct module_list *loaded, const char *folder, const char *name, struct module **ret,
		struct lsn_error *err)
{
	_cleanup_free_ char *data = NULL;
	char hash[MODULE_HASH_SIZE];
	size_t size = 0;
	int r;

	if (!module_name_valid(name))
		return lsn_error_set(err, -EINVAL, "'%s' cannot be a module: a name is 1 to %d of a-z, 0-9 and '-'",
				     name, MODULE_NAME_MAX);
	r = read_module(folder, name, &data, &size, err);
	if (r < 0)
		return r;
	if (hash_bytes(data, size, hash) < 0)
		return lsn_error_set(err, -ENOMEM, "cannot hash it: out of memory");
	*ret = find_loaded(loaded, name, hash);
	return *ret ? 0 : make_module(loaded, name, hash, data, size, ret, err);
}

struct module *module_ref(struct module *module)
{
	module->refs++;
	return module;
}

struct module *module_unref(struct module *module)
{
	if (!module || --module->refs > 0)
		return NULL;
	LIST_REMOVE(module, list);
	close_library(module);
	free(module);
	return NULL;
}
