#include "lib/base/stop.h"

#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

/* A supervisor may expect an end within 2 s. */
#define STOP_LIMIT_MS 1800

static volatile sig_atomic_t stopping, code;

static void end_now(int signal_number)
{
    static const char text[] = "level=warn msg=\"ended at once: a wait outlasted the signal\"\n";
    (void)signal_number;
    ssize_t written = write(STDERR_FILENO, text, sizeof(text) - 1);
    (void)written;
    _exit(code);
}

void stop_soon(int exit_code)
{
    if (stopping)
        return;
    stopping = 1;
    code = exit_code;
    struct sigaction action = {.sa_handler = end_now};
    struct itimerval limit = {
        .it_value = {STOP_LIMIT_MS / 1000, (suseconds_t)(STOP_LIMIT_MS % 1000) * 1000}};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &limit, NULL); /* a system call, safe in handlers on Linux */
}

static void end_by(int signal_number)
{
    _exit(128 + signal_number);
}

void stop_as_process_1(void)
{
    struct sigaction action = {.sa_handler = end_by};
    if (getpid() != 1)
        return;
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
}
