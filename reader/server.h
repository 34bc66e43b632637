/* The HTTP server, on libmicrohttpd: threads, limits, life. */
#ifndef BERTH_READER_SERVER_H
#define BERTH_READER_SERVER_H

#include "lib/config/config.h"
#include "reader/hub.h"
#include "reader/session_pool.h"

struct server;

/* Listens at reader.listen and answers in its own threads until server_stop. Borrows the pool and
 * the hub (NULL: no events). Gives *out. ERR_CONFIG: the address is malformed or cannot be listened
 * at. */
enum err server_start(const struct config *cfg, struct session_pool *pool, struct hub *hub,
                      struct server **out, struct failure *f);
/* Finishes the pending answers and joins the threads. NULL is fine. */
void server_stop(struct server *server);

#endif
