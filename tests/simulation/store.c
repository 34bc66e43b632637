/* The store port on the simulated database. It behaves as db/mysql_store*.c do, call by call. */
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "core/map.h"
#include "lib/base/mem.h"
#include "lib/codec/labels.h"
#include "tests/simulation/check.h"
#include "tests/simulation/database.h"
#include "tests/simulation/disaster.h"
#include "tests/simulation/process.h"
#include "tests/simulation/store_client.h"

/* A COMMIT whose reply is lost may be executed that much later. */
#define LATE_COMMIT_MS 8000
/* Each statement of a slow database takes up to this long. */
#define SLOW_MS        1500

struct store_client {
    struct process *process;
    struct sim *sim;
    struct database *db;
    struct session *session; /* NULL: not connected */
    bool in_transaction;
    int64_t seen;
    const struct id_list *locked; /* machines, when its transaction writes */
};

/* What is to happen to a call. `AFTER`: it has its effect, but the reply does not come. */
enum fate { GOES_WELL, LOST_BEFORE, LOST_AFTER };

/* --- calls --- */

static enum err not_connected(struct failure *f)
{
    return failure_set(f, ERR_DB_CONNECTION, "the connection to the database was lost");
}

/* The client gives its session up. The server may notice, or keep it until wait_timeout. */
static void lose_session(struct store_client *c)
{
    struct session *session = c->session;
    c->session = NULL;
    if (!session)
        return;
    session->busy = false;
    session->process = NULL;
    if (!session->commit_pending && sim_chance(c->sim, 500000))
        session_drop(c->sim, session);
}

/* An error that the server returns at once. */
static enum err refuse(struct store_client *c, struct failure *f)
{
    c->sim->count.faults++;
    switch (sim_below(c->sim, 4)) {
    case 0:
        session_rollback(c->sim, c->session);
        return failure_set(f, ERR_DB_DEADLOCK, "deadlock");
    case 2:
        return failure_set(f, ERR_DB_ERROR, "an error that nobody has heard of");
    case 1:
        process_sleep_us(c->process, 3000 * SIM_US_PER_MS);
        return failure_set(f, ERR_DB_LOCK_TIMEOUT, "lock wait timed out");
    default:
        return failure_set(f, ERR_DB_SERVER, "the server refuses");
    }
}

/* The way to the server. ERR_OK: the statement is to be executed; then `leave` must follow. */
static enum err arrive(struct store_client *c, const char *what, enum fate *fate, struct failure *f)
{
    struct sim *sim = c->sim;
    process_call(c->process, what);
    if (sim->now_us < c->db->slow_until_us && !sim->healed)
        process_sleep_us(c->process, sim_between(sim, 0, SLOW_MS * SIM_US_PER_MS));
    *fate = GOES_WELL;
    if (!c->session || !c->session->alive) {
        c->session = NULL;
        return not_connected(f);
    }
    if (!sim->healed && sim_chance(sim, sim->plan.store_cut)) {
        sim->count.faults++;
        *fate = sim_chance(sim, 500000) ? LOST_BEFORE : LOST_AFTER;
    }
    if (*fate == LOST_BEFORE) {
        lose_session(c);
        return not_connected(f);
    }
    c->session->busy = true;
    if (!sim->healed && sim_chance(sim, sim->plan.store_error)) {
        enum err err = refuse(c, f);
        c->session->busy = false;
        c->session->used_us = sim->now_us;
        return err;
    }
    return ERR_OK;
}

static enum err leave(struct store_client *c, enum err err, enum fate fate, struct failure *f)
{
    struct session *session = c->session;
    session->busy = false;
    session->used_us = c->sim->now_us;
    process_travel(c->process);
    if (fate == LOST_AFTER) {
        lose_session(c);
        return not_connected(f);
    }
    if (err == ERR_DB_CONNECTION) /* dropped while it waited */
        c->session = NULL;
    return err;
}

static enum err lock(struct store_client *c, enum lock_kind kind, uint64_t key, struct failure *f)
{
    enum err err = session_lock(c->session, kind, key);
    return err == ERR_OK ? ERR_OK : failure_set(f, err, "lock a row: %s", err_name(err));
}

/* --- session --- */

static enum err store_connect(void *self, struct failure *f)
{
    struct store_client *c = self;
    process_call(c->process, "connect");
    c->in_transaction = false;
    if (c->session) {
        struct session *old = c->session;
        c->session = NULL;
        old->process = NULL;
        if (!old->commit_pending)
            session_drop(c->sim, old);
    }
    if (c->db->down || (!c->sim->healed && sim_chance(c->sim, c->sim->plan.store_cut)))
        return failure_set(f, ERR_DB_CONNECTION, "connect: nobody answers");
    c->session = session_new(c->db, c->process);
    process_travel(c->process);
    return ERR_OK;
}

static uint64_t store_connection_id(void *self)
{
    struct store_client *c = self;
    return c->session ? c->session->id : 0;
}

static enum err store_ping(void *self, struct failure *f)
{
    struct store_client *c = self;
    enum fate fate;
    enum err err = arrive(c, "ping", &fate, f);
    return err != ERR_OK ? err : leave(c, ERR_OK, fate, f);
}

