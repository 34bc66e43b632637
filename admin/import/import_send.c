/* Sending what is asked for, and what was decided. */
#include <stdlib.h>
#include <string.h>

#include "admin/import/import.h"
#include "core/request.h"
#include "lib/codec/event.h"

/* Requests that wait for their decisions. */
#define IN_FLIGHT 1000
#define POLL_MS   200

struct settings {
    struct berth_setting *items;
    size_t count;
};

/* Both are borrowed. */
static void add_setting(void *arg, const char *name, const char *value)
{
    struct settings *settings = arg;
    settings->items = xrealloc(settings->items, (settings->count + 1) * sizeof(*settings->items));
    settings->items[settings->count++] = (struct berth_setting){name, value};
}

static enum err failed(const struct berth_error *error, struct failure *f)
{
    bool config = error->status == BERTH_CONFIG || error->status == BERTH_AUTH ||
                  error->status == BERTH_TOPIC;
    enum err err = error->status == BERTH_UNREACHABLE ? ERR_LOG_TRANSPORT
                   : config                           ? ERR_CONFIG
                                                      : ERR_FAILED;
    return failure_set(f, err, "%s", error->text);
}

enum err import_open_client(struct import *import, const char *farm, struct failure *f)
{
    static const char *const keys[] = {"farm.topic_prefix", "client.name", "client.key_file",
                                       "client.kid"};
    const struct config *cfg = import->admin->cfg;
    struct settings settings = {0};
    struct berth_error error;
    enum err err = config_require(cfg, "client.name", f);
    if (err == ERR_OK)
        err = config_require(cfg, "client.key_file", f);
    if (err == ERR_OK && !import->dry_run)
        err = config_require(cfg, "kafka.bootstrap.servers", f);
    if (err != ERR_OK)
        return err;
    add_setting(&settings, "farm.name", farm);
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        add_setting(&settings, keys[i], config_string(cfg, keys[i]));
    add_setting(&settings, "client.user", config_string(cfg, "client.name"));
    config_each_kafka(cfg, add_setting, &settings);
    if (berth_open(settings.items, settings.count, &import->client, &error) != BERTH_OK) {
        err = failed(&error, f);
    } else {
        berth_set_max_in_flight(import->client, IN_FLIGHT);
    }
    free(settings.items);
    return err;
}

/* Whether the event's booking or machine is what the request asks for; its start may be another
 * one, since of a begun booking only the rest is asked for. */
static bool same_content(const json_t *request, const json_t *data)
{
    const json_t *booking = json_object_get(data, "booking"),
                 *machine = json_object_get(data, "machine");
    if (booking) {
        return json_equal(json_object_get(booking, "end"), json_object_get(request, "end")) &&
               json_equal(json_object_get(booking, "allocations"),
                          json_object_get(request, "allocations"));
    }
    return json_equal(json_object_get(machine, "gpus"), json_object_get(request, "gpus")) &&
           json_equal(json_object_get(machine, "memory_gib"),
                      json_object_get(request, "memory_gib")) &&
           json_equal(json_object_get(machine, "name"), json_object_get(request, "machine"));
}

/* The event that used the request's id up; a new reference, NULL: there is none. */
static enum err first_answer(const struct import *import, const char *request_id, json_t **out,
                             struct failure *f)
{
    MYSQL_RES *rows = NULL;
    enum err err = admin_query(
        import->admin, "read the first answer",
        admin_sql("SELECT event FROM decision WHERE client = ? AND request_id = ?",
                  import->client_name, request_id),
        &rows, f);
    if (err != ERR_OK)
        return err;
    MYSQL_ROW row = mysql_fetch_row(rows);
    *out = row ? json_loadb(row[0], mysql_fetch_lengths(rows)[0], 0, NULL) : NULL;
    mysql_free_result(rows);
    /* The next look must see what was decided meanwhile. */
    mysql_session_rollback(import->admin->session);
    return ERR_OK;
}

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "";
}

/* The id was used for something else: by an earlier run, before the booking began or the old row
 * changed. */
