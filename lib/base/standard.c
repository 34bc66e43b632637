#include "lib/base/standard.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "lib/base/stop.h"

void standard_open(void)
{
    stop_as_process_1();
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) != -1 || errno != EBADF)
            continue;
        /* The lowest free number is given: all below are open. */
        if (open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
            abort();
    }
}

void standard_hide_memory(void)
{
    /* The limit is for dumps into files; those into a program, as systemd-coredump, ask only whether
     * the process can be dumped. The leak check of AddressSanitizer is a debugger. */
    const struct rlimit none = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &none);
#ifndef __SANITIZE_ADDRESS__
    (void)prctl(PR_SET_DUMPABLE, 0);
#endif
}

enum err standard_flush(struct failure *f)
{
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return ERR_OK;
    return failure_set(f, ERR_IO, "cannot write the output%s%s", errno ? ": " : "",
                       errno ? strerror(errno) : "");
}
