/* SPDX-License-Identifier: BSD-3-Clause */
/* The buffers: datagrams that are put together from fragments (RFC 4944), and datagrams that wait to be sent. */
#ifndef MC1322X_NET_FRAGMENT_H
#define MC1322X_NET_FRAGMENT_H

#include "lowpan.h"

/* struct net's flags. */
#define NET_FORWARDING 0x01u
#define NET_JOIN_OPEN 0x02u
#define NET_JOINING 0x04u
#define NET_JOIN_ANY 0x08u /* with NET_JOINING: through whoever answers */
#define NET_HAS_PREFIX 0x10u
#define NET_HAS_DEFAULT 0x20u
#define NET_KEY_RESTS 0x40u /* to the join port of whom we join through */

/* How a datagram came, or goes. */
#define WAY_SECURED 0x01u   /* under a link-layer key */
#define WAY_FLOOD 0x02u     /* with a sequence number for multicast over hops */
#define WAY_BROADCAST 0x04u /* it came in a frame to all */
#define WAY_ENDED 0x08u     /* in a free buffer: of this datagram more fragments may come, for nothing */

struct way {
    uint8_t link[8];  /* from whom, or to whom */
    uint8_t flags;
    uint8_t sequence; /* WAY_FLOOD */
};

/* Sends a datagram `copies` times: at once if `delay` is 0, and the further ones after pauses. NET_OK: sent, or in a buffer. */
int fragment_send(struct net *net, const struct datagram *datagram, const struct way *way, uint8_t copies, uint32_t delay);
/* The same for one that lies in a buffer already. */
void fragment_send_buffer(struct net *net, struct net_buffer *buffer, const struct way *way, uint8_t copies, uint32_t delay);
/* Sends what is due. */
void fragment_pump(struct net *net);

/*
 * Takes a fragment, which `in` begins with. The buffer, if its datagram is complete now: it is the caller's until
 * fragment_release or fragment_send_buffer. NULL: it is not, or `*reason` is another one than NET_DROP_COUNT.
 */
struct net_buffer *fragment_take(struct net *net, const struct way *way, const uint8_t target[8], uint8_t *in, size_t len,
                                 enum net_drop *reason);
void fragment_release(struct net_buffer *buffer);
/* The datagram in a buffer. */
void fragment_datagram(const struct net *net, const struct net_buffer *buffer, struct datagram *datagram);
/* Gives up what did not come in time; milliseconds until something is due. */
uint32_t fragment_tick(struct net *net);

/* A pause that keeps neighbours from sending the same thing at once. */
uint32_t fragment_pause(struct net *net);
void fragment_drop(struct net *net, enum net_drop reason);
/* Context 0, or NULL. */
const uint8_t *fragment_prefix(const struct net *net);

#endif
