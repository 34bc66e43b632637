/* Messages between librdkafka and the owner.
 *
 * They are consumed one by one, since rd_kafka_consume_batch_queue has two faults: it calls the
 * rebalance callback while it holds messages of the revoked partitions and returns these
 * afterwards, and it hides at which message an error occurred. Messages stay in the inbox until a
 * poll ends, so that a callback can drop those of a partition and an error loses none of those
 * before it. */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/mem.h"
#include "worker/kafka_broker_impl.h"

#define GAUGE_INTERVAL_MS 1000

static void inbox_add(struct kafka_inbox *inbox, rd_kafka_message_t *message)
{
    inbox->messages = xgrow(inbox->messages, inbox->count, &inbox->capacity,
                            sizeof(*inbox->messages));
    inbox->messages[inbox->count++] = message;
    inbox->bytes += message->len;
}

void kafka_inbox_drop(struct kafka_broker *broker, int32_t part, int64_t *lowest_out)
{
    struct kafka_inbox *inbox = &broker->inbox;
    int64_t lowest = -1;
    size_t kept = 0;
    for (size_t i = 0; i < inbox->count; i++) {
        rd_kafka_message_t *message = inbox->messages[i];
        if (part != -1 && message->partition != part) {
            inbox->messages[kept++] = message;
            continue;
        }
        if (lowest < 0 || message->offset < lowest)
            lowest = message->offset;
        inbox->bytes -= message->len;
        rd_kafka_message_destroy(message);
    }
    inbox->count = kept;
    if (lowest_out)
        *lowest_out = lowest;
}

void kafka_inbox_fini(struct kafka_broker *broker)
{
    kafka_inbox_drop(broker, -1, NULL);
    free(broker->inbox.messages);
    broker->inbox = (struct kafka_inbox){0};
}

static int by_position(const void *left, const void *right)
{
    const rd_kafka_message_t *a = *(rd_kafka_message_t *const *)left;
    const rd_kafka_message_t *b = *(rd_kafka_message_t *const *)right;
    if (a->partition != b->partition)
        return a->partition < b->partition ? -1 : 1;
    return a->offset < b->offset ? -1 : a->offset > b->offset;
}

static struct broker_message message_of(const struct kafka_broker *broker, rd_kafka_message_t *from)
{
    if (from->err) {
        int64_t position = broker->parts[from->partition].position;
        return (struct broker_message){
            .part = from->partition,
            .offset = from->offset > position ? from->offset : position,
            .append_ms = BROKER_NO_TIME,
            .unreadable = rd_kafka_message_errstr(from),
            .batch_offset = from->offset,
            .handle = from,
        };
    }
    rd_kafka_timestamp_type_t type;
    int64_t time_ms = rd_kafka_message_timestamp(from, &type);
    return (struct broker_message){
        .part = from->partition,
        .offset = from->offset,
        .append_ms = type == RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME && time_ms >= 0 ? time_ms
                                                                                : BROKER_NO_TIME,
        .value = from->payload,
        .len = from->payload ? from->len : 0,
        .handle = from,
    };
}

/* Hands over at most max messages in order; the rest stays. */
static size_t inbox_take(struct kafka_broker *broker, struct broker_message *out, size_t max)
{
    struct kafka_inbox *inbox = &broker->inbox;
    if (inbox->count == 0)
        return 0; /* and perhaps no memory yet, which qsort must not see */
    qsort(inbox->messages, inbox->count, sizeof(*inbox->messages), by_position);
    size_t count = inbox->count < max ? inbox->count : max;
    for (size_t i = 0; i < count; i++) {
        out[i] = message_of(broker, inbox->messages[i]);
        inbox->bytes -= inbox->messages[i]->len;
    }
    inbox->count -= count;
    memmove(inbox->messages, inbox->messages + count, inbox->count * sizeof(*inbox->messages));
    return count;
}

