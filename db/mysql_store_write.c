/* What a batch writes. The batch has locked all rows that exist, so nothing here waits. An INSERT
 * whose key is taken fails with ERR_DB_DUPLICATE: another partition was faster.
 *
 * A statement has many rows and is cut at SQL_CUT_BYTES: a round trip for each row would take longer
 * than all the rest of a batch. */
#include <assert.h>
#include <inttypes.h>

#include "db/mysql_store_parts.h"
#include "lib/codec/labels.h"

/* An INSERT that grows row by row and is sent when it is long enough. */
struct insert {
    struct mysql_store *store;
    const char *what;
    const char *head; /* "INSERT INTO … VALUES " */
    const char *tail; /* "" or " ON DUPLICATE KEY UPDATE …" */
    struct failure *f;
    size_t count; /* rows in the statement so far */
    enum err err; /* of the statements sent so far; after an error nothing more is sent */
};

static enum err insert_send(struct insert *insert)
{
    struct buf *sql = &insert->store->sql;
    if (insert->count == 0 || insert->err != ERR_OK)
        return insert->err;
    buf_puts(sql, ")");
    buf_puts(sql, insert->tail);
    insert->count = 0;
    insert->err = store_exec(insert->store, insert->what, insert->f);
    return insert->err;
}

/* Begins the next row; the caller adds its values to the buffer that is returned. */
static struct buf *insert_next(struct insert *insert)
{
    struct buf *sql = &insert->store->sql;
    if (insert->count > 0 && sql->len >= SQL_CUT_BYTES)
        insert_send(insert);
    if (insert->count++ == 0) {
        buf_clear(sql);
        buf_puts(sql, insert->head);
        buf_puts(sql, "(");
    } else {
        buf_puts(sql, "),(");
    }
    return sql;
}

static void comma(struct buf *sql)
{
    buf_append(sql, ",", 1);
}

/* ",1" */
static void comma_int(struct buf *sql, int64_t value)
{
    comma(sql);
    sql_int(sql, value);
}

/* ",x'…'" or ",NULL" */
static void comma_text(struct buf *sql, const char *text)
{
    comma(sql);
    sql_text_or_null(sql, text);
}

static void put_decision(struct buf *sql, struct mysql_session *session,
                         const struct decision_row *row)
{
    assert(row->event_len > 0 && row->event_len <= LIMIT_EVENT_LEN);
    assert(!row->request_id == !row->content_sha256);
    sql_int(sql, row->part);
    comma_int(sql, row->seq);
    comma_int(sql, row->log_offset);
    comma(sql);
    sql_bytes(sql, row->message_sha256, sizeof(row->message_sha256));
    comma_text(sql, row->client);
    comma_text(sql, row->request_id);
    comma(sql);
    sql_bytes_or_null(sql, row->content_sha256, 32);
    buf_puts(sql, row->reason == REASON_NONE ? ",'accepted'" : ",'rejected'");
    comma_text(sql, reason_name(row->reason));
    comma_text(sql, row->subject);
    comma_int(sql, row->time_ms);
    comma(sql);
    sql_quoted(sql, session, row->event, row->event_len);
}

static enum err write_decisions(struct mysql_store *store, const struct store_batch *batch,
                                struct failure *f)
{
    struct insert insert = {
        .store = store,
        .what = "insert decisions",
        .head = "INSERT INTO decision (part, seq, log_offset, message_sha256, client, request_id, "
                "content_sha256, outcome, reason, subject, time_ms, event) VALUES ",
        .tail = "",
        .f = f,
    };
    for (size_t i = 0; insert.err == ERR_OK && i < batch->decision_count; i++)
        put_decision(insert_next(&insert), store->session, &batch->decisions[i]);
    return insert_send(&insert);
}

/* Only for rows that exist, which the batch has locked. */
#define BOOKING_UPDATE                                                                             \
    " ON DUPLICATE KEY UPDATE start_ms = VALUES(start_ms), end_ms = VALUES(end_ms), "              \
    "state = VALUES(state), version = VALUES(version)"

