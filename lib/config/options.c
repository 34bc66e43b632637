#include "lib/config/options.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"
#include "lib/base/nearest.h"

/* Columns of --help. */
#define HELP_WIDTH  80
#define HELP_COLUMN 28

static const struct option_spec help_option = {"help", 'h', NULL, "print this text and exit"};

/* The state of a parse. */
struct parse {
    const struct command_spec *command;
    int argc;
    char *const *argv;
    int next; /* index of the next argument */
    struct options *out;
};

/* The command's own options, the common ones, --help: one numbering. NULL behind the last. */
static const struct option_spec *option_at(const struct command_spec *command, size_t index)
{
    const struct option_spec *tables[] = {command->options, command->common};
    for (size_t i = 0; i < 2; i++) {
        for (const struct option_spec *spec = tables[i]; spec && spec->name; spec++) {
            if (index-- == 0)
                return spec;
        }
    }
    return index == 0 ? &help_option : NULL;
}

/* By its name of `len` bytes or, if that is NULL, by its letter. */
static const struct option_spec *find_option(const struct command_spec *command, const char *name,
                                             size_t len, char letter)
{
    const struct option_spec *spec;
    for (size_t i = 0; (spec = option_at(command, i)); i++) {
        if (name ? strlen(spec->name) == len && memcmp(spec->name, name, len) == 0
                 : spec->letter == letter)
            return spec;
    }
    return NULL;
}

static bool arg_is_optional(const struct option_spec *spec)
{
    return spec->arg && spec->arg[0] == '[';
}

static enum err wrong_usage(const struct command_spec *command, struct failure *f,
                            const char *format, ...) __attribute__((format(printf, 3, 4)));

static enum err wrong_usage(const struct command_spec *command, struct failure *f,
                            const char *format, ...)
{
    va_list args;
    va_start(args, format);
    failure_vset(f, ERR_USAGE, format, args);
    va_end(args);
    return failure_set(f, ERR_USAGE, "%s (see `%s --help`)", f->text, command->name);
}

/* A key's thumbprint may begin with a dash, and then looks like options: say how to pass it. */
static const char *hint_of_operands(const struct command_spec *command)
{
    if (command->stop_at_operand)
        return "; an option of a command goes behind the command";
    return command->operands ? "; an argument that begins with a dash goes behind --" : "";
}

static enum err unknown_option(const struct command_spec *command, const char *name,
                               struct failure *f)
{
    struct nearest nearest;
    nearest_init(&nearest, name);
    const struct option_spec *spec;
    for (size_t i = 0; (spec = option_at(command, i)); i++) {
        nearest_offer_as(&nearest, spec->name, spec->name);
        if (spec->arg) /* --duration for --for DURATION */
            nearest_offer_as(&nearest, spec->arg, spec->name);
    }
    const char *meant = nearest_result(&nearest);
    if (meant)
        return wrong_usage(command, f, "unknown option --%.60s: did you mean --%s?", name, meant);
    return wrong_usage(command, f, "unknown option --%.60s%s", name, hint_of_operands(command));
}

/* Whether the value is one of the words of "up|down"; any value of another argument is. */
static bool is_choice(const struct option_spec *spec, const char *value, struct nearest *nearest,
                      struct buf *words)
{
    const char *word = spec->arg;
    bool found = !word || word[0] == '[' || !strchr(word, '|');
    buf_puts(words, "");
    while (!found && *word) {
        size_t len = strcspn(word, "|");
        char *copy = xstrndup(word, len);
        found = strcmp(copy, value) == 0;
        buf_printf(words, "%s%s", words->len > 0 ? ", " : "", copy);
        nearest_offer_as(nearest, copy, word);
        free(copy);
        word += len + (word[len] == '|');
    }
    return found;
}

