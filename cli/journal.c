#include "cli/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "lib/base/mem.h"
#include "lib/codec/member.h"
#include "lib/token/jws.h"
#include <berth.h>

/* An input has fewer lines. */
#define LINE_MAX_NUMBER (1 << 28)

/* The last outcome of a line. */
struct entry {
    bool decided, accepted;
    char id[JOURNAL_ID_LEN];         /* "": not known */
    char digest[JOURNAL_DIGEST_LEN]; /* of the line; "": not known */
};

struct journal {
    char *path;
    FILE *file; /* NULL: read only, and missing */
    bool is_output;
    char run[BERTH_UUID_LEN]; /* "": not known yet */
    struct entry **entries;   /* by number; NULL: no outcome */
    size_t entry_count;
};

struct journal_line journal_line(uint64_t number, const char *text, size_t len)
{
    struct journal_line line = {.number = number};
    uint8_t hash[32];
    sha256(text, len, hash);
    for (size_t i = 0; i < (JOURNAL_DIGEST_LEN - 1) / 2; i++)
        snprintf(line.digest + 2 * i, 3, "%02x", hash[i]);
    return line;
}

static enum err no_outcome(const struct journal *j, uint64_t row, struct failure *f)
{
    return failure_set(f, ERR_USAGE,
                       "line %" PRIu64 " of %s is no outcome: expected a file that --resume made, "
                       "or what `berth submit -o json` printed",
                       row, j->path);
}

/* The line that identifies the run. */
static enum err take_run(struct journal *j, const struct journal_run *run, const json_t *row,
                         struct failure *f)
{
    const char *farm = member_shown(row, "farm"), *client = member_shown(row, "client");
    if (strcmp(farm, run->farm) != 0 || strcmp(client, run->client) != 0) {
        return failure_set(f, ERR_USAGE, "%s is of client %.64s at farm %.64s, not %s at %s",
                           j->path, client, farm, run->client, run->farm);
    }
    if (!j->run[0])
        snprintf(j->run, sizeof(j->run), "%s", member_shown(row, "run"));
    return ERR_OK;
}

/* The line's entry; NULL: it has none. */
static const struct entry *find(const struct journal *j, uint64_t number)
{
    return number < j->entry_count ? j->entries[number] : NULL;
}

/* The same, made if there is none. */
static struct entry *place_of(struct journal *j, size_t number)
{
    size_t count = j->entry_count;
    if (number >= count) {
        j->entry_count = number + number / 2 + 1;
        j->entries = xrealloc(j->entries, j->entry_count * sizeof(struct entry *));
        memset(j->entries + count, 0, (j->entry_count - count) * sizeof(struct entry *));
    }
    if (!j->entries[number])
        j->entries[number] = xcalloc(1, sizeof(struct entry));
    return j->entries[number];
}

static bool take_outcome(struct journal *j, const json_t *row)
{
    const char *outcome = member_text(row, "outcome");
    const char *id = member_or(row, "request.id", member_shown(row, "event.data.request.id"));
    json_int_t number = member_number(row, "line");
    if (!outcome || number < 1 || number > LINE_MAX_NUMBER)
        return false;
    struct entry *entry = place_of(j, (size_t)number);
    entry->accepted = strcmp(outcome, "accepted") == 0;
    entry->decided = entry->accepted || strcmp(outcome, "rejected") == 0;
    snprintf(entry->id, sizeof(entry->id), "%s", id);
    snprintf(entry->digest, sizeof(entry->digest), "%s", member_shown(row, "digest"));
    return true;
}

/* Reads all rows. A last row that was cut off when its writer ended is removed. */
static enum err read_rows(struct journal *j, const struct journal_run *run, bool read_only,
                          struct failure *f)
{
    char *text = NULL;
    size_t size = 0;
    ssize_t len;
    off_t good = 0;
    enum err err = ERR_OK;
    for (uint64_t number = 1; err == ERR_OK && (len = getline(&text, &size, j->file)) > 0;
         number++) {
        json_t *row = text[len - 1] == '\n' ? json_loadb(text, (size_t)len, 0, NULL) : NULL;
        if (text[len - 1] != '\n')
            break;
        good += len;
        if (member_text(row, "run")) {
            err = take_run(j, run, row, f);
        } else if (!take_outcome(j, row)) {
            err = no_outcome(j, number, f);
        }
        json_decref(row);
    }
    free(text);
    if (err == ERR_OK && ferror(j->file))
        err = failure_set(f, ERR_IO, "cannot read %s: %s", j->path, strerror(errno));
    if (err == ERR_OK && !read_only && ftruncate(fileno(j->file), good) != 0)
        err = failure_set(f, ERR_IO, "cannot write %s: %s", j->path, strerror(errno));
    return err;
}

/* Makes the file's name durable, too. */
static bool sync_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash ? xstrndup(path, (size_t)(slash - path) + 1) : xstrdup(".");
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    free(folder);
    return ok;
}

