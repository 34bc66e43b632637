/* The reads and locks of a batch.
 *
 * Rows are locked in ascending order of their primary keys, and in no other: FORCE INDEX keeps the
 * optimizer from visiting them in the order of another index, which deadlocks
 * (docs/architecture.md, One batch). Long lists are cut, ascending, so that the order holds over
 * the pieces. */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "db/mysql_store_parts.h"

/* Ids or names in one IN (…). MariaDB turns lists of 1,000 and more into joins with temporary
 * tables, which lock in an order of their own. */
#define IN_LIST_MAX   500
/* Clients whose allocations are fetched at once: bounds the memory of one result. */
#define TIMELINES_MAX 64

/* The length of the piece that begins at `from`. */
static size_t cut(size_t count, size_t from, size_t max)
{
    return count - from < max ? count - from : max;
}

/* The i-th text of a list. */
static void next_text(struct buf *sql, size_t i, const char *text)
{
    if (i > 0)
        buf_puts(sql, ",");
    sql_text(sql, text);
}

enum err store_lock_partitions(void *self, const int32_t *parts, size_t count,
                               struct partition_row *rows_out, struct farm_row *farm_out,
                               struct failure *f)
{
    struct mysql_store *store = self;
    assert(store->in_transaction);
    assert(count > 0 && count <= LIMIT_PARTITIONS);
    struct buf *sql = &store->sql;
    size_t got = 0;
    for (size_t from = 0, n; from < count; from += n) {
        n = cut(count, from, IN_LIST_MAX);
        buf_clear(sql);
        buf_puts(sql, "SELECT " PARTITION_COLUMNS " FROM request_partition FORCE INDEX (PRIMARY) "
                      "WHERE part IN (");
        for (size_t i = 0; i < n; i++) {
            assert(from + i == 0 || parts[from + i - 1] < parts[from + i]);
            if (i > 0)
                buf_puts(sql, ",");
            sql_int(sql, parts[from + i]);
        }
        buf_puts(sql, ") ORDER BY part FOR UPDATE");
        MYSQL_RES *res = NULL;
        enum err err = store_query(store, "lock partitions", &res, f);
        if (err != ERR_OK)
            return err;
        MYSQL_ROW row;
        while ((row = mysql_fetch_row(res)))
            partition_row_read(row, mysql_fetch_lengths(res), &rows_out[got++]);
        mysql_free_result(res);
    }
    if (got != count) {
        return failure_set(f, ERR_NOT_FOUND, "%zu of %zu partitions have no row in the database",
                           count - got, count);
    }
    return farm_row_query(store, farm_out, f);
}

/* Puts the machines that the statement finds into the world, and their ids into *ids unless it is
 * NULL. */
static enum err machines_into_world(struct mysql_store *store, const char *what,
                                    struct world *world, struct id_list *ids, struct failure *f)
{
    MYSQL_RES *res = NULL;
    enum err err = store_query(store, what, &res, f);
    MYSQL_ROW row;
    while (err == ERR_OK && (row = mysql_fetch_row(res))) {
        struct machine machine;
        err = machine_row_read(row, mysql_fetch_lengths(res), world_arena(world), &machine, f);
        if (err == ERR_OK)
            world_machine_put(world, &machine);
        if (err == ERR_OK && ids)
            id_list_add(ids, machine.id);
    }
    mysql_free_result(res);
    return err;
}

enum err store_find_machines(void *self, const char *const *names, size_t count,
                             struct world *world, struct failure *f)
{
    struct mysql_store *store = self;
    struct buf *sql = &store->sql;
    enum err err = ERR_OK;
    for (size_t from = 0, n; err == ERR_OK && from < count; from += n) {
        n = cut(count, from, IN_LIST_MAX);
        buf_clear(sql);
        buf_puts(sql, "SELECT " MACHINE_COLUMNS " FROM machine WHERE name IN (");
        for (size_t i = 0; i < n; i++)
            next_text(sql, i, names[from + i]);
        buf_puts(sql, ")");
        err = machines_into_world(store, "find machines", world, NULL, f);
    }
    return err;
}

