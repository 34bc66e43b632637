/* Sessions, claims, halts, keys, and the check of the schema. */
#include "tests/store/store_env.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db/migrate.h"

#define OPS(store)  (store)->ops
#define SELF(store) (store)->self

static void test_claim(void **state)
{
    (void)state;
    struct partition_row row;
    must(OPS(&env.a)->claim(SELF(&env.a), 2, "one", &row, &f));
    assert_int_equal(row.epoch, 1);
    assert_int_equal(row.progress_epoch, 0);
    assert_int_equal(row.connection_id, OPS(&env.a)->connection_id(SELF(&env.a)));
    assert_false(row.has_last_sha256);
    assert_int_equal(row.reject_offset, -1);
    assert_string_equal(row.halted, "");
    must(OPS(&env.b)->claim(SELF(&env.b), 2, "two", &row, &f));
    assert_int_equal(row.epoch, 2);
    assert_int_equal(admin_int("SELECT COUNT(*) FROM request_partition WHERE part = 2 AND "
                               "epoch = 2 AND owner = 'two'"),
                     1);
    must_fail(OPS(&env.a)->claim(SELF(&env.a), 9, "one", &row, &f), ERR_NOT_FOUND);
    /* A name may have any bytes and any length. */
    char name[300];
    memset(name, 0xe2, sizeof(name));
    name[sizeof(name) - 1] = '\0';
    must(OPS(&env.a)->claim(SELF(&env.a), 2, name, &row, &f));
}

/* A claim kills the session of an owner that hangs in a transaction. */
static void test_claim_kills(void **state)
{
    (void)state;
    struct partition_row row;
    struct farm_row farm;
    const int32_t part = 1;
    must(OPS(&env.a)->claim(SELF(&env.a), part, "stuck", &row, &f));
    must(OPS(&env.a)->begin(SELF(&env.a), &f));
    must(OPS(&env.a)->lock_partitions(SELF(&env.a), &part, 1, &row, &farm, &f));
    must(OPS(&env.b)->claim(SELF(&env.b), part, "next", &row, &f));
    assert_int_equal(row.epoch, 2);
    must_fail(OPS(&env.a)->lock_partitions(SELF(&env.a), &part, 1, &row, &farm, &f),
              ERR_DB_CONNECTION);
    must(OPS(&env.a)->connect(SELF(&env.a), &f));
    must(OPS(&env.a)->partition(SELF(&env.a), part, &row, &f));
}

/* A stopped owner in a transaction keeps its locks for wait_timeout, even if others wait. */
static void test_idle_in_transaction(void **state)
{
    (void)state;
    struct mysql_settings settings = env.settings;
    settings.idle_timeout_s = 1;
    struct mysql_session *still = mysql_session_new(&settings);
    must(mysql_session_connect(still, &f));
    MYSQL_RES *res = NULL;
    const char *lock = "SELECT epoch FROM request_partition WHERE part = 1 FOR UPDATE";
    must(mysql_session_query(still, "lock", lock, strlen(lock), &res, &f));
    mysql_free_result(res);
    struct partition_row row;
    struct farm_row farm;
    const int32_t part = 1;
    must(OPS(&env.a)->begin(SELF(&env.a), &f));
    must(OPS(&env.a)->lock_partitions(SELF(&env.a), &part, 1, &row, &farm, &f)); /* waits for 3 s */
    OPS(&env.a)->rollback(SELF(&env.a));
    must_fail(mysql_session_ping(still, &f), ERR_DB_CONNECTION);
    mysql_session_free(still);
}

static void test_kill(void **state)
{
    (void)state;
    must(OPS(&env.a)->kill(SELF(&env.a), OPS(&env.b)->connection_id(SELF(&env.b)), &f));
    must_fail(OPS(&env.b)->ping(SELF(&env.b), &f), ERR_DB_CONNECTION);
    must(OPS(&env.a)->kill(SELF(&env.a), 987654321, &f)); /* no such session */
    must(OPS(&env.a)->kill(SELF(&env.a), 0, &f));
    must(OPS(&env.a)->kill(SELF(&env.a), OPS(&env.a)->connection_id(SELF(&env.a)), &f));
    must(OPS(&env.a)->ping(SELF(&env.a), &f)); /* not its own */
}

