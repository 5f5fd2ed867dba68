/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Devices that talk to each other, and those who would rather they did not: an evicted device that keeps its share, another
 * member at the address, a mirror, a member that floods, garbage, and forged hellos.
 */
#include <string.h>

#include "base/bytes.h"
#include "garbage.h"
#include "pairs.h"
#include "scenario.h"

#define SECOND 1000u
#define MINUTE (60u * SECOND)
#define HOUR (60u * MINUTE)

#define RANDOM_AT 27u /* in a ClientHello or ServerHello datagram: two headers and the version */
#define COOKIE_AT 60u /* its length, in a ClientHello */

static unsigned told_by(const struct node *device, const struct node *from)
{
    unsigned count = 0;
    size_t i;

    for (i = 0; i < device->told_count; i++) {
        count += device->told[i].from == from;
    }
    return count;
}

/* The latest datagram from one to the other since `first` that begins with a handshake message of this type; false: none. */
static bool find_message(const struct net *net, size_t first, const struct node *from, const struct iotsec_addr *to,
                         uint8_t type, struct net_datagram *out)
{
    size_t i;

    for (i = net->tap_count; i > first; i--) {
        const struct net_datagram *datagram = &net->tap[i - 1];

        if (datagram->sender == from && iotsec_addr_equal(&datagram->to, to) && datagram->len > 60 &&
            datagram->data[0] == IOTSEC_CONTENT_HANDSHAKE && datagram->data[13] == type) {
            *out = *datagram;
            return true;
        }
    }
    return false;
}

/* Three different ones. */
static void draw_three(const struct domain *domain, struct node *out[3])
{
    size_t count = domain->count;
    size_t first = random_below(&domain->net->random, (uint32_t)count);
    size_t step = 1 + random_below(&domain->net->random, (uint32_t)(count - 1) / 2);

    assert_true(count == 3 || count == 5);
    out[0] = domain->devices[first];
    out[1] = domain->devices[(first + step) % count];
    out[2] = domain->devices[(first + 2 * step) % count];
}

static void know_each_other(struct node *a, struct node *b)
{
    node_ask(a, b);
    assert_true(net_run_until(a->net, net_answered, NULL, MINUTE));
}

/* ---- Evicted, and still there ---- */

/* It tries everybody, again and again, and comes to nothing; nobody would talk to it either. */
static void check_shut_out(struct domain *domain, struct node *evil, const struct node *but)
{
    struct net *net = domain->net;
    size_t i;

    for (i = 0; i < domain->count; i++) {
        struct node *other = domain->devices[i];
        unsigned told = told_by(other, evil);
        unsigned refused = node_peer_count(other, IOTSEC_DEVICE_PEER_REFUSED, evil, IOTSEC_ERR_REVOKED);
        unsigned failed = node_peer_count(evil, IOTSEC_DEVICE_PEER_FAILED, other, 1);
        enum iotsec_status status;

        if (other == evil || other == but) {
            continue;
        }
        assert_null(node_pair_session(other, evil));
        (void)iotsec_peer_close(&evil->device, (const uint8_t *)other->name, strlen(other->name)); /* if it does not know yet */
        (void)node_tell(evil, other, &status);
        assert_int_equal(status, IOTSEC_OK);
        (void)node_tell(other, evil, &status);
        assert_int_equal(status, IOTSEC_ERR_REVOKED);
        net_run_ms(net, 25 * SECOND);
        assert_int_equal(told_by(other, evil), told);
        assert_null(node_pair_session(other, evil));
        assert_null(node_pair_session(evil, other));
        assert_true(node_peer_count(other, IOTSEC_DEVICE_PEER_REFUSED, evil, IOTSEC_ERR_REVOKED) > refused);
        /* it cannot tell this from a wrong key; if much was lost, or came late, not even that */
        assert_int_equal(node_peer_count(evil, IOTSEC_DEVICE_PEER_FAILED, other, 1) - failed, 1);
        assert_int_equal(node_peer_count(evil, IOTSEC_DEVICE_PEER_FAILED, other, IOTSEC_ERR_REVOKED), 0);
    }
}

