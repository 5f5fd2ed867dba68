/* SPDX-License-Identifier: BSD-3-Clause */
#include "pairs.h"

#include <string.h>

#include "base/bytes.h"

#define MINUTE 60000u

void pairs_init(struct domain *domain, struct net *net, size_t devices, uint16_t places, uint8_t degree_max)
{
    domain_init_for(domain, net, devices + 8);
    domain->groupless = true;
    domain->pairs = places;
    domain->degree_max = degree_max;
    domain->status_interval_ms = 5 * MINUTE;
    domain->share_overlap_ms = 10 * MINUTE;
}

void pairs_start(struct domain *domain, struct net *net, size_t devices, uint16_t places, uint8_t degree)
{
    pairs_init(domain, net, devices, places, degree);
    manager_poly(domain->manager, degree, false);
    while (domain->count < devices) {
        (void)domain_add(domain);
    }
    pairs_wait(domain, MINUTE);
}

void pairs_wait(struct domain *domain, uint64_t ms)
{
    uint64_t end = domain->net->now + ms;

    while (!net_run_until(domain->net, pairs_have_shares, domain, 1000)) {
        if (domain->net->now >= end) {
            pairs_tell_shares(domain);
            fail_msg("not everybody has a share");
        }
        domain_retry(domain); /* a stale alert and three rounds without an answer end a join */
    }
}

bool pairs_have_shares(struct net *net, void *user)
{
    const struct domain *domain = user;
    const struct iotsec_registry_poly *poly = &domain->manager->registry->durable.poly;
    size_t i;

    (void)net;
    for (i = 0; i < domain->count; i++) {
        const struct node *device = domain->devices[i];

        if (domain_has(domain, i) &&
            (!device->powered || device->share_generation != poly->generation ||
             device->device.revoked_count - device->device.revoked_before != poly->revoked_count)) {
            return false;
        }
    }
    return true;
}

void pairs_tell_shares(const struct domain *domain)
{
    size_t i;
    size_t k;

    print_message("the manager's generation is %u, with %u revocations\n", (unsigned)manager_generation(domain->manager),
                  domain->manager->registry->durable.poly.revoked_count);
    for (i = 0; i < domain->count; i++) {
        const struct node *device = domain->devices[i];

        print_message("%s%s%s: generation %u, next %u with %u of it, %u and %u revocations;", device->name,
                      domain_has(domain, i) ? "" : " (out)", device->joined ? "" : " (not joined)",
                      (unsigned)device->share_generation, (unsigned)device->device.share[1].generation,
                      device->device.share[1].held, device->device.revoked_before, device->device.revoked_count);
        for (k = 0; k < device->event_count; k++) {
            if (device->event_peers[k] == NULL) {
                print_message(" %d/%s", device->events[k].kind, iotsec_status_name(device->events[k].reason));
            }
        }
        print_message("\n");
    }
}

void pairs_tell_unanswered(const struct net *net)
{
    size_t i;
    size_t k;
    unsigned shown = 0;

    for (i = 0; i < net->node_count; i++) {
        const struct node *node = net->nodes[i];

        for (k = 0; k < node->question_count && shown < 10; k++) {
            const struct node_question *question = &node->questions[k];
            size_t e;

            if (question->answered || question->given_up) {
                continue;
            }
            shown++;
            print_message("%s to %s: %u tries, the last one %s; session %s, %s at the other end, %s;", node->name,
                          question->peer->name, question->tries, iotsec_status_name(question->status),
                          node_pair_session(node, question->peer) != NULL ? "here" : "none",
                          node_pair_session(question->peer, node) != NULL ? "one" : "none",
                          node_same_pair_session(node, question->peer) ? "the same" : "not the same");
            for (e = 0; e < node->event_count; e++) {
                if (node->event_peers[e] == question->peer) {
                    print_message(" %d/%s", node->events[e].kind, iotsec_status_name(node->events[e].reason));
                }
            }
            print_message("\n");
        }
    }
}

void pairs_check(struct domain *domain)
{
    struct net *net = domain->net;
    size_t i;
    size_t k;

    for (i = 0; i < domain->count; i++) {
        for (k = 0; k < domain->count; k++) {
            if (i != k && domain_has(domain, i) && domain_has(domain, k)) {
                node_ask(domain->devices[i], domain->devices[k]);
            }
        }
    }
    if (!net_run_until(net, net_answered, NULL, 5 * MINUTE)) {
        pairs_tell_unanswered(net);
        fail_msg("%u questions have no answer", net_unanswered(net));
    }
}

unsigned pairs_datagrams_of(const struct net *net, size_t first, const struct node *node)
{
    unsigned count = 0;
    size_t i;

    for (i = first; i < net->tap_count; i++) {
        count += net->tap[i].sender == node || iotsec_addr_equal(&net->tap[i].to, &node->addr);
    }
    return count;
}

size_t pairs_share_bytes(const struct net *net, size_t first, const struct node *node)
{
    size_t bytes = 0;
    size_t i;

    for (i = first; i < net->tap_count; i++) {
        const struct net_datagram *datagram = &net->tap[i];
        size_t at = 0;

        while (datagram->sender == node && at + IOTSEC_RECORD_HEADER_BYTES <= datagram->len) {
            size_t record = IOTSEC_RECORD_HEADER_BYTES + (size_t)iotsec_get_u16(datagram->data + at + 11);

            bytes += datagram->data[at] == IOTSEC_CONTENT_MASTER_KEY_DATA ? record : 0;
            at += record;
        }
    }
    return bytes;
}

void pairs_all_of_generation(const struct node *device, uint32_t generation)
{
    uint16_t i;

    for (i = 0; i < device->device_config.pair_count; i++) {
        assert_true(device->pairs[i].session == 0 || device->pairs[i].generation == generation);
    }
}
