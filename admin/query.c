/* berth-admin's statements: values as literals, rows as JSON. */
#include "admin/admin.h"

#include <assert.h>
#include <stdarg.h>

#include "admin/client_limits.h"
#include "db/migrate.h"

#define LONG_TIMEOUT_S 3600

enum err admin_open_database(struct admin *admin, bool check_schema, struct failure *f)
{
    enum err err = mysql_settings_read(admin->cfg, "admin", &admin->settings, f);
    if (err != ERR_OK)
        return err;
    admin->settings.io_timeout_s = LONG_TIMEOUT_S;
    admin->settings.lock_timeout_s = 20;
    admin->settings.read_only = admin->read_only;
    admin->session = mysql_session_new(&admin->settings);
    err = mysql_session_connect(admin->session, f);
    if (err == ERR_OK && check_schema)
        err = migrate_check(admin->session, f);
    return err;
}

enum err admin_wait_outside(struct admin *admin, struct failure *f)
{
    return mysql_session_execf(admin->session, f, "prepare the session",
                               "SET SESSION wait_timeout = %d", LONG_TIMEOUT_S);
}

enum err admin_reopen_database(struct admin *admin, struct failure *f)
{
    mysql_session_free(admin->session);
    admin->session = NULL;
    return admin_open_database(admin, true, f);
}

struct buf admin_sql(const char *format, ...)
{
    struct buf sql = {0};
    va_list args;
    va_start(args, format);
    for (; *format; format++) {
        if (*format == '?') {
            sql_text_or_null(&sql, va_arg(args, const char *));
        } else if (*format == '#') {
            sql_int(&sql, va_arg(args, int64_t));
        } else {
            buf_append(&sql, format, 1);
        }
    }
    va_end(args);
    return sql;
}

enum err admin_query(struct admin *admin, const char *what, struct buf sql, MYSQL_RES **out,
                     struct failure *f)
{
    enum err err = mysql_session_query(admin->session, what, sql.data, sql.len, out, f);
    buf_fini(&sql);
    return err;
}

enum err admin_row(struct admin *admin, const char *what, struct buf sql, MYSQL_ROW *out,
                   struct failure *f)
{
    mysql_free_result(admin->found);
    admin->found = NULL;
    enum err err = admin_query(admin, what, sql, &admin->found, f);
    *out = err == ERR_OK ? mysql_fetch_row(admin->found) : NULL;
    return err;
}

enum err admin_exec(struct admin *admin, const char *what, struct buf sql, struct failure *f)
{
    enum err err = mysql_session_exec(admin->session, what, sql.data, sql.len, f);
    buf_fini(&sql);
    return err;
}

enum err admin_no_farm(struct failure *f)
{
    return failure_set(f, ERR_NOT_FOUND,
                       "there is no farm yet: run `berth-admin init --farm NAME`");
}

static json_t *value_of(char kind, char **fields)
{
    if (kind == 'l')
        return admin_json_limits(fields);
    if (!fields[0])
        return json_null();
    if (kind == 'i')
        return json_integer(field_int(fields[0]));
    if (kind == 't')
        return admin_json_time(field_int(fields[0]));
    assert(kind == 's');
    return admin_json_text(fields[0]);
}

json_t *admin_json_row(const struct admin_column *columns, const char *kinds, char **fields)
{
    json_t *item = json_object();
    for (size_t i = 0; kinds[i]; i++)
        json_object_set_new(item, columns[i].key, value_of(kinds[i], fields + i));
    return item;
}

enum err admin_list(struct admin *admin, const struct admin_list *list, struct failure *f)
{
    MYSQL_RES *res = NULL;
    admin->read_only = true;
    enum err err = admin_open_database(admin, true, f);
    if (err == ERR_OK)
        err = mysql_session_read(admin->session, list->what, list->sql, &res, f);
    if (err != ERR_OK)
        return err;
    json_t *items = json_array();
    MYSQL_ROW row;
    while ((row = mysql_fetch_row(res)))
        json_array_append_new(items, admin_json_row(list->columns, list->kinds, row));
    mysql_free_result(res);
    err = admin_sort(list->columns, options_value(admin->opts, "sort"), items, f);
    if (err == ERR_OK) {
        admin_print_rows(admin, list->columns, items);
    } else {
        json_decref(items);
    }
    return err;
}
