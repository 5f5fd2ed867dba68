/* SPDX-License-Identifier: BSD-3-Clause */
#include "test_hal_support.h"

#include <iotsec/record.h>

#include "base/bytes.h"

#if defined(IOTSEC_WITH_MBEDTLS)
#include <mbedtls/ccm.h>
#endif

static struct test_hal test;

static int setup(void **state)
{
    struct test_provider providers[2];

    (void)state;
    test_providers(providers);
    test_hal_init(&test, providers[0].crypto);
    return 0;
}

/* ---- Header ---- */

static void parses_headers(void **state)
{
    static const struct {
        const char *datagram;
        enum iotsec_status status;
        size_t left;      /* behind the record */
        uint8_t type;
        uint16_t version;
        uint16_t epoch;
        uint64_t sequence;
        uint16_t length;
    } rows[] = {
        /*  1 */ { "16fefd00000000000000010002aabb", IOTSEC_OK, 0, 22, 0xFEFD, 0, 1, 2 },
        /*  2 */ { "16feff00000000000000000000", IOTSEC_OK, 0, 22, 0xFEFF, 0, 0, 0 },
        /*  3 */ { "17fefd0001ffffffffffff0001aa", IOTSEC_OK, 0, 23, 0xFEFD, 1, 0xFFFFFFFFFFFFu, 1 },
        /*  4 */ { "17fefd0100123456789abc0001aabbccdd", IOTSEC_OK, 3, 23, 0xFEFD, 256, 0x123456789ABCu, 1 },
        /*  5 */ { "", IOTSEC_ERR_DECODE, 0, 0, 0, 0, 0, 0 },
        /*  6 */ { "16", IOTSEC_ERR_DECODE, 1, 0, 0, 0, 0, 0 },
        /*  7 */ { "16fefd000000000000000100", IOTSEC_ERR_DECODE, 12, 0, 0, 0, 0, 0 },
        /*  8 */ { "16fefd00000000000000010001", IOTSEC_ERR_DECODE, 13, 0, 0, 0, 0, 0 },
        /*  9 */ { "16fefd00000000000000010003aabb", IOTSEC_ERR_DECODE, 15, 0, 0, 0, 0, 0 },
        /* 10 */ { "16fefd0000000000000001ffffaabb", IOTSEC_ERR_DECODE, 15, 0, 0, 0, 0, 0 },
        /* 11 */ { "16030300000000000000010002aabb", IOTSEC_ERR_DECODE, 15, 0, 0, 0, 0, 0 },
        /* 12 */ { "16010000000000000000010002aabb", IOTSEC_ERR_DECODE, 15, 0, 0, 0, 0, 0 },
        /* 13 */ { "16fdfd00000000000000010002aabb", IOTSEC_ERR_DECODE, 15, 0, 0, 0, 0, 0 },
        /* 14 */ { "16fffd00000000000000010002aabb", IOTSEC_ERR_DECODE, 15, 0, 0, 0, 0, 0 },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t len = strlen(rows[i].datagram) / 2;
        uint8_t *datagram = malloc(len + 1); /* its own block, so that reading past its end is seen */
        uint8_t *at = datagram + 1;
        size_t left = len;
        struct iotsec_record record;

        assert_non_null(datagram);
        memset(&record, 0xEE, sizeof record);
        test_unhex(at, len, rows[i].datagram);
        if (iotsec_record_parse(&record, &at, &left) != rows[i].status) {
            fail_msg("row %zu", i + 1);
        }
        assert_int_equal(left, rows[i].left);
        if (rows[i].status != IOTSEC_OK) {
            assert_ptr_equal(at, datagram + 1);
            assert_int_equal(record.type, 0xEE);
        } else {
            assert_int_equal(record.type, rows[i].type);
            assert_int_equal(record.version, rows[i].version);
            assert_int_equal(record.epoch, rows[i].epoch);
            assert_true(record.sequence == rows[i].sequence);
            assert_int_equal(record.length, rows[i].length);
            assert_ptr_equal(record.header, datagram + 1);
            assert_ptr_equal(record.body, datagram + 14);
            assert_ptr_equal(at, record.body + record.length);
        }
        free(datagram);
    }
}

