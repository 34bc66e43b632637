#include "lib/base/spoken_time.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/timetext.h"

#define DAY_S    86400
#define HOUR_S   3600
#define TEXT_LEN 64
#define WORD_MAX 8

/* A text in lower case, cut at blanks and commas. */
struct words {
    char text[TEXT_LEN];
    char *word[WORD_MAX + 1]; /* "" behind the last one */
    size_t count, next;
};

static bool split(const char *text, struct words *words)
{
    size_t len = strlen(text);
    *words = (struct words){0};
    if (len >= TEXT_LEN)
        return false;
    for (size_t i = 0; i < len; i++) {
        bool capital = text[i] >= 'A' && text[i] <= 'Z';
        words->text[i] = (char)(capital ? text[i] - 'A' + 'a' : text[i]);
    }
    /* The T of "2026-12-01T03:00". */
    if (len > 11 && timetext_digits(text, 4) >= 0 && text[4] == '-' && words->text[10] == 't')
        words->text[10] = ' ';
    for (char *at = words->text; words->count < WORD_MAX;) {
        at += strspn(at, " ,");
        if (*at == '\0')
            break;
        words->word[words->count++] = at;
        at += strcspn(at, " ,");
        if (*at != '\0')
            *at++ = '\0';
    }
    words->word[words->count] = words->text + len;
    return words->count > 0 && words->count < WORD_MAX;
}

static const char *peek(const struct words *words)
{
    return words->word[words->next];
}

static bool take_word(struct words *words, const char *word)
{
    if (strcmp(peek(words), word) != 0)
        return false;
    words->next++;
    return true;
}

/* The name that the word begins, with three letters at least, as "mon" and "sept" do; -1: none. */
static int named(const char *word, const char *const *names, int count)
{
    size_t len = strlen(word);
    for (int i = 0; len >= 3 && i < count; i++) {
        if (strncmp(names[i], word, len) == 0)
            return i;
    }
    return -1;
}

static int weekday_of(const char *word)
{
    static const char *const names[] = {"sunday",   "monday", "tuesday", "wednesday",
                                        "thursday", "friday", "saturday"};
    return named(word, names, 7);
}

static int month_of(const char *word)
{
    static const char *const names[] = {"january",   "february", "march",    "april",
                                        "may",       "june",     "july",     "august",
                                        "september", "october",  "november", "december"};
    return named(word, names, 12) + 1;
}

/* A number of at most `digits` digits that is the whole word; -1: not that. */
static int whole_number(const char *word, size_t digits)
{
    size_t len = strlen(word);
    return len >= 1 && len <= digits ? timetext_digits(word, (int)len) : -1;
}

/* "2026-12-01" */
static bool take_iso_date(struct words *words, struct spoken_time *out)
{
    const char *word = peek(words);
    if (strlen(word) != 10 || word[4] != '-' || word[7] != '-')
        return false;
    out->year = timetext_digits(word, 4);
    out->month = timetext_digits(word + 5, 2);
    out->mday = timetext_digits(word + 8, 2);
    out->day = SPOKEN_DATE;
    words->next++;
    return true;
}

/* "dec 1", "1 dec", and perhaps a year */
static bool take_month_day(struct words *words, struct spoken_time *out)
{
    const char *first = peek(words), *second = *first ? words->word[words->next + 1] : first;
    int month = month_of(first), mday = whole_number(second, 2);
    if (month == 0) {
        month = month_of(second);
        mday = whole_number(first, 2);
    }
    if (month == 0 || mday < 0)
        return false;
    words->next += 2;
    out->day = SPOKEN_MONTH_DAY;
    out->month = month;
    out->mday = mday;
    if (strlen(peek(words)) == 4 && (out->year = whole_number(peek(words), 4)) >= 0) {
        out->day = SPOKEN_DATE;
        words->next++;
    }
    return true;
}

static bool take_weekday(struct words *words, struct spoken_time *out)
{
    size_t before = words->next;
    out->next = take_word(words, "next");
    out->weekday = weekday_of(peek(words));
    if (out->weekday < 0) {
        words->next = before;
        return false;
    }
    out->day = SPOKEN_WEEKDAY;
    words->next++;
    return true;
}

static void take_day(struct words *words, struct spoken_time *out)
{
    if (take_word(words, "today")) {
        out->day = SPOKEN_TODAY;
    } else if (take_word(words, "tomorrow")) {
        out->day = SPOKEN_TOMORROW;
    } else if (!take_weekday(words, out) && !take_iso_date(words, out)) {
        take_month_day(words, out);
    }
}

static bool take_two_digits(const char **text, int max, int *out)
{
    if (**text != ':')
        return false;
    *out = timetext_digits(*text + 1, 2);
    *text += 3;
    return *out >= 0 && *out <= max;
}

/* "+01:00", "utc", "z", or nothing, at the end of a word. */
static bool read_offset(const char *text, struct spoken_time *out)
{
    if (*text == '\0')
        return true;
    out->has_offset = true;
    if (strcmp(text, "z") == 0 || strcmp(text, "utc") == 0 || strcmp(text, "gmt") == 0)
        return true;
    int hours = strlen(text) == 6 ? timetext_digits(text + 1, 2) : -1;
    int minutes = hours >= 0 && text[3] == ':' ? timetext_digits(text + 4, 2) : -1;
    if ((text[0] != '+' && text[0] != '-') || hours < 0 || hours > 23 || minutes < 0 ||
        minutes > 59)
        return false;
    out->offset_s = (hours * HOUR_S + minutes * 60) * (text[0] == '-' ? -1 : 1);
    return true;
}

