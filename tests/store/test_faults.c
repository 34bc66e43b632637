/* Conflicts between two sessions, and sessions that end. */
#include "tests/store/store_env.h"

#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Two partitions register the same name: the second gets a duplicate key. */
static void race(const char *name_a, int64_t id_a, const char *name_b, int64_t id_b)
{
    struct batch a, b;
    batch_open(&a, &env.a, 0);
    batch_open(&b, &env.b, 1);
    batch_begin(&a);
    batch_begin(&b);
    struct request first = register_machine(name_a, 8, 64);
    first.machine_register.id = id_a;
    struct request second = register_machine(name_b, 1, 1);
    second.machine_register.id = id_b;
    assert_int_equal(batch_decide(&a, "ops", "u", &first), REASON_NONE);
    assert_int_equal(batch_decide(&b, "ops", "u", &second), REASON_NONE);
    batch_commit(&a);
    must_fail(batch_write(&b, &f), ERR_DB_DUPLICATE);
    env.b.ops->rollback(env.b.self);
    batch_end(&b, false);
    assert_int_equal(admin_int("SELECT COUNT(*) FROM machine WHERE gpus = 8"), 1);
    assert_int_equal(admin_int("SELECT COUNT(*) FROM machine"), 1);
    assert_int_equal(admin_int("SELECT COUNT(*) FROM decision"), 1);
    batch_close(&a);
    batch_close(&b);
}

static void test_duplicate_name(void **state)
{
    (void)state;
    race("gpu-01", 0, "gpu-01", 0);
}

static void test_duplicate_id(void **state)
{
    (void)state;
    race("gpu-01", 7, "gpu-02", 7);
}

/* Names that differ by case are two machines. */
static void test_case(void **state)
{
    (void)state;
    struct batch batch;
    batch_open(&batch, &env.a, 0);
    batch_begin(&batch);
    struct request lower = register_machine("gpu", 1, 1), upper = register_machine("GPU", 2, 2);
    assert_int_equal(batch_decide(&batch, "ops", "u", &lower), REASON_NONE);
    assert_int_equal(batch_decide(&batch, "ops", "u", &upper), REASON_NONE);
    batch_commit(&batch);
    batch_begin(&batch);
    batch_take(&batch, (const char *const[]){"gpu", "GPU"}, 2);
    assert_int_equal(world_machine_by_name(batch.world, "GPU")->capacity.gpus, 2);
    env.a.ops->rollback(env.a.self);
    batch_end(&batch, false);
    batch_close(&batch);
}

static void make_machines(int count)
{
    struct batch batch;
    batch_open(&batch, &env.a, 0);
    batch_begin(&batch);
    char name[16];
    for (int i = 0; i < count; i++) {
        snprintf(name, sizeof(name), "m%d", i);
        struct request machine = register_machine(name, 1, 1);
        machine.machine_register.id = i + 1;
        assert_int_equal(batch_decide(&batch, "ops", "u", &machine), REASON_NONE);
    }
    batch_commit(&batch);
    batch_close(&batch);
}

static enum err lock_one(struct store *store, struct world *world, int64_t id, struct failure *f)
{
    struct id_list ids = {0};
    id_list_add(&ids, id);
    enum err err = store->ops->lock_machines(store->self, &ids, world, f);
    id_list_fini(&ids);
    return err;
}

static void test_lock_timeout(void **state)
{
    (void)state;
    make_machines(1);
    struct world *a = world_new(), *b = world_new();
    must(env.a.ops->begin(env.a.self, &f));
    must(env.b.ops->begin(env.b.self, &f));
    must(lock_one(&env.a, a, 1, &f));
    must_fail(lock_one(&env.b, b, 1, &f), ERR_DB_LOCK_TIMEOUT);
    env.a.ops->rollback(env.a.self);
    env.b.ops->rollback(env.b.self);
    world_free(a);
    world_free(b);
}

struct locker {
    struct store *store;
    struct world *world;
    int64_t id;
    enum err err;
};

static void *lock_in_thread(void *arg)
{
    struct locker *locker = arg;
    locker->err = lock_one(locker->store, locker->world, locker->id, NULL);
    return NULL;
}

/* Locks taken out of order: one of the two sessions gets the deadlock. */
static void test_deadlock(void **state)
{
    (void)state;
    make_machines(2);
    struct world *a = world_new(), *b = world_new();
    must(env.a.ops->begin(env.a.self, &f));
    must(env.b.ops->begin(env.b.self, &f));
    must(lock_one(&env.a, a, 1, &f));
    must(lock_one(&env.b, b, 2, &f));
    struct locker locker = {.store = &env.b, .world = b, .id = 1};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, lock_in_thread, &locker), 0);
    enum err err = lock_one(&env.a, a, 2, NULL);
    /* The winner gets its lock after the loser's rollback, by itself or by the server. */
    env.a.ops->rollback(env.a.self);
    pthread_join(thread, NULL);
    assert_true((err == ERR_DB_DEADLOCK) != (locker.err == ERR_DB_DEADLOCK));
    assert_true(err == ERR_OK || locker.err == ERR_OK);
    env.b.ops->rollback(env.b.self);
    world_free(a);
    world_free(b);
}

