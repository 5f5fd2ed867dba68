/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * The relay element: a joined device that passes a neighbour's join session on to the domain manager, as long as
 * the neighbour has nothing but a link-local address (draft-keoh-lwig-dtls-iot-01, section 4.2 and Figure 2). It
 * reads nothing of what it relays but the first byte, and holds no key of either end.
 *
 * Two modes. *Stateful*: a table says which neighbour stands behind which upstream port; the manager sees ordinary
 * datagrams. *Stateless*: neighbour, port and interface travel to the manager and back in a header that is
 * authenticated under a key of the relay's own, in the message form of draft-ietf-anima-constrained-join-proxy, so
 * that nothing is kept for a joiner, and the join goes on when the relay is restarted in the middle of it.
 *
 * Threads: one context, one thread. Nothing here calls back but `send_up` and `send_down`, which must not call
 * the library.
 */
#ifndef IOTSEC_RELAY_H
#define IOTSEC_RELAY_H

#include <stddef.h>
#include <stdint.h>

#include "config.h"
#include "hal.h"
#include "protocol.h"
#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

/** How a relay keeps its joiners apart. */
enum iotsec_relay_mode {
    IOTSEC_RELAY_STATELESS, /**< by a header that the manager sends back */
    IOTSEC_RELAY_STATEFUL   /**< by a table and one upstream port for each */
};

/** What becomes of an arriving frame's datagram: the draft's Figure 2. */
enum iotsec_relay_verdict {
    IOTSEC_RELAY_NORMAL, /**< it is for this node itself: hand it to its other roles */
    IOTSEC_RELAY_PASS,   /**< relay it */
    IOTSEC_RELAY_DROP    /**< drop it */
};

/** Reasons for a drop; the index into struct iotsec_relay_stats. */
enum iotsec_relay_drop {
    IOTSEC_RELAY_DROP_CLOSED,         /**< joining is closed */
    IOTSEC_RELAY_DROP_NOT_LINK_LOCAL, /**< at the join port, but not from a link-local address */
    IOTSEC_RELAY_DROP_NOT_SECURED,    /**< unsecured, and not to the join port: iotsec_relay_decide's only, so its caller may count it */
    IOTSEC_RELAY_DROP_FORM,           /**< neither a DTLS record (from below) nor a relayed message (from above), or too long */
    IOTSEC_RELAY_DROP_LOOP,           /**< relayed already, or from the manager's address, at the join port: relays pass it round */
    IOTSEC_RELAY_DROP_NEIGHBOUR_RATE, /**< a neighbour sends, or is sent, too much */
    IOTSEC_RELAY_DROP_RATE,           /**< all neighbours together do */
    IOTSEC_RELAY_DROP_FULL,           /**< stateful: no free entry */
    IOTSEC_RELAY_DROP_NOT_MANAGER,    /**< a reply from another address than the manager's */
    IOTSEC_RELAY_DROP_HEADER,         /**< stateless: a reply whose header this relay has not made, or made under a key that is gone */
    IOTSEC_RELAY_DROP_NO_ENTRY,       /**< stateful: a reply for an entry that is gone */
    IOTSEC_RELAY_DROP_SEND,           /**< the port could not send it */
    IOTSEC_RELAY_DROP_CRYPTO,         /**< stateless: the header's MAC could not be computed */
    IOTSEC_RELAY_DROP_COUNT           /**< number of reasons */
};

/** What a relay did. Counters saturate. Read them directly. */
struct iotsec_relay_stats {
    uint32_t up;   /**< datagrams relayed to the manager */
    uint32_t down; /**< datagrams relayed to neighbours */
    uint16_t drops[IOTSEC_RELAY_DROP_COUNT]; /**< drops for each enum iotsec_relay_drop */
};

/** Private: a joiner of a stateful relay. Arrays of it are the caller's; entry i stands for upstream port i. */
struct iotsec_relay_entry {
    struct iotsec_addr neighbour; /**< private */
    uint32_t used_at;             /**< private */
    uint8_t used;                 /**< private */
};

/** Private: what neighbours that share a hash may still send. Arrays of it are the caller's. */
struct iotsec_relay_bucket {
    uint32_t filled_at; /**< private */
    uint32_t tokens[2]; /**< private: up and down, in thousandths */
};

