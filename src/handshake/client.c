/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The client's half.
 *
 *     connect            -> ClientHello
 *     HelloVerifyRequest -> ClientHello + cookie
 *     ServerHello           suite, extensions; the transcript starts
 *     ServerKeyExchange     only a hint for choosing a PSK: nothing to do
 *     ServerHelloDone    -> ClientKeyExchange, ChangeCipherSpec, Finished
 *     Finished              the session exists
 *
 * Until the server's Finished anybody could have sent what arrives. So nothing here ends a handshake
 * at once: what is wrong is dropped and remembered as a hint, and only when several repeats of the
 * flight brought nothing better is the hint believed.
 */
#include "handshake/engine.h"

#include <string.h>

#if IOTSEC_DTLS_CLIENT

/* Where the cookie's length stands in our ClientHello: after header, version, random, empty session_id. */
#define COOKIE_AT (IOTSEC_HANDSHAKE_HEADER_BYTES + 2u + IOTSEC_RANDOM_BYTES + 1u)

/* Writes ClientHello, as the whole flight. `cookie` does not stand in the flight. */
static enum iotsec_status build_hello(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs, const uint8_t *cookie,
                                      size_t cookie_len)
{
    struct iotsec_writer w;
    enum iotsec_status status;
    size_t suites;

    hs->flight_len = 0;
    iotsec_message_open(dtls, hs, &w, IOTSEC_HS_CLIENT_HELLO);
    iotsec_wr_u16(&w, IOTSEC_VERSION_DTLS_1_2);
    iotsec_wr_copy(&w, hs->client_random, sizeof hs->client_random);
    iotsec_wr_u8(&w, 0); /* no session_id: there is no resumption */
    iotsec_wr_u8(&w, (uint8_t)cookie_len);
    iotsec_wr_copy(&w, cookie, cookie_len);
    suites = iotsec_wr_open16(&w);
    if (iotsec_suite_enabled(dtls, IOTSEC_SUITE_PSK_AES_128_CCM_8)) {
        iotsec_wr_u16(&w, IOTSEC_SUITE_PSK_AES_128_CCM_8);
    }
    if (iotsec_suite_enabled(dtls, IOTSEC_SUITE_PSK_AES_128_CCM)) {
        iotsec_wr_u16(&w, IOTSEC_SUITE_PSK_AES_128_CCM);
    }
    iotsec_wr_u16(&w, IOTSEC_SUITE_RENEGOTIATION_SCSV);
    iotsec_wr_close16(&w, suites);
    iotsec_wr_u16(&w, 0x0100); /* one compression method: null */
    status = iotsec_extensions_write(dtls, hs, &w);
    return status == IOTSEC_OK ? iotsec_message_close(hs, &w) : status;
}

/* C -> S  ClientHello, the first one, with a new random */
static enum iotsec_status start_hello(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs)
{
    enum iotsec_status status = iotsec_dtls_random(dtls, hs->client_random, sizeof hs->client_random);

    hs->max_fragment = dtls->config->max_fragment_length;
    if (status == IOTSEC_OK) {
        status = build_hello(dtls, hs, NULL, 0);
    }
    if (status == IOTSEC_OK) {
        iotsec_flight_start(dtls, hs);
    }
    return status;
}

static bool psk_is_sound(const struct iotsec_dtls *dtls, const uint8_t *psk, size_t psk_len)
{
#if IOTSEC_PAIRWISE
    if (psk == NULL) {
        return psk_len == 0 && dtls->config->callbacks->client_psk != NULL;
    }
#endif
    (void)dtls;
    return psk != NULL && psk_len >= 16 && psk_len <= IOTSEC_PSK_MAX;
}

