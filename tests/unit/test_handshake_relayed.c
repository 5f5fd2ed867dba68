/* SPDX-License-Identifier: BSD-3-Clause */
/* Clients behind a stateless relay (docs/protocol.md, section 12): kept apart, bounded, answered in kind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "handshake/engine.h"
#include "pair.h"

#if IOTSEC_DTLS_CLIENT && IOTSEC_DTLS_SERVER && IOTSEC_RELAYED

static struct wire wire;
static struct end client;
static struct end server;
static struct end third;
static struct pair_relay relay;

static void prepare(void)
{
    wire_init(&wire, 1);
    end_init(&client, &wire, 1);
    end_init(&server, &wire, 2);
    end_init(&third, &wire, 3);
    server.config.relayed = 1;
    relay_init(&relay, &wire, 9, &server);
    relay.joiners[0] = &client;
    relay.joiners[1] = &third;
    relay.header_len[0] = relay.header_len[1] = 21;
}

static void start(void)
{
    end_start(&client);
    end_start(&server);
    end_start(&third);
}

static void send_on(struct end *from, iotsec_dtls_handle session, const char *text)
{
    assert_int_equal(iotsec_dtls_send(&from->dtls, session, 23, (const uint8_t *)text, strlen(text)), IOTSEC_OK);
    assert_int_equal(iotsec_dtls_flush(&from->dtls), IOTSEC_OK);
}

static void assert_talk(struct end *end, iotsec_dtls_handle session)
{
    end->received = server.received = 0;
    send_on(end, end->info.session, "up");
    wire_settle(&wire);
    assert_int_equal(server.received, 1);
    send_on(&server, session, "down");
    wire_settle(&wire);
    assert_int_equal(end->received, 1);
    assert_memory_equal(end->data, "down", 4);
}

static void headers_of_every_length(void **state)
{
    static const uint8_t policies[] = { IOTSEC_COOKIE_OFF, IOTSEC_COOKIE_ALWAYS };
    size_t len;
    size_t p;

    (void)state;
    for (p = 0; p < 2; p++) {
        for (len = 0; len <= IOTSEC_RELAY_HEADER_MAX + 1; len++) {
            struct iotsec_addr addr;

            prepare();
            server.config.cookie_policy = policies[p];
            relay.joiners[1] = NULL;
            relay.header_len[0] = len;
            start();
            pair_connect_to(&client, &relay.addr);
            wire_run(&wire, 3000);
            if (len > IOTSEC_RELAY_HEADER_MAX) {
                assert_int_equal(client.established, 0);
                assert_true(server.dtls.stats.drops[IOTSEC_DROP_RELAY] > 1);
                assert_int_equal(server.sent_datagrams, 0);
                continue;
            }
            assert_int_equal(client.established, 1);
            assert_int_equal(server.info.relayed, 1);
            assert_int_equal(client.info.relayed, 0);
            assert_int_equal(iotsec_dtls_peer(&server.dtls, server.info.session, &addr, NULL), IOTSEC_OK);
            assert_true(iotsec_addr_equal(&addr, &relay.addr));
            assert_int_equal(iotsec_dtls_find(&server.dtls, &relay.addr), 0); /* not at the relay's own address */
            assert_talk(&client, server.info.session);
            assert_int_equal(end_drops(&server) + end_drops(&client), 0);
        }
    }
}

