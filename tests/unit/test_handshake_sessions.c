/* SPDX-License-Identifier: BSD-3-Clause */
/* What becomes of sessions: replaced, closed, idle, full; handles; what callbacks may do. */
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
static struct end third;

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
    uint32_t before = client.established;

    pair_connect(&client, &server);
    wire_settle(&wire);
    assert_int_equal(client.established, before + 1);
}

static void begin(void)
{
    prepare();
    start();
    establish();
}

static void send_on(struct end *from, iotsec_dtls_handle session, const char *text)
{
    assert_int_equal(iotsec_dtls_send(&from->dtls, session, 23, (const uint8_t *)text, strlen(text)), IOTSEC_OK);
    assert_int_equal(iotsec_dtls_flush(&from->dtls), IOTSEC_OK);
}

static void assert_talk(void)
{
    wire.filter = NULL;
    client.received = server.received = 0;
    send_on(&client, client.info.session, "up");
    send_on(&server, server.info.session, "down");
    wire_settle(&wire);
    assert_int_equal(server.received, 1);
    assert_int_equal(client.received, 1);
}

/* ---- A new handshake beside a live session ---- */

static void leaves_the_session_alone(void **state)
{
    iotsec_dtls_handle old_client;
    iotsec_dtls_handle old_server;
    unsigned i;

    (void)state;
    begin();
    old_client = client.info.session;
    old_server = server.info.session;
    pair_connect(&client, &server);
    /* after each datagram of the new handshake the old session still works, both ways */
    for (i = 0; i < 5; i++) {
        struct datagram d = *wire_peek(&wire);

        wire_clear(&wire);
        client.received = server.received = 0;
        send_on(&client, old_client, "old up");
        send_on(&server, old_server, "old down");
        wire_settle(&wire);
        assert_int_equal(server.received, 1);
        assert_int_equal(client.received, 1);
        wire_inject(&wire, &d.from, &d.to, d.data, d.len);
        (void)wire_step(&wire);
    }
    assert_int_equal(server.established, 2);
    assert_int_equal(server.info.replaced, old_server);
    assert_int_equal(client.established, 1);
    assert_int_equal(iotsec_dtls_peer(&server.dtls, old_server, NULL, NULL), IOTSEC_ERR_NOT_FOUND);
    assert_int_equal(iotsec_dtls_send(&server.dtls, old_server, 23, NULL, 0), IOTSEC_ERR_NOT_FOUND);
    wire_settle(&wire);
    assert_int_equal(client.established, 2);
    assert_int_equal(client.info.replaced, old_client);
    assert_int_equal(iotsec_dtls_find(&client.dtls, &server.addr), client.info.session);
    assert_int_equal(client.sessions[0].forgeries + server.sessions[0].forgeries, 0);
    assert_int_equal(client.dtls.sessions_used, 1);
    assert_int_equal(server.dtls.sessions_used, 1);
    assert_int_equal(client.closed + server.closed, 0);
    assert_talk();
}

/* One that fails leaves it alone as well. */
static void survives_a_failed_handshake(void **state)
{
    static const uint8_t other[16] = { 9 };

    (void)state;
    begin();
    assert_int_equal(iotsec_dtls_connect(&client.dtls, &server.addr, pair_identity, sizeof pair_identity, other, 16, 1, NULL),
                     IOTSEC_OK);
    client.poll_never = false;
    client.poll_at = wire.now;
    wire_run(&wire, 10000);
    assert_int_equal(client.failed, 1);
    assert_int_equal(client.failed_reason, IOTSEC_ERR_WRONG_PSK);
    assert_int_equal(server.first_reason, IOTSEC_ERR_WRONG_PSK);
    assert_talk();
    wire_run(&wire, 40000);
    assert_int_equal(server.dtls.half_open, 0);
    assert_talk();
    assert_int_equal(client.established + server.established, 2);
}

/* Another identity at the same address. */
static void keeps_the_first_identity(void **state)
{
    iotsec_dtls_handle old;

    (void)state;
    begin();
    old = server.info.session;
    server.peer = 8; /* the table now gives the identity to somebody else */
    pair_connect(&client, &server);
    wire_settle(&wire);
    assert_int_equal(server.failed, 1);
    assert_int_equal(server.failed_reason, IOTSEC_ERR_EXISTS);
    assert_int_equal(client.failed, 1);
    assert_int_equal(client.failed_reason, IOTSEC_ERR_NOT_AUTHORISED);
    assert_int_equal(server.info.session, old);
    assert_talk();
    assert_int_equal(server.dtls.handshakes_used + client.dtls.handshakes_used, 0);
}

/* ---- Full ---- */

