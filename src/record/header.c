/* SPDX-License-Identifier: BSD-3-Clause */
/*
 *      0     1         3       5              11       13
 *     type  version   epoch   sequence (6)   length   body     RFC 6347, section 4.1
 *
 * In a group record the sequence is sender ID (2) and counter (4). In a record of type 25 the Connection ID stands
 * between sequence and length (RFC 9146, section 4).
 */
#include <iotsec/record.h>

#include "base/bytes.h"

/* In a record of type 25 the Connection ID stands there, and the length behind that. */
#define LENGTH_AT 11u

static enum iotsec_status parse_record(struct iotsec_record *record, size_t cid_len, uint8_t **datagram, size_t *left)
{
    uint8_t *header = *datagram;
    struct iotsec_reader r;
    const uint8_t *at; /* the header as the reader sees it */
    const uint8_t *behind;
    uint16_t length;

    iotsec_rd_init(&r, header, *left);
    if (!iotsec_rd_view(&r, &at, IOTSEC_RECORD_HEADER_BYTES)) {
        return IOTSEC_ERR_DECODE;
    }
    if (at[0] != IOTSEC_CONTENT_TLS12_CID) {
        cid_len = 0;
    } else if (cid_len == 0 || cid_len > IOTSEC_CID_MAX || !iotsec_rd_view(&r, &behind, cid_len)) {
        return IOTSEC_ERR_DECODE; /* of another length, nobody could tell where the record's length stands */
    }
    length = iotsec_get_u16(at + cid_len + LENGTH_AT);
    if (at[1] != IOTSEC_VERSION_DTLS_1_2 >> 8 || !iotsec_rd_view(&r, &behind, length)) {
        return IOTSEC_ERR_DECODE;
    }
    record->type = at[0];
    record->version = iotsec_get_u16(at + 1);
    record->epoch = iotsec_get_u16(at + 3);
    record->sequence = (uint64_t)iotsec_get_u16(at + 5) << 32 | iotsec_get_u32(at + 7);
    record->header = header;
    record->body = header + IOTSEC_RECORD_HEADER_BYTES + cid_len;
    record->length = length;
    record->cid_len = (uint8_t)cid_len;
    *datagram = record->body + length;
    *left = r.left;
    return IOTSEC_OK;
}

enum iotsec_status iotsec_record_parse(struct iotsec_record *record, uint8_t **datagram, size_t *left)
{
    return parse_record(record, 0, datagram, left);
}

#if IOTSEC_CONNECTION_ID
enum iotsec_status iotsec_record_parse_cid(struct iotsec_record *record, size_t cid_len, uint8_t **datagram, size_t *left)
{
    return parse_record(record, cid_len, datagram, left);
}
#endif
