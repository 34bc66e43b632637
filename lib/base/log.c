#include "lib/base/log.h"

#include <assert.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/utf8.h"
#include "lib/base/clock.h"
#include "lib/base/timetext.h"

/* A line is one write of at most PIPE_BUF bytes, so lines of several processes that share a pipe
 * do not mix. */
#define LINE_LEN 4096

static enum log_level least_level = LOG_INFO;

static const char *const level_names[LOG_LEVEL_COUNT] = {
    [LOG_DEBUG] = "debug",
    [LOG_INFO] = "info",
    [LOG_WARN] = "warn",
    [LOG_ERROR] = "error",
};

void log_set_level(enum log_level level)
{
    assert(level < LOG_LEVEL_COUNT);
    least_level = level;
}

enum log_level log_level_from_name(const char *name)
{
    for (size_t i = 0; i < LOG_LEVEL_COUNT; i++) {
        if (strcmp(name, level_names[i]) == 0)
            return (enum log_level)i;
    }
    return LOG_LEVEL_COUNT;
}

const char *log_quote(struct log_quoted *buf, const char *text)
{
    char visible[LOG_QUOTE_LEN];
    size_t len = 0;
    utf8_visible(visible, sizeof(visible), text);
    buf->text[len++] = '"';
    for (const char *c = visible; *c && len + 4 < sizeof(buf->text); c++) {
        if (*c == '"' || *c == '\\')
            buf->text[len++] = '\\';
        buf->text[len++] = *c;
    }
    buf->text[len++] = '"';
    buf->text[len] = '\0';
    return buf->text;
}

void log_line(enum log_level level, const char *msg, const char *fields, ...)
{
    assert(level < LOG_LEVEL_COUNT);
    if (level < least_level)
        return;
    char time[TIMETEXT_LEN];
    struct log_quoted quoted;
    char raw[LINE_LEN - LOG_QUOTE_LEN];
    va_list args;
    va_start(args, fields);
    vsnprintf(raw, sizeof(raw), fields, args);
    va_end(args);

    char line[LINE_LEN];
    int head = snprintf(line, sizeof(line), "ts=%s level=%s msg=%s%s",
                        timetext_format(clock_wall_ms(), time), level_names[level],
                        log_quote(&quoted, msg), raw[0] ? " " : "");
    assert(head > 0 && (size_t)head < sizeof(line));
    size_t len = (size_t)head;
    len += utf8_visible(line + len, sizeof(line) - len - 1, raw);
    line[len++] = '\n';
    /* A failed write of a log line is ignored. */
    if (write(STDERR_FILENO, line, len) < 0)
        return;
}

void log_failure(enum log_level level, const char *msg, const struct failure *f)
{
    struct log_quoted quoted;
    log_line(level, msg, "err=%s", log_quote(&quoted, f->text));
}
