/* Messages in flight: matching them with delivery reports and events, deadlines, outcomes.
 *
 *     berth_send -> undelivered -> (report) -> waits in its lane -> (event) -> told
 *                        |             |                |
 *                        | error       | does not wait  | deadline
 *                        +--> told     +--> told        +--> told (UNKNOWN)
 *
 * A lane is a partition. Told: the outcome is queued for berth_poll.
 *
 * A message whose deadline passes while it is undelivered is told at once, but its flight stays until
 * the delivery report arrives: librdkafka holds a pointer to it.
 *
 * The idempotent producer keeps the order of a partition, so delivery reports arrive with ascending
 * offsets; decisions are made and published in that order, too. So a search finds its flight near
 * the head of a list, and hash tables would bring nothing. */
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

void lb_lanes_new(struct berth_client *client, int32_t partition_count)
{
    assert(partition_count > 0);
    free(client->lanes);
    client->partition_count = partition_count;
    client->lanes = xcalloc((size_t)partition_count, sizeof(*client->lanes));
    for (int32_t p = 0; p < partition_count; p++) {
        client->lanes[p].last_delivered = -1;
        TAILQ_INIT(&client->lanes[p].waiting);
        TAILQ_INIT(&client->lanes[p].early);
    }
}

void lb_flight_add(struct berth_client *client, struct flight *flight)
{
    TAILQ_INSERT_TAIL(&client->flights, flight, link);
    client->flight_count++;
    client->untold_count++;
    lane_of(client, flight->partition)->undelivered++;
    if (flight->deadline_ms < client->next_deadline_ms)
        client->next_deadline_ms = flight->deadline_ms;
}

static void flight_free(struct berth_client *client, struct flight *flight)
{
    TAILQ_REMOVE(&client->flights, flight, link);
    client->flight_count--;
    free(flight->request_id);
    free(flight);
}

/* Inserts from the tail: the offsets of delivery reports ascend unless one came out of order. */
static void lane_add(struct lane *lane, struct flight *flight)
{
    struct flight *before = TAILQ_LAST(&lane->waiting, flight_list);
    while (before && before->offset > flight->offset)
        before = TAILQ_PREV(before, flight_list, lane_link);
    if (before) {
        TAILQ_INSERT_AFTER(&lane->waiting, before, flight, lane_link);
    } else {
        TAILQ_INSERT_HEAD(&lane->waiting, flight, lane_link);
    }
}

static struct flight *lane_find(const struct lane *lane, int64_t offset)
{
    struct flight *flight = TAILQ_FIRST(&lane->waiting);
    while (flight && flight->offset < offset)
        flight = TAILQ_NEXT(flight, lane_link);
    return flight && flight->offset == offset ? flight : NULL;
}

/* ---- outcomes ---------------------------------------------------------------------------- */

static struct berth_outcome *outcome_new(const struct flight *flight)
{
    struct completed *completed = xcalloc(1, sizeof(*completed));
    struct berth_outcome *outcome = &completed->outcome;
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

/* Queues the outcome for berth_poll. Takes an outcome of outcome_new. */
static void tell(struct berth_client *client, struct flight *flight, struct berth_outcome *outcome)
{
    assert(!flight->told);
    assert(client->untold_count > 0);
    TAILQ_INSERT_TAIL(&client->done, (struct completed *)outcome, link);
    flight->told = true;
}

struct berth_outcome *lb_flight_take(struct berth_client *client)
{
    struct completed *completed = TAILQ_FIRST(&client->done);
    if (!completed)
        return NULL;
    TAILQ_REMOVE(&client->done, completed, link);
    client->untold_count--;
    return &completed->outcome;
}

/* ---- early events ------------------------------------------------------------------------ */

static void early_drop_first(struct lane *lane)
{
    struct early_event *early = TAILQ_FIRST(&lane->early);
    TAILQ_REMOVE(&lane->early, early, link);
    lane->early_count--;
    free(early);
}

static void early_add(struct lane *lane, int64_t offset, const char *bytes, size_t len)
{
    /* Offsets ascend the first time that their events appear, so this event is a repeat. */
    struct early_event *last = TAILQ_LAST(&lane->early, early_list);
    if (last && offset <= last->offset)
        return;
    if (lane->early_count == EARLY_EVENTS_MAX)
        early_drop_first(lane);
    struct early_event *early = xmalloc(sizeof(*early) + len);
    *early = (struct early_event){.offset = offset, .len = len};
    memcpy(early->bytes, bytes, len);
    TAILQ_INSERT_TAIL(&lane->early, early, link);
    lane->early_count++;
}

/* Looks for the event that decides the outcome's request; true: found, and *outcome is filled. Also
 * drops the events that no later delivery report can ask for: its offset will be higher. */
static bool early_match(const struct berth_client *client, struct lane *lane,
                        struct berth_outcome *outcome)
{
    bool found = false, known = outcome->offset >= 0;
    int64_t offset = outcome->offset;
    struct early_event *early;
    while (known && (early = TAILQ_FIRST(&lane->early)) && early->offset < offset)
        early_drop_first(lane);
    for (early = TAILQ_FIRST(&lane->early); early && !found && (!known || early->offset == offset);
         early = TAILQ_NEXT(early, link))
        found = lb_event_decide(early->bytes, early->len, client->name, outcome);
    while (lane->undelivered == 0 && !TAILQ_EMPTY(&lane->early))
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

/* True: the event decides this flight's request; the flight was told and freed. */
static bool try_answer(struct berth_client *client, struct flight *flight, const char *bytes,
                       size_t len)
{
    struct berth_outcome *outcome = outcome_new(flight);
    if (!lb_event_decide(bytes, len, client->name, outcome)) {
        berth_outcome_free(outcome);
        return false;
    }
    tell(client, flight, outcome);
    TAILQ_REMOVE(&lane_of(client, flight->partition)->waiting, flight, lane_link);
    flight_free(client, flight);
    return true;
}

void lb_flight_event(struct berth_client *client, int32_t partition, const char *bytes, size_t len)
{
    struct lane *lane = lane_of(client, partition);
    if (TAILQ_EMPTY(&lane->waiting) && lane->undelivered == 0)
        return;
    int64_t offset = lb_event_glance(bytes, len);
    if (offset < 0)
        return;
    struct flight *flight = lane_find(lane, offset);
    if (flight) {
        try_answer(client, flight, bytes, len);
        return;
    }
    /* The list is sorted, so flights without a known offset are at its head. */
    for (flight = TAILQ_FIRST(&lane->waiting); flight && flight->offset == OFFSET_UNTOLD;
         flight = TAILQ_NEXT(flight, lane_link)) {
        if (try_answer(client, flight, bytes, len))
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
    if (flight->offset == OFFSET_NONE)
        return; /* librdkafka still holds a pointer to it */
    TAILQ_REMOVE(&lane_of(client, flight->partition)->waiting, flight, lane_link);
    flight_free(client, flight);
}

void lb_flight_expire(struct berth_client *client, int64_t now_ms)
{
    if (now_ms < client->next_deadline_ms)
        return;
    client->next_deadline_ms = INT64_MAX;
    struct flight *next;
    for (struct flight *flight = TAILQ_FIRST(&client->flights); flight; flight = next) {
        next = TAILQ_NEXT(flight, link);
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
    while (!TAILQ_EMPTY(&client->flights))
        flight_free(client, TAILQ_FIRST(&client->flights));
    for (int32_t p = 0; client->lanes && p < client->partition_count; p++) {
        while (!TAILQ_EMPTY(&client->lanes[p].early))
            early_drop_first(&client->lanes[p]);
    }
    client->untold_count = 0;
}
