/* SPDX-License-Identifier: BSD-3-Clause */
#include "test_hal_support.h"

#include <iotsec/polykey.h>

#if IOTSEC_PAIRWISE

#include "base/bytes.h"
#include "hal/crypto.h"

#define E IOTSEC_POLY_ELEMENT_BYTES
#define DEGREE_MAX IOTSEC_POLY_DEGREE_MAX
#define ELEMENTS(rows) (sizeof(rows) / sizeof(rows)[0])

static struct test_hal test;

/* ---- A HAL that fails on request ---- */

static const struct iotsec_crypto *real;
static struct iotsec_crypto rigged;
static int operations_left; /* SHA-256 operations before the HAL fails; negative: it never does */
static int hashes_open;     /* started or cloned, and neither finished nor aborted */
static const uint8_t *fixed_digest; /* what every hash comes to; NULL: what it does */

static int fails(void)
{
    if (operations_left == 0) {
        return 1;
    }
    if (operations_left > 0) {
        operations_left--;
    }
    return 0;
}

static int rigged_start(void *user, struct iotsec_sha256 *sha)
{
    if (fails()) {
        return -1;
    }
    hashes_open++;
    return real->sha256_start(user, sha);
}

static int rigged_update(void *user, struct iotsec_sha256 *sha, const uint8_t *data, size_t len)
{
    return fails() ? -1 : real->sha256_update(user, sha, data, len);
}

static int rigged_clone(void *user, struct iotsec_sha256 *to, const struct iotsec_sha256 *from)
{
    if (fails()) {
        return -1;
    }
    hashes_open++;
    return real->sha256_clone(user, to, from);
}

static int rigged_finish(void *user, struct iotsec_sha256 *sha, uint8_t digest[32])
{
    int failed = real->sha256_finish(user, sha, digest);

    hashes_open--;
    if (fixed_digest != NULL) {
        memcpy(digest, fixed_digest, 32);
    }
    return fails() ? -1 : failed;
}

static void rigged_abort(void *user, struct iotsec_sha256 *sha)
{
    hashes_open--;
    real->sha256_abort(user, sha);
}

static int setup(void **state)
{
    struct test_provider providers[2];

    (void)state;
    test_providers(providers);
    real = providers[0].crypto;
    rigged = *real;
    rigged.sha256_start = rigged_start;
    rigged.sha256_update = rigged_update;
    rigged.sha256_clone = rigged_clone;
    rigged.sha256_finish = rigged_finish;
    rigged.sha256_abort = rigged_abort;
    operations_left = -1;
    hashes_open = 0;
    fixed_digest = NULL;
    test_hal_init(&test, &rigged);
    return 0;
}

/* ---- Arithmetic that is too simple to be wrong ---- */

static const uint8_t zero[E];
static const uint8_t one[E] = { [E - 1] = 1 };
static const uint8_t prime[E] = { 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
                                  0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF };

/* v, and 2^128 times high, modulo p */
static void naive_reduce(uint8_t v[E], unsigned high)
{
    while (high != 0 || v[0] >= 0x80) {
        unsigned carry = 2 * high + (v[0] >> 7); /* 2^127 = 1 */
        size_t i;

        v[0] &= 0x7F;
        for (i = E; i-- != 0;) {
            carry += v[i];
            v[i] = (uint8_t)carry;
            carry >>= 8;
        }
        high = carry;
    }
    if (memcmp(v, prime, E) == 0) {
        memset(v, 0, E);
    }
}

static void naive_add(uint8_t r[E], const uint8_t a[E], const uint8_t b[E])
{
    unsigned carry = 0;
    size_t i;

    for (i = E; i-- != 0;) {
        carry += (unsigned)a[i] + b[i];
        r[i] = (uint8_t)carry;
        carry >>= 8;
    }
    naive_reduce(r, carry);
}

static void naive_multiply(uint8_t r[E], const uint8_t a[E], const uint8_t b[E])
{
    uint8_t out[E] = { 0 };
    unsigned bit;

    for (bit = 0; bit < 8 * E; bit++) {
        naive_add(out, out, out);
        if (b[bit / 8] >> (7 - bit % 8) & 1) {
            naive_add(out, out, a);
        }
    }
    memcpy(r, out, E);
}

/* ---- Randomness that is the same in every run ---- */

static uint32_t dice;

static uint32_t roll(void)
{
    dice ^= dice << 13;
    dice ^= dice >> 17;
    dice ^= dice << 5;
    return dice;
}

