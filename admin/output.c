/* What berth-admin prints, and how it reads operands. */
#include "admin/admin.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/limits.h"
#include "core/request.h"
#include "lib/base/print.h"
#include "lib/base/timetext.h"
#include "lib/codec/problem.h"
#include "lib/print/pager.h"
#include "lib/print/table.h"

const char *admin_operand(const struct admin *admin, size_t index)
{
    assert(index < admin->opts->operand_count);
    return admin->opts->operands[index];
}

enum err admin_int(const char *text, struct admin_range range, int64_t *out, struct failure *f)
{
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    bool digits = text[0] >= '0' && text[0] <= '9' && *end == '\0';
    if (!digits || errno || value < range.min || value > range.max) {
        char bounds[64];
        if (range.max < INT64_MAX) {
            snprintf(bounds, sizeof(bounds), "%" PRId64 " to %" PRId64, range.min, range.max);
        } else {
            snprintf(bounds, sizeof(bounds), "%" PRId64 " or more", range.min);
        }
        return failure_set(f, ERR_USAGE, "%s %s: expected a whole number, %s", range.what, text,
                           bounds);
    }
    *out = value;
    return ERR_OK;
}

enum err admin_name(const char *text, const char *what, struct failure *f)
{
    if (name_is_valid(text, LIMIT_NAME_LEN, NULL))
        return ERR_OK;
    return failure_set(f, ERR_USAGE, "%s '%s': expected 1 to %d of A-Z a-z 0-9 . _ -", what, text,
                       LIMIT_NAME_LEN);
}

json_t *admin_json_text(const char *text)
{
    return text && text[0] ? json_string(text) : json_null();
}

json_t *admin_json_time(int64_t ms)
{
    char buf[TIMETEXT_LEN];
    return json_string(timetext_format(ms, buf));
}

/* The columns for the table printer: with the headings of text, or the names of TSV. */
static void table_of(const struct admin *admin, const struct admin_column *columns,
                     struct table_column out[TABLE_COLUMNS_MAX + 1])
{
    size_t i = 0;
    for (; columns[i].key; i++) {
        assert(i < TABLE_COLUMNS_MAX);
        const char *name = admin->format == ADMIN_TSV ? columns[i].key : columns[i].heading;
        out[i] = (struct table_column){name, columns[i].key, NULL};
    }
    out[i] = (struct table_column){0};
}

void admin_print_json(const json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    assert(text); /* otherwise out of memory */
    print_json(stdout, text);
    free(text);
}

void admin_print_rows(const struct admin *admin, const struct admin_column *columns, json_t *items)
{
    if (admin->format == ADMIN_JSON) {
        json_t *object = json_pack("{s:O}", "items", items);
        admin_print_json(object);
        json_decref(object);
    } else if (admin->format == ADMIN_TSV) {
        struct table_column table[TABLE_COLUMNS_MAX + 1];
        json_t *item;
        size_t i;
        table_of(admin, columns, table);
        if (!admin->no_headers)
            table_print_names(table);
        json_array_foreach(items, i, item) table_print_row(table, item);
    } else {
        struct table_column table[TABLE_COLUMNS_MAX + 1];
        table_of(admin, columns, table);
        pager_begin();
        table_print_text(table, items, !admin->no_headers);
    }
    json_decref(items);
}

enum err admin_sort(const struct admin_column *columns, const char *sort, json_t *items,
                    struct failure *f)
{
    const struct admin by_key = {.format = ADMIN_TSV};
    struct table_column table[TABLE_COLUMNS_MAX + 1];
    table_of(&by_key, columns, table);
    return sort ? table_sort(table, sort, items, f) : ERR_OK;
}

void admin_print_object(const struct admin *admin, const struct admin_column *columns,
                        json_t *object)
{
    if (admin->format == ADMIN_JSON) {
        admin_print_json(object);
    } else if (admin->format == ADMIN_TSV) {
        admin_print_rows(admin, columns, json_pack("[O]", object));
    } else {
        struct table_column table[TABLE_COLUMNS_MAX + 1];
        table_of(admin, columns, table);
        for (size_t i = 0; table[i].name; i++) {
            char *text = table_cell(&table[i], object);
            print_line(stdout, "%-20s %s", table[i].name, text);
            free(text);
        }
    }
    json_decref(object);
}

void admin_remark(const struct admin *admin, const char *format, ...)
{
    if (admin->quiet)
        return;
    struct buf text = {0};
    va_list args;
    va_start(args, format);
    buf_vprintf(&text, format, args);
    va_end(args);
    print_line(stderr, "%s", text.data);
    buf_fini(&text);
}

static enum problem_code problem_of(enum err err)
{
    switch (err) {
    case ERR_USAGE:
        return PROBLEM_USAGE;
    case ERR_CONFIG:
        return PROBLEM_CONFIGURATION;
    case ERR_NOT_FOUND:
        return PROBLEM_NOT_FOUND;
    case ERR_DB_CONNECTION:
    case ERR_DB_SERVER:
    case ERR_LOG_TRANSPORT:
    case ERR_TIMEOUT:
        return PROBLEM_UNAVAILABLE;
    default:
        return PROBLEM_INTERNAL;
    }
}

void admin_print_failure(const struct admin *admin, const struct failure *f)
{
    if (admin->format == ADMIN_JSON) {
        struct problem problem = {.code = problem_of(f->err), .detail = f->text};
        json_t *object = problem_json(&problem);
        admin_print_json(object);
        json_decref(object);
    }
    print_line(stderr, "berth-admin: %s", f->text);
}
