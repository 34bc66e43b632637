/* The reads and locks of a batch.
 *
 * Rows are locked in ascending order of their primary keys, and in no other: FORCE INDEX keeps the
 * optimizer from visiting them in the order of another index, which deadlocks
 * (docs/architecture.md, One batch). Long lists are cut, ascending, so that the order holds over
 * the pieces. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db/mysql_store_parts.h"

/* Clients whose allocations are fetched at once: bounds the memory of one result. */
#define TIMELINES_MAX 64

/* The length of the piece that begins at `from`. */
static size_t cut(size_t count, size_t from, size_t max)
{
    return count - from < max ? count - from : max;
}

/* Rows are borrowed for the call; an error ends the reading and is returned. */
typedef enum err row_fn(void *arg, MYSQL_ROW row, const unsigned long *lens, struct failure *f);

/* Runs the statement in store->sql and calls fn for each of its rows. */
static enum err each_row(struct mysql_store *store, const char *what, row_fn *fn, void *arg,
                         struct failure *f)
{
    MYSQL_RES *res = NULL;
    enum err err = store_query(store, what, &res, f);
    MYSQL_ROW row;
    while (err == ERR_OK && (row = mysql_fetch_row(res)))
        err = fn(arg, row, mysql_fetch_lengths(res), f);
    mysql_free_result(res);
    return err;
}

/* The query "head (1,2,3) tail", sent in pieces of IN_LIST_MAX ids. */
struct id_query {
    const char *what, *head, *tail;
    const int64_t *ids; /* ascending */
    size_t count;
};

static enum err each_row_of_ids(struct mysql_store *store, const struct id_query *query, row_fn *fn,
                                void *arg, struct failure *f)
{
    enum err err = ERR_OK;
    for (size_t from = 0, n; err == ERR_OK && from < query->count; from += n) {
        n = cut(query->count, from, IN_LIST_MAX);
        buf_clear(&store->sql);
        buf_puts(&store->sql, query->head);
        sql_ids(&store->sql, query->ids + from, n);
        buf_puts(&store->sql, query->tail);
        err = each_row(store, query->what, fn, arg, f);
    }
    return err;
}

/* The i-th text of a list. */
static void next_text(struct buf *sql, size_t i, const char *text)
{
    if (i > 0)
        buf_puts(sql, ",");
    sql_text(sql, text);
}

static enum err partition_row(void *arg, MYSQL_ROW row, const unsigned long *lens,
                              struct failure *f)
{
    struct partition_row **next = arg;
    (void)f;
    partition_row_read(row, lens, (*next)++);
    return ERR_OK;
}

static enum err store_lock_partitions(void *self, const int32_t *parts, size_t count,
                                      struct partition_row *rows_out, struct farm_row *farm_out,
                                      struct failure *f)
{
    struct mysql_store *store = self;
    int64_t ids[LIMIT_PARTITIONS];
    assert(store->in_transaction);
    assert(count > 0 && count <= LIMIT_PARTITIONS);
    for (size_t i = 0; i < count; i++) {
        assert(i == 0 || parts[i - 1] < parts[i]);
        ids[i] = parts[i];
    }
    const struct id_query query = {"lock partitions",
                                   "SELECT " PARTITION_COLUMNS
                                   " FROM request_partition FORCE INDEX (PRIMARY) WHERE part IN ",
                                   " ORDER BY part FOR UPDATE", ids, count};
    struct partition_row *next = rows_out;
    enum err err = each_row_of_ids(store, &query, partition_row, &next, f);
    if (err != ERR_OK)
        return err;
    if (next != rows_out + count) {
        return failure_set(f, ERR_NOT_FOUND, "%zu of %zu partitions have no row in the database",
                           count - (size_t)(next - rows_out), count);
    }
    return farm_row_query(store, farm_out, f);
}

/* Where rows of machines go. */
struct machines {
    struct world *world;
    struct id_list *ids; /* NULL: the ids are not listed */
};

static enum err machine_row(void *arg, MYSQL_ROW row, const unsigned long *lens, struct failure *f)
{
    const struct machines *to = arg;
    struct machine machine;
    enum err err = machine_row_read(row, lens, world_arena(to->world), &machine, f);
    if (err != ERR_OK)
        return err;
    world_machine_put(to->world, &machine);
    if (to->ids)
        id_list_add(to->ids, machine.id);
    return ERR_OK;
}

static enum err store_find_machines(void *self, const char *const *names, size_t count,
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
        err = each_row(store, "find machines", machine_row, &(struct machines){world, NULL}, f);
    }
    return err;
}

