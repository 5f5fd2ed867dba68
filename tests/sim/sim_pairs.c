/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Devices that talk to each other without a server: any two of a hundred, both at once, over renewals of the polynomial,
 * with a manager that dies in the middle of handing it out, and after a move. What may never happen is checked by the network
 * itself (net.h): who a message is said to come from, shares, secrets in the air, nonces, more than three times the bytes.
 */
#include <string.h>

#include <iotsec/polykey.h>

#include "access/device_state.h"
#include "mesh.h"
#include "scenario.h"
#include "pairs.h"

#define SECOND 1000u
#define MINUTE (60u * SECOND)
#define HOUR (60u * MINUTE)

/* ---- Any two of a hundred ---- */

#define HUNDRED 100u
#define QUESTIONS 10u

struct figures {
    unsigned runs;
    unsigned datagrams;
    unsigned questions;
    unsigned tries;
    unsigned opened; /* at each end */
    uint64_t share_ms;
    uint64_t answer_ms;
    uint64_t longest_ms;
};

static struct figures figures;

static void add_figures(const struct net *net, size_t first)
{
    size_t i;
    size_t k;

    figures.datagrams += (unsigned)(net->tap_count - first);
    for (i = 0; i < net->node_count; i++) {
        const struct node *node = net->nodes[i];

        figures.opened += node_count(node, IOTSEC_DEVICE_PEER_OPEN);
        for (k = 0; k < node->question_count; k++) {
            uint64_t took = node->questions[k].answered_at - node->questions[k].asked_at;

            figures.questions++;
            figures.tries += node->questions[k].tries;
            figures.answer_ms += took;
            figures.longest_ms = took > figures.longest_ms ? took : figures.longest_ms;
        }
    }
}

static void run_hundred(struct net *net)
{
    struct domain domain;
    size_t first;
    size_t i;
    unsigned k;

    net_rough(net, 200);
    net->late_poll_ms = random_below(&net->random, 10);
    domain_init_for(&domain, net, HUNDRED + 20);
    domain.groupless = true;
    domain.pairs = 24;
    domain.degree_max = 31;
    if (random_below(&net->random, 2) != 0) {
        domain.manager->manager_config.link_payload = 95;
        node_reboot(domain.manager);
    }
    manager_poly(domain.manager, 31, false);
    while (domain.count < HUNDRED) {
        (void)domain_add(&domain);
        net_run_ms(net, random_below(&net->random, 50));
    }
    pairs_wait(&domain, 2 * MINUTE);
    figures.share_ms += net->now;
    net_run_ms(net, 30 * SECOND); /* acknowledgements that were lost */

    first = net->tap_count;
    for (k = 0; k < QUESTIONS; k++) {
        for (i = 0; i < HUNDRED; i++) {
            size_t other = (i + 1 + random_below(&net->random, HUNDRED - 1)) % HUNDRED;

            node_ask(domain.devices[i], domain.devices[other]);
        }
        net_run_ms(net, 15 * SECOND);
    }
    if (!net_run_until(net, net_answered, NULL, 10 * MINUTE)) {
        pairs_tell_unanswered(net);
        fail_msg("%u questions have no answer", net_unanswered(net));
    }
    /* nobody has needed the manager for that */
    assert_int_equal(pairs_datagrams_of(net, first, domain.manager), 0);
    figures.runs++;
    add_figures(net, first);
    net_check_secrets(net);
}

static void test_hundred(void **state)
{
    (void)state;
    memset(&figures, 0, sizeof figures);
    scenario_seeds(10, run_hundred);
    print_message("%u times 100 devices at 20 %% loss: the last share after %u ms; %u questions, %u tries, %u ms to an answer "
                  "on average, at most %u ms; %u datagrams, none to or from the manager; %u sessions opened\n",
                  figures.runs, (unsigned)(figures.share_ms / figures.runs), figures.questions, figures.tries,
                  (unsigned)(figures.answer_ms / figures.questions), (unsigned)figures.longest_ms, figures.datagrams,
                  figures.opened / 2);
}

