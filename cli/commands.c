/* The table of commands: operands, options, help and function of each. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "lib/base/mem.h"
#include "lib/base/nearest.h"
#include "lib/config/completion.h"

static const struct option_spec common_options[] = {
    {"output", 'o', "text|json|tsv", "how to print; default of most commands: text"},
    {"no-headers", 0, NULL, "no line of headings in tsv and lists"},
    {"tz", 0, "ZONE", "time zone for times typed and shown, as Europe/Paris; default: TZ"},
    {"quiet", 'q', NULL, "no messages and no progress on stderr"},
    {"verbose", 'v', NULL, "log what the Kafka connection does; twice: in detail"},
    {"librdkafka", 'X', "NAME=VALUE", "set librdkafka's setting NAME, as the key kafka.NAME does"},
    {"config", 0, "FILE", "configuration file"},
    {"profile", 0, "PROFILE", "use the keys under profile.NAME of the configuration"},
    {0},
};

#define SEND_OPTIONS                                                                               \
    {"user", 0, "NAME",                                                                            \
     "the user that the request is for; default: client.user, or your account"},                   \
        {"request-id", 0, "ID",                                                                    \
         "the request's id; an id that was sent before gets the earlier decision again, which "    \
         "the reader "                                                                             \
         "is asked for first, because times such as +2h mean another time by now"},                \
        {"wait", 0, "[=DURATION]", "how long to wait for the decision; default 30s"},              \
        {"no-wait", 0, NULL, "do not wait for the decision"},                                      \
        {"dry-run", 0, NULL, "print the claims, the target and the signed token; send nothing"},   \
        {"no-check", 0, NULL, "send the request even if it violates the schema"},                  \
    {                                                                                              \
        0                                                                                          \
    }

static const struct option_spec book_options[] = {
    {"start", 's', "TIME", "when it begins; default: now"},
    {"end", 'e', "TIME", "when it ends"},
    {"for", 'f', "DURATION", "how long it lasts, instead of --end"},
    {"any", 0, "N", "let the farm choose N machines, 1..64"},
    {"gpus", 0, "N", "with --any: GPUs of each machine"},
    {"mem", 0, "GIB", "with --any: memory of each machine, in GiB"},
    {"label", 'l', "KEY=VALUE", "with --any: only machines with this label; may be repeated"},
    {"empty", 0, NULL, "book no machines yet; `berth amend` adds them later"},
    {"repeat", 0, "day|week", "repeat the booking each day or week"},
    {"count", 0, "N", "with --repeat: the number of occurrences, 1..366"},
    {"zone", 0, "ZONE",
     "with --repeat: the time zone in which the start keeps its local time; default: --tz or TZ. "
     "Also the zone of times typed and shown, unless --tz is given"},
    {"skip-conflicts", 0, NULL, "with --repeat: leave out the occurrences that do not fit"},
    SEND_OPTIONS,
};
static const struct option_spec amend_options[] = {
    {"start", 's', "TIME",
     "the new start; the end stays. A booking that has begun keeps its start"},
    {"end", 'e', "TIME", "the new end"},
    {"for", 'f', "DURATION", "the new length from the start, instead of --end"},
    {"move", 0, "TIME", "the new start; the length stays"},
    {"extend", 0, "DURATION", "move the end later by DURATION"},
    {"shorten", 0, "DURATION", "move the end earlier by DURATION"},
    {"set", 0, "MACHINE[:GPUS[:GIB]]",
     "add this machine, or change its amounts; the other machines stay; may be repeated"},
    {"drop", 0, "MACHINE", "release this machine; the other machines stay; may be repeated"},
    {"empty", 0, NULL, "release all machines"},
    SEND_OPTIONS,
};
static const struct option_spec cancel_options[] = {
    {"series", 0, "ID", "cancel all bookings of this series that have not ended"},
    SEND_OPTIONS,
};
static const struct option_spec send_options[] = {SEND_OPTIONS};
static const struct option_spec machine_add_options[] = {
    {"gpus", 0, "N", "its GPUs"},
    {"mem", 0, "GIB", "its memory in GiB"},
    {"label", 'l', "KEY=VALUE", "a label; may be repeated"},
    {"id", 0, "N", "its id, 1..4095; default: the farm chooses one"},
    SEND_OPTIONS,
};
static const struct option_spec machine_update_options[] = {
    {"gpus", 0, "N", "its GPUs"},
    {"mem", 0, "GIB", "its memory in GiB"},
    {"label", 'l', "KEY=VALUE",
     "a label; the labels given replace all labels of the machine; may be repeated"},
    {"no-labels", 0, NULL, "remove all labels"},
    {"state", 0, "up|draining|retired", "its state"},
    {"displace", 0, NULL, "cancel bookings that no longer fit, the newest first"},
    SEND_OPTIONS,
};
static const struct option_spec machine_retire_options[] = {
    {"displace", 0, NULL, "cancel the machine's bookings; otherwise they prevent its retirement"},
    SEND_OPTIONS,
};
static const struct option_spec machine_list_options[] = {
    {"state", 0, "up|draining|retired", "only machines in this state"},
    {"label", 'l', "KEY=VALUE", "only machines with this label; may be repeated"},
    {"all", 'a', NULL, "retired machines, too"},
    {"sort", 0, "COLUMN", "sort by this column of tsv, -COLUMN in reverse; default: machine"},
    {0},
};
static const struct option_spec machine_show_options[] = {
    {"from", 0, "TIME", "where the timeline begins; default: now"},
    {"to", 0, "TIME", "where the timeline ends; default: after a week"},
    {"timeline", 0, NULL, "with -o json or tsv: print the timeline instead of the machine"},
    {0},
};
static const struct option_spec free_options[] = {
    {"for", 'f', "DURATION", "how long the machines are needed"},
    {"gpus", 0, "N", "GPUs of each machine"},
    {"mem", 0, "GIB", "memory of each machine, in GiB"},
    {"any", 0, "N", "the number of machines needed at once, 1..64; default: 1"},
    {"label", 'l', "KEY=VALUE", "only machines with this label; may be repeated"},
    {"machine", 'm', "MACHINE", "look at this machine only"},
    {"from", 0, "TIME", "the earliest start; default: now"},
    {"horizon", 0, "DURATION", "how far ahead to look; default: 30d"},
    {"limit", 'n', "N", "the most windows to print, 1..1000; default: 10"},
    {0},
};
static const struct option_spec list_options[] = {
    {"mine", 0, NULL, "only bookings of client.name for client.user, or your account"},
    {"client", 0, "CLIENT", "only bookings of this client"},
    {"user", 0, "NAME", "only bookings for this user"},
    {"machine", 'm', "MACHINE", "only bookings that use this machine"},
    {"state", 0, "booked|cancelled|released",
     "only bookings in this state; default: booked. The others are listed whenever they were"},
    {"from", 0, "TIME", "only bookings that end after TIME; of those in state booked default: now"},
    {"to", 0, "TIME", "only bookings that begin before TIME"},
    {"all", 'a', NULL, "bookings in any state and of any time"},
    {"series", 0, "ID", "all bookings of this series, and no others"},
    {"sort", 0, "COLUMN",
     "sort by this column of tsv, -COLUMN in reverse; default: start. `booking` prints them as "
     "they "
     "are read"},
    {"limit", 'n', "N", "the most bookings to print"},
    {0},
};
static const struct option_spec show_options[] = {
    {"series", 0, "ID", "the bookings of this series"},
    {"request", 0, "ID", "the decision on the request of client.name with this id"},
    {0},
};
static const struct option_spec why_options[] = {
    {"client", 0, "CLIENT", "the client that sent the request; default: client.name"},
    {0},
};
static const struct option_spec submit_options[] = {
    {"user", 0, "NAME",
     "the user that the requests are for; default: client.user, or your account"},
    {"wait", 0, "[=DURATION]", "how long to wait for each decision; default 30s"},
    {"no-wait", 0, NULL, "do not wait for decisions"},
    {"in-flight", 0, "N", "the most requests sent and not yet decided; default 10000"},
    {"resume", 0, "FILE",
     "keep in FILE what became of each line; if it exists, skip what is decided, and send again "
     "what is not known, under its request id"},
    {"line-buffered", 0, NULL, "write each outcome at once, even when many arrive together"},
    {"dry-run", 0, NULL, "print what would be sent; send nothing"},
    {"no-check", 0, NULL, "send requests even if they violate the schema"},
    {0},
};
static const struct option_spec watch_options[] = {
    {"from", 0, "WHERE",
     "beginning, end (default), or PARTITION:SEQ,... of the last events seen (P-SEQ is fine too)"},
    {"type", 0, "TYPE",
     "only these events: accepted, rejected, or a type of request such as booking.create"},
    {"machine", 'm', "MACHINE",
     "only events about this machine, and those by which a booking takes or leaves it"},
    {"client", 0, "CLIENT", "only events of this client's requests and about its bookings"},
    {"count", 'n', "N", "end after N events"},
    {"for", 'f', "DURATION", "end after DURATION"},
    {0},
};
static const struct option_spec key_generate_options[] = {
    {"alg", 0, "ES256|RS256", "the kind of key; default: ES256"},
    {"out", 0, "FILE", "the file for the private key; must not exist"},
    {"public-out", 0, "FILE", "the file for the public key; default: FILE.pub"},
    {"jwk", 0, NULL, "write both keys as JWK; default: PEM"},
    {0},
};
static const struct option_spec key_show_options[] = {
    {"jwk", 0, NULL, "the public key as JWK; default: PEM"},
    {0},
};
static const struct option_spec verify_options[] = {
    {"key", 0, "FILE", "public key, PEM or JWK; default: that of client.key_file"},
    {0},
};

#define SPEC(a, b, c, d, e)                                                                        \
    {                                                                                              \
        .name = "berth " a, .operands = b, .options = c, .description = d, .example = e,           \
        .common = common_options                                                                   \
    }

const struct cli_command cli_commands[] = {
    {SPEC("book", "[MACHINE[:GPUS[:GIB]]]...", book_options,
          "Books machines for a window of time, all of them or none. MACHINE alone books\n"
          "the whole machine, whose size the reader tells; MACHINE:4 books 4 GPUs and no\n"
          "memory, MACHINE:4:64 books 4 GPUs and 64 GiB.\n"
          "\n"
          "With --any N the farm chooses N machines that are up, carry all of the labels\n"
          "and have that much free for the whole window. --gpus and --mem are of each\n"
          "machine, as Slurm's --gpus-per-node and --mem, but memory is in GiB. With\n"
          "neither, each is a whole machine: then all that carry the labels must be alike.\n"
          "\n"
          "With --repeat it recurs, as Slurm's reservations with the flag DAILY or WEEKLY,\n"
          "but a given number of times, and all are booked at once: all or none, or with\n"
          "--skip-conflicts those that fit. The start, and an --end, keep their local time\n"
          "over daylight-saving changes; with --for each lasts exactly that long. Each\n"
          "occurrence is a booking of its own; `berth cancel --series` ends them together.",
          "berth book gpu-01:4:64 gpu-02:8 --start 'tomorrow 03:00' --for 2h\n"
          "berth book --any 4 --gpus 8 --label gpu=a100 --start 'sat 20:00' --for 12h\n"
          "berth book gpu-01 --start 'mon 09:00' --for 3h --repeat week --count 12 \\\n"
          "    --zone Europe/Paris --skip-conflicts"),
     "book machines for a window", CLI_TEXT, true, cli_book},
    {SPEC("amend", "BOOKING [MACHINE[:GPUS[:GIB]]]...", amend_options,
          "Changes a booking, completely or not at all. Operands MACHINE replace all its\n"
          "machines; --set and --drop change one machine and keep the others. If the\n"
          "booking has begun, only the part from now on changes.\n"
          "\n"
          "--for (without --start), --move, --extend, --shorten, --set and --drop ask the\n"
          "reader for the rest of the booking, because a request states the new end and\n"
          "all machines.",
          "berth amend 4268035 --extend 1h\n"
          "berth amend 4268035 --move 'tomorrow 15:00'\n"
          "berth amend 4268035 --set gpu-02:8 --drop gpu-01\n"
          "berth amend 4268035 --end +3h gpu-01:8:64"),
     "change a booking", CLI_TEXT, true, cli_amend},
    {SPEC("cancel", "[BOOKING]...", cancel_options,
          "Cancels bookings; if a booking has begun, its machines are released from now\n"
          "on. --series cancels all bookings of a series that have not ended. BOOKING is a\n"
          "single booking, even if it belongs to a series.\n"
          "\n"
          "Several bookings are cancelled one after the other, each with its own outcome;\n"
          "the exit status is the worst: 1, 2, 4, 3, 5, 0. After 1 or 2 the rest is not\n"
          "sent.",
          "berth cancel 4268035 4272131\n"
          "berth cancel --series 4268035"),
     "cancel or release bookings", CLI_TEXT, true, cli_cancel},
    {SPEC("show", "[BOOKING|MACHINE]", show_options,
          "Shows a booking, a series, a machine or the decision of a request, as the\n"
          "reader knows it. A number is a booking's id; booking/ID and machine/NAME are\n"
          "never ambiguous.",
          "berth show 4268035\n"
          "berth show --series 4268035"),
     "show a booking, a machine or a decision", CLI_TEXT, false, cli_show},
    {SPEC("list", NULL, list_options,
          "Lists the bookings that are not over, by their start, as the reader knows them.",
          "berth list --mine\n"
          "berth list --machine gpu-01 --all --sort -start --limit 10\n"
          "berth list --user alice --from today --to 'tomorrow 12:00'"),
     "list bookings", CLI_TEXT, false, cli_list},
    {SPEC("free", NULL, free_options,
          "Tells when something is free: the earliest windows, each after the one before,\n"
          "and for the first one the command that books it. The worker's own rules answer,\n"
          "so it is accepted unless another request comes first.\n"
          "\n"
          "--gpus and --mem are of each machine; with neither it is a whole machine: then\n"
          "all that carry the labels must be alike. Ends with 5 when nothing is free.",
          "berth free --gpus 4 --mem 64 --for 2h\n"
          "berth free --any 4 --gpus 8 --label gpu=a100 --for 12h --from 'sat 00:00'\n"
          "berth free --machine gpu-01 --for 3h --horizon 1w"),
     "tell when something is free", CLI_TEXT, false, cli_free},
    {SPEC("why", "REQUEST-ID|BOOKING", why_options,
          "Tells how a request was decided, and why it was rejected. Ends as the decision\n"
          "says: 0 accepted, 3 rejected, 5 not decided.\n"
          "\n"
          "For a booking, which is a number, prints one line for each decision that made\n"
          "or changed the booking, and for each rejected request to change it. booking/ID\n"
          "and request/ID are never ambiguous.",
          "berth why 0192f3a0-7c1e-7000-8000-6d1f2b3c4d5e\n"
          "berth why 4268035"),
     "tell how a request was decided, or what became of a booking", CLI_TEXT, false, cli_why},
    {SPEC("submit", "[FILE]", submit_options,
          "Sends many requests at full speed: each line of FILE, or of standard input, is\n"
          "one `request` object, or has it as a member beside `request_id` and `user`:\n"
          "{\"request_id\": \"job-17\", \"user\": \"alice\", \"request\": {...}}. Each outcome is\n"
          "one JSON line with the number of its input line, printed when it is known, also\n"
          "while the input goes on. Every line that is not blank gets an outcome: accepted,\n"
          "rejected, published (--no-wait), unknown, invalid (no request), or failed (not\n"
          "sent). When the brokers do not answer, lines fail at once, and those that come\n"
          "10 s later are tried again. Ends with 0 when all were accepted; else with the\n"
          "first that applies of 1 some could not be sent, 2 some lines are no requests, 4\n"
          "some outcomes are not known, 3 some were rejected.\n"
          "\n"
          "With --resume FILE the same command can be repeated after any end, even after a\n"
          "kill -9, until it ends with 0 or 3: no line is sent twice as a new request. FILE\n"
          "may also be what an earlier run without --resume printed; then only lines whose\n"
          "outcome it has are known.",
          "echo '{\"type\": \"booking.cancel\", \"booking\": 4268035}' | berth submit\n"
          "berth submit --resume jobs.journal jobs.jsonl"),
     "send requests from a file of JSON lines", CLI_JSON, true, cli_submit},
    {SPEC("watch", NULL, watch_options,
          "Follows the farm's events: each once, in the order of its partition, one JSON\n"
          "line each. A gap in the sequences is told on stderr and makes the exit status\n"
          "6.",
          "berth watch --from beginning --type rejected --count 10"),
     "follow the farm's events", CLI_JSON, false, cli_watch},
    {SPEC("machine add", "NAME", machine_add_options, "Registers a machine.",
          "berth machine add gpu-01 --gpus 8 --mem 512 --label zone=a"),
     "register a machine", CLI_TEXT, true, cli_machine_add},
    {SPEC("machine update", "MACHINE", machine_update_options,
          "Changes a machine. If a booking no longer fits, the change is rejected, or with\n"
          "--displace the booking is cancelled.",
          "berth machine update gpu-01 --gpus 4 --displace"),
     "change a machine", CLI_TEXT, true, cli_machine_update},
    {SPEC("machine drain", "MACHINE", send_options,
          "Takes no new bookings on a machine; its present bookings stay.\n"
          "`retire --displace` cancels them.",
          "berth machine drain gpu-01"),
     "take no new bookings on a machine", CLI_TEXT, true, cli_machine_drain},
    {SPEC("machine resume", "MACHINE", send_options, "Takes bookings on a machine again.",
          "berth machine resume gpu-01"),
     "take bookings on a machine again", CLI_TEXT, true, cli_machine_resume},
    {SPEC("machine undrain", "MACHINE", send_options, "The same as `berth machine resume`.",
          "berth machine undrain gpu-01"),
     "the same as resume", CLI_TEXT, true, cli_machine_resume},
    {SPEC("machine retire", "MACHINE", machine_retire_options,
          "Takes a machine out of the farm. Rejected while the machine has bookings that\n"
          "have not ended, unless --displace cancels them. `resume` brings the machine\n"
          "back.",
          "berth machine retire gpu-01 --displace"),
     "retire a machine", CLI_TEXT, true, cli_machine_retire},
    {SPEC("machine list", NULL, machine_list_options, "Lists the machines that are not retired.",
          "berth machine list --label gpu=a100 -o tsv"),
     "list machines", CLI_TEXT, false, cli_machine_list},
    {SPEC("machine show", "MACHINE", machine_show_options,
          "Shows one machine, and for a window of time what of it is free and who holds\n"
          "the rest. With -o json or tsv it is the machine, or with --timeline, --from or\n"
          "--to the timeline.",
          "berth machine show gpu-01 --from 'tomorrow 08:00' --to 'tomorrow 18:00'"),
     "show a machine and its timeline", CLI_TEXT, false, cli_machine_show},
    {SPEC("key generate", NULL, key_generate_options,
          "Makes a key pair. The private key's file can be read by you alone (mode 0600),\n"
          "and no file is ever overwritten. The public key is for `berth-admin key add`.",
          "berth key generate --out batch-1.pem"),
     "make a key pair", CLI_TEXT, false, cli_key_generate},
    {SPEC("key show", "[FILE]", key_show_options,
          "Prints the public half of a key file, default client.key_file, and on stderr\n"
          "its name.",
          "berth key show batch-1.pem"),
     "print a key's public half", CLI_TEXT, false, cli_key_show},
    {SPEC("verify", "TOKEN|-", verify_options,
          "Shows a signed request and checks its signature, claims and times. `-` reads\n"
          "the request from standard input. Exit status 0: valid; 6: not valid.",
          "berth book gpu-01:1 --for 1h --dry-run -o json | jq -r .token | berth verify -"),
     "check a signed request", CLI_TEXT, false, cli_verify},
    {SPEC("config", NULL, NULL, "Prints all settings and where each comes from.",
          "berth config --profile lab"),
     "print the configuration", CLI_TEXT, false, cli_config},
    {SPEC("completion", COMPLETION_SHELLS, NULL,
          "Prints the completion script for a shell. It completes commands, options,\n"
          "machines, bookings, clients, profiles and time zones. `make install` installs\n"
          "the scripts.",
          "berth completion bash > ~/.local/share/bash-completion/completions/berth\n"
          "berth completion zsh > ~/.zfunc/_berth    # a folder on fpath, before compinit\n"
          "berth completion fish > ~/.config/fish/completions/berth.fish"),
     "print a shell's completion script", CLI_TEXT, false, cli_completion},
};
const size_t cli_command_count = sizeof(cli_commands) / sizeof(cli_commands[0]);

static const struct option_spec program_options[] = {
    {"version", 0, NULL, "print the version and exit"},
    {"print-config", 0, NULL, "print all settings and where each comes from, and exit"},
    {"check-config", 0, NULL, "check the configuration and exit"},
    {0},
};
const struct command_spec cli_program = {
    .name = "berth",
    .operands = "COMMAND",
    .description = "Books machines of a compute farm: signs requests, sends them and tells the "
                   "decisions.",
    .options = program_options,
    .common = common_options,
    .stop_at_operand = true,
};

static const char *cli_words(const struct cli_command *command)
{
    return command->spec.name + strlen("berth ");
}

/* Whether the command is a word of this noun, as "machine add" is of "machine". */
static bool is_under(const struct cli_command *command, const char *noun)
{
    size_t len = strlen(noun);
    const char *words = cli_words(command);
    return strncmp(words, noun, len) == 0 && words[len] == ' ';
}

