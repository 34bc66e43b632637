#include "reader/lookup.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "lib/mem.h"
#include "reader/rows.h"

/* Bounds a statement; more wait for the one after it. */
#define MOST_AT_ONCE 64

/* One that waits: on its thread's stack. */
struct wanted {
    int64_t id;
    struct arena *arena;
    struct booking_view *out;
    bool found;
    enum err err;
    struct failure *f;
    bool done;
    pthread_cond_t changed; /* it is done, or nobody asks and it is the first in the queue */
    struct wanted *next;
};

struct lookup {
    struct session_pool *pool;
    pthread_mutex_t mutex;
    bool busy; /* a thread asks for those it took */
    struct wanted *first, **last;
};

struct lookup *lookup_new(struct session_pool *pool)
{
    struct lookup *lookup = xcalloc(1, sizeof(*lookup));
    lookup->pool = pool;
    lookup->last = &lookup->first;
    pthread_mutex_init(&lookup->mutex, NULL);
    return lookup;
}

void lookup_free(struct lookup *lookup)
{
    if (!lookup)
        return;
    assert(!lookup->busy && !lookup->first);
    pthread_mutex_destroy(&lookup->mutex);
    free(lookup);
}

/* --- rows ------------------------------------------------------------------------------------ */

/* Behind the booking's columns: the share's, NULL if it holds none. */
enum { MACHINE = BOOKING_ROW_FIELDS, GPUS, MEMORY_GIB, MACHINE_ID, SHARE_START };

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
static void take_rows(struct wanted *wanted, const struct placed *placed, size_t count)
{
    struct share *shares = arena_alloc(wanted->arena, count * sizeof(*shares));
    wanted->err = rows_booking(placed[0].row, wanted->arena, wanted->out, wanted->f);
    wanted->found = wanted->err == ERR_OK;
    wanted->out->shares = shares;
    for (size_t i = 0; i < count && placed[i].row[MACHINE]; i++)
        shares[wanted->out->share_count++] = (struct share){
            .machine = arena_strdup(wanted->arena, placed[i].row[MACHINE]),
            .amount = {.gpus = field_int(placed[i].row[GPUS]),
                       .memory_gib = field_int(placed[i].row[MEMORY_GIB])}};
}

static void hand_out(struct wanted *all, MYSQL_RES *rows)
{
    size_t count = (size_t)mysql_num_rows(rows);
    struct placed *placed = sort_rows(rows, count);
    for (size_t first = 0, end; first < count; first = end) {
        end = first + 1;
        while (end < count && placed[end].booking == placed[first].booking)
            end++;
        for (struct wanted *wanted = all; wanted; wanted = wanted->next)
            if (wanted->id == placed[first].booking)
                take_rows(wanted, &placed[first], end - first);
    }
    free(placed);
}

/* --- asking ---------------------------------------------------------------------------------- */

static void build(const struct wanted *all, struct buf *sql)
{
    int64_t ids[MOST_AT_ONCE];
    size_t count = 0;
    for (const struct wanted *wanted = all; wanted; wanted = wanted->next)
        ids[count++] = wanted->id;
    /* The order of the joins is said: see read_shares in reader/bookings.c. */
    buf_puts(sql, "SELECT " BOOKING_ROW_COLUMNS
                  ", m.name, a.gpus, a.memory_gib, a.machine, a.start_ms FROM booking b "
                  "LEFT JOIN (allocation a FORCE INDEX (PRIMARY) STRAIGHT_JOIN machine m "
                  "ON m.id = a.machine) "
                  "ON a.booking = b.id AND a.end_ms = b.end_ms AND a.live = 1 WHERE b.id IN ");
    sql_ids(sql, ids, count);
}

/* One statement for all; the answer is in each. */
static void ask(struct lookup *lookup, struct wanted *all)
{
    struct mysql_session *db;
    struct failure f;
    struct buf sql = {0};
    MYSQL_RES *rows = NULL;
    build(all, &sql);
    enum err err = session_pool_take(lookup->pool, false, &db, &f);
    if (err == ERR_OK) {
        err = mysql_session_query(db, "read bookings", sql.data, sql.len, &rows, &f);
        session_pool_put(lookup->pool, db);
    }
    if (err == ERR_OK)
        hand_out(all, rows);
    for (struct wanted *wanted = all; err != ERR_OK && wanted; wanted = wanted->next) {
        wanted->err = err;
        *wanted->f = f;
    }
    mysql_free_result(rows);
    buf_fini(&sql);
}

/* --- waiting --------------------------------------------------------------------------------- */

/* The first of those who wait, as a list of their own. */
static struct wanted *take(struct lookup *lookup)
{
    struct wanted *all = lookup->first, **end = &lookup->first;
    for (int i = 0; i < MOST_AT_ONCE && *end; i++)
        end = &(*end)->next;
    lookup->first = *end;
    if (!lookup->first)
        lookup->last = &lookup->first;
    *end = NULL;
    return all;
}

/* This thread asks, for itself, or those before it and perhaps itself. Locked at both ends. */
static void lead(struct lookup *lookup)
{
    struct wanted *all = take(lookup);
    lookup->busy = true;
    pthread_mutex_unlock(&lookup->mutex);
    ask(lookup, all);
    pthread_mutex_lock(&lookup->mutex);
    lookup->busy = false;
    for (struct wanted *wanted = all; wanted; wanted = wanted->next) {
        wanted->done = true;
        pthread_cond_signal(&wanted->changed);
    }
    if (lookup->first)
        pthread_cond_signal(&lookup->first->changed);
}

enum err lookup_booking(struct lookup *lookup, int64_t id, struct arena *arena,
                        struct booking_view *out, bool *found_out, struct failure *f)
{
    struct wanted own = {.id = id, .arena = arena, .out = out, .err = ERR_OK, .f = f};
    pthread_cond_init(&own.changed, NULL);
    pthread_mutex_lock(&lookup->mutex);
    *lookup->last = &own;
    lookup->last = &own.next;
    while (!own.done) {
        if (lookup->busy)
            pthread_cond_wait(&own.changed, &lookup->mutex);
        else
            lead(lookup);
    }
    pthread_mutex_unlock(&lookup->mutex);
    pthread_cond_destroy(&own.changed);
    *found_out = own.found;
    return own.err;
}
