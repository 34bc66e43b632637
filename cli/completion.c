/* `berth completion` and `berth config`, which print the tables of commands and settings. */
#include <string.h>

#include "cli/cli.h"
#include "core/request.h"

/* Values that some options take; the same for all commands. */
#define TYPE_NAME(id, name) " " name
static const struct {
    const char *option, *values;
} known_values[] = {
    {"output", "text json tsv"},
    {"alg", "ES256 RS256"},
    {"state", "up draining retired booked cancelled released"},
    {"from", "beginning end now today tomorrow"},
    {"type", "accepted rejected" REQUEST_TYPE_TABLE(TYPE_NAME)},
    {"repeat", "day week"},
    {"tz", "UTC"},
    {"zone", "UTC"},
};
#undef TYPE_NAME
/* Options whose value is a file. */
static const char *const file_options[] = {"config", "out", "public-out", "key"};

static const char *values_of(const char *option)
{
    for (size_t i = 0; i < sizeof(known_values) / sizeof(known_values[0]); i++) {
        if (strcmp(known_values[i].option, option) == 0)
            return known_values[i].values;
    }
    return NULL;
}

static bool takes_file(const char *option)
{
    for (size_t i = 0; i < sizeof(file_options) / sizeof(file_options[0]); i++) {
        if (strcmp(file_options[i], option) == 0)
            return true;
    }
    return false;
}

static bool takes_next(const struct option_spec *spec)
{
    return spec->arg && spec->arg[0] != '[';
}

static void bash_options(const struct option_spec *spec)
{
    for (; spec && spec->name; spec++)
        printf(" --%s", spec->name);
}

static void bash_values(void)
{
    puts("    case $prev in");
    for (size_t i = 0; i < sizeof(known_values) / sizeof(known_values[0]); i++) {
        printf("    --%s%s) COMPREPLY=($(compgen -W '%s' -- \"$cur\")); return ;;\n",
               known_values[i].option, strcmp(known_values[i].option, "output") == 0 ? "|-o" : "",
               known_values[i].values);
    }
    printf("    ");
    for (size_t i = 0; i < sizeof(file_options) / sizeof(file_options[0]); i++)
        printf("%s--%s", i > 0 ? "|" : "", file_options[i]);
    puts(") COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n    esac");
}

static void print_bash(void)
{
    puts("# bash completion for berth; made by `berth completion bash`\n"
         "_berth() {\n"
         "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words='' i\n"
         "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
         "        [[ ${COMP_WORDS[i]} == -* ]] || words+=\"${words:+ }${COMP_WORDS[i]}\"\n"
         "    done");
    bash_values();
    puts("    case $words in");
    for (size_t i = 0; i < cli_command_count; i++) {
        printf("    '%s'*) COMPREPLY=($(compgen -W '", cli_words(&cli_commands[i]));
        bash_options(cli_commands[i].spec.options);
        bash_options(cli_commands[i].spec.common);
        printf(" --help%s' -- \"$cur\"))\n",
               strcmp(cli_words(&cli_commands[i]), "completion") == 0 ? " bash zsh fish" : "");
        const char *operands = cli_commands[i].spec.operands;
        puts(operands && strstr(operands, "FILE")
                 ? "        [[ $cur == -* ]] || COMPREPLY+=($(compgen -f -- \"$cur\")) ;;"
                 : "        ;;");
    }
    for (size_t i = 0; i < cli_command_count; i++) {
        const char *words = cli_words(&cli_commands[i]);
        const char *blank = strchr(words, ' ');
        if (blank) {
            printf("    '%.*s') COMPREPLY+=($(compgen -W '%s' -- \"$cur\")) ;;&\n",
                   (int)(blank - words), words, blank + 1);
        }
    }
    printf("    '') COMPREPLY=($(compgen -W '");
    const char *last = "";
    for (size_t i = 0; i < cli_command_count; i++) {
        const char *words = cli_words(&cli_commands[i]);
        size_t len = strcspn(words, " ");
        if (strncmp(last, words, len) != 0 || strcspn(last, " ") != len)
            printf(" %.*s", (int)len, words);
        last = words;
    }
    bash_options(cli_program.options);
    bash_options(cli_program.common);
    puts(" --help' -- \"$cur\")) ;;\n    esac\n}\ncomplete -F _berth berth");
}

/* Text inside of '…' in an _arguments specification. */
static void zsh_text(const char *text)
{
    for (; *text; text++) {
        if (*text == '\'') {
            fputs("'\\''", stdout);
        } else if (strchr("[]:\\", *text)) {
            printf("\\%c", *text);
        } else {
            putchar(*text);
        }
    }
}

