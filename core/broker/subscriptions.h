/* subscriptions.h - which filters our session at the broker may hold. A broker keeps what an
 * older configuration subscribed to with the session, delivers it for ever, and cannot be asked
 * for it; so the filters are noted in a file of the state folder, over reloads and restarts. */
#ifndef CORE_SUBSCRIPTIONS_H
#define CORE_SUBSCRIPTIONS_H

#include <listener/error.h>

/* subscriptions_note - before connecting with the filters in WANTED (NULL-terminated):
 * *RET_STALE is the list of noted ones that are not wanted any more, to be unsubscribed
 * (NULL-terminated, free with subscriptions_free()); the note then holds both.
 * A note that cannot be read counts as empty.
 * 0, -ENOMEM, or the errno of the write. */
int subscriptions_note(const char *state_dir, char *const *wanted, char ***ret_stale, struct lsn_error *err);
void subscriptions_free(char **list); /* NULL is allowed */

#endif
