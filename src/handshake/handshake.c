/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A handshake in progress, whichever end this is: its slot, its messages in order, records that come
 * too early, its timers, and its end.
 *
 *     record of epoch 0 -> pieces -> whole messages in order -> transition table -> client.c or server.c
 *     record of epoch 1 -> the session's key, the handshake's key, or held until there is one
 *     Finished          -> the session
 */
#include "handshake/engine.h"

#include <string.h>

/* Strangers' records are answered this often at most. */
#define TELL_INTERVAL_MS 1000u

/* ---- Slots ---- */

struct iotsec_dtls_handshake *iotsec_handshake_get(const struct iotsec_dtls *dtls, iotsec_dtls_handle handle)
{
    if ((handle & HANDLE_HANDSHAKE) == 0) {
        return NULL;
    }
    return (struct iotsec_dtls_handshake *)(void *)iotsec_slot_get(dtls, handle);
}

#if IOTSEC_PAIRWISE
uint8_t *iotsec_dtls_scratch(const struct iotsec_dtls *dtls, iotsec_dtls_handle handshake)
{
    struct iotsec_dtls_handshake *hs = dtls != NULL ? iotsec_handshake_get(dtls, handshake) : NULL;

    return hs != NULL ? hs->scratch : NULL;
}

iotsec_dtls_handle iotsec_dtls_incoming(const struct iotsec_dtls *dtls, const struct iotsec_addr *addr, int *proved)
{
    const struct iotsec_dtls_handshake *hs = NULL;
    struct iotsec_dtls_path room;

    if (dtls != NULL && addr != NULL) {
        hs = iotsec_handshake_find(dtls, iotsec_path_of(addr, &room), true);
    }
    if (proved != NULL) {
        /* ClientKeyExchange proves nothing: it holds nothing of our ServerHello. Finished does, and ends the handshake. */
        *proved = hs != NULL && (hs->slot.flags & HS_PROVED) != 0;
    }
    return hs != NULL ? hs->slot.handle : 0;
}
#endif

#if IOTSEC_DTLS_SERVER
static bool is_behind(const struct iotsec_dtls_handshake *hs, const struct iotsec_dtls_path *relay)
{
#if IOTSEC_RELAYED
    return relay == NULL || (hs->path.relayed != 0 && iotsec_addr_equal(&hs->path.addr, &relay->addr));
#else
    (void)hs;
    (void)relay;
    return true;
#endif
}

struct iotsec_dtls_handshake *iotsec_handshake_victim(const struct iotsec_dtls *dtls, const struct iotsec_dtls_path *relay)
{
    struct iotsec_dtls_handshake *oldest = NULL;
    uint16_t i;

    for (i = 0; i < dtls->config->handshake_count; i++) {
        struct iotsec_dtls_handshake *hs = &dtls->config->handshakes[i];

        if (hs->slot.state != HS_FREE && hs->slot.role == ROLE_SERVER && (hs->slot.flags & HS_PROVED) == 0 &&
            is_behind(hs, relay) &&
            (oldest == NULL || !iotsec_time_reached(hs->ends_at, oldest->ends_at))) {
            oldest = hs;
        }
    }
    return oldest;
}

bool iotsec_handshakes_full(const struct iotsec_dtls *dtls)
{
    return dtls->handshakes_used == dtls->config->handshake_count && iotsec_handshake_victim(dtls, NULL) == NULL;
}
#endif

