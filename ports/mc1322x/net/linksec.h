/* SPDX-License-Identifier: BSD-3-Clause */
/* Link-layer security: CCM* of IEEE 802.15.4-2006, frame counters that no restart repeats, replay, and the keys. */
#ifndef MC1322X_NET_LINKSEC_H
#define MC1322X_NET_LINKSEC_H

#include "frame.h"

#define LINKSEC_NONCE_BYTES 13u
#define LINKSEC_NOT_AUTHENTIC 1 /* linksec_ccm's answer besides NET_OK and NET_ERR_CRYPTO */

/* Bytes that a secured frame is longer by, behind its header. */
size_t linksec_mic_bytes(uint8_t level);

/*
 * CCM* over a frame: `open_len` bytes that stay readable, `secret_len` that do not, and `mic_len` (4 to 16, even) for the
 * MIC. Opening verifies; if that fails the secret bytes are wiped. Sealing that fails leaves them wiped too.
 */
int linksec_ccm(const struct net_config *config, const uint8_t key[16], const uint8_t nonce[LINKSEC_NONCE_BYTES],
                uint8_t *frame, size_t open_len, size_t secret_len, size_t mic_len, bool sealing);

/*
 * Gives a header the key in use, the level and the next frame counter, which is spent from then on. NET_ERR_NO_KEY,
 * NET_ERR_NOT_DURABLE, NET_ERR_COUNTER_SPENT: nothing is spent.
 */
int linksec_start(struct net *net, struct frame *frame);
/* Secures `len` bytes behind the header that linksec_start was called for, and adds their MIC. */
int linksec_seal(struct net *net, const struct frame *frame, uint8_t *data, size_t len);
/*
 * Verifies and decrypts a frame of `len` bytes. NET_DROP_COUNT: `*len` is without the MIC, and `*neighbour` the sender's
 * place in the table.
 */
enum net_drop linksec_open(struct net *net, const struct frame *frame, uint8_t *data, size_t *len, uint16_t *neighbour);

#endif
