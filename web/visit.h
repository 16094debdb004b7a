/* visit.h - one request of a browser: what it asked for, the questions to the daemon that follow
 * from it, their answers, and the page that is made of them.
 *
 * A visit goes through the program in one direction: server.c makes it and gives it to link.c,
 * which asks the daemon and calls `done`; then the page of pages.h writes the body. */
#ifndef WEB_VISIT_H
#define WEB_VISIT_H

#include "html.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#define VISIT_QUESTIONS_MAX 4
#define VISIT_ARGUMENTS_MAX 16
#define VISIT_ROWS_MAX 1000 /* kept of one answer */
#define VISIT_ROWS_BYTES_MAX (3u << 20) /* of all rows of a visit, as JSON */

/* What the command line says, for every page alike. */
struct site {
	const char *socket;
	bool output; /* show what scripts printed */
};

struct argument {
	char *name, *value;
};

struct answer {
	json_t *rows; /* a list */
	json_t *last; /* the last object; NULL: there was none */
	const char *error; /* the daemon's, or NULL; in `last` */
	bool cut; /* rows were left out, for they were too many */
};

struct visit;

/* What link.c and visit.c must know of a page. */
struct questions {
	/* next - the question INDEX (0 .. VISIT_QUESTIONS_MAX - 1), given over; NULL: there is no
	 * more. The answers before are there. */
	json_t *(*next)(const struct visit *visit, size_t index);
	/* keep - is ROW of the answer INDEX wanted? NULL: every row. */
	bool (*keep)(const struct visit *visit, size_t index, const json_t *row);
};

struct visit {
	const struct site *site;
	const struct questions *questions;
	char *path; /* decoded, with the leading slash */
	const char *rest; /* what follows the page's own path; in `path` */
	struct argument arguments[VISIT_ARGUMENTS_MAX];
	size_t argument_count;
	struct answer answers[VISIT_QUESTIONS_MAX];
	size_t answer_count;
	size_t rows_bytes;
	uint64_t now_realtime_usec; /* when the answers were complete */
	uint64_t away_since_usec; /* realtime; since when the daemon does not answer, 0: it does */
	char trouble[512]; /* why the daemon did not answer; "": it did */
	unsigned status; /* of the reply, 200 at first; a page may change it */
	unsigned refresh_sec; /* the reader wants the page again after this time; 0: no */
	TAILQ_ENTRY(visit) entry; /* link.c's */
	void (*done)(struct visit *visit); /* link.c calls it once */
	void *owner; /* of whom set `done` */
};

struct visit *visit_new(const struct site *site);
void visit_free(struct visit *visit);

/* visit_argument - the value of NAME in the query, "" if it is not there or empty. */
const char *visit_argument(const struct visit *visit, const char *name);

/* visit_add_argument - 0, -E2BIG: too many, -ENOMEM. */
int visit_add_argument(struct visit *visit, const char *name, const char *value);

/* visit_question - the next question, to be sent.
 * NULL: all are answered, or the daemon has something against the last one. */
json_t *visit_question(const struct visit *visit);

/* visit_take - OBJECT (given over; SIZE bytes as JSON) belongs to the current answer.
 * Returns whether the answer is complete. */
bool visit_take(struct visit *visit, json_t *object, size_t size);

/* visit_rows, visit_last - of the answer INDEX; an empty list and NULL if there is none. */
const json_t *visit_rows(const struct visit *visit, size_t index);
const json_t *visit_last(const struct visit *visit, size_t index);

/* visit_error - what the daemon has against one of the questions, or NULL. */
const char *visit_error(const struct visit *visit);

/* visit_command - a new question with this command. */
json_t *visit_command(const char *command);

/* visit_ask_text - QUESTION[KEY] = the argument NAME, unless that is empty. */
void visit_ask_text(const struct visit *visit, json_t *question, const char *key, const char *name);

#endif
