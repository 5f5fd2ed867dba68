/* SPDX-License-Identifier: BSD-3-Clause */
#include "world.h"

#include <string.h>

#include "crypto.h"
#include "handshake/engine.h"
#include "script.h"

struct world world;
static struct world saved[WORLD_STATES][8];
static bool is_saved[WORLD_STATES][8];

static const uint8_t keys[WORLD_DEVICES][16] = { "first of sixteen", "another of those" };
static const uint8_t *const identities[WORLD_DEVICES] = { (const uint8_t *)"lamp-1", (const uint8_t *)"lamp-2" };

static int party_of(const void *user)
{
    return (int)((const struct iotsec_addr *)user - world.addr);
}

struct iotsec_device *world_device(int party)
{
    return &world.devices[party - PARTY_FIRST].device;
}

struct iotsec_addr world_group_addr(uint16_t group_id)
{
    struct iotsec_addr addr;

    memset(&addr, 0, sizeof addr);
    addr.ip[0] = 0xFF;
    addr.ip[1] = 0x15;
    addr.ip[15] = (uint8_t)group_id;
    addr.port = 5683;
    return addr;
}

/* ---- The HAL; `user` is the party's address ---- */

static int get_random(void *user, uint8_t *out, size_t len)
{
    (void)user;
    while (len-- > 0) {
        world.random = world.random * 6364136223846793005u + 1442695040888963407u;
        *out++ = (uint8_t)(world.random >> 56);
    }
    return 0;
}

static uint32_t get_now(void *user)
{
    (void)user;
    return world.now;
}

static int send_datagram(void *user, const struct iotsec_addr *to, const uint8_t *data, size_t len)
{
    struct world_datagram *datagram;

    script_check(len != 0 && len <= WORLD_DATAGRAM_MAX);
    script_check(party_of(user) != PARTY_MANAGER || !iotsec_addr_is_multicast(to));
    if (world.queued == WORLD_QUEUE_MAX) {
        return -1;
    }
    datagram = &world.queue[world.queued++];
    datagram->from = party_of(user);
    datagram->to = *to;
    datagram->len = len;
    memcpy(datagram->data, data, len);
    return 0;
}

static int join_multicast(void *user, const struct iotsec_addr *group)
{
    (void)user;
    script_check(iotsec_addr_is_multicast(group));
    return 0;
}

static void leave_multicast(void *user, const struct iotsec_addr *group)
{
    (void)user;
    script_check(iotsec_addr_is_multicast(group));
}

static int read_nvm(void *user, uint16_t slot, uint8_t *data, size_t size)
{
    const struct world_device *device = &world.devices[party_of(user) - PARTY_FIRST];

    script_check(slot < WORLD_NVM_SLOTS);
    if (device->nvm_fails || device->nvm_len[slot] > size) {
        return -1;
    }
    memcpy(data, device->nvm[slot], device->nvm_len[slot]);
    return device->nvm_len[slot];
}

static int write_nvm(void *user, uint16_t slot, const uint8_t *data, size_t len)
{
    struct world_device *device = &world.devices[party_of(user) - PARTY_FIRST];

    script_check(slot < WORLD_NVM_SLOTS && len <= WORLD_NVM_BYTES);
    if (device->nvm_fails) {
        return -1;
    }
    if (len != 0) {
        memcpy(device->nvm[slot], data, len);
    }
    device->nvm_len[slot] = (uint16_t)len;
    return 0;
}

/* ---- The applications ---- */

