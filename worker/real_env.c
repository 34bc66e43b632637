#include "worker/real_env.h"

#include "lib/base/clock.h"

static int64_t wall_ms(void *arg)
{
    (void)arg;
    return clock_wall_ms();
}

static int64_t mono_ms(void *arg)
{
    (void)arg;
    return clock_mono_ms();
}

static int64_t mono_us(void *arg)
{
    (void)arg;
    return clock_mono_us();
}

static void sleep_ms(void *arg, int64_t ms)
{
    (void)arg;
    clock_sleep_ms(ms);
}

const struct worker_env real_env = {
    .wall_ms = wall_ms, .mono_ms = mono_ms, .mono_us = mono_us, .sleep_ms = sleep_ms};
