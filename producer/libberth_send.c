/* Publishing messages and waiting for their outcomes. */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/mem.h"
#include "producer/libberth_internal.h"

/* Events that are handled before librdkafka may tell delivery reports again. */
#define EVENTS_AT_ONCE 1000

/* Starts to read the partition's events at their present end, unless they are being read. A
 * decision on a message that is published afterwards cannot be missed. */
static enum berth_status consume_from_end(struct berth_client *client, int32_t partition,
                                          struct berth_error *error)
{
    struct topic_span span;
    if (client->lanes[partition].consuming)
        return BERTH_OK;
    enum berth_status status = lb_event_span(client, client->reader, partition, &span, error);
    if (status == BERTH_OK)
        status = lb_follow(client->reader, partition, span.hi, error);
    client->lanes[partition].consuming = status == BERTH_OK;
    return status;
}

static struct flight *flight_new(const struct berth_message *message, int32_t partition,
                                 const struct berth_send_options *options)
{
    struct flight *flight = xcalloc(1, sizeof(*flight));
    int64_t wait_ms = options && options->wait_ms ? options->wait_ms : DEFAULT_WAIT_MS;
    flight->request_id = xstrdup(message->request_id);
    flight->tag = options ? options->tag : NULL;
    flight->published = options ? options->published : NULL;
    flight->partition = partition;
    flight->offset = OFFSET_NONE;
    flight->waits = wait_ms > 0;
    /* A flight that does not wait ends with its delivery report, at the latest after librdkafka's
     * message.timeout.ms. */
    flight->deadline_ms = wait_ms > 0 ? clock_mono_ms() + wait_ms : INT64_MAX;
    return flight;
}

static enum berth_status publish(struct berth_client *client, const struct berth_message *message,
                                 struct flight *flight, struct berth_error *error)
{
    size_t key_len = message->key ? strlen(message->key) : 0;
    int failed = rd_kafka_produce(client->requests, flight->partition, RD_KAFKA_MSG_F_COPY,
                                  message->token, strlen(message->token), message->key, key_len,
                                  flight);
    if (!failed)
        return BERTH_OK;
    rd_kafka_resp_err_t err = rd_kafka_last_error();
    if (lb_status_of(err) == BERTH_FULL)
        return lb_error(error, BERTH_FULL, "the Kafka client's queue is full");
    return lb_error(error, lb_status_of(err), "publish: %s%s%s", rd_kafka_err2str(err),
                    client->trouble_text[0] ? ": " : "", client->trouble_text);
}

enum berth_status berth_send(struct berth_client *client, struct berth_message *message,
                             const struct berth_send_options *options, struct berth_error *error)
{
    if (client->flight_count >= client->max_in_flight)
        return lb_error(error, BERTH_FULL, "%zu requests are in flight", client->flight_count);
    enum berth_status status = lb_connect(client, error);
    if (status != BERTH_OK)
        return status;
    int32_t partition = berth_message_partition(message, client->partition_count);
    struct flight *flight = flight_new(message, partition, options);
    if (flight->waits)
        status = consume_from_end(client, partition, error);
    if (status == BERTH_OK)
        status = publish(client, message, flight, error);
    if (status != BERTH_OK) {
        free(flight->request_id);
        free(flight);
        return status;
    }
    lb_flight_add(client, flight);
    berth_message_free(message);
    return BERTH_OK;
}

/* ---- waiting ----------------------------------------------------------------------------- */

/* Handles an error that the consumer returned in place of an event. librdkafka goes on by itself,
 * with one exception: if the log no longer has the next offset, reading starts again at its end. */
static void on_event_error(struct berth_client *client, const rd_kafka_message_t *message)
{
    client->trouble = lb_status_of(message->err);
    snprintf(client->trouble_text, sizeof(client->trouble_text),
             "events of partition %" PRId32 ": %s", message->partition,
             rd_kafka_message_errstr(message));
    if (message->err != RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET &&
        message->err != RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE)
        return;
    topic_reader_stop(client->reader, TOPIC_EVENTS, message->partition);
    client->lanes[message->partition].consuming = false;
    consume_from_end(client, message->partition, NULL);
}

