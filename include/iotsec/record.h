/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * DTLS 1.2 records (RFC 6347, section 4.1) protected with AES-128-CCM (RFC 6655), for one peer and
 * for a multicast group. Usable alone: keys come as arguments, and nothing is kept but what the
 * caller passes. None of these functions allocates, blocks or keeps a pointer; all are re-entrant
 * on different arguments.
 */
#ifndef IOTSEC_RECORD_H
#define IOTSEC_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include "hal.h"
#include "protocol.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A record's header and where its body stands in the datagram. */
struct iotsec_record {
    uint8_t type;      /**< content type */
    uint16_t version;  /**< 0xFEFD or 0xFEFF */
    uint16_t epoch;    /**< 0 and 1: unicast; from 256 on: group */
    uint64_t sequence; /**< 48 bits; of a group record sender ID (16) and counter (32) */
    uint8_t *header;   /**< the record's first byte, inside the datagram */
    uint8_t *body;     /**< the bytes after the header, inside the datagram */
    uint16_t length;   /**< their number */
    uint8_t cid_len;   /**< bytes of the Connection ID, which stands before the length field; 0 but in records of type 25 */
};

/**
 * Takes the next record off a datagram.
 * @param record filled in on success; points into the datagram
 * @param datagram in/out: the first byte not yet parsed; moved behind the record on success
 * @param left in/out: the bytes from there on
 * @retval IOTSEC_OK a record with a whole body was found
 * @retval IOTSEC_ERR_DECODE fewer bytes than a header, an unknown major version, a length beyond the
 *         datagram's end, or type 25, whose header is longer; nothing is moved and the rest of the datagram is to be dropped
 * Section: RFC 6347, 4.1.
 */
enum iotsec_status iotsec_record_parse(struct iotsec_record *record, uint8_t **datagram, size_t *left);

#if IOTSEC_CONNECTION_ID || defined(DOXYGEN)
/**
 * The same, for who has asked its peers for Connection IDs: a record of type 25 has an ID of that length before
 * its length field. (The record itself does not say how long the ID is.)
 * @param record filled in on success; points into the datagram
 * @param cid_len bytes of the Connection ID in records of type 25, at most IOTSEC_CID_MAX; 0, or more than that: such a record is IOTSEC_ERR_DECODE, as it is
 *        for iotsec_record_parse
 * @param datagram in/out: as for iotsec_record_parse
 * @param left in/out: as for iotsec_record_parse
 * @return as iotsec_record_parse
 * Section: RFC 9146, 4.
 */
enum iotsec_status iotsec_record_parse_cid(struct iotsec_record *record, size_t cid_len, uint8_t **datagram, size_t *left);
#endif

/** The sequence numbers already seen: 64 of them below the highest (RFC 6347, section 4.1.2.6). */
struct iotsec_replay {
    uint64_t top;  /**< private: highest number accepted */
    uint64_t bits; /**< private: bit i stands for top - i; 0 while nothing was accepted */
};

/**
 * Starts a window that has seen nothing.
 * @param window to be initialised
 */
void iotsec_replay_init(struct iotsec_replay *window);

/**
 * Whether a number is new. Changes nothing: call it before the tag is verified.
 * @param window an initialised window
 * @param sequence the record's number
 * @return 1 if it is new, 0 if it was seen or lies below the window
 */
int iotsec_replay_check(const struct iotsec_replay *window, uint64_t sequence);

/**
 * Marks a number as seen. Call it only after the tag was verified.
 * @param window an initialised window
 * @param sequence a number for which iotsec_replay_check returned 1
 */
void iotsec_replay_commit(struct iotsec_replay *window, uint64_t sequence);

/**
 * Starts a window for a sender of whom `sequence` is the first verified number: what lies below counts
 * as seen, because nobody knows whether it was.
 * @param window to be initialised
 * @param sequence the first verified number; marked as seen
 */
void iotsec_replay_start_at(struct iotsec_replay *window, uint64_t sequence);

/** One direction's key of a session. Secret: wipe it after use. */
struct iotsec_record_key {
    uint8_t key[IOTSEC_KEY_BYTES];   /**< client_write_key or server_write_key */
    uint8_t salt[IOTSEC_SALT_BYTES]; /**< client_write_IV or server_write_IV */
};

