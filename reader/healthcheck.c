#include "reader/healthcheck.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "lib/base/address.h"

#define ANSWER_WITHIN_S 3

static enum err ask(int fd, struct failure *f)
{
    static const char request[] = "GET /healthz HTTP/1.0\r\n\r\n";
    char answer[64] = "";
    if (send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) != (ssize_t)(sizeof(request) - 1))
        return failure_set(f, ERR_IO, "ask /healthz: %s", strerror(errno));
    size_t len = 0;
    while (len < sizeof(answer) - 1) {
        ssize_t got = recv(fd, answer + len, sizeof(answer) - 1 - len, 0);
        if (got <= 0)
            break;
        len += (size_t)got;
    }
    answer[len] = '\0';
    const char *status = strchr(answer, ' ');
    if (!status || strncmp(status, " 200", 4) != 0)
        return failure_set(f, ERR_FAILED, "/healthz did not answer 200");
    return ERR_OK;
}

enum err healthcheck(const char *listen_at, struct failure *f)
{
    union address address;
    struct timeval timeout = {.tv_sec = ANSWER_WITHIN_S};
    if (!address_parse(listen_at, &address))
        return failure_set(f, ERR_CONFIG, "reader.listen: %s is no address and port", listen_at);
    address_loopback(&address);
    int fd = socket(address.any.sa_family, SOCK_STREAM, 0);
    if (fd < 0)
        return failure_set(f, ERR_IO, "socket: %s", strerror(errno));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
    enum err err = ERR_OK;
    if (connect(fd, &address.any, address_len(&address)) != 0) {
        err = failure_set(f, ERR_IO, "connect to %s: %s", listen_at, strerror(errno));
    } else {
        err = ask(fd, f);
    }
    close(fd);
    return err;
}
