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
#include "lib/base/timetext.h"
#include "lib/codec/problem.h"

#define COLUMNS_MAX 24

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

/* "a=1 b=2"; caller frees. */
static char *members_text(const json_t *object)
{
    struct buf text = {0};
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value) buf_printf(
        &text, "%s%s=%" JSON_INTEGER_FORMAT, text.len ? " " : "", key, json_integer_value(value));
    return text.data ? text.data : xstrdup("");
}

/* The cell as text; caller frees. Tabs and line ends become blanks, since they would end the cell.
 * */
static char *cell_text(const json_t *row, const char *key)
{
    const json_t *value = json_object_get(row, key);
    char *text;
    if (json_is_string(value)) {
        text = xstrdup(json_string_value(value));
    } else if (json_is_integer(value)) {
        text = xasprintf("%" JSON_INTEGER_FORMAT, json_integer_value(value));
    } else if (json_is_boolean(value)) {
        text = xstrdup(json_is_true(value) ? "yes" : "no");
    } else if (json_is_object(value)) {
        text = members_text(value);
    } else {
        text = xstrdup("");
    }
    for (char *c = text; *c; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = ' ';
    }
    if (text[0] == '\0') {
        free(text);
        text = xstrdup("-");
    }
    return text;
}

/* Characters, not bytes; wide ones count as one. */
static int text_width(const char *text)
{
    int width = 0;
    for (; *text; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

/* row NULL: the headings. widths NULL: TSV. */
static void print_row(const struct admin_column *columns, const int *widths, const json_t *row)
{
    int missing = 0; /* blanks owed to the cell before; a line ends without any */
    for (size_t i = 0; columns[i].key; i++) {
        const char *heading = widths ? columns[i].heading : columns[i].key;
        char *text = row ? cell_text(row, columns[i].key) : xstrdup(heading);
        printf("%*s%s%s", missing, "", i && !widths ? "\t" : "", text);
        missing = widths ? widths[i] - text_width(text) + 2 : 0;
        free(text);
    }
    putchar('\n');
}

static void print_table(const struct admin *admin, const struct admin_column *columns,
                        const json_t *items)
{
    bool text = admin->format == ADMIN_TEXT;
    int widths[COLUMNS_MAX] = {0};
    for (size_t i = 0; text && columns[i].key; i++) {
        assert(i < COLUMNS_MAX);
        widths[i] = admin->no_headers ? 0 : text_width(columns[i].heading);
        for (size_t k = 0; k < json_array_size(items); k++) {
            char *cell = cell_text(json_array_get(items, k), columns[i].key);
            int width = text_width(cell);
            widths[i] = width > widths[i] ? width : widths[i];
            free(cell);
        }
    }
    if (!admin->no_headers)
        print_row(columns, text ? widths : NULL, NULL);
    for (size_t k = 0; k < json_array_size(items); k++)
        print_row(columns, text ? widths : NULL, json_array_get(items, k));
}

static void print_json(const json_t *value)
{
    json_dumpf(value, stdout, JSON_COMPACT | JSON_ENCODE_ANY);
    putchar('\n');
}

void admin_print_rows(const struct admin *admin, const struct admin_column *columns, json_t *items)
{
    if (admin->format == ADMIN_JSON) {
        json_t *object = json_pack("{s:O}", "items", items);
        print_json(object);
        json_decref(object);
    } else {
        print_table(admin, columns, items);
    }
    json_decref(items);
}

void admin_print_object(const struct admin *admin, const struct admin_column *columns,
                        json_t *object)
{
    if (admin->format == ADMIN_JSON) {
        print_json(object);
    } else if (admin->format == ADMIN_TSV) {
        admin_print_rows(admin, columns, json_pack("[O]", object));
    } else {
        for (size_t i = 0; columns[i].key; i++) {
            char *text = cell_text(object, columns[i].key);
            printf("%-20s %s\n", columns[i].heading, text);
            free(text);
        }
    }
    json_decref(object);
}

void admin_remark(const struct admin *admin, const char *format, ...)
{
    if (admin->quiet)
        return;
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
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
        print_json(object);
        json_decref(object);
    }
    fprintf(stderr, "berth-admin: %s\n", f->text);
}
