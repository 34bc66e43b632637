/* berth-admin init, migrate, farm resume: the installation as a whole. */
#include "admin/admin.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "admin/admin_kafka.h"
#include "admin/farm.h"
#include "core/limits.h"
#include "core/request.h"
#include "db/migrate.h"
#include "lib/base/cli_time.h"

enum err admin_farm_read(struct admin *admin, struct admin_farm *out, struct failure *f)
{
    MYSQL_ROW row;
    enum err err = admin_row(admin, "read the farm",
                             admin_sql("SELECT name, partitions, cluster_id, halted FROM farm"),
                             &row, f);
    *out = (struct admin_farm){0};
    if (row) {
        snprintf(out->name, sizeof(out->name), "%s", row[0]);
        out->partitions = (int32_t)field_int(row[1]);
        snprintf(out->cluster_id, sizeof(out->cluster_id), "%s", row[2]);
        snprintf(out->halted, sizeof(out->halted), "%s", row[3]);
    }
    return err;
}

enum err admin_farm_open(struct admin *admin, struct admin_farm *farm, struct admin_kafka *kafka,
                         struct failure *f)
{
    char cluster_id[TOPIC_CLUSTER_ID_LEN];
    enum err err = admin_open_database(admin, true, f);
    if (err == ERR_OK)
        err = admin_farm_read(admin, farm, f);
    if (err == ERR_OK && !farm->name[0])
        err = admin_no_farm(f);
    if (err == ERR_OK)
        err = admin_wait_outside(admin, f);
    if (err == ERR_OK)
        err = admin_kafka_open(admin->cfg, kafka, f);
    if (err == ERR_OK)
        err = topic_reader_cluster_id(kafka->reader, cluster_id, f);
    if (err == ERR_OK && strcmp(cluster_id, farm->cluster_id) != 0) {
        err = failure_set(f, ERR_CONFIG,
                          "this is Kafka cluster %s, the farm's is %s: check "
                          "kafka.bootstrap.servers and db.name",
                          cluster_id, farm->cluster_id);
    }
    return err;
}

static void tell_migration(void *arg, const struct migration *migration)
{
    admin_remark(arg, "migrating to version %d: %s", migration->version, migration->name);
}

static enum err migrate(struct admin *admin, struct failure *f)
{
    enum err err = admin_open_database(admin, false, f);
    if (err != ERR_OK)
        return err;
    return migrate_run(admin->session, migrations, migration_count, tell_migration, admin, f);
}

enum err admin_migrate(struct admin *admin, struct failure *f)
{
    static const struct admin_column columns[] = {
        {"schema_version", "Schema version"}, {"server", "Server"}, {0}};
    enum err err = migrate(admin, f);
    if (err == ERR_OK) {
        admin_print_object(admin, columns,
                           json_pack("{s:I, s:s}", "schema_version", (json_int_t)migration_count,
                                     "server", mysql_session_version(admin->session)));
    }
    return err;
}

struct init_plan {
    const char *farm;
    struct admin_topic_plan topics;
};

static enum err read_plan(const struct admin *admin, struct init_plan *out, struct failure *f)
{
    const struct options *opts = admin->opts;
    const char *partitions = options_value(opts, "partitions");
    const char *replicas = options_value(opts, "replication-factor");
    const char *retention = options_value(opts, "retention");
    int64_t partition_count = 8, replica_count = -1;
    *out = (struct init_plan){.farm = options_value(opts, "farm"), .topics.retention_ms = -1};
    enum err err = ERR_OK;
    if (!out->farm || !farm_name_is_valid(out->farm)) {
        err = failure_set(f, ERR_USAGE, "--farm %s: expected 1 to %d of a-z 0-9 -",
                          out->farm ? out->farm : "is missing", LIMIT_FARM_NAME_LEN);
    }
    if (err == ERR_OK && partitions) {
        err = admin_int(partitions, (struct admin_range){"--partitions", 1, LIMIT_PARTITIONS},
                        &partition_count, f);
    }
    if (err == ERR_OK && replicas) {
        err = admin_int(replicas, (struct admin_range){"--replication-factor", 1, 100},
                        &replica_count, f);
    }
    if (err == ERR_OK && retention)
        err = cli_time_parse_duration(retention, &out->topics.retention_ms, f);
    out->topics.partitions = (int32_t)partition_count;
    out->topics.replication_factor = (int)replica_count;
    return err;
}

