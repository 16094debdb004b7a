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
 * The window keeps (packet id, digest of topic and payload) of the last publications that were
 * journalled, in order of delivery, and answers by these rules:
 *
 *   DUP 1   A repeat if its packet id and digest stand in the list, or, where the broker numbers
 *           anew, if its digest does, of an earlier connection, and no other repeat of this
 *           connection has used up that entry.
 *           Else it was sent before and never journalled: it runs, and is counted.
 *           The broker numbers anew if such a publication bears the number that counting from 1
 *           gives it on its connection, and comes before all repeats that were never journalled. It
 *           does not, for good, if one was a repeat by packet id and digest and bore another, or if
 *           the first publication of a connection did: a broker that was restored from an older
 *           state, or begins again with 1 after 65,535, uses ids again whose entries are of other
 *           events.
 *   DUP 0   New, unless the session has resumed and this is still its beginning: then packet id,
 *           digest and order must all agree with the list. The first that does not agree ends the
 * beginning. Of a broker that has shown DUP 1, a publication that it sent as soon as it had
 * it ("live" in window_add()) would come again with DUP 1, so an equal one without is another
 * event.
 *
 * Everything else is a different event, equal or not.
 *
 * A packet id that is used again proves, of all brokers but those that repeat late, that its older
 * use was confirmed, and so was all before it: these entries have settled, and only a repeat
 * with DUP 1 can be one of them. What was repeated counts as delivered again, last: at the end of
 * the beginning it goes to the end of the list.
 *
 * Size: as many entries as can be unconfirmed on the broker. Its in-flight limit says little:
 * mosquitto 2.0.11 goes far beyond it while it catches up with a queue, and acknowledgements it
 * has not read when the connection breaks are lost. More entries also recognise repeats of a
 * broker that was restored from an older state. 18 bytes each; a commit stores the new ones
 * only. */
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

/* window_skip - instead of window_ask(), of a publication with a packet id that is known otherwise.
 */
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

/* The list as bytes for the journal and back. window_save: pointer into the window, valid until
 * the next change. window_load: -EINVAL if the bytes are not such a list with what was added
 * later behind it (then it is left alone or empty), -ENOMEM.
 * A longer list than fits loses its oldest entries. */
void window_save(struct window *window, const void **ret, size_t *ret_size);
int window_load(struct window *window, const void *data, size_t size);

#endif