/* The nearest command to the one or two words; *list: the commands under the noun, if there is
 * one. NULL: none is near. */
static const char *nearest_command(const char *both, const char *first, const char *noun,
                                   struct buf *list)
{
    struct nearest two, one;
    nearest_init(&two, both);
    nearest_init(&one, first);
    for (size_t i = 0; i < cli_command_count; i++) {
        const char *words = cli_words(&cli_commands[i]);
        bool under = noun && is_under(&cli_commands[i], noun);
        if (strchr(words, ' ') && (!noun || under))
            nearest_offer_as(&two, words, words);
        char *first_word = xstrndup(words, strcspn(words, " "));
        nearest_offer_as(&one, first_word, words);
        free(first_word);
        if (under)
            buf_printf(list, "%s%s", list->len > 0 ? ", " : "", words);
    }
    if (nearest_result(&two) && (noun || two.distance <= one.distance))
        return nearest_result(&two);
    return noun ? NULL : nearest_result(&one);
}

static const struct cli_command *unknown(const char *both, const char *first, bool is_noun,
                                         struct failure *f)
{
    struct buf list = {0};
    const char *noun = is_noun ? first : NULL;
    const char *meant = nearest_command(both, first, noun, &list);
    if (noun && strcmp(both, noun) == 0) {
        failure_set(f, ERR_USAGE, "`berth %s` needs one word more: %s", noun, list.data);
    } else if (meant) {
        /* A word alone is compared with the first words of commands. */
        int len = (int)(strchr(both, ' ') ? strlen(meant) : strcspn(meant, " "));
        failure_set(f, ERR_USAGE, "unknown command '%.60s': did you mean '%.*s'?",
                    strchr(meant, ' ') ? both : first, len, meant);
    } else {
        failure_set(f, ERR_USAGE, "unknown command '%.60s' (see `berth --help`)",
                    noun ? both : first);
    }
    buf_fini(&list);
    return NULL;
}

