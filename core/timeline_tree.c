#include "core/timeline_tree.h"

#include <string.h>

static struct diff diff_max(struct diff a, struct diff b)
{
    return (struct diff){a.gpus > b.gpus ? a.gpus : b.gpus,
                         a.memory_gib > b.memory_gib ? a.memory_gib : b.memory_gib};
}

static struct diff diff_min(struct diff a, struct diff b)
{
    return (struct diff){a.gpus < b.gpus ? a.gpus : b.gpus,
                         a.memory_gib < b.memory_gib ? a.memory_gib : b.memory_gib};
}

/* The number of a node's entries, with which nodes of both kinds begin. */
static uint32_t *count_at(const struct timeline *tl, uint32_t index)
{
    return pool_at(tl->pool, index);
}

/* --- spans --- */

static struct span leaf_span(const struct leaf *leaf)
{
    assert(leaf->count > 0);
    struct diff sum = leaf->delta[0];
    struct span span = {.high = sum, .low = sum};
    for (uint32_t i = 1; i < leaf->count; i++) {
        sum = diff_plus(sum, leaf->delta[i]);
        span.high = diff_max(span.high, sum);
        span.low = diff_min(span.low, sum);
    }
    span.sum = sum;
    return span;
}

static struct span inner_span(const struct inner *inner)
{
    assert(inner->count > 0);
    struct span span = inner->span[0];
    for (uint32_t i = 1; i < inner->count; i++) {
        span.high = diff_max(span.high, diff_plus(span.sum, inner->span[i].high));
        span.low = diff_min(span.low, diff_plus(span.sum, inner->span[i].low));
        span.sum = diff_plus(span.sum, inner->span[i].sum);
    }
    return span;
}

struct span tree_span(const struct timeline *tl, uint32_t index, int level)
{
    return level == 0 ? leaf_span(leaf_at(tl, index)) : inner_span(inner_at(tl, index));
}

/* Computes first time and span of link `i`; `level` is that of the node behind the link. */
static void link_update(const struct timeline *tl, struct inner *inner, uint32_t i, int level)
{
    uint32_t index = inner->node[i];
    assert(i < inner->count);
    inner->first_ms[i] = level == 0 ? leaf_at(tl, index)->at_ms[0]
                                    : inner_at(tl, index)->first_ms[0];
    inner->span[i] = tree_span(tl, index, level);
}

/* --- moving points and links --- */

/* Moves `count` points within a leaf or to another one. */
static void points_move(struct leaf *to_leaf, uint32_t to, const struct leaf *leaf, uint32_t from,
                        uint32_t count)
{
    assert(to + count <= LEAF_POINTS && from + count <= LEAF_POINTS);
    memmove(&to_leaf->at_ms[to], &leaf->at_ms[from], count * sizeof(leaf->at_ms[0]));
    memmove(&to_leaf->delta[to], &leaf->delta[from], count * sizeof(leaf->delta[0]));
}

static void links_move(struct inner *to_inner, uint32_t to, const struct inner *inner,
                       uint32_t from, uint32_t count)
{
    assert(to + count <= INNER_LINKS && from + count <= INNER_LINKS);
    memmove(&to_inner->node[to], &inner->node[from], count * sizeof(inner->node[0]));
    memmove(&to_inner->first_ms[to], &inner->first_ms[from], count * sizeof(inner->first_ms[0]));
    memmove(&to_inner->span[to], &inner->span[from], count * sizeof(inner->span[0]));
}

/* Moves the entries from place `first` on to the end of `to`, a node of the same level. */
static void entries_append(struct timeline *tl, uint32_t to, uint32_t from, uint32_t first,
                           int level)
{
    uint32_t *count = count_at(tl, to), moved = *count_at(tl, from) - first;
    if (level == 0) {
        points_move(leaf_at(tl, to), *count, leaf_at(tl, from), first, moved);
    } else {
        links_move(inner_at(tl, to), *count, inner_at(tl, from), first, moved);
    }
    *count += moved;
    *count_at(tl, from) = first;
}

/* Splits the node if it is full. *index and *i, its place for a new entry, may then be in the new
 * node. Returns POOL_NIL or the new node, whose place is behind the one that was split. */
