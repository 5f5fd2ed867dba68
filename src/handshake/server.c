/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The server's half.
 *
 *     ClientHello          -> HelloVerifyRequest                 when a cookie is due: nothing is kept
 *     ClientHello + cookie -> ServerHello, ServerHelloDone       a half-open handshake
 *     ClientKeyExchange       the PSK is looked up, perhaps elsewhere; keys
 *     Finished             -> ChangeCipherSpec, Finished         the session exists (dtls.c)
 */
#include "handshake/engine.h"

#include <string.h>

#if IOTSEC_DTLS_SERVER

/* As many handshakes, and a sixteenth of the slots, are begun at a time by a server that has enough to do. */
#define BUSY_HANDSHAKES 4u
/* One of them that has been half open for so long may be nobody's. */
#define IDLE_MS 8000u
/* A hello's record sequence is the first one of ours: room has to be left above it. */
#define HELLO_SEQUENCE_MAX 0xFFFF0000u

struct hello {
    uint16_t version;
    const uint8_t *random;
    const uint8_t *cookie;
    uint8_t cookie_len;
    struct iotsec_slice before; /* the cookie */
    struct iotsec_slice after;
    struct iotsec_reader suites;
    struct iotsec_reader compressions;
    struct iotsec_reader extensions;
    bool plain; /* no extensions at all */
};

/* C -> S  ClientHello: version, random, session_id, cookie, suites, compressions, extensions */
static bool parse_hello(struct hello *hello, const struct iotsec_hs_message *message)
{
    struct iotsec_reader r;
    const uint8_t *session_id;
    uint16_t len16;
    uint8_t len;

    iotsec_rd_init(&r, message->body, message->length);
    hello->before.data = r.next;
    if (!iotsec_rd_u16(&r, &hello->version) || !iotsec_rd_view(&r, &hello->random, IOTSEC_RANDOM_BYTES) ||
        !iotsec_rd_u8(&r, &len) || len > 32 || !iotsec_rd_view(&r, &session_id, len)) {
        return false;
    }
    hello->before.len = (size_t)(r.next - hello->before.data);
    if (!iotsec_rd_u8(&r, &hello->cookie_len) || !iotsec_rd_view(&r, &hello->cookie, hello->cookie_len)) {
        return false;
    }
    hello->after.data = r.next;
    hello->after.len = r.left;
    if (!iotsec_rd_u16(&r, &len16) || len16 < 2 || (len16 & 1u) != 0 || !iotsec_rd_sub(&r, &hello->suites, len16) ||
        !iotsec_rd_u8(&r, &len) || len < 1 || !iotsec_rd_sub(&r, &hello->compressions, len)) {
        return false;
    }
    iotsec_rd_init(&hello->extensions, NULL, 0);
    hello->plain = r.left == 0;
    return hello->plain || (iotsec_rd_u16(&r, &len16) && iotsec_rd_sub(&r, &hello->extensions, len16) && r.left == 0);
}

/* Version, suite and compression: what can be answered without keeping anything. */
static enum iotsec_status negotiate(const struct iotsec_dtls *dtls, struct hello *hello, uint16_t *suite, uint16_t *flags)
{
    uint16_t offer;
    uint8_t compression;
    bool null_compression = false;

    /* DTLS counts its versions down: 0xFEFD and what is below it can do 1.2 */
    if (hello->version > IOTSEC_VERSION_DTLS_1_2) {
        return IOTSEC_ERR_VERSION;
    }
    if (hello->plain && dtls->config->refuse_plain_hello) {
        return IOTSEC_ERR_NO_RENEGOTIATION_INFO;
    }
    while (iotsec_rd_u8(&hello->compressions, &compression)) {
        null_compression = null_compression || compression == 0;
    }
    if (!null_compression) {
        return IOTSEC_ERR_PROTOCOL;
    }
    *suite = 0;
    while (iotsec_rd_u16(&hello->suites, &offer)) {
        if (offer == IOTSEC_SUITE_RENEGOTIATION_SCSV) {
            *flags |= HS_RI;
        } else if (*suite == 0 && iotsec_suite_enabled(dtls, offer)) {
            *suite = offer;
        }
    }
    return *suite != 0 ? IOTSEC_OK : IOTSEC_ERR_NO_CIPHER;
}

/* Whether who begins now would only be in the way: of those whose handshakes are under way, and of what the application has to
 * send to those who are through. Silence, since anything else would be answered. */
static bool is_busy(const struct iotsec_dtls *dtls)
{
    return dtls->first_wait != 0 && dtls->half_open > BUSY_HANDSHAKES + dtls->config->handshake_count / 16;
}

