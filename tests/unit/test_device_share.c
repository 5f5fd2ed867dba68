/* SPDX-License-Identifier: BSD-3-Clause */
/* The device: its share of the domain's polynomial, and who is revoked. docs/protocol.md, section 14, has the tables. */
#include "device_world.h"

#include <iotsec/polykey.h>

#include "handshake/engine.h"

#if IOTSEC_PAIRWISE

#define ELEMENT IOTSEC_POLY_ELEMENT_BYTES
#define MARK IOTSEC_REVOKED_BYTES
#define GENTLE IOTSEC_KM_SHARE_GENTLE
#define DEGREE 3u /* what the device has room for in most tests */

/* ---- What the manager sends ---- */

static void fill_element(uint8_t out[ELEMENT], uint32_t generation, unsigned j)
{
    memset(out, (int)(generation & 0xFF), ELEMENT);
    out[0] = 0x5A;
    out[1] = (uint8_t)j;
    out[2] = 0xA5;
}

static void fill_mark(uint8_t out[MARK], uint32_t generation, unsigned n)
{
    memset(out, (int)(generation & 0xFF), MARK);
    out[0] = 0xE1;
    out[1] = (uint8_t)n;
}

static uint8_t tail[16 * ELEMENT];
static uint8_t next_message;

static struct iotsec_km_message share_message(uint32_t generation, unsigned degree, unsigned first, unsigned count,
                                              unsigned revoked, unsigned flags)
{
    struct iotsec_km_message message;
    unsigned i;

    memset(&message, 0, sizeof message);
    assert_true(count * ELEMENT <= sizeof tail);
    for (i = 0; i < count; i++) {
        fill_element(tail + i * ELEMENT, generation, first + i);
    }
    message.kind = IOTSEC_KM_SHARE;
    message.message = ++next_message;
    message.key_number = generation;
    message.degree = (uint8_t)degree;
    message.first = (uint8_t)first;
    message.count = (uint8_t)count;
    message.revoked = (uint8_t)revoked;
    message.code = (uint8_t)flags;
    message.tail = tail;
    return message;
}

static struct iotsec_km_message revoked_message(uint32_t generation, unsigned first, unsigned count, unsigned revoked)
{
    struct iotsec_km_message message;
    unsigned i;

    memset(&message, 0, sizeof message);
    assert_true(count * MARK <= sizeof tail);
    for (i = 0; i < count; i++) {
        fill_mark(tail + i * MARK, generation, first + i);
    }
    message.kind = IOTSEC_KM_REVOKED;
    message.message = ++next_message;
    message.key_number = generation;
    message.first = (uint8_t)first;
    message.count = (uint8_t)count;
    message.revoked = (uint8_t)revoked;
    message.tail = tail;
    return message;
}

/* What its SHARE_STATUS would say. */
static struct iotsec_km_message status_of(const struct device *d)
{
    uint8_t data[13] = { IOTSEC_KM_SHARE_STATUS };
    struct iotsec_km_message status;

    iotsec_dev_share_status(&d->device, data + 2);
    assert_int_equal(iotsec_km_decode(&status, IOTSEC_CONTENT_SECURITY_PARAMETERS, data, sizeof data), IOTSEC_OK);
    return status;
}

/* The manager says it; how the device answers it, or -1. What else it says stays in w.heard. */
static int offer(struct iotsec_km_message message)
{
    int result = -1;
    size_t i;

    w.heard_count = 0;
    say(&message);
    (void)iotsec_dtls_flush(&w.dtls);
    run(0);
    for (i = 0; i < w.heard_count; i++) {
        if (w.heard[i].kind == IOTSEC_KM_ACK && w.heard[i].message == message.message) {
            assert_int_equal(result, -1);
            result = w.heard[i].code;
        }
    }
    return result;
}

static int offer_share(uint32_t generation, unsigned degree, unsigned first, unsigned count, unsigned flags)
{
    return offer(share_message(generation, degree, first, count, 0, flags));
}

/* All of it, in pieces of 4. */
static void give_share(uint32_t generation, unsigned degree, unsigned revoked, unsigned flags)
{
    unsigned first;

    for (first = 0; first <= degree; first += 4) {
        unsigned count = degree + 1 - first < 4 ? degree + 1 - first : 4;

        assert_int_equal(offer(share_message(generation, degree, first, count, revoked, flags)), IOTSEC_KM_DONE);
    }
}

/* ---- The device ---- */

/* Device a with pairwise keys, joined to the domain alone. */
static struct device *join_with(unsigned degree_max)
{
    struct device *a = &w.devices[0];

    a->config.pairs = a->pairs;
    a->config.pair_count = 1;
    a->config.shares = a->shares;
    a->config.share_degree_max = (uint8_t)degree_max;
    a->config.handshake_count = 2;
    memset(a->shares, 0xA5, sizeof a->shares);
    boot(a);
    assert_int_equal(iotsec_join(&a->device, &w.manager_addr, NULL, 0), IOTSEC_OK);
    run(100);
    assert_int_equal(a->events[IOTSEC_DEVICE_JOINED], 1);
    assert_int_equal(w.heard_count, 1);
    assert_int_equal(w.heard[0].kind, IOTSEC_KM_SHARE_STATUS);
    w.heard_count = 0;
    return a;
}

static uint32_t serving(const struct device *a)
{
    const struct iotsec_share *share = iotsec_dev_share(&a->device, 0);

    return share != NULL ? share->generation : 0;
}

/* The generation before, during an overlap. */
static uint32_t also_serving(const struct device *a)
{
    uint32_t generation = serving(a);

    return generation > 1 && iotsec_dev_share(&a->device, generation - 1) != NULL ? generation - 1 : 0;
}

/* Whether share and storage agree with what was sent. */
static void check_share(const struct device *a, uint32_t generation, unsigned degree)
{
    const struct iotsec_share *share = iotsec_dev_share(&a->device, generation);
    uint8_t element[ELEMENT];
    unsigned j;

    assert_non_null(share);
    assert_int_equal(share->generation, generation);
    assert_int_equal(share->degree, degree);
    assert_int_equal(share->held, degree + 1);
    for (j = 0; j <= degree; j++) {
        fill_element(element, generation, j);
        assert_memory_equal(share->elements + j * ELEMENT, element, ELEMENT);
    }
}

static bool find_bytes(const void *where, size_t len, const uint8_t *what, size_t what_len)
{
    const uint8_t *p = where;

    for (; len >= what_len; p++, len--) {
        if (memcmp(p, what, what_len) == 0) {
            return true;
        }
    }
    return false;
}

/* Elements of a generation, of the first so many, anywhere in what the device has. */
static unsigned count_left(const struct device *a, uint32_t generation, unsigned count)
{
    unsigned left = 0;
    unsigned j;

    for (j = 0; j < count; j++) {
        uint8_t element[ELEMENT];

        fill_element(element, generation, j);
        left += find_bytes(a->shares, sizeof a->shares, element, ELEMENT) ||
                find_bytes(&a->device, sizeof a->device, element, ELEMENT) ||
                find_bytes(a->sessions, sizeof a->sessions, element, ELEMENT) ||
                find_bytes(a->handshakes, sizeof a->handshakes, element, ELEMENT) ||
                find_bytes(a->tx, sizeof a->tx, element, ELEMENT);
    }
    return left;
}

static bool is_revoked(const struct device *a, uint32_t generation, unsigned n)
{
    uint8_t point[ELEMENT] = { 0 };

    fill_mark(point, generation, n);
    point[MARK] = 0x77; /* a mark is only the beginning of it */
    return iotsec_dev_is_revoked(&a->device, point);
}

/* Marks of a generation from n on that the device refuses, without a gap. */
static unsigned count_revoked(const struct device *a, uint32_t generation)
{
    unsigned n = 0;

    while (is_revoked(a, generation, n)) {
        n++;
    }
    return n;
}

static void check_status(const struct iotsec_km_message *status, uint32_t generation, uint32_t next, unsigned held, unsigned revoked)
{
    assert_non_null(status);
    assert_int_equal(status->key_number, generation);
    assert_int_equal(status->next_generation, next);
    assert_int_equal(status->held, held);
    assert_int_equal(status->revoked, revoked);
}

/* ---- SHARE ---- */

