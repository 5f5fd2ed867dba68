/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The DTLS-PSK engine's inside. One datagram goes this way:
 *
 *     path.c         where it came from: an address, or a joiner behind a relay
 *     dtls.c         records: by epoch and address to a session, a handshake or a drop counter
 *     session.c      what an established session takes and sends
 *     handshake.c    messages in order, early records, the end of a handshake
 *     reassembly.c   fragments to whole messages
 *     transition.c   what may follow what
 *     client.c       what a client does with a message; server.c the same for a server
 *     extensions.c   hello extensions, built in and plugged in
 *     keys.c         transcript and key schedule
 *     cookie.c       the stateless cookie
 *     flight.c       building, sending and repeating
 *     alert.c        reasons and alerts
 *     pool.c         the tables of sessions and handshakes
 *
 * Pointers to sessions and handshakes do not live across a callback: it may end any of them. Code
 * that goes on after one finds them again by handle.
 */
#ifndef IOTSEC_SRC_HANDSHAKE_ENGINE_H
#define IOTSEC_SRC_HANDSHAKE_ENGINE_H

#include <string.h>

#include <iotsec/dtls.h>

#include "base/bytes.h"
#include "hal/crypto.h"
#include "record/protect.h"

/* What has happened in a handshake so far. */
enum {
    HS_FREE,                    /* the slot is empty */
    HS_CLIENT_SENT_HELLO,       /* with or without a cookie */
    HS_CLIENT_GOT_HELLO,        /* ServerHello came */
    HS_CLIENT_GOT_KEY_EXCHANGE, /* ServerKeyExchange with a hint came */
    HS_CLIENT_GOT_DONE,         /* ServerHelloDone came: keys are due */
    HS_CLIENT_SENT_FINISHED,    /* keys exist */
    HS_SERVER_GATHERS_HELLO,    /* a ClientHello arrives in fragments */
    HS_SERVER_SENT_DONE,        /* ServerHello and ServerHelloDone left */
    HS_SERVER_ASKED_PSK,        /* ClientKeyExchange came; the look-up is due or pending */
    HS_SERVER_GOT_KEYS,         /* keys exist; the client's Finished is awaited */
    HS_DONE                     /* the session exists */
};

/* This end asks its peers for Connection IDs: only a server does (docs/protocol.md, section 2). */
#define CID_OWN (IOTSEC_CONNECTION_ID && IOTSEC_DTLS_SERVER)

/* slot.role. A handshake that has ended and waits for its last callback to return is found by nobody. */
enum { ROLE_CLIENT, ROLE_SERVER, ROLE_NONE };
/* For loops over both: a build with one role runs them once. */
#define ROLE_FIRST (IOTSEC_DTLS_CLIENT ? ROLE_CLIENT : ROLE_SERVER)
#define ROLE_LAST (IOTSEC_DTLS_SERVER ? ROLE_SERVER : ROLE_CLIENT)

/* The last one is the first again, by Connection ID. */
enum { POOL_SESSIONS, POOL_HANDSHAKES, POOL_CIDS };

/* iotsec_dtls_handshake.slot.flags */
#define HS_PROVED 0x0001u   /* the client's address earned a cookie: no amplification limit */
#define HS_EMS 0x0002u      /* extended master secret */
#define HS_RI 0x0004u       /* the peer signals RFC 5746 */
#define HS_SHORT 0x0008u    /* max_fragment_length was agreed on */
#define HS_HASHING 0x0010u  /* u.open.transcript is started */
#define HS_ASKED 0x0020u    /* server: the application knows of it and hears of its end */
#define HS_UNKNOWN 0x0040u  /* server: no PSK for that identity; the keys are random */
#define HS_TOLD 0x0080u     /* server: `failed` has told the first Finished that failed */
#define HS_ALERTED 0x0100u  /* a plaintext alert left in this round */
#define HS_REPEATED 0x0200u /* the flight was sent more than once: no round trip can be measured */
#define HS_RETRIED 0x0400u  /* client: started anew after bad news at its Finished */
#define HS_DOUBTED 0x0800u  /* client: what it took and what came later cannot both be genuine */
#define HS_CID 0x1000u      /* the client's records carry a Connection ID; a server's other peers' do not */
#define HS_READY 0x4000u    /* iotsec_handshake_go_on has something to do with it */
#define HS_REFUSED (IOTSEC_PAIRWISE ? 0x2000u : 0u) /* client: `client_psk` has refused a hello; `hint` and `rounds` go on until it gives a key */

