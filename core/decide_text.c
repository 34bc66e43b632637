/* The sentences of decisions: storing and cutting them, and writing times and amounts. */
#include "core/decider.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/utf8.h"

/* The length without an incomplete UTF-8 character at the end. */
static size_t cut_len(const char *text, size_t len)
{
    size_t lead = len;
    while (lead > 0 && ((unsigned char)text[lead - 1] & 0xC0) == 0x80)
        lead--;
    if (lead == 0)
        return 0;
    unsigned char first = (unsigned char)text[lead - 1];
    size_t wanted = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : first >= 0xC0 ? 2 : 1;
    return len - (lead - 1) >= wanted ? len : lead - 1;
}

/* Copies the visible form of the sentence (core/utf8.h): it may name a member that a client sent.
 * Cuts it to LIMIT_DETAIL_LEN with its NUL. `len` is its length without a cut. Changes `detail`. */
static const char *kept(struct decider *d, char *detail, int len)
{
    assert(len > 0);
    if ((size_t)len >= LIMIT_DETAIL_LEN)
        detail[cut_len(detail, LIMIT_DETAIL_LEN - 1)] = '\0';
    char visible[LIMIT_DETAIL_LEN];
    size_t size = utf8_visible(visible, sizeof(visible), detail);
    return arena_strndup(world_arena(d->world), visible, size);
}

static void note(struct decider *d, enum reason reason, const char *format, va_list args)
    __attribute__((format(printf, 3, 0)));

static void note(struct decider *d, enum reason reason, const char *format, va_list args)
{
    assert(reason != REASON_NONE);
    assert(d->out->reason == REASON_NONE);
    char detail[LIMIT_DETAIL_LEN];
    int len = vsnprintf(detail, sizeof(detail), format, args);
    d->out->reason = reason;
    d->out->detail = kept(d, detail, len);
}

void decider_preface(struct decider *d, const char *format, ...)
{
    assert(d->out->detail);
    char preface[LIMIT_DETAIL_LEN], detail[LIMIT_DETAIL_LEN];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(preface, sizeof(preface), format, args);
    va_end(args);
    assert(len > 0 && len < LIMIT_DETAIL_LEN);
    len = snprintf(detail, sizeof(detail), "%s%s", preface, d->out->detail);
    d->out->detail = kept(d, detail, len);
}

bool decider_reject(struct decider *d, enum reason reason, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    note(d, reason, format, args);
    va_end(args);
    return false;
}

bool decider_reject_machine(struct decider *d, enum reason reason, const char *machine,
                            const char *format, ...)
{
    va_list args;
    va_start(args, format);
    note(d, reason, format, args);
    va_end(args);
    d->out->blocking_machine = arena_strdup(world_arena(d->world), machine);
    return false;
}

/* gmtime_r is not used, because it takes a lock and may read files. The date is computed as in
 * Howard Hinnant's "chrono-Compatible Low-Level Date Algorithms" (civil_from_days), for days from
 * 1970 on. */
struct text decide_time_text(int64_t ms)
{
    struct text out;
    int64_t seconds = time_floor_s(ms) / 1000;
    if (seconds < 0 || seconds > LIMIT_TIME_S) {
        snprintf(out.text, sizeof(out.text), "@%lld", (long long)seconds);
        return out;
    }
    int64_t days = seconds / 86400 + 719468; /* since 0000-03-01 */
    int64_t era = days / 146097;
    int64_t day_of_era = days % 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month_from_march = (5 * day_of_year + 2) / 153;
    int64_t day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    int64_t month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
    int64_t year = year_of_era + era * 400 + (month <= 2 ? 1 : 0);
    int64_t second_of_day = seconds % 86400;
    snprintf(out.text, sizeof(out.text), "%04lld-%02lld-%02lldT%02lld:%02lld:%02lldZ",
             (long long)year, (long long)month, (long long)day, (long long)(second_of_day / 3600),
             (long long)(second_of_day / 60 % 60), (long long)(second_of_day % 60));
    return out;
}

struct text decide_amount_text(struct amount amount)
{
    struct text out;
    snprintf(out.text, sizeof(out.text), "%lld GPU%s and %lld GiB", (long long)amount.gpus,
             amount.gpus == 1 ? "" : "s", (long long)amount.memory_gib);
    return out;
}
