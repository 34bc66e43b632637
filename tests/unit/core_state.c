#include "tests/unit/core_state.h"

#include <string.h>

/* An in-order walk over the tree. */
struct check {
    const struct timeline *tl;
    int64_t last_ms;
    size_t count;
};

static bool span_equal(struct span a, struct span b)
{
    return memcmp(&a, &b, sizeof(a)) == 0; /* integers without padding */
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
        uint32_t node = inner->node[i];
        int64_t first_ms = level == 1 ? leaf_at(check->tl, node)->at_ms[0]
                                      : inner_at(check->tl, node)->first_ms[0];
        if (inner->first_ms[i] != first_ms ||
            !span_equal(inner->span[i], tree_span(check->tl, node, level - 1)) ||
            !check_node(check, node, level - 1)) {
            return false;
        }
    }
    return true;
}

bool timeline_check(const struct timeline *tl)
{
    struct check check = {.tl = tl, .last_ms = tl->known_from_ms};

    if (tl->root == POOL_NIL)
        return tl->point_count == 0 && tl->level == 0;
    if (tl->level > 0 && inner_at(tl, tl->root)->count < 2)
        return false;
    return check_node(&check, tl->root, tl->level) && check.count == tl->point_count;
}