static enum err store_kill(void *self, uint64_t connection_id, struct failure *f)
{
    struct store_client *c = self;
    enum fate fate;
    enum err err = arrive(c, "kill", &fate, f);
    if (err != ERR_OK)
        return err;
    struct session *other = database_session(c->db, connection_id);
    if (other && other != c->session)
        session_drop(c->sim, other);
    return leave(c, ERR_OK, fate, f);
}

/* --- each a transaction of its own --- */

static enum err store_farm(void *self, struct farm_row *out, struct failure *f)
{
    struct store_client *c = self;
    enum fate fate;
    assert(!c->in_transaction);
    enum err err = arrive(c, "farm", &fate, f);
    if (err != ERR_OK)
        return err;
    struct farm_row row = c->db->now.farm;
    err = leave(c, ERR_OK, fate, f);
    if (err == ERR_OK)
        *out = row;
    return err;
}

static void copy_why(char *to, const char *why)
{
    size_t len = strnlen(why, STORE_HALT_LEN - 1);
    memcpy(to, why, len);
    to[len] = '\0';
}

static enum err store_halt_farm(void *self, struct halt halt, struct failure *f)
{
    struct store_client *c = self;
    enum fate fate;
    assert(!c->in_transaction && halt.cause != HALT_NONE && halt.why[0]);
    enum err err = arrive(c, "halt_farm", &fate, f);
    if (err != ERR_OK)
        return err;
    struct farm_row *farm = &c->db->now.farm;
    if (!farm->halted[0]) {
        copy_why(farm->halted, halt.why);
        farm->halt_cause = halt.cause;
    }
    return leave(c, ERR_OK, fate, f);
}

static enum err store_keys(void *self, store_key_fn *fn, void *arg, struct failure *f)
{
    struct store_client *c = self;
    enum fate fate;
    assert(!c->in_transaction);
    enum err err = arrive(c, "keys", &fate, f);
    if (err != ERR_OK)
        return err;
    database_keys(c->db, c->db->now.farm.key_generation, fn, arg);
    return leave(c, ERR_OK, fate, f);
}

static enum err store_clients(void *self, store_client_fn *fn, void *arg, struct failure *f)
{
    struct store_client *c = self;
    enum fate fate;
    assert(!c->in_transaction);
    enum err err = arrive(c, "clients", &fate, f);
    if (err != ERR_OK)
        return err;
    database_clients(c->db, c->db->now.farm.key_generation, fn, arg);
    return leave(c, ERR_OK, fate, f);
}

static enum err store_partition(void *self, int32_t part, struct partition_row *out,
                                struct failure *f)
{
    struct store_client *c = self;
    enum fate fate;
    assert(!c->in_transaction);
    enum err err = arrive(c, "partition", &fate, f);
    if (err != ERR_OK)
        return err;
    const struct partition_row *found = database_partition(c->db, part);
    if (!found) {
        return leave(c, failure_set(f, ERR_NOT_FOUND, "no row for partition %" PRId32, part), fate,
                     f);
    }
    struct partition_row row = *found;
    err = leave(c, ERR_OK, fate, f);
    if (err == ERR_OK)
        *out = row;
    return err;
}

/* Locks the row and copies it. ERR_OK: `row` may be changed and committed. */
static enum err begin_change(struct store_client *c, int32_t part, struct partition_row *row,
                             struct failure *f)
{
    enum err err = lock(c, LOCK_PARTITION, (uint64_t)part, f);
    if (err != ERR_OK)
        return err;
    const struct partition_row *found = database_partition(c->db, part);
    if (!found)
        return failure_set(f, ERR_NOT_FOUND, "no row for partition %" PRId32, part);
    *row = *found;
    return ERR_OK;
}

static void commit_change(struct store_client *c, const struct partition_row *row)
{
    *LIST_ADD(c->sim, &c->session->writes.partitions) = *row;
    session_commit(c->sim, c->session);
}

static enum err claim_once(struct store_client *c, int32_t part, struct partition_row *out,
                           struct failure *f)
{
    struct partition_row row;
    enum err err = begin_change(c, part, &row, f);
    if (err != ERR_OK) {
        if (c->session->alive)
            session_rollback(c->sim, c->session);
        return err;
    }
    row.epoch++;
    row.connection_id = c->session->id;
    check_claim(c->sim, c->process, part);
    commit_change(c, &row);
    /* Not before: a replica that lacks this claim has the owner before it. */
    c->db->now.owners[part] = c->process->life;
    *out = row;
    return ERR_OK;
}

static enum err store_claim(void *self, int32_t part, const char *owner, struct partition_row *out,
                            struct failure *f)
{
    enum { TRIES = 3 };
    struct store_client *c = self;
    enum fate fate;
    struct partition_row row;
    (void)owner;
    assert(!c->in_transaction);
    enum err err = arrive(c, "claim", &fate, f);
    if (err != ERR_OK)
        return err;
    err = claim_once(c, part, &row, f);
    for (int i = 1; i < TRIES && err == ERR_DB_LOCK_TIMEOUT; i++) {
        uint64_t id = database_partition(c->db, part)->connection_id;
        struct session *other = database_session(c->db, id);
        if (other && other != c->session)
            session_drop(c->sim, other);
        err = claim_once(c, part, &row, f);
    }
    err = leave(c, err, fate, f);
    if (err != ERR_OK)
        return err;
    c->process->claimed_at[part] = broker_client_assignments(c->process->broker);
    *out = row;
    return ERR_OK;
}

