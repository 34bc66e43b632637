/* `berth list`, `machine list`: gets and prints lists that the reader has. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/spec.h"
#include "core/decide.h"
#include "core/request.h"
#include "lib/base/mem.h"
#include "lib/codec/member.h"
#include "lib/print/pager.h"

/* Rows of a page of the reader. */
#define PAGE_ROWS 1000
/* Items that are held in memory, to sort them or to print them as one object. */
#define ITEMS_MAX 100000

/* A list in progress. */
struct listing {
    const char *collection;  /* "bookings" */
    const char *filter;      /* "&state=up" … */
    const char *left_out;    /* the state of items to leave out; NULL: none */
    const char *sort, *read; /* the column to sort by, and that of the reader's order */
    int64_t limit;
    const struct table_column *columns, *text_columns;
    json_t *items; /* read and not printed */
    int64_t count; /* of items read */
    bool begun;    /* something is printed */
};

static const struct table_column booking_text_columns[] = {
    {"BOOKING", "id", NULL},
    {"STATE", "state", NULL},
    {"WHEN", "when", NULL},
    {"USER", "user", NULL},
    {"CLIENT", "client", NULL},
    {"MACHINES", "allocations", cli_shares_text},
    {0},
};

static char *amount_text(const json_t *memory_gib)
{
    return xasprintf("%" JSON_INTEGER_FORMAT " GiB", json_integer_value(memory_gib));
}

static const struct table_column machine_text_columns[] = {
    {"MACHINE", "name", NULL},  {"STATE", "state", NULL},
    {"GPUS", "gpus", NULL},     {"MEMORY", "memory_gib", amount_text},
    {"LABELS", "labels", NULL}, {0},
};

/* Whether items are printed as they are read. */
static bool streams(const struct cli *cli, const struct listing *listing)
{
    return listing->columns && cli->format != CLI_JSON && strcmp(listing->sort, listing->read) == 0;
}

/* Prints the items and forgets them. */
static void print_items(const struct cli *cli, struct listing *listing)
{
    json_t *item;
    size_t i;
    if (cli->format == CLI_JSON) {
        json_t *object = json_pack("{s:O}", "items", listing->items);
        cli_print_json(object);
        json_decref(object);
    } else if (cli->format == CLI_TSV) {
        if (!listing->begun)
            cli_print_header(cli, listing->columns);
        json_array_foreach(listing->items, i, item) table_print_row(listing->columns, item);
    } else if (json_array_size(listing->items) > 0) {
        pager_begin();
        json_array_foreach(listing->items, i, item)
        {
            char window[CLI_TIME_LEN];
            if (json_object_get(item, "start"))
                json_object_set_new(item, "when", json_string(cli_window_of(cli, item, window)));
        }
        table_print_text(listing->text_columns, listing->items, cli->headers && !listing->begun);
    }
    listing->begun = true;
    json_array_clear(listing->items);
}

/* Reads one page. *after becomes the start of the next page, NULL after the last. */
static int read_page(const struct cli *cli, struct listing *listing, char **after)
{
    json_t *page = NULL, *item;
    size_t i;
    int64_t rows = listing->limit - listing->count;
    bool all = listing->left_out || !streams(cli, listing) || rows > PAGE_ROWS;
    char *from = *after ? cli_escape(*after) : NULL;
    int code = cli_get(cli, &page, NULL, "/v1/%s?limit=%" PRId64 "%s%s%s", listing->collection,
                       all ? PAGE_ROWS : rows, from ? "&after=" : "", from ? from : "",
                       listing->filter);
    free(from);
    free(*after);
    *after = NULL;
    if (code != EXIT_CODE_OK)
        return code;
    json_array_foreach(json_object_get(page, "items"), i, item)
    {
        if (listing->left_out && strcmp(member_shown(item, "state"), listing->left_out) == 0)
            continue;
        json_array_append(listing->items, item);
        listing->count++;
    }
    const char *next = member_text(page, "next");
    *after = next ? xstrdup(next) : NULL;
    json_decref(page);
    return EXIT_CODE_OK;
}

static int read_pages(const struct cli *cli, struct listing *listing)
{
    bool as_read = streams(cli, listing), more;
    char *after = NULL;
    int code;
    listing->items = json_array();
    do {
        code = read_page(cli, listing, &after);
        if (code == EXIT_CODE_OK && as_read) {
            print_items(cli, listing);
        } else if (code == EXIT_CODE_OK && json_array_size(listing->items) > ITEMS_MAX) {
            code = cli_usage(cli,
                             "more than %d %s match, too many to sort: narrow them down (see "
                             "--help), or print them in the reader's order: --sort %s -o tsv",
                             ITEMS_MAX, listing->collection, listing->read);
        }
        more = after && !(as_read && listing->count >= listing->limit);
    } while (code == EXIT_CODE_OK && more);
    free(after);
    return code;
}

int cli_get_all(const struct cli *cli, const char *collection, const char *filter,
                json_t **items_out)
{
    struct listing listing = {.collection = collection, .filter = filter, .limit = INT64_MAX};
    int code = read_pages(cli, &listing);
    if (code == EXIT_CODE_OK)
        *items_out = json_incref(listing.items);
    json_decref(listing.items);
    return code;
}

/* Sorts the items and cuts what is beyond the limit. */
static enum err arrange(struct listing *listing, struct failure *f)
{
    enum err err = ERR_OK;
    if (strcmp(listing->sort, listing->read) != 0)
        err = table_sort(listing->columns, listing->sort, listing->items, f);
    while ((int64_t)json_array_size(listing->items) > listing->limit)
        json_array_remove(listing->items, json_array_size(listing->items) - 1);
    return err;
}