static void parses_several_records(void **state)
{
    uint8_t datagram[64];
    uint8_t *at = datagram;
    size_t left = 0;
    size_t n;
    struct iotsec_record record;
    unsigned i;

    (void)state;
    for (i = 0; i < 3; i++) {
        assert_int_equal(iotsec_record_write_plain(datagram + left, sizeof datagram - left, &n, 22, 0xFEFD, i,
                                                   (const uint8_t *)"abc", i),
                         IOTSEC_OK);
        assert_int_equal(n, 13 + i);
        left += n;
    }
    for (i = 0; i < 3; i++) {
        assert_int_equal(iotsec_record_parse(&record, &at, &left), IOTSEC_OK);
        assert_true(record.sequence == i && record.length == i && record.epoch == 0);
        assert_memory_equal(record.body, "abc", i);
    }
    assert_int_equal(left, 0);
    assert_int_equal(iotsec_record_parse(&record, &at, &left), IOTSEC_ERR_DECODE);
}

static void writes_plain_records(void **state)
{
    static const uint8_t want[] = { 22, 0xFE, 0xFF, 0, 0, 0, 0, 0, 0, 1, 2, 0, 3, 'a', 'b', 'c' };
    static uint8_t big[IOTSEC_RECORD_PAYLOAD_MAX + 14];
    const uint8_t *abc = (const uint8_t *)"abc";
    uint8_t out[20];
    size_t n = 77;

    (void)state;
    assert_int_equal(iotsec_record_write_plain(out, 16, &n, 22, 0xFEFF, 0x0102, abc, 3), IOTSEC_OK);
    assert_int_equal(n, sizeof want);
    assert_memory_equal(out, want, sizeof want);
    assert_int_equal(iotsec_record_write_plain(out, 13, &n, 22, 0xFEFD, IOTSEC_SEQUENCE_LIMIT, NULL, 0), IOTSEC_OK);
    assert_int_equal(n, 13);

    memset(out, 0xEE, sizeof out);
    n = 77;
    assert_int_equal(iotsec_record_write_plain(out, 15, &n, 22, 0xFEFD, 0, abc, 3), IOTSEC_ERR_BUFFER);
    assert_int_equal(iotsec_record_write_plain(out, 0, &n, 22, 0xFEFD, 0, NULL, 0), IOTSEC_ERR_BUFFER);
    assert_int_equal(iotsec_record_write_plain(out, 16, &n, 22, 0xFEFD, IOTSEC_SEQUENCE_LIMIT + 1, abc, 3),
                     IOTSEC_ERR_COUNTER);
    assert_int_equal(iotsec_record_write_plain(out, 16, &n, 22, 0xFEFD, 0, abc, SIZE_MAX), IOTSEC_ERR_TOO_LONG);
    assert_int_equal(n, 77);
    assert_int_equal(out[0], 0xEE);

    assert_int_equal(iotsec_record_write_plain(big, sizeof big, &n, 22, 0xFEFD, 0, big, IOTSEC_RECORD_PAYLOAD_MAX + 1),
                     IOTSEC_ERR_TOO_LONG);
}

/* ---- Replay ---- */

