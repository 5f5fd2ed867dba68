/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Key-management messages: the content of record types 28 (Master Key Data) and 29 (Security
 * Parameters Data), one message a record. Fixed layouts, big endian; the record's AEAD tag is the
 * MIC of the draft's Figure 3.
 *
 *   type 28, M -> D  MASTER_KEY     1, message, group(2), key number(4), sender(2), TGK(16)         26 bytes
 *   type 29, M -> D  PARAMETERS     2, message, group(2), key number(4), RAND(16), address, port(2) 31 or 42 bytes
 *                    PARAMETERS_EVICTION: the same with kind 3; the previous key is dropped at once
 *   type 29, both    ACK            4, message, result                                               3 bytes
 *   type 29, D -> M  STATUS         5, message, group(2), key number(4), sender(2), flags           11 bytes
 *   type 29, D -> M  GROUP_REQUEST  6, message, group(2)                                             4 bytes
 *   type 29, D -> M  GROUP_LEAVE    7, message, group(2)                                             4 bytes
 *   type 29, D -> M  DOMAIN_LEAVE   8, message                                                       2 bytes
 *   type 29, M -> D  REFUSED        9, message, group(2), reason                                     5 bytes
 *   type 29, M -> D  EVICTED       10, message                                                       2 bytes
 *   type 29, M -> D  GROUP_REMOVED 11, message, group(2)                                             4 bytes
 *   type 28, M -> D  ACCESS        12, message, L2 number(4), L2 key(16), PAN ID(2), short address(2),
 *                                  prefix(8), manager(8 or 16), port(2), flags                 45 or 53 bytes
 *   type 29, M -> D  PATH_CHECK    13, message                                                       2 bytes
 *   type 29, D -> M  MOVED         14, message                                                       2 bytes
 *   type 29, D -> M  SHARE_STATUS  15, message, generation(4), next generation(4), held(2), revoked   13 bytes
 *   type 28, M -> D  SHARE         16, message, generation(4), degree, first, revoked, flags,
 *                                  elements(16 n)                                                    26 bytes and more
 *   type 29, M -> D  REVOKED       17, message, generation(4), first, revoked, marks(8 n)             16 bytes and more
 *
 * The multicast address takes 5 bytes when it is ffXY::gggg:gggg (second byte, low 32 bits), else
 * 16; the manager's own takes 8 when it begins with the prefix, be that zeros; the message's length tells.
 * "message" is the sender's message ID: an ACK echoes it. Both halves of a pair carry the same one. Longer
 * messages than listed are malformed. Kinds 12 to 14 exist with IOTSEC_ACCESS, 15 to 17 with
 * IOTSEC_PAIRWISE.
 */
#ifndef IOTSEC_SRC_AMIKEY_KEYMGMT_H
#define IOTSEC_SRC_AMIKEY_KEYMGMT_H

#include <stddef.h>
#include <stdint.h>

#include <iotsec/config.h>
#include <iotsec/hal.h>
#include <iotsec/protocol.h>

enum iotsec_km_kind {
    IOTSEC_KM_MASTER_KEY = 1,
    IOTSEC_KM_PARAMETERS = 2,
    IOTSEC_KM_PARAMETERS_EVICTION = 3,
    IOTSEC_KM_ACK = 4,
    IOTSEC_KM_STATUS = 5,
    IOTSEC_KM_GROUP_REQUEST = 6,
    IOTSEC_KM_GROUP_LEAVE = 7,
    IOTSEC_KM_DOMAIN_LEAVE = 8,
    IOTSEC_KM_REFUSED = 9,
    IOTSEC_KM_EVICTED = 10,
    IOTSEC_KM_GROUP_REMOVED = 11,
    IOTSEC_KM_ACCESS = 12,
    IOTSEC_KM_PATH_CHECK = 13,
    IOTSEC_KM_MOVED = 14,
    IOTSEC_KM_SHARE_STATUS = 15,
    IOTSEC_KM_SHARE = 16,
    IOTSEC_KM_REVOKED = 17
};

/* An ACK's result. */
enum iotsec_km_result {
    IOTSEC_KM_DONE = 0,         /* committed; a STATUS: the manager agrees with it */
    IOTSEC_KM_KEYS_FOLLOW = 1,  /* manager: taken; keys or a refusal come as messages of their own */
    IOTSEC_KM_CONFLICT = 2,     /* device: that key number is installed with another TGK */
    IOTSEC_KM_NO_ROOM = 3,      /* device: no group slot free */
    IOTSEC_KM_NOT_MEMBER = 4,   /* manager, to a STATUS: not a member under that sender ID; request the group anew */
    IOTSEC_KM_FAILED = 5        /* the receiver could not do it now; try later */
};

