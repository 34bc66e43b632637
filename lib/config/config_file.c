#include "lib/config/config_file.h"

#include <ctype.h>
#include <string.h>

static char *skip_blanks(char *text)
{
    while (isspace((unsigned char)*text))
        text++;
    return text;
}

static void cut_blanks_behind(char *text)
{
    size_t len = strlen(text);
    while (len > 0 && isspace((unsigned char)text[len - 1]))
        len--;
    text[len] = '\0';
}

/* The end of the value that begins at text: where a # that follows a blank begins a comment. */
static char *comment(char *text)
{
    for (char *c = text; *c; c++) {
        if (*c == '#' && (c == text || isspace((unsigned char)c[-1])))
            return c;
    }
    return NULL;
}

/* Returns the value in the text behind '=', or NULL with *wrong set. */
static char *parse_value(char *text, const char **wrong)
{
    char *value = skip_blanks(text);
    if (*value != '"') {
        char *end = comment(value);
        if (end)
            *end = '\0';
        cut_blanks_behind(value);
        return value;
    }
    char *quote = strchr(++value, '"');
    if (!quote) {
        *wrong = "a value that begins with \" must end with one";
        return NULL;
    }
    char *rest = skip_blanks(quote + 1);
    if (*rest && *rest != '#') {
        *wrong = "nothing but a # comment may follow a quoted value";
        return NULL;
    }
    *quote = '\0';
    return value;
}

static enum err parse_line(char *line, config_file_fn *fn, void *arg, int number, struct failure *f)
{
    char *key = skip_blanks(line);
    if (*key == '\0' || *key == '#')
        return ERR_OK;
    char *equals = strchr(key, '=');
    if (!equals)
        return failure_set(f, ERR_CONFIG, "expected `key = value`");
    *equals = '\0';
    cut_blanks_behind(key);
    if (*key == '\0')
        return failure_set(f, ERR_CONFIG, "expected a key before '='");
    const char *wrong = NULL;
    char *value = parse_value(equals + 1, &wrong);
    if (!value)
        return failure_set(f, ERR_CONFIG, "%s", wrong);
    return fn(arg, key, value, number, f);
}

enum err config_file_parse(const char *name, char *text, config_file_fn *fn, void *arg,
                           struct failure *f)
{
    int number = 1;
    for (char *line = text; line; number++) {
        char *end = strchr(line, '\n');
        if (end)
            *end = '\0';
        struct failure inner = {0};
        enum err err = parse_line(line, fn, arg, number, &inner);
        if (err != ERR_OK)
            return failure_set(f, err, "%s:%d: %s", name, number, inner.text);
        line = end ? end + 1 : NULL;
    }
    return ERR_OK;
}