static bool away_knows(struct net *net, void *user)
{
    const struct node *away = user;

    (void)net;
    return away->device.revoked_count == 1;
}

static void run_evicted(struct net *net)
{
    struct domain domain;
    struct node *evil;
    struct node *away;
    size_t i;

    net_rough(net, 100);
    pairs_start(&domain, net, 8, 8, 3);
    evil = domain.devices[random_below(&net->random, 4)];
    away = domain.devices[4 + random_below(&net->random, 4)];
    for (i = 0; i < domain.count; i++) {
        if (domain.devices[i] != evil) {
            node_ask(domain.devices[i], evil);
        }
    }
    assert_true(net_run_until(net, net_answered, NULL, MINUTE));
    net_run_ms(net, SECOND);
    evil->deaf_to = domain.manager; /* it does not want to hear it, and keeps what it has */
    away->unplugged = true;
    manager_evict(domain.manager, evil);
    domain_out(&domain, evil);
    domain_out(&domain, away);
    assert_int_equal(evil->share_generation, 1);
    pairs_wait(&domain, 30 * SECOND);
    for (i = 0; i < domain.count; i++) {
        if (domain_has(&domain, i)) {
            assert_int_equal(node_peer_count(domain.devices[i], IOTSEC_DEVICE_PEER_CLOSED, evil, IOTSEC_ERR_REVOKED), 1);
        }
    }
    check_shut_out(&domain, evil, away);
    assert_true(node_peer_count(evil, IOTSEC_DEVICE_PEER_FAILED, NULL, IOTSEC_ERR_WRONG_PSK) >= 3);
    assert_non_null(node_share(evil, 1)); /* else this would show nothing */

    /* whoever was out of reach talks to it until its next contact, and no longer */
    away->unplugged = false;
    if (random_below(&net->random, 2) != 0) {
        net->link.loss_permille = 0;
        (void)node_tell(evil, away, NULL);
        net_run_ms(net, 2 * SECOND);
        if (away->device.revoked_count == 0) {
            assert_non_null(node_pair_session(away, evil));
        }
        net_rough(net, 100);
    }
    assert_true(net_run_until(net, away_knows, away, 2 * HOUR));
    assert_null(node_pair_session(away, evil));
    net_run_ms(net, 5 * SECOND);
    check_shut_out(&domain, evil, NULL);
    net_check_secrets(net);
}

static void test_evicted(void **state)
{
    (void)state;
    scenario_seeds(2, run_evicted);
}

/* A new polynomial without an overlap: the share that it keeps is of no use with anybody who has the new one. */
static void run_outdated(struct net *net)
{
    struct domain domain;
    struct node *evil;
    size_t i;

    net_rough(net, 100);
    pairs_start(&domain, net, 5, 5, 3);
    evil = domain.devices[random_below(&net->random, 5)];
    evil->deaf_to = domain.manager;
    manager_evict(domain.manager, evil);
    manager_poly(domain.manager, 3, random_below(&net->random, 2) != 0);
    domain_out(&domain, evil);
    pairs_wait(&domain, MINUTE);
    net->link.loss_permille = 0;
    for (i = 0; i < domain.count; i++) {
        struct node *other = domain.devices[i];

        if (other != evil) {
            unsigned told = told_by(other, evil);

            (void)node_tell(evil, other, NULL);
            net_run_ms(net, 15 * SECOND);
            assert_int_equal(told_by(other, evil), told);
            assert_null(node_pair_session(other, evil));
            assert_true(node_peer_count(evil, IOTSEC_DEVICE_PEER_FAILED, other, 1) != 0);
        }
    }
    pairs_check(&domain);
}

static void test_outdated(void **state)
{
    (void)state;
    scenario_seeds(2, run_outdated);
}

/* ---- Another member at the address ---- */

