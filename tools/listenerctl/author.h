/* author.h - what listenerctl does for the authors of scripts, in four parts: real events
 * (samples.c), events as files have them (events.c), the command test (test.c), and examples
 * (help.c). */
#ifndef LISTENERCTL_AUTHOR_H
#define LISTENERCTL_AUTHOR_H

#include "ctl.h"

/* ------------------------------------------------------------------------------------ samples.c */
struct sample { /* a real event; not NUL-terminated */
	const char *topic, *payload;
	size_t topic_size, payload_size;
};

/* sample_next - the next one; zeroed: the first. */
bool sample_next(struct sample *sample);

/* sample_next_of - likewise of a KIND: an operation, a type, OPERATION/TYPE; NULL: any. */
bool sample_next_of(struct sample *sample, const char *kind);

/* sample_about - the payload of such an event, malloc()ed.
 * NULL: TOPIC's operation and type are none of an archive's, or it names no object, or out of
 * memory. */
char *sample_about(const char *topic);

/* sample_topic - one that FILTER matches, malloc()ed, or NULL: out of memory. */
char *sample_topic(const char *filter);

enum exit_code run_sample(struct client *client, struct invocation *invocation); /* CLIENT is NULL */

/* ------------------------------------------------------------------------------------- events.c
 * An event as text is one line, "[TOPIC] PAYLOAD". */
struct event {
	char *topic; /* NULL: it is not told */
	char *payload; /* NUL-terminated beyond its size */
	size_t payload_size;
	bool sample; /* made up by us */
};
struct events {
	struct event *list;
	size_t count;
};

/* events_read - of the file PATH ("-": stdin): lines "[TOPIC] PAYLOAD", or else the payload of one
 * event.
 * False after printing what is wrong. */
bool events_read(const char *path, struct events *ret);

/* events_add - TOPIC and PAYLOAD are taken over; false: out of memory, and they are freed. */
bool events_add(struct events *events, char *topic, char *payload, size_t payload_size);
void events_clear(struct events *events);

/* --------------------------------------------------------------------------------------- help.c */

/* help_examples - of COMMAND, a line each; NULL: there are none. */
const char *help_examples(const char *command);

/* --------------------------------------------------------------------------------------- test.c */
enum {
	TEST_TIMEOUT = 124, /* exit status: the script ran too long */
	TEST_NOT_MADE = 125, /* there was no run */
	TEST_REFUSED = 126, /* the script would not be registered */
};
enum exit_code run_test(struct client *client, struct invocation *invocation);

#endif
