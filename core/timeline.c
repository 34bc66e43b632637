#include "core/timeline.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/heap.h"

/* Why a B+ tree. What an operation costs on a large timeline are the cache misses, one per level of
 * a binary tree: at a million bookings about twenty for each of two changes. Here the points lie in
 * leaves of half a KiB, in time order, and six levels of nodes of the same size above them hold
 * what is asked of a subtree beside the link to it, so that a walk that passes over a subtree does
 * not touch it. A point costs 16 bytes and its part of the leaf's free room. A search that has to
 * look at many points reads them one behind the other.
 *
 * All leaves have the same depth. A node is split when it is full; when it has become nearly empty
 * it joins a neighbour, if both fit into one with room to spare. A node without entries is removed,
 * and that is all that is sure: the tree is never higher than it once had points for, because only
 * a full root makes it higher. Submitters choose the keys, but no choice makes it deep. */

/* A difference of two uses. */
struct diff {
    int32_t gpus;
    int32_t memory_gib;
};

/* What a subtree does to the use in front of it: all of it together, and the extremes, per
 * component, over "all of its points up to one of them". */
struct span {
    struct diff sum;
    struct diff high;
    struct diff low;
};

#define LEAF_POINTS  31
#define INNER_LINKS  14
/* With less than that a node looks for a neighbour to join, whom it must leave some room. */
#define LEAF_FEW     8
#define LEAF_JOINED  24
#define INNER_FEW    4
#define INNER_JOINED 11
/* No timeline gets higher: 7^16 is more points than there are slots for. */
#define LEVEL_LIMIT  16

/* Change points in time order. */
struct leaf {
    uint32_t count;
    int64_t at_ms[LEAF_POINTS];
    struct diff delta[LEAF_POINTS];
};

/* Links to the nodes of the level below in time order, each with the first point and the span of
 * what it leads to. */
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
    int level;     /* the root's; 0: it is a leaf */
};

/* Why 32 bits are enough: every use lies in 0..TIMELINE_AMOUNT_LIMIT (assert_uses_sane, after every
 * change), and every sum in a node is the difference of two uses; between the two halves of one
 * change a use is off by one more amount within the limit. All is below 2^31. */

static struct diff diff_of(struct amount use, int sign)
{
    assert(use.gpus >= 0 && use.gpus <= TIMELINE_AMOUNT_LIMIT);
    assert(use.memory_gib >= 0 && use.memory_gib <= TIMELINE_AMOUNT_LIMIT);
    return (struct diff){sign * (int32_t)use.gpus, sign * (int32_t)use.memory_gib};
}

static struct diff diff_plus(struct diff a, struct diff b)
{
    return (struct diff){a.gpus + b.gpus, a.memory_gib + b.memory_gib};
}

static bool diff_is_zero(struct diff a)
{
    return a.gpus == 0 && a.memory_gib == 0;
}

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

static struct amount amount_plus(struct amount use, struct diff change)
{
    return (struct amount){use.gpus + change.gpus, use.memory_gib + change.memory_gib};
}

static void raise_to(struct amount *peak, struct amount use)
{
    peak->gpus = use.gpus > peak->gpus ? use.gpus : peak->gpus;
    peak->memory_gib = use.memory_gib > peak->memory_gib ? use.memory_gib : peak->memory_gib;
}

static bool within(struct amount use, struct amount limit)
{
    return use.gpus <= limit.gpus && use.memory_gib <= limit.memory_gib;
}

static struct leaf *leaf_at(const struct timeline *tl, uint32_t index)
{
    return pool_at(tl->pool, index);
}

static struct inner *inner_at(const struct timeline *tl, uint32_t index)
{
    return pool_at(tl->pool, index);
}

/* Fetches all of a node's cache lines at once: read one behind the other they would be waited for
 * one by one. */
static void node_fetch(const struct timeline *tl, uint32_t index)
{
    const char *node = pool_at(tl->pool, index);

    for (size_t i = 0; i < POOL_SLOT_BYTES; i += POOL_LINE_BYTES)
        __builtin_prefetch(node + i);
}

