/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A relay of either mode among neighbours and a manager that send anything, at any time, and with anything in its
 * memory. What it sends down is DTLS, goes to somebody who has sent through it, and only while joining is open; what it
 * sends up is what came.
 */
#include <stdbool.h>

#include <iotsec/relay.h>

#include "crypto.h"
#include "record/join_proxy.h"
#include "script.h"

#define NEIGHBOURS 8u
#define SLOT_BYTES 39u
#define TX_BYTES 700u

enum {
    OP_NEIGHBOUR,
    OP_STRANGER,
    OP_REPLY,
    OP_SPOILED_REPLY,
    OP_PASS_TIME,
    OP_OPEN,
    OP_CLOSE,
    OP_ROTATE,
    OP_RESTART,
    OP_COUNT
};

static struct {
    struct iotsec_relay relay;
    struct iotsec_relay_config config;
    struct iotsec_hal hal;
    struct iotsec_relay_entry entries[3];
    struct iotsec_relay_bucket buckets[4];
    uint8_t tx[TX_BYTES];
    uint8_t nvm[SLOT_BYTES];
    size_t nvm_len;
    bool nvm_fails;
    bool seen[NEIGHBOURS];
    uint8_t up[TX_BYTES];
    size_t up_len;
    uint16_t up_slot;
    uint32_t now;
    uint32_t random;
    const uint8_t *given;
    size_t given_len;
} world;

static const struct iotsec_addr manager = { { 0xFD, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1 }, 5684, 0 };

static struct iotsec_addr neighbour(uint8_t number)
{
    struct iotsec_addr addr = { { 0xFE, 0x80 }, 40000, 2 };

    addr.ip[15] = number % NEIGHBOURS;
    return addr;
}

static int fill_random(void *user, uint8_t *out, size_t len)
{
    (void)user;
    while (len-- != 0) {
        world.random = world.random * 1664525u + 1013904223u;
        *out++ = (uint8_t)(world.random >> 24);
    }
    return 0;
}

static uint32_t now_ms(void *user)
{
    (void)user;
    return world.now;
}

static int nvm_read(void *user, uint16_t slot, uint8_t *data, size_t size)
{
    (void)user;
    (void)slot;
    script_check(size >= world.nvm_len);
    memcpy(data, world.nvm, world.nvm_len);
    return (int)world.nvm_len;
}

static int nvm_write(void *user, uint16_t slot, const uint8_t *data, size_t len)
{
    (void)user;
    (void)slot;
    script_check(len == SLOT_BYTES);
    if (world.nvm_fails) {
        return -1;
    }
    memcpy(world.nvm, data, len);
    world.nvm_len = len;
    return 0;
}

static int send_up(void *user, uint16_t slot, const struct iotsec_addr *to, const uint8_t *data, size_t len)
{
    const uint8_t *header;
    const uint8_t *content = data;
    size_t header_len;
    size_t content_len = len;

    (void)user;
    script_check(iotsec_addr_equal(to, &manager) && iotsec_relay_is_open(&world.relay));
    if (world.config.mode == IOTSEC_RELAY_STATEFUL) {
        script_check(slot < world.config.entry_count);
    } else {
        script_check(iotsec_join_proxy_read(data, len, &header, &header_len, &content, &content_len) == IOTSEC_OK &&
                     header_len == IOTSEC_RELAY_HEADER_BYTES && len <= world.config.tx_size);
    }
    script_check(content_len == world.given_len && memcmp(content, world.given, content_len) == 0 &&
                 iotsec_join_proxy_is_dtls(content, content_len));
    world.up_slot = slot;
    world.up_len = len < sizeof world.up ? len : sizeof world.up;
    memcpy(world.up, data, world.up_len);
    return 0;
}

static int send_down(void *user, const struct iotsec_addr *to, const uint8_t *data, size_t len)
{
    struct iotsec_addr known = neighbour(to->ip[15]);

    (void)user;
    script_check(iotsec_relay_is_open(&world.relay) && iotsec_join_proxy_is_dtls(data, len));
    script_check(iotsec_addr_equal(to, &known) && world.seen[to->ip[15]]);
    return (int)(len & 1) - 1; /* some cannot be sent */
}

static const struct iotsec_relay_callbacks callbacks = { send_up, send_down };