struct iotsec_dtls_handshake *iotsec_handshake_new(struct iotsec_dtls *dtls, const struct iotsec_dtls_path *path, uint8_t role,
                                                   bool replace)
{
    struct iotsec_dtls_slot *slot;
    struct iotsec_dtls_handshake *hs;

#if IOTSEC_DTLS_SERVER
    if (role == ROLE_SERVER && iotsec_relay_full(dtls, path)) {
        hs = replace ? iotsec_handshake_victim(dtls, path) : NULL;
        if (hs == NULL) {
            return NULL;
        }
        iotsec_handshake_end(dtls, hs, IOTSEC_ERR_REPLACED);
    }
#endif
    slot = IOTSEC_PAIRWISE && role == ROLE_SERVER && iotsec_servers_full(dtls) ? NULL
                                                                                 : iotsec_slot_new(dtls, POOL_HANDSHAKES, path);
#if IOTSEC_DTLS_SERVER
    if (slot == NULL && replace && (hs = iotsec_handshake_victim(dtls, NULL)) != NULL) {
        iotsec_handshake_end(dtls, hs, IOTSEC_ERR_REPLACED);
        slot = iotsec_slot_new(dtls, POOL_HANDSHAKES, path); /* unless the application has taken it */
    }
#else
    (void)replace;
#endif
    if (slot == NULL) {
        return NULL;
    }
    hs = (struct iotsec_dtls_handshake *)(void *)slot;
    hs->slot.state = role == ROLE_SERVER ? HS_SERVER_GATHERS_HELLO : HS_CLIENT_SENT_HELLO;
    hs->slot.role = role;
    hs->ends_at = iotsec_dtls_now(dtls) + (iotsec_hs_is_server(hs)
                                               ? iotsec_value_or(dtls->config->half_open_timeout_ms, IOTSEC_HALF_OPEN_TIMEOUT_MS)
                                               : iotsec_value_or(dtls->config->handshake_timeout_ms, IOTSEC_HANDSHAKE_TIMEOUT_MS));
    hs->retransmit_wait = dtls->first_wait;
    if (role == ROLE_SERVER) {
        dtls->half_open++;
    }
    return hs;
}

/* From here on nobody finds it. */
static void hide(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs)
{
    if (hs->slot.role == ROLE_SERVER) {
        dtls->half_open--;
    }
    hs->slot.role = ROLE_NONE;
}

void iotsec_handshake_free(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs)
{
    hide(dtls, hs);
    iotsec_transcript_abort(dtls, hs);
    iotsec_slot_free(dtls, &hs->slot);
}

void iotsec_handshake_end(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs, enum iotsec_status reason)
{
    iotsec_dtls_handle handle = hs->slot.handle;
    struct iotsec_addr addr = hs->path.addr;
    uint32_t peer = hs->peer;
    bool told = !iotsec_hs_is_server(hs) || (hs->slot.flags & HS_ASKED) != 0;

    iotsec_handshake_free(dtls, hs);
    if (told && dtls->config->callbacks->failed != NULL) {
        dtls->config->callbacks->failed(dtls->config->user, handle, &addr, peer, reason);
    }
}

enum iotsec_status iotsec_dtls_cancel(struct iotsec_dtls *dtls, iotsec_dtls_handle handshake)
{
    struct iotsec_dtls_handshake *hs;

    if (dtls == NULL) {
        return IOTSEC_ERR_ARGUMENT;
    }
    hs = iotsec_handshake_get(dtls, handshake);
    if (hs == NULL) {
        return IOTSEC_ERR_NOT_FOUND;
    }
    iotsec_handshake_free(dtls, hs);
    return IOTSEC_OK;
}

/* What is done about a record that no key here explains: not those of this handshake and this session, if there are any. */
static enum iotsec_status refuse_forgery(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs, uint8_t type,
                                         struct iotsec_dtls_session *session)
{
#if IOTSEC_DTLS_SERVER
    iotsec_dtls_handle handle = hs != NULL && iotsec_hs_is_server(hs) && type != IOTSEC_CONTENT_ALERT ? hs->slot.handle : 0;
#else
    (void)hs;
    (void)type;
#endif

    iotsec_session_forged(dtls, session);
#if IOTSEC_DTLS_SERVER
    hs = iotsec_handshake_get(dtls, handle);
    if (hs != NULL) {
        iotsec_server_wrong_key(dtls, hs);
    }
#endif
    return iotsec_dtls_drop(dtls, IOTSEC_DROP_AUTH);
}

/* ---- Messages ---- */

