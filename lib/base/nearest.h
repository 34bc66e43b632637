/* The known name that a misspelt word means: "unknown option --strat: did you mean --start?". */
#ifndef BERTH_LIB_BASE_NEAREST_H
#define BERTH_LIB_BASE_NEAREST_H

#include <stddef.h>

struct nearest {
    const char *word; /* borrowed */
    const char *best; /* borrowed from the caller; NULL: none offered yet */
    size_t distance;
};

void nearest_init(struct nearest *n, const char *word);
/* Keeps the name if it is nearer than all earlier ones; ignores case. */
void nearest_offer(struct nearest *n, const char *name);
/* The same for what people type: a name that begins with the word, or the word with the name, is
 * near whatever the rest. The result may be other than the name that is compared. */
void nearest_offer_as(struct nearest *n, const char *name, const char *result);
/* The nearest name; NULL: none is near enough. */
const char *nearest_result(const struct nearest *n);

#endif
