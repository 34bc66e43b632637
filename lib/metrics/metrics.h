/* Metrics for Prometheus in its text format (exposition format 0.0.4). Values are atomics: any thread
 * may count or render, without a lock. A rendering is no snapshot, which Prometheus does not need; a
 * histogram's count is the sum of the buckets as rendered.
 *
 * A family is a constant: name, type, unit and help. The owner of the values writes each family: its
 * head, then its samples. */
#ifndef BERTH_LIB_METRICS_METRICS_H
#define BERTH_LIB_METRICS_METRICS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/mem.h"

#define METRICS_CONTENT_TYPE  "text/plain; version=0.0.4; charset=utf-8"
#define HISTOGRAM_BUCKETS_MAX 20

typedef _Atomic int64_t metric_value;

void metric_add(metric_value *value, int64_t n);
void metric_set(metric_value *value, int64_t n);
int64_t metric_get(const metric_value *value);

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };
/* METRIC_SECONDS: values are microseconds and written as seconds, Prometheus' base unit. */
enum metric_unit { METRIC_COUNT, METRIC_SECONDS };

struct metric {
    const char *name; /* berth_…; counters end in _total, times in _seconds */
    enum metric_type type;
    enum metric_unit unit;
    const char *help; /* a sentence */
};

/* Families of both worker and reader. */
extern const struct metric metric_database_up, metric_farm_halted, metric_farm_partitions,
    metric_partition_halted;

/* Upper bounds (inclusive) of a histogram's buckets, ascending. A last bucket without bound takes
 * larger values. */
struct histogram_bounds {
    size_t count; /* at most HISTOGRAM_BUCKETS_MAX */
    int64_t bounds[HISTOGRAM_BUCKETS_MAX];
};
extern const struct histogram_bounds histogram_work;  /* 50 us to 10 s: a step of work */
extern const struct histogram_bounds histogram_delay; /* 1 ms to 1 h: a wait of a user */
extern const struct histogram_bounds histogram_sizes; /* 1 to 100,000 */

struct histogram {
    const struct histogram_bounds *bounds;
    metric_value counts[HISTOGRAM_BUCKETS_MAX + 1];
    metric_value sum;
};

void histogram_init(struct histogram *histogram, const struct histogram_bounds *bounds);
/* Counts a negative value, from clocks of two hosts, as 0. */
void histogram_observe(struct histogram *histogram, int64_t value);
int64_t histogram_count(const struct histogram *histogram);

/* Lists of labels end with a NULL name. */
struct metric_label {
    const char *name;
    const char *value;
};
#define METRIC_LABELS(...) ((const struct metric_label[]){__VA_ARGS__, {NULL, NULL}})

/* Writes the # HELP and # TYPE lines: once, before the family's samples. */
void metric_head(struct buf *out, const struct metric *metric);
/* labels: NULL for none. */
void metric_sample(struct buf *out, const struct metric *metric, const struct metric_label *labels,
                   int64_t value);
/* A sample of a family whose label `cause` says why something stands still: 1, or 0 for the cause
 * "none". partition: NULL for a family of the whole farm. */
void metric_cause(struct buf *out, const struct metric *metric, const char *partition,
                  const char *cause);
/* All lines of one histogram. */
void metric_histogram(struct buf *out, const struct metric *metric,
                      const struct metric_label *labels, const struct histogram *histogram);
/* Head and the one sample of a family without labels. */
void metric_single(struct buf *out, const struct metric *metric, int64_t value);
/* The head and sample of berth_build_info, whose value is always 1. */
void metric_build_info(struct buf *out);

#endif
