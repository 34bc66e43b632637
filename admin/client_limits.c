/* berth-admin client limit, farm limit: what clients may book (core/world.h, client_limits).
 *
 * Workers count what a client holds only while it has a counted limit (gpus_at_once,
 * gpu_hours_ahead), under the lock of its row, and remember it by the row's version. So a change of
 * limits is one transaction that
 *
 *   1. locks all rows of request_partition, ascending. Then no batch is under way: one that had read
 *      the old limits could else still commit a booking that no version of the client counts;
 *   2. locks the rows of the clients and counts up the version of each whose counted limits change,
 *      so that no worker trusts what it remembers from before it had to count;
 *   3. counts the farm's key_generation up. Each batch reads it under its partitions' locks, and
 *      loads keys and limits again when it is another one. */
#include "admin/admin.h"

#include <inttypes.h>
#include <string.h>

#include "admin/client_limits.h"
#include "core/limits.h"
#include "core/timeline.h"
#include "lib/base/cli_time.h"

#define HOURS_MAX INT64_C(1000000000000)

static const struct {
    const char *option, *column;
    bool is_duration;
    bool is_counted;
    int64_t max; /* in seconds, if it is one */
} kinds[ADMIN_LIMITS] = {
    {"booking", "booking_s", true, false, LIMIT_TIME_S},
    {"ahead", "ahead_s", true, false, LIMIT_TIME_S},
    {"allocations", "allocations", false, false, LIMIT_ALLOCATIONS},
    {"gpus-at-once", "gpus_at_once", false, true, TIMELINE_AMOUNT_LIMIT},
    {"gpu-hours-ahead", "gpu_hours_ahead", false, true, HOURS_MAX},
};

/* Values in the order of `kinds`; 0: not set. */
struct limits {
    int64_t values[ADMIN_LIMITS];
};

struct wish {
    bool given[ADMIN_LIMITS], any;
    struct limits limits;
};

static enum err read_duration(const char *text, const char *option, int64_t *out, struct failure *f)
{
    int64_t ms;
    enum err err = cli_time_parse_duration(text, &ms, f);
    if (err != ERR_OK)
        return failure_wrap(f, "--%s", option);
    if (ms < 1000 || ms / 1000 > LIMIT_TIME_S)
        return failure_set(f, ERR_USAGE, "--%s %s: expected a second or more", option, text);
    *out = ms / 1000;
    return ERR_OK;
}

static enum err read_wish(const struct admin *admin, struct wish *out, struct failure *f)
{
    enum err err = ERR_OK;
    *out = (struct wish){0};
    for (size_t i = 0; err == ERR_OK && i < ADMIN_LIMITS; i++) {
        const char *text = options_value(admin->opts, kinds[i].option);
        if (!text)
            continue;
        out->given[i] = out->any = true;
        if (strcmp(text, "none") == 0)
            continue;
        char what[32];
        snprintf(what, sizeof(what), "--%s", kinds[i].option);
        if (kinds[i].is_duration) {
            err = read_duration(text, kinds[i].option, &out->limits.values[i], f);
        } else {
            err = admin_int(text, (struct admin_range){what, 1, kinds[i].max},
                            &out->limits.values[i], f);
        }
    }
    return err;
}

static struct limits apply(const struct limits *old, const struct wish *wish)
{
    struct limits limits = *old;
    for (size_t i = 0; i < ADMIN_LIMITS; i++) {
        if (wish->given[i])
            limits.values[i] = wish->limits.values[i];
    }
    return limits;
}

static bool counted_differ(const struct limits *a, const struct limits *b)
{
    for (size_t i = 0; i < ADMIN_LIMITS; i++) {
        if (kinds[i].is_counted && a->values[i] != b->values[i])
            return true;
    }
    return false;
}

static struct limits from_row(char **fields)
{
    struct limits limits;
    for (size_t i = 0; i < ADMIN_LIMITS; i++)
        limits.values[i] = field_int(fields[i]);
    return limits;
}

static json_t *limits_json(const struct limits *limits)
{
    json_t *object = json_object();
    for (size_t i = 0; i < ADMIN_LIMITS; i++) {
        if (limits->values[i] > 0)
            json_object_set_new(object, kinds[i].column, json_integer(limits->values[i]));
    }
    return object;
}

json_t *admin_json_limits(char **fields)
{
    struct limits limits = from_row(fields);
    return limits_json(&limits);
}

/* "UPDATE … SET a = 1, b = 2" */
static void set_sql(struct buf *sql, const char *table, const struct limits *limits)
{
    buf_clear(sql);
    buf_printf(sql, "UPDATE %s SET ", table);
    for (size_t i = 0; i < ADMIN_LIMITS; i++)
        buf_printf(sql, "%s%s = %" PRId64, i ? ", " : "", kinds[i].column, limits->values[i]);
}

static enum err lock_partitions(struct admin *admin, struct failure *f)
{
    MYSQL_RES *res = NULL;
    enum err err = mysql_session_read(
        admin->session, "wait for the batches under way",
        "SELECT part FROM request_partition FORCE INDEX (PRIMARY) ORDER BY part FOR UPDATE", &res,
        f);
    if (err == ERR_DB_LOCK_TIMEOUT) {
        return failure_set(f, err,
                           "a worker holds a partition's row for very long: see `berth-admin "
                           "partition list` for who owns it, then try again; nothing was changed");
    }
    if (err == ERR_OK)
        mysql_free_result(res);
    return err;
}

