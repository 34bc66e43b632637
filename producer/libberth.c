/* Opening and closing a client: settings, key, wake pipe; errors. */
#include <berth.h>

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/limits.h"
#include "core/request.h"
#include "lib/base/clock.h"
#include "lib/base/mem.h"
#include "producer/libberth_internal.h"

const char *berth_status_name(enum berth_status status)
{
    static const char *const names[] = {
        [BERTH_OK] = "ok",           [BERTH_INVALID] = "invalid",
        [BERTH_CONFIG] = "config",   [BERTH_UNREACHABLE] = "unreachable",
        [BERTH_AUTH] = "auth",       [BERTH_TOPIC] = "topic",
        [BERTH_FULL] = "full",       [BERTH_TOO_LARGE] = "too_large",
        [BERTH_UNKNOWN] = "unknown", [BERTH_INTERRUPTED] = "interrupted",
        [BERTH_KAFKA] = "kafka",     [BERTH_GAP] = "gap",
    };
    assert((size_t)status < sizeof(names) / sizeof(names[0]));
    return names[status];
}

enum berth_status lb_error(struct berth_error *error, enum berth_status status, const char *format,
                           ...)
{
    if (!error)
        return status;
    error->status = status;
    error->pointer[0] = '\0';
    struct failure f; /* has the visible form */
    va_list args;
    va_start(args, format);
    (void)failure_vset(&f, ERR_FAILED, format, args);
    va_end(args);
    snprintf(error->text, sizeof(error->text), "%s", f.text);
    return status;
}

/* ---- settings ---------------------------------------------------------------------------- */

static void set_text(char **field, const char *value)
{
    free(*field);
    *field = xstrdup(value);
}

static void add_kafka(struct berth_client *client, const char *name, const char *value)
{
    size_t count = client->kafka_count + 1;
    client->kafka_names = xrealloc(client->kafka_names, count * sizeof(char *));
    client->kafka_values = xrealloc(client->kafka_values, count * sizeof(char *));
    client->kafka_names[count - 1] = xstrdup(name);
    client->kafka_values[count - 1] = xstrdup(value);
    client->kafka_count = count;
}

static void take_setting(struct berth_client *client, const struct berth_setting *setting,
                         char **key_file)
{
    const struct {
        const char *name;
        char **field;
    } known[] = {
        {"farm.name", &client->farm},   {"farm.topic_prefix", &client->topic_prefix},
        {"client.name", &client->name}, {"client.user", &client->user},
        {"client.kid", &client->kid},   {"client.key_file", key_file},
    };
    if (!setting->value)
        return;
    if (strncmp(setting->name, "kafka.", 6) == 0) {
        add_kafka(client, setting->name + 6, setting->value);
        return;
    }
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strcmp(setting->name, known[i].name) == 0)
            set_text(known[i].field, setting->value);
    }
}

static enum berth_status check_settings(const struct berth_client *client,
                                        struct berth_error *error)
{
    if (client->farm && !farm_name_is_valid(client->farm)) {
        return lb_error(error, BERTH_CONFIG, "farm.name '%.100s' is not 1..%d of a-z 0-9 -",
                        client->farm, LIMIT_FARM_NAME_LEN);
    }
    if (client->name && !name_is_valid(client->name, LIMIT_NAME_LEN, NULL)) {
        return lb_error(error, BERTH_CONFIG,
                        "client.name '%.100s' is not 1..%d of A-Z a-z 0-9 . _ -", client->name,
                        LIMIT_NAME_LEN);
    }
    if (client->kid && (client->kid[0] == '\0' || strlen(client->kid) > LIMIT_KID_LEN))
        return lb_error(error, BERTH_CONFIG, "client.kid has not 1..%d characters", LIMIT_KID_LEN);
    if (client->topic_prefix && strlen(client->topic_prefix) > KAFKA_TOPIC_LEN - 20)
        return lb_error(error, BERTH_CONFIG, "farm.topic_prefix is too long for Kafka");
    return BERTH_OK;
}

