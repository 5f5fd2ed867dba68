/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The endpoint: setting up, what arrives, what is due.
 *
 *     datagram -> relayed: its path and content               -> goes on as others do
 *              -> record -> epoch 0: ClientHello              -> server.c, perhaps without any state
 *                                    other handshake message  -> the handshake of that address
 *                                    alert                    -> a hint to a client's handshake
 *                                    anything else            -> dropped
 *                           epoch 1: opens with the session's key      -> application
 *                                    opens with a handshake's key      -> Finished or alert
 *                                    comes before the keys or Finished -> one record is held
 *
 * Nothing in the clear ever touches an established session.
 */
#include "handshake/engine.h"

#include <string.h>

#include "record/join_proxy.h"

uint32_t iotsec_dtls_now(const struct iotsec_dtls *dtls)
{
    const struct iotsec_hal *hal = dtls->config->hal;

    return hal->now_ms(hal->user);
}

enum iotsec_status iotsec_dtls_random(const struct iotsec_dtls *dtls, uint8_t *out, size_t len)
{
    const struct iotsec_hal *hal = dtls->config->hal;

    return hal->random(hal->user, out, len) < 0 ? IOTSEC_ERR_RANDOM : IOTSEC_OK;
}

enum iotsec_status iotsec_dtls_drop(struct iotsec_dtls *dtls, enum iotsec_drop reason)
{
    /* in the order of enum iotsec_drop; what is not listed is UNEXPECTED */
    static const int8_t names[] = {
        IOTSEC_ERR_DECODE,     /* MALFORMED */
        IOTSEC_ERR_DECODE,     /* VERSION */
        IOTSEC_ERR_EPOCH,      /* NO_SESSION */
        IOTSEC_ERR_EPOCH,      /* EPOCH */
        IOTSEC_ERR_AUTH,       /* AUTH */
        IOTSEC_ERR_REPLAY,     /* REPLAY */
        IOTSEC_ERR_UNEXPECTED, /* UNEXPECTED */
        IOTSEC_ERR_UNEXPECTED, /* PLAINTEXT */
        IOTSEC_ERR_AUTH,       /* COOKIE */
        IOTSEC_ERR_FULL,       /* NO_ROOM */
    };
    uint16_t *count = &dtls->stats.drops[reason];

    if (*count != 0xFFFF) {
        (*count)++;
    }
    if (reason == IOTSEC_DROP_TOO_LONG) {
        return IOTSEC_ERR_DECODE;
    }
    return (size_t)reason < sizeof names ? (enum iotsec_status)names[reason] : IOTSEC_ERR_UNEXPECTED;
}

/* ---- Setting up ---- */

/* A Finished to a peer with the longest Connection ID, behind a relay with the longest header, has 100 bytes beside the ID. */
#define TX_MIN (IOTSEC_CONNECTION_ID && IOTSEC_CID_MAX > 156 ? IOTSEC_CID_MAX + 100u : 256u)

static bool config_is_sound(const struct iotsec_dtls_config *config)
{
    const struct iotsec_hal *hal = config->hal;

    return hal != NULL && hal->crypto != NULL && hal->random != NULL && hal->now_ms != NULL && hal->send != NULL &&
           config->callbacks != NULL && config->sessions != NULL && config->handshakes != NULL && config->tx != NULL &&
           config->tx_size >= TX_MIN && config->tx_size >= IOTSEC_HELD_RECORD_BYTES && /* records are put aside there */
           (uint16_t)(config->session_count - 1) < 65534 && (uint16_t)(config->handshake_count - 1) < 65534 &&
#if IOTSEC_PAIRWISE
           (config->callbacks->psk == NULL || config->client_handshakes < config->handshake_count) &&
#endif
           config->extension_count <= 8 &&
           (config->extension_count == 0 || config->extensions != NULL) && config->cookie_policy <= IOTSEC_COOKIE_WHILE_BUSY &&
           (!IOTSEC_CONNECTION_ID || config->connection_id <= IOTSEC_CONNECTION_ID_ON) &&
           config->suites <= (IOTSEC_SUITE_CCM ? 3 : 1) &&
           config->max_fragment_length <= (IOTSEC_MAX_FRAGMENT_LENGTH ? 4 : 0) &&
           /* farther ahead would count as past: bytes.h */
           ((config->retransmit_initial_ms | config->retransmit_max_ms | config->handshake_timeout_ms |
             config->half_open_timeout_ms | config->idle_timeout_ms) >> 31) == 0;
}

