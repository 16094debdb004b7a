/* top.h - the command top: figures per script, again and again. */
#ifndef LISTENERCTL_TOP_H
#define LISTENERCTL_TOP_H

#include "ctl.h"

/* top_options - take the options `by` and `count` out of REQUEST.
 * 0, or -1 after printing what is wrong. */
int top_options(json_t *request);

/* top_run - ask REQUEST as often as `count` said (without it: once a second on a terminal, once
 * elsewhere), and print a table each time. */
enum exit_code top_run(struct client *client, const json_t *request);

#endif