/* Reads and prints the list, in the order of --sort. */
static int print_list(const struct cli *cli, struct listing *listing)
{
    struct failure f;
    const char *sort = cli_value(cli, "sort");
    json_t *none = json_array();
    listing->sort = sort ? sort : listing->sort;
    enum err err = table_sort(listing->columns, listing->sort, none, &f); /* is it a column? */
    json_decref(none);
    if (err != ERR_OK)
        return cli_fail(cli, &f);
    int code = read_pages(cli, listing);
    if (code == EXIT_CODE_OK && !streams(cli, listing)) {
        err = arrange(listing, &f);
        if (err == ERR_OK) {
            print_items(cli, listing);
        } else {
            code = cli_fail(cli, &f);
        }
    }
    if (code == EXIT_CODE_OK && listing->count == 0 && cli->format == CLI_TEXT)
        cli_note(cli, "none%s", cli_has(cli, "all") ? "" : "; --all shows what is over, too");
    json_decref(listing->items);
    return code;
}

int cli_print_series(const struct cli *cli, const char *series)
{
    struct failure f;
    int64_t id;
    json_t *page = NULL;
    if (cli_id_parse("series", series, &id, &f) != ERR_OK)
        return cli_fail(cli, &f);
    int code = cli_get(cli, &page, NULL, "/v1/series/%" PRId64, id);
    if (code == EXIT_CODE_OK) {
        struct listing listing = {.columns = cli_booking_columns,
                                  .text_columns = booking_text_columns,
                                  .items = json_object_get(page, "items")};
        print_items(cli, &listing);
    }
    json_decref(page);
    return code;
}

/* The reader answers a series as a whole, without pages. */
static int list_series(const struct cli *cli)
{
    static const char *const others[] = {"client", "user", "machine", "state", "from",
                                         "to",     "mine", "sort",    "limit"};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        if (cli_has(cli, others[i]))
            return cli_usage(cli, "--series lists a whole series: leave --%s out", others[i]);
    }
    return cli_print_series(cli, cli_value(cli, "series"));
}

/* --client, --user, --mine */
static enum err add_whose(struct cli *cli, struct buf *filter, struct failure *f)
{
    bool mine = cli_has(cli, "mine");
    if (mine && (cli_has(cli, "client") || cli_has(cli, "user"))) {
        return failure_set(f, ERR_USAGE,
                           "--mine says whose bookings: leave --client and --user out");
    }
    cli_add_parameter(filter, "client",
                      mine ? config_string(cli->cfg, "client.name") : cli_value(cli, "client"));
    cli_add_parameter(filter, "user", mine ? cli_user(cli) : cli_value(cli, "user"));
    return ERR_OK;
}

/* --state, --from, --to and --all. Bookings that were cancelled or released are over; without a word
 * on time the others are listed from now on. */
static enum err add_which(const struct cli *cli, struct buf *filter, struct failure *f)
{
    const char *state = cli_value(cli, "state");
    int64_t from_ms, to_ms;
    bool all = cli_has(cli, "all");
    if (cli_from_to(cli, &from_ms, &to_ms, f) != ERR_OK)
        return f->err;
    if (!state && !all)
        state = booking_state_name(BOOKING_BOOKED);
    bool live = state && booking_state_from_name(state) == BOOKING_BOOKED;
    if (from_ms == 0 && live && !all && (to_ms == 0 || to_ms > cli->now_ms))
        from_ms = time_floor_s(cli->now_ms);
    cli_add_parameter(filter, "state", state);
    cli_add_time(filter, "from", from_ms);
    cli_add_time(filter, "to", to_ms);
    return ERR_OK;
}

int cli_list(struct cli *cli)
{
    struct failure f;
    struct buf filter = {0};
    int64_t limit = INT64_MAX;
    const char *limit_text = cli_value(cli, "limit");
    struct cli_range range = {"--limit", 1, INT64_C(1000000000)};
    if (cli_has(cli, "series"))
        return list_series(cli);
    buf_puts(&filter, "");
    enum err err = limit_text ? cli_integer_parse(limit_text, range, &limit, &f) : ERR_OK;
    if (err == ERR_OK)
        err = add_whose(cli, &filter, &f);
    if (err == ERR_OK)
        err = add_which(cli, &filter, &f);
    cli_add_parameter(&filter, "machine", cli_value(cli, "machine"));
    struct listing listing = {.collection = "bookings",
                              .filter = filter.data,
                              .sort = "start",
                              .read = "booking",
                              .limit = limit,
                              .columns = cli_booking_columns,
                              .text_columns = booking_text_columns};
    int code = err == ERR_OK ? print_list(cli, &listing) : cli_fail(cli, &f);
    buf_fini(&filter);
    return code;
}

int cli_machine_list(struct cli *cli)
{
    struct buf filter = {0};
    bool all = cli_has(cli, "all") || cli_has(cli, "state");
    buf_puts(&filter, "");
    cli_add_parameter(&filter, "state", cli_value(cli, "state"));
    cli_add_labels(&filter, cli);
    struct listing listing = {.collection = "machines",
                              .filter = filter.data,
                              .left_out = all ? NULL : machine_state_name(MACHINE_RETIRED),
                              .sort = "machine",
                              .read = "machine",
                              .limit = INT64_MAX,
                              .columns = cli_machine_columns,
                              .text_columns = machine_text_columns};
    int code = print_list(cli, &listing);
    buf_fini(&filter);
    return code;
}
