/* listener/executor.h - the executor ABI: how a loadable module runs jobs for listenerd.
 *
 * An executor is a shared object in the executors folder. It exports exactly one symbol,
 * `lsn_executor`, a `const struct lsn_executor_module`. listenerd makes one instance of it for
 * every `[executor NAME]` section whose `module` names it. All calls come from one thread, the
 * loop thread. docs/executor-abi.md is the manual, with a worked example and the change log.
 * executors/json-lines/ is the smallest useful executor.
 *
 * The life of a job, seen from an executor:
 *
 *     reserve(job) -> 0        "I have a place for it; the place is called P"   (optional)
 *         the host commits "job runs at P" to its journal
 *     submit(job)  -> 0        the executor starts it and from now on owes one host->done()
 *         ... runs ...
 *     host->done(job, result)  exactly once, on the loop thread, never from inside submit()
 *         the host commits the result
 *     forget(job id, P)        the result is safe: the executor may drop what it kept   (optional)
 *
 * If reserve() or submit() fails, done() must not be called. A reservation that will not be used
 * is given back with release(). After a restart of the daemon the host calls recover() for every
 * job that its journal shows as handed over.
 *
 * Rules for both sides:
 *  - Every struct that crosses begins with `version` (major << 16 | minor) and `size`. Another
 *    major is refused. Only what `size` covers is read. New members go last. A NULL callback
 *    means "not offered".
 *  - Nothing may block: use host->watch() and host->timer().
 *  - All times are microseconds. `_realtime` ones count from the Unix epoch.
 *  - Strings are NUL-terminated UTF-8, unless a size is given with them.
 *  - Pointers that the host passes are borrowed for the call, unless stated otherwise. The host
 *    never writes into an executor's structs.
 *  - Descriptors that the host passes are borrowed: dup() what must outlive the job.
 *
 * Needs libc only. */
#ifndef LISTENER_EXECUTOR_H
#define LISTENER_EXECUTOR_H

#include <listener/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LSN_ABI_MAJOR 1
#define LSN_ABI_MINOR 3
#define LSN_ABI_VERSION (((uint32_t)LSN_ABI_MAJOR << 16) | LSN_ABI_MINOR)

#define LSN_NEVER UINT64_MAX /* a time span without an end */

#define LSN_EXECUTOR_SYMBOL "lsn_executor"
#define LSN_EXPORT __attribute__((visibility("default")))

#define LSN_PLACE_SIZE 96 /* bytes of a place's name, NUL included */
#define LSN_MESSAGE_SIZE 256 /* bytes of a result's message, NUL included */

/* -------------------------------------------------------------------------------- jobs, results */

enum lsn_output_mode {
	LSN_OUTPUT_DISCARD = 0, /* stdout and stderr are /dev/null */
	LSN_OUTPUT_CAPTURE = 1, /* a copy of up to output_limit bytes each goes to the journal */
};

enum lsn_input_mode {
	LSN_INPUT_FILE = 0, /* stdin is a file: payload_fd itself, or a copy */
	LSN_INPUT_PIPE = 1, /* stdin is a pipe, with the same bytes */
};

/* One attempt at one event for one script version.
 * Owned by the host; address and content stay valid and unchanged from reserve() (or submit(),
 * or recover()) until done() returns, or until that call failed, or until release().
 * Only the descriptors are set later for a module of 1.1 or newer: they are -1 at reserve().
 * Each attempt has an address of its own. */
struct lsn_job {
	uint32_t version, size;
	uint64_t id; /* unique for the life of the journal, > 0 */
	uint64_t event; /* the event's id, > 0 */
	uint64_t replay_of; /* the job that an operator has repeated as this one, 0 = none */
	uint32_t attempt; /* 1 for the first */
	uint32_t output; /* enum lsn_output_mode */
	const char *script; /* the script's name, e.g. "on_create.py" or "sub/on_create.py" */
	const char *script_version; /* SHA-256 of its bytes, 64 lower-case hex digits */
	const char *topic; /* as published; valid UTF-8, no NUL */
	size_t topic_size; /* bytes, NUL not counted, <= 65535 */
	/* sealed memfd; use pread() or a new open file description: the offset is shared. -1 at
	 * recover() */
	int payload_fd;
	int script_fd; /* sealed memfd, likewise. -1 at recover() */
	uint64_t payload_size; /* bytes */
	uint64_t script_size; /* bytes */
	uint64_t received_realtime_usec; /* when the event arrived */
	uint64_t timeout_usec; /* wall clock the script may take, > 0 */
	uint64_t memory_bytes; /* the script may use, > 0 */
	uint64_t output_limit_bytes; /* per stream, with LSN_OUTPUT_CAPTURE */
	/* recover() only: when the lost daemon handed it over; else 0 */
	uint64_t started_realtime_usec;
	/* at reserve(): about how many jobs of the script wait for a place, this one included;
	 * 0: not known */
	uint64_t waiting;

