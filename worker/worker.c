#include "worker/worker.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "worker/arrival.h"
#include "worker/batch.h"
#include "worker/ownership.h"
#include "worker/upkeep.h"

static void on_assigned(void *arg, const int32_t *parts, size_t count)
{
    struct worker *w = arg;
    for (size_t i = 0; i < count; i++) {
        struct part *part = worker_part(w, parts[i]);
        if (!part) {
            log_error("a partition without a row is not consumed: the topic has more partitions "
                      "than the farm",
                      "part=%" PRId32, parts[i]);
        } else if (part->state == PART_FOREIGN || part->state == PART_LOST) {
            worker_part_set(w, part, PART_CLAIMING, NULL);
        }
    }
    worker_rejoined(w);
    worker_positions_stale(w);
}

/* This worker does not touch the partitions after the revoke. The next owner reads the tail, and so
 * learns which of the unacknowledged events arrived. */
static void on_revoked(void *arg, const int32_t *parts, size_t count, bool lost)
{
    struct worker *w = arg;
    struct failure f;
    int64_t deadline_ms = worker_mono_ms(w) + WORKER_REVOKE_FLUSH_MS;
    for (size_t i = 0; i < count; i++) {
        struct part *part = worker_part(w, parts[i]);
        if (!part)
            continue;
        int64_t left_ms = deadline_ms - worker_mono_ms(w);
        if (!lost && part_is_claimed(part) && part->sent_seq > part->acked_seq && left_ms > 0)
            (void)w->broker->ops->flush(w->broker->self, part->number, (int)left_ms, &f);
        if (!lost) {
            upkeep_note_published(w, part);
            upkeep_excuse(w, part);
        }
        worker_part_set(w, part, PART_FOREIGN, lost ? "lost by the group" : NULL);
    }
    worker_positions_stale(w);
}

static void on_delivered(void *arg, int32_t number, int64_t seq, enum err err)
{
    struct worker *w = arg;
    struct part *part = worker_part(w, number);
    assert(part);
    if (err == ERR_OK)
        worker_metrics_acknowledged(w->metrics, number, seq, worker_wall_ms(w));
    if (err != ERR_OK) {
        worker_producer_broke(w);
    } else if (seq > part->acked_seq && seq <= part->sent_seq) {
        part->acked_seq = seq;
        worker_producer_worked(w);
    }
}

static void consume(struct worker *w, int timeout_ms)
{
    size_t count = arrival_poll(w, w->messages, w->settings.batch_max, timeout_ms);
    if (count == 0)
        return;
    arena_reset(w->arena);
    struct item *items = xcalloc(count, sizeof(*items));
    worker_stage_begin(w);
    size_t taken = arrival_gather(w, w->messages, count, items);
    worker_stage_end(w, STAGE_AUTHENTICATE);
    batch_run(w, items, taken);
    free(items);
    w->broker->ops->release(w->broker->self, w->messages, count);
}

void worker_step(struct worker *w, int timeout_ms)
{
    upkeep(w);
    consume(w, timeout_ms);
    worker_show(w);
}

static enum err check_topics(struct broker *broker, const struct farm_row *farm, struct failure *f)
{
    struct broker_shape shape;
    if (broker->ops->shape(broker->self, &shape, f) != ERR_OK)
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

static enum err connect_and_look(struct store *store, struct broker *broker, struct farm_row *farm,
                                 struct failure *f)
{
    if (store->ops->connect(store->self, f) != ERR_OK)
        return failure_wrap(f, "connect to the database");
    if (store->ops->farm(store->self, farm, f) != ERR_OK) {
        if (f->err == ERR_NOT_FOUND) {
            return failure_set(f, ERR_NOT_FOUND,
                               "the database holds no farm: run berth-admin init --farm NAME");
        }
        return failure_wrap(f, "read the farm");
    }
    return check_topics(broker, farm, f);
}

enum err worker_check(struct store *store, struct broker *broker, struct failure *f)
{
    struct farm_row farm;
    return connect_and_look(store, broker, &farm, f);
}

static enum err prepare(struct worker *w, struct failure *f)
{
    struct farm_row farm;
    if (connect_and_look(w->store, w->broker, &farm, f) != ERR_OK ||
        keyring_load(w->keys, w->store, farm.key_generation, f) != ERR_OK)
        return f->err;
    worker_state_farm(w, &farm);
    worker_session_opened(w);
    if (farm.halted[0]) {
        worker_halt_farm(w, (struct halt){farm.halt_cause, farm.halted});
    } else if (ownership_check_tails(w, f) != ERR_OK) {
        return f->err;
    }
    worker_session_compared(w);
    struct broker_callbacks events = {
        .arg = w, .assigned = on_assigned, .revoked = on_revoked, .delivered = on_delivered};
    return w->broker->ops->subscribe(w->broker->self, &events, f);
}

enum err worker_open(const struct worker_settings *settings, const struct worker_env *env,
                     struct store *store, struct broker *broker, struct worker **out,
                     struct failure *f)
{
    struct worker *w = worker_state_new(settings, env, store, broker);
    if (prepare(w, f) != ERR_OK) {
        worker_free(w);
        return f->err;
    }
    log_info("worker ready", "farm=%s partitions=%" PRId32 " worker=%s", w->farm.row.name,
             w->farm.row.partitions, settings->name);
    *out = w;
    return ERR_OK;
}

void worker_close(struct worker *w)
{
    struct failure f;
    if (!w->producer.broken && !w->farm.halted)
        ownership_advance(w); /* what a full queue left behind */
    if (w->broker->ops->flush(w->broker->self, -1, WORKER_SHUTDOWN_FLUSH_MS, &f) != ERR_OK) {
        log_failure(LOG_WARN,
                    "not all events are acknowledged; the next owner publishes them again", &f);
    }
    w->broker->ops->close(w->broker->self);
    log_info("worker closed", "worker=%s", w->settings.name);
}

void worker_free(struct worker *w)
{
    worker_state_free(w);
}
