/* SPDX-License-Identifier: BSD-3-Clause */
/* One device and its manager: joins at every loss, and every way in which a join can fail, each by its name. */
#include <string.h>

#include "base/bytes.h"
#include "handshake/engine.h"
#include "scenario.h"

#define GROUP 7

/* A manager with one group, and a device that may be in it. */
struct domain {
    struct node *manager;
    struct node *device;
};

static struct domain make_domain(struct net *net)
{
    struct domain domain;

    domain.manager = net_manager(net);
    domain.device = net_device(net);
    net_allow(domain.manager, domain.device, GROUP);
    node_boot(domain.manager);
    manager_group(domain.manager, GROUP);
    node_boot(domain.device);
    return domain;
}

/* A join has ended when it was told so, and never twice. */
static bool join_ended(struct net *net, void *user)
{
    const struct node *device = user;
    unsigned ends = node_count(device, IOTSEC_DEVICE_JOINED) + node_count(device, IOTSEC_DEVICE_JOIN_FAILED);

    (void)net;
    assert_true(ends <= 1);
    return ends == 1;
}

/* ---- Loss ---- */

static const struct loss_row {
    unsigned loss_permille;
    unsigned at_least_percent; /* joined within 15 s, the time that the draft's measurement allows */
} loss_rows[] = {
    /* 1 */ { 0, 100 },
    /* 2 */ { 100, 100 },
    /* 3 */ { 200, 100 },
    /* 4 */ { 300, 100 },
    /* 5 */ { 400, 99 },
    /* 6 */ { 500, 96 },
};

static void test_loss(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof loss_rows / sizeof loss_rows[0]; i++) {
        const struct loss_row *row = &loss_rows[i];
        unsigned in_time = 0;
        uint64_t seed;

        for (seed = 1; seed <= 100; seed++) {
            struct net *net = scenario_begin(seed);
            struct domain domain = make_domain(net);

            domain.manager->manager_config.cookie_policy = seed % 2 == 0 ? IOTSEC_COOKIE_ALWAYS : IOTSEC_COOKIE_OFF;
            net->link.loss_permille = row->loss_permille;
            node_join(domain.device, domain.manager, GROUP);
            if (net_run_until(net, join_ended, domain.device, 15000) && node_is_member(domain.device, GROUP)) {
                in_time++;
            }
            assert_true(net_run_until(net, join_ended, domain.device, 60000));
            scenario_end(net);
        }
        if (in_time < row->at_least_percent) {
            fail_msg("row %u: %u of 100 joined within 15 s at %u permille loss", (unsigned)i + 1, in_time, row->loss_permille);
        }
    }
}

/* Everything that a network can do at once. Whatever happens on the way, in the end the two agree. */
static void run_rough(struct net *net)
{
    struct domain domain = make_domain(net);

    net_rough(net, random_below(&net->random, 300));
    net->link.corrupt_permille = random_below(&net->random, 100);
    net->late_poll_ms = random_below(&net->random, 30);
    domain.manager->manager_config.cookie_policy = (uint8_t)random_below(&net->random, 4);
    node_join(domain.device, domain.manager, GROUP);
    assert_true(net_run_until(net, join_ended, domain.device, 70000));
    if (!domain.device->joined) {
        /* a hello with a flipped bit spoils a handshake; the next join succeeds */
        net->link.corrupt_permille = 0;
        net_run_ms(net, 40000);
        node_reboot(domain.device);
        node_join(domain.device, domain.manager, GROUP);
        assert_true(net_run_until(net, join_ended, domain.device, 70000));
    }
    assert_joined(domain.device);
    assert_member(domain.device, GROUP);
    net_run_ms(net, 60000);
    assert_int_equal(manager_count(domain.manager, IOTSEC_MANAGER_MEMBER_JOINED), 1);
    assert_int_equal(node_key(domain.device, GROUP), manager_key(domain.manager, GROUP));
    assert_int_equal(node_sender(domain.device, GROUP),
                     registry_member(domain.manager->registry, domain.device->number, GROUP)->sender_id);
}

static void test_rough(void **state)
{
    (void)state;
    scenario_seeds(1, run_rough);
}

