/* tenants.c - see tenants.h. */
#include "tenants.h"

#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEAN_WEIGHT 8 /* a new value counts an eighth */

static int tenant_compare(const void *left, const void *right)
{
	const struct tenant *a = left, *b = right;

	if (a->memory_bytes != b->memory_bytes)
		return a->memory_bytes < b->memory_bytes ? -1 : 1;
	return strcmp(a->version, b->version);
}

void tenants_init(struct tenants *tenants)
{
	*tenants = (struct tenants){ 0 };
	TAILQ_INIT(&tenants->all);
	TAILQ_INIT(&tenants->waiting);
}

static void tenant_forget(struct tenants *tenants, struct tenant *t)
{
	if (t->waiting > 0)
		TAILQ_REMOVE(&tenants->waiting, t, queue);
	TAILQ_REMOVE(&tenants->all, t, all);
	(void)tdelete(t, &tenants->by_key, tenant_compare);
	free(t);
}

void tenants_done(struct tenants *tenants)
{
	struct tenant *t;

	while ((t = TAILQ_FIRST(&tenants->all)))
		tenant_forget(tenants, t);
}

static struct tenant tenant_key(const char *version, uint64_t memory_bytes)
{
	struct tenant key = { .memory_bytes = memory_bytes };

	(void)snprintf(key.version, sizeof key.version, "%s", version);
	return key;
}

struct tenant *tenants_find(struct tenants *tenants, const char *version, uint64_t memory_bytes)
{
	const struct tenant key = tenant_key(version, memory_bytes);
	struct tenant **found = tfind(&key, &tenants->by_key, tenant_compare);

	return found ? *found : NULL;
}

struct tenant *tenants_get(struct tenants *tenants, const char *version, uint64_t memory_bytes)
{
	struct tenant *t = tenants_find(tenants, version, memory_bytes);

	if (t || !(t = calloc(1, sizeof *t)))
		return t;
	*t = tenant_key(version, memory_bytes);
	TAILQ_INIT(&t->sandboxes);
	if (!tsearch(t, &tenants->by_key, tenant_compare)) {
		free(t);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&tenants->all, t, all);
	return t;
}

/* ---------------------------------------------------------------------------------------------- waiting */

static void wait_end(struct tenants *tenants, struct tenant *t)
{
	if (t->waiting > 0)
		TAILQ_REMOVE(&tenants->waiting, t, queue);
	t->waiting = 0;
	t->starved = false;
}

void tenant_wait(struct tenants *tenants, struct tenant *t, uint64_t waiting, uint64_t now_usec)
{
	if (t->waiting == 0) {
		TAILQ_INSERT_TAIL(&tenants->waiting, t, queue);
		t->since_usec = now_usec;
	}
	t->waiting = waiting > 0 ? waiting : 1;
	t->asked_usec = now_usec;
}

void tenant_served(struct tenants *tenants, struct tenant *t, uint64_t left, uint64_t now_usec)
{
	wait_end(tenants, t);
	if (left > 0)
		tenant_wait(tenants, t, left, now_usec);
}

static bool is_nothing(const struct tenant *t, uint64_t now_usec)
{
	return t->waiting == 0 && TAILQ_EMPTY(&t->sandboxes) && tenant_uses(t, now_usec) == 0;
}

static void forget_unused(struct tenants *tenants, uint64_t now_usec)
{
	struct tenant *t = TAILQ_FIRST(&tenants->all), *next;

	for (; t; t = next) {
		next = TAILQ_NEXT(t, all);
		if (is_nothing(t, now_usec))
			tenant_forget(tenants, t);
	}
}

unsigned tenants_prune(struct tenants *tenants, uint64_t now_usec)
{
	struct tenant *t = TAILQ_FIRST(&tenants->waiting), *next;
	unsigned ended = 0;

	for (; t; t = next) {
		next = TAILQ_NEXT(t, queue);
		if (now_usec - t->asked_usec <= TENANT_STALE_USEC)
			continue;
		wait_end(tenants, t);
		ended++;
	}
	if (now_usec / TENANT_HALF_LIFE_USEC != tenants->period) {
		tenants->period = now_usec / TENANT_HALF_LIFE_USEC;
		forget_unused(tenants, now_usec);
	}
	return ended;
}

/* -------------------------------------------------------------------------------------------------- use */

uint64_t tenant_uses(const struct tenant *t, uint64_t now_usec)
{
	uint64_t halvings = now_usec / TENANT_HALF_LIFE_USEC - t->period;

	return halvings < 64 ? t->uses >> halvings : 0;
}

void tenant_use(struct tenant *t, uint64_t now_usec)
{
	t->uses = tenant_uses(t, now_usec) + TENANT_USE;
	t->period = now_usec / TENANT_HALF_LIFE_USEC;
}

static uint64_t mean_move(uint64_t old, uint64_t value)
{
	return old == 0 ? value : old + value / MEAN_WEIGHT - old / MEAN_WEIGHT;
}

void tenant_ran(struct tenant *t, uint64_t run_usec, uint64_t cpu_usec)
{
	t->run_usec = mean_move(t->run_usec, run_usec > 0 ? run_usec : 1);
	t->cpu_usec = mean_move(t->cpu_usec, cpu_usec > 0 ? cpu_usec : 1);
}
