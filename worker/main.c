/* berth-worker: decides booking requests. Parses, wires and runs. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "db/mysql_store.h"
#include "lib/base/backoff.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/zone.h"
#include "lib/config/service.h"
#include "worker/kafka_broker.h"
#include "worker/real_env.h"
#include "worker/scrape.h"
#include "worker/worker.h"

#define POLL_MS            50
/* Between attempts to start while a server cannot be reached. */
#define START_RETRY_MIN_MS 100
#define START_RETRY_MAX_MS 5000

/* worker.name, or host:pid. */
static const char *choose_name(const struct config *cfg, char *buf, size_t size)
{
    char host[256] = "";
    const char *name = config_string(cfg, "worker.name");
    if (name)
        return name;
    if (gethostname(host, sizeof(host) - 1) != 0)
        host[0] = '\0';
    snprintf(buf, size, "%.100s:%ld", host[0] ? host : "host", (long)getpid());
    return buf;
}

static enum err open_worker(const struct worker_settings *settings, struct store *store,
                            struct broker *broker, struct worker **out, struct failure *f)
{
    struct backoff pause;
    char told[FAILURE_TEXT_LEN] = "";
    backoff_init(&pause, START_RETRY_MIN_MS, START_RETRY_MAX_MS);
    while (!service_stopping()) {
        enum err err = worker_open(settings, &real_env, store, broker, out, f);
        if (err == ERR_OK || !service_can_pass(err))
            return err;
        if (strcmp(told, f->text) != 0) /* once for each cause */
            log_failure(LOG_WARN, "cannot start yet", f);
        snprintf(told, sizeof(told), "%s", f->text);
        clock_sleep_ms(backoff_next(&pause));
    }
    return failure_set(f, ERR_INTERRUPTED, "stopped while starting");
}

static enum err work(const struct config *cfg, struct store *store, struct broker *broker,
                     struct worker_metrics *metrics, struct failure *f)
{
    char name[128];
    const struct worker_settings settings = {
        .name = choose_name(cfg, name, sizeof(name)),
        .batch_max = (size_t)config_int(cfg, "worker.batch_max"),
        .batch_max_bytes = (size_t)config_int(cfg, "worker.batch_max_bytes"),
        .unpublished_max = config_int(cfg, "worker.unpublished_max"),
        .metrics = metrics,
    };
    struct worker *w;
    if (settings.unpublished_max <= (int64_t)settings.batch_max) {
        return failure_set(f, ERR_CONFIG,
                           "worker.unpublished_max must be greater than worker.batch_max");
    }
    if (open_worker(&settings, store, broker, &w, f) != ERR_OK)
        return f->err;
    while (!service_stopping())
        worker_step(w, POLL_MS);
    worker_close(w);
    worker_free(w);
    return ERR_OK;
}

/* Serves /metrics, if configured, from before the servers are reached. */
static enum err work_measured(const struct config *cfg, struct store *store, struct broker *broker,
                              struct failure *f)
{
    const char *listen_at = config_string(cfg, "worker.metrics_listen");
    struct worker_metrics *metrics = worker_metrics_new();
    struct scrape *scrape = NULL;
    enum err err = listen_at ? scrape_start(listen_at, metrics, &scrape, f) : ERR_OK;
    if (err == ERR_OK)
        err = work(cfg, store, broker, metrics, f);
    scrape_stop(scrape);
    worker_metrics_free(metrics);
    return err;
}

static enum err run(const struct config *cfg, const struct options *opts, struct failure *f)
{
    struct store store = {0};
    struct broker broker = {0};
    enum err err = zone_check_database(f);
    if (err == ERR_OK)
        err = mysql_store_new(cfg, &store, f);
    if (err == ERR_OK)
        err = kafka_broker_new(cfg, &broker, f);
    if (err == ERR_OK && options_has(opts, "healthcheck")) {
        err = worker_check(&store, &broker, f);
    } else if (err == ERR_OK) {
        err = work_measured(cfg, &store, &broker, f);
    }
    if (broker.ops)
        kafka_broker_free(&broker);
    if (store.ops)
        mysql_store_free(&store);
    return err;
}

int main(int argc, char **argv)
{
    static const struct option_spec options[] = {
        {"healthcheck", 0, NULL, "exit with 0 if database and topics can be worked with, else 1"},
        {0},
    };
    static const struct command_spec command = {
        .name = "berth-worker",
        .description =
            "Decides booking requests from Kafka, stores the decisions in MySQL and publishes "
            "them\n"
            "as events. Start as many as you like: they share the partitions. SIGTERM finishes\n"
            "the batch in hand and exits with 0.",
        .example = "berth-worker --config /etc/berth/berth.conf",
        .options = options,
        .common = service_options,
    };
    static const struct service service = {
        .command = &command, .program = PROGRAM_WORKER, .run = run};
    return service_main(&service, argc, argv);
}
