/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Power cuts: members and managers that stop at any moment and come back with what was durable. Members come
 * back by themselves, and no nonce is ever used twice (the network checks that, see net.h).
 */
#include <string.h>

#include "domain.h"
#include "scenario.h"

#define SECOND 1000u
#define MINUTE (60u * SECOND)
#define HOUR (60u * MINUTE)
#define OTHER_GROUP 8

/* ---- Members ---- */

static void run_member_reboots(struct net *net)
{
    struct domain domain;
    unsigned i;

    net_rough(net, 100);
    domain_start(&domain, net, 5);
    for (i = 0; i < 6; i++) {
        struct node *device = domain.devices[random_below(&net->random, 5)];
        uint32_t generation = node_key(device, DOMAIN_GROUP) >> 8;
        uint16_t sender = node_sender(device, DOMAIN_GROUP);

        (void)domain_talk(&domain);
        node_crash(device);
        net_run_ms(net, random_below(&net->random, 20 * SECOND));
        device->addr.port = (uint16_t)(device->addr.port + random_below(&net->random, 2)); /* a new socket, perhaps */
        node_boot(device);
        assert_int_equal(iotsec_group_send(&device->device, DOMAIN_GROUP, (const uint8_t *)"x", 1), IOTSEC_ERR_NOT_FOUND);
        node_join(device, domain.manager, DOMAIN_GROUP);
        assert_true(net_run_until(net, domain_joined, &domain, MINUTE));
        assert_true(node_sender(device, DOMAIN_GROUP) != sender || node_key(device, DOMAIN_GROUP) >> 8 != generation);
    }
    domain_check(&domain);
}

static void test_member_reboots(void **state)
{
    (void)state;
    scenario_seeds(1, run_member_reboots);
}

/* All of them at once: the power of a building. */
static void run_blackout(struct net *net)
{
    struct domain domain;
    size_t i;

    net_rough(net, 100);
    domain_start(&domain, net, 12);
    for (i = 0; i < domain.count; i++) {
        node_crash(domain.devices[i]);
    }
    if (random_below(&net->random, 2) != 0) {
        node_reboot(domain.manager);
    }
    net_run_ms(net, 10 * SECOND);
    for (i = 0; i < domain.count; i++) {
        node_boot(domain.devices[i]);
        node_join(domain.devices[i], domain.manager, DOMAIN_GROUP);
    }
    assert_true(net_run_until(net, domain_joined, &domain, MINUTE));
    domain_check(&domain);
}

static void test_blackout(void **state)
{
    (void)state;
    scenario_seeds(2, run_blackout);
}

/* ---- Members with NVM ---- */

static void set_persist(struct domain *domain)
{
    size_t i;

    for (i = 0; i < domain->count; i++) {
        node_crash(domain->devices[i]);
        domain->devices[i]->device_config.persist = 1;
        domain->devices[i]->device_config.nvm_slot = 3;
        node_boot(domain->devices[i]);
        node_join(domain->devices[i], domain->manager, DOMAIN_GROUP);
    }
    assert_true(net_run_until(domain->net, domain_joined, domain, MINUTE));
    domain_check(domain);
}

/* Keys in NVM: such a member talks at once after a power cut, and never under a nonce that it has used; it
 * listens only when a newer key shows that it is not fed the past. */
static void run_persist(struct net *net)
{
    struct domain domain;
    struct node *device;
    uint32_t serial;
    size_t before;
    unsigned i;

    domain_start(&domain, net, 4);
    set_persist(&domain);
    device = domain.devices[0];
    for (i = 0; i < 20; i++) {
        unsigned says = random_below(&net->random, 5);

        while (says-- > 0) {
            assert_int_not_equal(node_say(device, DOMAIN_GROUP), 0);
        }
        net_run_ms(net, random_below(&net->random, 300));
        node_reboot(device);
    }
    before = net->tap_count;
    serial = node_say(device, DOMAIN_GROUP);
    assert_int_not_equal(serial, 0);
    net_run_ms(net, 100);
    assert_true(node_heard(domain.devices[1], serial));
    /* what is said under the key that it stored may be a recording */
    serial = node_say(domain.devices[1], DOMAIN_GROUP);
    net_run_ms(net, 100);
    assert_false(node_heard(device, serial));
    net_replay(net, 0, before);
    net_run_ms(net, 1000);
    assert_int_equal(device->heard_count, 0);
    /* news: a step brings it back to listening */
    node_join(device, domain.manager, DOMAIN_GROUP);
    net_run_ms(net, 5 * SECOND);
    (void)domain_add(&domain);
    assert_true(net_run_until(net, domain_joined, &domain, MINUTE));
    domain_check(&domain);
}

