/* SPDX-License-Identifier: BSD-3-Clause */
/* What somebody without the key can send, and what he does not get by it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "handshake/engine.h"
#include "pair.h"

#if IOTSEC_DTLS_CLIENT && IOTSEC_DTLS_SERVER

static struct wire wire;
static struct end client;
static struct end server;

static struct iotsec_dtls_handshake *half_open_of(const struct iotsec_addr *addr)
{
    struct iotsec_dtls_path path;

    iotsec_path_set(&path, addr);
    return iotsec_handshake_find(&server.dtls, &path, true);
}

static void prepare(void)
{
    wire_init(&wire, 1);
    end_init(&client, &wire, 1);
    end_init(&server, &wire, 2);
}

static void start(void)
{
    end_start(&client);
    end_start(&server);
}

static void establish(void)
{
    pair_connect(&client, &server);
    wire_settle(&wire);
    assert_int_equal(client.established, 1);
    assert_int_equal(server.established, 1);
}

static void send_text(struct end *from, const char *text)
{
    assert_int_equal(iotsec_dtls_send(&from->dtls, from->info.session, 23, (const uint8_t *)text, strlen(text)), IOTSEC_OK);
    assert_int_equal(iotsec_dtls_flush(&from->dtls), IOTSEC_OK);
}

static void assert_talk(void)
{
    wire.filter = NULL;
    client.received = server.received = 0;
    send_text(&client, "up");
    send_text(&server, "down");
    wire_settle(&wire);
    assert_int_equal(server.received, 1);
    assert_int_equal(client.received, 1);
}

/* ---- One changed datagram before each genuine one ---- */

/* Runs a handshake and hands in a changed copy of datagram `n` before it. Returns false when there is no such datagram. */
static bool with_changed(unsigned n, uint8_t cookie, void (*change)(struct datagram *d, size_t at), size_t at, size_t *len)
{
    unsigned i;

    prepare();
    server.config.cookie_policy = cookie;
    start();
    pair_connect(&client, &server);
    for (i = 0; i < n; i++) {
        if (wire_step(&wire) == NULL) {
            return false;
        }
    }
    if (wire_peek(&wire) == NULL) {
        return false;
    }
    {
        struct datagram genuine = *wire_peek(&wire);
        struct datagram changed = genuine;

        *len = genuine.len;
        if (at >= genuine.len * 8) {
            return true;
        }
        change(&changed, at);
        wire_clear(&wire);
        wire_inject(&wire, &changed.from, &changed.to, changed.data, changed.len);
        (void)wire_step(&wire);
        wire_inject(&wire, &genuine.from, &genuine.to, genuine.data, genuine.len);
    }
    wire_run(&wire, 12000);
    if (client.established != 1 || server.established < 1) {
        fail_msg("datagram %u, bit %u: client %s, server %s", n, (unsigned)at, iotsec_status_name(client.failed_reason),
                 iotsec_status_name(server.failed_reason));
    }
    assert_talk();
    return true;
}

static void flip_bit(struct datagram *d, size_t at)
{
    d->data[at / 8] ^= (uint8_t)(1u << (at & 7));
}

static void cut(struct datagram *d, size_t at)
{
    d->len = at / 8 > 0 ? at / 8 : 1;
}

static void set_ones(struct datagram *d, size_t at)
{
    d->data[at / 8] = 0xFF;
}

static void survives_every_change(void **state)
{
    unsigned n;
    uint8_t cookie;

    (void)state;
    for (cookie = 0; cookie <= 1; cookie++) {
        for (n = 0; n < 8; n++) {
            size_t len = 1;
            size_t at;

            for (at = 0; at < len * 8; at++) {
                if (!with_changed(n, cookie, flip_bit, at, &len)) {
                    break;
                }
                if (at % 8 == 0) {
                    (void)with_changed(n, cookie, cut, at, &len);
                    (void)with_changed(n, cookie, set_ones, at, &len);
                }
            }
        }
    }
}

