#include "lib/config/config_table.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "core/request.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"

#define SERVICES (PROGRAM_ADMIN | PROGRAM_WORKER | PROGRAM_READER)
#define ALL      (PROGRAM_BERTH | SERVICES)

static bool is_name(const char *value)
{
    return name_is_valid(value, LIMIT_NAME_LEN, NULL);
}

static bool is_kid(const char *value)
{
    return strlen(value) <= LIMIT_KID_LEN;
}

/* What Kafka allows in a topic's name, with room for "requests". */
static bool is_topic_prefix(const char *value)
{
    return name_is_valid(value, 200, NULL);
}

static bool is_log_level(const char *value)
{
    return log_level_from_name(value) != LOG_LEVEL_COUNT;
}

static bool is_listen_address(const char *value)
{
    const char *colon = strrchr(value, ':');
    if (!colon || colon == value || !isdigit((unsigned char)colon[1]))
        return false;
    char *end;
    long port = strtol(colon + 1, &end, 10);
    return *end == '\0' && port >= 0 && port <= 65535;
}

static bool is_url(const char *value)
{
    return (strncmp(value, "http://", 7) == 0 && value[7]) ||
           (strncmp(value, "https://", 8) == 0 && value[8]);
}

#define KEY(kind, a, b, c, d)                                                                      \
    .name = (a), .type = (kind), .programs = (b), .fallback = (c), .doc = (d)
#define TEXT(name, programs, fallback, doc) KEY(CONFIG_STRING, name, programs, fallback, doc)
#define PATH(name, programs, doc)           KEY(CONFIG_PATH, name, programs, NULL, doc)
#define NUMBER(name, programs, fallback, low, high, doc)                                           \
    KEY(CONFIG_INT, name, programs, fallback, doc), .min = (low), .max = (high)

