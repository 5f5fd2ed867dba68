/* SPDX-License-Identifier: BSD-3-Clause */
/*
 *     header (13): type, version, epoch (2), sender ID (2), counter (4), length | ciphertext | tag (8)
 *     nonce = type (1) | 0 (1) | group ID (2) | epoch (2) | sender ID (2) | counter (4)
 *
 * The sender ID keeps the nonces of a group's members apart under the one key that they share.
 */
#include <string.h>

#include "base/bytes.h"
#include "hal/crypto.h"
#include "record/header.h"

#define TAG IOTSEC_TAG_CCM_8_BYTES

static void make_nonce(uint8_t nonce[IOTSEC_NONCE_BYTES], const uint8_t *header, uint16_t group_id)
{
    nonce[0] = header[0];
    nonce[1] = 0;
    iotsec_put_u16(nonce + 2, group_id);
    memcpy(nonce + 4, header + IOTSEC_HEADER_EPOCH_AT, 8);
}

enum iotsec_status iotsec_record_group_seal(const struct iotsec_hal *hal, const uint8_t tek[IOTSEC_KEY_BYTES],
                                            uint16_t group_id, uint16_t epoch, uint16_t sender, uint32_t counter,
                                            uint8_t type, uint8_t *out, size_t size, size_t *out_len,
                                            const uint8_t *content, size_t len)
{
    uint8_t aad[IOTSEC_RECORD_HEADER_BYTES];
    uint8_t nonce[IOTSEC_NONCE_BYTES];
    uint8_t *text = out + IOTSEC_RECORD_HEADER_BYTES;
    enum iotsec_status status = iotsec_header_write(out, size, type, IOTSEC_VERSION_DTLS_1_2, epoch,
                                                    (uint64_t)sender << 32 | counter, len, IOTSEC_GROUP_PAYLOAD_MAX, TAG);

    if (status != IOTSEC_OK) {
        return status;
    }
    if (len != 0) {
        memmove(text, content, len); /* may be the same place */
    }
    make_nonce(nonce, out, group_id);
    iotsec_header_aad(aad, out, len);
    status = iotsec_ccm_seal(hal, tek, nonce, aad, sizeof aad, text, len, TAG);
    if (status == IOTSEC_OK) {
        *out_len = IOTSEC_GROUP_OVERHEAD_BYTES + len;
    }
    return status;
}

enum iotsec_status iotsec_record_group_open(const struct iotsec_hal *hal, const uint8_t tek[IOTSEC_KEY_BYTES],
                                            uint16_t group_id, const struct iotsec_record *record, uint8_t **content,
                                            size_t *content_len)
{
    uint8_t aad[IOTSEC_RECORD_HEADER_BYTES];
    uint8_t nonce[IOTSEC_NONCE_BYTES];
    size_t len = record->length;
    enum iotsec_status status;

    if (len < TAG) {
        return IOTSEC_ERR_DECODE;
    }
    len -= TAG;
    make_nonce(nonce, record->header, group_id);
    iotsec_header_aad(aad, record->header, len);
    status = iotsec_ccm_open(hal, tek, nonce, aad, sizeof aad, record->body, len, TAG);
    if (status == IOTSEC_OK) {
        *content = record->body;
        *content_len = len;
    }
    return status;
}
