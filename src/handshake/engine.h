/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The DTLS-PSK engine's inside. One datagram goes this way:
 *
 *     dtls.c         records: by epoch and address to a session, a handshake or a drop counter
 *     reassembly.c   fragments to whole messages, in order
 *     transition.c   what may follow what
 *     client.c       what a client does with a message; server.c the same for a server
 *     extensions.c   hello extensions, built in and plugged in
 *     keys.c         transcript and key schedule
 *     cookie.c       the stateless cookie
 *     flight.c       building, sending and repeating
 *
 * Pointers to sessions and handshakes do not live across a callback: it may end any of them. Code
 * that goes on after one finds them again by handle.
 */
#ifndef IOTSEC_SRC_HANDSHAKE_ENGINE_H
#define IOTSEC_SRC_HANDSHAKE_ENGINE_H

#include <iotsec/dtls.h>

#include "base/bytes.h"
#include "hal/crypto.h"

/* What has happened in a handshake so far. */
enum {
    HS_FREE,                    /* the slot is empty */
    HS_CLIENT_SENT_HELLO,       /* with or without a cookie */
    HS_CLIENT_GOT_HELLO,        /* ServerHello came */
    HS_CLIENT_GOT_KEY_EXCHANGE, /* ServerKeyExchange with a hint came */
    HS_CLIENT_SENT_FINISHED,    /* ServerHelloDone came; keys exist */
    HS_SERVER_GATHERS_HELLO,    /* a ClientHello arrives in fragments */
    HS_SERVER_SENT_DONE,        /* ServerHello and ServerHelloDone left */
    HS_SERVER_ASKED_PSK,        /* ClientKeyExchange came; the look-up is pending */
    HS_SERVER_GOT_KEYS,         /* keys exist; the client's Finished is awaited */
    HS_DONE                     /* the session exists; the slot holds only a record for it */
};

/* iotsec_dtls_handshake.flags */
#define HS_SERVER 0x0001u   /* this end is the server */
#define HS_PROVED 0x0002u   /* the client's address earned a cookie: no amplification limit */
#define HS_EMS 0x0004u      /* extended master secret */
#define HS_RI 0x0008u       /* the peer signals RFC 5746 */
#define HS_HASHING 0x0010u  /* u.open.transcript is started */
#define HS_ASKED 0x0020u    /* server: the application knows of it and hears of its end */
#define HS_UNKNOWN 0x0040u  /* server: no PSK for that identity; the keys are random */
#define HS_TOLD 0x0080u     /* server: `failed` has told the first Finished that failed */
#define HS_ALERTED 0x0100u  /* a plaintext alert left in this round */
#define HS_RETRIED 0x0400u  /* client: started anew after bad news at its Finished */
#define HS_REPEATED 0x0200u /* the flight was sent more than once: no round trip can be measured */

/* iotsec_dtls_session.flags */
#define SESSION_USED 0x01u
#define SESSION_SERVER 0x02u
#define SESSION_CCM 0x04u       /* 16-byte tag */
#define SESSION_CONFIRMED 0x08u /* the client went on after Finished: it has our last flight */
#define SESSION_WARNED 0x10u    /* `forgeries` has been told */

/* Slot handles: index + 1, generation in the 15 bits above, and one bit that tells the two kinds apart. */
#define HANDLE_HANDSHAKE 0x80000000u
#define GENERATION_MASK 0x7FFFu

/* Longest ClientHello message_seq taken: one HelloVerifyRequest is usual, many are an attack. */
#define HELLO_SEQ_MAX 15u
/* Retransmissions that brought nothing but unauthenticated bad news before it is believed. */
#define HINT_ROUNDS 3u
/* Bytes of our Finished message: header and verify_data. */
#define FINISHED_BYTES (IOTSEC_HANDSHAKE_HEADER_BYTES + IOTSEC_VERIFY_DATA_BYTES)
#define KEY_BLOCK_BYTES (2u * IOTSEC_KEY_BYTES + 2u * IOTSEC_SALT_BYTES)

/* A handshake message or a piece of one. */
struct iotsec_hs_message {
    uint8_t type;
    uint16_t seq;
    uint32_t length; /* of the whole message */
    uint32_t offset; /* of this piece */
    uint32_t piece;  /* bytes of this piece */
    const uint8_t *body;
};

/* 1 if this end is the server. A build with one role decides it at compile time. */
static inline bool iotsec_hs_is_server(const struct iotsec_dtls_handshake *hs)
{
#if !IOTSEC_DTLS_CLIENT
    (void)hs;
    return true;
#elif !IOTSEC_DTLS_SERVER
    (void)hs;
    return false;
#else
    return (hs->flags & HS_SERVER) != 0;
#endif
}

static inline bool iotsec_hs_has_keys(const struct iotsec_dtls_handshake *hs)
{
    return hs->state == HS_CLIENT_SENT_FINISHED || hs->state == HS_SERVER_GOT_KEYS;
}

