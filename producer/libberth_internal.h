/* What the files of libberth share. Its users include berth.h only. */
#ifndef BERTH_PRODUCER_LIBBERTH_INTERNAL_H
#define BERTH_PRODUCER_LIBBERTH_INTERNAL_H

#include <stdatomic.h>
#include <sys/queue.h>

#include "lib/kafka/topic_reader.h"
#include "lib/token/issue.h"
#include <berth.h>

/* Time limit of connecting: both topics must answer within it. */
#define CONNECT_TIMEOUT_MS    5000
/* Wait for a decision and lifetime of a token, unless the caller says otherwise. */
#define DEFAULT_WAIT_MS       30000
#define DEFAULT_LIFETIME_S    600
#define DEFAULT_MAX_IN_FLIGHT 10000
#define MAX_IN_FLIGHT         100000
/* Longest call that blocks in librdkafka or in poll(2): an interrupt is seen between two calls. */
#define SLICE_MS              100
/* Events kept per partition while messages are undelivered: the event that decides a message can
 * arrive before the message's delivery report, among the events of other clients. */
#define EARLY_EVENTS_MAX      20000
/* How long one answer about the ends of a partition may take; then an interrupt is looked for. */
#define SPAN_ANSWER_MS        1000
/* syslog's level of what only a developer wants to see. */
#define LOG_LEVEL_DEBUG       7

/* Offset of a message without a delivery report. */
#define OFFSET_NONE   (-1)
/* Offset of a message that the broker has, but at an offset that it did not tell: after a lost answer
 * the producer sent the message again, and the broker said only that it is a duplicate
 * (DUPLICATE_SEQUENCE_NUMBER, KIP-98). */
#define OFFSET_UNTOLD (-2)

/* One message, from berth_send until its outcome was told and its delivery report arrived. */
struct flight {
    TAILQ_ENTRY(flight) link;      /* in client->flights */
    TAILQ_ENTRY(flight) lane_link; /* in lane->waiting: published, and its decision is awaited */
    char *request_id;
    void *tag;
    void (*published)(void *tag, int32_t partition, int64_t offset);
    int32_t partition;
    int64_t offset;      /* or OFFSET_NONE, OFFSET_UNTOLD */
    int64_t deadline_ms; /* on the monotonic clock */
    bool waits;          /* for the decision */
    bool told;           /* the outcome is told; only the delivery report is outstanding */
};
TAILQ_HEAD(flight_list, flight);

/* An event that arrived while messages of its partition were undelivered. */
struct early_event {
    TAILQ_ENTRY(early_event) link;
    int64_t offset; /* of the request that it decides */
    size_t len;
    char bytes[];
};
TAILQ_HEAD(early_list, early_event);

/* One partition of the request topic, with the partition of the event topic that has its number. */
struct lane {
    bool consuming;             /* its events are being read */
    size_t undelivered;         /* messages without a delivery report */
    int64_t last_delivered;     /* the highest offset of a delivery report; -1: none */
    struct flight_list waiting; /* ascending offsets */
    struct early_list early;    /* ascending offsets */
    size_t early_count;
};

/* An outcome that is told; berth_poll gives its first member. */
struct completed {
    struct berth_outcome outcome;
    TAILQ_ENTRY(completed) link;
};
TAILQ_HEAD(completed_list, completed);

struct berth_client {
    char *farm, *topic_prefix, *name, *user, *kid;
    struct signing_key *key; /* NULL: cannot sign */
    char **kafka_names, **kafka_values;
    size_t kafka_count;
    void (*logger)(void *arg, int level, const char *text);
    void *logger_arg;
    atomic_bool interrupted;
    /* A pipe that ends the sleep of berth_poll and berth_watch_next: librdkafka's queues and
     * berth_interrupt write to it. */
    int wake[2];

    /* Set by lb_connect. */
    struct topic_reader *reader;
    rd_kafka_t *producer;
    rd_kafka_topic_t *requests; /* the producer's */
    int32_t partition_count;    /* 0: not connected */
    struct lane *lanes;
    enum berth_status trouble; /* the last error of the Kafka clients; BERTH_OK: none */
    char trouble_text[600];