static void says_when_it_is_full(void **state)
{
    (void)state;
    prepare();
    server.config.session_count = 1;
    start();
    end_init(&third, &wire, 3);
    end_start(&third);
    establish();
    pair_connect(&third, &server);
    wire_settle(&wire);
    assert_int_equal(third.failed, 1);
    assert_int_equal(third.failed_reason, IOTSEC_ERR_RESOURCES);
    assert_int_equal(server.failed_reason, IOTSEC_ERR_RESOURCES);
    assert_talk();
    /* a closed slot is free at once */
    assert_int_equal(iotsec_dtls_close(&client.dtls, client.info.session, IOTSEC_ALERT_CLOSE_NOTIFY), IOTSEC_OK);
    assert_int_equal(iotsec_dtls_flush(&client.dtls), IOTSEC_OK);
    wire_settle(&wire);
    assert_int_equal(server.closed, 1);
    pair_connect(&third, &server);
    wire_settle(&wire);
    assert_int_equal(third.established, 1);

    /* a client without room closes what the server has */
    prepare();
    client.config.session_count = 1;
    start();
    end_init(&third, &wire, 3);
    end_start(&third);
    establish();
    pair_connect(&client, &third);
    wire_settle(&wire);
    assert_int_equal(client.failed_reason, IOTSEC_ERR_RESOURCES);
    assert_int_equal(third.established, 1);
    assert_int_equal(third.closed, 1);
    assert_int_equal(third.closed_reason, IOTSEC_ERR_ALERT);
    assert_talk();
}

static void has_room_for_so_many_handshakes(void **state)
{
    struct iotsec_addr to;
    unsigned i;

    (void)state;
    prepare();
    start();
    to = server.addr;
    for (i = 0; i < END_HANDSHAKES; i++) {
        to.port++;
        assert_int_equal(iotsec_dtls_connect(&client.dtls, &to, pair_identity, 15, pair_psk, 16, 1, NULL), IOTSEC_OK);
    }
    to.port++;
    assert_int_equal(iotsec_dtls_connect(&client.dtls, &to, pair_identity, 15, pair_psk, 16, 1, NULL), IOTSEC_ERR_FULL);
    wire.now += 25000;
    assert_int_equal(iotsec_dtls_poll(&client.dtls), UINT32_MAX);
    assert_int_equal(client.failed, END_HANDSHAKES);
    assert_int_equal(client.failed_reason, IOTSEC_ERR_NO_ANSWER);
    assert_int_equal(iotsec_dtls_connect(&client.dtls, &to, pair_identity, 15, pair_psk, 16, 1, NULL), IOTSEC_OK);
}

/* ---- Closing ---- */

static void closes(void **state)
{
    static const struct {
        uint8_t alert;
        enum iotsec_status reason;
    } rows[] = {
        /* 1 */ { IOTSEC_ALERT_CLOSE_NOTIFY, IOTSEC_ERR_CLOSED },
        /* 2 */ { IOTSEC_ALERT_ACCESS_DENIED, IOTSEC_ERR_ALERT },
        /* 3 */ { IOTSEC_ALERT_INTERNAL_ERROR, IOTSEC_ERR_ALERT },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        iotsec_dtls_handle session;
        struct datagram goodbye;

        begin();
        session = server.info.session;
        assert_int_equal(iotsec_dtls_close(&client.dtls, client.info.session, rows[i].alert), IOTSEC_OK);
        assert_int_equal(iotsec_dtls_close(&client.dtls, client.info.session, rows[i].alert), IOTSEC_ERR_NOT_FOUND);
        assert_int_equal(client.dtls.sessions_used, 0);
        assert_int_equal(iotsec_dtls_flush(&client.dtls), IOTSEC_OK);
        goodbye = *wire_peek(&wire);
        wire_settle(&wire);
        assert_int_equal(client.closed, 0);
        assert_int_equal(server.closed, 1);
        assert_int_equal(server.closed_session, session);
        assert_int_equal(server.closed_reason, rows[i].reason);
        assert_int_equal(server.dtls.sessions_used, 0);
        assert_int_equal(iotsec_dtls_find(&server.dtls, &client.addr), 0);
        /* nothing of it is left */
        {
            const uint8_t *bytes = (const uint8_t *)&server.sessions[0];
            size_t j;

            for (j = offsetof(struct iotsec_dtls_session, slot.state); j < sizeof server.sessions[0]; j++) {
                assert_int_equal(bytes[j], 0);
            }
        }
        /* again at once, and the old goodbye does not end the new session */
        establish();
        wire_inject(&wire, &goodbye.from, &goodbye.to, goodbye.data, goodbye.len);
        wire_settle(&wire);
        assert_int_equal(server.closed, 1);
        assert_talk();
    }
}

static void goes_idle(void **state)
{
    (void)state;
    prepare();
    server.config.idle_timeout_ms = 60000;
    start();
    establish();
    server.poll_never = false;
    server.poll_at = wire.now;
    wire_run(&wire, 50000);
    send_on(&client, client.info.session, "still here");
    wire_run(&wire, 50000);
    assert_int_equal(server.closed, 0);
    wire_run(&wire, 9999);
    assert_int_equal(server.closed, 0);
    wire_run(&wire, 1);
    assert_int_equal(server.closed, 1);
    assert_int_equal(server.closed_reason, IOTSEC_ERR_TIMEOUT);
    wire_run(&wire, 10);
    assert_int_equal(client.closed, 1);
    assert_int_equal(client.closed_reason, IOTSEC_ERR_CLOSED);
    assert_int_equal(iotsec_dtls_poll(&server.dtls), UINT32_MAX);
}

