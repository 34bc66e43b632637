#include "tests/simulation/database.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tests/simulation/check.h"
#include "tests/simulation/process.h"
#include "tests/simulation/token.h"

/* innodb_lock_wait_timeout and wait_timeout of mysql_session.c. */
#define LOCK_WAIT_US    (INT64_C(3) * 1000 * 1000)
#define IDLE_US         (INT64_C(10) * 1000 * 1000)
#define HOUSEKEEPING_MS 500

void *list_room(struct sim *sim, void *items, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity)
        return items;
    size_t room = *capacity ? 2 * *capacity : 8;
    void *bigger = arena_alloc(sim->arena, room * size);
    if (count > 0)
        memcpy(bigger, items, count * size);
    *capacity = room;
    return bigger;
}

/* --- looking --- */

struct partition_row *database_partition(struct database *db, int32_t part)
{
    for (size_t i = 0; i < db->now.partitions.count; i++) {
        if (db->now.partitions.items[i].part == part)
            return &db->now.partitions.items[i];
    }
    return NULL;
}

const struct machine_row *database_machine(const struct database *db, int64_t id)
{
    for (size_t i = 0; i < db->now.machines.count; i++) {
        if (db->now.machines.items[i].id == id)
            return &db->now.machines.items[i];
    }
    return NULL;
}

const struct machine_row *database_machine_named(const struct database *db, const char *name)
{
    for (size_t i = 0; i < db->now.machines.count; i++) {
        if (strcmp(db->now.machines.items[i].name, name) == 0)
            return &db->now.machines.items[i];
    }
    return NULL;
}

static int compare_ids(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return left < right ? -1 : left > right;
}

bool database_has_id(const struct id_list *list, int64_t id)
{
    return list->count > 0 && bsearch(&id, list->ids, list->count, sizeof(id), compare_ids);
}

const struct booking_row *database_booking(const struct database *db, int64_t id)
{
    for (size_t i = 0; i < db->now.bookings.count; i++) {
        if (db->now.bookings.items[i].id == id)
            return &db->now.bookings.items[i];
    }
    return NULL;
}

const struct stored_decision *database_decision(const struct database *db, int32_t part,
                                                int64_t seq)
{
    for (size_t i = db->now.decisions.count; i > 0; i--) {
        const struct stored_decision *dec = &db->now.decisions.items[i - 1];
        if (dec->row.part == part && dec->row.seq == seq)
            return dec;
    }
    return NULL;
}

const struct stored_decision *database_ever(const struct database *db, int32_t part, int64_t seq)
{
    for (size_t i = db->history.count; i > 0; i--) {
        const struct stored_decision *dec = &db->history.items[i - 1];
        if (dec->row.part == part && dec->row.seq == seq)
            return dec;
    }
    return NULL;
}

struct client_version *database_client(struct database *db, const char *name)
{
    for (size_t i = 0; i < db->now.clients.count; i++) {
        if (strcmp(db->now.clients.items[i].name, name) == 0)
            return &db->now.clients.items[i];
    }
    return NULL;
}

static const struct client_limits *set_limits(const struct database *db, int64_t generation,
                                              int client)
{
    static const struct client_limits none;
    const struct client_limits *found = &none;
    for (size_t i = 0; i < db->limits.count; i++) {
        const struct limits_since *row = &db->limits.items[i];
        if (row->client == client && row->generation <= generation)
            found = &row->limits;
    }
    return found;
}

struct client_limits database_limits(const struct database *db, int64_t generation, int client)
{
    const struct client_limits *own = set_limits(db, generation, client);
    const struct client_limits *farm = set_limits(db, generation, -1);
    return (struct client_limits){
        .booking_s = own->booking_s ? own->booking_s : farm->booking_s,
        .ahead_s = own->ahead_s ? own->ahead_s : farm->ahead_s,
        .allocations = own->allocations ? own->allocations : farm->allocations,
        .gpus_at_once = own->gpus_at_once ? own->gpus_at_once : farm->gpus_at_once,
        .gpu_hours_ahead = own->gpu_hours_ahead ? own->gpu_hours_ahead : farm->gpu_hours_ahead};
}

