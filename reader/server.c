#include "reader/server.h"

#include <errno.h>
#include <inttypes.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "lib/base/address.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "reader/availability.h"
#include "reader/call.h"
#include "reader/connections.h"
#include "reader/exchange.h"
#include "reader/jobs.h"
#include "reader/lookup.h"
#include "reader/reader_metrics.h"

/* Memory of one connection, in bytes: bounds a request's header. */
#define CONNECTION_MEMORY (32 * 1024)
/* Descriptors that the database, Kafka and the program itself need. */
#define OTHER_DESCRIPTORS 300
/* Threads of libmicrohttpd. They wait for nothing but sockets. */
#define HTTP_THREADS      2
/* Connections above the limit: shut down and not closed yet, or too new to make room. */
#define CLOSING           200
/* Questions of prometheus and the like that wait for Kafka. */
#define SCRAPE_THREADS    1

struct server {
    struct MHD_Daemon *daemon;
    struct reader reader;
};

/* The target is decoded by exchange.c, which has it as it came. */
static size_t keep_escapes(void *arg, struct MHD_Connection *connection, char *text)
{
    (void)arg;
    (void)connection;
    return strlen(text);
}

/* Each connection needs a descriptor, and the default limit is often 1,024. Raises the limit as far
 * as needed and allowed. Returns how many connections the descriptors suffice for, at most
 * `connections`. */
static unsigned raise_descriptors(unsigned connections, unsigned sessions)
{
    struct rlimit own;
    rlim_t others = OTHER_DESCRIPTORS + (rlim_t)sessions;
    rlim_t wanted = others + connections;
    if (getrlimit(RLIMIT_NOFILE, &own) != 0 || own.rlim_cur >= wanted)
        return connections;
    struct rlimit more = {.rlim_cur = own.rlim_max < wanted ? own.rlim_max : wanted,
                          .rlim_max = own.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &more) == 0)
        own = more;
    if (own.rlim_cur >= wanted)
        return connections;
    rlim_t left = own.rlim_cur > 2 * others ? own.rlim_cur - others : own.rlim_cur / 2;
    log_warn("fewer connections than reader.connection_limit", "descriptors=%llu connections=%llu",
             (unsigned long long)own.rlim_cur, (unsigned long long)left);
    return (unsigned)left;
}

/* --- life ------------------------------------------------------------------------------------ */

static void stop_threads(struct reader *reader)
{
    struct jobs *const all[] = {reader->quick, reader->slow, reader->scrapes};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (all[i])
            jobs_stop(all[i]);
    }
    if (reader->lookup)
        lookup_stop(reader->lookup);
}

static void server_free(struct server *server)
{
    struct reader *reader = &server->reader;
    jobs_free(reader->quick);
    jobs_free(reader->slow);
    jobs_free(reader->scrapes);
    lookup_free(reader->lookup);
    connections_free(reader->connections);
    availability_free(reader->availability);
    reader_metrics_free(reader->metrics);
    free(server);
}

/* Starts the threads that answer. */
static enum err start_threads(const struct config *cfg, struct reader *reader, struct failure *f)
{
    size_t pending = (size_t)config_int(cfg, "reader.pending_per_address");
    size_t quick = (size_t)config_int(cfg, "reader.db_connections");
    size_t slow = (size_t)config_int(cfg, "reader.slow_connections");
    /* Each connection has one question at a time: that is limit enough for the quick ones. */
    enum err err = jobs_start(&(struct jobs_limits){quick, quick, SIZE_MAX}, &reader->quick, f);
    if (err == ERR_OK)
        err = jobs_start(&(struct jobs_limits){slow, (slow + 1) / 2, pending}, &reader->slow, f);
    if (err == ERR_OK) {
        err = jobs_start(&(struct jobs_limits){SCRAPE_THREADS, SCRAPE_THREADS, pending},
                         &reader->scrapes, f);
    }
    return err == ERR_OK ? lookup_start(reader->pool, &reader->lookup, f) : err;
}

/* Sets the limits of connections that the descriptors allow, for connections.c and the hub. Returns
 * that of libmicrohttpd. */
