/* config.c - loads INI files into a struct config, see config.h.
 *
 * inih parses. Our reader, which inih calls for each line, does what inih cannot: it counts
 * lines, sees section names (inih reports neither empty nor repeated sections), and refuses
 * lines that inih would cut. Comments behind values are switched off, because topics contain '#'
 * and ';'. */
#include "config_private.h"
#include "script.h"

#include <assert.h>
#include <cleanup.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <ini.h>
#include <string.h>
#include <sys/stat.h>
#include <suggest.h>
#include <util.h>

#define FILE_MAX (1 << 20)
#define LINE_MAX_BYTES (128 * 1024) /* a topic may have 65,535 */
#define HEADING_MAX 49 /* inih keeps no more of a heading, nor of a key */

/* Debian's inih has these switches as variables; the plain library has them built in. */
extern bool ini_allow_inline_comments __attribute__((weak));
extern bool ini_use_stack __attribute__((weak));
extern int ini_max_line __attribute__((weak));
extern int ini_initial_alloc __attribute__((weak));

struct file {
	struct config_loader *loader;
	const char *name, *next, *end;
	unsigned line;
	bool indented; /* the line begins with a blank: to inih it continues the key before */
	struct config_section *section;
	struct lsn_error *err;
	int failed;
};

/* ------------------------------------------------------------------------------------- sections */

static struct config_section *section_find(struct config_loader *loader, const char *heading)
{
	struct config_section *section;

	TAILQ_FOREACH (section, &loader->sections, link)
		if (streq(section->heading, heading))
			return section;
	return NULL;
}

static void section_free(struct config_section *section, const struct config *config)
{
	if (!section)
		return;
	if (section->base && section->base != config)
		free(section->base);
	free(section->heading);
	free(section->origins);
	free(section);
}

static int set_label(struct config_section *section, const char *label)
{
	char *member = (char *)section->base + section->type->label_offset;

	if (!section->type->label_is_pointer) {
		(void)snprintf(member, EXECUTOR_NAME_SIZE, "%s", label);
		return 0;
	}
	*(char **)member = strdup(label);
	return *(char **)member ? 0 : -ENOMEM;
}

static int set_defaults(struct config_section *section, struct lsn_error *err)
{
	for (size_t i = 0; i < section->type->item_count; i++) {
		const struct config_item *item = &section->type->items[i];
		if (!item->def)
			continue;
		int r = item->type->parse(item, (char *)section->base + item->offset, item->def, false, err);
		if (r < 0)
			return lsn_error_prefix(err, r, "default of %s in [%s]", item->key, section->heading);
	}
	return 0;
}

/* section_new - LABEL is NULL for a section without a name. The section joins the loader at
 * once, so that nothing is lost if the rest fails. */
static int section_new(struct config_loader *loader, const struct config_section_type *type, const char *heading,
		       const char *label, struct config_section **ret, struct lsn_error *err)
{
	struct config_section *section = calloc(1, sizeof *section);
	int r = 0;

	if (!section)
		return lsn_error_set(err, -ENOMEM, "out of memory");
	section->type = type;
	section->heading = strdup(heading);
	section->origins = calloc(type->item_count, sizeof *section->origins);
	section->base = label ? calloc(1, type->size) : loader->config;
	TAILQ_INSERT_TAIL(&loader->sections, section, link);
	if (!section->heading || !section->origins || !section->base)
		r = -ENOMEM;
	else if (label)
		r = set_label(section, label);
	if (r < 0)
		return lsn_error_set(err, r, "out of memory");
	*ret = section;
	return set_defaults(section, err);
}

static const char *next_section_name(void *data, size_t index)
{
	(void)data;
	return index < config_section_count ? config_sections[index].name : NULL;
}

/* type_find - the type of a section headed HEADING; *RET_LABEL is what follows the first word,
 * NULL if nothing does. */
static int type_find(const char *heading, const struct config_section_type **ret, const char **ret_label,
		     struct lsn_error *err)
{
	size_t word = strcspn(heading, " \t");
	const char *label = heading + word + strspn(heading + word, " \t");
	const struct config_section_type *type = NULL;

