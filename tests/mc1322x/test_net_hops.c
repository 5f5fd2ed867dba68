/* SPDX-License-Identifier: BSD-3-Clause */
/* Over hops: routes, multicast, and what keeps both from going round. */
#include "rig.h"

#include "base/bytes.h"

static unsigned frames_on_air(void)
{
    unsigned sum = 0;
    unsigned i;

    for (i = 0; i < RIG_NODES; i++) {
        sum += rig.nodes[i].net.stats.frames_out;
    }
    return sum;
}

/* ---- Unicast ---- */

static void test_line_up_and_down(void **state)
{
    static const unsigned losses[] = { 0, 20 };
    static uint8_t large[900];
    struct iotsec_addr to;
    size_t i;
    unsigned turn;

    (void)state;
    for (i = 0; i < sizeof large; i++) {
        large[i] = (uint8_t)(i * 3);
    }
    for (i = 0; i < 2; i++) {
        for (turn = 1; turn <= 20; turn++) {
            unsigned far = 2 + turn % 3;
            unsigned got = 0;

            rig_start(turn);
            rig_line(far + 1);
            rig.loss = losses[i];
            /* up, which leaves the way back */
            to = rig_address(0, RIG_PORT);
            assert_int_equal(rig_say(far, &to, "up"), NET_OK);
            rig_run(100);
            assert_int_equal(rig_heard(0, "up"), 1);
            to = rig_address(far, RIG_PORT);
            assert_memory_equal(rig.nodes[0].received[0].from.ip, to.ip, 16);
            assert_int_equal(rig.nodes[0].received[0].secured, 1);
            /* and down, in one piece and in many */
            assert_int_equal(rig_say(0, &to, "down"), NET_OK);
            rig_run(100);
            assert_int_equal(rig_heard(far, "down"), 1);
            while (got == 0) { /* fragments are many, and each may be lost four times */
                assert_int_equal(net_send(&rig.nodes[0].net, RIG_PORT, &to, large, sizeof large), NET_OK);
                rig_run(4000);
                got = rig.nodes[far].received_count > 1;
            }
            assert_int_equal(rig.nodes[far].received[1].len, sizeof large);
            assert_memory_equal(rig.nodes[far].received[1].data, large, sizeof large);
            /* on its way it was nobody's */
            for (got = 1; got < far; got++) {
                assert_int_equal(rig.nodes[got].received_count, 0);
                assert_true(rig.nodes[got].net.stats.forwarded >= 3);
            }
        }
    }
}

/* From one end to the other, over the top, and back by the way that it left. */
static void test_across(void **state)
{
    struct iotsec_addr to;
    uint8_t eui64[8];

    (void)state;
    rig_start(1);
    /* 1 and 3 below 0, 2 below 1 */
    rig_member(0);
    rig_member(1);
    rig_member(2);
    rig_member(3);
    rig_eui64(0, eui64);
    net_set_default_route(&rig.nodes[3].net, eui64);
    rig.hears[0][1] = rig.hears[1][0] = rig.hears[1][2] = rig.hears[2][1] = rig.hears[0][3] = rig.hears[3][0] = true;
    to = rig_address(0, RIG_PORT);
    assert_int_equal(rig_say(3, &to, "here I am"), NET_OK);
    rig_run(50);
    to = rig_address(3, RIG_PORT);
    assert_int_equal(rig_say(2, &to, "across"), NET_OK);
    rig_run(100);
    assert_int_equal(rig_heard(3, "across"), 1);
    to = rig_address(2, RIG_PORT);
    assert_int_equal(rig_say(3, &to, "and back"), NET_OK);
    rig_run(100);
    assert_int_equal(rig_heard(2, "and back"), 1);
}

