#include "reader/hub.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/kafka/topic_reader.h"
#include "reader/connections.h"

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
/* Listeners that went away, noticed at a time. */
#define GONE_MAX    64

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
    struct topic_reader *reader; /* the thread's, once that runs */
    int32_t partitions;
    size_t keep_bytes; /* memory for the events of one partition */
    size_t listeners_max, listeners_per_address, listeners;
    int watch;           /* an epoll set: the listeners' sockets, for the end of their clients */
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

/* Under the mutex. */
static void wake(struct hub_waiter *waiter)
{
    if (!waiter->suspended)
        return;
    waiter->suspended = false;
    MHD_resume_connection(waiter->connection);
}

static void wake_all(struct hub *hub)
{
    pthread_mutex_lock(&hub->mutex);
    hub->version++;
    for (struct hub_waiter *waiter = hub->waiters; waiter; waiter = waiter->next)
        wake(waiter);
    pthread_mutex_unlock(&hub->mutex);
}

/* Wakes the listeners whose clients have closed their ends: their streams then end. */
static void notice_gone(struct hub *hub)
{
    struct epoll_event gone[GONE_MAX];
    int count;
    pthread_mutex_lock(&hub->mutex); /* hub_leave removes a listener from the set under it */
    do {
        count = epoll_wait(hub->watch, gone, GONE_MAX, 0);
        for (int i = 0; i < count; i++) {
            struct hub_waiter *waiter = gone[i].data.ptr;
            waiter->gone = true;
            wake(waiter);
        }
    } while (count == GONE_MAX);
    pthread_mutex_unlock(&hub->mutex);
}

/* --- the thread ----------------------------------------------------------------------------- */

/* Follows a partition from its beginning, after its log lost the position: retention removed
 * events, or the topic was created anew. */
static void restart(struct hub *hub, int32_t part)
{
    struct failure f;
    topic_reader_stop(hub->reader, TOPIC_EVENTS, part);
    if (topic_reader_start(hub->reader, TOPIC_EVENTS, part, RD_KAFKA_OFFSET_BEGINNING, &f) !=
        ERR_OK) {
        struct log_quoted quoted;
        log_error("event topic", "part=%" PRId32 " err=%s", part, log_quote(&quoted, f.text));
    }
}