/* Every two of twelve, with a place for each; then silence, which closes all of it. */
static void run_every_two(struct net *net)
{
    struct domain domain;
    uint8_t key[2][16];
    uint64_t before;
    size_t i;
    size_t k;

    net_rough(net, 100);
    pairs_start(&domain, net, 12, 12, 3);
    for (i = 0; i < domain.count; i++) {
        for (k = 0; k < domain.count; k++) {
            if (i != k) {
                node_ask(domain.devices[i], domain.devices[k]);
            }
        }
        net_run_ms(net, random_below(&net->random, 1000));
    }
    assert_true(net_run_until(net, net_answered, NULL, 5 * MINUTE));
    net->link.loss_permille = 0;
    net_run_ms(net, 10 * SECOND);
    for (i = 0; i < domain.count; i++) {
        assert_int_equal(node_pair_sessions(domain.devices[i]), domain.count - 1);
        for (k = 0; k < i; k++) {
            const struct node *a = domain.devices[i];
            const struct node *b = domain.devices[k];

            assert_true(node_same_pair_session(a, b));
            assert_int_equal(iotsec_peer_key(&a->device, (const uint8_t *)b->name, strlen(b->name), 2, key[0]), IOTSEC_OK);
            assert_int_equal(iotsec_peer_key(&b->device, (const uint8_t *)a->name, strlen(a->name), 2, key[1]), IOTSEC_OK);
            assert_memory_equal(key[0], key[1], sizeof key[0]);
            assert_int_equal(iotsec_peer_key(&b->device, (const uint8_t *)a->name, strlen(a->name), 3, key[1]), IOTSEC_OK);
            assert_memory_not_equal(key[0], key[1], sizeof key[0]);
        }
    }
    before = net->now;
    net_run_ms(net, IOTSEC_PAIR_IDLE_MS + 10 * SECOND);
    for (i = 0; i < domain.count; i++) {
        assert_int_equal(node_pair_sessions(domain.devices[i]), 0);
        assert_true(node_peer_count(domain.devices[i], IOTSEC_DEVICE_PEER_CLOSED, NULL, IOTSEC_ERR_TIMEOUT) +
                        node_peer_count(domain.devices[i], IOTSEC_DEVICE_PEER_CLOSED, NULL, IOTSEC_ERR_CLOSED) >=
                    domain.count - 1);
    }
    assert_true(net->now > before);
    net_check_secrets(net);
}

static void test_every_two(void **state)
{
    (void)state;
    scenario_seeds(2, run_every_two);
}

/* A device with two places talks to ten others, one after the other: those that are idle make room. */
static void run_few_places(struct net *net)
{
    struct domain domain;
    struct node *small;
    size_t i;

    net_rough(net, 200);
    pairs_start(&domain, net, 10, 12, 3);
    domain.pairs = 2;
    small = domain_add(&domain);
    pairs_wait(&domain, MINUTE);
    for (i = 0; i < 10; i++) {
        node_ask(small, domain.devices[i]);
        if (random_below(&net->random, 2) != 0) {
            node_ask(domain.devices[random_below(&net->random, 10)], small);
        }
    }
    if (!net_run_until(net, net_answered, NULL, 10 * MINUTE)) {
        pairs_tell_unanswered(net);
        fail_msg("%u questions have no answer", net_unanswered(net));
    }
    assert_true(node_pair_sessions(small) <= 2);
    assert_true(node_peer_count(small, IOTSEC_DEVICE_PEER_CLOSED, NULL, IOTSEC_ERR_FULL) >= 5);
}

static void test_few_places(void **state)
{
    (void)state;
    scenario_seeds(2, run_few_places);
}

/* ---- Both at once ---- */

static unsigned at_once_opened;
static unsigned at_once_failed;
static unsigned at_once_replaced;

/* `event`: where the sender's events begin that count. */
static void check_heard(struct node *from, struct node *to, uint32_t serial, size_t event, unsigned loss)
{
    unsigned opened = 0;

    if (node_was_told(to, serial)) {
        return;
    }
    for (; event < from->event_count; event++) {
        if (from->event_peers[event] != to) {
            continue;
        }
        if (from->events[event].kind == IOTSEC_DEVICE_PEER_FAILED) {
            /* lost with a handshake that came to nothing, for want of any answer */
            assert_int_equal(from->events[event].reason, IOTSEC_ERR_NO_ANSWER);
            at_once_failed++;
            return;
        }
        opened += from->events[event].kind == IOTSEC_DEVICE_PEER_OPEN;
    }
    /* It went into a session whose other end had begun its handshake anew before it heard the end of it: a late copy of a
     * HelloVerifyRequest contradicted what it had taken, and then its last flight was lost twice. */
    if (opened < 2 || loss == 0) {
        fail_msg("what %s said was not delivered to %s, and %s was not told", from->name, to->name, from->name);
    }
    at_once_replaced++;
}

