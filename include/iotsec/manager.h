/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * The domain manager: admits devices by their pre-shared keys, hands out group keys, and renews them
 * when a device leaves or is evicted (draft-keoh-lwig-dtls-iot-01, sections 4.2 and 4.3.2).
 *
 * What has to survive a crash lives in a registry that the application provides: struct
 * iotsec_registry. Every change of a key number, a sender ID or a membership is one transaction,
 * durable before the first byte that depends on it leaves; when the registry refuses, nothing changes.
 * Two managers must never serve one registry at once. After an older copy of a registry was restored,
 * call iotsec_manager_group_renew for every group first, with an `above` beyond any key number that may have
 * been in use (64 generations more, say): what the lost part had assigned is not known. Nor is whom it had revoked: call
 * iotsec_manager_poly_renew too, without an overlap.
 *
 * Sender IDs: a join takes the next one. A member keeps its ID over steps and generations as long as it
 * shows that it still holds its state; IDs of those who left are not used again. When 65534 are spent,
 * the group moves to a new generation in which every member gets a new ID, from 1 on, counting from 0
 * under a TGK that nobody has used.
 *
 * Threads: one context, one thread. Callbacks run inside the calls of this header after the state is
 * committed, and may call every function here on the same context except iotsec_manager_input,
 * iotsec_manager_poll, iotsec_manager_init and iotsec_manager_wipe. Registry functions must not call back.
 */
#ifndef IOTSEC_MANAGER_H
#define IOTSEC_MANAGER_H

#include <stddef.h>
#include <stdint.h>

#include "dtls.h"
#include "polykey.h"
#include "stats.h"
#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A group as the registry keeps it. Secret. */
struct iotsec_registry_group {
    uint16_t group_id;       /**< the group, not 0 */
    uint16_t next_sender;    /**< the sender ID that the next join gets, 1 to 65535 (none left); IDs below it are spent in this generation */
    uint32_t key_number;     /**< K */
    uint8_t tgk[IOTSEC_KEY_BYTES];  /**< TGK of K */
    uint8_t rand[IOTSEC_KEY_BYTES]; /**< RAND of K's generation */
    struct iotsec_addr addr; /**< multicast address and port; interface 0 */
};

/**
 * Access parameters of the domain as the registry keeps them. Secret. L2 keys have numbers that only grow; the key
 * index of number N is 1 + (N - 1) % 255.
 */
struct iotsec_registry_access {
    uint32_t number;                /**< of the L2 key in use, 1 or more; 0: the domain has no access parameters */
    uint8_t key[IOTSEC_KEY_BYTES];  /**< L2 key in use */
    uint32_t next_number;           /**< of the L2 key that is being handed out, above `number`; 0: none is */
    uint8_t next_key[IOTSEC_KEY_BYTES]; /**< that key */
    uint16_t pan_id;                /**< IEEE 802.15.4 PAN ID */
    uint8_t prefix[8];              /**< the /64 that devices take their addresses from; all zero: none */
    struct iotsec_addr manager;     /**< the manager's own unicast address and port; interface 0 */
};

/**
 * The domain's polynomial as the registry keeps it, but for its coefficients. A generation's coefficients a[i][j] = a[j][i],
 * 0 <= i, j <= degree, are 16 bytes each and secret.
 */
struct iotsec_registry_poly {
    uint32_t generation;   /**< 1 or more; grows with each new polynomial */
    uint8_t degree;        /**< t, 1 or more */
    uint8_t gentle;        /**< 1: shares of the generation before may serve for a while longer */
    uint8_t revoked_count; /**< marks in `revoked` */
    uint8_t carried;       /**< so many of them, the first ones, were made in the generation before; the others since this one is there */
    uint8_t revoked[IOTSEC_REVOKED_MAX][IOTSEC_REVOKED_BYTES]; /**< marks of evicted devices, in order; the rest is zeros */
};

/** One device's membership in one group as the registry keeps it. */
struct iotsec_registry_member {
    uint32_t device;    /**< the application's number of the device, not 0 */
    uint16_t group_id;  /**< the group */
    uint16_t sender_id; /**< its sender ID in the group's current generation; below the group's next_sender and no other member's */
};

