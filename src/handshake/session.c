/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An established session: what it takes, what it sends, how it ends.
 *
 *     A <-> B  {application data}, {key management}     to the application
 *     A <-> B  {alert}                                  close_notify and fatal ones end it
 *     C  -> S  {Finished} again                         the server's last flight was lost: it is repeated
 *
 * Nothing in the clear ever gets here.
 */
#include "handshake/engine.h"

#include <string.h>

/* Sessions that one look goes through for idleness. */
#define IDLE_STRIDE 16u /* a power of two */

static struct iotsec_dtls_session *get_session(const struct iotsec_dtls *dtls, iotsec_dtls_handle handle)
{
    if (dtls == NULL || (handle & HANDLE_HANDSHAKE) != 0) {
        return NULL;
    }
    return (struct iotsec_dtls_session *)(void *)iotsec_slot_get(dtls, handle);
}

static size_t tag_of(const struct iotsec_dtls_session *session)
{
    return IOTSEC_SUITE_CCM && (session->slot.flags & SESSION_CCM) != 0 ? IOTSEC_TAG_CCM_BYTES : IOTSEC_TAG_CCM_8_BYTES;
}

/* Where records to the peer go: while one is handled that came from elsewhere, there. */
static const struct iotsec_dtls_path *path_of(const struct iotsec_dtls *dtls, const struct iotsec_dtls_session *session)
{
#if CID_OWN
    if (dtls->moved_to != NULL && dtls->moved == session->slot.handle) {
        return dtls->moved_to;
    }
#else
    (void)dtls;
#endif
    return &session->path;
}

static void get_seal(const struct iotsec_dtls_session *session, struct iotsec_seal *seal)
{
    seal->key = &session->write_key;
    seal->tag_len = tag_of(session);
#if IOTSEC_CONNECTION_ID
    seal->cid = session->peer_cid;
#endif
}

/* Says goodbye and forgets. The last sequence numbers are kept for it. */
static void close_session(struct iotsec_dtls *dtls, struct iotsec_dtls_session *session, uint8_t description)
{
    struct iotsec_seal seal;

    get_seal(session, &seal);
    iotsec_alert_send(dtls, path_of(dtls, session), &seal, session->write_sequence, description);
    iotsec_slot_free(dtls, &session->slot);
}

/* A session that ended by itself: says goodbye unless the peer broke it off, and tells the application. */
static void end_session(struct iotsec_dtls *dtls, struct iotsec_dtls_session *session, enum iotsec_status reason)
{
    iotsec_dtls_handle handle = session->slot.handle;
    uint32_t peer = session->peer;

    if (reason == IOTSEC_ERR_ALERT) {
        iotsec_slot_free(dtls, &session->slot);
    } else {
        close_session(dtls, session, IOTSEC_ALERT_CLOSE_NOTIFY); /* as an answer, too: RFC 5246, section 7.2.1 */
    }
    if (dtls->config->callbacks->closed != NULL) {
        dtls->config->callbacks->closed(dtls->config->user, handle, peer, reason);
    }
}

void iotsec_session_fill(struct iotsec_dtls *dtls, struct iotsec_dtls_session *session, const struct iotsec_dtls_handshake *hs)
{
    session->slot.state = HS_DONE;
    session->peer = hs->peer;
    session->write_key = hs->u.keyed.write_key;
    session->read_key = hs->u.keyed.read_key;
    iotsec_replay_init(&session->replay);
    iotsec_replay_commit(&session->replay, hs->u.keyed.sequence);
    session->write_sequence = hs->write_sequence;
    session->hello = iotsec_hello_mark(hs->client_random);
    session->last_heard = iotsec_dtls_now(dtls);
    session->max_plaintext = IOTSEC_RECORD_PAYLOAD_MAX;
    if ((hs->slot.flags & HS_SHORT) != 0 && 256u << hs->max_fragment < IOTSEC_RECORD_PAYLOAD_MAX) {
        session->max_plaintext = (uint16_t)(256u << hs->max_fragment);
    }
    if (iotsec_suite_tag(hs->suite) == IOTSEC_TAG_CCM_BYTES) {
        session->slot.flags = SESSION_CCM;
    }
#if IOTSEC_CONNECTION_ID
    memcpy(session->peer_cid, hs->peer_cid, sizeof session->peer_cid);
#endif
#if IOTSEC_DTLS_SERVER
    if (iotsec_hs_is_server(hs)) {
#if IOTSEC_CONNECTION_ID
        if ((hs->slot.flags & HS_CID) != 0) {
            memcpy(session->cid, hs->cid, sizeof session->cid);
            iotsec_cid_insert(dtls, session);
        }
#endif
        session->slot.flags |= SESSION_SERVER;
        session->plain_sequence = hs->plain_sequence;
        session->last_repeat = session->last_heard;
        session->finished_seq = (uint8_t)hs->send_seq; /* HELLO_SEQ_MAX bounds it */
        memcpy(session->finished, hs->flight + IOTSEC_HANDSHAKE_HEADER_BYTES, sizeof session->finished);
    }
#endif
}

