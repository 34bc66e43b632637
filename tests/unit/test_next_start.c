/* The next start of a whole request, with named machines and `any`, compared with a brute-force
 * search over a small grid of seconds; and its bound.
 *
 *   TEST_SEED=N  another run (the seed is printed)      TEST_OPS=N  its length */
#include "core/decide.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/support.h"

#define MACHINES    6
#define SECONDS     90
#define BASE_S      INT64_C(1800000000)
#define DEFAULT_OPS 20000

static uint64_t rng;
static struct amount use[MACHINES][SECONDS], capacity[MACHINES];

static int64_t between(int64_t low, int64_t high)
{
    return low + (int64_t)(random_next(&rng) % (uint64_t)(high - low + 1));
}

static struct machine *put_machine(struct world *world, int64_t id, struct amount size)
{
    struct machine row = {.id = id, .capacity = size, .version = 1};
    snprintf(row.name, sizeof(row.name), "m%" PRId64, id - 1);
    struct machine *machine = world_machine_put(world, &row);
    world_timeline_start(world, machine, BASE_S * 1000);
    return machine;
}

/* Machines that are busy most of the time, with many short bookings or few long ones. */
static void fill(struct world *world)
{
    memset(use, 0, sizeof(use));
    for (int m = 0; m < MACHINES; m++) {
        capacity[m] = (struct amount){between(2, 4), between(4, 8)};
        struct machine *machine = put_machine(world, m + 1, capacity[m]);
        int64_t longest = between(1, 8);
        for (int64_t from = between(0, 3); from < SECONDS - 10;) {
            int64_t to = from + between(1, longest);
            struct amount taken = {between(0, capacity[m].gpus),
                                   between(0, capacity[m].memory_gib)};
            world_timeline_add(world, machine, (BASE_S + from) * 1000, (BASE_S + to) * 1000, taken);
            for (int64_t s = from; s < to; s++)
                use[m][s] = taken;
            from = to + (between(0, 3) == 0 ? between(1, 4) : 0);
        }
    }
}

static bool fits(int m, struct amount need, int64_t from, int64_t length)
{
    for (int64_t s = from; s < from + length; s++) {
        struct amount taken = s < SECONDS ? use[m][s] : (struct amount){0};
        if (taken.gpus + need.gpus > capacity[m].gpus ||
            taken.memory_gib + need.memory_gib > capacity[m].memory_gib)
            return false;
    }
    return true;
}

/* Whether enough machines fit at that second. */
static bool all_fit(const struct booking_create *create, int64_t from, int64_t length)
{
    int64_t count = 0;
    if (create->any.count > 0) {
        for (int m = 0; m < MACHINES; m++)
            count += fits(m, create->any.amount, from, length) ? 1 : 0;
        return count >= create->any.count;
    }
    for (size_t i = 0; i < create->share_count; i++)
        count += fits(create->shares[i].machine[1] - '0', create->shares[i].amount, from, length);
    return count == (int64_t)create->share_count;
}

struct message {
    struct credential credential;
    struct claims claims;
    struct submission submission;
    struct share shares[LIMIT_ALLOCATIONS];
};

static struct booking_create *message_init(struct message *m, int64_t start_s, int64_t length_s)
{
    *m = (struct message){
        .credential = {.client = "batch-1", .not_after_ms = INT64_MAX},
        .claims = {.issuer = "batch-1", .audience = "test", .user = "alice", .id = "r"},
        .submission = {.seq = 1, .now_ms = BASE_S * 1000, .farm = "test"},
    };
    m->submission.credential = &m->credential;
    m->submission.claims = &m->claims;
    m->claims.request.type = REQUEST_BOOKING_CREATE;
    struct booking_create *create = &m->claims.request.booking_create;
    *create = (struct booking_create){.start_ms = (BASE_S + start_s) * 1000,
                                      .end_ms = (BASE_S + start_s + length_s) * 1000,
                                      .duration_ms = TIME_NONE,
                                      .shares = m->shares};
    return create;
}

