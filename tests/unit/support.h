/* Helpers shared by unit tests. */
#ifndef BERTH_TESTS_SUPPORT_H
#define BERTH_TESTS_SUPPORT_H

#include <stdint.h>

#include "core/arena.h"
#include "lib/base/mem.h"

/* cmocka fixtures: a new arena for each test. */
extern struct arena *arena;
int arena_setup(void **state);
int arena_teardown(void **state);

/* Reads a file of the checkout; fails the test if the file does not exist. */
struct buf read_file(const char *path);

/* The next number of the splitmix64 sequence of `state`. */
static inline uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

#endif
