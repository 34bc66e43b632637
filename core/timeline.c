#include "core/timeline.h"

#include <assert.h>
#include <stdlib.h>

#include "core/heap.h"
#include "core/timeline_tree.h"

/* Why 32 bits are enough: every use lies in 0..TIMELINE_AMOUNT_LIMIT (assert_uses_sane, after each
 * change), and every sum in a node is the difference of two uses. Between the two halves of one
 * change a use differs by one more amount within the limit. All numbers are below 2^31. */

static struct diff diff_of(struct amount use, int sign)
{
    assert(use.gpus >= 0 && use.gpus <= TIMELINE_AMOUNT_LIMIT);
    assert(use.memory_gib >= 0 && use.memory_gib <= TIMELINE_AMOUNT_LIMIT);
    return (struct diff){sign * (int32_t)use.gpus, sign * (int32_t)use.memory_gib};
}

static void raise_to(struct amount *peak, struct amount use)
{
    peak->gpus = int_max(peak->gpus, use.gpus);
    peak->memory_gib = int_max(peak->memory_gib, use.memory_gib);
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
    tree_clear(tl);
    free(tl);
}

/* The root's extremes bound the use at all instants after known_from, where it is the base. */
static void assert_uses_sane(const struct timeline *tl)
{
    const struct amount limit = {TIMELINE_AMOUNT_LIMIT, TIMELINE_AMOUNT_LIMIT};
    struct span span = {0};
    if (tl->root != POOL_NIL)
        span = tree_span(tl, tl->root, tl->level);
    assert(amount_within((struct amount){0}, tl->base) && amount_within(tl->base, limit));
    assert(amount_within((struct amount){0}, amount_plus(tl->base, span.low)));
    assert(amount_within(amount_plus(tl->base, span.high), limit));
}

static void change_at(struct timeline *tl, int64_t at_ms, struct diff change)
{
    if (at_ms <= tl->known_from_ms) {
        tl->base = amount_plus(tl->base, change);
    } else if (at_ms != TIMELINE_FOREVER) {
        tree_change(tl, at_ms, change);
    }
}

/* A start before known_from changes the base instead. */
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
    tree_drop_until(tl, at_ms);
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

/* A walk in time order over the points in (start, end); `use` is the use before the next point. */
struct peak_walk {
    const struct timeline *tl;
    int64_t start_ms;
    int64_t end_ms;
    struct amount use;
    struct amount peak;
    bool inside; /* past start: `peak` covers the use from start on */
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
    return amount_within(timeline_peak(tl, start_ms, end_ms), amount_minus(capacity, need));
}

/* The search for the earliest start: a walk over the points after `from_ms` in time order. The walk
 * is in a free run, which began at run_start_ms, or in a blocked run. */
struct search {
    const struct timeline *tl;
    struct amount limit; /* the highest use beside which the need still fits */
    int64_t from_ms;
    int64_t duration_ms;
    int64_t last_start_ms;
    int64_t run_start_ms;
    bool is_free;
};

/* Whether no point of the subtree can end the current run. */
static bool search_can_skip(const struct search *search, const struct span *span,
                            struct amount before)
{
    if (search->is_free)
        return amount_within(amount_plus(before, span->high), search->limit);
    return !amount_within(amount_plus(before, span->low), search->limit);
}

/* Goes past one point; false: the search is over. */
static bool search_step(struct search *search, int64_t at_ms, struct amount use)
{
    bool fits = amount_within(use, search->limit);
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

/* Walks the subtree; `before` is the use before its first point. False: the search is over. */
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
        .limit = amount_minus(wanted->capacity, wanted->need),
        .from_ms = from_ms,
        .duration_ms = duration_ms,
        .last_start_ms = wanted->horizon_ms - duration_ms,
        .run_start_ms = from_ms,
    };
    search.is_free = amount_within(timeline_use_at(tl, from_ms), search.limit);
    if (tl->root != POOL_NIL)
        search_node(&search, tl->root, tl->level, tl->base);
    if (!search.is_free || search.run_start_ms > search.last_start_ms)
        return false;
    assert(search.run_start_ms >= from_ms);
    *start_ms_out = search.run_start_ms;
    return true;
}

/* The walk of timeline_steps; the current piece began at piece_start_ms. */
struct stepper {
    const struct timeline *tl;
    int64_t start_ms;
    int64_t end_ms;
    int64_t piece_start_ms;
    struct amount use;
    timeline_step_fn *fn;
    void *arg;
};

/* False: the walk is over. */
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

int64_t timeline_known_from(const struct timeline *tl)
{
    return tl->known_from_ms;
}

bool timeline_covers(const struct timeline *tl, int64_t from_ms)
{
    return from_ms >= tl->known_from_ms;
}
