/* The consumer group with eager assignment (docs/architecture.md, Owning a partition). When the
 * members change, each gives all its partitions back in its next poll and gets new ones in a later
 * poll. A silent member is removed, and believes that it owns its partitions until it polls again: a
 * zombie. */
#include <assert.h>
#include <string.h>

#include "tests/simulation/cluster.h"
#include "tests/simulation/process.h"

/* A removed member learns so with its next heartbeat, or when it is connected again. */
#define HEARTBEAT_MS    700
#define CUT_OFF_MS      5000
/* session.timeout.ms and max.poll.interval.ms. */
#define SESSION_US      (INT64_C(6) * 1000 * 1000)
#define REBALANCE_US    (INT64_C(60) * 1000 * 1000)
#define HOUSEKEEPING_MS 500

static void remove_member(struct group *group, struct member *member)
{
    size_t kept = 0;
    for (size_t i = 0; i < group->members.count; i++) {
        if (group->members.items[i] != member)
            group->members.items[kept++] = group->members.items[i];
    }
    group->members.count = kept;
}

void group_rebalance(struct sim *sim)
{
    struct group *group = &sim->cluster->group;
    sim_note(sim, 92, "rebalance", (int64_t)group->members.count, 0);
    sim->count.rebalances++;
    group->rebalancing = true;
    group->rebalance_us = sim->now_us;
    for (size_t i = 0; i < group->members.count; i++)
        group->members.items[i]->joined = group->members.items[i]->assigned = false;
}

static bool all_joined(const struct group *group)
{
    for (size_t i = 0; i < group->members.count; i++) {
        if (!group->members.items[i]->joined)
            return false;
    }
    return group->members.count > 0;
}

static void assign(struct sim *sim)
{
    struct group *group = &sim->cluster->group;
    bool at_random = sim_chance(sim, 300000);
    int64_t first = sim_below(sim, (int64_t)group->members.count);
    for (size_t i = 0; i < group->members.count; i++) {
        struct member *member = group->members.items[i];
        memset(member->owner, 0, sizeof(member->owner));
        member->assigned = true;
    }
    for (int32_t part = 0; part < sim->plan.partitions; part++) {
        int64_t count = (int64_t)group->members.count;
        int64_t i = at_random ? sim_below(sim, count) : (first + part) % count;
        group->members.items[i]->owner[part] = true;
        sim_note(sim, 92, "assigns", part,
                 broker_client_process(group->members.items[i]->client)->number);
    }
}

static void complete(struct sim *sim)
{
    struct group *group = &sim->cluster->group;
    if (!group->rebalancing || !all_joined(group))
        return;
    group->rebalancing = false;
    assign(sim);
}

static void leave_out(struct sim *sim, struct member *member)
{
    sim_note(sim, 92, "leaves out", broker_client_process(member->client)->number, 0);
    member->lost = true;
    member->learns_us = 0;
    member->assigned = false;
    remove_member(&sim->cluster->group, member);
    group_rebalance(sim);
}

void group_expel_any(struct sim *sim)
{
    struct group *group = &sim->cluster->group;
    if (group->members.count == 0)
        return;
    struct member *member = group->members.items[sim_below(sim, (int64_t)group->members.count)];
    leave_out(sim, member);
    member->learns_us = sim->now_us + sim_between(sim, 0, CUT_OFF_MS) * SIM_US_PER_MS;
}

static bool is_late(const struct sim *sim, const struct member *member)
{
    const struct group *group = &sim->cluster->group;
    if (sim->now_us - member->seen_us > SESSION_US)
        return true;
    return group->rebalancing && !member->joined &&
           sim->now_us - group->rebalance_us > REBALANCE_US;
}

