/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MC1322X_CRYPTO_H
#define MC1322X_CRYPTO_H

#include <stddef.h>
#include <stdint.h>

#include <iotsec/hal.h>

/*
 * Starts the AES module, with its tests, and the random generator. `secret` is the device's own, of provisioning, and the
 * generator's strength: 32 bytes that nobody else knows. `boots` was never given before with this secret, and is durable: it
 * makes every start's stream another one, whatever `noise` is worth. Called once. Failures are faults: "aes-self-test",
 * "aes-timeout", "aes-bypass", "aes-known-answer", "random"; later, too, whenever the module fails.
 */
void crypto_start(const uint8_t secret[32], uint32_t boots, const uint8_t *noise, size_t noise_len);

/* One block, as the network layer wants it (net/net.h). */
int crypto_aes(void *user, const uint8_t key[16], const uint8_t in[16], uint8_t out[16]);

/* iotsec's HAL: AES and CCM steps by the module, SHA-256 by mbedTLS. Usable after crypto_start(). */
const struct iotsec_crypto *crypto_operations(void);

/* iotsec_hal.random. 0, or < 0: nothing in `out`. */
int crypto_random(void *user, uint8_t *out, size_t len);

#endif
