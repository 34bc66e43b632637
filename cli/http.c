/* GET requests to the reader. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#include "cli/cli.h"
#include "lib/base/mem.h"
#include "lib/base/print.h"
#include "lib/base/timetext.h"
#include "lib/base/version.h"
#include "lib/codec/member.h"

#define CONNECT_LIMIT_S    5L
#define ANSWER_LIMIT_S     30L
#define HURRY_LIMIT_S      2L
#define ANSWER_LIMIT_BYTES (64 * 1024 * 1024)

static size_t on_bytes(char *bytes, size_t size, size_t count, void *arg)
{
    struct buf *answer = arg;
    if (answer->len + size * count > ANSWER_LIMIT_BYTES)
        return 0; /* ends the transfer */
    buf_append(answer, bytes, size * count);
    return size * count;
}

static bool is_loopback(const char *host)
{
    return strcmp(host, "localhost") == 0 || strncmp(host, "127.", 4) == 0 ||
           strcmp(host, "[::1]") == 0;
}

/* The variable of the environment that names a proxy for the URL (libcurl-env(3)); NULL: none does,
 * or the reader is on this host, where a proxy would look for it on its own. */
static const char *proxy_variable(const char *url)
{
    static const char *const plain[] = {"http_proxy", "all_proxy", "ALL_PROXY", NULL};
    static const char *const secure[] = {"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY",
                                         NULL};
    const char *const *names = strncmp(url, "https:", 6) == 0 ? secure : plain;
    CURLU *parts = curl_url();
    char *host = NULL;
    bool local = parts && curl_url_set(parts, CURLUPART_URL, url, 0) == CURLUE_OK &&
                 curl_url_get(parts, CURLUPART_HOST, &host, 0) == CURLUE_OK && is_loopback(host);
    curl_free(host);
    curl_url_cleanup(parts);
    for (; !local && *names; names++) {
        const char *value = getenv(*names);
        if (value && *value)
            return *names;
    }
    return NULL;
}

static CURLcode transfer(const struct cli *cli, CURL *curl, const char *url, struct buf *answer)
{
    char agent[] = "berth/" BERTH_VERSION;
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, CONNECT_LIMIT_S);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, cli->hurries ? HURRY_LIMIT_S : ANSWER_LIMIT_S);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, agent);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_bytes);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
    const char *tls_ca = config_string(cli->cfg, "reader.tls_ca");
    if (tls_ca)
        curl_easy_setopt(curl, CURLOPT_CAINFO, tls_ca);
    if (!proxy_variable(url))
        curl_easy_setopt(curl, CURLOPT_PROXY, ""); /* none, whatever the environment says */
    return curl_easy_perform(curl);
}

/* How `berth` shows what there is of a kind of thing; the reader names its own routes. */
static const struct {
    const char *route, *thing, *list;
} kinds[] = {
    {"/v1/machines/", "machine", "`berth machine list --all` lists them"},
    {"/v1/availability", "such machine", "`berth machine list --all` lists them"},
    {"/v1/bookings/", "booking", "`berth list --all` lists them"},
    {"/v1/series/", "series", "`berth list --all -o tsv` has their ids"},
    {"/v1/decisions/", "decision",
     "no request with this id was decided yet, or not for this client"},
};

/* Reports that the reader does not have what was asked for. */
static int report_missing(const struct cli *cli, const char *path, size_t kind)
{
    struct failure f;
    int name_len = 0;
    const char *last = path + strlen(kinds[kind].route);
    size_t len = strcspn(last, "/?");
    if (strcmp(kinds[kind].thing, "decision") == 0 && last[len] == '/') {
        last += len + 1;
        len = strcspn(last, "/?");
    }
    char *name = curl_easy_unescape(NULL, last, (int)len, &name_len);
    failure_set(&f, ERR_NOT_FOUND, "there is no %s%s%s; %s", kinds[kind].thing,
                name_len > 0 ? " " : "", name ? name : "", kinds[kind].list);
    curl_free(name);
    return cli_fail(cli, &f);
}

