/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What happens to members in the course of time: storms of joins, steps that are missed, hints and asks,
 * absences, partitions, leaving in every way.
 */
#include <string.h>

#include "base/bytes.h"
#include "domain.h"
#include "scenario.h"
#include "spy.h"

#define SECOND 1000u
#define MINUTE (60u * SECOND)
#define HOUR (60u * MINUTE)
#define OTHER_GROUP 8

/* ---- Steps ---- */

/* Devices that join together share a step, and all of them together cost few datagrams. */
static void test_storm(void **state)
{
    struct net *net = scenario_begin(1);
    struct domain domain;
    uint32_t key;
    unsigned multicasts;

    (void)state;
    domain_start(&domain, net, 5);
    net_run_ms(net, 10 * SECOND);
    domain_agree(&domain);
    key = manager_key(domain.manager, DOMAIN_GROUP);
    multicasts = net->stats.group_records;
    net->link.jitter_ms = 50;
    while (domain.count < 45) {
        (void)domain_add(&domain);
    }
    assert_true(net_run_until(net, domain_joined, &domain, 10 * SECOND));
    net_run_ms(net, 10 * SECOND);
    /* all were authenticated within a second or two: an interval each */
    assert_true(manager_key(domain.manager, DOMAIN_GROUP) - key <= 3);
    assert_true(domain_current(net, &domain));
    /* each joiner owes an announcement, and most keep it because another one spoke first */
    assert_true(net->stats.group_records - multicasts <= 20);
    domain_check(&domain);
    scenario_end(net);
}

/* More joins than a generation has steps: the next generation takes over, and nobody falls out. */
static void test_rollover(void **state)
{
    struct net *net = scenario_begin(1);
    struct domain domain;
    struct node *restless;
    uint32_t first;
    unsigned i;

    (void)state;
    domain_start(&domain, net, 4);
    restless = domain.devices[3];
    first = manager_key(domain.manager, DOMAIN_GROUP) >> 8;
    for (i = 0; i < 300; i++) {
        node_reboot(restless);
        node_join(restless, domain.manager, DOMAIN_GROUP);
        assert_true(net_run_until(net, domain_joined, &domain, MINUTE));
        assert_int_not_equal(node_say(restless, DOMAIN_GROUP), 0);
        net_run_ms(net, SECOND);
    }
    assert_int_equal(manager_key(domain.manager, DOMAIN_GROUP) >> 8, first + 1);
    assert_true(domain_current(net, &domain));
    domain_check(&domain);
    scenario_end(net);
}

/* A member that missed a step: what it says is not understood, somebody tells it, and it says it again. */
static void run_hint(struct net *net)
{
    struct domain domain;
    struct node *device;
    unsigned multicasts;
    uint32_t serial;
    size_t i;

    domain_start(&domain, net, 8);
    device = domain.devices[2];
    device->unplugged = true;
    (void)domain_add(&domain);
    net_run_ms(net, 10 * SECOND); /* and the others drop the old key after 5 s */
    device->unplugged = false;
    assert_true(node_key(device, DOMAIN_GROUP) < manager_key(domain.manager, DOMAIN_GROUP));
    multicasts = net->stats.group_records;
    serial = node_say(device, DOMAIN_GROUP);
    net_run_ms(net, 3 * SECOND);
    for (i = 0; i < domain.count; i++) {
        assert_false(node_heard(domain.devices[i], serial));
    }
    assert_int_equal(node_key(device, DOMAIN_GROUP), manager_key(domain.manager, DOMAIN_GROUP));
    assert_int_equal(node_event(device, IOTSEC_DEVICE_SENT_OLD)->group_id, DOMAIN_GROUP);
    /* its message, and a hint; seldom a second one that left before the first was heard */
    assert_true(net->stats.group_records - multicasts <= 6);
    domain_check(&domain);
}

static void test_hint(void **state)
{
    (void)state;
    scenario_seeds(2, run_hint);
}

static size_t last_group_record(const struct net *net, const struct node *sender)
{
    size_t i;

    for (i = net->tap_count; i > 0; i--) {
        if (net->tap[i - 1].sender == sender && iotsec_addr_is_multicast(&net->tap[i - 1].to)) {
            return i - 1;
        }
    }
    fail();
    return 0;
}

