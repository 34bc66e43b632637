/* The idempotent producer (docs/architecture.md, Publishing): events reach a partition in the order
 * in which they were given, once each. A failed delivery fails all later ones, and the producer must
 * be replaced. Events of a dropped producer, or of a killed process, may still be on their way and
 * arrive after other workers have published the same decisions. */
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "tests/simulation/check.h"
#include "tests/simulation/cluster.h"
#include "tests/simulation/process.h"

/* Events on their way when a producer is dropped, and how late they may arrive. */
#define IN_FLIGHT_MAX 5
#define LATE_MS       4000

struct outgoing {
    struct broker_event event;
    bool delivered, failed, reported;
};

struct producer {
    struct sim *sim;
    struct process *process;
    const struct broker_callbacks *owner;
    LIST_OF(struct outgoing) events;
    size_t sent;      /* delivered or failed, from the front */
    size_t served;    /* reported to the owner, from the front */
    size_t last_late; /* of a dropped one: events from here on do not arrive */
    bool failed, fail_next, dropped, pumping;
    int64_t made[PLAN_PARTITIONS_MAX]; /* event_log.made of the topic that it knows */
};

struct producer *producer_new(struct process *p, const struct broker_callbacks *owner)
{
    struct producer *producer = arena_alloc(p->sim->arena, sizeof(*producer));
    *producer = (struct producer){.sim = p->sim, .process = p, .owner = owner};
    for (int32_t part = 0; part < p->sim->plan.partitions; part++)
        producer->made[part] = p->sim->cluster->events[part].made;
    return producer;
}

/* A topic that was made anew refuses the producer: it does not know its earlier events. */
static bool is_known(const struct producer *producer, const struct broker_event *event)
{
    return producer->made[event->part] == producer->sim->cluster->events[event->part].made;
}

static void append(struct sim *sim, const struct broker_event *event)
{
    struct event_log *log = &sim->cluster->events[event->part];
    *LIST_ADD(sim, &log->entries) = (struct event_entry){.offset = log->hi++,
                                                         .seq = event->seq,
                                                         .epoch = event->epoch,
                                                         .key = event->key,
                                                         .type = event->type,
                                                         .value = event->value,
                                                         .len = event->len};
    sim_note(sim, 91, "event", event->part, event->seq);
    sim->count.events++;
    if (event->seq <= log->highest)
        sim->count.repeats++;
    check_event(sim, event);
    if (event->seq > log->highest)
        log->highest = event->seq;
    if (event->seq > log->ever)
        log->ever = event->seq;
}

void producer_fail(struct producer *producer)
{
    producer->failed = true;
    sim_note(producer->sim, 91, "delivery fails", producer->process->number, 0);
    while (producer->sent < producer->events.count)
        producer->events.items[producer->sent++].failed = true;
}

static int64_t pace_us(struct sim *sim)
{
    bool slow = !sim->healed && sim_chance(sim, sim->plan.delivery_slow);
    return slow ? sim_between(sim, 0, 3000 * SIM_US_PER_MS) : sim_between(sim, 100, 5000);
}

/* Delivers a few events and schedules the next ones. */
static void pump(struct sim *sim, void *arg, int64_t number)
{
    struct producer *producer = arg;
    (void)number;
    producer->pumping = false;
    if (producer->failed || producer->dropped)
        return;
    bool away = sim->cluster->down || process_is_suspended(producer->process);
    for (int64_t i = away ? 0 : sim_between(sim, 1, 20);
         i > 0 && producer->sent < producer->events.count; i--) {
        const struct broker_event *event = &producer->events.items[producer->sent].event;
        bool fails = producer->fail_next || !is_known(producer, event) ||
                     (!sim->healed && sim_chance(sim, sim->plan.delivery_failed));
        producer->fail_next = false;
        if (fails) {
            sim->count.faults++;
            producer_fail(producer);
            return;
        }
        append(sim, event);
        producer->events.items[producer->sent++].delivered = true;
    }
    if (producer->sent < producer->events.count) {
        producer->pumping = true;
        sim_at(sim, sim->now_us + (away ? 200 * SIM_US_PER_MS : pace_us(sim)), pump, producer, 0);
    }
}

enum err producer_publish(struct producer *producer, const struct broker_event *event,
                          struct failure *f)
{
    struct sim *sim = producer->sim;
    if (producer->failed)
        return failure_set(f, ERR_LOG_FATAL, "producer: an event was not delivered");
    bool full = producer->events.count - producer->served >= (size_t)sim->plan.queue_max;
    if (full || (!sim->healed && sim_chance(sim, sim->plan.queue_full)))
        return failure_set(f, ERR_LOG_FULL, "producer: the queue is full");
    check_publish(sim, event);
    struct outgoing *out = LIST_ADD(sim, &producer->events);
    *out = (struct outgoing){.event = *event};
    out->event.key = sim_copy(sim, event->key);
    out->event.type = sim_copy(sim, event->type);
    out->event.value = arena_strndup(sim->arena, event->value, event->len);
    if (!producer->pumping) {
        producer->pumping = true;
        sim_at(sim, sim->now_us + pace_us(sim), pump, producer, 0);
    }
    return ERR_OK;
}

void producer_serve(struct producer *producer)
{
    while (producer->served < producer->sent && !producer->dropped) {
        const struct outgoing *out = &producer->events.items[producer->served++];
        if (producer->owner->delivered) {
            producer->owner->delivered(producer->owner->arg, out->event.part, out->event.seq,
                                       out->failed ? ERR_LOG_FATAL : ERR_OK);
        }
    }
}

static void arrive_late(struct sim *sim, void *arg, int64_t number)
{
    struct producer *producer = arg;
    (void)number;
    if (producer->sent >= producer->last_late || sim->cluster->down)
        return;
    const struct broker_event *event = &producer->events.items[producer->sent++].event;
    if (!is_known(producer, event))
        return;
    append(sim, event);
    sim_at(sim, sim->now_us + sim_between(sim, 0, 500 * SIM_US_PER_MS), arrive_late, producer, 0);
}

void producer_drop(struct producer *producer)
{
    struct sim *sim = producer->sim;
    if (producer->dropped)
        return;
    producer->dropped = true;
    size_t left = producer->events.count - producer->sent;
    if (producer->failed || left == 0)
        return;
    size_t on_the_way = (size_t)sim_between(sim, 0, IN_FLIGHT_MAX);
    producer->last_late = producer->sent + (left < on_the_way ? left : on_the_way);
    sim_after_ms(sim, sim_between(sim, 0, LATE_MS), arrive_late, producer, 0);
}

int64_t producer_outstanding(const struct producer *producer, int32_t part)
{
    int64_t count = 0;
    for (size_t i = producer->served; i < producer->events.count; i++)
        count += part == -1 || producer->events.items[i].event.part == part;
    return count;
}

bool producer_has_failed(const struct producer *producer)
{
    return producer->failed;
}

void producer_fail_next(struct producer *producer)
{
    producer->fail_next = true;
}
