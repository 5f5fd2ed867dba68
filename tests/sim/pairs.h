/* SPDX-License-Identifier: BSD-3-Clause */
/* A domain whose devices have shares of a polynomial and talk to each other. */
#ifndef IOTSEC_TESTS_PAIRS_H
#define IOTSEC_TESTS_PAIRS_H

#include "domain.h"

/* A manager; devices that are added have so many places for others, join no group, report every five minutes and let an
 * old share serve for ten. */
void pairs_init(struct domain *domain, struct net *net, size_t devices, uint16_t places, uint8_t degree_max);
/* So many devices with their shares of a polynomial of that degree. */
void pairs_start(struct domain *domain, struct net *net, size_t devices, uint16_t places, uint8_t degree);
/* For net_run_until: everybody has the share of the manager's generation, and all that is revoked. */
bool pairs_have_shares(struct net *net, void *domain);
/* Waits for that, and fails if it takes longer. */
void pairs_wait(struct domain *domain, uint64_t ms);
/* Every two have an answer from each other, under the manager's generation. */
void pairs_check(struct domain *domain);
/* What is open is told, for when a test fails. */
void pairs_tell_shares(const struct domain *domain);
void pairs_tell_unanswered(const struct net *net);
/* Datagrams among the tap's, from `first` on, that a node has sent or was sent. */
unsigned pairs_datagrams_of(const struct net *net, size_t first, const struct node *node);
/* Bytes that a node has sent in records of type 28. */
size_t pairs_share_bytes(const struct net *net, size_t first, const struct node *node);
/* Every session of the device with another one is of that generation. */
void pairs_all_of_generation(const struct node *device, uint32_t generation);

#endif
