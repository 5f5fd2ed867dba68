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

#include <string.h>

enum iotsec_status iotsec_dtls_flush(struct iotsec_dtls *dtls)
{
    const struct iotsec_hal *hal;
    uint8_t *data;
    size_t len;

    if (dtls == NULL) {
        return IOTSEC_ERR_ARGUMENT;
    }
    hal = dtls->config->hal;
    data = dtls->config->tx;
    len = dtls->tx_len;
    dtls->tx_len = 0;
#if IOTSEC_RELAYED
    if (len != 0) {
        size_t room;

        data += iotsec_path_room(dtls, &dtls->tx_path);
        room = iotsec_path_wrap(&dtls->tx_path, data, len);
        data -= room;
        len += room;
    }
#endif
    return len != 0 && hal->send(hal->user, &dtls->tx_path.addr, data, len) < 0 ? IOTSEC_ERR_SEND : IOTSEC_OK;
}

size_t iotsec_tx_overhead(const struct iotsec_seal *seal)
{
    size_t bytes = IOTSEC_RECORD_HEADER_BYTES;

    if (seal != NULL) {
        bytes += IOTSEC_EXPLICIT_NONCE_BYTES + seal->tag_len;
#if IOTSEC_CONNECTION_ID
        if (seal->cid[0] != 0) {
            bytes += IOTSEC_CID_OVERHEAD_BYTES + seal->cid[0];
        }
#endif
    }
    return bytes;
}

enum iotsec_status iotsec_tx(struct iotsec_dtls *dtls, const struct iotsec_dtls_path *to, const struct iotsec_seal *seal,
                             uint8_t type, uint64_t sequence, const uint8_t *content, size_t len)
{
    const struct iotsec_dtls_config *config = dtls->config;
    size_t payload = config->link_payload;
    size_t room = iotsec_path_room(dtls, to);
    size_t need = iotsec_tx_overhead(seal) + len;
    size_t written;
    struct iotsec_outgoing record;
    uint8_t *out;
    enum iotsec_status status;

    if (payload == 0 || payload > config->tx_size) {
        payload = config->tx_size;
    }
#if CID_OWN
    if (to == dtls->moved_to) {
        /* it has not shown that it receives what is sent there */
        if (need > dtls->moved_allowance) {
            (void)iotsec_dtls_drop(dtls, IOTSEC_DROP_AMPLIFICATION);
            return IOTSEC_OK;
        }
        dtls->moved_allowance -= (uint32_t)need;
    }
#endif
    if (dtls->tx_len != 0 && (room + dtls->tx_len + need > payload || !iotsec_path_equal(to, &dtls->tx_path))) {
        (void)iotsec_dtls_flush(dtls); /* a failed send is a loss */
    }
    dtls->tx_path = *to;
    out = config->tx + room + dtls->tx_len;
    record.sequence = sequence;
    record.content = content;
    record.len = len;
    record.max = IOTSEC_RECORD_PAYLOAD_MAX;
    record.key = NULL;
    record.explicit_len = 0;
    record.tag_len = 0;
    record.cid_len = 0;
    record.version = IOTSEC_VERSION_DTLS_1_2;
    record.epoch = 0;
    record.type = type;
    if (seal != NULL) {
        record.hal = config->hal;
        record.key = seal->key->key;
        record.prefix = seal->key->salt;
        record.explicit_len = IOTSEC_EXPLICIT_NONCE_BYTES;
        record.tag_len = seal->tag_len;
#if IOTSEC_CONNECTION_ID
        record.cid = seal->cid + 1;
        record.cid_len = seal->cid[0];
#endif
        record.epoch = 1;
    } else if (IOTSEC_DTLS_SERVER && type == IOTSEC_CONTENT_HANDSHAKE && content[0] == IOTSEC_HS_HELLO_VERIFY_REQUEST) {
        record.version = IOTSEC_VERSION_DTLS_1_0;
    }
    status = iotsec_record_write(&record, out, config->tx_size - room - dtls->tx_len, &written);
    if (status == IOTSEC_ERR_CRYPTO) {
        iotsec_wipe(out, need); /* the plaintext may stand there half encrypted */
    }
    if (status == IOTSEC_OK) {
        dtls->tx_len += written;
    }
    return status;
}