static void run_other_at_the_address(struct net *net)
{
    struct domain domain;
    struct node *three[3];
    struct node *a;
    struct node *b;
    struct node *c;
    bool known;
    unsigned told;
    unsigned opened;

    net_rough(net, random_below(&net->random, 2) * 200);
    pairs_start(&domain, net, 3, 4, 3);
    draw_three(&domain, three);
    a = three[0];
    b = three[1];
    c = three[2];
    known = random_below(&net->random, 2) != 0;
    if (known) {
        know_each_other(a, c);
        net_run_ms(net, 5 * SECOND);
    }
    told = (unsigned)c->told_count;
    opened = node_peer_count(c, IOTSEC_DEVICE_PEER_OPEN, NULL, 1);
    assert_int_not_equal(node_tell_at(a, b, &c->addr, NULL), 0);
    net_run_ms(net, 25 * SECOND);
    if (net->link.loss_permille == 0) {
        assert_int_equal(node_peer_count(a, IOTSEC_DEVICE_PEER_FAILED, b, IOTSEC_ERR_PEER_IDENTITY), 1);
    }
    assert_int_equal(node_peer_count(a, IOTSEC_DEVICE_PEER_FAILED, b, 1), 1);
    assert_int_equal(c->told_count, told);
    /* what stood between the two may have been renewed, because of the alert that ended the attempt; nothing else was opened */
    assert_true(known || node_peer_count(c, IOTSEC_DEVICE_PEER_OPEN, NULL, 1) == opened);
    assert_int_equal(node_peer_count(c, IOTSEC_DEVICE_PEER_OPEN, b, 1), 0);
    assert_int_equal(b->told_count, 0);
    assert_null(node_pair(a, b));
    assert_true(!known || node_same_pair_session(a, c)); /* what stands with the real one stands */
    know_each_other(a, c);
    know_each_other(a, b);
}

static void test_other_at_the_address(void **state)
{
    (void)state;
    scenario_seeds(1, run_other_at_the_address);
}

/* ---- A mirror ---- */

/* Everything that a device sends to one that is not there comes back to it from there. */
static void run_mirror(struct net *net)
{
    struct domain domain;
    struct node *a;
    struct node *b;
    size_t recorded;
    size_t seen;
    size_t i;
    unsigned ms;

    pairs_start(&domain, net, 2, 4, 3);
    a = domain.devices[random_below(&net->random, 2)];
    b = domain.devices[a == domain.devices[0]];
    recorded = net->tap_count;
    know_each_other(a, b);
    know_each_other(b, a);
    assert_int_equal(iotsec_peer_close(&a->device, (const uint8_t *)b->name, strlen(b->name)), IOTSEC_OK);
    node_after(a);
    net_run_ms(net, SECOND);
    a->told_count = 0;
    b->unplugged = true;
    /* whole flights of both, from an earlier session */
    for (i = recorded; i < net->tap_count; i++) {
        struct net_datagram datagram = net->tap[i];

        if (datagram.sender == a || datagram.sender == b) {
            (void)net_hand(a, &b->addr, &a->addr, datagram.data, datagram.len);
        }
    }
    net_run_ms(net, 40 * SECOND);
    assert_true(node_pair_sessions(a) == 0 && a->told_count == 0);
    assert_int_equal(a->dtls->handshakes_used, 0);

    seen = net->tap_count;
    assert_int_not_equal(node_tell(a, b, NULL), 0);
    for (ms = 0; ms < 30 * SECOND; ms++) {
        for (; seen < net->tap_count; seen++) {
            struct net_datagram datagram = net->tap[seen];
            struct iotsec_addr from = b->addr;

            if (datagram.sender == a && iotsec_addr_equal(&datagram.to, &b->addr)) {
                from.port = (uint16_t)(from.port + (random_below(&net->random, 8) == 0)); /* now and then from beside it */
                (void)net_hand(a, &from, &a->addr, datagram.data, datagram.len);
            }
        }
        net_run_ms(net, 1);
    }
    assert_int_equal(node_peer_count(a, IOTSEC_DEVICE_PEER_FAILED, b, 1), 1);
    assert_int_equal(node_peer_count(a, IOTSEC_DEVICE_PEER_OPEN, a, 1), 0);
    assert_true(node_peer_count(a, IOTSEC_DEVICE_PEER_REFUSED, a, IOTSEC_ERR_PEER_IDENTITY) != 0); /* it was told of it */
    assert_true(node_pair_sessions(a) == 0 && a->told_count == 0);
    b->unplugged = false;
    know_each_other(a, b);
}