static uint32_t count_of(const struct timeline *tl, uint32_t index, int level)
{
    return level == 0 ? leaf_at(tl, index)->count : inner_at(tl, index)->count;
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

/* Computes what the inner node knows of its link `i`, to a node of that level. */
static void link_update(const struct timeline *tl, struct inner *inner, uint32_t i, int level)
{
    uint32_t index = inner->node[i];

    assert(i < inner->count);
    if (level == 0) {
        inner->first_ms[i] = leaf_at(tl, index)->at_ms[0];
        inner->span[i] = leaf_span(leaf_at(tl, index));
    } else {
        inner->first_ms[i] = inner_at(tl, index)->first_ms[0];
        inner->span[i] = inner_span(inner_at(tl, index));
    }
}

/* --- moving points and links --- */

/* Makes room at `to` and copies `count` points, from another leaf or none, or moves them within. */
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

static void link_remove(struct timeline *tl, struct inner *inner, uint32_t i)
{
    pool_give(tl->pool, inner->node[i]);
    links_move(inner, i, inner, i + 1, inner->count - i - 1);
    inner->count--;
}

/* Joins the nodes of two neighbouring links, if one of them has few entries and both fit into one. */
static void links_join(struct timeline *tl, struct inner *inner, uint32_t i, int level)
{
    uint32_t left = i + 1 < inner->count ? i : i - 1;
    uint32_t few = level == 0 ? LEAF_FEW : INNER_FEW;
    uint32_t joined = level == 0 ? LEAF_JOINED : INNER_JOINED;

    if (inner->count < 2 || count_of(tl, inner->node[i], level) >= few ||
        count_of(tl, inner->node[left], level) + count_of(tl, inner->node[left + 1], level) >
            joined) {
        return;
    }
    if (level == 0) {
        struct leaf *to = leaf_at(tl, inner->node[left]);
        const struct leaf *from = leaf_at(tl, inner->node[left + 1]);

        points_move(to, to->count, from, 0, from->count);
        to->count += from->count;
    } else {
        struct inner *to = inner_at(tl, inner->node[left]);
        const struct inner *from = inner_at(tl, inner->node[left + 1]);

        links_move(to, to->count, from, 0, from->count);
        to->count += from->count;
    }
    link_remove(tl, inner, left + 1);
    link_update(tl, inner, left, level);
}

/* Brings link `i` up to date after its node changed, which may be empty now. */
static void link_changed(struct timeline *tl, struct inner *inner, uint32_t i, int level)
{
    if (count_of(tl, inner->node[i], level) == 0) {
        link_remove(tl, inner, i);
        return;
    }
    link_update(tl, inner, i, level);
    links_join(tl, inner, i, level);
}

/* --- changing one point --- */

/* Each of these returns POOL_NIL or a new node, which belongs right behind the one that changed. */
static uint32_t leaf_insert(struct timeline *tl, struct leaf *leaf, uint32_t i, int64_t at_ms,
                            struct diff delta)
{
    uint32_t other = POOL_NIL;

    assert(i <= leaf->count);
    if (leaf->count == LEAF_POINTS) {
        /* Points that come in time order leave full leaves behind. */
        uint32_t kept = i == LEAF_POINTS ? LEAF_POINTS : LEAF_POINTS / 2;

        other = pool_take(tl->pool);
        struct leaf *right = leaf_at(tl, other);

        right->count = LEAF_POINTS - kept;
        points_move(right, 0, leaf, kept, right->count);
        leaf->count = kept;
        if (i > kept || kept == LEAF_POINTS) {
            leaf = right;
            i -= kept;
        }
    }
    points_move(leaf, i + 1, leaf, i, leaf->count - i);
    leaf->at_ms[i] = at_ms;
    leaf->delta[i] = delta;
    leaf->count++;
    tl->point_count++;
    return other;
}

static uint32_t leaf_change(struct timeline *tl, struct leaf *leaf, int64_t at_ms,
                            struct diff change)
{
    uint32_t i = 0;

    while (i < leaf->count && leaf->at_ms[i] < at_ms)
        i++;
    if (i == leaf->count || leaf->at_ms[i] != at_ms)
        return leaf_insert(tl, leaf, i, at_ms, change);
    leaf->delta[i] = diff_plus(leaf->delta[i], change);
    if (diff_is_zero(leaf->delta[i])) {
        points_move(leaf, i, leaf, i + 1, leaf->count - i - 1);
        leaf->count--;
        tl->point_count--;
    }
    return POOL_NIL;
}

/* Puts a link to `node`, of that level, at place `i`. */
static uint32_t inner_insert(struct timeline *tl, struct inner *inner, uint32_t i, uint32_t node,
                             int level)
{
    uint32_t other = POOL_NIL;

    assert(i <= inner->count);
    if (inner->count == INNER_LINKS) {
        uint32_t kept = i == INNER_LINKS ? INNER_LINKS : INNER_LINKS / 2;

        other = pool_take(tl->pool);
        struct inner *right = inner_at(tl, other);

        right->count = INNER_LINKS - kept;
        links_move(right, 0, inner, kept, right->count);
        inner->count = kept;
        if (i > kept || kept == INNER_LINKS) {
            inner = right;
            i -= kept;
        }
    }
    links_move(inner, i + 1, inner, i, inner->count - i);
    inner->node[i] = node;
    inner->count++;
    link_update(tl, inner, i, level);
    return other;
}

/* The link below which a point at `at_ms` is or belongs. */
static uint32_t link_of(const struct inner *inner, int64_t at_ms)
{
    uint32_t i = 0;

    while (i + 1 < inner->count && inner->first_ms[i + 1] <= at_ms)
        i++;
    return i;
}

/* Adds `change` to the point at `at_ms`, which comes into being or vanishes as needed. */
static uint32_t node_change(struct timeline *tl, uint32_t index, int level, int64_t at_ms,
                            struct diff change)
{
    assert(level >= 0 && level < LEVEL_LIMIT);
    if (level == 0)
        return leaf_change(tl, leaf_at(tl, index), at_ms, change);
    struct inner *inner = inner_at(tl, index);
    uint32_t i = link_of(inner, at_ms);

    node_fetch(tl, inner->node[i]);
    uint32_t new_node = node_change(tl, inner->node[i], level - 1, at_ms, change);

    if (new_node == POOL_NIL) {
        link_changed(tl, inner, i, level - 1);
        return POOL_NIL;
    }
    link_update(tl, inner, i, level - 1);
    return inner_insert(tl, inner, i + 1, new_node, level - 1);
}

/* A root that leads to one node only gives way to it. */
static void root_lower(struct timeline *tl)
{
    if (tl->root != POOL_NIL && count_of(tl, tl->root, tl->level) == 0) {
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

static void tree_change(struct timeline *tl, int64_t at_ms, struct diff change)
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

/* Drops all points up to `at_ms` and adds what they changed to the base. The node may be empty
 * afterwards. */
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

struct timeline *timeline_new(struct pool *pool, int64_t known_from_ms)
{
    assert(pool);
    assert(known_from_ms < TIMELINE_MS_LIMIT);
    struct timeline *tl = heap_alloc(sizeof(*tl));

    tl->pool = pool;
    tl->known_from_ms = known_from_ms;
    tl->root = POOL_NIL;
    return tl;
}

void timeline_free(struct timeline *tl)
{
    if (!tl)
        return;
    if (tl->root != POOL_NIL)
        node_free(tl, tl->root, tl->level);
    assert(tl->point_count == 0);
    free(tl);
}

static struct span root_span(const struct timeline *tl)
{
    return tl->level == 0 ? leaf_span(leaf_at(tl, tl->root)) : inner_span(inner_at(tl, tl->root));
}

/* The root's extremes tell it for all instants at once. */
static void assert_uses_sane(const struct timeline *tl)
{
    const struct amount limit = {TIMELINE_AMOUNT_LIMIT, TIMELINE_AMOUNT_LIMIT};
    struct amount least = tl->base;
    struct amount peak = tl->base;

    if (tl->root != POOL_NIL) {
        struct span span = root_span(tl);

        least = amount_plus(tl->base, diff_min(span.low, (struct diff){0, 0}));
        raise_to(&peak, amount_plus(tl->base, span.high));
    }
    assert(least.gpus >= 0);
    assert(least.memory_gib >= 0);
    assert(within(peak, limit));
}

static void change_at(struct timeline *tl, int64_t at_ms, struct diff change)
{
    if (at_ms <= tl->known_from_ms) {
        tl->base = amount_plus(tl->base, change);
    } else if (at_ms != TIMELINE_FOREVER) {
        tree_change(tl, at_ms, change);
    }
}

/* A start or end below known_from changes the base: both below cancel each other out. */
static void change_window(struct timeline *tl, int64_t start_ms, int64_t end_ms,
                          struct diff at_start, struct diff at_end)
{
    assert(start_ms < end_ms);
    if (diff_is_zero(at_start) || end_ms <= tl->known_from_ms)
        return;
    change_at(tl, start_ms, at_start);
    change_at(tl, end_ms, at_end);
    assert_uses_sane(tl);
}

void timeline_add(struct timeline *tl, int64_t start_ms, int64_t end_ms, struct amount use)
{
    change_window(tl, start_ms, end_ms, diff_of(use, 1), diff_of(use, -1));
}

void timeline_remove(struct timeline *tl, int64_t start_ms, int64_t end_ms, struct amount use)
{
    change_window(tl, start_ms, end_ms, diff_of(use, -1), diff_of(use, 1));
}

void timeline_forget_before(struct timeline *tl, int64_t at_ms)
{
    assert(at_ms < TIMELINE_MS_LIMIT);
    if (at_ms <= tl->known_from_ms)
        return;
    if (tl->root != POOL_NIL) {
        node_drop_until(tl, tl->root, tl->level, at_ms);
        root_lower(tl);
    }
    tl->known_from_ms = at_ms;
    assert_uses_sane(tl);
}

/* --- questions --- */

struct amount timeline_use_at(const struct timeline *tl, int64_t at_ms)
{
    assert(timeline_covers(tl, at_ms));
    struct amount use = tl->base;
    uint32_t index = tl->root;

    for (int level = tl->level; level > 0; level--) {
        const struct inner *inner = inner_at(tl, index);
        uint32_t link = link_of(inner, at_ms);

        for (uint32_t i = 0; i < link; i++)
            use = amount_plus(use, inner->span[i].sum);
        index = inner->node[link];
    }
    const struct leaf *leaf = index != POOL_NIL ? leaf_at(tl, index) : NULL;

    for (uint32_t i = 0; leaf && i < leaf->count && leaf->at_ms[i] <= at_ms; i++)
        use = amount_plus(use, leaf->delta[i]);
    assert(use.gpus >= 0 && use.memory_gib >= 0);
    return use;
}

/* A walk in time order over what lies in (start, end); `use` is that in front of where it stands. */
struct peak_walk {
    const struct timeline *tl;
    int64_t start_ms;
    int64_t end_ms;
    struct amount use;
    struct amount peak;
    bool inside; /* behind start: `peak` holds the use at start and all since */
};

static void peak_enter(struct peak_walk *walk)
{
    if (!walk->inside) {
        walk->inside = true;
        walk->peak = walk->use;
    }
}

static void peak_leaf(struct peak_walk *walk, const struct leaf *leaf)
{
    for (uint32_t i = 0; i < leaf->count && leaf->at_ms[i] < walk->end_ms; i++) {
        if (leaf->at_ms[i] > walk->start_ms)
            peak_enter(walk);
        walk->use = amount_plus(walk->use, leaf->delta[i]);
        if (walk->inside)
            raise_to(&walk->peak, walk->use);
    }
}

/* All points below the node lie before `until_ms`. */
static void peak_node(struct peak_walk *walk, uint32_t index, int level, int64_t until_ms)
{
    if (level == 0) {
        peak_leaf(walk, leaf_at(walk->tl, index));
        return;
    }
    const struct inner *inner = inner_at(walk->tl, index);

    for (uint32_t i = 0; i < inner->count && inner->first_ms[i] < walk->end_ms; i++) {
        int64_t next_ms = i + 1 < inner->count ? inner->first_ms[i + 1] : until_ms;

        if (i + 1 < inner->count && next_ms <= walk->start_ms) {
            walk->use = amount_plus(walk->use, inner->span[i].sum);
        } else if (inner->first_ms[i] > walk->start_ms && next_ms <= walk->end_ms) {
            peak_enter(walk);
            raise_to(&walk->peak, amount_plus(walk->use, inner->span[i].high));
            walk->use = amount_plus(walk->use, inner->span[i].sum);
        } else {
            node_fetch(walk->tl, inner->node[i]);
            peak_node(walk, inner->node[i], level - 1, next_ms);
        }
    }
}

struct amount timeline_peak(const struct timeline *tl, int64_t start_ms, int64_t end_ms)
{
    assert(start_ms < end_ms);
    assert(timeline_covers(tl, start_ms));
    struct peak_walk walk = {.tl = tl, .start_ms = start_ms, .end_ms = end_ms, .use = tl->base};

    if (tl->root != POOL_NIL)
        peak_node(&walk, tl->root, tl->level, TIMELINE_FOREVER);
    peak_enter(&walk);
    return walk.peak;
}

bool timeline_fits(const struct timeline *tl, struct amount capacity, int64_t start_ms,
                   int64_t end_ms, struct amount need)
{
    assert(need.gpus >= 0);
    assert(need.memory_gib >= 0);
    return within(
        timeline_peak(tl, start_ms, end_ms),
        (struct amount){capacity.gpus - need.gpus, capacity.memory_gib - need.memory_gib});
}

/* The search for the earliest start, walking the points after `from_ms` in time order: either a
 * free run is at hand, which began at run_start_ms, or a blocked one. */
struct search {
    const struct timeline *tl;
    struct amount limit; /* the highest use beside which the need still fits */
    int64_t from_ms;
    int64_t duration_ms;
    int64_t last_start_ms;
    int64_t run_start_ms;
    bool is_free;
};

/* Whether no point of the subtree can end the run at hand. */
static bool search_can_skip(const struct search *search, const struct span *span,
                            struct amount before)
{
    if (search->is_free)
        return within(amount_plus(before, span->high), search->limit);
    return !within(amount_plus(before, span->low), search->limit);
}

/* Takes the point into account; false when the search is over. */
static bool search_step(struct search *search, int64_t at_ms, struct amount use)
{
    bool fits = within(use, search->limit);

    if (search->is_free) {
        if (at_ms - search->run_start_ms >= search->duration_ms)
            return false;
    } else {
        if (at_ms > search->last_start_ms)
            return false;
        search->run_start_ms = at_ms;
    }
    search->is_free = fits;
    return true;
}

static bool search_leaf(struct search *search, const struct leaf *leaf, struct amount use)
{
    for (uint32_t i = 0; i < leaf->count; i++) {
        use = amount_plus(use, leaf->delta[i]);
        if (leaf->at_ms[i] > search->from_ms && !search_step(search, leaf->at_ms[i], use))
            return false;
    }
    return true;
}

/* Walks the subtree in front of whose first point the use is `before`; false when it is over. */
static bool search_node(struct search *search, uint32_t index, int level, struct amount before)
{
    if (level == 0)
        return search_leaf(search, leaf_at(search->tl, index), before);
    const struct inner *inner = inner_at(search->tl, index);

    for (uint32_t i = 0; i < inner->count; i++) {
        bool past = i + 1 < inner->count && inner->first_ms[i + 1] <= search->from_ms;

        if (!past && !search_can_skip(search, &inner->span[i], before) &&
            !search_node(search, inner->node[i], level - 1, before)) {
            return false;
        }
        before = amount_plus(before, inner->span[i].sum);
    }
    return true;
}

bool timeline_earliest(const struct timeline *tl, const struct timeline_search *wanted,
                       int64_t *start_ms_out)
{
    const int64_t from_ms = wanted->from_ms, duration_ms = wanted->duration_ms;

    assert(wanted->need.gpus >= 0 && wanted->need.memory_gib >= 0);
    assert(from_ms > -TIMELINE_MS_LIMIT && from_ms < TIMELINE_MS_LIMIT);
    assert(duration_ms > 0 && duration_ms <= TIMELINE_MS_LIMIT);
    assert(timeline_covers(tl, from_ms));
    if (wanted->horizon_ms <= from_ms || wanted->horizon_ms - duration_ms < from_ms)
        return false;
    struct search search = {
        .tl = tl,
        .limit = {wanted->capacity.gpus - wanted->need.gpus,
                  wanted->capacity.memory_gib - wanted->need.memory_gib},
        .from_ms = from_ms,
        .duration_ms = duration_ms,
        .last_start_ms = wanted->horizon_ms - duration_ms,
        .run_start_ms = from_ms,
    };

    search.is_free = within(timeline_use_at(tl, from_ms), search.limit);
    if (tl->root != POOL_NIL)
        search_node(&search, tl->root, tl->level, tl->base);
    if (!search.is_free || search.run_start_ms > search.last_start_ms)
        return false;
    assert(search.run_start_ms >= from_ms);
    *start_ms_out = search.run_start_ms;
    return true;
}

/* The piece at hand of timeline_steps: it began at piece_start_ms. */
struct stepper {
    const struct timeline *tl;
    int64_t start_ms;
    int64_t end_ms;
    int64_t piece_start_ms;
    struct amount use;
    timeline_step_fn *fn;
    void *arg;
};

/* Both are false when the walk is over. */
static bool stepper_leaf(struct stepper *stepper, const struct leaf *leaf)
{
    for (uint32_t i = 0; i < leaf->count && leaf->at_ms[i] < stepper->end_ms; i++) {
        int64_t at_ms = leaf->at_ms[i];

        if (at_ms <= stepper->start_ms)
            continue;
        if (!stepper->fn(stepper->arg, stepper->piece_start_ms, at_ms, stepper->use))
            return false;
        stepper->piece_start_ms = at_ms;
        stepper->use = amount_plus(stepper->use, leaf->delta[i]);
    }
    return true;
}

static bool stepper_node(struct stepper *stepper, uint32_t index, int level)
{
    if (level == 0)
        return stepper_leaf(stepper, leaf_at(stepper->tl, index));
    const struct inner *inner = inner_at(stepper->tl, index);

    for (uint32_t i = link_of(inner, stepper->start_ms);
         i < inner->count && inner->first_ms[i] < stepper->end_ms; i++) {
        if (!stepper_node(stepper, inner->node[i], level - 1))
            return false;
    }
    return true;
}

void timeline_steps(const struct timeline *tl, int64_t start_ms, int64_t end_ms,
                    timeline_step_fn *fn, void *arg)
{
    assert(start_ms < end_ms);
    assert(fn);
    struct stepper stepper = {
        .tl = tl,
        .start_ms = start_ms,
        .end_ms = end_ms,
        .piece_start_ms = start_ms,
        .use = timeline_use_at(tl, start_ms),
        .fn = fn,
        .arg = arg,
    };

    if (tl->root == POOL_NIL || stepper_node(&stepper, tl->root, tl->level))
        fn(arg, stepper.piece_start_ms, end_ms, stepper.use);
}

size_t timeline_point_count(const struct timeline *tl)
{
    return tl->point_count;
}

int64_t timeline_known_from(const struct timeline *tl)
{
    return tl->known_from_ms;
}

bool timeline_covers(const struct timeline *tl, int64_t from_ms)
{
    return from_ms >= tl->known_from_ms;
}

/* What timeline_check carries through the tree in time order. */
struct check {
    const struct timeline *tl;
    int64_t last_ms;
    size_t count;
};

static bool diff_equal(struct diff a, struct diff b)
{
    return a.gpus == b.gpus && a.memory_gib == b.memory_gib;
}

static bool check_leaf(struct check *check, const struct leaf *leaf)
{
    if (leaf->count == 0 || leaf->count > LEAF_POINTS)
        return false;
    for (uint32_t i = 0; i < leaf->count; i++) {
        if (leaf->at_ms[i] <= check->last_ms || diff_is_zero(leaf->delta[i]))
            return false;
        check->last_ms = leaf->at_ms[i];
        check->count++;
    }
    return true;
}

static bool check_node(struct check *check, uint32_t index, int level)
{
    if (level == 0)
        return check_leaf(check, leaf_at(check->tl, index));
    const struct inner *inner = inner_at(check->tl, index);

    if (inner->count == 0 || inner->count > INNER_LINKS)
        return false;
    for (uint32_t i = 0; i < inner->count; i++) {
        struct inner fresh = *inner;

        /* What lies below is checked next, so one level is compared here. */
        link_update(check->tl, &fresh, i, level - 1);
        if (fresh.first_ms[i] != inner->first_ms[i] ||
            !diff_equal(fresh.span[i].sum, inner->span[i].sum) ||
            !diff_equal(fresh.span[i].high, inner->span[i].high) ||
            !diff_equal(fresh.span[i].low, inner->span[i].low) ||
            !check_node(check, inner->node[i], level - 1)) {
            return false;
        }
    }
    return true;
}

bool timeline_check(const struct timeline *tl)
{
    struct check check = {.tl = tl, .last_ms = tl->known_from_ms};

    assert_uses_sane(tl);
    if (tl->root == POOL_NIL)
        return tl->point_count == 0 && tl->level == 0;
    if (tl->level > 0 && inner_at(tl, tl->root)->count < 2)
        return false;
    return check_node(&check, tl->root, tl->level) && check.count == tl->point_count;
}