static void test_epoch(void **state)
{
    (void)state;
    struct partition_row row;
    struct halt halt = {HALT_REQUESTS_DELETED, "why \xff\xc3\xa9"};
    must(OPS(&env.a)->claim(SELF(&env.a), 0, "one", &row, &f));
    assert_int_equal(row.halt_cause, HALT_NONE);
    must(OPS(&env.a)->halt_partition(SELF(&env.a), 0, 1, halt, &f));
    must(OPS(&env.a)->partition(SELF(&env.a), 0, &row, &f));
    assert_string_equal(row.halted, "why \\xff\xc3\xa9");
    must(OPS(&env.b)->claim(SELF(&env.b), 0, "two", &row, &f));
    must_fail(OPS(&env.a)->halt_partition(SELF(&env.a), 0, 1, halt, &f), ERR_EPOCH_LOST);
    must_fail(OPS(&env.a)->set_published(SELF(&env.a), 0, 1, 0, &f), ERR_EPOCH_LOST);
    must(OPS(&env.a)->partition(SELF(&env.a), 0, &row, &f));
    assert_string_equal(row.halted, "why \\xff\xc3\xa9");
    assert_int_equal(row.halt_cause, HALT_REQUESTS_DELETED);
    must_fail(OPS(&env.a)->partition(SELF(&env.a), 9, &row, &f), ERR_NOT_FOUND);
}

/* An owner superseded between its lock and its write. */
static void test_epoch_lost_in_batch(void **state)
{
    (void)state;
    struct batch batch;
    struct partition_row row;
    batch_open(&batch, &env.a, 3);
    must(OPS(&env.b)->claim(SELF(&env.b), 3, "two", &row, &f));
    world_batch_begin(batch.world);
    must(OPS(&env.a)->begin(SELF(&env.a), &f));
    struct request machine = register_machine("m", 1, 1);
    batch_decide(&batch, "ops", "u", &machine);
    must_fail(batch_write(&batch, &f), ERR_EPOCH_LOST);
    OPS(&env.a)->rollback(SELF(&env.a));
    batch_end(&batch, false);
    batch_close(&batch);
    assert_int_equal(admin_int("SELECT COUNT(*) FROM decision"), 0);
}

static void test_halt_farm(void **state)
{
    (void)state;
    struct farm_row farm;
    char long_text[3000];
    for (size_t i = 0; i + 2 < sizeof(long_text); i += 2)
        memcpy(long_text + i, "\xc3\xa9", 3);
    struct halt first = {HALT_DATABASE_OLDER, long_text}, second = {HALT_OTHER, "second"};
    must(OPS(&env.a)->halt_farm(SELF(&env.a), first, &f));
    must(OPS(&env.a)->halt_farm(SELF(&env.a), second, &f));
    must(OPS(&env.a)->farm(SELF(&env.a), &farm, &f));
    assert_string_equal(farm.name, "lab");
    assert_string_equal(farm.cluster_id, "c1");
    assert_int_equal(farm.partitions, 4);
    assert_int_equal(farm.key_generation, 1);
    assert_int_equal(strlen(farm.halted), 500);
    assert_int_equal(farm.halt_cause, HALT_DATABASE_OLDER);
    admin_run("DELETE FROM farm");
    must_fail(OPS(&env.a)->farm(SELF(&env.a), &farm, &f), ERR_NOT_FOUND);
}

static void see_key(void *arg, const struct key_row *row)
{
    size_t *count = arg;
    if ((*count)++ == 0) {
        assert_string_equal(row->kid, "K-1");
        assert_int_equal(row->role, ROLE_ADMIN);
        assert_int_equal(row->alg, JWS_ES256);
        assert_true(row->revoked);
        assert_int_equal(row->not_after_ms, INT64_MAX);
    } else {
        assert_string_equal(row->kid, "k-1");
        assert_string_equal(row->client, "ops");
        assert_string_equal(row->pem, "pem");
        assert_int_equal(row->alg, JWS_RS256);
        assert_false(row->revoked);
        assert_int_equal(row->not_before_ms, 5);
        assert_int_equal(row->not_after_ms, 9);
    }
}

