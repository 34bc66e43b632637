#include "worker/worker.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "worker/arrival.h"
#include "worker/batch.h"
#include "worker/ownership.h"
#include "worker/upkeep.h"

static int64_t mono(const struct worker *w)
{
    return w->env.mono_ms(w->env.arg);
}

bool worker_has_part(const struct worker *w, int32_t number)
{
    return number >= 0 && number < w->farm.partitions;
}

bool worker_consumes(const struct worker *w, const struct part *part)
{
    return part->state == PART_RUNNING && w->session_up && !w->farm_halted;
}

/* --- faults ------------------------------------------------------------------------------ */

/* The rows, read again under their locks, say whether the last COMMIT happened and whether another
 * owner came. A version or a key generation proves nothing any more: a fail-over may have lost
 * other workers' commits, after which the same numbers are given again, to other content. */
void worker_forget_database(struct worker *w, const char *why)
{
    world_free(w->world);
    w->world = world_new();
    w->key_generation = 0; /* none has it: the next batch loads the keys */
    for (int32_t i = 0; i < w->farm.partitions; i++) {
        struct part *part = &w->parts[i];
        part->row_known = false;
        if (part->state == PART_RUNNING || part->state == PART_WAITING)
            part_set(part, PART_CHECKING, why);
    }
    w->positions_changed = true;
}

void worker_store_failed(struct worker *w, const struct failure *f)
{
    struct log_quoted quoted;
    if (!w->session_fault_logged) {
        log_warn("database session lost", "err=%s", log_quote(&quoted, f->text));
    } else {
        log_debug("database session not usable", "err=%s", log_quote(&quoted, f->text));
    }
    w->session_fault_logged = true;
    w->session_up = false;
    w->session_retry_ms = mono(w) + backoff_next(&w->session_pause);
    worker_forget_database(w, "the database session was lost");
}

void worker_store_worked(struct worker *w)
{
    backoff_reset(&w->session_pause);
    w->session_fault_logged = false;
}

void worker_halt_part(struct worker *w, struct part *part, struct halt halt)
{
    struct failure f;
    if (part->state == PART_HALTED)
        return;
    bool claimed = part_is_claimed(part) && part->row.epoch > 0;
    part_stop(part, PART_HALTED, halt);
    w->positions_changed = true;
    if (!claimed || !w->session_up)
        return;
    enum err err = w->store->ops->halt_partition(w->store->self, part->number, part->row.epoch,
                                                 halt, &f);
    if (err == ERR_EPOCH_LOST) {
        worker_lose_part(w, part);
    } else if (err != ERR_OK) {
        worker_store_failed(w, &f);
    }
}

void worker_halt_farm(struct worker *w, struct halt halt)
{
    struct failure f;
    struct log_quoted quoted;
    if (w->farm_halted)
        return;
    w->farm_halted = true;
    w->farm_cause = halt.cause;
    w->positions_changed = true;
    w->farm_look_ms = mono(w) + WORKER_LOOK_AGAIN_MS;
    log_error("the farm is halted: nothing is decided or published", "why=%s",
              log_quote(&quoted, halt.why));
    if (w->session_up && w->store->ops->halt_farm(w->store->self, halt, &f) != ERR_OK)
        worker_store_failed(w, &f);
}

void worker_lose_part(struct worker *w, struct part *part)
{
    part_set(part, PART_LOST, "another worker has claimed it");
    part->tail_known = false;
    w->positions_changed = true;
    if (!w->resubscribe) {
        w->resubscribe = true;
        w->resubscribe_ms = mono(w) + backoff_next(&w->resubscribe_pause);
    }
}

/* --- what the log tells ------------------------------------------------------------------ */

static void on_assigned(void *arg, const int32_t *parts, size_t count)
{
    struct worker *w = arg;
    for (size_t i = 0; i < count; i++) {
        if (!worker_has_part(w, parts[i])) {
            log_error("a partition without a row is not consumed: the topic has more partitions "
                      "than the farm",
                      "part=%" PRId32, parts[i]);
            continue;
        }
        struct part *part = &w->parts[parts[i]];
        if (part->state == PART_FOREIGN || part->state == PART_LOST)
            part_set(part, PART_CLAIMING, NULL);
    }
    w->resubscribe = false;
    w->positions_changed = true;
}

/* After this the partition is not touched any more. What was sent and is not acknowledged is the
 * next owner's: it reads the tail. */
