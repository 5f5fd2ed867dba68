/* SPDX-License-Identifier: BSD-3-Clause */
#include <iotsec/hal.h>

#if defined(IOTSEC_WITH_PSA)

#include <psa/crypto.h>
#include <string.h>

#include "base/bytes.h"

/*
 * A hash operation takes 232 bytes on a 64-bit host in the default configurations of 2.28 and of 3.6 (it has
 * room for SHA-512), more than the default of IOTSEC_SHA256_CONTEXT_BYTES: define that as 232 for this
 * provider, as the library's CMake build does.
 */
typedef char iotsec_sha256_context_bytes_is_large_enough_for_psa[sizeof(psa_hash_operation_t) <= IOTSEC_SHA256_CONTEXT_BYTES ? 1 : -1];

/* One operation a key and not one a block: setting it up costs more than the block does. */
struct cipher {
    psa_key_id_t key;
    psa_cipher_operation_t operation;
};

typedef char iotsec_aes_context_bytes_is_large_enough_for_psa[sizeof(struct cipher) <= IOTSEC_AES_CONTEXT_BYTES ? 1 : -1];

static struct cipher *cipher_of(struct iotsec_aes *aes)
{
    return (struct cipher *)(void *)aes->storage;
}

static psa_hash_operation_t *sha_of(struct iotsec_sha256 *sha)
{
    return (psa_hash_operation_t *)(void *)sha->storage;
}

static void aes_done(void *user, struct iotsec_aes *aes)
{
    (void)user;
    (void)psa_cipher_abort(&cipher_of(aes)->operation);
    (void)psa_destroy_key(cipher_of(aes)->key);
    iotsec_wipe(aes, sizeof *aes);
}

/* 2.28 holds 32 keys in all, so a key is imported for one use and never kept. */
static int aes_start(void *user, struct iotsec_aes *aes, const uint8_t key[16])
{
    struct cipher *c = cipher_of(aes);
    psa_key_attributes_t attributes = PSA_KEY_ATTRIBUTES_INIT;

    psa_set_key_type(&attributes, PSA_KEY_TYPE_AES);
    psa_set_key_usage_flags(&attributes, PSA_KEY_USAGE_ENCRYPT);
    psa_set_key_algorithm(&attributes, PSA_ALG_ECB_NO_PADDING);
    c->operation = psa_cipher_operation_init();
    if (psa_import_key(&attributes, key, 16, &c->key) != PSA_SUCCESS) {
        return -1;
    }
    if (psa_cipher_encrypt_setup(&c->operation, c->key, PSA_ALG_ECB_NO_PADDING) != PSA_SUCCESS) {
        aes_done(user, aes);
        return -1;
    }
    return 0;
}

static int aes_encrypt(void *user, struct iotsec_aes *aes, const uint8_t in[16], uint8_t out[16])
{
    uint8_t block[16]; /* PSA promises nothing for buffers that overlap */
    size_t len = 0;
    int failed = -1;

    (void)user;
    if (psa_cipher_update(&cipher_of(aes)->operation, in, 16, block, sizeof block, &len) == PSA_SUCCESS &&
        len == sizeof block) {
        memcpy(out, block, sizeof block);
        failed = 0;
    }
    iotsec_wipe(block, sizeof block);
    return failed;
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
