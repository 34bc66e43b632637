/* From old rows to requests. What a row means is decided here; whether there is room, by Berth. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/import/import.h"
#include "core/request.h"
#include "core/utf8.h"
#include "lib/base/clock.h"
#include "lib/base/timetext.h"

bool import_name(const char *format, int64_t id, char out[LIMIT_NAME_LEN + 1])
{
    const char *percent = strchr(format, '%');
    if (!percent)
        return false;
    const char *at = percent + 1;
    bool zeros = *at == '0';
    size_t digits = strspn(at, "0123456789");
    int width = digits > 0 && digits <= 2 ? (int)strtol(at, NULL, 10) : 0;
    if (digits > 2 || at[digits] != 'd' || strchr(at + digits, '%'))
        return false;
    char *name = zeros ? xasprintf("%.*s%0*" PRId64 "%s", (int)(percent - format), format, width,
                                   id, at + digits + 1)
                       : xasprintf("%.*s%" PRId64 "%s", (int)(percent - format), format, id,
                                   at + digits + 1);
    bool valid = name_is_valid(name, LIMIT_NAME_LEN, NULL);
    if (valid)
        snprintf(out, LIMIT_NAME_LEN + 1, "%s", name);
    free(name);
    return valid;
}

bool import_whole(const char *text, int64_t *out)
{
    static const char digits[] = "0123456789";
    if (!text)
        return false;
    text += strspn(text, " ");
    size_t zeros = strspn(text, "0");
    size_t count = strspn(text + zeros, digits);
    const char *end = text + zeros + count;
    if (zeros + count == 0 || count > 18)
        return false;
    if (*end == '.')
        end += 1 + strspn(end + 1, "0");
    if (end[strspn(end, " ")] != '\0')
        return false;
    *out = strtoll(text, NULL, 10);
    return true;
}

/* NULL: the text is a whole number up to max. Else what is wrong; caller frees. */
static char *amount_of(const char *text, const char *what, int64_t max, int64_t *out)
{
    if (import_whole(text, out) && *out <= max)
        return NULL;
    return xasprintf("%.40s %s: expected a whole number from 0 to %" PRId64, text ? text : "NULL",
                     what, max);
}

/* Both amounts of a row; else what is wrong with them. Caller frees. */
static char *amounts_of(const char *gpus_text, const char *memory_text, int64_t *gpus,
                        int64_t *memory_gib)
{
    char *wrong = amount_of(gpus_text, "GPUs", LIMIT_GPUS, gpus);
    return wrong ? wrong : amount_of(memory_text, "GiB", LIMIT_MEMORY_GIB, memory_gib);
}

/* Settles the row as rejected. Takes detail. */
static bool refuse(struct import *import, json_t *item, const char *reason, char *detail)
{
    import_settle(import, item, IMPORT_REJECTED, reason, detail);
    free(detail);
    return false;
}

static bool refuse_id(struct import *import, json_t *item, const struct old_id *id)
{
    return refuse(
        import, item, "invalid_id",
        xasprintf("its id is %.40s: expected a whole number", id->text ? id->text : "NULL"));
}

static bool machine_request(struct import *import, const struct old_machine *machine,
                            struct import_request *out)
{
    char name[LIMIT_NAME_LEN + 1];
    int64_t gpus, memory_gib, id = machine->id.number;
    json_t *item = import_item(import, IMPORT_MACHINE, &machine->id, NULL);
    if (id < 0)
        return refuse_id(import, item, &machine->id);
    if (!import_name(import->name_format, id, name)) {
        return refuse(import, item, "invalid_name",
                      xasprintf("its name by %.80s is too long", import->name_format));
    }
    char *wrong = amounts_of(machine->gpus, machine->memory_gib, &gpus, &memory_gib);
    if (wrong)
        return refuse(import, item, "invalid_amount", wrong);
    json_t *request = json_pack("{s:s, s:s, s:I, s:I}", "type", "machine.register", "machine", name,
                                "gpus", (json_int_t)gpus, "memory_gib", (json_int_t)memory_gib);
    if (id >= 1 && id <= LIMIT_CHOSEN_MACHINE_ID) {
        json_object_set_new(request, "id", json_integer(id));
    } else {
        import_remark(item, "it gets another id: one that can be chosen is 1 to %d",
                      LIMIT_CHOSEN_MACHINE_ID);
    }
    *out = (struct import_request){
        .kind = IMPORT_MACHINE,
        .id = arena_printf(import->arena, "flask-ressource-%" PRId64, id),
        .user = import->client_name,
        .key = arena_strdup(import->arena, name),
        .request = request,
        .item = item,
    };
    return true;
}

bool import_next_machine(struct import *import, struct import_walk *walk,
                         struct import_request *out)
{
    while (walk->machine < import->old.machine_count) {
        if (machine_request(import, &import->old.machines[walk->machine++], out))
            return true;
    }
    return false;
}

