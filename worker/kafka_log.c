#include "worker/kafka_log.h"

#include <stdlib.h>

#include "lib/base/mem.h"
#include "worker/kafka_log_impl.h"

bool kafka_part_is_valid(int32_t part)
{
    return part >= 0 && part < LIMIT_PARTITIONS;
}

static enum err class_of(rd_kafka_resp_err_t code)
{
    switch (code) {
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
    case RD_KAFKA_RESP_ERR__RESOLVE:
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE:
    case RD_KAFKA_RESP_ERR__WAIT_COORD:
    case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
    case RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION:
    case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION:
    case RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE:
        return ERR_LOG_TRANSPORT;
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
        return ERR_LOG_TOPIC;
    default:
        return ERR_LOG_ERROR;
    }
}

enum err kafka_failure(struct failure *f, rd_kafka_resp_err_t code, const char *doing,
                       const char *text)
{
    return failure_set(f, class_of(code), "%s: %s (%s)", doing,
                       text ? text : rd_kafka_err2str(code), rd_kafka_err2name(code));
}

static const struct log_ops ops = {
    .shape = kafka_shape,
    .subscribe = kafka_subscribe,
    .resubscribe = kafka_resubscribe,
    .start = kafka_start,
    .poll = kafka_poll,
    .release = kafka_release,
    .seek = kafka_seek,
    .pause = kafka_pause,
    .resume = kafka_resume,
    .publish = kafka_publish,
    .flush = kafka_flush,
    .reset_producer = kafka_reset_producer,
    .commit_offset = kafka_commit_offset,
    .request_end = kafka_request_end,
    .request_range = kafka_request_range,
    .event_range = kafka_event_range,
    .request_before = kafka_request_before,
    .event_tail = kafka_event_tail,
    .close = kafka_close,
};

static void destroy(struct kafka_log *log)
{
    kafka_inbox_fini(log);
    kafka_consumer_free(log);
    kafka_reader_free(log);
    kafka_producer_free(log);
    free(log->parts);
    free(log);
}

enum err kafka_log_new(const struct config *cfg, struct log *out, struct failure *f)
{
    struct kafka_log *log = xcalloc(1, sizeof *log);
    log->parts = xcalloc(LIMIT_PARTITIONS, sizeof *log->parts);
    for (int32_t part = 0; part < LIMIT_PARTITIONS; part++)
        log->parts[part].commit_offset = -1;
    kafka_requests_topic(cfg, log->requests);
    kafka_events_topic(cfg, log->events);

    enum err err = kafka_producer_open(log, cfg, f);
    if (!err)
        err = kafka_reader_open(log, cfg, f);
    if (!err)
        err = kafka_consumer_open(log, cfg, f);
    if (err) {
        destroy(log);
        return err;
    }
    *out = (struct log){.ops = &ops, .self = log};
    return ERR_OK;
}

void kafka_log_free(struct log *log)
{
    if (log->self)
        destroy(log->self);
    *log = (struct log){0};
}
