#include "tests/simulation/chaos.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "tests/simulation/check.h"
#include "tests/simulation/client.h"
#include "tests/simulation/disaster.h"
#include "tests/simulation/process.h"
#include "tests/simulation/store_client.h"
#include "tests/simulation/token.h"

#define TICK_MS     100
/* A stranger's transaction holds its row for up to this long. */
#define STRANGER_MS 25000
/* From the healing until everything is decided and published: more than the sum of the loop's
 * longest waits (for a claim, a lost partition, a halted one). */
#define PATIENCE_MS 120000
/* More for a poisonous message: a dozen owners die of it one by one, each missed after 6 s. */
#define POISON_MS   240000
/* From the healing until the operator looks at partitions that wait for a clock. */
#define OPERATOR_MS 8000

struct chaos {
    int64_t healed_us;
    int64_t quiet_ticks;
    bool operator_resumes; /* partitions that wait for a clock; false: time does */
};

/* --- faults --- */

static struct process *any_process(struct sim *sim)
{
    return process_at(sim, (int)sim_below(sim, sim->plan.workers));
}

static void up_again(struct sim *sim, void *arg, int64_t number)
{
    (void)arg, (void)number;
    if (sim->db->down && !sim->held)
        database_up(sim);
    if (sim->cluster->down)
        cluster_up(sim);
}

static void outage(struct sim *sim)
{
    switch (sim_below(sim, 3)) {
    case 0:
        database_crash(sim);
        break;
    case 1:
        cluster_down(sim);
        break;
    default:
        sim->db->slow_until_us = sim->now_us + sim_between(sim, 500, 8000) * SIM_US_PER_MS;
    }
    sim_after_ms(sim, sim_between(sim, 100, 9000), up_again, NULL, 0);
}

static void kill_session(struct sim *sim)
{
    if (sim->db->sessions.count == 0)
        return;
    int64_t i = sim_below(sim, (int64_t)sim->db->sessions.count);
    session_drop(sim, sim->db->sessions.items[i]);
}

static void stranger_leaves(struct sim *sim, void *arg, int64_t number)
{
    (void)number;
    session_drop(sim, arg);
}

static void stranger_comes(struct sim *sim)
{
    struct session *session = database_stranger(sim);
    sim_after_ms(sim, sim_between(sim, 100, STRANGER_MS), stranger_leaves, session, 0);
}

static void change_keys(struct sim *sim)
{
    int client = (int)sim_between(sim, 1, sim->plan.clients - 1);
    token_key_add(sim, client);
    if (sim_chance(sim, 400000))
        token_key_revoke(sim, client);
}

static void jump_clock(struct sim *sim)
{
    sim->cluster->jump_ms = sim_chance(sim, 300000)
                                ? 0
                                : sim_between(sim, -3600, sim_chance(sim, 300000) ? 3600 : 200) *
                                      1000;
    sim_note(sim, 95, "clock jumps", sim->cluster->jump_ms, 0);
}

/* Retention deletes the oldest events. Their entries stay, for the checks. */
static void expire_events(struct sim *sim)
{
    struct event_log *log = &sim->cluster->events[sim_below(sim, sim->plan.partitions)];
    log->lo = sim_chance(sim, 300000) ? log->hi : sim_between(sim, log->lo, log->hi);
}

static void process_fault(struct sim *sim, struct process *p)
{
    switch (sim_below(sim, 6)) {
    case 0:
        if (sim->plan.kills)
            process_kill(p, sim_chance(sim, 400000));
        break;
    case 1:
        if (sim->plan.restarts)
            process_terminate(p);
        break;
    case 2:
        if (sim->plan.pause > 0)
            process_suspend_ms(p, sim_between(sim, 100, 20000));
        break;
    case 3:
        if (p->broker && sim->plan.delivery_failed > 0)
            broker_client_fail_delivery(p->broker);
        break;
    case 4:
        if (p->broker && sim->plan.broker_error > 0)
            broker_client_disconnect(p->broker);
        break;
    default:
        if (sim->plan.store_cut > 0)
            kill_session(sim);
    }
}

static void fault(struct sim *sim)
{
    const struct plan *plan = &sim->plan;
    switch (sim_below(sim, 9)) {
    case 0:
        if (plan->outages)
            outage(sim);
        break;
    case 1:
        if (plan->rebalances && sim_chance(sim, 500000)) {
            group_expel_any(sim);
        } else if (plan->rebalances && sim->cluster->group.members.count > 0) {
            group_rebalance(sim);
        }
        break;
    case 2:
        if (plan->keys)
            change_keys(sim);
        break;
    case 3:
        if (plan->holes) {
            cluster_make_hole(sim, (int32_t)sim_below(sim, plan->partitions),
                              sim_between(sim, 1, 3));
        }
        break;
    case 4:
        if (plan->clock_jumps)
            jump_clock(sim);
        break;
    case 6:
        if (plan->strangers)
            stranger_comes(sim);
        break;
    case 5:
        if (plan->retention)
            expire_events(sim);
        break;
    default:
        process_fault(sim, any_process(sim));
    }
}

static void fault_now_and_then(struct sim *sim, void *arg, int64_t number)
{
    (void)arg, (void)number;
    if (sim->healed)
        return;
    fault(sim);
    sim_after_ms(sim, sim_between(sim, 0, 2 * sim->plan.chaos_ms), fault_now_and_then, NULL, 0);
}

