#include "worker/upkeep.h"

#include <inttypes.h>
#include <stdlib.h>

#include "core/decide.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "worker/ownership.h"

static void ensure_session(struct worker *w)
{
    struct failure f;
    struct store *store = w->store;
    if (w->session.up) {
        if (worker_mono_ms(w) - w->session.used_ms < WORKER_PING_MS)
            return;
        worker_session_used(w);
        if (store->ops->ping(store->self, &f) == ERR_OK) {
            worker_session_worked(w);
        } else {
            worker_session_lost(w, &f);
        }
        return;
    }
    if (!worker_retry_due(w, &w->session.retry))
        return;
    uint64_t old = w->session.connection_id;
    enum err err = store->ops->connect(store->self, &f);
    /* The old session may still hold locks, and even be about to commit. */
    if (err == ERR_OK && old != 0)
        err = store->ops->kill(store->self, old, &f);
    if (err != ERR_OK) {
        worker_session_lost(w, &f);
        return;
    }
    worker_metrics_happened(w->metrics, HAPPENED_DATABASE_RECONNECT, 1);
    worker_session_opened(w);
    log_info("database session opened", "connection=%" PRIu64, w->session.connection_id);
}

/* After a failed delivery this producer must not send another event, since the topic would have a
 * gap. A new producer starts behind the tail (docs/architecture.md, Publishing). */
static void ensure_producer(struct worker *w)
{
    struct failure f;
    if (!w->producer.broken || !worker_retry_due(w, &w->producer.retry))
        return;
    worker_retry_later(w, &w->producer.retry);
    if (w->broker->ops->reset_producer(w->broker->self, &f) != ERR_OK) {
        log_failure(LOG_WARN, "no new producer yet", &f);
        return;
    }
    worker_producer_renewed(w);
}

static void set_positions(struct worker *w)
{
    struct failure f;
    size_t count = 0;
    if (!w->positions_stale)
        return;
    struct broker_position *positions = xcalloc((size_t)w->farm.row.partitions, sizeof(*positions));
    for (struct part *part = w->parts; part < w->parts_end; part++) {
        if (!worker_consumes(w, part))
            continue;
        positions[count++] = (struct broker_position){part->number, part->row.next_offset};
        part->seek_back = false;
        part->hole_count = 0;
        part->full = false;
        part_moved(part, worker_mono_ms(w));
    }
    if (w->broker->ops->start(w->broker->self, positions, count, &f) == ERR_OK) {
        worker_positions_told(w);
    } else {
        log_failure(LOG_WARN, "cannot start fetching yet", &f);
    }
    free(positions);
}

static void seek_back(struct worker *w, struct part *part)
{
    struct failure f;
    if (w->broker->ops->seek(w->broker->self, part->number, part->row.next_offset, &f) == ERR_OK) {
        part->seek_back = false;
    } else {
        worker_positions_stale(w); /* starting anew does the same */
    }
}

/* Pauses and resumes fetching by the number of unacknowledged events. */
static void bound_unpublished(struct worker *w, struct part *part)
{
    struct failure f;
    if (!part->full && part_unpublished(part) >= w->settings.unpublished_max) {
        /* If that fails, messages are dropped as they arrive, and fetched again when there is room. */
        (void)w->broker->ops->pause(w->broker->self, part->number, &f);
        part->full = true;
    } else if (part->full && part_unpublished(part) <= w->settings.unpublished_max / 2) {
        if (w->broker->ops->resume(w->broker->self, part->number, &f) == ERR_OK) {
            part->full = false;
            part->seek_back = true;
        }
    }
}

static void tend_running(struct worker *w)
{
    for (struct part *part = w->parts; part < w->parts_end; part++) {
        if (!worker_consumes(w, part) || w->positions_stale)
            continue;
        bound_unpublished(w, part);
        if (part->seek_back && !part->full)
            seek_back(w, part);
        if (!part->seek_back && !part->full)
            ownership_skip_markers(w, part);
    }
}

static void look_at_farm(struct worker *w)
{
    struct failure f;
    struct farm_row farm;
    if (!w->farm.halted || !w->session.up || worker_mono_ms(w) < w->farm.look_ms)
        return;
    worker_farm_looked_at(w);
    if (w->store->ops->farm(w->store->self, &farm, &f) != ERR_OK) {
        worker_session_lost(w, &f);
    } else if (!farm.halted[0]) {
        worker_farm_resumed(w);
    }
}

void upkeep_note_published(struct worker *w, struct part *part)
{
    struct failure f;
    if (!w->session.up || !part_is_claimed(part) || !part->tail_known || !part->row_known ||
        part->acked_seq <= part->published_noted)
        return;
    enum err err = w->store->ops->set_published(w->store->self, part->number, part->row.epoch,
                                                part->acked_seq, &f);
    worker_session_used(w);
    if (err == ERR_OK) {
        part->published_noted = part->row.published_seq = part->acked_seq;
    } else if (err != ERR_EPOCH_LOST) { /* the next batch notices that */
        worker_session_lost(w, &f);
    }
}

void upkeep_excuse(struct worker *w, struct part *part)
{
    struct failure f;
    if (!w->session.up || !part_is_claimed(part) || !part->row_known ||
        ownership_excuse(w, part, true, &f) == ERR_OK)
        return;
    if (f.err != ERR_EPOCH_LOST) /* the next batch notices that */
        worker_session_lost(w, &f);
}

static void note_now_and_then(struct worker *w)
{
    if (worker_mono_ms(w) - w->noted_ms < WORKER_NOTE_MS)
        return;
    w->noted_ms = worker_mono_ms(w);
    for (struct part *part = w->parts; part < w->parts_end; part++) {
        if (part->state != PART_RUNNING)
            continue;
        if (part->acked_seq == part->row.last_seq)
            upkeep_note_published(w, part); /* a busy partition notes it with its batches */
        upkeep_excuse(w, part);
        w->broker->ops->commit_offset(w->broker->self, part->number, part->row.next_offset);
    }
}

/* Frees memory: no decision looks at use that ended before the least clock of the partitions that this
 * worker decides. One partition's clock alone is not enough, since another partition may be hours
 * behind. A partition that has decided nothing yet, or is halted, does not count; timelines that its
 * older messages need are loaded again. */
static void forget_past(struct worker *w)
{
    int64_t least_ms = INT64_MAX;
    for (const struct part *part = w->parts; part < w->parts_end; part++) {
        if (part_is_claimed(part) && part->state != PART_HALTED && part->row.clock_ms > 0 &&
            part->row.clock_ms < least_ms)
            least_ms = part->row.clock_ms;
    }
    if (least_ms < INT64_MAX)
        world_forget_before(w->world, time_floor_s(least_ms));
}

static void ensure_group(struct worker *w)
{
    struct failure f;
    if (!w->rejoin.due || !worker_retry_due(w, &w->rejoin.retry))
        return;
    log_info("joining the group again, to be assigned partitions anew", "worker=%s",
             w->settings.name);
    worker_rejoins(w);
    if (w->broker->ops->resubscribe(w->broker->self, &f) == ERR_OK)
        worker_rejoined(w);
}

void upkeep(struct worker *w)
{
    ensure_session(w);
    look_at_farm(w);
    ensure_producer(w);
    ensure_group(w);
    ownership_advance(w);
    set_positions(w);
    tend_running(w);
    note_now_and_then(w);
    forget_past(w);
}