static void on_event(void *user, const struct iotsec_device_event *event)
{
    struct world_device *device = user;
    int own = device == world.devices ? PARTY_FIRST : PARTY_SECOND;
    int other = own == PARTY_FIRST ? PARTY_SECOND : PARTY_FIRST;

    device->events++;
    if (event->kind == IOTSEC_DEVICE_JOINED) {
        device->joined = true;
    }
    if (!device->calls_back) {
        return;
    }
    /* an application that does the most inconvenient thing at every event */
    device->calls_back = false;
    switch ((int)event->kind) {
    case IOTSEC_DEVICE_SHARE:
    case IOTSEC_DEVICE_PEER_CLOSED:
    case IOTSEC_DEVICE_PEER_REFUSED:
        (void)world_tell(own, other, &world.addr[other]);
        break;
    case IOTSEC_DEVICE_PEER_OPEN:
    case IOTSEC_DEVICE_PEER_FAILED:
        (void)iotsec_peer_close(&device->device, event->peer->identity, event->peer->identity_len);
        break;
    case IOTSEC_DEVICE_JOINED:
        (void)iotsec_group_join(&device->device, WORLD_GROUP + 1);
        break;
    case IOTSEC_DEVICE_GROUP_JOINED:
        (void)iotsec_group_leave(&device->device, event->group_id);
        break;
    case IOTSEC_DEVICE_GROUP_KEY:
        (void)iotsec_group_send(&device->device, event->group_id, (const uint8_t *)"!", 1);
        (void)iotsec_leave(&device->device);
        break;
    case IOTSEC_DEVICE_JOIN_FAILED:
    case IOTSEC_DEVICE_EVICTED:
    case IOTSEC_DEVICE_LEFT: {
        uint16_t group = WORLD_GROUP;

        (void)iotsec_join(&device->device, &world.addr[PARTY_MANAGER], &group, 1);
        break;
    }
    default:
        (void)iotsec_leave(&device->device);
        break;
    }
    device->calls_back = true;
}

static void on_group_receive(void *user, uint16_t group_id, uint16_t sender_id, const uint8_t *data, size_t len)
{
    struct world_device *device = user;

    (void)sender_id;
    script_check(len != 0);
    device->messages += data[len - 1] != 0;
    if (device->calls_back) {
        (void)iotsec_group_leave(&device->device, group_id);
    }
}

static void on_receive(void *user, const struct iotsec_peer *peer, const uint8_t *data, size_t len)
{
    struct world_device *device = user;
    const uint8_t *other = identities[device == world.devices];

    /* nobody else has a share */
    script_check(len != 0 && peer->identity_len == 6 && memcmp(peer->identity, other, 6) == 0);
    device->last = data[len - 1]; /* a sanitizer sees if it is not there */
    device->told++;
    if (device->calls_back) {
        (void)iotsec_send(&device->device, peer, (const uint8_t *)"yes", 3);
        (void)iotsec_peer_close(&device->device, peer->identity, peer->identity_len);
    }
}

static const struct iotsec_device_callbacks device_callbacks = { .event = on_event,
                                                                 .group_receive = on_group_receive,
                                                                 .receive = on_receive };

static void on_manager_event(void *user, const struct iotsec_manager_event *event)
{
    (void)user;
    (void)event;
    world.manager_events++;
}

static const struct iotsec_manager_callbacks manager_callbacks = { .event = on_manager_event };

/* ---- Preparing ---- */

static void start_party(int party)
{
    struct iotsec_hal *hal = &world.hal[party];

    world.addr[party].ip[0] = 0xFD;
    world.addr[party].ip[15] = (uint8_t)(party + 1);
    world.addr[party].port = 5684;
    hal->crypto = fuzz_crypto();
    hal->user = &world.addr[party];
    hal->random = get_random;
    hal->now_ms = get_now;
    hal->send = send_datagram;
    if (party != PARTY_MANAGER) {
        hal->multicast_join = join_multicast;
        hal->multicast_leave = leave_multicast;
        hal->nvm_read = read_nvm;
        hal->nvm_write = write_nvm;
    }
}

static void start_device(int party, bool persist, bool pairs)
{
    struct world_device *device = &world.devices[party - PARTY_FIRST];
    struct iotsec_device_config *config = &device->config;

    config->hal = &world.hal[party];
    config->callbacks = &device_callbacks;
    config->user = device;
    config->identity = identities[party - PARTY_FIRST];
    config->identity_len = 6;
    config->psk = keys[party - PARTY_FIRST];
    config->psk_len = 16;
    config->sessions = device->sessions;
    config->session_count = pairs ? WORLD_PLACES + 2 : 2;
    config->handshakes = device->handshakes;
    config->handshake_count = pairs ? 4 : 1;
    config->pairs = device->pairs;
    config->pair_count = pairs ? WORLD_PLACES : 0;
    config->shares = device->shares;
    config->share_degree_max = WORLD_DEGREE;
    config->pair_messages = device->pair_messages;
    config->pair_message_size = 16;
    config->share_overlap_ms = 30000;
    config->groups = device->groups;
    config->group_count = WORLD_GROUPS;
    config->senders = device->senders;
    config->sender_count = WORLD_GROUPS * 4;
    config->tx = device->tx;
    config->tx_size = sizeof device->tx;
    config->persist = persist;
    script_check(iotsec_device_init(&device->device, config) == IOTSEC_OK);
}

