#include "tests/simulation/check.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/codec/event.h"
#include "lib/token/jws.h"
#include "tests/simulation/disaster.h"
#include "tests/simulation/process.h"
#include "tests/simulation/token.h"

/* --- while it runs --- */

static int64_t decisions_of(const struct writes *writes, int32_t part)
{
    int64_t count = 0;
    for (size_t i = 0; i < writes->decisions.count; i++)
        count += writes->decisions.items[i].row.part == part;
    return count;
}

/* The row's new state against the old one. */
static void check_partition(struct sim *sim, const struct session *session,
                            const struct partition_row *row)
{
    const struct partition_row *old = database_partition(sim->db, row->part);
    int64_t count = decisions_of(&session->writes, row->part);
    if (count > 0 && sim->db->now.owners[row->part] != session->life)
        sim_fail(sim, "partition %" PRId32 " is decided by a worker that lost it", row->part);
    if (row->last_seq != old->last_seq + count) {
        sim_fail(sim,
                 "partition %" PRId32 ": %" PRId64 " decisions, but last_seq %" PRId64
                 " after %" PRId64,
                 row->part, count, row->last_seq, old->last_seq);
    }
    if (row->next_offset < old->next_offset + count || row->clock_ms < old->clock_ms)
        sim_fail(sim, "partition %" PRId32 " goes backwards", row->part);
    if (row->epoch < old->epoch || row->progress_epoch > row->epoch) {
        sim_fail(sim,
                 "partition %" PRId32 ": epoch %" PRId64 " after %" PRId64 ", progress %" PRId64,
                 row->part, row->epoch, old->epoch, row->progress_epoch);
    }
    if (count > 0 && row->progress_epoch != row->epoch) {
        sim_fail(sim, "partition %" PRId32 " is decided, and that is not noted as progress",
                 row->part);
    }
    if (row->published_seq > row->last_seq ||
        (!sim->db->restored && row->published_seq > sim->cluster->events[row->part].ever)) {
        sim_fail(sim, "partition %" PRId32 ": published_seq %" PRId64 " is not in the topic",
                 row->part, row->published_seq);
    }
    /* Past its bound a partition is paused; what was in hand then is one batch at most. */
    if (count > 0 && sim->plan.disaster != DISASTER_EVENTS_REMADE &&
        row->last_seq - sim->cluster->events[row->part].highest >
            sim->plan.unpublished_max + sim->plan.batch_max) {
        sim_fail(sim,
                 "partition %" PRId32 " decides on, though %" PRId64 " events are not published",
                 row->part, old->last_seq - sim->cluster->events[row->part].highest);
    }
    if ((old->halted[0] || session->saw_halt) && count > 0)
        sim_fail(sim, "partition %" PRId32 " is halted, and decides", row->part);
}

/* No allocation is written without its machine's lock and version + 1 (docs/architecture.md, One
 * batch). */
static void check_allocation(struct sim *sim, const struct writes *writes,
                             const struct allocation_row *row)
{
    const struct machine_row *old = database_machine(sim->db, row->machine);
    for (size_t i = 0; i < writes->machines.count; i++) {
        const struct machine_row *machine = &writes->machines.items[i];
        if (machine->id == row->machine && machine->version >= row->machine_version &&
            (!old || machine->version > old->version))
            return;
    }
    sim_fail(sim, "booking %" PRId64 " changes machine %" PRId64 ", whose version stays",
             row->booking, row->machine);
}

/* A row of a table that the transaction replaces. */
static bool is_replaced(const struct writes *writes, const struct allocation_row *row)
{
    for (size_t i = 0; i < writes->allocations.count; i++) {
        const struct allocation_row *new = &writes->allocations.items[i];
        if (new->booking == row->booking &&new->machine == row->machine &&new->start_ms ==
            row->start_ms)
            return true;
    }
    return false;
}

static bool is_of(const struct sim *sim, const struct writes *writes,
                  const struct allocation_row *row, const char *client)
{
    const struct booking_row *booking = database_booking(sim->db, row->booking);
    for (size_t i = 0; !booking && i < writes->bookings.count; i++) {
        if (writes->bookings.items[i].id == row->booking)
            booking = &writes->bookings.items[i];
    }
    return booking && strcmp(booking->client, client) == 0;
}

