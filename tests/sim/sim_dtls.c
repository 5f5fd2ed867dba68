/* SPDX-License-Identifier: BSD-3-Clause */
/* Plain DTLS endpoints on a bad network, among strangers and forgers. */
#include <string.h>

#include "garbage.h"
#include "handshake/engine.h"
#include "scenario.h"

static const uint8_t psk[16] = { 'a', ' ', 'k', 'e', 'y', ' ', 'o', 'f', ' ', '1', '6', ' ', 'b', 'y', 't', 'e' };
static const uint8_t other_psk[16] = { 'a', 'n', 'o', 't', 'h', 'e', 'r' };

/* ---- Loss ---- */

struct pair {
    struct node *client;
    struct node *server;
};

static struct pair make_pair(struct net *net, uint8_t cookie_policy)
{
    struct pair pair;

    pair.server = net_dtls(net);
    pair.client = net_dtls(net);
    pair.server->endpoint_config.cookie_policy = cookie_policy;
    pair.server->echo = true;
    dtls_know(pair.server, "client", psk, 42);
    node_boot(pair.server);
    node_boot(pair.client);
    return pair;
}

static bool has_ended(struct net *net, void *user)
{
    const struct node *client = user;

    (void)net;
    return client->established + client->failed > 0;
}

/* Both directions work, and what one sends arrives once. */
static void check_echo(struct pair *pair)
{
    struct net *net = pair->client->net;
    struct net_link link = net->link;
    unsigned server_received = pair->server->received;
    unsigned received = pair->client->received;

    memset(&net->link, 0, sizeof net->link);
    assert_int_equal(dtls_say(pair->client, "hello", 5), IOTSEC_OK);
    net_run_ms(net, 100);
    assert_int_equal(pair->server->received, server_received + 1);
    assert_int_equal(pair->client->received, received + 1);
    net->link = link;
}

static void connect_pair(struct pair *pair)
{
    assert_int_equal(dtls_connect(pair->client, pair->server, "client", psk), IOTSEC_OK);
    assert_true(net_run_until(pair->client->net, has_ended, pair->client, 30000));
    net_run_ms(pair->client->net, 1000);
}

static const struct loss_row {
    unsigned loss_permille;
    unsigned at_least_percent; /* of handshakes that succeed */
    uint8_t cookie_policy;
} loss_rows[] = {
    /* 1 */ { 0, 100, IOTSEC_COOKIE_OFF },
    /* 2 */ { 0, 100, IOTSEC_COOKIE_ALWAYS },
    /* 3 */ { 100, 100, IOTSEC_COOKIE_OFF },
    /* 4 */ { 200, 100, IOTSEC_COOKIE_ALWAYS },
    /* 5 */ { 300, 100, IOTSEC_COOKIE_WHILE_BUSY },
    /* 6 */ { 400, 98, IOTSEC_COOKIE_OFF },
    /* 7 */ { 500, 90, IOTSEC_COOKIE_OFF },
};

static void test_loss(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof loss_rows / sizeof loss_rows[0]; i++) {
        const struct loss_row *row = &loss_rows[i];
        unsigned succeeded = 0;
        unsigned seed;

        for (seed = 1; seed <= 100; seed++) {
            struct net *net = scenario_begin(seed);
            struct pair pair = make_pair(net, row->cookie_policy);

            net->link.loss_permille = row->loss_permille;
            connect_pair(&pair);
            if (pair.client->established == 1) {
                succeeded++;
                check_echo(&pair);
            } else {
                /* silence after our Finished is what stock servers have for a wrong key */
                assert_true(pair.client->last_reason == IOTSEC_ERR_NO_ANSWER || pair.client->last_reason == IOTSEC_ERR_WRONG_PSK);
            }
            scenario_end(net);
        }
        if (succeeded < row->at_least_percent) {
            fail_msg("row %u: %u of 100 handshakes at %u permille loss", (unsigned)i + 1, succeeded, row->loss_permille);
        }
    }
}

/* Everything at once: loss, duplicates, reordering and corruption. */
static void run_rough(struct net *net)
{
    struct pair pair = make_pair(net, (uint8_t)random_below(&net->random, 4));
    unsigned i;

    net_rough(net, 100);
    net->link.corrupt_permille = 50;
    net->late_poll_ms = random_below(&net->random, 20);
    connect_pair(&pair);
    if (pair.client->established == 0) {
        /* a flipped bit in a plaintext hello spoils a handshake, as any forger could; the next one works */
        pair.client->failed = 0;
        net->link.corrupt_permille = 0;
        connect_pair(&pair);
    }
    assert_int_equal(pair.client->established, 1);
    for (i = 0; i < 30; i++) {
        (void)dtls_say(pair.client, "ping", 4);
        net_run_ms(net, 50);
    }
    net_settle(net);
    assert_true(pair.server->received <= 30);
    assert_true(pair.client->received <= pair.server->received);
    check_echo(&pair);
}