void kafka_commit_gauge(struct kafka_broker *broker, bool now)
{
    int64_t now_ms = clock_mono_ms();
    if (!now && now_ms < broker->commit_at_ms)
        return;
    broker->commit_at_ms = now_ms + GAUGE_INTERVAL_MS;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(0);
    for (int32_t part = 0; part < LIMIT_PARTITIONS; part++) {
        struct kafka_part *p = &broker->parts[part];
        if (p->commit_offset < 0)
            continue;
        rd_kafka_topic_partition_list_add(list, broker->requests, part)->offset = p->commit_offset;
        p->commit_offset = -1;
    }
    if (list->cnt > 0)
        rd_kafka_commit(broker->consumer, list, 1 /* does not wait */);
    rd_kafka_topic_partition_list_destroy(list);
}

/* Notes an error that came instead of a message. `part` NULL: it concerns no partition. */
static void note_trouble(struct kafka_broker *broker, const rd_kafka_message_t *message,
                         struct kafka_part *part)
{
    struct failure *f = &broker->trouble;
    if (f->err != ERR_OK)
        return;
    kafka_failure(f, message->err, "consume", rd_kafka_message_errstr(message));
    if (part)
        failure_wrap(f, "%s [%" PRId32 "]", rd_kafka_topic_name(message->rkt), message->partition);
}

static void take_in(struct kafka_broker *broker, rd_kafka_message_t *message)
{
    bool known = message->rkt && kafka_part_is_valid(message->partition);
    struct kafka_part *part = known ? &broker->parts[message->partition] : NULL;
    bool unreadable = kafka_error_is_unreadable(message->err);
    if (part && message->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET)
        part->broken = true;
    /* Behind a damaged batch librdkafka goes on at an arbitrary place. Without a start, librdkafka goes
     * on with old partitions, as when a start or a return of partitions failed. */
    if (part && !part->unreadable && part->started && (!message->err || unreadable)) {
        part->unreadable = unreadable;
        if (!unreadable)
            part->position = message->offset + 1;
        inbox_add(&broker->inbox, message);
        return;
    }
    if (message->err && !(part && (part->unreadable || unreadable)))
        note_trouble(broker, message, part);
    rd_kafka_message_destroy(message);
}

/* How long to wait in librdkafka for a message. Consumer and producer cannot be waited for
 * together, so the wait is short while delivery reports are outstanding. */
static int slice_ms(const struct kafka_broker *broker, int64_t deadline)
{
    int64_t left = deadline - clock_mono_ms();
    int64_t longest = broker->outstanding > 0 ? 1 : KAFKA_SLICE_MS;
    if (left <= 0)
        return 0;
    return (int)(left < longest ? left : longest);
}

static void gather(struct kafka_broker *broker, size_t max, size_t max_bytes, int64_t deadline)
{
    const struct kafka_inbox *inbox = &broker->inbox;
    int wait_ms = 0;
    while (inbox->count < max && inbox->bytes < max_bytes && !broker->trouble.err) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(broker->consumer, wait_ms);
        if (message) {
            take_in(broker, message);
            wait_ms = 0;
            continue;
        }
        if (inbox->count > 0 || atomic_load(&broker->connection_lost))
            return;
        kafka_serve_reports(broker, 0);
        wait_ms = slice_ms(broker, deadline);
        if (wait_ms == 0)
            return;
    }
}

enum err kafka_poll(void *self, struct broker_message *out, size_t max, size_t max_bytes,
                    int timeout_ms, size_t *count_out, struct failure *f)
{
    struct kafka_broker *broker = self;
    assert(max > 0 && max_bytes > 0);
    *count_out = 0;
    if (broker->closed)
        return ERR_OK;
    kafka_serve_reports(broker, 0);
    gather(broker, max, max_bytes, clock_mono_ms() + timeout_ms);
    kafka_serve_reports(broker, 0);
    topic_reader_serve(broker->reader);
    kafka_commit_gauge(broker, false);
    if (atomic_exchange(&broker->connection_lost, false))
        return failure_set(f, ERR_LOG_TRANSPORT, "poll: a connection to a broker was lost");
    if (broker->trouble.err) {
        enum err err = broker->trouble.err;
        if (f)
            *f = broker->trouble;
        broker->trouble = (struct failure){0};
        return err;
    }
    *count_out = inbox_take(broker, out, max);
    return ERR_OK;
}

void kafka_release(void *self, struct broker_message *messages, size_t count)
{
    (void)self;
    for (size_t i = 0; i < count; i++) {
        rd_kafka_message_destroy(messages[i].handle);
        messages[i].handle = NULL;
    }
}
