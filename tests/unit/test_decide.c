/* Runs tests/unit/decide_table.txt, which says how to read it, against the decision function. */
#include "core/decide.h"
#include "core/decider.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define DAY_MS    INT64_C(86400000)
#define BASE_MS   INT64_C(1796083200000) /* 2026-12-01T00:00:00Z, day 0 of the table */
#define MAX_ITEMS 8
#define MAX_ROWS  600
#define PART      3

enum column { EXISTING, REQUEST, NOW, EXPECTED, RULE, COLUMN_COUNT };

struct row {
    int line;
    char *cells[COLUMN_COUNT];
};
struct section {
    enum reason reason; /* REASON_NONE: [accepted] */
    size_t first, count;
};
static struct {
    char *text;
    struct machine machines[MAX_ITEMS];
    size_t machine_count;
    struct row rows[MAX_ROWS];
    size_t row_count;
    struct section sections[REASON_COUNT];
    size_t section_count;
} table;

static const char *table_path(void)
{
    static char path[512];
    const char *slash = strrchr(__FILE__, '/');
    snprintf(path, sizeof(path), "%.*sdecide_table.txt", slash ? (int)(slash + 1 - __FILE__) : 0,
             __FILE__);
    return path;
}

/* --- words --- */

/* The next word, cut out of the text; NULL at the end. */
static char *word(char **cursor)
{
    char *start = *cursor + strspn(*cursor, " \t");
    if (*start == '\0')
        return NULL;
    char *end = start + strcspn(start, " \t");
    *cursor = *end == '\0' ? end : end + 1;
    *end = '\0';
    return start;
}

static int64_t whole(const char *text)
{
    return strtoll(text, NULL, 10);
}

/* What follows "prefix" in the word, or NULL. */
static char *after(char *text, const char *prefix)
{
    size_t len = strlen(prefix);
    return strncmp(text, prefix, len) == 0 ? text + len : NULL;
}

/* The number that the text begins with, as far as it goes; 64-bit extremes are meant. */
static int64_t number_of(const char *text)
{
    return strtoll(text, NULL, 10);
}

/* [Nd]HH:MM[:SS[.mmm]] */
static int64_t time_of(const char *text)
{
    int64_t day = 0;
    int hour = 0, minute = 0, second = 0, ms = 0;
    const char *d = strchr(text, 'd');
    if (d) {
        day = (int)whole(text);
        text = d + 1;
    }
    if (sscanf(text, "%d:%d:%d.%d", &hour, &minute, &second, &ms) < 2)
        fail_msg("not a time: %s", text);
    return BASE_MS + day * DAY_MS + ((hour * 60 + minute) * INT64_C(60) + second) * 1000 + ms;
}

static int64_t duration_of(const char *text)
{
    char unit = 's';
    long long count = 0;
    if (sscanf(text, "%lld%c", &count, &unit) != 2)
        fail_msg("not a duration: %s", text);
    int64_t unit_s = unit == 'd' ? 86400 : unit == 'h' ? 3600 : unit == 'm' ? 60 : 1;
    return count * unit_s * 1000;
}

/* NAME:GPUS:GIB; cuts the name out of the text. */
static struct share share_of(char *text)
{
    struct share share = {.machine = text};
    char *colon = strchr(text, ':');
    if (!colon)
        fail_msg("not a share: %s", text);
    *colon = '\0';
    if (sscanf(colon + 1, "%" SCNd64 ":%" SCNd64, &share.amount.gpus, &share.amount.memory_gib) !=
        2)
        fail_msg("not an amount: %s", colon + 1);
    return share;
}

static int64_t occurrence_id(int64_t seq, int64_t index)
{
    return ((index << 32) + seq) * LIMIT_PARTITIONS + PART;
}

/* N, or #SEQ, or #SEQ+INDEX for an occurrence of a series. */
static int64_t booking_id_of(const char *text)
{
    const char *plus = strchr(text, '+');
    if (text[0] == '#' && plus)
        return occurrence_id(whole(text + 1), whole(plus + 1));
    return text[0] == '#' ? atoll(text + 1) * LIMIT_PARTITIONS + PART : atoll(text);
}

/* --- the request column --- */

struct message {
    struct credential credential;
    struct claims claims;
    struct submission submission;
    struct share shares[LIMIT_ALLOCATIONS];
    struct label labels[MAX_ITEMS];
    struct window windows[LIMIT_OCCURRENCES];
};

static void default_message(struct message *m, int64_t now_ms, int64_t seq)
{
    *m = (struct message){
        .credential = {.client = "batch-1", .not_after_ms = INT64_MAX},
        .claims = {.issuer = "batch-1",
                   .audience = "test",
                   .user = "alice",
                   .id = "fresh",
                   .has_iat = true,
                   .has_exp = true,
                   .iat_s = now_ms / 1000,
                   .exp_s = now_ms / 1000 + 600,
                   .type = REQUEST_TYPE_COUNT},
        .submission = {.part = PART, .seq = seq, .now_ms = now_ms, .farm = "test"},
    };
    m->submission.credential = &m->credential;
    m->submission.claims = &m->claims;
}

/* NAME:VALUE, a limit of the client's own. */
static void own_limit(struct client_limits *limits, char *text)
{
    char *colon = strchr(text, ':');
    *colon = '\0';
    int64_t value = whole(colon + 1);
    if (strcmp(text, "allocations") == 0) {
        limits->allocations = value;
    } else if (strcmp(text, "booking_s") == 0) {
        limits->booking_s = value;
    } else if (strcmp(text, "ahead_s") == 0) {
        limits->ahead_s = value;
    } else {
        fail_msg("not a limit of one booking: %s", text);
    }
}

