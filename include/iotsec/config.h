/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * Compile-time limits and features.
 *
 * Every value has a default here and can be set on the compiler's command line, in the file that
 * IOTSEC_CONFIG_FILE names (read instead of the library's own build_config.h) or in the one that
 * IOTSEC_USER_CONFIG_FILE names (read after it). Values that change the layout of a public
 * structure enter IOTSEC_CONFIG_ID; every `_init` refuses a caller that was compiled with another
 * one (IOTSEC_ERR_CONFIG) instead of overrunning its storage.
 */
#ifndef IOTSEC_CONFIG_H
#define IOTSEC_CONFIG_H

#if defined(IOTSEC_CONFIG_FILE)
#include IOTSEC_CONFIG_FILE
#elif defined(__has_include)
#if __has_include(<iotsec/build_config.h>)
#include <iotsec/build_config.h>
#endif
#endif
#if defined(IOTSEC_USER_CONFIG_FILE)
#include IOTSEC_USER_CONFIG_FILE
#endif

/* ---- Roles and features: 1 compiles them in, 0 leaves them out ---- */

/** The joining device: include/iotsec/device.h. Needs the DTLS client. */
#ifndef IOTSEC_ROLE_DEVICE
#define IOTSEC_ROLE_DEVICE 1
#endif

/** The domain manager: include/iotsec/manager.h. Needs the DTLS server. */
#ifndef IOTSEC_ROLE_MANAGER
#define IOTSEC_ROLE_MANAGER 1
#endif

/** The relay element: include/iotsec/relay.h. Needs neither of the other roles. */
#ifndef IOTSEC_ROLE_RELAY
#define IOTSEC_ROLE_RELAY 1
#endif

/** The client half of the handshake (iotsec_dtls_connect). */
#ifndef IOTSEC_DTLS_CLIENT
#define IOTSEC_DTLS_CLIENT 1
#endif

/** The server half of the handshake: answers hellos. */
#ifndef IOTSEC_DTLS_SERVER
#define IOTSEC_DTLS_SERVER 1
#endif

/** Sessions and handshakes are found through a hash index (1), as who serves many peers needs it, or by looking at each (0). */
#ifndef IOTSEC_HASH_INDEX
#define IOTSEC_HASH_INDEX IOTSEC_DTLS_SERVER
#endif

/** TLS_PSK_WITH_AES_128_CCM (0xC0A4, 16-byte tag) beside TLS_PSK_WITH_AES_128_CCM_8 (0xC0A8). */
#ifndef IOTSEC_SUITE_CCM
#define IOTSEC_SUITE_CCM 1
#endif

/** The max_fragment_length extension (RFC 6066, section 4). */
#ifndef IOTSEC_MAX_FRAGMENT_LENGTH
#define IOTSEC_MAX_FRAGMENT_LENGTH 1
#endif

/** Connection IDs (RFC 9146): a session goes on when the client's address changes. */
#ifndef IOTSEC_CONNECTION_ID
#define IOTSEC_CONNECTION_ID 1
#endif

/** A server takes datagrams that a stateless relay has wrapped. Costs 34 bytes a session and handshake. */
#ifndef IOTSEC_RELAYED
#define IOTSEC_RELAYED IOTSEC_ROLE_MANAGER
#endif

/** Access parameters: link-layer key, PAN ID, short address, prefix (both roles), and the move to one's own address. */
#ifndef IOTSEC_ACCESS
#define IOTSEC_ACCESS 1
#endif

/** Pairwise keys: shares of a polynomial (both roles), and sessions between devices. A device needs the DTLS server for it. */
#ifndef IOTSEC_PAIRWISE
#define IOTSEC_PAIRWISE IOTSEC_DTLS_SERVER
#endif

/** The NSS key log callback. Even when compiled in, it is off until a callback is set. */
#ifndef IOTSEC_KEYLOG
#define IOTSEC_KEYLOG 1
#endif

/** Storing group keys in NVM (struct iotsec_device_config, `persist`). */
#ifndef IOTSEC_PERSIST
#define IOTSEC_PERSIST 1
#endif

/* ---- Crypto storage ---- */

/** Bytes of a crypto provider's expanded AES-128 key; a provider checks that it fits. */
#ifndef IOTSEC_AES_CONTEXT_BYTES
#define IOTSEC_AES_CONTEXT_BYTES 288
#endif

/** Bytes of a crypto provider's SHA-256 state; a provider checks that it fits. */
#ifndef IOTSEC_SHA256_CONTEXT_BYTES
#define IOTSEC_SHA256_CONTEXT_BYTES 112
#endif

/* ---- Sizes ---- */

/** Longest PSK identity in bytes (RFC 7925, section 4.2 asks for 128). */
#ifndef IOTSEC_IDENTITY_MAX
#define IOTSEC_IDENTITY_MAX 128
#endif

/** Longest PSK in bytes (RFC 7925, section 4.2 asks for 64). */
#ifndef IOTSEC_PSK_MAX
#define IOTSEC_PSK_MAX 64
#endif

/** Bytes that a handshake keeps of the flight it may have to repeat, without record headers. */
#ifndef IOTSEC_FLIGHT_BYTES
#define IOTSEC_FLIGHT_BYTES 320
#endif

/** Bytes for handshake messages that arrive in fragments or out of order, 12 and a bitmap for each included, and for one
 * record of the next epoch. */
#ifndef IOTSEC_REASSEMBLY_BYTES
#define IOTSEC_REASSEMBLY_BYTES 512
#endif

/** Handshake messages that may wait at once: the one expected next and those behind it. */
#ifndef IOTSEC_REASSEMBLY_MESSAGES
#define IOTSEC_REASSEMBLY_MESSAGES 4
#endif

/** Longest record of the next epoch, header included, that a handshake holds until it has keys. */
#ifndef IOTSEC_HELD_RECORD_BYTES
#define IOTSEC_HELD_RECORD_BYTES 96
#endif

/** Longest Connection ID in bytes that is written into records to a peer which asked for it. */
#ifndef IOTSEC_CID_MAX
#define IOTSEC_CID_MAX 8
#endif

/** Bytes a plugged-in extension may keep in a handshake until Finished. */
#ifndef IOTSEC_HANDSHAKE_SCRATCH_BYTES
#define IOTSEC_HANDSHAKE_SCRATCH_BYTES 24
#endif

/** Groups that one group_request may name. */
#ifndef IOTSEC_GROUPS_PER_HELLO
#define IOTSEC_GROUPS_PER_HELLO 8
#endif

/** Coefficients that a manager sends in one SHARE message at most; fewer where the link payload says so. */
#ifndef IOTSEC_SHARE_CHUNK_MAX
#define IOTSEC_SHARE_CHUNK_MAX 8
#endif

/** Longest application payload of one group message in bytes. */
#ifndef IOTSEC_GROUP_PAYLOAD_MAX
#define IOTSEC_GROUP_PAYLOAD_MAX 1024
#endif

/** Longest content of one unicast record in bytes. */
#ifndef IOTSEC_RECORD_PAYLOAD_MAX
#define IOTSEC_RECORD_PAYLOAD_MAX 16384
#endif

/* ---- Checks ---- */

#if IOTSEC_IDENTITY_MAX < 1 || IOTSEC_IDENTITY_MAX > 255
#error "IOTSEC_IDENTITY_MAX must be 1..255"
#endif
#if IOTSEC_PSK_MAX < 16 || IOTSEC_PSK_MAX > 255
#error "IOTSEC_PSK_MAX must be 16..255"
#endif
#if IOTSEC_FLIGHT_BYTES < 160 || IOTSEC_FLIGHT_BYTES > 4096
#error "IOTSEC_FLIGHT_BYTES must be 160..4096"
#endif
#if IOTSEC_FLIGHT_BYTES < IOTSEC_IDENTITY_MAX + 38
#error "IOTSEC_FLIGHT_BYTES must hold ClientKeyExchange and Finished: IOTSEC_IDENTITY_MAX + 38"
#endif
#if IOTSEC_REASSEMBLY_BYTES < 160 || IOTSEC_REASSEMBLY_BYTES > 4096
#error "IOTSEC_REASSEMBLY_BYTES must be 160..4096"
#endif
#if IOTSEC_REASSEMBLY_MESSAGES < 2 || IOTSEC_REASSEMBLY_MESSAGES > 8
#error "IOTSEC_REASSEMBLY_MESSAGES must be 2..8"
#endif
#if IOTSEC_HELD_RECORD_BYTES < 61 || IOTSEC_HELD_RECORD_BYTES > 1024
#error "IOTSEC_HELD_RECORD_BYTES must be 61..1024: a protected Finished with a 16-byte tag needs 61"
#endif
#if IOTSEC_REASSEMBLY_BYTES < IOTSEC_HELD_RECORD_BYTES + 26
#error "IOTSEC_REASSEMBLY_BYTES must hold a Finished in pieces beside a record: IOTSEC_HELD_RECORD_BYTES + 26"
#endif
#if IOTSEC_DTLS_SERVER && IOTSEC_REASSEMBLY_BYTES < IOTSEC_HELD_RECORD_BYTES + 14 + IOTSEC_IDENTITY_MAX + (IOTSEC_IDENTITY_MAX + 9) / 8
#error "IOTSEC_REASSEMBLY_BYTES must hold a ClientKeyExchange in pieces beside a record that waits, which anybody can have sent: IOTSEC_HELD_RECORD_BYTES + IOTSEC_IDENTITY_MAX * 9 / 8 + 16"
#endif
#if IOTSEC_CONNECTION_ID && IOTSEC_DTLS_SERVER && IOTSEC_HELD_RECORD_BYTES < 64
#error "IOTSEC_HELD_RECORD_BYTES must be 64..1024: a Finished with our Connection ID needs 3 bytes more"
#endif
#if IOTSEC_CID_MAX < 2 || IOTSEC_CID_MAX > 254
#error "IOTSEC_CID_MAX must be 2..254: iotsec's own Connection IDs have 2 bytes"
#endif
#if IOTSEC_GROUPS_PER_HELLO < 1 || IOTSEC_GROUPS_PER_HELLO > 32
#error "IOTSEC_GROUPS_PER_HELLO must be 1..32"
#endif
#if IOTSEC_HANDSHAKE_SCRATCH_BYTES < 2 * IOTSEC_GROUPS_PER_HELLO + 2
#error "IOTSEC_HANDSHAKE_SCRATCH_BYTES must hold the groups of a hello: 2 + 2 * IOTSEC_GROUPS_PER_HELLO"
#endif
#if IOTSEC_PAIRWISE && IOTSEC_HANDSHAKE_SCRATCH_BYTES < 24
#error "IOTSEC_HANDSHAKE_SCRATCH_BYTES must be 24 or more with IOTSEC_PAIRWISE"
#endif
#if IOTSEC_PAIRWISE && IOTSEC_ROLE_DEVICE && !IOTSEC_DTLS_SERVER
#error "IOTSEC_PAIRWISE needs IOTSEC_DTLS_SERVER: every device is client and server to the others"
#endif
#if IOTSEC_PAIRWISE && IOTSEC_PSK_MAX < 32
#error "IOTSEC_PSK_MAX must be 32 or more with IOTSEC_PAIRWISE"
#endif
#if IOTSEC_SHARE_CHUNK_MAX < 1 || IOTSEC_SHARE_CHUNK_MAX > 15
#error "IOTSEC_SHARE_CHUNK_MAX must be 1..15"
#endif
#if IOTSEC_ROLE_DEVICE && !IOTSEC_DTLS_CLIENT
#error "IOTSEC_ROLE_DEVICE needs IOTSEC_DTLS_CLIENT"
#endif
#if IOTSEC_ROLE_MANAGER && !IOTSEC_DTLS_SERVER
#error "IOTSEC_ROLE_MANAGER needs IOTSEC_DTLS_SERVER"
#endif
#if IOTSEC_RELAYED && !IOTSEC_DTLS_SERVER
#error "IOTSEC_RELAYED needs IOTSEC_DTLS_SERVER"
#endif
#if !IOTSEC_DTLS_CLIENT && !IOTSEC_DTLS_SERVER
#error "at least one of IOTSEC_DTLS_CLIENT and IOTSEC_DTLS_SERVER must be 1"
#endif
#if IOTSEC_AES_CONTEXT_BYTES < 16 || IOTSEC_AES_CONTEXT_BYTES % 8 != 0
#error "IOTSEC_AES_CONTEXT_BYTES must be a multiple of 8, at least 16"
#endif
#if IOTSEC_SHA256_CONTEXT_BYTES < 104 || IOTSEC_SHA256_CONTEXT_BYTES % 8 != 0
#error "IOTSEC_SHA256_CONTEXT_BYTES must be a multiple of 8, at least 104"
#endif

#define IOTSEC_CONFIG_MIX(hash, value) ((((hash) ^ (uint32_t)(value)) * 0x01000193u) & 0xFFFFFFFFu)

/** One number over all values that change a public structure's layout (FNV-1a over words). */
#define IOTSEC_CONFIG_ID                                                                           \
    IOTSEC_CONFIG_MIX(IOTSEC_CONFIG_MIX(IOTSEC_CONFIG_MIX(IOTSEC_CONFIG_MIX(IOTSEC_CONFIG_MIX(     \
    IOTSEC_CONFIG_MIX(IOTSEC_CONFIG_MIX(IOTSEC_CONFIG_MIX(IOTSEC_CONFIG_MIX(IOTSEC_CONFIG_MIX(     \
    IOTSEC_CONFIG_MIX(IOTSEC_CONFIG_MIX(IOTSEC_CONFIG_MIX(                                         \
        0x811C9DC5u, IOTSEC_VERSION_NUMBER),                                                       \
        IOTSEC_AES_CONTEXT_BYTES), IOTSEC_SHA256_CONTEXT_BYTES),                                   \
        IOTSEC_IDENTITY_MAX), IOTSEC_PSK_MAX), IOTSEC_FLIGHT_BYTES), IOTSEC_REASSEMBLY_BYTES),     \
        IOTSEC_REASSEMBLY_MESSAGES), IOTSEC_HELD_RECORD_BYTES), IOTSEC_HANDSHAKE_SCRATCH_BYTES),   \
        (IOTSEC_DTLS_CLIENT << 0) | (IOTSEC_DTLS_SERVER << 1) | (IOTSEC_SUITE_CCM << 2) |          \
        (IOTSEC_MAX_FRAGMENT_LENGTH << 3) | (IOTSEC_KEYLOG << 4) | (IOTSEC_PERSIST << 5) |         \
        (IOTSEC_ROLE_DEVICE << 6) | (IOTSEC_ROLE_MANAGER << 7) | (IOTSEC_ROLE_RELAY << 8) |        \
        (IOTSEC_CONNECTION_ID << 9) | (IOTSEC_RELAYED << 10) | (IOTSEC_ACCESS << 11) |             \
        (IOTSEC_PAIRWISE << 12) | (IOTSEC_HASH_INDEX << 13)),                                                                  \
        IOTSEC_GROUPS_PER_HELLO), IOTSEC_CID_MAX)

/* ---- Version ---- */

#define IOTSEC_VERSION_MAJOR 0 /**< Changes when callers must change. */
#define IOTSEC_VERSION_MINOR 1 /**< Changes when something is added. */
#define IOTSEC_VERSION_PATCH 0 /**< Changes when something is mended. */
#define IOTSEC_VERSION_STRING "0.1.0" /**< The same as text. */
/** The version as one number, for `#if`. */
#define IOTSEC_VERSION_NUMBER                                                                      \
    ((IOTSEC_VERSION_MAJOR << 16) | (IOTSEC_VERSION_MINOR << 8) | IOTSEC_VERSION_PATCH)

#endif
