/* SPDX-License-Identifier: BSD-3-Clause */
/* Connection IDs (RFC 9146): agreed on or not, on the wire, replayed, forged, lost, and after a session has gone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "handshake/engine.h"
#include "pair.h"

#if IOTSEC_DTLS_CLIENT && IOTSEC_DTLS_SERVER && IOTSEC_CONNECTION_ID

static struct wire wire;
static struct end client;
static struct end server;
static struct end third;

static void prepare(uint8_t client_policy, uint8_t server_policy)
{
    wire_init(&wire, 1);
    end_init(&client, &wire, 1);
    end_init(&server, &wire, 2);
    end_init(&third, &wire, 3);
    client.config.connection_id = client_policy;
    server.config.connection_id = server_policy;
    third.config.connection_id = client_policy;
}

static void start(void)
{
    end_start(&client);
    end_start(&server);
    end_start(&third);
}

static void establish(struct end *end)
{
    uint32_t before = end->established;

    pair_connect(end, &server);
    wire_run(&wire, 15000);
    assert_int_equal(end->established, before + 1);
}

static void begin(void)
{
    prepare(IOTSEC_CONNECTION_ID_ON, IOTSEC_CONNECTION_ID_ON);
    start();
    establish(&client);
}

static void send_on(struct end *from, iotsec_dtls_handle session, const char *text)
{
    assert_int_equal(iotsec_dtls_send(&from->dtls, session, 23, (const uint8_t *)text, strlen(text)), IOTSEC_OK);
    assert_int_equal(iotsec_dtls_flush(&from->dtls), IOTSEC_OK);
}

static void assert_talk(struct end *end)
{
    end->received = server.received = 0;
    send_on(end, end->info.session, "up");
    wire_settle(&wire);
    assert_int_equal(server.received, 1);
    assert_memory_equal(server.data, "up", 2);
    send_on(&server, server.info.session, "down");
    wire_settle(&wire);
    assert_int_equal(end->received, 1);
    assert_memory_equal(end->data, "down", 4);
}

/* The records of type 25 and the plain ones of epoch 1 that left an end. */
static struct {
    struct iotsec_addr from;
    unsigned with_cid;
    unsigned plain;
    struct datagram last; /* the last datagram with a record of epoch 1 */
} seen;

static bool watch(struct wire *w, struct datagram *datagram)
{
    size_t at = 0;

    (void)w;
    if (!iotsec_addr_equal(&datagram->from, &seen.from)) {
        return true;
    }
    while (at + 13 <= datagram->len) {
        const uint8_t *r = datagram->data + at;
        size_t header = r[0] == 25 ? 15 : 13;

        if (r[4] == 1) {
            seen.with_cid += r[0] == 25;
            seen.plain += r[0] != 25;
            seen.last = *datagram;
        }
        at += header + (size_t)(r[header - 2] << 8 | r[header - 1]);
    }
    return true;
}

static void watch_end(const struct end *end)
{
    memset(&seen, 0, sizeof seen);
    seen.from = end->addr;
    wire.filter = watch;
}

/* Who offers, who answers, and what stands in the client's records. */
static void is_agreed_on_by_policy(void **state)
{
    static const struct {
        uint8_t client;
        uint8_t server;
        bool link_local;
        uint8_t suites;
        bool agreed;
    } rows[] = {
        { IOTSEC_CONNECTION_ID_ON, IOTSEC_CONNECTION_ID_ON, true, 1, true },
        { IOTSEC_CONNECTION_ID_ON, IOTSEC_CONNECTION_ID_ON, true, 2, true },
        { IOTSEC_CONNECTION_ID_ON, IOTSEC_CONNECTION_ID_ON, false, 1, true },
        { IOTSEC_CONNECTION_ID_ON, IOTSEC_CONNECTION_ID_LINK_LOCAL, false, 1, true },
        { IOTSEC_CONNECTION_ID_LINK_LOCAL, IOTSEC_CONNECTION_ID_ON, true, 1, true },
        { IOTSEC_CONNECTION_ID_LINK_LOCAL, IOTSEC_CONNECTION_ID_ON, false, 1, false },
        { IOTSEC_CONNECTION_ID_ON, IOTSEC_CONNECTION_ID_OFF, true, 1, false },
        { IOTSEC_CONNECTION_ID_OFF, IOTSEC_CONNECTION_ID_ON, true, 1, false },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].suites > 1 && !IOTSEC_SUITE_CCM) {
            continue;
        }
        prepare(rows[i].client, rows[i].server);
        client.config.suites = server.config.suites = rows[i].suites;
        if (!rows[i].link_local) {
            server.addr.ip[0] = 0x20;
        }
        start();
        watch_end(&client);
        establish(&client);
        assert_talk(&client);
        if (client.info.connection_id != rows[i].agreed || server.info.connection_id != rows[i].agreed ||
            (rows[i].agreed ? seen.plain : seen.with_cid) != 0 || (rows[i].agreed ? seen.with_cid : seen.plain) != 2) {
            fail_msg("row %u: %d %d, %u with ID, %u without", (unsigned)i + 1, client.info.connection_id,
                     server.info.connection_id, seen.with_cid, seen.plain);
        }
        /* what the server writes has none: a client asks for none */
        watch_end(&server);
        assert_talk(&client);
        assert_int_equal(seen.with_cid, 0);
        assert_int_equal(seen.plain, 1);
        assert_int_equal(end_drops(&server) + end_drops(&client), 0);
        /* and the alert at the end carries it as well */
        watch_end(&client);
        assert_int_equal(iotsec_dtls_close(&client.dtls, client.info.session, 0), IOTSEC_OK);
        assert_int_equal(iotsec_dtls_flush(&client.dtls), IOTSEC_OK);
        wire_settle(&wire);
        assert_int_equal(server.closed, 1);
        assert_int_equal(seen.with_cid, rows[i].agreed);
    }
}

