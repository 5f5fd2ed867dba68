/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * Crypto session bundles (CSB) of AMIKEY: the root key (TGK) and RAND of a group, the traffic
 * encryption keys (TEK) derived from them with RFC 3830's PRF over HMAC-SHA-256, and the key number
 * that orders them. Usable alone: nothing here sends or opens a record.
 *
 * A key number K is a generation (24 bits) and a step (8 bits). Steps follow by a one-way ratchet;
 * a new generation brings a TGK and a RAND that cannot be computed from older ones. A record's epoch
 * is K modulo 2^16. Generations whose low byte is 0 are skipped, so that a group's epoch is never
 * below 256.
 *
 * Threads: one CSB, one thread. None of these functions blocks, allocates or keeps a pointer.
 */
#ifndef IOTSEC_CSB_H
#define IOTSEC_CSB_H

#include <stddef.h>
#include <stdint.h>

#include "hal.h"
#include "protocol.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Private: the keys of one step. Secret. */
struct iotsec_csb_step {
    uint32_t key_number;           /**< private: K, 0 while there are none */
    uint8_t tgk[IOTSEC_KEY_BYTES]; /**< private: TGK of K */
    uint8_t tek[IOTSEC_KEY_BYTES]; /**< private: TEK of K */
};

/** Private: a pair of which one half may have come. Secret. */
struct iotsec_csb_half {
    uint32_t key_number;            /**< private: K, 0 while nothing waits */
    uint16_t sender_id;             /**< private: from the master key */
    uint8_t flags;                  /**< private: which of them have come */
    uint8_t tgk[IOTSEC_KEY_BYTES];  /**< private: from the master key */
    uint8_t rand[IOTSEC_KEY_BYTES]; /**< private: from the parameters */
    struct iotsec_addr addr;        /**< private: from the parameters */
};

/** One group's keys. Secret; members are private but for those marked readable. Wipe it with iotsec_csb_wipe. */
struct iotsec_csb {
    uint16_t group_id;      /**< readable: the group; the CSB_ID is this number as 32 bits */
    uint16_t sender_id;     /**< readable: this member's sender ID, 0 while nothing is installed */
    uint32_t key_number;    /**< readable: K, 0 while nothing is installed */
    uint32_t counter;       /**< private: next counter of this sender ID */
    struct iotsec_addr addr; /**< readable: the group's multicast address and port */
    uint32_t previous_key_number; /**< private: 0 when no previous key is held */
    uint32_t previous_until;      /**< private: when it is dropped */
    uint32_t derived_at;          /**< private: when keys beyond K + 1 were derived last */
    uint16_t previous_sender_id;  /**< private: this member's sender ID under the previous key */
    uint8_t rand[IOTSEC_KEY_BYTES]; /**< private: RAND of the generation */
    uint8_t tgk[IOTSEC_KEY_BYTES];  /**< private: TGK of K */
    uint8_t tek[IOTSEC_KEY_BYTES];  /**< private: TEK of K */
    uint8_t previous_tek[IOTSEC_KEY_BYTES]; /**< private */
    struct iotsec_csb_step ahead; /**< private: a candidate until a record proves it: K + 1, or a step further ahead */
    struct iotsec_csb_half half;  /**< private: the half that waits */
};

/** The bundle of two devices and one session between them. Secret; members are private. */
struct iotsec_csb_unicast {
    uint32_t csb_id;                /**< private: from the session's exporter */
    uint8_t rand[IOTSEC_KEY_BYTES]; /**< private: from the session's exporter */
    uint8_t tgk[IOTSEC_KEY_BYTES];  /**< private: from the polynomial */
};

/** Where a record's epoch stands to the keys held. */
enum iotsec_csb_place {
    IOTSEC_CSB_CURRENT,    /**< the key that is sent under */
    IOTSEC_CSB_PREVIOUS,   /**< the one before it, within its 5 s */
    IOTSEC_CSB_AHEAD,      /**< same generation, 1 to 16 steps ahead: commit with iotsec_csb_advance once the tag is verified */
    IOTSEC_CSB_BEHIND,     /**< same generation, a step that is no longer held */
    IOTSEC_CSB_LATER,      /**< ahead, but keys were derived within the last second: drop the record */
    IOTSEC_CSB_UNREACHABLE, /**< another generation, or too far ahead: ask the domain manager */
    IOTSEC_CSB_FAILED      /**< ahead, but the HAL failed */
};