static void test_keys(void **state)
{
    (void)state;
    admin_run("INSERT INTO client (name, role, added_at_ms) VALUES ('ops', 'admin', 1)");
    admin_run("INSERT INTO client_key (kid, client, algorithm, public_pem, not_before_ms, "
              "not_after_ms, added_at_ms, revoked_at_ms) VALUES "
              "('k-1', 'ops', 'RS256', 'pem', 5, 9, 1, NULL), "
              "('K-1', 'ops', 'ES256', 'pem', 0, NULL, 1, 7)");
    size_t count = 0;
    must(OPS(&env.a)->keys(SELF(&env.a), see_key, &count, &f));
    assert_int_equal(count, 2);
}

/* The settings of every session. */
static void check_session_settings(void)
{
    const char *sql = strstr(mysql_session_version(env.admin), "MariaDB")
                          ? "SELECT @@tx_isolation = 'READ-COMMITTED'"
                          : "SELECT @@transaction_isolation = 'READ-COMMITTED'";
    assert_int_equal(admin_int(sql), 1);
    assert_int_equal(admin_int("SELECT @@autocommit"), 0);
    assert_int_equal(admin_int("SELECT @@innodb_lock_wait_timeout"), 3);
    assert_int_equal(admin_int("SELECT @@wait_timeout"), env.settings.idle_timeout_s);
    assert_int_equal(admin_int("SELECT @@character_set_results IS NULL OR "
                               "@@character_set_results = 'binary'"),
                     1);
}

/* Also after a reconnect. */
static void test_session_settings(void **state)
{
    (void)state;
    struct mysql_settings settings;
    must(mysql_settings_read(env.cfg, NULL, &settings, &f));
    assert_int_equal(settings.idle_timeout_s, 10);
    mysql_settings_fini(&settings);
    check_session_settings();
    must(mysql_session_connect(env.admin, &f));
    check_session_settings();
}

/* --- schema --- */

static void test_schema(void **state)
{
    (void)state;
    must(migrate_check(env.admin, &f));
    admin_run("UPDATE schema_version SET sha256 = REPEAT('x', 32) WHERE version = 1");
    must_fail(migrate_check(env.admin, &f), ERR_DB_SCHEMA);
    must_fail(migrate_run(env.admin, migrations, migration_count, NULL, NULL, &f), ERR_DB_SCHEMA);
    env_drop_tables();
    must_fail(OPS(&env.a)->connect(SELF(&env.a), &f), ERR_DB_SCHEMA);
    must(migrate_run(env.admin, migrations, migration_count, NULL, NULL, &f));
    admin_run("INSERT INTO schema_version VALUES (99, '0099_future.sql', REPEAT('x', 32), 1, 1)");
    must_fail(migrate_check(env.admin, &f), ERR_DB_SCHEMA);
    must_fail(migrate_run(env.admin, migrations, migration_count, NULL, NULL, &f), ERR_DB_SCHEMA);
    admin_run("DELETE FROM schema_version WHERE version = 99");
    must(OPS(&env.a)->connect(SELF(&env.a), &f));
}

/* A program older or newer than the schema by one release: each error names the remedy. */
static void test_schema_of_another_release(void **state)
{
    (void)state;
    struct failure why = {0};
    assert_int_equal(migrate_run(env.admin, migrations, migration_count - 1, NULL, NULL, &why),
                     ERR_DB_SCHEMA);
    assert_non_null(strstr(why.text, "use a newer release of Berth"));
    env_drop_tables();
    must(migrate_run(env.admin, migrations, migration_count - 1, NULL, NULL, &f));
    assert_int_equal(OPS(&env.a)->connect(SELF(&env.a), &why), ERR_DB_SCHEMA);
    assert_non_null(strstr(why.text, "run `berth-admin migrate`"));
    must(migrate_run(env.admin, migrations, migration_count, NULL, NULL, &f));
    must(OPS(&env.a)->connect(SELF(&env.a), &f));
}

