/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Garbage at every role and in every state: noise, foreign protocols, changed and replayed copies of real
 * traffic. It is dropped and counted; nothing crashes, no session ends, no membership is lost, nothing is
 * delivered, and no state is made before a cookie where cookies are on.
 */
#include <string.h>

#include "amikey/keymgmt.h"
#include "base/bytes.h"
#include "domain.h"
#include "garbage.h"
#include "scenario.h"

#define SECOND 1000u
#define MINUTE (60u * SECOND)
#define HOUR (60u * MINUTE)

/* The manager's tables, to see that nothing has changed. */
struct shape {
    uint16_t sessions;
    uint16_t handshakes;
    unsigned commits;
    uint32_t key;
};

static struct shape shape_of(const struct node *manager)
{
    struct shape shape;

    memset(&shape, 0, sizeof shape);
    shape.sessions = manager->dtls->sessions_used;
    shape.handshakes = manager->dtls->handshakes_used;
    shape.commits = manager->registry->commits;
    shape.key = manager_key(manager, DOMAIN_GROUP);
    return shape;
}

/* ---- Members in a running domain ---- */

static void run_members(struct net *net)
{
    struct domain domain;
    struct shape before;
    unsigned kind;
    unsigned round;
    size_t i;

    domain_start(&domain, net, 3);
    (void)domain_talk(&domain);
    before = shape_of(domain.manager);
    for (round = 0; round < 3; round++) {
        for (kind = 0; kind < GARBAGE_KINDS; kind++) {
            uint32_t drops[DOMAIN_MAX];
            size_t heard[DOMAIN_MAX];

            for (i = 0; i < domain.count; i++) {
                struct node *device = domain.devices[i];

                drops[i] = node_drops(device);
                heard[i] = device->heard_count;
                garbage_shower(device, 25, (enum garbage_kind)kind);
                assert_true(node_drops(device) > drops[i]);
                assert_int_equal(device->heard_count, heard[i]);
                assert_int_equal(device->dtls->sessions_used, 1);
                assert_int_equal(device->dtls->handshakes_used, 0);
            }
            net_run_ms(net, 200);
        }
    }
    for (i = 0; i < domain.count; i++) {
        assert_int_equal(node_count(domain.devices[i], IOTSEC_DEVICE_CONTACT_LOST), 0);
        assert_int_equal(node_count(domain.devices[i], IOTSEC_DEVICE_GROUP_LEFT), 0);
        assert_int_equal(node_count(domain.devices[i], IOTSEC_DEVICE_GROUP_JOINED), 1);
    }
    net_run_ms(net, MINUTE);
    assert_int_equal(shape_of(domain.manager).sessions, before.sessions);
    assert_int_equal(shape_of(domain.manager).commits, before.commits);
    domain_check(&domain);
}

static void test_members(void **state)
{
    (void)state;
    scenario_seeds(1, run_members);
}

/* ---- The manager ---- */

static void run_manager(struct net *net)
{
    struct domain domain;
    struct shape before;
    uint8_t policy;
    unsigned kind;
    unsigned round;

    domain_start(&domain, net, 3);
    policy = domain.manager->manager_config.cookie_policy;
    before = shape_of(domain.manager);
    for (round = 0; round < 3; round++) {
        for (kind = 0; kind < GARBAGE_KINDS; kind++) {
            uint32_t drops = node_drops(domain.manager);

            garbage_shower(domain.manager, 60, (enum garbage_kind)kind);
            assert_true(node_drops(domain.manager) > drops);
            assert_int_equal(shape_of(domain.manager).sessions, before.sessions);
            assert_int_equal(shape_of(domain.manager).commits, before.commits);
            if (policy == IOTSEC_COOKIE_ALWAYS) {
                assert_int_equal(shape_of(domain.manager).handshakes, 0);
            }
            net_run_ms(net, 100);
        }
    }
    assert_int_equal(manager_count(domain.manager, IOTSEC_MANAGER_DEVICE_GONE), 0);
    /* an honest device gets in nevertheless */
    (void)domain_add(&domain);
    assert_true(net_run_until(net, domain_joined, &domain, MINUTE));
    net_run_ms(net, MINUTE);
    assert_int_equal(domain.manager->dtls->handshakes_used, 0);
    assert_int_equal(domain.manager->dtls->sessions_used, 4);
    domain_check(&domain);
}

static void test_manager(void **state)
{
    (void)state;
    scenario_seeds(1, run_manager);
}

/* ---- A join, and everything around it ---- */

/* Showers at both ends at random moments of a join, of a join whose PSK is asked for, of a leave and an eviction. */
static void run_transitions(struct net *net)
{
    struct domain domain;
    struct node *device;
    unsigned i;

    domain_start(&domain, net, 2);
    device = net_device(net);
    net_allow(domain.manager, device, DOMAIN_GROUP);
    registry_device(domain.manager->registry, device->number)->slow = random_below(&net->random, 2) != 0;
    node_boot(device);
    garbage_shower(device, 60, GARBAGE_KINDS); /* idle: it knows nobody */
    assert_true(node_is_idle(device));
    node_join(device, domain.manager, DOMAIN_GROUP);
    for (i = 0; i < 8; i++) {
        net_run_ms(net, random_below(&net->random, 30));
        garbage_shower(device, 10, GARBAGE_KINDS);
        garbage_shower(domain.manager, 10, GARBAGE_KINDS);
        if (i == 6) {
            manager_answer_psk(domain.manager, IOTSEC_OK);
        }
    }
    net_run_ms(net, MINUTE + MINUTE);
    if (!device->joined) {
        /* a forged hello spoilt it; what it left behind must not spoil the next one */
        registry_device(domain.manager->registry, device->number)->slow = false;
        node_reboot(device);
        node_join(device, domain.manager, DOMAIN_GROUP);
        net_run_ms(net, MINUTE);
    }
    assert_member(device, DOMAIN_GROUP);

    if (random_below(&net->random, 2) == 0) {
        assert_int_equal(iotsec_leave(&device->device), IOTSEC_OK);
        node_after(device);
    } else {
        manager_evict(domain.manager, device);
    }
    for (i = 0; i < 5; i++) {
        garbage_shower(device, 10, GARBAGE_KINDS);
        garbage_shower(domain.manager, 10, GARBAGE_KINDS);
        net_run_ms(net, random_below(&net->random, 30));
    }
    net_run_ms(net, MINUTE);
    assert_not_member(device, DOMAIN_GROUP);
    assert_null(registry_member(domain.manager->registry, device->number, DOMAIN_GROUP));
    garbage_shower(device, 60, GARBAGE_KINDS);
    assert_true(node_is_idle(device));
    domain_check(&domain);
}

