/* berth-admin partition …, reject: for partitions that are halted. */
#include "admin/admin.h"

#include <inttypes.h>

#include "admin/farm.h"
#include "core/limits.h"

static enum err read_part(const struct admin *admin, int64_t *out, struct failure *f)
{
    const struct admin_range range = {"partition", 0, LIMIT_PARTITIONS - 1};
    return admin_int(admin_operand(admin, 0), range, out, f);
}

enum err admin_partition_list(struct admin *admin, struct failure *f)
{
    static const struct admin_column columns[] = {{"partition", "PARTITION"},
                                                  {"next_offset", "NEXT OFFSET"},
                                                  {"last_sequence", "LAST SEQUENCE"},
                                                  {"published_sequence", "PUBLISHED"},
                                                  {"clock", "CLOCK"},
                                                  {"epoch", "EPOCH"},
                                                  {"owner", "OWNER"},
                                                  {"ignore_time_until", "IGNORE TIME UNTIL"},
                                                  {"reject_offset", "REJECT"},
                                                  {"halted", "HALTED"},
                                                  {0}};
    return admin_list(
        admin,
        &(struct admin_list){
            columns, "iiiitisiis", "list the partitions",
            "SELECT part, next_offset, last_seq, published_seq, NULLIF(clock_ms, 0), epoch, owner, "
            "NULLIF(ignore_time_until, 0), IF(reject_offset < 0, NULL, reject_offset), halted "
            "FROM request_partition ORDER BY part"},
        f);
}

/* The columns of a locked partition row that the commands need. */
struct part_row {
    int64_t next_offset;
    bool halted;
};

static enum err no_partition(int64_t part, struct failure *f)
{
    return failure_set(f, ERR_NOT_FOUND,
                       "there is no partition %" PRId64 ": see berth-admin partition list", part);
}

static enum err lock_part(struct admin *admin, int64_t part, struct part_row *out,
                          struct failure *f)
{
    MYSQL_ROW row;
    enum err err = admin_row(
        admin, "lock the partition",
        admin_sql(
            "SELECT next_offset, halted <> '' FROM request_partition WHERE part = # FOR UPDATE",
            part),
        &row, f);
    if (row)
        *out = (struct part_row){.next_offset = field_int(row[0]), .halted = field_int(row[1])};
    return err != ERR_OK || row ? err : no_partition(part, f);
}

/* Sets progress_epoch to epoch, which forgets earlier owners without progress: otherwise the next
 * owner would halt the partition again at once. */
#define UNHALT "halted = '', halt_cause = NULL, progress_epoch = epoch"

static void print_partition(const struct admin *admin, int64_t part, const struct part_row *row)
{
    static const struct admin_column columns[] = {{"partition", "Partition"},
                                                  {"next_offset", "Next offset"},
                                                  {"was_halted", "Was halted"},
                                                  {0}};
    admin_print_object(admin, columns,
                       json_pack("{s:I, s:I, s:b}", "partition", (json_int_t)part, "next_offset",
                                 (json_int_t)row->next_offset, "was_halted", (int)row->halted));
}

enum err admin_partition_resume(struct admin *admin, struct failure *f)
{
    int64_t part = 0, ignore = 0;
    const char *until = options_value(admin->opts, "ignore-time-until");
    enum err err = read_part(admin, &part, f);
    if (err == ERR_OK && until) {
        const struct admin_range range = {"--ignore-time-until", 0, INT64_MAX - 1};
        err = admin_int(until, range, &ignore, f);
    }
    struct part_row row;
    if (err == ERR_OK)
        err = admin_open_database(admin, true, f);
    if (err == ERR_OK)
        err = lock_part(admin, part, &row, f);
    if (err == ERR_OK) {
        err = mysql_session_execf(admin->session, f, "resume the partition",
                                  "UPDATE request_partition SET " UNHALT
                                  ", ignore_time_until = GREATEST(ignore_time_until, %" PRId64
                                  ") WHERE part = %" PRId64,
                                  ignore, part);
    }
    if (err == ERR_OK)
        err = mysql_session_commit(admin->session, f);
    if (err != ERR_OK)
        return err;
    if (!row.halted && !until)
        admin_remark(admin, "partition %" PRId64 " was not halted", part);
    print_partition(admin, part, &row);
    return ERR_OK;
}