static enum err farm_limits(struct admin *admin, struct limits *out, struct failure *f)
{
    MYSQL_ROW row;
    enum err err = admin_row(admin, "read the farm",
                             admin_sql("SELECT " ADMIN_LIMIT_COLUMNS(farm) " FROM farm"), &row, f);
    if (row)
        *out = from_row(row);
    return err != ERR_OK || row ? err : admin_no_farm(f);
}

static enum err finish(struct admin *admin, struct failure *f)
{
    enum err err = mysql_session_execf(admin->session, f, "note the change of limits",
                                       "UPDATE farm SET key_generation = key_generation + 1");
    return err != ERR_OK ? err : mysql_session_commit(admin->session, f);
}

/* ERR_NOT_FOUND: there is no such client. */
static enum err client_limits(struct admin *admin, const char *name, bool lock, struct limits *out,
                              struct failure *f)
{
    MYSQL_ROW row;
    enum err err = admin_row(
        admin, "read the client",
        admin_sql(
            lock ? "SELECT " ADMIN_LIMIT_COLUMNS(client) " FROM client WHERE name = ? FOR UPDATE"
                 : "SELECT " ADMIN_LIMIT_COLUMNS(client) " FROM client WHERE name = ?",
            name),
        &row, f);
    if (row)
        *out = from_row(row);
    return err != ERR_OK || row
               ? err
               : failure_set(f, ERR_NOT_FOUND, "there is no client %s: see berth-admin client list",
                             name);
}

static enum err change_client(struct admin *admin, const char *name, const struct wish *wish,
                              struct limits *out, struct failure *f)
{
    struct limits old;
    struct buf sql = {0};
    enum err err = lock_partitions(admin, f);
    if (err == ERR_OK)
        err = client_limits(admin, name, true, &old, f);
    if (err != ERR_OK)
        return err;
    *out = apply(&old, wish);
    set_sql(&sql, "client", out);
    if (counted_differ(&old, out))
        buf_puts(&sql, ", version = version + 1");
    buf_puts(&sql, " WHERE name = ");
    sql_text(&sql, name);
    err = mysql_session_exec(admin->session, "set the client's limits", sql.data, sql.len, f);
    buf_fini(&sql);
    return err != ERR_OK ? err : finish(admin, f);
}

enum err admin_client_limit(struct admin *admin, struct failure *f)
{
    static const struct admin_column columns[] = {
        {"client", "Client"}, {"limits", "Its own limits"}, {"in_force", "In force"}, {0}};
    const char *name = admin_operand(admin, 0);
    struct wish wish;
    struct limits own = {0}, farm = {0};
    enum err err = admin_name(name, "client", f);
    if (err == ERR_OK)
        err = read_wish(admin, &wish, f);
    if (err == ERR_OK)
        err = admin_open_database(admin, true, f);
    if (err == ERR_OK) {
        err = wish.any ? change_client(admin, name, &wish, &own, f)
                       : client_limits(admin, name, false, &own, f);
    }
    if (err == ERR_OK)
        err = farm_limits(admin, &farm, f);
    if (err != ERR_OK)
        return err;
    struct limits force = own;
    for (size_t i = 0; i < ADMIN_LIMITS; i++) {
        if (force.values[i] == 0)
            force.values[i] = farm.values[i];
    }
    admin_print_object(admin, columns,
                       json_pack("{s:s, s:o, s:o}", "client", name, "limits", limits_json(&own),
                                 "in_force", limits_json(&force)));
    return ERR_OK;
}

/* Counts up the version of every client, also of those with limits of their own: a needless version
 * costs one load, a missing one an over-booked client. */
static enum err bump_clients(struct admin *admin, struct failure *f)
{
    MYSQL_RES *res = NULL;
    enum err err = mysql_session_read(
        admin->session, "lock the clients",
        "SELECT name FROM client FORCE INDEX (PRIMARY) ORDER BY name FOR UPDATE", &res, f);
    if (err != ERR_OK)
        return err;
    mysql_free_result(res);
    return mysql_session_execf(admin->session, f, "count the clients' versions up",
                               "UPDATE client SET version = version + 1");
}

static enum err change_farm(struct admin *admin, const struct wish *wish, struct limits *out,
                            struct failure *f)
{
    struct limits old;
    struct buf sql = {0};
    enum err err = lock_partitions(admin, f);
    if (err == ERR_OK)
        err = farm_limits(admin, &old, f);
    if (err != ERR_OK)
        return err;
    *out = apply(&old, wish);
    if (counted_differ(&old, out))
        err = bump_clients(admin, f);
    if (err == ERR_OK) {
        set_sql(&sql, "farm", out);
        err = mysql_session_exec(admin->session, "set the farm's limits", sql.data, sql.len, f);
    }
    buf_fini(&sql);
    return err != ERR_OK ? err : finish(admin, f);
}

enum err admin_farm_limit(struct admin *admin, struct failure *f)
{
    static const struct admin_column columns[] = {{"limits", "Limits of all clients"}, {0}};
    struct wish wish;
    struct limits limits = {0};
    enum err err = read_wish(admin, &wish, f);
    if (err == ERR_OK)
        err = admin_open_database(admin, true, f);
    if (err == ERR_OK)
        err = wish.any ? change_farm(admin, &wish, &limits, f) : farm_limits(admin, &limits, f);
    if (err == ERR_OK)
        admin_print_object(admin, columns, json_pack("{s:o}", "limits", limits_json(&limits)));
    return err;
}
