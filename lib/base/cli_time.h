/* Times as people type them, and as they are shown to them.
 *
 * Functions of (text, now, zone) only. `zone` is a name of the zone database ("Europe/Paris"),
 * or NULL for the system's own (TZ, /etc/localtime). The zone rules are libc's: a call switches
 * the process's TZ, so only one thread may call these. */
#ifndef BERTH_LIB_BASE_CLI_TIME_H
#define BERTH_LIB_BASE_CLI_TIME_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/err.h"

/* Whether the zone exists. ERR_USAGE. */
enum err cli_time_check_zone(const char *zone, struct failure *f);

/* A moment. ERR_USAGE says what was expected; for a local time that does not exist or exists
 * twice it names both moments that may be meant.
 *
 *     2026-12-01T03:00:00+01:00     RFC 3339
 *     2026-12-01 03:00[:00]         local (a 'T' between them is fine too)
 *     03:00                         local, the next one
 *     today|tomorrow|mon…sun [03:00]  local; weekdays: the next one; without a time 00:00
 *     now, now+2h, +2h              from now
 *     @1796090400                   seconds since the Unix epoch
 */
enum err cli_time_parse(const char *text, int64_t now_ms, const char *zone, int64_t *ms_out,
                        struct failure *f);
/* Whether the text is "now". A request then omits its start, which means the broker's now. */
bool cli_time_is_now(const char *text);

/* `1w2d3h4m5s` in that order, each part optional; `D-HH:MM:SS`; `HH:MM:SS`. ERR_USAGE for anything
 * else, and with a reason for bare numbers, N:N, fractions and months. */
enum err cli_time_parse_duration(const char *text, int64_t *ms_out, struct failure *f);

/* "Tue 2026-12-01 03:00 CET (02:00Z) – 05:00 CET, 2h". start_ms < 0: "now – …". Returns buf. */
#define CLI_TIME_LEN 200
const char *cli_time_window(int64_t start_ms, int64_t end_ms, const char *zone,
                            char buf[CLI_TIME_LEN]);
/* "Tue 2026-12-01 03:00 CET". Returns buf. */
const char *cli_time_show(int64_t ms, const char *zone, char buf[CLI_TIME_LEN]);
/* "2026-12-01T03:00:00+01:00", or with "Z" where the zone has UTC's time: RFC 3339 in whole
 * seconds, which reads alike in every zone. Returns buf. */
const char *cli_time_exact(int64_t ms, const char *zone, char buf[CLI_TIME_LEN]);

#endif