/**
 * The registry. Functions return IOTSEC_OK or the named failure; IOTSEC_ERR_REGISTRY where storage fails.
 * They may block for a storage access and for nothing longer. `user` is that of struct iotsec_manager_config.
 */
struct iotsec_registry {
    /**
     * Finds a device by its PSK identity (as `psk` in struct iotsec_dtls_callbacks; psk->peer is the
     * device's number, not 0). A device that was evicted is still found: it is told so after Finished.
     * IOTSEC_ERR_UNKNOWN_IDENTITY, or IOTSEC_ERR_PENDING if a central server has to be asked:
     * iotsec_manager_psk_complete follows.
     */
    enum iotsec_status (*psk)(void *user, iotsec_dtls_handle handshake, const uint8_t *identity, size_t len,
                              struct iotsec_dtls_psk *psk);
    /** Whether an authenticated device may be in the domain: IOTSEC_OK or IOTSEC_ERR_NOT_AUTHORISED. */
    enum iotsec_status (*authorised)(void *user, uint32_t device);
    /** Whether it may be in a group: IOTSEC_OK or IOTSEC_ERR_GROUP_REFUSED. */
    enum iotsec_status (*group_allowed)(void *user, uint32_t device, uint16_t group_id);

    /** The index-th group, counted from 0 in any constant order; IOTSEC_ERR_NOT_FOUND behind the last. Called by iotsec_manager_init only. */
    enum iotsec_status (*group_at)(void *user, uint32_t index, struct iotsec_registry_group *group);
    /** The index-th membership; IOTSEC_ERR_NOT_FOUND behind the last. Called by iotsec_manager_init only. */
    enum iotsec_status (*member_at)(void *user, uint32_t index, struct iotsec_registry_member *member);

    /** Opens a transaction. The calls below come only inside one. */
    enum iotsec_status (*begin)(void *user);
    /** Inserts or replaces a group. */
    enum iotsec_status (*put_group)(void *user, const struct iotsec_registry_group *group);
    /** Removes a group and its memberships. */
    enum iotsec_status (*delete_group)(void *user, uint16_t group_id);
    /**
     * Inserts or replaces the membership of a device in a group. Comes after the group's put_group. When all
     * members are numbered anew, two of them may have the same sender ID until the transaction ends: a
     * registry that forbids it checks at `commit`.
     */
    enum iotsec_status (*put_member)(void *user, const struct iotsec_registry_member *member);
    /** Removes a membership. */
    enum iotsec_status (*delete_member)(void *user, uint32_t device, uint16_t group_id);
    /** Marks a device as evicted: `authorised` refuses it from now on. */
    enum iotsec_status (*put_evicted)(void *user, uint32_t device);
    /** IOTSEC_OK: all of it is durable. Otherwise none of it happened. Ends the transaction either way. */
    enum iotsec_status (*commit)(void *user);
    /** Ends the transaction; none of it happened. */
    void (*abort)(void *user);

    /** The domain's access parameters; IOTSEC_ERR_NOT_FOUND: none. Called by iotsec_manager_init only. NULL: none. */
    enum iotsec_status (*access)(void *user, struct iotsec_registry_access *access);
    /** Replaces the access parameters, inside a transaction. Never NULL where `access` is not. */
    enum iotsec_status (*put_access)(void *user, const struct iotsec_registry_access *access);

    /**
     * The domain's polynomial; IOTSEC_ERR_NOT_FOUND: none. Called by iotsec_manager_init only. NULL: the registry keeps none,
     * and the four below are not called.
     */
    enum iotsec_status (*poly)(void *user, struct iotsec_registry_poly *poly);
    /** Replaces it, inside a transaction. With a new generation, every coefficient of the old one is deleted, and the new ones follow in put_coefficients. */
    enum iotsec_status (*put_poly)(void *user, const struct iotsec_registry_poly *poly);
    /** Writes `count` coefficients a[row][first], a[row][first + 1] ... with first + count <= row + 1, inside the transaction of put_poly. All rows come, in order. */
    enum iotsec_status (*put_coefficients)(void *user, uint8_t row, uint8_t first, uint16_t count, const uint8_t *elements);
    /** Reads `count` coefficients a[row][first], a[row][first + 1] ... with first + count <= degree + 1; a[i][j] is a[j][i]. The caller wipes them. */
    enum iotsec_status (*coefficients)(void *user, uint8_t row, uint8_t first, uint16_t count, uint8_t *elements);
    /** The point of a device's identity, as iotsec_polykey_point makes it. No two devices have the same: the registry refuses the second. IOTSEC_ERR_NOT_FOUND: no such device. Also inside a transaction. */
    enum iotsec_status (*point)(void *user, uint32_t device, uint8_t point[IOTSEC_POLY_ELEMENT_BYTES]);
};

