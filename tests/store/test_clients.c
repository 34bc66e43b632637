/* Clients with limits, the machines found for `any`, and series of bookings. */
#include "tests/store/store_env.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPS(store)  (store)->ops
#define SELF(store) (store)->self

static const struct client_limits eight = {.gpus_at_once = 8};

static bool has_id(const struct id_list *list, int64_t id)
{
    for (size_t i = 0; i < list->count; i++) {
        if (list->ids[i] == id)
            return true;
    }
    return false;
}

static void add_clients(int count)
{
    char sql[128];
    for (int i = 0; i < count; i++) {
        snprintf(sql, sizeof(sql),
                 "INSERT INTO client (name, role, added_at_ms) VALUES ('c%d', 'submitter', 1)", i);
        admin_run(sql);
    }
}

static int64_t client_version(const char *name)
{
    char sql[128];
    snprintf(sql, sizeof(sql), "SELECT version FROM client WHERE name = '%s'", name);
    return admin_int(sql);
}

/* --- limits --- */

static void see_client(void *arg, const struct client_row *row)
{
    int *count = arg;
    int n = (*count)++;
    char name[16];
    snprintf(name, sizeof(name), "c%d", n);
    assert_string_equal(row->name, name);
    assert_int_equal(row->role, n == 2 ? ROLE_ADMIN : ROLE_SUBMITTER);
    assert_int_equal(row->limits.booking_s, n == 1 ? 60 : 3600);
    assert_int_equal(row->limits.ahead_s, n == 1 ? 7 : 0);
    assert_int_equal(row->limits.allocations, 5);
    assert_int_equal(row->limits.gpus_at_once, n == 1 ? 900 : 16);
    assert_int_equal(row->limits.gpu_hours_ahead, n == 1 ? INT64_C(1) << 40 : 0);
}

/* A client's own limit applies, or else the farm's. */
static void test_limits(void **state)
{
    (void)state;
    int count = 0;
    add_clients(3);
    admin_run("UPDATE client SET role = 'admin' WHERE name = 'c2'");
    admin_run("UPDATE farm SET booking_s = 3600, allocations = 5, gpus_at_once = 16");
    admin_run("UPDATE client SET booking_s = 60, ahead_s = 7, gpus_at_once = 900, "
              "gpu_hours_ahead = 1099511627776 WHERE name = 'c1'");
    must(OPS(&env.a)->clients(SELF(&env.a), see_client, &count, &f));
    assert_int_equal(count, 3);
}

static struct request create_for(const char *machine, int64_t gpus, int64_t hour)
{
    struct share *share = calloc(1, sizeof(*share));
    *share = (struct share){machine, {gpus, 1}};
    return create_booking(share, 1, NOW_MS + hour * HOUR_MS, NOW_MS + (hour + 1) * HOUR_MS);
}

static enum reason book(struct batch *batch, const char *client, int64_t gpus, int64_t hour)
{
    struct request create = create_for("m", gpus, hour);
    enum reason reason = batch_decide(batch, client, "u", &create);
    free((void *)(uintptr_t)create.booking_create.shares);
    return reason;
}

static void add_machine(void)
{
    struct batch batch;
    batch_open(&batch, &env.a, 0);
    batch_begin(&batch);
    struct request machine = register_machine("m", 100, 1000);
    assert_int_equal(batch_decide(&batch, "ops", "u", &machine), REASON_NONE);
    batch_commit(&batch);
    batch_close(&batch);
}

