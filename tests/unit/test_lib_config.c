/* Configuration: the sources of values and their precedence, and the refusals with their texts.
 * UPDATE_DOCS=1 writes docs/configuration.md instead of comparing it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/config/config.h"
#include "lib/config/config_table.h"

#define DOCS "docs/configuration.md"

extern char **environ;

static char folder[] = "/tmp/berth-test-config-XXXXXX";
static char file[64], secret[64];

static void clear_environment(void)
{
    bool found;
    do {
        found = false;
        for (char **entry = environ; *entry && !found; entry++) {
            if (strncmp(*entry, "BERTH_", 6) == 0) {
                char *name = xstrndup(*entry, strcspn(*entry, "="));
                unsetenv(name);
                free(name);
                found = true;
            }
        }
    } while (found);
}

static int make_folder(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(file, sizeof(file), "%s/berth.conf", folder);
    snprintf(secret, sizeof(secret), "%s/secret", folder);
    setenv("HOME", folder, 1);
    unsetenv("XDG_CONFIG_HOME");
    clear_environment();
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(file);
    unlink(secret);
    return rmdir(folder);
}

static int fresh(void **state)
{
    (void)state;
    clear_environment();
    unlink(file);
    unlink(secret);
    return 0;
}

static void write_bytes(const char *path, const void *bytes, size_t len)
{
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    assert_int_equal(fwrite(bytes, 1, len, out), len);
    fclose(out);
}

static void write_text(const char *path, const char *text)
{
    write_bytes(path, text, strlen(text));
}

static struct config *load(enum program program, const char *profile)
{
    struct config *cfg = config_new(program);
    struct failure f = {0};
    if (config_load(cfg, access(file, F_OK) == 0 ? file : "/dev/null", profile, &f) != ERR_OK)
        fail_msg("%s", f.text);
    return cfg;
}

/* Loading the text as a file must fail with this error; "%F" stands for the file's name. */
static void refused(enum program program, const char *text, const char *profile, const char *why)
{
    write_text(file, text);
    struct config *cfg = config_new(program);
    struct failure f = {0};
    assert_int_equal(config_load(cfg, file, profile, &f), ERR_CONFIG);
    struct buf expected = {0};
    for (const char *mark; (mark = strstr(why, "%F")); why = mark + 2) {
        buf_append(&expected, why, (size_t)(mark - why));
        buf_puts(&expected, file);
    }
    buf_puts(&expected, why);
    assert_string_equal(f.text, expected.data);
    buf_fini(&expected);
    config_free(cfg);
}

static void test_table_is_sound(void **state)
{
    (void)state;
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        assert_ptr_equal(config_key_find(key->name), key);
        assert_non_null(strchr(key->name, '.'));
        for (const char *c = key->name; *c; c++) {
            assert_true(islower((unsigned char)*c) || isdigit((unsigned char)*c) ||
                        strchr("._", *c));
        }
        assert_int_not_equal(key->programs, 0);
        assert_int_equal(key->required & ~key->programs, 0);
        assert_int_equal(key->doc[strlen(key->doc) - 1], '.');
        assert_int_equal(!key->valid, !key->expected);
        if (key->type == CONFIG_INT)
            assert_non_null(key->fallback);
        if (key->fallback)
            assert_int_equal(config_key_check(key, key->fallback, NULL), ERR_OK);
        char *variable = config_key_environment(key->name);
        for (size_t j = 0; j < i; j++) {
            char *other = config_key_environment(config_keys[j].name);
            assert_string_not_equal(variable, other);
            free(other);
        }
        free(variable);
    }
}

static void test_defaults(void **state)
{
    (void)state;
    struct config *cfg = load(PROGRAM_WORKER, NULL);
    assert_string_equal(config_string(cfg, "farm.topic_prefix"), "berth.");
    assert_null(config_string(cfg, "farm.name"));
    assert_int_equal(config_int(cfg, "worker.batch_max"), 2000);
    assert_int_equal(config_int(cfg, "worker.batch_max_bytes"), 4194304);
    assert_int_equal(config_int(cfg, "worker.unpublished_max"), 4000);
    assert_string_equal(config_string(cfg, "worker.group"), "berth-worker");
    assert_null(config_string(cfg, "db.password_file"));
    config_free(cfg);
    config_free(NULL);
}