enum iotsec_status iotsec_dtls_connect(struct iotsec_dtls *dtls, const struct iotsec_addr *to, const uint8_t *identity,
                                       size_t identity_len, const uint8_t *psk, size_t psk_len, uint32_t peer,
                                       iotsec_dtls_handle *handshake)
{
    struct iotsec_dtls_handshake *hs;
    const struct iotsec_dtls_path *path;
    struct iotsec_dtls_path room;
    enum iotsec_status status;

    if (dtls == NULL || to == NULL || identity == NULL || identity_len < 1 || identity_len > IOTSEC_IDENTITY_MAX ||
        !psk_is_sound(dtls, psk, psk_len) || iotsec_addr_is_multicast(to)) {
        return IOTSEC_ERR_ARGUMENT;
    }
    path = iotsec_path_of(to, &room);
    if (iotsec_handshake_find(dtls, path, false) != NULL) {
        return IOTSEC_ERR_EXISTS;
    }
    hs = iotsec_handshake_new(dtls, path, ROLE_CLIENT, true);
    if (hs == NULL) {
        return IOTSEC_ERR_FULL;
    }
    hs->identity = identity;
    hs->identity_len = (uint8_t)identity_len;
    hs->psk = psk;
    hs->psk_len = (uint8_t)psk_len;
    hs->peer = peer;
    status = start_hello(dtls, hs);
    if (status == IOTSEC_OK) {
        (void)iotsec_dtls_flush(dtls);
        if (handshake != NULL) {
            *handshake = hs->slot.handle;
        }
    } else if (status != IOTSEC_ERR_CANCELLED) {
        iotsec_handshake_free(dtls, hs);
    }
    return status;
}

/* The rounds that have to pass before a hint is believed begin with it. */
static void set_hint(struct iotsec_dtls_handshake *hs, enum iotsec_status reason)
{
    if (hs->hint == 0) {
        hs->rounds = 0;
    }
    hs->hint = (int8_t)reason;
}

void iotsec_client_hint(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs, enum iotsec_status reason)
{
    iotsec_tx_alert(dtls, hs, reason);
    if (reason == IOTSEC_ERR_DECODE || reason == IOTSEC_ERR_UNEXPECTED) {
        reason = IOTSEC_ERR_PROTOCOL;
    }
    set_hint(hs, reason);
}

/*
 * A server that refuses our Finished has another key, or one of us took a forged message for genuine on
 * the way: nothing before Finished can be told from a forgery. One more try with a new random, which
 * the server answers as a new handshake, tells the two apart. Where `client_psk` has refused a hello, each
 * try is one of the rounds that pass before its reason is believed.
 */
void iotsec_client_retry(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs, uint16_t flags)
{
    enum iotsec_status status;

    iotsec_transcript_abort(dtls, hs);
    hs->slot.state = HS_CLIENT_SENT_HELLO;
    hs->slot.flags = flags;
    if ((flags & HS_REFUSED) != 0) {
        hs->rounds++;
    } else {
        hs->hint = 0;
        hs->rounds = 0;
    }
    hs->receive_seq = 0;
    hs->send_seq = 0;
    hs->held_len = 0;
    hs->retransmit_wait = 0;
    iotsec_wipe(&hs->u, sizeof hs->u);
    memset(hs->scratch, 0, sizeof hs->scratch);
    iotsec_reassembly_clear(hs);
    status = start_hello(dtls, hs);
    if (status != IOTSEC_OK && status != IOTSEC_ERR_CANCELLED) {
        iotsec_handshake_end(dtls, hs, status);
    }
}

void iotsec_client_alert(struct iotsec_dtls_handshake *hs, const uint8_t alert[2])
{
    enum iotsec_status reason = iotsec_alert_meaning(alert[1], false);

    if (alert[0] != IOTSEC_ALERT_FATAL ||
        (hs->slot.state == HS_CLIENT_SENT_HELLO &&
         (alert[1] == IOTSEC_ALERT_DECRYPT_ERROR || alert[1] == IOTSEC_ALERT_BAD_RECORD_MAC))) {
        return; /* no answer to a hello: the Finished of an earlier try was refused so */
    }
    if (hs->slot.state == HS_CLIENT_SENT_FINISHED && reason != IOTSEC_ERR_RESOURCES) {
        /* The only thing that our last flight can have wrong is the key, whatever the server calls it:
         * decrypt_error, bad_record_mac, unknown_psk_identity, handshake_failure are all in use. */
        reason = IOTSEC_ERR_WRONG_PSK;
    }
    set_hint(hs, reason);
}

/* S -> C  HelloVerifyRequest: version, cookie. Status as in take_answer. */
static enum iotsec_status take_verify_request(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs,
                                              struct iotsec_reader *r)
{
    enum iotsec_status status;
    const uint8_t *cookie;
    uint16_t version;
    uint8_t len;