static void takes_pieces(void **state)
{
    static const struct {
        uint32_t generation;
        unsigned degree, first, count, flags;
        int bad;         /* an element that is none */
        int answer;
        uint32_t serves, also, coming;
        unsigned held;
        int reason;      /* of the event; 1: none */
        bool asks;       /* SHARE_STATUS at once */
    } rows[] = {
        /*  1 the first piece          */ { 5, 3, 0, 2, 0, 0, IOTSEC_KM_DONE, 0, 0, 5, 2, 1, false },
        /*  2 again                    */ { 5, 3, 0, 2, 0, 0, IOTSEC_KM_DONE, 0, 0, 5, 2, 1, false },
        /*  3 again, and no element    */ { 5, 3, 0, 2, 0, 1, IOTSEC_KM_DONE, 0, 0, 5, 2, 1, false },
        /*  4 a part of it             */ { 5, 3, 1, 1, 0, 0, IOTSEC_KM_DONE, 0, 0, 5, 2, 1, false },
        /*  5 the beginning of it      */ { 5, 3, 0, 1, 0, 0, IOTSEC_KM_DONE, 0, 0, 5, 2, 1, false },
        /*  6 a gap                    */ { 5, 3, 3, 1, 0, 0, -1, 0, 0, 5, 2, 1, true },
        /*  7 an older generation      */ { 4, 3, 0, 4, 0, 0, IOTSEC_KM_DONE, 0, 0, 5, 2, 1, false },
        /*  8 partly known             */ { 5, 3, 1, 2, 0, 0, IOTSEC_KM_DONE, 0, 0, 5, 3, 1, false },
        /*  9 not an element           */ { 5, 3, 3, 1, 0, 1, IOTSEC_KM_FAILED, 0, 0, 5, 3, IOTSEC_ERR_DECODE, false },
        /* 10 again                    */ { 5, 3, 3, 1, 0, 1, IOTSEC_KM_FAILED, 0, 0, 5, 3, 1, false },
        /* 11 ... and partly known     */ { 5, 3, 2, 2, 0, 1, IOTSEC_KM_FAILED, 0, 0, 5, 3, 1, false },
        /* 12 the rest                 */ { 5, 3, 3, 1, 0, 0, IOTSEC_KM_DONE, 5, 0, 0, 0, IOTSEC_OK, false },
        /* 13 a repeat of it           */ { 5, 3, 3, 1, 0, 0, IOTSEC_KM_DONE, 5, 0, 0, 0, 1, false },
        /* 14 all of it                */ { 5, 3, 0, 4, 0, 0, IOTSEC_KM_DONE, 5, 0, 0, 0, 1, false },
        /* 15 another degree, in use   */ { 5, 2, 0, 3, 0, 0, IOTSEC_KM_DONE, 5, 0, 0, 0, 1, false },
        /* 16 too high a degree, in use */ { 5, 4, 0, 3, 0, 0, IOTSEC_KM_DONE, 5, 0, 0, 0, 1, false },
        /* 17 no element, in use       */ { 5, 3, 0, 4, 0, 1, IOTSEC_KM_DONE, 5, 0, 0, 0, 1, false },
        /* 18 an older one             */ { 4, 3, 0, 4, 0, 0, IOTSEC_KM_DONE, 5, 0, 0, 0, 1, false },
        /* 19 the next, in the middle  */ { 6, 3, 2, 1, 0, 0, -1, 5, 0, 6, 0, 1, true },
        /* 20 from its beginning       */ { 6, 3, 0, 2, 0, 0, IOTSEC_KM_DONE, 5, 0, 6, 2, 1, false },
        /* 21 one after that           */ { 8, 3, 0, 1, 0, 0, IOTSEC_KM_DONE, 5, 0, 8, 1, 1, false },
        /* 22 the one between          */ { 6, 3, 2, 2, 0, 0, IOTSEC_KM_DONE, 5, 0, 8, 1, 1, false },
        /* 23 all of it                */ { 8, 3, 0, 4, 0, 0, IOTSEC_KM_DONE, 8, 0, 0, 0, IOTSEC_OK, false },
        /* 24 gentle                   */ { 9, 3, 0, 4, GENTLE, 0, IOTSEC_KM_DONE, 9, 8, 0, 0, IOTSEC_OK, false },
        /* 25 the one before, again    */ { 8, 3, 0, 4, 0, 0, IOTSEC_KM_DONE, 9, 8, 0, 0, 1, false },
        /* 26 the next ends an overlap */ { 10, 3, 0, 1, GENTLE, 0, IOTSEC_KM_DONE, 9, 0, 10, 1, 1, false },
        /* 27 the last word counts     */ { 10, 3, 1, 3, 0, 0, IOTSEC_KM_DONE, 10, 0, 0, 0, IOTSEC_OK, false },
        /* 28 ... both ways            */ { 11, 3, 0, 1, 0, 0, IOTSEC_KM_DONE, 10, 0, 11, 1, 1, false },
        /* 29                          */ { 11, 3, 1, 3, GENTLE, 0, IOTSEC_KM_DONE, 11, 10, 0, 0, IOTSEC_OK, false },
        /* 30 not the one right before */ { 13, 3, 0, 4, GENTLE, 0, IOTSEC_KM_DONE, 13, 0, 0, 0, IOTSEC_OK, false },
        /* 31 other flags mean nothing */ { 14, 3, 0, 4, 0xFE, 0, IOTSEC_KM_DONE, 14, 0, 0, 0, IOTSEC_OK, false },
        /* 32 ... nor undo this one    */ { 15, 3, 0, 4, 0xFF, 0, IOTSEC_KM_DONE, 15, 14, 0, 0, IOTSEC_OK, false },
        /* 33 another degree           */ { 16, 2, 0, 3, 0, 0, IOTSEC_KM_DONE, 16, 0, 0, 0, IOTSEC_OK, false },
        /* 34 no element, then gentle  */ { 17, 3, 0, 4, GENTLE, 1, IOTSEC_KM_FAILED, 16, 0, 17, 0, IOTSEC_ERR_DECODE, false },
        /* 35 a piece that is one      */ { 17, 3, 0, 2, GENTLE, 0, IOTSEC_KM_DONE, 16, 0, 17, 2, 1, false },
        /* 36 none again: it was told  */ { 17, 3, 2, 2, GENTLE, 1, IOTSEC_KM_FAILED, 16, 0, 17, 2, 1, false },
        /* 37                          */ { 17, 3, 2, 2, GENTLE, 0, IOTSEC_KM_DONE, 17, 16, 0, 0, IOTSEC_OK, false },
        /* 38 too high a degree        */ { 18, 4, 0, 1, GENTLE, 0, IOTSEC_KM_NO_ROOM, 0, 0, 18, 0, IOTSEC_ERR_DEGREE, false },
        /* 39 again                    */ { 18, 4, 0, 1, GENTLE, 0, IOTSEC_KM_NO_ROOM, 0, 0, 18, 0, 1, false },
        /* 40 for all of it            */ { 18, 3, 0, 4, 0, 0, IOTSEC_KM_NO_ROOM, 0, 0, 18, 0, 1, false },
        /* 41 older ones are older     */ { 17, 3, 0, 4, 0, 0, IOTSEC_KM_DONE, 0, 0, 18, 0, 1, false },
        /* 42 the next                 */ { 19, 3, 0, 4, GENTLE, 0, IOTSEC_KM_DONE, 19, 0, 0, 0, IOTSEC_OK, false },
        /* 43 another degree midway    */ { 20, 3, 0, 2, GENTLE, 0, IOTSEC_KM_DONE, 19, 0, 20, 2, 1, false },
        /* 44                          */ { 20, 2, 2, 1, GENTLE, 0, IOTSEC_KM_NO_ROOM, 0, 0, 20, 0, IOTSEC_ERR_DEGREE, false },
        /* 45                          */ { 20, 3, 2, 2, GENTLE, 0, IOTSEC_KM_NO_ROOM, 0, 0, 20, 0, 1, false },
        /* 46 refused, then refused    */ { 21, 9, 5, 1, 0, 0, IOTSEC_KM_NO_ROOM, 0, 0, 21, 0, IOTSEC_ERR_DEGREE, false },
        /* 47 the last number          */ { 0xFFFFFFFFu, 3, 0, 4, 0, 0, IOTSEC_KM_DONE, 0xFFFFFFFFu, 0, 0, 0, IOTSEC_OK, false },
        /* 48 after it                 */ { 1, 3, 0, 4, 0, 0, IOTSEC_KM_DONE, 0xFFFFFFFFu, 0, 0, 0, 1, false },
    };
    struct device *a = join_with(DEGREE);
    size_t i;
    size_t j;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct iotsec_km_message message = share_message(rows[i].generation, rows[i].degree, rows[i].first, rows[i].count, 0,
                                                         rows[i].flags);
        struct iotsec_km_message status;
        const struct iotsec_km_message *asked;
        int answer;

        if (rows[i].bad) { /* p itself, as the last one */
            memset(tail + (rows[i].count - 1) * ELEMENT, 0xFF, ELEMENT);
            tail[(rows[i].count - 1) * ELEMENT] = 0x7F;
        }
        memset(a->events, 0, sizeof a->events);
        w.share_answer = IOTSEC_KM_FAILED; /* nothing is asked for again within this test */
        answer = offer(message);
        status = status_of(a);
        if (answer != rows[i].answer || serving(a) != rows[i].serves || also_serving(a) != rows[i].also ||
            status.next_generation != rows[i].coming || status.held != rows[i].held || status.key_number != rows[i].serves) {
            fail_msg("row %u: answer %d, serves %u and %u, coming %u held %u", (unsigned)i + 1, answer, (unsigned)serving(a),
                     (unsigned)also_serving(a), (unsigned)status.next_generation, status.held);
        }
        if (a->events[IOTSEC_DEVICE_SHARE] != (rows[i].reason <= 0) ||
            (rows[i].reason <= 0 && (int)a->event.reason != rows[i].reason)) {
            fail_msg("row %u: %u events, the last with %d", (unsigned)i + 1, a->events[IOTSEC_DEVICE_SHARE], a->event.reason);
        }
        if (rows[i].reason <= 0) {
            assert_int_equal(a->event.key_number, rows[i].generation);
            assert_int_equal(a->event.group_id, 0);
            assert_null(a->event.peer);
        }
        asked = heard(IOTSEC_KM_SHARE_STATUS);
        assert_int_equal(asked != NULL, rows[i].asks);
        if (asked != NULL) {
            check_status(asked, rows[i].serves, rows[i].coming, rows[i].held, 0);
        }
        if (rows[i].serves != 0) {
            check_share(a, rows[i].serves, rows[i].serves == 16 ? 2 : 3);
        }
        if (rows[i].also != 0) {
            check_share(a, rows[i].also, rows[i].also == 16 ? 2 : 3);
        }
        for (j = 0; j < sizeof rows / sizeof rows[0]; j++) { /* nothing stays of what has ended or was never taken */
            uint32_t other = rows[j].generation;

            if (other != rows[i].serves && other != rows[i].also && count_left(a, other, 4) > (other == rows[i].coming ? rows[i].held : 0)) {
                fail_msg("row %u: generation %u", (unsigned)i + 1, (unsigned)other);
            }
        }
    }
    assert_int_equal(dropped(a, IOTSEC_DROP_UNEXPECTED), 2);
}

