/* SPDX-License-Identifier: BSD-3-Clause */
/*
 *     nonce = sender's EUI-64(8) || frame counter(4) || level(1)
 *     a     = the header as it is sent, m = what follows it
 *
 *     B0 = flags || nonce || length of m(2);  MAC over B0, length of a(2) || a || padding, m || padding
 *     Ai = 1 || nonce || i(2);                m is masked with A1, A2, ..., the MIC with A0
 *
 * One frame counter serves all keys and never comes back, so no key ever sees a nonce twice. A sender moves on from key to
 * key in the order in which they were installed; its memory here is the newest key that it has used, and the counter.
 */
#include "linksec.h"

#include <string.h>

#include "base/bytes.h"
#include "fragment.h"

#define BLOCK 16u
#define FLAGS_AUTH_DATA 0x40u
#define FLAGS_LENGTH_OF_2 0x01u
#define FLAGS_MIC_AT 3
#define COUNTER_END 0xFFFFFFFFu /* the standard's mark of a counter that has run out; never used */

/* ---- CCM* ---- */

struct ccm {
    const struct net_config *config;
    const uint8_t *key;
    uint8_t mac[BLOCK];
    uint8_t counter[BLOCK];
    size_t at; /* in mac */
    bool failed;
};

static void encrypt(struct ccm *ccm, const uint8_t in[BLOCK], uint8_t out[BLOCK])
{
    ccm->failed = ccm->failed || ccm->config->callbacks->aes(ccm->config->user, ccm->key, in, out) != 0;
}

static void add_byte(struct ccm *ccm, uint8_t byte)
{
    ccm->mac[ccm->at++] ^= byte;
    if (ccm->at == BLOCK) {
        ccm->at = 0;
        encrypt(ccm, ccm->mac, ccm->mac);
    }
}

/* The MAC's state is an XOR: zeros need not be added. */
static void pad(struct ccm *ccm)
{
    if (ccm->at != 0) {
        ccm->at = 0;
        encrypt(ccm, ccm->mac, ccm->mac);
    }
}

int linksec_ccm(const struct net_config *config, const uint8_t key[16], const uint8_t nonce[LINKSEC_NONCE_BYTES],
                uint8_t *frame, size_t open_len, size_t secret_len, size_t mic_len, bool sealing)
{
    struct ccm ccm;
    uint8_t mask[BLOCK] = { 0 };
    uint8_t *secret = frame + open_len;
    uint8_t *mic = secret + secret_len;
    int status = NET_OK;
    size_t i;

    memset(&ccm, 0, sizeof ccm);
    ccm.config = config;
    ccm.key = key;
    ccm.mac[0] = (uint8_t)(FLAGS_AUTH_DATA | (mic_len - 2) / 2 << FLAGS_MIC_AT | FLAGS_LENGTH_OF_2);
    memcpy(ccm.mac + 1, nonce, LINKSEC_NONCE_BYTES);
    iotsec_put_u16(ccm.mac + 14, (uint16_t)secret_len);
    ccm.counter[0] = FLAGS_LENGTH_OF_2;
    memcpy(ccm.counter + 1, nonce, LINKSEC_NONCE_BYTES);

    encrypt(&ccm, ccm.mac, ccm.mac);
    add_byte(&ccm, (uint8_t)(open_len >> 8));
    add_byte(&ccm, (uint8_t)open_len);
    for (i = 0; i < open_len; i++) {
        add_byte(&ccm, frame[i]);
    }
    pad(&ccm);
    for (i = 0; i < secret_len; i++) {
        uint8_t in = secret[i];

        if (i % BLOCK == 0) {
            ccm.counter[15]++; /* a frame has fewer than 256 blocks */
            encrypt(&ccm, ccm.counter, mask);
        }
        secret[i] = in ^ mask[i % BLOCK];
        add_byte(&ccm, sealing ? in : secret[i]);
    }
    pad(&ccm);
    ccm.counter[15] = 0;
    encrypt(&ccm, ccm.counter, mask);
    for (i = 0; i < mic_len; i++) {
        ccm.mac[i] ^= mask[i];
    }
    if (ccm.failed) {
        status = NET_ERR_CRYPTO;
    } else if (sealing) {
        memcpy(mic, ccm.mac, mic_len);
    } else if (!iotsec_ct_equal(mic, ccm.mac, mic_len)) {
        status = LINKSEC_NOT_AUTHENTIC;
    }
    if (status != NET_OK) {
        iotsec_wipe(secret, secret_len);
    }
    iotsec_wipe(&ccm, sizeof ccm);
    iotsec_wipe(mask, sizeof mask);
    return status;
}

