/* Prometheus' text format, and the worker's counters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db/halt.h"
#include "lib/metrics/metrics.h"
#include "worker/broker.h"
#include "worker/worker_metrics.h"

static const struct metric pieces = {"t_pieces_total", METRIC_COUNTER, METRIC_COUNT, "How many."};
static const struct metric delay = {"t_delay_seconds", METRIC_GAUGE, METRIC_SECONDS, "How long."};
static const struct metric sizes = {"t_size", METRIC_HISTOGRAM, METRIC_COUNT, "Sizes."};
static const struct metric times = {"t_seconds", METRIC_HISTOGRAM, METRIC_SECONDS, "Times."};

static void assert_text(struct buf *buf, const char *expected)
{
    assert_string_equal(buf->data, expected);
    buf_fini(buf);
}

static void test_samples(void **state)
{
    (void)state;
    struct buf out = {0};
    metric_single(&out, &pieces, 7);
    metric_sample(&out, &pieces, METRIC_LABELS({"partition", "3"}, {"state", "up"}), -1);
    assert_text(&out, "# HELP t_pieces_total How many.\n"
                      "# TYPE t_pieces_total counter\n"
                      "t_pieces_total 7\n"
                      "t_pieces_total{partition=\"3\",state=\"up\"} -1\n");
}

static void test_seconds_are_exact(void **state)
{
    (void)state;
    static const struct {
        int64_t us;
        const char *text;
    } rows[] = {{0, "0"},
                {1, "0.000001"},
                {50, "0.00005"},
                {500000, "0.5"},
                {1000000, "1"},
                {1795531074123000, "1795531074.123"},
                {INT64_MAX, "9223372036854.775807"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct buf out = {0};
        metric_sample(&out, &delay, NULL, rows[i].us);
        assert_non_null(strstr(out.data, rows[i].text));
        assert_int_equal(out.len, strlen("t_delay_seconds \n") + strlen(rows[i].text));
        buf_fini(&out);
    }
}

static void test_what_would_end_a_line_is_escaped(void **state)
{
    (void)state;
    static const struct metric odd = {"t_odd", METRIC_GAUGE, METRIC_COUNT, "a\\b\n\"c\""};
    struct buf out = {0};
    metric_head(&out, &odd);
    metric_sample(&out, &odd, METRIC_LABELS({"state", "a\\b\n\"c\"}"}), 0);
    assert_text(&out, "# HELP t_odd a\\\\b\\n\"c\"\n"
                      "# TYPE t_odd gauge\n"
                      "t_odd{state=\"a\\\\b\\n\\\"c\\\"}\"} 0\n");
}

static void test_a_bucket_includes_its_bound(void **state)
{
    (void)state;
    static const struct histogram_bounds bounds = {.count = 2, .bounds = {1, 10}};
    struct histogram histogram;
    struct buf out = {0};
    histogram_init(&histogram, &bounds);
    const int64_t values[] = {-5, 0, 1, 2, 10, 11, 1000};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
        histogram_observe(&histogram, values[i]);
    metric_histogram(&out, &sizes, METRIC_LABELS({"route", "/"}), &histogram);
    assert_text(&out, "t_size_bucket{route=\"/\",le=\"1\"} 3\n"
                      "t_size_bucket{route=\"/\",le=\"10\"} 5\n"
                      "t_size_bucket{route=\"/\",le=\"+Inf\"} 7\n"
                      "t_size_sum{route=\"/\"} 1024\n"
                      "t_size_count{route=\"/\"} 7\n");
}

static void test_histogram_of_times(void **state)
{
    (void)state;
    static const struct histogram_bounds bounds = {.count = 2, .bounds = {50, 2500000}};
    struct histogram histogram;
    struct buf out = {0};
    histogram_init(&histogram, &bounds);
    histogram_observe(&histogram, 51);
    histogram_observe(&histogram, 2000000);
    metric_histogram(&out, &times, NULL, &histogram);
    assert_text(&out, "t_seconds_bucket{le=\"0.00005\"} 0\n"
                      "t_seconds_bucket{le=\"2.5\"} 2\n"
                      "t_seconds_bucket{le=\"+Inf\"} 2\n"
                      "t_seconds_sum 2.000051\n"
                      "t_seconds_count 2\n");
}

static void test_bounds_ascend(void **state)
{
    (void)state;
    const struct histogram_bounds *const all[] = {&histogram_work, &histogram_delay,
                                                  &histogram_sizes};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        assert_true(all[i]->count <= HISTOGRAM_BUCKETS_MAX);
        for (size_t b = 1; b < all[i]->count; b++)
            assert_true(all[i]->bounds[b] > all[i]->bounds[b - 1]);
    }
}

enum { THREADS = 4, ROUNDS = 20000 };

static void *count_up(void *arg)
{
    struct histogram *histogram = arg;
    for (int i = 0; i < ROUNDS; i++)
        histogram_observe(histogram, i % 3);
    return NULL;
}

static void test_threads_count_together(void **state)
{
    (void)state;
    struct histogram histogram;
    struct buf out = {0};
    pthread_t threads[THREADS];
    char expected[64];
    histogram_init(&histogram, &histogram_sizes);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_up, &histogram), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    metric_histogram(&out, &sizes, NULL, &histogram);
    snprintf(expected, sizeof(expected), "t_size_count %d\n", THREADS * ROUNDS);
    assert_non_null(strstr(out.data, expected));
    buf_fini(&out);
}

/* --- the worker's ---------------------------------------------------------------------------- */

