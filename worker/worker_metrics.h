/* A worker's metrics for Prometheus. Only the loop's thread writes; any thread renders at any time,
 * without a lock. */
#ifndef BERTH_WORKER_WORKER_METRICS_H
#define BERTH_WORKER_WORKER_METRICS_H

#include "core/request.h"
#include "lib/base/err.h"
#include "lib/metrics/metrics.h"
#include "worker/part.h"

/* The stages of a batch, in order (worker/batch.c). */
#define STAGE_TABLE(X)                                                                             \
    X(AUTHENTICATE, "authenticate", "taking messages apart and verifying their signatures")        \
    X(WARM, "warm", "plain reads and the loading of timelines, before any lock")                   \
    X(LOCK, "lock", "taking the locks, and reading again what they protect")                       \
    X(DECIDE, "decide", "deciding, in memory")                                                     \
    X(WRITE, "write", "the INSERTs and UPDATEs")                                                   \
    X(COMMIT, "commit", "the COMMIT")                                                              \
    X(PUBLISH, "publish", "handing the events to the producer")

enum stage {
#define STAGE_ENUM(id, name, text) STAGE_##id,
    STAGE_TABLE(STAGE_ENUM)
#undef STAGE_ENUM
        STAGE_COUNT
};

struct worker_metrics;

struct worker_metrics *worker_metrics_new(void);
void worker_metrics_free(struct worker_metrics *metrics); /* NULL is fine */

/* The text of a scrape, appended to *out. Any thread. */
void worker_metrics_render(const struct worker_metrics *metrics, struct buf *out);

/* The rest is for the modules of this folder, in the loop's thread. */

/* Makes room to time unpublished_max unpublished decisions per partition. Call it before the others;
 * later calls do nothing. */
void worker_metrics_open(struct worker_metrics *metrics, int64_t unpublished_max);
/* Whether the loop's state is to be shown now; false: that was done just before. */
bool worker_metrics_due(struct worker_metrics *metrics, int64_t mono_ms);
void worker_metrics_show_part(struct worker_metrics *metrics, const struct part *part);
struct worker_view {
    int64_t wall_ms; /* now */
    int32_t partitions;
    bool database_up;
    enum halt_cause farm_halted; /* HALT_NONE: it is not */
};
/* After the partitions: what else the loop shows of itself. */
void worker_metrics_show(struct worker_metrics *metrics, const struct worker_view *view);

/* A stage of a batch took so long. */
void worker_metrics_stage(struct worker_metrics *metrics, enum stage stage, int64_t took_us);
/* A batch of that many messages was committed. */
void worker_metrics_batch(struct worker_metrics *metrics, size_t messages);
/* A decision was committed. type is REQUEST_TYPE_COUNT if the message could not be read. append_ms
 * may be BROKER_NO_TIME. */
void worker_metrics_decided(struct worker_metrics *metrics, const struct decision_row *row,
                            enum request_type type, int64_t append_ms);
/* The decision's event was acknowledged. Only decisions of this process are timed. */
void worker_metrics_acknowledged(struct worker_metrics *metrics, int32_t part, int64_t seq,
                                 int64_t wall_ms);
void worker_metrics_rolled_back(struct worker_metrics *metrics, enum err cause);

/* Events of the loop that are counted without labels. */
enum happening {
    HAPPENED_TIMELINE_REUSED,
    HAPPENED_TIMELINE_LOADED,
    HAPPENED_DATABASE_RECONNECT,
    HAPPENED_PRODUCER_RESET,
    HAPPENED_KAFKA_DISCONNECT,
    HAPPENED_GROUP_REJOIN,
    HAPPENING_COUNT
};
void worker_metrics_happened(struct worker_metrics *metrics, enum happening what, size_t times);

#endif