size_t linksec_mic_bytes(uint8_t level)
{
    return level == 0 ? 0 : level == NET_ENC_MIC_32 ? 4 : 8;
}

static void make_nonce(uint8_t nonce[LINKSEC_NONCE_BYTES], const struct frame *frame)
{
    frame_turn_eui64(nonce, frame->source);
    iotsec_put_u32(nonce + 8, frame->counter);
    nonce[12] = frame->level;
}

/* ---- Keys ---- */

static struct net_key *find_key(struct net *net, uint8_t index)
{
    uint8_t i;

    for (i = 0; i < NET_KEYS; i++) {
        if (net->keys[i].serial != 0 && net->keys[i].index == index) {
            return &net->keys[i];
        }
    }
    return NULL;
}

static bool is_used(const struct net *net, const struct net_key *key)
{
    return net->used_key != 0 && key == &net->keys[net->used_key - 1];
}

static bool is_newer(uint16_t serial, uint16_t than)
{
    return (int16_t)(uint16_t)(serial - than) > 0;
}

/*
 * Wipes a key, and forgets who was heard under it last: what they sent cannot come again, and who sends under another key by
 * now is known by that. With a neighbour go the routes through it.
 */
static void forget_key(struct net *net, struct net_key *key)
{
    const struct net_config *config = net->config;
    uint8_t i;
    uint8_t j;

    for (i = 0; i < config->neighbour_count; i++) {
        if (config->neighbours[i].serial == key->serial) {
            config->neighbours[i].serial = 0;
            for (j = 0; j < config->route_count; j++) {
                if (config->routes[j].neighbour == i + 1u) {
                    config->routes[j].neighbour = 0;
                }
            }
        }
    }
    if (is_used(net, key)) {
        net->used_key = 0;
    }
    iotsec_wipe(key, sizeof *key);
}

int net_key_install(struct net *net, uint8_t index, const uint8_t key[16])
{
    struct net_key *slot = find_key(net, index);
    uint8_t used = net->used_key;
    uint8_t i;

    if (index == 0) {
        return NET_ERR_ARGUMENT;
    }
    if (slot != NULL && iotsec_ct_equal(slot->key, key, sizeof slot->key)) {
        return NET_OK;
    }
    if (slot == NULL) {
        /* a free one, which has serial 0, or the oldest that is not in use */
        slot = &net->keys[used == 1];
        for (i = 0; i < NET_KEYS; i++) {
            struct net_key *other = &net->keys[i];

            if (!is_used(net, other) && slot->serial != 0 && (other->serial == 0 || is_newer(slot->serial, other->serial))) {
                slot = other;
            }
        }
    }
    forget_key(net, slot);
    net->used_key = used; /* in place of one in use, it is in use */
    net->serial = (uint16_t)(net->serial == UINT16_MAX ? 1 : net->serial + 1);
    slot->serial = net->serial;
    slot->index = index;
    memcpy(slot->key, key, sizeof slot->key);
    return NET_OK;
}

int net_key_use(struct net *net, uint8_t index)
{
    const struct net_key *key = index != 0 ? find_key(net, index) : NULL;

    if (key == NULL) {
        return NET_ERR_NO_KEY;
    }
    net->used_key = (uint8_t)(1 + (key - net->keys));
    net->flags &= (uint8_t)~NET_KEY_RESTS;
    return NET_OK;
}