static void test_rough(void **state)
{
    (void)state;
    scenario_seeds(1, run_rough);
}

/* ---- Garbage ---- */

/* Before, during and after a handshake, at both ends. What is established survives everything. */
static void run_garbage(struct net *net)
{
    struct pair pair = make_pair(net, (uint8_t)random_below(&net->random, 4));
    unsigned kind;
    uint32_t before;

    garbage_shower(pair.server, 100, GARBAGE_KINDS);
    garbage_shower(pair.client, 100, GARBAGE_KINDS);

    /* during: at a random moment of the handshake */
    (void)dtls_connect(pair.client, pair.server, "client", psk);
    net_run_ms(net, random_below(&net->random, 80));
    garbage_shower(pair.server, 50, GARBAGE_KINDS);
    garbage_shower(pair.client, 50, GARBAGE_KINDS);
    net_run_ms(net, 60000);
    assert_int_equal(pair.client->dtls->handshakes_used, 0);
    assert_int_equal(pair.server->dtls->handshakes_used, 0);
    if (pair.client->established == 0) {
        pair.client->failed = 0;
        connect_pair(&pair);
    }
    assert_int_equal(pair.client->established, 1);
    check_echo(&pair);

    /* after */
    for (kind = 0; kind < GARBAGE_KINDS; kind++) {
        unsigned received = pair.server->received + pair.client->received;

        before = node_drops(pair.server) + node_drops(pair.client);
        garbage_shower(pair.server, 40, (enum garbage_kind)kind);
        garbage_shower(pair.client, 40, (enum garbage_kind)kind);
        net_run_ms(net, 100);
        assert_true(node_drops(pair.server) + node_drops(pair.client) > before);
        assert_int_equal(pair.server->received + pair.client->received, received);
        assert_int_equal(pair.server->closed + pair.client->closed, 0);
        check_echo(&pair);
    }
    net_run_ms(net, 60000);
    check_echo(&pair);
    assert_int_equal(pair.client->established, 1);
}

static void test_garbage(void **state)
{
    (void)state;
    scenario_seeds(1, run_garbage);
}

/* Each foreign datagram on its own, into every state of both ends: dropped, counted, nothing kept. */
static void test_foreign(void **state)
{
    static const unsigned moments[] = { 0, 5, 15, 25, 35, 45, 55, 65, 200 };
    size_t i;
    size_t m;

    (void)state;
    for (m = 0; m < sizeof moments / sizeof moments[0]; m++) {
        struct net *net = scenario_begin(m + 1);
        struct pair pair = make_pair(net, IOTSEC_COOKIE_ALWAYS);
        struct iotsec_addr stranger = net_group_addr(1);

        stranger.ip[0] = 0xFD;
        (void)dtls_connect(pair.client, pair.server, "client", psk);
        net_run_ms(net, moments[m]);
        for (i = 0; i < garbage_foreign_count(); i++) {
            size_t len;
            const uint8_t *data = garbage_foreign(i, &len);
            uint16_t handshakes = pair.server->dtls->handshakes_used;

            net_hand(pair.server, &pair.client->addr, &pair.server->addr, data, len);
            net_hand(pair.client, &pair.server->addr, &pair.client->addr, data, len);
            net_hand(pair.server, &stranger, &pair.server->addr, data, len);
            net_hand(pair.client, &stranger, &pair.client->addr, data, len);
            assert_int_equal(pair.server->dtls->handshakes_used, handshakes);
        }
        assert_true(node_drops(pair.server) >= 2 * garbage_foreign_count() - 2);
        assert_true(net_run_until(net, has_ended, pair.client, 30000));
        assert_int_equal(pair.client->established, 1);
        check_echo(&pair);
        scenario_end(net);
    }
}

/* ---- Forgers ---- */

/* The whole past comes again, to everybody. */
static void run_replay(struct net *net)
{
    struct pair pair = make_pair(net, (uint8_t)random_below(&net->random, 4));
    unsigned i;
    unsigned received;

    connect_pair(&pair);
    for (i = 0; i < 5; i++) {
        check_echo(&pair);
    }
    received = pair.server->received;
    net->link.jitter_ms = 50;
    net_replay(net, 0, net->tap_count);
    net_run_ms(net, 40000);
    assert_int_equal(pair.server->received, received);
    assert_int_equal(pair.server->closed + pair.client->closed, 0);
    net->link.jitter_ms = 0;
    check_echo(&pair);
    assert_int_equal(pair.client->established, 1);
    assert_int_equal(pair.server->established, 1);
}

