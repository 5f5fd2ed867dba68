/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The endpoint: its tables, what arrives, what is due, what is sent.
 *
 *     datagram -> record -> epoch 0: ClientHello              -> server.c, perhaps without any state
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

#include "base/table.h"

/* Sessions that one poll looks at for idleness. */
#define IDLE_STRIDE 16u

uint32_t iotsec_dtls_now(const struct iotsec_dtls *dtls)
{
    return dtls->config->hal->now_ms(dtls->config->hal->user);
}

static uint32_t value_or(uint32_t value, uint32_t otherwise)
{
    return value != 0 ? value : otherwise;
}

enum iotsec_status iotsec_dtls_drop(struct iotsec_dtls *dtls, enum iotsec_drop reason)
{
    uint16_t *count = &dtls->stats.drops[reason];

    if (*count != 0xFFFF) {
        (*count)++;
    }
    switch ((int)reason) {
    case IOTSEC_DROP_MALFORMED:
    case IOTSEC_DROP_VERSION:
    case IOTSEC_DROP_TOO_LONG:
        return IOTSEC_ERR_DECODE;
    case IOTSEC_DROP_NO_SESSION:
    case IOTSEC_DROP_EPOCH:
        return IOTSEC_ERR_EPOCH;
    case IOTSEC_DROP_AUTH:
    case IOTSEC_DROP_COOKIE:
        return IOTSEC_ERR_AUTH;
    case IOTSEC_DROP_REPLAY:
        return IOTSEC_ERR_REPLAY;
    case IOTSEC_DROP_NO_ROOM:
        return IOTSEC_ERR_FULL;
    default:
        return IOTSEC_ERR_UNEXPECTED;
    }
}

/* ---- Tables ---- */

static struct iotsec_table get_sessions(const struct iotsec_dtls *dtls)
{
    return iotsec_table_of(dtls->config->sessions, sizeof dtls->config->sessions[0],
                           offsetof(struct iotsec_dtls_session, link), dtls->config->session_count);
}

static struct iotsec_table get_handshakes(const struct iotsec_dtls *dtls)
{
    return iotsec_table_of(dtls->config->handshakes, sizeof dtls->config->handshakes[0],
                           offsetof(struct iotsec_dtls_handshake, link), dtls->config->handshake_count);
}

static uint32_t hash_addr(const struct iotsec_dtls *dtls, const struct iotsec_addr *addr)
{
    return iotsec_table_hash(dtls->hash_seed, addr, sizeof *addr);
}

static iotsec_dtls_handle make_handle(ptrdiff_t index, uint16_t generation)
{
    return (uint32_t)generation << 16 | (uint32_t)(index + 1);
}

struct iotsec_dtls_session *iotsec_session_find(const struct iotsec_dtls *dtls, const struct iotsec_addr *addr)
{
    struct iotsec_table table = get_sessions(dtls);
    uint16_t i;

    if (dtls->sessions_used == 0) {
        return NULL;
    }
    for (i = iotsec_table_first(&table, hash_addr(dtls, addr)); i != IOTSEC_TABLE_NONE; i = iotsec_table_next(&table, i)) {
        if (iotsec_addr_equal(&dtls->config->sessions[i].addr, addr)) {
            return &dtls->config->sessions[i];
        }
    }
    return NULL;
}

struct iotsec_dtls_session *iotsec_session_get(const struct iotsec_dtls *dtls, iotsec_dtls_handle handle)
{
    uint32_t index = (handle & 0xFFFFu) - 1;
    struct iotsec_dtls_session *session;

    if (index >= dtls->config->session_count) {
        return NULL;
    }
    session = &dtls->config->sessions[index];
    return (session->flags & SESSION_USED) != 0 && session->generation == handle >> 16 ? session : NULL;
}

iotsec_dtls_handle iotsec_session_handle(const struct iotsec_dtls *dtls, const struct iotsec_dtls_session *session)
{
    return make_handle(session - dtls->config->sessions, session->generation);
}

/* Clears what belongs to the session, not to its slot. */
static void clear_session(struct iotsec_dtls_session *session)
{
    session->generation = (session->generation + 1u) & GENERATION_MASK;
    session->flags = 0;
    iotsec_wipe(&session->finished_seq, sizeof *session - offsetof(struct iotsec_dtls_session, finished_seq));
}

static struct iotsec_dtls_session *new_session(struct iotsec_dtls *dtls, const struct iotsec_addr *addr)
{
    struct iotsec_table table = get_sessions(dtls);
    uint16_t i = dtls->free_session;

    if (i == IOTSEC_TABLE_NONE) {
        return NULL;
    }
    /* free slots are chained by the member that the index does not use for them */
    dtls->free_session = dtls->config->sessions[i].link.next;
    iotsec_table_insert(&table, i, hash_addr(dtls, addr));
    dtls->sessions_used++;
    return &dtls->config->sessions[i];
}

static void free_session(struct iotsec_dtls *dtls, struct iotsec_dtls_session *session)
{
    struct iotsec_table table = get_sessions(dtls);
    uint16_t i = (uint16_t)(session - dtls->config->sessions);

    iotsec_table_remove(&table, i, hash_addr(dtls, &session->addr));
    clear_session(session);
    session->link.next = dtls->free_session;
    dtls->free_session = i;
    dtls->sessions_used--;
}

/* Forgets a session and tells the application. */
static void end_session(struct iotsec_dtls *dtls, struct iotsec_dtls_session *session, enum iotsec_status reason)
{
    iotsec_dtls_handle handle = iotsec_session_handle(dtls, session);
    uint32_t peer = session->peer;

    free_session(dtls, session);
    if (dtls->config->callbacks->closed != NULL) {
        dtls->config->callbacks->closed(dtls->config->user, handle, peer, reason);
    }
}

struct iotsec_dtls_handshake *iotsec_handshake_find(const struct iotsec_dtls *dtls, const struct iotsec_addr *addr, bool is_server)
{
    struct iotsec_table table = get_handshakes(dtls);
    uint16_t i;

