#include "lib/codec/jsonout.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#include "core/utf8.h"
#include "lib/base/timetext.h"

#define REPLACEMENT "\xEF\xBF\xBD" /* U+FFFD */

void jsonout_init(struct jsonout *out, struct arena *arena, size_t room)
{
    assert(arena);
    assert(room < SIZE_MAX);
    *out = (struct jsonout){.arena = arena, .room = room};
    out->data = arena_alloc(arena, room + 1);
}

/* Makes room for `more` bytes and the NUL. The old memory stays in the arena; as the room doubles,
 * all of it together is smaller than the text. */
static void reserve(struct jsonout *out, size_t more)
{
    assert(more < SIZE_MAX / 4);
    if (out->room - out->len >= more)
        return;
    size_t room = out->room * 2;
    if (room < out->len + more)
        room = out->len + more;
    char *data = arena_alloc(out->arena, room + 1);
    memcpy(data, out->data, out->len);
    out->data = data;
    out->room = room;
}

void jsonout_raw(struct jsonout *out, const char *bytes, size_t len)
{
    reserve(out, len);
    memcpy(out->data + out->len, bytes, len);
    out->len += len;
}

void jsonout_comma(struct jsonout *out)
{
    assert(out->len > 0);
    char last = out->data[out->len - 1];
    if (last != '[' && last != '{')
        jsonout_raw(out, ",", 1);
}

/* Whether the byte is ASCII that a JSON string has without an escape. */
static bool is_plain(char c)
{
    return (unsigned char)c >= 0x20 && (unsigned char)c < 0x80 && c != '"' && c != '\\';
}

static void put_escape(struct jsonout *out, char c)
{
    static const char hex[] = "0123456789ABCDEF";
    static const char named[] = "\"\\\b\f\n\r\t";
    static const char letters[] = "\"\\bfnrt";
    assert(c != '\0');
    const char *found = strchr(named, c);
    if (found) {
        char pair[2] = {'\\', letters[found - named]};
        jsonout_raw(out, pair, sizeof(pair));
        return;
    }
    unsigned char byte = (unsigned char)c;
    assert(byte < 0x20);
    char escape[6] = {'\\', 'u', '0', '0', hex[byte >> 4], hex[byte & 15]};
    jsonout_raw(out, escape, sizeof(escape));
}

/* Writes the character at `text`, or U+FFFD for one byte. Returns how many bytes of `text` it was. */
static size_t put_sequence(struct jsonout *out, const char *text)
{
    size_t len = utf8_sequence_len(text);
    if (len > 0) {
        jsonout_raw(out, text, len);
    } else {
        JSONOUT_RAW(out, REPLACEMENT);
    }
    return len > 0 ? len : 1;
}

void jsonout_string(struct jsonout *out, const char *text)
{
    assert(text);
    jsonout_raw(out, "\"", 1);
    while (*text != '\0') {
        const char *end = text;
        while (is_plain(*end))
            end++;
        jsonout_raw(out, text, (size_t)(end - text));
        text = end;
        if (*text == '\0')
            break;
        if ((unsigned char)*text < 0x80) {
            put_escape(out, *text++);
        } else {
            text += put_sequence(out, text);
        }
    }
    jsonout_raw(out, "\"", 1);
}

void jsonout_int(struct jsonout *out, int64_t number)
{
    char digits[20]; /* "-9223372036854775808" */
    size_t first = sizeof(digits);
    uint64_t left = number < 0 ? UINT64_C(0) - (uint64_t)number : (uint64_t)number;
    do {
        digits[--first] = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    if (number < 0)
        digits[--first] = '-';
    jsonout_raw(out, digits + first, sizeof(digits) - first);
}

void jsonout_amount(struct jsonout *out, struct amount amount)
{
    JSONOUT_INT(out, "\"gpus\":", amount.gpus);
    JSONOUT_INT(out, ",\"memory_gib\":", amount.memory_gib);
}

void jsonout_time(struct jsonout *out, int64_t ms)
{
    char text[TIMETEXT_LEN];
    timetext_format(ms, text);
    jsonout_raw(out, "\"", 1);
    jsonout_raw(out, text, strlen(text));
    jsonout_raw(out, "\"", 1);
}

void jsonout_hex(struct jsonout *out, const uint8_t *bytes, size_t len)
{
    static const char hex[] = "0123456789abcdef";
    reserve(out, 2 * len + 2);
    out->data[out->len++] = '"';
    for (size_t i = 0; i < len; i++) {
        out->data[out->len++] = hex[bytes[i] >> 4];
        out->data[out->len++] = hex[bytes[i] & 15];
    }
    out->data[out->len++] = '"';
}

char *jsonout_finish(struct jsonout *out)
{
    assert(out->len <= out->room);
    out->data[out->len] = '\0';
    return out->data;
}

char *utf8_cleaned(struct arena *arena, const char *text)
{
    struct jsonout out;
    jsonout_init(&out, arena, strlen(text));
    while (*text != '\0')
        text += put_sequence(&out, text);
    return jsonout_finish(&out);
}