/**
 * Derives a group's TEK: PRF(TGK, 0x2AD01C64 || cs_id || CSB_ID || RAND), 16 bytes (RFC 3830, section 4.1.4).
 * @param hal crypto operations
 * @param group_id the group
 * @param tgk,rand the inputs, 16 bytes each
 * @param tek 16 bytes, written on success
 * @retval IOTSEC_OK derived
 * @retval IOTSEC_ERR_CRYPTO the HAL failed
 */
enum iotsec_status iotsec_csb_derive_tek(const struct iotsec_hal *hal, uint16_t group_id, const uint8_t tgk[IOTSEC_KEY_BYTES],
                                         const uint8_t rand[IOTSEC_KEY_BYTES], uint8_t tek[IOTSEC_KEY_BYTES]);

/**
 * Derives the key of one purpose, a crypto session of a bundle: PRF(TGK, 0x2AD01C64 || cs_id || CSB_ID || RAND), 16 bytes
 * (RFC 3830, section 4.1.4).
 * @param hal crypto operations
 * @param cs_id the crypto session, 1 to 255
 * @param csb_id the bundle
 * @param tgk,rand the inputs, 16 bytes each
 * @param key 16 bytes, written on success
 * @retval IOTSEC_OK derived
 * @retval IOTSEC_ERR_ARGUMENT cs_id is 0
 * @retval IOTSEC_ERR_CRYPTO the HAL failed
 */
enum iotsec_status iotsec_csb_purpose_key(const struct iotsec_hal *hal, uint8_t cs_id, uint32_t csb_id,
                                          const uint8_t tgk[IOTSEC_KEY_BYTES], const uint8_t rand[IOTSEC_KEY_BYTES],
                                          uint8_t key[IOTSEC_KEY_BYTES]);

/**
 * The ratchet: TGK[K] = PRF(TGK[K-1], 0x197A9E97 || cs_id || CSB_ID || RAND || K), 16 bytes.
 * @param hal crypto operations
 * @param group_id the group
 * @param key_number K, the number of the key that is made
 * @param rand RAND of the generation
 * @param from TGK[K-1]
 * @param to TGK[K], written on success; may be `from`
 * @retval IOTSEC_OK derived
 * @retval IOTSEC_ERR_CRYPTO the HAL failed
 */
enum iotsec_status iotsec_csb_ratchet(const struct iotsec_hal *hal, uint16_t group_id, uint32_t key_number,
                                      const uint8_t rand[IOTSEC_KEY_BYTES], const uint8_t from[IOTSEC_KEY_BYTES],
                                      uint8_t to[IOTSEC_KEY_BYTES]);

/**
 * The first key number of the generation after K's: step 0, and never a generation whose low byte is 0.
 * @param key_number K, or 0 for the first generation of all
 * @return the key number; 0 when no generation is left (after 2^24)
 */
uint32_t iotsec_csb_next_generation(uint32_t key_number);

/**
 * Starts an empty bundle for a group.
 * @param csb storage, the caller's
 * @param group_id the group
 */
void iotsec_csb_init(struct iotsec_csb *csb, uint16_t group_id);

/**
 * Wipes every key and leaves an empty bundle of group 0.
 * @param csb an initialised bundle
 */
void iotsec_csb_wipe(struct iotsec_csb *csb);

/**
 * Takes the first half of Figure 3: Master Key Data. It waits for the other half with the same key number, and takes the
 * place of one of the same or an older number.
 * @param csb an initialised bundle
 * @param key_number K of the message
 * @param sender_id the sender ID it assigns, 1 to 65534
 * @param tgk the TGK; copied
 * @retval IOTSEC_OK taken: iotsec_csb_install tells whether the pair is complete
 * @retval IOTSEC_ERR_EXISTS K is installed already, or an older one came: acknowledge; nothing changed
 * @retval IOTSEC_ERR_PENDING a half of a newer number waits; nothing changed
 * @retval IOTSEC_ERR_KEY_CONFLICT K is installed with another TGK: nothing changed; ask the domain manager
 * @retval IOTSEC_ERR_ARGUMENT sender ID or key number is not a legal one
 */
