#include "core/timeline.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

/* Why an AVL tree. Submitters choose the keys (the starts and ends of their windows), so the bound
 * must hold for the worst keys: a treap whose priorities are a fixed hash of the key can be made
 * thousands deep by whoever computes the hash, and one with random priorities is not a function of
 * its input. AVL is strict (depth at most 1.44 log2 n, hence recursion of known depth), shallower
 * than red-black, which counts where each level is a cache miss, and costs one byte per node. */

/* No AVL tree of 2^32 nodes is higher. */
#define HEIGHT_LIMIT 46
#define HEIGHT_BITS  8

/* A difference of two uses. */
struct diff {
    int32_t gpus;
    int32_t memory_gib;
};

/* A change point. `sum` is what the whole subtree adds; `high` and `low` are, per component, the
 * extremes of the sums over "all of the subtree's points up to one of them". */
struct node {
    int64_t at_ms_and_height;
    struct diff delta;
    struct diff sum;
    struct diff high;
    struct diff low;
    uint32_t left;
    uint32_t right;
};
static_assert(sizeof(struct node) == POOL_SLOT_BYTES, "a pool's slot holds exactly a node");

struct timeline {
    struct pool *pool;
    int64_t known_from_ms;
    struct amount base; /* the use at known_from; all points lie after it */
    size_t point_count;
    uint32_t root;
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

static struct node *node_at(const struct timeline *tl, uint32_t index)
{
    return pool_at(tl->pool, index);
}

static int64_t node_at_ms(const struct node *node)
{
    /* gcc and clang shift a negative number arithmetically: this undoes node_set. */
    return node->at_ms_and_height >> HEIGHT_BITS;
}

static int node_height(const struct node *node)
{
    return (int)(node->at_ms_and_height & ((1 << HEIGHT_BITS) - 1));
}

static void node_set(struct node *node, int64_t at_ms, int height)
{
    assert(height > 0 && height <= HEIGHT_LIMIT);
    node->at_ms_and_height = at_ms * (1 << HEIGHT_BITS) + height;
}

static int height_of(const struct timeline *tl, uint32_t index)
{
    return index == POOL_NIL ? 0 : node_height(node_at(tl, index));
}

static struct diff sum_of(const struct timeline *tl, uint32_t index)
{
    return index == POOL_NIL ? (struct diff){0, 0} : node_at(tl, index)->sum;
}

/* What the left subtree and the node itself add: the node's own prefix sum in its subtree. */
static struct diff node_prefix(const struct timeline *tl, const struct node *node)
{
    return diff_plus(sum_of(tl, node->left), node->delta);
}

/* Computes all that a node knows about its subtree from its children. */
static void node_update(const struct timeline *tl, struct node *node)
{
    int height = 0;
    struct diff prefix = node->delta;
    struct diff high = prefix;
    struct diff low = prefix;

    if (node->left != POOL_NIL) {
        const struct node *left = node_at(tl, node->left);

        height = node_height(left);
        prefix = diff_plus(left->sum, node->delta);
        high = diff_max(left->high, prefix);
        low = diff_min(left->low, prefix);
    }
    node->sum = prefix;
    if (node->right != POOL_NIL) {
        const struct node *right = node_at(tl, node->right);
        int right_height = node_height(right);

        height = right_height > height ? right_height : height;
        node->sum = diff_plus(prefix, right->sum);
        high = diff_max(high, diff_plus(prefix, right->high));
        low = diff_min(low, diff_plus(prefix, right->low));
    }
    node->high = high;
    node->low = low;
    node_set(node, node_at_ms(node), height + 1);
}

static uint32_t node_new(struct timeline *tl, int64_t at_ms, struct diff delta)
{
    assert(at_ms > -TIMELINE_MS_LIMIT && at_ms < TIMELINE_MS_LIMIT);
    assert(at_ms > tl->known_from_ms);
    uint32_t index = pool_take(tl->pool);
    struct node *node = node_at(tl, index);

    *node = (struct node){.delta = delta, .left = POOL_NIL, .right = POOL_NIL};
    node_set(node, at_ms, 1);
    node_update(tl, node);
    tl->point_count++;
    return index;
}

static void node_free(struct timeline *tl, uint32_t index)
{
    assert(tl->point_count > 0);
    pool_give(tl->pool, index);
    tl->point_count--;
}

static void subtree_free(struct timeline *tl, uint32_t root)
{
    while (root != POOL_NIL) {
        uint32_t right = node_at(tl, root)->right;

        subtree_free(tl, node_at(tl, root)->left);
        node_free(tl, root);
        root = right;
    }
}

/* From here on, a function that changes a subtree returns the root that takes the given one's
 * place. */
static uint32_t rotate_left(const struct timeline *tl, uint32_t root)
{
    struct node *node = node_at(tl, root);
    uint32_t new_root = node->right;
    struct node *new_node = node_at(tl, new_root);

    node->right = new_node->left;
    new_node->left = root;
    node_update(tl, node);
    node_update(tl, new_node);
    return new_root;
}

static uint32_t rotate_right(const struct timeline *tl, uint32_t root)
{
    struct node *node = node_at(tl, root);
    uint32_t new_root = node->left;
    struct node *new_node = node_at(tl, new_root);

    node->left = new_node->right;
    new_node->right = root;
    node_update(tl, node);
    node_update(tl, new_node);
    return new_root;
}

/* Updates a node whose subtrees are right but may differ in height by two. */
static uint32_t rebalance(const struct timeline *tl, uint32_t root)
{
    struct node *node = node_at(tl, root);
    int lean = height_of(tl, node->left) - height_of(tl, node->right);

    assert(lean >= -2 && lean <= 2);
    if (lean == 2) {
        const struct node *left = node_at(tl, node->left);

        if (height_of(tl, left->left) < height_of(tl, left->right)) {
            node->left = rotate_left(tl, node->left);
        }
        return rotate_right(tl, root);
    }
    if (lean == -2) {
        const struct node *right = node_at(tl, node->right);

        if (height_of(tl, right->right) < height_of(tl, right->left)) {
            node->right = rotate_right(tl, node->right);
        }
        return rotate_left(tl, root);
    }
    node_update(tl, node);
    return root;
}

/* Takes the first point out of a subtree that has one; its number goes to *first. */
static uint32_t subtree_pop_first(const struct timeline *tl, uint32_t root, uint32_t *first)
{
    struct node *node = node_at(tl, root);

    if (node->left == POOL_NIL) {
        *first = root;
        return node->right;
    }
    node->left = subtree_pop_first(tl, node->left, first);
    return rebalance(tl, root);
}

/* Removes the subtree's root. */
static uint32_t subtree_remove_root(struct timeline *tl, uint32_t root)
{
    uint32_t left = node_at(tl, root)->left;
    uint32_t right = node_at(tl, root)->right;
    uint32_t next = POOL_NIL;

    node_free(tl, root);
    if (right == POOL_NIL) {
        return left;
    }
    right = subtree_pop_first(tl, right, &next);
    node_at(tl, next)->left = left;
    node_at(tl, next)->right = right;
    return rebalance(tl, next);
}

/* Adds `change` to the point at `at_ms`, which comes into being or vanishes as needed. */
static uint32_t subtree_change(struct timeline *tl, uint32_t root, int64_t at_ms,
                               struct diff change)
{
    if (root == POOL_NIL) {
        return node_new(tl, at_ms, change);
    }
    struct node *node = node_at(tl, root);

