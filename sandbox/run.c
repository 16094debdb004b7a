/* run.c - the life of one run: RUN_ACTIVE -> (RUN_ENDING ->) (RUN_KILLING ->) RUN_SWEEPING ->
 * the result.
 *
 * Killing goes by user id: kill(-1) with the script's uid reaches everything the script started,
 * whatever session or state it is in, is atomic against fork, needs no new process and cannot
 * hit init or the fork server, which have another uid. Whether anything is left, zombies
 * included, getpriority(PRIO_USER) tells in one call, so the usual, clean end costs next to
 * nothing; kill()'s own ESRCH cannot be asked, as the fork server is there to be refused. */
#include "init.h"
#include "protocol.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SWEEP_USEC 2000 /* between two looks at what does not want to go */
#define GIVE_UP_USEC (5 * USEC_PER_SEC)

static uint64_t realtime_usec(void)
{
	struct timespec ts;
	(void)clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * USEC_PER_SEC + (uint64_t)ts.tv_nsec / 1000;
}

static void become_init(void)
{
	for (int i = 0; syscall(SYS_setresuid, -1, 0, -1) < 0; i++)
		if (i == 100)
			abort(); /* an init that is nobody is no init: the container ends */
}

/* While it signals, init is nobody in its effective id only. That is enough to reach scripts,
 * and them alone: who else is there has root's ids. Scripts cannot answer, as the ids that count
 * for a target, the real and the saved one, are never theirs (SB_INIT_UID, 0). The saved id
 * leads back, and the permitted capabilities become effective again with it. */
int kill_scripts(int sig)
{
	if (syscall(SYS_setresuid, -1, SB_SCRIPT_UID, -1) < 0)
		return -errno;
	int r = kill(-1, sig) < 0 ? -errno : 0;
	become_init();
	return r;
}

/* Is there a process with the script's real user id in our pid namespace? No script can have
 * another one. */
static bool user_counted(void) { return syscall(SYS_getpriority, PRIO_USER, SB_SCRIPT_UID) >= 0 || errno != ESRCH; }

/* The same by asking for each process whether nobody may signal it. */
static bool user_found(void)
{
	DIR *processes = opendir("/proc");
	if (!processes || syscall(SYS_setresuid, -1, SB_SCRIPT_UID, -1) < 0) {
		if (processes)
			(void)closedir(processes);
		return true;
	}
	bool found = false;
	for (struct dirent *d; !found && (d = readdir(processes));) {
		long pid = strtol(d->d_name, NULL, 10);
		found = pid > 1 && kill((pid_t)pid, 0) == 0;
	}
	become_init();
	(void)closedir(processes);
	return found;
}

static bool scripts_left(const struct init *in) { return in->counts_users ? user_counted() : user_found(); }

void run_prepare(struct init *in) { in->counts_users = !user_counted(); }

/* --------------------------------------------------------------------------------------- result */

void run_keep_result(struct init *in, const struct sb_result *result, int out_fd, int err_fd)
{
	in->result = *result;
	in->result_fds[0] = out_fd;
	in->result_fds[1] = err_fd;
	in->state = SB_FINISHED;
	control_send_result(in);
}

void run_refuse(struct init *in, uint64_t job, const char *why)
{
	struct sb_result result = {
		.job = job, .outcome = LSN_OUTCOME_ERROR, .clean = 1, .started_realtime_usec = realtime_usec()
	};
	(void)snprintf(result.message, sizeof result.message, "%s", why);
	run_keep_result(in, &result, -1, -1);
}

static void drop_result(struct init *in)
{
	for (int i = 0; i < 2; i++) {
		if (in->result_fds[i] >= 0)
			(void)close(in->result_fds[i]);
		in->result_fds[i] = -1;
	}
	in->result = (struct sb_result){ 0 };
	in->state = SB_IDLE;
}

void run_forget(struct init *in, uint64_t job)
{
	if (in->state == SB_FINISHED && in->result.job == job) {
		drop_result(in);
		in->away_usec = now_usec();
	}
}

/* How did it end, as far as its first process tells? */
static void plain_outcome(const struct run *run, struct sb_result *result)
{
	if (WIFSIGNALED(run->status)) {
		result->signal = WTERMSIG(run->status);
		result->outcome = LSN_OUTCOME_SIGNAL;
		/* The kernel sends SIGXCPU at the soft limit and SIGKILL a second later to those
		 * who ignore it. */
		if (run->cpu_usec > 0 &&
		    (result->signal == SIGXCPU ||
		     (result->signal == SIGKILL && run->user_usec + run->system_usec >= run->cpu_usec)))
			result->outcome = LSN_OUTCOME_CPU;
	} else {
		result->exit_status = WEXITSTATUS(run->status);
		result->outcome = result->exit_status == 0 ? LSN_OUTCOME_SUCCESS : LSN_OUTCOME_FAILURE;
	}
}

