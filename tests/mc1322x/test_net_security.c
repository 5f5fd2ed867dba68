/* SPDX-License-Identifier: BSD-3-Clause */
/* Link-layer security: the standard's vectors, counters, replay, keys, and what may be in the clear. */
#include "rig.h"

#include "base/bytes.h"

static const uint8_t other_key[16] = { 0xD0, 0xD1, 0xD2, 0xD3, 0xD4, 0xD5, 0xD6, 0xD7, 0xD8, 0xD9, 0xDA, 0xDB, 0xDC, 0xDD, 0xDE, 0xDF };

/* ---- CCM* ---- */

struct vector {
    unsigned number;
    const char *name;
    const char *nonce;
    const char *open;
    const char *secret;
    const char *sealed;
    const char *mic; /* NULL: not compared, the level has none */
};

/* IEEE 802.15.4-2006, Annex C.2; the key is C0 to CF. */
static const struct vector vectors[] = {
    { 1, "C.2.1: beacon, MIC-64", "ACDE480000000001 00000005 02", "08D0842143 0100000000 48DEAC 02 05000000 55CF0000 51525354", "", "",
      "223BC1EC841AB553" },
    { 2, "C.2.2: data, encrypted", "ACDE480000000001 00000005 04", "69DC842143 0200000000 48DEAC 0100000000 48DEAC 04 05000000", "61626364",
      "D43E022B", NULL },
    { 3, "C.2.3: command, ENC-MIC-64", "ACDE480000000001 00000005 06",
      "2BDC842143 0200000000 48DEAC FFFF 0100000000 48DEAC 06 05000000 01", "CE", "D8", "4FDE529061F9C6F1" },
};

static void test_vectors(void **state)
{
    size_t i;

    (void)state;
    rig_start(1);
    for (i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        const struct vector *vector = &vectors[i];
        uint8_t nonce[16];
        uint8_t frame[127];
        uint8_t expected[127];
        uint8_t mic[16];
        size_t open_len = rig_hex(frame, vector->open);
        size_t secret_len = rig_hex(frame + open_len, vector->secret);
        size_t mic_len = vector->mic != NULL ? rig_hex(mic, vector->mic) : 8;

        print_message("row %u: %s\n", vector->number, vector->name);
        assert_int_equal(rig_hex(nonce, vector->nonce), LINKSEC_NONCE_BYTES);
        memcpy(expected, frame, open_len);
        (void)rig_hex(expected + open_len, vector->sealed);
        assert_int_equal(linksec_ccm(&rig.nodes[0].config, rig_key, nonce, frame, open_len, secret_len, mic_len, true), NET_OK);
        assert_memory_equal(frame, expected, open_len + secret_len);
        if (vector->mic != NULL) {
            assert_memory_equal(frame + open_len + secret_len, mic, mic_len);
        }
        assert_int_equal(linksec_ccm(&rig.nodes[0].config, rig_key, nonce, frame, open_len, secret_len, mic_len, false), NET_OK);
        (void)rig_hex(expected + open_len, vector->secret);
        assert_memory_equal(frame, expected, open_len + secret_len);
    }
}

/* ---- A frame that one node made, given to another ---- */

static struct rig_frame say(unsigned from, unsigned to, const char *text)
{
    struct rig_node *node = &rig.nodes[from];
    struct iotsec_addr addr = rig_link_local(to, RIG_PORT);

    rig_run(5);
    node->sent_count = 0;
    assert_int_equal(rig_say(from, &addr, text), NET_OK);
    assert_int_equal(node->sent_count, 1);
    return node->sent[0];
}

static void hand(unsigned to, const struct rig_frame *frame)
{
    rig_give(to, frame->bytes, frame->len);
}

static uint32_t counter_of(const struct rig_frame *frame)
{
    struct frame header;

    assert_true(frame_read(&header, frame->bytes, frame->len));
    assert_int_not_equal(header.level, 0);
    return header.counter;
}

static void two_members(void)
{
    rig_start(9);
    rig_member(0);
    rig_member(1);
}