/* 16 bytes: random ones, or long runs of equal bits, or the ends of the range. All from 0 to 2^128 - 1. */
static void roll_bytes(uint8_t v[E])
{
    unsigned kind = roll() % 4;
    size_t i;

    for (i = 0; i < E; i++) {
        v[i] = (uint8_t)(roll() >> 8);
    }
    if (kind == 1) {
        memset(v, roll() & 1024 ? 0xFF : 0, E);
        v[0] = (uint8_t)(v[0] & (roll() & 1024 ? 0x7F : 0xFF));
        i = roll() % E;
        v[i] = (uint8_t)(v[i] ^ 1u << roll() % 8);
    } else if (kind == 2) {
        memset(v, roll() & 1024 ? 0xFF : 0, roll() % (E + 1));
    } else if (kind == 3) {
        memset(v, roll() & 1024 ? 0xFF : 0, E);
        v[E - 1] = (uint8_t)(v[E - 1] + roll() % 5 - 2);
        v[0] = (uint8_t)(v[0] & (roll() & 1024 ? 0x7F : 0xFF));
    }
}

static void roll_element(uint8_t v[E])
{
    roll_bytes(v);
    naive_reduce(v, 0);
}

/* ---- Evaluation ---- */

static void evaluate(uint8_t value[E], const uint8_t point[E], const uint8_t *coefficients, size_t count)
{
    static const struct iotsec_polykey_sum wiped;
    struct iotsec_polykey_sum sum;
    uint8_t out[E];

    memset(&sum, 0x55, sizeof sum);
    iotsec_polykey_sum_start(&sum, point);
    iotsec_polykey_sum_add(&sum, coefficients, count);
    iotsec_polykey_sum_finish(&sum, out);
    assert_memory_equal(&sum, &wiped, sizeof sum);
    memcpy(value, out, E);
}

static void naive_evaluate(uint8_t value[E], const uint8_t point[E], const uint8_t *coefficients, size_t count)
{
    memset(value, 0, E);
    while (count-- != 0) {
        naive_multiply(value, value, point);
        naive_add(value, value, coefficients + count * E);
    }
}

static void follows_the_vectors(void **state)
{
    FILE *f = test_vectors_open("pairwise_steps.csv");
    char line[256];
    char *field[4];
    int rows = 0;

    (void)state;
    while (test_vectors_row(f, line, sizeof line, field, 4)) {
        uint8_t point[E], polynomial[2 * E], expected[E], value[E];

        test_unhex(point, E, field[0]);
        test_unhex(polynomial + E, E, field[1]);
        test_unhex(polynomial, E, field[2]);
        test_unhex(expected, E, field[3]);
        evaluate(value, point, polynomial, 2);
        assert_memory_equal(value, expected, E);
        naive_evaluate(value, point, polynomial, 2);
        assert_memory_equal(value, expected, E);
        rows++;
    }
    fclose(f);
    assert_int_equal(rows, 200);
}

/* Of any 16 bytes, elements or not: what is not below p is reduced. */
static void agrees_with_naive_arithmetic(void **state)
{
    uint8_t polynomial[6 * E];
    uint8_t point[E], value[E], expected[E];
    size_t count, i;
    int round;

    (void)state;
    dice = 0x1D2C3B4A;
    for (round = 0; round < 4000; round++) {
        count = roll() % 7;
        roll_bytes(point);
        for (i = 0; i < count; i++) {
            roll_bytes(polynomial + i * E);
        }
        evaluate(value, point, polynomial, count);
        naive_evaluate(expected, point, polynomial, count);
        if (memcmp(value, expected, E) != 0) {
            fail_msg("round %d, %u coefficients", round, (unsigned)count);
        }
        assert_true(iotsec_polykey_are_elements(value, 1));
    }
}

static void takes_coefficients_in_any_pieces(void **state)
{
    uint8_t polynomial[12 * E];
    uint8_t point[E], value[E], expected[E];
    struct iotsec_polykey_sum sum;
    size_t i, left, n;
    int round;

    (void)state;
    dice = 5;
    for (round = 0; round < 100; round++) {
        roll_element(point);
        for (i = 0; i < 12; i++) {
            roll_element(polynomial + i * E);
        }
        evaluate(expected, point, polynomial, 12);
        iotsec_polykey_sum_start(&sum, point);
        for (left = 12; left != 0; left -= n) {
            n = roll() % (left + 1); /* none, too */
            iotsec_polykey_sum_add(&sum, polynomial + (left - n) * E, n);
        }
        iotsec_polykey_sum_finish(&sum, value);
        assert_memory_equal(value, expected, E);
    }
}

