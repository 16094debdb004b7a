/* suggest.c - see suggest.h. */
#include "suggest.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define WORD_MAX 48

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
	unsigned ab = a < b ? a : b;

	return ab < c ? ab : c;
}

static bool letters_equal(char a, char b) { return tolower((unsigned char)a) == tolower((unsigned char)b); }

/* Levenshtein's distance: how many letters to insert, drop or change. */
static unsigned distance(const char *a, const char *b)
{
	unsigned row[WORD_MAX + 1];
	size_t size = strlen(b);

	if (size > WORD_MAX || strlen(a) > WORD_MAX)
		return UINT32_MAX;
	for (unsigned j = 0; j <= size; j++)
		row[j] = j;
	for (unsigned i = 1; *a; a++, i++) {
		unsigned diagonal = row[0];
		row[0] = i;
		for (size_t j = 1; j <= size; j++) {
			unsigned above = row[j];
			row[j] = min3(above + 1, row[j - 1] + 1, diagonal + !letters_equal(*a, b[j - 1]));
			diagonal = above;
		}
	}
	return row[size];
}

const char *suggest_word(const char *word, const char *(*next)(void *data, size_t index), void *data)
{
	unsigned best = (unsigned)strlen(word) / 3 + 2; /* farther away it is another word */
	const char *near = NULL, *candidate;

	for (size_t i = 0; (candidate = next(data, i)); i++) {
		unsigned d = distance(word, candidate);
		if (d < best) {
			best = d;
			near = candidate;
		}
	}
	return near;
}

static const char *next_in_list(void *data, size_t index) { return ((const char *const *)data)[index]; }

const char *suggest_from(const char *word, const char *const *list)
{
	return suggest_word(word, next_in_list, (void *)(uintptr_t)list);
}
