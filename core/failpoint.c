/* failpoint.c - see fault.h. */
#include "failpoint.h"
#include "log.h"
#include "util.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static const char *const steps[] = { "after-read",          "after-intent",   "after-commit",
				     "after-ack",           "after-handover", "after-result",
				     "after-result-commit", "after-scan",     "after-scan-commit" };

bool failpoint_armed;
static char wanted[32];
static unsigned long remaining;

void failpoint_init(void)
{
	const char *text = getenv("LISTENER_FAILPOINT");
	if (!text || !*text)
		return;
	size_t size = strcspn(text, ":");
	for (size_t i = 0; i < ELEMENTSOF(steps); i++) {
		if (strlen(steps[i]) != size || strncmp(steps[i], text, size) != 0)
			continue;
		memcpy(wanted, text, size);
		remaining = text[size] ? strtoul(text + size + 1, NULL, 10) : 1;
		failpoint_armed = remaining > 0;
		log_warning("fault injection is armed: SIGKILL %s, after %lu passes", steps[i], remaining);
		return;
	}
	log_warning("LISTENER_FAILPOINT names no known step, ignoring");
}

void failpoint_pass(const char *step)
{
	if (streq(step, wanted) && --remaining == 0)
		(void)raise(SIGKILL);
}
