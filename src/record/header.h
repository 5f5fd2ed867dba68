/* SPDX-License-Identifier: BSD-3-Clause */
/* What the kinds of record share: the header, and the AAD made from it. */
#ifndef IOTSEC_SRC_RECORD_HEADER_H
#define IOTSEC_SRC_RECORD_HEADER_H

#include <iotsec/record.h>

/* Where epoch (2) and sequence (6) stand in a header: nonces and AAD take these 8 bytes as they are. */
#define IOTSEC_HEADER_EPOCH_AT 3u
/* Where its length (2) stands; in a record of type 25 the Connection ID, and the length behind that. */
#define IOTSEC_HEADER_LENGTH_AT 11u

/*
 * Writes a header for `len` bytes of content and `extra` bytes of nonce and tag, once all of it is sure to
 * fit. Status: OK, ERR_TOO_LONG (len is above max), ERR_COUNTER, ERR_BUFFER; only OK has written.
 */
enum iotsec_status iotsec_header_write(uint8_t *out, size_t size, uint8_t type, uint16_t version, uint16_t epoch,
                                       uint64_t sequence, size_t len, size_t max, size_t extra);

/* RFC 5246, section 6.2.3.3: epoch and sequence, type, version, length of the plaintext. */
void iotsec_header_aad(uint8_t aad[IOTSEC_RECORD_HEADER_BYTES], const uint8_t header[IOTSEC_RECORD_HEADER_BYTES], size_t len);

/*
 * What the functions of record.h come down to, without their checks: cid_len is 0 or that of an ID of 1 to IOTSEC_CID_MAX
 * bytes; a record that is opened has type 25 if and only if cid_len is not 0, and then its content still ends with real
 * type and zeros. The engine calls them where it knows all that: a dozen parameters passed on cost more than the checks.
 */
enum iotsec_status iotsec_unicast_seal(const struct iotsec_hal *hal, const struct iotsec_record_key *key, size_t tag_len,
                                       const uint8_t *cid, size_t cid_len, uint8_t *out, size_t size, size_t *out_len,
                                       uint8_t type, uint16_t epoch, uint64_t sequence, const uint8_t *content, size_t len);
enum iotsec_status iotsec_unicast_open(const struct iotsec_hal *hal, const struct iotsec_record_key *key, size_t tag_len,
                                       const struct iotsec_record *record, size_t cid_len, uint8_t **content,
                                       size_t *content_len);

#endif
