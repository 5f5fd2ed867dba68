/* SPDX-License-Identifier: BSD-3-Clause */
/* emulate [options] SCENARIO: runs one scenario (scenario.c has the language) and prints its story. 0: all went as expected. */
#include "emulator.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static int usage(void)
{
    fputs("usage: emulate [--folder DIR] [--pcap FILE] [--keys FILE] [--seed N] [--jobs N]\n"
          "               [--set NAME=VALUE]... [--quiet] SCENARIO\n"
          "  --folder  where the scenario's flash files are\n"
          "  --pcap    writes what was on the air\n"
          "  --keys    writes the AES keys that the boards use: one of them opens the frames in the capture\n"
          "  --seed    instead of the scenario's\n"
          "  --jobs    copies at once where power cuts are enumerated (2)\n"
          "  --set     the value of a name in the scenario\n"
          "  --quiet   only the result\n", stderr);
    return 2;
}

int main(int argc, char **argv)
{
    struct scenario_options options = {.seed = -1, .jobs = 2};
    struct timespec before, after;
    int i, result;

    for (i = 1; i < argc && strncmp(argv[i], "--", 2) == 0; i++) {
        if (strcmp(argv[i], "--quiet") == 0) {
            options.quiet = true;
        } else if (i + 1 == argc) {
            return usage();
        } else if (strcmp(argv[i], "--folder") == 0) {
            options.folder = argv[++i];
        } else if (strcmp(argv[i], "--pcap") == 0) {
            options.pcap = argv[++i];
        } else if (strcmp(argv[i], "--keys") == 0) {
            options.keys = argv[++i];
        } else if (strcmp(argv[i], "--seed") == 0) {
            options.seed = strtoll(argv[++i], NULL, 0);
        } else if (strcmp(argv[i], "--set") == 0 && options.set_count < 16) {
            options.set[options.set_count++] = argv[++i];
        } else if (strcmp(argv[i], "--jobs") == 0) {
            options.jobs = (unsigned)strtoul(argv[++i], NULL, 0);
        } else {
            return usage();
        }
    }
    if (i + 1 != argc) {
        return usage();
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    clock_gettime(CLOCK_MONOTONIC, &before);
    result = scenario_run(argv[i], &options, stdout);
    clock_gettime(CLOCK_MONOTONIC, &after);
    /* Not on stdout: that is the same for each run. */
    fprintf(stderr, "emulate: %.2f s\n",
            (double)(after.tv_sec - before.tv_sec) + (double)(after.tv_nsec - before.tv_nsec) / 1e9);
    return result;
}
