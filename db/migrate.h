/* The database's schema: numbered SQL files that are built into the program, each run once. */
#ifndef BERTH_DB_MIGRATE_H
#define BERTH_DB_MIGRATE_H

#include <stddef.h>

#include "db/mysql_session.h"
#include "lib/base/err.h"

/* One file of db/migrations/; version 1, 2, 3 … without a gap. */
struct migration {
    int version;
    const char *name; /* "0001_initial.sql" */
    const unsigned char *sql;
    size_t sql_len;
};
/* By version; generated from the folder by db/build.mk. */
extern const struct migration migrations[];
extern const size_t migration_count;

/* Checks that the database is at exactly this program's version. ERR_DB_SCHEMA, with what to do
 * about it: it was never migrated, or in part, or by a newer program, or from another file. Not to
 * be called in a transaction; leaves none open. */
enum err migrate_check(struct mysql_session *session, struct failure *f);

/* Called before a migration runs. */
typedef void migrate_progress_fn(void *arg, const struct migration *migration);
/* Brings the database to this program's version: runs each file once, in order. Only one process
 * migrates at a time (GET_LOCK); ERR_DB_LOCK_TIMEOUT: another one has been at it for 30 s. Continues
 * an interrupted run at the statement where it stopped. ERR_DB_SCHEMA, nothing changed: the database
 * is newer, or an applied file was altered. `list` may have any length (tests); progress may be
 * NULL. */
enum err migrate_run(struct mysql_session *session, const struct migration *list, size_t count,
                     migrate_progress_fn *progress, void *arg, struct failure *f);

/* Finds the next statement of an SQL text from *at on, without its semicolon and without comments
 * before it; false: none is left. A semicolon at the end of a line ends a statement, so a statement
 * of a migration must not have one there. */
bool migrate_next_statement(const char *sql, size_t len, size_t *at, const char **statement,
                            size_t *statement_len);

#endif
