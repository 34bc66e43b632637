#include "lib/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/log.h"
#include "lib/base/mem.h"

#define SECRET_LEN (64 * 1024)

enum err file_read_fd(int fd, char *bytes, size_t size, size_t *len_out, struct failure *f)
{
    size_t len = 0;
    for (;;) {
        char beyond;
        ssize_t got = len < size ? read(fd, bytes + len, size - len) : read(fd, &beyond, 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return failure_set(f, ERR_IO, "%s", strerror(errno));
        if (got > 0 && len == size)
            return failure_set(f, ERR_CONFIG, "longer than %zu bytes", size);
        if (got == 0) {
            *len_out = len;
            return ERR_OK;
        }
        len += (size_t)got;
    }
}

enum err file_read_text(const char *path, size_t size, char **out, struct failure *f)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return failure_set(f, ERR_CONFIG, "%s: %s", path, strerror(errno));
    char *text = xmalloc(size);
    size_t len = 0;
    struct failure inner = {0};
    enum err err = file_read_fd(fd, text, size - 1, &len, &inner);
    close(fd);
    if (err == ERR_OK && memchr(text, '\0', len))
        err = failure_set(&inner, ERR_CONFIG, "not a text file");
    if (err != ERR_OK) {
        free(text);
        return failure_set(f, err, "%s: %s", path, inner.text);
    }
    text[len] = '\0';
    *out = text;
    return ERR_OK;
}

void file_warn_if_open(const char *path)
{
    struct stat st;
    struct log_quoted quoted;
    if (stat(path, &st) != 0 || !S_ISREG(st.st_mode) || !(st.st_mode & (S_IROTH | S_IWOTH)))
        return;
    log_warn("every account of this machine may read or change a secret", "file=%s mode=%04o",
             log_quote(&quoted, path), (unsigned)st.st_mode & 07777u);
}

enum err file_read_secret(const char *path, char **out, struct failure *f)
{
    char *text;
    enum err err = file_read_text(path, SECRET_LEN, &text, f);
    if (err != ERR_OK)
        return err;
    size_t len = strlen(text);
    if (len > 0 && text[len - 1] == '\n')
        text[--len] = '\0';
    if (len > 0 && text[len - 1] == '\r')
        text[--len] = '\0';
    if (len == 0) {
        free(text);
        return failure_set(f, ERR_CONFIG, "%s: the file is empty", path);
    }
    file_warn_if_open(path);
    *out = text;
    return ERR_OK;
}
