/* Preloaded into a program: shifts its wall clock by $WRONG_CLOCK_S seconds. Clock reads return the
 * shifted time; waits until a shifted time last as long as intended. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>

static time_t offset_s(void)
{
    const char *text = getenv("WRONG_CLOCK_S");
    return text ? (time_t)strtoll(text, NULL, 10) : 0;
}

static struct timespec to_kernel(const struct timespec *when)
{
    return (struct timespec){when->tv_sec - offset_s(), when->tv_nsec};
}

int clock_gettime(clockid_t id, struct timespec *out)
{
    int (*real)(clockid_t, struct timespec *);
    *(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(id, out);
    if (result == 0 && id == CLOCK_REALTIME)
        out->tv_sec += offset_s();
    return result;
}

int timespec_get(struct timespec *out, int base)
{
    return base == TIME_UTC && clock_gettime(CLOCK_REALTIME, out) == 0 ? base : 0;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0)
        return -1;
    out->tv_sec = now.tv_sec;
    out->tv_usec = (suseconds_t)(now.tv_nsec / 1000);
    return 0;
}

time_t time(time_t *out)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out)
        *out = now.tv_sec;
    return now.tv_sec;
}

/* Java's waits are on the monotonic clock, which is right. */
#ifndef MONOTONIC_WAITS
/* Not for conditions on the monotonic clock: neither we nor the libraries that we use have any. */
int pthread_cond_timedwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict when)
{
    int (*real)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    struct timespec until = to_kernel(when);
    *(void **)&real = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
    return real(cond, mutex, &until);
}

int cnd_timedwait(cnd_t *restrict cond, mtx_t *restrict mutex, const struct timespec *restrict when)
{
    int (*real)(cnd_t *, mtx_t *, const struct timespec *);
    struct timespec until = to_kernel(when);
    *(void **)&real = dlsym(RTLD_NEXT, "cnd_timedwait");
    return real(cond, mutex, &until);
}
#endif
