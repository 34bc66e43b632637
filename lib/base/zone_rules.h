/* The rules of one time zone: a compiled file of the zone database (RFC 9636, version 2 or later),
 * and the rule of POSIX's TZ that it ends with.
 *
 * GLib's reader takes a daylight offset of zero for one that was not given, which Europe/Dublin has:
 * its winters would be two hours off, in files of `zic -b slim` at once, in others from 2038 on. */
#ifndef BERTH_LIB_BASE_ZONE_RULES_H
#define BERTH_LIB_BASE_ZONE_RULES_H

#include <stdbool.h>
#include <stdint.h>

struct zone_rules;

/* Reads a file; NULL: there is none, or it holds something else. Free with zone_rules_free. */
struct zone_rules *zone_rules_read(const char *path);
void zone_rules_free(struct zone_rules *rules);

/* Seconds east of UTC at an instant from 1969 on. */
int64_t zone_rules_offset_s(const struct zone_rules *rules, int64_t utc_s);

/* Whether the text is a rule as POSIX's TZ has it: "CET-1CEST,M3.5.0,M10.5.0/3", "<+0330>-3:30". */
bool zone_rules_is_posix(const char *text);

#endif
