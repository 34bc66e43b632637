#include "worker/arrival.h"

#include <inttypes.h>
#include <stdio.h>

#include "worker/authenticate.h"
#include "worker/claim.h"

/* What is special about a message, before anybody looks into it. */
enum arrival { TAKE, DROP, STOP_HERE };

static enum arrival wait_for_clock(struct worker *w, struct part *part,
                                   const struct log_message *message)
{
    struct failure f;
    char why[STORE_HALT_LEN];
    snprintf(why, sizeof(why),
             "offset %" PRId64 " was appended %" PRId64
             " s ahead of this host's clock: set right the broker's or this host's clock and it "
             "goes on, or "
             "berth-admin partition resume %" PRId32
             " --ignore-time-until OFFSET decides what is before OFFSET at the partition's last "
             "time",
             message->offset, (message->append_ms - w->env.wall_ms(w->env.arg)) / 1000,
             part->number);
    if (part->row.progress_epoch != part->row.epoch && claim_note_progress(w, part, &f) != ERR_OK &&
        err_is_connection(f.err)) {
        worker_store_failed(w, &f);
        return STOP_HERE;
    }
    part_set(part, PART_WAITING, why);
    part->look_again_ms = w->env.mono_ms(w->env.arg) + WORKER_LOOK_AGAIN_MS;
    w->positions_changed = true;
    return STOP_HERE;
}

static enum arrival judge_time(struct worker *w, struct part *part,
                               const struct log_message *message, bool first)
{
    char why[STORE_HALT_LEN];
    if (message->offset < part->row.ignore_time_until)
        return TAKE;
    bool no_time = message->append_ms == LOG_NO_TIME;
    if (!no_time && message->append_ms <= w->env.wall_ms(w->env.arg) + WORKER_CLOCK_AHEAD_MS)
        return TAKE;
    if (!first) { /* decide what is before it; it will come again as the first */
        part->seek_back = true;
        return STOP_HERE;
    }
    if (!no_time)
        return wait_for_clock(w, part, message);
    snprintf(why, sizeof(why),
             "offset %" PRId64 " has no append time: set message.timestamp.type=LogAppendTime on "
             "the request topic, then berth-admin partition resume %" PRId32
             " --ignore-time-until %" PRId64,
             message->offset, part->number, message->offset + 1);
    worker_halt_part(w, part, why);
    return STOP_HERE;
}

/* `expected`: the offset that the partition is at, with what this turn has taken already. */
static enum arrival judge(struct worker *w, struct part *part, const struct log_message *message,
                          int64_t expected)
{
    if (!worker_consumes(w, part) || message->offset < expected)
        return DROP;
    if (part->full) {
        part->seek_back = true;
        return STOP_HERE;
    }
    if (message->offset > expected && part->hole_at != message->offset) {
        part->hole_at = message->offset; /* taken if it comes again: offsets may have holes */
        part->seek_back = true;
        return STOP_HERE;
    }
    if (part->one_by_one && expected > part->row.next_offset) {
        part->seek_back = true;
        return STOP_HERE;
    }
    return judge_time(w, part, message, expected == part->row.next_offset);
}

/* `expected` as above: an operator is told the offset that the partition is at, and if a hole is
 * there, means the message behind it. */
static void take(struct worker *w, struct item *item, const struct log_message *message,
                 int64_t expected)
{
    struct part *part = &w->parts[message->part];
    int64_t reject_offset = part->row.reject_offset;
    *item = (struct item){.message = message, .part = part};
    item->operator_rejects = expected <= reject_offset && reject_offset <= message->offset;
    sha256(message->value, message->len, item->sha256);
    if (!item->operator_rejects)
        authenticate(w->keys, message->value, message->len, w->arena, &item->auth);
}

size_t arrival_gather(struct worker *w, const struct log_message *messages, size_t count,
                      struct item *items)
{
    size_t taken = 0;
    int32_t number = -1;
    int64_t expected = 0;
    bool stopped = false;
    for (size_t i = 0; i < count; i++) {
        const struct log_message *message = &messages[i];
        if (!worker_has_part(w, message->part))
            continue;
        struct part *part = &w->parts[message->part];
        if (message->part != number) {
            number = message->part;
            expected = part->row.next_offset;
            stopped = false;
        }
        if (stopped)
            continue;
        enum arrival arrival = judge(w, part, message, expected);
        stopped = arrival == STOP_HERE;
        if (arrival != TAKE)
            continue;
        take(w, &items[taken++], message, expected);
        expected = message->offset + 1;
    }
    return taken;
}