static void start_manager(uint8_t cookie, bool pairs, bool narrow)
{
    struct iotsec_manager_config *config = &world.config;
    struct iotsec_addr group = world_group_addr(WORLD_GROUP);
    uint32_t i;

    registry_init(&world.registry, NULL);
    for (i = 0; i < WORLD_DEVICES; i++) {
        struct registry_device *entry = registry_add_device(&world.registry, i + 1, identities[i], 6, keys[i], 16);

        registry_allow(entry, WORLD_GROUP);
        registry_allow(entry, WORLD_GROUP + 1);
    }
    config->hal = &world.hal[PARTY_MANAGER];
    config->callbacks = &manager_callbacks;
    config->registry = &registry_memory;
    config->user = &world.registry;
    config->sessions = world.sessions;
    config->session_count = 4;
    config->handshakes = world.handshakes;
    config->handshake_count = 3;
    config->contacts = world.contacts;
    config->contact_count = 3;
    config->groups = world.groups;
    config->group_count = WORLD_GROUPS;
    config->members = world.members;
    config->member_count = 6;
    config->deliveries = world.deliveries;
    config->delivery_count = 3;
    config->tx = world.tx;
    config->tx_size = sizeof world.tx;
    config->cookie_policy = cookie;
    config->link_payload = narrow ? 95 : 0; /* shares come in pieces */
    script_check(iotsec_manager_init(&world.manager, config) == IOTSEC_OK);
    script_check(iotsec_manager_group_add(&world.manager, WORLD_GROUP, &group) == IOTSEC_OK);
    if (pairs) {
        script_check(iotsec_manager_poly_renew(&world.manager, WORLD_DEGREE, 0) == IOTSEC_OK);
    }
}

static void settle(void)
{
    unsigned i;

    for (i = 0; i < 40; i++) {
        while (world_deliver()) {
        }
        world_pass(250);
    }
    world.queued = 0;
}

static void join(int party, bool group)
{
    uint16_t group_id = WORLD_GROUP;

    script_check(iotsec_join(world_device(party), &world.addr[PARTY_MANAGER], &group_id, group) == IOTSEC_OK);
    world_poll();
}

/* Delivers until the next datagram in the queue has this content type first and comes from this party. */
static void deliver_up_to(int from, uint8_t type)
{
    unsigned i;

    for (i = 0; i < 20 && !(world.queued > 0 && world.queue[0].from == from && world.queue[0].data[0] == type); i++) {
        script_check(world_deliver());
    }
    script_check(i < 20);
}

/* Of two devices with their shares. */
static void play_pair(enum world_state state)
{
    int from = state == WORLD_PAIR_HELLO ? PARTY_FIRST : PARTY_SECOND;
    int to = from == PARTY_FIRST ? PARTY_SECOND : PARTY_FIRST;

    script_check(world.devices[0].device.share[0].held == WORLD_DEGREE + 1);
    script_check(world.devices[1].device.share[0].held == WORLD_DEGREE + 1);
    if (state == WORLD_SHARE_SENT) {
        script_check(iotsec_manager_poly_renew(&world.manager, WORLD_DEGREE - 1, 1) == IOTSEC_OK);
        return;
    }
    script_check(world_tell(from, to, &world.addr[to]) == IOTSEC_OK);
    if (state == WORLD_PAIR_FINISHED) {
        deliver_up_to(PARTY_SECOND, 22);
        script_check(world_deliver());
        deliver_up_to(PARTY_FIRST, 22);
        script_check(world_deliver());
    } else if (state == WORLD_PAIRED) {
        settle();
        script_check(world.devices[0].told == 1);
    }
}

