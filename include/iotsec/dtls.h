/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * DTLS 1.2 with pre-shared keys (RFC 6347, RFC 4279, RFC 6655): one endpoint that is client and
 * server to many peers. It does no I/O of its own and never sleeps: datagrams go in through
 * iotsec_dtls_input, time through iotsec_dtls_poll, and what leaves goes through the HAL's `send`.
 *
 * Threads: one context, one thread. Different contexts are independent. Callbacks run inside
 * iotsec_dtls_input, iotsec_dtls_poll or iotsec_dtls_psk_complete after the state is committed, and
 * may call every function here on the same context except iotsec_dtls_input, iotsec_dtls_poll,
 * iotsec_dtls_init and iotsec_dtls_wipe.
 *
 * Sending packs: iotsec_dtls_send appends a record to the datagram under construction, which leaves
 * when the next record does not fit the link payload or goes elsewhere, at the end of
 * iotsec_dtls_input and iotsec_dtls_poll, and on iotsec_dtls_flush.
 */
#ifndef IOTSEC_DTLS_H
#define IOTSEC_DTLS_H

#include <stddef.h>
#include <stdint.h>

#include "hal.h"
#include "protocol.h"
#include "record.h"
#include "stats.h"
#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Names a handshake or a session of one context; 0 names none. A handle is never valid again after
 * its handshake or session has ended: calls with it answer IOTSEC_ERR_NOT_FOUND. (A slot's handles
 * repeat after 2^15 uses.)
 */
typedef uint32_t iotsec_dtls_handle;

/** Which hello an extension's function is called for. */
struct iotsec_dtls_hello {
    iotsec_dtls_handle handshake; /**< the handshake, for iotsec_dtls_cancel */
    int is_server;                /**< 1 if this end is the server */
    uint32_t peer;                /**< client: the number given to iotsec_dtls_connect; server: 0 */
    uint8_t *scratch;             /**< IOTSEC_HANDSHAKE_SCRATCH_BYTES that last until `established` or `failed`; zero at first */
};

/**
 * A plugged-in hello extension (RFC 5246, section 7.4.1.4). Constant rows, owned by the caller. The
 * library sends an extension in a ServerHello only if the client's hello had it, and refuses one in
 * a ServerHello that was not offered.
 */
struct iotsec_dtls_extension {
    uint16_t type; /**< its number; not one of the built-in ones */
    /**
     * Writes the extension's body for this end's hello (called again for a repeated hello; it has to
     * write the same). At most `size` bytes at `out`; `*len` is set to their number. IOTSEC_OK: send
     * it. IOTSEC_ERR_NOT_FOUND: leave it out. Anything else ends the handshake.
     */
    enum iotsec_status (*write)(void *user, const struct iotsec_dtls_hello *hello, uint8_t *out, size_t size, size_t *len);
    /**
     * Takes the body from the peer's hello, unauthenticated until `established`. IOTSEC_OK: taken.
     * IOTSEC_ERR_AGAIN, of a server: the hello is dropped as if it had been lost; nothing is answered.
     * Anything else is answered with illegal_parameter; a server forgets the handshake, a client drops the hello, and
     * if no better one comes it ends with IOTSEC_ERR_PROTOCOL, or with IOTSEC_ERR_PEER_IDENTITY or
     * IOTSEC_ERR_GENERATION if that is what this function said.
     */
    enum iotsec_status (*parse)(void *user, const struct iotsec_dtls_hello *hello, const uint8_t *body, size_t len);
};

/** A PSK that the look-up found. The library wipes it after use. */
struct iotsec_dtls_psk {
    uint8_t key[IOTSEC_PSK_MAX]; /**< the key */
    size_t len;                  /**< its length, 16 to IOTSEC_PSK_MAX; shorter ones are refused as IOTSEC_ERR_ARGUMENT */
    uint32_t peer;               /**< the application's number for this identity; the session carries it, and two sessions are of the same identity if the numbers are equal */
};

