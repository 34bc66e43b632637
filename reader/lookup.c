#include "reader/lookup.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "db/mysql_rows.h"
#include "lib/base/mem.h"

/* Queries per statement. */
#define QUERIES_MAX 64

struct lookup {
    struct session_pool *pool;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed; /* a query was added, or the lookup stops */
    bool stopping;
    struct lookup_query *first, **last;
};

/* --- rows ------------------------------------------------------------------------------------ */

/* After the booking's columns: the share's, all NULL when the booking holds none. */
enum { MACHINE = BOOKING_COLUMN_COUNT, GPUS, MEMORY_GIB, MACHINE_ID, SHARE_START };

/* A row and its sort key: a booking's shares are ordered by machine id, then start. The server
 * would sort in a temporary table. */
struct sorted_row {
    int64_t booking, machine_id, start_ms;
    MYSQL_ROW row;
};

static int compare_rows(const void *a, const void *b)
{
    const struct sorted_row *left = a, *right = b;
    if (left->booking != right->booking)
        return left->booking < right->booking ? -1 : 1;
    if (left->machine_id != right->machine_id)
        return left->machine_id < right->machine_id ? -1 : 1;
    return left->start_ms < right->start_ms ? -1 : left->start_ms > right->start_ms;
}

/* The rows in order; heap. */
static struct sorted_row *sort_rows(MYSQL_RES *rows, size_t count)
{
    struct sorted_row *sorted = xcalloc(count + 1, sizeof(*sorted));
    for (size_t i = 0; i < count; i++) {
        MYSQL_ROW row = mysql_fetch_row(rows);
        sorted[i] = (struct sorted_row){.booking = field_int(row[0]),
                                        .machine_id = field_int(row[MACHINE_ID]),
                                        .start_ms = field_int(row[SHARE_START]),
                                        .row = row};
    }
    qsort(sorted, count, sizeof(*sorted), compare_rows);
    return sorted;
}

/* Answers with a booking's `count` rows: one for each share, or one without a share. */
static void answer_query(struct lookup_query *query, const struct sorted_row *sorted, size_t count)
{
    struct booking booking;
    struct booking_view *view = &query->view;
    struct share *shares = arena_alloc(query->arena, count * sizeof(*shares));
    query->err = booking_row_read(sorted[0].row, &booking, &query->f);
    query->found = query->err == ERR_OK;
    *view = booking_view_of(&booking);
    view->client = arena_strdup(query->arena, booking.client);
    view->user = arena_strdup(query->arena, booking.user);
    view->shares = shares;
    for (size_t i = 0; i < count && sorted[i].row[MACHINE]; i++) {
        shares[view->share_count++] = (struct share){
            .machine = arena_strdup(query->arena, sorted[i].row[MACHINE]),
            .amount = {.gpus = field_int(sorted[i].row[GPUS]),
                       .memory_gib = field_int(sorted[i].row[MEMORY_GIB])}};
    }
}

static void answer_all(struct lookup_query *all, MYSQL_RES *rows)
{
    size_t count = (size_t)mysql_num_rows(rows);
    struct sorted_row *sorted = sort_rows(rows, count);
    for (size_t first = 0, end; first < count; first = end) {
        end = first + 1;
        while (end < count && sorted[end].booking == sorted[first].booking)
            end++;
        for (struct lookup_query *query = all; query; query = query->next) {
            if (query->id == sorted[first].booking)
                answer_query(query, &sorted[first], end - first);
        }
    }
    free(sorted);
}

/* --- the statement --------------------------------------------------------------------------- */

static void build_statement(const struct lookup_query *all, struct buf *sql)
{
    int64_t ids[QUERIES_MAX];
    size_t count = 0;
    for (const struct lookup_query *query = all; query; query = query->next)
        ids[count++] = query->id;
    /* The order of the joins is fixed: see read_shares in reader/route_bookings.c. */
    buf_puts(sql, "SELECT " BOOKING_COLUMNS_OF("b."));
    buf_puts(sql, ", m.name, a.gpus, a.memory_gib, a.machine, a.start_ms FROM booking b "
                  "LEFT JOIN (allocation a FORCE INDEX (PRIMARY) STRAIGHT_JOIN machine m "
                  "ON m.id = a.machine) "
                  "ON a.booking = b.id AND a.end_ms = b.end_ms AND a.live = 1 WHERE b.id IN ");
    sql_ids(sql, ids, count);
}

/* Answers all queries of the list by one statement. */
static void ask(struct lookup *lookup, struct lookup_query *all)
{
    struct failure f;
    struct buf sql = {0};
    MYSQL_RES *rows;
    build_statement(all, &sql);
    enum err err = session_pool_query(lookup->pool, "read bookings", &sql, &rows, &f);
    if (err == ERR_OK)
        answer_all(all, rows);
    for (struct lookup_query *query = all; err != ERR_OK && query; query = query->next) {
        query->err = err;
        query->f = f;
    }
    mysql_free_result(rows);
}

/* --- the queue ------------------------------------------------------------------------------- */

/* Takes up to QUERIES_MAX pending queries as a list; waits for the first. NULL: the lookup stops
 * and nothing is pending. */
static struct lookup_query *take(struct lookup *lookup)
{
    pthread_mutex_lock(&lookup->mutex);
    while (!lookup->first && !lookup->stopping)
        pthread_cond_wait(&lookup->changed, &lookup->mutex);
    struct lookup_query *all = lookup->first, **end = &lookup->first;
    for (int i = 0; i < QUERIES_MAX && *end; i++)
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
            next = all->next; /* answered() may free the query */
            all->answered(all);
        }
    }
    return NULL;
}

bool lookup_add(struct lookup *lookup, struct lookup_query *query)
{
    pthread_mutex_lock(&lookup->mutex);
    bool added = !lookup->stopping;
    if (added) {
        if (!lookup->first)
            pthread_cond_signal(&lookup->changed);
        query->next = NULL;
        *lookup->last = query;
        lookup->last = &query->next;
    }
    pthread_mutex_unlock(&lookup->mutex);
    return added;
}

/* --- life ------------------------------------------------------------------------------------ */

enum err lookup_start(struct session_pool *pool, struct lookup **out, struct failure *f)
{
    struct lookup *lookup = xcalloc(1, sizeof(*lookup));
    lookup->pool = pool;
    lookup->last = &lookup->first;
    pthread_mutex_init(&lookup->mutex, NULL);
    pthread_cond_init(&lookup->changed, NULL);
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
    pthread_cond_signal(&lookup->changed);
    pthread_mutex_unlock(&lookup->mutex);
    pthread_join(lookup->thread, NULL);
}

void lookup_free(struct lookup *lookup)
{
    if (!lookup)
        return;
    assert(lookup->stopping && !lookup->first);
    pthread_cond_destroy(&lookup->changed);
    pthread_mutex_destroy(&lookup->mutex);
    free(lookup);
}
