/* SPDX-License-Identifier: BSD-3-Clause */
/* Fragments: in any order, twice, missing, overlapping, forged, and more of them than there is room for. */
#include "rig.h"

#include "base/bytes.h"

#define PIECES 8u
#define PAYLOAD 300u

/* A datagram from node 1 to node 0's link-local address, in fragments as another stack may cut it. */
static struct {
    uint8_t header[NET_HEADER_BYTES];
    uint8_t data[NET_DATAGRAM_MAX];
    size_t len;
    struct rig_frame pieces[PIECES]; /* payloads of frames */
    size_t count;
    uint32_t counter;
} cut;

static void make_datagram(size_t len, uint16_t source_port, uint16_t target_port)
{
    struct datagram datagram = { cut.header, cut.data, len };
    struct iotsec_addr from = rig_link_local(1, source_port);
    struct iotsec_addr to = rig_link_local(0, target_port);
    size_t i;

    memset(cut.header, 0, sizeof cut.header);
    for (i = 0; i < len; i++) {
        cut.data[i] = (uint8_t)(i * 7 + i / 256);
    }
    cut.len = len;
    cut.header[0] = 0x60;
    cut.header[6] = 17;
    cut.header[7] = 64;
    memcpy(cut.header + 8, from.ip, 16);
    memcpy(cut.header + 24, to.ip, 16);
    iotsec_put_u16(cut.header + 4, (uint16_t)(8 + len));
    iotsec_put_u16(cut.header + 40, source_port);
    iotsec_put_u16(cut.header + 42, target_port);
    iotsec_put_u16(cut.header + 44, (uint16_t)(8 + len));
    iotsec_put_u16(cut.header + 46, lowpan_checksum(&datagram));
}

static void put_head(uint8_t *out, unsigned dispatch, size_t size, uint16_t tag)
{
    iotsec_put_u16(out, (uint16_t)(dispatch << 8 | size));
    iotsec_put_u16(out + 2, tag);
}

/* A part of the uncompressed datagram, as a further fragment. */
static void make_piece(struct rig_frame *piece, size_t size, uint16_t tag, size_t offset, size_t len)
{
    uint8_t whole[NET_DATAGRAM_MAX + 64];

    memcpy(whole, cut.header, 48);
    memcpy(whole + 48, cut.data, NET_DATAGRAM_MAX - 48);
    put_head(piece->bytes, 0xE0, size, tag);
    piece->bytes[4] = (uint8_t)(offset / 8);
    memcpy(piece->bytes + 5, whole + offset, len);
    piece->len = 5 + len;
}

/* Cuts the datagram into parts of 72 bytes. */
static void make_pieces(uint16_t tag)
{
    uint8_t from[8];
    uint8_t to[8];
    size_t header_len;
    size_t at = 48 + 24;
    struct rig_frame *first = &cut.pieces[0];

    rig_link(1, from);
    rig_link(0, to);
    put_head(first->bytes, 0xC0, 48 + cut.len, tag);
    header_len = lowpan_write(first->bytes + 4, cut.header, from, to, rig_prefix);
    memcpy(first->bytes + 4 + header_len, cut.data, 24);
    first->len = 4 + header_len + 24;
    for (cut.count = 1; at < 48 + cut.len; cut.count++) {
        size_t len = 48 + cut.len - at < 72 ? 48 + cut.len - at : 72;

        assert_true(cut.count < PIECES);
        make_piece(&cut.pieces[cut.count], 48 + cut.len, tag, at, len);
        at += len;
    }
}

static void give_payload(const uint8_t *payload, size_t len, bool secured)
{
    uint8_t frame[127];
    uint8_t to[8];
    size_t frame_len;

    rig_link(0, to);
    frame_len = rig_make_frame(frame, 1, to, secured ? rig_key : NULL, 1, NET_ENC_MIC_32, ++cut.counter, payload, len);
    rig_give(0, frame, frame_len);
}