static void replay_rows(void **state)
{
    static const uint64_t top = IOTSEC_SEQUENCE_LIMIT; /* 2^48 - 1 */
    static const struct {
        uint64_t sequence;
        int is_new;
    } rows[] = {
        /*  1 */ { 0, 1 },
        /*  2 */ { 0, 0 },
        /*  3 */ { 1, 1 },
        /*  4 */ { 0, 0 },
        /*  5 */ { 1, 0 },
        /*  6 */ { 63, 1 },
        /*  7 */ { 0, 0 },   /* 63 below: the window's last bit */
        /*  8 */ { 2, 1 },
        /*  9 */ { 2, 0 },
        /* 10 */ { 66, 1 },
        /* 11 */ { 3, 1 },   /* 63 below */
        /* 12 */ { 3, 0 },
        /* 13 */ { 2, 0 },   /* 64 below */
        /* 14 */ { 130, 1 }, /* moves by the whole width */
        /* 15 */ { 66, 0 },  /* 64 below */
        /* 16 */ { 67, 1 },  /* 63 below */
        /* 17 */ { 67, 0 },
        /* 18 */ { 130, 0 },
        /* 19 */ { 193, 1 }, /* moves by 63 */
        /* 20 */ { 130, 0 },
        /* 21 */ { 131, 1 },
        /* 22 */ { top - 64, 1 },
        /* 23 */ { 193, 0 },
        /* 24 */ { top, 1 },
        /* 25 */ { top, 0 },
        /* 26 */ { top - 64, 0 },
        /* 27 */ { top - 63, 1 },
        /* 28 */ { top - 63, 0 },
        /* 29 */ { top - 1, 1 },
        /* 30 */ { 0, 0 },
    };
    struct iotsec_replay w;
    size_t i;

    (void)state;
    iotsec_replay_init(&w);
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct iotsec_replay before = w;

        if (iotsec_replay_check(&w, rows[i].sequence) != rows[i].is_new) {
            fail_msg("row %zu", i + 1);
        }
        assert_true(before.top == w.top && before.bits == w.bits);
        if (rows[i].is_new) {
            iotsec_replay_commit(&w, rows[i].sequence);
            assert_int_equal(iotsec_replay_check(&w, rows[i].sequence), 0);
        }
    }
}

static void replay_first_number_may_be_any(void **state)
{
    struct iotsec_replay w;

    (void)state;
    iotsec_replay_init(&w);
    assert_int_equal(iotsec_replay_check(&w, 5), 1);
    iotsec_replay_commit(&w, 5);
    assert_int_equal(iotsec_replay_check(&w, 5), 0);
    assert_int_equal(iotsec_replay_check(&w, 0), 1);
    assert_int_equal(iotsec_replay_check(&w, 4), 1);
    assert_int_equal(iotsec_replay_check(&w, 6), 1);
}

static void replay_start_at_refuses_what_lies_below(void **state)
{
    struct iotsec_replay w;
    uint64_t i;

    (void)state;
    iotsec_replay_start_at(&w, 1000);
    for (i = 900; i <= 1000; i++) {
        assert_int_equal(iotsec_replay_check(&w, i), 0);
    }
    assert_int_equal(iotsec_replay_check(&w, 1001), 1);
    iotsec_replay_commit(&w, 1010);
    assert_int_equal(iotsec_replay_check(&w, 1005), 1);
    assert_int_equal(iotsec_replay_check(&w, 1000), 0);
    assert_int_equal(iotsec_replay_check(&w, 999), 0);
    iotsec_replay_start_at(&w, 0);
    assert_int_equal(iotsec_replay_check(&w, 0), 0);
    assert_int_equal(iotsec_replay_check(&w, 1), 1);
}

/* The window against a list of everything accepted, with numbers that jump about. */
static void replay_agrees_with_a_list(void **state)
{
    static uint8_t seen[4096];
    struct iotsec_replay w;
    uint32_t random = 1;
    uint32_t top = 0;
    int i;

    (void)state;
    memset(seen, 0, sizeof seen);
    iotsec_replay_init(&w);
    for (i = 0; i < 20000; i++) {
        uint32_t n;
        int is_new;

        random = random * 1664525u + 1013904223u;
        n = top + (random >> 16) % 90;
        n = n >= 80 ? n - 80 : 0;
        if (n >= sizeof seen) {
            break;
        }
        is_new = n > top || (top - n < 64 && !seen[n]);
        assert_int_equal(iotsec_replay_check(&w, n), is_new);
        if (is_new) {
            iotsec_replay_commit(&w, n);
            seen[n] = 1;
            top = n > top ? n : top;
        }
    }
    assert_true(top > 1000);
}

/* ---- Unicast ---- */

