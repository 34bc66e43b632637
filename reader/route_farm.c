#include "core/request.h"
#include "lib/base/mem.h"
#include "lib/base/version.h"
#include "reader/handlers.h"
#include "schemas/openapi.h"

/* A request with an unknown field or type is rejected, so clients ask for these before they send. */
#define REQUEST_SCHEMA_VERSION 2
#define EVENT_SCHEMA_VERSION   2

/* Writes "halted_partitions": [{"partition", "why"}…]; `why` names the next step. */
static enum err put_halted_partitions(struct call *call, struct jsonout *out, struct failure *f)
{
    MYSQL_RES *rows = NULL;
    MYSQL_ROW row;
    enum err err = mysql_session_read(call->db, "read halts",
                                      "SELECT part, halted FROM request_partition WHERE halted <> "
                                      "'' ORDER BY part",
                                      &rows, f);
    JSONOUT_RAW(out, ",\"halted_partitions\":[");
    while (err == ERR_OK && (row = mysql_fetch_row(rows))) {
        jsonout_comma(out);
        JSONOUT_INT(out, "{\"partition\":", field_int(row[0]));
        JSONOUT_STRING(out, ",\"why\":", row[1]);
        JSONOUT_RAW(out, "}");
    }
    JSONOUT_RAW(out, "]");
    mysql_free_result(rows);
    return err;
}

static void put_farm(struct jsonout *out, MYSQL_ROW row)
{
    bool halted = row[2][0] != '\0';
    JSONOUT_STRING(out, "{\"name\":", row[0]);
    JSONOUT_INT(out, ",\"partitions\":", field_int(row[1]));
    JSONOUT_RAW(out, ",\"halted\":");
    jsonout_raw(out, halted ? "true" : "false", halted ? 4 : 5);
    JSONOUT_RAW(out, ",\"request_types\":[");
    for (int type = 0; type < REQUEST_TYPE_COUNT; type++) {
        jsonout_comma(out);
        jsonout_string(out, request_type_name((enum request_type)type));
    }
    JSONOUT_INT(out, "],\"schema_versions\":{\"request\":", REQUEST_SCHEMA_VERSION);
    JSONOUT_INT(out, ",\"event\":", EVENT_SCHEMA_VERSION);
    JSONOUT_STRING(out, "},\"version\":", BERTH_VERSION);
    if (halted)
        JSONOUT_STRING(out, ",\"halted_why\":", row[2]);
}

enum err handle_farm(struct call *call, struct failure *f)
{
    MYSQL_RES *rows = NULL;
    MYSQL_ROW row;
    struct jsonout out;
    enum err err = mysql_session_read(call->db, "read farm",
                                      "SELECT name, partitions, halted FROM farm", &rows, f);
    if (err != ERR_OK)
        return err;
    row = mysql_fetch_row(rows);
    if (row) {
        jsonout_init(&out, call->arena, 1024);
        put_farm(&out, row);
        err = put_halted_partitions(call, &out, f);
        JSONOUT_RAW(&out, "}");
        call_text(call, &out);
    } else {
        call_problem(call, PROBLEM_UNAVAILABLE, NULL,
                     "The database holds no farm: run berth-admin init --farm NAME.");
    }
    mysql_free_result(rows);
    return err;
}

enum err handle_openapi(struct call *call, struct failure *f)
{
    (void)f;
    call_take_text(call, xstrndup(openapi_json, openapi_json_len), openapi_json_len);
    return ERR_OK;
}

enum err handle_healthz(struct call *call, struct failure *f)
{
    static const char ok[] = "{\"status\":\"ok\"}";
    (void)f;
    call_take_text(call, xstrdup(ok), sizeof(ok) - 1);
    return ERR_OK;
}

enum err handle_readyz(struct call *call, struct failure *f)
{
    enum err err = mysql_session_ping(call->db, f);
    return err == ERR_OK ? handle_healthz(call, f) : err;
}
