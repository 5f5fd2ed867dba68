/* SPDX-License-Identifier: BSD-3-Clause */
#include "hal/crypto.h"

#include <stdbool.h>
#include <string.h>

#include "base/bytes.h"

/* ---- CCM ---- */

/*
 *     MAC = CBC-MAC over  flags | nonce (12) | length (3)          B_0
 *                         AAD length (2) | AAD | zeros
 *                         plaintext | zeros
 *     ciphertext = plaintext ^ E(2 | nonce | 1), E(2 | nonce | 2), ...
 *     tag        = MAC ^ E(2 | nonce | 0), cut to tag_len
 */

#define BLOCK 16u
#define LENGTH_FIELD 3u /* L */

static void xor_bytes(uint8_t *to, const uint8_t *from, size_t n)
{
#if UINTPTR_MAX > 0xFFFFFFFFu
    /* 64-bit processors load words from any address */
    if (n == BLOCK) {
        uint64_t a[2];
        uint64_t b[2];

        memcpy(a, to, BLOCK);
        memcpy(b, from, BLOCK);
        a[0] ^= b[0];
        a[1] ^= b[1];
        memcpy(to, a, BLOCK);
        return;
    }
#endif
    while (n-- != 0) {
        *to++ ^= *from++;
    }
}

/* In place, so that a failing cipher leaves known bytes and not whatever stood there. */
static void encrypt(struct iotsec_ccm *c, uint8_t block[BLOCK])
{
    const struct iotsec_hal *hal = c->hal;

    c->failed |= hal->crypto->aes_encrypt(hal->user, &c->aes, block, block);
}

static void clear_counter(struct iotsec_ccm *c)
{
    c->counter[13] = 0;
    c->counter[14] = 0;
    c->counter[15] = 0;
}

/* Adds n bytes to the MAC. */
static void mac_bytes(struct iotsec_ccm *c, const uint8_t *data, size_t n)
{
    xor_bytes(c->mac, data, n);
    encrypt(c, c->mac);
}

/* Encrypts or decrypts n bytes in place, at most a block, and adds their plaintext to the MAC. */
static void crypt_bytes(struct iotsec_ccm *c, uint8_t *data, size_t n)
{
    const struct iotsec_hal *hal = c->hal;
    uint8_t *carry = &c->counter[BLOCK - 1];

    while (++*carry == 0) {
        carry--; /* stays within the length field: the data is shorter than 2^24 bytes */
    }
    if (n == BLOCK && hal->crypto->ccm_step != NULL) {
        c->failed |= hal->crypto->ccm_step(hal->user, &c->aes, c->opening, c->counter, c->mac, data, data);
        return;
    }
    memcpy(c->keystream, c->counter, BLOCK);
    encrypt(c, c->keystream);
    if (!c->opening) {
        xor_bytes(c->mac, data, n);
    }
    xor_bytes(data, c->keystream, n);
    if (c->opening) {
        xor_bytes(c->mac, data, n);
    }
    encrypt(c, c->mac);
}

enum iotsec_status iotsec_ccm(struct iotsec_ccm *c, const uint8_t key[16])
{
    const struct iotsec_hal *hal = c->hal;
    enum iotsec_status status = IOTSEC_ERR_CRYPTO;
    const uint8_t *aad = c->aad;
    uint8_t *text = c->data;
    size_t left = c->len;
    size_t n;

    /* another length would weaken the tag: with 0 every record would be authentic */
    if (c->tag_len != 8 && c->tag_len != 16) {
        return IOTSEC_ERR_ARGUMENT;
    }
    c->failed = hal->crypto->aes_start(hal->user, &c->aes, key);
    if (c->failed != 0) {
        goto out;
    }
    memcpy(c->counter, c->mac, BLOCK);
    c->counter[0] = LENGTH_FIELD - 1;
    clear_counter(c);
    /* (tag_len - 2) / 2 in bits 3 to 5 */
    c->mac[0] = (uint8_t)((c->aad_blocks != 0 ? 0x40u : 0u) + 4 * c->tag_len - 8 + LENGTH_FIELD - 1);
    c->mac[13] = (uint8_t)(left >> 16);
    iotsec_put_u16(c->mac + 14, (uint16_t)left);
    encrypt(c, c->mac);
    for (n = c->aad_blocks; n != 0; n--) {
        mac_bytes(c, aad, BLOCK);
        aad += BLOCK;
    }
    for (; left != 0; left -= n) {
        n = left < BLOCK ? left : BLOCK;
        crypt_bytes(c, text, n);
        text += n;
    }
    clear_counter(c);
    encrypt(c, c->counter);
    xor_bytes(c->mac, c->counter, BLOCK);
    hal->crypto->aes_done(hal->user, &c->aes);
    if (c->failed == 0) {
        status = IOTSEC_OK;
        if (!c->opening) {
            memcpy(text, c->mac, c->tag_len);
        } else if (!iotsec_ct_equal(text, c->mac, c->tag_len)) {
            status = IOTSEC_ERR_AUTH;
        }
    }
out:
    if (status != IOTSEC_OK) {
        /* plaintext that nobody vouches for, or text that a failing cipher left half encrypted */
        iotsec_wipe(c->data, c->len);
    }
    /* aes_done has wiped the key */
    iotsec_wipe(c, offsetof(struct iotsec_ccm, aes));
    return status;
}

/* ---- SHA-256 and HMAC ---- */

#define DIGEST 32u
#define HASH_BLOCK 64u
#define INNER 0x36u
#define OUTER 0x5Cu