/* Ordered by section; docs/configuration.md follows this order. */
const struct config_key config_keys[] = {
    {TEXT("farm.name", ALL, NULL,
          "The farm that requests are for: the `aud` of every token. The services know theirs from "
          "the database."),
     .required = PROGRAM_BERTH, .valid = farm_name_is_valid, .expected = "1 to 32 of a-z 0-9 -"},
    {TEXT("farm.topic_prefix", ALL, "berth.",
          "What the names of the topics begin with: PREFIXrequests and PREFIXevents. For clusters "
          "that several farms share."),
     .valid = is_topic_prefix, .expected = "1 to 200 of A-Z a-z 0-9 . _ -"},
    {TEXT("kafka.bootstrap.servers", ALL, NULL,
          "Kafka's brokers, HOST:PORT,HOST:PORT. Every other `kafka.NAME` is librdkafka's setting "
          "NAME."),
     .required = PROGRAM_BERTH | PROGRAM_WORKER},
    {TEXT("db.host", SERVICES, "127.0.0.1",
          "The database server. Not used when `db.socket` is set.")},
    {NUMBER("db.port", SERVICES, "3306", 1, 65535, "Its TCP port.")},
    {PATH("db.socket", SERVICES, "The server's Unix socket, instead of host and port.")},
    {TEXT("db.name", SERVICES, "berth", "The database (schema) on that server.")},
    {TEXT("db.user", SERVICES, "berth",
          "The account. docs/operations.md says what each program's account needs.")},
    {PATH("db.password_file", SERVICES,
          "A file that holds the account's password. Not set: no password.")},
    {PATH("db.tls_ca", SERVICES,
          "PEM certificates that vouch for the server. Set: only a TLS connection to a server with "
          "such a certificate will do.")},
    {PATH("db.server_public_key", SERVICES,
          "The server's RSA public key (PEM; MySQL's public_key.pem), for an account with "
          "caching_sha2_password on a TCP connection without TLS. Not set: such an account needs "
          "`db.tls_ca` or `db.socket`, because whoever poses as the server could send another key "
          "and read the password.")},
    {TEXT("worker.group", PROGRAM_WORKER | PROGRAM_ADMIN, "berth-worker",
          "The consumer group of the farm's workers.")},
    {TEXT("worker.name", PROGRAM_WORKER, NULL,
          "What this worker calls itself in logs and in the partitions that it owns. Not set: "
          "HOST:PID.")},
    {NUMBER("worker.batch_max", PROGRAM_WORKER, "2000", 1, 100000,
            "The most messages that one transaction decides.")},
    {NUMBER("worker.batch_max_bytes", PROGRAM_WORKER, "4194304", 65536, 268435456,
            "The most bytes of messages that one transaction decides.")},
    {NUMBER(
        "worker.unpublished_max", PROGRAM_WORKER | PROGRAM_ADMIN, "4000", 1, 1000000,
        "Decisions of one partition whose events Kafka has not acknowledged yet; at this bound the "
        "partition pauses. More than `worker.batch_max`. All workers of a farm, and `berth-admin`, "
        "need the same value: a new owner looks for repeats among twice as many events.")},
    {TEXT("worker.metrics_listen", PROGRAM_WORKER, NULL,
          "Where the worker answers `/metrics`, for Prometheus. Not set: nowhere. Everybody who "
          "can reach it may read: prefer loopback, and give each worker of a host a port of its "
          "own. Port 0: a free one, which the log names."),
     .valid = is_listen_address, .expected = "ADDRESS:PORT, as in 127.0.0.1:9464 or [::1]:9464"},
    {TEXT("reader.listen", PROGRAM_READER, "127.0.0.1:8080",
          "Where the reader listens. Port 0: a free one, which the log names."),
     .valid = is_listen_address, .expected = "ADDRESS:PORT, as in 127.0.0.1:8080 or [::1]:8080"},
    {TEXT(
         "reader.url", PROGRAM_BERTH, "http://127.0.0.1:8080",
         "The reader that `berth` asks for what is stored, or a proxy before it that speaks TLS. A "
         "reader on another host is asked through the proxies that `http_proxy`, `https_proxy` "
         "and `all_proxy` name, unless `no_proxy` lists its host; one on this host never is."),
     .valid = is_url, .expected = "http://HOST[:PORT] or https://HOST[:PORT]"},
    {PATH("reader.tls_ca", PROGRAM_BERTH,
          "PEM certificates that vouch for an https:// reader. Not set: those that this system "
          "trusts.")},
    {NUMBER("reader.connection_limit", PROGRAM_READER, "2500", 1, 100000,
            "HTTP connections at a time. For a further one, that which has waited longest for a "
            "request is closed; while none has waited for a second, further ones wait.")},
    {NUMBER(
        "reader.connections_per_address", PROGRAM_READER, "1000", 1, 100000,
        "Connections of one address (IPv6: of one /64 network). For a further one, that which has "
        "waited longest for a request is closed; if none waits, the further one. Behind a proxy "
        "all come from its address: then give it what `reader.connection_limit` has.")},
    {NUMBER("reader.header_timeout_s", PROGRAM_READER, "10", 1, 3600,
            "A connection on which no complete header arrives for so long, since it was opened or "
            "since its last answer, is closed, whatever trickles in.")},
    {NUMBER("reader.listeners_max", PROGRAM_READER, "2000", 0, 10000,
            "Listeners to `/v1/events` at a time; further ones get 503. At most four fifths of "
            "`reader.connection_limit`, and of one address at most four fifths of "
            "`reader.connections_per_address`: others need room, too.")},
    {NUMBER("reader.timeout_s", PROGRAM_READER, "10", 1, 3600,
            "An HTTP connection without traffic for so long is closed.")},
    {TEXT("reader.cors_origin", PROGRAM_READER, "none",
          "Whose web pages may read in a browser that can reach the reader: `none`, origins such "
          "as https://farm.example, separated by blanks, or `*` for all.")},
    {NUMBER(
        "reader.db_connections", PROGRAM_READER, "4", 1, 256,
        "Database connections for quick questions, which read a few rows: a booking, a machine, "
        "a decision.")},
    {NUMBER(
        "reader.slow_connections", PROGRAM_READER, "4", 1, 256,
        "Database connections, and threads, for slow questions: lists, sums, searches, and events "
        "of the past. One address gets half of them, rounded up.")},
    {NUMBER(
        "reader.pending_per_address", PROGRAM_READER, "32", 1, 10000,
        "Slow questions of one address that wait or are being answered; further ones get 429.")},
    {NUMBER("reader.statement_limit_s", PROGRAM_READER, "5", 1, 8,
            "How long the database may work on one statement of the reader; a question that takes "
            "longer is refused, with what to ask instead.")},
    {NUMBER("reader.rows_max", PROGRAM_READER, "1000000", 1, 1000000000,
            "Allocations that one question about usage may read; one that needs more is refused.")},
    {TEXT("reader.db_user", PROGRAM_READER, NULL,
          "The reader's own account, which needs no more than SELECT. Not set: `db.user`.")},
    {PATH("reader.db_password_file", PROGRAM_READER,
          "A file that holds that account's password. Not set: `db.password_file`.")},
    {TEXT("admin.db_user", PROGRAM_ADMIN, NULL,
          "The account of `berth-admin`, which needs more than the workers'. Not set: `db.user`.")},
    {PATH("admin.db_password_file", PROGRAM_ADMIN,
          "A file that holds that account's password. Not set: `db.password_file`.")},
    {TEXT(
         "client.name", PROGRAM_BERTH | PROGRAM_ADMIN, NULL,
         "The client as which requests are signed: their `iss`. Of `berth-admin`, `import` signs."),
     .required = PROGRAM_BERTH, .valid = is_name, .expected = "1 to 64 of A-Z a-z 0-9 . _ -"},
    {PATH("client.key_file", PROGRAM_BERTH | PROGRAM_ADMIN,
          "The client's private key, PEM or JWK. Its mode must be 0600 or 0400."),
     .required = PROGRAM_BERTH},
    {TEXT("client.kid", PROGRAM_BERTH | PROGRAM_ADMIN, NULL,
          "The name under which the key is registered. Not set: its RFC 7638 thumbprint."),
     .valid = is_kid, .expected = "at most 128 bytes"},
    {TEXT("client.user", PROGRAM_BERTH, NULL,
          "The user that bookings are for (`sub`). Not set: the account that runs `berth`.")},
    {NUMBER("client.wait_s", PROGRAM_BERTH, "30", 1, 86400, "How long to wait for the decision.")},
    {NUMBER("client.expires_s", PROGRAM_BERTH | PROGRAM_ADMIN, "600", 1, LIMIT_LIFETIME_S,
            "How long a request may wait to be decided: `exp` - `iat`.")},
    {TEXT("log.level", ALL, "info", "The least level of log lines that are written."),
     .valid = is_log_level, .expected = "debug, info, warn or error"},
};
const size_t config_key_count = sizeof(config_keys) / sizeof(config_keys[0]);