/* Changes the body of the first hello's connection_id extension; the transcripts then differ, so only the hellos tell. */
static struct {
    uint8_t type; /* of the handshake message */
    uint8_t len;  /* of the ID claimed instead */
    bool whole;   /* with the bytes that belong to it */
    unsigned changed;
} change;

static bool change_extension(struct wire *w, struct datagram *datagram)
{
    size_t at;

    (void)w;
    if (datagram->data[0] != 22 || datagram->data[13] != change.type) {
        return true;
    }
    for (at = 25; at + 5 <= datagram->len; at++) {
        uint8_t *e = datagram->data + at;

        if (e[0] == 0 && e[1] == 54 && e[2] == 0 && e[4] == e[3] - 1 && (e[3] == 1 || e[3] == 3)) {
            size_t was = e[4];
            size_t rest = datagram->len - at - 5 - was;
            size_t grown = change.whole ? (size_t)change.len - was : 0;
            size_t body = (size_t)(datagram->data[11] << 8 | datagram->data[12]);
            size_t message = (size_t)(datagram->data[15] << 8 | datagram->data[16]);
            size_t all;
            size_t i;

            memmove(e + 5 + was + grown, e + 5 + was, rest);
            memset(e + 5, 0xC1, was + grown);
            e[4] = change.len;
            e[3] = (uint8_t)(e[3] + grown);
            datagram->len += grown;
            datagram->data[12] = (uint8_t)(body + grown);
            datagram->data[16] = datagram->data[24] = (uint8_t)(message + grown);
            /* the extensions' length stands where it reaches the message's end */
            for (i = at - 2; i > 25; i--) {
                all = (size_t)(datagram->data[i] << 8 | datagram->data[i + 1]);
                if (i + 2 + all == 25 + message) {
                    datagram->data[i + 1] = (uint8_t)(all + grown);
                    break;
                }
            }
            change.changed++;
            return true;
        }
    }
    return true;
}

static void a_client_of_other_make_may_want_one(void **state)
{
    static const struct {
        uint8_t len;
        bool answered;
    } rows[] = { { 1, true }, { IOTSEC_CID_MAX, true }, { IOTSEC_CID_MAX + 1, false }, { 40, 40 <= IOTSEC_CID_MAX } };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct datagram answer;
        bool answered = false;
        size_t at;

        if (rows[i].len > 200) {
            continue; /* the extensions' length would need its upper byte */
        }
        prepare(IOTSEC_CONNECTION_ID_ON, IOTSEC_CONNECTION_ID_ON);
        start();
        change.type = IOTSEC_HS_CLIENT_HELLO;
        change.len = rows[i].len;
        change.whole = true;
        change.changed = 0;
        wire.filter = change_extension;
        pair_connect(&client, &server);
        assert_int_equal(change.changed, 1);
        (void)wire_step(&wire);
        assert_non_null(wire_peek(&wire));
        answer = *wire_peek(&wire);
        assert_int_equal(answer.data[13], IOTSEC_HS_SERVER_HELLO);
        for (at = 25; at + 5 < answer.len; at++) {
            answered = answered || memcmp(answer.data + at, "\0\66\0\3\2", 5) == 0;
        }
        if (answered != rows[i].answered || server.handshakes[0].peer_cid[0] != (answered ? rows[i].len : 0) ||
            ((server.handshakes[0].slot.flags & HS_CID) != 0) != answered) {
            fail_msg("row %u", (unsigned)i + 1);
        }
    }
    /* malformed: no handshake at all */
    prepare(IOTSEC_CONNECTION_ID_ON, IOTSEC_CONNECTION_ID_ON);
    start();
    change.len = 1;
    change.whole = false;
    wire.filter = change_extension;
    pair_connect(&client, &server);
    (void)wire_step(&wire);
    assert_int_equal(server.dtls.half_open, 0);
}

