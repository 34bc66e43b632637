/* The event topic, read once for all who listen: a thread consumes it, keeps each partition's
 * newest events, and wakes the listeners that wait. Whoever is behind what is kept reads the
 * database. */
#ifndef BERTH_READER_HUB_H
#define BERTH_READER_HUB_H

#include <microhttpd.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "lib/base/mem.h"
#include "lib/config/config.h"

struct hub;

/* Starts the thread; brokers may be away. Gives *out. ERR_CONFIG: librdkafka does not take the
 * settings. */
enum err hub_start(const struct config *cfg, int32_t partitions, struct hub **out,
                   struct failure *f);
/* Wakes all listeners, which then end (hub_stopping); call before the HTTP server stops. */
void hub_stop(struct hub *hub);
void hub_free(struct hub *hub); /* after it; NULL is fine */
bool hub_stopping(struct hub *hub);

int32_t hub_partitions(const struct hub *hub);

enum hub_have {
    HUB_EVENT,  /* the event is in *out */
    HUB_NONE,   /* no later one is known */
    HUB_BEHIND, /* there are later ones, but this one is not kept: ask the database */
};
/* The event of that partition whose sequence is `after` + 1, appended to *out. */
enum hub_have hub_next(struct hub *hub, int32_t part, int64_t after, struct buf *out);
/* A listener's note on a kept event, so that not each of them asks the database: which machines the
 * event's bookings have ever held. hub_machines appends it; false: there is none. */
bool hub_machines(struct hub *hub, int32_t part, int64_t seq, struct buf *out);
void hub_set_machines(struct hub *hub, int32_t part, int64_t seq, const char *text);

/* A listener's connection while it waits. The hub's own. */
struct hub_waiter {
    struct MHD_Connection *connection;
    bool suspended;
    struct hub_waiter *next, *previous;
};
/* False: there are as many as may be. */
bool hub_join(struct hub *hub, struct hub_waiter *waiter, struct MHD_Connection *connection);
void hub_leave(struct hub *hub, struct hub_waiter *waiter);
size_t hub_listeners(struct hub *hub);
/* One past the last offset of each request partition, asked of Kafka now; -1: not known. False:
 * nothing was learned in that time. */
bool hub_request_ends(struct hub *hub, int64_t *ends_out, int timeout_ms);
/* Grows with everything that listeners should look at. Read it before looking. */
uint64_t hub_version(struct hub *hub);
/* Suspends the connection until the version is another one; false: it is already. */
bool hub_wait(struct hub *hub, struct hub_waiter *waiter, uint64_t version);

#endif
