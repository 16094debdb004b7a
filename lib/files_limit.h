/* files_limit.h - how many files may be open. The daemon takes what it can get; what it starts
 * gets the limit that it was started with: old programs close all descriptors up to the limit,
 * one by one, or use select(). */
#ifndef LIB_FILES_LIMIT_H
#define LIB_FILES_LIMIT_H

/* files_limit_raise - set the soft limit to the hard one, once, at the start.
 * The old one is kept in the environment, so that modules and helpers know it, too. */
void files_limit_raise(void);

/* files_limit_restore - this process gets the old soft limit back: a child after fork(), or the
 * daemon for as long as it starts a program. files_limit_lift - and is without it again. */
void files_limit_restore(void);
void files_limit_lift(void);

#endif
