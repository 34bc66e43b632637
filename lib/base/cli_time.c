#include "lib/base/cli_time.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "core/limits.h"
#include "lib/base/mem.h"
#include "lib/base/spoken_time.h"
#include "lib/base/timetext.h"
#include "lib/base/zone.h"

#define DAY_S          86400
/* Zones lie between 12 h west and 14 h east of UTC. */
#define OFFSET_REACH_S (15 * 3600)

/* Makes libc use the zone; NULL: what TZ was when the process began. */
static void use_zone(const char *zone)
{
    static bool saved;
    static char *original;
    if (!saved) {
        const char *tz = getenv("TZ");
        original = tz ? xstrdup(tz) : NULL;
        saved = true;
    }
    const char *wanted = zone ? zone : original;
    if (wanted) {
        setenv("TZ", wanted, 1);
    } else {
        unsetenv("TZ");
    }
    tzset();
}

static const char *zone_name(const char *zone)
{
    const char *tz = zone ? zone : getenv("TZ");
    return tz && *tz ? tz : "local time";
}

enum err cli_time_check_zone(const char *zone, struct failure *f)
{
    if (strcmp(zone, "UTC") == 0 || zone_find(zone))
        return ERR_OK;
    return failure_set(f, ERR_USAGE,
                       "there is no time zone '%.60s': expected a name like Europe/Paris or UTC",
                       zone);
}

enum err cli_time_check_environment(struct failure *f)
{
    const char *tz = getenv("TZ");
    if (!tz || zone_setting_is_valid(tz))
        return ERR_OK;
    return failure_set(f, ERR_CONFIG,
                       "TZ is '%.60s', which names no time zone here, so that times would be in "
                       "UTC: correct TZ, or unset it",
                       tz);
}

static struct tm local_of(int64_t seconds)
{
    time_t t = (time_t)seconds;
    struct tm tm = {0};
    localtime_r(&t, &tm);
    return tm;
}

static int64_t offset_at(int64_t seconds)
{
    return local_of(seconds).tm_gmtoff;
}

/* A wall clock's reading as seconds since 1970-01-01 00:00 on that clock. */
typedef int64_t reading;

/* The moments at which the clocks of the zone in use show `at`, ascending; their number. */
static size_t moments(reading at, int64_t found[2])
{
    size_t count = 0;
    int64_t last_offset = INT64_MAX;
    for (int64_t t = at - OFFSET_REACH_S; t <= at + OFFSET_REACH_S && count < 2; t += 1800) {
        int64_t offset = offset_at(t);
        if (offset == last_offset)
            continue;
        last_offset = offset;
        int64_t moment = at - offset;
        bool known = count == 1 && found[0] == moment;
        if (offset_at(moment) == offset && !known)
            found[count++] = moment;
    }
    if (count == 2 && found[0] > found[1]) {
        int64_t later = found[0];
        found[0] = found[1];
        found[1] = later;
    }
    return count;
}

static void put_reading(reading at, char buf[32])
{
    char text[TIMETEXT_LEN];
    timetext_format(at * 1000, text);
    text[10] = ' ';
    text[strcmp(text + 16, ":00Z") == 0 ? 16 : 19] = '\0';
    snprintf(buf, 32, "%.19s", text);
}

/* "2026-10-25T02:30:00+02:00": `at` with its offset from UTC. */
static void put_offset_time(reading at, int64_t offset_s, char buf[TIMETEXT_LEN])
{
    int64_t minutes = (offset_s < 0 ? -offset_s : offset_s) / 60;
    char local[TIMETEXT_LEN];
    snprintf(buf, TIMETEXT_LEN, "%.19s%c%02d:%02d", timetext_format(at * 1000, local),
             offset_s < 0 ? '-' : '+', (int)(minutes / 60), (int)(minutes % 60));
}

/* "2026-10-25T02:30:00+02:00 (00:30Z)": `at` as the clocks show it at the moment. */
static void put_choice(reading at, int64_t moment, char buf[64])
{
    char local[TIMETEXT_LEN], utc[TIMETEXT_LEN];
    put_offset_time(at, at - moment, local);
    snprintf(buf, 64, "%s (%.5sZ)", local, timetext_format(moment * 1000, utc) + 11);
}