enum iotsec_status iotsec_dtls_init_checked(struct iotsec_dtls *dtls, const struct iotsec_dtls_config *config,
                                            uint32_t config_id, size_t session_size, size_t handshake_size)
{
    if (config_id != IOTSEC_CONFIG_ID || session_size != sizeof(struct iotsec_dtls_session) ||
        handshake_size != sizeof(struct iotsec_dtls_handshake)) {
        return IOTSEC_ERR_CONFIG;
    }
    if (dtls == NULL || config == NULL || !config_is_sound(config)) {
        return IOTSEC_ERR_ARGUMENT;
    }
    memset(dtls, 0, sizeof *dtls);
    dtls->config = config;
    if (
#if IOTSEC_DTLS_SERVER
        iotsec_dtls_random(dtls, dtls->cookie_secret, sizeof dtls->cookie_secret) != IOTSEC_OK ||
#endif
        iotsec_dtls_random(dtls, (uint8_t *)&dtls->hash_seed, sizeof dtls->hash_seed) != IOTSEC_OK) {
        iotsec_wipe(dtls, sizeof *dtls);
        return IOTSEC_ERR_RANDOM;
    }
    iotsec_pool_init(dtls);
    return IOTSEC_OK;
}

void iotsec_dtls_wipe(struct iotsec_dtls *dtls)
{
    const struct iotsec_dtls_config *config;
    uint16_t i;

    if (dtls == NULL || dtls->config == NULL) {
        return;
    }
    config = dtls->config;
    for (i = 0; i < config->handshake_count; i++) {
        iotsec_transcript_abort(dtls, &config->handshakes[i]); /* a provider may hold more than the state */
    }
    iotsec_wipe(config->sessions, sizeof config->sessions[0] * config->session_count);
    iotsec_wipe(config->handshakes, sizeof config->handshakes[0] * config->handshake_count);
    iotsec_wipe(config->tx, config->tx_size);
    iotsec_wipe(dtls, sizeof *dtls);
}

/* ---- What arrives ---- */

/* A record of epoch 0 that is no handshake. */
static enum iotsec_status take_plain(struct iotsec_dtls *dtls, const struct iotsec_dtls_path *from, const struct iotsec_record *record)
{
    bool alert = record->type == IOTSEC_CONTENT_ALERT;
    enum iotsec_drop reason = IOTSEC_DROP_PLAINTEXT;

    if (alert || record->type == IOTSEC_CONTENT_CHANGE_CIPHER_SPEC) {
        struct iotsec_dtls_handshake *client = iotsec_handshake_find(dtls, from, false);

        if (record->length != (alert ? 2 : 1) || (!alert && record->body[0] != 1)) {
            return iotsec_dtls_drop(dtls, IOTSEC_DROP_MALFORMED);
        }
#if IOTSEC_DTLS_CLIENT
        if (alert && client != NULL) {
            iotsec_client_alert(client, record->body);
            return IOTSEC_OK;
        }
#endif
#if IOTSEC_PAIRWISE
        if (alert && record->body[0] == IOTSEC_ALERT_FATAL && dtls->config->callbacks->doubted != NULL) {
            const struct iotsec_dtls_session *session = iotsec_session_find(dtls, from);

            if (session != NULL && (session->slot.flags & SESSION_UNANSWERED) != 0) { /* else nothing that it could answer has left */
                dtls->config->callbacks->doubted(dtls->config->user, session->slot.handle);
            }
        }
#endif
        /* ChangeCipherSpec says what the next record's epoch says, and proves less: transition.c */
        if (!alert && (client != NULL || iotsec_handshake_find(dtls, from, true) != NULL)) {
            return IOTSEC_OK;
        }
        if (iotsec_session_find(dtls, from) == NULL) {
            reason = IOTSEC_DROP_NO_SESSION;
        }
    }
    return iotsec_dtls_drop(dtls, reason);
}

static enum iotsec_status take_record(struct iotsec_dtls *dtls, const struct iotsec_dtls_path *from,
                                      const struct iotsec_record *record)
{
#if IOTSEC_DTLS_SERVER
    struct iotsec_dtls_handshake *server = iotsec_handshake_find(dtls, from, true);

    if (server != NULL) {
        server->bytes_in += IOTSEC_RECORD_HEADER_BYTES + (uint32_t)record->length;
    }
#endif
    /* DTLS 1.0 only names the first hellos of others and HelloVerifyRequest */
    if (record->version != IOTSEC_VERSION_DTLS_1_2 && (record->version != IOTSEC_VERSION_DTLS_1_0 || record->epoch == 1)) {
        return iotsec_dtls_drop(dtls, IOTSEC_DROP_VERSION);
    }
    if (record->epoch == 1) {
        return iotsec_handshake_protected(dtls, from, record);
    }
    if (record->epoch != 0) {
        return iotsec_dtls_drop(dtls, IOTSEC_DROP_EPOCH);
    }
    if (record->type == IOTSEC_CONTENT_HANDSHAKE) {
        return iotsec_handshake_take(dtls, from, 0, record, record->body, record->length);
    }
    return take_plain(dtls, from, record);
}

