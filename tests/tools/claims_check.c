/* Prints the codec's verdict on token payloads, one JSON line each, for tests in other languages:
 *   {"file": "…", "valid": true, "content_sha256": "…"}
 *   {"file": "…", "valid": true, "content_sha256": "…", "windows": ["START/END", …]}  (a series)
 *   {"file": "…", "valid": false, "pointer": "/request/gpus", "expected": "…"}
 *
 * usage: claims_check FILE...    each file is a payload
 *        claims_check -          each line of standard input is a payload
 *
 * A wrong iss or aud makes a payload invalid here, as in the schema, although decisions have
 * separate reasons for them. Exit status 1 if a file cannot be read, else 0. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"
#include "lib/base/timetext.h"
#include "lib/codec/claims.h"
#include "lib/codec/jsonout.h"

static void put_fault(struct jsonout *out, const char *pointer, const char *expected)
{
    JSONOUT_RAW(out, "\"valid\":false,\"pointer\":");
    jsonout_string(out, pointer);
    JSONOUT_RAW(out, ",\"expected\":");
    jsonout_string(out, expected);
}

static void put_windows(struct jsonout *out, const struct booking_create *create)
{
    JSONOUT_RAW(out, ",\"windows\":[");
    for (size_t i = 0; i < create->window_count; i++) {
        char start[TIMETEXT_LEN], end[TIMETEXT_LEN], window[2 * TIMETEXT_LEN];
        timetext_format(create->windows[i].start_ms, start);
        timetext_format(create->windows[i].end_ms, end);
        snprintf(window, sizeof(window), "%s/%s", start, end);
        if (i > 0)
            JSONOUT_RAW(out, ",");
        jsonout_string(out, window);
    }
    JSONOUT_RAW(out, "]");
}

static void check(const char *file, const char *payload, size_t len)
{
    struct arena *arena = arena_new();
    struct claims claims;
    claims_decode(payload, len, arena, &claims);
    struct jsonout out;
    jsonout_init(&out, arena, 256);
    JSONOUT_RAW(&out, "{");
    if (file) {
        JSONOUT_RAW(&out, "\"file\":");
        jsonout_string(&out, file);
        JSONOUT_RAW(&out, ",");
    }
    if (claims.pointer) {
        put_fault(&out, claims.pointer, claims.expected);
    } else if (!claims.issuer) {
        put_fault(&out, "/iss", "a client's name");
    } else if (!claims.audience) {
        put_fault(&out, "/aud", "a farm's name");
    } else {
        JSONOUT_RAW(&out, "\"valid\":true,\"content_sha256\":");
        jsonout_hex(&out, claims.content_sha256, sizeof(claims.content_sha256));
        if (claims.type == REQUEST_BOOKING_CREATE && claims.request.booking_create.window_count > 0)
            put_windows(&out, &claims.request.booking_create);
    }
    JSONOUT_RAW(&out, "}");
    puts(jsonout_finish(&out));
    arena_free(arena);
}

static bool check_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        fprintf(stderr, "claims_check: open %s: %s\n", path, strerror(errno));
        return false;
    }
    struct buf text = {0};
    char piece[16384];
    size_t len;
    while ((len = fread(piece, 1, sizeof(piece), file)) > 0)
        buf_append(&text, piece, len);
    fclose(file);
    check(path, text.data ? text.data : "", text.len);
    buf_fini(&text);
    return true;
}

static void check_lines(void)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t len;
    while ((len = getline(&line, &room, stdin)) > 0)
        check(NULL, line, (size_t)len);
    free(line);
}

int main(int argc, char **argv)
{
    bool good = true;
    if (argc < 2) {
        fprintf(stderr, "usage: claims_check FILE... | claims_check - <lines\n");
        return 2;
    }
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-") == 0) {
            check_lines();
        } else if (!check_file(argv[i])) {
            good = false;
        }
    }
    return good ? 0 : 1;
}