/* Both ends ask: what our own server never meets in our own client. */
static void both_directions_carry_one(void **state)
{
    static const uint8_t theirs[6] = { 5, 1, 2, 3, 4, 5 };

    (void)state;
    begin();
    assert_talk(&client); /* no more repeats of the last flight */
    client.received = 0;
    memcpy(server.sessions[0].peer_cid, theirs, sizeof theirs);
    watch_end(&server);
    send_on(&server, server.info.session, "with five bytes");
    assert_int_equal(seen.last.data[0], 25);
    assert_memory_equal(seen.last.data + 11, theirs + 1, 5);
    assert_int_equal(seen.last.len, IOTSEC_UNICAST_OVERHEAD_CCM_8_BYTES + 1 + 5 + 15);
    /* the longest that fits */
    {
        static uint8_t big[DATAGRAM_MAX];
        size_t most = sizeof server.tx - IOTSEC_UNICAST_OVERHEAD_CCM_8_BYTES - 6;

        assert_int_equal(iotsec_dtls_send(&server.dtls, server.info.session, 23, big, most + 1), IOTSEC_ERR_TOO_LONG);
        assert_int_equal(iotsec_dtls_send(&server.dtls, server.info.session, 23, big, most), IOTSEC_OK);
    }
    /* a client that asked for none takes none: to it the record is no record */
    wire_settle(&wire);
    assert_int_equal(client.received, 0);
    assert_int_equal(client.dtls.stats.drops[IOTSEC_DROP_NO_SESSION] + client.dtls.stats.drops[IOTSEC_DROP_MALFORMED], 1);
}

static void a_client_refuses_what_it_cannot_write(void **state)
{
    (void)state;
    prepare(IOTSEC_CONNECTION_ID_ON, IOTSEC_CONNECTION_ID_ON);
    start();
    change.type = IOTSEC_HS_SERVER_HELLO;
    change.len = IOTSEC_CID_MAX + 1;
    change.whole = true;
    change.changed = 0;
    wire.filter = change_extension;
    pair_connect(&client, &server);
    wire_settle(&wire);
    assert_int_equal(change.changed, 1);
    assert_int_equal(client.handshakes[0].slot.state, HS_CLIENT_SENT_HELLO);
    assert_int_equal(client.handshakes[0].hint, IOTSEC_ERR_PROTOCOL);
    /* a forged hello: the genuine one still makes the session */
    wire.filter = NULL;
    wire_run(&wire, 5000);
    assert_int_equal(client.established, 1);
    assert_talk(&client);
}

static void plain_records_are_dropped(void **state)
{
    uint8_t record[64];
    uint16_t forgeries;
    size_t len;

    (void)state;
    begin();
    forgeries = server.sessions[0].forgeries;
    assert_int_equal(iotsec_record_seal(&client.hal, &client.sessions[0].write_key, 8, record, sizeof record, &len, 23, 1,
                                        client.sessions[0].write_sequence + 5, (const uint8_t *)"x", 1),
                     IOTSEC_OK);
    wire_inject(&wire, &client.addr, &server.addr, record, len);
    wire_settle(&wire);
    record[len - 1] ^= 1;
    wire_inject(&wire, &client.addr, &server.addr, record, len);
    wire_settle(&wire);
    assert_int_equal(server.received, 0);
    assert_int_equal(server.dtls.stats.drops[IOTSEC_DROP_NOT_ALLOWED], 2);
    assert_int_equal(server.sessions[0].forgeries, forgeries);
    assert_int_equal(server.dtls.stats.drops[IOTSEC_DROP_AUTH], 0);
    assert_talk(&client);
}

