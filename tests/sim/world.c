/* world.c - time, the log, death, and how a finding is told. Defines what core/ would otherwise
 * take from lib/clock.c, core/log.c and core/failpoint.c. */
#include "sim.h"

#include "log.h"
#include "failpoint.h"
#include "main.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define REALTIME_BEGIN_USEC (UINT64_C(1800000000) * USEC_PER_SEC)
#define MONOTONIC_BEGIN_USEC (UINT64_C(1000) * USEC_PER_SEC)

struct world world;

const char *const broker_kind_names[BROKER_KIND_MAX] = {
	[BROKER_MOSQUITTO] = "mosquitto",
	[BROKER_RABBITMQ] = "rabbitmq",
	[BROKER_NATS] = "nats",
	[BROKER_AEDES] = "aedes",
};

static void profile_draw(struct profile *p, uint64_t seed)
{
	uint64_t s = mix(seed, 0xf11e);
	uint32_t size = draw(&s, 60);

	*p = (struct profile){ .scripts = 1 + draw(&s, 5),
			       .window = 2 + draw(&s, 12),
			       .running_max = 1 + draw(&s, 12) };
	if (size == 0) { /* many scripts on one executor */
		p->scripts = 70 + draw(&s, 20);
		p->running_max = 20;
	}
	p->bulk = size == 1;
	if (p->bulk) {
		p->window = 1000 << draw(&s, 3);
		p->running_max = 100;
	}
	p->per_script_max = 1 + draw(&s, p->running_max);
	p->jobs_max = draw(&s, 8) == 0 && !p->bulk ? 20 + draw(&s, 60) : 1000000;
	p->objects = p->bulk ? 6000 : 1 + draw(&s, 12);
	p->broker = draw(&s, BROKER_KIND_MAX);
	p->equal_events = draw(&s, 2) == 0 && (p->broker == BROKER_MOSQUITTO || p->broker == BROKER_AEDES);
	p->harshness = draw(&s, 4);
	for (size_t i = 0; i < SIM_EXECUTORS; i++) {
		p->concurrency[i] = p->bulk ? 200 : 1 + draw(&s, 10);
		p->places[i] = p->bulk ? 200 : 1 + draw(&s, 8);
	}
}

void world_begin(uint64_t seed, bool verbose)
{
	world = (struct world){ .seed = seed, .verbose = verbose, .monotonic_usec = MONOTONIC_BEGIN_USEC };
	world.realtime_offset_usec = REALTIME_BEGIN_USEC - MONOTONIC_BEGIN_USEC;
	profile_draw(&world.profile, seed);
	const struct profile *p = &world.profile;
	sim_say("profile: scripts=%u window=%u running_max=%u per_script_max=%u jobs_max=%u objects=%u broker=%s "
		"equal=%d bulk=%d harsh=%u",
		p->scripts, p->window, p->running_max, p->per_script_max, p->jobs_max, p->objects,
		broker_kind_names[p->broker], p->equal_events, p->bulk, p->harshness);
}

void world_pass(uint64_t usec) { world.monotonic_usec += usec; }

uint64_t now_monotonic_usec(void) { return world.monotonic_usec; }

uint64_t now_realtime_usec(void) { return world.monotonic_usec + world.realtime_offset_usec; }

/* --------------------------------------------------------------------------------- what is told */

void sim_say(const char *format, ...)
{
	va_list ap;

	if (!world.verbose)
		return;
	va_start(ap, format);
	(void)printf("%12.6f  ", (double)world.monotonic_usec / 1e6);
	(void)vprintf(format, ap);
	(void)printf("\n");
	va_end(ap);
	(void)fflush(stdout);
}

void sim_fail(const char *format, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(text, sizeof text, format, ap);
	va_end(ap);
	sim_say("FOUND: %s", text);
	main_found(text);
}

/* The daemon's log is part of the story. */
static enum lsn_log_level level = LSN_LOG_ERROR;

void log_init(enum lsn_log_level max_level) { (void)max_level; }
void log_force(enum lsn_log_level max_level) { (void)max_level; }
enum lsn_log_level log_level(void) { return world.verbose ? LSN_LOG_DEBUG : level; }

void log_linev(enum lsn_log_level at, const char *format, va_list ap)
{
	char text[600];

	if (!world.verbose)
		return;
	(void)vsnprintf(text, sizeof text, format, ap);
	sim_say("%s  log[%d]: %s", world.dead ? "(dead)" : "      ", at, text);
}

void log_line(enum lsn_log_level at, const char *format, ...)
{
	va_list ap;

	if (!world.verbose)
		return;
	va_start(ap, format);
	log_linev(at, format, ap);
	va_end(ap);
}

int log_level_parse(const char *text, enum lsn_log_level *ret)
{
	(void)text, (void)ret;
	return -EINVAL;
}

/* ---------------------------------------------------------------------------------------- death */

bool failpoint_armed;
static const char *fatal_step;
static unsigned fatal_passes;

void failpoint_init(void) {}

/* failpoint_pass - a named step of the daemon's turn. What it does after the one it dies at has no
 * effect. */
void failpoint_pass(const char *step)
{
	if (!fatal_step || !streq(step, fatal_step) || --fatal_passes > 0)
		return;
	failpoint_armed = false;
	world.dead = true;
	sim_say("the daemon dies %s", step);
}

void world_die_at(const char *step, unsigned passes)
{
	fatal_step = step;
	fatal_passes = passes;
	failpoint_armed = step != NULL;
}
