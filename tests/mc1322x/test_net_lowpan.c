/* SPDX-License-Identifier: BSD-3-Clause */
/* Compressed headers by the octet, as RFC 6282's figures have them, and every form there and back. */
#include "rig.h"

#include "base/bytes.h"

/* Sender and receiver of the frame; context 0 is fd00:0:0:1::/64. */
#define FROM "0250c2fffea8dd10"
#define TO "0250c2fffea8dd11"
#define LL "fe80000000000000"
#define CTX "fd00000000000001"
#define SHORT(x) "000000fffe00" x

struct row {
    unsigned number;
    const char *name;
    const char *in;
    enum net_drop reason; /* NET_DROP_COUNT: read */
    bool best;            /* lowpan_write makes the same of it */
    uint32_t flow;
    uint8_t next;
    uint8_t hops;
    const char *source;
    const char *target;
    const char *udp; /* ports and checksum */
};

#define READ NET_DROP_COUNT
#define REFUSED(reason) reason, false, 0, 0, 0, NULL, NULL, NULL

static const struct row rows[] = {
    /* hop limits */
    { 1, "all from the link", "7E33 F0 1633 1634 ABCD", READ, true, 0, 17, 64, LL FROM, LL TO, "1633 1634 ABCD" },
    { 2, "hop limit 1", "7D33 F0 1633 1634 ABCD", READ, true, 0, 17, 1, LL FROM, LL TO, "1633 1634 ABCD" },
    { 3, "hop limit 255", "7F33 F0 1633 1634 ABCD", READ, true, 0, 17, 255, LL FROM, LL TO, "1633 1634 ABCD" },
    { 4, "hop limit 63", "7C33 3F F0 1633 1634 ABCD", READ, true, 0, 17, 63, LL FROM, LL TO, "1633 1634 ABCD" },
    { 5, "hop limit 64, written out", "7C33 40 F0 1633 1634 ABCD", READ, false, 0, 17, 64, LL FROM, LL TO, "1633 1634 ABCD" },
    /* traffic class and flow label: class 0xB9 = class 46, congestion 01 */
    { 6, "class and label", "6633 6E 0ABCDE F0 1633 1634 ABCD", READ, true, 0xB9ABCDE, 17, 64, LL FROM, LL TO, "1633 1634 ABCD" },
    { 7, "congestion and label", "6E33 4ABCDE F0 1633 1634 ABCD", READ, false, 0x01ABCDE, 17, 64, LL FROM, LL TO, "1633 1634 ABCD" },
    { 8, "class alone", "7633 6E F0 1633 1634 ABCD", READ, false, 0xB900000, 17, 64, LL FROM, LL TO, "1633 1634 ABCD" },
    { 9, "class and label, all zero", "6633 00 000000 F0 1633 1634 ABCD", READ, false, 0, 17, 64, LL FROM, LL TO, "1633 1634 ABCD" },
    /* source, stateless */
    { 10, "source of 128 bits", "7E03 2001 0DB8 0000 0000 0000 0000 0000 0001 F0 1633 1634 ABCD", READ, true, 0, 17, 64,
      "20010db8000000000000000000000001", LL TO, "1633 1634 ABCD" },
    { 11, "source of 64 bits", "7E13 0102030405060708 F0 1633 1634 ABCD", READ, true, 0, 17, 64, LL "0102030405060708", LL TO, "1633 1634 ABCD" },
    { 12, "source of 16 bits", "7E23 0102 F0 1633 1634 ABCD", READ, true, 0, 17, 64, LL SHORT("0102"), LL TO, "1633 1634 ABCD" },
    /* source, stateful */
    { 13, "unspecified source", "7E43 F0 1633 1634 ABCD", READ, false, 0, 17, 64, "00000000000000000000000000000000", LL TO, "1633 1634 ABCD" },
    { 14, "context and 64 bits", "7E53 0102030405060708 F0 1633 1634 ABCD", READ, true, 0, 17, 64, CTX "0102030405060708", LL TO, "1633 1634 ABCD" },
    { 15, "context and 16 bits", "7E63 0102 F0 1633 1634 ABCD", READ, true, 0, 17, 64, CTX SHORT("0102"), LL TO, "1633 1634 ABCD" },
    { 16, "context and link", "7E73 F0 1633 1634 ABCD", READ, true, 0, 17, 64, CTX FROM, LL TO, "1633 1634 ABCD" },
    /* target */
    { 17, "target of 128 bits", "7E30 2001 0DB8 0000 0000 0000 0000 0000 0001 F0 1633 1634 ABCD", READ, true, 0, 17, 64,
      LL FROM, "20010db8000000000000000000000001", "1633 1634 ABCD" },
    { 18, "target of 64 bits", "7E31 0102030405060708 F0 1633 1634 ABCD", READ, true, 0, 17, 64, LL FROM, LL "0102030405060708", "1633 1634 ABCD" },
    { 19, "target of 16 bits", "7E32 0102 F0 1633 1634 ABCD", READ, true, 0, 17, 64, LL FROM, LL SHORT("0102"), "1633 1634 ABCD" },
    { 20, "context and 64 bits", "7E35 0102030405060708 F0 1633 1634 ABCD", READ, true, 0, 17, 64, LL FROM, CTX "0102030405060708", "1633 1634 ABCD" },
    { 21, "context and 16 bits", "7E36 0102 F0 1633 1634 ABCD", READ, true, 0, 17, 64, LL FROM, CTX SHORT("0102"), "1633 1634 ABCD" },
    { 22, "context and link", "7E37 F0 1633 1634 ABCD", READ, true, 0, 17, 64, LL FROM, CTX TO, "1633 1634 ABCD" },
    { 23, "over hops", "7E66 0101 0102 F0 1633 1634 ABCD", READ, true, 0, 17, 64, CTX SHORT("0101"), CTX SHORT("0102"), "1633 1634 ABCD" },
    { 24, "context 0, named", "7EF7 00 F0 1633 1634 ABCD", READ, false, 0, 17, 64, CTX FROM, CTX TO, "1633 1634 ABCD" },
    { 25, "named, but not used", "7EB3 77 F0 1633 1634 ABCD", READ, false, 0, 17, 64, LL FROM, LL TO, "1633 1634 ABCD" },
    { 26, "source of context 1", "7EF7 10 F0 1633 1634 ABCD", REFUSED(NET_DROP_CONTEXT) },
    { 27, "target of context 1", "7EF7 01 F0 1633 1634 ABCD", REFUSED(NET_DROP_CONTEXT) },
    { 28, "unspecified source of context 1", "7EC3 10 F0 1633 1634 ABCD", READ, false, 0, 17, 64,
      "00000000000000000000000000000000", LL TO, "1633 1634 ABCD" },
    { 29, "reserved: stateful target of 128 bits", "7E34 F0 1633 1634 ABCD", REFUSED(NET_DROP_DISPATCH) },
    /* multicast */
    { 30, "group of 128 bits", "7E38 FF02 0000 0000 0000 0001 0001 FF00 0001 F0 1633 1634 ABCD", READ, true, 0, 17, 64,
      LL FROM, "ff0200000000000000010001ff000001", "1633 1634 ABCD" },
    { 31, "group of 48 bits", "7E39 15 0102030405 F0 1633 1634 ABCD", READ, true, 0, 17, 64, LL FROM, "ff150000000000000000000102030405", "1633 1634 ABCD" },
    { 32, "group of 32 bits", "7E3A 15 010203 F0 1633 1634 ABCD", READ, true, 0, 17, 64, LL FROM, "ff150000000000000000000000010203", "1633 1634 ABCD" },
    { 33, "group of 8 bits", "7E3B 01 F0 1633 1634 ABCD", READ, true, 0, 17, 64, LL FROM, "ff020000000000000000000000000001", "1633 1634 ABCD" },
    { 34, "realm-local, all MPL forwarders", "7E3A 03 0000FC F0 1633 1634 ABCD", READ, true, 0, 17, 64,
      LL FROM, "ff0300000000000000000000000000fc", "1633 1634 ABCD" },
    { 35, "group of the prefix", "7E3C 3500 01020304 F0 1633 1634 ABCD", READ, false, 0, 17, 64, LL FROM, "ff350040" CTX "01020304", "1633 1634 ABCD" },
    { 36, "reserved: stateful group of another length", "7E3D 3500 01020304 F0 1633 1634 ABCD", REFUSED(NET_DROP_DISPATCH) },
    { 37, "group of another context", "7EBC 01 3500 01020304 F0 1633 1634 ABCD", REFUSED(NET_DROP_CONTEXT) },
    { 38, "a group that is none", "7E38 FE02 0000 0000 0000 0000 0000 0000 0001 F0 1633 1634 ABCD", REFUSED(NET_DROP_HEADER) },
    /* UDP */
    { 39, "small target port", "7E33 F1 1633 34 ABCD", READ, true, 0, 17, 64, LL FROM, LL TO, "1633 F034 ABCD" },
    { 40, "small source port", "7E33 F2 33 1634 ABCD", READ, true, 0, 17, 64, LL FROM, LL TO, "F033 1634 ABCD" },
    { 41, "two tiny ports", "7E33 F3 1F ABCD", READ, true, 0, 17, 64, LL FROM, LL TO, "F0B1 F0BF ABCD" },
    { 42, "two small ports: the target's", "7E33 F1 F0C1 C2 ABCD", READ, true, 0, 17, 64, LL FROM, LL TO, "F0C1 F0C2 ABCD" },
    { 43, "no checksum", "7E33 F4 1633 1634", READ, false, 0, 17, 64, LL FROM, LL TO, "1633 1634 0000" },
    { 44, "no checksum, two tiny ports", "7E33 F7 1F", READ, false, 0, 17, 64, LL FROM, LL TO, "F0B1 F0BF 0000" },
    { 45, "a checksum of 0", "7E33 F0 1633 1634 0000", REFUSED(NET_DROP_HEADER) },
    { 46, "UDP as it is", "7A33 11 1633 1634 0008 ABCD", READ, false, 0, 17, 64, LL FROM, LL TO, "1633 1634 ABCD" },
    { 47, "UDP as it is, wrong length", "7A33 11 1633 1634 0009 ABCD", REFUSED(NET_DROP_HEADER) },
    { 48, "another next header", "7A33 3A", READ, true, 0, 58, 64, LL FROM, LL TO, NULL },
    { 49, "an extension header", "7E33 E0 1100", REFUSED(NET_DROP_DISPATCH) },
    /* uncompressed */
    { 50, "uncompressed", "41 60000000 0008 11 40 " LL FROM LL TO "1633 1634 0008 ABCD", READ, false, 0, 17, 64, LL FROM, LL TO, "1633 1634 ABCD" },
    { 51, "uncompressed, not UDP", "41 6B9ABCDE 0000 3A 05 " LL FROM LL TO, READ, false, 0xB9ABCDE, 58, 5, LL FROM, LL TO, NULL },
    { 52, "uncompressed, wrong length", "41 60000000 0009 11 40 " LL FROM LL TO "1633 1634 0008 ABCD", REFUSED(NET_DROP_HEADER) },
    { 53, "uncompressed, wrong length of UDP", "41 60000000 0008 11 40 " LL FROM LL TO "1633 1634 0009 ABCD", REFUSED(NET_DROP_HEADER) },
    { 54, "IPv4", "41 45000000 0008 11 40 " LL FROM LL TO "1633 1634 0008 ABCD", REFUSED(NET_DROP_HEADER) },
    /* something else */
    { 55, "not 6LoWPAN", "3F33 F0 1633 1634 ABCD", REFUSED(NET_DROP_DISPATCH) },
    { 56, "mesh", "8833 F0 1633 1634 ABCD", REFUSED(NET_DROP_DISPATCH) },
    { 57, "HC1", "4233 F0 1633 1634 ABCD", REFUSED(NET_DROP_DISPATCH) },
};