void iotsec_session_forged(struct iotsec_dtls *dtls, struct iotsec_dtls_session *session)
{
    if (session == NULL || session->forgeries == 0xFFFF) {
        return;
    }
    session->forgeries++;
    if (session->forgeries == IOTSEC_FORGERY_LIMIT && dtls->config->callbacks->forgeries != NULL) {
        dtls->config->callbacks->forgeries(dtls->config->user, session->slot.handle, session->peer);
    }
}

/* ---- What arrives ---- */

#if IOTSEC_DTLS_SERVER
/* S -> C  ChangeCipherSpec, {Finished} again, at most once an interval */
static void repeat_flight(struct iotsec_dtls *dtls, struct iotsec_dtls_session *session)
{
    const struct iotsec_dtls_path *path = path_of(dtls, session);
    uint8_t finished[FINISHED_BYTES];
    uint32_t now = iotsec_dtls_now(dtls);
    struct iotsec_seal seal;

    if (now - session->last_repeat < iotsec_flight_interval(dtls)) {
        return;
    }
    session->last_repeat = now;
    iotsec_message_header(finished, IOTSEC_HS_FINISHED, session->finished_seq, IOTSEC_VERIFY_DATA_BYTES);
    memcpy(finished + IOTSEC_HANDSHAKE_HEADER_BYTES, session->finished, IOTSEC_VERIFY_DATA_BYTES);
    iotsec_tx_change_cipher_spec(dtls, path, session->plain_sequence++);
    get_seal(session, &seal);
    (void)iotsec_tx(dtls, path, &seal, IOTSEC_CONTENT_HANDSHAKE, session->write_sequence++, finished, sizeof finished);
}
#endif

/* Whether this is a server's session whose client may still lack our last flight. */
static bool may_repeat(const struct iotsec_dtls_session *session)
{
    return IOTSEC_DTLS_SERVER && (session->slot.flags & (SESSION_SERVER | SESSION_CONFIRMED)) == SESSION_SERVER;
}

static enum iotsec_status take_content(struct iotsec_dtls *dtls, struct iotsec_dtls_session *session, unsigned type,
                                       uint8_t *content, size_t len)
{
    const struct iotsec_dtls_config *config = dtls->config;

    if (type == IOTSEC_CONTENT_HANDSHAKE) {
        /* C -> S  Finished again: our last flight was lost. Only somebody with the key can ask for it. */
        if (len != FINISHED_BYTES || content[0] != IOTSEC_HS_FINISHED) {
            return iotsec_dtls_drop(dtls, IOTSEC_DROP_NOT_ALLOWED); /* renegotiation */
        }
#if IOTSEC_DTLS_SERVER
        if (may_repeat(session)) {
            repeat_flight(dtls, session);
        }
#endif
        return IOTSEC_OK;
    }
    session->slot.flags |= SESSION_CONFIRMED;
    if (type == IOTSEC_CONTENT_ALERT) {
        if (len == 2 && (content[0] == IOTSEC_ALERT_FATAL || content[1] == IOTSEC_ALERT_CLOSE_NOTIFY)) {
            end_session(dtls, session, content[1] == IOTSEC_ALERT_CLOSE_NOTIFY ? IOTSEC_ERR_CLOSED : IOTSEC_ERR_ALERT);
        }
        return IOTSEC_OK;
    }
    if (type != IOTSEC_CONTENT_APPLICATION_DATA &&
        ((type != IOTSEC_CONTENT_MASTER_KEY_DATA && type != IOTSEC_CONTENT_SECURITY_PARAMETERS) || !config->key_management)) {
        return iotsec_dtls_drop(dtls, IOTSEC_DROP_NOT_ALLOWED);
    }
    if (len > session->max_plaintext) {
        return iotsec_dtls_drop(dtls, IOTSEC_DROP_TOO_LONG);
    }
    if (config->callbacks->receive != NULL) {
        config->callbacks->receive(config->user, session->slot.handle, session->peer, (uint8_t)type, content, len);
    }
    return IOTSEC_OK;
}

