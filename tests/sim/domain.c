/* SPDX-License-Identifier: BSD-3-Clause */
#include "domain.h"

#include <string.h>

void domain_init(struct domain *domain, struct net *net)
{
    domain_init_for(domain, net, 80);
}

void domain_init_for(struct domain *domain, struct net *net, size_t devices)
{
    memset(domain, 0, sizeof *domain);
    domain->net = net;
    domain->manager = net_manager_for(net, devices);
    domain->manager->manager_config.cookie_policy = (uint8_t)random_below(&net->random, 4);
    node_boot(domain->manager);
    manager_group(domain->manager, DOMAIN_GROUP);
}

struct node *domain_add(struct domain *domain)
{
    struct node *device = net_device(domain->net);

    assert_true(domain->count < DOMAIN_MAX);
    domain->devices[domain->count++] = device;
    if (domain->pairs != 0) {
        net_pairs(device, domain->pairs, domain->degree_max);
    }
    device->device_config.status_interval_ms = domain->status_interval_ms;
    device->device_config.share_overlap_ms = domain->share_overlap_ms;
    if (domain->groupless) {
        net_enroll(domain->manager, device);
    } else {
        net_allow(domain->manager, device, DOMAIN_GROUP);
    }
    node_boot(device);
    node_join(device, domain->manager, domain->groupless ? 0 : DOMAIN_GROUP);
    return device;
}

void domain_agree(struct domain *domain)
{
    unsigned i;

    /* who missed the last announcement follows the first message that it hears */
    for (i = 0; i < 10 && !domain_current(domain->net, domain); i++) {
        (void)domain_talk(domain);
        net_run_ms(domain->net, 6000);
    }
    assert_true(domain_current(domain->net, domain));
}

void domain_start(struct domain *domain, struct net *net, size_t count)
{
    domain_init(domain, net);
    while (domain->count < count) {
        (void)domain_add(domain);
    }
    assert_true(net_run_until(net, domain_joined, domain, 60000));
    domain_agree(domain);
}

static void set_out(struct domain *domain, const struct node *device, bool out)
{
    size_t i;

    for (i = 0; i < domain->count; i++) {
        if (domain->devices[i] == device) {
            domain->out[i] = out;
        }
    }
}

void domain_out(struct domain *domain, const struct node *device)
{
    set_out(domain, device, true);
}

void domain_back(struct domain *domain, const struct node *device)
{
    set_out(domain, device, false);
}

bool domain_has(const struct domain *domain, size_t i)
{
    return !domain->out[i];
}

bool domain_joined(struct net *net, void *user)
{
    const struct domain *domain = user;
    size_t i;

    (void)net;
    for (i = 0; i < domain->count; i++) {
        if (domain_has(domain, i) && !node_is_member(domain->devices[i], DOMAIN_GROUP)) {
            return false;
        }
    }
    return true;
}

bool domain_current(struct net *net, void *user)
{
    const struct domain *domain = user;
    uint32_t key = manager_key(domain->manager, DOMAIN_GROUP);
    size_t i;

    if (!domain_joined(net, user)) {
        return false;
    }
    for (i = 0; i < domain->count; i++) {
        if (domain_has(domain, i) && node_key(domain->devices[i], DOMAIN_GROUP) != key) {
            return false;
        }
    }
    return true;
}

void domain_retry(struct domain *domain)
{
    uint16_t group = DOMAIN_GROUP;
    size_t i;

    for (i = 0; i < domain->count; i++) {
        struct node *device = domain->devices[i];

        if (domain_has(domain, i) && device->powered && !device->joined) {
            (void)node_join_groups(device, domain->manager, &group, !domain->groupless); /* STATE: it is at it already */
        } else if (!domain->groupless && domain_has(domain, i) && device->powered && !node_is_member(device, DOMAIN_GROUP)) {
            (void)iotsec_group_join(&device->device, DOMAIN_GROUP); /* EXISTS: likewise */
            node_after(device);
        }
    }
}

unsigned domain_talk(struct domain *domain)
{
    uint32_t serials[DOMAIN_MAX];
    unsigned possible = 0;
    unsigned heard = 0;
    size_t i;
    size_t k;

    for (i = 0; i < domain->count; i++) {
        serials[i] = 0;
        if (domain_has(domain, i)) {
            serials[i] = node_say(domain->devices[i], DOMAIN_GROUP);
            assert_int_not_equal(serials[i], 0);
        }
        net_run_ms(domain->net, random_below(&domain->net->random, 100));
    }
    net_run_ms(domain->net, 1000);
    for (i = 0; i < domain->count; i++) {
        for (k = 0; k < domain->count; k++) {
            if (i != k && domain_has(domain, i) && domain_has(domain, k)) {
                possible++;
                heard += node_heard(domain->devices[k], serials[i]);
            }
        }
    }
    return possible == 0 ? 100 : heard * 100 / possible;
}

void domain_check(struct domain *domain)
{
    struct net_link link = domain->net->link;

    memset(&domain->net->link, 0, sizeof link);
    domain->net->link.delay_ms = 10;
    /* the first round brings those forward who missed an announcement; what they said under the old key is lost */
    (void)domain_talk(domain);
    net_run_ms(domain->net, 3000);
    assert_true(domain_current(domain->net, domain));
    assert_int_equal(domain_talk(domain), 100);
    assert_true(domain_current(domain->net, domain));
    domain->net->link = link;
}
