/* A fixed number of database sessions, each used by one thread at a time. Any thread may call. */
#ifndef BERTH_READER_SESSION_POOL_H
#define BERTH_READER_SESSION_POOL_H

#include "db/mysql_session.h"

struct session_pool;

/* A pool of `count` sessions, which connect on first use. The server ends a statement after
 * statement_limit_s. Borrows the settings. */
struct session_pool *session_pool_new(const struct mysql_settings *settings, size_t count,
                                      int64_t statement_limit_s);
void session_pool_free(
    struct session_pool *pool); /* all sessions must have been put back; NULL is fine */

/* Takes a session, waiting for a free one. `snapshot` begins a read-only transaction, so that
 * several statements read the same state. A single statement is consistent without it, and costs a
 * third. Reconnects a session that the server dropped while idle. On success the caller gives the
 * session back with session_pool_put. */
enum err session_pool_take(struct session_pool *pool, bool snapshot, struct mysql_session **out,
                           struct failure *f);
/* Connections made so far; and those of them in place of a lost one. */
int64_t session_pool_connects(const struct session_pool *pool);
int64_t session_pool_reconnects(const struct session_pool *pool);
/* The session's last statement took longer than it may. */
bool session_pool_was_too_slow(const struct mysql_session *session);
/* Gives a session back, and ends its snapshot. */
void session_pool_put(struct session_pool *pool, struct mysql_session *session);

/* Runs one statement on a session of the pool, and frees its text, also on failure. The caller frees
 * *rows_out, which is NULL on failure, with mysql_free_result. */
enum err session_pool_query(struct session_pool *pool, const char *what, struct buf *sql,
                            MYSQL_RES **rows_out, struct failure *f);

#endif
