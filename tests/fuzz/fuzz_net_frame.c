/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The MC1322x port's network layer among neighbours that send anything: garbage, fragments, frames under a key that they
 * hold, old frames again; while the radio is full, the store fails, keys change and time passes. Its tables keep their sizes, what
 * it sends is well formed, nothing but answers from the join port is in the clear, and no frame counter comes twice.
 */
#include <stdbool.h>

#include "crypto.h"
#include "net/fragment.h"
#include "net/linksec.h"
#include "script.h"

#define NODES 5u
#define BUFFERS 3u
#define DATAGRAM 256u
#define NEIGHBOURS 3u
#define ROUTES 3u
#define ORIGINATORS 2u
#define GROUPS 2u
#define PAN 0xBEEFu
#define JOIN_PORT 5684u

enum { OP_RAW, OP_PAYLOAD, OP_SECURED, OP_AGAIN, OP_PASS_TIME, OP_SEND, OP_SWITCH, OP_KEYS, OP_ADDRESS, OP_RESTART, OP_COUNT };

static struct {
    struct net net;
    struct net_config config;
    struct net_buffer buffers[BUFFERS];
    uint8_t *datagrams;
    struct net_neighbour neighbours[NEIGHBOURS];
    struct net_route routes[ROUTES];
    struct net_originator originators[ORIGINATORS];
    struct net_group groups[GROUPS];
    uint32_t now;
    uint32_t durable;
    uint32_t counter;    /* the highest of a frame that was sent */
    bool has_counter;
    bool radio_full;
    bool store_fails;
    bool aes_fails;
    bool open;
    uint8_t again[NET_FRAME_BYTES];
    size_t again_len;
    uint32_t theirs;     /* frame counter of the neighbours */
} world;

static const uint8_t prefix[8] = { 0xFD, 0, 0, 0, 0, 0, 0, 1 };

static void key_of(uint8_t index, uint8_t key[16])
{
    memset(key, index, 16);
}

static void eui64_of(uint8_t node, uint8_t eui64[8])
{
    memset(eui64, 0, 8);
    eui64[7] = (uint8_t)(1 + node % NODES);
}

static int encrypt(void *user, const uint8_t key[16], const uint8_t in[16], uint8_t out[16])
{
    const struct iotsec_crypto *crypto = fuzz_crypto();
    struct iotsec_aes aes;

    (void)user;
    if (world.aes_fails) {
        return -1;
    }
    script_check(crypto->aes_start(NULL, &aes, key) == 0 && crypto->aes_encrypt(NULL, &aes, in, out) == 0);
    crypto->aes_done(NULL, &aes);
    return 0;
}

static int reserve(void *user, uint32_t bound)
{
    (void)user;
    script_check(bound > world.durable);
    if (world.store_fails) {
        return -1;
    }
    world.durable = bound;
    return 0;
}

static int send_frame(void *user, const uint8_t *bytes, size_t len)
{
    struct frame frame;

    (void)user;
    if (world.radio_full) {
        return -1;
    }
    script_check(len <= NET_FRAME_BYTES && frame_read(&frame, bytes, len));
    if (frame.level != 0) {
        script_check(frame.counter < world.durable && (!world.has_counter || frame.counter > world.counter));
        world.counter = frame.counter;
        world.has_counter = true;
    } else {
        uint8_t copy[NET_FRAME_BYTES];

        memcpy(copy, bytes, len);
        script_check((copy[frame.header_len] & 0xD8u) == LOWPAN_FRAGMENT || (copy[frame.header_len] & 0xE0u) == 0x60);
    }
    return 0;
}

static void received(void *user, const struct iotsec_addr *from, const struct iotsec_addr *to, uint8_t *data, size_t len, int secured)
{
    (void)user;
    script_check(len <= DATAGRAM - NET_HEADER_BYTES && !iotsec_addr_is_multicast(from));
    if (!secured) {
        script_check(iotsec_addr_is_link_local(from) && (iotsec_addr_is_link_local(to) || to->ip[1] == 2));
        script_check((world.open && to->port == JOIN_PORT) || from->port == JOIN_PORT);
    }
    if (len != 0 && (data[0] & 1) != 0) {
        uint8_t answer[32] = { 0 };

        (void)net_send(&world.net, to->port, from, answer, data[0] % sizeof answer);
    }
    memset(data, 0xEE, len);
}