static enum net_drop read_exact(uint8_t *header, const uint8_t *in, size_t *len, size_t total, const uint8_t *prefix)
{
    uint8_t from[8];
    uint8_t to[8];
    uint8_t *copy = malloc(*len != 0 ? *len : 1);
    enum net_drop reason;

    assert_non_null(copy);
    memcpy(copy, in, *len);
    (void)rig_hex(from, FROM);
    (void)rig_hex(to, TO);
    reason = lowpan_read(header, copy, len, total, from, to, prefix);
    free(copy);
    return reason;
}

static size_t make_header(const struct row *row, uint8_t header[NET_HEADER_BYTES], size_t payload)
{
    uint8_t udp[6];

    memset(header, 0, NET_HEADER_BYTES);
    iotsec_put_u32(header, 0x60000000u | row->flow);
    header[6] = row->next;
    header[7] = row->hops;
    (void)rig_hex(header + 8, row->source);
    (void)rig_hex(header + 24, row->target);
    if (row->udp == NULL) {
        iotsec_put_u16(header + 4, (uint16_t)payload);
        return 40;
    }
    (void)rig_hex(udp, row->udp);
    memcpy(header + 40, udp, 4);
    memcpy(header + 46, udp + 4, 2);
    iotsec_put_u16(header + 4, (uint16_t)(8 + payload));
    iotsec_put_u16(header + 44, (uint16_t)(8 + payload));
    return 48;
}

