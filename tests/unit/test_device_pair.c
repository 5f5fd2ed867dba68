/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sessions between devices: real devices with shares of one polynomial on a wire in memory, in virtual time. Shares and
 * revocations are put straight into their state. A bare DTLS endpoint, the rogue, plays members that break the rules, and
 * the domain manager.
 */
#include "test_hal_support.h"

#include <iotsec/device.h>

#include "access/device_state.h"
#include "base/bytes.h"
#include "handshake/engine.h"

#if IOTSEC_PAIRWISE

#define DEVICES 4u
#define PAIRS 2u
#define DEGREE 3u
#define TEXT_MAX 48u
#define QUEUE 256u
#define DATAGRAM 400u
#define EVENTS 32u
#define MESSAGES 16u
#define POLYNOMIALS 3u

struct told {
    enum iotsec_device_event_kind kind;
    enum iotsec_status reason;
    char identity[IOTSEC_IDENTITY_MAX + 1]; /* "-" if there is no peer */
    struct iotsec_addr addr;
};

struct heard {
    char identity[IOTSEC_IDENTITY_MAX + 1];
    char text[TEXT_MAX + 1];
    struct iotsec_addr addr;
};

struct node {
    struct iotsec_device device;
    struct iotsec_device_config config;
    struct iotsec_hal hal;
    struct iotsec_addr addr;
    struct iotsec_dtls_session sessions[PAIRS + 2];
    struct iotsec_dtls_handshake handshakes[3];
    struct iotsec_pair pairs[PAIRS];
    uint8_t messages[PAIRS][TEXT_MAX];
    uint8_t shares[2][DEGREE + 1][IOTSEC_POLY_ELEMENT_BYTES];
    struct iotsec_device_group groups[1];
    uint8_t tx[256];
    struct told told[EVENTS];
    size_t told_count;
    struct heard heard[MESSAGES];
    size_t heard_count;
    void (*on_event)(struct node *n, const struct iotsec_device_event *event);
    void (*on_message)(struct node *n, const struct iotsec_peer *peer);
};

struct datagram {
    struct iotsec_addr from;
    struct iotsec_addr to;
    size_t len;
    uint8_t data[DATAGRAM];
};

static struct {
    struct test_hal base;
    struct node nodes[DEVICES];
    struct datagram queue[QUEUE];
    size_t queued;
    unsigned sent;       /* datagrams so far */
    uint64_t lose;       /* bit n: the n-th of them is lost */
    unsigned lost_data;  /* bit n: a message of device n was among them */
    bool lose_all;
    uint8_t ether[1 << 17]; /* everything that was sent, one after the other */
    size_t ether_len;
    uint32_t seed;
    uint8_t polynomials[POLYNOMIALS][DEGREE + 1][DEGREE + 1][IOTSEC_POLY_ELEMENT_BYTES];
    /* the rogue */
    struct iotsec_dtls rogue;
    struct iotsec_dtls_config rogue_config;
    struct iotsec_hal rogue_hal;
    struct iotsec_addr rogue_addr;
    struct iotsec_dtls_session rogue_sessions[4];
    struct iotsec_dtls_handshake rogue_handshakes[4];
    uint8_t rogue_tx[512];
    const char *says;    /* identity in its hellos; NULL: no extension */
    uint32_t generation; /* in its hellos */
    uint8_t hello_flags;
    const char *is;      /* whose share it has */
    const char *target;  /* whom it talks to */
    unsigned polynomial; /* its share's */
    bool is_manager;
    unsigned rogue_sessions_made;
    unsigned rogue_failed;
    enum iotsec_status rogue_reason;
    iotsec_dtls_handle rogue_session;
    unsigned rogue_heard;
} w;

static const char *const names[DEVICES] = { "alpha", "beta", "beta2", "gamma" }; /* in the order of identities */
static const uint8_t manager_psk[16] = "0123456789abcdef";

/* ---- HAL and wire ---- */

static int random_bytes(void *user, uint8_t *out, size_t len)
{
    (void)user;
    while (len-- != 0) {
        w.seed = w.seed * 1664525u + 1013904223u;
        *out++ = (uint8_t)(w.seed >> 24);
    }
    return 0;
}

static uint32_t now_ms(void *user)
{
    (void)user;
    return w.base.now;
}

/* Whether one of its records is application data. */
static bool has_data(const uint8_t *data, size_t len)
{
    while (len >= IOTSEC_RECORD_HEADER_BYTES) {
        size_t step = IOTSEC_RECORD_HEADER_BYTES + (size_t)iotsec_get_u16(data + 11);

        if (data[0] == IOTSEC_CONTENT_APPLICATION_DATA) {
            return true;
        }
        assert_true(step <= len);
        data += step;
        len -= step;
    }
    return false;
}

static void post(const struct iotsec_addr *from, const struct iotsec_addr *to, const uint8_t *data, size_t len)
{
    struct datagram *d = &w.queue[w.queued];
    bool lost = w.lose_all || (w.sent < 64 && (w.lose >> w.sent & 1u) != 0);

    w.sent++;
    if (w.ether_len + len <= sizeof w.ether) {
        memcpy(w.ether + w.ether_len, data, len);
        w.ether_len += len;
    }
    if (lost) {
        if (has_data(data, len)) {
            w.lost_data |= 1u << (from->ip[15] - 1);
        }
        return;
    }
    assert_true(w.queued < QUEUE && len <= DATAGRAM);
    d->from = *from;
    d->to = *to;
    d->len = len;
    memcpy(d->data, data, len);
    w.queued++;
}

static int device_send(void *user, const struct iotsec_addr *to, const uint8_t *data, size_t len)
{
    post(&((struct node *)user)->addr, to, data, len);
    return 0;
}

static int rogue_send(void *user, const struct iotsec_addr *to, const uint8_t *data, size_t len)
{
    (void)user;
    post(&w.rogue_addr, to, data, len);
    return 0;
}

static struct iotsec_addr address(uint8_t number)
{
    struct iotsec_addr addr;

    memset(&addr, 0, sizeof addr);
    addr.ip[0] = 0x20;
    addr.ip[15] = number;
    addr.port = 5684;
    return addr;
}

/* Takes the n-th datagram off the wire and hands it over. */
static void deliver(size_t n)
{
    struct datagram datagram = w.queue[n];
    size_t i;

    assert_true(n < w.queued);
    w.queued--;
    memmove(&w.queue[n], &w.queue[n + 1], (w.queued - n) * sizeof w.queue[0]);
    if (iotsec_addr_equal(&datagram.to, &w.rogue_addr)) {
        (void)iotsec_dtls_input(&w.rogue, &datagram.from, datagram.data, datagram.len);
    }
    for (i = 0; i < DEVICES; i++) {
        if (iotsec_addr_equal(&datagram.to, &w.nodes[i].addr)) {
            (void)iotsec_input(&w.nodes[i].device, &datagram.from, &datagram.to, datagram.data, datagram.len);
        }
    }
}

/* Lets time pass for everybody. */
static void run(uint32_t ms)
{
    unsigned idle = 0;

    for (;;) {
        uint32_t wait = ms;
        size_t i;

        while (w.queued != 0) {
            deliver(0);
        }
        for (i = 0; i < DEVICES; i++) {
            wait = iotsec_min_u32(wait, iotsec_poll(&w.nodes[i].device));
        }
        wait = iotsec_min_u32(wait, iotsec_dtls_poll(&w.rogue));
        if (w.queued != 0) {
            continue;
        }
        assert_true(wait != 0 || ++idle < 100 || ms == 0); /* nobody wants to be called for ever */
        if (ms == 0) {
            return;
        }
        ms -= wait;
        w.base.now += wait;
    }
}

/* ---- The application ---- */

static void name_peer(char out[IOTSEC_IDENTITY_MAX + 1], const struct iotsec_peer *peer)
{
    strcpy(out, "-");
    if (peer != NULL) {
        assert_true(peer->identity_len >= 1 && peer->identity_len <= IOTSEC_IDENTITY_MAX);
        memcpy(out, peer->identity, peer->identity_len);
        out[peer->identity_len] = '\0';
    }
}

static void take_event(void *user, const struct iotsec_device_event *event)
{
    struct node *n = user;
    struct told *told = &n->told[n->told_count];

    assert_true(n->told_count < EVENTS);
    n->told_count++;
    told->kind = event->kind;
    told->reason = event->reason;
    name_peer(told->identity, event->peer);
    if (event->peer != NULL) {
        told->addr = event->peer->addr;
    }
    if (n->on_event != NULL) {
        n->on_event(n, event);
    }
}

static void take_message(void *user, const struct iotsec_peer *peer, const uint8_t *data, size_t len)
{
    struct node *n = user;
    struct heard *heard = &n->heard[n->heard_count];

    assert_true(n->heard_count < MESSAGES && len >= 1 && len <= TEXT_MAX);
    n->heard_count++;
    name_peer(heard->identity, peer);
    memcpy(heard->text, data, len);
    heard->text[len] = '\0';
    heard->addr = peer->addr;
    if (n->on_message != NULL) {
        n->on_message(n, peer);
    }
}

static const struct iotsec_device_callbacks device_callbacks = { .event = take_event, .receive = take_message };

/* ---- Polynomials ---- */

static void draw_polynomials(void)
{
    size_t p;
    size_t i;
    size_t j;

    for (p = 0; p < POLYNOMIALS; p++) {
        for (i = 0; i <= DEGREE; i++) {
            for (j = 0; j <= i; j++) {
                (void)random_bytes(NULL, w.polynomials[p][i][j], IOTSEC_POLY_ELEMENT_BYTES);
                w.polynomials[p][i][j][0] &= 0x3F;
                memcpy(w.polynomials[p][j][i], w.polynomials[p][i][j], IOTSEC_POLY_ELEMENT_BYTES);
            }
        }
    }
}

static void make_share(unsigned polynomial, const char *identity, uint8_t share[DEGREE + 1][IOTSEC_POLY_ELEMENT_BYTES])
{
    uint8_t point[IOTSEC_POLY_ELEMENT_BYTES];
    size_t j;

    assert_int_equal(iotsec_polykey_point(&w.base.hal, (const uint8_t *)identity, strlen(identity), point), IOTSEC_OK);
    for (j = 0; j <= DEGREE; j++) {
        struct iotsec_polykey_sum sum;

        iotsec_polykey_sum_start(&sum, point);
        iotsec_polykey_sum_add(&sum, w.polynomials[polynomial][j][0], DEGREE + 1);
        iotsec_polykey_sum_finish(&sum, share[j]);
    }
}

static void put_share(struct node *n, unsigned i, uint32_t generation, unsigned polynomial)
{
    struct iotsec_share *share = &n->device.share[i];

    make_share(polynomial, (const char *)n->config.identity, (uint8_t(*)[IOTSEC_POLY_ELEMENT_BYTES])(void *)share->elements);
    share->generation = generation;
    share->held = DEGREE + 1;
    share->degree = DEGREE;
}

/* The share of a generation, and of the one before if `overlap`. Generation g is the polynomial g - 1. */
static void give_shares(struct node *n, uint32_t generation, bool overlap)
{
    iotsec_dev_shares_forget(&n->device);
    put_share(n, 0, generation, generation - 1);
    if (overlap) {
        put_share(n, 1, generation - 1, generation - 2);
        n->device.pair_flags |= PAIRS_OVERLAP;
        n->device.overlap_until = w.base.now + 600000u;
    }
}

static void revoke(struct node *n, const char *identity)
{
    uint8_t point[IOTSEC_POLY_ELEMENT_BYTES];

    assert_int_equal(iotsec_polykey_point(&w.base.hal, (const uint8_t *)identity, strlen(identity), point), IOTSEC_OK);
    memcpy(n->device.revoked[n->device.revoked_count++], point, IOTSEC_REVOKED_BYTES);
}

/* PSK and TGK of two devices, as this test computes them. */
static void pair_keys(unsigned polynomial, uint32_t generation, const char *own, const char *peer, uint8_t psk[32],
                      uint8_t tgk[16])
{
    uint8_t share[DEGREE + 1][IOTSEC_POLY_ELEMENT_BYTES];
    struct iotsec_polykey_pair pair = { share[0], DEGREE, generation, (const uint8_t *)own, strlen(own), (const uint8_t *)peer,
                                        strlen(peer) };

    make_share(polynomial, own, share);
    assert_int_equal(iotsec_polykey_keys(&w.base.hal, &pair, psk, tgk), IOTSEC_OK);
}

/* ---- The rogue ---- */

static enum iotsec_status write_hello(void *user, const struct iotsec_dtls_hello *hello, uint8_t *out, size_t size, size_t *len)
{
    (void)user;
    (void)hello;
    if (w.says == NULL) {
        return IOTSEC_ERR_NOT_FOUND;
    }
    *len = 5 + strlen(w.says);
    assert_true(*len <= size);
    iotsec_put_u32(out, w.generation);
    out[4] = w.hello_flags;
    memcpy(out + 5, w.says, strlen(w.says));
    return IOTSEC_OK;
}

static enum iotsec_status parse_hello(void *user, const struct iotsec_dtls_hello *hello, const uint8_t *body, size_t len)
{
    (void)user;
    (void)hello;
    (void)body;
    (void)len;
    return IOTSEC_OK;
}

static enum iotsec_status write_empty(void *user, const struct iotsec_dtls_hello *hello, uint8_t *out, size_t size, size_t *len)
{
    (void)user;
    (void)hello;
    (void)out;
    (void)size;
    *len = 0;
    return w.is_manager ? IOTSEC_OK : IOTSEC_ERR_NOT_FOUND;
}

static enum iotsec_status rogue_psk(void *user, iotsec_dtls_handle handshake, const uint8_t *identity, size_t len,
                                    struct iotsec_dtls_psk *psk)
{
    uint8_t tgk[16];

    (void)user;
    (void)handshake;
    psk->peer = 1;
    if (w.is_manager) {
        memcpy(psk->key, manager_psk, sizeof manager_psk);
        psk->len = sizeof manager_psk;
        return IOTSEC_OK;
    }
    assert_int_equal(len, strlen(w.target));
    assert_memory_equal(identity, w.target, len);
    pair_keys(w.polynomial, w.generation, w.is, w.target, psk->key, tgk);
    psk->len = 32;
    return IOTSEC_OK;
}

static void rogue_established(void *user, const struct iotsec_dtls_info *info)
{
    (void)user;
    w.rogue_sessions_made++;
    w.rogue_session = info->session;
}

static void rogue_ended(void *user, iotsec_dtls_handle handshake, const struct iotsec_addr *addr, uint32_t peer,
                        enum iotsec_status reason)
{
    (void)user;
    (void)handshake;
    (void)addr;
    (void)peer;
    w.rogue_failed++;
    w.rogue_reason = reason;
}

static void rogue_content(void *user, iotsec_dtls_handle session, uint32_t peer, uint8_t type, uint8_t *data, size_t len)
{
    (void)user;
    (void)session;
    (void)peer;
    (void)data;
    (void)len;
    w.rogue_heard += type == IOTSEC_CONTENT_APPLICATION_DATA;
}

static const struct iotsec_dtls_callbacks rogue_callbacks = {
    .psk = rogue_psk, .established = rogue_established, .failed = rogue_ended, .receive = rogue_content
};
static const struct iotsec_dtls_extension rogue_extensions[2] = {
    { IOTSEC_EXTENSION_DEVICE_IDENTITY, write_hello, parse_hello },
    { IOTSEC_EXTENSION_GROUP_REQUEST, write_empty, parse_hello },
};

/* Begins a handshake with device n, as `psk_identity`. */
static void rogue_connect(struct node *n, const char *psk_identity)
{
    static uint8_t psk[32];
    uint8_t tgk[16];

    pair_keys(w.polynomial, w.generation, w.is, (const char *)n->config.identity, psk, tgk);
    assert_int_equal(iotsec_dtls_connect(&w.rogue, &n->addr, (const uint8_t *)psk_identity, strlen(psk_identity), psk,
                                         sizeof psk, 1, NULL),
                     IOTSEC_OK);
}

/* ---- Setting up ---- */

static void prepare(struct node *n, unsigned i)
{
    struct iotsec_device_config *config = &n->config;

    n->addr = address((uint8_t)(i + 1));
    n->hal = w.base.hal;
    n->hal.user = n;
    n->hal.random = random_bytes;
    n->hal.now_ms = now_ms;
    n->hal.send = device_send;
    config->hal = &n->hal;
    config->callbacks = &device_callbacks;
    config->user = n;
    config->identity = (const uint8_t *)names[i];
    config->identity_len = strlen(names[i]);
    config->psk = manager_psk;
    config->psk_len = sizeof manager_psk;
    config->sessions = n->sessions;
    config->session_count = PAIRS + 2;
    config->handshakes = n->handshakes;
    config->handshake_count = 3;
    config->groups = n->groups;
    config->group_count = 1;
    config->tx = n->tx;
    config->tx_size = sizeof n->tx;
    config->pairs = n->pairs;
    config->pair_count = PAIRS;
    config->pair_messages = n->messages[0];
    config->pair_message_size = TEXT_MAX;
    config->shares = n->shares[0][0];
    config->share_degree_max = DEGREE;
}

