/* SPDX-License-Identifier: BSD-3-Clause */
/* A manager, one group and its members, as most scenarios need them. */
#ifndef IOTSEC_TESTS_DOMAIN_H
#define IOTSEC_TESTS_DOMAIN_H

#include "net.h"

#define DOMAIN_GROUP 7
#define DOMAIN_MAX 128

struct domain {
    struct net *net;
    struct node *manager;
    struct node *devices[DOMAIN_MAX];
    bool out[DOMAIN_MAX]; /* evicted, gone or away: nobody expects anything of it */
    size_t count;
    /* Of devices that are made from now on: */
    bool groupless;       /* they join the domain and no group */
    uint16_t pairs;       /* places for others that each talks to; 0: none */
    uint8_t degree_max;
    uint32_t status_interval_ms;
    uint32_t share_overlap_ms;
};

/* A manager that serves the group. Nobody is there yet. */
void domain_init(struct domain *domain, struct net *net);
/* The same with room for so many. */
void domain_init_for(struct domain *domain, struct net *net, size_t devices);
/* Makes one more device, lets it in and starts it. */
struct node *domain_add(struct domain *domain);
/* Talks until all hold the same key. */
void domain_agree(struct domain *domain);
/* So many of them, at once, and waits until they are in. */
void domain_start(struct domain *domain, struct net *net, size_t count);
void domain_out(struct domain *domain, const struct node *device);
void domain_back(struct domain *domain, const struct node *device);
bool domain_has(const struct domain *domain, size_t i);
/* For net_run_until: everybody is a member; everybody holds the manager's key. */
bool domain_joined(struct net *net, void *domain);
bool domain_current(struct net *net, void *domain);
/* Who fell out of a join joins again, as an application would. */
void domain_retry(struct domain *domain);
/* Everybody says something. Returns the percentage heard of what could be. */
unsigned domain_talk(struct domain *domain);
/* Without loss, everybody hears everybody, and all are current afterwards. */
void domain_check(struct domain *domain);

#endif
