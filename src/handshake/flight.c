/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Flights: built once, kept without record headers, sent and repeated record by record (RFC 6347,
 * section 4.2.4). Every repeat takes fresh record sequence numbers.
 *
 *     | ClientKeyExchange | Finished |   ->   ClientKeyExchange; ChangeCipherSpec; {Finished}
 *
 * A Finished is always preceded by ChangeCipherSpec and sealed under epoch 1, so the flight needs no
 * marks. Each message has a record of its own; records share a datagram while the link payload lasts.
 */
#include "handshake/engine.h"

#include "hal/crypto.h"

static size_t link_payload(const struct iotsec_dtls *dtls)
{
    size_t limit = dtls->config->link_payload;

    return limit == 0 || limit > dtls->config->tx_size ? dtls->config->tx_size : limit;
}

enum iotsec_status iotsec_dtls_flush(struct iotsec_dtls *dtls)
{
    size_t len;

    if (dtls == NULL) {
        return IOTSEC_ERR_ARGUMENT;
    }
    len = dtls->tx_len;
    dtls->tx_len = 0;
    if (len != 0 && dtls->config->hal->send(dtls->config->hal->user, &dtls->tx_addr, dtls->config->tx, len) < 0) {
        return IOTSEC_ERR_SEND;
    }
    return IOTSEC_OK;
}

/* Makes room for `need` bytes to `to`; what stands in the buffer leaves first if it has to. */
static uint8_t *reserve_tx(struct iotsec_dtls *dtls, const struct iotsec_addr *to, size_t need, size_t *size)
{
    if (dtls->tx_len != 0 && (dtls->tx_len + need > link_payload(dtls) || !iotsec_addr_equal(to, &dtls->tx_addr))) {
        (void)iotsec_dtls_flush(dtls); /* a failed send is a loss */
    }
    dtls->tx_addr = *to;
    *size = dtls->config->tx_size - dtls->tx_len;
    return dtls->config->tx + dtls->tx_len;
}

enum iotsec_status iotsec_tx_plain(struct iotsec_dtls *dtls, const struct iotsec_addr *to, uint8_t type, uint16_t version,
                                   uint32_t sequence, const uint8_t *content, size_t len)
{
    size_t size;
    size_t written;
    uint8_t *out = reserve_tx(dtls, to, IOTSEC_RECORD_HEADER_BYTES + len, &size);
    enum iotsec_status status = iotsec_record_write_plain(out, size, &written, type, version, sequence, content, len);

    if (status == IOTSEC_OK) {
        dtls->tx_len += written;
    }
    return status;
}

enum iotsec_status iotsec_tx_sealed(struct iotsec_dtls *dtls, const struct iotsec_addr *to, const struct iotsec_record_key *key,
                                    size_t tag_len, uint8_t type, uint64_t sequence, const uint8_t *content, size_t len)
{
    size_t size;
    size_t written;
    size_t need = IOTSEC_RECORD_HEADER_BYTES + IOTSEC_EXPLICIT_NONCE_BYTES + len + tag_len;
    uint8_t *out = reserve_tx(dtls, to, need, &size);
    enum iotsec_status status =
        iotsec_record_seal(dtls->config->hal, key, tag_len, out, size, &written, type, 1, sequence, content, len);

    if (status == IOTSEC_OK) {
        dtls->tx_len += written;
    } else if (status == IOTSEC_ERR_CRYPTO) {
        iotsec_wipe(out, need); /* the plaintext may stand there half encrypted */
    }
    return status;
}

/* ---- Alerts ---- */

uint8_t iotsec_alert_of(enum iotsec_status reason)
{
    switch ((int)reason) {
    case IOTSEC_ERR_VERSION:
        return IOTSEC_ALERT_PROTOCOL_VERSION;
    case IOTSEC_ERR_NO_CIPHER:
    case IOTSEC_ERR_NO_EMS:
    case IOTSEC_ERR_NO_RENEGOTIATION_INFO:
        return IOTSEC_ALERT_HANDSHAKE_FAILURE;
    case IOTSEC_ERR_PROTOCOL:
        return IOTSEC_ALERT_ILLEGAL_PARAMETER;
    case IOTSEC_ERR_DECODE:
        return IOTSEC_ALERT_DECODE_ERROR;
    case IOTSEC_ERR_UNEXPECTED:
        return IOTSEC_ALERT_UNEXPECTED_MESSAGE;
    case IOTSEC_ERR_WRONG_PSK:
        return IOTSEC_ALERT_DECRYPT_ERROR;
    case IOTSEC_ERR_EXISTS:
    case IOTSEC_ERR_NOT_AUTHORISED:
        return IOTSEC_ALERT_ACCESS_DENIED;
    default:
        return IOTSEC_ALERT_INTERNAL_ERROR;
    }
}

void iotsec_tx_alert_stateless(struct iotsec_dtls *dtls, const struct iotsec_addr *to, uint32_t sequence,
                               enum iotsec_status reason)
{
    uint8_t alert[2];

