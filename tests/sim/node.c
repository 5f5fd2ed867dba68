/* SPDX-License-Identifier: BSD-3-Clause */
/* Nodes: a HAL for each, its storage, and what its application was told. */
#include "net_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

#define SAY_HEADER 7u /* 'm', serial, group */

/* ---- The HAL ---- */

static int hal_random(void *user, uint8_t *out, size_t len)
{
    struct node *node = user;

    if (node->random_fails) {
        return -1;
    }
    random_bytes(&node->random, out, len);
    return 0;
}

static uint32_t hal_now(void *user)
{
    const struct node *node = user;

    return (uint32_t)(node->net->now + node->clock);
}

/* A manager that its registry has killed is silent, although the call that killed it still runs. */
static bool is_dead(const struct node *node)
{
    return node->registry != NULL && node->registry->dead;
}

static int hal_send(void *user, const struct iotsec_addr *to, const uint8_t *data, size_t len)
{
    struct node *node = user;
    struct iotsec_addr from;

    if (!node_source(node, to, &from)) {
        node->net->stats.unsent++;
        return -1;
    }
    if (!is_dead(node)) {
        net_transmit(node->net, node, false, &from, to, data, len);
    }
    return 0;
}

static int hal_multicast_join(void *user, const struct iotsec_addr *group)
{
    struct node *node = user;
    size_t i;

    for (i = 0; i < node->multicast_count; i++) {
        if (iotsec_addr_equal(&node->multicast[i], group)) {
            return 0;
        }
    }
    assert_true(node->multicast_count < sizeof node->multicast / sizeof node->multicast[0]);
    assert_true(iotsec_addr_is_multicast(group));
    node->multicast[node->multicast_count++] = *group;
    return 0;
}

static void hal_multicast_leave(void *user, const struct iotsec_addr *group)
{
    struct node *node = user;
    size_t i;

    for (i = 0; i < node->multicast_count; i++) {
        if (iotsec_addr_equal(&node->multicast[i], group)) {
            node->multicast[i] = node->multicast[--node->multicast_count];
            return;
        }
    }
}

static int hal_nvm_read(void *user, uint16_t slot, uint8_t *data, size_t size)
{
    const struct node *node = user;

    assert_true(slot < NET_NVM_SLOTS);
    if (node->nvm_len[slot] > size) {
        return -1;
    }
    memcpy(data, node->nvm[slot], node->nvm_len[slot]);
    return node->nvm_len[slot];
}

static int hal_nvm_write(void *user, uint16_t slot, const uint8_t *data, size_t len)
{
    struct node *node = user;

    assert_true(slot < NET_NVM_SLOTS && len <= NET_NVM_BYTES);
    node->nvm_writes++;
    if (node->nvm_fail > 0) {
        node->nvm_fail--;
        return -1;
    }
    if (len != 0) {
        memcpy(node->nvm[slot], data, len);
    }
    node->nvm_len[slot] = (uint16_t)len;
    return 0;
}

/* ---- What a device's application hears ---- */

static struct node_group *find_group(const struct node *node, uint16_t group_id)
{
    size_t i;

    for (i = 0; i < NET_GROUPS_MAX; i++) {
        if (node->groups[i].member && node->groups[i].group_id == group_id) {
            return (struct node_group *)&node->groups[i]; /* the search changes nothing */
        }
    }
    return NULL;
}

static void group_joined(struct node *node, const struct iotsec_device_event *event)
{
    struct node_group *group = find_group(node, event->group_id);
    size_t i;

    for (i = 0; group == NULL && i < NET_GROUPS_MAX; i++) {
        if (!node->groups[i].member) {
            group = &node->groups[i];
        }
    }
    assert_non_null(group);
    group->group_id = event->group_id;
    group->sender_id = event->sender_id;
    group->key_number = event->key_number;
    group->member = true;
}

