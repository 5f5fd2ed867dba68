/* SPDX-License-Identifier: BSD-3-Clause */
/* A session that goes on from another address (RFC 9146, section 6; docs/protocol.md, section 13). */
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
static struct iotsec_addr old;
static struct iotsec_addr other;

/* A session from `old`; the client then has the address `other`. */
static void begin(void)
{
    wire_init(&wire, 1);
    end_init(&client, &wire, 1);
    end_init(&server, &wire, 2);
    end_init(&third, &wire, 3);
    client.config.connection_id = server.config.connection_id = third.config.connection_id = IOTSEC_CONNECTION_ID_ON;
    end_start(&client);
    end_start(&server);
    end_start(&third);
    pair_connect(&client, &server);
    wire_settle(&wire);
    assert_int_equal(client.established, 1);
    assert_int_equal(iotsec_dtls_send(&client.dtls, client.info.session, 23, (const uint8_t *)"first", 5), IOTSEC_OK);
    assert_int_equal(iotsec_dtls_flush(&client.dtls), IOTSEC_OK);
    wire_settle(&wire);
    assert_int_equal(server.received, 1);
    server.received = 0;
    old = client.addr;
    other = old;
    other.ip[0] = 0x20;
    other.ip[15] = 99;
    client.addr = other;
}

static void send_len(struct end *from, iotsec_dtls_handle session, size_t len)
{
    static const uint8_t text[1400] = { 'x' };

    assert_int_equal(iotsec_dtls_send(&from->dtls, session, 23, text, len), IOTSEC_OK);
}

static void flush(struct end *from)
{
    assert_int_equal(iotsec_dtls_flush(&from->dtls), IOTSEC_OK);
}

/* What the server's `receive` does. */
static struct {
    int moved;
    enum iotsec_status elsewhere;
    uint8_t mark[IOTSEC_PATH_MARK_BYTES];
    enum iotsec_status move;
    bool want_move;
    size_t answers;
    size_t len;
    bool later; /* answers after the move */
} act;

static void answer(struct end *end, iotsec_dtls_handle session)
{
    size_t i;

    act.moved = iotsec_dtls_moved(&end->dtls, session);
    act.elsewhere = iotsec_dtls_elsewhere(&end->dtls, session, act.mark);
    assert_int_equal(iotsec_dtls_elsewhere(&end->dtls, session, NULL), act.elsewhere);
    if (act.want_move) {
        act.move = iotsec_dtls_move(&end->dtls, session);
    }
    for (i = 0; i < act.answers; i++) {
        send_len(end, session, act.len);
    }
}

static void set_act(size_t answers, size_t len, bool want_move)
{
    memset(&act, 0, sizeof act);
    act.answers = answers;
    act.len = len;
    act.want_move = want_move;
    server.on_receive = answer;
}

/* Bytes on the way to an address. */
static size_t bytes_to(const struct iotsec_addr *to)
{
    size_t sum = 0;
    size_t i;

    for (i = 0; i < WIRE_MAX; i++) {
        if (wire.queue[i].used && iotsec_addr_equal(&wire.queue[i].to, to)) {
            sum += wire.queue[i].len;
        }
    }
    return sum;
}