    alert[0] = IOTSEC_ALERT_FATAL;
    alert[1] = iotsec_alert_of(reason);
    (void)iotsec_tx_plain(dtls, to, IOTSEC_CONTENT_ALERT, IOTSEC_VERSION_DTLS_1_2, sequence, alert, sizeof alert);
}

/* Whether `len` more bytes may go to an address that has not shown that it receives them (RFC 6347,
 * section 4.2.1, leaves such a server an amplifier; three is QUIC's factor, RFC 9000, section 8). */
static bool may_send(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs, size_t len)
{
#if IOTSEC_DTLS_SERVER
    if (iotsec_hs_is_server(hs) && (hs->flags & HS_PROVED) == 0) {
        if (hs->bytes_out + len > 3 * hs->bytes_in) {
            (void)iotsec_dtls_drop(dtls, IOTSEC_DROP_AMPLIFICATION);
            return false;
        }
        hs->bytes_out += (uint32_t)len;
    }
#else
    (void)dtls;
    (void)hs;
    (void)len;
#endif
    return true;
}

/* A record in the clear within a handshake. */
static void send_plain(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs, uint8_t type, const uint8_t *content,
                       size_t len)
{
    if (may_send(dtls, hs, IOTSEC_RECORD_HEADER_BYTES + len)) {
        (void)iotsec_tx_plain(dtls, &hs->addr, type, IOTSEC_VERSION_DTLS_1_2, hs->plain_sequence++, content, len);
    }
}

void iotsec_tx_alert(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs, enum iotsec_status reason)
{
    uint8_t alert[2];
    uint32_t now = iotsec_dtls_now(dtls);

    /* A round is a client's flight. A server's ends when the next copy of it may have come. */
    if ((hs->flags & HS_ALERTED) != 0 &&
        (!iotsec_hs_is_server(hs) || now - hs->last_alert < iotsec_flight_interval(dtls))) {
        return;
    }
    hs->flags |= HS_ALERTED;
    hs->last_alert = now;
    alert[0] = IOTSEC_ALERT_FATAL;
    alert[1] = iotsec_alert_of(reason);
    send_plain(dtls, hs, IOTSEC_CONTENT_ALERT, alert, sizeof alert);
}

static size_t session_tag(const struct iotsec_dtls_session *session)
{
    return (session->flags & SESSION_CCM) != 0 ? IOTSEC_TAG_CCM_BYTES : IOTSEC_TAG_CCM_8_BYTES;
}

void iotsec_session_alert(struct iotsec_dtls *dtls, struct iotsec_dtls_session *session, uint8_t description)
{
    uint8_t alert[2];

    if (session->write_sequence > IOTSEC_SEQUENCE_LIMIT) {
        return;
    }
    alert[0] = description == IOTSEC_ALERT_CLOSE_NOTIFY ? IOTSEC_ALERT_WARNING : IOTSEC_ALERT_FATAL;
    alert[1] = description;
    (void)iotsec_tx_sealed(dtls, &session->addr, &session->write_key, session_tag(session), IOTSEC_CONTENT_ALERT,
                           session->write_sequence++, alert, sizeof alert);
}

/* ---- Flights ---- */

static const uint8_t change_cipher_spec[1] = { 1 };

void iotsec_session_repeat(struct iotsec_dtls *dtls, struct iotsec_dtls_session *session)
{
    uint8_t finished[FINISHED_BYTES];
    uint32_t now = iotsec_dtls_now(dtls);
    size_t i;

    if (now - session->last_repeat < iotsec_flight_interval(dtls) || session->write_sequence >= IOTSEC_SEQUENCE_LIMIT) {
        return;
    }
    session->last_repeat = now;
    iotsec_finished_header(finished, session->finished_seq);
    for (i = 0; i < IOTSEC_VERIFY_DATA_BYTES; i++) {
        finished[IOTSEC_HANDSHAKE_HEADER_BYTES + i] = session->finished[i];
    }
    (void)iotsec_tx_plain(dtls, &session->addr, IOTSEC_CONTENT_CHANGE_CIPHER_SPEC, IOTSEC_VERSION_DTLS_1_2,
                          session->plain_sequence++, change_cipher_spec, sizeof change_cipher_spec);
    (void)iotsec_tx_sealed(dtls, &session->addr, &session->write_key, session_tag(session), IOTSEC_CONTENT_HANDSHAKE,
                           session->write_sequence++, finished, sizeof finished);
}

void iotsec_message_open(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs, struct iotsec_writer *w, uint8_t type)
{
    size_t room = dtls->config->tx_size - IOTSEC_RECORD_HEADER_BYTES; /* never fragmented: it has to fit one record */
    size_t left = sizeof hs->flight - hs->flight_len;

    iotsec_wr_init(w, hs->flight + hs->flight_len, left < room ? left : room);
    iotsec_wr_u8(w, type);
    iotsec_wr_u24(w, 0);
    iotsec_wr_u16(w, hs->send_seq);
    iotsec_wr_u24(w, 0);
    iotsec_wr_u24(w, 0);
}

