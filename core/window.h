/* window.h - the redelivery window: which publication is one that we have journalled already?
 *
 * A broker that does not know our acknowledgement sends a publication again. How it does so differs
 * (measured, see docs/exactly-once.md):
 *
 *   mosquitto, aedes   when the session resumes, before anything new, in the old order, under the
 *                      old packet ids. mosquitto says so with the DUP flag, aedes does not.
 *   RabbitMQ           likewise, with the DUP flag, but under new packet ids, from 1.
 *   NATS               some time later, new publications first, also on a living connection; under
 *                      the old packet ids, which new ones have used meanwhile; with the DUP flag.
 *
 * The window keeps an entry, packet id and digest of topic and payload, of each of the last
 * publications that were journalled, in the order of delivery. window_ask() answers by these rules.
 *
 * A publication with DUP 1:
 *
 *   - An entry has its packet id and its digest: it is a repeat.
 *   - Otherwise, if the broker numbers anew (below), and an entry of an earlier connection has its
 *     digest, and no other repeat of this connection has used that entry: it is a repeat.
 *   - Otherwise the broker has sent it before, but it was never journalled. It runs and is
 *     counted.
 *
 * A broker numbers anew if it gives packet ids from 1 in each connection. This is believed of a
 * publication that only its digest finds, if its packet id is the one that counting from 1 gives,
 * and if no repeat of this connection before it was unknown: such a broker repeats what was
 * journalled before it repeats what was not. It is never believed again of a broker that has shown
 * another number than counting gives, either in a repeat that packet id and digest find, or in the
 * first publication of a connection. Reason: a broker that was restored from an older state, or
 * that begins with 1 again after 65,535, uses packet ids again, and their entries are of other
 * events. To believe it would lose equal events.
 *
 * A publication with DUP 0 is new, except at the beginning of a connection whose session has
 * resumed. There it is a repeat while packet id, digest and order all agree with the list. The
 * first publication that does not agree ends the beginning. A broker that has shown DUP 1 would
 * send with DUP 1 what it has sent at once before ("live" in window_add()), so an equal publication
 * with DUP 0 is another event.
 *
 * Each other publication is a different event, also if it is equal to an earlier one.
 *
 * A packet id that is used again proves that the broker has our acknowledgement of its older use,
 * and of all before that. These entries have settled: only a repeat with DUP 1 can be one of them.
 * This does not hold for a broker that repeats late. What was repeated counts as delivered again,
 * last: at the end of the beginning its entry goes to the end of the list.
 *
 * The size of the window is the number of publications that can be unacknowledged at the broker.
 * The broker's limit of publications in flight says little: mosquitto 2.0.11 goes far beyond it
 * while it works off a queue, and acknowledgements that it has not read when the connection breaks
 * are lost. With more entries the repeats of a broker that was restored from an older state are
 * recognised as well. An entry has 18 bytes. A commit stores the new entries only. */
#ifndef CORE_WINDOW_H
#define CORE_WINDOW_H

#include "event.h"

struct window;

#define WINDOW_ENTRY_SIZE (2 + EVENT_DIGEST_SIZE) /* bytes, saved */

/* window_new - for the last ENTRIES_MAX publications, at most 65534 (a broker that counts packet
 * ids upwards must not meet its next one in the list).
 * Memory grows with use.
 * 0, -ENOMEM. */
int window_new(size_t entries_max, struct window **ret);
void window_free(struct window *window);

/* window_digest - of topic and payload; sizes are part of it.
 * SHA-256, cut.
 * The same in each run of the daemon.
 * Loop thread only. */
void window_digest(const void *topic, size_t topic_size, const void *payload, size_t payload_size,
		   uint8_t ret[EVENT_DIGEST_SIZE]);

/* window_connected - a new connection.
 * Without a session nothing can be repeated and the list is emptied. */
void window_connected(struct window *window, bool session_present);

enum window_answer {
	WINDOW_NEW,
	WINDOW_REPEAT,
	WINDOW_UNKNOWN_REPEAT, /* the broker says so, and nothing here is like it: it must run */
	WINDOW_DOUBTFUL, /* like an entry in packet id and digest, but not in order: it must run */
	WINDOW_ANSWER_MAX
};

/* window_ask - for every publication, in order of delivery.
 * DUP: the broker says that it sent it before; false also if that is not known.
 * Packet id 0 is always new. */
enum window_answer window_ask(struct window *window, uint16_t packet_id, const uint8_t digest[EVENT_DIGEST_SIZE],
			      bool dup);

/* window_skip - to be called in place of window_ask() for a publication that the caller has
 * recognised by other means. */
void window_skip(struct window *window, uint16_t packet_id);

/* window_add - a publication that is not a repeat has been taken (packet id 0 is ignored).
 * LIVE: the broker sent it as soon as it had it.
 * Ends the beginning of the connection.
 * 0, -ENOMEM. */
int window_add(struct window *window, uint16_t packet_id, const uint8_t digest[EVENT_DIGEST_SIZE], bool live);

/* window_take - what is new since the last call, to be stored behind what was stored before
 * (*RET_WHOLE false), or the whole list, to be stored in its place.
 * Pointer into the window, valid until the next change. */
void window_take(struct window *window, bool whole, const void **ret, size_t *ret_size, bool *ret_whole);

/* window_save - the whole list as bytes, for the journal.
 * *RET points into the window and is valid until the next change. */
void window_save(struct window *window, const void **ret, size_t *ret_size);

/* window_load - the list from what window_save() gave, followed by what window_take() gave later.
 * A list that is too long for the window loses its oldest entries.
 * 0, -EINVAL (the bytes are no such list; the window is unchanged or empty), -ENOMEM. */
int window_load(struct window *window, const void *data, size_t size);

#endif