/* Which shares fit. */
static void fits_degrees(void **state)
{
    static const struct {
        unsigned max, degree;
        int answer;
    } rows[] = {
        /* 1 */ { 1, 1, IOTSEC_KM_DONE },
        /* 2 */ { 1, 2, IOTSEC_KM_NO_ROOM },
        /* 3 */ { 31, 31, IOTSEC_KM_DONE },
        /* 4 */ { 31, 32, IOTSEC_KM_NO_ROOM },
        /* 5 */ { 31, 1, IOTSEC_KM_DONE },
        /* 6 */ { 255, 255, IOTSEC_KM_DONE },
        /* 7 */ { 254, 255, IOTSEC_KM_NO_ROOM },
        /* 8 */ { 255, 1, IOTSEC_KM_DONE },
    };
    size_t i;

    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t size = 2 * ELEMENT * (rows[i].max + 1);
        struct device *a;
        size_t at;

        setup(state);
        a = join_with(rows[i].max);
        if (rows[i].answer == IOTSEC_KM_DONE) {
            give_share(5, rows[i].degree, 0, 0);
            check_share(a, 5, rows[i].degree);
            give_share(6, rows[i].degree, 0, GENTLE);
            check_share(a, 6, rows[i].degree);
            check_share(a, 5, rows[i].degree);
            give_share(7, rows[i].degree, 0, 0);
            check_share(a, 7, rows[i].degree);
            assert_int_equal(count_left(a, 5, 256), 0);
            assert_int_equal(count_left(a, 6, 256), 0);
            assert_int_equal(a->events[IOTSEC_DEVICE_SHARE], 3);
            assert_int_equal(count_left(a, 7, 256), rows[i].degree + 1);
        } else {
            assert_int_equal(offer_share(5, rows[i].degree, 0, 1, 0), rows[i].answer);
            assert_int_equal(a->event.reason, IOTSEC_ERR_DEGREE);
            assert_int_equal(a->event.key_number, 5);
            assert_int_equal(serving(a), 0);
        }
        for (at = size; at < sizeof a->shares; at++) { /* what is not its storage is left alone */
            assert_int_equal(a->shares[at], 0xA5);
        }
    }
}

/* Messages that contradict themselves do not get as far as the share. */
static void drops_malformed_pieces(void **state)
{
    static const struct {
        uint8_t type;
        const char *hex;
    } rows[] = {
        /* 1 half an element        */ { 28, "1001000000050300" "0000" "5a000000" },
        /* 2 none                   */ { 28, "1001000000050300" "0000" },
        /* 3 beyond the degree      */ { 28, "1001000000050303" "0000" "00000000000000000000000000000001" "00000000000000000000000000000001" },
        /* 4 in the other type      */ { 29, "1001000000050300" "0000" "00000000000000000000000000000001" },
        /* 5 half a mark            */ { 29, "1101000000050001" "5a000000" },
        /* 6 more marks than it says */ { 29, "1101000000050001" "0102030405060708" "0102030405060708" },
        /* 7 more than there may be */ { 29, "1101000000050021" "0102030405060708" },
        /* 8 generation 0           */ { 28, "1001000000000300" "0000" "00000000000000000000000000000001" },
        /* 9 a device's             */ { 29, "0f01000000050000000000" "0000" },
    };
    struct device *a = join_with(DEGREE);
    size_t i;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t data[64];
        size_t len = test_unhex(data, sizeof data, rows[i].hex);

        iotsec_dev_take_message(&a->device, rows[i].type, data, len);
        assert_int_equal(iotsec_dev_newest_share(&a->device)->generation, 0);
        assert_int_equal(dropped(a, IOTSEC_DROP_MALFORMED) + dropped(a, IOTSEC_DROP_NOT_ALLOWED), i + 1);
    }
    assert_int_equal(dropped(a, IOTSEC_DROP_NOT_ALLOWED), 1);
    run(0);
    assert_int_equal(w.heard_count, 0);
}

/* ---- Overlap ---- */

static void ends_overlaps(void **state)
{
    static const struct {
        uint32_t configured;
        uint32_t ms;
    } rows[] = {
        /* 1 */ { 0, IOTSEC_SHARE_OVERLAP_MS },
        /* 2 */ { 50000, 50000 },
        /* 3 */ { 1, 1 },
    };
    size_t i;

    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct device *a;

        setup(state);
        w.devices[0].config.share_overlap_ms = rows[i].configured;
        a = join_with(DEGREE);
        give_share(5, DEGREE, 0, 0);
        give_share(6, DEGREE, 0, GENTLE);
        assert_true(iotsec_poll(&a->device) <= rows[i].ms);
        run(rows[i].ms - 1);
        assert_int_equal(also_serving(a), 5);
        check_share(a, 5, DEGREE);
        run(1);
        assert_int_equal(serving(a), 6);
        assert_int_equal(also_serving(a), 0);
        assert_null(iotsec_dev_share(&a->device, 5));
        assert_int_equal(count_left(a, 5, 4), 0);
        check_share(a, 6, DEGREE);
        assert_int_equal(a->events[IOTSEC_DEVICE_SHARE], 2); /* what serves newest has not changed */
        w.devices[0].config.share_overlap_ms = 0;
    }
}

/* ---- REVOKED ---- */

static void takes_marks(void **state)
{
    enum { SHARE, MARKS };
    static const struct {
        int kind;
        uint32_t generation;
        unsigned first, count, revoked, flags;
        int answer;
        uint32_t serves, also;
        unsigned of_5, of_6, of_7, of_9; /* marks in force */
        unsigned newer;                  /* as SHARE_STATUS says */
        bool told;
    } rows[] = {
        /*  1 before the share           */ { MARKS, 5, 0, 2, 3, 0, IOTSEC_KM_DONE, 0, 0, 2, 0, 0, 0, 2, false },
        /*  2 a repeat                   */ { MARKS, 5, 0, 2, 3, 0, IOTSEC_KM_DONE, 0, 0, 2, 0, 0, 0, 2, false },
        /*  3 the beginning of it        */ { MARKS, 5, 0, 1, 1, 0, IOTSEC_KM_DONE, 0, 0, 2, 0, 0, 0, 2, false },
        /*  4 a gap                      */ { MARKS, 5, 3, 1, 4, 0, -1, 0, 0, 2, 0, 0, 0, 2, false },
        /*  5 whole, but not complete    */ { SHARE, 5, 0, 4, 0, 0, IOTSEC_KM_DONE, 0, 0, 2, 0, 0, 0, 2, false },
        /*  6 partly known               */ { MARKS, 5, 1, 2, 4, 0, IOTSEC_KM_DONE, 0, 0, 3, 0, 0, 0, 3, false },
        /*  7 the last one               */ { MARKS, 5, 3, 1, 4, 0, IOTSEC_KM_DONE, 5, 0, 4, 0, 0, 0, 4, true },
        /*  8 another, in use            */ { MARKS, 5, 4, 1, 5, 0, IOTSEC_KM_DONE, 5, 0, 5, 0, 0, 0, 5, false },
        /*  9 a repeat                   */ { MARKS, 5, 4, 1, 5, 0, IOTSEC_KM_DONE, 5, 0, 5, 0, 0, 0, 5, false },
        /* 10 a gap, in use              */ { MARKS, 5, 6, 1, 7, 0, -1, 5, 0, 5, 0, 0, 0, 5, false },
        /* 11 of an older generation     */ { MARKS, 4, 0, 1, 1, 0, IOTSEC_KM_DONE, 5, 0, 5, 0, 0, 0, 5, false },
        /* 12 of the next                */ { SHARE, 6, 0, 3, 0, GENTLE, IOTSEC_KM_DONE, 5, 0, 5, 0, 0, 0, 0, false },
        /* 13                            */ { MARKS, 6, 0, 1, 1, 0, IOTSEC_KM_DONE, 5, 0, 5, 1, 0, 0, 1, false },
        /* 14 late for the one in use    */ { MARKS, 5, 5, 1, 6, 0, IOTSEC_KM_DONE, 5, 0, 5, 1, 0, 0, 1, false },
        /* 15 in use, both lists count   */ { SHARE, 6, 3, 1, 1, GENTLE, IOTSEC_KM_DONE, 6, 5, 5, 1, 0, 0, 1, true },
        /* 16 another, in the overlap    */ { MARKS, 6, 1, 1, 2, 0, IOTSEC_KM_DONE, 6, 5, 5, 2, 0, 0, 2, false },
        /* 17 of the one before          */ { MARKS, 5, 5, 1, 6, 0, IOTSEC_KM_DONE, 6, 5, 5, 2, 0, 0, 2, false },
        /* 18 the next: the overlap ends */ { MARKS, 7, 0, 3, 3, 0, IOTSEC_KM_DONE, 6, 0, 0, 2, 3, 0, 3, false },
        /* 19 the one after that: what 7 */ { SHARE, 9, 0, 1, 2, 0, IOTSEC_KM_DONE, 6, 0, 0, 2, 3, 0, 0, false },
        /*    has revoked holds 6's too */
        /* 20                            */ { SHARE, 9, 1, 3, 2, 0, IOTSEC_KM_DONE, 6, 0, 0, 2, 3, 0, 0, false },
        /* 21                            */ { MARKS, 9, 0, 1, 2, 0, IOTSEC_KM_DONE, 6, 0, 0, 2, 3, 1, 1, false },
        /* 22 it is complete: 6 ends     */ { MARKS, 9, 1, 1, 2, 0, IOTSEC_KM_DONE, 9, 0, 0, 0, 0, 2, 2, true },
        /* 23 no room for its share      */ { SHARE, 10, 9, 1, 2, GENTLE, IOTSEC_KM_NO_ROOM, 0, 0, 0, 0, 0, 0, 0, true },
    };
    struct device *a = join_with(DEGREE);
    size_t i;

    (void)state;
    w.share_answer = IOTSEC_KM_FAILED;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct iotsec_km_message status;
        int answer;

        memset(a->events, 0, sizeof a->events);
        answer = offer(rows[i].kind == SHARE
                           ? share_message(rows[i].generation, rows[i].first == 9 ? 9 : DEGREE, rows[i].first, rows[i].count,
                                           rows[i].revoked, rows[i].flags)
                           : revoked_message(rows[i].generation, rows[i].first, rows[i].count, rows[i].revoked));
        status = status_of(a);
        if (answer != rows[i].answer || serving(a) != rows[i].serves || also_serving(a) != rows[i].also ||
            count_revoked(a, 5) != rows[i].of_5 || count_revoked(a, 6) != rows[i].of_6 || count_revoked(a, 7) != rows[i].of_7 ||
            count_revoked(a, 9) != rows[i].of_9 || status.revoked != rows[i].newer) {
            fail_msg("row %u: answer %d, serves %u and %u, marks %u %u %u %u, newer %u", (unsigned)i + 1, answer,
                     (unsigned)serving(a), (unsigned)also_serving(a), count_revoked(a, 5), count_revoked(a, 6),
                     count_revoked(a, 7), count_revoked(a, 9), status.revoked);
        }
        assert_int_equal(a->events[IOTSEC_DEVICE_SHARE], rows[i].told);
        assert_int_equal(heard(IOTSEC_KM_SHARE_STATUS) != NULL, rows[i].answer == -1);
        assert_int_equal(count_revoked(a, 4) + count_revoked(a, 10), 0);
    }
    assert_false(is_revoked(a, 9, 5));
}

