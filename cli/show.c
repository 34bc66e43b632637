/* `berth show`, `why`, `machine show`: gets and prints single things that the reader has. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/spec.h"
#include "lib/base/cli_time.h"
#include "lib/base/mem.h"
#include "lib/base/print.h"
#include "lib/base/timetext.h"
#include "lib/codec/member.h"

const struct table_column cli_booking_columns[] = {
    {"booking", "id", NULL},      {"state", "state", NULL},
    {"client", "client", NULL},   {"user", "user", NULL},
    {"start", "start", NULL},     {"end", "end", NULL},
    {"version", "version", NULL}, {"machines", "allocations", cli_shares_text},
    {"series", "series", NULL},   {0},
};

const char *cli_window_of(const struct cli *cli, const json_t *object, char buf[CLI_TIME_LEN])
{
    return cli_time_window(member_time_ms(object, "start"), member_time_ms(object, "end"),
                           cli->zone, buf);
}

const char *cli_amount_show(const json_t *object, char buf[CLI_AMOUNT_LEN])
{
    int64_t gpus = member_number(object, "gpus");
    snprintf(buf, CLI_AMOUNT_LEN, "%3" PRId64 " %-4s %6" PRId64 " GiB", gpus,
             gpus == 1 ? "GPU" : "GPUs", member_number(object, "memory_gib"));
    return buf;
}

void cli_print_shares(const json_t *shares)
{
    char amount[CLI_AMOUNT_LEN];
    size_t i;
    const json_t *share;
    json_array_foreach(shares, i, share) print_line(
        stdout, "  %-20s %s", member_shown(share, "machine"), cli_amount_show(share, amount));
}

void cli_print_booking(const struct cli *cli, const json_t *booking)
{
    char window[CLI_TIME_LEN];
    if (cli->format == CLI_TSV) {
        table_print_row(cli_booking_columns, booking);
        return;
    }
    print_line(stdout, "booking %" PRId64 " %s: %s", member_number(booking, "id"),
               member_shown(booking, "state"), cli_window_of(cli, booking, window));
    print_part(stdout, "  for %s, by %s, version %" PRId64, member_shown(booking, "user"),
               member_shown(booking, "client"), member_number(booking, "version"));
    if (json_object_get(booking, "series"))
        print_part(stdout, ", of series %" PRId64, member_number(booking, "series"));
    putc('\n', stdout);
    cli_print_shares(json_object_get(booking, "allocations"));
}

/* "gpu=h100,zone=a"; caller frees. */
static char *labels_text(const json_t *labels)
{
    struct buf text = {0};
    const char *key;
    const json_t *value;
    buf_puts(&text, "");
    json_object_foreach((json_t *)labels, key, value)
        buf_printf(&text, "%s%s=%s", text.len > 0 ? "," : "", key, json_string_value(value));
    return text.data;
}

const struct table_column cli_machine_columns[] = {
    {"machine", "name", NULL},
    {"state", "state", NULL},
    {"gpus", "gpus", NULL},
    {"memory_gib", "memory_gib", NULL},
    {"id", "id", NULL},
    {"version", "version", NULL},
    {"labels", "labels", labels_text},
    {0},
};

void cli_print_machine(const struct cli *cli, const json_t *machine)
{
    if (cli->format == CLI_TSV) {
        table_print_row(cli_machine_columns, machine);
        return;
    }
    char amount[CLI_AMOUNT_LEN];
    char *labels = labels_text(json_object_get(machine, "labels"));
    print_line(stdout, "machine %-20s %-8s %s%s%s", member_shown(machine, "name"),
               member_shown(machine, "state"), cli_amount_show(machine, amount),
               *labels ? "  " : "", labels);
    free(labels);
}

