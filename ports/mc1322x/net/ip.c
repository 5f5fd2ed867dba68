/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who gets a datagram: we, the next hop, or every node in the PAN.
 *
 *     down   each datagram that a node sends upwards, away from its own subtree, leaves a route back to it in every node on
 *            its way: "through the neighbour that this came from"
 *     up     everything without a route goes to the neighbour that was joined through
 *
 * What has begun to go down does not turn round: a datagram never goes back to the neighbour that it came from. A longer
 * circle, which takes stale routes in three nodes, ends with the hop limit.
 *
 * Multicast over hops is sent on once by everybody (RFC 7731's seeds, without its timers): each datagram carries the
 * sequence number of its originator in an RFC 4944 broadcast header.
 */
#include <string.h>

#include "base/bytes.h"
#include "fragment.h"
#include "linksec.h"

#define HOP_LIMIT 64u
#define ROUTE_MS (3u * 3600u * 1000u)  /* a device that has nothing else to say sends STATUS every hour */
#define ORIGINATOR_MS 10000u           /* longer than a datagram stays in the network */
#define ORIGINATOR_WINDOW 32u
#define NO_NEIGHBOUR 0xFFFFu
#define SCOPE_LINK 2u
#define ECHO_REQUEST 128u
#define ECHO_REPLY 129u
#define ECHO_BYTES 8u
#define NEVER UINT32_MAX
#ifndef NET_ECHO
#define NET_ECHO 0 /* 1: answers pings; 190 bytes */
#endif

/* ---- Addresses ---- */

static bool is_link_local(const uint8_t ip[16])
{
    return memcmp(ip, lowpan_link_local, 8) == 0;
}

static bool is_group(const uint8_t ip[16])
{
    return ip[0] == 0xFF;
}

static bool is_link_group(const uint8_t ip[16])
{
    return is_group(ip) && (ip[1] & 15u) == SCOPE_LINK;
}

/* ff02::1 and ff02::2, the last byte alike. */
static bool is_all(const uint8_t ip[16], uint8_t last)
{
    static const uint8_t all[15] = { 0xFF, 0x02 };

    return memcmp(ip, all, sizeof all) == 0 && ip[15] == last;
}

static bool in_prefix(const struct net *net, const uint8_t ip[16])
{
    return (net->flags & NET_HAS_PREFIX) != 0 && memcmp(ip, net->prefix, 8) == 0;
}

static bool is_own_link(const struct net *net, const uint8_t link[8])
{
    return frame_same(link, net->own) || frame_same(link, net->own_short);
}

static bool is_own(const struct net *net, const uint8_t ip[16])
{
    return (is_link_local(ip) || in_prefix(net, ip)) && is_own_link(net, ip + 8);
}

static void set_addr(struct iotsec_addr *addr, const uint8_t *prefix, const uint8_t iid[8])
{
    memset(addr, 0, sizeof *addr);
    memcpy(addr->ip, prefix, 8);
    memcpy(addr->ip + 8, iid, 8);
    addr->interface = is_link_local(addr->ip) || is_group(addr->ip) ? NET_INTERFACE : 0;
}

void net_link_local_of(const uint8_t eui64[8], struct iotsec_addr *addr)
{
    uint8_t link[8];

    frame_turn_eui64(link, eui64);
    set_addr(addr, lowpan_link_local, link);
}

void net_link_local(const struct net *net, struct iotsec_addr *addr)
{
    set_addr(addr, lowpan_link_local, net->own);
}

bool net_address(const struct net *net, struct iotsec_addr *addr)
{
    set_addr(addr, net->prefix, net->own_short);
    return (net->flags & NET_HAS_PREFIX) != 0;
}

/* ---- Setting up ---- */

static void set_flag(struct net *net, unsigned flag, bool on)
{
    net->flags = (uint8_t)(on ? net->flags | flag : net->flags & ~flag);
}

static bool config_is_sound(const struct net_config *config)
{
    return config->buffer_count != 0 && config->datagram_size >= NET_DATAGRAM_MIN && config->datagram_size <= NET_DATAGRAM_MAX &&
           config->datagram_size % 8 == 0 && (config->level == NET_ENC_MIC_32 || config->level == NET_ENC_MIC_64) &&
           config->flood_copies != 0 && config->counter_block != 0;
}

static void clear(void *table, size_t count, size_t size)
{
    if (count != 0) {
        memset(table, 0, count * size);
    }
}

static void clear_tables(const struct net_config *config)
{
    clear(config->buffers, config->buffer_count, sizeof config->buffers[0]);
    clear(config->neighbours, config->neighbour_count, sizeof config->neighbours[0]);
    clear(config->routes, config->route_count, sizeof config->routes[0]);
    clear(config->originators, config->originator_count, sizeof config->originators[0]);
    clear(config->groups, config->group_count, sizeof config->groups[0]);
}

int net_init(struct net *net, const struct net_config *config, uint16_t pan_id, uint32_t now_ms)
{
    memset(net, 0, sizeof *net);
    frame_turn_eui64(net->own, config->eui64);
    if (!config_is_sound(config) || frame_is_short(net->own)) {
        return NET_ERR_ARGUMENT;
    }
    clear_tables(config);
    net->config = config;
    net->now = now_ms;
    net->counter = net->bound = config->counter;
    net->random = iotsec_get_u32(net->own) ^ iotsec_get_u32(net->own + 4) ^ config->counter;
    /* after a restart neighbours still know the numbers of before: begin somewhere else */
    net->flood_sequence = (uint8_t)fragment_pause(net);
    net->tag = (uint16_t)(net->random >> 8);
    return net_set_address(net, pan_id, NET_NO_SHORT_ADDRESS, NULL);
}

void net_wipe(struct net *net)
{
    if (net->config != NULL) { /* a second time is harmless */
        clear_tables(net->config);
        iotsec_wipe(net->config->datagrams, (size_t)net->config->buffer_count * net->config->datagram_size);
    }
    iotsec_wipe(net, sizeof *net);
}

int net_set_address(struct net *net, uint16_t pan_id, uint16_t short_address, const uint8_t prefix[8])
{
    static const uint8_t none[8] = { 0 };

    if (pan_id == 0xFFFFu || short_address == 0xFFFFu) {
        return NET_ERR_ARGUMENT;
    }
    net->pan_id = pan_id;
    memcpy(net->own_short, net->own, 8);
    if (short_address != NET_NO_SHORT_ADDRESS) {
        frame_from_short(net->own_short, short_address);
    }
    memcpy(net->prefix, prefix != NULL ? prefix : none, 8);
    set_flag(net, NET_HAS_PREFIX, !frame_same(net->prefix, none));
    return NET_OK;
}

void net_set_default_route(struct net *net, const uint8_t eui64[8])
{
    set_flag(net, NET_HAS_DEFAULT, eui64 != NULL);
    if (eui64 != NULL) {
        frame_turn_eui64(net->default_route, eui64);
    }
}

void net_join_through(struct net *net, const uint8_t eui64[8])
{
    static const uint8_t any[8] = { 0 };

    set_flag(net, NET_JOINING | NET_KEY_RESTS, eui64 != NULL);
    if (eui64 != NULL) {
        frame_turn_eui64(net->join_peer, eui64);
        set_flag(net, NET_JOIN_ANY, frame_same(eui64, any));
    }
}

void net_set_forwarding(struct net *net, bool on)
{
    set_flag(net, NET_FORWARDING, on);
}

void net_join_open(struct net *net, bool open)
{
    set_flag(net, NET_JOIN_OPEN, open);
}

/* ---- Groups ---- */

static struct net_group *find_group(const struct net *net, const uint8_t ip[16])
{
    uint8_t i;

    for (i = 0; i < net->config->group_count; i++) {
        if (memcmp(net->config->groups[i].ip, ip, 16) == 0) {
            return &net->config->groups[i];
        }
    }
    return NULL;
}

int net_group_join(struct net *net, const uint8_t group[16])
{
    static const uint8_t none[16] = { 0 };
    struct net_group *place;

    if (!is_group(group)) {
        return NET_ERR_ARGUMENT;
    }
    if (find_group(net, group) == NULL) {
        place = find_group(net, none);
        if (place == NULL) {
            return NET_ERR_FULL;
        }
        memcpy(place->ip, group, 16);
    }
    return NET_OK;
}

void net_group_leave(struct net *net, const uint8_t group[16])
{
    struct net_group *place = find_group(net, group);

    if (place != NULL) {
        memset(place, 0, sizeof *place);
    }
}

static bool is_member(const struct net *net, const uint8_t ip[16])
{
    return is_all(ip, 1) || (is_all(ip, 2) && (net->flags & NET_FORWARDING) != 0) || find_group(net, ip) != NULL;
}

/* Whether a multicast datagram is here for the first time. Its number is remembered. */
static enum net_drop note_sequence(struct net *net, const uint8_t iid[8], uint8_t sequence)
{
    struct net_originator *place = NULL;
    uint8_t ahead;
    uint8_t i;

    for (i = 0; i < net->config->originator_count; i++) {
        struct net_originator *originator = &net->config->originators[i];
        bool gone = originator->seen == 0 || net->now - originator->used_at >= ORIGINATOR_MS;

        if (frame_same(originator->iid, iid) && !gone) {
            place = originator;
            break;
        }
        if (gone) {
            place = originator;
        }
    }
    if (place == NULL) {
        return NET_DROP_FULL;
    }
    if (i == net->config->originator_count) {
        memcpy(place->iid, iid, 8);
        place->last = sequence;
        place->seen = 0;
    }
    ahead = (uint8_t)(sequence - place->last);
    if (place->seen != 0 && ahead != 0 && ahead < 0x80u) {
        place->seen = ahead < ORIGINATOR_WINDOW ? place->seen << ahead : 0;
        place->last = sequence;
        ahead = 0;
    }
    ahead = (uint8_t)-ahead; /* behind, from here on */
    if (ahead >= ORIGINATOR_WINDOW || (place->seen >> ahead & 1u) != 0) {
        return NET_DROP_SEEN;
    }
    place->seen |= (uint32_t)1 << ahead;
    place->used_at = net->now;
    return NET_DROP_COUNT;
}

/* ---- Routes ---- */

static bool is_default(const struct net *net, const uint8_t link[8])
{
    return (net->flags & NET_HAS_DEFAULT) != 0 && frame_same(net->default_route, link);
}

static struct net_route *find_route(const struct net *net, const uint8_t iid[8])
{
    uint8_t i;

    for (i = 0; i < net->config->route_count; i++) {
        struct net_route *route = &net->config->routes[i];

        if (route->neighbour != 0 && net->now - route->used_at < ROUTE_MS && frame_same(route->iid, iid)) {
            return route;
        }
    }
    return NULL;
}

/* A unicast datagram of `ip` came from that neighbour. From above, it says that `ip` is not below us. */
static void learn_route(struct net *net, const uint8_t ip[16], uint16_t neighbour)
{
    struct net_route *place = NULL;
    uint32_t best = 0;
    uint8_t i;

    if (!in_prefix(net, ip) || neighbour == NO_NEIGHBOUR) {
        return;
    }
    /* its own place, a free one, or the one that was not used for longest */
    for (i = 0; i < net->config->route_count; i++) {
        struct net_route *route = &net->config->routes[i];
        uint32_t age = route->neighbour != 0 ? net->now - route->used_at : NEVER - 1;

        if (route->neighbour != 0 && frame_same(route->iid, ip + 8)) {
            age = NEVER;
        }
        if (place == NULL || age > best) {
            place = route;
            best = age;
        }
    }
    if (is_default(net, net->config->neighbours[neighbour].link)) {
        if (best == NEVER) {
            place->neighbour = 0;
        }
    } else if (place != NULL) {
        memcpy(place->iid, ip + 8, 8);
        place->neighbour = (uint16_t)(neighbour + 1u);
        place->used_at = net->now;
    }
}

/*
 * The next hop towards a unicast address, for a datagram that came from `from` (NULL: it is ours). Where nobody is known, and
 * what came from above, goes to the address itself: it may be in range, and nobody else would take the frame.
 */
static const uint8_t *next_hop(const struct net *net, const uint8_t ip[16], const uint8_t *from)
{
    bool local = in_prefix(net, ip);
    struct net_route *route = local ? find_route(net, ip + 8) : NULL;
    const uint8_t *hop = local || is_link_local(ip) ? ip + 8 : NULL;

    if (route != NULL) {
        hop = net->config->neighbours[route->neighbour - 1].link;
        if (from != NULL && frame_same(hop, from)) {
            route->neighbour = 0; /* it has come back: that neighbour does not lead there */
            return NULL;
        }
    } else if ((net->flags & NET_HAS_DEFAULT) != 0 && !is_link_local(ip) && (from == NULL || !is_default(net, from))) {
        hop = net->default_route;
    }
    return hop;
}

/* ---- In the clear ---- */

static bool is_peer(const struct net *net, const uint8_t link[8])
{
    return (net->flags & NET_JOINING) != 0 && ((net->flags & NET_JOIN_ANY) != 0 || frame_same(net->join_peer, link));
}

static bool is_join_port(const struct net *net, const uint8_t *port)
{
    return iotsec_get_u16(port) == net->config->join_port;
}

/* Whether a datagram may have come in the clear. That its source is the sender of the frame has been seen. */
static bool may_come_plain(const struct net *net, const uint8_t *header, const uint8_t from[8])
{
    bool group = is_link_group(header + IP_TARGET);

    if (header[IP_NEXT] != LOWPAN_UDP || !is_link_local(header + IP_SOURCE) || !(group || is_link_local(header + IP_TARGET))) {
        return false;
    }
    return ((net->flags & NET_JOIN_OPEN) != 0 && is_join_port(net, header + UDP_TARGET)) ||
           (!group && is_join_port(net, header + UDP_SOURCE) && is_peer(net, from));
}

/* How a datagram of ours goes: 0 in the clear, WAY_SECURED, or NET_ERR_NO_KEY if it cannot be secured and has to be. */
static int way_out(const struct net *net, const uint8_t *header, const uint8_t to[8])
{
    bool one_hop = is_link_local(header + IP_TARGET);
    /* everybody is a peer only as long as any is */
    bool peer = (one_hop || is_all(header + IP_TARGET, 1) || is_all(header + IP_TARGET, 2)) && is_peer(net, to);

    if (one_hop && (net->flags & NET_JOIN_OPEN) != 0 && is_join_port(net, header + UDP_SOURCE) &&
        (net->used_key == 0 || !peer)) {
        return 0;
    }
    peer = peer && is_join_port(net, header + UDP_TARGET);
    if (net->used_key != 0 && !(peer && (net->flags & NET_KEY_RESTS) != 0)) {
        return WAY_SECURED;
    }
    return peer ? 0 : NET_ERR_NO_KEY;
}

/* ---- Sending ---- */

int net_send(struct net *net, uint16_t port, const struct iotsec_addr *to, const uint8_t *data, size_t len)
{
    bool group = is_group(to->ip);
    bool one_hop = is_link_local(to->ip) || is_link_group(to->ip);
    uint8_t header[NET_HEADER_BYTES] = { 0x60 };
    struct datagram datagram;
    struct iotsec_addr own;
    struct way way;
    const uint8_t *hop = frame_broadcast;
    int out;

    if (port == 0 || to->port == 0 || (group && (to->ip[1] & 15u) < SCOPE_LINK)) {
        return NET_ERR_ARGUMENT;
    }
    if (len > net->config->datagram_size - NET_HEADER_BYTES) {
        return NET_ERR_TOO_LONG;
    }
    net_link_local(net, &own);
    if (!one_hop && !net_address(net, &own)) {
        return NET_ERR_NO_ADDRESS;
    }
    datagram.header = header;
    datagram.data = len != 0 ? (uint8_t *)(uintptr_t)data : header; /* it is only read */
    datagram.len = len;
    iotsec_put_u16(header + IP_LENGTH, (uint16_t)(len + NET_HEADER_BYTES - LOWPAN_IPV6_BYTES));
    memcpy(header + UDP_LENGTH, header + IP_LENGTH, 2);
    header[IP_NEXT] = LOWPAN_UDP;
    header[IP_HOPS] = HOP_LIMIT;
    memcpy(header + IP_SOURCE, own.ip, 16);
    memcpy(header + IP_TARGET, to->ip, 16);
    iotsec_put_u16(header + UDP_SOURCE, port);
    iotsec_put_u16(header + UDP_TARGET, to->port);
    iotsec_put_u16(header + UDP_CHECKSUM, lowpan_checksum(&datagram));

    if (!group) {
        hop = is_own(net, to->ip) ? NULL : next_hop(net, to->ip, NULL);
    }
    if (hop == NULL) {
        return NET_ERR_NO_ROUTE;
    }
    out = way_out(net, header, hop);
    if (out < 0) {
        return out;
    }
    memcpy(way.link, hop, 8);
    way.flags = (uint8_t)out;
    if (group && !one_hop) {
        way.flags |= WAY_FLOOD;
        way.sequence = net->flood_sequence++;
    }
    return fragment_send(net, &datagram, &way, group ? net->config->flood_copies : 1, 0);
}

/* ---- Receiving ---- */

/*
 * What becomes of a datagram: NET_DROP_COUNT, or why nothing did. `*taken` is set if the buffer that it lies in (NULL: none)
 * is in use from then on.
 */

static enum net_drop deliver(struct net *net, struct datagram *datagram, const struct way *way)
{
    uint8_t *header = datagram->header;
    struct iotsec_addr from;
    struct iotsec_addr to;

    if (header[IP_NEXT] != LOWPAN_UDP) {
        return NET_DROP_DISPATCH;
    }
    if (lowpan_checksum(datagram) != iotsec_get_u16(header + UDP_CHECKSUM)) {
        return NET_DROP_CHECKSUM;
    }
    set_addr(&from, header + IP_SOURCE, header + IP_SOURCE + 8);
    set_addr(&to, header + IP_TARGET, header + IP_TARGET + 8);
    from.port = iotsec_get_u16(header + UDP_SOURCE);
    to.port = iotsec_get_u16(header + UDP_TARGET);
    net->stats.received++;
    net->config->callbacks->received(net->config->user, &from, &to, datagram->data, datagram->len, way->flags & WAY_SECURED);
    return NET_DROP_COUNT;
}

#if NET_ECHO
/* Answers an echo request. Its checksum is right afterwards if it was before. */
static enum net_drop echo(struct net *net, struct datagram *datagram)
{
    uint8_t *data = datagram->data;
    struct way way = { { 0 }, WAY_SECURED, 0 };
    const uint8_t *hop;
    uint8_t source[16];
    uint32_t sum;

    if (datagram->len < ECHO_BYTES || data[0] != ECHO_REQUEST) {
        return NET_DROP_DISPATCH;
    }
    data[0] = ECHO_REPLY;
    sum = (uint32_t)(uint16_t)~iotsec_get_u16(data + 2) + (ECHO_REPLY - ECHO_REQUEST) * 0x0100u;
    iotsec_put_u16(data + 2, (uint16_t)~(sum + (sum >> 16)));
    memcpy(source, datagram->header + IP_SOURCE, 16);
    memcpy(datagram->header + IP_SOURCE, datagram->header + IP_TARGET, 16);
    memcpy(datagram->header + IP_TARGET, source, 16);
    datagram->header[IP_HOPS] = HOP_LIMIT;
    hop = next_hop(net, source, NULL);
    if (hop == NULL) {
        return NET_DROP_NO_ROUTE;
    }
    memcpy(way.link, hop, 8);
    return fragment_send(net, datagram, &way, 1, 0) == NET_OK ? NET_DROP_COUNT : NET_DROP_FULL;
}
#endif

/* Sends somebody else's datagram on. */
static enum net_drop pass_on(struct net *net, struct datagram *datagram, struct net_buffer *buffer, const uint8_t link[8],
                             const struct way *from, bool *taken)
{
    bool flood = (from->flags & WAY_FLOOD) != 0;
    uint8_t copies = flood ? net->config->flood_copies : 1;
    uint32_t delay = flood ? fragment_pause(net) : 0;
    struct way way = *from;

    memcpy(way.link, link, 8);
    way.flags &= WAY_SECURED | WAY_FLOOD;
    datagram->header[IP_HOPS]--;
    if (buffer != NULL) {
        fragment_send_buffer(net, buffer, &way, copies, delay);
        *taken = true;
    } else if (fragment_send(net, datagram, &way, copies, delay) != NET_OK) {
        return NET_DROP_FULL;
    }
    net->stats.forwarded++;
    return NET_DROP_COUNT;
}

static enum net_drop take_group(struct net *net, struct datagram *datagram, struct net_buffer *buffer, const struct way *from,
                                bool *taken)
{
    bool member = is_member(net, datagram->header + IP_TARGET);
    enum net_drop reason;

    if (is_link_group(datagram->header + IP_TARGET)) {
        return member ? deliver(net, datagram, from) : NET_DROP_GROUP;
    }
    if ((from->flags & WAY_FLOOD) != 0) {
        if (!in_prefix(net, datagram->header + IP_SOURCE)) {
            return NET_DROP_ADDRESS;
        }
        reason = note_sequence(net, datagram->header + IP_SOURCE + 8, from->sequence);
        if (reason != NET_DROP_COUNT) {
            return reason;
        }
        if ((net->flags & NET_FORWARDING) != 0 && datagram->header[IP_HOPS] > 1) {
            /* who takes it changes it, so that needs a copy */
            reason = pass_on(net, datagram, member ? NULL : buffer, frame_broadcast, from, taken);
            if (reason != NET_DROP_COUNT) {
                fragment_drop(net, reason);
            }
        }
    }
    return member ? deliver(net, datagram, from) : NET_DROP_GROUP;
}

static enum net_drop take_unicast(struct net *net, struct datagram *datagram, struct net_buffer *buffer, const struct way *from,
                                  uint16_t neighbour, bool *taken)
{
    uint8_t *target = datagram->header + IP_TARGET;
    const uint8_t *hop;

    learn_route(net, datagram->header + IP_SOURCE, neighbour);
    if (is_own(net, target)) {
#if NET_ECHO
        if (datagram->header[IP_NEXT] == LOWPAN_ICMPV6) {
            return echo(net, datagram);
        }
#endif
        return deliver(net, datagram, from);
    }
    if ((net->flags & NET_FORWARDING) == 0 || (from->flags & WAY_BROADCAST) != 0 || datagram->header[IP_HOPS] < 2 ||
        is_link_local(datagram->header + IP_SOURCE) || is_link_local(target)) {
        return NET_DROP_NOT_FORWARDED;
    }
    hop = next_hop(net, target, from->link);
    return hop == NULL ? NET_DROP_NO_ROUTE : pass_on(net, datagram, buffer, hop, from, taken);
}

/* A whole datagram. */
static enum net_drop take_datagram(struct net *net, struct datagram *datagram, struct net_buffer *buffer, const struct way *from,
                                   uint16_t neighbour, bool *taken)
{
    static const uint8_t unspecified[16] = { 0 };
    uint8_t *header = datagram->header;
    const uint8_t *source = header + IP_SOURCE;
    bool secured = (from->flags & WAY_SECURED) != 0;

    if (is_group(source) || is_own(net, source) || memcmp(source, unspecified, 16) == 0 ||
        (is_link_local(source) && !frame_same(source + 8, from->link))) {
        return NET_DROP_ADDRESS;
    }
    if (!secured && !may_come_plain(net, header, from->link)) {
        return NET_DROP_PLAINTEXT;
    }
    /* what stands for a checksum that was left out is the link layer's MIC; there is none in the clear */
    if (secured && header[IP_NEXT] == LOWPAN_UDP && iotsec_get_u16(header + UDP_CHECKSUM) == 0) {
        iotsec_put_u16(header + UDP_CHECKSUM, lowpan_checksum(datagram));
    }
    return is_group(header + IP_TARGET) ? take_group(net, datagram, buffer, from, taken)
                                        : take_unicast(net, datagram, buffer, from, neighbour, taken);
}

static enum net_drop take_payload(struct net *net, uint8_t *in, size_t len, struct way *from, const uint8_t target[8],
                                  uint16_t neighbour)
{
    uint8_t header[NET_HEADER_BYTES];
    struct net_buffer *buffer = NULL;
    struct datagram datagram;
    enum net_drop reason;
    bool taken = false;
    size_t used = len;

    if (len > 2 && in[0] == LOWPAN_BROADCAST) {
        from->flags |= WAY_FLOOD;
        from->sequence = in[1];
        in += 2;
        used = len -= 2;
    }
    if (len != 0 && (in[0] & 0xD8u) == LOWPAN_FRAGMENT) {
        buffer = fragment_take(net, from, target, in, len, &reason);
        if (buffer == NULL) {
            return reason;
        }
        fragment_datagram(net, buffer, &datagram);
    } else {
        reason = lowpan_read(header, in, &used, 0, from->link, target, fragment_prefix(net));
        if (reason != NET_DROP_COUNT) {
            return reason;
        }
        datagram.header = header;
        datagram.data = in + used;
        datagram.len = len - used;
    }
    reason = take_datagram(net, &datagram, buffer, from, neighbour, &taken);
    if (buffer != NULL && !taken) {
        fragment_release(buffer);
    }
    return reason;
}

void net_frame(struct net *net, uint8_t *data, size_t len)
{
    uint16_t neighbour = NO_NEIGHBOUR;
    enum net_drop reason = NET_DROP_COUNT;
    struct frame frame;
    struct way from = { { 0 }, 0, 0 };

    net->stats.frames_in++;
    if (!frame_read(&frame, data, len)) {
        reason = NET_DROP_FRAME;
    } else if (frame.pan_id != net->pan_id ||
               !(is_own_link(net, frame.target) || frame_same(frame.target, frame_broadcast))) {
        reason = NET_DROP_NOT_OURS;
    } else if (is_own_link(net, frame.source)) {
        reason = NET_DROP_ADDRESS;
    } else if (frame.level != 0) {
        reason = linksec_open(net, &frame, data, &len, &neighbour);
        from.flags = WAY_SECURED;
    } else if ((net->flags & (NET_JOIN_OPEN | NET_JOINING)) == 0) {
        reason = NET_DROP_PLAINTEXT;
    }
    if (reason == NET_DROP_COUNT) {
        if (frame_same(frame.target, frame_broadcast)) {
            from.flags |= WAY_BROADCAST;
        }
        memcpy(from.link, frame.source, 8);
        reason = take_payload(net, data + frame.header_len, len - frame.header_len, &from, frame.target, neighbour);
    }
    if (reason != NET_DROP_COUNT) {
        fragment_drop(net, reason);
    }
}

uint32_t net_poll(struct net *net, uint32_t now_ms)
{
    net->now = now_ms;
    fragment_pump(net);
    return fragment_tick(net);
}

const char *net_drop_name(enum net_drop drop)
{
    /* one after another: a table of addresses would take as much again */
    static const char names[] = "frame\0not_ours\0plaintext\0key\0replay\0mic\0neighbours\0dispatch\0header\0context\0fragment\0"
                                "timeout\0full\0too_long\0address\0checksum\0not_forwarded\0no_route\0seen\0group\0counter\0"
                                "crypto\0unknown";
    const char *name = names;
    unsigned i;

    for (i = 0; i < (unsigned)drop && i < NET_DROP_COUNT; i++) {
        name += strlen(name) + 1;
    }
    return name;
}