/* The change of one row, if it still has the epoch. */
static enum err change(struct store_client *c, const char *what, const struct partition_row *to,
                       struct failure *f)
{
    enum fate fate;
    struct partition_row row;
    assert(!c->in_transaction);
    enum err err = arrive(c, what, &fate, f);
    if (err != ERR_OK)
        return err;
    err = begin_change(c, to->part, &row, f);
    if (err == ERR_OK && row.epoch != to->epoch) {
        err = failure_set(f, ERR_EPOCH_LOST, "partition %" PRId32 " has epoch %" PRId64, to->part,
                          row.epoch);
    }
    if (err != ERR_OK) {
        if (c->session->alive)
            session_rollback(c->sim, c->session);
        return leave(c, err, fate, f);
    }
    if (to->published_seq > row.published_seq)
        row.published_seq = to->published_seq;
    if (to->halted[0]) {
        memcpy(row.halted, to->halted, sizeof(row.halted));
        row.halt_cause = to->halt_cause;
    }
    commit_change(c, &row);
    return leave(c, ERR_OK, fate, f);
}

static enum err store_halt_partition(void *self, int32_t part, int64_t epoch, struct halt halt,
                                     struct failure *f)
{
    struct partition_row to = {.part = part, .epoch = epoch, .halt_cause = halt.cause};
    copy_why(to.halted, halt.why);
    ((struct store_client *)self)->process->claimed_at[part] = 0; /* see check_claim() */
    return change(self, "halt_partition", &to, f);
}

static enum err store_set_published(void *self, int32_t part, int64_t epoch, int64_t seq,
                                    struct failure *f)
{
    struct partition_row to = {.part = part, .epoch = epoch, .published_seq = seq};
    return change(self, "set_published", &to, f);
}

/* Rows come one by one; between two of them time passes, and the connection can be lost. */
static enum err store_outbox(void *self, int32_t part, int64_t after_seq, size_t limit,
                             store_event_fn *fn, void *arg, struct failure *f)
{
    struct store_client *c = self;
    struct sim *sim = c->sim;
    enum fate fate;
    assert(!c->in_transaction);
    enum err err = arrive(c, "outbox", &fate, f);
    if (err != ERR_OK)
        return err;
    LIST_OF(struct decision_row) rows = {0};
    for (size_t i = 0; i < c->db->now.decisions.count && rows.count < limit; i++) {
        const struct decision_row *row = &c->db->now.decisions.items[i].row;
        if (row->part == part && row->seq > after_seq)
            *LIST_ADD(sim, &rows) = *row;
    }
    for (size_t i = 0; err == ERR_OK && i < rows.count; i++) {
        const struct decision_row *row = &rows.items[i];
        assert(i == 0 || row->seq > rows.items[i - 1].seq);
        struct stored_event event = {.part = part,
                                     .seq = row->seq,
                                     .accepted = row->reason == REASON_NONE,
                                     .subject = row->subject,
                                     .event = row->event,
                                     .event_len = row->event_len};
        err = fn(arg, &event, f);
        if (err == ERR_OK && fate == LOST_AFTER && sim_chance(sim, 300000))
            break;
    }
    if (err != ERR_OK && fate == LOST_AFTER)
        fate = GOES_WELL; /* the callback's own error is what its caller gets to see */
    return leave(c, err, fate, f);
}

/* --- the batch's transaction --- */

static enum err store_begin(void *self, struct failure *f)
{
    struct store_client *c = self;
    (void)f;
    assert(!c->in_transaction);
    c->in_transaction = true;
    c->seen = c->db->now.commits;
    return ERR_OK;
}

static enum err store_lock_partitions(void *self, const int32_t *parts, size_t count,
                                      struct partition_row *rows_out, struct farm_row *farm_out,
                                      struct failure *f)
{
    struct store_client *c = self;
    enum fate fate;
    assert(c->in_transaction && count > 0);
    enum err err = arrive(c, "lock_partitions", &fate, f);
    if (err != ERR_OK)
        return err;
    check_lock_order(c->sim, c->session, LOCK_PARTITION);
    check_old_sessions(c->sim, c->session);
    for (size_t i = 0; err == ERR_OK && i < count; i++) {
        assert(i == 0 || parts[i - 1] < parts[i]);
        err = lock(c, LOCK_PARTITION, (uint64_t)parts[i], f);
    }
    for (size_t i = 0; err == ERR_OK && i < count; i++) {
        const struct partition_row *row = database_partition(c->db, parts[i]);
        if (!row) {
            err = failure_set(f, ERR_NOT_FOUND, "no row for partition %" PRId32, parts[i]);
        } else {
            rows_out[i] = *row;
        }
    }
    if (err == ERR_OK) {
        *farm_out = c->db->now.farm;
        c->session->key_generation = farm_out->key_generation;
        c->session->saw_halt = farm_out->halted[0] != '\0';
    }
    return leave(c, err, fate, f);
}