static void test_replay(void **state)
{
    (void)state;
    scenario_seeds(1, run_replay);
}

/* Somebody who does not know the PSK connects from the client's own address: the session stands. */
static void run_impostor(struct net *net)
{
    struct pair pair = make_pair(net, (uint8_t)random_below(&net->random, 4));
    struct node *impostor;

    connect_pair(&pair);
    check_echo(&pair);
    impostor = net_dtls(net);
    impostor->addr = pair.client->addr; /* both of them hear the answers: an attacker on the path */
    node_boot(impostor);
    assert_int_equal(dtls_connect(impostor, pair.server, "client", other_psk), IOTSEC_OK);
    net_run_ms(net, 60000);
    assert_int_equal(impostor->established, 0);
    assert_int_equal(impostor->last_reason, IOTSEC_ERR_WRONG_PSK);
    assert_int_equal(pair.server->closed + pair.client->closed, 0);
    assert_int_equal(pair.server->established, 1);
    assert_int_equal(pair.server->last_reason, IOTSEC_ERR_TIMEOUT); /* of the impostor's handshake */
    node_crash(impostor);
    check_echo(&pair);
}

static void test_impostor(void **state)
{
    (void)state;
    scenario_seeds(4, run_impostor);
}

/* A client that lost its memory comes back at its old address: only a finished handshake replaces the session. */
static void run_comes_back(struct net *net)
{
    struct pair pair = make_pair(net, (uint8_t)random_below(&net->random, 4));

    connect_pair(&pair);
    check_echo(&pair);
    node_reboot(pair.client);
    pair.client->established = 0;
    connect_pair(&pair);
    assert_int_equal(pair.client->established, 1);
    assert_int_equal(pair.server->dtls->sessions_used, 1);
    check_echo(&pair);
}

static void test_comes_back(void **state)
{
    (void)state;
    scenario_seeds(4, run_comes_back);
}

/* Hellos from a thousand made-up addresses. */
static void flood(struct node *server, unsigned count)
{
    struct net *net = server->net;
    struct node *forger = net_dtls(net);
    const struct net_datagram *hello;
    struct iotsec_addr nowhere = forger->addr;

    node_boot(forger);
    nowhere.port++;
    assert_int_equal(iotsec_dtls_connect(&forger->endpoint, &nowhere, (const uint8_t *)"x", 1, psk, 16, 1, NULL), IOTSEC_OK);
    hello = &net->tap[net->tap_count - 1];
    node_crash(forger);
    for (; count > 0; count--) {
        struct iotsec_addr from = forger->addr;
        uint8_t copy[NET_DATAGRAM_MAX];
        size_t len = hello->len;

        memcpy(copy, hello->data, len);
        random_bytes(&net->random, copy + 27, 32);
        random_bytes(&net->random, from.ip + 2, 14);
        from.port = (uint16_t)random_next(&net->random);
        (void)net_hand(server, &from, &server->addr, copy, len);
        hello = &net->tap[net->tap_count - 1];
        while (hello->sender != forger) { /* the tap grew by the answers */
            hello--;
        }
    }
}

static const struct flood_row {
    uint8_t cookie_policy;
    unsigned half_open_max; /* after the flood */
} flood_rows[] = {
    /* 1 */ { IOTSEC_COOKIE_OFF, 8 },
    /* 2 */ { IOTSEC_COOKIE_ALWAYS, 0 },
    /* 3 */ { IOTSEC_COOKIE_UNDER_LOAD, 5 },
    /* 4 */ { IOTSEC_COOKIE_WHILE_BUSY, 1 },
};

/* Established sessions go on, an honest client still gets in, and no answer is longer than allowed (the tap). */
static void test_flood(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof flood_rows / sizeof flood_rows[0]; i++) {
        struct net *net = scenario_begin(i + 1);
        struct pair pair = make_pair(net, flood_rows[i].cookie_policy);
        struct node *late = net_dtls(net);

        connect_pair(&pair);
        flood(pair.server, 1000);
        assert_true(pair.server->dtls->handshakes_used <= flood_rows[i].half_open_max);
        check_echo(&pair);
        dtls_know(pair.server, "late", other_psk, 43);
        node_boot(late);
        assert_int_equal(dtls_connect(late, pair.server, "late", other_psk), IOTSEC_OK);
        assert_true(net_run_until(net, has_ended, late, 10000));
        assert_int_equal(late->established, 1);
        check_echo(&pair);
        net_run_ms(net, 60000);
        assert_int_equal(pair.server->dtls->handshakes_used, 0);
        scenario_end(net);
    }
}

