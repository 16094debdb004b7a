/* fuzz_host.h - an executor's host that does nothing but remember who watches what. */
#ifndef TESTS_FUZZ_HOST_H
#define TESTS_FUZZ_HOST_H

#include <listener/executor.h>

#define FUZZ_WATCHES_MAX 8

struct lsn_watch {
	int fd; /* -1: free */
	lsn_watch_fn fn;
	void *data;
};

extern struct lsn_watch fuzz_watches[FUZZ_WATCHES_MAX];
extern unsigned fuzz_done; /* calls of done() */
extern struct lsn_host fuzz_host;

/* fuzz_host_turn - call whoever watches a descriptor that is readable. false: nobody had
 * anything to do. */
bool fuzz_host_turn(void);

/* fuzz_host_fire - let a timer that was asked for fire, the newest first. false: there is none. */
bool fuzz_host_fire(void);
void fuzz_host_reset(void);

#endif