static void put_machine(struct store_client *c, const struct machine_row *row, struct world *world)
{
    struct machine machine = {.id = row->id,
                              .capacity = row->capacity,
                              .state = row->state,
                              .version = row->version,
                              .capacity_changed_ms = row->capacity_changed_ms};
    memcpy(machine.name, row->name, strlen(row->name) + 1);
    bool valid = labels_from_json(row->labels, strlen(row->labels), world_arena(world),
                                  &machine.labels);
    assert(valid);
    (void)c;
    world_machine_put(world, &machine);
}

static enum err store_find_machines(void *self, const char *const *names, size_t count,
                                    struct world *world, struct failure *f)
{
    struct store_client *c = self;
    enum fate fate;
    enum err err = arrive(c, "find_machines", &fate, f);
    if (err != ERR_OK)
        return err;
    for (size_t i = 0; i < count && fate == GOES_WELL; i++) {
        const struct machine_row *row = database_machine_named(c->db, names[i]);
        if (row)
            put_machine(c, row, world);
    }
    return leave(c, ERR_OK, fate, f);
}

static enum err store_find_machines_by_id(void *self, const int64_t *ids, size_t count,
                                          struct world *world, struct failure *f)
{
    struct store_client *c = self;
    enum fate fate;
    enum err err = arrive(c, "find_machines_by_id", &fate, f);
    if (err != ERR_OK)
        return err;
    for (size_t i = 0; i < count && fate == GOES_WELL; i++) {
        const struct machine_row *row = database_machine(c->db, ids[i]);
        if (row)
            put_machine(c, row, world);
    }
    return leave(c, ERR_OK, fate, f);
}

/* More than match: those that are up, and sometimes do not carry the labels. */
static enum err store_machines_matching(void *self, const struct labels *labels,
                                        struct world *world, struct id_list *out, struct failure *f)
{
    struct store_client *c = self;
    enum fate fate;
    enum err err = arrive(c, "machines_matching", &fate, f);
    if (err != ERR_OK)
        return err;
    for (size_t i = 0; fate == GOES_WELL && i < c->db->now.machines.count; i++) {
        const struct machine_row *row = &c->db->now.machines.items[i];
        bool matches = row->state == MACHINE_UP;
        for (size_t k = 0; k < labels->count; k++) {
            const char *json = labels_to_json(world_arena(world),
                                              &(struct labels){1, &labels->items[k]});
            const char *pair = arena_strndup(world_arena(world), json + 1, strlen(json) - 2);
            matches = matches && strstr(row->labels, pair);
        }
        if (matches || (row->state == MACHINE_UP && row->id % 3 == 0)) {
            put_machine(c, row, world);
            id_list_add(out, row->id);
        }
    }
    return leave(c, ERR_OK, fate, f);
}

/* --- clients --- */

static void put_clients(struct store_client *c, const struct client *clients, size_t count,
                        struct world *world)
{
    for (size_t i = 0; i < count; i++) {
        struct client client = clients[i];
        client.version = database_client(c->db, client.name)->version;
        world_client_put(world, &client);
    }
}

static enum err store_find_clients(void *self, const struct client *clients, size_t count,
                                   struct world *world, struct failure *f)
{
    struct store_client *c = self;
    enum fate fate;
    enum err err = arrive(c, "find_clients", &fate, f);
    if (err != ERR_OK)
        return err;
    if (fate == GOES_WELL)
        put_clients(c, clients, count, world);
    return leave(c, ERR_OK, fate, f);
}

static enum err store_lock_clients(void *self, const struct client *clients, size_t count,
                                   struct world *world, struct failure *f)
{
    struct store_client *c = self;
    enum fate fate;
    assert(c->in_transaction);
    enum err err = arrive(c, "lock_clients", &fate, f);
    if (err != ERR_OK)
        return err;
    check_lock_order(c->sim, c->session, LOCK_CLIENT);
    for (size_t i = 0; err == ERR_OK && i < count; i++) {
        assert(i == 0 || strcmp(clients[i - 1].name, clients[i].name) < 0);
        err = lock(c, LOCK_CLIENT, map_hash_text(MAP_SEED, clients[i].name), f);
    }
    if (err == ERR_OK && fate == GOES_WELL)
        put_clients(c, clients, count, world);
    return leave(c, err, fate, f);
}

static void load_client(struct store_client *c, struct world *world, struct client *client,
                        int64_t known_from_ms)
{
    const struct tables *now = &c->db->now;
    world_client_timeline_start(world, client, known_from_ms);
    for (size_t k = 0; k < now->allocations.count; k++) {
        const struct allocation_row *row = &now->allocations.items[k];
        if (row->live && row->end_ms > known_from_ms &&
            strcmp(database_booking(c->db, row->booking)->client, client->name) == 0)
            world_client_timeline_add(world, client, row->start_ms, row->end_ms, row->amount);
    }
}

static enum err store_load_client_timelines(void *self, struct world *world,
                                            struct client *const *clients, size_t count,
                                            int64_t known_from_ms, struct failure *f)
{
    struct store_client *c = self;
    enum fate fate;
    enum err err = arrive(c, "load_client_timelines", &fate, f);
    if (err != ERR_OK)
        return err;
    for (size_t i = 0; i < count && fate == GOES_WELL; i++)
        load_client(c, world, clients[i], known_from_ms);
    return leave(c, ERR_OK, fate, f);
}

