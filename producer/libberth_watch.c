/* Follows the event topic by the contract for consumers (docs/messages.md): each event once and in
 * order, although a topic may repeat the events of a crashed worker. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/mem.h"
#include "lib/codec/event_read.h"
#include "producer/libberth_internal.h"

struct berth_watch {
    struct berth_client *client;
    struct topic_reader *reader;
    int32_t partition_count;
    struct track *tracks;
    struct arena *arena; /* for one event */
    char *json;          /* of the event last given */
};

/* ---- opening ------------------------------------------------------------------------------- */

static enum berth_status start(struct berth_watch *watch, int32_t partition, bool from_beginning,
                               struct berth_error *error)
{
    struct track *track = &watch->tracks[partition];
    struct topic_span span;
    enum berth_status status = lb_event_span(watch->client, watch->reader, partition, &span, error);
    if (status != BERTH_OK)
        return status;
    if (from_beginning && !track->started) {
        track->settled = true;
        /* A log from which nothing was deleted begins with sequence 1. */
        track->started = span.lo == 0;
    }
    bool whole = from_beginning || track->started;
    return lb_follow(watch->reader, partition, whole ? span.lo : span.hi, error);
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

enum berth_status berth_watch_open(struct berth_client *client,
                                   const struct berth_watch_options *options,
                                   struct berth_watch **watch_out, struct berth_error *error)
{
    static const struct berth_watch_options from_end = {0};
    struct berth_watch *watch = xcalloc(1, sizeof(*watch));
    watch->client = client;
    watch->arena = arena_new();
    if (!options)
        options = &from_end;
    enum berth_status status = lb_reader_open(client, &watch->reader, &watch->partition_count,
                                              error);
    if (status == BERTH_OK) {
        rd_kafka_queue_io_event_enable(topic_reader_queue(watch->reader), client->wake[1], "w", 1);
        watch->tracks = xcalloc((size_t)watch->partition_count, sizeof(*watch->tracks));
        status = take_positions(watch, options, error);
    }
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
    topic_reader_free(watch->reader);
    arena_free(watch->arena);
    free(watch->tracks);
    free(watch->json);
    free(watch);
}

/* ---- the contract -------------------------------------------------------------------------- */

enum track_verdict lb_track(struct track *track, int64_t seq, int64_t epoch)
{
    enum track_verdict take = TRACK_TAKE;
    if (track->started && seq <= track->last) {
        take = TRACK_IGNORE;
    } else if (track->started && seq > track->last + 1) {
        /* The first events seen can be those of a worker that lost its partition; its successor
         * has a higher epoch. */
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

/* Takes one message of the topic. *found: its event is in *out. */
static enum berth_status on_message(struct berth_watch *watch, const rd_kafka_message_t *message,
                                    bool *found, struct berth_event *out, struct berth_error *error)
{
    struct track *track = &watch->tracks[message->partition];
    struct event_view event;
    struct failure f;
    arena_reset(watch->arena);
    if (event_read(message->payload, message->len, watch->arena, &event, &f) != ERR_OK ||
        event.part != message->partition)
        return BERTH_OK; /* no event of this partition: consumers ignore what they do not know */
    int64_t seq = event.seq, last = track->last, epoch = topic_header_int(message, "berth-epoch");
    enum track_verdict take = lb_track(track, seq, epoch < 0 ? 0 : epoch);
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

/* Errors that do not pass by themselves. */
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
        rd_kafka_message_t *message = topic_reader_next(watch->reader, 0);
        if (!message) {
            /* A message that comes after this second look wakes the sleep. */
            lb_drain_wake(watch->client);
            message = topic_reader_next(watch->reader, 0);
        }
        if (message) {
            enum berth_status status = message->err ? on_error(message, error)
                                                    : on_message(watch, message, found, out, error);
            rd_kafka_message_destroy(message);
            if (status != BERTH_OK || *found)
                return status;
            continue;
        }
        if (clock_mono_ms() >= until_ms)
            return BERTH_OK;
        lb_sleep(watch->client, until_ms);
    }
}
