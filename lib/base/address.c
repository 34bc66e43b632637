#include "lib/base/address.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool address_parse(const char *text, union address *out)
{
    char host[64];
    bool v6 = *text == '[';
    const char *begin = text + v6, *colon = strrchr(text, ':');
    const char *end = !colon || !v6 ? colon : colon > begin && colon[-1] == ']' ? colon - 1 : NULL;
    *out = (union address){0};
    if (!end || (size_t)(end - begin) >= sizeof(host))
        return false;
    char *rest;
    unsigned long port = strtoul(colon + 1, &rest, 10);
    if (!isdigit((unsigned char)colon[1]) || *rest != '\0' || port > UINT16_MAX)
        return false;
    snprintf(host, sizeof(host), "%.*s", (int)(end - begin), begin);
    if (v6) {
        out->v6.sin6_family = AF_INET6;
        out->v6.sin6_port = htons((uint16_t)port);
        return inet_pton(AF_INET6, host, &out->v6.sin6_addr) == 1;
    }
    out->v4.sin_family = AF_INET;
    out->v4.sin_port = htons((uint16_t)port);
    return inet_pton(AF_INET, host, &out->v4.sin_addr) == 1;
}

bool address_is_loopback(const union address *address)
{
    if (address->any.sa_family == AF_INET)
        return ntohl(address->v4.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    return IN6_IS_ADDR_LOOPBACK(&address->v6.sin6_addr);
}

void address_loopback(union address *address)
{
    if (address->any.sa_family == AF_INET && address->v4.sin_addr.s_addr == htonl(INADDR_ANY)) {
        address->v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    } else if (address->any.sa_family == AF_INET6 &&
               memcmp(&address->v6.sin6_addr, &in6addr_any, sizeof(in6addr_any)) == 0) {
        address->v6.sin6_addr = in6addr_loopback;
    }
}

socklen_t address_len(const union address *address)
{
    return address->any.sa_family == AF_INET6 ? sizeof(address->v6) : sizeof(address->v4);
}