/* Marks go with their generation when its overlap is over. */
static void forgets_marks_with_their_generation(void **state)
{
    struct device *a = join_with(DEGREE);

    (void)state;
    give_share(5, DEGREE, 2, 0);
    assert_int_equal(serving(a), 0);
    assert_int_equal(offer(revoked_message(5, 0, 2, 2)), IOTSEC_KM_DONE);
    assert_int_equal(serving(a), 5);
    give_share(6, DEGREE, 1, GENTLE);
    assert_int_equal(serving(a), 5);
    assert_int_equal(offer(revoked_message(6, 0, 1, 1)), IOTSEC_KM_DONE);
    assert_int_equal(serving(a), 6);
    assert_int_equal(also_serving(a), 5);
    run(IOTSEC_SHARE_OVERLAP_MS - 1);
    assert_int_equal(count_revoked(a, 5), 2);
    assert_int_equal(count_revoked(a, 6), 1);
    run(1);
    assert_int_equal(count_revoked(a, 5), 0);
    assert_int_equal(count_revoked(a, 6), 1);
    assert_int_equal(serving(a), 6);
    assert_int_equal(a->device.revoked_before, 0);
    assert_int_equal(a->device.revoked_count, 1);
}

static void give_marks(uint32_t generation, unsigned from, unsigned to)
{
    for (; from < to; from += 7) {
        unsigned count = to - from < 7 ? to - from : 7;

        assert_int_equal(offer(revoked_message(generation, from, count, to)), IOTSEC_KM_DONE);
    }
}

/* The table is full: a generation goes, no mark does. */
static void makes_room_for_marks(void **state)
{
    static const struct {
        unsigned of_5;   /* marks */
        unsigned flags;  /* of 6 */
        bool whole;      /* 6 is, but for its marks */
        unsigned fit;    /* marks of 6 that there is room for besides */
    } rows[] = {
        /* 1 an overlap           */ { 10, GENTLE, true, 22 },
        /* 2                      */ { 31, GENTLE, true, 1 },
        /* 3 6 is still coming    */ { 10, 0, false, 22 },
        /* 4                      */ { 32, 0, false, 0 },
        /* 5                      */ { 1, 0, false, 31 },
    };
    size_t i;

    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct device *a;
        unsigned n;

        setup(state);
        a = join_with(DEGREE);
        give_share(5, DEGREE, 0, 0);
        give_marks(5, 0, rows[i].of_5);
        assert_int_equal(count_revoked(a, 5), rows[i].of_5);
        if (rows[i].whole) {
            give_share(6, DEGREE, 0, rows[i].flags);
        } else {
            assert_int_equal(offer_share(6, DEGREE, 0, 1, 0), IOTSEC_KM_DONE);
        }
        for (n = 0; n < rows[i].fit; n++) {
            assert_int_equal(offer(revoked_message(6, n, 1, n + 1)), IOTSEC_KM_DONE);
            assert_non_null(iotsec_dev_share(&a->device, 5));
            assert_int_equal(count_revoked(a, 5), rows[i].of_5);
            assert_int_equal(count_revoked(a, 6), n + 1);
        }
        for (; n < 32; n++) {
            assert_int_equal(offer(revoked_message(6, n, 1, n + 1)), IOTSEC_KM_DONE);
            assert_null(iotsec_dev_share(&a->device, 5));
            assert_int_equal(count_left(a, 5, 4), 0);
            assert_int_equal(count_revoked(a, 5), 0);
            assert_int_equal(count_revoked(a, 6), n + 1);
            assert_int_equal(serving(a), rows[i].whole ? 6 : 0);
        }
        if (!rows[i].whole) { /* and its share completes it as ever */
            assert_int_equal(offer(share_message(6, DEGREE, 1, 3, 32, GENTLE)), IOTSEC_KM_DONE);
            assert_int_equal(serving(a), 6);
            assert_int_equal(also_serving(a), 0);
        }
        check_share(a, 6, DEGREE);
        assert_int_equal(count_revoked(a, 6), 32);
        /* the next one has room for its own list again */
        give_share(7, DEGREE, 1, 0);
        assert_int_equal(offer(revoked_message(7, 0, 1, 1)), IOTSEC_KM_DONE);
        assert_int_equal(count_revoked(a, 6), 0);
        assert_int_equal(count_revoked(a, 7), 1);
        assert_int_equal(serving(a), 7);
    }
}

/* ---- Marks that are carried over ---- */

#define NAMES 77u /* fill_mark's "generation" of those who are in several lists */

static int offer_names(uint32_t generation, unsigned first, unsigned count, unsigned revoked, const uint8_t *names)
{
    struct iotsec_km_message message = revoked_message(generation, first, count, revoked);
    unsigned i;

    for (i = 0; i < count; i++) {
        fill_mark(tail + i * MARK, NAMES, names[i]);
    }
    return offer(message);
}

/* Names from `from` on, as marks from place `first` on, one message each. */
static void give_names(uint32_t generation, unsigned first, unsigned count, unsigned revoked, unsigned from)
{
    unsigned i;

    for (i = 0; i < count; i++) {
        uint8_t name = (uint8_t)(from + i);

        assert_int_equal(offer_names(generation, first + i, 1, revoked, &name), IOTSEC_KM_DONE);
    }
}

static unsigned count_names(const struct device *a)
{
    unsigned count = 0;
    unsigned i;

    for (i = 0; i < 256; i++) {
        count += is_revoked(a, NAMES, i);
    }
    return count;
}

/* The old list has the names 0 .. old - 1, of which the device knows some; the new one those from `from` on, and then others. */
static void carries_marks_over(void **state)
{
    static const struct {
        const char *name;
        unsigned old, known, from, others;
        unsigned ends_at; /* the mark of the new list with which the old share ends for want of room; 99: none */
    } rows[] = {
        { "all of them", 3, 3, 0, 0, 99 },
        { "one, and another", 1, 1, 0, 1, 99 },
        { "the old list had carried ones itself", 6, 6, 2, 2, 99 },
        { "it had missed one", 3, 2, 0, 0, 99 },
        { "it had missed all", 5, 0, 0, 3, 99 },
        { "20 and 20", 20, 20, 0, 0, 99 },
        { "20 and 20, and others", 20, 20, 0, 12, 99 },
        { "32 and 32", 32, 32, 0, 0, 99 },
        { "32 and 32, of which it had missed some", 32, 9, 0, 0, 99 },
        { "as many as there is room for", 32, 32, 10, 0, 99 },
        { "one more", 32, 32, 10, 1, 22 },
        { "and many more", 32, 32, 30, 30, 2 },
    };
    size_t i;

    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        unsigned carried = rows[i].old - rows[i].from;
        unsigned list = carried + rows[i].others;
        struct iotsec_km_message status;
        struct device *a;
        unsigned n;

        setup(state);
        a = join_with(DEGREE);
        w.share_answer = IOTSEC_KM_FAILED;
        give_share(5, DEGREE, 0, 0);
        give_names(5, 0, rows[i].known, rows[i].known, 0);
        give_share(6, DEGREE, carried, GENTLE);
        if (serving(a) != 5) {
            fail_msg("%s: without the marks of the old list", rows[i].name);
        }
        for (n = 0; n < list; n++) {
            unsigned known = rows[i].known;
            unsigned count;

            if (n < rows[i].ends_at && (serving(a) != (n < carried ? 5 : 6) || also_serving(a) != (n < carried ? 0 : 5))) {
                fail_msg("%s: serves %u and %u with %u", rows[i].name, (unsigned)serving(a), (unsigned)also_serving(a), n);
            }
            give_names(6, n, 1, n < carried ? carried : n + 1, rows[i].from + n); /* the others are evicted now */
            status = status_of(a);
            /* names that one list has, or both */
            count = n < rows[i].ends_at ? (rows[i].from + n + 1 > known ? rows[i].from + n + 1 : known) : n + 1;
            count -= n < rows[i].ends_at && known < rows[i].from ? rows[i].from - known : 0;
            if (status.revoked != n + 1 || count_names(a) != count || a->device.revoked_count != count) {
                fail_msg("%s: %u marks, as it says, after %u; %u names, %u places", rows[i].name, status.revoked, n + 1, count_names(a),
                         a->device.revoked_count);
            }
        }
        if (serving(a) != 6 || also_serving(a) != (rows[i].ends_at == 99 ? 5 : 0)) {
            fail_msg("%s: serves %u and %u in the end", rows[i].name, (unsigned)serving(a), (unsigned)also_serving(a));
        }
        run(IOTSEC_SHARE_OVERLAP_MS);
        assert_int_equal(also_serving(a), 0);
        for (n = 0; n < rows[i].old + rows[i].others; n++) {
            if (is_revoked(a, NAMES, n) != (n >= rows[i].from)) {
                fail_msg("%s: name %u after the overlap", rows[i].name, n);
            }
        }
        assert_int_equal(a->device.revoked_count, list);
    }
}