static void test_flag_over_environment_over_file_over_default(void **state)
{
    (void)state;
    write_text(file, "db.port = 1\ndb.host = from-file\ndb.user = from-file\nlog.level = warn\n");
    setenv("BERTH_DB_PORT", "2", 1);
    setenv("BERTH_DB_HOST", "from-environment", 1);
    setenv("BERTH_LOG_LEVEL", "", 1); /* empty counts as unset */
    struct config *cfg = config_new(PROGRAM_WORKER);
    /* Flags win, even when loaded first. */
    assert_int_equal(config_set(cfg, "db.port", "3", "--db-port", NULL), ERR_OK);
    assert_int_equal(config_load(cfg, file, NULL, NULL), ERR_OK);
    assert_int_equal(config_int(cfg, "db.port"), 3);
    assert_string_equal(config_string(cfg, "db.host"), "from-environment");
    assert_string_equal(config_string(cfg, "db.user"), "from-file");
    assert_string_equal(config_string(cfg, "db.name"), "berth");
    assert_string_equal(config_string(cfg, "log.level"), "warn");
    assert_int_equal(config_set(cfg, "db.port", "4", "--db-port", NULL), ERR_OK);
    assert_int_equal(config_int(cfg, "db.port"), 4);
    config_free(cfg);
}

static void test_file_by_environment_and_usual_place(void **state)
{
    (void)state;
    write_text(file, "log.level = debug\n");
    setenv("BERTH_CONFIG", file, 1);
    struct config *cfg = config_new(PROGRAM_WORKER);
    assert_int_equal(config_load(cfg, NULL, NULL, NULL), ERR_OK);
    assert_string_equal(config_string(cfg, "log.level"), "debug");
    config_free(cfg);
    clear_environment();

    /* The command line's user file: $XDG_CONFIG_HOME/berth/berth.conf, else ~/.config/…. */
    char *places[] = {xasprintf("%s/xdg", folder), xasprintf("%s/.config", folder)};
    for (size_t i = 0; i < 2; i++) {
        char *subfolder = xasprintf("%s/berth", places[i]);
        char *path = xasprintf("%s/berth.conf", subfolder);
        assert_int_equal(mkdir(places[i], 0700), 0);
        assert_int_equal(mkdir(subfolder, 0700), 0);
        write_text(path, "farm.name = lab\nclient.key_file = keys/me.pem\n");
        if (i == 0)
            setenv("XDG_CONFIG_HOME", places[i], 1);
        cfg = config_new(PROGRAM_BERTH);
        assert_int_equal(config_load(cfg, NULL, NULL, NULL), ERR_OK);
        assert_string_equal(config_string(cfg, "farm.name"), "lab");
        char *key_path = xasprintf("%s/keys/me.pem", subfolder);
        assert_string_equal(config_string(cfg, "client.key_file"), key_path);
        free(key_path);
        config_free(cfg);
        unsetenv("XDG_CONFIG_HOME");
        unlink(path);
        rmdir(subfolder);
        rmdir(places[i]);
        free(path);
        free(subfolder);
        free(places[i]);
    }
    /* Neither exists: no error. */
    cfg = config_new(PROGRAM_BERTH);
    assert_int_equal(config_load(cfg, NULL, NULL, NULL), ERR_OK);
    config_free(cfg);
}

