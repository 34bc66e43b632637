/* A machine's labels as JSON, in requests, events and rows, and what the schemas allow of a text. */
#ifndef BERTH_LIB_CODEC_LABELS_H
#define BERTH_LIB_CODEC_LABELS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "core/arena.h"
#include "core/request.h"
#include "lib/codec/jsonout.h"

/* Why labels are not valid; `expected` NULL: they are. */
struct labels_fault {
    const char *expected; /* static, a phrase */
    const char *key;      /* the label, borrowed from the value; NULL: the whole */
};

/* Reads labels from a JSON value; NULL (missing) is a fault. Without a fault *out has them, sorted
 * by key, their strings copied into the arena; else it is unchanged. Keys have 1 to
 * LIMIT_LABEL_KEY_LEN characters A-Z a-z 0-9 . _ - /. */
struct labels_fault labels_from_value(const json_t *value, struct arena *arena, struct labels *out);

/* Writes {"name":"value",…} in the order of the labels. */
void jsonout_labels(struct jsonout *out, const struct labels *labels);

/* Labels as one JSON object without blanks, keys in order: the text of column machine.labels.
 * "{}" when there are none. Lives in the arena. */
char *labels_to_json(struct arena *arena, const struct labels *labels);
/* The reverse, of any JSON text (MySQL's JSON columns reorder members and add blanks). Keys come
 * out in order; strings are copied into the arena. False: not an object of labels within the limits of
 * core/limits.h; *out is then as it was. C1 passes: older rows may have it. */
bool labels_from_json(const char *text, size_t len, struct arena *arena, struct labels *out);

/* Whether valid UTF-8 has at most max_chars characters and no control character (C0, DEL
 * and C1). */
bool text_is_printable(const char *text, size_t max_chars);

#endif
