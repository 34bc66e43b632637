/* Memory for the adapters. Out of memory prints one line and aborts, so callers do not check. */
#ifndef BERTH_LIB_BASE_MEM_H
#define BERTH_LIB_BASE_MEM_H

#include <stdarg.h>
#include <stddef.h>

void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *old, size_t size);
/* An array with room for one more item behind its first `count`: `items`, or larger memory instead.
 * Zeroed items and capacity are an empty array. */
void *xgrow(void *items, size_t count, size_t *capacity, size_t size);
char *xstrdup(const char *text);
char *xstrndup(const char *text, size_t len);
char *xasprintf(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A growing byte string; `data` always has a NUL after `len` bytes. All zero: empty, data NULL. */
struct buf {
    char *data;
    size_t len, capacity;
};
void buf_append(struct buf *buf, const void *bytes, size_t len);
void buf_puts(struct buf *buf, const char *text);
void buf_printf(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buf_vprintf(struct buf *buf, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));
/* Bytes as lower-case hex digits. */
void buf_hex(struct buf *buf, const void *bytes, size_t len);
void buf_clear(struct buf *buf); /* keeps the memory */
void buf_fini(struct buf *buf);

#endif