/* A word about the sender or the token; false: it is none. */
static bool sender_word(struct message *m, char *w)
{
    char *v;
    if ((v = after(w, "as=")) != NULL) {
        m->credential.client = m->claims.issuer = v;
    } else if (strcmp(w, "admin") == 0) {
        m->credential.role = ROLE_ADMIN;
    } else if ((v = after(w, "own=")) != NULL) {
        own_limit(&m->credential.limits, v);
    } else if ((v = after(w, "bad=")) != NULL) {
        m->credential.failure = reason_from_name(v);
        m->credential.detail = "What authentication found.";
        m->submission.claims = NULL;
    } else if (strcmp(w, "revoked") == 0) {
        m->credential.revoked = true;
    } else if ((v = after(w, "key-from=")) != NULL) {
        m->credential.not_before_ms = time_of(v);
    } else if ((v = after(w, "key-to=")) != NULL) {
        m->credential.not_after_ms = time_of(v);
    } else if ((v = after(w, "iss=")) != NULL) {
        m->claims.issuer = strcmp(v, "none") == 0 ? NULL : v;
    } else if ((v = after(w, "aud=")) != NULL) {
        m->claims.audience = strcmp(v, "none") == 0 ? NULL : v;
    } else if ((v = after(w, "iat=")) != NULL) {
        m->claims.iat_s = v[0] == '@' ? number_of(v + 1) : time_of(v) / 1000;
    } else if ((v = after(w, "exp=")) != NULL) {
        m->claims.exp_s = v[0] == '@' ? number_of(v + 1) : time_of(v) / 1000;
    } else if ((v = after(w, "nbf=")) != NULL) {
        m->claims.has_nbf = true;
        m->claims.nbf_s = v[0] == '@' ? number_of(v + 1) : time_of(v) / 1000;
    } else if (strcmp(w, "no-iat") == 0) {
        m->claims.has_iat = false;
    } else if (strcmp(w, "no-exp") == 0) {
        m->claims.has_exp = false;
    } else if ((v = after(w, "wrong=")) != NULL) {
        m->claims.pointer = v;
        m->claims.expected = "something right";
    } else if ((v = after(w, "id=")) != NULL) {
        m->claims.id = v;
    } else if ((v = after(w, "content=")) != NULL) {
        m->claims.content_sha256[0] = (uint8_t)whole(v);
    } else if (strcmp(w, "operator") == 0) {
        m->submission.operator_rejects = true;
    } else {
        return false;
    }
    return true;
}

/* COUNT*GPUS:GIB */
static void any_word(struct message *m, const char *text)
{
    struct any *any = &m->claims.request.booking_create.any;
    any->labels.items = m->labels;
    if (sscanf(text, "%" SCNd64 "*%" SCNd64 ":%" SCNd64, &any->count, &any->amount.gpus,
               &any->amount.memory_gib) != 3)
        fail_msg("not any: %s", text);
}

/* DURATION*COUNT */
static void every_word(struct message *m, char *text)
{
    struct booking_create *create = &m->claims.request.booking_create;
    char *star = strchr(text, '*');
    *star = '\0';
    int64_t end_ms = create->end_ms != TIME_NONE ? create->end_ms
                                                 : create->start_ms + create->duration_ms;
    create->windows = m->windows;
    create->window_count = (size_t)whole(star + 1);
    for (size_t i = 0; i < create->window_count; i++) {
        int64_t shift_ms = (int64_t)i * duration_of(text);
        m->windows[i] = (struct window){create->start_ms + shift_ms, end_ms + shift_ms};
    }
}

/* KEY=VALUE */
static struct label label_of(char *text)
{
    char *equals = strchr(text, '=');
    if (!equals)
        fail_msg("not a label: %s", text);
    *equals = '\0';
    return (struct label){.key = text, .value = equals + 1};
}

static void what_words(struct message *m, char **cursor)
{
    struct booking_create *create = &m->claims.request.booking_create;
    for (char *w = word(cursor); w; w = word(cursor)) {
        char *v;
        if ((v = after(w, "any=")) != NULL) {
            any_word(m, v);
        } else if ((v = after(w, "label=")) != NULL) {
            m->labels[create->any.labels.count++] = label_of(v);
        } else if ((v = after(w, "every=")) != NULL) {
            every_word(m, v);
        } else if (strcmp(w, "skip") == 0) {
            create->skip_conflicts = true;
        } else {
            m->shares[create->share_count++] = share_of(w);
        }
    }
}

static void create_words(struct message *m, char **cursor)
{
    struct booking_create *create = &m->claims.request.booking_create;
    *create = (struct booking_create){
        .start_ms = TIME_NONE, .end_ms = TIME_NONE, .duration_ms = TIME_NONE, .shares = m->shares};
    char *window = word(cursor);
    char *split = window + strcspn(window, "+-");
    bool lasts = *split == '+';
    *split = '\0';
    if (strcmp(window, "now") != 0)
        create->start_ms = time_of(window);
    if (lasts) {
        create->duration_ms = duration_of(split + 1);
    } else {
        create->end_ms = time_of(split + 1);
    }
    what_words(m, cursor);
}

static void amend_words(struct message *m, char **cursor)
{
    struct booking_amend *amend = &m->claims.request.booking_amend;
    *amend = (struct booking_amend){.booking = booking_id_of(word(cursor)),
                                    .start_ms = TIME_NONE,
                                    .end_ms = TIME_NONE,
                                    .shares = m->shares};
    for (char *w = word(cursor); w; w = word(cursor)) {
        char *v;
        if ((v = after(w, "start=")) != NULL) {
            amend->start_ms = time_of(v);
        } else if ((v = after(w, "end=")) != NULL) {
            amend->end_ms = time_of(v);
        } else {
            amend->has_shares = true;
            if (strcmp(w, "none") != 0)
                m->shares[amend->share_count++] = share_of(w);
        }
    }
}

static void register_words(struct message *m, char **cursor)
{
    struct machine_register *reg = &m->claims.request.machine_register;
    struct share share = share_of(word(cursor));
    *reg = (struct machine_register){
        .machine = share.machine, .capacity = share.amount, .labels.items = m->labels};
    for (char *w = word(cursor); w; w = word(cursor)) {
        char *equals = strchr(w, '=');
        assert_non_null(equals);
        *equals = '\0';
        if (strcmp(w, "machine-id") == 0) {
            reg->id = number_of(equals + 1);
        } else {
            m->labels[reg->labels.count++] = (struct label){.key = w, .value = equals + 1};
        }
    }
}