/* A full table says so, and takes nothing from those who are in. */
static void test_full(void **state)
{
    struct net *net = scenario_begin(1);
    struct pair pair = make_pair(net, IOTSEC_COOKIE_OFF);
    struct node *late = net_dtls(net);

    (void)state;
    node_crash(pair.server);
    pair.server->endpoint_config.session_count = 1;
    node_boot(pair.server);
    connect_pair(&pair);
    dtls_know(pair.server, "late", other_psk, 43);
    node_boot(late);
    assert_int_equal(dtls_connect(late, pair.server, "late", other_psk), IOTSEC_OK);
    assert_true(net_run_until(net, has_ended, late, 10000));
    assert_int_equal(late->established, 0);
    assert_int_equal(late->last_reason, IOTSEC_ERR_RESOURCES);
    assert_int_equal(pair.server->last_reason, IOTSEC_ERR_RESOURCES);
    check_echo(&pair);
    scenario_end(net);
}

/* ---- Failures, each by its name ---- */

static const struct failure_row {
    const char *identity;
    const uint8_t *key;
    uint8_t client_suites;
    uint8_t server_suites;
    enum iotsec_status client;
    enum iotsec_status server; /* IOTSEC_OK: it does not get so far */
    unsigned within_ms;
} failure_rows[] = {
    /* 1 */ { "client", psk, 1, 1, IOTSEC_OK, IOTSEC_OK, 1000 },
    /* 2 */ { "client", other_psk, 1, 1, IOTSEC_ERR_WRONG_PSK, IOTSEC_ERR_WRONG_PSK, 10000 },
    /* 3 */ { "nobody", psk, 1, 1, IOTSEC_ERR_WRONG_PSK, IOTSEC_ERR_UNKNOWN_IDENTITY, 10000 },
    /* 4 */ { "client", psk, 1, 2, IOTSEC_ERR_NO_CIPHER, IOTSEC_OK, 10000 },
};

static void test_failures(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof failure_rows / sizeof failure_rows[0]; i++) {
        const struct failure_row *row = &failure_rows[i];
        struct net *net = scenario_begin(i + 1);
        struct pair pair = make_pair(net, IOTSEC_COOKIE_OFF);
        uint64_t started;

        node_crash(pair.client);
        node_crash(pair.server);
        pair.client->endpoint_config.suites = row->client_suites;
        pair.server->endpoint_config.suites = row->server_suites;
        node_boot(pair.client);
        node_boot(pair.server);
        started = net->now;
        assert_int_equal(dtls_connect(pair.client, pair.server, row->identity, row->key), IOTSEC_OK);
        assert_true(net_run_until(net, has_ended, pair.client, 60000));
        assert_true(net->now - started <= row->within_ms);
        assert_int_equal(pair.client->last_reason, row->client);
        assert_int_equal(pair.server->last_reason, row->server);
        scenario_end(net);
    }
}

/* A wrong key and an unknown identity look alike on the wire: the same datagrams of the same lengths at the same times. */
static void test_look_alike(void **state)
{
    struct net *wrong = net_new(7);
    struct net *unknown = scenario_begin(7);
    struct pair a = make_pair(wrong, IOTSEC_COOKIE_OFF);
    struct pair b = make_pair(unknown, IOTSEC_COOKIE_OFF);
    size_t i;

    (void)state;
    assert_int_equal(dtls_connect(a.client, a.server, "client", other_psk), IOTSEC_OK);
    assert_int_equal(dtls_connect(b.client, b.server, "nobody", other_psk), IOTSEC_OK);
    net_run_ms(wrong, 60000);
    net_run_ms(unknown, 60000);
    assert_int_equal(wrong->tap_count, unknown->tap_count);
    for (i = 0; i < wrong->tap_count; i++) {
        assert_int_equal(wrong->tap[i].len, unknown->tap[i].len);
        assert_int_equal(wrong->tap[i].data[0], unknown->tap[i].data[0]);
        assert_int_equal(wrong->tap[i].sender->number, unknown->tap[i].sender->number);
    }
    scenario_end(unknown);
    net_free(wrong);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        scenario(test_loss),       scenario(test_rough),      scenario(test_garbage), scenario(test_foreign),
        scenario(test_replay),     scenario(test_impostor),   scenario(test_comes_back), scenario(test_flood),
        scenario(test_full),       scenario(test_failures),   scenario(test_look_alike),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