/* Many sessions: no poll looks at all of them, and none is forgotten. */
static void goes_idle_among_many(void **state)
{
    static struct iotsec_dtls_session many[1000];
    uint32_t wait;
    uint32_t polls = 0;
    unsigned i;

    (void)state;
    prepare();
    server.config.sessions = many;
    server.config.session_count = 1000;
    server.config.idle_timeout_ms = 60000;
    server.config.cookie_policy = IOTSEC_COOKIE_ALWAYS;
    start();
    for (i = 0; i < 300; i++) {
        client.addr.port = (uint16_t)(1000 + i);
        establish();
        assert_int_equal(iotsec_dtls_close(&client.dtls, client.info.session, 0), IOTSEC_OK);
        client.dtls.tx_len = 0; /* the goodbye is lost */
        assert_int_equal(server.established, i + 1);
        assert_int_equal(iotsec_dtls_find(&server.dtls, &client.addr), server.info.session);
    }
    assert_int_equal(server.dtls.sessions_used, 300);
    while (server.closed < 300) {
        wait = iotsec_dtls_poll(&server.dtls);
        if (wait == UINT32_MAX) {
            break;
        }
        assert_true(wait > 0);
        wire.now += wait;
        wire_clear(&wire);
        polls++;
        assert_true(wire.now < 1000 + 60000 + 60000 / 4);
    }
    assert_int_equal(server.closed, 300);
    assert_int_equal(server.dtls.sessions_used, 0);
    assert_true(polls < 1500);
}

/* ---- Forgeries, replays, limits ---- */

static void counts_forgeries(void **state)
{
    struct datagram d;
    unsigned i;

    (void)state;
    begin();
    send_on(&client, client.info.session, "genuine");
    d = *wire_peek(&wire);
    wire_settle(&wire);
    for (i = 0; i < 300; i++) {
        struct datagram forged = d;

        forged.data[8] = (uint8_t)(1 + i / 200);
        forged.data[9] = (uint8_t)i;
        wire_inject(&wire, &forged.from, &forged.to, forged.data, forged.len);
        wire_settle(&wire);
        assert_int_equal(server.forgeries, i + 1 >= IOTSEC_FORGERY_LIMIT ? 1 : 0);
    }
    assert_int_equal(server.dtls.stats.drops[IOTSEC_DROP_AUTH], 300);
    assert_int_equal(server.closed, 0);
    /* replays are no forgeries */
    for (i = 0; i < 10; i++) {
        wire_inject(&wire, &d.from, &d.to, d.data, d.len);
        wire_settle(&wire);
    }
    assert_int_equal(server.dtls.stats.drops[IOTSEC_DROP_REPLAY], 10);
    assert_talk();
}

static void drops_what_a_session_may_not_get(void **state)
{
    static const struct {
        uint8_t type;
        uint8_t epoch;
        uint16_t version;
        enum iotsec_drop drop;
    } rows[] = {
        /* 1 */ { 23, 0, 0xFEFD, IOTSEC_DROP_PLAINTEXT },
        /* 2 */ { 21, 0, 0xFEFD, IOTSEC_DROP_MALFORMED },
        /* 3 */ { 20, 0, 0xFEFD, IOTSEC_DROP_MALFORMED },
        /* 4 */ { 23, 2, 0xFEFD, IOTSEC_DROP_EPOCH },
        /* 5 */ { 23, 1, 0xFEFF, IOTSEC_DROP_VERSION },
        /* 6 */ { 23, 0, 0xFEFC, IOTSEC_DROP_VERSION },
        /* 7 */ { 99, 0, 0xFEFD, IOTSEC_DROP_PLAINTEXT },
    };
    size_t i;

    (void)state;
    begin();
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t record[30] = { 0 };
        uint16_t before = client.dtls.stats.drops[rows[i].drop];

        record[0] = rows[i].type;
        iotsec_put_u16(record + 1, rows[i].version);
        record[4] = rows[i].epoch;
        record[12] = 17;
        wire_inject(&wire, &server.addr, &client.addr, record, sizeof record);
        wire_settle(&wire);
        if (client.dtls.stats.drops[rows[i].drop] != before + 1) {
            fail_msg("row %u", (unsigned)i + 1);
        }
    }
    /* content types for key management only where they are wanted; renegotiation nowhere */
    assert_int_equal(iotsec_dtls_send(&server.dtls, server.info.session, 28, (const uint8_t *)"x", 1), IOTSEC_OK);
    assert_int_equal(iotsec_dtls_flush(&server.dtls), IOTSEC_OK);
    wire_settle(&wire);
    assert_int_equal(client.received, 0);
    assert_int_equal(client.dtls.stats.drops[IOTSEC_DROP_NOT_ALLOWED], 1);
    {
        static const uint8_t hello_request[12] = { 0 };
        struct iotsec_dtls_session *s = &server.sessions[0];

        struct iotsec_seal seal;

        memset(&seal, 0, sizeof seal);
        seal.key = &s->write_key;
        seal.tag_len = 8;
#if IOTSEC_CONNECTION_ID
        seal.cid = s->peer_cid;
#endif
        assert_int_equal(iotsec_tx(&server.dtls, &s->path, &seal, 22, s->write_sequence++, hello_request, sizeof hello_request),
                         IOTSEC_OK);
        assert_int_equal(iotsec_dtls_flush(&server.dtls), IOTSEC_OK);
        wire_settle(&wire);
        assert_int_equal(client.dtls.stats.drops[IOTSEC_DROP_NOT_ALLOWED], 2);
    }
    assert_talk();
    prepare();
    client.config.key_management = 1;
    start();
    establish();
    assert_int_equal(iotsec_dtls_send(&server.dtls, server.info.session, 28, (const uint8_t *)"x", 1), IOTSEC_OK);
    assert_int_equal(iotsec_dtls_flush(&server.dtls), IOTSEC_OK);
    wire_settle(&wire);
    assert_int_equal(client.received, 1);
    assert_int_equal(client.received_type, 28);
}

