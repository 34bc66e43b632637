#include "worker/outbox.h"

#include <assert.h>
#include <inttypes.h>

#include "lib/codec/event.h"

static void see_event(void *arg, int64_t offset, int64_t seq)
{
    int64_t *highest = arg;
    (void)offset;
    if (seq > *highest)
        *highest = seq; /* repeats of older ones may follow the newest */
}

/* The last published sequence, if the tail of the event log holds no decision. */
static enum err tail_without_events(const struct part *part, int64_t lo, int64_t hi, int64_t *tail,
                                    struct failure *f)
{
    const struct partition_row *row = &part->row;
    if (hi > lo && row->published_seq > 0) {
        return halt_set(f, ERR_PARTITION_HALTED, HALT_FOREIGN_EVENTS,
                        "the last events of event partition %" PRId32
                        " are none of Berth's decisions, though %" PRId64
                        " were published: find out who writes to the event topic, then "
                        "berth-admin partition resume %" PRId32,
                        part->number, row->published_seq, part->number);
    }
    if (hi == 0 && row->published_seq > 0) {
        return halt_set(f, ERR_PARTITION_HALTED, HALT_EVENTS_DELETED,
                        "event partition %" PRId32 " is empty though %" PRId64
                        " events were published: the topic was deleted and made again. "
                        "Consumers have lost their place; see docs/operations.md",
                        part->number, row->published_seq);
    }
    *tail = lo > 0 ? row->published_seq : 0; /* lo > 0: retention took them all */
    return ERR_OK;
}

/* The topic is ahead of the known row. Either it is ahead of the database, or another owner has
 * published. */
static enum err tail_ahead(struct worker *w, const struct part *part, int64_t tail,
                           struct failure *f)
{
    struct partition_row row;
    if (w->store->ops->partition(w->store->self, part->number, &row, f) != ERR_OK)
        return failure_wrap(f, "read partition %" PRId32 " again", part->number);
    if (row.epoch > part->row.epoch)
        return part_epoch_lost(part, f);
    return halt_set(f, ERR_FARM_HALTED, HALT_DATABASE_OLDER,
                    "event partition %" PRId32 " holds event %" PRId32 "-%" PRId64
                    " but the database ends at %" PRId64
                    ": it was restored from an older state; see docs/operations.md",
                    part->number, part->number, tail, row.last_seq);
}

/* Fails if events have gone since the range was read: the tail may have lost them to retention, or is
 * that of a topic that was made again. */
static enum err range_is_stable(struct worker *w, int32_t number, int64_t lo, int64_t hi,
                                struct failure *f)
{
    int64_t lo_now, hi_now;
    if (w->broker->ops->event_range(w->broker->self, number, &lo_now, &hi_now, f) != ERR_OK)
        return failure_wrap(f, "read the ends of event partition %" PRId32, number);
    if (lo_now != lo || hi_now < hi) {
        return failure_set(f, ERR_LOG_ERROR, "event partition %" PRId32 " lost events meanwhile",
                           number);
    }
    return ERR_OK;
}

enum err outbox_read_tail(struct worker *w, struct part *part, struct failure *f)
{
    const struct broker_ops *broker = w->broker->ops;
    int64_t lo, hi, tail = 0;
    if (broker->event_range(w->broker->self, part->number, &lo, &hi, f) != ERR_OK)
        return failure_wrap(f, "read the ends of event partition %" PRId32, part->number);
    if (hi > lo &&
        broker->event_tail(w->broker->self, part->number, 2 * w->settings.unpublished_max,
                           see_event, &tail, f) != ERR_OK)
        return failure_wrap(f, "read the tail of event partition %" PRId32, part->number);
    if (tail == 0 && range_is_stable(w, part->number, lo, hi, f) != ERR_OK)
        return f->err;
    if (tail == 0 && tail_without_events(part, lo, hi, &tail, f) != ERR_OK)
        return f->err;
    if (tail > part->row.last_seq)
        return tail_ahead(w, part, tail, f);
    part->sent_seq = part->acked_seq = tail;
    part->tail_known = true;
    return ERR_OK;
}

static enum err send(struct worker *w, struct part *part, const struct stored_event *stored,
                     struct failure *f)
{
    const struct broker_event event = {
        .part = part->number,
        .epoch = part->row.epoch,
        .seq = stored->seq,
        .key = stored->subject,
        .type = stored->accepted ? EVENT_TYPE_ACCEPTED : EVENT_TYPE_REJECTED,
        .value = stored->event,
        .len = stored->event_len,
    };
    assert(part->tail_known);
    assert(event.seq == part->sent_seq + 1);
    enum err err = w->broker->ops->publish(w->broker->self, &event, f);
    if (err == ERR_OK) {
        part->sent_seq = event.seq;
    } else if (err != ERR_LOG_FULL) {
        worker_producer_broke(w);
    }
    return err;
}

struct sending {
    struct worker *w;
    struct part *part;
};

static enum err send_stored(void *arg, const struct stored_event *stored, struct failure *f)
{
    struct sending *sending = arg;
    struct part *part = sending->part;
    if (stored->seq != part->sent_seq + 1) {
        return halt_set(f, ERR_PARTITION_HALTED, HALT_DECISIONS_MISSING,
                        "decision %" PRId32 "-%" PRId64
                        " is missing in the database: restore it; see docs/operations.md",
                        part->number, part->sent_seq + 1);
    }
    return send(sending->w, part, stored, f);
}

enum err outbox_catch_up(struct worker *w, struct part *part, struct failure *f)
{
    assert(part->tail_known);
    struct sending sending = {w, part};
    while (part->sent_seq < part->row.last_seq && !w->producer.broken) {
        int64_t before = part->sent_seq;
        if (w->store->ops->outbox(w->store->self, part->number, before, WORKER_OUTBOX_PAGE,
                                  send_stored, &sending, f) != ERR_OK) {
            return failure_wrap(f, "publish decisions of partition %" PRId32 " again",
                                part->number);
        }
        if (part->sent_seq == before) {
            return halt_set(f, ERR_PARTITION_HALTED, HALT_DECISIONS_MISSING,
                            "decisions %" PRId32 "-%" PRId64 " to %" PRId64
                            " are missing in the database: restore them; see "
                            "docs/operations.md",
                            part->number, before + 1, part->row.last_seq);
        }
    }
    return ERR_OK;
}

void outbox_send(struct worker *w, struct part *part, const struct decision_row *row)
{
    struct failure f;
    /* Without a tail, sent_seq is the last event that an earlier producer was given. */
    if (w->producer.broken || !part->tail_known || row->seq != part->sent_seq + 1)
        return;
    const struct stored_event stored = {.part = row->part,
                                        .seq = row->seq,
                                        .accepted = row->reason == REASON_NONE,
                                        .subject = row->subject,
                                        .event = row->event,
                                        .event_len = row->event_len};
    (void)send(w, part, &stored, &f); /* upkeep sees a full queue and a broken producer */
}
