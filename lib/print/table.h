/* Lists of JSON objects as tables: aligned text for people, TSV for scripts. */
#ifndef BERTH_LIB_PRINT_TABLE_H
#define BERTH_LIB_PRINT_TABLE_H

#include <jansson.h>
#include <stdbool.h>

#include "lib/base/err.h"

/* Columns of a table. */
#define TABLE_COLUMNS_MAX 24

struct table_column {
    const char *name; /* the heading; in TSV also the name for scripts. NULL ends the table */
    const char *path; /* of the cell's value in the row's object; "a|b": at a, else at b */
    /* Makes the cell's text; caller frees. NULL: a string, a number, a boolean as yes or no, or an
     * object of these as "name=value …". */
    char *(*text)(const json_t *value);
};

/* A line of TSV on stdout: the names, or a row. A cell without a value is "-". */
void table_print_names(const struct table_column *columns);
void table_print_row(const struct table_column *columns, const json_t *row);
/* The rows on stdout as columns of equal width, with a line of headings if wanted. */
void table_print_text(const struct table_column *columns, const json_t *items, bool headings);
/* The cell as visible text (core/utf8.h); caller frees. */
char *table_cell(const struct table_column *column, const json_t *row);

/* Sorts the objects of an array by a column, numbers by their value and text by its bytes; equal
 * ones keep their order, and those without a value come last. "-NAME" sorts in reverse. ERR_USAGE:
 * no column has that name; the failure names the nearest. */
enum err table_sort(const struct table_column *columns, const char *name, json_t *items,
                    struct failure *f);

#endif
