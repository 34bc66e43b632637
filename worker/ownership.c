#include "worker/ownership.h"

#include <inttypes.h>
#include <string.h>

#include "lib/base/log.h"
#include "worker/outbox.h"

/* A step failed: what worker_failed does not act on can pass, and is tried again after a pause. */
static void step_failed(struct worker *w, struct part *part, const struct failure *f)
{
    struct log_quoted quoted;
    /* The producer's queue drains by itself. */
    if (f->err == ERR_LOG_FULL || worker_failed(w, part, f))
        return;
    if (part->told != f->err) {
        log_warn("partition not ready, will be tried again", "part=%" PRId32 " state=%s err=%s",
                 part->number, part_state_name(part->state), log_quote(&quoted, f->text));
    }
    part->told = f->err;
    part->look_again_ms = worker_mono_ms(w) + backoff_next(&w->checks.retry.pause);
}

static bool nothing_outstanding(const struct part *part)
{
    return part->tail_known && part->row_known && part->sent_seq == part->row.last_seq &&
           part->acked_seq == part->row.last_seq;
}

/* Earlier owners claimed the partition but never committed: a message may have killed them. */
static enum err check_poison(const struct worker *w, struct part *part, struct failure *f)
{
    int64_t fruitless = part->row.epoch - part->row.progress_epoch;
    /* The message that killed them is in the first batch, which has at most batch_max messages. */
    if (fruitless > WORKER_POISON_ONE_BY_ONE)
        part->one_by_one = (int64_t)w->settings.batch_max;
    if (fruitless <= WORKER_POISON_HALT || part->row.reject_offset >= part->row.next_offset)
        return ERR_OK;
    return halt_set(f, ERR_PARTITION_HALTED, HALT_REPEATED_DEATHS,
                    "the last %" PRId64 " owners made no progress at offset %" PRId64
                    ": if that message is to blame, berth-admin reject %" PRId32 " %" PRId64
                    ", else berth-admin partition resume %" PRId32,
                    fruitless - 1, part->row.next_offset, part->number, part->row.next_offset,
                    part->number);
}

static enum err claim(struct worker *w, struct part *part, struct failure *f)
{
    const struct store_ops *store = w->store->ops;
    struct partition_row row;
    /* A rebalance gave the partition back, and nobody else owned it in between: it needs no new
     * epoch and no tail. */
    if (nothing_outstanding(part)) {
        if (store->partition(w->store->self, part->number, &row, f) != ERR_OK)
            return failure_wrap(f, "read partition %" PRId32, part->number);
        if (row.epoch == part->row.epoch && row.last_seq == part->row.last_seq) {
            part->row = row;
            return ERR_OK;
        }
    }
    if (store->claim(w->store->self, part->number, w->settings.name, &row, f) != ERR_OK) {
        if (f->err == ERR_NOT_FOUND) {
            return halt_set(f, ERR_PARTITION_HALTED, HALT_NO_ROW,
                            "partition %" PRId32
                            " has no row in the database: the topic has more partitions than "
                            "the farm; see docs/operations.md",
                            part->number);
        }
        return failure_wrap(f, "claim partition %" PRId32, part->number);
    }
    part->row = row;
    part->session = w->session.connection_id;
    part->row_known = true;
    part->tail_known = part->excused = false;
    part->published_noted = row.published_seq;
    return ERR_OK;
}

static void advance_claiming(struct worker *w, struct part *part)
{
    struct failure f;
    if (claim(w, part, &f) != ERR_OK) {
        step_failed(w, part, &f);
        return;
    }
    if (part->row.halted[0]) {
        worker_halt_part(w, part, (struct halt){part->row.halt_cause, part->row.halted});
        return;
    }
    worker_part_set(w, part, PART_CHECKING, NULL);
}

/* Whether the row, read again in a new session, is as this owner left it. The epoch alone does not say
 * so: a fail-over may have lost this owner's claim, and another worker's claim then has the same
 * epoch. */
static bool is_ours(const struct part *part, const struct partition_row *row)
{
    return row->epoch == part->row.epoch &&
           (row->connection_id == part->row.connection_id || row->connection_id == part->session);
}

/* Begins a transaction and locks the partition's row in it. */
static enum err lock_row(struct worker *w, const struct part *part, struct partition_row *row,
                         struct failure *f)
{
    struct farm_row farm;
    enum err err = w->store->ops->begin(w->store->self, f);
    return err != ERR_OK
               ? err
               : w->store->ops->lock_partitions(w->store->self, &part->number, 1, row, &farm, f);
}

