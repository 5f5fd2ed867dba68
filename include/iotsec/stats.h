/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * Why something that arrived was dropped. Every drop is counted under exactly one reason.
 */
#ifndef IOTSEC_STATS_H
#define IOTSEC_STATS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Reasons for a drop; the index into struct iotsec_stats. */
enum iotsec_drop {
    IOTSEC_DROP_MALFORMED,      /**< header, length or message that does not parse */
    IOTSEC_DROP_VERSION,        /**< another protocol version */
    IOTSEC_DROP_NO_SESSION,     /**< protected record from an address without a session */
    IOTSEC_DROP_EPOCH,          /**< epoch without a key */
    IOTSEC_DROP_AUTH,           /**< wrong tag: forged, or sealed with another key */
    IOTSEC_DROP_REPLAY,         /**< seen before or below the window */
    IOTSEC_DROP_UNEXPECTED,     /**< a message that may not come now */
    IOTSEC_DROP_PLAINTEXT,      /**< plaintext where only protected records are taken */
    IOTSEC_DROP_COOKIE,         /**< hello with a cookie that is not ours, or stale */
    IOTSEC_DROP_NO_ROOM,        /**< no free handshake, session, reassembly or sender slot */
    IOTSEC_DROP_AMPLIFICATION,  /**< the answer would have exceeded three times the bytes received */
    IOTSEC_DROP_TOO_LONG,       /**< longer than this build takes */
    IOTSEC_DROP_MULTICAST,      /**< anything but a group record sent to a multicast address */
    IOTSEC_DROP_NO_GROUP,       /**< group record for a group that is not installed */
    IOTSEC_DROP_UNKNOWN_SENDER, /**< group record of a sender for whom no slot is free */
    IOTSEC_DROP_BEHIND,         /**< group record under a step that is no longer held */
    IOTSEC_DROP_UNREACHABLE,    /**< group record under a generation or step that cannot be derived */
    IOTSEC_DROP_OWN,            /**< group record with our own sender ID */
    IOTSEC_DROP_RELAY,          /**< a relayed datagram whose form is not known, or a hello behind a relay that has too many half-open handshakes */
    IOTSEC_DROP_NOT_ALLOWED,    /**< authenticated, but not a content type or message for this session */
    IOTSEC_DROP_COUNT           /**< number of reasons */
};

/** Counters, one for each reason; they saturate. Read them directly. */
struct iotsec_stats {
    uint16_t drops[IOTSEC_DROP_COUNT]; /**< drops for each enum iotsec_drop */
};

/**
 * A reason's name without its prefix in lower case, for logs: "no_session".
 * @param drop any value
 * @return a constant string; "unknown" for a value that is not listed. Never NULL. Re-entrant.
 */
const char *iotsec_drop_name(enum iotsec_drop drop);

#ifdef __cplusplus
}
#endif

#endif
