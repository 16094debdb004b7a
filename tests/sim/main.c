/* main.c - runs cases until the time is over or something is found; then makes the case short and
 * shows it.
 *
 *     sim [--seconds N | --cases N] [--seed N] [--steps N] [--workers N] [--no-shrink]
 *     sim --case SEED | --script FILE [--verbose]
 *
 * Each worker is a child: what is found may be an assertion of the daemon, a crash or a hang. */
#include "sim.h"

#include "main.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STEPS_MAX 100000u
#define HANG_SECONDS 40 /* of processor time: a case takes tens of milliseconds */
#define EXIT_FOUND 3

struct shared { /* between the workers and us */
	uint64_t cases, steps, seed; /* done; the one that runs */
	char found[400];
};
#define WORKERS_MAX 64
static struct shared *all, *shared; /* of all workers; our own */
static struct step steps[STEPS_MAX];
static bool quiet_abort;

static struct {
	double seconds;
	uint64_t seed, one, cases; /* cases 0: as many as the time allows */
	unsigned steps, workers;
	const char *script;
	bool verbose, keep_long;
} option = { .seconds = 20, .seed = 1, .steps = 1500 };

void main_found(const char *what)
{
	(void)snprintf(shared->found, sizeof shared->found, "%s", what);
	_exit(EXIT_FOUND);
}