static void stops_at_the_last_number(void **state)
{
    (void)state;
    begin();
    client.sessions[0].write_sequence = IOTSEC_SEQUENCE_LIMIT - 1;
    assert_int_equal(iotsec_dtls_send(&client.dtls, client.info.session, 23, (const uint8_t *)"x", 1), IOTSEC_OK);
    assert_int_equal(iotsec_dtls_send(&client.dtls, client.info.session, 23, (const uint8_t *)"x", 1), IOTSEC_ERR_COUNTER);
    assert_int_equal(iotsec_dtls_send(&client.dtls, client.info.session, 23, (const uint8_t *)"x", 1), IOTSEC_ERR_NOT_FOUND);
    assert_int_equal(client.dtls.sessions_used, 0);
    assert_int_equal(iotsec_dtls_flush(&client.dtls), IOTSEC_OK);
    wire_settle(&wire);
    assert_int_equal(server.received, 1);
    assert_int_equal(server.closed, 1);
}

static void limits_lengths(void **state)
{
    uint8_t big[DATAGRAM_MAX] = { 0 };

    (void)state;
    begin();
    assert_int_equal(iotsec_dtls_send(&client.dtls, client.info.session, 23, big, DATAGRAM_MAX - 29), IOTSEC_OK);
    assert_int_equal(iotsec_dtls_send(&client.dtls, client.info.session, 23, big, DATAGRAM_MAX - 28), IOTSEC_ERR_TOO_LONG);
    assert_int_equal(iotsec_dtls_send(&client.dtls, client.info.session, 23, NULL, 0), IOTSEC_OK);
    assert_int_equal(iotsec_dtls_flush(&client.dtls), IOTSEC_OK);
    wire_settle(&wire);
    assert_int_equal(server.received, 2);
#if IOTSEC_MAX_FRAGMENT_LENGTH
    prepare();
    client.config.max_fragment_length = 1;
    start();
    establish();
    server.sessions[0].max_plaintext = 16384; /* breaks its promise */
    assert_int_equal(iotsec_dtls_send(&server.dtls, server.info.session, 23, big, 513), IOTSEC_OK);
    assert_int_equal(iotsec_dtls_flush(&server.dtls), IOTSEC_OK);
    wire_settle(&wire);
    assert_int_equal(client.received, 0);
    assert_int_equal(client.dtls.stats.drops[IOTSEC_DROP_TOO_LONG], 1);
    assert_talk();
#endif
}

