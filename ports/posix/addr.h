/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Addresses as people write them: 127.0.0.1:5684, [::1]:5684, [fe80::1%eth0]:5684. Literals only; IPv4
 * is held as a mapped IPv6 address, and so one socket serves both.
 */
#ifndef IOTSEC_POSIX_ADDR_H
#define IOTSEC_POSIX_ADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <netinet/in.h>

#include <iotsec/hal.h>

/* Room for the longest text: brackets, a scoped address, a port. */
#define ADDR_TEXT_BYTES 96

/*
 * Reads address and port. Port 0 is taken only where a listener may have any. NULL, or a sentence
 * that says what is wrong; `addr` is then unchanged.
 */
const char *addr_parse(const char *text, bool port_0, struct iotsec_addr *addr);
/* Reads an address alone; the port is set to 0. */
const char *addr_parse_ip(const char *text, struct iotsec_addr *addr);
/* Writes what addr_parse reads. */
void addr_format(const struct iotsec_addr *addr, char text[ADDR_TEXT_BYTES]);
/* Writes the address without port and brackets. */
void addr_format_ip(const struct iotsec_addr *addr, char text[ADDR_TEXT_BYTES]);

bool addr_is_ipv4(const struct iotsec_addr *addr);
bool addr_is_link_local(const struct iotsec_addr *addr);
bool addr_is_unspecified(const struct iotsec_addr *addr);

/* Reads an IPv6 prefix of 64 bits, fd01::/64; nothing may stand behind them. False: it is none. */
bool prefix_parse(const char *text, uint8_t prefix[8]);
/* Writes what prefix_parse reads; "none" for zeros. */
void prefix_format(const uint8_t prefix[8], char text[ADDR_TEXT_BYTES]);

/* To and from the socket's form. An interface number is kept for link-local addresses only: two ends
 * that differ in it alone would otherwise be two peers. */
void addr_to_socket(const struct iotsec_addr *addr, struct sockaddr_in6 *to);
void addr_from_socket(const struct sockaddr_in6 *from, struct iotsec_addr *addr);

/* Reads a decimal number of min to max, nothing before or after it. */
bool number_parse(const char *text, uint64_t min, uint64_t max, uint64_t *value);

#endif
