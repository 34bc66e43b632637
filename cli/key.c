/* `berth key generate|show`, `berth verify`. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "core/arena.h"
#include "core/limits.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/print.h"
#include "lib/codec/claims.h"
#include "lib/token/issue.h"

#define KEY_TEXT_LEN (64 * 1024)

/* Writes a new file; an existing one is never changed. */
static enum err write_new(const char *path, mode_t mode, const char *text, struct failure *f)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0 && errno == EEXIST)
        return failure_set(f, ERR_USAGE, "%s exists, and a key is never overwritten", path);
    if (fd < 0)
        return failure_set(f, ERR_IO, "cannot make %s: %s", path, strerror(errno));
    size_t len = strlen(text);
    bool newline = len > 0 && text[len - 1] == '\n';
    bool good = write(fd, text, len) == (ssize_t)len && (newline || write(fd, "\n", 1) == 1) &&
                fsync(fd) == 0;
    if (close(fd) != 0 || !good) {
        unlink(path);
        return failure_set(f, ERR_IO, "cannot write %s: %s", path, strerror(errno));
    }
    return ERR_OK;
}

struct key_files {
    const char *private_path, *public_path;
    bool jwk;
};

static enum err write_key(const struct signing_key *key, const struct key_files *files,
                          struct failure *f)
{
    const struct jws_key *public = signing_key_public(key);
    char *private_text = files->jwk ? signing_key_jwk(key) : signing_key_pem(key);
    char *public_text = files->jwk ? jws_key_jwk(public) : jws_key_pem(public);
    enum err err = write_new(files->private_path, 0600, private_text, f);
    if (err == ERR_OK) {
        err = write_new(files->public_path, 0644, public_text, f);
        if (err != ERR_OK)
            unlink(files->private_path);
    }
    memset(private_text, 0, strlen(private_text));
    free(private_text);
    free(public_text);
    return err;
}

static void print_key(const struct cli *cli, const struct jws_key *key,
                      const struct key_files *files)
{
    static const struct table_column columns[] = {{"kid", "kid", NULL},
                                                  {"alg", "alg", NULL},
                                                  {"private_key", "private_key", NULL},
                                                  {"public_key", "public_key", NULL},
                                                  {0}};
    char kid[44];
    const char *alg = jws_alg_name(jws_key_alg(key));
    jws_key_thumbprint(key, kid);
    /* A path may be any bytes, which only TSV and text can show. */
    json_t *object = json_pack("{s:s, s:s, s:o, s:o}", "kid", kid, "alg", alg, "private_key",
                               json_string_nocheck(files->private_path), "public_key",
                               json_string_nocheck(files->public_path));
    if (cli->format == CLI_JSON) {
        cli_print_json(object);
    } else if (cli->format == CLI_TSV) {
        cli_print_header(cli, columns);
        table_print_row(columns, object);
    } else {
        print_line(stdout, "kid: %s", kid);
        print_line(stdout, "alg: %s", alg);
        print_line(stdout, "private key: %s", files->private_path);
        print_line(stdout, "public key: %s", files->public_path);
    }
    json_decref(object);
}

int cli_key_generate(struct cli *cli)
{
    struct failure f;
    struct signing_key *key = NULL;
    const char *alg_name = cli_value(cli, "alg"), *public_path = cli_value(cli, "public-out");
    struct key_files files = {.private_path = cli_value(cli, "out"), .jwk = cli_has(cli, "jwk")};
    enum jws_alg alg = alg_name ? jws_alg_from_name(alg_name) : JWS_ES256;
    if (!files.private_path)
        return cli_usage(cli, "where to? Give --out FILE");
    if (alg == JWS_ALG_COUNT)
        return cli_usage(cli, "--alg '%.40s': expected ES256 or RS256", alg_name);
    char *default_path = xasprintf("%s.pub", files.private_path);
    files.public_path = public_path ? public_path : default_path;
    enum err err = signing_key_generate(alg, &key, &f);
    if (err == ERR_OK)
        err = write_key(key, &files, &f);
    if (err == ERR_OK)
        print_key(cli, signing_key_public(key), &files);
    signing_key_free(key);
    free(default_path);
    return err == ERR_OK ? EXIT_CODE_OK : cli_fail(cli, &f);
}

