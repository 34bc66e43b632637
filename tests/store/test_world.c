/* Rows written and read back. */
#include "tests/store/store_env.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Text that a wrong character set or escape would damage. */
#define USER "al \xf0\x9f\x98\x80 '\\\"\x01\x7f%_"
#define RACK "\xc3\xa9 \"'\\"

static void register_two(struct batch *batch)
{
    struct request big = register_machine("gpu-01", 8, 512);
    static const struct label labels[] = {{"rack", RACK}, {"zone", "b"}};
    big.machine_register.labels = (struct labels){.count = 2, .items = labels};
    struct request small = register_machine("gpu-02", 4, 64);
    assert_int_equal(batch_decide(batch, "ops", "root", &big), REASON_NONE);
    assert_int_equal(batch_decide(batch, "ops", "root", &small), REASON_NONE);
}

static void write_world(void)
{
    struct batch batch;
    batch_open(&batch, &env.a, 1);
    batch_begin(&batch);
    register_two(&batch);
    const struct share shares[] = {{"gpu-02", {1, 8}}, {"gpu-01", {3, 100}}};
    struct request create = create_booking(shares, 2, NOW_MS + HOUR_MS, NOW_MS + 2 * HOUR_MS);
    assert_int_equal(batch_decide(&batch, "c1", USER, &create), REASON_NONE);
    batch_commit(&batch);
    batch_close(&batch);
}

static void check_machine(struct world *world)
{
    struct machine *machine = world_machine_by_name(world, "gpu-01");
    assert_int_equal(machine->id, 1 * 4096 + 1);
    assert_int_equal(machine->capacity.gpus, 8);
    assert_int_equal(machine->capacity.memory_gib, 512);
    assert_int_equal(machine->state, MACHINE_UP);
    assert_int_equal(machine->version, 2);
    assert_int_equal(machine->labels.count, 2);
    assert_string_equal(machine->labels.items[0].value, RACK);
    struct amount peak = timeline_peak(machine->timeline, NOW_MS, TIMELINE_FOREVER);
    assert_int_equal(peak.gpus, 3);
    assert_int_equal(peak.memory_gib, 100);
    assert_int_equal(timeline_use_at(machine->timeline, NOW_MS + 2 * HOUR_MS).gpus, 0);
}

static void check_bookings(struct world *world)
{
    struct id_list bookings = {0}, machines = {0};
    id_list_add(&bookings, 3 * 4096 + 1);
    id_list_add(&bookings, 99 * 4096 + 1); /* there is none */
    must(env.b.ops->machines_of_bookings(env.b.self, &bookings, &machines, &f));
    assert_int_equal(machines.count, 2);
    must(env.b.ops->lock_bookings(env.b.self, &bookings, world, &f));
    struct booking *booking = world_booking(world, 3 * 4096 + 1);
    assert_non_null(booking);
    assert_null(world_booking(world, 99 * 4096 + 1));
    assert_string_equal(booking->client, "c1");
    assert_string_equal(booking->user, USER);
    assert_int_equal(booking->start_ms, NOW_MS + HOUR_MS);
    assert_int_equal(booking->end_ms, NOW_MS + 2 * HOUR_MS);
    assert_int_equal(booking->state, BOOKING_BOOKED);
    assert_int_equal(booking->version, 1);
    assert_int_equal(booking->allocation_count, 2);
    assert_int_equal(booking->allocations[0].machine_id, 1 * 4096 + 1);
    assert_int_equal(booking->allocations[0].amount.gpus, 3);
    assert_int_equal(booking->allocations[0].machine_version, 2);
    assert_true(booking->allocations[0].live);

    id_list_clear(&bookings);
    must(env.b.ops->bookings_on_machines(env.b.self, &machines, NOW_MS + 2 * HOUR_MS - 1, &bookings,
                                         &f));
    assert_int_equal(bookings.count, 1);
    id_list_clear(&bookings);
    must(env.b.ops->bookings_on_machines(env.b.self, &machines, NOW_MS + 2 * HOUR_MS, &bookings,
                                         &f));
    assert_int_equal(bookings.count, 0);
    id_list_fini(&bookings);
    id_list_fini(&machines);
}

