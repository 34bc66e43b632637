#include "reader/call.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <microhttpd.h>

#include "core/decide.h"
#include "lib/base/log.h"
#include "lib/base/timetext.h"
#include "reader/stream.h"

const char *param_name(enum param param)
{
    static const char *const names[PARAM_COUNT_OF_ALL] = {
#define PARAM_NAME(id, name) name,
        PARAM_TABLE(PARAM_NAME)
#undef PARAM_NAME
    };
    assert(param < PARAM_COUNT_OF_ALL);
    return names[param];
}

void call_fini(struct call *call)
{
    free(call->text);
    if (call->stream)
        call->stream->free(call->stream);
    sending_free(call->sending);
    call->text = NULL;
    call->stream = NULL;
    call->sending = NULL;
}

struct joining {
    const char *name, *values;
    struct arena *arena;
};

/* MHD_KeyValueIterator. */
static enum MHD_Result join_value(void *arg, enum MHD_ValueKind kind, const char *name,
                                  const char *value)
{
    struct joining *joining = arg;
    (void)kind;
    if (strcasecmp(name, joining->name) != 0)
        return MHD_YES;
    if (!value)
        value = "";
    joining->values = joining->values
                          ? arena_printf(joining->arena, "%s, %s", joining->values, value)
                          : arena_strdup(joining->arena, value);
    return MHD_YES;
}

const char *call_header(struct call *call, const char *name)
{
    struct joining joining = {.name = name, .arena = call->arena};
    MHD_get_connection_values(call->connection, MHD_HEADER_KIND, join_value, &joining);
    return joining.values;
}

static void __attribute__((format(printf, 4, 0)))
set_problem(struct call *call, enum problem_code code, const char *parameter, const char *detail,
            va_list args)
{
    char text[LIMIT_DETAIL_LEN];
    vsnprintf(text, sizeof(text), detail, args);
    call->has_problem = true;
    call->problem = (struct problem){
        .code = code, .detail = arena_strdup(call->arena, text), .parameter = parameter};
}

enum err call_problem(struct call *call, enum problem_code code, const char *parameter,
                      const char *detail, ...)
{
    va_list args;
    va_start(args, detail);
    set_problem(call, code, parameter, detail, args);
    va_end(args);
    return ERR_OK;
}

bool call_invalid(struct call *call, enum param param, const char *detail, ...)
{
    va_list args;
    va_start(args, detail);
    set_problem(call, PROBLEM_INVALID_PARAMETER, param_name(param), detail, args);
    va_end(args);
    return false;
}

void call_failed(struct call *call, const struct failure *f)
{
    log_failure(LOG_WARN, "request failed", f);
    if (err_is_retryable(f->err) || err_is_connection(f->err)) {
        call_problem(call, PROBLEM_UNAVAILABLE, NULL,
                     "The database does not answer; try again in a moment.");
    } else {
        call_problem(call, PROBLEM_INTERNAL, NULL,
                     "The reader could not answer; its log says why.");
    }
}

void call_stopping(struct call *call)
{
    call_problem(call, PROBLEM_UNAVAILABLE, NULL, "The reader stops; ask again in a moment.");
}

/* One number has one text: no blank, no sign, no leading zero. */
static bool parse_int(const char *text, int64_t *out)
{
    char *end;
    if (*text < '0' || *text > '9' || (*text == '0' && text[1]))
        return false;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno || *end)
        return false;
    *out = value;
    return true;
}

bool call_number(struct call *call, enum param param, int64_t min, int64_t max, int64_t *out)
{
    const char *text = call->params[param];
    int64_t value;
    if (!text)
        return true;
    if (!parse_int(text, &value) || value < min || value > max) {
        return call_invalid(call, param, "%s must be a number from %" PRId64 " to %" PRId64 ".",
                            param_name(param), min, max);
    }
    *out = value;
    return true;
}

bool call_limit(struct call *call, int64_t *limit_out)
{
    *limit_out = PAGE_DEFAULT;
    return call_number(call, PARAM_LIMIT, 1, PAGE_MAX, limit_out);
}

/* An RFC 3339 time, the fraction of which is left out: *fraction_out says whether it is above 0. The
 * '+' of an offset that was not written %2B has become a blank. */
static bool parse_time(struct call *call, enum param param, int64_t *out_ms, bool *fraction_out)
{
    const size_t whole = strlen("2026-12-01T02:00:00");
    char *text = arena_strdup(call->arena, call->params[param]);
    *fraction_out = false;
    if (strlen(text) > whole && text[whole] == '.') {
        size_t digits = strspn(text + whole + 1, "0123456789");
        *fraction_out = strspn(text + whole + 1, "0") < digits;
        if (digits > 0)
            memmove(text + whole, text + whole + 1 + digits, strlen(text + whole + 1 + digits) + 1);
    }
    if (strlen(text) > whole && text[whole] == ' ')
        text[whole] = '+';
    if (timetext_parse(text, strlen(text), out_ms))
        return true;
    return call_invalid(call, param,
                        "%s must be a time like 2026-12-01T02:00:00Z or "
                        "2026-12-01T03:00:00+01:00 (RFC 3339).",
                        param_name(param));
}

bool call_time(struct call *call, enum param param, int64_t *out_ms)
{
    bool fraction;
    return !call->params[param] || parse_time(call, param, out_ms, &fraction);
}

bool call_end_time(struct call *call, enum param param, int64_t *out_ms)
{
    bool fraction = false;
    if (call->params[param] && !parse_time(call, param, out_ms, &fraction))
        return false;
    if (fraction)
        *out_ms = call_time_within(*out_ms + 1000);
    return true;
}

