/* libberth: books a compute farm. It signs requests, publishes them to Kafka and awaits their
 * decisions; it can also follow all events of a farm.
 *
 * The shortest use, from nothing to a decision:
 *
 *     struct berth_setting settings[] = {
 *         {"kafka.bootstrap.servers", "broker-1:9092"}, {"farm.name", "lab"},
 *         {"client.name", "batch-1"}, {"client.key_file", "/etc/berth/batch-1.pem"},
 *         {"client.user", "alice"},
 *     };
 *     struct berth_error error;
 *     struct berth_client *client;
 *     if (berth_open(settings, 5, &client, &error) != BERTH_OK)
 *         …
 *     struct berth_request request = {.request_json = "{\"type\": \"booking.create\", …}"};
 *     struct berth_outcome *outcome;
 *     if (berth_decide(client, &request, 30000, &outcome, &error) == BERTH_OK)
 *         puts(outcome->verdict == BERTH_ACCEPTED ? "accepted" : outcome->reason);
 *
 * For many requests at once: berth_message_new, berth_send and berth_poll.
 *
 * Threads: a client is used by one thread at a time. berth_message_new and berth_interrupt may be
 * called by any thread at any time (berth_interrupt from a signal handler too).
 *
 * Memory: what a function gives is freed by the function named with it. Out of memory ends the
 * process with a message. Out-parameters are written only on success; `error` may be NULL.
 *
 * All text is UTF-8. Times are milliseconds since the Unix epoch, unless a name ends in _s. */
#ifndef BERTH_H
#define BERTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What became of a call. Only BERTH_UNKNOWN leaves open whether the request was published. */
enum berth_status {
    BERTH_OK = 0,
    /* The request does not fit the schema, or the id or user is not valid: correct it. */
    BERTH_INVALID = 1,
    /* A setting is missing or wrong, or the key file cannot be used. */
    BERTH_CONFIG = 2,
    /* No broker answered in time. Nothing was published: try again later. */
    BERTH_UNREACHABLE = 3,
    /* The broker refuses these credentials, or this client may not use a topic. */
    BERTH_AUTH = 4,
    /* The farm's topics are missing, or not as Berth makes them. */
    BERTH_TOPIC = 5,
    /* The token would be longer than the farm takes (16 KiB), or the broker refuses its size. */
    BERTH_TOO_LARGE = 6,
    /* As many requests are in flight as the client may have: berth_poll, then send again. */
    BERTH_FULL = 7,
    /* The request was or may have been published, but no decision was seen in time. Send it again
     * with the same request id: it cannot be decided twice. */
    BERTH_UNKNOWN = 8,
    /* berth_interrupt was called. What is in flight may be decided none the less. */
    BERTH_INTERRUPTED = 9,
    /* Another error of the Kafka client; the text says which. */
    BERTH_KAFKA = 10,
    /* berth_watch_next: events are missing; see there. */
    BERTH_GAP = 11
};
/* "unreachable": a stable name. */
const char *berth_status_name(enum berth_status status);

struct berth_error {
    enum berth_status status;
    char text[1024];   /* a sentence for a person, without a full stop */
    char pointer[256]; /* BERTH_INVALID: JSON pointer (RFC 6901) into the claims; else "" */
};

/* ---- client ------------------------------------------------------------------------------ */

struct berth_client;

/* A setting under its name in berth.conf. Known here: farm.name, farm.topic_prefix, client.name,
 * client.key_file, client.kid (default: the key's RFC 7638 thumbprint), client.user and
 * kafka.<any librdkafka setting>. Others are ignored. A NULL value is a setting that is absent. */
struct berth_setting {
    const char *name;
    const char *value;
};

/* Checks the settings and reads the key. Does not connect: the first berth_send or
 * berth_watch_open does. farm.name, client.name and client.key_file are needed for requests only:
 * without them berth_message_new is BERTH_CONFIG. Copies the settings. Gives *client_out, to be
 * closed with berth_close. Fails with BERTH_CONFIG. */
enum berth_status berth_open(const struct berth_setting *settings, size_t setting_count,
                             struct berth_client **client_out, struct berth_error *error);
/* Requests still in flight are given up: those that were not yet published are dropped, for the
 * others no outcome will be told. NULL is fine. */
