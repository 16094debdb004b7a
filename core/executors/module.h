/* module.h - one executor module in memory: found in the folder, checked, copied, tried, opened.
 *
 * module_load() goes through these steps, and each refuses with a message that says what to do:
 *
 *   1. NAME.so must be a plain file; it and its folder must belong to root or to the daemon's
 *      user and be writable by nobody else.
 *   2. Its bytes are copied into a sealed memfd, and their SHA-256 names the version. The copy is
 *      what is opened, so overwriting the file cannot change the code of a running daemon. (A copy
 *      in the run folder would not do: /run is often mounted noexec.)
 *   3. A version that is open already is shared, by all sections that use it.
 *   4. A short-lived child opens the copy and checks it first (module_try.c): a constructor that
 *      crashes, hangs or exits takes the child down, not us.
 *   5. The daemon opens it (RTLD_NOW | RTLD_LOCAL) and takes a copy of `lsn_executor`, so that
 *      members the module does not know are NULL.
 *
 * gdb, perf and the sanitizers find the code as /proc/PID/fd/N while the daemon lives;
 * /proc/PID/maps shows it as memfd:NAME-VERSION. */
#ifndef CORE_MODULE_H
#define CORE_MODULE_H

#include "child.h"

#include <cleanup.h>
#include <listener/executor.h>
#include <sys/queue.h>

#define MODULE_NAME_MAX 32
#define MODULE_HASH_SIZE 65 /* SHA-256 as hex, and NUL */
#define MODULE_FILE_MAX (64U << 20) /* bytes */

struct module {
	unsigned refs;
	char name[MODULE_NAME_MAX + 1];
	char hash[MODULE_HASH_SIZE];
	int fd; /* the copy; stays open as long as it is loaded, see close_library() */
	void *library;
	/* our copy; members beyond the module's own size are NULL */
	struct lsn_executor_module abi;
	LIST_ENTRY(module) list;
};
LIST_HEAD(module_list, module); /* what is open now; starts zeroed */

/* module_find - NAME.so of FOLDER, from LOADED if this version is there already, else read,
 * copied and put there: not tried and not opened yet, library is NULL.
 * RET: one reference, to be given back with module_unref().
 * 0; -EINVAL, -ENOENT, -EPERM (ownership, mode, link), -EFBIG, -EBUSY (changes while it is
 * read), -ENOMEM ... with ERR saying why. */
int module_find(struct module_list *loaded, const char *folder, const char *name, struct module **ret,
		struct lsn_error *err);

/* module_load_copy - open a copy that has been tried; nothing to do if it is open.
 * 0; -ENOEXEC (will not load), -ELIBBAD (wrong symbol, version or struct) with ERR. */
int module_load_copy(struct module *module, struct lsn_error *err);

/* module_load - find, try and open, for a caller that may block: at most about 5 s.
 * What the others return, or -ETIMEDOUT. */
int module_load(struct module_list *loaded, const char *folder, const char *name, struct module **ret,
		struct lsn_error *err);
struct module *module_ref(struct module *module);

/* module_unref - closes the library with the last reference.
 * NULL is allowed; returns NULL. */
struct module *module_unref(struct module *module);

/* module_name_valid - [a-z0-9-]{1,32} */
bool module_name_valid(const char *name);

/* A trial in a child, in module_try.c, as is module_load().
 * All is borrowed until the child has been started. */
struct module_trial {
	const struct module *module;
	bool check; /* also call its check() with these options, if it has one */
	const struct lsn_option *options;
	size_t option_count;
};

struct child_task module_trial_task(const struct module_trial *trial);

/* module_trial_judge - what the child's end means: 0, -ENOEXEC, -ELIBBAD, -ETIMEDOUT, or what
 * check() said, with ERR. */
int module_trial_judge(const struct child_end *end, struct lsn_error *err);

/* module_trial_now - start, wait and judge. */
int module_trial_now(const struct module_trial *trial, struct lsn_error *err);

/* module_open - open the copy at FD through PATH and check its symbol; shared by the child and
 * the daemon. */
int module_open(const char *path, const char *name, void **ret_library, struct lsn_executor_module *ret_abi,
		struct lsn_error *err);

DEFINE_CLEANUP(struct module *, module_unrefp, module_unref)
#define _cleanup_module_ _cleanup_(module_unrefp)

#endif
