/* exec.c - runs in a new interpreter: SB_RUN_EXEC, no fork server, or a script whose `#!` names
 * something that is not Python.
 *
 * A script never exists as a file in the sandbox. Other interpreters get it as /proc/self/fd/N;
 * Python gets forkserver.py's own code, which sets __main__ up just as it does in the fork
 * server's children. */
#include "init.h"
#include "protocol.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SHEBANG_MAX 256

__attribute__((unused)) static inline void free_cleanup(void *p) { free(*(void **)p); }
#define _cleanup_free_ __attribute__((cleanup(free_cleanup)))

struct shebang {
	char line[SHEBANG_MAX];
	char *interpreter, *argument; /* point into line; NULL: none */
};

/* As the kernel reads it: a path, then the rest of the line as one argument. */
static void read_shebang(int script_fd, struct shebang *ret)
{
	ssize_t n = pread(script_fd, ret->line, sizeof ret->line - 1, 0);
	ret->interpreter = ret->argument = NULL;
	ret->line[n > 0 ? n : 0] = '\0';
	if (n < 3 || ret->line[0] != '#' || ret->line[1] != '!')
		return;
	ret->line[strcspn(ret->line, "\r\n")] = '\0';
	for (char *end = ret->line + strlen(ret->line); end > ret->line + 2 && isspace((unsigned char)end[-1]);)
		*--end = '\0';
	char *at = ret->line + 2 + strspn(ret->line + 2, " \t");
	if (!*at)
		return;
	ret->interpreter = at;
	/* blanks in a path of Windows are part of it */
	at += strchr(at, '\\') ? strlen(at) : strcspn(at, " \t");
	if (*at) {
		*at++ = '\0';
		ret->argument = at + strspn(at, " \t");
	}
}

/* -------------------------------------------------------------------------------- which program
 *
 * The rule, as docs/scripts.md has it: a script is for the sandbox's own Python 3 unless its first
 * line names something else that is there. Python by another name (python2, pypy3, python.exe) that
 * the image does not have is the sandbox's own. Options to Python are not used. */

enum program { PROGRAM_PYTHON, PROGRAM_OTHER_PYTHON, PROGRAM_OTHER };

/* base_name - what stands behind the last slash of either kind; SIZE bytes at most of NAME,
 * lower case, without ".exe". */
static void base_name(const char *name, size_t size, char base[SHEBANG_MAX])
{
	size_t from = 0, n = 0;
	for (size_t i = 0; i < size; i++)
		if (name[i] == '/' || name[i] == '\\')
			from = i + 1;
	for (size_t i = from; i < size; i++)
		base[n++] = (char)tolower((unsigned char)name[i]);
	base[n] = '\0';
	if (n > 4 && strcmp(base + n - 4, ".exe") == 0)
		base[n - 4] = '\0';
}

static enum program file_classify(const char *name, size_t size)
{
	char base[SHEBANG_MAX];
	base_name(name, size, base);
	if (strcmp(base, "python") == 0 || strcmp(base, "python3") == 0 || strncmp(base, "python3.", 8) == 0)
		return PROGRAM_PYTHON;
	return strncmp(base, "python", 6) == 0 || strncmp(base, "pypy", 4) == 0 ? PROGRAM_OTHER_PYTHON : PROGRAM_OTHER;
}

/* env_option - how many bytes of the word of SIZE bytes at AT are no program's name: an option
 * of env or VARIABLE=VALUE. */
static size_t env_option(const char *at, size_t size)
{
	static const char split[] = "--split-string=";
	if (strncmp(at, split, sizeof split - 1) == 0)
		return sizeof split - 1;
	if (at[0] == '-' && at[1] == 'S' && size > 2)
		return 2;
	return at[0] == '-' || memchr(at, '=', size) ? size : 0;
}

/* env_program - the first word of env's argument that is a program's name; *RET_SIZE 0: there is
 * none. */
static const char *env_program(const char *at, size_t *ret_size)
{
	while (*(at += strspn(at, " \t"))) {
		size_t size = strcspn(at, " \t"), skip = env_option(at, size);
		if (skip == 0) {
			*ret_size = size;
			return at;
		}
		bool takes_word = size == 2 && (strncmp(at, "-u", 2) == 0 || strncmp(at, "-C", 2) == 0);
		at += skip;
		if (takes_word) {
			at += strspn(at, " \t");
			at += strcspn(at, " \t");
		}
	}
	*ret_size = 0;
	return at;
}