void database_clients(const struct database *db, int64_t generation, store_client_fn *fn, void *arg)
{
    for (int i = 0; i < TOKEN_CLIENTS; i++) {
        fn(arg, &(struct client_row){.name = token_client(i),
                                     .role = i == 0 ? ROLE_ADMIN : ROLE_SUBMITTER,
                                     .limits = database_limits(db, generation, i)});
    }
}

void database_keys(const struct database *db, int64_t generation, store_key_fn *fn, void *arg)
{
    for (size_t i = 0; i < db->keys.count; i++) {
        struct key_row row = db->keys.items[i];
        row.revoked = db->key_revoked.items[i] <= generation;
        if (db->key_since.items[i] <= generation)
            fn(arg, &row);
    }
}

/* --- locks --- */

static struct held_lock *find_lock(const struct database *db, enum lock_kind kind, uint64_t key)
{
    for (size_t i = 0; i < db->locks.count; i++) {
        struct held_lock *lock = &db->locks.items[i];
        if (lock->key == key && lock->kind == kind)
            return lock;
    }
    return NULL;
}

bool session_holds(const struct database *db, const struct session *session, enum lock_kind kind,
                   uint64_t key)
{
    const struct held_lock *lock = find_lock(db, kind, key);
    return lock && lock->session == session;
}

size_t session_lock_count(const struct database *db, const struct session *session)
{
    size_t count = 0;
    for (size_t i = 0; i < db->locks.count; i++)
        count += db->locks.items[i].session == session;
    return count;
}

struct id_list *session_locked(struct sim *sim, const struct session *session, enum lock_kind kind)
{
    const struct database *db = sim->db;
    struct id_list *ids = arena_alloc(sim->arena, sizeof(*ids));
    ids->capacity = db->locks.count;
    ids->ids = arena_alloc(sim->arena, db->locks.count * sizeof(*ids->ids));
    for (size_t i = 0; i < db->locks.count; i++) {
        if (db->locks.items[i].session == session && db->locks.items[i].kind == kind)
            id_list_add(ids, (int64_t)db->locks.items[i].key);
    }
    return ids;
}

static void wake_waiters(struct database *db)
{
    for (size_t i = 0; i < db->sessions.count; i++) {
        struct session *session = db->sessions.items[i];
        if (session->waits_until_us > 0 && session->process &&
            !find_lock(db, session->wait_kind, session->wait_key))
            process_wake(session->process);
    }
}

static void unlock_all(struct database *db, const struct session *session)
{
    size_t kept = 0;
    for (size_t i = 0; i < db->locks.count; i++) {
        if (db->locks.items[i].session != session)
            db->locks.items[kept++] = db->locks.items[i];
    }
    bool some = kept < db->locks.count;
    db->locks.count = kept;
    if (some)
        wake_waiters(db);
}

/* Whether waiting for the lock would close a circle of sessions that wait for each other. */
static bool would_deadlock(const struct database *db, const struct session *session,
                           const struct held_lock *lock)
{
    for (size_t steps = 0; lock && steps <= db->sessions.count; steps++) {
        if (lock->session == session)
            return true;
        if (lock->session->waits_until_us == 0)
            return false;
        lock = find_lock(db, lock->session->wait_kind, lock->session->wait_key);
    }
    return false;
}

static enum err wait_for(struct database *db, struct session *session, enum lock_kind kind,
                         uint64_t key)
{
    struct sim *sim = session->process->sim;
    session->wait_kind = kind;
    session->wait_key = key;
    session->waits_until_us = sim->now_us + LOCK_WAIT_US;
    sim_note(sim, session->process->number, "waits for a lock", (int64_t)kind, (int64_t)key);
    while (session->alive && find_lock(db, kind, key) && sim->now_us < session->waits_until_us)
        process_wait(session->process, session->waits_until_us);
    session->waits_until_us = 0;
    if (!session->alive)
        return ERR_DB_CONNECTION;
    return find_lock(db, kind, key) ? ERR_DB_LOCK_TIMEOUT : ERR_OK;
}

