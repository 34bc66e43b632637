#include "reader/session_pool.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/mem.h"
#include "lib/metrics/metrics.h"

struct pooled {
    struct mysql_session *session;
    int64_t used_ms; /* monotonic: when it was last put back */
    bool connected;  /* it was connected at least once */
    bool snapshot;   /* a transaction is open on it */
    bool failed;     /* its last statement failed: the session may be dead */
};

struct session_pool {
    pthread_mutex_t mutex;
    pthread_cond_t given_back;
    struct pooled *all;
    struct pooled **idle;
    size_t idle_count, count;
    int64_t ping_after_ms, statement_limit_s;
    metric_value connects, reconnects;
};

struct session_pool *session_pool_new(const struct mysql_settings *settings, size_t count,
                                      int64_t statement_limit_s)
{
    struct session_pool *pool = xcalloc(1, sizeof(*pool));
    assert(count > 0);
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->given_back, NULL);
    pool->all = xcalloc(count, sizeof(*pool->all));
    pool->idle = xcalloc(count, sizeof(*pool->idle));
    pool->count = count;
    pool->statement_limit_s = statement_limit_s;
    /* The server drops sessions that were idle for idle_timeout_s: ping well before. */
    pool->ping_after_ms = (int64_t)settings->idle_timeout_s * 1000 / 2;
    for (; pool->idle_count < count; pool->idle_count++) {
        pool->all[pool->idle_count].session = mysql_session_new(settings);
        pool->idle[pool->idle_count] = &pool->all[pool->idle_count];
    }
    return pool;
}

void session_pool_free(struct session_pool *pool)
{
    if (!pool)
        return;
    assert(pool->idle_count == pool->count);
    for (size_t i = 0; i < pool->count; i++)
        mysql_session_free(pool->all[i].session);
    pthread_cond_destroy(&pool->given_back);
    pthread_mutex_destroy(&pool->mutex);
    free(pool->all);
    free(pool->idle);
    free(pool);
}

static struct pooled *take_idle(struct session_pool *pool)
{
    pthread_mutex_lock(&pool->mutex);
    while (pool->idle_count == 0)
        pthread_cond_wait(&pool->given_back, &pool->mutex);
    struct pooled *pooled = pool->idle[--pool->idle_count];
    pthread_mutex_unlock(&pool->mutex);
    return pooled;
}

static void put_idle(struct session_pool *pool, struct pooled *pooled)
{
    pooled->used_ms = clock_mono_ms();
    pthread_mutex_lock(&pool->mutex);
    assert(pool->idle_count < pool->count);
    pool->idle[pool->idle_count++] = pooled;
    pthread_cond_signal(&pool->given_back);
    pthread_mutex_unlock(&pool->mutex);
}

/* The servers have different names and units for it, and neither knows the other's. */
static enum err limit_statements(struct session_pool *pool, struct mysql_session *session,
                                 struct failure *f)
{
    bool mariadb = strstr(mysql_session_version(session), "MariaDB");
    return mysql_session_execf(session, f, "limit statements", "SET SESSION %s = %" PRId64,
                               mariadb ? "max_statement_time" : "max_execution_time",
                               pool->statement_limit_s * (mariadb ? 1 : 1000));
}

bool session_pool_was_too_slow(const struct mysql_session *session)
{
    unsigned number = mysql_session_error(session);
    return number == 1969 || number == 3024; /* MariaDB's, MySQL's */
}

static enum err connect_session(struct session_pool *pool, struct pooled *pooled, struct failure *f)
{
    enum err err = mysql_session_connect(pooled->session, f);
    if (err == ERR_OK)
        err = limit_statements(pool, pooled->session, f);
    if (err != ERR_OK)
        return err;
    metric_add(&pool->connects, 1);
    metric_add(&pool->reconnects, pooled->connected);
    pooled->connected = true;
    return ERR_OK;
}

/* Connects the session, unless it was used so recently that it must still be connected. */
static enum err make_ready(struct session_pool *pool, struct pooled *pooled, struct failure *f)
{
    enum err err = ERR_DB_CONNECTION;
    if (mysql_session_id(pooled->session) != 0) {
        err = !pooled->failed && clock_mono_ms() - pooled->used_ms < pool->ping_after_ms
                  ? ERR_OK
                  : mysql_session_ping(pooled->session, f);
    }
    return err_is_connection(err) ? connect_session(pool, pooled, f) : err;
}

enum err session_pool_take(struct session_pool *pool, bool snapshot, struct mysql_session **out,
                           struct failure *f)
{
    struct pooled *pooled = take_idle(pool);
    enum err err = make_ready(pool, pooled, f);
    if (err == ERR_OK && snapshot) {
        err = mysql_session_snapshot(pooled->session, f);
        if (err_is_connection(err)) {
            err = connect_session(pool, pooled, f);
            if (err == ERR_OK)
                err = mysql_session_snapshot(pooled->session, f);
        }
    }
    if (err != ERR_OK) {
        put_idle(pool, pooled);
        return err;
    }
    pooled->snapshot = snapshot;
    *out = pooled->session;
    return ERR_OK;
}

int64_t session_pool_connects(const struct session_pool *pool)
{
    return metric_get(&pool->connects);
}

int64_t session_pool_reconnects(const struct session_pool *pool)
{
    return metric_get(&pool->reconnects);
}

void session_pool_put(struct session_pool *pool, struct mysql_session *session)
{
    struct pooled *pooled = pool->all;
    while (pooled->session != session)
        pooled++;
    pooled->failed = mysql_session_error(session) != 0;
    if (pooled->snapshot)
        mysql_session_rollback(session); /* nothing was written */
    pooled->snapshot = false;
    put_idle(pool, pooled);
}

enum err session_pool_query(struct session_pool *pool, const char *what, struct buf *sql,
                            MYSQL_RES **rows_out, struct failure *f)
{
    struct mysql_session *db;
    *rows_out = NULL;
    enum err err = session_pool_take(pool, false, &db, f);
    if (err == ERR_OK) {
        err = mysql_session_query(db, what, sql->data, sql->len, rows_out, f);
        session_pool_put(pool, db);
    }
    buf_fini(sql);
    return err;
}