/* "am" or "pm": makes the hour one of 24. False: there is no such hour. */
static bool half_of_day(bool pm, int *hour)
{
    if (*hour < 1 || *hour > 12)
        return false;
    *hour = *hour % 12 + (pm ? 12 : 0);
    return true;
}

/* "9:00", "9:00:30", "9am", "9:00 pm", "24:00", with an offset behind it */
static bool take_clock(struct words *words, struct spoken_time *out)
{
    const char *text = peek(words);
    size_t digits = strspn(text, "0123456789");
    int hour = digits >= 1 && digits <= 2 ? timetext_digits(text, (int)digits) : -1;
    int minute = 0, second = 0;
    text += digits;
    bool has_minutes = *text == ':';
    if (hour < 0 || hour > 24 || (has_minutes && !take_two_digits(&text, 59, &minute)) ||
        (*text == ':' && !take_two_digits(&text, 59, &second)))
        return false;
    if (*text == '\0' && words->word[words->next + 1][0] != '\0' &&
        (strcmp(words->word[words->next + 1], "am") == 0 ||
         strcmp(words->word[words->next + 1], "pm") == 0))
        text = words->word[++words->next];
    bool half = strncmp(text, "am", 2) == 0 || strncmp(text, "pm", 2) == 0;
    if (half && !half_of_day(*text == 'p', &hour))
        return false;
    text += half ? 2 : 0;
    words->next++;
    out->second = hour * HOUR_S + minute * 60 + second;
    return (half || has_minutes) && out->second <= DAY_S && read_offset(text, out);
}

static bool take_time(struct words *words, struct spoken_time *out)
{
    if (take_word(words, "noon")) {
        out->second = INT64_C(12) * HOUR_S;
        return true;
    }
    return take_clock(words, out);
}

static bool date_exists(const struct spoken_time *time)
{
    if (time->day != SPOKEN_DATE && time->day != SPOKEN_MONTH_DAY)
        return true;
    int year = time->day == SPOKEN_DATE ? time->year : 2000; /* a leap year */
    return year >= 1970 && time->month >= 1 && time->month <= 12 && time->mday >= 1 &&
           time->mday <= timetext_days_in_month(year, time->month);
}

bool spoken_time_parse(const char *text, struct spoken_time *out)
{
    struct words words;
    struct spoken_time time = {.second = -1};
    if (!split(text, &words))
        return false;
    take_day(&words, &time);
    take_word(&words, "at");
    if (words.next < words.count && !take_time(&words, &time))
        return false;
    if (words.next < words.count && !time.has_offset && read_offset(peek(&words), &time))
        words.next++;
    *out = time;
    return words.next == words.count && (time.day != SPOKEN_NO_DAY || time.second >= 0) &&
           date_exists(&time);
}

/* ---- durations ------------------------------------------------------------------------------ */

static const struct unit {
    int64_t seconds;
    const char *words; /* each between blanks */
} units[] = {
    {7 * DAY_S, " w wk week weeks "},   {DAY_S, " d day days "},
    {HOUR_S, " h hr hrs hour hours "},  {60, " m min mins minute minutes "},
    {1, " s sec secs second seconds "},
};

/* The unit at text, whose letters are counted in *len; NULL: none. */
static const struct unit *unit_at(const char *text, size_t *len)
{
    char word[16];
    *len = strspn(text, "abcdefghijklmnopqrstuvwxyz");
    if (*len == 0 || *len > 10)
        return NULL;
    word[0] = ' ';
    memcpy(word + 1, text, *len);
    memcpy(word + 1 + *len, " ", 2);
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (strstr(units[i].words, word))
            return &units[i];
    }
    return NULL;
}

static const char *skip_blanks(const char *text)
{
    return text + strspn(text, " ");
}

/* Numbers with units, the largest unit first; a last number without one after hours is minutes. */
static int64_t amounts_s(const char *text)
{
    int64_t total = 0, last_s = INT64_MAX;
    size_t len;
    text = skip_blanks(text);
    if (*text == '\0')
        return -1;
    while (*text) {
        size_t digits = strspn(text, "0123456789");
        if (digits < 1 || digits > 9)
            return -1;
        int64_t value = strtoll(text, NULL, 10);
        text = skip_blanks(text + digits);
        if (*text == '\0' && last_s == HOUR_S && digits == 2 && value < 60)
            return total + value * 60;
        const struct unit *unit = unit_at(text, &len);
        if (!unit || unit->seconds >= last_s)
            return -1;
        total += value * unit->seconds;
        last_s = unit->seconds;
        text = skip_blanks(text + len);
    }
    return total;
}

/* ISO 8601's "P1DT2H30M" and "P2W", without years, months and fractions. */
static int64_t iso_s(const char *text)
{
    char plain[TEXT_LEN];
    size_t len = 0;
    bool time = false;
    if (*text++ != 'P' || strlen(text) >= TEXT_LEN)
        return -1;
    for (; *text; text++) {
        if (*text == 'T' && !time && text[1] != '\0') {
            time = true;
            continue;
        }
        bool letter = *text >= 'A' && *text <= 'Z';
        if (letter && !strchr(time ? "HMS" : "WD", *text))
            return -1;
        if (!letter && (*text < '0' || *text > '9'))
            return -1;
        plain[len++] = (char)(letter ? *text - 'A' + 'a' : *text);
    }
    plain[len] = '\0';
    return amounts_s(plain);
}

int64_t spoken_duration_s(const char *text)
{
    return *text == 'P' ? iso_s(text) : amounts_s(text);
}