/** What the manager tells its application. */
enum iotsec_manager_event_kind {
    IOTSEC_MANAGER_DEVICE_JOINED,   /**< `device` is authenticated and authorised; `addr` is where it is */
    IOTSEC_MANAGER_JOIN_FAILED,     /**< `reason`: WRONG_PSK, UNKNOWN_IDENTITY (device 0), NOT_AUTHORISED, TIMEOUT, NO_KEY_MANAGEMENT, PROTOCOL, RESOURCES ... */
    IOTSEC_MANAGER_MEMBER_JOINED,   /**< `device` has acknowledged the keys of `group_id`, as a new member */
    IOTSEC_MANAGER_MEMBER_UPDATED,  /**< it has acknowledged newer keys */
    IOTSEC_MANAGER_MEMBER_REFUSED,  /**< it asked for `group_id` and was refused: `reason` is GROUP_REFUSED or RESOURCES; or it took no keys for want of room: FULL (it stays a member until iotsec_manager_expel) */
    IOTSEC_MANAGER_MEMBER_LEFT,     /**< it has left `group_id` (0: the domain) or was taken out of it */
    IOTSEC_MANAGER_DEVICE_EVICTED,  /**< the eviction of `device` is durable */
    IOTSEC_MANAGER_DEVICE_GONE,     /**< its session has ended: `reason` */
    IOTSEC_MANAGER_GROUP_KEY,       /**< `group_id` has moved to `key_number`; `reason`: OK for a join's step, or why it is a new generation: EVICTED, LEFT, CANCELLED (iotsec_manager_group_renew), COUNTER (steps or sender IDs were used up), KEY_CONFLICT (a member reported one), EPOCH (a member was ahead) */
    IOTSEC_MANAGER_KEYS_FAILED,     /**< the keys that members of `group_id` (0: a device that leaves the domain, or all under the next L2 key) wait for could not be made: `reason`. Nothing has changed; it is tried again, less and less often */
    IOTSEC_MANAGER_UNREACHABLE,     /**< `device` did not acknowledge; it gets its keys at its next contact */
    IOTSEC_MANAGER_AHEAD,           /**< `device` holds `key_number` of `group_id`, more than IOTSEC_GENERATIONS_AHEAD_MAX generations above the registry: an old registry was restored; the operator decides (iotsec_manager_group_renew). Or, with `group_id` 0, a share of generation `key_number`, newer than the domain's polynomial: it gets no other one before iotsec_manager_poly_renew, which goes above what devices have said, by IOTSEC_GENERATIONS_AHEAD_MAX generations at most; or more revocations of the present generation than the registry: it would not hear of the next ones, before iotsec_manager_poly_renew */
    IOTSEC_MANAGER_MOVED,           /**< the session of `device` goes on at another address, `addr`, which it has shown to receive at */
    IOTSEC_MANAGER_L2_KEY,          /**< the domain's L2 key: number `key_number` is being handed out (`reason`: why, as for GROUP_KEY), or is in use from now on (OK) */
    IOTSEC_MANAGER_ACCESS,          /**< `device` has installed what it is to have of L2 keys: `key_number` */
    IOTSEC_MANAGER_POLY,            /**< the domain has a new polynomial, of generation `key_number`: `reason` is CANCELLED (iotsec_manager_poly_renew) or FULL (an eviction beyond IOTSEC_REVOKED_MAX) */
    IOTSEC_MANAGER_SHARE,           /**< `device` has its whole share of generation `key_number`, and every revocation */
    IOTSEC_MANAGER_SHARE_REFUSED,   /**< it cannot take its share of generation `key_number`: `reason` is DEGREE */
    IOTSEC_MANAGER_FORGERIES        /**< many forged records on the session of `device` */
};