static void update_words(struct message *m, char **cursor)
{
    struct machine_update *update = &m->claims.request.machine_update;
    *update = (struct machine_update){.machine = word(cursor), .labels.items = m->labels};
    for (char *w = word(cursor); w; w = word(cursor)) {
        char *v;
        if ((v = after(w, "gpus=")) != NULL) {
            update->has_gpus = true;
            update->capacity.gpus = number_of(v);
        } else if ((v = after(w, "gib=")) != NULL) {
            update->has_memory_gib = true;
            update->capacity.memory_gib = number_of(v);
        } else if ((v = after(w, "state=")) != NULL) {
            update->has_state = true;
            update->state = machine_state_from_name(v);
        } else if ((v = after(w, "label=")) != NULL) {
            update->has_labels = true;
            m->labels[update->labels.count++] = (struct label){.key = v, .value = "yes"};
        } else if (strcmp(w, "displace") == 0) {
            update->displace = true;
        } else {
            fail_msg("not a word of an update: %s", w);
        }
    }
}

static void request_words(struct message *m, char *text)
{
    char *cursor = text;
    char *w = word(&cursor);
    while (w && sender_word(m, w))
        w = word(&cursor);
    struct request *request = &m->claims.request;
    if (!w)
        return;
    if (strcmp(w, "create") == 0) {
        request->type = REQUEST_BOOKING_CREATE;
        create_words(m, &cursor);
    } else if (strcmp(w, "amend") == 0) {
        request->type = REQUEST_BOOKING_AMEND;
        amend_words(m, &cursor);
    } else if (strcmp(w, "cancel") == 0) {
        request->type = REQUEST_BOOKING_CANCEL;
        w = word(&cursor);
        request->booking_cancel.series = strcmp(w, "series") == 0;
        request->booking_cancel.booking = booking_id_of(
            request->booking_cancel.series ? word(&cursor) : w);
    } else if (strcmp(w, "register") == 0) {
        request->type = REQUEST_MACHINE_REGISTER;
        register_words(m, &cursor);
    } else if (strcmp(w, "update") == 0) {
        request->type = REQUEST_MACHINE_UPDATE;
        update_words(m, &cursor);
    } else {
        fail_msg("not a request: %s", w);
    }
    m->claims.type = request->type;
}

/* --- the existing column --- */

struct scene {
    struct world *world;
    struct booking *bookings[64];
    size_t booking_count;
    int64_t seq, more_machines;
    char notes[64][64]; /* copies of texts that the world borrows */
    size_t note_count;
};

static char *note(struct scene *scene, const char *text)
{
    char *copy = scene->notes[scene->note_count++];
    snprintf(copy, sizeof(scene->notes[0]), "%s", text);
    return copy;
}

static void add_to_client(struct scene *scene, const struct booking *booking,
                          const struct allocation *row)
{
    struct client *client = world_client(scene->world, booking->client);
    if (client && row->live && row->end_ms > timeline_known_from(client->timeline))
        world_client_timeline_add(scene->world, client, row->start_ms, row->end_ms, row->amount);
}

static void put_booking(struct scene *scene, char *first, char **cursor, int64_t known_from_ms)
{
    struct booking row = {.id = number_of(first),
                          .client = "batch-1",
                          .user = "bob",
                          .state = BOOKING_BOOKED,
                          .version = 1};
    struct share shares[MAX_ITEMS];
    size_t count = 0;
    for (char *w = word(cursor); w; w = word(cursor)) {
        char *dash = strchr(w, '-');
        if (booking_state_from_name(w) != BOOKING_STATE_COUNT) {
            row.state = booking_state_from_name(w);
        } else if (after(w, "batch-")) {
            row.client = w;
        } else if (after(w, "series=") != NULL) {
            row.series = booking_id_of(after(w, "series="));
        } else if (dash && w[0] >= '0' && w[0] <= '9') {
            *dash = '\0';
            row.start_ms = time_of(w);
            row.end_ms = time_of(dash + 1);
        } else {
            shares[count++] = share_of(w);
        }
    }
    struct booking *booking = world_booking_put(scene->world, &row);
    scene->bookings[scene->booking_count++] = booking;
    for (size_t i = 0; i < count; i++) {
        struct machine *machine = world_machine_by_name(scene->world, shares[i].machine);
        assert_non_null(machine);
        bool live = row.state != BOOKING_CANCELLED;
        struct allocation one = {.machine_id = machine->id,
                                 .start_ms = row.start_ms,
                                 .end_ms = row.end_ms,
                                 .amount = shares[i].amount,
                                 .live = live,
                                 .machine_version = 1};
        world_allocation_add(scene->world, booking, &one);
        add_to_client(scene, booking, &one);
        if (live && row.end_ms > known_from_ms)
            world_timeline_add(scene->world, machine, row.start_ms, row.end_ms, shares[i].amount);
    }
}

/* "counted CLIENT [gpus=N] [hours=N]" */
static void put_client(struct scene *scene, char **cursor, int64_t known_from_ms)
{
    struct client row = {.version = 1};
    snprintf(row.name, sizeof(row.name), "%s", word(cursor));
    for (char *w = word(cursor); w; w = word(cursor)) {
        if (after(w, "gpus=") != NULL) {
            row.limits.gpus_at_once = whole(after(w, "gpus="));
        } else {
            row.limits.gpu_hours_ahead = whole(after(w, "hours="));
        }
    }
    struct client *client = world_client_put(scene->world, &row);
    world_client_timeline_start(scene->world, client, known_from_ms);
}

/* "machine NAME:GPUS:GIB [KEY=VALUE]": one more than those of the table. */
static void put_machine(struct scene *scene, char **cursor, int64_t known_from_ms)
{
    struct share share = share_of(word(cursor));
    struct label labels[MAX_ITEMS];
    struct machine row = {.id = 100 + scene->more_machines++,
                          .capacity = share.amount,
                          .labels.items = labels,
                          .version = 1};
    snprintf(row.name, sizeof(row.name), "%s", share.machine);
    for (char *w = word(cursor); w; w = word(cursor))
        labels[row.labels.count++] = label_of(w);
    world_timeline_start(scene->world, world_machine_put(scene->world, &row), known_from_ms);
}