/* Bookings and releases by one worker count for the next worker, through the tables. */
static void test_counted(void **state)
{
    (void)state;
    struct batch a, b;
    add_clients(2);
    add_machine();
    batch_open(&a, &env.a, 1);
    batch_begin(&a);
    batch_take_client(&a, "c1", &eight);
    batch_take(&a, (const char *const[]){"m"}, 1);
    assert_int_equal(book(&a, "c1", 5, 1), REASON_NONE);
    assert_int_equal(book(&a, "c1", 3, 1), REASON_NONE);
    assert_int_equal(book(&a, "c1", 1, 1), REASON_LIMIT_EXCEEDED);
    assert_int_equal(book(&a, "c0", 50, 1), REASON_NONE); /* without counted limits */
    batch_commit(&a);
    assert_int_equal(client_version("c1"), 3);
    assert_int_equal(client_version("c0"), 1);

    batch_open(&b, &env.b, 2);
    batch_begin(&b);
    batch_take_client(&b, "c1", &eight);
    assert_int_equal(world_client(b.world, "c1")->version, 3);
    assert_int_equal(quota_peak(world_client(b.world, "c1"), NOW_MS, NOW_MS + 9 * HOUR_MS), 8);
    assert_true(quota_ahead(world_client(b.world, "c1"), NOW_MS) == 8 * HOUR_MS);
    batch_take(&b, (const char *const[]){"m"}, 1);
    struct id_list bookings = {0};
    id_list_add(&bookings, 1 * 4096 + 1);
    must(OPS(&env.b)->lock_bookings(SELF(&env.b), &bookings, b.world, &f));
    struct request cancel = {.type = REQUEST_BOOKING_CANCEL,
                             .booking_cancel = {.booking = 1 * 4096 + 1}};
    assert_int_equal(batch_decide(&b, "c1", "u", &cancel), REASON_NONE);
    assert_int_equal(book(&b, "c1", 6, 1), REASON_LIMIT_EXCEEDED);
    assert_int_equal(book(&b, "c1", 5, 1), REASON_NONE);
    batch_commit(&b);
    assert_int_equal(client_version("c1"), 5);
    id_list_fini(&bookings);

    /* The first worker's timeline is of an older version. */
    batch_begin(&a);
    assert_int_equal(!world_client(a.world, "c1"), true);
    batch_take_client(&a, "c1", &eight);
    batch_take(&a, (const char *const[]){"m"}, 1);
    assert_int_equal(book(&a, "c1", 1, 1), REASON_LIMIT_EXCEEDED);
    assert_int_equal(book(&a, "c1", 8, 2), REASON_NONE);
    batch_commit(&a);
    batch_close(&a);
    batch_close(&b);
}

/* --- locks of clients --- */

static struct client *client_list(int first, int step, int count)
{
    struct client *clients = calloc((size_t)count, sizeof(*clients));
    for (int i = 0; i < count; i++)
        snprintf(clients[i].name, sizeof(clients[i].name), "k%03d", first + i * step);
    return clients;
}

static void add_many(int count)
{
    char sql[128];
    for (int i = 0; i < count; i++) {
        snprintf(sql, sizeof(sql),
                 "INSERT INTO client (name, role, added_at_ms) VALUES ('k%03d', 'submitter', 1)",
                 (i * 7) % count);
        admin_run(sql);
    }
}

/* A batch holds the row until its end; rows not named by the batch stay unlocked, even in a table
 * as small as this one. */
static void test_lock(void **state)
{
    (void)state;
    add_many(20);
    struct client *even = client_list(0, 2, 10), *odd = client_list(1, 2, 10);
    struct world *a = world_new(), *b = world_new();
    world_batch_begin(a);
    world_batch_begin(b);
    must(OPS(&env.a)->begin(SELF(&env.a), &f));
    must(OPS(&env.b)->begin(SELF(&env.b), &f));
    must(OPS(&env.a)->lock_clients(SELF(&env.a), even, 10, a, &f));
    must(OPS(&env.b)->lock_clients(SELF(&env.b), odd, 10, b, &f));
    must(OPS(&env.b)->find_clients(SELF(&env.b), even, 10, b, &f));
    must_fail(OPS(&env.b)->lock_clients(SELF(&env.b), even + 4, 1, b, &f), ERR_DB_LOCK_TIMEOUT);
    OPS(&env.a)->rollback(SELF(&env.a));
    OPS(&env.b)->rollback(SELF(&env.b));
    world_free(a);
    world_free(b);
    free(even);
    free(odd);
}

/* Writing a client's version does not wait for another client's row, locked by another batch. */
static void test_write_beside(void **state)
{
    (void)state;
    add_clients(3);
    add_machine();
    struct batch a;
    struct world *b = world_new();
    struct client other = {.name = "c2"};
    batch_open(&a, &env.a, 1);
    world_batch_begin(b);
    must(OPS(&env.b)->begin(SELF(&env.b), &f));
    must(OPS(&env.b)->lock_clients(SELF(&env.b), &other, 1, b, &f));
    batch_begin(&a);
    batch_take_client(&a, "c1", &eight);
    batch_take(&a, (const char *const[]){"m"}, 1);
    assert_int_equal(book(&a, "c1", 5, 1), REASON_NONE);
    batch_commit(&a);
    OPS(&env.b)->rollback(SELF(&env.b));
    assert_int_equal(client_version("c1"), 2);
    assert_int_equal(client_version("c2"), 1);
    world_free(b);
    batch_close(&a);
}

