/* SPDX-License-Identifier: BSD-3-Clause */
/* What every role stands on: the network layer over the radio, and the library's HAL over it, the clock and the crypto. */
#ifndef MC1322X_NODE_H
#define MC1322X_NODE_H

#include <stddef.h>
#include <stdint.h>

#include <iotsec/hal.h>
#include <iotsec/protocol.h>

#include "net/net.h"
#include "provision.h"

/* The store's slots. */
#define SLOT_BOOTS 0u           /* 4 bytes: starts so far */
#define SLOT_FRAME_COUNTER 1u   /* 4 bytes: the last bound of frame counters */
#define SLOT_REGISTRY 8u        /* the manager's, see registry.c */

#define JOIN_PORT 5684u         /* a manager's, and a relay's towards joiners */
#define OWN_PORT 0xF0B1u        /* a device's: 6LoWPAN makes a byte of it */
#define RELAY_PORT 0xF0B2u      /* a relay's towards the manager */

/*
 * Who looks for a way into the domain asks all neighbours in a datagram of two bytes, from its own port to the join port of
 * all routers (ff02::2). Who has one answers with how many hops it is away from the manager. No DTLS record begins with
 * NODE_MARK. Nothing of this is authenticated, unless a member asks under the key: whoever lies about it can at worst keep
 * a joiner busy.
 */
#define NODE_MARK 0xFEu
#define NODE_SEEK 1u
#define NODE_HERE 2u

struct node {
    struct net net;
    struct iotsec_hal hal;      /* sends from `port` */
    uint16_t port;
    uint8_t eui64[8];
};
extern struct node node;

/* Takes a datagram; from inside of node_work(). */
typedef void node_received(const struct iotsec_addr *from, const struct iotsec_addr *to, uint8_t *data, size_t len, int secured);

/* Store, crypto, radio and network layer. What fails is a fault. */
void node_start(const struct provision *provision, uint16_t port, node_received *received);

/* Other addresses, of the access parameters. */
void node_set_address(uint16_t pan_id, uint16_t short_address, const uint8_t prefix[8]);

/* Moves frames and datagrams, and then waits for an interrupt: `wait` milliseconds at most, or shorter. */
void node_work(uint32_t wait);

/* Answers somebody who seeks, with our distance from the manager; a member that asked under the key believes nothing else. */
void node_answer(const struct iotsec_addr *to, uint8_t rank, int secured);

/* A number of milliseconds from `least` to twice that: pauses that many take at once. */
uint32_t node_jitter(uint32_t least);

/* Restarts the board, when what was to be sent has had some time to go out. */
void node_reset(void) __attribute__((noreturn));

/* Prints counters of radio, network layer and store. */
void node_stats(void);

#endif
