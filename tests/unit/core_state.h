/* What tests and measurements see inside of a timeline and its pool. */
#ifndef BERTH_TESTS_CORE_STATE_H
#define BERTH_TESTS_CORE_STATE_H

#include "core/timeline_tree.h"

/* Change points stored. */
static inline size_t timeline_point_count(const struct timeline *tl)
{
    return tl->point_count;
}

/* Slots that are taken. */
static inline size_t pool_used(const struct pool *pool)
{
    return pool->used_count;
}

/* Bytes that the pool has from libc, used or not. */
static inline size_t pool_bytes(const struct pool *pool)
{
    return sizeof(*pool) + pool->block_room * sizeof(*pool->blocks) +
           (size_t)pool->block_count * POOL_BLOCK_SLOTS * POOL_SLOT_BYTES;
}

/* Whether order, balance, spans and the count of points are right and no point changes nothing.
 * O(n). */
bool timeline_check(const struct timeline *tl);

#endif