static void boot(struct node *n)
{
    memset(&n->device, 0xA5, sizeof n->device);
    memset(n->pairs, 0xA5, sizeof n->pairs);
    assert_int_equal(iotsec_device_init(&n->device, &n->config), IOTSEC_OK);
    n->told_count = 0;
    n->heard_count = 0;
    n->on_event = NULL;
    n->on_message = NULL;
}

static void start(uint32_t seed)
{
    struct test_provider providers[2];
    unsigned i;

    memset(&w, 0, sizeof w);
    test_providers(providers);
    test_hal_init(&w.base, providers[0].crypto);
    w.base.now = 0xFFFFF000u; /* the clock wraps in most tests */
    w.seed = seed;
    draw_polynomials();
    w.rogue_addr = address(99);
    w.rogue_hal = w.base.hal;
    w.rogue_hal.random = random_bytes;
    w.rogue_hal.now_ms = now_ms;
    w.rogue_hal.send = rogue_send;
    w.rogue_config.hal = &w.rogue_hal;
    w.rogue_config.callbacks = &rogue_callbacks;
    w.rogue_config.sessions = w.rogue_sessions;
    w.rogue_config.session_count = 4;
    w.rogue_config.handshakes = w.rogue_handshakes;
    w.rogue_config.handshake_count = 4;
    w.rogue_config.extensions = rogue_extensions;
    w.rogue_config.extension_count = 2;
    w.rogue_config.key_management = 1;
    w.rogue_config.tx = w.rogue_tx;
    w.rogue_config.tx_size = sizeof w.rogue_tx;
    w.generation = 1;
    w.says = w.is = "gamma";
    w.target = "alpha";
    assert_int_equal(iotsec_dtls_init(&w.rogue, &w.rogue_config), IOTSEC_OK);
    for (i = 0; i < DEVICES; i++) {
        prepare(&w.nodes[i], i);
        boot(&w.nodes[i]);
        give_shares(&w.nodes[i], 1, false);
    }
}

static int setup(void **state)
{
    (void)state;
    start(1);
    return 0;
}

/* ---- Shorthand ---- */

static struct node *node(unsigned i)
{
    return &w.nodes[i];
}

static struct iotsec_peer peer_at(const char *identity, const struct iotsec_addr *addr)
{
    struct iotsec_peer peer;

    peer.identity = (const uint8_t *)identity;
    peer.identity_len = strlen(identity);
    peer.addr = *addr;
    return peer;
}

static enum iotsec_status say_at(struct node *from, const char *identity, const struct iotsec_addr *addr, const char *text)
{
    struct iotsec_peer peer = peer_at(identity, addr);

    return iotsec_send(&from->device, &peer, (const uint8_t *)text, strlen(text));
}

static enum iotsec_status say(struct node *from, const struct node *to, const char *text)
{
    return say_at(from, (const char *)to->config.identity, &to->addr, text);
}

static const struct iotsec_pair *pair_of(const struct node *n, const char *identity)
{
    unsigned i;

    for (i = 0; i < PAIRS; i++) {
        if (n->pairs[i].identity_len == strlen(identity) && memcmp(n->pairs[i].identity, identity, strlen(identity)) == 0) {
            return &n->pairs[i];
        }
    }
    return NULL;
}

static bool stands(const struct node *n, const struct node *peer)
{
    const struct iotsec_pair *pair = pair_of(n, (const char *)peer->config.identity);

    return pair != NULL && pair->session != 0 && iotsec_dtls_peer(&n->device.dtls, pair->session, NULL, NULL) == IOTSEC_OK;
}

/* What was told of a kind, how often; and the last of it. */
static unsigned count_told(const struct node *n, enum iotsec_device_event_kind kind, const struct told **last)
{
    unsigned count = 0;
    size_t i;

    for (i = 0; i < n->told_count; i++) {
        if (n->told[i].kind == kind) {
            count++;
            if (last != NULL) {
                *last = &n->told[i];
            }
        }
    }
    return count;
}

static void expect_told(const struct node *n, enum iotsec_device_event_kind kind, enum iotsec_status reason,
                        const char *identity)
{
    const struct told *last = NULL;

    assert_int_equal(count_told(n, kind, &last), 1);
    assert_string_equal(iotsec_status_name(last->reason), iotsec_status_name(reason));
    assert_string_equal(last->identity, identity);
}

static void expect_heard(const struct node *n, size_t count, const char *identity, const char *text)
{
    assert_int_equal(n->heard_count, count);
    assert_string_equal(n->heard[count - 1].identity, identity);
    assert_string_equal(n->heard[count - 1].text, text);
}

static bool occurs(const void *area, size_t size, const void *what, size_t len)
{
    const uint8_t *bytes = area;
    size_t i;

    for (i = 0; i + len <= size; i++) {
        if (memcmp(bytes + i, what, len) == 0) {
            return true;
        }
    }
    return false;
}

static void forget_told(void)
{
    unsigned i;

    for (i = 0; i < DEVICES; i++) {
        w.nodes[i].told_count = 0;
        w.nodes[i].heard_count = 0;
    }
}

/* A session between the two, with nothing left to tell. */
static void open_between(struct node *a, struct node *b)
{
    assert_int_equal(say(a, b, "hello"), IOTSEC_OK);
    run(100);
    assert_true(stands(a, b) && stands(b, a));
    forget_told();
}

/* Device n and the domain manager, which the rogue plays. */
static void join(struct node *n)
{
    w.is_manager = true;
    assert_int_equal(iotsec_join(&n->device, &w.rogue_addr, NULL, 0), IOTSEC_OK);
    run(100);
    assert_int_equal(n->device.state, DEVICE_JOINED);
    assert_int_not_equal(n->device.session, 0);
    w.is_manager = false;
    n->device.request_kind = 0; /* the rogue answers no questions */
    n->device.pair_flags &= (uint8_t)~(PAIRS_DUE | PAIRS_ASK);
}

/* Between members of which one breaks the rules: nobody has a session. */
static void expect_nothing(const struct node *n)
{
    unsigned i;

    for (i = 0; i < PAIRS; i++) {
        assert_int_equal(n->pairs[i].identity_len, 0);
    }
    assert_int_equal(n->device.dtls.sessions_used, 0);
    assert_int_equal(n->heard_count, 0);
}

/* ---- Opening and talking ---- */

static enum iotsec_status said; /* what a call inside a callback came to */

static void answer(struct node *n, const struct iotsec_peer *peer)
{
    said = iotsec_send(&n->device, peer, (const uint8_t *)"reply", 5);
    n->on_message = NULL;
}

static void a_message_opens_a_session(void **state)
{
    struct node *a = node(0);
    struct node *b = node(1);
    unsigned sent;

    (void)state;
    assert_int_equal(say(a, b, "first"), IOTSEC_OK);
    assert_int_equal(b->heard_count, 0);
    run(100);
    expect_heard(b, 1, "alpha", "first");
    assert_true(iotsec_addr_equal(&b->heard[0].addr, &a->addr));
    expect_told(a, IOTSEC_DEVICE_PEER_OPEN, IOTSEC_OK, "beta");
    expect_told(b, IOTSEC_DEVICE_PEER_OPEN, IOTSEC_OK, "alpha");
    assert_true(iotsec_addr_equal(&a->told[0].addr, &b->addr));
    assert_int_equal(a->told_count + b->told_count, 2);
    sent = w.sent;
    assert_int_equal(say(b, a, "answer"), IOTSEC_OK);
    assert_int_equal(say(a, b, "second"), IOTSEC_OK);
    run(100);
    expect_heard(a, 1, "beta", "answer");
    expect_heard(b, 2, "alpha", "second");
    assert_int_equal(w.sent, sent + 2); /* in the session, and both left at once */
    assert_int_equal(a->told_count + b->told_count, 2);
    assert_int_equal(count_told(node(2), IOTSEC_DEVICE_PEER_OPEN, NULL), 0);
}

static void an_identity_may_be_as_long_as_any(void **state)
{
    static char longest[2][IOTSEC_IDENTITY_MAX + 1];
    struct node *n[2] = { node(0), node(1) };
    unsigned i;

    (void)state;
    for (i = 0; i < 2; i++) {
        memset(longest[i], (int)('y' + i), IOTSEC_IDENTITY_MAX);
        n[i]->config.identity = (const uint8_t *)longest[i];
        n[i]->config.identity_len = IOTSEC_IDENTITY_MAX;
        boot(n[i]);
        give_shares(n[i], 1, false);
    }
    assert_int_equal(say(n[0], n[1], "long"), IOTSEC_OK);
    assert_int_equal(say(n[1], n[0], "longer"), IOTSEC_OK);
    run(100);
    expect_heard(n[1], 1, longest[0], "long");
    expect_heard(n[0], 1, longest[1], "longer");
}

static void statuses_of_send(void **state)
{
    static const uint8_t text[TEXT_MAX + 1] = { 'x' };
    struct node *a = node(0);
    struct iotsec_addr multicast = address(7);
    struct iotsec_peer peer = peer_at("gamma", &node(3)->addr);
    struct iotsec_peer other;

    (void)state;
    multicast.ip[0] = 0xFF;
    assert_int_equal(iotsec_send(NULL, &peer, text, 1), IOTSEC_ERR_ARGUMENT);
    assert_int_equal(iotsec_send(&a->device, NULL, text, 1), IOTSEC_ERR_ARGUMENT);
    assert_int_equal(iotsec_send(&a->device, &peer, NULL, 1), IOTSEC_ERR_ARGUMENT);
    assert_int_equal(iotsec_send(&a->device, &peer, text, 0), IOTSEC_ERR_ARGUMENT);
    other = peer;
    other.identity = NULL;
    assert_int_equal(iotsec_send(&a->device, &other, text, 1), IOTSEC_ERR_ARGUMENT);
    other = peer;
    other.identity_len = 0;
    assert_int_equal(iotsec_send(&a->device, &other, text, 1), IOTSEC_ERR_ARGUMENT);
    other.identity_len = IOTSEC_IDENTITY_MAX + 1;
    assert_int_equal(iotsec_send(&a->device, &other, text, 1), IOTSEC_ERR_ARGUMENT);
    assert_int_equal(say_at(a, "alpha", &node(3)->addr, "x"), IOTSEC_ERR_ARGUMENT);
    assert_int_equal(say_at(a, "gamma", &multicast, "x"), IOTSEC_ERR_ARGUMENT);
    a->device.manager = w.rogue_addr;
    assert_int_equal(say_at(a, "gamma", &w.rogue_addr, "x"), IOTSEC_ERR_ARGUMENT);
#if IOTSEC_ACCESS
    a->device.manager = address(98);
    a->device.joined_at = w.rogue_addr;
    assert_int_equal(say_at(a, "gamma", &w.rogue_addr, "x"), IOTSEC_ERR_ARGUMENT);
#endif
    revoke(a, "gamma");
    assert_int_equal(iotsec_send(&a->device, &peer, text, sizeof text), IOTSEC_ERR_REVOKED);
    iotsec_dev_shares_forget(&a->device);
    assert_int_equal(iotsec_send(&a->device, &peer, text, sizeof text), IOTSEC_ERR_NO_SHARE);
    give_shares(a, 1, false);
    assert_int_equal(iotsec_send(&a->device, &peer, text, sizeof text), IOTSEC_ERR_TOO_LONG);
    assert_int_equal(iotsec_send(&a->device, &peer, text, TEXT_MAX), IOTSEC_OK);
    assert_int_equal(iotsec_send(&a->device, &peer, text, 1), IOTSEC_ERR_AGAIN);
    assert_int_equal(iotsec_send(&a->device, &peer, text, sizeof text), IOTSEC_ERR_TOO_LONG);
    assert_int_equal(say(a, node(1), "x"), IOTSEC_OK);
    assert_int_equal(say(a, node(2), "x"), IOTSEC_ERR_FULL);
    run(100);
    assert_int_equal(say(a, node(2), "x"), IOTSEC_ERR_FULL); /* both sessions are in use */
    /* in a session, a record is the limit */
    assert_int_equal(iotsec_send(&a->device, &peer, text, sizeof text), IOTSEC_OK);
    {
        static const uint8_t much[256];

        assert_int_equal(iotsec_send(&a->device, &peer, much, sizeof much), IOTSEC_ERR_TOO_LONG);
    }
}

static void without_pairs_it_is_deaf(void **state)
{
    struct node *a = node(0);
    struct node *b = node(1);

    (void)state;
    b->config.pair_count = 0;
    boot(b);
    assert_int_equal(say(b, a, "x"), IOTSEC_ERR_UNSUPPORTED);
    assert_int_equal(iotsec_peer_close(&b->device, (const uint8_t *)"alpha", 5), IOTSEC_ERR_NOT_FOUND);
    assert_int_equal(say(a, b, "x"), IOTSEC_OK);
    run(30000);
    assert_int_equal(b->told_count, 0);
    expect_told(a, IOTSEC_DEVICE_PEER_FAILED, IOTSEC_ERR_NO_ANSWER, "beta");
    expect_nothing(a);
}

/* What a configuration with pairs has to have. */
static void bad_configurations_are_refused(void **state)
{
    static struct iotsec_device_config good;
    static const struct {
        const char *what;
        size_t offset;
        size_t size;
        uint32_t value;
        enum iotsec_status status;
    } rows[] = {
#define ROW(member, value, status) \
    { #member " " #value, offsetof(struct iotsec_device_config, member), sizeof good.member, value, status }
        ROW(pair_message_size, TEXT_MAX, IOTSEC_OK),
        ROW(pair_message_size, 0, IOTSEC_OK),
        ROW(pair_message_size, 256 - 38, IOTSEC_OK),
        ROW(pair_message_size, 256 - 37 + (IOTSEC_CONNECTION_ID ? 0 : 9), IOTSEC_ERR_ARGUMENT),
        ROW(session_count, PAIRS + 1, IOTSEC_OK),
        ROW(session_count, PAIRS, IOTSEC_ERR_ARGUMENT),
        ROW(handshake_count, 2, IOTSEC_OK),
        ROW(handshake_count, 1, IOTSEC_ERR_ARGUMENT),
        ROW(share_degree_max, 0, IOTSEC_ERR_ARGUMENT),
        ROW(pair_idle_ms, 1u << 30, IOTSEC_ERR_ARGUMENT),
        ROW(share_overlap_ms, 1u << 30, IOTSEC_ERR_ARGUMENT),
#undef ROW
    };
    struct node *n = node(0);
    size_t i;

    (void)state;
    good = n->config;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t *member = (uint8_t *)&n->config + rows[i].offset;
        uint16_t word = (uint16_t)rows[i].value;

        n->config = good;
        if (rows[i].size == 1) {
            *member = (uint8_t)rows[i].value;
        } else if (rows[i].size == 2) {
            memcpy(member, &word, 2);
        } else {
            memcpy(member, &rows[i].value, 4);
        }
        if (iotsec_device_init(&n->device, &n->config) != rows[i].status) {
            fail_msg("%s", rows[i].what);
        }
    }
    n->config = good;
    n->config.tx_size = 65535; /* nothing is sent here */
    n->config.pair_message_size = IOTSEC_RECORD_PAYLOAD_MAX;
    assert_int_equal(iotsec_device_init(&n->device, &n->config), IOTSEC_OK);
    n->config.pair_message_size = IOTSEC_RECORD_PAYLOAD_MAX + 1;
    assert_int_equal(iotsec_device_init(&n->device, &n->config), IOTSEC_ERR_ARGUMENT);
    n->config = good;
    n->config.pairs = NULL;
    assert_int_equal(iotsec_device_init(&n->device, &n->config), IOTSEC_ERR_ARGUMENT);
    n->config = good;
    n->config.shares = NULL;
    assert_int_equal(iotsec_device_init(&n->device, &n->config), IOTSEC_ERR_ARGUMENT);
    n->config = good;
    n->config.pair_messages = NULL;
    assert_int_equal(iotsec_device_init(&n->device, &n->config), IOTSEC_ERR_ARGUMENT);
    n->config.pair_message_size = 0;
    assert_int_equal(iotsec_device_init(&n->device, &n->config), IOTSEC_OK);
    give_shares(n, 1, false);
    assert_int_equal(say(n, node(1), "x"), IOTSEC_ERR_TOO_LONG);
    /* it is spoken to all the same */
    open_between(node(1), n);
    assert_int_equal(say(n, node(1), "x"), IOTSEC_OK);
}

