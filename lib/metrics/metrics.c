#include "lib/metrics/metrics.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/version.h"

#define US_PER_S INT64_C(1000000)

const struct histogram_bounds histogram_work = {
    .count = 17,
    .bounds = {50, 100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000,
               1000000, 2500000, 5000000, 10000000}};
const struct histogram_bounds histogram_delay = {
    .count = 18,
    .bounds = {1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000,
               5000000, 10000000, 30000000, 60000000, 300000000, 900000000, 3600000000}};
const struct histogram_bounds histogram_sizes = {
    .count = 16,
    .bounds = {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000}};

const struct metric metric_database_up = {
    "berth_database_up", METRIC_GAUGE, METRIC_COUNT,
    "1 if the program has a database session that works, else 0."};
const struct metric metric_farm_halted = {
    "berth_farm_halted", METRIC_GAUGE, METRIC_COUNT,
    "1 if the whole farm is halted, else 0; cause says why in a word."};
const struct metric metric_farm_partitions = {"berth_farm_partitions", METRIC_GAUGE, METRIC_COUNT,
                                              "Partitions that the farm has."};
const struct metric metric_partition_halted = {
    "berth_partition_halted", METRIC_GAUGE, METRIC_COUNT,
    "1 if the partition is halted until an operator resumes it, else 0; cause says why in a word."};

/* Relaxed: a value orders nothing else. */
void metric_add(metric_value *value, int64_t n)
{
    atomic_fetch_add_explicit(value, n, memory_order_relaxed);
}

void metric_set(metric_value *value, int64_t n)
{
    atomic_store_explicit(value, n, memory_order_relaxed);
}

int64_t metric_get(const metric_value *value)
{
    return atomic_load_explicit(value, memory_order_relaxed);
}

void histogram_init(struct histogram *histogram, const struct histogram_bounds *bounds)
{
    assert(bounds->count > 0 && bounds->count <= HISTOGRAM_BUCKETS_MAX);
    histogram->bounds = bounds;
    for (size_t i = 0; i <= bounds->count; i++)
        metric_set(&histogram->counts[i], 0);
    metric_set(&histogram->sum, 0);
}

void histogram_observe(struct histogram *histogram, int64_t value)
{
    const struct histogram_bounds *bounds = histogram->bounds;
    size_t bucket = 0;
    if (value < 0)
        value = 0;
    while (bucket < bounds->count && value > bounds->bounds[bucket])
        bucket++;
    metric_add(&histogram->counts[bucket], 1);
    metric_add(&histogram->sum, value);
}

int64_t histogram_count(const struct histogram *histogram)
{
    int64_t count = 0;
    for (size_t i = 0; i <= histogram->bounds->count; i++)
        count += metric_get(&histogram->counts[i]);
    return count;
}

/* A value as it is, or microseconds as seconds, exactly and without idle zeros. */
static void put_number(struct buf *out, const struct metric *metric, int64_t value)
{
    char fraction[8];
    if (metric->unit == METRIC_COUNT || value % US_PER_S == 0) {
        buf_printf(out, "%" PRId64, metric->unit == METRIC_COUNT ? value : value / US_PER_S);
        return;
    }
    assert(value > 0);
    int len = snprintf(fraction, sizeof(fraction), "%06" PRId64, value % US_PER_S);
    while (len > 1 && fraction[len - 1] == '0')
        fraction[--len] = '\0';
    buf_printf(out, "%" PRId64 ".%s", value / US_PER_S, fraction);
}

static void put_escaped(struct buf *out, const char *text, bool quotes)
{
    for (const char *c = text; *c; c++) {
        if (*c == '\n') {
            buf_puts(out, "\\n");
        } else if (*c == '\\' || (*c == '"' && quotes)) {
            buf_append(out, (const char[]){'\\', *c}, 2);
        } else {
            buf_append(out, c, 1);
        }
    }
}

static void put_label(struct buf *out, const char *name, const char *value, bool first)
{
    buf_puts(out, first ? "{" : ",");
    buf_printf(out, "%s=\"", name);
    put_escaped(out, value, true);
    buf_puts(out, "\"");
}

/* The name with a suffix, and the labels but for the closing brace; false: there are none. */
static bool put_name(struct buf *out, const struct metric *metric, const char *suffix,
                     const struct metric_label *labels)
{
    bool any = false;
    buf_printf(out, "%s%s", metric->name, suffix);
    for (const struct metric_label *label = labels; label && label->name; label++) {
        put_label(out, label->name, label->value, !any);
        any = true;
    }
    return any;
}

static void put_line(struct buf *out, const struct metric *metric, const char *suffix,
                     const struct metric_label *labels, int64_t value)
{
    buf_puts(out, put_name(out, metric, suffix, labels) ? "} " : " ");
    put_number(out, metric, value);
    buf_puts(out, "\n");
}

void metric_head(struct buf *out, const struct metric *metric)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};
    buf_printf(out, "# HELP %s ", metric->name);
    put_escaped(out, metric->help, false);
    buf_printf(out, "\n# TYPE %s %s\n", metric->name, types[metric->type]);
}

void metric_sample(struct buf *out, const struct metric *metric, const struct metric_label *labels,
                   int64_t value)
{
    assert(metric->type != METRIC_HISTOGRAM);
    put_line(out, metric, "", labels, value);
}

void metric_cause(struct buf *out, const struct metric *metric, const char *partition,
                  const char *cause)
{
    const struct metric_label labels[] = {{"partition", partition}, {"cause", cause}, {NULL, NULL}};
    metric_sample(out, metric, partition ? labels : labels + 1, strcmp(cause, "none") != 0);
}

void metric_histogram(struct buf *out, const struct metric *metric,
                      const struct metric_label *labels, const struct histogram *histogram)
{
    static const struct metric plain = {.unit = METRIC_COUNT};
    const struct histogram_bounds *bounds = histogram->bounds;
    int64_t count = 0;
    assert(metric->type == METRIC_HISTOGRAM);
    for (size_t i = 0; i <= bounds->count; i++) {
        count += metric_get(&histogram->counts[i]);
        buf_puts(out, put_name(out, metric, "_bucket", labels) ? ",le=\"" : "{le=\"");
        if (i < bounds->count) {
            put_number(out, metric, bounds->bounds[i]);
        } else {
            buf_puts(out, "+Inf");
        }
        buf_printf(out, "\"} %" PRId64 "\n", count);
    }
    put_line(out, metric, "_sum", labels, metric_get(&histogram->sum));
    buf_puts(out, put_name(out, metric, "_count", labels) ? "} " : " ");
    put_number(out, &plain, count);
    buf_puts(out, "\n");
}

void metric_single(struct buf *out, const struct metric *metric, int64_t value)
{
    metric_head(out, metric);
    metric_sample(out, metric, NULL, value);
}

void metric_build_info(struct buf *out)
{
    static const struct metric build_info = {"berth_build_info", METRIC_GAUGE, METRIC_COUNT,
                                             "1; the label is the program's version."};
    metric_head(out, &build_info);
    metric_sample(out, &build_info, METRIC_LABELS({"version", BERTH_VERSION}), 1);
}