static void test_mirror(void **state)
{
    (void)state;
    scenario_seeds(2, run_mirror);
}

/* ---- A flood ---- */

/* A hello with another random, and with the cookie if there is one. */
static size_t make_hello(struct net *net, const struct net_datagram *hello, const uint8_t *cookie, size_t cookie_len,
                         uint8_t out[NET_DATAGRAM_MAX])
{
    size_t len = hello->len + cookie_len;

    assert_true(hello->data[COOKIE_AT] == 0);
    memcpy(out, hello->data, COOKIE_AT);
    out[COOKIE_AT] = (uint8_t)cookie_len;
    if (cookie_len != 0) {
        memcpy(out + COOKIE_AT + 1, cookie, cookie_len);
        out[18] = 1; /* message_seq */
        out[10] = 1; /* record */
    }
    memcpy(out + COOKIE_AT + 1 + cookie_len, hello->data + COOKIE_AT + 1, hello->len - COOKIE_AT - 1);
    iotsec_put_u16(out + 11, (uint16_t)(len - 13));
    iotsec_put_u16(out + 15, (uint16_t)(len - 25));
    iotsec_put_u16(out + 23, (uint16_t)(len - 25));
    (void)net;
    return len;
}

struct flood {
    struct node *mallory;
    struct node *victim;
    struct net_datagram hello;
    uint16_t port;
    size_t seen;
    uint8_t randoms[65536 / 64][IOTSEC_RANDOM_BYTES]; /* by port, coarsely: the second hello has the first one's */
    unsigned sent;
    unsigned echoed;
};

static void flood_once(struct flood *flood, unsigned count)
{
    struct net *net = flood->victim->net;
    uint8_t out[NET_DATAGRAM_MAX];
    struct iotsec_addr from = flood->mallory->addr;

    for (; flood->seen < net->tap_count; flood->seen++) {
        const struct net_datagram datagram = net->tap[flood->seen];

        if (datagram.sender == flood->victim && memcmp(datagram.to.ip, from.ip, sizeof from.ip) == 0 &&
            datagram.to.port != from.port && datagram.len > 28 && datagram.data[0] == IOTSEC_CONTENT_HANDSHAKE &&
            datagram.data[13] == IOTSEC_HS_HELLO_VERIFY_REQUEST) {
            size_t len = make_hello(net, &flood->hello, datagram.data + 28, datagram.data[27], out);
            struct iotsec_addr echo = datagram.to;

            memcpy(out + RANDOM_AT, flood->randoms[echo.port / 64], IOTSEC_RANDOM_BYTES);
            net_inject(net, &echo, &flood->victim->addr, out, len);
            flood->echoed++;
        }
    }
    for (; count > 0; count--) {
        size_t len = make_hello(net, &flood->hello, NULL, 0, out);

        flood->port = (uint16_t)(flood->port + 64);
        from.port = flood->port;
        random_bytes(&net->random, flood->randoms[from.port / 64], IOTSEC_RANDOM_BYTES);
        memcpy(out + RANDOM_AT, flood->randoms[from.port / 64], IOTSEC_RANDOM_BYTES);
        net_inject(net, &from, &flood->victim->addr, out, len);
        flood->sent++;
    }
}

static unsigned floods, flood_hellos, flood_echoes;
static unsigned flood_answers;
static uint64_t flood_ms;

