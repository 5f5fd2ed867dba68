/* SPDX-License-Identifier: BSD-3-Clause */
/*
 *     header (13) | epoch (2), sequence (6): the explicit nonce | ciphertext | tag (8 or 16)     RFC 6655
 *     nonce = salt (4) | explicit nonce (8)
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

enum iotsec_status iotsec_record_seal(const struct iotsec_hal *hal, const struct iotsec_record_key *key, size_t tag_len,
                                      uint8_t *out, size_t size, size_t *out_len, uint8_t type, uint16_t epoch,
                                      uint64_t sequence, const uint8_t *content, size_t len)
{
    uint8_t aad[IOTSEC_RECORD_HEADER_BYTES];
    uint8_t nonce[IOTSEC_NONCE_BYTES];
    uint8_t *explicit_nonce = out + IOTSEC_RECORD_HEADER_BYTES;
    uint8_t *text = explicit_nonce + IOTSEC_EXPLICIT_NONCE_BYTES;
    enum iotsec_status status = iotsec_header_write(out, size, type, IOTSEC_VERSION_DTLS_1_2, epoch, sequence, len,
                                                    IOTSEC_RECORD_PAYLOAD_MAX, IOTSEC_EXPLICIT_NONCE_BYTES + tag_len);

    if (status != IOTSEC_OK) {
        return status;
    }
    /* unique under this key, because epoch and sequence are (RFC 6655, section 3) */
    memcpy(explicit_nonce, out + IOTSEC_HEADER_EPOCH_AT, IOTSEC_EXPLICIT_NONCE_BYTES);
    if (len != 0) {
        memmove(text, content, len); /* may be the same place */
    }
    make_nonce(nonce, key, explicit_nonce);
    iotsec_header_aad(aad, out, len);
    status = iotsec_ccm_seal(hal, key->key, nonce, aad, sizeof aad, text, len, tag_len);
    if (status == IOTSEC_OK) {
        *out_len = IOTSEC_RECORD_HEADER_BYTES + IOTSEC_EXPLICIT_NONCE_BYTES + len + tag_len;
    }
    return status;
}

enum iotsec_status iotsec_record_open(const struct iotsec_hal *hal, const struct iotsec_record_key *key, size_t tag_len,
                                      const struct iotsec_record *record, uint8_t **content, size_t *content_len)
{
    uint8_t aad[IOTSEC_RECORD_HEADER_BYTES];
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
    iotsec_header_aad(aad, record->header, len);
    status = iotsec_ccm_open(hal, key->key, nonce, aad, sizeof aad, text, len, tag_len);
    if (status == IOTSEC_OK) {
        *content = text;
        *content_len = len;
    }
    return status;
}