static void survives_garbage(void **state)
{
    uint64_t random = 99;
    unsigned i;

    (void)state;
    prepare();
    start();
    establish();
    for (i = 0; i < 20000; i++) {
        uint8_t datagram[200];
        size_t len = 1 + (size_t)(wire_random(&random) % sizeof datagram);
        size_t j;
        const struct iotsec_addr *from = i % 3 == 0 ? &client.addr : &server.addr;
        const struct iotsec_addr *to = i % 3 == 0 ? &server.addr : &client.addr;
        struct iotsec_addr other = *from;

        other.port = (uint16_t)(other.port + i % 5);
        for (j = 0; j < len; j++) {
            datagram[j] = (uint8_t)(wire_random(&random) >> 30);
        }
        if (len >= 13 && i % 4 != 0) { /* something that parses as a record, with a message in it */
            datagram[0] = (uint8_t)(20 + i % 4);
            datagram[1] = 0xFE;
            datagram[2] = 0xFD;
            datagram[3] = 0;
            datagram[4] = i % 8 == 1;
            memset(datagram + 5, 0, 4);
            iotsec_put_u16(datagram + 11, (uint16_t)(len - 13));
            if (len >= 25 && datagram[0] == 22) {
                static const uint8_t types[] = { 0, 1, 2, 3, 4, 11, 12, 14, 16, 20, 99 };

                datagram[13] = types[wire_random(&random) % sizeof types];
                memset(datagram + 14, 0, 11);
                datagram[18] = (uint8_t)(wire_random(&random) % 4);
                datagram[16] = (uint8_t)(len - 25 + (i % 7 == 0 ? 30 : 0));
                datagram[24] = (uint8_t)(len - 25);
            }
        }
        wire_inject(&wire, &other, to, datagram, len);
        (void)wire_step(&wire);
        while (wire_step(&wire) != NULL) {
        }
        if (i % 500 == 0) {
            wire_run(&wire, 700);
        }
    }
    assert_int_equal(client.closed + server.closed, 0);
    assert_talk();
    /* and a new handshake still works once the half-open ones have gone */
    wire_run(&wire, 40000);
    pair_connect(&client, &server);
    wire_run(&wire, 5000);
    assert_int_equal(client.established, 2);
    assert_int_equal(server.established, 2);
    assert_talk();
}

/* ---- Alerts ---- */

static void inject_alerts(void)
{
    static const uint8_t descriptions[] = { 0, 10, 20, 40, 47, 49, 50, 51, 70, 80, 90, 110, 115 };
    size_t i;

    for (i = 0; i < sizeof descriptions; i++) {
        uint8_t alert[15] = { 21, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 1, 0, 0, 2, 2, 0 };

        alert[14] = descriptions[i];
        wire_inject(&wire, &server.addr, &client.addr, alert, sizeof alert);
        wire_inject(&wire, &client.addr, &server.addr, alert, sizeof alert);
        alert[13] = 1;
        wire_inject(&wire, &server.addr, &client.addr, alert, sizeof alert);
        while (wire_peek(&wire) != NULL && wire_peek(&wire)->len == sizeof alert) {
            (void)wire_step(&wire);
        }
    }
}

static void ignores_forged_alerts(void **state)
{
    unsigned i;

    (void)state;
    prepare();
    server.config.cookie_policy = IOTSEC_COOKIE_ALWAYS;
    start();
    pair_connect(&client, &server);
    for (i = 0; i < 6; i++) {
        struct datagram d = *wire_peek(&wire);

        wire_clear(&wire);
        inject_alerts();
        wire_inject(&wire, &d.from, &d.to, d.data, d.len);
        (void)wire_step(&wire);
        inject_alerts();
    }
    assert_int_equal(client.established, 1);
    assert_int_equal(server.established, 1);
    inject_alerts();
    assert_talk();
    assert_int_equal(client.closed + server.closed + client.failed + server.failed, 0);
}

