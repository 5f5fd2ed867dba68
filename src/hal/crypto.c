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

struct ccm {
    const struct iotsec_hal *hal;
    int failed; /* any non-zero answer of the HAL; looked at once, after the last block */
    uint8_t counter[BLOCK];
    uint8_t mac[BLOCK];
    uint8_t keystream[BLOCK];
    struct iotsec_aes aes; /* last: small cores reach the small members with short instructions */
};

/* In place, so that a failing cipher leaves known bytes and not whatever stood there. */
static void encrypt(struct ccm *c, uint8_t block[BLOCK])
{
    c->failed |= c->hal->crypto->aes_encrypt(c->hal->user, &c->aes, block, block);
}

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

static void mac_bytes(struct ccm *c, size_t at, const uint8_t *data, size_t n)
{
    xor_bytes(c->mac + at, data, n);
    encrypt(c, c->mac);
}

static void mac_aad(struct ccm *c, const uint8_t *aad, size_t aad_len)
{
    size_t at = 2; /* behind its length, in the first block */

    c->mac[0] ^= (uint8_t)(aad_len >> 8);
    c->mac[1] ^= (uint8_t)aad_len;
    while (aad_len != 0) {
        size_t n = aad_len < BLOCK - at ? aad_len : BLOCK - at;

        mac_bytes(c, at, aad, n);
        aad += n;
        aad_len -= n;
        at = 0;
    }
}

static void next_keystream(struct ccm *c)
{
    memcpy(c->keystream, c->counter, BLOCK);
    encrypt(c, c->keystream);
}

/* Encrypts or decrypts n bytes in place, at most a block, and adds their plaintext to the MAC. */
static void crypt_bytes(struct ccm *c, uint8_t *data, size_t n, bool opening)
{
    const struct iotsec_crypto *crypto = c->hal->crypto;
    uint8_t *carry = &c->counter[BLOCK - 1];

    while (++*carry == 0) {
        carry--; /* stays within the length field: the data is shorter than 2^24 bytes */
    }
    if (crypto->ccm_step != NULL && n == BLOCK) {
        c->failed |= crypto->ccm_step(c->hal->user, &c->aes, opening, c->counter, c->mac, data, data);
        return;
    }
    next_keystream(c);
    xor_bytes(data, c->keystream, n);
    if (!opening) {
        /* data is ciphertext now; with the keystream once more the MAC gets the plaintext */
        xor_bytes(c->mac, c->keystream, n);
    }
    mac_bytes(c, 0, data, n);
}

/* data: len bytes and, behind them, the tag; which is written when sealing and compared when opening */
static enum iotsec_status ccm(const struct iotsec_hal *hal, const uint8_t *key, const uint8_t *nonce, const uint8_t *aad,
                              size_t aad_len, uint8_t *data, size_t len, size_t tag_len, bool opening)
{
    struct ccm c;
    enum iotsec_status status = IOTSEC_ERR_CRYPTO;
    size_t at;
    size_t n;

    /* another length would weaken the tag: with 0 every record would be authentic */
    if (tag_len != 8 && tag_len != 16) {
        return IOTSEC_ERR_ARGUMENT;
    }
    c.hal = hal;
    c.failed = hal->crypto->aes_start(hal->user, &c.aes, key);
    if (c.failed != 0) {
        goto out;
    }
    memset(c.counter, 0, BLOCK);
    c.counter[0] = LENGTH_FIELD - 1;
    memcpy(c.counter + 1, nonce, 12);
    memcpy(c.mac, c.counter, BLOCK);
    c.mac[0] = (uint8_t)((aad_len != 0 ? 0x40u : 0u) | (tag_len - 2) / 2 << 3 | (LENGTH_FIELD - 1));
    c.mac[13] = (uint8_t)(len >> 16);
    iotsec_put_u16(c.mac + 14, (uint16_t)len);
    encrypt(&c, c.mac);
    mac_aad(&c, aad, aad_len);
    for (at = 0; at < len; at += n) {
        n = len - at < BLOCK ? len - at : BLOCK;
        crypt_bytes(&c, data + at, n, opening);
    }
    memset(c.counter + 13, 0, LENGTH_FIELD);
    next_keystream(&c);
    xor_bytes(c.mac, c.keystream, BLOCK);
    hal->crypto->aes_done(hal->user, &c.aes);
    if (c.failed == 0) {
        status = IOTSEC_OK;
        if (!opening) {
            memcpy(data + len, c.mac, tag_len);
        } else if (!iotsec_ct_equal(data + len, c.mac, tag_len)) {
            status = IOTSEC_ERR_AUTH;
        }
    }
out:
    if (status != IOTSEC_OK) {
        /* plaintext that nobody vouches for, or text that a failing cipher left half encrypted */
        iotsec_wipe(data, len);
    }
    iotsec_wipe(&c, sizeof c);
    return status;
}

