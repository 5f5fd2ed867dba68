/* SPDX-License-Identifier: BSD-3-Clause */
#include "node.h"

#include <string.h>

#include "console.h"
#include "crm.h"
#include "crypto.h"
#include "fault.h"
#include "flash.h"
#include "radio.h"
#include "regs.h"
#include "store.h"

/* So many frame counters are lost at a restart, and the store is written once for each so many. */
#define COUNTER_BLOCK 2048u
#define NOISE_SAMPLES 32u
#define GOODBYE_MS 100u

struct node node;

/* What either application sends at most, 300 bytes, with its headers; a manager knows the way to 32 devices. */
#define DATAGRAM_BYTES 352u
#define NEIGHBOURS (IMAGE_MANAGER ? 33u : NET_DEFAULT_NEIGHBOURS)
#define ROUTES (IMAGE_MANAGER ? 32u : NET_DEFAULT_ROUTES)

static node_received *take;
static struct net_buffer buffers[NET_DEFAULT_BUFFERS];
static uint8_t datagrams[NET_DEFAULT_BUFFERS * DATAGRAM_BYTES];
static struct net_neighbour neighbours[NEIGHBOURS];
static struct net_route routes[ROUTES];
static struct net_originator originators[NET_DEFAULT_ORIGINATORS];
static struct net_group groups[NET_DEFAULT_GROUPS];
static struct net_config net_config;

/* ---- Numbers that must outlive a restart ---- */

static uint32_t number_of(const uint8_t bytes[4])
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

/* 0 if it was never written. Damage is a fault: to begin again from 0 would repeat nonces. */
static uint32_t read_number(uint16_t slot)
{
    uint8_t bytes[4] = { 0 };
    int len = store_read(slot, bytes, sizeof bytes);

    if (len != 0 && len != (int)sizeof bytes) {
        fault_at("store-counter", slot);
    }
    return number_of(bytes);
}

static int write_number(uint16_t slot, uint32_t number)
{
    uint8_t bytes[4];

    bytes[0] = (uint8_t)number;
    bytes[1] = (uint8_t)(number >> 8);
    bytes[2] = (uint8_t)(number >> 16);
    bytes[3] = (uint8_t)(number >> 24);
    return store_write(slot, bytes, sizeof bytes);
}

/* ---- Callbacks of the network layer ---- */

static int net_radio_send(void *user, const uint8_t *frame, size_t len)
{
    (void)user;
    return radio_send(frame, len);
}

static void net_received(void *user, const struct iotsec_addr *from, const struct iotsec_addr *to, uint8_t *data, size_t len,
                         int secured)
{
    (void)user;
    take(from, to, data, len, secured);
}

static int net_reserve(void *user, uint32_t bound)
{
    (void)user;
    return write_number(SLOT_FRAME_COUNTER, bound);
}

static const struct net_callbacks net_callbacks = { net_radio_send, net_received, crypto_aes, net_reserve };

/* ---- The HAL ---- */

static uint32_t hal_now_ms(void *user)
{
    (void)user;
    return clock_ms();
}

static int hal_send(void *user, const struct iotsec_addr *to, const uint8_t *data, size_t len)
{
    (void)user;
    return net_send(&node.net, node.port, to, data, len) == NET_OK ? 0 : -1;
}

static int hal_multicast_join(void *user, const struct iotsec_addr *group)
{
    (void)user;
    return net_group_join(&node.net, group->ip) == NET_OK ? 0 : -1;
}

static void hal_multicast_leave(void *user, const struct iotsec_addr *group)
{
    (void)user;
    net_group_leave(&node.net, group->ip);
}

static int hal_l2_key_install(void *user, uint8_t index, const uint8_t key[16])
{
    (void)user;
    return net_key_install(&node.net, index, key) == NET_OK ? 0 : -1;
}

static int hal_l2_key_use(void *user, uint8_t index)
{
    (void)user;
    return net_key_use(&node.net, index) == NET_OK ? 0 : -1;
}

static void hal_l2_key_remove(void *user, uint8_t index)
{
    (void)user;
    net_key_remove(&node.net, index);
}

/* ---- Starting ---- */

/*
 * How often the processor looks at the RTC before it steps: two crystals that nothing ties to each other. What that is worth
 * is not known; the generator's strength is the provisioned secret, and its freshness the count of starts.
 */
static void gather_noise(uint16_t noise[NOISE_SAMPLES])
{
    unsigned i;

    for (i = 0; i < NOISE_SAMPLES; i++) {
        uint32_t now = CRM_RTC_COUNT;
        uint16_t turns = 0;

        while (CRM_RTC_COUNT == now && turns < UINT16_MAX) {
            turns++;
        }
        noise[i] = turns;
    }
}

static void start_crypto(const struct provision *provision)
{
    uint16_t noise[NOISE_SAMPLES];
    uint32_t boots = read_number(SLOT_BOOTS) + 1;

    /* Durable before the first number is drawn: no two starts have one stream. */
    if (boots == 0 || write_number(SLOT_BOOTS, boots) != STORE_OK) {
        fault("store-boots");
    }
    gather_noise(noise);
    crypto_start(provision->secret, boots, (const uint8_t *)noise, sizeof noise);
}

