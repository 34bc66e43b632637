/* The tree of a timeline's change points (timeline.h). Only for the files of the timeline, and for
 * tests that look inside.
 *
 * Why a B+ tree. On a large timeline an operation costs its cache misses, and a binary tree has one
 * for each level: about twenty for each of two changes at a million bookings. Here the points lie
 * in time order in leaves of half a KiB. Above them are six levels of inner nodes of the same size.
 * An inner node holds, beside each link, what questions ask of the subtree behind it, so that a
 * walk that skips a subtree does not read it. A point costs 16 bytes and its part of the leaf's
 * free room. A search that looks at many points reads them one after the other.
 *
 * All leaves have the same depth. A full node is split. A node that is nearly empty joins a
 * neighbour if both fit into one node with room to spare. An empty node is removed. Nothing else
 * keeps nodes filled, but the tree is never higher than the largest number of points that it once
 * had needs, because only a full root makes it higher. Clients choose the keys, and no choice makes
 * the tree deep. */
#ifndef BERTH_CORE_TIMELINE_TREE_H
#define BERTH_CORE_TIMELINE_TREE_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/amount.h"
#include "core/pool.h"
#include "core/timeline.h"

/* A difference of two uses. */
struct diff {
    int32_t gpus;
    int32_t memory_gib;
};

/* The points of a subtree: the sum of all of them and, for each component, the highest and the
 * lowest of their prefix sums. */
struct span {
    struct diff sum;
    struct diff high;
    struct diff low;
};

#define LEAF_POINTS  31
#define INNER_LINKS  14
/* A node with fewer entries joins a neighbour if both have at most so many together. */
#define LEAF_FEW     8
#define LEAF_JOINED  24
#define INNER_FEW    4
#define INNER_JOINED 11
/* The highest tree: 7^16 points are more than the pool has slots for. */
#define LEVEL_LIMIT  16

/* Change points in time order. */
struct leaf {
    uint32_t count;
    int64_t at_ms[LEAF_POINTS];
    struct diff delta[LEAF_POINTS];
};

/* Links to the nodes of the level below in time order, each with the time of the subtree's first
 * point and with its span. */
struct inner {
    uint32_t count;
    uint32_t node[INNER_LINKS];
    int64_t first_ms[INNER_LINKS];
    struct span span[INNER_LINKS];
};
static_assert(sizeof(struct leaf) <= POOL_SLOT_BYTES, "a leaf fits a slot");
static_assert(sizeof(struct inner) <= POOL_SLOT_BYTES, "an inner node fits a slot");

struct timeline {
    struct pool *pool;
    int64_t known_from_ms;
    struct amount base; /* the use at known_from; all points lie after it */
    size_t point_count;
    uint32_t root; /* POOL_NIL: no points */
    int level;     /* of the root; 0: the root is a leaf */
};

static inline struct diff diff_plus(struct diff a, struct diff b)
{
    return (struct diff){a.gpus + b.gpus, a.memory_gib + b.memory_gib};
}

static inline bool diff_is_zero(struct diff a)
{
    return a.gpus == 0 && a.memory_gib == 0;
}

static inline struct amount amount_plus(struct amount use, struct diff change)
{
    return (struct amount){use.gpus + change.gpus, use.memory_gib + change.memory_gib};
}

static inline struct leaf *leaf_at(const struct timeline *tl, uint32_t index)
{
    return pool_at(tl->pool, index);
}

static inline struct inner *inner_at(const struct timeline *tl, uint32_t index)
{
    return pool_at(tl->pool, index);
}

/* Prefetches all cache lines of a node at once, so that their latencies overlap. */
static inline void node_fetch(const struct timeline *tl, uint32_t index)
{
    const char *node = pool_at(tl->pool, index);
    for (size_t i = 0; i < POOL_SLOT_BYTES; i += POOL_LINE_BYTES)
        __builtin_prefetch(node + i);
}

/* The link to the subtree in which a point at `at_ms` is or belongs. */
static inline uint32_t link_of(const struct inner *inner, int64_t at_ms)
{
    uint32_t i = 0;
    while (i + 1 < inner->count && inner->first_ms[i + 1] <= at_ms)
        i++;
    return i;
}

/* The span of a node's entries; the node is not empty. */
struct span tree_span(const struct timeline *tl, uint32_t index, int level);

/* Adds `change` to the point at `at_ms`, which is made or removed as needed. O(log n). The time
 * lies after known_from and within TIMELINE_MS_LIMIT (asserted). */
void tree_change(struct timeline *tl, int64_t at_ms, struct diff change);
/* Removes all points up to `at_ms` and adds them to tl->base. O(log n + points removed). */
void tree_drop_until(struct timeline *tl, int64_t at_ms);
/* Gives all nodes back to the pool. */
void tree_clear(struct timeline *tl);

#endif
