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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(silence_from_the_start_is_no_answer),
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
