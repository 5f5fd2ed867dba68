/* SPDX-License-Identifier: BSD-3-Clause */
#include <iotsec/polykey.h>

#if IOTSEC_PAIRWISE

#include <string.h>

#include "base/bytes.h"
#include "hal/crypto.h"

#define ELEMENT IOTSEC_POLY_ELEMENT_BYTES
#define DIGEST 32u
#define DRAWS 4u /* in a row that are no elements, which happens once in 2^508 times: the HAL does not work */

#if IOTSEC_PAIR_PSK_BYTES != 32
#error "a PSK is a whole HMAC"
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
    size_t drawn = 0;
    unsigned draws = 0;

    while (drawn != count) {
        uint8_t *element = elements + drawn * ELEMENT;

        if (draws++ == DRAWS || hal->random(hal->user, element, ELEMENT) != 0) {
            iotsec_wipe(elements, count * ELEMENT);
            return IOTSEC_ERR_RANDOM;
        }
        element[0] &= 0x7F;
        if (iotsec_polykey_are_elements(element, 1)) {
            drawn++;
            draws = 0;
        }
    }
    return IOTSEC_OK;
}

enum iotsec_status iotsec_polykey_keys(const struct iotsec_hal *hal, const struct iotsec_polykey_pair *pair,
                                       uint8_t psk[IOTSEC_PAIR_PSK_BYTES], uint8_t tgk[IOTSEC_KEY_BYTES])
{
    static const char labels[2][16] = { "iotsec pair psk", "iotsec pair tgk" };
    struct iotsec_hmac hmac;
    struct iotsec_slice parts[5]; /* label | generation, length | identity | length | identity */
    uint8_t value[ELEMENT];
    uint8_t mac[2][DIGEST];
    uint8_t numbers[6];
    enum iotsec_status status;
    unsigned own;
    unsigned i;
    int order;

    if (!is_identity_len(pair->own_len) || !is_identity_len(pair->peer_len)) {
        return IOTSEC_ERR_ARGUMENT;
    }
    order = memcmp(pair->own, pair->peer, pair->own_len < pair->peer_len ? pair->own_len : pair->peer_len);
    if (order == 0) {
        order = (int)pair->own_len - (int)pair->peer_len;
        if (order == 0) {
            return IOTSEC_ERR_ARGUMENT;
        }
    }
    own = order < 0 ? 2 : 4;
    parts[own].data = pair->own;
    parts[own].len = pair->own_len;
    parts[6 - own].data = pair->peer;
    parts[6 - own].len = pair->peer_len;
    iotsec_put_u32(numbers, pair->generation);
    numbers[4] = (uint8_t)parts[2].len;
    numbers[5] = (uint8_t)parts[4].len;
    parts[0].len = sizeof labels[0] - 1;
    parts[1].data = numbers;
    parts[1].len = 5;
    parts[3].data = numbers + 5;
    parts[3].len = 1;

    status = iotsec_polykey_point(hal, pair->peer, pair->peer_len, value);
    if (status != IOTSEC_OK) {
        return status;
    }
    {
        struct iotsec_polykey_sum sum; /* shares its place with what the HMACs need */

        iotsec_polykey_sum_start(&sum, value);
        iotsec_polykey_sum_add(&sum, pair->share, pair->degree + 1u);
        iotsec_polykey_sum_finish(&sum, value);
    }
    status = iotsec_hmac_key(hal, &hmac, value, sizeof value);
    if (status == IOTSEC_OK) {
        for (i = 0; i < 2; i++) {
            parts[0].data = (const uint8_t *)labels[i];
            if (status == IOTSEC_OK && (i == 0 ? psk : tgk) != NULL) {
                status = iotsec_hmac_compute(hal, &hmac, parts, 5, mac[i]);
            }
        }
        iotsec_hmac_done(hal, &hmac);
    }
    if (status == IOTSEC_OK) {
        if (psk != NULL) {
            memcpy(psk, mac[0], IOTSEC_PAIR_PSK_BYTES);
        }
        if (tgk != NULL) {
            memcpy(tgk, mac[1], IOTSEC_KEY_BYTES);
        }
    }
    iotsec_wipe(value, sizeof value);
    iotsec_wipe(mac, sizeof mac);
    return status;
}

#endif
