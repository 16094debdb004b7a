/* protocol.h - what the daemon's side (an executor) and sandbox-init, PID 1 of a sandbox, say to
 * each other over a SOCK_SEQPACKET unix socket.
 *
 * The executor listens on a socket of the sandbox's own in a folder that is bind-mounted
 * read-only into it; so the connection itself names the sandbox. Init connects, and connects
 * again whenever the connection ends, every 100 ms at first, every second later. One frame per
 * packet: a head, then the body of its type, little else. Everything from init is hostile input
 * to the executor: sizes, states and job ids are checked, a violation ends the sandbox.
 *
 *     init  -> HELLO    on every connect: who I am, what I can, what I am doing (IDLE, RUNNING job,
 *                       FINISHED job)
 *     init  -> READY    the interpreter is warm (once per connection, at once if it is so already
 *                       or there is none to warm)
 *     daemon-> RUN      + descriptors script, payload (sealed memfds of the sizes named, read-only,
 *                       own offset); only when init is IDLE
 *     init  -> RESULT   + descriptors out, err if captured; repeated after a reconnect until FORGET
 *     init  -> OUTPUT   before RESULT, instead of its descriptors, where the sandbox has a kernel
 *                       of its own that hands none out (gVisor's runsc): the next bytes of a
 *                       stream; each stream has one at least
 *     daemon-> FORGET   the result is committed: drop it; init is IDLE
 *     daemon-> CANCEL   end the job now (SIGTERM, the grace, SIGKILL); RESULT follows; nothing
 *                       happens if it is another job
 *
 * Byte order is the machine's: both ends run on it. Versions: an executor names the one it wants
 * with --protocol when it makes the sandbox; the head of each frame carries it; an executor speaks
 * all older ones. 2: READY and RESULT tell how much memory the sandbox takes. 3: SB_RUN_PIPE,
 * OUTPUT. */
#ifndef SANDBOX_PROTOCOL_H
#define SANDBOX_PROTOCOL_H

#include <stddef.h>
#include <stdint.h>

#define SB_PROTOCOL_VERSION 3
#define SB_MAGIC 0x4c534231u /* "LSB1" */

/* Where things are inside a sandbox. All mounts are read-only. */
#define SB_DIR "/listener" /* bind mount of the libexec folder: sandbox-init, forkserver.py */
/* bind mount of the sandbox's own folder; mode 0750, group = init's */
#define SB_CONTROL_DIR "/listener-control"
#define SB_CONTROL_SOCKET SB_CONTROL_DIR "/socket"
#define SB_SCRIPTS_DIR "/scripts" /* working directory of scripts; an empty folder of the image */

#define SB_SCRIPT_UID 65534 /* nobody */
#define SB_INIT_UID 65533 /* the real user of init, and of nothing else; it acts as root */
#define SB_SCRIPT_GID 65534 /* nogroup */

#define SB_FRAME_MAX (160 * 1024) /* bytes of any frame */
#define SB_OUTPUT_MAX (32 * 1024) /* bytes of output in one frame; less only in a stream's last */
#define SB_NAME_MAX 1024 /* script name */
/* payloads below 128 KiB are argv[2] as well (if they hold no NUL) */
#define SB_ARG_PAYLOAD_MAX (128 * 1024 - 1)

enum sb_type { SB_HELLO = 1, SB_READY, SB_RESULT, SB_OUTPUT, SB_RUN = 64, SB_FORGET, SB_CANCEL };

enum sb_state { SB_IDLE = 0, SB_RUNNING, SB_FINISHED };

/* Walls that init found and put up; bits of sb_hello.walls. */
enum sb_wall {
	SB_WALL_LANDLOCK_FS = 1 << 0,
	SB_WALL_LANDLOCK_TCP = 1 << 1, /* ABI 4: connect and bind ports */
	SB_WALL_LANDLOCK_SCOPE = 1 << 2, /* ABI 6: abstract sockets and signals */
	SB_WALL_SECCOMP = 1 << 3, /* a filter of init's own on scripts, beside Docker's */
	SB_WALL_NO_CAPS = 1 << 4,
	SB_WALL_NO_NEW_PRIVS = 1 << 5,
	SB_WALL_ROUTES = 1 << 6, /* the gateway is the only neighbour, 127.0.0.1 the only loopback */
};

struct sb_head {
	uint32_t magic;
	uint16_t type; /* enum sb_type */
	uint16_t version;
	uint32_t size; /* of the whole frame, head included */
	uint32_t reserved; /* 0 */
};

struct sb_hello {
	struct sb_head head;
	uint32_t state; /* enum sb_state */
	uint32_t walls; /* mask of enum sb_wall */
	uint32_t landlock_abi; /* 0: none */
	uint32_t warm; /* 1: READY follows or came already */
	uint64_t job; /* SB_RUNNING, SB_FINISHED */
	uint64_t jobs_done; /* since init started */
};

struct sb_ready {
	struct sb_head head;
	uint64_t used_bytes; /* since version 2: memory that the whole sandbox takes; 0: not known */
};

enum sb_run_flags {
	SB_RUN_CAPTURE = 1 << 0, /* keep stdout and stderr */
	SB_RUN_EXEC = 1 << 1, /* start a new interpreter instead of forking the warm one */
	/* since version 3: standard input is a pipe that init fills; else it is the payload's
	 * memfd itself */
	SB_RUN_PIPE = 1 << 2,
};

/* Followed by the strings, each NUL-terminated, sizes without the NUL: script name, topic, then
 * ENV_COUNT strings "NAME=value". */
struct sb_run {
	struct sb_head head;
	uint64_t job;
	uint64_t timeout_usec; /* from now */
	uint64_t grace_usec; /* between SIGTERM and SIGKILL */
	uint64_t cpu_usec; /* RLIMIT_CPU, rounded up to seconds; 0: none */
	uint64_t output_limit_bytes; /* per stream */
	uint64_t payload_size, script_size;
	uint32_t flags; /* enum sb_run_flags */
	uint32_t nofile; /* RLIMIT_NOFILE */
	uint32_t name_size, topic_size, env_count;
	uint32_t reserved;
	char script_version[64]; /* key of the compiled code; no NUL */
};

struct sb_result {
	struct sb_head head;
	uint64_t job;
	uint32_t outcome; /* enum lsn_outcome as far as init knows it */
	int32_t exit_status, signal;
	uint32_t out_truncated, err_truncated;
	uint32_t clean; /* 1: nothing of the run is left, the sandbox may serve again */
	uint64_t started_realtime_usec, duration_usec, user_usec, system_usec, max_rss_bytes;
	/* bytes in the sealed memfds that come along: two if SB_RUN_CAPTURE and it got as far,
	 * else none */
	uint64_t out_size, err_size;
	char message[128]; /* NUL-terminated */
	uint64_t used_bytes; /* since version 2: memory that the sandbox takes after the run; 0: not known */
};

/* Followed by the bytes. Since version 3. */
struct sb_output {
	struct sb_head head;
	uint64_t job;
	uint32_t stream; /* 0: stdout, 1: stderr */
	uint32_t reserved; /* 0 */
};

/* Frames of version 1 end before their used_bytes. */
#define SB_READY_SIZE_1 offsetof(struct sb_ready, used_bytes)
#define SB_RESULT_SIZE_1 offsetof(struct sb_result, used_bytes)

struct sb_job_frame { /* SB_FORGET, SB_CANCEL */
	struct sb_head head;
	uint64_t job;
};

#endif