struct held {
    int64_t before, after; /* GPUs */
};

/* What the client holds at the instant, before the transaction and after it. */
static struct held held_at(const struct sim *sim, const struct writes *writes, const char *client,
                           int64_t at_ms)
{
    const struct tables *now = &sim->db->now;
    struct held held = {0};
    for (size_t i = 0; i < now->allocations.count; i++) {
        const struct allocation_row *row = &now->allocations.items[i];
        if (!row->live || at_ms < row->start_ms || at_ms >= row->end_ms ||
            !is_of(sim, writes, row, client))
            continue;
        held.before += row->amount.gpus;
        held.after += is_replaced(writes, row) ? 0 : row->amount.gpus;
    }
    for (size_t i = 0; i < writes->allocations.count; i++) {
        const struct allocation_row *row = &writes->allocations.items[i];
        if (row->live && row->start_ms <= at_ms && at_ms < row->end_ms &&
            is_of(sim, writes, row, client))
            held.after += row->amount.gpus;
    }
    return held;
}

/* No transaction lets a client hold more than its limit at an instant, but where it held as much
 * before: the limit may have been lowered, or be new. */
static void check_limits(struct sim *sim, const struct writes *writes)
{
    int64_t generation = sim->db->now.farm.key_generation;
    for (int c = 0; c < sim->plan.clients; c++) {
        int64_t most = database_limits(sim->db, generation, c).gpus_at_once;
        for (size_t i = 0; most > 0 && i < writes->allocations.count; i++) {
            const struct allocation_row *row = &writes->allocations.items[i];
            if (!row->live || !is_of(sim, writes, row, token_client(c)))
                continue;
            struct held held = held_at(sim, writes, token_client(c), row->start_ms);
            if (held.after > most && held.after > held.before) {
                sim_fail(sim,
                         "%s holds %" PRId64 " GPUs %" PRId64 " s after the start, %" PRId64
                         " before, of %" PRId64,
                         token_client(c), held.after, (row->start_ms - SIM_EPOCH_MS) / 1000,
                         held.before, most);
            }
        }
    }
}

void check_before_commit(struct sim *sim, const struct session *session)
{
    const struct writes *writes = &session->writes;
    for (size_t i = 0; i < writes->partitions.count; i++)
        check_partition(sim, session, &writes->partitions.items[i]);
    for (size_t i = 0; i < writes->allocations.count; i++)
        check_allocation(sim, writes, &writes->allocations.items[i]);
    check_limits(sim, writes);
    for (size_t i = 0; i < writes->decisions.count; i++) {
        const struct decision_row *row = &writes->decisions.items[i].row;
        int64_t ahead_ms = row->time_ms - sim_wall_ms(sim);
        if (ahead_ms > WORKER_CLOCK_AHEAD_MS + sim->plan.host_skew_ms) {
            sim_fail(sim, "decision %" PRId32 "-%" PRId64 " is %" PRId64 " s ahead of the clock",
                     row->part, row->seq, ahead_ms / 1000);
        }
    }
}

/* Use at an instant. */
static struct amount use_at(const struct database *db, int64_t machine, int64_t at_ms)
{
    struct amount use = {0};
    for (size_t i = 0; i < db->now.allocations.count; i++) {
        const struct allocation_row *row = &db->now.allocations.items[i];
        if (row->machine == machine && row->live && row->start_ms <= at_ms && at_ms < row->end_ms) {
            use.gpus += row->amount.gpus;
            use.memory_gib += row->amount.memory_gib;
        }
    }
    return use;
}

static void check_instant(struct sim *sim, const struct machine_row *machine, int64_t at_ms)
{
    if (at_ms < machine->capacity_changed_ms)
        return;
    struct amount use = use_at(sim->db, machine->id, at_ms);
    if (use.gpus > machine->capacity.gpus || use.memory_gib > machine->capacity.memory_gib) {
        sim_fail(sim,
                 "%s is over-booked %" PRId64 " s after the start: %" PRId64 " of %" PRId64
                 " GPUs, %" PRId64 " of %" PRId64 " GiB",
                 machine->name, (at_ms - SIM_EPOCH_MS) / 1000, use.gpus, machine->capacity.gpus,
                 use.memory_gib, machine->capacity.memory_gib);
    }
}