int64_t call_time_within(int64_t ms)
{
    return ms > LIMIT_TIME_S * INT64_C(1000) ? LIMIT_TIME_S * INT64_C(1000) : ms;
}

bool call_window(struct call *call, int64_t length_ms, struct window *out)
{
    out->start_ms = time_floor_s(call->now_ms);
    if (!call_time(call, PARAM_FROM, &out->start_ms))
        return false;
    out->end_ms = call_time_within(out->start_ms + length_ms);
    if (!call_end_time(call, PARAM_TO, &out->end_ms))
        return false;
    if (out->start_ms < out->end_ms)
        return true;
    return call_invalid(call, PARAM_TO, "to must be after from.");
}

bool call_duration(struct call *call, enum param param, int64_t *out_ms)
{
    const char *text = call->params[param];
    if (!text)
        return true;
    int64_t seconds = timetext_parse_duration(text);
    if (seconds < 1 || seconds > LIMIT_AHEAD_S) {
        return call_invalid(call, param,
                            "%s must be a duration like 45m, 2h30m or 1w2d, up to two years.",
                            param_name(param));
    }
    *out_ms = seconds * 1000;
    return true;
}

static int compare_labels(const void *a, const void *b)
{
    return strcmp(((const struct label *)a)->key, ((const struct label *)b)->key);
}

/* Splits KEY=VALUE. *out borrows the value from the text. */
static bool split_label(struct arena *arena, const char *text, struct label *out)
{
    const char *equals = strchr(text, '=');
    if (!equals || equals == text)
        return false;
    out->key = arena_strndup(arena, text, (size_t)(equals - text));
    out->value = equals + 1;
    return name_is_valid(out->key, LIMIT_LABEL_KEY_LEN, "/");
}

bool call_labels(struct call *call, struct labels *out)
{
    struct label *items = arena_alloc(call->arena, sizeof(*items) * (call->label_count + 1));
    for (size_t i = 0; i < call->label_count; i++) {
        if (!split_label(call->arena, call->labels[i], &items[i])) {
            return call_invalid(call, PARAM_LABEL,
                                "label must be KEY=VALUE, as in label=gpu=a100.");
        }
    }
    qsort(items, call->label_count, sizeof(*items), compare_labels);
    for (size_t i = 1; i < call->label_count; i++) {
        if (strcmp(items[i - 1].key, items[i].key) == 0) {
            return call_invalid(call, PARAM_LABEL, "label names the key %.63s twice.",
                                items[i].key);
        }
    }
    *out = (struct labels){.count = call->label_count, .items = items};
    return true;
}

bool call_required(struct call *call, enum param param)
{
    if (call->params[param])
        return true;
    return call_invalid(call, param, "%s must be given.", param_name(param));
}

bool call_id(struct call *call, enum param param, int64_t *id_out)
{
    const char *text = call->params[param];
    int64_t id = 0;
    if (text && !parse_int(text, &id)) {
        return call_invalid(call, param, "%s must be what the page before gave as next.",
                            param_name(param));
    }
    *id_out = id;
    return true;
}

int64_t call_path_id(const char *text)
{
    int64_t id;
    return parse_int(text, &id) ? id : -1;
}

bool call_name(struct call *call, enum param param, const char **name_out)
{
    const char *text = call->params[param];
    if (text && !name_is_valid(text, LIMIT_NAME_LEN, NULL)) {
        return call_invalid(call, param, "%s must be a name: 1 to %d of A-Z a-z 0-9 . _ -",
                            param_name(param), LIMIT_NAME_LEN);
    }
    *name_out = text;
    return true;
}

void call_take_text(struct call *call, char *text, size_t len)
{
    call->text = text;
    call->text_len = len;
}

enum err call_no_booking(struct call *call)
{
    return call_problem(call, PROBLEM_NOT_FOUND, NULL,
                        "No booking has the id %.40s; GET /v1/bookings lists them.",
                        call->path_args[0]);
}

enum err call_query(struct call *call, const char *what, struct buf *sql, MYSQL_RES **rows_out,
                    struct failure *f)
{
    *rows_out = NULL;
    enum err err = mysql_session_query(call->db, what, sql->data, sql->len, rows_out, f);
    buf_fini(sql);
    return err;
}

enum err call_add_all(struct call *call, struct buf *sql, const struct call_all *all,
                      struct failure *f)
{
    struct buf query = {0};
    MYSQL_RES *rows;
    MYSQL_ROW row;
    buf_printf(&query, "%s LIMIT %zu", all->query, all->max + 1);
    enum err err = call_query(call, all->what, &query, &rows, f);
    size_t count = err == ERR_OK ? (size_t)mysql_num_rows(rows) : 0;
    if (count > 0 && count <= all->max) {
        const char *separator = "(";
        buf_printf(sql, " AND %s IN ", all->column);
        while ((row = mysql_fetch_row(rows))) {
            buf_puts(sql, separator);
            if (all->is_text) {
                sql_text(sql, row[0]);
            } else {
                buf_puts(sql, row[0]);
            }
            separator = ",";
        }
        buf_puts(sql, ")");
    }
    mysql_free_result(rows);
    return err;
}

void call_text(struct call *call, struct jsonout *out)
{
    call->text_len = out->len;
    call->text = xstrndup(jsonout_finish(out), out->len);
}

#define PAGE_ROOM 4096

void call_page_begin(struct call *call, struct jsonout *out)
{
    jsonout_init(out, call->arena, PAGE_ROOM);
    JSONOUT_RAW(out, "{\"items\":[");
}

void call_page_end(struct call *call, struct jsonout *out, const char *next)
{
    JSONOUT_RAW(out, "]");
    if (next)
        JSONOUT_STRING(out, ",\"next\":", next);
    JSONOUT_RAW(out, "}");
    call_text(call, out);
}