static void test_rows(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct row *row = &rows[i];
        uint8_t in[80];
        uint8_t header[NET_HEADER_BYTES];
        uint8_t expected[NET_HEADER_BYTES];
        uint8_t out[LOWPAN_COMPRESSED_MAX];
        uint8_t from[8];
        uint8_t to[8];
        size_t len = rig_hex(in, row->in);
        size_t used = len;
        size_t head;
        size_t cut;

        print_message("row %u: %s\n", row->number, row->name);
        (void)rig_hex(from, FROM);
        (void)rig_hex(to, TO);
        assert_int_equal(read_exact(header, in, &used, 0, rig_prefix), row->reason);
        for (cut = 0; cut < len; cut++) {
            uint8_t other[NET_HEADER_BYTES];

            used = cut;
            assert_int_not_equal(read_exact(other, in, &used, 0, rig_prefix), NET_DROP_COUNT);
        }
        if (row->reason != READ) {
            continue;
        }
        head = make_header(row, expected, 0);
        assert_int_equal(lowpan_head(header), head);
        assert_memory_equal(header, expected, head);
        if (row->best) {
            assert_int_equal(lowpan_write(out, header, from, to, rig_prefix), len);
            assert_memory_equal(out, in, len);
        }
        /* with a payload, and as the first fragment of more; lengths that stand there say the whole */
        if (in[0] != 0x41 && (in[0] & 4) != 0) {
            memset(in + len, 0x55, 8);
            used = len + 8;
            assert_int_equal(read_exact(header, in, &used, 0, rig_prefix), NET_DROP_COUNT);
            assert_int_equal(used, len);
            assert_memory_equal(header, expected, 4);
            (void)make_header(row, expected, 8);
            assert_memory_equal(header, expected, head);
            used = len + 8;
            assert_int_equal(read_exact(header, in, &used, head + 700, rig_prefix), NET_DROP_COUNT);
            (void)make_header(row, expected, 700);
            assert_memory_equal(header, expected, head);
        }
        /* without a context, what uses it is refused */
        used = len;
        if (strstr(row->in, "7E33") == NULL && (strstr(row->source, CTX) != NULL || strstr(row->target, CTX) != NULL)) {
            assert_int_equal(read_exact(header, in, &used, 0, NULL), NET_DROP_CONTEXT);
        }
    }
}

