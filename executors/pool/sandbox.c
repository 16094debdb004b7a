/* sandbox.c - the state machine of one sandbox. */
#include "sandbox.h"
#include "backend.h"
#include "log_line.h"
#include "netns.h"
#include "protocol.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>

#include <cleanup.h>
#include <util.h>

/* init kills at timeout + grace; later than that it is done from outside */
#define KILL_MARGIN_USEC (2 * USEC_PER_SEC)
#define PATIENCE_USEC (5 * USEC_PER_SEC) /* for a lost connection to come again */
#define LOOK_USEC (500 * USEC_PER_MSEC) /* meanwhile the container is looked at, each time after this pause */
#define START_LOOK_USEC USEC_PER_SEC /* a container that started should be heard of by then */
#define LOOKS_MAX 10
#define LOOKS_RECOVER_MAX 20
/* the backend is away for longer than this: the result is reported all the same */
#define AWAY_USEC (60 * USEC_PER_SEC)
/* microseconds, bytes: what a sandbox may claim, so that sums and signed columns stay sane */
#define FIGURE_MAX (UINT64_C(1) << 50)
#define RETRY_USEC (500 * USEC_PER_MSEC)
#define NETNS_LINK "berth" /* in the folder: a successor must know */
#define RETRY_MAX_USEC (30 * USEC_PER_SEC)

const char *const sandbox_state_names[SANDBOX_STATE_MAX] = {
	[SANDBOX_CREATING] = "creating", [SANDBOX_STARTING] = "starting",     [SANDBOX_WARM] = "warm",
	[SANDBOX_UPDATING] = "updating", [SANDBOX_RESERVED] = "reserved",     [SANDBOX_RUNNING] = "running",
	[SANDBOX_REPORTED] = "reported", [SANDBOX_RECOVERING] = "recovering", [SANDBOX_ENDING] = "ending",
	[SANDBOX_GONE] = "gone",
};

#define TO(state) (1u << SANDBOX_##state)
static const unsigned moves[SANDBOX_STATE_MAX] = {
	[SANDBOX_CREATING] = TO(STARTING) | TO(ENDING),
	[SANDBOX_STARTING] = TO(WARM) | TO(ENDING),
	[SANDBOX_WARM] = TO(UPDATING) | TO(RESERVED) | TO(ENDING),
	[SANDBOX_UPDATING] = TO(WARM) | TO(ENDING),
	[SANDBOX_RESERVED] = TO(WARM) | TO(RUNNING) | TO(ENDING),
	[SANDBOX_RUNNING] = TO(REPORTED) | TO(ENDING),
	[SANDBOX_REPORTED] = TO(WARM) | TO(ENDING),
	[SANDBOX_RECOVERING] = TO(RUNNING) | TO(REPORTED) | TO(ENDING),
	[SANDBOX_ENDING] = TO(GONE),
};

static void sandbox_try_to_remove(struct sandbox *sb);
static void look_at_container(struct sandbox *sb);
static void look_again(void *data);

/* ---------------------------------------------------------------------------------- small parts */

static void sandbox_set_state(struct sandbox *sb, enum sandbox_state state)
{
	assert(moves[sb->state] & 1u << state);
	log_line(sb->env->host, DEBUG, "sandbox=%s %s -> %s", sb->id, sandbox_state_names[sb->state],
		 sandbox_state_names[state]);
	sb->state = state;
}

static void sandbox_disarm(struct sandbox *sb, struct lsn_timer **timer)
{
	sb->env->host->timer_cancel(sb->env->host->handle, *timer);
	*timer = NULL;
}

static void sandbox_arm(struct sandbox *sb, struct lsn_timer **timer, uint64_t delay_usec, lsn_timer_fn fn)
{
	sandbox_disarm(sb, timer);
	if (sb->env->host->timer(sb->env->host->handle, delay_usec, fn, sb, timer) < 0)
		log_line(sb->env->host, ERROR, "sandbox=%s out of memory for a timer", sb->id);
}

static void sandbox_drop_call(struct sandbox *sb)
{
	const struct backend *backend = sb->env->backend;

	backend->cancel(backend->self, sb->call);
	sb->call = NULL;
}

bool sandbox_id_valid(const char *id)
{
	return strlen(id) == SANDBOX_ID_SIZE - 1 && strspn(id, "0123456789abcdef") == SANDBOX_ID_SIZE - 1;
}