static void test_replay(void **state)
{
    struct rig_frame first;
    struct rig_frame second;
    struct rig_frame third;
    struct rig_frame forged;

    (void)state;
    two_members();
    first = say(1, 0, "first");
    second = say(1, 0, "second");
    third = say(1, 0, "third");
    hand(0, &second);
    assert_int_equal(rig_heard(0, "second"), 1);
    hand(0, &second);
    assert_int_equal(rig_dropped(0), NET_DROP_REPLAY);
    hand(0, &first); /* never heard, but older */
    assert_int_equal(rig_dropped(0), NET_DROP_REPLAY);
    /* a forged counter moves nothing */
    forged = third;
    forged.bytes[21 + 1 + 2] = 0x7F;
    hand(0, &forged);
    assert_int_equal(rig_dropped(0), NET_DROP_MIC);
    hand(0, &third);
    assert_int_equal(rig_heard(0, "third"), 1);
    assert_int_equal(rig.nodes[0].received_count, 2);
    /* our own, thrown back at us */
    hand(1, &first);
    assert_int_equal(rig_dropped(1), NET_DROP_NOT_OURS);
    {
        uint8_t frame[127];
        uint8_t own[8];
        uint8_t payload[] = { 0x7E, 0x33, 0xF0, 0x16, 0x33, 0x16, 0x33, 0x12, 0x34 };
        size_t len;

        rig_link(1, own);
        len = rig_make_frame(frame, 1, own, rig_key, 1, NET_ENC_MIC_32, 999, payload, sizeof payload);
        rig_give(1, frame, len);
        assert_int_equal(rig_dropped(1), NET_DROP_ADDRESS);
        assert_int_equal(rig.nodes[1].neighbours[0].serial, 0); /* and we are not our own neighbour */
    }
}

/* No bit of a secured frame may change. */
static void test_every_bit(void **state)
{
    struct rig_frame frame;
    size_t bit;

    (void)state;
    two_members();
    frame = say(1, 0, "every bit of this counts");
    for (bit = 0; bit < frame.len * 8; bit++) {
        struct rig_frame changed = frame;

        changed.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        hand(0, &changed);
        assert_int_equal(rig.nodes[0].received_count, 0);
    }
    for (bit = 0; bit < frame.len; bit++) {
        struct rig_frame shorter = frame;

        shorter.len = bit;
        hand(0, &shorter);
        assert_int_equal(rig.nodes[0].received_count, 0);
    }
    hand(0, &frame);
    assert_int_equal(rig_heard(0, "every bit of this counts"), 1);
}

static void test_levels(void **state)
{
    struct rig_frame frame;

    (void)state;
    two_members();
    rig.nodes[0].config.level = NET_ENC_MIC_64;
    frame = say(1, 0, "weak");
    hand(0, &frame);
    assert_int_equal(rig_dropped(0), NET_DROP_KEY);
    frame = say(0, 1, "strong");
    hand(1, &frame);
    assert_int_equal(rig_heard(1, "strong"), 1);
    /* encrypted without a MIC, and a MIC without encryption */
    frame.bytes[21] = 0x0C;
    hand(1, &frame);
    assert_int_equal(rig_dropped(1), NET_DROP_KEY);
    frame.bytes[21] = 0x0A;
    hand(1, &frame);
    assert_int_equal(rig_dropped(1), NET_DROP_KEY);
    frame.bytes[21] = 0x0F; /* MIC-128, which nobody here makes */
    hand(1, &frame);
    assert_int_equal(rig_dropped(1), NET_DROP_KEY);
}

/* ---- Keys ---- */

static void test_key_switch(void **state)
{
    struct net *zero;
    struct net *one;
    struct rig_frame old;
    struct rig_frame frame;

    (void)state;
    two_members();
    zero = &rig.nodes[0].net;
    one = &rig.nodes[1].net;
    frame = say(1, 0, "under 1");
    hand(0, &frame);
    /* handed out first */
    assert_int_equal(net_key_install(zero, 2, other_key), NET_OK);
    assert_int_equal(net_key_install(one, 2, other_key), NET_OK);
    frame = say(1, 0, "still under 1");
    assert_int_equal(frame.bytes[21 + 5], 1);
    hand(0, &frame);
    assert_int_equal(rig_heard(0, "still under 1"), 1);
    /* one uses it, the other does not yet */
    old = say(1, 0, "kept back");
    assert_int_equal(net_key_use(one, 2), NET_OK);
    frame = say(1, 0, "under 2");
    assert_int_equal(frame.bytes[21 + 5], 2);
    hand(0, &frame);
    assert_int_equal(rig_heard(0, "under 2"), 1);
    frame = say(0, 1, "back under 1");
    hand(1, &frame);
    assert_int_equal(rig_heard(1, "back under 1"), 1);
    /* whoever has gone on does not come back */
    hand(0, &old);
    assert_int_equal(rig_dropped(0), NET_DROP_KEY);
    assert_int_equal(rig_heard(0, "kept back"), 0);
    /* the counter goes on, as one for both */
    assert_true(counter_of(&frame) < 64);
    assert_int_equal(counter_of(&old), 2);
    assert_int_equal(net_key_use(zero, 2), NET_OK);
    net_key_remove(zero, 1);
    net_key_remove(one, 1);
    frame = say(0, 1, "both under 2");
    hand(1, &frame);
    assert_int_equal(rig_heard(1, "both under 2"), 1);
    hand(0, &old);
    assert_int_equal(rig_dropped(0), NET_DROP_KEY);
    assert_int_equal(net_key_use(zero, 1), NET_ERR_NO_KEY);
    assert_int_equal(net_key_use(zero, 0), NET_ERR_NO_KEY);
    assert_int_equal(net_key_install(zero, 0, rig_key), NET_ERR_ARGUMENT);
}