/* The largest limbs that src/polykey/field.c says can be, set by hand, with the largest of everything else. */
static void holds_its_bounds(void **state)
{
    static const uint32_t largest[IOTSEC_POLY_LIMBS] = { 8191, 8191 + 68, 8191, 8191, 8191, 8191, 8191, 8191, 8191, 1023 };
    uint8_t full[E], value[E], expected[E], scale[E], limb[E];
    struct iotsec_polykey_sum sum;
    uint32_t pattern;
    int i;

    (void)state;
    memset(full, 0xFF, E);
    /* bit i: limb i is as large as can be, or 0; the same for the point */
    for (pattern = 0; pattern < 1024; pattern++) {
        uint8_t point[E];

        memset(point, 0, E);
        iotsec_polykey_sum_start(&sum, point);
        memset(expected, 0, E);
        memset(scale, 0, E);
        scale[E - 1] = 1;
        for (i = 0; i < IOTSEC_POLY_LIMBS; i++) {
            uint32_t v = pattern & 1u << i ? largest[i] : 0;
            int bit;

            sum.sum[sum.turn][i] += v;
            memset(limb, 0, E);
            iotsec_put_u32(limb + E - 4, v);
            naive_multiply(limb, limb, scale);
            naive_add(expected, expected, limb);
            for (bit = 0; bit < 13; bit++) {
                naive_add(scale, scale, scale);
            }
        }
        {
            struct iotsec_polykey_sum other = sum;

            iotsec_polykey_sum_finish(&other, value);
            assert_memory_equal(value, expected, E);
        }
        /* times 2^128 - 1, plus that */
        {
            struct iotsec_polykey_sum other;

            iotsec_polykey_sum_start(&other, full);
            memcpy(other.sum[other.turn], sum.sum[sum.turn], sizeof other.sum[0]);
            iotsec_polykey_sum_add(&other, full, 1);
            for (i = 0; i < IOTSEC_POLY_LIMBS; i++) {
                uint32_t v = other.sum[other.turn][i] - 0x10000;

                assert_true(v <= largest[i]);
            }
            naive_multiply(expected, expected, full);
            naive_add(expected, expected, full);
            iotsec_polykey_sum_finish(&other, value);
            assert_memory_equal(value, expected, E);
        }
    }
}

static void knows_elements(void **state)
{
    static const struct {
        const char *name;
        const char *hex;
        int are;
    } rows[] = {
        { "none", "", 1 },
        { "0", "00000000000000000000000000000000", 1 },
        { "p - 1", "7ffffffffffffffffffffffffffffffe", 1 },
        { "p", "7fffffffffffffffffffffffffffffff", 0 },
        { "p + 1", "80000000000000000000000000000000", 0 },
        { "p + 2", "80000000000000000000000000000001", 0 },
        { "all ones", "ffffffffffffffffffffffffffffffff", 0 },
        { "all ones but the lowest bit", "fffffffffffffffffffffffffffffffe", 0 },
        { "all ones but a byte", "7fffffffffffff00ffffffffffffffff", 1 },
        { "ones behind 7e", "7effffffffffffffffffffffffffffff", 1 },
        { "the top bit alone among others", "81000000000000000000000000000000", 0 },
        { "two", "7ffffffffffffffffffffffffffffffe7ffffffffffffffffffffffffffffffe", 1 },
        { "the second is p", "000000000000000000000000000000007fffffffffffffffffffffffffffffff", 0 },
        { "the first is p", "7fffffffffffffffffffffffffffffff00000000000000000000000000000000", 0 },
        { "two of 2^127", "8000000000000000000000000000000080000000000000000000000000000000", 0 },
        { "p in the middle", "00000000000000000000000000000001"
                             "7fffffffffffffffffffffffffffffff"
                             "00000000000000000000000000000001", 0 },
    };
    uint8_t v[3 * E];
    size_t i;

    (void)state;
    for (i = 0; i < ELEMENTS(rows); i++) {
        size_t len = test_unhex(v, sizeof v, rows[i].hex);

        if (iotsec_polykey_are_elements(v, len / E) != rows[i].are) {
            fail_msg("%s", rows[i].name);
        }
    }
    dice = 99;
    for (i = 0; i < 10000; i++) {
        roll_bytes(v);
        assert_int_equal(iotsec_polykey_are_elements(v, 1), memcmp(v, prime, E) < 0);
    }
}

/* ---- Points ---- */

static void finds_points(void **state)
{
    struct test_provider providers[2];
    size_t count = test_providers(providers);
    size_t i;

    (void)state;
    for (i = 0; i < count; i++) {
        FILE *f = test_vectors_open("pairwise_points.csv");
        char line[512];
        char *field[2];
        int rows = 0;

        test_hal_init(&test, providers[i].crypto);
        while (test_vectors_row(f, line, sizeof line, field, 2)) {
            uint8_t identity[128], expected[E], point[E];
            size_t len = test_unhex(identity, sizeof identity, field[0]);

            test_unhex(expected, E, field[1]);
            assert_int_equal(iotsec_polykey_point(&test.hal, identity, len, point), IOTSEC_OK);
            assert_memory_equal(point, expected, E);
            rows++;
        }
        fclose(f);
        assert_int_equal(rows, 13);
    }
}