static void start(struct iotsec_reader *script)
{
    uint8_t flags = script_u8(script);
    uint8_t *slot;
    size_t len;

    memset(&world, 0, sizeof world);
    world.hal.crypto = fuzz_crypto();
    world.hal.random = fill_random;
    world.hal.now_ms = now_ms;
    world.hal.nvm_read = nvm_read;
    world.hal.nvm_write = nvm_write;
    world.config.hal = &world.hal;
    world.config.callbacks = &callbacks;
    world.config.manager = manager;
    world.config.entries = world.entries;
    world.config.entry_count = 3;
    world.config.buckets = world.buckets;
    world.config.bucket_count = 4;
    world.config.tx = world.tx;
    world.config.tx_size = sizeof world.tx;
    world.config.mode = flags & 1;
    world.config.keep_key = flags >> 1 & 1;
    world.config.neighbour_rate = flags & 4 ? 1000 : 0;
    world.now = flags & 8 ? 0xFFFFFF00u : 0;
    slot = script_bytes(script, &len);
    world.nvm_len = len < SLOT_BYTES ? len : SLOT_BYTES;
    memcpy(world.nvm, slot, world.nvm_len);
    if ((flags & 16) != 0 && world.nvm_len == SLOT_BYTES) {
        iotsec_put_u32(world.nvm + SLOT_BYTES - 4, iotsec_crc32(world.nvm, SLOT_BYTES - 4));
    }
    free(slot);
    script_check(iotsec_relay_init(&world.relay, &world.config) == IOTSEC_OK);
}

static void reply(const uint8_t *data, size_t len, uint16_t slot)
{
    uint8_t *copy = malloc(len + 1); /* of its exact size but one: reading behind it is seen, and malloc(0) is not */

    script_check(copy != NULL);
    memcpy(copy + 1, data, len);
    (void)iotsec_relay_from_manager(&world.relay, slot, &manager, copy + 1, len);
    free(copy);
}

static void step(struct iotsec_reader *script)
{
    uint8_t op = script_u8(script) % OP_COUNT;
    uint8_t argument = script_u8(script);
    struct iotsec_addr from = neighbour(argument);
    uint8_t *bytes = NULL;
    size_t len;
    size_t i;

    switch (op) {
    case OP_NEIGHBOUR:
        bytes = script_bytes(script, &len);
        world.given = bytes;
        world.given_len = len;
        if (iotsec_relay_from_neighbour(&world.relay, &from, argument >> 7, bytes, len) == IOTSEC_OK) {
            world.seen[argument % NEIGHBOURS] = true;
        }
        break;
    case OP_STRANGER:
        bytes = script_bytes(script, &len);
        from.ip[argument % 8] ^= 1;
        script_check(iotsec_relay_from_neighbour(&world.relay, &from, 1, bytes, len) != IOTSEC_OK);
        script_check(iotsec_relay_from_manager(&world.relay, world.up_slot, &from, bytes, len) != IOTSEC_OK);
        break;
    case OP_REPLY:
        bytes = script_bytes(script, &len);
        reply(bytes, len, argument);
        break;
    case OP_SPOILED_REPLY: /* what went up last, with changes */
        bytes = script_bytes(script, &len);
        for (i = 0; i < len && i < world.up_len; i++) {
            world.up[i] ^= bytes[i];
        }
        reply(world.up, world.up_len, world.up_slot);
        break;
    case OP_PASS_TIME:
        world.now += argument < 128 ? argument : (uint32_t)argument * 1000u;
        break;
    case OP_OPEN:
        script_check(iotsec_relay_open(&world.relay, argument) == IOTSEC_OK && iotsec_relay_is_open(&world.relay));
        break;
    case OP_CLOSE:
        iotsec_relay_close(&world.relay);
        script_check(!iotsec_relay_is_open(&world.relay));
        break;
    case OP_ROTATE:
        world.nvm_fails = (argument & 1) != 0;
        if (iotsec_relay_is_open(&world.relay)) {
            script_check(iotsec_relay_rotate(&world.relay) != IOTSEC_OK);
        } else {
            (void)iotsec_relay_rotate(&world.relay);
        }
        world.nvm_fails = false;
        break;
    default:
        iotsec_relay_wipe(&world.relay);
        script_check(iotsec_relay_init(&world.relay, &world.config) == IOTSEC_OK && !iotsec_relay_is_open(&world.relay));
        break;
    }
    free(bytes);
    script_check(iotsec_relay_poll(&world.relay) != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct iotsec_reader script;
    unsigned steps;

    iotsec_rd_init(&script, data, size);
    start(&script);
    for (steps = 0; steps < SCRIPT_STEPS_MAX && script.left != 0; steps++) {
        step(&script);
    }
    iotsec_relay_wipe(&world.relay);
    return 0;
}