static void put_booking(struct buf *sql, const struct booking *booking)
{
    sql_int(sql, booking->id);
    comma_text(sql, booking->client);
    comma_text(sql, booking->user);
    comma_int(sql, booking->start_ms);
    comma_int(sql, booking->end_ms);
    comma_text(sql, booking_state_name(booking->state));
    comma_int(sql, booking->version);
    if (booking->series > 0) {
        comma_int(sql, booking->series);
    } else {
        buf_puts(sql, ",NULL");
    }
}

static enum err write_bookings(struct mysql_store *store, struct world *world, bool new_ones,
                               struct failure *f)
{
    struct insert insert = {
        .store = store,
        .what = new_ones ? "insert bookings" : "update bookings",
        .head = "INSERT INTO booking (" BOOKING_COLUMNS ") VALUES ",
        .tail = new_ones ? "" : BOOKING_UPDATE,
        .f = f,
    };
    size_t count = world_touched_booking_count(world);
    for (size_t i = 0; insert.err == ERR_OK && i < count; i++) {
        const struct booking *booking = world_touched_booking(world, i);
        if (booking->is_new == new_ones)
            put_booking(insert_next(&insert), booking);
    }
    return insert_send(&insert);
}

static void put_allocation(struct buf *sql, int64_t booking, const struct allocation *row)
{
    sql_int(sql, booking);
    comma_int(sql, row->machine_id);
    comma_int(sql, row->start_ms);
    comma_int(sql, row->end_ms);
    comma_int(sql, row->amount.gpus);
    comma_int(sql, row->amount.memory_gib);
    comma_int(sql, row->live);
    comma_int(sql, row->machine_version);
}

#define ALLOCATION_UPDATE                                                                          \
    " ON DUPLICATE KEY UPDATE end_ms = VALUES(end_ms), gpus = VALUES(gpus), "                      \
    "memory_gib = VALUES(memory_gib), live = VALUES(live), "                                       \
    "machine_version = VALUES(machine_version)"

/* Writes the allocations of new bookings, or those of bookings that exist. A booking that exists may
 * have a row with the same start that is not live: a new allocation then takes that row. */
static enum err write_allocations(struct mysql_store *store, struct world *world, bool new_ones,
                                  struct failure *f)
{
    struct insert insert = {
        .store = store,
        .what = "write allocations",
        .head = "INSERT INTO allocation (booking, machine, start_ms, end_ms, gpus, memory_gib, "
                "live, machine_version) VALUES ",
        .tail = new_ones ? "" : ALLOCATION_UPDATE,
        .f = f,
    };
    size_t count = world_touched_booking_count(world);
    for (size_t i = 0; insert.err == ERR_OK && i < count; i++) {
        const struct booking *booking = world_touched_booking(world, i);
        for (size_t k = 0; insert.err == ERR_OK && k < booking->allocation_count; k++) {
            if (booking->is_new == new_ones && booking->allocations[k].touched)
                put_allocation(insert_next(&insert), booking->id, &booking->allocations[k]);
        }
    }
    return insert_send(&insert);
}

/* Only for rows that exist, which the batch has locked: id and name are both theirs. A new machine
 * must fail on a name that is taken; with this tail it would overwrite the machine that has it. */
#define MACHINE_UPDATE                                                                             \
    " ON DUPLICATE KEY UPDATE gpus = VALUES(gpus), memory_gib = VALUES(memory_gib), "              \
    "labels = VALUES(labels), state = VALUES(state), version = VALUES(version), "                  \
    "capacity_changed_ms = VALUES(capacity_changed_ms)"

static void put_machine(struct buf *sql, const struct machine *machine, struct arena *arena)
{
    sql_int(sql, machine->id);
    comma_text(sql, machine->name);
    comma_int(sql, machine->capacity.gpus);
    comma_int(sql, machine->capacity.memory_gib);
    comma_text(sql, labels_to_json(arena, &machine->labels));
    comma_text(sql, machine_state_name(machine->state));
    comma_int(sql, machine->version);
    comma_int(sql, machine->capacity_changed_ms);
}

