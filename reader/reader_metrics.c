#include "reader/reader_metrics.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "db/halt.h"
#include "lib/base/log.h"
#include "lib/metrics/metrics.h"
#include "reader/connections.h"
#include "reader/hub.h"
#include "reader/session_pool.h"

/* HTTP's: 100 to 599. */
#define STATUS_MIN     100
#define STATUS_COUNT   500
/* How long Kafka may take to tell where its logs end. */
#define ENDS_WITHIN_MS 1000

struct route_metrics {
    metric_value statuses[STATUS_COUNT];
    struct histogram seconds;
};

struct reader_metrics {
    size_t route_count; /* the last one is for what no route is for */
    struct route_metrics routes[];
};

struct reader_metrics *reader_metrics_new(void)
{
    size_t count = route_count() + 1;
    struct reader_metrics *m = xcalloc(1, sizeof(*m) + count * sizeof(m->routes[0]));
    m->route_count = count;
    for (size_t i = 0; i < count; i++)
        histogram_init(&m->routes[i].seconds, &histogram_work);
    return m;
}

void reader_metrics_free(struct reader_metrics *m)
{
    free(m);
}

void reader_metrics_answered(struct reader_metrics *m, const struct route *route, int status,
                             int64_t took_us)
{
    struct route_metrics *at = &m->routes[route ? route_number(route) : m->route_count - 1];
    assert(status >= STATUS_MIN && status < STATUS_MIN + STATUS_COUNT);
    metric_add(&at->statuses[status - STATUS_MIN], 1);
    histogram_observe(&at->seconds, took_us);
}

/* --- families ------------------------------------------------------------------------------- */

static const struct metric requests = {
    "berth_http_requests_total", METRIC_COUNTER, METRIC_COUNT,
    "HTTP requests, by the pattern of their route (other: none) and the status of the answer."};
static const struct metric request_time = {
    "berth_http_request_seconds", METRIC_HISTOGRAM, METRIC_SECONDS,
    "Time until an answer was ready; of one in pieces until the first piece was."};
static const struct metric listeners = {"berth_event_listeners", METRIC_GAUGE, METRIC_COUNT,
                                        "Connections that listen to /v1/events."};
static const struct metric open_connections = {"berth_http_connections", METRIC_GAUGE, METRIC_COUNT,
                                               "Open HTTP connections."};
static const struct metric closed_connections = {
    "berth_http_connections_closed_total", METRIC_COUNTER, METRIC_COUNT,
    "HTTP connections that the reader closed, by cause: no room (refused), closed to make room "
    "(shed), no complete header in time (header_timeout)."};
static const struct metric connects = {
    "berth_database_connects_total", METRIC_COUNTER, METRIC_COUNT,
    "Database sessions that the reader opened; idle ones are closed by the server."};
static const struct metric machines = {"berth_machines", METRIC_GAUGE, METRIC_COUNT,
                                       "Registered machines, by their state."};
static const struct metric gpus = {"berth_gpus", METRIC_GAUGE, METRIC_COUNT,
                                   "GPUs of the registered machines, by the machine's state."};
static const struct metric request_lag = {
    "berth_request_lag", METRIC_GAUGE, METRIC_COUNT,
    "Offsets of the request partition that are not decided yet, owned by a worker or not."};
static const struct metric sequence = {
    "berth_partition_sequence", METRIC_GAUGE, METRIC_COUNT,
    "The partition's last decision; 4294967295 is the last that can book."};

/* --- from memory ---------------------------------------------------------------------------- */

static const char *route_name(const struct reader_metrics *m, size_t number)
{
    return number < m->route_count - 1 ? route_at(number)->path : "other";
}

static void render_requests(const struct reader_metrics *m, struct buf *out)
{
    metric_head(out, &requests);
    for (size_t i = 0; i < m->route_count; i++) {
        for (int status = 0; status < STATUS_COUNT; status++) {
            char text[16];
            int64_t count = metric_get(&m->routes[i].statuses[status]);
            if (count == 0)
                continue;
            snprintf(text, sizeof(text), "%d", STATUS_MIN + status);
            metric_sample(out, &requests,
                          METRIC_LABELS({"route", route_name(m, i)}, {"status", text}), count);
        }
    }
    metric_head(out, &request_time);
    for (size_t i = 0; i < m->route_count; i++) {
        if (histogram_count(&m->routes[i].seconds) > 0) {
            metric_histogram(out, &request_time, METRIC_LABELS({"route", route_name(m, i)}),
                             &m->routes[i].seconds);
        }
    }
}

static void render_connections(struct connections *connections, struct buf *out)
{
    struct connections_counts counts = connections_count(connections);
    const struct {
        const char *cause;
        int64_t count;
    } closed[] = {
        {"refused", counts.refused}, {"shed", counts.shed}, {"header_timeout", counts.header_late}};
    metric_single(out, &open_connections, counts.open);
    metric_head(out, &closed_connections);
    for (size_t i = 0; i < sizeof(closed) / sizeof(closed[0]); i++) {
        metric_sample(out, &closed_connections, METRIC_LABELS({"cause", closed[i].cause}),
                      closed[i].count);
    }
}

/* --- from the database ---------------------------------------------------------------------- */

/* Where the request partitions end, or NULL. Kafka tells that before the rows are read, so that
 * what is decided in between does not count as undecided. */