/* iotsec_dtls_session.slot.flags */
#define SESSION_SERVER 0x01u
#define SESSION_CCM 0x02u       /* 16-byte tag */
#define SESSION_CID 0x08u       /* the peer's records carry our Connection ID: it is in the index */
#define SESSION_CONFIRMED 0x04u /* the client went on after Finished: it has our last flight */
#define SESSION_UNANSWERED (IOTSEC_PAIRWISE ? 0x10u : 0u) /* something was sent since the peer was heard last */

/* Handles: index + 1, generation in the 15 bits above, and one bit that tells the two kinds apart. */
#define HANDLE_HANDSHAKE 0x80000000u
#define GENERATION_MASK 0x7FFF0000u

/* Longest ClientHello message_seq taken: one HelloVerifyRequest is usual, many are an attack. */
#define HELLO_SEQ_MAX 15u
/* Retransmissions that brought nothing but unauthenticated bad news before it is believed. By chance alone as many stay
 * without an answer once in four times at half of all datagrams lost. */
#define HINT_ROUNDS 5u
/* Hellos that `client_psk` refuses before its reason is believed. */
#define REFUSED_ROUNDS 3u
/* Bytes of our Finished message: header and verify_data. */
#define FINISHED_BYTES (IOTSEC_HANDSHAKE_HEADER_BYTES + IOTSEC_VERIFY_DATA_BYTES)
#define KEY_BLOCK_BYTES (2u * IOTSEC_KEY_BYTES + 2u * IOTSEC_SALT_BYTES)

/* Its own stack frame: what a step needs for a moment is gone when the deep calls come. */
#if defined(__GNUC__)
#define OWN_FRAME __attribute__((noinline))
#else
#define OWN_FRAME
#endif

/* A handshake message or a piece of one. */
struct iotsec_hs_message {
    uint8_t type;
    uint16_t seq;
    uint32_t length; /* of the whole message */
    uint32_t offset; /* of this piece */
    uint32_t piece;  /* bytes of this piece */
    const uint8_t *body; /* right behind its header */
};

/* What a protected record to a peer is made with. */
struct iotsec_seal {
    const struct iotsec_record_key *key;
    size_t tag_len;
#if IOTSEC_CONNECTION_ID
    const uint8_t *cid; /* length, and the Connection ID that the peer wants to see */
#endif
};

/* 1 if this end is the server. A build with one role decides it at compile time. */
static inline bool iotsec_hs_is_server(const struct iotsec_dtls_handshake *hs)
{
    return ROLE_FIRST == ROLE_LAST ? ROLE_FIRST == ROLE_SERVER : hs->slot.role == ROLE_SERVER;
}

static inline bool iotsec_hs_has_keys(const struct iotsec_dtls_handshake *hs)
{
    return hs->slot.state == HS_CLIENT_SENT_FINISHED || hs->slot.state == HS_SERVER_GOT_KEYS;
}

/* Whether keying material is exported. For an unknown identity it is computed in vain, so that the work does not tell. */
static inline bool iotsec_hs_exports(const struct iotsec_dtls *dtls, const struct iotsec_dtls_handshake *hs)
{
#if IOTSEC_PAIRWISE
    return dtls->config->callbacks->client_psk != NULL && (hs->peer != 0 || (hs->slot.flags & HS_UNKNOWN) != 0);
#else
    (void)dtls;
    (void)hs;
    return false;
#endif
}

static inline void iotsec_hs_unset(struct iotsec_dtls_handshake *hs, uint16_t flags)
{
    hs->slot.flags = (uint16_t)(hs->slot.flags & ~flags);
}

static inline size_t iotsec_suite_tag(uint16_t suite)
{
    return IOTSEC_SUITE_CCM && suite == IOTSEC_SUITE_PSK_AES_128_CCM ? IOTSEC_TAG_CCM_BYTES : IOTSEC_TAG_CCM_8_BYTES;
}

static inline bool iotsec_suite_enabled(const struct iotsec_dtls *dtls, uint16_t suite)
{
    uint8_t suites = dtls->config->suites;

    if (!IOTSEC_SUITE_CCM || suite == IOTSEC_SUITE_PSK_AES_128_CCM_8) {
        return suite == IOTSEC_SUITE_PSK_AES_128_CCM_8 && (suites == 0 || (suites & 1u) != 0);
    }
    return suite == IOTSEC_SUITE_PSK_AES_128_CCM && (suites & 2u) != 0;
}