    struct flight_list flights; /* in the order of sending */
    size_t flight_count;
    size_t untold_count; /* messages whose outcome berth_poll has not given */
    size_t max_in_flight;
    int64_t next_deadline_ms; /* no flight has an earlier deadline; INT64_MAX: none has one */
    struct completed_list done;
};

/* ---- libberth.c */
/* Fills *error (may be NULL) and returns status. */
enum berth_status lb_error(struct berth_error *error, enum berth_status status, const char *format,
                           ...) __attribute__((format(printf, 3, 4)));
/* True once after berth_interrupt was called. */
bool lb_take_interrupt(struct berth_client *client);
/* Sleeps until the wake pipe is written to, until until_ms (monotonic clock) or for SLICE_MS. */
void lb_sleep(struct berth_client *client, int64_t until_ms);
/* Empties the wake pipe. What is looked at after this call wakes the next lb_sleep by itself. */
void lb_drain_wake(struct berth_client *client);

/* ---- libberth_kafka.c */
/* Connects if not connected: both clients, both topics checked, lanes made. */
enum berth_status lb_connect(struct berth_client *client, struct berth_error *error);
void lb_disconnect(struct berth_client *client);
/* Gives *out, a reader whose callbacks know the client, once both topics were found; and their
 * number of partitions. */
enum berth_status lb_reader_open(struct berth_client *client, struct topic_reader **out,
                                 int32_t *partition_count_out, struct berth_error *error);
/* The offsets between which a partition of the event topic has messages now. */
enum berth_status lb_event_span(struct berth_client *client, struct topic_reader *reader,
                                int32_t partition, struct topic_span *out,
                                struct berth_error *error);
/* Reads the partition's events from the offset on. */
enum berth_status lb_follow(struct topic_reader *reader, int32_t partition, int64_t offset,
                            struct berth_error *error);
/* What an error code of librdkafka means to our callers. */
enum berth_status lb_status_of(rd_kafka_resp_err_t code);

/* ---- libberth_flight.c */
/* Makes the lanes of a farm with that many partitions, in place of older ones, and sets
 * client->partition_count. No flights may be left. */
void lb_lanes_new(struct berth_client *client, int32_t partition_count);
/* Takes flight, whose message was handed to librdkafka. */
void lb_flight_add(struct berth_client *client, struct flight *flight);
/* Handles the delivery report of a flight; may free it. */
void lb_flight_delivered(struct berth_client *client, struct flight *flight,
                         const rd_kafka_message_t *report);
/* Handles an event of the partition; `bytes` are borrowed. */
void lb_flight_event(struct berth_client *client, int32_t partition, const char *bytes, size_t len);
/* Tells UNKNOWN to all flights whose deadline has passed. */
void lb_flight_expire(struct berth_client *client, int64_t now_ms);
/* Frees all flights, early events and untaken outcomes. */
void lb_flight_clear(struct berth_client *client);
/* The next outcome, which is the caller's; NULL: none. */
struct berth_outcome *lb_flight_take(struct berth_client *client);

/* ---- libberth_watch.c */
/* What a watch has seen of one partition. */
struct track {
    bool started;  /* `last` means something */
    bool settled;  /* it began at the log's beginning or a recorded position, or saw an in-order
                      successor: a jump is a gap */
    int64_t last;  /* the last sequence taken */
    int64_t epoch; /* the highest berth-epoch seen */
};
enum track_verdict { TRACK_TAKE, TRACK_IGNORE, TRACK_TAKE_AFTER_GAP };
/* The contract for consumers (docs/messages.md), for one event. Changes *track. */
enum track_verdict lb_track(struct track *track, int64_t seq, int64_t epoch);

/* ---- libberth_event.c */
/* The one integer member called "offset" in the bytes, found without parsing: what is not a
 * decision of ours is most often seen at a glance. -1: none; -2: several, parse to know. */
int64_t lb_event_glance(const char *bytes, size_t len);
/* Reads the event and fills verdict, event, reason, detail, duplicate_of of the outcome. False:
 * it is not a decision of the request at that partition and offset; where the offset is -1, of the
 * request with that id that `client` signed, and the offset is filled, too. */
bool lb_event_decide(const char *bytes, size_t len, const char *client,
                     struct berth_outcome *outcome);

#endif
