/* What an error code of librdkafka means to a caller: the one classification. */
#ifndef BERTH_LIB_KAFKA_KAFKA_ERROR_H
#define BERTH_LIB_KAFKA_KAFKA_ERROR_H

#include <librdkafka/rdkafka.h>

#include <stdbool.h>

#include "lib/base/err.h"

/* ERR_OK for no error; else
 * ERR_LOG_TRANSPORT: brokers away, partitions without a leader, time-outs: try again later.
 * ERR_LOG_DENIED: the broker refuses this client, or TLS fails: a person must look.
 * ERR_LOG_TOPIC: no such topic or partition.
 * ERR_LOG_TOO_LARGE: a message that is longer than the topic takes.
 * ERR_LOG_FULL: the producer's queue is full: poll, then try again.
 * ERR_LOG_ERROR: anything else. */
enum err kafka_error_class(rd_kafka_resp_err_t code);

/* Whether a consumer's error says that a message, or the batch that holds it, cannot be read: it is damaged, in
 * an unknown codec, or larger unpacked than receive.message.max.bytes. librdkafka then reads it again
 * for ever, and the rest of the partition never. */
bool kafka_error_is_unreadable(rd_kafka_resp_err_t code);

/* Sets the failure "doing: text (CODE)" and returns the code's class. `text` NULL: what librdkafka
 * says of the code. */
enum err kafka_failure(struct failure *f, rd_kafka_resp_err_t code, const char *doing,
                       const char *text);

#endif
