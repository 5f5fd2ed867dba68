/* SPDX-License-Identifier: BSD-3-Clause */
/* What arrives on an open port: noise, the wrong protocols, and changed copies of what is in the air. */
#ifndef IOTSEC_TESTS_GARBAGE_H
#define IOTSEC_TESTS_GARBAGE_H

#include "net.h"

/* Kinds that garbage_draw makes; GARBAGE_KINDS stands for any of them. */
enum garbage_kind {
    GARBAGE_NOISE,    /* random bytes of random length, empty datagrams among them */
    GARBAGE_RECORD,   /* a sound record header before noise */
    GARBAGE_HELLO,    /* a handshake header that is nearly right before noise */
    GARBAGE_FOREIGN,  /* CoAP, DNS, TLS, DTLS 1.0, DTLS 1.3 and others */
    GARBAGE_CHANGED,  /* a captured datagram with bits flipped, bytes replaced, cut off, or joined to another */
    GARBAGE_REPLAYED, /* a captured datagram as it was */
    GARBAGE_KINDS
};

/* Writes one datagram and returns its length. */
size_t garbage_draw(struct net *net, enum garbage_kind kind, uint8_t out[NET_DATAGRAM_MAX]);

/* Number of foreign datagrams, and one of them. */
size_t garbage_foreign_count(void);
const uint8_t *garbage_foreign(size_t index, size_t *len);

/* Hands `count` pieces of garbage to a node: from the addresses of others or from nowhere, to its own address
 * or to one of its groups. Returns how many its input took (IOTSEC_OK). */
unsigned garbage_shower(struct node *victim, unsigned count, enum garbage_kind kind);

#endif