/* Installing the key that is there changes nothing: old frames stay old. */
static void test_same_key_again(void **state)
{
    struct rig_frame frame;

    (void)state;
    two_members();
    frame = say(1, 0, "once");
    hand(0, &frame);
    assert_int_equal(net_key_install(&rig.nodes[0].net, 1, rig_key), NET_OK);
    assert_int_equal(net_key_use(&rig.nodes[0].net, 1), NET_OK);
    hand(0, &frame);
    assert_int_equal(rig_dropped(0), NET_DROP_REPLAY);
    assert_int_equal(rig_heard(0, "once"), 1);
    /* another one under the same index is another key */
    assert_int_equal(net_key_install(&rig.nodes[0].net, 1, other_key), NET_OK);
    hand(0, &frame);
    assert_int_equal(rig_dropped(0), NET_DROP_MIC);
    /* in use as the one before it was */
    frame = say(0, 1, "under another");
    assert_int_equal(frame.bytes[21 + 5], 1);
    hand(1, &frame);
    assert_int_equal(rig_dropped(1), NET_DROP_MIC);
    assert_int_equal(net_key_install(&rig.nodes[1].net, 1, other_key), NET_OK);
    hand(1, &frame);
    assert_int_equal(rig_heard(1, "under another"), 1);
}

static void test_many_keys(void **state)
{
    struct net *net;
    uint8_t key[16] = { 0 };
    struct rig_frame frame;
    unsigned i;

    (void)state;
    two_members();
    net = &rig.nodes[0].net;
    for (i = 2; i < 40; i++) {
        key[0] = (uint8_t)i;
        assert_int_equal(net_key_install(net, (uint8_t)i, key), NET_OK);
    }
    frame = say(1, 0, "the one in use stays");
    hand(0, &frame);
    assert_int_equal(rig_heard(0, "the one in use stays"), 1);
    for (i = 2; i < 40; i++) {
        assert_int_equal(net_key_use(net, (uint8_t)i), i >= 37 ? NET_OK : NET_ERR_NO_KEY);
    }
    net_key_remove(net, 0);
    for (i = 0; i < sizeof net->keys; i++) {
        assert_int_equal(((const uint8_t *)net->keys)[i], 0);
    }
    assert_int_equal(rig_say(0, &rig.nodes[0].received[0].from, "no key"), NET_ERR_NO_KEY);
}

