/* SPDX-License-Identifier: BSD-3-Clause */
/* What brings a handshake back on its way: after forgeries that were taken for genuine, after a restart of the peer. */
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

static void forge(const uint8_t *data, size_t len)
{
    wire_inject(&wire, &server.addr, &client.addr, data, len);
    wire_settle(&wire);
}

/* ---- A peer that starts again ---- */

/* 28 random bytes after four of a clock that starts with the device (RFC 5246, section 7.4.1.2): the same at each start. */
static int random_after_clock(void *user, uint8_t *out, size_t len)
{
    static uint8_t next;

    (void)user;
    memset(out, next, len);
    memset(out, 0, len < 4 ? len : 4);
    next++;
    return 0;
}

static void takes_a_hello_with_the_same_clock(void **state)
{
    unsigned i;

    (void)state;
    prepare();
    client.hal.random = random_after_clock;
    start();
    for (i = 1; i <= 3; i++) {
        pair_connect(&client, &server);
        wire_run(&wire, 3000);
        assert_int_equal(client.established, i);
        assert_int_equal(server.established, i);
        end_start(&client); /* the device restarts and has forgotten all */
    }
}

/* ---- Forgeries ---- */

/* More HelloVerifyRequests than a client follows, each with another cookie. */
static void survives_a_burst_of_requests(void **state)
{
    uint8_t request[13 + 12 + 3 + 8] = { 22, 0xFE, 0xFF, 0, 0, 0, 0, 0, 0, 0, 0, 0, 23, 3, 0, 0, 11, 0, 0, 0, 0, 0, 0, 0, 11, 0xFE, 0xFF, 8 };
    uint8_t policy;
    unsigned i;

    (void)state;
    for (policy = IOTSEC_COOKIE_OFF; policy <= IOTSEC_COOKIE_ALWAYS; policy++) {
        prepare();
        server.config.cookie_policy = policy;
        start();
        pair_connect(&client, &server);
        wire_clear(&wire);
        for (i = 0; i < 40; i++) {
            request[sizeof request - 1] = (uint8_t)i;
            (void)iotsec_dtls_input(&client.dtls, &server.addr, request, sizeof request);
            wire_clear(&wire);
        }
        assert_true(client.sent_datagrams <= HELLO_SEQ_MAX + 1);
        wire_run(&wire, 5000);
        assert_int_equal(client.established, 1);
        assert_int_equal(server.established, 1);
    }
}

/* A ServerHello, alone or with its Done, in front of the server's HelloVerifyRequest. */
static void survives_a_forged_server_hello(void **state)
{
    static const uint8_t forged[] = {
        22, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12 + 38 + 11, /* */
        2, 0, 0, 49, 0, 0, 0, 0, 0, 0, 0, 49, 0xFE, 0xFD, /* */
        1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, /* */
        0, 0xC0, 0xA8, 0, 0, 9, 0, 23, 0, 0, 0xFF, 0x01, 0, 1, 0, /* */
        22, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 1, 0, 12, /* */
        14, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0,
    };
    uint8_t copy[sizeof forged];
    uint8_t manager;
    uint8_t done;

    (void)state;
    for (manager = 0; manager <= 1; manager++) {
        for (done = 0; done <= 1; done++) {
            prepare();
            server.config.cookie_policy = IOTSEC_COOKIE_ALWAYS;
            client.config.key_management = manager;
            start();
            pair_connect(&client, &server);
            memcpy(copy, forged, sizeof copy);
            assert_int_equal(iotsec_dtls_input(&client.dtls, &server.addr, copy, done ? sizeof copy : sizeof copy - 25), IOTSEC_OK);
            assert_int_equal(client.handshakes[0].slot.state, done ? HS_CLIENT_SENT_FINISHED : HS_CLIENT_GOT_HELLO);
            wire_run(&wire, 5000);
            assert_int_equal(client.established, 1);
            assert_int_equal(server.established, 1);
            assert_int_equal(client.failed, 0);
        }
    }
}