/* A second worker, with its own world, reads the first one's tables. */
static void test_round_trip(void **state)
{
    (void)state;
    struct batch batch;
    write_world();
    batch_open(&batch, &env.b, 1);
    assert_int_equal(batch.part.epoch, 2);
    assert_int_equal(batch.part.progress_epoch, 1);
    assert_int_equal(batch.part.last_seq, 3);
    assert_int_equal(batch.part.next_offset, 3);
    assert_int_equal(batch.part.clock_ms, NOW_MS);
    assert_true(batch.part.has_last_sha256);
    assert_int_equal(batch.part.last_sha256[31], 3);
    batch_begin(&batch);
    batch_take(&batch, (const char *const[]){"gpu-01", "gpu-02", "gpu-01"}, 2);
    check_machine(batch.world);
    check_bookings(batch.world);
    env.b.ops->rollback(env.b.self);
    batch_end(&batch, false);
    batch_close(&batch);
}

/* An amend and a cancel by a worker that reads the rows from the tables. */
static void test_update(void **state)
{
    (void)state;
    struct batch batch;
    batch_open(&batch, &env.a, 0);
    batch_begin(&batch);
    register_two(&batch);
    const struct share shares[] = {{"gpu-01", {2, 10}}};
    struct request create = create_booking(shares, 1, NOW_MS, NOW_MS + 2 * HOUR_MS);
    for (int i = 0; i < 2; i++)
        assert_int_equal(batch_decide(&batch, "c1", "u", &create), REASON_NONE);
    batch_commit(&batch);

    batch_begin(&batch);
    batch_take(&batch, (const char *const[]){"gpu-01", "gpu-02"}, 2);
    struct id_list bookings = {0};
    id_list_add(&bookings, 3 * 4096);
    id_list_add(&bookings, 4 * 4096);
    must(env.a.ops->lock_bookings(env.a.self, &bookings, batch.world, &f));
    const struct share moved[] = {{"gpu-02", {4, 1}}};
    struct request amend = {.type = REQUEST_BOOKING_AMEND,
                            .booking_amend = {.booking = 3 * 4096,
                                              .start_ms = NOW_MS + HOUR_MS,
                                              .end_ms = TIME_NONE,
                                              .has_shares = true,
                                              .share_count = 1,
                                              .shares = moved}};
    struct request cancel = {.type = REQUEST_BOOKING_CANCEL,
                             .booking_cancel = {.booking = 4 * 4096}};
    enum reason reason = batch_decide(&batch, "c1", "u", &amend);
    assert_true(reason == REASON_NONE || reason == REASON_START_IN_PAST ||
                reason == REASON_INVALID_REQUEST);
    assert_int_equal(batch_decide(&batch, "c1", "u", &cancel), REASON_NONE);
    batch_commit(&batch);
    assert_int_equal(admin_int("SELECT COUNT(*) FROM booking WHERE id = 4 * 4096 AND version = 2 "
                               "AND state <> 'booked'"),
                     1);
    assert_int_equal(admin_int("SELECT COUNT(*) FROM allocation WHERE booking = 4 * 4096 AND "
                               "live = 1 AND end_ms > 1796083200000"),
                     0);
    assert_int_equal(admin_int("SELECT version FROM machine WHERE name = 'gpu-01'"),
                     reason == REASON_NONE ? 5 : 4);
    id_list_fini(&bookings);
    batch_close(&batch);
}

struct seen {
    size_t count;
    int64_t last_seq;
    const char *expected;
    size_t expected_len;
    size_t stop_after;
};

