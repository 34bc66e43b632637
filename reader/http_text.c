#include "reader/http_text.h"

#include <string.h>
#include <strings.h>

#include "core/utf8.h"

/* --- URLs ----------------------------------------------------------------------------------- */

const char *http_path(const char *target, size_t *len_out, const char **query_out)
{
    const char *path = target;
    if (strncasecmp(target, "http://", 7) == 0 || strncasecmp(target, "https://", 8) == 0) {
        path = strstr(target, "//") + 2;
        path += strcspn(path, "/?");
    }
    *len_out = strcspn(path, "?");
    *query_out = path[*len_out] == '?' ? path + *len_out + 1 : "";
    return path;
}

/* -1: not a digit. */
static int hex_digit(char c)
{
    static const char digits[] = "0123456789abcdef0123456789ABCDEF";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) % 16 : -1;
}

/* The byte of "%XX", of which `len` characters are there; -1: it is none. */
static int escaped_byte(const char *text, size_t len)
{
    int high = len > 2 ? hex_digit(text[1]) : -1;
    int low = high >= 0 ? hex_digit(text[2]) : -1;
    return low >= 0 ? high * 16 + low : -1;
}

static bool is_utf8(const char *text)
{
    while (*text) {
        size_t len = utf8_sequence_len(text);
        if (len == 0)
            return false;
        text += len;
    }
    return true;
}

const char *http_decode(struct arena *arena, const char *text, size_t len, bool plus)
{
    char *out = arena_strndup(arena, text, len);
    size_t to = 0;
    for (size_t at = 0; at < len; at++) {
        int byte = (unsigned char)text[at];
        if (byte == '%') {
            byte = escaped_byte(text + at, len - at);
            at += 2;
        } else if (byte == '+' && plus) {
            byte = ' ';
        }
        if (byte <= 0)
            return NULL;
        out[to++] = (char)byte;
    }
    out[to] = '\0';
    return is_utf8(out) ? out : NULL;
}

/* --- lists ---------------------------------------------------------------------------------- */

static const char *skip_blanks(const char *at)
{
    return at + strspn(at, " \t");
}

/* The opaque-tag at `at`, quotes included; 0: something else is there. */
static size_t tag_len(const char *at)
{
    const char *end = *at == '"' ? strchr(at + 1, '"') : NULL;
    return end ? (size_t)(end - at) + 1 : 0;
}

bool http_etag_listed(const char *list, const char *etag)
{
    if (!list)
        return false;
    const char *at = skip_blanks(list);
    if (*at == '*' && *skip_blanks(at + 1) == '\0')
        return true;
    while (*at) {
        if (strncmp(at, "W/", 2) == 0)
            at += 2;
        size_t len = tag_len(at);
        if (len == 0 && *at != ',')
            return false;
        if (len == strlen(etag) && memcmp(at, etag, len) == 0)
            return true;
        at = skip_blanks(at + len);
        if (*at && *at != ',')
            return false;
        at += strspn(at, ", \t");
    }
    return false;
}

/* Whether the parameters behind an item, ";name=value;…" up to `end`, have a weight of 0. */
static bool weighs_nothing(const char *at, const char *end)
{
    while (at < end) {
        at = skip_blanks(at + 1); /* behind the ';' */
        if ((*at == 'q' || *at == 'Q') && at[1] == '=')
            return at[2] == '0' && strspn(at + 2, "0.") == strcspn(at + 2, ";, \t");
        at += strcspn(at, ";,");
    }
    return false;
}

bool http_accepts(const char *list, const char *item)
{
    size_t item_len = strlen(item);
    for (const char *at = list; at && *at;) {
        at += strspn(at, ", \t");
        const char *end = at + strcspn(at, ","), *name_end = at + strcspn(at, ",; \t");
        const char *params = skip_blanks(name_end);
        if ((size_t)(name_end - at) == item_len && strncasecmp(at, item, item_len) == 0 &&
            (params == end || *params == ';'))
            return !weighs_nothing(params, end);
        at = end;
    }
    return false;
}

bool http_names_origin(const char *origins, const char *origin)
{
    size_t origin_len = strlen(origin);
    for (const char *at = origins + strspn(origins, ", "); *at; at += strspn(at, ", ")) {
        size_t len = strcspn(at, ", ");
        if (len == origin_len && memcmp(at, origin, len) == 0)
            return true;
        at += len;
    }
    return false;
}

bool http_is_digits(const char *text)
{
    return text[0] && text[strspn(text, "0123456789")] == '\0';
}