	for (size_t i = 0; i < config_section_count && !type; i++)
		if (strlen(config_sections[i].name) == word && strncmp(config_sections[i].name, heading, word) == 0)
			type = &config_sections[i];
	if (!type) {
		const char *near = suggest_word(heading, next_section_name, NULL);
		return lsn_error_set(err, -EINVAL, "unknown section [%s]%s%s%s", heading,
				     near ? "; did you mean [" : "", near ? near : "",
				     near ? "]?" : "; see listenerd --help-config");
	}
	if (type->label && !*label)
		return lsn_error_set(err, -EINVAL, "[%s] needs a name: [%s %s]", type->name, type->name, type->label);
	if (!type->label && *label)
		return lsn_error_set(err, -EINVAL, "unknown section [%s]; [%s] takes no name", heading, type->name);
	if (type->label && !config_name_valid(label, true))
		return lsn_error_set(err, -EINVAL, "[%s]: \"%s\" is not a name; use 1 to 32 of a-z, 0-9, '-' and '_'",
				     heading, label);
	*ret = type;
	*ret_label = type->label ? label : NULL;
	return 0;
}

static int section_open(struct file *file, const char *heading)
{
	const struct config_section_type *type = NULL;
	struct config_section *section;
	const char *label = NULL;
	char canonical[HEADING_MAX + 1];
	int r = type_find(heading, &type, &label, file->err);

	if (r < 0 || !type)
		return r;
	(void)snprintf(canonical, sizeof canonical, "%s%s%s", type->name, label ? " " : "", label ? label : "");
	section = section_find(file->loader, canonical);
	if (section && section->place.file == file->name)
		return lsn_error_set(file->err, -EINVAL, "section [%s] is already in this file, at line %u", canonical,
				     section->place.line);
	if (!section) {
		r = section_new(file->loader, type, canonical, label, &section, file->err);
		if (r < 0)
			return r;
	}
	section->place = (struct config_origin){ file->name, file->line };
	file->section = section;
	return 0;
}

/* ----------------------------------------------------------------------------------------- keys */

static const char *next_key(void *data, size_t index)
{
	const struct config_section_type *type = data;

	return index < type->item_count ? type->items[index].key : NULL;
}

static int unknown_key(const struct config_section *section, const char *key, struct lsn_error *err)
{
	const char *near = suggest_word(key, next_key, (void *)(uintptr_t)section->type);

	if (near)
		return lsn_error_set(err, -EINVAL, "unknown key \"%s\" in [%s]; did you mean \"%s\"?", key,
				     section->heading, near);
	for (size_t i = 0; i < config_section_count; i++)
		if (config_item_index(&config_sections[i], key) >= 0)
			return lsn_error_set(err, -EINVAL, "unknown key \"%s\" in [%s]; it belongs in [%s]", key,
					     section->heading, config_sections[i].name);
	return lsn_error_set(err, -EINVAL, "unknown key \"%s\" in [%s]; see listenerd --help-config", key,
			     section->heading);
}

static int seen_already(const struct file *file, const char *key, unsigned line)
{
	if (file->indented)
		return lsn_error_set(
			file->err, -EINVAL,
			"the line is indented, so it continues \"%s\"; begin keys at the start of the line", key);
	return lsn_error_set(file->err, -EINVAL, "%s is already set in this section, at line %u", key, line);
}

static int set_item(struct file *file, size_t index, const char *text)
{
	const struct config_item *item = &file->section->type->items[index];
	struct config_origin *origin = &file->section->origins[index];
	bool again = origin->file == file->name;
	int r;

	if (again && !item->type->list)
		return seen_already(file, item->key, origin->line);
	r = item->type->parse(item, (char *)file->section->base + item->offset, text, again, file->err);
	if (r < 0)
		return lsn_error_prefix(file->err, r, "%s", item->key);
	*origin = (struct config_origin){ file->name, file->line };
	return 0;
}

static struct lsn_option *option_find(struct executor_config *executor, const char *key)
{
	for (size_t i = 0; i < executor->option_count; i++)
		if (streq(executor->options[i].key, key))
			return &executor->options[i];
	return NULL;
}

static int option_add(struct executor_config *executor, const char *key, struct lsn_option **ret)
{
	struct lsn_option *longer = realloc(executor->options, (executor->option_count + 1) * sizeof *longer);
	char *copy = strdup(key);

	if (longer)
		executor->options = longer;
	if (!longer || !copy) {
		free(copy);
		return -ENOMEM;
	}
	*ret = &longer[executor->option_count++];
	**ret = (struct lsn_option){ .key = copy };
	return 0;
}

static void value_unhide(struct config *config, const char *value)
{
	for (size_t i = 0; i < config->hidden_count; i++)
		if (config->hidden[i] == value)
			config->hidden[i] = config->hidden[--config->hidden_count];
}

