#include "lib/codec/views.h"

#include "lib/codec/labels.h"

void jsonout_shares(struct jsonout *out, const struct share *shares, size_t count)
{
    JSONOUT_RAW(out, "[");
    for (size_t i = 0; i < count; i++) {
        jsonout_comma(out);
        JSONOUT_STRING(out, "{\"machine\":", shares[i].machine);
        JSONOUT_RAW(out, ",");
        jsonout_amount(out, shares[i].amount);
        JSONOUT_RAW(out, "}");
    }
    JSONOUT_RAW(out, "]");
}

void jsonout_booking_members(struct jsonout *out, const struct booking_view *booking)
{
    JSONOUT_INT(out, "\"id\":", booking->id);
    JSONOUT_INT(out, ",\"version\":", booking->version);
    if (booking->series != 0)
        JSONOUT_INT(out, ",\"series\":", booking->series);
    JSONOUT_STRING(out, ",\"client\":", booking->client);
    JSONOUT_STRING(out, ",\"user\":", booking->user);
    JSONOUT_STRING(out, ",\"state\":", booking_state_name(booking->state));
    JSONOUT_TIME(out, ",\"start\":", booking->start_ms);
    JSONOUT_TIME(out, ",\"end\":", booking->end_ms);
    JSONOUT_RAW(out, ",\"allocations\":");
    jsonout_shares(out, booking->shares, booking->share_count);
}

void jsonout_booking(struct jsonout *out, const struct booking_view *booking)
{
    JSONOUT_RAW(out, "{");
    jsonout_booking_members(out, booking);
    JSONOUT_RAW(out, "}");
}

void jsonout_machine(struct jsonout *out, const struct machine_view *machine)
{
    JSONOUT_INT(out, "{\"id\":", machine->id);
    JSONOUT_INT(out, ",\"version\":", machine->version);
    JSONOUT_STRING(out, ",\"name\":", machine->name);
    JSONOUT_RAW(out, ",");
    jsonout_amount(out, machine->capacity);
    JSONOUT_RAW(out, ",\"labels\":");
    jsonout_labels(out, &machine->labels);
    JSONOUT_STRING(out, ",\"state\":", machine_state_name(machine->state));
    JSONOUT_RAW(out, "}");
}