/* A whole message that is next in order. */
static enum iotsec_status take_message(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs,
                                       const struct iotsec_hs_message *message, uint64_t sequence)
{
    enum iotsec_status hint = IOTSEC_ERR_UNEXPECTED;
    enum iotsec_drop drop = IOTSEC_DROP_UNEXPECTED;

    if (iotsec_hs_next(hs->slot.state, message->type) != HS_FREE) {
        if (message->type != IOTSEC_HS_FINISHED) {
#if IOTSEC_DTLS_SERVER
            if (iotsec_hs_is_server(hs)) {
                return iotsec_server_take(dtls, hs, message);
            }
#endif
#if IOTSEC_DTLS_CLIENT
            return iotsec_client_take(dtls, hs, message);
#endif
        }
        if (message->length == IOTSEC_VERIFY_DATA_BYTES &&
            iotsec_ct_equal(message->body, hs->u.keyed.expected, IOTSEC_VERIFY_DATA_BYTES)) {
            hs->u.keyed.sequence = sequence;
            hs->slot.state = HS_DONE;
            iotsec_handshake_ready(dtls, hs);
            return IOTSEC_OK;
        }
        /* The key is right and the transcript is not: somebody changed a message on the way. */
        hint = IOTSEC_ERR_PROTOCOL;
        drop = IOTSEC_DROP_AUTH;
    }
#if IOTSEC_DTLS_SERVER
    if (iotsec_hs_is_server(hs)) {
        if (drop == IOTSEC_DROP_AUTH) {
            iotsec_server_wrong_key(dtls, hs);
        }
        return iotsec_dtls_drop(dtls, drop);
    }
#endif
#if IOTSEC_DTLS_CLIENT
    iotsec_client_hint(dtls, hs, hint);
#endif
    (void)hint;
    return iotsec_dtls_drop(dtls, drop);
}

/* A message or a piece of one for a handshake that exists. */
static enum iotsec_status take_piece(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs,
                                     const struct iotsec_hs_message *piece, const struct iotsec_record *record)
{
    iotsec_dtls_handle handle = hs->slot.handle;
    bool whole = piece->piece == piece->length;
    uint16_t ahead = (uint16_t)(piece->seq - hs->receive_seq);
    struct iotsec_hs_message message;
    enum iotsec_status status;

    if ((piece->type == IOTSEC_HS_FINISHED) != (record->epoch == 1) ||
        !iotsec_hs_known(iotsec_hs_is_server(hs), piece->type)) {
        return iotsec_dtls_drop(dtls, IOTSEC_DROP_UNEXPECTED);
    }
#if IOTSEC_DTLS_CLIENT
    /* a server without state counts from 0 each time */
    if (piece->type == IOTSEC_HS_HELLO_VERIFY_REQUEST && whole && piece->seq <= hs->receive_seq) {
        if (hs->slot.state == HS_CLIENT_SENT_HELLO) {
            /* It has the record number of the hello that it answers (RFC 6347, section 4.2.1). If that was the last copy,
             * Karn's doubt does not arise. */
            if ((uint32_t)record->sequence + 1 == hs->plain_sequence) {
                iotsec_hs_unset(hs, HS_REPEATED);
            }
            return iotsec_client_take(dtls, hs, piece);
        }
        /* A server that wants a cookie has sent no ServerHello: this one is late, or that one was forged. */
        hs->slot.flags |= HS_DOUBTED;
        return iotsec_dtls_drop(dtls, IOTSEC_DROP_REPLAY);
    }
#endif
    if (ahead >= 0x8000u) {
        /* The server repeats its flight, so ours was lost. (What a client repeats is answered where its
         * hello or its Finished is taken.) */
        if (hs->slot.state == HS_CLIENT_SENT_FINISHED) {
            iotsec_flight_answer(dtls, hs);
        } else if (hs->slot.state == HS_CLIENT_GOT_KEY_EXCHANGE && piece->type == IOTSEC_HS_SERVER_HELLO_DONE) {
            hs->slot.flags |= HS_DOUBTED; /* the server's place for it is where a ServerKeyExchange was taken */
        }
        return iotsec_dtls_drop(dtls, IOTSEC_DROP_REPLAY);
    }
    if (ahead >= IOTSEC_REASSEMBLY_MESSAGES) {
        return iotsec_dtls_drop(dtls, IOTSEC_DROP_UNEXPECTED);
    }
    if (ahead == 0 && whole) {
        message = *piece;
    } else {
        if (iotsec_reassembly_add(hs, piece) != IOTSEC_OK) {
            return iotsec_dtls_drop(dtls, IOTSEC_DROP_NO_ROOM);
        }
        if (!iotsec_reassembly_whole(hs, hs->receive_seq, &message)) {
            return IOTSEC_OK;
        }
    }
    /* What waited may be next then. A message that is refused here is forgotten: it may come again. */
    do {
        status = take_message(dtls, hs, &message, record->sequence);
        hs = iotsec_handshake_get(dtls, handle);
        if (hs == NULL) {
            break;
        }
        if (status == IOTSEC_OK || message.body != piece->body) {
            iotsec_reassembly_forget(hs, message.seq);
        }
    } while (status == IOTSEC_OK && iotsec_reassembly_whole(hs, hs->receive_seq, &message));
    return status;
}