	/* Since 1.2. */

	uint32_t input; /* enum lsn_input_mode */

	/* Since 1.3. */

	/* 1: an author tries the script with `listenerctl test`, and it must be able to know that:
	 * LISTENER_TEST=1 in its environment. Such a job is not recovered after a restart. */
	uint32_t test;
};

enum lsn_outcome {
	LSN_OUTCOME_SUCCESS = 0, /* exit status 0 */
	LSN_OUTCOME_FAILURE, /* exit status 1..255 */
	LSN_OUTCOME_SIGNAL, /* ended by a signal that no limit of ours explains */
	LSN_OUTCOME_TIMEOUT, /* ran longer than timeout_usec and was killed */
	LSN_OUTCOME_MEMORY, /* the kernel killed it at memory_bytes */
	LSN_OUTCOME_CPU, /* used up its CPU time */
	LSN_OUTCOME_OUTPUT, /* wrote more than output_limit_bytes with output = capture */
	LSN_OUTCOME_PROCESSES, /* failed after it hit the limit of processes and threads */
	LSN_OUTCOME_CANCELLED, /* killed on cancel() */
	/* the executor could not run it; message says why; the script did not start */
	LSN_OUTCOME_ERROR,
	LSN_OUTCOME_LOST, /* it cannot be known whether, or how far, it ran */
	LSN_OUTCOME_NOT_STARTED, /* the script certainly never began; the host starts it again */
	LSN_OUTCOME_MAX
};

/* What became of a job.
 * Filled by the executor, borrowed by the host during done().
 * Zero what is not known. */
struct lsn_result {
	uint32_t version, size;
	uint32_t outcome; /* enum lsn_outcome */
	int32_t exit_status; /* 0..255 with SUCCESS and FAILURE */
	int32_t signal; /* the signal's number if one ended it */
	uint32_t out_truncated, err_truncated; /* 1 = there was more */
	uint64_t started_realtime_usec;
	uint64_t duration_usec; /* wall clock from the script's start to its end */
	uint64_t user_usec, system_usec; /* CPU time */
	uint64_t max_rss_bytes;
	const void *out, *err; /* captured bytes, any content; may be NULL with size 0 */
	size_t out_size, err_size;
	char message[LSN_MESSAGE_SIZE]; /* for people; may be empty */
};

/* -------------------------------------------------------------------------------- host services */

enum lsn_log_level { LSN_LOG_ERROR = 3, LSN_LOG_WARNING = 4, LSN_LOG_NOTICE = 5, LSN_LOG_INFO = 6, LSN_LOG_DEBUG = 7 };

enum lsn_watch_events { LSN_WATCH_READ = 1 << 0, LSN_WATCH_WRITE = 1 << 1, LSN_WATCH_HANGUP = 1 << 2 /* out only */ };

struct lsn_watch; /* opaque, owned by the host */
struct lsn_timer; /* opaque, owned by the host */

/* Called when FD is ready; EVENTS is a mask of enum lsn_watch_events.
 * May drop its own or any other watch. */
typedef void (*lsn_watch_fn)(void *data, int fd, uint32_t events);

/* Called once when the time has come; the timer is gone before the call. */
typedef void (*lsn_timer_fn)(void *data);

/* What the host offers an instance.
 * Const, valid as long as the instance.
 * HANDLE goes first into every call. */
struct lsn_host {
	uint32_t version, size;
	void *handle;
	/* this listener's identity, [a-z0-9-]{1,32}: for labels on what an executor makes */
	const char *listener;
	const char *instance; /* NAME of the section [executor NAME], [a-z0-9_-]{1,32} */
	/* a folder of this instance, mode 0750, kept over restarts, gone after a reboot */
	const char *run_dir;
	/* where the listener's helper programs and data files are installed */
	const char *libexec_dir;

