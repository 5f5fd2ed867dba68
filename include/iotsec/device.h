/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * The joining device: joins a domain with one pre-shared key, keeps its group keys, and talks to its
 * groups and to other devices (draft-keoh-lwig-dtls-iot-01, sections 4.2 to 4.4).
 *
 * Threads: one context, one thread. Callbacks run inside iotsec_input and iotsec_poll after the state
 * is committed, and may call every function here on the same context except iotsec_input, iotsec_poll,
 * iotsec_device_init and iotsec_device_wipe.
 */
#ifndef IOTSEC_DEVICE_H
#define IOTSEC_DEVICE_H

#include <stddef.h>
#include <stdint.h>

#include "csb.h"
#include "dtls.h"
#include "polykey.h"
#include "record.h"
#include "stats.h"

#ifdef __cplusplus
extern "C" {
#endif

/** What a device tells its application. */
enum iotsec_device_event_kind {
    IOTSEC_DEVICE_JOINED,        /**< the manager is authenticated and has answered for every group asked for */
    IOTSEC_DEVICE_JOIN_FAILED,   /**< the join ended, and no group that is not held yet is told of: `reason` is WRONG_PSK, NOT_AUTHORISED, EVICTED, NO_ANSWER, PROTOCOL, RESOURCES, NO_CIPHER, VERSION, NO_EMS, NO_RENEGOTIATION_INFO, NO_KEY_MANAGEMENT, CLOSED or ALERT. Keys that were told of stay, but for NOT_AUTHORISED and EVICTED; iotsec_join again reports them */
    IOTSEC_DEVICE_GROUP_JOINED,  /**< keys of `group_id` are installed; `sender_id` and `key_number` are ours. Comes again when the manager knew the member no longer and the device has joined anew by itself */
    IOTSEC_DEVICE_GROUP_REFUSED, /**< this device is not in `group_id`: `reason` is GROUP_REFUSED, RESOURCES, or NO_ANSWER (the manager is there, but the join's time is over; the device leaves the group again) */
    IOTSEC_DEVICE_GROUP_KEY,     /**< `key_number` is new: a step was followed or a new generation installed */
    IOTSEC_DEVICE_GROUP_LEFT,    /**< the group's keys are gone: `reason` is LEFT, or NOT_FOUND when the manager removed the group or this member */
    IOTSEC_DEVICE_SENT_OLD,      /**< what this device sent lately to `group_id` may have been dropped by members that had moved to a newer key: send again if it matters */
    IOTSEC_DEVICE_KEY_CONFLICT,  /**< the manager sent another TGK under the installed key number of `group_id`; it was not installed */
    IOTSEC_DEVICE_COUNTER,       /**< the sender ID of `group_id` is used up; sending stops until a new one comes */
    IOTSEC_DEVICE_FORGERIES,     /**< many forged records were seen under the key of `group_id`, of the session with `peer`, or, if there is neither, with the manager */
    IOTSEC_DEVICE_EVICTED,       /**< the manager has put this device out of the domain, every key is wiped and the session closed: `reason` is EVICTED, or NOT_AUTHORISED when it is told so after a handshake */
    IOTSEC_DEVICE_LEFT,          /**< iotsec_leave is done: `reason` is OK if the manager acknowledged it, else NO_ANSWER */
    IOTSEC_DEVICE_CONTACT_LOST,  /**< the manager does not answer (`reason` NO_ANSWER) or has ended the session (CLOSED, ALERT); the keys stay, and the device tries again by itself, at once and then after 10 s doubling to an hour. Comes again with the reason of an attempt that failed otherwise than by silence (WRONG_PSK ...) */
    IOTSEC_DEVICE_CONTACT,       /**< the manager answers again */
    IOTSEC_DEVICE_MOVED,         /**< the session goes on from this device's own address to the manager's: what iotsec_moved began is done; or `reason` is NO_ANSWER: the manager did not confirm it, and the old way is used again, or the session ended meanwhile */
    IOTSEC_DEVICE_SHARE,         /**< this device's share of the domain's polynomial: `key_number` is the generation that serves from now on; or `reason` is NOT_FOUND (the domain has no polynomial), DEGREE (that of `key_number` is beyond share_degree_max, or what came contradicts itself: no share serves until there is another polynomial), DECODE (a coefficient of `key_number` is no element; the one before goes on serving) */
    IOTSEC_DEVICE_PEER_OPEN,     /**< a session with `peer`, authenticated, stands: whoever began it. What was queued has left. Comes again when a newer session has taken the place of one: after the peer was restarted, say */
    IOTSEC_DEVICE_PEER_FAILED,   /**< the handshake that iotsec_send began with `peer`, or that was to renew a session which the peer seems to have lost, came to nothing. The queued message is lost; a session, if one stands, goes on. `reason` is PEER_IDENTITY, WRONG_PSK (the device there does not hold that identity's share of this generation, or has revoked this device), GENERATION, NO_ANSWER, REVOKED, or another of JOIN_FAILED's */
    IOTSEC_DEVICE_PEER_REFUSED,  /**< somebody's handshake with this device was refused: `reason` is REVOKED, PEER_IDENTITY (hello and PSK identity name different devices, or this device itself), GENERATION, UNKNOWN_IDENTITY (a PSK identity without the hello extension, or one that is no device's), CRYPTO, or WRONG_PSK (`peer` is NULL: the look-up had found nothing wrong); `peer` is who it said it was, not authenticated. Anybody can cause these. Of somebody who is authenticated: FULL (no place, and no pair that is idle), or EXISTS (it sits at the manager's address, or a relay's that this device has joined through) */
    IOTSEC_DEVICE_PEER_CLOSED    /**< the session with `peer` has ended: `reason` is CLOSED, ALERT, TIMEOUT (idle), REVOKED, GENERATION (its polynomial no longer serves), EXISTS (its address is the manager's or another device's now) or FULL (another peer needed the place, which it makes after 10 s of silence; this one may come inside iotsec_send). The next iotsec_send opens a new one; a message that was queued meanwhile is not lost */
};

/** Another device: who it is expected, or known, to be and where. */
struct iotsec_peer {
    const uint8_t *identity;  /**< its PSK identity; the caller's when passed in, copied; the library's in callbacks, valid during them */
    size_t identity_len;      /**< 1 to IOTSEC_IDENTITY_MAX */
    struct iotsec_addr addr;  /**< its unicast address and port */
};

/** One event. Valid during the callback. */
struct iotsec_device_event {
    enum iotsec_device_event_kind kind; /**< what happened */
    enum iotsec_status reason;          /**< why, where the kind says so; else IOTSEC_OK */
    uint16_t group_id;                  /**< the group, where the kind has one */
    uint16_t sender_id;                 /**< this member's sender ID in it */
    uint32_t key_number;                /**< its key number; SHARE: the polynomial's generation */
    const struct iotsec_peer *peer;     /**< the other device, where the kind has one; else NULL */
};

/** The application's functions. Constant, owned by the caller. */
struct iotsec_device_callbacks {
    /** Something happened. May be NULL. */
    void (*event)(void *user, const struct iotsec_device_event *event);
    /** A group message, verified and not a replay. `data` is valid during the call. May be NULL. */
    void (*group_receive)(void *user, uint16_t group_id, uint16_t sender_id, const uint8_t *data, size_t len);
#if IOTSEC_PAIRWISE || defined(DOXYGEN)
    /** A message of another device, verified and not a replay; `peer` is authenticated. Valid during the call. May be NULL. */
    void (*receive)(void *user, const struct iotsec_peer *peer, const uint8_t *data, size_t len);
#endif
#if IOTSEC_ACCESS || defined(DOXYGEN)
    /**
     * Access parameters came, or changed; the L2 key is installed already. The application gives itself an address
     * of `prefix` and then, if it joined through a relay or from a link-local address, calls iotsec_moved: from
     * here or any time later. Valid during the call. May be NULL.
     */
    void (*access)(void *user, const struct iotsec_access *access);
#endif
#if IOTSEC_KEYLOG || defined(DOXYGEN)
    /** As in struct iotsec_dtls_callbacks. NULL: off. */
    void (*keylog)(void *user, const char *line);
#endif
};

/** Private: what is known of one sender of a group. Arrays of it are the caller's. */
struct iotsec_sender {
    uint64_t bits;       /**< private: replay window */
    uint32_t top;        /**< private: highest counter */
    uint16_t sender_id;  /**< private: 0 for a free slot */
    uint16_t last_epoch; /**< private: epoch of the last accepted record; its high byte names the generation the slot belongs to */
};

/** Private: one group of a device. Arrays of it are the caller's. */
struct iotsec_device_group {
    uint8_t state;              /**< private */
    uint8_t forgeries;          /**< private: failed tags since keys were installed */
    uint16_t flags;             /**< private */
    uint32_t hint_at;           /**< private: when a hint is due */
    uint32_t hinted_at;         /**< private: when the last one left */
    uint32_t ask_at;            /**< private: when the manager is to be asked */
    uint32_t ask_wait;          /**< private: the next wait; 0 for the first */
    uint32_t sent_at;           /**< private: when this device sent a message last */
#if IOTSEC_PERSIST || defined(DOXYGEN)
    uint32_t reserved;          /**< private: counters below it may be used (NVM) */
#endif
    struct iotsec_csb csb;      /**< private: keys; last, because the compiler reaches what comes first with less code */
};

#if IOTSEC_PAIRWISE || defined(DOXYGEN)
/** Private: another device with which there is a session, or is to be one. Arrays of it are the caller's. */
struct iotsec_pair {
    uint8_t flags;                 /**< private */
    uint8_t identity_len;          /**< private: 0 for a free slot */
    uint16_t queued;               /**< private: bytes of the message that waits for a session */
    iotsec_dtls_handle session;    /**< private: 0 none */
    iotsec_dtls_handle handshake;  /**< private: begun by this device, 0 none */
    uint32_t used_at;              /**< private: when something was sent or heard last */
    uint32_t doubted_at;           /**< private: when a handshake was begun because the session was doubted, or the session itself */
    uint32_t wait_until;           /**< private: the peer's own handshake is waited for so long */
    uint32_t generation;           /**< private: of the polynomial, of the session */
    struct iotsec_csb_unicast csb; /**< private: of the session */
    struct iotsec_addr addr;       /**< private: where it is, or is expected */
    uint8_t identity[IOTSEC_IDENTITY_MAX]; /**< private */
};

/** Private: what a device knows of one polynomial. */
struct iotsec_share {
    uint32_t generation; /**< private: 0 none */
    uint8_t *elements;   /**< private: half of the caller's storage */
    uint16_t held;       /**< private: coefficients, from the first */
    uint8_t degree;      /**< private: t */
    uint8_t wanted;      /**< private: revocations that it must not serve without */
    uint8_t flags;       /**< private */
};
#endif

/** How a device is set up. Constant during its life and owned by the caller; 0 takes the default. */
struct iotsec_device_config {
    const struct iotsec_hal *hal;                   /**< the platform */
    const struct iotsec_device_callbacks *callbacks; /**< the application */
    void *user;                                     /**< handed to the callbacks */
    const uint8_t *identity;                        /**< PSK identity; stays valid */
    size_t identity_len;                            /**< 1 to IOTSEC_IDENTITY_MAX */
    const uint8_t *psk;                             /**< the device's pre-shared key; stays valid */
    size_t psk_len;                                 /**< 16 to IOTSEC_PSK_MAX */
    struct iotsec_dtls_session *sessions;           /**< storage; one for the manager, two let a new handshake replace it gently */
    struct iotsec_dtls_handshake *handshakes;       /**< storage; one */
    struct iotsec_device_group *groups;             /**< storage: groups it can be in at once */
    struct iotsec_sender *senders;                  /**< storage: split evenly among the groups */
    uint8_t *tx;                                    /**< storage for one outgoing datagram */
    size_t tx_size;                                 /**< its bytes, 256 or more; group messages may be tx_size - 21 long */
    uint16_t session_count;                         /**< 1 or more; see pair_count */
    uint16_t handshake_count;                       /**< 1 or more; see pair_count */
    uint16_t group_count;                           /**< 0 or more */
    uint16_t sender_count;                          /**< a multiple of group_count: each group knows sender_count / group_count senders */
    uint16_t link_payload;                          /**< as in struct iotsec_dtls_config */
    uint8_t hide_groups;                            /**< 1: the ClientHello names no group; they are requested inside the protected session */
    uint8_t connection_id;                          /**< enum iotsec_connection_id_policy; IOTSEC_CONNECTION_ID_LINK_LOCAL is what most want */
    uint8_t persist;                                /**< 1: group keys and reserved counters are kept in NVM slots nvm_slot on (needs nvm_read and nvm_write) */
    uint16_t nvm_slot;                              /**< first of group_count NVM slots of 69 bytes, if persist is set */
#if IOTSEC_PAIRWISE || defined(DOXYGEN)
    struct iotsec_pair *pairs;                      /**< storage: devices that this one has sessions with at once */
    uint8_t *shares;                                /**< storage: 2 * IOTSEC_POLY_ELEMENT_BYTES * (share_degree_max + 1) bytes */
    uint8_t *pair_messages;                         /**< storage: pair_count * pair_message_size bytes, messages that wait for a session; NULL if pair_message_size is 0 */
    uint16_t pair_count;                            /**< 0: no pairwise keys. Else session_count is pair_count + 1 or more (one more lets a new peer take an idle one's place), handshake_count 2 or more */
    uint16_t pair_message_size;                     /**< longest message that is queued, at most tx_size less 38, and IOTSEC_RECORD_PAYLOAD_MAX; 0: none: sessions are opened by others only */
    uint8_t share_degree_max;                       /**< largest degree of the polynomial that there is room for, 1 or more */
    uint32_t pair_idle_ms;                          /**< 0: IOTSEC_PAIR_IDLE_MS; below 2^30 */
    uint32_t share_overlap_ms;                      /**< 0: IOTSEC_SHARE_OVERLAP_MS; below 2^30 */
#endif
    uint32_t status_interval_ms;                    /**< 0: IOTSEC_STATUS_INTERVAL_MS; below 2^30 */
    uint32_t join_timeout_ms;                       /**< 0: IOTSEC_JOIN_TIMEOUT_MS; below 2^30 */
    uint32_t join_delay_ms;                         /**< the first join's ClientHello leaves after a random time up to this, so that many devices that get power at once do not all begin at once; 0: none; at most 2 hours. iotsec_pause_end ends it */
    uint32_t handshake_timeout_ms;                  /**< 0: IOTSEC_HANDSHAKE_TIMEOUT_MS */
    uint32_t retransmit_initial_ms;                 /**< 0: IOTSEC_RETRANSMIT_INITIAL_MS */
    uint32_t retransmit_max_ms;                     /**< 0: IOTSEC_RETRANSMIT_MAX_MS */
};

/** One device. Members are private but for `stats` and `dtls.stats`. The small and often used ones stand first, where small
 * cores reach them with short instructions, and what is large last. */
struct iotsec_device {
    const struct iotsec_device_config *config; /**< private */
    uint8_t state;                    /**< private */
    uint8_t flags;                    /**< private */
    uint8_t request_kind;             /**< private: outstanding request, 0 none */
    uint8_t request_id;               /**< private: its message ID */
    uint8_t request_rounds;           /**< private */
    uint8_t next_id;                  /**< private */
#if IOTSEC_PAIRWISE || defined(DOXYGEN)
    uint8_t pair_flags;               /**< private */
    uint8_t revoked_count;            /**< private: marks held */
    uint8_t revoked_before;           /**< private: of these, the ones that go with the older of two generations; they stand first */
#endif
#if IOTSEC_ACCESS || defined(DOXYGEN)
    uint8_t l2_used;                  /**< private: index sent under, 0 none */
    uint8_t l2_previous;              /**< private: index still received under, 0 none */
    uint8_t l2_next;                  /**< private: index installed, but not sent under yet, 0 none */
#endif
    uint16_t request_group;           /**< private */
    uint16_t interface;               /**< private: of the groups */
    uint16_t senders_each;            /**< private: that each group knows */
    iotsec_dtls_handle handshake;     /**< private */
    iotsec_dtls_handle session;       /**< private */
    uint32_t wait;                    /**< private: inside iotsec_poll: milliseconds until there is more to do */
    uint32_t join_deadline;           /**< private */
    uint32_t request_at;              /**< private: when the outstanding request is repeated */
    uint32_t request_wait;            /**< private */
    uint32_t status_at;               /**< private: next routine status */
    uint32_t contact_at;              /**< private: next attempt to reach a manager that was lost or has not answered a join */
    uint32_t contact_wait;            /**< private: the next pause; 0: the manager has answered since the last one */
#if IOTSEC_PAIRWISE || defined(DOXYGEN)
    uint32_t overlap_until;           /**< private: when the share before is forgotten */
    uint32_t share_at;                /**< private: when the manager is asked for a share, or for what is missing */
    uint32_t share_wait;              /**< private: the next wait, where it doubles; 0 for the first */
    struct iotsec_share share[2];     /**< private: the one that serves, and another: the one before it, or the next, which is still coming */
#endif
#if IOTSEC_ACCESS || defined(DOXYGEN)
    uint32_t l2_number;               /**< private: newest L2 key number installed on this session */
    uint32_t l2_until;                /**< private: when the previous one is forgotten */
    uint32_t access_digest;           /**< private: of the parameters that the application knows */
#endif
    struct iotsec_addr manager;       /**< private: where the domain manager, or the way to it, is */
#if IOTSEC_ACCESS || defined(DOXYGEN)
    struct iotsec_addr joined_at;     /**< private: the address given to iotsec_join */
#endif
    struct iotsec_dtls dtls;          /**< private but for its stats */
    struct iotsec_stats stats;        /**< drops of group records and key-management messages, by reason; read freely */
    struct iotsec_dtls_config dtls_config; /**< private */
#if IOTSEC_PAIRWISE || defined(DOXYGEN)
    uint8_t revoked[IOTSEC_REVOKED_MAX][IOTSEC_REVOKED_BYTES]; /**< private */
#endif
};

/** Implementation of iotsec_device_init; call that. */
enum iotsec_status iotsec_device_init_checked(struct iotsec_device *device, const struct iotsec_device_config *config,
                                              uint32_t config_id, size_t group_size, size_t handshake_size);

/**
 * Sets a device up. Nothing is sent. With `persist`, group keys are read back: the device may send
 * under them from the reserved counter on and delivers nothing until it has heard of a newer key. A slot
 * that cannot be read, or is damaged, costs its group: it has to be joined again.
 * @param device storage of the context, the caller's; needs no initialisation
 * @param config kept by pointer; it and what it points to stay valid and unchanged until iotsec_device_wipe
 * @retval IOTSEC_OK ready
 * @retval IOTSEC_ERR_ARGUMENT a pointer that must not be NULL is, or a number is out of its range
 * @retval IOTSEC_ERR_CONFIG the caller was compiled with another configuration than the library
 * @retval IOTSEC_ERR_RANDOM no random numbers
 * @retval IOTSEC_ERR_UNSUPPORTED persist is set and the HAL or this build has no NVM
 */
static inline enum iotsec_status iotsec_device_init(struct iotsec_device *device, const struct iotsec_device_config *config)
{
    return iotsec_device_init_checked(device, config, IOTSEC_CONFIG_ID, sizeof(struct iotsec_device_group),
                                      sizeof(struct iotsec_dtls_handshake));
}

/**
 * Sends close_notify on every session, the manager's and other devices', and gives every handshake up, before the device goes
 * down: the others then know, and do not send into the void. Closing is not leaving. No callback runs. Wipe the context afterwards,
 * or poll it again: then it makes contact anew.
 * @param device an initialised device
 */
void iotsec_device_close(struct iotsec_device *device);

/**
 * Wipes every key, session and handshake. Nothing is sent and no callback runs. NVM and the link layer's keys are left alone.
 * @param device an initialised device; may be initialised again afterwards
 */
void iotsec_device_wipe(struct iotsec_device *device);

/**
 * Starts to join a domain and groups of it. The outcome is one JOINED or JOIN_FAILED event, and before
 * JOINED one GROUP_JOINED or GROUP_REFUSED for each group. Groups that the device already holds keys of are
 * reported to the manager instead of requested. When join_timeout_ms is over and the manager is there, what it
 * has not answered for is refused with NO_ANSWER, and JOINED follows.
 *
 * When joins at the same address end with NO_ANSWER or RESOURCES, the device pauses between them: 30 s at first, doubling
 * to 2 minutes, each half more or less by chance. A join that is begun earlier waits for the rest of the pause before it sends
 * its first message (iotsec_pause_left says how long), and join_timeout_ms counts from there; until there is an answer it then
 * sends two ClientHellos instead of two dozen. A join that succeeds ends this, and so do two minutes without one. So an application
 * may join again whenever a join has failed, at once too. Where somebody waits for it, iotsec_pause_end sends at once.
 * @param device an initialised device that is not joined or joining
 * @param manager the domain manager's (or a relay's) unicast address and port; copied
 * @param groups group IDs; copied
 * @param count their number, at most group_count; 0 joins the domain alone
 * @retval IOTSEC_OK started
 * @retval IOTSEC_ERR_STATE joined or joining already, or one of the groups was left and the manager does not know yet
 * @retval IOTSEC_ERR_ARGUMENT the address is multicast, a group is 0 or named twice
 * @retval IOTSEC_ERR_FULL more groups than group slots
 * @retval IOTSEC_ERR_RANDOM no random numbers
 * @retval IOTSEC_ERR_CRYPTO the HAL failed
 * Section: draft-keoh-lwig-dtls-iot-01, 4.2.
 */
enum iotsec_status iotsec_join(struct iotsec_device *device, const struct iotsec_addr *manager, const uint16_t *groups,
                               size_t count);

/**
 * How long the device waits before it tries to reach the manager again: after iotsec_join before its first message, between two
 * attempts where contact was lost; while it is not joining, how long a join that began now would wait.
 * @param device a device
 * @return milliseconds; 0: it does not wait, because there is a session, an attempt is under way or nothing was begun
 */
uint32_t iotsec_pause_left(const struct iotsec_device *device);

/**
 * Ends the pause between two attempts and makes the next one at once and in earnest, with repeats: somebody has pressed
 * a button. Call it for people only, not in a program's loop: the pauses are what lets thousands of devices back in.
 * A join begins anew with it; does nothing where the manager is answering.
 * @param device a device
 */
void iotsec_pause_end(struct iotsec_device *device);

/**
 * Requests one more group. The outcome is a GROUP_JOINED or GROUP_REFUSED event.
 * @param device a joined device
 * @param group_id the group
 * @retval IOTSEC_OK requested
 * @retval IOTSEC_ERR_STATE not joined
 * @retval IOTSEC_ERR_ARGUMENT the group is 0
 * @retval IOTSEC_ERR_EXISTS member already, or requested already
 * @retval IOTSEC_ERR_AGAIN it was left, and the manager does not know yet
 * @retval IOTSEC_ERR_FULL no free group slot
 */
enum iotsec_status iotsec_group_join(struct iotsec_device *device, uint16_t group_id);

/**
 * Leaves a group: its keys are wiped at once and the manager is told, which renews the group's keys.
 * A GROUP_LEFT event follows the acknowledgement. Until then the group's slot is in use, also while the
 * manager is out of reach.
 * @param device a device
 * @param group_id the group; one that was only requested is given up
 * @retval IOTSEC_OK left here; the manager will be told
 * @retval IOTSEC_ERR_NOT_FOUND not a member
 */
enum iotsec_status iotsec_group_leave(struct iotsec_device *device, uint16_t group_id);

/**
 * Leaves the domain: every group key is wiped at once, the manager is told, and a LEFT event follows
 * its acknowledgement or the end of the retransmissions; then the session is closed.
 * @param device a device
 * @retval IOTSEC_OK leaving
 * @retval IOTSEC_ERR_STATE not joined. (A join whose handshake still runs is given up: IOTSEC_OK, no message, no event)
 */
enum iotsec_status iotsec_leave(struct iotsec_device *device);

#if IOTSEC_PAIRWISE || defined(DOXYGEN)
/**
 * Sends a message to one other device of the domain. Where no session with it stands, a handshake is begun, the message
 * is queued, and leaves when the session stands: PEER_OPEN or PEER_FAILED follows. The device that sits at the address
 * has to prove that it is the expected one before anything is sent to it. A message in a session is not acknowledged:
 * a lost one is lost. The manager takes no part.
 * @param device a device that holds a share of the domain's polynomial (IOTSEC_DEVICE_SHARE)
 * @param peer whom, and where; copied. With another address than that of the session that stands, a new one is opened
 * @param data the message; copied
 * @param len its length, 1 to what a record holds; at most pair_message_size while no session stands
 * @retval IOTSEC_OK handed to the HAL, or queued
 * @retval IOTSEC_ERR_ARGUMENT empty, an identity that is empty, too long or this device's own, an address that is multicast
 *         or the manager's or the one given to iotsec_join
 * @retval IOTSEC_ERR_UNSUPPORTED pair_count is 0
 * @retval IOTSEC_ERR_NO_SHARE no share (not joined yet, or the domain has no polynomial), or its revocations have not come yet
 * @retval IOTSEC_ERR_REVOKED that device was evicted
 * @retval IOTSEC_ERR_TOO_LONG too long
 * @retval IOTSEC_ERR_AGAIN a message to it is queued already (and is tried at this address from now on), no handshake slot is
 *         free, or another handshake with that address is under way: later
 * @retval IOTSEC_ERR_FULL no free place for another peer, and none that is idle
 * @retval IOTSEC_ERR_SEND the HAL dropped it
 * @retval IOTSEC_ERR_RANDOM no random numbers
 * @retval IOTSEC_ERR_CRYPTO the HAL failed
 * Section: draft-keoh-lwig-dtls-iot-01, 4.3.1.
 */
enum iotsec_status iotsec_send(struct iotsec_device *device, const struct iotsec_peer *peer, const uint8_t *data, size_t len);

/**
 * Closes the session with another device, gives up a handshake with it, and forgets what is queued for it. No event follows.
 * @param device a device
 * @param identity,identity_len the other device's
 * @retval IOTSEC_OK closed
 * @retval IOTSEC_ERR_NOT_FOUND there was nothing
 */
enum iotsec_status iotsec_peer_close(struct iotsec_device *device, const uint8_t *identity, size_t identity_len);

/**
 * A key that this device shares with another one for a purpose of the application's own. It lives as long as their
 * session, and is another one in the next: PRF(TGK, 0x2AD01C64 || cs_id || CSB_ID || RAND). Both ends get the same.
 * @param device a device
 * @param identity,identity_len the other device's
 * @param cs_id the purpose, 1 to 255: the application's choice
 * @param key 16 bytes, written on success; the caller wipes it
 * @retval IOTSEC_OK derived
 * @retval IOTSEC_ERR_ARGUMENT cs_id is 0
 * @retval IOTSEC_ERR_NOT_FOUND no session with that device stands
 * @retval IOTSEC_ERR_CRYPTO the HAL failed
 * Section: RFC 3830, 4.1.4; draft-keoh-lwig-dtls-iot-01, 4.3.
 */
enum iotsec_status iotsec_peer_key(const struct iotsec_device *device, const uint8_t *identity, size_t identity_len,
                                   uint8_t cs_id, uint8_t key[IOTSEC_KEY_BYTES]);
#endif

#if IOTSEC_ACCESS || defined(DOXYGEN)
/**
 * This device has an address of its own now, or another one: the session with the manager goes on from there,
 * without a handshake (RFC 9146). One MOVED event tells the outcome; called again before it, the last call counts.
 * Without a session there is no event: one is opened to that address at once. When nobody answers there later on,
 * the address given to iotsec_join is tried in turn with it.
 * @param device a joining or joined device
 * @param manager the manager's own address and port, as `access` told it; copied. Multicast groups stay on the
 *        interface of the address that was given to iotsec_join
 * @retval IOTSEC_OK begun
 * @retval IOTSEC_ERR_ARGUMENT the address is multicast
 * @retval IOTSEC_ERR_STATE not joining or joined
 * @retval IOTSEC_ERR_UNSUPPORTED the session has no Connection ID: it stays where it is, and the next one is
 *         opened to that address
 */
enum iotsec_status iotsec_moved(struct iotsec_device *device, const struct iotsec_addr *manager);
#endif

/**
 * Takes a datagram that arrived.
 * @param device an initialised device
 * @param from the sender's address
 * @param to the address it was sent to: the device's own, or a multicast group with the port it was
 *        received on. To a multicast address only group records are accepted
 * @param datagram the bytes; decrypted in place
 * @param len their number
 * @retval IOTSEC_OK at least one record was used
 * @retval IOTSEC_ERR_DECODE, IOTSEC_ERR_AUTH, IOTSEC_ERR_REPLAY, IOTSEC_ERR_EPOCH, IOTSEC_ERR_UNEXPECTED,
 *         IOTSEC_ERR_FULL, IOTSEC_ERR_NOT_FOUND everything was dropped; the counters say why
 * @retval IOTSEC_ERR_ARGUMENT a pointer is NULL
 * @retval IOTSEC_ERR_STATE called from a callback
 */
enum iotsec_status iotsec_input(struct iotsec_device *device, const struct iotsec_addr *from, const struct iotsec_addr *to,
                                uint8_t *datagram, size_t len);

/**
 * Does what is due: retransmissions, status, hints. Call it when the time it returned last has passed,
 * and after every other call on the context.
 * @param device an initialised device
 * @return milliseconds until it wants to be called again, UINT32_MAX for never
 */
uint32_t iotsec_poll(struct iotsec_device *device);

/**
 * Sends a message to a group. Multicast is not acknowledged: a lost message is lost.
 * @param device a device
 * @param group_id a group whose keys are installed
 * @param data the message
 * @param len its length, 1 to min(IOTSEC_GROUP_PAYLOAD_MAX, tx_size - 21)
 * @retval IOTSEC_OK handed to the HAL
 * @retval IOTSEC_ERR_NOT_FOUND not a member
 * @retval IOTSEC_ERR_ARGUMENT empty
 * @retval IOTSEC_ERR_TOO_LONG too long
 * @retval IOTSEC_ERR_COUNTER the sender ID is used up
 * @retval IOTSEC_ERR_NVM persist is set and the counter could not be reserved; nothing was sent
 * @retval IOTSEC_ERR_SEND the HAL dropped it; its counter is spent
 * @retval IOTSEC_ERR_CRYPTO the HAL failed; its counter is spent
 */
enum iotsec_status iotsec_group_send(struct iotsec_device *device, uint16_t group_id, const uint8_t *data, size_t len);

#ifdef __cplusplus
}
#endif

#endif
