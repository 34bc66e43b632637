/* libberth: the C client of Berth. It signs requests, publishes them to Kafka and awaits their
 * decisions; it can also follow all events of a farm.
 *
 * A complete program, from nothing to a decision:
 *
 *     #include <berth.h>
 *     #include <stdio.h>
 *     #include <string.h>
 *
 *     int main(void)
 *     {
 *         const struct berth_setting settings[] = {
 *             {"kafka.bootstrap.servers", "broker-1:9092"},
 *             {"farm.name", "lab"},
 *             {"client.name", "batch-1"},
 *             {"client.key_file", "/etc/berth/batch-1.pem"},
 *             {"client.user", "alice"},
 *         };
 *         struct berth_client *client;
 *         struct berth_error error;
 *         size_t count = sizeof(settings) / sizeof(settings[0]);
 *         if (berth_open(settings, count, &client, &error) != BERTH_OK) {
 *             fprintf(stderr, "%s\n", error.text);
 *             return 2;
 *         }
 *         struct berth_request request;
 *         memset(&request, 0, sizeof(request));
 *         request.request_json = "{\"type\": \"booking.create\", \"duration_s\": 3600,"
 *                                " \"allocations\": [{\"machine\": \"gpu-01\", \"gpus\": 8,"
 *                                " \"memory_gib\": 64}]}";
 *         struct berth_outcome *outcome;
 *         if (berth_decide(client, &request, 30000, &outcome, &error) != BERTH_OK) {
 *             fprintf(stderr, "%s\n", error.text);
 *             berth_close(client);
 *             return 1;
 *         }
 *         puts(outcome->verdict == BERTH_ACCEPTED ? "accepted" : outcome->reason);
 *         berth_outcome_free(outcome);
 *         berth_close(client);
 *         return 0;
 *     }
 *
 *     cc book.c $(pkg-config --cflags --libs berth)
 *
 * For many requests at once: berth_message_new, berth_send and berth_poll.
 *
 * Threads: one thread at a time may use a client and its watch. berth_message_new and berth_kid may
 * run in any thread at any time; berth_interrupt may also run in a signal handler. Functions that
 * take no client may run in any thread.
 *
 * Memory: each function that gives an object names the function that frees it. A process that runs
 * out of memory ends with a message on stderr.
 *
 * Out-parameters are written on success only, unless a function says otherwise. On failure *error
 * is filled; `error` may be NULL. No other pointer may be NULL unless the text says so.
 *
 * All text is UTF-8 and ends with a NUL. Times are in milliseconds where a name ends in _ms, in
 * seconds where it ends in _s. */
#ifndef BERTH_H
#define BERTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The result of a call; numbers and names are stable. A request that failed was not published, with
 * two exceptions: after BERTH_UNKNOWN, and after BERTH_INTERRUPTED from berth_poll or berth_decide,
 * it may have been. */
enum berth_status {
    /* Success. */
    BERTH_OK = 0,
    /* The request does not fit the schema, or its id or user is not valid. Correct it. */
    BERTH_INVALID = 1,
    /* A setting is missing or wrong, or the key file cannot be used. */
    BERTH_CONFIG = 2,
    /* No broker answered in time. Nothing was published: try again later. */
    BERTH_UNREACHABLE = 3,
    /* The broker refuses the credentials, or this client may not use a topic. */
    BERTH_AUTH = 4,
    /* A topic of the farm is missing, or is not as `berth-admin init` makes it. */
    BERTH_TOPIC = 5,
    /* The signed request is longer than a farm takes (16 KiB), or the broker refuses its size. Ask
     * for less at once. */
    BERTH_TOO_LARGE = 6,
    /* As many requests are in flight as the client may have. Call berth_poll, then send again. */
    BERTH_FULL = 7,
    /* No decision was seen in time, and the request may have been published. Send it again with the
     * same request id: a farm decides a request id once. */
    BERTH_UNKNOWN = 8,
    /* berth_interrupt was called. Requests in flight may still be decided. */
    BERTH_INTERRUPTED = 9,
    /* Another error of the Kafka client; the error's text says which. */
    BERTH_KAFKA = 10,
    /* Events are missing from the event topic: see berth_watch_next. */
    BERTH_GAP = 11
};

