/* One machine's use over time: a step function of (GPUs, memory), stored as a balanced tree of
 * change points (timeline_tree.h). A change point holds the changes of GPUs and memory at its
 * instant. Beside each link to a subtree stand, for both components, its sum and its highest and
 * lowest prefix sum, so a question about a window reads O(log n) nodes, however many bookings are
 * in the window.
 *
 * Times are int64_t milliseconds since the Unix epoch, windows are half-open [start, end) with
 * start < end (asserted), n is the number of change points. A booking makes at most two. Bookings
 * that begin or end at the same instant share one, and a point without a change is removed. A point
 * takes 16 bytes and its part of its node's free room: about 52 bytes per booking with random
 * windows (measured by make bench-core). A timeline that is not empty takes at least 512 bytes.
 *
 * KNOWN FROM. A timeline is complete only from its known_from on. Every question asserts that its
 * window does not begin earlier: ask timeline_covers first, and load the timeline again if it says
 * no. The use at known_from is one stored amount; earlier use is not stored. timeline_add and
 * timeline_remove take any window, of which only the part from known_from on counts: an earlier
 * start is moved to known_from, and a window that ends at or before known_from changes nothing. So
 * timeline_remove is the exact inverse of timeline_add even if known_from was raised in between:
 * the part of a booking that timeline_forget_before removed is the part that timeline_remove
 * ignores.
 *
 * Pure: no clock, no I/O, no logging. Memory comes from the caller's pool, and from malloc for the
 * handle. One thread at a time per pool. Preconditions are asserted. */
#ifndef BERTH_CORE_TIMELINE_H
#define BERTH_CORE_TIMELINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/amount.h"
#include "core/pool.h"

/* The end of a window without end. */
#define TIMELINE_FOREVER      INT64_MAX
/* Change points lie strictly inside +/- this many ms (a million years), so that sums and
 * differences of times stay within 64 bits. */
#define TIMELINE_MS_LIMIT     (INT64_C(1) << 55)
/* The highest use at any instant, per component (asserted): 32 times the largest machine's memory
 * (core/limits.h). Differences of uses then fit 32 bits, which keeps a point at 16 bytes. */
#define TIMELINE_AMOUNT_LIMIT (INT64_C(1) << 29)

struct timeline;

/* An empty timeline, known from known_from_ms on (INT64_MIN: at all times). Heap; never NULL.
 * Borrows the pool, which must outlive it; many timelines may share a pool. */
struct timeline *timeline_new(struct pool *pool, int64_t known_from_ms);
/* Frees the timeline and gives its nodes back to the pool, O(n). NULL is fine. */
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

/* A question to timeline_earliest. */
struct timeline_search {
    struct amount capacity, need;
    int64_t from_ms;
    int64_t duration_ms; /* 1..TIMELINE_MS_LIMIT */
    int64_t horizon_ms;  /* may be TIMELINE_FOREVER */
};

/* The least s with from <= s and s + duration <= horizon such that `need` fits in [s, s +
 * duration). Writes s and returns true; false: there is none, nothing is written.
 *
 * Cost: one walk in time order. The walk skips a subtree that cannot end the current run: a free
 * run if the subtree's highest uses fit, a blocked run if its lowest GPU use or its lowest memory
 * use is too high. So a blocked run costs O(log n), however many bookings it holds, as long as the
 * same component blocks it throughout. Two separate minima do not show whether both components fit
 * at one instant: a run whose blocking component changes k times costs O((k + 1) log n). No node is
 * read twice: with r free runs that are too short in [from, result), the cost is O((r + k + 1) log
 * n), and never more than O(n). */
bool timeline_earliest(const struct timeline *tl, const struct timeline_search *search,
                       int64_t *start_ms_out);

/* Gets one piece [start, end) of constant use; false stops the walk. Must not change the
 * timeline. */
typedef bool timeline_step_fn(void *arg, int64_t start_ms, int64_t end_ms, struct amount use);
/* Calls fn for the pieces of constant use in [start, end), in time order, idle pieces included.
 * Pieces have no gaps and are maximal but for the cuts at `start` and `end`. `end_ms` may be
 * TIMELINE_FOREVER, which is then the end of the last piece. O(log n + pieces). */
void timeline_steps(const struct timeline *tl, int64_t start_ms, int64_t end_ms,
                    timeline_step_fn *fn, void *arg);

int64_t timeline_known_from(const struct timeline *tl);
/* Whether questions from `from_ms` on may be asked. */
bool timeline_covers(const struct timeline *tl, int64_t from_ms);

/* Raises known_from to `at_ms` and removes the change points up to it. Does nothing if known_from
 * is not lower. O(log n + points removed). */
void timeline_forget_before(struct timeline *tl, int64_t at_ms);

#endif
