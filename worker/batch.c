#include "worker/batch.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/codec/event.h"
#include "worker/arrival.h"
#include "worker/lockset.h"
#include "worker/outbox.h"

/* The work space of one attempt. `items` holds the messages whose partitions still run. */
struct batch {
    struct worker *w;
    struct item **items;
    size_t count;
    struct part **parts; /* of the items, ascending */
    int32_t *numbers;
    struct partition_row *rows; /* as locked; then as they will be written */
    size_t part_count;
    struct decision_row *decisions;
    struct lockset set;
};

static void batch_init(struct batch *b, struct worker *w, size_t count)
{
    *b = (struct batch){.w = w};
    b->items = xcalloc(count, sizeof(*b->items));
    b->parts = xcalloc(count, sizeof(*b->parts));
    b->numbers = xcalloc(count, sizeof(*b->numbers));
    b->rows = xcalloc(count, sizeof(*b->rows));
    b->decisions = xcalloc(count, sizeof(*b->decisions));
}

static void batch_fini(struct batch *b)
{
    free(b->items);
    free(b->parts);
    free(b->numbers);
    free(b->rows);
    free(b->decisions);
    lockset_fini(&b->set);
}

/* A partition may have been revoked, lost or halted since the last attempt. */
static bool choose_items(struct batch *b, struct item *items, size_t count)
{
    b->count = b->part_count = 0;
    for (size_t i = 0; i < count; i++) {
        struct part *part = items[i].part;
        if (part->state != PART_RUNNING)
            continue;
        b->items[b->count++] = &items[i];
        if (b->part_count == 0 || b->parts[b->part_count - 1] != part) {
            b->numbers[b->part_count] = part->number;
            b->parts[b->part_count++] = part;
        }
    }
    return b->count > 0;
}

/* A decision's now is the append time, unless the partition's clock is ahead of it. */
static void set_times(struct batch *b)
{
    const struct part *part = NULL;
    int64_t clock_ms = 0;
    for (size_t i = 0; i < b->count; i++) {
        struct item *item = b->items[i];
        if (item->part != part) {
            part = item->part;
            clock_ms = part->row.clock_ms;
        }
        bool ignore_time = item->message->offset < part->row.ignore_time_until;
        if (!ignore_time && item->message->append_ms > clock_ms)
            clock_ms = item->message->append_ms;
        item->now_ms = clock_ms;
    }
}

/* Each row must be as this owner left it. ERR_EPOCH_LOST, if one is not: its partition has left the
 * batch (LOST or CHECKING), which is tried again without it. */
static enum err compare_rows(struct batch *b, struct failure *f)
{
    for (size_t i = 0; i < b->part_count; i++) {
        struct part *part = b->parts[i];
        const struct partition_row *row = &b->rows[i];
        if (row->epoch != part->row.epoch) {
            worker_lose_part(b->w, part);
            return failure_set(f, ERR_EPOCH_LOST, "partition %" PRId32 " has epoch %" PRId64,
                               part->number, row->epoch);
        }
        if (row->halted[0] || row->next_offset != part->row.next_offset ||
            row->last_seq != part->row.last_seq) {
            part->row_known = false;
            worker_part_set(b->w, part, PART_CHECKING, "its row was changed by somebody else");
            return failure_set(f, ERR_EPOCH_LOST, "partition %" PRId32 " was changed",
                               part->number);
        }
    }
    return ERR_OK;
}

/* Locks the partitions, checks rows, farm and keys under the lock, then locks the rest. */
static enum err lock(struct batch *b, struct failure *f)
{
    struct worker *w = b->w;
    struct farm_row farm;
    worker_stage_end(w, STAGE_WARM);
    if (w->store->ops->lock_partitions(w->store->self, b->numbers, b->part_count, b->rows, &farm,
                                       f) != ERR_OK)
        return failure_wrap(f, "lock partitions");
    if (farm.halted[0])
        return halt_set(f, ERR_FARM_HALTED, farm.halt_cause, "%s", farm.halted);
    if (compare_rows(b, f) != ERR_OK)
        return f->err;
    if (farm.key_generation != keyring_generation(w->keys))
        return failure_set(f, ERR_KEYS_CHANGED, "key generation %" PRId64, farm.key_generation);
    return lockset_take(&b->set, w, f);
}

static void note_answer(struct worker *w, const struct item *item, const struct decision_row *row)
{
    struct prior *prior = arena_alloc(world_arena(w->world), sizeof(*prior));
    *prior = (struct prior){.client = row->client,
                            .request_id = row->request_id,
                            .part = row->part,
                            .seq = row->seq,
                            .reason = row->reason,
                            .subject = row->subject,
                            .event = row->event,
                            .event_len = row->event_len};
    memcpy(prior->content_sha256, item->auth.claims.content_sha256, 32);
    world_prior_put(w->world, prior);
}