/* A slow server, and alerts all the time: two rounds pass before it answers. */
static void waits_for_the_better_news(void **state)
{
    unsigned i;

    (void)state;
    prepare();
    start();
    wire.delay_ms = 700;
    pair_connect(&client, &server);
    for (i = 0; i < 40 && client.established == 0; i++) {
        uint8_t alert[15] = { 21, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 1, 0, 0, 2, 2, 40 };

        wire_inject(&wire, &server.addr, &client.addr, alert, sizeof alert);
        wire_run(&wire, 100);
    }
    assert_int_equal(client.established, 1);
    assert_int_equal(client.failed, 0);
    assert_talk();
}

/* ---- Wrong keys ---- */

static size_t seen_sizes[2][200];
static size_t seen_count[2];
static unsigned seen_run;
static unsigned plain_alerts;

static bool note(struct wire *w, struct datagram *d)
{
    (void)w;
    if (seen_count[seen_run] < 200) {
        seen_sizes[seen_run][seen_count[seen_run]++] = d->len;
    }
    if (d->from.ip[15] == 2 && d->data[0] == 21) {
        plain_alerts++;
        assert_int_equal(d->data[14], IOTSEC_ALERT_DECRYPT_ERROR);
    }
    return true;
}

static void names_a_wrong_psk(void **state)
{
    static const uint8_t other[16] = { 1, 2, 3 };
    uint32_t hashed[2];

    (void)state;
    for (seen_run = 0; seen_run < 2; seen_run++) {
        uint32_t begun;

        prepare();
        wire.filter = note;
        wire.delay_ms = 20;
        seen_count[seen_run] = 0;
        plain_alerts = 0;
        if (seen_run == 0) {
            server.psk = other;
        } else {
            server.psk_answer = IOTSEC_ERR_UNKNOWN_IDENTITY;
        }
        start();
        pair_connect(&client, &server);
        begun = wire.now;
        while (client.failed == 0 && wire.now - begun < 20000) {
            wire_run(&wire, 50);
        }
        assert_int_equal(client.failed_reason, IOTSEC_ERR_WRONG_PSK);
        assert_true(wire.now - begun < 10000);
        print_message("%s: named after %u ms and %u datagrams\n", seen_run == 0 ? "wrong PSK" : "unknown identity",
                      (unsigned)(wire.now - begun), (unsigned)seen_count[seen_run]);
        assert_true(plain_alerts >= 2);
        assert_int_equal(server.first_reason, seen_run == 0 ? IOTSEC_ERR_WRONG_PSK : IOTSEC_ERR_UNKNOWN_IDENTITY);
        assert_int_equal(server.established, 0);
        hashed[seen_run] = server.hashed;
        /* the half-open handshake stays until its deadline */
        assert_int_equal(server.dtls.half_open, 1);
        wire_run(&wire, 31000);
        assert_int_equal(server.dtls.half_open, 0);
        assert_int_equal(server.failed_reason, IOTSEC_ERR_TIMEOUT);
    }
    /* the wire does not tell one from the other, and neither does the work */
    assert_int_equal(seen_count[0], seen_count[1]);
    assert_memory_equal(seen_sizes[0], seen_sizes[1], seen_count[0] * sizeof seen_sizes[0][0]);
    assert_int_equal(hashed[0], hashed[1]);
}

