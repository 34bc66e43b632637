/* Suggested commands, quoted for a shell. */
#include <string.h>

#include "cli/cli.h"
#include "lib/base/cli_time.h"
#include "lib/base/mem.h"
#include "lib/base/timetext.h"

/* Options that are not copied: the window, and what belongs to one request only. */
static bool is_replaced(const char *option)
{
    static const char *const names[] = {"start",  "end",     "for",       "move",
                                        "extend", "shorten", "request-id"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(option, names[i]) == 0)
            return true;
    }
    return false;
}

/* A word as sh(1) takes it. */
static void add_word(struct buf *out, const char *before, const char *word)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                "%+,-./:=@_";
    buf_puts(out, before);
    if (*word && word[strspn(word, plain)] == '\0') {
        buf_puts(out, word);
        return;
    }
    buf_puts(out, "'");
    for (; *word; word++) {
        if (*word == '\'') {
            buf_puts(out, "'\\''");
        } else {
            buf_append(out, word, 1);
        }
    }
    buf_puts(out, "'");
}

static void add_option(struct buf *out, const struct option_given *given)
{
    buf_printf(out, " --%s", given->spec->name);
    if (given->value)
        add_word(out, given->spec->arg[0] == '[' ? "=" : " ", given->value);
}

static void add_options(struct buf *out, const struct options *opts)
{
    for (size_t i = 0; i < opts->given_count; i++) {
        if (!is_replaced(opts->given[i].spec->name))
            add_option(out, &opts->given[i]);
    }
}

/* Copies the given options that have one of these names. */
static void add_some(struct buf *out, const struct options *opts, const char *const *names,
                     size_t count)
{
    for (size_t i = 0; i < opts->given_count; i++) {
        for (size_t k = 0; k < count; k++) {
            if (strcmp(opts->given[i].spec->name, names[k]) == 0)
                add_option(out, &opts->given[i]);
        }
    }
}

static void add_window(struct buf *out, const struct cli *cli, int64_t start_ms, int64_t length_ms)
{
    char start[CLI_TIME_LEN], length[TIMETEXT_LEN];
    buf_printf(out, " --start %s --for %s", cli_time_exact(start_ms, cli->zone, start),
               timetext_duration(length_ms, length));
}

char *cli_command_at(const struct cli *cli, int64_t start_ms, int64_t length_ms)
{
    struct buf out = {0};
    buf_puts(&out, "berth");
    add_options(&out, &cli->before);
    buf_printf(&out, " %s", cli->command->spec.name + strlen("berth "));
    for (size_t i = 0; i < cli->after.operand_count; i++)
        add_word(&out, " ", cli->after.operands[i]);
    add_options(&out, &cli->after);
    add_window(&out, cli, start_ms, length_ms);
    return out.data;
}

char *cli_command_book(const struct cli *cli, const char *share, int64_t start_ms,
                       int64_t length_ms)
{
    static const char *const settings[] = {"config", "profile", "librdkafka", "tz"};
    static const char *const wishes[] = {"any", "gpus", "mem", "label"};
    struct buf out = {0};
    buf_puts(&out, "berth");
    add_some(&out, &cli->before, settings, 4);
    add_some(&out, &cli->after, settings, 4);
    buf_puts(&out, " book");
    if (share) {
        add_word(&out, " ", share);
    } else if (!cli_has(cli, "any")) {
        buf_puts(&out, " --any 1");
    }
    if (!share)
        add_some(&out, &cli->after, wishes, 4);
    add_window(&out, cli, start_ms, length_ms);
    return out.data;
}