static void test_file_syntax(void **state)
{
    (void)state;
    write_text(file, "# a comment\n"
                     "\n"
                     "   \t\n"
                     "  db.host=a.example   # another\r\n"
                     "db.user\t=\tu#1\n"
                     "db.name = \"b # c\"   # quoted\n"
                     "worker.group = \" g \"\n"
                     "worker.name = \n"
                     "db.socket = # nothing\n"
                     "kafka.client.id = x=y");
    struct config *cfg = load(PROGRAM_WORKER, NULL);
    assert_string_equal(config_string(cfg, "db.host"), "a.example");
    assert_string_equal(config_string(cfg, "db.user"), "u#1");
    assert_string_equal(config_string(cfg, "db.name"), "b # c");
    assert_string_equal(config_string(cfg, "worker.group"), " g ");
    assert_null(config_string(cfg, "worker.name"));
    assert_null(config_string(cfg, "db.socket"));
    config_free(cfg);
}

/* The log's output at level info with this configuration. */
static bool info_is_logged(const char *level)
{
    char path[] = "/tmp/berth-test-log-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    unlink(path);
    struct config *cfg = load(PROGRAM_WORKER, NULL);
    assert_int_equal(config_set(cfg, "log.level", level, "--log-level", NULL), ERR_OK);
    int saved = dup(STDERR_FILENO);
    dup2(fd, STDERR_FILENO);
    log_info("here", "%s", "");
    dup2(saved, STDERR_FILENO);
    close(saved);
    off_t len = lseek(fd, 0, SEEK_END);
    close(fd);
    config_free(cfg);
    return len > 0;
}

static void test_log_level_takes_effect(void **state)
{
    (void)state;
    assert_false(info_is_logged("error"));
    assert_true(info_is_logged("debug"));
    assert_true(info_is_logged("info"));
}

static void test_refused_files(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"db.hots = x\n", "%F:1: unknown key 'db.hots': did you mean db.host?"},
        {"\n\nworker.batchmax = 5\n",
         "%F:3: unknown key 'worker.batchmax': did you mean worker.batch_max?"},
        {"colour = blue\n", "%F:1: unknown key 'colour': docs/configuration.md lists all"},
        {"[db]\n", "%F:1: expected `key = value`"},
        {"db.host\n", "%F:1: expected `key = value`"},
        {"= x\n", "%F:1: expected a key before '='"},
        {"db.host = \"x\n", "%F:1: a value that begins with \" must end with one"},
        {"db.host = \"x\" y\n", "%F:1: nothing but a # comment may follow a quoted value"},
        {"db.host = a\ndb.host = b\n", "%F:2: db.host is already set at %F:1"},
        {"db.port = 0\n", "%F:1: db.port must be a whole number from 1 to 65535, not '0'"},
        {"db.port = 65536\n", "%F:1: db.port must be a whole number from 1 to 65535, not '65536'"},
        {"db.port = 3306x\n", "%F:1: db.port must be a whole number from 1 to 65535, not '3306x'"},
        {"db.port = +1\n", "%F:1: db.port must be a whole number from 1 to 65535, not '+1'"},
        {"db.port = 0x50\n", "%F:1: db.port must be a whole number from 1 to 65535, not '0x50'"},
        {"db.port =\n", "%F:1: db.port must be a whole number from 1 to 65535, not ''"},
        {"db.port = 99999999999999999999\n",
         "%F:1: db.port must be a whole number from 1 to 65535, not '99999999999999999999'"},
        {"db.host =\n", "%F:1: db.host must not be empty"},
        {"log.level = loud\n", "%F:1: log.level must be debug, info, warn or error, not 'loud'"},
        {"farm.name = Lab\n", "%F:1: farm.name must be 1 to 32 of a-z 0-9 -, not 'Lab'"},
        {"farm.name = l\xc3\xa4\x62\n",
         "%F:1: farm.name must be 1 to 32 of a-z 0-9 -, not 'l\xc3\xa4\x62'"},
        {"farm.name = a-name-of-33-characters-is-too-lo\n",
         "%F:1: farm.name must be 1 to 32 of a-z 0-9 -, not 'a-name-of-33-characters-is-too-lo'"},
        /* Keys of other programs are checked too. */
        {"reader.listen = 8080\n", "%F:1: reader.listen must be ADDRESS:PORT, as in 127.0.0.1:8080 "
                                   "or [::1]:8080, not '8080'"},
        {"kafka.sasl.password = x\n", "%F:1: kafka.sasl.password is a secret: put it into a file "
                                      "and set kafka.sasl.password_file to its path"},
        {"kafka. = x\n", "%F:1: 'kafka.' is not a setting of librdkafka"},
        {"kafka.Client.Id = x\n", "%F:1: 'kafka.Client.Id' is not a setting of librdkafka"},
        {"profile.x = 1\n", "%F:1: expected profile.NAME.KEY, not 'profile.x'"},
        {"profile.x.farm.nam = a\n", "%F:1: unknown key 'farm.nam': did you mean farm.name?"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        refused(PROGRAM_WORKER, rows[i][0], NULL, rows[i][1]);
}