static void test_persist(void **state)
{
    (void)state;
    scenario_seeds(4, run_persist);
}

/* A memory that cannot be written stops the sending, not the counting. */
static void run_nvm_fails(struct net *net)
{
    struct domain domain;
    struct node *device;
    unsigned sent = 0;
    unsigned i;

    domain_start(&domain, net, 3);
    set_persist(&domain);
    device = domain.devices[0];
    for (i = 0; i < 40; i++) {
        device->nvm_fail = random_below(&net->random, 3) == 0 ? 1 + random_below(&net->random, 4) : 0;
        for (sent = 0; sent < 30; sent++) {
            if (node_say(device, DOMAIN_GROUP) == 0) {
                break;
            }
        }
        net_run_ms(net, 100);
        if (random_below(&net->random, 2) == 0) {
            node_reboot(device);
        }
    }
    device->nvm_fail = 0;
    node_reboot(device);
    node_join(device, domain.manager, DOMAIN_GROUP);
    net_run_ms(net, MINUTE);
    (void)domain_add(&domain);
    assert_true(net_run_until(net, domain_joined, &domain, MINUTE));
    domain_check(&domain);
}

static void test_nvm_fails(void **state)
{
    (void)state;
    scenario_seeds(4, run_nvm_fails);
}

/* ---- The manager ---- */

static void run_manager_restarts(struct net *net)
{
    struct domain domain;
    unsigned i;

    net_rough(net, 100);
    domain_start(&domain, net, 6);
    for (i = 0; i < 3; i++) {
        net_run_ms(net, random_below(&net->random, 10 * SECOND));
        if (random_below(&net->random, 2) != 0) {
            node_reboot(domain.devices[random_below(&net->random, 6)]);
            domain_retry(&domain);
            net_run_ms(net, random_below(&net->random, 3 * SECOND)); /* in the middle of a join, perhaps */
        }
        node_crash(domain.manager);
        net_run_ms(net, random_below(&net->random, MINUTE));
        node_boot(domain.manager);
    }
    /* those who were out of its sight learn of what happened since */
    domain_out(&domain, domain.devices[5]);
    manager_evict(domain.manager, domain.devices[5]);
    net_run_ms(net, MINUTE + MINUTE);
    domain_retry(&domain);
    net_run_ms(net, 2 * HOUR + HOUR / 2);
    assert_true(domain_current(net, &domain));
    assert_not_member(domain.devices[5], DOMAIN_GROUP);
    domain_check(&domain);
}

static void test_manager_restarts(void **state)
{
    (void)state;
    scenario_seeds(1, run_manager_restarts);
}

/* A manager that is stopped in good order says so; when it is back, its members find it by themselves. */
static void run_manager_closes(struct net *net)
{
    struct domain domain;
    size_t i;

    net_rough(net, 100);
    domain_start(&domain, net, 5);
    iotsec_manager_close(&domain.manager->manager);
    node_crash(domain.manager);
    net_run_ms(net, SECOND + random_below(&net->random, HOUR));
    domain.net->link.loss_permille = 0;
    assert_true(domain_talk(&domain) >= 90); /* the group goes on without it */
    net_rough(net, 100);
    node_boot(domain.manager);
    net_run_ms(net, 2 * HOUR + HOUR / 2);
    for (i = 0; i < domain.count; i++) {
        assert_int_equal(node_count(domain.devices[i], IOTSEC_DEVICE_CONTACT_LOST), 1);
        assert_int_equal(node_count(domain.devices[i], IOTSEC_DEVICE_CONTACT), 1);
        assert_int_equal(node_count(domain.devices[i], IOTSEC_DEVICE_GROUP_JOINED), 1);
    }
    domain_check(&domain);
}