/** The port's functions. Constant, owned by the caller. 0: sent or queued; < 0: dropped. They must not block; `data` is valid during the call. */
struct iotsec_relay_callbacks {
    /**
     * Sends to the manager from a routable address of this node. `slot`: in stateful mode the upstream port to
     * send from, 0 to entry_count - 1, each a UDP port of its own, whose replies iotsec_relay_from_manager gets
     * with the same slot; 0 in stateless mode.
     */
    int (*send_up)(void *user, uint16_t slot, const struct iotsec_addr *to, const uint8_t *data, size_t len);
    /** Sends to a neighbour from the join port, unsecured if its frames were (the port keeps to one way for each neighbour, or sends join-port frames always unsecured). */
    int (*send_down)(void *user, const struct iotsec_addr *to, const uint8_t *data, size_t len);
};

/** How a relay is set up. Constant during its life and owned by the caller; 0 takes the default. */
struct iotsec_relay_config {
    const struct iotsec_hal *hal;                   /**< crypto, random and now_ms; stateless also nvm_read and nvm_write, if it is to outlive a restart */
    const struct iotsec_relay_callbacks *callbacks; /**< the port */
    void *user;                                     /**< handed to the callbacks */
    struct iotsec_addr manager;                     /**< the manager's (or a standard registrar's) unicast address and port, not link-local */
    struct iotsec_relay_entry *entries;             /**< stateful: storage; NULL otherwise */
    struct iotsec_relay_bucket *buckets;            /**< storage; neighbours are spread over them */
    uint8_t *tx;                                    /**< stateless: storage for one outgoing datagram */
    size_t tx_size;                                 /**< its bytes; datagrams that do not fit with IOTSEC_RELAY_OVERHEAD_MAX more are dropped (FORM) */
    uint16_t entry_count;                           /**< stateful: joiners at once, 1 to 1024 */
    uint16_t bucket_count;                          /**< 1 to 65534; 16 do for most */
    uint8_t mode;                                   /**< enum iotsec_relay_mode */
    uint8_t keep_key;                               /**< stateless: 1: the relay key is kept in NVM slot nvm_slot, and joins under way go on after a restart, if the port sends from the same address and port as before; 0: it is new at each start, and joins under way then start again */
    uint16_t nvm_slot;                              /**< slot of 39 bytes, if keep_key is set */
    uint16_t neighbour_rate;                        /**< datagrams a second, each way, of one neighbour; 0: 8 */
    uint16_t neighbour_burst;                       /**< and so many at once; 0: 24 */
    uint16_t rate;                                  /**< datagrams a second, each way, of all; 0: 64 */
    uint16_t burst;                                 /**< and so many at once; 0: 128 */
    uint32_t idle_ms;                               /**< stateful: an entry unused for this long is free; 0: IOTSEC_RELAY_IDLE_MS */
};

/** One relay. Members are private but for `stats`. */
struct iotsec_relay {
    const struct iotsec_relay_config *config; /**< private */
    uint32_t until;               /**< private: when it closes, or may rotate */
    uint32_t seeded_at;           /**< private */
    uint32_t seed;                /**< private: which bucket a neighbour has; changes now and then */
    struct iotsec_relay_bucket all; /**< private */
    uint8_t state;                /**< private */
    uint8_t key_id;               /**< private */
    uint8_t has_previous;         /**< private */
    uint8_t key[IOTSEC_KEY_BYTES]; /**< private: headers are made under it */
    uint8_t previous[IOTSEC_KEY_BYTES]; /**< private: and were made under it before */
    struct iotsec_relay_stats stats; /**< what it did; read freely */
};

/**
 * Figure 2 of the draft as a pure function. Two things are added to the figure: joining can be closed, and frames
 * to the join port are relayed whether secured or not, since a joiner acknowledges its L2 key after it has
 * installed it.
 * @param l2_secured 1 if the frame was secured with the domain's L2 key
 * @param link_local 1 if its source is a link-local address
 * @param join_port 1 if it was sent to the join port
 * @param joining 1 if joining is open
 * @param why set to the reason for a drop; may be NULL
 * @return what becomes of it. Re-entrant.
 */
enum iotsec_relay_verdict iotsec_relay_decide(int l2_secured, int link_local, int join_port, int joining,
                                              enum iotsec_relay_drop *why);

/** Implementation of iotsec_relay_init; call that. */
enum iotsec_status iotsec_relay_init_checked(struct iotsec_relay *relay, const struct iotsec_relay_config *config,
                                             uint32_t config_id, size_t relay_size);

/**
 * Sets a relay up, with joining closed. Nothing is sent.
 * @param relay storage of the context, the caller's; needs no initialisation
 * @param config kept by pointer; it and what it points to stay valid and unchanged until iotsec_relay_wipe
 * @retval IOTSEC_OK ready
 * @retval IOTSEC_ERR_ARGUMENT a pointer that must not be NULL is, a number is out of its range, or the manager's
 *         address is multicast or link-local, or without a port
 * @retval IOTSEC_ERR_CONFIG the caller was compiled with another configuration than the library
 * @retval IOTSEC_ERR_RANDOM no random numbers for the relay key or the buckets' seed
 * @retval IOTSEC_ERR_UNSUPPORTED keep_key is set and the HAL has no NVM
 * @retval IOTSEC_ERR_NVM the new relay key could not be written
 */
