#include "tests/simulation/disaster.h"

#include <assert.h>
#include <string.h>

#include "tests/simulation/check.h"
#include "tests/simulation/client.h"
#include "tests/simulation/process.h"

/* Longer than any COMMIT or event can be on its way: how long it takes to restore a database, for
 * retention to delete requests, and for the operator to act. */
#define LONG_WHILE_MS  6000
#define SHORT_WHILE_MS 800
/* A young backup, so that some partitions have not changed since. */
#define BACKUP_AGE_MS  1500
#define MONTH_MS       (INT64_C(30) * 24 * 3600 * 1000)

struct disaster {
    bool over;
    int32_t part;      /* the partition it is about */
    bool must_halt;    /* the partition, or the farm */
    bool may_halt;     /* the partition */
    bool spoilt;       /* the partition's logs are not those whose messages were decided */
    int64_t offset;    /* of the message it is about, of a batch the first */
    int64_t halted_us; /* when the farm was; 0: it was not */
    bool forgot;
};

static struct disaster *state(const struct sim *sim)
{
    return sim->disaster;
}

/* --- what happens --- */

static void broker_comes_back(struct sim *sim, void *arg, int64_t number)
{
    (void)arg, (void)number;
    cluster_up(sim);
    state(sim)->over = true;
}

static void remake_requests(struct sim *sim)
{
    struct disaster *w = state(sim);
    struct request_log *log = &sim->cluster->requests[w->part];
    const struct partition_row *row = database_partition(sim->db, w->part);
    w->must_halt = row->last_seq > 0 || log->first > 0;
    w->may_halt = w->spoilt = true; /* a batch in hand may be committed still */
    cluster_down(sim);
    log->entries.count = 0;
    log->lo = log->hi = 0;
    sim_after_ms(sim, 500, broker_comes_back, NULL, 0);
}

/* The log ends earlier, as after an unclean election of a leader. */
static void cut_requests(struct sim *sim)
{
    struct disaster *w = state(sim);
    struct request_log *log = &sim->cluster->requests[w->part];
    const struct partition_row *row = database_partition(sim->db, w->part);
    size_t decided = 0;
    while (decided < log->entries.count && log->entries.items[decided].offset < row->next_offset)
        decided++;
    if (decided == 0) {
        w->over = true;
        return;
    }
    w->must_halt = w->spoilt = true;
    cluster_down(sim);
    log->entries.count = (size_t)sim_below(sim, (int64_t)decided);
    log->hi = log->entries.items[log->entries.count].offset;
    sim_after_ms(sim, 500, broker_comes_back, NULL, 0);
}

static void remake_events(struct sim *sim)
{
    struct disaster *w = state(sim);
    struct event_log *log = &sim->cluster->events[w->part];
    w->may_halt = w->spoilt = true; /* a worker notices when it publishes */
    log->entries.count = 0;
    log->lo = log->hi = log->highest = 0;
    log->made++;
    w->over = true;
}

static void hold_workers(struct sim *sim)
{
    sim->held = true;
    for (int i = 0; i < sim->plan.workers; i++)
        process_kill(process_at(sim, i), false);
}

static void expire_requests(struct sim *sim, void *arg, int64_t number)
{
    struct disaster *w = state(sim);
    struct request_log *log = &sim->cluster->requests[w->part];
    const struct partition_row *row = database_partition(sim->db, w->part);
    (void)arg, (void)number;
    for (int64_t i = sim_between(sim, 1, 5); i > 0; i--)
        client_send_to(sim, w->part);
    log->lo = sim_between(sim, row->next_offset + 1, log->hi);
    w->must_halt = w->spoilt = true;
    sim->held = false;
    w->over = true;
}

/* --- restored databases --- */

static bool events_are_ahead(const struct sim *sim, const struct tables *tables)
{
    for (size_t i = 0; i < tables->partitions.count; i++) {
        const struct partition_row *row = &tables->partitions.items[i];
        if (sim->cluster->events[row->part].highest > row->last_seq)
            return true;
    }
    return false;
}

/* Gives every worker something to do. */
static void send_some(struct sim *sim)
{
    for (int64_t i = sim_between(sim, 5, 20); i > 0; i--)
        client_send_one(sim);
}