static int value_hide(struct config *config, const char *value)
{
	const char **longer = realloc(config->hidden, (config->hidden_count + 1) * sizeof *longer);

	if (!longer)
		return -ENOMEM;
	config->hidden = longer;
	longer[config->hidden_count++] = value;
	return 0;
}

/* Unknown keys belong to the module, and only the module can check them. */
static int set_option(struct file *file, const char *key, const char *text, bool secret)
{
	struct executor_config *executor = file->section->base;
	struct lsn_option *option = option_find(executor, key);
	int r;

	if (option && streq(option->file, file->name))
		return seen_already(file, key, option->line);
	_cleanup_free_ char *value = strdup(text);
	if (!value)
		return lsn_error_set(file->err, -ENOMEM, "out of memory");
	_cleanup_free_ char *name = strdup(file->name);
	r = name ? 0 : -ENOMEM;
	if (r == 0 && !option)
		r = option_add(executor, key, &option);
	if (r == 0 && secret)
		r = value_hide(file->loader->config, value);
	if (r < 0)
		/* cppcheck-suppress memleak ; freed by attribute */
		return lsn_error_set(file->err, r, "out of memory");
	value_unhide(file->loader->config, option->value);
	free((char *)(uintptr_t)option->value);
	free((char *)(uintptr_t)option->file);
	option->value = TAKE_PTR(value);
	option->file = TAKE_PTR(name);
	option->line = file->line;
	return 0;
}

static int set_key(struct file *file, const char *key, const char *text)
{
	_cleanup_free_ char *value = NULL;
	bool secret;
	int index, r;

	if (!file->section)
		return lsn_error_set(file->err, -EINVAL,
				     "\"%s\" is set before any [section]; put it below the section it belongs to", key);
	if (strlen(key) >= HEADING_MAX)
		return lsn_error_set(file->err, -EINVAL, "the key \"%.60s...\" is too long", key);
	index = config_item_index(file->section->type, key);
	if (index < 0 && !file->section->type->options)
		return unknown_key(file->section, key, file->err);
	r = config_expand(text, &value, &secret, file->err);
	if (r < 0)
		return lsn_error_prefix(file->err, r, "%s", key);
	return index >= 0 ? set_item(file, (size_t)index, value) : set_option(file, key, value, secret);
}

/* The single callback. To inih 0 means "this line is wrong", and inih would continue. So the
 * reader then ends the text. */
static int on_value(void *user, const char *section, const char *key, const char *text)
{
	struct file *file = user;

	(void)section;
	if (file->failed < 0)
		return 0;
	file->failed = *key ? set_key(file, key, text)
			    : lsn_error_set(file->err, -EINVAL, "the key is missing before '='");
	return file->failed == 0;
}

/* --------------------------------------------------------------------------------------- reader */

static int check_heading(struct file *file, const char *line, size_t size)
{
	const char *close = memchr(line, ']', size);
	_cleanup_free_ char *heading = NULL;

	if (!close)
		return lsn_error_set(file->err, -EINVAL, "the section name has no ']'");
	for (const char *p = close + 1; p < line + size; p++)
		if (!strchr(" \t\r", *p))
			return lsn_error_set(file->err, -EINVAL, "there is text after the ']' of the section name");
	if ((size_t)(close - line) > HEADING_MAX)
		return lsn_error_set(file->err, -EINVAL, "the section name is too long");
	heading = strndup(line + 1, (size_t)(close - line) - 1);
	if (!heading)
		return lsn_error_set(file->err, -ENOMEM, "out of memory");
	return section_open(file, heading);
}

/* check_line - refuse what inih would misread without a message. */
static int check_line(struct file *file, const char *line, size_t size, size_t room)
{
	const char *first = line;

	if (size + 3 > room)
		return lsn_error_set(file->err, -EINVAL, "the line is longer than %zu bytes", room - 3);
	if (!utf8_valid(line, size))
		return lsn_error_set(file->err, -EINVAL, "the line is not UTF-8 text");
	while (first < line + size && (*first == ' ' || *first == '\t'))
		first++;
	file->indented = first > line;
	if (first < line + size && *first == '[') {
		if (file->indented)
			return lsn_error_set(file->err, -EINVAL,
					     "the line is indented; begin section names at the start of the line");
		return check_heading(file, line, size);
	}
	if (!&ini_allow_inline_comments && (size_t)(first - line) < size && *first != ';' && *first != '#' &&
	    memmem(first, size - (size_t)(first - line), " ;", 2))
		return lsn_error_set(file->err, -EINVAL,
				     "this build of inih would cut the value at \" ;\"; remove the blank before ;");
	return 0;
}