static void run_flood(struct net *net)
{
    static struct flood flood;
    struct domain domain;
    struct node *friends[2];
    struct node *victim;
    uint64_t began;
    uint64_t reached = 0;
    size_t before;

    memset(&flood, 0, sizeof flood);
    net_rough(net, random_below(&net->random, 2) * 100);
    pairs_init(&domain, net, 4, 6, 3);
    domain.status_interval_ms = 10 * SECOND;
    manager_poly(domain.manager, 3, false);
    while (domain.count < 4) {
        (void)domain_add(&domain);
    }
    pairs_wait(&domain, MINUTE);
    victim = domain.devices[random_below(&net->random, 2)];
    friends[0] = domain.devices[victim == domain.devices[0]];
    friends[1] = domain.devices[2];
    flood.victim = victim;
    flood.mallory = domain.devices[3];
    before = net->tap_count;
    assert_int_not_equal(node_tell(flood.mallory, victim, NULL), 0);
    assert_true(find_message(net, before, flood.mallory, &victim->addr, IOTSEC_HS_CLIENT_HELLO, &flood.hello));
    net_run_ms(net, 5 * SECOND);
    /* hellos alone take one place: with that taken, everybody else has to prove an address first */
    flood.seen = net->tap_count;
    flood_once(&flood, 40);
    net_run_ms(net, 500);
    assert_in_range(victim->dtls->half_open, 1, 2);
    net_run_ms(net, 40 * SECOND);
    assert_int_equal(victim->dtls->half_open, 0);
    flood.seen = net->tap_count;

    for (began = net->now; net->now < began + 10 * SECOND;) {
        flood_once(&flood, 4);
        net_run_ms(net, 20);
    }
    assert_true(flood.sent > 1000 && flood.echoed > 100);
    assert_true(victim->dtls->handshakes_used >= victim->handshake_room - 2); /* as full as it gets */
    /* in the middle of it: the manager forgets its session, and the victim has something to say to two others */
    node_reboot(domain.manager);
    victim->event_count = 0;
    node_ask(victim, friends[0]);
    node_ask(victim, friends[1]);
    for (began = net->now; net->now < began + 2 * MINUTE && (reached == 0 || net_unanswered(net) != 0);) {
        flood_once(&flood, 4);
        net_run_ms(net, 20);
        if (reached == 0 && node_count(victim, IOTSEC_DEVICE_CONTACT) != 0) {
            reached = net->now - began;
        }
    }
    assert_int_equal(net_unanswered(net), 0);
    assert_int_not_equal(reached, 0);
    assert_true(node_pair_sessions(victim) <= victim->device_config.pair_count);
    floods++;
    flood_hellos += flood.sent;
    flood_echoes += flood.echoed;
    flood_ms += victim->questions[0].answered_at - victim->questions[0].asked_at + victim->questions[1].answered_at -
                victim->questions[1].asked_at;
    flood_answers += 2;
    net_run_ms(net, 40 * SECOND);
    assert_int_equal(victim->dtls->handshakes_used, 0);
    know_each_other(friends[1], victim);
}

static void test_flood(void **state)
{
    (void)state;
    floods = flood_hellos = flood_echoes = flood_answers = 0;
    flood_ms = 0;
    scenario_seeds(5, run_flood);
    print_message("%u floods of %u hellos and %u echoed cookies on average; the victim's own questions were answered after "
                  "%u ms\n", floods, flood_hellos / floods, flood_echoes / floods, (unsigned)(flood_ms / flood_answers));
}

/* ---- Garbage ---- */

