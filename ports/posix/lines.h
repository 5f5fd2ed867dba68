/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands on standard input: one line each. */
#ifndef IOTSEC_POSIX_LINES_H
#define IOTSEC_POSIX_LINES_H

#include <stdbool.h>
#include <stddef.h>

#define LINE_MAX_BYTES 4096

struct lines {
    size_t len;
    bool too_long;
    bool over; /* the input is at its end */
    char line[LINE_MAX_BYTES];
};

/* Reads what there is and hands every whole line to `run`, which may change it; one that is none is refused. Stops when `*ended`. */
void lines_read(struct lines *lines, void (*run)(void *user, char *line), void *user, const bool *ended);
/* Cuts the next word off; "" at the end. */
char *lines_word(char **rest);
/* `refused what=... reason=...` */
void out_refused(const char *command, const char *reason);

#endif
