#include "core/request.h"
#include "lib/base/mem.h"
#include "lib/base/version.h"
#include "reader/handlers.h"
#include "schemas/openapi.h"

/* A request with an unknown field or type is rejected, so clients ask for these before they send. */
#define REQUEST_SCHEMA_VERSION 2
#define EVENT_SCHEMA_VERSION   2

/* "halted_partitions": [{"partition", "why"}…]; `why` names the next step. */
static enum err add_halted_partitions(struct call *call, struct failure *f)
{
    MYSQL_RES *rows = NULL;
    MYSQL_ROW row;
    enum err err = mysql_session_read(call->db, "read halts",
                                      "SELECT part, halted FROM request_partition WHERE halted <> "
                                      "'' ORDER BY part",
                                      &rows, f);
    if (err != ERR_OK)
        return err;
    json_t *list = json_array();
    while ((row = mysql_fetch_row(rows))) {
        json_array_append_new(list, json_pack("{s:I, s:s}", "partition",
                                              (json_int_t)field_int(row[0]), "why", row[1]));
    }
    json_object_set_new(call->body, "halted_partitions", list);
    mysql_free_result(rows);
    return ERR_OK;
}

enum err handle_farm(struct call *call, struct failure *f)
{
    MYSQL_RES *rows = NULL;
    MYSQL_ROW row;
    enum err err = mysql_session_read(call->db, "read farm",
                                      "SELECT name, partitions, halted FROM farm", &rows, f);
    if (err != ERR_OK)
        return err;
    row = mysql_fetch_row(rows);
    if (!row) {
        mysql_free_result(rows);
        return call_problem(call, PROBLEM_UNAVAILABLE, NULL,
                            "The database holds no farm: run berth-admin init --farm NAME.");
    }
    json_t *types = json_array();
    for (int type = 0; type < REQUEST_TYPE_COUNT; type++)
        json_array_append_new(types, json_string(request_type_name((enum request_type)type)));
    call->body = json_pack("{s:s, s:I, s:b, s:o, s:{s:i, s:i}, s:s}", "name", row[0], "partitions",
                           (json_int_t)field_int(row[1]), "halted", row[2][0] != '\0',
                           "request_types", types, "schema_versions", "request",
                           REQUEST_SCHEMA_VERSION, "event", EVENT_SCHEMA_VERSION, "version",
                           BERTH_VERSION);
    if (row[2][0])
        json_object_set_new(call->body, "halted_why", json_string(row[2]));
    mysql_free_result(rows);
    return add_halted_partitions(call, f);
}

enum err handle_openapi(struct call *call, struct failure *f)
{
    (void)f;
    call->text = xstrndup(openapi_json, openapi_json_len);
    call->text_len = openapi_json_len;
    return ERR_OK;
}

enum err handle_healthz(struct call *call, struct failure *f)
{
    (void)f;
    call->body = json_pack("{s:s}", "status", "ok");
    return ERR_OK;
}

enum err handle_readyz(struct call *call, struct failure *f)
{
    enum err err = mysql_session_ping(call->db, f);
    return err == ERR_OK ? handle_healthz(call, f) : err;
}