/* Records are packed up to the link payload, and never two addresses into one datagram. */
static void packs_records(void **state)
{
    uint32_t before;

    (void)state;
    prepare();
    client.config.link_payload = 95;
    start();
    end_init(&third, &wire, 3);
    end_start(&third);
    establish();
    {
        iotsec_dtls_handle to_server = client.info.session;
        iotsec_dtls_handle to_third;

        pair_connect(&client, &third);
        wire_settle(&wire);
        to_third = client.info.session;
        before = client.sent_datagrams;
        assert_int_equal(iotsec_dtls_send(&client.dtls, to_server, 23, (const uint8_t *)"abc", 3), IOTSEC_OK);
        assert_int_equal(iotsec_dtls_send(&client.dtls, to_server, 23, (const uint8_t *)"abc", 3), IOTSEC_OK);
        assert_int_equal(client.sent_datagrams, before);
        assert_int_equal(iotsec_dtls_send(&client.dtls, to_server, 23, (const uint8_t *)"abc", 3), IOTSEC_OK);
        assert_int_equal(client.sent_datagrams, before + 1); /* 96 bytes would not fit */
        assert_int_equal(iotsec_dtls_send(&client.dtls, to_third, 23, (const uint8_t *)"abc", 3), IOTSEC_OK);
        assert_int_equal(client.sent_datagrams, before + 2);
        (void)iotsec_dtls_poll(&client.dtls); /* flushes */
        assert_int_equal(client.sent_datagrams, before + 3);
        assert_int_equal(iotsec_dtls_flush(&client.dtls), IOTSEC_OK);
        assert_int_equal(client.sent_datagrams, before + 3);
        wire_settle(&wire);
        assert_int_equal(server.received, 3);
        assert_int_equal(third.received, 1);
        client.send_fails = true;
        assert_int_equal(iotsec_dtls_send(&client.dtls, to_third, 23, (const uint8_t *)"abc", 3), IOTSEC_OK);
        assert_int_equal(iotsec_dtls_flush(&client.dtls), IOTSEC_ERR_SEND);
    }
}

/* ---- Handles ---- */

static void refuses_stale_handles(void **state)
{
    iotsec_dtls_handle handshake;
    iotsec_dtls_handle session;
    unsigned i;

    (void)state;
    prepare();
    client.config.session_count = client.config.handshake_count = 1;
    start();
    for (i = 0; i < 10; i++) {
        uint32_t peer = 0;
        struct iotsec_addr addr;

        handshake = pair_connect(&client, &server);
        assert_int_not_equal(handshake, 0);
        assert_int_equal(iotsec_dtls_close(&client.dtls, handshake, 0), IOTSEC_ERR_NOT_FOUND);
        wire_settle(&wire);
        assert_int_equal(client.info.handshake, handshake);
        session = client.info.session;
        assert_int_equal(iotsec_dtls_cancel(&client.dtls, handshake), IOTSEC_ERR_NOT_FOUND);
        assert_int_equal(iotsec_dtls_cancel(&client.dtls, session), IOTSEC_ERR_NOT_FOUND);
        assert_int_equal(iotsec_dtls_peer(&client.dtls, session, &addr, &peer), IOTSEC_OK);
        assert_int_equal(peer, 1);
        assert_true(iotsec_addr_equal(&addr, &server.addr));
        assert_int_equal(iotsec_dtls_close(&client.dtls, session, 0), IOTSEC_OK);
        assert_int_equal(iotsec_dtls_flush(&client.dtls), IOTSEC_OK);
        wire_settle(&wire);
        assert_int_equal(iotsec_dtls_peer(&client.dtls, session, NULL, NULL), IOTSEC_ERR_NOT_FOUND);
        assert_int_equal(iotsec_dtls_peer(&client.dtls, session ^ 0x80000000u, NULL, NULL), IOTSEC_ERR_NOT_FOUND);
    }
}

static void cancels(void **state)
{
    iotsec_dtls_handle handshake;
    const uint8_t *bytes = (const uint8_t *)&client.handshakes[0];
    size_t i;

    (void)state;
    prepare();
    start();
    handshake = pair_connect(&client, &server);
    (void)wire_step(&wire);
    (void)wire_step(&wire);
    assert_int_equal(client.handshakes[0].slot.state, HS_CLIENT_SENT_FINISHED);
    assert_int_equal(iotsec_dtls_cancel(&client.dtls, handshake), IOTSEC_OK);
    for (i = offsetof(struct iotsec_dtls_handshake, slot.state); i < sizeof client.handshakes[0]; i++) {
        assert_int_equal(bytes[i], 0);
    }
    wire_settle(&wire);
    assert_int_equal(client.failed + client.established, 0);
    assert_int_equal(iotsec_dtls_poll(&client.dtls), UINT32_MAX);
    /* the server has a session that nobody uses; the client's next handshake replaces it */
    establish();
    assert_talk();
    assert_int_not_equal(server.info.replaced, 0);
    /* wiping leaves nothing anywhere */
    (void)pair_connect(&client, &server);
    (void)wire_step(&wire);
    iotsec_dtls_wipe(&client.dtls);
    iotsec_dtls_wipe(&server.dtls);
    for (i = 0; i < sizeof client.handshakes; i++) {
        assert_int_equal(bytes[i], 0);
    }
    bytes = (const uint8_t *)server.sessions;
    for (i = 0; i < sizeof server.sessions; i++) {
        assert_int_equal(bytes[i], 0);
    }
    iotsec_dtls_wipe(&client.dtls);
    start();
    establish();
    assert_talk();
}

/* ---- What callbacks may do ---- */

static struct end *other_end;

static void close_in_receive(struct end *end, iotsec_dtls_handle session)
{
    assert_int_equal(iotsec_dtls_close(&end->dtls, session, 0), IOTSEC_OK);
}

