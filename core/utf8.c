#include "core/utf8.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static bool is_continuation(unsigned char byte)
{
    return (byte & 0xC0) == 0x80;
}

size_t utf8_sequence_len(const char *text)
{
    const unsigned char *byte = (const unsigned char *)text;
    if (byte[0] < 0x80)
        return byte[0] != 0;
    if (byte[0] >= 0xC2 && byte[0] <= 0xDF)
        return is_continuation(byte[1]) ? 2 : 0;
    if (byte[0] >= 0xE0 && byte[0] <= 0xEF) {
        bool second = is_continuation(byte[1]) && (byte[0] != 0xE0 || byte[1] >= 0xA0) &&
                      (byte[0] != 0xED || byte[1] <= 0x9F);
        return second && is_continuation(byte[2]) ? 3 : 0;
    }
    if (byte[0] >= 0xF0 && byte[0] <= 0xF4) {
        bool second = is_continuation(byte[1]) && (byte[0] != 0xF0 || byte[1] >= 0x90) &&
                      (byte[0] != 0xF4 || byte[1] <= 0x8F);
        return second && is_continuation(byte[2]) && is_continuation(byte[3]) ? 4 : 0;
    }
    return 0;
}

/* The code point of the sequence. */
static uint32_t code_point(const char *text, size_t len)
{
    static const unsigned char masks[5] = {0, 0x7F, 0x1F, 0x0F, 0x07};
    assert(len >= 1 && len <= 4);
    uint32_t point = (unsigned char)text[0] & masks[len];
    for (size_t i = 1; i < len; i++)
        point = point << 6 | ((unsigned char)text[i] & 0x3F);
    return point;
}

struct range {
    uint32_t first, last;
};

static bool is_in(uint32_t point, const struct range *ranges, size_t count)
{
    for (size_t i = 0; i < count && point >= ranges[i].first; i++) {
        if (point <= ranges[i].last)
            return true;
    }
    return false;
}

/* Control characters, separators of lines, and Unicode's Default_Ignorable_Code_Point. The table is
 * our own, since a decision's sentence must not depend on the version of a library. */
static const struct range hidden[] = {
    {0x0000, 0x001F}, {0x007F, 0x009F},   {0x00AD, 0x00AD},   {0x034F, 0x034F},   {0x061C, 0x061C},
    {0x115F, 0x1160}, {0x17B4, 0x17B5},   {0x180B, 0x180F},   {0x200B, 0x200F},   {0x2028, 0x202E},
    {0x2060, 0x206F}, {0x3164, 0x3164},   {0xFE00, 0xFE0F},   {0xFEFF, 0xFEFF},   {0xFFA0, 0xFFA0},
    {0xFFF0, 0xFFFB}, {0x1BCA0, 0x1BCA3}, {0x1D173, 0x1D17A}, {0xE0000, 0xE0FFF},
};
/* Zero width non-joiner, zero width joiner and the variation selectors of emoji. */
static const struct range joining[] = {{0x200C, 0x200D}, {0xFE00, 0xFE0F}};
/* Latin, Greek and Cyrillic need no joiners, and end before this. */
#define FIRST_JOINED 0x0590

static bool is_hidden(uint32_t point, uint32_t before)
{
    if (before >= FIRST_JOINED && is_in(point, joining, sizeof(joining) / sizeof(joining[0])))
        return false;
    return is_in(point, hidden, sizeof(hidden) / sizeof(hidden[0]));
}

/* \uXXXX, or both surrogates of a character above U+FFFF. Returns the length. */
static size_t escape(uint32_t point, char piece[UTF8_VISIBLE_MAX + 1])
{
    unsigned high = 0xD800 + ((point - 0x10000) >> 10), low = 0xDC00 + (point & 0x3FF);
    return (size_t)(point < 0x10000
                        ? snprintf(piece, UTF8_VISIBLE_MAX + 1, "\\u%04x", (unsigned)point)
                        : snprintf(piece, UTF8_VISIBLE_MAX + 1, "\\u%04x\\u%04x", high, low));
}

size_t utf8_visible(char *out, size_t room, const char *text)
{
    assert(room > 0);
    size_t len = 0;
    uint32_t before = 0;
    while (*text != '\0') {
        char piece[UTF8_VISIBLE_MAX + 1];
        size_t own_len = utf8_sequence_len(text), piece_len = own_len;
        uint32_t point = own_len > 0 ? code_point(text, own_len) : 0;
        if (own_len == 0) {
            piece_len = (size_t)snprintf(piece, sizeof(piece), "\\x%02x", (unsigned char)*text);
        } else if (is_hidden(point, before)) {
            piece_len = escape(point, piece);
        } else {
            memcpy(piece, text, own_len);
        }
        if (len + piece_len >= room)
            break;
        memcpy(out + len, piece, piece_len);
        len += piece_len;
        before = point;
        text += own_len > 0 ? own_len : 1;
    }
    out[len] = '\0';
    return len;
}