static void run_at_once_with(struct net *net, struct domain *domain, unsigned loss)
{
    struct node *a = domain->devices[0];
    struct node *b = domain->devices[1];
    size_t events[2] = { a->event_count, b->event_count };
    uint32_t serials[2];
    bool failed;

    assert_int_equal(node_pair_sessions(a) + node_pair_sessions(b), 0);
    net_rough(net, loss);
    net->link.duplicate_permille = 200;
    net->link.reorder_permille = 300;
    net->spare_data = true;
    serials[0] = node_tell(a, b, NULL);
    net_run_ms(net, random_below(&net->random, 4) == 0 ? 0 : random_below(&net->random, 120));
    serials[1] = node_tell(b, a, NULL);
    assert_true(serials[0] != 0 && serials[1] != 0);
    net_run_ms(net, 45 * SECOND);
    net->spare_data = false;
    net->link.loss_permille = 0;
    net_run_ms(net, 5 * SECOND);
    check_heard(a, b, serials[0], events[0], loss);
    check_heard(b, a, serials[1], events[1], loss);
    failed = node_peer_count(a, IOTSEC_DEVICE_PEER_FAILED, b, 1) + node_peer_count(b, IOTSEC_DEVICE_PEER_FAILED, a, 1) != 0;
    if (!failed) {
        assert_true(node_same_pair_session(a, b));
    }
    assert_true(node_pair_sessions(a) <= 1 && node_pair_sessions(b) <= 1);
    /* whatever has happened: from now on both ways work, though the first try may have to make a new session */
    node_ask(a, b);
    node_ask(b, a);
    assert_true(net_run_until(net, net_answered, NULL, MINUTE));
    assert_true(node_same_pair_session(a, b));
    serials[0] = node_tell(a, b, NULL);
    serials[1] = node_tell(b, a, NULL);
    net_run_ms(net, SECOND);
    assert_true(node_was_told(b, serials[0]) && node_was_told(a, serials[1]));
    at_once_opened++;
    assert_int_equal(iotsec_peer_close(&a->device, (const uint8_t *)b->name, strlen(b->name)), IOTSEC_OK);
    node_after(a);
    net_run_ms(net, SECOND);
    assert_int_equal(node_pair_sessions(a) + node_pair_sessions(b), 0);
}

static void run_at_once(struct net *net)
{
    struct domain domain;
    unsigned round;

    pairs_start(&domain, net, 2, 2, 2);
    for (round = 0; round < 9; round++) {
        run_at_once_with(net, &domain, round % 3 * 200);
        net_run_ms(net, 12 * SECOND);
    }
    net_check_secrets(net);
}

static void test_at_once(void **state)
{
    (void)state;
    at_once_opened = at_once_failed = at_once_replaced = 0;
    scenario_seeds(1, run_at_once);
    print_message("%u times both at once, at 0, 20 and 40 %% loss; of twice as many messages %u ended with NO_ANSWER, and %u "
                  "in a session that was replaced at once\n", at_once_opened, at_once_failed, at_once_replaced);
}

/* ---- Power cuts ---- */

static uint64_t back_ms, back_longest_ms;
static unsigned back_count;

/* One loses everything and comes back; the others do not know, and go on in sessions that are none any more. */
static void run_power_cuts(struct net *net)
{
    struct domain domain;
    unsigned round;
    size_t i;

    net_rough(net, 100);
    pairs_start(&domain, net, 5, 5, 3);
    pairs_check(&domain);
    for (round = 0; round < 5; round++) {
        struct node *device = domain.devices[random_below(&net->random, 5)];

        net_run_ms(net, 12 * SECOND);
        node_crash(device);
        net_run_ms(net, random_below(&net->random, 10 * SECOND));
        node_boot(device);
        node_join(device, domain.manager, 0);
        pairs_wait(&domain, MINUTE);
        for (i = 0; i < domain.count; i++) {
            if (domain.devices[i] != device) {
                assert_int_not_equal(node_pair_sessions(domain.devices[i]), 0);
                domain.devices[i]->question_count = 0;
                node_ask(domain.devices[i], device);
            }
        }
        if (!net_run_until(net, net_answered, NULL, 2 * MINUTE)) {
            pairs_tell_unanswered(net);
            fail_msg("%u questions have no answer", net_unanswered(net));
        }
        for (i = 0; i < domain.count; i++) {
            if (domain.devices[i] != device) {
                uint64_t took = domain.devices[i]->questions[0].answered_at - domain.devices[i]->questions[0].asked_at;

                back_ms += took;
                back_longest_ms = took > back_longest_ms ? took : back_longest_ms;
                back_count++;
            }
        }
    }
    net->link.loss_permille = 0;
    net_run_ms(net, 5 * SECOND);
    pairs_check(&domain);
    net_check_secrets(net);
}

static void test_power_cuts(void **state)
{
    (void)state;
    back_ms = back_longest_ms = back_count = 0;
    scenario_seeds(2, run_power_cuts);
    print_message("%u times a peer had lost its session: an answer after %u ms on average, at most %u ms\n", back_count,
                  (unsigned)(back_ms / back_count), (unsigned)back_longest_ms);
}

/* ---- A new polynomial ---- */

/* Everybody asks everybody now and then. */
static void chatter(struct domain *domain, unsigned rounds)
{
    struct net *net = domain->net;
    size_t i;

    for (; rounds > 0; rounds--) {
        for (i = 0; i < domain->count; i++) {
            if (domain_has(domain, i)) {
                size_t other = random_below(&net->random, (uint32_t)domain->count);

                if (other != i && domain_has(domain, other)) {
                    node_ask(domain->devices[i], domain->devices[other]);
                }
            }
        }
        net_run_ms(net, 500);
    }
}

