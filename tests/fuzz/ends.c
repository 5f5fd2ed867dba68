/* SPDX-License-Identifier: BSD-3-Clause */
#include "ends.h"

#include <string.h>

#include "crypto.h"
#include "handshake/engine.h"
#include "script.h"

struct ends ends;
static struct ends saved[ENDS_STATES][8];
static bool is_saved[ENDS_STATES][8];

static const uint8_t key[16] = "sixteen bytes...";
static const uint8_t other_key[16] = "sixteen others..";

static int end_of(const void *user)
{
    return user == &ends.end[END_CLIENT] ? END_CLIENT : END_SERVER;
}

/* ---- The HAL ---- */

static int get_random(void *user, uint8_t *out, size_t len)
{
    (void)user;
    while (len-- > 0) {
        ends.random = ends.random * 6364136223846793005u + 1442695040888963407u;
        *out++ = (uint8_t)(ends.random >> 56);
    }
    return 0;
}

static uint32_t get_now(void *user)
{
    (void)user;
    return ends.now;
}

static int send_datagram(void *user, const struct iotsec_addr *to, const uint8_t *data, size_t len)
{
    struct ends_datagram *datagram;

    script_check(len != 0 && len <= ENDS_DATAGRAM_MAX);
    if (ends.queued == ENDS_QUEUE_MAX || !iotsec_addr_equal(to, &ends.end[1 - end_of(user)].addr)) {
        return 0;
    }
    datagram = &ends.queue[ends.queued++];
    datagram->from = end_of(user);
    datagram->len = len;
    memcpy(datagram->data, data, len);
    return 0;
}

/* ---- The application ---- */

static enum iotsec_status find_psk(void *user, iotsec_dtls_handle handshake, const uint8_t *identity, size_t len,
                                   struct iotsec_dtls_psk *psk)
{
    struct end *end = user;

    if (len != 2 || memcmp(identity, "id", 2) != 0) {
        return IOTSEC_ERR_UNKNOWN_IDENTITY;
    }
    if (end->psk_answer != IOTSEC_OK) {
        end->pending = handshake;
        return end->psk_answer;
    }
    memcpy(psk->key, end->wrong_psk ? other_key : key, sizeof key);
    psk->len = sizeof key;
    psk->peer = 1;
    return IOTSEC_OK;
}

static void on_established(void *user, const struct iotsec_dtls_info *info)
{
    struct end *end = user;

    end->established++;
    script_check(info->relayed || iotsec_dtls_find(&end->dtls, info->addr) == info->session);
}

static void on_failed(void *user, iotsec_dtls_handle handshake, const struct iotsec_addr *addr, uint32_t peer,
                      enum iotsec_status reason)
{
    struct end *end = user;

    (void)addr;
    (void)peer;
    end->failed++;
    /* what ended is gone; only these two are told while the half-open handshake goes on */
    if (reason != IOTSEC_ERR_WRONG_PSK && reason != IOTSEC_ERR_UNKNOWN_IDENTITY) {
        script_check(iotsec_dtls_cancel(&end->dtls, handshake) == IOTSEC_ERR_NOT_FOUND);
    }
}

static void on_closed(void *user, iotsec_dtls_handle session, uint32_t peer, enum iotsec_status reason)
{
    struct end *end = user;

    (void)peer;
    (void)reason;
    end->closed++;
    script_check(iotsec_dtls_close(&end->dtls, session, IOTSEC_ALERT_CLOSE_NOTIFY) == IOTSEC_ERR_NOT_FOUND);
}

static void on_receive(void *user, iotsec_dtls_handle session, uint32_t peer, uint8_t type, uint8_t *data, size_t len)
{
    struct end *end = user;

    (void)peer;
    end->received++;
    if (len > 0 && data[0] == 'M') {
        (void)iotsec_dtls_move(&end->dtls, session);
    }
    if (end->echo) {
        (void)iotsec_dtls_send(&end->dtls, session, type, data, len);
    }
    if (len > 0 && data[0] == 'X') {
        (void)iotsec_dtls_close(&end->dtls, session, IOTSEC_ALERT_CLOSE_NOTIFY);
    }
    if (len != 0) {
        memset(data, 0, len); /* allowed to change it, all of it */
    }
}

