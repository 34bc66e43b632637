/* Bookings and machines as JSON: the one text that they have in events and in the reader's answers.
 * All pointers are borrowed. */
#ifndef BERTH_LIB_CODEC_VIEWS_H
#define BERTH_LIB_CODEC_VIEWS_H

#include <stddef.h>

#include "core/decide.h"
#include "lib/codec/jsonout.h"

/* "id":…,"version":…,…: a booking's members, without braces. */
void jsonout_booking_members(struct jsonout *out, const struct booking_view *booking);
/* {"id":…,"version":…,…}, as `data.booking` and `data.machine` of an event. */
void jsonout_booking(struct jsonout *out, const struct booking_view *booking);
void jsonout_machine(struct jsonout *out, const struct machine_view *machine);
/* [{"machine":…,"gpus":…,"memory_gib":…},…] */
void jsonout_shares(struct jsonout *out, const struct share *shares, size_t count);

#endif