static void device_event(void *user, const struct iotsec_device_event *event)
{
    struct node *node = user;
    struct node_group *group = find_group(node, event->group_id);

    node->events = net_grow(node->events, &node->event_room, node->event_count, sizeof node->events[0]);
    node->events[node->event_count] = *event;
    node->events[node->event_count].peer = NULL;
    talk_event(node, event);
    node->event_count++;
    switch (event->kind) {
    case IOTSEC_DEVICE_JOINED:
        node->joined = true;
        hops_joined(node);
        break;
    case IOTSEC_DEVICE_MOVED:
        hops_moved(node, event->reason);
        break;
    case IOTSEC_DEVICE_GROUP_JOINED:
        group_joined(node, event);
        break;
    case IOTSEC_DEVICE_GROUP_KEY:
        if (group == NULL) {
            group_joined(node, event); /* read back from NVM, and news only now */
            break;
        }
        assert_true(event->key_number > group->key_number);
        group->key_number = event->key_number;
        group->sender_id = event->sender_id;
        break;
    case IOTSEC_DEVICE_GROUP_LEFT:
        if (group != NULL) {
            group->member = false;
        }
        break;
    case IOTSEC_DEVICE_JOIN_FAILED:
        node->joined = false;
        if (event->reason == IOTSEC_ERR_NOT_AUTHORISED || event->reason == IOTSEC_ERR_EVICTED) {
            memset(node->groups, 0, sizeof node->groups);
        }
        break;
    case IOTSEC_DEVICE_EVICTED:
    case IOTSEC_DEVICE_LEFT:
        node->joined = false;
        memset(node->groups, 0, sizeof node->groups);
        break;
    default:
        break;
    }
    if (node->on_event != NULL) {
        node->on_event(node, event);
    }
}

/* The same message twice is the end of the test. */
static void mark_heard(struct node *node, uint32_t serial)
{
    size_t byte = serial / 8;
    uint8_t bit = (uint8_t)(1u << (serial % 8));

    assert_true(serial != 0 && serial <= node->net->messages);
    if (byte >= node->all_heard_bytes) {
        size_t bytes = (byte + 1) * 2;

        node->all_heard = realloc(node->all_heard, bytes);
        assert_non_null(node->all_heard);
        memset(node->all_heard + node->all_heard_bytes, 0, bytes - node->all_heard_bytes);
        node->all_heard_bytes = bytes;
    }
    if ((node->all_heard[byte] & bit) != 0) {
        fail_msg("%s was handed group message %u twice", node->name, (unsigned)serial);
    }
    node->all_heard[byte] |= bit;
}

static void device_group_receive(void *user, uint16_t group_id, uint16_t sender_id, const uint8_t *data, size_t len)
{
    struct node *node = user;
    struct node_heard heard;
    size_t i;

    memset(&heard, 0, sizeof heard);
    heard.time = node->net->now;
    heard.group_id = group_id;
    heard.sender_id = sender_id;
    heard.len = (uint16_t)len;
    assert_true(len != 0);
    assert_non_null(find_group(node, group_id));
    if (len >= SAY_HEADER && data[0] == 'm') {
        heard.serial = iotsec_get_u32(data + 1);
        assert_int_equal(iotsec_get_u16(data + 5), group_id);
        for (i = SAY_HEADER; i < len; i++) {
            assert_int_equal(data[i], (uint8_t)(heard.serial + i));
        }
        mark_heard(node, heard.serial);
    }
    node->heard = net_grow(node->heard, &node->heard_room, node->heard_count, sizeof heard);
    node->heard[node->heard_count++] = heard;
}

static const struct iotsec_device_callbacks device_callbacks = { .event = device_event,
                                                                 .group_receive = device_group_receive,
                                                                 .receive = talk_receive,
                                                                 .access = hops_access };

/* ---- What a manager's application hears ---- */

static void manager_event_told(void *user, const struct iotsec_manager_event *event)
{
    struct node *node = ((struct registry_memory *)user)->owner;

    if (is_dead(node)) {
        return;
    }
    node->manager_events =
        net_grow(node->manager_events, &node->event_room, node->manager_event_count, sizeof node->manager_events[0]);
    node->manager_events[node->manager_event_count] = *event;
    node->manager_events[node->manager_event_count++].addr = NULL; /* valid during the callback only */
    if (event->kind == IOTSEC_MANAGER_MOVED) {
        assert_non_null(event->addr);
        node->moved_addr = *event->addr;
    }
}

