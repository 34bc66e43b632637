/* What the reader counts of its answers, for Prometheus. Any thread. */
#ifndef BERTH_READER_READER_METRICS_H
#define BERTH_READER_READER_METRICS_H

#include "reader/routes.h"

struct reader_metrics;

struct reader_metrics *reader_metrics_new(void);
void reader_metrics_free(struct reader_metrics *metrics); /* NULL is fine */
/* A request was answered with that status after so long; route NULL: it was for none of ours. */
void reader_metrics_answered(struct reader_metrics *metrics, const struct route *route, int status,
                             int64_t took_us);

#endif
