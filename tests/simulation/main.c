/* simulate: runs seeds of the simulation in several processes, and says which fail. */
#include <getopt.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/simulation/runner.h"

static int usage(void)
{
    fprintf(stderr,
            "usage: simulate [--first N] [--seeds N] [--jobs N] [--stop] [-q]\n"
            "       simulate --seed N [-q]\n"
            "--stop ends with the first failure; --jobs is the number of processes (default: one\n"
            "for each processor). The last line of the first form is one JSON object.\n");
    return 2;
}

/* 0 is no number of anything here: a slip of the pen must not run nothing and be content. */
static uint64_t number(const char *text)
{
    char *end;
    uint64_t value = strtoull(text, &end, 10);
    return *end ? 0 : value;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"first", required_argument, NULL, 'f'}, {"seeds", required_argument, NULL, 'n'},
        {"seed", required_argument, NULL, 's'},  {"jobs", required_argument, NULL, 'j'},
        {"stop", no_argument, NULL, 'x'},        {0}};
    struct run_settings settings = {.first = 1, .count = 10000};
    bool one = false, quiet = false;
    for (int c; (c = getopt_long(argc, argv, "q", options, NULL)) != -1;) {
        if (c == 'f' || c == 's') {
            settings.first = number(optarg);
        } else if (c == 'n') {
            settings.count = number(optarg);
        } else if (c == 'j') {
            settings.jobs = (int)strtol(optarg, NULL, 10);
        } else if (c == 'x') {
            settings.stop = true;
        } else if (c == 'q') {
            quiet = true;
        } else {
            return usage();
        }
        one = one || c == 's';
    }
    if (optind != argc || settings.first == 0 || settings.count == 0)
        return usage();
    return one ? run_one(settings.first, !quiet) : run_many(&settings);
}
