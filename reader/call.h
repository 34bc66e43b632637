/* One request as a route's handler sees it: parameters, a database session, and the answer. */
#ifndef BERTH_READER_CALL_H
#define BERTH_READER_CALL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/arena.h"
#include "core/limits.h"
#include "core/request.h"
#include "db/mysql_session.h"
#include "lib/codec/jsonout.h"
#include "lib/codec/problem.h"

#define CALL_PATH_ARGS 2
/* Rows of a page: without `limit`, and the largest `limit`. */
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

struct MHD_Connection;
struct availability;
struct hub;
struct connections;
struct jobs;
struct lookup;
struct lookup_query;
struct reader_metrics;
struct sending;
struct session_pool;

/* What all requests of one server share. Every member may be used by several threads at once. */
struct reader {
    /* The threads of quick questions, each of which reads a few rows, of slow ones, and of scrapes,
     * which wait for Kafka; and the database sessions of the first and the third, and of the second. */
    struct jobs *quick, *slow, *scrapes;
    struct session_pool *pool, *slow_pool;
    struct connections *connections;
    struct lookup *lookup;
    struct availability *availability;
    struct hub *hub; /* NULL: no event topic is followed */
    struct reader_metrics *metrics;
    int64_t rows_max;         /* that a question may read */
    const char *cors_origins; /* whose pages may read: "*", a list of origins, or NULL for none */
};

struct call {
    struct reader *reader;
    struct MHD_Connection *connection;
    struct mysql_session *db;           /* NULL unless the route's source is a session */
    const struct lookup_query *booking; /* the answered lookup of a ROUTE_LOOKUP */
    struct arena *arena;
    int64_t now_ms;
    const char *path_args[CALL_PATH_ARGS];  /* the values of {…} in the route's path, decoded */
    const char *params[PARAM_COUNT_OF_ALL]; /* NULL: not given; of `label` the last one */
    const char *labels[LIMIT_LABELS];       /* each `label` */
    size_t label_count;
    /* The answer, owned by the call: text (JSON, unless content_type says otherwise), or a
     * stream. A problem replaces both. What follows `problem` is set by answer_prepare. */
    char *text; /* heap */
    size_t text_len;
    const char *content_type; /* NULL: application/json */
    struct stream *stream;
    bool has_problem;
    bool is_feed; /* of /v1/events */
    bool closes;  /* the connection is closed after the answer */
    struct problem problem;
    unsigned status;
    struct sending *sending; /* the stream, with its first piece */
    bool gzip;
    char etag[48];
};

/* The values of all lines of a header field, joined by ", " (RFC 9110 §5.3), in the arena; NULL:
 * there is none. */
const char *call_header(struct call *call, const char *name);

/* Frees the answer's text and stream. */
void call_fini(struct call *call);

/* Answers with this problem; `detail` is a printf format. Returns ERR_OK: the call is answered. */
enum err call_problem(struct call *call, enum problem_code code, const char *parameter,
                      const char *detail, ...) __attribute__((format(printf, 4, 5)));
/* Answers with an invalid_parameter problem; `detail` is a printf format. Returns false. */
bool call_invalid(struct call *call, enum param param, const char *detail, ...)
    __attribute__((format(printf, 3, 4)));
/* Answers that the database, or the reader, failed; the failure itself is only logged. */
void call_failed(struct call *call, const struct failure *f);
/* Answers that the reader stops. */
void call_stopping(struct call *call);
/* Answers that no booking has the path's first argument as its id. Returns ERR_OK. */
enum err call_no_booking(struct call *call);
/* Answers with text on the heap; takes it. */
void call_take_text(struct call *call, char *text, size_t len);
/* Runs the statement and frees its text, also on failure. The caller frees *rows_out, which is NULL
 * on failure, with mysql_free_result. */
enum err call_query(struct call *call, const char *what, struct buf *sql, MYSQL_RES **rows_out,
                    struct failure *f);
/* All values of a table, to be listed in a condition. */
struct call_all {
    const char *what;   /* names the query in a failure */
    const char *column; /* of the condition */
    const char *query;  /* selects the values */
    size_t max;         /* more values than these are not listed */
    bool is_text;       /* the values; false: numbers */
};
/* Adds " AND column IN (…)", or nothing if there are no values, or too many. */
enum err call_add_all(struct call *call, struct buf *sql, const struct call_all *all,
                      struct failure *f);
/* Answers with this JSON text; copies it. */
void call_text(struct call *call, struct jsonout *out);
/* Answers with a page, {"items":[…],"next":"…"}, that is written into `out`: call_page_begin, then
 * jsonout_comma before each item, then call_page_end. next NULL: the last page. */
void call_page_begin(struct call *call, struct jsonout *out);
void call_page_end(struct call *call, struct jsonout *out, const char *next);

/* Parsers of parameters. An absent parameter is valid and leaves *out as it is, unless said
 * otherwise. False: the value is invalid, and the answer is that problem. */

/* `limit`; PAGE_DEFAULT when absent. */
bool call_limit(struct call *call, int64_t *limit_out);
/* An id, as `after` of bookings; 0 when absent. */
bool call_id(struct call *call, enum param param, int64_t *id_out);
/* A whole number from min to max. */
bool call_number(struct call *call, enum param param, int64_t min, int64_t max, int64_t *out);
/* A time: RFC 3339, of which a fraction of a second is rounded down. */
bool call_time(struct call *call, enum param param, int64_t *out_ms);
/* The same, rounded up: an end. */
bool call_end_time(struct call *call, enum param param, int64_t *out_ms);
/* `from` and `to`, from < to. Default: from now, rounded down to a second, for length_ms. */
bool call_window(struct call *call, int64_t length_ms, struct window *out);
/* A duration like 2h30m, of at least one second. */
bool call_duration(struct call *call, enum param param, int64_t *out_ms);
/* Each `label`, KEY=VALUE; sorted by key, in the arena. */
bool call_labels(struct call *call, struct labels *out);
/* False when the parameter is absent. */
bool call_required(struct call *call, enum param param);
/* A name; NULL when absent. */
bool call_name(struct call *call, enum param param, const char **name_out);

/* An id in the path; -1, which no row has, when the text is not a number. */
int64_t call_path_id(const char *text);
/* The time, but at most the last second that RFC 3339 can write. */
int64_t call_time_within(int64_t ms);

#endif