static const struct iotsec_record_key key = {
    { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 },
    { 0xA0, 0xA1, 0xA2, 0xA3 },
};

static void fill(uint8_t *data, size_t len)
{
    size_t i;

    for (i = 0; i < len; i++) {
        data[i] = (uint8_t)(i * 3 + 1);
    }
}

/* What RFC 6655 and RFC 5246 say a record's nonce and AAD are, over another implementation of CCM. */
static void expect_sealed(const uint8_t *record, size_t head, const uint8_t aes_key[16], const uint8_t nonce[12],
                          const uint8_t *plain, size_t len, size_t tag_len)
{
#if defined(IOTSEC_WITH_MBEDTLS)
    uint8_t aad[13];
    uint8_t text[256];
    uint8_t tag[16];
    mbedtls_ccm_context ccm;

    memcpy(aad, record + 3, 8);
    aad[8] = record[0];
    aad[9] = 0xFE;
    aad[10] = 0xFD;
    aad[11] = (uint8_t)(len >> 8);
    aad[12] = (uint8_t)len;
    mbedtls_ccm_init(&ccm);
    assert_int_equal(mbedtls_ccm_setkey(&ccm, MBEDTLS_CIPHER_ID_AES, aes_key, 128), 0);
    assert_int_equal(mbedtls_ccm_encrypt_and_tag(&ccm, len, nonce, 12, aad, 13, plain, text, tag, tag_len), 0);
    mbedtls_ccm_free(&ccm);
    assert_memory_equal(record + head, text, len);
    assert_memory_equal(record + head + len, tag, tag_len);
#else
    (void)record, (void)head, (void)aes_key, (void)nonce, (void)plain, (void)len, (void)tag_len;
#endif
}

static void unicast_round_trip(void **state)
{
    uint8_t plain[100];
    size_t len;

    (void)state;
    fill(plain, sizeof plain);
    for (len = 0; len <= sizeof plain; len++) {
        size_t tag_len = len % 2 ? 8 : 16;
        uint64_t sequence = 0x0102030405u + len;
        uint8_t out[200];
        uint8_t nonce[12];
        struct iotsec_record record;
        uint8_t *at = out;
        uint8_t *content;
        size_t content_len;
        size_t left;
        size_t n;

        memset(out, 0xEE, sizeof out);
        assert_int_equal(iotsec_record_seal(&test.hal, &key, tag_len, out, 21 + len + tag_len, &n, 23, 1, sequence,
                                            len != 0 ? plain : NULL, len),
                         IOTSEC_OK);
        assert_int_equal(n, 21 + len + tag_len);
        assert_int_equal(out[n], 0xEE);
        assert_memory_equal(out + 13, out + 3, 8); /* explicit nonce */
        memcpy(nonce, key.salt, 4);
        memcpy(nonce + 4, out + 13, 8);
        expect_sealed(out, 21, key.key, nonce, plain, len, tag_len);

        left = n;
        assert_int_equal(iotsec_record_parse(&record, &at, &left), IOTSEC_OK);
        assert_true(record.type == 23 && record.version == 0xFEFD && record.epoch == 1 && record.sequence == sequence);
        assert_int_equal(left, 0);
        assert_int_equal(iotsec_record_open(&test.hal, &key, tag_len, &record, &content, &content_len), IOTSEC_OK);
        assert_ptr_equal(content, out + 21);
        assert_int_equal(content_len, len);
        assert_memory_equal(content, plain, len);
    }
}

static void unicast_seals_in_place(void **state)
{
    uint8_t a[80];
    uint8_t b[80];
    uint8_t plain[40];
    size_t n;

    (void)state;
    fill(plain, sizeof plain);
    memcpy(b + 21, plain, sizeof plain);
    assert_int_equal(iotsec_record_seal(&test.hal, &key, 8, a, sizeof a, &n, 22, 1, 0, plain, 40), IOTSEC_OK);
    assert_int_equal(iotsec_record_seal(&test.hal, &key, 8, b, sizeof b, &n, 22, 1, 0, b + 21, 40), IOTSEC_OK);
    assert_memory_equal(a, b, n);
}