static void a_new_address_gets_answers_only(void **state)
{
    iotsec_dtls_handle session;
    size_t in;
    struct iotsec_addr addr;

    (void)state;
    begin();
    session = server.info.session;
    set_act(1, 20, false);
    send_len(&client, client.info.session, 10);
    flush(&client);
    assert_int_equal(iotsec_dtls_moved(&server.dtls, session), 0);
    (void)wire_step(&wire);
    assert_int_equal(server.received, 1);
    assert_int_equal(act.moved, 1);
    assert_int_equal(bytes_to(&other), IOTSEC_UNICAST_OVERHEAD_CCM_8_BYTES + 20);
    assert_int_equal(bytes_to(&old), 0);
    wire_clear(&wire);
    /* what comes later goes where the session is */
    assert_int_equal(iotsec_dtls_moved(&server.dtls, session), 0);
    assert_int_equal(iotsec_dtls_move(&server.dtls, session), IOTSEC_ERR_STATE);
    send_len(&server, session, 20);
    flush(&server);
    assert_int_equal(bytes_to(&other), 0);
    assert_true(bytes_to(&old) != 0);
    wire_clear(&wire);
    assert_int_equal(iotsec_dtls_peer(&server.dtls, session, &addr, NULL), IOTSEC_OK);
    assert_true(iotsec_addr_equal(&addr, &old));
    assert_int_equal(iotsec_dtls_find(&server.dtls, &other), 0);

    /* three times the datagram, not a byte more, whatever stands in it */
    set_act(4, 1, false);
    send_len(&client, client.info.session, 1);
    send_len(&client, client.info.session, 1);
    flush(&client);
    in = bytes_to(&server.addr);
    assert_int_equal(in, 2 * (IOTSEC_UNICAST_OVERHEAD_CCM_8_BYTES + 4));
    (void)wire_step(&wire);
    assert_int_equal(server.received, 3);
    assert_int_equal(bytes_to(&other), 6 * (IOTSEC_UNICAST_OVERHEAD_CCM_8_BYTES + 1)); /* 180 of 198 */
    assert_int_equal(server.dtls.stats.drops[IOTSEC_DROP_AMPLIFICATION], 2);
    wire_clear(&wire);
    set_act(1, 3 * (IOTSEC_UNICAST_OVERHEAD_CCM_8_BYTES + 4) - IOTSEC_UNICAST_OVERHEAD_CCM_8_BYTES, false);
    send_len(&client, client.info.session, 1);
    flush(&client);
    in = bytes_to(&server.addr);
    (void)wire_step(&wire);
    assert_int_equal(bytes_to(&other), 3 * in);
    wire_clear(&wire);
    act.len++;
    send_len(&client, client.info.session, 1);
    flush(&client);
    (void)wire_step(&wire);
    assert_int_equal(bytes_to(&other), 0);
    assert_int_equal(bytes_to(&old), 0);
    assert_int_equal(server.dtls.stats.drops[IOTSEC_DROP_AMPLIFICATION], 3);
}

static void the_move_keeps_handle_and_id(void **state)
{
    iotsec_dtls_handle session;
    struct iotsec_addr addr;

    (void)state;
    begin();
    session = server.info.session;
    set_act(3, 300, true);
    send_len(&client, client.info.session, 10);
    flush(&client);
    (void)wire_step(&wire);
    assert_int_equal(act.moved, 1);
    assert_int_equal(act.move, IOTSEC_OK);
    assert_true(bytes_to(&other) >= 900); /* no limit any more */
    assert_int_equal(iotsec_dtls_find(&server.dtls, &old), 0);
    assert_int_equal(iotsec_dtls_find(&server.dtls, &other), session);
    assert_int_equal(iotsec_dtls_peer(&server.dtls, session, &addr, NULL), IOTSEC_OK);
    assert_true(iotsec_addr_equal(&addr, &other));
    assert_ptr_equal(iotsec_cid_find(&server.dtls, server.sessions[0].cid), &server.sessions[0]);
    wire_settle(&wire);
    assert_int_equal(client.received, 3);
    /* from here on it is its address, and another one is a candidate again */
    set_act(1, 5, true);
    send_len(&client, client.info.session, 10);
    flush(&client);
    (void)wire_step(&wire);
    assert_int_equal(act.moved, 0);
    assert_int_equal(act.move, IOTSEC_ERR_STATE);
    wire_settle(&wire);
    assert_int_equal(client.received, 4);
    client.addr = old;
    set_act(1, 5, true);
    send_len(&client, client.info.session, 10);
    flush(&client);
    (void)wire_step(&wire);
    assert_int_equal(act.move, IOTSEC_OK);
    assert_int_equal(iotsec_dtls_find(&server.dtls, &old), session);
    /* and a new handshake from there replaces it, as ever */
    server.on_receive = NULL;
    wire_settle(&wire);
    pair_connect(&client, &server);
    wire_settle(&wire);
    assert_int_equal(client.established, 2);
    assert_int_equal(server.info.replaced, session);
    assert_int_equal(server.dtls.sessions_used, 1);
}

static iotsec_dtls_handle third_session;

static void tell_third(struct end *end, iotsec_dtls_handle session)
{
    assert_int_equal(iotsec_dtls_moved(&end->dtls, session), 1);
    assert_int_equal(iotsec_dtls_moved(&end->dtls, third_session), 0);
    assert_int_equal(iotsec_dtls_move(&end->dtls, third_session), IOTSEC_ERR_STATE);
    send_len(end, third_session, 200);
    send_len(end, session, 5);
}

