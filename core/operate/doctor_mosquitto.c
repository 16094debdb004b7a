/* doctor_mosquitto.c - MQTT cannot say whether a broker keeps its queue over its own restart. If
 * the broker is a mosquitto on this machine that we may look at, its settings and its database
 * can: the file must have been written since the probes made it change. */
#include "doctor.h"
#include "cleanup.h"
#include "util.h"
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#define FILE_MAX_BYTES (256 * 1024)
#define DEPTH_MAX 4
#define AREA "broker"

struct settings {
	unsigned port; /* wanted */
	const char *path; /* wanted unix socket, or NULL */
	bool serves; /* has such a listener */
	bool any_listener;
	bool persistence, on_changes, unreadable;
	unsigned long interval;
	char location[PATH_MAX], file[NAME_MAX + 1];
};

/* ---------------------------------------------------------------------------- its configuration */

static void read_config(struct settings *s, const char *path, unsigned depth);

static void read_folder(struct settings *s, const char *folder, unsigned depth)
{
	struct dirent **names;
	int n = scandir(folder, &names, NULL, alphasort);

	s->unreadable = s->unreadable || n < 0;
	for (int i = 0; i < n; i++) {
		size_t size = strlen(names[i]->d_name);
		char path[PATH_MAX];
		(void)snprintf(path, sizeof path, "%s/%s", folder, names[i]->d_name);
		if (size > 5 && streq(names[i]->d_name + size - 5, ".conf"))
			read_config(s, path, depth + 1);
		free(names[i]);
	}
	if (n >= 0)
		free(names);
}

static void take_listener(struct settings *s, const char *value)
{
	char *rest;
	unsigned long port = strtoul(value, &rest, 10);

	rest += strspn(rest, " \t");
	s->any_listener = true;
	s->serves = s->serves || (s->path ? port == 0 && streq(rest, s->path) : port == s->port);
}

static void take_setting(struct settings *s, const char *key, const char *value, unsigned depth)
{
	bool yes = streq(value, "true");

	if (streq(key, "listener") || streq(key, "port"))
		take_listener(s, value);
	else if (streq(key, "persistence"))
		s->persistence = yes;
	else if (streq(key, "autosave_on_changes"))
		s->on_changes = yes;
	else if (streq(key, "autosave_interval"))
		s->interval = strtoul(value, NULL, 10);
	else if (streq(key, "persistence_location"))
		(void)snprintf(s->location, sizeof s->location, "%s", value);
	else if (streq(key, "persistence_file"))
		(void)snprintf(s->file, sizeof s->file, "%s", value);
	else if (streq(key, "include_dir"))
		read_folder(s, value, depth);
}

static void read_config(struct settings *s, const char *path, unsigned depth)
{
	_cleanup_free_ char *text = NULL;
	char *line, *rest;
	size_t size;
	int fd = depth < DEPTH_MAX ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;

	if (fd < 0 || read_fd_limited(fd, FILE_MAX_BYTES, &text, &size) < 0)
		s->unreadable = true;
	if (fd >= 0)
		(void)close(fd);
	for (rest = text; rest && (line = strsep(&rest, "\n"));) {
		line += strspn(line, " \t");
		char *value = line + strcspn(line, " \t");
		if (*line == '#' || !*value)
			continue;
		*value++ = 0;
		value += strspn(value, " \t");
		for (size_t n = strlen(value); n > 0 && isspace((unsigned char)value[n - 1]); n--)
			value[n - 1] = 0;
		take_setting(s, line, value, depth);
	}
}

/* ---------------------------------------------------------------------------------- its process */

static bool is_local(const struct broker_config *config)
{
	return config->host[0] == '/' || streq(config->host, "localhost") || str_startswith(config->host, "127.") ||
	       streq(config->host, "::1");
}