static void reduces_digests(void **state)
{
    static const struct {
        const char *name;
        const char *digest[2];
        const char *point; /* NULL: 0, which is refused */
    } rows[] = {
        { "0", { "00000000000000000000000000000000", "00000000000000000000000000000000" }, NULL },
        { "1", { "00000000000000000000000000000000", "00000000000000000000000000000001" }, "00000000000000000000000000000001" },
        { "p - 1", { "00000000000000000000000000000000", "7ffffffffffffffffffffffffffffffe" },
          "7ffffffffffffffffffffffffffffffe" },
        { "p", { "00000000000000000000000000000000", "7fffffffffffffffffffffffffffffff" }, NULL },
        { "2^127", { "00000000000000000000000000000000", "80000000000000000000000000000000" }, "00000000000000000000000000000001" },
        { "2 p", { "00000000000000000000000000000000", "fffffffffffffffffffffffffffffffe" }, NULL },
        { "2^128", { "00000000000000000000000000000001", "00000000000000000000000000000000" }, "00000000000000000000000000000002" },
        { "2^128 - 1", { "00000000000000000000000000000000", "ffffffffffffffffffffffffffffffff" },
          "00000000000000000000000000000001" },
        { "p 2^128", { "7fffffffffffffffffffffffffffffff", "00000000000000000000000000000000" }, NULL },
        { "p p", { "3fffffffffffffffffffffffffffffff", "00000000000000000000000000000001" }, NULL },
        { "2 p 2^128", { "fffffffffffffffffffffffffffffffe", "00000000000000000000000000000000" }, NULL },
        { "2^254", { "40000000000000000000000000000000", "00000000000000000000000000000000" }, "00000000000000000000000000000001" },
        { "2^256 - 1", { "ffffffffffffffffffffffffffffffff", "ffffffffffffffffffffffffffffffff" },
          "00000000000000000000000000000003" },
        { "2^256 - 4, the largest multiple", { "ffffffffffffffffffffffffffffffff", "fffffffffffffffffffffffffffffffc" }, NULL },
    };
    uint8_t digest[32], point[E], expected[E];
    size_t i;

    (void)state;
    for (i = 0; i < ELEMENTS(rows); i++) {
        enum iotsec_status status;

        test_unhex(digest, E, rows[i].digest[0]);
        test_unhex(digest + E, E, rows[i].digest[1]);
        fixed_digest = digest;
        status = iotsec_polykey_point(&test.hal, (const uint8_t *)"any", 3, point);
        if (rows[i].point == NULL) {
            if (status != IOTSEC_ERR_ARGUMENT) {
                fail_msg("%s is no point", rows[i].name);
            }
            continue;
        }
        test_unhex(expected, E, rows[i].point);
        if (status != IOTSEC_OK || memcmp(point, expected, E) != 0) {
            fail_msg("%s", rows[i].name);
        }
    }
}

/* ---- Polynomials ---- */

/* a[i][j] = a[j][i] */
struct polynomial {
    size_t t;
    uint8_t a[DEGREE_MAX + 1][DEGREE_MAX + 1][E];
};
static struct polynomial polynomial;

static void draw_polynomial(struct polynomial *f, size_t t)
{
    size_t i, j;

    f->t = t;
    for (i = 0; i <= t; i++) {
        for (j = i; j <= t; j++) {
            roll_element(f->a[i][j]);
            memcpy(f->a[j][i], f->a[i][j], E);
        }
    }
}

static void share_of(const struct polynomial *f, const uint8_t point[E], uint8_t *share)
{
    size_t j;

    for (j = 0; j <= f->t; j++) {
        evaluate(share + j * E, point, f->a[j][0], f->t + 1); /* row j is column j */
    }
}

/* The one of tests/vectors/pairwise.py. */
static void vector_polynomial(struct polynomial *f, size_t t)
{
    static const char label[] = "iotsec test polynomial";
    size_t i, j;

    f->t = t;
    for (i = 0; i <= t; i++) {
        for (j = i; j <= t; j++) {
            uint8_t numbers[3] = { (uint8_t)t, (uint8_t)i, (uint8_t)j };
            const struct iotsec_slice parts[] = { { (const uint8_t *)label, sizeof label - 1 }, { numbers, 3 } };
            uint8_t digest[32];
            size_t k;

            assert_int_equal(iotsec_sha256(&test.hal, parts, 2, digest), IOTSEC_OK);
            for (k = E; k-- != 0;) {
                digest[k] = (uint8_t)(digest[k] >> 1 | (k != 0 ? digest[k - 1] << 7 : 0));
            }
            memcpy(f->a[i][j], digest, E);
            memcpy(f->a[j][i], digest, E);
        }
    }
}