enum iotsec_status iotsec_ccm_seal(const struct iotsec_hal *hal, const uint8_t key[16], const uint8_t nonce[12],
                                   const uint8_t *aad, size_t aad_len, uint8_t *data, size_t len, size_t tag_len)
{
    return ccm(hal, key, nonce, aad, aad_len, data, len, tag_len, false);
}

enum iotsec_status iotsec_ccm_open(const struct iotsec_hal *hal, const uint8_t key[16], const uint8_t nonce[12],
                                   const uint8_t *aad, size_t aad_len, uint8_t *data, size_t len, size_t tag_len)
{
    return ccm(hal, key, nonce, aad, aad_len, data, len, tag_len, true);
}

/* ---- SHA-256 and HMAC ---- */

#define DIGEST 32u
#define HASH_BLOCK 64u

/* Hashes first, then the parts, from a state that stays as it is, or from the start when there is none. */
static int hash(const struct iotsec_hal *hal, const struct iotsec_sha256 *from, const uint8_t *first, size_t first_len,
                const struct iotsec_slice *parts, size_t count, uint8_t digest[32])
{
    const struct iotsec_crypto *crypto = hal->crypto;
    struct iotsec_sha256 sha;
    int failed = from != NULL ? crypto->sha256_clone(hal->user, &sha, from) : crypto->sha256_start(hal->user, &sha);

    if (failed == 0) {
        if (first_len != 0) {
            failed = crypto->sha256_update(hal->user, &sha, first, first_len);
        }
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
    }
    return failed;
}

enum iotsec_status iotsec_sha256(const struct iotsec_hal *hal, const struct iotsec_slice *parts, size_t count, uint8_t digest[32])
{
    return hash(hal, NULL, NULL, 0, parts, count, digest) == 0 ? IOTSEC_OK : IOTSEC_ERR_CRYPTO;
}

/* A hash state that has taken the key's block with every byte XORed with mask. */
static int hash_pad(const struct iotsec_hal *hal, struct iotsec_sha256 *sha, const uint8_t block[HASH_BLOCK], uint8_t mask)
{
    uint8_t pad[HASH_BLOCK];
    size_t i;
    int failed;

    for (i = 0; i < HASH_BLOCK; i++) {
        pad[i] = block[i] ^ mask;
    }
    failed = hal->crypto->sha256_start(hal->user, sha);
    if (failed == 0) {
        failed = hal->crypto->sha256_update(hal->user, sha, pad, sizeof pad);
        if (failed != 0) {
            hal->crypto->sha256_abort(hal->user, sha);
        }
    }
    iotsec_wipe(pad, sizeof pad);
    return failed;
}

enum iotsec_status iotsec_hmac_key(const struct iotsec_hal *hal, struct iotsec_hmac *hmac, const uint8_t *key, size_t key_len)
{
    uint8_t block[HASH_BLOCK];
    int failed = 0;

    memset(block, 0, sizeof block);
    if (key_len > HASH_BLOCK) {
        failed = hash(hal, NULL, key, key_len, NULL, 0, block);
    } else if (key_len != 0) {
        memcpy(block, key, key_len);
    }
    if (failed == 0) {
        failed = hash_pad(hal, &hmac->inner, block, 0x36);
        if (failed == 0) {
            failed = hash_pad(hal, &hmac->outer, block, 0x5C);
            if (failed != 0) {
                hal->crypto->sha256_abort(hal->user, &hmac->inner);
            }
        }
    }
    iotsec_wipe(block, sizeof block);
    return failed == 0 ? IOTSEC_OK : IOTSEC_ERR_CRYPTO;
}