struct ends {
    int64_t *offsets;
    int32_t count;
};

static void put_machines(MYSQL_RES *rows, const struct ends *ends, struct buf *out)
{
    static const struct metric *const metrics[2] = {&machines, &gpus};
    int64_t found[2][MACHINE_STATE_COUNT] = {0};
    MYSQL_ROW row;
    (void)ends;
    while ((row = mysql_fetch_row(rows))) {
        enum machine_state state = machine_state_from_name(row[0]);
        for (int i = 0; state != MACHINE_STATE_COUNT && i < 2; i++)
            found[i][state] = field_int(row[1 + i]);
    }
    for (int i = 0; i < 2; i++) {
        metric_head(out, metrics[i]);
        for (int state = 0; state < MACHINE_STATE_COUNT; state++) {
            metric_sample(out, metrics[i],
                          METRIC_LABELS({"state", machine_state_name((enum machine_state)state)}),
                          found[i][state]);
        }
    }
}

static void put_farm(MYSQL_RES *rows, const struct ends *ends, struct buf *out)
{
    MYSQL_ROW row = mysql_fetch_row(rows);
    (void)ends;
    if (!row)
        return;
    metric_single(out, &metric_farm_partitions, field_int(row[0]));
    metric_head(out, &metric_farm_halted);
    metric_cause(out, &metric_farm_halted, NULL, halt_cause_name(halt_cause_read(row[1], row[2])));
}

static void put_partitions(MYSQL_RES *rows, const struct ends *ends, struct buf *out)
{
    MYSQL_ROW row;
    metric_head(out, &metric_partition_halted);
    while ((row = mysql_fetch_row(rows))) {
        metric_cause(out, &metric_partition_halted, row[0],
                     halt_cause_name(halt_cause_read(row[1], row[2])));
    }
    metric_head(out, &sequence);
    mysql_data_seek(rows, 0);
    while ((row = mysql_fetch_row(rows)))
        metric_sample(out, &sequence, METRIC_LABELS({"partition", row[0]}), field_int(row[4]));
    if (!ends->offsets)
        return;
    metric_head(out, &request_lag);
    mysql_data_seek(rows, 0);
    while ((row = mysql_fetch_row(rows))) {
        int64_t part = field_int(row[0]), next = field_int(row[3]);
        if (part >= ends->count || ends->offsets[part] < 0)
            continue;
        int64_t lag = ends->offsets[part] > next ? ends->offsets[part] - next : 0;
        metric_sample(out, &request_lag, METRIC_LABELS({"partition", row[0]}), lag);
    }
}

static const struct {
    const char *what, *sql;
    void (*put)(MYSQL_RES *rows, const struct ends *ends, struct buf *out);
} readings[] = {
    {"read machines", "SELECT state, COUNT(*), SUM(gpus) FROM machine GROUP BY state",
     put_machines},
    {"read farm", "SELECT partitions, halted, halt_cause FROM farm", put_farm},
    {"read partitions",
     "SELECT part, halted, halt_cause, next_offset, last_seq FROM request_partition ORDER BY part",
     put_partitions},
};

static enum err read_database(struct call *call, const struct ends *ends, struct buf *out,
                              struct failure *f)
{
    struct mysql_session *db;
    enum err err = session_pool_take(call->reader->pool, true, &db, f);
    if (err != ERR_OK)
        return err;
    for (size_t i = 0; err == ERR_OK && i < sizeof(readings) / sizeof(readings[0]); i++) {
        MYSQL_RES *rows = NULL;
        err = mysql_session_read(db, readings[i].what, readings[i].sql, &rows, f);
        if (err == ERR_OK)
            readings[i].put(rows, ends, out);
        mysql_free_result(rows);
    }
    session_pool_put(call->reader->pool, db);
    return err;
}

/* A scrape is answered whatever the database and Kafka do: what they would say is left out. */
static void render_farm(struct call *call, struct buf *out)
{
    struct failure f;
    struct hub *hub = call->reader->hub;
    struct buf farm = {0};
    struct ends ends = {0};
    if (hub) {
        ends.count = hub_partitions(hub);
        ends.offsets = xcalloc((size_t)ends.count, sizeof(*ends.offsets));
        if (!hub_request_ends(hub, ends.offsets, ENDS_WITHIN_MS)) {
            free(ends.offsets);
            ends.offsets = NULL;
        }
    }
    enum err err = read_database(call, &ends, &farm, &f);
    metric_single(out, &metric_database_up, err == ERR_OK);
    if (err == ERR_OK) {
        buf_append(out, farm.data, farm.len);
    } else {
        log_failure(LOG_INFO, "metrics without the database", &f);
    }
    buf_fini(&farm);
    free(ends.offsets);
}

enum err handle_metrics(struct call *call, struct failure *f)
{
    struct buf out = {0};
    (void)f;
    metric_build_info(&out);
    render_requests(call->reader->metrics, &out);
    render_connections(call->reader->connections, &out);
    if (call->reader->hub)
        metric_single(&out, &listeners, (int64_t)hub_now(call->reader->hub).listeners);
    render_farm(call, &out);
    metric_single(&out, &connects,
                  session_pool_connects(call->reader->pool) +
                      session_pool_connects(call->reader->slow_pool));
    call->content_type = METRICS_CONTENT_TYPE;
    call_take_text(call, out.data, out.len);
    return ERR_OK;
}