enum iotsec_status iotsec_csb_master_key(struct iotsec_csb *csb, uint32_t key_number, uint16_t sender_id,
                                         const uint8_t tgk[IOTSEC_KEY_BYTES]);

/**
 * Takes the second half: Security Parameters Data. Statuses as for iotsec_csb_master_key, without KEY_CONFLICT.
 * @param csb an initialised bundle
 * @param key_number K of the message
 * @param rand RAND; copied
 * @param addr the group's multicast address and port; copied
 * @param eviction 1: the previous key is dropped at once; 0: it opens records for 5 s more, unless generations
 *        lie between, of which one may have been an eviction's
 * @retval IOTSEC_OK taken: iotsec_csb_install tells whether the pair is complete
 * @retval IOTSEC_ERR_EXISTS K is installed already, or an older one came: acknowledge; nothing changed
 * @retval IOTSEC_ERR_PENDING a half of a newer number waits; nothing changed
 * @retval IOTSEC_ERR_ARGUMENT the key number is not a legal one, or the address is not multicast
 */
enum iotsec_status iotsec_csb_parameters(struct iotsec_csb *csb, uint32_t key_number, const uint8_t rand[IOTSEC_KEY_BYTES],
                                         const struct iotsec_addr *addr, int eviction);

/**
 * Installs the pair if both halves have come. A step of its own, so that nothing of the message is on the stack any more
 * when keys are derived.
 * @param csb an initialised bundle
 * @param hal crypto operations and clock
 * @retval IOTSEC_OK the pair is installed: acknowledge. A new sender ID starts at counter 0, a kept one goes on
 * @retval IOTSEC_ERR_PENDING a half is missing
 * @retval IOTSEC_ERR_CRYPTO the HAL failed; the halves still wait
 */
enum iotsec_status iotsec_csb_install(struct iotsec_csb *csb, const struct iotsec_hal *hal);

/**
 * Forgets a waiting half: call it when the session that brought it ends, since the pair is sent again
 * as a whole.
 * @param csb an initialised bundle
 */
void iotsec_csb_forget_half(struct iotsec_csb *csb);

/**
 * Finds the TEK for a received record's epoch. Derives it where it lies ahead, and keeps it: the next step at any time,
 * further ones at most once a second, so that an outsider buys no key derivations.
 * @param csb a bundle, installed or not
 * @param hal crypto operations and clock
 * @param epoch the record's epoch
 * @param tek set to the key, valid until the next call on this bundle; NULL unless it is CURRENT, PREVIOUS or AHEAD
 * @return where the epoch stands
 */
enum iotsec_csb_place iotsec_csb_key(struct iotsec_csb *csb, const struct iotsec_hal *hal, uint16_t epoch, const uint8_t **tek);

/**
 * Moves to the step that iotsec_csb_key found AHEAD last; call it only after a record's tag was verified
 * under it. The own key becomes the previous one for 5 s and older TGKs are wiped.
 * @param csb an installed bundle
 * @param hal crypto operations and clock
 * @retval IOTSEC_OK moved
 * @retval IOTSEC_ERR_STATE no step ahead was found since the last move; nothing changed
 */
enum iotsec_status iotsec_csb_advance(struct iotsec_csb *csb, const struct iotsec_hal *hal);

/**
 * Takes the next counter of the own sender ID. A counter that was taken is spent, whatever becomes of the record.
 * @param csb an installed bundle
 * @param counter set to the counter to send under
 * @retval IOTSEC_OK taken
 * @retval IOTSEC_ERR_STATE nothing is installed
 * @retval IOTSEC_ERR_COUNTER the hard limit is reached: nothing may be sent under this sender ID any more
 */
enum iotsec_status iotsec_csb_take_counter(struct iotsec_csb *csb, uint32_t *counter);

/**
 * Drops the previous key when its time is over.
 * @param csb an initialised bundle
 * @param now_ms the clock
 * @return milliseconds until it is due, UINT32_MAX when no previous key is held
 */
uint32_t iotsec_csb_expire(struct iotsec_csb *csb, uint32_t now_ms);

#ifdef __cplusplus
}
#endif

#endif