static void replays_and_forgeries_are_dropped(void **state)
{
    struct datagram copy;
    struct iotsec_addr elsewhere;

    (void)state;
    begin();
    watch_end(&client);
    assert_talk(&client);
    copy = seen.last;
    elsewhere = client.addr;
    elsewhere.port++;
    server.received = 0;
    wire_inject(&wire, &client.addr, &server.addr, copy.data, copy.len);
    wire_inject(&wire, &elsewhere, &server.addr, copy.data, copy.len);
    wire_settle(&wire);
    assert_int_equal(server.received, 0);
    assert_int_equal(server.dtls.stats.drops[IOTSEC_DROP_REPLAY], 2);
    /* forged: counts for the session whose ID it has, wherever it came from */
    copy.data[10] = 77;
    wire_inject(&wire, &client.addr, &server.addr, copy.data, copy.len);
    wire_inject(&wire, &elsewhere, &server.addr, copy.data, copy.len);
    wire_settle(&wire);
    assert_int_equal(server.dtls.stats.drops[IOTSEC_DROP_AUTH], 2);
    assert_int_equal(server.sessions[0].forgeries, 2);
    /* another ID is nobody's */
    copy.data[11] ^= 1;
    wire_inject(&wire, &client.addr, &server.addr, copy.data, copy.len);
    wire_settle(&wire);
    assert_int_equal(server.dtls.stats.drops[IOTSEC_DROP_NO_SESSION], 1);
    assert_int_equal(server.sessions[0].forgeries, 2);
    assert_talk(&client);
}

/* A session whose client may lack our Finished opens copies, to see whether they ask for it; and takes nothing else. */
static void an_old_record_is_no_finished(void **state)
{
    (void)state;
    begin();
    send_on(&client, client.info.session, "old");
    server.sessions[0].replay.top = 200;
    (void)wire_step(&wire);
    assert_int_equal(server.received, 0);
    assert_int_equal(server.dtls.stats.drops[IOTSEC_DROP_REPLAY], 1);
    assert_int_equal(server.sessions[0].slot.flags & SESSION_CONFIRMED, 0);
}

static void the_last_flights_may_be_lost(void **state)
{
    uint64_t seed;
    unsigned done = 0;

    (void)state;
    for (seed = 0; seed < 60; seed++) {
        prepare(IOTSEC_CONNECTION_ID_ON, IOTSEC_CONNECTION_ID_ON);
        wire.random = seed;
        wire.loss = 30;
        wire.duplicate = 20;
        wire.reorder_ms = 40;
        wire.delay_ms = 10;
        start();
        pair_connect(&client, &server);
        wire_run(&wire, 19000);
        if (client.established == 1) {
            done++;
            wire.loss = wire.duplicate = 0;
            wire_run(&wire, 5000);
            assert_int_equal(server.established, 1);
            assert_talk(&client);
        }
    }
    assert_true(done >= 58);
}

static unsigned finished_lost;
static uint8_t finished_type;

/* Loses the first datagrams that carry a Finished of that end. */
static bool lose_finished(struct wire *w, struct datagram *datagram)
{
    size_t at = 0;

    (void)w;
    while (at + 13 <= datagram->len) {
        const uint8_t *r = datagram->data + at;
        size_t header = r[0] == 25 ? 15 : 13;

        if (r[4] == 1 && r[0] == finished_type && finished_lost != 0) {
            finished_lost--;
            return false;
        }
        at += header + (size_t)(r[header - 2] << 8 | r[header - 1]);
    }
    return true;
}

static void each_finished_is_repeated(void **state)
{
    unsigned i;

    (void)state;
    for (i = 0; i < 2; i++) {
        prepare(IOTSEC_CONNECTION_ID_ON, IOTSEC_CONNECTION_ID_ON);
        start();
        finished_type = i == 0 ? 25 : 22; /* the client's, the server's */
        finished_lost = 3;
        wire.filter = lose_finished;
        pair_connect(&client, &server);
        wire_run(&wire, 10000);
        assert_int_equal(finished_lost, 0);
        assert_int_equal(client.established, 1);
        assert_int_equal(server.established, 1);
        assert_talk(&client);
    }
}

/* A copy of the client's Finished asks for the server's, and a copy of anything else for nothing. */
static void a_copied_finished_asks_for_the_last_flight(void **state)
{
    struct datagram finished;
    struct iotsec_addr elsewhere;
    uint32_t sent;

    (void)state;
    prepare(IOTSEC_CONNECTION_ID_ON, IOTSEC_CONNECTION_ID_ON);
    start();
    watch_end(&client);
    establish(&client);
    finished = seen.last;
    elsewhere = client.addr;
    elsewhere.port++;
    wire.now += 1000;
    sent = server.sent_datagrams;
    wire_inject(&wire, &elsewhere, &server.addr, finished.data, finished.len);
    (void)wire_step(&wire);
    assert_int_equal(server.sent_datagrams, sent + 1);
    /* it went where the session is */
    assert_true(iotsec_addr_equal(&wire_peek(&wire)->to, &client.addr));
    wire_settle(&wire);
    assert_talk(&client);
    wire.now += 1000;
    sent = server.sent_datagrams;
    wire_inject(&wire, &client.addr, &server.addr, finished.data, finished.len);
    wire_settle(&wire);
    assert_int_equal(server.sent_datagrams, sent);
}

