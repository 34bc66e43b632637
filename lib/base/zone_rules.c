#include "lib/base/zone_rules.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"
#include "lib/base/timetext.h"

#define DAY_S        86400
#define HOUR_S       3600
/* The largest files of the database have 4 KiB. */
#define FILE_LEN     ((size_t)64 * 1024)
#define HEADER_LEN   44
/* Offsets lie between these (RFC 9636 §3.2). */
#define OFFSET_MAX_S (26 * HOUR_S - 1)
#define OFFSET_MIN_S (-25 * HOUR_S + 1)

/* ---- POSIX rules --------------------------------------------------------------------------- */

/* A day of each year, and a time of that day on the clock that runs until then. */
struct posix_date {
    char
        form; /* 'J': day 1..365, without 29 February; '0': day 0..365; 'M': month, week, weekday */
    int month, week, day;
    int64_t time_s; /* may be negative, or more than a day */
};

struct posix_rule {
    int64_t std_s, dst_s; /* seconds east of UTC */
    bool has_dst, has_dates;
    struct posix_date start, end; /* of daylight saving */
};

static bool take(const char **text, char c)
{
    if (**text != c)
        return false;
    (*text)++;
    return true;
}

static bool take_number(const char **text, int min, int max, int *out)
{
    size_t digits = strspn(*text, "0123456789");
    if (digits < 1 || digits > 3)
        return false;
    *out = timetext_digits(*text, (int)digits);
    *text += digits;
    return *out >= min && *out <= max;
}

/* [+-]hh[:mm[:ss]] */
static bool take_time(const char **text, int hours_max, int64_t *out)
{
    int hours = 0, minutes = 0, seconds = 0;
    bool negative = take(text, '-');
    if (!negative)
        take(text, '+');
    if (!take_number(text, 0, hours_max, &hours) ||
        (take(text, ':') && !take_number(text, 0, 59, &minutes)) ||
        (take(text, ':') && !take_number(text, 0, 59, &seconds)))
        return false;
    *out = (hours * HOUR_S + minutes * 60 + seconds) * (negative ? -1 : 1);
    return true;
}

/* "CET" or "<+03>" */
static bool take_name(const char **text)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    bool quoted = take(text, '<');
    size_t len = strspn(*text, letters);
    if (quoted)
        len = strcspn(*text, ">");
    *text += len;
    return len >= 3 && (!quoted || take(text, '>'));
}

static bool take_date(const char **text, struct posix_date *date)
{
    *date = (struct posix_date){.form = '0', .time_s = INT64_C(2) * HOUR_S};
    bool ok;
    if (take(text, 'M')) {
        date->form = 'M';
        ok = take_number(text, 1, 12, &date->month) && take(text, '.') &&
             take_number(text, 1, 5, &date->week) && take(text, '.') &&
             take_number(text, 0, 6, &date->day);
    } else {
        if (take(text, 'J'))
            date->form = 'J';
        ok = take_number(text, date->form == 'J' ? 1 : 0, 365, &date->day);
    }
    return ok && (!take(text, '/') || take_time(text, 167, &date->time_s));
}

static bool parse_posix(const char *text, struct posix_rule *rule)
{
    *rule = (struct posix_rule){0};
    int64_t west_s;
    if (!take_name(&text) || !take_time(&text, 24, &west_s))
        return false;
    rule->std_s = -west_s;
    if (*text == '\0')
        return true;
    rule->has_dst = true;
    rule->dst_s = rule->std_s + HOUR_S;
    if (!take_name(&text))
        return false;
    if (*text != '\0' && *text != ',') {
        if (!take_time(&text, 24, &west_s))
            return false;
        rule->dst_s = -west_s;
    }
    if (*text == '\0')
        return true;
    rule->has_dates = true;
    return take(&text, ',') && take_date(&text, &rule->start) && take(&text, ',') &&
           take_date(&text, &rule->end) && *text == '\0';
}

bool zone_rules_is_posix(const char *text)
{
    struct posix_rule rule;
    return parse_posix(text, &rule);
}

/* The date in a year, as days since 1970. */
static int64_t day_of(const struct posix_date *date, int year)
{
    int64_t new_year = timetext_days(year, 1, 1);
    if (date->form == '0')
        return new_year + date->day;
    if (date->form == 'J') {
        bool leap = timetext_days(year, 3, 1) - new_year == 60;
        return new_year + date->day - 1 + (leap && date->day >= 60);
    }
    int64_t first = timetext_days(year, date->month, 1);
    int64_t next = date->month < 12 ? timetext_days(year, date->month + 1, 1)
                                    : timetext_days(year + 1, 1, 1);
    int weekday = (int)((first + 4) % 7); /* 1970-01-01 was a Thursday */
    int64_t day = first + (date->day - weekday + 7) % 7 + (int64_t)(date->week - 1) * 7;
    return day < next ? day : day - 7;
}

/* By the latest change at or before the instant, in its year or the one before. */
static int64_t posix_offset_s(const struct posix_rule *rule, int64_t utc_s)
{
    int64_t latest_s = INT64_MIN, offset_s = rule->std_s;
    if (!rule->has_dst)
        return rule->std_s;
    int year = timetext_year(utc_s);
    for (int y = year - 1; y <= year + 1; y++) {
        int64_t end_s = day_of(&rule->end, y) * DAY_S + rule->end.time_s - rule->dst_s;
        int64_t start_s = day_of(&rule->start, y) * DAY_S + rule->start.time_s - rule->std_s;
        if (end_s <= utc_s && end_s > latest_s) {
            latest_s = end_s;
            offset_s = rule->std_s;
        }
        /* If both are at one instant, daylight saving lasts all year. */
        if (start_s <= utc_s && start_s >= latest_s) {
            latest_s = start_s;
            offset_s = rule->dst_s;
        }
    }
    return offset_s;
}

