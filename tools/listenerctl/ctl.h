/* ctl.h - listenerctl in its parts: the connection (client.c), what the words of the command line
 * ask for (main.c), rows as tables (table.c), objects as texts (text.c), what is about
 * holds (holds.c), and commands that have more to do (top.c). author.h has the
 * commands for those who write scripts. */
#ifndef LISTENERCTL_CTL_H
#define LISTENERCTL_CTL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum exit_code { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_AWAY = 3, EXIT_NONE_RUNS = 4 };

/* What the command line says. */
struct invocation {
	const char *socket;
	bool json;
	bool help; /* of the command */
	uint32_t options; /* enum option_bit given */
	char **words; /* after the command */
	int word_count;
	json_t *request; /* what options and words make of it */
};

/* ------------------------------------------------------------------------------------- client.c */
#define CLIENT_FDS_MAX 3
struct client;

/* client_connect - or print why not, with the remedy, and return NULL and *RET_CODE: EXIT_AWAY
 * if nobody serves there, else EXIT_FAILED. */
struct client *client_connect(const char *path, enum exit_code *ret_code);
void client_free(struct client *client);

/* client_set_patience - wait for an answer for so long; 0: for ever. */
void client_set_patience(struct client *client, unsigned seconds);

/* client_was_silent - the last answer did not come, or not whole. */
bool client_was_silent(const struct client *client);

/* client_attach - the next request takes FDS (borrowed until then) along.
 * COUNT is at most CLIENT_FDS_MAX. */
void client_attach(struct client *client, const int *fds, unsigned count);

/* client_ask - send REQUEST (taken over), call ROW with each object (borrowed) but the last,
 * then LAST with the last (unless it is an error: that is printed).
 * ROW and LAST may be NULL.
 * Returns the exit code. */
typedef void (*object_fn)(void *data, const json_t *object);
enum exit_code client_ask(struct client *client, json_t *request, object_fn row, object_fn last, void *data);

/* -------------------------------------------------------------------------------------- table.c */
enum cell_kind {
	CELL_TEXT,
	CELL_NUMBER,
	CELL_REAL, /* one digit behind the point */
	CELL_BYTES,
	CELL_TIME, /* realtime usec */
	CELL_DURATION, /* usec */
	CELL_SPAN, /* likewise; 0: there is none */
	CELL_BOOL,
	CELL_HASH, /* its first 12 digits */
	CELL_FIRST, /* of a list: "create/#", "create/# +2" */
};
struct column {
	const char *title, *key;
	enum cell_kind kind;
};
struct table;
struct table *table_new(const struct column *columns); /* ends with a NULL title; borrowed */
void table_add(void *table, const json_t *row); /* an object_fn */
void table_print(struct table *table, FILE *out, const char *if_empty);
void table_free(struct table *table);

/* ROW[KEY] for people, malloc()ed: "-" if it is not there.
 * Whatever comes from outside goes through text_escape(). */
char *cell_text(const json_t *row, const char *key, enum cell_kind kind);

/* text_escape - a copy of TEXT whose control, direction and line characters are written as \xNN
 * or \u{N}: a terminal obeys no script's name or topic.
 * KEEP_LINES: newlines and tabs stay. */
char *text_escape(const char *text, size_t size, bool keep_lines);

/* --------------------------------------------------------------------------------------- text.c */
/* print_json_row - one object on one line. */
void print_json_row(const json_t *object);

void print_status(void *data, const json_t *object);
void print_job(void *data, const json_t *object);
struct explained {
	bool runs; /* a script does */
	const char *verdict; /* of the row before */
};
void print_explain(void *explained, const json_t *object);
void print_survey_row(void *explained, const json_t *row); /* of explain over all scripts */
void print_survey(void *explained, const json_t *object);
void print_check(const json_t *status);

/* worst_condition - of STATUS: 0 all is well, 1 warnings, 2 failures. */
int worst_condition(const json_t *status);
void print_executor(void *data, const json_t *row);
void print_doctor(void *worst, const json_t *row); /* int: 0 ok, 1 warning, 2 failure */
void print_reload(void *data, const json_t *object);
struct done_count {
	unsigned rows, failed;
};
void print_done(void *count, const json_t *row); /* rows of retry, replay, cancel */
void print_replayed(void *count, const json_t *object); /* the last of replay */

/* ------------------------------------------------------------------------------------- holds.c */
void add_hold(void *table, const json_t *row);
void print_paused(void *count, const json_t *row); /* struct done_count */
void print_resumed(void *count, const json_t *row);
void print_kept(void *count, const json_t *row); /* jobs that a hold keeps */
void print_would_release(void *count, const json_t *object);
void print_released(void *count, const json_t *object);

#endif