static void run_renewal(struct net *net)
{
    struct domain domain;
    struct node *late;
    struct node *other;
    enum iotsec_status status;
    size_t i;

    net_rough(net, 200);
    pairs_start(&domain, net, 10, 10, 3);
    late = domain.devices[random_below(&net->random, 10)];
    other = domain.devices[late == domain.devices[0]];
    chatter(&domain, 4);
    late->deaf_to = domain.manager; /* and so it goes on with what it has */
    manager_poly(domain.manager, 1 + random_below(&net->random, 3), true);
    chatter(&domain, 20);
    assert_true(net_run_until(net, net_answered, NULL, 2 * MINUTE));
    domain_out(&domain, late);
    pairs_wait(&domain, 30 * SECOND);
    domain_back(&domain, late);
    assert_int_equal(late->share_generation, 1);
    chatter(&domain, 10);
    assert_true(net_run_until(net, net_answered, NULL, 2 * MINUTE));
    for (i = 0; i < domain.count; i++) {
        /* no session has come to nothing for the renewal's sake */
        assert_int_equal(node_peer_count(domain.devices[i], IOTSEC_DEVICE_PEER_FAILED, NULL, 1),
                         node_peer_count(domain.devices[i], IOTSEC_DEVICE_PEER_FAILED, NULL, IOTSEC_ERR_NO_ANSWER));
        assert_int_equal(node_peer_count(domain.devices[i], IOTSEC_DEVICE_PEER_CLOSED, NULL, IOTSEC_ERR_GENERATION), 0);
        /* a Finished may belong to the try before the present one */
        assert_int_equal(node_peer_count(domain.devices[i], IOTSEC_DEVICE_PEER_REFUSED, NULL, 1),
                         node_peer_count(domain.devices[i], IOTSEC_DEVICE_PEER_REFUSED, NULL, IOTSEC_ERR_WRONG_PSK));
        assert_true(domain.devices[i] == late || node_share(domain.devices[i], 1) != NULL);
    }
    /* the overlap ends, and with it the old sessions */
    net_run_ms(net, 10 * MINUTE);
    for (i = 0; i < domain.count; i++) {
        if (domain.devices[i] != late) {
            assert_null(node_share(domain.devices[i], 1));
            assert_non_null(node_share(domain.devices[i], 2));
            pairs_all_of_generation(domain.devices[i], 2);
        }
    }
    net->link.loss_permille = 0;
    (void)node_tell(late, other, &status);
    assert_int_equal(status, IOTSEC_OK);
    net_run_ms(net, 20 * SECOND);
    assert_int_equal(node_peer_count(late, IOTSEC_DEVICE_PEER_FAILED, other, IOTSEC_ERR_GENERATION), 1);
    (void)node_tell(other, late, &status);
    assert_int_equal(status, IOTSEC_OK);
    net_run_ms(net, 20 * SECOND);
    assert_int_equal(node_peer_count(other, IOTSEC_DEVICE_PEER_FAILED, late, IOTSEC_ERR_GENERATION), 1);
    assert_null(node_pair_session(late, other));
    assert_null(node_pair_session(other, late));
    /* it hears again, and is one of them */
    late->deaf_to = NULL;
    net_rough(net, 200);
    pairs_wait(&domain, 2 * HOUR);
    node_ask(late, other);
    node_ask(other, late);
    assert_true(net_run_until(net, net_answered, NULL, MINUTE));
    net_check_secrets(net);
}

static void test_renewal(void **state)
{
    (void)state;
    scenario_seeds(2, run_renewal);
}

/* `from` says something to everybody who has the newest share and all that is revoked, and none of them hears it. */
static void check_refused(struct domain *domain, struct node *from)
{
    struct net *net = domain->net;
    const struct iotsec_registry_poly *poly = &domain->manager->registry->durable.poly;
    uint32_t serials[DOMAIN_MAX] = { 0 };
    enum iotsec_status status;
    size_t i;

    for (i = 0; i < domain->count; i++) {
        struct node *device = domain->devices[i];

        if (domain_has(domain, i) && device->share_generation == poly->generation) {
            assert_null(node_pair_session(device, from));
            serials[i] = node_tell(from, device, &status);
            (void)node_tell(device, from, &status);
            assert_int_equal(status, poly->revoked_count != 0 ? IOTSEC_ERR_REVOKED : IOTSEC_OK);
            net_run_ms(net, 2 * SECOND);
        }
    }
    net_run_ms(net, 30 * SECOND);
    for (i = 0; i < domain->count; i++) {
        if (serials[i] != 0) {
            assert_false(node_was_told(domain->devices[i], serials[i]));
            assert_null(node_pair_session(domain->devices[i], from));
        }
    }
}

struct eviction {
    struct domain *domain;
    const struct node *evicted;
};