bool iotsec_message_read(struct iotsec_reader *r, struct iotsec_hs_message *piece)
{
    const uint8_t *header;

    if (!iotsec_rd_view(r, &header, IOTSEC_HANDSHAKE_HEADER_BYTES)) {
        return false;
    }
    piece->type = header[0];
    piece->length = iotsec_get_u32(header) & 0xFFFFFFu;
    piece->seq = iotsec_get_u16(header + 4);
    piece->offset = iotsec_get_u32(header + 5) & 0xFFFFFFu;
    piece->piece = iotsec_get_u32(header + 8) & 0xFFFFFFu;
    return iotsec_rd_view(r, &piece->body, piece->piece) && piece->offset <= piece->length &&
           piece->piece <= piece->length - piece->offset;
}

enum iotsec_status iotsec_handshake_take(struct iotsec_dtls *dtls, const struct iotsec_dtls_path *from, iotsec_dtls_handle handle,
                                         const struct iotsec_record *record, const uint8_t *content, size_t len)
{
    struct iotsec_reader r;
    enum iotsec_status result = IOTSEC_ERR_DECODE;

    iotsec_rd_init(&r, content, len);
    do {
        struct iotsec_hs_message piece;
        struct iotsec_dtls_handshake *hs;
        enum iotsec_status status;

        if (!iotsec_message_read(&r, &piece)) {
            status = iotsec_dtls_drop(dtls, IOTSEC_DROP_MALFORMED);
            return result == IOTSEC_OK ? result : status;
        }
        hs = handle != 0 ? iotsec_handshake_get(dtls, handle)
                         : iotsec_handshake_find(dtls, from, iotsec_hs_known(true, piece.type));
#if IOTSEC_DTLS_SERVER
        if (handle == 0 && piece.type == IOTSEC_HS_CLIENT_HELLO) {
            status = iotsec_server_hello(dtls, from, record, &piece);
        } else
#endif
        if (hs != NULL) {
            status = take_piece(dtls, hs, &piece, record);
        } else {
            status = iotsec_dtls_drop(dtls, iotsec_session_find(dtls, from) != NULL ? IOTSEC_DROP_PLAINTEXT
                                                                                    : IOTSEC_DROP_NO_SESSION);
        }
        if (result != IOTSEC_OK) {
            result = status;
        }
    } while (r.left != 0);
    return result;
}

/* ---- Records of epoch 1 ---- */

/* A record that belongs to a handshake with keys before it belongs to a session. With our Connection ID it comes from a
 * client, which has nothing to say in the session before it has our Finished. */
static bool is_early(uint8_t type)
{
    return type == IOTSEC_CONTENT_HANDSHAKE || type == IOTSEC_CONTENT_ALERT || (CID_OWN && type == IOTSEC_CONTENT_TLS12_CID);
}

/* The session that may have sealed the record. Every ID is of one session or handshake of ours alone. */
static struct iotsec_dtls_session *find_sealer(const struct iotsec_dtls *dtls, const struct iotsec_dtls_path *from,
                                               const struct iotsec_record *record)
{
#if CID_OWN
    return iotsec_record_has_cid(record) ? iotsec_cid_find(dtls, iotsec_record_cid(record)) : iotsec_session_find(dtls, from);
#else
    (void)record;
    return iotsec_session_find(dtls, from);
#endif
}

