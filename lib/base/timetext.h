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
/* Days since 1970-01-01 of a date from 1969 on; the day may be beyond its month. */
int64_t timetext_days(int year, int month, int day);
/* The year in UTC of an instant from 1969 on. */
int timetext_year(int64_t utc_s);
/* The days of a month, 1..12. */
int timetext_days_in_month(int year, int month);
/* Seconds of `1w2d3h4m5s`, in that order, each part optional; -1: not that. */
int64_t timetext_parse_duration(const char *text);
/* "2h", "1d12h", "45m10s": the largest units first, without zeros; 0 is "0s". Returns buf. */
const char *timetext_duration(int64_t ms, char buf[TIMETEXT_LEN]);

#endif
