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

static unsigned left_to_lose;

static bool lose_first(struct wire *w, struct datagram *d)
{
    (void)w;
    (void)d;
    return left_to_lose == 0 || left_to_lose-- == 0;
}

/* A HelloVerifyRequest names the copy of the hello that it answers: the last one measures, however many were lost. */
static void measures_with_the_last_copy(void **state)
{
    static const struct {
        const char *name;
        unsigned lost;
        uint32_t delay_ms;
        uint32_t least, most; /* the wait after it */
    } rows[] = {
        { "nothing lost", 0, 50, 300, 306 },
        { "three lost", 3, 50, 300, 306 },
        { "nothing lost, a short way", 0, 2, 200, 200 },
        { "an earlier copy answered: it doubles", 0, 250, 850, 850 },
        { "the second of three, behind a lost one: it doubles", 1, 250, 902, 902 },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct iotsec_dtls_handshake *hs = &client.handshakes[0];

        prepare();
        server.config.cookie_policy = IOTSEC_COOKIE_ALWAYS;
        wire.delay_ms = rows[i].delay_ms;
        wire.filter = lose_first;
        left_to_lose = rows[i].lost;
        start();
        pair_connect(&client, &server);
        while (hs->send_seq < 2 && wire.now < 10000) {
            wire_run(&wire, 1);
        }
        if (hs->retransmit_wait < rows[i].least || hs->retransmit_wait > rows[i].most) {
            fail_msg("%s: %u ms", rows[i].name, (unsigned)hs->retransmit_wait);
        }
        wire_run(&wire, 10000);
        assert_int_equal(client.established, 1);
    }
}

/* A link whose queue is 3 s long gets few copies. */
static void does_not_flood_a_slow_link(void **state)
{
    (void)state;
    prepare();
    server.config.cookie_policy = IOTSEC_COOKIE_ALWAYS;
    wire.delay_ms = 1500;
    start();
    pair_connect(&client, &server);
    wire_run(&wire, 15000);
    assert_int_equal(client.established, 1);
    assert_in_range(client.sent_datagrams, 3, 19); /* more without what the answers tell */
}

/* Refused Finished messages of an earlier try say nothing of this one's hello; what refuses the hello does. */
static void hears_what_can_be_an_answer(void **state)
{
    static const struct {
        uint8_t alert;
        enum iotsec_status reason; /* OK: it goes on */
    } rows[] = {
        { IOTSEC_ALERT_DECRYPT_ERROR, IOTSEC_OK },
        { IOTSEC_ALERT_BAD_RECORD_MAC, IOTSEC_OK },
        { IOTSEC_ALERT_HANDSHAKE_FAILURE, IOTSEC_ERR_NO_CIPHER },
        { IOTSEC_ALERT_PROTOCOL_VERSION, IOTSEC_ERR_VERSION },
        { IOTSEC_ALERT_ILLEGAL_PARAMETER, IOTSEC_ERR_PROTOCOL },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t alert[] = { 21, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 2, rows[i].alert };

        prepare();
        start();
        wire.loss = 100;
        pair_connect(&client, &server);
        wire.loss = 0;
        forge(alert, sizeof alert);
        wire.loss = 100;
        wire_run(&wire, 10000);
        wire.loss = 0;
        wire_run(&wire, 5000);
        if (client.failed_reason != rows[i].reason || client.established != (rows[i].reason == IOTSEC_OK)) {
            fail_msg("alert %u: %s", (unsigned)rows[i].alert, iotsec_status_name(client.failed_reason));
        }
    }
}

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
    assert_in_range(least, 352, 368);
    assert_in_range(most, 432, 448);
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
        cmocka_unit_test(measures_with_the_last_copy), cmocka_unit_test(does_not_flood_a_slow_link), cmocka_unit_test(hears_what_can_be_an_answer),
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