static void test_statuses(void **state)
{
    struct iotsec_addr to;
    uint8_t eui64[8] = { 2 };

    (void)state;
    rig_start(1);
    rig_member(1);
    rig_member(0);
    to = rig_address(1, RIG_PORT);
    assert_int_equal(rig_say(1, &to, "to myself"), NET_ERR_NO_ROUTE);
    to = rig_link_local(1, RIG_PORT);
    assert_int_equal(rig_say(1, &to, "to myself"), NET_ERR_NO_ROUTE);
    memset(to.ip, 0, 16);
    to.ip[0] = 0x20;
    assert_int_equal(rig_say(0, &to, "out of the domain, from its root"), NET_ERR_NO_ROUTE);
    assert_int_equal(rig_say(1, &to, "out of the domain"), NET_OK);
    to.port = 0;
    assert_int_equal(rig_say(1, &to, "no port"), NET_ERR_ARGUMENT);
    to = rig_group(1, 1, RIG_PORT);
    assert_int_equal(rig_say(1, &to, "interface-local"), NET_ERR_ARGUMENT);
    net_set_address(&rig.nodes[1].net, RIG_PAN, NET_NO_SHORT_ADDRESS, NULL);
    assert_false(net_address(&rig.nodes[1].net, &to));
    to = rig_address(0, RIG_PORT);
    assert_int_equal(rig_say(1, &to, "no address"), NET_ERR_NO_ADDRESS);
    assert_int_equal(net_set_address(&rig.nodes[1].net, 0xFFFF, 1, rig_prefix), NET_ERR_ARGUMENT);
    assert_int_equal(net_set_address(&rig.nodes[1].net, RIG_PAN, 0xFFFF, rig_prefix), NET_ERR_ARGUMENT);
    /* without a short address, the EUI-64 */
    assert_int_equal(net_set_address(&rig.nodes[1].net, RIG_PAN, NET_NO_SHORT_ADDRESS, rig_prefix), NET_OK);
    assert_true(net_address(&rig.nodes[1].net, &to));
    rig_link(1, eui64);
    assert_memory_equal(to.ip + 8, eui64, 8);
    assert_int_equal(net_group_join(&rig.nodes[1].net, to.ip), NET_ERR_ARGUMENT);
    assert_string_equal(net_drop_name(NET_DROP_REPLAY), "replay");
    assert_string_equal(net_drop_name(NET_DROP_CRYPTO), "crypto");
    assert_string_equal(net_drop_name(NET_DROP_COUNT), "unknown");
}

/* Nobody below knows the way: what goes down does not come back up, and ends at once. */
static void test_no_turning_round(void **state)
{
    struct iotsec_addr to;
    unsigned before;

    (void)state;
    rig_start(1);
    rig_line(4);
    to = rig_address(0, RIG_PORT);
    assert_int_equal(rig_say(3, &to, "up"), NET_OK);
    rig_run(100);
    /* node 1 was restarted, and knows nothing; node 0 still sends there, and node 1 tries whether it is near */
    rig_restart(1);
    rig_member(1);
    to = rig_address(3, RIG_PORT);
    before = frames_on_air();
    assert_int_equal(rig_say(0, &to, "down"), NET_OK);
    rig_run(500);
    assert_int_equal(frames_on_air() - before, 2);
    assert_int_equal(rig_heard(3, "down"), 0);
    /* one that is near is found */
    to = rig_address(2, RIG_PORT);
    assert_int_equal(rig_say(2, &(struct iotsec_addr){ { 0xFD, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0xFF, 0xFE, 0, 1, 1 }, RIG_PORT, 0 }, "up"),
                     NET_OK);
    rig_run(100);
    rig_restart(1);
    rig_member(1);
    assert_int_equal(rig_say(0, &to, "near"), NET_OK);
    rig_run(100);
    assert_int_equal(rig_heard(2, "near"), 1);
}

/* Default routes in a circle, and routes that lie: it ends. */
static void test_circles(void **state)
{
    struct iotsec_addr to;
    uint8_t eui64[8];
    unsigned i;

    (void)state;
    rig_start(1);
    for (i = 0; i < 3; i++) {
        rig_member(i);
        rig_eui64((i + 1) % 3, eui64);
        net_set_default_route(&rig.nodes[i].net, eui64);
        rig.hears[i][(i + 1) % 3] = rig.hears[(i + 1) % 3][i] = true;
    }
    rig_member(3);
    rig_eui64(0, eui64);
    net_set_default_route(&rig.nodes[3].net, eui64);
    rig.hears[3][0] = true;
    to = rig_address(0, RIG_PORT);
    to.ip[15] = 0x77;
    assert_int_equal(rig_say(3, &to, "round and round"), NET_OK);
    rig_run(2000);
    assert_int_equal(frames_on_air(), 64);
    rig_start(1);
    for (i = 0; i < 2; i++) {
        rig_member(i);
        rig_eui64(1 - i, eui64);
        net_set_default_route(&rig.nodes[i].net, eui64);
    }
    rig.hears[0][1] = rig.hears[1][0] = true;
    assert_int_equal(rig_say(0, &to, "to and fro"), NET_OK);
    rig_run(2000);
    assert_true(frames_on_air() <= 2);
}

static void test_not_forwarded(void **state)
{
    struct iotsec_addr to;

    (void)state;
    rig_start(1);
    rig_line(3);
    net_set_forwarding(&rig.nodes[1].net, false);
    to = rig_address(0, RIG_PORT);
    assert_int_equal(rig_say(2, &to, "up"), NET_OK);
    rig_run(100);
    assert_int_equal(rig_dropped(1), NET_DROP_NOT_FORWARDED);
    assert_int_equal(rig_heard(0, "up"), 0);
}

/* ---- Addresses that cannot be, and ways that are none ---- */

struct odd {
    unsigned number;
    const char *name;
    const char *source; /* NULL: node 0's, as `link_local` says */
    const char *target; /* NULL: node 2's beyond its neighbours */
    bool link_local;
    bool broadcast;
    bool flood;
    uint8_t hops;
    enum net_drop reason; /* NET_DROP_COUNT: sent on */
};

#define THERE NET_DROP_COUNT