/* What the decision made. */
static void note_made(struct scene *scene, const struct decision *out)
{
    const struct series_view *series = out->series;
    for (size_t i = 0; series && i < series->count; i++) {
        const struct occurrence *occurrence = &series->occurrences[i];
        if (occurrence->booking != 0 && occurrence->version == 1) {
            scene->bookings[scene->booking_count++] = world_booking(scene->world,
                                                                    occurrence->booking);
        }
    }
    if (!series && out->booking && out->booking->version == 1)
        scene->bookings[scene->booking_count++] = world_booking(scene->world, out->booking->id);
}

/* An earlier message: "do REQUEST @ TIME". */
static void run_earlier(struct scene *scene, char *text)
{
    char *at = strchr(text, '@');
    assert_non_null(at);
    *at = '\0';
    struct message *m = calloc(1, sizeof(*m));
    struct decision decision;
    char *cursor = at + 1;
    default_message(m, time_of(word(&cursor)), ++scene->seq);
    request_words(m, text);
    decide(scene->world, &m->submission, &decision);
    if (decision.reason != REASON_NONE)
        fail_msg("an earlier request was rejected: %s", decision.detail);
    note_made(scene, &decision);
    free(m);
}

/* "prior ID CONTENT REASON|ok PART-SEQ" */
static void put_prior(struct scene *scene, char **cursor)
{
    struct prior prior = {.client = "batch-1"};
    prior.request_id = note(scene, word(cursor));
    prior.content_sha256[0] = (uint8_t)whole(word(cursor));
    prior.reason = reason_from_name(word(cursor));
    int part = 0;
    sscanf(word(cursor), "%d-%" SCNd64, &part, &prior.seq);
    prior.part = part;
    world_prior_put(scene->world, &prior);
}

/* "many N NAME": bookings 1..N, each of one GiB for a minute of its own from 10:00 on. */
static void put_many(struct scene *scene, char **cursor)
{
    int64_t count = number_of(word(cursor));
    struct machine *machine = world_machine_by_name(scene->world, word(cursor));
    for (int64_t i = 0; i < count; i++) {
        int64_t start_ms = BASE_MS + 10 * 3600 * 1000 + i * 60000;
        struct booking *booking = world_booking_put(scene->world,
                                                    &(struct booking){.id = i + 1,
                                                                      .client = "batch-1",
                                                                      .user = "bob",
                                                                      .start_ms = start_ms,
                                                                      .end_ms = start_ms + 60000,
                                                                      .version = 1});
        struct allocation row = {.machine_id = machine->id,
                                 .start_ms = start_ms,
                                 .end_ms = start_ms + 60000,
                                 .amount = {.memory_gib = 1},
                                 .live = true,
                                 .machine_version = 1};
        world_allocation_add(scene->world, booking, &row);
        world_timeline_add(scene->world, machine, row.start_ms, row.end_ms, row.amount);
    }
}

static int64_t earliest_now(const char *existing, int64_t now_ms)
{
    for (const char *at = strchr(existing, '@'); at; at = strchr(at + 1, '@')) {
        char text[32];
        sscanf(at + 1, " %31[^; ]", text);
        if (time_of(text) < now_ms)
            now_ms = time_of(text);
    }
    return now_ms;
}

static void build(struct scene *scene, char *existing, int64_t now_ms)
{
    int64_t known_from_ms = time_floor_s(earliest_now(existing, now_ms));
    scene->world = world_new();
    world_batch_begin(scene->world);
    for (size_t i = 0; i < table.machine_count; i++) {
        struct machine *machine = world_machine_put(scene->world, &table.machines[i]);
        world_timeline_start(scene->world, machine, known_from_ms);
    }
    char *entry = existing;
    while (entry) {
        char *semicolon = strchr(entry, ';');
        if (semicolon)
            *semicolon = '\0';
        char *cursor = entry;
        char *w = word(&cursor);
        if (w && strcmp(w, "do") == 0) {
            run_earlier(scene, cursor);
        } else if (w && strcmp(w, "many") == 0) {
            put_many(scene, &cursor);
        } else if (w && strcmp(w, "counted") == 0) {
            put_client(scene, &cursor, known_from_ms);
        } else if (w && strcmp(w, "machine") == 0) {
            put_machine(scene, &cursor, known_from_ms);
        } else if (w && strcmp(w, "prior") == 0) {
            put_prior(scene, &cursor);
        } else if (w) {
            put_booking(scene, w, &cursor, known_from_ms);
        }
        entry = !semicolon ? NULL : semicolon + 1;
    }
}

/* --- the expected column --- */

static char complaint[512];

__attribute__((format(printf, 1, 2))) static bool complain(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(complaint, sizeof(complaint), format, args);
    va_end(args);
    return false;
}

static bool number_is(const char *what, int64_t got, int64_t wanted)
{
    return got == wanted || complain("%s is %" PRId64 ", not %" PRId64, what, got, wanted);
}

static bool text_is(const char *what, const char *got, const char *wanted)
{
    if (strcmp(wanted, "none") == 0)
        return !got || complain("%s is %s, not absent", what, got);
    return (got && strcmp(got, wanted) == 0) ||
           complain("%s is %s, not %s", what, got ? got : "absent", wanted);
}

/* What a row's expectation has named so far: whatever is named once must be named in full. */
struct named {
    size_t shares, rows, displaced;
    bool any_share, any_row;
};

static bool share_shown(const struct decision *out, char *text, struct named *named)
{
    struct share share = share_of(text);
    size_t i = named->shares++;
    named->any_share = true;
    if (!out->booking || i >= out->booking->share_count)
        return complain("the view has no share %zu", i + 1);
    const struct share *got = &out->booking->shares[i];
    return text_is("a share's machine", got->machine, share.machine) &&
           number_is("a share's gpus", got->amount.gpus, share.amount.gpus) &&
           number_is("a share's memory", got->amount.memory_gib, share.amount.memory_gib);
}