void berth_close(struct berth_client *client);
/* The name under which the key signs; borrowed, lives as long as the client. NULL: no key. */
const char *berth_kid(const struct berth_client *client);

/* Where lines about the Kafka connection go; default: nowhere. `level` is syslog's (3 error …
 * 7 debug). Called from threads of the Kafka client, too. To be set before the first
 * berth_send or berth_watch_open. */
void berth_set_logger(struct berth_client *client,
                      void (*logger)(void *arg, int level, const char *text), void *arg);

/* Makes the blocking call that runs, or else the next one, return BERTH_INTERRUPTED. */
void berth_interrupt(struct berth_client *client);

/* ---- messages ---------------------------------------------------------------------------- */

/* All strings are borrowed during the call only. */
struct berth_request {
    const char *request_json; /* the `request` object; see docs/messages.md */
    const char *user;         /* for whom; NULL: client.user */
    const char *request_id;   /* NULL: a new UUIDv7 */
    int64_t lifetime_s;       /* the token expires that long from now; 0: 600; at most 86400 */
    bool unchecked;           /* sign whatever it is, if it is JSON: the farm will judge */
};

/* A request, signed and ready to be published. Plain data; the strings belong to it. */
struct berth_message {
    char *request_id;
    char *claims; /* the token's payload, JSON */
    char *token;  /* compact JWS */
    char *key;    /* the Kafka key, or NULL when `slot` says the partition */
    int64_t slot; /* -1: by the key; else the partition is slot modulo the number of partitions */
};

/* Makes claims and signs them; no network. The key is the first machine's name, for a booking
 * that names none the request id; amend and cancel go where the booking or the series was made,
 * its id mod 4096. Gives *message_out, to be freed with berth_message_free or taken by berth_send.
 * BERTH_INVALID, BERTH_CONFIG, BERTH_TOO_LARGE. */
enum berth_status berth_message_new(const struct berth_client *client,
                                    const struct berth_request *request,
                                    struct berth_message **message_out, struct berth_error *error);
void berth_message_free(struct berth_message *message);

/* The partition that a key (or a slot) has in a topic with that many partitions: murmur2 as in
 * Kafka's own clients. partition_count > 0. */
int32_t berth_partition_of_key(const char *key, size_t key_len, int32_t partition_count);
int32_t berth_message_partition(const struct berth_message *message, int32_t partition_count);

/* A new UUIDv7 (RFC 9562) in lower case with a NUL; they sort by the time of their making. */
#define BERTH_UUID_LEN 37
void berth_uuid7(char out[BERTH_UUID_LEN]);

/* ---- sending and awaiting decisions -------------------------------------------------------- */

enum berth_verdict { BERTH_UNDECIDED = 0, BERTH_ACCEPTED = 1, BERTH_REJECTED = 2 };

/* What became of one request. All strings belong to it. */
struct berth_outcome {
    /* BERTH_OK: decided; with wait_ms < 0: published. BERTH_UNKNOWN: see there. Others: it was
     * not published. */
    enum berth_status status;
    enum berth_verdict verdict;
    void *tag; /* the caller's, from berth_send */
    const char *request_id;
    int32_t partition; /* where it was published; offset -1: not known, which is rare */
    int64_t offset;
    const char *event; /* the event's bytes, JSON (docs/messages.md); NULL when undecided */
    size_t event_len;
    const char *reason;       /* rejected: stable name of the reason; else NULL */
    const char *detail;       /* rejected: a sentence; else NULL */
    const char *duplicate_of; /* id of the event that this one repeats, or NULL */
    const char *error;        /* status is not BERTH_OK: a sentence; else NULL */
};
void berth_outcome_free(struct berth_outcome *outcome);

/* How to send one message. Zeroed: waits 30 s for the decision. */
struct berth_send_options {
    int64_t wait_ms; /* for the decision, from now; 0: 30 s; negative: not at all */
    void *tag;       /* comes back in the outcome */
    /* Called once, from berth_poll, when the broker has taken the message (offset -1: and did not
     * say where); may be NULL. */
    void (*published)(void *tag, int32_t partition, int64_t offset);
};

