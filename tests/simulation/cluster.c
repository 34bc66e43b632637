/* The logs, and the broker port's calls as worker/kafka_*.c makes them. */
#include "tests/simulation/cluster.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "lib/token/jws.h"
#include "tests/simulation/process.h"
#include "tests/simulation/store_client.h"

/* A call waits this long for a broker that does not answer. */
#define CALL_TIMEOUT_MS 2000
#define FLUSH_SLICE_MS  20
/* A worker must use its session this often, unless it was held up for STILL_MS between two polls. */
#define IDLE_MAX_MS     4000
#define STILL_MS        1000

struct client_part {
    bool started, broken, paused;
    bool exact;     /* no message was delivered since the start or seek */
    bool stuck;     /* at a message that cannot be read */
    bool lost_once; /* it has skipped messages since the start */
    int64_t position;
    int64_t given_from; /* the first offset of the last delivery */
    int64_t flushes;    /* so far */
    int64_t tail;       /* the highest sequence in the tail when it was last read */
};

struct broker_client {
    struct process *process;
    struct sim *sim;
    struct cluster *cluster;
    struct broker_callbacks owner;
    struct member *member; /* NULL: not subscribed */
    struct producer *producer;
    struct client_part parts[PLAN_PARTITIONS_MAX];
    bool connection_lost, closed, left;
    bool out_of_range; /* the next poll returns that error */
    size_t given_out;  /* messages not released yet */
};

/* --- logs --- */

int64_t cluster_append_request(struct sim *sim, int32_t part, const char *value, size_t len)
{
    struct request_log *log = &sim->cluster->requests[part];
    int64_t append_ms = sim_wall_ms(sim) + log->clock_skew_ms + sim->cluster->jump_ms;
    *LIST_ADD(sim, &log->entries) = (struct request_entry){
        .offset = log->hi++, .append_ms = append_ms, .value = value, .len = len};
    *LIST_ADD(sim, &sim->cluster->ever[part]) = log->entries.items[log->entries.count - 1];
    int64_t offset = log->hi - 1;
    sim_note(sim, 93, "request", part, offset);
    if (sim->batches)
        log->hi++; /* each is a transaction of its own, which ends with a marker */
    return offset;
}

void cluster_make_hole(struct sim *sim, int32_t part, int64_t count)
{
    sim->cluster->requests[part].hi += count;
}

const struct request_entry *cluster_request_ever(const struct sim *sim, int32_t part,
                                                 int64_t offset, const uint8_t digest[32])
{
    for (size_t i = 0; i < sim->cluster->ever[part].count; i++) {
        const struct request_entry *entry = &sim->cluster->ever[part].items[i];
        uint8_t own[32];
        if (entry->offset != offset)
            continue;
        sha256(entry->value, entry->len, own);
        if (memcmp(own, digest, sizeof(own)) == 0)
            return entry;
    }
    return NULL;
}

void cluster_down(struct sim *sim)
{
    sim_note(sim, 93, "brokers down", 0, 0);
    sim->cluster->down = true;
    for (size_t i = 0; i < sim->cluster->clients.count; i++)
        sim->cluster->clients.items[i]->connection_lost = true;
}

void cluster_up(struct sim *sim)
{
    sim_note(sim, 93, "brokers up", 0, 0);
    sim->cluster->down = false;
}

void cluster_open(struct sim *sim)
{
    sim->cluster = arena_alloc(sim->arena, sizeof(*sim->cluster));
    for (int32_t part = 0; part < sim->plan.partitions; part++) {
        struct request_log *log = &sim->cluster->requests[part];
        log->first = log->lo = log->hi = sim_chance(sim, 200000) ? sim_between(sim, 1, 5) : 0;
        if (sim->plan.clock_skew_ms > 0) {
            log->clock_skew_ms = sim_between(sim, -sim->plan.clock_skew_ms,
                                             sim->plan.clock_skew_ms);
        }
        database_partition(sim->db, part)->next_offset = log->first;
    }
    group_open(sim);
}

void cluster_close(struct sim *sim)
{
    (void)sim; /* all of it lives in the arena */
}

/* --- calls --- */

/* A call that a broker answers. */
static enum err ask(struct broker_client *c, const char *what, struct failure *f)
{
    struct sim *sim = c->sim;
    process_call(c->process, what);
    bool fails = !sim->healed && sim_chance(sim, 3 * sim->plan.broker_error);
    if (!fails && !c->cluster->down)
        return ERR_OK;
    sim->count.faults += fails;
    process_sleep_us(c->process, sim_between(sim, 0, CALL_TIMEOUT_MS * SIM_US_PER_MS));
    return failure_set(f, ERR_LOG_TRANSPORT, "%s: no broker answers", what);
}