static void two_behind_one_relay_are_two(void **state)
{
    iotsec_dtls_handle sessions[2];

    (void)state;
    prepare();
    start();
    pair_connect_to(&client, &relay.addr);
    pair_connect_to(&third, &relay.addr); /* at the same time */
    wire_settle(&wire);
    assert_int_equal(client.established, 1);
    assert_int_equal(third.established, 1);
    assert_int_equal(server.established, 2);
    assert_int_equal(server.dtls.sessions_used, 2);
    sessions[0] = server.sessions[server.sessions[0].path.header[0] == 1 ? 0 : 1].slot.handle;
    sessions[1] = server.sessions[server.sessions[0].path.header[0] == 1 ? 1 : 0].slot.handle;
    assert_talk(&client, sessions[0]);
    assert_talk(&third, sessions[1]);
    assert_talk(&client, sessions[0]);
    /* the first goes, the second stays */
    assert_int_equal(iotsec_dtls_close(&client.dtls, client.info.session, 0), IOTSEC_OK);
    assert_int_equal(iotsec_dtls_flush(&client.dtls), IOTSEC_OK);
    wire_settle(&wire);
    assert_int_equal(server.dtls.sessions_used, 1);
    assert_talk(&third, sessions[1]);
    /* a hello of the relay's own, from the same address, is somebody else's */
    {
        struct iotsec_addr was = client.addr;

        client.addr = relay.addr;
        relay.joiners[0] = NULL;
        wire.filter = NULL;
        pair_connect(&client, &server);
        wire_settle(&wire);
        assert_int_equal(client.established, 2);
        assert_int_equal(server.info.relayed, 0);
        assert_int_equal(server.info.replaced, 0);
        assert_int_equal(server.dtls.sessions_used, 2);
        client.addr = was;
    }
}

static void wrapped_where_it_is_not_wanted(void **state)
{
    (void)state;
    prepare();
    server.config.relayed = 0;
    start();
    pair_connect_to(&client, &relay.addr);
    wire_run(&wire, 3000);
    assert_int_equal(server.sent_datagrams, 0);
    assert_true(server.dtls.stats.drops[IOTSEC_DROP_RELAY] > 1);
    assert_int_equal(end_drops(&server), server.dtls.stats.drops[IOTSEC_DROP_RELAY]);
}

/* What is in the wrapping must be DTLS: no second wrapping, nothing else. */
static void other_content_is_dropped(void **state)
{
    static const uint8_t first[] = { 0, 19, 64, 0x80, 0x82, 0x97, 0xFF };
    struct datagram hello;
    uint8_t out[DATAGRAM_MAX];
    uint8_t again[DATAGRAM_MAX];
    size_t len;
    size_t i;

    (void)state;
    prepare();
    start();
    relay.stopped = true;
    wire.filter = NULL;
    pair_connect(&client, &server);
    hello = *wire_peek(&wire);
    wire_clear(&wire);
    for (i = 0; i < sizeof first; i++) {
        hello.data[0] = first[i];
        len = relay_wrap(out, 1, 21, hello.data, hello.len);
        wire_inject(&wire, &relay.addr, &server.addr, out, len);
        (void)wire_step(&wire);
        assert_int_equal(server.dtls.stats.drops[IOTSEC_DROP_RELAY], i + 1);
    }
    hello.data[0] = 22;
    len = relay_wrap(again, 1, 21, hello.data, hello.len);
    len = relay_wrap(out, 1, 21, again, len);
    wire_inject(&wire, &relay.addr, &server.addr, out, len);
    len = relay_wrap(out, 1, 21, hello.data, hello.len);
    wire_inject(&wire, &relay.addr, &server.addr, out, len - 1); /* cut off */
    wire_inject(&wire, &relay.addr, &server.addr, out, 1);
    out[len] = 0; /* something behind */
    wire_inject(&wire, &relay.addr, &server.addr, out, len + 1);
    out[0] = 0x80;
    wire_inject(&wire, &relay.addr, &server.addr, out, len);
    out[0] = 0x97;
    wire_inject(&wire, &relay.addr, &server.addr, out, len);
    wire_settle(&wire);
    assert_int_equal(server.dtls.stats.drops[IOTSEC_DROP_RELAY], sizeof first + 6);
    assert_int_equal(end_drops(&server), sizeof first + 6);
    assert_int_equal(server.sent_datagrams, 0);
    out[0] = 0x82;
    wire_inject(&wire, &relay.addr, &server.addr, out, len);
    (void)wire_step(&wire);
    assert_int_equal(server.sent_datagrams, 1);
}

