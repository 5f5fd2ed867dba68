/* SPDX-License-Identifier: BSD-3-Clause */
/* What sessions between devices need of the handshake: a key that depends on the peer's hello, refusals by name, what is
 * told of the client, exported keys, slots for own handshakes, and two handshakes that cross. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "handshake/engine.h"
#include "pair.h"

#if IOTSEC_DTLS_CLIENT && IOTSEC_DTLS_SERVER && IOTSEC_PAIRWISE

static struct wire wire;
static struct end client;
static struct end server;
static struct end third;

/* ---- A hello extension: the client's body is 'c', the server's 's'; its parse keeps that and answers as told ---- */

#define PAIR_PEER 1u

static enum iotsec_status parse_answer[2]; /* a client's, a server's */
static unsigned parsed[2];
static const struct end *smaller; /* the end that drops hellos while its own handshake runs; NULL: none does */
static iotsec_dtls_handle own_handshake[2]; /* of `client` and of `server` */

static enum iotsec_status write_mark(void *user, const struct iotsec_dtls_hello *hello, uint8_t *out, size_t size, size_t *len)
{
    (void)user;
    if (size < 1) {
        return IOTSEC_ERR_BUFFER;
    }
    out[0] = hello->is_server ? 's' : 'c';
    *len = 1;
    return IOTSEC_OK;
}

static enum iotsec_status parse_mark(void *user, const struct iotsec_dtls_hello *hello, const uint8_t *body, size_t len)
{
    assert_int_equal(len, 1);
    parsed[hello->is_server]++;
    hello->scratch[0] = body[0];
    if (hello->is_server && user == smaller && iotsec_dtls_scratch(&smaller->dtls, own_handshake[smaller != &client]) != NULL) {
        return IOTSEC_ERR_AGAIN;
    }
    return parse_answer[hello->is_server];
}

static const struct iotsec_dtls_extension marks[] = { { IOTSEC_EXTENSION_DEVICE_IDENTITY, write_mark, parse_mark } };

static void prepare(void)
{
    wire_init(&wire, 1);
    end_init(&client, &wire, 1);
    end_init(&server, &wire, 2);
    end_has_client_psk(&client);
    end_has_client_psk(&server);
    client.config.extensions = server.config.extensions = marks;
    client.config.extension_count = server.config.extension_count = 1;
    memset(parse_answer, 0, sizeof parse_answer);
    memset(parsed, 0, sizeof parsed);
    smaller = NULL;
}

static void start(void)
{
    end_start(&client);
    end_start(&server);
}

/* connect without a key. */
static iotsec_dtls_handle connect_from(struct end *from, const struct end *to, uint32_t peer)
{
    iotsec_dtls_handle handle = 0;

    assert_int_equal(iotsec_dtls_connect(&from->dtls, &to->addr, pair_identity, sizeof pair_identity, NULL, 0, peer, &handle),
                     IOTSEC_OK);
    from->poll_never = false;
    from->poll_at = wire.now;
    return handle;
}

static void assert_talk(void)
{
    client.received = server.received = 0;
    assert_int_equal(iotsec_dtls_send(&client.dtls, client.info.session, 23, (const uint8_t *)"up", 2), IOTSEC_OK);
    assert_int_equal(iotsec_dtls_send(&server.dtls, server.info.session, 23, (const uint8_t *)"down", 4), IOTSEC_OK);
    assert_int_equal(iotsec_dtls_flush(&client.dtls), IOTSEC_OK);
    assert_int_equal(iotsec_dtls_flush(&server.dtls), IOTSEC_OK);
    wire_settle(&wire);
    assert_int_equal(server.received, 1);
    assert_int_equal(client.received, 1);
}

/* ---- A key that depends on the server's hello ---- */

static iotsec_dtls_handle expected_handshake;

/* What the callback is shown. */
static void check_question(struct end *end, const struct iotsec_dtls_hello *hello)
{
    assert_int_equal(hello->handshake, expected_handshake);
    assert_int_equal(hello->is_server, 0);
    assert_int_equal(hello->peer, 1234);
    assert_int_equal(hello->scratch[0], 's');
    assert_ptr_equal(hello->scratch, iotsec_dtls_scratch(&end->dtls, hello->handshake));
    hello->scratch[1] = 'k';
}

static void asks_for_the_key(void **state)
{
    unsigned loss;

    (void)state;
    for (loss = 0; loss < 2; loss++) {
        prepare();
        client.on_client_psk = check_question;
        start();
        expected_handshake = connect_from(&client, &server, 1234);
        if (loss) {
            (void)wire_step(&wire); /* the first answer is lost: it is repeated, and asked once */
            wire_clear(&wire);
            wire_run(&wire, 2000);
        }
        wire_settle(&wire);
        assert_int_equal(client.client_asked, 1);
        assert_int_equal(client.established, 1);
        assert_int_equal(server.established, 1);
        assert_int_equal(client.info.peer, 1234);
        assert_int_equal(client.scratch[1], 'k');
        assert_int_equal(server.client_asked, 0);
        assert_talk();
        /* one that brings its key is not asked for it */
        pair_connect(&client, &server);
        wire_run(&wire, 2000);
        assert_int_equal(client.client_asked, 1);
    }
}

static void checks_connects_arguments(void **state)
{
    static const struct {
        const char *name;
        const uint8_t *psk;
        size_t len;
        bool callback;
        enum iotsec_status status;
    } rows[] = {
        { "key and callback", pair_psk, 16, true, IOTSEC_OK },
        { "key alone", pair_psk, 16, false, IOTSEC_OK },
        { "callback alone", NULL, 0, true, IOTSEC_OK },
        { "neither", NULL, 0, false, IOTSEC_ERR_ARGUMENT },
        { "no key of 16 bytes", NULL, 16, true, IOTSEC_ERR_ARGUMENT },
        { "a key of no bytes", pair_psk, 0, true, IOTSEC_ERR_ARGUMENT },
        { "a short key", pair_psk, 15, true, IOTSEC_ERR_ARGUMENT },
        { "a long key", pair_psk, IOTSEC_PSK_MAX + 1, true, IOTSEC_ERR_ARGUMENT },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        prepare();
        if (!rows[i].callback) {
            client.callbacks.client_psk = NULL;
        }
        start();
        if (iotsec_dtls_connect(&client.dtls, &server.addr, pair_identity, 15, rows[i].psk, rows[i].len, 1, NULL) !=
            rows[i].status) {
            fail_msg("%s", rows[i].name);
        }
        assert_int_equal(client.dtls.handshakes_used, rows[i].status == IOTSEC_OK);
    }
}