/* After a lost session or an unknown COMMIT: the row, read under its lock, says what happened. */
static enum err reread_row(struct worker *w, struct part *part, struct failure *f)
{
    struct partition_row row;
    enum err err = lock_row(w, part, &row, f);
    w->store->ops->rollback(w->store->self);
    if (err != ERR_OK)
        return failure_wrap(f, "read partition %" PRId32 " again", part->number);
    if (row.epoch < part->row.epoch ||
        (row.epoch == part->row.epoch && row.last_seq < part->row.last_seq)) {
        return halt_set(f, ERR_FARM_HALTED, HALT_DATABASE_OLDER,
                        "partition %" PRId32 " was at epoch %" PRId64 ", decision %" PRId64
                        " and is now at epoch %" PRId64 ", decision %" PRId64
                        ": the database was restored from an older state; see "
                        "docs/operations.md",
                        part->number, part->row.epoch, part->row.last_seq, row.epoch, row.last_seq);
    }
    if (!is_ours(part, &row))
        return part_epoch_lost(part, f);
    if (row.halted[0])
        return halt_set(f, ERR_PARTITION_HALTED, row.halt_cause, "%s", row.halted);
    if (part->tail_known && row.last_seq < part->sent_seq) {
        return halt_set(f, ERR_FARM_HALTED, HALT_DATABASE_OLDER,
                        "decision %" PRId32 "-%" PRId64
                        " was published but the database ends at %" PRId64
                        ": it was restored, or failed over to an older state; see "
                        "docs/operations.md",
                        part->number, part->sent_seq, row.last_seq);
    }
    /* Not what was remembered: a COMMIT of unknown outcome, or one that a fail-over lost, may have
     * excused it or noted what is published. */
    part->excused = row.progress_epoch > part->row.progress_epoch - part->excused;
    part->published_noted = row.published_seq;
    part->row = row;
    part->row_known = true;
    return ERR_OK;
}

/* What the log holds at its last offsets before a position. */
struct before {
    bool any;       /* a message */
    int64_t offset; /* of the last one */
    uint8_t sha256[32];
};

