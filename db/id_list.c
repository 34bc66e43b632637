#include "db/id_list.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"

/* The index at which the id is, or at which it would be inserted. */
static size_t place(const struct id_list *list, int64_t id)
{
    size_t low = 0, high = list->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (list->ids[middle] < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

void id_list_add(struct id_list *list, int64_t id)
{
    /* Mostly ids come in ascending order. */
    bool last = list->count > 0 && list->ids[list->count - 1] < id;
    size_t at = last ? list->count : place(list, id);
    if (at < list->count && list->ids[at] == id)
        return;
    list->ids = xgrow(list->ids, list->count, &list->capacity, sizeof(*list->ids));
    memmove(list->ids + at + 1, list->ids + at, (list->count - at) * sizeof(*list->ids));
    list->ids[at] = id;
    list->count++;
}

void id_list_clear(struct id_list *list)
{
    list->count = 0;
}

void id_list_fini(struct id_list *list)
{
    free(list->ids);
    *list = (struct id_list){0};
}

size_t series_booking_ids(int64_t series, int64_t out[LIMIT_OCCURRENCES])
{
    int64_t seq = series / LIMIT_PARTITIONS, part = series % LIMIT_PARTITIONS;
    if (series < LIMIT_PARTITIONS || seq >= INT64_C(1) << 32)
        return 0;
    for (int64_t k = 0; k < LIMIT_OCCURRENCES; k++)
        out[k] = ((k << 32) + seq) * LIMIT_PARTITIONS + part;
    return LIMIT_OCCURRENCES;
}