static void run_garbage(struct net *net)
{
    struct domain domain;
    unsigned round;
    size_t i;

    net_rough(net, 50);
    pairs_start(&domain, net, 4, 4, 3);
    for (round = 0; round < 12; round++) {
        for (i = 0; i < domain.count; i++) {
            struct node *other = domain.devices[(i + 1 + random_below(&net->random, 3)) % domain.count];

            if (other != domain.devices[i]) {
                node_ask(domain.devices[i], other);
            }
            garbage_shower(domain.devices[i], 10, (enum garbage_kind)(round % (GARBAGE_KINDS + 1)));
            net_run_ms(net, random_below(&net->random, 30)); /* in the middle of handshakes, too */
            garbage_shower(other, 10, (enum garbage_kind)(round % (GARBAGE_KINDS + 1)));
        }
        net_run_ms(net, random_below(&net->random, 500));
    }
    if (!net_run_until(net, net_answered, NULL, 3 * MINUTE)) {
        pairs_tell_unanswered(net);
        fail_msg("garbage stops %u questions", net_unanswered(net));
    }
    /* in sessions that stand: no shower ends one */
    net->link.loss_permille = 0;
    net_run_ms(net, 40 * SECOND);
    pairs_check(&domain);
    net_run_ms(net, 5 * SECOND);
    for (i = 0; i < domain.count; i++) {
        unsigned sessions = node_pair_sessions(domain.devices[i]);

        assert_int_equal(sessions, domain.count - 1);
        garbage_shower(domain.devices[i], 100, GARBAGE_KINDS);
        assert_int_equal(node_pair_sessions(domain.devices[i]), sessions);
        assert_int_equal(domain.devices[i]->dtls->sessions_used, sessions + 1);
    }
    net_run_ms(net, 40 * SECOND);
    for (i = 0; i < domain.count; i++) {
        size_t k;

        assert_int_equal(domain.devices[i]->dtls->handshakes_used, 0);
        assert_int_equal(node_count(domain.devices[i], IOTSEC_DEVICE_CONTACT_LOST), 0);
        for (k = 0; k < i; k++) {
            assert_true(node_same_pair_session(domain.devices[i], domain.devices[k]));
        }
    }
    net_check_secrets(net);
}

static void test_garbage(void **state)
{
    (void)state;
    scenario_seeds(1, run_garbage);
}

/* ---- Forged hellos ---- */

/* Where device_identity's body begins in a ServerHello's or ClientHello's datagram. */
static size_t identity_at(const struct net_datagram *datagram)
{
    size_t at;

    for (at = 60; at + 4 < datagram->len; at++) {
        if (iotsec_get_u16(datagram->data + at) == IOTSEC_EXTENSION_DEVICE_IDENTITY) {
            return at + 4;
        }
    }
    fail_msg("a hello without device_identity");
    return 0;
}

enum {
    FORGE_IDENTITY,
    FORGE_OTHER_MEMBER,
    FORGE_OWN,
    FORGE_LATER,
    FORGE_EARLIER,
    FORGE_NO_GENERATION,
    FORGE_RANDOM,
    FORGE_SHORT,
    FORGE_COUNT
};

static const char *const forge_names[FORGE_COUNT] = {
    "an unknown identity",   "another member's identity", "the client's own identity", "a later generation",
    "the generation before", "generation 0",              "another random",            "a body cut off",
};

static void forge(struct net *net, struct net_datagram *datagram, unsigned how, const struct node *client,
                  const struct node *other)
{
    size_t at = identity_at(datagram);
    uint8_t *data = datagram->data;

    switch (how) {
    case FORGE_IDENTITY:
        data[at + 5] ^= 0x20;
        break;
    case FORGE_OTHER_MEMBER:
        memcpy(data + at + 5, other->name, strlen(other->name));
        break;
    case FORGE_OWN:
        memcpy(data + at + 5, client->name, strlen(client->name));
        break;
    case FORGE_LATER:
        data[at + 3]++;
        break;
    case FORGE_EARLIER:
        data[at + 3]--;
        break;
    case FORGE_NO_GENERATION:
        memset(data + at, 0, 4);
        break;
    case FORGE_SHORT:
        datagram->len = at + 3;
        break;
    default:
        random_bytes(&net->random, data + RANDOM_AT, IOTSEC_RANDOM_BYTES);
        break;
    }
}

/* In front of each ServerHello comes a forged one. What might be genuine costs a handshake, and a client tries twice: such a
 * one comes in front of the first only. */