/** One event. Valid during the callback. */
struct iotsec_manager_event {
    enum iotsec_manager_event_kind kind; /**< what happened */
    enum iotsec_status reason;           /**< why, where the kind says so; else IOTSEC_OK */
    uint32_t device;                     /**< the device, 0 if unknown or none */
    uint16_t group_id;                   /**< the group, where the kind has one */
    uint16_t sender_id;                  /**< the member's sender ID */
    uint32_t key_number;                 /**< the group's key number */
    const struct iotsec_addr *addr;      /**< the device's address, or its relay's, or NULL */
    uint8_t relayed;                     /**< DEVICE_JOINED: 1 if it came through a stateless relay, whose address `addr` is */
};

/** The application's functions. Constant, owned by the caller. */
struct iotsec_manager_callbacks {
    /** Something happened. May be NULL. */
    void (*event)(void *user, const struct iotsec_manager_event *event);
    /** Application data (content type 23) of an authenticated device. May be NULL. */
    void (*receive)(void *user, uint32_t device, const uint8_t *data, size_t len);
#if IOTSEC_KEYLOG || defined(DOXYGEN)
    /** As in struct iotsec_dtls_callbacks. NULL: off. */
    void (*keylog)(void *user, const char *line);
#endif
};

/** Private: a group in memory. Arrays of it are the caller's. */
struct iotsec_manager_group {
    struct iotsec_link link;             /**< private: index by ID; chains free slots */
    uint32_t id;                         /**< private: the group ID, 0 for a free slot. It stands where the others have their device */
    uint16_t waiting;                    /**< private: first member that waits for the next change */
    uint16_t index;                      /**< private: its own place among the groups */
    uint8_t state;                       /**< private */
    uint8_t flags;                       /**< private */
    uint8_t failures;                    /**< private: changes that failed in a row */
    int8_t reason;                       /**< private: of the change, a status */
    int8_t failure;                      /**< private: of a change that failed, a status to be told; 0 none */
    struct iotsec_manager_group *next;   /**< private: the next group that has something to do */
    uint32_t rest_until;                 /**< private: no step before */
    uint32_t above;                      /**< private: the next generation lies above this key number */
    uint32_t gentle_from;                /**< private: nobody has left since this key number */
    struct iotsec_registry_group now;    /**< private: as in the registry */
    struct iotsec_registry_group staged; /**< private: as it will be once the transaction is committed */
};

/** Private: one device's membership in memory. Arrays of it are the caller's. */
struct iotsec_manager_member {
    struct iotsec_link link; /**< private: index by device; chains free slots */
    uint32_t device;         /**< private: 0 for a free slot */
    uint32_t acknowledged;   /**< private: newest key number acknowledged, 0 if not known */
    uint16_t group;          /**< private: index of the group */
    uint16_t sender_id;      /**< private: 0 while it waits for its first one */
    uint16_t next;           /**< private: the next that waits */
    uint8_t flags;           /**< private */
};

/** Private: a device with a session. Arrays of it are the caller's. */
struct iotsec_manager_contact {
    struct iotsec_link link;     /**< private: index by device; chains free slots */
    uint32_t device;             /**< private: 0 for a free slot */
    uint8_t flags;               /**< private */
    uint8_t last_request;        /**< private: message ID of the last request taken */
    uint8_t last_result;         /**< private: what it was answered */
    uint8_t next_id;             /**< private: next message ID to this device */
    iotsec_dtls_handle session;  /**< private */
    uint32_t heard_at;           /**< private: "active members first" */
#if IOTSEC_ACCESS || defined(DOXYGEN)
    uint32_t l2_stage;           /**< private: what it has acknowledged: twice the key number, plus 1 if it sends under it */
#endif
#if IOTSEC_PAIRWISE || defined(DOXYGEN)
    uint16_t share_next;         /**< private: the next coefficient of its share */
    uint8_t share_flags;         /**< private */
    uint8_t revoked_to;          /**< private: revocations that it has acknowledged */
#endif
    uint16_t unsure_ms;          /**< private: how long the last delivery took, if it was sent more than once; 0: measured */
    uint8_t unsure;              /**< private: its message ID */
#if (IOTSEC_ACCESS && IOTSEC_CONNECTION_ID) || defined(DOXYGEN)
    uint8_t path_check;          /**< private: message ID of the last path check */
    uint8_t candidate[IOTSEC_PATH_MARK_BYTES]; /**< private: mark of where that went; zeros: nowhere */
#endif
};