/* What goes to other peers meanwhile goes where they are, without a limit. */
static void other_sessions_stay_where_they_are(void **state)
{
    (void)state;
    begin();
    pair_connect(&third, &server);
    wire_settle(&wire);
    assert_int_equal(third.established, 1);
    third_session = server.info.session;
    server.on_receive = tell_third;
    send_len(&client, client.info.session, 10);
    flush(&client);
    (void)wire_step(&wire);
    assert_int_equal(server.received, 1);
    assert_true(bytes_to(&third.addr) > 200);
    assert_int_equal(bytes_to(&other), IOTSEC_UNICAST_OVERHEAD_CCM_8_BYTES + 5);
}

static void move_and_look(struct end *end, iotsec_dtls_handle session)
{
    assert_int_equal(iotsec_dtls_elsewhere(&end->dtls, session, NULL), IOTSEC_OK);
    assert_int_equal(iotsec_dtls_move(&end->dtls, session), IOTSEC_OK);
    act.elsewhere = iotsec_dtls_elsewhere(&end->dtls, session, NULL);
}

/* The newest or not, each place has its mark; the session's own has none, and outside of `receive` there is no record. */
static void marks_where_records_came_from(void **state)
{
    static const struct {
        uint8_t place;     /* 0: the session's own */
        bool overtaken;
        enum iotsec_status expected;
        int moved;
    } rows[] = {
        /* 1 */ { 1, false, IOTSEC_OK, 1 },
        /* 2 */ { 1, true, IOTSEC_OK, 0 },
        /* 3 */ { 0, false, IOTSEC_ERR_STATE, 0 },
        /* 4 */ { 0, true, IOTSEC_ERR_STATE, 0 },
        /* 5 */ { 2, false, IOTSEC_OK, 1 },
        /* 6 */ { 2, true, IOTSEC_OK, 0 },
    };
    uint8_t marks[3][IOTSEC_PATH_MARK_BYTES] = { { 0 } };
    struct datagram late;
    size_t i;

    (void)state;
    begin();
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct iotsec_addr from = rows[i].place == 0 ? old : other;
        uint8_t *mark = marks[rows[i].place];

        from.port = (uint16_t)(from.port + (rows[i].place == 2));
        set_act(0, 0, false);
        client.addr = from;
        send_len(&client, client.info.session, 10);
        flush(&client);
        late = *wire_peek(&wire);
        if (rows[i].overtaken) {
            wire_clear(&wire);
            client.addr = old;
            send_len(&client, client.info.session, 10);
            flush(&client);
            (void)wire_step(&wire);
            wire_inject(&wire, &from, &server.addr, late.data, late.len);
        }
        (void)wire_step(&wire);
        assert_int_equal(act.elsewhere, rows[i].expected);
        assert_int_equal(act.moved, rows[i].moved);
        if (rows[i].expected == IOTSEC_OK) {
            assert_true(!rows[i].overtaken || memcmp(mark, act.mark, sizeof act.mark) == 0);
            memcpy(mark, act.mark, sizeof act.mark);
        }
        assert_int_equal(iotsec_dtls_elsewhere(&server.dtls, server.info.session, NULL), IOTSEC_ERR_STATE);
    }
    assert_memory_not_equal(marks[1], marks[2], sizeof marks[1]);
    assert_int_equal(iotsec_dtls_elsewhere(NULL, server.info.session, NULL), IOTSEC_ERR_STATE);
    /* the move makes it the session's own */
    set_act(0, 0, true);
    client.addr = other;
    send_len(&client, client.info.session, 10);
    flush(&client);
    server.on_receive = move_and_look;
    (void)wire_step(&wire);
    assert_int_equal(act.elsewhere, IOTSEC_ERR_STATE);
}

/* Genuine, but overtaken: delivered, and no candidate. A forged one changes nothing. */
static void older_and_forged_records_do_not_move(void **state)
{
    struct datagram first;
    struct datagram second;
    uint16_t forgeries;

    (void)state;
    begin();
    set_act(1, 5, true);
    send_len(&client, client.info.session, 10);
    flush(&client);
    first = *wire_peek(&wire);
    wire_clear(&wire);
    client.addr = old;
    send_len(&client, client.info.session, 11);
    flush(&client);
    second = *wire_peek(&wire);
    (void)wire_step(&wire);
    assert_int_equal(act.moved, 0);
    wire_settle(&wire);
    wire_inject(&wire, &other, &server.addr, first.data, first.len);
    (void)wire_step(&wire);
    assert_int_equal(server.received, 2);
    assert_int_equal(act.moved, 0);
    assert_int_equal(act.move, IOTSEC_ERR_STATE);
    assert_int_equal(bytes_to(&other), 0);
    assert_true(bytes_to(&old) != 0);
    wire_clear(&wire);
    /* seen before, from elsewhere */
    wire_inject(&wire, &other, &server.addr, second.data, second.len);
    wire_settle(&wire);
    assert_int_equal(server.received, 2);
    assert_int_equal(bytes_to(&other), 0);
    /* forged, with the highest number */
    forgeries = server.sessions[0].forgeries;
    second.data[10] = 200;
    wire_inject(&wire, &other, &server.addr, second.data, second.len);
    (void)wire_step(&wire);
    assert_int_equal(server.received, 2);
    assert_int_equal(server.sessions[0].forgeries, forgeries + 1);
    assert_int_equal(bytes_to(&other), 0);
    assert_int_equal(iotsec_dtls_find(&server.dtls, &old), server.info.session);
}