static void test_unreadable_files(void **state)
{
    (void)state;
    struct config *cfg = config_new(PROGRAM_WORKER);
    struct failure f = {0};
    assert_int_equal(config_load(cfg, "/nowhere/berth.conf", NULL, &f), ERR_CONFIG);
    assert_string_equal(f.text, "/nowhere/berth.conf: No such file or directory");
    assert_int_not_equal(config_load(cfg, folder, NULL, &f), ERR_OK);
    write_bytes(file, "db.host = a\0b\n", 14);
    assert_int_equal(config_load(cfg, file, NULL, &f), ERR_CONFIG);
    assert_non_null(strstr(f.text, "not a text file"));
    char *large = xmalloc(2 * 1024 * 1024);
    memset(large, '#', 2 * 1024 * 1024);
    write_bytes(file, large, 2 * 1024 * 1024);
    free(large);
    assert_int_equal(config_load(cfg, file, NULL, &f), ERR_CONFIG);
    assert_non_null(strstr(f.text, "longer than"));
    config_free(cfg);
}

static void test_environment_slips(void **state)
{
    (void)state;
    struct failure f = {0};
    setenv("BERTH_DB_HOTS", "x", 1);
    struct config *cfg = config_new(PROGRAM_WORKER);
    assert_int_equal(config_load(cfg, "/dev/null", NULL, &f), ERR_CONFIG);
    assert_string_equal(f.text, "BERTH_DB_HOTS: not a setting: did you mean BERTH_DB_HOST?");
    config_free(cfg);
    clear_environment();
    /* Variables set by container platforms for a service named "berth", by tests and by make. */
    setenv("BERTH_SERVICE_HOST", "10.0.0.1", 1);
    setenv("BERTH_PORT_8080_TCP", "tcp://10.0.0.1:8080", 1);
    setenv("BERTH_BIN", "/somewhere", 1);
    cfg = load(PROGRAM_WORKER, NULL);
    config_free(cfg);
    setenv("BERTH_DB_PORT", "tcp://10.0.0.1:3306", 1);
    cfg = config_new(PROGRAM_WORKER);
    assert_int_equal(config_load(cfg, "/dev/null", NULL, &f), ERR_CONFIG);
    assert_string_equal(f.text, "BERTH_DB_PORT: db.port must be a whole number from 1 to 65535, "
                                "not 'tcp://10.0.0.1:3306'");
    config_free(cfg);
}

static void test_flags_that_are_refused(void **state)
{
    (void)state;
    struct config *cfg = config_new(PROGRAM_READER);
    struct failure f = {0};
    assert_int_equal(config_set(cfg, "worker.name", "x", "--set", &f), ERR_CONFIG);
    assert_string_equal(f.text, "--set: worker.name is another program's key");
    assert_int_equal(config_set(cfg, "reader.timeout_s", "0", "--timeout", &f), ERR_CONFIG);
    assert_string_equal(
        f.text, "--timeout: reader.timeout_s must be a whole number from 1 to 3600, not '0'");
    assert_int_equal(config_set(cfg, "kafka.ssl.key.pem", "x", "-X", &f), ERR_CONFIG);
    assert_non_null(strstr(f.text, "is a secret"));
    config_free(cfg);
}

/* ---- Kafka, secrets, paths, profiles ----------------------------------------------------------- */