/* Every answer of the callback that is no key. */
static void names_what_the_key_lacked(void **state)
{
    static const struct {
        const char *name;
        enum iotsec_status answer;
        size_t psk_len;
        enum iotsec_status reason;
        unsigned asked;
    } rows[] = {
        { "another device", IOTSEC_ERR_PEER_IDENTITY, 16, IOTSEC_ERR_PEER_IDENTITY, 3 },
        { "another generation", IOTSEC_ERR_GENERATION, 16, IOTSEC_ERR_GENERATION, 3 },
        { "revoked", IOTSEC_ERR_REVOKED, 16, IOTSEC_ERR_REVOKED, 3 },
        { "no share", IOTSEC_ERR_NO_SHARE, 16, IOTSEC_ERR_NO_SHARE, 3 },
        { "malformed", IOTSEC_ERR_DECODE, 16, IOTSEC_ERR_PROTOCOL, 3 },
        { "the platform's", IOTSEC_ERR_CRYPTO, 16, IOTSEC_ERR_CRYPTO, 1 },
        { "no random numbers", IOTSEC_ERR_RANDOM, 16, IOTSEC_ERR_RANDOM, 1 },
        { "a state of this end", IOTSEC_ERR_STATE, 16, IOTSEC_ERR_STATE, 1 },
        { "a short key", IOTSEC_OK, 15, IOTSEC_ERR_ARGUMENT, 1 },
        { "no key", IOTSEC_OK, 0, IOTSEC_ERR_ARGUMENT, 1 },
    };
    unsigned policy;
    size_t i;

    (void)state;
    for (policy = IOTSEC_COOKIE_OFF; policy <= IOTSEC_COOKIE_ALWAYS; policy++) {
        for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            uint32_t begun;

            prepare();
            server.config.cookie_policy = (uint8_t)policy;
            client.client_psk_answer = rows[i].answer;
            client.psk_len = rows[i].psk_len;
            wire.delay_ms = 20;
            start();
            begun = wire.now;
            connect_from(&client, &server, 1);
            while (client.failed == 0 && wire.now - begun < 20000) {
                wire_run(&wire, 10);
            }
            if (client.failed != 1 || client.failed_reason != rows[i].reason || client.client_asked != rows[i].asked) {
                fail_msg("%s: %s, asked %u times", rows[i].name, iotsec_status_name(client.failed_reason),
                         (unsigned)client.client_asked);
            }
            assert_true(wire.now - begun < (rows[i].asked == 1 ? 200 : 4000));
            assert_int_equal(client.established + server.established, 0);
            assert_int_equal(client.dtls.handshakes_used, 0);
            assert_int_equal(server.asked, 0); /* no ClientKeyExchange has left */
            wire_run(&wire, 40000);
            assert_int_equal(client.failed, 1);
            assert_int_equal(server.dtls.half_open, 0);
        }
    }
}

/* A ServerHello without extension 0xFF11, and its Done. */
static const uint8_t forged_hello[] = {
    22, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12 + 38 + 11, /* */
    2, 0, 0, 49, 0, 0, 0, 0, 0, 0, 0, 49, 0xFE, 0xFD, /* */
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, /* */
    0, 0xC0, 0xA8, 0, 0, 9, 0, 23, 0, 0, 0xFF, 0x01, 0, 1, 0, /* */
    22, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 1, 0, 12, /* */
    14, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0,
};

static unsigned forgeries_left;
static unsigned first_hellos;
static uint8_t last_random[32];

/* Somebody answers each new try's first hello before the server does. */
static bool answer_first(struct wire *w, struct datagram *d)
{
    if (d->from.ip[15] == 1 && d->data[0] == 22 && d->data[13] == IOTSEC_HS_CLIENT_HELLO &&
        memcmp(d->data + 27, last_random, 32) != 0) {
        memcpy(last_random, d->data + 27, 32);
        first_hellos++;
        if (forgeries_left != 0) {
            forgeries_left--;
            wire_inject(w, &d->to, &d->from, forged_hello, sizeof forged_hello);
        }
    }
    return true;
}

static void want_the_mark(struct end *end, const struct iotsec_dtls_hello *hello)
{
    end->client_psk_answer = hello->scratch[0] == 's' ? IOTSEC_OK : IOTSEC_ERR_PEER_IDENTITY;
}

static void goes_on_with_a_better_hello(void **state)
{
    static const struct {
        const char *name;
        unsigned forged;
        uint8_t cookies;
        uint32_t asked;
        enum iotsec_status reason;
    } rows[] = {
        { "none", 0, IOTSEC_COOKIE_OFF, 1, IOTSEC_OK },
        { "one", 1, IOTSEC_COOKIE_OFF, 2, IOTSEC_OK },
        { "two", 2, IOTSEC_COOKIE_OFF, 3, IOTSEC_OK },
        { "each of three", 3, IOTSEC_COOKIE_OFF, 3, IOTSEC_ERR_PEER_IDENTITY },
        { "one before a cookie", 1, IOTSEC_COOKIE_ALWAYS, 2, IOTSEC_OK },
        { "two before a cookie", 2, IOTSEC_COOKIE_ALWAYS, 3, IOTSEC_OK },
        { "three before a cookie", 3, IOTSEC_COOKIE_ALWAYS, 3, IOTSEC_ERR_PEER_IDENTITY },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        prepare();
        server.config.cookie_policy = rows[i].cookies;
        client.on_client_psk = want_the_mark;
        wire.delay_ms = 20;
        wire.filter = answer_first;
        forgeries_left = rows[i].forged;
        first_hellos = 0;
        memset(last_random, 0, sizeof last_random);
        start();
        connect_from(&client, &server, 1);
        wire_run(&wire, 10000);
        if (client.client_asked != rows[i].asked || client.established != (rows[i].reason == IOTSEC_OK) ||
            client.failed_reason != rows[i].reason) {
            fail_msg("%s: asked %u, established %u, %s", rows[i].name, (unsigned)client.client_asked,
                     (unsigned)client.established, iotsec_status_name(client.failed_reason));
        }
        assert_int_equal(client.established + client.failed, 1);
        assert_int_equal(first_hellos, rows[i].asked);
        if (client.established) {
            wire.filter = NULL;
            assert_int_equal(server.established, 1);
            assert_talk();
        }
    }
}

