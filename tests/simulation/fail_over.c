/* DISASTER_FAILED_OVER: the database's host dies together with a worker, and a replica takes over
 * that lacks the worker's last commits. None of them was published, so the event topic is not ahead
 * and nobody has to halt. What was lost is decided again, by other workers and among other
 * requests: the same versions then stand for other content. That matters to a worker that has read
 * a lost commit, the witness; so the database fails over when there is one. */
#include "tests/simulation/disaster.h"

#include <string.h>

#include "tests/simulation/client.h"
#include "tests/simulation/process.h"

#define LOOK_MS     1
/* From one fail-over to the next: the group has missed the dead worker, and all has gone on. */
#define PAUSE_MS    10000
#define DOWN_MS     300
/* The dead worker starts anew after the group has missed it. Until then the others go on. */
#define AWAY_MS     8000
/* The witness is late: it has a request in hand that would show it the older version. */
#define LATE_MIN_MS 500
#define LATE_MAX_MS 5000
/* How often the machine's version is looked at. */
#define AGAIN_MS    20
/* Bookings of a whole machine, one behind the other. */
#define FIRST_MS    60000
#define BOOKING_MS  10000

/* A worker that has read a lost commit, and of which machine; `name` is NULL: it read new keys and
 * limits. */
struct witness {
    struct process *process;
    int64_t life;
    const char *name;
    int64_t version, start_ms;
    int64_t until_us;
    int32_t part; /* of the last booking, and its offset */
    int64_t offset;
};

static struct process *dying_process(struct sim *sim)
{
    for (int i = 0; i < sim->plan.workers; i++) {
        struct process *p = process_at(sim, i);
        if (p->fiber && p->life == sim->db->ahead_life)
            return p;
    }
    return NULL;
}

static bool some_is_published(const struct sim *sim)
{
    for (size_t i = 0; i < sim->db->replica.partitions.count; i++) {
        const struct partition_row *row = &sim->db->replica.partitions.items[i];
        if (sim->cluster->events[row->part].highest > row->last_seq)
            return true;
    }
    return false;
}

static int64_t replica_version(const struct sim *sim, int64_t id)
{
    for (size_t i = 0; i < sim->db->replica.machines.count; i++) {
        if (sim->db->replica.machines.items[i].id == id)
            return sim->db->replica.machines.items[i].version;
    }
    return 0;
}

static bool knows(const struct sim *sim, const struct process *p, const struct machine_row *row)
{
    const struct machine *machine = world_machine_by_id(p->worker->world, row->id);
    return machine && machine->timeline && !machine->touched &&
           machine->timeline_version == row->version &&
           row->version > replica_version(sim, row->id);
}

static struct witness *find_witness(struct sim *sim, const struct process *dying)
{
    const struct tables *now = &sim->db->now;
    for (int i = 0; i < sim->plan.workers; i++) {
        struct process *p = process_at(sim, i);
        if (p == dying || !p->worker)
            continue;
        bool found = keyring_generation(p->worker->keys) > sim->db->replica.farm.key_generation;
        struct witness witness = {.process = p, .life = p->life};
        for (size_t k = 0; !found && k < now->machines.count; k++) {
            witness.name = now->machines.items[k].name;
            witness.version = now->machines.items[k].version;
            found = knows(sim, p, &now->machines.items[k]);
        }
        if (found)
            return memcpy(arena_alloc(sim->arena, sizeof(witness)), &witness, sizeof(witness));
    }
    return NULL;
}

/* A partition that the witness owns, or one that it does not. */
static int32_t choose_part(struct sim *sim, const struct witness *witness, bool own)
{
    int32_t part = 0;
    for (int i = 0; i < 20; i++) {
        part = (int32_t)sim_below(sim, sim->plan.partitions);
        if ((sim->db->now.owners[part] == witness->life) == own)
            break;
    }
    return part;
}

/* Others book the machine until it has the version that the witness knows. Then the witness is asked
 * for the very time that was booked last. */
static void ask_again(struct sim *sim, void *arg, int64_t number)
{
    struct witness *witness = arg;
    const struct machine_row *row = database_machine_named(sim->db, witness->name);
    (void)number;
    if (sim->now_us > witness->until_us || (row && row->version > witness->version))
        return;
    bool answered = database_partition(sim->db, witness->part)->next_offset > witness->offset;
    if (row && answered) {
        bool own = row->version == witness->version;
        if (!own)
            witness->start_ms += BOOKING_MS;
        witness->part = choose_part(sim, witness, own);
        witness->offset = client_send_booking(sim, witness->part, row, witness->start_ms,
                                              BOOKING_MS);
    }
    sim_after_ms(sim, AGAIN_MS, ask_again, witness, 0);
}

static void up(struct sim *sim, void *arg, int64_t number)
{
    struct witness *witness = arg;
    (void)number;
    if (sim->db->down && !sim->held)
        database_up(sim);
    if (!witness->name) {
        client_change_limits(sim);
        return;
    }
    witness->until_us = sim->now_us + AWAY_MS * SIM_US_PER_MS;
    witness->offset = -1;
    witness->start_ms = sim_wall_ms(sim) / 1000 * 1000 + FIRST_MS;
    ask_again(sim, witness, 0);
}

static void look(struct sim *sim, void *arg, int64_t number)
{
    (void)arg, (void)number;
    if (sim->healed)
        return;
    struct process *dying = sim->db->down ? NULL : dying_process(sim);
    struct witness *witness = dying && !some_is_published(sim) ? find_witness(sim, dying) : NULL;
    if (witness) {
        broker_client_cut(dying->broker);
        process_kill(dying, true);
        process_suspend_ms(witness->process, sim_between(sim, LATE_MIN_MS, LATE_MAX_MS));
        dying->away_until_us = sim->now_us + AWAY_MS * SIM_US_PER_MS;
        database_fail_over(sim);
        sim_after_ms(sim, sim_below(sim, DOWN_MS), up, witness, 0);
    }
    sim_after_ms(sim, witness ? PAUSE_MS : LOOK_MS, look, NULL, 0);
}

void fail_over_open(struct sim *sim)
{
    look(sim, NULL, 0);
}
