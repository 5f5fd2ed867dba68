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
        /* 15 */ { "19fefd00010000000000010002aabb", IOTSEC_ERR_DECODE, 15, 0, 0, 0, 0, 0 }, /* a Connection ID */
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
            assert_int_equal(record.cid_len, 0);
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

/* ---- Connection IDs ---- */

#if IOTSEC_CONNECTION_ID

static const uint8_t cid_bytes[] = { 0xC1, 0xC2, 0xC3, 0xC4, 0xC5, 0xC6, 0xC7, 0xC8 };

static void parses_cid_headers(void **state)
{
    static const struct {
        const char *datagram;
        size_t cid_len; /* 0: iotsec_record_parse too has to say the same */
        enum iotsec_status status;
        size_t left; /* behind the record */
        uint8_t found; /* the record's cid_len */
        uint16_t length;
    } rows[] = {
        /*  1 */ { "19fefd0001000000000005c1c20002aabb", 2, IOTSEC_OK, 0, 2, 2 },
        /*  2 */ { "19fefd0001000000000005c1c20002aabbccdd", 2, IOTSEC_OK, 2, 2, 2 },
        /*  3 */ { "19fefd0001000000000005c1c20000", 2, IOTSEC_OK, 0, 2, 0 },
        /*  4 */ { "19fefd0001000000000005c10001aa", 1, IOTSEC_OK, 0, 1, 1 },
        /*  5 */ { "17fefd00010000000000050002aabb", 2, IOTSEC_OK, 0, 0, 2 }, /* another type: no ID */
        /*  6 */ { "16fefd00000000000000050002aabb", 2, IOTSEC_OK, 0, 0, 2 },
        /*  7 */ { "18fefd00010000000000050002aabb", 0, IOTSEC_OK, 0, 0, 2 },
        /*  8 */ { "1afefd00010000000000050002aabb", 0, IOTSEC_OK, 0, 0, 2 },
        /*  9 */ { "19fefd00010000000000050002aabb", 0, IOTSEC_ERR_DECODE, 15, 0, 0 },
        /* 10 */ { "19fefd00010000000000050000", 0, IOTSEC_ERR_DECODE, 13, 0, 0 },
        /* 11 */ { "19fefd0001000000000005c1c20003aabb", 2, IOTSEC_ERR_DECODE, 17, 0, 0 },
        /* 12 */ { "19fefd0001000000000005c1c200", 2, IOTSEC_ERR_DECODE, 14, 0, 0 },
        /* 13 */ { "19fefd0001000000000005c1c2", 2, IOTSEC_ERR_DECODE, 13, 0, 0 },
        /* 14 */ { "19fefd0001000000000005c1", 2, IOTSEC_ERR_DECODE, 12, 0, 0 },
        /* 15 */ { "19fefd0001000000000005", 2, IOTSEC_ERR_DECODE, 11, 0, 0 },
        /* 16 */ { "19fefd00010000000000", 2, IOTSEC_ERR_DECODE, 10, 0, 0 },
        /* 17 */ { "1903030001000000000005c1c20002aabb", 2, IOTSEC_ERR_DECODE, 17, 0, 0 },
        /* 18 */ { "19fefd0001000000000005c1c20002aabb", IOTSEC_CID_MAX + 1, IOTSEC_ERR_DECODE, 17, 0, 0 },
        /* 19 */ { "19fefd0001000000000005c1c20002aabb", SIZE_MAX, IOTSEC_ERR_DECODE, 17, 0, 0 },
        /* 20 */ { "19fefd0001000000000005c1c20002aabb", 256 + 2, IOTSEC_ERR_DECODE, 17, 0, 0 },
        /* 21 */ { "17fefd00010000000000050002aabb", SIZE_MAX, IOTSEC_OK, 0, 0, 2 },
        /* 22 */ { "19fefd0001000000000005c1c2c3c4c5c6c7c8c90002aabb", 9, IOTSEC_CID_MAX < 9 ? IOTSEC_ERR_DECODE : IOTSEC_OK,
                   IOTSEC_CID_MAX < 9 ? 24 : 0, 9, 2 },
    };
    size_t i;
    int plain;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (plain = 0; plain <= (rows[i].cid_len == 0); plain++) {
            size_t len = strlen(rows[i].datagram) / 2;
            uint8_t *datagram = malloc(len + 1); /* its own block, so that reading past its end is seen */
            uint8_t *at = datagram + 1;
            size_t left = len;
            struct iotsec_record record;
            enum iotsec_status status;

            assert_non_null(datagram);
            memset(&record, 0xEE, sizeof record);
            test_unhex(at, len, rows[i].datagram);
            status = plain ? iotsec_record_parse(&record, &at, &left)
                           : iotsec_record_parse_cid(&record, rows[i].cid_len, &at, &left);
            if (status != rows[i].status || left != rows[i].left) {
                fail_msg("row %zu", i + 1);
            }
            if (status != IOTSEC_OK) {
                assert_ptr_equal(at, datagram + 1);
                assert_int_equal(record.type, 0xEE);
            } else {
                assert_int_equal(record.cid_len, rows[i].found);
                assert_int_equal(record.length, rows[i].length);
                assert_true(record.sequence == 5);
                assert_ptr_equal(record.header, datagram + 1);
                assert_ptr_equal(record.body, datagram + 1 + 13 + record.cid_len);
                assert_ptr_equal(at, record.body + record.length);
            }
            free(datagram);
        }
    }
}