static enum err machines_by_id(struct mysql_store *store, const int64_t *ids, size_t count,
                               const char *lock, struct world *world, struct failure *f)
{
    struct buf *sql = &store->sql;
    enum err err = ERR_OK;
    for (size_t from = 0, n; err == ERR_OK && from < count; from += n) {
        n = cut(count, from, IN_LIST_MAX);
        buf_clear(sql);
        buf_puts(sql, "SELECT " MACHINE_COLUMNS " FROM machine FORCE INDEX (PRIMARY) WHERE id IN ");
        sql_ids(sql, ids + from, n);
        buf_puts(sql, lock);
        err = machines_into_world(store, "read machines", world, NULL, f);
    }
    return err;
}

enum err store_find_machines_by_id(void *self, const int64_t *ids, size_t count,
                                   struct world *world, struct failure *f)
{
    return machines_by_id(self, ids, count, "", world, f);
}

enum err store_lock_machines(void *self, const struct id_list *ids, struct world *world,
                             struct failure *f)
{
    struct mysql_store *store = self;
    assert(store->in_transaction);
    return machines_by_id(store, ids->ids, ids->count, " ORDER BY id FOR UPDATE", world, f);
}

enum err store_machines_matching(void *self, const struct labels *labels, struct world *world,
                                 struct id_list *out, struct failure *f)
{
    struct mysql_store *store = self;
    buf_clear(&store->sql);
    buf_puts(&store->sql, "SELECT " MACHINE_COLUMNS " FROM machine WHERE state = 'up'");
    sql_labels(&store->sql, world_arena(world), labels);
    buf_puts(&store->sql, " ORDER BY id");
    return machines_into_world(store, "find matching machines", world, out, f);
}

static enum err clients_into_world(struct mysql_store *store, const struct client *clients,
                                   size_t count, struct world *world, struct failure *f)
{
    MYSQL_RES *res = NULL;
    enum err err = store_query(store, "read clients", &res, f);
    size_t i = 0;
    MYSQL_ROW row;
    while (err == ERR_OK && (row = mysql_fetch_row(res))) {
        while (i < count && strcmp(clients[i].name, row[0]) != 0)
            i++;
        assert(i < count); /* rows come in the order of the names */
        struct client client = clients[i];
        client.version = field_int(row[1]);
        world_client_put(world, &client);
    }
    mysql_free_result(res);
    return err;
}

static enum err read_clients(struct mysql_store *store, const struct client *clients, size_t count,
                             const char *lock, struct world *world, struct failure *f)
{
    struct buf *sql = &store->sql;
    enum err err = ERR_OK;
    for (size_t from = 0, n; err == ERR_OK && from < count; from += n) {
        n = cut(count, from, IN_LIST_MAX);
        buf_clear(sql);
        buf_puts(sql, "SELECT name, version FROM client FORCE INDEX (PRIMARY) WHERE name IN (");
        for (size_t i = 0; i < n; i++) {
            assert(from + i == 0 || strcmp(clients[from + i - 1].name, clients[from + i].name) < 0);
            next_text(sql, i, clients[from + i].name);
        }
        buf_puts(sql, ") ORDER BY name");
        buf_puts(sql, lock);
        err = clients_into_world(store, clients + from, n, world, f);
    }
    return err;
}

enum err store_find_clients(void *self, const struct client *clients, size_t count,
                            struct world *world, struct failure *f)
{
    return read_clients(self, clients, count, "", world, f);
}

enum err store_lock_clients(void *self, const struct client *clients, size_t count,
                            struct world *world, struct failure *f)
{
    struct mysql_store *store = self;
    assert(store->in_transaction);
    return read_clients(store, clients, count, " FOR UPDATE", world, f);
}