static void play(enum world_state state)
{
    struct world_device *first = &world.devices[0];

    if (state == WORLD_IDLE) {
        return;
    }
    if (state == WORLD_PERSISTED) {
        iotsec_device_wipe(&first->device);
        start_device(PARTY_FIRST, true, world_has_pairs());
    }
    if (state >= WORLD_JOINED) {
        join(PARTY_SECOND, true);
        settle();
        script_check(world.devices[1].joined);
    }
    registry_device(&world.registry, 1)->slow = state == WORLD_PSK_PENDING;
    join(PARTY_FIRST, state != WORLD_ALONE);
    if (state <= WORLD_KEYS_TAKEN) {
        /* flights are datagrams here: hello, (cookie, hello,) hello flight, last flight, last flight with keys */
        while (state > WORLD_HELLO_SENT && world.manager.dtls.handshakes_used == 0) {
            script_check(world_deliver());
        }
        if (state > WORLD_HELLO_SENT) {
            script_check(world_deliver());
            script_check(world.queued == 1 && world.queue[0].from == PARTY_FIRST);
        }
        if (state >= WORLD_PSK_PENDING) {
            script_check(world_deliver());
        }
        if (state == WORLD_KEYS_TAKEN) {
            deliver_up_to(PARTY_MANAGER, 20);
            script_check(world_deliver());
        }
        return;
    }
    settle();
    script_check(first->joined);
    if (state == WORLD_LEAVING) {
        script_check(iotsec_leave(&first->device) == IOTSEC_OK);
    } else if (state == WORLD_EVICTED) {
        script_check(iotsec_manager_evict(&world.manager, 1) == IOTSEC_OK);
    } else if (state == WORLD_PERSISTED) {
        iotsec_device_wipe(&first->device);
        start_device(PARTY_FIRST, true, world_has_pairs());
    } else if (state >= WORLD_SHARE_SENT) {
        play_pair(state);
    }
    world_poll();
}

void world_restore(enum world_state state, uint8_t flags)
{
    bool pairs = (flags & WORLD_PAIRS) != 0 || state >= WORLD_SHARE_SENT;
    uint8_t cookie = (uint8_t)((flags & 3) | (pairs ? WORLD_PAIRS : 0)); /* and whether there are pairs */

    if (!is_saved[state][cookie]) {
        int party;

        memset(&world, 0, sizeof world);
        world.now = 0xFFFFF000u;
        world.random = 1;
        for (party = 0; party < PARTY_COUNT; party++) {
            start_party(party);
        }
        start_manager(flags & 3, pairs, pairs && state > WORLD_KEYS_TAKEN);
        start_device(PARTY_FIRST, false, pairs);
        start_device(PARTY_SECOND, false, pairs);
        play(state);
        memcpy(&saved[state][cookie], &world, sizeof world);
        is_saved[state][cookie] = true;
    }
    memcpy(&world, &saved[state][cookie], sizeof world);
}

/* ---- Pairs ---- */

bool world_has_pairs(void)
{
    return world.devices[0].config.pair_count != 0;
}

enum iotsec_status world_tell(int from, int identity, const struct iotsec_addr *addr)
{
    struct iotsec_peer peer;

    peer.identity = identity == PARTY_MANAGER ? (const uint8_t *)"nobody" : identities[identity - PARTY_FIRST];
    peer.identity_len = 6;
    peer.addr = *addr;
    return iotsec_send(world_device(from), &peer, (const uint8_t *)"hello", 5);
}