/* Each datagram of the join is lost in turn, and each pair of neighbours. */
static void test_each_lost(void **state)
{
    unsigned skip;
    unsigned drop;

    (void)state;
    for (drop = 1; drop <= 3; drop++) {
        for (skip = 0; skip < 10; skip++) {
            struct net *net = scenario_begin(skip + 1);
            struct domain domain = make_domain(net);
            unsigned sent = 0;

            domain.manager->manager_config.cookie_policy = IOTSEC_COOKIE_ALWAYS;
            node_join(domain.device, domain.manager, GROUP);
            while (net->stats.datagrams < skip && sent < 1000) {
                net_run_ms(net, 1);
                sent++;
            }
            net_drop(net, drop);
            assert_true(net_run_until(net, join_ended, domain.device, 15000));
            assert_member(domain.device, GROUP);
            scenario_end(net);
        }
    }
}

/* The manager is cut off after each datagram of the join in turn, and comes back with its registry alone. */
static void test_restarted(void **state)
{
    unsigned seen;

    (void)state;
    for (seen = 0; seen <= 8; seen++) {
        struct net *net = scenario_begin(seen + 1);
        struct domain domain = make_domain(net);
        unsigned waited = 0;

        domain.manager->manager_config.cookie_policy = IOTSEC_COOKIE_ALWAYS;
        node_join(domain.device, domain.manager, GROUP);
        while (net->stats.datagrams < seen && waited++ < 1000) {
            net_run_ms(net, 1);
        }
        node_crash(domain.manager);
        net_run_ms(net, 500);
        node_boot(domain.manager);
        assert_true(net_run_until(net, join_ended, domain.device, 45000));
        assert_joined(domain.device);
        assert_member(domain.device, GROUP);
        scenario_end(net);
    }
}

/* ---- The size of a join ---- */

static void test_size(void **state)
{
    struct net *net = scenario_begin(1);
    struct domain domain = make_domain(net);

    (void)state;
    node_join(domain.device, domain.manager, GROUP);
    assert_true(net_run_until(net, join_ended, domain.device, 15000));
    assert_member(domain.device, GROUP);
    net_settle(net);
    /* design: 507 bytes in 5 datagrams with an identity of 15 bytes; ours has 6 */
    assert_int_equal(net->stats.datagrams - net->stats.group_records, 5);
    assert_true(net->stats.bytes - net->stats.group_records * IOTSEC_GROUP_OVERHEAD_BYTES <= 507);
    scenario_end(net);
}

/* ---- Failures ---- */

struct failure {
    struct net *net;
    struct domain domain;
    const struct node *target; /* whom the device joins */
};

static void wrong_psk(struct failure *f)
{
    f->domain.device->psk[0] ^= 1; /* the device's own; the registry keeps a copy */
}

static void unknown_identity(struct failure *f)
{
    registry_device(f->domain.manager->registry, f->domain.device->number)->identity[0] ^= 1;
}

static void not_authorised(struct failure *f)
{
    registry_device(f->domain.manager->registry, f->domain.device->number)->not_admitted = true;
}

static void evicted(struct failure *f)
{
    manager_evict(f->domain.manager, f->domain.device);
}

static void group_refused(struct failure *f)
{
    registry_device(f->domain.manager->registry, f->domain.device->number)->group_count = 0;
}

static void no_such_group(struct failure *f)
{
    assert_int_equal(iotsec_manager_group_remove(&f->domain.manager->manager, GROUP), IOTSEC_OK);
    node_after(f->domain.manager);
}

static void unreachable(struct failure *f)
{
    node_crash(f->domain.manager);
}

static void plain_server(struct failure *f, uint8_t suites)
{
    struct node *server = net_dtls(f->net);

    dtls_know(server, f->domain.device->name, f->domain.device->psk, 1);
    server->endpoint_config.suites = suites;
    node_boot(server);
    f->target = server;
}

static void no_manager(struct failure *f)
{
    plain_server(f, 1);
}

static void no_cipher(struct failure *f)
{
    plain_server(f, 2);
}

