/* fuzz.h - what the fuzz targets share. A target is a file fuzz_NAME.c with
 * LLVMFuzzerTestOneInput(); its seeds are corpus/NAME/. A claim about the parser under test that
 * does not hold is a finding like a crash: must(). mk/fuzz.mk builds and runs them. */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define must(condition)                                                                                                \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			(void)fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                  \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

/* fuzz_copy - a heap copy with a NUL behind it, so that a read beyond the end is seen. */
static inline char *fuzz_copy(const void *data, size_t size)
{
	char *copy = malloc(size + 1);
	must(copy);
	if (size > 0)
		memcpy(copy, data, size);
	copy[size] = 0;
	return copy;
}

#endif