/* In a secured frame from node 0 to node 1. */
static const struct odd odds[] = {
    { 1, "nothing is odd", NULL, NULL, false, false, false, 64, THERE },
    { 2, "link-local of somebody else", "fe800000000000000250c2fffea8dd99", "fe800000000000000250c2fffea8dd11", false, false, false, 64,
      NET_DROP_ADDRESS },
    { 3, "from a group", "ff050000000000000000000000000001", NULL, false, false, false, 64, NET_DROP_ADDRESS },
    { 4, "from us", "fd00000000000001000000fffe000102", NULL, false, false, false, 64, NET_DROP_ADDRESS },
    { 5, "from us, by the EUI-64", "fd000000000000010250c2fffea8dd11", NULL, false, false, false, 64, NET_DROP_ADDRESS },
    { 6, "from nobody", "00000000000000000000000000000000", NULL, false, false, false, 64, NET_DROP_ADDRESS },
    { 7, "to one, in a frame to all", NULL, NULL, false, true, false, 64, NET_DROP_NOT_FORWARDED },
    { 8, "the last hop", NULL, NULL, false, false, false, 2, THERE },
    { 9, "no hop left", NULL, NULL, false, false, false, 1, NET_DROP_NOT_FORWARDED },
    { 10, "no hop at all", NULL, NULL, false, false, false, 0, NET_DROP_NOT_FORWARDED },
    { 11, "from a link-local address, over hops", NULL, NULL, true, false, false, 64, NET_DROP_NOT_FORWARDED },
    { 12, "to somebody else's link-local address", NULL, "fe800000000000000250c2fffea8dd12", false, false, false, 64,
      NET_DROP_NOT_FORWARDED },
    { 13, "to nowhere, from above", NULL, "20010db8000000000000000000000001", false, false, false, 64, NET_DROP_NO_ROUTE },
    { 14, "flooded", NULL, "ff050000000000000000000000000042", false, true, true, 64, NET_DROP_GROUP },
    { 15, "flooded, from a link-local address", NULL, "ff050000000000000000000000000042", true, true, true, 64, NET_DROP_ADDRESS },
    { 16, "flooded, from another prefix", "fd00000000000002000000fffe000101", "ff050000000000000000000000000042", false, true, true, 64,
      NET_DROP_ADDRESS },
    { 17, "flooded, to the neighbours", NULL, "ff020000000000000000000000000001", false, true, true, 64, THERE }, /* and taken */
};

static void test_odd_addresses(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof odds / sizeof odds[0]; i++) {
        const struct odd *odd = &odds[i];
        uint8_t header[NET_HEADER_BYTES] = { 0x60, 0, 0, 0, 0, 8, 17 };
        struct datagram datagram = { header, header, 0 };
        uint8_t payload[2 + LOWPAN_COMPRESSED_MAX] = { LOWPAN_BROADCAST, 3 };
        uint8_t frame[127];
        uint8_t from[8];
        uint8_t to[8];
        size_t len;

        print_message("row %u: %s\n", odd->number, odd->name);
        rig_start(1);
        rig_line(3);
        rig_link(0, from);
        rig_link(1, to);
        if (odd->broadcast) {
            memcpy(to, frame_broadcast, 8);
        }
        header[7] = odd->hops;
        memcpy(header + 8, odd->link_local ? rig_link_local(0, 0).ip : rig_address(0, 0).ip, 16);
        memcpy(header + 24, rig_address(2, 0).ip, 16);
        if (odd->source != NULL) {
            (void)rig_hex(header + 8, odd->source);
        }
        if (odd->target != NULL) {
            (void)rig_hex(header + 24, odd->target);
        }
        iotsec_put_u16(header + 40, RIG_PORT);
        iotsec_put_u16(header + 42, RIG_PORT);
        iotsec_put_u16(header + 44, 8);
        iotsec_put_u16(header + 46, lowpan_checksum(&datagram));
        len = lowpan_write(payload + 2, header, from, to, rig_prefix);
        len = rig_make_frame(frame, 0, to, rig_key, 1, NET_ENC_MIC_32, 1, odd->flood ? payload : payload + 2, odd->flood ? len + 2 : len);
        rig_give(1, frame, len);
        rig_run(100);
        assert_int_equal(rig_dropped(1), odd->reason);
        assert_int_equal(rig.nodes[1].received_count, odd->number == 17);
        assert_int_equal(rig.nodes[1].sent_count, (odd->reason == THERE && odd->number != 17) || odd->reason == NET_DROP_GROUP ? 1 : 0);
    }
}

