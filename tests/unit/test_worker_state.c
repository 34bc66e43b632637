/* The transitions of a worker's state that need neither a database nor Kafka. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "worker/worker_state.h"

static int64_t now_ms;

static int64_t clock_now(void *arg)
{
    (void)arg;
    return now_ms;
}

/* Loses the partition, and returns the pause before the group is joined again. The group then assigns
 * the partition anew. */
static int64_t lose_and_rejoin(struct worker *w)
{
    struct part *part = worker_part(w, 0);
    worker_part_set(w, part, PART_CLAIMING, NULL);
    worker_part_set(w, part, PART_CHECKING, NULL);
    worker_lose_part(w, part);
    assert_true(w->rejoin.due);
    int64_t pause_ms = w->rejoin.retry.at_ms - now_ms;
    now_ms += pause_ms;
    assert_true(worker_retry_due(w, &w->rejoin.retry));
    worker_rejoins(w);
    worker_rejoined(w);
    return pause_ms;
}

static void test_pauses_before_rejoining(void **state)
{
    (void)state;
    const struct worker_settings settings = {
        .name = "w", .batch_max = 10, .batch_max_bytes = 1000, .unpublished_max = 20};
    const struct worker_env env = {.mono_ms = clock_now, .wall_ms = clock_now};
    const struct farm_row farm = {.name = "farm", .partitions = 1, .key_generation = 1};
    struct worker *w = worker_state_new(&settings, &env, NULL, NULL);
    worker_state_farm(w, &farm);
    now_ms = 1000 * 1000;
    assert_in_range(lose_and_rejoin(w), 500, 1000);
    int64_t pause_ms = 0;
    /* Another worker takes the partition again and again, each time after the longest pause. */
    for (int i = 0; i < 10; i++) {
        now_ms += 10 * WORKER_RETRY_MAX_MS + 5000;
        pause_ms = lose_and_rejoin(w);
    }
    assert_in_range(pause_ms, 5 * WORKER_RETRY_MAX_MS, 10 * WORKER_RETRY_MAX_MS);
    now_ms += INT64_C(3600) * 1000;
    assert_in_range(lose_and_rejoin(w), 500, 1000);
    worker_state_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pauses_before_rejoining),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
