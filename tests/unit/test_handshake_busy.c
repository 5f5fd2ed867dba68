/* SPDX-License-Identifier: BSD-3-Clause */
/* A server that has enough to do, or no slot left: whom it does not answer, and whom it answers otherwise. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "handshake/engine.h"
#include "pair.h"

#if IOTSEC_DTLS_CLIENT && IOTSEC_DTLS_SERVER

#define SLOTS 8u
#define BEGUN_WHEN_BUSY (4u + SLOTS / 16u + 1u)
#define ALERT_BYTES 15u /* a plaintext alert's record */
#define REQUEST_BYTES 36u

static struct wire wire;
static struct end client;
static struct end server;
static struct iotsec_dtls_handshake many[SLOTS];
static struct datagram hello;

static void prepare(uint8_t policy, uint16_t slots)
{
    wire_init(&wire, 1);
    end_init(&client, &wire, 1);
    end_init(&server, &wire, 2);
    server.config.handshakes = many;
    server.config.handshake_count = slots;
    server.config.cookie_policy = policy;
    end_start(&client);
    end_start(&server);
    pair_connect(&client, &server);
    hello = *wire_peek(&wire);
    wire_clear(&wire);
}

/* The first hello of a client at another port. Bytes of the answer, 0: none. */
static size_t say_hello(unsigned n)
{
    size_t answer;

    hello.from.port = (uint16_t)(100 + n);
    wire_inject(&wire, &hello.from, &hello.to, hello.data, hello.len);
    (void)wire_step(&wire);
    answer = wire_peek(&wire) != NULL ? wire_peek(&wire)->len : 0;
    wire_clear(&wire);
    wire.now += 10;
    return answer;
}

static void finish(void)
{
    iotsec_dtls_wipe(&client.dtls);
    iotsec_dtls_wipe(&server.dtls);
}

static void begins_few_while_busy(void **state)
{
    static const struct {
        const char *name;
        uint8_t policy;
        uint32_t first_wait;
        unsigned begun; /* of SLOTS hellos; then they get */
        size_t answer;  /* so many bytes */
    } rows[] = {
        { "nothing to do", IOTSEC_COOKIE_OFF, 0, SLOTS - 1, 0 },
        { "nothing to do, cookies when half full", IOTSEC_COOKIE_UNDER_LOAD, 0, SLOTS / 2 + 1, REQUEST_BYTES },
        { "busy", IOTSEC_COOKIE_OFF, 1600, BEGUN_WHEN_BUSY, 0 },
        { "busy, cookies when half full", IOTSEC_COOKIE_UNDER_LOAD, 1600, BEGUN_WHEN_BUSY, 0 },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        unsigned n;

        prepare(rows[i].policy, SLOTS);
        server.dtls.first_wait = rows[i].first_wait;
        for (n = 0; n + 1 < SLOTS; n++) {
            size_t answer = say_hello(n);

            if (n < rows[i].begun ? answer <= REQUEST_BYTES : answer != rows[i].answer) {
                fail_msg("%s: hello %u is answered with %zu bytes", rows[i].name, n, answer);
            }
        }
        assert_int_equal(server.dtls.half_open, rows[i].begun);
        assert_int_equal(server.dtls.stats.drops[IOTSEC_DROP_NO_ROOM],
                         rows[i].first_wait != 0 ? SLOTS - 1 - rows[i].begun : 0);
        /* who has begun goes on: its hello, repeated, is answered again */
        wire.now += 1000;
        assert_true(say_hello(0) > REQUEST_BYTES);
        /* the flights of those who began while it was busy wait longer for their repeats */
        assert_int_equal(many[0].retransmit_wait, rows[i].first_wait != 0 ? rows[i].first_wait : IOTSEC_RETRANSMIT_INITIAL_MS);
        server.dtls.first_wait = 0;
        if (rows[i].first_wait != 0 && rows[i].policy == IOTSEC_COOKIE_OFF) {
            assert_true(say_hello(99) > REQUEST_BYTES); /* and then it has time again */
        }
        finish();
    }
}

/* Without a slot a cookie is of no use to anybody: the client learns at once that there is no room. */
static void asks_for_no_cookie_in_vain(void **state)
{
    static struct end other;

    (void)state;
    prepare(IOTSEC_COOKIE_ALWAYS, 1);
    server.psk_answer = IOTSEC_ERR_PENDING;
    assert_int_equal(say_hello(0), REQUEST_BYTES);
    end_init(&other, &wire, 3);
    end_start(&other);
    pair_connect(&other, &server);
    wire_settle(&wire);
    assert_int_equal(server.dtls.half_open, 1);
    assert_true((many[0].slot.flags & HS_PROVED) != 0);
    assert_int_equal(say_hello(1), ALERT_BYTES);
    assert_int_equal(server.dtls.stats.drops[IOTSEC_DROP_NO_ROOM], 1);
    iotsec_dtls_wipe(&other.dtls);
    finish();

    /* one that has proved nothing makes room for who does: then a cookie is of use */
    prepare(IOTSEC_COOKIE_OFF, 1);
    assert_true(say_hello(0) > REQUEST_BYTES);
    server.config.cookie_policy = IOTSEC_COOKIE_ALWAYS;
    assert_int_equal(say_hello(1), REQUEST_BYTES);
    finish();
}

/* Whoever only writes addresses into hellos has, at each of them, the place of one that could have begun. He may keep the others
 * waiting, as a full link does, but not out. */
static void keeps_nobody_out_who_answers(void **state)
{
    static const struct {
        const char *name;
        uint8_t policy;
        unsigned flood; /* hellos a second */
    } rows[] = {
        { "as many as it takes", IOTSEC_COOKIE_OFF, 0 },
        { "on and on", IOTSEC_COOKIE_OFF, 20 },
        { "on and on, cookies when half full", IOTSEC_COOKIE_UNDER_LOAD, 20 },
        { "on and on, cookies while one is half open", IOTSEC_COOKIE_WHILE_BUSY, 20 },
        { "on and on, cookies always", IOTSEC_COOKIE_ALWAYS, 20 },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        unsigned n;
        unsigned tenth;

        prepare(rows[i].policy, SLOTS);
        server.dtls.first_wait = 1600;
        for (n = 0; n < BEGUN_WHEN_BUSY; n++) {
            (void)say_hello(n);
        }
        for (tenth = 0; tenth < 150 && client.established == 0; tenth++) {
            unsigned k;

            for (k = 0; k < rows[i].flood / 10; k++) {
                hello.from.port = (uint16_t)(100 + n++);
                wire_inject(&wire, &hello.from, &hello.to, hello.data, hello.len);
            }
            wire_run(&wire, 100);
        }
        if (client.established == 0) {
            fail_msg("%s: it is kept out, %u half open", rows[i].name, server.dtls.half_open);
        }
        assert_true(server.dtls.half_open <= BEGUN_WHEN_BUSY);
        finish();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(begins_few_while_busy),
        cmocka_unit_test(keeps_nobody_out_who_answers),
        cmocka_unit_test(asks_for_no_cookie_in_vain),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

int main(void)
{
    return 0;
}

#endif