static uint32_t make_room(struct timeline *tl, uint32_t *index, uint32_t *i, int level)
{
    uint32_t limit = level == 0 ? LEAF_POINTS : INNER_LINKS;
    assert(*i <= *count_at(tl, *index));
    if (*count_at(tl, *index) < limit)
        return POOL_NIL;
    /* Appending leaves a full node behind, so points that come in time order fill the nodes. */
    uint32_t kept = *i == limit ? limit : limit / 2;
    uint32_t other = pool_take(tl->pool);
    *count_at(tl, other) = 0;
    entries_append(tl, other, *index, kept, level);
    if (*i > kept || kept == limit) {
        *index = other;
        *i -= kept;
    }
    return other;
}

static void link_remove(struct timeline *tl, struct inner *inner, uint32_t i)
{
    pool_give(tl->pool, inner->node[i]);
    links_move(inner, i, inner, i + 1, inner->count - i - 1);
    inner->count--;
}

/* Joins the nodes of two neighbouring links, if one of them has few entries and both fit into
 * one. */
static void links_join(struct timeline *tl, struct inner *inner, uint32_t i, int level)
{
    uint32_t left = i + 1 < inner->count ? i : i - 1;
    uint32_t few = level == 0 ? LEAF_FEW : INNER_FEW;
    uint32_t joined = level == 0 ? LEAF_JOINED : INNER_JOINED;
    if (inner->count < 2 || *count_at(tl, inner->node[i]) >= few ||
        *count_at(tl, inner->node[left]) + *count_at(tl, inner->node[left + 1]) > joined)
        return;
    entries_append(tl, inner->node[left], inner->node[left + 1], 0, level);
    link_remove(tl, inner, left + 1);
    link_update(tl, inner, left, level);
}

/* Updates link `i` after a change of its node, which may be empty now. */
static void link_changed(struct timeline *tl, struct inner *inner, uint32_t i, int level)
{
    if (*count_at(tl, inner->node[i]) == 0) {
        link_remove(tl, inner, i);
        return;
    }
    link_update(tl, inner, i, level);
    links_join(tl, inner, i, level);
}

/* --- changing one point --- */

/* The functions that change a node return what make_room returned for it. */
static uint32_t leaf_change(struct timeline *tl, uint32_t index, int64_t at_ms, struct diff change)
{
    struct leaf *leaf = leaf_at(tl, index);
    uint32_t i = 0;
    while (i < leaf->count && leaf->at_ms[i] < at_ms)
        i++;
    if (i < leaf->count && leaf->at_ms[i] == at_ms) {
        leaf->delta[i] = diff_plus(leaf->delta[i], change);
        if (diff_is_zero(leaf->delta[i])) {
            points_move(leaf, i, leaf, i + 1, leaf->count - i - 1);
            leaf->count--;
            tl->point_count--;
        }
        return POOL_NIL;
    }
    uint32_t other = make_room(tl, &index, &i, 0);
    leaf = leaf_at(tl, index);
    points_move(leaf, i + 1, leaf, i, leaf->count - i);
    leaf->at_ms[i] = at_ms;
    leaf->delta[i] = change;
    leaf->count++;
    tl->point_count++;
    return other;
}

/* Puts a link to `node` at place `i` of a node of that level. */
static uint32_t inner_insert(struct timeline *tl, uint32_t index, uint32_t i, uint32_t node,
                             int level)
{
    uint32_t other = make_room(tl, &index, &i, level);
    struct inner *inner = inner_at(tl, index);
    links_move(inner, i + 1, inner, i, inner->count - i);
    inner->node[i] = node;
    inner->count++;
    link_update(tl, inner, i, level - 1);
    return other;
}

