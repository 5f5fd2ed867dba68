/* SPDX-License-Identifier: BSD-3-Clause */
/* AES-CCM, HMAC-SHA-256 and the pseudo-random functions over a HAL's crypto operations. */
#ifndef IOTSEC_SRC_HAL_CRYPTO_H
#define IOTSEC_SRC_HAL_CRYPTO_H

#include <stddef.h>
#include <stdint.h>

#include <iotsec/hal.h>

/*
 * AES-128-CCM (RFC 3610) with L = 3, a 12-byte nonce and a tag of 8 or 16 bytes (tag_len).
 * len counts the text without the tag, below 2^24; aad_len is below 0xFF00.
 * seal: encrypts `data` in place and writes the tag behind it (data has room for len + tag_len).
 * open: verifies the tag that stands behind the data and decrypts in place.
 * On IOTSEC_ERR_AUTH and IOTSEC_ERR_CRYPTO the data is wiped, so that nobody can use
 * unauthenticated plaintext or send half-encrypted text by mistake.
 * Status: OK, ERR_AUTH (open), ERR_ARGUMENT (another tag_len), ERR_CRYPTO.
 */
enum iotsec_status iotsec_ccm_seal(const struct iotsec_hal *hal, const uint8_t key[16], const uint8_t nonce[12],
                                   const uint8_t *aad, size_t aad_len, uint8_t *data, size_t len, size_t tag_len);
enum iotsec_status iotsec_ccm_open(const struct iotsec_hal *hal, const uint8_t key[16], const uint8_t nonce[12],
                                   const uint8_t *aad, size_t aad_len, uint8_t *data, size_t len, size_t tag_len);

/* HMAC-SHA-256 (RFC 2104) with its two padded key blocks hashed once and cloned for every message. */
struct iotsec_hmac {
    struct iotsec_sha256 inner;
    struct iotsec_sha256 outer;
};

/* One piece of a message that is hashed as if its pieces stood side by side. */
struct iotsec_slice {
    const uint8_t *data;
    size_t len;
};

/* Every success is followed by one iotsec_hmac_done, which wipes. Status: OK, ERR_CRYPTO. */
enum iotsec_status iotsec_hmac_key(const struct iotsec_hal *hal, struct iotsec_hmac *hmac, const uint8_t *key, size_t key_len);
enum iotsec_status iotsec_hmac_compute(const struct iotsec_hal *hal, const struct iotsec_hmac *hmac,
                                       const struct iotsec_slice *parts, size_t count, uint8_t mac[32]);
void iotsec_hmac_done(const struct iotsec_hal *hal, struct iotsec_hmac *hmac);

/* P_hash (RFC 5246, section 5; the same function as P in RFC 3830, section 4.1.2): out_len bytes over the
 * seed. out does not overlap the seed. */
enum iotsec_status iotsec_p_hash(const struct iotsec_hal *hal, const struct iotsec_hmac *hmac,
                                 const struct iotsec_slice *seed, size_t count, uint8_t *out, size_t out_len);

/* RFC 3830's PRF with HMAC-SHA-256: inkey is split into 256-bit blocks whose P outputs are XORed.
 * out does not overlap inkey or label. Secrets on the stack are wiped. Status: OK, ERR_CRYPTO. */
enum iotsec_status iotsec_mikey_prf(const struct iotsec_hal *hal, const uint8_t *inkey, size_t inkey_len,
                                    const uint8_t *label, size_t label_len, uint8_t *out, size_t out_len);

/* SHA-256 in one call. */
enum iotsec_status iotsec_sha256(const struct iotsec_hal *hal, const struct iotsec_slice *parts, size_t count, uint8_t digest[32]);

#endif
