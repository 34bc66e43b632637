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
#include "reader/exchange.h"
#include "reader/lookup.h"
#include "reader/reader_metrics.h"

/* Memory of one connection, in bytes: bounds a request's header. */
#define CONNECTION_MEMORY      (32 * 1024)
/* Descriptors that the database, Kafka and the program itself need. */
#define OTHER_DESCRIPTORS      200
/* A thread of libmicrohttpd has an epoll set and a wake-up pipe. */
#define DESCRIPTORS_PER_THREAD 3
struct server {
    struct MHD_Daemon *daemon;
    struct reader reader;
};

/* Decodes percent-encoding. A NUL would cut a path or a parameter short, so that it names something
 * else: it becomes a character that is in no name. */
static size_t unescape(void *arg, struct MHD_Connection *connection, char *text)
{
    (void)arg;
    (void)connection;
    for (char *at = strstr(text, "%00"); at; at = strstr(at, "%00"))
        at[2] = '1';
    return MHD_http_unescape(text);
}

/* Each connection needs a descriptor, and the default limit is often 1,024. Raises the limit as far
 * as needed and allowed. Returns how many connections the descriptors suffice for, at most
 * `connections`. */
static unsigned raise_descriptors(unsigned connections, unsigned threads)
{
    struct rlimit own;
    rlim_t others = OTHER_DESCRIPTORS + (rlim_t)DESCRIPTORS_PER_THREAD * threads;
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

static void server_free(struct server *server)
{
    lookup_free(server->reader.lookup);
    availability_free(server->reader.availability);
    reader_metrics_free(server->reader.metrics);
    free(server);
}

/* The port in use, also when the configuration said 0. */
static uint16_t server_port(const struct server *server)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(server->daemon,
                                                           MHD_DAEMON_INFO_BIND_PORT);
    return info ? info->port : 0;
}

enum err server_start(const struct config *cfg, struct session_pool *pool, struct hub *hub,
                      struct server **out, struct failure *f)
{
    const char *listen_at = config_string(cfg, "reader.listen");
    union address address;
    if (!address_parse(listen_at, &address))
        return failure_set(f, ERR_CONFIG, "reader.listen: %s is no address and port", listen_at);
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME;
    if (address.any.sa_family == AF_INET6)
        flags |= MHD_USE_IPv6;
    unsigned threads = (unsigned)config_int(cfg, "reader.db_connections");
    unsigned limit = raise_descriptors((unsigned)config_int(cfg, "reader.connection_limit"),
                                       threads);
    struct server *server = xcalloc(1, sizeof(*server));
    const char *cors_origin = config_string(cfg, "reader.cors_origin");
    server->reader = (struct reader){.pool = pool,
                                     .hub = hub,
                                     .availability = availability_new(),
                                     .metrics = reader_metrics_new(),
                                     .cors_origin = strcmp(cors_origin, "none") == 0 ? NULL
                                                                                     : cors_origin};
    if (lookup_start(pool, &server->reader.lookup, f) != ERR_OK) {
        server_free(server);
        return f->err;
    }
    server->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, exchange_on_request, &server->reader, MHD_OPTION_SOCK_ADDR,
        &address.any, MHD_OPTION_THREAD_POOL_SIZE, threads > 1 ? threads : 0u,
        MHD_OPTION_CONNECTION_LIMIT, limit > threads ? limit : threads,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)config_int(cfg, "reader.timeout_s"),
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY, MHD_OPTION_UNESCAPE_CALLBACK,
        unescape, NULL, MHD_OPTION_NOTIFY_COMPLETED, exchange_on_completed, NULL, MHD_OPTION_END);
    if (!server->daemon) {
        lookup_stop(server->reader.lookup);
        server_free(server);
        return failure_set(f, ERR_CONFIG, "cannot listen at %s: %s", listen_at, strerror(errno));
    }
    log_info("reader listens", "address=%s port=%" PRIu16, listen_at, server_port(server));
    *out = server;
    return ERR_OK;
}

void server_stop(struct server *server)
{
    if (!server)
        return;
    lookup_stop(server->reader.lookup); /* libmicrohttpd waits for suspended connections */
    MHD_stop_daemon(server->daemon);
    server_free(server);
}
