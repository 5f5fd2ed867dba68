/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What this product changes in the library; given to the library's build as
 * -DIOTSEC_USER_CONFIG_FILE=<this file> and installed with it.
 */
#define IOTSEC_AES_CONTEXT_BYTES 16 /* the AES hardware expands the key by itself */
#define IOTSEC_IDENTITY_MAX 32      /* our identities are serial numbers */
#define IOTSEC_PSK_MAX 32