/* A peer that pads its Finished is understood; so is one whose Finished comes before the keys. */
static void a_padded_and_an_early_finished_are_taken(void **state)
{
    unsigned row;

    (void)state;
    for (row = 0; row < 2; row++) {
        struct datagram flight;
        uint32_t asked;

        prepare(IOTSEC_CONNECTION_ID_ON, IOTSEC_CONNECTION_ID_ON);
        if (row == 1) {
            server.psk_answer = IOTSEC_ERR_PENDING;
        }
        start();
        watch_end(&client);
        pair_connect(&client, &server);
        (void)wire_step(&wire);
        (void)wire_step(&wire);
        flight = seen.last;
        wire_clear(&wire);
        if (row == 0) {
            /* seals the Finished anew, with padding: by hand, as the library never pads */
            struct iotsec_dtls_handshake *hs = &client.handshakes[0];
            size_t at = 0;
            uint8_t plain[FINISHED_BYTES + 8];
            size_t len;
            uint8_t *r;

            while (flight.data[at] != 25) {
                at += 13 + (size_t)(flight.data[at + 11] << 8 | flight.data[at + 12]);
            }
            r = flight.data + at;
            memset(plain, 0, sizeof plain);
            memcpy(plain, hs->flight + hs->flight_len - FINISHED_BYTES, FINISHED_BYTES);
            plain[FINISHED_BYTES] = 22; /* and seven zeros; the eighth byte that seal_cid appends is a zero, too */
            assert_int_equal(iotsec_record_seal_cid(&client.hal, &hs->u.keyed.write_key, 8, hs->peer_cid + 1, 2, r, 200, &len, 0, 1,
                                                    9, plain, sizeof plain),
                             IOTSEC_OK);
            flight.len = at + len;
        }
        wire_inject(&wire, &client.addr, &server.addr, flight.data, flight.len);
        (void)wire_step(&wire);
        asked = server.asked;
        assert_int_equal(asked, 1);
        if (row == 1) {
            struct iotsec_dtls_psk psk;

            assert_int_equal(server.established, 0);
            assert_true(server.handshakes[0].held_len != 0);
            memset(&psk, 0, sizeof psk);
            memcpy(psk.key, pair_psk, 16);
            psk.len = 16;
            assert_int_equal(iotsec_dtls_psk_complete(&server.dtls, server.asked_for, IOTSEC_OK, &psk), IOTSEC_OK);
            (void)iotsec_dtls_poll(&server.dtls);
        }
        assert_int_equal(server.established, 1);
        wire_settle(&wire);
        assert_int_equal(client.established, 1);
        client.sessions[0].write_sequence = 20;
        assert_talk(&client);
    }
}

static void a_wrong_psk_is_told_as_ever(void **state)
{
    static const uint8_t other[16] = { 1 };

    (void)state;
    prepare(IOTSEC_CONNECTION_ID_ON, IOTSEC_CONNECTION_ID_ON);
    server.psk = other;
    start();
    pair_connect(&client, &server);
    wire_run(&wire, 15000);
    assert_int_equal(client.failed_reason, IOTSEC_ERR_WRONG_PSK);
    assert_int_equal(server.first_reason, IOTSEC_ERR_WRONG_PSK);
}

/* Forged records with a half-open handshake's ID reach that handshake, from its address only; data of a session none. */
static void records_reach_only_their_handshake(void **state)
{
    struct datagram flight;
    uint8_t forged[80] = { 25, 0xFE, 0xFD, 0, 1, 0, 0, 0, 0, 0, 9 };

    (void)state;
    begin();
    /* a new handshake beside the session */
    watch_end(&client);
    pair_connect(&client, &server);
    while (seen.last.len == 0 || server.dtls.half_open == 0) {
        assert_non_null(wire_step(&wire));
    }
    flight = seen.last;
    wire_clear(&wire);
    memcpy(forged + 11, server.handshakes[0].cid, 2);
    assert_memory_not_equal(server.handshakes[0].cid, server.sessions[0].cid, 2);
    forged[14] = 40;
    /* a client that is established still speaks under its old ID */
    send_on(&client, client.info.session, "old");
    wire_settle(&wire);
    assert_int_equal(server.received, 1);
    /* forged ones before and after the keys */
    wire_inject(&wire, &third.addr, &server.addr, forged, 55);
    wire_settle(&wire);
    assert_int_equal(server.dtls.stats.drops[IOTSEC_DROP_NO_SESSION], 1);
    assert_int_equal(server.sessions[0].forgeries, 0);
    wire_inject(&wire, &client.addr, &server.addr, flight.data, flight.len);
    wire_settle(&wire);
    assert_int_equal(client.established, 2);
    assert_int_equal(server.established, 2);
    assert_int_equal(server.info.replaced != 0, 1);
    assert_talk(&client);
}