enum iotsec_status iotsec_session_open(struct iotsec_dtls *dtls, const struct iotsec_dtls_path *from,
                                       struct iotsec_dtls_session *session, const struct iotsec_record *record)
{
    bool fresh = iotsec_replay_check(&session->replay, record->sequence) != 0;
    enum iotsec_status status;
    uint8_t *content;
    uint8_t type;
    size_t len;

    /* A copy of the Finished still asks for the last flight, as long as the client may need it. */
    if (!fresh && ((record->type != IOTSEC_CONTENT_HANDSHAKE && !iotsec_record_has_cid(record)) || !may_repeat(session))) {
        return IOTSEC_ERR_REPLAY;
    }
    status = iotsec_dtls_open(dtls, &session->read_key, tag_of(session), record, &type, &content, &len);
    if (status == IOTSEC_ERR_DECODE) {
        return iotsec_dtls_drop(dtls, IOTSEC_DROP_MALFORMED);
    }
    if (status != IOTSEC_OK) {
        return status;
    }
#if CID_OWN
    if (!fresh && type != IOTSEC_CONTENT_HANDSHAKE) {
        iotsec_wipe(content, len);
        return IOTSEC_ERR_REPLAY;
    }
    /* The newest record says where the peer is, perhaps: who copies one to another address gets there what
     * answers it, and no more (RFC 9146, section 6). */
    if (!iotsec_path_equal(from, &session->path)) {
        dtls->elsewhere = from;
        dtls->moved_to = record->sequence > session->replay.top ? from : NULL;
        dtls->moved = session->slot.handle;
    }
#else
    (void)from;
#endif
    if (fresh) {
        iotsec_replay_commit(&session->replay, record->sequence);
        session->slot.flags &= (uint16_t)~SESSION_UNANSWERED;
        session->last_heard = iotsec_dtls_now(dtls);
    }
    dtls->opened = session->slot.handle;
    dtls->content = content;
    dtls->content_len = (uint16_t)len;
    dtls->content_type = type;
    return IOTSEC_OK;
}

enum iotsec_status iotsec_session_take(struct iotsec_dtls *dtls, enum iotsec_status status)
{
    struct iotsec_dtls_session *session = get_session(dtls, dtls->opened);
    uint8_t *content = dtls->content;
    size_t len = dtls->content_len;
    unsigned type = dtls->content_type;

    dtls->opened = 0;
    if (session == NULL) {
        return status;
    }
    status = take_content(dtls, session, type, content, len);
#if CID_OWN
    dtls->elsewhere = NULL;
    dtls->moved_to = NULL;
#endif
    if (type != IOTSEC_CONTENT_APPLICATION_DATA) {
        iotsec_wipe(content, len); /* keys, perhaps, in a datagram that is the caller's */
    }
    return status;
}

/* ---- What is due ---- */

uint32_t iotsec_session_tick(struct iotsec_dtls *dtls, uint32_t now)
{
    const struct iotsec_dtls_config *config = dtls->config;
    uint32_t timeout = config->idle_timeout_ms;
    uint32_t wait = UINT32_MAX;
    uint16_t i;

    if (timeout == 0 || dtls->sessions_used == 0) {
        return UINT32_MAX;
    }
    if (config->session_count > IDLE_STRIDE) {
        /* A call's work does not grow with the number of sessions: the hand goes round at least eight
         * times in the time-out. Halved, not divided: small cores cannot. */
        uint32_t looks = config->session_count / IDLE_STRIDE;

        for (wait = timeout / 8; looks != 0; looks >>= 1) {
            wait >>= 1;
        }
        wait++;
    }
    for (i = 0; i < IDLE_STRIDE && i < config->session_count; i++) {
        struct iotsec_dtls_session *session;

        if (dtls->idle_hand >= config->session_count) {
            dtls->idle_hand = 0;
        }
        session = &config->sessions[dtls->idle_hand++];
        if (session->slot.state != HS_FREE) {
            uint32_t left = iotsec_time_left(now, session->last_heard + timeout);

            if (left == 0) {
                end_session(dtls, session, IOTSEC_ERR_TIMEOUT);
            } else {
                wait = iotsec_min_u32(wait, left);
            }
        }
    }
    return wait;
}