/* [~]NAME:GPUS:GIB@FROM-TO: the booking's next row, ~ if it is not live. */
static bool row_kept(struct scene *scene, const struct decision *out, char *text,
                     struct named *named)
{
    bool live = text[0] != '~';
    char *at = strchr(text, '@');
    char *dash = strchr(at, '-');
    *at = *dash = '\0';
    struct share share = share_of(live ? text : text + 1);
    struct booking *booking = world_booking(scene->world, out->subject_booking);
    size_t i = named->rows++;
    named->any_row = true;
    if (!booking || i >= booking->allocation_count)
        return complain("the booking has no row %zu", i + 1);
    const struct allocation *row = &booking->allocations[i];
    const struct machine *machine = world_machine_by_id(scene->world, row->machine_id);
    return text_is("a row's machine", machine->name, share.machine) &&
           number_is("a row's gpus", row->amount.gpus, share.amount.gpus) &&
           number_is("a row's memory", row->amount.memory_gib, share.amount.memory_gib) &&
           number_is("a row's start", row->start_ms, time_of(at + 1)) &&
           number_is("a row's end", row->end_ms, time_of(dash + 1)) &&
           number_is("a row's live", row->live, live);
}

static bool booking_word(struct scene *scene, const struct decision *out, char *w,
                         struct named *named)
{
    char *v;
    if (strchr(w, '@'))
        return row_kept(scene, out, w, named);
    if (strchr(w, ':') && (w[0] < '0' || w[0] > '9'))
        return share_shown(out, w, named);
    if (!out->booking)
        return complain("there is no booking to look at for %s", w);
    const struct booking_view *view = out->booking;
    if ((v = after(w, "v")) != NULL)
        return number_is("the booking's version", view->version, number_of(v));
    if (strcmp(w, "holds-nothing") == 0) {
        named->any_share = true;
        return number_is("the number of shares", (int64_t)view->share_count, 0);
    }
    if (booking_state_from_name(w) != BOOKING_STATE_COUNT)
        return number_is("the booking's state", view->state, booking_state_from_name(w));
    char *dash = strchr(w, '-');
    if (!dash)
        return complain("not an expectation: %s", w);
    *dash = '\0';
    return number_is("the window's start", view->start_ms, time_of(w)) &&
           number_is("the window's end", view->end_ms, time_of(dash + 1));
}

static bool displaced_are(const struct decision *out, char *text, struct named *named)
{
    for (char *item = text; item; named->displaced++) {
        char *comma = strchr(item, ',');
        if (comma)
            *comma = '\0';
        char *colon = strchr(item, ':');
        *colon = '\0';
        if (named->displaced >= out->displaced_count)
            return complain("booking %s was not displaced", item);
        const struct displaced *got = &out->displaced[named->displaced];
        if (!number_is("a displaced booking", got->id, number_of(item)) ||
            !text_is("its state", booking_state_name(got->state), colon + 1) ||
            !number_is("its version", got->version, 2))
            return false;
        item = !comma ? NULL : comma + 1;
    }
    return true;
}

/* NAME:GPUS:GIB,… */
static bool frees_are(const struct decision *out, char *text)
{
    size_t count = 0;
    for (char *item = text[0] != '\0' ? text : NULL; item; count++) {
        char *comma = strchr(item, ',');
        if (comma)
            *comma = '\0';
        struct share share = share_of(item);
        if (count >= out->free_count)
            return complain("%s is not among frees", item);
        const struct machine_free *got = &out->frees[count];
        if (!text_is("a machine of frees", got->machine, share.machine) ||
            !number_is("its free gpus", got->free.gpus, share.amount.gpus) ||
            !number_is("its free memory", got->free.memory_gib, share.amount.memory_gib))
            return false;
        item = !comma ? NULL : comma + 1;
    }
    return number_is("free_count", (int64_t)out->free_count, (int64_t)count);
}

static bool in_use_is(const struct decision *out, char *text)
{
    size_t count = 0;
    if (strcmp(text, "none") == 0)
        return number_is("in_use_count", (int64_t)out->in_use_count, 0);
    for (char *item = text; item; count++) {
        char *comma = strchr(item, ',');
        if (count >= out->in_use_count)
            return complain("%s is not listed as in use", item);
        if (!number_is("a booking in use", out->in_use[count], whole(item)))
            return false;
        item = !comma ? NULL : comma + 1;
    }
    return number_is("in_use_count", (int64_t)out->in_use_count, (int64_t)count);
}

/* NAME:LIMIT:USED:ASKED */
static bool limit_is(const struct decision *out, char *text)
{
    const struct limit_view *limit = out->limit;
    char *colon = strchr(text, ':');
    if (!limit || !colon)
        return complain("there is no limit to look at for %s", text);
    *colon = '\0';
    int64_t figures[3] = {-1, -1, -1};
    sscanf(colon + 1, "%" SCNd64 ":%" SCNd64 ":%" SCNd64, &figures[0], &figures[1], &figures[2]);
    return text_is("the limit", limit->name, text) &&
           number_is("its value", limit->limit, figures[0]) &&
           number_is("what is used", limit->used, figures[1]) &&
           number_is("what is asked for", limit->asked, figures[2]);
}

/* START[/STATE][!REASON[@MACHINE]],… */
static bool occurrence_is(const struct occurrence *got, char *text)
{
    char *reason = strchr(text, '!');
    char *machine = strchr(text, '@');
    char *state = strchr(text, '/');
    if (reason)
        *reason++ = '\0';
    if (machine)
        *machine++ = '\0';
    if (state)
        *state++ = '\0';
    return number_is("an occurrence's start", got->window.start_ms, time_of(text)) &&
           text_is("its reason", got->reason != REASON_NONE ? reason_name(got->reason) : NULL,
                   reason ? reason : "none") &&
           text_is("its machine", got->machine, machine ? machine : "none") &&
           number_is("whether it has an id", got->booking != 0, !reason) &&
           (!state || text_is("its state", booking_state_name(got->state), state));
}

static bool occurrences_are(const struct decision *out, char *text)
{
    const struct series_view *series = out->series;
    size_t count = 0;
    for (char *item = text; item; count++) {
        char *comma = strchr(item, ',');
        if (comma)
            *comma = '\0';
        if (!series || count >= series->count)
            return complain("there is no occurrence %s", item);
        const struct occurrence *got = &series->occurrences[count];
        if (!occurrence_is(got, item))
            return false;
        int64_t seq = series->id / LIMIT_PARTITIONS;
        if (got->version == 1 && got->booking != occurrence_id(seq, (int64_t)count))
            return complain("occurrence %zu has the id %" PRId64, count, got->booking);
        item = !comma ? NULL : comma + 1;
    }
    return number_is("the number of occurrences", (int64_t)series->count, (int64_t)count);
}