/** What is known of a session when it is established. Valid during the callback only. */
struct iotsec_dtls_info {
    iotsec_dtls_handle session;      /**< the session */
    iotsec_dtls_handle handshake;    /**< the handshake that made it; no longer valid, its slot becomes free when the callback returns */
    const struct iotsec_addr *addr;  /**< the peer's address */
    uint32_t peer;                   /**< the application's number (server: from the PSK look-up, client: from connect) */
    int is_server;                   /**< 1 if this end was the server */
    uint16_t suite;                  /**< IOTSEC_SUITE_PSK_AES_128_CCM_8 or IOTSEC_SUITE_PSK_AES_128_CCM */
    int extended_master_secret;      /**< 1 if RFC 7627 was negotiated */
    int relayed;                     /**< 1 if it came through a stateless relay, whose address `addr` is then */
    int connection_id;               /**< 1 if the client's records carry a Connection ID: the session goes on when its address changes */
    const uint8_t *scratch;          /**< what the plugged-in extensions kept; now authenticated */
#if IOTSEC_PAIRWISE || defined(DOXYGEN)
    const uint8_t *identity;         /**< the PSK identity that the client has authenticated itself under; a client's: its own */
    size_t identity_len;             /**< its length */
    const uint8_t *exported;         /**< IOTSEC_EXPORTED_BYTES of keying material (RFC 5705), of this session alone; NULL if `peer` is 0 or there is no `client_psk` */
#endif
    iotsec_dtls_handle replaced;     /**< the session of the same identity and address that it replaces (already gone), or 0. With `client_psk`, of any identity whose number is not 0 */
};

/** What the endpoint tells its application. Constant, owned by the caller; members may be NULL where noted. */
struct iotsec_dtls_callbacks {
    /**
     * Server: finds the PSK of an identity (any bytes, not terminated; `len` at most
     * IOTSEC_IDENTITY_MAX; valid during the call). IOTSEC_OK: `psk` is filled in.
     * IOTSEC_ERR_UNKNOWN_IDENTITY: none; the handshake runs on with a random key, so that the wire does not tell.
     * IOTSEC_ERR_PENDING: iotsec_dtls_psk_complete follows for this handshake. Anything else ends it.
     * An endpoint that is client as well never answers for an identity that it uses itself with the same key:
     * its own messages, sent back to it, would complete a handshake.
     * NULL: this endpoint is no server; hellos are dropped.
     */
    enum iotsec_status (*psk)(void *user, iotsec_dtls_handle handshake, const uint8_t *identity, size_t len,
                              struct iotsec_dtls_psk *psk);
    /** A handshake succeeded: the peer's Finished was verified. May be NULL. */
    void (*established)(void *user, const struct iotsec_dtls_info *info);
    /**
     * A handshake failed. Client: every iotsec_dtls_connect that returned IOTSEC_OK ends in exactly one
     * `established` or `failed` (or in a cancel). Server: called once the PSK look-up has been asked, with
     * IOTSEC_ERR_WRONG_PSK or IOTSEC_ERR_UNKNOWN_IDENTITY at the first Finished that fails (the half-open
     * handshake itself goes on), and at the end with its reason (IOTSEC_ERR_TIMEOUT, or IOTSEC_ERR_REPLACED
     * when another one needed its place). `peer` as in iotsec_dtls_info (0 if unknown). May be NULL.
     */
    void (*failed)(void *user, iotsec_dtls_handle handshake, const struct iotsec_addr *addr, uint32_t peer,
                   enum iotsec_status reason);
    /**
     * A session ended, other than by this end's iotsec_dtls_close: IOTSEC_ERR_CLOSED (close_notify),
     * IOTSEC_ERR_ALERT, IOTSEC_ERR_TIMEOUT (idle). (A replaced one is told in `established`, one without
     * sequence numbers by iotsec_dtls_send.) May be NULL.
     */
    void (*closed)(void *user, iotsec_dtls_handle session, uint32_t peer, enum iotsec_status reason);
    /**
     * Content of an authenticated record. `type` is 23, or 28 and 29 where `key_management` is set.
     * `data` may be changed and is valid during the call. May be NULL.
     */
    void (*receive)(void *user, iotsec_dtls_handle session, uint32_t peer, uint8_t type, uint8_t *data, size_t len);
    /** IOTSEC_FORGERY_LIMIT forged records have been counted under one session's key: think of new keys. May be NULL. */
    void (*forgeries)(void *user, iotsec_dtls_handle session, uint32_t peer);
#if IOTSEC_KEYLOG || defined(DOXYGEN)
    /**
     * One line of an NSS key log ("CLIENT_RANDOM ..."), without line end. Reveals every key: for experiments only.
     * Runs while the keys are being derived: may not call the library. NULL: off.
     */
    void (*keylog)(void *user, const char *line);
#endif
#if IOTSEC_PAIRWISE || defined(DOXYGEN)
    /**
     * Client: finds the PSK of a handshake that iotsec_dtls_connect began without one, when the server's hello has been
     * taken and ClientKeyExchange is due. IOTSEC_OK: `psk` is filled in (its `peer` is not looked at).
     * A status of the caller's or the platform's side (IOTSEC_ERR_ARGUMENT to IOTSEC_ERR_L2) ends the handshake at once.
     * Anything else counts as a fault of the server's hello, which anybody can have sent: the client begins again, asks
     * for each new hello once, and ends with that status if none of three brings a better one.
     * May not call the library for this handshake, but to cancel it. NULL: there is no such handshake.
     */
    enum iotsec_status (*client_psk)(void *user, const struct iotsec_dtls_hello *hello, struct iotsec_dtls_psk *psk);
    /**
     * A fatal alert in plaintext came from the address of a session in which this end has sent something since it heard
     * the peer last: the peer may have lost the session, or anybody may have sent that. Nothing has changed. Who begins a new handshake with that address finds out, and loses nothing. May be NULL.
     */
    void (*doubted)(void *user, iotsec_dtls_handle session);
#endif
};

