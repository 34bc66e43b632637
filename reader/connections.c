#include "reader/connections.h"

#include <assert.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/base/clock.h"
#include "lib/base/mem.h"

/* An answer that takes longer to send may be cut off to make room. */
#define SENDING_MS 10000
/* Time for the first bytes of a client that came with many others. */
#define GRACE_MS   1000

/* A connection; libmicrohttpd keeps it as the connection's socket context. */
struct entry {
    struct connections *all;
    uint64_t address;
    int fd;
    enum connection_state state;
    bool closing; /* shut down; libmicrohttpd will close it */
    int64_t since_ms;
    struct entry *next, *previous; /* the one that changed its state last is last */
};

struct connections {
    pthread_mutex_t mutex;
    struct connections_limits limits;
    struct entry first; /* head of the ring of entries */
    struct connections_counts counts;
};

struct connections *connections_new(const struct connections_limits *limits)
{
    struct connections *all = xcalloc(1, sizeof(*all));
    pthread_mutex_init(&all->mutex, NULL);
    all->limits = *limits;
    all->first.next = all->first.previous = &all->first;
    return all;
}

void connections_free(struct connections *all)
{
    if (!all)
        return;
    assert(all->first.next == &all->first);
    pthread_mutex_destroy(&all->mutex);
    free(all);
}

static uint64_t address_number(const struct sockaddr *address)
{
    uint64_t number = 0;
    if (address && address->sa_family == AF_INET)
        return UINT64_C(1) << 32 | ((const struct sockaddr_in *)address)->sin_addr.s_addr;
    if (address && address->sa_family == AF_INET6)
        memcpy(&number, &((const struct sockaddr_in6 *)address)->sin6_addr, sizeof(number));
    return number;
}

/* --- under the mutex ------------------------------------------------------------------------- */

static void unlink_entry(struct entry *entry)
{
    entry->next->previous = entry->previous;
    entry->previous->next = entry->next;
}

static void link_last(struct connections *all, struct entry *entry)
{
    entry->previous = all->first.previous;
    entry->next = &all->first;
    entry->previous->next = entry->next->previous = entry;
}

/* libmicrohttpd sees the end of the stream and closes. */
static void shut(struct entry *entry)
{
    shutdown(entry->fd, SHUT_RDWR);
    entry->closing = true;
}

/* Counts the connections, of one address if that is given, and finds the one to be closed first of
 * those that have waited for min_ms. */
static size_t count(struct connections *all, const uint64_t *address, int64_t min_ms,
                    struct entry **victim_out)
{
    size_t found = 0;
    int64_t now_ms = clock_mono_ms();
    *victim_out = NULL;
    for (struct entry *entry = all->first.next; entry != &all->first; entry = entry->next) {
        if (entry->closing || (address && entry->address != *address))
            continue;
        found++;
        int64_t age_ms = now_ms - entry->since_ms;
        bool idles = entry->state == CONNECTION_WAITING && age_ms >= min_ms;
        bool dawdles = entry->state == CONNECTION_SENDING && age_ms >= SENDING_MS;
        if (*victim_out ? idles && (*victim_out)->state != CONNECTION_WAITING : idles || dawdles)
            *victim_out = entry;
    }
    return found;
}

static void shed(struct connections *all, struct entry *entry)
{
    shut(entry);
    all->counts.shed++;
}

/* Whether another connection of the address is within its limit, if one was closed for it. */
static bool make_room_of_address(struct connections *all, uint64_t address)
{
    struct entry *victim;
    if (count(all, &address, 0, &victim) < all->limits.per_address)
        return true;
    if (victim)
        shed(all, victim);
    return victim;
}

static void make_room(struct connections *all)
{
    struct entry *victim;
    if (count(all, NULL, GRACE_MS, &victim) >= all->limits.all && victim)
        shed(all, victim);
}

/* --- libmicrohttpd's callbacks --------------------------------------------------------------- */

enum MHD_Result connections_admit(void *connections, const struct sockaddr *address,
                                  socklen_t address_len)
{
    struct connections *all = connections;
    uint64_t number = address_number(address);
    (void)address_len;
    pthread_mutex_lock(&all->mutex);
    bool admitted = make_room_of_address(all, number);
    if (admitted)
        make_room(all);
    all->counts.refused += !admitted;
    pthread_mutex_unlock(&all->mutex);
    return admitted ? MHD_YES : MHD_NO;
}

static struct entry *entry_new(struct connections *all, struct MHD_Connection *connection)
{
    struct entry *entry = xcalloc(1, sizeof(*entry));
    entry->all = all;
    entry->fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    entry->address = address_number(
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS)->client_addr);
    entry->state = CONNECTION_WAITING;
    entry->since_ms = clock_mono_ms();
    return entry;
}

/* The socket is still open when libmicrohttpd says that the connection is closed, so a shut() never
 * meets the number of another socket. */
void connections_notify(void *connections, struct MHD_Connection *connection, void **context,
                        enum MHD_ConnectionNotificationCode what)
{
    struct connections *all = connections;
    struct entry *entry = what == MHD_CONNECTION_NOTIFY_STARTED ? entry_new(all, connection)
                                                                : *context;
    pthread_mutex_lock(&all->mutex);
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        link_last(all, entry);
        all->counts.open++;
        *context = entry;
    } else {
        unlink_entry(entry);
        all->counts.open--;
        *context = NULL;
    }
    pthread_mutex_unlock(&all->mutex);
    if (what == MHD_CONNECTION_NOTIFY_CLOSED)
        free(entry);
}

/* --- states ---------------------------------------------------------------------------------- */

static struct entry *entry_of(struct MHD_Connection *connection)
{
    return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

void connection_set_state(struct MHD_Connection *connection, enum connection_state state)
{
    struct entry *entry = entry_of(connection);
    pthread_mutex_lock(&entry->all->mutex);
    entry->state = state;
    entry->since_ms = clock_mono_ms();
    unlink_entry(entry);
    link_last(entry->all, entry);
    pthread_mutex_unlock(&entry->all->mutex);
}

uint64_t connection_address(struct MHD_Connection *connection)
{
    return entry_of(connection)->address;
}

void connections_expire(struct connections *all)
{
    pthread_mutex_lock(&all->mutex);
    int64_t before_ms = clock_mono_ms() - all->limits.header_ms;
    for (struct entry *entry = all->first.next; entry != &all->first && entry->since_ms < before_ms;
         entry = entry->next) {
        if (entry->state != CONNECTION_WAITING || entry->closing)
            continue;
        shut(entry);
        all->counts.header_late++;
    }
    pthread_mutex_unlock(&all->mutex);
}

struct connections_counts connections_count(struct connections *all)
{
    pthread_mutex_lock(&all->mutex);
    struct connections_counts counts = all->counts;
    pthread_mutex_unlock(&all->mutex);
    return counts;
}
