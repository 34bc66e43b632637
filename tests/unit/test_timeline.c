/* The timeline against hand-written cases and, on seeded random histories, against two naive
 * models: `dense` stores the use in every second of a small grid, `sparse` sums the live bookings
 * at every start or end over years of arbitrary milliseconds.
 *
 * TEST_SEED=n runs that one seed only; TEST_OPS=n sets the operations per seed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/core_state.h"

#include "core/timeline.h"

#define ARRAY_LEN(array) (sizeof(array) / sizeof((array)[0]))

/* Seeds per property, and operations per seed: two to four seconds under ASan. */
#define SEEDS      24
#define DENSE_OPS  20000
#define SPARSE_OPS 8000

static struct amount amount(int64_t gpus, int64_t memory_gib)
{
    return (struct amount){gpus, memory_gib};
}

static void assert_amount(struct amount use, int64_t gpus, int64_t memory_gib)
{
    assert_int_equal(use.gpus, gpus);
    assert_int_equal(use.memory_gib, memory_gib);
}

/* Fixture: a pool and an empty timeline, known from 0 on. */
struct fixture {
    struct pool *pool;
    struct timeline *tl;
};

static int setup(void **state)
{
    struct fixture *fixture = malloc(sizeof(*fixture));

    if (!fixture)
        return -1;
    fixture->pool = pool_new();
    fixture->tl = timeline_new(fixture->pool, 0);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    size_t leaked;

    timeline_free(fixture->tl);
    leaked = pool_used(fixture->pool);
    pool_free(fixture->pool);
    free(fixture);
    return leaked == 0 ? 0 : -1;
}

static struct timeline *fixture_timeline(void **state)
{
    return ((struct fixture *)*state)->tl;
}

/* Cases by hand. */

static void test_empty(void **state)
{
    struct timeline *tl = fixture_timeline(state);
    int64_t start_ms = -1;

    assert_amount(timeline_use_at(tl, 0), 0, 0);
    assert_amount(timeline_peak(tl, 0, TIMELINE_FOREVER), 0, 0);
    assert_true(timeline_fits(tl, amount(8, 64), 0, 1, amount(8, 64)));
    assert_false(timeline_fits(tl, amount(8, 64), 0, 1, amount(9, 0)));
    assert_false(timeline_fits(tl, amount(8, 64), 0, 1, amount(0, 65)));
    assert_true(timeline_earliest(
        tl, &(struct timeline_search){amount(8, 64), amount(8, 64), 5, 10, 15}, &start_ms));
    assert_int_equal(start_ms, 5);
    assert_int_equal(timeline_point_count(tl), 0);
    assert_true(timeline_check(tl));
    timeline_free(NULL);
    pool_free(NULL);
}

static void test_windows_are_half_open(void **state)
{
    struct timeline *tl = fixture_timeline(state);
    const struct amount capacity = {8, 64};

    timeline_add(tl, 100, 200, amount(8, 64));
    assert_amount(timeline_use_at(tl, 99), 0, 0);
    assert_amount(timeline_use_at(tl, 100), 8, 64);
    assert_amount(timeline_use_at(tl, 199), 8, 64);
    assert_amount(timeline_use_at(tl, 200), 0, 0);
    assert_amount(timeline_peak(tl, 0, 100), 0, 0);
    assert_amount(timeline_peak(tl, 0, 101), 8, 64);
    assert_amount(timeline_peak(tl, 199, 200), 8, 64);
    assert_amount(timeline_peak(tl, 200, TIMELINE_FOREVER), 0, 0);
    assert_true(timeline_fits(tl, capacity, 200, 300, amount(1, 1)));
    assert_true(timeline_fits(tl, capacity, 0, 100, amount(1, 1)));
    assert_false(timeline_fits(tl, capacity, 199, 300, amount(1, 0)));
    assert_false(timeline_fits(tl, capacity, 0, 101, amount(0, 1)));
}

static void test_neighbours_share_their_point(void **state)
{
    struct timeline *tl = fixture_timeline(state);

    timeline_add(tl, 100, 200, amount(4, 32));
    timeline_add(tl, 200, 300, amount(4, 32));
    assert_int_equal(timeline_point_count(tl), 2);
    timeline_add(tl, 100, 300, amount(1, 0));
    assert_int_equal(timeline_point_count(tl), 2);
    timeline_remove(tl, 100, 200, amount(4, 32));
    assert_int_equal(timeline_point_count(tl), 3);
    timeline_remove(tl, 200, 300, amount(4, 32));
    timeline_remove(tl, 100, 300, amount(1, 0));
    assert_int_equal(timeline_point_count(tl), 0);
}

static void test_point_stays_while_one_component_changes(void **state)
{
    struct timeline *tl = fixture_timeline(state);

    timeline_add(tl, 100, 200, amount(4, 32));
    timeline_add(tl, 200, 300, amount(4, 16));
    assert_int_equal(timeline_point_count(tl), 3);
    timeline_add(tl, 150, 250, amount(0, 0));
    assert_int_equal(timeline_point_count(tl), 3);
    assert_true(timeline_check(tl));
}

static void test_peak_is_per_component(void **state)
{
    struct timeline *tl = fixture_timeline(state);

    timeline_add(tl, 100, 200, amount(7, 1));
    timeline_add(tl, 200, 300, amount(1, 60));
    assert_amount(timeline_peak(tl, 0, 400), 7, 60);
    assert_amount(timeline_peak(tl, 200, 400), 1, 60);
    /* The window's peak, 7 GPUs and 60 GiB, plus the request is exactly the capacity. */
    assert_true(timeline_fits(tl, amount(8, 64), 0, 400, amount(1, 4)));
    assert_false(timeline_fits(tl, amount(8, 64), 0, 400, amount(2, 4)));
    assert_false(timeline_fits(tl, amount(8, 64), 0, 400, amount(1, 5)));
}