/* Forged records of epoch 1 while the genuine Finished is on its way. */
static void keeps_the_half_open(void **state)
{
    uint8_t forged[53] = { 22, 0xFE, 0xFD, 0, 1, 0, 0, 0, 0, 0, 0, 0, 40 };
    struct datagram d;
    unsigned i;

    (void)state;
    prepare();
    start();
    pair_connect(&client, &server);
    (void)wire_step(&wire);
    (void)wire_step(&wire);
    d = *wire_peek(&wire);
    wire_clear(&wire);
    /* before the keys: one is held and found wrong later */
    wire_inject(&wire, &d.from, &d.to, forged, sizeof forged);
    (void)wire_step(&wire);
    assert_int_equal(server.handshakes[0].held_len, sizeof forged);
    wire_inject(&wire, &d.from, &d.to, d.data, 42);
    (void)wire_step(&wire);
    assert_int_equal(server.failed, 1);
    assert_int_equal(server.failed_reason, IOTSEC_ERR_WRONG_PSK);
    wire_clear(&wire);
    /* with the keys: `failed` has been told, and an alert leaves at most once an interval */
    server.sent_datagrams = 0;
    for (i = 0; i < 100; i++) {
        wire.now += 5;
        wire_inject(&wire, &d.from, &d.to, forged, sizeof forged);
        (void)wire_step(&wire);
        wire_clear(&wire);
    }
    assert_int_equal(server.failed, 1);
    assert_true(server.sent_datagrams <= 2);
    /* the genuine one */
    wire_inject(&wire, &d.from, &d.to, d.data + 42, d.len - 42);
    wire_settle(&wire);
    assert_int_equal(server.established, 1);
    assert_int_equal(client.established, 1);
    assert_int_equal(server.dtls.stats.drops[IOTSEC_DROP_AUTH], 101);
}

/* ---- Cookies and amplification ---- */

static uint32_t wire_bytes[3];

static bool count_bytes(struct wire *w, struct datagram *d)
{
    (void)w;
    wire_bytes[d->from.ip[15]] += (uint32_t)d->len;
    return true;
}

/* The address is spoofed: its owner never asked, and nothing gets through to it. */
static bool count_and_lose(struct wire *w, struct datagram *d)
{
    (void)count_bytes(w, d);
    return d->from.ip[15] == 1;
}

/* Whoever spoofs an address makes the server send at most three times what he sends himself. */
static void amplifies_little(void **state)
{
    unsigned kind;

    (void)state;
    for (kind = 0; kind < 7; kind++) {
        struct datagram hello;
        struct datagram last;
        uint32_t in = 0;
        unsigned i;

        prepare();
        server.config.cookie_policy = kind == 5 ? IOTSEC_COOKIE_ALWAYS : IOTSEC_COOKIE_OFF;
        wire.filter = kind == 6 ? count_and_lose : count_bytes;
        memset(wire_bytes, 0, sizeof wire_bytes);
        start();
        pair_connect(&client, &server);
        hello = *wire_peek(&wire);
        wire_clear(&wire);
        client.poll_never = true;
        wire_bytes[1] = wire_bytes[2] = 0;
        memset(&last, 0, sizeof last);
        for (i = 0; i < 30; i++) {
            struct datagram d = hello;

            if (kind == 6 && i == 5) {
                break; /* few enough that the flight goes on as far as it may */
            }
            if (kind == 1 || kind == 6) {
                d.data[13 + 12 + 2 + 5] = (uint8_t)i; /* another random each time */
            } else if (kind == 2 && i != 0) { /* a guess at ClientKeyExchange, and forged Finished after it */
                static const uint8_t exchange[29] = { 16, 0, 0, 17, 0, 1, 0, 0, 0, 0, 0, 17, 0, 15 };
                memset(&d.data, 0, 64);
                d.data[0] = 22;
                d.data[1] = 0xFE;
                d.data[2] = 0xFD;
                d.data[4] = i > 1;
                d.data[12] = i > 1 ? 40 : 29;
                d.len = i > 1 ? 53 : 42;
                if (i == 1) {
                    memcpy(d.data + 13, exchange, sizeof exchange);
                }
            } else if (kind == 3) { /* no suite that we know */
                d.data[13 + 50] = 0;
                d.data[13 + 32] = (uint8_t)i;
            } else if (kind == 4 && i != 0) {
                d.len = 20;
            }
            in += (uint32_t)d.len;
            wire_inject(&wire, &d.from, &d.to, d.data, d.len);
            (void)wire_step(&wire);
            wire_run(&wire, 300);
            if (wire_bytes[2] > 3 * in) {
                fail_msg("kind %u: %u bytes for %u", kind, (unsigned)wire_bytes[2], (unsigned)in);
            }
        }
        in = 3 * in;
        wire_run(&wire, 60000);
        assert_true(wire_bytes[2] <= in);
        assert_int_equal(server.dtls.handshakes_used, 0);
    }
    /* a single hello: the flight goes out twice at most */
    prepare();
    wire.filter = count_bytes;
    memset(wire_bytes, 0, sizeof wire_bytes);
    start();
    pair_connect(&client, &server);
    client.poll_never = true;
    {
        struct datagram hello = *wire_peek(&wire);

        wire_clear(&wire);
        wire_bytes[1] = 0;
        wire_inject(&wire, &hello.from, &hello.to, hello.data, hello.len);
        (void)wire_step(&wire);
        wire_clear(&wire);
        server.wire = &wire;
        for (; wire.now < 40000; wire.now += 100) {
            (void)iotsec_dtls_poll(&server.dtls);
            wire_clear(&wire);
        }
        assert_true(wire_bytes[2] <= 3 * hello.len);
        assert_true(wire_bytes[2] >= 2 * 99);
        assert_true(server.dtls.stats.drops[IOTSEC_DROP_AMPLIFICATION] > 0);
    }
}