/* --- the operator --- */

static void resume(struct sim *sim, struct partition_row *row)
{
    sim_note(sim, 95, "operator resumes", row->part, 0);
    row->halted[0] = '\0';
    row->halt_cause = HALT_NONE;
    row->progress_epoch = row->epoch;
}

/* A halt after too many crashes is resumed; every other halt must be the disaster's. */
static void look_at_halt(struct sim *sim, struct partition_row *row)
{
    if (disaster_halt_is_right(sim, row)) {
        if (disaster_operator_acts(sim, row))
            resume(sim, row);
        return;
    }
    if (row->halt_cause != HALT_REPEATED_DEATHS || sim->plan.disaster == DISASTER_POISON) {
        sim_fail(sim, "partition %" PRId32 " is halted: %s", row->part, row->halted);
        return;
    }
    sim->count.halts++;
    resume(sim, row);
}

/* After a while the operator has messages decided whose append time is ahead of every clock. */
static void look_at_clock(struct sim *sim, struct partition_row *row)
{
    const struct request_log *log = &sim->cluster->requests[row->part];
    int64_t since_us = sim->now_us - sim->chaos->healed_us;
    if (!sim->healed || !sim->chaos->operator_resumes || since_us < OPERATOR_MS * SIM_US_PER_MS ||
        row->ignore_time_until == log->hi || check_part_is_done(sim, row->part))
        return;
    for (size_t i = 0; i < log->entries.count; i++) {
        const struct request_entry *entry = &log->entries.items[i];
        if (entry->offset >= row->next_offset &&
            entry->append_ms > sim_wall_ms(sim) + WORKER_CLOCK_AHEAD_MS) {
            row->ignore_time_until = log->hi;
            resume(sim, row);
            return;
        }
    }
}

static void operate(struct sim *sim)
{
    for (int32_t part = 0; part < sim->plan.partitions; part++) {
        struct partition_row *row = database_partition(sim->db, part);
        if (!database_row_is_free(sim->db, part) || sim->db->down)
            continue;
        if (row->halted[0]) {
            look_at_halt(sim, row);
        } else {
            look_at_clock(sim, row);
        }
    }
    struct farm_row *farm = &sim->db->now.farm;
    if (farm->halted[0] && !disaster_farm_halt_is_right(sim)) {
        sim_fail(sim, "the farm is halted: %s", farm->halted);
    } else if (farm->halted[0] && disaster_operator_forgets(sim)) {
        farm->halted[0] = '\0';
        farm->halt_cause = HALT_NONE;
    }
}

/* --- healing, and the end --- */

static void heal(struct sim *sim)
{
    sim_note(sim, 95, "healed", 0, 0);
    sim->healed = true;
    sim->chaos->healed_us = sim->now_us;
    sim->cluster->jump_ms = 0;
    sim->db->slow_until_us = 0;
    up_again(sim, NULL, 0);
    for (int i = 0; i < sim->plan.workers; i++) {
        struct process *p = process_at(sim, i);
        p->stopped_until_us = 0;
        process_wake(p);
    }
}

static bool all_is_done(struct sim *sim)
{
    if (sim->db->now.farm.halted[0])
        return disaster_is_answered(sim);
    for (int32_t part = 0; part < sim->plan.partitions; part++) {
        if (!disaster_part_is_settled(sim, part))
            return false;
    }
    return disaster_is_answered(sim);
}

static int64_t patience_ms(const struct sim *sim)
{
    int64_t ahead_ms = 0;
    for (int32_t part = 0; part < sim->plan.partitions && !sim->chaos->operator_resumes; part++) {
        const struct request_log *log = &sim->cluster->requests[part];
        for (size_t i = 0; i < log->entries.count; i++) {
            int64_t ms = log->entries.items[i].append_ms - SIM_EPOCH_MS -
                         sim->chaos->healed_us / SIM_US_PER_MS;
            ahead_ms = ms > ahead_ms ? ms : ahead_ms;
        }
    }
    return PATIENCE_MS + ahead_ms + (sim->plan.disaster == DISASTER_POISON ? POISON_MS : 0);
}

static void tick(struct sim *sim, void *arg, int64_t number)
{
    struct chaos *chaos = sim->chaos;
    (void)arg, (void)number;
    if (sim->stopped)
        return;
    operate(sim);
    if (!sim->healed && clients_are_done(sim) && disaster_is_over(sim) &&
        sim->now_us >= sim->plan.workload_ms * SIM_US_PER_MS)
        heal(sim);
    if (sim->healed && all_is_done(sim)) {
        processes_stop(sim);
        return;
    }
    if (sim->healed && sim->now_us - chaos->healed_us > patience_ms(sim) * SIM_US_PER_MS) {
        char what[700];
        check_describe(sim, what, sizeof(what));
        sim_fail(sim, "after the healing it does not come to an end: %s", what);
    }
    sim_after_ms(sim, TICK_MS, tick, NULL, 0);
}

void chaos_open(struct sim *sim)
{
    sim->chaos = arena_alloc(sim->arena, sizeof(*sim->chaos));
    sim->chaos->operator_resumes = sim->plan.disaster == DISASTER_CLOCK_AHEAD ||
                                   sim_chance(sim, 600000);
    disaster_open(sim);
    sim_after_ms(sim, TICK_MS, tick, NULL, 0);
    if (sim->plan.chaos_ms > 0)
        fault_now_and_then(sim, NULL, 0);
}