/* Somebody plays a record of an old step back, a thousand times: few hints come of it. */
static void test_hint_flood(void **state)
{
    struct net *net = scenario_begin(1);
    struct domain domain;
    struct net_datagram old;
    unsigned multicasts;
    unsigned i;

    (void)state;
    domain_start(&domain, net, 8);
    assert_int_not_equal(node_say(domain.devices[0], DOMAIN_GROUP), 0);
    old = net->tap[last_group_record(net, domain.devices[0])];
    (void)domain_add(&domain);
    net_run_ms(net, 10 * SECOND);
    multicasts = net->stats.group_records;
    for (i = 0; i < 1000; i++) {
        net_inject(net, &old.from, &old.to, old.data, old.len);
        net_run_ms(net, 20);
    }
    /* 20 s, nine members, and each may speak once in 2 s (the network checks that) */
    multicasts = net->stats.group_records - multicasts;
    assert_true(multicasts >= 1 && multicasts <= 9 * 11);
    domain_check(&domain);
    scenario_end(net);
}

/* Records of generations that nobody can reach: each device asks the manager ever more seldom. */
static void test_ask_flood(void **state)
{
    struct net *net = scenario_begin(1);
    struct domain domain;
    uint8_t record[64];
    struct iotsec_addr group = net_group_addr(DOMAIN_GROUP);
    unsigned before;
    unsigned i;

    (void)state;
    domain_start(&domain, net, 4);
    before = net->stats.datagrams;
    memset(record, 0, sizeof record);
    record[0] = IOTSEC_CONTENT_APPLICATION_DATA;
    iotsec_put_u16(record + 1, IOTSEC_VERSION_DTLS_1_2);
    iotsec_put_u16(record + 11, sizeof record - 13);
    for (i = 0; i < 3600; i++) {
        iotsec_put_u16(record + 3, (uint16_t)(0x7700 + i % 200));
        iotsec_put_u16(record + 5, (uint16_t)(1 + i % 300));
        net_inject(net, &domain.devices[0]->addr, &group, record, sizeof record);
        net_run_ms(net, SECOND);
    }
    /* 10 s doubling for an hour is eight or nine asks, and the routine one: two datagrams each, four devices */
    assert_true(net->stats.datagrams - before <= 4 * 2 * 11);
    domain_check(&domain);
    scenario_end(net);
}

/* Far ahead in the same generation: an outsider buys at most one derivation of keys a second, and moves nobody. */
static void test_ahead_flood(void **state)
{
    struct net *net = scenario_begin(1);
    struct domain domain;
    struct iotsec_addr group = net_group_addr(DOMAIN_GROUP);
    uint8_t record[64];
    uint32_t key;
    unsigned i;

    (void)state;
    domain_start(&domain, net, 4);
    key = manager_key(domain.manager, DOMAIN_GROUP);
    memset(record, 0, sizeof record);
    record[0] = IOTSEC_CONTENT_APPLICATION_DATA;
    iotsec_put_u16(record + 1, IOTSEC_VERSION_DTLS_1_2);
    iotsec_put_u16(record + 5, 1);
    iotsec_put_u16(record + 11, sizeof record - 13);
    for (i = 0; i < 500; i++) {
        iotsec_put_u16(record + 3, (uint16_t)(key + 1 + i % 16));
        iotsec_put_u16(record + 9, (uint16_t)i);
        net_inject(net, &domain.devices[0]->addr, &group, record, sizeof record);
        net_run_ms(net, 20);
    }
    for (i = 0; i < domain.count; i++) {
        assert_int_equal(node_key(domain.devices[i], DOMAIN_GROUP), key);
        assert_int_equal(node_csb(domain.devices[i], DOMAIN_GROUP)->key_number, key);
    }
    domain_check(&domain);
    scenario_end(net);
}

/* ---- Absence ---- */

