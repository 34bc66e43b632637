/* One machine's use over time: a step function of (GPUs, memory), kept as a balanced tree of change
 * points. A change point holds the two differences that take effect at its instant; beside each
 * link to a subtree stand, for both components, its sum and its highest and lowest prefix sum, so
 * that a question about a window looks at O(log n) nodes and not at the bookings in it.
 *
 * Times are int64_t milliseconds since the Unix epoch, windows are half-open [start, end) with
 * start < end (asserted), n is the number of change points. A booking makes at most two; bookings
 * that begin or end at the same instant share one, and a point that no longer changes anything is
 * removed. A point takes 16 bytes and its part of its node's free room: with random windows about 52
 * bytes per booking in all (measured by make bench-core); a timeline that is not empty has 512 at
 * least.
 *
 * KNOWN FROM. A timeline is complete only from its known_from on. Every question asserts that it
 * does not look earlier: ask timeline_covers first and load the timeline afresh when it says no.
 * The use at known_from is one stored amount; what was before it is not stored. timeline_add and
 * timeline_remove therefore take any window, and only its part from known_from on counts: a start
 * below known_from is moved up to it, and a window that ends at or before known_from changes
 * nothing. That makes timeline_remove the exact inverse of timeline_add even when known_from was
 * raised in between: what timeline_forget_before folds away of a booking is just the part that the
 * removal then leaves out.
 *
 * Pure: no clock, no I/O, no logging; memory comes from the caller's pool and from malloc for the
 * handle. One thread at a time per pool. A broken precondition is a bug of the caller's: assert. */
#ifndef BERTH_CORE_TIMELINE_H
#define BERTH_CORE_TIMELINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/amount.h"
#include "core/pool.h"

/* As the end of a window: without end. */
#define TIMELINE_FOREVER      INT64_MAX
/* Change points lie strictly inside +/- this many ms (a million years), so that sums and
 * differences of times stay within 64 bits. */
#define TIMELINE_MS_LIMIT     (INT64_C(1) << 55)
/* The highest use at any instant, per component (asserted): 32 times the largest machine's memory
 * (core/limits.h). Differences of uses then fit 32 bits, which keeps a point at 16 bytes. */
#define TIMELINE_AMOUNT_LIMIT (INT64_C(1) << 29)

struct timeline;

/* An empty timeline, complete from known_from_ms on (INT64_MIN: from ever). Heap; never NULL.
 * Borrows the pool, which must outlive it; many timelines may share one. */
struct timeline *timeline_new(struct pool *pool, int64_t known_from_ms);
/* Frees it and gives its nodes back to the pool, O(n). NULL is fine. */
void timeline_free(struct timeline *tl);

/* Books: adds `use` (no component negative) over [start, end). Checks no capacity: timeline_fits
 * does. O(log n). `end_ms` may be TIMELINE_FOREVER. */
void timeline_add(struct timeline *tl, int64_t start_ms, int64_t end_ms, struct amount use);
/* Frees: the exact inverse of timeline_add with the same arguments, see KNOWN FROM. Asserts that no
 * use becomes negative, that is, only what was added is removed. O(log n). */
void timeline_remove(struct timeline *tl, int64_t start_ms, int64_t end_ms, struct amount use);

/* The highest use over [start, end), per component: the two may be reached at different instants.
 * `end_ms` may be TIMELINE_FOREVER. O(log n). */
struct amount timeline_peak(const struct timeline *tl, int64_t start_ms, int64_t end_ms);
/* Whether use + need <= capacity in both components at every instant of [start, end). O(log n). */
bool timeline_fits(const struct timeline *tl, struct amount capacity, int64_t start_ms,
                   int64_t end_ms, struct amount need);
/* The use at one instant. O(log n). */
struct amount timeline_use_at(const struct timeline *tl, int64_t at_ms);

/* What timeline_earliest looks for. */
struct timeline_search {
    struct amount capacity, need;
    int64_t from_ms;
    int64_t duration_ms; /* 1..TIMELINE_MS_LIMIT */
    int64_t horizon_ms;  /* may be TIMELINE_FOREVER */
};

/* The least s with from <= s and s + duration <= horizon such that `need` fits in
 * [s, s + duration). Writes it and returns true; false: there is none, nothing is written.
 *
 * Cost: one walk in time order that passes over a subtree without opening it when nothing in it can
 * end the run at hand: for a free run, when its highest uses fit; for a blocked run, when its
 * lowest GPU use alone, or its lowest memory use alone, is too high. So a blocked run costs O(log
 * n) however many bookings it holds as long as one component blocks it throughout. "Both fit"
 * cannot be read from two separate minima: a run whose blocking component changes k times, so that
 * neither blocks throughout, costs O((k + 1) log n). No node is opened twice: with r free runs that
 * are too short in [from, result), the whole is O((r + k + 1) log n) and never more than O(n). */
bool timeline_earliest(const struct timeline *tl, const struct timeline_search *search,
                       int64_t *start_ms_out);

/* One piece [start, end) of constant use; false stops the walk. Must not change the timeline. */
typedef bool timeline_step_fn(void *arg, int64_t start_ms, int64_t end_ms, struct amount use);
/* The step function over [start, end) in time order: maximal pieces that cover the window without a
 * gap, idle ones too (the cut at `start` and `end` aside, two neighbours differ). `end_ms` may be
 * TIMELINE_FOREVER, and is then the last piece's end. O(log n + pieces). */
void timeline_steps(const struct timeline *tl, int64_t start_ms, int64_t end_ms,
                    timeline_step_fn *fn, void *arg);

int64_t timeline_known_from(const struct timeline *tl);
/* Whether questions from `from_ms` on may be asked. */
bool timeline_covers(const struct timeline *tl, int64_t from_ms);

/* Folds all change points up to `at` into the use at `at` and raises known_from to it; nothing
 * happens when known_from is there already. O(log n + points folded). */
void timeline_forget_before(struct timeline *tl, int64_t at_ms);

#endif