/* What was refused long ago is not the reason of what fails after a key was given. */
static void forgets_a_refusal(void **state)
{
    static const uint8_t other[16] = { 1, 2, 3 };

    (void)state;
    prepare();
    client.on_client_psk = want_the_mark;
    server.psk = other;
    wire.filter = answer_first;
    forgeries_left = 1;
    memset(last_random, 0, sizeof last_random);
    start();
    connect_from(&client, &server, 1);
    wire_run(&wire, 15000);
    assert_int_equal(client.failed, 1);
    assert_int_equal(client.failed_reason, IOTSEC_ERR_WRONG_PSK);
    assert_int_equal(client.client_asked, 3); /* the forged one, the genuine one, and once more after the alert */

    /* silence after a key was given is no reason to begin once more */
    prepare();
    client.on_client_psk = want_the_mark;
    wire.delay_ms = 20;
    wire.filter = answer_first;
    forgeries_left = 1;
    memset(last_random, 0, sizeof last_random);
    start();
    connect_from(&client, &server, 1);
    while (client.client_asked < 2) {
        wire_run(&wire, 1);
    }
    wire_clear(&wire);
    wire.loss = 100;
    wire_run(&wire, 4000);
    wire.loss = 0;
    wire_run(&wire, 5000);
    assert_int_equal(client.established, 1);
    assert_int_equal(client.client_asked, 2);

    /* and if nothing comes any more, it is the reason */
    prepare();
    client.on_client_psk = want_the_mark;
    wire.filter = answer_first;
    forgeries_left = 1;
    memset(last_random, 0, sizeof last_random);
    start();
    connect_from(&client, &server, 1);
    (void)wire_step(&wire);
    (void)wire_step(&wire);
    assert_int_equal(client.client_asked, 1);
    wire_clear(&wire);
    wire.loss = 100;
    wire_run(&wire, 10000);
    assert_int_equal(client.failed, 1);
    assert_int_equal(client.failed_reason, IOTSEC_ERR_PEER_IDENTITY);
}

/* One answer for one hello, however often its end comes. */
static void asks_once_for_each_hello(void **state)
{
    uint8_t copy[sizeof forged_hello];
    unsigned i;

    (void)state;
    prepare();
    client.on_client_psk = want_the_mark;
    start();
    connect_from(&client, &server, 1);
    wire_clear(&wire);
    for (i = 0; i < 20; i++) {
        memcpy(copy, forged_hello, sizeof copy);
        (void)iotsec_dtls_input(&client.dtls, &server.addr, copy, sizeof copy);
    }
    assert_int_equal(client.client_asked, 1);
    assert_true(client.sent_datagrams <= 2); /* the hello, and one alert */
    wire_run(&wire, 5000);
    assert_int_equal(client.established, 1);
    assert_int_equal(client.client_asked, 2);
}

static void cancel_it(struct end *end, const struct iotsec_dtls_hello *hello)
{
    assert_int_equal(iotsec_dtls_cancel(&end->dtls, hello->handshake), IOTSEC_OK);
}

static void may_be_cancelled_when_asked(void **state)
{
    static const enum iotsec_status answers[] = { IOTSEC_OK, IOTSEC_ERR_REVOKED, IOTSEC_ERR_CRYPTO };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        prepare();
        client.on_client_psk = cancel_it;
        client.client_psk_answer = answers[i];
        start();
        connect_from(&client, &server, 1);
        wire_settle(&wire);
        assert_int_equal(client.client_asked, 1);
        assert_int_equal(client.established + client.failed, 0);
        assert_int_equal(client.dtls.handshakes_used, 0);
    }
}

/* ---- What an extension says of a hello ---- */

static void names_refused_hellos(void **state)
{
    static const struct {
        const char *name;
        enum iotsec_status answer;
        enum iotsec_status reason;
    } rows[] = {
        { "another device", IOTSEC_ERR_PEER_IDENTITY, IOTSEC_ERR_PEER_IDENTITY },
        { "another generation", IOTSEC_ERR_GENERATION, IOTSEC_ERR_GENERATION },
        { "malformed", IOTSEC_ERR_DECODE, IOTSEC_ERR_PROTOCOL },
        { "again", IOTSEC_ERR_AGAIN, IOTSEC_ERR_PROTOCOL },
        { "revoked", IOTSEC_ERR_REVOKED, IOTSEC_ERR_PROTOCOL },
        { "crypto", IOTSEC_ERR_CRYPTO, IOTSEC_ERR_PROTOCOL },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct datagram *alert;

        prepare();
        parse_answer[0] = rows[i].answer;
        start();
        connect_from(&client, &server, 1);
        (void)wire_step(&wire);
        (void)wire_step(&wire);
        /* dropped, without a trace */
        assert_int_equal(parsed[0], 1);
        assert_int_equal(client.handshakes[0].slot.state, HS_CLIENT_SENT_HELLO);
        assert_int_equal(client.handshakes[0].scratch[0], 0);
        assert_int_equal(client.handshakes[0].slot.flags & (HS_EMS | HS_RI | HS_HASHING), 0);
        assert_int_equal(client.dtls.stats.drops[IOTSEC_DROP_NOT_ALLOWED], 1);
        alert = wire_peek(&wire);
        assert_non_null(alert);
        assert_int_equal(alert->data[0], 21);
        assert_int_equal(alert->data[14], IOTSEC_ALERT_ILLEGAL_PARAMETER);
        wire_run(&wire, 10000);
        if (client.failed != 1 || client.failed_reason != rows[i].reason) {
            fail_msg("%s: %s", rows[i].name, iotsec_status_name(client.failed_reason));
        }
        assert_int_equal(client.client_asked, 0);

        /* a better one in time */
        prepare();
        parse_answer[0] = rows[i].answer;
        start();
        connect_from(&client, &server, 1);
        wire_run(&wire, 700);
        assert_true(parsed[0] >= 2);
        parse_answer[0] = IOTSEC_OK;
        wire_run(&wire, 2000);
        assert_int_equal(client.failed, 0);
        assert_int_equal(client.established, 1);
    }
}

