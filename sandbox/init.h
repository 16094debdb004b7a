/* init.h - the parts of sandbox-init and what they know of each other.
 *
 * sandbox-init is PID 1 of a sandbox: one thread, one poll() loop (init.c), one run at a time.
 * It is root in its container with nothing but SETUID, SETGID and KILL, and it is out of the
 * script's reach: another user id, not dumpable, pid 1, outside the script's Landlock domain.
 *
 *     init.c      options, signals, the loop
 *     control.c   the connection to the executor: HELLO, READY, RESULT out; RUN, FORGET, CANCEL in
 *     run.c       the life of one run: start, limits, the end of every process of it, the result
 *     server.c    the warm interpreter (forkserver.py): starting, replacing, talking
 *     exec.c      runs in a new interpreter: `#!`, SB_RUN_EXEC
 *     walls.c     what scripts are shut in with: capabilities, Landlock, ids
 *     routes.c    the gateway is the only neighbour
 *     filter.c    the seccomp filter beside Docker's
 *     pump.c      bounded copies of stdout and stderr
 *     feed.c      the payload, into the pipe that is stdin
 *     cgroup.c    counters that tell why the kernel killed something */
#ifndef SANDBOX_INIT_H
#define SANDBOX_INIT_H

#include <listener/executor.h>
#include <protocol.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#define HIGH_FD 32 /* from here on nothing is in the way of the numbers that a child hands on */
#define PORTS_MAX 64
#define USEC_NEVER UINT64_MAX
#define USEC_PER_SEC UINT64_C(1000000)

struct options {
	const char *control; /* path of the control socket */
	const char *python; /* absolute path, or NULL: none found */
	const char *preload; /* modules the fork server imports, comma-separated; may be "" */
	bool forkserver; /* false: every run starts a new interpreter */
	bool dns; /* TCP port 53 is open */
	/* TCP ports from 1024 on are left to the engine's firewall, which knows what port 21 has
	 * agreed on */
	bool ftp_data;
	uint16_t ports[PORTS_MAX]; /* TCP ports scripts may connect to */
	size_t port_count;
	uint64_t orphan_usec; /* idle and no daemon for this long: end */
	unsigned max_forks; /* jobs per fork server: a new one has a new hash seed */
	unsigned protocol; /* version that the executor wants */
};

/* One stream of a script: what comes out of PIPE_FD goes to MEM_FD, at most LIMIT bytes. */
struct pump {
	int pipe_fd, mem_fd; /* -1: none */
	uint64_t size, limit;
	bool truncated; /* there was more */
};

/* What a script has still to get through the pipe that is its stdin. */
struct feed {
	int pipe_fd, payload_fd; /* -1: none, or all is in the pipe */
	uint64_t at, size;
};

enum run_phase {
	RUN_NONE,
	RUN_ACTIVE, /* the script runs */
	RUN_ENDING, /* SIGTERM was sent: it has its grace */
	RUN_KILLING, /* SIGKILL was sent, its first process has not ended yet */
	RUN_SWEEPING, /* the first process has ended, others may be left */
};

struct run {
	enum run_phase phase;
	uint64_t job;
	pid_t pid; /* first process of a run by exec; 0: the fork server has it */
	uint64_t timeout_usec, grace_usec, cpu_usec;
	uint64_t started_usec, ended_usec, started_realtime_usec; /* monotonic but the last */
	uint64_t next_usec; /* when run_tick() has something to do */
	uint64_t give_up_usec; /* when what cannot be killed is given up */
	bool capture, ended;
	bool unstarted; /* it ended before the script began */
	int judged; /* enum lsn_outcome decided before the end, or -1 */
	int status; /* wait status of the first process */
	uint64_t user_usec, system_usec, max_rss_bytes;
	struct pump out, err;
	struct feed in;
	char message[48];
};

struct server {
	pid_t pid; /* 0: none */
	int fd; /* -1: none */
	bool ready;
	unsigned jobs; /* handed to it */
};

struct init {
	struct options options;
	uint32_t walls, landlock_abi;
	int ruleset_fd; /* Landlock; -1: none */
	int code_fd; /* memfd with forkserver.py; -1: none */
	int null_fd, signal_fd;
	/* getpriority() tells whether a user has processes; gVisor's kernel says yes for any */
	bool counts_users;

	int control_fd; /* -1: not connected */
	uint64_t connect_usec; /* when to try next */
	uint64_t away_usec; /* since when the daemon is away */
	unsigned connect_tries;
	char *frame; /* SB_FRAME_MAX bytes: the frame being read */

	/* the successor warms up beside the one that has served enough */
	struct server server, successor;
	unsigned server_failures; /* in a row before READY */
	uint64_t server_retry_usec;
	bool warm_told; /* READY went out on this connection */

	struct run run;
	enum sb_state state;
	struct sb_result result; /* SB_FINISHED */
	int result_fds[2]; /* its output, or -1 */
	uint64_t jobs_done;
};

