/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mbedTLS's AES on this chip (MBEDTLS_AES_ALT): the context is the key, the module does the rest. What mbedTLS needs it
 * for here encrypts single blocks; there is no decryption in the module.
 */
#ifndef MC1322X_AES_ALT_H
#define MC1322X_AES_ALT_H

typedef struct mbedtls_aes_context {
    unsigned char key[16];
} mbedtls_aes_context;

#endif