static bool is_executable(const char *folder, size_t folder_size, const char *name, size_t size)
{
	char path[2 * SHEBANG_MAX];
	int n = snprintf(path, sizeof path, "%.*s%s%.*s", (int)folder_size, folder, folder_size > 0 ? "/" : "",
			 (int)size, name);
	return n > 0 && (size_t)n < sizeof path && access(path, X_OK) == 0;
}

/* is_there - can the script run the program NAME: a path, or for env a name to be looked for in
 * PATH? */
static bool is_there(const struct run_request *req, const char *name, size_t size)
{
	const char *at = req->env, *path = "/usr/local/bin:/usr/bin:/bin";
	if (memchr(name, '/', size))
		return is_executable("", 0, name, size);
	for (uint32_t i = 0; i < req->frame->env_count; i++, at += strlen(at) + 1)
		if (strncmp(at, "PATH=", 5) == 0)
			path = at + 5;
	for (; *path; path += *path == ':') {
		size_t folder = strcspn(path, ":");
		if (folder > 0 && is_executable(path, folder, name, size))
			return true;
		path += folder;
	}
	return false;
}

static bool is_python(const struct run_request *req, const struct shebang *s)
{
	char base[SHEBANG_MAX];
	if (!s->interpreter)
		return true;
	const char *name = s->interpreter;
	size_t size = strlen(name);
	base_name(name, size, base);
	if (s->argument && strcmp(base, "env") == 0)
		name = env_program(s->argument, &size);
	enum program program = file_classify(name, size);
	return program == PROGRAM_PYTHON || (program == PROGRAM_OTHER_PYTHON && !is_there(req, name, size));
}

bool exec_wanted(const struct init *in, const struct run_request *req)
{
	struct shebang s;
	if ((req->frame->flags & SB_RUN_EXEC) || !server_usable(in))
		return true;
	read_shebang(req->script_fd, &s);
	return !is_python(req, &s);
}

/* ------------------------------------------------------------------------------------ arguments */

/* The payload as an argument: under 128 KiB, no NUL in it; or NULL. */
static char *payload_argument(const struct run_request *req)
{
	size_t size = (size_t)req->frame->payload_size, have = 0;
	if (req->frame->payload_size > SB_ARG_PAYLOAD_MAX)
		return NULL;
	char *text = malloc(size + 1);
	for (ssize_t n; text && have < size; have += (size_t)n)
		if ((n = pread(req->payload_fd, text + have, size - have, (off_t)have)) <= 0)
			break;
	if (text && (have < size || memchr(text, '\0', size))) {
		free(text);
		return NULL;
	}
	if (text)
		text[size] = '\0';
	return text;
}

static const char *make_argv(const struct init *in, const struct run_request *req, struct shebang *s, char *payload,
			     char *argv[8])
{
	static char stub[] = "import os;exec(compile(os.pread(4,1<<20,0),'<forkserver>','exec'))";
	static char script[] = "/proc/self/fd/3";
	bool python = is_python(req, s);
	int n = 0;
	if (python) {
		argv[n++] = (char *)in->options.python;
		argv[n++] = (char *)"-c";
		argv[n++] = stub;
		argv[n++] = (char *)"one";
		argv[n++] = (char *)req->name;
	} else {
		argv[n++] = s->interpreter;
		if (s->argument)
			argv[n++] = s->argument;
		argv[n++] = script;
	}
	argv[n++] = (char *)req->topic;
	argv[n] = payload;
	argv[n + 1] = NULL;
	return python ? in->options.python : s->interpreter;
}

static void make_env(const struct run_request *req, char *env[65])
{
	const char *at = req->env;
	uint32_t n = 0;
	for (; n < req->frame->env_count; n++, at += strlen(at) + 1)
		env[n] = (char *)at;
	env[n] = NULL;
}

/* ---------------------------------------------------------------------------------------- child */