/* If the database has a farm already, it must have the requested name and partitions. */
static enum err check_same(const struct admin_farm *farm, const struct init_plan *plan,
                           bool partitions_given, const char *cluster_id, struct failure *f)
{
    if (strcmp(farm->name, plan->farm) != 0) {
        return failure_set(f, ERR_CONFIG,
                           "the database holds farm %s already: another farm needs a database of "
                           "its own (db.name)",
                           farm->name);
    }
    if (partitions_given && farm->partitions != plan->topics.partitions) {
        return failure_set(f, ERR_CONFIG,
                           "farm %s has %" PRId32 " partitions, which cannot be changed",
                           farm->name, farm->partitions);
    }
    if (strcmp(farm->cluster_id, cluster_id) != 0) {
        return failure_set(f, ERR_CONFIG,
                           "farm %s is on Kafka cluster %s, this is %s: check "
                           "kafka.bootstrap.servers",
                           farm->name, farm->cluster_id, cluster_id);
    }
    return ERR_OK;
}

/* Decisions begin at the request log's first offset. */
static enum err record_farm(struct admin *admin, struct admin_kafka *kafka,
                            const struct admin_farm *farm, struct failure *f)
{
    struct buf sql = {0};
    enum err err = admin_exec(
        admin, "record the farm",
        admin_sql("INSERT INTO farm (name, partitions, cluster_id) VALUES (?, #, ?)", farm->name,
                  (int64_t)farm->partitions, farm->cluster_id),
        f);
    buf_puts(&sql, "INSERT INTO request_partition (part, next_offset) VALUES ");
    for (int32_t part = 0; err == ERR_OK && part < farm->partitions; part++) {
        struct topic_span span;
        err = topic_reader_span(kafka->reader, TOPIC_REQUESTS, part, &span, f);
        if (err == ERR_OK)
            buf_printf(&sql, "%s(%" PRId32 ", %" PRId64 ")", part ? ", " : "", part, span.lo);
    }
    if (err == ERR_OK)
        err = mysql_session_exec(admin->session, "record the partitions", sql.data, sql.len, f);
    buf_fini(&sql);
    return err != ERR_OK ? err : mysql_session_commit(admin->session, f);
}

/* An event topic that is not empty belongs to a farm that is missing in the database. */
static enum err check_events_empty(struct admin_kafka *kafka, int32_t partitions, struct failure *f)
{
    for (int32_t part = 0; part < partitions; part++) {
        struct topic_span span;
        enum err err = topic_reader_span(kafka->reader, TOPIC_EVENTS, part, &span, f);
        if (err != ERR_OK)
            return err;
        if (span.hi > 0) {
            return failure_set(f, ERR_LOG_TOPIC,
                               "topic %s has held events already, but the database knows no farm: "
                               "restore the database, or give the new farm topics of its own "
                               "(farm.topic_prefix)",
                               topic_reader_name(kafka->reader, TOPIC_EVENTS));
        }
    }
    return ERR_OK;
}

static enum err make_farm(struct admin *admin, struct admin_kafka *kafka,
                          const struct init_plan *plan, struct admin_farm *farm, struct failure *f)
{
    int made = 0;
    enum err err = admin_topics_make(kafka->reader, &plan->topics, &made, f);
    if (err == ERR_OK)
        err = admin_topics_check(kafka->reader, plan->topics.partitions, f);
    if (err == ERR_OK)
        err = check_events_empty(kafka, plan->topics.partitions, f);
    if (err != ERR_OK)
        return err;
    snprintf(farm->name, sizeof(farm->name), "%s", plan->farm);
    farm->partitions = plan->topics.partitions;
    err = record_farm(admin, kafka, farm, f);
    if (err == ERR_OK)
        admin_remark(admin, "made farm %s (%d new topics)", farm->name, made);
    return err;
}

static enum err init(struct admin *admin, const struct init_plan *plan, struct admin_kafka *kafka,
                     struct admin_farm *farm, struct failure *f)
{
    char cluster_id[TOPIC_CLUSTER_ID_LEN] = "";
    enum err err = migrate(admin, f);
    if (err == ERR_OK)
        err = admin_wait_outside(admin, f);
    if (err == ERR_OK)
        err = admin_kafka_open(admin->cfg, kafka, f);
    if (err == ERR_OK)
        err = topic_reader_cluster_id(kafka->reader, cluster_id, f);
    if (err == ERR_OK)
        err = admin_farm_read(admin, farm, f);
    if (err != ERR_OK)
        return err;
    if (!farm->name[0]) {
        snprintf(farm->cluster_id, sizeof(farm->cluster_id), "%s", cluster_id);
        return make_farm(admin, kafka, plan, farm, f);
    }
    err = check_same(farm, plan, options_has(admin->opts, "partitions"), cluster_id, f);
    if (err == ERR_OK)
        err = admin_topics_check(kafka->reader, farm->partitions, f);
    if (err == ERR_OK)
        admin_remark(admin, "farm %s is there already", farm->name);
    return err;
}