static void keeps_no_state_before_a_cookie(void **state)
{
    struct datagram hello;
    struct datagram request;
    struct datagram second;
    struct datagram d;
    struct iotsec_addr other;

    (void)state;
    prepare();
    server.config.cookie_policy = IOTSEC_COOKIE_ALWAYS;
    start();
    /* the hello's record has number 1: a request echoes it */
    pair_connect(&client, &server);
    wire_clear(&wire);
    wire.now += 600;
    (void)iotsec_dtls_poll(&client.dtls);
    hello = *wire_peek(&wire);
    assert_int_equal(hello.data[10], 1);
    (void)wire_step(&wire);
    assert_int_equal(server.dtls.handshakes_used, 0);
    request = *wire_peek(&wire);
    assert_int_equal(request.len, 36);
    assert_memory_equal(request.data, "\x16\xFE\xFF\x00\x00\x00\x00\x00\x00\x00\x01\x00\x17", 13);
    assert_memory_equal(request.data + 13, "\x03\x00\x00\x0B\x00\x00\x00\x00\x00\x00\x00\x0B\xFE\xFF\x08", 15);
    (void)wire_step(&wire);
    second = *wire_peek(&wire);
    assert_int_equal(second.len, hello.len + 8);
    assert_int_equal(second.data[18], 1); /* message_seq */
    assert_memory_equal(second.data + 13 + 12 + 2 + 32 + 2, request.data + 28, 8);
    wire_clear(&wire);

    /* from another address it counts nothing */
    other = client.addr;
    other.port++;
    wire_inject(&wire, &other, &server.addr, second.data, second.len);
    (void)wire_step(&wire);
    assert_int_equal(server.dtls.handshakes_used, 0);
    assert_int_equal(server.dtls.stats.drops[IOTSEC_DROP_COOKIE], 1);
    assert_int_equal(wire_peek(&wire)->len, 36);
    wire_clear(&wire);
    /* with any bit of the hello or of the cookie changed neither */
    {
        size_t bit;

        for (bit = (13 + 12 + 2) * 8; bit < second.len * 8; bit++) {
            d = second;
            d.data[bit / 8] ^= (uint8_t)(1u << (bit & 7));
            wire_inject(&wire, &client.addr, &server.addr, d.data, d.len);
            (void)wire_step(&wire);
            wire_clear(&wire);
            if (server.dtls.handshakes_used != 0) {
                fail_msg("bit %u", (unsigned)bit);
            }
        }
    }
    /* a fragment cannot be checked */
    d = second;
    d.data[12] = 12 + 40;
    d.data[24] = 40;
    wire_inject(&wire, &client.addr, &server.addr, d.data, 13 + 12 + 40);
    (void)wire_step(&wire);
    assert_int_equal(server.dtls.handshakes_used, 0);
    assert_null(wire_peek(&wire));
    /* it lives for a period and at most two */
    wire.now += 65536;
    wire_inject(&wire, &client.addr, &server.addr, second.data, second.len);
    (void)wire_step(&wire);
    assert_int_equal(server.dtls.handshakes_used, 1);
    assert_int_equal(server.handshakes[0].slot.flags & HS_PROVED, HS_PROVED);
    wire_clear(&wire);
    assert_int_equal(iotsec_dtls_cancel(&server.dtls, server.handshakes[0].slot.handle), IOTSEC_OK);
    wire.now += 65536;
    wire_inject(&wire, &client.addr, &server.addr, second.data, second.len);
    (void)wire_step(&wire);
    assert_int_equal(server.dtls.handshakes_used, 0);
}

