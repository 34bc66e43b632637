/* UTF-8 text that may come from anybody. */
#ifndef BERTH_CORE_UTF8_H
#define BERTH_CORE_UTF8_H

#include <stddef.h>

/* The length in bytes of the UTF-8 sequence of one character at `text` (Unicode 15, table 3-7:
 * no overlong forms, no surrogates, at most U+10FFFF); 0 when there is none, also at a NUL. */
size_t utf8_sequence_len(const char *text);

/* The most bytes that one character of a text has in its visible form. */
#define UTF8_VISIBLE_MAX 12

/* Writes `text` in its visible form, and a NUL, into `out`, which has `room` bytes (at least 1). What
 * does not fit is cut off between two characters. Returns the length without the NUL; room for
 * UTF8_VISIBLE_MAX times the length of `text` and the NUL is always enough.
 *
 * Visible means: whoever looks at it, also on a terminal, sees what there is. Control characters (C0,
 * DEL, C1), line and paragraph separators, marks that change the direction of the text, and
 * characters that take no place are written as JSON escapes them: ESC as \u001b. A joiner or a
 * variation selector stays if a script that needs it, or an emoji, precedes it. A byte that is not
 * part of valid UTF-8 becomes \xHH. A backslash stays as it is, so the visible form of a visible
 * text is the same text. */
size_t utf8_visible(char *out, size_t room, const char *text);

#endif