/* STATUS flags. */
#define IOTSEC_KM_STATUS_CONFLICT 1u   /* another TGK came under the key number that is held */
#define IOTSEC_KM_STATUS_NEW_SENDER 2u /* the counter is near its end: a new sender ID, please */

/* ACCESS flag: frames are sent under this L2 key from now on; without it, they are only received under it. */
#define IOTSEC_KM_ACCESS_USE 1u

/* SHARE flag: the share of the generation before may serve for a while longer. */
#define IOTSEC_KM_SHARE_GENTLE 1u

/* REFUSED reasons. */
enum iotsec_km_reason {
    IOTSEC_KM_REASON_NOT_AUTHORISED = 1, /* the domain: group is 0 */
    IOTSEC_KM_REASON_GROUP = 2,          /* not this group, or there is none */
    IOTSEC_KM_REASON_RESOURCES = 3       /* no room for another member */
};

/* One decoded message; members that a kind does not have are 0. Holds secrets: wipe it. */
struct iotsec_km_message {
    uint8_t kind;
    uint8_t message;
    uint16_t group_id;
    uint32_t key_number; /* SHARE_STATUS, SHARE, REVOKED: generation */
    uint16_t sender_id;
    uint8_t code;        /* ACK: result; STATUS, ACCESS, SHARE: flags; REFUSED: reason */
#if IOTSEC_PAIRWISE
    uint8_t degree;      /* SHARE */
    uint8_t first;       /* SHARE: power of the first coefficient; REVOKED: how many marks stand before these */
    uint8_t revoked;     /* SHARE_STATUS: marks held of the newer generation; SHARE, REVOKED: how many the generation has */
    uint8_t count;       /* SHARE, REVOKED: elements or marks in this message, 1 or more */
#endif
    uint8_t secret[IOTSEC_KEY_BYTES]; /* TGK, RAND or L2 key */
    struct iotsec_addr addr;          /* PARAMETERS, ACCESS: interface is 0 */
    uint16_t pan_id;                  /* ACCESS, as the following ones */
    uint16_t short_address;
    uint8_t prefix[8];
#if IOTSEC_PAIRWISE
    uint32_t next_generation; /* SHARE_STATUS: of the share that is still coming, 0 none */
    uint16_t held;       /* SHARE_STATUS: its coefficients so far */
    const uint8_t *tail; /* SHARE, REVOKED: where they stand; decoded: in the message, which holds secrets then */
#endif
};

/* What iotsec_km_encode needs, without elements or marks; and with as many as are ever sent. */
#define IOTSEC_KM_FIXED_BYTES (IOTSEC_ACCESS ? 53u : 42u)
#define IOTSEC_KM_SHARE_BYTES 10u
#define IOTSEC_KM_REVOKED_BYTES 8u
#define IOTSEC_KM_REVOKED_MARKS 7u /* in one message: it then fits one 802.15.4 frame */
#if IOTSEC_PAIRWISE && IOTSEC_ROLE_MANAGER && IOTSEC_SHARE_CHUNK_MAX > 3
#define IOTSEC_KM_MAX_BYTES (IOTSEC_KM_SHARE_BYTES + IOTSEC_SHARE_CHUNK_MAX * IOTSEC_POLY_ELEMENT_BYTES)
#else
#define IOTSEC_KM_MAX_BYTES 64u /* REVOKED */
#endif

/* The record content type that a kind travels in. */
uint8_t iotsec_km_content_type(uint8_t kind);

/* OK, or ERR_BUFFER (it does not fit, which needs a size below IOTSEC_KM_MAX_BYTES unless the tail is longer than any
 * that is sent; out is wiped), ERR_ARGUMENT (no such kind). */
enum iotsec_status iotsec_km_encode(const struct iotsec_km_message *message, uint8_t *out, size_t size, size_t *len);

/* OK, or ERR_DECODE: wrong content type for the kind, unknown kind, wrong length, or a field out of range
 * (group 0 but in REFUSED, key number with a generation low byte of 0, L2 number 0, sender 0 or 65535, address not
 * multicast (ACCESS: multicast), port 0; SHARE and REVOKED: generation or degree 0, no element or mark, elements beyond
 * the degree, marks beyond `revoked`; `revoked` above IOTSEC_REVOKED_MAX). Codes and elements are not checked. */
enum iotsec_status iotsec_km_decode(struct iotsec_km_message *message, uint8_t content_type, const uint8_t *data, size_t len);

#endif