/* Reads a public key, or the public half of a private one. Gives *out. */
static enum err read_public(const char *path, struct jws_key **out, struct failure *f)
{
    char *text;
    enum err err = file_read_text(path, KEY_TEXT_LEN, &text, f);
    if (err != ERR_OK)
        return err;
    struct signing_key *private_key = NULL;
    struct failure ignored;
    if (jws_key_parse(text, strlen(text), out, f) == ERR_OK) {
        err = ERR_OK;
    } else if (signing_key_read(path, &private_key, &ignored) == ERR_OK) {
        char *pem = jws_key_pem(signing_key_public(private_key));
        err = jws_key_parse(pem, strlen(pem), out, f);
        free(pem);
        signing_key_free(private_key);
    } else {
        err = failure_wrap(f, "%s", path);
    }
    free(text);
    return err;
}

/* The key file of the option or operand; otherwise the client's own. */
static enum err find_public(const struct cli *cli, const char *path, struct jws_key **out,
                            struct failure *f)
{
    if (!path) {
        enum err err = config_require(cli->cfg, "client.key_file", f);
        if (err != ERR_OK)
            return err;
        path = config_string(cli->cfg, "client.key_file");
    }
    return read_public(path, out, f);
}

int cli_key_show(struct cli *cli)
{
    struct failure f;
    struct jws_key *key = NULL;
    char kid[44];
    if (cli->after.operand_count > 1)
        return cli_usage(cli, "expected one key file");
    const char *path = cli->after.operand_count == 1 ? cli->after.operands[0] : NULL;
    if (find_public(cli, path, &key, &f) != ERR_OK)
        return cli_fail(cli, &f);
    jws_key_thumbprint(key, kid);
    bool jwk = cli_has(cli, "jwk") || cli->format == CLI_JSON;
    char *text = jwk ? jws_key_jwk(key) : jws_key_pem(key);
    print_lines(stdout, text);
    cli_note(cli, "kid %s, %s", kid, jws_alg_name(jws_key_alg(key)));
    free(text);
    jws_key_free(key);
    return EXIT_CODE_OK;
}

/* Prints the result as text or JSON. */
struct findings {
    struct claims claims;
    struct jws_parts parts;
    json_t *faults; /* sentences */
};

static void fault(struct findings *found, char *sentence)
{
    json_array_append_new(found->faults, json_string(sentence));
    free(sentence);
}

static void check_times(struct findings *found, int64_t now_s)
{
    const struct claims *claims = &found->claims;
    if (claims->has_exp && claims->exp_s + LIMIT_LEEWAY_S <= now_s)
        fault(found, xasprintf("it expired %" PRId64 " s ago", now_s - claims->exp_s));
    if (claims->has_iat && claims->iat_s - LIMIT_LEEWAY_S > now_s) {
        fault(found,
              xasprintf("it was issued in the future, in %" PRId64 " s", claims->iat_s - now_s));
    }
    bool both = claims->has_iat && claims->has_exp;
    if (both &&
        (claims->exp_s <= claims->iat_s || claims->exp_s - claims->iat_s > LIMIT_LIFETIME_S))
        fault(found, xstrdup("exp - iat is not within 1 s and 24 h"));
}