/* A server's row, by its answer. */
static void drops_hellos_as_if_lost(void **state)
{
    static const struct {
        const char *name;
        enum iotsec_status answer;
        bool silent;
    } rows[] = {
        { "again", IOTSEC_ERR_AGAIN, true },
        { "another device", IOTSEC_ERR_PEER_IDENTITY, false },
        { "another generation", IOTSEC_ERR_GENERATION, false },
        { "malformed", IOTSEC_ERR_DECODE, false },
        { "crypto", IOTSEC_ERR_CRYPTO, false },
    };
    unsigned policy;
    size_t i;

    (void)state;
    for (policy = IOTSEC_COOKIE_OFF; policy <= IOTSEC_COOKIE_ALWAYS; policy++) {
        for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            uint32_t sent;

            prepare();
            server.config.cookie_policy = (uint8_t)policy;
            parse_answer[1] = rows[i].answer;
            start();
            connect_from(&client, &server, 1);
            if (policy == IOTSEC_COOKIE_ALWAYS) {
                (void)wire_step(&wire);
                (void)wire_step(&wire);
                assert_int_equal(parsed[1], 0); /* not before the cookie */
            }
            sent = server.sent_datagrams;
            (void)wire_step(&wire);
            assert_int_equal(parsed[1], 1);
            if ((server.sent_datagrams == sent) != rows[i].silent) {
                fail_msg("%s", rows[i].name);
            }
            if (!rows[i].silent) {
                assert_int_equal(wire_peek(&wire)->data[14], IOTSEC_ALERT_ILLEGAL_PARAMETER);
            }
            assert_int_equal(server.dtls.handshakes_used, 0);
            assert_int_equal(server.dtls.half_open, 0);
            assert_int_equal(server.dtls.stats.drops[IOTSEC_DROP_NOT_ALLOWED], 1);
            assert_int_equal(server.asked, 0);
            /* the client's next copy finds it ready */
            parse_answer[1] = IOTSEC_OK;
            wire_run(&wire, 2000);
            assert_int_equal(client.established, 1);
            assert_int_equal(server.established, 1);
        }
    }
}

/* ---- Who has authenticated itself ---- */

static void tells_the_identity(void **state)
{
    static const size_t lengths[] = { 1, 15, 100, IOTSEC_IDENTITY_MAX };
    static uint8_t identity[IOTSEC_IDENTITY_MAX];
    unsigned pending;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof identity; i++) {
        identity[i] = (uint8_t)(7 * i + 1);
    }
    for (pending = 0; pending < 2; pending++) {
        for (i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
            prepare();
            server.identity = identity;
            server.identity_len = lengths[i];
            if (pending) {
                server.psk_answer = IOTSEC_ERR_PENDING;
            }
            start();
            assert_int_equal(iotsec_dtls_connect(&client.dtls, &server.addr, identity, lengths[i], pair_psk, 16, 1, NULL), IOTSEC_OK);
            client.poll_never = false;
            client.poll_at = wire.now;
            wire_settle(&wire);
            if (pending) {
                struct iotsec_dtls_psk psk;
                uint32_t sent = server.sent_datagrams;

                /* its old flight is never sent again, so its place is free */
                wire_run(&wire, 3000);
                assert_int_equal(server.sent_datagrams, sent);
                memcpy(psk.key, pair_psk, 16);
                psk.len = 16;
                psk.peer = 7;
                assert_int_equal(iotsec_dtls_psk_complete(&server.dtls, server.asked_for, IOTSEC_OK, &psk), IOTSEC_OK);
                (void)iotsec_dtls_poll(&server.dtls);
                wire_settle(&wire);
            }
            assert_int_equal(server.established, 1);
            assert_int_equal(server.info.identity_len, lengths[i]);
            assert_memory_equal(server.peer_identity, identity, lengths[i]);
            assert_in_range((uintptr_t)server.info.identity, (uintptr_t)server.handshakes, (uintptr_t)(server.handshakes + 1) - 1);
            /* a client's is its own, and the caller's */
            assert_int_equal(client.established, 1);
            assert_ptr_equal(client.info.identity, identity);
            assert_int_equal(client.info.identity_len, lengths[i]);
            assert_talk();
        }
    }
}

/* A lost last flight is repeated as it was. */
static void repeats_finished_beside_the_identity(void **state)
{
    (void)state;
    prepare();
    start();
    connect_from(&client, &server, 1);
    while (server.established == 0) {
        assert_non_null(wire_step(&wire));
    }
    wire_clear(&wire);
    wire_run(&wire, 3000);
    assert_int_equal(client.established, 1);
    assert_int_equal(client.failed, 0);
    assert_talk();
}

/* ---- Exported keys ---- */

