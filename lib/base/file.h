/* Reads small files as a whole, those with secrets among them. */
#ifndef BERTH_LIB_BASE_FILE_H
#define BERTH_LIB_BASE_FILE_H

#include <stddef.h>

#include "lib/base/err.h"

/* Reads to the end of an open file, at most `size` bytes. ERR_IO, or ERR_CONFIG when there is more;
 * the failure's text does not name the file. */
enum err file_read_fd(int fd, char *bytes, size_t size, size_t *len_out, struct failure *f);
/* Reads a text file of less than `size` bytes and without NULs; terminates it. Gives *out.
 * ERR_CONFIG or ERR_IO, with the path. */
enum err file_read_text(const char *path, size_t size, char **out, struct failure *f);
/* Logs a warning if accounts other than the file's owner and group may read or change it. */
void file_warn_if_open(const char *path);
/* Reads a password or another secret, without a newline at its end, and warns as file_warn_if_open
 * does. Gives *out. ERR_CONFIG or ERR_IO, with the path; ERR_CONFIG also when the file is empty. */
enum err file_read_secret(const char *path, char **out, struct failure *f);

#endif
