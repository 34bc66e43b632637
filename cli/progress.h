/* The progress of a long command on stderr: a bar on a terminal, otherwise a line every few
 * seconds. */
#ifndef BERTH_CLI_PROGRESS_H
#define BERTH_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct cli_progress {
    bool quiet, terminal;
    bool drawn; /* a bar is on the terminal's line */
    int64_t begun_ms, next_ms;
};

/* The counts so far. */
struct cli_progress_state {
    uint64_t sent, done;
    int64_t input_read, input_size; /* bytes; size 0: not known */
};

void cli_progress_begin(struct cli_progress *progress, bool quiet);
/* Draws when an interval has passed; cheap to call. */
void cli_progress_update(struct cli_progress *progress, const struct cli_progress_state *state);
/* Removes the bar. Returns the milliseconds since the beginning. */
int64_t cli_progress_end(struct cli_progress *progress);

#endif
