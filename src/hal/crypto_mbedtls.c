/* SPDX-License-Identifier: BSD-3-Clause */
#include <iotsec/hal.h>

#if defined(IOTSEC_WITH_MBEDTLS)

#include <mbedtls/aes.h>
#include <mbedtls/sha256.h>
#include <mbedtls/version.h>

#if MBEDTLS_VERSION_NUMBER < 0x03000000
#define mbedtls_sha256_starts mbedtls_sha256_starts_ret
#define mbedtls_sha256_update mbedtls_sha256_update_ret
#define mbedtls_sha256_finish mbedtls_sha256_finish_ret
#endif

typedef char iotsec_aes_context_bytes_is_large_enough[sizeof(mbedtls_aes_context) <= IOTSEC_AES_CONTEXT_BYTES ? 1 : -1];
typedef char iotsec_sha256_context_bytes_is_large_enough[sizeof(mbedtls_sha256_context) <= IOTSEC_SHA256_CONTEXT_BYTES ? 1 : -1];

/* The contexts never move: an AES context of 2.28 points into itself. */
static mbedtls_aes_context *aes_of(struct iotsec_aes *aes)
{
    return (mbedtls_aes_context *)(void *)aes->storage;
}

static mbedtls_sha256_context *sha_of(struct iotsec_sha256 *sha)
{
    return (mbedtls_sha256_context *)(void *)sha->storage;
}

static void aes_done(void *user, struct iotsec_aes *aes)
{
    (void)user;
    mbedtls_aes_free(aes_of(aes)); /* wipes */
}

static int aes_start(void *user, struct iotsec_aes *aes, const uint8_t key[16])
{
    mbedtls_aes_init(aes_of(aes));
    if (mbedtls_aes_setkey_enc(aes_of(aes), key, 128) != 0) {
        aes_done(user, aes);
        return -1;
    }
    return 0;
}

static int aes_encrypt(void *user, struct iotsec_aes *aes, const uint8_t in[16], uint8_t out[16])
{
    (void)user;
    return mbedtls_aes_crypt_ecb(aes_of(aes), MBEDTLS_AES_ENCRYPT, in, out) == 0 ? 0 : -1;
}

static void sha256_abort(void *user, struct iotsec_sha256 *sha)
{
    (void)user;
    mbedtls_sha256_free(sha_of(sha)); /* wipes */
}

static int sha256_start(void *user, struct iotsec_sha256 *sha)
{
    mbedtls_sha256_init(sha_of(sha));
    if (mbedtls_sha256_starts(sha_of(sha), 0) != 0) {
        sha256_abort(user, sha);
        return -1;
    }
    return 0;
}

static int sha256_update(void *user, struct iotsec_sha256 *sha, const uint8_t *data, size_t len)
{
    (void)user;
    return mbedtls_sha256_update(sha_of(sha), data, len) == 0 ? 0 : -1;
}

static int sha256_clone(void *user, struct iotsec_sha256 *to, const struct iotsec_sha256 *from)
{
    (void)user;
    mbedtls_sha256_init(sha_of(to));
    mbedtls_sha256_clone(sha_of(to), (const mbedtls_sha256_context *)(const void *)from->storage);
    return 0;
}

static int sha256_finish(void *user, struct iotsec_sha256 *sha, uint8_t digest[32])
{
    int failed = mbedtls_sha256_finish(sha_of(sha), digest);

    sha256_abort(user, sha);
    return failed == 0 ? 0 : -1;
}

const struct iotsec_crypto iotsec_crypto_mbedtls = {
    aes_start,    aes_encrypt,   aes_done,     sha256_start, sha256_update,
    sha256_clone, sha256_finish, sha256_abort, NULL,
};

#endif