static void restore(struct sim *sim, void *arg, int64_t number)
{
    struct disaster *w = state(sim);
    (void)arg, (void)number;
    send_some(sim);
    w->must_halt = events_are_ahead(sim, &sim->db->backup);
    if (!sim->db->down)
        database_crash(sim);
    /* Without an event ahead, the restored database would be like any other after a restart. */
    if (w->must_halt)
        database_restore(sim);
    database_up(sim);
    sim->held = false;
    w->over = true;
}

/* The owners of the partitions that went backwards may find out late. */
static void suspend_some(struct sim *sim)
{
    int awake = (int)sim_below(sim, sim->plan.workers);
    for (int i = 0; i < sim->plan.workers; i++) {
        if (i != awake && sim_chance(sim, 600000))
            process_suspend_ms(process_at(sim, i), LONG_WHILE_MS + sim_between(sim, 500, 4000));
    }
}

static void prepare_restore(struct sim *sim)
{
    if (sim->plan.disaster == DISASTER_RESTORED) {
        hold_workers(sim);
    } else {
        suspend_some(sim);
    }
    sim_after_ms(sim, sim->held ? LONG_WHILE_MS : SHORT_WHILE_MS, restore, NULL, 0);
}

static void back_up(struct sim *sim, void *arg, int64_t number)
{
    (void)arg, (void)number;
    database_backup(sim);
}

/* --- clocks and messages --- */

static void clock_comes_back(struct sim *sim, void *arg, int64_t number)
{
    (void)arg, (void)number;
    sim->cluster->requests[state(sim)->part].clock_skew_ms -= MONTH_MS;
    state(sim)->over = true;
}

static void send_without_time(struct sim *sim)
{
    struct disaster *w = state(sim);
    struct request_log *log = &sim->cluster->requests[w->part];
    w->offset = cluster_append_request(sim, w->part, "untimely", strlen("untimely"));
    log->entries.items[log->entries.count - 1].append_ms = BROKER_NO_TIME;
    w->may_halt = true;
    w->over = true;
}

static void send_poison(struct sim *sim)
{
    struct disaster *w = state(sim);
    if (sim_chance(sim, 500000))
        cluster_make_hole(sim, w->part, sim_between(sim, 1, 3));
    w->offset = client_send_poison(sim, w->part);
    send_some(sim);
    w->may_halt = w->over = true;
}

/* One batch; good messages follow it. */
static void send_unreadable(struct sim *sim)
{
    struct disaster *w = state(sim);
    struct request_log *log = &sim->cluster->requests[w->part];
    if (sim_chance(sim, 500000))
        cluster_make_hole(sim, w->part, sim_between(sim, 1, 3));
    w->offset = log->hi;
    for (int64_t left = sim_between(sim, 1, 4); left > 0; left--) {
        (void)cluster_append_request(sim, w->part, "", 0);
        struct request_entry *entry = &log->entries.items[log->entries.count - 1];
        entry->append_ms = BROKER_NO_TIME;
        entry->unreadable = true;
        entry->batch_offset = w->offset;
    }
    send_some(sim);
    w->may_halt = w->over = true;
}

/* A worker that reads the tail finds the event, unless enough others follow it. Then all must stop. */
static void append_unknown_event(struct sim *sim)
{
    struct disaster *w = state(sim);
    struct event_log *log = &sim->cluster->events[w->part];
    int64_t seq = database_partition(sim->db, w->part)->last_seq + 50;
    *LIST_ADD(sim, &log->entries) = (struct event_entry){
        .offset = log->hi++, .seq = seq, .type = "?", .value = "?", .len = 1};
    w->spoilt = w->over = true;
    process_terminate(process_at(sim, (int)sim_below(sim, sim->plan.workers)));
}

