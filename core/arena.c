#include "core/arena.h"

#include "core/heap.h"

#include <assert.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Each block is twice as large as the one before, so a worker whose batches need megabytes soon has
 * one block for a whole batch. A block above KEPT_BYTES was needed once and is freed. */
#define FIRST_BYTES ((size_t)64 * 1024)
#define KEPT_BYTES  ((size_t)8 * 1024 * 1024)
#define ALIGNMENT   _Alignof(max_align_t)

/* Under ASan a reset frees every block, so that ASan finds pointers that outlive their batch. */
#if defined(__SANITIZE_ADDRESS__)
#define KEEP_A_BLOCK false
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define KEEP_A_BLOCK false
#endif
#endif
#ifndef KEEP_A_BLOCK
#define KEEP_A_BLOCK true
#endif

struct block {
    struct block *next;
    size_t size, used;
    max_align_t data[];
};

struct arena {
    struct block *head; /* the block that is being filled */
};

struct arena *arena_new(void)
{
    return heap_alloc(sizeof(struct arena));
}

static void free_blocks(struct block *block)
{
    while (block) {
        struct block *next = block->next;
        free(block);
        block = next;
    }
}

void arena_free(struct arena *arena)
{
    if (!arena)
        return;
    free_blocks(arena->head);
    free(arena);
}

void arena_reset(struct arena *arena)
{
    struct block *kept = NULL;
    struct block *block = arena->head;
    while (block) {
        struct block *next = block->next;
        bool better = !kept || block->size > kept->size;
        if (KEEP_A_BLOCK && better && block->size <= KEPT_BYTES) {
            free(kept);
            kept = block;
        } else {
            free(block);
        }
        block = next;
    }
    if (kept) {
        kept->next = NULL;
        kept->used = 0;
    }
    arena->head = kept;
}

static void add_block(struct arena *arena, size_t needed)
{
    size_t size = !arena->head ? FIRST_BYTES : arena->head->size * 2;
    if (size > KEPT_BYTES)
        size = KEPT_BYTES;
    if (size < needed)
        size = needed;
    assert(size <= SIZE_MAX - sizeof(struct block));
    /* heap_array and not heap_alloc: arena_alloc zeroes what it hands out. */
    struct block *block = heap_array(NULL, 1, sizeof(*block) + size);
    block->next = arena->head;
    block->size = size;
    block->used = 0;
    arena->head = block;
}

static void *take(struct arena *arena, size_t size)
{
    assert(size <= SIZE_MAX - ALIGNMENT);
    size_t needed = (size + (size == 0) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (!arena->head || arena->head->size - arena->head->used < needed)
        add_block(arena, needed);
    struct block *block = arena->head;
    assert(block->used % ALIGNMENT == 0);
    assert(block->size - block->used >= needed);
    void *piece = (unsigned char *)block->data + block->used;
    block->used += needed;
    return piece;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    return memset(take(arena, size), 0, size);
}

char *arena_strndup(struct arena *arena, const char *text, size_t len)
{
    assert(len < SIZE_MAX);
    char *copy = take(arena, len + 1);
    if (len > 0)
        memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

char *arena_strdup(struct arena *arena, const char *text)
{
    return arena_strndup(arena, text, strlen(text));
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
    char small[256];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(small, sizeof(small), format, args);
    va_end(args);
    assert(len >= 0);
    if ((size_t)len < sizeof(small))
        return arena_strndup(arena, small, (size_t)len);

    char *text = take(arena, (size_t)len + 1);
    va_start(args, format);
    int again = vsnprintf(text, (size_t)len + 1, format, args);
    va_end(args);
    assert(again == len);
    return text;
}