static void connect_in_failed(struct end *end, iotsec_dtls_handle handshake, enum iotsec_status reason)
{
    (void)handshake;
    (void)reason;
    end->on_failed = NULL;
    end->psk = pair_psk;
    (void)pair_connect(end, other_end);
}

static void connect_in_closed(struct end *end, iotsec_dtls_handle session)
{
    (void)session;
    (void)pair_connect(end, other_end);
}

static void send_in_established(struct end *end, const struct iotsec_dtls_info *info)
{
    assert_int_equal(iotsec_dtls_send(&end->dtls, info->session, 23, (const uint8_t *)"first words", 11), IOTSEC_OK);
}

static void close_in_established(struct end *end, const struct iotsec_dtls_info *info)
{
    assert_int_equal(iotsec_dtls_close(&end->dtls, info->session, IOTSEC_ALERT_ACCESS_DENIED), IOTSEC_OK);
}

static void cancel_in_psk(struct end *end, iotsec_dtls_handle handshake)
{
    assert_int_equal(iotsec_dtls_cancel(&end->dtls, handshake), IOTSEC_OK);
}

static void complete_in_psk(struct end *end, iotsec_dtls_handle handshake)
{
    struct iotsec_dtls_psk psk;

    memcpy(psk.key, pair_psk, sizeof pair_psk);
    psk.len = sizeof pair_psk;
    psk.peer = 7;
    assert_int_equal(iotsec_dtls_psk_complete(&end->dtls, handshake, IOTSEC_OK, &psk), IOTSEC_OK);
}

static void cancel_in_failed(struct end *end, iotsec_dtls_handle handshake, enum iotsec_status reason)
{
    (void)reason;
    (void)iotsec_dtls_cancel(&end->dtls, handshake);
}

static void close_in_forgeries(struct end *end, iotsec_dtls_handle session)
{
    assert_int_equal(iotsec_dtls_close(&end->dtls, session, 0), IOTSEC_OK);
}

static void enters_again(void **state)
{
    unsigned i;

    (void)state;
    /* closing inside receive, with more records behind in the datagram */
    begin();
    server.on_receive = close_in_receive;
    for (i = 0; i < 5; i++) {
        assert_int_equal(iotsec_dtls_send(&client.dtls, client.info.session, 23, (const uint8_t *)"abc", 3), IOTSEC_OK);
    }
    assert_int_equal(iotsec_dtls_flush(&client.dtls), IOTSEC_OK);
    wire_settle(&wire);
    assert_int_equal(server.received, 1);
    assert_int_equal(server.dtls.stats.drops[IOTSEC_DROP_NO_SESSION], 4 + 1); /* and the answer to the goodbye */
    assert_int_equal(client.closed, 1);

    /* connecting again inside failed, with one slot only */
    prepare();
    client.config.handshake_count = 1;
    client.on_failed = connect_in_failed;
    other_end = &server;
    server.psk_answer = IOTSEC_ERR_UNKNOWN_IDENTITY;
    start();
    pair_connect(&client, &server);
    while (client.failed == 0) {
        wire_run(&wire, 100);
    }
    server.psk_answer = IOTSEC_OK;
    wire_run(&wire, 10000);
    assert_int_equal(client.established, 1);

    /* connecting again inside closed */
    begin();
    other_end = &server;
    client.on_closed = connect_in_closed;
    assert_int_equal(iotsec_dtls_close(&server.dtls, server.info.session, 0), IOTSEC_OK);
    assert_int_equal(iotsec_dtls_flush(&server.dtls), IOTSEC_OK);
    wire_settle(&wire);
    assert_int_equal(client.established, 2);
    assert_talk();

    /* sending inside established: one datagram with the server's last flight */
    prepare();
    server.on_established = send_in_established;
    client.on_established = send_in_established;
    start();
    pair_connect(&client, &server);
    wire_settle(&wire);
    assert_int_equal(client.received, 1);
    assert_int_equal(server.received, 1);
    assert_int_equal(server.sent_datagrams, 2);

    /* refusing inside established */
    prepare();
    server.on_established = close_in_established;
    start();
    pair_connect(&client, &server);
    wire_settle(&wire);
    assert_int_equal(client.established, 1);
    assert_int_equal(client.closed, 1);
    assert_int_equal(client.closed_reason, IOTSEC_ERR_ALERT);
    assert_int_equal(server.dtls.sessions_used, 0);
    prepare();
    client.on_established = close_in_established;
    start();
    pair_connect(&client, &server);
    wire_settle(&wire);
    assert_int_equal(client.dtls.sessions_used + server.dtls.sessions_used, 0);

    /* the look-up cancels, or answers at once by the completing call */
    prepare();
    server.on_psk = cancel_in_psk;
    start();
    pair_connect(&client, &server);
    wire_settle(&wire);
    assert_int_equal(server.dtls.handshakes_used, 0);
    server.on_psk = NULL;
    wire_run(&wire, 20000);
    assert_int_equal(client.failed, 1);
    prepare();
    server.on_psk = complete_in_psk;
    server.psk_answer = IOTSEC_ERR_PENDING;
    start();
    pair_connect(&client, &server);
    wire_settle(&wire);
    assert_int_equal(client.established, 1);
    assert_talk();

    /* giving up at the first wrong Finished */
    prepare();
    server.psk_answer = IOTSEC_ERR_UNKNOWN_IDENTITY;
    server.on_failed = cancel_in_failed;
    start();
    pair_connect(&client, &server);
    wire_settle(&wire);
    assert_int_equal(server.failed, 1);
    assert_int_equal(server.dtls.handshakes_used, 0);

    /* closing at the forgery limit */
    begin();
    server.on_forgeries = close_in_forgeries;
    for (i = 0; i < 200; i++) {
        uint8_t forged[34] = { 23, 0xFE, 0xFD, 0, 1, 0, 0, 0, 0, 1, 0, 0, 21 };

        forged[10] = (uint8_t)i;
        wire_inject(&wire, &client.addr, &server.addr, forged, sizeof forged);
        (void)wire_step(&wire);
    }
    assert_int_equal(server.forgeries, 1);
    assert_int_equal(server.dtls.sessions_used, 0);
}

