/* Times as RFC 3339 text, for JSON and HTTP. lib/base/cli_time.h has those that people type. */
#ifndef BERTH_LIB_BASE_TIMETEXT_H
#define BERTH_LIB_BASE_TIMETEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TIMETEXT_LEN 32

/* "2026-12-01T02:00:00Z", or with milliseconds "….123Z" when they are not zero. Returns buf. */
const char *timetext_format(int64_t ms, char buf[TIMETEXT_LEN]);
/* Parses a strict RFC 3339 date-time ('T' and 'Z' in upper case, offset allowed, no leap second) of
 * whole seconds in the years 1970-9999. False: not one. */
bool timetext_parse(const char *text, size_t len, int64_t *ms_out);
/* The number at text, exactly `digits` digits; -1: something else is there. */
int timetext_digits(const char *text, int digits);
/* "2h", "1d12h", "45m10s": the largest units first, without zeros; 0 is "0s". Returns buf. */
const char *timetext_duration(int64_t ms, char buf[TIMETEXT_LEN]);

#endif