static void give(size_t piece)
{
    give_payload(cut.pieces[piece].bytes, cut.pieces[piece].len, true);
}

static void begin(size_t len)
{
    rig_start(5);
    rig_member(0);
    rig_member(1);
    cut.counter = 0;
    make_datagram(len, RIG_PORT, RIG_PORT);
    make_pieces(77);
}

static void assert_delivered(size_t times)
{
    assert_int_equal(rig.nodes[0].received_count, times);
    if (times != 0) {
        assert_int_equal(rig.nodes[0].received[times - 1].len, cut.len);
        assert_memory_equal(rig.nodes[0].received[times - 1].data, cut.data, cut.len);
    }
}

static void assert_buffers_free(void)
{
    size_t i;

    for (i = 0; i < RIG_BUFFERS; i++) {
        assert_int_equal(rig.nodes[0].buffers[i].state, 0);
    }
}

/* ---- Order, repetition, loss ---- */

static void test_any_order(void **state)
{
    size_t order[5] = { 0, 1, 2, 3, 4 };
    size_t turns = 0;
    size_t i;

    (void)state;
    begin(PAYLOAD);
    assert_int_equal(cut.count, 5);
    for (;;) {
        begin(PAYLOAD);
        for (i = 0; i < 5; i++) {
            assert_delivered(0);
            give(order[i]);
        }
        assert_delivered(1);
        assert_int_equal(rig_dropped(0), NET_DROP_COUNT);
        assert_buffers_free();
        turns++;
        /* the next permutation */
        for (i = 4; i != 0 && order[i - 1] > order[i]; i--) {
        }
        if (i == 0) {
            break;
        }
        {
            size_t j = 4;
            size_t swap = order[i - 1];
            size_t low = i;

            while (order[j] < swap) {
                j--;
            }
            order[i - 1] = order[j];
            order[j] = swap;
            for (j = 4; low < j; low++, j--) {
                swap = order[low];
                order[low] = order[j];
                order[j] = swap;
            }
        }
    }
    assert_int_equal(turns, 120);
}

static void test_twice(void **state)
{
    size_t again;
    size_t i;

    (void)state;
    for (again = 0; again < 5; again++) {
        begin(PAYLOAD);
        for (i = 0; i < 5; i++) {
            give(i);
            if (again <= i) {
                give(again); /* also after the end */
            }
        }
        give(again);
        assert_delivered(1);
        assert_int_equal(rig_dropped(0), NET_DROP_COUNT);
        assert_buffers_free(); /* what came too late has begun nothing */
    }
}

static void test_missing(void **state)
{
    size_t missing;
    size_t i;

    (void)state;
    for (missing = 0; missing < 5; missing++) {
        begin(PAYLOAD);
        for (i = 0; i < 5; i++) {
            if (i != missing) {
                give(i);
            }
        }
        rig_run(2990);
        assert_int_equal(rig_dropped(0), NET_DROP_COUNT);
        rig_run(20);
        assert_int_equal(rig_dropped(0), NET_DROP_TIMEOUT);
        assert_delivered(0);
        assert_buffers_free();
        give(missing);
        assert_delivered(0);
    }
}

/* ---- What does not fit together ---- */

struct bad {
    unsigned number;
    const char *name;
    size_t size;   /* 0: the datagram's */
    size_t offset;
    size_t len;
    uint8_t spoil; /* of its first byte */
    enum net_drop reason;
    bool whole_gone;
};