static enum err settle_reused(struct import *import, const struct import_request *request,
                              const char *detail, struct failure *f)
{
    json_t *event = NULL;
    enum err err = first_answer(import, request->id, &event, f);
    if (err != ERR_OK)
        return err;
    const json_t *data = json_object_get(event, "data");
    const char *subject = text_of(event, "subject"), *reason = text_of(data, "reason");
    bool accepted = strcmp(text_of(event, "type"), EVENT_TYPE_ACCEPTED) == 0;
    json_object_set_new(request->item, "subject", json_string(subject));
    if (accepted && same_content(request->request, data)) {
        import_settle(import, request->item, IMPORT_TAKEN_BEFORE, NULL, NULL);
    } else if (accepted) {
        import_remark(request->item,
                      "it was taken before as %s, and is another one now: change that by hand",
                      subject);
        import_settle(import, request->item, IMPORT_REJECTED, "request_id_reused", NULL);
    } else if (event) {
        import_remark(request->item,
                      "it was rejected before (%s), and has changed since: book it "
                      "by hand",
                      reason);
        import_settle(import, request->item, IMPORT_REJECTED, "request_id_reused",
                      text_of(data, "detail"));
    } else {
        import_settle(import, request->item, IMPORT_REJECTED, "request_id_reused", detail);
    }
    json_decref(event);
    return ERR_OK;
}

static enum err settle_decided(struct import *import, const struct import_request *request,
                               const struct berth_outcome *outcome, struct failure *f)
{
    json_t *event = json_loadb(outcome->event, outcome->event_len, 0, NULL);
    const char *subject = text_of(event, "subject");
    bool accepted = outcome->verdict == BERTH_ACCEPTED;
    enum err err = ERR_OK;
    if (!accepted && strcmp(outcome->reason, "request_id_reused") == 0) {
        err = settle_reused(import, request, outcome->detail, f);
    } else {
        enum import_outcome result = !accepted               ? IMPORT_REJECTED
                                     : outcome->duplicate_of ? IMPORT_TAKEN_BEFORE
                                                             : IMPORT_TAKEN;
        /* Of what was rejected there is nothing. */
        if (accepted)
            json_object_set_new(request->item, "subject", json_string(subject));
        if (!accepted && outcome->duplicate_of)
            import_remark(request->item, "it was rejected before; the first answer stands");
        import_settle(import, request->item, result, outcome->reason, outcome->detail);
    }
    json_decref(event);
    return err;
}

static void request_free(struct import_request *request)
{
    json_decref(request->request);
    free(request);
}

/* Takes outcome. */
static enum err settle(struct import *import, struct berth_outcome *outcome, struct failure *f)
{
    struct import_request *request = outcome->tag;
    enum err err = ERR_OK;
    if (outcome->status == BERTH_OK) {
        err = settle_decided(import, request, outcome, f);
    } else {
        import_settle(import, request->item, IMPORT_UNKNOWN, berth_status_name(outcome->status),
                      outcome->error);
    }
    request_free(request);
    berth_outcome_free(outcome);
    return err;
}

/* Settles what has come, and waits for the first of it. */
static enum err collect(struct import *import, int timeout_ms, struct failure *f)
{
    struct berth_outcome *outcome;
    enum err err = ERR_OK;
    while (err == ERR_OK) {
        /* Nobody interrupts this client: a signal ends the program, which may be run again. */
        berth_poll(import->client, timeout_ms, &outcome);
        if (!outcome)
            break;
        err = settle(import, outcome, f);
        timeout_ms = 0;
    }
    return err;
}

static enum err collect_all(struct import *import, struct failure *f)
{
    enum err err = ERR_OK;
    while (err == ERR_OK && berth_in_flight(import->client) > 0)
        err = collect(import, POLL_MS, f);
    return err;
}

/* Settles a dry run's item. Takes message. */
static void plan(struct import *import, const struct import_request *request,
                 struct berth_message *message)
{
    char *text = json_dumps(request->request, JSON_COMPACT);
    json_object_set_new(request->item, "claims", json_loads(message->claims, 0, NULL));
    import_settle(import, request->item, IMPORT_PLANNED, NULL, text);
    free(text);
    berth_message_free(message);
}