static const struct iotsec_manager_callbacks manager_callbacks = { .event = manager_event_told };

/* ---- What a plain endpoint hears ---- */

static enum iotsec_status endpoint_psk(void *user, iotsec_dtls_handle handshake, const uint8_t *identity, size_t len,
                                       struct iotsec_dtls_psk *psk)
{
    const struct node *node = user;
    size_t i;

    (void)handshake;
    for (i = 0; i < node->peer_count; i++) {
        const struct node_dtls_peer *peer = &node->peers[i];

        if (strlen(peer->identity) == len && memcmp(peer->identity, identity, len) == 0) {
            memcpy(psk->key, peer->psk, sizeof peer->psk);
            psk->len = sizeof peer->psk;
            psk->peer = peer->number;
            return IOTSEC_OK;
        }
    }
    return IOTSEC_ERR_UNKNOWN_IDENTITY;
}

static void endpoint_established(void *user, const struct iotsec_dtls_info *info)
{
    struct node *node = user;

    node->established++;
    node->session = info->session;
}

static void endpoint_failed(void *user, iotsec_dtls_handle handshake, const struct iotsec_addr *addr, uint32_t peer,
                            enum iotsec_status reason)
{
    struct node *node = user;

    (void)handshake;
    (void)addr;
    node->failed++;
    node->last_reason = reason;
    node->last_failed_peer = peer;
}

static void endpoint_closed(void *user, iotsec_dtls_handle session, uint32_t peer, enum iotsec_status reason)
{
    struct node *node = user;

    (void)session;
    (void)peer;
    node->closed++;
    node->last_reason = reason;
}

static void endpoint_receive(void *user, iotsec_dtls_handle session, uint32_t peer, uint8_t type, uint8_t *data, size_t len)
{
    struct node *node = user;

    (void)peer;
    node->received++;
    node->received_bytes += len;
    if (node->echo) {
        assert_int_equal(iotsec_dtls_send(&node->endpoint, session, type, data, len), IOTSEC_OK);
    }
}

static const struct iotsec_dtls_callbacks endpoint_callbacks = { .psk = endpoint_psk,
                                                                 .established = endpoint_established,
                                                                 .failed = endpoint_failed,
                                                                 .closed = endpoint_closed,
                                                                 .receive = endpoint_receive };

/* ---- Making and unmaking ---- */

static struct node *new_node(struct net *net, enum node_kind kind, const char *name, size_t sessions, size_t handshakes)
{
    struct node *node = net_alloc(sizeof *node);

    assert_true(net->node_count < NET_NODES_MAX);
    net->nodes[net->node_count++] = node;
    node->net = net;
    node->kind = kind;
    node->number = (uint32_t)net->node_count;
    snprintf(node->name, sizeof node->name, "%s-%u", name, (unsigned)node->number);
    node->random.state = random_next(&net->random);
    random_bytes(&node->random, node->psk, sizeof node->psk);
    /* Every clock starts anywhere, and in a quarter of all nodes it wraps within the first minute. */
    node->clock = (uint32_t)random_next(&node->random);
    if (random_below(&node->random, 4) == 0) {
        node->clock = 0u - (uint32_t)net->now - random_below(&node->random, 60000);
    }
    node->addr.ip[0] = 0xFD;
    node->addr.ip[14] = (uint8_t)(node->number >> 8);
    node->addr.ip[15] = (uint8_t)node->number;
    node->addr.port = NET_PORT;
    node->routed = true;
    node->session_room = sessions;
    node->handshake_room = handshakes;
    node->sessions = net_alloc(sessions * sizeof node->sessions[0]);
    node->handshakes = net_alloc(handshakes * sizeof node->handshakes[0]);

    node->hal.user = node;
#if defined(IOTSEC_WITH_MBEDTLS)
    node->hal.crypto = &iotsec_crypto_mbedtls;
#else
    node->hal.crypto = &iotsec_crypto_psa;
#endif
    node->hal.random = hal_random;
    node->hal.now_ms = hal_now;
    node->hal.send = hal_send;
    return node;
}

struct node *net_device(struct net *net)
{
    struct node *node = new_node(net, NODE_DEVICE, "lamp", 2, 1);
    struct iotsec_device_config *config = &node->device_config;

