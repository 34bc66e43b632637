#include "db/migrate.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/token/jws.h"

/* A row of schema_version. */
struct applied {
    int version;
    char name[128];
    uint8_t sha256[32];
    int64_t statements_done;
    bool complete;
};
struct applied_list {
    struct applied *rows; /* by version */
    size_t count;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static size_t line_end(const char *sql, size_t len, size_t at)
{
    const char *end = memchr(sql + at, '\n', len - at);
    return end ? (size_t)(end - sql) : len;
}

static bool starts_comment(const char *sql, size_t len, size_t at)
{
    return len - at >= 2 && sql[at] == '-' && sql[at + 1] == '-';
}

/* Skips blanks, and lines that hold only a comment. */
static size_t skip_blank(const char *sql, size_t len, size_t at)
{
    for (;;) {
        while (at < len && is_blank(sql[at]))
            at++;
        if (!starts_comment(sql, len, at))
            return at;
        at = line_end(sql, len, at);
    }
}

bool migrate_next_statement(const char *sql, size_t len, size_t *at, const char **statement,
                            size_t *statement_len)
{
    size_t start = skip_blank(sql, len, *at);
    if (start >= len)
        return false;
    size_t line = start;
    for (;;) {
        size_t end = line_end(sql, len, line);
        size_t last = end;
        while (last > line && is_blank(sql[last - 1]))
            last--;
        size_t first = line;
        while (first < last && is_blank(sql[first]))
            first++;
        bool ends = last > line && sql[last - 1] == ';' && !starts_comment(sql, len, first);
        if (ends || end == len) {
            *statement = sql + start;
            *statement_len = (ends ? last - 1 : last) - start;
            *at = end;
            return true;
        }
        line = end + 1;
    }
}

static void applied_fini(struct applied_list *list)
{
    free(list->rows);
    *list = (struct applied_list){0};
}

static enum err read_applied(struct mysql_session *session, struct applied_list *out,
                             struct failure *f)
{
    MYSQL_RES *res = NULL;
    enum err err = mysql_session_read(
        session, "read schema_version",
        "SELECT version, name, sha256, statements_done, applied_at_ms IS NOT NULL "
        "FROM schema_version ORDER BY version",
        &res, f);
    if (err != ERR_OK)
        return err;
    out->rows = xcalloc((size_t)mysql_num_rows(res), sizeof(*out->rows));
    out->count = 0;
    MYSQL_ROW row;
    while ((row = mysql_fetch_row(res))) {
        struct applied *to = &out->rows[out->count++];
        to->version = (int)field_int(row[0]);
        snprintf(to->name, sizeof(to->name), "%s", row[1]);
        if (mysql_fetch_lengths(res)[2] == sizeof(to->sha256))
            memcpy(to->sha256, row[2], sizeof(to->sha256));
        to->statements_done = field_int(row[3]);
        to->complete = field_int(row[4]) != 0;
    }
    mysql_free_result(res);
    return ERR_OK;
}

static const struct applied *find_applied(const struct applied_list *list, int version)
{
    for (size_t i = 0; i < list->count; i++) {
        if (list->rows[i].version == version)
            return &list->rows[i];
    }
    return NULL;
}

static bool same_file(const struct applied *row, const struct migration *migration)
{
    uint8_t digest[32];
    sha256(migration->sql, migration->sql_len, digest);
    return memcmp(row->sha256, digest, sizeof(digest)) == 0;
}

/* Refuses what no migration can mend: a newer database, an altered file. */
static enum err refuse_foreign(const struct applied_list *applied, const struct migration *list,
                               size_t count, struct failure *f)
{
    for (size_t i = 0; i < applied->count; i++) {
        const struct applied *row = &applied->rows[i];
        if (row->version < 1 || (size_t)row->version > count) {
            return failure_set(f, ERR_DB_SCHEMA,
                               "the database has schema version %d (%s), this program knows only "
                               "%zu: use a newer release of Berth",
                               row->version, row->name, count);
        }
        const struct migration *migration = &list[row->version - 1];
        assert(migration->version == row->version);
        if (!same_file(row, migration)) {
            return failure_set(f, ERR_DB_SCHEMA,
                               "the database was migrated with another %s than this program's: "
                               "use the release that made it, or a newer one",
                               row->name);
        }
    }
    return ERR_OK;
}

enum err migrate_check(struct mysql_session *session, struct failure *f)
{
    struct applied_list applied = {0};
    enum err err = read_applied(session, &applied, f);
    mysql_session_rollback(session);
    if (err == ERR_DB_SCHEMA) {
        return failure_set(f, err,
                           "the database has no tables of Berth: run `berth-admin init --farm "
                           "NAME` first");
    }
    if (err != ERR_OK)
        return err;
    err = refuse_foreign(&applied, migrations, migration_count, f);
    for (size_t i = 0; err == ERR_OK && i < migration_count; i++) {
        const struct applied *row = find_applied(&applied, migrations[i].version);
        if (!row || !row->complete) {
            err = failure_set(f, ERR_DB_SCHEMA, "the database lacks %s: run `berth-admin migrate`",
                              migrations[i].name);
        }
    }
    applied_fini(&applied);
    return err;
}

static enum err note_start(struct mysql_session *session, const struct migration *migration,
                           struct failure *f)
{
    uint8_t digest[32];
    sha256(migration->sql, migration->sql_len, digest);
    struct buf sql = {0};
    buf_puts(&sql, "INSERT INTO schema_version (version, name, sha256, statements_done) VALUES (");
    sql_int(&sql, migration->version);
    buf_puts(&sql, ", ");
    sql_text(&sql, migration->name);
    buf_puts(&sql, ", ");
    sql_bytes(&sql, digest, sizeof(digest));
    buf_puts(&sql, ", 0)");
    enum err err = mysql_session_exec(session, "note the migration", sql.data, sql.len, f);
    buf_fini(&sql);
    return err != ERR_OK ? err : mysql_session_commit(session, f);
}

/* Errors that show that a statement has been run already. */
static bool says_done_already(unsigned number)
{
    switch (number) {
    case 1050: /* table exists */
    case 1051: /* dropped table is not there */
    case 1060: /* column exists */
    case 1061: /* key exists */
    case 1091: /* dropped column or key is not there */
    case 1826: /* foreign key exists */
    case 3822: /* CHECK exists */
    case 3821: /* dropped CHECK is not there */
        return true;
    default:
        return false;
    }
}

/* Runs the file's statements after the first `done`. A data definition commits implicitly, so a
 * crash can leave one statement that was run and not counted: the first statement of a run that
 * continues an interrupted one may find its work done. */
static enum err run_statements(struct mysql_session *session, const struct migration *migration,
                               int64_t done, bool continued, struct failure *f)
{
    const char *sql = (const char *)migration->sql;
    const char *statement = NULL;
    size_t statement_len = 0, at = 0;
    for (int64_t number = 1;
         migrate_next_statement(sql, migration->sql_len, &at, &statement, &statement_len);
         number++) {
        if (number <= done)
            continue;
        enum err err = mysql_session_exec(session, "run", statement, statement_len, f);
        bool may_be_done = continued && number == done + 1;
        if (err != ERR_OK && !(may_be_done && says_done_already(mysql_session_error(session)))) {
            return failure_wrap(f, "migrate to version %d: %s, statement %" PRId64,
                                migration->version, migration->name, number);
        }
        err = mysql_session_execf(session, f, "note the statement",
                                  "UPDATE schema_version SET statements_done = %" PRId64
                                  " WHERE version = %d",
                                  number, migration->version);
        if (err == ERR_OK)
            err = mysql_session_commit(session, f);
        if (err != ERR_OK)
            return err;
    }
    enum err err = mysql_session_execf(session, f, "note the migration",
                                       "UPDATE schema_version SET applied_at_ms = %" PRId64
                                       " WHERE version = %d",
                                       clock_wall_ms(), migration->version);
    return err != ERR_OK ? err : mysql_session_commit(session, f);
}

static enum err migrate_locked(struct mysql_session *session, const struct migration *list,
                               size_t count, migrate_progress_fn *progress, void *arg,
                               struct failure *f)
{
    struct applied_list applied = {0};
    enum err err = mysql_session_execf(
        session, f, "create schema_version",
        "CREATE TABLE IF NOT EXISTS schema_version (version INT NOT NULL PRIMARY KEY, "
        "name VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL, "
        "sha256 BINARY(32) NOT NULL, statements_done INT NOT NULL, applied_at_ms BIGINT NULL) "
        "ENGINE = InnoDB ROW_FORMAT = DYNAMIC");
    if (err == ERR_OK)
        err = read_applied(session, &applied, f);
    if (err == ERR_OK)
        err = refuse_foreign(&applied, list, count, f);
    for (size_t i = 0; err == ERR_OK && i < count; i++) {
        const struct applied *row = find_applied(&applied, list[i].version);
        if (row && row->complete)
            continue;
        if (progress)
            progress(arg, &list[i]);
        if (!row)
            err = note_start(session, &list[i], f);
        if (err == ERR_OK)
            err = run_statements(session, &list[i], row ? row->statements_done : 0, row != NULL, f);
    }
    applied_fini(&applied);
    return err;
}

/* All databases of a server share lock names, so the name contains the database's. */
#define LOCK_NAME   "CONCAT('berth.migrate.', LEFT(SHA1(DATABASE()), 16))"
#define LOCK_WAIT_S "2" /* for one try; all tries take half a minute */

static enum err lock(struct mysql_session *session, struct failure *f)
{
    enum { TRIES = 15 };
    for (int i = 0; i < TRIES; i++) {
        MYSQL_RES *res = NULL;
        enum err err = mysql_session_read(
            session, "lock migrations", "SELECT GET_LOCK(" LOCK_NAME ", " LOCK_WAIT_S ")", &res, f);
        if (err != ERR_OK)
            return err;
        MYSQL_ROW row = mysql_fetch_row(res);
        bool locked = row && field_int(row[0]) == 1;
        mysql_free_result(res);
        if (locked)
            return ERR_OK;
    }
    return failure_set(f, ERR_DB_LOCK_TIMEOUT,
                       "another berth-admin is migrating this database: wait for it");
}

enum err migrate_run(struct mysql_session *session, const struct migration *list, size_t count,
                     migrate_progress_fn *progress, void *arg, struct failure *f)
{
    for (size_t i = 0; i < count; i++)
        assert(list[i].version == (int)i + 1);
    /* The literals in the files are text; the session's usual character set is binary. */
    enum err err = mysql_session_execf(session, f, "set the character set", "SET NAMES utf8mb4");
    if (err == ERR_OK)
        err = lock(session, f);
    if (err != ERR_OK)
        return err;
    err = migrate_locked(session, list, count, progress, arg, f);
    if (err != ERR_OK)
        mysql_session_rollback(session);
    /* Errors of both do not matter: a session that is lost has lost its lock, too. */
    MYSQL_RES *res = NULL;
    if (!mysql_session_read(session, "unlock", "SELECT RELEASE_LOCK(" LOCK_NAME ")", &res, NULL))
        mysql_free_result(res);
    (void)mysql_session_execf(session, NULL, "set the character set", "SET NAMES binary");
    return err;
}
