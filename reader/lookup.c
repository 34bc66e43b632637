#include "reader/lookup.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "db/mysql_rows.h"
#include "lib/base/mem.h"

/* Bounds a statement; more wait for the one after it. */
#define MOST_AT_ONCE 64

struct lookup {
    struct session_pool *pool;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t came; /* a question, or the end */
    bool stopping;
    struct lookup_query *first, **last;
};

/* --- rows ------------------------------------------------------------------------------------ */

/* Behind the booking's columns: the share's, NULL if it holds none. */
enum { MACHINE = BOOKING_COLUMN_COUNT, GPUS, MEMORY_GIB, MACHINE_ID, SHARE_START };

/* A row, and where it stands: a booking's shares are ordered by machine id, then start. They are
 * sorted here: the server would make a temporary table for it. */
struct placed {
    int64_t booking, machine_id, start_ms;
    MYSQL_ROW row;
};

static int compare_placed(const void *a, const void *b)
{
    const struct placed *left = a, *right = b;
    if (left->booking != right->booking)
        return left->booking < right->booking ? -1 : 1;
    if (left->machine_id != right->machine_id)
        return left->machine_id < right->machine_id ? -1 : 1;
    return left->start_ms < right->start_ms ? -1 : left->start_ms > right->start_ms;
}

/* Heap. */
static struct placed *sort_rows(MYSQL_RES *rows, size_t count)
{
    struct placed *placed = xcalloc(count + 1, sizeof(*placed));
    for (size_t i = 0; i < count; i++) {
        MYSQL_ROW row = mysql_fetch_row(rows);
        placed[i] = (struct placed){.booking = field_int(row[0]),
                                    .machine_id = field_int(row[MACHINE_ID]),
                                    .start_ms = field_int(row[SHARE_START]),
                                    .row = row};
    }
    qsort(placed, count, sizeof(*placed), compare_placed);
    return placed;
}

/* A booking's rows, `count` of them: one for each share, or one without. */
static void take_rows(struct lookup_query *query, const struct placed *placed, size_t count)
{
    struct booking booking;
    struct booking_view *view = &query->view;
    struct share *shares = arena_alloc(query->arena, count * sizeof(*shares));
    query->err = booking_row_read(placed[0].row, &booking, &query->f);
    query->found = query->err == ERR_OK;
    *view = booking_view_of(&booking);
    view->client = arena_strdup(query->arena, booking.client);
    view->user = arena_strdup(query->arena, booking.user);
    view->shares = shares;
    for (size_t i = 0; i < count && placed[i].row[MACHINE]; i++) {
        shares[view->share_count++] = (struct share){
            .machine = arena_strdup(query->arena, placed[i].row[MACHINE]),
            .amount = {.gpus = field_int(placed[i].row[GPUS]),
                       .memory_gib = field_int(placed[i].row[MEMORY_GIB])}};
    }
}

static void hand_out(struct lookup_query *all, MYSQL_RES *rows)
{
    size_t count = (size_t)mysql_num_rows(rows);
    struct placed *placed = sort_rows(rows, count);
    for (size_t first = 0, end; first < count; first = end) {
        end = first + 1;
        while (end < count && placed[end].booking == placed[first].booking)
            end++;
        for (struct lookup_query *query = all; query; query = query->next) {
            if (query->id == placed[first].booking)
                take_rows(query, &placed[first], end - first);
        }
    }
    free(placed);
}

/* --- asking ---------------------------------------------------------------------------------- */

static void build(const struct lookup_query *all, struct buf *sql)
{
    int64_t ids[MOST_AT_ONCE];
    size_t count = 0;
    for (const struct lookup_query *query = all; query; query = query->next)
        ids[count++] = query->id;
    /* The order of the joins is said: see read_shares in reader/route_bookings.c. */
    buf_puts(sql, "SELECT " BOOKING_COLUMNS_OF("b."));
    buf_puts(sql, ", m.name, a.gpus, a.memory_gib, a.machine, a.start_ms FROM booking b "
                  "LEFT JOIN (allocation a FORCE INDEX (PRIMARY) STRAIGHT_JOIN machine m "
                  "ON m.id = a.machine) "
                  "ON a.booking = b.id AND a.end_ms = b.end_ms AND a.live = 1 WHERE b.id IN ");
    sql_ids(sql, ids, count);
}