enum iotsec_status iotsec_hmac_compute(const struct iotsec_hal *hal, const struct iotsec_hmac *hmac,
                                       const struct iotsec_slice *parts, size_t count, uint8_t mac[32])
{
    const struct iotsec_crypto *crypto = hal->crypto;
    struct iotsec_sha256 sha;
    struct iotsec_slice inner;
    int failed;
    unsigned i;

    /* the message from the inner pad, or from the start if it is no HMAC; then that hash from the outer pad */
    for (i = 0; i < 2; i++) {
        failed = hmac != NULL ? crypto->sha256_clone(hal->user, &sha, &hmac->pads[i]) : crypto->sha256_start(hal->user, &sha);
        if (failed == 0) {
            for (; count != 0; count--, parts++) {
                if (parts->len != 0) {
                    failed |= crypto->sha256_update(hal->user, &sha, parts->data, parts->len);
                }
            }
            /* also after a failure: it releases and wipes the state */
            failed |= crypto->sha256_finish(hal->user, &sha, mac);
        }
        if (failed != 0) {
            iotsec_wipe(mac, DIGEST);
            return IOTSEC_ERR_CRYPTO;
        }
        if (hmac == NULL) {
            break;
        }
        inner.data = mac;
        inner.len = DIGEST;
        parts = &inner;
        count = 1;
    }
    return IOTSEC_OK;
}

static void mask_pad(uint8_t pad[HASH_BLOCK], unsigned mask)
{
    size_t i;

    for (i = 0; i < HASH_BLOCK; i++) {
        pad[i] = (uint8_t)(pad[i] ^ mask);
    }
}

enum iotsec_status iotsec_hmac_key(const struct iotsec_hal *hal, struct iotsec_hmac *hmac, const uint8_t *key, size_t key_len)
{
    const struct iotsec_crypto *crypto = hal->crypto;
    struct iotsec_sha256 *sha = hmac->pads;
    uint8_t pad[HASH_BLOCK];
    unsigned mask = INNER;
    int failed = 0;

    memset(pad, 0, sizeof pad);
    if (key_len > HASH_BLOCK) {
        failed = crypto->sha256_start(hal->user, sha);
        if (failed == 0) {
            failed = crypto->sha256_update(hal->user, sha, key, key_len);
            failed |= crypto->sha256_finish(hal->user, sha, pad);
        }
    } else if (key_len != 0) {
        memcpy(pad, key, key_len);
    }
    while (failed == 0) {
        mask_pad(pad, mask);
        mask = INNER ^ OUTER; /* takes the first mask off and the second on */
        failed = crypto->sha256_start(hal->user, sha);
        if (failed == 0) {
            failed = crypto->sha256_update(hal->user, sha, pad, sizeof pad);
            if (failed != 0) {
                crypto->sha256_abort(hal->user, sha);
            }
        }
        if (sha != hmac->pads) {
            if (failed != 0) {
                crypto->sha256_abort(hal->user, hmac->pads);
            }
            break;
        }
        sha++;
    }
    iotsec_wipe(pad, sizeof pad);
    return failed == 0 ? IOTSEC_OK : IOTSEC_ERR_CRYPTO;
}

void iotsec_hmac_done(const struct iotsec_hal *hal, struct iotsec_hmac *hmac)
{
    /* wipes them */
    hal->crypto->sha256_abort(hal->user, &hmac->pads[0]);
    hal->crypto->sha256_abort(hal->user, &hmac->pads[1]);
}

enum iotsec_status iotsec_hmac(const struct iotsec_hal *hal, const uint8_t *key, size_t key_len, struct iotsec_slice *parts,
                               size_t count, uint8_t mac[32])
{
    uint8_t pad[HASH_BLOCK];
    struct iotsec_slice outer[2];
    enum iotsec_status status;

    memset(pad, 0, sizeof pad);
    memcpy(pad, key, key_len);
    parts->data = pad;
    parts->len = sizeof pad;
    outer[0] = *parts;
    outer[1].data = mac;
    outer[1].len = DIGEST;
    mask_pad(pad, INNER);
    status = iotsec_sha256(hal, parts, count, mac);
    if (status == IOTSEC_OK) {
        mask_pad(pad, INNER ^ OUTER);
        status = iotsec_sha256(hal, outer, 2, mac);
    }
    iotsec_wipe(pad, sizeof pad);
    return status;
}

/* ---- Pseudo-random functions ---- */

/* A(1) = HMAC(seed), A(i) = HMAC(A(i - 1)); output HMAC(A(1) | seed) | HMAC(A(2) | seed) | ... */
enum iotsec_status iotsec_p_hash(const struct iotsec_hal *hal, const struct iotsec_hmac *hmac, struct iotsec_slice *parts,
                                 size_t count, uint8_t *out, size_t out_len)
{
    uint8_t a[DIGEST];
    uint8_t *to = out;
    size_t left = out_len;
    enum iotsec_status status = iotsec_hmac_compute(hal, hmac, parts + 1, count - 1, a);

    parts->data = a;
    parts->len = sizeof a;
    for (; status == IOTSEC_OK && left > DIGEST; left -= DIGEST, to += DIGEST) {
        status = iotsec_hmac_compute(hal, hmac, parts, count, to);
        if (status == IOTSEC_OK) {
            status = iotsec_hmac_compute(hal, hmac, parts, 1, a);
        }
    }
    if (status == IOTSEC_OK) {
        /* the last of A is not needed after it */
        status = iotsec_hmac_compute(hal, hmac, parts, count, a);
        memcpy(to, a, left);
    }
    if (status != IOTSEC_OK) {
        iotsec_wipe(out, out_len);
    }
    iotsec_wipe(a, sizeof a);
    return status;
}