/* Handles the delivery reports and events that are there; true: there may be more. */
static bool serve(struct berth_client *client)
{
    rd_kafka_poll(client->producer, 0);
    for (int i = 0; i < EVENTS_AT_ONCE; i++) {
        rd_kafka_message_t *message = topic_reader_next(client->reader, 0);
        if (!message)
            return false;
        if (message->err) {
            on_event_error(client, message);
        } else {
            lb_flight_event(client, message->partition, message->payload, message->len);
        }
        rd_kafka_message_destroy(message);
    }
    return true;
}

enum berth_status berth_poll(struct berth_client *client, int timeout_ms,
                             struct berth_outcome **outcome_out)
{
    int64_t until_ms = timeout_ms < 0 ? INT64_MAX : clock_mono_ms() + timeout_ms;
    *outcome_out = NULL;
    while (true) {
        *outcome_out = lb_flight_take(client);
        if (*outcome_out || client->untold_count == 0)
            return BERTH_OK;
        /* Before serve(): anything that arrives from here on wakes lb_sleep. */
        lb_drain_wake(client);
        if (lb_take_interrupt(client))
            return BERTH_INTERRUPTED;
        bool more = serve(client);
        lb_flight_expire(client, clock_mono_ms());
        if (!TAILQ_EMPTY(&client->done) || more)
            continue;
        if (clock_mono_ms() >= until_ms)
            return BERTH_OK;
        /* Errors of the consumer do not write to the pipe; lb_sleep ends after SLICE_MS anyway. */
        lb_sleep(client, until_ms < client->next_deadline_ms ? until_ms : client->next_deadline_ms);
    }
}

void berth_abandon(struct berth_client *client)
{
    lb_flight_expire(client, INT64_MAX);
}

size_t berth_in_flight(const struct berth_client *client)
{
    return client->untold_count;
}

enum berth_status berth_partition_count(struct berth_client *client, int32_t *count_out,
                                        struct berth_error *error)
{
    enum berth_status status = lb_connect(client, error);
    if (status == BERTH_OK)
        *count_out = client->partition_count;
    return status;
}

/* ---- all at once ------------------------------------------------------------------------- */

static enum berth_status await_one(struct berth_client *client, const char *request_id,
                                   struct berth_outcome **outcome_out, struct berth_error *error)
{
    struct berth_outcome *outcome;
    if (berth_poll(client, -1, &outcome) == BERTH_INTERRUPTED) {
        return lb_error(error, BERTH_INTERRUPTED,
                        "interrupted; the request may be decided none the less: repeat with "
                        "request id %s to learn its decision",
                        request_id);
    }
    assert(outcome);
    if (outcome->status == BERTH_OK) {
        *outcome_out = outcome;
        return BERTH_OK;
    }
    enum berth_status status = outcome->status;
    if (status == BERTH_UNKNOWN) {
        lb_error(error, status, "%s; repeat with request id %s", outcome->error, request_id);
    } else {
        lb_error(error, status, "%s", outcome->error);
    }
    berth_outcome_free(outcome);
    return status;
}

enum berth_status berth_decide(struct berth_client *client, const struct berth_request *request,
                               int64_t wait_ms, struct berth_outcome **outcome_out,
                               struct berth_error *error)
{
    struct berth_message *message;
    assert(client->untold_count == 0);
    enum berth_status status = berth_message_new(client, request, &message, error);
    if (status != BERTH_OK)
        return status;
    char *request_id = xstrdup(message->request_id);
    struct berth_send_options options = {.wait_ms = wait_ms};
    status = berth_send(client, message, &options, error);
    if (status == BERTH_OK) {
        status = await_one(client, request_id, outcome_out, error);
    } else {
        berth_message_free(message);
    }
    free(request_id);
    return status;
}