/* What is for us, but not in order. */
static void test_odd_contents(void **state)
{
    static const struct {
        unsigned number;
        const char *name;
        const char *payload;
        bool secured;
        enum net_drop reason;
    } contents[] = {
        /* the sum of fe80::250:c2ff:fea8:dd10, ...dd11, 17, twice 8, and the ports, turned round: 9461 */
        { 1, "in order", "7E33 F0 1633 1634 9461", true, NET_DROP_COUNT },
        { 2, "a wrong checksum", "7E33 F0 1633 1634 9462", true, NET_DROP_CHECKSUM },
        { 3, "none", "7E33 F4 1633 1634", true, NET_DROP_COUNT },
        { 4, "in order, in the clear", "7E33 F0 1633 1634 9461", false, NET_DROP_COUNT },
        { 5, "a wrong checksum, in the clear", "7E33 F0 1633 1634 9462", false, NET_DROP_CHECKSUM },
        { 6, "none, in the clear", "7E33 F4 1633 1634", false, NET_DROP_CHECKSUM },
        { 7, "neither UDP nor ICMPv6", "7A33 3B", true, NET_DROP_DISPATCH },
        { 8, "nothing at all", "", true, NET_DROP_DISPATCH },
        { 9, "a sequence number, and nothing", "50 01", true, NET_DROP_DISPATCH },
        { 10, "half a first fragment", "C0 40 00 01", true, NET_DROP_HEADER },
        { 11, "half a further fragment", "E0 40 00 01 06", true, NET_DROP_HEADER },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof contents / sizeof contents[0]; i++) {
        uint8_t payload[32];
        uint8_t frame[127];
        uint8_t to[8];
        size_t len = rig_hex(payload, contents[i].payload);

        print_message("row %u: %s\n", contents[i].number, contents[i].name);
        rig_start(1);
        rig_line(2);
        net_join_open(&rig.nodes[1].net, true);
        rig_link(1, to);
        len = rig_make_frame(frame, 0, to, contents[i].secured ? rig_key : NULL, 1, NET_ENC_MIC_32, 1, payload, len);
        rig_give(1, frame, len);
        assert_int_equal(rig_dropped(1), contents[i].reason);
        assert_int_equal(rig.nodes[1].received_count, contents[i].reason == NET_DROP_COUNT);
        /* another PAN's, and another node's */
        frame[3] ^= 1;
        rig_give(1, frame, len);
        assert_int_equal(rig_dropped(1), NET_DROP_NOT_OURS);
        frame[3] ^= 1;
        rig_give(2, frame, len);
        assert_int_equal(rig_dropped(2), NET_DROP_NOT_OURS);
    }
}

/* A route that leads back to where a datagram came from is none: it is forgotten, and the datagram goes nowhere. */
static void test_route_back(void **state)
{
    struct iotsec_addr to;

    (void)state;
    rig_start(1);
    rig_line(2);
    to = rig_address(0, RIG_PORT);
    /* node 1 says that it leads to 0x777, and then sends there itself, through node 0 */
    net_set_address(&rig.nodes[1].net, RIG_PAN, 0x777, rig_prefix);
    assert_int_equal(rig_say(1, &to, "it is me"), NET_OK);
    rig_run(50);
    to = rig_address(1, RIG_PORT);
    net_set_address(&rig.nodes[1].net, RIG_PAN, 0x778, rig_prefix);
    assert_int_equal(rig_say(1, &to, "round"), NET_OK);
    rig_run(50);
    assert_int_equal(rig_dropped(0), NET_DROP_NO_ROUTE);
    assert_int_equal(rig.nodes[0].sent_count, 0);
}

/* ---- Routes ---- */

static unsigned routes_of(unsigned node)
{
    unsigned count = 0;
    unsigned i;

    for (i = 0; i < RIG_ROUTES; i++) {
        count += rig.nodes[node].routes[i].neighbour != 0;
    }
    return count;
}

/* A node with a key sends under 500 names: the table keeps its size, and who speaks again is found again. */
static void test_many_routes(void **state)
{
    struct iotsec_addr to;
    struct iotsec_addr far;
    unsigned i;

    (void)state;
    rig_start(1);
    rig_line(3);
    far = rig_address(2, RIG_PORT);
    for (i = 0; i < 500; i++) {
        to = rig_address(0, RIG_PORT);
        net_set_address(&rig.nodes[1].net, RIG_PAN, (uint16_t)(0x1000 + i), rig_prefix);
        assert_int_equal(rig_say(1, &to, "it is me"), NET_OK);
        rig_run(10);
        assert_true(routes_of(0) <= RIG_ROUTES);
    }
    assert_int_equal(routes_of(0), RIG_ROUTES);
    net_set_address(&rig.nodes[1].net, RIG_PAN, rig_short(1), rig_prefix);
    to = rig_address(0, RIG_PORT);
    assert_int_equal(rig_say(2, &to, "up"), NET_OK);
    rig_run(50);
    assert_int_equal(rig_say(0, &far, "down"), NET_OK);
    rig_run(50);
    assert_int_equal(rig_heard(2, "down"), 1);
}