static inline size_t iotsec_suite_tag(uint16_t suite)
{
#if IOTSEC_SUITE_CCM
    return suite == IOTSEC_SUITE_PSK_AES_128_CCM ? IOTSEC_TAG_CCM_BYTES : IOTSEC_TAG_CCM_8_BYTES;
#else
    (void)suite;
    return IOTSEC_TAG_CCM_8_BYTES;
#endif
}

static inline bool iotsec_suite_enabled(const struct iotsec_dtls *dtls, uint16_t suite)
{
    uint8_t suites = dtls->config->suites;

    if (suite == IOTSEC_SUITE_PSK_AES_128_CCM_8) {
        return suites == 0 || (suites & 1u) != 0;
    }
    return IOTSEC_SUITE_CCM && suite == IOTSEC_SUITE_PSK_AES_128_CCM && (suites & 2u) != 0;
}

/* ---- transition.c ---- */

/* The state after `message` in `state`, or HS_FREE if it may not come there. */
uint8_t iotsec_hs_next(uint8_t state, uint8_t message);
/* Whether the message may come at all, in some state, to a server or to a client. */
bool iotsec_hs_known(bool is_server, uint8_t message);

/* ---- dtls.c ---- */

uint32_t iotsec_dtls_now(const struct iotsec_dtls *dtls);
/* Counts a drop and names it as iotsec_dtls_input does. */
enum iotsec_status iotsec_dtls_drop(struct iotsec_dtls *dtls, enum iotsec_drop reason);
struct iotsec_dtls_session *iotsec_session_find(const struct iotsec_dtls *dtls, const struct iotsec_addr *addr);
struct iotsec_dtls_session *iotsec_session_get(const struct iotsec_dtls *dtls, iotsec_dtls_handle handle);
iotsec_dtls_handle iotsec_session_handle(const struct iotsec_dtls *dtls, const struct iotsec_dtls_session *session);
struct iotsec_dtls_handshake *iotsec_handshake_find(const struct iotsec_dtls *dtls, const struct iotsec_addr *addr, bool is_server);
struct iotsec_dtls_handshake *iotsec_handshake_get(const struct iotsec_dtls *dtls, iotsec_dtls_handle handle);
iotsec_dtls_handle iotsec_handshake_handle(const struct iotsec_dtls *dtls, const struct iotsec_dtls_handshake *hs);
/* A cleared slot, filed under the address; NULL when the pool is full. With `replace`, the oldest half-open
 * handshake whose address has proved nothing makes room (its `failed` may run). */
struct iotsec_dtls_handshake *iotsec_handshake_new(struct iotsec_dtls *dtls, const struct iotsec_addr *addr, uint16_t flags,
                                                   bool replace);
/* Wipes the slot. */
void iotsec_handshake_free(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs);
/* The same, and then tells the application. */
void iotsec_handshake_end(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs, enum iotsec_status reason);
/* The peer's Finished stands in `message`, authenticated by the record with `sequence`. */
enum iotsec_status iotsec_handshake_finish(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs,
                                           const struct iotsec_hs_message *message, uint64_t sequence);
/* Keys exist now: opens the record that waited for them, if there is one. */
void iotsec_handshake_open_held(struct iotsec_dtls *dtls, iotsec_dtls_handle handle);

/* ---- client.c, server.c ---- */

/* Takes a whole message that is next in order and allowed by the transition table. */
enum iotsec_status iotsec_client_take(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs,
                                      const struct iotsec_hs_message *message);
enum iotsec_status iotsec_server_take(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs,
                                      const struct iotsec_hs_message *message);
/* A HelloVerifyRequest, whatever its message_seq. */
enum iotsec_status iotsec_client_verify(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs,
                                        const struct iotsec_hs_message *message);
/* Remembers what an unauthenticated answer points to. */
void iotsec_client_hint(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs, enum iotsec_status reason);
/* Begins again with a new random. */
void iotsec_client_retry(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs);
void iotsec_client_alert(struct iotsec_dtls_handshake *hs, uint8_t level, uint8_t description);
/* A ClientHello or a piece of one, from an address that may have nothing else here. */
enum iotsec_status iotsec_server_hello(struct iotsec_dtls *dtls, const struct iotsec_addr *from,
                                       const struct iotsec_record *record, const struct iotsec_hs_message *message);
/* A record of the next epoch did not open with the keys that this handshake derived. */
void iotsec_server_wrong_key(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs);

/* ---- extensions.c ---- */

/* Both: ERR_CANCELLED when a row ended the handshake, whose slot is then gone. */
/* Appends this end's extensions, with their length in front; nothing at all if there are none. */
enum iotsec_status iotsec_extensions_write(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs, struct iotsec_writer *w);
/* Takes the peer's. On failure the handshake's scratch and flags are as they were.
 * ERR_PROTOCOL: not offered, or refused by its row. ERR_DECODE: malformed. */
enum iotsec_status iotsec_extensions_parse(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs,
                                           struct iotsec_reader *r);