static void result_init(struct lsn_result *result, enum lsn_outcome outcome, const char *message)
{
	*result = (struct lsn_result){ .version = LSN_ABI_VERSION, .size = sizeof *result, .outcome = outcome };
	(void)snprintf(result->message, sizeof result->message, "%s", message);
}

/* The one place that settles what is owed to whoever gave the job. */
static void sandbox_report(struct sandbox *sb, const struct lsn_result *result)
{
	const struct lsn_job *job = sb->job;

	sb->job = NULL;
	if (job)
		sb->env->result(sb->env->data, sb, job, result);
}

/* -------------------------------------------------------------------------------------- the end */

static void finish_gone(struct sandbox *sb)
{
	sandbox_report(sb, &sb->verdict);
	sandbox_remove_folder(sb->env->run_dir_fd, sb->id);
	sandbox_set_state(sb, SANDBOX_GONE);
	sb->env->gone(sb->env->data, sb);
}

static void retry_removal(void *data)
{
	struct sandbox *sb = data;

	sb->deadline = NULL;
	sandbox_try_to_remove(sb);
}

static void sandbox_removed(void *data, const struct backend_reply *reply)
{
	struct sandbox *sb = data;

	sb->call = NULL;
	if (reply->status == BACKEND_OK) {
		finish_gone(sb);
		return;
	}
	/* A backend that is away may have taken its containers along, but only it can say so. */
	if (reply->status != BACKEND_BUSY && sb->end_tries == 1)
		log_line(sb->env->host, WARNING, "sandbox=%s cannot be removed yet: %s", sb->id, reply->error.message);
	if (sb->job && now_monotonic_usec() - sb->ending_usec > AWAY_USEC)
		sandbox_report(sb, &sb->verdict);
	uint64_t pause = RETRY_USEC << (sb->end_tries < 6 ? sb->end_tries : 6);
	sandbox_arm(sb, &sb->deadline, pause < RETRY_MAX_USEC ? pause : RETRY_MAX_USEC, retry_removal);
}

static void sandbox_try_to_remove(struct sandbox *sb)
{
	const struct backend *backend = sb->env->backend;

	sb->end_tries++;
	sandbox_drop_call(sb);
	if (backend->end(backend->self, sb->id, sandbox_removed, sb, &sb->call) < 0)
		sandbox_arm(sb, &sb->deadline, RETRY_USEC, retry_removal);
}

/* The job, if there is one, gets OUTCOME and MESSAGE once the container is gone. */
static void end_with(struct sandbox *sb, enum lsn_outcome outcome, const char *message)
{
	uint64_t started = sb->verdict.started_realtime_usec, now = now_realtime_usec();

	if (sb->state == SANDBOX_ENDING || sb->state == SANDBOX_GONE)
		return;
	result_init(&sb->verdict, outcome, message);
	sb->verdict.started_realtime_usec = started;
	if (started > 0 && now > started)
		sb->verdict.duration_usec = now - started;
	(void)snprintf(sb->why, sizeof sb->why, "%.199s", message);
	sandbox_set_state(sb, SANDBOX_ENDING);
	control_close(&sb->control);
	sandbox_drop_call(sb);
	sandbox_disarm(sb, &sb->deadline);
	sandbox_disarm(sb, &sb->patience);
	sb->ending_usec = now_monotonic_usec();
	sandbox_try_to_remove(sb);
}

void sandbox_end(struct sandbox *sb, const char *why) { end_with(sb, LSN_OUTCOME_LOST, why); }

static void sandbox_trouble(struct sandbox *sb, const char *what)
{
	log_line(sb->env->host, WARNING, "sandbox=%s %s: it is given up", sb->id, what);
	end_with(sb, LSN_OUTCOME_LOST, what);
}

/* ------------------------------------------------------------------------------------- starting */

static void become_idle(struct sandbox *sb)
{
	sandbox_set_state(sb, SANDBOX_WARM);
	sb->idle_usec = now_monotonic_usec();
	sb->served = true;
	sb->env->idle(sb->env->data, sb);
}

static void start_ran_out(void *data)
{
	struct sandbox *sb = data;

	sb->deadline = NULL;
	sandbox_trouble(sb, sb->control.fd >= 0 ? "the interpreter in the sandbox was not ready within start_timeout"
						: "sandbox-init did not connect within start_timeout");
}

