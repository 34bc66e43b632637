/* The worker: one thread, one loop (docs/architecture.md). It owns partitions of the request topic,
 * decides their messages in batches of one transaction each, and publishes the decisions as events.
 *
 * It reaches Kafka and the database through the two ports only, and time through worker_env, so
 * that tests run the same loop on simulated ones. */
#ifndef BERTH_WORKER_WORKER_H
#define BERTH_WORKER_WORKER_H

#include "db/store.h"
#include "lib/base/err.h"
#include "worker/broker.h"
#include "worker/worker_settings.h"

struct worker;

/* Connects, reads farm and keys, compares the topics with what `init` recorded and every event
 * topic partition with the database, and joins the group. Borrows store, broker, settings->name and
 * settings->metrics until worker_free. Gives *out. ERR_CONFIG, ERR_DB_SCHEMA, ERR_NOT_FOUND (no
 * farm), ERR_LOG_TOPIC: another attempt will fail as well; the text says what to do. Other errors
 * can pass: try again later. */
enum err worker_open(const struct worker_settings *settings, const struct worker_env *env,
                     struct store *store, struct broker *broker, struct worker **out,
                     struct failure *f);
/* Checks database, farm and topics as worker_open does, and opens nothing. */
enum err worker_check(struct store *store, struct broker *broker, struct failure *f);
/* One turn: claims assigned partitions, waits up to timeout_ms for messages, decides them and
 * publishes the decisions. Never fails: a fault that can pass is tried again, any other halts its
 * partition or the farm. */
void worker_step(struct worker *w, int timeout_ms);
/* Flushes the producer within WORKER_SHUTDOWN_FLUSH_MS, notes what is published, leaves the group. */
void worker_close(struct worker *w);
void worker_free(struct worker *w); /* NULL is fine */

#endif