static void messages_wait_for_the_session(void **state)
{
    struct node *a = node(0);
    struct node *b = node(1);

    (void)state;
    w.lose = 1; /* the hello */
    assert_int_equal(say(a, b, "one"), IOTSEC_OK);
    assert_int_equal(say(a, b, "two"), IOTSEC_ERR_AGAIN);
    run(300);
    assert_int_equal(say(a, b, "two"), IOTSEC_ERR_AGAIN);
    run(1000);
    expect_heard(b, 1, "alpha", "one");
    assert_int_equal(say(a, b, "two"), IOTSEC_OK);
    run(0);
    expect_heard(b, 2, "alpha", "two");
}

static void a_peer_that_is_not_there(void **state)
{
    struct node *a = node(0);
    struct iotsec_addr nowhere = address(50);

    (void)state;
    assert_int_equal(say_at(a, "beta", &nowhere, "x"), IOTSEC_OK);
    run(19000);
    w.base.now += 2000;
    assert_int_equal(iotsec_poll(&a->device), 0); /* it has told, and nobody knows what follows from that */
    assert_int_equal(a->told_count, 1);
    boot(a);
    give_shares(a, 1, false);
    assert_int_equal(say_at(a, "beta", &nowhere, "secret text"), IOTSEC_OK);
    assert_true(occurs(a->messages, sizeof a->messages, "secret text", 11));
    run(19000);
    assert_int_equal(a->told_count, 0);
    run(2000);
    expect_told(a, IOTSEC_DEVICE_PEER_FAILED, IOTSEC_ERR_NO_ANSWER, "beta");
    assert_true(iotsec_addr_equal(&a->told[0].addr, &nowhere));
    assert_false(occurs(a, sizeof *a, "secret text", 11));
    assert_false(occurs(w.ether, w.ether_len, "secret text", 11));
    expect_nothing(a);
    assert_int_equal(say(a, node(1), "again"), IOTSEC_OK);
    run(100);
    expect_heard(node(1), 1, "alpha", "again");
}

static void without_a_share_hellos_are_lost(void **state)
{
    struct node *a = node(0);
    struct node *b = node(1);

    (void)state;
    iotsec_dev_shares_forget(&b->device);
    assert_int_equal(say(a, b, "x"), IOTSEC_OK);
    run(5000);
    assert_int_equal(b->device.dtls.half_open, 0);
    give_shares(b, 1, false); /* while it is still tried */
    run(5000);
    expect_heard(b, 1, "alpha", "x");
    assert_int_equal(b->told_count, 1);
}

/* ---- Who it is ---- */

static void another_member_sits_there(void **state)
{
    struct node *a = node(0);
    struct node *b = node(1);

    (void)state;
    assert_int_equal(say_at(a, "gamma", &b->addr, "for gamma"), IOTSEC_OK);
    run(25000);
    expect_told(a, IOTSEC_DEVICE_PEER_FAILED, IOTSEC_ERR_PEER_IDENTITY, "gamma");
    assert_int_equal(b->told_count, 0);
    expect_nothing(a);
    expect_nothing(b);
    /* it has the true identity's prefix */
    assert_int_equal(say_at(a, "beta2", &b->addr, "for beta2"), IOTSEC_OK);
    assert_int_equal(say_at(a, "bet", &node(2)->addr, "for bet"), IOTSEC_OK);
    run(25000);
    assert_int_equal(count_told(a, IOTSEC_DEVICE_PEER_FAILED, NULL), 3);
    expect_nothing(b);
    expect_nothing(node(2));
}

/* A member's endpoint that breaks the rules as client: what becomes of its handshake with alpha. */
static void rogue_clients_are_refused(void **state)
{
    static const struct {
        const char *what;
        const char *says;      /* in the hello */
        const char *identity;  /* in ClientKeyExchange */
        const char *is;        /* whose share it uses */
        uint32_t generation;
        unsigned polynomial;
        const char *revoked;
        int told;              /* the event's reason; 1: there is a session */
        const char *who;       /* its peer */
    } rows[] = {
        { "keeps the rules", "gamma", "gamma", "gamma", 1, 0, NULL, 1, "gamma" },
        { "hello says another", "beta", "gamma", "gamma", 1, 0, NULL, IOTSEC_ERR_PEER_IDENTITY, "gamma" },
        { "PSK identity is another", "gamma", "beta", "gamma", 1, 0, NULL, IOTSEC_ERR_PEER_IDENTITY, "beta" },
        { "PSK identity is ours", "gamma", "alpha", "gamma", 1, 0, NULL, IOTSEC_ERR_PEER_IDENTITY, "alpha" },
        { "both are another's", "beta", "beta", "gamma", 1, 0, NULL, IOTSEC_ERR_WRONG_PSK, "-" },
        { "no extension", NULL, "gamma", "gamma", 1, 0, NULL, IOTSEC_ERR_UNKNOWN_IDENTITY, "gamma" },
        { "revoked", "gamma", "gamma", "gamma", 1, 0, "gamma", IOTSEC_ERR_REVOKED, "gamma" },
        { "another is revoked", "gamma", "gamma", "gamma", 1, 0, "beta", 1, "gamma" },
        { "another polynomial", "gamma", "gamma", "gamma", 1, 1, NULL, IOTSEC_ERR_WRONG_PSK, "-" },
        { "another generation", "gamma", "gamma", "gamma", 7, 0, NULL, IOTSEC_ERR_GENERATION, "gamma" },
        { "a generation to come", "gamma", "gamma", "gamma", 2, 1, NULL, IOTSEC_ERR_GENERATION, "gamma" },
        { "no identity", "gamma", "", "gamma", 1, 0, NULL, IOTSEC_ERR_UNKNOWN_IDENTITY, "-" },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct node *a = node(0);
        const struct told *told = NULL;
        bool good = rows[i].told == 1;

        start(1);
        w.says = rows[i].says;
        w.is = rows[i].is;
        w.generation = rows[i].generation;
        w.polynomial = rows[i].polynomial;
        if (rows[i].revoked != NULL) {
            revoke(a, rows[i].revoked);
        }
        if (rows[i].identity[0] == '\0') {
            /* our client does not send one: the look-up itself is asked */
            struct iotsec_dtls_psk psk;

            assert_int_equal(iotsec_dev_pair_psk(&a->device, 0, (const uint8_t *)"", 0, &psk), IOTSEC_ERR_UNKNOWN_IDENTITY);
            assert_int_equal(count_told(a, IOTSEC_DEVICE_PEER_REFUSED, &told), 1);
            assert_int_equal(told->reason, rows[i].told);
            continue;
        }
        rogue_connect(a, rows[i].identity);
        run(good ? 1000 : 60000);
        if (w.rogue_sessions_made != (good ? 1u : 0u) || (good && pair_of(a, "gamma") == NULL)) {
            fail_msg("%s: %u sessions", rows[i].what, w.rogue_sessions_made);
        }
        if (!good) {
            expect_nothing(a);
            /* whatever the reason is, the wire shows a wrong key */
            assert_int_equal(w.rogue_failed, 1);
            assert_int_equal(w.rogue_reason, IOTSEC_ERR_WRONG_PSK);
        }
        count_told(a, good ? IOTSEC_DEVICE_PEER_OPEN : IOTSEC_DEVICE_PEER_REFUSED, &told);
        if (told == NULL || strcmp(told->identity, rows[i].who) != 0 || told->reason != (good ? 0 : rows[i].told) ||
            (rows[i].who[0] != '-' && !iotsec_addr_equal(&told->addr, &w.rogue_addr)) ||
            count_told(a, IOTSEC_DEVICE_PEER_REFUSED, NULL) > 2 /* one for each of the client's two tries */) {
            fail_msg("%s: %u events, the last %s of %s", rows[i].what, (unsigned)a->told_count,
                     told != NULL ? iotsec_status_name(told->reason) : "none", told != NULL ? told->identity : "none");
        }
    }
}

/* ... and as server, with which alpha wants to reach gamma. */
static void rogue_servers_are_refused(void **state)
{
    static const struct {
        const char *what;
        const char *says;
        const char *is;
        uint32_t generation;
        unsigned polynomial;
        enum iotsec_status told;
    } rows[] = {
        { "keeps the rules", "gamma", "gamma", 1, 0, IOTSEC_OK },
        { "no extension", NULL, "gamma", 1, 0, IOTSEC_ERR_PEER_IDENTITY },
        { "says another", "beta", "gamma", 1, 0, IOTSEC_ERR_PEER_IDENTITY },
        { "says ours", "alpha", "gamma", 1, 0, IOTSEC_ERR_PEER_IDENTITY },
        { "says more", "gamma2", "gamma", 1, 0, IOTSEC_ERR_PEER_IDENTITY },
        { "says less", "gamm", "gamma", 1, 0, IOTSEC_ERR_PEER_IDENTITY },
        { "says nothing", "", "gamma", 1, 0, IOTSEC_ERR_PROTOCOL },
        { "is another", "gamma", "beta", 1, 0, IOTSEC_ERR_WRONG_PSK },
        { "another polynomial", "gamma", "gamma", 1, 1, IOTSEC_ERR_WRONG_PSK },
        { "a newer generation", "gamma", "gamma", 2, 1, IOTSEC_ERR_GENERATION },
        { "generation 0", "gamma", "gamma", 0, 1, IOTSEC_ERR_PROTOCOL },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct node *a = node(0);
        bool good = rows[i].told == IOTSEC_OK;

        start(1);
        w.says = rows[i].says;
        w.is = rows[i].is;
        w.generation = rows[i].generation;
        w.polynomial = rows[i].polynomial;
        assert_int_equal(say_at(a, "gamma", &w.rogue_addr, "for gamma"), IOTSEC_OK);
        run(good ? 1000 : 30000);
        if (a->told_count != 1 || a->told[0].reason != rows[i].told || strcmp(a->told[0].identity, "gamma") != 0) {
            fail_msg("%s: %u events, the first %s", rows[i].what, (unsigned)a->told_count,
                     iotsec_status_name(a->told[0].reason));
        }
        assert_int_equal(a->told[0].kind, good ? IOTSEC_DEVICE_PEER_OPEN : IOTSEC_DEVICE_PEER_FAILED);
        assert_int_equal(w.rogue_heard, good ? 1 : 0);
        if (!good) {
            expect_nothing(a);
        }
    }
}

/* What a device has changes between its hello and the answer. */
static void a_share_changes_under_way(void **state)
{
    static const struct {
        const char *what;
        uint32_t before;
        bool before_overlap;
        uint32_t after;
        bool after_overlap;
        uint32_t answer;
    } rows[] = {
        { "one that was not offered, but is held", 1, false, 2, true, 2 },
        { "one that was offered, and has ended", 2, true, 2, false, 1 },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct node *a = node(0);
        unsigned step;

        start(1);
        give_shares(a, rows[i].before, rows[i].before_overlap);
        w.generation = rows[i].answer;
        w.polynomial = rows[i].answer - 1;
        assert_int_equal(say_at(a, "gamma", &w.rogue_addr, "for gamma"), IOTSEC_OK);
        give_shares(a, rows[i].after, rows[i].after_overlap);
        deliver(0); /* ClientHello */
        deliver(0); /* ServerHello, ServerHelloDone */
        for (step = 0; step < w.queued; step++) {
            if (w.queue[step].data[0] != IOTSEC_CONTENT_ALERT) {
                fail_msg("%s: it went on", rows[i].what);
            }
        }
        assert_int_equal(w.rogue_heard, 0);
        assert_int_equal(a->told_count, 0);
    }
}

/* Revoked after the hello: ClientKeyExchange is not sent. */
static void a_peer_is_revoked_under_way(void **state)
{
    struct node *a = node(0);
    struct node *b = node(1);

    (void)state;
    assert_int_equal(say(a, b, "x"), IOTSEC_OK);
    revoke(a, "beta");
    run(25000);
    expect_told(a, IOTSEC_DEVICE_PEER_FAILED, IOTSEC_ERR_REVOKED, "beta");
    assert_int_equal(b->told_count, 0);
    expect_nothing(b);
}

static void malformed_hellos_are_refused(void **state)
{
    static const uint8_t body[5 + IOTSEC_IDENTITY_MAX + 1] = { 0, 0, 0, 1, 0, 'x' };
    static const uint8_t zero[6] = { 0, 0, 0, 0, 0, 'x' };
    uint8_t scratch[IOTSEC_HANDSHAKE_SCRATCH_BYTES] = { 0 };
    struct iotsec_dtls_hello hello = { 0, 1, 0, scratch };
    struct node *a = node(0);
    size_t len;

    (void)state;
    for (len = 0; len <= sizeof body; len++) {
        memset(scratch, 0, sizeof scratch);
        assert_int_equal(iotsec_dev_parse_identity(&a->device, &hello, body, len),
                         len >= 6 && len <= 5 + IOTSEC_IDENTITY_MAX ? IOTSEC_OK : IOTSEC_ERR_DECODE);
    }
    assert_int_equal(iotsec_dev_parse_identity(&a->device, &hello, zero, sizeof zero), IOTSEC_ERR_DECODE);
    assert_int_equal(a->told_count, 0);
}

static void our_own_identity_is_reflected(void **state)
{
    struct node *a = node(0);
    unsigned sent;

    (void)state;
    w.says = "alpha";
    rogue_connect(a, "gamma");
    run(0);
    assert_true(count_told(a, IOTSEC_DEVICE_PEER_REFUSED, NULL) == 1);
    assert_int_equal(a->told[0].reason, IOTSEC_ERR_PEER_IDENTITY);
    assert_string_equal(a->told[0].identity, "alpha");
    assert_int_equal(a->device.dtls.half_open, 0);
    sent = w.sent;
    run(300);
    assert_int_equal(w.sent, sent); /* not even a refusal */

    /* everything that alpha says, sent back to it from the address that it went to */
    start(2);
    assert_int_equal(say_at(a, "gamma", &w.rogue_addr, "boomerang"), IOTSEC_OK);
    while (a->told_count == 0 || a->told[a->told_count - 1].kind == IOTSEC_DEVICE_PEER_REFUSED) {
        uint32_t wait = iotsec_poll(&a->device);

        while (w.queued != 0) {
            struct datagram back = w.queue[0];

            w.queued--;
            memmove(&w.queue[0], &w.queue[1], w.queued * sizeof w.queue[0]);
            (void)iotsec_input(&a->device, &back.to, &a->addr, back.data, back.len);
        }
        w.base.now += iotsec_min_u32(wait, 1000);
        a->told_count = a->told_count > 20 ? 1 : a->told_count; /* one for each hello */
    }
    assert_int_equal(a->told[a->told_count - 1].kind, IOTSEC_DEVICE_PEER_FAILED);
    assert_int_equal(a->heard_count, 0);
    expect_nothing(a);
}

/* Two devices, the generations that each has, and what a message from the first to the second comes to. */
static void generations_meet(void **state)
{
    static const struct {
        const char *what;
        uint32_t a;
        bool a_overlap;
        uint32_t b;
        bool b_overlap;
        uint32_t used; /* 0: none in common */
    } rows[] = {
        { "the same", 1, false, 1, false, 1 },
        { "the same, and the one before", 2, true, 2, true, 2 },
        { "the client is ahead, with overlap", 2, true, 1, false, 1 },
        { "the server is ahead, with overlap", 1, false, 2, true, 1 },
        { "the client is ahead", 2, false, 1, false, 0 },
        { "the server is ahead", 1, false, 2, false, 0 },
        { "two apart", 3, true, 1, false, 0 },
        { "two apart, the other way", 1, false, 3, true, 0 },
        { "both overlap, one apart", 3, true, 2, true, 2 },
        { "both overlap, one apart, the other way", 2, true, 3, true, 2 },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct node *a = node(0);
        struct node *b = node(1);

        start(1);
        give_shares(a, rows[i].a, rows[i].a_overlap);
        give_shares(b, rows[i].b, rows[i].b_overlap);
        assert_int_equal(say(a, b, "x"), IOTSEC_OK);
        run(25000);
        if (rows[i].used != 0) {
            if (!stands(a, b) || !stands(b, a) || b->heard_count != 1) {
                fail_msg("%s", rows[i].what);
            }
            assert_int_equal(pair_of(a, "beta")->generation, rows[i].used);
            assert_int_equal(pair_of(b, "alpha")->generation, rows[i].used);
        } else {
            expect_told(a, IOTSEC_DEVICE_PEER_FAILED, IOTSEC_ERR_GENERATION, "beta");
            expect_nothing(a);
            expect_nothing(b);
        }
    }
}

/* ---- Both at once ---- */