static void start_radio(const struct provision *provision)
{
    struct radio_config config;
    const char *failed;

    config.channel = provision->channel;
    config.pan_id = provision->pan;
    config.short_address = provision->short_address;
    memcpy(config.eui64, provision->eui64, sizeof config.eui64);
    failed = radio_start(&config);
    if (failed != NULL) {
        fault(failed);
    }
}

void node_start(const struct provision *provision, uint16_t port, node_received *received)
{
    int status = store_open();

    if (status != STORE_OK) {
        fault_at("store", (uint32_t)-status);
    }
    start_crypto(provision);
    start_radio(provision);
    take = received;
    node.port = port;
    memcpy(node.eui64, provision->eui64, sizeof node.eui64);

    net_config.callbacks = &net_callbacks;
    net_config.buffers = buffers;
    net_config.datagrams = datagrams;
    net_config.neighbours = neighbours;
    net_config.routes = routes;
    net_config.originators = originators;
    net_config.groups = groups;
    net_config.datagram_size = DATAGRAM_BYTES;
    net_config.buffer_count = NET_DEFAULT_BUFFERS;
    net_config.neighbour_count = NEIGHBOURS;
    net_config.route_count = ROUTES;
    net_config.originator_count = NET_DEFAULT_ORIGINATORS;
    net_config.group_count = NET_DEFAULT_GROUPS;
    net_config.level = NET_ENC_MIC_64;
    net_config.join_port = JOIN_PORT;
    net_config.flood_copies = 2;
    memcpy(net_config.eui64, provision->eui64, sizeof net_config.eui64);
    net_config.counter = read_number(SLOT_FRAME_COUNTER);
    net_config.counter_block = COUNTER_BLOCK;
    if (net_init(&node.net, &net_config, provision->pan, clock_ms()) != NET_OK) {
        fault("network");
    }

    node.hal.crypto = crypto_operations();
    node.hal.random = crypto_random;
    node.hal.now_ms = hal_now_ms;
    node.hal.send = hal_send;
    node.hal.multicast_join = hal_multicast_join;
    node.hal.multicast_leave = hal_multicast_leave;
    node.hal.l2_key_install = hal_l2_key_install;
    node.hal.l2_key_use = hal_l2_key_use;
    node.hal.l2_key_remove = hal_l2_key_remove;
}

void node_set_address(uint16_t pan_id, uint16_t short_address, const uint8_t prefix[8])
{
    (void)net_set_address(&node.net, pan_id, short_address, prefix);
    radio_address(pan_id, short_address);
}

/* ---- Running ---- */

void node_work(uint32_t wait)
{
    uint8_t frame[RADIO_FRAME_MAX];
    uint32_t other;
    size_t len;

    while ((len = radio_receive(frame)) != 0) {
        net_frame(&node.net, frame, len);
        wait = 0; /* whoever got something may have something to say */
    }
    other = net_poll(&node.net, clock_ms());
    wait = other < wait ? other : wait;
    other = radio_poll();
    wait = other < wait ? other : wait;
    watchdog_service();
    if (wait != 0) {
        idle(wait);
    }
}

void node_answer(const struct iotsec_addr *to, uint8_t rank, int secured)
{
    uint8_t here[3] = { NODE_MARK, NODE_HERE, rank };

    /* what comes from the join port goes in the clear */
    (void)net_send(&node.net, secured ? OWN_PORT : JOIN_PORT, to, here, sizeof here);
}

uint32_t node_jitter(uint32_t least)
{
    uint16_t random = 0;

    (void)crypto_random(NULL, (uint8_t *)&random, sizeof random);
    return least + (least * (random >> 6) >> 10);
}

void node_reset(void)
{
    uint32_t began = clock_ms();

    while (clock_ms() - began < GOODBYE_MS) {
        node_work(0);
    }
    crm_reset();
}

void node_stats(void)
{
    const struct radio_stats *radio = radio_stats();
    struct store_status store;
    unsigned i;

    out_begin("stats of=radio");
    out_uint("sent", radio->sent);
    out_uint("received", radio->received);
    out_uint("repeated", radio->repeated);
    out_uint("unanswered", radio->unanswered);
    out_uint("busy", radio->channel_busy);
    out_uint("overruns", radio->overruns);
    out_uint("restarts", radio->restarts);
    out_end();
    out_begin("stats of=net");
    out_uint("in", node.net.stats.frames_in);
    out_uint("out", node.net.stats.frames_out);
    out_uint("received", node.net.stats.received);
    out_uint("forwarded", node.net.stats.forwarded);
    for (i = 0; i < NET_DROP_COUNT; i++) {
        if (node.net.stats.drops[i] != 0) {
            out_uint(net_drop_name((enum net_drop)i), node.net.stats.drops[i]);
        }
    }
    out_end();
    store_status(&store);
    out_begin("stats of=store");
    out_uint("used", store.used);
    out_uint("capacity", store.capacity);
    out_uint("erases", store.erases_max);
    out_uint("damaged", store.damaged);
    out_uint("bad", store.sectors_bad);
    out_end();
    out_begin("stats of=stack");
    out_uint("unused", stack_unused());
    out_end();
}