/* A call that librdkafka answers without a broker. */
static enum err local(struct broker_client *c, const char *what, struct failure *f)
{
    process_local_call(c->process, what);
    if (!c->sim->healed && sim_chance(c->sim, 5 * c->sim->plan.broker_error)) {
        c->sim->count.faults++;
        return failure_set(f, ERR_LOG_ERROR, "%s: refused", what);
    }
    return ERR_OK;
}

static enum err port_shape(void *self, struct broker_shape *out, struct failure *f)
{
    struct broker_client *c = self;
    enum err err = ask(c, "shape", f);
    if (err != ERR_OK)
        return err;
    *out = (struct broker_shape){.request_partitions = c->sim->plan.partitions,
                                 .event_partitions = c->sim->plan.partitions};
    const char *id = c->process->other_cluster ? "cluster-2" : "cluster-1";
    memcpy(out->cluster_id, id, strlen(id) + 1);
    return ERR_OK;
}

static enum err port_subscribe(void *self, const struct broker_callbacks *events, struct failure *f)
{
    struct broker_client *c = self;
    enum err err = local(c, "subscribe", f);
    if (err != ERR_OK)
        return err;
    c->owner = *events;
    c->member = group_join(c->sim, c);
    return ERR_OK;
}

static enum err port_resubscribe(void *self, struct failure *f)
{
    struct broker_client *c = self;
    enum err err = local(c, "resubscribe", f);
    if (err == ERR_OK && !c->member->lost)
        group_rebalance(c->sim);
    return err;
}

static enum err port_start(void *self, const struct broker_position *positions, size_t count,
                           struct failure *f)
{
    struct broker_client *c = self;
    enum err err = local(c, "start", f);
    memset(c->parts, 0, sizeof(c->parts));
    if (err != ERR_OK)
        return err;
    for (size_t i = 0; i < count; i++) {
        assert(positions[i].part >= 0 && positions[i].part < c->sim->plan.partitions);
        assert(positions[i].offset >= 0);
        c->parts[positions[i].part] = (struct client_part){
            .started = true, .exact = true, .position = positions[i].offset};
    }
    return ERR_OK;
}

static enum err port_seek(void *self, int32_t part, int64_t offset, struct failure *f)
{
    struct broker_client *c = self;
    struct client_part *p = &c->parts[part];
    enum err err = local(c, "seek", f);
    if (err == ERR_OK && !c->sim->healed && p->lost_once &&
        sim_chance(c->sim, 20 * c->sim->plan.broker_error))
        err = failure_set(f, ERR_LOG_ERROR, "seek: refused");
    if (err != ERR_OK && sim_chance(c->sim, 500000))
        p->position = p->given_from; /* after a failed seek the position is undefined */
    if (err != ERR_OK)
        return err;
    if (!p->started || p->broken)
        return failure_set(f, ERR_LOG_ERROR, "seek: partition %" PRId32 " is not fetched", part);
    p->position = offset;
    p->exact = true;
    c->sim->count.seeks++;
    p->stuck = false;
    return ERR_OK;
}

static enum err port_pause(void *self, int32_t part, struct failure *f)
{
    struct broker_client *c = self;
    enum err err = local(c, "pause", f);
    if (err == ERR_OK)
        c->parts[part].paused = true;
    return err;
}

static enum err port_resume(void *self, int32_t part, struct failure *f)
{
    struct broker_client *c = self;
    enum err err = local(c, "resume", f);
    if (err == ERR_OK)
        c->parts[part].paused = false;
    return err;
}

static void port_commit_offset(void *self, int32_t part, int64_t next_offset)
{
    struct broker_client *c = self;
    (void)part, (void)next_offset;
    process_local_call(c->process, "commit_offset");
}

static int64_t port_request_end(void *self, int32_t part)
{
    const struct broker_client *c = self;
    return c->parts[part].started ? c->cluster->requests[part].hi : -1;
}

/* --- poll --- */

/* Where fetching goes on: messages may be delivered again, or be skipped. */
static int64_t fetch_from(struct broker_client *c, int32_t part)
{
    struct sim *sim = c->sim;
    struct client_part *p = &c->parts[part];
    const struct request_log *log = &c->cluster->requests[part];
    if (sim->healed || p->exact || !sim_chance(sim, sim->plan.prefetch))
        return p->position;
    int64_t from = p->position + sim_between(sim, -4, 3);
    if (from > p->position && p->lost_once)
        return p->position;
    p->lost_once = p->lost_once || from > p->position;
    return from < log->lo ? log->lo : from > log->hi ? p->position : from;
}

