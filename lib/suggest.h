/* suggest.h - which word did somebody mean? */
#ifndef LIB_SUGGEST_H
#define LIB_SUGGEST_H

#include <stddef.h>

/* suggest_word - the word nearest to WORD, NULL if none is near.
 * NEXT yields the words to choose from, by index, and NULL at the end.
 * The case of ASCII letters makes no difference. */
const char *suggest_word(const char *word, const char *(*next)(void *data, size_t index), void *data);

/* suggest_from - the same with the words in LIST, which ends with NULL. */
const char *suggest_from(const char *word, const char *const *list);

#endif
