#include "core/quota.h"

#include "core/world.h"

#include <assert.h>

void quota_change(struct client *client, int64_t start_ms, int64_t end_ms, int64_t gpus, bool add)
{
    assert(client->timeline);
    assert(end_ms != TIMELINE_FOREVER);
    (add ? timeline_add : timeline_remove)(client->timeline, start_ms, end_ms,
                                           (struct amount){.gpus = gpus});
    /* Only the window's part from known_from on counts. */
    start_ms = int_max(start_ms, timeline_known_from(client->timeline));
    if (start_ms < end_ms)
        client->known_gpu_ms += (gpu_ms)(add ? gpus : -gpus) * (end_ms - start_ms);
    assert(client->known_gpu_ms >= 0);
}

int64_t quota_peak(const struct client *client, int64_t start_ms, int64_t end_ms)
{
    return timeline_peak(client->timeline, start_ms, end_ms).gpus;
}

static bool add_piece(void *arg, int64_t start_ms, int64_t end_ms, struct amount use)
{
    gpu_ms *sum = arg;
    /* The start of an idle piece may be INT64_MIN. */
    if (use.gpus > 0)
        *sum += (gpu_ms)use.gpus * ((gpu_ms)end_ms - start_ms);
    return true;
}

gpu_ms quota_ahead(const struct client *client, int64_t from_ms)
{
    int64_t known_ms = timeline_known_from(client->timeline);
    gpu_ms before = 0;
    assert(timeline_covers(client->timeline, from_ms));
    if (known_ms < from_ms)
        timeline_steps(client->timeline, known_ms, from_ms, add_piece, &before);
    assert(before <= client->known_gpu_ms);
    return client->known_gpu_ms - before;
}

void quota_forget_before(struct client *client, int64_t at_ms)
{
    if (timeline_covers(client->timeline, at_ms))
        client->known_gpu_ms = quota_ahead(client, at_ms);
    timeline_forget_before(client->timeline, at_ms);
}

int64_t quota_hours(gpu_ms time)
{
    assert(time >= 0);
    gpu_ms hours = (time + QUOTA_HOUR_MS - 1) / QUOTA_HOUR_MS;
    return hours > INT64_MAX ? INT64_MAX : (int64_t)hours;
}