/* A session is shared: what one sends in it the other takes, and keys are the same. */
static void expect_settled(struct node *a, struct node *b, const char *what)
{
    uint8_t keys[2][IOTSEC_KEY_BYTES];
    size_t a_had = a->heard_count;
    size_t b_had = b->heard_count;

    if (!stands(a, b) || !stands(b, a) || count_told(a, IOTSEC_DEVICE_PEER_OPEN, NULL) != 1 ||
        count_told(b, IOTSEC_DEVICE_PEER_OPEN, NULL) != 1 || count_told(a, IOTSEC_DEVICE_PEER_FAILED, NULL) != 0 ||
        count_told(b, IOTSEC_DEVICE_PEER_FAILED, NULL) != 0 || a->device.dtls.sessions_used != 1 ||
        b->device.dtls.sessions_used != 1) {
        fail_msg("%s: session %d %d, open %u %u, failed %u %u, sessions %u %u", what, stands(a, b), stands(b, a),
                 count_told(a, IOTSEC_DEVICE_PEER_OPEN, NULL), count_told(b, IOTSEC_DEVICE_PEER_OPEN, NULL),
                 count_told(a, IOTSEC_DEVICE_PEER_FAILED, NULL), count_told(b, IOTSEC_DEVICE_PEER_FAILED, NULL),
                 a->device.dtls.sessions_used, b->device.dtls.sessions_used);
    }
    assert_int_equal(iotsec_peer_key(&a->device, b->config.identity, b->config.identity_len, 1, keys[0]), IOTSEC_OK);
    assert_int_equal(iotsec_peer_key(&b->device, a->config.identity, a->config.identity_len, 1, keys[1]), IOTSEC_OK);
    assert_memory_equal(keys[0], keys[1], sizeof keys[0]);
    w.lose = 0;
    assert_int_equal(say(a, b, "after"), IOTSEC_OK);
    assert_int_equal(say(b, a, "after"), IOTSEC_OK);
    run(0);
    if (a->heard_count != a_had + 1 || b->heard_count != b_had + 1) {
        fail_msg("%s: they have different sessions", what);
    }
}

static unsigned count_text(const struct node *n, const char *text)
{
    unsigned count = 0;
    size_t i;

    for (i = 0; i < n->heard_count; i++) {
        count += strcmp(n->heard[i].text, text) == 0;
    }
    return count;
}

/* Every message has come once, unless the datagram with it was lost. */
static void expect_once(const struct node *a, const struct node *b, const char *what)
{
    unsigned from_a = count_text(b, "from a");
    unsigned from_b = count_text(a, "from b");

    if (from_a > 1 || from_b > 1 || (from_a == 0 && (w.lost_data & 1u << (a->addr.ip[15] - 1)) == 0) ||
        (from_b == 0 && (w.lost_data & 1u << (b->addr.ip[15] - 1)) == 0)) {
        fail_msg("%s: %u and %u messages, lost %X", what, from_a, from_b, w.lost_data);
    }
}

/* The second one begins when `after` datagrams of the first one's handshake have been taken. */
static void begin_both(struct node *first, struct node *second, const char *text1, const char *text2, unsigned after)
{
    enum iotsec_status status;

    assert_int_equal(say(first, second, text1), IOTSEC_OK);
    while (after-- != 0 && w.queued != 0) {
        deliver(0);
    }
    status = say(second, first, text2);
    assert_int_equal(status, IOTSEC_OK);
}

/* Every loss of the first datagrams, every moment for the second one to begin, either of them first. */
static void both_begin_and_datagrams_are_lost(void **state)
{
    const unsigned bits = 10;
    char what[64];
    unsigned order;
    unsigned after;
    unsigned mask;

    (void)state;
    for (order = 0; order < 2; order++) {
        for (after = 0; after < 6; after++) {
            for (mask = 0; mask < 1u << bits; mask++) {
                struct node *a = node(0);
                struct node *b = node(1);

                start(mask + 1);
                w.lose = mask;
                begin_both(order == 0 ? a : b, order == 0 ? b : a, order == 0 ? "from a" : "from b",
                           order == 0 ? "from b" : "from a", after);
                run(45000);
                snprintf(what, sizeof what, "order %u, after %u, loss %02X", order, after, mask);
                expect_settled(a, b, what);
                expect_once(a, b, what);
            }
        }
    }
}

/* Every order in which the two directions' datagrams arrive. */
static void both_begin_and_datagrams_overtake(void **state)
{
    const unsigned bits = 12;
    char what[64];
    unsigned schedule;

    (void)state;
    for (schedule = 0; schedule < 1u << bits; schedule++) {
        struct node *a = node(0);
        struct node *b = node(1);
        unsigned step;

        start(schedule + 1);
        assert_int_equal(say(a, b, "from a"), IOTSEC_OK);
        assert_int_equal(say(b, a, "from b"), IOTSEC_OK);
        for (step = 0; step < bits && w.queued != 0; step++) {
            const struct iotsec_addr *to = (schedule >> step & 1u) != 0 ? &a->addr : &b->addr;
            size_t i;

            for (i = 0; i < w.queued && !iotsec_addr_equal(&w.queue[i].to, to); i++) {
            }
            deliver(i < w.queued ? i : 0);
        }
        run(45000);
        snprintf(what, sizeof what, "schedule %03X", schedule);
        expect_settled(a, b, what);
        expect_once(a, b, what);
    }
}

/* The one with the smaller identity waits for a handshake whose sender has proved its address ... */
static void the_first_waits_for_the_second(void **state)
{
    struct node *a = node(0);
    struct node *b = node(1);
    unsigned sent;

    (void)state;
    a->config.handshake_count = 3;
    /* b's hello has to earn a cookie, since another one's handshake is half open */
    rogue_connect(a, "gamma");
    deliver(0);
    w.queued = 0; /* ServerHello is lost */
    assert_int_equal(say(b, a, "from b"), IOTSEC_OK);
    deliver(0); /* hello */
    deliver(0); /* HelloVerifyRequest */
    deliver(0); /* hello with the cookie */
    assert_int_equal(w.queued, 1);
    sent = w.sent;
    assert_int_equal(say(a, b, "from a"), IOTSEC_OK);
    assert_int_equal(w.sent, sent); /* it waits */
    assert_int_equal(pair_of(a, "beta")->handshake, 0);
    assert_int_equal(say(a, b, "more"), IOTSEC_ERR_AGAIN);
    run(0);
    expect_heard(a, 1, "beta", "from b");
    expect_heard(b, 1, "alpha", "from a");
    assert_int_equal(w.sent, sent + 3); /* Finished; Finished and "from a"; "from b": no other handshake */
}

/* ... and begins by itself when that comes to nothing. */
static void it_begins_when_that_ends(void **state)
{
    static const struct {
        const char *what;
        bool replaced; /* by another one's hello from the same address; else it is never completed */
    } rows[] = { { "half open for ever", false }, { "replaced", true } };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct node *a = node(0);
        struct node *b = node(1);

        start(3);
        rogue_connect(a, "gamma");
        deliver(0);
        w.queued = 0;
        assert_int_equal(say(b, a, "from b"), IOTSEC_OK);
        deliver(0);
        deliver(0);
        deliver(0);
        w.queued = 0;
        assert_int_equal(say(a, b, "from a"), IOTSEC_OK);
        assert_int_equal(pair_of(a, "beta")->flags, 1);
        boot(b); /* forgets everything */
        if (rows[i].replaced) {
            /* nothing is known of b there: another device is, for a moment */
            b->config.identity = (const uint8_t *)"delta";
            b->config.identity_len = 5;
            boot(b);
            give_shares(b, 1, false);
            assert_int_equal(say(b, a, "from delta"), IOTSEC_OK);
            run(1000);
            expect_heard(a, 1, "delta", "from delta");
            assert_int_not_equal(pair_of(a, "beta")->handshake, 0);
            run(25000);
            expect_told(a, IOTSEC_DEVICE_PEER_FAILED, IOTSEC_ERR_PEER_IDENTITY, "beta");
            continue;
        }
        run(29000);
        assert_int_equal(pair_of(a, "beta")->handshake, 0);
        give_shares(b, 1, false);
        run(3000);
        expect_heard(b, 1, "alpha", "from a");
    }
}

/* A proved one of somebody else at that address is not waited for; one that never ends, not for ever. */
static void it_does_not_wait_in_vain(void **state)
{
    struct node *a = node(0);
    struct node *b = node(1);
    unsigned round;

    (void)state;
    rogue_connect(a, "gamma");
    deliver(0);
    w.queued = 0;
    b->config.identity = (const uint8_t *)"delta";
    b->config.identity_len = 5;
    boot(b);
    give_shares(b, 1, false);
    assert_int_equal(say(b, a, "from delta"), IOTSEC_OK);
    deliver(0);
    deliver(0);
    deliver(0);
    w.queued = 0;
    assert_int_equal(a->device.dtls.half_open, 2);
    assert_int_equal(say_at(a, "beta", &b->addr, "for beta"), IOTSEC_OK);
    assert_int_not_equal(pair_of(a, "beta")->handshake, 0);
    assert_int_equal(a->device.dtls.half_open, 2); /* and it is left alone */

    start(5);
    rogue_connect(a, "gamma");
    deliver(0);
    w.queued = 0;
    for (round = 0; round < 4; round++) {
        boot(b); /* it always begins anew */
        give_shares(b, 1, false);
        assert_int_equal(say(b, a, "from b"), IOTSEC_OK);
        deliver(0);
        deliver(0);
        deliver(0);
        w.queued = 0;
        if (round == 0) {
            assert_int_equal(say(a, b, "from a"), IOTSEC_OK);
        }
        assert_int_equal(pair_of(a, "beta")->handshake, 0);
        assert_true(iotsec_poll(&a->device) <= 500);
        w.queued = 0;
        w.base.now += round < 3 ? 9000 : 4000;
        (void)iotsec_poll(&a->device);
        w.queued = 0;
    }
    assert_int_not_equal(pair_of(a, "beta")->handshake, 0);
}

/* An unproved hello holds nobody up: it may be anybody's. */
static void a_hello_without_proof_is_forgotten(void **state)
{
    struct node *a = node(0);
    struct node *b = node(1);

    (void)state;
    assert_int_equal(say(b, a, "from b"), IOTSEC_OK);
    deliver(0);
    w.queued = 0;
    boot(b); /* it may have come from somebody else, at b's address */
    give_shares(b, 1, false);
    assert_int_equal(a->device.dtls.half_open, 1);
    assert_int_equal(say(a, b, "from a"), IOTSEC_OK);
    assert_int_equal(a->device.dtls.half_open, 0);
    run(100);
    expect_heard(b, 1, "alpha", "from a");
    /* the larger identity leaves it alone, and begins, too */
    start(4);
    assert_int_equal(say(a, b, "from a"), IOTSEC_OK);
    deliver(0);
    assert_int_equal(b->device.dtls.half_open, 1);
    assert_int_equal(say(b, a, "from b"), IOTSEC_OK);
    assert_int_equal(b->device.dtls.half_open, 1);
    run(100);
    expect_heard(b, 1, "alpha", "from a");
    expect_heard(a, 1, "beta", "from b");
}

/* "beta" comes before "beta2". */
static void a_shorter_identity_is_first(void **state)
{
    struct node *b = node(1);
    struct node *c = node(2);

    (void)state;
    assert_int_equal(say(b, c, "from a"), IOTSEC_OK);
    assert_int_equal(say(c, b, "from b"), IOTSEC_OK);
    deliver(1); /* c's hello: a cookie is asked for */
    deliver(1);
    deliver(1); /* and with the cookie it is dropped, as b's own runs */
    assert_int_equal(b->device.dtls.half_open, 0);
    run(100);
    expect_settled(b, c, "beta and beta2");
}

/* ---- Places ---- */

static void an_idle_pair_makes_room(void **state)
{
    struct node *a = node(0);
    struct node *b = node(1);
    struct node *c = node(2);
    struct node *d = node(3);

    (void)state;
    open_between(a, b);
    w.base.now += 1000;
    open_between(a, c);
    /* neither has been silent for 10 s */
    assert_int_equal(say(a, d, "x"), IOTSEC_ERR_FULL);
    assert_int_equal(say(d, a, "x"), IOTSEC_OK);
    run(100);
    expect_told(a, IOTSEC_DEVICE_PEER_REFUSED, IOTSEC_ERR_FULL, "gamma");
    assert_true(iotsec_addr_equal(&a->told[0].addr, &d->addr));
    expect_told(d, IOTSEC_DEVICE_PEER_CLOSED, IOTSEC_ERR_ALERT, "alpha");
    assert_int_equal(a->heard_count, 0);
    assert_true(stands(a, b) && stands(a, c));
    forget_told();
    w.base.now += 5000;
    assert_int_equal(say(b, a, "still here"), IOTSEC_OK);
    run(5000);
    forget_told();
    /* now c has been: though b's is the older session */
    assert_int_equal(say(d, a, "y"), IOTSEC_OK);
    run(100);
    expect_heard(a, 1, "gamma", "y");
    expect_told(a, IOTSEC_DEVICE_PEER_CLOSED, IOTSEC_ERR_FULL, "beta2");
    assert_int_equal(count_told(a, IOTSEC_DEVICE_PEER_OPEN, NULL), 1);
    expect_told(c, IOTSEC_DEVICE_PEER_CLOSED, IOTSEC_ERR_CLOSED, "alpha");
    assert_true(stands(a, b) && !stands(a, c) && stands(a, d));
    /* the device's own message makes room, too */
    forget_told();
    w.base.now += 10000;
    assert_int_equal(say(b, a, "b is awake"), IOTSEC_OK);
    run(0);
    assert_int_equal(say(a, c, "z"), IOTSEC_OK);
    expect_told(a, IOTSEC_DEVICE_PEER_CLOSED, IOTSEC_ERR_FULL, "gamma");
    run(100);
    expect_heard(c, 1, "alpha", "z");
    expect_told(d, IOTSEC_DEVICE_PEER_CLOSED, IOTSEC_ERR_CLOSED, "alpha");
    assert_true(stands(a, b) && stands(a, c) && !stands(a, d));
    /* of two, it is the one that has been silent longer */
    w.base.now += 1000;
    assert_int_equal(say(c, a, "c is awake"), IOTSEC_OK);
    run(0);
    forget_told();
    w.base.now += 10000;
    assert_int_equal(say(d, a, "x"), IOTSEC_OK);
    run(100);
    expect_told(a, IOTSEC_DEVICE_PEER_CLOSED, IOTSEC_ERR_FULL, "beta");
}

/* What waits for a session, or opens one, has a claim to its place. */
static void handshakes_keep_their_places(void **state)
{
    struct node *a = node(0);
    struct iotsec_addr nowhere = address(50);
    struct iotsec_addr nowhere_else = address(51);

    (void)state;
    assert_int_equal(say_at(a, "beta", &nowhere, "x"), IOTSEC_OK);
    assert_int_equal(say_at(a, "beta2", &nowhere_else, "x"), IOTSEC_OK);
    run(15000);
    assert_int_equal(say(a, node(3), "x"), IOTSEC_ERR_FULL);
    assert_int_equal(say(node(3), a, "x"), IOTSEC_OK);
    run(1000);
    expect_told(a, IOTSEC_DEVICE_PEER_REFUSED, IOTSEC_ERR_FULL, "gamma");
    run(5000);
    assert_int_equal(count_told(a, IOTSEC_DEVICE_PEER_FAILED, NULL), 2);
    assert_int_equal(count_told(a, IOTSEC_DEVICE_PEER_CLOSED, NULL), 0);
    expect_nothing(a);
}

static void one_handshake_with_an_address(void **state)
{
    struct node *a = node(0);
    struct iotsec_addr nowhere = address(50);

    (void)state;
    assert_int_equal(say_at(a, "beta", &nowhere, "x"), IOTSEC_OK);
    assert_int_equal(say_at(a, "gamma", &nowhere, "secret text"), IOTSEC_ERR_AGAIN);
    assert_null(pair_of(a, "gamma"));
    assert_false(occurs(a, sizeof *a, "secret text", 11));
    run(21000);
    assert_int_equal(say_at(a, "gamma", &nowhere, "x"), IOTSEC_OK);
}