static void test_manager_closes(void **state)
{
    (void)state;
    scenario_seeds(4, run_manager_closes);
}

/* Lets time pass; a manager that its registry has killed comes back after a second. */
static void run_on(struct domain *domain, unsigned ms)
{
    unsigned slice;

    for (slice = 0; slice < ms; slice += 500) {
        net_run_ms(domain->net, 500);
        if (!domain->manager->powered) {
            net_run_ms(domain->net, SECOND);
            node_boot(domain->manager);
        }
    }
}

static void add_group(struct domain *domain, uint16_t group_id)
{
    struct iotsec_addr addr = net_group_addr(group_id);

    while (registry_group(domain->manager->registry, group_id) == NULL) {
        (void)iotsec_manager_group_add(&domain->manager->manager, group_id, &addr);
        node_after(domain->manager);
        run_on(domain, SECOND);
    }
}

static void remove_group(struct domain *domain, uint16_t group_id)
{
    while (registry_group(domain->manager->registry, group_id) != NULL) {
        (void)iotsec_manager_group_remove(&domain->manager->manager, group_id);
        node_after(domain->manager);
        run_on(domain, SECOND);
    }
}

static void evict(struct domain *domain, const struct node *device)
{
    while (!registry_evicted(domain->manager->registry, device->number)) {
        (void)iotsec_manager_evict(&domain->manager->manager, device->number);
        node_after(domain->manager);
        run_on(domain, SECOND);
    }
    domain_out(domain, device);
}

static void renew(struct domain *domain, uint16_t group_id)
{
    uint32_t before = registry_group(domain->manager->registry, group_id)->key_number >> 8;

    while (registry_group(domain->manager->registry, group_id)->key_number >> 8 == before) {
        (void)iotsec_manager_group_renew(&domain->manager->manager, group_id, 0);
        node_after(domain->manager);
        run_on(domain, SECOND);
    }
}

static void start_device(struct domain *domain)
{
    net_allow(domain->manager, domain_add(domain), OTHER_GROUP);
    run_on(domain, random_below(&domain->net->random, 2 * SECOND));
}

static void join_other(struct domain *domain, size_t i)
{
    if (iotsec_group_join(&domain->devices[i]->device, OTHER_GROUP) != IOTSEC_OK) {
        return; /* the join itself is still under way: then the group stays without it */
    }
    node_after(domain->devices[i]);
}

/* One of everything that changes the registry. */
static void tell_story(struct domain *domain)
{
    start_device(domain);
    start_device(domain);
    start_device(domain);
    run_on(domain, 5 * SECOND);
    add_group(domain, OTHER_GROUP);
    join_other(domain, 0);
    join_other(domain, 1);
    run_on(domain, 5 * SECOND);
    start_device(domain);
    evict(domain, domain->devices[2]);
    run_on(domain, 5 * SECOND);
    domain_out(domain, domain->devices[1]);
    (void)iotsec_group_leave(&domain->devices[1]->device, DOMAIN_GROUP);
    node_after(domain->devices[1]);
    run_on(domain, 5 * SECOND);
    renew(domain, DOMAIN_GROUP);
    run_on(domain, 5 * SECOND);
    remove_group(domain, OTHER_GROUP);
    start_device(domain);
    run_on(domain, 20 * SECOND);
}

static void check_story(struct domain *domain)
{
    unsigned i;

    for (i = 0; i < 4 && !domain_joined(domain->net, domain); i++) {
        domain_retry(domain);
        run_on(domain, 2 * MINUTE);
    }
    /* a member that the manager cannot reach reports within its status interval, an hour and an eighth */
    net_run_ms(domain->net, 2 * HOUR);
    assert_true(domain_current(domain->net, domain));
    assert_not_member(domain->devices[1], DOMAIN_GROUP);
    assert_not_member(domain->devices[2], DOMAIN_GROUP);
    for (i = 0; i < domain->count; i++) {
        assert_not_member(domain->devices[i], OTHER_GROUP);
    }
    domain_check(domain);
}

