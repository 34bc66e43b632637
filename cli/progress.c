#include "cli/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/clock.h"

#define FIRST_MS      300
#define REDRAW_MS     100
#define LINE_EVERY_MS 5000
#define BAR_WIDTH     30

void cli_progress_begin(struct cli_progress *progress, bool quiet)
{
    int64_t now_ms = clock_mono_ms();
    bool terminal = isatty(STDERR_FILENO);
    *progress = (struct cli_progress){.quiet = quiet,
                                      .terminal = terminal,
                                      .begun_ms = now_ms,
                                      .next_ms = now_ms + (terminal ? FIRST_MS : LINE_EVERY_MS)};
}

/* The fraction of the input that is done; -1: its size is not known. */
static double fraction(const struct cli_progress_state *state)
{
    if (state->input_size <= 0 || state->sent == 0)
        return -1;
    double read = (double)state->input_read / (double)state->input_size;
    double all = read * (double)state->done / (double)state->sent;
    return all > 1 ? 1 : all;
}

static void draw_bar(double part)
{
    char bar[BAR_WIDTH + 1];
    int full = (int)(part * BAR_WIDTH);
    memset(bar, ' ', BAR_WIDTH);
    memset(bar, '#', (size_t)full);
    bar[BAR_WIDTH] = '\0';
    fprintf(stderr, "[%s] %3d%% ", bar, (int)(part * 100));
}

void cli_progress_update(struct cli_progress *progress, const struct cli_progress_state *state)
{
    int64_t now_ms = clock_mono_ms();
    if (progress->quiet || now_ms < progress->next_ms)
        return;
    progress->next_ms = now_ms + (progress->terminal ? REDRAW_MS : LINE_EVERY_MS);
    double seconds = (double)(now_ms - progress->begun_ms) / 1000;
    double part = fraction(state);
    fputs(progress->terminal ? "\r" : "berth: ", stderr);
    if (progress->terminal && part >= 0)
        draw_bar(part);
    fprintf(stderr, "%" PRIu64 " sent, %" PRIu64 " done, %.0f/s%s", state->sent, state->done,
            (double)state->done / seconds, progress->terminal ? "\033[K" : "\n");
    progress->drawn = progress->terminal;
}

int64_t cli_progress_end(struct cli_progress *progress)
{
    if (progress->drawn)
        fputs("\r\033[K", stderr);
    progress->drawn = false;
    return clock_mono_ms() - progress->begun_ms;
}