    node->dtls = &node->device.dtls;
    node->hal.multicast_join = hal_multicast_join;
    node->hal.multicast_leave = hal_multicast_leave;
    node->hal.nvm_read = hal_nvm_read;
    node->hal.nvm_write = hal_nvm_write;
    hops_init_hal(node);
    config->hal = &node->hal;
    config->callbacks = &device_callbacks;
    config->user = node;
    config->identity = (const uint8_t *)node->name;
    config->identity_len = strlen(node->name);
    config->psk = node->psk;
    config->psk_len = sizeof node->psk;
    config->sessions = node->sessions;
    config->session_count = (uint16_t)node->session_room;
    config->handshakes = node->handshakes;
    config->handshake_count = (uint16_t)node->handshake_room;
    config->groups = node->device_groups;
    config->group_count = NET_GROUPS_MAX;
    config->senders = node->senders;
    config->sender_count = NET_GROUPS_MAX * NET_SENDERS_A_GROUP;
    config->tx = node->tx;
    config->tx_size = sizeof node->tx;
    return node;
}

struct node *net_manager(struct net *net)
{
    return net_manager_for(net, 80);
}

struct node *net_manager_for(struct net *net, size_t devices)
{
    struct node *node = new_node(net, NODE_MANAGER, "manager", devices, 64);
    struct iotsec_manager_config *config = &node->manager_config;

    node->dtls = &node->manager.dtls;
    node->registry = net_alloc(sizeof *node->registry);
    registry_init(node->registry, node);
    config->hal = &node->hal;
    config->callbacks = &manager_callbacks;
    config->registry = &registry_memory;
    config->user = node->registry;
    config->sessions = node->sessions;
    config->session_count = (uint16_t)node->session_room;
    config->handshakes = node->handshakes;
    config->handshake_count = (uint16_t)node->handshake_room;
    config->contact_count = (uint16_t)devices;
    config->contacts = node->contacts = net_alloc(config->contact_count * sizeof node->contacts[0]);
    config->group_count = REGISTRY_GROUPS_MAX;
    config->groups = node->manager_groups = net_alloc(config->group_count * sizeof node->manager_groups[0]);
    config->member_count = REGISTRY_MEMBERS_MAX;
    config->members = node->members = net_alloc(config->member_count * sizeof node->members[0]);
    config->delivery_count = 16;
    config->deliveries = node->deliveries = net_alloc(config->delivery_count * sizeof node->deliveries[0]);
    config->tx = node->tx;
    config->tx_size = sizeof node->tx;
    return node;
}

struct node *net_dtls(struct net *net)
{
    struct node *node = new_node(net, NODE_DTLS, "endpoint", 8, 8);
    struct iotsec_dtls_config *config = &node->endpoint_config;

    node->dtls = &node->endpoint;
    config->hal = &node->hal;
    config->callbacks = &endpoint_callbacks;
    config->user = node;
    config->sessions = node->sessions;
    config->session_count = (uint16_t)node->session_room;
    config->handshakes = node->handshakes;
    config->handshake_count = (uint16_t)node->handshake_room;
    config->tx = node->tx;
    config->tx_size = sizeof node->tx;
    return node;
}

static void wipe_context(struct node *node)
{
    if (node->kind == NODE_DEVICE) {
        iotsec_device_wipe(&node->device);
    } else if (node->kind == NODE_MANAGER) {
        iotsec_manager_wipe(&node->manager);
    } else {
        iotsec_dtls_wipe(&node->endpoint);
    }
}

void node_free(struct node *node)
{
    if (node->powered) {
        wipe_context(node);
        hops_crashed(node);
    }
    free(node->sessions);
    free(node->handshakes);
    free(node->contacts);
    free(node->manager_groups);
    free(node->members);
    free(node->deliveries);
    free(node->registry);
    free(node->events);
    free(node->manager_events);
    free(node->heard);
    free(node->all_heard);
    free(node->relay);
    talk_free(node);
    free(node);
}

struct registry_device *net_enroll(struct node *manager, const struct node *device)
{
    return registry_add_device(manager->registry, device->number, device->name, strlen(device->name), device->psk,
                               sizeof device->psk);
}

