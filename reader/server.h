/* The HTTP side of the reader, on libmicrohttpd: connections, limits, conditional answers. */
#ifndef BERTH_READER_SERVER_H
#define BERTH_READER_SERVER_H

#include <stdint.h>

#include "lib/config/config.h"
#include "reader/hub.h"
#include "reader/session_pool.h"

struct server;

/* Listens at reader.listen and answers from threads of its own until server_stop. Borrows the pool
 * and the hub (NULL: no events). Gives *out. ERR_CONFIG: an address that cannot be listened at. */
enum err server_start(const struct config *cfg, struct session_pool *pool, struct hub *hub,
                      struct server **out, struct failure *f);
/* The port that it listens at, also when the configuration said 0. */
uint16_t server_port(const struct server *server);
/* Finishes the answers in hand. NULL is fine. */
void server_stop(struct server *server);

#endif