/* init.c */
uint64_t now_usec(void); /* CLOCK_MONOTONIC */
__attribute__((format(printf, 1, 2))) void say(const char *format, ...); /* one line to stderr */
struct init;
void reap(struct init *in); /* sort the dead */

/* control.c */
void control_connect(struct init *in); /* try now if it is time */
void control_drop(struct init *in); /* the connection ends; try again soon */
void control_read(struct init *in); /* frames have come */
void control_send_ready(struct init *in); /* once per connection, when warm */
void control_send_result(struct init *in); /* in->result, if connected */

/* run.c - all take what the run needs from IN and never block. */
struct run_request {
	const struct sb_run *frame; /* checked */
	/* NUL-terminated; env: env_count strings one after the other */
	const char *name, *topic, *env;
	int script_fd, payload_fd; /* borrowed */
};

/* The script's ends of its pipes.
 * -1: there is none, and the payload or /dev/null takes its place. */
struct script_fds {
	int in, out, err;
};

void run_prepare(struct init *in); /* before the first run: how to know what is left of one */
void run_start(struct init *in, const struct run_request *req);
void run_refuse(struct init *in, uint64_t job, const char *why); /* a result without a run */
void run_cancel(struct init *in, uint64_t job);
void run_forget(struct init *in, uint64_t job);
void run_main_ended(struct init *in, int status, const struct rusage *ru);
void run_server_died(struct init *in);
void run_pump(struct init *in); /* output has come, or there is room for input */
void run_tick(struct init *in); /* the time of run.next_usec has come, or children have ended */
void run_keep_result(struct init *in, const struct sb_result *result, int out_fd, int err_fd);

/* kill_scripts - send SIG to every process of the script's user, if any.
 * 0 or negative errno. */
int kill_scripts(int sig);

/* server.c */
void server_keep(struct init *in); /* start what should run and does not */

/* hand a job over: 0, negative errno */
int server_run(struct init *in, const struct run_request *req, const struct script_fds *script);
void server_read(struct init *in, struct server *server);
bool server_exited(struct init *in, pid_t pid); /* PID ended: was it ours? */
bool server_usable(const struct init *in);
void server_stop(struct server *server);

/* exec.c */

/* not one for the fork server */
bool exec_wanted(const struct init *in, const struct run_request *req);

/* exec_start - start a new interpreter.
 * 0 and *RET_PID, or negative errno with WHY filled. */
int exec_start(struct init *in, const struct run_request *req, const struct script_fds *fds, pid_t *ret_pid,
	       char why[128]);

/* walls.c */

/* init's own standing; in->walls, in->ruleset_fd.
 * 0 or negative errno. */
int walls_init(struct init *in);
int walls_enter(const struct init *in); /* in a child, before the drop: Landlock and seccomp */
int walls_keep_setid(void); /* in the fork server to be: SETUID and SETGID survive execve */
int walls_drop(void); /* in a child: nobody, no capability */

/* oom_score_open - where a process says how likely the kernel is to choose it when memory is
 * short: a descriptor to write to, or -1; what it is now and what it is to be for a job, so that
 * neither init nor the fork server is chosen.
 * To be called before walls_enter(). */
int oom_score_open(char score[16], char job_score[16]);
int walls_limits(void); /* in a child: the limits that are the same for all */

/* routes.c */

/* routes_init - leave one neighbour and one loopback address; in->walls says whether it worked.
 * Needs NET_ADMIN, so it comes before walls_init(). */
void routes_init(struct init *in);

/* filter.c */
int filter_install(void); /* 0 or negative errno */

/* pump.c */

/* script_pipe - a pipe that belongs to the script's user; ENDS[OURS], init's end, does not block.
 * 0 or negative errno. */
int script_pipe(int ends[2], int ours);
int pump_open(struct pump *pump, const char *name, uint64_t limit, int *ret_write_fd);

/* a pipe's worth; closes pipe_fd at its end. true: there may be more */
bool pump_read(struct pump *pump);

/* the sealed memfd (caller's) or -1; PUMP is empty afterwards */
int pump_finish(struct pump *pump);

/* feed.c */

/* feed_open - a pipe with as much of SIZE bytes of PAYLOAD_FD (borrowed) in it as it has room for.
 * 0 and *RET_READ_FD, or negative errno and FEED is empty. */
int feed_open(struct feed *feed, int payload_fd, uint64_t size, int *ret_read_fd);

/* feed_write - put in what there is room for; closes the pipe behind the last byte, and when nobody
 * reads any more. */
void feed_write(struct feed *feed);
void feed_close(struct feed *feed);

/* cgroup.c - how often the memory limit killed and the process limit refused since the last
 * cgroup_mark(). */
void cgroup_mark(void);
bool cgroup_oom_killed(void);
bool cgroup_pids_refused(void);
uint64_t cgroup_memory(void); /* bytes that the sandbox takes now; 0: not known */

#endif