enum iotsec_status iotsec_message_close(struct iotsec_dtls_handshake *hs, const struct iotsec_writer *w)
{
    uint16_t length;

    if (w->failed) {
        return IOTSEC_ERR_BUFFER;
    }
    length = (uint16_t)(w->len - IOTSEC_HANDSHAKE_HEADER_BYTES);
    iotsec_put_u16(w->start + 2, length);
    iotsec_put_u16(w->start + 10, length);
    hs->flight_len = (uint16_t)(hs->flight_len + w->len);
    hs->send_seq++;
    return IOTSEC_OK;
}

/* Spreads repeats over +-12 %, so that devices that started together do not stay together. */
static uint32_t add_jitter(const struct iotsec_dtls *dtls, uint32_t wait)
{
    uint32_t span = wait / 25u * 6u; /* 24 % */
    uint8_t random = 128;

    if (dtls->config->hal->random(dtls->config->hal->user, &random, 1) < 0) {
        random = 128; /* without numbers there is no spread, and nothing worse */
    }
    return wait - span / 2 + (span >> 8) * random + (((span & 255u) * random) >> 8);
}

static uint32_t initial_wait(const struct iotsec_dtls *dtls)
{
    uint32_t wait = dtls->config->retransmit_initial_ms;

    return wait != 0 ? wait : IOTSEC_RETRANSMIT_INITIAL_MS;
}

static uint32_t max_wait(const struct iotsec_dtls *dtls)
{
    uint32_t wait = dtls->config->retransmit_max_ms;

    return wait != 0 ? wait : IOTSEC_RETRANSMIT_MAX_MS;
}

uint32_t iotsec_flight_interval(const struct iotsec_dtls *dtls)
{
    return initial_wait(dtls) / 2;
}

static void send_flight(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs)
{
    size_t at = 0;

    while (at < hs->flight_len) {
        const uint8_t *message = hs->flight + at;
        size_t len = IOTSEC_HANDSHAKE_HEADER_BYTES + (size_t)iotsec_get_u16(message + 2);

        if (message[0] == IOTSEC_HS_FINISHED) {
            send_plain(dtls, hs, IOTSEC_CONTENT_CHANGE_CIPHER_SPEC, change_cipher_spec, sizeof change_cipher_spec);
            (void)iotsec_tx_sealed(dtls, &hs->addr, &hs->u.keyed.write_key, iotsec_suite_tag(hs->suite),
                                   IOTSEC_CONTENT_HANDSHAKE, hs->write_sequence++, message, len);
        } else {
            send_plain(dtls, hs, IOTSEC_CONTENT_HANDSHAKE, message, len);
        }
        at += len;
    }
    hs->last_sent = iotsec_dtls_now(dtls);
    hs->retransmit_at = hs->last_sent + add_jitter(dtls, hs->retransmit_wait);
}

void iotsec_flight_start(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs)
{
    uint32_t initial = initial_wait(dtls);

    hs->retransmit_wait = initial;
    if (hs->round_trip != 0) {
        /* RFC 6298's first estimate, three round trips, without its floor of 1 s; not below the interval
         * within which the server answers no repeat */
        hs->retransmit_wait = iotsec_min_u32(3u * hs->round_trip, max_wait(dtls));
        if (hs->retransmit_wait < initial / 2) {
            hs->retransmit_wait = initial / 2;
        }
    }
    hs->flags = (uint16_t)(hs->flags & ~(HS_ALERTED | HS_REPEATED));
    send_flight(dtls, hs);
}

void iotsec_flight_repeat(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs)
{
    hs->flags = (uint16_t)((hs->flags & ~HS_ALERTED) | HS_REPEATED);
    hs->retransmit_wait = iotsec_min_u32(hs->retransmit_wait + hs->retransmit_wait / 4, max_wait(dtls));
    send_flight(dtls, hs);
}

void iotsec_flight_answer(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs)
{
    if (iotsec_dtls_now(dtls) - hs->last_sent >= iotsec_flight_interval(dtls)) {
        hs->flags |= HS_REPEATED;
        send_flight(dtls, hs);
    }
}

void iotsec_flight_progress(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs)
{
    /* Karn: an answer to a repeated flight measures nothing */
    if ((hs->flags & HS_REPEATED) == 0) {
        hs->round_trip = (uint16_t)iotsec_min_u32(iotsec_dtls_now(dtls) - hs->last_sent + 1, 0xFFFF);
    }
    hs->rounds = 0;
    hs->hint = 0;
    hs->flags = (uint16_t)(hs->flags & ~HS_ALERTED);
}

bool iotsec_flight_timed(const struct iotsec_dtls_handshake *hs)
{
    return !iotsec_hs_is_server(hs) || hs->state == HS_SERVER_SENT_DONE;
}
