/* SPDX-License-Identifier: BSD-3-Clause */
/* A peer that stops answering: what the client calls it depends on how far they had come. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pair.h"

#if IOTSEC_DTLS_CLIENT && IOTSEC_DTLS_SERVER

static struct wire wire;
static struct end client;
static struct end server;

/* Numbers the flights by what begins them: the server's first one is its hello. */
enum { SERVER_SAYS_NOTHING, SERVER_SAYS_HELLO };

static bool server_falls_silent(struct wire *w, struct datagram *d)
{
    const int *says = w->filter_user;
    bool is_server = d->from.ip[15] == server.addr.ip[15];
    /* ServerHello stands first in its datagram, behind the record's header */
    bool is_hello = d->data[0] == IOTSEC_CONTENT_HANDSHAKE && d->data[13] == IOTSEC_HS_SERVER_HELLO;

    return !is_server || (*says == SERVER_SAYS_HELLO && is_hello);
}

static void run_until_given_up(int says)
{
    pair_init(&wire, &client, &server, 7);
    wire.filter = server_falls_silent;
    wire.filter_user = &says;
    pair_connect(&client, &server);
    wire_run(&wire, IOTSEC_HANDSHAKE_TIMEOUT_MS - 1);
    assert_int_equal(client.failed, 0);
    wire_run(&wire, 1);
    assert_int_equal(client.failed, 1);
    assert_int_equal(client.established, 0);
}

static void silence_from_the_start_is_no_answer(void **state)
{
    (void)state;
    run_until_given_up(SERVER_SAYS_NOTHING);
    assert_int_equal(client.failed_reason, IOTSEC_ERR_NO_ANSWER);
}

/* Stock servers drop a Finished that another key has made, and send nothing. */
static void silence_after_finished_is_a_wrong_psk(void **state)
{
    (void)state;
    run_until_given_up(SERVER_SAYS_HELLO);
    assert_int_equal(client.failed_reason, IOTSEC_ERR_WRONG_PSK);
}

static void connect_to_manager(void)
{
    assert_int_equal(iotsec_dtls_connect(&client.dtls, &server.addr, pair_identity, sizeof pair_identity, pair_psk,
                                         sizeof pair_psk, 0, NULL),
                     IOTSEC_OK);
    client.poll_never = false;
    client.poll_at = wire.now;
}

/* Who hears nothing at all asks less often the next time, until somebody answers. */
static void waits_longer_after_silence(void **state)
{
    static const uint32_t least[] = { 400, 2000, 4000, 8000, 16000, 32000, 32000 };
    const struct iotsec_dtls_handshake *hs = &client.handshakes[0];
    int says = SERVER_SAYS_NOTHING;
    uint32_t sent = 0;
    size_t i;

    (void)state;
    pair_init(&wire, &client, &server, 7);
    wire.filter = server_falls_silent;
    wire.filter_user = &says;
    for (i = 0; i < sizeof least / sizeof least[0]; i++) {
        connect_to_manager();
        assert_in_range(hs->retransmit_wait, least[i], 2 * least[i] > 32000 ? 32000 : 2 * least[i]);
        wire_run(&wire, IOTSEC_HANDSHAKE_TIMEOUT_MS);
        assert_int_equal(client.failed, i + 1);
        assert_true(i == 0 || client.sent_datagrams - sent <= 7);
        sent = client.sent_datagrams;
    }
    /* a long pause makes it forget */
    wire_run(&wire, 1800000);
    connect_to_manager();
    assert_in_range(hs->retransmit_wait, 400, 800);
    wire_run(&wire, IOTSEC_HANDSHAKE_TIMEOUT_MS);
    wire.filter = NULL;
    connect_to_manager();
    wire_run(&wire, 5000);
    assert_int_equal(client.established, 1);
    assert_int_equal(client.dtls.hello_wait, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(silence_from_the_start_is_no_answer),
        cmocka_unit_test(waits_longer_after_silence),
        cmocka_unit_test(silence_after_finished_is_a_wrong_psk),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

int main(void)
{
    return 0;
}

#endif
