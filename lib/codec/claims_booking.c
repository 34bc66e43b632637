/* booking.create, booking.amend and booking.cancel. */
#include <string.h>

#include "core/limits.h"
#include "lib/codec/claims.h"
#include "lib/codec/claims_request.h"

/* --- allocations --- */

static bool check_amount(struct decoder *d, const struct path *at, struct amount amount)
{
    return amount.gpus != 0 || amount.memory_gib != 0 ||
           decoder_fault(d, at, "gpus or memory_gib above 0");
}

static bool check_share(struct decoder *d, const struct path *at, void *object, uint32_t given)
{
    (void)given;
    return check_amount(d, at, ((const struct share *)object)->amount);
}

#define AT(member) offsetof(struct share, member)
static const struct field share_fields[] = {
    {"machine", REQUIRED, parse_name, AT(machine), 0, 0, 0},
    {"gpus", REQUIRED, parse_int, AT(amount.gpus), 0, 0, LIMIT_GPUS},
    {"memory_gib", REQUIRED, parse_int, AT(amount.memory_gib), 0, 0, LIMIT_MEMORY_GIB},
};
#undef AT
static const struct shape share_shape = {share_fields, DECODER_COUNT(share_fields), check_share};

struct share_list {
    size_t count;
    const struct share *items;
};

static bool is_named_before(const struct share *shares, size_t index)
{
    for (size_t i = 0; i < index; i++) {
        if (strcmp(shares[i].machine, shares[index].machine) == 0)
            return true;
    }
    return false;
}

/* Both booking requests keep count and items next to each other, as struct share_list does. */
#define ASSERT_SHARE_LIST(type)                                                                    \
    _Static_assert(offsetof(struct type, shares) - offsetof(struct type, share_count) ==           \
                       offsetof(struct share_list, items),                                         \
                   "a struct share_list begins at share_count")
ASSERT_SHARE_LIST(booking_create);
ASSERT_SHARE_LIST(booking_amend);

static bool parse_shares(struct decoder *d, const struct path *at, const struct field *field,
                         const json_t *value, void *target)
{
    (void)field;
    size_t count = json_array_size(value);
    if (!json_is_array(value) || count > LIMIT_ALLOCATIONS) {
        return decoder_unfit(d, at, value,
                             "a list of 0 to 64 allocations {machine, gpus, memory_gib}");
    }
    struct share *shares = arena_alloc(d->arena, count * sizeof(*shares));
    for (size_t i = 0; i < count; i++) {
        struct path here = {.up = at, .index = i};
        json_t *item = json_array_get(value, i);
        if (!json_is_object(item))
            return decoder_fault(d, &here, "an object {machine, gpus, memory_gib}");
        if (!decoder_object(d, &here, &share_shape, item, &shares[i]))
            return false;
        if (is_named_before(shares, i)) {
            return decoder_member_fault(d, &here, "machine",
                                        "a machine that no earlier allocation names");
        }
    }
    *(struct share_list *)target = (struct share_list){count, shares};
    return true;
}

/* --- any --- */

static bool check_any(struct decoder *d, const struct path *at, void *object, uint32_t given)
{
    (void)given;
    return check_amount(d, at, ((const struct any *)object)->amount);
}

#define AT(member) offsetof(struct any, member)
static const struct field any_fields[] = {
    {"count", REQUIRED, parse_int, AT(count), 0, 1, LIMIT_ALLOCATIONS},
    {"gpus", REQUIRED, parse_int, AT(amount.gpus), 0, 0, LIMIT_GPUS},
    {"memory_gib", REQUIRED, parse_int, AT(amount.memory_gib), 0, 0, LIMIT_MEMORY_GIB},
    {"labels", OPTIONAL, parse_labels, AT(labels), 0, 0, 0},
};
#undef AT
static const struct shape any_shape = {any_fields, DECODER_COUNT(any_fields), check_any};

static bool parse_any(struct decoder *d, const struct path *at, const struct field *field,
                      const json_t *value, void *target)
{
    (void)field;
    if (!json_is_object(value))
        return decoder_unfit(d, at, value, "an object {count, gpus, memory_gib, labels}");
    return decoder_object(d, at, &any_shape, value, target);
}

