/* Memory from libc for the core. Out of memory prints a line and aborts, so nobody checks. */
#ifndef BERTH_CORE_HEAP_H
#define BERTH_CORE_HEAP_H

#include <stddef.h>

/* `size` zeroed bytes (at least one); the caller gives them to free(). */
void *heap_alloc(size_t size);
/* The same, not zeroed, at an address and of a size that are multiples of `align`. */
void *heap_aligned(size_t align, size_t size);
/* realloc for `count` items of `size` bytes; takes `old` (may be NULL), new bytes are undefined. */
void *heap_array(void *old, size_t count, size_t size);

#endif
