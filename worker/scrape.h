/* Serves /metrics over HTTP, in a thread that only reads what the loop's thread has counted. */
#ifndef BERTH_WORKER_SCRAPE_H
#define BERTH_WORKER_SCRAPE_H

#include "lib/base/err.h"
#include "worker/worker_metrics.h"

struct scrape;

/* Listens at an address such as 127.0.0.1:9464 until scrape_stop; borrows the metrics. Gives *out.
 * ERR_CONFIG: the address is malformed or cannot be bound. */
enum err scrape_start(const char *listen_at, const struct worker_metrics *metrics,
                      struct scrape **out, struct failure *f);
void scrape_stop(struct scrape *scrape); /* NULL is fine */

#endif