enum err session_lock(struct session *session, enum lock_kind kind, uint64_t key)
{
    struct sim *sim = session->process->sim;
    struct database *db = sim->db;
    assert(session->alive);
    if (session_holds(db, session, kind, key))
        return ERR_OK;
    const struct held_lock *lock = find_lock(db, kind, key);
    if (lock && would_deadlock(db, session, lock)) {
        sim_note(sim, session->process->number, "deadlock", (int64_t)kind, (int64_t)key);
        session_rollback(sim, session);
        return ERR_DB_DEADLOCK;
    }
    if (lock) {
        enum err err = wait_for(db, session, kind, key);
        if (err != ERR_OK)
            return err;
    }
    *LIST_ADD(sim, &db->locks) = (struct held_lock){kind, key, session};
    return ERR_OK;
}

/* --- sessions --- */

struct session *session_new(struct database *db, struct process *p)
{
    struct session *session = arena_alloc(p->sim->arena, sizeof(*session));
    session->id = ++db->last_session;
    session->alive = true;
    session->process = p;
    session->life = p->life;
    session->used_us = p->sim->now_us;
    *LIST_ADD(p->sim, &db->sessions) = session;
    return session;
}

struct session *database_session(struct database *db, uint64_t id)
{
    for (size_t i = 0; i < db->sessions.count; i++) {
        if (db->sessions.items[i]->id == id)
            return db->sessions.items[i];
    }
    return NULL;
}

void session_rollback(struct sim *sim, struct session *session)
{
    session->writes = (struct writes){0};
    session->commit_pending = false;
    unlock_all(sim->db, session);
}

void session_drop(struct sim *sim, struct session *session)
{
    if (!session->alive)
        return;
    sim_note(sim, 90, "session dropped", (int64_t)session->id, 0);
    session->alive = false;
    session_rollback(sim, session);
    if (session->process)
        process_wake(session->process);
}

static void forget_dead(struct database *db)
{
    size_t kept = 0;
    for (size_t i = 0; i < db->sessions.count; i++) {
        if (db->sessions.items[i]->alive)
            db->sessions.items[kept++] = db->sessions.items[i];
    }
    db->sessions.count = kept;
}

/* wait_timeout: a session that asks nothing for too long is dropped with its transaction. */
static void housekeeping(struct sim *sim, void *arg, int64_t number)
{
    struct database *db = arg;
    (void)number;
    for (size_t i = 0; i < db->sessions.count; i++) {
        struct session *session = db->sessions.items[i];
        if (session->alive && !session->busy && !session->commit_pending &&
            sim->now_us - session->used_us > IDLE_US)
            session_drop(sim, session);
    }
    forget_dead(db);
    sim_after_ms(sim, HOUSEKEEPING_MS, housekeeping, db, 0);
}

/* --- copies of all tables --- */

static void *items_copy(struct sim *sim, const void *items, size_t bytes)
{
    void *copy = arena_alloc(sim->arena, bytes);
    if (bytes > 0)
        memcpy(copy, items, bytes);
    return copy;
}

#define COPY_LIST(sim, list)                                                                       \
    ((list)->items = items_copy((sim), (list)->items, (list)->count * sizeof(*(list)->items)),     \
     (list)->capacity = (list)->count)

static struct tables copy_of(struct sim *sim, const struct tables *from)
{
    struct tables copy = *from;
    COPY_LIST(sim, &copy.partitions);
    COPY_LIST(sim, &copy.clients);
    COPY_LIST(sim, &copy.machines);
    COPY_LIST(sim, &copy.bookings);
    COPY_LIST(sim, &copy.allocations);
    COPY_LIST(sim, &copy.decisions);
    return copy;
}

/* --- commit --- */

