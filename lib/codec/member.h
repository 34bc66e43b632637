/* Members of the JSON objects that events and the reader's answers hold. `path` is a member's name,
 * or names joined by dots: "data.request.id". A member that is missing, or of another type, is no
 * error: each function says what it gives instead. */
#ifndef BERTH_LIB_CODEC_MEMBER_H
#define BERTH_LIB_CODEC_MEMBER_H

#include <jansson.h>
#include <stdint.h>

/* Borrowed from the object; NULL instead. */
const json_t *member(const json_t *object, const char *path);
/* The same of a string. */
const char *member_text(const json_t *object, const char *path);
/* The same; `otherwise` instead. */
const char *member_or(const json_t *object, const char *path, const char *otherwise);
/* The same; "" instead. */
const char *member_shown(const json_t *object, const char *path);
/* 0 instead. */
int64_t member_number(const json_t *object, const char *path);
/* A time like 2026-12-01T02:00:00Z, in milliseconds; 0 instead. */
int64_t member_time_ms(const json_t *object, const char *path);

#endif
