/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A whole domain on a bad network: 50 devices join one manager at 20 % loss and talk; an attacker plays back
 * all that it hears; a 51st device joins late and reads nothing from before; one is evicted and reads nothing
 * after. That nobody is handed a message twice and no nonce repeats is checked by the network itself.
 */
#include "domain.h"
#include "scenario.h"
#include "spy.h"

#define MEMBERS 50
#define SPY_STEPS 40

static void start_domain(struct domain *domain, struct net *net)
{
    size_t i;

    net_rough(net, 200);
    net->late_poll_ms = random_below(&net->random, 10);
    net->loopback = random_below(&net->random, 2) != 0;
    domain_init(domain, net);
    /* half of them at once, as after a power cut; the others one by one */
    for (i = 0; i < MEMBERS; i++) {
        (void)domain_add(domain);
        if (i >= MEMBERS / 2) {
            net_run_ms(net, random_below(&net->random, 300));
        }
    }
    assert_true(net_run_until(net, domain_joined, domain, 60000));
    for (i = 0; i < MEMBERS; i++) {
        assert_int_equal(node_count(domain->devices[i], IOTSEC_DEVICE_GROUP_JOINED), 1);
        assert_int_equal(node_count(domain->devices[i], IOTSEC_DEVICE_JOIN_FAILED), 0);
    }
}

/* What was recorded before the late one's join stays closed to it: by the library and by brute force. */
static void check_late_joiner(struct domain *domain, size_t recorded, const struct spy *insider)
{
    struct net *net = domain->net;
    struct node *late = domain->devices[MEMBERS];
    struct spy spy;
    unsigned records;
    unsigned opened;
    size_t heard = late->heard_count;
    size_t i;

    /* the records do open to somebody who was in: else this would show nothing */
    (void)spy_count(insider, net, 0, recorded, &opened);
    assert_true(opened > 0);

    spy_init(&spy, late, DOMAIN_GROUP);
    spy_learn(&spy, late, 1);
    records = spy_count(&spy, net, 0, recorded, &opened);
    assert_true(records >= MEMBERS);
    assert_int_equal(opened, 0);
    for (i = 0; i < recorded; i++) {
        struct net_datagram datagram = net->tap[i];

        if (datagram.sender != NULL && iotsec_addr_is_multicast(&datagram.to)) {
            assert_int_not_equal(net_hand(late, &datagram.from, &datagram.to, datagram.data, datagram.len), IOTSEC_OK);
        }
    }
    assert_int_equal(late->heard_count, heard);
}

/* Group messages of the one that is out, under the keys it kept, in its own name and in another's. */
static void check_forgeries(struct domain *domain, const struct node *out, const struct spy *spy)
{
    struct node *other = domain->devices[0] != out ? domain->devices[0] : domain->devices[1];
    struct iotsec_addr group = net_group_addr(DOMAIN_GROUP);
    uint16_t own = spy->csb.sender_id;
    uint32_t counter = spy->csb.counter;
    uint8_t datagram[128];
    unsigned name;
    size_t i;

    for (name = 0; name < 2; name++) {
        uint16_t sender = name == 0 ? own : node_sender(other, DOMAIN_GROUP);
        size_t len = spy_forge(spy, sender, counter + 1000 + name, datagram, sizeof datagram, "out, and still here", 19);

        for (i = 0; i < domain->count; i++) {
            struct node *victim = domain->devices[i];
            size_t heard = victim->heard_count;

            if (domain_has(domain, i)) {
                assert_int_not_equal(net_hand(victim, &out->addr, &group, datagram, len), IOTSEC_OK);
                assert_int_equal(victim->heard_count, heard);
            }
        }
    }
}

static void check_eviction(struct domain *domain)
{
    struct net *net = domain->net;
    struct node *out = domain->devices[random_below(&net->random, MEMBERS + 1)];
    /* an honest one is told; a dishonest one does not listen, and keeps what it has */
    bool told = random_below(&net->random, 2) != 0;
    struct spy spy;
    unsigned records;
    unsigned opened;
    size_t installed;
    uint32_t before = manager_key(domain->manager, DOMAIN_GROUP);

    domain_out(domain, out);
    out->unplugged = !told;
    spy_init(&spy, out, DOMAIN_GROUP);
    spy_learn(&spy, out, SPY_STEPS);
    manager_evict(domain->manager, out);
    assert_true(manager_key(domain->manager, DOMAIN_GROUP) >> 8 > before >> 8);
    assert_true(net_run_until(net, domain_current, domain, 120000));
    check_forgeries(domain, out, &spy); /* at once: there is no grace for the key of a generation that somebody left */
    installed = net->tap_count;
    assert_true(domain_talk(domain) >= 60);
    records = spy_count(&spy, net, installed, net->tap_count, &opened);
    assert_true(records >= MEMBERS);
    assert_int_equal(opened, 0);
    if (told) {
        assert_int_equal(node_count(out, IOTSEC_DEVICE_EVICTED), 1);
        assert_null(node_csb(out, DOMAIN_GROUP));
    }
    /* it knocks again, under its own name */
    out->unplugged = false;
    node_reboot(out);
    node_join(out, domain->manager, DOMAIN_GROUP);
    net_run_ms(net, 70000);
    assert_not_member(out, DOMAIN_GROUP);
    assert_non_null(node_event(out, IOTSEC_DEVICE_JOIN_FAILED));
    assert_int_equal(node_event(out, IOTSEC_DEVICE_JOIN_FAILED)->reason, IOTSEC_ERR_NOT_AUTHORISED);
}

static void run_domain(struct net *net)
{
    struct domain domain;
    struct spy insider;
    size_t recorded;
    unsigned percent;

    start_domain(&domain, net);
    assert_true(domain_talk(&domain) >= 60);
    domain_agree(&domain);
    spy_init(&insider, domain.devices[0], DOMAIN_GROUP);
    spy_learn(&insider, domain.devices[0], 0);
    /* with everybody on one key, only loss (20 %) takes messages away */
    percent = domain_talk(&domain);
    if (percent < 75 || percent > 85) {
        fail_msg("%u %% of the messages were heard", percent);
    }
    /* an attacker plays all of it back, to everybody */
    recorded = net->tap_count;
    net_replay(net, 0, recorded);
    net_run_ms(net, 2000);

    recorded = net->tap_count;
    (void)domain_add(&domain);
    assert_true(net_run_until(net, domain_joined, &domain, 60000));
    check_late_joiner(&domain, recorded, &insider);
    assert_true(domain_talk(&domain) >= 60);
    domain_agree(&domain);

    check_eviction(&domain);
    recorded = net->tap_count;
    net_replay(net, recorded - recorded / 3, recorded);
    net_run_ms(net, 10000);
    assert_true(domain_current(net, &domain));
    assert_true(domain_talk(&domain) >= 60);
}

static void test_domain(void **state)
{
    (void)state;
    scenario_seeds(1, run_domain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        scenario(test_domain),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