/* The story once for each registry operation in it, which dies there, before or after it became durable. */
static void kill_everywhere(uint64_t seed)
{
    unsigned operations = 1;
    unsigned at;
    unsigned after;

    for (at = 1; at <= operations; at++) {
        for (after = 0; after < 2; after++) {
            struct net *net = scenario_begin(seed);
            struct domain domain;

            net->link.jitter_ms = 20;
            domain_init(&domain, net);
            domain.manager->registry->kill_at = domain.manager->registry->operations + at;
            domain.manager->registry->kill_after_commit = after != 0;
            tell_story(&domain);
            check_story(&domain);
            if (domain.manager->registry->operations > operations) {
                operations = domain.manager->registry->operations;
            }
            scenario_end(net);
        }
    }
    assert_true(operations >= 40); /* the story is as long as it looks */
}

static void test_kill_everywhere(void **state)
{
    (void)state;
    kill_everywhere(1);
    kill_everywhere(2);
}

/* The same with operations that fail, one or several in a row. Nothing changes, and later it works. */
static void fail_everywhere(uint64_t seed, unsigned count)
{
    unsigned operations = 1;
    unsigned at;

    for (at = 1; at <= operations; at++) {
        struct net *net = scenario_begin(seed);
        struct domain domain;

        domain_init(&domain, net);
        domain.manager->registry->fail_at = domain.manager->registry->operations + at;
        domain.manager->registry->fail_count = count;
        tell_story(&domain);
        check_story(&domain);
        if (domain.manager->registry->operations > operations) {
            operations = domain.manager->registry->operations;
        }
        scenario_end(net);
    }
}

static void test_fail_everywhere(void **state)
{
    (void)state;
    fail_everywhere(1, 0);
    fail_everywhere(2, 5);
}

/* The manager dies at a random operation on a bad network, again and again. */
static void run_killed_often(struct net *net)
{
    struct domain domain;
    unsigned i;

    net_rough(net, 100);
    domain_init(&domain, net);
    for (i = 0; i < 8; i++) {
        domain.manager->registry->kill_at = domain.manager->registry->operations + 1 + random_below(&net->random, 12);
        domain.manager->registry->kill_after_commit = random_below(&net->random, 2) != 0;
        start_device(&domain);
        if (i == 3) {
            evict(&domain, domain.devices[0]);
        }
        if (i > 3 && random_below(&net->random, 2) != 0) {
            node_reboot(domain.devices[1]);
            domain_retry(&domain);
        }
    }
    run_on(&domain, MINUTE);
    for (i = 0; i < 6 && !domain_joined(net, &domain); i++) {
        domain_retry(&domain);
        run_on(&domain, 2 * MINUTE);
    }
    net_run_ms(net, 2 * HOUR);
    domain_check(&domain);
}

static void test_killed_often(void **state)
{
    (void)state;
    scenario_seeds(1, run_killed_often);
}

/* ---- An old backup ---- */

/*
 * The registry is lost and a copy from before is put in its place: joins, a renewal and an eviction are
 * forgotten. As manager.h asks, every group is renewed first; members that are ahead report it, and all meet above.
 */