static void outcome_judge(const struct run *run, struct sb_result *result)
{
	if (!run->ended)
		result->outcome = LSN_OUTCOME_LOST;
	else
		plain_outcome(run, result);
	bool failed = result->outcome != LSN_OUTCOME_SUCCESS || run->judged >= 0;
	bool oom = failed && cgroup_oom_killed(), pids = failed && cgroup_pids_refused();
	if (run->judged >= 0)
		result->outcome = (uint32_t)run->judged;
	else if (oom)
		result->outcome = LSN_OUTCOME_MEMORY;
	else if (run->unstarted)
		result->outcome = LSN_OUTCOME_ERROR;
	else if (pids && result->outcome != LSN_OUTCOME_CPU)
		result->outcome = LSN_OUTCOME_PROCESSES;
	(void)snprintf(result->message, sizeof result->message, "%s%s%s%s%s",
		       run->unstarted && !run->message[0] ? "the interpreter could not be made ready" : run->message,
		       run->message[0] && pids ? "; " : "", pids ? "it reached the limit of processes" : "",
		       (run->message[0] || pids) && oom ? "; " : "",
		       oom ? "a process had no memory left and was killed" : "");
}

static void run_finish(struct init *in, bool clean)
{
	struct run *run = &in->run;
	struct sb_result result = {
		.job = run->job,
		.clean = clean,
		.started_realtime_usec = run->started_realtime_usec,
		.duration_usec = (run->ended_usec ? run->ended_usec : now_usec()) - run->started_usec,
		.user_usec = run->user_usec,
		.system_usec = run->system_usec,
		.max_rss_bytes = run->max_rss_bytes,
		.used_bytes = cgroup_memory(),
	};
	int out = -1, err = -1;
	feed_close(&run->in);
	if (run->capture) {
		/* All writers are dead: what is in the pipes is all there will be. */
		while (pump_read(&run->out))
			;
		while (pump_read(&run->err))
			;
		out = pump_finish(&run->out);
		err = pump_finish(&run->err);
		result.out_size = run->out.size;
		result.err_size = run->err.size;
		result.out_truncated = run->out.truncated;
		result.err_truncated = run->err.truncated;
	}
	outcome_judge(run, &result);
	run->phase = RUN_NONE;
	run->pid = 0;
	in->jobs_done++;
	run_keep_result(in, &result, out, err);
	cgroup_mark(); /* after the result is on its way: nobody waits for this */
}

/* --------------------------------------------------------------------------------------- ending */

/* The first process has ended; is anything else there? */
static void user_sweep(struct init *in)
{
	struct run *run = &in->run;
	if (run->phase != RUN_SWEEPING) {
		run->phase = RUN_SWEEPING;
		run->give_up_usec = now_usec() + GIVE_UP_USEC;
	}
	for (int i = 0; i < 3; i++) {
		if (!scripts_left(in)) {
			run_finish(in, true);
			return;
		}
		(void)kill_scripts(SIGKILL);
		reap(in);
	}
	if (now_usec() >= run->give_up_usec) {
		say("job %llu left processes that cannot be killed", (unsigned long long)run->job);
		run_finish(in, false);
		return;
	}
	run->next_usec = now_usec() + SWEEP_USEC;
}

static void kill_now(struct init *in)
{
	struct run *run = &in->run;
	if (run->phase != RUN_KILLING) {
		run->phase = RUN_KILLING;
		run->give_up_usec = now_usec() + GIVE_UP_USEC;
	}
	(void)kill_scripts(SIGKILL);
	if (run->pid > 0)
		(void)kill(run->pid, SIGKILL); /* it may not be the script's user yet */
	run->next_usec = now_usec() + SWEEP_USEC;
	if (now_usec() < run->give_up_usec)
		return;
	/* Nothing is heard of the first process: the fork server hangs, or the kernel does. What
	 * it was may still be there. */
	say("job %llu cannot be ended", (unsigned long long)run->job);
	server_stop(&in->server);
	run_finish(in, false);
}

static void end_with(struct init *in, enum lsn_outcome outcome, const char *message)
{
	struct run *run = &in->run;
	run->judged = (int)outcome;
	(void)snprintf(run->message, sizeof run->message, "%s", message);
	run->phase = RUN_ENDING;
	run->next_usec = now_usec() + run->grace_usec;
	(void)kill_scripts(SIGTERM);
}