/* By what a session knows the hello that made it: the end of the random, since many begin it with a clock
 * (RFC 5246, section 7.4.1.2), which may stand where it stood before a restart. */
static inline uint32_t iotsec_hello_mark(const uint8_t random[IOTSEC_RANDOM_BYTES])
{
    return iotsec_get_u32(random + IOTSEC_RANDOM_BYTES - 4);
}

/* ---- transition.c ---- */

/* The state after `message` in `state`, or HS_FREE if it may not come there. */
uint8_t iotsec_hs_next(uint8_t state, uint8_t message);
/* Whether the message may come at all, in some state, to a server or to a client. */
bool iotsec_hs_known(bool is_server, uint8_t message);

/* ---- pool.c ---- */

/* Empties both tables. */
void iotsec_pool_init(struct iotsec_dtls *dtls);
/* The entry of that path and role, or NULL. */
struct iotsec_dtls_slot *iotsec_slot_find(const struct iotsec_dtls *dtls, unsigned pool, const struct iotsec_dtls_path *path,
                                          uint8_t role);
/* The entry of that handle, or NULL. */
struct iotsec_dtls_slot *iotsec_slot_get(const struct iotsec_dtls *dtls, iotsec_dtls_handle handle);
/* A cleared entry, filed under the path; NULL when the pool is full. Its state is the caller's to set, at once. */
struct iotsec_dtls_slot *iotsec_slot_new(struct iotsec_dtls *dtls, unsigned pool, const struct iotsec_dtls_path *path);
/* Wipes and takes out: the entry's handle is invalid from now on. */
void iotsec_slot_free(struct iotsec_dtls *dtls, struct iotsec_dtls_slot *slot);
#if IOTSEC_CONNECTION_ID
/* Files a session under another path. */
void iotsec_slot_move(struct iotsec_dtls *dtls, struct iotsec_dtls_slot *slot, const struct iotsec_dtls_path *path);
#endif
#if CID_OWN
/* Files a session under its Connection ID too; iotsec_slot_free takes it out again. */
void iotsec_cid_insert(struct iotsec_dtls *dtls, struct iotsec_dtls_session *session);
/* The session that has asked for that ID, or NULL. */
struct iotsec_dtls_session *iotsec_cid_find(const struct iotsec_dtls *dtls, const uint8_t cid[IOTSEC_CID_OWN_BYTES]);
#endif

/* ---- path.c ---- */

/* A path without a relay. */
static inline void iotsec_path_set(struct iotsec_dtls_path *path, const struct iotsec_addr *addr)
{
#if IOTSEC_RELAYED
    memset(path, 0, sizeof *path);
#endif
    path->addr = *addr;
}

/* The same where the result is not changed: `room` is for it, where it is not just the address. */
static inline const struct iotsec_dtls_path *iotsec_path_of(const struct iotsec_addr *addr, struct iotsec_dtls_path *room)
{
#if IOTSEC_RELAYED
    iotsec_path_set(room, addr);
    return room;
#else
    (void)room;
    return (const struct iotsec_dtls_path *)(const void *)addr; /* its only member */
#endif
}