	/* log - one line; FORMAT as for printf, without a level and a newline. */
	void (*log)(void *handle, enum lsn_log_level level, const char *format, ...)
		__attribute__((format(printf, 3, 4)));
	/* watch - call FN with DATA whenever FD is ready for EVENTS (level-triggered).
	 * FD stays the caller's and must stay open until unwatch().
	 * At a hang-up or error FN gets LSN_WATCH_HANGUP with all of EVENTS.
	 * Returns 0 and sets *RET_WATCH, or -EINVAL, -EPERM (a kind of file that cannot be
	 * watched), -EEXIST (FD is watched already), -ENOMEM. */
	int (*watch)(void *handle, int fd, uint32_t events, lsn_watch_fn fn, void *data, struct lsn_watch **ret_watch);
	/* watch_set - change the mask; 0 pauses. */
	void (*watch_set)(void *handle, struct lsn_watch *watch, uint32_t events);
	/* unwatch - NULL is allowed. */
	void (*unwatch)(void *handle, struct lsn_watch *watch);
	/* timer - call FN with DATA once, DELAY_USEC from now (monotonic).
	 * Returns 0 and sets *RET_TIMER, or -ENOMEM. */
	int (*timer)(void *handle, uint64_t delay_usec, lsn_timer_fn fn, void *data, struct lsn_timer **ret_timer);
	/* timer_cancel - NULL is allowed; never pass a timer that has fired. */
	void (*timer_cancel)(void *handle, struct lsn_timer *timer);
	/* ready - places may have become free, or jobs may have become impossible.
	 * Jobs for which reserve() answered -EAGAIN will be offered again soon, never from inside
	 * this call. */
	void (*ready)(void *handle);
	/* done - JOB has ended.
	 * To be called exactly once per successful submit() or recover(), never from inside them:
	 * a job that is reported there is LOST. Use timer() with delay 0 instead.
	 * The host copies what it needs from RESULT. */
	void (*done)(void *handle, const struct lsn_job *job, const struct lsn_result *result);

	/* Since 1.1. */

	/* ready_for - a place for a job of SCRIPT_VERSION has become free; NULL: for a job of any
	 * script. Of those that reserve() put off, the script that has waited longest is offered
	 * again soon, and no other: where many wait, this spares the questions in vain that ready()
	 * leads to. False: none waits. */
	bool (*ready_for)(void *handle, const char *script_version);
};

/* ------------------------------------------------------------------------------------- executor */

/* One `key = value` of the section, in file order. */
struct lsn_option {
	const char *key, *value; /* value may be "", never NULL; ${...} already replaced */
	const char *file; /* where it stands, for messages */
	unsigned line;
};

enum lsn_probe_level { LSN_PROBE_OK = 0, LSN_PROBE_WARNING, LSN_PROBE_FAILURE };

/* One line of a probe.
 * WHAT was looked at and what was found; REMEDY is NULL when OK. */
typedef void (*lsn_probe_fn)(void *data, enum lsn_probe_level level, const char *what, const char *remedy);

/* One figure or word about an instance: KEY in snake_case, VALUE for people. */
typedef void (*lsn_describe_fn)(void *data, const char *key, const char *value);

struct lsn_executor_module {
	uint32_t version, size;
	const char *name; /* [a-z0-9-]{1,32}; the file is NAME.so */
	const char *description; /* one line */

