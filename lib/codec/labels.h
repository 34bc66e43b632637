/* A machine's labels, and text from outside, as the schemas allow them; shared by the codec of
 * requests and that of rows. */
#ifndef BERTH_LIB_CODEC_LABELS_H
#define BERTH_LIB_CODEC_LABELS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "core/arena.h"
#include "core/request.h"
#include "lib/codec/jsonout.h"

/* What is wrong with labels; `expected` NULL: nothing. */
struct labels_fault {
    const char *expected; /* static, a phrase */
    const char *key;      /* the label, borrowed from the value; NULL: the whole */
};

/* Takes labels from a JSON value (NULL: missing, which is a fault). Sets *out, sorted by key, its
 * strings copied into the arena, only if there is no fault. Keys are 1..LIMIT_LABEL_KEY_LEN
 * characters A-Z a-z 0-9 . _ - /. */
struct labels_fault labels_from_value(const json_t *value, struct arena *arena, struct labels *out);

/* Writes {"name":"value",…} in the order of the labels. */
void jsonout_labels(struct jsonout *out, const struct labels *labels);

/* Whether valid UTF-8 has at most max_chars characters and no control character (C0 and DEL). */
bool text_is_printable(const char *text, size_t max_chars);

#endif