void net_key_remove(struct net *net, uint8_t index)
{
    uint8_t i;

    for (i = 0; i < NET_KEYS; i++) {
        if (index == 0 || net->keys[i].index == index) {
            forget_key(net, &net->keys[i]);
        }
    }
}

/* ---- Sending ---- */

int linksec_start(struct net *net, struct frame *frame)
{
    const struct net_config *config = net->config;

    if (net->used_key == 0) {
        return NET_ERR_NO_KEY;
    }
    if (net->counter == COUNTER_END) {
        return NET_ERR_COUNTER_SPENT;
    }
    if (net->counter == net->bound) {
        uint32_t left = COUNTER_END - net->bound;
        uint32_t bound = net->bound + (left < config->counter_block ? left : config->counter_block);

        if (config->callbacks->reserve(config->user, bound) != 0) {
            return NET_ERR_NOT_DURABLE;
        }
        net->bound = bound;
    }
    frame->counter = net->counter++;
    frame->key_index = net->keys[net->used_key - 1].index;
    frame->level = config->level;
    return NET_OK;
}

int linksec_seal(struct net *net, const struct frame *frame, uint8_t *data, size_t len)
{
    uint8_t nonce[LINKSEC_NONCE_BYTES];

    make_nonce(nonce, frame);
    return linksec_ccm(net->config, net->keys[net->used_key - 1].key, nonce, data, frame->header_len, len,
                       linksec_mic_bytes(frame->level), true);
}

/* ---- Receiving ---- */

/* The sender's place, or a free one. NULL: there is none. No place is given away: its sender's old frames would be new again. */
static struct net_neighbour *place_of(const struct net *net, const uint8_t link[8])
{
    struct net_neighbour *place = NULL;
    uint8_t i;

    for (i = 0; i < net->config->neighbour_count; i++) {
        struct net_neighbour *neighbour = &net->config->neighbours[i];

        if (neighbour->serial == 0) {
            place = neighbour;
        } else if (frame_same(neighbour->link, link)) {
            return neighbour;
        }
    }
    return place;
}

enum net_drop linksec_open(struct net *net, const struct frame *frame, uint8_t *data, size_t *len, uint16_t *neighbour)
{
    const struct net_key *key = find_key(net, frame->key_index);
    size_t mic_len = linksec_mic_bytes(frame->level);
    uint8_t nonce[LINKSEC_NONCE_BYTES];
    struct net_neighbour *place;
    bool known;
    int status;

    if (frame_is_short(frame->source) || *len < frame->header_len + mic_len) {
        return NET_DROP_FRAME;
    }
    if (key == NULL || frame->level < net->config->level || frame->level > NET_ENC_MIC_64) {
        return NET_DROP_KEY;
    }
    place = place_of(net, frame->source);
    known = place != NULL && place->serial != 0;
    if (known && is_newer(place->serial, key->serial)) {
        return NET_DROP_KEY;
    }
    if (frame->counter == COUNTER_END || (known && place->serial == key->serial && frame->counter <= place->counter)) {
        return NET_DROP_REPLAY;
    }
    make_nonce(nonce, frame);
    status = linksec_ccm(net->config, key->key, nonce, data, frame->header_len, *len - frame->header_len - mic_len, mic_len,
                         false);
    if (status != NET_OK) {
        return status == NET_ERR_CRYPTO ? NET_DROP_CRYPTO : NET_DROP_MIC;
    }
    if (place == NULL) {
        return NET_DROP_NEIGHBOURS;
    }
    *neighbour = (uint16_t)(place - net->config->neighbours);
    memcpy(place->link, frame->source, 8);
    place->counter = frame->counter;
    place->serial = key->serial;
    *len -= mic_len;
    return NET_DROP_COUNT;
}
