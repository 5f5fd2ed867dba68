/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * Constants of the wire and of time. docs/protocol.md says where each stands in a message.
 */
#ifndef IOTSEC_PROTOCOL_H
#define IOTSEC_PROTOCOL_H

/* ---- Records: RFC 6347, section 4.1; RFC 5246, section 6.2.1 ---- */

#define IOTSEC_VERSION_DTLS_1_0 0xFEFFu    /**< HelloVerifyRequest carries it (RFC 6347, section 4.2.1). */
#define IOTSEC_VERSION_DTLS_1_2 0xFEFDu    /**< Everything else does. */
#define IOTSEC_RECORD_HEADER_BYTES 13u     /**< type, version, epoch, sequence, length */
#define IOTSEC_EXPLICIT_NONCE_BYTES 8u     /**< RFC 6655, section 3 */
#define IOTSEC_CONTENT_CHANGE_CIPHER_SPEC 20u /**< RFC 5246, section 7.1 */
#define IOTSEC_CONTENT_ALERT 21u           /**< RFC 5246, section 7.2 */
#define IOTSEC_CONTENT_HANDSHAKE 22u       /**< RFC 5246, section 7.4 */
#define IOTSEC_CONTENT_APPLICATION_DATA 23u /**< RFC 5246, section 10 */
#define IOTSEC_CONTENT_TLS12_CID 25u        /**< RFC 9146, section 4: the real type stands inside */
#define IOTSEC_CONTENT_MASTER_KEY_DATA 28u /**< Unassigned in the registry; docs/protocol.md */
#define IOTSEC_CONTENT_SECURITY_PARAMETERS 29u /**< Unassigned in the registry; docs/protocol.md */

#define IOTSEC_KEY_BYTES 16u               /**< AES-128 key, TGK, RAND and TEK */
#define IOTSEC_SALT_BYTES 4u               /**< implicit part of the unicast nonce (RFC 6655) */
#define IOTSEC_NONCE_BYTES 12u             /**< CCM with L = 3 */
#define IOTSEC_TAG_CCM_8_BYTES 8u          /**< TLS_PSK_WITH_AES_128_CCM_8 and group records */
#define IOTSEC_TAG_CCM_BYTES 16u           /**< TLS_PSK_WITH_AES_128_CCM */

#define IOTSEC_UNICAST_OVERHEAD_CCM_8_BYTES 29u /**< header, explicit nonce, tag */
#define IOTSEC_UNICAST_OVERHEAD_CCM_BYTES 37u   /**< header, explicit nonce, tag */
#define IOTSEC_GROUP_OVERHEAD_BYTES 21u         /**< header, tag */

#define IOTSEC_CID_OWN_BYTES 2u             /**< a Connection ID that iotsec asks for: its peer writes it into every protected record */
#define IOTSEC_CID_OVERHEAD_BYTES 1u        /**< what a record with a Connection ID is longer by, beside the ID itself: the inner type */

/** Sequence numbers of one epoch; the 48-bit field never wraps (RFC 6347, section 4.1). */
#define IOTSEC_SEQUENCE_LIMIT 0xFFFFFFFFFFFFull
/** Failed tags under one key after which an event asks for new keys (RFC 9147, section 4.5.3, for an 8-byte tag). */
#define IOTSEC_FORGERY_LIMIT 128u

/* ---- Handshake: RFC 5246, section 7.4; RFC 6347, section 4.2 ---- */

#define IOTSEC_HANDSHAKE_HEADER_BYTES 12u  /**< type, length, message_seq, fragment_offset, fragment_length */
#define IOTSEC_HS_HELLO_REQUEST 0u /**< handshake message hello_request */
#define IOTSEC_HS_CLIENT_HELLO 1u /**< handshake message client_hello */
#define IOTSEC_HS_SERVER_HELLO 2u /**< handshake message server_hello */
#define IOTSEC_HS_HELLO_VERIFY_REQUEST 3u /**< handshake message hello_verify_request */
#define IOTSEC_HS_SERVER_KEY_EXCHANGE 12u /**< handshake message server_key_exchange */
#define IOTSEC_HS_SERVER_HELLO_DONE 14u /**< handshake message server_hello_done */
#define IOTSEC_HS_CLIENT_KEY_EXCHANGE 16u /**< handshake message client_key_exchange */
#define IOTSEC_HS_FINISHED 20u /**< handshake message finished */
#define IOTSEC_RANDOM_BYTES 32u /**< client_random, server_random */
#define IOTSEC_MASTER_SECRET_BYTES 48u /**< RFC 5246, section 8.1 */
#define IOTSEC_VERIFY_DATA_BYTES 12u /**< Finished */
#define IOTSEC_COOKIE_BYTES 8u /**< HelloVerifyRequest */

