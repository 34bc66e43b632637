/* berth-reader: answers GET requests from the database. Parses, wires and runs. */
#include <stdlib.h>

#include "db/migrate.h"
#include "lib/base/backoff.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/config/service.h"
#include "reader/healthcheck.h"
#include "reader/hub.h"
#include "reader/server.h"

/* The main thread only waits for a signal. */
#define WAIT_MS            100
#define START_RETRY_MIN_MS 100
#define START_RETRY_MAX_MS 5000

/* Waits until the database answers and has this program's schema version. */
static enum err wait_for_database(const struct mysql_settings *settings, struct failure *f)
{
    struct mysql_session *session = mysql_session_new(settings);
    struct backoff pause;
    enum err err = ERR_INTERRUPTED;
    backoff_init(&pause, START_RETRY_MIN_MS, START_RETRY_MAX_MS);
    while (!service_stopping()) {
        err = mysql_session_connect(session, f);
        if (err == ERR_OK)
            err = migrate_check(session, f);
        if (err == ERR_OK || !service_can_pass(err))
            break;
        log_failure(LOG_WARN, "cannot start yet", f);
        clock_sleep_ms(backoff_next(&pause));
        err = ERR_INTERRUPTED; /* if a signal has ended the pause */
    }
    mysql_session_free(session);
    return err;
}

/* Starts the hub for all partitions of the farm. *out stays NULL when there is no farm. */
static enum err follow_events(const struct config *cfg, struct session_pool *pool, struct hub **out,
                              struct failure *f)
{
    struct buf sql = {0};
    MYSQL_RES *rows;
    MYSQL_ROW row;
    int32_t partitions = 0;
    buf_puts(&sql, "SELECT partitions FROM farm");
    enum err err = session_pool_query(pool, "read farm", &sql, &rows, f);
    if (err == ERR_OK && (row = mysql_fetch_row(rows)))
        partitions = (int32_t)field_int(row[0]);
    mysql_free_result(rows);
    if (err == ERR_OK && partitions == 0)
        return ERR_OK; /* no farm yet: nothing to follow */
    return err == ERR_OK ? hub_start(cfg, partitions, out, f) : err;
}

static struct session_pool *pool_new_of(const struct config *cfg,
                                        const struct mysql_settings *settings, const char *key)
{
    return session_pool_new(settings, (size_t)config_int(cfg, key),
                            config_int(cfg, "reader.statement_limit_s"));
}

static enum err serve(const struct config *cfg, const struct mysql_settings *settings,
                      struct failure *f)
{
    struct server *server = NULL;
    enum err err = wait_for_database(settings, f);
    if (err != ERR_OK)
        return err;
    struct server_uses uses = {.pool = pool_new_of(cfg, settings, "reader.db_connections"),
                               .slow_pool = pool_new_of(cfg, settings, "reader.slow_connections")};
    if (config_string(cfg, "kafka.bootstrap.servers"))
        err = follow_events(cfg, uses.pool, &uses.hub, f);
    if (err == ERR_OK)
        err = server_start(cfg, &uses, &server, f);
    while (err == ERR_OK && !service_stopping()) {
        clock_sleep_ms(WAIT_MS);
        server_tick(server);
    }
    if (uses.hub)
        hub_stop(uses.hub); /* ends the listeners' streams: server_stop waits for them */
    server_stop(server);
    hub_free(uses.hub);
    session_pool_free(uses.slow_pool);
    session_pool_free(uses.pool);
    return err;
}

static enum err run(const struct config *cfg, const struct options *opts, struct failure *f)
{
    struct mysql_settings settings = {0};
    if (options_has(opts, "healthcheck"))
        return healthcheck(config_string(cfg, "reader.listen"), f);
    if (mysql_library_init(0, NULL, NULL) != 0)
        return failure_set(f, ERR_FAILED, "the database client library does not start");
    enum err err = mysql_settings_read(cfg, "reader", &settings, f);
    settings.read_only = true;
    if (err == ERR_OK) {
        err = serve(cfg, &settings, f);
        mysql_settings_fini(&settings);
    }
    mysql_library_end();
    return err;
}

int main(int argc, char **argv)
{
    static const struct option_spec options[] = {
        {"healthcheck", 0, NULL, "ask a running reader's /healthz; exit with 0 or 1"},
        {0},
    };
    static const struct command_spec command = {
        .name = "berth-reader",
        .description = "Answers GET queries about machines, bookings and decisions, as JSON.\n"
                       "It listens on loopback unless reader.listen says otherwise.",
        .example = "berth-reader --set reader.listen=127.0.0.1:8080",
        .options = options,
        .common = service_options,
    };
    static const struct service service = {
        .command = &command, .program = PROGRAM_READER, .run = run};
    return service_main(&service, argc, argv);
}