/* Publishes one message, and has its outcome come out of berth_poll: exactly one for each message
 * sent. Before that it starts to read the event partition from its present end, so that the
 * decision cannot be missed. Connects when not yet connected, which can take 5 s. Takes the message
 * when it returns BERTH_OK; else it is still the caller's and was not published. BERTH_UNREACHABLE, BERTH_AUTH, BERTH_TOPIC, BERTH_FULL, BERTH_INTERRUPTED,
 * BERTH_CONFIG, BERTH_KAFKA. `options` may be NULL. */
enum berth_status berth_send(struct berth_client *client, struct berth_message *message,
                             const struct berth_send_options *options, struct berth_error *error);

/* The next outcome, waiting up to timeout_ms for one (0: not at all, negative: as long as anything
 * is in flight). Outcomes come in the order of the decisions. *outcome_out is NULL when there is
 * none in time, or nothing is in flight; else it is to be freed with berth_outcome_free.
 * Only BERTH_INTERRUPTED is returned beside BERTH_OK: what happened to a request is in its
 * outcome. */
enum berth_status berth_poll(struct berth_client *client, int timeout_ms,
                             struct berth_outcome **outcome_out);
/* Waits no longer: all in flight come out of berth_poll as BERTH_UNKNOWN. What was not yet
 * published may still be, until berth_close. */
void berth_abandon(struct berth_client *client);
/* Messages sent whose outcome did not come out yet. */
size_t berth_in_flight(const struct berth_client *client);
/* How many may be in flight before berth_send is BERTH_FULL; 1..100000, default 10000. */
void berth_set_max_in_flight(struct berth_client *client, size_t count);

/* The farm's number of partitions, asked from the broker. Errors as for berth_send. */
enum berth_status berth_partition_count(struct berth_client *client, int32_t *count_out,
                                        struct berth_error *error);

/* Everything at once, blocking: signs, publishes and waits for the decision. BERTH_OK: decided (or
 * published, when wait_ms is negative), and *outcome_out is to be freed. Must not be mixed with
 * messages in flight. All errors of berth_message_new and berth_send, and the outcome's. After
 * BERTH_UNKNOWN and BERTH_INTERRUPTED the error's text names the request id to repeat. */
enum berth_status berth_decide(struct berth_client *client, const struct berth_request *request,
                               int64_t wait_ms, struct berth_outcome **outcome_out,
                               struct berth_error *error);

/* ---- following events ------------------------------------------------------------------------ */

struct berth_watch;

/* Where to begin, for each partition: positions[p].seq is the last sequence already seen. */
struct berth_position {
    int32_t partition;
    int64_t seq;
};

struct berth_watch_options {
    bool from_beginning; /* the log's beginning; else its present end */
    /* Partitions with a recorded position are read from the beginning, and all up to and with seq
     * is skipped. Each partition at most once. */
    const struct berth_position *positions;
    size_t position_count;
};

/* One event, as published. Strings are borrowed until the next call for this watch. */
struct berth_event {
    int32_t partition;
    int64_t seq;
    const char *json; /* the event's bytes; NUL behind json_len */
    size_t json_len;
    /* After BERTH_GAP: the sequences missing_from..missing_to were not in the topic. */
    int64_t missing_from, missing_to;
};

/* Follows the event topic, all partitions, each event once and in order per partition. Errors as
 * for berth_send. The client must outlive the watch; one watch for each client. */
enum berth_status berth_watch_open(struct berth_client *client,
                                   const struct berth_watch_options *options,
                                   struct berth_watch **watch_out, struct berth_error *error);
void berth_watch_close(struct berth_watch *watch);
/* The next event, waiting up to timeout_ms (negative: for ever). *found tells whether there was
 * one. BERTH_GAP: sequences are missing before the event that is in *out; get them from the
 * reader or the decision table, then go on: the watch takes this event as the last one seen.
 * BERTH_INTERRUPTED. BERTH_AUTH, BERTH_TOPIC, BERTH_KAFKA: the watch cannot go on. */
enum berth_status berth_watch_next(struct berth_watch *watch, int timeout_ms, bool *found,
                                   struct berth_event *out, struct berth_error *error);

#ifdef __cplusplus
}
#endif

#endif
