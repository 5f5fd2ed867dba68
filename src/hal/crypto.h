/* SPDX-License-Identifier: BSD-3-Clause */
/* AES-CCM, HMAC-SHA-256 and P_hash over a HAL's crypto operations. */
#ifndef IOTSEC_SRC_HAL_CRYPTO_H
#define IOTSEC_SRC_HAL_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <iotsec/hal.h>

/*
 * AES-128-CCM (RFC 3610) with L = 3, a 12-byte nonce and a tag of 8 or 16 bytes, in place: one structure, which the
 * caller fills in as said below, with nonce and AAD in the form in which they enter the MAC, so that nothing is built
 * twice. All that is secret in it is wiped before the return.
 */
struct iotsec_ccm {
    uint8_t mac[16]; /* set: the nonce, from mac[IOTSEC_CCM_NONCE_AT] on */
    uint8_t counter[16];
    uint8_t keystream[16];
    int failed;
    const struct iotsec_hal *hal; /* set */
    const uint8_t *aad;           /* set: the AAD's length in 2 bytes, below 0xFF00, the AAD, zeros up to a whole block */
    size_t aad_blocks;            /* set: of 16 bytes each */
    uint8_t *data;                /* set: the text; behind it the tag is written, or looked for */
    size_t len;                   /* set: of the text, below 2^24 */
    size_t tag_len;               /* set: 8 or 16 */
    int opening;                  /* set: 0 seals, 1 opens */
    struct iotsec_aes aes;        /* last: small cores reach the small members with short instructions */
};

#define IOTSEC_CCM_NONCE_AT 1u

/*
 * On IOTSEC_ERR_AUTH and IOTSEC_ERR_CRYPTO the data is wiped, so that nobody can use unauthenticated plaintext or send
 * half-encrypted text by mistake. Status: OK, ERR_AUTH (opening), ERR_ARGUMENT (another tag_len), ERR_CRYPTO.
 */
enum iotsec_status iotsec_ccm(struct iotsec_ccm *c, const uint8_t key[16]);

/* HMAC-SHA-256 (RFC 2104) with its two padded key blocks, inner and outer, hashed once and cloned for every message. */
struct iotsec_hmac {
    struct iotsec_sha256 pads[2];
};

/* One piece of a message that is hashed as if its pieces stood side by side. */
struct iotsec_slice {
    const uint8_t *data;
    size_t len;
};

/* Every success is followed by one iotsec_hmac_done, which wipes. Status: OK, ERR_CRYPTO. */
enum iotsec_status iotsec_hmac_key(const struct iotsec_hal *hal, struct iotsec_hmac *hmac, const uint8_t *key, size_t key_len);
/* mac may be one of the parts: it is written when all of them have been read. Status: OK, ERR_CRYPTO: mac is wiped. */
enum iotsec_status iotsec_hmac_compute(const struct iotsec_hal *hal, const struct iotsec_hmac *hmac,
                                       const struct iotsec_slice *parts, size_t count, uint8_t mac[32]);
void iotsec_hmac_done(const struct iotsec_hal *hal, struct iotsec_hmac *hmac);

/*
 * The HMAC of one message under a key of at most 64 bytes: the same work, with two hash states less on the stack.
 * parts[0] is the function's own, the message follows it; count is that of both. Status: OK, ERR_CRYPTO: mac is wiped.
 */
enum iotsec_status iotsec_hmac(const struct iotsec_hal *hal, const uint8_t *key, size_t key_len, struct iotsec_slice *parts,
                               size_t count, uint8_t mac[32]);

/* SHA-256 in one call. Status: OK, ERR_CRYPTO: digest is wiped. */
static inline enum iotsec_status iotsec_sha256(const struct iotsec_hal *hal, const struct iotsec_slice *parts, size_t count,
                                               uint8_t digest[32])
{
    return iotsec_hmac_compute(hal, NULL, parts, count, digest);
}

/*
 * P_hash (RFC 5246, section 5; the same function as P in RFC 3830, section 4.1.2): out_len bytes, at least one, over the
 * seed. parts[0] is the function's own, the seed follows it; count is that of both. out does not overlap the seed.
 * Status: OK, ERR_CRYPTO: out is wiped.
 */
enum iotsec_status iotsec_p_hash(const struct iotsec_hal *hal, const struct iotsec_hmac *hmac, struct iotsec_slice *parts,
                                 size_t count, uint8_t *out, size_t out_len);

#endif
