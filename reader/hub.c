#include "reader/hub.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/kafka/kafka_conf.h"

/* Events kept of each partition, and memory for those of all. */
#define KEEP_EVENTS 1024
#define KEEP_BYTES  ((size_t)32 * 1024 * 1024)
/* Events read before the end of each partition when the hub starts. So nothing that is published
 * meanwhile is missed, and listeners that reconnect after a restart need no database. */
#define TAIL_EVENTS 200
#define WAIT_MS     100
#define BATCH       500
/* Listeners wake up this often without news, to send a heartbeat. */
#define TICK_MS     5000

/* The newest events without a gap: sequences newest - count + 1 … newest. */
struct ring {
    struct feed_event *events[KEEP_EVENTS]; /* sequence s is at s % KEEP_EVENTS */
    int64_t newest;
    int64_t count;
    size_t bytes;
};

struct hub {
    pthread_t thread;
    pthread_mutex_t mutex;
    rd_kafka_t *consumer;
    rd_kafka_topic_t *topic;
    char requests[KAFKA_TOPIC_LEN];
    rd_kafka_queue_t *queue;
    int32_t partitions;
    size_t keep_bytes; /* memory for the events of one partition */
    size_t listeners_max, listeners;
    struct ring **rings; /* by partition; NULL: no event was seen */
    uint64_t version;
    bool stopping;
    struct hub_waiter *waiters;
};

/* --- keeping events ------------------------------------------------------------------------- */

/* Under the mutex, as keep(). */
static void drop_oldest(struct ring *ring)
{
    struct feed_event *oldest = ring->events[(ring->newest - ring->count + 1) % KEEP_EVENTS];
    ring->bytes -= oldest->size;
    feed_event_unref(oldest);
    ring->count--;
}

/* Takes the event. Ignores a repeat; after a gap, drops what was before it. Returns whether the
 * event is new. */
static bool keep(struct hub *hub, struct feed_event *event)
{
    int64_t seq = event->seq;
    if (!hub->rings[event->part])
        hub->rings[event->part] = xcalloc(1, sizeof(struct ring));
    struct ring *ring = hub->rings[event->part];
    if (seq <= ring->newest) {
        feed_event_unref(event);
        return false;
    }
    while (ring->count > 0 && seq != ring->newest + 1)
        drop_oldest(ring);
    while (ring->count == KEEP_EVENTS ||
           (ring->count > 0 && ring->bytes + event->size > hub->keep_bytes))
        drop_oldest(ring);
    ring->events[seq % KEEP_EVENTS] = event;
    ring->newest = seq;
    ring->count++;
    ring->bytes += event->size;
    return true;
}

static void wake_all(struct hub *hub)
{
    pthread_mutex_lock(&hub->mutex);
    hub->version++;
    for (struct hub_waiter *waiter = hub->waiters; waiter; waiter = waiter->next) {
        if (!waiter->suspended)
            continue;
        waiter->suspended = false;
        MHD_resume_connection(waiter->connection);
    }
    pthread_mutex_unlock(&hub->mutex);
}

/* --- the thread ----------------------------------------------------------------------------- */

/* Parses the message's event. NULL: there is none, and the log says why. */
static struct feed_event *parse(const struct hub *hub, const rd_kafka_message_t *message)
{
    struct feed_event *event;
    struct failure f;
    if (message->err) {
        log_debug("event topic", "part=%" PRId32 " err=%s", message->partition,
                  rd_kafka_err2name(message->err));
        return NULL;
    }
    if (feed_event_new(message->payload, message->len, &event, &f) == ERR_OK) {
        if (event->part == message->partition && message->partition < hub->partitions)
            return event;
        feed_event_unref(event);
    }
    log_warn("not an event of Berth", "part=%" PRId32 " offset=%" PRId64, message->partition,
             message->offset);
    return NULL;
}

