#include "worker/arrival.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#include "lib/base/mem.h"
#include "lib/token/jws.h"
#include "worker/ownership.h"

size_t arrival_poll(struct worker *w, struct broker_message *messages, size_t max, int timeout_ms)
{
    struct failure f;
    size_t count = 0;
    if (w->broker->ops->poll(w->broker->self, messages, max, w->settings.batch_max_bytes,
                             timeout_ms, &count, &f) != ERR_OK)
        worker_broker_failed(w, &f);
    assert(count <= max);
    return count;
}

void arrival_pause(struct worker *w, int64_t ms)
{
    enum { SCRATCH = 64 };
    struct broker_message scratch[SCRATCH];
    size_t count = arrival_poll(w, scratch, SCRATCH, 0);
    for (size_t i = 0; i < count; i++) {
        struct part *part = worker_part(w, scratch[i].part);
        if (part)
            part->seek_back = true;
    }
    if (count > 0)
        w->broker->ops->release(w->broker->self, scratch, count);
    w->env.sleep_ms(w->env.arg, ms);
    worker_show(w); /* attempts at one batch may go on for long */
}

/* What to do with a message, judged without reading its value. */
enum arrival { TAKE, DROP, STOP_HERE, STOP_AT_HOLE };

static enum arrival wait_for_clock(struct worker *w, struct part *part,
                                   const struct broker_message *message)
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
             message->offset, (message->append_ms - worker_wall_ms(w)) / 1000, part->number);
    if (part->row.progress_epoch != part->row.epoch &&
        ownership_note_progress(w, part, &f) != ERR_OK && worker_failed(w, part, &f))
        return STOP_HERE;
    worker_part_waits(w, part, (struct halt){HALT_CLOCK_AHEAD, why});
    return STOP_HERE;
}

/* The message, and what follows it, is fetched again later. */
static enum arrival stop_and_seek_back(struct part *part)
{
    part->seek_back = true;
    return STOP_HERE;
}

static enum arrival judge_time(struct worker *w, struct part *part,
                               const struct broker_message *message, bool first)
{
    char why[STORE_HALT_LEN];
    if (message->offset < part->row.ignore_time_until)
        return TAKE;
    bool no_time = message->append_ms == BROKER_NO_TIME;
    if (!no_time && message->append_ms <= worker_wall_ms(w) + WORKER_CLOCK_AHEAD_MS)
        return TAKE;
    if (!first) /* decide the messages before it; it comes again as the first */
        return stop_and_seek_back(part);
    if (!no_time)
        return wait_for_clock(w, part, message);
    snprintf(why, sizeof(why),
             "offset %" PRId64 " has no append time: set message.timestamp.type=LogAppendTime on "
             "the request topic, then berth-admin partition resume %" PRId32
             " --ignore-time-until %" PRId64,
             message->offset, part->number, message->offset + 1);
    worker_halt_part(w, part, (struct halt){HALT_NO_APPEND_TIME, why});
    return STOP_HERE;
}

/* Whether an operator rejects the message. One rejection is for all messages of a batch that cannot be
 * read. */
static bool is_rejected(const struct part *part, const struct broker_message *message)
{
    int64_t first = message->unreadable ? message->batch_offset : message->offset;
    return first <= part->row.reject_offset && part->row.reject_offset <= message->offset;
}

static enum arrival judge_unreadable(struct worker *w, struct part *part,
                                     const struct broker_message *message, bool first)
{
    char why[STORE_HALT_LEN];
    if (!first) /* decide the messages before it; it comes again */
        return stop_and_seek_back(part);
    if (is_rejected(part, message)) {
        part->seek_back = true; /* nothing comes behind it otherwise */
        return TAKE;
    }
    snprintf(why, sizeof(why),
             "offset %" PRId64 " cannot be read (%.200s): make another replica the leader, then "
             "berth-admin partition resume %" PRId32 ", or reject all of its batch by "
             "berth-admin reject %" PRId32 " %" PRId64,
             message->offset, message->unreadable, part->number, part->number, message->offset);
    worker_halt_part(w, part, (struct halt){HALT_UNREADABLE, why});
    return STOP_HERE;
}

/* A partition whose owners died without progress is a suspect: one of its messages may have killed
 * them (docs/architecture.md, Owning a partition). All other partitions of those owners have become
 * suspects as well. To find the guilty one, the worker takes messages of suspects one at a time, in
 * a turn of their own, in which it takes nothing else. A partition that survives its turn has made
 * progress. A death counts only against the partition whose turn it was: before each turn, all other
 * partitions are excused. */

/* A turn takes the messages of one suspect (its number), or: */
#define TURN_OF_ALL    (-1) /* of every partition: there is no suspect */
#define TURN_OF_OTHERS (-2) /* of the partitions that are no suspects */
#define TURN_OF_NOBODY (-3)

static bool is_its_turn(const struct part *part, int32_t turn)
{
    return turn == TURN_OF_ALL || turn == part->number ||
           (turn == TURN_OF_OTHERS && part->one_by_one == 0);
}

/* Also true of a suspect that is not consumed yet. */
static bool is_suspect(const struct part *part)
{
    int64_t fruitless = part->row.epoch - part->row.progress_epoch + part->excused;
    return part_is_claimed(part) && (part->one_by_one > 0 || fruitless > WORKER_POISON_ONE_BY_ONE);
}

