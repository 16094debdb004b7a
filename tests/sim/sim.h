/* sim.h - a world for the middle of the daemon: its clock, loop, disk, descriptors, broker,
 * executors and operators, all of them simulated, all of them decided by a seed. The dispatcher,
 * its lanes, the journal, the window, intake, turn, registry and the executors' guards are the
 * real ones. tests/sim/README.md is the manual.
 *
 * One case is one seed: a profile (how many scripts, which broker, which limits) and a list of
 * steps. A step is a kind and a number; everything random in a step comes from that number, and
 * everything random in an executor from a hash of what it is about. So a case runs the same each
 * time, and it still makes sense when some of its steps are left out (shrinking). */
#ifndef SIM_H
#define SIM_H

#include "wiring.h"
#include "util.h"

#include <sqlite3.h>

#define SIM_SCRIPTS_MAX 96
#define SIM_EXECUTORS 3

/* --------------------------------------------------------------------------------------- chance */

/* mix - a well-stirred number from two. */
static inline uint64_t mix(uint64_t a, uint64_t b)
{
	uint64_t z = a + UINT64_C(0x9e3779b97f4a7c15) * (b + 1);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* draw - the next number below LIMIT from *STATE. */
static inline uint32_t draw(uint64_t *state, uint32_t limit)
{
	*state = mix(*state, 0x51);
	return (uint32_t)((*state >> 16) % (limit ? limit : 1));
}

/* -------------------------------------------------------------------------- the world (world.c) */

enum broker_kind { BROKER_MOSQUITTO, BROKER_RABBITMQ, BROKER_NATS, BROKER_AEDES, BROKER_KIND_MAX };
extern const char *const broker_kind_names[BROKER_KIND_MAX];

struct profile { /* drawn from the case's seed */
	unsigned scripts, window, running_max, per_script_max, jobs_max, objects;
	unsigned concurrency[SIM_EXECUTORS], places[SIM_EXECUTORS];
	enum broker_kind broker;
	bool equal_events; /* some events are byte for byte equal */
	bool bulk; /* thousands of events at once */
	unsigned harshness; /* 0..3: how often something breaks */
};

struct world {
	uint64_t seed;
	struct profile profile;
	uint64_t monotonic_usec, realtime_offset_usec;
	bool dead; /* the daemon has died: whatever it still does has no effect */
	bool calm; /* the storm is over: nothing breaks any more */
	bool verbose;
};
extern struct world world;

void world_begin(uint64_t seed, bool verbose);
void world_pass(uint64_t usec); /* time goes by */
void world_die_at(const char *step, unsigned passes); /* at the PASSES-th passing of a named step; NULL: do not */
/* sim_fail - what was found. Does not return. */
__attribute__((noreturn, format(printf, 1, 2))) void sim_fail(const char *format, ...);
/* sim_say - one line of the story, if somebody listens. */
__attribute__((format(printf, 1, 2))) void sim_say(const char *format, ...);

/* ---------------------------------------------------------------------------- the loop (loop.c) */

bool loop_dispatch(void); /* call the next source that is due; false: none is */
uint64_t loop_next_usec(void); /* when the next timer is due; UINT64_MAX: none */

/* ------------------------------------------------------------------- disk, descriptors (disk.c) */

void disk_begin(void); /* the files of a new case */
void disk_end(void); /* free them */
void disk_keep(void); /* what stands there now is what disk_begin() makes */
void disk_break(bool broken); /* nothing can be written */
size_t disk_unsynced(void); /* bytes written since the last sync of their file */
void descriptors_limit(unsigned limit); /* so many may be open at a time */
unsigned descriptors_open(void);
bool descriptors_short(unsigned wanted);
const char *descriptor_content(int fd, size_t *ret_size);

/* ------------------------------------------------------------------------------ broker (mqtt.c) */

struct mqtt_figures {
	uint64_t published, matched; /* events; those that scripts want */
	uint64_t delivered,
		acknowledged; /* different ones that scripts want: given to the daemon; acknowledged by it */
};

void mqtt_begin(void);
void mqtt_publish(unsigned serial, const char *topic);
void mqtt_connect(bool session_present);
void mqtt_cut(uint32_t chance); /* CHANCE decides what still arrives */
bool mqtt_connected(void);
bool mqtt_deliver(unsigned limit); /* a batch; false: there was nothing to do */
void mqtt_hear_acknowledgements(unsigned limit); /* so many of those that are under way reach the broker */
bool mqtt_idle(void); /* everything was delivered and acknowledged */
uint64_t mqtt_next_usec(void); /* when something is sent again by itself; UINT64_MAX: nothing is */
void mqtt_end(void);
const struct mqtt_figures *mqtt_get_figures(void);
void mqtt_check_events(void); /* at the end: is each event in the journal as often as it should be? */

/* ------------------------------------------------------------------------- executors (engine.c) */

void engine_begin(void);
void engine_end(void);
void engine_hang(unsigned which, bool hangs); /* like SIGSTOP: it refuses, and reports nothing */
void engine_wake(unsigned which); /* says that it is ready */
void engine_calm(void); /* all engines report what they owe */
bool engine_would_take(unsigned which); /* would reserve() of this one succeed now? */
unsigned engine_index(const char *name);

/* -------------------------------------------------------------------------- the daemon (life.c) */

extern struct daemon life; /* the parts; all NULL while it is down */
void life_start(void);
void life_stop(bool orderly);
void life_reload(uint32_t chance);
void life_script_changes(uint32_t chance);
void life_defer(bool defer); /* the source is fetching */
void life_begin(void); /* a new case: an empty journal with the case's scripts in it */
void life_reload_whole(void); /* put it in force */
void life_calm(void); /* the configuration is whole again */
void life_make_base(void); /* a folder for all processes of the simulation */
void life_remove_base(void);
bool life_script_wants_updates(unsigned which); /* all want creates */
const struct dispatch_config *life_dispatch(void);
sqlite3 *life_db(void);
unsigned life_rows_out(void); /* jobs that are out, as the journal has it */
uint64_t life_last_job(void); /* the highest id handed out */
int64_t life_number(const char *sql); /* first column of the first row, -1: none */

/* ------------------------------------------------------------------------- invariants (check.c) */

void check_submit(const struct lsn_job *job); /* an executor is given JOB */
void check_forget(uint64_t job, const char *place); /* an executor is told to forget */
void check_acknowledged(void); /* the daemon acknowledges */
void check_step(void); /* after each step */
void check_quiet(void); /* nothing is due: everything that may run has been offered */
void check_end(void); /* after the storm */
void check_begin(void);
void check_retried(uint64_t job); /* an operator lets it begin anew */
void check_reset(void); /* the journal is about to be closed */
bool check_all_ended(char *ret_why, size_t size);

/* ---------------------------------------------------------------------------- pauses (pauses.c) */

void pauses_begin(void);
void pauses_pause(uint32_t chance);
void pauses_resume(uint32_t chance);
void pauses_calm(void); /* the storm is over: nothing is held */
uint64_t pauses_object(const char *topic);
void check_offer(const struct lsn_job *job, const char *executor); /* EXECUTOR is asked for a place */
void check_pauses(void); /* after each step */

/* ------------------------------------------------------------------------------ steps (steps.c) */

struct step {
	uint8_t kind;
	uint32_t chance;
};
void steps_begin(void);
void step_draw(uint64_t *state, struct step *ret);
void step_do(const struct step *step);
void steps_calm(void); /* the storm is over: let everything end */
const char *step_name(unsigned kind);
int step_kind(const char *name); /* -1: none */

#endif
