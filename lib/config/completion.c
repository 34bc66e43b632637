#include "lib/config/completion.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"
#include "lib/base/print.h"

/* The longest name of a kind of argument. */
#define KIND_LEN 32

struct completion {
    const struct completion_program *program;
    const char *const *words;
    size_t count;                       /* with the one at the cursor */
    const char *at;                     /* the part of that word to complete */
    const char *before;                 /* the part of it that stays, "--output=" */
    const struct command_spec *command; /* NULL: not typed yet */
    char noun[64];                      /* the first word of a command of two, "machine" */
    const struct option_spec *pending;  /* the option whose value is at the cursor */
    size_t operand;                     /* number of the operand at the cursor */
    bool only_operands;                 /* after "--" */
    struct option_given *given;
    size_t given_count;
};

void completion_offer(struct completion *completion, const char *word, const char *description)
{
    size_t len = strlen(completion->at);
    if (strncmp(word, completion->at, len) == 0) {
        print_part(stdout, "%s%s", completion->before, word);
        fputc('\t', stdout);
        print_line(stdout, "%s", description ? description : "");
    }
}

const char *completion_value(const struct completion *completion, const char *option)
{
    const char *value = NULL;
    for (size_t i = 0; i < completion->given_count; i++) {
        if (strcmp(completion->given[i].spec->name, option) == 0)
            value = completion->given[i].value;
    }
    return value;
}

/* The words of the command's name behind the program's. */
static const char *words_of(const struct completion *c, const struct command_spec *command)
{
    return command->name + strlen(c->program->name) + 1;
}

static const struct option_spec *find(const struct command_spec *command, const char *word)
{
    const struct option_spec *tables[] = {command->options, command->common};
    bool is_long = word[0] == '-' && word[1] == '-';
    size_t len = is_long ? strcspn(word + 2, "=") : 0;
    for (size_t i = 0; i < 2; i++) {
        for (const struct option_spec *spec = tables[i]; spec && spec->name; spec++) {
            if (is_long ? strlen(spec->name) == len && strncmp(spec->name, word + 2, len) == 0
                        : spec->letter && spec->letter == word[1])
                return spec;
        }
    }
    return NULL;
}

/* An option before the cursor. */
static void take_option(struct completion *c, const char *word)
{
    const struct option_spec *spec = find(c->command ? c->command : c->program->outer, word);
    const char *equals = word[1] == '-' ? strchr(word, '=') : NULL;
    if (!spec || !spec->arg)
        return;
    if (equals || (word[1] != '-' && word[2])) {
        c->given[c->given_count++] = (struct option_given){spec, equals ? equals + 1 : word + 2};
    } else if (spec->arg[0] != '[') {
        c->pending = spec;
    }
}

/* A word of a command's name, or an operand. */
static void take_word(struct completion *c, const char *word)
{
    char name[160];
    const struct command_spec *command;
    if (c->command) {
        c->operand++;
        return;
    }
    snprintf(name, sizeof(name), "%s%s%.60s", c->noun, *c->noun ? " " : "", word);
    for (size_t i = 0; (command = c->program->command(i)); i++) {
        if (strcmp(words_of(c, command), name) == 0)
            c->command = command;
    }
    snprintf(c->noun, sizeof(c->noun), "%.60s", word);
}

static void take_words(struct completion *c)
{
    for (size_t i = 0; i + 1 < c->count; i++) {
        const char *word = c->words[i];
        if (c->pending) {
            c->given[c->given_count++] = (struct option_given){c->pending, word};
            c->pending = NULL;
        } else if (!c->only_operands && strcmp(word, "--") == 0) {
            c->only_operands = true;
        } else if (!c->only_operands && word[0] == '-' && word[1]) {
            take_option(c, word);
        } else {
            take_word(c, word);
        }
    }
}

