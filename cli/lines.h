/* The lines of a file or a pipe, read without waiting longer than the caller wants. */
#ifndef BERTH_CLI_LINES_H
#define BERTH_CLI_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"

/* The longest line, in bytes; a signed request has at most 16 KiB. */
#define LINES_LEN (64 * 1024)

struct lines;

struct line {
    uint64_t number;  /* 1, 2, … */
    const char *text; /* without its line end, NUL-terminated; borrowed until the next lines_next */
    size_t len;
    bool too_long; /* more than LINES_LEN bytes; the text is empty */
};

enum lines_next {
    LINES_READY, /* there is a line */
    LINES_NONE,  /* no whole line came in time */
    LINES_END    /* the input is over, see lines_error */
};

/* Opens a file; "-" is standard input. Gives *out, to be closed with lines_close. ERR_USAGE. */
enum err lines_open(const char *path, struct lines **out, struct failure *f);
/* NULL is allowed. */
void lines_close(struct lines *in);

/* Waits up to timeout_ms for input, or until a signal arrives. A byte order mark before the first
 * line is skipped, and the last line needs no line end. */
enum lines_next lines_next(struct lines *in, int timeout_ms, struct line *line);

/* The errno that ended the input early; 0: none. */
int lines_error(const struct lines *in);
/* The bytes read, and the bytes of the file; 0: not a regular file. */
int64_t lines_read(const struct lines *in);
int64_t lines_size(const struct lines *in);

#endif
