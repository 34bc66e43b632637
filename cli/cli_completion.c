/* `berth completion`, what it completes, and `berth config`. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "core/decide.h"
#include "core/request.h"
#include "lib/base/clock.h"
#include "lib/base/mem.h"
#include "lib/base/timetext.h"
#include "lib/base/zone.h"
#include "lib/codec/member.h"
#include "lib/config/completion.h"

/* Bookings that are offered. */
#define BOOKINGS_MAX 200

static const struct command_spec *command_at(size_t index)
{
    return index < cli_command_count ? &cli_commands[index].spec : NULL;
}

static const char *summary_of(size_t index)
{
    return cli_commands[index].summary;
}

static bool offer_zone(void *arg, const char *name)
{
    completion_offer(arg, name, NULL);
    return true;
}

static void offer_profile(void *arg, const char *name)
{
    completion_offer(arg, name, "profile");
}

/* What `berth completion` asks the reader with; without an answer within two seconds there is nothing
 * to offer. */
static bool open_reader(const struct completion *completion, struct cli *cli)
{
    struct failure f;
    *cli = (struct cli){.cfg = config_new(PROGRAM_BERTH), .hurries = true, .silent = true};
    return config_load(cli->cfg, completion_value(completion, "config"),
                       completion_value(completion, "profile"), &f) == ERR_OK;
}

/* Offers the member of each item; `also` are members that describe it. */
static void offer_items(struct completion *completion, const char *path, const char *name,
                        const char *const also[2])
{
    struct cli cli;
    json_t *page = NULL, *item;
    size_t i;
    if (open_reader(completion, &cli) && cli_get(&cli, &page, NULL, "%s", path) == EXIT_CODE_OK) {
        json_array_foreach(json_object_get(page, "items"), i, item)
        {
            const json_t *value = json_object_get(item, name);
            char *word = json_is_integer(value)
                             ? xasprintf("%" JSON_INTEGER_FORMAT, json_integer_value(value))
                             : xstrdup(member_shown(item, name));
            char *text = xasprintf("%s %s", member_shown(item, also[0]),
                                   member_shown(item, also[1]));
            completion_offer(completion, word, text);
            free(word);
            free(text);
        }
    }
    json_decref(page);
    config_free(cli.cfg);
}

static void offer_words(struct completion *completion, const char *const *words)
{
    for (; *words; words++)
        completion_offer(completion, *words, NULL);
}

static void offer_values(struct completion *completion, const char *kind)
{
#define TYPE_NAME(id, name) name,
    static const char *const types[] = {"accepted", "rejected", REQUEST_TYPE_TABLE(TYPE_NAME) NULL};
#undef TYPE_NAME
    static const char *const times[] = {"now", "today", "tomorrow", NULL};
    static const char *const places[] = {"beginning", "end", NULL};
    static const char *const machine[] = {"state", ""}, *const booking[] = {"start", "user"},
                             *const client[] = {"role", ""};
    if (strcmp(kind, "MACHINE") == 0) {
        offer_items(completion, "/v1/machines?limit=1000", "name", machine);
    } else if (strcmp(kind, "BOOKING") == 0) {
        char path[100], from[TIMETEXT_LEN];
        snprintf(path, sizeof(path), "/v1/bookings?state=booked&limit=%d&from=%s", BOOKINGS_MAX,
                 timetext_format(time_floor_s(clock_wall_ms()), from));
        offer_items(completion, path, "id", booking);
    } else if (strcmp(kind, "CLIENT") == 0) {
        offer_items(completion, "/v1/clients?limit=1000", "client", client);
    } else if (strcmp(kind, "ZONE") == 0) {
        zone_each(offer_zone, completion);
    } else if (strcmp(kind, "PROFILE") == 0) {
        config_each_profile(completion_value(completion, "config"), offer_profile, completion);
    } else if (strcmp(kind, "TIME") == 0) {
        offer_words(completion, times);
    } else if (strcmp(kind, "WHERE") == 0) {
        offer_words(completion, places);
    } else if (strcmp(kind, "TYPE") == 0) {
        offer_words(completion, types);
    }
}

static const struct completion_program program = {.name = "berth",
                                                  .outer = &cli_program,
                                                  .command = command_at,
                                                  .summary = summary_of,
                                                  .values = offer_values};

int cli_complete(const char *const *words, size_t count)
{
    completion_print(&program, words, count);
    return EXIT_CODE_OK;
}

int cli_completion(struct cli *cli)
{
    struct failure f;
    const char *shell = cli->after.operand_count == 1 ? cli->after.operands[0] : "";
    return completion_print_script(program.name, shell, &f) == ERR_OK ? EXIT_CODE_OK
                                                                      : cli_fail(cli, &f);
}

int cli_config(struct cli *cli)
{
    config_print(cli->cfg, stdout);
    return EXIT_CODE_OK;
}
