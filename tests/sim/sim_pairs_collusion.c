/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Captured devices put their shares together against two others, whose handshake and messages they have recorded: t of them
 * open nothing, t + 1 everything. (tests/unit/test_polykey.c does the algebra; this is the protocol.)
 */
#include <string.h>

#include "base/bytes.h"
#include "hal/crypto.h"
#include "pairs.h"
#include "scenario.h"

#define E IOTSEC_POLY_ELEMENT_BYTES
#define DEGREE_MAX 5u

/* ---- The field, by the library's evaluation: a b is the value of 0 + a y at b ---- */

static void multiply(uint8_t out[E], const uint8_t a[E], const uint8_t b[E])
{
    struct iotsec_polykey_sum sum;
    uint8_t coefficients[2][E];

    memset(coefficients[0], 0, E);
    memcpy(coefficients[1], a, E);
    iotsec_polykey_sum_start(&sum, b);
    iotsec_polykey_sum_add(&sum, coefficients[0], 2);
    iotsec_polykey_sum_finish(&sum, out);
}

static void add(uint8_t out[E], const uint8_t a[E], const uint8_t b[E])
{
    static const uint8_t one[E] = { [E - 1] = 1 };
    struct iotsec_polykey_sum sum;
    uint8_t coefficients[2][E];

    memcpy(coefficients[0], a, E);
    memcpy(coefficients[1], b, E);
    iotsec_polykey_sum_start(&sum, one);
    iotsec_polykey_sum_add(&sum, coefficients[0], 2);
    iotsec_polykey_sum_finish(&sum, out);
}

static void subtract(uint8_t out[E], const uint8_t a[E], const uint8_t b[E])
{
    uint8_t minus_one[E];
    uint8_t negative[E];

    memset(minus_one, 0xFF, E);
    minus_one[0] = 0x7F;
    minus_one[E - 1] = 0xFE;
    multiply(negative, b, minus_one);
    add(out, a, negative);
}

/* a to the power of p - 2 */
static void invert(uint8_t out[E], const uint8_t a[E])
{
    uint8_t result[E] = { [E - 1] = 1 };
    unsigned bit;

    for (bit = 127; bit-- != 0;) {
        multiply(result, result, result);
        if (bit != 1) { /* p - 2 is all ones but for this one: 2^127 - 3 */
            multiply(result, result, a);
        }
    }
    memcpy(out, result, E);
}

/* ---- The colluders ---- */

static void point_of(const struct node *node, uint8_t out[E])
{
    assert_int_equal(iotsec_polykey_point(&node->hal, (const uint8_t *)node->name, strlen(node->name), out), IOTSEC_OK);
}

/* What so many captured devices take for K of the two: their shares at b's point, interpolated at a's. */
static void interpolate(struct node *const *captured, size_t count, const struct node *a, const struct node *b, uint8_t k[E])
{
    uint8_t x[DEGREE_MAX + 1][E];
    uint8_t at[E];
    uint8_t of[E];
    size_t i;
    size_t j;

    point_of(a, at);
    point_of(b, of);
    for (i = 0; i < count; i++) {
        point_of(captured[i], x[i]);
    }
    memset(k, 0, E);
    for (i = 0; i < count; i++) {
        const struct iotsec_share *share = node_share(captured[i], 1);
        struct iotsec_polykey_sum sum;
        uint8_t term[E];

        assert_non_null(share);
        iotsec_polykey_sum_start(&sum, of);
        iotsec_polykey_sum_add(&sum, share->elements, share->degree + 1u);
        iotsec_polykey_sum_finish(&sum, term);
        for (j = 0; j < count; j++) {
            uint8_t factor[E];

            if (j != i) {
                subtract(factor, at, x[j]);
                multiply(term, term, factor);
                subtract(factor, x[i], x[j]);
                invert(factor, factor);
                multiply(term, term, factor);
            }
        }
        add(k, k, term);
    }
}

/* HMAC(K, "iotsec pair psk" || generation || len || ID || len || ID): names that stand in order here. */
static void psk_of(const struct node *first, const struct node *second, const uint8_t k[E], uint8_t psk[IOTSEC_PAIR_PSK_BYTES])
{
    static const uint8_t generation[4] = { 0, 0, 0, 1 };
    const struct iotsec_hal *hal = &first->hal;
    uint8_t lengths[2] = { (uint8_t)strlen(first->name), (uint8_t)strlen(second->name) };
    const struct iotsec_slice parts[] = {
        { (const uint8_t *)"iotsec pair psk", 15 },      { generation, sizeof generation },
        { &lengths[0], 1 },                              { (const uint8_t *)first->name, lengths[0] },
        { &lengths[1], 1 },                              { (const uint8_t *)second->name, lengths[1] },
    };
    struct iotsec_hmac hmac;

    assert_int_equal(iotsec_hmac_key(hal, &hmac, k, E), IOTSEC_OK);
    assert_int_equal(iotsec_hmac_compute(hal, &hmac, parts, sizeof parts / sizeof parts[0], psk), IOTSEC_OK);
    iotsec_hmac_done(hal, &hmac);
}

/* ---- The recording ---- */

struct recording {
    const uint8_t *client_random;
    const uint8_t *server_random;
    struct iotsec_slice messages[8]; /* of the transcript */
    size_t count;
    size_t first; /* index at the tap */
};