void iotsec_tx_change_cipher_spec(struct iotsec_dtls *dtls, const struct iotsec_dtls_path *to, uint32_t sequence)
{
    static const uint8_t change_cipher_spec[1] = { 1 };

    (void)iotsec_tx(dtls, to, NULL, IOTSEC_CONTENT_CHANGE_CIPHER_SPEC, sequence, change_cipher_spec, 1);
}

/* Whether `len` more bytes may go to an address that has not shown that it receives them (RFC 6347,
 * section 4.2.1, leaves such a server an amplifier; three is QUIC's factor, RFC 9000, section 8). */
static bool may_send(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs, size_t len)
{
#if IOTSEC_DTLS_SERVER
    if (iotsec_hs_is_server(hs) && (hs->slot.flags & HS_PROVED) == 0) {
        /* Whoever is named as the relay gets the wrapping too: as if each message had a datagram of its own. What
         * came is counted without it. */
        len += iotsec_path_room(dtls, &hs->path);
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

uint32_t iotsec_flight_interval(const struct iotsec_dtls *dtls)
{
    return iotsec_value_or(dtls->config->retransmit_initial_ms, IOTSEC_RETRANSMIT_INITIAL_MS) / 2;
}

void iotsec_tx_alert(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs, enum iotsec_status reason)
{
    uint32_t now = iotsec_dtls_now(dtls);

    /* A round is a client's flight. A server's ends when the next copy of it may have come. */
    if ((hs->slot.flags & HS_ALERTED) != 0 &&
        (!iotsec_hs_is_server(hs) || now - hs->last_alert < iotsec_flight_interval(dtls))) {
        return;
    }
    hs->slot.flags |= HS_ALERTED;
    hs->last_alert = now;
    if (may_send(dtls, hs, IOTSEC_RECORD_HEADER_BYTES + 2)) {
        iotsec_alert_send(dtls, &hs->path, NULL, hs->plain_sequence++, iotsec_alert_of(reason));
    }
}

/* ---- Messages ---- */

void iotsec_message_header(uint8_t out[IOTSEC_HANDSHAKE_HEADER_BYTES], uint8_t type, uint16_t seq, size_t length)
{
    memset(out, 0, IOTSEC_HANDSHAKE_HEADER_BYTES);
    out[0] = type;
    /* two of three bytes: nothing longer is ever sent or taken whole */
    iotsec_put_u16(out + 2, (uint16_t)length);
    iotsec_put_u16(out + 4, seq);
    iotsec_put_u16(out + 10, (uint16_t)length);
}

void iotsec_message_open(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs, struct iotsec_writer *w, uint8_t type)
{
    uint8_t *out = hs->flight + hs->flight_len;
    size_t room = dtls->config->tx_size - iotsec_path_room(dtls, &hs->path) - IOTSEC_RECORD_HEADER_BYTES; /* never fragmented: it has to fit one record */
    size_t left = sizeof hs->flight - hs->flight_len;

    iotsec_wr_init(w, out, left < room ? left : room);
    w->len = IOTSEC_HANDSHAKE_HEADER_BYTES;
    if (w->len > w->size) {
        w->len = 0;
        w->failed = true;
        return;
    }
    out[0] = type;
}

enum iotsec_status iotsec_message_close(struct iotsec_dtls_handshake *hs, const struct iotsec_writer *w)
{
    if (w->failed) {
        return IOTSEC_ERR_BUFFER;
    }
    iotsec_message_header(w->start, w->start[0], hs->send_seq++, w->len - IOTSEC_HANDSHAKE_HEADER_BYTES);
    hs->flight_len = (uint16_t)(hs->flight_len + w->len);
    return IOTSEC_OK;
}

/* ---- Flights ---- */

/* Spreads repeats over +-12 %, so that devices that started together do not stay together. */
static uint32_t add_jitter(const struct iotsec_dtls *dtls, uint32_t wait)
{
    uint32_t span = wait / 64 * 15; /* 23.4 % */
    uint8_t random;

    if (iotsec_dtls_random(dtls, &random, 1) != IOTSEC_OK) {
        random = 128; /* without numbers there is no spread, and nothing worse */
    }
    return wait - span / 2 + span * random / 256; /* waits are minutes at most: no overflow */
}

void iotsec_hs_seal(const struct iotsec_dtls_handshake *hs, struct iotsec_seal *seal)
{
    seal->key = &hs->u.keyed.write_key;
    seal->tag_len = iotsec_suite_tag(hs->suite);
#if IOTSEC_CONNECTION_ID
    seal->cid = hs->peer_cid;
#endif
}

static void send_flight(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs)
{
    const uint8_t *message = hs->flight;
    const uint8_t *end = message + hs->flight_len;

    while (message < end) {
        size_t len = IOTSEC_HANDSHAKE_HEADER_BYTES + (size_t)iotsec_get_u16(message + 2);

        if (message[0] == IOTSEC_HS_FINISHED) {
            struct iotsec_seal seal;

            /* the server's follows a proof, and the client has no limit */
            iotsec_tx_change_cipher_spec(dtls, &hs->path, hs->plain_sequence++);
            iotsec_hs_seal(hs, &seal);
            (void)iotsec_tx(dtls, &hs->path, &seal, IOTSEC_CONTENT_HANDSHAKE, hs->write_sequence++, message, len);
        } else if (may_send(dtls, hs, IOTSEC_RECORD_HEADER_BYTES + len)) {
            (void)iotsec_tx(dtls, &hs->path, NULL, IOTSEC_CONTENT_HANDSHAKE, hs->plain_sequence++, message, len);
        }
        message += len;
    }
    hs->last_sent = iotsec_dtls_now(dtls);
    hs->retransmit_at = hs->last_sent + add_jitter(dtls, hs->retransmit_wait);
}

static uint32_t max_wait(const struct iotsec_dtls *dtls)
{
    return iotsec_value_or(dtls->config->retransmit_max_ms, IOTSEC_RETRANSMIT_MAX_MS);
}

void iotsec_flight_start(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs)
{
    if (hs->retransmit_wait == 0) { /* nothing measured, and no earlier flight's wait either */
        hs->retransmit_wait = 2 * iotsec_flight_interval(dtls);
    }
    iotsec_hs_unset(hs, HS_ALERTED | HS_REPEATED);
    send_flight(dtls, hs);
}

void iotsec_flight_repeat(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs)
{
    hs->retransmit_wait = iotsec_longer(hs->retransmit_wait, max_wait(dtls));
    iotsec_hs_unset(hs, HS_ALERTED);
    hs->slot.flags |= HS_REPEATED;
    send_flight(dtls, hs);
}

void iotsec_flight_answer(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs)
{
    if (iotsec_dtls_now(dtls) - hs->last_sent >= iotsec_flight_interval(dtls)) {
        hs->slot.flags |= HS_REPEATED;
        send_flight(dtls, hs);
    }
}

void iotsec_flight_progress(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs)
{
    /* Karn: an answer to a repeated flight measures nothing, and the wait stays what it has come to */
    if ((hs->slot.flags & HS_REPEATED) == 0) {
        /* RFC 6298's first estimate, three round trips, without its floor of 1 s; not below the interval
         * within which the server answers no repeat */
        uint32_t wait = iotsec_min_u32(3 * (iotsec_dtls_now(dtls) - hs->last_sent + 1), max_wait(dtls));
        uint32_t interval = iotsec_flight_interval(dtls);

        hs->retransmit_wait = wait < interval ? interval : wait;
    }
    if ((hs->slot.flags & HS_REFUSED) == 0) {
        hs->rounds = 0;
        hs->hint = 0;
    }
    iotsec_hs_unset(hs, HS_ALERTED);
}

bool iotsec_flight_timed(const struct iotsec_dtls_handshake *hs)
{
    return !iotsec_hs_is_server(hs) || hs->slot.state == HS_SERVER_SENT_DONE;
}