/* With two slots: of other devices' handshakes, one at a time. */
static void slots_of_handshakes_run_out(void **state)
{
    struct node *a = node(0);
    struct iotsec_addr nowhere = address(50);

    (void)state;
    a->config.handshake_count = 2;
    boot(a);
    give_shares(a, 1, false);
    /* one that has proved nothing makes room for an own one */
    rogue_connect(a, "gamma");
    deliver(0);
    w.queued = 0;
    w.lose_all = true;
    assert_int_equal(say(a, node(1), "x"), IOTSEC_OK);
    assert_int_equal(a->device.dtls.half_open, 1);
    assert_int_equal(say(a, node(2), "y"), IOTSEC_OK);
    assert_int_equal(a->device.dtls.half_open, 0);
    assert_int_equal(a->told_count, 0);
    assert_int_equal(iotsec_peer_close(&a->device, (const uint8_t *)"beta", 4), IOTSEC_OK);
    assert_int_equal(iotsec_peer_close(&a->device, (const uint8_t *)"beta2", 5), IOTSEC_OK);
    /* one that has proved its address stays: since beta2 was half open, it had to */
    w.lose_all = false;
    assert_int_equal(say(node(2), a, "z"), IOTSEC_OK);
    deliver(0);
    w.queued = 0;
    assert_int_equal(say(node(3), a, "z"), IOTSEC_OK);
    deliver(0);
    deliver(0);
    deliver(0);
    w.queued = 0;
    w.lose_all = true;
    assert_int_equal(a->device.dtls.half_open, 1);
    assert_int_equal(say_at(a, "beta", &nowhere, "x"), IOTSEC_OK);
    assert_int_equal(say(a, node(2), "secret text"), IOTSEC_ERR_AGAIN);
    assert_null(pair_of(a, "beta2"));
    assert_false(occurs(a, sizeof *a, "secret text", 11));
    /* and the manager is tried again until there is one */
    w.is_manager = true;
    assert_int_equal(iotsec_join(&a->device, &w.rogue_addr, NULL, 0), IOTSEC_OK);
    assert_int_equal(a->device.handshake, 0);
    run(5000);
    assert_int_equal(a->told_count, 0);
    w.lose_all = false;
    run(26000);
    assert_int_equal(count_told(a, IOTSEC_DEVICE_JOINED, NULL), 1);
    assert_int_equal(count_told(a, IOTSEC_DEVICE_JOIN_FAILED, NULL), 0);
}

/* ---- Ends ---- */

/* ---- A peer that has lost the session ---- */

/* As a power cut does it. */
static void restart(struct node *n)
{
    boot(n);
    give_shares(n, 1, false);
}

static void a_peer_is_restarted(void **state)
{
    struct node *a = node(0);
    struct node *b = node(1);
    iotsec_dtls_handle before;

    (void)state;
    open_between(a, b);
    before = pair_of(a, "beta")->session;
    run(10000);
    restart(b);
    /* the word that meets the dead session is lost; it finds out */
    assert_int_equal(say(a, b, "lost"), IOTSEC_OK);
    run(1000);
    assert_int_equal(b->heard_count, 0);
    assert_true(stands(a, b) && stands(b, a));
    assert_int_not_equal(pair_of(a, "beta")->session, before);
    expect_told(a, IOTSEC_DEVICE_PEER_OPEN, IOTSEC_OK, "beta");
    expect_told(b, IOTSEC_DEVICE_PEER_OPEN, IOTSEC_OK, "alpha");
    assert_int_equal(count_told(a, IOTSEC_DEVICE_PEER_CLOSED, NULL), 0);
    assert_int_equal(say(a, b, "found"), IOTSEC_OK);
    assert_int_equal(say(b, a, "too"), IOTSEC_OK);
    run(0);
    expect_heard(b, 1, "alpha", "found");
    expect_heard(a, 1, "beta", "too");
    /* the same again at once: not before ten seconds have passed */
    restart(b);
    forget_told();
    run(1000);
    assert_int_equal(say(a, b, "lost"), IOTSEC_OK);
    run(1000);
    assert_int_equal(a->told_count, 0);
    run(8000);
    assert_int_equal(say(a, b, "lost"), IOTSEC_OK);
    run(1000);
    expect_told(a, IOTSEC_DEVICE_PEER_OPEN, IOTSEC_OK, "beta");
}

static void a_peer_is_restarted_and_has_no_share(void **state)
{
    struct node *a = node(0);
    struct node *b = node(1);

    (void)state;
    open_between(a, b);
    run(10000);
    boot(b);
    assert_int_equal(say(a, b, "lost"), IOTSEC_OK);
    run(19000);
    assert_true(stands(a, b)); /* as long as the handshake may still succeed */
    assert_int_equal(a->told_count, 0);
    run(2000);
    expect_told(a, IOTSEC_DEVICE_PEER_FAILED, IOTSEC_ERR_NO_ANSWER, "beta");
    assert_true(stands(a, b)); /* silence, too, is what somebody may have brought about */
    assert_int_equal(a->told_count, 1);
    give_shares(b, 1, false);
    assert_int_equal(say(a, b, "lost"), IOTSEC_OK);
    run(1000);
    assert_int_equal(say(a, b, "again"), IOTSEC_OK);
    run(0);
    expect_heard(b, 1, "alpha", "again");
}

/* A ServerHello of beta's and a ServerHelloDone, which anybody can write: neither shows that its sender has seen our hello. */
static size_t forge_server_hello(uint8_t *out, uint16_t seq)
{
    static const uint8_t tail[] = { 0,    0xC0, 0xA8, 0, 0, 22, 0xFF, 1, 0, 1, 0,   0,   23, 0,
                                    0,    0xFF, 0x11, 0, 9, 0,  0,    0, 1, 0, 'b', 'e', 't', 'a' };
    const size_t hello = 2 + 32 + sizeof tail;

    memset(out, 0, 13 + 12 + hello + 12);
    out[0] = IOTSEC_CONTENT_HANDSHAKE;
    out[1] = out[25] = 0xFE;
    out[2] = out[26] = 0xFD;
    iotsec_put_u16(out + 11, (uint16_t)(12 + hello + 12));
    out[13] = IOTSEC_HS_SERVER_HELLO;
    iotsec_put_u16(out + 15, (uint16_t)hello);
    iotsec_put_u16(out + 17, seq);
    iotsec_put_u16(out + 23, (uint16_t)hello);
    memcpy(out + 25 + 34, tail, sizeof tail);
    out[25 + hello] = IOTSEC_HS_SERVER_HELLO_DONE;
    iotsec_put_u16(out + 25 + hello + 4, (uint16_t)(seq + 1));
    return 25 + hello + 12;
}

/* Whoever makes a device doubt a session, and then its handshake fail, ends nothing. */
static void a_doubt_is_no_end(void **state)
{
    uint8_t alert[] = { 21, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 2, 10 };
    struct node *a = node(0);
    struct node *b = node(1);
    uint8_t forged[128];
    unsigned i;

    (void)state;
    open_between(a, b);
    run(10000);
    forget_told();
    post(&b->addr, &a->addr, alert, sizeof alert);
    deliver(0);
    for (i = 0; i < 300; i++) {
        while (w.queued != 0) {
            if (iotsec_addr_equal(&w.queue[0].to, &b->addr) && w.queue[0].data[0] == IOTSEC_CONTENT_HANDSHAKE) {
                /* sent all the time, they are there before what beta answers */
                post(&b->addr, &a->addr, forged, forge_server_hello(forged, 0));
                post(&b->addr, &a->addr, forged, forge_server_hello(forged, 1));
            }
            deliver(0);
        }
        (void)iotsec_poll(&a->device);
        (void)iotsec_poll(&b->device);
        w.base.now += 100;
    }
    assert_true(stands(a, b) && stands(b, a));
    assert_int_equal(count_told(b, IOTSEC_DEVICE_PEER_CLOSED, NULL), 0);
    run(60000);
    assert_int_equal(say(a, b, "here"), IOTSEC_OK);
    assert_int_equal(say(b, a, "there"), IOTSEC_OK);
    run(0);
    expect_heard(b, 1, "alpha", "here");
    expect_heard(a, 1, "beta", "there");
}

/* The session's end ends the handshake that was to renew it: nobody has asked for another one. */
static void a_doubted_session_ends(void **state)
{
    uint8_t alert[] = { 21, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 2, 10 };
    struct node *a = node(0);
    struct node *b = node(1);

    (void)state;
    open_between(a, b);
    run(10000);
    forget_told();
    post(&b->addr, &a->addr, alert, sizeof alert);
    deliver(0);
    assert_int_not_equal(pair_of(a, "beta")->handshake, 0);
    w.queued = 0;
    assert_int_equal(iotsec_peer_close(&b->device, a->config.identity, a->config.identity_len), IOTSEC_OK);
    run(30000);
    expect_told(a, IOTSEC_DEVICE_PEER_CLOSED, IOTSEC_ERR_CLOSED, "beta");
    assert_int_equal(a->told_count + b->told_count, 1);
    assert_null(pair_of(a, "beta"));
}

/* It is renewed where it is, not where a message could not be queued for. */
static void a_doubted_session_stays_where_it_is(void **state)
{
    uint8_t alert[] = { 21, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 2, 10 };
    struct iotsec_addr nowhere = address(50);
    struct node *a = node(0);
    struct node *b = node(1);

    (void)state;
    open_between(a, b);
    run(10000);
    forget_told();
    assert_int_equal(say_at(a, "gamma", &nowhere, "x"), IOTSEC_OK);
    assert_int_equal(say_at(a, "beta", &nowhere, "x"), IOTSEC_ERR_AGAIN);
    assert_int_equal(iotsec_peer_close(&a->device, (const uint8_t *)"gamma", 5), IOTSEC_OK);
    post(&b->addr, &a->addr, alert, sizeof alert);
    run(30000);
    expect_told(a, IOTSEC_DEVICE_PEER_OPEN, IOTSEC_OK, "beta");
    assert_int_equal(a->told_count, 1);
}

/* Anybody can forge the alert. */
static void a_session_is_doubted_in_vain(void **state)
{
    uint8_t alert[] = { 21, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 2, 10 };
    struct node *a = node(0);
    struct node *b = node(1);
    unsigned sent;
    unsigned i;

    (void)state;
    open_between(a, b);
    assert_int_equal(say(b, a, "heard"), IOTSEC_OK);
    run(10000);
    a->heard_count = b->heard_count = 0;
    forget_told();
    /* there is nothing that it could answer */
    sent = w.sent;
    post(&b->addr, &a->addr, alert, sizeof alert);
    run(100);
    assert_int_equal(w.sent - sent, 1);
    assert_int_equal(say(a, b, "unanswered"), IOTSEC_OK);
    run(0);
    b->heard_count = 0;
    sent = w.sent;
    for (i = 0; i < 50; i++) {
        post(&b->addr, &a->addr, alert, sizeof alert);
        run(100);
    }
    /* one handshake came of it, cookie included, in which nothing was lost */
    assert_in_range(w.sent - sent - 50, 6, 8);
    expect_told(a, IOTSEC_DEVICE_PEER_OPEN, IOTSEC_OK, "beta");
    assert_int_equal(a->told_count + b->told_count, 2);
    assert_int_equal(say(a, b, "here"), IOTSEC_OK);
    assert_int_equal(say(b, a, "there"), IOTSEC_OK);
    run(0);
    expect_heard(b, 1, "alpha", "here");
    expect_heard(a, 1, "beta", "there");
    /* a warning says nothing, and from an address without a session an alert says nothing either */
    run(10000);
    forget_told();
    sent = w.sent;
    post(&w.rogue_addr, &a->addr, alert, sizeof alert);
    alert[13] = 1;
    post(&b->addr, &a->addr, alert, sizeof alert);
    run(0);
    assert_int_equal(w.sent - sent, 2);
    assert_int_equal(a->told_count + b->told_count, 0);
}

static void strangers_are_told_once_a_second(void **state)
{
    uint8_t record[40] = { 23, 0xFE, 0xFD, 0, 1, 0, 0, 0, 0, 0, 9, 0, 27 };
    struct node *a = node(0);
    unsigned sent = w.sent;
    unsigned i;

    (void)state;
    run(1000);
    for (i = 0; i < 25; i++) {
        post(&w.rogue_addr, &a->addr, record, sizeof record);
        run(100);
    }
    assert_int_equal(w.sent - sent, 25 + 3);
    /* what answers a close_notify is no reason to go on */
    record[0] = 21;
    run(1000);
    sent = w.sent;
    post(&w.rogue_addr, &a->addr, record, sizeof record);
    record[0] = 22;
    post(&w.rogue_addr, &a->addr, record, sizeof record);
    run(0);
    assert_int_equal(w.sent - sent, 2);
    record[0] = 23;
    record[4] = 0; /* in the clear it says nothing of a session */
    run(1000);
    sent = w.sent;
    post(&w.rogue_addr, &a->addr, record, sizeof record);
    run(0);
    assert_int_equal(w.sent - sent, 1);
    /* who is nobody's server has no peers either */
    a->config.pair_count = 0;
    boot(a);
    record[4] = 1;
    sent = w.sent;
    post(&w.rogue_addr, &a->addr, record, sizeof record);
    run(0);
    assert_int_equal(w.sent - sent, 1);
}

static void idle_sessions_are_closed(void **state)
{
    struct node *a = node(0);
    struct node *b = node(1);

    (void)state;
    a->config.pair_idle_ms = 60000;
    open_between(a, b);
    assert_in_range(iotsec_poll(&a->device), 59000, 60000);
    run(59000);
    /* what is heard counts, also if there is nothing in it to be told */
    assert_int_equal(iotsec_dtls_send(&b->device.dtls, pair_of(b, "alpha")->session, 23, NULL, 0), IOTSEC_OK);
    (void)iotsec_dtls_flush(&b->device.dtls);
    run(0);
    assert_int_equal(a->heard_count, 0);
    run(59000);
    assert_int_equal(say(a, b, "awake"), IOTSEC_OK); /* and what is sent */
    run(59000);
    assert_true(stands(a, b) && stands(b, a));
    run(900);
    assert_int_equal(a->told_count, 0);
    run(200);
    expect_told(a, IOTSEC_DEVICE_PEER_CLOSED, IOTSEC_ERR_TIMEOUT, "beta");
    expect_told(b, IOTSEC_DEVICE_PEER_CLOSED, IOTSEC_ERR_CLOSED, "alpha");
    expect_nothing(node(2));
    assert_int_equal(a->device.dtls.sessions_used + b->device.dtls.sessions_used, 0);
    /* the default */
    forget_told();
    open_between(b, node(2));
    run(299000);
    assert_int_equal(b->told_count, 0);
    run(1100);
    assert_int_equal(count_told(b, IOTSEC_DEVICE_PEER_CLOSED, NULL), 1);
}

/* What anybody can send keeps no session open. */
static void forged_records_do_not_count_as_use(void **state)
{
    struct node *a = node(0);
    struct node *b = node(1);
    unsigned i;

    (void)state;
    a->config.pair_idle_ms = 60000;
    open_between(a, b);
    for (i = 0; i < 118; i++) {
        struct datagram forged;

        run(500);
        assert_int_equal(iotsec_dtls_send(&b->device.dtls, pair_of(b, "alpha")->session, 23, (const uint8_t *)"x", 1),
                         IOTSEC_OK);
        assert_int_equal(iotsec_dtls_flush(&b->device.dtls), IOTSEC_OK);
        forged = w.queue[0];
        w.queued = 0;
        forged.data[forged.len - 1] ^= 1;
        (void)iotsec_input(&a->device, &forged.from, &a->addr, forged.data, forged.len);
    }
    assert_int_equal(a->told_count, 0);
    run(1500);
    expect_told(a, IOTSEC_DEVICE_PEER_CLOSED, IOTSEC_ERR_TIMEOUT, "beta");
}

static void many_forgeries_are_told(void **state)
{
    struct node *a = node(0);
    struct node *b = node(1);
    unsigned i;

    (void)state;
    open_between(a, b);
    for (i = 0; i < IOTSEC_FORGERY_LIMIT; i++) {
        struct datagram forged;

        assert_int_equal(a->told_count, 0);
        assert_int_equal(say(b, a, "x"), IOTSEC_OK);
        forged = w.queue[0];
        w.queued = 0;
        forged.data[forged.len - 1] ^= 1;
        (void)iotsec_input(&a->device, &forged.from, &a->addr, forged.data, forged.len);
    }
    expect_told(a, IOTSEC_DEVICE_FORGERIES, IOTSEC_ERR_FORGERIES, "beta");
    assert_true(stands(a, b));
}

