/* A Kafka cluster in memory: request and event partitions, the worker's consumer group, and the
 * broker port on it. */
#ifndef BERTH_TESTS_SIMULATION_CLUSTER_H
#define BERTH_TESTS_SIMULATION_CLUSTER_H

#include "tests/simulation/database.h"
#include "worker/broker.h"

struct process;
struct broker_client;
struct producer;

struct request_entry {
    int64_t offset, append_ms;
    const char *value;
    size_t len;
    bool unreadable;      /* then it has no value and no time */
    int64_t batch_offset; /* of an unreadable one: where its batch begins */
};
struct event_entry {
    int64_t offset;
    int64_t seq, epoch;
    const char *key, *type, *value;
    size_t len;
};
/* Offsets in [lo, hi), with holes. */
struct request_log {
    LIST_OF(struct request_entry) entries;
    int64_t lo, hi;
    int64_t clock_skew_ms; /* of the leader's clock */
    int64_t first;         /* what init recorded as the log's start */
};
struct event_log {
    LIST_OF(struct event_entry) entries;
    int64_t lo, hi;
    int64_t highest; /* sequence in the log */
    int64_t ever;    /* the same over all topics of that name */
    int64_t made;    /* how often the topic was made anew */
};

struct member {
    struct broker_client *client;
    bool joined;   /* in the rebalance under way */
    bool revoking; /* it gives its partitions back in its next poll */
    bool lost;     /* the group goes on without it, which it learns in a later poll */
    int64_t learns_us;
    bool assigned;                   /* a new assignment waits for its next poll */
    bool owner[PLAN_PARTITIONS_MAX]; /* as the group sees it */
    bool told[PLAN_PARTITIONS_MAX];  /* as the member was told */
    bool told_any;
    int64_t seen_us;     /* the last sign of life */
    int64_t assignments; /* told so far */
};
struct group {
    LIST_OF(struct member *) members;
    bool rebalancing;
    int64_t rebalance_us; /* its start */
};

struct cluster {
    struct request_log requests[PLAN_PARTITIONS_MAX];
    struct event_log events[PLAN_PARTITIONS_MAX];
    struct group group;
    LIST_OF(struct broker_client *) clients;
    LIST_OF(struct request_entry)
    ever[PLAN_PARTITIONS_MAX]; /* with those of logs that were cut or made anew */
    bool down;
    int64_t jump_ms; /* of all append times, now */
};

void cluster_open(struct sim *sim);
void cluster_close(struct sim *sim);

/* Appends a request; returns its offset. Borrows the value for the run. */
int64_t cluster_append_request(struct sim *sim, int32_t part, const char *value, size_t len);
/* Offsets without a message, such as transaction markers. */
void cluster_make_hole(struct sim *sim, int32_t part, int64_t count);
/* The request with that digest, of all that were ever at the offset. */
const struct request_entry *cluster_request_ever(const struct sim *sim, int32_t part,
                                                 int64_t offset, const uint8_t digest[32]);
/* No broker answers until cluster_up; all connections are lost. */
void cluster_down(struct sim *sim);
void cluster_up(struct sim *sim);

/* --- the port --- */

struct broker broker_client_new(struct process *p);
/* The process ended. left: it had closed. */
void broker_client_gone(struct broker_client *c, bool left);
/* A connection to a broker is lost. */
void broker_client_disconnect(struct broker_client *c);
/* The producer's next delivery fails. */
void broker_client_fail_delivery(struct broker_client *c);
/* The producer's events that are not delivered never will be. */
void broker_client_cut(struct broker_client *c);
/* The consumer fetches nothing until the next start. */
void broker_client_unassign(struct broker_client *c);
/* How many assignments the client was given. */
int64_t broker_client_assignments(const struct broker_client *c);
bool broker_client_left(const struct broker_client *c);
/* How often the worker flushed the partition. */
int64_t broker_client_flushes(const struct broker_client *c, int32_t part);
struct process *broker_client_process(const struct broker_client *c);

/* --- group.c --- */

void group_open(struct sim *sim);
struct member *group_join(struct sim *sim, struct broker_client *client);
/* The member leaves the group. */
void group_leave(struct sim *sim, struct member *member);
void group_rebalance(struct sim *sim);
/* Removes some live member, whose heartbeats do not arrive for a while. */
void group_expel_any(struct sim *sim);
/* The member polls: answers what the group asks. */
void group_poll(struct sim *sim, struct member *member, const struct broker_callbacks *owner);
/* Revokes the member's partitions. */
void group_give_back(struct sim *sim, struct member *member, const struct broker_callbacks *owner,
                     bool lost);

/* --- producer.c --- */

struct producer *producer_new(struct process *p, const struct broker_callbacks *owner);
/* The events on their way may still arrive, in order; the others never do. */
void producer_drop(struct producer *producer);
enum err producer_publish(struct producer *producer, const struct broker_event *event,
                          struct failure *f);
/* Calls the owner with the delivery reports that have come. */
void producer_serve(struct producer *producer);
int64_t producer_outstanding(const struct producer *producer, int32_t part); /* -1: all */
bool producer_has_failed(const struct producer *producer);
void producer_fail_next(struct producer *producer);
/* All that are not delivered fail now. */
void producer_fail(struct producer *producer);

#endif