static void test_without_end(void **state)
{
    struct timeline *tl = fixture_timeline(state);
    int64_t start_ms = -1;

    timeline_add(tl, 100, TIMELINE_FOREVER, amount(3, 5));
    assert_int_equal(timeline_point_count(tl), 1);
    assert_amount(timeline_use_at(tl, INT64_MAX - 1), 3, 5);
    assert_amount(timeline_peak(tl, 0, TIMELINE_FOREVER), 3, 5);
    assert_false(timeline_earliest(
        tl, &(struct timeline_search){amount(4, 9), amount(2, 1), 100, 1, TIMELINE_FOREVER},
        &start_ms));
    assert_true(timeline_earliest(tl,
                                  &(struct timeline_search){amount(5, 9), amount(2, 1), 100,
                                                            TIMELINE_MS_LIMIT, TIMELINE_FOREVER},
                                  &start_ms));
    assert_int_equal(start_ms, 100);
    timeline_remove(tl, 100, TIMELINE_FOREVER, amount(3, 5));
    assert_int_equal(timeline_point_count(tl), 0);
}

static void test_extreme_times(void **state)
{
    struct fixture *fixture = *state;
    struct timeline *tl = timeline_new(fixture->pool, INT64_MIN);

    assert_true(timeline_covers(tl, INT64_MIN));
    timeline_add(tl, 1 - TIMELINE_MS_LIMIT, TIMELINE_MS_LIMIT - 1, amount(1, 2));
    timeline_add(tl, -5, 5, amount(1, 2));
    timeline_add(tl, INT64_MIN, -1000, amount(4, 4));
    assert_amount(timeline_use_at(tl, INT64_MIN), 4, 4);
    assert_amount(timeline_use_at(tl, 1 - TIMELINE_MS_LIMIT), 5, 6);
    assert_amount(timeline_use_at(tl, -1000), 1, 2);
    assert_amount(timeline_use_at(tl, -5), 2, 4);
    assert_amount(timeline_use_at(tl, TIMELINE_MS_LIMIT - 1), 0, 0);
    assert_true(timeline_check(tl));
    timeline_free(tl);
}

static void test_earliest(void **state)
{
    static const struct {
        int64_t gpus, memory_gib, from_ms, duration_ms, horizon_ms;
        int64_t start_ms; /* -1: none */
    } rows[] = {
        {1, 1, 0, 100, 1000, 0},     /* exactly up to the first booking */
        {1, 1, 0, 101, 1000, 400},   /* one more does not fit before; [250,300) is too short */
        {1, 1, 0, 50, 1000, 0},      /* at once */
        {1, 1, 60, 50, 1000, 250},   /* the gap [250,300), exactly */
        {1, 1, 60, 51, 1000, 400},   /* the gap is too short */
        {1, 1, 250, 50, 1000, 250},  /* from the gap's start */
        {1, 1, 251, 50, 1000, 400},  /* the gap has begun */
        {0, 1, 60, 60, 1000, 200},   /* memory alone: [200,300) */
        {1, 0, 60, 50, 1000, 250},   /* GPUs alone */
        {1, 1, 0, 101, 501, 400},    /* exactly up to the horizon */
        {1, 1, 0, 101, 500, -1},     /* the horizon is 1 ms too near */
        {1, 1, 400, 10, 409, -1},    /* free, but the horizon is too near */
        {1, 1, 400, 10, 400, -1},    /* no time at all */
        {1, 1, 400, 10, 100, -1},    /* horizon before from */
        {9, 1, 0, 1, 100000, -1},    /* never */
        {1, 65, 0, 1, 100000, -1},   /* never */
        {8, 64, 0, 101, 1000, 400},  /* the whole machine */
        {0, 0, 120, 500, 1000, 120}, /* nothing fits everywhere */
    };
    struct timeline *tl = fixture_timeline(state);

    timeline_add(tl, 100, 200, amount(8, 64));
    timeline_add(tl, 200, 250, amount(8, 1));
    timeline_add(tl, 300, 350, amount(1, 64));
    timeline_add(tl, 350, 400, amount(8, 64));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t start_ms = -1;
        bool found = timeline_earliest(
            tl,
            &(struct timeline_search){amount(8, 64), amount(rows[i].gpus, rows[i].memory_gib),
                                      rows[i].from_ms, rows[i].duration_ms, rows[i].horizon_ms},
            &start_ms);

        if (start_ms != rows[i].start_ms || found != (rows[i].start_ms >= 0)) {
            print_error("row %zu: got %lld\n", i, (long long)start_ms);
            fail();
        }
    }
}

/* GPUs block on even pieces and memory on odd ones: neither blocks everywhere. */
static void test_earliest_through_interleaved_blocks(void **state)
{
    struct timeline *tl = fixture_timeline(state);
    const int pieces = 1000;
    int64_t start_ms = -1;

    for (int i = 0; i < pieces; i++)
        timeline_add(tl, i * 10, i * 10 + 10, i % 2 == 0 ? amount(8, 1) : amount(1, 64));
    assert_true(timeline_earliest(
        tl, &(struct timeline_search){amount(8, 64), amount(1, 1), 0, 5, 100000}, &start_ms));
    assert_int_equal(start_ms, pieces * 10);
    assert_true(timeline_earliest(
        tl, &(struct timeline_search){amount(8, 64), amount(1, 0), 0, 10, 100000}, &start_ms));
    assert_int_equal(start_ms, 10);
}

struct pieces {
    size_t count;
    size_t stop_after;
    struct {
        int64_t start_ms, end_ms;
        struct amount use;
    } items[512];
};

