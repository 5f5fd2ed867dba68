/* SPDX-License-Identifier: BSD-3-Clause */
/*
 *     header (13) | epoch (2), sequence (6): the explicit nonce | ciphertext | tag (8 or 16)     RFC 6655
 *     nonce = salt (4) | explicit nonce (8)
 *
 * With a Connection ID (RFC 9146): it stands before the header's length, and the plaintext is content, real type, zeros.
 */
#include <string.h>

#include "base/bytes.h"
#include "hal/crypto.h"
#include "record/header.h"

static void make_nonce(uint8_t nonce[IOTSEC_NONCE_BYTES], const struct iotsec_record_key *key, const uint8_t *explicit_nonce)
{
    memcpy(nonce, key->salt, IOTSEC_SALT_BYTES);
    memcpy(nonce + IOTSEC_SALT_BYTES, explicit_nonce, IOTSEC_EXPLICIT_NONCE_BYTES);
}

#if IOTSEC_CONNECTION_ID
#define AAD_MAX (8u + 2u + IOTSEC_RECORD_HEADER_BYTES + IOTSEC_CID_MAX)
#else
#define AAD_MAX IOTSEC_RECORD_HEADER_BYTES
#endif

/* Returns the AAD's length; len is that of the plaintext. */
static size_t make_aad(uint8_t aad[AAD_MAX], const uint8_t *header, size_t cid_len, size_t len)
{
#if IOTSEC_CONNECTION_ID
    if (cid_len != 0) {
        /* type, version, epoch, sequence and Connection ID as they stand on the wire (RFC 9146, section 5.3) */
        size_t head = IOTSEC_RECORD_HEADER_BYTES - 2 + cid_len;

        memset(aad, 0xFF, 8);
        aad[8] = IOTSEC_CONTENT_TLS12_CID;
        aad[9] = (uint8_t)cid_len;
        memcpy(aad + 10, header, head);
        iotsec_put_u16(aad + 10 + head, (uint16_t)len);
        return 12 + head;
    }
#endif
    (void)cid_len;
    iotsec_header_aad(aad, header, len);
    return IOTSEC_RECORD_HEADER_BYTES;
}

enum iotsec_status iotsec_unicast_seal(const struct iotsec_hal *hal, const struct iotsec_record_key *key, size_t tag_len,
                                       const uint8_t *cid, size_t cid_len, uint8_t *out, size_t size, size_t *out_len,
                                       uint8_t type, uint16_t epoch, uint64_t sequence, const uint8_t *content, size_t len)
{
    uint8_t aad[AAD_MAX];
    uint8_t nonce[IOTSEC_NONCE_BYTES];
    uint8_t *explicit_nonce = out + IOTSEC_RECORD_HEADER_BYTES + cid_len;
    uint8_t *text = explicit_nonce + IOTSEC_EXPLICIT_NONCE_BYTES;
    size_t inner = cid_len != 0; /* bytes of the inner type */
    enum iotsec_status status =
        iotsec_header_write(out, size > cid_len ? size - cid_len : 0, inner != 0 ? IOTSEC_CONTENT_TLS12_CID : type,
                            IOTSEC_VERSION_DTLS_1_2, epoch, sequence, len, IOTSEC_RECORD_PAYLOAD_MAX - inner,
                            inner + IOTSEC_EXPLICIT_NONCE_BYTES + tag_len);

    if (status != IOTSEC_OK) {
        return status;
    }
    if (len != 0) {
        memmove(text, content, len); /* may be the same place */
    }
#if IOTSEC_CONNECTION_ID
    if (inner != 0) {
        memcpy(explicit_nonce - 2, out + IOTSEC_HEADER_LENGTH_AT, 2);
        memcpy(out + IOTSEC_HEADER_LENGTH_AT, cid, cid_len);
        text[len++] = type;
    }
#else
    (void)cid;
#endif
    /* unique under this key, because epoch and sequence are (RFC 6655, section 3) */
    memcpy(explicit_nonce, out + IOTSEC_HEADER_EPOCH_AT, IOTSEC_EXPLICIT_NONCE_BYTES);
    make_nonce(nonce, key, explicit_nonce);
    status = iotsec_ccm_seal(hal, key->key, nonce, aad, make_aad(aad, out, cid_len, len), text, len, tag_len);
    if (status == IOTSEC_OK) {
        *out_len = IOTSEC_RECORD_HEADER_BYTES + cid_len + IOTSEC_EXPLICIT_NONCE_BYTES + len + tag_len;
    }
    return status;
}

