/* SPDX-License-Identifier: BSD-3-Clause */
/* What the parts of the virtual network know of each other. */
#ifndef IOTSEC_TESTS_NET_PRIVATE_H
#define IOTSEC_TESTS_NET_PRIVATE_H

#include "net.h"

enum { EVENT_DATAGRAM, EVENT_TIMER };

struct net_event {
    uint64_t time;
    uint64_t order;
    struct node *node;
    size_t datagram;  /* index at the tap */
    uint8_t *changed; /* corrupted bytes in place of the tap's, owned */
    size_t len;
    unsigned timer;
    int kind;
};

struct net_slot {
    uint64_t key; /* 0: free */
    uint64_t value;
};

struct net_set {
    struct net_slot *slots;
    size_t room; /* a power of two */
    size_t used;
};

void *net_alloc(size_t size);
void *net_grow(void *memory, size_t *room, size_t used, size_t size);
struct net_set *set_new(void);
void set_free(struct net_set *set);
/* The slot of a key, made with value 0 if it is new. Valid until the next call. */
struct net_slot *set_get(struct net_set *set, uint64_t key);
uint64_t hash_bytes(uint64_t hash, const void *data, size_t len);

void net_transmit(struct net *net, struct node *sender, const struct iotsec_addr *from, const struct iotsec_addr *to,
                  const void *data, size_t len);
void net_set_timer(struct node *node, uint32_t wait);
void node_free(struct node *node);

/* watch.c */
void watch_sent(struct net *net, const struct net_datagram *datagram);
/* A datagram is handed to a node. */
void watch_arrived(struct node *node, const struct iotsec_addr *from, const uint8_t *data, size_t len);

#endif
