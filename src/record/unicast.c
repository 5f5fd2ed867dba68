/* SPDX-License-Identifier: BSD-3-Clause */
/*
 *     header (13) | epoch (2), sequence (6): the explicit nonce | ciphertext | tag (8 or 16)     RFC 6655
 *     nonce = salt (4) | explicit nonce (8)
 *
 * With a Connection ID (RFC 9146): it stands before the header's length, and the plaintext is content, real type, zeros.
 */
#include "record/protect.h"

/* A session's record, or one in the clear if key is NULL. */
static enum iotsec_status write_record(const struct iotsec_hal *hal, const struct iotsec_record_key *key, size_t tag_len,
                                       const uint8_t *cid, size_t cid_len, uint8_t *out, size_t size, size_t *out_len,
                                       uint8_t type, uint16_t version, uint16_t epoch, uint64_t sequence,
                                       const uint8_t *content, size_t len)
{
    struct iotsec_outgoing o;

    o.sequence = sequence;
    o.content = content;
    o.len = len;
    o.max = IOTSEC_RECORD_PAYLOAD_MAX;
    o.hal = hal;
    o.key = NULL;
    o.explicit_len = 0;
    o.tag_len = 0;
    if (key != NULL) {
        o.key = key->key;
        o.prefix = key->salt;
        o.explicit_len = IOTSEC_EXPLICIT_NONCE_BYTES;
        o.tag_len = tag_len;
    }
    o.cid = cid;
    o.cid_len = cid_len;
    o.version = version;
    o.epoch = epoch;
    o.type = type;
    return iotsec_record_write(&o, out, size, out_len);
}

enum iotsec_status iotsec_record_write_plain(uint8_t *out, size_t size, size_t *out_len, uint8_t type, uint16_t version,
                                             uint64_t sequence, const uint8_t *content, size_t len)
{
    return write_record(NULL, NULL, 0, NULL, 0, out, size, out_len, type, version, 0, sequence, content, len);
}

enum iotsec_status iotsec_record_seal(const struct iotsec_hal *hal, const struct iotsec_record_key *key, size_t tag_len,
                                      uint8_t *out, size_t size, size_t *out_len, uint8_t type, uint16_t epoch,
                                      uint64_t sequence, const uint8_t *content, size_t len)
{
    return write_record(hal, key, tag_len, NULL, 0, out, size, out_len, type, IOTSEC_VERSION_DTLS_1_2, epoch, sequence, content,
                        len);
}

enum iotsec_status iotsec_record_open(const struct iotsec_hal *hal, const struct iotsec_record_key *key, size_t tag_len,
                                      const struct iotsec_record *record, uint8_t **content, size_t *content_len)
{
    /* with a Connection ID it has another AAD */
    if (record->type == IOTSEC_CONTENT_TLS12_CID || record->cid_len != 0) {
        return IOTSEC_ERR_ARGUMENT;
    }
    return iotsec_record_unprotect(hal, key->key, key->salt, record, IOTSEC_EXPLICIT_NONCE_BYTES, tag_len, content, content_len);
}

#if IOTSEC_CONNECTION_ID
enum iotsec_status iotsec_record_seal_cid(const struct iotsec_hal *hal, const struct iotsec_record_key *key, size_t tag_len,
                                          const uint8_t *cid, size_t cid_len, uint8_t *out, size_t size, size_t *out_len,
                                          uint8_t type, uint16_t epoch, uint64_t sequence, const uint8_t *content, size_t len)
{
    if (cid_len == 0 || cid_len > IOTSEC_CID_MAX) {
        return IOTSEC_ERR_ARGUMENT;
    }
    return write_record(hal, key, tag_len, cid, cid_len, out, size, out_len, type, IOTSEC_VERSION_DTLS_1_2, epoch, sequence,
                        content, len);
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
    status = iotsec_record_unprotect(hal, key->key, key->salt, record, IOTSEC_EXPLICIT_NONCE_BYTES, tag_len, &text, &len);
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