static void cid_known_answers(void **state)
{
    FILE *f = test_vectors_open("cid_records.csv");
    char line[2048];
    char *field[10];
    int opened = 0;
    int sealed = 0;
    int only_padding = 0;

    (void)state;
    while (test_vectors_row(f, line, sizeof line, field, 10)) {
        size_t tag_len = strtoul(field[0], NULL, 10);
        uint64_t sequence = strtoull(field[5], NULL, 10);
        uint16_t epoch = (uint16_t)strtoul(field[4], NULL, 10);
        unsigned long want_type = strtoul(field[6], NULL, 10);
        uint8_t cid[16], want[256], good[512], out[512];
        struct iotsec_record_key row_key;
        struct iotsec_record record;
        size_t cid_len = test_unhex(cid, sizeof cid, field[3]);
        size_t len = test_unhex(want, sizeof want, field[7]);
        size_t total = test_unhex(good, sizeof good, field[9]);
        size_t left = total;
        size_t content_len = 77;
        size_t n;
        uint8_t *at = out;
        uint8_t *content = NULL;
        uint8_t type = 0xEE;
        enum iotsec_status status;

        if (cid_len > IOTSEC_CID_MAX) {
            continue;
        }
        test_unhex(row_key.key, 16, field[1]);
        test_unhex(row_key.salt, 4, field[2]);
        memcpy(out, good, total);
        assert_int_equal(iotsec_record_parse_cid(&record, cid_len, &at, &left), IOTSEC_OK);
        assert_true(record.type == 25 && record.version == 0xFEFD && record.epoch == epoch && record.sequence == sequence);
        assert_true(record.cid_len == cid_len && left == 0);
        status = iotsec_record_open_cid(&test.hal, &row_key, tag_len, &record, &type, &content, &content_len);
        if (want_type == 0) {
            assert_int_equal(status, IOTSEC_ERR_DECODE);
            assert_true(type == 0xEE && content == NULL && content_len == 77);
            only_padding++;
            continue;
        }
        assert_int_equal(status, IOTSEC_OK);
        assert_int_equal(type, want_type);
        assert_int_equal(content_len, len);
        assert_memory_equal(content, want, len);
        opened++;
        if (strcmp(field[8], "0") == 0) {
            assert_int_equal(iotsec_record_seal_cid(&test.hal, &row_key, tag_len, cid, cid_len, out, sizeof out, &n,
                                                    (uint8_t)want_type, epoch, sequence, want, len),
                             IOTSEC_OK);
            assert_int_equal(n, total);
            assert_memory_equal(out, good, total);
            sealed++;
        }
    }
    fclose(f);
#if IOTSEC_CID_MAX >= 8
    assert_true(opened == 15 && sealed == 10 && only_padding == 2);
#else
    assert_true(opened > 5 && sealed > 3 && only_padding == 2);
#endif
}