/* The use is highest at the start of some row, or where the capacity changed. */
static void check_machine(struct sim *sim, int64_t id)
{
    const struct machine_row *machine = database_machine(sim->db, id);
    check_instant(sim, machine, machine->capacity_changed_ms);
    for (size_t i = 0; i < sim->db->now.allocations.count; i++) {
        const struct allocation_row *row = &sim->db->now.allocations.items[i];
        if (row->machine == id && row->live)
            check_instant(sim, machine, row->start_ms);
    }
}

void check_after_commit(struct sim *sim, const struct writes *writes)
{
    /* Whose allocations are written, is written itself: check_allocation(). */
    for (size_t i = 0; i < writes->machines.count; i++)
        check_machine(sim, writes->machines.items[i].id);
    if (writes->decisions.count > 0)
        disaster_note_decisions(sim, writes);
}

void check_lock_order(struct sim *sim, const struct session *session, enum lock_kind kind)
{
    for (size_t i = 0; i < sim->db->locks.count; i++) {
        const struct held_lock *lock = &sim->db->locks.items[i];
        if (lock->session == session && lock->kind > kind)
            sim_fail(sim, "locks out of order: %d after %d", (int)kind, (int)lock->kind);
    }
}

/* Of a session that was lost nothing is left that could be committed, or that holds rows. */
void check_old_sessions(struct sim *sim, const struct session *session)
{
    for (size_t i = 0; i < sim->db->sessions.count; i++) {
        const struct session *old = sim->db->sessions.items[i];
        if (old->alive && old != session && old->life == session->life &&
            (old->commit_pending || session_lock_count(sim->db, old) > 0)) {
            sim_fail(sim, "session %" PRIu64 " begins, and lost session %" PRIu64 " may still act",
                     session->id, old->id);
        }
    }
}

/* Who lost a partition claims it again only on a later assignment, or when an operator resumes
 * what it halted (docs/architecture.md, Owning a partition). A claim that it was not told of does
 * not count: it asks again. */
void check_claim(struct sim *sim, struct process *p, int32_t part)
{
    if (p->claimed_at[part] == broker_client_assignments(p->broker) &&
        sim->db->now.owners[part] != p->life)
        sim_fail(sim, "%s lost partition %" PRId32 " and claims it again unasked", p->name, part);
    const struct part *own = &p->worker->parts[part];
    const struct partition_row *row = database_partition(sim->db, part);
    if (row->epoch == own->row.epoch && row->last_seq == own->row.last_seq && own->row_known &&
        own->tail_known && own->acked_seq == row->last_seq) {
        sim_fail(sim, "%s claims partition %" PRId32 " anew, though it is as it was", p->name,
                 part);
    }
}

