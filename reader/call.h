/* One GET as a handler sees it: its parameters, a database snapshot, and the answer to fill. */
#ifndef BERTH_READER_CALL_H
#define BERTH_READER_CALL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/arena.h"
#include "core/limits.h"
#include "core/request.h"
#include "db/mysql_session.h"
#include "lib/codec/problem.h"

#define CALL_PATH_ARGS 2
/* Rows of a page, if `limit` does not say, and the most that it may say. */
#define PAGE_DEFAULT   100
#define PAGE_MAX       1000

/* Query parameters of all routes. */
#define PARAM_TABLE(X)                                                                             \
    X(LIMIT, "limit")                                                                              \
    X(AFTER, "after")                                                                              \
    X(CLIENT, "client")                                                                            \
    X(USER, "user")                                                                                \
    X(MACHINE, "machine")                                                                          \
    X(STATE, "state")                                                                              \
    X(LABEL, "label")                                                                              \
    X(FROM, "from")                                                                                \
    X(TO, "to")                                                                                    \
    X(GPUS, "gpus")                                                                                \
    X(MEMORY_GIB, "memory_gib")                                                                    \
    X(DURATION, "duration")                                                                        \
    X(COUNT, "count")                                                                              \
    X(HORIZON, "horizon")                                                                          \
    X(OUTCOME, "outcome")

enum param {
#define PARAM_ENUM(id, name) PARAM_##id,
    PARAM_TABLE(PARAM_ENUM)
#undef PARAM_ENUM
        PARAM_COUNT_OF_ALL
};
const char *param_name(enum param param);

struct availability;
struct hub;
struct listener;
struct lookup;
struct lookup_wanted;
struct reader_metrics;

/* What the handlers of one server share; all of it may be used by several threads. */
struct reader {
    struct session_pool *pool;
    struct lookup *lookup;
    struct availability *availability;
    struct hub *hub; /* NULL: no event topic is followed */
    struct reader_metrics *metrics;
};

/* A long answer in pieces: whoever made it knows where it stands. */
struct stream {
    /* Appends the next piece to `out`, and says whether more follows. */
    enum err (*next)(struct stream *stream, struct mysql_session *db, struct buf *out,
                     bool *more_out, struct failure *f);
    void (*free)(struct stream *stream);
};

struct call {
    struct reader *reader;
    struct mysql_session *db;           /* NULL for a route that asks no database */
    const struct lookup_wanted *wanted; /* the booking that was looked up, or NULL */
    struct arena *arena;
    int64_t now_ms;
    const char *path_args[CALL_PATH_ARGS];  /* what stands for {…} in the route's path, decoded */
    const char *params[PARAM_COUNT_OF_ALL]; /* NULL: not given; of `label` the last one */
    const char *labels[LIMIT_LABELS];       /* each `label` */
    size_t label_count;
    const char *last_event_id; /* the header, or NULL */
    /* The answer: a JSON value (the call's reference), or text (JSON, unless content_type says
     * otherwise), or a stream, or a listener, or a problem. A handler that returns an error has left none. */
    json_t *body;
    char *text; /* heap */
    size_t text_len;
    const char *content_type; /* NULL: application/json */
    struct stream *stream;
    struct listener *listener; /* of /v1/events */
    bool has_problem;
    struct problem problem;
};

/* The answer is this problem; detail is printf. Returns ERR_OK: the call was answered. */
enum err call_problem(struct call *call, enum problem_code code, const char *parameter,
                      const char *detail, ...) __attribute__((format(printf, 4, 5)));
/* `limit`; false: the answer is a problem already. */
bool call_limit(struct call *call, int64_t *limit_out);
/* A parameter that is an id (`after` of bookings); absent gives 0. */
bool call_id(struct call *call, enum param param, int64_t *id_out);
/* An id in the path; -1: it is none, so nothing has it. */
int64_t call_path_id(const char *text);
/* A whole number within bounds; absent gives what *out holds already. */
bool call_number(struct call *call, enum param param, int64_t min, int64_t max, int64_t *out);
/* A moment: RFC 3339, whole seconds; absent gives what *out_ms holds already. */
bool call_time(struct call *call, enum param param, int64_t *out_ms);
/* Cut to the last second that RFC 3339 can write. */
int64_t call_time_within(int64_t ms);
/* `from` and `to`, from < to; absent: from now (cut to the second) on, `length_ms` long. */
bool call_window(struct call *call, int64_t length_ms, struct window *out);
/* A duration like 2h30m, of at least a second; absent gives what *out_ms holds already. */
bool call_duration(struct call *call, enum param param, int64_t *out_ms);
/* Each `label`, KEY=VALUE; sorted by key, in the arena. */
bool call_labels(struct call *call, struct labels *out);
/* A parameter that must be there. */
bool call_required(struct call *call, enum param param);
/* A parameter that is a name; absent gives NULL. */
bool call_name(struct call *call, enum param param, const char **name_out);
/* {"items": […], "next": "…"}; takes items. next NULL: the last page. */
void call_page(struct call *call, json_t *items, const char *next);

#endif
