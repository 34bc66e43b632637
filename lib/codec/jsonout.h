/* Writes JSON text straight into an arena. The bytes are those that jansson writes with
 * JSON_COMPACT, so a text that jansson reads and dumps again stays the same. */
#ifndef BERTH_LIB_CODEC_JSONOUT_H
#define BERTH_LIB_CODEC_JSONOUT_H

#include <stddef.h>
#include <stdint.h>

#include "core/amount.h"
#include "core/arena.h"

/* Plain data, on the caller's stack. `data` is in the arena and moves when it grows. */
struct jsonout {
    struct arena *arena;
    char *data;
    size_t len, room;
};

/* Starts an empty text; `room` is the expected length in bytes. */
void jsonout_init(struct jsonout *out, struct arena *arena, size_t room);
/* Copies the bytes unchanged: punctuation and member names. */
void jsonout_raw(struct jsonout *out, const char *bytes, size_t len);
#define JSONOUT_RAW(out, literal) jsonout_raw((out), "" literal "", sizeof(literal) - 1)
/* The comma before an item or member; none behind an opening bracket. */
void jsonout_comma(struct jsonout *out);
/* A string in quotes (RFC 8259 §7). A byte that is not part of valid UTF-8 becomes U+FFFD, so the
 * text is valid JSON whatever is given. */
void jsonout_string(struct jsonout *out, const char *text);
void jsonout_int(struct jsonout *out, int64_t number);
/* "gpus":4,"memory_gib":64: two members, without braces. */
void jsonout_amount(struct jsonout *out, struct amount amount);
/* A time in quotes, as timetext_format writes it. */
void jsonout_time(struct jsonout *out, int64_t ms);
/* A literal, usually punctuation and a member's name, and the value behind it:
 * JSONOUT_INT(out, ",\"id\":", 7). */
#define JSONOUT_INT(out, literal, number)  (JSONOUT_RAW(out, literal), jsonout_int(out, number))
#define JSONOUT_STRING(out, literal, text) (JSONOUT_RAW(out, literal), jsonout_string(out, text))
#define JSONOUT_TIME(out, literal, ms)     (JSONOUT_RAW(out, literal), jsonout_time(out, ms))
/* Bytes as a string of lower-case hex digits, in quotes. */
void jsonout_hex(struct jsonout *out, const uint8_t *bytes, size_t len);
/* Ends the text with a NUL, which `len` does not count, and returns it. */
char *jsonout_finish(struct jsonout *out);

/* The text with each byte that is not part of valid UTF-8 replaced by U+FFFD. */
char *utf8_cleaned(struct arena *arena, const char *text);

#endif