struct locker {
    struct store *store;
    struct client *clients;
    size_t count;
    enum err err;
};

static void *lock_many(void *arg)
{
    enum { ROUNDS = 30 };
    struct locker *locker = arg;
    for (int round = 0; round < ROUNDS && !locker->err; round++) {
        struct world *world = world_new();
        world_batch_begin(world);
        locker->store->ops->begin(locker->store->self, NULL);
        locker->err = locker->store->ops->lock_clients(locker->store->self, locker->clients,
                                                       locker->count, world, NULL);
        locker->store->ops->rollback(locker->store->self);
        world_free(world);
    }
    return NULL;
}

/* More clients than fit one statement, locked by two sessions: no deadlock. */
static void test_lock_order(void **state)
{
    (void)state;
    add_many(600);
    struct locker lockers[2] = {{.store = &env.a, .clients = client_list(0, 1, 600), .count = 600},
                                {.store = &env.b, .clients = client_list(0, 3, 200), .count = 200}};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, lock_many, &lockers[i]), 0);
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(lockers[i].err, ERR_OK);
        free(lockers[i].clients);
    }
}

/* --- any --- */

static void register_with(struct batch *batch, const char *name, const struct label *labels,
                          size_t count)
{
    struct request machine = register_machine(name, 8, 64);
    machine.machine_register.labels = (struct labels){.count = count, .items = labels};
    assert_int_equal(batch_decide(batch, "ops", "u", &machine), REASON_NONE);
}

static void check_matching(const struct label *labels, size_t count, const char *const *names)
{
    struct world *world = world_new();
    struct id_list ids = {0};
    size_t found = 0, expected = 0;
    struct labels wanted = {.count = count, .items = labels};
    world_batch_begin(world);
    must(OPS(&env.b)->machines_matching(SELF(&env.b), &wanted, world, &ids, &f));
    while (names[expected])
        expected++;
    assert_int_equal(ids.count, expected);
    struct machine **machines = world_machines_matching(world, &wanted, &found);
    assert_int_equal(found, expected);
    for (size_t i = 0; i < found; i++) {
        assert_string_equal(machines[i]->name, names[i]);
        assert_true(has_id(&ids, machines[i]->id));
    }
    id_list_fini(&ids);
    world_free(world);
    mysql_session_rollback(env.admin);
}

/* Values that resemble the column's text, or a LIKE pattern. */
static void test_matching(void **state)
{
    (void)state;
    static const struct label a[] = {{"gpu", "a100"}, {"rack", "r\"1\\"}, {"zone", "\xc3\xa9%_"}};
    static const struct label b[] = {{"gpu", "a1000"}, {"rack", "r\"1\\"}};
    static const struct label c[] = {{"gpu", "A100"}, {"note", "\"gpu\":\"a100\""}};
    static const struct label d[] = {{"gpu", "a100"}};
    struct batch batch;
    batch_open(&batch, &env.a, 0);
    batch_begin(&batch);
    register_with(&batch, "a", a, 3);
    register_with(&batch, "b", b, 2);
    register_with(&batch, "c", c, 2);
    register_with(&batch, "d", d, 1);
    register_with(&batch, "e", NULL, 0);
    struct request drain = {
        .type = REQUEST_MACHINE_UPDATE,
        .machine_update = {.machine = "d", .has_state = true, .state = MACHINE_DRAINING}};
    assert_int_equal(batch_decide(&batch, "ops", "u", &drain), REASON_NONE);
    batch_commit(&batch);
    batch_close(&batch);
    check_matching(NULL, 0, (const char *const[]){"a", "b", "c", "e", NULL});
    check_matching(&a[0], 1, (const char *const[]){"a", NULL});
    check_matching(&a[1], 1, (const char *const[]){"a", "b", NULL});
    check_matching(&a[2], 1, (const char *const[]){"a", NULL});
    check_matching(a, 3, (const char *const[]){"a", NULL});
    check_matching(&c[1], 1, (const char *const[]){"c", NULL});
    check_matching(b, 2, (const char *const[]){"b", NULL});
    check_matching(&(struct label){"gpu", "100"}, 1, (const char *const[]){NULL});
}

/* --- series --- */

static void see_name(void *arg, const char *name)
{
    int *count = arg;
    assert_string_equal(name, "c1");
    (*count)++;
}