static void decide_item(struct batch *b, struct item *item, struct partition_row *row,
                        struct decision_row *out)
{
    struct worker *w = b->w;
    const struct claims *claims = item->auth.verified ? &item->auth.claims : NULL;
    struct submission submission = {.part = row->part,
                                    .seq = row->last_seq + 1,
                                    .now_ms = item->now_ms,
                                    .farm = w->farm.row.name,
                                    .credential = &item->auth.credential,
                                    .claims = claims,
                                    .operator_rejects = item->operator_rejects};
    struct decision decision;
    decide(w->world, &submission, &decision);
    struct event_input input = {.farm = w->farm.row.name,
                                .part = row->part,
                                .seq = submission.seq,
                                .log_offset = item->message->offset,
                                .now_ms = item->now_ms,
                                .message_sha256 = item->sha256,
                                .credential = &item->auth.credential,
                                .claims = claims,
                                .decision = &decision};
    struct event event;
    event_encode(&input, world_arena(w->world), &event);
    *out = (struct decision_row){
        .part = row->part,
        .seq = submission.seq,
        .log_offset = item->message->offset,
        .client = decision.verified ? item->auth.credential.client : NULL,
        .request_id = decision.uses_id ? item->auth.claims.id : NULL,
        .content_sha256 = decision.uses_id ? item->auth.claims.content_sha256 : NULL,
        .reason = decision.reason,
        .subject = event.subject,
        .time_ms = item->now_ms,
        .event = event.bytes,
        .event_len = event.len};
    memcpy(out->message_sha256, item->sha256, 32);
    if (decision.uses_id)
        note_answer(w, item, out);
    row->last_seq = submission.seq;
    row->next_offset = item->message->offset + 1;
    row->clock_ms = item->now_ms;
    row->has_last_sha256 = true;
    memcpy(row->last_sha256, item->sha256, 32);
}

static void count_batch(const struct batch *b)
{
    struct worker_metrics *metrics = b->w->metrics;
    size_t needed = b->set.machines.count + b->set.client_count, loaded = b->set.loaded;
    worker_metrics_batch(metrics, b->count);
    worker_metrics_happened(metrics, HAPPENED_TIMELINE_REUSED,
                            needed > loaded ? needed - loaded : 0);
    worker_metrics_happened(metrics, HAPPENED_TIMELINE_LOADED, loaded);
    for (size_t i = 0; i < b->count; i++) {
        const struct item *item = b->items[i];
        bool readable = item->auth.verified && !item->auth.claims.pointer;
        worker_metrics_decided(metrics, &b->decisions[i],
                               readable ? item->auth.claims.request.type : REQUEST_TYPE_COUNT,
                               item->message->append_ms);
    }
}

static enum err decide_and_write(struct batch *b, struct failure *f)
{
    size_t p = 0;
    worker_stage_end(b->w, STAGE_LOCK);
    for (size_t i = 0; i < b->count; i++) {
        while (b->parts[p] != b->items[i]->part) {
            p++;
            assert(p < b->part_count);
        }
        decide_item(b, b->items[i], &b->rows[p], &b->decisions[i]);
    }
    for (p = 0; p < b->part_count; p++) {
        b->parts[p]->session = b->w->session.connection_id;
        b->rows[p].progress_epoch = b->rows[p].epoch;
        if (b->parts[p]->acked_seq > b->rows[p].published_seq)
            b->rows[p].published_seq = b->parts[p]->acked_seq;
    }
    worker_stage_end(b->w, STAGE_DECIDE);
    struct store_batch batch = {.decision_count = b->count,
                                .decisions = b->decisions,
                                .partition_count = b->part_count,
                                .partitions = b->rows,
                                .world = b->w->world};
    if (b->w->store->ops->write(b->w->store->self, &batch, f) != ERR_OK)
        return failure_wrap(f, "write decisions");
    worker_stage_end(b->w, STAGE_WRITE);
    return b->w->store->ops->commit(b->w->store->self, f);
}

/* After the COMMIT: the written rows are the stored ones, and the events may be published. */
static void adopt_and_publish(struct batch *b)
{
    worker_stage_end(b->w, STAGE_COMMIT);
    count_batch(b);
    worker_session_worked(b->w);
    for (size_t p = 0; p < b->part_count; p++) {
        struct part *part = b->parts[p];
        part->row = b->rows[p];
        part->published_noted = b->rows[p].published_seq;
        part_moved(part, worker_mono_ms(b->w));
        if (part->one_by_one > 0)
            part->one_by_one--;
        part->wait_told = false;
    }
    for (size_t i = 0; i < b->count; i++)
        outbox_send(b->w, b->items[i]->part, &b->decisions[i]);
    worker_stage_end(b->w, STAGE_PUBLISH);
}

