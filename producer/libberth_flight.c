/* The messages in flight: matched with delivery reports and events, timed, told.
 *
 *     berth_send -> undelivered -> (report) -> waits in its lane -> (event) -> told
 *                        |             |                |
 *                        | error       | does not wait  | deadline
 *                        +--> told     +--> told        +--> told (UNKNOWN)
 *
 * A message whose deadline passes while undelivered is told at once, but stays until its delivery
 * report has come, since librdkafka holds a pointer to it.
 *
 * The idempotent producer keeps the order of a partition, so delivery reports come with ascending
 * offsets; decisions are made and published in that order too. Hence lists with cheap ends, not
 * hash tables. */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"
#include "producer/libberth_internal.h"

static struct lane *lane_of(struct berth_client *client, int32_t partition)
{
    assert(partition >= 0 && partition < client->partition_count);
    return &client->lanes[partition];
}

/* ---- lists ------------------------------------------------------------------------------- */

void lb_flight_add(struct berth_client *client, struct flight *flight)
{
    flight->prev = client->last;
    if (client->last) {
        client->last->next = flight;
    } else {
        client->first = flight;
    }
    client->last = flight;
    client->flight_count++;
    client->untold_count++;
    lane_of(client, flight->partition)->undelivered++;
    if (flight->deadline_ms < client->next_deadline_ms)
        client->next_deadline_ms = flight->deadline_ms;
}

static void flight_free(struct berth_client *client, struct flight *flight)
{
    if (flight->prev) {
        flight->prev->next = flight->next;
    } else {
        client->first = flight->next;
    }
    if (flight->next) {
        flight->next->prev = flight->prev;
    } else {
        client->last = flight->prev;
    }
    client->flight_count--;
    free(flight->request_id);
    free(flight);
}

/* Sorted from the end, where it belongs but for a broken promise. */
static void lane_add(struct lane *lane, struct flight *flight)
{
    struct flight *before = lane->last;
    while (before && before->offset > flight->offset)
        before = before->lane_prev;
    flight->lane_prev = before;
    flight->lane_next = before ? before->lane_next : lane->first;
    if (flight->lane_next) {
        flight->lane_next->lane_prev = flight;
    } else {
        lane->last = flight;
    }
    if (before) {
        before->lane_next = flight;
    } else {
        lane->first = flight;
    }
}

static void lane_remove(struct lane *lane, struct flight *flight)
{
    if (flight->lane_prev) {
        flight->lane_prev->lane_next = flight->lane_next;
    } else {
        lane->first = flight->lane_next;
    }
    if (flight->lane_next) {
        flight->lane_next->lane_prev = flight->lane_prev;
    } else {
        lane->last = flight->lane_prev;
    }
    flight->lane_prev = flight->lane_next = NULL;
}

static struct flight *lane_find(const struct lane *lane, int64_t offset)
{
    struct flight *flight = lane->first;
    while (flight && flight->offset < offset)
        flight = flight->lane_next;
    return flight && flight->offset == offset ? flight : NULL;
}

/* ---- outcomes ---------------------------------------------------------------------------- */

static struct berth_outcome *outcome_new(const struct flight *flight)
{
    struct berth_outcome *outcome = xcalloc(1, sizeof(*outcome));
    outcome->tag = flight->tag;
    outcome->request_id = xstrdup(flight->request_id);
    outcome->partition = flight->partition;
    outcome->offset = flight->offset >= 0 ? flight->offset : -1;
    return outcome;
}

void berth_outcome_free(struct berth_outcome *outcome)
{
    if (!outcome)
        return;
    free((char *)outcome->request_id);
    free((char *)outcome->event);
    free((char *)outcome->reason);
    free((char *)outcome->detail);
    free((char *)outcome->duplicate_of);
    free((char *)outcome->error);
    free(outcome);
}

/* Takes outcome. */
static void tell(struct berth_client *client, struct flight *flight, struct berth_outcome *outcome)
{
    assert(!flight->told);
    assert(client->untold_count > 0);
    struct completed *done = xcalloc(1, sizeof(*done));
    done->outcome = outcome;
    if (client->done_last) {
        client->done_last->next = done;
    } else {
        client->done_first = done;
    }
    client->done_last = done;
    flight->told = true;
}

struct berth_outcome *lb_flight_take(struct berth_client *client)
{
    struct completed *done = client->done_first;
    if (!done)
        return NULL;
    client->done_first = done->next;
    if (!client->done_first)
        client->done_last = NULL;
    client->untold_count--;
    struct berth_outcome *outcome = done->outcome;
    free(done);
    return outcome;
}

/* ---- early events ------------------------------------------------------------------------ */

static void early_drop_first(struct lane *lane)
{
    struct early_event *early = lane->early_first;
    lane->early_first = early->next;
    if (!lane->early_first)
        lane->early_last = NULL;
    lane->early_count--;
    free(early);
}

static void early_add(struct lane *lane, int64_t offset, const char *bytes, size_t len)
{
    /* First appearances come in order: this one is a repeat of one that was seen. */
    if (lane->early_last && offset <= lane->early_last->offset)
        return;
    if (lane->early_count == EARLY_EVENTS_MAX)
        early_drop_first(lane);
    struct early_event *early = xmalloc(sizeof(*early) + len);
    *early = (struct early_event){.offset = offset, .len = len};
    memcpy(early->bytes, bytes, len);
    if (lane->early_last) {
        lane->early_last->next = early;
    } else {
        lane->early_first = early;
    }
    lane->early_last = early;
    lane->early_count++;
}

/* Forgets what cannot be ours any more; true, and *outcome filled, if the event that decides it is
 * there. */