static void a_cookie_is_of_one_header(void **state)
{
    struct datagram hello;
    uint8_t plain[DATAGRAM_MAX];
    uint8_t out[DATAGRAM_MAX];
    size_t len;
    unsigned row;

    (void)state;
    for (row = 0; row < 4; row++) {
        uint16_t refused;

        prepare();
        server.config.cookie_policy = IOTSEC_COOKIE_ALWAYS;
        start();
        pair_connect_to(&client, &relay.addr);
        (void)wire_step(&wire); /* hello */
        (void)wire_step(&wire); /* its cookie; the second hello stands on the wire */
        assert_int_equal(server.dtls.half_open, 0);
        hello = *wire_peek(&wire);
        wire_clear(&wire);
        assert_int_equal(hello.data[0], 0x82);
        len = hello.len - (2 + 21 + 2);
        memcpy(plain, hello.data + 25, len);
        if (row == 0) {
            wire_inject(&wire, &relay.addr, &server.addr, hello.data, hello.len);
        } else if (row == 1) {
            len = relay_wrap(out, 2, 21, plain, len); /* another joiner's header */
            wire_inject(&wire, &relay.addr, &server.addr, out, len);
        } else if (row == 2) {
            wire_inject(&wire, &relay.addr, &server.addr, plain, len); /* none: the relay itself */
        } else {
            len = relay_wrap(out, 1, 20, plain, len); /* a shorter one */
            wire_inject(&wire, &relay.addr, &server.addr, out, len);
        }
        (void)wire_step(&wire);
        refused = server.dtls.stats.drops[IOTSEC_DROP_COOKIE];
        assert_int_equal(refused, row != 0);
        assert_int_equal(server.dtls.half_open, row == 0);
    }
}

/* A hello of its own for each header; client's handshake is not kept. */
static void send_hello(uint8_t fill, bool through_relay)
{
    struct datagram hello;
    uint8_t out[DATAGRAM_MAX];
    size_t len;

    pair_connect(&client, &server);
    hello = *wire_peek(&wire);
    wire_clear(&wire);
    assert_int_equal(iotsec_dtls_cancel(&client.dtls, client.handshakes[0].slot.handle), IOTSEC_OK);
    if (through_relay) {
        len = relay_wrap(out, fill, 21, hello.data, hello.len);
        wire_inject(&wire, &relay.addr, &server.addr, out, len);
    } else {
        hello.from = relay.addr; /* its own business */
        wire_inject(&wire, &hello.from, &server.addr, hello.data, hello.len);
    }
    (void)wire_step(&wire);
    wire.now++;
}

static unsigned half_open_behind(void)
{
    unsigned n = 0;
    unsigned i;

    for (i = 0; i < END_HANDSHAKES; i++) {
        n += server.handshakes[i].slot.state != HS_FREE && server.handshakes[i].path.relayed != 0;
    }
    return n;
}

static void one_relay_has_its_share(void **state)
{
    static const struct {
        uint16_t setting;
        uint16_t count;
        unsigned share;
    } rows[] = { { 0, 4, 2 }, { 0, 1, 1 }, { 3, 4, 3 }, { 1, 4, 1 } };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct datagram answer;
        unsigned n;

        prepare();
        server.config.relay_handshakes = rows[i].setting;
        server.config.handshake_count = rows[i].count;
        start();
        wire.filter = NULL;
        if (rows[i].share < rows[i].count) {
            send_hello(1, false); /* the oldest of all */
        }
        for (n = 0; n < 6; n++) {
            wire_clear(&wire);
            send_hello((uint8_t)(100 + n), true);
            assert_int_equal(half_open_behind(), n + 1 < rows[i].share ? n + 1 : rows[i].share);
        }
        /* what came last got a cookie, which costs nothing */
        answer = *wire_peek(&wire);
        assert_int_equal(answer.data[25 + 13], IOTSEC_HS_HELLO_VERIFY_REQUEST);
        /* what the relay does for itself counts no more than what others do */
        assert_int_equal(server.dtls.half_open, rows[i].share + (rows[i].share < rows[i].count));
        /* who has the cookie takes the place of the oldest of the same relay, and of no other */
        wire_clear(&wire);
        wire.now += 10;
        relay_init(&relay, &wire, 9, &server);
        relay.joiners[0] = &client;
        relay.header_len[0] = 21;
        pair_connect_to(&client, &relay.addr);
        wire_settle(&wire);
        assert_int_equal(client.established, 1);
        assert_int_equal(half_open_behind(), rows[i].share - 1);
        assert_int_equal(server.dtls.half_open, rows[i].share - 1 + (rows[i].share < rows[i].count));
        assert_int_equal(server.dtls.stats.drops[IOTSEC_DROP_RELAY], 0);
    }
}

