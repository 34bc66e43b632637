/* Memory for one batch: allocated piece by piece, freed all at once. */
#ifndef BERTH_CORE_ARENA_H
#define BERTH_CORE_ARENA_H

#include <stddef.h>

struct arena;

/* Heap; never NULL: out of memory prints a line and aborts. */
struct arena *arena_new(void);
/* Frees the arena with all pieces. NULL is fine. */
void arena_free(struct arena *arena);
/* Frees all pieces, whose pointers become invalid; keeps one block for the next batch. */
void arena_reset(struct arena *arena);
/* `size` zeroed bytes, aligned for any type; size 0 gives a unique pointer. Never NULL. */
void *arena_alloc(struct arena *arena, size_t size);
/* A copy of `len` bytes with a NUL behind it. */
char *arena_strndup(struct arena *arena, const char *text, size_t len);
char *arena_strdup(struct arena *arena, const char *text);
/* printf into the arena. */
char *arena_printf(struct arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