static void test_routes_age(void **state)
{
    struct iotsec_addr to;

    (void)state;
    rig_start(1);
    rig_line(3);
    to = rig_address(0, RIG_PORT);
    assert_int_equal(rig_say(2, &to, "up"), NET_OK);
    rig_run(100);
    assert_int_equal(routes_of(0), 1);
    assert_int_equal(routes_of(1), 1);
    /* over an hour it still serves, for who says something every hour */
    rig.now += 3600u * 1000u + 600000u;
    rig_run(1);
    to = rig_address(2, RIG_PORT);
    assert_int_equal(rig_say(0, &to, "after an hour"), NET_OK);
    rig_run(100);
    assert_int_equal(rig_heard(2, "after an hour"), 1);
    rig.now += 2u * 3600u * 1000u;
    rig_run(1);
    assert_int_equal(rig_say(0, &to, "after three hours"), NET_OK);
    rig_run(100);
    assert_int_equal(rig_heard(2, "after three hours"), 0);
    assert_int_equal(rig_say(2, &(struct iotsec_addr){ { 0xFD, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0xFF, 0xFE, 0, 1, 1 }, RIG_PORT, 0 }, "up"),
                     NET_OK);
    rig_run(100);
    assert_int_equal(rig_say(0, &to, "again"), NET_OK);
    rig_run(100);
    assert_int_equal(rig_heard(2, "again"), 1);
}

/* A node moves: its old parent learns of it from above, and forgets. */
static void test_moves(void **state)
{
    struct iotsec_addr to;
    uint8_t eui64[8];
    unsigned i;

    (void)state;
    rig_start(1);
    /* 1 and 2 below 0; 3 first below 1, then below 2 */
    for (i = 0; i < 4; i++) {
        rig_member(i);
    }
    rig_eui64(0, eui64);
    net_set_default_route(&rig.nodes[2].net, eui64);
    rig_eui64(1, eui64);
    net_set_default_route(&rig.nodes[3].net, eui64);
    rig.hears[0][1] = rig.hears[1][0] = rig.hears[0][2] = rig.hears[2][0] = rig.hears[1][3] = rig.hears[3][1] = true;
    to = rig_address(0, RIG_PORT);
    assert_int_equal(rig_say(3, &to, "from 1"), NET_OK);
    rig_run(50);
    rig.hears[1][3] = rig.hears[3][1] = false;
    rig.hears[2][3] = rig.hears[3][2] = true;
    rig_eui64(2, eui64);
    net_set_default_route(&rig.nodes[3].net, eui64);
    assert_int_equal(rig_say(3, &to, "from 2"), NET_OK);
    rig_run(50);
    to = rig_address(3, RIG_PORT);
    assert_int_equal(rig_say(0, &to, "down"), NET_OK);
    rig_run(50);
    assert_int_equal(rig_heard(3, "down"), 1);
    /* 1 would still send it down itself; something from 3 to 1 tells it */
    to = rig_address(1, RIG_PORT);
    assert_int_equal(rig_say(3, &to, "I am elsewhere"), NET_OK);
    rig_run(100);
    assert_int_equal(rig_heard(1, "I am elsewhere"), 1);
    to = rig_address(3, RIG_PORT);
    assert_int_equal(rig_say(1, &to, "I see"), NET_OK);
    rig_run(100);
    assert_int_equal(rig_heard(3, "I see"), 1);
}

/* A neighbour's place goes to somebody else with the key: the routes through it go too. */
static void test_routes_of_replaced_neighbours(void **state)
{
    static const uint8_t other_key[16] = { 1 };
    struct iotsec_addr to;
    unsigned i;

    (void)state;
    rig_start(1);
    rig_line(3);
    rig.nodes[0].config.neighbour_count = 1;
    to = rig_address(0, RIG_PORT);
    assert_int_equal(rig_say(2, &to, "up"), NET_OK);
    rig_run(100);
    assert_int_equal(routes_of(0), 1);
    for (i = 0; i < 4; i += 3) {
        rig_member(i);
        assert_int_equal(net_key_install(&rig.nodes[i].net, 2, other_key), NET_OK);
        assert_int_equal(net_key_use(&rig.nodes[i].net, 2), NET_OK);
    }
    net_key_remove(&rig.nodes[0].net, 1);
    rig.hears[3][0] = true;
    to = rig_link_local(0, RIG_PORT);
    assert_int_equal(rig_say(3, &to, "new here"), NET_OK);
    rig_run(100);
    assert_int_equal(rig_heard(0, "new here"), 1);
    assert_int_equal(routes_of(0), 0);
}

/* ---- Multicast ---- */