/* When all of a relay's have a cookie, the next is dropped, though the pool has room. */
static void a_share_of_proved_ones_is_full(void **state)
{
    unsigned n;

    (void)state;
    prepare();
    server.config.cookie_policy = IOTSEC_COOKIE_ALWAYS;
    server.psk_answer = IOTSEC_ERR_PENDING; /* they stay half open */
    start();
    for (n = 0; n < 3; n++) {
        client.addr.ip[15] = (uint8_t)(100 + n); /* the header */
        pair_connect_to(&client, &relay.addr);
        wire_settle(&wire);
        assert_int_equal(iotsec_dtls_cancel(&client.dtls, client.handshakes[0].slot.handle), IOTSEC_OK);
        assert_int_equal(server.dtls.half_open, n < 2 ? n + 1 : 2);
        assert_int_equal(server.dtls.stats.drops[IOTSEC_DROP_RELAY], n < 2 ? 0 : 1);
    }
    assert_int_equal(server.dtls.stats.drops[IOTSEC_DROP_NO_ROOM], 0);
    /* a plain one and one behind another relay get in */
    wire.filter = NULL;
    client.addr.ip[15] = 1;
    pair_connect(&client, &server);
    wire_settle(&wire);
    assert_int_equal(server.dtls.half_open, 3);
    relay_init(&relay, &wire, 10, &server);
    relay.joiners[0] = &third;
    relay.header_len[0] = 21;
    pair_connect_to(&third, &relay.addr);
    wire_settle(&wire);
    assert_int_equal(server.dtls.half_open, 4);
}

/* The wrapping counts for the link payload and for the room in tx; the content alone for the limit of three. */
static void the_wrapping_needs_room(void **state)
{
    static uint8_t big[DATAGRAM_MAX];
    size_t most;
    size_t before;

    (void)state;
    prepare();
    relay.header_len[0] = 32;
    relay.joiners[1] = NULL;
    start();
    pair_connect_to(&client, &relay.addr);
    wire_settle(&wire);
    assert_int_equal(client.established, 1);
    assert_talk(&client, server.info.session);
    most = server.config.tx_size - IOTSEC_UNICAST_OVERHEAD_CCM_8_BYTES - (1 + 2 + 32 + 3);
    assert_int_equal(iotsec_dtls_send(&server.dtls, server.info.session, 23, big, most + 1), IOTSEC_ERR_TOO_LONG);
    client.received = 0;
    before = server.sent_bytes;
    assert_int_equal(iotsec_dtls_send(&server.dtls, server.info.session, 23, big, most), IOTSEC_OK);
    assert_int_equal(iotsec_dtls_flush(&server.dtls), IOTSEC_OK);
    assert_int_equal(server.sent_bytes - before, server.config.tx_size);
    wire_settle(&wire);
    assert_int_equal(client.received, 1);

    /* two records of 60 bytes go into 158 with the wrapping, and not into 157 */
    prepare();
    relay.header_len[0] = 32;
    relay.joiners[1] = NULL;
    server.config.link_payload = 2 * 60 + 38;
    start();
    pair_connect_to(&client, &relay.addr);
    wire_settle(&wire);
    assert_int_equal(client.established, 1);
    assert_talk(&client, server.info.session);
    for (most = 31; most <= 32; most++) {
        before = server.sent_datagrams;
        assert_int_equal(iotsec_dtls_send(&server.dtls, server.info.session, 23, big, 31), IOTSEC_OK);
        assert_int_equal(iotsec_dtls_send(&server.dtls, server.info.session, 23, big, most), IOTSEC_OK);
        assert_int_equal(iotsec_dtls_flush(&server.dtls), IOTSEC_OK);
        assert_int_equal(server.sent_datagrams - before, most - 30);
        wire_settle(&wire);
    }
}

/* Sealed records for the session and for a new handshake of the same path: tried with both keys, as ever. */
static void joining_again_through_the_relay(void **state)
{
    (void)state;
    prepare();
    start();
    pair_connect_to(&client, &relay.addr);
    wire_settle(&wire);
    client.received = 0;
    iotsec_dtls_wipe(&client.dtls);
    end_start(&client);
    pair_connect_to(&client, &relay.addr);
    wire_run(&wire, 5000);
    assert_int_equal(client.established, 2);
    assert_int_equal(server.established, 2);
    assert_true(server.info.replaced != 0);
    assert_int_equal(server.dtls.sessions_used, 1);
    assert_talk(&client, server.info.session);
}