static double now_seconds(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* cpu_seconds - of the workers that have ended. */
static double cpu_seconds(void)
{
	struct rusage usage;

	(void)getrusage(RUSAGE_CHILDREN, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* ------------------------------------------------------------------------------------- one case */

static unsigned case_length(void) { return world.profile.bulk ? option.steps / 2 : option.steps; }

static void case_run(uint64_t seed, const struct step *list, size_t count)
{
	shared->seed = seed;
	world_begin(seed, option.verbose);
	engine_begin();
	mqtt_begin();
	steps_begin();
	check_begin();
	life_begin();
	for (size_t i = 0; i < count; i++) {
		if (option.verbose)
			sim_say("step %zu: %s %u", i, step_name(list[i].kind), list[i].chance);
		step_do(&list[i]);
	}
	steps_calm();
	check_end();
	life_stop(true);
	shared->steps += count;
	shared->cases++;
}

static size_t case_draw(uint64_t seed, struct step *list)
{
	uint64_t state = mix(seed, 0xca5e);

	world_begin(seed, false);
	size_t count = case_length();
	for (size_t i = 0; i < count; i++)
		step_draw(&state, &list[i]);
	return count;
}

/* ------------------------------------------------------------------------------------- children */

/* hang_watch - from now on. The machine may be slow: what counts is the time that we have had. */
static void hang_watch(void)
{
	const struct itimerval limit = { .it_value = { .tv_sec = HANG_SECONDS } };

	(void)setitimer(ITIMER_PROF, &limit, NULL);
}

static void child_quiet(void)
{
	if (quiet_abort && !freopen("/dev/null", "w", stderr))
		_exit(EXIT_FAILURE);
}

/* child_found - how it ended. True: it found something, which is then in shared->found. */
static bool child_found(int status)
{
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return false;
	if (WIFEXITED(status) && WEXITSTATUS(status) != EXIT_FOUND)
		(void)snprintf(shared->found, sizeof shared->found, "it exits with %d", WEXITSTATUS(status));
	if (WIFSIGNALED(status))
		(void)snprintf(shared->found, sizeof shared->found, "%s",
			       WTERMSIG(status) == SIGPROF ? "it hangs" : strsignal(WTERMSIG(status)));
	return true;
}

/* kind_of - what was found without its numbers: so a smaller case is one of the same fault. */
static void kind_of(const char *found, char ret[sizeof shared->found])
{
	size_t n = 0;

	for (; *found; found++)
		if ((*found < '0' || *found > '9') && n < sizeof shared->found - 1)
			ret[n++] = *found;
	ret[n] = 0;
}

/* case_fails - run LIST in a child of its own. */
static bool case_fails(uint64_t seed, const struct step *list, size_t count)
{
	pid_t pid = fork();

	if (pid == 0) {
		child_quiet();
		hang_watch();
		case_run(seed, list, count);
		_exit(0);
	}
	int status = 0;
	return waitpid(pid, &status, 0) == pid && child_found(status);
}

/* worker_run - each so-manieth case until UNTIL. */
__attribute__((noreturn)) static void worker_run(unsigned worker, double until)
{
	for (uint64_t n = worker; option.cases ? n < option.cases : n == worker || now_seconds() < until;
	     n += option.workers) {
		uint64_t seed = mix(option.seed, n);
		hang_watch();
		case_run(seed, steps, case_draw(seed, steps));
	}
	_exit(0);
}

/* workers_run - all of them. True: one has found something, and `shared` is its part. */
static bool workers_run(double until)
{
	pid_t pids[WORKERS_MAX], pid;
	bool any = false;
	int status;

	for (unsigned i = 0; i < option.workers; i++) {
		shared = &all[i];
		pids[i] = fork();
		if (pids[i] == 0)
			worker_run(i, until);
	}
	shared = &all[0];
	while ((pid = wait(&status)) > 0) {
		struct shared *before = shared;
		for (unsigned i = 0; i < option.workers; i++)
			if (pids[i] == pid)
				shared = &all[i];
		if (any || !child_found(status)) {
			shared = before;
			continue;
		}
		any = true;
		for (unsigned i = 0; i < option.workers; i++)
			if (pids[i] != pid)
				(void)kill(pids[i], SIGKILL);
	}
	return any;
}

static struct shared totals(void)
{
	struct shared sum = { 0 };

	for (unsigned i = 0; i < option.workers; i++) {
		sum.cases += all[i].cases;
		sum.steps += all[i].steps;
	}
	return sum;
}

/* ------------------------------------------------------------------------------------ shrinking */

/* shrink - leave out what is not needed for it to fail, in pieces that become smaller. Returns how
 * many are left. */
static size_t shrink(uint64_t seed, struct step *list, size_t count)
{
	static struct step fewer[STEPS_MAX];
	char wanted[sizeof shared->found], got[sizeof shared->found];

	kind_of(shared->found, wanted);
	double until = now_seconds() + 60;

	for (size_t piece = count / 2; piece > 0; piece = piece > 1 ? piece / 2 : 0) {
		bool again = true;
		while (again && now_seconds() < until) {
			again = false;
			for (size_t at = 0; at < count && now_seconds() < until;) {
				size_t end = at + piece < count ? at + piece : count;
				memcpy(fewer, list, at * sizeof *list);
				memcpy(fewer + at, list + end, (count - end) * sizeof *list);
				bool fails = case_fails(seed, fewer, count - (end - at));
				kind_of(shared->found, got);
				if (fails && streq(wanted, got)) {
					count -= end - at;
					memcpy(list, fewer, count * sizeof *list);
					again = piece == 1;
				} else {
					at = end;
				}
			}
		}
	}
	return count;
}

static void show(uint64_t seed, const struct step *list, size_t count)
{
	(void)case_fails(seed, list, count);
	(void)printf("\nsim: FOUND: %s\n\n"
		     "The script that shows it, %zu steps (sim --script FILE [--verbose]):\n\nseed %llu\n",
		     shared->found, count, (unsigned long long)seed);
	for (size_t i = 0; i < count; i++)
		(void)printf("%s %u\n", step_name(list[i].kind), list[i].chance);
	(void)fflush(stdout);
}

static size_t script_read(const char *path, uint64_t *ret_seed, struct step *list)
{
	FILE *file = fopen(path, "re");
	char name[32];
	unsigned long long number;
	size_t count = 0;

	if (!file || fscanf(file, " seed %llu", &number) != 1) {
		(void)fprintf(stderr, "sim: %s: not a script: it begins with \"seed NUMBER\"\n", path);
		exit(2);
	}
	*ret_seed = number;
	while (count < STEPS_MAX && fscanf(file, " %31s %llu", name, &number) == 2) {
		int kind = step_kind(name);
		if (kind < 0) {
			(void)fprintf(stderr, "sim: %s: there is no step \"%s\"\n", path, name);
			exit(2);
		}
		list[count++] = (struct step){ .kind = (uint8_t)kind, .chance = (uint32_t)number };
	}
	(void)fclose(file);
	return count;
}

/* ----------------------------------------------------------------------------------------- main */

static int one_case(void)
{
	uint64_t seed = option.one;
	size_t count = option.script ? script_read(option.script, &seed, steps) : case_draw(seed, steps);

	bool fails = case_fails(seed, steps, count);
	(void)printf("sim: case %llu, %zu steps: %s\n", (unsigned long long)seed, count,
		     fails ? shared->found : "nothing found");
	return fails ? 1 : 0;
}

static int found(void)
{
	uint64_t seed = shared->seed;
	struct shared sum = totals();
	char what[sizeof shared->found];

	memcpy(what, shared->found, sizeof what);
	(void)printf("sim: case %llu (seed %llu, after %llu cases and %llu steps): %s\n", (unsigned long long)seed,
		     (unsigned long long)option.seed, (unsigned long long)sum.cases, (unsigned long long)sum.steps,
		     what);
	(void)fflush(stdout);
	quiet_abort = true;
	size_t count = case_draw(seed, steps);
	if (!option.keep_long && case_fails(seed, steps, count))
		show(seed, steps, shrink(seed, steps, count));
	return 1;
}

static void options_read(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : NULL;
		if (streq(argv[i], "--verbose"))
			option.verbose = true;
		else if (streq(argv[i], "--no-shrink"))
			option.keep_long = true;
		else if (!value)
			exit(2);
		else if (streq(argv[i], "--seconds"))
			option.seconds = strtod(argv[++i], NULL);
		else if (streq(argv[i], "--cases"))
			option.cases = strtoull(argv[++i], NULL, 10);
		else if (streq(argv[i], "--seed"))
			option.seed = strtoull(argv[++i], NULL, 10);
		else if (streq(argv[i], "--steps"))
			option.steps = (unsigned)strtoul(argv[++i], NULL, 10);
		else if (streq(argv[i], "--workers"))
			option.workers = (unsigned)strtoul(argv[++i], NULL, 10);
		else if (streq(argv[i], "--case"))
			option.one = strtoull(argv[++i], NULL, 10);
		else if (streq(argv[i], "--script"))
			option.script = argv[++i];
		else
			exit(2);
	}
	if (option.steps > STEPS_MAX)
		option.steps = STEPS_MAX;
	if (option.workers == 0)
		option.workers = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
	if (option.workers > WORKERS_MAX)
		option.workers = WORKERS_MAX;
}

static int run(void)
{
	if (option.one || option.script)
		return one_case();
	double begun = now_seconds();
	if (workers_run(begun + option.seconds))
		return found();
	double took = now_seconds() - begun, worked = cpu_seconds();
	struct shared sum = totals();
	(void)printf("ok   sim: %llu cases, %llu steps, %.0f a second (%.0f per second of processor time), "
		     "nothing found (seed %llu)\n",
		     (unsigned long long)sum.cases, (unsigned long long)sum.steps, (double)sum.steps / took,
		     (double)sum.steps / worked, (unsigned long long)option.seed);
	return 0;
}

int main(int argc, char **argv)
{
	options_read(argc, argv);
	all = mmap(NULL, WORKERS_MAX * sizeof *all, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (all == MAP_FAILED)
		return 2;
	shared = all;
	life_make_base();
	int r = run();
	life_remove_base();
	return r;
}