static void test_group_over_hops(void **state)
{
    struct iotsec_addr group = rig_group(5, 0x42, RIG_PORT);
    static uint8_t large[250];
    char text[16];
    unsigned turn;
    unsigned i;

    (void)state;
    rig_start(1);
    rig_line(5);
    for (i = 0; i < RIG_NODES; i++) {
        if (i != 2) {
            assert_int_equal(net_group_join(&rig.nodes[i].net, group.ip), NET_OK);
        }
    }
    /* far beyond the range of its sequence numbers */
    for (turn = 0; turn < 700; turn++) {
        unsigned before = frames_on_air();

        (void)snprintf(text, sizeof text, "on %u", turn);
        assert_int_equal(rig_say(4, &group, text), NET_OK);
        rig_run(300);
        for (i = 0; i < RIG_NODES; i++) {
            assert_int_equal(rig_heard(i, text), i == 2 || i == 4 ? 0 : 1);
            rig.nodes[i].received_count = 0;
        }
        assert_int_equal(frames_on_air() - before, RIG_NODES); /* each sends it once */
    }
    /* in fragments: who takes it changes it, and sends it on as it was */
    for (i = 0; i < sizeof large; i++) {
        large[i] = (uint8_t)(i * 5);
    }
    assert_int_equal(net_send(&rig.nodes[4].net, RIG_PORT, &group, large, sizeof large), NET_OK);
    rig_run(500);
    for (i = 0; i < RIG_NODES; i++) {
        assert_int_equal(rig.nodes[i].received_count, i == 2 || i == 4 ? 0 : 1);
        if (rig.nodes[i].received_count != 0) {
            assert_int_equal(rig.nodes[i].received[0].len, sizeof large);
            assert_memory_equal(rig.nodes[i].received[0].data, large, sizeof large);
        }
    }
    net_set_forwarding(&rig.nodes[3].net, false);
    assert_int_equal(rig_say(4, &group, "as far as 3"), NET_OK);
    rig_run(300);
    assert_int_equal(rig_heard(3, "as far as 3"), 1);
    assert_int_equal(rig_heard(1, "as far as 3"), 0);
    net_set_forwarding(&rig.nodes[3].net, true);
    net_group_leave(&rig.nodes[0].net, group.ip);
    assert_int_equal(rig_say(4, &group, "left"), NET_OK);
    rig_run(300);
    assert_int_equal(rig_heard(0, "left"), 0);
    assert_int_equal(rig_heard(1, "left"), 1);
}

/* Everybody hears everybody: still one frame each, for each copy; and lost frames are made up for by the copies. */
static void test_group_in_a_crowd(void **state)
{
    static uint8_t large[300];
    struct iotsec_addr group = rig_group(3, 0x42, RIG_PORT);
    unsigned heard = 0;
    unsigned turn;
    unsigned i;
    unsigned j;

    (void)state;
    for (turn = 1; turn <= 100; turn++) {
        rig_start(turn);
        for (i = 0; i < RIG_NODES; i++) {
            rig_member(i);
            rig.nodes[i].config.flood_copies = 2;
            assert_int_equal(net_group_join(&rig.nodes[i].net, group.ip), NET_OK);
            for (j = 0; j < RIG_NODES; j++) {
                rig.hears[i][j] = i != j;
            }
        }
        rig.loss = 20;
        assert_int_equal(rig_say(turn % RIG_NODES, &group, "on"), NET_OK);
        rig_run(500);
        assert_true(frames_on_air() <= 2 * RIG_NODES);
        for (i = 0; i < RIG_NODES; i++) {
            heard += rig_heard(i, "on");
            assert_true(rig.nodes[i].received_count <= 1);
        }
        rig.loss = 0;
        assert_int_equal(net_send(&rig.nodes[0].net, RIG_PORT, &group, large, sizeof large), NET_OK);
        rig_run(500);
        for (i = 1; i < RIG_NODES; i++) {
            assert_int_equal(rig.nodes[i].received[rig.nodes[i].received_count - 1].len, sizeof large);
        }
    }
    assert_true(heard >= 399); /* of 400 */
}

/* What reaches neighbours only is passed on by nobody; so is what is in the clear, and what has no hops left. */
static void test_group_of_the_link(void **state)
{
    struct iotsec_addr group = rig_group(2, 1, RIG_PORT);
    uint8_t frame[127];
    size_t len;

    (void)state;
    rig_start(1);
    rig_line(3);
    assert_int_equal(rig_say(2, &group, "near"), NET_OK);
    rig_run(200);
    assert_int_equal(rig_heard(1, "near"), 1);
    assert_int_equal(rig_heard(0, "near"), 0);
    assert_int_equal(rig.nodes[1].sent_count, 0);
    /* all routers: only who forwards */
    group = rig_group(2, 2, RIG_PORT);
    assert_int_equal(rig_say(2, &group, "routers"), NET_OK);
    rig_run(200);
    assert_int_equal(rig_heard(1, "routers"), 1);
    net_set_forwarding(&rig.nodes[1].net, false);
    assert_int_equal(rig_say(2, &group, "routers"), NET_OK);
    rig_run(200);
    assert_int_equal(rig_heard(1, "routers"), 1);
    net_set_forwarding(&rig.nodes[1].net, true);
    /* hop limit 1, to ff05::..., with a sequence number: heard of, not passed on */
    /* (source of the prefix and 16 bits, group of 32) */
    {
        uint8_t one_hop[] = { LOWPAN_BROADCAST, 9, 0x7D, 0x6A, 0x01, 0x03, 0x05, 0x00, 0x00, 0x42, 0xF4, 0x16, 0x33, 0x16, 0x33 };
        uint8_t more[sizeof one_hop];

        len = rig_make_frame(frame, 2, frame_broadcast, rig_key, 1, NET_ENC_MIC_32, 1000, one_hop, sizeof one_hop);
        rig_give(1, frame, len);
        rig_run(200);
        assert_int_equal(rig.nodes[1].sent_count, 0);
        memcpy(more, one_hop, sizeof more);
        more[1] = 10;
        more[2] = 0x7E;
        len = rig_make_frame(frame, 2, frame_broadcast, rig_key, 1, NET_ENC_MIC_32, 1001, more, sizeof more);
        rig_give(1, frame, len);
        rig_run(200);
        assert_int_equal(rig.nodes[1].sent_count, 1);
        /* without a number it is taken, and not passed on */
        len = rig_make_frame(frame, 2, frame_broadcast, rig_key, 1, NET_ENC_MIC_32, 1002, more + 2, sizeof more - 2);
        rig_give(1, frame, len);
        rig_run(200);
        assert_int_equal(rig.nodes[1].sent_count, 1);
    }
}

