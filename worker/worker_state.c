#include "worker/worker_state.h"

#include <assert.h>
#include <stdlib.h>

#include "core/limits.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"

/* Pauses before the group is joined again, and between failing claims and checks. */
#define REJOIN_MIN_MS  500
#define REJOIN_MAX_MS  (10 * WORKER_RETRY_MAX_MS)
/* A partition lost this long after the last rejoin begins the pauses anew. The calm is longer than the
 * longest pause and a rebalance: two workers that claim a partition from each other in turns must keep
 * their long pauses. */
#define REJOIN_CALM_MS (3 * REJOIN_MAX_MS)
#define CHECK_MIN_MS   50

struct worker *worker_state_new(const struct worker_settings *settings,
                                const struct worker_env *env, struct store *store,
                                struct broker *broker)
{
    assert(settings->batch_max > 0);
    assert(settings->unpublished_max > (int64_t)settings->batch_max);
    struct worker *w = xcalloc(1, sizeof(*w));
    *w = (struct worker){.settings = *settings,
                         .env = *env,
                         .store = store,
                         .broker = broker,
                         .metrics = settings->metrics,
                         .suspects.last = -1};
    if (!w->metrics)
        w->metrics = w->own_metrics = worker_metrics_new();
    worker_metrics_open(w->metrics, settings->unpublished_max);
    w->world = world_new();
    w->keys = keyring_new();
    w->messages = xcalloc(settings->batch_max, sizeof(*w->messages));
    w->arena = arena_new();
    backoff_init(&w->session.retry.pause, WORKER_RETRY_MIN_MS, WORKER_RETRY_MAX_MS);
    backoff_init(&w->producer.retry.pause, WORKER_RETRY_MIN_MS, WORKER_RETRY_MAX_MS);
    backoff_init(&w->rejoin.retry.pause, REJOIN_MIN_MS, REJOIN_MAX_MS);
    backoff_init(&w->checks.retry.pause, CHECK_MIN_MS, WORKER_RETRY_MAX_MS);
    return w;
}

void worker_state_free(struct worker *w)
{
    if (!w)
        return;
    for (struct part *part = w->parts; part < w->parts_end; part++)
        free(part->holes);
    free(w->parts);
    arena_free(w->arena);
    free(w->messages);
    keyring_free(w->keys);
    world_free(w->world);
    worker_metrics_free(w->own_metrics);
    free(w);
}

void worker_state_farm(struct worker *w, const struct farm_row *row)
{
    assert(!w->parts);
    assert(row->partitions > 0 && row->partitions <= LIMIT_PARTITIONS);
    w->farm.row = *row;
    w->parts = xcalloc((size_t)row->partitions, sizeof(*w->parts));
    w->parts_end = w->parts + row->partitions;
    for (int32_t i = 0; i < row->partitions; i++) {
        w->parts[i] = (struct part){
            .number = i, .state = PART_FOREIGN, .log_end = -1, .asked_end = -1};
    }
}

int64_t worker_mono_ms(const struct worker *w)
{
    return w->env.mono_ms(w->env.arg);
}

int64_t worker_wall_ms(const struct worker *w)
{
    return w->env.wall_ms(w->env.arg);
}

struct part *worker_part(const struct worker *w, int32_t number)
{
    return number >= 0 && number < w->farm.row.partitions ? &w->parts[number] : NULL;
}

bool worker_consumes(const struct worker *w, const struct part *part)
{
    return part->state == PART_RUNNING && w->session.up && !w->farm.halted;
}

bool worker_retry_due(const struct worker *w, const struct worker_retry *retry)
{
    return worker_mono_ms(w) >= retry->at_ms;
}

void worker_retry_later(const struct worker *w, struct worker_retry *retry)
{
    retry->at_ms = worker_mono_ms(w) + backoff_next(&retry->pause);
}

