/* How much of a machine: a capacity, a need, a use, or what is free. */
#ifndef BERTH_CORE_AMOUNT_H
#define BERTH_CORE_AMOUNT_H

#include <stdbool.h>
#include <stdint.h>

struct amount {
    int64_t gpus;
    int64_t memory_gib;
};

static inline int64_t int_max(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static inline bool amount_equals(struct amount a, struct amount b)
{
    return a.gpus == b.gpus && a.memory_gib == b.memory_gib;
}

/* Whether `a` is at most `limit` in both components. */
static inline bool amount_within(struct amount a, struct amount limit)
{
    return a.gpus <= limit.gpus && a.memory_gib <= limit.memory_gib;
}

/* What is left of `a`; a component is below 0 where `b` is more. */
static inline struct amount amount_minus(struct amount a, struct amount b)
{
    return (struct amount){a.gpus - b.gpus, a.memory_gib - b.memory_gib};
}

#endif