static inline bool iotsec_path_equal(const struct iotsec_dtls_path *a, const struct iotsec_dtls_path *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

#if IOTSEC_RELAYED
/* Takes a relay's wrapping off: `path` gets its header, the datagram becomes the content. False: of another form. */
bool iotsec_path_unwrap(struct iotsec_dtls_path *path, uint8_t **datagram, size_t *len);
/* Bytes to keep free in front of a datagram's records. */
size_t iotsec_path_room(const struct iotsec_dtls *dtls, const struct iotsec_dtls_path *path);
/* Writes the wrapping in front of `len` bytes of records; returns its length. */
size_t iotsec_path_wrap(const struct iotsec_dtls_path *path, uint8_t *records, size_t len);
/* Whether it is behind a relay that has as many half-open handshakes as one may. */
bool iotsec_relay_full(const struct iotsec_dtls *dtls, const struct iotsec_dtls_path *path);
#else
static inline size_t iotsec_path_room(const struct iotsec_dtls *dtls, const struct iotsec_dtls_path *path)
{
    (void)dtls;
    (void)path;
    return 0;
}

static inline bool iotsec_relay_full(const struct iotsec_dtls *dtls, const struct iotsec_dtls_path *path)
{
    (void)dtls;
    (void)path;
    return false;
}
#endif

/* ---- dtls.c ---- */

uint32_t iotsec_dtls_now(const struct iotsec_dtls *dtls);
/* Fills `out`, which is 0 on success. */
enum iotsec_status iotsec_dtls_random(const struct iotsec_dtls *dtls, uint8_t *out, size_t len);
/* Counts a drop and names it as iotsec_dtls_input does. */
enum iotsec_status iotsec_dtls_drop(struct iotsec_dtls *dtls, enum iotsec_drop reason);
/* Takes the next record off a datagram, one with our Connection ID too where this end asks for them. */
#if CID_OWN
enum iotsec_status iotsec_dtls_parse(const struct iotsec_dtls *dtls, struct iotsec_record *record, uint8_t **datagram,
                                     size_t *left);
#else
#define iotsec_dtls_parse(dtls, record, datagram, left) ((void)(dtls), iotsec_record_parse(record, datagram, left))
#endif

/* Opens a record; `type` is the real one. As iotsec_record_open. */
static inline enum iotsec_status iotsec_dtls_open(const struct iotsec_dtls *dtls, const struct iotsec_record_key *key,
                                                  size_t tag_len, const struct iotsec_record *record, uint8_t *type,
                                                  uint8_t **content, size_t *len)
{
#if CID_OWN
    if (record->type == IOTSEC_CONTENT_TLS12_CID) {
        return iotsec_record_open_cid(dtls->config->hal, key, tag_len, record, type, content, len);
    }
#endif
    *type = record->type;
    return iotsec_record_unprotect(dtls->config->hal, key->key, key->salt, record, IOTSEC_EXPLICIT_NONCE_BYTES, tag_len, content,
                                   len);
}

/* Whether the record carries a Connection ID. */
static inline bool iotsec_record_has_cid(const struct iotsec_record *record)
{
    return CID_OWN && record->type == IOTSEC_CONTENT_TLS12_CID;
}

/* Where it stands. */
static inline const uint8_t *iotsec_record_cid(const struct iotsec_record *record)
{
    return record->header + IOTSEC_RECORD_HEADER_BYTES - 2; /* the length field is behind it */
}

/* ---- session.c ---- */

static inline struct iotsec_dtls_session *iotsec_session_find(const struct iotsec_dtls *dtls, const struct iotsec_dtls_path *path)
{
    return (struct iotsec_dtls_session *)(void *)iotsec_slot_find(dtls, POOL_SESSIONS, path, 0);
}

/* The record opens with the session's key or not. IOTSEC_ERR_AUTH and IOTSEC_ERR_REPLAY are not counted: the
 * record may belong to a handshake. On success its content waits in the context for iotsec_session_take. */
enum iotsec_status iotsec_session_open(struct iotsec_dtls *dtls, const struct iotsec_dtls_path *from,
                                       struct iotsec_dtls_session *session, const struct iotsec_record *record);
/* Handles such a content, if there is one; else returns `status`. Called between the records, so that the stack is shallow
 * under the application. */
enum iotsec_status iotsec_session_take(struct iotsec_dtls *dtls, enum iotsec_status status);
/* Makes the session of a handshake, in a new slot. */
void iotsec_session_fill(struct iotsec_dtls *dtls, struct iotsec_dtls_session *session, const struct iotsec_dtls_handshake *hs);
/* A tag failed under the key of that session, or of none. */
void iotsec_session_forged(struct iotsec_dtls *dtls, struct iotsec_dtls_session *session);
/* Looks at the next few sessions' idleness; returns the wait until the next look. */
uint32_t iotsec_session_tick(struct iotsec_dtls *dtls, uint32_t now);

/* ---- handshake.c ---- */

static inline struct iotsec_dtls_handshake *iotsec_handshake_find(const struct iotsec_dtls *dtls,
                                                                  const struct iotsec_dtls_path *path, bool is_server)
{
    if (is_server ? !IOTSEC_DTLS_SERVER : !IOTSEC_DTLS_CLIENT) {
        return NULL;
    }
    return (struct iotsec_dtls_handshake *)(void *)iotsec_slot_find(dtls, POOL_HANDSHAKES, path,
                                                                    is_server ? ROLE_SERVER : ROLE_CLIENT);
}

/* The oldest half-open handshake of an address that has proved nothing, or NULL: of all, or behind one relay. */
struct iotsec_dtls_handshake *iotsec_handshake_victim(const struct iotsec_dtls *dtls, const struct iotsec_dtls_path *relay);
/* Whether a hello would get no slot, with a cookie neither. */
bool iotsec_handshakes_full(const struct iotsec_dtls *dtls);
struct iotsec_dtls_handshake *iotsec_handshake_get(const struct iotsec_dtls *dtls, iotsec_dtls_handle handle);

/* Whether no free slot is left for what others begin: the rest is kept for this end's own handshakes. */
static inline bool iotsec_servers_full(const struct iotsec_dtls *dtls)
{
    const struct iotsec_dtls_config *config = dtls->config;

#if IOTSEC_PAIRWISE
    if (dtls->half_open + config->client_handshakes >= config->handshake_count) {
        return true;
    }
#endif
    return dtls->handshakes_used == config->handshake_count;
}

/* A handshake in its first state; NULL when the pool is full. With `replace`, the oldest half-open
 * handshake whose address has proved nothing makes room (its `failed` may run): of the same relay, if that
 * has as many as it may. */
struct iotsec_dtls_handshake *iotsec_handshake_new(struct iotsec_dtls *dtls, const struct iotsec_dtls_path *path, uint8_t role,
                                                   bool replace);
/* Wipes the slot. */
void iotsec_handshake_free(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs);
/* The same, and then tells the application. */
void iotsec_handshake_end(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs, enum iotsec_status reason);
/* The handshake messages of one record. `handle`: the handshake whose key opened it; 0: it came in the clear. */
enum iotsec_status iotsec_handshake_take(struct iotsec_dtls *dtls, const struct iotsec_dtls_path *from, iotsec_dtls_handle handle,
                                         const struct iotsec_record *record, const uint8_t *content, size_t len);
/* A record of epoch 1, for a session, a handshake or nobody. */
enum iotsec_status iotsec_handshake_protected(struct iotsec_dtls *dtls, const struct iotsec_dtls_path *from,
                                              const struct iotsec_record *record);
/* Keys are due, or exist since just now, or the session is: iotsec_handshake_go_on does the rest, not who noticed it, deep
 * inside of what opens records. */
static inline void iotsec_handshake_ready(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs)
{
    hs->slot.flags |= HS_READY;
    dtls->ready = 1;
}
/* Derives keys and makes sessions that are due, and takes records that waited for them as if they had come now. Called
 * between the records, where the stack is shallow. */
void iotsec_handshake_go_on(struct iotsec_dtls *dtls);
/* Does what is due; returns the wait until something is. */
uint32_t iotsec_handshake_tick(struct iotsec_dtls *dtls, uint32_t now);

/* ---- client.c, server.c ---- */

/* Takes a whole message that is next in order and allowed by the transition table. */
enum iotsec_status iotsec_client_take(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs,
                                      const struct iotsec_hs_message *message);
enum iotsec_status iotsec_server_take(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs,
                                      const struct iotsec_hs_message *message);
/* HS_CLIENT_GOT_DONE: derives the keys and sends our Finished. HS_SERVER_ASKED_PSK: asks for the PSK. Both may end it. */
void iotsec_client_finish(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs);
void iotsec_server_ask(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs);
/* Remembers what an unauthenticated answer points to. */
void iotsec_client_hint(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs, enum iotsec_status reason);
void iotsec_client_alert(struct iotsec_dtls_handshake *hs, const uint8_t alert[2]);
/* Begins again with a new random and these flags. */
void iotsec_client_retry(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs, uint16_t flags);
/* A ClientHello or a piece of one, from an address that may have nothing else here. */
enum iotsec_status iotsec_server_hello(struct iotsec_dtls *dtls, const struct iotsec_dtls_path *from,
                                       const struct iotsec_record *record, const struct iotsec_hs_message *message);
/* A record of the next epoch did not open with the keys that this handshake derived. */
void iotsec_server_wrong_key(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs);

/* ---- extensions.c ---- */

/* Both: ERR_CANCELLED when a row ended the handshake, whose slot is then gone. */
/* Appends this end's extensions, with their length in front; nothing at all if there are none. */
enum iotsec_status iotsec_extensions_write(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs, struct iotsec_writer *w);
/* Takes the peer's. On failure the handshake's scratch and flags are as they were.
 * ERR_PROTOCOL: not offered, or refused by its row. ERR_DECODE: malformed. ERR_NO_EMS,
 * ERR_NO_RENEGOTIATION_INFO: policy asks for it. A row's ERR_AGAIN, of a server, and its ERR_PEER_IDENTITY and
 * ERR_GENERATION, of a client, as they are. */
enum iotsec_status iotsec_extensions_parse(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs,
                                           struct iotsec_reader *r);

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
/* A message or a piece of one, as it stands on the wire: type, length (24), message_seq, fragment_offset (24),
 * fragment_length (24), fragment. */
bool iotsec_message_read(struct iotsec_reader *r, struct iotsec_hs_message *piece);
/* A handshake message's header, unfragmented. */
void iotsec_message_header(uint8_t out[IOTSEC_HANDSHAKE_HEADER_BYTES], uint8_t type, uint16_t seq, size_t length);

/* ---- cookie.c ---- */

/* `before` and `after`: the hello's body on either side of its cookie. */
enum iotsec_status iotsec_cookie_make(const struct iotsec_dtls *dtls, const struct iotsec_dtls_path *path, uint16_t period,
                                      const struct iotsec_slice *before, const struct iotsec_slice *after,
                                      uint8_t cookie[IOTSEC_COOKIE_BYTES]);
/* IOTSEC_OK: ours, and made in this period or the one before. IOTSEC_ERR_AUTH: not. IOTSEC_ERR_CRYPTO. */
enum iotsec_status iotsec_cookie_verify(const struct iotsec_dtls *dtls, const struct iotsec_dtls_path *path,
                                        const struct iotsec_slice *before, const struct iotsec_slice *after,
                                        const uint8_t *cookie, size_t len);
/* The period that it is now. */
uint16_t iotsec_cookie_period(const struct iotsec_dtls *dtls);

/* ---- reassembly.c ---- */

/* Keeps a piece, and forgets earlier ones that contradict it. OK: kept or known already. ERR_FULL: no room. */
enum iotsec_status iotsec_reassembly_add(struct iotsec_dtls_handshake *hs, const struct iotsec_hs_message *piece);
/* Whether message `seq` is whole; then `message` points into the buffer. */
bool iotsec_reassembly_whole(struct iotsec_dtls_handshake *hs, uint16_t seq, struct iotsec_hs_message *message);
/* Forgets message `seq`. */
void iotsec_reassembly_forget(struct iotsec_dtls_handshake *hs, uint16_t seq);
/* Forgets all. */
void iotsec_reassembly_clear(struct iotsec_dtls_handshake *hs);

/* ---- alert.c ---- */

/* The alert that goes with a reason. */
uint8_t iotsec_alert_of(enum iotsec_status reason);
/* What the peer means by a fatal alert. */
enum iotsec_status iotsec_alert_meaning(uint8_t description, bool authenticated);
/* Appends an alert; `seal` is NULL for one in the clear. */
void iotsec_alert_send(struct iotsec_dtls *dtls, const struct iotsec_dtls_path *to, const struct iotsec_seal *seal,
                       uint64_t sequence, uint8_t description);

/* ---- flight.c ---- */

/* Appends a record to the datagram under construction: epoch 1 under `seal`, or epoch 0 if that is NULL. */
enum iotsec_status iotsec_tx(struct iotsec_dtls *dtls, const struct iotsec_dtls_path *to, const struct iotsec_seal *seal,
                             uint8_t type, uint64_t sequence, const uint8_t *content, size_t len);
/* What such a record is longer by than its content. */
size_t iotsec_tx_overhead(const struct iotsec_seal *seal);
/* What a handshake that has keys seals with. */
void iotsec_hs_seal(const struct iotsec_dtls_handshake *hs, struct iotsec_seal *seal);
/* ChangeCipherSpec. */
void iotsec_tx_change_cipher_spec(struct iotsec_dtls *dtls, const struct iotsec_dtls_path *to, uint32_t sequence);
/* A handshake's plaintext alert: at most one a round and interval, and within the amplification limit. */
void iotsec_tx_alert(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs, enum iotsec_status reason);

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

#endif