static void sandbox_started(struct sandbox *sb)
{
	sandbox_disarm(sb, &sb->deadline);
	sandbox_disarm(sb, &sb->patience);
	sandbox_drop_call(sb);
	become_idle(sb);
}

static void sandbox_made(void *data, const struct backend_reply *reply)
{
	struct sandbox *sb = data;

	sb->call = NULL;
	if (reply->status != BACKEND_OK) {
		sandbox_trouble(sb, reply->error.message);
		return;
	}
	sandbox_set_state(sb, SANDBOX_STARTING);
	if (sb->warm && control_connected(&sb->control))
		sandbox_started(sb);
	else /* one that ended at once would not be missed before the deadline */
		sandbox_arm(sb, &sb->patience, START_LOOK_USEC, look_again);
}

static int ask_for_container(struct sandbox *sb)
{
	_cleanup_free_ char *folder = NULL;
	const struct backend *backend = sb->env->backend;

	if (asprintf(&folder, "%s/%s", sb->env->host->run_dir, sb->id) < 0) {
		folder = NULL;
		return -ENOMEM;
	}
	const struct backend_container container = { .id = sb->id,
						     .folder = folder,
						     .netns = sb->netns ? sb->netns->handle : NULL,
						     .memory_bytes = sb->memory_bytes };
	return backend->make(backend->self, &container, sandbox_made, sb, &sb->call);
}

static void sandbox_limited(void *data, const struct backend_reply *reply)
{
	struct sandbox *sb = data;

	sb->call = NULL;
	if (reply->status == BACKEND_OK)
		become_idle(sb);
	else
		sandbox_trouble(sb, reply->error.message);
}

int sandbox_update(struct sandbox *sb, uint64_t memory_bytes)
{
	const struct backend *backend = sb->env->backend;

	sandbox_drop_call(sb);
	int r = backend->limit(backend->self, sb->id, memory_bytes, sandbox_limited, sb, &sb->call);
	if (r < 0)
		return r;
	sb->memory_bytes = memory_bytes;
	sandbox_set_state(sb, SANDBOX_UPDATING);
	return 0;
}

/* ------------------------------------------------------------------------------- what init says */

static bool walls_suffice(const struct sandbox *sb, const struct sb_hello *hello)
{
	if (!(hello->walls & SB_WALL_NO_NEW_PRIVS))
		return false;
	return sb->env->options->landlock != LANDLOCK_REQUIRE ||
	       ((hello->walls & SB_WALL_LANDLOCK_FS) &&
		(sb->env->options->network == NETWORK_NONE || (hello->walls & SB_WALL_LANDLOCK_TCP)));
}

static void run_too_long(void *data)
{
	struct sandbox *sb = data;

	sb->deadline = NULL;
	log_line(sb->env->host, WARNING, "sandbox=%s job=%llu did not end in time: the container is killed", sb->id,
		 (unsigned long long)sb->job_id);
	if (sb->cancelled)
		end_with(sb, LSN_OUTCOME_CANCELLED, "cancelled; the whole container was killed");
	else
		end_with(sb, LSN_OUTCOME_TIMEOUT, "ran longer than its time limit; the whole container was killed");
}

/* A job that an earlier daemon handed over runs on under our eyes, or its result comes next. */
static void sandbox_adopt(struct sandbox *sb)
{
	/* How much of it is used up only the wall clock could tell, and that may have been set
	 * since. The init inside keeps the real limit; this one is for an init that does not. */
	uint64_t allowed = sb->job->timeout_usec + sb->env->options->grace_usec + KILL_MARGIN_USEC;

	sandbox_disarm(sb, &sb->deadline);
	sandbox_disarm(sb, &sb->patience);
	sandbox_drop_call(sb);
	sb->verdict.started_realtime_usec = sb->job->started_realtime_usec;
	sandbox_set_state(sb, SANDBOX_RUNNING);
	sandbox_arm(sb, &sb->deadline, allowed, run_too_long);
}

/* The container stays until that is committed: a successor that finds it gone could not tell
 * whether the job ran. */
static void recovered_idle(struct sandbox *sb)
{
	struct lsn_result result;

	sandbox_drop_call(sb);
	sb->verdict.started_realtime_usec = 0;
	result_init(&result, LSN_OUTCOME_NOT_STARTED, "the sandbox never received it");
	sandbox_set_state(sb, SANDBOX_REPORTED);
	sandbox_report(sb, &result);
}