/* next_line - the reader inih calls, as fgets(). */
static char *next_line(char *buf, int room, void *stream)
{
	struct file *file = stream;
	const char *end;
	size_t size;

	if (file->failed < 0 || file->next == file->end)
		return NULL;
	end = memchr(file->next, '\n', (size_t)(file->end - file->next));
	size = (size_t)((end ? end : file->end) - file->next);
	file->line++;
	file->failed = check_line(file, file->next, size, (size_t)room);
	if (file->failed < 0)
		return NULL;
	memcpy(buf, file->next, size);
	buf[size] = '\n';
	buf[size + 1] = '\0';
	file->next = end ? end + 1 : file->end;
	return buf;
}

/* parse_text - inih's switches are global. They are set for this call only, because others may
 * rely on the old values. */
static int parse_text(struct file *file)
{
	bool comments = true, stack = true;
	int line_max = 0, alloc = 0, r;

	if (&ini_allow_inline_comments) {
		comments = ini_allow_inline_comments;
		ini_allow_inline_comments = false;
	}
	if (&ini_use_stack && &ini_max_line && &ini_initial_alloc) {
		stack = ini_use_stack;
		line_max = ini_max_line;
		alloc = ini_initial_alloc;
		ini_use_stack = false;
		ini_max_line = ini_initial_alloc = LINE_MAX_BYTES;
	}
	r = ini_parse_stream(next_line, file, on_value, file);
	if (&ini_allow_inline_comments)
		ini_allow_inline_comments = comments;
	if (&ini_use_stack && &ini_max_line && &ini_initial_alloc) {
		ini_use_stack = stack;
		ini_max_line = line_max;
		ini_initial_alloc = alloc;
	}
	return r;
}

/* ---------------------------------------------------------------------------------------- files */

/* check_owner - whoever can write the configuration controls the listener. */
static int check_owner(int fd, const char *name, struct lsn_error *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return lsn_error_set(err, -errno, "%s: %s", name, strerror(errno));
	if (st.st_uid != 0 && st.st_uid != geteuid())
		return lsn_error_set(err, -EACCES,
				     "%s belongs to user %u; it must belong to root or to the listener's user; remedy: "
				     "chown root %s",
				     name, st.st_uid, name);
	if (st.st_mode & (S_IWGRP | S_IWOTH))
		return lsn_error_set(err, -EACCES, "%s can be written by others (mode %03o); remedy: chmod go-w %s",
				     name, st.st_mode & 0777, name);
	return 0;
}

/* config_not_opened - errno has the reason. A file that root made with a careful mask is not
 * readable for the listener's group. */
static int config_not_opened(const char *name, struct lsn_error *err)
{
	int code = errno;
	const struct group *group = code == EACCES ? getgrgid(getegid()) : NULL;

	if (!group)
		return lsn_error_set(err, -code, "%s: %s", name, strerror(code));
	return lsn_error_set(err, -code, "%s: %s; remedy: chgrp %s %s; chmod 640 %s", name, strerror(code),
			     group->gr_name, name, name);
}

static int read_config(const char *name, char **ret, size_t *ret_size, struct lsn_error *err)
{
	_cleanup_close_ int fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	int r;

	if (fd < 0)
		return config_not_opened(name, err);
	r = check_owner(fd, name, err);
	if (r < 0)
		return r;
	r = read_fd_limited(fd, FILE_MAX, ret, ret_size);
	if (r == -EFBIG)
		return lsn_error_set(err, r, "%s is larger than %d bytes", name, FILE_MAX);
	return r < 0 ? lsn_error_set(err, r, "%s: %s", name, strerror(-r)) : 0;
}

static int remember_file(struct config_loader *loader, const char *name, const char **ret)
{
	char **longer = realloc(loader->files, (loader->file_count + 1) * sizeof *longer);

	if (!longer)
		return -ENOMEM;
	loader->files = longer;
	longer[loader->file_count] = strdup(name);
	if (!longer[loader->file_count])
		return -ENOMEM;
	*ret = longer[loader->file_count++];
	return 0;
}