/* Of a busy server's handshakes, one whose place is better given to somebody who answers a cookie: whoever only writes
 * addresses into hellos would else keep everybody out. */
static struct iotsec_dtls_handshake *find_idle(const struct iotsec_dtls *dtls)
{
    struct iotsec_dtls_handshake *hs = iotsec_handshake_victim(dtls, NULL);
    uint32_t age = iotsec_value_or(dtls->config->half_open_timeout_ms, IOTSEC_HALF_OPEN_TIMEOUT_MS);

    if (hs != NULL) {
        age -= iotsec_time_left(iotsec_dtls_now(dtls), hs->ends_at);
    }
    return age >= IDLE_MS ? hs : NULL;
}

static bool cookie_due(const struct iotsec_dtls *dtls, const struct iotsec_dtls_path *from)
{
    const struct iotsec_dtls_config *config = dtls->config;
    uint16_t threshold = config->cookie_threshold != 0 ? config->cookie_threshold : config->handshake_count / 2;

    if (config->cookie_policy == IOTSEC_COOKIE_ALWAYS ||
        (config->cookie_policy == IOTSEC_COOKIE_UNDER_LOAD && dtls->half_open > threshold) ||
        (config->cookie_policy == IOTSEC_COOKIE_WHILE_BUSY && dtls->half_open != 0)) {
        return true;
    }
    /* Whatever the policy: nobody who only writes a peer's address into a datagram may disturb what we
     * have with that peer, or what others have begun. */
    return is_busy(dtls) || iotsec_servers_full(dtls) || iotsec_relay_full(dtls, from) ||
           iotsec_session_find(dtls, from) != NULL || iotsec_handshake_find(dtls, from, true) != NULL ||
           iotsec_handshake_find(dtls, from, false) != NULL;
}

/* C <- S  HelloVerifyRequest: version, cookie. message_seq 0, the hello's record sequence. */
static enum iotsec_status send_verify_request(struct iotsec_dtls *dtls, const struct iotsec_dtls_path *from, uint32_t sequence,
                                              const struct hello *hello)
{
    uint8_t message[IOTSEC_HANDSHAKE_HEADER_BYTES + 3 + IOTSEC_COOKIE_BYTES];
    enum iotsec_status status;

    iotsec_message_header(message, IOTSEC_HS_HELLO_VERIFY_REQUEST, 0, 3 + IOTSEC_COOKIE_BYTES);
    iotsec_put_u16(message + 12, IOTSEC_VERSION_DTLS_1_0);
    message[14] = IOTSEC_COOKIE_BYTES;
    status = iotsec_cookie_make(dtls, from, iotsec_cookie_period(dtls), &hello->before, &hello->after, message + 15);
    if (status == IOTSEC_OK) {
        status = iotsec_tx(dtls, from, NULL, IOTSEC_CONTENT_HANDSHAKE, sequence, message, sizeof message);
    }
    return status;
}

/* C <- S  ServerHello: version, random, no session_id, suite, null compression, extensions
 * C <- S  ServerHelloDone: empty */
static enum iotsec_status build_server_hello(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs)
{
    struct iotsec_writer w;
    enum iotsec_status status;

    status = iotsec_dtls_random(dtls, hs->u.open.server_random, IOTSEC_RANDOM_BYTES);
    if (status != IOTSEC_OK) {
        return status;
    }
    iotsec_message_open(dtls, hs, &w, IOTSEC_HS_SERVER_HELLO);
    iotsec_wr_u16(&w, IOTSEC_VERSION_DTLS_1_2);
    iotsec_wr_copy(&w, hs->u.open.server_random, IOTSEC_RANDOM_BYTES);
    iotsec_wr_u8(&w, 0); /* never the client's session_id: that would be a resumption */
    iotsec_wr_u16(&w, hs->suite);
    iotsec_wr_u8(&w, 0);
    status = iotsec_extensions_write(dtls, hs, &w);
    if (status != IOTSEC_OK) {
        return status;
    }
    status = iotsec_message_close(hs, &w);
    if (status == IOTSEC_OK) {
        iotsec_message_open(dtls, hs, &w, IOTSEC_HS_SERVER_HELLO_DONE);
        status = iotsec_message_close(hs, &w);
    }
    return status == IOTSEC_OK ? iotsec_transcript_add(dtls, hs, hs->flight, hs->flight_len) : status;
}

