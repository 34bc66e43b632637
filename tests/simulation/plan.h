/* What a seed chooses before the run begins. */
#ifndef BERTH_TESTS_SIMULATION_PLAN_H
#define BERTH_TESTS_SIMULATION_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#define PLAN_WORKERS_MAX    4
#define PLAN_PARTITIONS_MAX 5

/* What happens to the logs, the database or a clock behind the workers' back (docs/architecture.md,
 * Owning a partition). Each must halt what it should halt, and nothing else. */
enum disaster_kind {
    DISASTER_NONE,
    DISASTER_REQUESTS_CUT,     /* the request log ends before what was decided */
    DISASTER_REQUESTS_REMADE,  /* the topic was deleted and made again, with other messages */
    DISASTER_REQUESTS_EXPIRED, /* retention took messages that were not decided */
    DISASTER_EVENTS_REMADE,    /* the event topic was deleted and made again */
    DISASTER_RESTORED,         /* the database is an older one, all workers start anew */
    DISASTER_RESTORED_LIVE,    /* the same under running workers */
    DISASTER_EVENTS_AHEAD,     /* the event topic holds what the database never had */
    DISASTER_CLOCK_AHEAD,      /* a broker's clock is a month ahead for a while */
    DISASTER_NO_TIME,          /* a message without append time */
    DISASTER_POISON,           /* a message that kills every worker that reads it */
    DISASTER_UNWRITABLE,       /* a message whose decision the database refuses to store */
    DISASTER_OTHER_CLUSTER,    /* a worker is configured for another cluster, and must not start */
    DISASTER_FAILED_OVER,      /* the database loses a worker's last commits, none published */
    DISASTER_UNREADABLE,       /* a batch that cannot be read */
    DISASTER_KIND_COUNT
};
const char *disaster_name(enum disaster_kind kind);

/* Rates of faults are per million port calls unless the comment says otherwise. */
struct plan {
    enum disaster_kind disaster;
    bool real_keys; /* ES256 signatures; else digests that the double of jws_verify compares */
    int workers, partitions, machines, clients;
    int requests;
    int64_t workload_ms; /* requests are sent within it */
    int64_t batch_max, batch_max_bytes, unpublished_max;
    int64_t queue_max;  /* room in a producer's queue */
    int64_t latency_us; /* of a port call, mean */

    int64_t crash, pause;
    int64_t delay;       /* a call takes seconds */
    int64_t store_error; /* deadlocks, lock time-outs, a server that refuses */
    int64_t store_cut;   /* lost connections */
    int64_t
        commit_lost; /* per million COMMITs: the connection is lost, before or after its effect */
    int64_t broker_error; /* a port call to Kafka fails, a connection is lost */
    int64_t delivery_failed, queue_full, delivery_slow;
    int64_t prefetch; /* polls that deliver messages twice, or skip some */
    int64_t chaos_ms; /* mean time between faults of chaos.c; 0: none */
    bool outages;     /* among them: database and broker restarts, slow database */
    bool rebalances, restarts, keys, kills;
    bool strangers;        /* other sessions lock a row for a while */
    bool holes;            /* offsets without a message */
    bool retention;        /* the event logs lose their oldest events, even all */
    int64_t garbage;       /* per million requests: not a valid token */
    int64_t wrong_key;     /* per million requests: sent to another partition than the machine's */
    bool limits;           /* clients have limits, which change now and then */
    int64_t repeated;      /* per million requests: sent again, sometimes altered */
    int64_t clock_skew_ms; /* partitions' append times differ by up to this */
    bool clock_jumps;      /* append times jump back and forth by up to an hour */
    int64_t host_skew_ms;  /* wall clocks of workers */
};

struct sim;
void plan_make(struct sim *sim);

#endif