/* For net_run_until: everybody has the new share, and nobody has it for a moment without knowing who is evicted. */
static bool all_know(struct net *net, void *user)
{
    const struct eviction *eviction = user;
    const struct domain *domain = eviction->domain;
    const struct node *evicted = eviction->evicted;
    uint8_t point[IOTSEC_POLY_ELEMENT_BYTES];
    size_t i;

    assert_int_equal(iotsec_polykey_point(&evicted->hal, (const uint8_t *)evicted->name, strlen(evicted->name), point), IOTSEC_OK);
    for (i = 0; i < domain->count; i++) {
        const struct node *device = domain->devices[i];

        if (device != evicted && iotsec_dev_share(&device->device, manager_generation(domain->manager)) != NULL &&
            !iotsec_dev_is_revoked(&device->device, point)) {
            fail_msg("%s uses the new share and does not know that %s is evicted", device->name, evicted->name);
        }
    }
    return pairs_have_shares(net, eviction->domain);
}

/* With an overlap, after an eviction that the evicted device has not heard of, and another one has not either. */
static void run_renewal_after_eviction(struct net *net)
{
    struct domain domain;
    struct eviction eviction;
    struct node *evicted;
    struct node *late;
    uint32_t serial;
    size_t i;

    pairs_start(&domain, net, 8, 8, 3);
    evicted = domain.devices[random_below(&net->random, 4)];
    late = domain.devices[4 + random_below(&net->random, 4)];
    chatter(&domain, 6);
    assert_true(net_run_until(net, net_answered, NULL, MINUTE));
    net_rough(net, 200);
    evicted->deaf_to = domain.manager;
    late->deaf_to = domain.manager;
    for (i = 0; i < 15; i++) { /* marks for three messages, its own in the last */
        struct node *ghost = net_device(net);

        net_enroll(domain.manager, ghost);
        manager_evict(domain.manager, ghost);
    }
    manager_evict(domain.manager, evicted);
    domain_out(&domain, evicted);
    domain_out(&domain, late);
    eviction.domain = &domain;
    eviction.evicted = evicted;
    pairs_wait(&domain, MINUTE);
    /* who has not heard of it believes it: that must not last */
    serial = node_tell(evicted, late, NULL);
    for (i = 0; i < 10 && (serial == 0 || !node_was_told(late, serial)); i++) {
        net_run_ms(net, 5 * SECOND);
        serial = node_tell(evicted, late, NULL);
        net_run_ms(net, SECOND);
    }
    assert_true(serial != 0 && node_was_told(late, serial));
    chatter(&domain, 4);
    manager_poly(domain.manager, 1 + random_below(&net->random, 3), true);
    assert_int_equal(domain.manager->registry->durable.poly.gentle, 1);
    assert_int_equal(domain.manager->registry->durable.poly.carried, 16);
    assert_true(net_run_until(net, all_know, &eviction, MINUTE));
    chatter(&domain, 20);
    check_refused(&domain, evicted);
    assert_int_equal(late->share_generation, 1);
    domain_back(&domain, late); /* the others talk to it under the old one, in which they refuse the evicted one */
    chatter(&domain, 10);
    assert_true(net_run_until(net, net_answered, NULL, 2 * MINUTE));
    late->deaf_to = NULL;
    assert_true(net_run_until(net, all_know, &eviction, 2 * HOUR));
    assert_non_null(node_share(late, 1));
    check_refused(&domain, evicted);
    chatter(&domain, 10);
    assert_true(net_run_until(net, net_answered, NULL, 2 * MINUTE));
    for (i = 0; i < domain.count; i++) {
        if (domain_has(&domain, i)) {
            /* no session of those who stay has ended or come to nothing for it */
            assert_int_equal(node_peer_count(domain.devices[i], IOTSEC_DEVICE_PEER_CLOSED, NULL, IOTSEC_ERR_GENERATION), 0);
            assert_int_equal(node_peer_count(domain.devices[i], IOTSEC_DEVICE_PEER_FAILED, NULL, IOTSEC_ERR_GENERATION), 0);
        }
    }
    /* the overlap is over */
    net_run_ms(net, 10 * MINUTE);
    for (i = 0; i < domain.count; i++) {
        if (domain_has(&domain, i)) {
            assert_null(node_share(domain.devices[i], 1));
            assert_int_equal(domain.devices[i]->device.revoked_count, 16);
        }
    }
    check_refused(&domain, evicted);
    /* and the next polynomial does not know it any more, nor needs to */
    manager_poly(domain.manager, 3, true);
    assert_int_equal(domain.manager->registry->durable.poly.revoked_count, 0);
    pairs_wait(&domain, 2 * HOUR);
    net_run_ms(net, 10 * MINUTE);
    check_refused(&domain, evicted);
    for (i = 0; i < domain.count; i++) {
        if (domain_has(&domain, i)) {
            assert_int_equal(domain.devices[i]->device.revoked_count, 0);
        }
    }
    net_check_secrets(net);
}

static void test_renewal_after_eviction(void **state)
{
    (void)state;
    scenario_seeds(2, run_renewal_after_eviction);
}

