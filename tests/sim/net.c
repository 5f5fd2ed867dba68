/* SPDX-License-Identifier: BSD-3-Clause */
/* Time, links and the tap. What nodes are is in node.c, what must never happen in watch.c. */
#include "net_private.h"

#include <stdlib.h>
#include <string.h>

#if defined(IOTSEC_WITH_PSA)
#include <psa/crypto.h>
#endif

/* ---- Random numbers ---- */

uint64_t random_next(struct net_random *random)
{
    uint64_t z = (random->state += 0x9E3779B97F4A7C15u);

    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

uint32_t random_below(struct net_random *random, uint32_t limit)
{
    return limit == 0 ? 0 : (uint32_t)(((random_next(random) >> 32) * limit) >> 32);
}

bool random_permille(struct net_random *random, unsigned permille)
{
    return permille != 0 && random_below(random, 1000) < permille;
}

void random_bytes(struct net_random *random, void *out, size_t len)
{
    uint8_t *bytes = out;

    while (len > 0) {
        uint64_t word = random_next(random);
        size_t n = len < sizeof word ? len : sizeof word;

        memcpy(bytes, &word, n);
        bytes += n;
        len -= n;
    }
}

void *net_alloc(size_t size)
{
    void *memory = calloc(1, size != 0 ? size : 1);

    assert_non_null(memory);
    return memory;
}

void *net_grow(void *memory, size_t *room, size_t used, size_t size)
{
    if (used < *room) {
        return memory;
    }
    *room = *room == 0 ? 64 : *room * 2;
    memory = realloc(memory, *room * size);
    assert_non_null(memory);
    return memory;
}

/* ---- A set of 64-bit keys with a value each ---- */

struct net_set *set_new(void)
{
    struct net_set *set = net_alloc(sizeof *set);

    set->room = 1024;
    set->slots = net_alloc(set->room * sizeof set->slots[0]);
    return set;
}

void set_free(struct net_set *set)
{
    if (set != NULL) {
        free(set->slots);
        free(set);
    }
}

static struct net_slot *set_slot(struct net_slot *slots, size_t room, uint64_t key)
{
    size_t i = (size_t)(key ^ (key >> 29)) & (room - 1);

    while (slots[i].key != 0 && slots[i].key != key) {
        i = (i + 1) & (room - 1);
    }
    return &slots[i];
}

struct net_slot *set_get(struct net_set *set, uint64_t key)
{
    struct net_slot *slot;

    key |= 1; /* 0 marks a free slot; half a bit of hash is a small price */
    if (set->used * 2 >= set->room) {
        struct net_slot *slots = net_alloc(set->room * 2 * sizeof slots[0]);
        size_t i;

        for (i = 0; i < set->room; i++) {
            if (set->slots[i].key != 0) {
                *set_slot(slots, set->room * 2, set->slots[i].key) = set->slots[i];
            }
        }
        free(set->slots);
        set->slots = slots;
        set->room *= 2;
    }
    slot = set_slot(set->slots, set->room, key);
    if (slot->key == 0) {
        slot->key = key;
        set->used++;
    }
    return slot;
}

bool set_has(const struct net_set *set, uint64_t key)
{
    key |= 1;
    return set_slot(set->slots, set->room, key)->key == key;
}

uint64_t hash_bytes(uint64_t hash, const void *data, size_t len)
{
    const uint8_t *bytes = data;
    size_t i;

    hash ^= 0xCBF29CE484222325u;
    for (i = 0; i < len; i++) {
        hash = (hash ^ bytes[i]) * 0x100000001B3u;
    }
    hash ^= hash >> 32;
    hash *= 0xD6E8FEB86659FD93u;
    return hash ^ (hash >> 32);
}

/* ---- Events: a heap by time, and in the order they were made where the time is the same ---- */

static bool is_earlier(const struct net_event *a, const struct net_event *b)
{
    return a->time != b->time ? a->time < b->time : a->order < b->order;
}

static void push_event(struct net *net, struct net_event event)
{
    size_t i = net->event_count;

    event.order = net->event_order++;
    net->events = net_grow(net->events, &net->event_room, net->event_count, sizeof event);
    net->event_count++;
    while (i > 0 && is_earlier(&event, &net->events[(i - 1) / 2])) {
        net->events[i] = net->events[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    net->events[i] = event;
}

static struct net_event pop_event(struct net *net)
{
    struct net_event first = net->events[0];
    struct net_event last = net->events[--net->event_count];
    size_t i = 0;

    for (;;) {
        size_t child = 2 * i + 1;

        if (child >= net->event_count) {
            break;
        }
        if (child + 1 < net->event_count && is_earlier(&net->events[child + 1], &net->events[child])) {
            child++;
        }
        if (!is_earlier(&net->events[child], &last)) {
            break;
        }
        net->events[i] = net->events[child];
        i = child;
    }
    net->events[i] = last;
    return first;
}

/* ---- Links ---- */

/* The group as the node joined it, or NULL. Its interface is the node's affair. */
static const struct iotsec_addr *multicast_member(const struct node *node, const struct iotsec_addr *to)
{
    size_t i;

    for (i = 0; i < node->multicast_count; i++) {
        if (memcmp(node->multicast[i].ip, to->ip, sizeof to->ip) == 0 && node->multicast[i].port == to->port) {
            return &node->multicast[i];
        }
    }
    return NULL;
}

static uint32_t draw_delay(struct net *net, const struct net_link *link)
{
    uint32_t delay = link->delay_ms + random_below(&net->random, link->jitter_ms + 1);

    if (random_permille(&net->random, link->reorder_permille)) {
        delay += random_below(&net->random, link->reorder_ms + 1);
    }
    return delay;
}

/* A changed copy, when the link is a bad one; else NULL. */
static uint8_t *draw_corruption(struct net *net, const struct net_link *link, const uint8_t *data, size_t *len)
{
    uint8_t *copy;
    uint32_t flips;

    if (*len == 0 || !random_permille(&net->random, link->corrupt_permille)) {
        return NULL;
    }
    copy = net_alloc(*len);
    memcpy(copy, data, *len);
    if (random_below(&net->random, 8) == 0) {
        *len = random_below(&net->random, (uint32_t)*len);
        return copy;
    }
    for (flips = 1 + random_below(&net->random, 3); flips > 0; flips--) {
        copy[random_below(&net->random, (uint32_t)*len)] ^= (uint8_t)(1u << random_below(&net->random, 8));
    }
    return copy;
}

static void send_copy(struct net *net, const struct net_link *link, size_t datagram, struct node *to, uint32_t before)
{
    struct net_event event;

    memset(&event, 0, sizeof event);
    event.node = to;
    event.datagram = datagram;
    event.len = net->tap[datagram].len;
    event.changed = draw_corruption(net, link, net->tap[datagram].data, &event.len);
    event.time = net->now + net->shared_ms + before + draw_delay(net, link);
    event.kind = EVENT_DATAGRAM;
    push_event(net, event);
}

/* The hops between a node and those that need none: lost there, or how long they take. */
static bool cross_hops(struct net *net, const struct node *node, uint32_t *delay)
{
    for (; node != NULL && node->parent != NULL; node = node->parent) {
        const struct net_link *link = &net->links[node->parent_link];

        if (random_permille(&net->random, link->loss_permille)) {
            return false;
        }
        *delay += draw_delay(net, link);
    }
    return true;
}

/* Whether application data is among a datagram's records. */
static bool holds_data(const struct net_datagram *datagram)
{
    size_t at = 0;

    while (at + IOTSEC_RECORD_HEADER_BYTES <= datagram->len) {
        if (datagram->data[at] == IOTSEC_CONTENT_APPLICATION_DATA) {
            return true;
        }
        at += IOTSEC_RECORD_HEADER_BYTES + ((size_t)datagram->data[at + 11] << 8 | datagram->data[at + 12]);
    }
    return false;
}

static void send_over_link(struct net *net, const struct net_link *link, size_t datagram, const struct node *from,
                           struct node *to)
{
    unsigned loss = link->loss_permille + to->loss_permille;
    int side = from != NULL ? from->side : to->side;
    uint32_t before = 0;

    if (from != NULL) {
        loss += from->loss_permille;
    }
    if (net->spare_data && holds_data(&net->tap[datagram])) {
        loss = 0;
    }
    if (from != NULL && (from->unplugged || to->deaf_to == from)) {
        loss = 1000;
    }
    if (!to->powered || to->unplugged || side != to->side || random_permille(&net->random, loss) ||
        (link == &net->link && !(cross_hops(net, from, &before) && cross_hops(net, to, &before)))) {
        net->stats.lost++;
        return;
    }
    send_copy(net, link, datagram, to, before);
    if (random_permille(&net->random, link->duplicate_permille)) {
        send_copy(net, link, datagram, to, before);
    }
}

/* The way of a multicast: among routable addresses, or within a neighbourhood. NULL: there is none. */
static const struct net_link *multicast_link(const struct net *net, const struct node *from, const struct node *to)
{
    size_t i;

    if (from == NULL || (from->routed && to->routed)) {
        return &net->link;
    }
    for (i = 0; i < NET_NODE_LINKS_MAX; i++) {
        if (from->links[i] != 0 && node_on_link(to, from->links[i])) {
            return &net->links[from->links[i]];
        }
    }
    return NULL;
}

/* Takes its turn on the shared link; false: too many wait for theirs. */
static bool take_turn(struct net *net, size_t len)
{
    const uint64_t now = net->now * 1000;
    uint64_t from = net->free_us > now ? net->free_us : now;

    net->shared_ms = 0;
    if (net->byte_us != 0) {
        if (from - now > (uint64_t)net->queue_ms * 1000) {
            return false;
        }
        net->free_us = from + (len + NET_FRAME_BYTES) * net->byte_us;
        net->shared_ms = (uint32_t)((net->free_us - now) / 1000);
    }
    return true;
}

void net_transmit(struct net *net, struct node *sender, bool relayed, const struct iotsec_addr *from,
                  const struct iotsec_addr *to, const void *data, size_t len)
{
    struct net_datagram *datagram;
    size_t index = net->tap_count;
    size_t i;

    net->tap = net_grow(net->tap, &net->tap_room, net->tap_count, sizeof net->tap[0]);
    datagram = &net->tap[net->tap_count++];
    datagram->time = net->now;
    datagram->from = *from;
    datagram->to = *to;
    datagram->sender = sender;
    datagram->relayed = relayed;
    datagram->data = net_alloc(len);
    datagram->len = len;
    if (len != 0) {
        memcpy(datagram->data, data, len);
    }
    if (sender != NULL) {
        net->stats.datagrams++;
        net->stats.bytes += (unsigned)len;
        if (!relayed) {
            watch_sent(net, datagram);
        }
    }
    if (net->drop_next > 0 || !take_turn(net, len)) {
        net->drop_next -= net->drop_next > 0;
        net->stats.lost++;
        return;
    }
    for (i = 0; i < net->node_count; i++) {
        struct node *node = net->nodes[i];
        const struct net_link *link;

        if (!iotsec_addr_is_multicast(to)) {
            if (node_has_addr(node, to)) {
                link = iotsec_addr_is_link_local(to) ? &net->links[to->interface] : &net->link;
                send_over_link(net, link, index, sender, node);
            }
        } else if (multicast_member(node, to) != NULL && (node != sender || net->loopback)) {
            link = multicast_link(net, sender, node);
            if (link != NULL) {
                send_over_link(net, link, index, sender, node);
            }
        }
    }
}

void net_inject(struct net *net, const struct iotsec_addr *from, const struct iotsec_addr *to, const void *data, size_t len)
{
    net_transmit(net, NULL, false, from, to, data, len);
}

void net_transmit_as(struct node *node, const struct iotsec_addr *from, const struct iotsec_addr *to, const void *data,
                     size_t len)
{
    net_transmit(node->net, node, true, from, to, data, len);
}

void net_replay(struct net *net, size_t first, size_t last)
{
    size_t i;

    for (i = first; i < last; i++) {
        /* by value: the tap grows meanwhile */
        struct net_datagram datagram = net->tap[i];

        if (datagram.sender != NULL) {
            net_inject(net, &datagram.from, &datagram.to, datagram.data, datagram.len);
        }
    }
}

/* ---- Time ---- */

void net_set_timer(struct node *node, uint32_t wait)
{
    struct net_event event;

    node->timer++;
    if (wait == UINT32_MAX) {
        return;
    }
    memset(&event, 0, sizeof event);
    event.node = node;
    event.timer = node->timer;
    event.time = node->net->now + wait + random_below(&node->net->random, node->net->late_poll_ms + 1);
    event.kind = EVENT_TIMER;
    push_event(node->net, event);
}

void net_call_later(struct node *node, uint32_t ms, void (*call)(struct node *node))
{
    struct net_event event;

    memset(&event, 0, sizeof event);
    event.node = node;
    event.timer = node->boots;
    event.call = call;
    event.time = node->net->now + ms;
    event.kind = EVENT_CALL;
    push_event(node->net, event);
}

static void deliver(struct net *net, const struct net_event *event)
{
    /* by value: the tap grows while the node answers */
    struct net_datagram datagram = net->tap[event->datagram];
    const uint8_t *data = event->changed != NULL ? event->changed : datagram.data;
    const struct iotsec_addr *group = multicast_member(event->node, &datagram.to);

    if (group != NULL) {
        datagram.to = *group;
    }
    if (event->node->powered && !event->node->unplugged) {
        net->stats.delivered++;
        (void)net_hand(event->node, &datagram.from, &datagram.to, data, event->len);
    }
    free(event->changed);
}

static void run_event(struct net *net)
{
    struct net_event event = pop_event(net);

    net->now = event.time;
    if (event.kind == EVENT_DATAGRAM) {
        deliver(net, &event);
    } else if (event.kind == EVENT_CALL) {
        if (event.node->powered && event.timer == event.node->boots) {
            event.call(event.node);
            node_after(event.node);
        }
    } else if (event.node->powered && event.timer == event.node->timer) {
        node_after(event.node);
    }
}

bool net_run_until(struct net *net, bool (*done)(struct net *net, void *user), void *user, uint64_t ms)
{
    uint64_t end = net->now + ms;

    while (done == NULL || !done(net, user)) {
        if (net->event_count == 0 || net->events[0].time > end) {
            net->now = end;
            return false;
        }
        run_event(net);
    }
    return true;
}

void net_run_ms(struct net *net, uint64_t ms)
{
    (void)net_run_until(net, NULL, NULL, ms);
}

static bool nothing_on_its_way(struct net *net, void *user)
{
    size_t i;

    (void)user;
    for (i = 0; i < net->event_count; i++) {
        if (net->events[i].kind == EVENT_DATAGRAM) {
            return false;
        }
    }
    return true;
}

void net_settle(struct net *net)
{
    (void)net_run_until(net, nothing_on_its_way, NULL, 60000);
}

/* ---- The rest ---- */

struct net *net_new(uint64_t seed)
{
    struct net *net = net_alloc(sizeof *net);
    size_t i;

#if defined(IOTSEC_WITH_PSA) && !defined(IOTSEC_WITH_MBEDTLS)
    assert_int_equal(psa_crypto_init(), PSA_SUCCESS);
#endif
    net->seed = seed;
    net->random.state = seed * 0xA0761D6478BD642Fu + 1;
    net->link.delay_ms = 10;
    for (i = 0; i < NET_LINKS_MAX; i++) {
        net->links[i] = net->link;
    }
    net->nonces = set_new();
    net->accounts = set_new();
    net->secrets = set_new();
    return net;
}

void net_free(struct net *net)
{
    size_t i;

    if (net == NULL) {
        return;
    }
    for (i = 0; i < net->node_count; i++) {
        node_free(net->nodes[i]);
    }
    for (i = 0; i < net->tap_count; i++) {
        free(net->tap[i].data);
    }
    for (i = 0; i < net->event_count; i++) {
        free(net->events[i].changed);
    }
    free(net->tap);
    free(net->events);
    free(net->keys);
    set_free(net->nonces);
    set_free(net->accounts);
    set_free(net->secrets);
    free(net);
}

void net_drop(struct net *net, unsigned count)
{
    net->drop_next += count;
}

void link_rough(struct net_link *link, unsigned loss_permille)
{
    link->loss_permille = loss_permille;
    link->duplicate_permille = 50;
    link->reorder_permille = 100;
    link->reorder_ms = 300;
    link->delay_ms = 10;
    link->jitter_ms = 30;
}

void net_rough(struct net *net, unsigned loss_permille)
{
    link_rough(&net->link, loss_permille);
}

void net_partition(struct node *node, int side)
{
    node->side = side;
}

void net_heal(struct net *net)
{
    size_t i;

    for (i = 0; i < net->node_count; i++) {
        net->nodes[i]->side = 0;
        net->nodes[i]->unplugged = false;
    }
}

struct iotsec_addr net_group_addr(uint16_t group_id)
{
    struct iotsec_addr addr;

    memset(&addr, 0, sizeof addr);
    addr.ip[0] = 0xFF;
    addr.ip[1] = 0x15;
    addr.ip[14] = (uint8_t)(group_id >> 8);
    addr.ip[15] = (uint8_t)group_id;
    addr.port = 5683;
    return addr;
}