/* NAME#VERSION */
static bool client_is(struct scene *scene, char *text)
{
    char *hash = strchr(text, '#');
    *hash = '\0';
    const struct client *client = world_client(scene->world, text);
    return client ? number_is("the client's version", client->version, whole(hash + 1))
                  : complain("there is no counted client %s", text);
}

static bool subject_is(const struct decision *out, const char *text)
{
    char got[128] = "none";
    if (out->subject_kind == SUBJECT_BOOKING) {
        snprintf(got, sizeof(got), "booking/%" PRId64, out->subject_booking);
    } else if (out->subject_kind == SUBJECT_MACHINE) {
        snprintf(got, sizeof(got), "machine/%s", out->subject_machine);
    }
    return strcmp(got, text) == 0 || complain("the subject is %s, not %s", got, text);
}

/* NAME#VERSION[,GPUS:GIB,STATE[,CHANGED]] */
static bool machine_is(struct scene *scene, char *text)
{
    char *hash = strchr(text, '#');
    *hash = '\0';
    struct machine *machine = world_machine_by_name(scene->world, text);
    if (!machine)
        return complain("there is no machine %s", text);
    if (!number_is("the machine's version", machine->version, number_of(hash + 1)))
        return false;
    int64_t gpus, memory_gib;
    char state[16], changed[32];
    int count = sscanf(hash + 1, "%*d,%" SCNd64 ":%" SCNd64 ",%15[a-z],%31s", &gpus, &memory_gib,
                       state, changed);
    if (count >= 3 && !(number_is("the machine's gpus", machine->capacity.gpus, gpus) &&
                        number_is("its memory", machine->capacity.memory_gib, memory_gib) &&
                        text_is("its state", machine_state_name(machine->state), state)))
        return false;
    return count < 4 ||
           number_is("its capacity change", machine->capacity_changed_ms, time_of(changed));
}

static bool detail_says(const struct decision *out, char *text)
{
    for (char *c = text; *c != '\0'; c++) {
        if (*c == '_')
            *c = ' ';
    }
    return (out->detail && strstr(out->detail, text)) ||
           complain("the detail does not say: %s", text);
}

static bool expected_word(struct scene *scene, const struct decision *out, char *w,
                          struct named *named)
{
    char *v;
    if ((v = after(w, "says=")) != NULL)
        return detail_says(out, v);
    if ((v = after(w, "subject=")) != NULL)
        return subject_is(out, v);
    if ((v = after(w, "pointer=")) != NULL)
        return text_is("the pointer", out->pointer, v);
    if ((v = after(w, "machine=")) != NULL)
        return text_is("the blocking machine", out->blocking_machine, v);
    if ((v = after(w, "next=")) != NULL) {
        return number_is("next_available", out->next_available_ms,
                         strcmp(v, "none") == 0 ? TIME_NONE : time_of(v));
    }
    if ((v = after(w, "free=")) != NULL) {
        int64_t gpus = -1, memory_gib = -1;
        sscanf(v, "%" SCNd64 ":%" SCNd64, &gpus, &memory_gib);
        return number_is("has_free", out->has_free, true) &&
               number_is("free gpus", out->free.gpus, gpus) &&
               number_is("free memory", out->free.memory_gib, memory_gib);
    }
    if ((v = after(w, "displaced=")) != NULL)
        return displaced_are(out, v, named);
    if ((v = after(w, "frees=")) != NULL)
        return frees_are(out, v);
    if ((v = after(w, "fitting=")) != NULL)
        return number_is("fitting", out->fitting, whole(v));
    if ((v = after(w, "in-use=")) != NULL)
        return in_use_is(out, v);
    if ((v = after(w, "limit=")) != NULL)
        return limit_is(out, v);
    if ((v = after(w, "series=")) != NULL)
        return number_is("the series", out->series ? out->series->id : 0, booking_id_of(v));
    if ((v = after(w, "occurrences=")) != NULL)
        return occurrences_are(out, v);
    if ((v = after(w, "client=")) != NULL)
        return client_is(scene, v);
    if ((v = after(w, "dup=")) != NULL) {
        const struct prior *prior = out->duplicate_of;
        char got[32];
        snprintf(got, sizeof(got), "%d-%" PRId64, prior ? prior->part : 0, prior ? prior->seq : 0);
        return text_is("duplicate_of", prior ? got : NULL, v);
    }
    if (strchr(w, '#'))
        return machine_is(scene, w);
    return booking_word(scene, out, w, named);
}

/* What each reason says about the token and the request id, whatever the row. */
static bool flags_are_right(const struct decision *out)
{
    enum reason reason = out->reason;
    bool verified = reason != REASON_REJECTED_BY_OPERATOR &&
                    (reason == REASON_NONE || reason > REASON_BAD_SIGNATURE);
    bool late = reason == REASON_INVALID_REQUEST && strstr(out->detail, "is not after");
    bool uses_id = verified && !out->duplicate_of &&
                   (reason == REASON_NONE || reason > REASON_REQUEST_ID_REUSED || late);
    if (!verified && out->subject_kind != SUBJECT_NONE)
        return complain("an impostor's subject is repeated");
    return number_is("verified", out->verified, verified) &&
           number_is("uses_id", out->uses_id, uses_id);
}

static bool timeline_is_fold(struct scene *scene, const struct machine *machine, int64_t at_ms)
{
    struct amount sum = {0};
    for (size_t i = 0; i < scene->booking_count; i++) {
        const struct booking *booking = scene->bookings[i];
        for (size_t k = 0; k < booking->allocation_count; k++) {
            const struct allocation *row = &booking->allocations[k];
            if (row->machine_id == machine->id && row->live && row->start_ms <= at_ms &&
                at_ms < row->end_ms) {
                sum.gpus += row->amount.gpus;
                sum.memory_gib += row->amount.memory_gib;
            }
        }
    }
    struct amount use = timeline_use_at(machine->timeline, at_ms);
    return number_is("a timeline's gpus", use.gpus, sum.gpus) &&
           number_is("a timeline's memory", use.memory_gib, sum.memory_gib);
}