    if (at_ms < node_at_ms(node)) {
        node->left = subtree_change(tl, node->left, at_ms, change);
    } else if (at_ms > node_at_ms(node)) {
        node->right = subtree_change(tl, node->right, at_ms, change);
    } else {
        node->delta = diff_plus(node->delta, change);
        if (diff_is_zero(node->delta)) {
            return subtree_remove_root(tl, root);
        }
    }
    return rebalance(tl, root);
}

/* Joins two trees with a node that lies between them. The left one is a tree with its beginning cut
 * off, so it may be much lower than the right one, but never higher by more than one. */
static uint32_t subtree_join(const struct timeline *tl, uint32_t left, uint32_t middle,
                             uint32_t right)
{
    int lean = height_of(tl, left) - height_of(tl, right);

    assert(middle != POOL_NIL);
    assert(lean <= 1);
    if (lean < -1) {
        struct node *node = node_at(tl, right);

        node->left = subtree_join(tl, left, middle, node->left);
        return rebalance(tl, right);
    }
    node_at(tl, middle)->left = left;
    node_at(tl, middle)->right = right;
    node_update(tl, node_at(tl, middle));
    return middle;
}

/* Drops all points up to `at_ms` and adds what they changed to the base. */
static uint32_t subtree_drop_until(struct timeline *tl, uint32_t root, int64_t at_ms)
{
    while (root != POOL_NIL && node_at_ms(node_at(tl, root)) <= at_ms) {
        const struct node *node = node_at(tl, root);
        uint32_t right = node->right;

        tl->base = amount_plus(tl->base, node_prefix(tl, node));
        subtree_free(tl, node->left);
        node_free(tl, root);
        root = right;
    }
    if (root == POOL_NIL) {
        return POOL_NIL;
    }
    uint32_t left = subtree_drop_until(tl, node_at(tl, root)->left, at_ms);

    return subtree_join(tl, left, root, node_at(tl, root)->right);
}

struct timeline *timeline_new(struct pool *pool, int64_t known_from_ms)
{
    assert(pool != NULL);
    assert(known_from_ms < TIMELINE_MS_LIMIT);
    struct timeline *tl = calloc(1, sizeof(*tl));