static bool collect(void *arg, int64_t start_ms, int64_t end_ms, struct amount use)
{
    struct pieces *pieces = arg;

    assert_true(pieces->count < ARRAY_LEN(pieces->items));
    pieces->items[pieces->count].start_ms = start_ms;
    pieces->items[pieces->count].end_ms = end_ms;
    pieces->items[pieces->count].use = use;
    pieces->count++;
    return pieces->count != pieces->stop_after;
}

static void test_steps(void **state)
{
    static const int64_t bounds[] = {50, 100, 150, 200, 300, INT64_MAX};
    static const int64_t gpus[] = {0, 1, 3, 2, 0};
    struct timeline *tl = fixture_timeline(state);
    struct pieces pieces = {0};

    timeline_add(tl, 100, 200, amount(1, 10));
    timeline_add(tl, 150, 300, amount(2, 20));
    timeline_steps(tl, 50, TIMELINE_FOREVER, collect, &pieces);
    assert_int_equal(pieces.count, ARRAY_LEN(gpus));
    for (size_t i = 0; i < ARRAY_LEN(gpus); i++) {
        assert_int_equal(pieces.items[i].start_ms, bounds[i]);
        assert_int_equal(pieces.items[i].end_ms, bounds[i + 1]);
        assert_amount(pieces.items[i].use, gpus[i], gpus[i] * 10);
    }
    pieces = (struct pieces){.stop_after = 2};
    timeline_steps(tl, 50, TIMELINE_FOREVER, collect, &pieces);
    assert_int_equal(pieces.count, 2);
    pieces = (struct pieces){0};
    timeline_steps(tl, 150, 200, collect, &pieces);
    assert_int_equal(pieces.count, 1);
    assert_int_equal(pieces.items[0].end_ms, 200);
}

static void test_known_from(void **state)
{
    struct fixture *fixture = *state;
    struct timeline *tl = timeline_new(fixture->pool, 1000);

    assert_true(timeline_covers(tl, 1000));
    assert_false(timeline_covers(tl, 999));
    timeline_add(tl, 500, 1500, amount(2, 2)); /* began earlier */
    timeline_add(tl, 100, 1000, amount(8, 8)); /* over already */
    assert_int_equal(timeline_point_count(tl), 1);
    assert_amount(timeline_use_at(tl, 1000), 2, 2);
    timeline_remove(tl, 100, 1000, amount(8, 8));
    timeline_remove(tl, 500, 1500, amount(2, 2));
    assert_amount(timeline_peak(tl, 1000, TIMELINE_FOREVER), 0, 0);
    assert_int_equal(timeline_point_count(tl), 0);
    timeline_free(tl);
}

static void test_remove_after_forget(void **state)
{
    struct timeline *tl = fixture_timeline(state);

    timeline_add(tl, 100, 200, amount(1, 1)); /* over when forgotten */
    timeline_add(tl, 100, 400, amount(2, 2)); /* cut in two */
    timeline_add(tl, 300, 400, amount(4, 4)); /* begins at the cut */
    timeline_add(tl, 350, 500, amount(8, 8)); /* after it */
    timeline_forget_before(tl, 300);
    assert_int_equal(timeline_known_from(tl), 300);
    assert_int_equal(timeline_point_count(tl), 3);
    assert_amount(timeline_use_at(tl, 300), 6, 6);
    assert_amount(timeline_use_at(tl, 350), 14, 14);
    timeline_forget_before(tl, 200); /* never backwards */
    assert_int_equal(timeline_known_from(tl), 300);
    timeline_remove(tl, 100, 200, amount(1, 1));
    assert_amount(timeline_use_at(tl, 300), 6, 6);
    timeline_remove(tl, 100, 400, amount(2, 2));
    timeline_remove(tl, 300, 400, amount(4, 4));
    assert_amount(timeline_peak(tl, 300, TIMELINE_FOREVER), 8, 8);
    timeline_remove(tl, 350, 500, amount(8, 8));
    assert_amount(timeline_peak(tl, 300, TIMELINE_FOREVER), 0, 0);
    assert_int_equal(timeline_point_count(tl), 0);
}

/* Sorted keys would degenerate an unbalanced tree. */
static void test_sorted_keys_stay_balanced(void **state)
{
    struct timeline *tl = fixture_timeline(state);
    const int64_t count = 20000;

    for (int64_t i = 0; i < count; i++)
        timeline_add(tl, 1 + i * 20, 11 + i * 20, amount(1 + i % 3, 1));
    assert_true(timeline_check(tl));
    assert_int_equal(timeline_point_count(tl), 2 * count);
    timeline_forget_before(tl, count * 10);
    assert_true(timeline_check(tl));
    assert_int_equal(timeline_point_count(tl), count);
    for (int64_t i = count - 1; i >= 0; i--)
        timeline_remove(tl, 1 + i * 20, 11 + i * 20, amount(1 + i % 3, 1));
    assert_int_equal(timeline_point_count(tl), 0);
}

static void test_pool_reuses_slots(void **state)
{
    struct fixture *fixture = *state;
    size_t bytes = 0;

    for (int round = 0; round < 5; round++) {
        struct timeline *tl = timeline_new(fixture->pool, 0);

        for (int64_t i = 0; i < 10000; i++)
            timeline_add(tl, 1 + i * 2, 2 + i * 2, amount(1, 1));
        /* Several points share a slot. */
        assert_true(pool_used(fixture->pool) > 20000 * 16 / POOL_SLOT_BYTES);
        assert_true(pool_used(fixture->pool) < 20000 * 16 * 3 / POOL_SLOT_BYTES);
        timeline_free(tl);
        assert_int_equal(pool_used(fixture->pool), 0);
        assert_true(bytes == 0 || bytes == pool_bytes(fixture->pool));
        bytes = pool_bytes(fixture->pool);
    }
    assert_true(bytes >= (size_t)20000 * 16);
}

