/* Texts of HTTP requests: URLs and the lists in header fields, parsed by RFC 3986 and RFC 9110. Pure
 * functions; every thread may call them. */
#ifndef BERTH_READER_HTTP_TEXT_H
#define BERTH_READER_HTTP_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "core/arena.h"

/* The path of a request's target, which is "/path?query", or absolute: "http://host/path?query" (RFC
 * 9112 §3.2). Both results point into the target; *query_out is "" without a query. */
const char *http_path(const char *target, size_t *len_out, const char **query_out);
/* Decodes %XX, and with `plus` also '+' as a blank, as forms send it. The result is in the arena.
 * NULL: a '%' without two hexadecimal digits, %00, or bytes that are not UTF-8. */
const char *http_decode(struct arena *arena, const char *text, size_t len, bool plus);

/* The value of If-None-Match names the tag, compared weakly, or is "*" (RFC 9110 §13.1.2). What is
 * no list of tags names none. NULL is fine. */
bool http_etag_listed(const char *list, const char *etag);
/* The list of Accept or Accept-Encoding names the item itself, not by a wildcard, with a weight
 * above 0 (RFC 9110 §12.4.2). NULL is fine. */
bool http_accepts(const char *list, const char *item);
/* The list, separated by blanks or commas, has the origin. */
bool http_names_origin(const char *origins, const char *origin);
/* Digits only, at least one. */
bool http_is_digits(const char *text);

#endif