/* ---- What the application does ---- */

enum iotsec_status iotsec_dtls_send(struct iotsec_dtls *dtls, iotsec_dtls_handle session, uint8_t type, const uint8_t *data,
                                    size_t len)
{
    struct iotsec_dtls_session *s = get_session(dtls, session);
    struct iotsec_seal seal;

    if (dtls == NULL || (data == NULL && len != 0) ||
        (type != IOTSEC_CONTENT_APPLICATION_DATA && type != IOTSEC_CONTENT_MASTER_KEY_DATA &&
         type != IOTSEC_CONTENT_SECURITY_PARAMETERS)) {
        return IOTSEC_ERR_ARGUMENT;
    }
    if (s == NULL) {
        return IOTSEC_ERR_NOT_FOUND;
    }
    get_seal(s, &seal);
    if (len > s->max_plaintext ||
        len > dtls->config->tx_size - iotsec_path_room(dtls, path_of(dtls, s)) - iotsec_tx_overhead(&seal)) {
        return IOTSEC_ERR_TOO_LONG;
    }
#if IOTSEC_DTLS_SERVER
    if (may_repeat(s)) {
        /* The client may have missed our Finished, and then has no use for this: at 50 % loss that is what most
         * joins that fail fail of. At most once an interval, and never right after the first. */
        repeat_flight(dtls, s);
    }
#endif
    if (s->write_sequence >= IOTSEC_SEQUENCE_LIMIT) {
        close_session(dtls, s, IOTSEC_ALERT_CLOSE_NOTIFY);
        return IOTSEC_ERR_COUNTER;
    }
    s->slot.flags |= SESSION_UNANSWERED;
    return iotsec_tx(dtls, path_of(dtls, s), &seal, type, s->write_sequence++, data, len);
}

enum iotsec_status iotsec_dtls_close(struct iotsec_dtls *dtls, iotsec_dtls_handle session, uint8_t alert)
{
    struct iotsec_dtls_session *s = get_session(dtls, session);

    if (s == NULL) {
        return dtls == NULL ? IOTSEC_ERR_ARGUMENT : IOTSEC_ERR_NOT_FOUND;
    }
    close_session(dtls, s, alert);
    return IOTSEC_OK;
}

#if IOTSEC_CONNECTION_ID
/* Files it under another path, if no other session stands there. */
static enum iotsec_status refile(struct iotsec_dtls *dtls, struct iotsec_dtls_session *session,
                                 const struct iotsec_dtls_path *path)
{
    const struct iotsec_dtls_session *other = iotsec_session_find(dtls, path);

    if (other != NULL && other != session) {
        return IOTSEC_ERR_EXISTS;
    }
    iotsec_slot_move(dtls, &session->slot, path);
    return IOTSEC_OK;
}
#endif

#if CID_OWN
int iotsec_dtls_moved(const struct iotsec_dtls *dtls, iotsec_dtls_handle session)
{
    const struct iotsec_dtls_session *s = get_session(dtls, session);

    return s != NULL && path_of(dtls, s) != &s->path;
}

enum iotsec_status iotsec_dtls_elsewhere(const struct iotsec_dtls *dtls, iotsec_dtls_handle session,
                                         uint8_t mark[IOTSEC_PATH_MARK_BYTES])
{
    struct iotsec_slice none;

    if (dtls == NULL || dtls->elsewhere == NULL || dtls->moved != session) {
        return IOTSEC_ERR_STATE;
    }
    if (mark == NULL) {
        return IOTSEC_OK;
    }
    /* no hello is empty, so no cookie is a mark */
    none.data = (const uint8_t *)dtls->elsewhere;
    none.len = 0;
    return iotsec_cookie_make(dtls, dtls->elsewhere, 0, &none, &none, mark);
}