    if (tl == NULL) {
        fputs("berth: out of memory: timeline\n", stderr);
        abort();
    }
    tl->pool = pool;
    tl->known_from_ms = known_from_ms;
    tl->root = POOL_NIL;
    return tl;
}

void timeline_free(struct timeline *tl)
{
    if (tl == NULL) {
        return;
    }
    subtree_free(tl, tl->root);
    assert(tl->point_count == 0);
    free(tl);
}

/* The root's extremes tell it for all instants at once. */
static void assert_uses_sane(const struct timeline *tl)
{
    const struct amount limit = {TIMELINE_AMOUNT_LIMIT, TIMELINE_AMOUNT_LIMIT};
    struct amount least = tl->base;
    struct amount peak = tl->base;

    if (tl->root != POOL_NIL) {
        const struct node *root = node_at(tl, tl->root);

        least = amount_plus(tl->base, diff_min(root->low, (struct diff){0, 0}));
        raise_to(&peak, amount_plus(tl->base, root->high));
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
        tl->root = subtree_change(tl, tl->root, at_ms, change);
    }
}

/* A start or end below known_from changes the base: both below cancel each other out. */
static void change_window(struct timeline *tl, int64_t start_ms, int64_t end_ms,
                          struct diff at_start, struct diff at_end)
{
    assert(start_ms < end_ms);
    if (diff_is_zero(at_start) || end_ms <= tl->known_from_ms) {
        return;
    }
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
    if (at_ms <= tl->known_from_ms) {
        return;
    }
    tl->root = subtree_drop_until(tl, tl->root, at_ms);
    tl->known_from_ms = at_ms;
    assert_uses_sane(tl);
}

struct amount timeline_use_at(const struct timeline *tl, int64_t at_ms)
{
    assert(timeline_covers(tl, at_ms));
    struct amount use = tl->base;
    uint32_t index = tl->root;

    while (index != POOL_NIL) {
        const struct node *node = node_at(tl, index);

        if (node_at_ms(node) <= at_ms) {
            use = amount_plus(use, node_prefix(tl, node));
            index = node->right;
        } else {
            index = node->left;
        }
    }
    assert(use.gpus >= 0 && use.memory_gib >= 0);
    return use;
}

/* Raises *peak to the use at `start_ms` and at the subtree's points after it; `use` is that before
 * the subtree's first point. */
static void peak_from(const struct timeline *tl, uint32_t index, struct amount use,
                      int64_t start_ms, struct amount *peak)
{
    while (index != POOL_NIL) {
        const struct node *node = node_at(tl, index);
        struct amount here = amount_plus(use, node_prefix(tl, node));

        if (node_at_ms(node) <= start_ms) {
            use = here;
            index = node->right;
        } else {
            raise_to(peak, here);
            if (node->right != POOL_NIL) {
                raise_to(peak, amount_plus(here, node_at(tl, node->right)->high));
            }
            index = node->left;
        }
    }
    raise_to(peak, use);
}

/* Raises *peak to the uses at the subtree's points before `end_ms`. */
static void peak_until(const struct timeline *tl, uint32_t index, struct amount use, int64_t end_ms,
                       struct amount *peak)
{
    while (index != POOL_NIL) {
        const struct node *node = node_at(tl, index);

        if (node_at_ms(node) < end_ms) {
            if (node->left != POOL_NIL) {
                raise_to(peak, amount_plus(use, node_at(tl, node->left)->high));
            }
            use = amount_plus(use, node_prefix(tl, node));
            raise_to(peak, use);
            index = node->right;
        } else {
            index = node->left;
        }
    }
}

struct amount timeline_peak(const struct timeline *tl, int64_t start_ms, int64_t end_ms)
{
    assert(start_ms < end_ms);
    assert(timeline_covers(tl, start_ms));
    struct amount peak = {0, 0};
    struct amount use = tl->base;
    uint32_t index = tl->root;

