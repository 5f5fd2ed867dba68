/* SPDX-License-Identifier: BSD-3-Clause */
/* Hops: link-local addresses, the way to an own one, link-layer keys, and devices that relay for others. */
#include "net_private.h"

#include <stdlib.h>
#include <string.h>

/* ---- Addresses ---- */

bool node_on_link(const struct node *node, uint16_t link)
{
    size_t i;

    for (i = 0; i < NET_NODE_LINKS_MAX; i++) {
        if (link != 0 && node->links[i] == link) {
            return true;
        }
    }
    return false;
}

void net_on_link(struct node *node, uint16_t link)
{
    size_t i;

    assert_true(link != 0 && link < NET_LINKS_MAX);
    for (i = 0; i < NET_NODE_LINKS_MAX; i++) {
        if (node->links[i] == 0 || node->links[i] == link) {
            node->links[i] = link;
            return;
        }
    }
    fail_msg("%s is on too many links", node->name);
}

static void put_iid(const struct node *node, uint8_t iid[8])
{
    static const uint8_t from_short[8] = { 0x02, 0x00, 0x00, 0xFF, 0xFE, 0x00, 0x00, 0x00 };

    memcpy(iid, from_short, sizeof from_short);
    iid[6] = (uint8_t)(node->number >> 8);
    iid[7] = (uint8_t)node->number;
}

struct iotsec_addr node_join_port(const struct node *relay, uint16_t link)
{
    struct iotsec_addr addr;

    memset(&addr, 0, sizeof addr);
    addr.ip[0] = 0xFE;
    addr.ip[1] = 0x80;
    put_iid(relay, addr.ip + 8);
    addr.port = NET_PORT;
    addr.interface = link;
    return addr;
}

struct iotsec_addr node_local(const struct node *node, uint16_t link)
{
    struct iotsec_addr addr = node_join_port(node, link);

    if (node->kind == NODE_DEVICE) {
        addr.port = (uint16_t)(NET_LOCAL_PORT + node->number);
    }
    return addr;
}

static bool is_upstream_port(const struct node *node, uint16_t port)
{
    return node->relay != NULL && port >= NET_UPSTREAM_PORT && port < NET_UPSTREAM_PORT + NET_RELAY_ENTRIES;
}

bool node_has_addr(const struct node *node, const struct iotsec_addr *addr)
{
    struct iotsec_addr own = node->addr;

    if (iotsec_addr_is_link_local(addr)) {
        if (!node_on_link(node, addr->interface)) {
            return false;
        }
        own = node_local(node, addr->interface);
        if (node->relay != NULL && addr->port == NET_PORT) {
            own.port = NET_PORT;
        }
    } else if (!node->routed) {
        return false;
    } else if (is_upstream_port(node, addr->port)) {
        own.port = addr->port;
    }
    return iotsec_addr_equal(&own, addr) != 0;
}

bool node_source(const struct node *node, const struct iotsec_addr *to, struct iotsec_addr *from)
{
    if (iotsec_addr_is_link_local(to)) {
        *from = node_local(node, to->interface);
        return node_on_link(node, to->interface);
    }
    *from = node->addr;
    if (!node->routed && iotsec_addr_is_multicast(to) && node->links[0] != 0) {
        *from = node_local(node, node->links[0]); /* stays in its neighbourhood */
        return true;
    }
    return node->routed;
}

void node_renumber(struct node *node)
{
    assert_true(node->routed);
    node->addr.ip[7]++;
}

/* ---- Access ---- */

static void take_address(struct node *node)
{
    memset(&node->addr, 0, sizeof node->addr);
    memcpy(node->addr.ip, node->access.prefix, sizeof node->access.prefix);
    put_iid(node, node->addr.ip + 8);
    node->addr.port = NET_PORT;
    node->routed = true;
    node->move_status = iotsec_moved(&node->device, &node->access.manager);
}

static void move_again(struct node *node)
{
    node->move_status = iotsec_moved(&node->device, &node->access.manager);
}

/* An application that did not get through tries again. */
void hops_moved(struct node *node, enum iotsec_status reason)
{
    if (reason != IOTSEC_OK && node->routed) {
        net_call_later(node, 5000, move_again);
    }
}