/* Whether a record fits what this handshake's peer was asked for: our ID, or none. */
static bool has_right_cid(const struct iotsec_dtls_handshake *hs, const struct iotsec_record *record)
{
#if CID_OWN
    if (iotsec_hs_is_server(hs) && (hs->slot.flags & HS_CID) != 0) {
        return iotsec_record_has_cid(record) && memcmp(hs->cid, iotsec_record_cid(record), sizeof hs->cid) == 0;
    }
#endif
    (void)hs;
    return !iotsec_record_has_cid(record);
}

/* IOTSEC_ERR_AUTH: the tag is wrong, and that is not counted yet. */
static enum iotsec_status open_record(struct iotsec_dtls *dtls, const struct iotsec_dtls_path *from,
                                      struct iotsec_dtls_handshake *hs, const struct iotsec_record *record)
{
    enum iotsec_status status;
    uint8_t *content;
    uint8_t type;
    size_t len;

    status = iotsec_dtls_open(dtls, &hs->u.keyed.read_key, iotsec_suite_tag(hs->suite), record, &type, &content, &len);
    if (status == IOTSEC_ERR_DECODE) {
        return iotsec_dtls_drop(dtls, IOTSEC_DROP_MALFORMED);
    }
    if (status != IOTSEC_OK) {
        return status;
    }
    if (CID_OWN && type != IOTSEC_CONTENT_ALERT && type != IOTSEC_CONTENT_HANDSHAKE) {
        return iotsec_dtls_drop(dtls, IOTSEC_DROP_UNEXPECTED);
    }
    if (type != IOTSEC_CONTENT_ALERT) {
        status = iotsec_handshake_take(dtls, from, hs->slot.handle, record, content, len);
        return status == IOTSEC_ERR_AUTH ? IOTSEC_ERR_UNEXPECTED : status; /* counted */
    }
    /* C <-> S  {Alert} before the session exists: authenticated by the PSK, so it is believed. */
    if (len == 2 && (content[0] == IOTSEC_ALERT_FATAL || content[1] == IOTSEC_ALERT_CLOSE_NOTIFY)) {
        iotsec_handshake_end(dtls, hs,
                             content[1] == IOTSEC_ALERT_CLOSE_NOTIFY ? IOTSEC_ERR_CLOSED : iotsec_alert_meaning(content[1], true));
    }
    return IOTSEC_OK;
}

/* Where the record stands that a handshake holds. */
static uint8_t *get_held(struct iotsec_dtls_handshake *hs)
{
    return hs->reassembly + sizeof hs->reassembly - hs->held_len;
}

/* Keeps one record that came too early, if messages in pieces have left room. A Finished is worth more than what follows
 * it. */
static bool hold_record(struct iotsec_dtls_handshake *hs, const struct iotsec_record *record, size_t len)
{
    if ((hs->held_len != 0 && (!is_early(record->type) || get_held(hs)[0] == IOTSEC_CONTENT_HANDSHAKE ||
                               iotsec_record_has_cid(record))) ||
        len > sizeof hs->reassembly - hs->reassembly_len) {
        return false;
    }
    hs->held_len = (uint16_t)len;
    memcpy(get_held(hs), record->header, len);
    return true;
}

/* A record that nothing here explains: its sender may have a session that this end has lost. The answer is shorter than any
 * protected record, and who forges such an answer gets no more than a handshake out of it. */
static void tell_stranger(struct iotsec_dtls *dtls, const struct iotsec_dtls_path *from)
{
#if IOTSEC_PAIRWISE
    uint32_t now = iotsec_dtls_now(dtls);

    if (dtls->config->tell_strangers && now - dtls->told_at >= TELL_INTERVAL_MS) {
        dtls->told_at = now;
        iotsec_alert_send(dtls, from, NULL, 0, IOTSEC_ALERT_UNEXPECTED_MESSAGE);
    }
#else
    (void)dtls;
    (void)from;
#endif
}