static enum err resolve(reading at, const char *zone, int64_t *ms_out, struct failure *f)
{
    int64_t found[2];
    if (at < DAY_S || at > LIMIT_TIME_S + DAY_S)
        return failure_set(f, ERR_USAGE, "expected years 1970 to 9999");
    size_t count = moments(at, found);
    if (count == 1) {
        *ms_out = found[0] * 1000;
        return ERR_OK;
    }
    bool missing = count == 0;
    if (missing) {
        /* Both readings: by the offset before and after the change. */
        found[0] = at - offset_at(at + OFFSET_REACH_S);
        found[1] = at - offset_at(at - OFFSET_REACH_S);
    }
    char text[32], first[64], second[64];
    put_reading(at, text);
    put_choice(at, found[0], first);
    put_choice(at, found[1], second);
    return failure_set(f, ERR_USAGE, "%s %s in %s, where clocks are put %s: write %s or %s", text,
                       missing ? "does not exist" : "happens twice", zone_name(zone),
                       missing ? "forward" : "back", first, second);
}

static enum err not_a_time(const char *text, struct failure *f)
{
    return failure_set(
        f, ERR_USAGE,
        "'%.60s' is not a time: expected '2026-12-01 03:00', 'dec 1 9am', 9:00, noon, "
        "'tomorrow 03:00', 'mon 03:00', now, +2h, @1796090400 or 2026-12-01T03:00:00+01:00",
        text);
}

static enum err parse_relative(const char *text, int64_t now_ms, int64_t *ms_out, struct failure *f)
{
    int64_t duration_ms = 0;
    if (*text == '+') {
        enum err err = cli_time_parse_duration(text + 1, &duration_ms, f);
        if (err != ERR_OK)
            return err;
    }
    *ms_out = (now_ms + 999) / 1000 * 1000 + duration_ms;
    return ERR_OK;
}

static enum err parse_epoch(const char *text, int64_t *ms_out, struct failure *f)
{
    size_t len = strlen(text + 1);
    if (len < 1 || len > 12 || strspn(text + 1, "0123456789") != len)
        return not_a_time(text, f);
    int64_t seconds = strtoll(text + 1, NULL, 10);
    if (seconds > LIMIT_TIME_S)
        return failure_set(f, ERR_USAGE, "'%s' is after the year 9999: @ takes seconds", text);
    *ms_out = seconds * 1000;
    return ERR_OK;
}

/* The days from `today` (days since 1970) to the first one of that name. */
static int64_t days_until(const struct spoken_time *spoken, int64_t today)
{
    int weekday = (int)((today + 4) % 7); /* 1970-01-01 was a Thursday */
    int64_t days = (spoken->weekday - weekday + 7) % 7;
    return days == 0 && spoken->next ? 7 : days;
}

/* "Dec 1 9:00": in the first year in which that is not before `from`. */
static reading in_year(const struct spoken_time *spoken, reading from)
{
    int year = timetext_year(from);
    while (spoken->mday > timetext_days_in_month(year, spoken->month) ||
           timetext_days(year, spoken->month, spoken->mday) * DAY_S + spoken->second < from)
        year++;
    return timetext_days(year, spoken->month, spoken->mday) * DAY_S + spoken->second;
}

/* The reading that is meant on a clock that shows `now` now; what recurs is the first one that is
 * not before `from`. */
static reading meant(const struct spoken_time *spoken, reading now, reading from)
{
    int64_t second = spoken->second > 0 ? spoken->second : 0, day = from / DAY_S;
    reading at = 0;
    switch (spoken->day) {
    case SPOKEN_NO_DAY:
        at = day * DAY_S + second;
        return at < from ? at + DAY_S : at;
    case SPOKEN_TODAY:
        return now / DAY_S * DAY_S + second;
    case SPOKEN_TOMORROW:
        return (now / DAY_S + 1) * DAY_S + second;
    case SPOKEN_WEEKDAY:
        at = (day + days_until(spoken, day)) * DAY_S + second;
        return at < from ? at + 7 * DAY_S : at;
    case SPOKEN_DATE:
        return timetext_days(spoken->year, spoken->month, spoken->mday) * DAY_S + second;
    case SPOKEN_MONTH_DAY:
        break;
    }
    return in_year(spoken, from);
}