/* --- machines and bookings --- */

/* A batch is tried again only after the consumer was polled. */
static enum err note_attempt(struct store_client *c, enum err err)
{
    bool again = err == ERR_DB_DEADLOCK || err == ERR_DB_LOCK_TIMEOUT;
    if (again && ++c->process->failed_attempts > 1)
        sim_fail(c->sim, "%s tries a batch again, and has not polled in between", c->process->name);
    return err;
}

/* Loading a timeline that is not there at all takes long, so it is done before the locks. */
static void check_is_warm(struct sim *sim, struct world *world, int64_t id)
{
    const struct machine *machine = world_machine_by_id(world, id);
    if (!machine || !machine->timeline)
        sim_fail(sim, "machine %" PRId64 " is locked, and its timeline was not loaded before", id);
}

static enum err store_lock_machines(void *self, const struct id_list *ids, struct world *world,
                                    struct failure *f)
{
    struct store_client *c = self;
    enum fate fate;
    assert(c->in_transaction);
    enum err err = arrive(c, "lock_machines", &fate, f);
    if (err != ERR_OK)
        return note_attempt(c, err);
    check_lock_order(c->sim, c->session, LOCK_MACHINE);
    for (size_t i = 0; err == ERR_OK && i < ids->count; i++) {
        check_is_warm(c->sim, world, ids->ids[i]);
        if (database_machine(c->db, ids->ids[i]))
            err = lock(c, LOCK_MACHINE, (uint64_t)ids->ids[i], f);
    }
    for (size_t i = 0; err == ERR_OK && fate == GOES_WELL && i < ids->count; i++) {
        const struct machine_row *row = database_machine(c->db, ids->ids[i]);
        if (row)
            put_machine(c, row, world);
    }
    return note_attempt(c, leave(c, err, fate, f));
}

static enum err store_load_timelines(void *self, struct world *world,
                                     struct machine *const *machines, size_t count,
                                     int64_t known_from_ms, struct failure *f)
{
    struct store_client *c = self;
    enum fate fate;
    enum err err = arrive(c, "load_timelines", &fate, f);
    if (err != ERR_OK)
        return err;
    const struct tables *now = &c->db->now;
    for (size_t i = 0; i < count && fate == GOES_WELL; i++) {
        world_timeline_start(world, machines[i], known_from_ms);
        for (size_t k = 0; k < now->allocations.count; k++) {
            const struct allocation_row *row = &now->allocations.items[k];
            if (row->machine == machines[i]->id && row->live && row->end_ms > known_from_ms)
                world_timeline_add(world, machines[i], row->start_ms, row->end_ms, row->amount);
        }
    }
    return leave(c, ERR_OK, fate, f);
}

static enum err store_machines_of_bookings(void *self, const struct id_list *bookings,
                                           struct id_list *out, struct failure *f)
{
    struct store_client *c = self;
    enum fate fate;
    enum err err = arrive(c, "machines_of_bookings", &fate, f);
    if (err != ERR_OK)
        return err;
    const struct tables *now = &c->db->now;
    for (size_t k = 0; fate == GOES_WELL && k < now->allocations.count; k++) {
        if (database_has_id(bookings, now->allocations.items[k].booking))
            id_list_add(out, now->allocations.items[k].machine);
    }
    return leave(c, ERR_OK, fate, f);
}

static enum err store_bookings_on_machines(void *self, const struct id_list *machines,
                                           int64_t from_ms, struct id_list *out, struct failure *f)
{
    struct store_client *c = self;
    enum fate fate;
    enum err err = arrive(c, "bookings_on_machines", &fate, f);
    if (err != ERR_OK)
        return err;
    const struct tables *now = &c->db->now;
    for (size_t k = 0; fate == GOES_WELL && k < now->allocations.count; k++) {
        const struct allocation_row *row = &now->allocations.items[k];
        if (row->live && row->end_ms > from_ms && database_has_id(machines, row->machine) &&
            database_booking(c->db, row->booking)->state == BOOKING_BOOKED)
            id_list_add(out, row->booking);
    }
    return leave(c, ERR_OK, fate, f);
}

static enum err store_bookings_of_series(void *self, int64_t series, struct id_list *out,
                                         struct failure *f)
{
    struct store_client *c = self;
    enum fate fate;
    int64_t ids[LIMIT_OCCURRENCES];
    size_t count = series_booking_ids(series, ids);
    enum err err = arrive(c, "bookings_of_series", &fate, f);
    if (err != ERR_OK)
        return err;
    for (size_t i = 0; fate == GOES_WELL && i < count; i++) {
        const struct booking_row *row = database_booking(c->db, ids[i]);
        if (row && row->series == series)
            id_list_add(out, row->id);
    }
    return leave(c, ERR_OK, fate, f);
}

static enum err store_clients_of_bookings(void *self, const struct id_list *bookings,
                                          store_name_fn *fn, void *arg, struct failure *f)
{
    struct store_client *c = self;
    enum fate fate;
    enum err err = arrive(c, "clients_of_bookings", &fate, f);
    if (err != ERR_OK)
        return err;
    for (size_t i = 0; fate == GOES_WELL && i < bookings->count; i++) {
        const struct booking_row *row = database_booking(c->db, bookings->ids[i]);
        if (row)
            fn(arg, row->client);
    }
    return leave(c, ERR_OK, fate, f);
}