/* config_of - the file the mosquitto with this PID was started with. */
static bool config_of(const char *pid, char *ret, size_t ret_size)
{
	_cleanup_fclose_ FILE *in = NULL;
	char path[64], words[4096];

	(void)snprintf(path, sizeof path, "/proc/%.20s/cmdline", pid);
	in = fopen(path, "re");
	size_t size = in ? fread(words, 1, sizeof words - 1, in) : 0;
	words[size] = 0;
	const char *name = strrchr(words, '/');
	if (!streq(name ? name + 1 : words, "mosquitto"))
		return false;
	for (const char *word = words; word < words + size; word += strlen(word) + 1) {
		const char *next = word + strlen(word) + 1;
		if ((streq(word, "-c") || streq(word, "--config-file")) && next < words + size) {
			(void)snprintf(ret, ret_size, "%s", next);
			return true;
		}
	}
	return false;
}

static bool find_settings(const struct broker_config *config, struct settings *ret)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	char file[PATH_MAX];

	ret->serves = false;
	while (proc && !ret->serves && (entry = readdir(proc))) {
		if (!isdigit((unsigned char)entry->d_name[0]) || !config_of(entry->d_name, file, sizeof file))
			continue;
		*ret = (struct settings){ .port = config->port,
					  .path = config->host[0] == '/' ? config->host : NULL,
					  .interval = 1800,
					  .file = "mosquitto.db" };
		read_config(ret, file, 0);
		if (!ret->any_listener)
			ret->serves = !ret->path && ret->port == 1883;
	}
	if (proc)
		(void)closedir(proc);
	return ret->serves;
}

/* ------------------------------------------------------------------------------------ judgement */

static void judge_file(const struct doctor_sink *sink, const struct settings *s, uint64_t since_usec)
{
	char path[PATH_MAX + NAME_MAX + 2];
	struct stat st;

	/* the location is put before the name as it stands; mosquitto adds the slash itself */
	size_t n = strlen(s->location);
	(void)snprintf(path, sizeof path, "%s%s%s", s->location, n && s->location[n - 1] != '/' ? "/" : "", s->file);
	if (path[0] != '/' || (stat(path, &st) < 0 && errno != ENOENT)) {
		doctor_report(sink, LSN_PROBE_OK, AREA, NULL,
			      "is set to save its queue after each %lu changes; its file cannot be seen", s->interval);
		return;
	}
	bool exists = stat(path, &st) == 0;
	uint64_t written = exists ? (uint64_t)st.st_mtim.tv_sec * USEC_PER_SEC + (uint64_t)st.st_mtim.tv_nsec / 1000
				  : 0;
	/* Times of files are those of the clock's last tick. */
	if (written + 20 * USEC_PER_MSEC >= since_usec)
		doctor_report(sink, LSN_PROBE_OK, AREA, NULL,
			      "saves its queue after each %lu changes: %s was written during the probe", s->interval,
			      path);
	else
		doctor_report(
			sink, LSN_PROBE_WARNING, AREA,
			"restart it if its settings were changed, and check that it may write there",
			"is set to save its queue after each %lu changes, but %s was not written during the probe",
			s->interval, path);
}

void doctor_persistence(const struct doctor_sink *sink, const struct broker_config *config,
			uint64_t since_realtime_usec)
{
	struct settings *s = calloc(1, sizeof *s);

	if (doctor_child_stopping() || !s) {
		free(s);
		return;
	}
	if (!is_local(config) || !find_settings(config, s) || s->unreadable)
		doctor_report(sink, LSN_PROBE_WARNING, AREA,
			      "set it up so (mosquitto: persistence true, autosave_on_changes true), or "
			      "restart it while events wait and see whether they arrive",
			      "whether it keeps its queue over its own restart cannot be seen from here");
	else if (!s->persistence)
		doctor_report(
			sink, LSN_PROBE_FAILURE, AREA,
			"set persistence true, autosave_on_changes true and autosave_interval 100 at the broker",
			"does not save its queue (persistence is off): all waiting events are lost when it restarts");
	else if (!s->on_changes)
		doctor_report(sink, LSN_PROBE_WARNING, AREA,
			      "set autosave_on_changes true and autosave_interval 100 at the broker",
			      "saves its queue each %lu s only: what waits is lost if it crashes in between",
			      s->interval);
	else
		judge_file(sink, s, since_realtime_usec);
	free(s);
}