static void on_revoked(void *arg, const int32_t *parts, size_t count, bool lost)
{
    struct worker *w = arg;
    struct failure f;
    int64_t deadline_ms = mono(w) + WORKER_REVOKE_FLUSH_MS;
    for (size_t i = 0; i < count; i++) {
        if (!worker_has_part(w, parts[i]))
            continue;
        struct part *part = &w->parts[parts[i]];
        int64_t left_ms = deadline_ms - mono(w);
        if (!lost && part_is_claimed(part) && part->sent_seq > part->acked_seq && left_ms > 0)
            (void)w->broker->ops->flush(w->broker->self, part->number, (int)left_ms, &f);
        if (!lost) {
            upkeep_note_published(w, part);
            upkeep_excuse(w, part);
        }
        part_set(part, PART_FOREIGN, lost ? "lost by the group" : NULL);
    }
    w->positions_changed = true;
}

static void on_delivered(void *arg, int32_t number, int64_t seq, enum err err)
{
    struct worker *w = arg;
    assert(worker_has_part(w, number));
    struct part *part = &w->parts[number];
    if (err == ERR_OK)
        worker_metrics_acknowledged(w->metrics, number, seq, w->env.wall_ms(w->env.arg));
    if (err != ERR_OK) {
        if (!w->producer_broken) {
            log_warn("an event was not delivered; a new producer publishes it again",
                     "part=%" PRId32 " seq=%" PRId64 " err=%s", number, seq, err_name(err));
        }
        w->producer_broken = true;
    } else if (seq > part->acked_seq && seq <= part->sent_seq) {
        part->acked_seq = seq;
        backoff_reset(&w->producer_pause);
    }
}

/* The broker may have come back with a shorter or another log: check before going on. */
static void check_all(struct worker *w)
{
    for (int32_t i = 0; i < w->farm.partitions; i++) {
        if (w->parts[i].state == PART_RUNNING)
            part_set(&w->parts[i], PART_CHECKING, "the connection to Kafka was lost");
    }
    w->positions_changed = true;
}

static void poll_failed(struct worker *w, const struct failure *f)
{
    struct log_quoted quoted;
    log_warn("consumer", "err=%s", log_quote(&quoted, f->text));
    worker_metrics_happened(w->metrics, HAPPENED_KAFKA_DISCONNECT);
    check_all(w);
}

static void consume(struct worker *w, int timeout_ms)
{
    struct failure f;
    size_t count = 0;
    enum err err = w->broker->ops->poll(w->broker->self, w->messages, w->settings.batch_max,
                                        w->settings.batch_max_bytes, timeout_ms, &count, &f);
    if (err != ERR_OK)
        poll_failed(w, &f);
    if (count == 0)
        return;
    arena_reset(w->arena);
    struct item *items = xcalloc(count, sizeof(*items));
    stage_begin(w);
    size_t taken = arrival_gather(w, w->messages, count, items);
    stage_end(w, STAGE_AUTHENTICATE);
    batch_run(w, items, taken);
    free(items);
    w->broker->ops->release(w->broker->self, w->messages, count);
}

void worker_pause(struct worker *w, int64_t ms)
{
    enum { SCRATCH = 64 };
    struct broker_message scratch[SCRATCH];
    struct failure f;
    size_t count = 0;
    if (w->broker->ops->poll(w->broker->self, scratch, SCRATCH, w->settings.batch_max_bytes, 0,
                             &count, &f) != ERR_OK)
        poll_failed(w, &f);
    for (size_t i = 0; i < count; i++) {
        if (worker_has_part(w, scratch[i].part))
            w->parts[scratch[i].part].seek_back = true;
    }
    if (count)
        w->broker->ops->release(w->broker->self, scratch, count);
    w->env.sleep_ms(w->env.arg, ms);
    worker_metrics_publish(w); /* a batch may be tried again for long */
}

/* --- life ---------------------------------------------------------------------------------- */

void worker_step(struct worker *w, int timeout_ms)
{
    upkeep(w);
    consume(w, timeout_ms);
    worker_metrics_publish(w);
}

static enum err check_topics(const struct worker *w, struct failure *f)
{
    struct broker_shape shape;
    const struct farm_row *farm = &w->farm;
    if (w->broker->ops->shape(w->broker->self, &shape, f) != ERR_OK)
        return failure_wrap(f, "look at the topics");
    if (strcmp(shape.cluster_id, farm->cluster_id) != 0) {
        return failure_set(f, ERR_LOG_TOPIC,
                           "this is Kafka cluster %s, but farm %s was set up on %s: set "
                           "kafka.bootstrap.servers to that one",
                           shape.cluster_id, farm->name, farm->cluster_id);
    }
    if (shape.request_partitions == 0 || shape.event_partitions == 0) {
        return failure_set(f, ERR_LOG_TOPIC,
                           "the %s topic is missing: run berth-admin init --farm %s",
                           shape.request_partitions == 0 ? "request" : "event", farm->name);
    }
    if (shape.fault[0])
        return failure_set(f, ERR_LOG_TOPIC, "%s", shape.fault);
    if (shape.request_partitions < farm->partitions || shape.event_partitions < farm->partitions) {
        return failure_set(f, ERR_LOG_TOPIC,
                           "the topics have %" PRId32 " and %" PRId32
                           " partitions, the farm has %" PRId32 "; see docs/operations.md",
                           shape.request_partitions, shape.event_partitions, farm->partitions);
    }
    if (shape.request_partitions > farm->partitions || shape.event_partitions > farm->partitions) {
        log_error("the topics have more partitions than the farm; those above are not consumed",
                  "requests=%" PRId32 " events=%" PRId32 " farm=%" PRId32, shape.request_partitions,
                  shape.event_partitions, farm->partitions);
    }
    return ERR_OK;
}