static enum err add_given(struct parse *parse, const struct option_spec *spec, const char *value,
                          struct failure *f)
{
    struct options *out = parse->out;
    struct nearest nearest;
    struct buf words = {0};
    enum err err = ERR_OK;
    nearest_init(&nearest, value ? value : "");
    if (spec == &help_option) {
        out->help = true;
    } else if (!value || is_choice(spec, value, &nearest, &words)) {
        out->given[out->given_count++] = (struct option_given){.spec = spec, .value = value};
    } else {
        const char *meant = nearest_result(&nearest);
        int len = meant ? (int)strcspn(meant, "|") : 0;
        err = wrong_usage(parse->command, f, "--%s '%.60s': expected one of %s%s%.*s%s", spec->name,
                          value, words.data, meant ? "; did you mean " : "", len,
                          meant ? meant : "", meant ? "?" : "");
    }
    buf_fini(&words);
    return err;
}

/* Adds an option whose argument is the next word. */
static enum err add_with_next(struct parse *parse, const struct option_spec *spec,
                              struct failure *f)
{
    if (parse->next >= parse->argc) {
        return wrong_usage(parse->command, f, "--%s needs a value: --%s %s", spec->name, spec->name,
                           spec->arg);
    }
    return add_given(parse, spec, parse->argv[parse->next++], f);
}

/* `word` is what follows the two dashes. */
static enum err parse_long(struct parse *parse, const char *word, struct failure *f)
{
    const char *equals = strchr(word, '=');
    size_t len = equals ? (size_t)(equals - word) : strlen(word);
    const struct option_spec *spec = find_option(parse->command, word, len, 0);
    if (!spec) {
        char *name = xstrndup(word, len);
        enum err err = unknown_option(parse->command, name, f);
        free(name);
        return err;
    }
    if (equals && !spec->arg)
        return wrong_usage(parse->command, f, "--%s takes no value", spec->name);
    if (spec->arg && !equals && !arg_is_optional(spec))
        return add_with_next(parse, spec, f);
    return add_given(parse, spec, equals ? equals + 1 : NULL, f);
}

/* `word` is what follows the one dash: letters without arguments, then perhaps one with. */
static enum err parse_letters(struct parse *parse, const char *word, struct failure *f)
{
    for (; *word && !parse->out->help; word++) {
        const struct option_spec *spec = find_option(parse->command, NULL, 0, *word);
        if (!spec) {
            bool printable = *word > ' ' && *word < 0x7f;
            return wrong_usage(parse->command, f, "unknown option -%c%s", printable ? *word : '?',
                               hint_of_operands(parse->command));
        }
        if (spec->arg && word[1])
            return add_given(parse, spec, word + 1, f);
        if (spec->arg && !arg_is_optional(spec))
            return add_with_next(parse, spec, f);
        if (add_given(parse, spec, NULL, f) != ERR_OK)
            return f->err;
    }
    return ERR_OK;
}

static enum err add_operand(struct parse *parse, const char *word, struct failure *f)
{
    if (!parse->command->operands)
        return wrong_usage(parse->command, f, "unexpected argument '%.100s'", word);
    parse->out->operands[parse->out->operand_count++] = word;
    return ERR_OK;
}

enum err options_parse(const struct command_spec *command, int argc, char *const *argv,
                       struct options *out, struct failure *f)
{
    size_t room = argc > 0 ? (size_t)argc : 1;
    for (int i = 1; i < argc; i++)
        room += strlen(argv[i]); /* each letter of -qv can be an option */
    struct options opts = {.given = xcalloc(room, sizeof(*opts.given)),
                           .operands = xcalloc(room, sizeof(*opts.operands))};
    struct parse parse = {.command = command, .argc = argc, .argv = argv, .next = 1, .out = &opts};
    bool only_operands = false;
    enum err err = ERR_OK;
    while (err == ERR_OK && !opts.help && parse.next < argc) {
        const char *word = argv[parse.next++];
        if (only_operands || word[0] != '-' || word[1] == '\0') {
            err = add_operand(&parse, word, f);
            only_operands = only_operands || command->stop_at_operand;
        } else if (strcmp(word, "--") == 0) {
            only_operands = true;
        } else if (word[1] == '-') {
            err = parse_long(&parse, word + 2, f);
        } else {
            err = parse_letters(&parse, word + 1, f);
        }
    }
    if (err != ERR_OK) {
        options_fini(&opts);
        return err;
    }
    *out = opts;
    return ERR_OK;
}

void options_fini(struct options *opts)
{
    free(opts->given);
    free(opts->operands);
    *opts = (struct options){0};
}

