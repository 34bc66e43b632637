#include "tests/store/store_env.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db/migrate.h"

#define FARM "lab"

struct env env;

int env_start(void **state)
{
    (void)state;
    struct failure f = {0};
    env.cfg = config_new(PROGRAM_WORKER);
    if (config_load(env.cfg, NULL, NULL, &f) ||
        mysql_settings_read(env.cfg, NULL, &env.settings, &f)) {
        print_error("%s\n", f.text);
        return -1;
    }
    env.settings.idle_timeout_s = 600;
    env.admin = mysql_session_new(&env.settings);
    if (mysql_session_connect(env.admin, &f) ||
        migrate_run(env.admin, migrations, migration_count, NULL, NULL, &f) ||
        mysql_store_new(env.cfg, &env.a, &f) || mysql_store_new(env.cfg, &env.b, &f)) {
        print_error("%s\n", f.text);
        return -1;
    }
    printf("# server %s\n", mysql_session_version(env.admin));
    return 0;
}

int env_stop(void **state)
{
    (void)state;
    mysql_store_free(&env.a);
    mysql_store_free(&env.b);
    mysql_session_free(env.admin);
    mysql_settings_fini(&env.settings);
    config_free(env.cfg);
    return 0;
}

void admin_run(const char *sql)
{
    must(mysql_session_exec(env.admin, "admin", sql, strlen(sql), &f));
    must(mysql_session_commit(env.admin, &f));
}

int64_t admin_int(const char *sql)
{
    MYSQL_RES *res = NULL;
    must(mysql_session_query(env.admin, "admin", sql, strlen(sql), &res, &f));
    MYSQL_ROW row = mysql_fetch_row(res);
    assert_non_null(row);
    int64_t value = field_int(row[0]);
    mysql_free_result(res);
    mysql_session_rollback(env.admin);
    return value;
}

void admin_kill(struct store *store)
{
    uint64_t id = store->ops->connection_id(store->self);
    must(mysql_session_kill(env.admin, id, &f));
    char sql[128];
    snprintf(sql, sizeof(sql),
             "SELECT COUNT(*) FROM information_schema.processlist WHERE id = %" PRIu64, id);
    for (int i = 0; i < 100000 && admin_int(sql) > 0; i++)
        continue;
    assert_int_equal(admin_int(sql), 0);
}

static const char *const tables[] = {"allocation", "booking", "decision",          "machine",
                                     "client_key", "client",  "request_partition", "farm"};

void env_drop_tables(void)
{
    char sql[64];
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        snprintf(sql, sizeof(sql), "DROP TABLE IF EXISTS %s", tables[i]);
        admin_run(sql);
    }
    admin_run("DROP TABLE IF EXISTS schema_version");
}

int env_reset(void **state)
{
    (void)state;
    /* Close the last test's sessions first, to release their locks. */
    mysql_session_rollback(env.admin);
    must(env.a.ops->connect(env.a.self, &f));
    must(env.b.ops->connect(env.b.self, &f));
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        char sql[64];
        snprintf(sql, sizeof(sql), "DELETE FROM %s", tables[i]);
        admin_run(sql);
    }
    admin_run("INSERT INTO farm (name, partitions, cluster_id) VALUES ('" FARM "', 4, 'c1')");
    admin_run("INSERT INTO request_partition (part, next_offset) VALUES (0, 0), (1, 0), (2, 0), "
              "(3, 0)");
    return 0;
}

/* --- one worker's batch --- */

void batch_open(struct batch *batch, struct store *store, int32_t part)
{
    *batch = (struct batch){.store = store, .world = world_new()};
    batch->decisions = calloc(BATCH_MAX, sizeof(*batch->decisions));
    must(store->ops->claim(store->self, part, "test", &batch->part, &f));
}

void batch_close(struct batch *batch)
{
    world_free(batch->world);
    free(batch->decisions);
}

void batch_begin(struct batch *batch)
{
    const struct store_ops *ops = batch->store->ops;
    void *self = batch->store->self;
    struct farm_row farm;
    world_batch_begin(batch->world);
    batch->count = 0;
    must(ops->begin(self, &f));
    must(ops->lock_partitions(self, &batch->part.part, 1, &batch->part, &farm, &f));
    assert_string_equal(farm.name, FARM);
}

void batch_take_client(struct batch *batch, const char *name, const struct client_limits *limits)
{
    const struct store_ops *ops = batch->store->ops;
    struct client row = {.limits = *limits};
    memcpy(row.name, name, strlen(name) + 1);
    must(ops->lock_clients(batch->store->self, &row, 1, batch->world, &f));
    struct client *client = world_client(batch->world, name);
    assert_non_null(client);
    if (!client->timeline)
        must(ops->load_client_timelines(batch->store->self, batch->world, &client, 1, NOW_MS, &f));
}

