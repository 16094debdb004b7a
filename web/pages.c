/* pages.c - see pages.h. */
#include "pages.h"

#include <string.h>

#include <util.h>

static const struct page *const pages[] = {
	&page_now,    &page_scripts, &page_script, &page_jobs,   &page_output,  &page_job,
	&page_events, &page_explain, &page_about,  &page_health, &page_metrics, &page_style,
};

const struct page *pages_find(const char *path, const char **ret_rest)
{
	for (size_t i = 0; i < ELEMENTSOF(pages); i++) {
		size_t size = strlen(pages[i]->path);
		bool below = size > 1 && pages[i]->path[size - 1] == '/';
		*ret_rest = path + size;
		if (below ? str_startswith(path, pages[i]->path) && path[size] : streq(path, pages[i]->path))
			return pages[i];
	}
	return NULL;
}
