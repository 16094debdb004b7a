/* script_file.h - one script in a folder: the file, and NAME.meta in the same folder. Whoever may
 * write to the folder may try to make us read another place. So no link is followed: names are
 * opened relative to their folder, and links and special files are refused.
 *
 *     script_file_look(folder_fd, base, &file)     what is there, without reading: 0, -ENOENT
 *     file.key                                     changes whenever one of the two files does
 *     script_file_read(&file, limit, &offer)       reads both and makes an offer of them
 *     script_file_clear(&file) */
#ifndef CORE_SCRIPT_FILE_H
#define CORE_SCRIPT_FILE_H

#include "meta.h"
#include "registry.h"
#include <sys/stat.h>

struct script_file {
	int folder; /* borrowed */
	const char *base; /* borrowed; the name in its folder */
	char meta_name[300];
	struct stat script, meta;
	bool has_meta;
	char key[256];
	char *content;
	struct meta parsed;
	const char *more_topics[META_KEYS_MAX];
	struct lsn_error problem;
};

/* script_file_ignored - is this no script's name: hidden, an editor's or a .meta file? */
bool script_file_ignored(const char *base);

/* script_file_look - 0; -ENOENT: no such file, or a folder; other errors with ERR set.
 * Clear in any case. */
int script_file_look(int folder, const char *base, struct script_file *ret, struct lsn_error *err);

/* script_file_fresh - was one of the files changed so recently that a further change could leave
 * the same times? Then KEY proves nothing. */
bool script_file_fresh(const struct script_file *file);

/* script_file_read - fill OFFER (all but its name), with pointers into FILE.
 * What is wrong with the files is the offer's problem.
 * 0; -EAGAIN: they are being changed, look again; -ENOMEM. */
int script_file_read(struct script_file *file, size_t size_max, struct registry_offer *ret);
void script_file_clear(struct script_file *file);

#endif