static void derives_the_vectors_keys(void **state)
{
    static uint8_t shares[2][(DEGREE_MAX + 1) * E];
    FILE *f = test_vectors_open("pairwise_keys.csv");
    char line[2048];
    char *field[9];
    int rows = 0;

    (void)state;
    while (test_vectors_row(f, line, sizeof line, field, 9)) {
        uint8_t identity[2][128], point[2][E], expected[32], value[E], psk[32], tgk[16], out[33];
        struct iotsec_polykey_pair pair;
        size_t len[2];
        size_t t = (size_t)strtoul(field[0], NULL, 10);
        int i;

        if (rows == 0 || t != polynomial.t) {
            vector_polynomial(&polynomial, t);
        }
        for (i = 0; i < 2; i++) {
            struct iotsec_slice all = { shares[i], (t + 1) * E };
            uint8_t digest[32];

            len[i] = test_unhex(identity[i], 128, field[2 + i]);
            assert_int_equal(iotsec_polykey_point(&test.hal, identity[i], len[i], point[i]), IOTSEC_OK);
            share_of(&polynomial, point[i], shares[i]);
            assert_int_equal(iotsec_sha256(&test.hal, &all, 1, digest), IOTSEC_OK);
            test_unhex(expected, 32, field[4 + i]);
            assert_memory_equal(digest, expected, 32);
        }
        test_unhex(expected, E, field[6]);
        test_unhex(psk, 32, field[7]);
        test_unhex(tgk, 16, field[8]);
        /* as the first sees it, and as the second does */
        for (i = 0; i < 2; i++) {
            evaluate(value, point[1 - i], shares[i], t + 1);
            assert_memory_equal(value, expected, E);
            pair.share = shares[i];
            pair.degree = (uint8_t)t;
            pair.generation = (uint32_t)strtoul(field[1], NULL, 10);
            pair.own = identity[i];
            pair.own_len = len[i];
            pair.peer = identity[1 - i];
            pair.peer_len = len[1 - i];
            out[32] = 0x77;
            assert_int_equal(iotsec_polykey_keys(&test.hal, &pair, out, NULL), IOTSEC_OK);
            assert_memory_equal(out, psk, 32);
            assert_int_equal(out[32], 0x77);
            out[16] = 0x77;
            assert_int_equal(iotsec_polykey_keys(&test.hal, &pair, NULL, out), IOTSEC_OK);
            assert_memory_equal(out, tgk, 16);
            assert_int_equal(out[16], 0x77);
            memset(out, 0, 32);
            assert_int_equal(iotsec_polykey_keys(&test.hal, &pair, out, expected + 16), IOTSEC_OK);
            assert_memory_equal(out, psk, 32);
            assert_memory_equal(expected + 16, tgk, 16);
            assert_int_equal(iotsec_polykey_keys(&test.hal, &pair, NULL, NULL), IOTSEC_OK);
        }
        rows++;
    }
    fclose(f);
    assert_int_equal(rows, 15);
    assert_int_equal(hashes_open, 0);
}

/* ---- What is refused, and what fails ---- */

static void refuses_pairs(void **state)
{
    static const uint8_t share[2 * E] = { [E - 1] = 3, [2 * E - 1] = 4 };
    static uint8_t names[2][IOTSEC_IDENTITY_MAX + 1];
    static const struct {
        const char *name;
        size_t own_len, peer_len;
        int point_zero;
        enum iotsec_status status;
    } rows[] = {
        { "fine", 4, 5, 0, IOTSEC_OK },
        { "as long as can be", IOTSEC_IDENTITY_MAX, IOTSEC_IDENTITY_MAX - 1, 0, IOTSEC_OK },
        { "as long as can be, the other", IOTSEC_IDENTITY_MAX - 1, IOTSEC_IDENTITY_MAX, 0, IOTSEC_OK },
        { "no identity", 0, 5, 0, IOTSEC_ERR_ARGUMENT },
        { "no peer", 4, 0, 0, IOTSEC_ERR_ARGUMENT },
        { "nobody at all", 0, 0, 0, IOTSEC_ERR_ARGUMENT },
        { "too long", IOTSEC_IDENTITY_MAX + 1, 5, 0, IOTSEC_ERR_ARGUMENT },
        { "peer too long", 5, IOTSEC_IDENTITY_MAX + 1, 0, IOTSEC_ERR_ARGUMENT },
        { "a length that wraps", 5, SIZE_MAX, 0, IOTSEC_ERR_ARGUMENT },
        { "the same", 4, 4, 0, IOTSEC_ERR_ARGUMENT },
        { "the same long one", IOTSEC_IDENTITY_MAX, IOTSEC_IDENTITY_MAX, 0, IOTSEC_ERR_ARGUMENT },
        { "point 0", 4, 5, 1, IOTSEC_ERR_ARGUMENT },
    };
    static const uint8_t digest[32];
    uint8_t psk[32], tgk[16], untouched[32], point[E];
    size_t i;

    (void)state;
    memset(names, 'n', sizeof names);
    memset(untouched, 0x77, sizeof untouched);
    for (i = 0; i < ELEMENTS(rows); i++) {
        const struct iotsec_polykey_pair pair = { share, 1, 1, names[0], rows[i].own_len, names[1], rows[i].peer_len };
        enum iotsec_status status;

        fixed_digest = rows[i].point_zero ? digest : NULL;
        memset(psk, 0x77, sizeof psk);
        memset(tgk, 0x77, sizeof tgk);
        status = iotsec_polykey_keys(&test.hal, &pair, psk, tgk);
        if (status != rows[i].status) {
            fail_msg("%s: %s", rows[i].name, iotsec_status_name(status));
        }
        if ((memcmp(psk, untouched, 32) == 0) != (status != IOTSEC_OK) ||
            (memcmp(tgk, untouched, 16) == 0) != (status != IOTSEC_OK)) {
            fail_msg("%s: keys", rows[i].name);
        }
    }
    fixed_digest = NULL;
    assert_int_equal(iotsec_polykey_point(&test.hal, names[0], 0, point), IOTSEC_ERR_ARGUMENT);
    assert_int_equal(iotsec_polykey_point(&test.hal, names[0], IOTSEC_IDENTITY_MAX + 1, point), IOTSEC_ERR_ARGUMENT);
    assert_int_equal(iotsec_polykey_point(&test.hal, names[0], IOTSEC_IDENTITY_MAX, point), IOTSEC_OK);
    assert_int_equal(hashes_open, 0);
}

