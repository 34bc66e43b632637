/* The broker port, implemented with librdkafka. */
#ifndef BERTH_WORKER_KAFKA_BROKER_H
#define BERTH_WORKER_KAFKA_BROKER_H

#include "lib/config/config.h"
#include "worker/broker.h"

/* Reads kafka.*, farm.topic_prefix and worker.* keys; connects in the background. Gives *out. */
enum err kafka_broker_new(const struct config *cfg, struct broker *out, struct failure *f);
void kafka_broker_free(struct broker *broker);

#endif
