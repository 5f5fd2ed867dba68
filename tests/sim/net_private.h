/* SPDX-License-Identifier: BSD-3-Clause */
/* What the parts of the virtual network know of each other. */
#ifndef IOTSEC_TESTS_NET_PRIVATE_H
#define IOTSEC_TESTS_NET_PRIVATE_H

#include "net.h"

enum { EVENT_DATAGRAM, EVENT_TIMER, EVENT_CALL };

struct net_event {
    uint64_t time;
    uint64_t order;
    struct node *node;
    size_t datagram;  /* index at the tap */
    uint8_t *changed; /* corrupted bytes in place of the tap's, owned */
    size_t len;
    unsigned timer; /* EVENT_CALL: number of the boot that it belongs to */
    void (*call)(struct node *node);
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
bool set_has(const struct net_set *set, uint64_t key);
uint64_t hash_bytes(uint64_t hash, const void *data, size_t len);

void net_transmit(struct net *net, struct node *sender, bool relayed, const struct iotsec_addr *from,
                  const struct iotsec_addr *to, const void *data, size_t len);
void net_set_timer(struct node *node, uint32_t wait);
/* Calls `call` later, if the node has not lost its power until then. */
void net_call_later(struct node *node, uint32_t ms, void (*call)(struct node *node));
void node_free(struct node *node);

/* hops.c */
bool node_on_link(const struct node *node, uint16_t link);
/* Whether the node receives what is sent to a unicast address. */
bool node_has_addr(const struct node *node, const struct iotsec_addr *addr);
/* The address that a node's own role sends from; false if it has none for that destination. */
bool node_source(const struct node *node, const struct iotsec_addr *to, struct iotsec_addr *from);
void hops_init_hal(struct node *node);
void hops_access(void *user, const struct iotsec_access *access);
void hops_booted(struct node *node);
void hops_joined(struct node *node);
void hops_moved(struct node *node, enum iotsec_status reason);
void hops_crashed(struct node *node);
uint32_t hops_poll(struct node *node);
/* Whether a datagram was for the node's relay, which has it then. */
bool hops_hand(struct node *node, const struct iotsec_addr *from, const struct iotsec_addr *to, const uint8_t *data, size_t len,
               enum iotsec_status *status);

/* talk.c */
void talk_soil(struct node *node);
void talk_booted(struct node *node);
void talk_free(struct node *node);
void talk_event(struct node *node, const struct iotsec_device_event *event);
void talk_receive(void *user, const struct iotsec_peer *peer, const uint8_t *data, size_t len);
/* Whether `count` elements from the power `first` on are the device's of the polynomial in the registry. */
bool talk_is_share(struct registry_memory *registry, uint32_t number, unsigned first, unsigned count, const uint8_t *elements);

/* watch.c */
void watch_sent(struct net *net, const struct net_datagram *datagram);
/* A datagram is handed to a node. */
void watch_arrived(struct node *node, const struct iotsec_addr *from, const struct iotsec_addr *to, const uint8_t *data,
                   size_t len);

#endif