static void survives_a_failing_hal(void **state)
{
    uint8_t share[4 * E], psk[32], tgk[16], out[32], out2[16], nothing[32] = { 0 }, untouched[32];
    const struct iotsec_polykey_pair pair = { share, 3, 1, (const uint8_t *)"lamp", 4, (const uint8_t *)"switch", 6 };
    int left;
    size_t i;

    (void)state;
    dice = 17;
    memset(untouched, 0x77, sizeof untouched);
    for (i = 0; i < 4; i++) {
        roll_element(share + i * E);
    }
    assert_int_equal(iotsec_polykey_keys(&test.hal, &pair, psk, tgk), IOTSEC_OK);
    for (left = 0; left < 200; left++) {
        enum iotsec_status status;

        memset(out, 0x77, sizeof out);
        memset(out2, 0x77, sizeof out2);
        operations_left = left;
        status = iotsec_polykey_keys(&test.hal, &pair, out, out2);
        assert_int_equal(hashes_open, 0);
        if (status == IOTSEC_OK) {
            assert_memory_equal(out, psk, 32);
            assert_memory_equal(out2, tgk, 16);
            break;
        }
        assert_int_equal(status, IOTSEC_ERR_CRYPTO);
        assert_true(memcmp(out, nothing, 32) == 0 || memcmp(out, untouched, 32) == 0);
        assert_memory_equal(out2, untouched, 16);
        /* a failing HMAC is one, whoever wants it */
        operations_left = left;
        memset(out2, 0x77, sizeof out2);
        status = iotsec_polykey_keys(&test.hal, &pair, NULL, out2);
        assert_true(status == IOTSEC_OK ? memcmp(out2, tgk, 16) == 0 : memcmp(out2, untouched, 16) == 0);
        assert_int_equal(hashes_open, 0);
    }
    assert_true(left > 20 && left < 200);
    operations_left = 0;
    assert_int_equal(iotsec_polykey_point(&test.hal, (const uint8_t *)"lamp", 4, out), IOTSEC_ERR_CRYPTO);
}

/* ---- Drawing ---- */

static int draws;                /* calls of the HAL */
static int no_elements;          /* so many of them give all ones */
static int random_fails_at = -1; /* the number of the call that fails */

static int drawing_random(void *user, uint8_t *out, size_t len)
{
    if (draws++ == random_fails_at) {
        return -1;
    }
    if (no_elements != 0) {
        no_elements--;
        memset(out, 0xFF, len);
        return 0;
    }
    return test_hal_random(user, out, len);
}

static int is_wiped(const uint8_t *data, size_t len)
{
    while (len != 0 && *data == 0) {
        data++;
        len--;
    }
    return len == 0;
}

static void draws_elements(void **state)
{
    static const struct {
        const char *name;
        int no_elements, fails_at;
        size_t count;
        enum iotsec_status status;
    } rows[] = {
        { "plain", 0, -1, 5, IOTSEC_OK },
        { "nothing asked for", 0, 0, 0, IOTSEC_OK },
        { "first all ones", 1, -1, 5, IOTSEC_OK },
        { "all ones three times", 3, -1, 5, IOTSEC_OK },
        { "all ones for ever", 1000000, -1, 5, IOTSEC_ERR_RANDOM },
        { "fails at once", 0, 0, 5, IOTSEC_ERR_RANDOM },
        { "fails in the middle", 0, 2, 5, IOTSEC_ERR_RANDOM },
        { "fails at the last one", 0, 4, 5, IOTSEC_ERR_RANDOM },
        { "fails when asked again", 1, 1, 5, IOTSEC_ERR_RANDOM },
    };
    uint8_t elements[6 * E];
    size_t i, k;

    (void)state;
    test.hal.random = drawing_random;
    for (i = 0; i < ELEMENTS(rows); i++) {
        enum iotsec_status status;
        size_t len = rows[i].count * E;

        draws = 0;
        no_elements = rows[i].no_elements;
        random_fails_at = rows[i].fails_at;
        test.next_random = 0x81; /* above p, without the top bit taken off */
        memset(elements, 0x77, sizeof elements);
        status = iotsec_polykey_draw(&test.hal, elements, rows[i].count);
        if (status != rows[i].status) {
            fail_msg("%s: %s", rows[i].name, iotsec_status_name(status));
        }
        assert_int_equal(elements[len], 0x77);
        if (status != IOTSEC_OK) {
            assert_true(is_wiped(elements, len));
            assert_true(draws < 16);
            continue;
        }
        assert_int_equal(draws, (int)rows[i].count + rows[i].no_elements);
        for (k = 0; k < len; k++) {
            assert_int_equal(elements[k], (uint8_t)(0x81 + k) & (k % E == 0 ? 0x7F : 0xFF));
        }
    }
}

