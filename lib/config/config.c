#include "lib/config/config.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/nearest.h"
#include "lib/base/print.h"
#include "lib/config/config_file.h"
#include "lib/config/config_table.h"

#define SYSTEM_FILE   "/etc/berth/berth.conf"
#define SYSTEM_FOLDER "/etc/berth/conf.d"
#define ENVIRONMENT   "BERTH_"
#define KAFKA         "kafka."
#define PROFILE       "profile."
#define FILE_SUFFIX   "_file"

#define CONFIG_FILE_LEN (1024 * 1024)

extern char **environ; /* POSIX: the program declares it */

/* Ranks of origins: the higher wins, in whatever order they are read. */
enum rank { RANK_FILE = 1, RANK_PROFILE, RANK_ENVIRONMENT, RANK_FLAG };

struct setting {
    char *name;                   /* "db.port", "kafka.linger.ms" */
    const struct config_key *key; /* NULL: librdkafka's, not in the table */
    char *value;                  /* NULL: set to nothing */
    char *path;   /* the value was read from this file, for `kafka.NAME_file`; else NULL */
    char *origin; /* for people */
    enum rank rank;
    int file; /* number of the file it is from */
};

struct config {
    enum program program;
    struct setting *settings;
    size_t count;
    int files; /* read so far */
};

/* The origin of the settings that are being read. */
struct source {
    struct config *cfg;
    const char *name; /* the file's path, the variable or the flag */
    const char *profile;
    bool profile_seen;
    enum rank rank;
    int line; /* 0: not in a file */
};

struct config *config_new(enum program program)
{
    struct config *cfg = xcalloc(1, sizeof(*cfg));
    cfg->program = program;
    return cfg;
}

static void setting_fini(struct setting *setting)
{
    free(setting->name);
    free(setting->value);
    free(setting->path);
    free(setting->origin);
}

void config_free(struct config *cfg)
{
    if (!cfg)
        return;
    for (size_t i = 0; i < cfg->count; i++)
        setting_fini(&cfg->settings[i]);
    free(cfg->settings);
    free(cfg);
}

static struct setting *find(const struct config *cfg, const char *name)
{
    for (size_t i = 0; i < cfg->count; i++) {
        if (strcmp(cfg->settings[i].name, name) == 0)
            return &cfg->settings[i];
    }
    return NULL;
}

static bool begins_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

static bool ends_with(const char *text, const char *end)
{
    size_t len = strlen(text);
    return len >= strlen(end) && strcmp(text + len - strlen(end), end) == 0;
}

static const char *value_of(const struct config *cfg, const struct config_key *key);

/* log.level takes effect here, so that no program can forget it. */
static void apply_log_level(const struct config *cfg)
{
    log_set_level(log_level_from_name(value_of(cfg, config_key_find("log.level"))));
}

/* Takes the strings of `new`. Drops it if a setting of higher rank exists. */
static enum err store(struct source *from, struct setting new, struct failure *f)
{
    struct config *cfg = from->cfg;
    new.rank = from->rank;
    new.file = from->line > 0 ? cfg->files : 0;
    new.origin = from->line > 0 ? xasprintf("%s:%d", from->name, from->line) : xstrdup(from->name);
    struct setting *old = find(cfg, new.name);
    if (old && old->file == new.file && old->rank == new.rank && from->line > 0) {
        enum err err = failure_set(f, ERR_CONFIG, "%s is already set at %s", new.name, old->origin);
        setting_fini(&new);
        return err;
    }
    if (!old) {
        cfg->settings = xrealloc(cfg->settings, (cfg->count + 1) * sizeof(*cfg->settings));
        cfg->settings[cfg->count++] = new;
    } else if (old->rank <= new.rank) {
        setting_fini(old);
        *old = new;
    } else {
        setting_fini(&new);
    }
    return ERR_OK;
}