/*
 * Until a new handshake with the same address has ended, nobody knows whose a record of epoch 1 is: the
 * session's key is tried first, then the handshakes'. Opening happens in place and wipes what does not
 * open, so the record is put aside in the (flushed) transmit buffer when there is more than one key to
 * try; only what is as short as a Finished can be meant for a handshake.
 */
enum iotsec_status iotsec_handshake_protected(struct iotsec_dtls *dtls, const struct iotsec_dtls_path *from,
                                              const struct iotsec_record *record)
{
    struct iotsec_dtls_session *session = find_sealer(dtls, from, record);
    enum iotsec_drop reason = session != NULL ? IOTSEC_DROP_REPLAY : IOTSEC_DROP_NO_SESSION;
    size_t len = (size_t)(record->body - record->header) + record->length;
    struct iotsec_dtls_handshake *takers[2];
    struct iotsec_dtls_handshake *failed_handshake = NULL;
    struct iotsec_dtls_session *failed_session = NULL;
    enum iotsec_status status;
    unsigned keys;
    bool failed = false;
    unsigned role;

#if CID_OWN
    if (session != NULL && !iotsec_record_has_cid(record) && (session->slot.flags & SESSION_CID) != 0) {
        session = NULL; /* its peer never writes such a record */
        reason = IOTSEC_DROP_NOT_ALLOWED;
    }
#endif
    keys = session != NULL;

    for (role = ROLE_FIRST; role <= ROLE_LAST; role++) {
        struct iotsec_dtls_handshake *hs = iotsec_handshake_find(dtls, from, role == ROLE_SERVER);

        takers[role] = NULL;
        if (hs != NULL) {
            if (hs->slot.state < HS_CLIENT_SENT_FINISHED || hs->slot.state == HS_SERVER_GATHERS_HELLO) {
                reason = IOTSEC_DROP_EPOCH;
            } else if (!has_right_cid(hs, record)) {
                reason = IOTSEC_DROP_NOT_ALLOWED;
            } else if (len > IOTSEC_HELD_RECORD_BYTES) {
                reason = IOTSEC_DROP_TOO_LONG;
            } else {
                reason = IOTSEC_DROP_NO_ROOM;
                takers[role] = hs;
                keys++;
            }
        }
    }
    if (keys > 1) {
        (void)iotsec_dtls_flush(dtls);
        memcpy(dtls->config->tx, record->header, len);
    }
    if (session != NULL) {
        status = iotsec_session_open(dtls, from, session, record);
        if (status != IOTSEC_ERR_AUTH && status != IOTSEC_ERR_REPLAY) {
            return status;
        }
        if (status == IOTSEC_ERR_AUTH) {
            failed_session = session;
            failed = true;
        } else {
            reason = IOTSEC_DROP_REPLAY;
        }
    }
    for (role = ROLE_FIRST; role <= ROLE_LAST; role++) {
        struct iotsec_dtls_handshake *hs = takers[role];

        if (hs == NULL) {
            continue;
        }
        if (keys > 1) {
            memcpy(record->header, dtls->config->tx, len);
        }
        if (!iotsec_hs_has_keys(hs) || !is_early(record->type)) {
            if (hold_record(hs, record, len)) {
                return IOTSEC_OK;
            }
        } else {
            status = open_record(dtls, from, hs, record);
            if (status != IOTSEC_ERR_AUTH) {
                return status;
            }
            failed_handshake = hs;
            failed = true;
        }
    }
    /* what answers our own close_notify, or repeats a Finished, comes from nobody who goes on sending */
    if (reason == IOTSEC_DROP_NO_SESSION && record->type != IOTSEC_CONTENT_ALERT && record->type != IOTSEC_CONTENT_HANDSHAKE) {
        tell_stranger(dtls, from);
    }
    return failed ? refuse_forgery(dtls, failed_handshake, record->type, failed_session) : iotsec_dtls_drop(dtls, reason);
}

/* ---- Steps of their own ---- */