static void random_address(uint8_t *ip, unsigned form, const uint8_t link[8])
{
    unsigned i;

    for (i = 0; i < 16; i++) {
        ip[i] = (uint8_t)rig_random(256);
    }
    ip[0] = 0x20;
    switch (form) {
    case 0:
        break;
    case 1:
    case 2:
    case 3:
        memcpy(ip, lowpan_link_local, 8);
        break;
    case 4:
    case 5:
    case 6:
        memcpy(ip, rig_prefix, 8);
        break;
    case 7: /* groups, of each length */
        ip[0] = 0xFF;
        break;
    case 8:
        memset(ip + 2, 0, 9);
        ip[0] = 0xFF;
        break;
    case 9:
        memset(ip + 2, 0, 11);
        ip[0] = 0xFF;
        break;
    case 10:
        memset(ip + 2, 0, 13);
        ip[0] = 0xFF;
        ip[1] = 2;
        break;
    case 11:
        ip[0] = 0xFF;
        ip[3] = 64;
        memcpy(ip + 4, rig_prefix, 8);
        break;
    default:
        memset(ip, 0, 16);
        break;
    }
    if (form == 2 || form == 5) {
        memcpy(ip + 8, frame_broadcast, 6);
    } else if (form == 3 || form == 6) {
        memcpy(ip + 8, link, 8);
    }
}

