/* GET /v1/events: the decisions' events as they happen, as server-sent events (HTML standard,
 * "Server-sent events"). */
#ifndef BERTH_READER_EVENTS_H
#define BERTH_READER_EVENTS_H

#include <microhttpd.h>

#include "reader/call.h"

struct listener;

/* The endless answer; takes the listener. NULL: there is no room for one more, or no memory. */
struct MHD_Response *listener_response(struct listener *listener, struct session_pool *pool,
                                       struct MHD_Connection *connection);
void listener_free(struct listener *listener);

#endif