static void test_transitions(void **state)
{
    (void)state;
    scenario_seeds(1, run_transitions);
}

/* ---- Members that lie ---- */

static iotsec_dtls_handle manager_session(const struct domain *domain, const struct node *device)
{
    return iotsec_dtls_find(domain->manager->dtls, &device->addr);
}

/* Random bytes of the key-management types, under a sound session: from a device, and from a manager gone mad. */
static void run_liars(struct net *net)
{
    struct domain domain;
    struct node *liar;
    unsigned i;

    domain_start(&domain, net, 4);
    liar = domain.devices[3];
    for (i = 0; i < 200; i++) {
        uint8_t content[64];
        size_t len = random_below(&net->random, 50);
        uint8_t type = (uint8_t)(28 + random_below(&net->random, 2));

        random_bytes(&net->random, content, sizeof content);
        content[0] = (uint8_t)random_below(&net->random, 13);
        if (random_below(&net->random, 2) == 0) {
            content[2] = 0;
            content[3] = DOMAIN_GROUP;
        }
        if (random_below(&net->random, 2) == 0) {
            static const uint8_t lengths[] = { 2, 3, 4, 5, 11, 26, 31, 42 };

            len = lengths[random_below(&net->random, sizeof lengths)];
        }
        if (random_below(&net->random, 2) == 0 || manager_session(&domain, liar) == 0) {
            (void)iotsec_dtls_send(liar->dtls, liar->device.session, type, content, len);
            (void)iotsec_dtls_flush(liar->dtls);
            node_after(liar);
        } else { /* key messages the tap would hold against the manager */
            (void)iotsec_dtls_send(domain.manager->dtls, manager_session(&domain, liar), IOTSEC_CONTENT_SECURITY_PARAMETERS,
                                   content, len);
            (void)iotsec_dtls_flush(domain.manager->dtls);
            node_after(domain.manager);
        }
        net_run_ms(net, 50);
    }
    /* it may have left, be evicted for itself, or hold nonsense; the others go on */
    node_crash(liar);
    domain_out(&domain, liar);
    net_run_ms(net, 2 * HOUR);
    domain_check(&domain);
    /* and it is welcome again */
    node_boot(liar);
    domain_back(&domain, liar);
    node_join(liar, domain.manager, DOMAIN_GROUP);
    assert_true(net_run_until(net, domain_joined, &domain, MINUTE));
    domain_check(&domain);
}

static void test_liars(void **state)
{
    (void)state;
    scenario_seeds(1, run_liars);
}

/* ---- Forgeries ---- */

/* Well-formed records under the right epochs, with wrong tags: counted, told once, and without any consequence. */
static void test_forgeries(void **state)
{
    struct net *net = scenario_begin(1);
    struct domain domain;
    struct node *device;
    struct iotsec_addr group = net_group_addr(DOMAIN_GROUP);
    uint8_t record[60];
    unsigned i;

    (void)state;
    domain_start(&domain, net, 3);
    device = domain.devices[0];
    memset(record, 0, sizeof record);
    record[0] = IOTSEC_CONTENT_APPLICATION_DATA;
    iotsec_put_u16(record + 1, IOTSEC_VERSION_DTLS_1_2);
    iotsec_put_u16(record + 11, sizeof record - 13);
    for (i = 0; i < 2 * IOTSEC_FORGERY_LIMIT; i++) {
        iotsec_put_u16(record + 3, (uint16_t)node_key(device, DOMAIN_GROUP));
        iotsec_put_u16(record + 5, node_sender(domain.devices[1], DOMAIN_GROUP));
        iotsec_put_u16(record + 9, (uint16_t)(500 + i));
        assert_int_equal(net_hand(device, &domain.devices[1]->addr, &group, record, sizeof record), IOTSEC_ERR_AUTH);
        iotsec_put_u16(record + 3, 1);
        iotsec_put_u16(record + 5, 0);
        assert_int_equal(net_hand(device, &domain.manager->addr, &device->addr, record, sizeof record), IOTSEC_ERR_AUTH);
        assert_int_equal(net_hand(domain.manager, &device->addr, &domain.manager->addr, record, sizeof record),
                         IOTSEC_ERR_AUTH);
    }
    assert_int_equal(node_count(device, IOTSEC_DEVICE_FORGERIES), 2); /* one of the group, one of the session */
    assert_int_equal(manager_count(domain.manager, IOTSEC_MANAGER_FORGERIES), 1);
    assert_int_equal(device->dtls->sessions_used, 1);
    assert_int_equal(domain.manager->dtls->sessions_used, 3);
    /* the forged counters have moved no window */
    assert_int_equal(domain_talk(&domain), 100);
    domain_check(&domain);
    scenario_end(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        scenario(test_members),
        scenario(test_manager),
        scenario(test_transitions),
        scenario(test_liars),
        scenario(test_forgeries),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
