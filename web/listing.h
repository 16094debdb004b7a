/* listing.h - what several pages show: tables of jobs, links to jobs and scripts, fields of forms,
 * conditions. */
#ifndef WEB_LISTING_H
#define WEB_LISTING_H

#include "html.h"
#include "visit.h"

#include <jansson.h>
#include <stddef.h>

/* listing_jobs - a table of at most MAX of ROWS, which are the daemon's rows of jobs.
 * CAPTION tells what they are. */
void listing_jobs(struct html *html, const json_t *rows, size_t max, const char *caption);

/* listing_script - the name ROW[KEY] as a link to the script's page. */
void listing_script(struct html *html, const json_t *row, const char *key);

/* listing_job - the number ROW[KEY] as a link to the job's page; "-" for 0. */
void listing_job(struct html *html, const json_t *row, const char *key);

/* listing_outcome - the state of a job as mark and word: not by colour alone. */
void listing_outcome(struct html *html, const json_t *job);

/* listing_failed - it ended, and neither with success nor cancelled. */
bool listing_failed(const json_t *job);

/* listing_conditions - what is wrong, with remedies; or that all is well. */
void listing_conditions(struct html *html, const json_t *conditions);

/* listing_field - a text field of a form; it shows the argument of this name. */
void listing_field(struct html *html, const struct visit *visit, const char *name, const char *label);

/* listing_choice - a list to choose from; the first of WORDS, which end with NULL, is "". */
void listing_choice(struct html *html, const struct visit *visit, const char *name, const char *label,
		    const char *const *words);

/* listing_fact - one line of a list of facts: TITLE, and what the caller writes until
 * listing_fact_end(). */
void listing_fact(struct html *html, const char *title);
void listing_fact_end(struct html *html);

#endif
