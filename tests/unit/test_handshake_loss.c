/* SPDX-License-Identifier: BSD-3-Clause */
/* Handshakes on a bad wire: loss, copies and disorder by seed, in virtual time. */
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

/* ---- Nobody uses a record number twice ---- */

static struct {
    uint8_t from;
    uint8_t epoch;
    uint32_t sequence;
} used[4096];
static size_t used_count;

static bool check_numbers(struct wire *w, struct datagram *d)
{
    size_t at = 0;

    (void)w;
    while (at + 13 <= d->len) {
        uint8_t epoch = d->data[at + 4];
        uint32_t sequence = iotsec_get_u32(d->data + at + 7);
        bool echo = d->data[at] == 22 && epoch == 0 && d->data[at + 13] == IOTSEC_HS_HELLO_VERIFY_REQUEST;
        size_t i;

        for (i = 0; i < used_count && !echo; i++) {
            if (used[i].from == d->from.ip[15] && used[i].epoch == epoch && used[i].sequence == sequence) {
                fail_msg("%u used epoch %u number %u twice", d->from.ip[15], epoch, (unsigned)sequence);
            }
        }
        if (!echo) {
            assert_true(used_count < sizeof used / sizeof used[0]);
            used[used_count].from = d->from.ip[15];
            used[used_count].epoch = epoch;
            used[used_count++].sequence = sequence;
        }
        at += 13u + iotsec_get_u16(d->data + at + 11);
    }
    return true;
}

static void assert_talk(void)
{
    wire.loss = wire.duplicate = 0;
    wire.filter = NULL;
    client.received = server.received = 0;
    assert_int_equal(iotsec_dtls_send(&client.dtls, client.info.session, 23, (const uint8_t *)"up", 2), IOTSEC_OK);
    assert_int_equal(iotsec_dtls_flush(&client.dtls), IOTSEC_OK);
    assert_int_equal(iotsec_dtls_send(&server.dtls, server.info.session, 23, (const uint8_t *)"down", 4), IOTSEC_OK);
    assert_int_equal(iotsec_dtls_flush(&server.dtls), IOTSEC_OK);
    wire_settle(&wire);
    assert_int_equal(client.received, 1);
    assert_int_equal(server.received, 1);
}

static void survives(void **state)
{
    unsigned seed;
    uint32_t worst = 0;

    (void)state;
    for (seed = 1; seed <= 500; seed++) {
        uint32_t start;

        wire_init(&wire, seed);
        end_init(&client, &wire, 1);
        end_init(&server, &wire, 2);
        wire.delay_ms = 10;
        wire.loss = (uint8_t)(seed % 5 * 10);
        wire.duplicate = (uint8_t)(seed % 3 * 15);
        wire.reorder_ms = seed % 4 * 100;
        used_count = 0;
        wire.filter = check_numbers;
        client.config.handshake_timeout_ms = server.config.half_open_timeout_ms = 120000;
        client.config.link_payload = server.config.link_payload = seed % 2 ? 95 : 0;
        server.config.cookie_policy = seed % 2 ? IOTSEC_COOKIE_ALWAYS : IOTSEC_COOKIE_OFF;
        client.config.suites = server.config.suites = IOTSEC_SUITE_CCM && seed % 7 == 0 ? 2 : 1;
        end_start(&client);
        end_start(&server);
        pair_connect(&client, &server);
        start = wire.now;
        while (client.established == 0 && wire.now - start < 100000) {
            wire_run(&wire, 10);
        }
        if (client.established != 1 || server.established < 1 || client.failed != 0) {
            fail_msg("seed %u: %u %u %s", seed, (unsigned)client.established, (unsigned)server.established,
                     iotsec_status_name(client.failed_reason));
        }
        if (wire.now - start > worst) {
            worst = wire.now - start;
        }
        wire_run(&wire, 2000); /* what is still on its way hurts nobody */
        assert_int_equal(client.established, 1);
        assert_int_equal(server.established, 1);
        assert_talk();
        assert_int_equal(client.forgeries + server.forgeries, 0);
        if (server.failed) fail_msg("seed %u: %u %s", seed, server.failed, iotsec_status_name(server.failed_reason));
    }
    print_message("slowest of 500: %u ms\n", (unsigned)worst);
}

/* Each single datagram lost once, and each lost twice. */
static unsigned lose_at;
static unsigned lose_until;
static unsigned sent_count;

