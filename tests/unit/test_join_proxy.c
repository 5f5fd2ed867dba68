/* SPDX-License-Identifier: BSD-3-Clause */
#include "test_hal_support.h"

#include <iotsec/config.h>

#include "record/join_proxy.h"

#if IOTSEC_ROLE_RELAY || IOTSEC_RELAYED

static uint8_t *copy_of(const uint8_t *data, size_t len)
{
    uint8_t *copy = malloc(len + 1); /* its own block, so that reading past its end is seen */

    assert_non_null(copy);
    memcpy(copy + 1, data, len);
    return copy;
}

/* Both strings of a message, or nothing touched. */
static enum iotsec_status read_message(const uint8_t *message, size_t len, size_t *header_at, size_t *header_len,
                                       size_t *content_at, size_t *content_len)
{
    static const uint8_t untouched[1];
    uint8_t *copy = copy_of(message, len);
    const uint8_t *header = untouched;
    const uint8_t *content = untouched;
    enum iotsec_status status;

    *header_len = *content_len = 77;
    status = iotsec_join_proxy_read(copy + 1, len, &header, header_len, &content, content_len);
    if (status == IOTSEC_OK) {
        *header_at = (size_t)(header - copy) - 1;
        *content_at = (size_t)(content - copy) - 1;
        assert_true(*header_at + *header_len <= len && *content_at + *content_len <= len);
    } else {
        assert_ptr_equal(header, untouched);
        assert_ptr_equal(content, untouched);
        assert_true(*header_len == 77 && *content_len == 77);
    }
    free(copy);
    return status;
}