static enum err see(void *arg, const struct stored_event *event, struct failure *f)
{
    struct seen *seen = arg;
    assert_int_equal(event->seq, seen->last_seq + 1);
    seen->last_seq = event->seq;
    seen->count++;
    if (seen->expected && event->seq == 1) {
        assert_int_equal(event->event_len, seen->expected_len);
        assert_memory_equal(event->event, seen->expected, seen->expected_len);
    }
    if (seen->count == seen->stop_after)
        return failure_set(f, ERR_LOG_FULL, "enough");
    return ERR_OK;
}

/* The longest event, with every byte, escaped to twice its length; then another event. */
static void test_big_event(void **state)
{
    (void)state;
    size_t len = LIMIT_EVENT_LEN;
    char *event = malloc(len);
    struct batch batch;
    batch_open(&batch, &env.a, 0);
    for (int all_quotes = 0; all_quotes < 2; all_quotes++) {
        for (size_t i = 0; i < len; i++)
            event[i] = all_quotes ? '\'' : (char)(unsigned char)(i * 7 + i / 256);
        env_reset(NULL);
        must(env.a.ops->claim(env.a.self, 0, "test", &batch.part, &f));
        batch_begin(&batch);
        batch.event = event;
        batch.event_len = len;
        struct request machine = register_machine("m", 1, 1);
        for (int i = 0; i < 5; i++)
            batch_decide(&batch, "ops", "root", &machine);
        batch_commit(&batch);
        world_free(batch.world);
        batch.world = world_new();
        struct seen seen = {.expected = event, .expected_len = len};
        must(env.a.ops->outbox(env.a.self, 0, 0, 100, see, &seen, &f));
        assert_int_equal(seen.count, 5);
    }
    batch_close(&batch);
    free(event);
}

static void test_outbox(void **state)
{
    (void)state;
    struct batch batch;
    batch_open(&batch, &env.a, 2);
    batch_begin(&batch);
    struct request machine = register_machine("m", 1, 1);
    for (int i = 0; i < 10; i++)
        batch_decide(&batch, "ops", "root", &machine);
    batch_commit(&batch);
    batch_close(&batch);
    struct seen seen = {.last_seq = 4};
    must(env.a.ops->outbox(env.a.self, 2, 4, 3, see, &seen, &f));
    assert_int_equal(seen.count, 3);
    seen = (struct seen){.last_seq = 0, .stop_after = 2};
    must_fail(env.a.ops->outbox(env.a.self, 2, 0, 100, see, &seen, &f), ERR_LOG_FULL);
    /* The session is usable for the next statement. */
    seen = (struct seen){.last_seq = 10};
    must(env.a.ops->outbox(env.a.self, 2, 10, 100, see, &seen, &f));
    assert_int_equal(seen.count, 0);
    must(env.a.ops->set_published(env.a.self, 2, 1, 7, &f));
    must(env.a.ops->set_published(env.a.self, 2, 1, 5, &f));
    struct partition_row row;
    must(env.a.ops->partition(env.a.self, 2, &row, &f));
    assert_int_equal(row.published_seq, 7);
}

static void test_priors(void **state)
{
    (void)state;
    struct batch batch;
    batch_open(&batch, &env.a, 0);
    batch_begin(&batch);
    char names[1200][16];
    batch.event = "{\"n\":1}";
    batch.event_len = 7;
    struct request machine = register_machine("m", 1, 1);
    for (int i = 0; i < 1200; i++)
        batch_decide(&batch, i % 3 ? "c1" : "c2", "u", &machine);
    batch_commit(&batch);
    struct request_ref refs[1202];
    for (int i = 0; i < 1200; i++) {
        snprintf(names[i], sizeof(names[i]), "r-0-%d", i + 1);
        refs[i] = (struct request_ref){.client = i % 3 ? "c1" : "c2", .request_id = names[i]};
    }
    refs[1200] = (struct request_ref){.client = "c3", .request_id = "r-0-1"};
    refs[1201] = (struct request_ref){.client = "c1", .request_id = "R-0-2"};
    batch_begin(&batch);
    must(env.a.ops->find_priors(env.a.self, refs, 1202, batch.world, &f));
    for (int i = 0; i < 1200; i++) {
        const struct prior *prior = world_prior(batch.world, refs[i].client, refs[i].request_id);
        assert_non_null(prior);
        assert_int_equal(prior->seq, i + 1);
        assert_int_equal(prior->reason, i == 0 ? REASON_NONE : REASON_MACHINE_EXISTS);
        assert_int_equal(prior->content_sha256[2], 3);
        assert_string_equal(prior->event, "{\"n\":1}");
    }
    assert_null(world_prior(batch.world, "c3", "r-0-1"));
    assert_null(world_prior(batch.world, "c1", "R-0-2"));
    env.a.ops->rollback(env.a.self);
    batch_end(&batch, false);
    batch_close(&batch);
}