static void statuses_of_close(void **state)
{
    struct node *a = node(0);
    struct node *b = node(1);
    struct iotsec_addr nowhere = address(50);

    (void)state;
    assert_int_equal(iotsec_peer_close(NULL, b->config.identity, 4), IOTSEC_ERR_NOT_FOUND);
    assert_int_equal(iotsec_peer_close(&a->device, NULL, 4), IOTSEC_ERR_NOT_FOUND);
    assert_int_equal(iotsec_peer_close(&a->device, b->config.identity, 0), IOTSEC_ERR_NOT_FOUND);
    assert_int_equal(iotsec_peer_close(&a->device, b->config.identity, 4), IOTSEC_ERR_NOT_FOUND);
    open_between(a, b);
    assert_int_equal(iotsec_peer_close(&a->device, b->config.identity, 3), IOTSEC_ERR_NOT_FOUND);
    assert_int_equal(iotsec_peer_close(&a->device, b->config.identity, 4), IOTSEC_OK);
    assert_int_equal(w.queued, 1); /* the alert has left */
    run(0);
    assert_int_equal(a->told_count, 0);
    expect_told(b, IOTSEC_DEVICE_PEER_CLOSED, IOTSEC_ERR_CLOSED, "alpha");
    expect_nothing(a);
    expect_nothing(b);
    /* a handshake */
    assert_int_equal(say_at(a, "beta", &nowhere, "x"), IOTSEC_OK);
    assert_int_equal(iotsec_peer_close(&a->device, b->config.identity, 4), IOTSEC_OK);
    assert_int_equal(a->device.dtls.handshakes_used, 0);
    run(30000);
    assert_int_equal(a->told_count, 0);
}

static void a_session_ends_by_an_alert(void **state)
{
    struct node *a = node(0);
    struct node *b = node(1);

    (void)state;
    open_between(a, b);
    assert_int_equal(iotsec_dtls_close(&b->device.dtls, pair_of(b, "alpha")->session, IOTSEC_ALERT_INTERNAL_ERROR), IOTSEC_OK);
    (void)iotsec_dtls_flush(&b->device.dtls);
    run(0);
    expect_told(a, IOTSEC_DEVICE_PEER_CLOSED, IOTSEC_ERR_ALERT, "beta");
    assert_true(iotsec_addr_equal(&a->told[0].addr, &b->addr));
}

static void it_closes_before_it_goes_down(void **state)
{
    struct node *a = node(0);
    struct node *b = node(1);

    (void)state;
    open_between(a, b);
    assert_int_equal(say(a, node(2), "queued"), IOTSEC_OK);
    iotsec_device_close(&a->device);
    run(0);
    expect_told(b, IOTSEC_DEVICE_PEER_CLOSED, IOTSEC_ERR_CLOSED, "alpha");
    assert_int_equal(a->told_count, 0);
    assert_null(pair_of(a, "beta"));
    assert_null(pair_of(a, "beta2"));
    assert_int_equal(a->device.dtls.sessions_used + a->device.dtls.handshakes_used, 0);
}

static void revoked_peers_are_cut_off(void **state)
{
    struct node *a = node(0);
    struct node *b = node(1);
    struct iotsec_addr nowhere = address(50);

    (void)state;
    open_between(a, b);
    assert_int_equal(say_at(a, "beta2", &nowhere, "x"), IOTSEC_OK);
    iotsec_dev_pairs_review(&a->device);
    assert_int_equal(a->told_count, 0);
    revoke(a, "beta");
    revoke(a, "beta2");
    iotsec_dev_pairs_review(&a->device);
    expect_told(a, IOTSEC_DEVICE_PEER_CLOSED, IOTSEC_ERR_REVOKED, "beta");
    expect_told(a, IOTSEC_DEVICE_PEER_FAILED, IOTSEC_ERR_REVOKED, "beta2");
    expect_nothing(a);
    assert_int_equal(a->device.dtls.handshakes_used, 0);
    run(100);
    expect_told(b, IOTSEC_DEVICE_PEER_CLOSED, IOTSEC_ERR_CLOSED, "alpha");
    assert_int_equal(say(a, b, "x"), IOTSEC_ERR_REVOKED);
    /* it cannot come back */
    forget_told();
    assert_int_equal(say(b, a, "x"), IOTSEC_OK);
    run(40000);
    expect_told(b, IOTSEC_DEVICE_PEER_FAILED, IOTSEC_ERR_WRONG_PSK, "alpha");
    assert_true(count_told(a, IOTSEC_DEVICE_PEER_REFUSED, NULL) >= 1);
    assert_int_equal(a->told[0].reason, IOTSEC_ERR_REVOKED);
    expect_nothing(a);
    expect_nothing(b);
}

/* Both at one time: a session that stands, and a handshake to another address. */
static void both_of_a_revoked_peer_end(void **state)
{
    struct node *a = node(0);
    struct iotsec_addr nowhere = address(50);

    (void)state;
    open_between(a, node(1));
    assert_int_equal(say_at(a, "beta", &nowhere, "x"), IOTSEC_OK);
    revoke(a, "beta");
    iotsec_dev_pairs_review(&a->device);
    assert_int_equal(a->told_count, 2);
    expect_told(a, IOTSEC_DEVICE_PEER_CLOSED, IOTSEC_ERR_REVOKED, "beta");
    expect_told(a, IOTSEC_DEVICE_PEER_FAILED, IOTSEC_ERR_REVOKED, "beta");
    assert_true(iotsec_addr_equal(&a->told[0].addr, &node(1)->addr));
    assert_true(iotsec_addr_equal(&a->told[1].addr, &nowhere));
    expect_nothing(a);
}

static void a_generation_ends(void **state)
{
    struct node *a = node(0);
    struct node *b = node(1);
    struct node *c = node(2);

    (void)state;
    give_shares(a, 2, true);
    give_shares(b, 2, true);
    open_between(a, b); /* under 2 */
    open_between(a, c); /* under 1: c knows no other */
    assert_int_equal(pair_of(a, "beta2")->generation, 1);
    run(3000);
    assert_int_equal(a->told_count, 0);
    a->device.overlap_until = w.base.now;
    run(1000);
    expect_told(a, IOTSEC_DEVICE_PEER_CLOSED, IOTSEC_ERR_GENERATION, "beta2");
    expect_told(c, IOTSEC_DEVICE_PEER_CLOSED, IOTSEC_ERR_CLOSED, "alpha");
    assert_true(stands(a, b) && stands(b, a) && !stands(a, c));
}

/* Between the look-up and Finished: what changes in it. */
static void a_session_is_checked_when_it_begins(void **state)
{
    static const struct {
        const char *what;
        unsigned end; /* 0: server's, 1: client's */
        int what_changes;
        enum iotsec_status told;
    } rows[] = {
        { "server: revoked", 0, 0, IOTSEC_ERR_REVOKED },
        { "server: the generation ended", 0, 1, IOTSEC_ERR_GENERATION },
        { "server: the manager is there", 0, 2, IOTSEC_ERR_EXISTS },
        { "client: revoked", 1, 0, IOTSEC_ERR_REVOKED },
        { "client: the generation ended", 1, 1, IOTSEC_ERR_GENERATION },
        { "client: the manager is there", 1, 2, IOTSEC_ERR_EXISTS },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct node *a = node(0);
        struct node *b = node(1);
        struct node *n = rows[i].end == 0 ? b : a;
        const char *other = rows[i].end == 0 ? "alpha" : "beta";
        size_t at;
        struct datagram split;

        start(1);
        assert_int_equal(say(a, b, "x"), IOTSEC_OK);
        deliver(0); /* ClientHello */
        deliver(0); /* ServerHello, ServerHelloDone */
        assert_int_equal(w.queued, 1);
        /* ClientKeyExchange alone, so that the keys are there */
        split = w.queue[0];
        at = IOTSEC_RECORD_HEADER_BYTES + (size_t)iotsec_get_u16(split.data + 11);
        (void)iotsec_input(&b->device, &a->addr, &b->addr, split.data, at);
        if (rows[i].end == 1) {
            deliver(0);
        }
        if (rows[i].what_changes == 0) {
            revoke(n, other);
        } else if (rows[i].what_changes == 1) {
            give_shares(n, 2, false);
        } else {
            n->device.manager = rows[i].end == 0 ? a->addr : b->addr;
        }
        run(100);
        if (stands(n, rows[i].end == 0 ? a : b) || b->heard_count != 0) {
            fail_msg("%s", rows[i].what);
        }
        expect_told(n, rows[i].end == 0 ? IOTSEC_DEVICE_PEER_REFUSED : IOTSEC_DEVICE_PEER_FAILED, rows[i].told, other);
        expect_nothing(n);
        run(1000);
        assert_int_equal(pair_of(rows[i].end == 0 ? a : b, rows[i].end == 0 ? "beta" : "alpha") == NULL, 1);
    }
}

/* ---- Addresses ---- */

static void a_peer_comes_from_another_address(void **state)
{
    struct node *a = node(0);
    struct node *b = node(1);

    (void)state;
    open_between(a, b);
    b->addr = address(61);
    boot(b); /* has lost everything but its share, and is elsewhere */
    give_shares(b, 1, false);
    assert_int_equal(say(b, a, "from elsewhere"), IOTSEC_OK);
    run(100);
    expect_heard(a, 1, "beta", "from elsewhere");
    assert_true(iotsec_addr_equal(&a->heard[0].addr, &b->addr));
    assert_int_equal(a->device.dtls.sessions_used, 1); /* the older one is closed */
    assert_int_equal(count_told(a, IOTSEC_DEVICE_PEER_CLOSED, NULL), 0);
    assert_int_equal(say(a, b, "to elsewhere"), IOTSEC_OK);
    run(0);
    expect_heard(b, 1, "alpha", "to elsewhere");
}

/* Two devices at one address, one after the other: the first is there no longer. */
static void another_device_has_the_address_now(void **state)
{
    unsigned begins;

    (void)state;
    for (begins = 0; begins < 2; begins++) {
        struct node *a = node(0);
        struct node *b = node(1);
        struct node *c = node(2);
        struct iotsec_addr first;

        start(1);
        first = b->addr;
        open_between(a, b);
        b->addr = address(77);
        c->addr = first;
        if (begins == 0) {
            assert_int_equal(say(a, c, "to the new one"), IOTSEC_OK);
        } else {
            assert_int_equal(say(c, a, "of the new one"), IOTSEC_OK);
        }
        run(1000);
        if (begins == 0) {
            expect_heard(c, 1, "alpha", "to the new one");
        } else {
            expect_heard(a, 1, "beta2", "of the new one");
        }
        expect_told(a, IOTSEC_DEVICE_PEER_OPEN, IOTSEC_OK, "beta2");
        expect_told(a, IOTSEC_DEVICE_PEER_CLOSED, IOTSEC_ERR_EXISTS, "beta");
        assert_int_equal(a->told_count, 2);
        assert_null(pair_of(a, "beta"));
        assert_int_equal(a->device.dtls.sessions_used, 1);
        assert_int_equal(say(a, c, "more"), IOTSEC_OK);
        run(0);
        assert_string_equal(c->heard[c->heard_count - 1].text, "more");
        /* the first one finds out, and comes back from where it is */
        run(10000);
        assert_int_equal(say(b, a, "lost"), IOTSEC_OK);
        run(1000);
        assert_int_equal(say(b, a, "here"), IOTSEC_OK);
        run(0);
        expect_heard(a, begins + 1, "beta", "here");
        assert_int_equal(a->device.dtls.sessions_used, 2);
    }
}

/* No sequence number is left: what cannot be queued either leaves nothing behind. */
static void a_session_is_used_up(void **state)
{
    struct node *a = node(0);
    struct node *b = node(1);
    char text[TEXT_MAX + 2];

    (void)state;
    open_between(a, b);
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    a->sessions[(pair_of(a, "beta")->session & 0xFFFFu) - 1].write_sequence = IOTSEC_SEQUENCE_LIMIT;
    assert_int_equal(say(a, b, text), IOTSEC_ERR_TOO_LONG);
    assert_null(pair_of(a, "beta"));
    open_between(a, b);
    a->sessions[(pair_of(a, "beta")->session & 0xFFFFu) - 1].write_sequence = IOTSEC_SEQUENCE_LIMIT;
    assert_int_equal(say(a, b, "in the next"), IOTSEC_OK);
    run(1000);
    expect_told(a, IOTSEC_DEVICE_PEER_OPEN, IOTSEC_OK, "beta");
    assert_string_equal(b->heard[b->heard_count - 1].text, "in the next");
}

static void a_peer_is_tried_at_another_address(void **state)
{
    struct node *a = node(0);
    struct node *b = node(1);
    struct iotsec_addr old = b->addr;
    struct iotsec_addr nowhere = address(50);
    struct iotsec_addr nowhere_else = address(51);

    (void)state;
    /* an old address, and then the right one */
    assert_int_equal(say_at(a, "beta", &nowhere, "one"), IOTSEC_OK);
    run(1000);
    assert_int_equal(say(a, b, "two"), IOTSEC_ERR_AGAIN);
    run(100);
    expect_heard(b, 1, "alpha", "one");
    assert_int_equal(a->device.dtls.handshakes_used, 0);
    /* a session stands, and the new address is wrong */
    forget_told();
    assert_int_equal(say_at(a, "beta", &nowhere, "three"), IOTSEC_OK);
    assert_int_equal(say(a, b, "four"), IOTSEC_OK);
    run(25000);
    expect_told(a, IOTSEC_DEVICE_PEER_FAILED, IOTSEC_ERR_NO_ANSWER, "beta");
    assert_true(iotsec_addr_equal(&a->told[0].addr, &nowhere));
    expect_heard(b, 1, "alpha", "four");
    assert_true(stands(a, b) && stands(b, a));
    /* a session stands, and the new one is right */
    forget_told();
    b->addr = address(61);
    assert_int_equal(say(a, b, "five"), IOTSEC_OK);
    run(1000);
    expect_heard(b, 1, "alpha", "five");
    assert_int_equal(a->device.dtls.sessions_used, 1);
    assert_int_equal(b->device.dtls.sessions_used, 1);
    expect_told(a, IOTSEC_DEVICE_PEER_OPEN, IOTSEC_OK, "beta");
    assert_int_equal(say_at(a, "beta", &old, "six"), IOTSEC_OK); /* nobody is there any more */
    assert_int_equal(say_at(a, "beta", &nowhere_else, "seven"), IOTSEC_ERR_AGAIN);
    run(25000);
    assert_int_equal(count_told(a, IOTSEC_DEVICE_PEER_FAILED, NULL), 1);
    assert_int_equal(b->heard_count, 1);
    assert_true(stands(a, b) && stands(b, a));
    forget_told();
    assert_int_equal(iotsec_peer_close(&b->device, (const uint8_t *)"alpha", 5), IOTSEC_OK);
    run(0);
    expect_told(a, IOTSEC_DEVICE_PEER_CLOSED, IOTSEC_ERR_CLOSED, "beta");
    assert_true(iotsec_addr_equal(&a->told[0].addr, &b->addr)); /* not where it was tried last */
}

static void the_session_closes_while_another_is_tried(void **state)
{
    struct node *a = node(0);
    struct node *b = node(1);
    uint8_t psk[32];
    uint8_t tgk[16];

    (void)state;
    open_between(a, b);
    w.lose_all = true;
    b->addr = address(61);
    assert_int_equal(say(a, b, "kept"), IOTSEC_OK);
    w.lose_all = false;
    b->addr = address(2);
    assert_int_equal(iotsec_peer_close(&b->device, (const uint8_t *)"alpha", 5), IOTSEC_OK);
    pair_keys(0, 1, "alpha", "beta", psk, tgk);
    assert_true(occurs(a, sizeof *a, tgk, sizeof tgk));
    run(0);
    expect_told(a, IOTSEC_DEVICE_PEER_CLOSED, IOTSEC_ERR_CLOSED, "beta");
    assert_false(occurs(a, sizeof *a, tgk, sizeof tgk));
    b->addr = address(61);
    run(2000);
    expect_heard(b, 1, "alpha", "kept");
}

#if IOTSEC_CONNECTION_ID
/* With Connection IDs, what the session's client says from another address is heard; the session stays where it is. */
static void a_session_with_a_connection_id(void **state)
{
    struct node *a = node(0);
    struct node *b = node(1);
    struct iotsec_addr first = a->addr;

    (void)state;
    a->config.connection_id = b->config.connection_id = IOTSEC_CONNECTION_ID_ON;
    boot(a);
    boot(b);
    give_shares(a, 1, false);
    give_shares(b, 1, false);
    open_between(a, b);
    a->addr = address(61);
    assert_int_equal(say(a, b, "from elsewhere"), IOTSEC_OK);
    run(0);
    expect_heard(b, 1, "alpha", "from elsewhere");
    assert_true(iotsec_addr_equal(&b->heard[0].addr, &first));
    b->on_message = answer;
    assert_int_equal(say(a, b, "again"), IOTSEC_OK);
    run(0);
    expect_heard(a, 1, "beta", "reply"); /* what is sent inside the callback goes where the message came from */
    assert_int_equal(b->device.dtls.sessions_used, 1);
    assert_int_equal(a->told_count + b->told_count, 0);
}
#endif

/* ---- Keys ---- */