/* Somebody copies a genuine record and is faster: he gets an answer that he cannot read, and the session stays. */
static void a_thief_gets_one_answer(void **state)
{
    struct datagram copy;
    struct iotsec_addr thief;

    (void)state;
    begin();
    client.addr = old;
    thief = other;
    thief.ip[14] = 66;
    set_act(1, 5, false);
    send_len(&client, client.info.session, 10);
    flush(&client);
    copy = *wire_peek(&wire);
    wire_clear(&wire);
    wire_inject(&wire, &thief, &server.addr, copy.data, copy.len);
    (void)wire_step(&wire);
    assert_int_equal(bytes_to(&thief), IOTSEC_UNICAST_OVERHEAD_CCM_8_BYTES + 5);
    wire_clear(&wire);
    /* the client's next record, from its own address */
    set_act(1, 5, false);
    send_len(&client, client.info.session, 10);
    flush(&client);
    (void)wire_step(&wire);
    assert_int_equal(act.moved, 0);
    wire_settle(&wire);
    assert_int_equal(client.received, 1);
}

static void a_taken_address_is_refused(void **state)
{
    (void)state;
    begin();
    pair_connect(&third, &server);
    wire_settle(&wire);
    assert_int_equal(third.established, 1);
    assert_int_equal(server.dtls.sessions_used, 2);
    wire_run(&wire, 1000);
    set_act(0, 0, true);
    send_len(&client, client.info.session, 10);
    flush(&client);
    {
        struct datagram copy = *wire_peek(&wire);

        wire_clear(&wire);
        wire_inject(&wire, &third.addr, &server.addr, copy.data, copy.len);
    }
    wire_settle(&wire);
    assert_int_equal(act.moved, 1);
    assert_int_equal(act.move, IOTSEC_ERR_EXISTS);
    assert_int_equal(iotsec_dtls_find(&server.dtls, &third.addr), server.info.session);
    server.received = 0;
    send_len(&third, third.info.session, 1);
    flush(&third);
    wire_settle(&wire);
    assert_int_equal(server.received, 1);
}

/* The goodbye is authenticated, wherever it comes from; what a callback closes or asks for is not there any more. */
static void a_session_can_end_from_elsewhere(void **state)
{
    (void)state;
    begin();
    assert_int_equal(iotsec_dtls_close(&client.dtls, client.info.session, IOTSEC_ALERT_CLOSE_NOTIFY), IOTSEC_OK);
    flush(&client);
    (void)wire_step(&wire);
    assert_int_equal(server.closed, 1);
    assert_int_equal(server.closed_reason, IOTSEC_ERR_CLOSED);
    assert_int_equal(server.dtls.sessions_used, 0);
    assert_int_equal(bytes_to(&old), 0);
    assert_int_equal(bytes_to(&other), IOTSEC_UNICAST_OVERHEAD_CCM_8_BYTES + 2);
    assert_null(server.dtls.moved_to);
}

static void close_it(struct end *end, iotsec_dtls_handle session)
{
    assert_int_equal(iotsec_dtls_close(&end->dtls, session, IOTSEC_ALERT_CLOSE_NOTIFY), IOTSEC_OK);
    assert_int_equal(iotsec_dtls_moved(&end->dtls, session), 0);
    assert_int_equal(iotsec_dtls_move(&end->dtls, session), IOTSEC_ERR_NOT_FOUND);
}

static void a_callback_may_close_it(void **state)
{
    (void)state;
    begin();
    server.on_receive = close_it;
    send_len(&client, client.info.session, 10);
    send_len(&client, client.info.session, 10);
    flush(&client);
    (void)wire_step(&wire);
    assert_int_equal(server.received, 1);
    assert_int_equal(server.dtls.stats.drops[IOTSEC_DROP_NO_SESSION], 1);
    assert_int_equal(bytes_to(&other), IOTSEC_UNICAST_OVERHEAD_CCM_8_BYTES + 2);
}

