/* session_note.c - see session_note.h. One "KEY VALUE" a line; unknown lines are passed over. */
#include "session_note.h"
#include "cleanup.h"
#include "util.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOTE_MAX ((size_t)4096) /* bytes read */

static void note_path(char path[PATH_MAX], const char *state_dir, const char *suffix)
{
	(void)snprintf(path, PATH_MAX, "%s/session%s", state_dir, suffix);
}

static void take_line(struct session_note *note, const char *line)
{
	const char *value = strchr(line, ' ');

	if (!value)
		return;
	value++;
	if (str_startswith(line, "whose "))
		(void)snprintf(note->whose, sizeof note->whose, "%s", value);
	else if (str_startswith(line, "known "))
		note->known_realtime_usec = strtoull(value, NULL, 10);
	else if (str_startswith(line, "lost_from "))
		note->lost_from_realtime_usec = strtoull(value, NULL, 10);
	else if (str_startswith(line, "lost_to "))
		note->lost_to_realtime_usec = strtoull(value, NULL, 10);
}

void session_note_load(struct session_note *note, const char *state_dir)
{
	_cleanup_free_ char *text = NULL;
	char path[PATH_MAX], *line;
	size_t size;

	*note = (struct session_note){ .known_realtime_usec = 0 };
	note_path(path, state_dir, "");
	if (read_file_limited(AT_FDCWD, path, NOTE_MAX, &text, &size) < 0)
		return;
	for (char *rest = text; (line = strsep(&rest, "\n"));)
		take_line(note, line);
}

int session_note_save(const struct session_note *note, const char *state_dir)
{
	char path[PATH_MAX], temporary[PATH_MAX];

	note_path(path, state_dir, "");
	note_path(temporary, state_dir, ".new");
	FILE *file = fopen(temporary, "we");
	if (!file)
		return -errno;
	(void)fprintf(file, "whose %s\nknown %" PRIu64 "\nlost_from %" PRIu64 "\nlost_to %" PRIu64 "\n", note->whose,
		      note->known_realtime_usec, note->lost_from_realtime_usec, note->lost_to_realtime_usec);
	if (fclose(file) != 0 || rename(temporary, path) != 0)
		return -errno;
	return 0;
}

bool session_note_connected(struct session_note *note, const char *whose, bool present, uint64_t now_realtime_usec)
{
	bool same = streq(note->whose, whose), lost = same && !present && note->known_realtime_usec > 0;

	if (lost) {
		/* of two losses that nobody has seen, the whole time counts */
		if (!note->lost_to_realtime_usec)
			note->lost_from_realtime_usec = note->known_realtime_usec;
		note->lost_to_realtime_usec = now_realtime_usec;
	}
	if (!same)
		note->lost_from_realtime_usec = note->lost_to_realtime_usec = 0;
	(void)snprintf(note->whose, sizeof note->whose, "%s", whose);
	note->known_realtime_usec = now_realtime_usec;
	return lost;
}