struct gathering {
    struct broker_message *out;
    size_t max, max_bytes, count, bytes;
};

static void give_out(struct broker_client *c, struct gathering *g, int32_t part,
                     const struct request_entry *entry)
{
    char *copy = arena_strndup(c->sim->arena, entry->value, entry->len);
    g->out[g->count++] = (struct broker_message){.part = part,
                                                 .offset = entry->offset,
                                                 .append_ms = entry->append_ms,
                                                 .value = copy,
                                                 .len = entry->len,
                                                 .unreadable = entry->unreadable ? "sim" : NULL,
                                                 .batch_offset = entry->batch_offset,
                                                 .handle = copy};
    g->bytes += entry->len;
    c->given_out++;
    sim_note(c->sim, c->process->number, "gets", part, entry->offset);
}

static void gather(struct broker_client *c, struct gathering *g)
{
    struct sim *sim = c->sim;
    for (int32_t part = 0; part < sim->plan.partitions && !c->cluster->down; part++) {
        struct client_part *p = &c->parts[part];
        const struct request_log *log = &c->cluster->requests[part];
        if (!p->started || p->paused || p->broken || p->stuck)
            continue;
        if (p->position < log->lo || p->position > log->hi) {
            p->broken = c->out_of_range = true;
            continue;
        }
        if (p->position == log->hi)
            continue;
        int64_t from = fetch_from(c, part);
        bool some = !sim->batches && sim_chance(sim, 300000);
        int64_t limit = some ? sim_between(sim, 1, 5) : INT64_MAX;
        p->given_from = from;
        for (size_t i = 0;
             i < log->entries.count && limit > 0 && g->count < g->max && g->bytes < g->max_bytes;
             i++) {
            if (log->entries.items[i].offset < from)
                continue;
            give_out(c, g, part, &log->entries.items[i]);
            p->exact = false;
            limit--;
            if (log->entries.items[i].unreadable) { /* nothing follows before a seek */
                p->position = log->entries.items[i].offset;
                p->stuck = true;
                break;
            }
            p->position = log->entries.items[i].offset + 1;
        }
    }
}

static enum err poll_trouble(struct broker_client *c, struct failure *f)
{
    struct sim *sim = c->sim;
    if (!sim->healed && sim_chance(sim, sim->plan.broker_error / 20))
        c->connection_lost = true;
    if (c->connection_lost) {
        c->connection_lost = false;
        sim->count.faults++;
        return failure_set(f, ERR_LOG_TRANSPORT, "poll: a connection to a broker was lost");
    }
    if (c->out_of_range) {
        c->out_of_range = false;
        return failure_set(f, ERR_LOG_ERROR, "poll: offset out of range");
    }
    return ERR_OK;
}

static void serve(struct broker_client *c)
{
    if (c->member)
        group_poll(c->sim, c->member, &c->owner);
    if (c->producer)
        producer_serve(c->producer);
}

/* An idle session must be used before the server closes it. */
static void check_session_is_used(struct broker_client *c)
{
    struct process *p = c->process;
    int64_t now_us = c->sim->now_us;
    const struct session *session = store_client_session(p->store);
    int64_t used_us = session && session->alive ? session->used_us : now_us;
    if (used_us != p->used_us || now_us - p->polled_us > STILL_MS * SIM_US_PER_MS)
        p->idle_us = now_us;
    p->used_us = used_us;
    p->polled_us = now_us;
    if (now_us - p->idle_us > IDLE_MAX_MS * SIM_US_PER_MS)
        sim_fail(c->sim, "%s does not use its session for %d ms", p->name, IDLE_MAX_MS);
}

/* The message is fetched again: the port keeps it. */
static void take_back(struct client_part *p, const struct broker_message *message)
{
    p->position = message->offset;
    p->stuck = false;
}

