/* SPDX-License-Identifier: BSD-3-Clause */
/* Somebody who keeps every key it ever held, derives what can be derived, and tries it on what is in the air. */
#ifndef IOTSEC_TESTS_SPY_H
#define IOTSEC_TESTS_SPY_H

#include "net.h"

#define SPY_KEYS_MAX 512

struct spy {
    uint8_t teks[SPY_KEYS_MAX][16];
    size_t count;
    uint16_t group_id;
    struct iotsec_csb csb; /* of the holder, when it was last looked at */
    const struct iotsec_hal *hal;
};

void spy_init(struct spy *spy, const struct node *holder, uint16_t group_id);
/* Takes over what the holder has of the group now: its keys, and those of so many steps ahead. */
void spy_learn(struct spy *spy, const struct node *holder, unsigned steps);
/* Whether any key opens any record of the datagram, which was sent to the group. */
bool spy_opens(const struct spy *spy, const struct net_datagram *datagram);
/* Group records among the tap's datagrams from `first` up to `last`, and how many of them open. */
unsigned spy_count(const struct spy *spy, const struct net *net, size_t first, size_t last, unsigned *opened);
/* A record as the holder could send it: under its key, as `sender`, with `counter`. Returns its length. */
size_t spy_forge(const struct spy *spy, uint16_t sender, uint32_t counter, uint8_t *out, size_t size, const void *content,
                 size_t len);

#endif