static void hello_while_busy(struct sandbox *sb, const struct sb_hello *hello)
{
	if (hello->state != SB_IDLE && hello->job != sb->job_id) {
		sandbox_trouble(sb, "sandbox-init reports another job");
		return;
	}
	sandbox_disarm(sb, &sb->patience);
	if (sb->state == SANDBOX_RECOVERING && hello->state == SB_IDLE)
		recovered_idle(sb);
	else if (sb->state == SANDBOX_RECOVERING)
		sandbox_adopt(sb);
	/* The frame was lost with its connection: with the container gone it cannot arrive any
	 * more. */
	else if (sb->state == SANDBOX_RUNNING && hello->state == SB_IDLE)
		end_with(sb, sb->cancelled ? LSN_OUTCOME_CANCELLED : LSN_OUTCOME_NOT_STARTED,
			 "the connection to the sandbox broke before it received the job");
	else {
		sandbox_drop_call(sb);
		if (sb->cancelled)
			(void)control_send_job(&sb->control, SB_CANCEL, sb->job_id);
	}
}

static void on_hello(void *data, const struct sb_hello *hello)
{
	struct sandbox *sb = data;

	sb->landlock_abi = hello->landlock_abi;
	sb->walls = hello->walls;
	sb->protocol = hello->head.version;
	if (hello->state > SB_FINISHED || !walls_suffice(sb, hello)) {
		sandbox_trouble(sb, hello->state > SB_FINISHED
					    ? "sandbox-init reports a state that is not known"
					    : "sandbox-init could not put up the walls that are required");
		return;
	}
	switch (sb->state) {
	case SANDBOX_RUNNING:
	case SANDBOX_REPORTED:
	case SANDBOX_RECOVERING: hello_while_busy(sb, hello); break;
	default: /* idle in one way or another */
		sandbox_disarm(sb, &sb->patience);
		if (hello->state == SB_FINISHED && hello->job == sb->job_id && sb->job_id > 0)
			/* the first one was lost */
			(void)control_send_job(&sb->control, SB_FORGET, sb->job_id);
		else if (hello->state != SB_IDLE)
			sandbox_trouble(sb, "sandbox-init runs a job that it was not given");
	}
}

static uint64_t at_most(uint64_t value, uint64_t limit) { return value < limit ? value : limit; }

static void on_ready(void *data, uint64_t used_bytes)
{
	struct sandbox *sb = data;

	sb->used_bytes = at_most(used_bytes, FIGURE_MAX);
	if (sb->state == SANDBOX_CREATING)
		sb->warm = true; /* before the backend has said that it runs */
	else if (sb->state == SANDBOX_STARTING)
		sandbox_started(sb);
	/* else: after a connection came again */
}

static void *read_output(int fd, uint64_t size)
{
	char *bytes = size > 0 && fd >= 0 ? malloc(size) : NULL;
	uint64_t at = 0;

	while (bytes && at < size) {
		ssize_t n = pread(fd, bytes + at, size - at, (off_t)at);
		if (n <= 0) {
			free(bytes);
			return NULL;
		}
		at += (uint64_t)n;
	}
	return bytes;
}

/* Only figures and bytes cross over; which job they belong to we know ourselves. */
static void result_deliver(struct sandbox *sb, const struct sb_result *from, const int fds[2])
{
	const struct lsn_job *job = sb->job;
	uint64_t out_size = at_most(from->out_size, job->output_limit_bytes),
		 err_size = at_most(from->err_size, job->output_limit_bytes);
	_cleanup_free_ void *out = read_output(fds[0], out_size), *err = read_output(fds[1], err_size);
	struct lsn_result result;
	char message[sizeof from->message];

	memcpy(message, from->message, sizeof message);
	for (char *p = message; *p; p++)
		if ((unsigned char)*p < ' ' || (unsigned char)*p >= 0x7f)
			*p = '?';
	result_init(&result, from->outcome, message);
	result.exit_status = from->exit_status;
	result.signal = from->signal;
	result.out = out;
	result.out_size = out ? out_size : 0;
	result.err = err;
	result.err_size = err ? err_size : 0;
	result.out_truncated = from->out_truncated || out_size < from->out_size || (out_size > 0 && !out);
	result.err_truncated = from->err_truncated || err_size < from->err_size || (err_size > 0 && !err);
	result.started_realtime_usec = at_most(from->started_realtime_usec, now_realtime_usec());
	result.duration_usec = at_most(from->duration_usec, FIGURE_MAX);
	result.user_usec = at_most(from->user_usec, FIGURE_MAX);
	result.system_usec = at_most(from->system_usec, FIGURE_MAX);
	result.max_rss_bytes = at_most(from->max_rss_bytes, FIGURE_MAX);
	sandbox_report(sb, &result);
}