/* --- repeat --- */

static bool parse_every(struct decoder *d, const struct path *at, const struct field *field,
                        const json_t *value, void *target)
{
    (void)field;
    const char *text = decoder_text(value);
    bool day = text && strcmp(text, "day") == 0;
    bool week = text && strcmp(text, "week") == 0;
    if (!day && !week)
        return decoder_unfit(d, at, value, "day or week");
    *(int64_t *)target = day ? 1 : 7;
    return true;
}

static bool parse_zone(struct decoder *d, const struct path *at, const struct field *field,
                       const json_t *value, void *target)
{
    (void)field;
    const char *text = decoder_text(value);
    struct zone *zone = text ? zone_find(text) : NULL;
    if (!zone) {
        return decoder_unfit(d, at, value,
                             "a name from the time zone database, like Europe/Paris or UTC");
    }
    *(struct zone **)target = zone;
    return true;
}

#define AT(member) offsetof(struct repeat, member)
static const struct field repeat_fields[] = {
    {"every", REQUIRED, parse_every, AT(step_days), 0, 0, 0},
    {"count", REQUIRED, parse_int, AT(count), 0, 1, LIMIT_OCCURRENCES},
    {"zone", REQUIRED, parse_zone, AT(zone), 0, 0, 0},
};
#undef AT
static const struct shape repeat_shape = {repeat_fields, DECODER_COUNT(repeat_fields), NULL};

/* Parses into the decoder; the request gets the windows that follow from it. */
static bool parse_repeat(struct decoder *d, const struct path *at, const struct field *field,
                         const json_t *value, void *target)
{
    (void)field;
    (void)target;
    if (!json_is_object(value))
        return decoder_unfit(d, at, value, "an object {every, count, zone}");
    return decoder_object(d, at, &repeat_shape, value, &d->repeat);
}

/* The event of a series lists the machines of each occurrence, so their total is limited. */
static bool check_series_size(struct decoder *d, const struct path *at,
                              const struct booking_create *create)
{
    int64_t machines = create->any.count > 0 ? create->any.count : (int64_t)create->share_count;
    if (d->repeat.count * machines <= LIMIT_SERIES_SHARES)
        return true;
    return decoder_member_fault(d, at, "count",
                                "at most 2048 machines in all occurrences together");
}

static bool work_out_windows(struct decoder *d, const struct path *at,
                             struct booking_create *create)
{
    struct window *windows = arena_alloc(d->arena, (size_t)d->repeat.count * sizeof(*windows));
    switch (repeat_windows(&d->repeat, create, windows)) {
    case REPEAT_OK:
        break;
    case REPEAT_EMPTY:
        return decoder_fault(d, at,
                             "occurrences that end after their start, also where clocks change");
    case REPEAT_LATE:
        return decoder_fault(d, at, "occurrences that end before the last days of 2899");
    }
    create->window_count = (size_t)d->repeat.count;
    create->windows = windows;
    return true;
}

/* --- requests --- */

#define GIVEN(field) (UINT32_C(1) << (field))

/* `type` has been read when these are used; it is here because it is a known field. The order is
 * that of docs/messages.md and the one in which faults are found. */
enum {
    CREATE_START = 1,
    CREATE_END,
    CREATE_DURATION,
    CREATE_ALLOCATIONS,
    CREATE_ANY,
    CREATE_REPEAT,
    CREATE_SKIP
};
#define AT(member) offsetof(struct request, booking_create.member)
static const struct field create_fields[] = {
    {"type", REQUIRED, NULL, 0, 0, 0, 0},
    [CREATE_START] = {"start", OPTIONAL, parse_time, AT(start_ms), 0, 0, 0},
    [CREATE_END] = {"end", OPTIONAL, parse_time, AT(end_ms), 0, 0, 0},
    [CREATE_DURATION] = {"duration_s", OPTIONAL, parse_duration, AT(duration_ms), 0, 1,
                         LIMIT_TIME_S},
    [CREATE_ALLOCATIONS] = {"allocations", OPTIONAL, parse_shares, AT(share_count), 0, 0, 0},
    [CREATE_ANY] = {"any", OPTIONAL, parse_any, AT(any), 0, 0, 0},
    [CREATE_REPEAT] = {"repeat", OPTIONAL, parse_repeat, 0, 0, 0, 0},
    [CREATE_SKIP] = {"skip_conflicts", OPTIONAL, parse_bool, AT(skip_conflicts), 0, 0, 0},
};
#undef AT

