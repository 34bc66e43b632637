/* The worker's loop in simulation: a short version of `make sim`. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/simulation/batches.h"
#include "tests/simulation/runner.h"

#define SEEDS            300
#define SEEDS_OF_WORLD   6
#define SEEDS_FOR_LEAKS  25
#define SEEDS_OF_BATCHES 10

/* Each in a separate process: see runner.h. */
static void run(const char *what, uint64_t first, uint64_t count)
{
    struct run_settings settings = {.first = first, .count = count};
    if (run_many(&settings) != 0)
        fail_msg("%s: see above for the seeds", what);
}

static void test_promises_hold_under_faults(void **state)
{
    (void)state;
    run("faults", 1, SEEDS);
}

static void test_disasters_are_told(void **state)
{
    (void)state;
    for (int kind = DISASTER_NONE + 1; kind < DISASTER_KIND_COUNT; kind++) {
        int found = 0;
        for (uint64_t seed = 100000; found < SEEDS_OF_WORLD; seed++) {
            struct plan plan;
            sim_plan(seed, &plan);
            if (plan.disaster != (enum disaster_kind)kind)
                continue;
            found++;
            run(disaster_name(plan.disaster), seed, 1);
        }
    }
}

/* The first seed from there on without a kill: a killed worker leaks its memory. */
static uint64_t seed_without_kills(uint64_t seed)
{
    struct plan plan;
    for (;; seed++) {
        sim_plan(seed, &plan);
        if (plan.crash == 0 && !plan.kills && plan.disaster == DISASTER_NONE)
            return seed;
    }
}

/* Runs in this process, so that the leak checker covers a worker that ends normally. */
static void test_workers_that_close_leave_nothing(void **state)
{
    (void)state;
    uint64_t seed = 200000;
    for (int i = 0; i < SEEDS_FOR_LEAKS; i++, seed++) {
        struct sim_result result;
        seed = seed_without_kills(seed);
        run_seed(seed, &result);
        if (result.failed)
            fail_msg("seed %" PRIu64 ": %s", seed, result.failure);
    }
}

static void test_same_seed_same_run(void **state)
{
    (void)state;
    struct sim_result first, second;
    uint64_t seed = 300000, before = 0;
    for (int i = 0; i < 10; i++, seed++) {
        seed = seed_without_kills(seed);
        sim_run(seed, false, &first);
        sim_run(seed, false, &second);
        assert_false(first.failed);
        assert_int_equal(first.digest, second.digest);
        assert_int_not_equal(first.digest, before);
        before = first.digest;
    }
}

/* Runs the loop over one log in batches of 1, 7 and 2000. */
static void test_batches_do_not_matter(void **state)
{
    (void)state;
    struct sim_counts sum = {0};
    for (uint64_t seed = 400000; seed < 400000 + SEEDS_OF_BATCHES; seed++) {
        struct sim_result result;
        batches_run(seed, &result);
        if (result.failed)
            fail_msg("seed %" PRIu64 ": %s", seed, result.failure);
        sum.any += result.count.any;
        sum.series += result.count.series;
        sum.series_cancelled += result.count.series_cancelled;
        sum.limited += result.count.limited;
        sum.displaced += result.count.displaced;
        sum.in_use += result.count.in_use;
    }
    assert_true(sum.any > 0 && sum.series > 0 && sum.series_cancelled > 0 && sum.limited > 0 &&
                sum.displaced > 0 && sum.in_use > 0);
}

#define BOOK(machine, from, to, gpus, memory_gib)                                                  \
    "\"type\":\"booking.create\",\"start\":\"2026-12-01T" from ":00:00Z\","                        \
    "\"end\":\"2026-12-01T" to ":00:00Z\"," ALLOCATION(machine, gpus, memory_gib)
#define ALLOCATION(machine, gpus, memory_gib)                                                      \
    "\"allocations\":[{\"machine\":\"" machine "\",\"gpus\":" gpus ",\"memory_gib\":" memory_gib   \
    "}]"
#define REGISTER(machine)                                                                          \
    "\"type\":\"machine.register\",\"machine\":\"" machine "\",\"gpus\":4,\"memory_gib\":64"
#define UPDATE(machine, what) "\"type\":\"machine.update\",\"machine\":\"" machine "\"," what
#define AMEND(booking, gpus, memory_gib)                                                           \
    "\"type\":\"booking.amend\",\"booking\":" booking "," ALLOCATION("m", gpus, memory_gib)
#define DISPLACE ",\"displace\":true"

/* An update that takes back only capacity added by an earlier update of the same batch: compared
 * with the machine's row nothing shrinks, and yet bookings stored by other batches may be
 * displaced. */
static void test_an_earlier_update_of_the_batch_counts(void **state)
{
    (void)state;
    static const char *const requests[] = {
        /* Stored by a first batch of 7. */
        REGISTER("m"), BOOK("m", "12", "14", "2", "1"), BOOK("m", "12", "14", "2", "1"),
        BOOK("m", "16", "18", "1", "32"), BOOK("m", "16", "18", "1", "32"), REGISTER("old"),
        UPDATE("old", "\"state\":\"retired\""),
        /* The second batch: the first booking grows, so the second one conflicts. */
        UPDATE("m", "\"gpus\":6"), AMEND("8192", "4", "1"), UPDATE("m", "\"gpus\":4"),
        UPDATE("m", "\"gpus\":4" DISPLACE), UPDATE("old", "\"state\":\"up\""),
        BOOK("old", "12", "14", "1", "1"), UPDATE("old", "\"state\":\"retired\"" DISPLACE),
        /* The third batch: the same with memory. */
        UPDATE("m", "\"memory_gib\":96"), AMEND("16384", "1", "64"),
        UPDATE("m", "\"memory_gib\":64" DISPLACE)};
    struct sim_result result;
    batches_run_written(requests, sizeof(requests) / sizeof(requests[0]), &result);
    if (result.failed)
        fail_msg("%s", result.failure);
    assert_int_equal(result.count.in_use, 1);
    assert_int_equal(result.count.displaced, 3);
}

/* The patches apply to the sources (run from the top folder, as dev/run-unit does). */
static void test_mutations_apply(void **state)
{
    (void)state;
    assert_int_equal(system("tests/simulation/mutate --check"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_promises_hold_under_faults),
        cmocka_unit_test(test_disasters_are_told),
        cmocka_unit_test(test_workers_that_close_leave_nothing),
        cmocka_unit_test(test_same_seed_same_run),
        cmocka_unit_test(test_batches_do_not_matter),
        cmocka_unit_test(test_an_earlier_update_of_the_batch_counts),
        cmocka_unit_test(test_mutations_apply),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
