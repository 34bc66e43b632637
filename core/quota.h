/* A client's use over all machines, for the limits that are counted: what struct client (world.h)
 * keeps, and the questions that limits ask.
 *
 * Only GPUs are counted: the memory of many machines together is more than a timeline takes. The
 * sum of GPU time from known_from on is carried along, so that what lies ahead of an instant is
 * that sum less the part in between: O(1) for a change, O(log n + change points from known_from to
 * the instant) for a question. Exact: GPU-milliseconds in 128 bits, because the farm's GPUs until
 * the year 9999 do not fit 64. */
#ifndef BERTH_CORE_QUOTA_H
#define BERTH_CORE_QUOTA_H

#include <stdint.h>

struct client;

__extension__ typedef __int128 gpu_ms;

#define QUOTA_HOUR_MS INT64_C(3600000)

/* The client holds `gpus` over [start, end), or no longer. Its timeline must be loaded. */
void quota_hold(struct client *client, int64_t start_ms, int64_t end_ms, int64_t gpus);
void quota_drop(struct client *client, int64_t start_ms, int64_t end_ms, int64_t gpus);
/* The most GPUs that it holds at any instant of the window. */
int64_t quota_peak(const struct client *client, int64_t start_ms, int64_t end_ms);
/* GPU time that it holds from `from_ms` on. */
gpu_ms quota_ahead(const struct client *client, int64_t from_ms);
/* Forgets what lies before (timeline_forget_before). */
void quota_forget_before(struct client *client, int64_t at_ms);
/* In whole hours, rounded up; more than int64_t holds is its highest value. */
int64_t quota_hours(gpu_ms time);

#endif