static const struct net_callbacks callbacks = { send_frame, received, encrypt, reserve };

static void start(void)
{
    struct net_config *config = &world.config;

    config->callbacks = &callbacks;
    config->buffers = world.buffers;
    config->datagrams = world.datagrams;
    config->neighbours = world.neighbours;
    config->routes = world.routes;
    config->originators = world.originators;
    config->groups = world.groups;
    config->datagram_size = DATAGRAM;
    config->buffer_count = BUFFERS;
    config->neighbour_count = NEIGHBOURS;
    config->route_count = ROUTES;
    config->originator_count = ORIGINATORS;
    config->group_count = GROUPS;
    config->level = NET_ENC_MIC_32;
    config->join_port = JOIN_PORT;
    config->flood_copies = 2;
    memset(config->eui64, 0, 8);
    config->eui64[7] = 0x80;
    config->counter = world.durable;
    config->counter_block = 5;
    script_check(net_init(&world.net, config, PAN, world.now) == NET_OK);
    world.open = false;
}

/* A frame from a neighbour with a payload of the script's; secured as its neighbours would. */
static void give_payload(struct iotsec_reader *script, bool secured)
{
    uint8_t how = script_u8(script);
    struct frame frame;
    uint8_t bytes[NET_FRAME_BYTES + FRAME_HEADER_MAX];
    uint8_t key[16];
    uint8_t nonce[LINKSEC_NONCE_BYTES];
    uint8_t *payload;
    size_t len;

    memset(&frame, 0, sizeof frame);
    eui64_of(how, nonce);
    frame_turn_eui64(frame.source, nonce);
    if ((how & 0x10) != 0) {
        memcpy(frame.target, frame_broadcast, 8);
    } else {
        memcpy(frame.target, world.net.own, 8);
    }
    frame.pan_id = PAN;
    frame.key_index = (uint8_t)(1 + (how >> 5 & 3));
    frame.counter = world.theirs++;
    frame.level = secured ? NET_ENC_MIC_32 : 0;
    payload = script_bytes(script, &len);
    (void)frame_write(&frame, bytes);
    if (len > NET_FRAME_BYTES - frame.header_len - linksec_mic_bytes(frame.level)) {
        len = NET_FRAME_BYTES - frame.header_len - linksec_mic_bytes(frame.level);
    }
    memcpy(bytes + frame.header_len, payload, len);
    free(payload);
    if (secured) {
        bool fails = world.aes_fails;

        world.aes_fails = false;
        key_of(frame.key_index, key);
        iotsec_put_u32(nonce + 8, frame.counter);
        nonce[12] = frame.level;
        script_check(linksec_ccm(&world.config, key, nonce, bytes, frame.header_len, len, 4, true) == NET_OK);
        world.aes_fails = fails;
    }
    world.again_len = frame.header_len + len + linksec_mic_bytes(frame.level);
    memcpy(world.again, bytes, world.again_len);
}

static void give(const uint8_t *bytes, size_t len)
{
    uint8_t *copy = malloc(len != 0 ? len : 1);

    script_check(copy != NULL);
    if (len != 0) {
        memcpy(copy, bytes, len);
    }
    net_frame(&world.net, copy, len);
    free(copy);
}

/* What was given right before: under a key it is a replay, taken or not. */
static void give_again(void)
{
    uint32_t before = world.net.stats.received;
    struct frame frame;

    give(world.again, world.again_len);
    script_check(!frame_read(&frame, world.again, world.again_len) || frame.level == 0 || world.net.stats.received == before);
}

static void send_something(struct iotsec_reader *script)
{
    uint8_t how = script_u8(script);
    struct iotsec_addr to = { { 0xFE, 0x80 }, 5683, 0 };
    uint8_t *data;
    size_t len;

    eui64_of(how >> 4, to.ip + 8);
    to.ip[8] ^= 2;
    switch (how & 3) {
    case 1:
        memcpy(to.ip, prefix, 8);
        break;
    case 2:
        memset(to.ip, 0, 16);
        to.ip[0] = 0xFF;
        to.ip[1] = (uint8_t)(how >> 4);
        to.ip[15] = (uint8_t)(1 + (how >> 3 & 1));
        break;
    default:
        break;
    }
    if ((how & 4) != 0) {
        to.port = JOIN_PORT;
    }
    data = script_bytes(script, &len);
    (void)net_send(&world.net, (how & 8) != 0 ? JOIN_PORT : 5683, &to, data, len);
    free(data);
}