static void on_control_result(void *data, const struct sb_result *result, const int fds[2])
{
	struct sandbox *sb = data;
	bool limit = result->outcome != LSN_OUTCOME_SUCCESS && result->outcome != LSN_OUTCOME_FAILURE &&
		     result->outcome != LSN_OUTCOME_SIGNAL;

	if (sb->state == SANDBOX_REPORTED && result->job == sb->job_id)
		return; /* repeated after the connection came again; the host has it */
	if (sb->state != SANDBOX_RUNNING || result->job != sb->job_id) {
		sandbox_trouble(sb, "sandbox-init reports the end of a job that does not run there");
		return;
	}
	if (sb->job->output == LSN_OUTPUT_CAPTURE && fds[0] < 0 && result->outcome != LSN_OUTCOME_ERROR) {
		sandbox_trouble(sb, "sandbox-init sent no output, although its result announced it");
		return;
	}
	sandbox_disarm(sb, &sb->deadline);
	sandbox_disarm(sb, &sb->patience);
	sb->jobs_done++;
	sb->used_bytes = at_most(result->used_bytes, FIGURE_MAX);
	sb->control.connects = 0;
	if (limit || !result->clean || sb->cancelled)
		sb->spoiled = true;
	sandbox_set_state(sb, SANDBOX_REPORTED);
	result_deliver(sb, result, fds);
}

static void on_violation(void *data, const char *what)
{
	struct sandbox *sb = data;
	char text[160];

	(void)snprintf(text, sizeof text, "sandbox-init sent %s", what);
	sandbox_trouble(sb, text);
}

/* -------------------------------------------------------------------- a connection that is gone */

static void patience_ran_out(void *data)
{
	struct sandbox *sb = data;

	sb->patience = NULL;
	sandbox_trouble(sb, "sandbox-init did not connect again");
}

static void look_again(void *data)
{
	struct sandbox *sb = data;

	sb->patience = NULL;
	look_at_container(sb);
}

static void container_stopped(struct sandbox *sb, const struct backend_reply *reply)
{
	char text[200];

	if (reply->oom_killed && reply->exit_status == 137) {
		end_with(sb, LSN_OUTCOME_MEMORY, "the memory limit killed the whole sandbox");
		return;
	}
	(void)snprintf(text, sizeof text, "its container stopped (exit status %" PRId64 ")", reply->exit_status);
	sandbox_trouble(sb, text);
}

static void looked_at(void *data, const struct backend_reply *reply)
{
	struct sandbox *sb = data;

	sb->call = NULL;
	if (control_connected(&sb->control))
		return; /* it has come, or come again, meanwhile */
	if (reply->status == BACKEND_ABSENT)
		sandbox_trouble(sb, "its container is gone");
	else if (reply->status != BACKEND_OK)
		/* the backend is away: ask until it is back */
		sandbox_arm(sb, &sb->patience, 2 * RETRY_USEC, look_again);
	else if (!reply->running)
		container_stopped(sb, reply);
	else if (sb->state == SANDBOX_STARTING)
		/* its deadline runs */
		sandbox_arm(sb, &sb->patience, START_LOOK_USEC << (sb->looks < 5 ? ++sb->looks : sb->looks),
			    look_again);
	else if (++sb->looks < (sb->state == SANDBOX_RECOVERING ? LOOKS_RECOVER_MAX : LOOKS_MAX))
		/* the backend may not have noticed yet */
		sandbox_arm(sb, &sb->patience, LOOK_USEC, look_again);
	else
		sandbox_trouble(sb, "sandbox-init does not answer");
}

static void look_at_container(struct sandbox *sb)
{
	const struct backend *backend = sb->env->backend;

	sandbox_drop_call(sb);
	if (backend->look(backend->self, sb->id, looked_at, sb, &sb->call) < 0)
		sandbox_arm(sb, &sb->patience, 2 * RETRY_USEC, look_again);
}

