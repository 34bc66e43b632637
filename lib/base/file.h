/* Reads small files as a whole. */
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

#endif