static void cid_round_trip(void **state)
{
    uint8_t plain[100];
    size_t len;

    (void)state;
    fill(plain, sizeof plain);
    for (len = 0; len <= sizeof plain; len++) {
        size_t tag_len = len % 2 ? 8 : 16;
        size_t cid_len = 1 + len % IOTSEC_CID_MAX;
        uint8_t cid[IOTSEC_CID_MAX];
        uint8_t out[200 + IOTSEC_CID_MAX];
        uint8_t in_place[200 + IOTSEC_CID_MAX];
        struct iotsec_record record;
        uint8_t *at = out;
        uint8_t *content;
        uint8_t type;
        size_t content_len;
        size_t left;
        size_t n;

        fill(cid, sizeof cid);
        memset(out, 0xEE, sizeof out);
        assert_int_equal(iotsec_record_seal_cid(&test.hal, &key, tag_len, cid, cid_len, out, 22 + cid_len + len + tag_len, &n,
                                                29, 1, len, len != 0 ? plain : NULL, len),
                         IOTSEC_OK);
        assert_int_equal(n, 22 + cid_len + len + tag_len);
        assert_int_equal(out[n], 0xEE);
        memcpy(in_place + 21 + cid_len, plain, len);
        assert_int_equal(iotsec_record_seal_cid(&test.hal, &key, tag_len, cid, cid_len, in_place, sizeof in_place, &n, 29, 1,
                                                len, in_place + 21 + cid_len, len),
                         IOTSEC_OK);
        assert_memory_equal(in_place, out, n);
        assert_int_equal(out[0], 25); /* the real type stands inside */
        assert_memory_equal(out + 11, cid, cid_len);
        assert_memory_equal(out + 13 + cid_len, out + 3, 8); /* explicit nonce */

        left = n;
        assert_int_equal(iotsec_record_parse_cid(&record, cid_len, &at, &left), IOTSEC_OK);
        assert_int_equal(iotsec_record_open_cid(&test.hal, &key, tag_len, &record, &type, &content, &content_len), IOTSEC_OK);
        assert_ptr_equal(content, out + 21 + cid_len);
        assert_int_equal(type, 29);
        assert_int_equal(content_len, len);
        assert_memory_equal(content, plain, len);
    }
}

