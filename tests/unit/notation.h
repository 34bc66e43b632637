/* The decision table's notation for JSON: one object per line, without commas or needless quotes.
 *
 *   booking id=1 start=10:00 allocations=[gpu4:1:8]
 *
 * The words:
 *   10:00, 09:00:00.999, 2d10:00   a time on 2026-12-01, or 2 days later: "2026-12-01T10:00:00Z"
 *   90m, 2h, 366d                  a length: its seconds
 *   gpu4:1:8                       {"machine": "gpu4", "gpus": 1, "memory_gib": 8}
 *   12, null, true, false          as in JSON
 *   up, "has no more"              a string */
#ifndef BERTH_TESTS_NOTATION_H
#define BERTH_TESTS_NOTATION_H

#include <jansson.h>
#include <stdint.h>

#define NOTATION_DAY_MS INT64_C(1796083200000) /* 2026-12-01T00:00:00Z */

/* Parses a line into a new object; a first word without '=' becomes the member `first`. A malformed
 * line fails the test. */
json_t *notation_read(const char *line, const char *first);
/* Parses the time at the start of the text, in ms. */
int64_t notation_time(const char *text);

#endif
