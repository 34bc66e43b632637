#include "core/pool.h"

#include <stdlib.h>
#include <string.h>

#include "core/heap.h"

/* The first room for block pointers; it doubles. */
#define POOL_FIRST_ROOM  8
/* Blocks whose slots 32 bits can name; `next_fresh` itself must fit too. */
#define POOL_BLOCK_LIMIT (UINT32_MAX >> POOL_BLOCK_SHIFT)

static_assert(POOL_SLOT_BYTES % POOL_LINE_BYTES == 0, "slots must stay aligned in their block");
static_assert(POOL_SLOT_BYTES >= sizeof(uint32_t), "a slot given back holds the next one's number");

struct pool *pool_new(void)
{
    struct pool *pool = heap_alloc(sizeof(*pool));
    /* Slot 0 stays unused: it is POOL_NIL. */
    pool->next_fresh = 1;
    pool->first_given = POOL_NIL;
    return pool;
}

void pool_free(struct pool *pool)
{
    if (!pool)
        return;
    for (uint32_t i = 0; i < pool->block_count; i++)
        free(pool->blocks[i]);
    free(pool->blocks);
    free(pool);
}

static void pool_add_block(struct pool *pool)
{
    assert(pool->block_count < POOL_BLOCK_LIMIT);
    if (pool->block_count == pool->block_room) {
        uint32_t room = pool->block_room == 0 ? POOL_FIRST_ROOM : pool->block_room * 2;
        pool->blocks = heap_array(pool->blocks, room, sizeof(*pool->blocks));
        pool->block_room = room;
    }
    assert(pool->block_count < pool->block_room);
    pool->blocks[pool->block_count] = heap_aligned(POOL_LINE_BYTES,
                                                   (size_t)POOL_BLOCK_SLOTS * POOL_SLOT_BYTES);
    pool->block_count++;
}

uint32_t pool_take(struct pool *pool)
{
    uint32_t slot = pool->first_given;
    if (slot != POOL_NIL) {
        memcpy(&pool->first_given, pool_at(pool, slot), sizeof(slot));
    } else {
        slot = pool->next_fresh;
        if (slot >> POOL_BLOCK_SHIFT == pool->block_count)
            pool_add_block(pool);
        pool->next_fresh++;
    }
    pool->used_count++;
    assert(slot != POOL_NIL);
    assert(slot < pool->next_fresh);
    return slot;
}

void pool_give(struct pool *pool, uint32_t slot)
{
    assert(pool->used_count > 0);
    memcpy(pool_at(pool, slot), &pool->first_given, sizeof(slot));
    pool->first_given = slot;
    pool->used_count--;
}