static enum err write_machines(struct mysql_store *store, struct world *world, bool new_ones,
                               struct failure *f)
{
    struct insert insert = {
        .store = store,
        .what = new_ones ? "insert machines" : "update machines",
        .head = "INSERT INTO machine (" MACHINE_COLUMNS ") VALUES ",
        .tail = new_ones ? "" : MACHINE_UPDATE,
        .f = f,
    };
    size_t count = world_touched_machine_count(world);
    for (size_t i = 0; insert.err == ERR_OK && i < count; i++) {
        const struct machine *machine = world_touched_machine(world, i);
        if (machine->is_new == new_ones)
            put_machine(insert_next(&insert), machine, world_arena(world));
    }
    return insert_send(&insert);
}

static enum err write_some_clients(struct mysql_store *store, struct world *world, size_t from,
                                   size_t to, struct failure *f)
{
    struct buf *sql = &store->sql;
    buf_clear(sql);
    buf_puts(sql, "UPDATE client FORCE INDEX (PRIMARY) SET version = CASE name");
    for (size_t i = from; i < to; i++) {
        const struct client *client = world_touched_client(world, i);
        buf_puts(sql, " WHEN ");
        sql_text(sql, client->name);
        buf_printf(sql, " THEN %" PRId64, client->version);
    }
    buf_puts(sql, " END WHERE name IN (");
    for (size_t i = from; i < to; i++) {
        if (i > from)
            comma(sql);
        sql_text(sql, world_touched_client(world, i)->name);
    }
    buf_puts(sql, ")");
    return store_exec(store, "update clients", f);
}

/* Writes the versions of the clients, all of which the batch has locked. */
static enum err write_clients(struct mysql_store *store, struct world *world, struct failure *f)
{
    enum err err = ERR_OK;
    size_t count = world_touched_client_count(world);
    for (size_t from = 0, to; err == ERR_OK && from < count; from = to) {
        to = count - from < IN_LIST_MAX ? count : from + IN_LIST_MAX;
        err = write_some_clients(store, world, from, to, f);
    }
    return err;
}

static enum err write_partition(struct mysql_store *store, const struct partition_row *row,
                                struct failure *f)
{
    struct buf *sql = &store->sql;
    buf_clear(sql);
    buf_printf(sql,
               "UPDATE request_partition SET next_offset = %" PRId64 ", last_seq = %" PRId64
               ", published_seq = GREATEST(published_seq, %" PRId64 "), clock_ms = %" PRId64
               ", progress_epoch = %" PRId64 ", connection_id = %" PRIu64 ", last_sha256 = ",
               row->next_offset, row->last_seq, row->published_seq, row->clock_ms,
               row->progress_epoch, mysql_session_id(store->session));
    sql_bytes_or_null(sql, row->has_last_sha256 ? row->last_sha256 : NULL,
                      sizeof(row->last_sha256));
    buf_printf(sql, " WHERE part = %" PRId32 " AND epoch = %" PRId64, row->part, row->epoch);
    enum err err = store_exec(store, "update the partition", f);
    return err != ERR_OK ? err : store_check_epoch(store, row->part, row->epoch, f);
}

static enum err store_write(void *self, const struct store_batch *batch, struct failure *f)
{
    typedef enum err write_fn(struct mysql_store *, struct world *, bool, struct failure *);
    static write_fn *const writes[] = {write_machines, write_bookings, write_allocations};
    struct mysql_store *store = self;
    assert(store->in_transaction);
    enum err err = write_decisions(store, batch, f);
    if (err == ERR_OK)
        err = write_clients(store, batch->world, f);
    for (size_t i = 0; err == ERR_OK && i < sizeof(writes) / sizeof(writes[0]); i++) {
        err = writes[i](store, batch->world, true, f);
        if (err == ERR_OK)
            err = writes[i](store, batch->world, false, f);
    }
    for (size_t i = 0; err == ERR_OK && i < batch->partition_count; i++)
        err = write_partition(store, &batch->partitions[i], f);
    return err;
}

void store_add_write(struct store_ops *ops)
{
    ops->write = store_write;
}
