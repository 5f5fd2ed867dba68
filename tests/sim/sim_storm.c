/* SPDX-License-Identifier: BSD-3-Clause */
/* The power comes back for everybody at once, on a link that carries little: all are in after a while, whatever their
 * applications do when a join has failed. */
#include "domain.h"
#include "scenario.h"

#if IOTSEC_ROLE_DEVICE && IOTSEC_ROLE_MANAGER

#define DEVICES 100u
#define SECOND 1000u
#define NEVER UINT64_MAX

/* A device's application. */
struct lamp {
    struct node *node;
    uint32_t waits;    /* so long at most, after a failure */
    uint64_t retry_at; /* NEVER: nothing has failed */
    unsigned failures;
};

static const struct storm_row {
    const char *name;
    uint32_t waits;   /* the application, before it joins again, by chance up to this, ms */
    uint32_t delay;   /* join_delay_ms */
    unsigned seconds; /* by then all are in: 100 joins need 30 s on this link when nothing is lost or sent twice */
    unsigned datagrams; /* for each device, at most */
} rows[] = {
    /* 1 */ { "again at once", 0, 0, 500, 60 },
    /* 2 */ { "again within a minute", 60 * SECOND, 0, 500, 60 },
    /* 3 */ { "again within ten minutes", 600 * SECOND, 0, 1300, 60 },
    /* 4 */ { "spread by the operator", 0, 130 * SECOND, 200, 12 },
};

static void watch_join(struct node *node, const struct iotsec_device_event *event)
{
    struct lamp *lamp = node->test;

    if (event->kind == IOTSEC_DEVICE_JOIN_FAILED || event->kind == IOTSEC_DEVICE_GROUP_REFUSED) {
        lamp->failures++;
        lamp->retry_at = node->net->now + random_below(&node->net->random, lamp->waits + 1);
    }
}

static void join_group(struct lamp *lamp, const struct node *manager)
{
    const uint16_t group = DOMAIN_GROUP;
    enum iotsec_status status = iotsec_join(&lamp->node->device, &manager->addr, &group, 1);

    lamp->retry_at = NEVER;
    if (status == IOTSEC_ERR_STATE) { /* in the domain, but not in the group */
        status = iotsec_group_join(&lamp->node->device, DOMAIN_GROUP);
    }
    if (status == IOTSEC_ERR_AGAIN) {
        lamp->retry_at = lamp->node->net->now + SECOND;
    }
    node_after(lamp->node);
}

static void run_storm(const struct storm_row *row, uint64_t seed)
{
    static struct lamp lamps[DEVICES];
    struct net *net = scenario_begin(seed);
    struct domain domain;
    unsigned failures = 0;
    unsigned second;
    unsigned in = 0;
    size_t i;

    net->link.loss_permille = 100;
    net->byte_us = 320; /* 25 kbit/s: a tenth of what IEEE 802.15.4 carries */
    net->queue_ms = 1000;
    domain_init_for(&domain, net, DEVICES);
    for (i = 0; i < DEVICES; i++) {
        struct lamp *lamp = &lamps[i];

        lamp->node = net_device(net);
        lamp->waits = row->waits;
        lamp->failures = 0;
        lamp->retry_at = net->now + random_below(&net->random, SECOND);
        lamp->node->test = lamp;
        lamp->node->on_event = watch_join;
        lamp->node->device_config.join_delay_ms = row->delay;
        net_allow(domain.manager, lamp->node, DOMAIN_GROUP);
        node_boot(lamp->node);
    }
    for (second = 0; second < row->seconds && in < DEVICES; second++) {
        for (in = 0, i = 0; i < DEVICES; i++) {
            if (net->now >= lamps[i].retry_at) {
                join_group(&lamps[i], domain.manager);
            }
            in += node_is_member(lamps[i].node, DOMAIN_GROUP);
        }
        net_run_ms(net, SECOND);
    }
    for (i = 0; i < DEVICES; i++) {
        failures += lamps[i].failures;
    }
    print_message("%s: %u of %u are in after %u s, with %u datagrams and %u failures\n", row->name, in, DEVICES, second,
                  net->stats.datagrams, failures);
    assert_int_equal(in, DEVICES);
    assert_true(net->stats.datagrams <= row->datagrams * DEVICES);
    scenario_end(net);
}

static void test_storm(void **state)
{
    size_t r;
    uint64_t seed;

    (void)state;
    for (r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        for (seed = 1; seed <= 2; seed++) {
            run_storm(&rows[r], seed);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        scenario(test_storm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

int main(void)
{
    return 0;
}

#endif