/* Two sessions lock many machines from lists in opposite orders. */
#define ROUNDS 30
static void *lock_many(void *arg)
{
    struct locker *locker = arg;
    struct id_list ids = {0};
    for (int64_t i = 0; i < 300; i++)
        id_list_add(&ids, locker->id > 0 ? 1 + i : 300 - i);
    for (int round = 0; round < ROUNDS && !locker->err; round++) {
        locker->store->ops->begin(locker->store->self, NULL);
        locker->err = locker->store->ops->lock_machines(locker->store->self, &ids, locker->world,
                                                        NULL);
        locker->store->ops->rollback(locker->store->self);
    }
    id_list_fini(&ids);
    return NULL;
}

static void test_lock_order(void **state)
{
    (void)state;
    make_machines(300);
    struct locker lockers[2] = {{.store = &env.a, .world = world_new(), .id = 1},
                                {.store = &env.b, .world = world_new(), .id = 0}};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, lock_many, &lockers[i]), 0);
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(lockers[i].err, ERR_OK);
        world_free(lockers[i].world);
    }
}

/* A batch locks only the rows that it names, however large its share of the table. */
static void test_disjoint_locks(void **state)
{
    (void)state;
    make_machines(20);
    const int32_t most[] = {0, 1, 3}, rest[] = {2};
    struct partition_row rows[3];
    struct farm_row farm;
    struct id_list odd = {0}, even = {0};
    for (int64_t id = 1; id <= 20; id++)
        id_list_add(id % 2 ? &odd : &even, id);
    struct world *a = world_new(), *b = world_new();
    must(env.a.ops->begin(env.a.self, &f));
    must(env.b.ops->begin(env.b.self, &f));
    must(env.a.ops->lock_partitions(env.a.self, most, 3, rows, &farm, &f));
    must(env.b.ops->lock_partitions(env.b.self, rest, 1, rows, &farm, &f));
    must(env.a.ops->lock_machines(env.a.self, &odd, a, &f));
    must(env.b.ops->lock_machines(env.b.self, &even, b, &f));
    env.a.ops->rollback(env.a.self);
    must(env.b.ops->lock_partitions(env.b.self, most, 3, rows, &farm, &f));
    env.b.ops->rollback(env.b.self);
    id_list_fini(&odd);
    id_list_fini(&even);
    world_free(a);
    world_free(b);
}

/* --- sessions that end --- */

static void test_killed_between(void **state)
{
    (void)state;
    struct batch batch;
    batch_open(&batch, &env.a, 0);
    batch_begin(&batch);
    struct request machine = register_machine("m", 1, 1);
    batch_decide(&batch, "ops", "u", &machine);
    must(batch_write(&batch, &f));
    admin_kill(&env.a);
    struct id_list none = {0};
    id_list_add(&none, 1);
    must_fail(env.a.ops->lock_bookings(env.a.self, &none, batch.world, &f), ERR_DB_CONNECTION);
    env.a.ops->rollback(env.a.self);
    id_list_fini(&none);
    batch_end(&batch, false);
    batch_close(&batch);
    assert_int_equal(admin_int("SELECT COUNT(*) FROM decision"), 0);
    struct partition_row row;
    must_fail(env.a.ops->partition(env.a.self, 0, &row, &f), ERR_DB_CONNECTION);
    must(env.a.ops->connect(env.a.self, &f));
    must(env.a.ops->partition(env.a.self, 0, &row, &f));
}

static void test_commit_unknown(void **state)
{
    (void)state;
    struct batch batch;
    batch_open(&batch, &env.a, 0);
    batch_begin(&batch);
    struct request machine = register_machine("m", 1, 1);
    batch_decide(&batch, "ops", "u", &machine);
    must(batch_write(&batch, &f));
    admin_kill(&env.a);
    must_fail(env.a.ops->commit(env.a.self, &f), ERR_DB_COMMIT_UNKNOWN);
    env.a.ops->rollback(env.a.self);
    must(env.a.ops->connect(env.a.self, &f));
    struct partition_row row;
    must(env.a.ops->partition(env.a.self, 0, &row, &f));
    assert_int_equal(row.last_seq, 0);
    batch_end(&batch, false);
    batch_close(&batch);
}