enum iotsec_status iotsec_dtls_move(struct iotsec_dtls *dtls, iotsec_dtls_handle session)
{
    struct iotsec_dtls_session *s = get_session(dtls, session);
    enum iotsec_status status;

    if (s == NULL) {
        return dtls == NULL ? IOTSEC_ERR_ARGUMENT : IOTSEC_ERR_NOT_FOUND;
    }
    if (path_of(dtls, s) == &s->path) {
        return IOTSEC_ERR_STATE;
    }
    status = refile(dtls, s, dtls->moved_to);
    if (status == IOTSEC_OK) {
        dtls->elsewhere = NULL;
        dtls->moved_to = NULL; /* and no limit any more */
    }
    return status;
}
#endif

#if IOTSEC_CONNECTION_ID
enum iotsec_status iotsec_dtls_readdress(struct iotsec_dtls *dtls, iotsec_dtls_handle session, const struct iotsec_addr *addr)
{
    struct iotsec_dtls_session *s = get_session(dtls, session);
    struct iotsec_dtls_path room;
    enum iotsec_status status;
    bool follows;

    if (dtls == NULL || addr == NULL || iotsec_addr_is_multicast(addr)) {
        return IOTSEC_ERR_ARGUMENT;
    }
    if (s == NULL) {
        return IOTSEC_ERR_NOT_FOUND;
    }
    if (s->peer_cid[0] == 0) {
        return IOTSEC_ERR_STATE;
    }
    follows = dtls->from != NULL && iotsec_path_equal(dtls->from, &s->path);
    status = refile(dtls, s, iotsec_path_of(addr, &room));
    if (status == IOTSEC_OK && follows) {
        dtls->readdressed = session; /* what is left of the datagram is of this session too */
    }
    return status;
}
#endif

#if IOTSEC_PAIRWISE
size_t iotsec_dtls_room(const struct iotsec_dtls *dtls, iotsec_dtls_handle session)
{
    const struct iotsec_dtls_session *s = get_session(dtls, session);
    size_t payload;
    size_t used;
    struct iotsec_seal seal;

    if (s == NULL) {
        return 0;
    }
    payload = dtls->config->link_payload;
    if (payload == 0 || payload > dtls->config->tx_size) {
        payload = dtls->config->tx_size;
    }
    get_seal(s, &seal);
    used = iotsec_path_room(dtls, path_of(dtls, s)) + iotsec_tx_overhead(&seal);
    payload = payload > used ? payload - used : 0;
    return payload < s->max_plaintext ? payload : s->max_plaintext;
}
#endif

iotsec_dtls_handle iotsec_dtls_find(const struct iotsec_dtls *dtls, const struct iotsec_addr *addr)
{
    const struct iotsec_dtls_session *session = NULL;
    struct iotsec_dtls_path room;

    if (dtls != NULL && addr != NULL) {
        session = iotsec_session_find(dtls, iotsec_path_of(addr, &room));
    }
    return session != NULL ? session->slot.handle : 0;
}

enum iotsec_status iotsec_dtls_peer(const struct iotsec_dtls *dtls, iotsec_dtls_handle session, struct iotsec_addr *addr,
                                    uint32_t *peer)
{
    const struct iotsec_dtls_session *s = get_session(dtls, session);

    if (s == NULL) {
#if IOTSEC_PAIRWISE
        const struct iotsec_dtls_handshake *hs = dtls != NULL ? iotsec_handshake_get(dtls, session) : NULL;

        if (hs != NULL && addr != NULL) {
            *addr = hs->path.addr;
        }
        if (hs != NULL && peer != NULL) {
            *peer = hs->peer;
        }
        if (hs != NULL) {
            return IOTSEC_OK;
        }
#endif
        return dtls == NULL ? IOTSEC_ERR_ARGUMENT : IOTSEC_ERR_NOT_FOUND;
    }
    if (addr != NULL) {
        *addr = s->path.addr;
    }
    if (peer != NULL) {
        *peer = s->peer;
    }
    return IOTSEC_OK;
}