static void put_booking(struct store_client *c, const struct booking_row *row, struct world *world)
{
    const struct tables *now = &c->db->now;
    struct booking *booking = world_booking_put(world, &(struct booking){.id = row->id,
                                                                         .series = row->series,
                                                                         .client = row->client,
                                                                         .user = row->user,
                                                                         .start_ms = row->start_ms,
                                                                         .end_ms = row->end_ms,
                                                                         .state = row->state,
                                                                         .version = row->version});
    for (size_t k = 0; k < now->allocations.count; k++) {
        const struct allocation_row *share = &now->allocations.items[k];
        if (share->booking == row->id) {
            world_allocation_add(world, booking,
                                 &(struct allocation){.machine_id = share->machine,
                                                      .start_ms = share->start_ms,
                                                      .end_ms = share->end_ms,
                                                      .amount = share->amount,
                                                      .live = share->live,
                                                      .machine_version = share->machine_version});
        }
    }
}

static enum err store_lock_bookings(void *self, const struct id_list *ids, struct world *world,
                                    struct failure *f)
{
    struct store_client *c = self;
    enum fate fate;
    assert(c->in_transaction);
    enum err err = arrive(c, "lock_bookings", &fate, f);
    if (err != ERR_OK)
        return err;
    check_lock_order(c->sim, c->session, LOCK_BOOKING);
    for (size_t i = 0; err == ERR_OK && i < ids->count; i++) {
        if (database_booking(c->db, ids->ids[i]))
            err = lock(c, LOCK_BOOKING, (uint64_t)ids->ids[i], f);
    }
    for (size_t i = 0; err == ERR_OK && fate == GOES_WELL && i < ids->count; i++) {
        const struct booking_row *row = database_booking(c->db, ids->ids[i]);
        if (row)
            put_booking(c, row, world);
    }
    return leave(c, err, fate, f);
}

static bool used_by(const struct decision_row *row, const char *client, const char *request_id)
{
    return row->request_id && strcmp(row->request_id, request_id) == 0 &&
           strcmp(row->client, client) == 0;
}

static enum err store_find_priors(void *self, const struct request_ref *refs, size_t count,
                                  struct world *world, struct failure *f)
{
    struct store_client *c = self;
    enum fate fate;
    enum err err = arrive(c, "find_priors", &fate, f);
    if (err != ERR_OK)
        return err;
    const struct tables *now = &c->db->now;
    for (size_t i = 0; fate == GOES_WELL && i < count; i++) {
        for (size_t k = 0; k < now->decisions.count; k++) {
            const struct decision_row *row = &now->decisions.items[k].row;
            if (!used_by(row, refs[i].client, refs[i].request_id))
                continue;
            struct prior prior = {.client = row->client,
                                  .request_id = row->request_id,
                                  .part = row->part,
                                  .seq = row->seq,
                                  .reason = row->reason,
                                  .subject = row->subject,
                                  .event = row->event,
                                  .event_len = row->event_len};
            memcpy(prior.content_sha256, row->content_sha256, sizeof(prior.content_sha256));
            world_prior_put(world, &prior);
        }
    }
    return leave(c, ERR_OK, fate, f);
}

/* --- what a batch writes --- */

static enum err duplicate(struct failure *f, const char *what)
{
    return failure_set(f, ERR_DB_DUPLICATE, "insert: duplicate %s", what);
}

static enum err write_decision(struct store_client *c, const struct decision_row *row,
                               struct failure *f)
{
    if (disaster_refuses(c->sim, row))
        return failure_set(f, ERR_DB_ERROR, "insert: the database does not take this");
    if (row->request_id) {
        uint64_t hash = map_hash_text(map_hash_text(MAP_SEED, row->client), row->request_id);
        enum err err = lock(c, LOCK_REQUEST, hash, f);
        if (err != ERR_OK)
            return err;
    }
    const struct tables *now = &c->db->now;
    for (size_t i = 0; i < now->decisions.count; i++) {
        const struct decision_row *old = &now->decisions.items[i].row;
        if (old->part == row->part && (old->seq == row->seq || old->log_offset == row->log_offset))
            return duplicate(f, "decision");
        if (row->request_id && used_by(old, row->client, row->request_id))
            return duplicate(f, "request id");
    }
    struct stored_decision *copy = LIST_ADD(c->sim, &c->session->writes.decisions);
    *copy = (struct stored_decision){.row = *row,
                                     .locked = c->locked,
                                     .seen = c->seen,
                                     .key_generation = c->session->key_generation};
    copy->row.client = sim_copy(c->sim, row->client);
    copy->row.request_id = sim_copy(c->sim, row->request_id);
    copy->row.subject = sim_copy(c->sim, row->subject);
    copy->row.event = arena_strndup(c->sim->arena, row->event, row->event_len);
    if (row->content_sha256) {
        uint8_t *sha256 = arena_alloc(c->sim->arena, 32);
        memcpy(sha256, row->content_sha256, 32);
        copy->row.content_sha256 = sha256;
    }
    return ERR_OK;
}