static enum err port_poll(void *self, struct broker_message *out, size_t max, size_t max_bytes,
                          int timeout_ms, size_t *count_out, struct failure *f)
{
    struct broker_client *c = self;
    struct gathering g = {.out = out, .max = max, .max_bytes = max_bytes};
    *count_out = 0;
    process_call(c->process, "poll");
    check_session_is_used(c);
    c->process->failed_attempts = 0;
    serve(c);
    enum err err = poll_trouble(c, f);
    if (err != ERR_OK)
        return err;
    gather(c, &g);
    if (g.count == 0 && timeout_ms > 0) {
        process_sleep_us(c->process, timeout_ms * SIM_US_PER_MS);
        serve(c);
        gather(c, &g);
    }
    err = poll_trouble(c, f);
    if (err != ERR_OK) {
        for (size_t i = g.count; i > 0; i--)
            take_back(&c->parts[out[i - 1].part], &out[i - 1]);
        c->given_out -= g.count;
        return err;
    }
    *count_out = g.count;
    return ERR_OK;
}

static void port_release(void *self, struct broker_message *messages, size_t count)
{
    struct broker_client *c = self;
    for (size_t i = 0; i < count; i++) {
        assert(messages[i].handle);
        memset(messages[i].handle, '?', messages[i].len); /* a later read finds garbage */
        messages[i].handle = NULL;
    }
    assert(c->given_out >= count);
    c->given_out -= count;
}

/* --- producer --- */

static enum err port_publish(void *self, const struct broker_event *event, struct failure *f)
{
    struct broker_client *c = self;
    process_local_call(c->process, "publish");
    if (!c->producer)
        return failure_set(f, ERR_LOG_FATAL, "publish: there is no producer");
    if (event->seq <= c->parts[event->part].tail) {
        sim_fail(c->sim,
                 "event %" PRId32 "-%" PRId64 " is published, though the tail showed %" PRId64,
                 event->part, event->seq, c->parts[event->part].tail);
    }
    return producer_publish(c->producer, event, f);
}

static enum err port_flush(void *self, int32_t part, int timeout_ms, struct failure *f)
{
    struct broker_client *c = self;
    assert(timeout_ms <= WORKER_REVOKE_FLUSH_MS);
    if (part >= 0)
        c->parts[part].flushes++;
    process_call(c->process, "flush");
    int64_t deadline_us = c->sim->now_us + timeout_ms * SIM_US_PER_MS;
    while (c->producer) {
        producer_serve(c->producer);
        if (producer_outstanding(c->producer, part) == 0)
            break;
        if (producer_has_failed(c->producer))
            return failure_set(f, ERR_LOG_FATAL, "flush: an event was not delivered");
        if (c->sim->now_us >= deadline_us)
            return failure_set(f, ERR_TIMEOUT, "flush: not all is delivered");
        process_sleep_us(c->process, FLUSH_SLICE_MS * SIM_US_PER_MS);
    }
    return ERR_OK;
}

static enum err port_reset_producer(void *self, struct failure *f)
{
    struct broker_client *c = self;
    process_local_call(c->process, "reset_producer");
    if (c->producer)
        producer_drop(c->producer);
    c->producer = NULL;
    if (!c->sim->healed && sim_chance(c->sim, c->sim->plan.broker_error))
        return failure_set(f, ERR_LOG_ERROR, "no new producer");
    c->producer = producer_new(c->process, &c->owner);
    return ERR_OK;
}

/* --- reading --- */

static enum err port_request_range(void *self, int32_t part, int64_t *lo, int64_t *hi,
                                   struct failure *f)
{
    struct broker_client *c = self;
    enum err err = ask(c, "request_range", f);
    if (err != ERR_OK)
        return err;
    *lo = c->cluster->requests[part].lo;
    *hi = c->cluster->requests[part].hi;
    process_travel(c->process);
    return ERR_OK;
}

/* Not for a partition whose tail the worker knows already, which is read again when all tails are
 * compared with the database: late events of a dead owner may have arrived since. */
static void note_tail(struct broker_client *c, int32_t part, int64_t highest)
{
    const struct worker *w = c->process->worker;
    if (w && !w->parts[part].tail_known)
        c->parts[part].tail = highest;
}

static enum err port_event_range(void *self, int32_t part, int64_t *lo, int64_t *hi,
                                 struct failure *f)
{
    struct broker_client *c = self;
    enum err err = ask(c, "event_range", f);
    if (err != ERR_OK)
        return err;
    *lo = c->cluster->events[part].lo;
    *hi = c->cluster->events[part].hi;
    note_tail(c, part, 0);
    process_travel(c->process);
    return ERR_OK;
}