static const struct {
    const char *why;
    enum halt_cause cause;
} old_halts[] = {
    {"the last 6 owners made no progress at offset 7: if that message …", HALT_REPEATED_DEATHS},
    {"offset 7 cannot be decided (write: no append time): when …", HALT_UNDECIDABLE},
    {"offset 7 has no append time: set …", HALT_NO_APPEND_TIME},
    {"requests 1 to 2 of partition 0 were deleted before they were decided (…",
     HALT_REQUESTS_DELETED},
    {"request partition 0 ends at 1 but was decided up to 2: its log was cut or made again; …",
     HALT_REQUEST_LOG_REPLACED},
    {"request partition 0 starts before offset 5, the first that init saw: …",
     HALT_REQUEST_LOG_REPLACED},
    {"the request before offset 5 of partition 0 is not the one that was decided last: …",
     HALT_REQUEST_LOG_REPLACED},
    {"event partition 0 is empty though 5 events were published: the topic was deleted and …",
     HALT_EVENTS_DELETED},
    {"the last events of event partition 0 are none of Berth's decisions, though …",
     HALT_FOREIGN_EVENTS},
    {"decision 0-5 is missing in the database: restore it; …", HALT_DECISIONS_MISSING},
    {"decisions 0-5 to 8 are missing in the database: restore them; …", HALT_DECISIONS_MISSING},
    {"halted by hand", HALT_OTHER},
    {"", HALT_NONE},
};

/* Rows halted before the cause had a column: the migration derives the cause from the sentence. */
static void test_causes_of_old_halts(void **state)
{
    (void)state;
    enum { COUNT = sizeof(old_halts) / sizeof(old_halts[0]) };
    struct farm_row farm;
    struct partition_row row;
    env_drop_tables();
    must(migrate_run(env.admin, migrations, 3, NULL, NULL, &f));
    admin_run("INSERT INTO farm (name, partitions, cluster_id, halted) VALUES ('lab', 4, 'c1', "
              "'event partition 1 holds event 1-9 but the database ends at 3: it was restored from "
              "an older state; see …')");
    struct buf insert = {0};
    buf_puts(&insert, "INSERT INTO request_partition (part, next_offset, halted) VALUES ");
    for (int i = 0; i < COUNT; i++) {
        buf_printf(&insert, "%s(%d, 7, ", i == 0 ? "" : ", ", i);
        sql_text(&insert, old_halts[i].why);
        buf_puts(&insert, ")");
    }
    admin_run(insert.data);
    buf_fini(&insert);
    must(migrate_run(env.admin, migrations, migration_count, NULL, NULL, &f));
    must(OPS(&env.a)->connect(SELF(&env.a), &f));
    for (int i = 0; i < COUNT; i++) {
        must(OPS(&env.a)->partition(SELF(&env.a), i, &row, &f));
        assert_string_equal(row.halted, old_halts[i].why);
        assert_int_equal(row.halt_cause, old_halts[i].cause);
    }
    must(OPS(&env.a)->farm(SELF(&env.a), &farm, &f));
    assert_int_equal(farm.halt_cause, HALT_DATABASE_OLDER);
}

#define SQL(text) (const unsigned char *)(text), sizeof(text) - 1

/* Simulates a migration interrupted after so many recorded statements. */
static void note_counted(const struct migration *migration, int64_t counted)
{
    struct buf insert = {0};
    buf_printf(&insert,
               "INSERT INTO schema_version (version, name, sha256, statements_done) "
               "VALUES (%d, ",
               migration->version);
    sql_text(&insert, migration->name);
    buf_puts(&insert, ", UNHEX(SHA2(");
    sql_bytes(&insert, migration->sql, migration->sql_len);
    buf_printf(&insert, ", 256)), %d)", (int)counted);
    admin_run(insert.data);
    buf_fini(&insert);
}

/* Runs the first statements of a migration; returns how many those were. */
static int64_t run_statements(const struct migration *migration, int64_t most)
{
    const char *statement;
    size_t len, at = 0;
    int64_t count = 0;
    while (count < most && migrate_next_statement((const char *)migration->sql, migration->sql_len,
                                                  &at, &statement, &len)) {
        must(mysql_session_exec(env.admin, "step", statement, len, &f));
        must(mysql_session_commit(env.admin, &f));
        count++;
    }
    return count;
}