/* Away while others come, are evicted and the keys are renewed; back, it asks and is told. */
static void run_away(struct net *net)
{
    struct domain domain;
    struct node *away;
    unsigned i;

    net_rough(net, random_below(&net->random, 200));
    domain_start(&domain, net, 6);
    away = domain.devices[4];
    away->unplugged = true;
    domain_out(&domain, away);
    for (i = 1 + random_below(&net->random, 4); i > 0; i--) {
        switch (random_below(&net->random, 3)) {
        case 0:
            (void)domain_add(&domain);
            break;
        case 1:
            if (domain_has(&domain, 5)) {
                manager_evict(domain.manager, domain.devices[5]);
                domain_out(&domain, domain.devices[5]);
                break;
            }
            /* fall through */
        default:
            assert_int_equal(iotsec_manager_group_renew(&domain.manager->manager, DOMAIN_GROUP, 0), IOTSEC_OK);
            node_after(domain.manager);
            break;
        }
        net_run_ms(net, random_below(&net->random, MINUTE));
    }
    assert_true(net_run_until(net, domain_joined, &domain, MINUTE));
    domain_agree(&domain);
    net_run_ms(net, random_below(&net->random, 3 * HOUR));
    away->unplugged = false;
    domain_back(&domain, away);
    /* its own words bring hints or asks; without any, its status within the hour does */
    net_run_ms(net, 2 * HOUR + HOUR / 2);
    domain_check(&domain);
    if (!domain_has(&domain, 5)) {
        assert_not_member(domain.devices[5], DOMAIN_GROUP);
    }
}

static void test_away(void **state)
{
    (void)state;
    scenario_seeds(1, run_away);
}

/* Half of the house is cut off from the manager and goes on by itself, on the key it has. */
static void run_partition(struct net *net)
{
    struct domain domain;
    uint32_t serial;
    size_t i;

    net->link.jitter_ms = 20;
    domain_start(&domain, net, 8);
    for (i = 0; i < 4; i++) {
        net_partition(domain.devices[i], 1);
    }
    manager_evict(domain.manager, domain.devices[7]);
    domain_out(&domain, domain.devices[7]);
    net_run_ms(net, MINUTE + random_below(&net->random, HOUR));
    serial = node_say(domain.devices[0], DOMAIN_GROUP);
    net_run_ms(net, SECOND);
    assert_true(node_heard(domain.devices[1], serial));
    assert_false(node_heard(domain.devices[5], serial));
    serial = node_say(domain.devices[5], DOMAIN_GROUP);
    net_run_ms(net, SECOND);
    assert_true(node_heard(domain.devices[6], serial));
    assert_false(node_heard(domain.devices[1], serial));
    net_heal(net);
    net_run_ms(net, 2 * HOUR + HOUR / 2);
    domain_check(&domain);
    assert_not_member(domain.devices[7], DOMAIN_GROUP);
}

static void test_partition(void **state)
{
    (void)state;
    scenario_seeds(2, run_partition);
}

/* A quiet year in a day: routine reports are few, and keep everybody's contact alive. */
static void test_routine(void **state)
{
    struct net *net = scenario_begin(1);
    struct domain domain;
    unsigned before;

    (void)state;
    domain_start(&domain, net, 4);
    before = net->stats.datagrams;
    net_run_ms(net, 24 * HOUR);
    assert_true(net->stats.datagrams - before >= 4 * 2 * 20);
    assert_true(net->stats.datagrams - before <= 4 * 2 * 30);
    domain_check(&domain);
    scenario_end(net);
}

/* ---- Leaving ---- */

/* Who has left a group or the domain reads nothing more of it; who stays goes on. */
static void run_leave(struct net *net)
{
    struct domain domain;
    struct node *leaver;
    struct spy spy;
    size_t since;
    unsigned opened;
    bool all = random_below(&net->random, 2) != 0;

    net_rough(net, random_below(&net->random, 200));
    domain_start(&domain, net, 5);
    leaver = domain.devices[random_below(&net->random, 5)];
    spy_init(&spy, leaver, DOMAIN_GROUP);
    spy_learn(&spy, leaver, 20);
    domain_out(&domain, leaver);
    assert_int_equal(all ? iotsec_leave(&leaver->device) : iotsec_group_leave(&leaver->device, DOMAIN_GROUP), IOTSEC_OK);
    node_after(leaver);
    assert_null(node_csb(leaver, DOMAIN_GROUP)); /* at once, whatever becomes of the message */
    assert_int_equal(iotsec_group_send(&leaver->device, DOMAIN_GROUP, (const uint8_t *)"x", 1), IOTSEC_ERR_NOT_FOUND);
    net_run_ms(net, MINUTE);
    assert_int_equal(node_count(leaver, all ? IOTSEC_DEVICE_LEFT : IOTSEC_DEVICE_GROUP_LEFT), 1);
    assert_null(registry_member(domain.manager->registry, leaver->number, DOMAIN_GROUP));
    assert_true(domain_current(net, &domain));
    since = net->tap_count;
    (void)domain_talk(&domain);
    assert_true(spy_count(&spy, net, since, net->tap_count, &opened) >= 4);
    assert_int_equal(opened, 0);
    /* and it may come back */
    domain_back(&domain, leaver);
    net_run_ms(net, 5 * SECOND);
    if (all) {
        node_join(leaver, domain.manager, DOMAIN_GROUP);
    } else {
        assert_int_equal(iotsec_group_join(&leaver->device, DOMAIN_GROUP), IOTSEC_OK);
        node_after(leaver);
    }
    assert_true(net_run_until(net, domain_joined, &domain, MINUTE));
    domain_check(&domain);
}