static void cid_refuses(void **state)
{
    static uint8_t big[IOTSEC_RECORD_PAYLOAD_MAX + 40];
    uint8_t plain[4] = { 1, 2, 3, 4 };
    uint8_t out[64];
    uint8_t saved[64];
    uint8_t *content = NULL;
    uint8_t *at = out;
    uint8_t type = 0xEE;
    size_t content_len;
    size_t left;
    size_t n = 77;
    struct iotsec_record record;

    (void)state;
    memset(out, 0xEE, sizeof out);
    /* 35 bytes with an ID of 1 */
    for (left = 0; left < 35; left++) {
        assert_int_equal(iotsec_record_seal_cid(&test.hal, &key, 8, cid_bytes, 1, out, left, &n, 23, 1, 0, plain, 4),
                         IOTSEC_ERR_BUFFER);
    }
    assert_int_equal(iotsec_record_seal_cid(&test.hal, &key, 8, cid_bytes, 0, out, 64, &n, 23, 1, 0, plain, 4),
                     IOTSEC_ERR_ARGUMENT);
    assert_int_equal(iotsec_record_seal_cid(&test.hal, &key, 8, big, IOTSEC_CID_MAX + 1, out, 64, &n, 23, 1, 0, plain, 4),
                     IOTSEC_ERR_ARGUMENT);
    assert_int_equal(iotsec_record_seal_cid(&test.hal, &key, 8, big, SIZE_MAX, out, 64, &n, 23, 1, 0, plain, 4),
                     IOTSEC_ERR_ARGUMENT);
    assert_int_equal(iotsec_record_seal_cid(&test.hal, &key, 8, cid_bytes, 2, out, 64, &n, 23, 1, IOTSEC_SEQUENCE_LIMIT + 1,
                                            plain, 4),
                     IOTSEC_ERR_COUNTER);
    assert_int_equal(iotsec_record_seal_cid(&test.hal, &key, 8, cid_bytes, 2, out, 64, &n, 23, 1, 0, plain, SIZE_MAX),
                     IOTSEC_ERR_TOO_LONG);
    assert_int_equal(iotsec_record_seal_cid(&test.hal, &key, 8, cid_bytes, 2, big, sizeof big, &n, 23, 1, 0, big + 23,
                                            IOTSEC_RECORD_PAYLOAD_MAX),
                     IOTSEC_ERR_TOO_LONG);
    assert_int_equal(out[0], 0xEE);
    assert_int_equal(big[0], 0);
    assert_int_equal(iotsec_record_seal_cid(&test.hal, &key, 9, cid_bytes, 2, out, 64, &n, 23, 1, 0, plain, 4),
                     IOTSEC_ERR_ARGUMENT);
    assert_int_equal(n, 77);
    assert_int_equal(iotsec_record_seal_cid(&test.hal, &key, 8, cid_bytes, 2, big, sizeof big, &n, 23, 1, 0, big + 23,
                                            IOTSEC_RECORD_PAYLOAD_MAX - 1),
                     IOTSEC_OK);

    /* each kind of record under the other's function: nothing is tried, and the body stays */
    assert_int_equal(iotsec_record_seal_cid(&test.hal, &key, 8, cid_bytes, 2, out, 64, &n, 23, 1, 0, plain, 4), IOTSEC_OK);
    memcpy(saved, out, n);
    left = n;
    assert_int_equal(iotsec_record_parse_cid(&record, 2, &at, &left), IOTSEC_OK);
    assert_int_equal(iotsec_record_open(&test.hal, &key, 8, &record, &content, &content_len), IOTSEC_ERR_ARGUMENT);
    record.type = 23;
    assert_int_equal(iotsec_record_open_cid(&test.hal, &key, 8, &record, &type, &content, &content_len), IOTSEC_ERR_ARGUMENT);
    record.type = 25;
    record.cid_len = 0;
    assert_int_equal(iotsec_record_open_cid(&test.hal, &key, 8, &record, &type, &content, &content_len), IOTSEC_ERR_ARGUMENT);
    record.cid_len = IOTSEC_CID_MAX + 1;
    assert_int_equal(iotsec_record_open_cid(&test.hal, &key, 8, &record, &type, &content, &content_len), IOTSEC_ERR_ARGUMENT);
    record.cid_len = 2;
    assert_int_equal(iotsec_record_open_cid(&test.hal, &key, 4, &record, &type, &content, &content_len), IOTSEC_ERR_ARGUMENT);
    assert_memory_equal(out, saved, n);
    assert_int_equal(iotsec_record_open_cid(&test.hal, &key, 16, &record, &type, &content, &content_len), IOTSEC_ERR_DECODE);
    for (record.length = 0; record.length < 16; record.length++) {
        assert_int_equal(iotsec_record_open_cid(&test.hal, &key, 8, &record, &type, &content, &content_len),
                         IOTSEC_ERR_DECODE);
    }
    assert_true(content == NULL && type == 0xEE);
    record.length = (uint16_t)(n - 15);
    assert_int_equal(iotsec_record_open_cid(&test.hal, &key, 8, &record, &type, &content, &content_len), IOTSEC_OK);

    assert_int_equal(iotsec_record_seal(&test.hal, &key, 8, out, 64, &n, 23, 1, 0, plain, 4), IOTSEC_OK);
    memcpy(saved, out, n);
    at = out;
    left = n;
    content = NULL;
    assert_int_equal(iotsec_record_parse_cid(&record, 2, &at, &left), IOTSEC_OK);
    assert_int_equal(iotsec_record_open_cid(&test.hal, &key, 8, &record, &type, &content, &content_len), IOTSEC_ERR_ARGUMENT);
    assert_null(content);
    assert_memory_equal(out, saved, n);
    assert_int_equal(iotsec_record_open(&test.hal, &key, 8, &record, &content, &content_len), IOTSEC_OK);
}