/* A slot that is used again has another ID, and the old one is nobody's: by close, by replacement, by a full table. */
static void a_stale_id_finds_nobody(void **state)
{
    struct datagram old;
    uint8_t cid[2];
    unsigned way;

    (void)state;
    for (way = 0; way < 2; way++) {
        uint32_t drops;

        begin();
        watch_end(&client);
        assert_talk(&client);
        old = seen.last;
        memcpy(cid, server.sessions[0].cid, 2);
        assert_non_null(iotsec_cid_find(&server.dtls, cid));
        if (way == 0) {
            assert_int_equal(iotsec_dtls_close(&server.dtls, server.info.session, 0), IOTSEC_OK);
            assert_null(iotsec_cid_find(&server.dtls, cid));
            wire_clear(&wire);
            establish(&third);
            assert_talk(&third);
        } else {
            establish(&client);
            assert_int_equal(server.dtls.sessions_used, 1);
            assert_talk(&client);
        }
        assert_memory_not_equal(server.sessions[0].cid, cid, 2);
        assert_ptr_equal(iotsec_cid_find(&server.dtls, server.sessions[0].cid), &server.sessions[0]);
        drops = server.dtls.stats.drops[IOTSEC_DROP_NO_SESSION];
        wire_inject(&wire, &client.addr, &server.addr, old.data, old.len);
        wire_settle(&wire);
        assert_int_equal(server.dtls.stats.drops[IOTSEC_DROP_NO_SESSION], drops + 1);
        assert_int_equal(server.sessions[0].forgeries, 0);
    }
}

/* Sessions come and go; the index has exactly those that stand. */
static void the_index_survives_many_sessions(void **state)
{
    unsigned i;
    unsigned k;

    (void)state;
    prepare(IOTSEC_CONNECTION_ID_ON, IOTSEC_CONNECTION_ID_ON);
    start();
    for (i = 0; i < 200; i++) {
        struct iotsec_addr was = client.addr;

        client.addr.port = (uint16_t)(100 + wire_random(&wire.random) % 8);
        pair_connect(&client, &server);
        wire_settle(&wire);
        if (client.established != 0) {
            assert_int_equal(server.sessions[0].forgeries, 0);
        }
        (void)iotsec_dtls_close(&client.dtls, client.info.session, 0);
        (void)was;
        if (wire_random(&wire.random) % 3 == 0) {
            (void)iotsec_dtls_flush(&client.dtls); /* the server learns it, or keeps the session */
        } else {
            client.dtls.tx_len = 0;
        }
        wire_settle(&wire);
        wire_run(&wire, 21000); /* handshakes that found no room end */
        for (k = 0; k < END_SESSIONS; k++) {
            const struct iotsec_dtls_session *s = &server.sessions[k];

            if (s->slot.state != HS_FREE) {
                assert_true((s->slot.flags & SESSION_CID) != 0);
                assert_ptr_equal(iotsec_cid_find(&server.dtls, s->cid), s);
            }
        }
        wire_run(&wire, 15000);
    }
}

static uint64_t few_state;

/* Only 2 different IDs. */
static int few_random(void *user, uint8_t *out, size_t len)
{
    size_t i;

    (void)user;
    for (i = 0; i < len; i++) {
        out[i] = (uint8_t)(wire_random(&few_state) >> 24);
    }
    if (len == IOTSEC_CID_OWN_BYTES) {
        out[0] = 0;
        out[1] &= 1;
    }
    return 0;
}

