#include "reader/session_pool.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "lib/mem.h"

struct session_pool {
    pthread_mutex_t mutex;
    pthread_cond_t given_back;
    struct mysql_session **idle;
    size_t idle_count, count;
};

struct session_pool *session_pool_new(const struct mysql_settings *settings, size_t count)
{
    struct session_pool *pool = xcalloc(1, sizeof(*pool));
    assert(count > 0);
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->given_back, NULL);
    pool->idle = xcalloc(count, sizeof(*pool->idle));
    pool->count = count;
    while (pool->idle_count < count)
        pool->idle[pool->idle_count++] = mysql_session_new(settings);
    return pool;
}

void session_pool_free(struct session_pool *pool)
{
    if (!pool)
        return;
    assert(pool->idle_count == pool->count);
    for (size_t i = 0; i < pool->count; i++)
        mysql_session_free(pool->idle[i]);
    pthread_cond_destroy(&pool->given_back);
    pthread_mutex_destroy(&pool->mutex);
    free(pool->idle);
    free(pool);
}

static struct mysql_session *take_idle(struct session_pool *pool)
{
    pthread_mutex_lock(&pool->mutex);
    while (pool->idle_count == 0)
        pthread_cond_wait(&pool->given_back, &pool->mutex);
    struct mysql_session *session = pool->idle[--pool->idle_count];
    pthread_mutex_unlock(&pool->mutex);
    return session;
}

static void put_idle(struct session_pool *pool, struct mysql_session *session)
{
    pthread_mutex_lock(&pool->mutex);
    assert(pool->idle_count < pool->count);
    pool->idle[pool->idle_count++] = session;
    pthread_cond_signal(&pool->given_back);
    pthread_mutex_unlock(&pool->mutex);
}

/* The session's isolation is READ COMMITTED, at which a snapshot lasts one statement only. */
static enum err begin_snapshot(struct mysql_session *session, struct failure *f)
{
    enum err err = mysql_session_execf(session, f, "choose isolation",
                                       "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ");
    if (err == ERR_OK)
        err = mysql_session_execf(session, f, "begin to read",
                                  "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY");
    return err;
}

enum err session_pool_take(struct session_pool *pool, struct mysql_session **out, struct failure *f)
{
    struct mysql_session *session = take_idle(pool);
    enum err err = ERR_DB_CONNECTION;
    if (mysql_session_id(session) != 0)
        err = begin_snapshot(session, f);
    if (err_is_connection(err)) {
        err = mysql_session_connect(session, f);
        if (err == ERR_OK)
            err = begin_snapshot(session, f);
    }
    if (err != ERR_OK) {
        put_idle(pool, session);
        return err;
    }
    *out = session;
    return ERR_OK;
}

void session_pool_put(struct session_pool *pool, struct mysql_session *session)
{
    mysql_session_rollback(session); /* nothing was written */
    put_idle(pool, session);
}