static void exports_keys(void **state)
{
    static const struct {
        const char *name;
        bool client_callback, server_callback;
        uint32_t client_peer, server_peer;
        bool client_exports, server_exports;
    } rows[] = {
        { "two devices", true, true, 1, 7, true, true },
        { "a client without a number", true, true, 0, 7, false, true },
        { "a server without a number", true, true, 1, 0, true, false },
        { "a client that joins", false, true, 1, 7, false, true },
        { "a manager", true, false, 1, 7, true, false },
    };
    static const uint8_t none[IOTSEC_EXPORTED_BYTES];
    uint32_t blocks[2] = { 0, 0 };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t first[IOTSEC_EXPORTED_BYTES];
        unsigned n;

        prepare();
        if (!rows[i].client_callback) {
            client.callbacks.client_psk = NULL;
        }
        if (!rows[i].server_callback) {
            server.callbacks.client_psk = NULL;
        }
        server.peer = rows[i].server_peer;
        start();
        for (n = 1; n <= 2; n++) {
            assert_int_equal(iotsec_dtls_connect(&client.dtls, &server.addr, pair_identity, 15, pair_psk, 16,
                                                 rows[i].client_peer, NULL), IOTSEC_OK);
            wire_settle(&wire);
            assert_int_equal(client.established, n);
            assert_int_equal(server.established, n);
            if ((client.info.exported != NULL) != rows[i].client_exports ||
                (server.info.exported != NULL) != rows[i].server_exports) {
                fail_msg("%s", rows[i].name);
            }
            if (i == 0) {
                assert_memory_equal(client.exported, server.exported, IOTSEC_EXPORTED_BYTES);
                assert_memory_not_equal(client.exported, none, IOTSEC_EXPORTED_BYTES);
                if (n == 2) {
                    assert_memory_not_equal(client.exported, first, IOTSEC_EXPORTED_BYTES);
                }
                memcpy(first, client.exported, sizeof first);
                assert_memory_equal(client.handshakes[0].u.keyed.exported, none, sizeof none); /* wiped with the slot */
                assert_memory_equal(server.handshakes[0].u.keyed.exported, none, sizeof none);
            }
        }
        if (i < 2) {
            blocks[i] = client.hashed;
        }
    }
    print_message("SHA-256 compressions for the exported keys: %u\n", (unsigned)(blocks[0] - blocks[1]) / 2);
    assert_in_range(blocks[0] - blocks[1], 1, 2 * 6); /* who does not need them does not pay for them */
}

/* An unknown identity costs the same work as one with another key. */
static void works_as_much_for_unknown_ones(void **state)
{
    static const uint8_t other[16] = { 1, 2, 3 };
    uint32_t hashed[2];
    unsigned i;

    (void)state;
    for (i = 0; i < 2; i++) {
        prepare();
        if (i == 0) {
            server.psk = other;
        } else {
            server.psk_answer = IOTSEC_ERR_UNKNOWN_IDENTITY;
        }
        start();
        pair_connect(&client, &server);
        wire_settle(&wire);
        assert_int_equal(server.first_reason, i == 0 ? IOTSEC_ERR_WRONG_PSK : IOTSEC_ERR_UNKNOWN_IDENTITY);
        hashed[i] = server.hashed;
    }
    assert_int_equal(hashed[0], hashed[1]);
}

/* ---- What the application can see of a handshake ---- */

static void note_scratch(struct end *end, iotsec_dtls_handle handshake)
{
    uint8_t *scratch = iotsec_dtls_scratch(&end->dtls, handshake);

    assert_non_null(scratch);
    assert_int_equal(scratch[0], 'c');
    scratch[1] = 'p';
}

static void shows_the_scratch(void **state)
{
    iotsec_dtls_handle handle;

    (void)state;
    prepare();
    server.on_psk = note_scratch;
    start();
    handle = connect_from(&client, &server, 1);
    assert_ptr_equal(iotsec_dtls_scratch(&client.dtls, handle), client.handshakes[0].scratch);
    wire_settle(&wire);
    assert_int_equal(server.asked, 1);
    assert_int_equal(server.scratch[1], 'p');
    assert_null(iotsec_dtls_scratch(&client.dtls, handle)); /* over */
    assert_null(iotsec_dtls_scratch(&client.dtls, client.info.session));
    assert_null(iotsec_dtls_scratch(&client.dtls, 0));
    assert_null(iotsec_dtls_scratch(NULL, handle));
}

static void finds_what_comes_in(void **state)
{
    unsigned policy;

    (void)state;
    for (policy = IOTSEC_COOKIE_OFF; policy <= IOTSEC_COOKIE_ALWAYS; policy++) {
        int proved = 2;

        prepare();
        server.config.cookie_policy = (uint8_t)policy;
        server.psk_answer = IOTSEC_ERR_PENDING;
        start();
        assert_int_equal(iotsec_dtls_incoming(&server.dtls, &client.addr, &proved), 0);
        assert_int_equal(proved, 0);
        assert_int_equal(iotsec_dtls_incoming(NULL, &client.addr, NULL), 0);
        connect_from(&client, &server, 1);
        while (iotsec_dtls_incoming(&server.dtls, &client.addr, &proved) == 0) {
            assert_int_equal(proved, 0);
            assert_non_null(wire_step(&wire));
        }
        assert_int_equal(proved, policy == IOTSEC_COOKIE_ALWAYS);
        wire_settle(&wire);
        /* its ClientKeyExchange has come: that proves nothing */
        assert_int_equal(server.asked, 1);
        assert_int_equal(iotsec_dtls_incoming(&server.dtls, &client.addr, &proved), server.asked_for);
        assert_int_equal(proved, policy == IOTSEC_COOKIE_ALWAYS);
        assert_int_equal(iotsec_dtls_incoming(&server.dtls, &client.addr, NULL), server.asked_for);
        /* nobody else's, and not one's own */
        assert_int_equal(iotsec_dtls_incoming(&server.dtls, &server.addr, &proved), 0);
        assert_int_equal(iotsec_dtls_incoming(&client.dtls, &server.addr, &proved), 0);
        assert_int_equal(iotsec_dtls_cancel(&server.dtls, server.asked_for), IOTSEC_OK);
        assert_int_equal(iotsec_dtls_incoming(&server.dtls, &client.addr, &proved), 0);
    }
}

