/* SPDX-License-Identifier: BSD-3-Clause */
#include "test_hal_support.h"

#include <iotsec/status.h>

#include "base/bytes.h"
#include "base/table.h"

/* ---- Reader ---- */

static void reads_fields(void **state)
{
    static const uint8_t data[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19 };
    struct iotsec_reader r;
    struct iotsec_reader sub;
    const uint8_t *view;
    uint8_t copy[2];
    uint8_t u8;
    uint16_t u16;
    uint32_t u24;
    uint32_t u32;
    uint64_t u48;

    (void)state;
    iotsec_rd_init(&r, data, sizeof data);
    assert_true(iotsec_rd_u8(&r, &u8));
    assert_int_equal(u8, 1);
    assert_true(iotsec_rd_u16(&r, &u16));
    assert_int_equal(u16, 0x0203);
    assert_true(iotsec_rd_u24(&r, &u24));
    assert_int_equal(u24, 0x040506);
    assert_true(iotsec_rd_u32(&r, &u32));
    assert_int_equal(u32, 0x0708090A);
    assert_true(iotsec_rd_u48(&r, &u48));
    assert_true(u48 == 0x0B0C0D0E0F10u);
    assert_true(iotsec_rd_copy(&r, copy, 1));
    assert_int_equal(copy[0], 17);
    assert_true(iotsec_rd_view(&r, &view, 1));
    assert_ptr_equal(view, data + 17);
    assert_true(iotsec_rd_sub(&r, &sub, 1));
    assert_int_equal(r.left, 0);
    assert_true(iotsec_rd_u8(&sub, &u8));
    assert_int_equal(u8, 19);
    assert_false(iotsec_rd_u8(&sub, &u8));
}

static void short_reads_take_nothing(void **state)
{
    static const uint8_t data[6] = { 1, 2, 3, 4, 5, 6 };
    struct iotsec_reader r;
    struct iotsec_reader sub;
    const uint8_t *view;
    uint8_t copy[8];
    uint8_t u8 = 9;
    uint16_t u16 = 9;
    uint32_t u32 = 9;
    uint64_t u64 = 9;
    size_t n;

    (void)state;
    for (n = 0; n < 6; n++) {
        iotsec_rd_init(&r, data, n);
        assert_true(n >= 1 || !iotsec_rd_u8(&r, &u8));
        assert_true(n >= 2 || !iotsec_rd_u16(&r, &u16));
        assert_true(n >= 3 || !iotsec_rd_u24(&r, &u32));
        assert_true(n >= 4 || !iotsec_rd_u32(&r, &u32));
        assert_false(iotsec_rd_u48(&r, &u64));
        assert_false(iotsec_rd_copy(&r, copy, n + 1));
        assert_false(iotsec_rd_view(&r, &view, n + 1));
        assert_false(iotsec_rd_view(&r, &view, SIZE_MAX));
        assert_false(iotsec_rd_sub(&r, &sub, n + 1));
        assert_int_equal(r.left, n);
        assert_ptr_equal(r.next, data);
    }
    assert_true(u8 == 9 && u16 == 9 && u32 == 9 && u64 == 9);
    iotsec_rd_init(&r, NULL, 0);
    assert_true(iotsec_rd_view(&r, &view, 0));
    assert_true(iotsec_rd_copy(&r, NULL, 0));
}

/* ---- Writer ---- */

static void writes_fields(void **state)
{
    static const uint8_t want[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 0, 2, 0xAA, 0xBB };
    static const uint8_t tail[2] = { 0xAA, 0xBB };
    uint8_t out[sizeof want];
    struct iotsec_writer w;
    size_t size;
    size_t mark;

    (void)state;
    for (size = 0; size <= sizeof want; size++) {
        memset(out, 0xEE, sizeof out);
        iotsec_wr_init(&w, out, size);
        iotsec_wr_u8(&w, 1);
        iotsec_wr_u16(&w, 0x0203);
        iotsec_wr_u24(&w, 0x040506);
        iotsec_wr_u32(&w, 0x0708090A);
        iotsec_wr_u48(&w, 0x0B0C0D0E0F10u);
        mark = iotsec_wr_open16(&w);
        iotsec_wr_copy(&w, tail, sizeof tail);
        iotsec_wr_copy(&w, NULL, 0);
        iotsec_wr_close16(&w, mark);
        assert_int_equal(w.failed, size < sizeof want);
        assert_true(w.len <= size);
        if (!w.failed) {
            assert_int_equal(w.len, sizeof want);
            assert_memory_equal(out, want, sizeof want);
        } else {
            assert_int_equal(out[size], 0xEE);
        }
    }
}

static void a_failed_writer_stays_failed(void **state)
{
    uint8_t out[3];
    struct iotsec_writer w;

    (void)state;
    iotsec_wr_init(&w, out, sizeof out);
    iotsec_wr_u32(&w, 1);
    assert_true(w.failed);
    iotsec_wr_u8(&w, 1);
    assert_int_equal(w.len, 0);
}