static void ids_are_unique_or_there_is_none(void **state)
{
    unsigned with = 0;
    unsigned i;
    unsigned k;
    unsigned l;

    (void)state;
    prepare(IOTSEC_CONNECTION_ID_ON, IOTSEC_CONNECTION_ID_ON);
    server.hal.random = few_random;
    start();
    for (i = 0; i < END_SESSIONS; i++) {
        client.addr.port = (uint16_t)(100 + i);
        establish(&client);
        with += client.info.connection_id == 1;
        assert_int_equal(client.info.connection_id, server.info.connection_id);
        assert_talk(&client);
        (void)iotsec_dtls_close(&client.dtls, client.info.session, 0);
        client.dtls.tx_len = 0;
    }
    assert_int_equal(with, 2);
    for (k = 0; k < END_SESSIONS; k++) {
        for (l = 0; l < k; l++) {
            assert_true((server.sessions[k].slot.flags & SESSION_CID) == 0 ||
                        (server.sessions[l].slot.flags & SESSION_CID) == 0 ||
                        memcmp(server.sessions[k].cid, server.sessions[l].cid, 2) != 0);
        }
    }
    /* half-open handshakes keep theirs to themselves as well, and an ID that no number is left for is left out */
    prepare(IOTSEC_CONNECTION_ID_ON, IOTSEC_CONNECTION_ID_ON);
    server.hal.random = few_random;
    start();
    for (i = 0; i < END_HANDSHAKES; i++) {
        client.addr.port = (uint16_t)(100 + i);
        pair_connect(&client, &server);
        (void)wire_step(&wire);
        wire_clear(&wire);
        assert_int_equal(iotsec_dtls_cancel(&client.dtls, client.handshakes[0].slot.handle), IOTSEC_OK);
    }
    assert_int_equal(server.dtls.half_open, END_HANDSHAKES);
    with = 0;
    for (k = 0; k < END_HANDSHAKES; k++) {
        with += (server.handshakes[k].slot.flags & HS_CID) != 0;
    }
    assert_int_equal(with, 2);
    /* then the client does not get the one that it wanted, either */
    for (k = 0; k < END_HANDSHAKES; k++) {
        if ((server.handshakes[k].slot.flags & HS_CID) == 0) {
            assert_int_equal(iotsec_dtls_cancel(&server.dtls, server.handshakes[k].slot.handle), IOTSEC_OK);
            change.type = IOTSEC_HS_CLIENT_HELLO;
            change.len = 3;
            change.whole = true;
            wire.filter = change_extension;
            client.addr.port = 300;
            pair_connect(&client, &server);
            (void)wire_step(&wire);
            wire_clear(&wire);
            assert_int_equal(server.handshakes[k].slot.state, HS_SERVER_SENT_DONE);
            assert_int_equal(server.handshakes[k].peer_cid[0], 0);
            break;
        }
    }
    for (k = 0; k < END_HANDSHAKES; k++) {
        for (l = 0; l < k; l++) {
            assert_true((server.handshakes[k].slot.flags & HS_CID) == 0 || (server.handshakes[l].slot.flags & HS_CID) == 0 ||
                        memcmp(server.handshakes[k].cid, server.handshakes[l].cid, 2) != 0);
        }
    }
}

/* What does not fit a half-open handshake is not tried with its key: no alert, no word to the application. */
static void a_half_open_takes_its_own_form_only(void **state)
{
    static const uint8_t bytes[] = { 22, 25, 25 };
    unsigned row;

    (void)state;
    for (row = 0; row < 3; row++) {
        uint8_t forged[64] = { 0, 0xFE, 0xFD, 0, 1, 0, 0, 0, 0, 0, 9 };
        bool asks = row != 2;
        uint32_t sent;

        prepare(asks ? IOTSEC_CONNECTION_ID_ON : IOTSEC_CONNECTION_ID_OFF, IOTSEC_CONNECTION_ID_ON);
        start();
        pair_connect(&client, &server);
        (void)wire_step(&wire);
        (void)wire_step(&wire);
        {
            /* ClientKeyExchange alone: keys, and no Finished */
            struct datagram flight = *wire_peek(&wire);

            wire_clear(&wire);
            wire_inject(&wire, &client.addr, &server.addr, flight.data,
                        13u + (size_t)(flight.data[11] << 8 | flight.data[12]));
        }
        wire_settle(&wire);
        assert_int_equal(server.handshakes[0].slot.state, HS_SERVER_GOT_KEYS);
        forged[0] = bytes[row];
        forged[row == 0 ? 12 : 14] = 40;
        if (row == 1) {
            memcpy(forged + 11, server.handshakes[0].cid, 2);
            forged[11] ^= 1;
        }
        sent = server.sent_datagrams;
        wire_inject(&wire, &client.addr, &server.addr, forged, row == 0 ? 53 : 55);
        wire_settle(&wire);
        assert_int_equal(server.dtls.stats.drops[IOTSEC_DROP_NOT_ALLOWED], 1);
        assert_int_equal(server.failed, 0);
        assert_int_equal(server.sent_datagrams, sent);
        wire_run(&wire, 5000);
        assert_int_equal(client.established, 1);
    }
}