    if (!iotsec_rd_u16(r, &version) || !iotsec_rd_u8(r, &len) || !iotsec_rd_view(r, &cookie, len) || r->left != 0 || len == 0) {
        return IOTSEC_ERR_DECODE;
    }
    if (len == hs->flight[COOKIE_AT] && memcmp(hs->flight + COOKIE_AT + 1, cookie, len) == 0) {
        (void)iotsec_dtls_drop(dtls, IOTSEC_DROP_REPLAY);
        return IOTSEC_ERR_CANCELLED; /* seen: nothing to do */
    }
    if (hs->send_seq > HELLO_SEQ_MAX) {
        hs->slot.flags |= HS_DOUBTED;
        (void)iotsec_dtls_drop(dtls, IOTSEC_DROP_UNEXPECTED);
        return IOTSEC_ERR_CANCELLED;
    }
    status = build_hello(dtls, hs, cookie, len);
    if (status == IOTSEC_ERR_BUFFER) {
        /* a cookie that does not fit: without one, the next round asks again */
        status = build_hello(dtls, hs, NULL, 0);
        return status == IOTSEC_OK ? IOTSEC_ERR_DECODE : status;
    }
    if (status == IOTSEC_OK) {
        /* The answer to our n-th hello has message_seq n, also where the server counts its requests from 0 again. */
        hs->receive_seq = (uint16_t)(hs->send_seq - 1);
        iotsec_reassembly_clear(hs);
        if ((hs->slot.flags & HS_REPEATED) != 0) {
            hs->retransmit_wait *= 2; /* it answers an earlier copy: the round trip is longer than the wait was */
        }
        iotsec_flight_progress(dtls, hs);
        iotsec_flight_start(dtls, hs);
    }
    return status;
}

/* S -> C  ServerHello: version, random, session_id, suite, compression, extensions */
static enum iotsec_status take_server_hello(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs, struct iotsec_reader *r)
{
    const uint8_t *head;
    const uint8_t *tail;
    const uint8_t *session_id; /* would be an offer to resume: read over */
    enum iotsec_status status;
    uint16_t len;

    if (!iotsec_rd_view(r, &head, 2 + IOTSEC_RANDOM_BYTES + 1) || head[34] > 32 || !iotsec_rd_view(r, &session_id, head[34]) ||
        !iotsec_rd_view(r, &tail, 3) || (r->left != 0 && (!iotsec_rd_u16(r, &len) || len != r->left))) {
        return IOTSEC_ERR_DECODE;
    }
    if (iotsec_get_u16(head) != IOTSEC_VERSION_DTLS_1_2) {
        return IOTSEC_ERR_VERSION;
    }
    hs->suite = iotsec_get_u16(tail);
    if (!iotsec_suite_enabled(dtls, hs->suite)) {
        return IOTSEC_ERR_NO_CIPHER;
    }
    if (tail[2] != 0) {
        return IOTSEC_ERR_PROTOCOL; /* a compression method other than null */
    }
    status = iotsec_extensions_parse(dtls, hs, r);
    if (status == IOTSEC_OK) {
        memcpy(hs->u.open.server_random, head + 2, IOTSEC_RANDOM_BYTES);
        status = iotsec_transcript_add(dtls, hs, hs->flight, hs->flight_len);
    }
    return status;
}

/* C -> S  ClientKeyExchange: identity; (ChangeCipherSpec;) Finished: verify_data */
static enum iotsec_status send_finished(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs)
{
    struct iotsec_writer w;
    enum iotsec_status status;

    hs->flight_len = 0;
    iotsec_message_open(dtls, hs, &w, IOTSEC_HS_CLIENT_KEY_EXCHANGE);
    iotsec_wr_u16(&w, hs->identity_len);
    iotsec_wr_copy(&w, hs->identity, hs->identity_len);
    status = iotsec_message_close(hs, &w);
    if (status == IOTSEC_OK) {
        status = iotsec_transcript_add(dtls, hs, hs->flight, hs->flight_len);
    }
    if (status == IOTSEC_OK) {
        status = iotsec_keys_derive(dtls, hs, hs->psk, hs->psk_len, hs->flight + hs->flight_len);
    }
    if (status == IOTSEC_OK) {
        hs->flight_len = (uint16_t)(hs->flight_len + FINISHED_BYTES);
        hs->slot.state = HS_CLIENT_SENT_FINISHED;
        iotsec_flight_start(dtls, hs);
    }
    return status;
}

#if IOTSEC_PAIRWISE
/* S -> C  ServerHelloDone, where the key depends on what the hello said. Status as in take_answer. */
static enum iotsec_status ask_psk(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs)
{
    struct iotsec_dtls_hello hello;
    struct iotsec_dtls_psk psk;
    enum iotsec_status status;