/* Nobody but the batch's own lock lets a version grow. */
static void write_client(struct store_client *c, const struct client *client)
{
    if (!session_holds(c->db, c->session, LOCK_CLIENT, map_hash_text(MAP_SEED, client->name)))
        sim_fail(c->sim, "the row of client %s is written without its lock", client->name);
    *LIST_ADD(c->sim, &c->session->writes.clients) = (struct client_version){
        sim_copy(c->sim, client->name), client->version};
}

static enum err write_machine(struct store_client *c, const struct machine *machine,
                              struct world *world, struct failure *f)
{
    enum err err = lock(c, LOCK_MACHINE, (uint64_t)machine->id, f);
    if (err == ERR_OK && machine->is_new)
        err = lock(c, LOCK_NAME, map_hash_text(MAP_SEED, machine->name), f);
    if (err != ERR_OK)
        return err;
    const struct machine_row *old = database_machine(c->db, machine->id);
    if (machine->is_new && (old || database_machine_named(c->db, machine->name)))
        return duplicate(f, "machine");
    *LIST_ADD(c->sim, &c->session->writes.machines) = (struct machine_row){
        .id = machine->id,
        .name = sim_copy(c->sim, machine->name),
        .labels = sim_copy(c->sim, labels_to_json(world_arena(world), &machine->labels)),
        .capacity = machine->capacity,
        .state = machine->state,
        .version = machine->version,
        .capacity_changed_ms = machine->capacity_changed_ms,
        .born = old ? old->born : 0};
    return ERR_OK;
}

static enum err write_booking(struct store_client *c, const struct booking *booking,
                              struct failure *f)
{
    enum err err = lock(c, LOCK_BOOKING, (uint64_t)booking->id, f);
    if (err != ERR_OK)
        return err;
    const struct booking_row *old = database_booking(c->db, booking->id);
    if (booking->is_new && old)
        return duplicate(f, "booking");
    *LIST_ADD(c->sim, &c->session->writes.bookings) = (struct booking_row){
        .id = booking->id,
        .series = booking->series,
        .client = sim_copy(c->sim, booking->client),
        .user = sim_copy(c->sim, booking->user),
        .start_ms = booking->start_ms,
        .end_ms = booking->end_ms,
        .state = booking->state,
        .version = booking->version,
        .born = old ? old->born : 0};
    for (size_t k = 0; k < booking->allocation_count; k++) {
        const struct allocation *row = &booking->allocations[k];
        if (row->touched) {
            *LIST_ADD(c->sim, &c->session->writes.allocations) = (struct allocation_row){
                .booking = booking->id,
                .machine = row->machine_id,
                .start_ms = row->start_ms,
                .end_ms = row->end_ms,
                .amount = row->amount,
                .live = row->live,
                .machine_version = row->machine_version};
        }
    }
    return ERR_OK;
}

static enum err write_partition(struct store_client *c, const struct partition_row *to,
                                struct failure *f)
{
    struct partition_row row;
    enum err err = begin_change(c, to->part, &row, f);
    if (err != ERR_OK)
        return err;
    if (row.epoch != to->epoch) {
        return failure_set(f, ERR_EPOCH_LOST, "partition %" PRId32 " has epoch %" PRId64, to->part,
                           row.epoch);
    }
    row.next_offset = to->next_offset;
    row.last_seq = to->last_seq;
    if (to->published_seq > row.published_seq)
        row.published_seq = to->published_seq;
    row.clock_ms = to->clock_ms;
    row.progress_epoch = to->progress_epoch;
    row.connection_id = c->session->id;
    row.has_last_sha256 = to->has_last_sha256;
    memcpy(row.last_sha256, to->last_sha256, sizeof(row.last_sha256));
    *LIST_ADD(c->sim, &c->session->writes.partitions) = row;
    return ERR_OK;
}

/* Inserts wait for those of others, and fail if those commit; so they may go one after the other,
 * with time in between. */
static enum err write_rows(struct store_client *c, const struct store_batch *batch,
                           struct failure *f)
{
    enum err err = ERR_OK;
    struct world *world = batch->world;
    c->locked = session_locked(c->sim, c->session, LOCK_MACHINE);
    for (size_t i = 0; err == ERR_OK && i < batch->decision_count; i++)
        err = write_decision(c, &batch->decisions[i], f);
    process_sleep_us(c->process, sim_between(c->sim, 0, c->sim->plan.latency_us));
    if (err == ERR_OK && !c->session->alive)
        return not_connected(f);
    for (size_t i = 0; err == ERR_OK && i < world_touched_client_count(world); i++)
        write_client(c, world_touched_client(world, i));
    for (size_t i = 0; err == ERR_OK && i < world_touched_machine_count(world); i++)
        err = write_machine(c, world_touched_machine(world, i), world, f);
    process_sleep_us(c->process, sim_between(c->sim, 0, c->sim->plan.latency_us));
    if (err == ERR_OK && !c->session->alive)
        return not_connected(f);
    for (size_t i = 0; err == ERR_OK && i < world_touched_booking_count(world); i++)
        err = write_booking(c, world_touched_booking(world, i), f);
    for (size_t i = 0; err == ERR_OK && i < batch->partition_count; i++)
        err = write_partition(c, &batch->partitions[i], f);
    return err;
}

