/* Log lines in logfmt on stderr: `ts=2026-11-24T16:00:00.123Z level=info msg="claimed" part=3`.
 * A peer's mistake is info, an operator's concern warn, a fault error; an invariant's failure adds
 * bug=1. Never a token or a payload. */
#ifndef BERTH_LIB_BASE_LOG_H
#define BERTH_LIB_BASE_LOG_H

#include "lib/base/err.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_LEVEL_COUNT };

void log_set_level(enum log_level level);             /* default LOG_INFO */
enum log_level log_level_from_name(const char *name); /* LOG_LEVEL_COUNT: unknown */

/* `fields` is printf for further key=value pairs ("part=%d offset=%" PRId64), or "". A value with
 * spaces, quotes or bytes from outside goes through log_quote. The line has the visible form
 * (core/utf8.h). */
void log_line(enum log_level level, const char *msg, const char *fields, ...)
    __attribute__((format(printf, 3, 4)));
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)
#define log_info(...)  log_line(LOG_INFO, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)

/* A line with the failure's text as the field `err`. */
void log_failure(enum log_level level, const char *msg, const struct failure *f);

/* The visible form of `text` in quotes, with a backslash before quotes and backslashes, cut to what
 * fits; returns buf. Use a buffer per value. */
#define LOG_QUOTE_LEN 1400
struct log_quoted {
    char text[LOG_QUOTE_LEN];
};
const char *log_quote(struct log_quoted *buf, const char *text);

#endif
