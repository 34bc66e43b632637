/* A machine's timeline: its bookings and its free amounts. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "lib/base/cli_time.h"
#include "lib/base/mem.h"
#include "lib/base/print.h"
#include "lib/codec/member.h"

/* Characters of the bar that shows how full a machine is. */
#define BAR_LEN 10

static const struct table_column columns[] = {
    {"kind", "kind", NULL},
    {"start", "start", NULL},
    {"end", "end", NULL},
    {"gpus", "gpus", NULL},
    {"memory_gib", "memory_gib", NULL},
    {"booking", "booking", NULL},
    {"client", "client", NULL},
    {"user", "user", NULL},
    {0},
};

static void print_rows(const char *kind, const json_t *items)
{
    json_t *item;
    size_t i;
    json_array_foreach(items, i, item)
    {
        json_object_set_new(item, "kind", json_string(kind));
        table_print_row(columns, item);
    }
}

/* "####------": the part of the GPUs, or of the memory where there are none, that is held. */
static const char *bar_of(const json_t *timeline, const json_t *step, char buf[BAR_LEN + 1])
{
    const char *name = member_number(timeline, "gpus") > 0 ? "gpus" : "memory_gib";
    int64_t all = member_number(timeline, name), free_part = member_number(step, name);
    int64_t held = all > free_part ? all - free_part : 0;
    /* Rounds up, so that any use shows. */
    int64_t marks = all > 0 ? (held * BAR_LEN + all - 1) / all : 0;
    for (int64_t i = 0; i < BAR_LEN; i++)
        buf[i] = i < marks ? '#' : '-';
    buf[BAR_LEN] = '\0';
    return buf;
}

static void print_text(const struct cli *cli, const json_t *timeline)
{
    const json_t *bookings = json_object_get(timeline, "bookings"), *item;
    char window[CLI_TIME_LEN], amount[CLI_AMOUNT_LEN], bar[BAR_LEN + 1];
    size_t i;
    cli_time_window(member_time_ms(timeline, "from"), member_time_ms(timeline, "to"), cli->zone,
                    window);
    print_line(stdout, "free within %s:", window);
    json_array_foreach(json_object_get(timeline, "free"), i, item)
        print_line(stdout, "  [%s] %s  %s", bar_of(timeline, item, bar),
                   cli_amount_show(item, amount), cli_window_of(cli, item, window));
    print_line(stdout, "%s",
               json_array_size(bookings) > 0 ? "held:" : "nothing of it is held then");
    json_array_foreach(bookings, i, item)
        print_line(stdout, "  %-12" PRId64 " %s  %s  %s, by %s", member_number(item, "booking"),
                   cli_amount_show(item, amount), cli_window_of(cli, item, window),
                   member_shown(item, "user"), member_shown(item, "client"));
}

int cli_print_timeline(const struct cli *cli, const char *machine, int64_t from_ms, int64_t to_ms)
{
    json_t *timeline = NULL;
    struct buf path = {0};
    char *name = cli_escape(machine);
    buf_printf(&path, "/v1/machines/%s/timeline", name);
    cli_add_time(&path, "from", from_ms);
    cli_add_time(&path, "to", to_ms);
    char *first = strchr(path.data, '&');
    if (first)
        *first = '?';
    int code = cli_get(cli, &timeline, NULL, "%s", path.data);
    if (code == EXIT_CODE_OK && cli->format == CLI_JSON) {
        cli_print_json(timeline);
    } else if (code == EXIT_CODE_OK && cli->format == CLI_TSV) {
        cli_print_header(cli, columns);
        print_rows("booking", json_object_get(timeline, "bookings"));
        print_rows("free", json_object_get(timeline, "free"));
    } else if (code == EXIT_CODE_OK) {
        print_text(cli, timeline);
    }
    json_decref(timeline);
    buf_fini(&path);
    free(name);
    return code;
}
