/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lines on the console, in the format of the iotsec program: one event is one line, `name key=value ...`; whatever a
 * peer puts into a value, the line stays one line and splits at its spaces. Commands are lines too.
 */
#ifndef MC1322X_CONSOLE_H
#define MC1322X_CONSOLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <iotsec/hal.h>
#include <iotsec/status.h>

#define CONSOLE_LINE_MAX 200u /* characters of a command */

void out_begin(const char *name);
/* Bare where it can stand so: letters, digits and ._:/@+,[]%*- ; quoted and escaped otherwise. */
void out_bytes(const char *key, const void *value, size_t len);
void out_word(const char *key, const char *value);
/* Always quoted; what is not printable ASCII is escaped. */
void out_quoted(const char *key, const void *value, size_t len);
void out_uint(const char *key, uint32_t value);
void out_hex(const char *key, uint32_t value);
void out_octets(const char *key, const uint8_t *value, size_t len);
void out_addr(const char *key, const struct iotsec_addr *value); /* [fd00::2]:5684 */
void out_ip(const char *key, const uint8_t ip[16]);
void out_reason(const char *key, enum iotsec_status value);
void out_end(void);
/* `refused what=COMMAND reason=NAME`, the answer to a command that cannot be carried out. */
void out_refused(const char *what, const char *reason);

/*
 * A command that has come: its first word, ended by a zero, with the rest behind it for console_word; or NULL. A line that
 * is too long is refused as a whole, and so is one with bytes that are no printable ASCII, or of which the UART has lost
 * some: an empty one is returned for it. One line a turn, or who types faster than answers go out keeps the board from its
 * radio and its watchdog. Valid until the next call.
 */
char *console_line(void);

/* The next word of `*rest`, ended by a zero; empty at the end. `*rest` goes on behind it. */
char *console_word(char **rest);

/* Whether two strings are the same. (The C library's strcmp is fast, and large.) */
bool console_is(const char *one, const char *other);

/* A decimal number without a sign. */
bool console_number(const char *text, uint32_t max, uint32_t *value);
/* An even number of hexadecimal digits: how many bytes, at most `size`; 0: it is none. */
size_t console_octets(const char *text, uint8_t *bytes, size_t size);
/* An IPv6 address without IPv4 in it, with at most one `::`. */
bool console_ip(const char *text, uint8_t ip[16]);

#endif