/* Consumes what there is. Returns whether a new event came, or the hub stops. */
static bool consume(struct hub *hub, bool *stopping_out)
{
    rd_kafka_message_t *messages[BATCH];
    struct feed_event *events[BATCH];
    bool news = false;
    ssize_t count = rd_kafka_consume_batch_queue(hub->queue, WAIT_MS, messages, BATCH);
    for (ssize_t i = 0; i < count; i++) {
        events[i] = parse(hub, messages[i]);
        rd_kafka_message_destroy(messages[i]);
    }
    pthread_mutex_lock(&hub->mutex);
    for (ssize_t i = 0; i < count; i++)
        news = (events[i] && keep(hub, events[i])) || news;
    *stopping_out = hub->stopping;
    pthread_mutex_unlock(&hub->mutex);
    return news;
}

static void *run(void *arg)
{
    struct hub *hub = arg;
    bool stopping = false;
    int64_t tick_ms = clock_mono_ms();
    while (!stopping) {
        bool news = consume(hub, &stopping);
        if (news || stopping || clock_mono_ms() - tick_ms >= TICK_MS) {
            wake_all(hub);
            tick_ms = clock_mono_ms();
        }
    }
    return NULL;
}

/* --- life ----------------------------------------------------------------------------------- */

static const struct kafka_setting defaults[] = {
    {"client.id", "berth-reader"},
    {"fetch.wait.max.ms", "50"},
    {"fetch.error.backoff.ms", "50"},
    {"queued.max.messages.kbytes", "16384"},
    {NULL, NULL},
};

static const struct kafka_setting required[] = {
    {"enable.auto.commit", "false"},
    {"enable.auto.offset.store", "false"},
    {"auto.offset.reset", "smallest"},
    {"isolation.level", "read_uncommitted"},
    {NULL, NULL},
};

static enum err open_topic(struct hub *hub, const struct config *cfg, struct failure *f)
{
    char name[KAFKA_TOPIC_LEN];
    rd_kafka_conf_t *conf;
    enum err err = kafka_conf_build(cfg, defaults, required, &conf, f);
    if (err == ERR_OK)
        err = kafka_client_new(RD_KAFKA_CONSUMER, conf, &hub->consumer, f);
    if (err != ERR_OK)
        return err;
    hub->topic = rd_kafka_topic_new(hub->consumer, kafka_events_topic(cfg, name), NULL);
    kafka_requests_topic(cfg, hub->requests);
    hub->queue = rd_kafka_queue_new(hub->consumer);
    for (int32_t p = 0; p < hub->partitions; p++) {
        if (rd_kafka_consume_start_queue(hub->topic, p, RD_KAFKA_OFFSET_TAIL(TAIL_EVENTS),
                                         hub->queue) != 0) {
            return failure_set(f, ERR_LOG_ERROR, "read events: %s",
                               rd_kafka_err2str(rd_kafka_last_error()));
        }
    }
    return ERR_OK;
}

enum err hub_start(const struct config *cfg, int32_t partitions, struct hub **out,
                   struct failure *f)
{
    struct hub *hub = xcalloc(1, sizeof(*hub));
    assert(partitions > 0);
    pthread_mutex_init(&hub->mutex, NULL);
    hub->partitions = partitions;
    hub->keep_bytes = KEEP_BYTES / (size_t)partitions;
    hub->listeners_max = (size_t)config_int(cfg, "reader.listeners_max");
    hub->rings = xcalloc((size_t)partitions, sizeof(*hub->rings));
    enum err err = open_topic(hub, cfg, f);
    if (err == ERR_OK && pthread_create(&hub->thread, NULL, run, hub) != 0)
        err = failure_set(f, ERR_FAILED, "no thread for the event topic");
    if (err != ERR_OK) {
        hub_free(hub);
        return err;
    }
    *out = hub;
    return ERR_OK;
}

void hub_stop(struct hub *hub)
{
    pthread_mutex_lock(&hub->mutex);
    hub->stopping = true;
    pthread_mutex_unlock(&hub->mutex);
    pthread_join(hub->thread, NULL);
}