static void happen(struct sim *sim, void *arg, int64_t number)
{
    struct disaster *w = state(sim);
    (void)arg, (void)number;
    sim_note(sim, 96, disaster_name(sim->plan.disaster), w->part, 0);
    switch (sim->plan.disaster) {
    case DISASTER_REQUESTS_CUT:
        cut_requests(sim);
        break;
    case DISASTER_REQUESTS_REMADE:
        remake_requests(sim);
        break;
    case DISASTER_REQUESTS_EXPIRED:
        hold_workers(sim);
        sim_after_ms(sim, LONG_WHILE_MS, expire_requests, NULL, 0);
        break;
    case DISASTER_EVENTS_REMADE:
        remake_events(sim);
        break;
    case DISASTER_RESTORED:
    case DISASTER_RESTORED_LIVE:
        prepare_restore(sim);
        break;
    case DISASTER_EVENTS_AHEAD:
        append_unknown_event(sim);
        break;
    case DISASTER_CLOCK_AHEAD:
        sim->cluster->requests[w->part].clock_skew_ms += MONTH_MS;
        sim_after_ms(sim, sim_between(sim, 1000, 10000), clock_comes_back, NULL, 0);
        break;
    case DISASTER_NO_TIME:
        send_without_time(sim);
        break;
    case DISASTER_UNREADABLE:
        send_unreadable(sim);
        break;
    case DISASTER_POISON:
        send_poison(sim);
        break;
    case DISASTER_UNWRITABLE:
        w->offset = client_send_to(sim, w->part);
        send_some(sim);
        w->may_halt = w->over = true;
        break;
    case DISASTER_NONE:
    case DISASTER_OTHER_CLUSTER:
    case DISASTER_FAILED_OVER:
    case DISASTER_KIND_COUNT:
        w->over = true;
    }
}

void disaster_open(struct sim *sim)
{
    sim->disaster = arena_alloc(sim->arena, sizeof(*sim->disaster));
    sim->disaster->part = (int32_t)sim_below(sim, sim->plan.partitions);
    int64_t at_ms = sim_between(sim, sim->plan.workload_ms / 3, sim->plan.workload_ms);
    if (sim->plan.disaster == DISASTER_FAILED_OVER)
        fail_over_open(sim);
    if (sim->plan.disaster == DISASTER_NONE || sim->plan.disaster == DISASTER_OTHER_CLUSTER ||
        sim->plan.disaster == DISASTER_FAILED_OVER) {
        sim->disaster->over = true;
        return;
    }
    if (sim->plan.disaster == DISASTER_RESTORED || sim->plan.disaster == DISASTER_RESTORED_LIVE)
        sim_after_ms(sim, at_ms - sim_between(sim, 0, BACKUP_AGE_MS), back_up, NULL, 0);
    sim_after_ms(sim, at_ms, happen, NULL, 0);
}

/* --- what they must make of it --- */

bool disaster_is_over(const struct sim *sim)
{
    return state(sim)->over;
}

static bool farm_is_restored(const struct sim *sim)
{
    return sim->db->restored && state(sim)->must_halt;
}

/* It must be halted, or is and may be. */
static bool farm_stands_still(const struct sim *sim)
{
    return farm_is_restored(sim) ||
           (sim->plan.disaster == DISASTER_EVENTS_AHEAD && sim->db->now.farm.halted[0]);
}

bool disaster_is_answered(const struct sim *sim)
{
    if (farm_stands_still(sim))
        return sim->db->now.farm.halted[0] && state(sim)->forgot;
    if (sim->plan.disaster == DISASTER_OTHER_CLUSTER && sim->plan.workers > 1)
        return process_at((struct sim *)(uintptr_t)sim, sim->plan.workers - 1)->refused != ERR_OK;
    return true;
}

bool disaster_part_is_spoilt(const struct sim *sim, int32_t part)
{
    if (farm_stands_still(sim))
        return true;
    return state(sim)->spoilt && state(sim)->part == part;
}

bool disaster_part_is_settled(const struct sim *sim, int32_t part)
{
    const struct disaster *w = state(sim);
    if (!w->spoilt || w->part != part)
        return check_part_is_done(sim, part);
    return database_partition(sim->db, part)->halted[0] ||
           (!w->must_halt && check_part_is_decided(sim, part));
}

/* The first message from the partition's position on; -1: none. */
static int64_t next_message(const struct sim *sim, const struct partition_row *row)
{
    const struct request_log *log = &sim->cluster->requests[row->part];
    for (size_t i = 0; i < log->entries.count; i++) {
        if (log->entries.items[i].offset >= row->next_offset)
            return log->entries.items[i].offset;
    }
    return -1;
}

