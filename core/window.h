/* window.h - the redelivery window: which publication of a resumed session is one we have
 * journalled already?
 *
 * A broker that does not know our acknowledgement sends a publication again when the session
 * resumes: same packet id, same topic and payload, in the old order, before anything new. So the
 * window keeps, in order of delivery, (packet id, digest of topic and payload) of the last
 * publications that were journalled and may be unconfirmed. After a connect with session present
 * the first publication either stands somewhere in the list - then it and those that follow in
 * the list are repeats - or the window is closed. It closes for good (for this connection) at
 * the first publication that is not the next of the list. Outside it equal publications are
 * different events.
 *
 * Entries are unique in packet id: a packet id that is used again proves that its older use was
 * confirmed, so the older entry and all before it go. What was repeated counts as delivered
 * again, last: when the window closes it goes to the end of the list.
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
/* WINDOW_MARK - a bit of the digest's last byte that window_digest() leaves 0. Added with it:
 * the broker sent this publication as soon as it had it, so a repeat of it bears the DUP flag.
 * Asked with it: this one does not bear it. Then it is no repeat of a marked one: a broker that
 * was killed and restored from an older state uses packet ids again, and an equal event may get
 * the id of its equal. */
#define WINDOW_MARK 1u

/* window_is_repeat - ask for every publication (packet id > 0) in order of delivery. */
bool window_is_repeat(struct window *window, uint16_t packet_id, const uint8_t digest[EVENT_DIGEST_SIZE]);

/* window_add - a publication that was not a repeat has been taken (packet id 0 is ignored).
 * Closes the window.
 * 0, -ENOMEM. */
int window_add(struct window *window, uint16_t packet_id, const uint8_t digest[EVENT_DIGEST_SIZE]);

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
