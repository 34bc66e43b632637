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

/* Whether the zone database has the zone (lib/base/zone.h: the worker takes the same names). "UTC"
 * needs no database. ERR_USAGE. */
enum err cli_time_check_zone(const char *zone, struct failure *f);
/* Whether TZ, where it is set, names a zone; libc would take anything else for UTC. Programs check
 * it before they read or show local times. ERR_CONFIG. */
enum err cli_time_check_environment(struct failure *f);

/* A moment. ERR_USAGE says what was expected; for a local time that does not exist or exists
 * twice it names both moments that may be meant.
 *
 *     2026-12-01T03:00:00+01:00     RFC 3339
 *     2026-12-01 03:00[:00]         local (a 'T' between them is fine too)
 *     dec 1 9:00, 1 December 9am    local, the next one; or with a year behind it
 *     9:00, 9am, 9:30 pm, noon      local, the next one; 24:00 is the end of the day
 *     today|tomorrow [03:00]        local; without a time 00:00
 *     mon|monday|next mon [03:00]   local, the next one; "next": not today
 *     … UTC, …Z, …+01:00            any of these in that time instead of local
 *     now, now+2h, +2h              from now
 *     @1796090400                   seconds since the Unix epoch
 */
enum err cli_time_parse(const char *text, int64_t now_ms, const char *zone, int64_t *ms_out,
                        struct failure *f);
/* The same of a moment that follows another one: a time of day, a weekday or a date without a year is
 * the first one that is not before from_ms. */
enum err cli_time_parse_after(const char *text, int64_t now_ms, int64_t from_ms, const char *zone,
                              int64_t *ms_out, struct failure *f);
/* Whether the text is "now". A request then omits its start, which means the broker's now. */
bool cli_time_is_now(const char *text);

/* `1w2d3h4m5s` in that order, each part optional; "2h30", "90min", "2 hours", "PT2H";
 * `D-HH:MM:SS`; `HH:MM:SS`. ERR_USAGE for anything else, and with a reason for bare numbers, N:N,
 * fractions and months. */
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
