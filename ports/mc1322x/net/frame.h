/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * IEEE 802.15.4-2006 data frames, with the auxiliary security header of key identifier mode 1.
 *
 * In here a link-layer address is always the interface identifier that belongs to it (RFC 6282, section 3.2.2): an EUI-64
 * with its bit "universal" turned round, or 0000:00ff:fe00:XXXX for a short one. So there is one kind of address to compare,
 * to keep, and to put behind a prefix. An EUI-64 that would look like a short address is refused.
 */
#ifndef MC1322X_NET_FRAME_H
#define MC1322X_NET_FRAME_H

#include "net.h"

#define FRAME_HEADER_MAX 27u /* FCF 2, sequence 1, PAN ID 2, addresses 8 + 8, security 1 + 4 + 1 */

struct frame {
    uint8_t source[8];
    uint8_t target[8];
    uint32_t counter;   /* secured only */
    uint16_t pan_id;
    uint8_t sequence;
    uint8_t level;      /* 0: in the clear */
    uint8_t key_index;  /* secured only */
    uint8_t header_len; /* with the security header */
};

/* Of all nodes in the PAN. */
extern const uint8_t frame_broadcast[8];

/* Reads a header; both addresses must be there, and of one PAN. False: NET_DROP_FRAME. */
bool frame_read(struct frame *frame, const uint8_t *data, size_t len);
/* Writes a header, and sets and returns its length. Frames to one node ask for an acknowledgement. */
size_t frame_write(struct frame *frame, uint8_t out[FRAME_HEADER_MAX]);

bool frame_same(const uint8_t a[8], const uint8_t b[8]);
bool frame_is_short(const uint8_t link[8]);
void frame_from_short(uint8_t link[8], uint16_t address);
/* To an identifier, and back; `to` may be `from`. */
void frame_turn_eui64(uint8_t to[8], const uint8_t from[8]);

#endif