static bool same_bytes(const char *a, size_t a_len, const char *b, size_t b_len)
{
    return a_len == b_len && memcmp(a, b, a_len) == 0;
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static void check_is_decision(struct sim *sim, const struct broker_event *event, const char *doing)
{
    const struct stored_decision *dec = database_ever(sim->db, event->part, event->seq);
    if (!dec) {
        sim_fail(sim, "event %" PRId32 "-%" PRId64 " is %s before it is committed", event->part,
                 event->seq, doing);
        return;
    }
    const char *type = dec->row.reason == REASON_NONE ? EVENT_TYPE_ACCEPTED : EVENT_TYPE_REJECTED;
    if (!same_bytes(event->value, event->len, dec->row.event, dec->row.event_len) ||
        !same_text(event->key, dec->row.subject) || strcmp(event->type, type) != 0) {
        sim_fail(sim, "event %" PRId32 "-%" PRId64 " is not the decision that was committed",
                 event->part, event->seq);
    }
}

void check_publish(struct sim *sim, const struct broker_event *event)
{
    const struct partition_row *row = database_partition(sim->db, event->part);
    const struct event_log *log = &sim->cluster->events[event->part];
    check_is_decision(sim, event, "published");
    /* Only where retention has left nothing: a late repeat that is left is the tail. */
    if (!sim->db->restored && log->lo == log->hi && event->epoch == row->epoch &&
        event->seq <= row->published_seq && sim->plan.disaster != DISASTER_EVENTS_REMADE) {
        sim_fail(sim, "event %" PRId32 "-%" PRId64 " is published, though that is noted already",
                 event->part, event->seq);
    }
    if (!sim->db->restored && event->epoch > row->epoch) {
        sim_fail(sim, "event %" PRId32 "-%" PRId64 " has epoch %" PRId64 " of nobody", event->part,
                 event->seq, event->epoch);
    }
}

void check_event(struct sim *sim, const struct broker_event *event)
{
    const struct event_log *log = &sim->cluster->events[event->part];
    check_is_decision(sim, event, "in the topic");
    if (event->seq > log->highest + 1) {
        sim_fail(sim, "the topic has a gap: event %" PRId32 "-%" PRId64 " follows %" PRId64,
                 event->part, event->seq, log->highest);
    }
}

/* --- when it has ended --- */

bool check_part_is_decided(const struct sim *sim, int32_t part)
{
    return database_partition(sim->db, part)->next_offset == sim->cluster->requests[part].hi;
}

bool check_part_is_done(const struct sim *sim, int32_t part)
{
    return check_part_is_decided(sim, part) &&
           sim->cluster->events[part].highest == database_partition(sim->db, part)->last_seq;
}

static int by_number(const void *left, const void *right)
{
    const struct stored_decision *a = *(const struct stored_decision *const *)left;
    const struct stored_decision *b = *(const struct stored_decision *const *)right;
    return a->row.seq < b->row.seq ? -1 : a->row.seq > b->row.seq;
}

/* One decision for each message, in order, numbered without a gap, at the right time. */
static void check_decisions(struct sim *sim, int32_t part)
{
    const struct database *db = sim->db;
    const struct request_log *log = &sim->cluster->requests[part];
    const struct partition_row *row = database_partition(sim->db, part);
    size_t count = 0;
    const struct stored_decision **list = arena_alloc(sim->arena,
                                                      db->now.decisions.count * sizeof(*list));
    for (size_t i = 0; i < db->now.decisions.count; i++) {
        if (db->now.decisions.items[i].row.part == part)
            list[count++] = &db->now.decisions.items[i];
    }
    qsort(list, count, sizeof(*list), by_number);
    int64_t clock_ms = 0;
    for (size_t i = 0; i < count && !sim->failed; i++) {
        const struct decision_row *dec = &list[i]->row;
        const struct request_entry *entry = i < log->entries.count ? &log->entries.items[i] : NULL;
        uint8_t digest[32] = {0};
        if (entry)
            sha256(entry->value, entry->len, digest);
        if (dec->seq != (int64_t)i + 1 || !entry || dec->log_offset != entry->offset ||
            memcmp(digest, dec->message_sha256, 32) != 0) {
            sim_fail(sim,
                     "decision %" PRId32 "-%" PRId64 " at offset %" PRId64
                     " is not that of message %zu at offset %" PRId64,
                     part, dec->seq, dec->log_offset, i + 1, entry ? entry->offset : -1);
            return;
        }
        bool ignored = dec->log_offset < row->ignore_time_until;
        if (entry->unreadable && dec->reason != REASON_REJECTED_BY_OPERATOR)
            sim_fail(sim, "decision %" PRId32 "-%" PRId64 " is a guess", part, dec->seq);
        if (entry->append_ms == BROKER_NO_TIME && !ignored && !entry->unreadable)
            sim_fail(sim, "decision %" PRId32 "-%" PRId64 " has no now", part, dec->seq);
        int64_t now_ms = !ignored && entry->append_ms > clock_ms ? entry->append_ms : clock_ms;
        if (dec->time_ms != now_ms && !ignored) {
            sim_fail(sim,
                     "decision %" PRId32 "-%" PRId64 " has another now: %" PRId64 " for %" PRId64,
                     part, dec->seq, dec->time_ms, now_ms);
        }
        clock_ms = dec->time_ms;
    }
    if (row->last_seq != (int64_t)count) {
        sim_fail(sim, "partition %" PRId32 " has last_seq %" PRId64 " and %zu decisions", part,
                 row->last_seq, count);
    }
}

/* The topic against the table, as a consumer from the beginning sees it. */
static void check_topic(struct sim *sim, int32_t part)
{
    const struct event_log *log = &sim->cluster->events[part];
    int64_t last = 0;
    for (size_t i = 0; i < log->entries.count; i++) {
        const struct event_entry *entry = &log->entries.items[i];
        const struct stored_decision *dec = database_decision(sim->db, part, entry->seq);
        if (!dec || !same_bytes(entry->value, entry->len, dec->row.event, dec->row.event_len)) {
            sim_fail(sim, "event %" PRId32 "-%" PRId64 " at %" PRId64 " is not in the table", part,
                     entry->seq, entry->offset);
        }
        if (entry->seq > last + 1) {
            sim_fail(sim, "a consumer misses an event: %" PRId32 "-%" PRId64 " after %" PRId64,
                     part, entry->seq, last);
        }
        if (entry->seq > last)
            last = entry->seq;
    }
    if (last != database_partition(sim->db, part)->last_seq) {
        sim_fail(sim, "events of partition %" PRId32 " end at %" PRId64 ", decisions at %" PRId64,
                 part, last, database_partition(sim->db, part)->last_seq);
    }
}

/* Who begins somewhere in the topic: whether it meets a gap that is none (docs/messages.md). */
static bool meets_false_gap(const struct event_log *log, size_t from)
{
    int64_t last = log->entries.items[from].seq, epoch = log->entries.items[from].epoch;
    bool in_order = false, jumped = false;
    for (size_t i = from + 1; i < log->entries.count; i++) {
        const struct event_entry *entry = &log->entries.items[i];
        if (entry->seq > last + 1) {
            if (in_order || jumped || entry->epoch <= epoch)
                return true;
            jumped = true;
        } else if (entry->seq == last + 1) {
            in_order = true;
        }
        last = entry->seq > last ? entry->seq : last;
        epoch = entry->epoch > epoch ? entry->epoch : epoch;
    }
    return false;
}

static void count_false_gaps(struct sim *sim, int32_t part)
{
    const struct event_log *log = &sim->cluster->events[part];
    for (size_t i = 0; i < log->entries.count; i++)
        sim->count.false_gaps += meets_false_gap(log, i);
}

/* Whoever closed holds nothing. (What a killed host left behind is given up later.) */
static void check_leftovers(struct sim *sim)
{
    for (size_t i = 0; i < sim->db->locks.count; i++) {
        if (sim->db->locks.items[i].session->process)
            sim_fail(sim, "a row lock is left");
    }
    for (size_t i = 0; i < sim->cluster->group.members.count; i++) {
        if (broker_client_left(sim->cluster->group.members.items[i]->client))
            sim_fail(sim, "a member that left is in the group");
    }
}

void check_end(struct sim *sim)
{
    for (int32_t part = 0; part < sim->plan.partitions && !sim->failed; part++) {
        if (!disaster_part_is_spoilt(sim, part)) {
            check_decisions(sim, part);
            check_topic(sim, part);
            count_false_gaps(sim, part);
        }
    }
    for (size_t i = 0; i < sim->db->now.machines.count && !sim->failed; i++)
        check_machine(sim, sim->db->now.machines.items[i].id);
    if (!sim->failed)
        replay_check(sim);
    if (!sim->failed)
        check_leftovers(sim);
    if (!sim->failed)
        disaster_check_end(sim);
}

void check_describe(const struct sim *sim, char *text, size_t size)
{
    size_t len = 0;
    text[0] = '\0';
    for (int32_t part = 0; part < sim->plan.partitions && len < size; part++) {
        const struct partition_row *row = database_partition(sim->db, part);
        len += (size_t)snprintf(text + len, size - len,
                                "[%" PRId32 "] epoch %" PRId64 " next %" PRId64 " of %" PRId64
                                " seq %" PRId64 " topic %" PRId64 " %.80s; ",
                                part, row->epoch, row->next_offset, sim->cluster->requests[part].hi,
                                row->last_seq, sim->cluster->events[part].highest, row->halted);
    }
}