const struct cli_command *cli_command_find(const char *const *words, size_t count, size_t *used,
                                           struct failure *f)
{
    bool is_noun = false;
    char both[100];
    snprintf(both, sizeof(both), "%.40s%s%.40s", words[0], count > 1 ? " " : "",
             count > 1 ? words[1] : "");
    for (size_t i = 0; i < cli_command_count; i++) {
        bool one = strcmp(cli_words(&cli_commands[i]), words[0]) == 0;
        if (one || strcmp(cli_words(&cli_commands[i]), both) == 0) {
            *used = one ? 1 : 2;
            return &cli_commands[i];
        }
        is_noun = is_noun || is_under(&cli_commands[i], words[0]);
    }
    return unknown(both, words[0], is_noun, f);
}

void cli_print_help(FILE *out)
{
    options_help(&cli_program, out);
    fputs("\nCommands:\n", out);
    for (size_t i = 0; i < cli_command_count; i++)
        fprintf(out, "  %-16s %s\n", cli_words(&cli_commands[i]), cli_commands[i].summary);
    fputs("\n`berth COMMAND --help` has an example for each.\n", out);
}

static void print_option_rows(FILE *out, const struct option_spec *spec)
{
    for (; spec && spec->name; spec++) {
        bool optional = spec->arg && spec->arg[0] == '[';
        fprintf(out, "| `");
        if (spec->letter)
            fprintf(out, "-%c`, `", spec->letter);
        fprintf(out, "--%s%s", spec->name, spec->arg && !optional ? " " : "");
        for (const char *c = spec->arg ? spec->arg : ""; *c; c++)
            fprintf(out, "%s%c", *c == '|' ? "\\" : "", *c);
        fprintf(out, "` | %s |\n", spec->help);
    }
}