static int load_file(struct config_loader *loader, const char *name, struct lsn_error *err)
{
	struct file file = { .loader = loader, .err = err };
	_cleanup_free_ char *text = NULL;
	size_t size;
	int r = read_config(name, &text, &size, err);

	if (r < 0)
		return r;
	if (remember_file(loader, name, &file.name) < 0)
		return lsn_error_set(err, -ENOMEM, "out of memory");
	file.end = text + size;
	/* a byte order mark, as editors of Windows put it there */
	file.next = text + (str_startswith(text, "\xef\xbb\xbf") ? 3 : 0);
	r = parse_text(&file);
	/* inih returns the first wrong line. Our own finding has the same line, unless inih
	 * could not parse that line at all. */
	if (r > 0 && (file.failed == 0 || (unsigned)r < file.line))
		return lsn_error_set(err, -EINVAL, "%s:%d: neither \"key = value\" nor [section] nor a comment", name,
				     r);
	if (file.failed < 0)
		return lsn_error_prefix(err, file.failed, "%s:%u", name, file.line);
	return r == 0 ? 0 : lsn_error_set(err, -ENOMEM, "%s: out of memory", name);
}

static int is_drop_in(const struct dirent *entry)
{
	size_t size = strlen(entry->d_name);

	return entry->d_name[0] != '.' && size > 4 && streq(entry->d_name + size - 4, ".ini");
}

static int by_bytes(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }

static int load_drop_ins(struct config_loader *loader, const char *folder, struct lsn_error *err)
{
	_cleanup_close_ int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent **entries = NULL;
	int r, n;

	if (fd < 0)
		return errno == ENOENT ? 0 : lsn_error_set(err, -errno, "%s: %s", folder, strerror(errno));
	r = check_owner(fd, folder, err);
	if (r < 0)
		return r;
	n = scandirat(fd, ".", &entries, is_drop_in, by_bytes);
	if (n < 0)
		return lsn_error_set(err, -errno, "%s: %s", folder, strerror(errno));
	for (int i = 0; i < n; i++) {
		_cleanup_free_ char *name = NULL;
		if (r == 0 && asprintf(&name, "%s/%s", folder, entries[i]->d_name) < 0) {
			name = NULL;
			r = lsn_error_set(err, -ENOMEM, "out of memory");
		}
		if (r == 0)
			r = load_file(loader, name, err);
		free(entries[i]);
	}
	free(entries);
	return r;
}

static int load_files(struct config_loader *loader, const char *name, struct lsn_error *err)
{
	const char *slash = strrchr(name, '/');
	_cleanup_free_ char *folder = NULL;
	int r = load_file(loader, name, err);

	if (r < 0)
		return r;
	if (asprintf(&folder, "%.*sconf.d", slash ? (int)(slash - name + 1) : 0, name) < 0) {
		folder = NULL;
		return lsn_error_set(err, -ENOMEM, "out of memory");
	}
	return load_drop_ins(loader, folder, err);
}

/* ---------------------------------------------------------------------------------------- whole */

static void loader_done(struct config_loader *loader)
{
	struct config_section *section;

	while ((section = TAILQ_FIRST(&loader->sections))) {
		TAILQ_REMOVE(&loader->sections, section, link);
		section_free(section, loader->config);
	}
	for (size_t i = 0; i < loader->file_count; i++)
		free(loader->files[i]);
	free(loader->files);
}

/* files_gather - the objects of named sections become the arrays of struct config, in the order
 * of the sections, so that the n-th of a kind keeps its place. The memory of the objects is
 * freed with the sections. What they point to belongs to the arrays. */
static int files_gather(struct config_loader *loader, const char *type_name, size_t size, void **ret, size_t *ret_count)
{
	struct config_section *section;
	size_t count = 0;
	char *array;

	TAILQ_FOREACH (section, &loader->sections, link)
		count += streq(section->type->name, type_name) && section->base;
	array = calloc(count ? count : 1, size);
	if (!array)
		return -ENOMEM;
	*ret = array;
	*ret_count = count;
	TAILQ_FOREACH (section, &loader->sections, link) {
		if (!streq(section->type->name, type_name) || !section->base)
			continue;
		memcpy(array, section->base, size);
		array += size;
	}
	return 0;
}

static int gather_all(struct config_loader *loader)
{
	struct config *config = loader->config;
	int r = files_gather(loader, "route", sizeof *config->dispatch.routes, (void **)&config->dispatch.routes,
			     &config->dispatch.route_count);

	return r < 0 ? r
		     : files_gather(loader, "executor", sizeof *config->executors.executors,
				    (void **)&config->executors.executors, &config->executors.executor_count);
}