/* Nobody is forgotten as long as the key lives under which they could be replayed. */
static void test_neighbours(void **state)
{
    uint8_t payload[64];
    uint8_t frame[127];
    uint8_t to[8];
    uint8_t from[8];
    size_t len;
    unsigned i;
    unsigned turn;

    (void)state;
    two_members();
    rig_link(0, to);
    for (turn = 0; turn < 2; turn++) {
        const uint8_t *key = turn == 0 ? rig_key : other_key;

        for (i = 0; i < RIG_NEIGHBOURS + 3; i++) {
            struct datagram datagram;
            uint8_t header[NET_HEADER_BYTES] = { 0x60, 0, 0, 0, 0, 8, 17, 64 };
            size_t header_len;

            rig_link(i + 16, from);
            memcpy(header + 8, lowpan_link_local, 8);
            memcpy(header + 16, from, 8);
            memcpy(header + 24, lowpan_link_local, 8);
            memcpy(header + 32, to, 8);
            iotsec_put_u16(header + 40, RIG_PORT);
            iotsec_put_u16(header + 42, RIG_PORT);
            iotsec_put_u16(header + 44, 8);
            datagram.header = header;
            datagram.data = header;
            datagram.len = 0;
            iotsec_put_u16(header + 46, lowpan_checksum(&datagram));
            header_len = lowpan_write(payload, header, from, to, NULL);
            /* as node i + 16 would, with node 1's AES */
            {
                struct frame head;
                uint8_t nonce[13];

                memset(&head, 0, sizeof head);
                memcpy(head.source, from, 8);
                memcpy(head.target, to, 8);
                head.pan_id = RIG_PAN;
                head.level = NET_ENC_MIC_32;
                head.counter = 5;
                head.key_index = (uint8_t)(1 + turn);
                len = frame_write(&head, frame);
                memcpy(frame + len, payload, header_len);
                rig_eui64(i + 16, nonce);
                iotsec_put_u32(nonce + 8, 5);
                nonce[12] = NET_ENC_MIC_32;
                assert_int_equal(linksec_ccm(&rig.nodes[1].config, key, nonce, frame, len, header_len, 4, true), NET_OK);
                len += header_len + 4;
            }
            rig_give(0, frame, len);
            assert_int_equal(rig_dropped(0), i < RIG_NEIGHBOURS ? NET_DROP_COUNT : NET_DROP_NEIGHBOURS);
            rig_give(0, frame, len);
            assert_int_equal(rig_dropped(0), i < RIG_NEIGHBOURS ? NET_DROP_REPLAY : NET_DROP_NEIGHBOURS);
        }
        /* a new key, and the old one gone: their places are free */
        assert_int_equal(net_key_install(&rig.nodes[0].net, 2, other_key), NET_OK);
        assert_int_equal(net_key_use(&rig.nodes[0].net, 2), NET_OK);
        net_key_remove(&rig.nodes[0].net, 1);
    }
}

/* ---- Frame counters ---- */

/* Over restarts at any moment no counter comes twice, and what is used lies below what the store holds. */
static void test_counters_over_restarts(void **state)
{
    static bool seen[20000];
    unsigned i;

    (void)state;
    two_members();
    memset(seen, 0, sizeof seen);
    for (i = 0; i < 1500; i++) {
        struct rig_frame frame;
        uint32_t counter;

        if (rig_random(20) == 0) {
            rig_restart(1);
            rig_member(1);
        }
        if (rig_random(10) == 0) {
            struct iotsec_addr to = rig_link_local(0, RIG_PORT);

            rig.nodes[1].reserve_fails = true;
            rig_run(5);
            rig.nodes[1].sent_count = 0;
            if (rig_say(1, &to, "perhaps") == NET_ERR_NOT_DURABLE) {
                assert_int_equal(rig.nodes[1].sent_count, 0);
                rig.nodes[1].reserve_fails = false;
                continue;
            }
            rig.nodes[1].reserve_fails = false;
            frame = rig.nodes[1].sent[0];
        } else {
            frame = say(1, 0, "something");
        }
        counter = counter_of(&frame);
        assert_true(counter < rig.nodes[1].durable);
        assert_true(counter < sizeof seen);
        assert_false(seen[counter]);
        seen[counter] = true;
    }
    assert_true(rig.nodes[1].reserved < 200); /* not for each frame */
}

static void test_counter_spent(void **state)
{
    struct iotsec_addr to;
    struct rig_frame frame;

    (void)state;
    rig_start(1);
    rig_member(0);
    rig.nodes[1].durable = UINT32_MAX - 2;
    rig_restart(1);
    rig_member(1);
    to = rig_link_local(0, RIG_PORT);
    frame = say(1, 0, "next to last");
    hand(0, &frame);
    frame = say(1, 0, "last");
    assert_int_equal(counter_of(&frame), UINT32_MAX - 1);
    hand(0, &frame);
    assert_int_equal(rig_heard(0, "last"), 1);
    rig.nodes[1].sent_count = 0;
    rig_run(5);
    assert_int_equal(rig_say(1, &to, "one too many"), NET_ERR_COUNTER_SPENT);
    rig_restart(1);
    rig_member(1);
    assert_int_equal(rig_say(1, &to, "one too many"), NET_ERR_COUNTER_SPENT);
    assert_int_equal(rig.nodes[1].sent_count, 0);
    /* nor does anybody take it */
    {
        uint8_t payload[] = { 0x7E, 0x33, 0xF4, 0x16, 0x33, 0x16, 0x33 };
        uint8_t bytes[127];
        uint8_t link[8];
        size_t len;

        rig_link(0, link);
        (void)rig_dropped(0);
        len = rig_make_frame(bytes, 1, link, rig_key, 1, NET_ENC_MIC_32, UINT32_MAX, payload, sizeof payload);
        rig_give(0, bytes, len);
        assert_int_equal(rig_dropped(0), NET_DROP_REPLAY);
    }
}