/* More originators than places: those who are there go on; the others are dropped, not passed on again and again. */
static void test_many_originators(void **state)
{
    uint8_t payload[] = { LOWPAN_BROADCAST, 1, 0x7E, 0x6A, 0x00, 0x00, 0x05, 0x00, 0x00, 0x42, 0xF4, 0x16, 0x33, 0x16, 0x33 };
    uint8_t frame[127];
    uint32_t counter = 1;
    unsigned taken = 0;
    unsigned i;

    (void)state;
    rig_start(1);
    rig_line(2);
    for (i = 0; i < 200; i++) {
        size_t len;

        payload[4] = 0x20;
        payload[5] = (uint8_t)i;
        len = rig_make_frame(frame, 1, frame_broadcast, rig_key, 1, NET_ENC_MIC_32, counter++, payload, sizeof payload);
        rig_give(0, frame, len);
        rig_run(i < 10 ? 100 : 10);
    }
    rig_run(200);
    taken = rig.nodes[0].net.stats.forwarded;
    assert_int_equal(taken, RIG_ORIGINATORS);
    /* after a while the places are free */
    rig_run(10000);
    payload[5] = 0xEE;
    {
        size_t len = rig_make_frame(frame, 1, frame_broadcast, rig_key, 1, NET_ENC_MIC_32, counter, payload, sizeof payload);

        rig_give(0, frame, len);
    }
    rig_run(200);
    assert_int_equal(rig.nodes[0].net.stats.forwarded, taken + 1);
}

/* The window of sequence numbers, by rows. */
struct number {
    unsigned number;
    const char *name;
    uint32_t pause;
    uint8_t sequence;
    bool is_new;
};

static const struct number numbers[] = {
    { 1, "the first", 0, 200, true },        { 2, "again", 0, 200, false },         { 3, "the next", 0, 201, true },
    { 4, "one late", 0, 199, true },         { 5, "late again", 0, 199, false },    { 6, "some are lost", 0, 231, true },
    { 7, "the oldest in the window", 0, 200, false }, { 8, "its oldest that is new", 0, 202, true },
    { 9, "behind the window", 0, 198, false }, { 10, "beyond the wrap", 0, 5, true }, { 11, "before the wrap", 0, 255, true },
    { 12, "a jump of 127", 0, 132, true },   { 13, "behind by 128", 0, 4, false },  { 14, "silence", 10001, 4, true },
    { 15, "in order", 0, 5, true },          { 16, "by the whole window", 0, 37, true }, { 17, "and its end", 0, 6, true },
    { 18, "and beyond", 0, 5, false },
};

static void test_sequence_numbers(void **state)
{
    uint8_t payload[] = { LOWPAN_BROADCAST, 1, 0x7E, 0x6A, 0x01, 0x02, 0x05, 0x00, 0x00, 0x42, 0xF4, 0x16, 0x33, 0x16, 0x33 };
    uint32_t counter = 1;
    size_t i;

    (void)state;
    rig_start(1);
    rig_line(2);
    for (i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        const struct number *row = &numbers[i];
        uint32_t before = rig.nodes[0].net.stats.forwarded;
        uint8_t frame[127];
        size_t len;

        print_message("row %u: %s\n", row->number, row->name);
        rig_run(row->pause);
        payload[1] = row->sequence;
        len = rig_make_frame(frame, 1, frame_broadcast, rig_key, 1, NET_ENC_MIC_32, counter++, payload, sizeof payload);
        rig_give(0, frame, len);
        rig_run(100);
        assert_int_equal(rig.nodes[0].net.stats.forwarded - before, row->is_new);
    }
}

/* ---- Echo ---- */