/** When a server asks for a cookie (RFC 6347, section 4.2.1). */
enum iotsec_cookie_policy {
    IOTSEC_COOKIE_OFF,        /**< only of addresses that have a session or another half-open handshake */
    IOTSEC_COOKIE_ALWAYS,     /**< of everybody; no state before it */
    IOTSEC_COOKIE_UNDER_LOAD, /**< as OFF, and of everybody while more than `cookie_threshold` handshakes are half open */
    IOTSEC_COOKIE_WHILE_BUSY  /**< as OFF, and of everybody while any handshake is half open */
};

/** Whether hellos have the connection_id extension (RFC 9146). */
enum iotsec_connection_id_policy {
    IOTSEC_CONNECTION_ID_OFF,        /**< not offered, and not answered */
    IOTSEC_CONNECTION_ID_LINK_LOCAL, /**< a client offers it to link-local addresses: the session is to outlive them; a server answers it */
    IOTSEC_CONNECTION_ID_ON          /**< a client offers it always; a server answers it */
};

/** Private: where a peer is: an address or, behind a stateless relay, the relay's address and its opaque header.
 * Has no padding: two paths are the same if all bytes are. */
struct iotsec_dtls_path {
    struct iotsec_addr addr; /**< private */
#if IOTSEC_RELAYED || defined(DOXYGEN)
    uint16_t relayed;        /**< private: 0: not relayed; else the header's length and one more, since a header may be empty */
    uint8_t header[IOTSEC_RELAY_HEADER_MAX]; /**< private: zeros behind it */
#endif
};

/** Bytes that stand for a path: iotsec_dtls_elsewhere. */
#define IOTSEC_PATH_MARK_BYTES 8

/** Private: what the table slots of sessions and handshakes begin with. */
struct iotsec_dtls_slot {
#if IOTSEC_HASH_INDEX || defined(DOXYGEN)
    struct iotsec_link link; /**< private: index by address; outlives the entry */
#endif
    uint32_t handle;         /**< private: the entry's handle, or the next one's; outlives the entry */
#if (IOTSEC_HASH_INDEX && IOTSEC_CONNECTION_ID && IOTSEC_DTLS_SERVER) || defined(DOXYGEN)
    struct iotsec_link cid_link; /**< private: index of sessions by Connection ID; outlives the entry */
#endif
    uint8_t state;           /**< private: 0 while free */
    uint8_t role;            /**< private: of a handshake, 1 if this end is the server */
    uint16_t flags;          /**< private */
};

/* Small members stand first in both: small cores reach them with one instruction. */

/** Private: one established session. Arrays of it are the caller's, see struct iotsec_dtls_config. */
struct iotsec_dtls_session {
    struct iotsec_dtls_slot slot;       /**< private */
    uint32_t peer;                      /**< private */
    uint32_t last_heard;                /**< private: now_ms of the last authenticated record */
    uint32_t last_repeat;               /**< private: when the last flight was repeated */
    uint32_t plain_sequence;            /**< private: next number, epoch 0, for repeats of the last flight */
    uint16_t forgeries;                 /**< private: failed tags */
    uint16_t max_plaintext;             /**< private: limit by max_fragment_length */
    struct iotsec_dtls_path path;       /**< private: stands where a handshake's does */
#if IOTSEC_CONNECTION_ID || defined(DOXYGEN)
    uint8_t peer_cid[1 + IOTSEC_CID_MAX]; /**< private: length, and the Connection ID that the peer wants to see */
#if IOTSEC_DTLS_SERVER || defined(DOXYGEN)
    uint8_t cid[IOTSEC_CID_OWN_BYTES];  /**< private: that this end wants to see, if its flag says so */
#endif
#endif
    struct iotsec_record_key write_key; /**< private */
    struct iotsec_record_key read_key;  /**< private */
    uint32_t hello;                     /**< private: end of the client's random, to know its hello again */
    struct iotsec_replay replay;        /**< private: epoch 1 */
    uint64_t write_sequence;            /**< private: next number, epoch 1 */
    uint8_t finished[IOTSEC_VERIFY_DATA_BYTES]; /**< private: server's verify_data, for repeats */
    uint8_t finished_seq;               /**< private: and its message_seq */
};