/* Parses the message's event. NULL: there is none, and the log says why. */
static struct feed_event *parse(struct hub *hub, const rd_kafka_message_t *message)
{
    struct feed_event *event;
    struct failure f;
    if (message->err) {
        log_debug("event topic", "part=%" PRId32 " err=%s", message->partition,
                  rd_kafka_err2name(message->err));
        if (message->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET)
            restart(hub, message->partition);
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
    struct feed_event *events[BATCH];
    bool news = false;
    size_t count = 0;
    for (; count < BATCH; count++) {
        rd_kafka_message_t *message = topic_reader_next(hub->reader, count == 0 ? WAIT_MS : 0);
        if (!message)
            break;
        events[count] = parse(hub, message);
        rd_kafka_message_destroy(message);
    }
    pthread_mutex_lock(&hub->mutex);
    for (size_t i = 0; i < count; i++)
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
        notice_gone(hub);
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

static enum err open_topic(struct hub *hub, const struct config *cfg, struct failure *f)
{
    char requests[KAFKA_TOPIC_LEN], events[KAFKA_TOPIC_LEN];
    const struct topic_reader_options options = {
        .names = {[TOPIC_REQUESTS] = kafka_topic(cfg, TOPIC_REQUESTS, requests),
                  [TOPIC_EVENTS] = kafka_topic(cfg, TOPIC_EVENTS, events)}};
    rd_kafka_conf_t *conf;
    enum err err = kafka_conf_build(cfg, defaults, topic_reader_required, &conf, f);
    if (err == ERR_OK)
        err = topic_reader_new(conf, &options, &hub->reader, f);
    for (int32_t p = 0; err == ERR_OK && p < hub->partitions; p++) {
        err = topic_reader_start(hub->reader, TOPIC_EVENTS, p, RD_KAFKA_OFFSET_TAIL(TAIL_EVENTS),
                                 f);
    }
    return err;
}

enum err hub_start(const struct config *cfg, int32_t partitions, struct hub **out,
                   struct failure *f)
{
    struct hub *hub = xcalloc(1, sizeof(*hub));
    assert(partitions > 0);
    pthread_mutex_init(&hub->mutex, NULL);
    hub->partitions = partitions;
    hub->keep_bytes = KEEP_BYTES / (size_t)partitions;
    hub->watch = epoll_create1(EPOLL_CLOEXEC);
    hub->rings = xcalloc((size_t)partitions, sizeof(*hub->rings));
    enum err err = hub->watch < 0 ? failure_set(f, ERR_IO, "epoll_create1: %s", strerror(errno))
                                  : open_topic(hub, cfg, f);
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
    topic_reader_free(hub->reader);
    for (int32_t p = 0; p < hub->partitions; p++) {
        while (hub->rings[p] && hub->rings[p]->count > 0)
            drop_oldest(hub->rings[p]);
        free(hub->rings[p]);
    }
    free(hub->rings);
    if (hub->watch >= 0)
        close(hub->watch);
    pthread_mutex_destroy(&hub->mutex);
    free(hub);
}

/* --- listeners ------------------------------------------------------------------------------ */

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

void hub_limit(struct hub *hub, size_t listeners_max, size_t per_address)
{
    hub->listeners_max = listeners_max;
    hub->listeners_per_address = per_address;
}

/* Whether another listener of the address may join. Under the mutex. */
static bool has_room(const struct hub *hub, uint64_t address)
{
    size_t same = 0;
    for (const struct hub_waiter *waiter = hub->waiters; waiter; waiter = waiter->next)
        same += waiter->address == address;
    return !hub->stopping && hub->listeners < hub->listeners_max &&
           same < hub->listeners_per_address;
}

static void watch(struct hub *hub, struct hub_waiter *waiter)
{
    struct epoll_event event = {.events = EPOLLRDHUP | EPOLLONESHOT, .data.ptr = waiter};
    if (epoll_ctl(hub->watch, EPOLL_CTL_ADD, waiter->fd, &event) != 0)
        log_warn("a listener is not watched", "err=%d", errno);
}

bool hub_join(struct hub *hub, struct hub_waiter *waiter, struct MHD_Connection *connection)
{
    int fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    uint64_t address = connection_address(connection);
    pthread_mutex_lock(&hub->mutex);
    bool room = has_room(hub, address);
    if (room) {
        *waiter = (struct hub_waiter){
            .connection = connection, .address = address, .fd = fd, .next = hub->waiters};
        watch(hub, waiter);
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
    epoll_ctl(hub->watch, EPOLL_CTL_DEL, waiter->fd, NULL);
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

bool hub_request_ends(struct hub *hub, int64_t *ends_out, int timeout_ms)
{
    topic_reader_ends(hub->reader, TOPIC_REQUESTS, hub->partitions, timeout_ms, ends_out, NULL);
    for (int32_t p = 0; p < hub->partitions; p++) {
        if (ends_out[p] >= 0)
            return true;
    }
    return false;
}

struct hub_now hub_now(struct hub *hub)
{
    pthread_mutex_lock(&hub->mutex);
    struct hub_now now = {
        .version = hub->version, .stopping = hub->stopping, .listeners = hub->listeners};
    pthread_mutex_unlock(&hub->mutex);
    return now;
}

bool hub_wait(struct hub *hub, struct hub_waiter *waiter, uint64_t version)
{
    pthread_mutex_lock(&hub->mutex);
    bool waits = hub->version == version && !hub->stopping && !waiter->gone;
    if (waits) {
        waiter->suspended = true;
        MHD_suspend_connection(waiter->connection);
    }
    pthread_mutex_unlock(&hub->mutex);
    return waits;
}

bool hub_is_gone(struct hub *hub, const struct hub_waiter *waiter)
{
    pthread_mutex_lock(&hub->mutex);
    bool gone = waiter->gone;
    pthread_mutex_unlock(&hub->mutex);
    return gone;
}