/* One statement for all; the answer is in each. */
static void ask(struct lookup *lookup, struct lookup_query *all)
{
    struct mysql_session *db = NULL;
    struct failure f;
    struct buf sql = {0};
    MYSQL_RES *rows = NULL;
    build(all, &sql);
    enum err err = session_pool_take(lookup->pool, false, &db, &f);
    if (err == ERR_OK)
        err = mysql_session_query(db, "read bookings", sql.data, sql.len, &rows, &f);
    if (err == ERR_OK)
        hand_out(all, rows);
    for (struct lookup_query *query = all; err != ERR_OK && query; query = query->next) {
        query->err = err;
        query->f = f;
    }
    mysql_free_result(rows);
    if (db)
        session_pool_put(lookup->pool, db);
    buf_fini(&sql);
}

/* --- waiting --------------------------------------------------------------------------------- */

/* The first of those who wait, as a list of their own; waits for some. NULL: it is the end. */
static struct lookup_query *take(struct lookup *lookup)
{
    pthread_mutex_lock(&lookup->mutex);
    while (!lookup->first && !lookup->stopping)
        pthread_cond_wait(&lookup->came, &lookup->mutex);
    struct lookup_query *all = lookup->first, **end = &lookup->first;
    for (int i = 0; i < MOST_AT_ONCE && *end; i++)
        end = &(*end)->next;
    lookup->first = *end;
    if (!lookup->first)
        lookup->last = &lookup->first;
    *end = NULL;
    pthread_mutex_unlock(&lookup->mutex);
    return all;
}

static void *run(void *arg)
{
    struct lookup *lookup = arg;
    struct lookup_query *all;
    while ((all = take(lookup))) {
        ask(lookup, all);
        for (struct lookup_query *next; all; all = next) {
            next = all->next; /* it may be gone once it knows */
            all->answered(all);
        }
    }
    return NULL;
}

bool lookup_add(struct lookup *lookup, struct lookup_query *query)
{
    pthread_mutex_lock(&lookup->mutex);
    bool takes = !lookup->stopping;
    if (takes) {
        if (!lookup->first)
            pthread_cond_signal(&lookup->came);
        query->next = NULL;
        *lookup->last = query;
        lookup->last = &query->next;
    }
    pthread_mutex_unlock(&lookup->mutex);
    return takes;
}

void lookup_now(struct lookup *lookup, struct lookup_query *query)
{
    query->next = NULL;
    ask(lookup, query);
}

/* --- life ------------------------------------------------------------------------------------ */

enum err lookup_start(struct session_pool *pool, struct lookup **out, struct failure *f)
{
    struct lookup *lookup = xcalloc(1, sizeof(*lookup));
    lookup->pool = pool;
    lookup->last = &lookup->first;
    pthread_mutex_init(&lookup->mutex, NULL);
    pthread_cond_init(&lookup->came, NULL);
    int error = pthread_create(&lookup->thread, NULL, run, lookup);
    if (error) {
        lookup->stopping = true;
        lookup_free(lookup);
        return failure_set(f, ERR_FAILED, "no thread for bookings: %s", strerror(error));
    }
    *out = lookup;
    return ERR_OK;
}

void lookup_stop(struct lookup *lookup)
{
    pthread_mutex_lock(&lookup->mutex);
    lookup->stopping = true;
    pthread_cond_signal(&lookup->came);
    pthread_mutex_unlock(&lookup->mutex);
    pthread_join(lookup->thread, NULL);
}

void lookup_free(struct lookup *lookup)
{
    if (!lookup)
        return;
    assert(lookup->stopping && !lookup->first);
    pthread_cond_destroy(&lookup->came);
    pthread_mutex_destroy(&lookup->mutex);
    free(lookup);
}