static void test_round_trips(void **state)
{
    static const size_t lengths[] = { 16, 8, 2, 0, 8, 2, 0, 16, 6, 4, 1, 16, 16 }; /* nobody sends from :: or to a group of the prefix */
    static const uint8_t hops[] = { 0, 1, 2, 63, 64, 65, 254, 255 };
    unsigned source_form;
    unsigned target_form;
    unsigned turn;

    (void)state;
    rig_start(3);
    for (source_form = 0; source_form <= 12; source_form += source_form == 6 ? 6 : 1) {
        for (target_form = 0; target_form <= 11; target_form++) {
            for (turn = 0; turn < 200; turn++) {
                uint8_t header[NET_HEADER_BYTES] = { 0x60 };
                uint8_t again[NET_HEADER_BYTES];
                uint8_t out[LOWPAN_COMPRESSED_MAX];
                uint8_t from[8];
                uint8_t to[8];
                size_t len;
                size_t used;
                size_t head;

                (void)rig_hex(from, FROM);
                (void)rig_hex(to, TO);
                if ((turn & 1) != 0) {
                    frame_from_short(to, (uint16_t)rig_random(65536));
                }
                random_address(header + 8, source_form, from);
                random_address(header + 24, target_form, to);
                header[6] = (turn & 2) != 0 ? 17 : (uint8_t)(18 + rig_random(100));
                header[7] = hops[rig_random(8)];
                if ((turn & 4) != 0) {
                    header[0] = (uint8_t)(0x60u | rig_random(16));
                    header[1] = (uint8_t)(rig_random(16) << 4);
                }
                if ((turn & 8) != 0) {
                    header[1] |= (uint8_t)rig_random(16);
                    header[2] = (uint8_t)rig_random(256);
                    header[3] = (uint8_t)rig_random(256);
                }
                head = lowpan_head(header);
                if (head == 48) {
                    iotsec_put_u16(header + 4, 8);
                    iotsec_put_u16(header + 40, (uint16_t)((turn & 16) != 0 ? rig_random(65536) : 0xF0A0 + rig_random(32)));
                    iotsec_put_u16(header + 42, (uint16_t)((turn & 32) != 0 ? rig_random(65536) : 0xF0A0 + rig_random(32)));
                    iotsec_put_u16(header + 44, 8);
                    iotsec_put_u16(header + 46, (uint16_t)(1 + rig_random(65535)));
                }
                len = used = lowpan_write(out, header, from, to, rig_prefix);
                assert_true(len <= sizeof out);
                assert_true(len <= 2 + 4 + 1 + lengths[source_form] + lengths[target_form] + (head == 48 ? 7 : 1));
                assert_int_equal(lowpan_read(again, out, &used, 0, from, to, rig_prefix), NET_DROP_COUNT);
                assert_int_equal(used, len);
                assert_memory_equal(again, header, head);
            }
        }
    }
}

/* Anything at all is read to its end, or refused, and never beyond. */
static void test_garbage(void **state)
{
    unsigned turn;

    (void)state;
    rig_start(11);
    for (turn = 0; turn < 200000; turn++) {
        uint8_t in[64];
        uint8_t header[NET_HEADER_BYTES];
        size_t len = rig_random(sizeof in);
        size_t used = len;
        size_t i;

        for (i = 0; i < len; i++) {
            in[i] = (uint8_t)rig_random(256);
        }
        if (len != 0 && (turn & 3) != 0) {
            in[0] = (uint8_t)(0x60u | (in[0] & 0x1Fu));
        }
        if (read_exact(header, in, &used, 0, (turn & 4) != 0 ? rig_prefix : NULL) == NET_DROP_COUNT) {
            assert_true(used <= len);
            assert_int_equal(iotsec_get_u16(header + 4), lowpan_head(header) - 40 + len - used);
            assert_int_equal(header[0] >> 4, 6);
        }
    }
}

static void test_checksum(void **state)
{
    /* fe80::1 to fe80::2, ports 5683 and 5684, "abc", summed up by hand: 3 + 2 * fe80 + 17 + 2 * 11 + 5683 + 5684 + 6162 + 6300 */
    uint8_t header[NET_HEADER_BYTES] = { 0x60, 0, 0, 0, 0, 11, 17, 64 };
    uint8_t data[5] = { 'a', 'b', 'c', 0, 0 };
    struct datagram datagram = { header, data, 3 };
    uint32_t sum = 3 + 2 * 0xFE80u + 17 + 22 + 5683 + 5684 + 0x6162 + 0x6300;

    (void)state;
    header[8] = header[24] = 0xFE;
    header[9] = header[25] = 0x80;
    header[23] = 1;
    header[39] = 2;
    iotsec_put_u16(header + 40, 5683);
    iotsec_put_u16(header + 42, 5684);
    sum = (sum & 0xFFFF) + (sum >> 16);
    sum = (sum & 0xFFFF) + (sum >> 16);
    assert_int_equal(lowpan_checksum(&datagram), (uint16_t)~sum);
    /* what would be 0 is FFFF */
    datagram.len = 5;
    sum = 3 + 2 * 0xFE80u + 17 + 26 + 5683 + 5684 + 0x6162 + 0x6300;
    sum = (sum & 0xFFFF) + (sum >> 16);
    sum = (sum & 0xFFFF) + (sum >> 16);
    data[3] = (uint8_t)((0xFFFF - sum) & 0xFF);
    data[2] = 'c';
    data[4] = (uint8_t)((0xFFFF - sum) >> 8);
    data[3] = data[4] = 0;
    iotsec_put_u16(header + 40, (uint16_t)(5683 + (0xFFFF - sum)));
    assert_int_equal(lowpan_checksum(&datagram), 0xFFFF);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_checksum),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
