/* page_style.c - the style sheet, web/style.css, as it was when the program was built. */
#include "pages.h"

#include "style.h"

const struct page page_style = {
	.path = "/style.css",
	.title = "Style",
	.type = "text/css; charset=utf-8",
	.fixed = style_css,
};
