/* berth-admin status: how the farm is doing. */

#include "admin/admin.h"
#include "admin/admin_kafka.h"
#include "admin/client_limits.h"
#include "admin/farm.h"
#include "db/migrate.h"

static const struct admin_column columns[] = {{"farm", "Farm"},
                                              {"halted", "Halted"},
                                              {"partitions", "Partitions"},
                                              {"halted_partitions", "Halted partitions"},
                                              {"decisions", "Decisions"},
                                              {"undecided", "Undecided requests"},
                                              {"unpublished", "Unpublished events"},
                                              {"machines", "Machines"},
                                              {"machines_up", "Machines up"},
                                              {"clients", "Clients"},
                                              {"keys", "Valid keys"},
                                              {"limits", "Limits of all clients"},
                                              {"schema_version", "Schema version"},
                                              {"database", "Database"},
                                              {"kafka_cluster", "Kafka cluster"},
                                              {0}};

static enum err add_int(struct admin *admin, json_t *object, const char *key, const char *sql,
                        struct failure *f)
{
    MYSQL_RES *res = NULL;
    enum err err = mysql_session_read(admin->session, "read the status", sql, &res, f);
    if (err != ERR_OK)
        return err;
    MYSQL_ROW row = mysql_fetch_row(res);
    json_object_set_new(object, key, json_integer(row ? field_int(row[0]) : 0));
    mysql_free_result(res);
    return ERR_OK;
}

static enum err add_counts(struct admin *admin, json_t *object, struct failure *f)
{
    static const struct {
        const char *key, *sql;
    } counts[] = {
        {"halted_partitions", "SELECT COUNT(*) FROM request_partition WHERE halted <> ''"},
        {"decisions", "SELECT SUM(last_seq) FROM request_partition"},
        {"machines", "SELECT COUNT(*) FROM machine WHERE state <> 'retired'"},
        {"machines_up", "SELECT COUNT(*) FROM machine WHERE state = 'up'"},
        {"clients", "SELECT COUNT(*) FROM client"},
        {"keys", "SELECT COUNT(*) FROM client_key WHERE revoked_at_ms IS NULL"},
    };
    enum err err = ERR_OK;
    for (size_t i = 0; err == ERR_OK && i < sizeof(counts) / sizeof(counts[0]); i++)
        err = add_int(admin, object, counts[i].key, counts[i].sql, f);
    return err;
}

static enum err add_limits(struct admin *admin, json_t *object, struct failure *f)
{
    MYSQL_RES *res = NULL;
    enum err err = mysql_session_read(admin->session, "read the limits",
                                      "SELECT " ADMIN_LIMIT_COLUMNS(farm) " FROM farm", &res, f);
    if (err != ERR_OK)
        return err;
    MYSQL_ROW row = mysql_fetch_row(res);
    json_object_set_new(object, "limits", row ? admin_json_limits(row) : json_null());
    mysql_free_result(res);
    return ERR_OK;
}

/* Compares the ends of the logs with the rows. The rows are read first, so that a busy farm does
 * not seem to be ahead of its own requests. */
static enum err add_backlog(struct admin *admin, struct admin_kafka *kafka, json_t *object,
                            struct failure *f)
{
    MYSQL_RES *res = NULL;
    enum err err = mysql_session_read(
        admin->session, "read the partitions",
        "SELECT part, next_offset, last_seq FROM request_partition ORDER BY part", &res, f);
    if (err != ERR_OK)
        return err;
    int64_t undecided = 0, unpublished = 0;
    MYSQL_ROW row;
    while (err == ERR_OK && (row = mysql_fetch_row(res))) {
        int32_t part = (int32_t)field_int(row[0]);
        struct topic_span span = {0};
        int64_t tail = 0;
        err = topic_reader_span(kafka->reader, TOPIC_REQUESTS, part, &span, f);
        if (err == ERR_OK)
            err = admin_kafka_event_tail(kafka, part, &tail, f);
        undecided += span.hi > field_int(row[1]) ? span.hi - field_int(row[1]) : 0;
        unpublished += field_int(row[2]) > tail ? field_int(row[2]) - tail : 0;
    }
    mysql_free_result(res);
    if (err == ERR_OK) {
        json_object_set_new(object, "undecided", json_integer(undecided));
        json_object_set_new(object, "unpublished", json_integer(unpublished));
    }
    return err;
}

enum err admin_status(struct admin *admin, struct failure *f)
{
    struct admin_farm farm;
    struct admin_kafka kafka = {0};
    enum err err = admin_farm_open(admin, &farm, &kafka, f);
    json_t *object = NULL;
    if (err == ERR_OK) {
        object = json_pack("{s:s, s:o, s:I}", "farm", farm.name, "halted",
                           admin_json_text(farm.halted), "partitions", (json_int_t)farm.partitions);
        err = add_counts(admin, object, f);
    }
    if (err == ERR_OK)
        err = add_limits(admin, object, f);
    if (err == ERR_OK)
        err = add_backlog(admin, &kafka, object, f);
    if (err == ERR_OK) {
        json_object_set_new(object, "schema_version", json_integer((json_int_t)migration_count));
        json_object_set_new(object, "database", json_string(mysql_session_version(admin->session)));
        json_object_set_new(object, "kafka_cluster", json_string(farm.cluster_id));
        admin_print_object(admin, columns, json_incref(object));
    }
    json_decref(object);
    admin_kafka_close(&kafka);
    return err;
}