static bool excuse_others(struct worker *w, int32_t turn)
{
    for (struct part *part = w->parts; part < w->parts_end; part++) {
        struct failure f;
        bool excused = !worker_consumes(w, part) || !is_its_turn(part, turn);
        if (!part_is_claimed(part) || !part->row_known ||
            ownership_excuse(w, part, excused, &f) == ERR_OK)
            continue;
        (void)worker_failed(w, part, &f); /* what it does not act on is tried again next turn */
        return false;
    }
    return true;
}

/* The next suspect with a message, in the order of partitions, round robin. */
static int32_t next_suspect(const struct worker *w)
{
    int32_t count = w->farm.row.partitions, at = w->suspects.last;
    for (int32_t i = 0; i < count; i++) {
        at = (at + 1) % count;
        if (w->parts[at].has_suspect)
            break;
    }
    return at;
}

static int32_t choose_turn(struct worker *w, const struct broker_message *messages, size_t count)
{
    int32_t turn = TURN_OF_OTHERS;
    bool careful = false, suspects = false, others = false;
    for (struct part *part = w->parts; part < w->parts_end; part++) {
        part->has_suspect = false;
        careful = careful || is_suspect(part);
    }
    if (!careful)
        return TURN_OF_ALL;
    for (size_t i = 0; i < count; i++) {
        struct part *part = worker_part(w, messages[i].part);
        if (!part)
            continue;
        part->has_suspect = worker_consumes(w, part) && part->one_by_one > 0;
        suspects = suspects || part->has_suspect;
        others = others || (worker_consumes(w, part) && part->one_by_one == 0);
    }
    if (suspects && (w->suspects.turn || !others))
        turn = w->suspects.last = next_suspect(w);
    w->suspects.turn = turn == TURN_OF_OTHERS;
    return excuse_others(w, turn) ? turn : TURN_OF_NOBODY;
}

/* Whether the hole before the offset was there before a seek back, too. */
static bool hole_is_known(const struct part *part, int64_t offset)
{
    for (size_t i = 0; !part->seek_back && i < part->hole_count; i++) {
        if (part->holes[i] == offset)
            return true;
    }
    return false;
}

/* Holes are taken if they come again after a seek back. Notes all holes that the messages in hand show
 * from the first one on: in a backlog of small transactions every second offset is a hole, and one
 * seek back per hole would be one per message. `expected` as in judge. */
static void note_holes(struct part *part, const struct broker_message *messages, size_t count,
                       int64_t expected)
{
    part->hole_count = 0;
    for (size_t i = 0; i < count && messages[i].part == part->number; i++) {
        if (messages[i].offset > expected) {
            part->holes = xgrow(part->holes, part->hole_count, &part->hole_capacity,
                                sizeof(*part->holes));
            part->holes[part->hole_count++] = messages[i].offset;
        }
        if (messages[i].offset >= expected)
            expected = messages[i].offset + 1;
    }
}

/* `expected`: the offset behind the messages that this turn has taken of the partition. */
static enum arrival judge(struct worker *w, struct part *part, const struct broker_message *message,
                          int64_t expected, int32_t turn)
{
    if (!worker_consumes(w, part))
        return DROP;
    if (message->offset < expected)
        return message->unreadable ? stop_and_seek_back(part) : DROP;
    if (part->full || !is_its_turn(part, turn))
        return stop_and_seek_back(part);
    if (message->offset > expected && !hole_is_known(part, message->offset)) {
        part->seek_back = true;
        return STOP_AT_HOLE;
    }
    if (part->one_by_one > 0 && expected > part->row.next_offset)
        return stop_and_seek_back(part);
    bool first = expected == part->row.next_offset;
    return message->unreadable ? judge_unreadable(w, part, message, first)
                               : judge_time(w, part, message, first);
}

static void take(struct worker *w, struct item *item, const struct broker_message *message)
{
    struct part *part = &w->parts[message->part];
    *item = (struct item){
        .message = message, .part = part, .key_generation = keyring_generation(w->keys)};
    item->operator_rejects = is_rejected(part, message);
    sha256(message->value, message->len, item->sha256);
    if (!item->operator_rejects)
        authenticate(w->keys, message->value, message->len, w->arena, &item->auth);
}

size_t arrival_gather(struct worker *w, const struct broker_message *messages, size_t count,
                      struct item *items)
{
    size_t taken = 0;
    int32_t number = -1, turn = choose_turn(w, messages, count);
    int64_t expected = 0;
    bool stopped = false;
    for (size_t i = 0; i < count; i++) {
        const struct broker_message *message = &messages[i];
        struct part *part = worker_part(w, message->part);
        if (!part)
            continue;
        if (message->part != number) {
            number = message->part;
            expected = part->row.next_offset;
            stopped = false;
        }
        if (stopped)
            continue;
        enum arrival arrival = judge(w, part, message, expected, turn);
        stopped = arrival == STOP_HERE || arrival == STOP_AT_HOLE;
        if (arrival == STOP_AT_HOLE)
            note_holes(part, message, count - i, expected);
        if (arrival != TAKE)
            continue;
        take(w, &items[taken++], message);
        expected = message->offset + 1;
    }
    return taken;
}