enum iotsec_status iotsec_unicast_open(const struct iotsec_hal *hal, const struct iotsec_record_key *key, size_t tag_len,
                                       const struct iotsec_record *record, size_t cid_len, uint8_t **content,
                                       size_t *content_len)
{
    uint8_t aad[AAD_MAX];
    uint8_t nonce[IOTSEC_NONCE_BYTES];
    uint8_t *text = record->body + IOTSEC_EXPLICIT_NONCE_BYTES;
    size_t len = record->length;
    enum iotsec_status status;

    if (len < IOTSEC_EXPLICIT_NONCE_BYTES + tag_len) {
        return IOTSEC_ERR_DECODE;
    }
    len -= IOTSEC_EXPLICIT_NONCE_BYTES + tag_len;
    /* the nonce on the wire counts: other implementations need not repeat the sequence there */
    make_nonce(nonce, key, record->body);
    status = iotsec_ccm_open(hal, key->key, nonce, aad, make_aad(aad, record->header, cid_len, len), text, len, tag_len);
    if (status == IOTSEC_OK) {
        *content = text;
        *content_len = len;
    }
    return status;
}

enum iotsec_status iotsec_record_seal(const struct iotsec_hal *hal, const struct iotsec_record_key *key, size_t tag_len,
                                      uint8_t *out, size_t size, size_t *out_len, uint8_t type, uint16_t epoch,
                                      uint64_t sequence, const uint8_t *content, size_t len)
{
    return iotsec_unicast_seal(hal, key, tag_len, NULL, 0, out, size, out_len, type, epoch, sequence, content, len);
}

enum iotsec_status iotsec_record_open(const struct iotsec_hal *hal, const struct iotsec_record_key *key, size_t tag_len,
                                      const struct iotsec_record *record, uint8_t **content, size_t *content_len)
{
#if IOTSEC_CONNECTION_ID
    if (record->type == IOTSEC_CONTENT_TLS12_CID) {
        return IOTSEC_ERR_ARGUMENT; /* it has another AAD */
    }
#endif
    return iotsec_unicast_open(hal, key, tag_len, record, 0, content, content_len);
}

#if IOTSEC_CONNECTION_ID
enum iotsec_status iotsec_record_seal_cid(const struct iotsec_hal *hal, const struct iotsec_record_key *key, size_t tag_len,
                                          const uint8_t *cid, size_t cid_len, uint8_t *out, size_t size, size_t *out_len,
                                          uint8_t type, uint16_t epoch, uint64_t sequence, const uint8_t *content, size_t len)
{
    if (cid_len == 0 || cid_len > IOTSEC_CID_MAX) {
        return IOTSEC_ERR_ARGUMENT;
    }
    return iotsec_unicast_seal(hal, key, tag_len, cid, cid_len, out, size, out_len, type, epoch, sequence, content, len);
}

enum iotsec_status iotsec_record_open_cid(const struct iotsec_hal *hal, const struct iotsec_record_key *key, size_t tag_len,
                                          const struct iotsec_record *record, uint8_t *type, uint8_t **content,
                                          size_t *content_len)
{
    uint8_t *text;
    size_t len;
    enum iotsec_status status;

    /* a length of 0 would select the AAD of a record without an ID */
    if (record->type != IOTSEC_CONTENT_TLS12_CID || record->cid_len == 0 || record->cid_len > IOTSEC_CID_MAX) {
        return IOTSEC_ERR_ARGUMENT;
    }
    status = iotsec_unicast_open(hal, key, tag_len, record, record->cid_len, &text, &len);
    if (status != IOTSEC_OK) {
        return status;
    }
    do {
        if (len == 0) {
            return IOTSEC_ERR_DECODE;
        }
    } while (text[--len] == 0);
    *type = text[len];
    *content = text;
    *content_len = len;
    return IOTSEC_OK;
}
#endif