static void unicast_refuses(void **state)
{
    uint8_t plain[4] = { 1, 2, 3, 4 };
    uint8_t out[64];
    uint8_t *content = NULL;
    size_t content_len;
    size_t n = 77;
    struct iotsec_record record;

    (void)state;
    memset(out, 0xEE, sizeof out);
    assert_int_equal(iotsec_record_seal(&test.hal, &key, 8, out, 32, &n, 23, 1, 0, plain, 4), IOTSEC_ERR_BUFFER);
    assert_int_equal(iotsec_record_seal(&test.hal, &key, 8, out, 0, &n, 23, 1, 0, plain, 4), IOTSEC_ERR_BUFFER);
    assert_int_equal(iotsec_record_seal(&test.hal, &key, 8, out, 64, &n, 23, 1, IOTSEC_SEQUENCE_LIMIT + 1, plain, 4),
                     IOTSEC_ERR_COUNTER);
    assert_int_equal(iotsec_record_seal(&test.hal, &key, 8, out, 64, &n, 23, 1, 0, plain, IOTSEC_RECORD_PAYLOAD_MAX + 1),
                     IOTSEC_ERR_TOO_LONG);
    assert_int_equal(iotsec_record_seal(&test.hal, &key, 8, out, 64, &n, 23, 1, 0, plain, SIZE_MAX), IOTSEC_ERR_TOO_LONG);
    assert_int_equal(out[0], 0xEE);
    assert_int_equal(iotsec_record_seal(&test.hal, &key, 9, out, 64, &n, 23, 1, 0, plain, 4), IOTSEC_ERR_ARGUMENT);
    assert_int_equal(n, 77);

    memset(&record, 0, sizeof record);
    record.header = out;
    record.body = out + 13;
    for (record.length = 0; record.length < 16; record.length++) {
        assert_int_equal(iotsec_record_open(&test.hal, &key, 8, &record, &content, &content_len), IOTSEC_ERR_DECODE);
    }
    for (; record.length < 24; record.length++) {
        assert_int_equal(iotsec_record_open(&test.hal, &key, 16, &record, &content, &content_len), IOTSEC_ERR_DECODE);
    }
    record.length = 30;
    assert_int_equal(iotsec_record_open(&test.hal, &key, 4, &record, &content, &content_len), IOTSEC_ERR_ARGUMENT);
    assert_null(content);
}

/* Every bit of the record counts, but for the length, which the parser checks. */
static void unicast_rejects_every_bit_flip(void **state)
{
    static const size_t tags[] = { 8, 16 };
    uint8_t plain[20];
    size_t t;

    (void)state;
    fill(plain, sizeof plain);
    for (t = 0; t < 2; t++) {
        uint8_t good[80];
        uint8_t bad[80];
        size_t n;
        size_t bit;

        assert_int_equal(
            iotsec_record_seal(&test.hal, &key, tags[t], good, sizeof good, &n, 23, 1, 7, plain, sizeof plain), IOTSEC_OK);
        for (bit = 0; bit < 8 * n; bit++) {
            struct iotsec_record record;
            uint8_t *at = bad;
            uint8_t *content = NULL;
            size_t left = n;
            size_t content_len;
            size_t i;

            memcpy(bad, good, n);
            bad[bit / 8] ^= (uint8_t)(1u << bit % 8);
            if (iotsec_record_parse(&record, &at, &left) != IOTSEC_OK) {
                assert_true(bit / 8 == 1 || bit / 8 == 11 || bit / 8 == 12);
                continue;
            }
            switch (iotsec_record_open(&test.hal, &key, tags[t], &record, &content, &content_len)) {
            case IOTSEC_ERR_AUTH:
                for (i = 8; i + tags[t] < record.length; i++) {
                    assert_int_equal(record.body[i], 0);
                }
                break;
            case IOTSEC_ERR_DECODE:
                assert_true(bit / 8 == 11 || bit / 8 == 12);
                break;
            default:
                fail_msg("bit %zu was accepted", bit);
            }
            assert_null(content);
        }
    }
}