/* Offers what can stand for one alternative of an argument: a word of "up|down", or a kind. */
static void offer_alternative(struct completion *c, const char *text, size_t len)
{
    char kind[KIND_LEN] = "";
    size_t kind_len = 0;
    while (len > 0 && !isalpha((unsigned char)*text)) {
        text++;
        len--;
    }
    while (kind_len < len && kind_len + 1 < sizeof(kind) &&
           isupper((unsigned char)text[kind_len])) {
        kind[kind_len] = text[kind_len];
        kind_len++;
    }
    kind[kind_len] = '\0';
    if (kind_len == 0 || isdigit((unsigned char)text[kind_len])) { /* ES256 is a word */
        char *word = xstrndup(text, len);
        if (*word)
            completion_offer(c, word, NULL);
        free(word);
    } else if (strcmp(kind, "FILE") == 0 || strcmp(kind, "PATH") == 0) {
        print_line(stdout, ":files");
    } else {
        c->program->values(c, kind);
    }
}

static void offer_argument(struct completion *c, const char *arg)
{
    while (*arg && *arg != ' ') {
        size_t len = strcspn(arg, "| ");
        offer_alternative(c, arg, len);
        arg += len + (arg[len] == '|');
    }
}

static void offer_options(struct completion *c, const struct command_spec *command)
{
    const struct option_spec *tables[] = {command->options, command->common};
    char word[80];
    for (size_t i = 0; i < 2; i++) {
        for (const struct option_spec *spec = tables[i]; spec && spec->name; spec++) {
            snprintf(word, sizeof(word), "--%s", spec->name);
            completion_offer(c, word, spec->help);
        }
    }
    completion_offer(c, "--help", "print help and exit");
}

/* The commands, or under a noun their second words. */
static void offer_commands(struct completion *c)
{
    const struct command_spec *command;
    char last[64] = "";
    size_t noun_len = strlen(c->noun);
    for (size_t i = 0; (command = c->program->command(i)); i++) {
        const char *words = words_of(c, command), *summary = c->program->summary(i);
        size_t len = strcspn(words, " ");
        char word[64];
        if (noun_len > 0 && len == noun_len && strncmp(words, c->noun, len) == 0 && words[len])
            completion_offer(c, words + len + 1, summary);
        snprintf(word, sizeof(word), "%.*s", (int)len, words);
        if (noun_len == 0 && strcmp(word, last) != 0)
            completion_offer(c, word, words[len] ? "commands of this kind" : summary);
        snprintf(last, sizeof(last), "%s", word);
    }
}

/* The operand at the cursor; the last one of the command may be repeated. */
static void offer_operand(struct completion *c)
{
    const char *operand = c->command->operands;
    for (size_t i = 0; operand && i < c->operand; i++) {
        const char *next = strchr(operand, ' ');
        if (!next && !strstr(operand, "..."))
            return;
        operand = next ? next + 1 : operand;
    }
    if (operand)
        offer_argument(c, operand);
}

void completion_print(const struct completion_program *program, const char *const *words,
                      size_t count)
{
    static const char *const none[] = {""};
    struct completion c = {.program = program,
                           .words = count > 0 ? words : none,
                           .count = count > 0 ? count : 1,
                           .before = ""};
    c.at = c.words[c.count - 1];
    c.given = xcalloc(c.count, sizeof(*c.given));
    take_words(&c);
    const struct command_spec *command = c.command ? c.command : program->outer;
    const char *equals = strncmp(c.at, "--", 2) == 0 ? strchr(c.at, '=') : NULL;
    if (!c.pending && !c.only_operands && equals) {
        c.pending = find(command, c.at);
        if (!c.pending || !c.pending->arg)
            goto out;
    }
    if (c.pending && equals) {
        char *before = xstrndup(c.at, (size_t)(equals - c.at) + 1);
        c.before = before;
        c.at = equals + 1;
        offer_argument(&c, c.pending->arg + (c.pending->arg[0] == '[' ? 2 : 0));
        free(before);
    } else if (c.pending) {
        offer_argument(&c, c.pending->arg);
    } else if (!c.only_operands && c.at[0] == '-') {
        offer_options(&c, command);
    } else if (c.command) {
        offer_operand(&c);
    } else {
        offer_commands(&c);
    }
out:
    free(c.given);
}

#define PLACEHOLDER "PROGRAM"

/* The scripts; PROGRAM stands for the program's name. Bash holds "=" and ":" for words of their own: the
 * script joins what no blank separates, and offers only the part behind the last of them. */