static void keys_of_purposes(void **state)
{
    struct node *a = node(0);
    struct node *b = node(1);
    struct node *c = node(2);
    struct iotsec_csb_unicast bundle;
    uint8_t keys[6][IOTSEC_KEY_BYTES];
    uint8_t key[IOTSEC_KEY_BYTES];
    size_t i;
    size_t j;

    (void)state;
    assert_int_equal(iotsec_peer_key(&a->device, b->config.identity, 4, 1, key), IOTSEC_ERR_NOT_FOUND);
    assert_int_equal(iotsec_peer_key(&a->device, b->config.identity, 4, 0, key), IOTSEC_ERR_ARGUMENT);
    w.lose_all = true;
    assert_int_equal(say(a, b, "x"), IOTSEC_OK);
    assert_int_equal(iotsec_peer_key(&a->device, b->config.identity, 4, 1, key), IOTSEC_ERR_NOT_FOUND); /* not yet */
    w.lose_all = false;
    run(2000);
    assert_int_equal(iotsec_peer_key(&a->device, b->config.identity, 4, 0, key), IOTSEC_ERR_ARGUMENT);
    assert_int_equal(iotsec_peer_key(&a->device, b->config.identity, 4, 1, NULL), IOTSEC_ERR_ARGUMENT);
    assert_int_equal(iotsec_peer_key(&a->device, NULL, 4, 1, key), IOTSEC_ERR_NOT_FOUND);
    assert_int_equal(iotsec_peer_key(NULL, b->config.identity, 4, 1, key), IOTSEC_ERR_NOT_FOUND);
    assert_int_equal(iotsec_peer_key(&a->device, b->config.identity, 0, 1, key), IOTSEC_ERR_NOT_FOUND);
    open_between(a, c);
    assert_int_equal(iotsec_peer_key(&a->device, b->config.identity, 4, 1, keys[0]), IOTSEC_OK);
    assert_int_equal(iotsec_peer_key(&a->device, b->config.identity, 4, 2, keys[1]), IOTSEC_OK);
    assert_int_equal(iotsec_peer_key(&a->device, b->config.identity, 4, 255, keys[2]), IOTSEC_OK);
    assert_int_equal(iotsec_peer_key(&a->device, c->config.identity, 5, 1, keys[3]), IOTSEC_OK);
    assert_int_equal(iotsec_peer_key(&b->device, a->config.identity, 5, 255, key), IOTSEC_OK);
    assert_memory_equal(key, keys[2], sizeof key);
    assert_int_equal(iotsec_peer_key(&c->device, a->config.identity, 5, 1, key), IOTSEC_OK);
    assert_memory_equal(key, keys[3], sizeof key);
    bundle = pair_of(a, "beta")->csb;
    assert_memory_equal(&bundle, &pair_of(b, "alpha")->csb, sizeof bundle);
    /* the next session */
    assert_int_equal(iotsec_peer_close(&a->device, b->config.identity, 4), IOTSEC_OK);
    run(0);
    assert_int_equal(iotsec_peer_key(&b->device, a->config.identity, 5, 1, key), IOTSEC_ERR_NOT_FOUND);
    open_between(b, a);
    assert_int_not_equal(pair_of(a, "beta")->csb.csb_id, bundle.csb_id);
    assert_memory_not_equal(pair_of(a, "beta")->csb.rand, bundle.rand, sizeof bundle.rand);
    assert_memory_equal(&pair_of(a, "beta")->csb, &pair_of(b, "alpha")->csb, sizeof bundle);
    assert_int_equal(iotsec_peer_key(&a->device, b->config.identity, 4, 1, keys[4]), IOTSEC_OK);
    assert_int_equal(iotsec_peer_key(&b->device, a->config.identity, 5, 1, key), IOTSEC_OK);
    assert_memory_equal(key, keys[4], sizeof key);
    /* by the formula, from TGK, CSB_ID and RAND: the TGK is the pair's, whatever the session */
    {
        uint8_t psk[32];
        uint8_t tgk[16];
        const struct iotsec_pair *pair = pair_of(a, "beta");

        pair_keys(0, 1, "beta", "alpha", psk, tgk);
        assert_memory_equal(pair->csb.tgk, tgk, sizeof tgk);
        assert_int_equal(iotsec_csb_purpose_key(&w.base.hal, 1, pair->csb.csb_id, tgk, pair->csb.rand, keys[5]), IOTSEC_OK);
        assert_memory_equal(keys[5], keys[4], sizeof key);
    }
    for (i = 0; i < 5; i++) {
        for (j = 0; j < i; j++) {
            assert_memory_not_equal(keys[i], keys[j], sizeof key);
        }
    }
}

/* Neither text nor keys on the wire; and where they stay in memory after the session. */
static void secrets_stay_and_go(void **state)
{
    struct node *a = node(0);
    struct node *b = node(1);
    uint8_t psk[32];
    uint8_t tgk[16];
    unsigned i;

    (void)state;
    pair_keys(0, 1, "alpha", "beta", psk, tgk);
    w.lose = 2; /* something has to be repeated */
    assert_int_equal(say(a, b, "a secret text"), IOTSEC_OK);
    run(2000);
    assert_int_equal(say(b, a, "another secret text"), IOTSEC_OK);
    run(1000);
    assert_int_equal(a->heard_count + b->heard_count, 2);
    assert_true(occurs(a, sizeof *a, tgk, sizeof tgk)); /* the search finds something */
    assert_true(occurs(b, sizeof *b, tgk, sizeof tgk));
    for (i = 0; i < 2; i++) {
        struct node *n = node(i);

        memset(n->heard, 0, sizeof n->heard);
        assert_false(occurs(n, sizeof *n, psk, sizeof psk));
        assert_false(occurs(n->messages, sizeof n->messages, "secret text", 11));
    }
    assert_int_equal(iotsec_peer_close(&a->device, b->config.identity, 4), IOTSEC_OK);
    run(0);
    for (i = 0; i < 2; i++) {
        assert_false(occurs(node(i), sizeof *a, tgk, sizeof tgk));
        assert_false(occurs(node(i), sizeof *a, "secret text", 11));
    }
    assert_true(w.ether_len > 500);
    assert_false(occurs(w.ether, w.ether_len, psk, sizeof psk));
    assert_false(occurs(w.ether, w.ether_len, tgk, sizeof tgk));
    assert_false(occurs(w.ether, w.ether_len, "secret text", 11));
}

static void everything_is_wiped(void **state)
{
    static const struct {
        const char *what;
        int how;
    } rows[] = { { "wipe", 0 }, { "leave", 1 }, { "expelled", 2 }, { "leave a join", 3 } };
    uint8_t psk[32];
    uint8_t tgk[16];
    size_t i;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct node *a = node(0);
        struct node *b = node(1);
        struct iotsec_addr nowhere = address(50);

        start(1);
        pair_keys(0, 1, "alpha", "beta", psk, tgk);
        open_between(a, b);
        assert_int_equal(say_at(a, "gamma", &nowhere, "secret text"), IOTSEC_OK);
        assert_true(occurs(a, sizeof *a, tgk, sizeof tgk));
        if (rows[i].how == 0) {
            iotsec_device_wipe(&a->device);
        } else if (rows[i].how == 3) {
            nowhere = address(55);
            assert_int_equal(iotsec_join(&a->device, &nowhere, NULL, 0), IOTSEC_OK);
            assert_int_equal(iotsec_leave(&a->device), IOTSEC_OK);
        } else {
            join(a);
            if (rows[i].how == 1) {
                assert_int_equal(iotsec_leave(&a->device), IOTSEC_OK);
            } else {
                iotsec_dev_expelled(&a->device, IOTSEC_ERR_EVICTED);
            }
        }
        if (occurs(a, sizeof *a, tgk, sizeof tgk) || occurs(a, sizeof *a, "secret text", 11) ||
            occurs(a->shares, sizeof a->shares, w.polynomials[0][0][0], 16)) {
            fail_msg("%s", rows[i].what);
        }
        assert_int_equal(count_told(a, IOTSEC_DEVICE_PEER_CLOSED, NULL) + count_told(a, IOTSEC_DEVICE_PEER_FAILED, NULL), 0);
        if (rows[i].how != 0) {
            expect_nothing(node(2));
            assert_null(pair_of(a, "beta"));
            assert_null(pair_of(a, "gamma"));
            assert_int_equal(say(a, b, "x"), IOTSEC_ERR_NO_SHARE);
            run(100);
            expect_told(b, IOTSEC_DEVICE_PEER_CLOSED, IOTSEC_ERR_CLOSED, "alpha");
        } else {
            assert_int_equal(iotsec_device_init(&a->device, &a->config), IOTSEC_OK);
        }
    }
}

/* ---- The manager ---- */

/* Whatever other devices do, the manager's session is the manager's. */
static void the_managers_session_is_untouched(void **state)
{
    struct node *a = node(0);
    struct node *b = node(1);
    iotsec_dtls_handle session;
    uint16_t dropped;
    uint8_t status[] = { IOTSEC_KM_EVICTED, 1 };

    (void)state;
    join(a);
    session = a->device.session;
    open_between(a, b);
    /* key management from another device */
    dropped = a->device.stats.drops[IOTSEC_DROP_NOT_ALLOWED];
    assert_int_equal(iotsec_dtls_send(&b->device.dtls, pair_of(b, "alpha")->session, IOTSEC_CONTENT_SECURITY_PARAMETERS, status,
                                      sizeof status),
                     IOTSEC_OK);
    assert_int_equal(iotsec_dtls_send(&b->device.dtls, pair_of(b, "alpha")->session, IOTSEC_CONTENT_MASTER_KEY_DATA, status,
                                      sizeof status),
                     IOTSEC_OK);
    (void)iotsec_dtls_flush(&b->device.dtls);
    run(0);
    assert_int_equal(a->device.stats.drops[IOTSEC_DROP_NOT_ALLOWED], dropped + 2);
    assert_int_equal(a->told_count, 0);
    /* messages from the manager are no device's */
    assert_int_equal(iotsec_dtls_send(&w.rogue, w.rogue_session, IOTSEC_CONTENT_APPLICATION_DATA, (const uint8_t *)"x", 1),
                     IOTSEC_OK);
    (void)iotsec_dtls_flush(&w.rogue);
    run(0);
    assert_int_equal(a->device.stats.drops[IOTSEC_DROP_NOT_ALLOWED], dropped + 3);
    assert_int_equal(a->heard_count, 0);
    /* nothing is sent to a device at the manager's address */
    assert_int_equal(say_at(a, "gamma", &w.rogue_addr, "x"), IOTSEC_ERR_ARGUMENT);
    /* a member that takes the manager's address has no session, and the manager keeps its own */
    rogue_connect(a, "gamma");
    run(1000);
    assert_int_equal(a->device.session, session);
    assert_int_equal(iotsec_dtls_peer(&a->device.dtls, session, NULL, NULL), IOTSEC_OK);
    assert_null(pair_of(a, "gamma"));
    /* nor does it close with a pair's */
    assert_int_equal(iotsec_peer_close(&a->device, (const uint8_t *)"beta", 4), IOTSEC_OK);
    revoke(a, "beta");
    iotsec_dev_pairs_review(&a->device);
    iotsec_dev_pairs_forget(&a->device);
    run(1000);
    assert_int_equal(a->device.session, session);
    assert_int_equal(iotsec_dtls_peer(&a->device.dtls, session, NULL, NULL), IOTSEC_OK);
}

/* While it is not there, a member at its address must not have its place either. */
static void nobody_takes_the_managers_place(void **state)
{
    struct node *a = node(0);

    (void)state;
    a->device.manager = w.rogue_addr;
    rogue_connect(a, "gamma");
    run(1000);
    expect_told(a, IOTSEC_DEVICE_PEER_REFUSED, IOTSEC_ERR_EXISTS, "gamma");
    assert_int_equal(a->device.dtls.sessions_used, 0);
    assert_null(pair_of(a, "gamma"));
    join(a);
}

/* It was a member's before: nobody knew that the manager is, or will be, there. */
static void the_manager_gets_its_address(void **state)
{
    static const struct {
        const char *what;
        bool moved;     /* by iotsec_moved; else iotsec_join */
        bool session;   /* a session stands there; else one is tried */
        uint8_t policy; /* of Connection IDs */
        enum iotsec_status status;
    } rows[] = {
        { "joins at a session's address", false, true, IOTSEC_CONNECTION_ID_OFF, IOTSEC_OK },
        { "joins where one is tried", false, false, IOTSEC_CONNECTION_ID_OFF, IOTSEC_OK },
#if IOTSEC_ACCESS
        { "moves to a session's address", true, true, IOTSEC_CONNECTION_ID_OFF, IOTSEC_ERR_UNSUPPORTED },
        { "moves where one is tried", true, false, IOTSEC_CONNECTION_ID_OFF, IOTSEC_ERR_UNSUPPORTED },
#if IOTSEC_CONNECTION_ID
        { "moves to a session's address, with an ID", true, true, IOTSEC_CONNECTION_ID_ON, IOTSEC_OK },
#endif
#endif
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct iotsec_addr there = address(98);
        struct node *a = node(0);
        enum iotsec_status status;

        start(1);
        a->config.connection_id = w.rogue_config.connection_id = rows[i].policy;
        boot(a);
        give_shares(a, 1, false);
        if (rows[i].moved) {
            join(a);
        }
        w.rogue_addr = there;
        if (rows[i].session) {
            rogue_connect(a, "gamma");
            run(100);
            assert_non_null(pair_of(a, "gamma"));
        } else {
            assert_int_equal(say_at(a, "gamma", &there, "x"), IOTSEC_OK);
        }
        forget_told();
        w.is_manager = true;
#if IOTSEC_ACCESS
        if (rows[i].moved) {
            status = iotsec_moved(&a->device, &there);
        } else
#endif
        {
            status = iotsec_join(&a->device, &there, NULL, 0);
        }
        if (status != rows[i].status) {
            fail_msg("%s: %s", rows[i].what, iotsec_status_name(status));
        }
        (void)iotsec_poll(&a->device);
        expect_told(a, rows[i].session ? IOTSEC_DEVICE_PEER_CLOSED : IOTSEC_DEVICE_PEER_FAILED, IOTSEC_ERR_EXISTS, "gamma");
        assert_null(pair_of(a, "gamma"));
        if (rows[i].moved && status != IOTSEC_OK) {
            iotsec_dev_renew_session(&a->device); /* the next session is opened there */
        }
        run(2000);
        if (iotsec_dtls_find(&a->device.dtls, &there) != a->device.session || a->device.session == 0) {
            fail_msg("%s: not the manager's", rows[i].what);
        }
    }
}

static void pairs_outlive_the_managers_session(void **state)
{
    struct node *a = node(0);
    struct node *b = node(1);

    (void)state;
    join(a);
    open_between(a, b);
    assert_int_equal(iotsec_dtls_close(&w.rogue, w.rogue_session, IOTSEC_ALERT_CLOSE_NOTIFY), IOTSEC_OK);
    (void)iotsec_dtls_flush(&w.rogue);
    w.rogue_config.session_count = 4;
    run(100);
    assert_int_equal(count_told(a, IOTSEC_DEVICE_CONTACT_LOST, NULL), 1);
    assert_int_equal(count_told(a, IOTSEC_DEVICE_PEER_CLOSED, NULL), 0);
    assert_true(stands(a, b));
    assert_int_equal(say(b, a, "still"), IOTSEC_OK);
    run(0);
    expect_heard(a, 1, "beta", "still");
}

/* The hello again, with a cookie of 8 bytes. */
static size_t add_cookie(uint8_t *out, const uint8_t *hello, size_t len, const uint8_t cookie[8])
{
    const size_t at = 13 + 12 + 2 + 32 + 1; /* the cookie's length */

    assert_int_equal(hello[at], 0);
    memcpy(out, hello, at);
    out[at] = 8;
    memcpy(out + at + 1, cookie, 8);
    memcpy(out + at + 9, hello + at + 1, len - at - 1);
    iotsec_put_u16(out + 11, (uint16_t)(len + 8 - 13));      /* record */
    iotsec_put_u16(out + 13 + 2, (uint16_t)(len + 8 - 25));  /* message */
    iotsec_put_u16(out + 13 + 10, (uint16_t)(len + 8 - 25)); /* fragment */
    out[13 + 5] = 1;                                         /* message_seq */
    return len + 8;
}