/** Private: one message, or pair of halves, that waits for its acknowledgement. Arrays of it are the caller's. */
struct iotsec_manager_delivery {
    uint32_t device;       /**< private */
    uint8_t kind;          /**< private */
    uint8_t code;          /**< private */
    uint8_t message;       /**< private: message ID */
    uint8_t rounds;        /**< private */
    uint16_t group;        /**< private: index of the group, or group ID of any message but keys */
    uint16_t sender_id;    /**< private */
    uint32_t key_number;   /**< private */
    uint32_t sent_at;      /**< private: the first time */
    uint32_t repeat_at;    /**< private */
    uint8_t tgk[IOTSEC_KEY_BYTES]; /**< private: the snapshot, frozen until acknowledged or superseded */
};

/** How a manager is set up. Constant during its life and owned by the caller; 0 takes the default. */
struct iotsec_manager_config {
    const struct iotsec_hal *hal;                     /**< the platform */
    const struct iotsec_manager_callbacks *callbacks; /**< the application */
    const struct iotsec_registry *registry;           /**< what survives a crash */
    void *user;                                       /**< handed to the callbacks and the registry */
    struct iotsec_dtls_session *sessions;             /**< storage: devices with a session at once, and a few to spare */
    struct iotsec_dtls_handshake *handshakes;         /**< storage: half-open handshakes at once */
    struct iotsec_manager_contact *contacts;          /**< storage: devices with a session at once */
    struct iotsec_manager_group *groups;              /**< storage: groups of the domain */
    struct iotsec_manager_member *members;            /**< storage: memberships of the domain */
    struct iotsec_manager_delivery *deliveries;       /**< storage: unacknowledged messages at once; more wait their turn */
    uint8_t *tx;                                      /**< storage for one outgoing datagram */
    size_t tx_size;                                   /**< its bytes, 256 or more */
    uint16_t session_count;                           /**< 1 to 65534 */
    uint16_t handshake_count;                         /**< 1 to 65534 */
    uint16_t contact_count;                           /**< 1 to 65534 */
    uint16_t group_count;                             /**< 0 to 65534 */
    uint16_t member_count;                            /**< 0 to 65534 */
    uint16_t delivery_count;                          /**< 1 to 65534 */
    uint16_t link_payload;                            /**< as in struct iotsec_dtls_config */
    uint16_t cookie_threshold;                        /**< as in struct iotsec_dtls_config */
    uint8_t cookie_policy;                            /**< enum iotsec_cookie_policy */
    uint8_t connection_id;                            /**< enum iotsec_connection_id_policy; IOTSEC_CONNECTION_ID_ON answers every device that offers it */
    uint8_t relayed;                                  /**< as in struct iotsec_dtls_config */
    uint16_t relay_handshakes;                        /**< as in struct iotsec_dtls_config */
    uint32_t l2_switch_ms;                            /**< 0: IOTSEC_L2_SWITCH_MS */
    uint32_t step_interval_ms;                        /**< 0: IOTSEC_STEP_INTERVAL_MS; below 2^25 */
    uint32_t retransmit_initial_ms;                   /**< 0: IOTSEC_RETRANSMIT_INITIAL_MS */
    uint32_t retransmit_max_ms;                       /**< 0: IOTSEC_RETRANSMIT_MAX_MS */
    uint32_t half_open_timeout_ms;                    /**< 0: IOTSEC_HALF_OPEN_TIMEOUT_MS */
    uint32_t idle_timeout_ms;                         /**< as in struct iotsec_dtls_config; members report hourly */
};