/* Reports an answer that is not 200. With -o json, prints the reader's problem object as it is. */
static int report(const struct cli *cli, long status, const json_t *answer, const char *url)
{
    int code = status == 404   ? EXIT_CODE_NOT_FOUND
               : status == 400 ? EXIT_CODE_USAGE
                               : EXIT_CODE_FAILURE;
    const char *detail = member_text(answer, "detail"), *path = strstr(url, "/v1/");
    for (size_t i = 0; detail && status == 404 && path && i < sizeof(kinds) / sizeof(kinds[0]);
         i++) {
        if (strncmp(path, kinds[i].route, strlen(kinds[i].route)) == 0)
            return report_missing(cli, path, i);
    }
    if (!detail) {
        struct failure f;
        failure_set(&f, status == 404 ? ERR_NOT_FOUND : ERR_FAILED,
                    "%s answered with status %ld: is it Berth's reader?", url, status);
        return cli_fail(cli, &f);
    }
    if (cli->json_problems) {
        cli_print_json(answer);
    } else {
        print_line(stderr, "berth: %s", detail);
    }
    return code;
}

/* GETs a URL; `quiet`: without reporting why there is no answer. */
static int get(const struct cli *cli, const char *url, bool quiet, json_t **out, char **bytes_out)
{
    struct buf answer = {0};
    struct failure f;
    long status = 0;
    int code;
    CURL *curl = curl_easy_init();
    CURLcode result = curl ? transfer(cli, curl, url, &answer) : CURLE_OUT_OF_MEMORY;
    json_t *json = NULL;
    if (curl)
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    if (result == CURLE_OK)
        json = json_loadb(answer.data ? answer.data : "", answer.len, 0, NULL);
    if (result != CURLE_OK) {
        const char *proxy = proxy_variable(url);
        failure_set(
            &f, ERR_FAILED,
            "no answer from the reader at %s: %s; is it running, and reader.url right?%s%s%s", url,
            curl_easy_strerror(result), proxy ? " The variable " : "", proxy ? proxy : "",
            proxy ? " names a proxy: if the reader needs none, add its host to no_proxy." : "");
        code = quiet ? EXIT_CODE_FAILURE : cli_fail(cli, &f);
    } else if (status != 200) {
        code = quiet ? EXIT_CODE_FAILURE : report(cli, status, json, url);
    } else if (!json) {
        failure_set(&f, ERR_FAILED, "%s did not answer with JSON: is it Berth's reader?", url);
        code = quiet ? EXIT_CODE_FAILURE : cli_fail(cli, &f);
    } else {
        code = EXIT_CODE_OK;
        *out = json_incref(json);
        if (bytes_out)
            *bytes_out = xstrndup(answer.data, answer.len);
    }
    json_decref(json);
    curl_easy_cleanup(curl);
    buf_fini(&answer);
    return code;
}

/* reader.url and the path; caller frees. */
__attribute__((format(printf, 2, 0))) static char *url_of(const char *base, const char *path,
                                                          va_list args)
{
    struct buf url = {0};
    size_t len = strlen(base);
    while (len > 0 && base[len - 1] == '/')
        len--;
    buf_append(&url, base, len);
    buf_vprintf(&url, path, args);
    return url.data;
}

int cli_get(const struct cli *cli, json_t **out, char **bytes_out, const char *path, ...)
{
    va_list args;
    va_start(args, path);
    char *url = url_of(config_string(cli->cfg, "reader.url"), path, args);
    va_end(args);
    int code = get(cli, url, false, out, bytes_out);
    free(url);
    return code;
}

bool cli_get_if_there(const struct cli *cli, json_t **out, char **bytes_out, const char *path, ...)
{
    va_list args;
    va_start(args, path);
    char *url = url_of(config_string(cli->cfg, "reader.url"), path, args);
    va_end(args);
    bool there = get(cli, url, true, out, bytes_out) == EXIT_CODE_OK;
    free(url);
    return there;
}

char *cli_escape(const char *text)
{
    char *escaped = curl_easy_escape(NULL, text, 0), *copy;
    if (!escaped)
        abort(); /* out of memory */
    copy = xstrdup(escaped);
    curl_free(escaped);
    return copy;
}

void cli_add_parameter(struct buf *query, const char *name, const char *value)
{
    if (!value)
        return;
    char *escaped = cli_escape(value);
    buf_printf(query, "&%s=%s", name, escaped);
    free(escaped);
}

void cli_add_time(struct buf *query, const char *name, int64_t ms)
{
    char text[TIMETEXT_LEN];
    cli_add_parameter(query, name, ms == 0 ? NULL : timetext_format(ms, text));
}

void cli_add_labels(struct buf *query, const struct cli *cli)
{
    for (size_t i = 0; i < cli->after.given_count; i++) {
        const struct option_given *given = &cli->after.given[i];
        if (strcmp(given->spec->name, "label") == 0)
            cli_add_parameter(query, "label", given->value);
    }
}