/* Finds the request at which the partition stands: the first message from `next` on, since markers of
 * transactions and deleted messages leave offsets without one. Kafka is read before the row is
 * locked, which workers wait for. */
static enum err find_undecided(struct admin_kafka *kafka, int32_t part, int64_t next, int64_t *out,
                               struct failure *f)
{
    struct topic_span span;
    enum err err = topic_reader_span(kafka->reader, TOPIC_REQUESTS, part, &span, f);
    if (err != ERR_OK)
        return err;
    struct topic_piece piece = {TOPIC_REQUESTS, part, next > span.lo ? next : span.lo, span.hi};
    err = topic_reader_first(kafka->reader, &piece, out, f);
    if (err == ERR_NOT_FOUND) {
        err = failure_set(f, ERR_USAGE,
                          "partition %" PRId32
                          " has no undecided request, only markers of transactions at most: "
                          "nothing is rejected; if it is halted, berth-admin partition resume "
                          "%" PRId32,
                          part, part);
    }
    return err;
}

static enum err check_offset(int64_t part, int64_t offset, int64_t next, int64_t undecided,
                             struct failure *f)
{
    if (offset < next) {
        return failure_set(f, ERR_USAGE,
                           "offset %" PRId64 " of partition %" PRId64
                           " is decided already: the next one is %" PRId64,
                           offset, part, undecided);
    }
    if (offset != undecided) {
        return failure_set(f, ERR_USAGE,
                           "only the request at which the partition stands can be rejected: "
                           "partition %" PRId64 " stands at offset %" PRId64,
                           part, undecided);
    }
    return ERR_OK;
}

/* Sets the offset that the owner rejects, unless the position has moved since it was `next`. */
static enum err set_reject(struct admin *admin, int64_t part, int64_t offset, int64_t next,
                           struct part_row *out, struct failure *f)
{
    enum err err = lock_part(admin, part, out, f);
    if (err == ERR_OK && out->next_offset != next) {
        err = failure_set(f, ERR_USAGE,
                          "partition %" PRId64
                          " has gone on meanwhile and stands at offset %" PRId64
                          ": nothing is rejected",
                          part, out->next_offset);
    }
    if (err == ERR_OK) {
        err = mysql_session_execf(admin->session, f, "reject the request",
                                  "UPDATE request_partition SET " UNHALT
                                  ", reject_offset = %" PRId64 " WHERE part = %" PRId64,
                                  offset, part);
    }
    return err != ERR_OK ? err : mysql_session_commit(admin->session, f);
}

/* The position, without a lock. */
static enum err read_next(struct admin *admin, int64_t part, int64_t *out, struct failure *f)
{
    MYSQL_ROW row;
    enum err err = admin_row(
        admin, "read the partition",
        admin_sql("SELECT next_offset FROM request_partition WHERE part = #", part), &row, f);
    if (row)
        *out = field_int(row[0]);
    return err != ERR_OK || row ? err : no_partition(part, f);
}

static enum err reject(struct admin *admin, struct admin_kafka *kafka, int64_t part, int64_t offset,
                       struct failure *f)
{
    struct admin_farm farm;
    struct part_row row;
    int64_t next = 0, undecided = 0;
    enum err err = admin_farm_open(admin, &farm, kafka, f);
    if (err == ERR_OK)
        err = read_next(admin, part, &next, f);
    if (err == ERR_OK)
        err = find_undecided(kafka, (int32_t)part, next, &undecided, f);
    if (err == ERR_OK)
        err = check_offset(part, offset, next, undecided, f);
    if (err == ERR_OK)
        err = admin_reopen_database(admin, f);
    if (err == ERR_OK)
        err = set_reject(admin, part, offset, next, &row, f);
    if (err != ERR_OK)
        return err;
    print_partition(admin, part, &row);
    admin_remark(admin, "the owner of the partition rejects it with its next batch");
    return ERR_OK;
}

enum err admin_reject(struct admin *admin, struct failure *f)
{
    int64_t part = 0, offset = 0;
    const struct admin_range range = {"offset", 0, INT64_MAX - 1};
    struct admin_kafka kafka = {0};
    enum err err = read_part(admin, &part, f);
    if (err == ERR_OK)
        err = admin_int(admin_operand(admin, 1), range, &offset, f);
    if (err == ERR_OK)
        err = reject(admin, &kafka, part, offset, f);
    admin_kafka_close(&kafka);
    return err;
}