static void reads_rows(void **state)
{
    static const struct {
        const char *message;
        enum iotsec_status status;
        size_t header_at;
        size_t header_len;
        size_t content_at;
        size_t content_len;
    } rows[] = {
        /*  1 */ { "82 43 a1a2a3 42 16fe", IOTSEC_OK, 2, 3, 6, 2 },
        /*  2 */ { "82 40 41 16", IOTSEC_OK, 2, 0, 3, 1 },
        /*  3 */ { "82 40 40", IOTSEC_ERR_DECODE, 0, 0, 0, 0 }, /* no content */
        /*  4 */ { "82 41 a1 40", IOTSEC_ERR_DECODE, 0, 0, 0, 0 },
        /* heads longer than need be: all four, in both places */
        /*  5 */ { "82 5803 a1a2a3 42 16fe", IOTSEC_OK, 3, 3, 7, 2 },
        /*  6 */ { "82 590003 a1a2a3 42 16fe", IOTSEC_OK, 4, 3, 8, 2 },
        /*  7 */ { "82 5a00000003 a1a2a3 42 16fe", IOTSEC_OK, 6, 3, 10, 2 },
        /*  8 */ { "82 5b0000000000000003 a1a2a3 42 16fe", IOTSEC_OK, 10, 3, 14, 2 },
        /*  9 */ { "82 43 a1a2a3 5802 16fe", IOTSEC_OK, 2, 3, 7, 2 },
        /* 10 */ { "82 43 a1a2a3 590002 16fe", IOTSEC_OK, 2, 3, 8, 2 },
        /* 11 */ { "82 43 a1a2a3 5a00000002 16fe", IOTSEC_OK, 2, 3, 10, 2 },
        /* 12 */ { "82 43 a1a2a3 5b0000000000000002 16fe", IOTSEC_OK, 2, 3, 14, 2 },
        /* 13 */ { "82 5b0000000000000000 5b0000000000000001 16", IOTSEC_OK, 10, 0, 19, 1 },
        /* 14 */ { "82 43 a1a2a3 5800", IOTSEC_ERR_DECODE, 0, 0, 0, 0 },
        /* lengths that would wrap to the right one */
        /* 15 */ { "82 43 a1a2a3 5b0000000100000002 16fe", IOTSEC_ERR_DECODE, 0, 0, 0, 0 },
        /* 16 */ { "82 43 a1a2a3 5b8000000000000002 16fe", IOTSEC_ERR_DECODE, 0, 0, 0, 0 },
        /* 17 */ { "82 43 a1a2a3 5a00010002 16fe", IOTSEC_ERR_DECODE, 0, 0, 0, 0 },
        /* 18 */ { "82 43 a1a2a3 5affffffff 16fe", IOTSEC_ERR_DECODE, 0, 0, 0, 0 },
        /* 19 */ { "82 43 a1a2a3 5bffffffffffffffff 16fe", IOTSEC_ERR_DECODE, 0, 0, 0, 0 },
        /* 20 */ { "82 5bffffffffffffffff a1a2a3 42 16fe", IOTSEC_ERR_DECODE, 0, 0, 0, 0 },
        /* reserved and indefinite */
        /* 21 */ { "82 43 a1a2a3 5c 16fe", IOTSEC_ERR_DECODE, 0, 0, 0, 0 },
        /* 22 */ { "82 43 a1a2a3 5d 16fe", IOTSEC_ERR_DECODE, 0, 0, 0, 0 },
        /* 23 */ { "82 43 a1a2a3 5e 16fe", IOTSEC_ERR_DECODE, 0, 0, 0, 0 },
        /* 24 */ { "82 43 a1a2a3 5f 42 16fe ff", IOTSEC_ERR_DECODE, 0, 0, 0, 0 },
        /* 25 */ { "82 5f 43 a1a2a3 ff 42 16fe", IOTSEC_ERR_DECODE, 0, 0, 0, 0 },
        /* 26 */ { "9f 43 a1a2a3 42 16fe ff", IOTSEC_ERR_DECODE, 0, 0, 0, 0 },
        /* other arrays, and other things in the array */
        /* 27 */ { "80", IOTSEC_ERR_DECODE, 0, 0, 0, 0 },
        /* 28 */ { "81 42 16fe", IOTSEC_ERR_DECODE, 0, 0, 0, 0 },
        /* 29 */ { "83 43 a1a2a3 42 16fe 40", IOTSEC_ERR_DECODE, 0, 0, 0, 0 },
        /* 30 */ { "83 43 a1a2a3 42 16fe", IOTSEC_ERR_DECODE, 0, 0, 0, 0 },
        /* 31 */ { "9802 43 a1a2a3 42 16fe", IOTSEC_ERR_DECODE, 0, 0, 0, 0 },
        /* 32 */ { "82 63 616263 42 16fe", IOTSEC_ERR_DECODE, 0, 0, 0, 0 }, /* text */
        /* 33 */ { "82 43 a1a2a3 62 6162", IOTSEC_ERR_DECODE, 0, 0, 0, 0 },
        /* 34 */ { "82 03 42 16fe", IOTSEC_ERR_DECODE, 0, 0, 0, 0 },        /* a number */
        /* 35 */ { "82 c2 43 a1a2a3 42 16fe", IOTSEC_ERR_DECODE, 0, 0, 0, 0 }, /* a tag */
        /* 36 */ { "82 f6 42 16fe", IOTSEC_ERR_DECODE, 0, 0, 0, 0 },        /* null */
        /* 37 */ { "42 16fe", IOTSEC_ERR_DECODE, 0, 0, 0, 0 },
        /* 38 */ { "16fefd0000", IOTSEC_ERR_DECODE, 0, 0, 0, 0 },
        /* nested */
        /* 39 */ { "82 82 41 a1 41 16 42 16fe", IOTSEC_ERR_DECODE, 0, 0, 0, 0 },
        /* 40 */ { "82 43 a1a2a3 82 41 a1 41 16", IOTSEC_ERR_DECODE, 0, 0, 0, 0 },
        /* 41 */ { "82 43 a1a2a3 45 824041161600", IOTSEC_ERR_DECODE, 0, 0, 0, 0 },
        /* 42 */ { "82 43 a1a2a3 44 82404116", IOTSEC_OK, 2, 3, 6, 4 }, /* bytes: what they are is the caller's matter */
        /* nothing may follow */
        /* 43 */ { "82 43 a1a2a3 42 16fe 00", IOTSEC_ERR_DECODE, 0, 0, 0, 0 },
        /* 44 */ { "82 43 a1a2a3 42 16fe 82 40 41 16", IOTSEC_ERR_DECODE, 0, 0, 0, 0 },
        /* 45 */ { "82 43 a1a2a3 42 16fe ff", IOTSEC_ERR_DECODE, 0, 0, 0, 0 },
        /* 46 */ { "", IOTSEC_ERR_DECODE, 0, 0, 0, 0 },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char hex[100];
        uint8_t message[50];
        size_t header_at = 0, header_len = 0, content_at = 0, content_len = 0;
        size_t len = 0;
        const char *c;

        for (c = rows[i].message; *c != '\0'; c++) {
            if (*c != ' ') {
                hex[len++] = *c;
            }
        }
        hex[len] = '\0';
        len = test_unhex(message, sizeof message, hex);
        if (read_message(message, len, &header_at, &header_len, &content_at, &content_len) != rows[i].status) {
            fail_msg("row %zu", i + 1);
        }
        if (rows[i].status == IOTSEC_OK && (header_at != rows[i].header_at || header_len != rows[i].header_len ||
                                            content_at != rows[i].content_at || content_len != rows[i].content_len)) {
            fail_msg("row %zu: header %zu at %zu, content %zu at %zu", i + 1, header_len, header_at, content_len, content_at);
        }
    }
}