static bool client_is_fold(struct scene *scene, const struct client *client, int64_t at_ms)
{
    int64_t gpus = 0;
    at_ms = later(at_ms, timeline_known_from(client->timeline));
    for (size_t i = 0; i < scene->booking_count; i++) {
        const struct booking *booking = scene->bookings[i];
        for (size_t k = 0; k < booking->allocation_count; k++) {
            const struct allocation *row = &booking->allocations[k];
            if (strcmp(booking->client, client->name) == 0 && row->live && row->start_ms <= at_ms &&
                at_ms < row->end_ms)
                gpus += row->amount.gpus;
        }
    }
    return number_is("a client's gpus", timeline_use_at(client->timeline, at_ms).gpus, gpus);
}

/* The timelines must show what the live rows say, at each row's ends. */
static bool timelines_are_folds(struct scene *scene)
{
    for (size_t i = 0; i < scene->booking_count; i++) {
        const struct booking *booking = scene->bookings[i];
        for (size_t k = 0; k < booking->allocation_count; k++) {
            const struct allocation *row = &booking->allocations[k];
            const struct machine *machine = world_machine_by_id(scene->world, row->machine_id);
            int64_t known_ms = timeline_known_from(machine->timeline);
            if (!timeline_is_fold(scene, machine, later(row->start_ms, known_ms)) ||
                !timeline_is_fold(scene, machine, later(row->end_ms, known_ms)))
                return false;
            const struct client *client = world_client(scene->world, booking->client);
            if (client && (!client_is_fold(scene, client, row->start_ms) ||
                           !client_is_fold(scene, client, row->end_ms)))
                return false;
        }
    }
    return true;
}

static bool matches(struct scene *scene, const struct decision *out, char *expected)
{
    char *cursor = expected;
    char *outcome = word(&cursor);
    enum reason wanted = reason_from_name(outcome);
    if (wanted == REASON_NONE && strcmp(outcome, "ok") != 0)
        return complain("not a reason: %s", outcome);
    if (out->reason != wanted) {
        return complain("it is %s (%s), not %s",
                        out->reason == REASON_NONE ? "ok" : reason_name(out->reason),
                        out->detail ? out->detail : "", outcome);
    }
    struct named named = {0};
    for (char *w = word(&cursor); w; w = word(&cursor)) {
        if (!expected_word(scene, out, w, &named))
            return false;
    }
    if (named.any_share && !number_is("the number of shares", (int64_t)out->booking->share_count,
                                      (int64_t)named.shares))
        return false;
    if (named.any_row &&
        !number_is("the number of rows",
                   (int64_t)world_booking(scene->world, out->subject_booking)->allocation_count,
                   (int64_t)named.rows))
        return false;
    return number_is("the number of displaced bookings", (int64_t)out->displaced_count,
                     (int64_t)named.displaced) &&
           flags_are_right(out) && timelines_are_folds(scene);
}

static int64_t version_sum(struct scene *scene)
{
    int64_t sum = (int64_t)(world_touched_booking_count(scene->world) +
                            world_touched_machine_count(scene->world));
    for (size_t i = 0; i < table.machine_count; i++)
        sum += world_machine_by_name(scene->world, table.machines[i].name)->version;
    for (size_t i = 0; i < scene->booking_count; i++)
        sum += scene->bookings[i]->version;
    const struct client *client = world_client(scene->world, "batch-1");
    sum += (int64_t)world_touched_client_count(scene->world);
    return client ? sum + client->version + (int64_t)client->known_gpu_ms : sum;
}

static bool run_row(const struct row *row)
{
    struct scene *scene = calloc(1, sizeof(*scene));
    struct message *m = calloc(1, sizeof(*m));
    char *cells[COLUMN_COUNT];
    for (int i = 0; i < COLUMN_COUNT; i++)
        cells[i] = strdup(row->cells[i]);
    char *cursor = cells[NOW];
    int64_t now_ms = time_of(word(&cursor));
    build(scene, cells[EXISTING], now_ms);
    default_message(m, now_ms, scene->seq + 1);
    request_words(m, cells[REQUEST]);

    struct decision out;
    int64_t versions = version_sum(scene);
    decide(scene->world, &m->submission, &out);
    bool changes = out.reason == REASON_NONE && !out.duplicate_of;
    bool good = number_is("it changed something", version_sum(scene) != versions, changes);
    if (changes)
        note_made(scene, &out);
    good = good && matches(scene, &out, cells[EXPECTED]);
    if (!good) {
        print_error("%s:%d: %s\n    %s | %s | %s | %s\n    detail: %s\n    -> %s\n", table_path(),
                    row->line, row->cells[RULE], row->cells[EXISTING], row->cells[REQUEST],
                    row->cells[NOW], row->cells[EXPECTED], out.detail ? out.detail : "-",
                    complaint);
    }
    for (int i = 0; i < COLUMN_COUNT; i++)
        free(cells[i]);
    world_free(scene->world);
    free(scene);
    free(m);
    return good;
}

/* --- the file --- */

static void machine_line(char *text)
{
    struct machine *machine = &table.machines[table.machine_count++];
    struct share share = share_of(word(&text));
    *machine = (struct machine){
        .id = (int64_t)table.machine_count, .capacity = share.amount, .version = 1};
    snprintf(machine->name, sizeof(machine->name), "%s", share.machine);
    char *state = word(&text);
    if (state)
        machine->state = machine_state_from_name(state);
}

static void section_line(char *text)
{
    *strchr(text, ']') = '\0';
    enum reason reason = reason_from_name(text);
    if (reason == REASON_NONE && strcmp(text, "accepted") != 0)
        fail_msg("not a reason: %s", text);
    table.sections[table.section_count++] = (struct section){.reason = reason,
                                                             .first = table.row_count};
}

static void row_line(char *text, int line)
{
    struct row *row = &table.rows[table.row_count++];
    row->line = line;
    for (int i = 0; i < COLUMN_COUNT; i++) {
        row->cells[i] = text;
        char *bar = i < RULE ? strchr(text, '|') : NULL;
        if (!bar && i < RULE) {
            print_error("%s:%d: %d columns are needed\n", table_path(), line, COLUMN_COUNT);
            exit(1);
        }
        if (bar) {
            *bar = '\0';
            text = bar + 1;
        }
    }
    table.sections[table.section_count - 1].count++;
}

