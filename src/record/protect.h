/* SPDX-License-Identifier: BSD-3-Clause */
/* The one way in which a record of any kind is written and opened; unicast.c and multicast.c say what differs. */
#ifndef IOTSEC_SRC_RECORD_PROTECT_H
#define IOTSEC_SRC_RECORD_PROTECT_H

#include <iotsec/record.h>

/* The first bytes of a nonce; epoch and sequence follow. */
#define IOTSEC_NONCE_PREFIX_BYTES IOTSEC_SALT_BYTES

/* A record to be written. */
struct iotsec_outgoing {
    uint64_t sequence;
    const uint8_t *content; /* may be where it is going to stand, and NULL if len is 0 */
    size_t len;
    size_t max;             /* of len */
    const struct iotsec_hal *hal;
    const uint8_t *key;     /* NULL: in the clear; hal and prefix count for nothing, and the next two are 0 */
    size_t explicit_len;    /* IOTSEC_EXPLICIT_NONCE_BYTES: epoch and sequence stand before the text once more; or 0 */
    size_t tag_len;         /* 8 or 16 */
    const uint8_t *prefix;  /* of the nonce */
    const uint8_t *cid;     /* the Connection ID */
    size_t cid_len;         /* 1 to IOTSEC_CID_MAX, or 0: none */
    unsigned version;       /* words: on small cores they cost less than what fits */
    unsigned epoch;
    unsigned type;          /* the real one */
};

/*
 * Writes it at `out`, once it is sure to fit. Status: OK; ERR_TOO_LONG (len is above max), ERR_COUNTER, ERR_BUFFER: nothing
 * was written; ERR_ARGUMENT (tag_len), ERR_CRYPTO: nothing of use was.
 */
enum iotsec_status iotsec_record_write(const struct iotsec_outgoing *o, uint8_t *out, size_t size, size_t *out_len);

/*
 * Opens a record as iotsec_record_open does. With a Connection ID (record->cid_len, at most IOTSEC_CID_MAX) its content
 * still ends with real type and zeros.
 */
enum iotsec_status iotsec_record_unprotect(const struct iotsec_hal *hal, const uint8_t key[IOTSEC_KEY_BYTES],
                                           const uint8_t prefix[IOTSEC_NONCE_PREFIX_BYTES], const struct iotsec_record *record,
                                           size_t explicit_len, size_t tag_len, uint8_t **content, size_t *content_len);

#endif