void hub_free(struct hub *hub)
{
    if (!hub)
        return;
    assert(!hub->waiters);
    for (int32_t p = 0; hub->topic && p < hub->partitions; p++)
        rd_kafka_consume_stop(hub->topic, p);
    if (hub->queue)
        rd_kafka_queue_destroy(hub->queue);
    if (hub->topic)
        rd_kafka_topic_destroy(hub->topic);
    if (hub->consumer)
        rd_kafka_destroy(hub->consumer);
    for (int32_t p = 0; p < hub->partitions; p++) {
        while (hub->rings[p] && hub->rings[p]->count > 0)
            drop_oldest(hub->rings[p]);
        free(hub->rings[p]);
    }
    free(hub->rings);
    pthread_mutex_destroy(&hub->mutex);
    free(hub);
}

/* --- listeners ------------------------------------------------------------------------------ */

bool hub_stopping(struct hub *hub)
{
    pthread_mutex_lock(&hub->mutex);
    bool stopping = hub->stopping;
    pthread_mutex_unlock(&hub->mutex);
    return stopping;
}

int32_t hub_partitions(const struct hub *hub)
{
    return hub->partitions;
}

enum hub_have hub_next(struct hub *hub, int32_t part, int64_t after, struct feed_event **out)
{
    enum hub_have have = HUB_NONE;
    pthread_mutex_lock(&hub->mutex);
    const struct ring *ring = hub->rings[part];
    if (ring && ring->newest > after) {
        have = after < ring->newest - ring->count ? HUB_BEHIND : HUB_EVENT;
        if (have == HUB_EVENT)
            *out = feed_event_ref(ring->events[(after + 1) % KEEP_EVENTS]);
    }
    pthread_mutex_unlock(&hub->mutex);
    return have;
}

bool hub_join(struct hub *hub, struct hub_waiter *waiter, struct MHD_Connection *connection)
{
    pthread_mutex_lock(&hub->mutex);
    bool room = hub->listeners < hub->listeners_max && !hub->stopping;
    if (room) {
        *waiter = (struct hub_waiter){.connection = connection, .next = hub->waiters};
        if (hub->waiters)
            hub->waiters->previous = waiter;
        hub->waiters = waiter;
        hub->listeners++;
    }
    pthread_mutex_unlock(&hub->mutex);
    return room;
}

void hub_leave(struct hub *hub, struct hub_waiter *waiter)
{
    pthread_mutex_lock(&hub->mutex);
    if (waiter->next)
        waiter->next->previous = waiter->previous;
    if (waiter->previous) {
        waiter->previous->next = waiter->next;
    } else {
        hub->waiters = waiter->next;
    }
    hub->listeners--;
    pthread_mutex_unlock(&hub->mutex);
}

size_t hub_listeners(struct hub *hub)
{
    pthread_mutex_lock(&hub->mutex);
    size_t listeners = hub->listeners;
    pthread_mutex_unlock(&hub->mutex);
    return listeners;
}

/* librdkafka allows this in any thread. The time stamp -1 means the end (Kafka protocol,
 * ListOffsets); one call serves all partitions. */
bool hub_request_ends(struct hub *hub, int64_t *ends_out, int timeout_ms)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(hub->partitions);
    for (int32_t p = 0; p < hub->partitions; p++)
        rd_kafka_topic_partition_list_add(list, hub->requests, p)->offset = RD_KAFKA_OFFSET_END;
    rd_kafka_resp_err_t code = rd_kafka_offsets_for_times(hub->consumer, list, timeout_ms);
    for (int i = 0; i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *at = &list->elems[i];
        ends_out[at->partition] = code == 0 && at->err == 0 ? at->offset : -1;
    }
    rd_kafka_topic_partition_list_destroy(list);
    return code == 0;
}

uint64_t hub_version(struct hub *hub)
{
    pthread_mutex_lock(&hub->mutex);
    uint64_t version = hub->version;
    pthread_mutex_unlock(&hub->mutex);
    return version;
}

bool hub_wait(struct hub *hub, struct hub_waiter *waiter, uint64_t version)
{
    pthread_mutex_lock(&hub->mutex);
    bool waits = hub->version == version && !hub->stopping;
    if (waits) {
        waiter->suspended = true;
        MHD_suspend_connection(waiter->connection);
    }
    pthread_mutex_unlock(&hub->mutex);
    return waits;
}
