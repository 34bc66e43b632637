/* How a program ends after a signal, whatever it waits for: a server that does not answer can hold a call
 * of a library for longer than a supervisor waits. */
#ifndef BERTH_LIB_BASE_STOP_H
#define BERTH_LIB_BASE_STOP_H

/* From a handler of a signal after which the program ends by itself, or main: if the program has not
 * ended after STOP_LIMIT_MS, it says so on stderr and ends with that exit code, without cleaning up.
 * The limit begins with the first call. */
void stop_soon(int exit_code);

/* Process 1 of a container ignores signals that have no handler: gives SIGTERM and SIGINT one that ends
 * the program as the default does. Does nothing in any other process. To be called first in main. */
void stop_as_process_1(void);

#endif