static enum err connect_and_look(struct worker *w, struct failure *f)
{
    const struct store_ops *store = w->store->ops;
    if (store->connect(w->store->self, f) != ERR_OK)
        return failure_wrap(f, "connect to the database");
    if (store->farm(w->store->self, &w->farm, f) != ERR_OK) {
        if (f->err == ERR_NOT_FOUND) {
            return failure_set(f, ERR_NOT_FOUND,
                               "the database holds no farm: run berth-admin init --farm NAME");
        }
        return failure_wrap(f, "read the farm");
    }
    return check_topics(w, f);
}

enum err worker_check(struct store *store, struct broker *broker, struct failure *f)
{
    struct worker w = {.store = store, .broker = broker};
    return connect_and_look(&w, f);
}

static enum err prepare(struct worker *w, struct failure *f)
{
    if (connect_and_look(w, f) != ERR_OK || keyring_load(w->keys, w->store, f) != ERR_OK)
        return f->err;
    w->session_up = true;
    w->session_used_ms = mono(w);
    w->connection_id = w->store->ops->connection_id(w->store->self);
    w->key_generation = w->farm.key_generation;
    w->parts = xcalloc((size_t)w->farm.partitions, sizeof(*w->parts));
    for (int32_t i = 0; i < w->farm.partitions; i++)
        w->parts[i] = (struct part){.number = i, .state = PART_FOREIGN, .hole_at = -1};
    if (w->farm.halted[0]) {
        worker_halt_farm(w, (struct halt){w->farm.halt_cause, w->farm.halted});
    } else if (ownership_check_tails(w, f) != ERR_OK) {
        return f->err;
    }
    struct broker_callbacks events = {
        .arg = w, .assigned = on_assigned, .revoked = on_revoked, .delivered = on_delivered};
    return w->broker->ops->subscribe(w->broker->self, &events, f);
}

enum err worker_open(const struct worker_settings *settings, const struct worker_env *env,
                     struct store *store, struct broker *broker, struct worker **out,
                     struct failure *f)
{
    assert(settings->batch_max > 0);
    assert(settings->unpublished_max > (int64_t)settings->batch_max);
    struct worker *w = xcalloc(1, sizeof(*w));
    *w = (struct worker){
        .settings = *settings, .env = *env, .store = store, .broker = broker, .last_suspect = -1};
    w->keys = keyring_new();
    w->world = world_new();
    w->arena = arena_new();
    w->messages = xcalloc(settings->batch_max, sizeof(*w->messages));
    w->metrics = settings->metrics;
    if (!w->metrics)
        w->metrics = w->own_metrics = worker_metrics_new();
    worker_metrics_open(w->metrics, settings->unpublished_max);
    backoff_init(&w->session_pause, WORKER_RETRY_MIN_MS, WORKER_RETRY_MAX_MS);
    backoff_init(&w->resubscribe_pause, 500, 10 * WORKER_RETRY_MAX_MS);
    backoff_init(&w->producer_pause, WORKER_RETRY_MIN_MS, WORKER_RETRY_MAX_MS);
    backoff_init(&w->check_pause, 50, WORKER_RETRY_MAX_MS);
    if (prepare(w, f) != ERR_OK) {
        worker_free(w);
        return f->err;
    }
    log_info("worker ready", "farm=%s partitions=%" PRId32 " worker=%s", w->farm.name,
             w->farm.partitions, settings->name);
    *out = w;
    return ERR_OK;
}

void worker_close(struct worker *w)
{
    struct failure f;
    if (!w->producer_broken && !w->farm_halted)
        ownership_advance(w); /* what a full queue left behind */
    if (w->broker->ops->flush(w->broker->self, -1, WORKER_SHUTDOWN_FLUSH_MS, &f) != ERR_OK) {
        struct log_quoted quoted;
        log_warn("not all events are acknowledged; the next owner publishes them again", "err=%s",
                 log_quote(&quoted, f.text));
    }
    w->broker->ops->close(w->broker->self);
    log_info("worker closed", "worker=%s", w->settings.name);
}

void worker_free(struct worker *w)
{
    if (!w)
        return;
    keyring_free(w->keys);
    world_free(w->world);
    arena_free(w->arena);
    worker_metrics_free(w->own_metrics);
    free(w->messages);
    free(w->parts);
    free(w);
}