/** One domain manager. Members are private but for `stats` and `dtls.stats`. It is not to be moved or copied. */
struct iotsec_manager {
    const struct iotsec_manager_config *config; /**< private */
    uint8_t flags;                         /**< private */
    uint16_t scan;                         /**< private: next member to look at for a delivery */
    uint16_t deliveries_used;              /**< private: they stand at the front of their array */
    uint16_t free_slot[3];                 /**< private: heads of the lists of free slots: contacts, members, groups */
    struct iotsec_manager_group *busy;     /**< private: head of the list of groups that have something to do */
    struct iotsec_manager_group **busy_end; /**< private: its end, where the next one is put */
    uint32_t groups_due;                   /**< private: when the first of the busy groups has to be looked at */
    uint32_t round_trip;                   /**< private: of deliveries, smoothed; eighths of a millisecond, 0: none was measured */
    uint32_t round_trip_off;               /**< private: how far single ones are off; quarters of a millisecond */
    uint32_t scan_left;                    /**< private: members still to be looked at, in two passes */
#if IOTSEC_ACCESS || IOTSEC_PAIRWISE || defined(DOXYGEN)
    uint16_t walk_left[2];                 /**< private: contacts still to be looked at, for access parameters and for shares */
    uint16_t walk_slot[2];                 /**< private: the next of them */
#endif
#if IOTSEC_ACCESS || defined(DOXYGEN)
    uint32_t l2_switch_at;                 /**< private: when the next L2 key is used, whoever has it */
    uint16_t l2_ready;                     /**< private: contacts in a row that the switch need not wait for */
    uint16_t l2_hand;                      /**< private: the next one behind them */
    uint8_t l2_failures;                   /**< private: switches that failed in a row */
    int8_t l2_reason;                      /**< private: a status, of the L2_KEY event to be told */
    struct iotsec_registry_access access;  /**< private: as in the registry */
    struct iotsec_registry_access staged_access; /**< private: as it will be once the transaction is committed */
#endif
#if IOTSEC_PAIRWISE || defined(DOXYGEN)
    uint32_t poly_above;                   /**< private: the next generation lies above this one */
    int8_t poly_reason;                    /**< private: a status, of the POLY event to be told; 0 none */
    struct iotsec_registry_poly poly;      /**< private: as in the registry */
    struct iotsec_registry_poly staged_poly; /**< private: as it will be once the transaction is committed; generation 0: nothing is staged */
#endif
    struct iotsec_dtls dtls;               /**< private but for its stats */
    struct iotsec_dtls_config dtls_config; /**< private */
    struct iotsec_stats stats;             /**< drops of key-management messages, by reason; read freely */
};

/** Implementation of iotsec_manager_init; call that. */
enum iotsec_status iotsec_manager_init_checked(struct iotsec_manager *manager, const struct iotsec_manager_config *config,
                                               uint32_t config_id, size_t member_size, size_t handshake_size);

/**
 * Sets a manager up and reads groups and memberships from the registry. Nothing is sent.
 * @param manager storage of the context, the caller's; needs no initialisation
 * @param config kept by pointer; it and what it points to stay valid and unchanged until iotsec_manager_wipe
 * @retval IOTSEC_OK ready
 * @retval IOTSEC_ERR_ARGUMENT a pointer that must not be NULL is, or a number is out of its range
 * @retval IOTSEC_ERR_CONFIG the caller was compiled with another configuration than the library
 * @retval IOTSEC_ERR_FULL the registry holds more groups or memberships than the storage
 * @retval IOTSEC_ERR_REGISTRY the registry could not be read, or contradicts itself
 * @retval IOTSEC_ERR_RANDOM no random numbers
 */
static inline enum iotsec_status iotsec_manager_init(struct iotsec_manager *manager, const struct iotsec_manager_config *config)
{
    return iotsec_manager_init_checked(manager, config, IOTSEC_CONFIG_ID, sizeof(struct iotsec_manager_member),
                                       sizeof(struct iotsec_dtls_handshake));
}

/**
 * Sends close_notify on every session. The registry is left as it is: closing is not leaving.
 * @param manager an initialised manager
 */
void iotsec_manager_close(struct iotsec_manager *manager);

/**
 * Wipes every key, session and handshake. Nothing is sent and no callback runs.
 * @param manager an initialised manager; may be initialised again afterwards
 */
void iotsec_manager_wipe(struct iotsec_manager *manager);

/**
 * Takes a datagram that arrived at the manager's unicast address.
 * @param manager an initialised manager
 * @param from the sender's address
 * @param datagram the bytes; decrypted in place
 * @param len their number
 * @return as iotsec_dtls_input
 */
enum iotsec_status iotsec_manager_input(struct iotsec_manager *manager, const struct iotsec_addr *from, uint8_t *datagram,
                                        size_t len);

