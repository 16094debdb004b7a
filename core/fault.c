/* fault.c - see fault.h. */
#include "fault.h"
#include "log.h"
#include "util.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static const char *const steps[] = {"after-read",   "after-intent",        "after-commit", "after-ack", "after-handover",
				    "after-result", "after-result-commit", "after-scan",   "after-scan-commit"};

bool fault_armed;
static char wanted[32];
static unsigned long remaining;

void fault_init(void)
{
	const char *text = getenv("LISTENER_FAULT");
	if (!text || !*text)
		return;
	size_t size = strcspn(text, ":");
	for (size_t i = 0; i < ELEMENTSOF(steps); i++) {
		if (strlen(steps[i]) != size || strncmp(steps[i], text, size) != 0)
			continue;
		memcpy(wanted, text, size);
		remaining = text[size] ? strtoul(text + size + 1, NULL, 10) : 1;
		fault_armed = remaining > 0;
		log_warning("fault injection is armed: SIGKILL %s, after %lu passes", steps[i], remaining);
		return;
	}
	log_warning("LISTENER_FAULT names no known step, ignoring");
}

void fault_pass(const char *step)
{
	if (streq(step, wanted) && --remaining == 0)
		(void)raise(SIGKILL);
}