/* A client copes with a server that forgets its cookie secret. */
static void takes_a_second_request(void **state)
{
    struct datagram d;

    (void)state;
    prepare();
    server.config.cookie_policy = IOTSEC_COOKIE_ALWAYS;
    start();
    pair_connect(&client, &server);
    (void)wire_step(&wire);
    d = *wire_peek(&wire);
    (void)wire_step(&wire);
    /* the same request again changes nothing */
    wire_inject(&wire, &d.from, &d.to, d.data, d.len);
    server.dtls.cookie_secret[0] ^= 1;
    wire_settle(&wire);
    assert_int_equal(client.dtls.stats.drops[IOTSEC_DROP_REPLAY], 1);
    assert_int_equal(client.established, 1);
    assert_int_equal(server.established, 1);
    assert_talk();
}

static void asks_for_a_cookie_under_load(void **state)
{
    static const struct {
        uint8_t policy;
        uint16_t threshold;
        unsigned free; /* hellos that are served without a cookie, of 4 slots */
    } rows[] = {
        /* 1 */ { IOTSEC_COOKIE_OFF, 0, 4 },
        /* 2 */ { IOTSEC_COOKIE_ALWAYS, 0, 0 },
        /* 3 */ { IOTSEC_COOKIE_UNDER_LOAD, 0, 3 },
        /* 4 */ { IOTSEC_COOKIE_UNDER_LOAD, 1, 2 },
        /* 5 */ { IOTSEC_COOKIE_WHILE_BUSY, 0, 1 },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct datagram hello;
        unsigned n;

        prepare();
        server.config.cookie_policy = rows[i].policy;
        server.config.cookie_threshold = rows[i].threshold;
        start();
        pair_connect(&client, &server);
        hello = *wire_peek(&wire);
        for (n = 0; n < 6; n++) {
            wire_clear(&wire);
            hello.from.port = (uint16_t)(100 + n);
            wire_inject(&wire, &hello.from, &hello.to, hello.data, hello.len);
            (void)wire_step(&wire);
            if ((wire_peek(&wire)->len == 36) != (n >= rows[i].free)) {
                fail_msg("row %u, hello %u", (unsigned)i + 1, n);
            }
            wire.now += 10;
        }
        assert_int_equal(server.dtls.half_open, rows[i].free);
    }
}

/* A full pool: who has a cookie takes the place of the oldest who has none. */
static void replaces_the_oldest_unproved(void **state)
{
    struct datagram hello;
    unsigned n;

    (void)state;
    prepare();
    start();
    pair_connect(&client, &server);
    hello = *wire_peek(&wire);
    wire_clear(&wire);
    assert_int_equal(iotsec_dtls_cancel(&client.dtls, client.handshakes[0].slot.handle), IOTSEC_OK);
    for (n = 0; n < 4; n++) {
        hello.from.port = (uint16_t)(100 + n);
        wire_inject(&wire, &hello.from, &hello.to, hello.data, hello.len);
        (void)wire_step(&wire);
        wire_clear(&wire);
        wire.now += 10;
    }
    assert_int_equal(server.dtls.half_open, 4);
    hello.from.port = 100;
    assert_non_null(half_open_of(&hello.from));
    establish();
    assert_null(half_open_of(&hello.from));
    hello.from.port = 101;
    assert_non_null(half_open_of(&hello.from));
    assert_int_equal(server.dtls.half_open, 3);
    assert_int_equal(server.failed, 0); /* the application had not heard of it */

    /* all of them proved: then there is no room, and the client learns it */
    prepare();
    server.config.handshake_count = 1;
    server.config.cookie_policy = IOTSEC_COOKIE_ALWAYS;
    server.psk_answer = IOTSEC_ERR_PENDING;
    start();
    {
        static struct end second;

        end_init(&second, &wire, 3);
        end_start(&second);
        pair_connect(&client, &server);
        wire_settle(&wire);
        assert_int_equal(server.asked, 1);
        pair_connect(&second, &server);
        wire_run(&wire, 6000);
        assert_int_equal(second.failed, 1);
        assert_int_equal(second.failed_reason, IOTSEC_ERR_RESOURCES);
        assert_true(server.dtls.stats.drops[IOTSEC_DROP_NO_ROOM] > 0);
    }
    assert_int_equal(server.dtls.half_open, 1);
    assert_int_equal(client.failed, 0);
}