/** Private: one handshake in progress. Arrays of it are the caller's, see struct iotsec_dtls_config. */
struct iotsec_dtls_handshake {
    struct iotsec_dtls_slot slot;  /**< private */
    uint8_t rounds;                /**< private: retransmissions of this flight since the last valid answer */
    int8_t hint;                   /**< private: what unauthenticated answers point to, a status */
    uint8_t max_fragment;          /**< private: RFC 6066 code, 0 none */
    uint8_t identity_len;          /**< private */
    uint8_t psk_len;               /**< private */
    uint16_t suite;                /**< private */
    uint16_t offered;              /**< private: bit a row: extensions that the client's hello had */
    uint16_t receive_seq;          /**< private: message_seq expected */
    uint16_t send_seq;             /**< private: message_seq of the next message built */
    uint16_t reassembly_len;       /**< private */
    uint16_t flight_len;           /**< private */
    uint16_t held_len;             /**< private */
    struct iotsec_dtls_path path;  /**< private: stands where a session's does */
#if IOTSEC_CONNECTION_ID || defined(DOXYGEN)
    uint8_t peer_cid[1 + IOTSEC_CID_MAX]; /**< private */
#if IOTSEC_DTLS_SERVER || defined(DOXYGEN)
    uint8_t cid[IOTSEC_CID_OWN_BYTES]; /**< private */
#endif
#endif
    uint32_t peer;                 /**< private */
    uint32_t ends_at;              /**< private: the deadline */
    uint32_t retransmit_at;        /**< private */
    uint32_t retransmit_wait;      /**< private */
    uint32_t last_sent;            /**< private: when the flight left last */
    uint32_t last_alert;           /**< private: when a plaintext alert left last */
    uint32_t bytes_in;             /**< private: for the amplification limit */
    uint32_t bytes_out;            /**< private */
    uint32_t plain_sequence;       /**< private: next number, epoch 0 */
    uint32_t write_sequence;       /**< private: next number, epoch 1 */
    const uint8_t *identity;       /**< private: client, the caller's; server, behind the Finished in `flight` */
    const uint8_t *psk;            /**< private: client, the caller's */
    uint8_t client_random[IOTSEC_RANDOM_BYTES]; /**< private */
    union {
        struct {
            struct iotsec_sha256 transcript; /**< private: running hash of the handshake messages */
            uint8_t server_random[IOTSEC_RANDOM_BYTES]; /**< private */
        } open;                    /**< private: until ClientKeyExchange */
        struct {
            struct iotsec_record_key write_key; /**< private */
            struct iotsec_record_key read_key;  /**< private */
            uint8_t expected[IOTSEC_VERIFY_DATA_BYTES]; /**< private: the peer's verify_data */
            uint64_t sequence; /**< private: of the record in which it came */
#if IOTSEC_PAIRWISE || defined(DOXYGEN)
            uint8_t exported[IOTSEC_EXPORTED_BYTES]; /**< private: keying material */
#endif
        } keyed;                   /**< private: after it; the master secret itself is never kept */
    } u;                           /**< private */
    uint8_t scratch[IOTSEC_HANDSHAKE_SCRATCH_BYTES]; /**< private: plugged-in extensions' */
    uint8_t flight[IOTSEC_FLIGHT_BYTES]; /**< private: messages of the last flight, to repeat */
    uint8_t reassembly[IOTSEC_REASSEMBLY_BYTES]; /**< private: messages in pieces; at its end, one record of the next epoch */
};

