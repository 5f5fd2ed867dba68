/* SPDX-License-Identifier: BSD-3-Clause */
#include <iotsec/hal.h>

#if defined(IOTSEC_WITH_PSA)

#include <psa/crypto.h>
#include <string.h>

#include "base/bytes.h"

/*
 * The state that PSA keeps in the caller's storage. A hash operation takes 232 bytes on 64-bit hosts and
 * 224 on 32-bit ARM in the default configurations of 2.28 and of 3.6 alike (there is room for SHA-512 in it), less where SHA-384
 * and SHA-512 are left out. An AES key is only its number.
 */
typedef char iotsec_sha256_context_bytes_is_large_enough_for_psa[sizeof(psa_hash_operation_t) <= IOTSEC_SHA256_CONTEXT_BYTES ? 1 : -1];
typedef char iotsec_aes_context_bytes_is_large_enough_for_psa[sizeof(psa_key_id_t) <= IOTSEC_AES_CONTEXT_BYTES ? 1 : -1];

static psa_key_id_t *key_of(struct iotsec_aes *aes)
{
    return (psa_key_id_t *)(void *)aes->storage;
}

static psa_hash_operation_t *sha_of(struct iotsec_sha256 *sha)
{
    return (psa_hash_operation_t *)(void *)sha->storage;
}

/* 2.28 holds 32 keys in all, so a key is imported for one operation and never kept. */
static int aes_start(void *user, struct iotsec_aes *aes, const uint8_t key[16])
{
    psa_key_attributes_t attributes = PSA_KEY_ATTRIBUTES_INIT;

    (void)user;
    psa_set_key_type(&attributes, PSA_KEY_TYPE_AES);
    psa_set_key_usage_flags(&attributes, PSA_KEY_USAGE_ENCRYPT);
    psa_set_key_algorithm(&attributes, PSA_ALG_ECB_NO_PADDING);
    return psa_import_key(&attributes, key, 16, key_of(aes)) == PSA_SUCCESS ? 0 : -1;
}

static int aes_encrypt(void *user, struct iotsec_aes *aes, const uint8_t in[16], uint8_t out[16])
{
    uint8_t block[16]; /* PSA promises nothing for buffers that overlap */
    size_t len = 0;
    int failed = -1;

    (void)user;
    if (psa_cipher_encrypt(*key_of(aes), PSA_ALG_ECB_NO_PADDING, in, 16, block, sizeof block, &len) == PSA_SUCCESS &&
        len == sizeof block) {
        memcpy(out, block, sizeof block);
        failed = 0;
    }
    iotsec_wipe(block, sizeof block);
    return failed;
}

static void aes_done(void *user, struct iotsec_aes *aes)
{
    (void)user;
    (void)psa_destroy_key(*key_of(aes));
    iotsec_wipe(aes, sizeof *aes);
}

static void sha256_abort(void *user, struct iotsec_sha256 *sha)
{
    (void)user;
    (void)psa_hash_abort(sha_of(sha));
    iotsec_wipe(sha, sizeof *sha);
}

static int sha256_start(void *user, struct iotsec_sha256 *sha)
{
    *sha_of(sha) = psa_hash_operation_init();
    if (psa_hash_setup(sha_of(sha), PSA_ALG_SHA_256) != PSA_SUCCESS) {
        sha256_abort(user, sha);
        return -1;
    }
    return 0;
}

static int sha256_update(void *user, struct iotsec_sha256 *sha, const uint8_t *data, size_t len)
{
    (void)user;
    return psa_hash_update(sha_of(sha), data, len) == PSA_SUCCESS ? 0 : -1;
}

static int sha256_clone(void *user, struct iotsec_sha256 *to, const struct iotsec_sha256 *from)
{
    *sha_of(to) = psa_hash_operation_init();
    if (psa_hash_clone((const psa_hash_operation_t *)(const void *)from->storage, sha_of(to)) != PSA_SUCCESS) {
        sha256_abort(user, to);
        return -1;
    }
    return 0;
}

static int sha256_finish(void *user, struct iotsec_sha256 *sha, uint8_t digest[32])
{
    size_t len = 0;
    psa_status_t status = psa_hash_finish(sha_of(sha), digest, 32, &len);

    sha256_abort(user, sha);
    return status == PSA_SUCCESS && len == 32 ? 0 : -1;
}

const struct iotsec_crypto iotsec_crypto_psa = {
    aes_start,    aes_encrypt,   aes_done,     sha256_start, sha256_update,
    sha256_clone, sha256_finish, sha256_abort, NULL,
};

#endif