/* Adds `change` to the point at `at_ms`, which is made or removed as needed. */
static uint32_t node_change(struct timeline *tl, uint32_t index, int level, int64_t at_ms,
                            struct diff change)
{
    assert(level >= 0 && level < LEVEL_LIMIT);
    if (level == 0)
        return leaf_change(tl, index, at_ms, change);
    struct inner *inner = inner_at(tl, index);
    uint32_t i = link_of(inner, at_ms);
    node_fetch(tl, inner->node[i]);
    uint32_t new_node = node_change(tl, inner->node[i], level - 1, at_ms, change);
    if (new_node == POOL_NIL) {
        link_changed(tl, inner, i, level - 1);
        return POOL_NIL;
    }
    link_update(tl, inner, i, level - 1);
    return inner_insert(tl, index, i + 1, new_node, level);
}

/* Removes an empty root, and roots with a single link. */
static void root_lower(struct timeline *tl)
{
    if (tl->root != POOL_NIL && *count_at(tl, tl->root) == 0) {
        pool_give(tl->pool, tl->root);
        tl->root = POOL_NIL;
        tl->level = 0;
    }
    while (tl->level > 0 && inner_at(tl, tl->root)->count == 1) {
        uint32_t next = inner_at(tl, tl->root)->node[0];
        pool_give(tl->pool, tl->root);
        tl->root = next;
        tl->level--;
    }
}

void tree_change(struct timeline *tl, int64_t at_ms, struct diff change)
{
    assert(at_ms > -TIMELINE_MS_LIMIT && at_ms < TIMELINE_MS_LIMIT);
    assert(at_ms > tl->known_from_ms);
    if (tl->root == POOL_NIL) {
        tl->root = pool_take(tl->pool);
        leaf_at(tl, tl->root)->count = 0;
    }
    uint32_t new_node = node_change(tl, tl->root, tl->level, at_ms, change);
    if (new_node == POOL_NIL) {
        root_lower(tl);
        return;
    }
    uint32_t root = pool_take(tl->pool);
    struct inner *inner = inner_at(tl, root);
    inner->count = 2;
    inner->node[0] = tl->root;
    inner->node[1] = new_node;
    link_update(tl, inner, 0, tl->level);
    link_update(tl, inner, 1, tl->level);
    tl->root = root;
    tl->level++;
    assert(tl->level < LEVEL_LIMIT);
}

static void node_free(struct timeline *tl, uint32_t index, int level)
{
    if (level == 0) {
        assert(tl->point_count >= leaf_at(tl, index)->count);
        tl->point_count -= leaf_at(tl, index)->count;
    }
    for (uint32_t i = 0; level > 0 && i < inner_at(tl, index)->count; i++)
        node_free(tl, inner_at(tl, index)->node[i], level - 1);
    pool_give(tl->pool, index);
}

/* Removes all points up to `at_ms` and adds their changes to the base. The node may then be
 * empty. */
static void node_drop_until(struct timeline *tl, uint32_t index, int level, int64_t at_ms)
{
    uint32_t gone = 0;
    if (level == 0) {
        struct leaf *leaf = leaf_at(tl, index);
        for (; gone < leaf->count && leaf->at_ms[gone] <= at_ms; gone++)
            tl->base = amount_plus(tl->base, leaf->delta[gone]);
        leaf->count -= gone;
        tl->point_count -= gone;
        points_move(leaf, 0, leaf, gone, leaf->count);
        return;
    }
    struct inner *inner = inner_at(tl, index);
    for (; gone + 1 < inner->count && inner->first_ms[gone + 1] <= at_ms; gone++) {
        tl->base = amount_plus(tl->base, inner->span[gone].sum);
        node_free(tl, inner->node[gone], level - 1);
    }
    inner->count -= gone;
    links_move(inner, 0, inner, gone, inner->count);
    if (inner->first_ms[0] <= at_ms) {
        node_drop_until(tl, inner->node[0], level - 1, at_ms);
        link_changed(tl, inner, 0, level - 1);
    }
}

void tree_drop_until(struct timeline *tl, int64_t at_ms)
{
    assert(at_ms >= tl->known_from_ms);
    if (tl->root == POOL_NIL)
        return;
    node_drop_until(tl, tl->root, tl->level, at_ms);
    root_lower(tl);
}

void tree_clear(struct timeline *tl)
{
    if (tl->root != POOL_NIL)
        node_free(tl, tl->root, tl->level);
    assert(tl->point_count == 0);
    tl->root = POOL_NIL;
    tl->level = 0;
}