#define REPLACE_OR_ADD(sim, table, row, same)                                                      \
    do {                                                                                           \
        size_t at = 0;                                                                             \
        while (at < (table)->count && !(same))                                                     \
            at++;                                                                                  \
        if (at == (table)->count)                                                                  \
            *LIST_ADD((sim), (table)) = *(row);                                                    \
        else                                                                                       \
            (table)->items[at] = *(row);                                                           \
    } while (0)

static void apply(struct sim *sim, struct session *session)
{
    struct database *db = sim->db;
    struct tables *now = &db->now;
    const struct writes *writes = &session->writes;
    for (size_t i = 0; i < writes->partitions.count; i++) {
        struct partition_row *row = database_partition(db, writes->partitions.items[i].part);
        *row = writes->partitions.items[i];
    }
    for (size_t i = 0; i < writes->clients.count; i++) {
        database_client(db, writes->clients.items[i].name)->version =
            writes->clients.items[i].version;
    }
    for (size_t i = 0; i < writes->machines.count; i++) {
        struct machine_row *row = &writes->machines.items[i];
        row->born = row->born ? row->born : now->commits;
        REPLACE_OR_ADD(sim, &now->machines, row, now->machines.items[at].id == row->id);
    }
    for (size_t i = 0; i < writes->bookings.count; i++) {
        struct booking_row *row = &writes->bookings.items[i];
        row->born = row->born ? row->born : now->commits;
        REPLACE_OR_ADD(sim, &now->bookings, row, now->bookings.items[at].id == row->id);
    }
    for (size_t i = 0; i < writes->allocations.count; i++) {
        const struct allocation_row *row = &writes->allocations.items[i];
        REPLACE_OR_ADD(sim, &now->allocations, row,
                       now->allocations.items[at].booking == row->booking &&
                           now->allocations.items[at].machine == row->machine &&
                           now->allocations.items[at].start_ms == row->start_ms);
    }
    for (size_t i = 0; i < writes->decisions.count; i++) {
        struct stored_decision dec = writes->decisions.items[i];
        dec.commit = now->commits;
        *LIST_ADD(sim, &now->decisions) = dec;
        *LIST_ADD(sim, &db->history) = dec;
    }
}

/* The replica has all commits but the last ones, as many as one process made in a row. */
static void replicate(struct sim *sim, const struct session *session)
{
    struct database *db = sim->db;
    if (sim->plan.disaster != DISASTER_FAILED_OVER || session->life == db->ahead_life)
        return;
    db->replica = copy_of(sim, &db->now);
    db->ahead_life = session->life;
}

void session_commit(struct sim *sim, struct session *session)
{
    assert(session->alive);
    replicate(sim, session);
    struct writes *writes = &session->writes;
    session->commit_pending = false;
    session->committed = true;
    sim->db->now.commits++;
    sim->count.commits++;
    sim->count.decisions += (int64_t)writes->decisions.count;
    sim_note(sim, 90, "commit", (int64_t)session->id, (int64_t)writes->decisions.count);
    check_before_commit(sim, session);
    apply(sim, session);
    check_after_commit(sim, writes);
    *writes = (struct writes){0};
    unlock_all(sim->db, session);
}

/* --- from outside --- */

static bool choose_row(struct sim *sim, enum lock_kind *kind, uint64_t *key)
{
    const struct tables *now = &sim->db->now;
    int64_t machines = (int64_t)now->machines.count, bookings = (int64_t)now->bookings.count;
    *kind = LOCK_PARTITION;
    *key = (uint64_t)sim_below(sim, sim->plan.partitions);
    if (machines > 0 && sim_chance(sim, 600000)) {
        *kind = LOCK_MACHINE;
        *key = (uint64_t)now->machines.items[sim_below(sim, machines)].id;
    } else if (bookings > 0 && sim_chance(sim, 500000)) {
        *kind = LOCK_BOOKING;
        *key = (uint64_t)now->bookings.items[sim_below(sim, bookings)].id;
    }
    return !find_lock(sim->db, *kind, *key);
}