static void step(struct iotsec_reader *script)
{
    uint8_t op = script_u8(script) % OP_COUNT;
    uint8_t argument;
    uint8_t key[16];
    uint8_t eui64[8];
    uint8_t *bytes;
    size_t len;

    switch (op) {
    case OP_RAW:
        bytes = script_bytes(script, &len);
        give(bytes, len);
        free(bytes);
        break;
    case OP_PAYLOAD:
    case OP_SECURED:
        give_payload(script, op == OP_SECURED);
        give(world.again, world.again_len);
        break;
    case OP_AGAIN:
        give(world.again, world.again_len);
        give_again();
        break;
    case OP_PASS_TIME:
        argument = script_u8(script);
        world.now += argument < 128 ? argument : (uint32_t)argument * 100000u;
        script_check(net_poll(&world.net, world.now) != 0);
        break;
    case OP_SEND:
        send_something(script);
        break;
    case OP_SWITCH:
        argument = script_u8(script);
        world.radio_full = (argument & 1) != 0;
        world.store_fails = (argument & 2) != 0;
        world.aes_fails = (argument & 4) != 0;
        world.open = (argument & 8) != 0;
        net_join_open(&world.net, world.open);
        net_set_forwarding(&world.net, (argument & 16) != 0);
        eui64_of(argument >> 6, eui64);
        net_join_through(&world.net, (argument & 32) == 0 ? NULL : argument >> 6 == 3 ? (const uint8_t[8]){ 0 } : eui64);
        break;
    case OP_KEYS:
        argument = script_u8(script);
        key_of((uint8_t)(1 + (argument & 3)), key);
        if ((argument & 12) == 0) {
            net_key_remove(&world.net, (uint8_t)(1 + (argument & 3)));
        } else {
            (void)net_key_install(&world.net, (uint8_t)(1 + (argument & 3)), key);
            if ((argument & 16) != 0) {
                script_check(net_key_use(&world.net, (uint8_t)(1 + (argument & 3))) == NET_OK);
            }
        }
        break;
    case OP_ADDRESS:
        argument = script_u8(script);
        (void)net_set_address(&world.net, PAN, (argument & 1) != 0 ? argument : NET_NO_SHORT_ADDRESS,
                              (argument & 2) != 0 ? prefix : NULL);
        eui64_of(argument >> 3, eui64);
        net_set_default_route(&world.net, (argument & 4) != 0 ? eui64 : NULL);
        {
            uint8_t group[16] = { 0xFF, 5 };

            group[15] = (uint8_t)(1 + (argument >> 5 & 3));
            if ((argument & 0x80) != 0) {
                net_group_leave(&world.net, group);
            } else {
                (void)net_group_join(&world.net, group);
            }
        }
        break;
    default:
        net_wipe(&world.net);
        start();
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct iotsec_reader script;
    uint8_t key[16];
    uint8_t flags;
    unsigned steps;

    memset(&world, 0, sizeof world);
    world.datagrams = malloc(BUFFERS * DATAGRAM); /* its own, so that a sanitizer sees what lies behind its end */
    script_check(world.datagrams != NULL);
    memset(world.datagrams, 0, BUFFERS * DATAGRAM);
    iotsec_rd_init(&script, data, size);
    flags = script_u8(&script);
    world.now = (flags & 1) != 0 ? 0xFFFFFF00u : 0;
    world.durable = (flags & 2) != 0 ? 0xFFFFFFF0u : 0;
    start();
    if ((flags & 4) == 0) { /* a member from the beginning */
        key_of(1, key);
        script_check(net_key_install(&world.net, 1, key) == NET_OK && net_key_use(&world.net, 1) == NET_OK);
        script_check(net_set_address(&world.net, PAN, 0x101, prefix) == NET_OK);
        net_set_forwarding(&world.net, true);
    }
    for (steps = 0; steps < SCRIPT_STEPS_MAX && script.left != 0; steps++) {
        step(&script);
    }
    net_wipe(&world.net);
    free(world.datagrams);
    return 0;
}
