/* The cost of a timeline's operations at 1k, 10k, 100k and 1M live bookings on one machine.
 *
 *   gcc -std=c17 -D_POSIX_C_SOURCE=200809L -O2 -I. -o bench_timeline \
 *       core/pool.c core/timeline.c tests/bench/bench_timeline.c
 *   ./bench_timeline [bookings ...]
 *
 * On average a hundred bookings at a time use a machine of 1,000 GPUs; windows are whole seconds,
 * as in Berth. Prints ns per operation and bytes of state per booking. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tests/unit/core_state.h"

#include "core/timeline.h"

#define ROUNDS     200000
#define SCANS      20
#define CONCURRENT 100
#define LONGEST_S  7200

struct booking {
    int64_t start_ms, end_ms;
    struct amount use;
};

static uint64_t random_state = 1;

static int64_t random_below(int64_t limit)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (int64_t)(random_state % (uint64_t)limit);
}

static int64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static struct booking random_booking(int64_t span_s)
{
    struct booking booking = {.start_ms = (1 + random_below(span_s)) * 1000};

    booking.end_ms = booking.start_ms + (1 + random_below(LONGEST_S)) * 1000;
    booking.use = (struct amount){1 + random_below(8), 1 + random_below(64)};
    return booking;
}

static void report(const char *what, int64_t began_ns, int64_t ops)
{
    printf("  %-44s %10.0f ns\n", what, (double)(now_ns() - began_ns) / (double)ops);
}

/* Replaces random bookings; their number is constant. */
static void bench_changes(struct timeline *tl, struct booking *bookings, int64_t count,
                          int64_t span_s)
{
    int64_t began_ns = now_ns();

    for (int64_t i = 0; i < ROUNDS; i++) {
        struct booking *booking = &bookings[random_below(count)];

        timeline_remove(tl, booking->start_ms, booking->end_ms, booking->use);
        *booking = random_booking(span_s);
        timeline_add(tl, booking->start_ms, booking->end_ms, booking->use);
    }
    report("add or remove", began_ns, ROUNDS * 2);
}

static void bench_questions(const struct timeline *tl, int64_t span_s)
{
    const struct amount capacity = {1000, 8000};
    int64_t yes = 0;
    int64_t start_ms;
    int64_t began_ns = now_ns();

    for (int64_t i = 0; i < ROUNDS; i++) {
        struct booking window = random_booking(span_s);

        yes += timeline_fits(tl, capacity, window.start_ms, window.end_ms, window.use);
    }
    report("fits, a window of an hour", began_ns, ROUNDS);
    began_ns = now_ns();
    for (int64_t i = 0; i < ROUNDS; i++) {
        struct booking window = random_booking(span_s);

        yes += timeline_fits(tl, capacity, 0, window.end_ms, window.use);
    }
    report("fits, a window over half of all", began_ns, ROUNDS);
    began_ns = now_ns();
    for (int64_t i = 0; i < ROUNDS; i++) {
        struct booking window = random_booking(span_s);

        yes += timeline_earliest(tl,
                                 &(struct timeline_search){capacity, (struct amount){450, 64},
                                                           window.start_ms, 3600000,
                                                           TIMELINE_FOREVER},
                                 &start_ms);
    }
    report("earliest, an hour at the usual load", began_ns, ROUNDS);
    if (yes == 0)
        printf("  (no question was answered with yes)\n");
}

/* The time of a search that passes all `count` bookings. */
static void bench_scan(const char *what, int64_t count, struct amount even, struct amount odd,
                       struct amount need)
{
    const struct amount capacity = {8, 64};
    struct pool *pool = pool_new();
    struct timeline *tl = timeline_new(pool, 0);
    int64_t start_ms = 0;

    for (int64_t i = 0; i < count; i++)
        timeline_add(tl, i * 1000, (i + 1) * 1000, i % 2 == 0 ? even : odd);
    int64_t began_ns = now_ns();

    for (int i = 0; i < SCANS; i++) {
        if (!timeline_earliest(tl,
                               &(struct timeline_search){capacity, need, 0, 2000, TIMELINE_FOREVER},
                               &start_ms) ||
            start_ms < (count - 1) * 1000) {
            printf("  wrong answer: %" PRId64 "\n", start_ms);
        }
    }
    report(what, began_ns, SCANS);
    timeline_free(tl);
    pool_free(pool);
}

static void bench(int64_t count)
{
    int64_t span_s = count * LONGEST_S / 2 / CONCURRENT;
    struct booking *bookings = malloc((size_t)count * sizeof(*bookings));
    struct pool *pool = pool_new();
    struct timeline *tl = timeline_new(pool, 0);

    if (!bookings)
        abort();
    printf("%" PRId64 " live bookings\n", count);
    int64_t began_ns = now_ns();

    for (int64_t i = 0; i < count; i++) {
        bookings[i] = random_booking(span_s);
        timeline_add(tl, bookings[i].start_ms, bookings[i].end_ms, bookings[i].use);
    }
    report("load, per booking", began_ns, count);
    bench_changes(tl, bookings, count, span_s);
    bench_questions(tl, span_s);
    bench_scan("earliest past one blocked run of all", count, (struct amount){8, 1},
               (struct amount){7, 2}, (struct amount){2, 1});
    bench_scan("earliest past as many too short gaps", count, (struct amount){8, 1},
               (struct amount){1, 1}, (struct amount){1, 1});
    bench_scan("earliest past GPUs and memory in turns", count, (struct amount){8, 1},
               (struct amount){1, 64}, (struct amount){1, 1});
    printf("  %-44s %10.1f bytes (%zu points, pool %zu bytes)\n", "state per booking",
           (double)pool_bytes(pool) / (double)count, timeline_point_count(tl), pool_bytes(pool));
    timeline_free(tl);
    pool_free(pool);
    free(bookings);
}

int main(int argc, char **argv)
{
    static const int64_t counts[] = {1000, 10000, 100000, 1000000};

    for (int i = 1; i < argc; i++) {
        int64_t count = strtoll(argv[i], NULL, 10);

        if (count < 1 || count > 100000000) {
            fprintf(stderr, "usage: bench_timeline [bookings, 1..100000000 ...]\n");
            return 2;
        }
        bench(count);
    }
    for (size_t i = 0; argc < 2 && i < sizeof(counts) / sizeof(counts[0]); i++)
        bench(counts[i]);
    return 0;
}