/* Every bit of the record counts, the ID's too; the length is the parser's. */
static void cid_rejects_every_bit_flip(void **state)
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

        assert_int_equal(iotsec_record_seal_cid(&test.hal, &key, tags[t], cid_bytes, 2, good, sizeof good, &n, 23, 1, 7, plain,
                                                sizeof plain),
                         IOTSEC_OK);
        for (bit = 0; bit < 8 * n; bit++) {
            struct iotsec_record record;
            uint8_t *at = bad;
            uint8_t *content = NULL;
            uint8_t type = 0xEE;
            size_t left = n;
            size_t content_len;
            size_t i;

            memcpy(bad, good, n);
            bad[bit / 8] ^= (uint8_t)(1u << bit % 8);
            if (iotsec_record_parse_cid(&record, 2, &at, &left) != IOTSEC_OK) {
                /* as another type it has its length in the ID's place */
                assert_true(bit / 8 == 0 || bit / 8 == 1 || bit / 8 == 13 || bit / 8 == 14);
                continue;
            }
            switch (iotsec_record_open_cid(&test.hal, &key, tags[t], &record, &type, &content, &content_len)) {
            case IOTSEC_ERR_AUTH:
                for (i = 8; i + tags[t] < record.length; i++) {
                    assert_int_equal(record.body[i], 0);
                }
                break;
            case IOTSEC_ERR_DECODE:
                assert_true(bit / 8 == 13 || bit / 8 == 14);
                break;
            default:
                fail_msg("bit %zu was accepted", bit);
            }
            assert_true(content == NULL && type == 0xEE);
        }
    }
}

/* An ID of another length than the sender's, whether the length field then happens to fit or not. */
static void cid_wrong_length(void **state)
{
    static const uint8_t zeros[2] = { 0, 0 };
    size_t wrong;
    size_t row;

    (void)state;
    for (row = 0; row < 2; row++) {
        /* the AAD is read from the header on: within the record */
        for (wrong = 1; wrong <= IOTSEC_CID_MAX && wrong < 16; wrong++) {
            uint8_t out[80];
            struct iotsec_record record;
            uint8_t *at = out;
            uint8_t *content = NULL;
            uint8_t type = 0xEE;
            size_t content_len;
            size_t left;
            size_t n;

            if (wrong == 2) {
                continue;
            }
            assert_int_equal(iotsec_record_seal_cid(&test.hal, &key, 8, row == 0 ? cid_bytes : zeros, 2, out, sizeof out, &n,
                                                    23, 1, 0, (const uint8_t *)"hello", 5),
                             IOTSEC_OK);
            left = n;
            if (iotsec_record_parse_cid(&record, wrong, &at, &left) == IOTSEC_OK) {
                assert_true(iotsec_record_open_cid(&test.hal, &key, 8, &record, &type, &content, &content_len) != IOTSEC_OK);
            }
            /* found by a list of sessions, and not by the parser: the body is the right one, the ID is not */
            at = out;
            left = n;
            assert_int_equal(iotsec_record_parse_cid(&record, 2, &at, &left), IOTSEC_OK);
            record.cid_len = (uint8_t)wrong;
            assert_int_equal(iotsec_record_open_cid(&test.hal, &key, 8, &record, &type, &content, &content_len),
                             IOTSEC_ERR_AUTH);
            assert_true(content == NULL && type == 0xEE);
        }
    }
}

#endif

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
#if IOTSEC_CONNECTION_ID
        cmocka_unit_test(parses_cid_headers),
        cmocka_unit_test(cid_known_answers),
        cmocka_unit_test(cid_round_trip),
        cmocka_unit_test(cid_refuses),
        cmocka_unit_test(cid_rejects_every_bit_flip),
        cmocka_unit_test(cid_wrong_length),
#endif
        cmocka_unit_test(group_round_trip),
        cmocka_unit_test(group_refuses),
        cmocka_unit_test(group_rejects_every_bit_flip),
    };

    return cmocka_run_group_tests_name("record", tests, setup, NULL);
}