/* Goes on from a hello that has earned its slot. On failure the slot is gone. */
static enum iotsec_status accept_hello(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs, struct hello *hello,
                                       const struct iotsec_hs_message *message, uint32_t sequence)
{
    enum iotsec_status status = negotiate(dtls, hello, &hs->suite, &hs->slot.flags);

    memcpy(hs->client_random, hello->random, IOTSEC_RANDOM_BYTES);
    hs->plain_sequence = sequence;
    hs->send_seq = message->seq;
    if (status == IOTSEC_OK) {
        status = iotsec_extensions_parse(dtls, hs, &hello->extensions);
    }
    if (status == IOTSEC_OK) {
        status = iotsec_transcript_message(dtls, hs, message);
    }
    if (status == IOTSEC_OK) {
        status = build_server_hello(dtls, hs);
    }
    if (status != IOTSEC_OK) {
        if (status == IOTSEC_ERR_CANCELLED) {
            return IOTSEC_OK;
        }
        if (!IOTSEC_PAIRWISE || status != IOTSEC_ERR_AGAIN) { /* AGAIN: as if it had been lost */
            iotsec_tx_alert(dtls, hs, status);
        }
        iotsec_handshake_free(dtls, hs);
        return iotsec_dtls_drop(dtls, status == IOTSEC_ERR_VERSION  ? IOTSEC_DROP_VERSION
                                      : status == IOTSEC_ERR_DECODE ? IOTSEC_DROP_MALFORMED
                                                                    : IOTSEC_DROP_NOT_ALLOWED);
    }
    iotsec_reassembly_clear(hs);
    hs->slot.state = iotsec_hs_next(HS_SERVER_GATHERS_HELLO, IOTSEC_HS_CLIENT_HELLO);
    hs->receive_seq = (uint16_t)(message->seq + 1);
    iotsec_flight_start(dtls, hs);
    return IOTSEC_OK;
}

/* A whole hello in one record. */
static enum iotsec_status take_hello(struct iotsec_dtls *dtls, const struct iotsec_dtls_path *from, const struct iotsec_record *record,
                                     const struct iotsec_hs_message *message)
{
    const struct iotsec_dtls_session *session = iotsec_session_find(dtls, from);
    struct iotsec_dtls_handshake *hs = iotsec_handshake_find(dtls, from, true);
    uint32_t sequence = (uint32_t)record->sequence;
    struct hello hello;
    enum iotsec_status cookie;

    if (!parse_hello(&hello, message)) {
        return iotsec_dtls_drop(dtls, IOTSEC_DROP_MALFORMED);
    }
    if (session != NULL && session->hello == iotsec_hello_mark(hello.random)) {
        /* the network's copy of the hello that made this session */
        return iotsec_dtls_drop(dtls, IOTSEC_DROP_REPLAY);
    }
    if (hs != NULL && memcmp(hs->client_random, hello.random, IOTSEC_RANDOM_BYTES) == 0) {
        if (hs->slot.state > HS_SERVER_SENT_DONE) {
            return iotsec_dtls_drop(dtls, IOTSEC_DROP_REPLAY);
        }
        if (message->seq + 1 == hs->receive_seq) {
            iotsec_flight_answer(dtls, hs);
            return IOTSEC_OK;
        }
    }
    cookie = IOTSEC_ERR_NOT_FOUND;
    if (hello.cookie_len != 0) {
        cookie = iotsec_cookie_verify(dtls, from, &hello.before, &hello.after, hello.cookie, hello.cookie_len);
    }
    /* where there is no room, a cookie would only bring another hello: the client learns it at once */
    if (cookie != IOTSEC_OK && cookie_due(dtls, from) && (hs != NULL || !iotsec_handshakes_full(dtls))) {
        /* 44 bytes at most for 67 at least: no amplification */
        enum iotsec_status status = send_verify_request(dtls, from, sequence, &hello);

        if (hs != NULL) {
            /* this hello counts for the flight's allowance, so its answer counts against it */
            hs->bytes_out += IOTSEC_RECORD_HEADER_BYTES + IOTSEC_HANDSHAKE_HEADER_BYTES + 3 + IOTSEC_COOKIE_BYTES;
        }
        return hello.cookie_len != 0 ? iotsec_dtls_drop(dtls, IOTSEC_DROP_COOKIE) : status;
    }
    if (hs == NULL && is_busy(dtls)) {
        hs = find_idle(dtls);
    }
    if (hs != NULL) {
        iotsec_handshake_end(dtls, hs, IOTSEC_ERR_REPLACED);
    }
    hs = iotsec_handshake_new(dtls, from, ROLE_SERVER, cookie == IOTSEC_OK);
    if (hs == NULL) {
        iotsec_alert_send(dtls, from, NULL, sequence, IOTSEC_ALERT_INTERNAL_ERROR);
        return iotsec_dtls_drop(dtls, iotsec_relay_full(dtls, from) ? IOTSEC_DROP_RELAY : IOTSEC_DROP_NO_ROOM);
    }
    if (cookie == IOTSEC_OK) {
        hs->slot.flags = HS_PROVED;
    }
    hs->bytes_in = IOTSEC_RECORD_HEADER_BYTES + (uint32_t)record->length;
    return accept_hello(dtls, hs, &hello, message, sequence);
}

