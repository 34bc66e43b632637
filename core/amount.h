/* How much of a machine: a capacity, a need or a use. A plain value, never a difference. */
#ifndef BERTH_CORE_AMOUNT_H
#define BERTH_CORE_AMOUNT_H

#include <stdint.h>

struct amount {
    int64_t gpus;
    int64_t memory_gib;
};

#endif