static void create_series(struct batch *batch, const struct window *windows, size_t count)
{
    static const struct share share = {"m", {4, 1}};
    struct request create = create_booking(&share, 1, windows[0].start_ms, windows[0].end_ms);
    create.booking_create.window_count = count;
    create.booking_create.windows = windows;
    create.booking_create.skip_conflicts = true;
    assert_int_equal(batch_decide(batch, "c1", "u", &create), REASON_NONE);
}

/* A series' bookings are found by their computed ids, without the skipped occurrences; a cancel
 * ends all of them. */
static void test_series(void **state)
{
    (void)state;
    enum { DAYS = 366 };
    static struct window windows[DAYS];
    for (int k = 0; k < DAYS; k++) {
        windows[k] = (struct window){NOW_MS + (24 * k + 1) * HOUR_MS,
                                     NOW_MS + (24 * k + 3) * HOUR_MS};
    }
    struct batch batch;
    struct id_list found = {0}, machines = {0};
    int names = 0;
    add_machine();
    batch_open(&batch, &env.b, 3);
    batch_begin(&batch);
    batch_take(&batch, (const char *const[]){"m"}, 1);
    assert_int_equal(book(&batch, "c1", 98, 24 * 2 + 2), REASON_NONE); /* meets the third */
    create_series(&batch, windows, DAYS);
    batch_commit(&batch);
    int64_t series = 2 * 4096 + 3;
    assert_int_equal(admin_int("SELECT COUNT(*) FROM booking WHERE series = 2 * 4096 + 3"),
                     DAYS - 1);
    assert_int_equal(admin_int("SELECT COUNT(*) FROM booking WHERE series IS NULL"), 1);

    must(OPS(&env.b)->bookings_of_series(SELF(&env.b), series, &found, &f));
    assert_int_equal(found.count, DAYS - 1);
    assert_int_equal(found.ids[0], series);
    assert_false(has_id(&found, ((INT64_C(2) << 32) + 2) * 4096 + 3));
    must(OPS(&env.b)->clients_of_bookings(SELF(&env.b), &found, see_name, &names, &f));
    assert_int_equal(names, 1);
    must(OPS(&env.b)->machines_of_bookings(SELF(&env.b), &found, &machines, &f));
    assert_int_equal(machines.count, 1);

    batch_begin(&batch);
    batch_take(&batch, (const char *const[]){"m"}, 1);
    must(OPS(&env.b)->lock_bookings(SELF(&env.b), &found, batch.world, &f));
    assert_int_equal(world_booking(batch.world, found.ids[1])->series, series);
    struct request cancel = {.type = REQUEST_BOOKING_CANCEL,
                             .booking_cancel = {.booking = series, .series = true}};
    assert_int_equal(batch_decide(&batch, "c1", "u", &cancel), REASON_NONE);
    batch_commit(&batch);
    assert_int_equal(admin_int("SELECT COUNT(*) FROM booking WHERE series = 2 * 4096 + 3 "
                               "AND state = 'cancelled'"),
                     DAYS - 1);
    id_list_fini(&found);
    id_list_fini(&machines);
    batch_close(&batch);
}

static void test_no_series(void **state)
{
    (void)state;
    const int64_t ids[] = {0, -1, 4095, 4096, 1 * 4096 + 1, INT64_C(1) << 45, INT64_MAX};
    struct batch batch;
    struct id_list found = {0};
    add_machine();
    batch_open(&batch, &env.a, 1);
    batch_begin(&batch);
    batch_take(&batch, (const char *const[]){"m"}, 1);
    assert_int_equal(book(&batch, "c1", 1, 1),
                     REASON_NONE); /* booking 1 * 4096 + 1: without a series */
    batch_commit(&batch);
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
        must(OPS(&env.a)->bookings_of_series(SELF(&env.a), ids[i], &found, &f));
    assert_int_equal(found.count, 0);
    id_list_fini(&found);
    batch_close(&batch);
}

#define TEST(name) cmocka_unit_test_setup(name, env_reset)
const struct CMUnitTest client_tests[] = {
    TEST(test_limits),     TEST(test_counted),  TEST(test_lock),   TEST(test_write_beside),
    TEST(test_lock_order), TEST(test_matching), TEST(test_series), TEST(test_no_series),
};
const size_t client_test_count = sizeof(client_tests) / sizeof(client_tests[0]);