/* Order and places are those of the newer list, whichever the older one had; one that it has twice stands there twice. */
static void keeps_the_places_of_marks(void **state)
{
    static const uint8_t old[] = { 1, 2, 3, 4, 5, 6 };
    static const uint8_t list[] = { 6, 9, 3, 1, 3, 8, 2, 2 };
    struct device *a = join_with(DEGREE);
    uint8_t mark[MARK];
    unsigned i;

    (void)state;
    w.share_answer = IOTSEC_KM_FAILED;
    give_share(5, DEGREE, 0, 0);
    assert_int_equal(offer_names(5, 0, 6, 6, old), IOTSEC_KM_DONE);
    give_share(6, DEGREE, 8, GENTLE);
    assert_int_equal(offer_names(6, 0, 3, 8, list), IOTSEC_KM_DONE);
    assert_int_equal(offer_names(6, 1, 4, 8, list + 1), IOTSEC_KM_DONE); /* two of them are known */
    assert_int_equal(offer_names(6, 0, 5, 8, list), IOTSEC_KM_DONE);     /* a repeat */
    assert_int_equal(offer_names(6, 6, 2, 8, list + 6), -1);             /* a gap */
    assert_int_equal(serving(a), 5);
    assert_int_equal(offer_names(6, 5, 3, 8, list + 5), IOTSEC_KM_DONE);
    assert_int_equal(serving(a), 6);
    assert_int_equal(also_serving(a), 5);
    assert_int_equal(a->device.revoked_before, 2); /* 4 and 5 */
    assert_int_equal(a->device.revoked_count, 2 + 8);
    for (i = 0; i < 8; i++) {
        fill_mark(mark, NAMES, list[i]);
        assert_memory_equal(a->device.revoked[2 + i], mark, MARK);
    }
    assert_int_equal(count_names(a), 8);
}

/* The manager, as section 14 says, and devices that it evicts and admits again. */
struct model {
    uint32_t generation;
    unsigned flags;
    uint8_t list[IOTSEC_REVOKED_MAX];
    unsigned count;
    unsigned carried;
    struct {
        bool member;
        bool holds[2]; /* a share of the present generation, and of the one before */
    } others[48];
};

static uint32_t random_state;

static unsigned draw(unsigned below)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % below;
}

static void model_renew(struct model *m, bool overlap)
{
    unsigned i;

    m->generation++;
    m->flags = overlap ? GENTLE : 0;
    m->count = overlap ? m->count - m->carried : 0;
    memmove(m->list, m->list + m->carried, m->count);
    m->carried = m->count;
    for (i = 0; i < 48; i++) {
        m->others[i].holds[1] = m->others[i].holds[0];
        m->others[i].holds[0] = m->others[i].member;
    }
}

static void model_evict(struct model *m, unsigned who)
{
    unsigned i;

    m->others[who].member = false;
    for (i = 0; i < m->count; i++) {
        if (m->list[i] == who) {
            return;
        }
    }
    if (m->count == IOTSEC_REVOKED_MAX) {
        model_renew(m, false);
    } else {
        m->list[m->count++] = (uint8_t)who;
    }
}

static void check_model(const struct model *m, const struct device *a, unsigned seed, unsigned step)
{
    const struct iotsec_device *dev = &a->device;
    unsigned known = (unsigned)dev->revoked_count - dev->revoked_before;
    bool overlap = m->generation > 1 && iotsec_dev_share(dev, m->generation - 1) != NULL;
    unsigned who;
    unsigned i;

    assert_true(dev->revoked_count <= IOTSEC_REVOKED_MAX && dev->revoked_before <= dev->revoked_count);
    if (serving(a) != m->generation) {
        return;
    }
    if (known < m->carried) {
        fail_msg("seed %u, step %u: in use without %u of the marks that were carried over", seed, step, m->carried - known);
    }
    for (who = 0; who < 48; who++) {
        bool holds = m->others[who].holds[0] || (overlap && m->others[who].holds[1]);

        for (i = known; i < m->count && m->list[i] != who; i++) {
        }
        /* who was evicted since, and of whom the device has not heard yet, is another matter */
        if (!m->others[who].member && holds && i == m->count && !is_revoked(a, NAMES, who)) {
            fail_msg("seed %u, step %u: %u is evicted and would be believed in generation %u%s", seed, step, who,
                     (unsigned)m->generation, overlap ? " or the one before" : "");
        }
    }
}

/* Any order of evictions, admissions and renewals, of which the device hears late and in pieces. */
static void believes_no_evicted_device(void **state)
{
    unsigned full = 0;
    unsigned overlaps = 0;
    unsigned seed;

    for (seed = 1; seed <= 20; seed++) {
        struct model m;
        struct device *a;
        unsigned step;
        unsigned i;

        setup(state);
        random_state = seed;
        a = join_with(DEGREE);
        w.share_answer = IOTSEC_KM_FAILED;
        memset(&m, 0, sizeof m);
        for (i = 0; i < 48; i++) {
            m.others[i].member = true;
        }
        model_renew(&m, false);
        for (step = 0; step < 1000; step++) {
            unsigned choice = draw(100);
            struct iotsec_km_message status;
            unsigned held;

            status = status_of(a);
            held = status.next_generation == m.generation ? status.held : status.key_number == m.generation ? DEGREE + 1 : 0;
            if (choice < 25 + seed % 3 * 5) {
                model_evict(&m, draw(48));
            } else if (choice < 42) {
                i = draw(48);
                m.others[i].member = true;
                m.others[i].holds[0] = true;
            } else if (choice < 43 + seed % 4) {
                model_renew(&m, draw(4) != 0);
            } else if (choice < 48) {
                run(IOTSEC_SHARE_OVERLAP_MS / 2);
            } else if (held <= DEGREE) {
                unsigned count = 1 + draw(DEGREE + 1 - held);

                assert_int_equal(offer(share_message(m.generation, DEGREE, held, count, m.count, m.flags)), IOTSEC_KM_DONE);
            } else if (status.revoked < m.count) {
                unsigned first = draw(status.revoked + 1u); /* some it may know already */
                unsigned count = 1 + draw(m.count - first < 7 ? m.count - first : 7);

                full += a->device.revoked_count == IOTSEC_REVOKED_MAX;
                assert_int_equal(offer_names(m.generation, first, count, m.count, m.list + first), IOTSEC_KM_DONE);
            } else {
                assert_int_equal(serving(a), m.generation); /* it has everything, as any other has who is up to date */
                assert_int_equal(status.next_generation, 0);
            }
            overlaps += m.generation > 1 && serving(a) == m.generation && also_serving(a) != 0;
            check_model(&m, a, seed, step);
        }
    }
    assert_true(full >= 20);
    assert_true(overlaps >= 1000);
}

/* A session with nobody. */
static iotsec_dtls_handle make_session(struct device *a)
{
    struct iotsec_dtls_path path;
    struct iotsec_dtls_slot *slot;

    memset(&path, 0, sizeof path);
    path.addr.ip[0] = 0x20;
    slot = iotsec_slot_new(&a->device.dtls, POOL_SESSIONS, &path);
    assert_non_null(slot);
    slot->state = HS_DONE;
    return slot->handle;
}