/* A ServerKeyExchange where the server has its Done, sent before either. */
static void survives_a_forged_key_exchange(void **state)
{
    static const uint8_t forged[] = { 22, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 9, 0, 14, 12, 0, 0, 2, 0, 1, 0, 0, 0, 0, 0, 2, 0, 0 };
    uint8_t copy[sizeof forged];

    (void)state;
    prepare();
    start();
    pair_connect(&client, &server);
    memcpy(copy, forged, sizeof copy);
    assert_int_equal(iotsec_dtls_input(&client.dtls, &server.addr, copy, sizeof copy), IOTSEC_OK);
    wire_run(&wire, 5000);
    assert_int_equal(client.failed, 0);
    assert_int_equal(client.established, 1);
    assert_int_equal(server.established, 1);
}

/* A server takes long to answer; one forged alert is no reason to give it up. */
static void needs_more_than_one_late_alert(void **state)
{
    static const uint8_t alert[] = { 21, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 2, 40 };

    (void)state;
    /* while the look-up is pending */
    prepare();
    server.psk_answer = IOTSEC_ERR_PENDING;
    start();
    pair_connect(&client, &server);
    wire_run(&wire, 4000);
    forge(alert, sizeof alert);
    wire_run(&wire, 1200);
    server.psk_answer = IOTSEC_OK;
    wire_run(&wire, 5000);
    assert_int_equal(client.failed, 0);
    assert_int_equal(client.established, 1);

    /* before it answers the hello */
    prepare();
    start();
    wire.loss = 100;
    pair_connect(&client, &server);
    wire_run(&wire, 4000);
    forge(alert, sizeof alert);
    wire_run(&wire, 1200);
    wire.loss = 0;
    wire_run(&wire, 5000);
    assert_int_equal(client.failed, 0);
    assert_int_equal(client.established, 1);
}

/* ---- Timers ---- */

/* Repeats of those that started together do not stay together. */
static void spreads_repeats(void **state)
{
    uint32_t least = UINT32_MAX;
    uint32_t most = 0;
    unsigned i;

    (void)state;
    prepare();
    start();
    for (i = 0; i < 200; i++) {
        iotsec_dtls_handle handle = pair_connect(&client, &server);
        uint32_t wait = client.handshakes[0].retransmit_at - wire.now;

        wire_clear(&wire);
        least = wait < least ? wait : least;
        most = wait > most ? wait : most;
        assert_int_equal(iotsec_dtls_cancel(&client.dtls, handle), IOTSEC_OK);
    }
    assert_in_range(least, 440, 460);
    assert_in_range(most, 540, 560);
}

/* Time is compared modulo 2^32: half of it is as far as anything can lie ahead. */
static void refuses_times_too_far_ahead(void **state)
{
    (void)state;
    prepare();
    server.config.idle_timeout_ms = 0x7FFFFFFF;
    assert_int_equal(iotsec_dtls_init(&server.dtls, &server.config), IOTSEC_OK);
    server.config.idle_timeout_ms = 0x80000000;
    assert_int_equal(iotsec_dtls_init(&server.dtls, &server.config), IOTSEC_ERR_ARGUMENT);
    server.config.idle_timeout_ms = 0;
    server.config.half_open_timeout_ms = 0x80000000;
    assert_int_equal(iotsec_dtls_init(&server.dtls, &server.config), IOTSEC_ERR_ARGUMENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_a_hello_with_the_same_clock), cmocka_unit_test(survives_a_burst_of_requests),
        cmocka_unit_test(survives_a_forged_server_hello),    cmocka_unit_test(survives_a_forged_key_exchange),
        cmocka_unit_test(needs_more_than_one_late_alert),
        cmocka_unit_test(spreads_repeats),                   cmocka_unit_test(refuses_times_too_far_ahead),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

int main(void)
{
    return 0; /* a handshake takes two */
}

#endif
