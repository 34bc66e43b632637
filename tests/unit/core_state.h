/* A timeline's and its pool's internal state, for tests and benchmarks. */
#ifndef BERTH_TESTS_CORE_STATE_H
#define BERTH_TESTS_CORE_STATE_H

#include "core/timeline_tree.h"

/* Change points stored. */
static inline size_t timeline_point_count(const struct timeline *tl)
{
    return tl->point_count;
}

/* Slots in use. */
static inline size_t pool_used(const struct pool *pool)
{
    return pool->used_count;
}

/* Bytes that the pool has allocated from libc, used or not. */
static inline size_t pool_bytes(const struct pool *pool)
{
    return sizeof(*pool) + pool->block_room * sizeof(*pool->blocks) +
           (size_t)pool->block_count * POOL_BLOCK_SLOTS * POOL_SLOT_BYTES;
}

/* Whether order, balance, spans and point count are correct and every point changes the use.
 * O(n). */
bool timeline_check(const struct timeline *tl);

#endif
