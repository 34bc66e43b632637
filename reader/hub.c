#include "reader/hub.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/kafka/kafka_conf.h"

/* Events kept of each partition, and bytes of all. */
#define KEEP_EVENTS    1024
#define KEEP_BYTES     ((size_t)32 * 1024 * 1024)
/* Read before the end of each partition when the hub starts: then nothing that is published while
 * it starts is missed, and who reconnects after a restart needs no database. */
#define TAIL_EVENTS    200
#define WAIT_MS        100
/* More than the attributes of an event take that stand before its data. */
#define ATTRIBUTES_LEN 1024
#define BATCH          500
/* Listeners are woken this often although nothing came: they tell that they live. */
#define TICK_MS        5000

struct kept {
    char *bytes;
    size_t len;
    char *machines; /* what hub_set_machines said; NULL: nothing yet */
};

/* The newest events without a gap: sequences newest - count + 1 … newest. */
struct ring {
    struct kept events[KEEP_EVENTS]; /* of sequence s at s % KEEP_EVENTS */
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
    size_t keep_bytes; /* of one partition */
    size_t listeners_max, listeners;
    struct ring **rings; /* NULL: no event of it was seen */
    uint64_t version;
    bool stopping;
    struct hub_waiter *waiters;
};

/* --- keeping events (under the mutex) ------------------------------------------------------- */

static void drop_oldest(struct ring *ring)
{
    struct kept *oldest = &ring->events[(ring->newest - ring->count + 1) % KEEP_EVENTS];
    ring->bytes -= oldest->len;
    free(oldest->bytes);
    free(oldest->machines);
    *oldest = (struct kept){0};
    ring->count--;
}

/* Repeats are nothing new; after a gap only what follows it is kept. */
static bool keep(struct hub *hub, int32_t part, int64_t seq, const char *bytes, size_t len)
{
    if (!hub->rings[part])
        hub->rings[part] = xcalloc(1, sizeof(struct ring));
    struct ring *ring = hub->rings[part];
    if (seq <= ring->newest)
        return false;
    while (ring->count > 0 && seq != ring->newest + 1)
        drop_oldest(ring);
    while (ring->count == KEEP_EVENTS || (ring->count > 0 && ring->bytes + len > hub->keep_bytes))
        drop_oldest(ring);
    ring->events[seq % KEEP_EVENTS] = (struct kept){xstrndup(bytes, len), len, NULL};
    ring->newest = seq;
    ring->count++;
    ring->bytes += len;
    return true;
}

/* Our events begin with their attributes, so the first "sequence" is the event's. 0: not ours. */
static int64_t sequence_of(const char *bytes, size_t len)
{
    static const char name[] = "\"sequence\":\"";
    char head[ATTRIBUTES_LEN + 1];
    if (len > ATTRIBUTES_LEN)
        len = ATTRIBUTES_LEN;
    memcpy(head, bytes, len);
    head[len] = '\0';
    const char *at = strstr(head, name);
    return at ? strtoll(at + sizeof(name) - 1, NULL, 10) : 0;
}

static void wake_all(struct hub *hub)
{
    hub->version++;
    for (struct hub_waiter *waiter = hub->waiters; waiter; waiter = waiter->next) {
        if (!waiter->suspended)
            continue;
        waiter->suspended = false;
        MHD_resume_connection(waiter->connection);
    }
}

/* --- the thread ----------------------------------------------------------------------------- */

static bool take(struct hub *hub, const rd_kafka_message_t *message)
{
    if (message->err) {
        log_debug("event topic", "part=%" PRId32 " err=%s", message->partition,
                  rd_kafka_err2name(message->err));
        return false;
    }
    int64_t seq = message->payload ? sequence_of(message->payload, message->len) : 0;
    if (seq <= 0 || message->partition < 0 || message->partition >= hub->partitions) {
        log_warn("not an event of Berth", "part=%" PRId32 " offset=%" PRId64, message->partition,
                 message->offset);
        return false;
    }
    return keep(hub, message->partition, seq, message->payload, message->len);
}

static void *run(void *arg)
{
    struct hub *hub = arg;
    rd_kafka_message_t *messages[BATCH];
    int64_t tick_ms = clock_mono_ms();
    for (;;) {
        ssize_t count = rd_kafka_consume_batch_queue(hub->queue, WAIT_MS, messages, BATCH);
        bool news = false;
        pthread_mutex_lock(&hub->mutex);
        for (ssize_t i = 0; i < count; i++) {
            news = take(hub, messages[i]) || news;
            rd_kafka_message_destroy(messages[i]);
        }
        bool stopping = hub->stopping;
        if (news || stopping || clock_mono_ms() - tick_ms >= TICK_MS) {
            wake_all(hub);
            tick_ms = clock_mono_ms();
        }
        pthread_mutex_unlock(&hub->mutex);
        if (stopping)
            return NULL;
    }
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

enum hub_have hub_next(struct hub *hub, int32_t part, int64_t after, struct buf *out)
{
    enum hub_have have = HUB_NONE;
    pthread_mutex_lock(&hub->mutex);
    const struct ring *ring = hub->rings[part];
    if (ring && ring->newest > after) {
        have = after < ring->newest - ring->count ? HUB_BEHIND : HUB_EVENT;
        const struct kept *event = &ring->events[(after + 1) % KEEP_EVENTS];
        if (have == HUB_EVENT)
            buf_append(out, event->bytes, event->len);
    }
    pthread_mutex_unlock(&hub->mutex);
    return have;
}

/* Under the mutex. NULL: it is not kept. */
static struct kept *find(struct hub *hub, int32_t part, int64_t seq)
{
    struct ring *ring = hub->rings[part];
    bool kept = ring && seq <= ring->newest && seq > ring->newest - ring->count;
    return kept ? &ring->events[seq % KEEP_EVENTS] : NULL;
}

bool hub_machines(struct hub *hub, int32_t part, int64_t seq, struct buf *out)
{
    pthread_mutex_lock(&hub->mutex);
    const struct kept *event = find(hub, part, seq);
    bool known = event && event->machines;
    if (known)
        buf_puts(out, event->machines);
    pthread_mutex_unlock(&hub->mutex);
    return known;
}

void hub_set_machines(struct hub *hub, int32_t part, int64_t seq, const char *text)
{
    pthread_mutex_lock(&hub->mutex);
    struct kept *event = find(hub, part, seq);
    if (event && !event->machines)
        event->machines = xstrdup(text);
    pthread_mutex_unlock(&hub->mutex);
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

/* Any thread may ask: librdkafka's clients are made for that. A time stamp of -1 asks for the end
 * (Kafka's protocol, ListOffsets), in one call for all partitions. */
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