static void losses_are_made_good(void **state)
{
    uint64_t seed;
    unsigned done = 0;

    (void)state;
    for (seed = 1; seed <= 40; seed++) {
        prepare();
        wire.random = seed;
        wire.loss = 30;
        wire.delay_ms = 10;
        wire.reorder_ms = 30;
        client.config.connection_id = server.config.connection_id = IOTSEC_CONNECTION_ID_LINK_LOCAL;
        start();
        pair_connect_to(&client, &relay.addr);
        wire_run(&wire, 19000);
        if (client.established == 1) {
            done++;
            wire.loss = 0;
            wire_run(&wire, 5000);
            assert_int_equal(server.established, 1);
            assert_talk(&client, server.info.session);
        }
    }
    assert_true(done >= 38);
}

#if IOTSEC_CONNECTION_ID
static int moves;

static void move_it(struct end *end, iotsec_dtls_handle session)
{
    moves += iotsec_dtls_moved(&end->dtls, session) && iotsec_dtls_move(&end->dtls, session) == IOTSEC_OK;
}

/* What this is all for: a join through the relay, and then the manager's own address from the device's own. */
static void a_join_goes_on_without_the_relay(void **state)
{
    iotsec_dtls_handle session;
    struct iotsec_addr at;

    (void)state;
    prepare();
    client.config.connection_id = server.config.connection_id = IOTSEC_CONNECTION_ID_LINK_LOCAL;
    server.addr.ip[0] = 0x20;
    relay_init(&relay, &wire, 9, &server);
    relay.addr.ip[0] = 0xFE;
    relay.joiners[0] = &client;
    relay.header_len[0] = 21;
    start();
    pair_connect_to(&client, &relay.addr);
    wire_settle(&wire);
    assert_int_equal(client.established, 1);
    assert_int_equal(server.info.connection_id, 1);
    session = server.info.session;
    assert_talk(&client, session);
    moves = 0;
    server.on_receive = move_it;
    client.addr.ip[0] = 0x20;
    assert_int_equal(iotsec_dtls_readdress(&client.dtls, client.info.session, &server.addr), IOTSEC_OK);
    assert_talk(&client, session);
    assert_int_equal(moves, 1);
    assert_int_equal(iotsec_dtls_find(&server.dtls, &client.addr), session);
    /* back again, if the way is gone */
    client.addr.ip[0] = 0xFE;
    assert_int_equal(iotsec_dtls_readdress(&client.dtls, client.info.session, &relay.addr), IOTSEC_OK);
    assert_talk(&client, session);
    assert_int_equal(moves, 2);
    assert_int_equal(iotsec_dtls_find(&server.dtls, &client.addr), 0);
    assert_int_equal(iotsec_dtls_peer(&server.dtls, session, &at, NULL), IOTSEC_OK);
    assert_true(iotsec_addr_equal(&at, &relay.addr));
}
#endif

static unsigned mutations;

/* Changes a few bytes of what arrives at the server, or its length. */
static bool mutate(struct wire *w, struct datagram *datagram)
{
    if (!relay_pass(w, datagram)) {
        return false;
    }
    while (wire_random(&w->random) % 2 == 0) {
        uint64_t r = wire_random(&w->random);

        mutations++;
        if (r % 8 == 0 && datagram->len > 1) {
            datagram->len = 1 + (size_t)(r >> 8) % datagram->len;
        } else if (r % 8 == 1 && datagram->len + 4 < DATAGRAM_MAX) {
            datagram->len += (size_t)(r >> 8) % 4;
        } else {
            /* half of them in the wrapping */
            size_t most = r % 2 == 0 && datagram->len > 30 ? 30 : datagram->len;

            datagram->data[(size_t)(r >> 8) % most] ^= (uint8_t)(1u << (r >> 40 & 7));
        }
    }
    return true;
}

