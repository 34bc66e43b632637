/* $PAGER for long output to a terminal. */
#ifndef BERTH_LIB_PRINT_PAGER_H
#define BERTH_LIB_PRINT_PAGER_H

/* If stdout is a terminal and PAGER is set, starts that command (by the shell) and sends all later
 * output to it. Otherwise, and if it does not start, does nothing. LESS is FRX for it unless set:
 * less then ends by itself when everything fits the screen. Not for threads. */
void pager_begin(void);
/* Sends what is buffered and waits for the end of the pager. A pager that was left early is no
 * failure to write. Does nothing without a pager. */
void pager_end(void);

#endif