static void collect(void *arg, const char *name, const char *value)
{
    buf_printf(arg, "%s=%s\n", name, value);
}

static void test_kafka_settings_pass_through(void **state)
{
    (void)state;
    write_text(secret, "hush\n");
    write_text(file, "kafka.bootstrap.servers = b:1\nkafka.linger.ms = 5\nkafka.acks = 1\n"
                     "kafka.sasl.password_file = secret\n");
    setenv("BERTH_KAFKA_SECURITY_PROTOCOL", "sasl_ssl", 1);
    setenv("BERTH_KAFKA_LINGER_MS", "6", 1);
    setenv("BERTH_KAFKA_SSL_KEY_PASSWORD_FILE", secret, 1);
    struct config *cfg = config_new(PROGRAM_WORKER);
    assert_int_equal(config_set(cfg, "kafka.acks", "all", "-X", NULL), ERR_OK);
    struct failure f = {0};
    if (config_load(cfg, file, NULL, &f) != ERR_OK)
        fail_msg("%s", f.text);
    struct buf seen = {0};
    config_each_kafka(cfg, collect, &seen);
    static const char *const expected[] = {
        "kafka.bootstrap.servers=b:1\n",
        "kafka.linger.ms=6\n",
        "kafka.acks=all\n",
        "kafka.sasl.password=hush\n",
        "kafka.security.protocol=sasl_ssl\n",
        "kafka.ssl.key.password=hush\n",
    };
    size_t len = 0;
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        assert_non_null(strstr(seen.data, expected[i]));
        len += strlen(expected[i]);
    }
    assert_int_equal(seen.len, len);
    assert_string_equal(config_string(cfg, "kafka.bootstrap.servers"), "b:1");
    buf_fini(&seen);
    config_free(cfg);
}

/* Whether reading db.password_file and setting a key of Kafka log warnings, with this file mode. */
static off_t warned_about_mode(mode_t mode)
{
    char path[] = "/tmp/berth-test-log-XXXXXX", *value = NULL;
    struct failure f = {0};
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    unlink(path);
    struct config *cfg = load(PROGRAM_WORKER, NULL);
    write_text(secret, "hush");
    assert_int_equal(chmod(secret, mode), 0);
    int saved = dup(STDERR_FILENO);
    dup2(fd, STDERR_FILENO);
    assert_int_equal(config_secret(cfg, "db.password_file", &value, &f), ERR_OK);
    off_t once = lseek(fd, 0, SEEK_END);
    assert_int_equal(config_set(cfg, "kafka.ssl.key.location", secret, "--set", &f), ERR_OK);
    off_t twice = lseek(fd, 0, SEEK_END);
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(fd);
    free(value);
    config_free(cfg);
    /* Not the length of a line, in which a time may have milliseconds or not. */
    assert_int_equal(twice > once, once > 0);
    return once;
}

static void test_secrets_of_all(void **state)
{
    (void)state;
    log_set_level(LOG_INFO);
    setenv("BERTH_DB_PASSWORD_FILE", secret, 1);
    assert_int_equal(warned_about_mode(0600), 0);
    assert_int_equal(warned_about_mode(0640), 0);
    assert_true(warned_about_mode(0644) > 0);
    assert_true(warned_about_mode(0602) > 0);
    unlink(secret);
    clear_environment();
}

static void test_secrets(void **state)
{
    (void)state;
    static const struct {
        const char *text, *secret;
    } rows[] = {
        {"hush", "hush"}, {"hush\n", "hush"}, {"hush\r\n", "hush"}, {" hu sh \n\n", " hu sh \n"}};
    setenv("BERTH_DB_PASSWORD_FILE", secret, 1);
    struct config *cfg = load(PROGRAM_WORKER, NULL);
    char *value = NULL;
    struct failure f = {0};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        write_text(secret, rows[i].text);
        assert_int_equal(config_secret(cfg, "db.password_file", &value, &f), ERR_OK);
        assert_string_equal(value, rows[i].secret);
        free(value);
    }
    write_text(secret, "\n");
    assert_int_equal(config_secret(cfg, "db.password_file", &value, &f), ERR_CONFIG);
    assert_null(value);
    assert_non_null(strstr(f.text, "db.password_file: "));
    assert_non_null(strstr(f.text, "the file is empty"));
    unlink(secret);
    assert_int_equal(config_secret(cfg, "db.password_file", &value, &f), ERR_CONFIG);
    assert_non_null(strstr(f.text, "No such file"));
    config_free(cfg);
    clear_environment();
    cfg = load(PROGRAM_WORKER, NULL);
    value = file;
    assert_int_equal(config_secret(cfg, "db.password_file", &value, NULL), ERR_OK);
    assert_null(value);
    config_free(cfg);
}