/* ---- files ---------------------------------------------------------------------------------- */

struct change {
    int64_t at_s;
    int64_t offset_s; /* from then on */
};

struct zone_rules {
    int64_t first_offset_s; /* before all changes */
    size_t count;
    struct change *changes; /* ascending */
    bool has_footer;
    struct posix_rule footer; /* from the last change on */
};

static uint64_t big_endian(const uint8_t *bytes, size_t len)
{
    uint64_t value = 0;
    for (size_t i = 0; i < len; i++)
        value = value << 8 | bytes[i];
    return value;
}

/* A part of a file: the numbers in its header, and how long it is without the header. */
struct block {
    size_t times, types, names, leaps, std_flags, utc_flags;
    size_t len;
};

static bool read_header(const uint8_t *bytes, size_t len, size_t time_len, struct block *out)
{
    if (len < HEADER_LEN || memcmp(bytes, "TZif", 4) != 0)
        return false;
    struct block block = {.utc_flags = big_endian(bytes + 20, 4),
                          .std_flags = big_endian(bytes + 24, 4),
                          .leaps = big_endian(bytes + 28, 4),
                          .times = big_endian(bytes + 32, 4),
                          .types = big_endian(bytes + 36, 4),
                          .names = big_endian(bytes + 40, 4)};
    block.len = block.times * (time_len + 1) + block.types * 6 + block.names +
                block.leaps * (time_len + 4) + block.std_flags + block.utc_flags;
    *out = block;
    return block.types >= 1 && block.len <= len - HEADER_LEN;
}

/* The offset of type `index`; false: there is no such type, or no clock can have the offset. */
static bool read_type(const uint8_t *types, const struct block *block, size_t index, int64_t *out)
{
    if (index >= block->types)
        return false;
    *out = (int32_t)(uint32_t)big_endian(types + index * 6, 4);
    return *out >= OFFSET_MIN_S && *out <= OFFSET_MAX_S;
}

static bool read_changes(struct zone_rules *rules, const uint8_t *bytes, const struct block *block)
{
    const uint8_t *indexes = bytes + block->times * 8, *types = indexes + block->times;
    if (!read_type(types, block, 0, &rules->first_offset_s))
        return false;
    rules->changes = xcalloc(block->times + 1, sizeof(*rules->changes));
    for (; rules->count < block->times; rules->count++) {
        struct change *change = &rules->changes[rules->count];
        change->at_s = (int64_t)big_endian(bytes + rules->count * 8, 8);
        if (!read_type(types, block, indexes[rules->count], &change->offset_s) ||
            (rules->count > 0 && change->at_s <= change[-1].at_s))
            return false;
    }
    return true;
}

/* A line between two newlines, perhaps empty. */
static bool read_footer(struct zone_rules *rules, const char *text, size_t len)
{
    const char *end = len > 1 && text[0] == '\n' ? memchr(text + 1, '\n', len - 1) : NULL;
    if (!end)
        return false;
    if (end == text + 1)
        return true;
    char *rule = xstrndup(text + 1, (size_t)(end - text) - 1);
    rules->has_footer = true;
    bool ok = parse_posix(rule, &rules->footer) && rules->footer.has_dst == rules->footer.has_dates;
    free(rule);
    return ok;
}

/* The first block is for programs of another age: skipped. */
static bool read_all(struct zone_rules *rules, const uint8_t *bytes, size_t len)
{
    struct block block;
    if (!read_header(bytes, len, 4, &block) || bytes[4] < '2')
        return false;
    bytes += HEADER_LEN + block.len;
    len -= HEADER_LEN + block.len;
    if (!read_header(bytes, len, 8, &block) || !read_changes(rules, bytes + HEADER_LEN, &block))
        return false;
    return read_footer(rules, (const char *)bytes + HEADER_LEN + block.len,
                       len - HEADER_LEN - block.len);
}

struct zone_rules *zone_rules_read(const char *path)
{
    FILE *file = fopen(path, "rbe");
    if (!file)
        return NULL;
    uint8_t *bytes = xmalloc(FILE_LEN);
    size_t len = fread(bytes, 1, FILE_LEN, file);
    struct zone_rules *rules = xcalloc(1, sizeof(*rules));
    bool ok = len < FILE_LEN && !ferror(file) && read_all(rules, bytes, len);
    fclose(file);
    free(bytes);
    if (ok)
        return rules;
    zone_rules_free(rules);
    return NULL;
}

void zone_rules_free(struct zone_rules *rules)
{
    free(rules->changes);
    free(rules);
}

int64_t zone_rules_offset_s(const struct zone_rules *rules, int64_t utc_s)
{
    size_t low = 0, high = rules->count; /* changes[low - 1] is at or before the instant */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (rules->changes[middle].at_s <= utc_s) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == rules->count && rules->has_footer)
        return posix_offset_s(&rules->footer, utc_s);
    return low > 0 ? rules->changes[low - 1].offset_s : rules->first_offset_s;
}
