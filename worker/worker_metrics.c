#include "worker/worker_metrics.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/limits.h"
#include "worker/broker.h"

/* So often the partitions are shown anew. */
#define SHOW_MS 100
#define UNKNOWN INT64_C(-1)

/* When the message of an unpublished decision was appended. */
struct timed {
    int64_t seq; /* 0: none */
    int64_t append_ms;
};

struct part_metrics {
    metric_value state; /* enum part_state; PART_FOREIGN: not shown */
    metric_value waiting, cause;
    metric_value epoch, unpublished;
    metric_value lag; /* or UNKNOWN */
    /* The loop's own: by sequence modulo metrics->timed_count. NULL until the first decision. */
    struct timed *timed;
};

struct worker_metrics {
    metric_value decisions[REQUEST_TYPE_COUNT + 1][REASON_COUNT];
    struct histogram decision_delay, batch_messages, stages[STAGE_COUNT];
    metric_value rollbacks[ERR_COUNT];
    metric_value timelines_reused, timelines_loaded;
    metric_value happened[HAPPENING_COUNT];
    metric_value database_up, farm_halted, farm_cause;
    metric_value partitions; /* of the farm; 0: not known yet */
    metric_value loop_us;    /* wall clock; 0: the loop has not begun */
    struct part_metrics parts[LIMIT_PARTITIONS];
    /* The loop's own. */
    size_t timed_count; /* a power of two */
    int64_t shown_ms;
};

/* --- life ----------------------------------------------------------------------------------- */

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

/* --- counting ------------------------------------------------------------------------------- */

/* Twice the bound: it is looked at between batches, and one may be as large as it. */
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

void worker_metrics_timelines(struct worker_metrics *m, size_t reused, size_t loaded)
{
    metric_add(&m->timelines_reused, (int64_t)reused);
    metric_add(&m->timelines_loaded, (int64_t)loaded);
}

void worker_metrics_happened(struct worker_metrics *m, enum happening what)
{
    metric_add(&m->happened[what], 1);
}

/* Also while it looks again: else it would seem to go on every other second. */
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
        metric_set(&shown->cause, part->cause);
        metric_set(&shown->waiting, part_still_waits(part));
    }
    metric_set(&shown->state, part->state);
}

void worker_metrics_show(struct worker_metrics *m, const struct worker_view *view)
{
    assert(view->partitions > 0 && view->wall_ms > 0);
    metric_set(&m->partitions, view->partitions);
    metric_set(&m->database_up, view->database_up);
    metric_set(&m->farm_halted, view->farm_halted);
    metric_set(&m->farm_cause, view->farm_cause);
    metric_set(&m->loop_us, view->wall_ms * 1000);
}

/* --- rendering ------------------------------------------------------------------------------ */

static const struct metric decisions = {
    .name = "berth_decisions_total",
    .type = METRIC_COUNTER,
    .help = "Decisions committed by this worker. type is unknown if the message could not be "
            "verified or read; reason is none if it was accepted."};
static const struct metric decision_delay = {
    .name = "berth_decision_seconds",
    .type = METRIC_HISTOGRAM,
    .unit = METRIC_SECONDS,
    .help = "From the broker's append time of a request to the acknowledged event, by this host's "
            "clock."};
static const struct metric batch_messages = {.name = "berth_batch_messages",
                                             .type = METRIC_HISTOGRAM,
                                             .help = "Messages decided in one transaction."};
static const struct metric stages[STAGE_COUNT] = {
#define STAGE_METRIC(id, stage, text)                                                              \
    [STAGE_##id] = {.name = "berth_batch_" stage "_seconds",                                       \
                    .type = METRIC_HISTOGRAM,                                                      \
                    .unit = METRIC_SECONDS,                                                        \
                    .help = "Time of a batch's stage " stage ": " text "."},
    STAGE_TABLE(STAGE_METRIC)
#undef STAGE_METRIC
};
static const struct metric rollbacks = {
    .name = "berth_batch_rollbacks_total",
    .type = METRIC_COUNTER,
    .help = "Attempts at a batch that ended in a rollback, by the error; most are tried again."};
static const struct metric timelines_reused = {
    .name = "berth_timelines_reused_total",
    .type = METRIC_COUNTER,
    .help = "Timelines of machines and clients that a batch needed and had in memory."};
static const struct metric timelines_loaded = {
    .name = "berth_timelines_loaded_total",
    .type = METRIC_COUNTER,
    .help = "Timelines that were read from the database, missing or changed by another worker."};
static const struct metric happenings[HAPPENING_COUNT] = {
    [HAPPENED_DATABASE_RECONNECT] = {.name = "berth_database_reconnects_total",
                                     .type = METRIC_COUNTER,
                                     .help = "Database sessions opened after one was lost."},
    [HAPPENED_PRODUCER_RESET] = {.name = "berth_producer_resets_total",
                                 .type = METRIC_COUNTER,
                                 .help = "Producers made anew because an event was not delivered."},
    [HAPPENED_KAFKA_DISCONNECT] = {.name = "berth_kafka_disconnects_total",
                                   .type = METRIC_COUNTER,
                                   .help = "Polls that reported a lost connection to Kafka or a "
                                           "position outside of the log."},
    [HAPPENED_GROUP_REJOIN] = {.name = "berth_group_rejoins_total",
                               .type = METRIC_COUNTER,
                               .help =
                                   "Times that the worker joined its group again, after another "
                                   "one had claimed a partition of its."},
};
static const struct metric loop_time = {
    .name = "berth_loop_timestamp_seconds",
    .type = METRIC_GAUGE,
    .unit = METRIC_SECONDS,
    .help = "When the worker's loop last came round, by this host's clock."};
