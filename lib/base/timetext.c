#include "lib/base/timetext.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"

#define DAY_S 86400

struct civil {
    int64_t year;
    int month, day;
};

/* Days since 1970-01-01 and back, in the proleptic Gregorian calendar: Howard Hinnant,
 * "chrono-Compatible Low-Level Date Algorithms". Years begin in March, so that leap days are last;
 * an era is 400 years. Only for days from 0000-03-01 on. */
static int64_t days_from_civil(struct civil date)
{
    int64_t year = date.month <= 2 ? date.year - 1 : date.year;
    int64_t era = year / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * ((date.month + 9) % 12) + 2) / 5 + date.day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static struct civil civil_from_days(int64_t days)
{
    int64_t shifted = days + 719468;
    int64_t era = shifted / 146097;
    int64_t day_of_era = shifted - era * 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month_from_march = (5 * day_of_year + 2) / 153;
    int month = (int)(month_from_march < 10 ? month_from_march + 3 : month_from_march - 9);
    return (struct civil){
        .year = year_of_era + era * 400 + (month <= 2 ? 1 : 0),
        .month = month,
        .day = (int)(day_of_year - (153 * month_from_march + 2) / 5 + 1),
    };
}

int64_t timetext_days(int year, int month, int day)
{
    return days_from_civil((struct civil){.year = year, .month = month, .day = day});
}

int timetext_year(int64_t utc_s)
{
    /* Division rounds towards zero: count from 400 years earlier, which have whole days. */
    const int64_t era_s = INT64_C(146097) * DAY_S;
    return (int)civil_from_days((utc_s + era_s) / DAY_S - 146097).year;
}

const char *timetext_format(int64_t ms, char buf[TIMETEXT_LEN])
{
    if (ms < 0 || ms / 1000 > LIMIT_TIME_S) {
        /* Outside of RFC 3339 and Berth; shown as a number, since logs show what others sent. */
        snprintf(buf, TIMETEXT_LEN, "@%" PRId64 "ms", ms);
        return buf;
    }
    int64_t seconds = ms / 1000;
    struct civil date = civil_from_days(seconds / DAY_S);
    int of_day = (int)(seconds % DAY_S);
    int len = snprintf(buf, TIMETEXT_LEN, "%04" PRId64 "-%02d-%02dT%02d:%02d:%02d", date.year,
                       date.month, date.day, of_day / 3600, of_day / 60 % 60, of_day % 60);
    assert(len == 19);
    if (ms % 1000) {
        snprintf(buf + len, TIMETEXT_LEN - (size_t)len, ".%03dZ", (int)(ms % 1000));
    } else {
        snprintf(buf + len, TIMETEXT_LEN - (size_t)len, "Z");
    }
    return buf;
}

int timetext_digits(const char *text, int digits)
{
    int value = 0;
    for (int i = 0; i < digits; i++) {
        if (text[i] < '0' || text[i] > '9')
            return -1;
        value = value * 10 + (text[i] - '0');
    }
    return value;
}

int timetext_days_in_month(int year, int month)
{
    static const int days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && leap ? 29 : days[month - 1];
}

/* "Z" or "+01:00": seconds east of UTC. */
static bool parse_offset(const char *text, size_t len, int *offset_s)
{
    if (len == 1 && text[0] == 'Z') {
        *offset_s = 0;
        return true;
    }
    if (len != 6 || (text[0] != '+' && text[0] != '-') || text[3] != ':')
        return false;
    int hours = timetext_digits(text + 1, 2);
    int minutes = timetext_digits(text + 4, 2);
    if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59)
        return false;
    *offset_s = (hours * 3600 + minutes * 60) * (text[0] == '-' ? -1 : 1);
    return true;
}

bool timetext_parse(const char *text, size_t len, int64_t *ms_out)
{
    int offset_s;
    if (len < 20 || len > 25 || !parse_offset(text + 19, len - 19, &offset_s))
        return false;
    if (text[4] != '-' || text[7] != '-' || text[10] != 'T' || text[13] != ':' || text[16] != ':')
        return false;
    int year = timetext_digits(text, 4);
    int month = timetext_digits(text + 5, 2);
    int day = timetext_digits(text + 8, 2);
    int hour = timetext_digits(text + 11, 2);
    int minute = timetext_digits(text + 14, 2);
    int second = timetext_digits(text + 17, 2);
    if (year < 1970 || month < 1 || month > 12 || day < 1 ||
        day > timetext_days_in_month(year, month))
        return false;
    if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59)
        return false;
    int64_t days = days_from_civil((struct civil){.year = year, .month = month, .day = day});
    int64_t seconds = days * DAY_S + hour * 3600 + minute * 60 + second - offset_s;
    if (seconds < 0 || seconds > LIMIT_TIME_S)
        return false;
    *ms_out = seconds * 1000;
    return true;
}

const char *timetext_duration(int64_t ms, char buf[TIMETEXT_LEN])
{
    static const struct {
        const char *name;
        uint64_t ms;
    } units[] = {
        {"w", 604800000}, {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1},
    };
    uint64_t left = ms < 0 ? UINT64_C(0) - (uint64_t)ms : (uint64_t)ms;
    size_t len = 0;
    if (ms < 0)
        buf[len++] = '-';
    if (ms == 0)
        len += (size_t)snprintf(buf, TIMETEXT_LEN, "0s");
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        uint64_t count = left / units[i].ms;
        left %= units[i].ms;
        if (count > 0) {
            len += (size_t)snprintf(buf + len, TIMETEXT_LEN - len, "%" PRIu64 "%s", count,
                                    units[i].name);
        }
        /* INT64_MIN gives the longest: -15250284452w3d7h12m55s808ms. */
        assert(len < TIMETEXT_LEN);
    }
    buf[len] = '\0';
    return buf;
}

int64_t timetext_parse_duration(const char *text)
{
    static const struct {
        char letter;
        int64_t seconds;
    } units[] = {{'w', 7 * DAY_S}, {'d', DAY_S}, {'h', 3600}, {'m', 60}, {'s', 1}};
    int64_t total = 0;
    size_t next = 0;
    if (*text == '\0')
        return -1;
    while (*text) {
        size_t digits = strspn(text, "0123456789");
        if (digits < 1 || digits > 9)
            return -1;
        int64_t value = strtoll(text, NULL, 10);
        text += digits;
        while (next < 5 && units[next].letter != *text)
            next++;
        if (next == 5)
            return -1;
        total += value * units[next++].seconds;
        text++;
    }
    return total;
}