static enum err store_write(void *self, const struct store_batch *batch, struct failure *f)
{
    struct store_client *c = self;
    enum fate fate;
    assert(c->in_transaction);
    enum err err = arrive(c, "write", &fate, f);
    if (err != ERR_OK)
        return err;
    return leave(c, write_rows(c, batch, f), fate, f);
}

/* --- commit --- */

static void execute_commit(struct sim *sim, void *arg, int64_t number)
{
    struct session *session = arg;
    (void)number;
    if (!session->alive || !session->commit_pending)
        return; /* it was killed before */
    session_commit(sim, session);
    session->used_us = sim->now_us;
    if (session->process) {
        process_wake(session->process);
    } else if (sim_chance(sim, 500000)) {
        session_drop(sim, session);
    }
}

static enum err unknown(struct failure *f)
{
    return failure_set(f, ERR_DB_COMMIT_UNKNOWN, "commit: the connection was lost");
}

/* The client will not hear what becomes of it. */
static enum err lose_commit(struct store_client *c, struct failure *f)
{
    struct sim *sim = c->sim;
    struct session *session = c->session;
    sim->count.faults++;
    switch (sim_below(sim, 4)) {
    case 0:
        session_rollback(sim, session);
        return failure_set(f, ERR_DB_DEADLOCK, "commit: deadlock");
    case 1: /* never arrives */
        break;
    case 2:
        session_commit(sim, session);
        break;
    default: /* arrives later, unless the session is killed before */
        session->commit_pending = true;
        sim_after_ms(sim, sim_between(sim, 0, LATE_COMMIT_MS), execute_commit, session, 0);
    }
    if (sim_chance(sim, 500000))
        process_sleep_us(c->process, sim_between(sim, 0, 3000 * SIM_US_PER_MS));
    lose_session(c);
    return unknown(f);
}

static enum err store_commit(void *self, struct failure *f)
{
    struct store_client *c = self;
    struct sim *sim = c->sim;
    struct session *session = c->session;
    assert(c->in_transaction);
    process_call(c->process, "commit");
    c->in_transaction = false;
    if (!session || !session->alive) {
        c->session = NULL;
        return unknown(f);
    }
    session->busy = true;
    session->committed = false;
    if (!sim->healed && sim_chance(sim, sim->plan.commit_lost))
        return lose_commit(c, f);
    session->commit_pending = true;
    sim_at(sim, sim->now_us + sim_between(sim, 0, 2 * sim->plan.latency_us), execute_commit,
           session, 0);
    while (session->alive && session->commit_pending)
        process_wait(c->process, sim->now_us + 1000 * SIM_US_PER_MS);
    session->busy = false;
    session->used_us = sim->now_us;
    bool done = session->committed && session->alive;
    process_travel(c->process);
    if (done)
        return ERR_OK;
    c->session = NULL;
    return unknown(f);
}

static void store_rollback(void *self)
{
    struct store_client *c = self;
    process_call(c->process, "rollback");
    c->in_transaction = false;
    if (c->session && c->session->alive) {
        session_rollback(c->sim, c->session);
        c->session->used_us = c->sim->now_us;
    }
}

/* --- life --- */

static const struct store_ops ops = {
    .connect = store_connect,
    .connection_id = store_connection_id,
    .ping = store_ping,
    .kill = store_kill,
    .farm = store_farm,
    .halt_farm = store_halt_farm,
    .keys = store_keys,
    .clients = store_clients,
    .claim = store_claim,
    .partition = store_partition,
    .halt_partition = store_halt_partition,
    .set_published = store_set_published,
    .outbox = store_outbox,
    .begin = store_begin,
    .lock_partitions = store_lock_partitions,
    .find_machines = store_find_machines,
    .find_machines_by_id = store_find_machines_by_id,
    .machines_matching = store_machines_matching,
    .find_clients = store_find_clients,
    .lock_clients = store_lock_clients,
    .load_client_timelines = store_load_client_timelines,
    .lock_machines = store_lock_machines,
    .load_timelines = store_load_timelines,
    .machines_of_bookings = store_machines_of_bookings,
    .bookings_on_machines = store_bookings_on_machines,
    .bookings_of_series = store_bookings_of_series,
    .clients_of_bookings = store_clients_of_bookings,
    .lock_bookings = store_lock_bookings,
    .find_priors = store_find_priors,
    .write = store_write,
    .commit = store_commit,
    .rollback = store_rollback,
};

struct store store_client_new(struct process *p)
{
    struct store_client *c = arena_alloc(p->sim->arena, sizeof(*c));
    *c = (struct store_client){.process = p, .sim = p->sim, .db = p->sim->db};
    return (struct store){.ops = &ops, .self = c};
}

void store_client_gone(struct store_client *c, bool noticed)
{
    struct session *session = c->session;
    c->session = NULL;
    if (!session)
        return;
    session->process = NULL;
    session->busy = false;
    session->waits_until_us = 0;
    /* A COMMIT that was sent is executed; whatever is open is rolled back. */
    if (noticed && !session->commit_pending)
        session_drop(c->sim, session);
}

struct session *store_client_session(const struct store_client *c)
{
    return c->session;
}