static void load_table(void)
{
    FILE *file = fopen(table_path(), "rb");
    if (!file) {
        print_error("cannot open %s: run the test at the top of the checkout\n", table_path());
        exit(1);
    }
    table.text = calloc(1, 256 * 1024);
    size_t len = fread(table.text, 1, 256 * 1024 - 1, file);
    fclose(file);
    table.text[len] = '\0';
    int line = 0;
    for (char *at = table.text; at; line++) {
        char *newline = strchr(at, '\n');
        if (newline)
            *newline = '\0';
        char *machine = !strchr(at, '|') ? after(at, "machine ") : NULL;
        if (machine) {
            machine_line(machine);
        } else if (at[0] == '[') {
            section_line(at + 1);
        } else if (at[0] != '#' && at[0] != '\0') {
            row_line(at, line + 1);
        }
        at = !newline ? NULL : newline + 1;
    }
}

static void test_section(void **state)
{
    const struct section *section = *state;
    size_t failed = 0;
    for (size_t i = section->first; i < section->first + section->count; i++)
        failed += run_row(&table.rows[i]) ? 0 : 1;
    assert_int_equal(failed, 0);
}

/* Each reason has a section, in the order of the reasons, with a row that gives it and one of the
 * same section that does not. */
static void test_table_is_complete(void **state)
{
    (void)state;
    assert_int_equal(table.section_count, REASON_COUNT);
    for (size_t i = 0; i < table.section_count; i++) {
        const struct section *section = &table.sections[i];
        assert_int_equal(section->reason, (i + 1) % REASON_COUNT);
        size_t gives = 0;
        for (size_t k = section->first; k < section->first + section->count; k++) {
            char outcome[64] = "";
            sscanf(table.rows[k].cells[EXPECTED], " %63s", outcome);
            gives += reason_from_name(outcome) == section->reason ? 1 : 0;
        }
        assert_true(gives > 0);
        assert_true(section->reason == REASON_NONE || gives < section->count);
    }
}

static void test_displaces_up_to_the_limit(void **state)
{
    (void)state;
    struct scene *scene = calloc(1, sizeof(*scene));
    struct message *m = calloc(1, sizeof(*m));
    struct decision out;
    char existing[] = "many 1000 gpu-02", request[] = "admin update gpu-02 state=retired displace";
    build(scene, existing, BASE_MS);
    default_message(m, BASE_MS, 1);
    request_words(m, request);
    decide(scene->world, &m->submission, &out);
    assert_int_equal(out.reason, REASON_NONE);
    assert_int_equal(out.displaced_count, LIMIT_DISPLACED);
    assert_int_equal(world_touched_booking_count(scene->world), LIMIT_DISPLACED);
    for (size_t i = 0; i < out.displaced_count; i++)
        assert_int_equal(out.displaced[i].id, i + 1);
    assert_int_equal(out.machine->state, MACHINE_RETIRED);
    assert_int_equal(out.machine->version, 2);
    world_free(scene->world);
    free(scene);
    free(m);
}

/* --- sentences --- */

static void test_time_text(void **state)
{
    (void)state;
    for (int64_t s = 0; s <= LIMIT_TIME_S; s += 86400 * 7 + 3661) {
        time_t clock = (time_t)s;
        struct tm parts;
        char wanted[64];
        assert_non_null(gmtime_r(&clock, &parts));
        assert_true(strftime(wanted, sizeof(wanted), "%Y-%m-%dT%H:%M:%SZ", &parts) > 0);
        assert_string_equal(decide_time_text(s * 1000 + 999).text, wanted);
    }
    assert_string_equal(decide_time_text(LIMIT_TIME_S * INT64_C(1000)).text,
                        "9999-12-31T23:59:59Z");
    assert_string_equal(decide_time_text(-1).text, "@-1");
    assert_int_equal(time_floor_s(-1), -1000);
    assert_int_equal(time_ceil_s(-1), 0);
    assert_int_equal(time_floor_s(1999), 1000);
    assert_int_equal(time_ceil_s(1001), 2000);
    assert_int_equal(time_ceil_s(2000), 2000);
}

/* A sentence is cut at LIMIT_DETAIL_LEN, and never inside of a character. */
static void test_detail_is_cut_between_characters(void **state)
{
    (void)state;
    static const char *const characters[] = {"x", "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x9A\xA2"};
    struct message m;
    for (size_t kind = 0; kind < 4; kind++) {
        for (size_t offset = 0; offset < 4; offset++) {
            char pointer[1024] = "/aaa";
            size_t len = offset;
            while (len < 900) {
                memcpy(pointer + len, characters[kind], strlen(characters[kind]));
                len += strlen(characters[kind]);
            }
            struct world *world = world_new();
            struct decision out;
            world_batch_begin(world);
            default_message(&m, BASE_MS, 1);
            m.claims.pointer = pointer;
            m.claims.expected = "something right";
            decide(world, &m.submission, &out);
            assert_int_equal(out.reason, REASON_INVALID_REQUEST);
            size_t detail_len = strlen(out.detail);
            assert_true(detail_len < LIMIT_DETAIL_LEN && detail_len >= LIMIT_DETAIL_LEN - 4);
            size_t char_len = strlen(characters[kind]);
            assert_memory_equal(out.detail + detail_len - char_len, characters[kind], char_len);
            assert_string_equal(out.pointer, pointer);
            world_free(world);
        }
    }
}

int main(void)
{
    load_table();
    struct CMUnitTest tests[REASON_COUNT + 4] = {
        cmocka_unit_test(test_table_is_complete),
        cmocka_unit_test(test_displaces_up_to_the_limit),
        cmocka_unit_test(test_time_text),
        cmocka_unit_test(test_detail_is_cut_between_characters),
    };
    size_t count = 4;
    for (size_t i = 0; i < table.section_count && i < REASON_COUNT; i++) {
        struct section *section = &table.sections[i];
        const char *name = section->reason == REASON_NONE ? "accepted"
                                                          : reason_name(section->reason);
        tests[count++] = (struct CMUnitTest){
            .name = name, .test_func = test_section, .initial_state = section};
    }
    int failed = _cmocka_run_group_tests("decide", tests, count, NULL, NULL);
    free(table.text);
    return failed;
}
