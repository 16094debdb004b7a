/* doctor_checks.c - the parts of `listenerctl doctor` that need no waiting: configuration,
 * limits, clock, journal, connection, source. */
#include "broker.h"
#include "cleanup.h"
#include "config.h"
#include "doctor.h"
#include "journal.h"
#include "registry.h"
#include "script.h"
#include "source.h"
#include "stall.h"
#include "turn.h"
#include "util.h"
#include <fcntl.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/timex.h>
#include <time.h>

/* 2024-01-01: this program is younger */
#define CLOCK_EARLIEST_USEC (UINT64_C(1704067200) * USEC_PER_SEC)
#define CLOCK_STEP_USEC (2 * USEC_PER_SEC)
#define CLOCK_SLEW_DIVISOR 1000 /* a clock that is being adjusted may run off by as much: 1/1000 */
#define WAITING_LONG_USEC (5 * 60 * USEC_PER_SEC)
#define FDS_PER_JOB 8
#define OPEN_FILES_GAP 16384
#define FDS_OWN 256 /* connections to the control socket, fetches, modules, the loop's own */
#define MIB (UINT64_C(1024) * 1024)

#define OK LSN_PROBE_OK
#define WARNING LSN_PROBE_WARNING
#define FAILURE LSN_PROBE_FAILURE

/* -------------------------------------------------------------------------------- configuration */