enum err store_load_timelines(void *self, struct world *world, struct machine *const *machines,
                              size_t count, int64_t known_from_ms, struct failure *f)
{
    struct mysql_store *store = self;
    for (size_t from = 0; from < count; from += USE_MACHINES_MAX) {
        struct use_wanted wanted = {.count = cut(count, from, USE_MACHINES_MAX),
                                    .known_from_ms = known_from_ms};
        for (size_t i = 0; i < wanted.count; i++)
            wanted.machines[i] = machines[from + i]->id;
        MYSQL_RES *rows = NULL;
        enum err err = use_fetch(store->session, &wanted, &rows, f);
        if (err != ERR_OK)
            return err;
        use_load(&wanted, rows, world);
        mysql_free_result(rows);
    }
    return ERR_OK;
}

static enum err load_some_clients(struct mysql_store *store, struct world *world,
                                  struct client *const *clients, size_t count,
                                  int64_t known_from_ms, struct failure *f)
{
    struct buf *sql = &store->sql;
    buf_clear(sql);
    buf_puts(sql, "SELECT b.client, a.start_ms, a.end_ms, a.gpus FROM booking b "
                  "FORCE INDEX (booking_client) STRAIGHT_JOIN allocation a FORCE INDEX (PRIMARY) "
                  "ON a.booking = b.id WHERE b.client IN (");
    for (size_t i = 0; i < count; i++)
        next_text(sql, i, clients[i]->name);
    /* A live row lasts no longer than its booking. */
    buf_printf(sql, ") AND b.end_ms > %" PRId64 " AND a.end_ms > %" PRId64 " AND a.live = 1",
               known_from_ms, known_from_ms);
    MYSQL_RES *res = NULL;
    enum err err = store_query(store, "load timelines of clients", &res, f);
    if (err != ERR_OK)
        return err;
    for (size_t i = 0; i < count; i++)
        world_client_timeline_start(world, clients[i], known_from_ms);
    struct client *client = NULL;
    MYSQL_ROW row;
    while ((row = mysql_fetch_row(res))) {
        if (!client || strcmp(client->name, row[0]) != 0)
            client = world_client(world, row[0]);
        assert(client);
        world_client_timeline_add(world, client, field_int(row[1]), field_int(row[2]),
                                  (struct amount){.gpus = field_int(row[3])});
    }
    mysql_free_result(res);
    return ERR_OK;
}

enum err store_load_client_timelines(void *self, struct world *world, struct client *const *clients,
                                     size_t count, int64_t known_from_ms, struct failure *f)
{
    enum err err = ERR_OK;
    for (size_t from = 0, n; err == ERR_OK && from < count; from += n) {
        n = cut(count, from, TIMELINES_MAX);
        err = load_some_clients(self, world, clients + from, n, known_from_ms, f);
    }
    return err;
}

static enum err add_ids(struct mysql_store *store, const char *what, struct id_list *out,
                        struct failure *f)
{
    MYSQL_RES *res = NULL;
    enum err err = store_query(store, what, &res, f);
    MYSQL_ROW row;
    while (err == ERR_OK && (row = mysql_fetch_row(res)))
        id_list_add(out, field_int(row[0]));
    mysql_free_result(res);
    return err;
}

enum err store_machines_of_bookings(void *self, const struct id_list *bookings, struct id_list *out,
                                    struct failure *f)
{
    struct mysql_store *store = self;
    enum err err = ERR_OK;
    for (size_t from = 0, n; err == ERR_OK && from < bookings->count; from += n) {
        n = cut(bookings->count, from, IN_LIST_MAX);
        buf_clear(&store->sql);
        buf_puts(&store->sql, "SELECT DISTINCT machine FROM allocation WHERE booking IN ");
        sql_ids(&store->sql, bookings->ids + from, n);
        err = add_ids(store, "machines of bookings", out, f);
    }
    return err;
}

