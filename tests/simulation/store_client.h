/* The store port on the simulated database. */
#ifndef BERTH_TESTS_SIMULATION_STORE_CLIENT_H
#define BERTH_TESTS_SIMULATION_STORE_CLIENT_H

#include "db/store.h"

struct process;
struct session;
struct store_client;

/* The process' database client, not connected yet. Lives in the simulation's arena. */
struct store store_client_new(struct process *p);
/* The process ended. noticed: the server saw the socket close; else it drops the session only after
 * wait_timeout. */
void store_client_gone(struct store_client *c, bool noticed);
struct session *store_client_session(const struct store_client *c); /* NULL: not connected */

#endif
