/* A client's use over all machines, for counted limits: the changes to what struct client (world.h)
 * holds, and the questions of the limits.
 *
 * Only GPUs are counted: the memory of many machines together exceeds the range of a timeline. The
 * client holds the sum of its GPU time from known_from on. The GPU time from an instant on is that
 * sum minus the part before the instant: O(1) for a change, O(log n + change points from known_from
 * to the instant) for a question. Sums are exact, in GPU-milliseconds of 128 bits: the GPU time of
 * a farm until the year 9999 does not fit into 64 bits. */
#ifndef BERTH_CORE_QUOTA_H
#define BERTH_CORE_QUOTA_H

#include <stdbool.h>
#include <stdint.h>

struct client;

__extension__ typedef __int128 gpu_ms;

#define QUOTA_HOUR_MS INT64_C(3600000)

/* Adds `gpus` over [start, end) to the client's use, or removes them. Its timeline must be
 * loaded. */
void quota_change(struct client *client, int64_t start_ms, int64_t end_ms, int64_t gpus, bool add);
/* The highest number of GPUs that the client holds in the window. */
int64_t quota_peak(const struct client *client, int64_t start_ms, int64_t end_ms);
/* The GPU time that the client holds from `from_ms` on. */
gpu_ms quota_ahead(const struct client *client, int64_t from_ms);
/* Forgets use before `at_ms` (timeline_forget_before). */
void quota_forget_before(struct client *client, int64_t at_ms);
/* The time in hours, rounded up, at most INT64_MAX. */
int64_t quota_hours(gpu_ms time);

#endif