static const struct iotsec_dtls_callbacks callbacks = { .psk = find_psk,
                                                        .established = on_established,
                                                        .failed = on_failed,
                                                        .closed = on_closed,
                                                        .receive = on_receive };

/* An extension that keeps what it parsed. */
static enum iotsec_status write_extension(void *user, const struct iotsec_dtls_hello *hello, uint8_t *out, size_t size, size_t *len)
{
    (void)user;
    (void)hello;
    if (size < 4) {
        return IOTSEC_ERR_BUFFER;
    }
    memcpy(out, "room", 4);
    *len = 4;
    return IOTSEC_OK;
}

static enum iotsec_status parse_extension(void *user, const struct iotsec_dtls_hello *hello, const uint8_t *body, size_t len)
{
    (void)user;
    if (len > IOTSEC_HANDSHAKE_SCRATCH_BYTES) {
        return IOTSEC_ERR_DECODE;
    }
    if (len != 0) {
        memcpy(hello->scratch, body, len);
    }
    return IOTSEC_OK;
}

static const struct iotsec_dtls_extension extensions[] = { { 0xFF10, write_extension, parse_extension } };

/* ---- Preparing ---- */

static void start_end(int which, uint8_t cookie, bool cid)
{
    struct end *end = &ends.end[which];

    end->addr.ip[0] = 0xFD;
    end->addr.ip[15] = (uint8_t)(which + 1);
    end->addr.port = 5684;
    end->hal.crypto = fuzz_crypto();
    end->hal.user = end;
    end->hal.random = get_random;
    end->hal.now_ms = get_now;
    end->hal.send = send_datagram;
    end->config.hal = &end->hal;
    end->config.callbacks = &callbacks;
    end->config.user = end;
    end->config.sessions = end->sessions;
    end->config.session_count = 3;
    end->config.handshakes = end->handshakes;
    end->config.handshake_count = 3;
    end->config.extensions = extensions;
    end->config.extension_count = 1;
    end->config.tx = end->tx;
    end->config.tx_size = sizeof end->tx;
    end->config.suites = 3;
    end->config.max_fragment_length = which == END_CLIENT ? 1 : 0;
    end->config.cookie_policy = cookie;
    end->config.key_management = 1;
    end->config.connection_id = cid ? IOTSEC_CONNECTION_ID_ON : IOTSEC_CONNECTION_ID_OFF;
    end->config.relayed = which == END_SERVER;
    script_check(iotsec_dtls_init(&end->dtls, &end->config) == IOTSEC_OK);
}

static void deliver_until(int from, size_t count)
{
    while (count > 0) {
        script_check(ends.queued > 0 && ends.queue[0].from == from);
        (void)ends_deliver();
        count--;
    }
}

/* Plays the handshake up to the state. A flight is one datagram here. */
static void play(enum ends_state state, uint8_t cookie)
{
    struct end *client = &ends.end[END_CLIENT];
    struct end *server = &ends.end[END_SERVER];
    bool asks = cookie == IOTSEC_COOKIE_ALWAYS;

    if (state == ENDS_IDLE) {
        return;
    }
    server->psk_answer = state == ENDS_PSK_PENDING ? IOTSEC_ERR_PENDING : IOTSEC_OK;
    server->wrong_psk = state == ENDS_WRONG_KEY;
    script_check(iotsec_dtls_connect(&client->dtls, &server->addr, (const uint8_t *)"id", 2, key, sizeof key, 2, NULL) ==
                 IOTSEC_OK);
    if (state == ENDS_HELLO_SENT) {
        ends.queued = 0;
        return;
    }
    deliver_until(END_CLIENT, 1);
    if (state == ENDS_COOKIE_SENT) {
        return; /* without cookies the hello flight is on its way instead */
    }
    if (asks) {
        deliver_until(END_SERVER, 1);
        deliver_until(END_CLIENT, 1);
    }
    if (state == ENDS_HELLO_TAKEN) {
        return;
    }
    deliver_until(END_SERVER, 1);
    if (state == ENDS_FINISHED_SENT) {
        return;
    }
    deliver_until(END_CLIENT, 1);
    if (state == ENDS_ESTABLISHED) {
        deliver_until(END_SERVER, 1);
        script_check(client->established == 1 && server->established == 1);
    }
}