static void random_what(struct message *m, struct booking_create *create)
{
    static const char *const names[MACHINES] = {"m0", "m1", "m2", "m3", "m4", "m5"};
    struct amount need = {between(0, 2), between(1, 4)};
    if (between(0, 1) == 0) {
        create->any = (struct any){.count = between(1, MACHINES), .amount = need};
        return;
    }
    int first = (int)between(0, MACHINES - 1);
    create->share_count = (size_t)between(1, MACHINES);
    for (size_t i = 0; i < create->share_count; i++) {
        m->shares[i].machine = names[(first + (int)i) % MACHINES];
        m->shares[i].amount = (struct amount){between(0, 2), between(1, 4)};
    }
}

static void test_next_start_is_the_first_second_that_fits(void **state)
{
    (void)state;
    const char *text = getenv("TEST_SEED");
    uint64_t seed = text ? strtoull(text, NULL, 10) : 1;
    text = getenv("TEST_OPS");
    int64_t ops = text ? strtoll(text, NULL, 10) : DEFAULT_OPS, rejected = 0;
    print_message("TEST_SEED=%" PRIu64 " TEST_OPS=%" PRId64 "\n", seed, ops);
    rng = seed;
    struct world *world = NULL;
    for (int64_t op = 0; op < ops; op++) {
        if (op % 20 == 0) {
            world_free(world);
            world = world_new();
            world_batch_begin(world);
            fill(world);
        }
        struct message m;
        struct decision out;
        int64_t start_s = between(0, 30), length_s = between(1, 6), next_s = start_s;
        struct booking_create *create = message_init(&m, start_s, length_s);
        random_what(&m, create);
        /* Accepted requests are not kept. */
        while (!all_fit(create, next_s, length_s))
            next_s++;
        if (next_s == start_s)
            continue;
        decide(world, &m.submission, &out);
        if (out.reason != REASON_INSUFFICIENT_CAPACITY ||
            out.next_available_ms != (BASE_S + next_s) * 1000) {
            fail_msg("seed %" PRIu64 " op %" PRId64 ": %s, not second %" PRId64, seed, op,
                     out.detail, next_s);
        }
        rejected++;
    }
    world_free(world);
    assert_true(ops < 1000 || rejected > ops / 10);
}

/* Two machines busy in alternating seconds: no second is free on both, and each step of the search
 * advances by only one second. */
static void busy_in_turns(struct world *world, int64_t seconds)
{
    struct machine *machines[] = {put_machine(world, 1, (struct amount){1, 1}),
                                  put_machine(world, 2, (struct amount){1, 1})};
    for (int64_t s = 0; s < seconds; s++) {
        world_timeline_add(world, machines[s % 2], (BASE_S + s) * 1000, (BASE_S + s + 1) * 1000,
                           (struct amount){1, 1});
    }
}

static void decide_both(int64_t seconds, struct decision *out)
{
    struct world *world = world_new();
    struct message m;
    world_batch_begin(world);
    busy_in_turns(world, seconds);
    struct booking_create *create = message_init(&m, 0, 1);
    create->share_count = 2;
    m.shares[0] = (struct share){"m0", {1, 1}};
    m.shares[1] = (struct share){"m1", {1, 1}};
    decide(world, &m.submission, out);
    assert_int_equal(out->reason, REASON_INSUFFICIENT_CAPACITY);
    assert_int_equal(out->free_count, 2);
    assert_int_equal(out->frees[0].amount.gpus, 0);
    assert_int_equal(out->frees[1].amount.gpus, 1);
    if (out->next_available_ms == TIME_NONE)
        assert_non_null(strstr(out->detail, "bound of steps"));
    world_free(world);
}

static void test_search_is_bounded(void **state)
{
    (void)state;
    struct decision out;
    decide_both(LIMIT_SEARCH_STEPS, &out);
    assert_int_equal(out.next_available_ms, (BASE_S + LIMIT_SEARCH_STEPS) * 1000);
    decide_both(LIMIT_SEARCH_STEPS + 10, &out);
    assert_int_equal(out.next_available_ms, TIME_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_next_start_is_the_first_second_that_fits),
        cmocka_unit_test(test_search_is_bounded),
    };
    return cmocka_run_group_tests_name("next_start", tests, NULL, NULL);
}