/* A piece of a hello: no cookie can be checked before it is whole, so it gets a slot only where none is due. */
static enum iotsec_status gather_hello(struct iotsec_dtls *dtls, const struct iotsec_dtls_path *from,
                                       const struct iotsec_record *record, const struct iotsec_hs_message *piece)
{
    struct iotsec_dtls_handshake *hs = iotsec_handshake_find(dtls, from, true);
    struct iotsec_hs_message message;
    struct hello hello;

    if (hs == NULL) {
        if (cookie_due(dtls, from)) {
            return iotsec_dtls_drop(dtls, IOTSEC_DROP_COOKIE);
        }
        hs = iotsec_handshake_new(dtls, from, ROLE_SERVER, false);
        if (hs == NULL) {
            return iotsec_dtls_drop(dtls, IOTSEC_DROP_NO_ROOM);
        }
        hs->receive_seq = piece->seq;
        hs->bytes_in = IOTSEC_RECORD_HEADER_BYTES + (uint32_t)record->length;
    } else if (hs->slot.state != HS_SERVER_GATHERS_HELLO || piece->seq != hs->receive_seq) {
        return iotsec_dtls_drop(dtls, IOTSEC_DROP_UNEXPECTED);
    }
    if (iotsec_reassembly_add(hs, piece) != IOTSEC_OK) {
        return iotsec_dtls_drop(dtls, IOTSEC_DROP_NO_ROOM);
    }
    if (!iotsec_reassembly_whole(hs, piece->seq, &message)) {
        return IOTSEC_OK;
    }
    if (!parse_hello(&hello, &message)) {
        iotsec_handshake_free(dtls, hs);
        return iotsec_dtls_drop(dtls, IOTSEC_DROP_MALFORMED);
    }
    return accept_hello(dtls, hs, &hello, &message, (uint32_t)record->sequence);
}

enum iotsec_status iotsec_server_hello(struct iotsec_dtls *dtls, const struct iotsec_dtls_path *from,
                                       const struct iotsec_record *record, const struct iotsec_hs_message *message)
{
    if (dtls->config->callbacks->psk == NULL) {
        return iotsec_dtls_drop(dtls, IOTSEC_DROP_UNEXPECTED);
    }
    if (message->seq > HELLO_SEQ_MAX || record->sequence > HELLO_SEQUENCE_MAX) {
        return iotsec_dtls_drop(dtls, IOTSEC_DROP_MALFORMED);
    }
    if (is_busy(dtls) && iotsec_handshake_find(dtls, from, true) == NULL && find_idle(dtls) == NULL) {
        return iotsec_dtls_drop(dtls, IOTSEC_DROP_NO_ROOM);
    }
    return message->piece == message->length ? take_hello(dtls, from, record, message)
                                             : gather_hello(dtls, from, record, message);
}

/* The look-up has answered: keys, and our Finished stands ready. */
static void take_psk(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs, enum iotsec_status status,
                     const struct iotsec_dtls_psk *psk)
{
    if (status == IOTSEC_OK && (psk->len < 16 || psk->len > IOTSEC_PSK_MAX)) {
        status = IOTSEC_ERR_ARGUMENT;
    }
    if (status == IOTSEC_OK) {
        hs->peer = psk->peer;
        status = iotsec_keys_derive(dtls, hs, psk->key, psk->len, hs->flight);
    } else if (status == IOTSEC_ERR_UNKNOWN_IDENTITY) {
        uint8_t random[16];

        /* the same messages and the same work as for an identity that exists (RFC 4279, section 2) */
        hs->slot.flags |= HS_UNKNOWN;
        status = iotsec_dtls_random(dtls, random, sizeof random);
        if (status == IOTSEC_OK) {
            status = iotsec_keys_derive(dtls, hs, random, sizeof random, hs->flight);
        }
        iotsec_wipe(random, sizeof random);
    }
    if (status != IOTSEC_OK) {
        iotsec_tx_alert(dtls, hs, status);
        iotsec_handshake_end(dtls, hs, status);
        return;
    }
    hs->flight_len = FINISHED_BYTES;
    hs->slot.state = HS_SERVER_GOT_KEYS;
    iotsec_handshake_ready(dtls, hs);
}