static const char bash_script[] =
    "# bash completion for PROGRAM; made by `PROGRAM completion bash`\n"
    "_PROGRAM() {\n"
    "    local rest=${COMP_LINE:0:COMP_POINT} words=() trimmed piece line value i\n"
    "    for ((i = 0; i <= COMP_CWORD; i++)); do\n"
    "        trimmed=${rest#\"${rest%%[![:space:]]*}\"}\n"
    "        piece=${COMP_WORDS[i]}\n"
    "        ((i == COMP_CWORD)) && piece=$trimmed\n"
    "        if ((i == 0)) || [[ $trimmed != \"$rest\" ]]; then\n"
    "            words+=(\"$piece\")\n"
    "        else\n"
    "            words[${#words[@]}-1]+=$piece\n"
    "        fi\n"
    "        rest=${trimmed#\"$piece\"}\n"
    "    done\n"
    "    local at=${words[${#words[@]}-1]} IFS=$'\\n'\n"
    "    local cut=${at%\"${at##*[=:]}\"}\n"
    "    COMPREPLY=()\n"
    "    while read -r line; do\n"
    "        value=${line%%$'\\t'*}\n"
    "        if [[ $value == :files ]]; then\n"
    "            compopt -o filenames 2>/dev/null\n"
    "            COMPREPLY+=($(compgen -f -- \"${at#\"$cut\"}\"))\n"
    "        else\n"
    "            COMPREPLY+=(\"${value#\"$cut\"}\")\n"
    "        fi\n"
    "    done < <(\"${words[0]}\" __complete \"${words[@]:1}\" 2>/dev/null)\n"
    "}\n"
    "complete -F _PROGRAM PROGRAM\n";

static const char zsh_script[] =
    "#compdef PROGRAM\n"
    "# zsh completion for PROGRAM; made by `PROGRAM completion zsh`\n"
    "_PROGRAM() {\n"
    "    local line\n"
    "    local -a found values\n"
    "    found=(\"${(@f)$(${words[1]} __complete \"${(@Q)words[2,CURRENT]}\" 2>/dev/null)}\")\n"
    "    for line in $found; do\n"
    "        if [[ $line == :files ]]; then\n"
    "            _files\n"
    "        elif [[ -n $line ]]; then\n"
    "            values+=(\"${${line%%$'\\t'*}//:/\\\\:}:${line#*$'\\t'}\")\n"
    "        fi\n"
    "    done\n"
    "    (( $#values )) && _describe PROGRAM values\n"
    "}\n"
    "# As a file on fpath this runs at the first completion; from a startup file it needs "
    "compinit.\n"
    "if [[ $funcstack[1] == _PROGRAM ]]; then\n"
    "    _PROGRAM \"$@\"\n"
    "elif (( $+functions[compdef] )); then\n"
    "    compdef _PROGRAM PROGRAM\n"
    "fi\n";

static const char fish_script[] =
    "# fish completion for PROGRAM; made by `PROGRAM completion fish`\n"
    "function __PROGRAM_complete\n"
    "    set -l words (commandline -opc)\n"
    "    set -l at (commandline -ct)\n"
    "    for line in ($words[1] __complete $words[2..-1] \"$at\" 2>/dev/null)\n"
    "        if test \"$line\" = :files\n"
    "            __fish_complete_path \"$at\"\n"
    "        else\n"
    "            echo $line\n"
    "        end\n"
    "    end\n"
    "end\n"
    "complete -c PROGRAM -f -k -a '(__PROGRAM_complete)'\n";

enum err completion_print_script(const char *program, const char *shell, struct failure *f)
{
    static const struct {
        const char *name, *script;
    } shells[] = {{"bash", bash_script}, {"zsh", zsh_script}, {"fish", fish_script}};
    const char *at = NULL, *next;
    for (size_t i = 0; i < sizeof(shells) / sizeof(shells[0]); i++) {
        if (strcmp(shell, shells[i].name) == 0)
            at = shells[i].script;
    }
    if (!at)
        return failure_set(f, ERR_USAGE, "no shell '%.40s': expected bash, zsh or fish", shell);
    struct buf script = {0};
    for (; (next = strstr(at, PLACEHOLDER)); at = next + strlen(PLACEHOLDER))
        buf_printf(&script, "%.*s%s", (int)(next - at), at, program);
    buf_puts(&script, at);
    print_lines(stdout, script.data);
    buf_fini(&script);
    return ERR_OK;
}