static const struct metric partitions = {.name = "berth_partitions",
                                         .type = METRIC_GAUGE,
                                         .help = "Partitions of this worker, by their state."};
static const struct metric partition_waiting = {
    .name = "berth_partition_waiting",
    .type = METRIC_GAUGE,
    .help =
        "1 if the partition waits for something that can pass by itself, else 0; cause says what "
        "in a word."};
static const struct metric partition_epoch = {
    .name = "berth_partition_epoch",
    .type = METRIC_GAUGE,
    .help = "Number of this ownership of the partition: grows with each new owner."};
static const struct metric request_lag = {
    .name = "berth_request_lag",
    .type = METRIC_GAUGE,
    .help = "Offsets of the request partition that are not decided yet. Of one that is halted: as "
            "far as the worker saw."};
static const struct metric unpublished = {
    .name = "berth_unpublished_decisions",
    .type = METRIC_GAUGE,
    .help = "Decisions of the partition whose events Kafka has not acknowledged."};

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
            /* A rate needs a 0 to begin at, but few of these pairs ever come. */
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

static void render_batches(const struct worker_metrics *m, struct buf *out)
{
    metric_head(out, &decision_delay);
    metric_histogram(out, &decision_delay, NULL, &m->decision_delay);
    metric_head(out, &batch_messages);
    metric_histogram(out, &batch_messages, NULL, &m->batch_messages);
    for (int stage = 0; stage < STAGE_COUNT; stage++) {
        metric_head(out, &stages[stage]);
        metric_histogram(out, &stages[stage], NULL, &m->stages[stage]);
    }
    metric_head(out, &rollbacks);
    for (int err = 0; err < ERR_COUNT; err++) {
        int64_t count = metric_get(&m->rollbacks[err]);
        if (count > 0 || err == ERR_DB_DEADLOCK) {
            metric_sample(out, &rollbacks, METRIC_LABELS({"cause", err_name((enum err)err)}),
                          count);
        }
    }
    metric_single(out, &timelines_reused, metric_get(&m->timelines_reused));
    metric_single(out, &timelines_loaded, metric_get(&m->timelines_loaded));
}

static const char *cause_name(int64_t stands, const metric_value *cause)
{
    return halt_cause_name(stands ? (enum halt_cause)metric_get(cause) : HALT_NONE);
}

static int64_t value_of(const struct part_metrics *part, const struct metric *metric)
{
    if (metric == &metric_partition_halted)
        return metric_get(&part->state) == PART_HALTED;
    if (metric == &partition_waiting)
        return metric_get(&part->waiting);
    if (metric == &partition_epoch)
        return metric_get(&part->epoch);
    return metric_get(metric == &request_lag ? &part->lag : &part->unpublished);
}

static void render_partitions(const struct worker_metrics *m, struct buf *out)
{
    static const struct metric *const families[] = {&metric_partition_halted, &partition_waiting,
                                                    &partition_epoch, &request_lag, &unpublished};
    int64_t count = metric_get(&m->partitions), in_state[PART_STATE_COUNT] = {0};
    for (int64_t i = 0; i < count; i++)
        in_state[metric_get(&m->parts[i].state)]++;
    metric_head(out, &partitions);
    for (int state = PART_FOREIGN + 1; state < PART_STATE_COUNT; state++) {
        metric_sample(out, &partitions,
                      METRIC_LABELS({"state", part_state_name((enum part_state)state)}),
                      in_state[state]);
    }
    for (size_t f = 0; f < sizeof(families) / sizeof(families[0]); f++) {
        metric_head(out, families[f]);
        for (int64_t i = 0; i < count; i++) {
            char number[24];
            int64_t value = value_of(&m->parts[i], families[f]);
            int64_t state = metric_get(&m->parts[i].state);
            if (state == PART_FOREIGN || state == PART_LOST || value == UNKNOWN)
                continue;
            snprintf(number, sizeof(number), "%" PRId64, i);
            bool stands = families[f] == &metric_partition_halted ||
                          families[f] == &partition_waiting;
            const struct metric_label labels[] = {
                {"partition", number},
                {stands ? "cause" : NULL, cause_name(value, &m->parts[i].cause)},
                {NULL, NULL}};
            metric_sample(out, families[f], labels, value);
        }
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
        return; /* nothing is known of the farm */
    metric_single(out, &loop_time, metric_get(&m->loop_us));
    int64_t halted = metric_get(&m->farm_halted);
    metric_head(out, &metric_farm_halted);
    metric_sample(out, &metric_farm_halted,
                  METRIC_LABELS({"cause", cause_name(halted, &m->farm_cause)}), halted);
    metric_single(out, &metric_farm_partitions, metric_get(&m->partitions));
    render_partitions(m, out);
}
