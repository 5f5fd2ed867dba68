/* SPDX-License-Identifier: BSD-3-Clause */
#include "rig.h"

#include "base/bytes.h"
#include "fuzz/crypto.h"

#define ATTEMPTS 4u
#define LINKTYPE_IEEE802_15_4_NOFCS 230u

struct rig rig;
const uint8_t rig_prefix[8] = { 0xFD, 0, 0, 0, 0, 0, 0, 1 };
const uint8_t rig_key[16] = { 0xC0, 0xC1, 0xC2, 0xC3, 0xC4, 0xC5, 0xC6, 0xC7, 0xC8, 0xC9, 0xCA, 0xCB, 0xCC, 0xCD, 0xCE, 0xCF };

uint32_t rig_random(uint32_t below)
{
    rig.seed = rig.seed * 1664525u + 1013904223u;
    return (rig.seed >> 8) % below;
}

/* ---- What a node stands on ---- */

static void write_pcap(const void *data, size_t len)
{
    if (rig.pcap != NULL) {
        assert_int_equal(fwrite(data, 1, len, rig.pcap), len);
    }
}

static void record_frame(const uint8_t *frame, size_t len)
{
    uint32_t head[4] = { rig.now / 1000, rig.now % 1000 * 1000, (uint32_t)len, (uint32_t)len };
    static const uint32_t file_head[6] = { 0xA1B2C3D4, 4u << 16 | 2u, 0, 0, 256, LINKTYPE_IEEE802_15_4_NOFCS };

    if (rig.pcap != NULL && ftell(rig.pcap) == 0) {
        write_pcap(file_head, sizeof file_head);
    }
    write_pcap(head, sizeof head);
    write_pcap(frame, len);
}

static int send_frame(void *user, const uint8_t *frame, size_t len)
{
    struct rig_node *node = user;
    bool acknowledged = (frame[0] & 0x20u) != 0;
    uint32_t takes = (uint32_t)(6 + len + 2) * 32u / 1000u + 1u;
    uint8_t to;
    size_t i;

    assert_true(len <= NET_FRAME_BYTES);
    if (node->radio_full || (int32_t)(node->busy_until - rig.now) > 0) {
        return -1;
    }
    node->busy_until = rig.now + takes;
    if (node->sent_count < RIG_LOG) {
        memcpy(node->sent[node->sent_count].bytes, frame, len);
        node->sent[node->sent_count].len = len;
    }
    node->sent_count++;
    record_frame(frame, len);
    for (to = 0; to < RIG_NODES; to++) {
        unsigned attempts = acknowledged ? ATTEMPTS : 1;
        bool arrives = false;

        if (!rig.hears[node->index][to]) {
            continue;
        }
        while (attempts-- != 0 && !arrives) {
            arrives = rig_random(100) >= rig.loss;
        }
        for (i = 0; arrives && i < RIG_AIR && rig.air[i].used; i++) {
        }
        if (arrives) {
            assert_true(i < RIG_AIR);
            memcpy(rig.air[i].frame.bytes, frame, len);
            rig.air[i].frame.len = len;
            rig.air[i].when = rig.now + takes;
            rig.air[i].to = to;
            rig.air[i].used = true;
        }
    }
    return 0;
}

static void take_datagram(void *user, const struct iotsec_addr *from, const struct iotsec_addr *to, uint8_t *data, size_t len,
                          int secured)
{
    struct rig_node *node = user;

    if (node->received_count < RIG_LOG) {
        struct rig_datagram *log = &node->received[node->received_count];

        log->from = *from;
        log->to = *to;
        log->len = len;
        log->secured = secured;
        memcpy(log->data, data, len);
    }
    node->received_count++;
    memset(data, 0xEE, len); /* it is ours to change: nobody else may look at it from now on */
}

