/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the program says. One event is one line, `name key=value ...`; whatever a peer or an operator
 * puts into a value, the line stays one line and splits at its spaces.
 *
 * One line is under construction at a time; it reaches the stream in one write.
 */
#ifndef IOTSEC_POSIX_OUTPUT_H
#define IOTSEC_POSIX_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <iotsec/hal.h>
#include <iotsec/stats.h>
#include <iotsec/status.h>

/* Exit statuses. */
#define EXIT_NAMED_ERROR 1 /* `error: NAME: sentence` was printed */
#define EXIT_USAGE 2       /* the command line itself is wrong */

/* Where events go from now on; standard output at first. */
void out_to(FILE *stream);

void out_begin(const char *name);
/* A value that stands bare where it can: letters, digits and ._:/@+,[]%*- ; quoted and escaped otherwise. */
void out_bytes(const char *key, const void *value, size_t len);
void out_word(const char *key, const char *value);
/* A value that is always quoted. */
void out_quoted(const char *key, const void *value, size_t len);
void out_uint(const char *key, uint64_t value);
void out_hex(const char *key, uint32_t value);
/* Every byte as two hexadecimal digits. */
void out_octets(const char *key, const uint8_t *value, size_t len);
void out_addr(const char *key, const struct iotsec_addr *value);
void out_reason(const char *key, enum iotsec_status value);
void out_end(void);

/* `stats drop=NAME ...` with every counter that is not zero. */
void out_stats(const char *of, const struct iotsec_stats *stats);

/* Lines that strangers can cause: a flood of them must not fill the disk. */
#define FLOOD_LINES_A_SECOND 20
struct flood {
    uint32_t since; /* start of the second that is counted */
    unsigned lines; /* wanted in it */
};
/* Whether one more may be printed. Says how many were not. */
bool out_may(struct flood *flood, uint32_t now_ms);

/* Whether bytes are UTF-8 text of printable characters, so that they can be typed and shown as they are. */
bool text_is_printable(const void *text, size_t len);

/* Prints `error: NAME: sentence` on standard error; returns EXIT_NAMED_ERROR. */
int fail(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same with the name USAGE; returns EXIT_USAGE. */
int fail_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Prints `warning: NAME: sentence`. */
void warn(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* fail() with a status' name and a sentence that says what it means to the operator. */
int fail_status(enum iotsec_status status, const char *doing);

/* Flushes; an output that was lost (a full disk) makes `status` a failure. */
int out_finish(int status);

#endif