/* The datagram's next record. */
static OWN_FRAME enum iotsec_status take_next(struct iotsec_dtls *dtls, const struct iotsec_dtls_path *from, uint8_t **datagram,
                                              size_t *len)
{
    struct iotsec_record record;

    if (iotsec_dtls_parse(dtls, &record, datagram, len) != IOTSEC_OK) {
        *len = 0;
        return iotsec_dtls_drop(dtls, IOTSEC_DROP_MALFORMED);
    }
    return take_record(dtls, from, &record);
}

#if CID_OWN
enum iotsec_status iotsec_dtls_parse(const struct iotsec_dtls *dtls, struct iotsec_record *record, uint8_t **datagram,
                                     size_t *left)
{
    bool asks = dtls->config->connection_id != IOTSEC_CONNECTION_ID_OFF && dtls->config->callbacks->psk != NULL;

    return iotsec_record_parse_cid(record, asks ? IOTSEC_CID_OWN_BYTES : 0, datagram, left);
}
#endif

#if IOTSEC_CONNECTION_ID
/* A callback has given the datagram's session another address: the records behind are looked for there. By handle, since the
 * session may have ended since. */
static const struct iotsec_dtls_path *follow(struct iotsec_dtls *dtls, const struct iotsec_dtls_path *path,
                                             struct iotsec_dtls_path *room)
{
    const struct iotsec_dtls_session *session =
        (const struct iotsec_dtls_session *)(const void *)iotsec_slot_get(dtls, dtls->readdressed);

    dtls->readdressed = 0;
    if (session == NULL) {
        return path;
    }
    *room = session->path;
    return room;
}
#endif

enum iotsec_status iotsec_dtls_input(struct iotsec_dtls *dtls, const struct iotsec_addr *from, uint8_t *datagram, size_t len)
{
    enum iotsec_status result = IOTSEC_ERR_DECODE;
    const struct iotsec_dtls_path *path;
    struct iotsec_dtls_path room;

    if (dtls == NULL || from == NULL || datagram == NULL) {
        return IOTSEC_ERR_ARGUMENT;
    }
    if (dtls->busy) {
        return IOTSEC_ERR_STATE;
    }
    path = iotsec_path_of(from, &room);
    if (iotsec_join_proxy_is(datagram, len)) {
#if IOTSEC_RELAYED
        if (!dtls->config->relayed || !iotsec_path_unwrap(&room, &datagram, &len))
#endif
        {
            return iotsec_dtls_drop(dtls, IOTSEC_DROP_RELAY);
        }
    }
#if CID_OWN
    dtls->moved_allowance = 3 * (uint32_t)len; /* of the datagram, however many records it has */
#endif
    dtls->busy = 1;
    do {
        enum iotsec_status status;

#if IOTSEC_CONNECTION_ID
        if (dtls->readdressed != 0) {
            path = follow(dtls, path, &room);
        }
        dtls->from = path;
#endif
        status = iotsec_session_take(dtls, take_next(dtls, path, &datagram, &len));
        iotsec_handshake_go_on(dtls);
        if (result != IOTSEC_OK) {
            result = status;
        }
    } while (len != 0);
#if IOTSEC_CONNECTION_ID
    dtls->from = NULL;
    dtls->readdressed = 0;
#endif
    (void)iotsec_dtls_flush(dtls);
    dtls->busy = 0;
    return result;
}

/* ---- What is due ---- */

uint32_t iotsec_dtls_poll(struct iotsec_dtls *dtls)
{
    uint32_t now;
    uint32_t wait;

    if (dtls == NULL || dtls->busy) {
        return 0;
    }
    dtls->busy = 1;
    now = iotsec_dtls_now(dtls);
    wait = iotsec_session_tick(dtls, now); /* first: its callbacks may start handshakes */
    wait = iotsec_min_u32(wait, iotsec_handshake_tick(dtls, now));
    if (dtls->ready) { /* a look-up was answered */
        iotsec_handshake_go_on(dtls);
        wait = 0;
    }
    (void)iotsec_dtls_flush(dtls);
    dtls->busy = 0;
    return wait;
}
