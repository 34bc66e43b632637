/* berth-admin partition …, reject: for partitions that are halted. */
#include "admin/admin.h"

#include <inttypes.h>

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
    if (row) {
        *out = (struct part_row){.next_offset = field_int(row[0]), .halted = field_int(row[1])};
    } else if (err == ERR_OK) {
        err = failure_set(f, ERR_NOT_FOUND,
                          "there is no partition %" PRId64 ": see berth-admin partition list",
                          part);
    }
    return err;
}

/* Sets progress_epoch to epoch, which forgets earlier owners without progress: otherwise the next
 * owner would halt the partition again at once. */
#define UNHALT "halted = '', halt_cause = NULL, progress_epoch = epoch"

static void print_part(const struct admin *admin, int64_t part, const struct part_row *row)
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
    print_part(admin, part, &row);
    return ERR_OK;
}

enum err admin_reject(struct admin *admin, struct failure *f)
{
    int64_t part = 0, offset = 0;
    const struct admin_range range = {"offset", 0, INT64_MAX - 1};
    enum err err = read_part(admin, &part, f);
    if (err == ERR_OK)
        err = admin_int(admin_operand(admin, 1), range, &offset, f);
    struct part_row row;
    if (err == ERR_OK)
        err = admin_open_database(admin, true, f);
    if (err == ERR_OK)
        err = lock_part(admin, part, &row, f);
    if (err == ERR_OK && offset < row.next_offset) {
        err = failure_set(f, ERR_USAGE,
                          "offset %" PRId64 " of partition %" PRId64
                          " is decided already: the next one is %" PRId64,
                          offset, part, row.next_offset);
    }
    if (err == ERR_OK && offset > row.next_offset) {
        err = failure_set(f, ERR_USAGE,
                          "only the request at which the partition stands can be rejected: "
                          "partition %" PRId64 " stands at offset %" PRId64,
                          part, row.next_offset);
    }
    if (err == ERR_OK) {
        err = mysql_session_execf(admin->session, f, "reject the request",
                                  "UPDATE request_partition SET " UNHALT
                                  ", reject_offset = %" PRId64 " WHERE part = %" PRId64,
                                  offset, part);
    }
    if (err == ERR_OK)
        err = mysql_session_commit(admin->session, f);
    if (err != ERR_OK)
        return err;
    print_part(admin, part, &row);
    admin_remark(admin, "the owner of the partition rejects it with its next batch");
    return ERR_OK;
}