/** How an endpoint is set up. Constant during the context's life and owned by the caller; 0 takes the default. */
struct iotsec_dtls_config {
    const struct iotsec_hal *hal;                   /**< the platform */
    const struct iotsec_dtls_callbacks *callbacks;  /**< the application */
    void *user;                                     /**< handed to the callbacks and to the extensions */
    struct iotsec_dtls_session *sessions;           /**< storage; the endpoint's until iotsec_dtls_wipe */
    struct iotsec_dtls_handshake *handshakes;       /**< storage; the endpoint's until iotsec_dtls_wipe */
    const struct iotsec_dtls_extension *extensions; /**< plugged-in extensions, or NULL */
    uint8_t *tx;                                    /**< storage for one outgoing datagram */
    size_t tx_size;                                 /**< its bytes, 256 or more, not below IOTSEC_HELD_RECORD_BYTES and 100 + IOTSEC_CID_MAX; bounds what iotsec_dtls_send takes */
    uint16_t session_count;                         /**< 1 to 65534 */
    uint16_t handshake_count;                       /**< 1 to 65534 */
    uint16_t extension_count;                       /**< at most 8 */
    uint16_t link_payload;                          /**< UDP payload bytes up to which records are packed into one datagram; 0: tx_size. One record may exceed it */
    uint16_t cookie_threshold;                      /**< for IOTSEC_COOKIE_UNDER_LOAD; 0: half of handshake_count */
    uint8_t cookie_policy;                          /**< enum iotsec_cookie_policy */
    uint8_t require_extended_master_secret;         /**< 1: refuse peers without RFC 7627 (IOTSEC_ERR_NO_EMS) */
    uint8_t require_renegotiation_info;             /**< 1: refuse peers without RFC 5746 signalling */
    uint8_t refuse_plain_hello;                     /**< 1: a server refuses hellos without any extension */
    uint8_t connection_id;                          /**< enum iotsec_connection_id_policy */
    uint8_t relayed;                                /**< 1: a server takes datagrams that stateless relays have wrapped (docs/protocol.md, section 12) and answers in kind; 0: they are dropped */
#if IOTSEC_PAIRWISE || defined(DOXYGEN)
    uint8_t tell_strangers;                         /**< 1: a protected record (but an alert or a Finished) from an address with which there is neither a session nor a handshake is answered with a plaintext alert, once a second at most: whoever has lost no session but this end has then finds out */
    uint16_t client_handshakes;                     /**< handshake slots that this end keeps for handshakes which it begins itself, however many hellos come; below handshake_count */
#endif
    uint16_t relay_handshakes;                      /**< half-open handshakes that one relay's address may have; 0: half of handshake_count, at least 1 */
    uint8_t key_management;                         /**< 1: content types 28 and 29 are handed to `receive`; 0: they are dropped */
    uint8_t suites;                                 /**< bit 0: CCM_8, bit 1: CCM; 0: CCM_8 alone. A server takes the client's first that is enabled */
    uint8_t max_fragment_length;                    /**< RFC 6066 code (1: 512, 2: 1024, 3: 2048, 4: 4096) that a client asks for; 0: none */
    uint32_t retransmit_initial_ms;                 /**< 0: IOTSEC_RETRANSMIT_INITIAL_MS */
    uint32_t retransmit_max_ms;                     /**< 0: IOTSEC_RETRANSMIT_MAX_MS */
    uint32_t handshake_timeout_ms;                  /**< 0: IOTSEC_HANDSHAKE_TIMEOUT_MS */
    uint32_t half_open_timeout_ms;                  /**< 0: IOTSEC_HALF_OPEN_TIMEOUT_MS */
    uint32_t idle_timeout_ms;                       /**< sessions without an authenticated record for this long are closed; 0: never. No time here reaches 2^31 */
};

/** One endpoint. Members are private but for `stats`. */
struct iotsec_dtls {
    const struct iotsec_dtls_config *config; /**< private */
    struct iotsec_dtls_path tx_path; /**< private: where the datagram under construction goes */
#if (IOTSEC_CONNECTION_ID && IOTSEC_DTLS_SERVER) || defined(DOXYGEN)
    const struct iotsec_dtls_path *elsewhere; /**< private: during input, where the record of `moved` came from; NULL: from its session's own path */
    const struct iotsec_dtls_path *moved_to; /**< private: the same, if the record is the newest of its session; else NULL */
    iotsec_dtls_handle moved;       /**< private: the session of that record */
    uint32_t moved_allowance;       /**< private: bytes that may go there */
#endif
#if IOTSEC_CONNECTION_ID || defined(DOXYGEN)
    const struct iotsec_dtls_path *from; /**< private: during input, where the record at hand came from */
    iotsec_dtls_handle readdressed; /**< private: during input, its session, if it was readdressed meanwhile */
#endif
    iotsec_dtls_handle opened;      /**< private: during input, the session that a record was just opened with */
    uint8_t *content;               /**< private: and what was in it */
    uint16_t content_len;           /**< private */
    uint8_t content_type;           /**< private */
    size_t tx_len;                  /**< private */
    uint32_t hash_seed;             /**< private */
    uint32_t first_wait;            /**< private: how long the next handshake waits before it repeats its first flight; 0: the default. A server for which it is set has enough to do, and begins few at a time */
    uint16_t sessions_used;         /**< private */
    uint16_t handshakes_used;       /**< private */
#if IOTSEC_HASH_INDEX || defined(DOXYGEN)
    uint16_t free_slot[2];          /**< private: heads of the lists of free slots */
#endif
    uint16_t half_open;             /**< private: handshakes in which this end is the server */
    uint16_t idle_hand;             /**< private: next session to look at for idleness */
    uint8_t busy;                   /**< private: inside input or poll */
    uint8_t ready;                  /**< private: a handshake goes on between two records */
#if IOTSEC_PAIRWISE || defined(DOXYGEN)
    uint32_t told_at;               /**< private: when a stranger was told last */
#endif
#if IOTSEC_DTLS_SERVER || defined(DOXYGEN)
    uint8_t cookie_secret[32];      /**< private */
#endif
    struct iotsec_stats stats;      /**< drops by reason; read freely */
};