/* The cause of the halt in each disaster. */
static const enum halt_cause causes[DISASTER_KIND_COUNT] = {
    [DISASTER_REQUESTS_CUT] = HALT_REQUEST_LOG_REPLACED,
    [DISASTER_REQUESTS_REMADE] = HALT_REQUEST_LOG_REPLACED,
    [DISASTER_REQUESTS_EXPIRED] = HALT_REQUESTS_DELETED,
    [DISASTER_EVENTS_REMADE] = HALT_EVENTS_DELETED,
    [DISASTER_NO_TIME] = HALT_NO_APPEND_TIME,
    [DISASTER_UNREADABLE] = HALT_UNREADABLE,
    [DISASTER_POISON] = HALT_REPEATED_DEATHS,
    [DISASTER_UNWRITABLE] = HALT_UNDECIDABLE,
};

bool disaster_halt_is_right(const struct sim *sim, const struct partition_row *row)
{
    const struct disaster *w = state(sim);
    bool about_message = sim->plan.disaster == DISASTER_POISON ||
                         sim->plan.disaster == DISASTER_UNREADABLE ||
                         sim->plan.disaster == DISASTER_UNWRITABLE;
    return w->part == row->part && (w->must_halt || w->may_halt) &&
           row->halt_cause == causes[sim->plan.disaster] &&
           (!about_message || next_message(sim, row) == w->offset);
}

bool disaster_farm_halt_is_right(const struct sim *sim)
{
    return farm_stands_still(sim) && sim->db->now.farm.halt_cause == HALT_DATABASE_OLDER;
}

bool disaster_operator_acts(struct sim *sim, struct partition_row *row)
{
    const struct disaster *w = state(sim);
    switch (sim->plan.disaster) {
    case DISASTER_POISON:
    case DISASTER_UNREADABLE:
    case DISASTER_UNWRITABLE:
        row->reject_offset = next_message(sim, row); /* as berth-admin reject requires */
        return true;
    case DISASTER_NO_TIME:
        row->ignore_time_until = w->offset + 1;
        return true;
    default:
        return false;
    }
}

bool disaster_operator_forgets(struct sim *sim)
{
    struct disaster *w = state(sim);
    if (w->halted_us == 0)
        w->halted_us = sim->now_us;
    /* Late enough that a worker has started meanwhile, and found the farm halted. */
    if (w->forgot || sim->now_us - w->halted_us < LONG_WHILE_MS * SIM_US_PER_MS)
        return false;
    sim_note(sim, 96, "operator forgets", 0, 0);
    return w->forgot = true;
}

bool disaster_refuses(const struct sim *sim, const struct decision_row *row)
{
    const struct disaster *w = state(sim);
    return sim->plan.disaster == DISASTER_UNWRITABLE && w->over && row->part == w->part &&
           row->log_offset == w->offset && row->reason != REASON_REJECTED_BY_OPERATOR;
}

void disaster_note_decisions(struct sim *sim, const struct writes *writes)
{
    const struct decision_row *row = &writes->decisions.items[0].row;
    if (farm_is_restored(sim)) {
        sim_fail(sim, "decision %d-%lld was made on a database that is behind the event topic",
                 (int)row->part, (long long)row->seq);
    }
}

void disaster_check_end(struct sim *sim)
{
    const struct disaster *w = state(sim);
    if (sim->plan.disaster == DISASTER_OTHER_CLUSTER && sim->plan.workers > 1) {
        const struct process *p = process_at(sim, sim->plan.workers - 1);
        if (p->refused != ERR_LOG_TOPIC || !strstr(p->refusal, "cluster"))
            sim_fail(sim, "%s works on another cluster", p->name);
        return;
    }
    if (farm_stands_still(sim)) {
        if (!sim->db->now.farm.halted[0])
            sim_fail(sim, "the database is behind the event topic, and the farm goes on");
    } else if (w->must_halt && w->spoilt && !database_partition(sim->db, w->part)->halted[0]) {
        sim_fail(sim, "partition %d is not halted: %s", (int)w->part,
                 disaster_name(sim->plan.disaster));
    }
}
