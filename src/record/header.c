/* SPDX-License-Identifier: BSD-3-Clause */
/*
 *      0     1         3       5              11       13
 *     type  version   epoch   sequence (6)   length   body     RFC 6347, section 4.1
 *
 * In a group record the sequence is sender ID (2) and counter (4). In a record of type 25 the Connection ID stands
 * between sequence and length (RFC 9146, section 4).
 */
#include "record/header.h"

#include <string.h>

#include "base/bytes.h"

static enum iotsec_status parse_record(struct iotsec_record *record, size_t cid_len, uint8_t **datagram, size_t *left)
{
    struct iotsec_reader r;
    struct iotsec_record found;
    const uint8_t *cid;

    iotsec_rd_init(&r, *datagram, *left);
    if (!iotsec_rd_u8(&r, &found.type) || !iotsec_rd_u16(&r, &found.version) || !iotsec_rd_u16(&r, &found.epoch) ||
        !iotsec_rd_u48(&r, &found.sequence)) {
        return IOTSEC_ERR_DECODE;
    }
    if (found.type != IOTSEC_CONTENT_TLS12_CID) {
        cid_len = 0;
    } else if (cid_len == 0 || cid_len > IOTSEC_CID_MAX) {
        return IOTSEC_ERR_DECODE; /* nobody can tell where its length stands */
    }
    if (!iotsec_rd_view(&r, &cid, cid_len) || !iotsec_rd_u16(&r, &found.length) ||
        found.version >> 8 != IOTSEC_VERSION_DTLS_1_2 >> 8 || found.length > r.left) {
        return IOTSEC_ERR_DECODE;
    }
    found.cid_len = (uint8_t)cid_len;
    found.header = *datagram;
    found.body = *datagram + IOTSEC_RECORD_HEADER_BYTES + cid_len;
    *record = found;
    *datagram = found.body + found.length;
    *left = r.left - found.length;
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

enum iotsec_status iotsec_header_write(uint8_t *out, size_t size, uint8_t type, uint16_t version, uint16_t epoch,
                                       uint64_t sequence, size_t len, size_t max, size_t extra)
{
    struct iotsec_writer w;

    /* before any sum: len is the caller's and could be near SIZE_MAX */
    if (len > max) {
        return IOTSEC_ERR_TOO_LONG;
    }
    /* a number that wrapped would repeat a nonce */
    if (sequence > IOTSEC_SEQUENCE_LIMIT) {
        return IOTSEC_ERR_COUNTER;
    }
    len += extra;
    if (size < IOTSEC_RECORD_HEADER_BYTES + len) {
        return IOTSEC_ERR_BUFFER;
    }
    iotsec_wr_init(&w, out, size);
    iotsec_wr_u8(&w, type);
    iotsec_wr_u16(&w, version);
    iotsec_wr_u16(&w, epoch);
    iotsec_wr_u48(&w, sequence);
    iotsec_wr_u16(&w, (uint16_t)len);
    return IOTSEC_OK;
}

void iotsec_header_aad(uint8_t aad[IOTSEC_RECORD_HEADER_BYTES], const uint8_t header[IOTSEC_RECORD_HEADER_BYTES], size_t len)
{
    memcpy(aad, header + IOTSEC_HEADER_EPOCH_AT, 8);
    memcpy(aad + 8, header, 3);
    iotsec_put_u16(aad + 11, (uint16_t)len);
}

enum iotsec_status iotsec_record_write_plain(uint8_t *out, size_t size, size_t *out_len, uint8_t type, uint16_t version,
                                             uint64_t sequence, const uint8_t *content, size_t len)
{
    enum iotsec_status status =
        iotsec_header_write(out, size, type, version, 0, sequence, len, IOTSEC_RECORD_PAYLOAD_MAX, 0);

    if (status == IOTSEC_OK) {
        if (len != 0) {
            memcpy(out + IOTSEC_RECORD_HEADER_BYTES, content, len);
        }
        *out_len = IOTSEC_RECORD_HEADER_BYTES + len;
    }
    return status;
}