/* Sessions are looked through when a generation has ended or a mark has come, and before the application is told. */
static void reviews_sessions(void **state)
{
    static const struct {
        uint32_t session;          /* generation of the session that stands; of "door" */
        int step;                  /* what comes */
        int reason;                /* it is closed; 0: not */
    } rows[] = {
        /* 1 the next begins to come       */ { 5, 0, 0 },
        /* 2 it is complete, gently        */ { 5, 1, 0 },
        /* 3 ... not so                    */ { 5, 2, IOTSEC_ERR_GENERATION },
        /* 4 a gentle one's overlap ends   */ { 5, 3, IOTSEC_ERR_GENERATION },
        /* 5 ... the session is of the new */ { 6, 3, 0 },
        /* 6 it cannot be taken            */ { 5, 4, IOTSEC_ERR_GENERATION },
        /* 7 somebody's mark               */ { 5, 5, 0 },
        /* 8 the peer's                    */ { 5, 6, IOTSEC_ERR_REVOKED },
        /* 9 ... of the next generation    */ { 5, 7, IOTSEC_ERR_REVOKED },
        /* 10 the one after the next begins: the overlap ends */ { 5, 8, IOTSEC_ERR_GENERATION },
    };
    size_t i;

    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct iotsec_km_message message;
        uint8_t point[ELEMENT];
        struct iotsec_pair *pair;
        struct device *a;

        setup(state);
        a = join_with(DEGREE);
        give_share(5, DEGREE, 0, 0);
        pair = &a->pairs[0];
        memset(pair, 0, sizeof *pair);
        pair->identity_len = 4;
        memcpy(pair->identity, "door", 4);
        pair->session = make_session(a);
        pair->generation = rows[i].session;
        pair->used_at = w.base.now;
        assert_int_equal(iotsec_polykey_point(&a->hal, pair->identity, 4, point), IOTSEC_OK);
        switch (rows[i].step) {
        case 0:
            assert_int_equal(offer_share(6, DEGREE, 0, 1, 0), IOTSEC_KM_DONE);
            break;
        case 1:
        case 2:
        case 3:
        case 8:
            give_share(6, DEGREE, 0, rows[i].step == 2 ? 0 : GENTLE);
            if (rows[i].step == 3) {
                pair->used_at = w.base.now + IOTSEC_SHARE_OVERLAP_MS; /* not idle */
                run(IOTSEC_SHARE_OVERLAP_MS);
            } else if (rows[i].step == 8) {
                assert_int_equal(pair->identity_len, 4);
                assert_int_equal(offer_share(7, DEGREE, 0, 1, GENTLE), IOTSEC_KM_DONE);
            }
            break;
        case 4:
            assert_int_equal(offer_share(6, DEGREE + 1, 0, 1, GENTLE), IOTSEC_KM_NO_ROOM);
            break;
        default:
            message = revoked_message(rows[i].step == 7 ? 6 : 5, 0, 1, 1);
            if (rows[i].step != 5) {
                memcpy(tail, point, MARK);
            }
            assert_int_equal(offer(message), IOTSEC_KM_DONE);
            break;
        }
        if (pair->identity_len != (rows[i].reason == 0 ? 4 : 0)) {
            fail_msg("row %u", (unsigned)i + 1);
        }
        assert_int_equal(a->events[IOTSEC_DEVICE_PEER_CLOSED], rows[i].reason != 0);
        if (rows[i].reason != 0 && a->event.kind == IOTSEC_DEVICE_PEER_CLOSED) {
            assert_int_equal(a->event.reason, rows[i].reason);
        }
    }
}

/* ---- SHARE_STATUS ---- */

/* Requests of groups go first. */
static void asks_after_the_groups(void **state)
{
    const uint16_t groups[] = { GROUP, OTHER };
    struct device *a = &w.devices[0];

    (void)state;
    a->config.pairs = a->pairs;
    a->config.pair_count = 1;
    a->config.shares = a->shares;
    a->config.share_degree_max = DEGREE;
    a->config.handshake_count = 2;
    a->config.hide_groups = 1;
    boot(a);
    assert_int_equal(iotsec_join(&a->device, &w.manager_addr, groups, 2), IOTSEC_OK);
    run(1000);
    assert_int_equal(w.heard_count, 3);
    assert_int_equal(w.heard[0].kind, IOTSEC_KM_GROUP_REQUEST);
    assert_int_equal(w.heard[1].kind, IOTSEC_KM_GROUP_REQUEST);
    assert_int_equal(w.heard[2].kind, IOTSEC_KM_SHARE_STATUS);
    check_status(&w.heard[2], 0, 0, 0, 0);
}

/* So many SHARE_STATUS are heard in so much time. */
static unsigned count_asked(uint32_t ms)
{
    unsigned asked = 0;

    do {
        uint32_t step = ms < 30000 ? ms : 30000; /* w.heard is not endless */
        size_t i;

        w.heard_count = 0;
        run(step);
        ms -= step;
        for (i = 0; i < w.heard_count; i++) {
            asked += w.heard[i].kind == IOTSEC_KM_SHARE_STATUS;
        }
    } while (ms != 0);
    return asked;
}

static void asks_routinely(void **state)
{
    struct device *a = join_with(DEGREE);

    (void)state;
    assert_in_range(count_asked(20 * IOTSEC_STATUS_INTERVAL_MS), 17, 23);
    assert_int_equal(a->events[IOTSEC_DEVICE_SHARE], 0);
    assert_int_equal(a->events[IOTSEC_DEVICE_CONTACT_LOST], 0);
}

/* What is missing is asked for 10 s after the last sign of it. */
static void asks_for_what_is_missing(void **state)
{
    struct device *a = join_with(DEGREE);

    (void)state;
    w.share_answer = IOTSEC_KM_KEYS_FOLLOW;
    assert_int_equal(offer_share(5, DEGREE, 1, 1, 0), -1); /* a gap: at once */
    check_status(heard(IOTSEC_KM_SHARE_STATUS), 0, 5, 0, 0);
    assert_int_equal(iotsec_poll(&a->device), 10000);
    assert_int_equal(count_asked(9999), 0);
    assert_int_equal(count_asked(1), 1);
    check_status(heard(IOTSEC_KM_SHARE_STATUS), 0, 5, 0, 0);
    assert_int_equal(count_asked(9000), 0);
    assert_int_equal(offer(share_message(5, DEGREE, 0, 3, 1, 0)), IOTSEC_KM_DONE); /* a piece: 10 s more */
    assert_int_equal(count_asked(9999), 0);
    assert_int_equal(count_asked(1), 1);
    check_status(heard(IOTSEC_KM_SHARE_STATUS), 0, 5, 3, 0);
    assert_int_equal(offer(share_message(5, DEGREE, 3, 1, 1, 0)), IOTSEC_KM_DONE); /* a mark is missing */
    assert_int_equal(serving(a), 0);
    assert_int_equal(count_asked(10000), 1);
    check_status(heard(IOTSEC_KM_SHARE_STATUS), 0, 5, 4, 0);
    assert_int_equal(offer(revoked_message(5, 0, 1, 1)), IOTSEC_KM_DONE); /* complete */
    assert_int_equal(serving(a), 5);
    assert_int_equal(count_asked(100000), 0);
    assert_int_equal(offer(revoked_message(5, 1, 1, 3)), IOTSEC_KM_DONE); /* in use, and one is announced */
    assert_int_equal(count_asked(10000), 1);
    check_status(heard(IOTSEC_KM_SHARE_STATUS), 5, 0, 0, 2);
    w.share_answer = IOTSEC_KM_DONE; /* the manager has nothing more after all */
    assert_int_equal(count_asked(10000), 1);
    assert_int_equal(count_asked(100000), 0);
    assert_int_equal(offer(revoked_message(5, 3, 1, 4)), -1); /* a gap, but the manager knows of nothing */
    assert_int_equal(count_asked(100000), 0);
}

/* FAILED: ever more rarely, until something comes. An element that is none counts as that, too. */
static void asks_ever_more_rarely(void **state)
{
    struct device *a = join_with(DEGREE);
    struct iotsec_km_message message;
    uint32_t wait;
    unsigned i;

    (void)state;
    a->device.status_at = w.base.now + 0x7FFFFFFFu; /* no routine */
    w.share_answer = IOTSEC_KM_FAILED;
    assert_int_equal(offer_share(5, DEGREE, 1, 1, 0), -1);
    for (wait = 10000; wait < 4 * IOTSEC_ASK_MAX_MS; wait *= 2) {
        uint32_t most = wait < IOTSEC_ASK_MAX_MS ? wait : IOTSEC_ASK_MAX_MS;
        uint32_t began = w.base.now;

        assert_int_equal(count_asked(most / 2 - 1), 0);
        while (count_asked(most / 20) == 0) {
            assert_true(w.base.now - began <= most + most / 20);
        }
        a->device.status_at = w.base.now + 0x7FFFFFFFu;
    }
    assert_int_equal(offer_share(5, DEGREE, 0, 1, 0), IOTSEC_KM_DONE);
    assert_int_equal(count_asked(10000), 1); /* which FAILED again; the waits are short again */
    assert_in_range(count_asked(200000), 3, 5);
    w.share_answer = IOTSEC_KM_DONE;
    while (count_asked(10000) == 0) {
        assert_true(a->device.share_wait > 100000);
    }
    w.share_answer = IOTSEC_KM_FAILED; /* after DONE they are, too */
    a->device.pair_flags |= PAIRS_DUE;
    assert_in_range(count_asked(200000), 4, 6);
    assert_int_equal(iotsec_dtls_close(&w.dtls, w.session, IOTSEC_ALERT_CLOSE_NOTIFY), IOTSEC_OK);
    assert_int_equal(count_asked(1000), 1); /* in a new session they are, too */
    assert_int_equal(count_asked(4999), 0);
    assert_int_equal(count_asked(5001), 1);
    w.share_answer = IOTSEC_KM_KEYS_FOLLOW;
    for (i = 0; i < 3; i++) { /* 10 s after KEYS_FOLLOW, but not so after what cannot be taken */
        message = share_message(5, DEGREE, 1, 1, 0, 0);
        memset(tail, 0xFF, ELEMENT);
        assert_int_equal(offer(message), IOTSEC_KM_FAILED);
    }
    assert_int_equal(count_asked(39999), 0);
    assert_int_equal(a->events[IOTSEC_DEVICE_SHARE], 1);
    assert_int_equal(a->event.reason, IOTSEC_ERR_DECODE);
}

