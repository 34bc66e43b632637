#include "core/heap.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static void *or_abort(void *memory, size_t size)
{
    if (!memory) {
        fprintf(stderr, "out of memory: %zu bytes\n", size);
        abort();
    }
    return memory;
}

void *heap_alloc(size_t size)
{
    size_t wanted = size > 0 ? size : 1;
    return or_abort(calloc(1, wanted), wanted);
}

void *heap_aligned(size_t align, size_t size)
{
    assert(size > 0 && size % align == 0);
    return or_abort(aligned_alloc(align, size), size);
}

void *heap_array(void *old, size_t count, size_t size)
{
    assert(count > 0 && size > 0);
    assert(count <= SIZE_MAX / size);
    return or_abort(realloc(old, count * size), count * size);
}
