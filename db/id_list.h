/* Lists of ids, and which ids the bookings of a series have. */
#ifndef BERTH_DB_ID_LIST_H
#define BERTH_DB_ID_LIST_H

#include <stddef.h>
#include <stdint.h>

#include "core/limits.h"

/* Ids, ascending and distinct. Zeroed is empty. */
struct id_list {
    int64_t *ids;
    size_t count, capacity;
};

void id_list_add(struct id_list *list, int64_t id); /* one that is there already stays alone */
void id_list_clear(struct id_list *list);           /* keeps the memory */
void id_list_fini(struct id_list *list);

/* Writes the ids that the bookings of a series may have (core/decide.h), ascending: of these,
 * the bookings with that `series` belong to it. Returns how many; 0: no series has that id. */
size_t series_booking_ids(int64_t series, int64_t out[LIMIT_OCCURRENCES]);

#endif