static bool early_match(const struct berth_client *client, struct lane *lane,
                        struct berth_outcome *outcome)
{
    bool found = false, known = outcome->offset >= 0;
    int64_t offset = outcome->offset;
    while (known && lane->early_first && lane->early_first->offset < offset)
        early_drop_first(lane);
    for (struct early_event *early = lane->early_first;
         early && !found && (!known || early->offset == offset); early = early->next)
        found = lb_event_decide(early->bytes, early->len, client->name, outcome);
    while (lane->undelivered == 0 && lane->early_first)
        early_drop_first(lane);
    return found;
}

/* ---- what happens to a flight ------------------------------------------------------------ */

static void tell_failure(struct berth_client *client, struct flight *flight,
                         const rd_kafka_message_t *report)
{
    struct berth_outcome *outcome = outcome_new(flight);
    bool perhaps = rd_kafka_message_status(report) != RD_KAFKA_MSG_STATUS_NOT_PERSISTED;
    const char *text = rd_kafka_err2str(report->err);
    outcome->status = perhaps ? BERTH_UNKNOWN : lb_status_of(report->err);
    outcome->error = xasprintf("%s: %s%s%s",
                               perhaps ? "it is not known whether the request was published"
                                       : "the request was not published",
                               text, client->trouble_text[0] ? "; " : "", client->trouble_text);
    tell(client, flight, outcome);
}

void lb_flight_delivered(struct berth_client *client, struct flight *flight,
                         const rd_kafka_message_t *report)
{
    struct lane *lane = lane_of(client, flight->partition);
    assert(lane->undelivered > 0);
    lane->undelivered--;
    if (report->err) {
        if (!flight->told)
            tell_failure(client, flight, report);
        flight_free(client, flight);
        return;
    }
    flight->offset = report->offset >= 0 ? report->offset : OFFSET_UNTOLD;
    if (report->offset > lane->last_delivered)
        lane->last_delivered = report->offset;
    client->trouble = BERTH_OK;
    client->trouble_text[0] = '\0';
    struct berth_outcome *outcome = outcome_new(flight);
    bool decided = early_match(client, lane, outcome);
    if (!flight->told && flight->published)
        flight->published(flight->tag, flight->partition, outcome->offset);
    if (flight->told) {
        berth_outcome_free(outcome);
        flight_free(client, flight);
    } else if (decided || !flight->waits) {
        tell(client, flight, outcome);
        flight_free(client, flight);
    } else {
        berth_outcome_free(outcome);
        lane_add(lane, flight);
    }
}

/* True: the event decided it, and it is gone. */
static bool decide(struct berth_client *client, struct flight *flight, const char *bytes,
                   size_t len)
{
    struct berth_outcome *outcome = outcome_new(flight);
    if (!lb_event_decide(bytes, len, client->name, outcome)) {
        berth_outcome_free(outcome);
        return false;
    }
    tell(client, flight, outcome);
    lane_remove(lane_of(client, flight->partition), flight);
    flight_free(client, flight);
    return true;
}

void lb_flight_event(struct berth_client *client, int32_t partition, const char *bytes, size_t len)
{
    struct lane *lane = lane_of(client, partition);
    if (!lane->first && lane->undelivered == 0)
        return;
    int64_t offset = lb_event_glance(bytes, len);
    if (offset < 0)
        return;
    struct flight *flight = lane_find(lane, offset);
    if (flight) {
        decide(client, flight, bytes, len);
        return;
    }
    /* Those whose place is not known come first. */
    for (flight = lane->first; flight && flight->offset == OFFSET_UNTOLD;
         flight = flight->lane_next) {
        if (decide(client, flight, bytes, len))
            return;
    }
    if (lane->undelivered > 0 && offset > lane->last_delivered)
        early_add(lane, offset, bytes, len);
}

static void expire_one(struct berth_client *client, struct flight *flight)
{
    struct berth_outcome *outcome = outcome_new(flight);
    outcome->status = BERTH_UNKNOWN;
    if (flight->offset >= 0) {
        outcome->error = xasprintf("no decision was seen in time on the request at %" PRId32
                                   ":%" PRId64 " (is a worker running?)",
                                   flight->partition, flight->offset);
    } else if (flight->offset == OFFSET_UNTOLD) {
        outcome->error = xasprintf("no decision was seen in time on the request in partition "
                                   "%" PRId32 " (is a worker running?)",
                                   flight->partition);
    } else {
        outcome->error = xasprintf("the broker did not confirm the request in time%s%s",
                                   client->trouble_text[0] ? ": " : "", client->trouble_text);
    }
    tell(client, flight, outcome);
    if (flight->offset == -1)
        return;
    lane_remove(lane_of(client, flight->partition), flight);
    flight_free(client, flight);
}

void lb_flight_expire(struct berth_client *client, int64_t now_ms)
{
    if (now_ms < client->next_deadline_ms)
        return;
    client->next_deadline_ms = INT64_MAX;
    struct flight *next;
    for (struct flight *flight = client->first; flight; flight = next) {
        next = flight->next;
        if (flight->told)
            continue;
        if (flight->deadline_ms <= now_ms) {
            expire_one(client, flight);
        } else if (flight->deadline_ms < client->next_deadline_ms) {
            client->next_deadline_ms = flight->deadline_ms;
        }
    }
}

void lb_flight_clear(struct berth_client *client)
{
    struct berth_outcome *outcome;
    while ((outcome = lb_flight_take(client)))
        berth_outcome_free(outcome);
    while (client->first)
        flight_free(client, client->first);
    for (int32_t p = 0; client->lanes && p < client->partition_count; p++) {
        while (client->lanes[p].early_first)
            early_drop_first(&client->lanes[p]);
    }
    client->untold_count = 0;
}