static void call_inside(struct end *end, iotsec_dtls_handle session)
{
    uint8_t byte = 22;

    (void)session;
    assert_int_equal(iotsec_dtls_input(&end->dtls, &end->addr, &byte, 1), IOTSEC_ERR_STATE);
}

static void refuses_to_enter_input_again(void **state)
{
    (void)state;
    begin();
    server.on_receive = call_inside;
    assert_talk();
}

/* ---- A look-up that takes time ---- */

static void waits_for_the_psk(void **state)
{
    struct iotsec_dtls_psk psk;
    unsigned answer;

    (void)state;
    for (answer = 0; answer < 3; answer++) {
        prepare();
        server.psk_answer = IOTSEC_ERR_PENDING;
        start();
        pair_connect(&client, &server);
        wire_run(&wire, 3000);
        assert_int_equal(server.asked, 1);
        assert_int_equal(server.established, 0);
        assert_int_equal(server.dtls.half_open, 1);
        memset(&psk, 0, sizeof psk);
        memcpy(psk.key, pair_psk, 16);
        psk.peer = 7;
        psk.len = 15;
        assert_int_equal(iotsec_dtls_psk_complete(&server.dtls, server.asked_for, IOTSEC_OK, &psk), IOTSEC_ERR_ARGUMENT);
        psk.len = 16;
        assert_int_equal(iotsec_dtls_psk_complete(&server.dtls, server.asked_for, IOTSEC_OK, NULL), IOTSEC_ERR_ARGUMENT);
        assert_int_equal(iotsec_dtls_psk_complete(&server.dtls, server.asked_for, IOTSEC_ERR_PENDING, NULL), IOTSEC_ERR_ARGUMENT);
        assert_int_equal(iotsec_dtls_psk_complete(&server.dtls, server.asked_for + 1, IOTSEC_OK, &psk), IOTSEC_ERR_NOT_FOUND);
        if (answer == 0) {
            assert_int_equal(iotsec_dtls_psk_complete(&server.dtls, server.asked_for, IOTSEC_OK, &psk), IOTSEC_OK);
            assert_int_equal(iotsec_dtls_psk_complete(&server.dtls, server.asked_for, IOTSEC_OK, &psk), IOTSEC_ERR_STATE);
            assert_int_equal(server.established, 0);
            assert_int_equal(iotsec_dtls_poll(&server.dtls), 0);
            assert_int_equal(server.established, 1); /* the Finished was held */
            assert_int_equal(iotsec_dtls_psk_complete(&server.dtls, server.asked_for, IOTSEC_OK, &psk), IOTSEC_ERR_NOT_FOUND);
            wire_settle(&wire);
            assert_int_equal(client.established, 1);
            assert_talk();
        } else if (answer == 1) {
            assert_int_equal(iotsec_dtls_psk_complete(&server.dtls, server.asked_for, IOTSEC_ERR_UNKNOWN_IDENTITY, NULL),
                             IOTSEC_OK);
            (void)iotsec_dtls_poll(&server.dtls);
            assert_int_equal(server.failed_reason, IOTSEC_ERR_UNKNOWN_IDENTITY);
            assert_int_equal(iotsec_dtls_psk_complete(&server.dtls, server.asked_for, IOTSEC_OK, &psk), IOTSEC_ERR_STATE);
            /* one alert may be forged: the client tries once more, and hears the same */
            server.psk_answer = IOTSEC_ERR_UNKNOWN_IDENTITY;
            wire_run(&wire, 8000);
            assert_int_equal(client.failed, 1);
            assert_int_equal(client.failed_reason, IOTSEC_ERR_WRONG_PSK);
            assert_int_equal(server.asked, 2);
        } else {
            assert_int_equal(iotsec_dtls_psk_complete(&server.dtls, server.asked_for, IOTSEC_ERR_REGISTRY, NULL), IOTSEC_OK);
            assert_int_equal(server.failed_reason, IOTSEC_ERR_REGISTRY);
            assert_int_equal(server.dtls.half_open, 0);
            server.psk_answer = IOTSEC_ERR_REGISTRY;
            wire_run(&wire, 12000);
            assert_int_equal(client.failed, 1);
            assert_int_equal(client.failed_reason, IOTSEC_ERR_RESOURCES);
        }
    }
    /* too short a key is the application's mistake, and told as such */
    prepare();
    server.psk_len = 15;
    start();
    pair_connect(&client, &server);
    wire_settle(&wire);
    assert_int_equal(server.failed_reason, IOTSEC_ERR_ARGUMENT);
    assert_int_equal(server.established, 0);
}