/* What waits in a buffer needs counters too. */
static void test_not_durable_later(void **state)
{
    static const uint8_t data[400] = { 0 };
    struct iotsec_addr to;

    (void)state;
    two_members();
    to = rig_link_local(0, RIG_PORT);
    rig.nodes[1].reserve_fails = true;
    assert_int_equal(net_send(&rig.nodes[1].net, RIG_PORT, &to, data, sizeof data), NET_OK);
    rig_run(100);
    assert_int_equal(rig.nodes[1].sent_count, 0);
    assert_int_equal(rig_dropped(1), NET_DROP_COUNTER);
}

static void test_aes_fails(void **state)
{
    struct iotsec_addr to;
    struct rig_frame frame;

    (void)state;
    two_members();
    to = rig_link_local(0, RIG_PORT);
    frame = say(1, 0, "kept");
    rig.nodes[1].sent_count = 0;
    rig_run(5);
    rig.nodes[1].aes_fails = rig.nodes[0].aes_fails = true;
    assert_int_equal(rig_say(1, &to, "never in the clear"), NET_ERR_CRYPTO);
    rig_run(100);
    assert_int_equal(rig.nodes[1].sent_count, 0);
    hand(0, &frame);
    assert_int_equal(rig_dropped(0), NET_DROP_CRYPTO);
    rig.nodes[0].aes_fails = false;
    hand(0, &frame);
    assert_int_equal(rig_heard(0, "kept"), 1);
}

/* ---- In the clear ---- */

enum { NOBODY, PEER, OTHER, ANY };
enum { TO_OWN_LINK_LOCAL, TO_OWN_GLOBAL, TO_NEXT_GLOBAL, TO_ALL_NODES, TO_ALL_ROUTERS, TO_SITE_GROUP };

struct arrival {
    unsigned number;
    const char *name;
    bool key;
    bool open;
    int joining;
    bool global_source;
    int to;
    uint16_t from_port;
    uint16_t to_port;
    enum net_drop reason; /* NET_DROP_COUNT: delivered */
};

#define J RIG_JOIN_PORT
#define X 40000
#define TAKEN NET_DROP_COUNT
#define PLAIN NET_DROP_PLAINTEXT

static const struct arrival arrivals[] = {
    { 1, "to a closed join port", true, false, NOBODY, false, TO_OWN_LINK_LOCAL, X, J, PLAIN },
    { 2, "to an open join port", true, true, NOBODY, false, TO_OWN_LINK_LOCAL, X, J, TAKEN },
    { 3, "to an open join port, from a global address", true, true, NOBODY, true, TO_OWN_LINK_LOCAL, X, J, PLAIN },
    { 4, "to an open join port of a global address", true, true, NOBODY, false, TO_OWN_GLOBAL, X, J, PLAIN },
    { 5, "to another port", true, true, NOBODY, false, TO_OWN_LINK_LOCAL, J, X, PLAIN },
    { 6, "to be forwarded", true, true, NOBODY, false, TO_NEXT_GLOBAL, X, J, PLAIN },
    { 7, "to be forwarded, from a global address", true, true, NOBODY, true, TO_NEXT_GLOBAL, X, J, PLAIN },
    { 8, "to all nodes' join port", true, true, NOBODY, false, TO_ALL_NODES, X, J, TAKEN },
    { 9, "to all routers' join port", true, true, NOBODY, false, TO_ALL_ROUTERS, X, J, TAKEN },
    { 10, "to all nodes' other port", true, true, NOBODY, false, TO_ALL_NODES, X, X, PLAIN },
    { 11, "to a group over hops", true, true, NOBODY, false, TO_SITE_GROUP, X, J, PLAIN },
    { 12, "to who is not joining", false, false, NOBODY, false, TO_OWN_LINK_LOCAL, J, X, PLAIN },
    { 13, "from the peer's join port", false, false, PEER, false, TO_OWN_LINK_LOCAL, J, X, TAKEN },
    { 14, "from the peer's join port, to who has a key already", true, false, PEER, false, TO_OWN_LINK_LOCAL, J, X, TAKEN },
    { 15, "from the peer's other port", false, false, PEER, false, TO_OWN_LINK_LOCAL, X, X, PLAIN },
    { 16, "from another's join port", false, false, OTHER, false, TO_OWN_LINK_LOCAL, J, X, PLAIN },
    { 17, "from anybody's join port, when looking for one", false, false, ANY, false, TO_OWN_LINK_LOCAL, J, X, TAKEN },
    { 18, "from the peer's global address", false, false, PEER, true, TO_OWN_LINK_LOCAL, J, X, PLAIN },
    { 19, "from the peer, to all", false, false, PEER, false, TO_ALL_NODES, J, X, PLAIN },
    { 20, "from the peer, to a global address", true, false, PEER, false, TO_OWN_GLOBAL, J, X, PLAIN },
};