/* The status in lower case without BERTH_ ("unreachable"). Static; `status` is one of the above. */
const char *berth_status_name(enum berth_status status);

/* Why a call failed. The caller's memory; functions fill it on failure and leave it alone on
 * success. */
struct berth_error {
    enum berth_status status; /* what the function returned */
    char text[1024];   /* one sentence for a person, without a full stop. Control characters in
                                 it, as in all sentences of this library, are escaped: \u001b */
    char pointer[256]; /* BERTH_INVALID: JSON pointer (RFC 6901) to the wrong place in the
                                 claims, if known; else "" */
};

/* ---- client ------------------------------------------------------------------------------ */

/* A client of one farm: its settings, its key, its connection to Kafka. */
struct berth_client;

/* One setting, under its name in berth.conf:
 *
 *     farm.name            the farm's name
 *     farm.topic_prefix    what the farm's topic names begin with; default "berth."
 *     client.name          the name under which the farm knows the client
 *     client.key_file      the private key, PEM or JWK; only its owner may read the file
 *     client.kid           the key's id at the farm; default: its RFC 7638 thumbprint
 *     client.user          for whom requests are, unless they say so themselves
 *     kafka.NAME           any setting of librdkafka; kafka.bootstrap.servers has no default
 *
 * Other names are ignored. */
struct berth_setting {
    const char *name;
    const char *value; /* NULL: as if the setting were not there */
};

/* Opens a client: checks the settings and reads the key. Does not connect; the first berth_send,
 * berth_partition_count or berth_watch_open does. The settings are copied; `settings` may be NULL
 * when setting_count is 0. Gives *client_out, to be closed with berth_close.
 *
 * farm.name, client.name, client.key_file and a user are needed for requests only:
 * berth_message_new fails without them.
 *
 * BERTH_CONFIG: a setting is not valid, or the key file cannot be used. */
enum berth_status berth_open(const struct berth_setting *settings, size_t setting_count,
                             struct berth_client **client_out, struct berth_error *error);

/* Closes and frees the client; close its watch first. Messages that were not yet published are
 * dropped; the others may be decided, but their outcomes are lost. NULL is allowed. */
void berth_close(struct berth_client *client);

/* The id of the key that signs (client.kid, or the thumbprint), or NULL if the client has no key.
 * Borrowed: valid until berth_close. */
const char *berth_kid(const struct berth_client *client);

/* Sets the function that gets log lines about the connection to Kafka; NULL, the default: none gets
 * them. Call this before the client connects.
 *
 * `logger` gets `arg`, the syslog level of the line (3 error to 7 debug) and its text, which is
 * borrowed during the call. It runs in threads of the Kafka client, also in several at once. */
void berth_set_logger(struct berth_client *client,
                      void (*logger)(void *arg, int level, const char *text), void *arg);

/* Makes the running call of this client or its watch return BERTH_INTERRUPTED; if none runs that
 * waits, the next one. Safe in any thread and in a signal handler. */
void berth_interrupt(struct berth_client *client);

/* ---- messages ---------------------------------------------------------------------------- */

/* What is asked for. Zero the struct, then set request_json and what else is wanted. The strings
 * are borrowed during the call. */
struct berth_request {
    const char *request_json; /* the `request` object of a message (docs/messages.md), JSON */
    const char *user;         /* for whom; NULL: client.user */
    const char *request_id;   /* NULL: a new UUIDv7 */
    int64_t lifetime_s;       /* the farm refuses the request after that time from now; 0: 600; at
                                 most 86400 */
    bool unchecked;           /* true: sign any JSON, and leave all checks to the farm */
};

/* A request, signed and ready to be sent. The strings belong to the message; read them, but do not
 * change or free them. */
struct berth_message {
    char *request_id;
    char *claims; /* the token's payload, JSON */
    char *token;  /* what is published: a compact JWS */
    char *key;    /* the key of the Kafka message, which decides the partition; NULL: `slot` does */
    int64_t slot; /* the partition is slot modulo the number of partitions; -1: `key` decides */
};

