/* Pauses between retries: each about twice the one before, up to a bound, with jitter, so that
 * workers that failed together do not retry together. The caller bounds the number of retries. */
#ifndef BERTH_LIB_BASE_BACKOFF_H
#define BERTH_LIB_BASE_BACKOFF_H

#include <stdint.h>

struct backoff {
    int64_t min_ms, max_ms;
    int64_t step_ms;     /* upper end of the next pause */
    uint64_t randomness; /* state of the jitter */
};

/* 0 < min_ms <= max_ms. */
void backoff_init(struct backoff *b, int64_t min_ms, int64_t max_ms);
/* The next pause: first between min_ms and 2 * min_ms, later between half of the step and the step;
 * always within [min_ms, max_ms]. */
int64_t backoff_next(struct backoff *b);
/* After a success: the next pause is short again. */
void backoff_reset(struct backoff *b);

#endif
