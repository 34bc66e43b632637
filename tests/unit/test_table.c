/* Lists as tables: TSV, aligned text, order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/mem.h"
#include "lib/print/table.h"

static const struct table_column columns[] = {{"name", "name", NULL},
                                              {"gpus", "a.gpus|gpus", NULL},
                                              {"up", "up", NULL},
                                              {"labels", "labels", NULL},
                                              {0}};

static json_t *rows(void)
{
    json_t *items = json_pack("[{s:s, s:i, s:b, s:{s:s, s:i}}, {s:s, s:{s:i}}, {s:s, s:i}]", "name",
                              "gpu-10", "gpus", 9, "up", 1, "labels", "zone", "a", "n", 2, "name",
                              "größe\tx", "a", "gpus", 10, "name", "a", "gpus", 9);
    assert_non_null(items);
    return items;
}

/* What the function prints; caller frees. */
static char *printed(void (*print)(const json_t *items), const json_t *items)
{
    char *text = xcalloc(1, 4096);
    FILE *file = tmpfile();
    fflush(stdout);
    int saved = dup(STDOUT_FILENO);
    assert_true(dup2(fileno(file), STDOUT_FILENO) >= 0);
    print(items);
    fflush(stdout);
    assert_true(dup2(saved, STDOUT_FILENO) >= 0);
    close(saved);
    rewind(file);
    assert_true(fread(text, 1, 4095, file) > 0);
    fclose(file);
    return text;
}

static void print_tsv(const json_t *items)
{
    table_print_names(columns);
    for (size_t i = 0; i < json_array_size(items); i++)
        table_print_row(columns, json_array_get(items, i));
}

static void print_text(const json_t *items)
{
    table_print_text(columns, items, true);
}

static void test_print(void **state)
{
    (void)state;
    json_t *items = rows();
    char *text = printed(print_tsv, items);
    assert_string_equal(text, "name\tgpus\tup\tlabels\n"
                              "gpu-10\t9\tyes\tzone=a n=2\n"
                              "größe\\u0009x\t10\t-\t-\n"
                              "a\t9\t-\t-\n");
    free(text);
    text = printed(print_text, items);
    assert_string_equal(text, "name          gpus  up   labels\n"
                              "gpu-10        9     yes  zone=a n=2\n"
                              "größe\\u0009x  10    -    -\n"
                              "a             9     -    -\n");
    free(text);
    json_decref(items);
}

static void check_sorted(const char *column, const char *expected)
{
    struct failure f;
    struct buf names = {0};
    json_t *items = rows();
    assert_int_equal(table_sort(columns, column, items, &f), ERR_OK);
    for (size_t i = 0; i < json_array_size(items); i++) {
        char *cell = table_cell(&columns[0], json_array_get(items, i));
        buf_printf(&names, "%s%.1s", i > 0 ? " " : "", cell);
        free(cell);
    }
    assert_string_equal(names.data, expected);
    buf_fini(&names);
    json_decref(items);
}

static void test_sort(void **state)
{
    (void)state;
    struct failure f;
    json_t *items = rows();
    check_sorted("name", "a g g");
    check_sorted("-name", "g g a");
    /* Numbers by value; equal ones as they were. */
    check_sorted("gpus", "g a g");
    check_sorted("-gpus", "g g a");
    /* Without a value: last, either way. */
    check_sorted("up", "g g a");
    check_sorted("-up", "g g a");
    assert_int_equal(table_sort(columns, "nam", items, &f), ERR_USAGE);
    assert_string_equal(f.text, "--sort 'nam': expected one of name, gpus, up, labels; did you "
                                "mean name?");
    json_decref(items);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_print), cmocka_unit_test(test_sort)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