static bool lose_some(struct wire *w, struct datagram *d)
{
    (void)w;
    (void)d;
    sent_count++;
    return sent_count <= lose_at || sent_count > lose_until;
}

static void survives_each_loss(void **state)
{
    unsigned link;
    unsigned at;
    unsigned run;

    (void)state;
    for (link = 0; link <= 95; link += 95) {
        for (at = 0; at < 8; at++) {
            for (run = 1; run <= 4; run++) {
                wire_init(&wire, 5);
                end_init(&client, &wire, 1);
                end_init(&server, &wire, 2);
                client.config.link_payload = server.config.link_payload = (uint16_t)link;
                server.config.cookie_policy = IOTSEC_COOKIE_ALWAYS;
                wire.filter = lose_some;
                wire.delay_ms = 5;
                sent_count = 0;
                lose_at = at;
                lose_until = at + run;
                end_start(&client);
                end_start(&server);
                pair_connect(&client, &server);
                wire_run(&wire, 6000);
                if (client.established != 1 || server.established != 1) {
                    fail_msg("link %u, datagrams %u to %u lost", link, at + 1, at + run);
                }
                assert_talk();
            }
        }
    }
}

/* Figures, not limits: what a join looks like to the draft's measure. */
static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static void joins_within_15_s(void **state)
{
    static const struct {
        uint8_t loss;
        unsigned at_least; /* of 200 */
    } rows[] = { { 0, 200 }, { 10, 200 }, { 30, 198 }, { 50, 160 } };
    static uint32_t took[200];
    size_t i;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        unsigned joined = 0;
        uint32_t datagrams = 0;
        unsigned seed;

        for (seed = 0; seed < 200; seed++) {
            wire_init(&wire, seed + 1000);
            end_init(&client, &wire, 1);
            end_init(&server, &wire, 2);
            wire.delay_ms = 10;
            wire.loss = rows[i].loss;
            server.config.cookie_policy = IOTSEC_COOKIE_ALWAYS;
            end_start(&client);
            end_start(&server);
            pair_connect(&client, &server);
            took[seed] = UINT32_MAX;
            while (client.established == 0 && wire.now < 16000) {
                wire_run(&wire, 5);
            }
            if (client.established != 0) {
                took[seed] = wire.now - 1000;
                joined++;
            }
            datagrams += client.sent_datagrams + server.sent_datagrams;
        }
        qsort(took, 200, sizeof took[0], compare);
        print_message("loss %2u %%: %u of 200 joined within 15 s, median %u ms, %u.%u datagrams\n", rows[i].loss, joined,
                      (unsigned)took[100], (unsigned)(datagrams / 200), (unsigned)(datagrams % 200 / 20));
        assert_true(joined >= rows[i].at_least);
    }
}

/* The server's last flight is lost; its handshake slot is gone; the client's repeated Finished brings it back. */
static void repeats_the_last_flight(void **state)
{
    uint32_t datagrams;
    uint8_t finished[DATAGRAM_MAX];
    size_t finished_len = 0;
    const struct datagram *d;
    uint32_t i;

    (void)state;
    pair_init(&wire, &client, &server, 9);
    pair_connect(&client, &server);
    (void)wire_step(&wire);
    (void)wire_step(&wire);
    d = wire_step(&wire); /* the client's last flight */
    finished_len = d->len;
    memcpy(finished, d->data, d->len);
    assert_int_equal(server.established, 1);
    assert_int_equal(client.established, 0);
    wire_clear(&wire);
    assert_int_equal(server.dtls.handshakes_used, 0);

    /* copies of the very same record: one repeat an interval */
    datagrams = server.sent_datagrams;
    for (i = 0; i < 50; i++) {
        wire.now += 10;
        wire_inject(&wire, &client.addr, &server.addr, finished, finished_len);
        (void)wire_step(&wire);
        wire_clear(&wire);
    }
    assert_int_equal(server.sent_datagrams, datagrams + 2);
    /* ClientKeyExchange alone asks for nothing */
    wire.now += 1000;
    wire_inject(&wire, &client.addr, &server.addr, finished, 42);
    (void)wire_step(&wire);
    assert_int_equal(server.sent_datagrams, datagrams + 2);
    assert_int_equal(server.dtls.stats.drops[IOTSEC_DROP_PLAINTEXT], 50 * 2 + 1);
    /* a forged one neither */
    finished[finished_len - 1] ^= 1;
    wire_inject(&wire, &client.addr, &server.addr, finished, finished_len);
    (void)wire_step(&wire);
    assert_int_equal(server.sent_datagrams, datagrams + 2);
    finished[finished_len - 1] ^= 1;
    /* the client repeats it by itself */
    wire_run(&wire, 1500);
    assert_int_equal(client.established, 1);
    assert_int_equal(server.established, 1);
    assert_talk();
    /* once the client has gone on, nobody can make the server repeat anything */
    datagrams = server.sent_datagrams;
    wire.now += 1000;
    wire_inject(&wire, &client.addr, &server.addr, finished, finished_len);
    (void)wire_step(&wire);
    assert_int_equal(server.sent_datagrams, datagrams);
    assert_true(server.dtls.stats.drops[IOTSEC_DROP_REPLAY] > 0);
}