static enum err port_request_before(void *self, int32_t part, int64_t before, int64_t bound,
                                    int64_t *offset_out, uint8_t sha256_out[32], struct failure *f)
{
    struct broker_client *c = self;
    enum err err = ask(c, "request_before", f);
    if (err != ERR_OK)
        return err;
    const struct request_log *log = &c->cluster->requests[part];
    const struct request_entry *found = NULL;
    for (size_t i = 0; i < log->entries.count; i++) {
        const struct request_entry *entry = &log->entries.items[i];
        if (entry->offset < before && entry->offset >= before - bound && entry->offset >= log->lo)
            found = entry;
    }
    if (!found)
        return failure_set(f, ERR_NOT_FOUND, "no message before %" PRId64, before);
    *offset_out = found->offset;
    sha256(found->value, found->len, sha256_out);
    process_travel(c->process);
    return ERR_OK;
}

/* Of the last events, twice as many as may be unpublished: what the tail must not miss. */
static int64_t highest_of_tail(const struct sim *sim, const struct event_log *log)
{
    int64_t highest = 0;
    for (size_t i = 0; i < log->entries.count; i++) {
        const struct event_entry *entry = &log->entries.items[i];
        if (entry->offset >= log->hi - 2 * sim->plan.unpublished_max && entry->offset >= log->lo &&
            entry->seq > highest)
            highest = entry->seq;
    }
    return highest;
}

static enum err port_event_tail(void *self, int32_t part, int64_t count, broker_tail_fn *fn,
                                void *arg, struct failure *f)
{
    struct broker_client *c = self;
    enum err err = ask(c, "event_tail", f);
    if (err != ERR_OK)
        return err;
    const struct event_log *log = &c->cluster->events[part];
    note_tail(c, part, highest_of_tail(c->sim, log));
    if (count < 2 * c->sim->plan.unpublished_max)
        sim_fail(c->sim, "a tail of %" PRId64 " events is too short", count);
    for (size_t i = 0; i < log->entries.count; i++) {
        const struct event_entry *entry = &log->entries.items[i];
        if (entry->offset >= log->hi - count && entry->offset >= log->lo && entry->seq > 0)
            fn(arg, entry->offset, entry->seq);
    }
    process_travel(c->process);
    return ERR_OK;
}

/* --- life --- */

static void port_close(void *self)
{
    struct broker_client *c = self;
    process_call(c->process, "close");
    if (c->closed)
        return;
    c->closed = true;
    if (!c->member)
        return;
    group_give_back(c->sim, c->member, &c->owner, c->member->lost);
    group_leave(c->sim, c->member);
    c->left = true;
}

static const struct broker_ops ops = {
    .shape = port_shape,
    .subscribe = port_subscribe,
    .resubscribe = port_resubscribe,
    .start = port_start,
    .poll = port_poll,
    .release = port_release,
    .seek = port_seek,
    .pause = port_pause,
    .resume = port_resume,
    .publish = port_publish,
    .flush = port_flush,
    .reset_producer = port_reset_producer,
    .commit_offset = port_commit_offset,
    .request_end = port_request_end,
    .request_range = port_request_range,
    .event_range = port_event_range,
    .request_before = port_request_before,
    .event_tail = port_event_tail,
    .close = port_close,
};

struct broker broker_client_new(struct process *p)
{
    struct broker_client *c = arena_alloc(p->sim->arena, sizeof(*c));
    *c = (struct broker_client){.process = p, .sim = p->sim, .cluster = p->sim->cluster};
    c->producer = producer_new(p, &c->owner);
    *LIST_ADD(p->sim, &p->sim->cluster->clients) = c;
    return (struct broker){.ops = &ops, .self = c};
}

void broker_client_gone(struct broker_client *c, bool left)
{
    if (c->producer)
        producer_drop(c->producer);
    assert(!left || c->closed || !c->member);
    if (left && c->given_out > 0)
        sim_fail(c->sim, "%zu messages are not released", c->given_out);
}

void broker_client_unassign(struct broker_client *c)
{
    memset(c->parts, 0, sizeof(c->parts));
}

int64_t broker_client_assignments(const struct broker_client *c)
{
    return c->member ? c->member->assignments : 0;
}

int64_t broker_client_flushes(const struct broker_client *c, int32_t part)
{
    return c->parts[part].flushes;
}

bool broker_client_left(const struct broker_client *c)
{
    return c->left;
}

void broker_client_disconnect(struct broker_client *c)
{
    c->connection_lost = true;
}

void broker_client_fail_delivery(struct broker_client *c)
{
    if (c->producer)
        producer_fail_next(c->producer);
}

void broker_client_cut(struct broker_client *c)
{
    if (c->producer)
        producer_fail(c->producer);
}

struct process *broker_client_process(const struct broker_client *c)
{
    return c->process;
}