void hops_access(void *user, const struct iotsec_access *access)
{
    struct node *node = user;

    if (access->key_index == 0 || node_l2_key(node, access->key_index) == NULL) {
        fail_msg("%s hears of an L2 key that is not installed: index %u", node->name, access->key_index);
    }
    node->access = *access;
    node->access_count++;
    if (node->routed || node->move_after_ms == NET_STAY) {
        return;
    }
    if (node->move_after_ms == 0) {
        take_address(node);
    } else if (node->access_count == 1) {
        net_call_later(node, node->move_after_ms, take_address);
    }
}

/* ---- Link-layer keys ---- */

static struct node_l2_key *find_l2(struct node *node, uint8_t index)
{
    size_t i;

    for (i = 0; i < NET_L2_KEYS_MAX; i++) {
        if (node->l2[i].index == index) {
            return &node->l2[i];
        }
    }
    return NULL;
}

const uint8_t *node_l2_key(const struct node *node, uint8_t index)
{
    size_t i;

    for (i = 0; i < NET_L2_KEYS_MAX; i++) {
        if (index != 0 && node->l2[i].index == index) {
            return node->l2[i].key;
        }
    }
    return NULL;
}

static int l2_install(void *user, uint8_t index, const uint8_t key[16])
{
    struct node *node = user;
    struct node_l2_key *slot = find_l2(node, index);

    assert_true(index != 0);
    if (node->l2_fail > 0) {
        node->l2_fail--;
        return -1;
    }
    if (slot == NULL) {
        slot = find_l2(node, 0);
    }
    if (slot == NULL) {
        fail_msg("%s is given more than %u L2 keys at once", node->name, NET_L2_KEYS_MAX);
        return -1;
    }
    slot->index = index;
    memcpy(slot->key, key, sizeof slot->key);
    return 0;
}

static int l2_use(void *user, uint8_t index)
{
    struct node *node = user;

    if (node_l2_key(node, index) == NULL) {
        fail_msg("%s is told to use an L2 key that it has not: index %u", node->name, index);
    }
    node->l2_used = index;
    return 0;
}

static void l2_remove(void *user, uint8_t index)
{
    struct node *node = user;
    struct node_l2_key *slot = find_l2(node, index);

    if (index == node->l2_used) {
        node->l2_used = 0; /* out of the domain */
    }
    if (index != 0 && slot != NULL) {
        memset(slot, 0, sizeof *slot);
    }
}

void hops_init_hal(struct node *node)
{
    node->hal.l2_key_install = l2_install;
    node->hal.l2_key_use = l2_use;
    node->hal.l2_key_remove = l2_remove;
}

/* ---- The relay part of a device ---- */

/* It changes nothing, and makes one of one. */
static void check_passing(struct node *node, const uint8_t *data, size_t len, bool wrapped)
{
    struct node_relay *relay = node->relay;
    const uint8_t *inner = relay->passing;
    size_t inner_len = relay->passing_len;

    if (inner == NULL) {
        fail_msg("%s relays what it was not handed, or twice", node->name);
        return;
    }
    relay->passing = NULL;
    if (wrapped ? len > inner_len && memcmp(data + len - inner_len, inner, inner_len) == 0
                : len <= inner_len && memcmp(data, inner + inner_len - len, len) == 0) {
        return;
    }
    fail_msg("%s changes what it relays", node->name);
}

static int send_up(void *user, uint16_t slot, const struct iotsec_addr *to, const uint8_t *data, size_t len)
{
    struct node *node = user;
    struct iotsec_addr from = node->addr;

    assert_true(slot < NET_RELAY_ENTRIES);
    if (!node->routed) {
        node->net->stats.unsent++;
        return -1;
    }
    assert_false(iotsec_addr_is_link_local(to));
    check_passing(node, data, len, node->relay->config.mode == IOTSEC_RELAY_STATELESS);
    if (node->relay->lie != NULL) {
        node->relay->lie(node, true, to, data, len);
        return 0;
    }
    from.port = (uint16_t)(NET_UPSTREAM_PORT + slot);
    net_transmit(node->net, node, true, &from, to, data, len);
    return 0;
}

static int send_down(void *user, const struct iotsec_addr *to, const uint8_t *data, size_t len)
{
    struct node *node = user;
    struct iotsec_addr from = node_join_port(node, to->interface);

    if (!iotsec_addr_is_link_local(to) || !node_on_link(node, to->interface)) {
        fail_msg("%s relays to somebody who is no neighbour", node->name);
    }
    check_passing(node, data, len, false);
    if (node->relay->lie != NULL) {
        node->relay->lie(node, false, to, data, len);
        return 0;
    }
    net_transmit(node->net, node, true, &from, to, data, len);
    return 0;
}

