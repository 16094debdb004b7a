/* session_note.h - what is known of our session at the broker, over restarts of the daemon: when
 * the broker was known to have it, and whether it has lost it since.
 *
 * A broker that comes without a session has forgotten what it held for us. Whether that is a
 * loss can only be known from an earlier session: with the same client id, at the same address. */
#ifndef CORE_SESSION_NOTE_H
#define CORE_SESSION_NOTE_H

#include <listener/error.h>
#include <stdbool.h>
#include <stdint.h>

#define SESSION_WHOSE_SIZE 400

struct session_note {
	char whose[SESSION_WHOSE_SIZE]; /* client id and address */
	uint64_t known_realtime_usec; /* the broker had the session then; 0: there was none */
	/* the latest loss: events published between these times are missing; 0: none, or seen by
	 * somebody */
	uint64_t lost_from_realtime_usec, lost_to_realtime_usec;
};

/* session_note_load - from STATE_DIR; a note that is not there or cannot be read is empty. */
void session_note_load(struct session_note *note, const char *state_dir);

/* session_note_save - 0 or a negative errno.
 * Does not wait for the disk: an older note only makes the time of a loss longer. */
int session_note_save(const struct session_note *note, const char *state_dir);

/* session_note_connected - the broker has accepted us at NOW, as WHOSE.
 * Returns true if it had a session of ours before and PRESENT says that it has it no more. */
bool session_note_connected(struct session_note *note, const char *whose, bool present, uint64_t now_realtime_usec);

#endif