/* Hellos from many addresses, all of which prove theirs, at every step of a join. */
static void a_flood_does_not_keep_the_manager_away(void **state)
{
    struct node *a = node(0);
    struct datagram hello;
    unsigned i;
    unsigned proved = 0;

    (void)state;
    a->config.handshake_count = 2;
    boot(a);
    give_shares(a, 1, false);
    w.says = "gamma";
    rogue_connect(a, "gamma");
    hello = w.queue[0];
    w.queued = 0;
    w.is_manager = true;
    for (i = 0; i < 60; i++) {
        struct datagram flood = hello;
        size_t n;

        if (i == 10) {
            assert_int_equal(iotsec_join(&a->device, &w.rogue_addr, NULL, 0), IOTSEC_OK);
        }
        flood.from = address((uint8_t)(100 + i));
        flood.data[13 + 12 + 2 + 31] = (uint8_t)i; /* another random */
        (void)iotsec_input(&a->device, &flood.from, &a->addr, flood.data, flood.len);
        for (n = 0; n < w.queued; n++) {
            if (iotsec_addr_equal(&w.queue[n].to, &flood.from) && w.queue[n].data[13] == IOTSEC_HS_HELLO_VERIFY_REQUEST) {
                uint8_t again[DATAGRAM];
                struct datagram first = hello;
                size_t len;

                first.data[13 + 12 + 2 + 31] = (uint8_t)i;
                len = add_cookie(again, first.data, first.len, w.queue[n].data + 13 + 12 + 3);
                (void)iotsec_input(&a->device, &flood.from, &a->addr, again, len);
                proved++;
                break;
            }
        }
        assert_true(a->device.dtls.half_open <= 1);
        if (w.queued != 0) {
            deliver(0);
        }
        run(i < 30 ? 0 : 50);
    }
    assert_true(proved > 20);
    run(1000);
    assert_int_equal(count_told(a, IOTSEC_DEVICE_JOINED, NULL), 1);
    assert_int_not_equal(a->device.session, 0);
    /* and its own handshakes with others have the slot after it */
    assert_int_equal(say(a, node(1), "x"), IOTSEC_OK);
    run(100);
    expect_heard(node(1), 1, "alpha", "x");
}

/* What an alert has made a device begin, anybody can keep from ending. It does not keep the slot from what somebody waits for. */
static void a_renewal_gives_its_slot_up(void **state)
{
    uint8_t alert[] = { 21, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 2, 10 };
    unsigned join;

    (void)state;
    for (join = 0; join < 2; join++) {
        struct node *a = node(0);
        struct node *b = node(1);
        struct iotsec_addr gone = address(60);

        start(1);
        a->config.handshake_count = 2;
        boot(a);
        give_shares(a, 1, false);
        open_between(a, b);
        run(10000);
        rogue_connect(a, "gamma");
        deliver(0); /* its hello has the place for strangers */
        a->handshakes[0].slot.flags |= HS_PROVED;
        w.queued = 0;
        assert_int_equal(a->device.dtls.half_open, 1);
        post(&b->addr, &a->addr, alert, sizeof alert);
        deliver(0);
        w.queued = 0;
        assert_int_not_equal(pair_of(a, "beta")->handshake, 0);
        forget_told();
        if (join == 1) {
            assert_int_equal(iotsec_join(&a->device, &gone, NULL, 0), IOTSEC_OK);
            assert_int_not_equal(a->device.handshake, 0);
        } else {
            assert_int_equal(say(a, node(2), "x"), IOTSEC_OK);
        }
        assert_int_equal(pair_of(a, "beta")->handshake, 0);
        assert_true(stands(a, b));
        assert_int_equal(a->told_count, 0);
    }
}

static void try_the_next(struct node *n, const struct iotsec_device_event *event)
{
    struct iotsec_addr gone = address(60);

    if (event->kind == IOTSEC_DEVICE_PEER_FAILED) {
        said = say_at(n, "gamma", &gone, "x");
    }
}

/* An application that goes on at once with a peer that does not answer, beside a stranger that keeps the other slot. */
static void the_manager_is_next(void **state)
{
    struct node *a = node(0);
    struct iotsec_addr gone = address(60);
    unsigned seconds;

    (void)state;
    a->config.handshake_count = 2;
    boot(a);
    give_shares(a, 1, false);
    a->on_event = try_the_next;
    rogue_connect(a, "gamma");
    deliver(0);
    a->handshakes[0].slot.flags |= HS_PROVED;
    iotsec_dtls_wipe(&w.rogue);
    assert_int_equal(iotsec_dtls_init(&w.rogue, &w.rogue_config), IOTSEC_OK);
    w.is_manager = true;
    assert_int_equal(say_at(a, "gamma", &gone, "x"), IOTSEC_OK);
    assert_int_equal(iotsec_join(&a->device, &w.rogue_addr, NULL, 0), IOTSEC_OK);
    for (seconds = 0; seconds < 50 && a->device.session == 0; seconds++) {
        a->handshakes[0].ends_at = w.base.now + IOTSEC_HANDSHAKE_TIMEOUT_MS; /* or another one in its place */
        run(1000);
        a->told_count = 0;
    }
    assert_int_equal(a->device.dtls.half_open, 1);
    assert_int_not_equal(a->device.session, 0);
    assert_int_equal(said, IOTSEC_ERR_AGAIN);
    assert_int_equal(say_at(a, "gamma", &gone, "x"), IOTSEC_OK);
}

/* ---- Callbacks that call back in ---- */

static void close_peer(struct node *n, const struct iotsec_peer *peer)
{
    uint8_t before[IOTSEC_IDENTITY_MAX];

    memcpy(before, peer->identity, peer->identity_len);
    said = iotsec_peer_close(&n->device, peer->identity, peer->identity_len);
    assert_memory_equal(before, peer->identity, peer->identity_len); /* valid during the callback */
}

static void leave_domain(struct node *n, const struct iotsec_peer *peer)
{
    (void)peer;
    n->device.state = DEVICE_JOINED;
    said = iotsec_leave(&n->device);
}

static void input_again(struct node *n, const struct iotsec_peer *peer)
{
    uint8_t byte[1] = { 0 };

    assert_int_equal(iotsec_input(&n->device, &peer->addr, &n->addr, byte, 1), IOTSEC_ERR_STATE);
    assert_int_equal(iotsec_poll(&n->device), UINT32_MAX);
    said = IOTSEC_OK;
}

static void callbacks_on_messages(void **state)
{
    static const struct {
        const char *what;
        void (*on_message)(struct node *n, const struct iotsec_peer *peer);
        bool stands; /* afterwards */
        bool replied;
    } rows[] = {
        { "answers", answer, true, true },
        { "closes", close_peer, false, false },
        { "leaves", leave_domain, false, false },
        { "feeds input", input_again, true, false },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct node *a = node(0);
        struct node *b = node(1);

        start(1);
        b->on_message = rows[i].on_message;
        said = IOTSEC_ERR_STATE;
        assert_int_equal(say(a, b, "x"), IOTSEC_OK);
        run(100);
        if (said != IOTSEC_OK || stands(b, a) != rows[i].stands || stands(a, b) != rows[i].stands ||
            a->heard_count != (rows[i].replied ? 1u : 0u) || b->heard_count != 1) {
            fail_msg("%s", rows[i].what);
        }
        assert_int_equal(count_told(a, IOTSEC_DEVICE_PEER_CLOSED, NULL), rows[i].stands ? 0 : 1);
    }
}

static enum iotsec_device_event_kind awaited;

static void close_on_event(struct node *n, const struct iotsec_device_event *event)
{
    if (event->kind == awaited) {
        close_peer(n, event->peer);
    }
}

static void send_on_event(struct node *n, const struct iotsec_device_event *event)
{
    if (event->kind == awaited) {
        said = iotsec_send(&n->device, event->peer, (const uint8_t *)"from event", 10);
    }
}

static void leave_on_event(struct node *n, const struct iotsec_device_event *event)
{
    if (event->kind == awaited) {
        leave_domain(n, event->peer);
        n->on_event = NULL;
    }
}

static void input_on_event(struct node *n, const struct iotsec_device_event *event)
{
    if (event->kind == awaited) {
        input_again(n, event->peer);
    }
}

static void close_all_on_event(struct node *n, const struct iotsec_device_event *event)
{
    if (event->kind == awaited) {
        said = iotsec_peer_close(&n->device, (const uint8_t *)"beta", 4);
        (void)iotsec_peer_close(&n->device, (const uint8_t *)"beta2", 5);
        (void)iotsec_peer_close(&n->device, (const uint8_t *)"gamma", 5);
    }
}

static void callbacks_on_open(void **state)
{
    struct node *a = node(0);
    struct node *b = node(1);

    (void)state;
    awaited = IOTSEC_DEVICE_PEER_OPEN;
    b->on_event = close_on_event;
    assert_int_equal(say(a, b, "x"), IOTSEC_OK);
    run(100);
    assert_int_equal(said, IOTSEC_OK);
    expect_nothing(a);
    expect_nothing(b);
    b->on_event = send_on_event;
    a->on_event = send_on_event;
    assert_int_equal(say(a, b, "x"), IOTSEC_OK);
    run(100);
    assert_int_equal(count_text(a, "from event") + count_text(b, "from event"), 2);
    assert_int_equal(count_text(b, "x"), 1);
    start(1);
    a->on_event = leave_on_event;
    assert_int_equal(say(a, b, "x"), IOTSEC_OK);
    run(1000);
    assert_int_equal(said, IOTSEC_OK);
    assert_false(stands(a, b) || stands(b, a));
}

static void callbacks_on_ends(void **state)
{
    struct node *a = node(0);
    struct node *b = node(1);
    struct iotsec_addr nowhere = address(50);

    (void)state;
    open_between(a, b);
    awaited = IOTSEC_DEVICE_PEER_CLOSED;
    a->on_event = send_on_event;
    assert_int_equal(iotsec_peer_close(&b->device, (const uint8_t *)"alpha", 5), IOTSEC_OK);
    run(1000);
    expect_heard(b, 1, "alpha", "from event");
    forget_told();
    awaited = IOTSEC_DEVICE_PEER_FAILED;
    assert_int_equal(say_at(a, "gamma", &nowhere, "x"), IOTSEC_OK);
    run(21000);
    assert_int_equal(said, IOTSEC_OK); /* and so on, as long as it likes */
    assert_non_null(pair_of(a, "gamma"));
    a->on_event = close_all_on_event;
    revoke(a, "gamma");
    iotsec_dev_pairs_review(&a->device);
    assert_int_equal(said, IOTSEC_OK);
    run(0);
    expect_told(b, IOTSEC_DEVICE_PEER_CLOSED, IOTSEC_ERR_CLOSED, "alpha");
    expect_nothing(a);
}

/* The callback of the one that makes room takes the room itself, sends to the newcomer, closes it, or leaves. */
static void callbacks_while_room_is_made(void **state)
{
    static const struct {
        const char *what;
        void (*on_event)(struct node *n, const struct iotsec_device_event *event);
        bool incoming;              /* the newcomer's own handshake; else our message to it */
        enum iotsec_status status;  /* of our message */
        const char *inside[2];      /* peers afterwards */
    } rows[] = {
        { "the room is taken, message", send_on_event, false, IOTSEC_ERR_FULL, { "beta", "beta2" } },
        { "the room is taken, handshake", send_on_event, true, IOTSEC_OK, { "beta", "beta2" } },
        { "all is closed, message", close_all_on_event, false, IOTSEC_OK, { "gamma", NULL } },
        { "all is closed, handshake", close_all_on_event, true, IOTSEC_OK, { "gamma", NULL } },
        { "feeds input, message", input_on_event, false, IOTSEC_OK, { "gamma", "beta2" } },
        { "leaves, message", leave_on_event, false, IOTSEC_ERR_NO_SHARE, { NULL, NULL } },
        { "leaves, handshake", leave_on_event, true, IOTSEC_OK, { NULL, NULL } },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct node *a = node(0);
        struct node *d = node(3);
        unsigned held;

        start(1);
        open_between(a, node(1));
        open_between(a, node(2));
        w.base.now += 5000;
        assert_int_equal(say(a, node(2), "x"), IOTSEC_OK);
        w.base.now += 6000; /* only beta has been silent for long */
        run(0);
        awaited = IOTSEC_DEVICE_PEER_CLOSED;
        a->on_event = rows[i].on_event;
        if (rows[i].incoming) {
            assert_int_equal(say(d, a, "new"), IOTSEC_OK);
            run(100);
        } else {
            enum iotsec_status status = say(a, d, "new");

            if (status != rows[i].status) {
                fail_msg("%s: %s", rows[i].what, iotsec_status_name(status));
            }
            a->on_event = NULL;
            run(100);
        }
        for (held = 0; held < 2; held++) {
            if (rows[i].inside[held] != NULL && pair_of(a, rows[i].inside[held]) == NULL) {
                fail_msg("%s: no %s", rows[i].what, rows[i].inside[held]);
            }
        }
        assert_int_equal((a->pairs[0].identity_len != 0) + (a->pairs[1].identity_len != 0),
                         (rows[i].inside[0] != NULL) + (rows[i].inside[1] != NULL));
        assert_true(a->device.dtls.sessions_used <= 2);
    }
}

static void callbacks_on_refusal(void **state)
{
    static const struct {
        const char *says;
        const char *identity;
    } rows[] = { { "alpha", "gamma" }, { "beta", "gamma" }, { NULL, "gamma" } };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct node *a = node(0);

        start(1);
        w.says = rows[i].says;
        open_between(a, node(1));
        awaited = IOTSEC_DEVICE_PEER_REFUSED;
        a->on_event = leave_on_event;
        said = IOTSEC_ERR_STATE;
        rogue_connect(a, rows[i].identity);
        run(30000);
        assert_int_equal(said, IOTSEC_OK);
        assert_int_equal(a->device.dtls.sessions_used, 0);
    }
}

#define TEST(function) cmocka_unit_test_setup(function, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_message_opens_a_session),
        TEST(an_identity_may_be_as_long_as_any),
        TEST(statuses_of_send),
        TEST(without_pairs_it_is_deaf),
        TEST(bad_configurations_are_refused),
        TEST(messages_wait_for_the_session),
        TEST(a_peer_that_is_not_there),
        TEST(without_a_share_hellos_are_lost),
        TEST(another_member_sits_there),
        TEST(rogue_clients_are_refused),
        TEST(rogue_servers_are_refused),
        TEST(a_share_changes_under_way),
        TEST(a_peer_is_revoked_under_way),
        TEST(malformed_hellos_are_refused),
        TEST(our_own_identity_is_reflected),
        TEST(generations_meet),
        TEST(both_begin_and_datagrams_are_lost),
        TEST(both_begin_and_datagrams_overtake),
        TEST(the_first_waits_for_the_second),
        TEST(it_begins_when_that_ends),
        TEST(it_does_not_wait_in_vain),
        TEST(a_hello_without_proof_is_forgotten),
        TEST(a_shorter_identity_is_first),
        TEST(an_idle_pair_makes_room),
        TEST(handshakes_keep_their_places),
        TEST(one_handshake_with_an_address),
        TEST(slots_of_handshakes_run_out),
        TEST(a_peer_is_restarted),
        TEST(a_peer_is_restarted_and_has_no_share),
        TEST(a_session_is_doubted_in_vain),
        TEST(a_doubt_is_no_end),
        TEST(a_doubted_session_ends),
        TEST(a_doubted_session_stays_where_it_is),
        TEST(strangers_are_told_once_a_second),
        TEST(idle_sessions_are_closed),
        TEST(forged_records_do_not_count_as_use),
        TEST(many_forgeries_are_told),
        TEST(statuses_of_close),
        TEST(a_session_ends_by_an_alert),
        TEST(it_closes_before_it_goes_down),
        TEST(revoked_peers_are_cut_off),
        TEST(both_of_a_revoked_peer_end),
        TEST(a_generation_ends),
        TEST(a_session_is_checked_when_it_begins),
        TEST(a_peer_comes_from_another_address),
        TEST(another_device_has_the_address_now),
        TEST(a_session_is_used_up),
        TEST(a_peer_is_tried_at_another_address),
        TEST(the_session_closes_while_another_is_tried),
#if IOTSEC_CONNECTION_ID
        TEST(a_session_with_a_connection_id),
#endif
        TEST(keys_of_purposes),
        TEST(secrets_stay_and_go),
        TEST(everything_is_wiped),
        TEST(the_managers_session_is_untouched),
        TEST(nobody_takes_the_managers_place),
        TEST(the_manager_gets_its_address),
        TEST(pairs_outlive_the_managers_session),
        TEST(a_flood_does_not_keep_the_manager_away),
        TEST(a_renewal_gives_its_slot_up),
        TEST(the_manager_is_next),
        TEST(callbacks_on_messages),
        TEST(callbacks_on_open),
        TEST(callbacks_on_ends),
        TEST(callbacks_while_room_is_made),
        TEST(callbacks_on_refusal),
    };

    return cmocka_run_group_tests_name("device pair", tests, NULL, NULL);
}

#else

int main(void)
{
    return 0;
}

#endif