    if (dtls->handshakes_used == 0) {
        return NULL;
    }
    for (i = iotsec_table_first(&table, hash_addr(dtls, addr)); i != IOTSEC_TABLE_NONE; i = iotsec_table_next(&table, i)) {
        struct iotsec_dtls_handshake *hs = &dtls->config->handshakes[i];

        if (hs->state != HS_DONE && iotsec_hs_is_server(hs) == is_server && iotsec_addr_equal(&hs->addr, addr)) {
            return hs;
        }
    }
    return NULL;
}

struct iotsec_dtls_handshake *iotsec_handshake_get(const struct iotsec_dtls *dtls, iotsec_dtls_handle handle)
{
    uint32_t index = (handle & 0xFFFFu) - 1;
    struct iotsec_dtls_handshake *hs;

    if (index >= dtls->config->handshake_count) {
        return NULL;
    }
    hs = &dtls->config->handshakes[index];
    return hs->state != HS_FREE && hs->state != HS_DONE && iotsec_handshake_handle(dtls, hs) == handle ? hs : NULL;
}

iotsec_dtls_handle iotsec_handshake_handle(const struct iotsec_dtls *dtls, const struct iotsec_dtls_handshake *hs)
{
    return make_handle(hs - dtls->config->handshakes, hs->generation) | HANDLE_HANDSHAKE;
}

/* A free slot, or NULL. */
static struct iotsec_dtls_handshake *search_slot(const struct iotsec_dtls *dtls)
{
    uint16_t i;

    for (i = 0; dtls->handshakes_used < dtls->config->handshake_count && i < dtls->config->handshake_count; i++) {
        if (dtls->config->handshakes[i].state == HS_FREE) {
            return &dtls->config->handshakes[i];
        }
    }
    return NULL;
}

/* The oldest half-open handshake of an address that has proved nothing, or NULL. */
static struct iotsec_dtls_handshake *search_victim(const struct iotsec_dtls *dtls)
{
    struct iotsec_dtls_handshake *oldest = NULL;
#if IOTSEC_DTLS_SERVER
    uint32_t now = iotsec_dtls_now(dtls);
    uint16_t i;

    for (i = 0; i < dtls->config->handshake_count; i++) {
        struct iotsec_dtls_handshake *hs = &dtls->config->handshakes[i];

        if (hs->state >= HS_SERVER_GATHERS_HELLO && hs->state <= HS_SERVER_GOT_KEYS && (hs->flags & HS_PROVED) == 0 &&
            (oldest == NULL || now - hs->started > now - oldest->started)) {
            oldest = hs;
        }
    }
#else
    (void)dtls;
#endif
    return oldest;
}

struct iotsec_dtls_handshake *iotsec_handshake_new(struct iotsec_dtls *dtls, const struct iotsec_addr *addr, uint16_t flags,
                                                   bool replace)
{
    struct iotsec_table table = get_handshakes(dtls);
    struct iotsec_dtls_handshake *hs = search_slot(dtls);

    if (hs == NULL && replace) {
        hs = search_victim(dtls);
        if (hs != NULL) {
            iotsec_handshake_end(dtls, hs, IOTSEC_ERR_REPLACED);
            hs = search_slot(dtls); /* again: the application may have taken the slot */
        }
    }
    if (hs == NULL) {
        return NULL;
    }
    iotsec_table_insert(&table, (uint16_t)(hs - dtls->config->handshakes), hash_addr(dtls, addr));
    hs->addr = *addr;
    hs->flags = flags;
    hs->started = iotsec_dtls_now(dtls);
    hs->state = (flags & HS_SERVER) != 0 ? HS_SERVER_GATHERS_HELLO : HS_CLIENT_SENT_HELLO;
    dtls->handshakes_used++;
    if (iotsec_hs_is_server(hs)) {
        dtls->half_open++;
    }
    return hs;
}

void iotsec_handshake_free(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs)
{
    struct iotsec_table table = get_handshakes(dtls);

    iotsec_table_remove(&table, (uint16_t)(hs - dtls->config->handshakes), hash_addr(dtls, &hs->addr));
    iotsec_transcript_abort(dtls, hs);
    if (iotsec_hs_is_server(hs)) {
        dtls->half_open--;
    }
    dtls->handshakes_used--;
    hs->generation = (hs->generation + 1u) & GENERATION_MASK;
    iotsec_wipe(&hs->state, sizeof *hs - offsetof(struct iotsec_dtls_handshake, state));
}

void iotsec_handshake_end(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs, enum iotsec_status reason)
{
    iotsec_dtls_handle handle = iotsec_handshake_handle(dtls, hs);
    struct iotsec_addr addr = hs->addr;
    uint32_t peer = hs->peer;
    bool told = !iotsec_hs_is_server(hs) || (hs->flags & HS_ASKED) != 0;

    iotsec_handshake_free(dtls, hs);
    if (told && dtls->config->callbacks->failed != NULL) {
        dtls->config->callbacks->failed(dtls->config->user, handle, &addr, peer, reason);
    }
}

/* ---- Setting up ---- */

static bool config_is_sound(const struct iotsec_dtls_config *config)
{
    return config->hal != NULL && config->hal->crypto != NULL && config->hal->random != NULL && config->hal->now_ms != NULL &&
           config->hal->send != NULL && config->callbacks != NULL && config->sessions != NULL && config->handshakes != NULL &&
           config->tx != NULL && config->tx_size >= 256 && config->session_count >= 1 && config->session_count <= 65534 &&
           config->handshake_count >= 1 && config->handshake_count <= 65534 && config->extension_count <= 8 &&
           (config->extension_count == 0 || config->extensions != NULL) && config->cookie_policy <= IOTSEC_COOKIE_WHILE_BUSY &&
           config->suites <= (IOTSEC_SUITE_CCM ? 3 : 1) &&
           config->max_fragment_length <= (IOTSEC_MAX_FRAGMENT_LENGTH ? 4 : 0);
}