    hello.handshake = hs->slot.handle;
    hello.is_server = 0;
    hello.peer = hs->peer;
    hello.scratch = hs->scratch;
    memset(&psk, 0, sizeof psk);
    status = dtls->config->callbacks->client_psk(dtls->config->user, &hello, &psk);
    if (iotsec_handshake_get(dtls, hello.handshake) == NULL) {
        status = IOTSEC_ERR_CANCELLED; /* by the application */
    } else if (status == IOTSEC_OK && !psk_is_sound(dtls, psk.key, psk.len)) {
        status = IOTSEC_ERR_ARGUMENT;
    } else if (status == IOTSEC_OK) {
        iotsec_hs_unset(hs, HS_REFUSED);
        iotsec_flight_progress(dtls, hs);
        hs->psk = psk.key; /* for this call */
        hs->psk_len = (uint8_t)psk.len;
        status = send_finished(dtls, hs);
        hs->psk = NULL;
    } else {
        /* Anybody may have sent that hello, and it stands in the transcript: this one has had its answer, and the next
         * timer begins again. */
        hs->slot.flags |= HS_REFUSED | HS_DOUBTED;
    }
    iotsec_wipe(&psk, sizeof psk);
    return status;
}
#endif

/* OK: taken. CANCELLED: dropped, or the handshake is gone. Failures of this end (above DECODE) end the
 * handshake; the rest is what the message has wrong. */
static enum iotsec_status take_answer(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs,
                                      const struct iotsec_hs_message *message)
{
    struct iotsec_reader r;
    enum iotsec_status status = IOTSEC_OK;
    uint16_t len;

    iotsec_rd_init(&r, message->body, message->length);
    if (message->type == IOTSEC_HS_HELLO_VERIFY_REQUEST) {
        return take_verify_request(dtls, hs, &r);
    }
    if (message->type == IOTSEC_HS_SERVER_HELLO) {
        status = take_server_hello(dtls, hs, &r);
    } else if (message->type == IOTSEC_HS_SERVER_KEY_EXCHANGE) {
        /* A hint which PSK to take (RFC 4279, section 5.2). The caller has chosen. */
        status = iotsec_rd_u16(&r, &len) && len == r.left ? IOTSEC_OK : IOTSEC_ERR_DECODE;
    } else if (r.left != 0) {
        status = IOTSEC_ERR_DECODE; /* S -> C  ServerHelloDone: empty */
    }
    if (status == IOTSEC_OK) {
        status = iotsec_transcript_message(dtls, hs, message);
    }
    if (status != IOTSEC_OK) {
        return status;
    }
    hs->slot.state = iotsec_hs_next(hs->slot.state, message->type);
    hs->receive_seq++;
    iotsec_flight_progress(dtls, hs);
    if (hs->slot.state == HS_CLIENT_GOT_DONE) {
        iotsec_handshake_ready(dtls, hs);
    }
    return IOTSEC_OK;
}

/* What comes of a status of take_answer. */
static enum iotsec_status settle(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs, enum iotsec_status status)
{
    if (status == IOTSEC_OK || status == IOTSEC_ERR_CANCELLED) {
        return status == IOTSEC_OK ? status : IOTSEC_ERR_REPLAY;
    }
    if (status > IOTSEC_ERR_DECODE) {
        iotsec_handshake_end(dtls, hs, status);
        return IOTSEC_OK;
    }
    iotsec_client_hint(dtls, hs, status);
    return iotsec_dtls_drop(dtls, status == IOTSEC_ERR_DECODE    ? IOTSEC_DROP_MALFORMED
                                  : status == IOTSEC_ERR_VERSION ? IOTSEC_DROP_VERSION
                                                                 : IOTSEC_DROP_NOT_ALLOWED);
}

enum iotsec_status iotsec_client_take(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs,
                                      const struct iotsec_hs_message *message)
{
    return settle(dtls, hs, take_answer(dtls, hs, message));
}

void iotsec_client_finish(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs)
{
#if IOTSEC_PAIRWISE
    if (hs->psk == NULL) {
        (void)settle(dtls, hs, ask_psk(dtls, hs));
        return;
    }
#endif
    (void)settle(dtls, hs, send_finished(dtls, hs));
}

#endif