static int encrypt(void *user, const uint8_t key[16], const uint8_t in[16], uint8_t out[16])
{
    const struct iotsec_crypto *crypto = fuzz_crypto();
    struct rig_node *node = user;
    struct iotsec_aes aes;
    int status;

    if (node->aes_fails || crypto->aes_start(NULL, &aes, key) != 0) {
        return -1;
    }
    status = crypto->aes_encrypt(NULL, &aes, in, out);
    crypto->aes_done(NULL, &aes);
    return status;
}

static int reserve(void *user, uint32_t bound)
{
    struct rig_node *node = user;

    if (node->reserve_fails) {
        return -1;
    }
    assert_true(bound > node->durable);
    node->durable = bound;
    node->reserved++;
    return 0;
}

static const struct net_callbacks callbacks = { send_frame, take_datagram, encrypt, reserve };

/* ---- Nodes ---- */

void rig_eui64(unsigned node, uint8_t eui64[8])
{
    static const uint8_t base[8] = { 0x00, 0x50, 0xC2, 0xFF, 0xFE, 0xA8, 0xDD, 0x10 };

    memcpy(eui64, base, 8);
    eui64[7] = (uint8_t)(eui64[7] + node);
}

void rig_link(unsigned node, uint8_t link[8])
{
    rig_eui64(node, link);
    link[0] ^= 0x02;
}

uint16_t rig_short(unsigned node)
{
    return (uint16_t)(0x0101 + node);
}

void rig_restart(unsigned number)
{
    struct rig_node *node = &rig.nodes[number];
    struct net_config *config = &node->config;

    memset(&node->net, 0xA5, sizeof node->net);
    memset(node->buffers, 0xA5, sizeof node->buffers);
    memset(config, 0, sizeof *config);
    node->index = (uint8_t)number;
    node->busy_until = rig.now;
    config->callbacks = &callbacks;
    config->user = node;
    config->buffers = node->buffers;
    config->datagrams = node->datagrams;
    config->neighbours = node->neighbours;
    config->routes = node->routes;
    config->originators = node->originators;
    config->groups = node->groups;
    config->datagram_size = NET_DATAGRAM_MAX;
    config->buffer_count = RIG_BUFFERS;
    config->neighbour_count = RIG_NEIGHBOURS;
    config->route_count = RIG_ROUTES;
    config->originator_count = RIG_ORIGINATORS;
    config->group_count = RIG_GROUPS;
    config->level = NET_ENC_MIC_32;
    config->join_port = RIG_JOIN_PORT;
    config->flood_copies = 1;
    rig_eui64(number, config->eui64);
    config->counter = node->durable;
    config->counter_block = 64;
    assert_int_equal(net_init(&node->net, config, RIG_PAN, rig.now), NET_OK);
}

void rig_start(uint32_t seed)
{
    unsigned i;

    memset(&rig, 0, sizeof rig);
    rig.seed = seed;
    rig.now = 0xFFFFF000u; /* its wrap comes soon */
    for (i = 0; i < RIG_NODES; i++) {
        rig_restart(i);
    }
}

void rig_member(unsigned number)
{
    struct net *net = &rig.nodes[number].net;
    uint8_t eui64[8];

    assert_int_equal(net_key_install(net, 1, rig_key), NET_OK);
    assert_int_equal(net_key_use(net, 1), NET_OK);
    assert_int_equal(net_set_address(net, RIG_PAN, rig_short(number), rig_prefix), NET_OK);
    net_set_forwarding(net, true);
    if (number != 0) {
        rig_eui64(number - 1, eui64);
        net_set_default_route(net, eui64);
    }
}

void rig_line(unsigned count)
{
    unsigned i;

    for (i = 0; i < count; i++) {
        rig_member(i);
        if (i != 0) {
            rig.hears[i][i - 1] = rig.hears[i - 1][i] = true;
        }
    }
}

void rig_give(unsigned node, const uint8_t *frame, size_t len)
{
    uint8_t *copy = malloc(len != 0 ? len : 1);

    assert_non_null(copy);
    if (len != 0) {
        memcpy(copy, frame, len);
    }
    net_frame(&rig.nodes[node].net, copy, len);
    free(copy);
}