static const struct bad bads[] = {
    { 1, "overlaps the end of a part", 0, 64, 16, 0, NET_DROP_FRAGMENT, true },
    { 2, "overlaps the beginning of a part", 0, 136, 16, 0, NET_DROP_FRAGMENT, true },
    { 3, "lies over two parts and a gap", 0, 64, 88, 0, NET_DROP_FRAGMENT, true },
    { 4, "another content at the same place", 0, 144, 72, 1, NET_DROP_FRAGMENT, true },
    { 5, "another content within a part", 0, 152, 8, 1, NET_DROP_FRAGMENT, true },
    { 6, "the same content within a part", 0, 152, 8, 0, NET_DROP_COUNT, false },
    { 7, "the same content, header and data", 0, 40, 16, 0, NET_DROP_COUNT, false },
    { 8, "another size", 48 + PAYLOAD + 8, 72, 72, 0, NET_DROP_FRAGMENT, true },
    { 9, "beyond the end", 0, 344, 8, 0, NET_DROP_FRAGMENT, true },
    { 10, "far beyond the end", 0, 2040, 8, 0, NET_DROP_FRAGMENT, true },
    { 11, "no multiple of 8, not at the end", 0, 216, 9, 0, NET_DROP_FRAGMENT, true },
    { 12, "in the header", 0, 32, 8, 0, NET_DROP_HEADER, false },
    { 13, "all of the header", 0, 0, 48, 0, NET_DROP_HEADER, false },
    { 14, "nothing", 0, 72, 0, 0, NET_DROP_HEADER, false },
    { 15, "a size below a header's", 39, 72, 8, 0, NET_DROP_HEADER, false },
    { 16, "a size above a buffer's", NET_DATAGRAM_MAX + 1, 72, 8, 0, NET_DROP_TOO_LONG, false },
    { 17, "a size above any buffer's", 2047, 72, 8, 0, NET_DROP_TOO_LONG, false },
};

static void test_bad_pieces(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof bads / sizeof bads[0]; i++) {
        const struct bad *bad = &bads[i];
        struct rig_frame piece;
        size_t j;

        print_message("row %u: %s\n", bad->number, bad->name);
        begin(PAYLOAD);
        give(0);
        give(2); /* 0 to 72 and 144 to 216 are there */
        make_piece(&piece, bad->size != 0 ? bad->size : 48 + PAYLOAD, 77, bad->offset % 1024, bad->len);
        piece.bytes[4] = (uint8_t)(bad->offset / 8);
        piece.bytes[5] ^= bad->spoil;
        give_payload(piece.bytes, piece.len, true);
        assert_int_equal(rig_dropped(0), bad->reason);
        for (j = 1; j < cut.count; j += j == 1 ? 2 : 1) {
            give(j);
        }
        for (j = 0; bad->whole_gone && j < cut.count; j++) {
            give(j); /* not even if all of it comes anew */
        }
        assert_delivered(bad->whole_gone ? 0 : 1);
        assert_buffers_free();
        /* later it is another datagram */
        rig_run(3100);
        for (j = 0; j < cut.count; j++) {
            give(j);
        }
        assert_delivered(bad->whole_gone ? 1 : 2);
    }
}

/* What a buffer holds from before is not there: a part is no repetition because it says the same. */
static void test_leftovers(void **state)
{
    struct rig_frame piece;
    size_t turn;
    size_t j;

    (void)state;
    begin(PAYLOAD);
    for (turn = 0; turn <= RIG_BUFFERS; turn++) { /* each buffer once, and then one of them again */
        bool last = turn == RIG_BUFFERS;

        make_pieces((uint16_t)(77 + turn));
        for (j = 0; j + 1 < cut.count; j += last ? 2 : 1) {
            give(j); /* all but the last one; in the end every other one */
        }
        if (!last) {
            rig_run(10000);
            assert_int_equal(rig_dropped(0), NET_DROP_TIMEOUT);
        }
    }
    make_piece(&piece, 48 + PAYLOAD, 77 + RIG_BUFFERS, 64, 88);
    give_payload(piece.bytes, piece.len, true);
    assert_int_equal(rig_dropped(0), NET_DROP_FRAGMENT);
}