static void test_highest_amount(void **state)
{
    struct timeline *tl = fixture_timeline(state);
    const struct amount most = {TIMELINE_AMOUNT_LIMIT, TIMELINE_AMOUNT_LIMIT};

    /* Full and idle alternately: the largest possible differences. */
    for (int64_t i = 0; i < 1000; i++)
        timeline_add(tl, 1 + i * 2, 2 + i * 2, most);
    assert_amount(timeline_peak(tl, 0, TIMELINE_FOREVER), most.gpus, most.memory_gib);
    assert_true(timeline_check(tl));
    for (int64_t i = 0; i < 1000; i++)
        timeline_remove(tl, 1 + i * 2, 2 + i * 2, most);
    assert_int_equal(timeline_point_count(tl), 0);
}

/* Broken preconditions abort: each runs in a child process. */

static void misuse_use_before_known_from(struct timeline *tl)
{
    timeline_use_at(tl, -1);
}

static void misuse_peak_before_known_from(struct timeline *tl)
{
    timeline_peak(tl, -1, 5);
}

static void misuse_fits_after_forget(struct timeline *tl)
{
    timeline_forget_before(tl, 100);
    timeline_fits(tl, amount(8, 8), 99, 200, amount(1, 1));
}

static void misuse_earliest_before_known_from(struct timeline *tl)
{
    int64_t start_ms;

    timeline_earliest(tl, &(struct timeline_search){amount(8, 8), amount(1, 1), -1, 10, 1000},
                      &start_ms);
}

static void misuse_steps_before_known_from(struct timeline *tl)
{
    struct pieces pieces = {0};

    timeline_steps(tl, -1, 10, collect, &pieces);
}

static void misuse_empty_window(struct timeline *tl)
{
    timeline_add(tl, 5, 5, amount(1, 1));
}

static void misuse_negative_amount(struct timeline *tl)
{
    timeline_add(tl, 5, 6, amount(-1, 1));
}

static void misuse_remove_what_is_not_there(struct timeline *tl)
{
    timeline_add(tl, 5, 10, amount(1, 1));
    timeline_remove(tl, 5, 11, amount(1, 1));
}

static void misuse_too_much(struct timeline *tl)
{
    timeline_add(tl, 5, 10, amount(TIMELINE_AMOUNT_LIMIT, 1));
    timeline_add(tl, 9, 11, amount(1, 1));
}

static void misuse_time_out_of_range(struct timeline *tl)
{
    timeline_add(tl, 5, TIMELINE_MS_LIMIT, amount(1, 1));
}

static void test_misuse_aborts(void **state)
{
    static void (*const cases[])(struct timeline *) = {
        misuse_use_before_known_from,
        misuse_peak_before_known_from,
        misuse_fits_after_forget,
        misuse_earliest_before_known_from,
        misuse_steps_before_known_from,
        misuse_empty_window,
        misuse_negative_amount,
        misuse_remove_what_is_not_there,
        misuse_too_much,
        misuse_time_out_of_range,
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct rlimit no_core = {0, 0};
        int status = 0;

        fflush(NULL);
        pid_t child = fork();

        assert_true(child >= 0);
        if (child == 0) {
            setrlimit(RLIMIT_CORE, &no_core);
            signal(SIGABRT, SIG_DFL);
            fclose(stderr);
            cases[i](fixture_timeline(state));
            _exit(0);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT) {
            print_error("case %zu did not abort\n", i);
            fail();
        }
    }
}

/* Random histories. */

struct random {
    uint64_t state;
    uint64_t seed;
    int op;
};

static uint64_t random_next(struct random *random)
{
    /* Weyl sequence with a finalizer: every seed is equally good. */
    uint64_t value = (random->state += UINT64_C(0x9E3779B97F4A7C15));

    value = (value ^ (value >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    value = (value ^ (value >> 27)) * UINT64_C(0x94D049BB133111EB);
    return value ^ (value >> 31);
}

/* In low..high, both inclusive. */
static int64_t random_in(struct random *random, int64_t low, int64_t high)
{
    return low + (int64_t)(random_next(random) % (uint64_t)(high - low + 1));
}

static bool random_one_in(struct random *random, int64_t n)
{
    return random_in(random, 1, n) == 1;
}

#define CHECK(random, condition)                                                                   \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            print_error("TEST_SEED=%llu, operation %d: %s\n", (unsigned long long)(random)->seed,  \
                        (random)->op, #condition);                                                 \
            fail();                                                                                \
        }                                                                                          \
    } while (0)

static int64_t env_number(const char *name, int64_t fallback)
{
    const char *text = getenv(name);

    return text && *text != '\0' ? strtoll(text, NULL, 10) : fallback;
}

typedef void history_fn(struct random *random, int ops);

static void run_histories(history_fn *history, int ops)
{
    int64_t only = env_number("TEST_SEED", -1);

    ops = (int)env_number("TEST_OPS", ops);
    for (int64_t seed = 1; seed <= SEEDS; seed++) {
        uint64_t chosen = (uint64_t)(only >= 0 ? only : seed);
        struct random random = {.state = chosen, .seed = chosen};

        history(&random, ops);
        if (only >= 0)
            break;
    }
}

#define LIVE_MAX 200

struct booking {
    int64_t start_ms, end_ms;
    struct amount use;
};

/* The bookings in the timeline, for removal. */
struct live {
    size_t count;
    struct booking items[LIVE_MAX];
};

/* Dense model: seconds 0..GRID-1; the last stands for all later ones, and no window ends there. */
#define GRID        160
#define GRID_MARGIN 8

