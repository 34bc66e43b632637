/* Following the event topic by the contract for consumers (docs/messages.md), which makes "each
 * event once, in order" of a log in which the events of a crashed worker may be repeated. */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/mem.h"
#include "producer/libberth_internal.h"

struct berth_watch {
    struct berth_client *client;
    rd_kafka_t *consumer;
    rd_kafka_topic_t *events;
    rd_kafka_queue_t *queue;
    int32_t partition_count;
    int32_t started_count; /* partitions that are being read */
    struct track *tracks;
    char *json; /* of the event last given */
};

/* ---- opening ------------------------------------------------------------------------------- */

static enum berth_status start(struct berth_watch *watch, int32_t partition, bool from_beginning,
                               struct berth_error *error)
{
    struct track *track = &watch->tracks[partition];
    int64_t range[2];
    enum berth_status status = lb_event_range(watch->client, watch->consumer, partition, range,
                                              error);
    if (status != BERTH_OK)
        return status;
    if (from_beginning && !track->started) {
        track->settled = true;
        /* A log from which nothing was deleted begins with sequence 1. */
        track->started = range[0] == 0;
    }
    bool whole = from_beginning || track->started;
    int failed = rd_kafka_consume_start_queue(watch->events, partition, whole ? range[0] : range[1],
                                              watch->queue);
    if (failed) {
        return lb_error(error, BERTH_KAFKA, "read events of partition %" PRId32 ": %s", partition,
                        rd_kafka_err2str(rd_kafka_last_error()));
    }
    watch->started_count = partition + 1;
    return BERTH_OK;
}

static enum berth_status take_positions(struct berth_watch *watch,
                                        const struct berth_watch_options *options,
                                        struct berth_error *error)
{
    for (size_t i = 0; i < options->position_count; i++) {
        struct berth_position position = options->positions[i];
        if (position.partition < 0 || position.partition >= watch->partition_count) {
            return lb_error(error, BERTH_CONFIG,
                            "there is no partition %" PRId32 ": the farm has 0..%" PRId32,
                            position.partition, watch->partition_count - 1);
        }
        watch->tracks[position.partition] = (struct track){
            .started = true, .settled = true, .last = position.seq};
    }
    return BERTH_OK;
}

static enum berth_status open_consumer(struct berth_watch *watch, struct berth_error *error)
{
    struct berth_client *client = watch->client;
    char events[TOPIC_LEN], requests[TOPIC_LEN];
    lb_topic_name(client, "events", events);
    lb_topic_name(client, "requests", requests);
    enum berth_status status = lb_consumer_new(client, &watch->consumer, error);
    if (status != BERTH_OK)
        return status;
    watch->events = rd_kafka_topic_new(watch->consumer, events, NULL);
    rd_kafka_topic_t *looked_at = rd_kafka_topic_new(watch->consumer, requests, NULL);
    assert(watch->events && looked_at);
    status = lb_check_topics(client, watch->consumer, &watch->partition_count, error);
    rd_kafka_topic_destroy(looked_at);
    if (status != BERTH_OK)
        return status;
    watch->queue = rd_kafka_queue_new(watch->consumer);
    rd_kafka_queue_io_event_enable(watch->queue, client->wake[1], "w", 1);
    watch->tracks = xcalloc((size_t)watch->partition_count, sizeof(*watch->tracks));
    return BERTH_OK;
}

enum berth_status berth_watch_open(struct berth_client *client,
                                   const struct berth_watch_options *options,
                                   struct berth_watch **watch_out, struct berth_error *error)
{
    static const struct berth_watch_options from_end = {0};
    struct berth_watch *watch = xcalloc(1, sizeof(*watch));
    watch->client = client;
    if (!options)
        options = &from_end;
    enum berth_status status = open_consumer(watch, error);
    if (status == BERTH_OK)
        status = take_positions(watch, options, error);
    for (int32_t p = 0; status == BERTH_OK && p < watch->partition_count; p++)
        status = start(watch, p, options->from_beginning, error);
    if (status != BERTH_OK) {
        berth_watch_close(watch);
        return status;
    }
    *watch_out = watch;
    return BERTH_OK;
}

