/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * What a call or an event can say. Zero is success and nothing else; every failure that a caller
 * could tell apart has a value of its own.
 */
#ifndef IOTSEC_STATUS_H
#define IOTSEC_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

/** Outcome of a call, or the reason in an event. */
enum iotsec_status {
    IOTSEC_OK = 0,                      /**< Done. */

    /* The caller's side */
    IOTSEC_ERR_ARGUMENT = -1,           /**< A parameter is NULL, out of range or contradicts another. */
    IOTSEC_ERR_CONFIG = -2,             /**< Caller and library were compiled with different configurations. */
    IOTSEC_ERR_STATE = -3,              /**< The call does not fit what the context is doing now. */
    IOTSEC_ERR_BUFFER = -4,             /**< The output does not fit the caller's buffer. */
    IOTSEC_ERR_TOO_LONG = -5,           /**< The data is longer than one record or group message may be. */
    IOTSEC_ERR_NOT_FOUND = -6,          /**< No session, group, device or member of that name. */
    IOTSEC_ERR_EXISTS = -7,             /**< It is there already. */
    IOTSEC_ERR_FULL = -8,               /**< A table that the caller sized has no free slot. */
    IOTSEC_ERR_AGAIN = -9,              /**< A queue is full or a limit on rate holds; try later. */
    IOTSEC_ERR_PENDING = -10,           /**< The answer comes later, by the completing call. */
    IOTSEC_ERR_UNSUPPORTED = -11,       /**< Compiled out, or not offered by this port. */

    /* The platform's side */
    IOTSEC_ERR_CRYPTO = -20,            /**< A crypto operation of the HAL failed. */
    IOTSEC_ERR_RANDOM = -21,            /**< The HAL has no random numbers. */
    IOTSEC_ERR_SEND = -22,              /**< The HAL could not send. */
    IOTSEC_ERR_NVM = -23,               /**< Non-volatile memory could not be read or written. */
    IOTSEC_ERR_REGISTRY = -24,          /**< The registry refused a transaction; nothing was changed. */
    IOTSEC_ERR_L2 = -25,                /**< The link layer refused a key. */

    /* What arrived */
    IOTSEC_ERR_DECODE = -40,            /**< Malformed. */
    IOTSEC_ERR_AUTH = -41,              /**< The authentication tag is wrong. */
    IOTSEC_ERR_REPLAY = -42,            /**< Seen before, or older than the replay window. */
    IOTSEC_ERR_EPOCH = -43,             /**< No key for that epoch. */
    IOTSEC_ERR_UNEXPECTED = -44,        /**< Well formed, but not allowed now. */
    IOTSEC_ERR_COUNTER = -45,           /**< A sequence counter has reached its limit; it never wraps. */

    /* How a handshake or a join ends */
    IOTSEC_ERR_WRONG_PSK = -60,         /**< The peer's key for this identity is another one, or it does not know the identity (the wire does not tell). */
    IOTSEC_ERR_UNKNOWN_IDENTITY = -61,  /**< Server: no PSK for the identity that the peer sent. */
    IOTSEC_ERR_NOT_AUTHORISED = -62,    /**< Authenticated, but not admitted to the domain. */
    IOTSEC_ERR_GROUP_REFUSED = -63,     /**< Admitted to the domain, but not to this group. */
    IOTSEC_ERR_NO_ANSWER = -64,         /**< Nothing came back in the configured time. */
    IOTSEC_ERR_PROTOCOL = -65,          /**< The peer broke the protocol. */
    IOTSEC_ERR_RESOURCES = -66,         /**< One of the two ends has no room for the session. */
    IOTSEC_ERR_TIMEOUT = -67,           /**< Server: a half-open handshake reached its deadline. */
    IOTSEC_ERR_NO_CIPHER = -68,         /**< No cipher suite in common. */
    IOTSEC_ERR_VERSION = -69,           /**< The peer does not speak DTLS 1.2. */
    IOTSEC_ERR_NO_EMS = -70,            /**< Policy asks for extended master secret and the peer has none. */
    IOTSEC_ERR_NO_RENEGOTIATION_INFO = -71, /**< Policy asks for RFC 5746 signalling and the peer has none. */
    IOTSEC_ERR_NO_KEY_MANAGEMENT = -72, /**< The peer is a DTLS server, but no domain manager. */
    IOTSEC_ERR_CLOSED = -73,            /**< The peer closed the session. */
    IOTSEC_ERR_REPLACED = -74,          /**< A newer handshake of the same peer took the session's place. */
    IOTSEC_ERR_ALERT = -75,             /**< The peer ended the session with a fatal alert. */
    IOTSEC_ERR_CANCELLED = -76,         /**< The application gave up. */
    IOTSEC_ERR_PEER_IDENTITY = -77,     /**< Another device sits at that address than the expected one, or a hello and its PSK identity name different ones. */
    IOTSEC_ERR_GENERATION = -78,        /**< The two devices' shares are of different polynomials. */

    /* Membership */
    IOTSEC_ERR_EVICTED = -80,           /**< The domain manager has evicted this device. */
    IOTSEC_ERR_LEFT = -81,              /**< Left at the member's own request. */
    IOTSEC_ERR_KEY_CONFLICT = -82,      /**< Two different keys under one key number. */
    IOTSEC_ERR_FORGERIES = -83,         /**< So many forged records were seen under one key that it should be renewed. */
    IOTSEC_ERR_REVOKED = -84,           /**< That device was evicted from the domain: no session before the polynomial is renewed. */
    IOTSEC_ERR_NO_SHARE = -85,          /**< This device holds no share of the domain's polynomial (yet). */
    IOTSEC_ERR_DEGREE = -86             /**< The polynomial's degree is beyond what this end has room for, or a share contradicts its degree. */
};

/**
 * A status' name without its prefix, for logs: "WRONG_PSK".
 * @param status any value
 * @return a constant string; "UNKNOWN" for a value that is not listed. Never NULL. Re-entrant.
 */
const char *iotsec_status_name(enum iotsec_status status);

#ifdef __cplusplus
}
#endif

#endif