static void unicast_takes_any_explicit_nonce(void **state)
{
#if defined(IOTSEC_WITH_MBEDTLS)
    /* a peer may count its nonces on its own (RFC 6655, section 3) */
    uint8_t datagram[13 + 8 + 5 + 8] = { 23, 0xFE, 0xFD, 0, 1, 0, 0, 0, 0, 0, 9, 0, 21 };
    uint8_t nonce[12] = { 0xA0, 0xA1, 0xA2, 0xA3, 9, 8, 7, 6, 5, 4, 3, 2 };
    uint8_t aad[13] = { 0, 1, 0, 0, 0, 0, 0, 9, 23, 0xFE, 0xFD, 0, 5 };
    struct iotsec_record record;
    uint8_t *at = datagram;
    uint8_t *content;
    size_t left = sizeof datagram;
    size_t content_len;
    mbedtls_ccm_context ccm;

    memcpy(datagram + 13, nonce + 4, 8);
    mbedtls_ccm_init(&ccm);
    assert_int_equal(mbedtls_ccm_setkey(&ccm, MBEDTLS_CIPHER_ID_AES, key.key, 128), 0);
    assert_int_equal(mbedtls_ccm_encrypt_and_tag(&ccm, 5, nonce, 12, aad, 13, (const uint8_t *)"hello", datagram + 21,
                                                 datagram + 26, 8),
                     0);
    mbedtls_ccm_free(&ccm);
    assert_int_equal(iotsec_record_parse(&record, &at, &left), IOTSEC_OK);
    assert_int_equal(iotsec_record_open(&test.hal, &key, 8, &record, &content, &content_len), IOTSEC_OK);
    assert_int_equal(content_len, 5);
    assert_memory_equal(content, "hello", 5);
#endif
    (void)state;
}

/* ---- Group ---- */

static void group_round_trip(void **state)
{
    uint8_t plain[100];
    size_t len;

    (void)state;
    fill(plain, sizeof plain);
    for (len = 0; len <= sizeof plain; len++) {
        /* type, 0, group, epoch, sender, counter */
        static const uint8_t nonce[12] = { 23, 0, 0x12, 0x34, 0x01, 0x05, 0xAB, 0xCD, 0x89, 0xAB, 0xCD, 0xEF };
        uint8_t out[200];
        struct iotsec_record record;
        uint8_t *at = out;
        uint8_t *content;
        size_t content_len;
        size_t left;
        size_t n;

        memset(out, 0xEE, sizeof out);
        assert_int_equal(iotsec_record_group_seal(&test.hal, key.key, 0x1234, 0x0105, 0xABCD, 0x89ABCDEF, 23, out, 21 + len,
                                                  &n, len != 0 ? plain : NULL, len),
                         IOTSEC_OK);
        assert_int_equal(n, 21 + len);
        assert_int_equal(out[n], 0xEE);
        assert_memory_equal(out + 3, nonce + 4, 8);
        expect_sealed(out, 13, key.key, nonce, plain, len, 8);

        left = n;
        assert_int_equal(iotsec_record_parse(&record, &at, &left), IOTSEC_OK);
        assert_true(record.type == 23 && record.epoch == 0x0105 && record.sequence == 0xABCD89ABCDEFu);
        assert_int_equal(iotsec_record_group_open(&test.hal, key.key, 0x1234, &record, &content, &content_len), IOTSEC_OK);
        assert_ptr_equal(content, out + 13);
        assert_int_equal(content_len, len);
        assert_memory_equal(content, plain, len);
    }
}