void berth_watch_close(struct berth_watch *watch)
{
    if (!watch)
        return;
    for (int32_t p = 0; p < watch->started_count; p++)
        rd_kafka_consume_stop(watch->events, p);
    if (watch->queue)
        rd_kafka_queue_destroy(watch->queue);
    if (watch->events)
        rd_kafka_topic_destroy(watch->events);
    if (watch->consumer)
        rd_kafka_destroy_flags(watch->consumer, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    free(watch->tracks);
    free(watch->json);
    free(watch);
}

/* ---- the contract -------------------------------------------------------------------------- */

/* The publisher's epoch, a decimal number in a header; 0: none. */
static int64_t epoch_of(const rd_kafka_message_t *message)
{
    rd_kafka_headers_t *headers;
    const void *value;
    size_t len;
    int64_t epoch = 0;
    if (rd_kafka_message_headers(message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR ||
        rd_kafka_header_get_last(headers, "berth-epoch", &value, &len) !=
            RD_KAFKA_RESP_ERR_NO_ERROR)
        return 0;
    const char *digits = value;
    for (size_t i = 0; i < len && i < 18; i++) {
        if (digits[i] < '0' || digits[i] > '9')
            return 0;
        epoch = epoch * 10 + (digits[i] - '0');
    }
    return epoch;
}

enum track_verdict lb_track(struct track *track, int64_t seq, int64_t epoch)
{
    enum track_verdict take = TRACK_TAKE;
    if (track->started && seq <= track->last) {
        take = TRACK_IGNORE;
    } else if (track->started && seq > track->last + 1) {
        /* Events of a zombie can be the first that were seen; its successor has a higher epoch. */
        bool jump_allowed = !track->settled && epoch > track->epoch;
        take = jump_allowed ? TRACK_TAKE : TRACK_TAKE_AFTER_GAP;
        track->settled = true;
    } else if (track->started) {
        track->settled = true;
    }
    if (epoch > track->epoch)
        track->epoch = epoch;
    if (take != TRACK_IGNORE) {
        track->started = true;
        track->last = seq;
    }
    return take;
}

/* One message of the topic; *found: it is in *out. */
static enum berth_status on_message(struct berth_watch *watch, const rd_kafka_message_t *message,
                                    bool *found, struct berth_event *out, struct berth_error *error)
{
    struct track *track = &watch->tracks[message->partition];
    int64_t seq = message->payload ? lb_event_sequence(message->payload, message->len) : 0;
    if (seq < 1)
        return BERTH_OK; /* not an event of ours; consumers ignore what they do not know */
    int64_t last = track->last;
    enum track_verdict take = lb_track(track, seq, epoch_of(message));
    if (take == TRACK_IGNORE)
        return BERTH_OK;
    free(watch->json);
    watch->json = xstrndup(message->payload, message->len);
    *out = (struct berth_event){
        .partition = message->partition,
        .seq = seq,
        .json = watch->json,
        .json_len = strlen(watch->json),
    };
    *found = true;
    if (take == TRACK_TAKE)
        return BERTH_OK;
    out->missing_from = last + 1;
    out->missing_to = seq - 1;
    return lb_error(error, BERTH_GAP,
                    "partition %" PRId32 ": sequences %" PRId64 " to %" PRId64
                    " are not in the event topic",
                    message->partition, out->missing_from, out->missing_to);
}

/* Errors that librdkafka does not get over by itself. */
static enum berth_status on_error(const rd_kafka_message_t *message, struct berth_error *error)
{
    enum berth_status status = lb_status_of(message->err);
    if (status == BERTH_UNREACHABLE || status == BERTH_OK)
        return BERTH_OK;
    return lb_error(error, status, "events of partition %" PRId32 ": %s", message->partition,
                    rd_kafka_message_errstr(message));
}

enum berth_status berth_watch_next(struct berth_watch *watch, int timeout_ms, bool *found,
                                   struct berth_event *out, struct berth_error *error)
{
    int64_t until_ms = timeout_ms < 0 ? INT64_MAX : clock_mono_ms() + timeout_ms;
    *found = false;
    while (true) {
        if (lb_take_interrupt(watch->client))
            return lb_error(error, BERTH_INTERRUPTED, "interrupted");
        rd_kafka_message_t *message = rd_kafka_consume_queue(watch->queue, 0);
        if (!message) {
            /* What comes after the look behind it wakes the sleep. */
            lb_drain_wake(watch->client);
            message = rd_kafka_consume_queue(watch->queue, 0);
        }
        if (message) {
            enum berth_status status = message->err ? on_error(message, error)
                                                    : on_message(watch, message, found, out, error);
            rd_kafka_message_destroy(message);
            if (status != BERTH_OK || *found)
                return status;
            continue;
        }
        rd_kafka_poll(watch->consumer, 0);
        if (clock_mono_ms() >= until_ms)
            return BERTH_OK;
        lb_sleep(watch->client, until_ms);
    }
}