/* C -> S  ClientKeyExchange: identity */
enum iotsec_status iotsec_server_take(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs,
                                      const struct iotsec_hs_message *message)
{
    struct iotsec_reader r;
    enum iotsec_status status;
    uint16_t len;

    iotsec_rd_init(&r, message->body, message->length);
    if (!iotsec_rd_u16(&r, &len) || len != r.left) {
        return iotsec_dtls_drop(dtls, IOTSEC_DROP_MALFORMED);
    }
    if (len > IOTSEC_IDENTITY_MAX) {
        return iotsec_dtls_drop(dtls, IOTSEC_DROP_TOO_LONG);
    }
    status = iotsec_transcript_message(dtls, hs, message);
    if (status != IOTSEC_OK) {
        iotsec_handshake_end(dtls, hs, status);
        return IOTSEC_OK;
    }
    hs->slot.state = iotsec_hs_next(hs->slot.state, message->type);
    hs->receive_seq++;
    hs->slot.flags |= HS_ASKED;
    hs->flight_len = 0; /* who sent ClientKeyExchange has our hello */
    /* behind the place of our Finished: IOTSEC_FLIGHT_BYTES has room for both */
    memcpy(hs->flight + FINISHED_BYTES, r.next, len);
    hs->identity = hs->flight + FINISHED_BYTES;
    hs->identity_len = (uint8_t)len;
    iotsec_flight_progress(dtls, hs);
    iotsec_handshake_ready(dtls, hs);
    return IOTSEC_OK;
}

void iotsec_server_ask(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs)
{
    iotsec_dtls_handle handle = hs->slot.handle;
    struct iotsec_dtls_psk psk;
    enum iotsec_status status;

    memset(&psk, 0, sizeof psk);
    status = dtls->config->callbacks->psk(dtls->config->user, handle, hs->identity, hs->identity_len, &psk);
    hs = iotsec_handshake_get(dtls, handle);
    /* else it has called iotsec_dtls_psk_complete at once, or ended the handshake */
    if (hs != NULL && hs->slot.state == HS_SERVER_ASKED_PSK && status != IOTSEC_ERR_PENDING) {
        take_psk(dtls, hs, status, &psk);
    }
    iotsec_wipe(&psk, sizeof psk);
}

enum iotsec_status iotsec_dtls_psk_complete(struct iotsec_dtls *dtls, iotsec_dtls_handle handshake, enum iotsec_status status,
                                            const struct iotsec_dtls_psk *psk)
{
    struct iotsec_dtls_handshake *hs;
    uint8_t busy;

    if (dtls == NULL || status == IOTSEC_ERR_PENDING ||
        (status == IOTSEC_OK && (psk == NULL || psk->len < 16 || psk->len > IOTSEC_PSK_MAX))) {
        return IOTSEC_ERR_ARGUMENT;
    }
    hs = iotsec_handshake_get(dtls, handshake);
    if (hs == NULL) {
        return IOTSEC_ERR_NOT_FOUND;
    }
    if (hs->slot.state != HS_SERVER_ASKED_PSK) {
        return IOTSEC_ERR_STATE;
    }
    busy = dtls->busy;
    dtls->busy = 1;
    take_psk(dtls, hs, status, psk);
    dtls->busy = busy;
    if (!busy) { /* else who is busy does */
        (void)iotsec_dtls_flush(dtls);
    }
    return IOTSEC_OK;
}

void iotsec_server_wrong_key(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs)
{
    iotsec_dtls_handle handle = hs->slot.handle;
    struct iotsec_addr addr = hs->path.addr;
    uint32_t peer = hs->peer;
    enum iotsec_status reason = (hs->slot.flags & HS_UNKNOWN) != 0 ? IOTSEC_ERR_UNKNOWN_IDENTITY : IOTSEC_ERR_WRONG_PSK;

    /* The wire does not tell an unknown identity from a wrong key. Anybody could have sent the record:
     * the handshake stays, and a genuine Finished still completes it. */
    iotsec_tx_alert(dtls, hs, IOTSEC_ERR_WRONG_PSK);
    if ((hs->slot.flags & HS_TOLD) == 0) {
        hs->slot.flags |= HS_TOLD;
        if (dtls->config->callbacks->failed != NULL) {
            dtls->config->callbacks->failed(dtls->config->user, handle, &addr, peer, reason);
        }
    }
}

#endif