/* The handshake that begins at an index, without a cookie and without a loss. */
static void take_recording(const struct net *net, size_t first, struct recording *out)
{
    size_t i;

    memset(out, 0, sizeof *out);
    out->first = first;
    for (i = first; i < net->tap_count; i++) {
        uint8_t *next = net->tap[i].data;
        size_t left = net->tap[i].len;
        struct iotsec_record record;

        while (left != 0 && iotsec_record_parse(&record, &next, &left) == IOTSEC_OK) {
            if (record.type != IOTSEC_CONTENT_HANDSHAKE || record.epoch != 0) {
                continue;
            }
            assert_true(out->count < sizeof out->messages / sizeof out->messages[0]);
            out->messages[out->count].data = record.body;
            out->messages[out->count++].len = record.length;
            if (record.body[0] == IOTSEC_HS_CLIENT_HELLO) {
                out->client_random = record.body + IOTSEC_HANDSHAKE_HEADER_BYTES + 2;
            } else if (record.body[0] == IOTSEC_HS_SERVER_HELLO) {
                out->server_random = record.body + IOTSEC_HANDSHAKE_HEADER_BYTES + 2;
            }
        }
    }
    assert_int_equal(out->count, 4);
}

static void prf(const struct iotsec_hal *hal, const uint8_t *secret, size_t len, const char *label, const uint8_t *a,
                const uint8_t *b, uint8_t *out, size_t out_len)
{
    struct iotsec_slice seed[] = { { NULL, 0 },
                                   { (const uint8_t *)label, strlen(label) },
                                   { a, IOTSEC_RANDOM_BYTES },
                                   { b, b != NULL ? IOTSEC_RANDOM_BYTES : 0u } };
    struct iotsec_hmac hmac;

    assert_int_equal(iotsec_hmac_key(hal, &hmac, secret, len), IOTSEC_OK);
    assert_int_equal(iotsec_p_hash(hal, &hmac, seed, b != NULL ? 4 : 3, out, out_len), IOTSEC_OK);
    iotsec_hmac_done(hal, &hmac);
}

/* Protected records of the recording, and how many of them open with what follows from this PSK. */
static unsigned open_recording(const struct net *net, const struct recording *recording, const struct node *client,
                               const uint8_t psk[IOTSEC_PAIR_PSK_BYTES], unsigned *opened)
{
    const struct iotsec_hal *hal = &client->hal;
    uint8_t premaster[2 + 32 + 2 + 32] = { 0, 32 };
    uint8_t master[IOTSEC_MASTER_SECRET_BYTES];
    uint8_t hash[32];
    uint8_t block[40];
    unsigned records = 0;
    size_t i;

    premaster[35] = 32;
    memcpy(premaster + 36, psk, 32);
    assert_int_equal(iotsec_sha256(hal, recording->messages, recording->count, hash), IOTSEC_OK);
    prf(hal, premaster, sizeof premaster, "extended master secret", hash, NULL, master, sizeof master);
    prf(hal, master, sizeof master, "key expansion", recording->server_random, recording->client_random, block, sizeof block);
    *opened = 0;
    for (i = recording->first; i < net->tap_count; i++) {
        unsigned side = net->tap[i].sender != client;
        uint8_t copy[NET_DATAGRAM_MAX];
        uint8_t *next = copy;
        size_t left = net->tap[i].len;
        struct iotsec_record record;

        memcpy(copy, net->tap[i].data, left);
        while (left != 0 && iotsec_record_parse(&record, &next, &left) == IOTSEC_OK) {
            struct iotsec_record_key key;
            uint8_t *content;
            size_t len;

            memcpy(key.key, block + 16 * side, sizeof key.key);
            memcpy(key.salt, block + 32 + 4 * side, sizeof key.salt);
            if (record.epoch == 1) {
                records++;
                *opened += iotsec_record_open(hal, &key, IOTSEC_TAG_CCM_8_BYTES, &record, &content, &len) == IOTSEC_OK;
            }
        }
    }
    return records;
}

static void run_collusion(struct net *net)
{
    uint8_t degree = (uint8_t)(1 + random_below(&net->random, DEGREE_MAX));
    struct domain domain;
    struct recording recording;
    struct node *a;
    struct node *b;
    unsigned captured;
    size_t first;

    pairs_start(&domain, net, degree + 3u, 4, degree); /* names of one length, in order */
    b = domain.devices[degree + 1u];
    a = domain.devices[degree + 2u];
    net_run_ms(net, 10000);
    first = net->tap_count;
    assert_int_not_equal(node_tell(a, b, NULL), 0);
    net_run_ms(net, 1000);
    assert_int_not_equal(node_tell(b, a, NULL), 0);
    assert_int_not_equal(node_tell(a, b, NULL), 0);
    net_run_ms(net, 1000);
    assert_true(a->told_count == 1 && b->told_count == 2);
    take_recording(net, first, &recording);
    for (captured = 1; captured <= degree + 1u; captured++) {
        uint8_t psk[IOTSEC_PAIR_PSK_BYTES];
        uint8_t k[E];
        unsigned opened;

        interpolate(domain.devices, captured, a, b, k);
        psk_of(b, a, k, psk);
        assert_int_equal(open_recording(net, &recording, a, psk, &opened), 5); /* two Finished, three messages */
        if (opened != (captured <= degree ? 0u : 5u)) {
            fail_msg("degree %u: %u captured devices open %u of 5 records", degree, captured, opened);
        }
    }
}

static void test_collusion(void **state)
{
    (void)state;
    scenario_seeds(2, run_collusion);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        scenario(test_collusion),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