enum { SPEED_BATCH = 2000, SPEED_ROUNDS = 10, SPEED_MACHINES = 1000 };
static char speed_names[SPEED_MACHINES][16];
static const char *speed_list[SPEED_MACHINES];

static void register_speed_machines(struct batch *batch)
{
    batch_begin(batch);
    for (int i = 0; i < SPEED_MACHINES; i++) {
        snprintf(speed_names[i], sizeof(speed_names[i]), "node-%04d", i);
        speed_list[i] = speed_names[i];
        struct request machine = register_machine(speed_names[i], 8, 512);
        assert_int_equal(batch_decide(batch, "ops", "u", &machine), REASON_NONE);
    }
    batch_commit(batch);
}

/* Seconds since the last call. */
static double lap(void)
{
    static struct timespec last;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    double seconds = (double)(now.tv_sec - last.tv_sec) +
                     (double)(now.tv_nsec - last.tv_nsec) / 1e9;
    last = now;
    return seconds;
}

/* A measurement: fails only if a write fails. */
static void test_speed(void **state)
{
    (void)state;
    struct batch batch;
    batch_open(&batch, &env.a, 0);
    register_speed_machines(&batch);
    char event[640];
    memset(event, 'e', sizeof(event));
    for (size_t i = 0; i < sizeof(event); i += 8)
        event[i] = '"';
    batch.event = event;
    batch.event_len = sizeof(event);
    double seconds[3] = {0};
    for (int round = 0; round < SPEED_ROUNDS; round++) {
        lap();
        batch_begin(&batch);
        batch_take(&batch, speed_list, SPEED_MACHINES);
        seconds[0] += lap();
        for (int i = 0; i < SPEED_BATCH; i++) {
            struct share *share = arena_alloc(world_arena(batch.world), sizeof(*share));
            *share = (struct share){speed_names[(i * 7 + round) % SPEED_MACHINES], {1, 8}};
            int64_t start = NOW_MS + (round + 1) * HOUR_MS;
            struct request create = create_booking(share, 1, start, start + HOUR_MS);
            assert_int_equal(batch_decide(&batch, "c1", "u", &create), REASON_NONE);
        }
        lap();
        must(batch_write(&batch, &f));
        seconds[1] += lap();
        must(env.a.ops->commit(env.a.self, &f));
        batch_end(&batch, true);
        seconds[2] += lap();
    }
    double total = seconds[0] + seconds[1] + seconds[2];
    printf("# %d decisions with booking and allocation on %d machines: %.0f decisions/s "
           "(lock and load %.3f s, write %.3f s, commit %.3f s)\n",
           SPEED_BATCH * SPEED_ROUNDS, SPEED_MACHINES, SPEED_BATCH * SPEED_ROUNDS / total,
           seconds[0], seconds[1], seconds[2]);
    batch_close(&batch);
}

#define TEST(name) cmocka_unit_test_setup(name, env_reset)
const struct CMUnitTest world_tests[] = {
    TEST(test_round_trip), TEST(test_update), TEST(test_big_event),
    TEST(test_outbox),     TEST(test_priors), TEST(test_speed),
};
const size_t world_test_count = sizeof(world_tests) / sizeof(world_tests[0]);