static void run_forged_with(struct net *net, struct domain *domain, unsigned how)
{
    struct node *three[3];
    struct node *a;
    struct node *b;
    unsigned forged = 0;
    unsigned failed;
    uint32_t serial;
    size_t seen;
    unsigned ms;

    draw_three(domain, three);
    a = three[0];
    b = three[1];
    failed = node_peer_count(a, IOTSEC_DEVICE_PEER_FAILED, b, 1);
    seen = net->tap_count;
    serial = node_tell(a, b, NULL);
    assert_int_not_equal(serial, 0);
    for (ms = 0; ms < 30 * SECOND && !node_was_told(b, serial); ms++) {
        for (; seen < net->tap_count; seen++) {
            struct net_datagram datagram = net->tap[seen];
            uint8_t copy[NET_DATAGRAM_MAX];

            if (datagram.sender != b || !iotsec_addr_equal(&datagram.to, &a->addr) || datagram.len < 80 ||
                datagram.data[0] != IOTSEC_CONTENT_HANDSHAKE || datagram.data[13] != IOTSEC_HS_SERVER_HELLO ||
                ((how == FORGE_RANDOM || how == FORGE_EARLIER) && forged != 0)) {
                continue;
            }
            memcpy(copy, datagram.data, datagram.len);
            datagram.data = copy;
            forge(net, &datagram, how, a, three[2]);
            (void)net_hand(a, &b->addr, &a->addr, copy, datagram.len);
            forged++;
        }
        net_run_ms(net, 1);
    }
    if (!node_was_told(b, serial) || node_peer_count(a, IOTSEC_DEVICE_PEER_FAILED, b, 1) != failed) {
        fail_msg("%s in a forged ServerHello, %u times, stops a handshake: %s", forge_names[how], forged,
                 iotsec_status_name(a->events[a->event_count - 1].reason));
    }
    assert_true(forged != 0);
    net_run_ms(net, SECOND);
    assert_true(node_same_pair_session(a, b));
    assert_int_equal(iotsec_peer_close(&a->device, (const uint8_t *)b->name, strlen(b->name)), IOTSEC_OK);
    node_after(a);
    net_run_ms(net, SECOND);
}

static void run_forged(struct net *net)
{
    struct domain domain;
    unsigned how;

    pairs_start(&domain, net, 5, 4, 3);
    manager_poly(domain.manager, 3, random_below(&net->random, 2) != 0); /* so that there was a generation before */
    pairs_wait(&domain, MINUTE);
    for (how = 0; how < FORGE_COUNT; how++) {
        run_forged_with(net, &domain, how);
    }
}

static void test_forged(void **state)
{
    (void)state;
    scenario_seeds(2, run_forged);
}

/* Old hellos of the peer, from the peer's address, without end: the one with the smaller identity must not take them for the
 * peer's own attempt and wait, nor the other let them take its place. */
static void run_old_hellos(struct net *net)
{
    struct domain domain;
    unsigned turn;

    pairs_start(&domain, net, 2, 4, 3);
    for (turn = 0; turn < 2; turn++) {
        struct node *a = domain.devices[turn];
        struct node *b = domain.devices[1 - turn];
        struct net_datagram hello;
        size_t first = net->tap_count;
        uint32_t serial = 0;
        unsigned failed = 0;
        unsigned ms;

        memset(&hello, 0, sizeof hello);
        /* a hello of the peer's is in the air */
        assert_int_not_equal(node_tell(b, a, NULL), 0);
        assert_true(find_message(net, first, b, &a->addr, IOTSEC_HS_CLIENT_HELLO, &hello));
        net_run_ms(net, SECOND);
        assert_int_equal(iotsec_peer_close(&a->device, (const uint8_t *)b->name, strlen(b->name)), IOTSEC_OK);
        node_after(a);
        net_run_ms(net, SECOND);
        for (ms = 0; ms < 20 * SECOND && !node_was_told(b, serial); ms += 20) {
            uint8_t copy[NET_DATAGRAM_MAX];

            memcpy(copy, hello.data, hello.len);
            if (random_below(&net->random, 2) != 0) {
                random_bytes(&net->random, copy + RANDOM_AT, IOTSEC_RANDOM_BYTES);
            }
            (void)net_hand(a, &b->addr, &a->addr, copy, hello.len);
            if (ms == 500) {
                serial = node_tell(a, b, NULL);
                assert_int_not_equal(serial, 0);
            }
            net_run_ms(net, 20);
        }
        failed = node_peer_count(a, IOTSEC_DEVICE_PEER_FAILED, b, 1);
        assert_int_equal(failed, 0);
        assert_true(node_was_told(b, serial));
        net_run_ms(net, 40 * SECOND);
        know_each_other(b, a);
        assert_true(node_same_pair_session(a, b));
        assert_int_equal(iotsec_peer_close(&b->device, (const uint8_t *)a->name, strlen(a->name)), IOTSEC_OK);
        node_after(b);
        net_run_ms(net, 12 * SECOND);
    }
}

