#include "worker/worker_metrics.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/limits.h"
#include "worker/broker.h"

/* Interval between two copies of the loop's state into the metrics. */
#define SHOW_MS 100
#define UNKNOWN INT64_C(-1)

/* When the message of an unpublished decision was appended. */
struct timed {
    int64_t seq; /* 0: none */
    int64_t append_ms;
};

struct part_metrics {
    metric_value state;           /* enum part_state; PART_FOREIGN: not shown */
    metric_value halted, waiting; /* enum halt_cause; HALT_NONE: it is not */
    metric_value epoch, unpublished;
    metric_value lag; /* or UNKNOWN */
    /* Of the loop's thread; index: sequence modulo timed_count. NULL until the first decision. */
    struct timed *timed;
};

struct worker_metrics {
    metric_value decisions[REQUEST_TYPE_COUNT + 1][REASON_COUNT];
    struct histogram decision_delay, batch_messages, stages[STAGE_COUNT];
    metric_value rollbacks[ERR_COUNT];
    metric_value happened[HAPPENING_COUNT];
    metric_value database_up;
    metric_value farm_halted; /* enum halt_cause */
    metric_value partitions;  /* of the farm; 0: not known yet */
    metric_value loop_us;     /* wall clock; 0: the loop has not begun */
    struct part_metrics parts[LIMIT_PARTITIONS];
    /* Of the loop's thread. */
    size_t timed_count; /* a power of two */
    int64_t shown_ms;
};

struct worker_metrics *worker_metrics_new(void)
{
    struct worker_metrics *m = xcalloc(1, sizeof(*m));
    histogram_init(&m->decision_delay, &histogram_delay);
    histogram_init(&m->batch_messages, &histogram_sizes);
    for (int stage = 0; stage < STAGE_COUNT; stage++)
        histogram_init(&m->stages[stage], &histogram_work);
    return m;
}

void worker_metrics_free(struct worker_metrics *m)
{
    if (!m)
        return;
    for (int32_t part = 0; part < LIMIT_PARTITIONS; part++)
        free(m->parts[part].timed);
    free(m);
}

/* Twice the bound, which is checked between batches only: a batch may add as many again. */
void worker_metrics_open(struct worker_metrics *m, int64_t unpublished_max)
{
    if (m->timed_count > 0)
        return; /* an earlier attempt to start */
    m->timed_count = 1;
    while ((int64_t)m->timed_count < 2 * unpublished_max)
        m->timed_count *= 2;
}

void worker_metrics_stage(struct worker_metrics *m, enum stage stage, int64_t took_us)
{
    assert(stage < STAGE_COUNT);
    histogram_observe(&m->stages[stage], took_us);
}

void worker_metrics_batch(struct worker_metrics *m, size_t messages)
{
    histogram_observe(&m->batch_messages, (int64_t)messages);
}

static struct timed *timed_of(struct worker_metrics *m, int32_t part, int64_t seq)
{
    assert(part >= 0 && part < LIMIT_PARTITIONS && m->timed_count > 0);
    struct timed *timed = m->parts[part].timed;
    return timed ? &timed[(size_t)seq & (m->timed_count - 1)] : NULL;
}

void worker_metrics_decided(struct worker_metrics *m, const struct decision_row *row,
                            enum request_type type, int64_t append_ms)
{
    assert(type <= REQUEST_TYPE_COUNT && row->reason < REASON_COUNT);
    metric_add(&m->decisions[type][row->reason], 1);
    if (append_ms == BROKER_NO_TIME)
        return;
    if (!m->parts[row->part].timed)
        m->parts[row->part].timed = xcalloc(m->timed_count, sizeof(struct timed));
    *timed_of(m, row->part, row->seq) = (struct timed){row->seq, append_ms};
}

void worker_metrics_acknowledged(struct worker_metrics *m, int32_t part, int64_t seq,
                                 int64_t wall_ms)
{
    struct timed *timed = timed_of(m, part, seq);
    if (!timed || timed->seq != seq)
        return;
    histogram_observe(&m->decision_delay, (wall_ms - timed->append_ms) * 1000);
    timed->seq = 0;
}

void worker_metrics_rolled_back(struct worker_metrics *m, enum err cause)
{
    metric_add(&m->rollbacks[cause], 1);
}

void worker_metrics_happened(struct worker_metrics *m, enum happening what, size_t times)
{
    metric_add(&m->happened[what], (int64_t)times);
}

/* Includes each check in between; otherwise the wait would seem to end every other second. */
static bool part_still_waits(const struct part *part)
{
    return part->state == PART_WAITING ||
           (part->wait_told && (part->state == PART_CHECKING || part->state == PART_RUNNING));
}

bool worker_metrics_due(struct worker_metrics *m, int64_t mono_ms)
{
    if (metric_get(&m->loop_us) > 0 && mono_ms - m->shown_ms < SHOW_MS)
        return false;
    m->shown_ms = mono_ms;
    return true;
}