bool worker_failed(struct worker *w, struct part *part, const struct failure *f)
{
    assert(f->err != ERR_OK);
    if (f->err == ERR_FARM_HALTED) {
        worker_halt_farm(w, halt_of(f));
    } else if (f->err == ERR_PARTITION_HALTED && part) {
        worker_halt_part(w, part, halt_of(f));
    } else if (f->err == ERR_EPOCH_LOST && part) {
        worker_lose_part(w, part);
    } else if (err_is_connection(f->err) || f->err == ERR_DB_SERVER) {
        worker_session_lost(w, f);
    } else {
        return false;
    }
    return true;
}

void worker_session_opened(struct worker *w)
{
    w->session.up = true;
    w->session.compared = false;
    w->checks.retry.at_ms = 0;
    w->session.connection_id = w->store->ops->connection_id(w->store->self);
    worker_session_used(w);
}

void worker_session_compared(struct worker *w)
{
    w->session.compared = true;
}

void worker_session_used(struct worker *w)
{
    w->session.used_ms = worker_mono_ms(w);
}

void worker_session_worked(struct worker *w)
{
    backoff_reset(&w->session.retry.pause);
    w->session.fault_logged = false;
}

/* The rows, read again under their locks, say whether the last COMMIT happened and whether another
 * owner came. Versions and key generations prove nothing in a new session: a fail-over may have lost
 * other workers' commits, after which the same numbers are given to other content. */
static void forget_database(struct worker *w, const char *why)
{
    world_free(w->world);
    w->world = world_new();
    keyring_expire(w->keys);
    for (struct part *part = w->parts; part < w->parts_end; part++) {
        part->row_known = false;
        if (part->state == PART_RUNNING || part->state == PART_WAITING)
            worker_part_set(w, part, PART_CHECKING, why);
    }
    worker_positions_stale(w);
}

void worker_session_lost(struct worker *w, const struct failure *f)
{
    if (!w->session.fault_logged) {
        log_failure(LOG_WARN, "database session lost", f);
    } else {
        log_failure(LOG_DEBUG, "database session not usable", f);
    }
    w->session.fault_logged = true;
    w->session.up = false;
    worker_retry_later(w, &w->session.retry);
    forget_database(w, "the database session was lost");
}

void worker_positions_stale(struct worker *w)
{
    w->positions_stale = true;
}

void worker_positions_told(struct worker *w)
{
    w->positions_stale = false;
}

void worker_broker_failed(struct worker *w, const struct failure *f)
{
    log_failure(LOG_WARN, "consumer", f);
    worker_metrics_happened(w->metrics, HAPPENED_KAFKA_DISCONNECT, 1);
    for (struct part *part = w->parts; part < w->parts_end; part++) {
        if (part->state == PART_RUNNING)
            worker_part_set(w, part, PART_CHECKING, "the connection to Kafka was lost");
    }
    worker_positions_stale(w);
}

void worker_producer_broke(struct worker *w)
{
    w->producer.broken = true;
}

void worker_producer_worked(struct worker *w)
{
    backoff_reset(&w->producer.retry.pause);
}

void worker_producer_renewed(struct worker *w)
{
    assert(w->producer.broken);
    w->producer.broken = false;
    worker_metrics_happened(w->metrics, HAPPENED_PRODUCER_RESET, 1);
    for (struct part *part = w->parts; part < w->parts_end; part++)
        part->tail_known = false;
}

void worker_rejoins(struct worker *w)
{
    worker_metrics_happened(w->metrics, HAPPENED_GROUP_REJOIN, 1);
    w->rejoin.retry.at_ms = worker_mono_ms(w) + WORKER_LOOK_AGAIN_MS;
}

void worker_rejoined(struct worker *w)
{
    w->rejoin.due = false;
}

