/* SPDX-License-Identifier: BSD-3-Clause */
/* Headers of IEEE 802.15.4 frames, by the octet. */
#include "rig.h"

struct row {
    unsigned number;
    const char *name;
    const char *frame;
    const char *target; /* as an identifier; NULL: refused */
    const char *source;
    uint8_t sequence;
    uint8_t level;
    uint32_t counter;
    uint8_t key_index;
    bool same; /* frame_write makes the same octets of it */
};

#define SHORT_2 "000000fffe000102"
#define SHORT_1 "000000fffe000101"
#define ALL "000000fffe00ffff"
#define EUI_0 "0250c2fffea8dd10"
#define EUI_1 "0250c2fffea8dd11"

static const struct row rows[] = {
    { 1, "short to short", "6188 07 EFBE 0201 0101", SHORT_2, SHORT_1, 7, 0, 0, 0, true },
    { 2, "EUI-64 to EUI-64", "61CC 08 EFBE 11DDA8FEFFC25000 10DDA8FEFFC25000", EUI_1, EUI_0, 8, 0, 0, 0, true },
    { 3, "EUI-64 to short", "61C8 FF EFBE 0201 10DDA8FEFFC25000", SHORT_2, EUI_0, 255, 0, 0, 0, true },
    { 4, "short to EUI-64", "618C 00 EFBE 11DDA8FEFFC25000 0101", EUI_1, SHORT_1, 0, 0, 0, 0, true },
    { 5, "to all, without acknowledgement", "41C8 00 EFBE FFFF 10DDA8FEFFC25000", ALL, EUI_0, 0, 0, 0, 0, true },
    { 6, "both PAN IDs, the same", "2188 07 EFBE 0201 EFBE 0101", SHORT_2, SHORT_1, 7, 0, 0, 0, false },
    { 7, "both PAN IDs, different", "2188 07 EFBE 0201 EEBE 0101", NULL, NULL, 0, 0, 0, 0, false },
    { 8, "secured, MIC-32", "69DC 07 EFBE 11DDA8FEFFC25000 10DDA8FEFFC25000 0D 05030201 FE", EUI_1, EUI_0, 7, 5, 0x01020305, 254, true },
    { 9, "secured, MIC-64", "69DC 07 EFBE 11DDA8FEFFC25000 10DDA8FEFFC25000 0E FFFFFFFF 01", EUI_1, EUI_0, 7, 6, UINT32_MAX, 1, true },
    { 10, "secured, implicit key", "69DC 07 EFBE 11DDA8FEFFC25000 10DDA8FEFFC25000 05 05000000 01", NULL, NULL, 0, 0, 0, 0, false },
    { 11, "secured, key source of 4", "69DC 07 EFBE 11DDA8FEFFC25000 10DDA8FEFFC25000 15 05000000 00000000 01", NULL, NULL, 0, 0, 0, 0, false },
    { 12, "secured, level 0", "69DC 07 EFBE 11DDA8FEFFC25000 10DDA8FEFFC25000 08 05000000 01", NULL, NULL, 0, 0, 0, 0, false },
    { 13, "secured, reserved bits", "69DC 07 EFBE 11DDA8FEFFC25000 10DDA8FEFFC25000 2D 05000000 01", NULL, NULL, 0, 0, 0, 0, false },
    { 14, "secured, version 0", "69CC 07 EFBE 11DDA8FEFFC25000 10DDA8FEFFC25000 0D 05000000 01", NULL, NULL, 0, 0, 0, 0, false },
    { 15, "version 1 in the clear", "61DC 08 EFBE 11DDA8FEFFC25000 10DDA8FEFFC25000", EUI_1, EUI_0, 8, 0, 0, 0, false },
    { 16, "version 2", "61EC 08 EFBE 11DDA8FEFFC25000 10DDA8FEFFC25000", NULL, NULL, 0, 0, 0, 0, false },
    { 17, "a beacon", "0080 08 EFBE 0101", NULL, NULL, 0, 0, 0, 0, false },
    { 18, "an acknowledgement", "0200 08", NULL, NULL, 0, 0, 0, 0, false },
    { 19, "a command", "63C8 08 EFBE 0201 10DDA8FEFFC25000 04", NULL, NULL, 0, 0, 0, 0, false },
    { 20, "no target", "01C0 08 EFBE 10DDA8FEFFC25000 00", NULL, NULL, 0, 0, 0, 0, false },
    { 21, "no source", "0108 08 EFBE 0201 0000000000000000", NULL, NULL, 0, 0, 0, 0, false },
    { 22, "a reserved kind of address", "61C4 08 EFBE 0201 10DDA8FEFFC25000", NULL, NULL, 0, 0, 0, 0, false },
    { 23, "an EUI-64 like a short address", "61C8 08 EFBE 0201 020100FEFF000002", NULL, NULL, 0, 0, 0, 0, false },
    { 24, "more to come", "7188 07 EFBE 0201 0101", SHORT_2, SHORT_1, 7, 0, 0, 0, false },
};

