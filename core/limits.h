/* The limits of the protocol. Sizes are in bytes unless the name says otherwise. The codec checks
 * what a peer sends; the core asserts it. */
#ifndef BERTH_CORE_LIMITS_H
#define BERTH_CORE_LIMITS_H

#include <stdint.h>

/* A machine's, client's or farm's name; also the length of a database column. */
#define LIMIT_NAME_LEN          64
/* A farm's name is part of tokens and event sources, so it is kept short. */
#define LIMIT_FARM_NAME_LEN     32
/* `jti`, the request id. */
#define LIMIT_REQUEST_ID_LEN    64
/* `kid`, the name of a key; an RFC 7638 thumbprint has 43 characters. */
#define LIMIT_KID_LEN           128
/* `sub`, the user a booking is for, in Unicode characters (4 bytes each at most). */
#define LIMIT_USER_CHARS        128
/* Labels of one machine. */
#define LIMIT_LABELS            32
/* A label's key, in bytes (ASCII), and its value, in Unicode characters. */
#define LIMIT_LABEL_KEY_LEN     63
#define LIMIT_LABEL_VALUE_CHARS 128
/* A token (one message's value): longer ones are `malformed`. */
#define LIMIT_TOKEN_LEN         (16 * 1024)
/* One event. The largest is that of an update that displaces LIMIT_DISPLACED bookings. */
#define LIMIT_EVENT_LEN         (512 * 1024)
/* Machines in one booking. */
#define LIMIT_ALLOCATIONS       64
/* Bookings that one update may displace, and that `capacity_in_use` lists. */
#define LIMIT_DISPLACED         1000
#define LIMIT_LISTED_BOOKINGS   20
/* Occurrences of one recurring booking. */
#define LIMIT_OCCURRENCES       366
/* Machines in all occurrences of one series together: its event lists them all. The codec checks
 * it. */
#define LIMIT_SERIES_SHARES     2048
/* Questions to timelines in one search for the next start of a request, beyond one question for
 * each candidate. */
#define LIMIT_SEARCH_STEPS      1000
/* Partitions of a farm: a booking's id is seq * 4096 + partition. */
#define LIMIT_PARTITIONS        4096
/* A machine id that a request may ask for lies in 1..4095. Others are seq * 4096 + partition. */
#define LIMIT_CHOSEN_MACHINE_ID 4095
/* A machine's capacity. Sums over a timeline then stay far below 2^63. */
#define LIMIT_GPUS              65535
#define LIMIT_MEMORY_GIB        16777216
/* A token's life, exp - iat, and the leeway that clocks get, in seconds (docs/messages.md). */
#define LIMIT_LIFETIME_S        (24 * 3600)
#define LIMIT_LEEWAY_S          60
/* The longest booking and the furthest start, in seconds. */
#define LIMIT_BOOKING_S         (366 * 24 * 3600)
#define LIMIT_AHEAD_S           (2 * 366 * 24 * 3600)
/* Times that requests may carry: 1970-01-01 to 9999-12-31T23:59:59Z, in seconds. */
#define LIMIT_TIME_S            INT64_C(253402300799)
/* A decision's sentence for a person, NUL included. */
#define LIMIT_DETAIL_LEN        512

#endif
