#include "tests/unit/notation.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/base/mem.h"
#include "lib/base/timetext.h"

int64_t notation_time(const char *text)
{
    long day = 0;
    int hour = 0, minute = 0, second = 0, ms = 0;
    const char *clock = strchr(text, 'd') ? strchr(text, 'd') + 1 : text;
    if (clock != text)
        day = strtol(text, NULL, 10);
    if (sscanf(clock, "%2d:%2d:%2d.%3d", &hour, &minute, &second, &ms) < 2)
        fail_msg("not a time: %s", text);
    int64_t minutes = (day * INT64_C(24) + hour) * 60 + minute;
    return NOTATION_DAY_MS + (minutes * 60 + second) * 1000 + ms;
}

static void write_word(struct buf *out, const char *word)
{
    char *end, machine[65], time[TIMETEXT_LEN];
    long long gpus, memory_gib, number = strtoll(word, &end, 10);
    if (end != word && *end != '\0' && strchr("mhd", *end) && end[1] == '\0') {
        buf_printf(out, "%lld", number * (*end == 'd' ? 86400 : *end == 'h' ? 3600 : 60));
    } else if (isdigit((unsigned char)word[0]) && strchr(word, ':')) {
        buf_printf(out, "\"%s\"", timetext_format(notation_time(word), time));
    } else if (sscanf(word, "%64[^:]:%lld:%lld", machine, &gpus, &memory_gib) == 3) {
        buf_printf(out, "{\"machine\":\"%s\",\"gpus\":%lld,\"memory_gib\":%lld}", machine, gpus,
                   memory_gib);
    } else if ((end != word && *end == '\0') || strcmp(word, "null") == 0 ||
               strcmp(word, "true") == 0 || strcmp(word, "false") == 0) {
        buf_puts(out, word);
    } else {
        buf_printf(out, "\"%s\"", word);
    }
}

json_t *notation_read(const char *line, const char *first)
{
    struct buf out = {0};
    buf_puts(&out, "{");
    for (const char *at = line + strspn(line, " "); *at != '\0'; at += strspn(at, " ")) {
        char word[512];
        bool closes = *at == '}' || *at == ']';
        if (!closes && !strchr("{[:", out.data[out.len - 1]))
            buf_puts(&out, ",");
        if (closes || *at == '{' || *at == '[') {
            buf_append(&out, at++, 1);
            continue;
        }
        bool quoted = *at == '"';
        size_t len = strcspn(at += quoted, quoted ? "\"" : " =]}");
        snprintf(word, sizeof(word), "%.*s", (int)len, at);
        at += len + (quoted || at[len] == '=');
        if (!quoted && at[-1] == '=') {
            buf_printf(&out, "\"%s\":", word);
        } else if (quoted) {
            buf_printf(&out, "\"%s\"", word);
        } else {
            if (out.len == 1)
                buf_printf(&out, "\"%s\":", first);
            write_word(&out, word);
        }
    }
    buf_puts(&out, "}");
    json_t *object = json_loadb(out.data, out.len, JSON_REJECT_DUPLICATES, NULL);
    if (!object)
        fail_msg("not a line of the table: %s", line);
    buf_fini(&out);
    return object;
}
