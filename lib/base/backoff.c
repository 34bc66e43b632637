#include "lib/base/backoff.h"

#include <assert.h>
#include <time.h>
#include <unistd.h>

/* splitmix64 (Steele, Lea, Flood 2014): one word of state is enough for jitter. */
static uint64_t next_random(uint64_t *state)
{
    *state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = *state;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

void backoff_init(struct backoff *b, int64_t min_ms, int64_t max_ms)
{
    assert(min_ms > 0);
    assert(min_ms <= max_ms);
    assert(max_ms <= INT64_MAX / 4);
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    *b = (struct backoff){.min_ms = min_ms, .max_ms = max_ms};
    /* Processes that start in the same instant must differ. */
    b->randomness = ((uint64_t)now.tv_sec << 30) ^ (uint64_t)now.tv_nsec ^
                    ((uint64_t)getpid() << 48);
    backoff_reset(b);
}

int64_t backoff_next(struct backoff *b)
{
    int64_t low = b->step_ms / 2 > b->min_ms ? b->step_ms / 2 : b->min_ms;
    int64_t span = b->step_ms - low + 1;
    assert(span > 0);
    int64_t pause = low + (int64_t)(next_random(&b->randomness) % (uint64_t)span);
    b->step_ms = b->step_ms > b->max_ms / 2 ? b->max_ms : 2 * b->step_ms;
    return pause;
}

void backoff_reset(struct backoff *b)
{
    b->step_ms = 2 * b->min_ms > b->max_ms ? b->max_ms : 2 * b->min_ms;
}
