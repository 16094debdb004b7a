/* control_lookup.c - see control_lookup.h. The child's report is a struct header and the numbers
 * of users and groups behind it. */
#include "child.h"
#include "control_lookup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <util.h>

#define LIMIT_USEC (20 * USEC_PER_SEC)

struct header {
	struct lsn_error err;
	gid_t group;
	bool open;
	size_t reader_users, reader_groups, tester_users, tester_groups, operator_users, operator_groups;
};

_Static_assert(sizeof(uid_t) == sizeof(gid_t), "all numbers behind the header have one size");

struct control_lookup {
	struct child *child;
	control_lookup_fn fn;
	void *data;
};

/* ------------------------------------------------------------------------------------ in the child */

static bool append(char *report, size_t *used, const void *data, size_t size)
{
	if (size > CHILD_REPORT_MAX - *used)
		return false;
	if (size > 0)
		memcpy(report + *used, data, size);
	*used += size;
	return true;
}

static bool append_set(char *report, size_t *used, const struct id_set *set)
{
	return append(report, used, set->users, set->user_count * sizeof *set->users) &&
	       append(report, used, set->groups, set->group_count * sizeof *set->groups);
}

static void look_up(int report_fd, int kept_fd, const void *data)
{
	static char report[CHILD_REPORT_MAX];
	struct control_access access = { 0 };
	struct header header = { 0 };
	size_t used = sizeof header;

	(void)kept_fd;
	if (control_access_resolve(data, &access, &header.err) == 0) {
		header.group = access.group;
		header.open = access.open;
		header.reader_users = access.readers.user_count;
		header.reader_groups = access.readers.group_count;
		header.tester_users = access.testers.user_count;
		header.tester_groups = access.testers.group_count;
		header.operator_users = access.operators.user_count;
		header.operator_groups = access.operators.group_count;
		if (!append_set(report, &used, &access.readers) || !append_set(report, &used, &access.testers) ||
		    !append_set(report, &used, &access.operators)) {
			header = (struct header){ 0 };
			used = sizeof header;
			(void)lsn_error_set(
				&header.err, -E2BIG,
				"[control] readers, testers and operators list more than %zu users and groups; "
				"list groups instead",
				(CHILD_REPORT_MAX - sizeof header) / sizeof(uid_t));
		}
	}
	control_access_clear(&access);
	memcpy(report, &header, sizeof header);
	if (write(report_fd, report, used) != (ssize_t)used)
		_exit(1);
}

/* ----------------------------------------------------------------------------------- in the daemon */

static int take(const char **at, size_t count, size_t size, void *ret_list)
{
	void *list = calloc(count + 1, size);

	if (!list)
		return -ENOMEM;
	memcpy(list, *at, count * size);
	*at += count * size;
	memcpy(ret_list, &list, sizeof list);
	return 0;
}

static int take_set(const char **at, size_t users, size_t groups, struct id_set *ret)
{
	int r = take(at, users, sizeof *ret->users, &ret->users);

	if (r >= 0)
		r = take(at, groups, sizeof *ret->groups, &ret->groups);
	ret->user_count = users;
	ret->group_count = groups;
	return r;
}

/* is_whole - it is written in one piece, so its size tells; how the child ended then is no
 * matter. */
static bool is_whole(const struct child_end *end)
{
	struct header header;

	if (end->timeout || end->report_size < sizeof header)
		return false;
	memcpy(&header, end->report, sizeof header);
	const size_t counts[] = { header.reader_users,  header.reader_groups,  header.tester_users,
				  header.tester_groups, header.operator_users, header.operator_groups };
	size_t left = (end->report_size - sizeof header) / sizeof(uid_t);
	for (size_t i = 0; i < ELEMENTSOF(counts); left -= counts[i], i++)
		if (counts[i] > left)
			return false;
	return left == 0;
}

static int access_read(const struct child_end *end, struct control_access *ret, struct lsn_error *err)
{
	const char *at = (const char *)end->report + sizeof(struct header);
	struct header header;

	memcpy(&header, end->report, sizeof header);
	if (header.err.code)
		return lsn_error_set(err, header.err.code, "%s", header.err.message);
	*ret = (struct control_access){ .group = header.group, .open = header.open };
	int r = take_set(&at, header.reader_users, header.reader_groups, &ret->readers);
	if (r >= 0)
		r = take_set(&at, header.tester_users, header.tester_groups, &ret->testers);
	if (r >= 0)
		r = take_set(&at, header.operator_users, header.operator_groups, &ret->operators);
	if (r < 0) {
		control_access_clear(ret);
		return lsn_error_set(err, r, "out of memory");
	}
	return 0;
}

/* no_report - the child ended without one. */
static int no_report(const struct child_end *end, struct lsn_error *err)
{
	static const char what[] = "the users and groups of [control] cannot be looked up";
	char how[CHILD_END_SIZE];

	if (end->timeout)
		return lsn_error_set(err, -ETIMEDOUT, "%s: the user database has not answered for %d s", what,
				     (int)(LIMIT_USEC / USEC_PER_SEC));
	return lsn_error_set(err, -EIO, "%s: the process for it ended %s", what, child_say_end(&end->how, how));
}

static void on_looked_up(void *data, const struct child_end *end)
{
	struct control_lookup *lookup = data;
	const struct control_lookup said = *lookup;
	struct control_access access;
	struct lsn_error err = { 0 };

	free(lookup);
	int r = is_whole(end) ? access_read(end, &access, &err) : no_report(end, &err);
	said.fn(said.data, r < 0 ? NULL : &access, &err);
}

int control_lookup_start(sd_event *loop, const struct control_config *config, control_lookup_fn fn, void *data,
			 struct control_lookup **ret, struct lsn_error *err)
{
	const struct child_task task = {
		.name = "people", .work = look_up, .data = config, .kept_fd = -1, .limit_usec = LIMIT_USEC
	};
	struct control_lookup *lookup = calloc(1, sizeof *lookup);

	if (!lookup)
		return lsn_error_set(err, -ENOMEM, "out of memory");
	*lookup = (struct control_lookup){ .fn = fn, .data = data };
	int r = child_start(loop, &task, on_looked_up, lookup, &lookup->child, err);
	if (r < 0) {
		free(lookup);
		return lsn_error_prefix(err, r, "the users and groups of [control] cannot be looked up");
	}
	*ret = lookup;
	return 0;
}

void control_lookup_cancel(struct control_lookup *lookup)
{
	if (!lookup)
		return;
	child_cancel(lookup->child);
	free(lookup);
}
