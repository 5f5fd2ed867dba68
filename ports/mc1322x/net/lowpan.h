/* SPDX-License-Identifier: BSD-3-Clause */
/* IPv6 and UDP headers, compressed (RFC 6282) and not. Link-layer addresses are identifiers, as in frame.h. */
#ifndef MC1322X_NET_LOWPAN_H
#define MC1322X_NET_LOWPAN_H

#include "frame.h"

#define LOWPAN_COMPRESSED_MAX 47u /* 2, class and label 4, hop limit 1, addresses 32, and 8 for UDP or the next header */
#define LOWPAN_IPV6_BYTES 40u
#define LOWPAN_UDP 17u
#define LOWPAN_ICMPV6 58u
#define LOWPAN_BROADCAST 0x50u /* dispatch of LOWPAN_BC0; its sequence number follows */
#define LOWPAN_FRAGMENT 0xC0u  /* 11000: first, 11100: further */
#define LOWPAN_FURTHER 0x20u

/* Where what stands in an uncompressed header. */
#define IP_LENGTH 4
#define IP_NEXT 6
#define IP_HOPS 7
#define IP_SOURCE 8
#define IP_TARGET 24
#define UDP_SOURCE 40
#define UDP_TARGET 42
#define UDP_LENGTH 44
#define UDP_CHECKSUM 46

/* A datagram: its uncompressed header, UDP's included, and what follows. */
struct datagram {
    uint8_t *header;
    uint8_t *data;
    size_t len;
};

extern const uint8_t lowpan_link_local[8]; /* fe80::/64 */

/* Length of an uncompressed header, and of the datagram. */
size_t lowpan_head(const uint8_t *header);

/*
 * Reads the header that a datagram, or the first fragment of one, begins with, into an uncompressed one. `*len`: bytes at
 * `in`; afterwards, bytes of the header there. `total`: bytes of the whole datagram, uncompressed; 0: it ends with `in`.
 * `prefix`: context 0, or NULL. A UDP checksum that was left out is 0. NET_DROP_COUNT: done.
 */
enum net_drop lowpan_read(uint8_t header[NET_HEADER_BYTES], const uint8_t *in, size_t *len, size_t total,
                          const uint8_t source[8], const uint8_t target[8], const uint8_t *prefix);
/* Writes the shortest header; its length. */
size_t lowpan_write(uint8_t out[LOWPAN_COMPRESSED_MAX], const uint8_t *header, const uint8_t source[8], const uint8_t target[8],
                    const uint8_t *prefix);

/* UDP's checksum as it has to be, never 0. */
uint16_t lowpan_checksum(const struct datagram *datagram);

#endif