/* Makes a message: checks the request, completes the claims, signs. Uses no network. Gives
 * *message_out, to be passed to berth_send or freed with berth_message_free.
 *
 * The key is the name of the request's first machine; if it names none, the request id. An amend or
 * a cancel goes to the partition where the booking or series was made: its slot is that id modulo
 * 4096.
 *
 * BERTH_INVALID, BERTH_TOO_LARGE: see there. BERTH_CONFIG: farm.name, client.name, client.key_file
 * or the user is missing, or the key cannot sign. */
enum berth_status berth_message_new(const struct berth_client *client,
                                    const struct berth_request *request,
                                    struct berth_message **message_out, struct berth_error *error);

/* Frees a message that berth_send did not take. NULL is allowed. */
void berth_message_free(struct berth_message *message);

/* The partition of a key (key_len bytes) in a topic with partition_count (> 0) partitions: murmur2,
 * as Kafka's Java clients compute it. `key` may be NULL when key_len is 0. */
int32_t berth_partition_of_key(const char *key, size_t key_len, int32_t partition_count);

/* The partition to which the message goes on a farm with partition_count (> 0) partitions. */
int32_t berth_message_partition(const struct berth_message *message, int32_t partition_count);

/* The length of a UUID's text with its NUL. */
#define BERTH_UUID_LEN 37

/* Writes a new UUIDv7 (RFC 9562), in lower case. Sorted by text, UUIDs of different milliseconds
 * are in the order in which they were made. */
void berth_uuid7(char out[BERTH_UUID_LEN]);

/* ---- sending and awaiting decisions -------------------------------------------------------- */

/* The farm's decision. */
enum berth_verdict {
    BERTH_UNDECIDED = 0, /* no decision was seen */
    BERTH_ACCEPTED = 1,
    BERTH_REJECTED = 2
};

/* What became of one message. The strings belong to the outcome. */
struct berth_outcome {
    /* BERTH_OK: decided, or published if the caller did not want to wait. Else as described at
     * enum berth_status. */
    enum berth_status status;
    enum berth_verdict verdict;
    void *tag; /* from struct berth_send_options */
    const char *request_id;
    int32_t partition;        /* of the request topic */
    int64_t offset;           /* where the request is in the partition; -1: not published, or not
                                 known */
    const char *event;        /* the event that tells the decision, JSON (docs/messages.md); NULL:
                                 undecided */
    size_t event_len;         /* bytes of `event`, without the NUL */
    const char *reason;       /* rejected: the reason's stable name; else NULL */
    const char *detail;       /* rejected: a sentence for a person; else NULL */
    const char *duplicate_of; /* the request id was decided before: the id of that event; else
                                 NULL */
    const char *error;        /* status is not BERTH_OK: a sentence for a person; else NULL */
};

/* Frees an outcome. NULL is allowed. */
void berth_outcome_free(struct berth_outcome *outcome);

/* How to send a message. All zero: wait 30 s for the decision. */
struct berth_send_options {
    int64_t wait_ms; /* how long to wait for the decision, from now; 0: 30 s; negative: do not wait,
                        the outcome comes when the broker has the message */
    void *tag;       /* handed back in the outcome and to `published` */
    /* Called by berth_poll, at most once, when the broker has the message; not if it comes to
     * nothing or time is up. offset -1: the broker did not say where. NULL: not called. Must not
     * call functions with this client. */
    void (*published)(void *tag, int32_t partition, int64_t offset);
};

/* Publishes a message. Its outcome comes from berth_poll: exactly one for each message sent.
 * Connects if the client is not connected, which can take 5 s. `options` may be NULL: all zero.
 *
 * Takes the message on BERTH_OK. On failure the message was not published and is still the
 * caller's.
 *
 * BERTH_FULL: call berth_poll, then send again. BERTH_UNREACHABLE, BERTH_INTERRUPTED: may be sent
 * again as it is. BERTH_CONFIG, BERTH_AUTH, BERTH_TOPIC, BERTH_TOO_LARGE, BERTH_KAFKA: see enum
 * berth_status. */
enum berth_status berth_send(struct berth_client *client, struct berth_message *message,
                             const struct berth_send_options *options, struct berth_error *error);