	/* init - make an instance. Required.
	 * OPTIONS (COUNT of them) are valid during the call only. An unknown or bad option must be
	 * refused with file and line.
	 * HOST stays valid until free() returns.
	 * An instance that is not ready yet answers reserve() with -EAGAIN.
	 * Returns 0 and sets *RET_INSTANCE, or a negative errno with ERR filled: then nothing of
	 * the instance is left. */
	int (*init)(const struct lsn_host *host, const struct lsn_option *options, size_t count, void **ret_instance,
		    struct lsn_error *err);
	/* free - end the instance. Required.
	 * No job is out. Nothing of the host is used once it returns.
	 * What was made for running jobs must be removed, except what a detached run (see detach)
	 * still needs. */
	void (*free)(void *instance);
	/* reserve - find a place for JOB and write its name to PLACE, stable over restarts of the
	 * daemon. NULL: submit() needs no place.
	 * Returns 0.
	 * Returns -EAGAIN: there is none now, and the executor calls host->ready() when that may
	 * have changed.
	 * Returns -EMFILE, -ENFILE, -ENOMEM, -ENOBUFS, -EIO or -EPIPE: a shortage that passes, and
	 * the host asks again by itself.
	 * Returns another negative errno with ERR filled: this job can never run here. */
	int (*reserve)(void *instance, const struct lsn_job *job, char place[LSN_PLACE_SIZE], struct lsn_error *err);
	/* release - the reservation of JOB will not be used. Required with reserve. */
	void (*release)(void *instance, const struct lsn_job *job);
	/* submit - start JOB at the place that reserve() has named. Required.
	 * Returns 0: done() follows exactly once.
	 * Returns a negative errno with ERR filled: the script certainly did not start, the
	 * reservation is gone, and done() is never called. With -EAGAIN (the place has gone in the
	 * meantime) or one of the shortages that reserve() names, the job waits for another place.
	 * With anything else it ends in ERROR. */
	int (*submit)(void *instance, const struct lsn_job *job, struct lsn_error *err);
	/* cancel - end JOB early. NULL: jobs cannot be cancelled.
	 * done() follows with CANCELLED, or with what really happened if that came first. */
	void (*cancel)(void *instance, const struct lsn_job *job);
	/* recover - after a restart: JOB was handed over at PLACE by an earlier daemon. Called
	 * after init() and before the first reserve(). NULL: every such job is LOST.
	 * Returns 0: done() follows exactly once, whether the job has ended, still runs (the
	 * remaining time limit applies), is LOST or NOT_STARTED.
	 * Returns -EMFILE, -ENFILE, -ENOMEM or -ENOBUFS: it cannot be found out now. Nothing is
	 * decided: the daemon ends, and its next start asks again.
	 * Returns another negative errno: the job is LOST. */
	int (*recover)(void *instance, const struct lsn_job *job, const char *place, struct lsn_error *err);
	/* forget - the result of job ID at PLACE is committed. NULL: not needed.
	 * May come for jobs that the instance no longer knows. */
	void (*forget)(void *instance, uint64_t id, const char *place);
	/* detach - the daemon stops and leaves running jobs to recover() of its successor.
	 * After it returns, done() is no longer called, and only free() follows.
	 * NULL: the daemon waits for running jobs, at most as long as [listener] drain says. Those
	 * that still run are reported as LOST by the next daemon. */
	void (*detach)(void *instance);
	/* describe - call FN for everything `listenerctl executors` should show. NULL: nothing. */
	void (*describe)(void *instance, lsn_describe_fn fn, void *data);
	/* probe - for `listenerctl doctor`: test by doing what the executor needs. NULL: nothing to
	 * test.
	 * Call FN once or more, then END once; both may come later.
	 * Returns 0, or a negative errno: then neither will be called. */
	int (*probe)(void *instance, lsn_probe_fn fn, void (*end)(void *data), void *data);

	/* Since 1.1. */

	/* report_grace - how long after its time limit JOB may be unreported, in microseconds,
	 * or LSN_NEVER. Asked once, after submit() or recover() returned 0. When half of it is
	 * over the host calls cancel(); when all is over the host gives the attempt up as LOST.
	 * done() is owed all the same: what it reports late still counts if no further attempt
	 * has been submitted. Until then an instance may have two attempts of one job. NULL: a
	 * minute. */
	uint64_t (*report_grace)(void *instance, const struct lsn_job *job);
	/* check - may an instance be made with these options? Called before init(), in a process of
	 * its own that ends afterwards: it may block, for at most 5 s together with loading the
	 * module. Here belongs what init() would have to wait for, such as whether a service
	 * has what is needed. Returns 0, or a negative errno with ERR filled: then init() is not
	 * called, and the reload is refused. Not called at the start of the daemon: there init()
	 * comes at once, and the instance says what it still waits for. NULL: nothing to wait
	 * for. */
	int (*check)(const struct lsn_option *options, size_t count, struct lsn_error *err);

	/* expect - SCRIPTS scripts are registered whose jobs would come here. Called some time
	 * after init() and whenever it has changed. NULL: not wanted. */
	void (*expect)(void *instance, uint64_t scripts);
};

#endif
