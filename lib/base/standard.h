/* What programs set up first: their standard descriptors 0 to 2, and who may see their memory. */
#ifndef BERTH_LIB_BASE_STANDARD_H
#define BERTH_LIB_BASE_STANDARD_H

#include "lib/base/err.h"

/* Opens those that the caller closed, so that no socket or file gets their number and no output ends
 * up in it. To be called first in main. What is opened is /dev/null for the other direction: reading
 * from it, or writing to it, fails instead of passing unnoticed. Also calls stop_as_process_1. */
void standard_open(void);
/* Keeps the memory of a process that holds private keys out of core dumps, and from debuggers of the
 * same user. A failure changes nothing else, so there is none. */
void standard_hide_memory(void);
/* Sends what is buffered of stdout. ERR_IO: something printed since the start could not be written. */
enum err standard_flush(struct failure *f);

#endif