static enum err attempt(struct batch *b, struct failure *f)
{
    struct worker *w = b->w;
    const struct store_ops *store = w->store->ops;
    worker_stage_begin(w);
    set_times(b);
    lockset_collect(&b->set, b->items, b->count);
    world_batch_begin(w->world);
    enum err err = store->begin(w->store->self, f);
    if (err == ERR_OK)
        err = lockset_warm(&b->set, w, f);
    if (err == ERR_OK)
        err = lock(b, f);
    if (err == ERR_OK)
        err = decide_and_write(b, f);
    if (err == ERR_OK) {
        adopt_and_publish(b);
    } else {
        store->rollback(w->store->self);
    }
    world_batch_end(w->world, err == ERR_OK);
    worker_session_used(w);
    return err;
}

/* Keys or limits have changed: the new ones count from this batch on. */
static enum err load_keys(struct worker *w, struct failure *f)
{
    struct farm_row farm;
    if (w->store->ops->farm(w->store->self, &farm, f) != ERR_OK ||
        keyring_load(w->keys, w->store, farm.key_generation, f) != ERR_OK)
        return f->err;
    log_info("keys loaded", "generation=%" PRId64, farm.key_generation);
    return ERR_OK;
}

/* Authenticates items again whose keys are not current. Another part of a split batch may have
 * loaded newer keys. */
static void authenticate_again(struct worker *w, struct item *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct item *item = &items[i];
        if (item->operator_rejects || item->key_generation == keyring_generation(w->keys))
            continue;
        item->key_generation = keyring_generation(w->keys);
        authenticate(w->keys, item->message->value, item->message->len, w->arena, &item->auth);
    }
}

enum outcome { DONE, FAILED, ABANDONED };

/* Tries the items as one transaction until it is committed (DONE), no item is left or the session or
 * farm is gone (ABANDONED), or WORKER_BATCH_ATTEMPTS have failed (FAILED, with the last fault). */
static enum outcome try_batch(struct worker *w, struct item *items, size_t count, struct failure *f)
{
    struct batch b;
    struct backoff pause;
    enum outcome outcome = FAILED;
    backoff_init(&pause, WORKER_RETRY_MIN_MS, WORKER_RETRY_MAX_MS);
    batch_init(&b, w, count);
    for (int faults = 0; faults < WORKER_BATCH_ATTEMPTS;) {
        if (!choose_items(&b, items, count)) {
            outcome = ABANDONED;
            break;
        }
        authenticate_again(w, items, count);
        enum err err = attempt(&b, f);
        if (err != ERR_OK)
            worker_metrics_rolled_back(w->metrics, err);
        if (err == ERR_KEYS_CHANGED) {
            err = load_keys(w, f);
        } else if (err == ERR_OK) {
            outcome = DONE;
            break;
        }
        if (err == ERR_OK || err == ERR_EPOCH_LOST)
            continue; /* bounded: a partition leaves, or the keys are newer, each time */
        if (worker_failed(w, NULL, f)) {
            outcome = ABANDONED;
            break;
        }
        faults++;
        struct log_quoted quoted;
        log_info("batch rolled back", "messages=%zu attempt=%d err=%s", b.count, faults,
                 log_quote(&quoted, f->text));
        if (err != ERR_WORLD_GREW)
            arrival_pause(w, backoff_next(&pause));
    }
    batch_fini(&b);
    return outcome;
}

/* A message that fails in every attempt of its own stops its partition only. */
static void give_up(struct worker *w, const struct item *item, const struct failure *f)
{
    char why[STORE_HALT_LEN];
    struct part *part = item->part;
    if (part->state != PART_RUNNING)
        return;
    bool locked = f->err == ERR_DB_LOCK_TIMEOUT || f->err == ERR_DB_DEADLOCK;
    if (locked || f->err == ERR_WORLD_GREW) {
        worker_part_waits(w, part, (struct halt){locked ? HALT_LOCKED : HALT_OTHER, f->text});
        return;
    }
    snprintf(why, sizeof(why),
             "offset %" PRId64
             " cannot be decided (%.300s): when the cause is removed, berth-admin "
             "partition resume %" PRId32 "; to give the message up, berth-admin reject %" PRId32
             " %" PRId64,
             item->message->offset, f->text, part->number, part->number, item->message->offset);
    worker_halt_part(w, part, (struct halt){HALT_UNDECIDABLE, why});
}

static void run_one_by_one(struct worker *w, struct item *items, size_t count)
{
    struct failure f;
    for (size_t i = 0; i < count && items[i].part->state == PART_RUNNING; i++) {
        if (try_batch(w, &items[i], 1, &f) == FAILED)
            give_up(w, &items[i], &f);
    }
}

void batch_run(struct worker *w, struct item *items, size_t count)
{
    struct failure f;
    if (count == 0 || try_batch(w, items, count, &f) != FAILED)
        return;
    for (size_t first = 0, end; first < count; first = end) {
        for (end = first + 1; end < count && items[end].part == items[first].part; end++)
            ;
        if (end - first == count || try_batch(w, &items[first], end - first, &f) == FAILED)
            run_one_by_one(w, &items[first], end - first);
    }
}