struct session *database_stranger(struct sim *sim)
{
    struct session *session = arena_alloc(sim->arena, sizeof(*session));
    enum lock_kind kind;
    uint64_t key;
    session->id = ++sim->db->last_session;
    session->alive = !sim->db->down;
    session->busy = true; /* it has no wait_timeout */
    *LIST_ADD(sim, &sim->db->sessions) = session;
    if (session->alive && choose_row(sim, &kind, &key)) {
        *LIST_ADD(sim, &sim->db->locks) = (struct held_lock){kind, key, session};
        sim_note(sim, 90, "a stranger holds", (int64_t)kind, (int64_t)key);
    }
    return session;
}

void database_crash(struct sim *sim)
{
    struct database *db = sim->db;
    db->down = true;
    sim_note(sim, 90, "database down", 0, 0);
    for (size_t i = 0; i < db->sessions.count; i++)
        session_drop(sim, db->sessions.items[i]);
}

void database_up(struct sim *sim)
{
    sim_note(sim, 90, "database up", 0, 0);
    sim->db->down = false;
}

void database_backup(struct sim *sim)
{
    sim_note(sim, 90, "backup", 0, 0);
    sim->db->backup = copy_of(sim, &sim->db->now);
    sim->db->has_backup = true;
}

void database_restore(struct sim *sim)
{
    assert(sim->db->has_backup && sim->db->down);
    sim_note(sim, 90, "restored", 0, 0);
    sim->db->now = copy_of(sim, &sim->db->backup);
    sim->db->restored = true;
}

void database_fail_over(struct sim *sim)
{
    struct database *db = sim->db;
    assert(db->ahead_life > 0);
    database_crash(sim);
    sim_note(sim, 90, "failed over", db->ahead_life, db->now.commits - db->replica.commits);
    db->now = db->replica;
    db->ahead_life = 0; /* the next commit makes a replica again */
    while (db->limits.count > 0 &&
           db->limits.items[db->limits.count - 1].generation > db->now.farm.key_generation)
        db->limits.count--;
}

bool database_row_is_free(const struct database *db, int32_t part)
{
    return !find_lock(db, LOCK_PARTITION, (uint64_t)part);
}

bool database_set_limits(struct sim *sim, int client, const struct client_limits *limits)
{
    struct database *db = sim->db;
    for (int32_t part = 0; part < sim->plan.partitions; part++) {
        if (!database_row_is_free(db, part))
            return false;
    }
    int64_t before = db->now.farm.key_generation, after = ++db->now.farm.key_generation;
    *LIST_ADD(sim, &db->limits) = (struct limits_since){after, client, *limits};
    for (int i = 0; i < TOKEN_CLIENTS; i++) {
        struct client_limits old = database_limits(db, before, i);
        struct client_limits new = database_limits(db, after, i);
        if (old.gpus_at_once != new.gpus_at_once || old.gpu_hours_ahead != new.gpu_hours_ahead)
            database_client(db, token_client(i))->version++;
    }
    sim_note(sim, 94, "limits set", client, limits->gpus_at_once);
    return true;
}

/* --- life --- */

void database_open(struct sim *sim)
{
    struct database *db = arena_alloc(sim->arena, sizeof(*db));
    sim->db = db;
    db->now.farm = (struct farm_row){
        .name = SIM_FARM, .partitions = sim->plan.partitions, .key_generation = 1};
    memcpy(db->now.farm.cluster_id, "cluster-1", sizeof("cluster-1"));
    for (int32_t part = 0; part < sim->plan.partitions; part++) {
        *LIST_ADD(sim, &db->now.partitions) = (struct partition_row){.part = part,
                                                                     .reject_offset = -1};
    }
    for (int i = 0; i < TOKEN_CLIENTS; i++)
        *LIST_ADD(sim, &db->now.clients) = (struct client_version){token_client(i), 1};
    tokens_add_keys(sim);
    sim_after_ms(sim, HOUSEKEEPING_MS, housekeeping, db, 0);
}

void database_close(struct sim *sim)
{
    (void)sim; /* all of it lives in the arena */
}
