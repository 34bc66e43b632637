#include "worker/scrape.h"

#include <errno.h>
#include <inttypes.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/address.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"

/* Prometheus keeps one connection; a pair of them, and a person who looks. */
#define CONNECTION_LIMIT  16
#define TIMEOUT_S         30
#define CONNECTION_MEMORY (16 * 1024)

struct scrape {
    struct MHD_Daemon *daemon;
    const struct worker_metrics *metrics;
};

static enum MHD_Result send_text(struct MHD_Connection *connection, unsigned status,
                                 const char *content_type, struct buf *text)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(text->len, text->data,
                                                                    MHD_RESPMEM_MUST_FREE);
    if (!response) {
        buf_fini(text);
        return MHD_NO;
    }
    enum MHD_Result result = MHD_add_response_header(response, "Content-Type", content_type);
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
        result = MHD_add_response_header(response, "Allow", "GET, HEAD");
    if (result == MHD_YES)
        result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

/* libmicrohttpd gives the signature. */
static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload_data,
                                  size_t *upload_data_size, void **state)
{
    const struct scrape *scrape = arg;
    struct buf text = {0};
    (void)version, (void)upload_data, (void)upload_data_size, (void)state;
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
        buf_puts(&text, "GET or HEAD\n");
        return send_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "text/plain", &text);
    }
    if (strcmp(url, "/metrics") != 0) {
        buf_puts(&text, "/metrics is all that is here\n");
        return send_text(connection, MHD_HTTP_NOT_FOUND, "text/plain", &text);
    }
    worker_metrics_render(scrape->metrics, &text);
    return send_text(connection, MHD_HTTP_OK, METRICS_CONTENT_TYPE, &text);
}

static uint16_t port_of(const struct scrape *scrape)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(scrape->daemon,
                                                           MHD_DAEMON_INFO_BIND_PORT);
    return info ? info->port : 0;
}

enum err scrape_start(const char *listen_at, const struct worker_metrics *metrics,
                      struct scrape **out, struct failure *f)
{
    union address address;
    if (!address_parse(listen_at, &address)) {
        return failure_set(f, ERR_CONFIG, "worker.metrics_listen: %s is no address and port",
                           listen_at);
    }
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD;
    if (address.any.sa_family == AF_INET6)
        flags |= MHD_USE_IPv6;
    struct scrape *scrape = xcalloc(1, sizeof(*scrape));
    scrape->metrics = metrics;
    scrape->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, scrape, MHD_OPTION_SOCK_ADDR, &address.any,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTION_LIMIT, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)TIMEOUT_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
        MHD_OPTION_END);
    if (!scrape->daemon) {
        free(scrape);
        return failure_set(f, ERR_CONFIG, "cannot listen at %s: %s", listen_at, strerror(errno));
    }
    log_info("metrics listen", "address=%s port=%" PRIu16, listen_at, port_of(scrape));
    *out = scrape;
    return ERR_OK;
}

void scrape_stop(struct scrape *scrape)
{
    if (!scrape)
        return;
    MHD_stop_daemon(scrape->daemon);
    free(scrape);
}