/* Tells an authenticated peer why there will be no session, and forgets it. */
static void refuse_session(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs, enum iotsec_status reason)
{
    struct iotsec_seal seal;

    iotsec_hs_seal(hs, &seal);
    iotsec_alert_send(dtls, &hs->path, &seal, hs->write_sequence, iotsec_alert_of(reason));
    iotsec_handshake_end(dtls, hs, reason);
}

/* Whether a session makes room for one of another peer at the same address. Between devices it does: who has authenticated
 * itself there is there now, and the other one is not any more. The manager's, which has the number 0, never does. */
static bool gives_way(const struct iotsec_dtls *dtls, const struct iotsec_dtls_session *session)
{
#if IOTSEC_PAIRWISE
    return dtls->config->callbacks->client_psk != NULL && session->peer != 0;
#else
    (void)dtls;
    (void)session;
    return false;
#endif
}

/* C <-> S  {Finished} was right. The session exists. */
static OWN_FRAME void make_session(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs)
{
    const struct iotsec_dtls_callbacks *callbacks = dtls->config->callbacks;
    struct iotsec_dtls_session *session = iotsec_session_find(dtls, &hs->path);
    struct iotsec_dtls_info info;

    info.replaced = 0;
    if (session != NULL) {
        if (session->peer != hs->peer && !gives_way(dtls, session)) {
            refuse_session(dtls, hs, IOTSEC_ERR_EXISTS);
            return;
        }
        info.replaced = session->slot.handle;
        iotsec_slot_free(dtls, &session->slot);
    }
    session = (struct iotsec_dtls_session *)(void *)iotsec_slot_new(dtls, POOL_SESSIONS, &hs->path);
    if (session == NULL) {
        refuse_session(dtls, hs, IOTSEC_ERR_RESOURCES);
        return;
    }
    info.is_server = iotsec_hs_is_server(hs);
    if (info.is_server) {
        iotsec_flight_start(dtls, hs);
    }
    iotsec_session_fill(dtls, session, hs);

    /* The slot lives on until the record that it holds has been opened; but nobody finds it. */
    hide(dtls, hs);
    info.session = session->slot.handle;
    info.handshake = hs->slot.handle;
    info.addr = &hs->path.addr;
    info.relayed = 0;
#if IOTSEC_RELAYED
    info.relayed = hs->path.relayed != 0;
#endif
    info.connection_id = (hs->slot.flags & HS_CID) != 0;
    info.peer = hs->peer;
    info.suite = hs->suite;
    info.extended_master_secret = (hs->slot.flags & HS_EMS) != 0;
    info.scratch = hs->scratch;
#if IOTSEC_PAIRWISE
    info.identity = hs->identity;
    info.identity_len = hs->identity_len;
    info.exported = iotsec_hs_exports(dtls, hs) ? hs->u.keyed.exported : NULL;
#endif
    if (callbacks->established != NULL) {
        callbacks->established(dtls->config->user, &info);
    }
}

/* Opens what the handshake holds as if it had come now. What is for the session waits for it. */
static OWN_FRAME enum iotsec_status open_held(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs,
                                              const struct iotsec_dtls_path *from)
{
    uint8_t *next = get_held(hs);
    size_t left = hs->held_len;
    struct iotsec_record record;
    enum iotsec_status status = IOTSEC_OK;

    if (left != 0 && (hs->slot.state == HS_DONE || is_early(next[0]))) {
        if (iotsec_dtls_parse(dtls, &record, &next, &left) == IOTSEC_OK) {
            status = iotsec_handshake_protected(dtls, from, &record);
        }
        hs->held_len = 0;
    }
    return status;
}