/* The client lacks our Finished and repeats its own from another address: it gets it there. */
static void the_last_flight_follows(void **state)
{
    (void)state;
    begin();
    iotsec_dtls_wipe(&client.dtls);
    iotsec_dtls_wipe(&server.dtls);
    client.addr = old;
    end_start(&client);
    end_start(&server);
    client.established = 0;
    pair_connect(&client, &server);
    (void)wire_step(&wire);
    (void)wire_step(&wire);
    (void)wire_step(&wire);
    assert_int_equal(server.dtls.sessions_used, 1);
    wire_clear(&wire);
    client.addr = other;
    wire_run(&wire, 3000);
    assert_int_equal(client.established, 1);
    assert_int_equal(iotsec_dtls_find(&server.dtls, &old), server.info.session);
}

static void readdress_to_other(struct end *end, iotsec_dtls_handle session)
{
    if (end->received == 1) {
        assert_int_equal(iotsec_dtls_readdress(&end->dtls, session, &other), IOTSEC_OK);
    }
}

/* What stands behind the record whose callback changes the address is of the same session. */
static void readdressing_within_a_datagram(void **state)
{
    unsigned i;

    (void)state;
    begin();
    client.addr = old;
    client.received = 0;
    client.on_receive = readdress_to_other;
    for (i = 0; i < 3; i++) {
        send_len(&server, server.info.session, 10);
    }
    flush(&server);
    wire_settle(&wire);
    assert_int_equal(client.received, 3);
    assert_int_equal(client.dtls.stats.drops[IOTSEC_DROP_NO_SESSION], 0);
    assert_true(iotsec_dtls_find(&client.dtls, &other) == client.info.session);
    assert_int_equal(iotsec_dtls_find(&client.dtls, &server.addr), 0);
    /* the next one comes from where it comes from */
    send_len(&server, server.info.session, 10);
    flush(&server);
    wire_settle(&wire);
    assert_int_equal(client.received, 3);
    assert_int_equal(client.dtls.stats.drops[IOTSEC_DROP_NO_SESSION], 1);
}

static void readdressing(void **state)
{
    struct iotsec_addr group;

    (void)state;
    begin();
    client.addr = old;
    pair_connect(&client, &third);
    wire_settle(&wire);
    assert_int_equal(client.established, 2);
    group = third.addr;
    group.ip[0] = 0xFF;
    assert_int_equal(iotsec_dtls_readdress(NULL, client.info.session, &other), IOTSEC_ERR_ARGUMENT);
    assert_int_equal(iotsec_dtls_readdress(&client.dtls, client.info.session, &group), IOTSEC_ERR_ARGUMENT);
    assert_int_equal(iotsec_dtls_readdress(&client.dtls, 77, &other), IOTSEC_ERR_NOT_FOUND);
    assert_int_equal(iotsec_dtls_readdress(&client.dtls, client.info.session, &server.addr), IOTSEC_ERR_EXISTS);
    assert_int_equal(iotsec_dtls_readdress(&client.dtls, client.info.session, &third.addr), IOTSEC_OK);
    assert_int_equal(iotsec_dtls_readdress(&client.dtls, client.info.session, &other), IOTSEC_OK);
    assert_int_equal(iotsec_dtls_find(&client.dtls, &third.addr), 0);
    assert_int_equal(iotsec_dtls_find(&client.dtls, &other), client.info.session);
    third.addr = other; /* the server is there too */
    third.received = 0;
    send_len(&client, client.info.session, 10);
    flush(&client);
    wire_settle(&wire);
    assert_int_equal(third.received, 1);
    /* a server's client has asked for no ID: it would not know the session again */
    assert_int_equal(iotsec_dtls_readdress(&server.dtls, server.info.session, &other), IOTSEC_ERR_STATE);
}