static void test_echo(void **state)
{
    /* type 128, checksum, identifier 0x1234, sequence 1, "ping" */
    uint8_t payload[] = { 0x7A, 0x77, 58, 128, 0, 0, 0, 0x12, 0x34, 0, 1, 'p', 'i', 'n', 'g' };
    struct iotsec_addr from;
    struct iotsec_addr to;
    uint8_t header[NET_HEADER_BYTES];
    uint8_t link[8];
    uint8_t back[8];
    uint8_t frame[127];
    uint32_t sum = 12 + 58;
    size_t used;
    size_t len;
    size_t i;

    (void)state;
    rig_start(1);
    rig_line(2);
    net_set_address(&rig.nodes[0].net, RIG_PAN, NET_NO_SHORT_ADDRESS, rig_prefix);
    net_set_address(&rig.nodes[1].net, RIG_PAN, NET_NO_SHORT_ADDRESS, rig_prefix);
    from = rig_address(1, 0);
    to = rig_address(0, 0);
    for (i = 0; i < 16; i += 2) {
        sum += iotsec_get_u16(from.ip + i) + (uint32_t)iotsec_get_u16(to.ip + i);
    }
    for (i = 3; i < sizeof payload; i += 2) {
        sum += iotsec_get_u16(payload + i);
    }
    sum = (sum & 0xFFFF) + (sum >> 16);
    sum = (sum & 0xFFFF) + (sum >> 16);
    iotsec_put_u16(payload + 5, (uint16_t)~sum);
    rig_link(0, link);
    len = rig_make_frame(frame, 1, link, rig_key, 1, NET_ENC_MIC_32, 1, payload, sizeof payload);
    rig_give(0, frame, len);
    assert_int_equal(rig.nodes[0].sent_count, 1);
    /* what came back, opened */
    {
        struct frame head;
        uint16_t neighbour;
        struct rig_frame *sent = &rig.nodes[0].sent[0];

        assert_true(frame_read(&head, sent->bytes, sent->len));
        assert_int_equal(linksec_open(&rig.nodes[1].net, &head, sent->bytes, &sent->len, &neighbour), NET_DROP_COUNT);
        used = sent->len - head.header_len;
        rig_link(1, back);
        assert_int_equal(lowpan_read(header, sent->bytes + head.header_len, &used, 0, link, back, rig_prefix), NET_DROP_COUNT);
        assert_memory_equal(header + 8, to.ip, 16);
        assert_memory_equal(header + 24, from.ip, 16);
        assert_int_equal(sent->bytes[head.header_len + used], 129);
        sum = 12 + 58;
        for (i = 8; i < 40; i += 2) {
            sum += iotsec_get_u16(header + i);
        }
        for (i = head.header_len + used; i < sent->len; i += 2) {
            sum += iotsec_get_u16(sent->bytes + i);
        }
        sum = (sum & 0xFFFF) + (sum >> 16);
        sum = (sum & 0xFFFF) + (sum >> 16);
        assert_int_equal(sum, 0xFFFF);
    }
    /* in the clear nobody is answered */
    net_join_open(&rig.nodes[0].net, true);
    len = rig_make_frame(frame, 1, link, NULL, 0, 0, 0, payload, sizeof payload);
    rig_give(0, frame, len);
    assert_int_equal(rig.nodes[0].sent_count, 1);
}

/* The sizes that net.h recommends. */
static void test_memory(void **state)
{
    size_t bytes = sizeof(struct net) + NET_DEFAULT_BUFFERS * (sizeof(struct net_buffer) + NET_DEFAULT_DATAGRAM) +
                   NET_DEFAULT_NEIGHBOURS * sizeof(struct net_neighbour) + NET_DEFAULT_ROUTES * sizeof(struct net_route) +
                   NET_DEFAULT_ORIGINATORS * sizeof(struct net_originator) + NET_DEFAULT_GROUPS * sizeof(struct net_group);

    (void)state;
    print_message("%u bytes\n", (unsigned)bytes);
    assert_true(bytes <= 2560 + 8); /* a pointer is longer here */
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_line_up_and_down),
        cmocka_unit_test(test_across),
        cmocka_unit_test(test_statuses),
        cmocka_unit_test(test_no_turning_round),
        cmocka_unit_test(test_circles),
        cmocka_unit_test(test_not_forwarded),
        cmocka_unit_test(test_odd_addresses),
        cmocka_unit_test(test_odd_contents),
        cmocka_unit_test(test_route_back),
        cmocka_unit_test(test_many_routes),
        cmocka_unit_test(test_routes_age),
        cmocka_unit_test(test_moves),
        cmocka_unit_test(test_routes_of_replaced_neighbours),
        cmocka_unit_test(test_group_over_hops),
        cmocka_unit_test(test_group_in_a_crowd),
        cmocka_unit_test(test_group_of_the_link),
        cmocka_unit_test(test_many_originators),
        cmocka_unit_test(test_sequence_numbers),
        cmocka_unit_test(test_echo),
        cmocka_unit_test(test_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
