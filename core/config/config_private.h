/* config_private.h - what the parts of the configuration share.
 *
 * config.c         loads files
 * config_value.c   parses and prints values
 * config_table.c   has all keys
 * config_check.c   checks what concerns several keys */
#ifndef CORE_CONFIG_PRIVATE_H
#define CORE_CONFIG_PRIVATE_H

#include "config.h"
#include <sys/queue.h>

struct config_item;

/* How one kind of value is read, shown and freed.
 * TARGET is the member of the struct. */
struct config_type {
	/* parse - TEXT has its ${...} replaced. APPEND: a list key stands again in the same
	 * file. */
	int (*parse)(const struct config_item *item, void *target, const char *text, bool append,
		     struct lsn_error *err);
	/* whole lines "key = value" */
	void (*print)(const struct config_item *item, const void *target, FILE *out);
	bool (*equal)(const void *a, const void *b);
	void (*clear)(void *target); /* NULL: nothing to free */
	bool list; /* may stand several times in one file */
};

struct config_item {
	const char *key;
	const struct config_type *type;
	size_t offset;
	/* numbers, sizes (bytes), durations (usec); enums: min is the value of names[0] */
	uint64_t min, max;
	const char *const *names; /* enums, NULL-terminated */
	const char *def; /* default, parsed like a value; NULL: config_derive() fills it, or none */
	const char *def_text; /* what help shows instead of DEF */
	const char *help;
};

struct config_section_type {
	const char *name; /* "broker"; of named sections the first word */
	const char *label; /* named sections: "NAME", for help; else NULL */
	/* named sections: bytes of the struct the offsets are of; else they are of struct config */
	size_t size;
	size_t label_offset; /* named sections: where NAME goes */
	bool label_is_pointer; /* NAME goes into a char *, else a char[EXECUTOR_NAME_SIZE] */
	bool options; /* unknown keys are options for somebody else (struct executor_config) */
	const struct config_item *items;
	size_t item_count;
	const char *help;
};
extern const struct config_section_type config_sections[];
extern const size_t config_section_count;

struct config_origin { /* where a value comes from; file NULL: default */
	const char *file;
	unsigned line;
};

struct config_section { /* [broker], or one [executor NAME], over all files */
	const struct config_section_type *type;
	char *heading;
	void *base; /* the struct config, or an object of its own until config_gather() */
	struct config_origin place; /* where its heading stood last */
	struct config_origin *origins; /* one per item */
	TAILQ_ENTRY(config_section) link;
};

TAILQ_HEAD(config_section_list, config_section);

struct config_loader {
	struct config *config;
	char **files; /* names, kept for messages */
	size_t file_count;
	struct config_section_list sections; /* in the order of their first appearance */
};

extern const struct config_type config_type_string, config_type_secret, config_type_path, config_type_name,
	config_type_bool, config_type_uint, config_type_uint64, config_type_duration, config_type_seconds,
	config_type_size, config_type_rate, config_type_enum, config_type_list, config_type_outcomes,
	config_type_filter;

/* config_expand - TEXT with ${ENV:NAME} and ${FILE:/path} replaced; *RET_SECRET: at least one
 * was.
 * Caller frees *RET. */
int config_expand(const char *text, char **ret, bool *ret_secret, struct lsn_error *err);

/* config_name_valid - [a-z0-9-]{1,32}, and '_' if UNDERSCORE. */
bool config_name_valid(const char *name, bool underscore);

/* config_find - section TYPE_NAME (its first one). config_item_index - of KEY, or -1. */
const struct config_section *config_find(const struct config_loader *loader, const char *type_name);
int config_item_index(const struct config_section_type *type, const char *key);

/* config_derive - defaults that depend on other keys. config_check - what no single key can
 * tell.
 * ERR names key, file and line. */
int config_derive(struct config *config, struct lsn_error *err);
int config_check(const struct config_loader *loader, struct lsn_error *err);

/* config_complain - "FILE:LINE: KEY: text" in ERR, from the place where KEY of SECTION was set;
 * KEY NULL: the section itself.
 * Returns -EINVAL. */
__attribute__((format(printf, 4, 5))) int config_complain(const struct config_section *section, const char *key,
							  struct lsn_error *err, const char *format, ...);

struct config_findings { /* of config_test() */
	void (*found)(void *data, bool fatal, const char *text);
	void *data;
	int fatal; /* how many */
};

/* config_examine - look at what the configuration names outside of itself. */
void config_examine(const struct config_loader *loader, struct config_findings *findings);

#endif