void run_tick(struct init *in)
{
	switch (in->run.phase) {
	case RUN_ACTIVE: {
		char message[48];
		(void)snprintf(message, sizeof message, "it ran longer than %llu.%03llu s",
			       (unsigned long long)(in->run.timeout_usec / USEC_PER_SEC),
			       (unsigned long long)(in->run.timeout_usec / 1000 % 1000));
		if (now_usec() >= in->run.next_usec)
			end_with(in, LSN_OUTCOME_TIMEOUT, message);
		break;
	}
	case RUN_ENDING:
		if (now_usec() >= in->run.next_usec)
			kill_now(in);
		break;
	case RUN_KILLING: kill_now(in); break;
	case RUN_SWEEPING: user_sweep(in); break;
	case RUN_NONE: break;
	}
}

void run_cancel(struct init *in, uint64_t job)
{
	if (in->state == SB_RUNNING && in->run.job == job && in->run.phase == RUN_ACTIVE)
		end_with(in, LSN_OUTCOME_CANCELLED, "it was cancelled");
}

static uint64_t usec_of(struct timeval tv) { return (uint64_t)tv.tv_sec * USEC_PER_SEC + (uint64_t)tv.tv_usec; }

void run_main_ended(struct init *in, int status, const struct rusage *ru)
{
	struct run *run = &in->run;
	if (run->phase == RUN_NONE || run->phase == RUN_SWEEPING)
		return;
	run->ended = true;
	run->pid = 0;
	run->ended_usec = now_usec();
	run->status = status;
	run->user_usec = usec_of(ru->ru_utime);
	run->system_usec = usec_of(ru->ru_stime);
	run->max_rss_bytes = (uint64_t)ru->ru_maxrss * 1024;
	user_sweep(in);
}

/* Its children are ours now; how the script's first process ended nobody can tell any more. */
void run_server_died(struct init *in)
{
	struct run *run = &in->run;
	if (run->phase == RUN_NONE || run->phase == RUN_SWEEPING || run->pid > 0)
		return;
	if (!run->message[0])
		(void)snprintf(run->message, sizeof run->message, "the fork server ended during the run");
	run->ended_usec = now_usec();
	user_sweep(in);
}

void run_pump(struct init *in)
{
	feed_write(&in->run.in);
	(void)pump_read(&in->run.out);
	(void)pump_read(&in->run.err);
}

/* ------------------------------------------------------------------------------------- starting */

static int open_pipes(struct run *run, const struct run_request *req, struct script_fds *fds)
{
	const struct sb_run *frame = req->frame;
	int r = 0;
	if (frame->flags & SB_RUN_PIPE)
		r = feed_open(&run->in, req->payload_fd, frame->payload_size, &fds->in);
	if (r == 0 && run->capture)
		r = pump_open(&run->out, "stdout", frame->output_limit_bytes, &fds->out);
	if (r == 0 && run->capture)
		r = pump_open(&run->err, "stderr", frame->output_limit_bytes, &fds->err);
	return r;
}

static void close_pipes(const struct script_fds *fds)
{
	const int all[] = { fds->in, fds->out, fds->err };
	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
		if (all[i] >= 0)
			(void)close(all[i]);
}

static void fail_start(struct init *in, const char *why)
{
	feed_close(&in->run.in);
	int out = pump_finish(&in->run.out), err = pump_finish(&in->run.err);
	if (out >= 0)
		(void)close(out);
	if (err >= 0)
		(void)close(err);
	in->run.phase = RUN_NONE;
	run_refuse(in, in->run.job, why);
}

static struct run new_run(const struct sb_run *frame)
{
	uint64_t now = now_usec();
	return (struct run){
		.phase = RUN_ACTIVE,
		.job = frame->job,
		.timeout_usec = frame->timeout_usec,
		.grace_usec = frame->grace_usec,
		.cpu_usec = frame->cpu_usec,
		.started_usec = now,
		.started_realtime_usec = realtime_usec(),
		.next_usec = now + frame->timeout_usec,
		.capture = frame->flags & SB_RUN_CAPTURE,
		.judged = -1,
		.out = { .pipe_fd = -1, .mem_fd = -1 },
		.err = { .pipe_fd = -1, .mem_fd = -1 },
		.in = { .pipe_fd = -1, .payload_fd = -1 },
	};
}

void run_start(struct init *in, const struct run_request *req)
{
	struct script_fds fds = { -1, -1, -1 };
	char why[128] = "";
	in->run = new_run(req->frame);
	int r = open_pipes(&in->run, req, &fds);
	if (r == 0) {
		if (exec_wanted(in, req))
			r = exec_start(in, req, &fds, &in->run.pid, why);
		else
			r = server_run(in, req, &fds);
	}
	close_pipes(&fds);
	if (r < 0) {
		if (!why[0])
			(void)snprintf(why, sizeof why, "cannot start it: %s", strerror(-r));
		fail_start(in, why);
		return;
	}
	in->state = SB_RUNNING;
}