/* Another device is there already, and there is room for one. */
static void fill_with(struct failure *f, struct node *other)
{
    net_allow(f->domain.manager, other, GROUP);
    node_boot(f->domain.manager);
    node_boot(other);
    node_join(other, f->domain.manager, GROUP);
    net_run_ms(f->net, 3000);
    assert_member(other, GROUP);
}

static void full_sessions(struct failure *f)
{
    node_crash(f->domain.manager);
    f->domain.manager->manager_config.session_count = 1;
    fill_with(f, net_device(f->net));
}

static void full_contacts(struct failure *f)
{
    node_crash(f->domain.manager);
    f->domain.manager->manager_config.contact_count = 1;
    fill_with(f, net_device(f->net));
}

static void full_members(struct failure *f)
{
    node_crash(f->domain.manager);
    f->domain.manager->manager_config.member_count = 1;
    fill_with(f, net_device(f->net));
}

/* The look-up finds a PSK that is too short to be safe. */
static void short_psk(struct failure *f)
{
    registry_device(f->domain.manager->registry, f->domain.device->number)->psk_len = 15;
}

/* The registry fails for longer than the device waits. */
static void dead_registry(struct failure *f)
{
    f->domain.manager->registry->fail_at = f->domain.manager->registry->operations + 1;
    f->domain.manager->registry->fail_count = 1000000;
}

static const struct failure_row {
    const char *what;
    void (*prepare)(struct failure *f);
    enum iotsec_status device;  /* reason of JOIN_FAILED; IOTSEC_OK: it joins */
    enum iotsec_status group;   /* reason of GROUP_REFUSED; IOTSEC_OK: none */
    enum iotsec_status manager; /* reason of JOIN_FAILED or MEMBER_REFUSED; IOTSEC_OK: none */
    unsigned within_ms;
} failure_rows[] = {
    /*  1 */ { "wrong PSK", wrong_psk, IOTSEC_ERR_WRONG_PSK, IOTSEC_OK, IOTSEC_ERR_WRONG_PSK, 10000 },
    /*  2 */ { "unknown identity", unknown_identity, IOTSEC_ERR_WRONG_PSK, IOTSEC_OK, IOTSEC_ERR_UNKNOWN_IDENTITY, 10000 },
    /*  3 */ { "not authorised", not_authorised, IOTSEC_ERR_NOT_AUTHORISED, IOTSEC_OK, IOTSEC_ERR_NOT_AUTHORISED, 2000 },
    /*  4 */ { "evicted", evicted, IOTSEC_ERR_NOT_AUTHORISED, IOTSEC_OK, IOTSEC_ERR_NOT_AUTHORISED, 2000 },
    /*  5 */ { "group refused", group_refused, IOTSEC_OK, IOTSEC_ERR_GROUP_REFUSED, IOTSEC_ERR_GROUP_REFUSED, 2000 },
    /*  6 */ { "no such group", no_such_group, IOTSEC_OK, IOTSEC_ERR_GROUP_REFUSED, IOTSEC_ERR_GROUP_REFUSED, 2000 },
    /*  7 */ { "no answer", unreachable, IOTSEC_ERR_NO_ANSWER, IOTSEC_OK, IOTSEC_OK, 21000 },
    /*  8 */ { "a DTLS server, but no manager", no_manager, IOTSEC_ERR_NO_KEY_MANAGEMENT, IOTSEC_OK, IOTSEC_OK, 2000 },
    /*  9 */ { "no cipher suite in common", no_cipher, IOTSEC_ERR_NO_CIPHER, IOTSEC_OK, IOTSEC_OK, 10000 },
    /* 10 */ { "session table full", full_sessions, IOTSEC_ERR_RESOURCES, IOTSEC_OK, IOTSEC_ERR_RESOURCES, 10000 },
    /* 11 */ { "contact table full", full_contacts, IOTSEC_ERR_RESOURCES, IOTSEC_OK, IOTSEC_ERR_RESOURCES, 10000 },
    /* 12 */ { "member table full", full_members, IOTSEC_OK, IOTSEC_ERR_RESOURCES, IOTSEC_ERR_RESOURCES, 10000 },
    /* 13 */ { "a PSK that is too short", short_psk, IOTSEC_ERR_RESOURCES, IOTSEC_OK, IOTSEC_ERR_ARGUMENT, 21000 },
    /* 14 */ { "registry fails for ever", dead_registry, IOTSEC_OK, IOTSEC_ERR_NO_ANSWER, IOTSEC_OK, 61000 },
};