static void run_backup(struct net *net)
{
    struct domain domain;
    struct registry_state backup;
    struct node *evicted;
    uint32_t above;
    unsigned i;

    domain_start(&domain, net, 4);
    backup = domain.manager->registry->durable;
    (void)domain_add(&domain);
    (void)domain_add(&domain);
    net_run_ms(net, 5 * SECOND);
    evicted = domain.devices[1];
    manager_evict(domain.manager, evicted);
    domain_out(&domain, evicted);
    net_run_ms(net, 5 * SECOND);
    for (i = random_below(&net->random, 4); i > 0; i--) {
        assert_int_equal(iotsec_manager_group_renew(&domain.manager->manager, DOMAIN_GROUP, 0), IOTSEC_OK);
        node_after(domain.manager);
        net_run_ms(net, 5 * SECOND);
    }
    domain_check(&domain);

    above = random_below(&net->random, 2) == 0 ? 0 : manager_key(domain.manager, DOMAIN_GROUP) + (10u << 8);
    node_crash(domain.manager);
    registry_restore(domain.manager->registry, &backup);
    node_boot(domain.manager);
    /* above what the lost part may have used: else two generations can come to share a number */
    assert_int_equal(iotsec_manager_group_renew(&domain.manager->manager, DOMAIN_GROUP, above), IOTSEC_OK);
    node_after(domain.manager);
    manager_evict(domain.manager, evicted); /* forgotten: the operator repeats it */
    if (random_below(&net->random, 2) != 0) {
        (void)domain_add(&domain);
    }
    net_run_ms(net, 3 * HOUR);
    domain_check(&domain);
    assert_not_member(evicted, DOMAIN_GROUP);
}

/* The registry comes from an old copy that has counted its way to the present key number, with other keys. */
static void run_same_number(struct net *net)
{
    struct domain domain;
    struct registry_state *durable;
    size_t i;

    domain_start(&domain, net, 4);
    durable = &domain.manager->registry->durable;
    node_crash(domain.manager);
    for (i = 0; i < sizeof durable->groups[0].tgk; i++) {
        durable->groups[0].tgk[i] ^= 0x5A;
    }
    node_boot(domain.manager);
    net_run_ms(net, 3 * HOUR);
    domain_check(&domain);
    (void)domain_add(&domain);
    net_run_ms(net, 10 * SECOND);
    domain_check(&domain);
}

static void test_same_number(void **state)
{
    (void)state;
    scenario_seeds(5, run_same_number);
}

static void test_backup(void **state)
{
    (void)state;
    scenario_seeds(2, run_backup);
}

/* A copy so old that members are more than 64 generations ahead: the manager asks the operator, who decides. */
static void test_ancient_backup(void **state)
{
    struct net *net = scenario_begin(1);
    struct domain domain;
    struct registry_state backup;
    uint32_t ahead;
    unsigned i;

    (void)state;
    domain_start(&domain, net, 3);
    backup = domain.manager->registry->durable;
    for (i = 0; i < IOTSEC_GENERATIONS_AHEAD_MAX + 6; i++) {
        assert_int_equal(iotsec_manager_group_renew(&domain.manager->manager, DOMAIN_GROUP, 0), IOTSEC_OK);
        node_after(domain.manager);
        net_run_ms(net, 3 * SECOND);
    }
    domain_check(&domain);
    ahead = manager_key(domain.manager, DOMAIN_GROUP);
    node_crash(domain.manager);
    registry_restore(domain.manager->registry, &backup);
    node_boot(domain.manager);
    net_run_ms(net, 2 * HOUR);
    assert_true(manager_count(domain.manager, IOTSEC_MANAGER_AHEAD) >= 3);
    assert_int_equal(manager_event(domain.manager, IOTSEC_MANAGER_AHEAD)->key_number, ahead);
    assert_true(manager_key(domain.manager, DOMAIN_GROUP) < ahead); /* nobody's word moves it so far */
    assert_int_equal(domain_talk(&domain), 100);                    /* and the group goes on as it was */
    assert_int_equal(iotsec_manager_group_renew(&domain.manager->manager, DOMAIN_GROUP, ahead), IOTSEC_OK);
    node_after(domain.manager);
    net_run_ms(net, 3 * HOUR);
    domain_check(&domain);
    scenario_end(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        scenario(test_member_reboots),  scenario(test_blackout),         scenario(test_persist),
        scenario(test_nvm_fails),       scenario(test_manager_restarts), scenario(test_manager_closes),
        scenario(test_kill_everywhere),
        scenario(test_fail_everywhere), scenario(test_killed_often),     scenario(test_same_number),
        scenario(test_backup),          scenario(test_ancient_backup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