static int exec_place_fds(const struct init *in, const struct run_request *req, const struct script_fds *fds,
			  int *report_fd, bool python)
{
	const int from[5] = { fds->in >= 0 ? fds->in : req->payload_fd, fds->out >= 0 ? fds->out : in->null_fd,
			      fds->err >= 0 ? fds->err : in->null_fd, req->script_fd, in->code_fd };
	int high[5], count = python ? 5 : 4;
	for (int i = 0; i < count; i++)
		if ((high[i] = fcntl(from[i], F_DUPFD_CLOEXEC, HIGH_FD)) < 0)
			return -errno;
	if ((*report_fd = fcntl(*report_fd, F_DUPFD_CLOEXEC, HIGH_FD)) < 0)
		return -errno;
	for (int i = 0; i < count; i++)
		if (dup2(high[i], i) < 0)
			return -errno;
	return 0;
}

static int set_limits(const struct sb_run *frame)
{
	if (frame->nofile > 0) {
		struct rlimit l = { frame->nofile, frame->nofile }, old;
		if (getrlimit(RLIMIT_NOFILE, &old) == 0 && old.rlim_max < l.rlim_max)
			l = (struct rlimit){ old.rlim_max, old.rlim_max };
		if (setrlimit(RLIMIT_NOFILE, &l) < 0)
			return -errno;
	}
	if (frame->cpu_usec > 0) {
		rlim_t s = (frame->cpu_usec + USEC_PER_SEC - 1) / USEC_PER_SEC;
		struct rlimit l = { s, s + 1 };
		if (setrlimit(RLIMIT_CPU, &l) < 0)
			return -errno;
	}
	return walls_limits();
}

/* What fails here is told through REPORT_FD, which execve closes: nothing told means that it
 * runs. */
__attribute__((noreturn)) static void become_script(const struct init *in, const struct run_request *req,
						    const struct script_fds *fds, int report_fd, const char *path,
						    char **argv, char **env, bool python)
{
	sigset_t none;
	(void)sigemptyset(&none);
	int r = exec_place_fds(in, req, fds, &report_fd, python);
	if (r == 0 && (setsid() < 0 || chdir(SB_SCRIPTS_DIR) < 0))
		r = -errno;
	char score[16], job_score[16];
	int oom_fd = oom_score_open(score, job_score);
	(void)!write(oom_fd, job_score, strlen(job_score));
	if (r == 0)
		r = set_limits(req->frame); /* the walls refuse some of it */
	if (r == 0)
		r = walls_enter(in);
	if (r == 0)
		r = walls_drop();
	if (r == 0 && sigprocmask(SIG_SETMASK, &none, NULL) == 0) {
		(void)execve(path, argv, env);
		r = -errno;
	}
	(void)!write(report_fd, &r, sizeof r);
	_exit(127);
}

int exec_start(struct init *in, const struct run_request *req, const struct script_fds *fds, pid_t *ret_pid,
	       char why[128])
{
	struct shebang s;
	char *argv[8], *env[65];
	int report[2], told = 0;
	read_shebang(req->script_fd, &s);
	_cleanup_free_ char *payload = payload_argument(req);
	const char *path = make_argv(in, req, &s, payload, argv);
	make_env(req, env);
	if (!path) {
		(void)snprintf(why, 128, "there is no python3 in the image");
		return -ENOENT;
	}
	if (pipe2(report, O_CLOEXEC) < 0)
		return -errno;
	pid_t pid = fork();
	if (pid == 0)
		become_script(in, req, fds, report[1], path, argv, env, is_python(req, &s));
	int fork_errno = errno;
	(void)close(report[1]);
	/* Blocks until execve has happened, not longer: the script has no say before that. */
	ssize_t n = pid < 0 ? 0 : read(report[0], &told, sizeof told);
	(void)close(report[0]);
	if (pid < 0) {
		(void)snprintf(why, 128, "cannot fork: %s", strerror(fork_errno));
		return -fork_errno;
	}
	if (n == (ssize_t)sizeof told) {
		(void)snprintf(why, 128, "cannot execute %.60s%s: %s", path,
			       path == s.interpreter ? ", which its first line names" : "", strerror(-told));
		return told < 0 ? told : -EIO;
	}
	*ret_pid = pid;
	return 0;
}
