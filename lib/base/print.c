#include "lib/base/print.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/utf8.h"
#include "lib/base/mem.h"

char *print_visible(const char *text)
{
    size_t room = strlen(text) * UTF8_VISIBLE_MAX + 1;
    char *visible = xmalloc(room);
    utf8_visible(visible, room, text);
    return visible;
}

static void put(FILE *out, const char *text)
{
    char *visible = print_visible(text);
    fputs(visible, out);
    free(visible);
}

static void print(FILE *out, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

static void print(FILE *out, const char *format, va_list args)
{
    struct buf text = {0};
    buf_vprintf(&text, format, args);
    put(out, text.data);
    buf_fini(&text);
}

void print_part(FILE *out, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    print(out, format, args);
    va_end(args);
}

void print_line(FILE *out, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    print(out, format, args);
    va_end(args);
    putc('\n', out);
}

void print_lines(FILE *out, const char *text)
{
    while (*text != '\0') {
        size_t len = strcspn(text, "\n");
        char *line = xstrndup(text, len);
        put(out, line);
        putc('\n', out);
        free(line);
        text += len + (text[len] == '\n');
    }
}

void print_json(FILE *out, const char *json)
{
    if (isatty(fileno(out))) {
        print_lines(out, json);
    } else {
        fputs(json, out);
        putc('\n', out);
    }
}