static bool read_exact(struct frame *frame, const uint8_t *bytes, size_t len)
{
    uint8_t *copy = malloc(len != 0 ? len : 1);
    bool read;

    assert_non_null(copy);
    memcpy(copy, bytes, len);
    read = frame_read(frame, copy, len);
    free(copy);
    return read;
}

static void test_rows(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct row *row = &rows[i];
        struct frame frame;
        uint8_t bytes[64];
        uint8_t link[8];
        uint8_t again[FRAME_HEADER_MAX + 1];
        size_t len = rig_hex(bytes, row->frame);
        size_t cut;

        print_message("row %u: %s\n", row->number, row->name);
        assert_int_equal(read_exact(&frame, bytes, len), row->target != NULL);
        for (cut = 0; cut < len; cut++) {
            struct frame shorter;

            assert_false(read_exact(&shorter, bytes, cut));
        }
        if (row->target == NULL) {
            continue;
        }
        assert_int_equal(frame.header_len, len);
        assert_int_equal(frame.pan_id, RIG_PAN);
        (void)rig_hex(link, row->target);
        assert_memory_equal(frame.target, link, 8);
        (void)rig_hex(link, row->source);
        assert_memory_equal(frame.source, link, 8);
        assert_int_equal(frame.sequence, row->sequence);
        assert_int_equal(frame.level, row->level);
        assert_int_equal(frame.counter, row->counter);
        assert_int_equal(frame.key_index, row->key_index);
        if (row->same) {
            assert_int_equal(frame_write(&frame, again), len);
            assert_memory_equal(again, bytes, len);
        }
    }
}

/* Every form of address, with random contents: what is written is read. */
static void test_round_trips(void **state)
{
    unsigned i;

    (void)state;
    rig_start(7);
    for (i = 0; i < 4000; i++) {
        struct frame frame;
        struct frame again;
        uint8_t bytes[FRAME_HEADER_MAX];
        unsigned j;

        memset(&frame, 0, sizeof frame);
        for (j = 0; j < 8; j++) {
            frame.source[j] = (uint8_t)rig_random(256);
            frame.target[j] = (uint8_t)rig_random(256);
        }
        frame.source[0] |= 1; /* no short address by chance */
        frame.target[0] |= 1;
        if ((i & 1) != 0) {
            frame_from_short(frame.source, (uint16_t)rig_random(65536));
        }
        if ((i & 2) != 0) {
            frame_from_short(frame.target, (uint16_t)rig_random(65536));
        }
        frame.pan_id = (uint16_t)rig_random(65536);
        frame.sequence = (uint8_t)rig_random(256);
        if ((i & 4) != 0) {
            frame.level = (uint8_t)(1 + rig_random(7));
            frame.counter = rig_random(1u << 24) << 8 | rig_random(256);
            frame.key_index = (uint8_t)rig_random(256);
        }
        assert_int_equal(frame_write(&frame, bytes), 5u + ((i & 1) != 0 ? 2u : 8u) + ((i & 2) != 0 ? 2u : 8u) + ((i & 4) != 0 ? 6u : 0u));
        assert_true(read_exact(&again, bytes, frame.header_len));
        assert_memory_equal(&again, &frame, sizeof frame);
    }
}