void world_check_pairs(int party)
{
    struct iotsec_device *device = world_device(party);
    const struct iotsec_device_config *config = device->config;
    size_t i;

    for (i = 0; config->pair_count != 0 && i < 2; i++) {
        const struct iotsec_share *share = &device->share[i];

        script_check(share->elements == config->shares ||
                     share->elements == config->shares + sizeof world.devices[0].shares / 2);
        script_check(share->held <= WORLD_DEGREE + 1u && (share->held == 0 || share->held <= share->degree + 1u));
        script_check(iotsec_polykey_are_elements(share->elements, share->held));
    }
    script_check(device->revoked_count <= IOTSEC_REVOKED_MAX && device->revoked_before <= device->revoked_count);
    for (i = 0; i < config->pair_count; i++) {
        const struct iotsec_pair *pair = &config->pairs[i];

        script_check(pair->session == 0 || (pair->identity_len != 0 && pair->session != device->session &&
                                            iotsec_dtls_peer(&device->dtls, pair->session, NULL, NULL) == IOTSEC_OK));
        script_check(pair->queued <= config->pair_message_size);
        /* what is queued leaves some day, or its end is told */
        script_check(pair->queued == 0 || pair->handshake != 0 || pair->flags != 0);
    }
    script_check(device->dtls.sessions_used <= config->pair_count + 2u);
}

/* ---- Running ---- */

void world_poll(void)
{
    int party;

    (void)iotsec_manager_poll(&world.manager);
    for (party = PARTY_FIRST; party < PARTY_COUNT; party++) {
        (void)iotsec_poll(world_device(party));
    }
    script_check(world.registry.broken == NULL);
}

void world_pass(uint32_t ms)
{
    world.now += ms;
    world_poll();
}

enum iotsec_status world_input(int to, const struct iotsec_addr *from, bool multicast, uint8_t *data, size_t len)
{
    struct iotsec_addr group = world_group_addr(WORLD_GROUP);
    enum iotsec_status status;

    if (to == PARTY_MANAGER) {
        status = iotsec_manager_input(&world.manager, from, data, len);
    } else {
        status = iotsec_input(world_device(to), from, multicast ? &group : &world.addr[to], data, len);
    }
    world_poll();
    return status;
}

static void hand_copy(int to, const struct world_datagram *datagram, bool multicast)
{
    uint8_t *copy = malloc(datagram->len);

    script_check(copy != NULL);
    memcpy(copy, datagram->data, datagram->len);
    (void)world_input(to, &world.addr[datagram->from], multicast, copy, datagram->len);
    free(copy);
}

bool world_deliver(void)
{
    struct world_datagram datagram;
    struct iotsec_addr group = world_group_addr(WORLD_GROUP);
    int party;

    if (world.queued == 0) {
        return false;
    }
    datagram = world.queue[0];
    memmove(&world.queue[0], &world.queue[1], --world.queued * sizeof world.queue[0]);
    for (party = 0; party < PARTY_COUNT; party++) {
        if (iotsec_addr_equal(&datagram.to, &world.addr[party])) {
            hand_copy(party, &datagram, false);
        } else if (party != PARTY_MANAGER && party != datagram.from && iotsec_addr_equal(&datagram.to, &group)) {
            hand_copy(party, &datagram, true);
        }
    }
    return true;
}

size_t world_seal(int from, int to, uint8_t type, const uint8_t *content, size_t len, uint8_t *out, size_t size)
{
    struct iotsec_dtls *dtls = from == PARTY_MANAGER ? &world.manager.dtls : &world_device(from)->dtls;
    struct iotsec_dtls_session *session;
    struct iotsec_dtls_path path;
    size_t out_len = 0;

    iotsec_path_set(&path, &world.addr[to]);
    session = iotsec_session_find(dtls, &path);
    if (session != NULL) {
        (void)iotsec_record_seal(&world.hal[from], &session->write_key, 8, out, size, &out_len, type, 1,
                                 session->write_sequence++, content, len);
    }
    return out_len;
}

void world_change_queue(struct iotsec_reader *script, uint8_t step)
{
    struct world_datagram *datagram = &world.queue[0];

    if (world.queued != 0 && (step & 3) == 1) {
        datagram->data[script_u16(script) % datagram->len] ^= script_u8(script);
    } else if (world.queued != 0 && (step & 3) == 2) {
        datagram->len = 1 + script_u16(script) % datagram->len;
    } else if (world.queued != 0 && (step & 3) == 3 && world.queued < WORLD_QUEUE_MAX) {
        world.queue[world.queued++] = *datagram;
    }
    (void)world_deliver();
}