static enum berth_status read_key(struct berth_client *client, const char *path,
                                  struct berth_error *error)
{
    struct failure f;
    if (!path)
        return BERTH_OK;
    if (signing_key_read(path, &client->key, &f) != ERR_OK)
        return lb_error(error, BERTH_CONFIG, "%s", f.text);
    if (!client->kid) {
        char thumbprint[44];
        jws_key_thumbprint(signing_key_public(client->key), thumbprint);
        client->kid = xstrdup(thumbprint);
    }
    return BERTH_OK;
}

static enum berth_status make_wake(struct berth_client *client, struct berth_error *error)
{
    if (pipe(client->wake) != 0) {
        client->wake[0] = client->wake[1] = -1;
        return lb_error(error, BERTH_CONFIG, "cannot make a pipe: %s", strerror(errno));
    }
    for (int i = 0; i < 2; i++) {
        fcntl(client->wake[i], F_SETFL, O_NONBLOCK);
        fcntl(client->wake[i], F_SETFD, FD_CLOEXEC);
    }
    return BERTH_OK;
}

enum berth_status berth_open(const struct berth_setting *settings, size_t setting_count,
                             struct berth_client **client_out, struct berth_error *error)
{
    struct berth_client *client = xcalloc(1, sizeof(*client));
    client->wake[0] = client->wake[1] = -1;
    client->max_in_flight = DEFAULT_MAX_IN_FLIGHT;
    client->next_deadline_ms = INT64_MAX;
    TAILQ_INIT(&client->flights);
    TAILQ_INIT(&client->done);
    char *key_file = NULL;
    for (size_t i = 0; i < setting_count; i++)
        take_setting(client, &settings[i], &key_file);
    enum berth_status status = check_settings(client, error);
    if (status == BERTH_OK)
        status = read_key(client, key_file, error);
    if (status == BERTH_OK)
        status = make_wake(client, error);
    free(key_file);
    if (status != BERTH_OK) {
        berth_close(client);
        return status;
    }
    *client_out = client;
    return BERTH_OK;
}

void berth_close(struct berth_client *client)
{
    if (!client)
        return;
    lb_disconnect(client);
    lb_flight_clear(client);
    for (size_t i = 0; i < client->kafka_count; i++) {
        free(client->kafka_names[i]);
        free(client->kafka_values[i]);
    }
    for (int i = 0; i < 2; i++) {
        if (client->wake[i] >= 0)
            close(client->wake[i]);
    }
    free(client->kafka_names);
    free(client->kafka_values);
    signing_key_free(client->key);
    free(client->farm);
    free(client->topic_prefix);
    free(client->name);
    free(client->user);
    free(client->kid);
    free(client->lanes);
    free(client);
}

const char *berth_kid(const struct berth_client *client)
{
    return client->key ? client->kid : NULL;
}

void berth_set_logger(struct berth_client *client,
                      void (*logger)(void *arg, int level, const char *text), void *arg)
{
    client->logger = logger;
    client->logger_arg = arg;
}

void berth_set_max_in_flight(struct berth_client *client, size_t count)
{
    assert(count >= 1 && count <= MAX_IN_FLIGHT);
    client->max_in_flight = count;
}

/* ---- interrupt --------------------------------------------------------------------------- */

void berth_interrupt(struct berth_client *client)
{
    int saved = errno;
    atomic_store(&client->interrupted, true);
    /* If the pipe is full, the write fails, but the sleeper wakes all the same. */
    ssize_t written = write(client->wake[1], "i", 1);
    (void)written;
    errno = saved;
}

bool lb_take_interrupt(struct berth_client *client)
{
    return atomic_exchange(&client->interrupted, false);
}

void lb_sleep(struct berth_client *client, int64_t until_ms)
{
    int64_t left_ms = until_ms - clock_mono_ms();
    if (left_ms <= 0)
        return;
    struct pollfd wake = {.fd = client->wake[0], .events = POLLIN};
    poll(&wake, 1, (int)(left_ms < SLICE_MS ? left_ms : SLICE_MS));
}

void lb_drain_wake(struct berth_client *client)
{
    char bytes[256];
    while (read(client->wake[0], bytes, sizeof(bytes)) == (ssize_t)sizeof(bytes))
        continue;
}
