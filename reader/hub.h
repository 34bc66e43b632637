/* The event topic, consumed once for all listeners of /v1/events. A thread parses each event, keeps
 * the newest of each partition, and wakes the listeners that wait. A listener that is behind what
 * is kept reads the database. Unless said otherwise, any thread may call. */
#ifndef BERTH_READER_HUB_H
#define BERTH_READER_HUB_H

#include <microhttpd.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/config/config.h"
#include "reader/feed_event.h"

struct hub;

/* Starts the thread; brokers may be away. Gives *out. ERR_CONFIG: librdkafka refuses the settings.
 * ERR_FAILED: no thread could be created. */
enum err hub_start(const struct config *cfg, int32_t partitions, struct hub **out,
                   struct failure *f);
/* Ends the thread and wakes all listeners, whose streams then end (hub_now). Call it before
 * the HTTP server stops, and hub_free after. */
void hub_stop(struct hub *hub);
void hub_free(struct hub *hub); /* NULL is fine */

int32_t hub_partitions(const struct hub *hub);

enum hub_have {
    HUB_EVENT,  /* *out is the event; the caller owns a reference */
    HUB_NONE,   /* no later event is known */
    HUB_BEHIND, /* later events exist, but this one is no longer kept: read the database */
};
/* The event of the partition whose sequence is `after` + 1. */
enum hub_have hub_next(struct hub *hub, int32_t part, int64_t after, struct feed_event **out);

/* How many may listen, and how many of one address. Call it before the first one joins. */
void hub_limit(struct hub *hub, size_t listeners_max, size_t per_address);

/* A listener's connection. Only the hub touches the members. */
struct hub_waiter {
    struct MHD_Connection *connection;
    uint64_t address;
    int fd;
    bool suspended;
    bool gone; /* the client has closed its end */
    struct hub_waiter *next, *previous;
};
/* Adds a listener. False: as many listen as may, or the hub stops. */
bool hub_join(struct hub *hub, struct hub_waiter *waiter, struct MHD_Connection *connection);
void hub_leave(struct hub *hub, struct hub_waiter *waiter);
struct hub_now {
    uint64_t version; /* grows whenever listeners should look for events: read it before looking */
    bool stopping;
    size_t listeners;
};
struct hub_now hub_now(struct hub *hub);
/* Suspends the connection until the version differs from `version` or the client is gone. False: so
 * it is already. */
bool hub_wait(struct hub *hub, struct hub_waiter *waiter, uint64_t version);

/* The client has closed its end. libmicrohttpd does not watch a suspended connection, so that the
 * place of a listener that went away would stay taken until something is sent to it. */
bool hub_is_gone(struct hub *hub, const struct hub_waiter *waiter);

/* Asks Kafka for the end of each request partition: one past its last offset, -1 where unknown.
 * False: Kafka did not answer within timeout_ms. */
bool hub_request_ends(struct hub *hub, int64_t *ends_out, int timeout_ms);

#endif
