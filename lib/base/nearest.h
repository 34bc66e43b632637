/* Which known name did somebody mean? For "unknown option --strat: did you mean --start?". */
#ifndef BERTH_LIB_BASE_NEAREST_H
#define BERTH_LIB_BASE_NEAREST_H

#include <stddef.h>

struct nearest {
    const char *word; /* borrowed */
    const char *best; /* borrowed from the caller's names; NULL: none offered yet */
    size_t distance;
};

void nearest_init(struct nearest *n, const char *word);
/* Keeps the name if it is nearer than all before; letter case counts nothing. */
void nearest_offer(struct nearest *n, const char *name);
/* The nearest name, or NULL when none is near enough to be meant. */
const char *nearest_result(const struct nearest *n);

#endif
