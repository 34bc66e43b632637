/* Days, times of day and durations in the words and forms that people type, without a zone or a
 * present moment: lib/base/cli_time.h turns them into instants. Case does not matter. */
#ifndef BERTH_LIB_BASE_SPOKEN_TIME_H
#define BERTH_LIB_BASE_SPOKEN_TIME_H

#include <stdbool.h>
#include <stdint.h>

enum spoken_day {
    SPOKEN_NO_DAY,
    SPOKEN_TODAY,
    SPOKEN_TOMORROW,
    SPOKEN_WEEKDAY,   /* "mon", "monday", "next monday" */
    SPOKEN_DATE,      /* "2026-12-01", "Dec 1 2026", "1 December 2026" */
    SPOKEN_MONTH_DAY, /* "Dec 1", "1 December" */
};

struct spoken_time {
    enum spoken_day day;
    bool next;   /* of a weekday: not today */
    int weekday; /* 0 Sunday … 6 Saturday */
    int year, month, mday;
    int64_t second;  /* of the day, 0..86400 (24:00); -1: no time of day was typed */
    bool has_offset; /* "UTC", "Z", "+01:00" */
    int64_t offset_s;
};

/* [DAY] [at] [TIME] [OFFSET], a day or a time at least. Times: 9:00, 09:00:30, 9am, 9:30 pm, noon,
 * 24:00. The date exists. False: not that. */
bool spoken_time_parse(const char *text, struct spoken_time *out);

/* "2h30", "90min", "2 hours", "1 day 12 hours", "PT2H30M", and the forms of timetext_parse_duration;
 * seconds, or -1: not that. */
int64_t spoken_duration_s(const char *text);

#endif
