/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device leaves a group and asks for it again, and an old key message turns up in between. Installed,
 * it would bring back a sender ID whose counters are spent; the tap ends the test if a nonce repeats.
 */
#include "scenario.h"

#include <string.h>

#define GROUP 7u

/* The latest datagram from the manager to the device. */
static const struct net_datagram *last_from(const struct net *net, const struct node *sender)
{
    size_t i;

    for (i = net->tap_count; i > 0; i--) {
        if (net->tap[i - 1].sender == sender) {
            return &net->tap[i - 1];
        }
    }
    return NULL;
}

static void leave_and_return(struct net *net, bool removed)
{
    struct node *m = net_manager(net);
    struct node *a = net_device(net);
    const struct net_datagram *late;
    uint8_t copy[NET_DATAGRAM_MAX];
    size_t len;
    size_t before;

    node_boot(m);
    net_enroll(m, a);
    manager_group(m, GROUP);
    net_allow(m, a, GROUP);
    net_run_ms(net, 2000);
    node_boot(a);
    node_join(a, m, GROUP);
    /* the device installs its keys, but is not heard: the manager repeats them, and that copy is held back */
    while (!node_is_member(a, GROUP)) {
        net_run_ms(net, 1);
        assert_true(net->now < 30000);
    }
    before = net->tap_count;
    m->unplugged = true;
    net_run_ms(net, 1500);
    late = last_from(net, m);
    assert_non_null(late);
    assert_true(net->tap_count > before && late >= &net->tap[before]);
    len = late->len;
    memcpy(copy, late->data, len);
    m->unplugged = false;
    net_run_ms(net, 10000);
    assert_true(node_say(a, GROUP) != 0);
    net_run_ms(net, 1000);

    if (removed) {
        assert_int_equal(iotsec_manager_group_remove(&m->manager, GROUP), IOTSEC_OK);
        node_after(m);
        net_run_ms(net, 5000);
        manager_group(m, GROUP);
        net_run_ms(net, 2000);
    } else {
        assert_int_equal(iotsec_group_leave(&a->device, GROUP), IOTSEC_OK);
        node_after(a);
        net_run_ms(net, 5000);
    }
    assert_not_member(a, GROUP);
    assert_int_equal(iotsec_group_join(&a->device, GROUP), IOTSEC_OK);
    (void)net_hand(a, &m->addr, &a->addr, copy, len);
    node_after(a);
    (void)net_hand(a, &m->addr, &a->addr, copy, len);
    node_after(a);
    assert_not_member(a, GROUP); /* not by that */
    net_run_ms(net, 20000);
    assert_member(a, GROUP);
    assert_true(node_say(a, GROUP) != 0);
    net_run_ms(net, 1000);
}

static void test_a_late_key_message_brings_no_sender_back(void **state)
{
    int removed;

    (void)state;
    for (removed = 0; removed < 2; removed++) {
        struct net *net = scenario_begin((uint64_t)removed + 1);

        leave_and_return(net, removed != 0);
        scenario_end(net);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {scenario(test_a_late_key_message_brings_no_sender_back)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