static void check_token(const struct cli *cli, const struct jws_key *key, struct findings *found,
                        struct arena *arena)
{
    const struct jws_parts *parts = &found->parts;
    const char *farm = config_string(cli->cfg, "farm.name");
    const char *alg = jws_alg_name(jws_key_alg(key));
    if (!parts->alg || strcmp(parts->alg, alg) != 0) {
        fault(found, xasprintf("its alg is not %s, the key's", alg));
    } else if (!jws_verify(key, parts)) {
        fault(found, xstrdup("the signature does not verify under the key"));
    }
    claims_decode(parts->payload, parts->payload_len, arena, &found->claims);
    if (found->claims.pointer) {
        fault(found, xasprintf("%s: expected %s",
                               found->claims.pointer[0] ? found->claims.pointer : "the payload",
                               found->claims.expected));
    }
    bool read = !found->claims.pointer || found->claims.pointer[0];
    const char *issuer_kind = found->claims.issuer_kind, *kind = found->claims.audience_kind;
    if (read && !found->claims.issuer) {
        fault(found, xasprintf("iss, the client, is %s: expected one name, a string",
                               issuer_kind ? issuer_kind : "no name"));
    }
    if (read && !found->claims.audience) {
        fault(found, xasprintf("aud, the farm, is %s: expected one name, a string",
                               kind ? kind : "no name"));
    } else if (!read) {
        return;
    } else if (farm && strcmp(farm, found->claims.audience) != 0) {
        fault(found, xasprintf("aud is not %s, the farm of the configuration", farm));
    }
    check_times(found, cli->now_ms / 1000);
}

static void print_findings(const struct cli *cli, const struct findings *found)
{
    json_t *payload = json_loadb(found->parts.payload, found->parts.payload_len, 0, NULL);
    size_t i;
    json_t *sentence;
    if (cli->format == CLI_JSON) {
        json_t *object = json_pack("{s:b, s:O, s:o, s:O}", "valid",
                                   json_array_size(found->faults) == 0, "header",
                                   (json_t *)found->parts.header, "claims",
                                   payload ? payload : json_null(), "faults", found->faults);
        cli_print_json(object);
        json_decref(object);
        return;
    }
    char *header_text = json_dumps((json_t *)found->parts.header, JSON_COMPACT);
    char *payload_text = payload ? json_dumps(payload, JSON_INDENT(2)) : xstrdup("not JSON");
    print_line(stdout, "header: %s", header_text);
    print_part(stdout, "claims: ");
    print_lines(stdout, payload_text);
    json_array_foreach(found->faults, i, sentence)
        print_line(stdout, "fault: %s", json_string_value(sentence));
    print_line(stdout, "%s", json_array_size(found->faults) == 0 ? "verified" : "not valid");
    free(header_text);
    free(payload_text);
    json_decref(payload);
}

/* Gives *out, without surrounding blanks. */
static enum err read_token(const char *operand, char **out, struct failure *f)
{
    static char text[LIMIT_TOKEN_LEN * 2];
    size_t len;
    if (strcmp(operand, "-") == 0) {
        if (file_read_fd(STDIN_FILENO, text, sizeof(text) - 1, &len, f) != ERR_OK)
            return failure_wrap(f, "standard input");
        text[len] = '\0';
        operand = text;
    }
    operand += strspn(operand, " \t\r\n");
    *out = xstrndup(operand, strcspn(operand, " \t\r\n"));
    return ERR_OK;
}

static int verify(const struct cli *cli, const struct jws_key *key, const char *token)
{
    struct findings found = {.faults = json_array()};
    int code = EXIT_CODE_DIFFERENCES;
    const char *malformed = jws_split(token, strlen(token), &found.parts);
    if (malformed) {
        struct failure f;
        failure_set(&f, ERR_FAILED, "not a token: %s", malformed);
        cli_fail(cli, &f);
    } else {
        struct arena *arena = arena_new();
        check_token(cli, key, &found, arena);
        print_findings(cli, &found);
        if (json_array_size(found.faults) == 0)
            code = EXIT_CODE_OK;
        jws_parts_fini(&found.parts);
        arena_free(arena);
    }
    json_decref(found.faults);
    return code;
}

int cli_verify(struct cli *cli)
{
    struct failure f;
    struct jws_key *key = NULL;
    char *token = NULL;
    if (cli->after.operand_count != 1)
        return cli_usage(cli, "expected one token, or - to read it");
    if (find_public(cli, cli_value(cli, "key"), &key, &f) != ERR_OK)
        return cli_fail(cli, &f);
    int code;
    if (read_token(cli->after.operands[0], &token, &f) == ERR_OK) {
        code = verify(cli, key, token);
    } else {
        code = cli_fail(cli, &f);
    }
    free(token);
    jws_key_free(key);
    return code;
}