/* A day and a time of day in words. from_ms as in cli_time_parse_after. */
static enum err parse_spoken(const char *text, const char *zone, const int64_t now_from_ms[2],
                             int64_t *ms_out, struct failure *f)
{
    struct spoken_time spoken;
    if (!spoken_time_parse(text, &spoken))
        return not_a_time(text, f);
    if (spoken.second < 0 && spoken.day >= SPOKEN_DATE) {
        return failure_set(f, ERR_USAGE,
                           "'%.60s' is a day: write '%.60s 00:00' if you mean its "
                           "start",
                           text, text);
    }
    reading clock[2];
    for (int i = 0; i < 2; i++) {
        int64_t utc_s = (now_from_ms[i] + 999) / 1000;
        clock[i] = utc_s + (spoken.has_offset ? spoken.offset_s : offset_at(utc_s));
    }
    reading at = meant(&spoken, clock[0], clock[1]);
    if (!spoken.has_offset)
        return resolve(at, zone, ms_out, f);
    if (at < DAY_S)
        return failure_set(f, ERR_USAGE, "expected years 1970 to 9999");
    *ms_out = (at - spoken.offset_s) * 1000;
    return ERR_OK;
}

bool cli_time_is_now(const char *text)
{
    return strcasecmp(text, "now") == 0;
}

enum err cli_time_parse_after(const char *text, int64_t now_ms, int64_t from_ms, const char *zone,
                              int64_t *ms_out, struct failure *f)
{
    use_zone(zone);
    int64_t ms = 0;
    const int64_t now_from_ms[2] = {now_ms, from_ms};
    bool now = strncasecmp(text, "now", 3) == 0;
    const char *shift = now ? text + 3 + strspn(text + 3, " ") : text;
    enum err err = ERR_OK;
    if (*shift == '+' || (now && *shift == '\0')) {
        err = parse_relative(shift, now_ms, &ms, f);
    } else if (text[0] == '@') {
        err = parse_epoch(text, &ms, f);
    } else if (!timetext_parse(text, strlen(text), &ms)) {
        err = parse_spoken(text, zone, now_from_ms, &ms, f);
    }
    if (err == ERR_OK && ms / 1000 > LIMIT_TIME_S)
        err = failure_set(f, ERR_USAGE, "'%.60s' is after the year 9999", text);
    if (err == ERR_OK)
        *ms_out = ms;
    return err;
}

enum err cli_time_parse(const char *text, int64_t now_ms, const char *zone, int64_t *ms_out,
                        struct failure *f)
{
    return cli_time_parse_after(text, now_ms, now_ms, zone, ms_out, f);
}

static enum err not_a_duration(const char *text, const char *why, struct failure *f)
{
    return failure_set(f, ERR_USAGE, "'%.60s' is not a duration: %s", text, why);
}

/* Refuses a text that is no duration, with a reason for common mistakes. */
static enum err refuse_duration(const char *text, struct failure *f)
{
    const char *number = text + (*text == 'P');
    size_t digits = strspn(number, "0123456789");
    if (digits > 0 && number[digits] == '\0') {
        return not_a_duration(text, "a number alone can be minutes or seconds: write 90m or 90s",
                              f);
    }
    if (digits > 0 && number[digits] == ':' && !strchr(number + digits + 1, ':')) {
        return not_a_duration(text, "two numbers can be hours or minutes: write 4h30m or 04:30:00",
                              f);
    }
    if (strpbrk(text, ".,"))
        return not_a_duration(text, "fractions are not taken: write 1h30m", f);
    if (digits > 0 && (number[digits] == 'M' || strncmp(number + digits, "mo", 2) == 0))
        return not_a_duration(text, "months have no fixed length: write 30d", f);
    return not_a_duration(
        text, "expected 2h30m, '2 hours', 1w2d3h4m5s in that order, HH:MM:SS or D-HH:MM:SS", f);
}