static enum err machines_by_id(struct mysql_store *store, const int64_t *ids, size_t count,
                               const char *lock, struct world *world, struct failure *f)
{
    const struct id_query query = {"read machines",
                                   "SELECT " MACHINE_COLUMNS
                                   " FROM machine FORCE INDEX (PRIMARY) WHERE id IN ",
                                   lock, ids, count};
    return each_row_of_ids(store, &query, machine_row, &(struct machines){world, NULL}, f);
}

static enum err store_find_machines_by_id(void *self, const int64_t *ids, size_t count,
                                          struct world *world, struct failure *f)
{
    return machines_by_id(self, ids, count, "", world, f);
}

static enum err store_lock_machines(void *self, const struct id_list *ids, struct world *world,
                                    struct failure *f)
{
    struct mysql_store *store = self;
    assert(store->in_transaction);
    return machines_by_id(store, ids->ids, ids->count, " ORDER BY id FOR UPDATE", world, f);
}

static enum err store_machines_matching(void *self, const struct labels *labels,
                                        struct world *world, struct id_list *out, struct failure *f)
{
    struct mysql_store *store = self;
    buf_clear(&store->sql);
    buf_puts(&store->sql, "SELECT " MACHINE_COLUMNS " FROM machine WHERE state = 'up'");
    sql_labels(&store->sql, world_arena(world), labels);
    buf_puts(&store->sql, " ORDER BY id");
    return each_row(store, "find matching machines", machine_row, &(struct machines){world, out},
                    f);
}

/* Clients that are read: rows come in the order of their names. */
struct clients {
    struct world *world;
    const struct client *next, *end;
};

static enum err client_row(void *arg, MYSQL_ROW row, const unsigned long *lens, struct failure *f)
{
    struct clients *clients = arg;
    (void)lens, (void)f;
    while (clients->next < clients->end && strcmp(clients->next->name, row[0]) != 0)
        clients->next++;
    assert(clients->next < clients->end);
    struct client client = *clients->next;
    client.version = field_int(row[1]);
    world_client_put(clients->world, &client);
    return ERR_OK;
}

static enum err read_clients(struct mysql_store *store, const struct client *clients, size_t count,
                             const char *lock, struct world *world, struct failure *f)
{
    struct buf *sql = &store->sql;
    struct clients rows = {world, clients, clients + count};
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
        err = each_row(store, "read clients", client_row, &rows, f);
    }
    return err;
}

static enum err store_find_clients(void *self, const struct client *clients, size_t count,
                                   struct world *world, struct failure *f)
{
    return read_clients(self, clients, count, "", world, f);
}

static enum err store_lock_clients(void *self, const struct client *clients, size_t count,
                                   struct world *world, struct failure *f)
{
    struct mysql_store *store = self;
    assert(store->in_transaction);
    return read_clients(store, clients, count, " FOR UPDATE", world, f);
}

static enum err store_load_timelines(void *self, struct world *world,
                                     struct machine *const *machines, size_t count,
                                     int64_t known_from_ms, struct failure *f)
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

static enum err store_load_client_timelines(void *self, struct world *world,
                                            struct client *const *clients, size_t count,
                                            int64_t known_from_ms, struct failure *f)
{
    enum err err = ERR_OK;
    for (size_t from = 0, n; err == ERR_OK && from < count; from += n) {
        n = cut(count, from, TIMELINES_MAX);
        err = load_some_clients(self, world, clients + from, n, known_from_ms, f);
    }
    return err;
}

static enum err id_row(void *arg, MYSQL_ROW row, const unsigned long *lens, struct failure *f)
{
    (void)lens, (void)f;
    id_list_add(arg, field_int(row[0]));
    return ERR_OK;
}

static enum err store_machines_of_bookings(void *self, const struct id_list *bookings,
                                           struct id_list *out, struct failure *f)
{
    const struct id_query query = {"machines of bookings",
                                   "SELECT DISTINCT machine FROM allocation WHERE booking IN ", "",
                                   bookings->ids, bookings->count};
    return each_row_of_ids(self, &query, id_row, out, f);
}

static enum err store_bookings_on_machines(void *self, const struct id_list *machines,
                                           int64_t from_ms, struct id_list *out, struct failure *f)
{
    char tail[100];
    snprintf(tail, sizeof(tail),
             " AND a.end_ms > %" PRId64 " AND a.live = 1 AND b.state = 'booked'", from_ms);
    const struct id_query query = {
        "bookings on machines",
        "SELECT DISTINCT a.booking FROM allocation a FORCE INDEX (allocation_timeline) "
        "STRAIGHT_JOIN booking b ON b.id = a.booking WHERE a.machine IN ",
        tail, machines->ids, machines->count};
    return each_row_of_ids(self, &query, id_row, out, f);
}