void worker_metrics_show_part(struct worker_metrics *m, const struct part *part)
{
    assert(part->number >= 0 && part->number < LIMIT_PARTITIONS);
    struct part_metrics *shown = &m->parts[part->number];
    if (part->state != PART_FOREIGN) {
        int64_t lag = part->log_end - part->row.next_offset;
        bool known = part_is_claimed(part) && part->log_end >= 0;
        metric_set(&shown->lag, !known ? UNKNOWN : lag > 0 ? lag : 0);
        metric_set(&shown->unpublished, part->tail_known ? part_unpublished(part) : UNKNOWN);
        metric_set(&shown->epoch, part->row.epoch);
        metric_set(&shown->halted, part->state == PART_HALTED ? part->cause : HALT_NONE);
        metric_set(&shown->waiting, part_still_waits(part) ? part->cause : HALT_NONE);
    }
    metric_set(&shown->state, part->state);
}

void worker_metrics_show(struct worker_metrics *m, const struct worker_view *view)
{
    assert(view->partitions > 0 && view->wall_ms > 0);
    metric_set(&m->partitions, view->partitions);
    metric_set(&m->database_up, view->database_up);
    metric_set(&m->farm_halted, view->farm_halted);
    metric_set(&m->loop_us, view->wall_ms * 1000);
}

static const struct metric decisions = {
    "berth_decisions_total", METRIC_COUNTER, METRIC_COUNT,
    "Decisions committed by this worker. type is unknown if the message could not be verified or "
    "read; reason is none if it was accepted."};
static const struct metric decision_delay = {
    "berth_decision_seconds", METRIC_HISTOGRAM, METRIC_SECONDS,
    "From the broker's append time of a request to the acknowledged event, by this host's clock."};
static const struct metric batch_messages = {"berth_batch_messages", METRIC_HISTOGRAM, METRIC_COUNT,
                                             "Messages decided in one transaction."};
static const struct metric stages[STAGE_COUNT] = {
#define STAGE_METRIC(id, stage, text)                                                              \
    [STAGE_##id] = {"berth_batch_" stage "_seconds", METRIC_HISTOGRAM, METRIC_SECONDS,             \
                    "Time of a batch's stage " stage ": " text "."},
    STAGE_TABLE(STAGE_METRIC)
#undef STAGE_METRIC
};
static const struct metric rollbacks = {
    "berth_batch_rollbacks_total", METRIC_COUNTER, METRIC_COUNT,
    "Attempts at a batch that ended in a rollback, by the error; most are tried again."};
static const struct metric happenings[HAPPENING_COUNT] = {
    [HAPPENED_TIMELINE_REUSED] =
        {"berth_timelines_reused_total", METRIC_COUNTER, METRIC_COUNT,
         "Timelines of machines and clients that a batch needed and had in memory."},
    [HAPPENED_TIMELINE_LOADED] =
        {"berth_timelines_loaded_total", METRIC_COUNTER, METRIC_COUNT,
         "Timelines that were read from the database, missing or changed by another worker."},
    [HAPPENED_DATABASE_RECONNECT] = {"berth_database_reconnects_total", METRIC_COUNTER,
                                     METRIC_COUNT, "Database sessions opened after one was lost."},
    [HAPPENED_PRODUCER_RESET] = {"berth_producer_resets_total", METRIC_COUNTER, METRIC_COUNT,
                                 "Producers made anew because an event was not delivered."},
    [HAPPENED_KAFKA_DISCONNECT] =
        {"berth_kafka_disconnects_total", METRIC_COUNTER, METRIC_COUNT,
         "Polls that reported a lost connection to Kafka or a position outside of the log."},
    [HAPPENED_GROUP_REJOIN] = {"berth_group_rejoins_total", METRIC_COUNTER, METRIC_COUNT,
                               "Times that the worker joined its group again, after another one "
                               "had claimed a partition of its."},
};
static const struct metric loop_time = {
    "berth_loop_timestamp_seconds", METRIC_GAUGE, METRIC_SECONDS,
    "When the worker's loop last came round, by this host's clock."};
static const struct metric partitions = {"berth_partitions", METRIC_GAUGE, METRIC_COUNT,
                                         "Partitions of this worker, by their state."};
static const struct metric partition_waiting = {
    "berth_partition_waiting", METRIC_GAUGE, METRIC_COUNT,
    "1 if the partition waits for something that can pass by itself, else 0; cause says what in a "
    "word."};
static const struct metric partition_epoch = {
    "berth_partition_epoch", METRIC_GAUGE, METRIC_COUNT,
    "Number of this ownership of the partition: grows with each new owner."};
static const struct metric request_lag = {"berth_request_lag", METRIC_GAUGE, METRIC_COUNT,
                                          "Offsets of the request partition that are not decided "
                                          "yet. Of one that is halted: as far as the worker saw."};