enum err store_bookings_on_machines(void *self, const struct id_list *machines, int64_t from_ms,
                                    struct id_list *out, struct failure *f)
{
    struct mysql_store *store = self;
    enum err err = ERR_OK;
    for (size_t from = 0, n; err == ERR_OK && from < machines->count; from += n) {
        n = cut(machines->count, from, IN_LIST_MAX);
        buf_clear(&store->sql);
        buf_puts(&store->sql,
                 "SELECT DISTINCT a.booking FROM allocation a FORCE INDEX (allocation_timeline) "
                 "STRAIGHT_JOIN booking b ON b.id = a.booking WHERE a.machine IN ");
        sql_ids(&store->sql, machines->ids + from, n);
        buf_printf(&store->sql, " AND a.end_ms > %" PRId64 " AND a.live = 1 AND b.state = 'booked'",
                   from_ms);
        err = add_ids(store, "bookings on machines", out, f);
    }
    return err;
}

enum err store_bookings_of_series(void *self, int64_t series, struct id_list *out,
                                  struct failure *f)
{
    struct mysql_store *store = self;
    int64_t ids[LIMIT_OCCURRENCES];
    size_t count = series_booking_ids(series, ids);
    if (count == 0)
        return ERR_OK;
    buf_clear(&store->sql);
    buf_puts(&store->sql, "SELECT id FROM booking FORCE INDEX (PRIMARY) WHERE id IN ");
    sql_ids(&store->sql, ids, count);
    buf_printf(&store->sql, " AND series = %" PRId64, series);
    return add_ids(store, "bookings of a series", out, f);
}

enum err store_clients_of_bookings(void *self, const struct id_list *bookings, store_name_fn *fn,
                                   void *arg, struct failure *f)
{
    struct mysql_store *store = self;
    enum err err = ERR_OK;
    for (size_t from = 0, n; err == ERR_OK && from < bookings->count; from += n) {
        n = cut(bookings->count, from, IN_LIST_MAX);
        buf_clear(&store->sql);
        buf_puts(&store->sql, "SELECT DISTINCT client FROM booking FORCE INDEX (PRIMARY) "
                              "WHERE id IN ");
        sql_ids(&store->sql, bookings->ids + from, n);
        MYSQL_RES *res = NULL;
        err = store_query(store, "clients of bookings", &res, f);
        MYSQL_ROW row;
        while (err == ERR_OK && (row = mysql_fetch_row(res)))
            fn(arg, row[0]);
        mysql_free_result(res);
    }
    return err;
}

static enum err lock_booking_rows(struct mysql_store *store, const int64_t *ids, size_t count,
                                  struct world *world, struct failure *f)
{
    buf_clear(&store->sql);
    buf_puts(&store->sql,
             "SELECT " BOOKING_COLUMNS " FROM booking FORCE INDEX (PRIMARY) WHERE id IN ");
    sql_ids(&store->sql, ids, count);
    buf_puts(&store->sql, " ORDER BY id FOR UPDATE");
    MYSQL_RES *res = NULL;
    enum err err = store_query(store, "lock bookings", &res, f);
    MYSQL_ROW row;
    while (err == ERR_OK && (row = mysql_fetch_row(res))) {
        struct booking booking;
        err = booking_row_read(row, &booking, f);
        if (err == ERR_OK)
            world_booking_put(world, &booking);
    }
    mysql_free_result(res);
    return err;
}

/* A plain read is enough: whoever writes an allocation holds the lock of its booking. */
static enum err read_allocations(struct mysql_store *store, const int64_t *ids, size_t count,
                                 struct world *world, struct failure *f)
{
    buf_clear(&store->sql);
    buf_puts(&store->sql, "SELECT booking, machine, start_ms, end_ms, gpus, memory_gib, live, "
                          "machine_version FROM allocation FORCE INDEX (PRIMARY) "
                          "WHERE booking IN ");
    sql_ids(&store->sql, ids, count);
    MYSQL_RES *res = NULL;
    enum err err = store_query(store, "read allocations", &res, f);
    MYSQL_ROW row;
    while (err == ERR_OK && (row = mysql_fetch_row(res))) {
        struct allocation allocation = {
            .machine_id = field_int(row[1]),
            .start_ms = field_int(row[2]),
            .end_ms = field_int(row[3]),
            .amount = {.gpus = field_int(row[4]), .memory_gib = field_int(row[5])},
            .live = field_int(row[6]) != 0,
            .machine_version = field_int(row[7]),
        };
        struct booking *booking = world_booking(world, field_int(row[0]));
        if (booking)
            world_allocation_add(world, booking, &allocation);
    }
    mysql_free_result(res);
    return err;
}

