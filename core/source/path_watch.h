/* path_watch.h - tells when a path may lead to another folder than before: a link on it was
 * replaced, a folder on it was renamed, or something was mounted on it or unmounted.
 *
 * What cannot be watched is left out without an error: inotify knows no changes that another
 * machine makes on a network file system, and a folder may forbid us to watch it. */
#ifndef CORE_PATH_WATCH_H
#define CORE_PATH_WATCH_H

#include <systemd/sd-event.h>

struct path_watch;

/* path_watch_new - PATH (absolute, copied) as it leads now.
 * CHANGED(data) is called on the loop thread; from inside it path_watch_free() is not allowed.
 * After a call the watch is still the one of the old way: make a new one.
 * 0, -ENOMEM or another negative errno. */
int path_watch_new(sd_event *loop, const char *path, void (*changed)(void *data), void *data, struct path_watch **ret);

/* NULL is allowed. */
void path_watch_free(struct path_watch *watch);

#endif