/**
 * Does what is due: retransmissions, steps that joins wait for, deliveries, deadlines. Call it when the
 * time it returned last has passed, and after every other call on the context.
 * @param manager an initialised manager
 * @return milliseconds until it wants to be called again, UINT32_MAX for never
 */
uint32_t iotsec_manager_poll(struct iotsec_manager *manager);

/**
 * Answers a PSK look-up that was pending; as iotsec_dtls_psk_complete.
 * @param manager an initialised manager
 * @param handshake the handle that `psk` was called with
 * @param status IOTSEC_OK, IOTSEC_ERR_UNKNOWN_IDENTITY, or another failure that ends the handshake
 * @param psk the key if status is IOTSEC_OK; copied, the caller wipes its own
 * @retval IOTSEC_OK taken
 * @retval IOTSEC_ERR_NOT_FOUND the handshake has ended meanwhile
 * @retval IOTSEC_ERR_STATE that handshake waits for no answer
 * @retval IOTSEC_ERR_ARGUMENT the key's length is out of range
 */
enum iotsec_status iotsec_manager_psk_complete(struct iotsec_manager *manager, iotsec_dtls_handle handshake,
                                               enum iotsec_status status, const struct iotsec_dtls_psk *psk);

/**
 * Creates a group with fresh keys.
 * @param manager an initialised manager
 * @param group_id the group, not 0
 * @param addr its multicast address and port; no other group has the same. Copied
 * @retval IOTSEC_OK created; durable
 * @retval IOTSEC_ERR_EXISTS a group with that ID or that address and port exists
 * @retval IOTSEC_ERR_ARGUMENT the group ID is 0, the address is not multicast or the port is 0
 * @retval IOTSEC_ERR_FULL no free group slot
 * @retval IOTSEC_ERR_RANDOM no random numbers
 * @retval IOTSEC_ERR_CRYPTO the HAL failed; nothing changed
 * @retval IOTSEC_ERR_REGISTRY the transaction failed; nothing changed
 */
enum iotsec_status iotsec_manager_group_add(struct iotsec_manager *manager, uint16_t group_id, const struct iotsec_addr *addr);

/**
 * Removes a group. Its members are told; one that cannot be reached finds out at its next contact.
 * @param manager an initialised manager
 * @param group_id the group
 * @retval IOTSEC_OK removed; durable
 * @retval IOTSEC_ERR_NOT_FOUND no such group
 * @retval IOTSEC_ERR_REGISTRY the transaction failed; nothing changed
 */
enum iotsec_status iotsec_manager_group_remove(struct iotsec_manager *manager, uint16_t group_id);

/**
 * Moves a group to a new generation and hands it to every member.
 * @param manager an initialised manager
 * @param group_id the group
 * @param above the new key number is above this one; 0: just above the present one
 * @retval IOTSEC_OK durable; deliveries follow
 * @retval IOTSEC_ERR_NOT_FOUND no such group
 * @retval IOTSEC_ERR_COUNTER no generation is left
 * @retval IOTSEC_ERR_RANDOM no random numbers
 * @retval IOTSEC_ERR_CRYPTO the HAL failed; nothing changed
 * @retval IOTSEC_ERR_REGISTRY the transaction failed; nothing changed
 */
enum iotsec_status iotsec_manager_group_renew(struct iotsec_manager *manager, uint16_t group_id, uint32_t above);

/**
 * Evicts a device: every group it was in moves to a new generation that it does not get, in one
 * transaction; messages queued for it are cancelled; it is told and its session closed.
 * @param manager an initialised manager
 * @param device its number; it need not be a member of anything
 * @retval IOTSEC_OK durable; the others' deliveries follow
 * @retval IOTSEC_ERR_ARGUMENT device is 0
 * @retval IOTSEC_ERR_COUNTER a group has no generation left, or the L2 key no number
 * @retval IOTSEC_ERR_RANDOM no random numbers
 * @retval IOTSEC_ERR_CRYPTO the HAL failed; nothing changed
 * @retval IOTSEC_ERR_REGISTRY the transaction failed; nothing changed, the device is still in
 */
enum iotsec_status iotsec_manager_evict(struct iotsec_manager *manager, uint32_t device);

