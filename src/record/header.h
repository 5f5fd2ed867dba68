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

#endif