#if IOTSEC_RELAYED
static void finds_nothing_behind_a_relay(void **state)
{
    struct pair_relay relay;

    (void)state;
    prepare();
    server.config.relayed = 1;
    server.psk_answer = IOTSEC_ERR_PENDING;
    start();
    relay_init(&relay, &wire, 9, &server);
    relay.joiners[0] = &client;
    relay.header_len[0] = 5;
    pair_connect_to(&client, &relay.addr);
    wire_settle(&wire);
    assert_int_equal(server.asked, 1);
    assert_int_equal(iotsec_dtls_incoming(&server.dtls, &relay.addr, NULL), 0);
    assert_int_equal(iotsec_dtls_incoming(&server.dtls, &client.addr, NULL), 0);
}
#endif

/* ---- Slots for one's own handshakes ---- */

static void checks_the_reserve(void **state)
{
    static const struct {
        const char *name;
        uint16_t count, reserve;
        bool is_server;
        enum iotsec_status status;
    } rows[] = {
        { "none", 4, 0, true, IOTSEC_OK },
        { "one is left for others", 4, 3, true, IOTSEC_OK },
        { "none is left for others", 4, 4, true, IOTSEC_ERR_ARGUMENT },
        { "more than there are", 4, 65535, true, IOTSEC_ERR_ARGUMENT },
        { "a client alone", 1, 1, false, IOTSEC_OK },
        { "a server alone", 1, 0, true, IOTSEC_OK },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        prepare();
        server.config.handshake_count = rows[i].count;
        server.config.client_handshakes = rows[i].reserve;
        if (!rows[i].is_server) {
            server.callbacks.psk = NULL;
        }
        if (iotsec_dtls_init(&server.dtls, &server.config) != rows[i].status) {
            fail_msg("%s", rows[i].name);
        }
    }
}

/* So many hellos from as many ports of one machine that receives what is sent to it, and then says nothing more. */
static void fill(unsigned hellos)
{
    unsigned i;

    for (i = 0; i < hellos; i++) {
        iotsec_dtls_handle handle;

        third.addr.port = (uint16_t)(100 + i);
        handle = pair_connect(&third, &server);
        while (wire_peek(&wire) != NULL && wire_peek(&wire)->len < 400 && server.asked == 0) {
            const struct datagram *d = wire_peek(&wire);

            if (d->from.ip[15] == 2 && d->data[13] == IOTSEC_HS_SERVER_HELLO) {
                break;
            }
            (void)wire_step(&wire);
        }
        wire_clear(&wire);
        (void)iotsec_dtls_cancel(&third.dtls, handle);
        third.poll_never = true;
        wire.now += 10;
    }
}

static void keeps_slots_for_itself(void **state)
{
    static const struct {
        const char *name;
        uint8_t cookies;
        uint16_t reserve;
        enum iotsec_status status; /* of connect */
        unsigned half_open;
    } rows[] = {
        { "none kept, all taken by who has cookies", IOTSEC_COOKIE_ALWAYS, 0, IOTSEC_ERR_FULL, 4 },
        { "one kept", IOTSEC_COOKIE_ALWAYS, 1, IOTSEC_OK, 3 },
        { "three kept", IOTSEC_COOKIE_ALWAYS, 3, IOTSEC_OK, 1 },
        { "while busy, one kept", IOTSEC_COOKIE_WHILE_BUSY, 1, IOTSEC_OK, 3 },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        enum iotsec_status status;

        prepare();
        end_init(&third, &wire, 3);
        server.config.cookie_policy = rows[i].cookies;
        server.config.client_handshakes = rows[i].reserve;
        server.peer = 1; /* the manager is one, as client and as server */
        start();
        end_start(&third);
        fill(10);
        assert_int_equal(server.dtls.half_open, rows[i].half_open);
        assert_true(server.dtls.stats.drops[IOTSEC_DROP_NO_ROOM] > 0);
        /* the way to its manager is open */
        status = iotsec_dtls_connect(&server.dtls, &client.addr, pair_identity, 15, pair_psk, 16, 1, NULL);
        if (status != rows[i].status) {
            fail_msg("%s: %s", rows[i].name, iotsec_status_name(status));
        }
        if (status == IOTSEC_OK) {
            server.poll_never = false;
            server.poll_at = wire.now;
            wire_settle(&wire);
            assert_int_equal(server.established, 1);
            assert_int_equal(client.established, 1);
        }
        assert_true(server.dtls.half_open <= rows[i].half_open);
        /* and after their time others get in again */
        wire_run(&wire, 31000);
        server.established = 0;
        pair_connect(&client, &server);
        wire_run(&wire, 1000);
        assert_int_equal(server.established, 1);
    }
}

static unsigned count_proved(void)
{
    unsigned n = 0;
    size_t i;

    for (i = 0; i < END_HANDSHAKES; i++) {
        n += server.handshakes[i].slot.state != HS_FREE && (server.handshakes[i].slot.flags & HS_PROVED) != 0;
    }
    return n;
}

