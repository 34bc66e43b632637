/* The machine's clocks. No decision reads them (architecture.md): they time retries, waits and
 * logs. */
#ifndef BERTH_LIB_BASE_CLOCK_H
#define BERTH_LIB_BASE_CLOCK_H

#include <stdint.h>

/* Milliseconds since the Unix epoch. Can jump. */
int64_t clock_wall_ms(void);
/* Milliseconds since some moment; never goes back. For intervals and deadlines. */
int64_t clock_mono_ms(void);
int64_t clock_mono_us(void);
/* Sleeps that long or until a signal arrives: callers check their stop flag. Does nothing unless ms
 * is positive. */
void clock_sleep_ms(int64_t ms);

#endif