static int hmac_compute(const struct iotsec_hal *hal, const struct iotsec_hmac *hmac, const uint8_t *first, size_t first_len,
                        const struct iotsec_slice *parts, size_t count, uint8_t mac[32])
{
    uint8_t inner[DIGEST];
    int failed = hash(hal, &hmac->inner, first, first_len, parts, count, inner);

    if (failed == 0) {
        failed = hash(hal, &hmac->outer, inner, sizeof inner, NULL, 0, mac);
        iotsec_wipe(inner, sizeof inner);
    }
    return failed;
}

enum iotsec_status iotsec_hmac_compute(const struct iotsec_hal *hal, const struct iotsec_hmac *hmac,
                                       const struct iotsec_slice *parts, size_t count, uint8_t mac[32])
{
    return hmac_compute(hal, hmac, NULL, 0, parts, count, mac) == 0 ? IOTSEC_OK : IOTSEC_ERR_CRYPTO;
}

void iotsec_hmac_done(const struct iotsec_hal *hal, struct iotsec_hmac *hmac)
{
    hal->crypto->sha256_abort(hal->user, &hmac->inner);
    hal->crypto->sha256_abort(hal->user, &hmac->outer);
    iotsec_wipe(hmac, sizeof *hmac);
}

/* ---- Pseudo-random functions ---- */

/*
 * A(1) = HMAC(seed), A(i) = HMAC(A(i - 1)); output HMAC(A(1) | seed) | HMAC(A(2) | seed) | ...
 * XORed into out, because RFC 3830 wants the XOR of several.
 */
static int p_hash_xor(const struct iotsec_hal *hal, const struct iotsec_hmac *hmac, const struct iotsec_slice *seed,
                      size_t count, uint8_t *out, size_t out_len)
{
    uint8_t a[DIGEST];
    uint8_t block[DIGEST];
    int failed = hmac_compute(hal, hmac, NULL, 0, seed, count, a);

    while (failed == 0) {
        size_t i;

        failed = hmac_compute(hal, hmac, a, sizeof a, seed, count, block);
        for (i = 0; failed == 0 && i < DIGEST && out_len != 0; i++, out_len--) {
            *out++ ^= block[i];
        }
        if (failed != 0 || out_len == 0) {
            break;
        }
        failed = hmac_compute(hal, hmac, a, sizeof a, NULL, 0, a);
    }
    iotsec_wipe(a, sizeof a);
    iotsec_wipe(block, sizeof block);
    return failed;
}

enum iotsec_status iotsec_p_hash(const struct iotsec_hal *hal, const struct iotsec_hmac *hmac,
                                 const struct iotsec_slice *seed, size_t count, uint8_t *out, size_t out_len)
{
    memset(out, 0, out_len);
    if (p_hash_xor(hal, hmac, seed, count, out, out_len) != 0) {
        iotsec_wipe(out, out_len);
        return IOTSEC_ERR_CRYPTO;
    }
    return IOTSEC_OK;
}

enum iotsec_status iotsec_mikey_prf(const struct iotsec_hal *hal, const uint8_t *inkey, size_t inkey_len,
                                    const uint8_t *label, size_t label_len, uint8_t *out, size_t out_len)
{
    struct iotsec_hmac hmac;
    struct iotsec_slice seed;
    enum iotsec_status status = IOTSEC_OK;

    seed.data = label;
    seed.len = label_len;
    memset(out, 0, out_len);
    while (inkey_len != 0 && status == IOTSEC_OK) {
        size_t n = inkey_len < 32 ? inkey_len : 32; /* 256 bits (RFC 3830, section 4.1.2) */

        status = iotsec_hmac_key(hal, &hmac, inkey, n);
        if (status == IOTSEC_OK) {
            if (p_hash_xor(hal, &hmac, &seed, 1, out, out_len) != 0) {
                status = IOTSEC_ERR_CRYPTO;
            }
            iotsec_hmac_done(hal, &hmac);
        }
        inkey += n;
        inkey_len -= n;
    }
    if (status != IOTSEC_OK) {
        iotsec_wipe(out, out_len);
    }
    return status;
}
