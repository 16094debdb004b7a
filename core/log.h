/* log.h - one line per happening, to stderr (with the <N> priority prefix when systemd's journal
 * reads it). Text never repeats the level. Lines carry fields in the text as key=value: job=,
 * event=, script=, executor=. Foreign strings go through str_quote(). */
#ifndef CORE_LOG_H
#define CORE_LOG_H

#include <listener/executor.h>

/* log_init - levels above MAX_LEVEL are dropped.
 * May be called again (reload). */
void log_init(enum lsn_log_level max_level);

/* log_force - what the command line said: MAX_LEVEL holds, whatever log_init() is told from now
 * on. */
void log_force(enum lsn_log_level max_level);
enum lsn_log_level log_level(void);
void log_line(enum lsn_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
void log_linev(enum lsn_log_level level, const char *format, va_list ap);

/* log_level_parse - "error" "warning" "notice" "info" "debug".
 * 0, -EINVAL. */
int log_level_parse(const char *text, enum lsn_log_level *ret);

#define log_error(...) log_line(LSN_LOG_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LSN_LOG_WARNING, __VA_ARGS__)
#define log_notice(...) log_line(LSN_LOG_NOTICE, __VA_ARGS__)
#define log_info(...) log_line(LSN_LOG_INFO, __VA_ARGS__)
#define log_debug(...)                                                                                                 \
	do {                                                                                                           \
		if (log_level() >= LSN_LOG_DEBUG)                                                                      \
			log_line(LSN_LOG_DEBUG, __VA_ARGS__);                                                          \
	} while (0)

#endif
