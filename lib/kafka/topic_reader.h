/* Reads the farm's two topics by offset: their ranges, pieces of them, their tails, and on and on.
 * The consumer is in no group and asks no coordinator. One thread at a time; only
 * topic_reader_ends may be called from any.
 *
 * A message that cannot be read (kafka_error_is_unreadable) comes as one without key, value and headers, at
 * its offset. librdkafka names only the first offset of a batch that it cannot read, so each offset of
 * that batch costs a new start. One bad message thus ends nothing; whoever needs its bytes sees none.
 *
 * Errors are those of lib/kafka/kafka_error.h, with the topic and partition in the text. */
#ifndef BERTH_LIB_KAFKA_TOPIC_READER_H
#define BERTH_LIB_KAFKA_TOPIC_READER_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/kafka/kafka_conf.h"
#include "lib/kafka/kafka_error.h"

/* What every reader requires of kafka_conf_build: positions are the caller's and never move
 * silently, nobody's open transaction holds messages back, and damage is noticed. */
extern const struct kafka_setting topic_reader_required[];

struct topic_reader_options {
    const char *names[TOPIC_COUNT]; /* copied */
    int answer_ms;                  /* the longest that one answer of the brokers may take */
    int patience_ms; /* how long a topic or partition may be unknown or without a leader */
    int stall_ms;    /* the longest wait for the next message of a piece */
    bool tells_ends; /* needed by topic_reader_read; the queue then tells partitions' ends, too */
};

struct topic_reader;

/* Takes the conf in every case, and gives *out. Asks no broker. ERR_CONFIG: settings that contradict
 * each other. */
enum err topic_reader_new(rd_kafka_conf_t *conf, const struct topic_reader_options *options,
                          struct topic_reader **out, struct failure *f);
/* Stops what is followed. NULL is fine. */
void topic_reader_free(struct topic_reader *reader);

/* The client, for administrative requests on the same connections; the reader's own. */
rd_kafka_t *topic_reader_client(const struct topic_reader *reader);
const char *topic_reader_name(const struct topic_reader *reader, enum topic topic);
int topic_reader_answer_ms(const struct topic_reader *reader);
void topic_reader_set_answer_ms(struct topic_reader *reader, int answer_ms);
/* Serves the client's callbacks. Every function here that asks a broker does so, too. */
void topic_reader_serve(struct topic_reader *reader);

#define TOPIC_CLUSTER_ID_LEN 65
enum err topic_reader_cluster_id(struct topic_reader *reader, char out[TOPIC_CLUSTER_ID_LEN],
                                 struct failure *f);
/* The number of the topic's partitions; 0: there is no such topic. */
enum err topic_reader_partitions(struct topic_reader *reader, enum topic topic, int32_t *out,
                                 struct failure *f);

/* First and one past the last offset. */
struct topic_span {
    int64_t lo, hi;
};
enum err topic_reader_span(struct topic_reader *reader, enum topic topic, int32_t part,
                           struct topic_span *out, struct failure *f);
/* One past the last offset of each of the topic's first `count` partitions, in one question to each
 * broker; -1: that one's is not known. The first error is returned, and the other ends are good. */
enum err topic_reader_ends(const struct topic_reader *reader, enum topic topic, int32_t count,
                           int timeout_ms, int64_t *ends, struct failure *f);

/* A part of a partition's log: offsets in [from, to). Offsets may have holes. */
struct topic_piece {
    enum topic topic;
    int32_t part;
    int64_t from, to;
};
/* An error ends the reading and is returned. The message is borrowed for the call. */
typedef enum err topic_message_fn(void *arg, const rd_kafka_message_t *message, struct failure *f);

/* Calls fn for each message of the piece, in order. Returns when all below `to` was read, or the
 * log's end is reached. ERR_LOG_TRANSPORT: also when no message came for stall_ms. */
enum err topic_reader_read(struct topic_reader *reader, const struct topic_piece *piece,
                           topic_message_fn *fn, void *arg, struct failure *f);
/* Sets the piece's `from` and `to` to the last `count` offsets of its partition, as they are now. */
enum err topic_reader_tail(struct topic_reader *reader, struct topic_piece *piece, int64_t count,
                           struct failure *f);
/* Finds the message with the highest offset in the piece, looking from its end on: calls fn for some
 * messages, last of all for that one. ERR_NOT_FOUND: the piece holds no message. */
enum err topic_reader_last(struct topic_reader *reader, const struct topic_piece *piece,
                           topic_message_fn *fn, void *arg, struct failure *f);
/* The offset of the first message in the piece. ERR_NOT_FOUND: the piece holds none. */
enum err topic_reader_first(struct topic_reader *reader, const struct topic_piece *piece,
                            int64_t *offset_out, struct failure *f);

/* Following: partitions that are started are read on and on into one queue. Pieces must not be read
 * of a partition meanwhile. */

/* Starts at the offset; RD_KAFKA_OFFSET_BEGINNING, _END and _TAIL(n) will do, too, and brokers may
 * then be away. */
enum err topic_reader_start(struct topic_reader *reader, enum topic topic, int32_t part,
                            int64_t offset, struct failure *f);
void topic_reader_stop(struct topic_reader *reader, enum topic topic, int32_t part);
/* The next message, which the caller destroys; NULL: none came in time. One with an error says what
 * is wrong with its partition: ERR_LOG_TRANSPORT passes by itself; _AUTO_OFFSET_RESET means that the
 * log does not have the position, and only another start helps; with `tells_ends`,
 * _PARTITION_EOF gives the offset at the partition's end. */
rd_kafka_message_t *topic_reader_next(struct topic_reader *reader, int timeout_ms);
/* The queue itself, to be woken by it; the reader's own. */
rd_kafka_queue_t *topic_reader_queue(const struct topic_reader *reader);

/* The header with that name, in *len_out bytes; NULL: none. Borrowed from the message. */
const char *topic_header(const rd_kafka_message_t *message, const char *name, size_t *len_out);
/* The decimal number in the header; -1: none. */
int64_t topic_header_int(const rd_kafka_message_t *message, const char *name);

#endif