/** Implementation of iotsec_dtls_init; call that. */
enum iotsec_status iotsec_dtls_init_checked(struct iotsec_dtls *dtls, const struct iotsec_dtls_config *config,
                                            uint32_t config_id, size_t session_size, size_t handshake_size);

/**
 * Sets an endpoint up. Nothing is sent.
 * @param dtls storage of the context, the caller's; needs no initialisation
 * @param config kept by pointer; it and what it points to stay valid and unchanged until iotsec_dtls_wipe
 * @retval IOTSEC_OK ready
 * @retval IOTSEC_ERR_ARGUMENT a pointer that must not be NULL is, or a number is out of its range
 * @retval IOTSEC_ERR_CONFIG the caller was compiled with another configuration than the library
 * @retval IOTSEC_ERR_RANDOM no random numbers for the cookie secret
 */
static inline enum iotsec_status iotsec_dtls_init(struct iotsec_dtls *dtls, const struct iotsec_dtls_config *config)
{
    return iotsec_dtls_init_checked(dtls, config, IOTSEC_CONFIG_ID, sizeof(struct iotsec_dtls_session),
                                    sizeof(struct iotsec_dtls_handshake));
}

/**
 * Forgets everything: wipes every session, handshake and key. Nothing is sent and no callback runs.
 * @param dtls an initialised context; may be initialised again afterwards
 */
void iotsec_dtls_wipe(struct iotsec_dtls *dtls);

#if IOTSEC_DTLS_CLIENT || defined(DOXYGEN)
/**
 * Starts a handshake as client; the ClientHello leaves before the call returns. Ends in one `established` or `failed`.
 * A session with that address stays usable until the new Finished is verified.
 *
 * What the other end begins at the same time is a handshake of its own. If both complete, each replaces the other's session,
 * not always in the same order at the two ends, which then hold different ones. So of two ends that are client and server
 * to one another one has to give way: IOTSEC_ERR_AGAIN of an extension's `parse`, iotsec_dtls_incoming, iotsec_dtls_cancel.
 * @param dtls an initialised context
 * @param to the server's unicast address; copied
 * @param identity PSK identity, any bytes; not copied: stays valid until the handshake has ended
 * @param identity_len 1 to IOTSEC_IDENTITY_MAX
 * @param psk the key; not copied: stays valid until the handshake has ended. NULL: `client_psk` is asked for it
 * @param psk_len 16 to IOTSEC_PSK_MAX; 0 if psk is NULL
 * @param peer the application's number for this peer
 * @param handshake set to the handshake's handle; may be NULL
 * @retval IOTSEC_OK started (a failed send counts as a loss)
 * @retval IOTSEC_ERR_ARGUMENT a length is out of range or the address is multicast
 * @retval IOTSEC_ERR_EXISTS a handshake as client with that address is in progress
 * @retval IOTSEC_ERR_FULL no free handshake slot, not even by ending the oldest half-open handshake as server
 *         whose address has proved nothing (its `failed` then runs inside this call)
 * @retval IOTSEC_ERR_BUFFER the hello with its plugged-in extensions exceeds IOTSEC_FLIGHT_BYTES or tx_size
 * @retval IOTSEC_ERR_RANDOM no random numbers
 * @retval IOTSEC_ERR_CRYPTO the HAL failed
 * Section: RFC 6347, 4.2; RFC 4279, 2.
 */
enum iotsec_status iotsec_dtls_connect(struct iotsec_dtls *dtls, const struct iotsec_addr *to, const uint8_t *identity,
                                       size_t identity_len, const uint8_t *psk, size_t psk_len, uint32_t peer,
                                       iotsec_dtls_handle *handshake);
#endif

#if IOTSEC_PAIRWISE || defined(DOXYGEN)
/**
 * What the plugged-in extensions keep of a handshake: the `scratch` of struct iotsec_dtls_hello.
 * @param dtls an initialised context
 * @param handshake a handshake in progress; in `psk`, say
 * @return its IOTSEC_HANDSHAKE_SCRATCH_BYTES, to be read and written until the next call on the context; NULL if there is
 *         no such handshake
 */
uint8_t *iotsec_dtls_scratch(const struct iotsec_dtls *dtls, iotsec_dtls_handle handshake);

/**
 * The handshake that a client at an address has begun with this end, not one behind a stateless relay.
 * @param dtls an initialised context
 * @param addr the client's address
 * @param proved set to 1 if it has shown that it receives at that address, by a cookie, else 0; may be NULL. What else
 *        comes before its Finished shows nothing: anybody can have sent it blindly
 * @return its handle, or 0
 */