    /* Down to the highest node inside the window, where the ways to its two ends part. */
    while (index != POOL_NIL) {
        const struct node *node = node_at(tl, index);

        if (node_at_ms(node) <= start_ms) {
            use = amount_plus(use, node_prefix(tl, node));
            index = node->right;
        } else if (node_at_ms(node) >= end_ms) {
            index = node->left;
        } else {
            struct amount here = amount_plus(use, node_prefix(tl, node));

            raise_to(&peak, here);
            peak_from(tl, node->left, use, start_ms, &peak);
            peak_until(tl, node->right, here, end_ms, &peak);
            return peak;
        }
    }
    return use;
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
static bool search_can_skip(const struct search *search, const struct node *node,
                            struct amount before)
{
    if (search->is_free) {
        return within(amount_plus(before, node->high), search->limit);
    }
    return !within(amount_plus(before, node->low), search->limit);
}

/* Takes the point into account; false when the search is over. */
static bool search_step(struct search *search, int64_t at_ms, struct amount use)
{
    bool fits = within(use, search->limit);

    if (search->is_free) {
        if (at_ms - search->run_start_ms >= search->duration_ms) {
            return false;
        }
    } else {
        if (at_ms > search->last_start_ms) {
            return false;
        }
        search->run_start_ms = at_ms;
    }
    search->is_free = fits;
    return true;
}

/* Walks the subtree in front of whose first point the use is `before`; false when it is over. */
static bool search_walk(struct search *search, uint32_t index, struct amount before)
{
    while (index != POOL_NIL) {
        const struct node *node = node_at(search->tl, index);

        if (search_can_skip(search, node, before)) {
            return true;
        }
        struct amount here = amount_plus(before, node_prefix(search->tl, node));

        if (node_at_ms(node) > search->from_ms) {
            if (!search_walk(search, node->left, before) ||
                !search_step(search, node_at_ms(node), here)) {
                return false;
            }
        }
        before = here;
        index = node->right;
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
    if (wanted->horizon_ms <= from_ms || wanted->horizon_ms - duration_ms < from_ms) {
        return false;
    }
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
    search_walk(&search, tl->root, tl->base);
    if (!search.is_free || search.run_start_ms > search.last_start_ms) {
        return false;
    }
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

/* False when the walk is over. */
static bool stepper_walk(struct stepper *stepper, uint32_t index)
{
    while (index != POOL_NIL) {
        const struct node *node = node_at(stepper->tl, index);
        int64_t at_ms = node_at_ms(node);

        if (at_ms >= stepper->end_ms) {
            index = node->left;
            continue;
        }
        if (at_ms > stepper->start_ms) {
            if (!stepper_walk(stepper, node->left) ||
                !stepper->fn(stepper->arg, stepper->piece_start_ms, at_ms, stepper->use)) {
                return false;
            }
            stepper->piece_start_ms = at_ms;
            stepper->use = amount_plus(stepper->use, node->delta);
        }
        index = node->right;
    }
    return true;
}

void timeline_steps(const struct timeline *tl, int64_t start_ms, int64_t end_ms,
                    timeline_step_fn *fn, void *arg)
{
    assert(start_ms < end_ms);
    assert(fn != NULL);
    struct stepper stepper = {
        .tl = tl,
        .start_ms = start_ms,
        .end_ms = end_ms,
        .piece_start_ms = start_ms,
        .use = timeline_use_at(tl, start_ms),
        .fn = fn,
        .arg = arg,
    };

    if (stepper_walk(&stepper, tl->root)) {
        fn(arg, stepper.piece_start_ms, end_ms, stepper.use);
    }
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

static bool check_subtree(struct check *check, uint32_t index)
{
    if (index == POOL_NIL) {
        return true;
    }
    const struct node *node = node_at(check->tl, index);
    int lean = height_of(check->tl, node->left) - height_of(check->tl, node->right);
    struct node fresh = *node;

    if (lean < -1 || lean > 1 || diff_is_zero(node->delta)) {
        return false;
    }
    /* The children's figures are checked below, so one level is compared here. */
    node_update(check->tl, &fresh);
    if (fresh.at_ms_and_height != node->at_ms_and_height || !diff_equal(fresh.sum, node->sum) ||
        !diff_equal(fresh.high, node->high) || !diff_equal(fresh.low, node->low)) {
        return false;
    }
    if (!check_subtree(check, node->left) || node_at_ms(node) <= check->last_ms) {
        return false;
    }
    check->last_ms = node_at_ms(node);
    check->count++;
    return check_subtree(check, node->right);
}

bool timeline_check(const struct timeline *tl)
{
    struct check check = {.tl = tl, .last_ms = tl->known_from_ms};

    assert_uses_sane(tl);
    return check_subtree(&check, tl->root) && check.count == tl->point_count;
}
