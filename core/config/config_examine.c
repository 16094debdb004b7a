/* config_examine.c - what a configuration names outside of itself: files, folders, users,
 * groups, modules. It starts and makes nothing, so that `listenerd -t` can run while a daemon
 * runs. */
#include "cleanup.h"
#include "config_private.h"
#include "control_access.h"
#include "module.h"
#include "source.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <util.h>

static void tell(struct config_findings *findings, bool fatal, const struct lsn_error *what)
{
	findings->fatal += fatal;
	findings->found(findings->data, fatal, what->message);
}

/* ------------------------------------------------------------------------------- files, folders */

static bool is_folder(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* can_be_made - 0: PATH is a folder we can write to, or mkdir -p could make it. */
static int can_be_made(const char *path)
{
	char parent[PATH_MAX];
	size_t size = strlen(path) + 1;
	struct stat st;

	if (size > sizeof parent)
		return -ENAMETOOLONG;
	memcpy(parent, path, size);
	while (stat(parent, &st) < 0) {
		char *slash = strrchr(parent, '/');
		if (errno != ENOENT)
			return -errno;
		if (!slash)
			return -ENOENT;
		slash[slash == parent] = '\0';
	}
	if (!S_ISDIR(st.st_mode))
		return -ENOTDIR;
	return access(parent, W_OK | X_OK) < 0 ? -errno : 0;
}

static void examine_state(const struct config *config, struct config_findings *findings,
			  const struct config_section *listener)
{
	const char *const keys[] = { "state_dir", "run_dir" }, *const paths[] = { config->state_dir, config->run_dir };
	struct lsn_error err = { 0 };

	for (size_t i = 0; i < ELEMENTSOF(keys); i++) {
		int r = can_be_made(paths[i]);
		if (r < 0) {
			(void)config_complain(listener, keys[i], &err, "the folder %s cannot be written: %s", paths[i],
					      strerror(-r));
			tell(findings, true, &err);
		}
	}
	if (!is_folder(config->libexec_dir)) {
		(void)config_complain(listener, "libexec_dir", &err,
				      "there is no folder %s, where executors look for their helpers",
				      config->libexec_dir);
		tell(findings, false, &err);
	}
}

/* examine_place - the folder PATH will stand in, unless it is one that the daemon makes. */
static void examine_place(const struct config *config, struct config_findings *findings,
			  const struct config_section *section, const char *key, const char *path)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *folder = slash && slash > path ? strndup(path, (size_t)(slash - path)) : strdup("/");
	struct lsn_error err = { 0 };

	if (!folder || streq(folder, config->state_dir) || streq(folder, config->run_dir) || is_folder(folder))
		return;
	(void)config_complain(section, key, &err, "there is no folder %s; create it", folder);
	tell(findings, true, &err);
}

static void examine_readable(struct config_findings *findings, const struct config_section *section, const char *key,
			     const char *path, bool fatal)
{
	struct lsn_error err = { 0 };

	if (!path || access(path, R_OK) == 0)
		return;
	(void)config_complain(section, key, &err, "%s cannot be read: %s", path, strerror(errno));
	tell(findings, fatal, &err);
}

static void examine_scripts(const struct source_config *source, struct config_findings *findings,
			    const struct config_section *section)
{
	struct lsn_error err = { 0 };

	if (source->kind == SOURCE_CDMI) {
		examine_readable(findings, section, "ca_file", source->ca_file, false);
	} else if (!is_folder(source->directory)) { /* the daemon waits for it */
		(void)config_complain(section, "directory", &err,
				      "there is no folder %s, so there are no scripts; create it", source->directory);
		tell(findings, false, &err);
	}
}

/* ------------------------------------------------------------------------------ people, modules */

static void examine_people(const struct config *config, struct config_findings *findings,
			   const struct config_section *section)
{
	static const char *const keys[] = { "group", "readers", "testers", "operators" };
	const struct control_config one[] = { { .group = config->control.group },
					      { .readers = config->control.readers },
					      { .testers = config->control.testers },
					      { .operators = config->control.operators } };

	for (size_t i = 0; i < ELEMENTSOF(keys); i++) {
		struct control_access access;
		struct lsn_error why = { 0 }, err = { 0 };
		if (control_access_resolve(&one[i], &access, &why) == 0) {
			control_access_clear(&access);
			continue;
		}
		const char *text = strstr(why.message, ": "); /* after "[control] KEY" */
		(void)config_complain(section, keys[i], &err, "%s", text ? text + 2 : why.message);
		tell(findings, true, &err);
	}
}

static void examine_module(const struct config *config, struct config_findings *findings,
			   const struct config_section *section)
{
	const struct executor_config *executor = section->base;
	struct module_list loaded = LIST_HEAD_INITIALIZER(loaded);
	struct lsn_error why = { 0 }, err = { 0 };
	struct module *module;

	if (module_load(&loaded, config->executors.folder, executor->module[0] ? executor->module : executor->name,
			&module, &why) == 0) {
		(void)module_unref(module);
		return;
	}
	(void)config_complain(section, executor->module[0] ? "module" : NULL, &err, "%s", why.message);
	tell(findings, true, &err);
}

void config_examine(const struct config_loader *loader, struct config_findings *findings)
{
	const struct config *config = loader->config;
	const struct config_section *section = config_find(loader, "broker");

	examine_state(config, findings, config_find(loader, "listener"));
	examine_readable(findings, section, "tls_ca_file", config->broker.tls_ca_file, true);
	examine_readable(findings, section, "tls_cert_file", config->broker.tls_cert_file, true);
	examine_readable(findings, section, "tls_key_file", config->broker.tls_key_file, true);
	examine_place(config, findings, config_find(loader, "journal"), "path", config->journal.path);
	examine_place(config, findings, config_find(loader, "control"), "socket", config->control.socket);
	examine_scripts(&config->source, findings, config_find(loader, "scripts"));
	examine_people(config, findings, config_find(loader, "control"));
	TAILQ_FOREACH (section, &loader->sections, link)
		if (streq(section->type->name, "executor"))
			examine_module(config, findings, section);
}