void net_allow(struct node *manager, const struct node *device, uint16_t group_id)
{
    struct registry_device *entry = registry_device(manager->registry, device->number);

    registry_allow(entry != NULL ? entry : net_enroll(manager, device), group_id);
}

/* ---- Power ---- */

/* Storage holds anything when the power comes on. */
static void soil_storage(struct node *node)
{
    const struct iotsec_manager_config *config = &node->manager_config;

    memset(node->sessions, 0xA5, node->session_room * sizeof node->sessions[0]);
    memset(node->handshakes, 0xA5, node->handshake_room * sizeof node->handshakes[0]);
    memset(node->tx, 0xA5, sizeof node->tx);
    memset(&node->device, 0xA5, sizeof node->device);
    memset(node->device_groups, 0xA5, sizeof node->device_groups);
    memset(node->senders, 0xA5, sizeof node->senders);
    memset(&node->manager, 0xA5, sizeof node->manager);
    memset(&node->endpoint, 0xA5, sizeof node->endpoint);
    talk_soil(node);
    if (node->kind == NODE_MANAGER) {
        memset(node->contacts, 0xA5, config->contact_count * sizeof node->contacts[0]);
        memset(node->manager_groups, 0xA5, config->group_count * sizeof node->manager_groups[0]);
        memset(node->members, 0xA5, config->member_count * sizeof node->members[0]);
        memset(node->deliveries, 0xA5, config->delivery_count * sizeof node->deliveries[0]);
    }
}

enum iotsec_status node_try_boot(struct node *node)
{
    enum iotsec_status status;

    assert_false(node->powered);
    soil_storage(node);
    node->boots++;
    node->event_count = 0;
    node->manager_event_count = 0;
    node->heard_count = 0;
    node->joined = false;
    node->session = 0;
    node->multicast_count = 0;
    memset(node->groups, 0, sizeof node->groups);
    hops_booted(node);
    talk_booted(node);
    if (node->kind == NODE_DEVICE) {
        status = iotsec_device_init(&node->device, &node->device_config);
    } else if (node->kind == NODE_MANAGER) {
        registry_revive(node->registry);
        status = iotsec_manager_init(&node->manager, &node->manager_config);
    } else {
        status = iotsec_dtls_init(&node->endpoint, &node->endpoint_config);
    }
    if (status == IOTSEC_OK) {
        node->powered = true;
        node_after(node);
    }
    return status;
}

void node_boot(struct node *node)
{
    assert_int_equal(node_try_boot(node), IOTSEC_OK);
}

void node_crash(struct node *node)
{
    assert_true(node->powered);
    wipe_context(node);
    hops_crashed(node);
    node->powered = false;
    node->timer++;
    node->multicast_count = 0;
}

void node_reboot(struct node *node)
{
    if (node->powered) {
        node_crash(node);
    }
    node_boot(node);
}

static uint32_t poll_context(struct node *node)
{
    if (node->kind == NODE_DEVICE) {
        return iotsec_poll(&node->device);
    }
    if (node->kind == NODE_MANAGER) {
        return iotsec_manager_poll(&node->manager);
    }
    return iotsec_dtls_poll(&node->endpoint);
}

static bool check_registry(struct node *node)
{
    if (node->registry == NULL) {
        return true;
    }
    if (node->registry->broken != NULL) {
        fail_msg("%s: the registry was broken: %s", node->name, node->registry->broken);
    }
    if (node->registry->dead) {
        node_crash(node);
        return false;
    }
    return true;
}

void node_after(struct node *node)
{
    uint32_t relay_wait;
    uint32_t wait;

    if (!node->powered || !check_registry(node)) {
        return;
    }
    wait = poll_context(node);
    relay_wait = hops_poll(node);
    wait = relay_wait < wait ? relay_wait : wait;
    if (!check_registry(node)) {
        return;
    }
    if (node->polled_at != node->net->now) {
        node->polled_at = node->net->now;
        node->polls = 0;
    }
    if (wait == 0 && ++node->polls > 2000) {
        fail_msg("%s wants to be polled at once for ever", node->name);
    }
    net_set_timer(node, wait);
}

