/* SPDX-License-Identifier: BSD-3-Clause */
#include "pair.h"

#undef NDEBUG /* the checks here are part of the tests */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(IOTSEC_WITH_MBEDTLS)
#define PROVIDER iotsec_crypto_mbedtls
#else
#include <psa/crypto.h>
#define PROVIDER iotsec_crypto_psa
#endif

const uint8_t pair_psk[16] = { 0x10, 0x21, 0x32, 0x43, 0x54, 0x65, 0x76, 0x87, 0x98, 0xA9, 0xBA, 0xCB, 0xDC, 0xED, 0xFE, 0x0F };
const uint8_t pair_identity[15] = { 'l', 'a', 'm', 'p', '-', '0', '0', '0', '0', '0', '0', '0', '4', '2', '7' };

static void give_up(const char *why)
{
    (void)fprintf(stderr, "%s\n", why);
    abort();
}

uint64_t wire_random(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15u;

    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

/* ---- Crypto that counts and can fail ---- */

static bool crypto_fails(struct end *end)
{
    return end->crypto_fails > 0 && --end->crypto_fails == 0;
}

/* The bytes hashed so far by a state that is in use; a new entry for one that is not. */
static uint32_t *total_of(struct end *end, const struct iotsec_sha256 *sha)
{
    size_t i;

    for (i = 0; i < END_HASHES; i++) {
        if (end->hashes[i].sha == sha) {
            return &end->hashes[i].total;
        }
    }
    for (i = 0; i < END_HASHES; i++) {
        if (end->hashes[i].sha == NULL) {
            end->hashes[i].sha = sha;
            end->hashes[i].total = 0;
            return &end->hashes[i].total;
        }
    }
    give_up("hash states leak");
    return NULL;
}

static void forget_total(struct end *end, const struct iotsec_sha256 *sha)
{
    size_t i;

    for (i = 0; i < END_HASHES; i++) {
        if (end->hashes[i].sha == sha) {
            end->hashes[i].sha = NULL;
            return;
        }
    }
    give_up("a hash state that was not started");
}

static int count_start(void *user, struct iotsec_sha256 *sha)
{
    if (crypto_fails(user)) {
        return -1;
    }
    *total_of(user, sha) = 0;
    return PROVIDER.sha256_start(user, sha);
}

static int count_update(void *user, struct iotsec_sha256 *sha, const uint8_t *data, size_t len)
{
    struct end *end = user;
    uint32_t *total = total_of(end, sha);

    if (crypto_fails(end)) {
        return -1;
    }
    end->hashed += (uint32_t)((*total + len) / 64 - *total / 64);
    *total += (uint32_t)len;
    return PROVIDER.sha256_update(user, sha, data, len);
}

static int count_clone(void *user, struct iotsec_sha256 *to, const struct iotsec_sha256 *from)
{
    if (crypto_fails(user)) {
        return -1;
    }
    *total_of(user, to) = *total_of(user, from);
    return PROVIDER.sha256_clone(user, to, from);
}

static void count_abort(void *user, struct iotsec_sha256 *sha)
{
    forget_total(user, sha);
    PROVIDER.sha256_abort(user, sha);
}

static int count_finish(void *user, struct iotsec_sha256 *sha, uint8_t digest[32])
{
    struct end *end = user;
    uint32_t total = *total_of(end, sha);

    forget_total(end, sha);
    if (crypto_fails(end)) {
        PROVIDER.sha256_abort(user, sha);
        return -1;
    }
    end->hashed += total % 64 + 9 > 64 ? 2 : 1;
    return PROVIDER.sha256_finish(user, sha, digest);
}

static int count_aes_start(void *user, struct iotsec_aes *aes, const uint8_t key[16])
{
    return crypto_fails(user) ? -1 : PROVIDER.aes_start(user, aes, key);
}

static int count_aes_encrypt(void *user, struct iotsec_aes *aes, const uint8_t in[16], uint8_t out[16])
{
    return crypto_fails(user) ? -1 : PROVIDER.aes_encrypt(user, aes, in, out);
}

/* ---- HAL ---- */

static int end_random(void *user, uint8_t *out, size_t len)
{
    struct end *end = user;
    size_t i;

    if (end->random_fails) {
        return -1;
    }
    for (i = 0; i < len; i++) {
        out[i] = (uint8_t)(wire_random(&end->random) >> 24);
    }
    return 0;
}

static uint32_t end_now(void *user)
{
    return ((struct end *)user)->wire->now;
}

static void put(struct wire *wire, const struct datagram *datagram)
{
    size_t i;

    for (i = 0; i < WIRE_MAX; i++) {
        if (!wire->queue[i].used) {
            wire->queue[i] = *datagram;
            wire->queue[i].used = true;
            wire->queue[i].order = wire->order++;
            return;
        }
    }
    give_up("the wire is full");
}

static uint32_t percent(struct wire *wire)
{
    return (uint32_t)(wire_random(&wire->random) >> 32) % 100;
}

static int end_send(void *user, const struct iotsec_addr *to, const uint8_t *data, size_t len)
{
    struct end *end = user;
    struct wire *wire = end->wire;
    struct datagram datagram;
    uint32_t copies = 1;

    assert(len > 0 && len <= DATAGRAM_MAX);
    if (end->send_fails) {
        return -1;
    }
    end->sent_bytes += (uint32_t)len;
    end->sent_datagrams++;
    memset(&datagram, 0, sizeof datagram);
    datagram.from = end->addr;
    datagram.to = *to;
    datagram.len = len;
    memcpy(datagram.data, data, len);
    if (wire->filter != NULL && !wire->filter(wire, &datagram)) {
        return 0;
    }
    if (wire->loss != 0 && percent(wire) < wire->loss) {
        return 0;
    }
    if (wire->duplicate != 0 && percent(wire) < wire->duplicate) {
        copies = 2;
    }
    while (copies-- != 0) {
        datagram.at = wire->now + wire->delay_ms;
        if (wire->reorder_ms != 0) {
            datagram.at += (uint32_t)(wire_random(&wire->random) >> 32) % wire->reorder_ms;
        }
        put(wire, &datagram);
    }
    return 0;
}

/* ---- Callbacks ---- */

static enum iotsec_status end_psk(void *user, iotsec_dtls_handle handshake, const uint8_t *identity, size_t len,
                                  struct iotsec_dtls_psk *psk)
{
    struct end *end = user;

    end->asked++;
    end->asked_for = handshake;
    if (end->on_psk != NULL) {
        end->on_psk(end, handshake);
    }
    if (end->psk_answer != IOTSEC_OK) {
        return end->psk_answer;
    }
    if (len != end->identity_len || (len != 0 && memcmp(identity, end->identity, len) != 0)) {
        return IOTSEC_ERR_UNKNOWN_IDENTITY;
    }
    assert(end->psk_len <= sizeof psk->key);
    memcpy(psk->key, end->psk, end->psk_len);
    psk->len = end->psk_len;
    psk->peer = end->peer;
    return IOTSEC_OK;
}

#if IOTSEC_PAIRWISE
static enum iotsec_status end_client_psk(void *user, const struct iotsec_dtls_hello *hello, struct iotsec_dtls_psk *psk)
{
    struct end *end = user;

    end->client_asked++;
    if (end->on_client_psk != NULL) {
        end->on_client_psk(end, hello);
    }
    assert(end->psk_len <= sizeof psk->key);
    memcpy(psk->key, end->psk, end->psk_len); /* also where the answer is no: it is to be ignored then */
    psk->len = end->psk_len;
    return end->client_psk_answer;
}
#endif

void end_has_client_psk(struct end *end)
{
#if IOTSEC_PAIRWISE
    end->callbacks.client_psk = end_client_psk;
#else
    (void)end;
#endif
}

static void end_established(void *user, const struct iotsec_dtls_info *info)
{
    struct end *end = user;

    end->established++;
    end->info = *info;
    memcpy(end->scratch, info->scratch, sizeof end->scratch);
#if IOTSEC_PAIRWISE
    assert(info->identity_len <= sizeof end->peer_identity);
    memcpy(end->peer_identity, info->identity, info->identity_len);
    if (info->exported != NULL) {
        memcpy(end->exported, info->exported, sizeof end->exported);
    }
#endif
    if (end->on_established != NULL) {
        end->on_established(end, info);
    }
}

static void end_failed(void *user, iotsec_dtls_handle handshake, const struct iotsec_addr *addr, uint32_t peer,
                       enum iotsec_status reason)
{
    struct end *end = user;

    (void)addr;
    (void)peer;
    if (end->failed++ == 0) {
        end->first_reason = reason;
    }
    end->failed_handshake = handshake;
    end->failed_reason = reason;
    if (end->on_failed != NULL) {
        end->on_failed(end, handshake, reason);
    }
}

static void end_closed(void *user, iotsec_dtls_handle session, uint32_t peer, enum iotsec_status reason)
{
    struct end *end = user;

    (void)peer;
    end->closed++;
    end->closed_session = session;
    end->closed_reason = reason;
    if (end->on_closed != NULL) {
        end->on_closed(end, session);
    }
}

static void end_receive(void *user, iotsec_dtls_handle session, uint32_t peer, uint8_t type, uint8_t *data, size_t len)
{
    struct end *end = user;

    (void)peer;
    end->received++;
    end->received_type = type;
    end->data_len = len < sizeof end->data ? len : sizeof end->data;
    memcpy(end->data, data, end->data_len);
    if (end->on_receive != NULL) {
        end->on_receive(end, session);
    }
}

static void end_forgeries(void *user, iotsec_dtls_handle session, uint32_t peer)
{
    struct end *end = user;

    (void)peer;
    end->forgeries++;
    if (end->on_forgeries != NULL) {
        end->on_forgeries(end, session);
    }
}

#if IOTSEC_KEYLOG
static void end_keylog(void *user, const char *line)
{
    struct end *end = user;

    assert(strlen(line) < sizeof end->keylog);
    strcpy(end->keylog, line);
}
#endif

/* ---- Ends ---- */

void end_init(struct end *end, struct wire *wire, uint8_t number)
{
    memset(end, 0, sizeof *end);
    end->wire = wire;
    wire->ends[wire->count++] = end;
    end->addr.ip[0] = 0xFE;
    end->addr.ip[1] = 0x80;
    end->addr.ip[15] = number;
    end->addr.port = (uint16_t)(5000 + number);
    end->addr.interface = 1;
    end->random = wire->random ^ ((uint64_t)number << 56);

    #if !defined(IOTSEC_WITH_MBEDTLS)
    assert(psa_crypto_init() == PSA_SUCCESS);
#endif
    end->crypto = PROVIDER;
    end->crypto.sha256_abort = count_abort;
    end->crypto.sha256_start = count_start;
    end->crypto.sha256_update = count_update;
    end->crypto.sha256_clone = count_clone;
    end->crypto.sha256_finish = count_finish;
    end->crypto.aes_start = count_aes_start;
    end->crypto.aes_encrypt = count_aes_encrypt;
    end->hal.crypto = &end->crypto;
    end->hal.user = end;
    end->hal.random = end_random;
    end->hal.now_ms = end_now;
    end->hal.send = end_send;

    end->callbacks.psk = end_psk;
    end->callbacks.established = end_established;
    end->callbacks.failed = end_failed;
    end->callbacks.closed = end_closed;
    end->callbacks.receive = end_receive;
    end->callbacks.forgeries = end_forgeries;
#if IOTSEC_KEYLOG
    end->callbacks.keylog = end_keylog;
#endif

    end->config.hal = &end->hal;
    end->config.callbacks = &end->callbacks;
    end->config.user = end;
    end->config.sessions = end->sessions;
    end->config.session_count = END_SESSIONS;
    end->config.handshakes = end->handshakes;
    end->config.handshake_count = END_HANDSHAKES;
    end->config.tx = end->tx;
    end->config.tx_size = sizeof end->tx;

    end->identity = pair_identity;
    end->identity_len = sizeof pair_identity;
    end->psk = pair_psk;
    end->psk_len = sizeof pair_psk;
    end->peer = 7;
    end->poll_never = true;
}

void end_start(struct end *end)
{
    enum iotsec_status status = iotsec_dtls_init(&end->dtls, &end->config);

    assert(status == IOTSEC_OK);
    (void)status;
}

void pair_init(struct wire *wire, struct end *client, struct end *server, uint64_t seed)
{
    wire_init(wire, seed);
    end_init(client, wire, 1);
    end_init(server, wire, 2);
    end_start(client);
    end_start(server);
}

#if IOTSEC_DTLS_CLIENT
iotsec_dtls_handle pair_connect(struct end *client, const struct end *server)
{
    return pair_connect_to(client, &server->addr);
}

iotsec_dtls_handle pair_connect_to(struct end *client, const struct iotsec_addr *to)
{
    iotsec_dtls_handle handle = 0;
    enum iotsec_status status = iotsec_dtls_connect(&client->dtls, to, pair_identity, sizeof pair_identity, pair_psk,
                                                    sizeof pair_psk, 1, &handle);

    assert(status == IOTSEC_OK);
    (void)status;
    client->poll_never = false;
    client->poll_at = client->wire->now;
    return handle;
}
#endif

uint32_t end_drops(const struct end *end)
{
    uint32_t sum = 0;
    size_t i;

    for (i = 0; i < IOTSEC_DROP_COUNT; i++) {
        sum += end->dtls.stats.drops[i];
    }
    return sum;
}

/* ---- The wire ---- */

void wire_init(struct wire *wire, uint64_t seed)
{
    memset(wire, 0, sizeof *wire);
    wire->random = seed;
    wire->now = 1000;
}

void wire_inject(struct wire *wire, const struct iotsec_addr *from, const struct iotsec_addr *to, const uint8_t *data,
                 size_t len)
{
    struct datagram datagram;

    assert(len <= DATAGRAM_MAX);
    memset(&datagram, 0, sizeof datagram);
    datagram.from = *from;
    datagram.to = *to;
    datagram.at = wire->now;
    datagram.len = len;
    memcpy(datagram.data, data, len);
    put(wire, &datagram);
}

static struct datagram *first_due(struct wire *wire, uint32_t now)
{
    struct datagram *first = NULL;
    size_t i;

    for (i = 0; i < WIRE_MAX; i++) {
        struct datagram *d = &wire->queue[i];

        if (d->used && (int32_t)(now - d->at) >= 0 &&
            (first == NULL || (int32_t)(d->at - first->at) < 0 || (d->at == first->at && d->order < first->order))) {
            first = d;
        }
    }
    return first;
}

const struct datagram *wire_peek(struct wire *wire)
{
    return first_due(wire, wire->now + 0x7FFFFFFFu / 2);
}

static void poll_end(struct end *end)
{
    uint32_t wait = iotsec_dtls_poll(&end->dtls);

    end->poll_never = wait == UINT32_MAX;
    end->poll_at = end->wire->now + wait;
}

const struct datagram *wire_step(struct wire *wire)
{
    static struct datagram copy; /* before and after */
    struct datagram *d = first_due(wire, wire->now);
    uint8_t data[DATAGRAM_MAX];
    size_t i;

    if (d == NULL) {
        return NULL;
    }
    copy = *d;
    d->used = false;
    for (i = 0; i < wire->count; i++) {
        if (iotsec_addr_equal(&wire->ends[i]->addr, &copy.to)) {
            memcpy(data, copy.data, copy.len);
            wire->delivered++;
            (void)iotsec_dtls_input(&wire->ends[i]->dtls, &copy.from, data, copy.len);
            poll_end(wire->ends[i]);
            break;
        }
    }
    return &copy;
}

void wire_settle(struct wire *wire)
{
    for (;;) {
        struct datagram *d = NULL;
        uint32_t i;

        for (i = 0; i < WIRE_MAX; i++) {
            if (wire->queue[i].used && (d == NULL || (int32_t)(wire->queue[i].at - d->at) < 0)) {
                d = &wire->queue[i];
            }
        }
        if (d == NULL) {
            return;
        }
        if ((int32_t)(d->at - wire->now) > 0) {
            wire->now = d->at;
        }
        (void)wire_step(wire);
    }
}

void wire_run(struct wire *wire, uint32_t ms)
{
    uint32_t end = wire->now + ms;

    for (;;) {
        uint32_t next = end;
        size_t i;

        for (i = 0; i < WIRE_MAX; i++) {
            if (wire->queue[i].used && (int32_t)(wire->queue[i].at - next) < 0) {
                next = wire->queue[i].at;
            }
        }
        for (i = 0; i < wire->count; i++) {
            if (!wire->ends[i]->poll_never && (int32_t)(wire->ends[i]->poll_at - next) < 0) {
                next = wire->ends[i]->poll_at;
            }
        }
        if ((int32_t)(next - wire->now) > 0) {
            wire->now = next;
        }
        while (wire_step(wire) != NULL) {
        }
        for (i = 0; i < wire->count; i++) {
            if (!wire->ends[i]->poll_never && (int32_t)(wire->now - wire->ends[i]->poll_at) >= 0) {
                poll_end(wire->ends[i]);
            }
        }
        if (wire->now == end && first_due(wire, end) == NULL) {
            return;
        }
    }
}

/* ---- A relay ---- */

/* Written here anew: the library's own writer is what is tested. Content of 24 to 65535 bytes, or less than 24. */
size_t relay_wrap(uint8_t *out, uint8_t fill, size_t header_len, const uint8_t *data, size_t len)
{
    size_t at = 0;

    out[at++] = 0x82;
    if (header_len >= 24) {
        out[at++] = 0x58;
        out[at++] = (uint8_t)header_len;
    } else {
        out[at++] = (uint8_t)(0x40 + header_len);
    }
    memset(out + at, fill, header_len);
    at += header_len;
    if (len >= 256) {
        out[at++] = 0x59;
        out[at++] = (uint8_t)(len >> 8);
        out[at++] = (uint8_t)len;
    } else if (len >= 24) {
        out[at++] = 0x58;
        out[at++] = (uint8_t)len;
    } else {
        out[at++] = (uint8_t)(0x40 + len);
    }
    memcpy(out + at, data, len);
    return at + len;
}

bool relay_pass(struct wire *wire, struct datagram *datagram)
{
    struct pair_relay *relay = wire->filter_user;
    uint8_t data[DATAGRAM_MAX];
    size_t i;

    if (!iotsec_addr_equal(&datagram->to, &relay->addr)) {
        return true;
    }
    if (relay->stopped) {
        return false;
    }
    for (i = 0; i < 2 && relay->joiners[i] != NULL; i++) {
        uint8_t fill = relay->joiners[i]->addr.ip[15];
        size_t head;

        if (iotsec_addr_equal(&datagram->from, &relay->joiners[i]->addr)) {
            memcpy(data, datagram->data, datagram->len);
            datagram->len = relay_wrap(datagram->data, fill, relay->header_len[i], data, datagram->len);
            datagram->from = relay->addr;
            datagram->to = relay->server->addr;
            return true;
        }
        head = relay->header_len[i] >= 24 ? 3 : 2;
        if (iotsec_addr_equal(&datagram->from, &relay->server->addr) && datagram->data[0] == 0x82 &&
            (head == 3 ? datagram->data[1] == 0x58 && datagram->data[2] == relay->header_len[i]
                       : datagram->data[1] == 0x40 + relay->header_len[i]) &&
            (relay->header_len[i] == 0 || datagram->data[head] == fill)) {
            head += relay->header_len[i];
            head += datagram->data[head] == 0x59 ? 3 : datagram->data[head] == 0x58 ? 2 : 1;
            datagram->len -= head;
            memmove(datagram->data, datagram->data + head, datagram->len);
            datagram->from = relay->addr;
            datagram->to = relay->joiners[i]->addr;
            return true;
        }
    }
    return false;
}

void relay_init(struct pair_relay *relay, struct wire *wire, uint8_t number, const struct end *server)
{
    memset(relay, 0, sizeof *relay);
    relay->addr = server->addr;
    relay->addr.ip[15] = number;
    relay->addr.port = 5684;
    relay->server = server;
    wire->filter = relay_pass;
    wire->filter_user = relay;
}

void wire_clear(struct wire *wire)
{
    memset(wire->queue, 0, sizeof wire->queue);
}