#define IOTSEC_SUITE_PSK_AES_128_CCM 0xC0A4u   /**< RFC 6655 */
#define IOTSEC_SUITE_PSK_AES_128_CCM_8 0xC0A8u /**< RFC 6655 */
#define IOTSEC_SUITE_RENEGOTIATION_SCSV 0x00FFu /**< RFC 5746, section 3.3 */

#define IOTSEC_EXTENSION_MAX_FRAGMENT_LENGTH 1u      /**< RFC 6066, section 4 */
#define IOTSEC_EXTENSION_EXTENDED_MASTER_SECRET 23u  /**< RFC 7627 */
#define IOTSEC_EXTENSION_CONNECTION_ID 54u           /**< RFC 9146, section 3 */
#define IOTSEC_EXTENSION_RENEGOTIATION_INFO 0xFF01u  /**< RFC 5746 */
#define IOTSEC_EXTENSION_GROUP_REQUEST 0xFF10u       /**< private use; docs/protocol.md */
#define IOTSEC_EXTENSION_DEVICE_IDENTITY 0xFF11u     /**< private use; docs/protocol.md, section 14 */

/* ---- Alerts: RFC 5246, section 7.2; RFC 4279; RFC 5746 ---- */

#define IOTSEC_ALERT_WARNING 1u /**< alert level */
#define IOTSEC_ALERT_FATAL 2u /**< alert level */
#define IOTSEC_ALERT_CLOSE_NOTIFY 0u /**< alert close_notify */
#define IOTSEC_ALERT_UNEXPECTED_MESSAGE 10u /**< alert unexpected_message */
#define IOTSEC_ALERT_BAD_RECORD_MAC 20u /**< alert bad_record_mac */
#define IOTSEC_ALERT_HANDSHAKE_FAILURE 40u /**< alert handshake_failure */
#define IOTSEC_ALERT_ILLEGAL_PARAMETER 47u /**< alert illegal_parameter */
#define IOTSEC_ALERT_ACCESS_DENIED 49u /**< alert access_denied */
#define IOTSEC_ALERT_DECODE_ERROR 50u /**< alert decode_error */
#define IOTSEC_ALERT_DECRYPT_ERROR 51u /**< alert decrypt_error */
#define IOTSEC_ALERT_PROTOCOL_VERSION 70u /**< alert protocol_version */
#define IOTSEC_ALERT_INTERNAL_ERROR 80u /**< alert internal_error */
#define IOTSEC_ALERT_UNSUPPORTED_EXTENSION 110u /**< alert unsupported_extension */
#define IOTSEC_ALERT_UNKNOWN_PSK_IDENTITY 115u /**< alert unknown_psk_identity */

/* ---- Keys: RFC 3830, section 4.1.4; docs/protocol.md ---- */

#define IOTSEC_TEK_CONSTANT 0x2AD01C64u     /**< RFC 3830: derives a TEK */
#define IOTSEC_RATCHET_CONSTANT 0x197A9E97u /**< derives TGK[K+1] from TGK[K] */
#define IOTSEC_CS_ID_GROUP 1u               /**< cs_id of a group's one crypto session */

#define IOTSEC_GROUP_EPOCH_MIN 256u         /**< smaller epochs are unicast */
#define IOTSEC_SENDER_ID_MIN 1u /**< 0 is no sender */
#define IOTSEC_SENDER_ID_MAX 65534u /**< 65535 stays free */
#define IOTSEC_STEP_MAX 255u                /**< then a new generation follows */
#define IOTSEC_STEPS_AHEAD_MAX 16u          /**< how far ahead a record may be to be followed */
#define IOTSEC_GENERATIONS_AHEAD_MAX 64u    /**< how far a member may be ahead of the registry */
#define IOTSEC_GROUP_COUNTER_SOFT 0xFFF00000u /**< from here on the member asks for a new sender ID */
#define IOTSEC_GROUP_COUNTER_HARD 0xFFFFFFFFu /**< this number is never sent */