static inline enum iotsec_status iotsec_relay_init(struct iotsec_relay *relay, const struct iotsec_relay_config *config)
{
    return iotsec_relay_init_checked(relay, config, IOTSEC_CONFIG_ID, sizeof(struct iotsec_relay));
}

/**
 * Wipes the relay's keys and its table. NVM is left alone.
 * @param relay an initialised relay; may be initialised again afterwards
 */
void iotsec_relay_wipe(struct iotsec_relay *relay);

/**
 * Opens joining, or changes when it closes.
 * @param relay an initialised relay
 * @param seconds from now on; 0: until iotsec_relay_close. At most 1 000 000
 * @retval IOTSEC_OK open
 * @retval IOTSEC_ERR_ARGUMENT too long
 */
enum iotsec_status iotsec_relay_open(struct iotsec_relay *relay, uint32_t seconds);

/**
 * Closes joining: what neighbours send is dropped, and what the manager sends too.
 * @param relay an initialised relay
 */
void iotsec_relay_close(struct iotsec_relay *relay);

/**
 * Whether joining is open.
 * @param relay an initialised relay
 * @return 1 if it is, 0 otherwise
 */
int iotsec_relay_is_open(const struct iotsec_relay *relay);

/**
 * Takes another relay key. Replies to headers that were made under the last one are still passed on.
 * @param relay an initialised relay, stateless
 * @retval IOTSEC_OK done; durable if keep_key is set
 * @retval IOTSEC_ERR_STATE joining is open, or was closed or the relay set up less than IOTSEC_RELAY_IDLE_MS ago: the header
 *         is what the manager knows a joiner by, and joins go on behind a restart
 * @retval IOTSEC_ERR_UNSUPPORTED a stateful relay has no key
 * @retval IOTSEC_ERR_RANDOM no random numbers; nothing changed
 * @retval IOTSEC_ERR_NVM it could not be written; nothing changed
 */
enum iotsec_status iotsec_relay_rotate(struct iotsec_relay *relay);

/**
 * Takes a datagram that arrived at the join port.
 * @param relay an initialised relay
 * @param from the neighbour's address
 * @param l2_secured 1 if its frame was secured with the domain's L2 key, 0 if not or not known
 * @param data the bytes; not changed
 * @param len their number
 * @retval IOTSEC_OK relayed
 * @retval IOTSEC_ERR_UNEXPECTED, IOTSEC_ERR_DECODE, IOTSEC_ERR_AGAIN (a rate), IOTSEC_ERR_FULL, IOTSEC_ERR_SEND,
 *         IOTSEC_ERR_CRYPTO dropped; the counters say why
 */
enum iotsec_status iotsec_relay_from_neighbour(struct iotsec_relay *relay, const struct iotsec_addr *from, int l2_secured,
                                               const uint8_t *data, size_t len);

/**
 * Takes a datagram that arrived at an upstream port.
 * @param relay an initialised relay
 * @param slot the upstream port, as in `send_up`
 * @param from its source: only the manager's is taken
 * @param data the bytes; not changed
 * @param len their number
 * @retval IOTSEC_OK relayed
 * @retval IOTSEC_ERR_UNEXPECTED, IOTSEC_ERR_DECODE, IOTSEC_ERR_AUTH, IOTSEC_ERR_NOT_FOUND, IOTSEC_ERR_AGAIN (a rate),
 *         IOTSEC_ERR_SEND, IOTSEC_ERR_CRYPTO dropped; the counters say why
 */
enum iotsec_status iotsec_relay_from_manager(struct iotsec_relay *relay, uint16_t slot, const struct iotsec_addr *from,
                                             const uint8_t *data, size_t len);

/**
 * Does what is due: closes joining, frees idle entries.
 * @param relay an initialised relay
 * @return milliseconds until it wants to be called again, UINT32_MAX for never
 */
uint32_t iotsec_relay_poll(struct iotsec_relay *relay);

/**
 * A reason's name without its prefix in lower case, for logs: "neighbour_rate".
 * @param drop any value
 * @return a constant string; "unknown" for a value that is not listed. Never NULL. Re-entrant.
 */
const char *iotsec_relay_drop_name(enum iotsec_relay_drop drop);

#ifdef __cplusplus
}
#endif

#endif