struct dense {
    struct timeline *tl;
    struct live live;
    int known; /* seconds */
    struct amount use[GRID];
    struct amount capacity;
};

static int64_t sec(int second)
{
    return second >= GRID ? TIMELINE_FOREVER : INT64_C(1000) * second;
}

static void dense_new(struct dense *dense, struct random *random, struct pool *pool)
{
    memset(dense, 0, sizeof(*dense));
    dense->known = (int)random_in(random, 0, 20);
    dense->tl = timeline_new(pool, sec(dense->known));
    dense->capacity = amount(random_in(random, 1, 12), random_in(random, 1, 20));
}

static void dense_change(struct dense *dense, const struct booking *booking, int sign)
{
    for (int s = 0; s < GRID; s++) {
        if (sec(s) >= booking->start_ms && sec(s) < booking->end_ms) {
            dense->use[s].gpus += sign * booking->use.gpus;
            dense->use[s].memory_gib += sign * booking->use.memory_gib;
        }
    }
}

static void dense_remove(struct dense *dense, size_t which)
{
    struct booking booking = dense->live.items[which];

    timeline_remove(dense->tl, booking.start_ms, booking.end_ms, booking.use);
    dense_change(dense, &booking, -1);
    dense->live.items[which] = dense->live.items[--dense->live.count];
}

/* A window of seconds from `low` on; an end of GRID means for ever. */
static void random_seconds(struct random *random, int low, int *start, int *end)
{
    int longest = random_one_in(random, 4) ? GRID : 12;

    *start = (int)random_in(random, low, GRID - GRID_MARGIN - 1);
    *end = (int)random_in(random, *start + 1, *start + longest);
    if (*end >= GRID - GRID_MARGIN)
        *end = random_one_in(random, 6) ? GRID : GRID - GRID_MARGIN;
}

static void dense_add(struct dense *dense, struct random *random)
{
    int start, end;

    if (dense->live.count == LIVE_MAX)
        return;
    /* Windows may begin, or even end, before known_from. */
    random_seconds(random, 0, &start, &end);
    struct booking booking = {sec(start), sec(end),
                              amount(random_in(random, 0, 4), random_in(random, 0, 4))};

    if (random_one_in(random, 2) &&
        (start < dense->known || !timeline_fits(dense->tl, dense->capacity, booking.start_ms,
                                                booking.end_ms, booking.use))) {
        return;
    }
    timeline_add(dense->tl, booking.start_ms, booking.end_ms, booking.use);
    dense_change(dense, &booking, 1);
    dense->live.items[dense->live.count++] = booking;
}

static bool dense_fits(const struct dense *dense, int start, int end, struct amount need)
{
    for (int s = start; s < end && s < GRID; s++) {
        if (dense->use[s].gpus + need.gpus > dense->capacity.gpus ||
            dense->use[s].memory_gib + need.memory_gib > dense->capacity.memory_gib) {
            return false;
        }
    }
    return true;
}

static void dense_ask_window(struct dense *dense, struct random *random)
{
    struct amount need = {random_in(random, 0, 5), random_in(random, 0, 6)};
    struct amount peak = {0, 0};
    int start, end;

    random_seconds(random, dense->known, &start, &end);
    for (int s = start; s < end && s < GRID; s++) {
        peak.gpus = dense->use[s].gpus > peak.gpus ? dense->use[s].gpus : peak.gpus;
        peak.memory_gib = dense->use[s].memory_gib > peak.memory_gib ? dense->use[s].memory_gib
                                                                     : peak.memory_gib;
    }
    struct amount got = timeline_peak(dense->tl, sec(start), sec(end));
    struct amount at = timeline_use_at(dense->tl, sec(start) + random_in(random, 0, 999));

    CHECK(random, got.gpus == peak.gpus && got.memory_gib == peak.memory_gib);
    CHECK(random, at.gpus == dense->use[start].gpus);
    CHECK(random, at.memory_gib == dense->use[start].memory_gib);
    CHECK(random, timeline_fits(dense->tl, dense->capacity, sec(start), sec(end), need) ==
                      dense_fits(dense, start, end, need));
}

static void dense_ask_earliest(struct dense *dense, struct random *random)
{
    struct amount need = {random_in(random, 0, 5), random_in(random, 0, 6)};
    int from = (int)random_in(random, dense->known, GRID - GRID_MARGIN);
    int duration = (int)random_in(random, 1, random_one_in(random, 3) ? 40 : 6);
    int horizon = (int)random_in(random, from - 5, GRID - 1);
    int64_t start_ms = -1;
    int expected = from;

    while (expected + duration <= horizon &&
           !dense_fits(dense, expected, expected + duration, need)) {
        expected++;
    }
    bool found = timeline_earliest(
        dense->tl,
        &(struct timeline_search){dense->capacity, need, sec(from), sec(duration), sec(horizon)},
        &start_ms);

    CHECK(random, found == (expected + duration <= horizon));
    CHECK(random, start_ms == (found ? sec(expected) : -1));
}

static bool same_use(struct amount a, struct amount b)
{
    return a.gpus == b.gpus && a.memory_gib == b.memory_gib;
}

static void dense_ask_steps(struct dense *dense, struct random *random)
{
    static struct pieces pieces;
    size_t piece = 0;
    int start, end;

    random_seconds(random, dense->known, &start, &end);
    pieces.count = 0;
    timeline_steps(dense->tl, sec(start), sec(end), collect, &pieces);
    for (int s = start; s < end && s < GRID; piece++) {
        int next = s + 1;

        while (next < end && next < GRID && same_use(dense->use[next], dense->use[s]))
            next++;
        CHECK(random, piece < pieces.count);
        CHECK(random, pieces.items[piece].start_ms == sec(s));
        CHECK(random, pieces.items[piece].end_ms == sec(next < end ? next : end));
        CHECK(random, same_use(pieces.items[piece].use, dense->use[s]));
        s = next;
    }
    CHECK(random, piece == pieces.count);
}