/* "[D-]HH:MM:SS": seconds; -1: not that. */
static int64_t clock_form(const char *text)
{
    size_t len = strlen(text);
    if (len < 8 || len > 16 || text[len - 3] != ':' || text[len - 6] != ':')
        return -1;
    int minutes = timetext_digits(text + len - 5, 2);
    int seconds = timetext_digits(text + len - 2, 2);
    int hours = timetext_digits(text + len - 8, 2);
    size_t days_len = len - 8;
    if (hours < 0 || minutes < 0 || minutes > 59 || seconds < 0 || seconds > 59)
        return -1;
    if (days_len == 0)
        return hours * 3600 + minutes * 60 + seconds;
    if (days_len < 2 || text[days_len - 1] != '-' || days_len > 6 || hours > 23)
        return -1;
    int days = timetext_digits(text, (int)days_len - 1);
    return days < 0 ? -1 : (int64_t)days * DAY_S + hours * 3600 + minutes * 60 + seconds;
}

enum err cli_time_parse_duration(const char *text, int64_t *ms_out, struct failure *f)
{
    int64_t seconds = spoken_duration_s(text);
    if (seconds < 0)
        seconds = clock_form(text);
    if (seconds < 0)
        return refuse_duration(text, f);
    if (seconds > LIMIT_TIME_S)
        return not_a_duration(text, "that is longer than all times there are", f);
    *ms_out = seconds * 1000;
    return ERR_OK;
}

/* "[Tue 2026-12-01 ]03:00 CET", seconds only when there are some. */
static void put_local(struct buf *buf, int64_t ms, bool with_day)
{
    struct tm tm = local_of(ms / 1000);
    char text[64];
    if (with_day) {
        strftime(text, sizeof(text), "%a %Y-%m-%d ", &tm);
        buf_puts(buf, text);
    }
    strftime(text, sizeof(text), tm.tm_sec ? "%H:%M:%S %Z" : "%H:%M %Z", &tm);
    buf_puts(buf, text);
}

/* " (02:00Z)", with the date when it is another one there; nothing in UTC. */
static void put_utc(struct buf *buf, int64_t ms)
{
    struct tm local = local_of(ms / 1000);
    if (local.tm_gmtoff == 0)
        return;
    time_t t = (time_t)(ms / 1000);
    struct tm utc = {0};
    gmtime_r(&t, &utc);
    char text[64];
    strftime(text, sizeof(text), utc.tm_mday == local.tm_mday ? " (" : " (%a %Y-%m-%d ", &utc);
    buf_puts(buf, text);
    strftime(text, sizeof(text), utc.tm_sec ? "%H:%M:%SZ)" : "%H:%MZ)", &utc);
    buf_puts(buf, text);
}

const char *cli_time_window(int64_t start_ms, int64_t end_ms, const char *zone,
                            char buf[CLI_TIME_LEN])
{
    struct buf text = {0};
    use_zone(zone);
    bool with_day = true;
    if (start_ms < 0) {
        buf_puts(&text, "now");
    } else {
        struct tm start = local_of(start_ms / 1000);
        struct tm end = local_of(end_ms / 1000);
        put_local(&text, start_ms, true);
        put_utc(&text, start_ms);
        with_day = start.tm_yday != end.tm_yday || start.tm_year != end.tm_year;
    }
    buf_puts(&text, " – ");
    put_local(&text, end_ms, with_day);
    if (start_ms < 0) {
        put_utc(&text, end_ms);
    } else {
        char duration[TIMETEXT_LEN];
        buf_printf(&text, ", %s", timetext_duration(end_ms - start_ms, duration));
    }
    snprintf(buf, CLI_TIME_LEN, "%s", text.data);
    buf_fini(&text);
    return buf;
}

const char *cli_time_show(int64_t ms, const char *zone, char buf[CLI_TIME_LEN])
{
    struct buf text = {0};
    use_zone(zone);
    put_local(&text, ms, true);
    snprintf(buf, CLI_TIME_LEN, "%s", text.data);
    buf_fini(&text);
    return buf;
}

const char *cli_time_exact(int64_t ms, const char *zone, char buf[CLI_TIME_LEN])
{
    use_zone(zone);
    int64_t seconds = ms / 1000, offset_s = offset_at(seconds);
    /* Long ago zones had offsets with seconds, which RFC 3339 cannot express. */
    if (offset_s == 0 || offset_s % 60 != 0)
        return timetext_format(seconds * 1000, buf);
    put_offset_time(seconds + offset_s, offset_s, buf);
    return buf;
}
