/* Parses argv and runs the command: options, configuration, signals, the client. */
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/spec.h"
#include "lib/base/cli_time.h"
#include "lib/base/clock.h"
#include "lib/base/mem.h"
#include "lib/base/print.h"
#include "lib/base/standard.h"
#include "lib/base/stop.h"
#include "lib/base/version.h"
#include "lib/config/completion.h"
#include "lib/print/pager.h"

static volatile sig_atomic_t signal_seen;
/* Set before the handler is installed, and closed only at the end. */
static struct berth_client *volatile interruptible;

static void on_signal(int number)
{
    signal_seen = number;
    stop_soon(128 + number);
    if (interruptible)
        berth_interrupt(interruptible);
}

int cli_signal(void)
{
    return signal_seen;
}

static void watch_signals(struct berth_client *client)
{
    struct sigaction action = {.sa_handler = on_signal};
    interruptible = client;
    /* A second signal ends the program at once. */
    action.sa_flags = (int)SA_RESETHAND;
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool cli_has(const struct cli *cli, const char *option)
{
    return options_has(&cli->after, option) || options_has(&cli->before, option);
}

const char *cli_value(const struct cli *cli, const char *option)
{
    const char *value = options_value(&cli->after, option);
    return value ? value : options_value(&cli->before, option);
}

enum err cli_wait_ms(const struct cli *cli, int64_t *ms_out, struct failure *f)
{
    const char *text = cli_value(cli, "wait");
    if (cli_has(cli, "no-wait")) {
        *ms_out = -1;
        return cli_has(cli, "wait")
                   ? failure_set(f, ERR_USAGE, "--wait and --no-wait contradict each other")
                   : ERR_OK;
    }
    *ms_out = config_int(cli->cfg, "client.wait_s") * 1000;
    if (!text)
        return ERR_OK;
    enum err err = cli_time_parse_duration(text, ms_out, f);
    if (err != ERR_OK)
        return failure_wrap(f, "--wait");
    if (*ms_out == 0)
        *ms_out = -1;
    return ERR_OK;
}

enum err cli_moment(const struct cli *cli, const char *option, int64_t *ms_out, struct failure *f)
{
    const char *text = cli_value(cli, option);
    *ms_out = 0;
    if (text && cli_time_parse(text, cli->now_ms, cli->zone, ms_out, f) != ERR_OK)
        return failure_wrap(f, "--%s", option);
    return ERR_OK;
}

/* --to: "mon" is the first one after --from. */
static enum err parse_to(const struct cli *cli, int64_t from_ms, int64_t *to_ms, struct failure *f)
{
    const char *text = cli_value(cli, "to");
    int64_t after_ms = from_ms != 0 ? from_ms + 1 : cli->now_ms;
    *to_ms = 0;
    if (text && cli_time_parse_after(text, cli->now_ms, after_ms, cli->zone, to_ms, f) != ERR_OK)
        return failure_wrap(f, "--to");
    return ERR_OK;
}

enum err cli_from_to(const struct cli *cli, int64_t *from_ms, int64_t *to_ms, struct failure *f)
{
    char text[CLI_TIME_LEN], from[CLI_TIME_LEN];
    if (cli_moment(cli, "from", from_ms, f) != ERR_OK ||
        parse_to(cli, *from_ms, to_ms, f) != ERR_OK)
        return f->err;
    if (*from_ms != 0 && *to_ms != 0 && *to_ms <= *from_ms) {
        return failure_set(f, ERR_USAGE, "--to, %s, is not after --from, %s",
                           cli_time_show(*to_ms, cli->zone, text),
                           cli_time_show(*from_ms, cli->zone, from));
    }
    if (*from_ms != 0 && *to_ms != 0) {
        cli_note(cli, "window: %s", cli_time_window(*from_ms, *to_ms, cli->zone, text));
    } else if (*from_ms != 0) {
        cli_note(cli, "from %s", cli_time_show(*from_ms, cli->zone, text));
    } else if (*to_ms != 0) {
        cli_note(cli, "until %s", cli_time_show(*to_ms, cli->zone, text));
    }
    return ERR_OK;
}

enum err cli_labels(const struct cli *cli, json_t **labels_out, struct failure *f)
{
    json_t *labels = NULL;
    for (size_t i = 0; i < cli->after.given_count; i++) {
        const struct option_given *given = &cli->after.given[i];
        if (strcmp(given->spec->name, "label") != 0)
            continue;
        if (!labels)
            labels = json_object();
        if (cli_label_add(labels, given->value, f) != ERR_OK) {
            json_decref(labels);
            return f->err;
        }
    }
    *labels_out = labels;
    return ERR_OK;
}

static enum err take_format(struct cli *cli, struct failure *f)
{
    static const char *const names[CLI_FORMAT_COUNT] = {"text", "json", "tsv"};
    const char *text = cli_value(cli, "output");
    cli->format = cli->command->format;
    if (!text)
        return ERR_OK;
    for (int i = 0; i < CLI_FORMAT_COUNT; i++) {
        if (strcmp(text, names[i]) == 0) {
            cli->format = (enum cli_format)i;
            cli->json_problems = cli->format == CLI_JSON;
            return ERR_OK;
        }
    }
    return failure_set(f, ERR_USAGE, "--output '%.40s': expected text, json or tsv", text);
}

static enum err take_common(struct cli *cli, struct failure *f)
{
    cli->quiet = cli_has(cli, "quiet");
    cli->verbose = (int)(options_count(&cli->before, "verbose") +
                         options_count(&cli->after, "verbose"));
    cli->headers = !cli_has(cli, "no-headers");
    cli->zone = cli_value(cli, "tz");
    enum err err = take_format(cli, f);
    if (err == ERR_OK && cli->zone)
        return cli_time_check_zone(cli->zone, f);
    return err == ERR_OK ? cli_time_check_environment(f) : err;
}

/* -X NAME=VALUE */
static enum err take_librdkafka(struct cli *cli, const struct options *opts, struct failure *f)
{
    for (size_t i = 0; i < opts->given_count; i++) {
        if (strcmp(opts->given[i].spec->name, "librdkafka") != 0)
            continue;
        const char *text = opts->given[i].value;
        const char *equals = strchr(text, '=');
        if (!equals || equals == text)
            return failure_set(f, ERR_USAGE, "-X '%.60s': expected NAME=VALUE", text);
        char *key = xasprintf("kafka.%.*s", (int)(equals - text), text);
        enum err err = config_set(cli->cfg, key, equals + 1, "-X", f);
        free(key);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

static enum err load_config(struct cli *cli, struct failure *f)
{
    cli->cfg = config_new(PROGRAM_BERTH);
    enum err err = config_load(cli->cfg, cli_value(cli, "config"), cli_value(cli, "profile"), f);
    if (err == ERR_OK)
        err = take_librdkafka(cli, &cli->before, f);
    if (err == ERR_OK)
        err = take_librdkafka(cli, &cli->after, f);
    return err;
}

const char *cli_user(struct cli *cli)
{
    const char *user = cli_value(cli, "user");
    if (!user)
        user = config_string(cli->cfg, "client.user");
    if (!user && !cli->user) {
        const struct passwd *account = getpwuid(geteuid());
        cli->user = account ? xstrdup(account->pw_name)
                            : xasprintf("%lu", (unsigned long)geteuid());
    }
    return user ? user : cli->user;
}

static void on_kafka_log(void *arg, int level, const char *text)
{
    const struct cli *cli = arg;
    if (cli->verbose > 1 || level <= 6)
        print_line(stderr, "berth: kafka: %s", text);
}

struct settings {
    struct berth_setting *items;
    size_t count;
};

/* Both are borrowed. */
static void add_setting(void *arg, const char *name, const char *value)
{
    struct settings *settings = arg;
    settings->items = xrealloc(settings->items, (settings->count + 1) * sizeof(*settings->items));
    settings->items[settings->count++] = (struct berth_setting){name, value};
}

/* Checks that the settings which the command needs are there. */
static enum err check_required(const struct cli *cli, struct failure *f)
{
    static const char *const to_sign[] = {"farm.name", "client.name", "client.key_file"};
    enum err err = ERR_OK;
    for (size_t i = 0; cli->command->sends && err == ERR_OK && i < 3; i++)
        err = config_require(cli->cfg, to_sign[i], f);
    if (err == ERR_OK && !cli_has(cli, "dry-run"))
        err = config_require(cli->cfg, "kafka.bootstrap.servers", f);
    return err;
}

static enum berth_status open_client(struct cli *cli, struct berth_error *error)
{
    static const char *const keys[] = {"farm.name", "farm.topic_prefix", "client.name",
                                       "client.key_file", "client.kid"};
    struct settings settings = {0};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        /* Commands that only follow events need no key. */
        bool skipped = !cli->command->sends && strcmp(keys[i], "client.key_file") == 0;
        if (!skipped)
            add_setting(&settings, keys[i], config_string(cli->cfg, keys[i]));
    }
    add_setting(&settings, "client.user", cli_user(cli));
    config_each_kafka(cli->cfg, add_setting, &settings);
    enum berth_status status = berth_open(settings.items, settings.count, &cli->client, error);
    free(settings.items);
    return status;
}

struct berth_client *cli_client(struct cli *cli, int *code)
{
    struct failure f;
    struct berth_error error;
    if (cli->client)
        return cli->client;
    if (check_required(cli, &f) != ERR_OK) {
        *code = cli_fail(cli, &f);
        return NULL;
    }
    if (open_client(cli, &error) != BERTH_OK) {
        *code = cli_fail_client(cli, &error, NULL);
        return NULL;
    }
    if (cli->verbose > 0)
        berth_set_logger(cli->client, on_kafka_log, cli);
    watch_signals(cli->client);
    return cli->client;
}

/* Whether argv holds `-o json`: for errors before the options are parsed. */
static bool wants_json(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-ojson") == 0 || strcmp(argv[i], "--output=json") == 0)
            return true;
        bool named = strcmp(argv[i], "-o") == 0 || strcmp(argv[i], "--output") == 0;
        if (named && i + 1 < argc && strcmp(argv[i + 1], "json") == 0)
            return true;
    }
    return false;
}

/* Options that need no command. */
static int run_program(struct cli *cli)
{
    struct failure f;
    if (options_has(&cli->before, "version")) {
        print_line(stdout, "%s", "berth " BERTH_VERSION);
        return EXIT_CODE_OK;
    }
    bool print = options_has(&cli->before, "print-config");
    if (!print && !options_has(&cli->before, "check-config")) {
        cli_print_help(stderr);
        return EXIT_CODE_USAGE;
    }
    if (load_config(cli, &f) != ERR_OK || (!print && config_check(cli->cfg, &f) != ERR_OK))
        return cli_fail(cli, &f);
    if (print)
        config_print(cli->cfg, stdout);
    return EXIT_CODE_OK;
}

/* `words` are the command's name, its options and operands. */
static int run_command(struct cli *cli, const char *const *words, size_t count)
{
    struct failure f;
    size_t used = 0;
    bool help = strcmp(words[0], "help") == 0;
    if (help && count == 1) {
        cli_print_help(stdout);
        return EXIT_CODE_OK;
    }
    if (help) {
        words++;
        count--;
    }
    cli->command = cli_command_find(words, count, &used, &f);
    if (!cli->command)
        return cli_fail(cli, &f);
    /* options_parse skips argv[0]: here the last word of the command's name. */
    int argc = (int)(count - used) + 1;
    char *const *argv = (char *const *)(words + used - 1);
    if (options_parse(&cli->command->spec, argc, argv, &cli->after, &f) != ERR_OK)
        return cli_fail(cli, &f);
    if (help || cli->after.help) {
        options_help(&cli->command->spec, stdout);
        return EXIT_CODE_OK;
    }
    if (take_common(cli, &f) != ERR_OK || load_config(cli, &f) != ERR_OK)
        return cli_fail(cli, &f);
    return cli->command->run(cli);
}

/* stdout is data, so a failed write must not end with exit code 0. */
static int close_output(int code)
{
    struct failure f;
    pager_end();
    if (standard_flush(&f) == ERR_OK)
        return code;
    print_line(stderr, "berth: %s", f.text);
    return code == EXIT_CODE_OK ? EXIT_CODE_FAILURE : code;
}

int cli_main(int argc, char **argv)
{
    standard_open();
    standard_hide_memory();
    struct cli cli = {.now_ms = clock_wall_ms(), .headers = true};
    struct failure f;
    int code;
    if (argc > 1 && strcmp(argv[1], COMPLETION_COMMAND) == 0)
        return close_output(cli_complete((const char *const *)argv + 2, (size_t)argc - 2));
    cli.json_problems = wants_json(argc, argv);
    if (options_parse(&cli_program, argc, argv, &cli.before, &f) != ERR_OK) {
        code = cli_fail(&cli, &f);
    } else if (cli.before.help) {
        cli_print_help(stdout);
        code = EXIT_CODE_OK;
    } else if (cli.before.operand_count == 0) {
        code = run_program(&cli);
    } else {
        code = run_command(&cli, cli.before.operands, cli.before.operand_count);
    }
    code = close_output(code);
    interruptible = NULL;
    berth_close(cli.client);
    config_free(cli.cfg);
    options_fini(&cli.before);
    options_fini(&cli.after);
    free(cli.user);
    return code;
}
