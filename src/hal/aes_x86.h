/* SPDX-License-Identifier: BSD-3-Clause */
/* AES by the instructions that x86-64 processors have for it. */
#ifndef IOTSEC_SRC_HAL_AES_X86_H
#define IOTSEC_SRC_HAL_AES_X86_H

#include <iotsec/hal.h>

/* Whether this compiler can make them, and there is a provider to use them in. */
#if defined(__x86_64__) && defined(__GNUC__) && defined(IOTSEC_WITH_MBEDTLS)
#define IOTSEC_AES_X86 1

/* Whether this processor has them: without, none of the others may be called. */
int iotsec_aes_x86_usable(void);

/* The operations of struct iotsec_crypto. */
int iotsec_aes_x86_start(void *user, struct iotsec_aes *aes, const uint8_t key[16]);
int iotsec_aes_x86_encrypt(void *user, struct iotsec_aes *aes, const uint8_t in[16], uint8_t out[16]);
void iotsec_aes_x86_done(void *user, struct iotsec_aes *aes);
int iotsec_aes_x86_ccm_step(void *user, struct iotsec_aes *aes, int opening, const uint8_t counter[16], uint8_t mac[16],
                            const uint8_t in[16], uint8_t out[16]);
#else
#define IOTSEC_AES_X86 0
#endif

#endif