static void on_closed(void *data)
{
	struct sandbox *sb = data;

	switch (sb->state) {
	case SANDBOX_RUNNING:
	case SANDBOX_REPORTED:
	case SANDBOX_RECOVERING:
	case SANDBOX_WARM:
	case SANDBOX_STARTING:
		sb->looks = 0;
		look_at_container(sb);
		break;
	case SANDBOX_CREATING: /* the reply is due */
	case SANDBOX_ENDING:
	case SANDBOX_GONE: break;
	default: sandbox_arm(sb, &sb->patience, PATIENCE_USEC, patience_ran_out); break;
	}
}

/* ----------------------------------------------------------------------------------------- jobs */

bool sandbox_free_for_job(const struct sandbox *sb)
{
	return sb->state == SANDBOX_WARM && control_connected(&sb->control) && !sb->spoiled;
}

void sandbox_reserve(struct sandbox *sb, const struct lsn_job *job)
{
	sb->job_id = job->id;
	sandbox_set_state(sb, SANDBOX_RESERVED);
}

void sandbox_release(struct sandbox *sb)
{
	sandbox_set_state(sb, SANDBOX_WARM);
	sb->job_id = 0;
	sb->idle_usec = now_monotonic_usec();
}

int sandbox_submit(struct sandbox *sb, const struct lsn_job *job, struct lsn_error *err)
{
	const struct options *o = sb->env->options;
	const struct control_run run = { .grace_usec = o->grace_usec,
					 .cpu_usec = o->cpu_time_usec,
					 .nofile = (uint32_t)o->nofile,
					 .exec = o->start == START_EXEC };

	int r = control_send_run(&sb->control, job, &run);
	if (r < 0) {
		(void)lsn_error_set(err, r, "sandbox %s cannot take the job: %s", sb->id, strerror(-r));
		sandbox_end(sb, "it could not take a job");
		return r;
	}
	sb->job = job;
	sb->job_id = job->id;
	sb->cancelled = false;
	sb->verdict.started_realtime_usec = now_realtime_usec();
	sandbox_set_state(sb, SANDBOX_RUNNING);
	sandbox_arm(sb, &sb->deadline, job->timeout_usec + o->grace_usec + KILL_MARGIN_USEC, run_too_long);
	return 0;
}

void sandbox_cancel(struct sandbox *sb)
{
	if (sb->state == SANDBOX_RECOVERING) {
		end_with(sb, LSN_OUTCOME_CANCELLED, "cancelled while it was being recovered");
		return;
	}
	if (sb->state != SANDBOX_RUNNING || sb->cancelled)
		return;
	sb->cancelled = true;
	(void)control_send_job(&sb->control, SB_CANCEL, sb->job_id);
	sandbox_arm(sb, &sb->deadline, sb->env->options->grace_usec + KILL_MARGIN_USEC, run_too_long);
}

void sandbox_forget(struct sandbox *sb, bool keep)
{
	if (sb->state != SANDBOX_REPORTED)
		return;
	if (!keep || sb->spoiled) {
		end_with(sb, LSN_OUTCOME_LOST, sb->spoiled ? "it must not be used again" : "it has served");
		return;
	}
	/* if the connection is gone: repeated at the next HELLO */
	(void)control_send_job(&sb->control, SB_FORGET, sb->job_id);
	sandbox_set_state(sb, SANDBOX_WARM);
	sb->idle_usec = now_monotonic_usec();
	sb->verdict.started_realtime_usec = 0;
}

void sandbox_retire(struct sandbox *sb, const char *why)
{
	sb->spoiled = true;
	if (sb->state == SANDBOX_WARM)
		sandbox_end(sb, why);
}

/* ----------------------------------------------------------------------------------------- life */

void sandbox_remove_folder(int run_dir_fd, const char *id)
{
	char path[64];

	(void)snprintf(path, sizeof path, "%s/socket", id);
	(void)unlinkat(run_dir_fd, path, 0);
	(void)snprintf(path, sizeof path, "%s/" NETNS_LINK, id);
	(void)unlinkat(run_dir_fd, path, 0);
	(void)unlinkat(run_dir_fd, id, AT_REMOVEDIR);
}

bool sandbox_read_netns(int run_dir_fd, const char *id, char ret[SANDBOX_ID_SIZE])
{
	char path[64];

	(void)snprintf(path, sizeof path, "%.20s/" NETNS_LINK, id);
	ssize_t n = readlinkat(run_dir_fd, path, ret, SANDBOX_ID_SIZE);
	if (n != SANDBOX_ID_SIZE - 1)
		return false;
	ret[n] = 0;
	return sandbox_id_valid(ret);
}