void iotsec_handshake_go_on(struct iotsec_dtls *dtls)
{
    uint16_t i;

    while (dtls->ready) { /* one step may make the next one due */
        dtls->ready = 0;
        for (i = 0; i < dtls->config->handshake_count; i++) {
            struct iotsec_dtls_handshake *hs = &dtls->config->handshakes[i];
            struct iotsec_dtls_path from;

            if ((hs->slot.flags & HS_READY) == 0) {
                continue;
            }
            iotsec_hs_unset(hs, HS_READY);
#if IOTSEC_DTLS_CLIENT
            if (hs->slot.state == HS_CLIENT_GOT_DONE) {
                iotsec_client_finish(dtls, hs);
                continue;
            }
#endif
#if IOTSEC_DTLS_SERVER
            if (hs->slot.state == HS_SERVER_ASKED_PSK) {
                iotsec_server_ask(dtls, hs);
                continue;
            }
#endif
            if (hs->slot.state == HS_DONE) {
                make_session(dtls, hs);
            }
            from = hs->path; /* the handshake may end */
            (void)iotsec_session_take(dtls, open_held(dtls, hs, &from));
            if (hs->slot.state == HS_DONE && hs->slot.role == ROLE_NONE) {
                iotsec_handshake_free(dtls, hs);
            }
        }
    }
}

/* ---- What is due ---- */

static enum iotsec_status reason_at_deadline(const struct iotsec_dtls *dtls, const struct iotsec_dtls_handshake *hs)
{
    if (iotsec_hs_is_server(hs)) {
        return IOTSEC_ERR_TIMEOUT;
    }
    if (hs->hint != 0) {
        return (enum iotsec_status)hs->hint;
    }
    /* The hello was answered and a dozen copies of our Finished were not. OpenSSL and GnuTLS drop one that
     * was made with another key without a word. A domain manager does not: its silence is loss, a look-up that
     * takes too long, or a table that is full. */
    return hs->slot.state == HS_CLIENT_SENT_FINISHED && !dtls->config->key_management ? IOTSEC_ERR_WRONG_PSK
                                                                                      : IOTSEC_ERR_NO_ANSWER;
}

/* Ends a handshake whose time is over, or repeats its flight. */
static void tick(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs, uint32_t now)
{
    if (iotsec_time_reached(now, hs->ends_at)) {
        iotsec_handshake_end(dtls, hs, reason_at_deadline(dtls, hs));
        return;
    }
#if IOTSEC_DTLS_CLIENT
    if (hs->rounds >= ((hs->slot.flags & HS_REFUSED) != 0 ? 1u : HINT_ROUNDS)) {
        if ((hs->slot.flags & HS_DOUBTED) != 0 && ((hs->slot.flags & HS_REFUSED) == 0 || hs->rounds < REFUSED_ROUNDS)) {
            iotsec_client_retry(dtls, hs, hs->slot.flags & (HS_RETRIED | HS_REFUSED));
            return;
        }
        if (hs->hint != 0 && hs->slot.state == HS_CLIENT_SENT_FINISHED && (hs->slot.flags & HS_RETRIED) == 0) {
            iotsec_client_retry(dtls, hs, HS_RETRIED);
            return;
        }
        if (hs->hint != 0 && hs->rounds >= REFUSED_ROUNDS) {
            iotsec_handshake_end(dtls, hs, (enum iotsec_status)hs->hint);
            return;
        }
    }
#endif
    if (hs->rounds < HINT_ROUNDS) {
        hs->rounds++;
    }
    iotsec_flight_repeat(dtls, hs);
}

uint32_t iotsec_handshake_tick(struct iotsec_dtls *dtls, uint32_t now)
{
    const struct iotsec_dtls_config *config = dtls->config;
    uint32_t wait = UINT32_MAX;
    unsigned pass;
    uint16_t i;

    /* The waits are looked at after the callbacks, which may have started new handshakes. */
    for (pass = 0; pass < 2; pass++) {
        for (i = 0; dtls->handshakes_used != 0 && i < config->handshake_count; i++) {
            struct iotsec_dtls_handshake *hs = &config->handshakes[i];
            uint32_t left = iotsec_time_left(now, hs->ends_at);

            if (hs->slot.state == HS_FREE) {
                continue;
            }
            if (iotsec_flight_timed(hs)) {
                left = iotsec_min_u32(left, iotsec_time_left(now, hs->retransmit_at));
            }
            if (pass != 0) {
                wait = iotsec_min_u32(wait, left);
            } else if (left == 0) {
                tick(dtls, hs, now);
            }
        }
    }
    return wait;
}