static unsigned set_limits(const struct config *cfg, struct reader *reader)
{
    unsigned sessions = (unsigned)config_int(cfg, "reader.db_connections") +
                        (unsigned)config_int(cfg, "reader.slow_connections");
    size_t all = raise_descriptors((unsigned)config_int(cfg, "reader.connection_limit"), sessions);
    size_t per_address = (size_t)config_int(cfg, "reader.connections_per_address");
    size_t listeners = (size_t)config_int(cfg, "reader.listeners_max");
    if (per_address > all)
        per_address = all;
    reader->connections = connections_new(&(struct connections_limits){
        .all = all,
        .per_address = per_address,
        .header_ms = config_int(cfg, "reader.header_timeout_s") * 1000});
    if (listeners > all * 4 / 5)
        listeners = all * 4 / 5;
    if (reader->hub)
        hub_limit(reader->hub, listeners, per_address * 4 / 5);
    return (unsigned)all + CLOSING;
}

/* Says who can read what, where that is more than the account that runs the reader may expect. */
static void warn_of_readers(const struct config *cfg, const union address *address)
{
    const char *cors_origin = config_string(cfg, "reader.cors_origin");
    if (!address_is_loopback(address)) {
        log_warn("everybody who can reach this address can read all bookings, with their users, "
                 "machines, clients and events: the reader asks nobody who they are, and does not "
                 "encrypt; put a proxy that does before it, or listen on loopback",
                 "reader.listen=%s", config_string(cfg, "reader.listen"));
    }
    if (strcmp(cors_origin, "*") == 0) {
        log_warn("every web page can read all bookings in the browser of everybody who can reach "
                 "the reader; name the origins that may",
                 "reader.cors_origin=*");
    }
}

static struct MHD_Daemon *start_daemon(const struct config *cfg, struct reader *reader,
                                       union address *address, unsigned limit)
{
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME;
    if (address->any.sa_family == AF_INET6)
        flags |= MHD_USE_IPv6;
    /* libmicrohttpd splits the limit among its threads; one that has its share leaves newcomers to
     * the others. */
    return MHD_start_daemon(
        flags, 0, connections_admit, reader->connections, exchange_on_request, reader,
        MHD_OPTION_SOCK_ADDR, &address->any, MHD_OPTION_THREAD_POOL_SIZE, HTTP_THREADS,
        MHD_OPTION_CONNECTION_LIMIT, limit, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)config_int(cfg, "reader.timeout_s"), MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)CONNECTION_MEMORY, MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL,
        MHD_OPTION_URI_LOG_CALLBACK, exchange_on_line, reader, MHD_OPTION_NOTIFY_COMPLETED,
        exchange_on_completed, NULL, MHD_OPTION_NOTIFY_CONNECTION, connections_notify,
        reader->connections, MHD_OPTION_END);
}

/* The port in use, also when the configuration said 0. */
static uint16_t server_port(const struct server *server)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(server->daemon,
                                                           MHD_DAEMON_INFO_BIND_PORT);
    return info ? info->port : 0;
}

enum err server_start(const struct config *cfg, const struct server_uses *uses, struct server **out,
                      struct failure *f)
{
    const char *listen_at = config_string(cfg, "reader.listen");
    const char *cors_origin = config_string(cfg, "reader.cors_origin");
    union address address;
    if (!address_parse(listen_at, &address))
        return failure_set(f, ERR_CONFIG, "reader.listen: %s is no address and port", listen_at);
    struct server *server = xcalloc(1, sizeof(*server));
    struct reader *reader = &server->reader;
    *reader = (struct reader){.pool = uses->pool,
                              .slow_pool = uses->slow_pool,
                              .hub = uses->hub,
                              .availability = availability_new(),
                              .metrics = reader_metrics_new(),
                              .rows_max = config_int(cfg, "reader.rows_max"),
                              .cors_origins = strcmp(cors_origin, "none") == 0 ? NULL
                                                                               : cors_origin};
    unsigned limit = set_limits(cfg, reader);
    enum err err = start_threads(cfg, reader, f);
    if (err == ERR_OK) {
        server->daemon = start_daemon(cfg, reader, &address, limit);
        if (!server->daemon)
            err = failure_set(f, ERR_CONFIG, "cannot listen at %s: %s", listen_at, strerror(errno));
    }
    if (err != ERR_OK) {
        stop_threads(reader);
        server_free(server);
        return err;
    }
    warn_of_readers(cfg, &address);
    log_info("reader listens", "address=%s port=%" PRIu16, listen_at, server_port(server));
    *out = server;
    return ERR_OK;
}

void server_tick(struct server *server)
{
    connections_expire(server->reader.connections);
}

void server_stop(struct server *server)
{
    if (!server)
        return;
    stop_threads(&server->reader); /* libmicrohttpd waits for suspended connections */
    MHD_stop_daemon(server->daemon);
    server_free(server);
}