static bool machine_exists(const struct import *import, int64_t id)
{
    size_t low = 0, high = import->old.machine_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (import->old.machines[middle].id.number < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < import->old.machine_count && import->old.machines[low].id.number == id && id >= 0;
}

/* An old date: the instants that it can be. */
struct moment {
    int64_t local_s;
    int64_t at_s[2];
    int count;        /* 0: the zone's clocks skip it */
    int64_t latest_s; /* of them; of a time that is skipped, where it would be */
};

/* "2020-02-07 13:00:00", as both servers write a DATETIME; or a date alone. */
static bool local_of(const char *text, int64_t *local_s)
{
    char whole[TIMETEXT_LEN];
    int64_t ms;
    size_t len = text ? strlen(text) : 0;
    if (len == 10) {
        snprintf(whole, sizeof(whole), "%sT00:00:00Z", text);
    } else if (len >= 19 && (text[10] == ' ' || text[10] == 'T')) {
        snprintf(whole, sizeof(whole), "%.10sT%.8sZ", text, text + 11);
    } else {
        return false;
    }
    /* A fraction that is zero is what DATETIME(6) shows. */
    if (len > 19 && (text[19] != '.' || text[20 + strspn(text + 20, "0")] != '\0'))
        return false;
    if (!timetext_parse(whole, strlen(whole), &ms) || ms / 1000 > ZONE_TIME_MAX_S)
        return false;
    *local_s = ms / 1000;
    return true;
}

static bool moment_of(const struct import *import, const char *text, bool is_utc,
                      struct moment *out)
{
    struct moment moment = {0};
    if (!local_of(text, &moment.local_s))
        return false;
    if (is_utc) {
        moment.count = 1;
        moment.at_s[0] = moment.latest_s = moment.local_s;
    } else {
        moment.count = zone_instants(import->zone, moment.local_s, moment.at_s);
        moment.latest_s = moment.count > 0 ? moment.at_s[moment.count - 1]
                                           : zone_utc_s(import->zone, moment.local_s);
    }
    *out = moment;
    return true;
}

/* A time that is not one instant. */
static bool refuse_moment(struct import *import, json_t *item, const char *text,
                          const struct moment *moment)
{
    char first[TIMETEXT_LEN], second[TIMETEXT_LEN];
    const char *zone = options_value(import->admin->opts, "zone");
    if (moment->count == 0) {
        return refuse(import, item, "nonexistent_time",
                      xasprintf("%.40s does not exist by the clocks of %s: they are set forward",
                                text, zone ? zone : "UTC"));
    }
    return refuse(import, item, "ambiguous_time",
                  xasprintf("%.40s exists twice by the clocks of %s: %s and %s", text,
                            zone ? zone : "UTC", timetext_format(moment->at_s[0] * 1000, first),
                            timetext_format(moment->at_s[1] * 1000, second)));
}

/* What of the booking's window is left. start_s -1: it has begun. False: nothing is, or it cannot
 * be told, and that was settled. */
static bool window_of(struct import *import, json_t *item, const struct old_booking *booking,
                      int64_t *start_s, int64_t *end_s)
{
    struct moment start, end;
    int64_t soon_s = (clock_wall_ms() + IMPORT_MARGIN_MS) / 1000;
    bool start_known = moment_of(import, booking->start, import->old.start_is_utc, &start);
    if (!start_known || !moment_of(import, booking->end, import->old.end_is_utc, &end)) {
        const char *text = start_known ? booking->end : booking->start;
        return refuse(import, item, "invalid_date",
                      xasprintf("%s %.40s: expected YYYY-MM-DD HH:MM:SS, on a whole second",
                                start_known ? "date_fin" : "date_debut", text ? text : "NULL"));
    }
    bool exact = start.count == 1 && end.count == 1;
    if (exact ? end.at_s[0] <= start.at_s[0] : end.local_s <= start.local_s) {
        return refuse(
            import, item, "reversed_dates",
            xasprintf("it ends at %.40s, and begins at %.40s", booking->end, booking->start));
    }
    if (end.latest_s <= soon_s) {
        import_settle(import, item, IMPORT_OVER, "booking_over", "it has ended");
        return false;
    }
    bool begun = start.latest_s <= soon_s;
    if (!begun && start.count != 1)
        return refuse_moment(import, item, booking->start, &start);
    if (end.count != 1)
        return refuse_moment(import, item, booking->end, &end);
    if (begun)
        import_remark(item, "it began at %.40s: the part from now on is taken", booking->start);
    *start_s = begun ? -1 : start.at_s[0];
    *end_s = end.at_s[0];
    return true;
}

static void refuse_share(struct import *import, const struct old_share *share, const char *reason,
                         char *detail)
{
    json_t *item = import_item(import, IMPORT_ALLOCATION, &share->machine, &share->booking);
    refuse(import, item, reason, detail);
}

/* Two rows for one machine are one allocation. */
static void add_share(json_t *allocations, json_t *item, const char *machine, int64_t gpus,
                      int64_t memory_gib)
{
    json_t *last = json_array_get(allocations, json_array_size(allocations) - 1);
    const char *name = json_string_value(json_object_get(last, "machine"));
    if (name && strcmp(name, machine) == 0) {
        gpus += json_integer_value(json_object_get(last, "gpus"));
        memory_gib += json_integer_value(json_object_get(last, "memory_gib"));
        json_object_set_new(last, "gpus", json_integer(gpus));
        json_object_set_new(last, "memory_gib", json_integer(memory_gib));
        import_remark(item, "its rows for %s were added up", machine);
        return;
    }
    json_array_append_new(allocations,
                          json_pack("{s:s, s:I, s:I}", "machine", machine, "gpus", (json_int_t)gpus,
                                    "memory_gib", (json_int_t)memory_gib));
}

/* Rows that can hold nothing are reported and left out; one whose amounts are no amounts lets the
 * booking be none. NULL: that was settled. */
static json_t *allocations_of(struct import *import, json_t *item, const struct old_share *shares,
                              size_t count)
{
    json_t *allocations = json_array();
    for (size_t i = 0; i < count; i++) {
        const struct old_share *share = &shares[i];
        char name[LIMIT_NAME_LEN + 1];
        int64_t gpus = 0, memory_gib = 0;
        bool known = machine_exists(import, share->machine.number) &&
                     import_name(import->name_format, share->machine.number, name);
        char *wrong = amounts_of(share->gpus, share->memory_gib, &gpus, &memory_gib);
        if (!known) {
            free(wrong);
            refuse_share(import, share, "broken_reference",
                         xasprintf("there is no such ressource; the rest of the reservation is not "
                                   "touched by that"));
        } else if (wrong) {
            refuse(import, item, "invalid_amount",
                   xasprintf("of ressource %.40s it holds %s", share->machine.text, wrong));
            free(wrong);
            json_decref(allocations);
            return NULL;
        } else if (gpus == 0 && memory_gib == 0) {
            refuse_share(
                import, share, "zero_amounts",
                xasprintf("it holds nothing; the rest of the reservation is not touched by "
                          "that"));
        } else {
            add_share(allocations, item, name, gpus, memory_gib);
        }
    }
    return allocations;
}

static bool is_utf8(const char *text)
{
    size_t len = 0;
    while (*text && (len = utf8_sequence_len(text)) > 0)
        text += len;
    return *text == '\0';
}

static bool booking_request(struct import *import, const struct old_booking *booking,
                            const struct old_share *shares, size_t share_count,
                            struct import_request *out)
{
    char text[TIMETEXT_LEN];
    int64_t start_s = -1, end_s = -1;
    json_t *item = import_item(import, IMPORT_BOOKING, NULL, &booking->id);
    if (booking->id.number < 0)
        return refuse_id(import, item, &booking->id);
    if (!window_of(import, item, booking, &start_s, &end_s))
        return false;
    if (!booking->user || !*booking->user)
        return refuse(import, item, "invalid_user", xstrdup("nomUtilisateur is empty"));
    if (!is_utf8(booking->user)) {
        return refuse(import, item, "invalid_user",
                      xasprintf("nomUtilisateur %.200s is not UTF-8: give its column the character "
                                "set that it has",
                                booking->user));
    }
    json_t *allocations = allocations_of(import, item, shares, share_count);
    if (!allocations)
        return false;
    json_t *request = json_pack("{s:s, s:o}", "type", "booking.create", "allocations", allocations);
    if (start_s >= 0)
        json_object_set_new(request, "start", json_string(timetext_format(start_s * 1000, text)));
    json_object_set_new(request, "end", json_string(timetext_format(end_s * 1000, text)));
    const char *id = arena_printf(import->arena, "flask-reservation-%" PRId64, booking->id.number);
    const char *first = json_string_value(
        json_object_get(json_array_get(allocations, 0), "machine"));
    *out = (struct import_request){
        .kind = IMPORT_BOOKING,
        .id = id,
        .user = booking->user,
        .key = first ? arena_strdup(import->arena, first) : id,
        .request = request,
        .item = item,
    };
    return true;
}

/* Settles shares of bookings before this number, which are none's. */
static void refuse_strays(struct import *import, struct import_walk *walk, int64_t before)
{
    while (walk->share < import->old.share_count) {
        const struct old_share *share = &import->old.shares[walk->share];
        if (share->booking.number >= before)
            return;
        refuse_share(import, share, "broken_reference", xstrdup("there is no such reservation"));
        walk->share++;
    }
}

bool import_next_booking(struct import *import, struct import_walk *walk,
                         struct import_request *out)
{
    while (walk->booking < import->old.booking_count) {
        const struct old_booking *booking = &import->old.bookings[walk->booking++];
        size_t first = walk->share;
        if (booking->id.number >= 0) {
            refuse_strays(import, walk, booking->id.number);
            first = walk->share;
            while (walk->share < import->old.share_count &&
                   import->old.shares[walk->share].booking.number == booking->id.number)
                walk->share++;
        }
        if (booking_request(import, booking, &import->old.shares[first], walk->share - first, out))
            return true;
    }
    refuse_strays(import, walk, INT64_MAX);
    return false;
}