static void dense_check(struct dense *dense, struct random *random)
{
    size_t points = 0;

    for (int s = dense->known + 1; s < GRID; s++)
        points += !same_use(dense->use[s], dense->use[s - 1]);
    CHECK(random, timeline_check(dense->tl));
    CHECK(random, timeline_point_count(dense->tl) == points);
    CHECK(random, timeline_known_from(dense->tl) == sec(dense->known));
}

/* Removes all bookings one by one, then starts a new history on the same pool. */
static void dense_restart(struct dense *dense, struct random *random, struct pool *pool)
{
    if (random_one_in(random, 2)) {
        while (dense->live.count > 0)
            dense_remove(dense, (size_t)random_in(random, 0, (int64_t)dense->live.count - 1));
        dense_check(dense, random);
        CHECK(random, timeline_point_count(dense->tl) == 0);
        CHECK(random,
              same_use(timeline_use_at(dense->tl, sec(dense->known)), (struct amount){0, 0}));
    }
    timeline_free(dense->tl);
    dense_new(dense, random, pool);
}

static void dense_forget(struct dense *dense, struct random *random)
{
    int at = dense->known + (int)random_in(random, -2, 6);

    /* The history must restart soon; queries need room until then. */
    if (at > GRID - 40)
        return;
    timeline_forget_before(dense->tl, sec(at));
    dense->known = at > dense->known ? at : dense->known;
}

static void dense_step(struct dense *dense, struct random *random, struct pool *pool)
{
    int64_t dice = random_in(random, 0, 99);

    if (dice < 30) {
        dense_add(dense, random);
    } else if (dice < 44) {
        if (dense->live.count > 0)
            dense_remove(dense, (size_t)random_in(random, 0, (int64_t)dense->live.count - 1));
    } else if (dice < 70) {
        dense_ask_window(dense, random);
    } else if (dice < 90) {
        dense_ask_earliest(dense, random);
    } else if (dice < 97) {
        dense_ask_steps(dense, random);
    } else if (dice < 99) {
        dense_forget(dense, random);
    } else if (dense->known > GRID - 60 || random_one_in(random, 10)) {
        dense_restart(dense, random, pool);
    }
    if (random_one_in(random, 4))
        dense_check(dense, random);
}

static void dense_history(struct random *random, int ops)
{
    static struct dense worlds[3];
    struct pool *pool = pool_new();

    for (size_t i = 0; i < ARRAY_LEN(worlds); i++)
        dense_new(&worlds[i], random, pool);
    for (random->op = 0; random->op < ops; random->op++)
        dense_step(&worlds[random->op % (int)ARRAY_LEN(worlds)], random, pool);
    for (size_t i = 0; i < ARRAY_LEN(worlds); i++)
        timeline_free(worlds[i].tl);
    CHECK(random, pool_used(pool) == 0);
    pool_free(pool);
}

static void test_dense_histories(void **state)
{
    (void)state;
    run_histories(dense_history, DENSE_OPS);
}

/* Sparse model: only the live bookings, summed at every start. */
#define YEARS_MS (INT64_C(2) * 366 * 24 * 3600 * 1000)

struct sparse {
    struct timeline *tl;
    struct live live;
    int64_t known_ms;
    struct amount capacity;
};

static struct amount sparse_use(const struct sparse *sparse, int64_t at_ms)
{
    struct amount use = {0, 0};

    for (size_t i = 0; i < sparse->live.count; i++) {
        const struct booking *booking = &sparse->live.items[i];

        if (booking->start_ms <= at_ms && at_ms < booking->end_ms) {
            use.gpus += booking->use.gpus;
            use.memory_gib += booking->use.memory_gib;
        }
    }
    return use;
}

static struct amount sparse_peak(const struct sparse *sparse, int64_t start_ms, int64_t end_ms)
{
    struct amount peak = sparse_use(sparse, start_ms);

    for (size_t i = 0; i < sparse->live.count; i++) {
        int64_t at_ms = sparse->live.items[i].start_ms;

        if (at_ms > start_ms && at_ms < end_ms) {
            struct amount use = sparse_use(sparse, at_ms);

            peak.gpus = use.gpus > peak.gpus ? use.gpus : peak.gpus;
            peak.memory_gib = use.memory_gib > peak.memory_gib ? use.memory_gib : peak.memory_gib;
        }
    }
    return peak;
}

static bool sparse_fits(const struct sparse *sparse, int64_t start_ms, int64_t end_ms,
                        struct amount need)
{
    struct amount peak = sparse_peak(sparse, start_ms, end_ms);

    return peak.gpus + need.gpus <= sparse->capacity.gpus &&
           peak.memory_gib + need.memory_gib <= sparse->capacity.memory_gib;
}

static struct booking random_booking(struct random *random)
{
    int64_t longest_ms = random_one_in(random, 3) ? YEARS_MS / 2 : YEARS_MS / 100;
    struct booking booking = {.start_ms = random_in(random, -YEARS_MS, YEARS_MS)};

    booking.end_ms = booking.start_ms + random_in(random, 1, longest_ms);
    booking.use = amount(random_in(random, 0, 8), random_in(random, 0, 1 << 20));
    return booking;
}