enum err admin_init(struct admin *admin, struct failure *f)
{
    static const struct admin_column columns[] = {{"farm", "Farm"},
                                                  {"partitions", "Partitions"},
                                                  {"requests_topic", "Requests"},
                                                  {"events_topic", "Events"},
                                                  {"kafka_cluster", "Kafka cluster"},
                                                  {"schema_version", "Schema version"},
                                                  {0}};
    struct init_plan plan;
    struct admin_kafka kafka = {0};
    struct admin_farm farm = {0};
    enum err err = read_plan(admin, &plan, f);
    if (err == ERR_OK)
        err = init(admin, &plan, &kafka, &farm, f);
    if (err == ERR_OK) {
        admin_print_object(admin, columns,
                           json_pack("{s:s, s:I, s:s, s:s, s:s, s:I}", "farm", farm.name,
                                     "partitions", (json_int_t)farm.partitions, "requests_topic",
                                     topic_reader_name(kafka.reader, TOPIC_REQUESTS),
                                     "events_topic", topic_reader_name(kafka.reader, TOPIC_EVENTS),
                                     "kafka_cluster", farm.cluster_id, "schema_version",
                                     (json_int_t)migration_count));
    }
    admin_kafka_close(&kafka);
    return err;
}

/* The event topic must not be ahead of the decisions. If it is, the database was restored from an
 * older copy and would book machines that events have given away. */
static enum err check_not_ahead(struct admin *admin, struct admin_kafka *kafka,
                                const struct admin_farm *farm, struct failure *f)
{
    int64_t *last_seq = xcalloc((size_t)farm->partitions, sizeof(*last_seq));
    MYSQL_RES *res = NULL;
    enum err err = ERR_OK;
    for (int32_t part = 0; err == ERR_OK && part < farm->partitions; part++) {
        int64_t tail = 0;
        err = admin_kafka_event_tail(kafka, part, &tail, f);
        last_seq[part] = tail;
    }
    /* Reads the rows after the topic: meanwhile they can only have grown. */
    if (err == ERR_OK) {
        err = mysql_session_read(admin->session, "read the partitions",
                                 "SELECT part, last_seq FROM request_partition ORDER BY part", &res,
                                 f);
    }
    MYSQL_ROW row;
    while (err == ERR_OK && (row = mysql_fetch_row(res))) {
        int64_t part = field_int(row[0]), decided = field_int(row[1]);
        if (part < farm->partitions && last_seq[part] > decided) {
            err = failure_set(f, ERR_FARM_HALTED,
                              "the event topic's partition %" PRId64 " holds sequence %" PRId64
                              ", the database only %" PRId64 ": it was restored from an older "
                              "copy. Restore it to the newest state first",
                              part, last_seq[part], decided);
        }
    }
    if (res)
        mysql_free_result(res);
    free(last_seq);
    return err;
}

enum err admin_farm_resume(struct admin *admin, struct failure *f)
{
    static const struct admin_column columns[] = {
        {"farm", "Farm"}, {"was_halted", "Was halted"}, {0}};
    struct admin_farm farm;
    struct admin_kafka kafka = {0};
    enum err err = admin_farm_open(admin, &farm, &kafka, f);
    if (err == ERR_OK)
        err = check_not_ahead(admin, &kafka, &farm, f);
    if (err == ERR_OK) {
        err = mysql_session_execf(admin->session, f, "resume the farm",
                                  "UPDATE farm SET halted = '', halt_cause = NULL");
    }
    if (err == ERR_OK)
        err = mysql_session_commit(admin->session, f);
    if (err == ERR_OK) {
        admin_print_object(
            admin, columns,
            json_pack("{s:s, s:o}", "farm", farm.name, "was_halted", admin_json_text(farm.halted)));
    }
    admin_kafka_close(&kafka);
    return err;
}
