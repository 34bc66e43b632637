/* What a worker is started with, and the limits of its retries, waits and reads.
 *
 * Time reaches the loop through worker_env alone, so that tests can run it on simulated clocks. */
#ifndef BERTH_WORKER_WORKER_SETTINGS_H
#define BERTH_WORKER_WORKER_SETTINGS_H

#include <stddef.h>
#include <stdint.h>

/* Attempts at one batch before it is split: first per partition, then per message. */
#define WORKER_BATCH_ATTEMPTS    6
/* Shortest and longest pause between attempts at a batch, a connection or a producer. */
#define WORKER_RETRY_MIN_MS      5
#define WORKER_RETRY_MAX_MS      2000
/* A partition waits while its next message is this far ahead of the worker's wall clock. */
#define WORKER_CLOCK_AHEAD_MS    (5 * 60 * 1000)
/* Interval between checks of a waiting partition, a halted partition, or a halted farm. */
#define WORKER_LOOK_AGAIN_MS     2000
/* Longest idle time of a session before a ping; the server drops a session after 10 s. */
#define WORKER_PING_MS           3000
/* Longest wait for outstanding deliveries in a revoke, and at shutdown. */
#define WORKER_REVOKE_FLUSH_MS   5000
#define WORKER_SHUTDOWN_FLUSH_MS 1000
/* Number of offsets below next_offset that the resume check searches for the last decided message, and
 * thus the most that the position moves behind it. */
#define WORKER_HOLE_MAX          1000
/* A position that stands this long before the log's end may stand before markers alone. */
#define WORKER_MARKERS_MS        500
/* Fruitless epochs after which messages are decided one at a time; after which the partition halts. */
#define WORKER_POISON_ONE_BY_ONE 3
#define WORKER_POISON_HALT       6
/* Interval between writes of published_seq, and of the group's offset (a gauge). */
#define WORKER_NOTE_MS           2000
/* Longest time that claims and checks of partitions may take between two polls. */
#define WORKER_CLAIM_SLICE_MS    2000
/* Decisions read per statement when their events are published again. */
#define WORKER_OUTBOX_PAGE       1000

struct worker_metrics;

struct worker_settings {
    const char *name; /* borrowed; written to request_partition.owner and the log */
    size_t batch_max; /* messages in one batch; > 0 */
    size_t batch_max_bytes;
    int64_t unpublished_max;        /* per partition; > batch_max */
    struct worker_metrics *metrics; /* borrowed; NULL: the worker counts into metrics of its own */
};

struct worker_env {
    void *arg;
    int64_t (*wall_ms)(void *arg);
    int64_t (*mono_ms)(void *arg);
    int64_t (*mono_us)(void *arg); /* the monotonic clock in microseconds, to time stages */
    void (*sleep_ms)(void *arg, int64_t ms);
};

#endif