static void test_leave(void **state)
{
    (void)state;
    scenario_seeds(1, run_leave);
}

/* A leave that nobody hears: the device is out for itself at once, and for the others when it can be told. */
static void test_leave_unheard(void **state)
{
    struct net *net = scenario_begin(1);
    struct domain domain;
    struct node *leaver;

    (void)state;
    domain_start(&domain, net, 3);
    leaver = domain.devices[0];
    leaver->unplugged = true;
    domain_out(&domain, leaver);
    assert_int_equal(iotsec_leave(&leaver->device), IOTSEC_OK);
    node_after(leaver);
    net_run_ms(net, 2 * MINUTE);
    assert_int_equal(node_event(leaver, IOTSEC_DEVICE_LEFT)->reason, IOTSEC_ERR_NO_ANSWER);
    assert_non_null(registry_member(domain.manager->registry, leaver->number, DOMAIN_GROUP));
    domain_check(&domain);
    scenario_end(net);
}

/* Two groups with different members; one of them is removed. */
static void run_groups(struct net *net)
{
    struct domain domain;
    uint32_t serial;
    size_t i;

    net_rough(net, random_below(&net->random, 150));
    domain_start(&domain, net, 6);
    manager_group(domain.manager, OTHER_GROUP);
    for (i = 0; i < 3; i++) {
        net_allow(domain.manager, domain.devices[i], OTHER_GROUP);
        assert_int_equal(iotsec_group_join(&domain.devices[i]->device, OTHER_GROUP), IOTSEC_OK);
        node_after(domain.devices[i]);
    }
    assert_int_equal(iotsec_group_join(&domain.devices[5]->device, OTHER_GROUP), IOTSEC_OK); /* may not */
    node_after(domain.devices[5]);
    net_run_ms(net, MINUTE);
    for (i = 0; i < 3; i++) {
        assert_member(domain.devices[i], OTHER_GROUP);
    }
    assert_not_member(domain.devices[5], OTHER_GROUP);
    assert_int_equal(node_event(domain.devices[5], IOTSEC_DEVICE_GROUP_REFUSED)->reason, IOTSEC_ERR_GROUP_REFUSED);
    serial = node_say(domain.devices[0], OTHER_GROUP);
    net_run_ms(net, SECOND);
    for (i = 3; i < 6; i++) {
        assert_false(node_heard(domain.devices[i], serial));
    }
    /* taken out of one group, in the other as before */
    assert_int_equal(iotsec_manager_expel(&domain.manager->manager, domain.devices[1]->number, OTHER_GROUP), IOTSEC_OK);
    node_after(domain.manager);
    net_run_ms(net, MINUTE);
    assert_not_member(domain.devices[1], OTHER_GROUP);
    assert_int_equal(node_event(domain.devices[1], IOTSEC_DEVICE_GROUP_LEFT)->reason, IOTSEC_ERR_NOT_FOUND);
    assert_int_equal(node_key(domain.devices[0], OTHER_GROUP), manager_key(domain.manager, OTHER_GROUP));
    assert_int_equal(iotsec_manager_group_remove(&domain.manager->manager, OTHER_GROUP), IOTSEC_OK);
    node_after(domain.manager);
    net_run_ms(net, MINUTE);
    for (i = 0; i < 3; i++) {
        assert_not_member(domain.devices[i], OTHER_GROUP);
        assert_null(node_csb(domain.devices[i], OTHER_GROUP));
    }
    domain_check(&domain);
}

