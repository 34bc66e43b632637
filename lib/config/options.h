/* The command line of one command, driven by one const table that also prints its --help.
 *
 * `--name=value`, `--name value`, `-n value`, `-nvalue`, `-qv`; `--` ends the options; options and
 * operands may be mixed; names are not abbreviated. An unknown option is ERR_USAGE and the failure
 * names the nearest one. Every command has --help (-h) without a row of its own.
 *
 *     static const struct option_spec book_options[] = {
 *         {"start", 's', "TIME", "when it begins"},
 *         {"wait", 0, "[=DURATION]", "how long to wait for the decision"},
 *         {"quiet", 'q', NULL, "print nothing"},
 *         {0},
 *     };
 *     static const struct command_spec book = {
 *         .name = "berth book", .operands = "MACHINE[:GPUS[:GIB]]...", .options = book_options,
 *         .description = "Books machines for a window.", .example = "berth book gpu-01:4 …",
 *     };
 */
#ifndef BERTH_LIB_CONFIG_OPTIONS_H
#define BERTH_LIB_CONFIG_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "lib/base/err.h"

struct option_spec {
    const char *name; /* without dashes; NULL ends the table */
    char letter;      /* 0: none */
    /* NULL: takes none. "TIME": takes one. "[=TIME]": one, only after '='. "up|down": one of these
     * words; another is ERR_USAGE */
    const char *arg;
    const char *help; /* one sentence without a full stop; wrapped when long */
};

struct command_spec {
    const char *name;        /* as typed: "berth book" */
    const char *operands;    /* for the usage line: "MACHINE[:GPUS[:GIB]]..."; NULL: takes none */
    const char *description; /* one or more lines */
    const char *example;     /* one or more lines; NULL: none */
    const struct option_spec *options; /* NULL: none */
    const struct option_spec *common;  /* a second table, shared by commands; NULL: none */
    /* The first operand ends the options: it and all later words are operands. For a program whose
     * first word is a command ("berth --config F book …"). */
    bool stop_at_operand;
};

/* One option as given. */
struct option_given {
    const struct option_spec *spec;
    const char *value; /* NULL: none was given */
};

/* All options and operands in the order given. Strings are borrowed from argv. */
struct options {
    struct option_given *given;
    size_t given_count;
    const char **operands;
    size_t operand_count;
    bool help; /* --help, which ends the parse: print help and exit 0 */
};

/* Parses argv[1] … argv[argc - 1]. Operands of a command without `operands` are ERR_USAGE.
 * On success *out is to be given to options_fini; on failure there is nothing to free. */
enum err options_parse(const struct command_spec *command, int argc, char *const *argv,
                       struct options *out, struct failure *f);
void options_fini(struct options *opts);

/* How often the option was given. `name` must be in the table (not checked here). */
size_t options_count(const struct options *opts, const char *name);
static inline bool options_has(const struct options *opts, const char *name)
{
    return options_count(opts, name) > 0;
}
/* The last value given; NULL: not given, or given without a value. For repeated options iterate
 * over opts->given. */
const char *options_value(const struct options *opts, const char *name);

/* The exit statuses of all programs, and how TIME and DURATION are written; lines of text. */
extern const char options_exit_status[], options_times[];
/* Usage line, description, options, example, exit status, and of options that take one the syntax of
 * times. */
void options_help(const struct command_spec *command, FILE *out);

#endif