/* Without an overlap: what stands ends with the new share, and the next message makes a new session. */
static void run_hard_renewal(struct net *net)
{
    struct domain domain;
    size_t i;

    net_rough(net, 200);
    pairs_start(&domain, net, 8, 8, 3);
    chatter(&domain, 8);
    assert_true(net_run_until(net, net_answered, NULL, 2 * MINUTE));
    manager_poly(domain.manager, 3, false);
    chatter(&domain, 8);
    pairs_wait(&domain, MINUTE);
    for (i = 0; i < domain.count; i++) {
        assert_null(node_share(domain.devices[i], 1));
        pairs_all_of_generation(domain.devices[i], 2);
    }
    assert_true(net_run_until(net, net_answered, NULL, 2 * MINUTE));
    chatter(&domain, 8);
    assert_true(net_run_until(net, net_answered, NULL, 2 * MINUTE));
    net_check_secrets(net);
}

static void test_hard_renewal(void **state)
{
    (void)state;
    scenario_seeds(2, run_hard_renewal);
}

/* One after another is renewed, faster than they can be handed out, and there are evictions meanwhile. */
static void run_hasty_renewals(struct net *net)
{
    struct domain domain;
    unsigned i;
    unsigned k;

    net_rough(net, 200);
    pairs_start(&domain, net, 6, 6, 7);
    for (i = 0; i < 8; i++) {
        manager_poly(domain.manager, 1 + random_below(&net->random, 7), random_below(&net->random, 2) != 0);
        for (k = random_below(&net->random, 12); k != 0; k--) {
            struct node *ghost = net_device(net);

            net_enroll(domain.manager, ghost);
            manager_evict(domain.manager, ghost);
        }
        chatter(&domain, random_below(&net->random, 4));
        if (random_below(&net->random, 4) == 0) {
            node_reboot(domain.devices[0]);
            node_join(domain.devices[0], domain.manager, 0);
        }
    }
    pairs_wait(&domain, 3 * MINUTE);
    net_forget_questions(net);
    pairs_check(&domain);
}

static void test_hasty_renewals(void **state)
{
    (void)state;
    scenario_seeds(2, run_hasty_renewals);
}

/* More evictions than the list has room for: a new polynomial for those who stay, at once. */
static void run_many_evictions(struct net *net)
{
    struct domain domain;
    struct node *ghosts[IOTSEC_REVOKED_MAX + 1];
    unsigned i;
    size_t k;

    net_rough(net, 100);
    pairs_start(&domain, net, 6, 6, 3);
    for (i = 0; i <= IOTSEC_REVOKED_MAX; i++) {
        ghosts[i] = net_device(net);
        net_enroll(domain.manager, ghosts[i]);
    }
    for (i = 0; i < IOTSEC_REVOKED_MAX; i++) {
        manager_evict(domain.manager, ghosts[i]);
        if (random_below(&net->random, 3) == 0) {
            net_run_ms(net, random_below(&net->random, 300));
        }
    }
    assert_int_equal(manager_generation(domain.manager), 1);
    pairs_wait(&domain, 2 * MINUTE);
    for (k = 0; k < domain.count; k++) {
        assert_int_equal(domain.devices[k]->device.revoked_count, IOTSEC_REVOKED_MAX);
    }
    pairs_check(&domain);
    manager_evict(domain.manager, ghosts[IOTSEC_REVOKED_MAX]);
    assert_int_equal(manager_generation(domain.manager), 2);
    assert_int_equal(manager_event(domain.manager, IOTSEC_MANAGER_POLY)->reason, IOTSEC_ERR_FULL);
    assert_int_equal(domain.manager->registry->durable.poly.revoked_count, 0);
    pairs_wait(&domain, MINUTE);
    for (k = 0; k < domain.count; k++) {
        assert_int_equal(domain.devices[k]->device.revoked_count, 0);
        assert_null(node_share(domain.devices[k], 1));
    }
    pairs_check(&domain);
}

static void test_many_evictions(void **state)
{
    (void)state;
    scenario_seeds(5, run_many_evictions);
}

/* ---- A manager that dies ---- */

/* Lets time pass; a manager that its registry has killed comes back after a second. */
static void run_on(struct domain *domain, unsigned ms)
{
    unsigned slice;

    for (slice = 0; slice < ms; slice += 100) {
        net_run_ms(domain->net, 100);
        if (!domain->manager->powered) {
            net_run_ms(domain->net, SECOND);
            node_boot(domain->manager);
        }
    }
}

static void renew_for_certain(struct domain *domain, unsigned degree, bool overlap)
{
    uint32_t before = manager_generation(domain->manager);

    while (manager_generation(domain->manager) == before) {
        (void)iotsec_manager_poly_renew(&domain->manager->manager, degree, overlap);
        node_after(domain->manager);
        run_on(domain, 200);
    }
}