/* Beyond what others may have, a hello has to earn a cookie, and takes the place of the oldest that has none. */
static void asks_a_cookie_beyond(void **state)
{
    struct datagram hello;
    unsigned n;

    (void)state;
    prepare();
    server.config.client_handshakes = 2;
    end_init(&third, &wire, 3);
    start();
    end_start(&third);
    pair_connect(&client, &server);
    hello = *wire_peek(&wire);
    assert_int_equal(iotsec_dtls_cancel(&client.dtls, client.handshakes[0].slot.handle), IOTSEC_OK);
    for (n = 0; n < 4; n++) {
        wire_clear(&wire);
        hello.from.port = (uint16_t)(100 + n);
        wire_inject(&wire, &hello.from, &hello.to, hello.data, hello.len);
        (void)wire_step(&wire);
        if ((wire_peek(&wire)->len == 36) != (n >= 2)) {
            fail_msg("hello %u", n);
        }
        wire.now += 10;
    }
    wire_clear(&wire);
    assert_int_equal(server.dtls.half_open, 2);
    assert_int_equal(count_proved(), 0);
    /* a piece of a hello cannot have a cookie */
    hello.from.port = 200;
    hello.data[24] = (uint8_t)(hello.data[24] - 1); /* fragment_length */
    hello.data[12] = (uint8_t)(hello.data[12] - 1);
    wire_inject(&wire, &hello.from, &hello.to, hello.data, hello.len - 1);
    (void)wire_step(&wire);
    assert_int_equal(server.dtls.stats.drops[IOTSEC_DROP_COOKIE], 1);
    assert_int_equal(server.dtls.half_open, 2);
    fill(1);
    assert_int_equal(count_proved(), 1);
    assert_int_equal(server.dtls.half_open, 2);
    hello.from.port = 100; /* the oldest is gone */
    assert_int_equal(iotsec_dtls_incoming(&server.dtls, &hello.from, NULL), 0);
    hello.from.port = 101;
    assert_int_not_equal(iotsec_dtls_incoming(&server.dtls, &hello.from, NULL), 0);
    /* own handshakes may use more than what is kept for them, as long as it is there */
    for (n = 0; n < 3; n++) {
        hello.from.port = (uint16_t)(300 + n);
        assert_int_equal(iotsec_dtls_connect(&server.dtls, &hello.from, pair_identity, 15, pair_psk, 16, 1, NULL), IOTSEC_OK);
    }
    assert_int_equal(server.dtls.half_open, 1); /* the one that has proved its address stays */
    assert_int_equal(count_proved(), 1);
}

/* ---- Two handshakes that cross ---- */

struct lane {
    struct datagram queue[32];
    unsigned first;
    unsigned count;
};

static struct lane lanes[2]; /* of the handshake that `client` has begun, and of the other */

/* What is on its way belongs to that lane. */
static void collect(struct lane *lane)
{
    for (;;) {
        struct datagram *next = NULL;
        size_t i;

        for (i = 0; i < WIRE_MAX; i++) {
            struct datagram *d = &wire.queue[i];

            if (d->used && (next == NULL || d->order < next->order)) {
                next = d;
            }
        }
        if (next == NULL) {
            return;
        }
        assert_true(lane->count < sizeof lane->queue / sizeof lane->queue[0]);
        lane->queue[lane->count++] = *next;
        next->used = false;
    }
}

static void deliver(struct lane *lane)
{
    struct datagram *d = &lane->queue[lane->first++];
    struct end *to = iotsec_addr_equal(&d->to, &client.addr) ? &client : &server;

    (void)iotsec_dtls_input(&to->dtls, &d->from, d->data, d->len);
    collect(lane);
}

static bool is_empty(const struct lane *lane)
{
    return lane->first == lane->count;
}

static void begin_lane(unsigned lane)
{
    own_handshake[lane] = connect_from(lane == 0 ? &client : &server, lane == 0 ? &server : &client, PAIR_PEER);
    collect(&lanes[lane]);
}

/* Delivers in the order that `*order` says, from its highest bit on, and makes it the next one. False: it picks from an
 * empty lane. Orders are 16 bits; the last one's successor is 0. */
static bool follow(uint16_t *order)
{
    uint32_t step = 0x10000;
    bool possible = true;

    while (possible && (!is_empty(&lanes[0]) || !is_empty(&lanes[1]))) {
        struct lane *lane;

        step >>= 1;
        assert_true(step != 0);
        lane = &lanes[(*order & step) != 0];
        possible = !is_empty(lane);
        if (possible) {
            deliver(lane);
        }
    }
    /* what comes behind the last pick makes no difference */
    *order = (uint16_t)((*order & ~(step - 1)) + step);
    return possible;
}

static bool sessions_agree(void)
{
    return memcmp(client.exported, server.exported, IOTSEC_EXPORTED_BYTES) == 0;
}

static void cross_with(bool same_number, uint8_t cid)
{
    prepare();
    /* each knows the other under the number that it connects with, or under another */
    client.peer = server.peer = same_number ? PAIR_PEER : 7;
#if IOTSEC_CONNECTION_ID
    client.config.connection_id = server.config.connection_id = cid;
#else
    (void)cid;
#endif
    memset(lanes, 0, sizeof lanes);
    memset(own_handshake, 0, sizeof own_handshake);
    start();
}

/* Every order in which two crossing handshakes' datagrams can arrive. */
static void crosses_in_all_orders(void **state)
{
    static const struct {
        const char *name;
        bool same;
        uint8_t cid;
    } rows[] = {
        { "equal numbers", true, 0 },
        { "different numbers", false, 0 }, /* who is there now counts, not who was */
#if IOTSEC_CONNECTION_ID
        { "equal numbers, Connection IDs", true, IOTSEC_CONNECTION_ID_ON },
        { "different numbers, Connection IDs", false, IOTSEC_CONNECTION_ID_ON },
#endif
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        unsigned orders = 0;
        unsigned agreed = 0;
        uint16_t order = 0;

        do {
            cross_with(rows[i].same, rows[i].cid);
            begin_lane(0);
            begin_lane(1);
            if (!follow(&order)) {
                continue;
            }
            orders++;
            assert_int_equal(client.dtls.handshakes_used + server.dtls.handshakes_used, 0);
            assert_int_equal(client.client_asked, 1);
            assert_int_equal(server.client_asked, 1);
            /* nobody is left with a session that the other has not */
            assert_int_equal(client.dtls.sessions_used, server.dtls.sessions_used);
            assert_int_equal(client.established + client.failed, 2);
            assert_int_equal(server.established + server.failed, 2);
            assert_int_equal(end_drops(&client) + end_drops(&server), 0);
            assert_int_equal(client.forgeries + server.forgeries, 0);
            /* all four ends of the two handshakes succeed */
            assert_int_equal(client.dtls.sessions_used, 1);
            assert_int_equal(client.failed + server.failed + client.closed + server.closed, 0);
            assert_int_not_equal(client.info.replaced, 0);
            assert_int_equal(iotsec_dtls_find(&client.dtls, &server.addr), client.info.session);
            if (sessions_agree()) {
                agreed++;
                assert_talk();
            }
        } while (order != 0);
        print_message("%s: %u orders, %u end with one session\n", rows[i].name, orders, agreed);
        assert_int_equal(orders, 924);
        /* They may replace one another in different orders at the two ends: settling is the application's. */
        assert_int_equal(agreed, 420);
    }
}

