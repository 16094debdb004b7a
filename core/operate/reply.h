/* reply.h - small helpers to read requests and build rows of docs/control.md. */
#ifndef CORE_REPLY_H
#define CORE_REPLY_H

#include "control.h"
#include "job.h"

/* reply_known_keys - every key of REQUEST is `command` or in KEYS (ends with NULL); else the
 * reply fails with EINVAL. */
bool reply_known_keys(struct control_reply *reply, const json_t *request, const char *const *keys);

/* Each is optional in the request: *RET stays as it is if absent.
 * False: wrong type or range, and the reply has failed. */
bool reply_get_string(struct control_reply *reply, const json_t *request, const char *key, const char **ret);
bool reply_get_uint(struct control_reply *reply, const json_t *request, const char *key, uint64_t min, uint64_t max,
		    uint64_t *ret);
bool reply_get_bool(struct control_reply *reply, const json_t *request, const char *key, bool *ret);

/* reply_get_word - a string out of WORDS; *RET is its index. */
bool reply_get_word(struct control_reply *reply, const json_t *request, const char *key, const char *const *words,
		    size_t count, int *ret);

void json_set_string(json_t *object, const char *key, const char *text); /* NULL: "" */
void json_set_uint(json_t *object, const char *key, uint64_t value);
void json_set_bool(json_t *object, const char *key, bool value);

#endif
