/* A farm simple enough to be obviously correct, to compare decisions with: each booking is a table
 * of its use of each machine in each second, and every check counts second by second. Slow, and
 * built differently from core/: no trees, no rows, no incremental updates. */
#ifndef BERTH_TESTS_DECIDE_MODEL_H
#define BERTH_TESTS_DECIDE_MODEL_H

#include "core/decide.h"

#define MODEL_MACHINES 5
#define MODEL_SECONDS  160 /* the farm's life; model second s is MODEL_BASE_S + s */
#define MODEL_BOOKINGS 2000
#define MODEL_CLIENTS  2 /* batch-1, batch-2 */
#define MODEL_BASE_S   INT64_C(1800000000)

struct model_machine {
    bool exists;
    int64_t id;
    struct amount capacity;
    enum machine_state state;
    int64_t capacity_changed_s;
    char pool; /* the value of its label "pool"; 0: it has none */
};

struct model_booking {
    int64_t id, version, series;
    const char *client;
    int64_t start_s, end_s; /* model seconds */
    enum booking_state state;
    struct amount held[MODEL_MACHINES][MODEL_SECONDS];
};

/* Machines are m0, m1, … */
struct model {
    struct model_machine machines[MODEL_MACHINES];
    struct model_booking *bookings; /* capacity MODEL_BOOKINGS, in order of creation */
    size_t booking_count;
    struct amount use[MODEL_MACHINES][MODEL_SECONDS]; /* sum over all bookings */
    struct client_limits limits[MODEL_CLIENTS];
    int64_t gpus[MODEL_CLIENTS][MODEL_SECONDS]; /* held by the client on all machines */
};

/* The expected decision; only the fields that belong to its reason are set. */
struct model_answer {
    enum reason reason;
    int machine; /* the reason's machine; -1: none or not in the model */
    bool has_free;
    struct amount free;
    size_t free_count;
    struct amount frees[MODEL_MACHINES];
    int64_t fitting; /* -1: not asked */
    int64_t next_s;  /* model second, or -1 */
    struct limit_view limit;
    size_t occurrence_count;
    int64_t occurrence_sum; /* of model_occurrence, each weighted by its index */
    size_t in_use_count;
    int64_t in_use[LIMIT_LISTED_BOOKINGS];
    int64_t booking, version;
    int64_t start_s, end_s;
    enum booking_state state;
    struct amount held[MODEL_MACHINES]; /* the booking's use in its last second */
    size_t displaced_count;
    uint64_t displaced_sum; /* of the displaced ids, each weighted by its index */
};

/* Decides and, if accepted, changes the model. */
void model_decide(struct model *model, const struct submission *in, struct model_answer *out);
struct model_booking *model_find(struct model *model, int64_t booking);
/* A digest of an occurrence's outcome; `machine`: an index or -1. */
int64_t model_occurrence(int64_t booking, enum reason reason, int machine);
int model_client_index(const char *name);
bool model_is_counted(const struct client_limits *limits);
/* The index of a machine's name; -1: not in the model. */
int model_machine_index(const char *name);

#endif