/* Empties both tables. Slots keep their generation if `keep`: handles from before stay invalid. */
static void clear_tables(struct iotsec_dtls *dtls)
{
    const struct iotsec_dtls_config *config = dtls->config;
    struct iotsec_table sessions = get_sessions(dtls);
    struct iotsec_table handshakes = get_handshakes(dtls);
    uint16_t i;

    iotsec_wipe(config->sessions, sizeof config->sessions[0] * config->session_count);
    iotsec_wipe(config->handshakes, sizeof config->handshakes[0] * config->handshake_count);
    iotsec_table_init(&sessions);
    iotsec_table_init(&handshakes);
    /* handles start anywhere, so that one from before is not taken for one of now */
    for (i = 0; i < config->session_count; i++) {
        config->sessions[i].generation = dtls->hash_seed & GENERATION_MASK;
        config->sessions[i].link.next = i + 1u < config->session_count ? (uint16_t)(i + 1) : IOTSEC_TABLE_NONE;
    }
    for (i = 0; i < config->handshake_count; i++) {
        config->handshakes[i].generation = dtls->hash_seed & GENERATION_MASK;
    }
}

enum iotsec_status iotsec_dtls_init_checked(struct iotsec_dtls *dtls, const struct iotsec_dtls_config *config,
                                            uint32_t config_id, size_t session_size, size_t handshake_size)
{
    const struct iotsec_hal *hal;

    if (config_id != IOTSEC_CONFIG_ID || session_size != sizeof(struct iotsec_dtls_session) ||
        handshake_size != sizeof(struct iotsec_dtls_handshake)) {
        return IOTSEC_ERR_CONFIG;
    }
    if (dtls == NULL || config == NULL || !config_is_sound(config)) {
        return IOTSEC_ERR_ARGUMENT;
    }
    hal = config->hal;
    memset(dtls, 0, sizeof *dtls);
    if (hal->random(hal->user, dtls->cookie_secret, sizeof dtls->cookie_secret) < 0 ||
        hal->random(hal->user, (uint8_t *)&dtls->hash_seed, sizeof dtls->hash_seed) < 0) {
        iotsec_wipe(dtls, sizeof *dtls);
        return IOTSEC_ERR_RANDOM;
    }
    dtls->config = config;
    clear_tables(dtls);
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

/* ---- The end of a handshake ---- */

/* Tells an authenticated peer why there will be no session, and forgets it. */
static enum iotsec_status refuse_session(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs, enum iotsec_status reason)
{
    uint8_t alert[2];

    alert[0] = IOTSEC_ALERT_FATAL;
    alert[1] = iotsec_alert_of(reason);
    (void)iotsec_tx_sealed(dtls, &hs->addr, &hs->u.keyed.write_key, iotsec_suite_tag(hs->suite), IOTSEC_CONTENT_ALERT,
                           hs->write_sequence, alert, sizeof alert);
    iotsec_handshake_end(dtls, hs, reason);
    return IOTSEC_OK;
}

static void fill_session(struct iotsec_dtls *dtls, struct iotsec_dtls_session *session,
                         const struct iotsec_dtls_handshake *hs, uint64_t sequence)
{
    clear_session(session);
    session->addr = hs->addr;
    session->peer = hs->peer;
    session->write_key = hs->u.keyed.write_key;
    session->read_key = hs->u.keyed.read_key;
    iotsec_replay_init(&session->replay);
    iotsec_replay_commit(&session->replay, sequence);
    session->write_sequence = hs->write_sequence;
    session->plain_sequence = hs->plain_sequence;
    session->hello = iotsec_get_u32(hs->client_random);
    session->last_heard = iotsec_dtls_now(dtls);
    session->last_repeat = session->last_heard;
    session->max_plaintext = IOTSEC_RECORD_PAYLOAD_MAX;
    if (hs->max_fragment != 0 && (256u << hs->max_fragment) < IOTSEC_RECORD_PAYLOAD_MAX) {
        session->max_plaintext = (uint16_t)(256u << hs->max_fragment);
    }
    session->flags = SESSION_USED;
    if (hs->suite == IOTSEC_SUITE_PSK_AES_128_CCM) {
        session->flags |= SESSION_CCM;
    }
    if (iotsec_hs_is_server(hs)) {
        session->flags |= SESSION_SERVER;
        session->finished_seq = (uint8_t)hs->send_seq; /* HELLO_SEQ_MAX bounds it */
        memcpy(session->finished, hs->flight + IOTSEC_HANDSHAKE_HEADER_BYTES, sizeof session->finished);
    }
}

static enum iotsec_status open_session(struct iotsec_dtls *dtls, struct iotsec_dtls_session *session,
                                       const struct iotsec_record *record);
static void count_forgery(struct iotsec_dtls *dtls, const struct iotsec_addr *addr);

enum iotsec_status iotsec_handshake_finish(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs,
                                           const struct iotsec_hs_message *message, uint64_t sequence)
{
    struct iotsec_dtls_session *session;
    struct iotsec_dtls_info info;
    struct iotsec_addr addr = hs->addr;
    uint8_t scratch[IOTSEC_HANDSHAKE_SCRATCH_BYTES];
    bool holds;

    if (message->length != IOTSEC_VERIFY_DATA_BYTES ||
        !iotsec_ct_equal(message->body, hs->u.keyed.expected, IOTSEC_VERIFY_DATA_BYTES)) {
        return IOTSEC_ERR_AUTH;
    }
    memset(&info, 0, sizeof info);
    session = iotsec_session_find(dtls, &hs->addr);
    if (session != NULL) {
        if (session->peer != hs->peer) {
            return refuse_session(dtls, hs, IOTSEC_ERR_EXISTS);
        }
        info.replaced = iotsec_session_handle(dtls, session);
    } else {
        session = new_session(dtls, &hs->addr);
        if (session == NULL) {
            return refuse_session(dtls, hs, IOTSEC_ERR_RESOURCES);
        }
    }
    if (iotsec_hs_is_server(hs)) {
        hs->flags |= HS_PROVED; /* no limit any more */
        iotsec_flight_start(dtls, hs);
    }
    fill_session(dtls, session, hs, sequence);

    info.session = iotsec_session_handle(dtls, session);
    info.handshake = iotsec_handshake_handle(dtls, hs);
    info.addr = &addr;
    info.peer = hs->peer;
    info.is_server = iotsec_hs_is_server(hs);
    info.suite = hs->suite;
    info.extended_master_secret = (hs->flags & HS_EMS) != 0;
    memcpy(scratch, hs->scratch, sizeof scratch);
    info.scratch = scratch;
    holds = hs->held_len != 0;
    if (holds) {
        hs->state = HS_DONE; /* invisible, but keeps the record through the callback */
    } else {
        iotsec_handshake_free(dtls, hs);
    }
    if (dtls->config->callbacks->established != NULL) {
        dtls->config->callbacks->established(dtls->config->user, &info);
    }
    if (holds) {
        struct iotsec_record record;
        uint8_t *next = hs->held;
        size_t left = hs->held_len;

        session = iotsec_session_get(dtls, info.session);
        if (session != NULL && iotsec_record_parse(&record, &next, &left) == IOTSEC_OK) {
            enum iotsec_status status = open_session(dtls, session, &record);

            if (status == IOTSEC_ERR_AUTH) {
                count_forgery(dtls, &addr);
                (void)iotsec_dtls_drop(dtls, IOTSEC_DROP_AUTH);
            } else if (status == IOTSEC_ERR_REPLAY) {
                (void)iotsec_dtls_drop(dtls, IOTSEC_DROP_REPLAY);
            }
        }
        iotsec_handshake_free(dtls, hs);
    }
    return IOTSEC_OK;
}

/* ---- What arrives ---- */

/* A whole message that is next in order. */
static enum iotsec_status take_message(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs,
                                       const struct iotsec_hs_message *message, uint64_t sequence)
{
    if (iotsec_hs_next(hs->state, message->type) == HS_FREE) {
#if IOTSEC_DTLS_CLIENT
        if (!iotsec_hs_is_server(hs)) {
            iotsec_client_hint(dtls, hs, IOTSEC_ERR_UNEXPECTED);
        }
#endif
        return iotsec_dtls_drop(dtls, IOTSEC_DROP_UNEXPECTED);
    }
    if (message->type == IOTSEC_HS_FINISHED) {
        enum iotsec_status status = iotsec_handshake_finish(dtls, hs, message, sequence);

        if (status == IOTSEC_OK) {
            return IOTSEC_OK;
        }
        /* The key is right and the transcript is not: somebody changed a message on the way. */
#if IOTSEC_DTLS_SERVER
        if (iotsec_hs_is_server(hs)) {
            iotsec_server_wrong_key(dtls, hs);
            return iotsec_dtls_drop(dtls, IOTSEC_DROP_AUTH);
        }
#endif
#if IOTSEC_DTLS_CLIENT
        iotsec_client_hint(dtls, hs, IOTSEC_ERR_PROTOCOL);
#endif
        return iotsec_dtls_drop(dtls, IOTSEC_DROP_AUTH);
    }
#if IOTSEC_DTLS_SERVER
    if (iotsec_hs_is_server(hs)) {
        return iotsec_server_take(dtls, hs, message);
    }
#endif
#if IOTSEC_DTLS_CLIENT
    return iotsec_client_take(dtls, hs, message);
#else
    return IOTSEC_ERR_UNEXPECTED;
#endif
}

/* A message or a piece of one for a handshake that exists. */
static enum iotsec_status take_piece(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs,
                                     const struct iotsec_hs_message *piece, const struct iotsec_record *record)
{
    iotsec_dtls_handle handle = iotsec_handshake_handle(dtls, hs);
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
    if (piece->type == IOTSEC_HS_HELLO_VERIFY_REQUEST && hs->state == HS_CLIENT_SENT_HELLO && whole &&
        piece->seq <= hs->receive_seq) {
        return iotsec_client_verify(dtls, hs, piece);
    }
#endif
    if (ahead >= 0x8000u) {
        /* The server repeats its flight, so ours was lost. (What a client repeats is answered where its
         * hello or its Finished is taken.) */
        if (hs->state == HS_CLIENT_SENT_FINISHED) {
            iotsec_flight_answer(dtls, hs);
        }
        return iotsec_dtls_drop(dtls, IOTSEC_DROP_REPLAY);
    }
    if (ahead >= IOTSEC_REASSEMBLY_MESSAGES) {
        return iotsec_dtls_drop(dtls, IOTSEC_DROP_UNEXPECTED);
    }
    if (ahead == 0 && whole) {
        status = take_message(dtls, hs, piece, record->sequence);
        if (status != IOTSEC_OK) {
            return status;
        }
        hs = iotsec_handshake_get(dtls, handle);
        if (hs != NULL && hs->receive_seq != piece->seq) {
            iotsec_reassembly_forget(hs, piece->seq); /* pieces of it that came before */
        }
    } else {
        status = iotsec_reassembly_add(hs, piece);
        if (status != IOTSEC_OK) {
            return iotsec_dtls_drop(dtls, status == IOTSEC_ERR_FULL ? IOTSEC_DROP_NO_ROOM : IOTSEC_DROP_MALFORMED);
        }
    }
    /* What waited may be next now. A message that is refused here is forgotten: it may come again. */
    while (status == IOTSEC_OK && (hs = iotsec_handshake_get(dtls, handle)) != NULL &&
           iotsec_reassembly_whole(hs, hs->receive_seq, &message)) {
        status = take_message(dtls, hs, &message, record->sequence);
        hs = iotsec_handshake_get(dtls, handle);
        if (hs != NULL) {
            iotsec_reassembly_forget(hs, message.seq);
        }
    }
    return status;
}

/* The handshake messages of one record. `handle`: the handshake whose key opened it; 0: it came in the clear. */
static enum iotsec_status take_handshake(struct iotsec_dtls *dtls, const struct iotsec_addr *from, iotsec_dtls_handle handle,
                                         const struct iotsec_record *record, const uint8_t *content, size_t len)
{
    struct iotsec_reader r;
    enum iotsec_status result = IOTSEC_ERR_DECODE;

    iotsec_rd_init(&r, content, len);
    do {
        struct iotsec_hs_message piece;
        struct iotsec_dtls_handshake *hs;
        enum iotsec_status status;

        if (!iotsec_rd_u8(&r, &piece.type) || !iotsec_rd_u24(&r, &piece.length) || !iotsec_rd_u16(&r, &piece.seq) ||
            !iotsec_rd_u24(&r, &piece.offset) || !iotsec_rd_u24(&r, &piece.piece) ||
            !iotsec_rd_view(&r, &piece.body, piece.piece) || piece.offset > piece.length ||
            piece.piece > piece.length - piece.offset) {
            status = iotsec_dtls_drop(dtls, IOTSEC_DROP_MALFORMED);
            return result == IOTSEC_OK ? result : status;
        }
#if IOTSEC_DTLS_SERVER
        if (handle == 0 && piece.type == IOTSEC_HS_CLIENT_HELLO) {
            status = iotsec_server_hello(dtls, from, record, &piece);
        } else
#endif
        {
            hs = handle != 0 ? iotsec_handshake_get(dtls, handle)
                             : iotsec_handshake_find(dtls, from, iotsec_hs_known(true, piece.type));
            if (hs != NULL) {
                status = take_piece(dtls, hs, &piece, record);
            } else {
                status = iotsec_dtls_drop(dtls, iotsec_session_find(dtls, from) != NULL ? IOTSEC_DROP_PLAINTEXT
                                                                                        : IOTSEC_DROP_NO_SESSION);
            }
        }
        if (result != IOTSEC_OK) {
            result = status;
        }
    } while (r.left != 0);
    return result;
}

/* A record of epoch 0 that is no handshake. */
static enum iotsec_status take_plain(struct iotsec_dtls *dtls, const struct iotsec_addr *from, const struct iotsec_record *record)
{
    struct iotsec_dtls_handshake *client = iotsec_handshake_find(dtls, from, false);

    if (record->type == IOTSEC_CONTENT_CHANGE_CIPHER_SPEC || record->type == IOTSEC_CONTENT_ALERT) {
        bool alert = record->type == IOTSEC_CONTENT_ALERT;

        if (record->length != (alert ? 2 : 1) || (!alert && record->body[0] != 1)) {
            return iotsec_dtls_drop(dtls, IOTSEC_DROP_MALFORMED);
        }
#if IOTSEC_DTLS_CLIENT
        if (alert && client != NULL) {
            iotsec_client_alert(client, record->body[0], record->body[1]);
            return IOTSEC_OK;
        }
#endif
        /* ChangeCipherSpec says what the next record's epoch says, and proves less: transition.c */
        if (!alert && (client != NULL || iotsec_handshake_find(dtls, from, true) != NULL)) {
            return IOTSEC_OK;
        }
        return iotsec_dtls_drop(dtls, iotsec_session_find(dtls, from) != NULL ? IOTSEC_DROP_PLAINTEXT : IOTSEC_DROP_NO_SESSION);
    }
    return iotsec_dtls_drop(dtls, IOTSEC_DROP_PLAINTEXT);
}

static void count_forgery(struct iotsec_dtls *dtls, const struct iotsec_addr *addr)
{
    struct iotsec_dtls_session *session = iotsec_session_find(dtls, addr);

    if (session == NULL || session->forgeries == 0xFFFF) {
        return;
    }
    session->forgeries++;
    if (session->forgeries == IOTSEC_FORGERY_LIMIT && dtls->config->callbacks->forgeries != NULL) {
        dtls->config->callbacks->forgeries(dtls->config->user, iotsec_session_handle(dtls, session), session->peer);
    }
}

/* What an authenticated alert says about the peer's end, or IOTSEC_OK if it goes on. */
static enum iotsec_status judge_alert(const uint8_t *content, size_t len)
{
    if (len != 2) {
        return IOTSEC_OK;
    }
    if (content[1] == IOTSEC_ALERT_CLOSE_NOTIFY) {
        return IOTSEC_ERR_CLOSED;
    }
    return content[0] == IOTSEC_ALERT_FATAL ? IOTSEC_ERR_ALERT : IOTSEC_OK;
}

static enum iotsec_status take_session_content(struct iotsec_dtls *dtls, struct iotsec_dtls_session *session, uint8_t type,
                                               uint8_t *content, size_t len)
{
    const struct iotsec_dtls_config *config = dtls->config;

    if (type == IOTSEC_CONTENT_HANDSHAKE) {
        /* C -> S  Finished again: our last flight was lost. Only somebody with the key can ask for it. */
        if (len != FINISHED_BYTES || content[0] != IOTSEC_HS_FINISHED) {
            return iotsec_dtls_drop(dtls, IOTSEC_DROP_NOT_ALLOWED); /* renegotiation */
        }
        if ((session->flags & (SESSION_SERVER | SESSION_CONFIRMED)) == SESSION_SERVER) {
            iotsec_session_repeat(dtls, session);
        }
        return IOTSEC_OK;
    }
    session->flags |= SESSION_CONFIRMED;
    if (type == IOTSEC_CONTENT_ALERT) {
        enum iotsec_status reason = judge_alert(content, len);

        if (reason == IOTSEC_ERR_CLOSED) {
            iotsec_session_alert(dtls, session, IOTSEC_ALERT_CLOSE_NOTIFY); /* RFC 5246, section 7.2.1 */
        }
        if (reason != IOTSEC_OK) {
            end_session(dtls, session, reason);
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
        config->callbacks->receive(config->user, iotsec_session_handle(dtls, session), session->peer, type, content, len);
    }
    return IOTSEC_OK;
}

/* IOTSEC_ERR_AUTH and IOTSEC_ERR_REPLAY are not counted yet: the record may belong to a handshake. */
static enum iotsec_status open_session(struct iotsec_dtls *dtls, struct iotsec_dtls_session *session,
                                       const struct iotsec_record *record)
{
    bool fresh = iotsec_replay_check(&session->replay, record->sequence) != 0;
    enum iotsec_status status;
    uint8_t *content;
    size_t len;

    /* A copy of the Finished still asks for the last flight, as long as the client may need it. */
    if (!fresh && (record->type != IOTSEC_CONTENT_HANDSHAKE ||
                   (session->flags & (SESSION_SERVER | SESSION_CONFIRMED)) != SESSION_SERVER)) {
        return IOTSEC_ERR_REPLAY;
    }
    status = iotsec_record_open(dtls->config->hal, &session->read_key,
                                (session->flags & SESSION_CCM) != 0 ? IOTSEC_TAG_CCM_BYTES : IOTSEC_TAG_CCM_8_BYTES, record,
                                &content, &len);
    if (status == IOTSEC_ERR_DECODE) {
        return iotsec_dtls_drop(dtls, IOTSEC_DROP_MALFORMED);
    }
    if (status != IOTSEC_OK) {
        return status;
    }
    if (fresh) {
        iotsec_replay_commit(&session->replay, record->sequence);
        session->last_heard = iotsec_dtls_now(dtls);
    }
    return take_session_content(dtls, session, record->type, content, len);
}

/* C <-> S  {Alert} before the session exists: authenticated by the PSK, so it is believed. */
static enum iotsec_status take_handshake_alert(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs,
                                               const uint8_t *content, size_t len)
{
    enum iotsec_status reason = judge_alert(content, len);

    if (reason == IOTSEC_ERR_ALERT && content[1] == IOTSEC_ALERT_ACCESS_DENIED) {
        reason = IOTSEC_ERR_NOT_AUTHORISED;
    } else if (reason == IOTSEC_ERR_ALERT && content[1] == IOTSEC_ALERT_INTERNAL_ERROR) {
        reason = IOTSEC_ERR_RESOURCES;
    }
    if (reason != IOTSEC_OK) {
        iotsec_handshake_end(dtls, hs, reason);
    }
    return IOTSEC_OK;
}

/* A record that belongs to a handshake with keys before it belongs to a session. */
static bool is_early(const struct iotsec_record *record)
{
    return record->type == IOTSEC_CONTENT_HANDSHAKE || record->type == IOTSEC_CONTENT_ALERT;
}

/* IOTSEC_ERR_AUTH: the tag is wrong, and that is not counted yet. */
static enum iotsec_status open_handshake(struct iotsec_dtls *dtls, const struct iotsec_addr *from,
                                         struct iotsec_dtls_handshake *hs, const struct iotsec_record *record)
{
    enum iotsec_status status;
    uint8_t *content;
    size_t len;

    status = iotsec_record_open(dtls->config->hal, &hs->u.keyed.read_key, iotsec_suite_tag(hs->suite), record, &content, &len);
    if (status == IOTSEC_ERR_DECODE) {
        return iotsec_dtls_drop(dtls, IOTSEC_DROP_MALFORMED);
    }
    if (status != IOTSEC_OK) {
        return status;
    }
    if (record->type == IOTSEC_CONTENT_ALERT) {
        return take_handshake_alert(dtls, hs, content, len);
    }
    status = take_handshake(dtls, from, iotsec_handshake_handle(dtls, hs), record, content, len);
    return status == IOTSEC_ERR_AUTH ? IOTSEC_ERR_UNEXPECTED : status; /* counted */
}

/* Keeps one record that came too early. A Finished is worth more than what follows it. */
static bool hold_record(struct iotsec_dtls_handshake *hs, const struct iotsec_record *record)
{
    size_t len = IOTSEC_RECORD_HEADER_BYTES + (size_t)record->length;

    if (hs->held_len != 0 && (!is_early(record) || hs->held[0] == IOTSEC_CONTENT_HANDSHAKE)) {
        return false;
    }
    memcpy(hs->held, record->header, len);
    hs->held_len = (uint16_t)len;
    return true;
}

/* A tag that no key here explains. */
static enum iotsec_status refuse_forgery(struct iotsec_dtls *dtls, const struct iotsec_addr *from, uint8_t type,
                                         bool session_failed)
{
#if IOTSEC_DTLS_SERVER
    struct iotsec_dtls_handshake *server = iotsec_handshake_find(dtls, from, true);

    if (server != NULL && server->state == HS_SERVER_GOT_KEYS && type == IOTSEC_CONTENT_HANDSHAKE) {
        iotsec_server_wrong_key(dtls, server);
    }
#else
    (void)type;
#endif
    if (session_failed) {
        count_forgery(dtls, from);
    }
    return iotsec_dtls_drop(dtls, IOTSEC_DROP_AUTH);
}

void iotsec_handshake_open_held(struct iotsec_dtls *dtls, iotsec_dtls_handle handle)
{
    struct iotsec_dtls_handshake *hs = iotsec_handshake_get(dtls, handle);
    struct iotsec_record record;
    struct iotsec_addr from;
    uint8_t *next;
    size_t left;

    if (hs == NULL || hs->held_len == 0) {
        return;
    }
    next = hs->held;
    left = hs->held_len;
    if (iotsec_record_parse(&record, &next, &left) != IOTSEC_OK || !is_early(&record)) {
        return; /* waits on, for the session */
    }
    hs->held_len = 0;
    from = hs->addr;
    if (open_handshake(dtls, &from, hs, &record) == IOTSEC_ERR_AUTH) {
        /* a session with that address had its try before the record was held */
        (void)refuse_forgery(dtls, &from, record.type, true);
    }
}

/* Whether a handshake may have use for a record of epoch 1. */
static bool takes_protected(const struct iotsec_dtls_handshake *hs)
{
    return hs->state == HS_CLIENT_SENT_FINISHED || (hs->state >= HS_SERVER_SENT_DONE && hs->state <= HS_SERVER_GOT_KEYS);
}

/*
 * A record of epoch 1. Until a new handshake with the same address has ended, nobody knows whose it
 * is: the session's key is tried first, then the handshakes'. Opening happens in place and wipes what
 * does not open, so the record is put aside in the (flushed) transmit buffer when there is more than
 * one key to try; only what is as short as a Finished can be meant for a handshake.
 */
static enum iotsec_status take_protected(struct iotsec_dtls *dtls, const struct iotsec_addr *from,
                                         const struct iotsec_record *record)
{
    struct iotsec_dtls_session *session = iotsec_session_find(dtls, from);
    enum iotsec_drop reason = session != NULL ? IOTSEC_DROP_REPLAY : IOTSEC_DROP_NO_SESSION;
    size_t len = IOTSEC_RECORD_HEADER_BYTES + (size_t)record->length;
    struct iotsec_dtls_handshake *takers[2];
    enum iotsec_status status;
    bool session_failed = false;
    bool failed = false;
    bool copied = false;
    size_t i;

    if (record->version != IOTSEC_VERSION_DTLS_1_2) {
        return iotsec_dtls_drop(dtls, IOTSEC_DROP_VERSION);
    }
    for (i = 0; i < 2; i++) {
        takers[i] = iotsec_handshake_find(dtls, from, i == 1);
        if (takers[i] != NULL && (!takes_protected(takers[i]) || len > IOTSEC_HELD_RECORD_BYTES)) {
            if (session == NULL) {
                reason = takes_protected(takers[i]) ? IOTSEC_DROP_TOO_LONG : IOTSEC_DROP_EPOCH;
            }
            takers[i] = NULL;
        }
    }
    if ((session != NULL) + (takers[0] != NULL) + (takers[1] != NULL) > 1) {
        (void)iotsec_dtls_flush(dtls);
        memcpy(dtls->config->tx, record->header, len);
        copied = true;
    }
    if (session != NULL) {
        status = open_session(dtls, session, record);
        if (status != IOTSEC_ERR_AUTH && status != IOTSEC_ERR_REPLAY) {
            return status;
        }
        session_failed = status == IOTSEC_ERR_AUTH;
        failed = session_failed;
    }
    for (i = 0; i < 2; i++) {
        if (takers[i] == NULL) {
            continue;
        }
        if (copied) {
            memcpy(record->header, dtls->config->tx, len);
        }
        if (iotsec_hs_has_keys(takers[i]) && is_early(record)) {
            status = open_handshake(dtls, from, takers[i], record);
            if (status != IOTSEC_ERR_AUTH) {
                return status;
            }
            failed = true;
        } else if (hold_record(takers[i], record)) {
            return IOTSEC_OK;
        } else {
            reason = IOTSEC_DROP_NO_ROOM;
        }
    }
    return failed ? refuse_forgery(dtls, from, record->type, session_failed) : iotsec_dtls_drop(dtls, reason);
}

static enum iotsec_status take_record(struct iotsec_dtls *dtls, const struct iotsec_addr *from,
                                      const struct iotsec_record *record)
{
    struct iotsec_dtls_handshake *server = iotsec_handshake_find(dtls, from, true);

    if (server != NULL) {
        server->bytes_in += IOTSEC_RECORD_HEADER_BYTES + (uint32_t)record->length;
    }
    if (record->version != IOTSEC_VERSION_DTLS_1_2 && record->version != IOTSEC_VERSION_DTLS_1_0) {
        return iotsec_dtls_drop(dtls, IOTSEC_DROP_VERSION);
    }
    if (record->epoch == 1) {
        return take_protected(dtls, from, record);
    }
    if (record->epoch != 0) {
        return iotsec_dtls_drop(dtls, IOTSEC_DROP_EPOCH);
    }
    if (record->type == IOTSEC_CONTENT_HANDSHAKE) {
        return take_handshake(dtls, from, 0, record, record->body, record->length);
    }
    return take_plain(dtls, from, record);
}

enum iotsec_status iotsec_dtls_input(struct iotsec_dtls *dtls, const struct iotsec_addr *from, uint8_t *datagram, size_t len)
{
    enum iotsec_status result = IOTSEC_ERR_DECODE;

    if (dtls == NULL || from == NULL || datagram == NULL) {
        return IOTSEC_ERR_ARGUMENT;
    }
    if (dtls->busy) {
        return IOTSEC_ERR_STATE;
    }
    dtls->busy = 1;
    do {
        struct iotsec_record record;
        enum iotsec_status status;
        bool more = iotsec_record_parse(&record, &datagram, &len) == IOTSEC_OK;

        status = more ? take_record(dtls, from, &record) : iotsec_dtls_drop(dtls, IOTSEC_DROP_MALFORMED);
        if (result != IOTSEC_OK) {
            result = status;
        }
        if (!more) {
            break;
        }
    } while (len != 0);
    (void)iotsec_dtls_flush(dtls);
    dtls->busy = 0;
    return result;
}

/* ---- What is due ---- */

static uint32_t deadline_of(const struct iotsec_dtls *dtls, const struct iotsec_dtls_handshake *hs)
{
    const struct iotsec_dtls_config *config = dtls->config;

    return hs->started + (iotsec_hs_is_server(hs) ? value_or(config->half_open_timeout_ms, IOTSEC_HALF_OPEN_TIMEOUT_MS)
                                                  : value_or(config->handshake_timeout_ms, IOTSEC_HANDSHAKE_TIMEOUT_MS));
}

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
    return hs->state == HS_CLIENT_SENT_FINISHED && !dtls->config->key_management ? IOTSEC_ERR_WRONG_PSK
                                                                                 : IOTSEC_ERR_NO_ANSWER;
}

/* Repeats or ends a handshake if it is time. */
static void tick_handshake(struct iotsec_dtls *dtls, struct iotsec_dtls_handshake *hs, uint32_t now)
{
    if (iotsec_time_reached(now, deadline_of(dtls, hs))) {
        iotsec_handshake_end(dtls, hs, reason_at_deadline(dtls, hs));
    } else if (iotsec_flight_timed(hs) && iotsec_time_reached(now, hs->retransmit_at)) {
        if (hs->hint != 0 && hs->rounds >= HINT_ROUNDS) {
            iotsec_handshake_end(dtls, hs, (enum iotsec_status)hs->hint);
            return;
        }
#if IOTSEC_DTLS_CLIENT
        if (hs->hint != 0 && hs->rounds != 0 && hs->state == HS_CLIENT_SENT_FINISHED && (hs->flags & HS_RETRIED) == 0) {
            iotsec_client_retry(dtls, hs);
            return;
        }
#endif
        if (hs->rounds != 0xFF) {
            hs->rounds++;
        }
        iotsec_flight_repeat(dtls, hs);
    }
}

static uint32_t tick_handshakes(struct iotsec_dtls *dtls, uint32_t now)
{
    const struct iotsec_dtls_config *config = dtls->config;
    uint32_t wait = UINT32_MAX;
    uint16_t i;

    for (i = 0; dtls->handshakes_used != 0 && i < config->handshake_count; i++) {
        if (config->handshakes[i].state != HS_FREE) {
            tick_handshake(dtls, &config->handshakes[i], now);
        }
    }
    /* after the callbacks, which may have started new ones */
    for (i = 0; dtls->handshakes_used != 0 && i < config->handshake_count; i++) {
        const struct iotsec_dtls_handshake *hs = &config->handshakes[i];

        if (hs->state != HS_FREE) {
            wait = iotsec_min_u32(wait, iotsec_time_left(now, deadline_of(dtls, hs)));
            if (iotsec_flight_timed(hs)) {
                wait = iotsec_min_u32(wait, iotsec_time_left(now, hs->retransmit_at));
            }
        }
    }
    return wait;
}

/* Looks at the next few sessions: a call's work does not grow with their number. */
static uint32_t tick_sessions(struct iotsec_dtls *dtls, uint32_t now)
{
    const struct iotsec_dtls_config *config = dtls->config;
    uint32_t timeout = config->idle_timeout_ms;
    uint32_t wait = UINT32_MAX;
    uint16_t i;

    if (timeout == 0 || dtls->sessions_used == 0) {
        return UINT32_MAX;
    }
    for (i = 0; i < IDLE_STRIDE && i < config->session_count; i++) {
        struct iotsec_dtls_session *session;

        if (dtls->idle_hand >= config->session_count) {
            dtls->idle_hand = 0;
        }
        session = &config->sessions[dtls->idle_hand++];
        if ((session->flags & SESSION_USED) == 0) {
            continue;
        }
        if (iotsec_time_reached(now, session->last_heard + timeout)) {
            iotsec_session_alert(dtls, session, IOTSEC_ALERT_CLOSE_NOTIFY);
            end_session(dtls, session, IOTSEC_ERR_TIMEOUT);
        } else {
            wait = iotsec_min_u32(wait, iotsec_time_left(now, session->last_heard + timeout));
        }
    }
    if (config->session_count > IDLE_STRIDE) {
        /* the hand goes round at least eight times in the time-out */
        uint32_t step = timeout / 8 / (config->session_count / IDLE_STRIDE + 1);

        wait = iotsec_min_u32(wait, step != 0 ? step : 1);
    }
    return wait;
}

uint32_t iotsec_dtls_poll(struct iotsec_dtls *dtls)
{
    uint32_t now;
    uint32_t wait;

    if (dtls == NULL || dtls->busy) {
        return 0;
    }
    dtls->busy = 1;
    now = iotsec_dtls_now(dtls);
    wait = tick_sessions(dtls, now); /* first: its callbacks may start handshakes */
    wait = iotsec_min_u32(wait, tick_handshakes(dtls, now));
    (void)iotsec_dtls_flush(dtls);
    dtls->busy = 0;
    return wait;
}

/* ---- What the application does ---- */

enum iotsec_status iotsec_dtls_send(struct iotsec_dtls *dtls, iotsec_dtls_handle session, uint8_t type, const uint8_t *data,
                                    size_t len)
{
    struct iotsec_dtls_session *s;
    size_t tag_len;

    if (dtls == NULL || (data == NULL && len != 0) ||
        (type != IOTSEC_CONTENT_APPLICATION_DATA && type != IOTSEC_CONTENT_MASTER_KEY_DATA &&
         type != IOTSEC_CONTENT_SECURITY_PARAMETERS)) {
        return IOTSEC_ERR_ARGUMENT;
    }
    s = iotsec_session_get(dtls, session);
    if (s == NULL) {
        return IOTSEC_ERR_NOT_FOUND;
    }
    tag_len = (s->flags & SESSION_CCM) != 0 ? IOTSEC_TAG_CCM_BYTES : IOTSEC_TAG_CCM_8_BYTES;
    if (len > s->max_plaintext ||
        len > dtls->config->tx_size - IOTSEC_RECORD_HEADER_BYTES - IOTSEC_EXPLICIT_NONCE_BYTES - tag_len) {
        return IOTSEC_ERR_TOO_LONG;
    }
    if ((s->flags & (SESSION_SERVER | SESSION_CONFIRMED)) == SESSION_SERVER) {
        /* The client may have missed our Finished, and then has no use for this: at 50 % loss that is what most
         * joins that fail fail of. At most once an interval, and never right after the first. */
        iotsec_session_repeat(dtls, s);
    }
    if (s->write_sequence >= IOTSEC_SEQUENCE_LIMIT) {
        /* the very last number says goodbye */
        (void)iotsec_dtls_close(dtls, session, IOTSEC_ALERT_CLOSE_NOTIFY);
        return IOTSEC_ERR_COUNTER;
    }
    return iotsec_tx_sealed(dtls, &s->addr, &s->write_key, tag_len, type, s->write_sequence++, data, len);
}

enum iotsec_status iotsec_dtls_close(struct iotsec_dtls *dtls, iotsec_dtls_handle session, uint8_t alert)
{
    struct iotsec_dtls_session *s;

    if (dtls == NULL) {
        return IOTSEC_ERR_ARGUMENT;
    }
    s = iotsec_session_get(dtls, session);
    if (s == NULL) {
        return IOTSEC_ERR_NOT_FOUND;
    }
    iotsec_session_alert(dtls, s, alert);
    free_session(dtls, s);
    return IOTSEC_OK;
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

iotsec_dtls_handle iotsec_dtls_find(const struct iotsec_dtls *dtls, const struct iotsec_addr *addr)
{
    const struct iotsec_dtls_session *session = dtls != NULL && addr != NULL ? iotsec_session_find(dtls, addr) : NULL;

    return session != NULL ? iotsec_session_handle(dtls, session) : 0;
}

enum iotsec_status iotsec_dtls_peer(const struct iotsec_dtls *dtls, iotsec_dtls_handle session, struct iotsec_addr *addr,
                                    uint32_t *peer)
{
    const struct iotsec_dtls_session *s;

    if (dtls == NULL) {
        return IOTSEC_ERR_ARGUMENT;
    }
    s = iotsec_session_get(dtls, session);
    if (s == NULL) {
        return IOTSEC_ERR_NOT_FOUND;
    }
    if (addr != NULL) {
        *addr = s->addr;
    }
    if (peer != NULL) {
        *peer = s->peer;
    }
    return IOTSEC_OK;
}