size_t options_count(const struct options *opts, const char *name)
{
    size_t count = 0;
    for (size_t i = 0; i < opts->given_count; i++)
        count += strcmp(opts->given[i].spec->name, name) == 0;
    return count;
}

const char *options_value(const struct options *opts, const char *name)
{
    for (size_t i = opts->given_count; i > 0; i--) {
        if (strcmp(opts->given[i - 1].spec->name, name) == 0)
            return opts->given[i - 1].value;
    }
    return NULL;
}

/* Prints words from column HELP_COLUMN on, with line breaks between them where needed. */
static void print_wrapped(FILE *out, const char *text)
{
    size_t column = HELP_COLUMN;
    for (bool first = true; *text; first = false) {
        size_t len = strcspn(text, " ");
        if (!first && column + 1 + len > HELP_WIDTH) {
            fprintf(out, "\n%*s", HELP_COLUMN, "");
            column = HELP_COLUMN;
        } else if (!first) {
            fputc(' ', out);
            column++;
        }
        fwrite(text, 1, len, out);
        column += len;
        text += len;
        text += strspn(text, " ");
    }
    fputc('\n', out);
}

static void print_option(FILE *out, const struct option_spec *spec)
{
    struct buf left = {0};
    if (spec->letter) {
        buf_printf(&left, "  -%c, ", spec->letter);
    } else {
        buf_puts(&left, "      ");
    }
    buf_printf(&left, "--%s", spec->name);
    if (spec->arg)
        buf_printf(&left, "%s%s", arg_is_optional(spec) ? "" : " ", spec->arg);
    fputs(left.data, out);
    if (left.len + 2 > HELP_COLUMN) {
        fprintf(out, "\n%*s", HELP_COLUMN, "");
    } else {
        fprintf(out, "%*s", (int)(HELP_COLUMN - left.len), "");
    }
    print_wrapped(out, spec->help);
    buf_fini(&left);
}

/* Each line of `text`, indented. */
static void print_lines(FILE *out, const char *indent, const char *text)
{
    while (*text) {
        size_t len = strcspn(text, "\n");
        fprintf(out, "%s%.*s\n", len > 0 ? indent : "", (int)len, text);
        text += len + (text[len] == '\n');
    }
}

const char options_exit_status[] =
    "0 done, accepted              4 no decision seen in time: the outcome is\n"
    "1 failure                       unknown; repeat with the same --request-id\n"
    "2 usage or configuration      5 what was named does not exist; nothing free\n"
    "3 rejected by a decision      6 a check found differences\n"
    "130, 143 ended by a signal\n";

const char options_times[] =
    "TIME: 2026-12-01T03:00:00+01:00, '2026-12-01 03:00', 03:00 (the next one),\n"
    "  'tomorrow 03:00', 'mon 09:00' (today, tomorrow, mon to sun; without a time\n"
    "  00:00), now, +2h (from now), @1796090400 (seconds since 1970). Local times\n"
    "  follow TZ, or --tz where there is such an option.\n"
    "DURATION: 45m, 2h30m, 1w2d3h4m5s, 1-12:00:00 (days), 12:00:00.\n";

/* Whether an option takes a value of this kind. */
static bool takes(const struct command_spec *command, const char *kind)
{
    const struct option_spec *spec;
    for (size_t i = 0; (spec = option_at(command, i)); i++) {
        if (spec->arg && strstr(spec->arg, kind))
            return true;
    }
    return false;
}

void options_help(const struct command_spec *command, FILE *out)
{
    fprintf(out, "Usage: %s [OPTION]...%s%s\n\n", command->name, command->operands ? " " : "",
            command->operands ? command->operands : "");
    print_lines(out, "", command->description);
    fputs("\nOptions:\n", out);
    const struct option_spec *spec;
    for (size_t i = 0; (spec = option_at(command, i)); i++)
        print_option(out, spec);
    if (command->example) {
        fputs("\nExample:\n", out);
        print_lines(out, "  ", command->example);
    }
    if (takes(command, "TIME") || takes(command, "DURATION")) {
        fputs("\nTimes:\n", out);
        print_lines(out, "  ", options_times);
    }
    fputs("\nExit status:\n", out);
    print_lines(out, "  ", options_exit_status);
}