/* A path in a file is relative to that file, and may begin with ~/. Caller frees. */
static char *resolve(const struct source *from, const char *path)
{
    const char *home = getenv("HOME");
    if (from->line == 0 || path[0] == '/' || path[0] == '\0')
        return xstrdup(path);
    if (begins_with(path, "~/") && home)
        return xasprintf("%s%s", home, path + 1);
    const char *slash = strrchr(from->name, '/');
    int folder_len = slash ? (int)(slash + 1 - from->name) : 0;
    return xasprintf("%.*s%s", folder_len, from->name, path);
}

/* librdkafka's settings that hold secrets, also those of versions to come. */
static bool is_kafka_secret(const char *name)
{
    return strstr(name, "password") || strstr(name, "secret") || ends_with(name, "key.pem");
}

/* Those that name a file with a secret, which librdkafka reads. */
static bool is_kafka_secret_path(const char *name)
{
    return strcmp(name, "kafka.ssl.key.location") == 0 ||
           strcmp(name, "kafka.ssl.keystore.location") == 0 ||
           strcmp(name, "kafka.sasl.kerberos.keytab") == 0;
}

static enum err set_kafka(struct source *from, const char *name, const char *value,
                          struct failure *f)
{
    if (name[strlen(KAFKA)] == '\0' ||
        strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._") != strlen(name))
        return failure_set(f, ERR_CONFIG, "'%s' is not a setting of librdkafka", name);
    if (!ends_with(name, FILE_SUFFIX)) {
        if (is_kafka_secret(name)) {
            return failure_set(f, ERR_CONFIG,
                               "%s is a secret: put it into a file and set %s%s to its path", name,
                               name, FILE_SUFFIX);
        }
        if (is_kafka_secret_path(name))
            file_warn_if_open(value);
        return store(from, (struct setting){.name = xstrdup(name), .value = xstrdup(value)}, f);
    }
    char *path = resolve(from, value);
    char *secret;
    enum err err = file_read_secret(path, &secret, f);
    if (err != ERR_OK) {
        free(path);
        return failure_wrap(f, "%s", name);
    }
    struct setting setting = {
        .name = xstrndup(name, strlen(name) - strlen(FILE_SUFFIX)), .value = secret, .path = path};
    return store(from, setting, f);
}

static enum err unknown_key(const char *name, struct failure *f)
{
    struct nearest nearest;
    nearest_init(&nearest, name);
    for (size_t i = 0; i < config_key_count; i++)
        nearest_offer(&nearest, config_keys[i].name);
    const char *meant = nearest_result(&nearest);
    if (meant)
        return failure_set(f, ERR_CONFIG, "unknown key '%s': did you mean %s?", name, meant);
    return failure_set(f, ERR_CONFIG, "unknown key '%s': docs/configuration.md lists all", name);
}

static enum err set_key(struct source *from, const char *name, const char *value, struct failure *f)
{
    const struct config_key *key = config_key_find(name);
    if (!key && begins_with(name, KAFKA))
        return set_kafka(from, name, value, f);
    if (!key)
        return unknown_key(name, f);
    if (from->rank == RANK_FLAG && !(key->programs & from->cfg->program))
        return failure_set(f, ERR_CONFIG, "%s is another program's key", name);
    enum err err = config_key_check(key, value, f);
    if (err != ERR_OK)
        return err;
    char *kept = key->type == CONFIG_PATH ? resolve(from, value) : xstrdup(value);
    if (kept[0] == '\0') {
        free(kept);
        kept = NULL;
    }
    return store(from, (struct setting){.name = xstrdup(name), .key = key, .value = kept}, f);
}

enum err config_set(struct config *cfg, const char *key, const char *value, const char *origin,
                    struct failure *f)
{
    struct source from = {.cfg = cfg, .name = origin, .rank = RANK_FLAG};
    struct failure inner = {0};
    enum err err = set_key(&from, key, value, &inner);
    if (err != ERR_OK)
        return failure_set(f, err, "%s: %s", origin, inner.text);
    apply_log_level(cfg);
    return ERR_OK;
}

enum err config_set_pair(struct config *cfg, const char *pair, struct failure *f)
{
    const char *equals = strchr(pair, '=');
    if (!equals)
        return failure_set(f, ERR_USAGE, "--set wants KEY=VALUE, not '%s'", pair);
    char *key = xstrndup(pair, (size_t)(equals - pair));
    enum err err = config_set(cfg, key, equals + 1, "--set", f);
    free(key);
    return err;
}

/* `profile.NAME.KEY`; `name` begins with "profile.". */
static enum err set_profile_key(struct source *from, const char *name, const char *value,
                                struct failure *f)
{
    const char *profile = name + strlen(PROFILE);
    size_t len = strcspn(profile, ".");
    if (len == 0 || profile[len] == '\0')
        return failure_set(f, ERR_CONFIG, "expected profile.NAME.KEY, not '%s'", name);
    const char *key = profile + len + 1;
    bool chosen = from->profile && strlen(from->profile) == len &&
                  strncmp(from->profile, profile, len) == 0;
    if (!chosen)
        return config_key_find(key) || begins_with(key, KAFKA) ? ERR_OK : unknown_key(key, f);
    from->profile_seen = true;
    from->rank = RANK_PROFILE;
    enum err err = set_key(from, key, value, f);
    from->rank = RANK_FILE;
    return err;
}

static enum err set_from_file(void *arg, const char *key, const char *value, int line,
                              struct failure *f)
{
    struct source *from = arg;
    from->line = line;
    if (begins_with(key, PROFILE))
        return set_profile_key(from, key, value, f);
    return set_key(from, key, value, f);
}

static enum err load_file(struct source *from, const char *path, struct failure *f)
{
    char *text;
    enum err err = file_read_text(path, CONFIG_FILE_LEN, &text, f);
    if (err != ERR_OK)
        return err;
    from->cfg->files++;
    from->name = path;
    err = config_file_parse(path, text, set_from_file, from, f);
    free(text);
    return err;
}

static int is_conf_file(const struct dirent *entry)
{
    return entry->d_name[0] != '.' && ends_with(entry->d_name, ".conf");
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static enum err load_folder(struct source *from, const char *folder, struct failure *f)
{
    struct dirent **entries = NULL;
    int count = scandir(folder, &entries, is_conf_file, by_name);
    enum err err = ERR_OK;
    if (count < 0 && errno != ENOENT)
        return failure_set(f, ERR_CONFIG, "%s: %s", folder, strerror(errno));
    for (int i = 0; i < count; i++) {
        char *path = xasprintf("%s/%s", folder, entries[i]->d_name);
        if (err == ERR_OK)
            err = load_file(from, path, f);
        free(path);
        free(entries[i]);
    }
    free(entries);
    return err;
}

/* Where the `berth` command's file is; NULL: nowhere. Caller frees. */
static char *user_file(void)
{
    const char *xdg = getenv("XDG_CONFIG_HOME");
    const char *home = getenv("HOME");
    if (xdg && xdg[0] == '/')
        return xasprintf("%s/berth/berth.conf", xdg);
    return home && home[0] ? xasprintf("%s/.config/berth/berth.conf", home) : NULL;
}

static enum err load_usual_places(struct source *from, struct failure *f)
{
    enum err err = ERR_OK;
    char *path = from->cfg->program == PROGRAM_BERTH ? user_file() : xstrdup(SYSTEM_FILE);
    if (path && access(path, F_OK) == 0)
        err = load_file(from, path, f);
    free(path);
    if (err == ERR_OK && from->cfg->program != PROGRAM_BERTH)
        err = load_folder(from, SYSTEM_FOLDER, f);
    return err;
}

/* BERTH_KAFKA_A_B is kafka.a.b, BERTH_KAFKA_A_B_FILE kafka.a.b_file. Caller frees. */
static char *kafka_key_of(const char *variable)
{
    char *name = xstrdup(variable + strlen(ENVIRONMENT));
    for (char *c = name; *c; c++)
        *c = *c >= 'A' && *c <= 'Z' ? (char)(*c - 'A' + 'a') : *c == '_' ? '.' : *c;
    if (ends_with(name, ".file"))
        name[strlen(name) - strlen(".file")] = '_';
    return name;
}

/* Other software, such as container platforms, sets BERTH_… variables, too; only those that look
 * like a misspelt key are refused. */
static enum err check_stranger(const char *variable, const struct nearest *nearest,
                               struct failure *f)
{
    if (strcmp(variable, "BERTH_CONFIG") == 0 || nearest->distance > 2)
        return ERR_OK;
    return failure_set(f, ERR_CONFIG, "not a setting: did you mean %s?", nearest->best);
}

static enum err set_from_variable(struct config *cfg, const char *variable, const char *value,
                                  struct failure *f)
{
    struct source from = {.cfg = cfg, .name = variable, .rank = RANK_ENVIRONMENT};
    char *names[64];
    assert(config_key_count <= sizeof(names) / sizeof(names[0]));
    struct nearest nearest;
    nearest_init(&nearest, variable);
    const struct config_key *key = NULL;
    for (size_t i = 0; i < config_key_count; i++) {
        names[i] = config_key_environment(config_keys[i].name);
        nearest_offer(&nearest, names[i]);
        if (strcmp(names[i], variable) == 0)
            key = &config_keys[i];
    }
    struct failure inner = {0};
    enum err err;
    if (key) {
        err = set_key(&from, key->name, value, &inner);
    } else if (begins_with(variable, "BERTH_KAFKA_")) {
        char *name = kafka_key_of(variable);
        err = set_key(&from, name, value, &inner);
        free(name);
    } else {
        err = check_stranger(variable, &nearest, &inner);
    }
    for (size_t i = 0; i < config_key_count; i++)
        free(names[i]);
    if (err != ERR_OK)
        return failure_set(f, err, "%s: %s", variable, inner.text);
    return ERR_OK;
}

static enum err load_environment(struct config *cfg, struct failure *f)
{
    enum err err = ERR_OK;
    for (char **entry = environ; *entry && err == ERR_OK; entry++) {
        const char *equals = strchr(*entry, '=');
        if (!begins_with(*entry, ENVIRONMENT) || !equals || equals[1] == '\0')
            continue;
        char *variable = xstrndup(*entry, (size_t)(equals - *entry));
        err = set_from_variable(cfg, variable, equals + 1, f);
        free(variable);
    }
    return err;
}

struct profiles {
    void (*fn)(void *arg, const char *name);
    void *arg;
};

static enum err tell_profile(void *arg, const char *key, const char *value, int line,
                             struct failure *f)
{
    const struct profiles *profiles = arg;
    (void)value;
    (void)line;
    (void)f;
    if (begins_with(key, PROFILE)) {
        char *name = xstrndup(key + strlen(PROFILE), strcspn(key + strlen(PROFILE), "."));
        profiles->fn(profiles->arg, name);
        free(name);
    }
    return ERR_OK;
}

void config_each_profile(const char *path, void (*fn)(void *arg, const char *name), void *arg)
{
    struct profiles profiles = {fn, arg};
    struct failure f;
    const char *named = path ? path : getenv("BERTH_CONFIG");
    char *file = named && named[0] ? xstrdup(named) : user_file(), *text;
    if (file && file_read_text(file, CONFIG_FILE_LEN, &text, &f) == ERR_OK) {
        config_file_parse(file, text, tell_profile, &profiles, &f);
        free(text);
    }
    free(file);
}

enum err config_load(struct config *cfg, const char *path, const char *profile, struct failure *f)
{
    struct source from = {.cfg = cfg, .profile = profile, .rank = RANK_FILE};
    const char *named = path ? path : getenv("BERTH_CONFIG");
    enum err err = named && named[0] ? load_file(&from, named, f) : load_usual_places(&from, f);
    if (err == ERR_OK && profile && !from.profile_seen)
        err = failure_set(f, ERR_CONFIG, "no configuration file has keys profile.%s.KEY", profile);
    if (err == ERR_OK)
        err = load_environment(cfg, f);
    if (err == ERR_OK)
        apply_log_level(cfg);
    return err;
}

/* The value, the default, or NULL. */
static const char *value_of(const struct config *cfg, const struct config_key *key)
{
    const struct setting *setting = find(cfg, key->name);
    return setting ? setting->value : key->fallback;
}

static const char *lookup(const struct config *cfg, const char *name, enum config_type type)
{
    const struct config_key *key = config_key_find(name);
    assert(key);
    assert(key->type == type || (type == CONFIG_STRING && key->type == CONFIG_PATH));
    assert(key->programs & cfg->program);
    return value_of(cfg, key);
}

const char *config_string(const struct config *cfg, const char *key)
{
    return lookup(cfg, key, CONFIG_STRING);
}

int64_t config_int(const struct config *cfg, const char *key)
{
    const char *value = lookup(cfg, key, CONFIG_INT);
    assert(value);
    return config_key_number(value);
}

enum err config_secret(const struct config *cfg, const char *file_key, char **out,
                       struct failure *f)
{
    const char *path = config_string(cfg, file_key);
    *out = NULL;
    if (!path)
        return ERR_OK;
    enum err err = file_read_secret(path, out, f);
    return err == ERR_OK ? err : failure_wrap(f, "%s", file_key);
}

enum err config_require(const struct config *cfg, const char *name, struct failure *f)
{
    const struct config_key *key = config_key_find(name);
    assert(key);
    if (value_of(cfg, key))
        return ERR_OK;
    char *variable = config_key_environment(name);
    enum err err = failure_set(
        f, ERR_CONFIG, "%s is not set: set it in the configuration file, or %s in the environment",
        name, variable);
    free(variable);
    return err;
}

enum err config_check(const struct config *cfg, struct failure *f)
{
    for (size_t i = 0; i < config_key_count; i++) {
        if (!(config_keys[i].required & cfg->program))
            continue;
        enum err err = config_require(cfg, config_keys[i].name, f);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

void config_each_kafka(const struct config *cfg,
                       void (*fn)(void *arg, const char *name, const char *value), void *arg)
{
    for (size_t i = 0; i < cfg->count; i++) {
        const struct setting *setting = &cfg->settings[i];
        if (begins_with(setting->name, KAFKA) && setting->value)
            fn(arg, setting->name, setting->value);
    }
}

static void print_setting(FILE *out, const char *name, const char *value, const char *origin)
{
    bool quoted = value[0] == '\0' || value[0] == '"' || strpbrk(value, " \t#");
    print_line(out, "%s = %s%s%s   # %s", name, quoted ? "\"" : "", value, quoted ? "\"" : "",
               origin);
}

void config_print(const struct config *cfg, FILE *out)
{
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        if (!(key->programs & cfg->program))
            continue;
        const struct setting *setting = find(cfg, key->name);
        const char *value = value_of(cfg, key);
        if (value) {
            print_setting(out, key->name, value, setting ? setting->origin : "default");
        } else {
            print_line(out, "# %s is not set", key->name);
        }
    }
    for (size_t i = 0; i < cfg->count; i++) {
        const struct setting *setting = &cfg->settings[i];
        if (setting->key)
            continue;
        /* A secret is shown as the file that holds it. */
        char *name = xasprintf("%s%s", setting->name, setting->path ? FILE_SUFFIX : "");
        print_setting(out, name, setting->path ? setting->path : setting->value, setting->origin);
        free(name);
    }
}