/* A failed load must not leave a timeline that looks complete. */
static void test_load_fails(void **state)
{
    (void)state;
    make_machines(3);
    struct world *world = world_new();
    must(env.b.ops->begin(env.b.self, &f));
    must(env.b.ops->find_machines(env.b.self, (const char *const[]){"m0", "m1"}, 2, world, &f));
    struct machine *machines[2] = {world_machine_by_name(world, "m0"),
                                   world_machine_by_name(world, "m1")};
    admin_kill(&env.b);
    must_fail(env.b.ops->load_timelines(env.b.self, world, machines, 2, NOW_MS, &f),
              ERR_DB_CONNECTION);
    assert_null(machines[0]->timeline);
    assert_null(machines[1]->timeline);
    env.b.ops->rollback(env.b.self);
    world_free(world);
}

/* Forwards one connection to the server, until it stalls with both ends open. */
struct relay {
    int listener, port;
    atomic_bool still, over;
};

static int connect_upstream(void)
{
    char port[16];
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *found = NULL;
    snprintf(port, sizeof(port), "%d", (int)env.settings.port);
    if (getaddrinfo(env.settings.host, port, &hints, &found))
        return -1;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    bool connected = connect(fd, found->ai_addr, found->ai_addrlen) == 0;
    freeaddrinfo(found);
    return connected ? fd : -1;
}

static void *relay_run(void *arg)
{
    struct relay *relay = arg;
    char bytes[4096];
    int ends[2] = {accept(relay->listener, NULL, NULL), connect_upstream()};
    while (!relay->over) {
        struct pollfd polled[2] = {{ends[0], POLLIN, 0}, {ends[1], POLLIN, 0}};
        poll(polled, relay->still ? 0 : 2, 10);
        for (int i = 0; i < 2; i++) {
            ssize_t len = polled[i].revents ? read(ends[i], bytes, sizeof(bytes)) : 0;
            if (len > 0 && write(ends[1 - i], bytes, (size_t)len) != len)
                return NULL;
        }
    }
    close(ends[0]);
    close(ends[1]);
    return NULL;
}

static void relay_open(struct relay *relay)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    int small = 4096;
    relay->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(setsockopt(relay->listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
    assert_int_equal(bind(relay->listener, (struct sockaddr *)&at, len), 0);
    assert_int_equal(listen(relay->listener, 1), 0);
    assert_int_equal(getsockname(relay->listener, (struct sockaddr *)&at, &len), 0);
    relay->port = ntohs(at.sin_port);
}

/* The server neither answers nor reads, and the connection is not closed. */
static void be_silent(size_t statement_len)
{
    struct relay relay = {0};
    struct mysql_settings settings = env.settings;
    char *sql = malloc(statement_len + 1);
    pthread_t thread;
    snprintf(sql, statement_len + 1, "DO '%0*d'", (int)statement_len - 5, 0);
    relay_open(&relay);
    assert_int_equal(pthread_create(&thread, NULL, relay_run, &relay), 0);
    settings.socket = NULL;
    settings.host = (char *)(uintptr_t) "127.0.0.1";
    settings.port = relay.port;
    settings.io_timeout_s = 1;
    struct mysql_session *session = mysql_session_new(&settings);
    must(mysql_session_connect(session, &f));
    must(mysql_session_ping(session, &f));
    relay.still = true;
    time_t begin = time(NULL);
    must_fail(mysql_session_exec(session, "silence", sql, statement_len, &f), ERR_DB_CONNECTION);
    assert_in_range(time(NULL) - begin, 0, 20);
    mysql_session_free(session);
    relay.over = true;
    pthread_join(thread, NULL);
    close(relay.listener);
    free(sql);
}

static void test_silent_server(void **state)
{
    (void)state;
    be_silent(16);       /* the answer is lost */
    be_silent(12000000); /* the statement is lost */
}

static void test_no_server(void **state)
{
    (void)state;
    struct mysql_settings settings = env.settings;
    settings.port = 1;
    struct mysql_session *session = mysql_session_new(&settings);
    must_fail(mysql_session_connect(session, &f), ERR_DB_CONNECTION);
    must_fail(mysql_session_ping(session, &f), ERR_DB_CONNECTION);
    must_fail(mysql_session_commit(session, &f), ERR_DB_COMMIT_UNKNOWN);
    mysql_session_rollback(session);
    mysql_session_free(session);
    settings = env.settings;
    settings.password = (char *)(uintptr_t) "wrong";
    session = mysql_session_new(&settings);
    must_fail(mysql_session_connect(session, &f), ERR_DB_ERROR);
    mysql_session_free(session);
}

#define TEST(name) cmocka_unit_test_setup(name, env_reset)
const struct CMUnitTest fault_tests[] = {
    TEST(test_duplicate_name), TEST(test_duplicate_id),   TEST(test_case),
    TEST(test_lock_timeout),   TEST(test_deadlock),       TEST(test_lock_order),
    TEST(test_disjoint_locks), TEST(test_killed_between), TEST(test_commit_unknown),
    TEST(test_load_fails),     TEST(test_no_server),      TEST(test_silent_server),
};
const size_t fault_test_count = sizeof(fault_tests) / sizeof(fault_tests[0]);
