/* The reader's database sessions: a bounded number, each used by one thread at a time. */
#ifndef BERTH_READER_SESSION_POOL_H
#define BERTH_READER_SESSION_POOL_H

#include "db/mysql_session.h"

struct session_pool;

/* Borrows the settings. `count` sessions; they connect when they are first used. */
struct session_pool *session_pool_new(const struct mysql_settings *settings, size_t count);
void session_pool_free(struct session_pool *pool); /* all must have been given back */

/* Takes a session; waits for a free one. With `snapshot` a read-only transaction is begun on it, so
 * that what several statements read belongs together; a single statement is consistent without, and
 * costs a third. A session that the server dropped while it was idle is connected again. On success
 * give it back with session_pool_put. */
enum err session_pool_take(struct session_pool *pool, bool snapshot, struct mysql_session **out,
                           struct failure *f);
/* How many sessions were opened so far. */
int64_t session_pool_connects(const struct session_pool *pool);
/* Ends the transaction, if there is one. */
void session_pool_put(struct session_pool *pool, struct mysql_session *session);

#endif