static void who_never_asks_takes_none(void **state)
{
    uint8_t record[64] = { 25, 0xFE, 0xFD, 0, 1, 0, 0, 0, 0, 0, 9 };

    (void)state;
    prepare(IOTSEC_CONNECTION_ID_ON, IOTSEC_CONNECTION_ID_OFF);
    client.callbacks.psk = NULL; /* no server */
    start();
    establish(&client);
    record[14] = 40;
    wire_inject(&wire, &client.addr, &server.addr, record, 55);
    wire_inject(&wire, &server.addr, &client.addr, record, 55);
    wire_settle(&wire);
    assert_int_equal(server.dtls.stats.drops[IOTSEC_DROP_MALFORMED], 1);
    assert_int_equal(client.dtls.stats.drops[IOTSEC_DROP_MALFORMED], 1);
}

/* A hello that was refused leaves no ID behind. */
static void a_refused_hello_leaves_no_id(void **state)
{
    (void)state;
    prepare(IOTSEC_CONNECTION_ID_ON, IOTSEC_CONNECTION_ID_OFF);
    start();
    pair_connect(&client, &server);
    memset(client.handshakes[0].peer_cid, 3, 4); /* as its parser left it */
    wire_settle(&wire);
    assert_int_equal(client.established, 1);
    assert_int_equal(client.sessions[0].peer_cid[0], 0);
    assert_talk(&client);
}

static void a_config_names_a_policy(void **state)
{
    (void)state;
    prepare(IOTSEC_CONNECTION_ID_ON + 1, 0);
    assert_int_equal(iotsec_dtls_init(&client.dtls, &client.config), IOTSEC_ERR_ARGUMENT);
}

/* Whatever the limits of this build: both ends can send a Finished under the longest IDs. */
static void a_buffer_holds_a_finished_with_the_longest_id(void **state)
{
    size_t least = IOTSEC_CID_MAX > 156 ? 100 + IOTSEC_CID_MAX : 256;

    (void)state;
    if (least < IOTSEC_HELD_RECORD_BYTES) {
        least = IOTSEC_HELD_RECORD_BYTES;
    }
    prepare(IOTSEC_CONNECTION_ID_ON, IOTSEC_CONNECTION_ID_ON);
    server.config.tx_size = least - 1;
    assert_int_equal(iotsec_dtls_init(&server.dtls, &server.config), IOTSEC_ERR_ARGUMENT);
    server.config.tx_size = least;
    start();
    establish(&client);
    assert_talk(&client);
    /* and what is told of the room left is true, not what is left below nothing */
    server.sessions[0].peer_cid[0] = IOTSEC_CID_MAX;
    assert_int_equal(iotsec_dtls_send(&server.dtls, server.info.session, 23, server.tx, least), IOTSEC_ERR_TOO_LONG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_buffer_holds_a_finished_with_the_longest_id),
        cmocka_unit_test(is_agreed_on_by_policy),
        cmocka_unit_test(a_client_of_other_make_may_want_one),
        cmocka_unit_test(both_directions_carry_one),
        cmocka_unit_test(a_client_refuses_what_it_cannot_write),
        cmocka_unit_test(plain_records_are_dropped),
        cmocka_unit_test(replays_and_forgeries_are_dropped),
        cmocka_unit_test(an_old_record_is_no_finished),
        cmocka_unit_test(the_last_flights_may_be_lost),
        cmocka_unit_test(each_finished_is_repeated),
        cmocka_unit_test(a_copied_finished_asks_for_the_last_flight),
        cmocka_unit_test(a_padded_and_an_early_finished_are_taken),
        cmocka_unit_test(a_wrong_psk_is_told_as_ever),
        cmocka_unit_test(records_reach_only_their_handshake),
        cmocka_unit_test(a_stale_id_finds_nobody),
        cmocka_unit_test(the_index_survives_many_sessions),
        cmocka_unit_test(ids_are_unique_or_there_is_none),
        cmocka_unit_test(a_half_open_takes_its_own_form_only),
        cmocka_unit_test(who_never_asks_takes_none),
        cmocka_unit_test(a_refused_hello_leaves_no_id),
        cmocka_unit_test(a_config_names_a_policy),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

int main(void)
{
    return 0;
}

#endif