/* Reserved heads (28 to 30) and the indefinite one, with all the bytes behind them that a longer length would have. */
static void refuses_other_heads(void **state)
{
    unsigned argument;

    (void)state;
    for (argument = 24; argument < 32; argument++) {
        size_t length_bytes = (size_t)1 << (argument - 24);
        uint8_t message[4 + 128];
        size_t header_at, header_len, content_at, content_len;

        memset(message, 0, sizeof message);
        message[0] = 0x82;
        message[1] = 0x40;
        message[2] = (uint8_t)(0x40 | argument);
        message[2 + length_bytes] = 1;
        assert_int_equal(read_message(message, 4 + length_bytes, &header_at, &header_len, &content_at, &content_len),
                         argument < 28 ? IOTSEC_OK : IOTSEC_ERR_DECODE);
    }
}

/* Where a head grows, and the longest that is relayed. */
static void round_trip_rows(void **state)
{
    static const struct {
        size_t header_len;
        size_t content_len;
        size_t overhead;
        const char *heads; /* the array's, the header's, the content's */
        enum iotsec_status status;
    } rows[] = {
        /*  1 */ { 0, 1, 3, "82 40 41", IOTSEC_OK },
        /*  2 */ { 21, 23, 24, "82 55 57", IOTSEC_OK },
        /*  3 */ { 21, 24, 25, "82 55 5818", IOTSEC_OK },
        /*  4 */ { 23, 255, 27, "82 57 58ff", IOTSEC_OK },
        /*  5 */ { 24, 256, 30, "82 5818 590100", IOTSEC_OK },
        /*  6 */ { 31, 1232, 37, "82 581f 5904d0", IOTSEC_OK },
        /*  7 */ { 32, IOTSEC_RELAY_CONTENT_MAX, IOTSEC_RELAY_OVERHEAD_MAX, "82 5820 590800", IOTSEC_OK },
        /*  8 */ { 32, 65535, IOTSEC_RELAY_OVERHEAD_MAX, "82 5820 59ffff", IOTSEC_OK },
        /*  9 */ { 33, 20, 37, "82 5821 54", IOTSEC_ERR_DECODE }, /* a header too long to be kept */
        /* 10 */ { 255, 20, 259, "82 58ff 54", IOTSEC_ERR_DECODE },
        /* 11 */ { 0, 0, 3, "82 40 40", IOTSEC_ERR_DECODE },
    };
    static uint8_t message[65535 + 300];
    size_t i;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        unsigned number = (unsigned)i + 1;
        uint8_t header[255];
        size_t header_at, header_len, content_at, content_len;
        size_t at = 0;
        size_t k;
        const char *c;
        bool in_header = false;

        memset(header, 0xA5, sizeof header);
        memset(message, 0xEE, sizeof message);
        if (iotsec_join_proxy_overhead(rows[i].header_len, rows[i].content_len) != rows[i].overhead) {
            fail_msg("row %u: overhead", number);
        }
        iotsec_join_proxy_write(message, rows[i].header_len != 0 ? header : NULL, rows[i].header_len, rows[i].content_len);
        for (c = rows[i].heads; *c != '\0'; c++) {
            unsigned v;

            if (*c == ' ') {
                /* behind the header's head comes the header */
                if (in_header) {
                    for (k = 0; k < rows[i].header_len; k++) {
                        assert_int_equal(message[at++], 0xA5);
                    }
                }
                in_header = true;
                continue;
            }
            assert_int_equal(sscanf(c++, "%2x", &v), 1);
            if (message[at++] != v) {
                fail_msg("row %u, byte %zu", number, at - 1);
            }
        }
        assert_int_equal(at, rows[i].overhead);
        assert_int_equal(message[at], 0xEE); /* the content is the caller's */
        memset(message + at, 0x16, rows[i].content_len);
        if (read_message(message, at + rows[i].content_len, &header_at, &header_len, &content_at, &content_len) !=
            rows[i].status) {
            fail_msg("row %u", number);
        }
        if (rows[i].status == IOTSEC_OK) {
            assert_int_equal(header_len, rows[i].header_len);
            assert_int_equal(content_at, at);
            assert_int_equal(content_len, rows[i].content_len);
            assert_memory_equal(message + header_at, header, header_len);
        }
    }
}