static void set_joining(unsigned node, int joining)
{
    uint8_t eui64[8] = { 0 };

    if (joining == PEER || joining == OTHER) {
        rig_eui64(joining == PEER ? 0 : 3, eui64);
    }
    net_join_through(&rig.nodes[node].net, joining != NOBODY ? eui64 : NULL);
}

/* From node 0 to node 1. */
static void test_arrivals(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof arrivals / sizeof arrivals[0]; i++) {
        const struct arrival *row = &arrivals[i];
        struct iotsec_addr group = rig_group(row->to == TO_SITE_GROUP ? 5 : 2, row->to == TO_ALL_ROUTERS ? 2 : 1, 0);
        uint8_t header[NET_HEADER_BYTES] = { 0x60, 0, 0, 0, 0, 8, 17, 64 };
        struct datagram datagram = { header, header, 0 };
        uint8_t payload[2 + LOWPAN_COMPRESSED_MAX] = { LOWPAN_BROADCAST, 3 };
        uint8_t frame[127];
        uint8_t from[8];
        uint8_t to[8];
        size_t len;
        int secured;

        print_message("row %u: %s\n", row->number, row->name);
        for (secured = 0; secured < 2; secured++) {
            rig_start(1);
            rig_member(0);
            rig_member(1);
            rig_member(2);
            if (!row->key) {
                net_key_remove(&rig.nodes[1].net, 0);
            }
            net_join_open(&rig.nodes[1].net, row->open);
            set_joining(1, row->joining);
            assert_int_equal(net_group_join(&rig.nodes[1].net, rig_group(5, 1, 0).ip), NET_OK);
            rig_link(0, from);
            rig_link(1, to);
            if (row->to >= TO_ALL_NODES) {
                memcpy(to, frame_broadcast, 8);
            }
            memcpy(header + 8, row->global_source ? rig_address(0, 0).ip : rig_link_local(0, 0).ip, 16);
            memcpy(header + 24,
                   row->to == TO_OWN_LINK_LOCAL ? rig_link_local(1, 0).ip
                   : row->to == TO_OWN_GLOBAL   ? rig_address(1, 0).ip
                   : row->to == TO_NEXT_GLOBAL  ? rig_address(2, 0).ip
                                                : group.ip,
                   16);
            iotsec_put_u16(header + 40, row->from_port);
            iotsec_put_u16(header + 42, row->to_port);
            iotsec_put_u16(header + 44, 8);
            iotsec_put_u16(header + 46, 0);
            iotsec_put_u16(header + 46, lowpan_checksum(&datagram));
            len = lowpan_write(payload + 2, header, from, to, rig_prefix);
            if (row->to == TO_SITE_GROUP) {
                len = rig_make_frame(frame, 0, to, secured ? rig_key : NULL, 1, NET_ENC_MIC_32, 1, payload, len + 2);
            } else {
                len = rig_make_frame(frame, 0, to, secured ? rig_key : NULL, 1, NET_ENC_MIC_32, 1, payload + 2, len);
            }
            rig_give(1, frame, len);
            rig_run(100);
            if (secured == 0) {
                assert_int_equal(rig_dropped(1), row->reason);
                assert_int_equal(rig.nodes[1].received_count, row->reason == TAKEN ? 1 : 0);
                assert_int_equal(rig.nodes[1].sent_count, 0); /* nothing is forwarded */
                if (row->reason == TAKEN) {
                    assert_int_equal(rig.nodes[1].received[0].secured, 0);
                }
            } else if (!row->key) {
                assert_int_equal(rig_dropped(1), NET_DROP_KEY);
            } else if ((row->to != TO_SITE_GROUP && row->to != TO_NEXT_GLOBAL) || row->global_source) {
                assert_int_equal(rig.nodes[1].received_count + rig.nodes[1].net.stats.forwarded, 1);
            }
        }
    }
}

