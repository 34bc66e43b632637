/* Slots of one fixed size for tree nodes, named by 32-bit numbers and carved from big blocks.
 *
 * One pool serves all timelines of a worker: its nodes cost no malloc header each, and
 * a link between nodes is 4 bytes instead of 8. A slot never moves, so a pointer from pool_at stays
 * valid until the slot is given back. A slot that is given back is taken again first; blocks return
 * to libc only with pool_free. Not for sharing between threads. */
#ifndef BERTH_CORE_POOL_H
#define BERTH_CORE_POOL_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

/* What a slot holds; timeline.c asserts at compile time that its nodes fit. */
#define POOL_SLOT_BYTES  512
/* Slots begin with a cache line, so that one takes no more lines than it must. */
#define POOL_LINE_BYTES  64
/* Slots in one block (128 KiB): what a pool grows by. A power of two, so that pool_at is a shift.
 */
#define POOL_BLOCK_SHIFT 8
#define POOL_BLOCK_SLOTS (UINT32_C(1) << POOL_BLOCK_SHIFT)
/* No slot has this number: the empty link. */
#define POOL_NIL         UINT32_C(0)

/* Defined here so that pool_at can be inlined; only pool.c uses the members. */
struct pool {
    unsigned char **blocks;
    uint32_t block_count;
    uint32_t block_room;  /* pointers that `blocks` has room for */
    uint32_t next_fresh;  /* the lowest slot that was never taken */
    uint32_t first_given; /* head of the list of free slots */
    size_t used_count;
};

/* Heap; never NULL: out of memory, here and in pool_take, prints a line and aborts. */
struct pool *pool_new(void);
/* Frees all blocks, with all slots and the timelines in them. NULL is fine. */
void pool_free(struct pool *pool);

/* A slot of POOL_SLOT_BYTES bytes, aligned to POOL_LINE_BYTES, contents undefined; never
 * POOL_NIL. */
uint32_t pool_take(struct pool *pool);
/* Takes back a slot that came from pool_take of this pool; its contents are lost. */
void pool_give(struct pool *pool, uint32_t slot);

/* The slot's memory, borrowed. */
static inline void *pool_at(const struct pool *pool, uint32_t slot)
{
    assert(slot != POOL_NIL);
    assert(slot < pool->next_fresh);
    size_t offset = (size_t)(slot & (POOL_BLOCK_SLOTS - 1)) * POOL_SLOT_BYTES;
    return pool->blocks[slot >> POOL_BLOCK_SHIFT] + offset;
}

#endif
