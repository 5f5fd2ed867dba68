/* SPDX-License-Identifier: BSD-3-Clause */
/* The crypto provider of this build, and a HAL around it for targets that need no more. */
#ifndef IOTSEC_TESTS_FUZZ_CRYPTO_H
#define IOTSEC_TESTS_FUZZ_CRYPTO_H

#include <iotsec/hal.h>

#if !defined(IOTSEC_WITH_MBEDTLS)
#include <psa/crypto.h>
#endif

static inline const struct iotsec_crypto *fuzz_crypto(void)
{
#if defined(IOTSEC_WITH_MBEDTLS)
    return &iotsec_crypto_mbedtls;
#else
    (void)psa_crypto_init();
    return &iotsec_crypto_psa;
#endif
}

#endif