/* Whether policy is content with what the peer's hello had: OK, ERR_NO_EMS, ERR_NO_RENEGOTIATION_INFO. */
enum iotsec_status iotsec_extensions_required(const struct iotsec_dtls *dtls, const struct iotsec_dtls_handshake *hs);

/* ---- keys.c ---- */

enum iotsec_status iotsec_transcript_add(const struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs,
                                         const uint8_t *data, size_t len);
enum iotsec_status iotsec_transcript_message(const struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs,
                                             const struct iotsec_hs_message *message);
void iotsec_transcript_abort(const struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs);
/* From the PSK and the transcript, which ends with ClientKeyExchange, to both directions' keys and both
 * verify_data. Fills u.keyed and writes this end's Finished message. The transcript is gone afterwards. */
enum iotsec_status iotsec_keys_derive(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs, const uint8_t *psk,
                                      size_t psk_len, uint8_t finished[FINISHED_BYTES]);
/* Bytes to the front of a Finished message, as they stand in the transcript. */
void iotsec_finished_header(uint8_t out[IOTSEC_HANDSHAKE_HEADER_BYTES], uint16_t seq);

/* ---- cookie.c ---- */

/* `before` and `after`: the hello's body on either side of its cookie. */
enum iotsec_status iotsec_cookie_make(const struct iotsec_dtls *dtls, const struct iotsec_addr *addr, uint16_t period,
                                      const struct iotsec_slice *before, const struct iotsec_slice *after,
                                      uint8_t cookie[IOTSEC_COOKIE_BYTES]);
/* IOTSEC_OK: ours, and made in this period or the one before. IOTSEC_ERR_AUTH: not. IOTSEC_ERR_CRYPTO. */
enum iotsec_status iotsec_cookie_verify(const struct iotsec_dtls *dtls, const struct iotsec_addr *addr,
                                        const struct iotsec_slice *before, const struct iotsec_slice *after,
                                        const uint8_t *cookie, size_t len);
/* The period that it is now. */
uint16_t iotsec_cookie_period(const struct iotsec_dtls *dtls);

/* ---- reassembly.c ---- */

/* Keeps a piece. OK: kept or known already. ERR_DECODE: contradicts an earlier piece. ERR_FULL: no room. */
enum iotsec_status iotsec_reassembly_add(struct iotsec_dtls_handshake *hs, const struct iotsec_hs_message *piece);
/* Whether message `seq` is whole; then `message` points into the buffer. */
bool iotsec_reassembly_whole(const struct iotsec_dtls_handshake *hs, uint16_t seq, struct iotsec_hs_message *message);
/* Forgets message `seq`. */
void iotsec_reassembly_forget(struct iotsec_dtls_handshake *hs, uint16_t seq);
/* Forgets all. */
void iotsec_reassembly_clear(struct iotsec_dtls_handshake *hs);

/* ---- flight.c ---- */

/* Appends a record in the clear to the datagram under construction. */
enum iotsec_status iotsec_tx_plain(struct iotsec_dtls *dtls, const struct iotsec_addr *to, uint8_t type, uint16_t version,
                                   uint32_t sequence, const uint8_t *content, size_t len);
/* The same, protected, epoch 1. */
enum iotsec_status iotsec_tx_sealed(struct iotsec_dtls *dtls, const struct iotsec_addr *to, const struct iotsec_record_key *key,
                                    size_t tag_len, uint8_t type, uint64_t sequence, const uint8_t *content, size_t len);
/* A handshake's plaintext alert: at most one a round and interval, and within the amplification limit. */
void iotsec_tx_alert(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs, enum iotsec_status reason);
/* A plaintext alert to somebody who has no state here. */
void iotsec_tx_alert_stateless(struct iotsec_dtls *dtls, const struct iotsec_addr *to, uint32_t sequence,
                               enum iotsec_status reason);
/* A protected alert under a session's key. */
void iotsec_session_alert(struct iotsec_dtls *dtls, struct iotsec_dtls_session *session, uint8_t description);
/* The server's ChangeCipherSpec and Finished again, at most once an interval. */
void iotsec_session_repeat(struct iotsec_dtls *dtls, struct iotsec_dtls_session *session);

/* Starts a handshake message in the flight and finishes it. */
void iotsec_message_open(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs, struct iotsec_writer *w, uint8_t type);
enum iotsec_status iotsec_message_close(struct iotsec_dtls_handshake *hs, const struct iotsec_writer *w);
/* Sends the flight for the first time: the timer starts anew. */
void iotsec_flight_start(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs);
/* Sends it again: because the timer says so, or (at most once an interval) because the peer repeats its own. */
void iotsec_flight_repeat(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs);
void iotsec_flight_answer(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs);
/* The peer's next message came: forget bad news. */
void iotsec_flight_progress(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs);
/* Whether the flight is repeated by time. */
bool iotsec_flight_timed(const struct iotsec_dtls_handshake *hs);
uint32_t iotsec_flight_interval(const struct iotsec_dtls *dtls);
/* The alert that goes with a reason. */
uint8_t iotsec_alert_of(enum iotsec_status reason);

#endif