static enum iotsec_status manager_reason(const struct node *manager)
{
    const struct iotsec_manager_event *event = manager_event(manager, IOTSEC_MANAGER_JOIN_FAILED);

    if (event == NULL) {
        event = manager_event(manager, IOTSEC_MANAGER_MEMBER_REFUSED);
    }
    return event != NULL ? event->reason : IOTSEC_OK;
}

static void run_failure(struct net *net, const struct failure_row *row, unsigned number)
{
    struct failure f;
    const struct iotsec_device_event *failed;
    const struct iotsec_device_event *refused;
    uint64_t started;

    f.net = net;
    f.domain = make_domain(net);
    f.target = f.domain.manager;
    row->prepare(&f);
    started = net->now;
    node_join(f.domain.device, f.target, GROUP);
    assert_true(net_run_until(net, join_ended, f.domain.device, 100000));
    if (net->now - started > row->within_ms) {
        fail_msg("row %u, %s: took %u ms", number, row->what, (unsigned)(net->now - started));
    }
    failed = node_event(f.domain.device, IOTSEC_DEVICE_JOIN_FAILED);
    refused = node_event(f.domain.device, IOTSEC_DEVICE_GROUP_REFUSED);
    if ((failed != NULL ? failed->reason : IOTSEC_OK) != row->device ||
        (refused != NULL ? refused->reason : IOTSEC_OK) != row->group) {
        fail_msg("row %u, %s: the device says %s, group %s", number, row->what,
                 iotsec_status_name(failed != NULL ? failed->reason : IOTSEC_OK),
                 iotsec_status_name(refused != NULL ? refused->reason : IOTSEC_OK));
    }
    net_run_ms(net, 40000);
    if (manager_reason(f.domain.manager) != row->manager && f.domain.manager->powered) {
        /* a handshake that failed ends with a time-out later: the first reason counts */
        size_t i;
        bool found = false;

        for (i = 0; i < f.domain.manager->manager_event_count; i++) {
            found = found || f.domain.manager->manager_events[i].reason == row->manager;
        }
        if (!found) {
            fail_msg("row %u, %s: the manager says %s", number, row->what,
                     iotsec_status_name(manager_reason(f.domain.manager)));
        }
    }
    assert_not_member(f.domain.device, GROUP);
    assert_int_equal(f.domain.device->joined, row->device == IOTSEC_OK);
    if (row->device != IOTSEC_OK) {
        assert_true(node_is_idle(f.domain.device));
        assert_int_equal(iotsec_group_send(&f.domain.device->device, GROUP, (const uint8_t *)"x", 1), IOTSEC_ERR_NOT_FOUND);
    }
}

static void test_failures(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof failure_rows / sizeof failure_rows[0]; i++) {
        struct net *net = scenario_begin(i + 1);

        run_failure(net, &failure_rows[i], (unsigned)i + 1);
        scenario_end(net);
    }
}

/* After every failure the same device object joins as soon as the cause is gone. */
static void test_again(void **state)
{
    struct net *net = scenario_begin(1);
    struct domain domain = make_domain(net);
    unsigned i;

    (void)state;
    domain.device->psk[0] ^= 1;
    for (i = 0; i < 3; i++) {
        node_join(domain.device, domain.manager, GROUP);
        net_run_ms(net, 40000);
        assert_int_equal(node_count(domain.device, IOTSEC_DEVICE_JOIN_FAILED), i + 1);
    }
    domain.device->psk[0] ^= 1;
    node_join(domain.device, domain.manager, GROUP);
    net_run_ms(net, 5000);
    assert_member(domain.device, GROUP);
    scenario_end(net);
}