static void mutations_do_no_harm(void **state)
{
    uint64_t seed;
    unsigned done = 0;

    (void)state;
    mutations = 0;
    for (seed = 1; seed <= 150; seed++) {
        unsigned i;

        prepare();
        wire.random = seed;
        wire.filter = mutate;
        client.config.connection_id = server.config.connection_id = IOTSEC_CONNECTION_ID_ON;
        server.config.cookie_policy = (uint8_t)(seed % 4);
        start();
        pair_connect_to(&client, &relay.addr);
        pair_connect_to(&third, &relay.addr);
        wire_run(&wire, 15000);
        for (i = 0; i < 20 && client.established != 0; i++) {
            if (iotsec_dtls_send(&client.dtls, client.info.session, 23, (const uint8_t *)"data", 4) == IOTSEC_OK) {
                (void)iotsec_dtls_flush(&client.dtls);
            }
            wire_settle(&wire);
        }
        done += client.established != 0;
        if (server.received != 0) {
            assert_memory_equal(server.data, "data", 4);
        }
        assert_true(server.received <= 20);
    }
    assert_true(mutations > 5000);
    assert_true(done > 50);
}

/* 256 bytes to send from, the longest header, a link that is narrower than the wrapping, and a look-up that takes its
 * time: the answer finds its way back long after the datagram that asked. */
static void the_smallest_buffer_and_a_late_key(void **state)
{
    uint8_t suite;

    (void)state;
    for (suite = 1; suite <= (IOTSEC_SUITE_CCM ? 2 : 1); suite++) {
        struct iotsec_dtls_psk psk;
        size_t i;

        prepare();
        server.config.tx_size = IOTSEC_HELD_RECORD_BYTES > 256 ? IOTSEC_HELD_RECORD_BYTES : 256;
        server.config.link_payload = 1;
        server.config.cookie_policy = IOTSEC_COOKIE_ALWAYS;
        client.config.suites = server.config.suites = suite;
        client.config.connection_id = server.config.connection_id = IOTSEC_CONNECTION_ID_ON;
        server.psk_answer = IOTSEC_ERR_PENDING;
        relay.header_len[0] = IOTSEC_RELAY_HEADER_MAX;
        if (IOTSEC_CID_MAX > 156) {
            server.config.tx_size += 100 + IOTSEC_CID_MAX;
        }
        memset(server.tx, 0xA5, sizeof server.tx);
        start();
        pair_connect_to(&client, &relay.addr);
        wire_run(&wire, 1500);
        assert_int_equal(server.asked, 1);
        assert_int_equal(server.established, 0);
        wire_clear(&wire);
        memset(&psk, 0, sizeof psk);
        memcpy(psk.key, pair_psk, sizeof pair_psk);
        psk.len = sizeof pair_psk;
        psk.peer = 5;
        assert_int_equal(iotsec_dtls_psk_complete(&server.dtls, server.asked_for, IOTSEC_OK, &psk), IOTSEC_OK);
        (void)iotsec_dtls_poll(&server.dtls);
        assert_int_equal(server.established, 1); /* the Finished had been held */
        assert_int_equal(server.info.relayed, 1);
        wire_settle(&wire);
        assert_int_equal(client.established, 1);
        assert_talk(&client, server.info.session);
        assert_int_equal(client.info.connection_id, IOTSEC_CONNECTION_ID != 0);
        for (i = server.config.tx_size; i < sizeof server.tx; i++) {
            assert_int_equal(server.tx[i], 0xA5);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_smallest_buffer_and_a_late_key),
        cmocka_unit_test(headers_of_every_length),
        cmocka_unit_test(two_behind_one_relay_are_two),
        cmocka_unit_test(wrapped_where_it_is_not_wanted),
        cmocka_unit_test(other_content_is_dropped),
        cmocka_unit_test(a_cookie_is_of_one_header),
        cmocka_unit_test(one_relay_has_its_share),
        cmocka_unit_test(a_share_of_proved_ones_is_full),
        cmocka_unit_test(the_wrapping_needs_room),
        cmocka_unit_test(joining_again_through_the_relay),
        cmocka_unit_test(losses_are_made_good),
#if IOTSEC_CONNECTION_ID
        cmocka_unit_test(a_join_goes_on_without_the_relay),
#endif
        cmocka_unit_test(mutations_do_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

int main(void)
{
    return 0;
}

#endif