iotsec_dtls_handle iotsec_dtls_incoming(const struct iotsec_dtls *dtls, const struct iotsec_addr *addr, int *proved);
#endif

#if IOTSEC_DTLS_SERVER || defined(DOXYGEN)
/**
 * Answers a PSK look-up that was pending. May run callbacks and send. A Finished that came meanwhile is taken by the next
 * iotsec_dtls_poll (or iotsec_dtls_input), which is due at once.
 * @param dtls an initialised context
 * @param handshake the handle that the look-up was called with
 * @param status IOTSEC_OK, IOTSEC_ERR_UNKNOWN_IDENTITY, or another failure that ends the handshake
 * @param psk the key if status is IOTSEC_OK; copied, the caller wipes its own
 * @retval IOTSEC_OK taken
 * @retval IOTSEC_ERR_NOT_FOUND the handshake has ended meanwhile
 * @retval IOTSEC_ERR_STATE that handshake waits for no answer
 * @retval IOTSEC_ERR_ARGUMENT the key's length is out of range
 */
enum iotsec_status iotsec_dtls_psk_complete(struct iotsec_dtls *dtls, iotsec_dtls_handle handshake, enum iotsec_status status,
                                            const struct iotsec_dtls_psk *psk);
#endif

/**
 * Takes a datagram that arrived at the endpoint's unicast address. With `relayed`, it may be one that a stateless
 * relay has wrapped: its first byte tells.
 * @param dtls an initialised context
 * @param from the sender's address
 * @param datagram the bytes; decrypted in place
 * @param len their number
 * @retval IOTSEC_OK at least one record was used
 * @retval IOTSEC_ERR_DECODE, IOTSEC_ERR_AUTH, IOTSEC_ERR_REPLAY, IOTSEC_ERR_EPOCH, IOTSEC_ERR_UNEXPECTED,
 *         IOTSEC_ERR_FULL every record was dropped; the value names the last one's reason, the counters all of them.
 *         The context is as it was.
 */
enum iotsec_status iotsec_dtls_input(struct iotsec_dtls *dtls, const struct iotsec_addr *from, uint8_t *datagram, size_t len);

/**
 * Does what is due: retransmissions, deadlines, idle sessions. Call it when the time it returned last
 * has passed, and after every other call on the context (which may have set an earlier deadline).
 * @param dtls an initialised context
 * @return milliseconds until it wants to be called again, UINT32_MAX for never
 */
uint32_t iotsec_dtls_poll(struct iotsec_dtls *dtls);

/**
 * Protects a message for a session and appends it to the datagram under construction.
 * @param dtls an initialised context
 * @param session an established session
 * @param type content type: 23, or 28 and 29 for key management
 * @param data the content; not kept
 * @param len its length: at most tx_size less the record's overhead, and the peer's max_fragment_length
 * @retval IOTSEC_OK appended; it leaves at the next flush. (While iotsec_dtls_moved says yes: or dropped, because it would
 *         exceed three times the bytes that came from there; a loss like any other, counted as IOTSEC_DROP_AMPLIFICATION)
 * @retval IOTSEC_ERR_NOT_FOUND no such session
 * @retval IOTSEC_ERR_TOO_LONG more than a record to this peer may hold
 * @retval IOTSEC_ERR_COUNTER no sequence number is left; the session ends
 * @retval IOTSEC_ERR_CRYPTO the HAL failed; the sequence number is spent
 */
enum iotsec_status iotsec_dtls_send(struct iotsec_dtls *dtls, iotsec_dtls_handle session, uint8_t type, const uint8_t *data,
                                    size_t len);

/**
 * Sends the datagram under construction, if there is one.
 * @param dtls an initialised context
 * @retval IOTSEC_OK sent, or there was none
 * @retval IOTSEC_ERR_SEND the HAL dropped it
 */
enum iotsec_status iotsec_dtls_flush(struct iotsec_dtls *dtls);

/**
 * Ends a session with a protected alert and forgets it. No callback runs.
 * @param dtls an initialised context
 * @param session an established session
 * @param alert IOTSEC_ALERT_CLOSE_NOTIFY, or the description of a fatal alert
 * @retval IOTSEC_OK closed; the alert leaves at the next flush
 * @retval IOTSEC_ERR_NOT_FOUND no such session
 */
enum iotsec_status iotsec_dtls_close(struct iotsec_dtls *dtls, iotsec_dtls_handle session, uint8_t alert);