/* The radio gives no random numbers, or the application asks for nonsense. */
static void test_refused_at_once(void **state)
{
    struct net *net = scenario_begin(1);
    struct domain domain = make_domain(net);
    uint16_t groups[NET_GROUPS_MAX + 1] = { 1, 2, 3, 4, 5 };
    struct iotsec_addr group = net_group_addr(GROUP);

    (void)state;
    domain.device->random_fails = true;
    assert_int_equal(node_join_groups(domain.device, domain.manager, groups, 1), IOTSEC_ERR_RANDOM);
    domain.device->random_fails = false;
    assert_int_equal(node_join_groups(domain.device, domain.manager, groups, NET_GROUPS_MAX + 1), IOTSEC_ERR_FULL);
    groups[1] = groups[0];
    assert_int_equal(node_join_groups(domain.device, domain.manager, groups, 2), IOTSEC_ERR_ARGUMENT);
    assert_int_equal(iotsec_join(&domain.device->device, &group, NULL, 0), IOTSEC_ERR_ARGUMENT);
    node_join(domain.device, domain.manager, GROUP);
    assert_int_equal(node_join_groups(domain.device, domain.manager, NULL, 0), IOTSEC_ERR_STATE);
    net_run_ms(net, 5000);
    assert_member(domain.device, GROUP);
    scenario_end(net);
}

/* One handshake slot, and a crowd: everybody gets in or is told why not, and nobody is starved. */
static void run_crowd(struct net *net)
{
    struct node *manager = net_manager(net);
    struct node *devices[10];
    unsigned joined = 0;
    size_t i;

    manager->manager_config.handshake_count = 1;
    manager->manager_config.cookie_policy = (uint8_t)random_below(&net->random, 4);
    net->link.jitter_ms = 30;
    node_boot(manager);
    manager_group(manager, GROUP);
    for (i = 0; i < 10; i++) {
        devices[i] = net_device(net);
        net_allow(manager, devices[i], GROUP);
        node_boot(devices[i]);
        node_join(devices[i], manager, GROUP);
    }
    net_run_ms(net, 90000);
    for (i = 0; i < 10; i++) {
        const struct iotsec_device_event *failed = node_event(devices[i], IOTSEC_DEVICE_JOIN_FAILED);

        assert_true(join_ended(net, devices[i]));
        joined += devices[i]->joined;
        if (failed != NULL) {
            if (failed->reason != IOTSEC_ERR_RESOURCES && failed->reason != IOTSEC_ERR_NO_ANSWER) {
                fail_msg("%s: %s", devices[i]->name, iotsec_status_name(failed->reason));
            }
        }
    }
    assert_true(joined >= 1);
    for (i = 0; i < 10; i++) {
        unsigned tries;

        for (tries = 0; !devices[i]->joined && tries < 5; tries++) {
            node_reboot(devices[i]);
            node_join(devices[i], manager, GROUP);
            net_run_ms(net, 61000);
        }
        assert_member(devices[i], GROUP);
    }
}

static void test_crowd(void **state)
{
    (void)state;
    scenario_seeds(4, run_crowd);
}

/* ---- A central server knows the PSKs ---- */

static const struct pending_row {
    unsigned after_ms; /* of the first look-up; 0: never */
    enum iotsec_status answer;
    enum iotsec_status outcome;
} pending_rows[] = {
    /* 1 */ { 1, IOTSEC_OK, IOTSEC_OK },
    /* 2 */ { 3000, IOTSEC_OK, IOTSEC_OK },
    /* 3 */ { 15000, IOTSEC_OK, IOTSEC_OK },
    /* 4 */ { 0, IOTSEC_OK, IOTSEC_ERR_NO_ANSWER },
    /* 5 */ { 3000, IOTSEC_ERR_UNKNOWN_IDENTITY, IOTSEC_ERR_WRONG_PSK },
    /* 6 */ { 45000, IOTSEC_OK, IOTSEC_ERR_NO_ANSWER }, /* after both ends have given up */
};

