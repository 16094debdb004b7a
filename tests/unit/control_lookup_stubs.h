/* What test_control_lookup and its stubs share. */
#ifndef CONTROL_LOOKUP_STUBS_H
#define CONTROL_LOOKUP_STUBS_H

#include "child.h"

struct played {
	struct child_task task;
	void (*done)(void *data, const struct child_end *end);
	void *data;
};
extern struct played played;

#endif