/**
 * Gives a handshake up and forgets it. Nothing is sent and no callback runs.
 * @param dtls an initialised context
 * @param handshake a handshake in progress
 * @retval IOTSEC_OK forgotten
 * @retval IOTSEC_ERR_NOT_FOUND no such handshake
 */
enum iotsec_status iotsec_dtls_cancel(struct iotsec_dtls *dtls, iotsec_dtls_handle handshake);

#if (IOTSEC_CONNECTION_ID && IOTSEC_DTLS_SERVER) || defined(DOXYGEN)
/**
 * Whether the record that is being handed to `receive` came from another address than its session's, and is the
 * newest of the session. Then what is sent to the session before `receive` returns goes to that address, at most
 * three times the bytes that came from it; everything later goes to the session's address, as before, until
 * iotsec_dtls_move.
 * @param dtls an initialised context
 * @param session the session that `receive` was called with
 * @return 1 if so, 0 otherwise
 * Section: RFC 9146, 6.
 */
int iotsec_dtls_moved(const struct iotsec_dtls *dtls, iotsec_dtls_handle session);

/**
 * Whether the record that is being handed to `receive` came from another address than its session's, the newest or not,
 * and from which: a mark that is the same for the same address, or relay and header, as long as the context lives.
 * Nobody else can tell which address has which mark.
 * @param dtls an initialised context
 * @param session the session that `receive` was called with
 * @param mark set to the mark; may be NULL
 * @retval IOTSEC_OK it came from another address
 * @retval IOTSEC_ERR_STATE it came from its session's own, or no record of that session is at hand
 * @retval IOTSEC_ERR_CRYPTO the HAL failed
 */
enum iotsec_status iotsec_dtls_elsewhere(const struct iotsec_dtls *dtls, iotsec_dtls_handle session,
                                         uint8_t mark[IOTSEC_PATH_MARK_BYTES]);

/**
 * Makes the address of the record that is being handed to `receive` the session's. Call it only when the record
 * shows that the peer receives what is sent there: because it answers something that went to no other address.
 * @param dtls an initialised context
 * @param session the session that `receive` was called with
 * @retval IOTSEC_OK moved; its handle stays
 * @retval IOTSEC_ERR_STATE iotsec_dtls_moved says no
 * @retval IOTSEC_ERR_NOT_FOUND no such session
 * @retval IOTSEC_ERR_EXISTS another session has that address; nothing changed
 * Section: RFC 9146, 6.
 */
enum iotsec_status iotsec_dtls_move(struct iotsec_dtls *dtls, iotsec_dtls_handle session);
#endif

#if IOTSEC_CONNECTION_ID || defined(DOXYGEN)
/**
 * From now on speaks to a session's peer at another address: after a join through a relay, at the manager's own.
 * Of use only where the peer knows the session by a Connection ID.
 * @param dtls an initialised context
 * @param session an established session
 * @param addr the peer's unicast address; copied
 * @retval IOTSEC_OK done; nothing is sent
 * @retval IOTSEC_ERR_ARGUMENT the address is multicast
 * @retval IOTSEC_ERR_NOT_FOUND no such session
 * @retval IOTSEC_ERR_STATE the session has no Connection ID that the peer would know it by
 * @retval IOTSEC_ERR_EXISTS another session has that address; nothing changed
 */
enum iotsec_status iotsec_dtls_readdress(struct iotsec_dtls *dtls, iotsec_dtls_handle session, const struct iotsec_addr *addr);
#endif

/**
 * The session with an address, not one behind a stateless relay. Takes constant time on average.
 * @param dtls an initialised context
 * @param addr the peer's address
 * @return its handle, or 0
 */
iotsec_dtls_handle iotsec_dtls_find(const struct iotsec_dtls *dtls, const struct iotsec_addr *addr);

#if IOTSEC_PAIRWISE || defined(DOXYGEN)
/**
 * How long a message to a session's peer may be so that its datagram fits the link payload.
 * @param dtls an initialised context
 * @param session a handle
 * @return bytes of content, 0 if not one fits or there is no such session
 */
size_t iotsec_dtls_room(const struct iotsec_dtls *dtls, iotsec_dtls_handle session);
#endif

/**
 * The address and number of a session's peer; with IOTSEC_PAIRWISE, of a handshake's too.
 * @param dtls an initialised context
 * @param session a session's handle, or a handshake's
 * @param addr set to the peer's address, or its relay's; may be NULL
 * @param peer set to the application's number; may be NULL
 * @retval IOTSEC_OK found
 * @retval IOTSEC_ERR_NOT_FOUND no such session or handshake
 */
enum iotsec_status iotsec_dtls_peer(const struct iotsec_dtls *dtls, iotsec_dtls_handle session, struct iotsec_addr *addr,
                                    uint32_t *peer);

#ifdef __cplusplus
}
#endif

#endif