static const struct iotsec_relay_callbacks relay_callbacks = { .send_up = send_up, .send_down = send_down };

void net_relay(struct node *device, const struct node *manager, enum iotsec_relay_mode mode, bool keep_key)
{
    struct node_relay *relay = net_alloc(sizeof *relay);
    struct iotsec_relay_config *config = &relay->config;

    assert_null(device->relay);
    device->relay = relay;
    config->hal = &device->hal;
    config->callbacks = &relay_callbacks;
    config->user = device;
    config->manager = manager->addr;
    config->buckets = relay->buckets;
    config->bucket_count = NET_RELAY_BUCKETS;
    config->mode = (uint8_t)mode;
    if (mode == IOTSEC_RELAY_STATEFUL) {
        config->entries = relay->entries;
        config->entry_count = NET_RELAY_ENTRIES;
    } else {
        config->tx = relay->tx;
        config->tx_size = sizeof relay->tx;
        config->keep_key = keep_key;
        config->nvm_slot = NET_RELAY_SLOT;
    }
}

void hops_booted(struct node *node)
{
    struct node_relay *relay = node->relay;

    /* a relay finds its address and its L2 key in NVM again */
    if (node->joiner && (relay == NULL || !relay->ready)) {
        node->routed = false;
    }
    memset(node->l2, 0, sizeof node->l2);
    node->l2_used = 0;
    node->access_count = 0;
    if (relay == NULL) {
        return;
    }
    memset(&relay->relay, 0xA5, sizeof relay->relay);
    memset(relay->entries, 0xA5, sizeof relay->entries);
    memset(relay->buckets, 0xA5, sizeof relay->buckets);
    memset(relay->tx, 0xA5, sizeof relay->tx);
    assert_int_equal(iotsec_relay_init(&relay->relay, &relay->config), IOTSEC_OK);
    if (relay->ready) {
        assert_int_equal(iotsec_relay_open(&relay->relay, 0), IOTSEC_OK);
    }
}

void hops_joined(struct node *node)
{
    struct node_relay *relay = node->relay;

    if (relay != NULL && !relay->ready) {
        relay->ready = true;
        assert_int_equal(iotsec_relay_open(&relay->relay, 0), IOTSEC_OK);
    }
}

void hops_crashed(struct node *node)
{
    if (node->relay != NULL) {
        iotsec_relay_wipe(&node->relay->relay);
    }
}

uint32_t hops_poll(struct node *node)
{
    return node->relay != NULL ? iotsec_relay_poll(&node->relay->relay) : UINT32_MAX;
}

bool hops_hand(struct node *node, const struct iotsec_addr *from, const struct iotsec_addr *to, const uint8_t *data, size_t len,
               enum iotsec_status *status)
{
    struct node_relay *relay = node->relay;
    bool down = !iotsec_addr_is_link_local(to) && is_upstream_port(node, to->port);

    if (relay == NULL || iotsec_addr_is_multicast(to) || !(down || (iotsec_addr_is_link_local(to) && to->port == NET_PORT))) {
        return false;
    }
    relay->passing = data;
    relay->passing_len = len;
    if (down) {
        *status = iotsec_relay_from_manager(&relay->relay, (uint16_t)(to->port - NET_UPSTREAM_PORT), from, data, len);
    } else {
        *status = iotsec_relay_from_neighbour(&relay->relay, from, 0, data, len);
    }
    relay->passing = NULL;
    return true;
}

/* ---- Making ---- */

struct node *net_joiner(struct net *net, const struct node *parent, uint16_t link)
{
    struct node *node = net_device(net);

    net_on_link(node, link);
    assert_true(node_on_link(parent, link));
    node->joiner = true;
    node->routed = false;
    node->parent = parent;
    node->parent_link = link;
    node->device_config.connection_id = IOTSEC_CONNECTION_ID_LINK_LOCAL;
    return node;
}

void node_join_through(struct node *device, const struct node *relay, uint16_t group_id)
{
    struct iotsec_addr addr = node_join_port(relay, device->parent_link);

    assert_int_equal(iotsec_join(&device->device, &addr, &group_id, group_id != 0), IOTSEC_OK);
    iotsec_pause_end(&device->device); /* as in node_join_groups */
    node_after(device);
}
