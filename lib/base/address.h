/* Socket addresses from text: "127.0.0.1:8080", "[::1]:8080". */
#ifndef BERTH_LIB_BASE_ADDRESS_H
#define BERTH_LIB_BASE_ADDRESS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

bool address_parse(const char *text, union address *out);
/* Only programs of this host can connect to it. */
bool address_is_loopback(const union address *address);
/* Turns a wildcard address into loopback, for a client on the same host. */
void address_loopback(union address *address);
socklen_t address_len(const union address *address);

#endif