static void a_length_above_16_bits_fails(void **state)
{
    static uint8_t out[0x10002];
    struct iotsec_writer w;
    size_t mark;

    (void)state;
    iotsec_wr_init(&w, out, sizeof out);
    mark = iotsec_wr_open16(&w);
    w.len += 0xFFFF;
    iotsec_wr_close16(&w, mark);
    assert_false(w.failed);
    assert_int_equal(iotsec_get_u16(out), 0xFFFF);
    w.len++;
    iotsec_wr_close16(&w, mark);
    assert_true(w.failed);
}

/* ---- Bytes ---- */

static void compares_every_bit(void **state)
{
    uint8_t a[32];
    uint8_t b[32];
    size_t bit;

    (void)state;
    memset(a, 0x5A, sizeof a);
    memcpy(b, a, sizeof b);
    assert_true(iotsec_ct_equal(a, b, sizeof a));
    assert_true(iotsec_ct_equal(a, b, 0));
    for (bit = 0; bit < 8 * sizeof a; bit++) {
        b[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(iotsec_ct_equal(a, b, sizeof a));
        b[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void wipes(void **state)
{
    uint8_t a[9];
    size_t i;

    (void)state;
    memset(a, 0xFF, sizeof a);
    iotsec_wipe(a, 8);
    for (i = 0; i < 8; i++) {
        assert_int_equal(a[i], 0);
    }
    assert_int_equal(a[8], 0xFF);
    iotsec_wipe(NULL, 0);
}

static void time_is_modular(void **state)
{
    static const struct {
        uint32_t now;
        uint32_t deadline;
        bool reached;
        uint32_t left;
    } rows[] = {
        /* 1 */ { 0, 0, true, 0 },
        /* 2 */ { 0, 1, false, 1 },
        /* 3 */ { 1, 0, true, 0 },
        /* 4 */ { 0xFFFFFFF0u, 0x10, false, 0x20 },
        /* 5 */ { 0x10, 0xFFFFFFF0u, true, 0 },
        /* 6 */ { 5, 5 + 0x7FFFFFFFu, false, 0x7FFFFFFFu },
        /* 7 */ { 5 + 0x7FFFFFFFu, 5, true, 0 },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(iotsec_time_reached(rows[i].now, rows[i].deadline), rows[i].reached);
        assert_int_equal(iotsec_time_left(rows[i].now, rows[i].deadline), rows[i].left);
    }
    assert_int_equal(iotsec_min_u32(3, 4), 3);
    assert_int_equal(iotsec_min_u32(UINT32_MAX, 4), 4);
}

/* ---- Status names ---- */

static void names_statuses(void **state)
{
    int i;
    int named = 0;

    (void)state;
    assert_string_equal(iotsec_status_name(IOTSEC_OK), "OK");
    assert_string_equal(iotsec_status_name(IOTSEC_ERR_WRONG_PSK), "WRONG_PSK");
    assert_string_equal(iotsec_status_name(IOTSEC_ERR_FORGERIES), "FORGERIES");
    assert_string_equal(iotsec_status_name((enum iotsec_status)1), "UNKNOWN");
    assert_string_equal(iotsec_status_name((enum iotsec_status)-100), "UNKNOWN");
    for (i = 0; i > -100; i--) {
        const char *name = iotsec_status_name((enum iotsec_status)i);

        assert_non_null(name);
        named += strcmp(name, "UNKNOWN") != 0;
    }
    assert_true(named >= 45);
}

/* ---- Addresses ---- */

static void tells_addresses_apart(void **state)
{
    static const struct {
        const char *ip;
        int multicast;
        int link_local;
    } rows[] = {
        /*  1 */ { "ff020000000000000000000000000001", 1, 0 },
        /*  2 */ { "ff3e0000000000000000000000001234", 1, 0 },
        /*  3 */ { "fe800000000000000000000000000001", 0, 1 },
        /*  4 */ { "00000000000000000000ffffe0000001", 1, 0 },
        /*  5 */ { "00000000000000000000ffffefffffff", 1, 0 },
        /*  6 */ { "00000000000000000000fffff0000001", 0, 0 },
        /*  7 */ { "00000000000000000000ffffdfffffff", 0, 0 },
        /*  8 */ { "000000000000000000000000e0000001", 0, 0 },
        /*  9 */ { "00000000000000000000000000000000", 0, 0 },
        /* fe80::/10, and what lies on either side of it */
        /* 10 */ { "fe800000000000000000000000000000", 0, 1 },
        /* 11 */ { "febfffffffffffffffffffffffffffff", 0, 1 },
        /* 12 */ { "fe7fffffffffffffffffffffffffffff", 0, 0 },
        /* 13 */ { "fec00000000000000000000000000000", 0, 0 },
        /* 14 */ { "fe000000000000000000000000000001", 0, 0 },
        /* 15 */ { "fd800000000000000000000000000001", 0, 0 },
        /* 16 */ { "7e800000000000000000000000000001", 0, 0 },
        /* 17 */ { "ff800000000000000000000000000001", 1, 0 },
        /* 18, mapped 169.254.0.1: IPv6's only */ { "00000000000000000000ffffa9fe0001", 0, 0 },
        /* 19 */ { "20010db8000000000000000000000001", 0, 0 },
    };
    struct iotsec_addr a;
    struct iotsec_addr b;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        memset(&a, 0, sizeof a);
        test_unhex(a.ip, sizeof a.ip, rows[i].ip);
        if (iotsec_addr_is_multicast(&a) != rows[i].multicast || iotsec_addr_is_link_local(&a) != rows[i].link_local) {
            fail_msg("row %zu", i + 1);
        }
    }
    a.port = 5684;
    a.interface = 2;
    b = a;
    assert_int_equal(iotsec_addr_equal(&a, &b), 1);
    b.port++;
    assert_int_equal(iotsec_addr_equal(&a, &b), 0);
    b = a;
    b.interface++;
    assert_int_equal(iotsec_addr_equal(&a, &b), 0);
    b = a;
    b.ip[15] ^= 1;
    assert_int_equal(iotsec_addr_equal(&a, &b), 0);
}

/* ---- Table ---- */

struct entry {
    uint32_t key;
    struct iotsec_link link;
    uint8_t used;
};

static uint16_t find(const struct iotsec_table *t, const struct entry *entries, uint32_t key)
{
    uint16_t i;

    for (i = iotsec_table_first(t, key); i != IOTSEC_TABLE_NONE; i = iotsec_table_next(t, i)) {
        if (entries[i].key == key) {
            break;
        }
    }
    return i;
}

static void table_agrees_with_a_search(void **state)
{
    static const uint16_t counts[] = { 1, 2, 3, 7, 64, 1000 };
    static struct entry entries[1000];
    size_t row;

    (void)state;
    for (row = 0; row < sizeof counts / sizeof counts[0]; row++) {
        uint16_t count = counts[row];
        struct iotsec_table t = iotsec_table_of(entries, sizeof entries[0], offsetof(struct entry, link), count);
        uint32_t random = 1;
        int step;

        memset(entries, 0, sizeof entries);
        iotsec_table_init(&t);
        for (step = 0; step < 20000; step++) {
            uint16_t slot;
            uint16_t i;
            uint32_t key;

            random = random * 1664525u + 1013904223u;
            slot = (uint16_t)((random >> 8) % count);
            if (entries[slot].used) {
                iotsec_table_remove(&t, slot, entries[slot].key);
                /* a second time changes nothing */
                iotsec_table_remove(&t, slot, entries[slot].key);
                entries[slot].used = 0;
            } else {
                entries[slot].key = random % (2u * count) + (uint32_t)step * 2u * count;
                entries[slot].used = 1;
                iotsec_table_insert(&t, slot, entries[slot].key);
            }
            key = entries[slot].key;
            assert_int_equal(find(&t, entries, key), entries[slot].used ? slot : IOTSEC_TABLE_NONE);
            if (step % 1000 == 0) {
                for (i = 0; i < count; i++) {
                    if (entries[i].used) {
                        assert_int_equal(find(&t, entries, entries[i].key), i);
                    }
                }
            }
        }
    }
}

static void table_spreads_neighbours(void **state)
{
    static struct entry entries[1000];
    struct iotsec_table t = iotsec_table_of(entries, sizeof entries[0], offsetof(struct entry, link), 1000);
    unsigned longest = 0;
    uint16_t i;

    (void)state;
    iotsec_table_init(&t);
    for (i = 0; i < 1000; i++) {
        entries[i].key = i + 1u; /* sender IDs are handed out so */
        iotsec_table_insert(&t, i, entries[i].key);
    }
    for (i = 0; i < 1000; i++) {
        unsigned length = 0;
        uint16_t at;

        for (at = iotsec_table_first(&t, i); at != IOTSEC_TABLE_NONE; at = iotsec_table_next(&t, at)) {
            length++;
        }
        longest = length > longest ? length : longest;
    }
    assert_true(longest <= 4);
}

static void hash_depends_on_every_byte(void **state)
{
    uint8_t data[20] = { 0 };
    uint32_t hash = iotsec_table_hash(7, data, sizeof data);
    size_t bit;

    (void)state;
    assert_int_equal(iotsec_table_hash(7, data, sizeof data), hash);
    assert_int_not_equal(iotsec_table_hash(8, data, sizeof data), hash);
    assert_int_not_equal(iotsec_table_hash(7, data, sizeof data - 1), hash);
    for (bit = 0; bit < 8 * sizeof data; bit++) {
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_not_equal(iotsec_table_hash(7, data, sizeof data), hash);
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_fields),
        cmocka_unit_test(short_reads_take_nothing),
        cmocka_unit_test(writes_fields),
        cmocka_unit_test(a_failed_writer_stays_failed),
        cmocka_unit_test(a_length_above_16_bits_fails),
        cmocka_unit_test(compares_every_bit),
        cmocka_unit_test(wipes),
        cmocka_unit_test(time_is_modular),
        cmocka_unit_test(names_statuses),
        cmocka_unit_test(tells_addresses_apart),
        cmocka_unit_test(table_agrees_with_a_search),
        cmocka_unit_test(table_spreads_neighbours),
        cmocka_unit_test(hash_depends_on_every_byte),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