/* The larger end takes the session that comes to stand first, and gives its own handshake up. */
static void take_the_first(struct end *end, const struct iotsec_dtls_info *info)
{
    if (info->is_server) {
        (void)iotsec_dtls_cancel(&end->dtls, own_handshake[end != &client]);
    }
}

/* Begins the smaller end's handshake: it waits for one of the other's that has proved its address, and else forgets it. */
static void begin_smaller(void)
{
    int proved;
    iotsec_dtls_handle incoming = iotsec_dtls_incoming(&client.dtls, &server.addr, &proved);

    if (client.dtls.sessions_used == 0 && !proved) {
        (void)iotsec_dtls_cancel(&client.dtls, incoming);
        begin_lane(0);
    }
}

/* docs/protocol.md, section 14, "Both at once": every order, wherever in the other's handshake the smaller end begins. */
static void settles_by_the_rule(void **state)
{
    static const char *const policies[] = { "off", "always", "under load", "while busy" };
    unsigned policy;

    (void)state;
    for (policy = 0; policy <= IOTSEC_COOKIE_WHILE_BUSY; policy++) {
        unsigned orders = 0;
        unsigned head; /* datagrams of the larger end's handshake that come before the smaller begins */

        for (head = 0; head <= 6; head++) {
            uint16_t order = 0;

            do {
                uint16_t at = order;
                unsigned i;

                cross_with(true, IOTSEC_CONNECTION_ID_OFF);
                client.config.cookie_policy = server.config.cookie_policy = (uint8_t)policy;
                smaller = &client;
                server.on_established = take_the_first;
                begin_lane(1);
                for (i = 0; i < head && !is_empty(&lanes[1]); i++) {
                    deliver(&lanes[1]);
                }
                begin_smaller();
                if (!follow(&order)) {
                    continue;
                }
                orders++;
                if (client.established != 1 || server.established != 1 || !sessions_agree()) {
                    fail_msg("cookies %s, after %u, order %x: %u and %u", policies[policy], head, (unsigned)at,
                             (unsigned)client.established, (unsigned)server.established);
                }
                assert_int_equal(client.failed + server.failed, 0);
                assert_int_equal(server.dtls.handshakes_used, 0);
                /* a hello that was on its way while its handshake was given up has to be forgotten by time */
                assert_int_equal(client.dtls.handshakes_used, client.dtls.half_open);
                assert_talk();
            } while (order != 0);
        }
        print_message("cookies %s: %u orders\n", policies[policy], orders);
        assert_true(orders > 100);
    }
}

/* The same on a bad network, in time. */
static void settles_on_a_bad_network(void **state)
{
    static const uint8_t losses[] = { 0, 10, 30 };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof losses; i++) {
        unsigned seed;

        for (seed = 0; seed < 100; seed++) {
            cross_with(true, IOTSEC_CONNECTION_ID_OFF);
            client.config.cookie_policy = server.config.cookie_policy = IOTSEC_COOKIE_WHILE_BUSY;
            wire.random = seed;
            wire.delay_ms = 10;
            wire.reorder_ms = 30;
            wire.duplicate = 10;
            wire.loss = losses[i];
            smaller = &client;
            server.on_established = take_the_first;
            own_handshake[1] = connect_from(&server, &client, PAIR_PEER);
            wire_run(&wire, seed % 20 * 10);
            {
                int proved;
                iotsec_dtls_handle incoming = iotsec_dtls_incoming(&client.dtls, &server.addr, &proved);

                if (client.dtls.sessions_used == 0 && !proved) {
                    (void)iotsec_dtls_cancel(&client.dtls, incoming);
                    own_handshake[0] = connect_from(&client, &server, PAIR_PEER);
                }
            }
            wire_run(&wire, 40000);
            if (client.dtls.sessions_used != 1 || server.dtls.sessions_used != 1 || !sessions_agree()) {
                fail_msg("loss %u, seed %u: %u and %u, %s and %s", losses[i], seed, (unsigned)client.established,
                         (unsigned)server.established, iotsec_status_name(client.failed_reason),
                         iotsec_status_name(server.failed_reason));
            }
            wire.loss = 0;
            wire.duplicate = 0;
            assert_talk();
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asks_for_the_key),
        cmocka_unit_test(checks_connects_arguments),
        cmocka_unit_test(names_what_the_key_lacked),
        cmocka_unit_test(goes_on_with_a_better_hello),
        cmocka_unit_test(forgets_a_refusal),
        cmocka_unit_test(asks_once_for_each_hello),
        cmocka_unit_test(may_be_cancelled_when_asked),
        cmocka_unit_test(names_refused_hellos),
        cmocka_unit_test(drops_hellos_as_if_lost),
        cmocka_unit_test(tells_the_identity),
        cmocka_unit_test(repeats_finished_beside_the_identity),
        cmocka_unit_test(exports_keys),
        cmocka_unit_test(works_as_much_for_unknown_ones),
        cmocka_unit_test(shows_the_scratch),
        cmocka_unit_test(finds_what_comes_in),
#if IOTSEC_RELAYED
        cmocka_unit_test(finds_nothing_behind_a_relay),
#endif
        cmocka_unit_test(checks_the_reserve),
        cmocka_unit_test(keeps_slots_for_itself),
        cmocka_unit_test(asks_a_cookie_beyond),
        cmocka_unit_test(crosses_in_all_orders),
        cmocka_unit_test(settles_by_the_rule),
        cmocka_unit_test(settles_on_a_bad_network),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

int main(void)
{
    return 0; /* there are no sessions between devices */
}

#endif