/* Cut anywhere, or with anything behind it, a message is none. */
static void refuses_other_lengths(void **state)
{
    static const size_t contents[] = { 1, 23, 24, 255, 256, 300 };
    static const size_t headers[] = { 0, 21, 23, 24, 32 };
    uint8_t header[32];
    uint8_t message[400];
    size_t header_at, header_len, content_at, content_len;
    size_t h, c, len;

    (void)state;
    memset(header, 0xA5, sizeof header);
    for (h = 0; h < sizeof headers / sizeof headers[0]; h++) {
        for (c = 0; c < sizeof contents / sizeof contents[0]; c++) {
            size_t total = iotsec_join_proxy_overhead(headers[h], contents[c]) + contents[c];

            memset(message, 0x16, sizeof message);
            iotsec_join_proxy_write(message, header, headers[h], contents[c]);
            for (len = 0; len <= total + 2; len++) {
                assert_int_equal(read_message(message, len, &header_at, &header_len, &content_at, &content_len),
                                 len == total ? IOTSEC_OK : IOTSEC_ERR_DECODE);
            }
        }
    }
}

#endif

static void tells_by_the_first_byte(void **state)
{
    unsigned first;

    (void)state;
    for (first = 0; first < 256; first++) {
        uint8_t datagram[1] = { (uint8_t)first };

        assert_int_equal(iotsec_join_proxy_is(datagram, 1), first >= 0x80 && first <= 0x97);
        assert_int_equal(iotsec_join_proxy_is_dtls(datagram, 1), first >= 20 && first <= 63);
        assert_false(iotsec_join_proxy_is(datagram, 0));
        assert_false(iotsec_join_proxy_is_dtls(datagram, 0));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#if IOTSEC_ROLE_RELAY || IOTSEC_RELAYED
        cmocka_unit_test(reads_rows),
        cmocka_unit_test(refuses_other_heads),
        cmocka_unit_test(round_trip_rows),
        cmocka_unit_test(refuses_other_lengths),
#endif
        cmocka_unit_test(tells_by_the_first_byte),
    };

    return cmocka_run_group_tests_name("join_proxy", tests, NULL, NULL);
}