static enum err store_bookings_of_series(void *self, int64_t series, struct id_list *out,
                                         struct failure *f)
{
    int64_t ids[LIMIT_OCCURRENCES];
    char tail[50];
    snprintf(tail, sizeof(tail), " AND series = %" PRId64, series);
    const struct id_query query = {"bookings of a series",
                                   "SELECT id FROM booking FORCE INDEX (PRIMARY) WHERE id IN ",
                                   tail, ids, series_booking_ids(series, ids)};
    return each_row_of_ids(self, &query, id_row, out, f);
}

/* Who is told the names. */
struct name_listener {
    store_name_fn *fn;
    void *arg;
};

static enum err name_row(void *arg, MYSQL_ROW row, const unsigned long *lens, struct failure *f)
{
    const struct name_listener *listener = arg;
    (void)lens, (void)f;
    listener->fn(listener->arg, row[0]);
    return ERR_OK;
}

static enum err store_clients_of_bookings(void *self, const struct id_list *bookings,
                                          store_name_fn *fn, void *arg, struct failure *f)
{
    const struct id_query query = {
        "clients of bookings",
        "SELECT DISTINCT client FROM booking FORCE INDEX (PRIMARY) WHERE id IN ", "", bookings->ids,
        bookings->count};
    return each_row_of_ids(self, &query, name_row, &(struct name_listener){fn, arg}, f);
}

static enum err booking_row(void *arg, MYSQL_ROW row, const unsigned long *lens, struct failure *f)
{
    struct booking booking;
    (void)lens;
    enum err err = booking_row_read(row, &booking, f);
    if (err == ERR_OK)
        world_booking_put(arg, &booking);
    return err;
}

static enum err allocation_row(void *arg, MYSQL_ROW row, const unsigned long *lens,
                               struct failure *f)
{
    (void)lens, (void)f;
    struct allocation allocation = {
        .machine_id = field_int(row[1]),
        .start_ms = field_int(row[2]),
        .end_ms = field_int(row[3]),
        .amount = {.gpus = field_int(row[4]), .memory_gib = field_int(row[5])},
        .live = field_int(row[6]) != 0,
        .machine_version = field_int(row[7]),
    };
    struct booking *booking = world_booking(arg, field_int(row[0]));
    if (booking)
        world_allocation_add(arg, booking, &allocation);
    return ERR_OK;
}

/* The allocations need only a plain read: whoever writes one holds the lock of its booking. */
static enum err store_lock_bookings(void *self, const struct id_list *ids, struct world *world,
                                    struct failure *f)
{
    struct mysql_store *store = self;
    assert(store->in_transaction);
    const struct id_query bookings = {"lock bookings",
                                      "SELECT " BOOKING_COLUMNS
                                      " FROM booking FORCE INDEX (PRIMARY) WHERE id IN ",
                                      " ORDER BY id FOR UPDATE", ids->ids, ids->count};
    const struct id_query allocations = {
        "read allocations",
        "SELECT booking, machine, start_ms, end_ms, gpus, memory_gib, live, machine_version "
        "FROM allocation FORCE INDEX (PRIMARY) WHERE booking IN ",
        "", ids->ids, ids->count};
    enum err err = each_row_of_ids(store, &bookings, booking_row, world, f);
    return err != ERR_OK ? err : each_row_of_ids(store, &allocations, allocation_row, world, f);
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

static enum err prior_row(void *arg, MYSQL_ROW row, const unsigned long *lens, struct failure *f)
{
    struct world *world = arg;
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

static enum err store_find_priors(void *self, const struct request_ref *refs, size_t count,
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
        err = each_row(store, "find used request ids", prior_row, world, f);
    }
    free(sorted);
    return err;
}

void store_add_reads(struct store_ops *ops)
{
    ops->lock_partitions = store_lock_partitions;
    ops->find_machines = store_find_machines;
    ops->find_machines_by_id = store_find_machines_by_id;
    ops->machines_matching = store_machines_matching;
    ops->find_clients = store_find_clients;
    ops->lock_clients = store_lock_clients;
    ops->load_client_timelines = store_load_client_timelines;
    ops->lock_machines = store_lock_machines;
    ops->load_timelines = store_load_timelines;
    ops->machines_of_bookings = store_machines_of_bookings;
    ops->bookings_on_machines = store_bookings_on_machines;
    ops->bookings_of_series = store_bookings_of_series;
    ops->clients_of_bookings = store_clients_of_bookings;
    ops->lock_bookings = store_lock_bookings;
    ops->find_priors = store_find_priors;
}