static void test_too_long(void **state)
{
    uint8_t bytes[127];
    struct frame frame;

    (void)state;
    memset(bytes, 0, sizeof bytes);
    (void)rig_hex(bytes, "6188 07 EFBE 0201 0101");
    assert_true(read_exact(&frame, bytes, NET_FRAME_BYTES));
    assert_false(read_exact(&frame, bytes, NET_FRAME_BYTES + 1));
    assert_false(read_exact(&frame, bytes, sizeof bytes));
}

/* ---- How much fits into one frame ---- */

struct fit {
    unsigned number;
    const char *name;
    bool key;
    uint8_t level;
    bool link_local;
    uint16_t port;
    size_t bytes;
};

/*
 * 127 octets, without FCS 2, MAC header 21 (EUI-64 both), security 6 and MIC 4 or 8, IPHC, and UDP 7, or 4 with two ports
 * of 0xF0BX.
 */
static const struct fit fits[] = {
    { 1, "link-local, in the clear", false, NET_ENC_MIC_32, true, RIG_JOIN_PORT, 127 - 2 - 21 - 2 - 7 },
    { 2, "link-local, MIC-32", true, NET_ENC_MIC_32, true, RIG_PORT, 127 - 2 - 21 - 6 - 4 - 2 - 7 },
    { 3, "link-local, MIC-32, two small ports", true, NET_ENC_MIC_32, true, 0xF0B1, 127 - 2 - 21 - 6 - 4 - 2 - 4 },
    { 4, "link-local, MIC-64", true, NET_ENC_MIC_64, true, RIG_PORT, 127 - 2 - 21 - 6 - 8 - 2 - 7 },
    { 5, "link-local, MIC-64, two small ports", true, NET_ENC_MIC_64, true, 0xF0B1, 127 - 2 - 21 - 6 - 8 - 2 - 4 },
    { 6, "over hops, short addresses, MIC-32", true, NET_ENC_MIC_32, false, RIG_PORT, 127 - 2 - 21 - 6 - 4 - 6 - 7 },
    { 7, "over hops, short addresses, MIC-64", true, NET_ENC_MIC_64, false, RIG_PORT, 127 - 2 - 21 - 6 - 8 - 6 - 7 },
};

static void test_payload_of_one_frame(void **state)
{
    static const uint8_t data[128] = { 0 };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof fits / sizeof fits[0]; i++) {
        const struct fit *fit = &fits[i];
        struct rig_node *node = &rig.nodes[1];
        struct iotsec_addr to;
        uint8_t eui64[8];

        print_message("row %u: %s\n", fit->number, fit->name);
        rig_start(1);
        node->config.level = fit->level;
        if (fit->key) {
            rig_member(1);
            rig_member(0);
        } else {
            rig_eui64(0, eui64);
            net_join_through(&node->net, eui64);
        }
        to = fit->link_local ? rig_link_local(0, fit->port) : rig_address(0, fit->port);
        assert_int_equal(net_send(&node->net, fit->port, &to, data, fit->bytes), NET_OK);
        rig_run(20);
        assert_int_equal(node->sent_count, 1);
        assert_int_equal(node->sent[0].len, NET_FRAME_BYTES);
        assert_int_equal(net_send(&node->net, fit->port, &to, data, fit->bytes + 1), NET_OK);
        rig_run(20);
        assert_int_equal(node->sent_count, 3);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_too_long),
        cmocka_unit_test(test_payload_of_one_frame),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