/* The run must be on disk before anything is sent: the ids come from it. */
static enum err write_run(struct journal *j, const struct journal_run *run, struct failure *f)
{
    json_t *row = json_pack("{s:s, s:s, s:s}", "run", j->run, "farm", run->farm, "client",
                            run->client);
    char *text = json_dumps(row, JSON_COMPACT);
    json_decref(row);
    bool ok = fseeko(j->file, 0, SEEK_END) == 0 && fprintf(j->file, "%s\n", text) > 0 &&
              fflush(j->file) == 0 && fsync(fileno(j->file)) == 0 && sync_folder(j->path);
    free(text);
    return ok ? ERR_OK : failure_set(f, ERR_IO, "cannot write %s: %s", j->path, strerror(errno));
}

/* Standard output must not be the file, since both would be written to it. */
static enum err check_file(const struct journal *j, struct failure *f)
{
    struct stat own, output;
    int fd = fileno(j->file);
    if (fstat(fd, &own) != 0 || !S_ISREG(own.st_mode))
        return failure_set(f, ERR_USAGE, "--resume %s: not a regular file", j->path);
    if (fstat(STDOUT_FILENO, &output) == 0 && output.st_dev == own.st_dev &&
        output.st_ino == own.st_ino) {
        return failure_set(f, ERR_USAGE,
                           "--resume %s: outcomes are added to this file without being told; send "
                           "standard output somewhere else",
                           j->path);
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        return failure_set(f, ERR_USAGE, "%s is in use by another process", j->path);
    return ERR_OK;
}

static enum err open_file(struct journal *j, bool read_only, struct failure *f)
{
    int flags = read_only ? O_RDONLY : O_RDWR | O_CREAT | O_APPEND;
    int fd = open(j->path, flags | O_CLOEXEC, 0600);
    j->file = fd < 0 ? NULL : fdopen(fd, read_only ? "r" : "a+");
    if (j->file)
        return check_file(j, f);
    if (read_only && errno == ENOENT)
        return ERR_OK;
    return failure_set(f, ERR_USAGE, "cannot open %s: %s", j->path, strerror(errno));
}

enum err journal_open(const char *path, const struct journal_run *run, bool read_only,
                      struct journal **out, struct failure *f)
{
    struct journal *j = xcalloc(1, sizeof(*j));
    j->path = xstrdup(path);
    enum err err = open_file(j, read_only, f);
    if (err == ERR_OK && j->file)
        err = read_rows(j, run, read_only, f);
    if (err == ERR_OK && !j->run[0]) {
        j->is_output = j->entry_count > 0;
        berth_uuid7(j->run);
        if (!read_only)
            err = write_run(j, run, f);
    }
    if (err != ERR_OK) {
        journal_close(j);
        return err;
    }
    *out = j;
    return ERR_OK;
}

void journal_close(struct journal *j)
{
    if (!j)
        return;
    if (j->file)
        fclose(j->file);
    for (size_t i = 0; i < j->entry_count; i++)
        free(j->entries[i]);
    free(j->entries);
    free(j->path);
    free(j);
}

enum err journal_find(const struct journal *j, const struct journal_line *line, bool *decided,
                      bool *accepted, struct failure *f)
{
    const struct entry *entry = find(j, line->number);
    *decided = entry && entry->decided;
    *accepted = entry && entry->accepted;
    if (!entry || !entry->digest[0] || strcmp(line->digest, entry->digest) == 0)
        return ERR_OK;
    return failure_set(f, ERR_USAGE,
                       "line %" PRIu64 " is not the one whose outcome is in %s: resume with the "
                       "unchanged input, or give a new input a new file",
                       line->number, j->path);
}

const char *journal_id(const struct journal *j, uint64_t number, char id[JOURNAL_ID_LEN])
{
    const struct entry *entry = find(j, number);
    if (entry && entry->id[0]) {
        snprintf(id, JOURNAL_ID_LEN, "%s", entry->id);
    } else {
        snprintf(id, JOURNAL_ID_LEN, "%s-%" PRIu64, j->run, number);
    }
    return id;
}

bool journal_is_output(const struct journal *j)
{
    return j->is_output;
}

void journal_add(struct journal *j, const struct journal_line *line, const char *outcome,
                 const char *request_id)
{
    fprintf(j->file, "{\"line\":%" PRIu64 ",\"outcome\":\"%s\",\"digest\":\"%s\"", line->number,
            outcome, line->digest);
    if (request_id)
        fprintf(j->file, ",\"request\":{\"id\":\"%s\"}", request_id);
    fputs("}\n", j->file);
}

enum err journal_flush(struct journal *j, struct failure *f)
{
    bool written = !j->file || (fflush(j->file) == 0 && !ferror(j->file));
    if (written)
        return ERR_OK;
    return failure_set(f, ERR_IO, "cannot write %s: %s", j->path, strerror(errno));
}