/* ---- What arrives ---- */

enum iotsec_status net_hand(struct node *node, const struct iotsec_addr *from, const struct iotsec_addr *to,
                            const void *data, size_t len)
{
    /* exactly as long as the datagram, so that a sanitizer sees a read behind its end */
    uint8_t *copy = malloc(len != 0 ? len : 1);
    enum iotsec_status status;

    assert_non_null(copy);
    if (len != 0) {
        memcpy(copy, data, len);
    }
    watch_arrived(node, from, to, copy, len);
    if (hops_hand(node, from, to, copy, len, &status)) {
        /* its relay has it */
    } else if (node->kind == NODE_DEVICE) {
        status = iotsec_input(&node->device, from, to, copy, len);
    } else if (node->kind == NODE_MANAGER) {
        status = iotsec_manager_input(&node->manager, from, copy, len);
    } else {
        status = iotsec_dtls_input(&node->endpoint, from, copy, len);
    }
    free(copy);
    node_after(node);
    return status;
}

/* ---- Looking inside ---- */

bool node_is_idle(const struct node *node)
{
    return node->dtls->sessions_used == 0 && node->dtls->handshakes_used == 0;
}

static uint32_t sum_drops(const struct iotsec_stats *stats)
{
    uint32_t sum = 0;
    size_t i;

    for (i = 0; i < IOTSEC_DROP_COUNT; i++) {
        sum += stats->drops[i];
    }
    return sum;
}

uint32_t node_drops(const struct node *node)
{
    uint32_t sum = sum_drops(&node->dtls->stats);

    if (node->kind == NODE_DEVICE) {
        sum += sum_drops(&node->device.stats);
    } else if (node->kind == NODE_MANAGER) {
        sum += sum_drops(&node->manager.stats);
    }
    return sum;
}

/* ---- Devices ---- */

enum iotsec_status node_join_groups(struct node *device, const struct node *manager, const uint16_t *groups, size_t count)
{
    enum iotsec_status status = iotsec_join(&device->device, &manager->addr, groups, count);

    iotsec_pause_end(&device->device); /* the scenarios' devices have somebody at the button; sim_storm's have not */
    node_after(device);
    return status;
}

void node_join(struct node *device, const struct node *manager, uint16_t group_id)
{
    assert_int_equal(node_join_groups(device, manager, &group_id, group_id != 0), IOTSEC_OK);
}

uint32_t node_say_len(struct node *device, uint16_t group_id, size_t len)
{
    uint32_t serial = device->net->messages + 1;
    uint8_t message[1024];
    enum iotsec_status status;
    size_t i;

    assert_true(len >= SAY_HEADER && len <= sizeof message);
    message[0] = 'm';
    iotsec_put_u32(message + 1, serial);
    iotsec_put_u16(message + 5, group_id);
    for (i = SAY_HEADER; i < len; i++) {
        message[i] = (uint8_t)(serial + i);
    }
    device->net->messages = serial; /* before: with loopback off nobody hears it inside the call, but be sure */
    status = iotsec_group_send(&device->device, group_id, message, len);
    node_after(device);
    return status == IOTSEC_OK ? serial : 0;
}

uint32_t node_say(struct node *device, uint16_t group_id)
{
    return node_say_len(device, group_id, 8 + random_below(&device->net->random, 24));
}

bool node_heard(const struct node *device, uint32_t serial)
{
    return serial / 8 < device->all_heard_bytes && (device->all_heard[serial / 8] & (1u << (serial % 8))) != 0;
}

bool node_is_member(const struct node *device, uint16_t group_id)
{
    return device->powered && find_group(device, group_id) != NULL && node_csb(device, group_id) != NULL;
}

uint32_t node_key(const struct node *device, uint16_t group_id)
{
    const struct node_group *group = device->powered ? find_group(device, group_id) : NULL;

    return group != NULL ? group->key_number : 0;
}

uint16_t node_sender(const struct node *device, uint16_t group_id)
{
    const struct node_group *group = device->powered ? find_group(device, group_id) : NULL;

    return group != NULL ? group->sender_id : 0;
}