static int add_sections(struct config_loader *loader, struct lsn_error *err)
{
	struct config_section *section;

	for (size_t i = 0; i < config_section_count; i++) {
		const struct config_section_type *type = &config_sections[i];
		if (type->label)
			continue;
		int r = section_new(loader, type, type->name, NULL, &section, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int add_default_executor(struct config_loader *loader, struct lsn_error *err)
{
	const struct config_section_type *type = NULL;
	struct config_section *section;

	if (config_find(loader, "executor"))
		return 0;
	for (size_t i = 0; i < config_section_count; i++)
		if (streq(config_sections[i].name, "executor"))
			type = &config_sections[i];
	assert(type); /* our own table */
	return section_new(loader, type, "executor docker-sandbox", "docker-sandbox", &section, err);
}

static int load_all(struct config_loader *loader, const char *file, struct lsn_error *err)
{
	int r = add_sections(loader, err), gathered;

	if (r == 0)
		r = load_files(loader, file, err);
	if (r == 0)
		r = add_default_executor(loader, err);
	gathered = gather_all(loader); /* also after a failure: config_free() frees what exists */
	if (r == 0 && gathered < 0)
		r = lsn_error_set(err, gathered, "out of memory");
	if (r == 0)
		r = config_derive(loader->config, err);
	return r == 0 ? config_check(loader, err) : r;
}

/* files_load - with FINDINGS not NULL, also examine what the configuration names. */
static int files_load(const char *file, struct config_findings *findings, struct config **ret, struct lsn_error *err)
{
	struct config_loader loader = { .config = calloc(1, sizeof(struct config)) };
	int r;

	if (!loader.config)
		return lsn_error_set(err, -ENOMEM, "out of memory");
	TAILQ_INIT(&loader.sections);
	r = load_all(&loader, file, err);
	if (r == 0 && findings)
		config_examine(&loader, findings);
	loader_done(&loader);
	if (r < 0)
		config_free(loader.config);
	else
		*ret = loader.config;
	return r;
}

int config_load(const char *file, struct config **ret, struct lsn_error *err)
{
	return files_load(file, NULL, ret, err);
}

int config_test(const char *file, void (*found)(void *data, bool fatal, const char *text), void *data,
		struct config **ret, struct lsn_error *err)
{
	struct config_findings findings = { .found = found, .data = data };
	int r = files_load(file, &findings, ret, err);

	return r < 0 ? r : findings.fatal;
}

static void clear_items(const struct config_section_type *type, void *base)
{
	for (size_t i = 0; i < type->item_count; i++)
		if (type->items[i].type->clear)
			type->items[i].type->clear((char *)base + type->items[i].offset);
}

bool config_section_equal(const struct config *a, const struct config *b, const char *section)
{
	const struct config_section_type *type = config_sections;

	while (!streq(type->name, section))
		type++;
	for (const struct config_item *item = type->items; item < type->items + type->item_count; item++)
		if (!item->type->equal((const char *)a + item->offset, (const char *)b + item->offset))
			return false;
	return true;
}

static void clear_options(struct executor_config *executor)
{
	for (size_t i = 0; i < executor->option_count; i++) {
		char *value = (char *)(uintptr_t)executor->options[i].value;
		if (value)
			explicit_bzero(value, strlen(value));
		free(value);
		free((char *)(uintptr_t)executor->options[i].key);
		free((char *)(uintptr_t)executor->options[i].file);
	}
	free(executor->options);
}

void config_free(struct config *config)
{
	if (!config)
		return;
	for (size_t i = 0; i < config_section_count; i++) {
		const struct config_section_type *type = &config_sections[i];
		if (!type->label)
			clear_items(type, config);
		for (size_t n = 0; streq(type->name, "route") && n < config->dispatch.route_count; n++) {
			clear_items(type, &config->dispatch.routes[n]);
			free(config->dispatch.routes[n].name);
		}
	}
	for (size_t n = 0; n < config->executors.executor_count; n++)
		clear_options(&config->executors.executors[n]);
	free(config->dispatch.routes);
	free(config->executors.executors);
	free(config->executors.run_dir);
	free(config->executors.libexec_dir);
	free(config->executors.listener);
	free(config->hidden);
	free(config);
}
