/* The HTTP server, on libmicrohttpd: threads, limits, life. */
#ifndef BERTH_READER_SERVER_H
#define BERTH_READER_SERVER_H

#include "lib/config/config.h"
#include "reader/hub.h"
#include "reader/session_pool.h"

struct server;

/* What the server reads from; all of it is borrowed. */
struct server_uses {
    struct session_pool *pool, *slow_pool; /* reader.db_connections; reader.slow_connections */
    struct hub *hub;                       /* NULL: no events */
};
/* Listens at reader.listen and answers in its own threads until server_stop. Gives *out. ERR_CONFIG:
 * the address is malformed or cannot be listened at. */
enum err server_start(const struct config *cfg, const struct server_uses *uses, struct server **out,
                      struct failure *f);
/* Closes the connections whose time is over. Call it every second or so. */
void server_tick(struct server *server);
/* Finishes the pending answers and joins the threads. NULL is fine. */
void server_stop(struct server *server);

#endif