static void sparse_change(struct sparse *sparse, struct random *random)
{
    size_t count = sparse->live.count;

    if (count < LIVE_MAX && !random_one_in(random, 3)) {
        struct booking booking = random_booking(random);

        timeline_add(sparse->tl, booking.start_ms, booking.end_ms, booking.use);
        sparse->live.items[sparse->live.count++] = booking;
    } else if (count > 0) {
        size_t which = (size_t)random_in(random, 0, (int64_t)count - 1);
        struct booking booking = sparse->live.items[which];

        timeline_remove(sparse->tl, booking.start_ms, booking.end_ms, booking.use);
        sparse->live.items[which] = sparse->live.items[--sparse->live.count];
    }
    CHECK(random, timeline_check(sparse->tl));
}

static void sparse_ask(struct sparse *sparse, struct random *random)
{
    struct booking window = random_booking(random);
    struct amount need = window.use;

    if (window.start_ms < sparse->known_ms) {
        window.end_ms += sparse->known_ms - window.start_ms;
        window.start_ms = sparse->known_ms;
    }
    CHECK(random, same_use(timeline_use_at(sparse->tl, window.start_ms),
                           sparse_use(sparse, window.start_ms)));
    CHECK(random, same_use(timeline_peak(sparse->tl, window.start_ms, window.end_ms),
                           sparse_peak(sparse, window.start_ms, window.end_ms)));
    CHECK(random, timeline_fits(sparse->tl, sparse->capacity, window.start_ms, window.end_ms,
                                need) == sparse_fits(sparse, window.start_ms, window.end_ms, need));
}

/* The earliest start is `from` or the end of a booking. */
static void sparse_ask_earliest(struct sparse *sparse, struct random *random)
{
    struct amount need = {random_in(random, 0, 8), random_in(random, 0, 1 << 20)};
    int64_t from_ms = random_in(random, sparse->known_ms, YEARS_MS + YEARS_MS / 4);
    int64_t duration_ms = random_in(random, 1, YEARS_MS / random_in(random, 1, 1000));
    int64_t horizon_ms = random_one_in(random, 4) ? TIMELINE_FOREVER
                                                  : from_ms + random_in(random, 0, YEARS_MS);
    int64_t expected_ms = INT64_MAX;
    int64_t start_ms = INT64_MAX;

    for (size_t i = 0; i <= sparse->live.count; i++) {
        int64_t at_ms = i == sparse->live.count ? from_ms : sparse->live.items[i].end_ms;

        if (at_ms >= from_ms && at_ms < expected_ms && at_ms <= horizon_ms - duration_ms &&
            sparse_fits(sparse, at_ms, at_ms + duration_ms, need)) {
            expected_ms = at_ms;
        }
    }
    bool found = timeline_earliest(
        sparse->tl,
        &(struct timeline_search){sparse->capacity, need, from_ms, duration_ms, horizon_ms},
        &start_ms);

    CHECK(random, found == (expected_ms != INT64_MAX));
    CHECK(random, start_ms == expected_ms);
}

/* Drops half of the past bookings from the list; the others are removed later. */
static void sparse_forget(struct sparse *sparse, struct random *random)
{
    size_t kept = 0;

    sparse->known_ms += random_in(random, 0, YEARS_MS / 20);
    timeline_forget_before(sparse->tl, sparse->known_ms);
    for (size_t i = 0; i < sparse->live.count; i++) {
        struct booking booking = sparse->live.items[i];

        if (booking.end_ms > sparse->known_ms || random_one_in(random, 2))
            sparse->live.items[kept++] = booking;
    }
    sparse->live.count = kept;
}

static void sparse_history(struct random *random, int ops)
{
    static struct sparse sparse;
    struct pool *pool = pool_new();

    memset(&sparse, 0, sizeof(sparse));
    sparse.known_ms = -YEARS_MS;
    sparse.capacity = amount(random_in(random, 8, 64), random_in(random, 1 << 20, 1 << 24));
    sparse.tl = timeline_new(pool, sparse.known_ms);
    for (random->op = 0; random->op < ops; random->op++) {
        int64_t dice = random_in(random, 0, 99);

        if (dice < 50) {
            sparse_change(&sparse, random);
        } else if (dice < 75) {
            sparse_ask(&sparse, random);
        } else if (dice < 98) {
            sparse_ask_earliest(&sparse, random);
        } else if (random_one_in(random, 5) && sparse.known_ms < YEARS_MS / 2) {
            sparse_forget(&sparse, random);
        }
    }
    timeline_free(sparse.tl);
    CHECK(random, pool_used(pool) == 0);
    pool_free(pool);
}

static void test_sparse_histories(void **state)
{
    (void)state;
    run_histories(sparse_history, SPARSE_OPS);
}

/* Large: three levels of nodes that fill, thin out and join again, against the use of every ms. */

#define LARGE_MS       60000
#define LARGE_BOOKINGS 4000

struct large {
    struct timeline *tl;
    struct amount use[LARGE_MS];
    int64_t start_ms[LARGE_BOOKINGS], end_ms[LARGE_BOOKINGS];
    struct amount need[LARGE_BOOKINGS];
    size_t count;
    int64_t known_ms;
};

static void large_put(struct large *large, size_t i, int sign)
{
    if (sign > 0) {
        timeline_add(large->tl, large->start_ms[i], large->end_ms[i], large->need[i]);
    } else {
        timeline_remove(large->tl, large->start_ms[i], large->end_ms[i], large->need[i]);
    }
    for (int64_t ms = large->start_ms[i]; ms < large->end_ms[i]; ms++) {
        large->use[ms].gpus += sign * large->need[i].gpus;
        large->use[ms].memory_gib += sign * large->need[i].memory_gib;
    }
}

static void large_add(struct large *large, struct random *random)
{
    size_t i = large->count++;

    large->start_ms[i] = random_in(random, 0, LARGE_MS - 300);
    large->end_ms[i] = large->start_ms[i] + random_in(random, 1, 200);
    large->need[i] = amount(random_in(random, 0, 3), random_in(random, 0, 9));
    large_put(large, i, 1);
}

