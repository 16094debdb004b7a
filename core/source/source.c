/* source.c - what all kinds of sources have in common. */
#include "source.h"

void source_free(struct source *source)
{
	if (source)
		source->ops->free(source);
}