static int sandbox_open_folder(struct sandbox *sb)
{
	if (mkdirat(sb->env->run_dir_fd, sb->id, 0750) < 0 && errno != EEXIST)
		return -errno;
	_cleanup_close_ int fd = openat(sb->env->run_dir_fd, sb->id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	/* the group of a new folder may come from its parent (setgid): init looks for the
	 * daemon's own */
	if (fchown(fd, (uid_t)-1, getegid()) < 0 || fchmod(fd, 0750) < 0)
		return -errno;
	sb->dir_fd = TAKE_FD(fd);
	return 0;
}

static int sandbox_alloc(const struct sandbox_env *env, struct sandbox **ret)
{
	struct sandbox *sb = calloc(1, sizeof *sb);

	if (!sb)
		return -ENOMEM;
	sb->env = env;
	sb->dir_fd = -1;
	sb->control.fd = sb->control.listen_fd = -1;
	sb->created_usec = now_monotonic_usec();
	*ret = sb;
	return 0;
}

DEFINE_CLEANUP(struct sandbox *, sandbox_freep, sandbox_free)

static int open_socket(struct sandbox *sb)
{
	const struct control_hooks hooks = { on_hello, on_ready, on_control_result, on_closed, on_violation, sb };
	int r = sandbox_open_folder(sb);

	return r < 0 ? r : control_open(&sb->control, sb->env->host, sb->dir_fd, &hooks);
}

int sandbox_new(const struct sandbox_env *env, uint64_t memory_bytes, struct netns *netns, struct sandbox **ret,
		struct lsn_error *err)
{
	_cleanup_(sandbox_freep) struct sandbox *sb = NULL;
	unsigned char random[8];
	int r = sandbox_alloc(env, &sb);

	if (r < 0)
		return lsn_error_set(err, r, "out of memory");
	if (getrandom(random, sizeof random, 0) != sizeof random)
		return lsn_error_set(err, -EIO, "no random numbers");
	hex_encode(random, sizeof random, sb->id);
	sb->memory_bytes = memory_bytes;
	sb->netns = netns;
	r = open_socket(sb);
	if (r == 0 && netns && symlinkat(netns->id, sb->dir_fd, NETNS_LINK) < 0)
		r = -errno;
	if (r == 0)
		r = ask_for_container(sb);
	if (r < 0) {
		sandbox_remove_folder(env->run_dir_fd, sb->id);
		return lsn_error_set(err, r, "a sandbox in %s: %s", env->host->run_dir, strerror(-r));
	}
	sandbox_arm(sb, &sb->deadline, env->options->start_timeout_usec, start_ran_out);
	*ret = TAKE_PTR(sb);
	return 0;
}

int sandbox_recover(const struct sandbox_env *env, const char *place, const struct lsn_job *job, struct sandbox **ret,
		    struct lsn_error *err)
{
	_cleanup_(sandbox_freep) struct sandbox *sb = NULL;
	int r = sandbox_id_valid(place) ? sandbox_alloc(env, &sb) : -EINVAL;

	if (r < 0)
		return lsn_error_set(err, r, r == -EINVAL ? "not the name of a sandbox" : "out of memory");
	memcpy(sb->id, place, sizeof sb->id);
	r = open_socket(sb);
	if (r < 0)
		return lsn_error_set(err, r, "sandbox %s: %s", place,
				     r == -EBUSY ? "another listenerd is connected to it" : strerror(-r));
	control_expect(&sb->control, job->output_limit_bytes);
	sb->state = SANDBOX_RECOVERING;
	sb->job = job;
	sb->job_id = job->id;
	sb->memory_bytes = job->memory_bytes;
	sb->served = true;
	/* made by another daemon with other settings, perhaps: it finishes this job and goes */
	sb->spoiled = true;
	sb->verdict.started_realtime_usec = job->started_realtime_usec;
	look_at_container(sb);
	*ret = TAKE_PTR(sb);
	return 0;
}

void sandbox_free(struct sandbox *sb)
{
	if (!sb)
		return;
	sandbox_drop_call(sb);
	sandbox_disarm(sb, &sb->deadline);
	sandbox_disarm(sb, &sb->patience);
	control_close(&sb->control);
	if (sb->dir_fd >= 0)
		(void)close(sb->dir_fd);
	free(sb);
}
