/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Handshake messages that arrive in fragments or too early (RFC 6347, sections 4.2.2 and 4.2.3).
 *
 *     reassembly:  | message a | its bitmap | message b | its bitmap | ... free ... |
 *
 * A bitmap has a bit for each byte that came, so that overlapping and repeated fragments do no harm.
 * The areas stand without gaps in the order of `offset`. A message that is nearer to its turn pushes
 * one that is farther out: the far one is repeated by its sender anyway, and an attacker cannot fill
 * the buffer with what nobody waits for.
 */
#include "handshake/engine.h"

#include <string.h>

static size_t area_of(size_t length)
{
    return length + (length + 7u) / 8u;
}

static struct iotsec_dtls_waiting *find_entry(const struct iotsec_dtls_handshake *hs, uint16_t seq)
{
    size_t i;

    for (i = 0; i < IOTSEC_REASSEMBLY_MESSAGES; i++) {
        if (hs->waiting[i].type != 0 && hs->waiting[i].seq == seq) {
            /* const only promises that searching changes nothing */
            return (struct iotsec_dtls_waiting *)&hs->waiting[i];
        }
    }
    return NULL;
}

static void free_entry(struct iotsec_dtls_handshake *hs, struct iotsec_dtls_waiting *gone)
{
    size_t area = area_of(gone->length);
    size_t end = gone->offset + area;
    size_t i;

    memmove(hs->reassembly + gone->offset, hs->reassembly + end, sizeof hs->reassembly - end);
    for (i = 0; i < IOTSEC_REASSEMBLY_MESSAGES; i++) {
        if (hs->waiting[i].type != 0 && hs->waiting[i].offset >= end) {
            hs->waiting[i].offset = (uint16_t)(hs->waiting[i].offset - area);
        }
    }
    gone->type = 0;
}

/* A free entry whose area fits, or NULL. Among those it pushes out are only messages after its own. */
static struct iotsec_dtls_waiting *new_entry(struct iotsec_dtls_handshake *hs, const struct iotsec_hs_message *piece)
{
    size_t area = area_of(piece->length);

    if (piece->length > sizeof hs->reassembly || area > sizeof hs->reassembly) {
        return NULL;
    }
    for (;;) {
        struct iotsec_dtls_waiting *empty = NULL;
        struct iotsec_dtls_waiting *farthest = NULL;
        size_t end = 0;
        size_t i;

        for (i = 0; i < IOTSEC_REASSEMBLY_MESSAGES; i++) {
            struct iotsec_dtls_waiting *entry = &hs->waiting[i];

            if (entry->type == 0) {
                empty = entry;
                continue;
            }
            if (entry->offset + area_of(entry->length) > end) {
                end = entry->offset + area_of(entry->length);
            }
            if (entry->seq > piece->seq && (farthest == NULL || entry->seq > farthest->seq)) {
                farthest = entry;
            }
        }
        if (empty != NULL && area <= sizeof hs->reassembly - end) {
            empty->seq = piece->seq;
            empty->length = (uint16_t)piece->length;
            empty->missing = (uint16_t)piece->length;
            empty->offset = (uint16_t)end;
            empty->type = piece->type;
            memset(hs->reassembly + end + piece->length, 0, area - piece->length);
            return empty;
        }
        if (farthest == NULL) {
            return NULL;
        }
        free_entry(hs, farthest);
    }
}

enum iotsec_status iotsec_reassembly_add(struct iotsec_dtls_handshake *hs, const struct iotsec_hs_message *piece)
{
    struct iotsec_dtls_waiting *entry = find_entry(hs, piece->seq);
    uint8_t *bytes;
    uint8_t *bitmap;
    uint32_t i;

    if (entry != NULL && (entry->type != piece->type || entry->length != piece->length)) {
        /* One of the two is forged. The genuine message is repeated, so the newer one is kept: a single forgery then
         * costs one round and not the handshake. */
        free_entry(hs, entry);
        entry = NULL;
    }
    if (entry == NULL) {
        entry = new_entry(hs, piece);
        if (entry == NULL) {
            return IOTSEC_ERR_FULL;
        }
    }
    bytes = hs->reassembly + entry->offset;
    bitmap = bytes + entry->length;
    for (i = 0; i < piece->piece; i++) {
        uint32_t at = piece->offset + i;
        uint8_t bit = (uint8_t)(1u << (at & 7u));

        if ((bitmap[at >> 3] & bit) == 0) {
            bitmap[at >> 3] = (uint8_t)(bitmap[at >> 3] | bit);
            bytes[at] = piece->body[i];
            entry->missing--;
        }
    }
    return IOTSEC_OK;
}

bool iotsec_reassembly_whole(const struct iotsec_dtls_handshake *hs, uint16_t seq, struct iotsec_hs_message *message)
{
    const struct iotsec_dtls_waiting *entry = find_entry(hs, seq);

    if (entry == NULL || entry->missing != 0) {
        return false;
    }
    message->type = entry->type;
    message->seq = seq;
    message->length = entry->length;
    message->offset = 0;
    message->piece = entry->length;
    message->body = hs->reassembly + entry->offset;
    return true;
}

void iotsec_reassembly_forget(struct iotsec_dtls_handshake *hs, uint16_t seq)
{
    struct iotsec_dtls_waiting *entry = find_entry(hs, seq);

    if (entry != NULL) {
        free_entry(hs, entry);
    }
}

void iotsec_reassembly_clear(struct iotsec_dtls_handshake *hs)
{
    memset(hs->waiting, 0, sizeof hs->waiting);
}