const struct config_key *config_key_find(const char *name)
{
    for (size_t i = 0; i < config_key_count; i++) {
        if (strcmp(config_keys[i].name, name) == 0)
            return &config_keys[i];
    }
    return NULL;
}

char *config_key_environment(const char *name)
{
    char *variable = xasprintf("BERTH_%s", name);
    for (char *c = variable; *c; c++)
        *c = *c == '.' ? '_' : (char)toupper((unsigned char)*c);
    return variable;
}

static bool parse_int(const char *value, int64_t *out)
{
    if (!isdigit((unsigned char)value[0]) && value[0] != '-')
        return false;
    char *end;
    errno = 0;
    long long number = strtoll(value, &end, 10);
    if (errno != 0 || *end != '\0' || end == value)
        return false;
    *out = number;
    return true;
}

enum err config_key_check(const struct config_key *key, const char *value, struct failure *f)
{
    int64_t number;
    if (key->type == CONFIG_INT &&
        (!parse_int(value, &number) || number < key->min || number > key->max)) {
        return failure_set(f, ERR_CONFIG,
                           "%s must be a whole number from %" PRId64 " to %" PRId64 ", not '%s'",
                           key->name, key->min, key->max, value);
    }
    if (value[0] == '\0' && key->fallback)
        return failure_set(f, ERR_CONFIG, "%s must not be empty", key->name);
    if (value[0] != '\0' && key->valid && !key->valid(value)) {
        return failure_set(f, ERR_CONFIG, "%s must be %s, not '%s'", key->name, key->expected,
                           value);
    }
    return ERR_OK;
}

int64_t config_key_number(const char *value)
{
    int64_t number = 0;
    bool parsed = parse_int(value, &number);
    assert(parsed);
    return number;
}