#define RESTS 2

struct departure {
    unsigned number;
    const char *name;
    int key; /* 1: in use; RESTS: it was, before it began to join */
    bool open;
    int joining;
    int to;
    uint16_t from_port;
    uint16_t to_port;
    int status;
    bool secured;
};

/* From node 1, of which `to` says own where node 0 is meant. */
static const struct departure departures[] = {
    { 1, "nothing to join with", false, false, NOBODY, TO_OWN_LINK_LOCAL, X, J, NET_ERR_NO_KEY, false },
    { 2, "to the peer's join port", false, false, PEER, TO_OWN_LINK_LOCAL, X, J, NET_OK, false },
    { 3, "to the peer's other port", false, false, PEER, TO_OWN_LINK_LOCAL, J, X, NET_ERR_NO_KEY, false },
    { 4, "to another's join port", false, false, OTHER, TO_OWN_LINK_LOCAL, X, J, NET_ERR_NO_KEY, false },
    { 5, "to anybody's join port", false, false, ANY, TO_OWN_LINK_LOCAL, X, J, NET_OK, false },
    { 6, "to all nodes' join port, looking", false, false, ANY, TO_ALL_NODES, X, J, NET_OK, false },
    { 7, "to all routers' join port, looking", false, false, ANY, TO_ALL_ROUTERS, X, J, NET_OK, false },
    { 8, "to all nodes' join port, with a peer", false, false, PEER, TO_ALL_NODES, X, J, NET_ERR_NO_KEY, false },
    { 9, "to all nodes' other port", false, false, ANY, TO_ALL_NODES, J, X, NET_ERR_NO_KEY, false },
    { 10, "to a group over hops", false, false, ANY, TO_SITE_GROUP, X, J, NET_ERR_NO_KEY, false },
    { 11, "to a global address", false, false, ANY, TO_OWN_GLOBAL, X, J, NET_ERR_NO_KEY, false },
    { 12, "to the peer, with a key", true, false, PEER, TO_OWN_LINK_LOCAL, X, J, NET_OK, true },
    { 13, "to all, with a key", true, false, ANY, TO_ALL_ROUTERS, X, J, NET_OK, true },
    { 14, "from a closed join port", true, false, NOBODY, TO_OWN_LINK_LOCAL, J, X, NET_OK, true },
    { 15, "from an open join port", true, true, NOBODY, TO_OWN_LINK_LOCAL, J, X, NET_OK, false },
    { 16, "from an open join port to our peer's", true, true, PEER, TO_OWN_LINK_LOCAL, J, J, NET_OK, true },
    { 17, "from an open join port, with another peer", true, true, OTHER, TO_OWN_LINK_LOCAL, J, X, NET_OK, false },
    { 18, "from an open join port to a global address", true, true, NOBODY, TO_OWN_GLOBAL, J, X, NET_OK, true },
    { 19, "from an open join port to all", true, true, NOBODY, TO_ALL_NODES, J, X, NET_OK, true },
    { 20, "from another port", true, true, NOBODY, TO_OWN_LINK_LOCAL, X, J, NET_OK, true },
    { 21, "to a global address", true, false, NOBODY, TO_OWN_GLOBAL, X, X, NET_OK, true },
    { 22, "to a group", true, false, NOBODY, TO_SITE_GROUP, X, X, NET_OK, true },
    { 23, "from an open join port, without a key yet", false, true, NOBODY, TO_OWN_LINK_LOCAL, J, X, NET_OK, false },
    { 24, "to the peer, with a key that rests", RESTS, false, PEER, TO_OWN_LINK_LOCAL, X, J, NET_OK, false },
    { 25, "to all, with a key that rests", RESTS, false, ANY, TO_ALL_ROUTERS, X, J, NET_OK, false },
    { 26, "to its other port, with a key that rests", RESTS, false, PEER, TO_OWN_LINK_LOCAL, J, X, NET_OK, true },
    { 27, "to another, with a key that rests", RESTS, false, OTHER, TO_OWN_LINK_LOCAL, X, J, NET_OK, true },
    { 28, "to a global address, with a key that rests", RESTS, false, ANY, TO_OWN_GLOBAL, X, J, NET_OK, true },
    { 29, "to a group, with a key that rests", RESTS, false, ANY, TO_SITE_GROUP, X, J, NET_OK, true },
    { 30, "to a group, when it joins no longer", RESTS, false, NOBODY, TO_SITE_GROUP, X, J, NET_OK, true },
};