static void print_output(FILE *out)
{
    fputs("\n## Output\n\n"
          "`text` is for people and may change. On a terminal, lists go through the command in "
          "`PAGER`, if it is set.\n"
          "`json` is one object on one line, with the names of events and of the reader: a list is "
          "`{\"items\": [...]}`.\n"
          "`watch` and `submit` print one such line for each event or outcome. What is rejected or "
          "fails is a problem\nobject.\n"
          "`tsv` has a line of names first and `-` in empty fields; new columns come at the end. "
          "Those of a decision\nare\n",
          out);
    cli_print_columns(out);
    fputs(
        ".\n`machines` and `free` are written as `berth book` takes them, `limit` as "
        "NAME:LIMIT:USED:ASKED,\nlists with commas. A series has a row for each occurrence; of one "
        "that was left out `state` is\n`left_out`, and `reason` and `machine` say why.\n"
        "\nUsers, labels and sentences may come from anybody. `text`, `tsv` and messages show "
        "control "
        "characters,\nline ends, marks that turn the direction of text and characters of no width "
        "as "
        "JSON writes them\n(`\\u001b`), so nobody draws on your terminal or adds a row. `json` has "
        "the bytes as they came; on a\nterminal these characters are escaped there, too, which is "
        "the same JSON.\n",
        out);
}