/* ---- Collusion ---- */

static void identity_point(uint8_t point[E], unsigned number)
{
    char name[16];
    int len = snprintf(name, sizeof name, "device %u", number);

    assert_int_equal(iotsec_polykey_point(&test.hal, (const uint8_t *)name, (size_t)len, point), IOTSEC_OK);
}

static void negate(uint8_t r[E], const uint8_t a[E])
{
    size_t i;

    for (i = 0; i < E; i++) {
        r[i] = (uint8_t)(prime[i] - a[i]); /* p has all bits set: no byte borrows */
    }
    naive_reduce(r, 0);
}

static void multiply(uint8_t r[E], const uint8_t a[E], const uint8_t b[E])
{
    uint8_t line[2 * E] = { 0 };

    memcpy(line + E, a, E);
    evaluate(r, b, line, 2);
}

/* a^(p - 2) */
static void invert(uint8_t r[E], const uint8_t a[E])
{
    uint8_t out[E];
    int bit;

    assert_memory_not_equal(a, zero, E);
    memcpy(out, one, E);
    for (bit = 126; bit >= 0; bit--) {
        multiply(out, out, out);
        if (bit != 1) { /* the only bit of p - 2 that is 0 */
            multiply(out, out, a);
        }
    }
    multiply(r, out, a);
    assert_memory_equal(r, one, E);
    memcpy(r, out, E);
}

#define DEVICES 33u /* of which the first t or t + 1 collude; the victims come behind them */

struct world {
    uint8_t point[DEVICES + 2][E];
    uint8_t share[DEVICES + 2][(DEVICES + 1) * E];
    size_t t;
};
static struct world world;

static void start_world(size_t t)
{
    size_t i;

    draw_polynomial(&polynomial, t);
    world.t = t;
    for (i = 0; i < DEVICES + 2; i++) {
        identity_point(world.point[i], (unsigned)i);
        share_of(&polynomial, world.point[i], world.share[i]);
    }
}

/* z(x) = (x - x_1) ... (x - x_t): the coefficients */
static void vanishing(uint8_t z[][E])
{
    size_t i, j;

    memset(z, 0, (world.t + 1) * E);
    memcpy(z[0], one, E);
    for (i = 0; i < world.t; i++) {
        uint8_t root[E];

        negate(root, world.point[i]);
        for (j = i + 1; j != 0; j--) {
            multiply(z[j], z[j], root);
            naive_add(z[j], z[j], z[j - 1]);
        }
        multiply(z[0], z[0], root);
    }
}

/*
 * t devices put their shares together. Whatever key of two others they suppose, there is a polynomial that fits it and all that
 * they know: F + c z(x) z(y), where z is 0 at their own points. So all keys are equally likely still.
 */
static void t_shares_fit_any_key(void **state)
{
    static const size_t degrees[] = { 1, 2, 5, 31 };
    static struct polynomial other;
    static uint8_t share[(DEVICES + 1) * E];
    const uint8_t *u = world.point[DEVICES];
    const uint8_t *v = world.point[DEVICES + 1];
    uint8_t z[DEVICES + 1][E], key[E], supposed[E], c[E], part[E];
    size_t d, i, j, round;

    (void)state;
    dice = 1234;
    for (d = 0; d < ELEMENTS(degrees); d++) {
        start_world(degrees[d]);
        evaluate(key, v, world.share[DEVICES], world.t + 1);
        evaluate(part, u, world.share[DEVICES + 1], world.t + 1);
        assert_memory_equal(key, part, E);
        vanishing(z);
        for (round = 0; round < 3; round++) {
            /* supposed = key + c z(u) z(v) */
            roll_element(supposed);
            evaluate(c, u, z[0], world.t + 1);
            evaluate(part, v, z[0], world.t + 1);
            multiply(c, c, part);
            invert(c, c);
            negate(part, key);
            naive_add(part, part, supposed);
            multiply(c, c, part);
            other.t = world.t;
            for (i = 0; i <= world.t; i++) {
                for (j = 0; j <= world.t; j++) {
                    multiply(part, z[i], z[j]);
                    multiply(part, part, c);
                    naive_add(other.a[i][j], polynomial.a[i][j], part);
                }
            }
            for (i = 0; i <= world.t; i++) {
                for (j = 0; j <= world.t; j++) {
                    assert_memory_equal(other.a[i][j], other.a[j][i], E);
                }
            }
            for (i = 0; i < world.t; i++) {
                share_of(&other, world.point[i], share);
                assert_memory_equal(share, world.share[i], (world.t + 1) * E);
            }
            share_of(&other, u, share);
            evaluate(part, v, share, world.t + 1);
            assert_memory_equal(part, supposed, E);
            assert_memory_not_equal(part, key, E);
            /* one device more would have told the two apart */
            share_of(&other, world.point[world.t], share);
            assert_memory_not_equal(share, world.share[world.t], (world.t + 1) * E);
        }
    }
}