static char *address_printed(const struct config *config)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	config_print(config, out);
	if (fclose(out) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

/* first_difference - the first line of B that A does not have at this place, for people. */
static void first_difference(const char *a, const char *b, char *buf, size_t size)
{
	size_t line = 0, section = 0, section_size = 0;

	for (size_t i = 0; b[i] && a[i] == b[i]; i++) {
		if (b[i] != '\n')
			continue;
		line = i + 1;
		if (b[line] == '[') {
			section = line;
			section_size = strcspn(b + line, "\n");
		}
	}
	(void)str_quote(buf, size, b + line, strcspn(b + line, "\n"));
	if (section_size > 0 && section != line) {
		size_t used = strlen(buf);
		(void)snprintf(buf + used, size - used, " in %.*s", (int)section_size, b + section);
	}
}

void doctor_config(const struct doctor_sink *sink, const struct daemon *daemon)
{
	struct config *fresh = NULL;
	struct lsn_error err = { 0 };
	char difference[300] = "a password";

	if (config_load(daemon->config_file, &fresh, &err) < 0) {
		doctor_report(sink, FAILURE, "config",
			      "correct the file: the running daemon uses the configuration it has read before, but "
			      "the next start will fail",
			      "%s", err.message);
		return;
	}
	_cleanup_free_ char *running = address_printed(daemon->config), *on_disk = address_printed(fresh);
	bool same = running && on_disk && streq(running, on_disk);
	if (!same && running && on_disk)
		first_difference(running, on_disk, difference, sizeof difference);
	/* secrets are not printed */
	if (same && config_section_equal(daemon->config, fresh, "broker") &&
	    config_section_equal(daemon->config, fresh, "scripts"))
		doctor_report(sink, OK, "config", NULL, "%s is what the daemon runs with", daemon->config_file);
	else
		doctor_report(sink, WARNING, "config", "listenerctl reload (or restart the daemon)",
			      "the files differ from what the daemon runs with; the first difference: %s", difference);
	config_free(fresh);
}

/* --------------------------------------------------------------------------------------- limits */

/* count_open_files - by asking for each: when it matters, no file can be opened to look. The kernel
 * gives out the lowest number that is free, so behind a long gap there are no more. */
static unsigned count_open_files(uint64_t limit)
{
	unsigned count = 0, gap = 0;

	for (int fd = 0; (uint64_t)fd < limit && gap < OPEN_FILES_GAP; fd++) {
		bool open = fcntl(fd, F_GETFD) >= 0;
		count += open;
		gap = open ? 0 : gap + 1;
	}
	return count;
}

void doctor_limits(const struct doctor_sink *sink, const struct config *config)
{
	struct rlimit limit;
	unsigned open;
	uint64_t needed = FDS_OWN + (uint64_t)config->dispatch.running_max * FDS_PER_JOB;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	open = count_open_files(limit.rlim_cur);
	if (limit.rlim_cur < needed || limit.rlim_cur - limit.rlim_cur / 5 < open)
		doctor_report(sink, WARNING, "limits",
			      "raise LimitNOFILE of the service (ulimit -n), or lower [dispatcher] max_running",
			      "%llu files may be open; %u are, and %u jobs at the same time can need %" PRIu64,
			      (unsigned long long)limit.rlim_cur, open, config->dispatch.running_max, needed);
	else
		doctor_report(sink, OK, "limits", NULL,
			      "%u files are open of %llu allowed; %u jobs at the same time need at most %" PRIu64, open,
			      (unsigned long long)limit.rlim_cur, config->dispatch.running_max, needed);
}

/* ---------------------------------------------------------------------------------------- clock */

static void check_synchronised(const struct doctor_sink *sink)
{
	struct timex state = { 0 };
	int r = adjtimex(&state);

	if (r < 0)
		doctor_report(sink, WARNING, "clock", "see what the time service says, for example `timedatectl`",
			      "the kernel does not tell whether the clock is synchronised: %s", strerror(errno));
	else if (r == TIME_ERROR || (state.status & STA_UNSYNC))
		doctor_report(sink, WARNING, "clock",
			      "start a time service (chrony, systemd-timesyncd): times in the history may be wrong, "
			      "and [journal] keep and --since count by them; time limits and waits do not depend on it",
			      "the clock is not synchronised");
	else
		doctor_report(sink, OK, "clock", NULL, "synchronised, estimated error %ld ms", state.esterror / 1000);
}

void doctor_clock(const struct doctor_sink *sink, uint64_t started_realtime_usec, uint64_t started_monotonic_usec)
{
	uint64_t now = now_realtime_usec(), ran = now_monotonic_usec() - started_monotonic_usec;
	uint64_t expected = started_realtime_usec + ran, off = now > expected ? now - expected : expected - now;

	if (now < CLOCK_EARLIEST_USEC) {
		doctor_report(sink, FAILURE, "clock",
			      "set the clock before events come: jobs that were made before it is set would be "
			      "deleted at once",
			      "the clock is not set: it shows a time before 2024");
		return;
	}
	check_synchronised(sink);
	if (off > CLOCK_STEP_USEC + ran / CLOCK_SLEW_DIVISOR)
		doctor_report(sink, WARNING, "clock",
			      "times from before and from after the step cannot be compared; time limits and waits "
			      "are not affected",
			      "it was set %s by %" PRIu64 " s since the daemon started",
			      now > expected ? "forward" : "back", off / USEC_PER_SEC);
}

/* ----------------------------------------------------------------------------------------- loop */

void doctor_loop(const struct doctor_sink *sink)
{
	struct stall_figures f;

	stall_get_figures(&f);
	if (f.turn_usec > STALL_LIMIT_USEC)
		doctor_report(sink, WARNING, "loop",
			      "events waited for this time; if the machine was not overloaded, report it with the "
			      "daemon's log",
			      "in the last hour one turn of the loop took %" PRIu64 " ms (%s), %" PRIu64
			      " took more than %" PRIu64 " ms",
			      f.turn_usec / USEC_PER_MSEC, f.turn_cause, f.over_limit,
			      STALL_LIMIT_USEC / USEC_PER_MSEC);
	else
		doctor_report(sink, OK, "loop", NULL, "no turn of the last hour took more than %" PRIu64 " ms",
			      f.turn_usec / USEC_PER_MSEC + 1);
	if (f.commit_usec > STALL_COMMIT_LIMIT_USEC)
		doctor_report(sink, WARNING, "loop",
			      "see what else writes to the journal's disk, or put [journal] path on a faster one",
			      "in the last hour a commit of the journal took %" PRIu64 " ms",
			      f.commit_usec / USEC_PER_MSEC);
}

/* -------------------------------------------------------------------------------------- journal */

static void check_room(const struct doctor_sink *sink, const struct daemon *daemon, const struct journal_figures *f)
{
	const struct journal_config *limits = &daemon->config->journal;
	uint64_t growth = limits->size_max_bytes > f->size_bytes ? limits->size_max_bytes - f->size_bytes : 0;
	uint64_t usable =
		f->disk_free_bytes > limits->disk_free_min_bytes ? f->disk_free_bytes - limits->disk_free_min_bytes : 0;
	struct lsn_error err = { 0 };

	if (journal_capacity(daemon->journal, &err) < 0)
		doctor_report(sink, FAILURE, "journal",
			      "make room, or raise the limit in [journal]; the broker holds new events until then",
			      "full: %s", err.message);
	else if (f->size_bytes > limits->size_max_bytes / 10 * 8)
		doctor_report(sink, WARNING, "journal", "raise [journal] size_max or lower keep and keep_jobs",
			      "%" PRIu64 " MiB of %" PRIu64 " are used", f->size_bytes / MIB,
			      limits->size_max_bytes / MIB);
	else if (usable < growth)
		doctor_report(sink, WARNING, "journal",
			      "lower [journal] size_max or give it a larger disk: otherwise the disk is the limit",
			      "%" PRIu64 " MiB are used, it may grow by %" PRIu64 ", but the disk has room for %" PRIu64
			      " (%" PRIu64 " are to stay free)",
			      f->size_bytes / MIB, growth / MIB, usable / MIB, limits->disk_free_min_bytes / MIB);
	else
		doctor_report(sink, OK, "journal", NULL,
			      "%" PRIu64 " MiB of %" PRIu64 " are used, %" PRIu64 " are free on its disk",
			      f->size_bytes / MIB, limits->size_max_bytes / MIB, f->disk_free_bytes / MIB);
}

static void check_waiting(const struct doctor_sink *sink, const struct daemon *daemon, const struct journal_figures *f)
{
	uint64_t now = now_realtime_usec(), oldest = f->oldest_waiting_realtime_usec,
		 age = oldest && oldest < now ? now - oldest : 0;
	uint64_t waiting = f->queued + f->running + f->backoff;

	if (waiting > daemon->config->journal.jobs_max / 10 * 8 && waiting > 0)
		doctor_report(sink, WARNING, "journal",
			      "see what jobs wait for: listenerctl jobs --state queued; then raise the limit that "
			      "it names",
			      "%" PRIu64 " of at most %" PRIu64 " unfinished jobs", waiting,
			      daemon->config->journal.jobs_max);
	if (age > WAITING_LONG_USEC)
		doctor_report(sink, WARNING, "journal",
			      "see what they wait for: listenerctl jobs --state queued; listenerctl executors",
			      "the oldest event with an unfinished job waits for %" PRIu64 " s; %" PRIu64
			      " jobs wait or run",
			      age / USEC_PER_SEC, waiting);
	else
		doctor_report(sink, OK, "journal", NULL, "%" PRIu64 " jobs wait or run, the oldest for %" PRIu64 " s",
			      waiting, age / USEC_PER_SEC);
	if (f->lost > 0)
		doctor_report(sink, WARNING, "journal",
			      "listenerctl jobs --state lost; listenerctl retry JOB runs one again, perhaps for the "
			      "second time",
			      "%" PRIu64 " jobs are lost: nobody knows whether they ran", f->lost);
}

void doctor_journal(const struct doctor_sink *sink, const struct daemon *daemon)
{
	const struct turn_figures *turn = turn_get_figures(daemon->turn);
	struct journal_figures figures = { 0 };

	journal_get_figures(daemon->journal, &figures);
	if (turn->error[0])
		doctor_report(sink, FAILURE, "journal",
			      "make the disk writable: until then nothing is acknowledged and nothing starts",
			      "cannot be written: %s", turn->error);
	check_room(sink, daemon, &figures);
	check_waiting(sink, daemon, &figures);
}

/* ----------------------------------------------------------------------------------- connection */

void doctor_connection(const struct doctor_sink *sink, const struct daemon *daemon)
{
	struct broker_figures figures = { 0 };

	if (daemon->broker)
		broker_get_figures(daemon->broker, &figures);
	if (figures.state != BROKER_CONNECTED)
		doctor_report(sink, FAILURE, "broker",
			      "see that the broker runs and that [broker] host, port, user "
			      "and password are right; the daemon keeps trying",
			      "the daemon is %s%s%s", broker_state_names[figures.state], figures.error[0] ? ": " : "",
			      figures.error);
	else if (figures.error[0])
		doctor_report(sink, FAILURE, "broker", "see the broker's access rules and [broker] subscriptions", "%s",
			      figures.error);
	else
		doctor_report(sink, OK, "broker", NULL,
			      "the daemon is connected as %s since %" PRIu64 " s, connection number %" PRIu64,
			      daemon->config->broker.client_id,
			      (now_monotonic_usec() - figures.since_monotonic_usec) / USEC_PER_SEC, figures.connects);
}

/* --------------------------------------------------------------------------------------- source */

static void check_refused(const struct doctor_sink *sink, const struct daemon *daemon)
{
	size_t refused = registry_count(daemon->registry, SCRIPT_REFUSED),
	       failed = registry_count(daemon->registry, SCRIPT_FETCH_FAILED);

	if (refused + failed > 0)
		doctor_report(sink, WARNING, "source", "listenerctl scripts says why",
			      "%zu scripts are refused, %zu could not be fetched; %zu are active", refused, failed,
			      registry_count(daemon->registry, SCRIPT_ACTIVE));
	else
		doctor_report(sink, OK, "source", NULL, "%zu scripts are active, none is refused",
			      registry_count(daemon->registry, SCRIPT_ACTIVE));
}

static void say_away(const struct doctor_sink *sink, const struct source_config *config, const struct source_figures *f,
		     uint64_t age_usec, bool answered)
{
	const char *why = f->error[0] ? f->error
			  : answered  ? "it cannot be scanned"
				      : "the scan that was asked for now has not ended";
	const char *remedy =
		config->kind == SOURCE_CDMI
			? "see that the archive answers and that [scripts] url, user, password and collection are "
			  "right; registered scripts stay registered, changes are not seen"
			: "see that [scripts] directory is right and that the listener's user can read it; "
			  "registered scripts stay registered, changes are not seen";

	if (f->scanned_realtime_usec)
		doctor_report(sink, FAILURE, "source", remedy, "%s: %s (last scanned %" PRIu64 " s ago)", f->where, why,
			      age_usec / USEC_PER_SEC);
	else
		doctor_report(sink, FAILURE, "source", remedy, "%s: %s (not scanned since the start)", f->where, why);
}

/* check_secrecy - a password goes with every request: whoever listens on the way to the archive
 * learns it, unless it is encrypted or never leaves the host. */
static void check_secrecy(const struct doctor_sink *sink, const struct source_config *config)
{
	static const char *const inside[] = { "http://127.", "http://localhost:", "http://localhost/", "http://[::1]",
					      NULL };

	if (config->kind != SOURCE_CDMI || !config->password || strncasecmp(config->url, "http://", 7) != 0)
		return;
	for (size_t i = 0; inside[i]; i++)
		if (strncasecmp(config->url, inside[i], strlen(inside[i])) == 0)
			return;
	doctor_report(sink, WARNING, "source", "write https:// in [scripts] url",
		      "user and password go to the archive unencrypted");
}

void doctor_source(const struct doctor_sink *sink, const struct daemon *daemon, bool answered)
{
	struct source_figures f = { 0 };
	uint64_t now = now_realtime_usec();

	daemon->source->ops->figures(daemon->source, &f);
	uint64_t age = f.scanned_realtime_usec < now ? now - f.scanned_realtime_usec : 0;
	if (f.error[0] || !answered)
		say_away(sink, &daemon->config->source, &f, age, answered);
	else
		doctor_report(sink, OK, "source", NULL, "%s %s can be read, scanned %" PRIu64 " ms ago", f.kind,
			      f.where, age / USEC_PER_MSEC);
	check_secrecy(sink, &daemon->config->source);
	check_refused(sink, daemon);
}