/* ---- Relays and access: docs/protocol.md, sections 12 and 13 ---- */

#define IOTSEC_PORT 5684u                   /**< the domain manager's and the relays' join port, by default */
#define IOTSEC_RELAY_HEADER_MAX 32u         /**< longest opaque header of a stateless relay that a manager keeps */
#define IOTSEC_RELAY_HEADER_BYTES 21u       /**< length of our own relay's: key ID (1), IID (8), port (2), interface (2), MAC (8) */
#define IOTSEC_RELAY_OVERHEAD_MAX 38u       /**< what a relayed datagram is longer by at most: array, two heads, header */
#define IOTSEC_RELAY_CONTENT_MAX 2048u      /**< longest datagram that is relayed */
#define IOTSEC_SHORT_ADDRESS_NONE 0xFFFEu   /**< IEEE 802.15.4: the device has no short address */

/* ---- Pairwise keys: docs/protocol.md, section 14 ---- */

#define IOTSEC_POLY_ELEMENT_BYTES 16u       /**< an element of the field, big endian */
#define IOTSEC_POLY_DEGREE_MAX 255u         /**< largest degree of a polynomial */
#define IOTSEC_PAIR_PSK_BYTES 32u           /**< PSK of two devices */
#define IOTSEC_REVOKED_BYTES 8u             /**< mark of a revoked identity: its point's first bytes */
#define IOTSEC_REVOKED_MAX 32u              /**< revocations of one generation; the next one brings a new polynomial */
#define IOTSEC_EXPORTED_BYTES 20u           /**< what a handshake exports: CSB_ID (4) and RAND (16) */
#define IOTSEC_EXPORTER_LABEL "EXPORTER-iotsec-csb" /**< RFC 5705, section 4; no context value */

/* ---- Time, in milliseconds unless the name says otherwise ---- */

#define IOTSEC_RETRANSMIT_INITIAL_MS 400u   /**< first retransmission of a flight or of a key message */
#define IOTSEC_RETRANSMIT_MAX_MS 4000u      /**< the back-off's ceiling */
#define IOTSEC_HANDSHAKE_TIMEOUT_MS 20000u  /**< a client's handshake that brought nothing ends: NO_ANSWER */
#define IOTSEC_HALF_OPEN_TIMEOUT_MS 30000u  /**< a server's half-open handshake is dropped */
#define IOTSEC_JOIN_TIMEOUT_MS 60000u       /**< from iotsec_join to the last group's answer */
#define IOTSEC_PREVIOUS_KEY_MS 5000u        /**< the previous group key still opens records */
#define IOTSEC_HINT_DELAY_MAX_MS 500u       /**< a hint waits for 0 to this */
#define IOTSEC_HINT_INTERVAL_MS 2000u       /**< and no second one follows within this */
#define IOTSEC_DERIVE_INTERVAL_MS 1000u     /**< keys further ahead than the next are derived this often at most */
#define IOTSEC_ASK_INITIAL_MS 10000u        /**< status to the manager when a record does not fit; doubles */
#define IOTSEC_ASK_MAX_MS 3600000u          /**< up to this */
#define IOTSEC_STATUS_INTERVAL_MS 3600000u  /**< status to the manager when all is well */
#define IOTSEC_L2_SWITCH_MS 30000u          /**< members that have not acknowledged the next L2 key are waited for this long */
#define IOTSEC_L2_OVERLAP_MS 60000u         /**< after the switch a device still receives under the old L2 key for this long */
#define IOTSEC_SHARE_OVERLAP_MS 3600000u    /**< the previous share still serves, where the new polynomial allows it */
#define IOTSEC_PAIR_IDLE_MS 300000u         /**< a session with another device is closed when nothing was said for this long */
#define IOTSEC_RELAY_IDLE_MS 60000u         /**< a stateful relay forgets a joiner that was silent for this long */
#define IOTSEC_STEP_INTERVAL_MS 1000u       /**< joins within one interval share a step; doubles every 64 steps */

#endif
