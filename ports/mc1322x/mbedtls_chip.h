/* SPDX-License-Identifier: BSD-3-Clause */
/* What of mbedTLS 3.6 is linked: SHA-256, and the generator of random numbers over the chip's AES. Neither needs a heap. */
#define MBEDTLS_SHA256_C
#define MBEDTLS_SHA256_SMALLER
#define MBEDTLS_AES_C
#define MBEDTLS_AES_ALT
#define MBEDTLS_CTR_DRBG_C
#define MBEDTLS_CTR_DRBG_USE_128_BIT_KEY
#define MBEDTLS_NO_PLATFORM_ENTROPY
