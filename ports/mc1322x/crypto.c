/* SPDX-License-Identifier: BSD-3-Clause */
#include "crypto.h"

#include <string.h>

#include <mbedtls/aes.h>
#include <mbedtls/ctr_drbg.h>
#include <mbedtls/platform_util.h>
#include <mbedtls/sha256.h>

#include "aes.h"
#include "fault.h"

/* ---- mbedTLS's AES ---- */

/* A module that fails once is broken: nothing may go out that it should have encrypted. */
static void check(enum aes_status status)
{
    if (status != AES_OK) {
        fault(aes_fault(status));
    }
}

void mbedtls_aes_init(mbedtls_aes_context *context)
{
    memset(context, 0, sizeof *context);
}

void mbedtls_aes_free(mbedtls_aes_context *context)
{
    if (context != NULL) {
        mbedtls_platform_zeroize(context, sizeof *context);
    }
}

int mbedtls_aes_setkey_enc(mbedtls_aes_context *context, const unsigned char *key, unsigned bits)
{
    if (bits != 128) {
        return MBEDTLS_ERR_AES_INVALID_KEY_LENGTH;
    }
    memcpy(context->key, key, 16);
    return 0;
}

int mbedtls_aes_crypt_ecb(mbedtls_aes_context *context, int mode, const unsigned char in[16], unsigned char out[16])
{
    if (mode != MBEDTLS_AES_ENCRYPT) {
        return MBEDTLS_ERR_AES_BAD_INPUT_DATA;
    }
    check(aes_block(context->key, in, out));
    return 0;
}

/* ---- The library's operations ---- */

/* The context of iotsec_crypto_mbedtls is mbedTLS's, which is the key here. */
static int ccm_step(void *user, struct iotsec_aes *aes, int opening, const uint8_t counter[16], uint8_t mac[16],
                    const uint8_t in[16], uint8_t out[16])
{
    const mbedtls_aes_context *context = (const mbedtls_aes_context *)(const void *)aes->storage;

    (void)user;
    check(aes_ccm_step(context->key, opening, counter, mac, in, out));
    return 0;
}

static struct iotsec_crypto operations;

const struct iotsec_crypto *crypto_operations(void)
{
    return &operations;
}

/* ---- Random numbers ---- */

static mbedtls_ctr_drbg_context drbg;
/* What seeds the generator: a hash of secret, boots and noise; then hashes of hashes. */
static uint8_t pool[32];

/* The next `len` bytes of the seed. mbedTLS asks once at the start, and again after 10 000 requests. */
static int seed(void *user, unsigned char *out, size_t len)
{
    uint8_t block[33];

    (void)user;
    memcpy(block, pool, 32);
    for (block[32] = 0; len > 0; block[32]++) {
        uint8_t digest[32];
        size_t n = len < sizeof digest ? len : sizeof digest;

        if (mbedtls_sha256(block, sizeof block, digest, 0) != 0) {
            return MBEDTLS_ERR_CTR_DRBG_ENTROPY_SOURCE_FAILED;
        }
        memcpy(out, digest, n);
        mbedtls_platform_zeroize(digest, sizeof digest);
        out += n;
        len -= n;
    }
    /* Who reads the memory later does not find what seeded the generator: the pool goes on one way. */
    block[32] = 0xff;
    if (mbedtls_sha256(block, sizeof block, pool, 0) != 0) {
        return MBEDTLS_ERR_CTR_DRBG_ENTROPY_SOURCE_FAILED;
    }
    mbedtls_platform_zeroize(block, sizeof block);
    return 0;
}

int crypto_random(void *user, uint8_t *out, size_t len)
{
    (void)user;
    while (len > 0) {
        size_t n = len < MBEDTLS_CTR_DRBG_MAX_REQUEST ? len : MBEDTLS_CTR_DRBG_MAX_REQUEST;

        if (mbedtls_ctr_drbg_random(&drbg, out, n) != 0) {
            return -1;
        }
        out += n;
        len -= n;
    }
    return 0;
}

int crypto_aes(void *user, const uint8_t key[16], const uint8_t in[16], uint8_t out[16])
{
    (void)user;
    check(aes_block(key, in, out));
    return 0;
}

void crypto_start(const uint8_t secret[32], uint32_t boots, const uint8_t *noise, size_t noise_len)
{
    static const uint8_t label[] = "iotsec mc1322x seed";
    mbedtls_sha256_context sha;
    uint8_t counter[4];
    int failed;

    check(aes_start_up());
    operations = iotsec_crypto_mbedtls;
    operations.ccm_step = ccm_step;

    counter[0] = (uint8_t)(boots >> 24);
    counter[1] = (uint8_t)(boots >> 16);
    counter[2] = (uint8_t)(boots >> 8);
    counter[3] = (uint8_t)boots;
    mbedtls_sha256_init(&sha);
    failed = mbedtls_sha256_starts(&sha, 0) != 0 || mbedtls_sha256_update(&sha, label, sizeof label) != 0 ||
             mbedtls_sha256_update(&sha, secret, 32) != 0 || mbedtls_sha256_update(&sha, counter, sizeof counter) != 0 ||
             mbedtls_sha256_update(&sha, noise, noise_len) != 0 || mbedtls_sha256_finish(&sha, pool) != 0;
    mbedtls_sha256_free(&sha); /* wipes */
    mbedtls_ctr_drbg_init(&drbg);
    if (failed || mbedtls_ctr_drbg_seed(&drbg, seed, NULL, label, sizeof label) != 0) {
        fault("random");
    }
}