/* A new client behind the address of a half-open handshake. */
static void replaces_a_half_open(void **state)
{
    struct datagram first;

    (void)state;
    prepare();
    start();
    pair_connect(&client, &server);
    first = *wire_peek(&wire);
    (void)wire_step(&wire);
    wire_clear(&wire);
    assert_int_equal(server.dtls.half_open, 1);
    /* the device restarts: another random */
    assert_int_equal(iotsec_dtls_cancel(&client.dtls, client.handshakes[0].slot.handle), IOTSEC_OK);
    pair_connect(&client, &server);
    (void)wire_step(&wire);
    assert_int_equal(wire_peek(&wire)->len, 36); /* even with cookies off */
    wire_settle(&wire);
    assert_int_equal(client.established, 1);
    assert_int_equal(server.established, 1);
    assert_int_equal(server.dtls.half_open, 0);
    assert_talk();
    /* the hello that made the session, once more from the network: nothing */
    {
        uint32_t datagrams = server.sent_datagrams;

        first.data[13 + 12 + 2] ^= 0; /* this one is another handshake's: it has to earn a cookie */
        wire_inject(&wire, &first.from, &first.to, first.data, first.len);
        (void)wire_step(&wire);
        assert_int_equal(server.sent_datagrams, datagrams + 1);
        assert_int_equal(wire_peek(&wire)->len, 36);
        assert_int_equal(server.dtls.half_open, 0);
    }
}

/* Copies of the hello: one answer an interval. */
static void answers_copies_slowly(void **state)
{
    struct datagram hello;
    unsigned i;

    (void)state;
    prepare();
    start();
    pair_connect(&client, &server);
    hello = *wire_peek(&wire);
    (void)wire_step(&wire);
    for (i = 0; i < 19; i++) {
        wire.now += 10;
        wire_inject(&wire, &hello.from, &hello.to, hello.data, hello.len);
        (void)iotsec_dtls_input(&server.dtls, &hello.from, hello.data, hello.len);
    }
    assert_int_equal(server.sent_datagrams, 1);
    wire.now += 20;
    (void)iotsec_dtls_input(&server.dtls, &hello.from, hello.data, hello.len);
    assert_int_equal(server.sent_datagrams, 2);
    assert_int_equal(server.dtls.half_open, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(survives_every_change),
        cmocka_unit_test(survives_garbage),
        cmocka_unit_test(ignores_forged_alerts),
        cmocka_unit_test(waits_for_the_better_news),
        cmocka_unit_test(names_a_wrong_psk),
        cmocka_unit_test(keeps_the_half_open),
        cmocka_unit_test(amplifies_little),
        cmocka_unit_test(keeps_no_state_before_a_cookie),
        cmocka_unit_test(takes_a_second_request),
        cmocka_unit_test(asks_for_a_cookie_under_load),
        cmocka_unit_test(replaces_the_oldest_unproved),
        cmocka_unit_test(replaces_a_half_open),
        cmocka_unit_test(answers_copies_slowly),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

int main(void)
{
    return 0; /* a handshake takes two */
}

#endif
