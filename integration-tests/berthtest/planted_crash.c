/* Preloaded into a worker: simulates a decoder bug that crashes on payloads with the text
 * $PLANTED_CRASH. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

void *json_loadb(const char *bytes, size_t len, size_t flags, void *error);

void *json_loadb(const char *bytes, size_t len, size_t flags, void *error)
{
    void *(*real)(const char *, size_t, size_t, void *);
    const char *text = getenv("PLANTED_CRASH");
    if (text && memmem(bytes, len, text, strlen(text)))
        abort();
    *(void **)&real = dlsym(RTLD_NEXT, "json_loadb");
    return real(bytes, len, flags, error);
}
