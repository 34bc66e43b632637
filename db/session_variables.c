#include "db/session_variables.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct variable {
    const char *name, *value; /* as SHOW VARIABLES shows it; SET takes it, too */
    enum {
        BY_NAME,      /* SET name = value */
        BY_STATEMENT, /* by a statement of its own */
        BY_MARIADB    /* SET name = value, on MariaDB only */
    } set;
};

/* The list is complete but for limits of memory and time: those let a statement fail, but never change
 * its meaning. sql_quoted relies on the modes of sql_mode, which are in the order in which the servers
 * show them; STRICT_ALL_TABLES makes a value that does not fit an error. */
static const struct variable fixed[] = {
    {"character_set_client", "binary", BY_STATEMENT},
    {"character_set_connection", "binary", BY_STATEMENT},
    {"character_set_results", "binary", BY_STATEMENT},
    {"sql_mode",
     "ONLY_FULL_GROUP_BY,STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION",
     BY_NAME},
    {"time_zone", "+00:00", BY_NAME},
    {"sql_select_limit", "18446744073709551615", BY_NAME},
    {"sql_big_selects", "ON", BY_NAME},
    {"sql_safe_updates", "OFF", BY_NAME},
    {"sql_auto_is_null", "OFF", BY_NAME},
    {"foreign_key_checks", "ON", BY_NAME},
    {"unique_checks", "ON", BY_NAME},
    {"check_constraint_checks", "ON", BY_MARIADB},
    {"completion_type", "NO_CHAIN", BY_NAME}, /* else COMMIT could begin the next transaction */
};
#define FIXED_COUNT (sizeof(fixed) / sizeof(fixed[0]))

enum { CHOSEN_COUNT = 8, SECONDS_LEN = 12 };

struct wanted {
    struct variable list[FIXED_COUNT + CHOSEN_COUNT];
    char lock_s[SECONDS_LEN], idle_s[SECONDS_LEN];
};
#define WANTED_COUNT (FIXED_COUNT + CHOSEN_COUNT)

/* The isolation has another name on each server; the one that a server lacks is not shown. */
static void fill(struct wanted *out, const struct mysql_settings *settings)
{
    const char *read_only = settings->read_only ? "ON" : "OFF";
    const char *isolation = settings->read_only ? "REPEATABLE-READ" : "READ-COMMITTED";
    snprintf(out->lock_s, sizeof(out->lock_s), "%d", settings->lock_timeout_s);
    snprintf(out->idle_s, sizeof(out->idle_s), "%d", settings->idle_timeout_s);
    const struct variable chosen[CHOSEN_COUNT] = {
        {"autocommit", read_only, BY_NAME},
        {"wait_timeout", out->idle_s, BY_NAME},
        {"innodb_lock_wait_timeout", out->lock_s, BY_NAME},
        {"lock_wait_timeout", out->lock_s, BY_NAME},
        {"transaction_isolation", isolation, BY_STATEMENT},
        {"tx_isolation", isolation, BY_STATEMENT},
        {"transaction_read_only", read_only, BY_STATEMENT},
        {"tx_read_only", read_only, BY_STATEMENT},
    };
    memcpy(out->list, fixed, sizeof(fixed));
    memcpy(out->list + FIXED_COUNT, chosen, sizeof(chosen));
}

static void set_sql(const struct wanted *wanted, struct buf *sql)
{
    buf_puts(sql, "SET NAMES binary");
    for (size_t i = 0; i < WANTED_COUNT; i++) {
        const struct variable *v = &wanted->list[i];
        bool number = v->value[strspn(v->value, "0123456789")] == '\0';
        if (v->set != BY_STATEMENT) {
            buf_printf(sql, "%s, SESSION %s = %s%s%s%s", v->set == BY_MARIADB ? " /*M!" : "",
                       v->name, number ? "" : "'", v->value, number ? "" : "'",
                       v->set == BY_MARIADB ? " */" : "");
        }
    }
}

static void show_sql(const struct wanted *wanted, struct buf *sql)
{
    buf_puts(sql, "SHOW SESSION VARIABLES WHERE Variable_name IN ('log_bin', 'binlog_format'");
    for (size_t i = 0; i < WANTED_COUNT; i++)
        buf_printf(sql, ", '%s'", wanted->list[i].name);
    buf_puts(sql, ")");
}

static enum err check_one(const struct wanted *wanted, const char *name, const char *value,
                          struct failure *f)
{
    for (size_t i = 0; i < WANTED_COUNT; i++) {
        const struct variable *v = &wanted->list[i];
        if (strcmp(v->name, name) == 0 && strcmp(v->value, value) != 0) {
            return failure_set(f, ERR_DB_ERROR,
                               "the session's %s is %.100s although Berth set it to %s: connect to "
                               "the server itself, not to a proxy that changes sessions",
                               name, value, v->value);
        }
    }
    return ERR_OK;
}

/* Compares all variables of the result, and adds up what the binary log says. */
static enum err check_all(const struct wanted *wanted, MYSQL_RES *rows, bool writes,
                          struct failure *f)
{
    bool logs = false, statements = false;
    enum err err = ERR_OK;
    MYSQL_ROW row;
    while (err == ERR_OK && (row = mysql_fetch_row(rows))) {
        logs = logs || (strcmp(row[0], "log_bin") == 0 && strcmp(row[1], "ON") == 0);
        statements = statements ||
                     (strcmp(row[0], "binlog_format") == 0 && strcmp(row[1], "STATEMENT") == 0);
        err = check_one(wanted, row[0], row[1], f);
    }
    if (err == ERR_OK && writes && logs && statements) {
        err = failure_set(f, ERR_DB_ERROR,
                          "the server's binlog_format is STATEMENT, with which it refuses writes "
                          "under READ COMMITTED: set it to ROW");
    }
    return err;
}

enum err session_variables_set(struct mysql_session *session, const struct mysql_settings *settings,
                               struct failure *f)
{
    static const char what[] = "prepare the session";
    struct wanted wanted;
    struct buf set = {0}, show = {0};
    MYSQL_RES *rows = NULL;
    fill(&wanted, settings);
    set_sql(&wanted, &set);
    show_sql(&wanted, &show);
    enum err err = mysql_session_exec(session, what, set.data, set.len, f);
    if (err == ERR_OK) {
        err = mysql_session_execf(session, f, what, "SET SESSION TRANSACTION ISOLATION LEVEL %s",
                                  settings->read_only ? "REPEATABLE READ, READ ONLY"
                                                      : "READ COMMITTED, READ WRITE");
    }
    if (err == ERR_OK)
        err = mysql_session_query(session, what, show.data, show.len, &rows, f);
    if (err == ERR_OK) {
        err = check_all(&wanted, rows, !settings->read_only, f);
        mysql_free_result(rows);
    }
    buf_fini(&set);
    buf_fini(&show);
    return err;
}