static void evict_for_certain(struct domain *domain, struct node *device)
{
    while (!registry_evicted(domain->manager->registry, device->number)) {
        (void)iotsec_manager_evict(&domain->manager->manager, device->number);
        node_after(domain->manager);
        run_on(domain, 200);
    }
    domain_out(domain, device);
}

static void tell_story(struct domain *domain)
{
    while (domain->count < 3) {
        (void)domain_add(domain);
    }
    renew_for_certain(domain, 2, false);
    run_on(domain, 1000 + random_below(&domain->net->random, 1000));
    renew_for_certain(domain, 3, true);
    (void)domain_add(domain);
    run_on(domain, 500);
    evict_for_certain(domain, domain->devices[1]);
    run_on(domain, 500);
    renew_for_certain(domain, 3, false);
    run_on(domain, 5 * SECOND);
}

static void check_story(struct domain *domain)
{
    pairs_wait(domain, 2 * HOUR);
    pairs_check(domain);
}

/* The story once for each registry operation in it, which dies or (after == 2) fails there. */
static void test_kill_everywhere(void **state)
{
    unsigned operations = 1;
    unsigned at;
    unsigned how;
    unsigned runs = 0;

    (void)state;
    for (at = 1; at <= operations; at++) {
        for (how = 0; how < 3; how++) {
            struct net *net = scenario_begin(at);
            struct domain domain;
            struct registry_memory *registry;

            net_rough(net, 100);
            pairs_init(&domain, net, 4, 4, 3);
            registry = domain.manager->registry;
            if (how == 2) {
                registry->fail_at = registry->operations + at;
                registry->fail_count = random_below(&net->random, 3);
            } else {
                registry->kill_at = registry->operations + at;
                registry->kill_after_commit = how != 0;
            }
            tell_story(&domain);
            check_story(&domain);
            if (registry->operations > operations) {
                operations = registry->operations;
            }
            runs++;
            scenario_end(net);
        }
    }
    assert_true(operations >= 20); /* the story is as long as it looks */
    print_message("%u registry operations, %u runs\n", operations, runs);
}

/* It is switched off and on anywhere in a distribution, again and again; devices too. */
static void run_restarts(struct net *net)
{
    struct domain domain;
    unsigned i;

    net_rough(net, 200);
    pairs_init(&domain, net, 6, 6, 31);
    domain.manager->manager_config.link_payload = 95; /* two elements a message */
    node_reboot(domain.manager);
    while (domain.count < 6) {
        (void)domain_add(&domain);
    }
    for (i = 0; i < 6; i++) {
        if (i % 3 == 0) {
            manager_poly(domain.manager, 20 + random_below(&net->random, 12), i != 0);
        }
        net_run_ms(net, random_below(&net->random, 4 * SECOND));
        node_crash(domain.manager);
        net_run_ms(net, random_below(&net->random, 2 * SECOND));
        node_boot(domain.manager);
        if (random_below(&net->random, 3) == 0) {
            struct node *device = domain.devices[random_below(&net->random, 6)];

            node_reboot(device);
            node_join(device, domain.manager, 0);
        }
    }
    for (i = 0; i < 3 && !pairs_have_shares(net, &domain); i++) {
        domain_retry(&domain);
        (void)net_run_until(net, pairs_have_shares, &domain, 30 * MINUTE);
    }
    assert_true(pairs_have_shares(net, &domain));
    assert_int_equal(manager_generation(domain.manager), 2);
    pairs_check(&domain);
    net_check_secrets(net);
}

static void test_restarts(void **state)
{
    (void)state;
    scenario_seeds(2, run_restarts);
}

/* What was handed over before a session's end is not sent again. */
static void run_resumed(struct net *net)
{
    struct domain domain;
    struct node *device;
    unsigned held;
    unsigned guard;
    size_t first;

    pairs_init(&domain, net, 4, 4, 31);
    domain.manager->manager_config.link_payload = 95;
    node_reboot(domain.manager);
    manager_poly(domain.manager, 31, false);
    device = domain_add(&domain);
    for (guard = 0; guard < 5000 && device->device.share[1].held < 9 + net->seed % 16; guard++) {
        net_run_ms(net, 1);
    }
    held = device->device.share[1].held;
    assert_true(held >= 9 && held < 32);
    node_reboot(domain.manager); /* the session is gone, and the device finds out by and by */
    first = net->tap_count;
    pairs_wait(&domain, 2 * HOUR);
    assert_true(device->share_generation == 1);
    /* of 32 coefficients, only those that were missing came: at most 16 bytes each and 39 around every two of them, and the
     * rest of what a session takes */
    assert_true(pairs_share_bytes(net, first, domain.manager) <= (32 - held + 2) / 2 * (2 * 16 + 39 + 16));
    domain_add(&domain);
    pairs_wait(&domain, MINUTE);
    pairs_check(&domain);
}

static void test_resumed(void **state)
{
    (void)state;
    scenario_seeds(5, run_resumed);
}