static void test_paths_in_files(void **state)
{
    (void)state;
    write_text(file,
               "db.password_file = sub/secret\ndb.socket = /run/db.sock\ndb.tls_ca = ~/ca.pem\n");
    struct config *cfg = load(PROGRAM_WORKER, NULL);
    char *beside = xasprintf("%s/sub/secret", folder);
    char *home = xasprintf("%s/ca.pem", folder);
    assert_string_equal(config_string(cfg, "db.password_file"), beside);
    assert_string_equal(config_string(cfg, "db.socket"), "/run/db.sock");
    assert_string_equal(config_string(cfg, "db.tls_ca"), home);
    free(beside);
    free(home);
    config_free(cfg);
    /* In the environment and in flags a path is relative to the working directory. */
    setenv("BERTH_DB_TLS_CA", "ca.pem", 1);
    cfg = load(PROGRAM_WORKER, NULL);
    assert_string_equal(config_string(cfg, "db.tls_ca"), "ca.pem");
    config_free(cfg);
}

static void test_profiles(void **state)
{
    (void)state;
    write_text(file, "profile.lab.farm.name = lab\n"
                     "farm.name = home\n"
                     "client.user = alice\n"
                     "profile.lab.kafka.bootstrap.servers = lab:9092\n"
                     "profile.lab2.client.user = bob\n");
    struct config *cfg = load(PROGRAM_BERTH, NULL);
    assert_string_equal(config_string(cfg, "farm.name"), "home");
    assert_null(config_string(cfg, "kafka.bootstrap.servers"));
    config_free(cfg);
    cfg = load(PROGRAM_BERTH, "lab");
    assert_string_equal(config_string(cfg, "farm.name"), "lab");
    assert_string_equal(config_string(cfg, "kafka.bootstrap.servers"), "lab:9092");
    assert_string_equal(config_string(cfg, "client.user"), "alice");
    config_free(cfg);
    setenv("BERTH_FARM_NAME", "other", 1);
    cfg = load(PROGRAM_BERTH, "lab");
    assert_string_equal(config_string(cfg, "farm.name"), "other");
    config_free(cfg);
    refused(PROGRAM_BERTH, "farm.name = home\n", "la",
            "no configuration file has keys profile.la.KEY");
    refused(PROGRAM_BERTH, "profile.a.farm.name = x\nprofile.a.farm.name = y\n", "a",
            "%F:2: farm.name is already set at %F:1");
}

/* ---- required keys, printing ------------------------------------------------------------------- */

static void test_required_keys(void **state)
{
    (void)state;
    struct failure f = {0};
    struct config *cfg = load(PROGRAM_WORKER, NULL);
    assert_int_equal(config_check(cfg, &f), ERR_CONFIG);
    assert_string_equal(f.text, "kafka.bootstrap.servers is not set: set it in the configuration "
                                "file, or BERTH_KAFKA_BOOTSTRAP_SERVERS in the environment");
    assert_int_equal(config_set(cfg, "kafka.bootstrap.servers", "b:1", "-X", NULL), ERR_OK);
    assert_int_equal(config_check(cfg, &f), ERR_OK);
    assert_int_equal(config_require(cfg, "db.host", &f), ERR_OK);
    assert_int_equal(config_require(cfg, "farm.name", &f), ERR_CONFIG);
    config_free(cfg);
    cfg = load(PROGRAM_READER, NULL);
    assert_int_equal(config_check(cfg, &f), ERR_OK);
    config_free(cfg);
}

