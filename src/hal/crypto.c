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

/* Hashes the parts from a state that stays as it is, or from the start when there is none. */
static enum iotsec_status hash(const struct iotsec_hal *hal, const struct iotsec_sha256 *from, const struct iotsec_slice *parts,
                               size_t count, uint8_t digest[DIGEST])
{
    const struct iotsec_crypto *crypto = hal->crypto;
    struct iotsec_sha256 sha;
    int failed = from != NULL ? crypto->sha256_clone(hal->user, &sha, from) : crypto->sha256_start(hal->user, &sha);

    if (failed == 0) {
        for (; count != 0; count--, parts++) {
            if (parts->len != 0) {
                failed |= crypto->sha256_update(hal->user, &sha, parts->data, parts->len);
            }
        }
        /* also after a failure: it releases and wipes the state */
        failed |= crypto->sha256_finish(hal->user, &sha, digest);
    }
    if (failed != 0) {
        iotsec_wipe(digest, DIGEST);
        return IOTSEC_ERR_CRYPTO;
    }
    return IOTSEC_OK;
}

enum iotsec_status iotsec_sha256(const struct iotsec_hal *hal, const struct iotsec_slice *parts, size_t count, uint8_t digest[32])
{
    return hash(hal, NULL, parts, count, digest);
}

enum iotsec_status iotsec_hmac_key(const struct iotsec_hal *hal, struct iotsec_hmac *hmac, const uint8_t *key, size_t key_len)
{
    const struct iotsec_crypto *crypto = hal->crypto;
    uint8_t pad[HASH_BLOCK];
    struct iotsec_slice whole;
    enum iotsec_status status = IOTSEC_OK;
    uint8_t mask = 0x36;
    unsigned i;

    memset(pad, 0, sizeof pad);
    if (key_len > HASH_BLOCK) {
        whole.data = key;
        whole.len = key_len;
        status = hash(hal, NULL, &whole, 1, pad);
    } else if (key_len != 0) {
        memcpy(pad, key, key_len);
    }
    for (i = 0; i < 2 && status == IOTSEC_OK; i++) {
        struct iotsec_sha256 *sha = &hmac->pads[i];
        size_t at;

        for (at = 0; at < HASH_BLOCK; at++) {
            pad[at] ^= mask;
        }
        mask = 0x36 ^ 0x5C; /* takes the first pad off and the second on */
        status = IOTSEC_ERR_CRYPTO;
        if (crypto->sha256_start(hal->user, sha) == 0) {
            if (crypto->sha256_update(hal->user, sha, pad, sizeof pad) == 0) {
                status = IOTSEC_OK;
                continue;
            }
            crypto->sha256_abort(hal->user, sha);
        }
        if (i != 0) {
            crypto->sha256_abort(hal->user, &hmac->pads[0]);
        }
    }
    iotsec_wipe(pad, sizeof pad);
    return status;
}

enum iotsec_status iotsec_hmac_compute(const struct iotsec_hal *hal, const struct iotsec_hmac *hmac,
                                       const struct iotsec_slice *parts, size_t count, uint8_t mac[32])
{
    struct iotsec_slice inner;
    enum iotsec_status status = hash(hal, &hmac->pads[0], parts, count, mac);

    if (status == IOTSEC_OK) {
        inner.data = mac;
        inner.len = DIGEST;
        status = hash(hal, &hmac->pads[1], &inner, 1, mac);
    }
    return status;
}

void iotsec_hmac_done(const struct iotsec_hal *hal, struct iotsec_hmac *hmac)
{
    /* wipes them */
    hal->crypto->sha256_abort(hal->user, &hmac->pads[0]);
    hal->crypto->sha256_abort(hal->user, &hmac->pads[1]);
}

/* ---- Pseudo-random functions ---- */

/* A(1) = HMAC(seed), A(i) = HMAC(A(i - 1)); output HMAC(A(1) | seed) | HMAC(A(2) | seed) | ... */
enum iotsec_status iotsec_p_hash_xor(const struct iotsec_hal *hal, const struct iotsec_hmac *hmac, struct iotsec_slice *parts,
                                     size_t count, uint8_t *out, size_t out_len)
{
    uint8_t a[DIGEST];
    uint8_t block[DIGEST];
    size_t done = 0;
    enum iotsec_status status = iotsec_hmac_compute(hal, hmac, parts + 1, count - 1, a);

    parts->data = a;
    parts->len = sizeof a;
    while (status == IOTSEC_OK && done < out_len) {
        size_t n = out_len - done < DIGEST ? out_len - done : DIGEST;

        status = iotsec_hmac_compute(hal, hmac, parts, count, block);
        xor_bytes(out + done, block, n);
        done += n;
        if (status == IOTSEC_OK && done < out_len) {
            status = iotsec_hmac_compute(hal, hmac, parts, 1, a);
        }
    }
    if (status != IOTSEC_OK) {
        iotsec_wipe(out, out_len);
    }
    iotsec_wipe(a, sizeof a);
    iotsec_wipe(block, sizeof block);
    return status;
}

enum iotsec_status iotsec_mikey_prf(const struct iotsec_hal *hal, const uint8_t *inkey, size_t inkey_len,
                                    const uint8_t *label, size_t label_len, uint8_t *out, size_t out_len)
{
    struct iotsec_hmac hmac;
    struct iotsec_slice parts[2];
    enum iotsec_status status = IOTSEC_OK;

    parts[1].data = label;
    parts[1].len = label_len;
    memset(out, 0, out_len);
    while (inkey_len != 0 && status == IOTSEC_OK) {
        size_t n = inkey_len < 32 ? inkey_len : 32; /* 256 bits (RFC 3830, section 4.1.2) */

        status = iotsec_hmac_key(hal, &hmac, inkey, n);
        if (status == IOTSEC_OK) {
            status = iotsec_p_hash_xor(hal, &hmac, parts, 2, out, out_len);
            iotsec_hmac_done(hal, &hmac);
        } else {
            iotsec_wipe(out, out_len);
        }
        inkey += n;
        inkey_len -= n;
    }
    return status;
}
