/* What the files of libberth share; not for its users. */
#ifndef BERTH_PRODUCER_LIBBERTH_INTERNAL_H
#define BERTH_PRODUCER_LIBBERTH_INTERNAL_H

#include <signal.h>
#include <stdatomic.h>

#include <librdkafka/rdkafka.h>

#include "lib/token/issue.h"
#include <berth.h>

/* How long the first contact with the brokers may take. */
#define CONNECT_TIMEOUT_MS    5000
/* What a request waits for its decision when the caller does not say. */
#define DEFAULT_WAIT_MS       30000
#define DEFAULT_LIFETIME_S    600
#define DEFAULT_MAX_IN_FLIGHT 10000
#define MAX_IN_FLIGHT         100000
/* Blocking calls into librdkafka are cut into pieces, to see an interrupt in between. */
#define SLICE_MS              100
/* Other clients' events kept, per partition, while a message of ours is on its way to the broker:
 * its decision can be here before its delivery report. */
#define EARLY_EVENTS_MAX      20000
/* Longest name of a topic (Kafka). */
#define TOPIC_LEN             250

/* The broker has the message and did not say where: it was asked again after an answer was lost, and
 * knew no more than that it has it (DUPLICATE_SEQUENCE_NUMBER, KIP-98). */
#define OFFSET_UNTOLD (-2)

/* One message from berth_send until its outcome came out and its delivery report came in. */
struct flight {
    struct flight *prev, *next;           /* all flights of the client, in the order of sending */
    struct flight *lane_prev, *lane_next; /* published ones that wait, ascending offsets */
    char *request_id;
    void *tag;
    void (*published)(void *tag, int32_t partition, int64_t offset);
    int32_t partition;
    int64_t offset;      /* -1: no delivery report yet; or OFFSET_UNTOLD */
    int64_t deadline_ms; /* on the monotonic clock */
    bool waits;          /* for the decision */
    bool told;           /* its outcome came out; only the delivery report is still to come */
};

/* An event that came while deliveries were outstanding. */
struct early_event {
    struct early_event *next;
    int64_t offset; /* of the request that it decides */
    size_t len;
    char bytes[];
};

/* One partition, as requests and events share its number. */
struct lane {
    bool consuming;         /* its events are being read */
    size_t undelivered;     /* messages without a delivery report */
    int64_t last_delivered; /* the highest offset of a delivery report; -1: none */
    struct flight *first, *last;
    struct early_event *early_first, *early_last;
    size_t early_count;
};

struct completed {
    struct completed *next;
    struct berth_outcome *outcome;
};

struct berth_client {
    char *farm, *topic_prefix, *name, *user, *kid;
    struct signing_key *key; /* NULL: cannot sign */
    char **kafka_names, **kafka_values;
    size_t kafka_count;
    void (*logger)(void *arg, int level, const char *text);
    void *logger_arg;
    atomic_bool interrupted;
    int wake
        [2]; /* a pipe: librdkafka's queues and berth_interrupt write, berth_poll sleeps on it */

    /* From here on: only once connected. */
    rd_kafka_t *producer, *consumer;
    rd_kafka_topic_t *requests, *events;
    rd_kafka_queue_t *event_queue;
    int32_t partition_count; /* 0: not connected */
    struct lane *lanes;
    enum berth_status trouble; /* the last error of the Kafka clients; BERTH_OK: none */
    char trouble_text[600];

    struct flight *first, *last;
    size_t flight_count; /* all */
    size_t untold_count; /* without those that were told */
    size_t max_in_flight;
    int64_t next_deadline_ms; /* no flight's deadline is earlier; INT64_MAX: none */
    struct completed *done_first, *done_last;
};

/* ---- libberth.c */
/* Sets *error (may be NULL) and returns status. */
enum berth_status lb_error(struct berth_error *error, enum berth_status status, const char *format,
                           ...) __attribute__((format(printf, 3, 4)));
/* True once after each berth_interrupt. */
bool lb_take_interrupt(struct berth_client *client);
/* Empties the wake pipe. */
void lb_drain_wake(struct berth_client *client);

/* ---- libberth_kafka.c */
/* Connects if not connected: both clients, both topics checked, lanes made. */
enum berth_status lb_connect(struct berth_client *client, struct berth_error *error);
void lb_disconnect(struct berth_client *client);
/* A consumer without a group; gives *out. `client` is its opaque. */
enum berth_status lb_consumer_new(struct berth_client *client, rd_kafka_t **out,
                                  struct berth_error *error);
/* Waits for the metadata of both topics and checks them; the number of partitions. */
enum berth_status lb_check_topics(struct berth_client *client, rd_kafka_t *consumer,
                                  int32_t *count_out, struct berth_error *error);
/* The offsets between which a partition of the event topic has messages now. */
enum berth_status lb_event_range(struct berth_client *client, rd_kafka_t *consumer,
                                 int32_t partition, int64_t range[2], struct berth_error *error);
/* What an error code of librdkafka means to our callers. */
enum berth_status lb_status_of(rd_kafka_resp_err_t err);
void lb_topic_name(const struct berth_client *client, const char *which, char out[TOPIC_LEN]);

/* ---- libberth_flight.c */
void lb_flight_add(struct berth_client *client, struct flight *flight);
/* A delivery report: err is 0 when published at flight->partition, offset. */
void lb_flight_delivered(struct berth_client *client, struct flight *flight,
                         const rd_kafka_message_t *report);
/* An event of that partition. */
void lb_flight_event(struct berth_client *client, int32_t partition, const char *bytes, size_t len);
/* Tells UNKNOWN for all whose time has come. */
void lb_flight_expire(struct berth_client *client, int64_t now_ms);
/* Forgets all, tells nothing. */
void lb_flight_clear(struct berth_client *client);
/* The next outcome that is there, or NULL. */
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
/* Parses the event and fills verdict, event, reason, detail, duplicate_of of the outcome. False:
 * it is not a decision of the request at that partition and offset; where the offset is -1, of the
 * request with that id that `client` signed, and the offset is filled, too. */
bool lb_event_decide(const char *bytes, size_t len, const char *client,
                     struct berth_outcome *outcome);
/* The event's number; 0: it has none. */
int64_t lb_event_sequence(const char *bytes, size_t len);

#endif