static void zsh_options(const struct option_spec *spec)
{
    for (; spec && spec->name; spec++) {
        const char *values = values_of(spec->name);
        printf(" \\\n            '*--%s%s[", spec->name,
               !spec->arg         ? ""
               : takes_next(spec) ? "="
                                  : "=-");
        zsh_text(spec->help);
        putchar(']');
        if (spec->arg) {
            printf("%s", takes_next(spec) ? ":" : "::");
            zsh_text(spec->arg);
            if (values) {
                printf(":(%s)", values);
            } else {
                fputs(takes_file(spec->name) ? ":_files" : ": ", stdout);
            }
        }
        putchar('\'');
    }
}

static void print_zsh(void)
{
    puts("#compdef berth\n# zsh completion for berth; made by `berth completion zsh`\n"
         "_berth() {\n    local -a commands under; local word=${words[2]}\n    commands=(");
    const char *last = "";
    for (size_t i = 0; i < cli_command_count; i++) {
        const char *words = cli_words(&cli_commands[i]);
        size_t len = strcspn(words, " ");
        if (strncmp(last, words, len) == 0 && (last[len] == ' ' || last[len] == '\0'))
            continue;
        printf("        '%.*s:", (int)len, words);
        zsh_text(words[len] ? "commands of this kind" : cli_commands[i].summary);
        puts("'");
        last = words;
    }
    puts("    )\n    if (( CURRENT == 2 )); then _describe command commands; return; fi\n"
         "    case $word in");
    for (size_t i = 0; i < cli_command_count; i++) {
        const char *words = cli_words(&cli_commands[i]);
        const char *blank = strchr(words, ' ');
        if (blank)
            printf("    %.*s) under+=('%s') ;|\n", (int)(blank - words), words, blank + 1);
    }
    puts("    esac\n    if (( $#under )); then\n"
         "        if (( CURRENT == 3 )); then compadd -a under; return; fi\n"
         "        word=\"$word ${words[3]}\"; shift words; (( CURRENT-- ))\n    fi\n"
         "    shift words; (( CURRENT-- ))\n    case $word in");
    for (size_t i = 0; i < cli_command_count; i++) {
        printf("    '%s')\n        _arguments '--help[print help]'", cli_words(&cli_commands[i]));
        zsh_options(cli_commands[i].spec.options);
        zsh_options(cli_commands[i].spec.common);
        puts(" \\\n            '*::operand:_files' ;;");
    }
    puts("    esac\n}\ncompdef _berth berth");
}

static void fish_text(const char *text)
{
    putchar('\'');
    for (; *text; text++) {
        if (*text == '\'' || *text == '\\')
            putchar('\\');
        putchar(*text);
    }
    putchar('\'');
}

static void fish_options(const char *condition, const struct option_spec *spec)
{
    for (; spec && spec->name; spec++) {
        const char *values = values_of(spec->name);
        printf("complete -c berth%s%s%s -l %s", *condition ? " -n '" : "", condition,
               *condition ? "'" : "", spec->name);
        if (spec->letter)
            printf(" -s %c", spec->letter);
        if (takes_next(spec))
            fputs(" -r", stdout);
        if (values)
            printf(" -f -a '%s'", values);
        fputs(" -d ", stdout);
        fish_text(spec->help);
        putchar('\n');
    }
}

static void print_fish(void)
{
    puts("# fish completion for berth; made by `berth completion fish`");
    fish_options("", cli_program.common);
    for (size_t i = 0; i < cli_command_count; i++) {
        const struct cli_command *command = &cli_commands[i];
        const char *words = cli_words(command);
        const char *blank = strchr(words, ' ');
        char condition[160];
        int len = (int)strcspn(words, " ");
        printf("complete -c berth -n __fish_use_subcommand -f -a %.*s -d ", len, words);
        fish_text(blank ? "commands of this kind" : command->summary);
        putchar('\n');
        snprintf(condition, sizeof(condition), "__fish_seen_subcommand_from %.*s", len, words);
        if (blank) {
            printf("complete -c berth -n '%s' -f -a %s -d ", condition, blank + 1);
            fish_text(command->summary);
            putchar('\n');
            snprintf(condition, sizeof(condition),
                     "__fish_seen_subcommand_from %.*s; and __fish_seen_subcommand_from %s", len,
                     words, blank + 1);
        }
        fish_options(condition, command->spec.options);
    }
}

int cli_completion(struct cli *cli)
{
    static const struct {
        const char *name;
        void (*print)(void);
    } shells[] = {{"bash", print_bash}, {"zsh", print_zsh}, {"fish", print_fish}};
    const char *shell = cli->after.operand_count == 1 ? cli->after.operands[0] : "";
    for (size_t i = 0; i < sizeof(shells) / sizeof(shells[0]); i++) {
        if (strcmp(shell, shells[i].name) == 0) {
            shells[i].print();
            return EXIT_CODE_OK;
        }
    }
    return cli_usage(cli, "expected bash, zsh or fish");
}

int cli_config(struct cli *cli)
{
    config_print(cli->cfg, stdout);
    return EXIT_CODE_OK;
}