/* The real migrations, interrupted between each statement and its record. */
static void test_migrations_taken_up(void **state)
{
    (void)state;
    for (size_t last = 1; last <= migration_count; last++) {
        const struct migration *migration = &migrations[last - 1];
        for (int64_t done = 1, ran = 1; ran == done; done++) {
            env_drop_tables();
            must(migrate_run(env.admin, migrations, last - 1, NULL, NULL, &f));
            note_counted(migration, done - 1);
            ran = run_statements(migration, done);
            if (ran < done) { /* all had run: only the last record was missing */
                admin_run("UPDATE schema_version SET statements_done = statements_done - 1 "
                          "WHERE applied_at_ms IS NULL");
            }
            must(migrate_run(env.admin, migrations, migration_count, NULL, NULL, &f));
            must(migrate_check(env.admin, &f));
            assert_int_equal(admin_int("SELECT COUNT(*) FROM information_schema.columns WHERE "
                                       "table_schema = DATABASE() AND column_name = 'series'"),
                             1);
        }
    }
}

/* Interrupted after a statement but before its record, then resumed. */
static void test_migrate_taken_up(void **state)
{
    (void)state;
    static const char *const statements[] = {
        "CREATE TABLE extra (\n  id INT PRIMARY KEY,\n  n INT)", "ALTER TABLE extra ADD m INT",
        "INSERT INTO extra VALUES (1, 2, 3)", "DROP TABLE gone"};
    struct migration list[8];
    assert_true(migration_count < sizeof(list) / sizeof(list[0]));
    memcpy(list, migrations, migration_count * sizeof(list[0]));
    int version = (int)migration_count + 1;
    list[version - 1] = (struct migration){
        version, "more.sql",
        SQL("-- a; comment;\nCREATE TABLE extra (\n  id INT PRIMARY KEY,\n  n INT);\n\n"
            "ALTER TABLE extra ADD m INT;\n  -- b;\nINSERT INTO extra VALUES (1, 2, 3);\n"
            "DROP TABLE gone")};
    const int counted_before_crash[] = {0, 1, 3}; /* an INSERT and its record are atomic */
    for (size_t i = 0; i < 3; i++) {
        int counted = counted_before_crash[i];
        admin_run("CREATE TABLE gone (id INT)");
        for (int k = 0; k <= counted; k++)
            admin_run(statements[k]);
        note_counted(&list[version - 1], counted);
        must_fail(migrate_check(env.admin, &f), ERR_DB_SCHEMA);
        must(migrate_run(env.admin, list, (size_t)version, NULL, NULL, &f));
        must(migrate_run(env.admin, list, (size_t)version, NULL, NULL, &f));
        assert_int_equal(admin_int("SELECT COUNT(*) FROM extra WHERE m = 3"), 1);
        admin_run("DROP TABLE extra");
        admin_run("DELETE FROM schema_version WHERE name = 'more.sql'");
    }
}

static void test_migrate_error(void **state)
{
    (void)state;
    struct migration list[8];
    assert_true(migration_count < sizeof(list) / sizeof(list[0]));
    memcpy(list, migrations, migration_count * sizeof(list[0]));
    list[migration_count] = (struct migration){(int)migration_count + 1, "bad.sql",
                                               SQL("CREATE TABLE ok_then (id INT);\nNOT SQL;\n")};
    must_fail(migrate_run(env.admin, list, migration_count + 1, NULL, NULL, &f), ERR_DB_ERROR);
    assert_int_equal(admin_int("SELECT statements_done FROM schema_version WHERE name = 'bad.sql'"),
                     1);
    must_fail(migrate_check(env.admin, &f), ERR_DB_SCHEMA);
    admin_run("DROP TABLE ok_then");
    admin_run("DELETE FROM schema_version WHERE name = 'bad.sql'");
}

#define TEST(name) cmocka_unit_test_setup(name, env_reset)
const struct CMUnitTest session_tests[] = {
    TEST(test_claim),
    TEST(test_claim_kills),
    TEST(test_idle_in_transaction),
    TEST(test_kill),
    TEST(test_epoch),
    TEST(test_epoch_lost_in_batch),
    TEST(test_halt_farm),
    TEST(test_causes_of_old_halts),
    TEST(test_keys),
    TEST(test_session_settings),
    TEST(test_schema),
    TEST(test_schema_of_another_release),
    TEST(test_migrations_taken_up),
    TEST(test_migrate_taken_up),
    TEST(test_migrate_error),
};
const size_t session_test_count = sizeof(session_tests) / sizeof(session_tests[0]);