static void test_groups(void **state)
{
    (void)state;
    scenario_seeds(2, run_groups);
}

/* ---- Sender IDs ---- */

/* A counter near its end: the member asks for a new sender ID in time, and never sends the last number. */
static void test_counter(void **state)
{
    struct net *net = scenario_begin(1);
    struct domain domain;
    struct node *device;
    uint16_t sender;

    (void)state;
    domain_start(&domain, net, 3);
    device = domain.devices[0];
    sender = node_sender(device, DOMAIN_GROUP);
    device->device_groups[0].csb.counter = IOTSEC_GROUP_COUNTER_SOFT - 2;
    assert_int_not_equal(node_say(device, DOMAIN_GROUP), 0);
    assert_int_not_equal(node_say(device, DOMAIN_GROUP), 0);
    assert_int_not_equal(node_say(device, DOMAIN_GROUP), 0);
    net_run_ms(net, 2 * MINUTE);
    assert_int_not_equal(node_csb(device, DOMAIN_GROUP)->sender_id, sender);
    domain_check(&domain);
    /* without a manager that could help, sending stops at the end */
    node_crash(domain.manager);
    device->device_groups[0].csb.counter = IOTSEC_GROUP_COUNTER_HARD - 1;
    assert_int_not_equal(node_say(device, DOMAIN_GROUP), 0);
    assert_int_equal(node_say(device, DOMAIN_GROUP), 0);
    assert_int_equal(node_count(device, IOTSEC_DEVICE_COUNTER), 1);
    node_boot(domain.manager);
    net_run_ms(net, 2 * HOUR);
    domain_check(&domain);
    scenario_end(net);
}

/* The manager as it would be after years: what the registry has got so far is written into it. */
static void start_aged(struct domain *domain, struct net *net, uint32_t key_number, uint16_t next_sender)
{
    struct iotsec_registry_group *group;

    domain_init(domain, net);
    node_crash(domain->manager);
    group = &domain->manager->registry->durable.groups[0];
    group->key_number = key_number;
    group->next_sender = next_sender;
    node_boot(domain->manager);
}

/* The last sender IDs of a generation: in the next one everybody gets a new one. */
static void run_renumber(struct net *net)
{
    struct domain domain;
    struct node *restless;
    unsigned i;

    net_rough(net, random_below(&net->random, 150));
    start_aged(&domain, net, 0x00000103, (uint16_t)(65534 - random_below(&net->random, 6)));
    for (i = 0; i < 4; i++) {
        (void)domain_add(&domain);
    }
    assert_true(net_run_until(net, domain_joined, &domain, MINUTE));
    restless = domain.devices[1];
    for (i = 0; i < 6; i++) {
        node_reboot(restless);
        node_join(restless, domain.manager, DOMAIN_GROUP);
        assert_true(net_run_until(net, domain_joined, &domain, MINUTE));
        (void)domain_talk(&domain);
    }
    net_run_ms(net, MINUTE);
    assert_int_equal(manager_key(domain.manager, DOMAIN_GROUP) >> 8, 2);
    for (i = 0; i < 4; i++) {
        assert_in_range(node_csb(domain.devices[i], DOMAIN_GROUP)->sender_id, 1, 12);
    }
    domain_check(&domain);
}

static void test_renumber(void **state)
{
    (void)state;
    scenario_seeds(4, run_renumber);
}

/* Generations whose low byte is 0 do not exist: their epochs would be those of unicast. */
static const struct epoch_row {
    uint32_t before;
    uint32_t after; /* a renewal */
} epoch_rows[] = {
    /* 1 */ { 0x0000FE07, 0x0000FF00 },
    /* 2 */ { 0x0000FF07, 0x00010100 },
    /* 3 */ { 0x00FFFF07, 0x01000100 },
};

