/* The settings of a topic that Berth rests on: given to new topics, checked in existing ones. */
#ifndef BERTH_LIB_KAFKA_TOPIC_SETTINGS_H
#define BERTH_LIB_KAFKA_TOPIC_SETTINGS_H

#include "lib/kafka/topic_reader.h"

struct topic_setting {
    enum topic topic;
    const char *name, *value; /* as Berth makes topics */
    int64_t least;            /* > 0: a number, and an existing topic may have less, down to this */
    bool vital;               /* a worker does not work without it */
    const char *why;
};
/* The last one has no name. */
extern const struct topic_setting topic_settings[];

/* A setting that is not as it must be. */
struct topic_misfit {
    const struct topic_setting *setting; /* NULL: all are as they must be */
    char is[128];                        /* "": the topic does not tell it */
};

/* Asks for the topic's settings and finds the first that does not fit, among all or only the vital
 * ones. Waits up to twice the reader's answer_ms. */
enum err topic_settings_check(struct topic_reader *reader, enum topic topic, bool only_vital,
                              struct topic_misfit *out, struct failure *f);

/* Takes the answer to one administrative request from the queue, waiting up to timeout_ms. Gives
 * *out, to be given to rd_kafka_event_destroy. ERR_LOG_TRANSPORT: none came; also what the answer's
 * own error is. */
enum err topic_admin_answer(rd_kafka_queue_t *queue, int timeout_ms, const char *doing,
                            rd_kafka_event_t **out, struct failure *f);

#endif