static void test_pending(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof pending_rows / sizeof pending_rows[0]; i++) {
        const struct pending_row *row = &pending_rows[i];
        struct net *net = scenario_begin(i + 1);
        struct domain domain = make_domain(net);
        const struct iotsec_device_event *failed;

        registry_device(domain.manager->registry, domain.device->number)->slow = true;
        node_join(domain.device, domain.manager, GROUP);
        net_run_ms(net, row->after_ms != 0 ? 50 + row->after_ms : 50);
        if (row->after_ms != 0) {
            manager_answer_psk(domain.manager, row->answer);
        }
        if (row->answer != IOTSEC_OK) {
            /* one alert may be forged: the device tries once more, and hears the same */
            net_run_ms(net, 8000);
            manager_answer_psk(domain.manager, row->answer);
        }
        assert_true(net_run_until(net, join_ended, domain.device, 70000));
        failed = node_event(domain.device, IOTSEC_DEVICE_JOIN_FAILED);
        if ((failed != NULL ? failed->reason : IOTSEC_OK) != row->outcome) {
            fail_msg("row %u: %s", (unsigned)i + 1, iotsec_status_name(failed != NULL ? failed->reason : IOTSEC_OK));
        }
        net_run_ms(net, 60000);
        assert_int_equal(domain.manager->dtls->handshakes_used, 0);
        scenario_end(net);
    }
}

/* ---- What else a device may ask for ---- */

static void test_domain_alone(void **state)
{
    struct net *net = scenario_begin(1);
    struct domain domain = make_domain(net);

    (void)state;
    node_join(domain.device, domain.manager, 0);
    net_run_ms(net, 2000);
    assert_joined(domain.device);
    assert_int_equal(manager_count(domain.manager, IOTSEC_MANAGER_DEVICE_JOINED), 1);
    /* a group later */
    assert_int_equal(iotsec_group_join(&domain.device->device, GROUP), IOTSEC_OK);
    node_after(domain.device);
    net_run_ms(net, 3000);
    assert_member(domain.device, GROUP);
    scenario_end(net);
}

/* Groups hidden from the ClientHello: the same outcome, and no group ID in the clear. */
static void test_hidden(void **state)
{
    struct net *net = scenario_begin(1);
    struct domain domain = make_domain(net);
    size_t i;
    size_t at;

    (void)state;
    node_crash(domain.device);
    domain.device->device_config.hide_groups = 1;
    node_boot(domain.device);
    node_join(domain.device, domain.manager, GROUP);
    assert_true(net_run_until(net, join_ended, domain.device, 15000));
    assert_member(domain.device, GROUP);
    for (i = 0; i < net->tap_count; i++) {
        static const uint8_t row[] = { 0xFF, 0x10, 0x00, 0x02 }; /* an extension that names a group */

        for (at = 0; at + sizeof row <= net->tap[i].len && net->tap[i].data[0] == 22; at++) {
            assert_memory_not_equal(net->tap[i].data + at, row, sizeof row);
        }
    }
    scenario_end(net);
}

static void run_many_groups(struct net *net)
{
    struct domain domain = make_domain(net);
    uint16_t groups[NET_GROUPS_MAX];
    uint16_t i;

    net->link.loss_permille = 150;
    for (i = 0; i < NET_GROUPS_MAX; i++) {
        groups[i] = (uint16_t)(GROUP + i);
        if (i != 0) {
            net_allow(domain.manager, domain.device, groups[i]);
            manager_group(domain.manager, groups[i]);
        }
    }
    assert_int_equal(node_join_groups(domain.device, domain.manager, groups, NET_GROUPS_MAX), IOTSEC_OK);
    assert_true(net_run_until(net, join_ended, domain.device, 60000));
    for (i = 0; i < NET_GROUPS_MAX; i++) {
        assert_member(domain.device, groups[i]);
        assert_int_not_equal(node_say(domain.device, groups[i]), 0);
    }
}

static void test_many_groups(void **state)
{
    (void)state;
    scenario_seeds(4, run_many_groups);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        scenario(test_loss),     scenario(test_rough),   scenario(test_each_lost),
        scenario(test_restarted),    scenario(test_size),
        scenario(test_failures), scenario(test_again),   scenario(test_refused_at_once), scenario(test_crowd),
        scenario(test_pending),  scenario(test_domain_alone), scenario(test_hidden),  scenario(test_many_groups),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