void cli_print_markdown(FILE *out)
{
    fputs("# `berth`, the command line\n\n"
          "<!-- Made from the table in cli/commands.c; UPDATE_DOCS=1 with its unit test "
          "writes it anew. -->\n\n"
          "| command | what it does |\n| --- | --- |\n",
          out);
    for (size_t i = 0; i < cli_command_count; i++)
        fprintf(out, "| `%s` | %s |\n", cli_commands[i].spec.name, cli_commands[i].summary);
    fputs("\nOptions of every command; they may also stand before the command's name:\n\n"
          "| option | meaning |\n| --- | --- |\n",
          out);
    print_option_rows(out, common_options);
    fputs("\nOptions before the command only:\n\n| option | meaning |\n| --- | --- |\n", out);
    print_option_rows(out, program_options);
    print_output(out);
    fprintf(out, "\n## Times\n\n```\n%s```\n\n## Exit status\n\n```\n%s```\n", options_times,
            options_exit_status);
    for (size_t i = 0; i < cli_command_count; i++) {
        const struct command_spec *spec = &cli_commands[i].spec;
        bool several = strchr(spec->example, '\n') != NULL;
        fprintf(out, "\n## `%s`\n\n", spec->name);
        fprintf(out, "```\n%s%s%s\n```\n\n%s\n\n", spec->name, spec->operands ? " " : "",
                spec->operands ? spec->operands : "", spec->description);
        fprintf(out, several ? "Examples:\n\n```\n%s\n```\n" : "Example: `%s`\n", spec->example);
        if (spec->options) {
            fputs("\n| option | meaning |\n| --- | --- |\n", out);
            print_option_rows(out, spec->options);
        }
    }
}
