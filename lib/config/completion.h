/* Completion in shells, from the tables of options and commands.
 *
 * The script for a shell is short: on TAB it runs `PROGRAM __complete WORD...`, with the words up to
 * the cursor, and offers the lines that this prints. What can follow is thus decided in one place. */
#ifndef BERTH_LIB_CONFIG_COMPLETION_H
#define BERTH_LIB_CONFIG_COMPLETION_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/config/options.h"

/* The first argument of the hidden command. */
#define COMPLETION_COMMAND "__complete"
/* The operand of the command that prints a script. */
#define COMPLETION_SHELLS  "bash|zsh|fish"

struct completion;

/* A program. */
struct completion_program {
    const char *name;                 /* "berth" */
    const struct command_spec *outer; /* the options before the command */
    /* The command at an index; NULL behind the last. Its name begins with the program's. */
    const struct command_spec *(*command)(size_t index);
    const char *(*summary)(size_t index);
    /* Offers the values that an argument of this kind can have: the leading capitals of its name in
     * the table ("MACHINE" of "MACHINE[:GPUS]"). Files and the words of "up|down" are offered
     * already. */
    void (*values)(struct completion *completion, const char *kind);
};

/* Prints what can stand at the last of the words, which may be empty; a line each: the word, a tab and
 * a description, or ":files" for the names of files. */
void completion_print(const struct completion_program *program, const char *const *words,
                      size_t count);
/* Offers a word; printed if it begins as the one at the cursor does. `description` may be NULL. */
void completion_offer(struct completion *completion, const char *word, const char *description);
/* The last value of an option among the words before the cursor; NULL: none. */
const char *completion_value(const struct completion *completion, const char *option);
/* Prints the script. ERR_USAGE: no such shell. */
enum err completion_print_script(const char *program, const char *shell, struct failure *f);

#endif
