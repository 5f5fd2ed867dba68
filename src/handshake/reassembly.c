/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Handshake messages that arrive in fragments or too early (RFC 6347, sections 4.2.2 and 4.2.3).
 *
 *     reassembly:  | header, message a | bitmap | header, message b | bitmap | ... free ... | record of the next epoch |
 *
 * A bitmap has a bit for each byte that came, so that overlapping and repeated fragments do no harm. The header is the one
 * that the message would have in one piece, but that the bytes to come are counted where its fragment_offset stands: of a
 * whole message it is what the transcript wants. A message that is nearer to its turn pushes one that is farther out: the
 * far one is repeated by its sender anyway, and an attacker cannot fill the buffer with what nobody waits for.
 */
#include "handshake/engine.h"

#include <string.h>

#define LENGTH_AT 2u  /* the lower two of three bytes: nothing longer is taken */
#define SEQ_AT 4u
#define MISSING_AT 7u /* the lower two of fragment_offset */

static size_t area_of(size_t length)
{
    return IOTSEC_HANDSHAKE_HEADER_BYTES + length + (length + 7u) / 8u;
}

/* Where message `seq` stands, or the end of all. */
static uint8_t *find_entry(struct iotsec_dtls_handshake *hs, unsigned seq)
{
    uint8_t *entry = hs->reassembly;
    const uint8_t *end = entry + hs->reassembly_len;

    while (entry < end && iotsec_get_u16(entry + SEQ_AT) != seq) {
        entry += area_of(iotsec_get_u16(entry + LENGTH_AT));
    }
    return entry;
}

void iotsec_reassembly_forget(struct iotsec_dtls_handshake *hs, uint16_t seq)
{
    uint8_t *entry = find_entry(hs, seq);
    const uint8_t *end = hs->reassembly + hs->reassembly_len;

    if (entry < end) {
        size_t area = area_of(iotsec_get_u16(entry + LENGTH_AT));

        memmove(entry, entry + area, (size_t)(end - entry) - area);
        hs->reassembly_len = (uint16_t)(hs->reassembly_len - area);
    }
}

/* Makes room for an entry, if need be by forgetting messages after its own. */
static bool make_room(struct iotsec_dtls_handshake *hs, size_t area, unsigned seq)
{
    while (area > sizeof hs->reassembly - hs->held_len - hs->reassembly_len) {
        unsigned farthest = seq;
        const uint8_t *entry = hs->reassembly;

        for (; entry < hs->reassembly + hs->reassembly_len; entry += area_of(iotsec_get_u16(entry + LENGTH_AT))) {
            unsigned other = iotsec_get_u16(entry + SEQ_AT);

            farthest = other > farthest ? other : farthest;
        }
        if (farthest == seq) {
            return false;
        }
        iotsec_reassembly_forget(hs, (uint16_t)farthest);
    }
    return true;
}

enum iotsec_status iotsec_reassembly_add(struct iotsec_dtls_handshake *hs, const struct iotsec_hs_message *piece)
{
    uint8_t *entry = find_entry(hs, piece->seq);
    uint8_t *bytes;
    uint8_t *bitmap;
    uint32_t missing;
    uint32_t i;

    if (entry < hs->reassembly + hs->reassembly_len &&
        (entry[0] != piece->type || iotsec_get_u16(entry + LENGTH_AT) != piece->length)) {
        /* One of the two is forged. The genuine message is repeated, so the newer one is kept: a single forgery then
         * costs one round and not the handshake. */
        iotsec_reassembly_forget(hs, piece->seq);
        entry = hs->reassembly + hs->reassembly_len;
    }
    if (entry == hs->reassembly + hs->reassembly_len) {
        size_t area = area_of(piece->length);

        if (piece->length > sizeof hs->reassembly || !make_room(hs, area, piece->seq)) {
            return IOTSEC_ERR_FULL;
        }
        entry = hs->reassembly + hs->reassembly_len;
        hs->reassembly_len = (uint16_t)(hs->reassembly_len + area);
        memset(entry, 0, area);
        iotsec_message_header(entry, piece->type, piece->seq, piece->length);
        iotsec_put_u16(entry + MISSING_AT, (uint16_t)piece->length);
    }
    bytes = entry + IOTSEC_HANDSHAKE_HEADER_BYTES;
    bitmap = bytes + piece->length;
    missing = iotsec_get_u16(entry + MISSING_AT);
    for (i = 0; i < piece->piece; i++) {
        uint32_t at = piece->offset + i;
        unsigned bit = 1u << (at & 7u);

        if ((bitmap[at >> 3] & bit) == 0) {
            bitmap[at >> 3] = (uint8_t)(bitmap[at >> 3] | bit);
            bytes[at] = piece->body[i];
            missing--;
        }
    }
    iotsec_put_u16(entry + MISSING_AT, (uint16_t)missing);
    return IOTSEC_OK;
}

bool iotsec_reassembly_whole(struct iotsec_dtls_handshake *hs, uint16_t seq, struct iotsec_hs_message *message)
{
    struct iotsec_reader r;
    const uint8_t *entry = find_entry(hs, seq);

    iotsec_rd_init(&r, entry, (size_t)(hs->reassembly + hs->reassembly_len - entry));
    return iotsec_message_read(&r, message) && message->offset == 0;
}

void iotsec_reassembly_clear(struct iotsec_dtls_handshake *hs)
{
    hs->reassembly_len = 0;
}