static void says_once_that_there_is_none(void **state)
{
    struct device *a = &w.devices[0];

    (void)state;
    w.share_answer = IOTSEC_KM_NOT_MEMBER;
    a = join_with(DEGREE);
    assert_int_equal(a->events[IOTSEC_DEVICE_SHARE], 1);
    assert_int_equal(a->event.reason, IOTSEC_ERR_NOT_FOUND);
    assert_int_equal(a->event.key_number, 0);
    assert_int_equal(count_asked(IOTSEC_STATUS_INTERVAL_MS / 2), 0);
    assert_in_range(count_asked(3 * IOTSEC_STATUS_INTERVAL_MS), 2, 4);
    assert_int_equal(a->events[IOTSEC_DEVICE_SHARE], 1);
    /* the next session asks and says it anew */
    assert_int_equal(iotsec_dtls_close(&w.dtls, w.session, IOTSEC_ALERT_CLOSE_NOTIFY), IOTSEC_OK);
    assert_in_range(count_asked(30000), 1, 1);
    assert_int_equal(a->events[IOTSEC_DEVICE_SHARE], 2);
    /* and when there is one */
    give_share(5, DEGREE, 0, 0);
    assert_int_equal(a->events[IOTSEC_DEVICE_SHARE], 3);
    assert_int_equal(a->event.reason, IOTSEC_OK);
    assert_int_equal(a->event.key_number, 5);
    /* what is there stays when it is gone: it works between those who have it */
    assert_in_range(count_asked(2 * IOTSEC_STATUS_INTERVAL_MS), 1, 3);
    assert_int_equal(a->events[IOTSEC_DEVICE_SHARE], 3);
    check_share(a, 5, DEGREE);
}

/* A manager that does not know the message drops it: it is there all the same. */
static void bears_a_manager_without_polynomials(void **state)
{
    struct device *a;
    unsigned asked;

    (void)state;
    a = join_with(DEGREE);
    assert_int_equal(iotsec_group_join(&a->device, OTHER), IOTSEC_OK); /* whose STATUS shows that the manager is there */
    run(100);
    say_pair(OTHER, K, 5, 0);
    run(3000);
    assert_int_equal(iotsec_dtls_close(&w.dtls, w.session, IOTSEC_ALERT_CLOSE_NOTIFY), IOTSEC_OK);
    w.share_answer = -1;
    w.sessions_made = 0;
    w.heard_count = 0;
    run(12000);
    memset(a->events, 0, sizeof a->events);
    assert_int_equal(w.sessions_made, 1);
    assert_int_equal(w.heard[0].kind, IOTSEC_KM_STATUS);
    assert_in_range(w.heard_count, 16, 20); /* then the same question, over and over */
    for (asked = 2; asked < w.heard_count; asked++) {
        assert_int_equal(w.heard[asked].kind, IOTSEC_KM_SHARE_STATUS);
        assert_int_equal(w.heard[asked].message, w.heard[1].message);
    }
    run(50000);
    assert_true(w.heard_count > 24); /* then it is a new one */
    asked = count_asked(IOTSEC_STATUS_INTERVAL_MS); /* ever more rarely */
    assert_in_range(asked, 5 * 22, 11 * 22);
    asked = count_asked(10 * IOTSEC_STATUS_INTERVAL_MS);
    assert_in_range(asked, 10 * 22, 30 * 22); /* every hour, and with the routine */
    assert_int_equal(a->events[IOTSEC_DEVICE_CONTACT_LOST], 0);
    assert_int_equal(a->events[IOTSEC_DEVICE_SHARE], 0);
    assert_int_equal(w.sessions_made, 1);
    /* what else there is to ask gets its turn */
    assert_int_equal(iotsec_group_join(&a->device, GROUP), IOTSEC_OK);
    w.heard_count = 0;
    run(30000);
    assert_non_null(heard(IOTSEC_KM_GROUP_REQUEST));
    assert_int_equal(iotsec_group_leave(&a->device, GROUP), IOTSEC_OK);
    run(1000);
    /* one that knew it in this session, and says nothing now, is gone */
    w.share_answer = IOTSEC_KM_DONE;
    (void)count_asked(3 * IOTSEC_STATUS_INTERVAL_MS);
    assert_int_equal(a->events[IOTSEC_DEVICE_CONTACT_LOST], 0);
    w.share_answer = -1;
    (void)count_asked(2 * IOTSEC_STATUS_INTERVAL_MS);
    assert_int_equal(a->events[IOTSEC_DEVICE_CONTACT_LOST], 1);
    assert_int_equal(w.sessions_made, 2);
}

/* It may have been started anew and know this session no longer. A device without a group has nothing else to ask: it looks,
 * ever more rarely, and nobody is told as long as there is an answer. */
static void looks_whether_the_manager_is_there(void **state)
{
    struct device *a;
    unsigned sessions;

    (void)state;
    w.share_answer = -1;
    a = join_with(DEGREE);
    (void)count_asked(40000);
    assert_in_range(w.sessions_made, 2, 3);
    (void)count_asked(IOTSEC_STATUS_INTERVAL_MS);
    assert_in_range(w.sessions_made, 3, 12);
    sessions = w.sessions_made;
    (void)count_asked(10 * IOTSEC_STATUS_INTERVAL_MS);
    assert_in_range(w.sessions_made, sessions + 4, sessions + 20);
    assert_int_equal(a->events[IOTSEC_DEVICE_CONTACT_LOST], 0);
    assert_int_equal(a->events[IOTSEC_DEVICE_SHARE], 0);
    /* it answers again */
    w.share_answer = IOTSEC_KM_DONE;
    (void)count_asked(2 * IOTSEC_STATUS_INTERVAL_MS);
    sessions = w.sessions_made;
    (void)count_asked(10 * IOTSEC_STATUS_INTERVAL_MS);
    assert_int_equal(w.sessions_made, sessions);
}

/* Without pairs, nothing is asked and nothing taken. */
static void wants_none_without_pairs(void **state)
{
    struct device *a = &w.devices[0];

    (void)state;
    assert_int_equal(iotsec_join(&a->device, &w.manager_addr, NULL, 0), IOTSEC_OK);
    run(3 * IOTSEC_STATUS_INTERVAL_MS);
    assert_int_equal(a->events[IOTSEC_DEVICE_JOINED], 1);
    assert_int_equal(w.heard_count, 0);
    assert_int_equal(offer_share(5, DEGREE, 0, 4, 0), -1);
    assert_int_equal(offer(revoked_message(5, 0, 1, 1)), -1);
    assert_int_equal(dropped(a, IOTSEC_DROP_NOT_ALLOWED), 2);
    assert_null(iotsec_dev_share(&a->device, 0));
}

/* ---- Sessions ---- */

static void resumes_in_the_next_session(void **state)
{
    struct device *a = join_with(DEGREE);

    (void)state;
    give_share(4, DEGREE, 0, 0);
    assert_int_equal(offer(revoked_message(4, 0, 1, 1)), IOTSEC_KM_DONE);
    assert_int_equal(offer(share_message(5, DEGREE, 0, 2, 2, GENTLE)), IOTSEC_KM_DONE);
    assert_int_equal(offer(revoked_message(5, 0, 1, 2)), IOTSEC_KM_DONE);
    assert_int_equal(iotsec_dtls_close(&w.dtls, w.session, IOTSEC_ALERT_CLOSE_NOTIFY), IOTSEC_OK);
    w.heard_count = 0;
    w.share_answer = IOTSEC_KM_KEYS_FOLLOW;
    run(1000);
    assert_int_equal(w.sessions_made, 2);
    assert_int_equal(w.heard_count, 1);
    check_status(&w.heard[0], 4, 5, 2, 1);
    assert_int_equal(serving(a), 4);
    assert_int_equal(offer(share_message(5, DEGREE, 2, 2, 2, GENTLE)), IOTSEC_KM_DONE);
    assert_int_equal(serving(a), 4);
    assert_int_equal(offer(revoked_message(5, 1, 1, 2)), IOTSEC_KM_DONE);
    check_share(a, 5, DEGREE);
    check_share(a, 4, DEGREE);
    assert_int_equal(count_revoked(a, 4), 1);
    assert_int_equal(count_revoked(a, 5), 2);
    /* an overlap goes on through sessions, and is no longer for them */
    run(IOTSEC_SHARE_OVERLAP_MS / 2);
    assert_int_equal(iotsec_dtls_close(&w.dtls, w.session, IOTSEC_ALERT_CLOSE_NOTIFY), IOTSEC_OK);
    w.share_answer = IOTSEC_KM_DONE;
    w.heard_count = 0;
    run(1000);
    check_status(heard(IOTSEC_KM_SHARE_STATUS), 5, 0, 0, 2);
    assert_int_equal(also_serving(a), 4);
    run(IOTSEC_SHARE_OVERLAP_MS / 2);
    assert_int_equal(also_serving(a), 0);
    assert_int_equal(serving(a), 5);
}

/* A manager whose registry is an older copy: what the device has is newer, and stays. */
static void keeps_what_is_newer_than_the_manager(void **state)
{
    struct device *a = join_with(DEGREE);

    (void)state;
    give_share(7, DEGREE, 0, 0);
    assert_int_equal(offer(revoked_message(7, 0, 1, 1)), IOTSEC_KM_DONE);
    assert_int_equal(iotsec_dtls_close(&w.dtls, w.session, IOTSEC_ALERT_CLOSE_NOTIFY), IOTSEC_OK);
    w.share_answer = IOTSEC_KM_FAILED;
    run(1000);
    assert_int_equal(w.sessions_made, 2);
    assert_int_equal(offer_share(6, DEGREE, 0, 4, 0), IOTSEC_KM_DONE);
    assert_int_equal(offer(revoked_message(6, 0, 3, 3)), IOTSEC_KM_DONE);
    check_share(a, 7, DEGREE);
    assert_int_equal(count_revoked(a, 7), 1);
    assert_int_equal(count_revoked(a, 6), 0);
    give_share(8, DEGREE, 0, 0); /* which it makes when it has been told */
    assert_int_equal(serving(a), 8);
}