static const struct metric unpublished = {
    "berth_unpublished_decisions", METRIC_GAUGE, METRIC_COUNT,
    "Decisions of the partition whose events Kafka has not acknowledged."};

static void render_decisions(const struct worker_metrics *m, struct buf *out)
{
    metric_head(out, &decisions);
    for (int type = 0; type <= REQUEST_TYPE_COUNT; type++) {
        const char *type_name = type < REQUEST_TYPE_COUNT
                                    ? request_type_name((enum request_type)type)
                                    : "unknown";
        for (int reason = 0; reason < REASON_COUNT; reason++) {
            int64_t count = metric_get(&m->decisions[type][reason]);
            bool accepted = reason == REASON_NONE;
            /* A rate needs a 0 to begin with, but most of these pairs never occur. */
            if (count == 0 && (!accepted || type == REQUEST_TYPE_COUNT))
                continue;
            metric_sample(
                out, &decisions,
                METRIC_LABELS({"type", type_name}, {"outcome", accepted ? "accepted" : "rejected"},
                              {"reason", accepted ? "none" : reason_name((enum reason)reason)}),
                count);
        }
    }
}

static void render_histogram(struct buf *out, const struct metric *metric,
                             const struct histogram *histogram)
{
    metric_head(out, metric);
    metric_histogram(out, metric, NULL, histogram);
}

static void render_batches(const struct worker_metrics *m, struct buf *out)
{
    render_histogram(out, &decision_delay, &m->decision_delay);
    render_histogram(out, &batch_messages, &m->batch_messages);
    for (int stage = 0; stage < STAGE_COUNT; stage++)
        render_histogram(out, &stages[stage], &m->stages[stage]);
    metric_head(out, &rollbacks);
    for (int err = 0; err < ERR_COUNT; err++) {
        int64_t count = metric_get(&m->rollbacks[err]);
        if (count > 0 || err == ERR_DB_DEADLOCK) {
            metric_sample(out, &rollbacks, METRIC_LABELS({"cause", err_name((enum err)err)}),
                          count);
        }
    }
}

static const struct part_family {
    const struct metric *metric;
    bool is_cause;
    size_t value; /* offset in struct part_metrics */
} part_families[] = {
    {&metric_partition_halted, true, offsetof(struct part_metrics, halted)},
    {&partition_waiting, true, offsetof(struct part_metrics, waiting)},
    {&partition_epoch, false, offsetof(struct part_metrics, epoch)},
    {&request_lag, false, offsetof(struct part_metrics, lag)},
    {&unpublished, false, offsetof(struct part_metrics, unpublished)},
};

static void render_part(const struct part_family *family, const struct part_metrics *part,
                        int64_t number, struct buf *out)
{
    char text[24];
    int64_t value = metric_get((const metric_value *)((const char *)part + family->value));
    int64_t state = metric_get(&part->state);
    if (state == PART_FOREIGN || state == PART_LOST || value == UNKNOWN)
        return;
    snprintf(text, sizeof(text), "%" PRId64, number);
    if (family->is_cause) {
        metric_cause(out, family->metric, text, halt_cause_name((enum halt_cause)value));
    } else {
        metric_sample(out, family->metric, METRIC_LABELS({"partition", text}), value);
    }
}

static void render_partitions(const struct worker_metrics *m, struct buf *out)
{
    int64_t count = metric_get(&m->partitions), in_state[PART_STATE_COUNT] = {0};
    for (int64_t i = 0; i < count; i++)
        in_state[metric_get(&m->parts[i].state)]++;
    metric_head(out, &partitions);
    for (int state = PART_FOREIGN + 1; state < PART_STATE_COUNT; state++) {
        metric_sample(out, &partitions,
                      METRIC_LABELS({"state", part_state_name((enum part_state)state)}),
                      in_state[state]);
    }
    for (size_t f = 0; f < sizeof(part_families) / sizeof(part_families[0]); f++) {
        metric_head(out, part_families[f].metric);
        for (int64_t i = 0; i < count; i++)
            render_part(&part_families[f], &m->parts[i], i, out);
    }
}

void worker_metrics_render(const struct worker_metrics *m, struct buf *out)
{
    metric_build_info(out);
    render_decisions(m, out);
    render_batches(m, out);
    for (int what = 0; what < HAPPENING_COUNT; what++)
        metric_single(out, &happenings[what], metric_get(&m->happened[what]));
    metric_single(out, &metric_database_up, metric_get(&m->database_up));
    if (metric_get(&m->loop_us) == 0)
        return; /* the loop has not begun: the farm is unknown */
    metric_single(out, &loop_time, metric_get(&m->loop_us));
    metric_head(out, &metric_farm_halted);
    metric_cause(out, &metric_farm_halted, NULL,
                 halt_cause_name((enum halt_cause)metric_get(&m->farm_halted)));
    metric_single(out, &metric_farm_partitions, metric_get(&m->partitions));
    render_partitions(m, out);
}