void rig_run(uint32_t ms)
{
    unsigned node;
    size_t i;

    while (ms-- != 0) {
        rig.now++;
        for (node = 0; node < RIG_NODES; node++) {
            assert_int_not_equal(net_poll(&rig.nodes[node].net, rig.now), 0);
        }
        for (i = 0; i < RIG_AIR; i++) {
            if (rig.air[i].used && (int32_t)(rig.now - rig.air[i].when) >= 0) {
                struct rig_frame frame = rig.air[i].frame;

                rig.air[i].used = false;
                rig_give(rig.air[i].to, frame.bytes, frame.len);
            }
        }
    }
}

struct iotsec_addr rig_address(unsigned node, uint16_t port)
{
    struct iotsec_addr addr;

    if (!net_address(&rig.nodes[node].net, &addr)) {
        memset(&addr, 0, sizeof addr);
    }
    addr.port = port;
    return addr;
}

struct iotsec_addr rig_link_local(unsigned node, uint16_t port)
{
    struct iotsec_addr addr;

    net_link_local(&rig.nodes[node].net, &addr);
    addr.port = port;
    return addr;
}

struct iotsec_addr rig_group(uint8_t scope, uint8_t last, uint16_t port)
{
    struct iotsec_addr addr = { { 0xFF }, 0, NET_INTERFACE };

    addr.ip[1] = scope;
    addr.ip[15] = last;
    addr.port = port;
    return addr;
}

int rig_say(unsigned node, const struct iotsec_addr *to, const char *text)
{
    return net_send(&rig.nodes[node].net, RIG_PORT, to, (const uint8_t *)text, strlen(text));
}

unsigned rig_heard(unsigned node, const char *text)
{
    const struct rig_node *at = &rig.nodes[node];
    unsigned count = 0;
    size_t i;

    for (i = 0; i < at->received_count && i < RIG_LOG; i++) {
        count += at->received[i].len == strlen(text) && memcmp(at->received[i].data, text, strlen(text)) == 0;
    }
    return count;
}

size_t rig_hex(uint8_t *out, const char *hex)
{
    size_t len = 0;
    unsigned byte;

    for (; *hex != '\0'; hex++) {
        if (*hex != ' ') {
            assert_int_equal(sscanf(hex, "%2x", &byte), 1);
            out[len++] = (uint8_t)byte;
            hex++;
        }
    }
    return len;
}

enum net_drop rig_dropped(unsigned node)
{
    struct net_stats *stats = &rig.nodes[node].net.stats;
    enum net_drop reason = NET_DROP_COUNT;
    unsigned reasons = 0;
    unsigned i;

    for (i = 0; i < NET_DROP_COUNT; i++) {
        if (stats->drops[i] != 0) {
            stats->drops[i] = 0;
            reason = (enum net_drop)i;
            reasons++;
        }
    }
    return reasons == 1 ? reason : NET_DROP_COUNT;
}

size_t rig_make_frame(uint8_t out[127], unsigned from, const uint8_t target[8], const uint8_t *key, uint8_t key_index, uint8_t level,
                      uint32_t counter, const uint8_t *payload, size_t len)
{
    struct frame frame;
    uint8_t nonce[LINKSEC_NONCE_BYTES];
    size_t mic = key != NULL ? linksec_mic_bytes(level) : 0;

    memset(&frame, 0, sizeof frame);
    rig_link(from, frame.source);
    memcpy(frame.target, target, 8);
    frame.pan_id = RIG_PAN;
    frame.level = key != NULL ? level : 0;
    frame.counter = counter;
    frame.key_index = key_index;
    (void)frame_write(&frame, out);
    assert_true(frame.header_len + len + mic <= NET_FRAME_BYTES);
    memcpy(out + frame.header_len, payload, len);
    if (key != NULL) {
        rig_eui64(from, nonce);
        iotsec_put_u32(nonce + 8, counter);
        nonce[12] = level;
        assert_int_equal(linksec_ccm(&rig.nodes[from].config, key, nonce, out, frame.header_len, len, mic, true), NET_OK);
    }
    return frame.header_len + len + mic;
}