/* Datagrams of a flight in every order. */
static void takes_every_order(void **state)
{
    static const uint8_t orders[6][3] = { { 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 }, { 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 } };
    size_t i;
    size_t j;

    (void)state;
    for (i = 0; i < 6; i++) {
        for (j = 0; j < 6; j++) {
            uint8_t flight[3][64];
            size_t lens[3] = { 42, 14, 53 };
            struct datagram d;
            size_t k;

            pair_init(&wire, &client, &server, 77);
            pair_connect(&client, &server);
            (void)wire_step(&wire);
            /* ServerHello and ServerHelloDone */
            d = *wire_peek(&wire);
            assert_int_equal(d.len, 99);
            wire_clear(&wire);
            wire_inject(&wire, &d.from, &d.to, d.data + (i % 2 ? 74 : 0), i % 2 ? 25 : 74);
            wire_inject(&wire, &d.from, &d.to, d.data + (i % 2 ? 0 : 74), i % 2 ? 74 : 25);
            (void)wire_step(&wire);
            (void)wire_step(&wire);
            /* ClientKeyExchange, ChangeCipherSpec, Finished */
            d = *wire_peek(&wire);
            assert_int_equal(d.len, 109);
            wire_clear(&wire);
            memcpy(flight[0], d.data, 42);
            memcpy(flight[1], d.data + 42, 14);
            memcpy(flight[2], d.data + 56, 53);
            for (k = 0; k < 3; k++) {
                wire_inject(&wire, &d.from, &d.to, flight[orders[j][k]], lens[orders[j][k]]);
            }
            wire_settle(&wire);
            assert_int_equal(server.established, 1);
            assert_int_equal(client.established, 1);
            assert_int_equal(client.sent_datagrams, 2);
        }
    }
}

/* ChangeCipherSpec lost for good, and one from nowhere. */
static bool drop_change_cipher_spec(struct wire *w, struct datagram *d)
{
    size_t at = 0;

    (void)w;
    while (at + 13 <= d->len) {
        size_t len = 13u + iotsec_get_u16(d->data + at + 11);

        if (d->data[at] == 20) {
            memmove(d->data + at, d->data + at + len, d->len - at - len);
            d->len -= len;
        } else {
            at += len;
        }
    }
    return true;
}

static void needs_no_change_cipher_spec(void **state)
{
    static const uint8_t ccs[14] = { 20, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 99, 0, 1, 1 };

    (void)state;
    pair_init(&wire, &client, &server, 4);
    wire.filter = drop_change_cipher_spec;
    pair_connect(&client, &server);
    wire_settle(&wire);
    assert_int_equal(client.established + server.established, 2);
    assert_talk();

    pair_init(&wire, &client, &server, 4);
    pair_connect(&client, &server);
    while (client.established == 0) {
        wire_inject(&wire, &server.addr, &client.addr, ccs, sizeof ccs);
        wire_inject(&wire, &client.addr, &server.addr, ccs, sizeof ccs);
        assert_non_null(wire_step(&wire));
        assert_true(wire.order < 100);
    }
    assert_int_equal(server.established, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(survives),
        cmocka_unit_test(survives_each_loss),
        cmocka_unit_test(joins_within_15_s),
        cmocka_unit_test(repeats_the_last_flight),
        cmocka_unit_test(takes_every_order),
        cmocka_unit_test(needs_no_change_cipher_spec),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

int main(void)
{
    return 0; /* a handshake takes two */
}

#endif