static void group_refuses(void **state)
{
    static uint8_t big[IOTSEC_GROUP_PAYLOAD_MAX + 1 + 21];
    uint8_t out[64];
    uint8_t saved[64];
    uint8_t *content = NULL;
    uint8_t *at = out;
    size_t content_len;
    size_t left;
    size_t n = 77;
    struct iotsec_record record;

    (void)state;
    memset(out, 0xEE, sizeof out);
    assert_int_equal(iotsec_record_group_seal(&test.hal, key.key, 1, 256, 1, 0, 23, out, 24, &n, big, 4), IOTSEC_ERR_BUFFER);
    assert_int_equal(iotsec_record_group_seal(&test.hal, key.key, 1, 256, 1, 0, 23, big, sizeof big, &n, big + 13,
                                              IOTSEC_GROUP_PAYLOAD_MAX + 1),
                     IOTSEC_ERR_TOO_LONG);
    assert_int_equal(n, 77);
    assert_int_equal(out[0], 0xEE);
    assert_int_equal(iotsec_record_group_seal(&test.hal, key.key, 1, 256, 1, 0, 23, big, sizeof big, &n, big + 13,
                                              IOTSEC_GROUP_PAYLOAD_MAX),
                     IOTSEC_OK);

    assert_int_equal(iotsec_record_group_seal(&test.hal, key.key, 1, 256, 1, 0, 23, out, sizeof out, &n,
                                              (const uint8_t *)"abcd", 4),
                     IOTSEC_OK);
    left = n;
    assert_int_equal(iotsec_record_parse(&record, &at, &left), IOTSEC_OK);
    memcpy(saved, out, n);
    /* the group is not on the wire, but in the nonce */
    assert_int_equal(iotsec_record_group_open(&test.hal, key.key, 2, &record, &content, &content_len), IOTSEC_ERR_AUTH);
    assert_null(content);
    memcpy(out, saved, n);
    assert_int_equal(iotsec_record_group_open(&test.hal, key.key, 1, &record, &content, &content_len), IOTSEC_OK);
    assert_memory_equal(content, "abcd", 4);
    for (record.length = 0; record.length < 8; record.length++) {
        assert_int_equal(iotsec_record_group_open(&test.hal, key.key, 1, &record, &content, &content_len), IOTSEC_ERR_DECODE);
    }
}

static void group_rejects_every_bit_flip(void **state)
{
    uint8_t plain[20];
    uint8_t good[80];
    uint8_t bad[80];
    size_t n;
    size_t bit;

    (void)state;
    fill(plain, sizeof plain);
    assert_int_equal(
        iotsec_record_group_seal(&test.hal, key.key, 5, 300, 2, 9, 23, good, sizeof good, &n, plain, sizeof plain), IOTSEC_OK);
    for (bit = 0; bit < 8 * n; bit++) {
        struct iotsec_record record;
        uint8_t *at = bad;
        uint8_t *content = NULL;
        size_t left = n;
        size_t content_len;
        enum iotsec_status status;

        memcpy(bad, good, n);
        bad[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (iotsec_record_parse(&record, &at, &left) != IOTSEC_OK) {
            assert_true(bit / 8 == 1 || bit / 8 == 11 || bit / 8 == 12);
            continue;
        }
        status = iotsec_record_group_open(&test.hal, key.key, 5, &record, &content, &content_len);
        assert_true(status == IOTSEC_ERR_AUTH || (status == IOTSEC_ERR_DECODE && bit / 8 == 12));
        assert_null(content);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parses_headers),
        cmocka_unit_test(parses_several_records),
        cmocka_unit_test(writes_plain_records),
        cmocka_unit_test(replay_rows),
        cmocka_unit_test(replay_first_number_may_be_any),
        cmocka_unit_test(replay_start_at_refuses_what_lies_below),
        cmocka_unit_test(replay_agrees_with_a_list),
        cmocka_unit_test(unicast_round_trip),
        cmocka_unit_test(unicast_seals_in_place),
        cmocka_unit_test(unicast_refuses),
        cmocka_unit_test(unicast_rejects_every_bit_flip),
        cmocka_unit_test(unicast_takes_any_explicit_nonce),
        cmocka_unit_test(group_round_trip),
        cmocka_unit_test(group_refuses),
        cmocka_unit_test(group_rejects_every_bit_flip),
    };

    return cmocka_run_group_tests_name("record", tests, setup, NULL);
}