static int show_at(const struct cli *cli, const char *collection, const char *name)
{
    json_t *thing = NULL;
    char *part = cli_escape(name);
    int code = cli_get(cli, &thing, NULL, "/v1/%s/%s", collection, part);
    bool machine = strcmp(collection, "machines") == 0;
    if (code == EXIT_CODE_OK && cli->format == CLI_JSON) {
        cli_print_json(thing);
    } else if (code == EXIT_CODE_OK && machine) {
        cli_print_header(cli, cli_machine_columns);
        cli_print_machine(cli, thing);
    } else if (code == EXIT_CODE_OK) {
        cli_print_header(cli, cli_booking_columns);
        cli_print_booking(cli, thing);
    }
    json_decref(thing);
    free(part);
    return code;
}

static const char *client_name(const struct cli *cli, const char *given, struct failure *f)
{
    const char *client = given ? given : config_string(cli->cfg, "client.name");
    if (!client) {
        failure_set(f, ERR_CONFIG,
                    "client.name is not set, so the request's client is unknown: set "
                    "client.name, or BERTH_CLIENT_NAME");
    }
    return client;
}

/* Prints the decision and returns its exit code. */
static int tell_decision(const struct cli *cli, const char *client, const char *id)
{
    char *bytes = NULL, *client_part = cli_escape(client), *id_part = cli_escape(id);
    json_t *event = NULL;
    int code = cli_get(cli, &event, &bytes, "/v1/decisions/%s/%s", client_part, id_part);
    free(client_part);
    free(id_part);
    if (code == EXIT_CODE_OK) {
        code = cli_print_decision(cli, event, bytes, NULL);
        if (code == EXIT_CODE_NOT_FOUND)
            code = EXIT_CODE_REJECTED; /* the decision itself is found */
    }
    json_decref(event);
    free(bytes);
    return code;
}

int cli_show(struct cli *cli)
{
    struct failure f;
    const char *request = cli_value(cli, "request"), *series = cli_value(cli, "series");
    size_t count = cli->after.operand_count + (request ? 1 : 0) + (series ? 1 : 0);
    if (count != 1) {
        return cli_usage(cli,
                         "show needs one thing: a booking's id, a machine's name, --series ID or "
                         "--request ID");
    }
    if (series)
        return cli_print_series(cli, series);
    if (request) {
        const char *client = client_name(cli, NULL, &f);
        if (!client)
            return cli_fail(cli, &f);
        int code = tell_decision(cli, client, request);
        return code == EXIT_CODE_REJECTED ? EXIT_CODE_OK : code;
    }
    const char *what = cli->after.operands[0];
    if (strncmp(what, "machine/", 8) == 0)
        return show_at(cli, "machines", what + 8);
    if (strncmp(what, "booking/", 8) == 0)
        return show_at(cli, "bookings", what + 8);
    bool number = what[strspn(what, "0123456789")] == '\0';
    return show_at(cli, number ? "bookings" : "machines", what);
}

int cli_why(struct cli *cli)
{
    struct failure f;
    if (cli->after.operand_count != 1)
        return cli_usage(cli, "why needs one request id, or one booking's id");
    const char *what = cli->after.operands[0];
    bool request = strncmp(what, "request/", 8) == 0;
    if (strncmp(what, "booking/", 8) == 0 || what[strspn(what, "0123456789")] == '\0')
        return cli_print_history(cli, what);
    const char *client = client_name(cli, cli_value(cli, "client"), &f);
    if (!client)
        return cli_fail(cli, &f);
    return tell_decision(cli, client, request ? what + 8 : what);
}

int cli_machine_show(struct cli *cli)
{
    struct failure f;
    int64_t from_ms, to_ms;
    bool asked = cli_has(cli, "timeline") || cli_has(cli, "from") || cli_has(cli, "to");
    if (cli->after.operand_count != 1)
        return cli_usage(cli, "machine show needs one machine's name");
    const char *name = cli->after.operands[0];
    if (cli_from_to(cli, &from_ms, &to_ms, &f) != ERR_OK)
        return cli_fail(cli, &f);
    int code = cli->format != CLI_TEXT && asked ? EXIT_CODE_OK : show_at(cli, "machines", name);
    if (code == EXIT_CODE_OK && (cli->format == CLI_TEXT || asked))
        code = cli_print_timeline(cli, name, from_ms, to_ms);
    return code;
}
