/* SPDX-License-Identifier: BSD-3-Clause */
/*
 *     header (13): type, version, epoch (2), sender ID (2), counter (4), length | ciphertext | tag (8)
 *     nonce = type (1) | 0 (1) | group ID (2) | epoch (2) | sender ID (2) | counter (4)
 *
 * The sender ID keeps the nonces of a group's members apart under the one key that they share.
 */
#include "base/bytes.h"
#include "record/protect.h"

#define TAG IOTSEC_TAG_CCM_8_BYTES

static void make_prefix(uint8_t prefix[IOTSEC_NONCE_PREFIX_BYTES], uint8_t type, uint16_t group_id)
{
    iotsec_put_u16(prefix, (uint16_t)(type << 8));
    iotsec_put_u16(prefix + 2, group_id);
}

enum iotsec_status iotsec_record_group_seal(const struct iotsec_hal *hal, const uint8_t tek[IOTSEC_KEY_BYTES],
                                            uint16_t group_id, uint16_t epoch, uint16_t sender, uint32_t counter,
                                            uint8_t type, uint8_t *out, size_t size, size_t *out_len,
                                            const uint8_t *content, size_t len)
{
    uint8_t prefix[IOTSEC_NONCE_PREFIX_BYTES];
    struct iotsec_outgoing o;

    make_prefix(prefix, type, group_id);
    o.sequence = (uint64_t)sender << 32 | counter;
    o.content = content;
    o.len = len;
    o.max = IOTSEC_GROUP_PAYLOAD_MAX;
    o.hal = hal;
    o.key = tek;
    o.prefix = prefix;
    o.explicit_len = 0;
    o.tag_len = TAG;
    o.cid_len = 0;
    o.version = IOTSEC_VERSION_DTLS_1_2;
    o.epoch = epoch;
    o.type = type;
    return iotsec_record_write(&o, out, size, out_len);
}

enum iotsec_status iotsec_record_group_open(const struct iotsec_hal *hal, const uint8_t tek[IOTSEC_KEY_BYTES],
                                            uint16_t group_id, const struct iotsec_record *record, uint8_t **content,
                                            size_t *content_len)
{
    uint8_t prefix[IOTSEC_NONCE_PREFIX_BYTES];

    make_prefix(prefix, record->header[0], group_id);
    return iotsec_record_unprotect(hal, tek, prefix, record, 0, TAG, content, content_len);
}