/* Gives the next outcome, in the order in which decisions arrive. Waits up to timeout_ms; 0: does
 * not wait; negative: as long as messages are in flight. *outcome_out, to be freed with
 * berth_outcome_free, is NULL on failure, when time is up and when nothing is in flight.
 *
 * BERTH_INTERRUPTED is the only failure: errors of a message are in its outcome. */
enum berth_status berth_poll(struct berth_client *client, int timeout_ms,
                             struct berth_outcome **outcome_out);

/* Stops waiting: berth_poll gives BERTH_UNKNOWN for all messages in flight. Those that were not yet
 * published may still be, until berth_close. */
void berth_abandon(struct berth_client *client);

/* The number of messages sent whose outcome berth_poll has not given yet. */
size_t berth_in_flight(const struct berth_client *client);

/* Sets how many messages may be in flight before berth_send is BERTH_FULL: 1 to 100000, default
 * 10000. */
void berth_set_max_in_flight(struct berth_client *client, size_t count);

/* Asks the broker for the farm's number of partitions; connects if needed. Errors as those of
 * berth_send. */
enum berth_status berth_partition_count(struct berth_client *client, int32_t *count_out,
                                        struct berth_error *error);

/* Makes a message, sends it and waits up to wait_ms for its outcome (as in struct
 * berth_send_options). No other message of the client may be in flight. Gives *outcome_out, to be
 * freed with berth_outcome_free; its status is BERTH_OK.
 *
 * Fails as berth_message_new and berth_send do, and with the status of an outcome that is not
 * BERTH_OK. After BERTH_UNKNOWN, and after BERTH_INTERRUPTED once the message was sent, the error's
 * text names the request id to send again. */
enum berth_status berth_decide(struct berth_client *client, const struct berth_request *request,
                               int64_t wait_ms, struct berth_outcome **outcome_out,
                               struct berth_error *error);

/* ---- following events ------------------------------------------------------------------------ */

/* Follows the event topic of a client's farm, all partitions. */
struct berth_watch;

/* How far a partition's events were seen before. */
struct berth_position {
    int32_t partition;
    int64_t seq; /* the last sequence that was seen; the watch begins after it */
};

/* Where a watch begins. All zero: at the present end of the event topic. */
struct berth_watch_options {
    bool from_beginning; /* true: at the oldest event that Kafka still has */
    /* Partitions whose events were seen before, each at most once: they begin after `seq`. Borrowed
     * during the call; NULL if there are none. */
    const struct berth_position *positions;
    size_t position_count;
};

/* One event. */
struct berth_event {
    int32_t partition;
    int64_t seq;      /* the event's number in its partition; counts up by one */
    const char *json; /* the event as published (docs/messages.md). Borrowed: valid until the next
                         call with this watch */
    size_t json_len;  /* bytes of `json`, without the NUL */
    int64_t missing_from, missing_to; /* BERTH_GAP: the first and last missing sequence before this
                                         event; else 0 */
};

/* Opens a watch, which gives each event once, and in order within a partition. It has a connection
 * of its own. `options` may be NULL: all zero. A client has one watch at a time and must outlive it.
 * Gives *watch_out, to be closed with berth_watch_close.
 *
 * BERTH_CONFIG: also for a position in a partition that the farm does not have. Other errors as
 * those of berth_send. */
enum berth_status berth_watch_open(struct berth_client *client,
                                   const struct berth_watch_options *options,
                                   struct berth_watch **watch_out, struct berth_error *error);

/* Closes and frees the watch. NULL is allowed. */
void berth_watch_close(struct berth_watch *watch);

/* Gives the next event. Waits up to timeout_ms; negative: for ever. Always writes *found: whether
 * there is an event in *out.
 *
 * BERTH_GAP: there is an event in *out (*found is true), but missing_from to missing_to before it
 * are not in the topic. Read those from berth-reader; the watch goes on after this event.
 * BERTH_INTERRUPTED: call again when ready. BERTH_AUTH, BERTH_TOPIC, BERTH_KAFKA: close the
 * watch. */
enum berth_status berth_watch_next(struct berth_watch *watch, int timeout_ms, bool *found,
                                   struct berth_event *out, struct berth_error *error);

#ifdef __cplusplus
}
#endif

#endif