/* t + 1 devices interpolate: F(u, v) = sum of F(x_i, v) times the product of (u - x_j) / (x_i - x_j), j unlike i. */
static void t_plus_1_shares_give_every_key(void **state)
{
    static const size_t degrees[] = { 1, 2, 5, 31 };
    const uint8_t *u = world.point[DEVICES];
    const uint8_t *v = world.point[DEVICES + 1];
    size_t d, i, j;

    (void)state;
    dice = 4321;
    for (d = 0; d < ELEMENTS(degrees); d++) {
        uint8_t key[E], found[E] = { 0 }, psk[32], found_psk[32];
        uint8_t constant[2 * E] = { 0 };
        struct iotsec_polykey_pair pair = { world.share[DEVICES], (uint8_t)degrees[d], 1, (const uint8_t *)"device 33", 9,
                                            (const uint8_t *)"device 34", 9 };

        start_world(degrees[d]);
        evaluate(key, v, world.share[DEVICES], world.t + 1);
        for (i = 0; i <= world.t; i++) {
            uint8_t term[E], below[E], minus[E], difference[E];

            evaluate(term, v, world.share[i], world.t + 1);
            memcpy(below, one, E);
            for (j = 0; j <= world.t; j++) {
                if (j != i) {
                    negate(minus, world.point[j]);
                    naive_add(difference, u, minus);
                    multiply(term, term, difference);
                    naive_add(difference, world.point[i], minus);
                    multiply(below, below, difference);
                }
            }
            invert(below, below);
            multiply(term, term, below);
            naive_add(found, found, term);
        }
        assert_memory_equal(found, key, E);
        /* and with it the keys: a polynomial that is this value everywhere stands for the victim's share */
        assert_int_equal(iotsec_polykey_keys(&test.hal, &pair, psk, NULL), IOTSEC_OK);
        memcpy(constant, found, E);
        pair.share = constant;
        pair.degree = 1;
        assert_int_equal(iotsec_polykey_keys(&test.hal, &pair, found_psk, NULL), IOTSEC_OK);
        assert_memory_equal(psk, found_psk, 32);
    }
}

/* Any two, of any degree; and no two pairs alike. */
static void any_two_agree(void **state)
{
    static const size_t degrees[] = { 1, 3, 8, 31 };
    size_t d, i, j;

    (void)state;
    dice = 777;
    for (d = 0; d < ELEMENTS(degrees); d++) {
        uint8_t a[E], b[E], last[E] = { 0 };

        start_world(degrees[d]);
        for (i = 0; i < 8; i++) {
            for (j = i + 1; j < 8; j++) {
                evaluate(a, world.point[j], world.share[i], world.t + 1);
                evaluate(b, world.point[i], world.share[j], world.t + 1);
                assert_memory_equal(a, b, E);
                assert_memory_not_equal(a, last, E);
                memcpy(last, a, E);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(follows_the_vectors, setup),
        cmocka_unit_test_setup(agrees_with_naive_arithmetic, setup),
        cmocka_unit_test_setup(takes_coefficients_in_any_pieces, setup),
        cmocka_unit_test_setup(holds_its_bounds, setup),
        cmocka_unit_test_setup(knows_elements, setup),
        cmocka_unit_test_setup(finds_points, setup),
        cmocka_unit_test_setup(reduces_digests, setup),
        cmocka_unit_test_setup(derives_the_vectors_keys, setup),
        cmocka_unit_test_setup(refuses_pairs, setup),
        cmocka_unit_test_setup(survives_a_failing_hal, setup),
        cmocka_unit_test_setup(draws_elements, setup),
        cmocka_unit_test_setup(any_two_agree, setup),
        cmocka_unit_test_setup(t_shares_fit_any_key, setup),
        cmocka_unit_test_setup(t_plus_1_shares_give_every_key, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

int main(void)
{
    return 0;
}

#endif
