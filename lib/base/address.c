#include "lib/base/address.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

bool address_parse(const char *text, union address *out)
{
    char host[64] = "";
    unsigned port = 0;
    *out = (union address){0};
    if (sscanf(text, "[%63[^]]]:%u", host, &port) == 2 && port <= UINT16_MAX) {
        out->v6.sin6_family = AF_INET6;
        out->v6.sin6_port = htons((uint16_t)port);
        return inet_pton(AF_INET6, host, &out->v6.sin6_addr) == 1;
    }
    if (sscanf(text, "%63[^:]:%u", host, &port) == 2 && port <= UINT16_MAX) {
        out->v4.sin_family = AF_INET;
        out->v4.sin_port = htons((uint16_t)port);
        return inet_pton(AF_INET, host, &out->v4.sin_addr) == 1;
    }
    return false;
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