/**
 * Writes a record in the clear (epoch 0).
 * @param out room for 13 + len bytes, not overlapping content
 * @param size bytes available at out
 * @param out_len set to the bytes written
 * @param type content type
 * @param version 0xFEFD, or 0xFEFF for HelloVerifyRequest
 * @param sequence record sequence number, below 2^48
 * @param content the body
 * @param len its length, at most IOTSEC_RECORD_PAYLOAD_MAX
 * @retval IOTSEC_OK written
 * @retval IOTSEC_ERR_BUFFER it does not fit; nothing was written
 * @retval IOTSEC_ERR_TOO_LONG the content is longer than a record may be
 * @retval IOTSEC_ERR_COUNTER sequence is 2^48 or more
 */
enum iotsec_status iotsec_record_write_plain(uint8_t *out, size_t size, size_t *out_len, uint8_t type, uint16_t version,
                                             uint64_t sequence, const uint8_t *content, size_t len);

/**
 * Writes a protected record (RFC 6655): header, explicit nonce (epoch and sequence), ciphertext, tag.
 * The caller never passes the same epoch and sequence twice under one key.
 * @param hal crypto operations
 * @param key the writing direction's key; not kept
 * @param tag_len 8 or 16
 * @param out room for 21 + len + tag_len bytes; may overlap content only if content == out + 21
 * @param size bytes available at out
 * @param out_len set to the bytes written
 * @param type content type
 * @param epoch the record's epoch
 * @param sequence record sequence number, below 2^48
 * @param content plaintext; may be NULL if len is 0
 * @param len its length, at most IOTSEC_RECORD_PAYLOAD_MAX
 * @retval IOTSEC_OK written
 * @retval IOTSEC_ERR_BUFFER it does not fit; nothing was written
 * @retval IOTSEC_ERR_TOO_LONG the content is longer than a record may be
 * @retval IOTSEC_ERR_COUNTER sequence is 2^48 or more
 * @retval IOTSEC_ERR_ARGUMENT tag_len is neither 8 nor 16
 * @retval IOTSEC_ERR_CRYPTO the HAL failed; out holds nothing of use
 */
enum iotsec_status iotsec_record_seal(const struct iotsec_hal *hal, const struct iotsec_record_key *key, size_t tag_len,
                                      uint8_t *out, size_t size, size_t *out_len, uint8_t type, uint16_t epoch,
                                      uint64_t sequence, const uint8_t *content, size_t len);

/**
 * Verifies and decrypts a record in place.
 * @param hal crypto operations
 * @param key the reading direction's key; not kept
 * @param tag_len 8 or 16
 * @param record a parsed record; its body is decrypted in place
 * @param content set to the plaintext, which stands inside the datagram
 * @param content_len set to its length
 * @retval IOTSEC_OK verified and decrypted
 * @retval IOTSEC_ERR_DECODE shorter than explicit nonce and tag
 * @retval IOTSEC_ERR_AUTH the tag is wrong; the body was wiped
 * @retval IOTSEC_ERR_ARGUMENT tag_len is neither 8 nor 16, or the record is of type 25; the body is as it was
 * @retval IOTSEC_ERR_CRYPTO the HAL failed; the body was wiped
 */
enum iotsec_status iotsec_record_open(const struct iotsec_hal *hal, const struct iotsec_record_key *key, size_t tag_len,
                                      const struct iotsec_record *record, uint8_t **content, size_t *content_len);

#if IOTSEC_CONNECTION_ID || defined(DOXYGEN)
/**
 * Writes a protected record with a Connection ID: header of type 25 with the ID, explicit nonce, ciphertext of
 * content and real type, tag. Nonces are those of iotsec_record_seal: the caller never passes the same epoch and
 * sequence twice under one key, whichever of the two functions it calls.
 * @param hal crypto operations
 * @param key the writing direction's key; not kept
 * @param tag_len 8 or 16
 * @param cid the Connection ID that the peer asked for
 * @param cid_len its length, 1 to IOTSEC_CID_MAX
 * @param out room for 22 + cid_len + len + tag_len bytes; may overlap content only if content == out + 21 + cid_len
 * @param size bytes available at out
 * @param out_len set to the bytes written
 * @param type the real content type
 * @param epoch the record's epoch
 * @param sequence record sequence number, below 2^48
 * @param content plaintext; may be NULL if len is 0
 * @param len its length, at most IOTSEC_RECORD_PAYLOAD_MAX - 1
 * @return as iotsec_record_seal; IOTSEC_ERR_ARGUMENT also for a cid_len out of range, before anything is written
 * Section: RFC 9146, 4 and 5.3.
 */