void worker_halt_farm(struct worker *w, struct halt halt)
{
    struct failure f;
    struct log_quoted quoted;
    if (w->farm.halted)
        return;
    assert(halt.cause != HALT_NONE);
    w->farm.halted = halt.cause;
    worker_positions_stale(w);
    worker_farm_looked_at(w);
    log_error("the farm is halted: nothing is decided or published", "why=%s",
              log_quote(&quoted, halt.why));
    if (w->session.up && w->store->ops->halt_farm(w->store->self, halt, &f) != ERR_OK)
        worker_session_lost(w, &f);
}

void worker_farm_looked_at(struct worker *w)
{
    w->farm.look_ms = worker_mono_ms(w) + WORKER_LOOK_AGAIN_MS;
}

void worker_farm_resumed(struct worker *w)
{
    assert(w->farm.halted);
    log_info("the farm was resumed by an operator", "farm=%s", w->farm.row.name);
    w->farm.halted = HALT_NONE;
    w->session.compared = false;
    for (struct part *part = w->parts; part < w->parts_end; part++)
        part->tail_known = false;
    forget_database(w, NULL);
}

void worker_part_set(struct worker *w, struct part *part, enum part_state state, const char *why)
{
    if (part->state == PART_RUNNING || state == PART_RUNNING)
        worker_positions_stale(w);
    part_set(part, state, why);
}

/* worker_part_set for WAITING and HALTED, which have a cause. */
static void stop(struct worker *w, struct part *part, enum part_state state, struct halt halt)
{
    assert(halt.cause != HALT_NONE);
    if (part->state != state)
        part->cause = halt.cause;
    worker_part_set(w, part, state, halt.why);
}

void worker_part_waits(struct worker *w, struct part *part, struct halt halt)
{
    stop(w, part, PART_WAITING, halt);
    part->look_again_ms = worker_mono_ms(w) + WORKER_LOOK_AGAIN_MS;
}

void worker_halt_part(struct worker *w, struct part *part, struct halt halt)
{
    struct failure f;
    if (part->state == PART_HALTED)
        return;
    bool claimed = part_is_claimed(part) && part->row.epoch > 0;
    stop(w, part, PART_HALTED, halt);
    if (!claimed || !w->session.up)
        return;
    enum err err = w->store->ops->halt_partition(w->store->self, part->number, part->row.epoch,
                                                 halt, &f);
    if (err == ERR_EPOCH_LOST) {
        worker_lose_part(w, part);
    } else if (err != ERR_OK) {
        worker_session_lost(w, &f);
    }
}

void worker_lose_part(struct worker *w, struct part *part)
{
    worker_part_set(w, part, PART_LOST, "another worker has claimed it");
    part->tail_known = false;
    if (w->rejoin.due)
        return;
    if (worker_mono_ms(w) - w->rejoin.retry.at_ms > REJOIN_CALM_MS)
        backoff_reset(&w->rejoin.retry.pause);
    w->rejoin.due = true;
    worker_retry_later(w, &w->rejoin.retry);
}

void worker_stage_begin(struct worker *w)
{
    w->stage_us = w->env.mono_us(w->env.arg);
}

void worker_stage_end(struct worker *w, enum stage stage)
{
    int64_t now_us = w->env.mono_us(w->env.arg);
    worker_metrics_stage(w->metrics, stage, now_us - w->stage_us);
    w->stage_us = now_us;
}

void worker_show(struct worker *w)
{
    if (!worker_metrics_due(w->metrics, worker_mono_ms(w)))
        return;
    for (struct part *part = w->parts; part < w->parts_end; part++) {
        int64_t end = part->state == PART_RUNNING
                          ? w->broker->ops->request_end(w->broker->self, part->number)
                          : -1;
        if (end >= 0)
            part->log_end = end;
        worker_metrics_show_part(w->metrics, part);
    }
    const struct worker_view view = {.wall_ms = worker_wall_ms(w),
                                     .partitions = w->farm.row.partitions,
                                     .database_up = w->session.up,
                                     .farm_halted = w->farm.halted};
    worker_metrics_show(w->metrics, &view);
}
