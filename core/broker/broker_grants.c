/* broker_grants.c - see broker_grants.h. */
#include "broker_grants.h"
#include "log.h"
#include "util.h"
#include <errno.h>
#include <mosquitto.h>
#include <stdlib.h>
#include <string.h>

#define AGAIN_USEC (30 * USEC_PER_SEC) /* after a refusal that costs nothing */
#define AGAIN_LOST_USEC (300 * USEC_PER_SEC) /* after one that costs the connection; doubles */
#define AGAIN_MAX_USEC (3600 * USEC_PER_SEC)
#define ENDS_MAX 2 /* once may be an accident */

const char *const broker_grant_names[BROKER_GRANT_MAX] = {
	[BROKER_GRANT_UNKNOWN] = "unknown",
	[BROKER_GRANT_GIVEN] = "granted",
	[BROKER_GRANT_WEAK] = "qos-0",
	[BROKER_GRANT_REFUSED] = "refused",
};

int grants_new(struct broker_grants *grants, char *const *filters)
{
	size_t count = 0;

	while (filters && filters[count])
		count++;
	*grants = (struct broker_grants){ .list = calloc(count + 1, sizeof *grants->list),
					  .filters = calloc(count + 1, sizeof *grants->filters) };
	for (; grants->list && grants->filters && grants->count < count; grants->count++)
		if (!(grants->filters[grants->count] = strdup(filters[grants->count])))
			break;
	return grants->list && grants->filters && grants->count == count ? 0 : -ENOMEM;
}

void grants_done(struct broker_grants *grants)
{
	for (size_t i = 0; i < grants->count; i++)
		free(grants->filters[i]);
	free(grants->filters);
	free(grants->list);
	*grants = (struct broker_grants){ .list = NULL };
}

void grants_begin(struct broker_grants *grants)
{
	for (size_t i = 0; i < grants->count; i++) {
		struct grant *grant = &grants->list[i];
		grant->asked = false;
		/* one that costs the connection is not tried with each new one */
		if (grant->state != BROKER_GRANT_REFUSED || grant->ends == 0)
			grant->state = BROKER_GRANT_UNKNOWN;
	}
}

/* ------------------------------------------------------------------------------------ asking */

static bool grant_is_due(const struct grant *grant, uint64_t now_usec)
{
	if (grant->state == BROKER_GRANT_UNKNOWN)
		return true;
	return grant->again_usec && grant->again_usec <= now_usec;
}

/* grants_pick - at most MAX filters that are due; COSTLY: those that have cost the connection. */
static size_t grants_pick(struct broker_grants *grants, uint64_t now_usec, bool costly, size_t max, char **filters)
{
	size_t n = 0;

	for (size_t i = 0; i < grants->count && n < max; i++) {
		struct grant *grant = &grants->list[i];
		if ((grant->ends > 0) != costly || !grant_is_due(grant, now_usec))
			continue;
		grant->asked = true;
		filters[n++] = grants->filters[i];
	}
	return n;
}

size_t grants_next(struct broker_grants *grants, uint64_t now_usec, char **filters)
{
	for (size_t i = 0; i < grants->count; i++)
		if (grants->list[i].asked)
			return 0;
	size_t n = grants_pick(grants, now_usec, false, grants->singly ? 1 : grants->count, filters);
	if (n == 0)
		n = grants_pick(grants, now_usec, true, 1, filters);
	grants->singly = grants->singly && n > 0; /* until all are answered */
	return n;
}

/* ------------------------------------------------------------------------------------ answers */

static void grant_set(struct grant *grant, const char *name, int code, uint64_t now_usec)
{
	char filter[80];

	grant->asked = false;
	grant->again_usec = 0;
	grant->reason[0] = 0;
	grant->ends = 0;
	grant->wait_usec = 0;
	grant->state = code == 1 || code == 2 ? BROKER_GRANT_GIVEN
		       : code == 0            ? BROKER_GRANT_WEAK
					      : BROKER_GRANT_REFUSED;
	if (grant->state == BROKER_GRANT_GIVEN)
		return;
	(void)str_quote(filter, sizeof filter, name, strlen(name));
	if (code == 0)
		(void)snprintf(grant->reason, sizeof grant->reason,
			       "the broker grants %s at QoS 0 only: events can be lost", filter);
	else
		(void)snprintf(grant->reason, sizeof grant->reason, "the broker refuses the subscription %s: %s",
			       filter, code > 128 ? mosquitto_reason_string(code) : "no reason given");
	log_warning("%s", grant->reason);
	grant->again_usec = now_usec + AGAIN_USEC;
}

void grants_answered(struct broker_grants *grants, int count, const int *codes, uint64_t now_usec)
{
	int n = 0;

	for (size_t i = 0; i < grants->count && n < count; i++)
		if (grants->list[i].asked)
			grant_set(&grants->list[i], grants->filters[i], codes[n++], now_usec);
}

/* grant_ended - the connection ended when this filter was asked for alone. */
static void grant_ended(struct grant *grant, const char *filter, uint64_t now_usec)
{
	grant->asked = false;
	if (++grant->ends < ENDS_MAX)
		return;
	grant->wait_usec = grant->wait_usec ? grant->wait_usec * 2 : AGAIN_LOST_USEC;
	if (grant->wait_usec > AGAIN_MAX_USEC)
		grant->wait_usec = AGAIN_MAX_USEC;
	grant->again_usec = now_usec + grant->wait_usec;
	if (grant->state != BROKER_GRANT_REFUSED)
		log_warning("the connection ends whenever the broker is asked for the subscription %s: it is left "
			    "out for now",
			    filter);
	grant->state = BROKER_GRANT_REFUSED;
	(void)snprintf(grant->reason, sizeof grant->reason,
		       "the connection ends whenever the broker is asked for the subscription %s", filter);
}

bool grants_lost(struct broker_grants *grants, uint64_t now_usec, char *reason, size_t size)
{
	struct grant *last = NULL;
	char filter[80] = "";
	size_t asked = 0;

	for (size_t i = 0; i < grants->count; i++) {
		if (!grants->list[i].asked)
			continue;
		asked++;
		last = &grants->list[i];
		(void)str_quote(filter, sizeof filter, grants->filters[i], strlen(grants->filters[i]));
	}
	if (!last)
		return false;
	grants->singly = true;
	if (asked == 1) {
		grant_ended(last, filter, now_usec);
		(void)snprintf(reason, size, "the connection ended before the broker answered the subscription %s",
			       filter);
	} else {
		for (size_t i = 0; i < grants->count; i++)
			grants->list[i].asked = false;
		(void)snprintf(reason, size,
			       "the connection ended before the broker answered %zu subscriptions; each is tried alone",
			       asked);
	}
	return true;
}

/* ------------------------------------------------------------------------------------ questions */

uint64_t grants_due(const struct broker_grants *grants)
{
	uint64_t due = 0;

	for (size_t i = 0; i < grants->count; i++) {
		uint64_t again = grants->list[i].again_usec;
		if (again && (!due || again < due))
			due = again;
	}
	return due;
}

void grants_describe(const struct broker_grants *grants, char *text, size_t size)
{
	const char *first = NULL;
	size_t more = 0;

	for (size_t i = 0; i < grants->count; i++) {
		if (!grants->list[i].reason[0])
			continue;
		if (first)
			more++;
		else
			first = grants->list[i].reason;
	}
	if (more)
		(void)snprintf(text, size, "%.*s (and %zu more)", (int)size - 24, first, more);
	else
		(void)snprintf(text, size, "%s", first ? first : "");
}