static const char *const type_names[CONFIG_TYPE_COUNT] = {
    [CONFIG_STRING] = "text",
    [CONFIG_INT] = "number",
    [CONFIG_PATH] = "path",
};

static const char intro[] =
    "# Configuration\n"
    "\n"
    "This page is generated from the table in `lib/config/config_table.c`; a unit test compares "
    "them.\n"
    "\n"
    "Every program takes its settings from, the first that has it: its flags, the environment,\n"
    "the configuration file, the default. The file is `--config FILE`, else `$BERTH_CONFIG`, else\n"
    "`/etc/berth/berth.conf` and then `/etc/berth/conf.d/*.conf` by name (later ones win); for\n"
    "`berth` it is `$XDG_CONFIG_HOME/berth/berth.conf` (`~/.config/berth/berth.conf`).\n"
    "\n"
    "```\n"
    "# A comment. Blanks around keys and values count nothing.\n"
    "farm.name = lab\n"
    "kafka.bootstrap.servers = kafka-1:9092,kafka-2:9092   # a comment, too\n"
    "db.password_file = secrets/db   # relative to this file; ~/ is the home directory\n"
    "worker.name = \"has # and blanks\"\n"
    "```\n"
    "\n"
    "- The key `a.b_c` is `BERTH_A_B_C` in the environment. A variable that is empty counts as\n"
    "  not set.\n"
    "- `kafka.NAME` is librdkafka's setting NAME: `kafka.security.protocol = sasl_ssl`, in the\n"
    "  environment `BERTH_KAFKA_SECURITY_PROTOCOL`.\n"
    "- Secrets are named by file: `db.password_file`, and `kafka.NAME_file` for any librdkafka\n"
    "  setting (`kafka.sasl.password_file`, `BERTH_KAFKA_SASL_PASSWORD_FILE`). librdkafka's own\n"
    "  secret settings are refused, for environments and files with settings are widely read.\n"
    "  A program warns when every account of the machine may read such a file; `client.key_file` "
    "must\n"
    "  be its owner's alone.\n"
    "- `berth --profile NAME` takes the keys `profile.NAME.KEY` of its file before its `KEY`.\n"
    "- An unknown key is an error (exit status 2) that names the nearest known one. Services\n"
    "  share one file: a key of another program is checked, and not used.\n"
    "- `PROGRAM --print-config` prints each value and where it comes from; `--check-config` only\n"
    "  says, by exit status 0 or 2, whether all is well.\n";

static void print_programs(FILE *out, unsigned programs)
{
    static const struct {
        enum program bit;
        const char *name;
    } names[] = {{PROGRAM_BERTH, "berth"},
                 {PROGRAM_ADMIN, "berth-admin"},
                 {PROGRAM_WORKER, "berth-worker"},
                 {PROGRAM_READER, "berth-reader"}};
    const char *between = "";
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (programs & names[i].bit) {
            fprintf(out, "%s`%s`", between, names[i].name);
            between = ", ";
        }
    }
}

static void print_key(FILE *out, const struct config_key *key)
{
    char *variable = config_key_environment(key->name);
    fprintf(out, "\n### `%s`\n\n%s\n\n- Environment: `%s`\n- Type: %s", key->name, key->doc,
            variable, type_names[key->type]);
    free(variable);
    if (key->type == CONFIG_INT)
        fprintf(out, ", %" PRId64 " to %" PRId64, key->min, key->max);
    if (key->expected)
        fprintf(out, ", %s", key->expected);
    if (key->fallback)
        fprintf(out, "\n- Default: `%s`", key->fallback);
    fputs("\n- Programs: ", out);
    print_programs(out, key->programs);
    if (key->required) {
        fputs("\n- Required by: ", out);
        print_programs(out, key->required);
    }
    fputs("\n", out);
}

void config_print_markdown(FILE *out)
{
    fputs(intro, out);
    const char *section = "";
    for (size_t i = 0; i < config_key_count; i++) {
        const char *name = config_keys[i].name;
        size_t len = strcspn(name, ".");
        if (strncmp(section, name, len + 1) != 0)
            fprintf(out, "\n## %.*s\n", (int)len, name);
        section = name;
        print_key(out, &config_keys[i]);
    }
}
