#include <string.h>

#include "core/limits.h"
#include "core/request.h"
#include "lib/mem.h"
#include "reader/handlers.h"

/* The answer is the event of the decision that used the request id up, byte for byte. */
enum err handle_decision(struct call *call, struct failure *f)
{
    const char *client = call->path_args[0], *request_id = call->path_args[1];
    struct buf sql = {0};
    MYSQL_RES *rows = NULL;
    MYSQL_ROW row = NULL;
    enum err err = ERR_OK;
    if (name_is_valid(client, LIMIT_NAME_LEN, NULL) &&
        name_is_valid(request_id, LIMIT_REQUEST_ID_LEN, ":")) {
        buf_puts(&sql, "SELECT event FROM decision WHERE client = ");
        sql_text(&sql, client);
        buf_puts(&sql, " AND request_id = ");
        sql_text(&sql, request_id);
        err = mysql_session_query(call->db, "read decision", sql.data, sql.len, &rows, f);
        if (err == ERR_OK && (row = mysql_fetch_row(rows))) {
            call->text_len = mysql_fetch_lengths(rows)[0];
            call->text = xstrndup(row[0], call->text_len);
        }
    }
    if (err == ERR_OK && !row)
        err = call_problem(call, PROBLEM_NOT_FOUND, NULL,
                           "No decision has used up request id %.80s of client %.80s: it was not "
                           "decided yet, or was rejected before its id counted.",
                           request_id, client);
    mysql_free_result(rows);
    buf_fini(&sql);
    return err;
}