enum err store_lock_bookings(void *self, const struct id_list *ids, struct world *world,
                             struct failure *f)
{
    struct mysql_store *store = self;
    assert(store->in_transaction);
    enum err err = ERR_OK;
    for (size_t from = 0, n; err == ERR_OK && from < ids->count; from += n) {
        n = cut(ids->count, from, IN_LIST_MAX);
        err = lock_booking_rows(store, ids->ids + from, n, world, f);
        if (err == ERR_OK)
            err = read_allocations(store, ids->ids + from, n, world, f);
    }
    return err;
}

static int compare_refs(const void *a, const void *b)
{
    const struct request_ref *left = a, *right = b;
    int order = strcmp(left->client, right->client);
    return order ? order : strcmp(left->request_id, right->request_id);
}

/* Builds one range of the index for each client; refs are sorted by client. */
static void priors_sql(struct buf *sql, const struct request_ref *refs, size_t count)
{
    buf_clear(sql);
    buf_puts(sql, "SELECT part, seq, client, request_id, content_sha256, reason, subject, event "
                  "FROM decision FORCE INDEX (decision_request) WHERE ");
    for (size_t i = 0; i < count; i++) {
        bool same_client = i > 0 && strcmp(refs[i].client, refs[i - 1].client) == 0;
        if (same_client) {
            buf_puts(sql, ",");
        } else {
            buf_puts(sql, i == 0 ? "(client = " : ")) OR (client = ");
            sql_text(sql, refs[i].client);
            buf_puts(sql, " AND request_id IN (");
        }
        sql_text(sql, refs[i].request_id);
    }
    buf_puts(sql, "))");
}

static enum err prior_row_read(MYSQL_ROW row, const unsigned long *lens, struct world *world,
                               struct failure *f)
{
    struct arena *arena = world_arena(world);
    struct prior prior = {
        .client = arena_strdup(arena, row[2]),
        .request_id = arena_strdup(arena, row[3]),
        .part = (int32_t)field_int(row[0]),
        .seq = field_int(row[1]),
        .reason = row[5] ? reason_from_name(row[5]) : REASON_NONE,
        .subject = row[6] ? arena_strdup(arena, row[6]) : NULL,
        .event = arena_strndup(arena, row[7], lens[7]),
        .event_len = lens[7],
    };
    if (row[5] && prior.reason == REASON_NONE)
        return failure_set(f, ERR_DB_ERROR, "decision %s-%s has an unknown reason", row[0], row[1]);
    if (lens[4] != sizeof(prior.content_sha256))
        return failure_set(f, ERR_DB_ERROR, "decision %s-%s has no content digest", row[0], row[1]);
    memcpy(prior.content_sha256, row[4], sizeof(prior.content_sha256));
    world_prior_put(world, &prior);
    return ERR_OK;
}

enum err store_find_priors(void *self, const struct request_ref *refs, size_t count,
                           struct world *world, struct failure *f)
{
    struct mysql_store *store = self;
    if (count == 0)
        return ERR_OK;
    struct request_ref *sorted = xmalloc(count * sizeof(*sorted));
    memcpy(sorted, refs, count * sizeof(*sorted));
    qsort(sorted, count, sizeof(*sorted), compare_refs);
    enum err err = ERR_OK;
    for (size_t from = 0, n; err == ERR_OK && from < count; from += n) {
        n = cut(count, from, IN_LIST_MAX);
        priors_sql(&store->sql, sorted + from, n);
        MYSQL_RES *res = NULL;
        err = store_query(store, "find used request ids", &res, f);
        MYSQL_ROW row;
        while (err == ERR_OK && (row = mysql_fetch_row(res)))
            err = prior_row_read(row, mysql_fetch_lengths(res), world, f);
        mysql_free_result(res);
    }
    free(sorted);
    return err;
}
