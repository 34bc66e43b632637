/* What became of the lines of an input, kept in a file, so that an interrupted `berth submit` can be
 * repeated without sending anything twice.
 *
 * The file holds JSON lines: one that identifies the run, then one for each outcome, the last one of
 * a line counting. A line that names no request id has the id RUN-LINE, which a repetition gives it
 * again. So a process that is killed loses nothing: what has no outcome in the file is sent again
 * under the id that it had, and the farm decides an id once. The output of `berth submit -o json` is
 * such a file too, but without ids for the lines that have no outcome. */
#ifndef BERTH_CLI_JOURNAL_H
#define BERTH_CLI_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"

/* What the requests of a run have in common; all borrowed. */
struct journal_run {
    const char *farm, *client;
};

/* The length of a request id with its NUL. */
#define JOURNAL_ID_LEN 65

struct journal;

/* A line of the input. */
#define JOURNAL_DIGEST_LEN 17 /* 16 hex digits and a NUL */
struct journal_line {
    uint64_t number;
    char digest[JOURNAL_DIGEST_LEN];
};
struct journal_line journal_line(uint64_t number, const char *text, size_t len);

/* Reads the file. Unless read_only, makes it if it is missing, and writes down the run.
 * Gives *out, to be closed with journal_close. ERR_USAGE: the file is of something else, of another
 * farm or client, or another process uses it; ERR_IO. */
enum err journal_open(const char *path, const struct journal_run *run, bool read_only,
                      struct journal **out, struct failure *f);
/* NULL is allowed. */
void journal_close(struct journal *j);

/* Whether the file says that the line is decided; *accepted says how. ERR_USAGE: the file's outcome
 * is of another line with this number. */
enum err journal_find(const struct journal *j, const struct journal_line *line, bool *decided,
                      bool *accepted, struct failure *f);
/* The id under which the line was sent, or is to be sent unless it names one itself. Returns id. */
const char *journal_id(const struct journal *j, uint64_t number, char id[JOURNAL_ID_LEN]);
/* Whether lines of the earlier run may have been sent under ids that the file does not hold. */
bool journal_is_output(const struct journal *j);

/* Adds an outcome; request_id may be NULL. Written by journal_flush. */
void journal_add(struct journal *j, const struct journal_line *line, const char *outcome,
                 const char *request_id);
/* ERR_IO. */
enum err journal_flush(struct journal *j, struct failure *f);

#endif
