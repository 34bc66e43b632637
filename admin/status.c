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
                                              {"ids_used_percent", "Booking ids used (%)"},
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

/* What the database knows, in the order of STATUS_SQL. */
static const struct admin_column counted[] = {{"farm", NULL},       {"halted", NULL},
                                              {"partitions", NULL}, {"halted_partitions", NULL},
                                              {"decisions", NULL},  {"ids_used_percent", NULL},
                                              {"machines", NULL},   {"machines_up", NULL},
                                              {"clients", NULL},    {"keys", NULL},
                                              {"limits", NULL},     {0}};
#define STATUS_SQL                                                                                 \
    "SELECT name, halted, partitions, "                                                            \
    "(SELECT COUNT(*) FROM request_partition WHERE halted <> ''), "                                \
    "(SELECT COALESCE(SUM(last_seq), 0) FROM request_partition), "                                 \
    "(SELECT COALESCE(MAX(last_seq), 0) * 100 DIV 4294967296 FROM request_partition), "            \
    "(SELECT COUNT(*) FROM machine WHERE state <> 'retired'), "                                    \
    "(SELECT COUNT(*) FROM machine WHERE state = 'up'), (SELECT COUNT(*) FROM client), "           \
    "(SELECT COUNT(*) FROM client_key WHERE revoked_at_ms IS NULL), " ADMIN_LIMIT_COLUMNS(         \
        farm) " FROM farm"

static enum err read_counts(struct admin *admin, json_t **out, struct failure *f)
{
    MYSQL_ROW row;
    enum err err = admin_row(admin, "read the status", admin_sql(STATUS_SQL), &row, f);
    if (row)
        *out = admin_json_row(counted, "ssiiiiiiiil", row);
    return err != ERR_OK || row ? err : admin_no_farm(f);
}

static enum err note_offset(void *arg, const rd_kafka_message_t *message, struct failure *f)
{
    (void)f;
    *(int64_t *)arg = message->offset;
    return ERR_OK;
}

/* Requests of the partition from `next` on: the offsets up to the last message. Markers of
 * transactions take offsets, too, and may lie at the log's end for ever. */
static enum err count_undecided(struct admin_kafka *kafka, int32_t part, int64_t next, int64_t *out,
                                struct failure *f)
{
    struct topic_span span;
    int64_t last = 0;
    enum err err = topic_reader_span(kafka->reader, TOPIC_REQUESTS, part, &span, f);
    if (err != ERR_OK)
        return err;
    struct topic_piece piece = {TOPIC_REQUESTS, part, next > span.lo ? next : span.lo, span.hi};
    err = topic_reader_last(kafka->reader, &piece, note_offset, &last, f);
    if (err == ERR_LOG_ERROR) /* a batch that cannot be read */
        last = span.hi - 1;
    *out = err == ERR_NOT_FOUND ? 0 : last + 1 - next;
    return err == ERR_NOT_FOUND || err == ERR_LOG_ERROR ? ERR_OK : err;
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
        int64_t waiting = 0, tail = 0;
        err = count_undecided(kafka, part, field_int(row[1]), &waiting, f);
        if (err == ERR_OK)
            err = admin_kafka_event_tail(kafka, part, &tail, f);
        undecided += waiting;
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
    admin->read_only = true;
    enum err err = admin_farm_open(admin, &farm, &kafka, f);
    json_t *object = NULL;
    if (err == ERR_OK)
        err = read_counts(admin, &object, f);
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