static void large_remove(struct large *large, size_t i)
{
    size_t last = --large->count;

    large_put(large, i, -1);
    large->start_ms[i] = large->start_ms[last];
    large->end_ms[i] = large->end_ms[last];
    large->need[i] = large->need[last];
}

static void large_ask(struct large *large, struct random *random)
{
    int64_t start_ms = random_in(random, large->known_ms, LARGE_MS - 2);
    int64_t end_ms = random_in(random, start_ms + 1, LARGE_MS - 1);
    struct amount peak = {0, 0};

    for (int64_t ms = start_ms; ms < end_ms; ms++) {
        peak.gpus = large->use[ms].gpus > peak.gpus ? large->use[ms].gpus : peak.gpus;
        peak.memory_gib = large->use[ms].memory_gib > peak.memory_gib ? large->use[ms].memory_gib
                                                                      : peak.memory_gib;
    }
    struct amount got = timeline_peak(large->tl, start_ms, end_ms);
    struct amount here = timeline_use_at(large->tl, start_ms);

    CHECK(random, got.gpus == peak.gpus && got.memory_gib == peak.memory_gib);
    CHECK(random, here.gpus == large->use[start_ms].gpus &&
                      here.memory_gib == large->use[start_ms].memory_gib);
    /* The first run of `duration` below a limit that is met now and then. */
    struct timeline_search search = {.capacity = amount(random_in(random, 3, 30), 1000),
                                     .need = amount(3, 0),
                                     .from_ms = start_ms,
                                     .duration_ms = random_in(random, 1, 100),
                                     .horizon_ms = LARGE_MS};
    int64_t found_ms = -1, run = 0, ms = start_ms;

    for (; ms < LARGE_MS && run < search.duration_ms; ms++)
        run = large->use[ms].gpus + 3 <= search.capacity.gpus ? run + 1 : 0;
    bool found = timeline_earliest(large->tl, &search, &found_ms);

    CHECK(random, found == (run == search.duration_ms));
    CHECK(random, !found || found_ms == ms - search.duration_ms);
}

static void test_large(void **state)
{
    (void)state;
    struct pool *pool = pool_new();
    struct large *large = calloc(1, sizeof(*large));
    struct random random = {.state = 7, .seed = 7};

    large->tl = timeline_new(pool, 0);
    for (int round = 0; round < 3; round++) {
        while (large->count < LARGE_BOOKINGS)
            large_add(large, &random);
        CHECK(&random, timeline_check(large->tl));
        for (int i = 0; i < 50; i++)
            large_ask(large, &random);
        /* Thin it out, in the end from one side, so that nodes join and the root gets lower. */
        while (large->count > 20) {
            size_t i = (size_t)random_in(&random, 0, (int64_t)large->count - 1);

            for (size_t k = 0; large->count < 1000 && k < large->count; k++)
                i = large->start_ms[k] < large->start_ms[i] ? k : i;
            large_remove(large, i);
            if (large->count % 50 == 0) {
                CHECK(&random, timeline_check(large->tl));
                large_ask(large, &random);
            }
        }
        large->known_ms = 20000 * (round + 1) - 5000;
        timeline_forget_before(large->tl, large->known_ms);
        CHECK(&random, timeline_check(large->tl));
    }
    while (large->count > 0)
        large_remove(large, large->count - 1);
    CHECK(&random, timeline_point_count(large->tl) == 0 && pool_used(pool) == 0);
    timeline_free(large->tl);
    pool_free(pool);
    free(large);
}

/* Half of everything is forgotten while the tree is at its largest. */
static void test_large_forgets(void **state)
{
    (void)state;
    struct pool *pool = pool_new();
    struct large *large = calloc(1, sizeof(*large));
    struct random random = {.state = 9, .seed = 9};

    large->tl = timeline_new(pool, 0);
    while (large->count < LARGE_BOOKINGS)
        large_add(large, &random);
    size_t before = pool_used(pool);

    for (large->known_ms = 500; large->known_ms < 50000; large->known_ms += 997) {
        timeline_forget_before(large->tl, large->known_ms);
        CHECK(&random, timeline_check(large->tl));
        for (int i = 0; i < 5; i++) {
            large_ask(large, &random);
            large_remove(large, (size_t)random_in(&random, 0, (int64_t)large->count - 1));
        }
    }
    CHECK(&random, pool_used(pool) < before / 3);
    timeline_free(large->tl);
    CHECK(&random, pool_used(pool) == 0);
    pool_free(pool);
    free(large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_empty, setup, teardown),
        cmocka_unit_test_setup_teardown(test_windows_are_half_open, setup, teardown),
        cmocka_unit_test_setup_teardown(test_neighbours_share_their_point, setup, teardown),
        cmocka_unit_test_setup_teardown(test_point_stays_while_one_component_changes, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_peak_is_per_component, setup, teardown),
        cmocka_unit_test_setup_teardown(test_without_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_extreme_times, setup, teardown),
        cmocka_unit_test_setup_teardown(test_earliest, setup, teardown),
        cmocka_unit_test_setup_teardown(test_earliest_through_interleaved_blocks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_steps, setup, teardown),
        cmocka_unit_test_setup_teardown(test_known_from, setup, teardown),
        cmocka_unit_test_setup_teardown(test_remove_after_forget, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sorted_keys_stay_balanced, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pool_reuses_slots, setup, teardown),
        cmocka_unit_test_setup_teardown(test_highest_amount, setup, teardown),
        cmocka_unit_test_setup_teardown(test_misuse_aborts, setup, teardown),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_large_forgets),
        cmocka_unit_test(test_dense_histories),
        cmocka_unit_test(test_sparse_histories),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
