/* Members of the JSON objects that events and the reader's answers hold. A member that is missing,
 * or of another type, is no error: each function says what it gives instead. */
#ifndef BERTH_CLI_MEMBER_H
#define BERTH_CLI_MEMBER_H

#include <jansson.h>
#include <stdint.h>

/* Borrowed from the object; NULL instead. */
const char *member_text(const json_t *object, const char *name);
/* The same; "" instead. */
const char *member_shown(const json_t *object, const char *name);
/* 0 instead. */
int64_t member_number(const json_t *object, const char *name);
/* The number in decimal digits; "" instead. Returns buf. */
#define MEMBER_DIGITS_LEN 24
const char *member_digits(const json_t *object, const char *name, char buf[MEMBER_DIGITS_LEN]);
/* A time like 2026-12-01T02:00:00Z, in milliseconds; 0 instead. */
int64_t member_time_ms(const json_t *object, const char *name);

#endif