/* What follows Finished and overtakes it is held, not lost; and not delivered before. */
static void holds_early_data(void **state)
{
    struct datagram last;
    struct datagram words;

    (void)state;
    prepare();
    start();
    pair_connect(&client, &server);
    (void)wire_step(&wire);
    (void)wire_step(&wire);
    (void)wire_step(&wire);
    last = *wire_peek(&wire);
    wire_clear(&wire);
    send_on(&server, server.info.session, "overtakes");
    words = *wire_peek(&wire);
    (void)wire_step(&wire);
    assert_int_equal(client.received, 0);
    wire_inject(&wire, &words.from, &words.to, words.data, words.len);
    (void)wire_step(&wire);
    assert_int_equal(client.received, 0);
    assert_int_equal(client.dtls.stats.drops[IOTSEC_DROP_NO_ROOM], 1);
    wire_inject(&wire, &last.from, &last.to, last.data, last.len);
    (void)wire_step(&wire);
    assert_int_equal(client.established, 1);
    assert_int_equal(client.received, 1);
    assert_memory_equal(client.data, "overtakes", 9);
    assert_int_equal(client.dtls.handshakes_used, 0);
    assert_talk();
}

/* Both ends of a pair as client and server at once. */
static void opens_both_ways(void **state)
{
    (void)state;
    prepare();
    client.peer = server.peer = 1;
    start();
    pair_connect(&client, &server);
    pair_connect(&server, &client);
    wire_settle(&wire);
    wire_run(&wire, 5000);
    assert_true(client.established >= 1);
    assert_true(server.established >= 1);
    assert_int_equal(client.dtls.sessions_used, 1);
    assert_int_equal(server.dtls.sessions_used, 1);
    assert_int_equal(client.failed + server.failed, 0);
}

/* The platform's crypto fails at any single operation: no crash, no leak, and the next handshake works. */
static void survives_failing_crypto(void **state)
{
    int at;

    (void)state;
    for (at = 1; at < 400; at++) {
        unsigned who;

        for (who = 0; who < 2; who++) {
            size_t i;

            prepare();
            server.config.cookie_policy = IOTSEC_COOKIE_ALWAYS;
            start();
            (who == 0 ? &client : &server)->crypto_fails = at;
            (void)iotsec_dtls_connect(&client.dtls, &server.addr, pair_identity, 15, pair_psk, 16, 1, NULL);
            client.poll_never = false;
            client.poll_at = wire.now;
            wire_run(&wire, 40000);
            assert_int_equal(client.dtls.handshakes_used + server.dtls.handshakes_used, 0);
            assert_int_equal(client.established + client.failed, 1);
            client.crypto_fails = server.crypto_fails = 0;
            for (i = 0; i < END_HASHES; i++) {
                assert_null(client.hashes[i].sha);
                assert_null(server.hashes[i].sha);
            }
            establish();
            assert_talk();
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leaves_the_session_alone),
        cmocka_unit_test(survives_a_failed_handshake),
        cmocka_unit_test(keeps_the_first_identity),
        cmocka_unit_test(says_when_it_is_full),
        cmocka_unit_test(has_room_for_so_many_handshakes),
        cmocka_unit_test(closes),
        cmocka_unit_test(goes_idle),
        cmocka_unit_test(goes_idle_among_many),
        cmocka_unit_test(counts_forgeries),
        cmocka_unit_test(drops_what_a_session_may_not_get),
        cmocka_unit_test(stops_at_the_last_number),
        cmocka_unit_test(limits_lengths),
        cmocka_unit_test(packs_records),
        cmocka_unit_test(refuses_stale_handles),
        cmocka_unit_test(cancels),
        cmocka_unit_test(enters_again),
        cmocka_unit_test(refuses_to_enter_input_again),
        cmocka_unit_test(waits_for_the_psk),
        cmocka_unit_test(holds_early_data),
        cmocka_unit_test(opens_both_ways),
        cmocka_unit_test(survives_failing_crypto),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

int main(void)
{
    return 0; /* a handshake takes two */
}

#endif