unsigned node_count(const struct node *device, enum iotsec_device_event_kind kind)
{
    unsigned count = 0;
    size_t i;

    for (i = 0; i < device->event_count; i++) {
        count += device->events[i].kind == kind;
    }
    return count;
}

const struct iotsec_device_event *node_event(const struct node *device, enum iotsec_device_event_kind kind)
{
    size_t i;

    for (i = device->event_count; i > 0; i--) {
        if (device->events[i - 1].kind == kind) {
            return &device->events[i - 1];
        }
    }
    return NULL;
}

const struct iotsec_csb *node_csb(const struct node *device, uint16_t group_id)
{
    size_t i;

    for (i = 0; i < device->device_config.group_count; i++) {
        const struct iotsec_csb *csb = &device->device_config.groups[i].csb;

        if (csb->group_id == group_id && csb->key_number != 0) {
            return csb;
        }
    }
    return NULL;
}

/* ---- Managers ---- */

void manager_group(struct node *manager, uint16_t group_id)
{
    struct iotsec_addr addr = net_group_addr(group_id);

    assert_int_equal(iotsec_manager_group_add(&manager->manager, group_id, &addr), IOTSEC_OK);
    node_after(manager);
}

void manager_evict(struct node *manager, const struct node *device)
{
    assert_int_equal(iotsec_manager_evict(&manager->manager, device->number), IOTSEC_OK);
    node_after(manager);
}

unsigned manager_count(const struct node *manager, enum iotsec_manager_event_kind kind)
{
    unsigned count = 0;
    size_t i;

    for (i = 0; i < manager->manager_event_count; i++) {
        count += manager->manager_events[i].kind == kind;
    }
    return count;
}

const struct iotsec_manager_event *manager_event(const struct node *manager, enum iotsec_manager_event_kind kind)
{
    size_t i;

    for (i = manager->manager_event_count; i > 0; i--) {
        if (manager->manager_events[i - 1].kind == kind) {
            return &manager->manager_events[i - 1];
        }
    }
    return NULL;
}

uint32_t manager_key(const struct node *manager, uint16_t group_id)
{
    return iotsec_manager_key_number(&manager->manager, group_id);
}

void manager_answer_psk(struct node *manager, enum iotsec_status status)
{
    struct registry_memory *registry = manager->registry;
    size_t i;

    for (i = 0; i < sizeof registry->pending / sizeof registry->pending[0]; i++) {
        const struct registry_device *device = registry_device(registry, registry->pending_device[i]);
        iotsec_dtls_handle handshake = registry->pending[i];
        struct iotsec_dtls_psk psk;

        if (handshake == 0 || device == NULL) {
            continue;
        }
        registry->pending[i] = 0;
        memset(&psk, 0, sizeof psk);
        memcpy(psk.key, device->psk, device->psk_len);
        psk.len = device->psk_len;
        psk.peer = device->number;
        (void)iotsec_manager_psk_complete(&manager->manager, handshake, status, &psk);
        node_after(manager);
    }
}

/* ---- Plain endpoints ---- */

void dtls_know(struct node *endpoint, const char *identity, const uint8_t psk[16], uint32_t number)
{
    struct node_dtls_peer *peer = &endpoint->peers[endpoint->peer_count++];

    assert_true(endpoint->peer_count <= sizeof endpoint->peers / sizeof endpoint->peers[0]);
    peer->identity = identity;
    memcpy(peer->psk, psk, sizeof peer->psk);
    peer->number = number;
}

enum iotsec_status dtls_connect(struct node *client, const struct node *server, const char *identity, const uint8_t *psk)
{
    enum iotsec_status status = iotsec_dtls_connect(&client->endpoint, &server->addr, (const uint8_t *)identity,
                                                    strlen(identity), psk, 16, server->number, NULL);

    node_after(client);
    return status;
}

enum iotsec_status dtls_say(struct node *endpoint, const void *data, size_t len)
{
    enum iotsec_status status =
        iotsec_dtls_send(&endpoint->endpoint, endpoint->session, IOTSEC_CONTENT_APPLICATION_DATA, data, len);

    (void)iotsec_dtls_flush(&endpoint->endpoint);
    node_after(endpoint);
    return status;
}
