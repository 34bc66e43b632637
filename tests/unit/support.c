#include "tests/unit/support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

struct arena *arena;

int arena_setup(void **state)
{
    (void)state;
    arena = arena_new();
    return 0;
}

int arena_teardown(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

struct buf read_file(const char *path)
{
    struct buf text = {0};
    FILE *file = fopen(path, "rb");
    if (!file)
        fail_msg("cannot open %s: run the tests in the top folder", path);
    char piece[4096];
    size_t len;
    while ((len = fread(piece, 1, sizeof(piece), file)) > 0)
        buf_append(&text, piece, len);
    fclose(file);
    return text;
}
