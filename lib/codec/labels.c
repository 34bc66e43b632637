#include "lib/codec/labels.h"

#include <stdlib.h>
#include <string.h>

#include "core/limits.h"

static bool is_printable(const char *text, size_t max_chars, bool c1_passes)
{
    size_t chars = 0;
    for (const unsigned char *c = (const unsigned char *)text; *c != 0; c++) {
        if (*c < 0x20 || *c == 0x7F)
            return false;
        if (!c1_passes && *c == 0xC2 && c[1] >= 0x80 && c[1] <= 0x9F)
            return false;
        chars += (*c & 0xC0) != 0x80; /* every byte but a continuation begins a character */
    }
    return chars <= max_chars;
}

bool text_is_printable(const char *text, size_t max_chars)
{
    return is_printable(text, max_chars, false);
}

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct label *)a)->key, ((const struct label *)b)->key);
}

static struct labels_fault check_label(const char *key, const json_t *value, bool stored)
{
    struct labels_fault bad = {.key = key};
    if (!name_is_valid(key, LIMIT_LABEL_KEY_LEN, "/")) {
        bad.expected = "label names of 1 to 63 characters A-Z a-z 0-9 . _ - /";
    } else if (!json_is_string(value) ||
               strlen(json_string_value(value)) != json_string_length(value) ||
               !is_printable(json_string_value(value), LIMIT_LABEL_VALUE_CHARS, stored)) {
        bad.expected = "a string of at most 128 characters without control characters";
    }
    return bad;
}

/* stored: rows may have C1 characters, which requests once had. */
static struct labels_fault read_labels(const json_t *value, struct arena *arena, bool stored,
                                       struct labels *out)
{
    size_t count = json_object_size(value);
    if (!json_is_object(value) || count > LIMIT_LABELS)
        return (struct labels_fault){.expected = "an object of at most 32 labels, name to string"};
    struct label *items = arena_alloc(arena, count * sizeof(*items));
    size_t filled = 0;
    const char *key;
    json_t *member;
    json_object_foreach((json_t *)value, key, member)
    {
        struct labels_fault bad = check_label(key, member, stored);
        if (bad.expected)
            return bad;
        items[filled++] = (struct label){
            .key = arena_strdup(arena, key),
            .value = arena_strndup(arena, json_string_value(member), json_string_length(member)),
        };
    }
    qsort(items, count, sizeof(*items), by_key);
    *out = (struct labels){.count = count, .items = items};
    return (struct labels_fault){0};
}

struct labels_fault labels_from_value(const json_t *value, struct arena *arena, struct labels *out)
{
    return read_labels(value, arena, false, out);
}

void jsonout_labels(struct jsonout *out, const struct labels *labels)
{
    JSONOUT_RAW(out, "{");
    for (size_t i = 0; i < labels->count; i++) {
        jsonout_comma(out);
        jsonout_string(out, labels->items[i].key);
        JSONOUT_RAW(out, ":");
        jsonout_string(out, labels->items[i].value);
    }
    JSONOUT_RAW(out, "}");
}

char *labels_to_json(struct arena *arena, const struct labels *labels)
{
    struct jsonout out;
    jsonout_init(&out, arena, 2 + labels->count * 64);
    jsonout_labels(&out, labels);
    return jsonout_finish(&out);
}

bool labels_from_json(const char *text, size_t len, struct arena *arena, struct labels *out)
{
    json_t *value = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    struct labels_fault bad = read_labels(value, arena, true, out);
    json_decref(value);
    return !bad.expected;
}