void batch_take(struct batch *batch, const char *const *names, size_t count)
{
    const struct store_ops *ops = batch->store->ops;
    void *self = batch->store->self;
    struct id_list ids = {0};
    struct machine **machines = calloc(count, sizeof(struct machine *));
    must(ops->find_machines(self, names, count, batch->world, &f));
    for (size_t i = 0; i < count; i++) {
        machines[i] = world_machine_by_name(batch->world, names[i]);
        assert_non_null(machines[i]);
        id_list_add(&ids, machines[i]->id);
    }
    must(ops->lock_machines(self, &ids, batch->world, &f));
    size_t cold = 0;
    for (size_t i = 0; i < count; i++) {
        if (!machines[i]->timeline)
            machines[cold++] = machines[i];
    }
    must(ops->load_timelines(self, batch->world, machines, cold, NOW_MS, &f));
    id_list_fini(&ids);
    free(machines);
}

static void keep(struct batch *batch, const struct decision *decision, const char *client,
                 const char *request_id)
{
    assert_true(batch->count < BATCH_MAX);
    struct arena *arena = world_arena(batch->world);
    struct decision_row *row = &batch->decisions[batch->count++];
    static const uint8_t content_sha256[32] = {1, 2, 3};
    *row = (struct decision_row){
        .part = batch->part.part,
        .seq = ++batch->part.last_seq,
        .log_offset = batch->part.next_offset++,
        .client = client,
        .reason = decision->reason,
        .time_ms = NOW_MS,
        .event = batch->event ? batch->event : "{}",
        .event_len = batch->event ? batch->event_len : 2,
    };
    if (decision->uses_id) {
        row->request_id = request_id;
        row->content_sha256 = content_sha256;
    }
    if (decision->subject_kind == SUBJECT_BOOKING)
        row->subject = arena_printf(arena, "booking/%" PRId64, decision->subject_booking);
    if (decision->subject_kind == SUBJECT_MACHINE)
        row->subject = arena_printf(arena, "machine/%s", decision->subject_machine);
    memset(row->message_sha256, (int)row->seq & 0xff, sizeof(row->message_sha256));
    memcpy(batch->part.last_sha256, row->message_sha256, sizeof(row->message_sha256));
    batch->part.has_last_sha256 = true;
    batch->part.clock_ms = NOW_MS;
}

enum reason batch_decide(struct batch *batch, const char *client, const char *user,
                         const struct request *request)
{
    struct arena *arena = world_arena(batch->world);
    struct credential credential = {
        .client = client, .role = ROLE_ADMIN, .not_after_ms = INT64_MAX};
    struct claims claims = {
        .issuer = client,
        .audience = FARM,
        .user = user,
        .id = arena_printf(arena, "r-%d-%" PRId64, batch->part.part, batch->part.last_seq + 1),
        .has_iat = true,
        .has_exp = true,
        .iat_s = NOW_MS / 1000,
        .exp_s = NOW_MS / 1000 + 600,
        .type = request->type,
        .request = *request,
    };
    struct submission in = {
        .part = batch->part.part,
        .seq = batch->part.last_seq + 1,
        .now_ms = NOW_MS,
        .farm = FARM,
        .credential = &credential,
        .claims = &claims,
    };
    struct decision decision;
    decide(batch->world, &in, &decision);
    keep(batch, &decision, client, claims.id);
    return decision.reason;
}

enum err batch_write(struct batch *batch, struct failure *f)
{
    batch->part.progress_epoch = batch->part.epoch;
    struct store_batch rows = {
        .decision_count = batch->count,
        .decisions = batch->decisions,
        .partition_count = 1,
        .partitions = &batch->part,
        .world = batch->world,
    };
    return batch->store->ops->write(batch->store->self, &rows, f);
}

void batch_end(struct batch *batch, bool committed)
{
    world_batch_end(batch->world, committed);
}

void batch_commit(struct batch *batch)
{
    must(batch_write(batch, &f));
    must(batch->store->ops->commit(batch->store->self, &f));
    batch_end(batch, true);
}

struct request register_machine(const char *name, int64_t gpus, int64_t memory_gib)
{
    return (struct request){
        .type = REQUEST_MACHINE_REGISTER,
        .machine_register = {.machine = name, .capacity = {.gpus = gpus, .memory_gib = memory_gib}},
    };
}

struct request create_booking(const struct share *shares, size_t count, int64_t start_ms,
                              int64_t end_ms)
{
    return (struct request){
        .type = REQUEST_BOOKING_CREATE,
        .booking_create = {.start_ms = start_ms,
                           .end_ms = end_ms,
                           .share_count = count,
                           .shares = shares},
    };
}
