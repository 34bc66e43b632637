/* The log on Kafka with librdkafka. */
#ifndef BERTH_WORKER_KAFKA_LOG_H
#define BERTH_WORKER_KAFKA_LOG_H

#include "lib/config/config.h"
#include "worker/log_port.h"

/* Reads kafka.*, farm.topic_prefix and worker.* keys; connects in the background. Gives *out. */
enum err kafka_log_new(const struct config *cfg, struct log *out, struct failure *f);
void kafka_log_free(struct log *log);

#endif
