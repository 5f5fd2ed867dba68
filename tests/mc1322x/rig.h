/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Nodes of the MC1322x's network layer in one process, and the air between them, in virtual time: who hears whom, and how
 * many frames are lost, is the test's to say. Like the chip's radio, a node's sends one frame at a time; frames that ask for an
 * acknowledgement are sent up to four times.
 */
#ifndef MC1322X_TESTS_RIG_H
#define MC1322X_TESTS_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "net/fragment.h"
#include "net/linksec.h"
#include "net/net.h"

#define RIG_NODES 5u
#define RIG_BUFFERS 3u
#define RIG_NEIGHBOURS 8u
#define RIG_ROUTES 4u
#define RIG_ORIGINATORS 4u
#define RIG_GROUPS 2u
#define RIG_LOG 32u
#define RIG_AIR 64u
#define RIG_PAN 0xBEEFu
#define RIG_JOIN_PORT 5684u
#define RIG_PORT 5683u

struct rig_datagram {
    struct iotsec_addr from;
    struct iotsec_addr to;
    uint8_t data[NET_DATAGRAM_MAX];
    size_t len;
    int secured;
};

struct rig_frame {
    uint8_t bytes[128];
    size_t len;
};

struct rig_node {
    struct net net;
    struct net_config config;
    struct net_buffer buffers[RIG_BUFFERS];
    uint8_t datagrams[RIG_BUFFERS * NET_DATAGRAM_MAX];
    struct net_neighbour neighbours[RIG_NEIGHBOURS];
    struct net_route routes[RIG_ROUTES];
    struct net_originator originators[RIG_ORIGINATORS];
    struct net_group groups[RIG_GROUPS];
    struct rig_datagram received[RIG_LOG]; /* the first ones */
    size_t received_count;
    struct rig_frame sent[RIG_LOG]; /* the first ones */
    size_t sent_count;
    uint32_t durable;      /* what the store holds */
    unsigned reserved;     /* how often it was written */
    bool reserve_fails;
    bool aes_fails;
    bool radio_full;
    uint32_t busy_until;
    uint8_t index;
};

struct rig {
    struct rig_node nodes[RIG_NODES];
    uint32_t now;
    uint32_t seed;
    unsigned loss;                        /* percent */
    bool hears[RIG_NODES][RIG_NODES];     /* by sender, then receiver */
    struct {
        struct rig_frame frame;
        uint32_t when;
        uint8_t to;
        bool used;
    } air[RIG_AIR];
    FILE *pcap;
};

extern struct rig rig;
extern const uint8_t rig_prefix[8]; /* fd00::/64 */
extern const uint8_t rig_key[16];

/* All nodes anew, without keys and addresses; nobody hears anybody. */
void rig_start(uint32_t seed);
/* A node anew, as after a restart: what the store holds is all that it knows. */
void rig_restart(unsigned node);
/* A node with key 1 in use, an address, and a default route if it is not node 0; it forwards. */
void rig_member(unsigned node);
/* Members that hear their neighbours in a line only: 0 - 1 - 2 ... */
void rig_line(unsigned count);
/* Lets virtual time pass. */
void rig_run(uint32_t ms);
uint32_t rig_random(uint32_t below);
void rig_eui64(unsigned node, uint8_t eui64[8]);
uint16_t rig_short(unsigned node);
/* A node's address beyond its neighbours, and its link-local one. */
struct iotsec_addr rig_address(unsigned node, uint16_t port);
struct iotsec_addr rig_link_local(unsigned node, uint16_t port);
struct iotsec_addr rig_group(uint8_t scope, uint8_t last, uint16_t port);
/* Sends a text. */
int rig_say(unsigned node, const struct iotsec_addr *to, const char *text);
/* How many times a node got that text. */
unsigned rig_heard(unsigned node, const char *text);
/* A copy of exactly its size, so that a sanitizer sees what lies behind its end; given to a node. */
void rig_give(unsigned node, const uint8_t *frame, size_t len);
/* Bytes from hex digits; spaces between them are skipped. */
size_t rig_hex(uint8_t *out, const char *hex);
/* The only reason for which a node has dropped something since the last call; NET_DROP_COUNT: nothing, or several. */
enum net_drop rig_dropped(unsigned node);

/*
 * A frame as another stack would send it, from node `from`'s EUI-64: `payload` behind the header; secured under `key` if there
 * is one, with that counter. Its length.
 */
size_t rig_make_frame(uint8_t out[127], unsigned from, const uint8_t target[8], const uint8_t *key, uint8_t key_index, uint8_t level,
                      uint32_t counter, const uint8_t *payload, size_t len);
/* The identifier of a node's EUI-64, as net/ keeps link-layer addresses. */
void rig_link(unsigned node, uint8_t link[8]);

#endif