static char *printed(const struct config *cfg)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    if (cfg) {
        config_print(cfg, out);
    } else {
        config_print_markdown(out);
    }
    fclose(out);
    return text;
}

static void test_print_config(void **state)
{
    (void)state;
    write_text(secret, "hush\n");
    write_text(file, "db.host = a\nworker.name = \"x # y\"\nkafka.sasl.password_file = secret\n"
                     "reader.timeout_s = 9\nkafka.linger.ms = 1\n");
    setenv("BERTH_DB_USER", "u", 1);
    struct config *cfg = load(PROGRAM_WORKER, NULL);
    assert_int_equal(config_set(cfg, "db.name", "n", "--db-name", NULL), ERR_OK);
    char *text = printed(cfg);
    char *lines[] = {
        xasprintf("db.host = a   # %s:1\n", file),
        xasprintf("worker.name = \"x # y\"   # %s:2\n", file),
        xasprintf("kafka.sasl.password_file = %s   # %s:3\n", secret, file),
        xasprintf("kafka.linger.ms = 1   # %s:5\n", file),
        xstrdup("db.user = u   # BERTH_DB_USER\n"),
        xstrdup("db.name = n   # --db-name\n"),
        xstrdup("db.port = 3306   # default\n"),
        xstrdup("# db.password_file is not set\n"),
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        if (!strstr(text, lines[i]))
            fail_msg("no '%s' in\n%s", lines[i], text);
        free(lines[i]);
    }
    assert_null(strstr(text, "hush"));
    assert_null(strstr(text, "reader."));
    config_free(cfg);
    /* The printed text is a configuration file with the same values. */
    clear_environment();
    write_text(file, text);
    cfg = load(PROGRAM_WORKER, NULL);
    assert_string_equal(config_string(cfg, "worker.name"), "x # y");
    assert_string_equal(config_string(cfg, "db.user"), "u");
    config_free(cfg);
    free(text);
}

static void test_docs_are_current(void **state)
{
    (void)state;
    char *text = printed(NULL);
    if (getenv("UPDATE_DOCS"))
        write_text(DOCS, text);
    char *committed = NULL;
    struct failure f = {0};
    if (file_read_text(DOCS, 1024 * 1024, &committed, &f) != ERR_OK)
        fail_msg("%s (run from the repository's root)", f.text);
    if (strcmp(text, committed) != 0)
        fail_msg(DOCS " is not what the table says: run this test with UPDATE_DOCS=1");
    free(committed);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_table_is_sound, fresh),
        cmocka_unit_test_setup(test_defaults, fresh),
        cmocka_unit_test_setup(test_flag_over_environment_over_file_over_default, fresh),
        cmocka_unit_test_setup(test_file_by_environment_and_usual_place, fresh),
        cmocka_unit_test_setup(test_file_syntax, fresh),
        cmocka_unit_test_setup(test_log_level_takes_effect, fresh),
        cmocka_unit_test_setup(test_refused_files, fresh),
        cmocka_unit_test_setup(test_unreadable_files, fresh),
        cmocka_unit_test_setup(test_environment_slips, fresh),
        cmocka_unit_test_setup(test_flags_that_are_refused, fresh),
        cmocka_unit_test_setup(test_kafka_settings_pass_through, fresh),
        cmocka_unit_test_setup(test_secrets, fresh),
        cmocka_unit_test_setup(test_secrets_of_all, fresh),
        cmocka_unit_test_setup(test_paths_in_files, fresh),
        cmocka_unit_test_setup(test_profiles, fresh),
        cmocka_unit_test_setup(test_required_keys, fresh),
        cmocka_unit_test_setup(test_print_config, fresh),
        cmocka_unit_test_setup(test_docs_are_current, fresh),
    };
    return cmocka_run_group_tests_name("lib config", tests, make_folder, remove_folder);
}