void ends_restore(enum ends_state state, uint8_t flags)
{
    uint8_t cookie = flags & 3;
    bool cid = (flags & 16) != 0;
    unsigned way = cookie + (cid ? 4u : 0u);

    if (!is_saved[state][way]) {
        memset(&ends, 0, sizeof ends);
        ends.now = 0xFFFFF000u; /* the clock wraps on the way */
        ends.random = 1;
        start_end(END_CLIENT, cookie, cid);
        start_end(END_SERVER, cookie, cid);
        play(state, cookie);
        saved[state][way] = ends;
        is_saved[state][way] = true;
    }
    memcpy(&ends, &saved[state][way], sizeof ends);
}

/* ---- Running ---- */

bool ends_deliver(void)
{
    struct ends_datagram datagram;
    uint8_t *copy;

    if (ends.queued == 0) {
        return false;
    }
    datagram = ends.queue[0];
    memmove(&ends.queue[0], &ends.queue[1], --ends.queued * sizeof ends.queue[0]);
    copy = malloc(datagram.len);
    script_check(copy != NULL);
    memcpy(copy, datagram.data, datagram.len);
    (void)ends_input(1 - datagram.from, false, copy, datagram.len);
    free(copy);
    return true;
}

enum iotsec_status ends_input(int to, bool stranger, uint8_t *data, size_t len)
{
    struct iotsec_addr from = ends.end[1 - to].addr;
    enum iotsec_status status;

    if (stranger) {
        from.port++;
    }
    status = iotsec_dtls_input(&ends.end[to].dtls, &from, data, len);
    (void)iotsec_dtls_poll(&ends.end[to].dtls);
    return status;
}

enum iotsec_status ends_input_relayed(int to, uint8_t fill, const uint8_t *data, size_t len)
{
    uint8_t head[] = { 0x82, 0x44, 'j', 'o', 'i', 0, 0x59, 0, 0 };
    uint8_t *datagram = malloc(sizeof head + len);
    enum iotsec_status status;

    script_check(datagram != NULL);
    head[5] = fill;
    iotsec_put_u16(head + 7, (uint16_t)len);
    memcpy(datagram, head, sizeof head);
    if (len != 0) {
        memcpy(datagram + sizeof head, data, len);
    }
    status = ends_input(to, false, datagram, sizeof head + len);
    free(datagram);
    return status;
}

void ends_pass(uint32_t ms)
{
    int i;

    ends.now += ms;
    for (i = 0; i < END_COUNT; i++) {
        (void)iotsec_dtls_poll(&ends.end[i].dtls);
    }
}

size_t ends_seal(int from, uint8_t type, const uint8_t *content, size_t len, uint8_t *out, size_t size)
{
    struct end *end = &ends.end[from];
    struct iotsec_dtls_session *session;
    struct iotsec_dtls_handshake *hs;
    struct iotsec_dtls_path to;
    size_t out_len = 0;

    iotsec_path_set(&to, &ends.end[1 - from].addr);
    session = iotsec_session_find(&end->dtls, &to);
    hs = iotsec_handshake_find(&end->dtls, &to, from == END_SERVER);
    if (session != NULL && session->peer_cid[0] != 0) { /* what the peer asked for */
        (void)iotsec_record_seal_cid(&end->hal, &session->write_key, 8, session->peer_cid + 1, session->peer_cid[0], out, size,
                                     &out_len, type, 1, session->write_sequence++, content, len);
    } else if (hs != NULL && iotsec_hs_has_keys(hs) && hs->peer_cid[0] != 0) {
        (void)iotsec_record_seal_cid(&end->hal, &hs->u.keyed.write_key, 8, hs->peer_cid + 1, hs->peer_cid[0], out, size, &out_len,
                                     type, 1, hs->write_sequence++, content, len);
    } else if (session != NULL) {
        (void)iotsec_record_seal(&end->hal, &session->write_key, 8, out, size, &out_len, type, 1, session->write_sequence++,
                                 content, len);
    } else if (hs != NULL && iotsec_hs_has_keys(hs)) {
        (void)iotsec_record_seal(&end->hal, &hs->u.keyed.write_key, 8, out, size, &out_len, type, 1, hs->write_sequence++,
                                 content, len);
    }
    return out_len;
}
