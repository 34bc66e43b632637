/* The open connections of the server: how many there are, from which addresses, and which of them
 * can be closed to make room. libmicrohttpd has a limit for all, a limit for each address, and a
 * time-out for a connection without traffic. It has no limit for the time that a header may take,
 * and refuses newcomers where the oldest idler should go.
 *
 *   WAITING (for a request) <-> BUSY (being answered) -> SENDING (an answer with an end) -> WAITING
 *
 * A connection that waits longer than the limit is closed. When an address has as many as it may, its
 * newcomer takes the place of the one that has waited longest, or else has been sending for long; if
 * none has, the newcomer is refused. The same holds for all connections, but there the one that goes
 * has waited for a second at least, and without one libmicrohttpd's limit makes newcomers wait.
 * Any thread may call. */
#ifndef BERTH_READER_CONNECTIONS_H
#define BERTH_READER_CONNECTIONS_H

#include <microhttpd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct connections;

struct connections_limits {
    size_t all, per_address; /* libmicrohttpd's own limit is somewhat above `all` */
    int64_t header_ms;       /* how long a request's header may take */
};

struct connections *connections_new(const struct connections_limits *limits);
void connections_free(struct connections *all); /* when all are closed; NULL is fine */

/* MHD_AcceptPolicyCallback: whether there is room, which may have been made. */
enum MHD_Result connections_admit(void *connections, const struct sockaddr *address,
                                  socklen_t address_len);
/* MHD_NotifyConnectionCallback. */
void connections_notify(void *connections, struct MHD_Connection *connection, void **context,
                        enum MHD_ConnectionNotificationCode what);

enum connection_state { CONNECTION_WAITING, CONNECTION_BUSY, CONNECTION_SENDING };
void connection_set_state(struct MHD_Connection *connection, enum connection_state state);
/* A number for the address that the connection comes from: an IPv4 address, or the first 64 bits of
 * an IPv6 address, which belong to one host or site. */
uint64_t connection_address(struct MHD_Connection *connection);

/* Closes the connections on which no header arrived in time. Call it every second or so. */
void connections_expire(struct connections *all);

struct connections_counts {
    int64_t open;
    int64_t refused;     /* found no room */
    int64_t shed;        /* closed to make room */
    int64_t header_late; /* closed because a header did not arrive in time */
};
struct connections_counts connections_count(struct connections *all);

#endif