static struct iotsec_addr target_of(int to, uint16_t port)
{
    switch (to) {
    case TO_OWN_LINK_LOCAL:
        return rig_link_local(0, port);
    case TO_OWN_GLOBAL:
        return rig_address(0, port);
    case TO_NEXT_GLOBAL:
        return rig_address(2, port);
    default:
        return rig_group(to == TO_SITE_GROUP ? 5 : 2, to == TO_ALL_ROUTERS ? 2 : 1, port);
    }
}

static void test_departures(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof departures / sizeof departures[0]; i++) {
        const struct departure *row = &departures[i];
        struct rig_node *node = &rig.nodes[1];
        struct iotsec_addr to;
        struct frame frame;

        print_message("row %u: %s\n", row->number, row->name);
        two_members();
        if (!row->key) {
            net_key_remove(&node->net, 0);
        }
        net_join_open(&node->net, row->open);
        set_joining(1, row->joining);
        if (row->key == 1) {
            assert_int_equal(net_key_use(&node->net, 1), NET_OK);
        }
        to = target_of(row->to, row->to_port);
        assert_int_equal(net_send(&node->net, row->from_port, &to, NULL, 0), row->status);
        rig_run(200);
        assert_int_equal(node->sent_count, row->status == NET_OK ? 1 : 0);
        if (row->status == NET_OK) {
            assert_true(frame_read(&frame, node->sent[0].bytes, node->sent[0].len));
            assert_int_equal(frame.level, row->secured ? NET_ENC_MIC_32 : 0);
        }
    }
}

/* In the clear a node with a key sends from its open join port, to one neighbour, or to join anew. Whatever it is made to do. */
static void test_never_plain(void **state)
{
    unsigned turn;

    (void)state;
    for (turn = 0; turn < 3000; turn++) {
        struct rig_node *node = &rig.nodes[1];
        uint16_t ports[] = { J, X, RIG_PORT, 0xF0B0 };
        struct iotsec_addr to;
        uint16_t from_port = ports[rig_random(4)];
        uint16_t to_port;
        bool rests;
        uint8_t data[200] = { 0 };
        size_t i;

        if (turn % 50 == 0) {
            rig_start(turn + 1);
            rig_member(0);
            rig_member(1);
            rig_member(2);
            rig.hears[0][1] = rig.hears[2][1] = true;
        }
        node->sent_count = 0;
        net_join_open(&node->net, rig_random(2) == 0);
        rests = rig_random(2) == 0;
        set_joining(1, (int)rig_random(4));
        if (!rests) {
            assert_int_equal(net_key_use(&node->net, 1), NET_OK);
        }
        node->aes_fails = rig_random(10) == 0;
        node->reserve_fails = rig_random(10) == 0;
        to_port = ports[rig_random(4)];
        to = target_of((int)rig_random(6), to_port);
        (void)net_send(&node->net, from_port, &to, data, rig_random(sizeof data));
        if (rig_random(3) == 0) {
            to = rig_address(2 - 2 * rig_random(2), X);
            (void)net_send(&rig.nodes[0].net, X, &to, data, rig_random(sizeof data));
        }
        rig_run(200);
        for (i = 0; i < node->sent_count; i++) {
            struct frame frame;

            assert_true(frame_read(&frame, node->sent[i].bytes, node->sent[i].len));
            if (frame.level == 0) {
                bool joins = rests && (node->net.flags & NET_JOINING) != 0 && to_port == J;

                assert_true(joins || ((node->net.flags & NET_JOIN_OPEN) != 0 && from_port == J));
                assert_true(joins || memcmp(frame.target, frame_broadcast, 8) != 0);
            }
        }
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_replay),
        cmocka_unit_test(test_every_bit),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_key_switch),
        cmocka_unit_test(test_same_key_again),
        cmocka_unit_test(test_many_keys),
        cmocka_unit_test(test_neighbours),
        cmocka_unit_test(test_counters_over_restarts),
        cmocka_unit_test(test_counter_spent),
        cmocka_unit_test(test_not_durable_later),
        cmocka_unit_test(test_aes_fails),
        cmocka_unit_test(test_arrivals),
        cmocka_unit_test(test_departures),
        cmocka_unit_test(test_never_plain),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