/* Each session in use stands in its index once, by path and by ID, and nothing else does. Ends where a chain does not. */
static void check_index(const struct end *end)
{
#if !IOTSEC_HASH_INDEX
    (void)end;
#else
    unsigned by_path[END_SESSIONS] = { 0 };
    unsigned by_cid[END_SESSIONS] = { 0 };
    unsigned steps = 0;
    uint16_t i;

    for (i = 0; i < END_SESSIONS; i++) {
        uint16_t at;

        for (at = end->sessions[i].slot.link.head; at != 0xFFFF; at = end->sessions[at].slot.link.next) {
            assert_true(at < END_SESSIONS && ++steps <= 2 * END_SESSIONS);
            by_path[at]++;
        }
        for (at = end->sessions[i].slot.cid_link.head; at != 0xFFFF; at = end->sessions[at].slot.cid_link.next) {
            assert_true(at < END_SESSIONS && ++steps <= 2 * END_SESSIONS);
            by_cid[at]++;
        }
    }
    for (i = 0; i < END_SESSIONS; i++) {
        assert_int_equal(by_path[i], end->sessions[i].slot.state != HS_FREE);
        assert_int_equal(by_cid[i], (end->sessions[i].slot.flags & SESSION_CID) != 0);
    }
#endif
}

static void move_and_check(struct end *end, iotsec_dtls_handle session)
{
    act.move = iotsec_dtls_move(&end->dtls, session);
    check_index(end); /* before anything looks for a path and perhaps never comes back */
}

static void a_moved_session_is_filed_once(void **state)
{
    uint8_t i;

    (void)state;
    begin();
    pair_connect(&third, &server);
    wire_settle(&wire);
    check_index(&server);
    server.on_receive = move_and_check;
    for (i = 0; i < 16; i++) {
        client.addr.ip[15] = (uint8_t)(100 + i);
        act.move = IOTSEC_ERR_STATE;
        send_len(&client, client.info.session, 10);
        flush(&client);
        wire_settle(&wire);
        assert_int_equal(act.move, IOTSEC_OK);
        assert_int_not_equal(iotsec_dtls_find(&server.dtls, &client.addr), 0);
        assert_int_not_equal(iotsec_dtls_find(&server.dtls, &third.addr), 0);
    }
    assert_int_equal(server.dtls.sessions_used, 2);
}

static uint64_t chance;

static void do_anything(struct end *end, iotsec_dtls_handle session)
{
    uint64_t what = wire_random(&chance) % 4;

    if (what == 0) {
        (void)iotsec_dtls_close(&end->dtls, session, IOTSEC_ALERT_CLOSE_NOTIFY);
    } else if (what != 1) {
        (void)iotsec_dtls_move(&end->dtls, session);
    }
    check_index(end);
    (void)iotsec_dtls_send(&end->dtls, session, 23, (const uint8_t *)"answer", 6);
}

/* Two clients that share a few addresses come, move, close and come again. */
static void whatever_happens_the_indexes_hold(void **state)
{
    unsigned step;

    (void)state;
    begin();
    chance = 7;
    server.on_receive = do_anything;
    for (step = 0; step < 3000; step++) {
        struct end *end = wire_random(&chance) % 2 != 0 ? &client : &third;
        const struct end *else_end = end == &client ? &third : &client;
        uint8_t number = (uint8_t)(100 + wire_random(&chance) % 5);

        switch (wire_random(&chance) % 5) {
        case 0:
            if (else_end->addr.ip[15] != number) {
                end->addr = other;
                end->addr.ip[15] = number;
            }
            break;
        case 1:
            (void)pair_connect(end, &server);
            break;
        case 2:
            (void)iotsec_dtls_close(&end->dtls, end->info.session, IOTSEC_ALERT_CLOSE_NOTIFY);
            break;
        default:
            (void)iotsec_dtls_send(&end->dtls, end->info.session, 23, (const uint8_t *)"x", 1);
            break;
        }
        flush(end);
        wire_run(&wire, 700);
        check_index(&server);
        check_index(&client);
        assert_null(server.dtls.moved_to);
    }
    assert_true(server.established > 100 && server.closed > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_moved_session_is_filed_once),
        cmocka_unit_test(whatever_happens_the_indexes_hold),
        cmocka_unit_test(a_new_address_gets_answers_only),
        cmocka_unit_test(the_move_keeps_handle_and_id),
        cmocka_unit_test(other_sessions_stay_where_they_are),
        cmocka_unit_test(marks_where_records_came_from),
        cmocka_unit_test(older_and_forged_records_do_not_move),
        cmocka_unit_test(a_thief_gets_one_answer),
        cmocka_unit_test(a_taken_address_is_refused),
        cmocka_unit_test(a_session_can_end_from_elsewhere),
        cmocka_unit_test(a_callback_may_close_it),
        cmocka_unit_test(the_last_flight_follows),
        cmocka_unit_test(readdressing),
        cmocka_unit_test(readdressing_within_a_datagram),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

int main(void)
{
    return 0;
}

#endif
