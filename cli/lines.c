#include "cli/lines.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/mem.h"

#define BUFFER_LEN ((size_t)4 * LINES_LEN)

struct lines {
    int fd;
    int error;
    bool ended;
    bool skips; /* the rest of a line that is too long */
    uint64_t number;
    int64_t read, size;
    size_t begin, end; /* of the bytes that no line has used up */
    char bytes[BUFFER_LEN + 1];
};

enum err lines_open(const char *path, struct lines **out, struct failure *f)
{
    struct stat stat;
    bool own = strcmp(path, "-") != 0;
    int fd = own ? open(path, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
    if (fd < 0 || fstat(fd, &stat) != 0)
        return failure_set(f, ERR_USAGE, "cannot read %s: %s", path, strerror(errno));
    if (S_ISDIR(stat.st_mode)) {
        if (own)
            close(fd);
        return failure_set(f, ERR_USAGE, "cannot read %s: it is a directory", path);
    }
    struct lines *in = xcalloc(1, sizeof(*in));
    in->fd = fd;
    in->size = S_ISREG(stat.st_mode) ? stat.st_size : 0;
    *out = in;
    return ERR_OK;
}

void lines_close(struct lines *in)
{
    if (!in)
        return;
    if (in->fd != STDIN_FILENO)
        close(in->fd);
    free(in);
}

int lines_error(const struct lines *in)
{
    return in->error;
}

int64_t lines_read(const struct lines *in)
{
    return in->read - (int64_t)(in->end - in->begin);
}

int64_t lines_size(const struct lines *in)
{
    return in->size;
}

/* Takes a line out of the buffer. False: it holds none. */
static bool take(struct lines *in, struct line *line)
{
    char *text = in->bytes + in->begin;
    size_t have = in->end - in->begin;
    char *line_end = memchr(text, '\n', have);
    size_t len = line_end ? (size_t)(line_end - text) : have;
    if (!line_end && len > LINES_LEN) {
        in->skips = true;
        in->begin = in->end;
        len = 0;
    }
    if (!line_end && (!in->ended || (len == 0 && !in->skips)))
        return false;
    in->begin += len + (line_end ? 1 : 0);
    *line = (struct line){.number = ++in->number, .too_long = in->skips || len > LINES_LEN};
    if (line->number == 1 && len >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) {
        text += 3;
        len -= 3;
    }
    line->len = line->too_long ? 0 : len;
    text[len] = '\0'; /* in place of the line end, or behind all bytes */
    line->text = line->too_long ? "" : text;
    in->skips = false;
    return true;
}

/* Reads what is there; call when the input is readable. */
static void fill(struct lines *in)
{
    memmove(in->bytes, in->bytes + in->begin, in->end - in->begin);
    in->end -= in->begin;
    in->begin = 0;
    ssize_t len = read(in->fd, in->bytes + in->end, BUFFER_LEN - in->end);
    if (len > 0) {
        in->end += (size_t)len;
        in->read += len;
    } else if (len == 0 || (errno != EINTR && errno != EAGAIN)) {
        in->error = len == 0 ? 0 : errno;
        in->ended = true;
    }
}

enum lines_next lines_next(struct lines *in, int timeout_ms, struct line *line)
{
    while (!take(in, line)) {
        struct pollfd readable = {.fd = in->fd, .events = POLLIN};
        if (in->ended)
            return LINES_END;
        if (poll(&readable, 1, timeout_ms) <= 0)
            return LINES_NONE;
        fill(in);
    }
    return LINES_READY;
}