static void housekeeping(struct sim *sim, void *arg, int64_t number)
{
    struct group *group = arg;
    (void)number;
    for (size_t i = 0; i < group->members.count && !sim->cluster->down; i++) {
        struct member *member = group->members.items[i];
        const struct process *p = broker_client_process(member->client);
        if (p->broker == member->client && !process_is_suspended(p))
            member->seen_us = sim->now_us; /* its library's own thread is heard of */
        if (is_late(sim, member)) {
            leave_out(sim, member);
            break;
        }
    }
    complete(sim);
    sim_after_ms(sim, HOUSEKEEPING_MS, housekeeping, group, 0);
}

void group_open(struct sim *sim)
{
    sim_after_ms(sim, HOUSEKEEPING_MS, housekeeping, &sim->cluster->group, 0);
}

static void join(struct sim *sim, struct member *member)
{
    member->lost = false;
    member->seen_us = sim->now_us;
    *LIST_ADD(sim, &sim->cluster->group.members) = member;
    group_rebalance(sim);
}

struct member *group_join(struct sim *sim, struct broker_client *client)
{
    struct member *member = arena_alloc(sim->arena, sizeof(*member));
    member->client = client;
    join(sim, member);
    return member;
}

void group_leave(struct sim *sim, struct member *member)
{
    if (member->lost)
        return;
    remove_member(&sim->cluster->group, member);
    if (sim->cluster->group.members.count > 0)
        group_rebalance(sim);
}

void group_give_back(struct sim *sim, struct member *member, const struct broker_callbacks *owner,
                     bool lost)
{
    const struct process *p = broker_client_process(member->client);
    int32_t parts[PLAN_PARTITIONS_MAX];
    int64_t flushes[PLAN_PARTITIONS_MAX], begin_us = sim->now_us;
    bool waits[PLAN_PARTITIONS_MAX];
    size_t count = 0;
    for (int32_t part = 0; part < sim->plan.partitions; part++) {
        if (!member->told[part])
            continue;
        const struct part *own = &p->worker->parts[part];
        waits[count] = !lost && part_is_claimed(own) && own->sent_seq > own->acked_seq;
        flushes[count] = broker_client_flushes(member->client, part);
        parts[count++] = part;
    }
    if (count > 0)
        owner->revoked(owner->arg, parts, count, lost);
    for (size_t i = 0; i < count; i++) {
        const struct part *own = &p->worker->parts[parts[i]];
        if (waits[i] && own->sent_seq > own->acked_seq &&
            flushes[i] == broker_client_flushes(member->client, parts[i]) &&
            sim->now_us - begin_us < WORKER_REVOKE_FLUSH_MS * SIM_US_PER_MS) {
            sim_fail(sim, "%s gives partition %d back, and does not wait for its events", p->name,
                     (int)parts[i]);
        }
    }
    broker_client_unassign(member->client);
    memset(member->told, 0, sizeof(member->told));
    member->told_any = false;
}

static void tell(struct sim *sim, struct member *member, const struct broker_callbacks *owner)
{
    int32_t parts[PLAN_PARTITIONS_MAX];
    size_t count = 0;
    member->assigned = false;
    member->assignments++;
    memcpy(member->told, member->owner, sizeof(member->told));
    member->told_any = true;
    for (int32_t part = 0; part < sim->plan.partitions; part++) {
        if (member->told[part])
            parts[count++] = part;
    }
    broker_client_unassign(member->client);
    owner->assigned(owner->arg, parts, count);
}

void group_poll(struct sim *sim, struct member *member, const struct broker_callbacks *owner)
{
    struct group *group = &sim->cluster->group;
    if (sim->cluster->down)
        return;
    if (member->lost) {
        if (member->learns_us == 0)
            member->learns_us = sim->now_us + sim_between(sim, 0, HEARTBEAT_MS) * SIM_US_PER_MS;
        if (sim->now_us < member->learns_us)
            return;
        group_give_back(sim, member, owner, true);
        join(sim, member);
        return;
    }
    if (group->rebalancing && !member->joined) {
        if (member->told_any)
            group_give_back(sim, member, owner, false);
        if (member->lost) /* that took too long */
            return;
        member->joined = true;
        complete(sim);
        return;
    }
    if (member->assigned)
        tell(sim, member, owner);
}