/**
 * Takes a device out of one group, as if it had left it. It is told if it has a session.
 * @param manager an initialised manager
 * @param device its number
 * @param group_id the group
 * @retval IOTSEC_OK durable; the others' deliveries follow
 * @retval IOTSEC_ERR_NOT_FOUND it is not a member
 * @retval IOTSEC_ERR_COUNTER the group has no generation left
 * @retval IOTSEC_ERR_RANDOM no random numbers
 * @retval IOTSEC_ERR_CRYPTO the HAL failed; nothing changed
 * @retval IOTSEC_ERR_REGISTRY the transaction failed; nothing changed
 */
enum iotsec_status iotsec_manager_expel(struct iotsec_manager *manager, uint32_t device, uint16_t group_id);

#if IOTSEC_ACCESS || defined(DOXYGEN)
/**
 * Gives the domain access parameters, or changes them. A domain without an L2 key gets its first one; otherwise the
 * key stays. Every device with a session gets them, every other one at its next session.
 * @param manager an initialised manager
 * @param pan_id PAN ID
 * @param prefix 8 bytes, the /64; copied. All zero: none
 * @param addr the manager's own unicast address and port, routable from every device; copied
 * @retval IOTSEC_OK durable; deliveries follow
 * @retval IOTSEC_ERR_ARGUMENT the address is multicast or its port 0
 * @retval IOTSEC_ERR_UNSUPPORTED the registry keeps no access parameters
 * @retval IOTSEC_ERR_RANDOM no random numbers
 * @retval IOTSEC_ERR_REGISTRY the transaction failed; nothing changed
 */
enum iotsec_status iotsec_manager_access_set(struct iotsec_manager *manager, uint16_t pan_id, const uint8_t prefix[8],
                                             const struct iotsec_addr *addr);

/**
 * Hands out a next L2 key; it is used when every device with a session has acknowledged it, or after l2_switch_ms.
 * An eviction and a device's leaving the domain do the same by themselves, in their own transaction. While a next
 * key is being handed out and somebody leaves, another one takes its place, under the number after it.
 * @param manager an initialised manager
 * @retval IOTSEC_OK durable; deliveries follow
 * @retval IOTSEC_ERR_NOT_FOUND the domain has no access parameters
 * @retval IOTSEC_ERR_COUNTER no number is left
 * @retval IOTSEC_ERR_RANDOM no random numbers
 * @retval IOTSEC_ERR_REGISTRY the transaction failed; nothing changed
 */
enum iotsec_status iotsec_manager_l2_renew(struct iotsec_manager *manager);
#endif

#if IOTSEC_PAIRWISE || defined(DOXYGEN)
/**
 * Gives the domain a polynomial, or a new one, and hands every device that wants pairwise keys its share: at once to those
 * with a session, to the others at their next one. With an overlap, revocations of the old generation are carried over, once:
 * who was evicted is refused under its old share too. Without one they end with that generation. It is renewed by itself,
 * without an overlap, by an eviction that finds IOTSEC_REVOKED_MAX marks, those carried over included.
 * @param manager an initialised manager
 * @param degree t, 1 to IOTSEC_POLY_DEGREE_MAX: so many captured devices learn nothing about others' keys, one more everything
 * @param overlap 1: shares of the old generation serve for a while longer, unless that is another one than the registry's
 *        (a device was AHEAD); 0, after a compromise: they end with the new one
 * @retval IOTSEC_OK durable; deliveries follow
 * @retval IOTSEC_ERR_DEGREE the degree is out of range
 * @retval IOTSEC_ERR_UNSUPPORTED the registry keeps no polynomial, or the manager is NULL
 * @retval IOTSEC_ERR_COUNTER no generation is left
 * @retval IOTSEC_ERR_RANDOM no random numbers
 * @retval IOTSEC_ERR_REGISTRY the transaction failed; nothing changed
 */
enum iotsec_status iotsec_manager_poly_renew(struct iotsec_manager *manager, unsigned degree, int overlap);
#endif

/**
 * The key number of a group.
 * @param manager an initialised manager
 * @param group_id the group
 * @return K, or 0 if there is no such group
 */
uint32_t iotsec_manager_key_number(const struct iotsec_manager *manager, uint16_t group_id);

#ifdef __cplusplus
}
#endif

#endif