static void test_epochs(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof epoch_rows / sizeof epoch_rows[0]; i++) {
        struct net *net = scenario_begin(i + 1);
        struct domain domain;

        start_aged(&domain, net, epoch_rows[i].before, 1);
        (void)domain_add(&domain);
        (void)domain_add(&domain);
        assert_true(net_run_until(net, domain_joined, &domain, MINUTE));
        domain_check(&domain);
        assert_int_equal(iotsec_manager_group_renew(&domain.manager->manager, DOMAIN_GROUP, 0), IOTSEC_OK);
        node_after(domain.manager);
        assert_int_equal(manager_key(domain.manager, DOMAIN_GROUP), epoch_rows[i].after);
        net_run_ms(net, 10 * SECOND);
        domain_check(&domain);
        scenario_end(net);
    }
}

/* Behind the last generation there is none: an eviction says so and changes nothing. */
static void test_last_generation(void **state)
{
    struct net *net = scenario_begin(1);
    struct domain domain;

    (void)state;
    start_aged(&domain, net, 0xFFFFFF00, 1);
    (void)domain_add(&domain);
    (void)domain_add(&domain);
    assert_true(net_run_until(net, domain_joined, &domain, MINUTE));
    assert_int_equal(iotsec_manager_evict(&domain.manager->manager, domain.devices[0]->number), IOTSEC_ERR_COUNTER);
    node_after(domain.manager);
    assert_false(registry_evicted(domain.manager->registry, domain.devices[0]->number));
    domain_check(&domain);
    scenario_end(net);
}

/* Sessions of devices that are gone for good end after the idle time; those that report keep theirs. */
static void test_idle(void **state)
{
    struct net *net = scenario_begin(1);
    struct domain domain;

    (void)state;
    domain_init(&domain, net);
    node_crash(domain.manager);
    domain.manager->manager_config.idle_timeout_ms = 3 * HOUR;
    node_boot(domain.manager);
    while (domain.count < 20) {
        (void)domain_add(&domain);
    }
    assert_true(net_run_until(net, domain_joined, &domain, MINUTE));
    domain_agree(&domain);
    node_crash(domain.devices[7]);
    domain_out(&domain, domain.devices[7]);
    net_run_ms(net, 5 * HOUR);
    assert_int_equal(domain.manager->dtls->sessions_used, 19);
    assert_int_equal(manager_count(domain.manager, IOTSEC_MANAGER_DEVICE_GONE), 1);
    assert_int_equal(manager_event(domain.manager, IOTSEC_MANAGER_DEVICE_GONE)->device, domain.devices[7]->number);
    assert_int_equal(manager_event(domain.manager, IOTSEC_MANAGER_DEVICE_GONE)->reason, IOTSEC_ERR_TIMEOUT);
    domain_check(&domain);
    scenario_end(net);
}

/* A member without room for all senders counts those whom it refuses, and never lets one through unchecked. */
static void run_few_slots(struct net *net)
{
    struct domain domain;
    struct node *small;
    size_t i;
    unsigned round;

    domain_start(&domain, net, 8);
    small = domain.devices[7];
    node_crash(small);
    small->device_config.sender_count = 3 * NET_GROUPS_MAX; /* a group knows three senders */
    node_boot(small);
    node_join(small, domain.manager, DOMAIN_GROUP);
    assert_true(net_run_until(net, domain_joined, &domain, MINUTE));
    domain_agree(&domain);
    for (round = 0; round < 5; round++) {
        for (i = 0; i < 7; i++) {
            assert_int_not_equal(node_say(domain.devices[i], DOMAIN_GROUP), 0);
        }
        net_run_ms(net, SECOND);
        net_replay(net, 0, net->tap_count);
        net_run_ms(net, SECOND);
    }
    assert_true(small->device.stats.drops[IOTSEC_DROP_UNKNOWN_SENDER] > 0);
    assert_true(small->heard_count >= 15);
}

static void test_few_slots(void **state)
{
    (void)state;
    scenario_seeds(4, run_few_slots);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        scenario(test_storm),      scenario(test_rollover),   scenario(test_hint),    scenario(test_hint_flood),
        scenario(test_ask_flood),  scenario(test_ahead_flood), scenario(test_away),   scenario(test_partition),
        scenario(test_routine),    scenario(test_leave),      scenario(test_leave_unheard), scenario(test_groups),
        scenario(test_counter),    scenario(test_renumber),   scenario(test_epochs),  scenario(test_last_generation),
        scenario(test_idle),       scenario(test_few_slots),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
