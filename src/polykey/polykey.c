/* SPDX-License-Identifier: BSD-3-Clause */
#include <iotsec/polykey.h>

#if IOTSEC_PAIRWISE

#include <string.h>

#include "base/bytes.h"
#include "hal/crypto.h"

#define ELEMENT IOTSEC_POLY_ELEMENT_BYTES
#define DIGEST 32u
#define LABEL 15u
#define REDRAWS 3u /* chance does not need more; a HAL that does not work would go on for ever */

#if IOTSEC_PAIR_PSK_BYTES != 32
#error "a PSK is a whole HMAC"
#endif

/* What needs room on the stack for a moment has its own frame, which is gone when the HMACs need theirs. */
#if defined(__GNUC__)
#define OWN_FRAME __attribute__((noinline))
#else
#define OWN_FRAME
#endif

static bool is_identity_len(size_t len)
{
    return len >= 1 && len <= IOTSEC_IDENTITY_MAX;
}

enum iotsec_status iotsec_polykey_point(const struct iotsec_hal *hal, const uint8_t *identity, size_t identity_len,
                                        uint8_t point[IOTSEC_POLY_ELEMENT_BYTES])
{
    static const char label[] = "iotsec point";
    static const uint8_t two[ELEMENT] = { [ELEMENT - 1] = 2 };
    struct iotsec_slice parts[2];
    struct iotsec_polykey_sum sum;
    uint8_t digest[DIGEST];
    uint8_t any = 0;
    size_t i;

    if (!is_identity_len(identity_len)) {
        return IOTSEC_ERR_ARGUMENT;
    }
    parts[0].data = (const uint8_t *)label;
    parts[0].len = sizeof label - 1;
    parts[1].data = identity;
    parts[1].len = identity_len;
    if (iotsec_sha256(hal, parts, 2, digest) != IOTSEC_OK) {
        return IOTSEC_ERR_CRYPTO;
    }
    /* 2^128 = 2: the upper half times 2, and the lower half */
    iotsec_polykey_sum_start(&sum, two);
    iotsec_polykey_sum_add(&sum, digest, 1);
    iotsec_polykey_sum_add(&sum, digest + ELEMENT, 1);
    iotsec_polykey_sum_finish(&sum, point);
    for (i = 0; i < ELEMENT; i++) {
        any |= point[i];
    }
    return any != 0 ? IOTSEC_OK : IOTSEC_ERR_ARGUMENT;
}

int iotsec_polykey_are_elements(const uint8_t *elements, size_t count)
{
    unsigned bad = 0;

    /* one more than an element is below 2^127 */
    for (; count != 0; count--, elements += ELEMENT) {
        unsigned carry = 0x100;
        unsigned i;

        for (i = ELEMENT; i-- != 0;) {
            carry = (carry >> 8) + elements[i];
        }
        bad |= carry;
    }
    return bad < 0x80;
}

enum iotsec_status iotsec_polykey_draw(const struct iotsec_hal *hal, uint8_t *elements, size_t count)
{
    uint8_t *element = elements;
    uint8_t *end = elements + count * ELEMENT;
    unsigned redrawn = 0;

    while (element != end) {
        if (redrawn > REDRAWS || hal->random(hal->user, element, ELEMENT) != 0) {
            iotsec_wipe(elements, count * ELEMENT);
            return IOTSEC_ERR_RANDOM;
        }
        element[0] &= 0x7F;
        if (iotsec_polykey_are_elements(element, 1)) {
            element += ELEMENT;
        } else {
            redrawn++;
        }
    }
    return IOTSEC_OK;
}

/* The pair's value, from the other's point. */
static OWN_FRAME void evaluate(const struct iotsec_polykey_pair *pair, uint8_t value[ELEMENT])
{
    struct iotsec_polykey_sum sum;

    iotsec_polykey_sum_start(&sum, value);
    iotsec_polykey_sum_add(&sum, pair->share, pair->degree + 1u);
    iotsec_polykey_sum_finish(&sum, value);
}

/* What the two keys are computed from. */
struct schedule {
    const struct iotsec_hal *hal;
    struct iotsec_slice parts[5]; /* label | generation, length | identity | length | identity */
    struct iotsec_hmac secret;
};

static enum iotsec_status derive(struct schedule *s, const char label[LABEL + 1], uint8_t *key, size_t key_len)
{
    uint8_t mac[DIGEST];
    enum iotsec_status status;

    if (key == NULL) {
        return IOTSEC_OK;
    }
    s->parts[0].data = (const uint8_t *)label;
    s->parts[0].len = LABEL;
    status = iotsec_hmac_compute(s->hal, &s->secret, s->parts, 5, mac);
    if (status == IOTSEC_OK) {
        memcpy(key, mac, key_len);
        iotsec_wipe(mac, sizeof mac);
    }
    return status;
}

enum iotsec_status iotsec_polykey_keys(const struct iotsec_hal *hal, const struct iotsec_polykey_pair *pair,
                                       uint8_t psk[IOTSEC_PAIR_PSK_BYTES], uint8_t tgk[IOTSEC_KEY_BYTES])
{
    struct schedule s;
    struct iotsec_slice *own;
    struct iotsec_slice *peer;
    uint8_t value[ELEMENT];
    uint8_t numbers[6];
    enum iotsec_status status;
    int order;

    if (!is_identity_len(pair->own_len) || !is_identity_len(pair->peer_len)) {
        return IOTSEC_ERR_ARGUMENT;
    }
    order = memcmp(pair->own, pair->peer, pair->own_len < pair->peer_len ? pair->own_len : pair->peer_len);
    if (order == 0) {
        order = (int)pair->own_len - (int)pair->peer_len;
    }
    if (order == 0) {
        return IOTSEC_ERR_ARGUMENT;
    }
    order = (int)((uint32_t)order >> 31); /* 1: the own one is the smaller */
    own = &s.parts[4 - 2 * order];
    peer = &s.parts[2 + 2 * order];
    own->data = pair->own;
    own->len = pair->own_len;
    peer->data = pair->peer;
    peer->len = pair->peer_len;

    status = iotsec_polykey_point(hal, pair->peer, pair->peer_len, value);
    if (status != IOTSEC_OK) {
        return status;
    }
    evaluate(pair, value);
    s.hal = hal;
    iotsec_put_u32(numbers, pair->generation);
    numbers[4] = (uint8_t)s.parts[2].len;
    numbers[5] = (uint8_t)s.parts[4].len;
    s.parts[1].data = numbers;
    s.parts[1].len = 5;
    s.parts[3].data = numbers + 5;
    s.parts[3].len = 1;
    status = iotsec_hmac_key(hal, &s.secret, value, sizeof value);
    if (status == IOTSEC_OK) {
        status = derive(&s, "iotsec pair psk", psk, IOTSEC_PAIR_PSK_BYTES);
        if (status == IOTSEC_OK) {
            status = derive(&s, "iotsec pair tgk", tgk, IOTSEC_KEY_BYTES);
            if (status != IOTSEC_OK && psk != NULL) {
                iotsec_wipe(psk, IOTSEC_PAIR_PSK_BYTES);
            }
        }
        iotsec_hmac_done(hal, &s.secret);
    }
    iotsec_wipe(value, sizeof value);
    return status;
}

#endif
