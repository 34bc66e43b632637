/* Time zones of the system's zone database (tzdata) by name, for requests that recur by a wall
 * clock. The name comes from a message, so only the database may decide what it means: no
 * environment variable, no setting of the machine. Times on the command line follow TZ instead
 * (lib/base/cli_time.h). */
#ifndef BERTH_LIB_BASE_ZONE_H
#define BERTH_LIB_BASE_ZONE_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/err.h"

/* A zone's name, in bytes; the longest in the database has 32. */
#define ZONE_NAME_LEN    64
/* Rules are worked out until the end of 2899, in seconds since 1970. */
#define ZONE_TIME_MAX_S  INT64_C(29348006399)
/* Zones that a thread caches. */
#define ZONE_CACHE_COUNT 32

struct zone;

/* Whether the text can be a zone's name: up to ZONE_NAME_LEN characters A-Z a-z 0-9 _ + - in parts
 * between '/', each of which begins with a capital letter, as all of the database do. That keeps out
 * paths, "posix/…" and "right/…" (other ways to count seconds), and "localtime". */
bool zone_name_is_valid(const char *name);

/* Calls fn with each name of a zone in the database, in no order, until it returns false. Nothing
 * if the database has no list of them (tzdata.zi). */
void zone_each(bool (*fn)(void *arg, const char *name), void *arg);

/* The zone's rules; NULL: the name is not valid, or the database ($TZDIR or /usr/share/zoneinfo)
 * has no zone of that name. A name that is only a POSIX rule ("UTC+5") is none.
 *
 * The rules are read when a thread asks for them first; it remembers the zones that it used last,
 * and does not see a database that was replaced since. The result is borrowed until the thread's
 * next zone_find or zone_forget; threads share nothing. */
struct zone *zone_find(const char *name);
/* Whether the system has a zone database at all; false: the failure says where it was looked for.
 * ERR_CONFIG. */
enum err zone_check_database(struct failure *f);
/* Whether libc takes the value of the environment's TZ for a zone: for a name of the database, a
 * file or a POSIX rule. It takes anything else for UTC, silently. */
bool zone_setting_is_valid(const char *tz);
/* Frees the thread's cache, which the end of the thread does not. */
void zone_forget(void);

/* Seconds east of UTC at an instant, at most ZONE_TIME_MAX_S and two days. */
int64_t zone_offset_s(const struct zone *zone, int64_t utc_s);
/* The instant at which the zone's clocks show `local_s` (a date and time of day as seconds since
 * 1970-01-01T00:00:00 on that clock): the first one if they show it twice; if they skip it, as the
 * offset before the gap has it, so that 02:30 in a gap of an hour is 03:30 (RFC 5545 §3.3.5). */
int64_t zone_utc_s(const struct zone *zone, int64_t local_s);
/* All instants at which the clocks show it, ascending: none if they skip it, two if they show it
 * twice. Returns their number. */
int zone_instants(const struct zone *zone, int64_t local_s, int64_t utc_s_out[2]);

#endif