/* A part in the clear belongs to no secured datagram, whatever it says. */
static void test_plain_pieces(void **state)
{
    size_t plain;

    (void)state;
    for (plain = 0; plain < 5; plain++) {
        size_t i;

        begin(PAYLOAD);
        make_datagram(PAYLOAD, RIG_PORT, RIG_JOIN_PORT);
        make_pieces(78);
        net_join_open(&rig.nodes[0].net, true);
        for (i = 0; i < 5; i++) {
            give_payload(cut.pieces[i].bytes, cut.pieces[i].len, i != plain);
        }
        assert_delivered(0);
        give(plain);
        assert_delivered(1);
        assert_int_equal(rig.nodes[0].received[0].secured, 1);
    }
}

/* Anybody may begin datagrams in the clear while joining is open. Those who have a key do not notice. */
static void test_flood_of_beginnings(void **state)
{
    uint8_t to[8];
    unsigned i;

    (void)state;
    begin(PAYLOAD);
    net_join_open(&rig.nodes[0].net, true);
    rig_link(0, to);
    for (i = 0; i < 3000; i++) {
        struct frame frame;
        uint8_t bytes[127];
        size_t piece = i % 2 == 0 ? 0 : 1 + rig_random(4);
        unsigned gathering = 0;
        size_t j;

        memset(&frame, 0, sizeof frame);
        memcpy(frame.target, to, 8);
        iotsec_put_u32(frame.source, 0x02000000u + rig_random(1000));
        iotsec_put_u32(frame.source + 4, i);
        frame.pan_id = RIG_PAN;
        (void)frame_write(&frame, bytes);
        memcpy(bytes + frame.header_len, cut.pieces[piece].bytes, cut.pieces[piece].len);
        iotsec_put_u16(bytes + frame.header_len + 2, (uint16_t)rig_random(65536));
        rig_give(0, bytes, frame.header_len + cut.pieces[piece].len);
        for (j = 0; j < RIG_BUFFERS; j++) {
            gathering += rig.nodes[0].buffers[j].state != 0;
        }
        assert_true(gathering <= 1);
        if (i % 500 == 499) {
            make_pieces((uint16_t)i);
            for (j = 0; j < cut.count; j++) {
                give(j);
            }
            assert_delivered(i / 500 + 1);
        }
        if (i % 100 == 0) {
            rig_run(1);
        }
    }
}

/* A joiner's fragments get through although somebody began something; at the latest when that has stood for a while. */
static void test_joiners_share(void **state)
{
    uint8_t frame[127];
    uint8_t to[8];
    size_t turn;
    size_t j;

    (void)state;
    for (turn = 0; turn < 2; turn++) {
        begin(PAYLOAD);
        make_datagram(PAYLOAD, RIG_PORT, RIG_JOIN_PORT);
        make_pieces(5);
        net_join_open(&rig.nodes[0].net, true);
        rig_link(0, to);
        rig_give(0, frame, rig_make_frame(frame, 3, to, NULL, 0, 0, 0, cut.pieces[1].bytes, cut.pieces[1].len));
        rig_run(turn == 0 ? 245 : 255);
        for (j = 0; j < cut.count; j++) {
            give_payload(cut.pieces[j].bytes, cut.pieces[j].len, false);
        }
        assert_delivered(turn);
        assert_int_equal(rig_dropped(0), turn == 0 ? NET_DROP_FULL : NET_DROP_TIMEOUT);
    }
}

/* What began in the clear gives way when all buffers are needed under a key. */
static void test_plain_gives_way(void **state)
{
    uint8_t to[8];
    unsigned i;
    size_t j;

    (void)state;
    begin(PAYLOAD);
    net_join_open(&rig.nodes[0].net, true);
    rig_link(0, to);
    give_payload(cut.pieces[0].bytes, cut.pieces[0].len, false);
    for (i = 2; i < 5; i++) { /* from three others, who stop half-way; the last of them goes on */
        for (j = 1; j < (i == 4 ? cut.count : 2); j++) {
            uint8_t frame[127];

            rig_give(0, frame, rig_make_frame(frame, i, to, rig_key, 1, NET_ENC_MIC_32, (uint32_t)(10 + j), cut.pieces[j].bytes, cut.pieces[j].len));
        }
    }
    for (j = 0; j < RIG_BUFFERS; j++) {
        assert_int_equal(rig.nodes[0].buffers[j].flags & WAY_SECURED, WAY_SECURED);
    }
    assert_int_equal(rig_dropped(0), NET_DROP_TIMEOUT);
}

