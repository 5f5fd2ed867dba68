/* SPDX-License-Identifier: BSD-3-Clause */
/*
 *     header (13) | explicit nonce (8 or none): epoch, sequence | ciphertext | tag (8 or 16)
 *     nonce = prefix (4) | epoch (2) | sequence (6)
 *     AAD   = epoch, sequence, type, version, length of the plaintext          RFC 5246, section 6.2.3.3
 *
 * With a Connection ID (RFC 9146): it stands before the header's length, and the plaintext is content, real type, zeros.
 */
#include "record/protect.h"

#include <string.h>

#include "base/bytes.h"
#include "hal/crypto.h"

/* Where epoch (2) and sequence (6) stand in a header: nonces and AAD take these 8 bytes as they are. */
#define EPOCH_AT 3u
#define EPOCH_AND_SEQUENCE 8u
/* Where its length (2) stands; in a record of type 25 the Connection ID, and the length behind that. */
#define LENGTH_AT 11u

#define BLOCK 16u
#if IOTSEC_CONNECTION_ID
#define AAD_BLOCKS ((2u + EPOCH_AND_SEQUENCE + 2u + LENGTH_AT + IOTSEC_CID_MAX + 2u + BLOCK - 1u) / BLOCK)
#else
#define AAD_BLOCKS 1u
#endif

/* Seals or opens what c names: its text, that text's length and what to do. `number` is epoch and sequence in the nonce. */
static enum iotsec_status run(struct iotsec_ccm *c, const uint8_t *key, const uint8_t *prefix, const uint8_t *number,
                              const uint8_t *header, size_t cid_len)
{
    uint8_t aad[AAD_BLOCKS * BLOCK];
    uint8_t *end = aad + 2;

    memcpy(c->mac + IOTSEC_CCM_NONCE_AT, prefix, IOTSEC_NONCE_PREFIX_BYTES);
    memcpy(c->mac + IOTSEC_CCM_NONCE_AT + IOTSEC_NONCE_PREFIX_BYTES, number, EPOCH_AND_SEQUENCE);
    if (AAD_BLOCKS == 1) {
        aad[BLOCK - 1] = 0; /* all the rest is written below */
    } else {
        memset(aad, 0, sizeof aad);
    }
#if IOTSEC_CONNECTION_ID
    if (cid_len != 0) {
        /* type, version, epoch, sequence and Connection ID as they stand on the wire (RFC 9146, section 5.3) */
        memset(end, 0xFF, 8);
        end += 8;
        *end++ = IOTSEC_CONTENT_TLS12_CID;
        *end++ = (uint8_t)cid_len;
        memcpy(end, header, LENGTH_AT + cid_len);
        end += LENGTH_AT + cid_len;
    } else
#endif
    {
        memcpy(end, header + EPOCH_AT, EPOCH_AND_SEQUENCE);
        memcpy(end + EPOCH_AND_SEQUENCE, header, EPOCH_AT);
        end += LENGTH_AT;
    }
    (void)cid_len;
    iotsec_put_u16(end, (uint16_t)c->len);
    iotsec_put_u16(aad, (uint16_t)(end - aad));
    c->aad = aad;
    c->aad_blocks = AAD_BLOCKS == 1 ? 1 : (size_t)(end + 2 - aad + 15) / BLOCK;
    return iotsec_ccm(c, key);
}

enum iotsec_status iotsec_record_write(const struct iotsec_outgoing *o, uint8_t *out, size_t size, size_t *out_len)
{
    struct iotsec_ccm c;
    enum iotsec_status status = IOTSEC_OK;
    size_t cid_len = IOTSEC_CONNECTION_ID ? o->cid_len : 0;
    size_t inner = cid_len != 0; /* bytes of the inner type */
    size_t len = o->len;
    size_t body;
    size_t total;
    uint8_t *at = out + LENGTH_AT;

    /* before any sum: len is the caller's and could be near SIZE_MAX */
    if (len > o->max - inner) {
        return IOTSEC_ERR_TOO_LONG;
    }
    /* a number that wrapped would repeat a nonce */
    if (o->sequence > IOTSEC_SEQUENCE_LIMIT) {
        return IOTSEC_ERR_COUNTER;
    }
    body = len + inner + o->explicit_len + o->tag_len;
    total = IOTSEC_RECORD_HEADER_BYTES + cid_len + body;
    if (size < total) {
        return IOTSEC_ERR_BUFFER;
    }
    out[0] = (uint8_t)o->type;
    iotsec_put_u16(out + 1, (uint16_t)o->version);
    iotsec_put_u16(out + 3, (uint16_t)o->epoch);
    iotsec_put_u16(out + 5, (uint16_t)(o->sequence >> 32));
    iotsec_put_u32(out + 7, (uint32_t)o->sequence);
#if IOTSEC_CONNECTION_ID
    if (cid_len != 0) {
        out[0] = IOTSEC_CONTENT_TLS12_CID;
        memcpy(at, o->cid, cid_len);
        at += cid_len;
    }
#endif
    iotsec_put_u16(at, (uint16_t)body);
    at += 2;
    if (o->explicit_len != 0) {
        /* unique under this key, because epoch and sequence are (RFC 6655, section 3) */
        memcpy(at, out + EPOCH_AT, EPOCH_AND_SEQUENCE);
        at += EPOCH_AND_SEQUENCE;
    }
    if (len != 0) {
        memmove(at, o->content, len);
    }
    if (o->key != NULL) {
        if (inner != 0) {
            at[len++] = (uint8_t)o->type;
        }
        c.hal = o->hal;
        c.data = at;
        c.len = len;
        c.tag_len = o->tag_len;
        c.opening = 0;
        status = run(&c, o->key, o->prefix, out + EPOCH_AT, out, cid_len);
    }
    if (status == IOTSEC_OK) {
        *out_len = total;
    }
    return status;
}

enum iotsec_status iotsec_record_unprotect(const struct iotsec_hal *hal, const uint8_t key[IOTSEC_KEY_BYTES],
                                           const uint8_t prefix[IOTSEC_NONCE_PREFIX_BYTES], const struct iotsec_record *record,
                                           size_t explicit_len, size_t tag_len, uint8_t **content, size_t *content_len)
{
    struct iotsec_ccm c;
    /* the nonce on the wire counts: other implementations need not repeat the sequence there */
    const uint8_t *number = explicit_len != 0 ? record->body : record->header + EPOCH_AT;
    uint8_t *text = record->body + explicit_len;
    size_t len = record->length;
    enum iotsec_status status;

    if (len < explicit_len + tag_len) {
        return IOTSEC_ERR_DECODE;
    }
    len -= explicit_len + tag_len;
    c.hal = hal;
    c.data = text;
    c.len = len;
    c.tag_len = tag_len;
    c.opening = 1;
    status = run(&c, key, prefix, number, record->header, record->cid_len);
    if (status == IOTSEC_OK) {
        *content = text;
        *content_len = len;
    }
    return status;
}