/* An older registry in place of the present one: devices keep what they have until the operator makes a newer polynomial. */
static void run_backup(struct net *net)
{
    struct domain domain;
    struct registry_state backup;

    net_rough(net, 50);
    pairs_start(&domain, net, 4, 4, 3);
    backup = domain.manager->registry->durable;
    manager_poly(domain.manager, 3, false);
    manager_poly(domain.manager, 3, false);
    pairs_wait(&domain, MINUTE);
    node_crash(domain.manager);
    registry_restore(domain.manager->registry, &backup);
    node_boot(domain.manager);
    net_run_ms(net, 30 * MINUTE);
    assert_true(manager_count(domain.manager, IOTSEC_MANAGER_AHEAD) >= 4);
    assert_int_equal(manager_event(domain.manager, IOTSEC_MANAGER_AHEAD)->key_number, 3);
    node_ask(domain.devices[0], domain.devices[1]);
    assert_true(net_run_until(net, net_answered, NULL, MINUTE));
    manager_poly(domain.manager, 3, false);
    assert_true(manager_generation(domain.manager) > 3);
    pairs_wait(&domain, 2 * HOUR);
    pairs_check(&domain);
}

static void test_backup(void **state)
{
    (void)state;
    scenario_seeds(5, run_backup);
}

/* ---- Hops and moves ---- */

static void run_moves(struct net *net)
{
    struct mesh mesh;
    struct node *relay;
    struct node *movers[2];
    struct iotsec_addr local;
    enum iotsec_status status;
    unsigned i;
    unsigned tries;

    mesh_init(&mesh, net, 80);
    mesh.status_interval_ms = 2 * MINUTE;
    manager_poly(mesh.manager, 3, false);
    relay = mesh_device(&mesh);
    net_pairs(relay, 4, 3);
    net_on_link(relay, 1);
    net_relay(relay, mesh.manager, (enum iotsec_relay_mode)random_below(&net->random, 2), true);
    node_boot(relay);
    node_join(relay, mesh.manager, DOMAIN_GROUP);
    assert_true(net_run_until(net, mesh_settled, relay, MINUTE));
    for (i = 0; i < 2; i++) {
        movers[i] = mesh_joiner(&mesh, relay, 1);
        net_pairs(movers[i], 4, 3);
        movers[i]->device_config.connection_id = IOTSEC_CONNECTION_ID_LINK_LOCAL;
        movers[i]->move_after_ms = 20 * SECOND + random_below(&net->random, 10 * SECOND);
        node_boot(movers[i]);
        node_join_through(movers[i], relay, DOMAIN_GROUP);
    }
    net_run_ms(net, 10 * SECOND);
    assert_int_equal(movers[0]->share_generation, 1);
    assert_int_equal(movers[1]->share_generation, 1);
    mesh_loss(net, 100);
    /* before they move: neighbours, at their link-local addresses */
    local = node_local(movers[1], 1);
    for (tries = 0; tries < 10 && movers[1]->told_count == 0; tries++) {
        (void)node_tell_at(movers[0], movers[1], &local, &status);
        assert_true(status == IOTSEC_OK || status == IOTSEC_ERR_AGAIN);
        net_run_ms(net, 500);
    }
    assert_int_not_equal(movers[1]->told_count, 0);
    assert_true(mesh_run(&mesh, 2 * MINUTE));
    /* after it, at their own; the relay too */
    node_ask(movers[0], movers[1]);
    node_ask(movers[1], movers[0]);
    node_ask(movers[0], relay);
    node_ask(relay, movers[1]);
    assert_true(net_run_until(net, net_answered, NULL, MINUTE));
    /* one gets another address, and the others hear of it from elsewhere */
    node_renumber(movers[0]);
    net_run_ms(net, 11 * SECOND);
    node_ask(movers[1], movers[0]);
    node_ask(relay, movers[0]);
    assert_true(net_run_until(net, net_answered, NULL, MINUTE));
    node_ask(movers[0], movers[1]);
    node_ask(movers[0], relay);
    assert_true(net_run_until(net, net_answered, NULL, MINUTE));
    mesh_loss(net, 0);
    net_run_ms(net, 10 * SECOND);
    assert_true(node_same_pair_session(movers[0], movers[1]));
    assert_true(node_same_pair_session(movers[0], relay));
    net_check_secrets(net);
}

static void test_moves(void **state)
{
    (void)state;
    scenario_seeds(2, run_moves);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        scenario(test_hundred),
        scenario(test_every_two),
        scenario(test_few_places),
        scenario(test_at_once),
        scenario(test_power_cuts),
        scenario(test_renewal),
        scenario(test_renewal_after_eviction),
        scenario(test_hard_renewal),
        scenario(test_hasty_renewals),
        scenario(test_many_evictions),
        scenario(test_kill_everywhere),
        scenario(test_restarts),
        scenario(test_resumed),
        scenario(test_backup),
        scenario(test_moves),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