/* A node that holds a key may fill the buffers too; but not for longer than the time-out, and its own next one goes first. */
static void test_full(void **state)
{
    unsigned i;
    size_t j;

    (void)state;
    begin(PAYLOAD);
    for (i = 0; i < 20; i++) {
        make_pieces((uint16_t)(100 + i));
        give(0);
    }
    for (j = 1; j < cut.count; j++) {
        give(j);
    }
    assert_delivered(1);
    rig_run(3100);
    assert_buffers_free();
}

/* ---- There and back ---- */

static void test_every_length(void **state)
{
    size_t len;

    (void)state;
    for (len = 0; len <= NET_DATAGRAM_MAX - NET_HEADER_BYTES; len += len < 260 || len > 1200 ? 1 : 13) {
        struct iotsec_addr to;

        begin(0);
        make_datagram(len, RIG_PORT, RIG_PORT);
        rig.hears[1][0] = true;
        to = rig_link_local(0, RIG_PORT);
        assert_int_equal(net_send(&rig.nodes[1].net, RIG_PORT, &to, cut.data, len), NET_OK);
        rig_run(120);
        assert_delivered(1);
        assert_int_equal(rig_dropped(0), NET_DROP_COUNT);
        assert_int_equal(rig_dropped(1), NET_DROP_COUNT);
    }
    assert_int_equal(net_send(&rig.nodes[1].net, RIG_PORT, &rig.nodes[0].received[0].to, cut.data, len), NET_ERR_TOO_LONG);
}

/* The radio has no room for a while: nothing is lost, nothing is sent twice, and no counter is spent in vain. */
static void test_radio_full(void **state)
{
    struct iotsec_addr to;
    unsigned i;

    (void)state;
    begin(PAYLOAD);
    rig.hears[1][0] = true;
    to = rig_link_local(0, RIG_PORT);
    rig.nodes[1].radio_full = true;
    assert_int_equal(net_send(&rig.nodes[1].net, RIG_PORT, &to, cut.data, cut.len), NET_OK);
    assert_int_equal(rig_say(1, &to, "small"), NET_OK);
    rig_run(500);
    assert_int_equal(rig.nodes[1].sent_count, 0);
    assert_int_equal(rig_say(1, &to, "third"), NET_OK);
    assert_int_equal(rig_say(1, &to, "fourth"), NET_ERR_FULL);
    rig.nodes[1].radio_full = false;
    rig_run(200);
    assert_int_equal(rig_heard(0, "small"), 1);
    assert_int_equal(rig_heard(0, "third"), 1);
    assert_int_equal(rig.nodes[0].received_count, 3);
    assert_int_equal(rig.nodes[1].sent_count, 6);
    assert_int_equal(rig.nodes[1].net.counter, 6);
    for (i = 0; i < RIG_BUFFERS; i++) {
        assert_int_equal(rig.nodes[1].buffers[i].state, 0);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_order),
        cmocka_unit_test(test_twice),
        cmocka_unit_test(test_missing),
        cmocka_unit_test(test_bad_pieces),
        cmocka_unit_test(test_leftovers),
        cmocka_unit_test(test_plain_pieces),
        cmocka_unit_test(test_flood_of_beginnings),
        cmocka_unit_test(test_joiners_share),
        cmocka_unit_test(test_plain_gives_way),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_every_length),
        cmocka_unit_test(test_radio_full),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
