#include "lib/base/log.h"

#include <assert.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

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

/* Writes one byte's escape, or the byte, to out (5 bytes); returns its length. With `quoted` also
 * quotes, backslashes and all that is not ASCII are escaped: such text comes from outside. */
static size_t escape(unsigned char byte, bool quoted, char out[5])
{
    const char *named = byte == '\n' ? "\\n" : byte == '\r' ? "\\r" : byte == '\t' ? "\\t" : NULL;
    if (named) {
        memcpy(out, named, 3);
        return 2;
    }
    if (byte < 0x20 || byte == 0x7f || (quoted && byte >= 0x80)) {
        snprintf(out, 5, "\\x%02x", byte);
        return 4;
    }
    size_t len = 0;
    if (quoted && (byte == '"' || byte == '\\'))
        out[len++] = '\\';
    out[len++] = (char)byte;
    return len;
}

const char *log_quote(struct log_quoted *buf, const char *text)
{
    size_t len = 0;
    buf->text[len++] = '"';
    for (; *text; text++) {
        char piece[5];
        size_t piece_len = escape((unsigned char)*text, true, piece);
        if (len + piece_len + 2 > sizeof(buf->text))
            break;
        memcpy(buf->text + len, piece, piece_len);
        len += piece_len;
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
    for (const char *c = raw; *c && len + 6 < sizeof(line); c++)
        len += escape((unsigned char)*c, false, line + len);
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