static void test_old_hellos(void **state)
{
    (void)state;
    scenario_seeds(2, run_old_hellos);
}

/* Alerts that anybody can make, from each one's address to the other, without end: a session is renewed now and then for their
 * sake, and goes on. */
static void run_forged_alerts(struct net *net)
{
    static const uint8_t alert[] = { 21, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 2, 10 };
    struct domain domain;
    struct node *a;
    struct node *b;
    unsigned told = 0;
    unsigned said = 0;
    unsigned ms;

    pairs_start(&domain, net, 2, 4, 3);
    a = domain.devices[random_below(&net->random, 2)];
    b = domain.devices[a == domain.devices[0]];
    know_each_other(a, b);
    for (ms = 0; ms < 100 * SECOND; ms += 50) {
        uint8_t copy[sizeof alert];

        memcpy(copy, alert, sizeof alert);
        copy[14] = (uint8_t)(10 * (1 + random_below(&net->random, 11)));
        (void)net_hand(a, &b->addr, &a->addr, copy, sizeof copy);
        (void)net_hand(b, &a->addr, &b->addr, copy, sizeof copy);
        if (ms % SECOND == 0) {
            assert_int_not_equal(node_tell(a, b, NULL), 0);
            said++;
        }
        net_run_ms(net, 50);
    }
    told = told_by(b, a);
    assert_true(told >= said - said / 10); /* what is on its way when the keys change may be lost */
    assert_in_range(node_peer_count(a, IOTSEC_DEVICE_PEER_OPEN, b, 1), 1, 1 + 2 * 11);
    assert_int_equal(node_peer_count(a, IOTSEC_DEVICE_PEER_CLOSED, NULL, 1), 0);
    assert_int_equal(node_peer_count(a, IOTSEC_DEVICE_PEER_FAILED, NULL, 1), 0);
    net_run_ms(net, 5 * SECOND);
    assert_true(node_same_pair_session(a, b));
    assert_int_equal(node_count(a, IOTSEC_DEVICE_CONTACT_LOST), 0);
}

static void test_forged_alerts(void **state)
{
    (void)state;
    scenario_seeds(5, run_forged_alerts);
}

/* Everything that was ever said is played back, to everybody: nothing is delivered twice (the network checks that), and no
 * session is lost by it. */
static void run_replay(struct net *net)
{
    struct domain domain;
    size_t recorded;

    pairs_start(&domain, net, 4, 4, 3);
    pairs_check(&domain);
    recorded = net->tap_count;
    net_replay(net, 0, recorded);
    net_run_ms(net, 60 * SECOND);
    pairs_check(&domain);
    net_replay(net, 0, recorded);
    pairs_check(&domain);
    net_run_ms(net, IOTSEC_PAIR_IDLE_MS + 40 * SECOND); /* every session is over */
    assert_int_equal(node_pair_sessions(domain.devices[0]), 0);
    net_replay(net, 0, recorded);
    net_run_ms(net, 60 * SECOND);
    assert_int_equal(node_pair_sessions(domain.devices[0]), 0);
    pairs_check(&domain);
}

static void test_replay(void **state)
{
    (void)state;
    scenario_seeds(5, run_replay);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        scenario(test_evicted),
        scenario(test_outdated),
        scenario(test_other_at_the_address),
        scenario(test_mirror),
        scenario(test_flood),
        scenario(test_garbage),
        scenario(test_forged),
        scenario(test_old_hellos),
        scenario(test_forged_alerts),
        scenario(test_replay),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
