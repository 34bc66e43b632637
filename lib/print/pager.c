#include "lib/print/pager.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t pager = -1;

static void run_pager(const char *command, const int ends[2])
{
    dup2(ends[0], STDIN_FILENO);
    close(ends[0]);
    close(ends[1]);
    setenv("LESS", "FRX", 0);
    signal(SIGPIPE, SIG_DFL);
    execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(127);
}

void pager_begin(void)
{
    const char *command = getenv("PAGER");
    int ends[2];
    if (pager >= 0 || !command || !*command || strcmp(command, "cat") == 0 ||
        !isatty(STDOUT_FILENO) || fflush(stdout) != 0 || pipe(ends) != 0)
        return;
    pager = fork();
    if (pager == 0)
        run_pager(command, ends);
    if (pager > 0) {
        /* Who leaves the pager early ends the output, not the program. */
        signal(SIGPIPE, SIG_IGN);
        dup2(ends[1], STDOUT_FILENO);
    }
    close(ends[0]);
    close(ends[1]);
}

void pager_end(void)
{
    if (pager < 0)
        return;
    fflush(stdout);
    clearerr(stdout);
    /* Closes the pager's input. */
    int nowhere = open("/dev/null", O_WRONLY);
    if (nowhere < 0) {
        close(STDOUT_FILENO);
    } else {
        dup2(nowhere, STDOUT_FILENO);
        close(nowhere);
    }
    while (waitpid(pager, NULL, 0) < 0 && errno == EINTR)
        continue;
    pager = -1;
}