static void assert_has(const struct worker_metrics *metrics, const char *line)
{
    struct buf out = {0};
    worker_metrics_render(metrics, &out);
    if (!strstr(out.data, line))
        fail_msg("no line %s in\n%s", line, out.data);
    buf_fini(&out);
}

static void decide(struct worker_metrics *metrics, int64_t seq, enum reason reason,
                   int64_t append_ms)
{
    struct decision_row row = {.part = 5, .seq = seq, .reason = reason};
    worker_metrics_decided(metrics, &row, REQUEST_BOOKING_CREATE, append_ms);
}

static void test_decisions_are_counted_by_answer(void **state)
{
    (void)state;
    struct worker_metrics *metrics = worker_metrics_new();
    worker_metrics_open(metrics, 4);
    assert_has(metrics, "berth_decisions_total{type=\"booking.cancel\",outcome=\"accepted\","
                        "reason=\"none\"} 0\n");
    decide(metrics, 1, REASON_NONE, 1000);
    decide(metrics, 2, REASON_INSUFFICIENT_CAPACITY, 1000);
    decide(metrics, 3, REASON_INSUFFICIENT_CAPACITY, BROKER_NO_TIME);
    assert_has(metrics, "berth_decisions_total{type=\"booking.create\",outcome=\"accepted\","
                        "reason=\"none\"} 1\n");
    assert_has(metrics, "berth_decisions_total{type=\"booking.create\",outcome=\"rejected\","
                        "reason=\"insufficient_capacity\"} 2\n");
    worker_metrics_free(metrics);
}

static void test_a_decision_is_timed_once_and_by_who_made_it(void **state)
{
    (void)state;
    struct worker_metrics *metrics = worker_metrics_new();
    worker_metrics_open(metrics, 4);
    worker_metrics_acknowledged(metrics, 5, 1, 2000); /* another process's decision */
    assert_has(metrics, "berth_decision_seconds_count 0\n");
    decide(metrics, 2, REASON_NONE, 1000);
    decide(metrics, 3, REASON_NONE, 1000);
    decide(metrics, 4, REASON_NONE, BROKER_NO_TIME);
    worker_metrics_acknowledged(metrics, 4, 2, 2000);  /* another partition's */
    worker_metrics_acknowledged(metrics, 5, 10, 2000); /* the same slot */
    assert_has(metrics, "berth_decision_seconds_count 0\n");
    worker_metrics_acknowledged(metrics, 5, 2, 1250);
    worker_metrics_acknowledged(metrics, 5, 2, 9999); /* a repeat */
    worker_metrics_acknowledged(metrics, 5, 4, 9999);
    assert_has(metrics, "berth_decision_seconds_count 1\n");
    assert_has(metrics, "berth_decision_seconds_sum 0.25\n");
    worker_metrics_acknowledged(metrics, 5, 3, 900); /* the broker's clock is ahead */
    assert_has(metrics, "berth_decision_seconds_count 2\n");
    assert_has(metrics, "berth_decision_seconds_sum 0.25\n");
    worker_metrics_free(metrics);
}

static void test_before_the_farm_is_known(void **state)
{
    (void)state;
    struct worker_metrics *metrics = worker_metrics_new();
    struct buf out = {0};
    worker_metrics_render(metrics, &out);
    assert_non_null(strstr(out.data, "berth_build_info{version="));
    assert_non_null(strstr(out.data, "berth_database_up 0\n"));
    assert_null(strstr(out.data, "berth_farm_halted"));
    assert_null(strstr(out.data, "berth_partition"));
    buf_fini(&out);
    worker_metrics_free(metrics);
}

/* The cause comes from its column, never from the sentence. */
static void test_cause_of_a_halted_row(void **state)
{
    (void)state;
    for (enum halt_cause cause = HALT_OTHER; cause < HALT_CAUSE_COUNT; cause++) {
        assert_int_equal(halt_cause_read("offset 7 has no append time", halt_cause_name(cause)),
                         cause);
    }
    assert_int_equal(halt_cause_read("", "database_older"), HALT_NONE);
    assert_int_equal(halt_cause_read("halted by hand", NULL), HALT_OTHER);
    assert_int_equal(halt_cause_read("halted by hand", "of_another_release"), HALT_OTHER);
}

static void test_a_failure_carries_the_cause(void **state)
{
    (void)state;
    struct failure f;
    assert_int_equal(halt_set(&f, ERR_FARM_HALTED, HALT_DATABASE_OLDER, "at %d", 7),
                     ERR_FARM_HALTED);
    (void)failure_wrap(&f, "look");
    assert_int_equal(halt_of(&f).cause, HALT_DATABASE_OLDER);
    assert_string_equal(halt_of(&f).why, "look: at 7");
    (void)failure_set(&f, ERR_FAILED, "another");
    assert_int_equal(f.halt_cause, HALT_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_samples),
        cmocka_unit_test(test_seconds_are_exact),
        cmocka_unit_test(test_what_would_end_a_line_is_escaped),
        cmocka_unit_test(test_a_bucket_includes_its_bound),
        cmocka_unit_test(test_histogram_of_times),
        cmocka_unit_test(test_bounds_ascend),
        cmocka_unit_test(test_threads_count_together),
        cmocka_unit_test(test_decisions_are_counted_by_answer),
        cmocka_unit_test(test_a_decision_is_timed_once_and_by_who_made_it),
        cmocka_unit_test(test_before_the_farm_is_known),
        cmocka_unit_test(test_cause_of_a_halted_row),
        cmocka_unit_test(test_a_failure_carries_the_cause),
    };
    return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