/* Takes both. */
static enum err send_message(struct import *import, struct import_request *request,
                             struct berth_message *message, struct failure *f)
{
    struct berth_send_options options = {.wait_ms = import->wait_ms, .tag = request};
    struct berth_error error;
    enum berth_status status = BERTH_FULL;
    enum err err = ERR_OK;
    while (err == ERR_OK &&
           (status = berth_send(import->client, message, &options, &error)) == BERTH_FULL)
        err = collect(import, POLL_MS, f);
    /* In flight, both belong to the outcome. */
    if (status == BERTH_OK)
        return collect(import, 0, f);
    if (err == ERR_OK)
        err = failed(&error, f);
    berth_message_free(message);
    request_free(request);
    return err;
}

/* Takes what the request holds. Not every failure ends the run: what is wrong with one row is told
 * in its item. */
static enum err send_one(struct import *import, const struct import_request *request,
                         struct failure *f)
{
    struct berth_message *message = NULL;
    struct berth_error error;
    char *text = json_dumps(request->request, JSON_COMPACT);
    struct berth_request in = {.request_json = text,
                               .user = request->user,
                               .request_id = request->id,
                               .lifetime_s = config_int(import->admin->cfg, "client.expires_s")};
    enum berth_status status = berth_message_new(import->client, &in, &message, &error);
    free(text);
    json_object_set_new(request->item, "request", json_string(request->id));
    enum err err = ERR_OK;
    if (status == BERTH_INVALID || status == BERTH_TOO_LARGE) {
        bool user = strcmp(error.pointer, "/sub") == 0;
        import_settle(import, request->item, IMPORT_REJECTED,
                      user ? "invalid_user" : "invalid_request", error.text);
    } else if (status != BERTH_OK) {
        err = failed(&error, f);
    } else if (import->dry_run) {
        plan(import, request, message);
    } else {
        struct import_request *copy = xmalloc(sizeof(*copy));
        *copy = *request;
        json_incref(copy->request);
        err = send_message(import, copy, message, f);
    }
    json_decref(request->request);
    return err;
}

/* Requests with one key are decided in their order. Before one with another key asks for the same
 * machine, all before it must be decided: where the old system booked more than there is, the lower
 * ids are to have it. `keys` says which key's requests in flight use a machine. */
static enum err keep_order(struct import *import, const struct import_request *request,
                           json_t *keys, struct failure *f)
{
    size_t i;
    const json_t *share, *shares = json_object_get(request->request, "allocations");
    bool wait = false;
    json_array_foreach(shares, i, share)
    {
        const char *other = text_of(keys, text_of(share, "machine"));
        wait = wait || (*other && strcmp(other, request->key) != 0);
    }
    enum err err = wait ? collect_all(import, f) : ERR_OK;
    if (wait)
        json_object_clear(keys);
    json_array_foreach(shares, i, share)
        json_object_set_new(keys, text_of(share, "machine"), json_string(request->key));
    return err;
}

static enum err send_rows(struct import *import,
                          bool (*next)(struct import *import, struct import_walk *walk,
                                       struct import_request *out),
                          struct failure *f)
{
    struct import_request request;
    struct import_walk walk = {0};
    json_t *keys = json_object();
    enum err err = ERR_OK;
    while (err == ERR_OK && next(import, &walk, &request)) {
        err = keep_order(import, &request, keys, f);
        if (err == ERR_OK) {
            err = send_one(import, &request, f);
        } else {
            json_decref(request.request);
        }
    }
    json_decref(keys);
    return err != ERR_OK ? err : collect_all(import, f);
}

/* What is in flight comes out as unknown. */
static void give_up(struct import *import)
{
    struct failure ignored;
    berth_abandon(import->client);
    while (berth_in_flight(import->client) > 0)
        collect(import, POLL_MS, &ignored);
}

enum err import_send_all(struct import *import, struct failure *f)
{
    enum err err = send_rows(import, import_next_machine, f);
    if (err == ERR_OK)
        err = send_rows(import, import_next_booking, f);
    if (err != ERR_OK)
        give_up(import);
    return err;
}