/* ---- The end ---- */

static void leave_now(struct device *d, const struct iotsec_device_event *event)
{
    if (event->kind == IOTSEC_DEVICE_SHARE || event->kind == IOTSEC_DEVICE_PEER_CLOSED) {
        d->on_event = NULL;
        assert_int_equal(iotsec_leave(&d->device), IOTSEC_OK);
    }
}

static void wipes_everything(void **state)
{
    enum { WIPE, LEAVE, EVICTED, NOT_AUTHORISED, LEAVE_WHILE_LOST };
    int how;

    for (how = WIPE; how <= LEAVE_WHILE_LOST; how++) {
        struct device *a;
        uint8_t mark[MARK];
        size_t i;

        setup(state);
        a = join_with(DEGREE);
        give_share(5, DEGREE, 0, 0);
        assert_int_equal(offer(revoked_message(5, 0, 2, 2)), IOTSEC_KM_DONE);
        if (how % 2 == 0) {
            give_share(6, DEGREE, 0, GENTLE); /* two that serve */
            assert_int_equal(count_left(a, 5, 4) + count_left(a, 6, 4), 8);
        } else {
            assert_int_equal(offer_share(6, DEGREE, 0, 3, 0), IOTSEC_KM_DONE); /* one, and one that is coming */
            assert_int_equal(count_left(a, 5, 4) + count_left(a, 6, 4), 7);
        }
        fill_mark(mark, 5, 0);
        assert_true(find_bytes(&a->device, sizeof a->device, mark, MARK));
        switch (how) {
        case WIPE:
            iotsec_device_wipe(&a->device);
            break;
        case LEAVE_WHILE_LOST:
            w.lose = true;
            assert_int_equal(iotsec_dtls_close(&w.dtls, w.session, IOTSEC_ALERT_CLOSE_NOTIFY), IOTSEC_OK);
            w.session = 0;
            /* fall through */
        case LEAVE:
            assert_int_equal(iotsec_leave(&a->device), IOTSEC_OK);
            assert_int_equal(serving(a), 0);
            break;
        case EVICTED:
            say_kind(IOTSEC_KM_EVICTED, 0, 0);
            run(0);
            assert_int_equal(a->events[IOTSEC_DEVICE_EVICTED], 1);
            break;
        default:
            say_kind(IOTSEC_KM_REFUSED, 0, IOTSEC_KM_REASON_NOT_AUTHORISED);
            run(0);
            assert_int_equal(a->events[IOTSEC_DEVICE_EVICTED], 1);
            break;
        }
        assert_int_equal(count_left(a, 5, 4) + count_left(a, 6, 4), 0);
        assert_false(find_bytes(&a->device, sizeof a->device, mark, MARK));
        for (i = 0; i < 2 * (DEGREE + 1) * ELEMENT; i++) {
            assert_int_equal(a->shares[i], 0);
        }
        if (how == LEAVE) { /* what is under way still comes, and is not taken */
            give(a, &(struct iotsec_km_message){ .kind = IOTSEC_KM_REVOKED, .key_number = 9, .revoked = 1, .count = 1, .tail = mark });
            assert_int_equal(dropped(a, IOTSEC_DROP_NOT_ALLOWED), 1);
            assert_int_equal(a->device.revoked_count, 0);
            run(60000);
            assert_int_equal(a->events[IOTSEC_DEVICE_LEFT], 1);
        }
        if (how != WIPE && how != LEAVE_WHILE_LOST) { /* and it may begin anew */
            assert_int_equal(iotsec_join(&a->device, &w.manager_addr, NULL, 0), IOTSEC_OK);
            w.heard_count = 0;
            run(1000);
            check_status(heard(IOTSEC_KM_SHARE_STATUS), 0, 0, 0, 0);
            give_share(1, DEGREE, 0, 0);
            check_share(a, 1, DEGREE);
        }
    }
}

/* The application is told last: what it does then finds everything in its place, and the manager has its answer. */
static void lets_the_application_leave(void **state)
{
    static const int kinds[] = { IOTSEC_KM_SHARE, IOTSEC_KM_REVOKED };
    size_t i;

    for (i = 0; i < 2; i++) {
        struct device *a;

        setup(state);
        a = join_with(DEGREE);
        a->on_event = leave_now;
        if (kinds[i] == IOTSEC_KM_SHARE) {
            assert_int_equal(offer_share(5, DEGREE, 0, 4, 0), IOTSEC_KM_DONE);
            assert_int_equal(a->events[IOTSEC_DEVICE_SHARE], 1);
        } else {
            uint8_t point[ELEMENT];
            struct iotsec_km_message message;

            /* a session is closed, and the application leaves because of that: it is not told of the share any more */
            assert_int_equal(offer(share_message(5, DEGREE, 0, 4, 1, 0)), IOTSEC_KM_DONE);
            memset(&a->pairs[0], 0, sizeof a->pairs[0]);
            a->pairs[0].identity_len = 4;
            memcpy(a->pairs[0].identity, "door", 4);
            a->pairs[0].session = 0xFFFFFFFFu;
            a->pairs[0].generation = 5;
            a->pairs[0].used_at = w.base.now;
            assert_int_equal(iotsec_polykey_point(&a->hal, a->pairs[0].identity, 4, point), IOTSEC_OK);
            message = revoked_message(5, 0, 1, 1);
            memcpy(tail, point, MARK);
            assert_int_equal(offer(message), IOTSEC_KM_DONE);
            assert_int_equal(a->events[IOTSEC_DEVICE_PEER_CLOSED], 1);
            assert_int_equal(a->events[IOTSEC_DEVICE_SHARE], 0);
        }
        assert_int_equal(serving(a), 0);
        assert_int_equal(count_left(a, 5, 4), 0);
        assert_non_null(heard(IOTSEC_KM_DOMAIN_LEAVE));
    }
}

/* ---- Set-up ---- */

static void checks_its_storage(void **state)
{
    static uint8_t message[16];
    struct device *a = &w.devices[0];
    struct iotsec_device_config good = a->config;
    struct iotsec_device_config config;

    (void)state;
    good.pairs = a->pairs;
    good.pair_count = 1;
    good.shares = a->shares;
    good.share_degree_max = DEGREE;
    good.handshake_count = 2;
    good.session_count = 2;
#define REFUSED(change)                                                                        \
    config = good;                                                                             \
    change;                                                                                    \
    assert_int_equal(iotsec_device_init(&a->device, &config), IOTSEC_ERR_ARGUMENT)
#define ACCEPTED(change)                                                                       \
    config = good;                                                                             \
    change;                                                                                    \
    assert_int_equal(iotsec_device_init(&a->device, &config), IOTSEC_OK)
    ACCEPTED((void)0);
    REFUSED(config.pairs = NULL);
    REFUSED(config.shares = NULL);
    REFUSED(config.share_degree_max = 0);
    REFUSED(config.handshake_count = 1);
    REFUSED(config.session_count = 1);
    REFUSED(config.pair_count = 2);
    REFUSED(config.pair_message_size = 16);
    ACCEPTED(config.pair_message_size = 16; config.pair_messages = message);
    REFUSED(config.pair_idle_ms = 1u << 30);
    REFUSED(config.share_overlap_ms = 1u << 30);
    ACCEPTED(config.pair_idle_ms = (1u << 30) - 1; config.share_overlap_ms = (1u << 30) - 1);
    /* none of it matters without pairs */
    ACCEPTED(config.pair_count = 0; config.pairs = NULL; config.shares = NULL; config.share_degree_max = 0;
             config.handshake_count = 1; config.session_count = 1; config.pair_message_size = 16; config.share_overlap_ms = 1u << 30);
    iotsec_device_wipe(&a->device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(takes_pieces, setup),
        cmocka_unit_test_setup(fits_degrees, setup),
        cmocka_unit_test_setup(drops_malformed_pieces, setup),
        cmocka_unit_test_setup(ends_overlaps, setup),
        cmocka_unit_test_setup(takes_marks, setup),
        cmocka_unit_test_setup(forgets_marks_with_their_generation, setup),
        cmocka_unit_test_setup(makes_room_for_marks, setup),
        cmocka_unit_test_setup(carries_marks_over, setup),
        cmocka_unit_test_setup(keeps_the_places_of_marks, setup),
        cmocka_unit_test_setup(believes_no_evicted_device, setup),
        cmocka_unit_test_setup(reviews_sessions, setup),
        cmocka_unit_test_setup(asks_after_the_groups, setup),
        cmocka_unit_test_setup(asks_routinely, setup),
        cmocka_unit_test_setup(asks_for_what_is_missing, setup),
        cmocka_unit_test_setup(asks_ever_more_rarely, setup),
        cmocka_unit_test_setup(says_once_that_there_is_none, setup),
        cmocka_unit_test_setup(bears_a_manager_without_polynomials, setup),
        cmocka_unit_test_setup(looks_whether_the_manager_is_there, setup),
        cmocka_unit_test_setup(wants_none_without_pairs, setup),
        cmocka_unit_test_setup(resumes_in_the_next_session, setup),
        cmocka_unit_test_setup(keeps_what_is_newer_than_the_manager, setup),
        cmocka_unit_test_setup(wipes_everything, setup),
        cmocka_unit_test_setup(lets_the_application_leave, setup),
        cmocka_unit_test_setup(checks_its_storage, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

int main(void)
{
    return 0;
}

#endif