/* Looks at WORKER_HOLE_MAX offsets before the position. */
static enum err look_before(struct worker *w, const struct part *part, int64_t position,
                            struct before *out, struct failure *f)
{
    enum err err = w->broker->ops->request_before(w->broker->self, part->number, position,
                                                  WORKER_HOLE_MAX, &out->offset, out->sha256, f);
    out->any = err == ERR_OK;
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

/* Whether the message before a position, in a log that begins at `lo`, is the one that was decided
 * last. Without any message there, retention has deleted it, or none was decided. */
static bool last_is_before(const struct partition_row *row, const struct before *before,
                           int64_t position, int64_t lo)
{
    if (before->any)
        return row->has_last_sha256 && memcmp(before->sha256, row->last_sha256, 32) == 0;
    return position - lo <= WORKER_HOLE_MAX && (lo > 0 || !row->has_last_sha256);
}

/* The message before next_offset must be the last decided message. */
static enum err compare_last(struct worker *w, struct part *part, int64_t lo, struct failure *f)
{
    const struct partition_row *row = &part->row;
    struct before before = {0};
    if (look_before(w, part, row->next_offset, &before, f) != ERR_OK)
        return failure_wrap(f, "read the last decided request");
    if (last_is_before(row, &before, row->next_offset, lo))
        return ERR_OK;
    if (!row->has_last_sha256) {
        return halt_set(f, ERR_PARTITION_HALTED, HALT_REQUEST_LOG_REPLACED,
                        "request partition %" PRId32 " starts before offset %" PRId64
                        ", the first that init saw: the topic was deleted and made again; see "
                        "docs/operations.md",
                        part->number, row->next_offset);
    }
    return halt_set(f, ERR_PARTITION_HALTED, HALT_REQUEST_LOG_REPLACED,
                    "the request before offset %" PRId64 " of partition %" PRId32
                    " is not the one that was decided last: the topic was made again, or "
                    "this is another cluster; see docs/operations.md",
                    row->next_offset, part->number);
}

static enum err resume_check(struct worker *w, struct part *part, int64_t *lo_out,
                             struct failure *f)
{
    int64_t lo, hi, next = part->row.next_offset;
    if (w->broker->ops->request_range(w->broker->self, part->number, &lo, &hi, f) != ERR_OK)
        return failure_wrap(f, "read the ends of request partition %" PRId32, part->number);
    part->log_end = hi;
    if (next > hi) {
        return halt_set(f, ERR_PARTITION_HALTED, HALT_REQUEST_LOG_REPLACED,
                        "request partition %" PRId32 " ends at %" PRId64
                        " but was decided up to %" PRId64
                        ": its log was cut or made again; see docs/operations.md",
                        part->number, hi, next);
    }
    if (next < lo) {
        return halt_set(f, ERR_PARTITION_HALTED, HALT_REQUESTS_DELETED,
                        "requests %" PRId64 " to %" PRId64 " of partition %" PRId32
                        " were deleted before they were decided (retention is too short); see "
                        "docs/operations.md",
                        next, lo - 1, part->number);
    }
    *lo_out = lo;
    return next == lo ? ERR_OK : compare_last(w, part, lo, f);
}

/* Commits the row with another position and progress, without a decision. */
static enum err move(struct worker *w, struct part *part, int64_t next_offset,
                     int64_t progress_epoch, struct failure *f)
{
    const struct store_ops *store = w->store->ops;
    struct partition_row row;
    enum err err = lock_row(w, part, &row, f);
    if (err == ERR_OK && row.epoch != part->row.epoch)
        err = part_epoch_lost(part, f);
    struct partition_row to = part->row;
    to.next_offset = next_offset;
    to.progress_epoch = progress_epoch;
    part->session = w->session.connection_id;
    struct store_batch batch = {.partition_count = 1, .partitions = &to, .world = w->world};
    world_batch_begin(w->world);
    if (err == ERR_OK)
        err = store->write(w->store->self, &batch, f);
    if (err == ERR_OK)
        err = store->commit(w->store->self, f);
    if (err != ERR_OK)
        store->rollback(w->store->self);
    world_batch_end(w->world, err == ERR_OK);
    if (err != ERR_OK)
        return failure_wrap(f, "note progress");
    part->row.next_offset = next_offset;
    part->row.progress_epoch = progress_epoch;
    return ERR_OK;
}

static enum err set_progress(struct worker *w, struct part *part, int64_t progress_epoch,
                             struct failure *f)
{
    return move(w, part, part->row.next_offset, progress_epoch, f);
}

enum err ownership_note_progress(struct worker *w, struct part *part, struct failure *f)
{
    return set_progress(w, part, part->row.epoch, f);
}

enum err ownership_excuse(struct worker *w, struct part *part, bool excused, struct failure *f)
{
    if (part->row.progress_epoch == part->row.epoch)
        part->excused = false; /* it has made progress */
    bool counts = !part->excused && part->row.progress_epoch < part->row.epoch;
    if (excused ? !counts : !part->excused)
        return ERR_OK;
    enum err err = set_progress(w, part, part->row.progress_epoch + (excused ? 1 : -1), f);
    if (err == ERR_OK)
        part->excused = excused;
    return err;
}

/* Markers of transactions take offsets at the log's end, and no message may ever follow them. If
 * nothing but markers lies from the position on, moves it to the end: otherwise the markers would count
 * as waiting requests, and owners that had nothing to decide as owners that a message killed.
 * `lo`: where the log begins. */
static enum err skip_markers(struct worker *w, struct part *part, int64_t lo, int64_t end,
                             struct failure *f)
{
    int64_t next = part->row.next_offset;
    if (end > next) {
        struct before before = {0};
        if (end - next > WORKER_HOLE_MAX)
            return ERR_OK;
        if (look_before(w, part, end, &before, f) != ERR_OK)
            return failure_wrap(f, "look for requests at the log's end");
        if (before.any && before.offset >= next)
            return ERR_OK;
        if (last_is_before(&part->row, &before, end, lo)) /* the next resume check looks there */
            next = end;
    }
    if (next == part->row.next_offset && part->row.progress_epoch == part->row.epoch)
        return ERR_OK;
    return move(w, part, next, part->row.epoch, f);
}

void ownership_skip_markers(struct worker *w, struct part *part)
{
    struct failure f;
    int64_t lo, hi, now_ms = worker_mono_ms(w);
    if (now_ms - part->moved_ms < WORKER_MARKERS_MS || !w->session.up)
        return;
    int64_t end = w->broker->ops->request_end(w->broker->self, part->number);
    if (end <= part->row.next_offset || end == part->asked_end)
        return;
    part->asked_end = end;
    if (w->broker->ops->request_range(w->broker->self, part->number, &lo, &hi, &f) == ERR_OK &&
        skip_markers(w, part, lo, end, &f) == ERR_OK)
        return;
    part_moved(part, worker_mono_ms(w) + WORKER_LOOK_AGAIN_MS);
    if (!worker_failed(w, part, &f))
        log_failure(LOG_WARN, "cannot look for requests at the log's end", &f);
}

static enum err check(struct worker *w, struct part *part, struct failure *f)
{
    int64_t lo = 0;
    if (!part->row_known && reread_row(w, part, f) != ERR_OK)
        return f->err;
    if (!part->tail_known && outbox_read_tail(w, part, f) != ERR_OK)
        return f->err;
    if (outbox_catch_up(w, part, f) != ERR_OK)
        return f->err;
    if (resume_check(w, part, &lo, f) != ERR_OK)
        return f->err;
    if (skip_markers(w, part, lo, part->log_end, f) != ERR_OK)
        return f->err;
    return check_poison(w, part, f);
}

static void advance_checking(struct worker *w, struct part *part)
{
    struct failure f;
    if (check(w, part, &f) != ERR_OK) {
        step_failed(w, part, &f);
        return;
    }
    backoff_reset(&w->checks.retry.pause);
    part->told = ERR_OK;
    worker_part_set(w, part, PART_RUNNING, NULL);
}

static void catch_up(struct worker *w, struct part *part)
{
    struct failure f;
    if (part->row_known && !part->tail_known && outbox_read_tail(w, part, &f) != ERR_OK) {
        step_failed(w, part, &f);
        return;
    }
    if (!part->row_known || part->sent_seq == part->row.last_seq)
        return;
    if (outbox_catch_up(w, part, &f) != ERR_OK)
        step_failed(w, part, &f);
}

/* A halted partition is not consumed, but its decisions are still published. */
static void advance_halted(struct worker *w, struct part *part)
{
    struct failure f;
    struct partition_row row;
    part->look_again_ms = worker_mono_ms(w) + WORKER_LOOK_AGAIN_MS;
    if (w->store->ops->partition(w->store->self, part->number, &row, &f) != ERR_OK) {
        if (f.err != ERR_NOT_FOUND)
            worker_session_lost(w, &f);
        return;
    }
    if (!row.halted[0] && row.epoch >= part->row.epoch) {
        part->tail_known = false;
        worker_part_set(w, part, PART_CLAIMING, "resumed by an operator");
    } else if (row.epoch == part->row.epoch) {
        part->row = row;
        part->row_known = true;
        catch_up(w, part);
    }
}

static void advance(struct worker *w, struct part *part)
{
    switch (part->state) {
    case PART_CLAIMING:
        advance_claiming(w, part);
        break;
    case PART_CHECKING:
        advance_checking(w, part);
        break;
    case PART_WAITING:
        part->row_known = false; /* an operator may have changed the row */
        worker_part_set(w, part, PART_CHECKING, NULL);
        break;
    case PART_HALTED:
        advance_halted(w, part);
        break;
    case PART_RUNNING:
        catch_up(w, part);
        break;
    case PART_FOREIGN:
    case PART_LOST:
    case PART_STATE_COUNT:
        break;
    }
}

enum err ownership_check_tails(struct worker *w, struct failure *f)
{
    for (int32_t i = 0; i < w->farm.row.partitions; i++) {
        struct part tail = {.number = i, .row.last_seq = INT64_MAX};
        struct partition_row row;
        enum err err = outbox_read_tail(w, &tail, f); /* first the topic, then the row */
        if (err != ERR_OK)
            return err;
        err = w->store->ops->partition(w->store->self, i, &row, f);
        if (err == ERR_NOT_FOUND)
            continue; /* the claim will say so */
        if (err != ERR_OK)
            return err;
        if (tail.acked_seq > row.last_seq) {
            (void)halt_set(f, ERR_FARM_HALTED, HALT_DATABASE_OLDER,
                           "event partition %" PRId32 " holds event %" PRId32 "-%" PRId64
                           " but the database ends at %" PRId64
                           ": it was restored from an older state; see docs/operations.md",
                           i, i, tail.acked_seq, row.last_seq);
            worker_halt_farm(w, halt_of(f));
            return ERR_OK;
        }
    }
    return ERR_OK;
}

/* Whether this session's database is known not to be an older copy. */
static bool tails_are_checked(struct worker *w)
{
    struct failure f;
    if (w->session.compared)
        return true;
    if (!worker_retry_due(w, &w->checks.retry))
        return false;
    if (ownership_check_tails(w, &f) != ERR_OK) {
        worker_retry_later(w, &w->checks.retry);
        if (!worker_failed(w, NULL, &f) && !w->checks.fault_logged) {
            log_failure(LOG_WARN, "the database is not yet compared with the event topic", &f);
            w->checks.fault_logged = true;
        }
        return false;
    }
    worker_session_compared(w);
    w->checks.fault_logged = false;
    return !w->farm.halted;
}

static bool can_advance(const struct worker *w)
{
    return w->session.up && !w->farm.halted && !w->producer.broken;
}

void ownership_advance(struct worker *w)
{
    int64_t started_ms = worker_mono_ms(w);
    if (!can_advance(w) || !tails_are_checked(w))
        return;
    for (struct part *part = w->parts; part < w->parts_end; part++) {
        /* CHECKING may follow CLAIMING at once; no partition takes more than two steps. */
        for (int step = 0; step < 2; step++) {
            if (!can_advance(w))
                return;
            int64_t now_ms = worker_mono_ms(w);
            if (now_ms < part->look_again_ms)
                break;
            if (now_ms - started_ms > WORKER_CLAIM_SLICE_MS)
                return;
            advance(w, part);
        }
    }
}