enum iotsec_status iotsec_record_seal_cid(const struct iotsec_hal *hal, const struct iotsec_record_key *key, size_t tag_len,
                                          const uint8_t *cid, size_t cid_len, uint8_t *out, size_t size, size_t *out_len,
                                          uint8_t type, uint16_t epoch, uint64_t sequence, const uint8_t *content, size_t len);

/**
 * Verifies and decrypts a record of type 25 in place, and takes type and padding off.
 * @param hal crypto operations
 * @param key the reading direction's key; not kept
 * @param tag_len 8 or 16
 * @param record a record that iotsec_record_parse_cid found, of type 25; its body is decrypted in place
 * @param type set to the real content type
 * @param content set to the plaintext, which stands inside the datagram
 * @param content_len set to its length
 * @return as iotsec_record_open, with IOTSEC_ERR_ARGUMENT for a record of another type or with a cid_len out of range;
 *         IOTSEC_ERR_DECODE also for a verified record with nothing but padding
 * Section: RFC 9146, 4 and 5.3.
 */
enum iotsec_status iotsec_record_open_cid(const struct iotsec_hal *hal, const struct iotsec_record_key *key, size_t tag_len,
                                          const struct iotsec_record *record, uint8_t *type, uint8_t **content,
                                          size_t *content_len);
#endif

/**
 * Writes a group record: header with sender ID and counter as its sequence, ciphertext, 8-byte tag.
 * The nonce is content type, 0, group ID, epoch, sender ID, counter (docs/protocol.md); the caller
 * never passes the same epoch, sender and counter twice under one TEK.
 * @param hal crypto operations
 * @param tek the group's traffic encryption key; not kept
 * @param group_id the group
 * @param epoch the key number modulo 2^16, 256 or more
 * @param sender the sender ID, 1 to 65534
 * @param counter the sender's counter
 * @param type content type, 23
 * @param out room for 21 + len bytes; may overlap content only if content == out + 13
 * @param size bytes available at out
 * @param out_len set to the bytes written
 * @param content plaintext; may be NULL if len is 0
 * @param len its length
 * @retval IOTSEC_OK written
 * @retval IOTSEC_ERR_BUFFER it does not fit; nothing was written
 * @retval IOTSEC_ERR_TOO_LONG len is more than IOTSEC_GROUP_PAYLOAD_MAX
 * @retval IOTSEC_ERR_CRYPTO the HAL failed; out holds nothing of use
 */
enum iotsec_status iotsec_record_group_seal(const struct iotsec_hal *hal, const uint8_t tek[IOTSEC_KEY_BYTES],
                                            uint16_t group_id, uint16_t epoch, uint16_t sender, uint32_t counter,
                                            uint8_t type, uint8_t *out, size_t size, size_t *out_len,
                                            const uint8_t *content, size_t len);

/**
 * Verifies and decrypts a group record in place. An epoch names one key, so there is never a second
 * one to try.
 * @param hal crypto operations
 * @param tek the key of the record's epoch; not kept
 * @param group_id the group that the destination address belongs to
 * @param record a parsed record; its body is decrypted in place
 * @param content set to the plaintext, which stands inside the datagram
 * @param content_len set to its length
 * @retval IOTSEC_OK verified and decrypted
 * @retval IOTSEC_ERR_DECODE shorter than a tag
 * @retval IOTSEC_ERR_AUTH the tag is wrong; the body was wiped
 * @retval IOTSEC_ERR_CRYPTO the HAL failed; the body was wiped
 */
enum iotsec_status iotsec_record_group_open(const struct iotsec_hal *hal, const uint8_t tek[IOTSEC_KEY_BYTES],
                                            uint16_t group_id, const struct iotsec_record *record, uint8_t **content,
                                            size_t *content_len);

#ifdef __cplusplus
}
#endif

#endif
