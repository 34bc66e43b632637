#include "lib/print/table.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"
#include "lib/base/nearest.h"
#include "lib/base/print.h"
#include "lib/codec/member.h"

/* The value at the first of the paths, which "|" separates, that leads to one. */
static const json_t *value_at(const json_t *row, const char *paths)
{
    const json_t *value = NULL;
    while (!value && *paths) {
        size_t len = strcspn(paths, "|");
        char *path = xstrndup(paths, len);
        value = member(row, path);
        free(path);
        paths += len + (paths[len] == '|');
    }
    return value;
}

static char *value_text(const json_t *value)
{
    if (json_is_string(value))
        return xstrdup(json_string_value(value));
    if (json_is_integer(value))
        return xasprintf("%" JSON_INTEGER_FORMAT, json_integer_value(value));
    if (json_is_boolean(value))
        return xstrdup(json_is_true(value) ? "yes" : "no");
    struct buf text = {0};
    const char *key;
    json_t *item;
    buf_puts(&text, "");
    json_object_foreach((json_t *)value, key, item)
    {
        char *own = value_text(item);
        buf_printf(&text, "%s%s=%s", text.len > 0 ? " " : "", key, own);
        free(own);
    }
    return text.data;
}

char *table_cell(const struct table_column *column, const json_t *row)
{
    const json_t *value = value_at(row, column->path);
    char *text = value && column->text ? column->text(value) : value_text(value);
    char *cell = *text ? print_visible(text) : xstrdup("-");
    free(text);
    return cell;
}

/* A cell of TSV, and the tab or line end behind it. */
static void print_cell(const struct table_column *columns, size_t i, const char *text)
{
    print_part(stdout, "%s", text);
    putc(columns[i + 1].name ? '\t' : '\n', stdout);
}

void table_print_names(const struct table_column *columns)
{
    for (size_t i = 0; columns[i].name; i++)
        print_cell(columns, i, columns[i].name);
}

void table_print_row(const struct table_column *columns, const json_t *row)
{
    for (size_t i = 0; columns[i].name; i++) {
        char *text = table_cell(&columns[i], row);
        print_cell(columns, i, text);
        free(text);
    }
}

/* Characters, not bytes; wide ones count as one. */
static int text_width(const char *text)
{
    int width = 0;
    for (; *text; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

/* Prints the cell after the blanks that the one before left to do, and returns its own: a line ends
 * without blanks. */
static int print_padded(const char *text, int width, int missing)
{
    print_part(stdout, "%*s%s", missing, "", text);
    return width - text_width(text) + 2;
}

void table_print_text(const struct table_column *columns, const json_t *items, bool headings)
{
    size_t row_count = json_array_size(items), column_count = 0;
    int widths[TABLE_COLUMNS_MAX];
    while (columns[column_count].name)
        column_count++;
    assert(column_count > 0 && column_count <= TABLE_COLUMNS_MAX);
    char **cells = xcalloc(row_count * column_count + 1, sizeof(*cells));
    for (size_t i = 0; i < column_count; i++) {
        widths[i] = headings ? text_width(columns[i].name) : 0;
        for (size_t k = 0; k < row_count; k++) {
            char *text = table_cell(&columns[i], json_array_get(items, k));
            int width = text_width(text);
            widths[i] = width > widths[i] ? width : widths[i];
            cells[k * column_count + i] = text;
        }
    }
    for (size_t i = 0, missing = 0; headings && i < column_count; i++)
        missing = (size_t)print_padded(columns[i].name, widths[i], (int)missing);
    if (headings)
        putc('\n', stdout);
    for (size_t k = 0; k < row_count; k++) {
        int missing = 0;
        for (size_t i = 0; i < column_count; i++) {
            missing = print_padded(cells[k * column_count + i], widths[i], missing);
            free(cells[k * column_count + i]);
        }
        putc('\n', stdout);
    }
    free(cells);
}

/* An object to sort: its place before, and its value of the column. */
struct entry {
    json_t *item;
    const json_t *value;
    size_t place;
    bool reverse;
};

static int compare_values(const json_t *a, const json_t *b)
{
    if (json_is_integer(a) && json_is_integer(b)) {
        json_int_t left = json_integer_value(a), right = json_integer_value(b);
        return left < right ? -1 : left > right;
    }
    if (json_is_string(a) && json_is_string(b))
        return strcmp(json_string_value(a), json_string_value(b));
    return 0;
}

static int compare_entries(const void *left, const void *right)
{
    const struct entry *a = left, *b = right;
    bool a_none = !a->value || json_is_null(a->value), b_none = !b->value || json_is_null(b->value);
    int order = a_none || b_none ? a_none - b_none : compare_values(a->value, b->value);
    if (order != 0)
        return a->reverse && !a_none && !b_none ? -order : order;
    return a->place < b->place ? -1 : 1;
}

static enum err find_column(const struct table_column *columns, const char *name,
                            const struct table_column **out, struct failure *f)
{
    struct nearest nearest;
    struct buf names = {0};
    nearest_init(&nearest, name);
    for (; columns->name; columns++) {
        if (strcmp(columns->name, name) == 0) {
            *out = columns;
            buf_fini(&names);
            return ERR_OK;
        }
        nearest_offer_as(&nearest, columns->name, columns->name);
        buf_printf(&names, "%s%s", names.len > 0 ? ", " : "", columns->name);
    }
    const char *meant = nearest_result(&nearest);
    failure_set(f, ERR_USAGE, "--sort '%.60s': expected one of %s%s%s%s", name, names.data,
                meant ? "; did you mean " : "", meant ? meant : "", meant ? "?" : "");
    buf_fini(&names);
    return ERR_USAGE;
}

enum err table_sort(const struct table_column *columns, const char *name, json_t *items,
                    struct failure *f)
{
    size_t count = json_array_size(items);
    const struct table_column *column;
    bool reverse = name[0] == '-';
    if (find_column(columns, name + reverse, &column, f) != ERR_OK)
        return f->err;
    struct entry *entries = xcalloc(count + 1, sizeof(*entries));
    for (size_t i = 0; i < count; i++) {
        json_t *item = json_array_get(items, i);
        entries[i] = (struct entry){json_incref(item), value_at(item, column->path), i, reverse};
    }
    if (count > 1)
        qsort(entries, count, sizeof(*entries), compare_entries);
    for (size_t i = 0; i < count; i++)
        json_array_set_new(items, i, entries[i].item);
    free(entries);
    return ERR_OK;
}