static bool check_create(struct decoder *d, const struct path *at, void *object, uint32_t given)
{
    struct booking_create *create = &((struct request *)object)->booking_create;
    const struct path repeat_at = {.up = at, .member = "repeat"};
    if ((create->end_ms == TIME_NONE) == (create->duration_ms == TIME_NONE))
        return decoder_fault(d, at, "exactly one of end and duration_s");
    if ((given & GIVEN(CREATE_ALLOCATIONS)) && (given & GIVEN(CREATE_ANY)))
        return decoder_fault(d, at, "allocations or any, not both");
    if (create->end_ms != TIME_NONE && create->end_ms <= create->start_ms)
        return decoder_member_fault(d, at, "end", "an end after the start");
    if ((given & GIVEN(CREATE_SKIP)) && !(given & GIVEN(CREATE_REPEAT)))
        return decoder_member_fault(d, at, "skip_conflicts", "skip_conflicts only beside repeat");
    if (!(given & GIVEN(CREATE_REPEAT)))
        return true;
    if (create->start_ms == TIME_NONE) {
        return decoder_unfit(d, &(struct path){.up = at, .member = "start"}, NULL,
                             "a start beside repeat");
    }
    return check_series_size(d, &repeat_at, create) && work_out_windows(d, &repeat_at, create);
}

#define AT(member) offsetof(struct request, booking_amend.member)
static const struct field amend_fields[] = {
    {"type", REQUIRED, NULL, 0, 0, 0, 0},
    {"booking", REQUIRED, parse_int, AT(booking), 0, 1, CLAIMS_BOOKING_ID_MAX},
    {"start", OPTIONAL, parse_time, AT(start_ms), 0, 0, 0},
    {"end", OPTIONAL, parse_time, AT(end_ms), 0, 0, 0},
    {"allocations", OPTIONAL, parse_shares, AT(share_count), AT(has_shares), 0, 0},
};
#undef AT

static bool check_amend(struct decoder *d, const struct path *at, void *object, uint32_t given)
{
    (void)given;
    const struct booking_amend *amend = &((struct request *)object)->booking_amend;
    if (amend->start_ms == TIME_NONE && amend->end_ms == TIME_NONE && !amend->has_shares)
        return decoder_fault(d, at, "at least one of start, end, allocations");
    if (amend->end_ms != TIME_NONE && amend->end_ms <= amend->start_ms)
        return decoder_member_fault(d, at, "end", "an end after the start");
    return true;
}

enum { CANCEL_BOOKING = 1, CANCEL_SERIES };
#define AT(member) offsetof(struct request, booking_cancel.member)
static const struct field cancel_fields[] = {
    {"type", REQUIRED, NULL, 0, 0, 0, 0},
    [CANCEL_BOOKING] = {"booking", OPTIONAL, parse_int, AT(booking), 0, 1, CLAIMS_BOOKING_ID_MAX},
    [CANCEL_SERIES] = {"series", OPTIONAL, parse_int, AT(booking), AT(series), 1,
                       CLAIMS_BOOKING_ID_MAX},
};
#undef AT

static bool check_cancel(struct decoder *d, const struct path *at, void *object, uint32_t given)
{
    (void)object;
    if (!(given & GIVEN(CANCEL_BOOKING)) == !(given & GIVEN(CANCEL_SERIES)))
        return decoder_fault(d, at, "exactly one of booking and series");
    return true;
}

const struct shape claims_booking_create = {create_fields, DECODER_COUNT(create_fields),
                                            check_create};
const struct shape claims_booking_amend = {amend_fields, DECODER_COUNT(amend_fields), check_amend};
const struct shape claims_booking_cancel = {cancel_fields, DECODER_COUNT(cancel_fields),
                                            check_cancel};
