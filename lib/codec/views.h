/* What the store and the reader share: how rows look as JSON. Field names are those of events. */
#ifndef BERTH_LIB_CODEC_VIEWS_H
#define BERTH_LIB_CODEC_VIEWS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "core/arena.h"
#include "core/decide.h"

/* Labels as one JSON object without blanks, keys in order: the text of column machine.labels.
 * "{}" when there are none. Lives in the arena. */
char *labels_to_json(struct arena *arena, const struct labels *labels);
/* The reverse, of any JSON text (MySQL's JSON columns reorder members and add blanks). Keys come
 * out in order; strings are copied into the arena. False: not an object of valid labels within the
 * limits of core/limits.h; *out is then as it was. */
bool labels_from_json(const char *text, size_t len, struct arena *arena, struct labels *out);

/* A new jansson object, as `data.booking` and `data.machine` of an event; the caller owns the
 * reference. Out of memory aborts. */
json_t *booking_view_json(const struct booking_view *booking);
json_t *machine_view_json(const struct machine_view *machine);
/* Parts of them: [{"machine", "gpus", "memory_gib"}…], {"key": "value"…}, "2026-…Z". */
json_t *shares_json(const struct share *shares, size_t count);
json_t *labels_json(const struct labels *labels);
json_t *time_json(int64_t ms);

#endif
