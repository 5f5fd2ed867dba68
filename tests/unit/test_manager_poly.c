/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The domain manager's polynomial: what it is, who gets which part of which share when, who is revoked, and what
 * becomes of all that when messages are lost, sessions end and the registry fails.
 *
 * What the devices get is compared with shares that this program computes in its own way.
 */
#include "manager_rig.h"

#include "access/manager_state.h"

#if IOTSEC_PAIRWISE

#define DEGREE 20u /* at least two messages */
#define CHUNK (IOTSEC_SHARE_CHUNK_MAX + 0u)
/* Messages for so many elements. */
#define MESSAGES(elements) (((elements) + CHUNK - 1u) / CHUNK)

static const struct iotsec_registry_poly *durable(void)
{
    return &rig.durable.poly;
}

static int setup_poly(void **state)
{
    setup(state);
    assert_int_equal(iotsec_manager_poly_renew(&rig.manager, DEGREE, 0), IOTSEC_OK);
    rig.event_count = 0;
    return 0;
}

static void again(void **state)
{
    teardown(state);
    setup_poly(state);
}

static void join(size_t first, size_t count)
{
    size_t i;

    for (i = first; i < first + count; i++) {
        device_join(DEV(i), GROUP_A, 0);
    }
    run(5000);
    for (i = first; i < first + count; i++) {
        assert_int_not_equal(DEV(i)->session, 0);
    }
}

static void say_status(struct dev *d, uint32_t generation, uint32_t next, uint16_t held, uint8_t revoked)
{
    struct iotsec_km_message m;

    memset(&m, 0, sizeof m);
    m.kind = IOTSEC_KM_SHARE_STATUS;
    m.message = d->next_id++;
    m.key_number = generation;
    m.next_generation = next;
    m.held = held;
    m.revoked = revoked;
    d->answer = -1;
    device_say(d, &m);
}

static bool has_share(const struct dev *d)
{
    return d->share.generation != 0 && d->share.held == d->share.degree + 1u && d->share.marks == d->share.revoked;
}

/* SHARE_STATUS with what the device has. */
static void ask(struct dev *d)
{
    if (has_share(d)) {
        say_status(d, d->share.generation, 0, 0, d->share.marks);
    } else {
        say_status(d, 0, d->share.generation, d->share.held, d->share.marks);
    }
}

/* ---- Another arithmetic: 32-bit limbs, and remainders by folding ---- */

static void load(uint32_t limbs[4], const uint8_t element[16])
{
    size_t i;

    for (i = 0; i < 4; i++) {
        limbs[i] = iotsec_get_u32(element + 12 - 4 * i);
    }
}

/* r = r * x + a */
static void mul_add(uint32_t r[4], const uint32_t x[4], const uint32_t a[4])
{
    static const uint32_t p[4] = { 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0x7FFFFFFF };
    uint32_t w[9] = { 0 };
    uint64_t carry;
    size_t i;
    size_t j;

    memcpy(w, a, 16);
    for (i = 0; i < 4; i++) {
        carry = 0;
        for (j = 0; j < 4; j++) {
            carry += (uint64_t)r[i] * x[j] + w[i + j];
            w[i + j] = (uint32_t)carry;
            carry >>= 32;
        }
        for (j = i + 4; carry != 0; j++) {
            carry += w[j];
            w[j] = (uint32_t)carry;
            carry >>= 32;
        }
    }
    for (i = 0; i < 3; i++) {
        uint32_t high[5];

        for (j = 0; j < 5; j++) {
            high[j] = w[j + 3] >> 31 | (j < 4 ? w[j + 4] << 1 : 0);
        }
        w[3] &= 0x7FFFFFFF;
        memset(w + 4, 0, 5 * sizeof w[0]);
        for (j = 0, carry = 0; j < 5; j++) {
            carry += (uint64_t)w[j] + high[j];
            w[j] = (uint32_t)carry;
            carry >>= 32;
        }
    }
    memcpy(r, w, 16);
    if (memcmp(r, p, 16) == 0) {
        memset(r, 0, 16);
    }
}

/* The coefficient of y^j in a device's share: sum of a[i][j] x^i. */
static void expected_element(uint32_t device, uint32_t j, uint8_t element[16])
{
    uint32_t i = durable()->degree + 1u;
    uint32_t sum[4] = { 0 };
    uint32_t x[4];
    uint32_t a[4];
    uint8_t point[16];

    device_point(device, point);
    load(x, point);
    while (i-- != 0) {
        load(a, rig.coefficients[coefficient_at(i, j)]);
        mul_add(sum, x, a);
    }
    for (i = 0; i < 4; i++) {
        iotsec_put_u32(element + 12 - 4 * i, sum[i]);
    }
}

/* It has the whole of the present generation: share and marks. */
static void assert_share(const struct dev *d)
{
    uint8_t element[16];
    uint32_t j;

    assert_int_equal(d->share.generation, durable()->generation);
    assert_int_equal(d->share.degree, durable()->degree);
    assert_int_equal(d->share.gentle, durable()->gentle);
    assert_int_equal(d->share.held, durable()->degree + 1);
    for (j = 0; j < d->share.held; j++) {
        expected_element(d->number, j, element);
        assert_memory_equal(d->share.elements[j], element, 16);
    }
    assert_int_equal(d->share.revoked, durable()->revoked_count);
    assert_int_equal(d->share.marks, durable()->revoked_count);
    assert_memory_equal(d->share.mark, durable()->revoked, sizeof d->share.mark);
    assert_int_equal(d->gaps, 0);
}

static void pair_keys(const struct dev *own, const struct dev *peer, uint8_t psk[IOTSEC_PAIR_PSK_BYTES])
{
    struct iotsec_polykey_pair pair;

    pair.share = own->share.elements[0];
    pair.degree = own->share.degree;
    pair.generation = own->share.generation;
    pair.own = own->identity;
    pair.own_len = sizeof own->identity;
    pair.peer = peer->identity;
    pair.peer_len = sizeof peer->identity;
    assert_int_equal(iotsec_polykey_keys(&rig.hal, &pair, psk, NULL), IOTSEC_OK);
}

/* Any two of the first `count` devices have a key, and it is nobody else's. */
static void assert_pairs(size_t count)
{
    uint8_t keys[DEVICES * DEVICES][IOTSEC_PAIR_PSK_BYTES];
    uint8_t other[IOTSEC_PAIR_PSK_BYTES];
    size_t n = 0;
    size_t i;
    size_t k;

    for (i = 0; i < count; i++) {
        for (k = 0; k < i; k++) {
            pair_keys(DEV(i), DEV(k), keys[n]);
            pair_keys(DEV(k), DEV(i), other);
            assert_memory_equal(keys[n], other, sizeof other);
            n++;
        }
    }
    for (i = 0; i < n; i++) {
        for (k = 0; k < i; k++) {
            assert_memory_not_equal(keys[i], keys[k], sizeof other);
        }
    }
}

static bool is_marked(uint32_t device)
{
    uint8_t point[16];
    size_t i;

    device_point(device, point);
    for (i = 0; i < durable()->revoked_count; i++) {
        if (memcmp(durable()->revoked[i], point, IOTSEC_REVOKED_BYTES) == 0) {
            return true;
        }
    }
    return false;
}

/* ---- The polynomial ---- */

static int compare(const void *a, const void *b)
{
    return memcmp(a, b, 16);
}

/* Symmetry is the registry's form, and what the devices' keys show. Here: each bit of a coefficient is 1 every other time,
 * and none comes twice. */
static void coefficients_are_random(void **state)
{
    static uint8_t sorted[COEFFICIENTS][16];
    uint32_t ones[128] = { 0 };
    size_t i;
    size_t b;

    (void)state;
    assert_int_equal(iotsec_manager_poly_renew(&rig.manager, 255, 0), IOTSEC_OK);
    assert_int_equal(durable()->degree, 255);
    for (i = 0; i < COEFFICIENTS; i++) {
        for (b = 0; b < 128; b++) {
            ones[b] += rig.coefficients[i][b / 8] / (128u >> b % 8) % 2;
        }
    }
    assert_int_equal(ones[0], 0);
    for (b = 1; b < 128; b++) { /* ten standard deviations */
        assert_in_range(ones[b], COEFFICIENTS / 2 - 907, COEFFICIENTS / 2 + 907);
    }
    memcpy(sorted, rig.coefficients, sizeof sorted);
    qsort(sorted, COEFFICIENTS, 16, compare);
    for (i = 1; i < COEFFICIENTS; i++) {
        assert_memory_not_equal(sorted[i - 1], sorted[i], 16);
    }
}

static void a_renewal_is_another_polynomial(void **state)
{
    static uint8_t old[231][16];
    size_t i;
    int overlap;

    (void)state;
    for (overlap = 0; overlap < 2; overlap++) {
        memcpy(old, rig.coefficients, sizeof old);
        assert_int_equal(iotsec_manager_poly_renew(&rig.manager, DEGREE, overlap), IOTSEC_OK);
        assert_int_equal(durable()->generation, 2 + overlap);
        assert_int_equal(durable()->degree, DEGREE);
        assert_int_equal(durable()->gentle, overlap);
        assert_int_equal(durable()->revoked_count, 0);
        for (i = 0; i < sizeof old / 16; i++) {
            assert_memory_not_equal(old[i], rig.coefficients[i], 16);
        }
        assert_int_equal(count_events(IOTSEC_MANAGER_POLY, 0), 1 + overlap);
        assert_int_equal(last_event(IOTSEC_MANAGER_POLY)->key_number, 2 + overlap);
        assert_int_equal(last_event(IOTSEC_MANAGER_POLY)->reason, IOTSEC_ERR_CANCELLED);
    }
}

static void degrees_have_a_range(void **state)
{
    static const struct {
        unsigned degree;
        enum iotsec_status expected;
    } rows[] = {
        /*  1 */ { 0, IOTSEC_ERR_DEGREE },
        /*  2 */ { 1, IOTSEC_OK },
        /*  3 */ { 255, IOTSEC_OK },
        /*  4 */ { 256, IOTSEC_ERR_DEGREE },
        /*  5 */ { 257, IOTSEC_ERR_DEGREE },
        /*  6 */ { UINT32_MAX, IOTSEC_ERR_DEGREE },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint32_t operations = rig.operations;

        if (iotsec_manager_poly_renew(&rig.manager, rows[i].degree, 0) != rows[i].expected ||
            (rig.operations == operations) != (rows[i].expected != IOTSEC_OK)) {
            fail_msg("row %zu", i + 1);
        }
    }
    assert_int_equal(iotsec_manager_poly_renew(NULL, 1, 0), IOTSEC_ERR_UNSUPPORTED);
}

static void generations_run_out(void **state)
{
    (void)state;
    rig.durable.poly.generation = UINT32_MAX - 1;
    restart();
    assert_int_equal(iotsec_manager_poly_renew(&rig.manager, 3, 0), IOTSEC_OK);
    assert_int_equal(durable()->generation, UINT32_MAX);
    assert_int_equal(iotsec_manager_poly_renew(&rig.manager, 3, 0), IOTSEC_ERR_COUNTER);
    rig.durable.poly.revoked_count = IOTSEC_REVOKED_MAX;
    restart();
    assert_int_equal(iotsec_manager_evict(&rig.manager, 1), IOTSEC_ERR_COUNTER);
    assert_int_equal(rig.durable.evicted_count, 0);
}

static void assert_list(const char *step, uint8_t carried, size_t count, const uint32_t *devices)
{
    uint8_t point[16];
    size_t i;

    if (durable()->carried != carried || durable()->revoked_count != count) {
        fail_msg("%s: %u marks, %u of them carried", step, durable()->revoked_count, durable()->carried);
    }
    for (i = 0; i < count; i++) {
        device_point(devices[i], point);
        if (memcmp(durable()->revoked[i], point, IOTSEC_REVOKED_BYTES) != 0) {
            fail_msg("%s: mark %zu", step, i);
        }
    }
}

/* Who is revoked in a generation stays so while that serves beside the next. */
static void an_overlap_carries_marks_over(void **state)
{
    enum { EVICT, OVERLAP, END };
    static const struct {
        const char *step;
        int what;
        uint32_t device;
        uint32_t generation;
        uint8_t gentle, carried, count;
        uint32_t devices[4];
    } rows[] = {
        { "nobody is evicted", OVERLAP, 0, 2, 1, 0, 0, { 0 } },
        { "one", EVICT, 9, 2, 1, 0, 1, { 9 } },
        { "another", EVICT, 10, 2, 1, 0, 2, { 9, 10 } },
        { "both are carried", OVERLAP, 0, 3, 1, 2, 2, { 9, 10 } },
        { "a third", EVICT, 11, 3, 1, 2, 3, { 9, 10, 11 } },
        { "one that had been admitted again", EVICT, 9, 3, 1, 2, 3, { 9, 10, 11 } },
        { "once more", EVICT, 11, 3, 1, 2, 3, { 9, 10, 11 } },
        { "what was carried is not, a second time", OVERLAP, 0, 4, 1, 1, 1, { 11 } },
        { "one that is not there any more", EVICT, 9, 4, 1, 1, 2, { 11, 9 } },
        { "which is carried", OVERLAP, 0, 5, 1, 1, 1, { 9 } },
        { "none is its own", OVERLAP, 0, 6, 1, 0, 0, { 0 } },
        { "one again", EVICT, 12, 6, 1, 0, 1, { 12 } },
        { "an end without an overlap", END, 0, 7, 0, 0, 0, { 0 } },
        { "one after that", EVICT, 13, 7, 0, 0, 1, { 13 } },
        { "and an overlap", OVERLAP, 0, 8, 1, 1, 1, { 13 } },
        { "carried ones end as well", END, 0, 9, 0, 0, 0, { 0 } },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(rows[i].what == EVICT ? iotsec_manager_evict(&rig.manager, rows[i].device)
                                               : iotsec_manager_poly_renew(&rig.manager, DEGREE, rows[i].what == OVERLAP),
                         IOTSEC_OK);
        if (durable()->generation != rows[i].generation || durable()->gentle != rows[i].gentle) {
            fail_msg("%s: generation %u, gentle %u", rows[i].step, durable()->generation, durable()->gentle);
        }
        assert_list(rows[i].step, rows[i].carried, rows[i].count, rows[i].devices);
        if (i % 2 != 0) {
            restart(); /* it is the registry that knows */
        }
    }
}

/* Any order of evictions and renewals, beside a model: the marks of this generation and of the one before. */
static void lists_are_those_of_a_model(void **state)
{
    uint32_t before[IOTSEC_REVOKED_MAX];
    uint32_t own[IOTSEC_REVOKED_MAX];
    uint32_t all[IOTSEC_REVOKED_MAX] = { 0 };
    size_t before_count = 0;
    size_t own_count = 0;
    uint32_t generation = 1;
    uint32_t full = 0;
    uint32_t random = 1;
    int step;

    (void)state;
    for (step = 0; step < 1500; step++) {
        uint32_t device;
        uint32_t choice;
        size_t i;

        random = random * 1664525u + 1013904223u;
        choice = random >> 8;
        device = 1 + (choice >> 6) % 60;
        if (choice % 64 < 3) {
            assert_int_equal(iotsec_manager_poly_renew(&rig.manager, 1, choice % 64 < 2), IOTSEC_OK);
            generation++;
            before_count = choice % 64 < 2 ? own_count : 0;
            memcpy(before, own, sizeof own);
            own_count = 0;
        } else {
            assert_int_equal(iotsec_manager_evict(&rig.manager, device), IOTSEC_OK);
            for (i = 0; i < before_count + own_count && all[i] != device; i++) {
            }
            if (i == IOTSEC_REVOKED_MAX) {
                full++;
                generation++;
                before_count = 0;
                own_count = 0;
            } else if (i == before_count + own_count) {
                own[own_count++] = device;
            }
        }
        memcpy(all, before, before_count * sizeof all[0]);
        memcpy(all + before_count, own, own_count * sizeof all[0]);
        assert_int_equal(durable()->generation, generation);
        assert_list("a step", (uint8_t)before_count, before_count + own_count, all);
        rig.event_count = 0;
        rig.poly_count = 0;
        rig.durable.evicted_count = 0;
    }
    assert_in_range(full, 5, 100);
}

/* Nobody gets a share without what it takes to refuse the evicted ones under both. */
static void carried_marks_come_with_the_new_share(void **state)
{
    (void)state;
    join(0, 4);
    ask(DEV(0));
    ask(DEV(1));
    settle();
    DEV(1)->share_mute = true; /* it misses what comes now */
    DEV(1)->share_result = IOTSEC_KM_FAILED;
    assert_int_equal(iotsec_manager_evict(&rig.manager, 4), IOTSEC_OK);
    assert_int_equal(iotsec_manager_evict(&rig.manager, 100), IOTSEC_OK);
    run(1000);
    assert_share(DEV(0));
    assert_int_equal(DEV(1)->share.marks, 0);
    DEV(1)->share_mute = false;
    DEV(1)->share_result = IOTSEC_KM_DONE;
    assert_int_equal(iotsec_manager_poly_renew(&rig.manager, DEGREE, 1), IOTSEC_OK);
    assert_true(is_marked(4) && is_marked(100));
    run(5000);
    ask(DEV(2)); /* it had none before */
    run(5000);
    assert_int_equal(iotsec_manager_evict(&rig.manager, 101), IOTSEC_OK);
    run(5000);
    assert_int_equal(durable()->carried, 2);
    assert_int_equal(durable()->revoked_count, 3);
    assert_share(DEV(0));
    assert_share(DEV(1));
    assert_share(DEV(2));
    assert_int_equal(DEV(2)->share.gentle, 1);
    assert_pairs(3);
    assert_int_equal(DEV(3)->shares + DEV(3)->marks, 0);
}

/* ---- Shares ---- */

static void every_device_gets_its_share(void **state)
{
    static const struct {
        unsigned degree;
        uint32_t messages;
    } rows[] = {
        /*  1 */ { 1, CHUNK == 1 ? 2 : 1 },
        /*  2 */ { CHUNK, 2 },
        /*  3 */ { 2 * CHUNK - 1, 2 },
        /*  4 */ { 2 * CHUNK, 3 },
        /*  5 */ { 31, MESSAGES(32) },
        /*  6 */ { 255, MESSAGES(256) },
    };
    size_t i;
    size_t k;

    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        teardown(state);
        setup(state);
        assert_int_equal(iotsec_manager_poly_renew(&rig.manager, rows[i].degree, 0), IOTSEC_OK);
        join(0, 6);
        for (k = 0; k < 6; k++) {
            ask(DEV(k));
        }
        settle(); /* no time passes: each piece goes with the acknowledgement of the one before */
        for (k = 0; k < 6; k++) {
            assert_int_equal(DEV(k)->answer, IOTSEC_KM_KEYS_FOLLOW);
            assert_share(DEV(k));
            assert_int_equal(count_events(IOTSEC_MANAGER_SHARE, DEV(k)->number), 1);
        }
        assert_int_equal(last_event(IOTSEC_MANAGER_SHARE)->key_number, 1);
        assert_pairs(6);
        run(60000);
        for (k = 0; k < 6; k++) {
            if (DEV(k)->shares != rows[i].messages) {
                fail_msg("row %zu: %u messages", i + 1, DEV(k)->shares);
            }
            assert_int_equal(DEV(k)->marks, 0);
            ask(DEV(k)); /* the routine status */
        }
        run(60000);
        assert_int_equal(DEV(5)->answer, IOTSEC_KM_DONE);
        assert_int_equal(count_events(IOTSEC_MANAGER_SHARE, 0), 6);
        assert_int_equal(rig.manager.deliveries_used, 0);
    }
}

static void pieces_fit_the_link(void **state)
{
    static const struct {
        uint16_t payload;
        uint8_t elements; /* that there is room for */
    } rows[] = {
        /*  1 */ { 0, 15 },
        /*  2 */ { 512, 15 },
        /*  3 */ { 279, 15 }, /* 29 + 10 + 15 * 16 */
        /*  4 */ { 278, 14 },
        /*  5 */ { 167, 8 },
        /*  6 */ { 166, 7 },
        /*  7 */ { 103, 4 },
        /*  8 */ { 102, 3 },
        /*  9 */ { 87, 3 },
        /* 10 */ { 86, 2 },
        /* 11 */ { 55, 1 },
        /* 12 */ { 54, 1 }, /* does not fit, but less than one element there is not */
    };
    size_t i;

    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        again(state);
        join(0, 1);
        /* only now, so that rows need not be a handshake's */
        rig.manager.dtls_config.link_payload = rows[i].payload;
        DEV(0)->share_mute = true;
        ask(DEV(0));
        settle();
        if (DEV(0)->shares != 1 || DEV(0)->share_count != (rows[i].elements < CHUNK ? rows[i].elements : CHUNK)) {
            fail_msg("row %zu: %u", i + 1, DEV(0)->share_count);
        }
        DEV(0)->share_mute = false;
        run(5000);
        assert_share(DEV(0));
    }
}

static void who_does_not_ask_gets_nothing(void **state)
{
    (void)state;
    join(0, 2);
    ask(DEV(1));
    settle();
    assert_int_equal(iotsec_manager_poly_renew(&rig.manager, DEGREE, 1), IOTSEC_OK);
    assert_int_equal(iotsec_manager_evict(&rig.manager, 20), IOTSEC_OK);
    run(60000);
    assert_share(DEV(1));
    assert_int_equal(DEV(0)->shares + DEV(0)->marks, 0);
    assert_int_equal(count_events(IOTSEC_MANAGER_SHARE, 1), 0);
    /* and what a session has asked for ends with it */
    device_join(DEV(1), GROUP_A, 0);
    run(5000);
    DEV(1)->shares = 0;
    assert_int_equal(iotsec_manager_poly_renew(&rig.manager, DEGREE, 1), IOTSEC_OK);
    run(60000);
    assert_int_equal(DEV(1)->shares, 0);
}

/* A device says what it has: what is it told, and what comes first? */
static void shares_go_on_where_the_device_says(void **state)
{
    enum { NOTHING };
    static const struct {
        uint32_t generation;
        uint32_t next;
        uint16_t held;
        uint8_t revoked;
        int answer;
        uint8_t kind;
        uint8_t first;
        uint8_t count; /* of a share: that are left */
    } rows[] = {
        /* the domain: generation 3, 21 coefficients, 9 marks */
        /*  1 */ { 0, 0, 0, 0, IOTSEC_KM_KEYS_FOLLOW, IOTSEC_KM_SHARE, 0, 21 },
        /*  2 */ { 0, 3, 0, 0, IOTSEC_KM_KEYS_FOLLOW, IOTSEC_KM_SHARE, 0, 21 },
        /*  3 */ { 0, 3, 8, 0, IOTSEC_KM_KEYS_FOLLOW, IOTSEC_KM_SHARE, 8, 13 },
        /*  4 */ { 0, 3, 11, 9, IOTSEC_KM_KEYS_FOLLOW, IOTSEC_KM_SHARE, 11, 10 },
        /*  5 */ { 0, 3, 20, 0, IOTSEC_KM_KEYS_FOLLOW, IOTSEC_KM_SHARE, 20, 1 },
        /*  6 */ { 0, 3, 21, 0, IOTSEC_KM_KEYS_FOLLOW, IOTSEC_KM_REVOKED, 0, 7 },
        /*  7 */ { 0, 3, 21, 7, IOTSEC_KM_KEYS_FOLLOW, IOTSEC_KM_REVOKED, 7, 2 },
        /*  8 */ { 0, 3, 21, 9, IOTSEC_KM_DONE, NOTHING, 0, 0 },
        /*  9 */ { 0, 3, 22, 0, IOTSEC_KM_KEYS_FOLLOW, IOTSEC_KM_REVOKED, 0, 7 }, /* more than there are */
        /* 10 */ { 0, 3, 65535, 9, IOTSEC_KM_DONE, NOTHING, 0, 0 },
        /* 11 */ { 2, 0, 0, 9, IOTSEC_KM_KEYS_FOLLOW, IOTSEC_KM_SHARE, 0, 21 }, /* marks of another generation are others */
        /* 12 */ { 2, 0, 21, 9, IOTSEC_KM_KEYS_FOLLOW, IOTSEC_KM_SHARE, 0, 21 },
        /* 13 */ { 1, 2, 8, 0, IOTSEC_KM_KEYS_FOLLOW, IOTSEC_KM_SHARE, 0, 21 },
        /* 14 */ { 2, 3, 16, 1, IOTSEC_KM_KEYS_FOLLOW, IOTSEC_KM_SHARE, 16, 5 },
        /* 15 */ { 3, 0, 0, 9, IOTSEC_KM_DONE, NOTHING, 0, 0 },
        /* 16 */ { 3, 0, 0, 0, IOTSEC_KM_KEYS_FOLLOW, IOTSEC_KM_REVOKED, 0, 7 },
        /* 17 */ { 3, 0, 0, 8, IOTSEC_KM_KEYS_FOLLOW, IOTSEC_KM_REVOKED, 8, 1 },
        /* 18 */ { 3, 0, 0, 32, IOTSEC_KM_DONE, NOTHING, 0, 0 },
        /* 19 */ { 3, 2, 5, 9, IOTSEC_KM_DONE, NOTHING, 0, 0 }, /* what is coming is older than what it has */
        /* 20 */ { 4, 0, 0, 0, IOTSEC_KM_FAILED, NOTHING, 0, 0 },
        /* 21 */ { 3, 4, 1, 0, IOTSEC_KM_FAILED, NOTHING, 0, 0 },
        /* 22 */ { 0, UINT32_MAX, 0, 0, IOTSEC_KM_FAILED, NOTHING, 0, 0 },
        /* 23 */ { 0, 3, 16, 10, IOTSEC_KM_KEYS_FOLLOW, IOTSEC_KM_SHARE, 16, 5 }, /* marks that the registry has lost */
        /* 24 */ { 3, 0, 0, 10, IOTSEC_KM_DONE, NOTHING, 0, 0 },
        /* 25 */ { 2, 0, 21, 32, IOTSEC_KM_KEYS_FOLLOW, IOTSEC_KM_SHARE, 0, 21 },
    };
    size_t i;
    size_t k;

    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dev *d = DEV(0);
        uint8_t count = rows[i].kind == IOTSEC_KM_SHARE && rows[i].count > CHUNK ? CHUNK : rows[i].count;

        again(state);
        assert_int_equal(iotsec_manager_poly_renew(&rig.manager, DEGREE, 0), IOTSEC_OK);
        assert_int_equal(iotsec_manager_poly_renew(&rig.manager, DEGREE, 0), IOTSEC_OK);
        for (k = 0; k < 9; k++) {
            assert_int_equal(iotsec_manager_evict(&rig.manager, (uint32_t)(100 + k)), IOTSEC_OK);
        }
        join(0, 1);
        d->share_mute = true;
        d->share.generation = 3;
        d->share.degree = DEGREE;
        d->share.held = (uint16_t)(rows[i].kind == IOTSEC_KM_SHARE ? rows[i].first : DEGREE + 1);
        d->share.marks = (uint8_t)(rows[i].kind == IOTSEC_KM_REVOKED ? rows[i].first : 0);
        say_status(d, rows[i].generation, rows[i].next, rows[i].held, rows[i].revoked);
        settle();
        if (d->answer != rows[i].answer) {
            fail_msg("row %zu: answered %d", i + 1, d->answer);
        }
        if (d->shares != (rows[i].kind == IOTSEC_KM_SHARE) || d->marks != (rows[i].kind == IOTSEC_KM_REVOKED) ||
            d->share_first != rows[i].first || d->share_count != count) {
            fail_msg("row %zu: %u and %u, from %u on %u", i + 1, d->shares, d->marks, d->share_first, d->share_count);
        }
        if (count_events(IOTSEC_MANAGER_SHARE, 1) != (rows[i].answer == IOTSEC_KM_DONE) ||
            count_events(IOTSEC_MANAGER_AHEAD, 1) !=
                (rows[i].answer == IOTSEC_KM_FAILED || (rows[i].revoked > 9 && (rows[i].generation == 3 || rows[i].next == 3)))) {
            fail_msg("row %zu: told", i + 1);
        }
    }
}

/* A repeated request gets its answer again, and starts nothing anew. */
static void a_repeated_request_is_answered_again(void **state)
{
    (void)state;
    join(0, 1);
    DEV(0)->share_mute = true;
    ask(DEV(0));
    settle();
    DEV(0)->next_id--;
    ask(DEV(0));
    settle();
    assert_int_equal(DEV(0)->answer, IOTSEC_KM_KEYS_FOLLOW);
    assert_int_equal(DEV(0)->shares, 1);
}

/* It has lost what it had, in the same session: what was on its way to it is of no use any more. */
static void a_new_request_goes_on_elsewhere(void **state)
{
    (void)state;
    join(0, 1);
    DEV(0)->share_mute = true;
    ask(DEV(0));
    settle();
    device_acknowledge(DEV(0), DEV(0)->share_message, IOTSEC_KM_DONE);
    settle();
    assert_int_equal(DEV(0)->share_first, CHUNK);
    memset(&DEV(0)->share, 0, sizeof DEV(0)->share);
    DEV(0)->share_mute = false;
    ask(DEV(0));
    settle();
    assert_share(DEV(0));
    assert_int_equal(DEV(0)->shares, 2 + MESSAGES(DEGREE + 1));
}

/* What is settled about a group's keys leaves a share on its way alone. */
static void a_group_cancels_no_share(void **state)
{
    const struct held *h;
    uint8_t id;

    (void)state;
    join(0, 1);
    DEV(0)->share_mute = true;
    ask(DEV(0));
    settle();
    id = DEV(0)->share_message;
    h = find_held(DEV(0), GROUP_A);
    device_request(DEV(0), IOTSEC_KM_STATUS, GROUP_A, h->key_number, h->sender_id, 0);
    settle();
    assert_int_equal(DEV(0)->answer, IOTSEC_KM_DONE);
    DEV(0)->share_mute = false;
    device_acknowledge(DEV(0), id, IOTSEC_KM_DONE);
    settle();
    assert_share(DEV(0));
}

static void a_domain_may_have_none(void **state)
{
    struct iotsec_registry without = registry;

    (void)state;
    join(0, 1);
    ask(DEV(0));
    settle();
    assert_int_equal(DEV(0)->answer, IOTSEC_KM_NOT_MEMBER);
    assert_int_equal(iotsec_manager_evict(&rig.manager, 9), IOTSEC_OK);
    assert_int_equal(durable()->generation, 0);
    /* it gets one, and whoever has asked its share */
    assert_int_equal(iotsec_manager_poly_renew(&rig.manager, DEGREE, 1), IOTSEC_OK);
    run(1000);
    assert_share(DEV(0));
    assert_int_equal(count_events(IOTSEC_MANAGER_SHARE, 1), 1);

    without.poly = NULL;
    without.put_poly = NULL;
    without.put_coefficients = NULL;
    without.coefficients = NULL;
    without.point = NULL;
    rig.config.registry = &without;
    restart();
    assert_int_equal(iotsec_manager_poly_renew(&rig.manager, DEGREE, 1), IOTSEC_ERR_UNSUPPORTED);
    join(0, 1);
    ask(DEV(0));
    settle();
    assert_int_equal(DEV(0)->answer, IOTSEC_KM_NOT_MEMBER);
    assert_int_equal(iotsec_manager_evict(&rig.manager, 10), IOTSEC_OK);
    assert_int_equal(count_events(IOTSEC_MANAGER_AHEAD, 0), 0);
    rig.config.registry = &registry;
}

static enum iotsec_status fail_poly(void *user, struct iotsec_registry_poly *poly)
{
    (void)user;
    (void)poly;
    return IOTSEC_ERR_REGISTRY;
}

static enum iotsec_status null_poly(void *user, struct iotsec_registry_poly *poly)
{
    (void)user;
    *poly = rig.durable.poly;
    poly->generation = 0;
    return IOTSEC_OK;
}

static void a_registry_has_all_of_it_or_nothing(void **state)
{
    struct iotsec_registry partial;
    size_t i;

    (void)state;
    rig.config.registry = &partial;
    iotsec_manager_wipe(&rig.manager);
    for (i = 0; i < 5; i++) {
        partial = registry;
        switch (i) {
        case 0:
            partial.poly = NULL;
            break;
        case 1:
            partial.put_poly = NULL;
            break;
        case 2:
            partial.put_coefficients = NULL;
            break;
        case 3:
            partial.coefficients = NULL;
            break;
        default:
            partial.point = NULL;
            break;
        }
        assert_int_equal(iotsec_manager_init(&rig.manager, &rig.config), IOTSEC_ERR_ARGUMENT);
    }
    partial = registry;
    partial.poly = fail_poly;
    assert_int_equal(iotsec_manager_init(&rig.manager, &rig.config), IOTSEC_ERR_REGISTRY);
    partial.poly = null_poly;
    assert_int_equal(iotsec_manager_init(&rig.manager, &rig.config), IOTSEC_ERR_REGISTRY);
    rig.config.registry = &registry;
    rig.durable.poly.degree = 0;
    assert_int_equal(iotsec_manager_init(&rig.manager, &rig.config), IOTSEC_ERR_REGISTRY);
    rig.durable.poly.degree = DEGREE;
    rig.durable.poly.revoked_count = IOTSEC_REVOKED_MAX + 1;
    assert_int_equal(iotsec_manager_init(&rig.manager, &rig.config), IOTSEC_ERR_REGISTRY);
    rig.durable.poly.revoked_count = 7;
    rig.durable.poly.carried = 8;
    assert_int_equal(iotsec_manager_init(&rig.manager, &rig.config), IOTSEC_ERR_REGISTRY);
    rig.durable.poly.revoked_count = 8;
    manager_start();
}

/* Neither a share nor a coefficient is in the manager's memory between two calls. */
static void nothing_of_it_stays(void **state)
{
    static const struct {
        const void *at;
        size_t len;
    } places[] = {
        { &rig.manager, sizeof rig.manager },
        { rig.contacts, sizeof rig.contacts },
        { rig.deliveries, sizeof rig.deliveries },
        { rig.sessions, sizeof rig.sessions },
        { rig.tx, sizeof rig.tx },
        { rig.groups, sizeof rig.groups },
        { rig.members, sizeof rig.members },
    };
    uint8_t secret[16];
    size_t p;
    size_t i;
    uint32_t k;

    (void)state;
    join(0, 3);
    DEV(1)->share_mute = true;
    for (k = 0; k < 3; k++) {
        ask(DEV(k));
    }
    settle();
    assert_int_equal(iotsec_manager_evict(&rig.manager, 3), IOTSEC_OK);
    for (k = 0; k < 2 * (DEGREE + 1) + 231; k++) {
        if (k < 2 * (DEGREE + 1)) {
            expected_element(1 + k % 2, k / 2, secret);
        } else {
            memcpy(secret, rig.coefficients[k - 2 * (DEGREE + 1)], 16);
        }
        for (p = 0; p < sizeof places / sizeof places[0]; p++) {
            for (i = 0; i + 8 <= places[p].len; i++) {
                if (memcmp((const uint8_t *)places[p].at + i, secret + 4, 8) == 0) {
                    fail_msg("secret %u in place %zu", k, p);
                }
            }
        }
    }
}

/* ---- Bad days ---- */

static void shares_survive_losses(void **state)
{
    uint32_t seed;
    size_t i;

    for (seed = 1; seed <= 5; seed++) {
        again(state);
        rig.random = seed;
        join(0, 12);
        rig.loss = 10 * seed;
        for (i = 0; i < 12; i++) {
            ask(DEV(i));
        }
        run(20000);
        assert_int_equal(iotsec_manager_evict(&rig.manager, 12), IOTSEC_OK);
        run(60000);
        for (i = 0; i < 11; i++) {
            ask(DEV(i)); /* the first one may have been lost */
        }
        run(120000);
        rig.loss = 0;
        for (i = 0; i < 11; i++) {
            ask(DEV(i));
        }
        run(10000);
        for (i = 0; i < 11; i++) {
            assert_share(DEV(i));
            assert_in_range(count_events(IOTSEC_MANAGER_SHARE, DEV(i)->number), 1, 2);
        }
        assert_int_equal(rig.manager.deliveries_used, 0);
    }
}

/* An acknowledgement counts for its own message and once, whenever it comes. */
static void late_acknowledgements_move_nothing(void **state)
{
    uint8_t id;

    (void)state;
    join(0, 1);
    DEV(0)->share_mute = true;
    ask(DEV(0));
    settle();
    id = DEV(0)->share_message;
    run(1000); /* it is repeated under the same ID */
    assert_true(DEV(0)->shares > 1);
    assert_int_equal(DEV(0)->share_message, id);
    DEV(0)->shares = 0;
    device_acknowledge(DEV(0), id, IOTSEC_KM_DONE);
    device_acknowledge(DEV(0), id, IOTSEC_KM_DONE);
    device_acknowledge(DEV(0), id, IOTSEC_KM_NO_ROOM);
    settle();
    assert_int_equal(DEV(0)->shares, 1);
    assert_int_equal(DEV(0)->share_first, CHUNK);
    assert_int_equal(rig.manager.stats.drops[IOTSEC_DROP_UNEXPECTED], 2);
    assert_int_equal(count_events(IOTSEC_MANAGER_SHARE_REFUSED, 0), 0);
    id = DEV(0)->share_message;
    /* a renewal: what acknowledges the old share says nothing of the new one */
    assert_int_equal(iotsec_manager_poly_renew(&rig.manager, DEGREE, 1), IOTSEC_OK);
    (void)iotsec_manager_poll(&rig.manager);
    device_acknowledge(DEV(0), id, IOTSEC_KM_DONE);
    settle();
    assert_int_equal(DEV(0)->share.generation, 2);
    assert_int_equal(DEV(0)->share.held, CHUNK);
    DEV(0)->share_mute = false;
    run(5000);
    assert_share(DEV(0));
    assert_int_equal(count_events(IOTSEC_MANAGER_SHARE, 1), 1);
}

static void a_share_goes_on_in_the_next_session(void **state)
{
    uint32_t old;

    (void)state;
    join(0, 1);
    ask(DEV(0));
    while (DEV(0)->share.held + CHUNK <= DEGREE) { /* one datagram at a time: the last one never comes */
        static struct packet p;

        assert_true(rig.queue_len != 0);
        p = rig.queue[0];
        memmove(&rig.queue[0], &rig.queue[1], --rig.queue_len * sizeof p);
        arriving_commits = p.commits;
        if (iotsec_addr_equal(&p.to, &rig.addr)) {
            (void)iotsec_manager_input(&rig.manager, &p.from, p.data, p.len);
        } else {
            (void)iotsec_dtls_input(&DEV(0)->dtls, &p.from, p.data, p.len);
        }
    }
    rig.queue_len = 0;
    old = DEV(0)->shares;
    restart();
    device_boot(DEV(0));
    join(0, 1);
    ask(DEV(0));
    settle();
    assert_share(DEV(0));
    assert_int_equal(DEV(0)->shares, old + 1);
    /* and who has everything is told so */
    restart();
    device_boot(DEV(0));
    join(0, 1);
    ask(DEV(0));
    settle();
    assert_int_equal(DEV(0)->answer, IOTSEC_KM_DONE);
    assert_int_equal(DEV(0)->shares, old + 1);
}

static void a_renewal_begins_anew(void **state)
{
    int overlap;
    size_t i;

    for (overlap = 0; overlap < 2; overlap++) {
        again(state);
        join(0, 4);
        DEV(1)->share_mute = true; /* in the middle; the first has everything already */
        DEV(2)->share_mute = true;
        for (i = 0; i < 3; i++) {
            ask(DEV(i));
        }
        settle();
        device_acknowledge(DEV(2), DEV(2)->share_message, IOTSEC_KM_NO_ROOM); /* muted */
        DEV(2)->share_mute = false;
        assert_int_equal(DEV(1)->share.held, CHUNK);
        assert_int_equal(iotsec_manager_poly_renew(&rig.manager, 9, overlap), IOTSEC_OK);
        DEV(1)->share_mute = false;
        run(5000);
        for (i = 0; i < 3; i++) {
            assert_share(DEV(i));
            assert_int_equal(DEV(i)->share.generation, 2);
            assert_int_equal(DEV(i)->share.gentle, overlap);
        }
        assert_int_equal(count_events(IOTSEC_MANAGER_SHARE, 1), 2);
        assert_int_equal(count_events(IOTSEC_MANAGER_SHARE, 2), 1);
        assert_int_equal(last_event(IOTSEC_MANAGER_SHARE)->key_number, 2);
        assert_int_equal(DEV(3)->shares, 0);
        assert_pairs(3);
    }
}

static void who_has_no_room_is_let_alone(void **state)
{
    (void)state;
    join(0, 1);
    DEV(0)->share_result = IOTSEC_KM_NO_ROOM;
    ask(DEV(0));
    run(60000);
    assert_int_equal(DEV(0)->shares, 1);
    assert_int_equal(count_events(IOTSEC_MANAGER_SHARE_REFUSED, 1), 1);
    assert_int_equal(last_event(IOTSEC_MANAGER_SHARE_REFUSED)->reason, IOTSEC_ERR_DEGREE);
    assert_int_equal(last_event(IOTSEC_MANAGER_SHARE_REFUSED)->key_number, 1);
    assert_int_equal(iotsec_manager_evict(&rig.manager, 9), IOTSEC_OK);
    ask(DEV(0));
    run(60000);
    assert_int_equal(DEV(0)->answer, IOTSEC_KM_DONE);
    assert_int_equal(DEV(0)->shares + DEV(0)->marks, 1);
    assert_int_equal(count_events(IOTSEC_MANAGER_SHARE, 0), 0);
    DEV(0)->share_result = IOTSEC_KM_DONE;
    assert_int_equal(iotsec_manager_poly_renew(&rig.manager, 3, 0), IOTSEC_OK);
    run(5000);
    assert_share(DEV(0));
}

/* FAILED, CONFLICT: not now. Silence: not before it is heard again. */
static void who_fails_is_asked_again(void **state)
{
    static const int results[] = { IOTSEC_KM_FAILED, IOTSEC_KM_CONFLICT };
    size_t i;

    for (i = 0; i < sizeof results / sizeof results[0]; i++) {
        again(state);
        join(0, 1);
        DEV(0)->share_result = results[i];
        ask(DEV(0));
        run(3000);
        assert_true(DEV(0)->shares > 2);
        DEV(0)->share_result = IOTSEC_KM_DONE;
        run(5000);
        assert_share(DEV(0));
        assert_int_equal(count_events(IOTSEC_MANAGER_UNREACHABLE, 0), 0);
        DEV(0)->share_mute = true;
        assert_int_equal(iotsec_manager_evict(&rig.manager, 9), IOTSEC_OK);
        run(120000);
        assert_int_equal(DEV(0)->marks, 32);
        assert_int_equal(count_events(IOTSEC_MANAGER_UNREACHABLE, 1), 1);
        assert_int_equal(iotsec_manager_poly_renew(&rig.manager, DEGREE, 0), IOTSEC_OK);
        DEV(0)->shares = 0;
        run(60000);
        assert_int_equal(DEV(0)->shares, 0);
        DEV(0)->share_mute = false;
        device_request(DEV(0), IOTSEC_KM_GROUP_LEAVE, GROUP_B, 0, 0, 0);
        run(5000);
        assert_int_equal(DEV(0)->shares, MESSAGES(DEGREE + 1));
        assert_share(DEV(0));
        assert_int_equal(count_events(IOTSEC_MANAGER_SHARE, 1), 2);
    }
}

static void a_device_may_be_ahead(void **state)
{
    static const struct {
        uint32_t ahead;
        uint32_t next;  /* generation, after a renewal */
        uint32_t after; /* after it has said so again, and another one */
        uint8_t gentle; /* the one before is the registry's */
        uint8_t gentle_after;
    } rows[] = {
        /*  1 */ { 2, 3, 4, 0, 1 },
        /*  2 */ { 65, 66, 67, 0, 1 },
        /*  3 */ { 66, 2, 67, 1, 0 }, /* 65 ahead, then 64 */
        /*  4 */ { UINT32_MAX, 2, 3, 1, 1 },
    };
    size_t i;

    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        again(state);
        join(0, 2);
        assert_int_equal(iotsec_manager_evict(&rig.manager, 100), IOTSEC_OK);
        say_status(DEV(0), rows[i].ahead, 0, 0, 3);
        settle();
        assert_int_equal(DEV(0)->answer, IOTSEC_KM_FAILED);
        assert_int_equal(DEV(0)->shares, 0);
        assert_int_equal(last_event(IOTSEC_MANAGER_AHEAD)->device, 1);
        assert_int_equal(last_event(IOTSEC_MANAGER_AHEAD)->reason, IOTSEC_ERR_EPOCH);
        assert_int_equal(last_event(IOTSEC_MANAGER_AHEAD)->group_id, 0);
        assert_int_equal(last_event(IOTSEC_MANAGER_AHEAD)->key_number, rows[i].ahead);
        assert_int_equal(iotsec_manager_poly_renew(&rig.manager, DEGREE, 1), IOTSEC_OK);
        if (durable()->generation != rows[i].next || durable()->gentle != rows[i].gentle ||
            durable()->revoked_count != rows[i].gentle) {
            fail_msg("row %zu: %u, gentle %u", i + 1, durable()->generation, durable()->gentle);
        }
        DEV(0)->next_id--; /* FAILED: it tries again */
        say_status(DEV(0), rows[i].ahead, 0, 0, 3);
        settle();
        if (rows[i].next > rows[i].ahead) {
            assert_share(DEV(0));
        } else {
            assert_int_equal(DEV(0)->answer, IOTSEC_KM_FAILED);
            assert_int_equal(DEV(0)->shares, 0);
        }
        assert_int_equal(iotsec_manager_poly_renew(&rig.manager, DEGREE, 1), IOTSEC_OK);
        assert_int_equal(durable()->generation, rows[i].after);
        assert_int_equal(durable()->gentle, rows[i].gentle_after);
    }
    /* the one farthest ahead counts */
    again(state);
    join(0, 2);
    say_status(DEV(0), 9, 0, 0, 0);
    settle();
    say_status(DEV(1), 3, 0, 0, 0);
    settle();
    assert_int_equal(iotsec_manager_poly_renew(&rig.manager, DEGREE, 1), IOTSEC_OK);
    assert_int_equal(durable()->generation, 10);
    /* a registry from before the domain's first polynomial */
    teardown(state);
    setup(state);
    join(0, 1);
    say_status(DEV(0), 7, 0, 0, 0);
    settle();
    assert_int_equal(DEV(0)->answer, IOTSEC_KM_FAILED);
    assert_int_equal(iotsec_manager_poly_renew(&rig.manager, DEGREE, 1), IOTSEC_OK);
    assert_int_equal(durable()->generation, 8);
}

/* ---- Revocation ---- */

static void an_eviction_reaches_everybody(void **state)
{
    uint32_t evicted_shares;
    size_t i;

    (void)state;
    join(0, 6);
    for (i = 0; i < 5; i++) {
        DEV(i)->share_mute = i == 1 || i == 4; /* in the middle */
        ask(DEV(i));
    }
    settle();
    assert_int_equal(DEV(4)->share.held, CHUNK);
    evicted_shares = DEV(4)->shares;
    assert_int_equal(iotsec_manager_evict(&rig.manager, 5), IOTSEC_OK);
    assert_int_equal(durable()->revoked_count, 1);
    assert_true(is_marked(5));
    DEV(1)->share_mute = false;
    DEV(4)->share_mute = false;
    if (DEV(4)->session != 0) {
        ask(DEV(4));
    }
    run(60000);
    for (i = 0; i < 4; i++) {
        assert_share(DEV(i));
    }
    assert_int_equal(count_events(IOTSEC_MANAGER_SHARE, 1), 2);
    assert_int_equal(count_events(IOTSEC_MANAGER_SHARE, 2), 1); /* with the mark */
    assert_int_equal(DEV(5)->marks, 0);
    /* the evicted one gets nothing more, in this session or another */
    assert_int_equal(DEV(4)->shares, evicted_shares);
    assert_int_equal(DEV(4)->evicted, 1);
    DEV(4)->share_mute = true;
    device_join(DEV(4), 0, 0);
    settle();
    assert_int_equal(DEV(4)->refused, 1);
    assert_int_equal(iotsec_manager_poly_renew(&rig.manager, DEGREE, 0), IOTSEC_OK);
    run(60000);
    assert_int_equal(DEV(4)->shares, evicted_shares);
    assert_int_equal(DEV(4)->marks, 0);
}

/* Its acknowledgement of EVICTED is lost: the session still stands, and gets nothing. */
static void an_evicted_device_gets_nothing_more(void **state)
{
    (void)state;
    join(0, 2);
    ask(DEV(0));
    ask(DEV(1));
    settle();
    DEV(0)->mute = true;
    DEV(0)->shares = 0;
    assert_int_equal(iotsec_manager_evict(&rig.manager, 1), IOTSEC_OK);
    run(1000);
    assert_int_not_equal(DEV(0)->session, 0);
    say_status(DEV(0), 0, 0, 0, 0);
    settle();
    assert_int_equal(iotsec_manager_poly_renew(&rig.manager, DEGREE, 1), IOTSEC_OK);
    run(1000);
    say_status(DEV(0), 0, 0, 0, 0);
    run(60000);
    assert_int_equal(DEV(0)->shares + DEV(0)->marks, 0);
    assert_int_equal(DEV(0)->answer, -1);
    assert_share(DEV(1));
}

static void a_mark_is_made_once(void **state)
{
    struct iotsec_registry_poly before;

    (void)state;
    assert_int_equal(iotsec_manager_evict(&rig.manager, 5), IOTSEC_OK);
    before = *durable();
    assert_int_equal(iotsec_manager_evict(&rig.manager, 5), IOTSEC_OK);
    assert_memory_equal(&before, durable(), sizeof before);
    /* who has no identity has no point */
    assert_int_equal(iotsec_manager_evict(&rig.manager, NUMBERS), IOTSEC_OK);
    assert_memory_equal(&before, durable(), sizeof before);
    assert_int_equal(count_events(IOTSEC_MANAGER_DEVICE_EVICTED, NUMBERS), 1);
    /* and who leaves by itself gets no mark */
    join(0, 1);
    ask(DEV(0));
    settle();
    device_request(DEV(0), IOTSEC_KM_GROUP_LEAVE, GROUP_A, 0, 0, 0);
    settle();
    device_request(DEV(0), IOTSEC_KM_DOMAIN_LEAVE, 0, 0, 0, 0);
    settle();
    assert_int_equal(iotsec_manager_expel(&rig.manager, 1, GROUP_A), IOTSEC_ERR_NOT_FOUND);
    assert_memory_equal(&before, durable(), sizeof before);
}

static void who_leaves_gets_nothing_before_it_asks_again(void **state)
{
    (void)state;
    join(0, 2);
    DEV(0)->share_mute = true;
    ask(DEV(0));
    ask(DEV(1));
    settle();
    assert_int_equal(DEV(0)->shares, 1);
    device_request(DEV(0), IOTSEC_KM_GROUP_LEAVE, GROUP_A, 0, 0, 0);
    run(1000);
    assert_true(DEV(0)->shares > 1); /* a group is not the domain */
    DEV(0)->shares = 0;
    device_request(DEV(0), IOTSEC_KM_DOMAIN_LEAVE, 0, 0, 0, 0);
    settle();
    DEV(0)->share_mute = false;
    assert_int_equal(iotsec_manager_poly_renew(&rig.manager, DEGREE, 1), IOTSEC_OK);
    run(60000);
    assert_int_equal(DEV(0)->shares, 0);
    assert_share(DEV(1));
    assert_int_equal(count_events(IOTSEC_MANAGER_SHARE, 1), 0);
    assert_int_equal(count_events(IOTSEC_MANAGER_UNREACHABLE, 0), 0);
    ask(DEV(0));
    settle();
    assert_share(DEV(0));
}

static void a_full_list_brings_a_new_polynomial(void **state)
{
    uint32_t i;

    (void)state;
    join(0, 3);
    ask(DEV(0));
    settle();
    for (i = 0; i < IOTSEC_REVOKED_MAX; i++) {
        assert_int_equal(durable()->revoked_count, i);
        assert_int_equal(iotsec_manager_evict(&rig.manager, 100 + i), IOTSEC_OK);
        if (i % 10 == 3) {
            run(1000);
        }
    }
    run(5000);
    assert_int_equal(durable()->generation, 1);
    assert_int_equal(durable()->revoked_count, IOTSEC_REVOKED_MAX);
    assert_share(DEV(0));
    ask(DEV(1)); /* share and 32 marks in a row */
    settle();
    assert_share(DEV(1));
    assert_int_equal(DEV(1)->marks, 5);
    assert_int_equal(count_events(IOTSEC_MANAGER_SHARE, 2), 1);
    assert_int_equal(iotsec_manager_evict(&rig.manager, 110), IOTSEC_OK); /* is in it */
    assert_int_equal(durable()->generation, 1);
    assert_int_equal(count_events(IOTSEC_MANAGER_POLY, 0), 0);
    assert_int_equal(iotsec_manager_evict(&rig.manager, 3), IOTSEC_OK);
    assert_int_equal(durable()->generation, 2);
    assert_int_equal(durable()->degree, DEGREE);
    assert_int_equal(durable()->gentle, 0);
    assert_int_equal(durable()->revoked_count, 0);
    assert_int_equal(count_events(IOTSEC_MANAGER_POLY, 0), 1);
    assert_int_equal(last_event(IOTSEC_MANAGER_POLY)->reason, IOTSEC_ERR_FULL);
    assert_int_equal(last_event(IOTSEC_MANAGER_POLY)->key_number, 2);
    DEV(2)->shares = 0;
    run(60000);
    assert_share(DEV(0));
    assert_share(DEV(1));
    assert_pairs(2);
    assert_int_equal(DEV(2)->shares, 0);
    assert_int_equal(iotsec_manager_evict(&rig.manager, 100), IOTSEC_OK); /* of the old list, whose shares have ended */
    assert_int_equal(durable()->revoked_count, 1);
    run(1000);
    assert_share(DEV(0)); /* marks are counted anew, too */
    assert_share(DEV(1));
}

/* Marks that were carried over take their place in the list. */
static void a_list_is_full_with_carried_marks(void **state)
{
    static const uint32_t rows[] = { 1, 20, 31, IOTSEC_REVOKED_MAX }; /* carried */
    size_t i;
    uint32_t k;

    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        again(state);
        join(0, 1);
        ask(DEV(0));
        for (k = 0; k < IOTSEC_REVOKED_MAX; k++) {
            if (k == rows[i]) {
                assert_int_equal(iotsec_manager_poly_renew(&rig.manager, DEGREE, 1), IOTSEC_OK);
            }
            assert_int_equal(iotsec_manager_evict(&rig.manager, 100 + k), IOTSEC_OK);
        }
        if (k == rows[i]) {
            assert_int_equal(iotsec_manager_poly_renew(&rig.manager, DEGREE, 1), IOTSEC_OK);
        }
        assert_int_equal(durable()->generation, 2);
        assert_int_equal(durable()->carried, rows[i]);
        assert_int_equal(durable()->revoked_count, IOTSEC_REVOKED_MAX);
        run(10000);
        assert_share(DEV(0));
        assert_int_equal(iotsec_manager_evict(&rig.manager, 2), IOTSEC_OK);
        assert_int_equal(durable()->generation, 3);
        assert_int_equal(durable()->gentle, 0);
        assert_int_equal(durable()->carried, 0);
        assert_int_equal(durable()->revoked_count, 0);
        assert_int_equal(last_event(IOTSEC_MANAGER_POLY)->reason, IOTSEC_ERR_FULL);
        run(10000);
        assert_share(DEV(0));
    }
}

/* ---- A registry that fails ---- */

enum action { RENEW, EVICT, EVICT_AT_LIMIT };

static enum iotsec_status act(enum action action)
{
    return action == RENEW ? iotsec_manager_poly_renew(&rig.manager, 9, 1) : iotsec_manager_evict(&rig.manager, 2);
}

static void every_failing_operation_changes_nothing(void **state)
{
    static const struct {
        enum action action;
        uint32_t operations;
    } rows[] = {
        /*  1 */ { RENEW, 15 }, /* begin, put_poly, coefficients of 8 short rows and 2 of two blocks, commit */
        /*  2 */ { EVICT, 7 }, /* begin, put_group, delete_member, put_evicted, point, put_poly, commit */
        /*  3 */ { EVICT_AT_LIMIT, 46 }, /* and 8 short rows, 8 of two blocks, 5 of three */
    };
    static uint8_t coefficients[231][16];
    size_t i;
    uint32_t n;
    uint32_t k;

    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (n = 1; n <= rows[i].operations + 1; n++) {
            struct store before;
            uint32_t operations;
            bool fails = n <= rows[i].operations;

            again(state);
            join(0, 2);
            for (k = 0; rows[i].action == EVICT_AT_LIMIT && k < IOTSEC_REVOKED_MAX; k++) {
                assert_int_equal(iotsec_manager_evict(&rig.manager, 100 + k), IOTSEC_OK);
            }
            ask(DEV(0));
            run(5000);
            assert_share(DEV(0));
            rig.event_count = 0;
            DEV(0)->shares = 0;
            DEV(0)->marks = 0;
            before = rig.durable;
            memcpy(coefficients, rig.coefficients, sizeof coefficients);
            operations = rig.operations;
            rig.fail_at = operations + n;
            if (act(rows[i].action) != (fails ? IOTSEC_ERR_REGISTRY : IOTSEC_OK)) {
                fail_msg("row %zu, operation %u", i + 1, n);
            }
            assert_int_equal(rig.operations, operations + n - !fails);
            rig.fail_at = 0;
            if (fails) {
                assert_memory_equal(&rig.durable, &before, sizeof before);
                assert_memory_equal(coefficients, rig.coefficients, sizeof coefficients);
                run(5000);
                assert_int_equal(DEV(0)->shares + DEV(0)->marks, 0);
                assert_int_equal(rig.event_count, 0);
                /* nor does it come to hold with the next transaction that succeeds */
                assert_int_equal(iotsec_manager_group_renew(&rig.manager, GROUP_B, 0), IOTSEC_OK);
                run(1000);
                assert_int_equal(DEV(0)->shares + DEV(0)->marks, 0);
                ask(DEV(0));
                settle();
                assert_int_equal(DEV(0)->answer, IOTSEC_KM_DONE);
                assert_int_equal(act(rows[i].action), IOTSEC_OK);
            }
            run(5000);
            assert_int_equal(durable()->generation, rows[i].action == EVICT ? 1 : 2);
            assert_share(DEV(0));
            assert_int_equal(count_events(IOTSEC_MANAGER_POLY, 0), rows[i].action != EVICT);
        }
    }
    /* and with no random numbers */
    again(state);
    rig.random_fails = true;
    assert_int_equal(act(RENEW), IOTSEC_ERR_RANDOM);
    rig.random_fails = false;
    assert_int_equal(durable()->generation, 1);
    assert_int_equal(act(RENEW), IOTSEC_OK);
    assert_int_equal(durable()->generation, 2);
    assert_int_equal(count_events(IOTSEC_MANAGER_POLY, 0), 1);
}

/* What cannot be read is not sent, and comes with a later repeat. */
static void an_unreadable_polynomial_sends_nothing(void **state)
{
    uint32_t n;

    const uint32_t reads = MESSAGES(DEGREE + 1) + 21 * 3; /* a point for each message, and 21 times three blocks */

    for (n = 1; n <= reads + 1; n++) {
        uint32_t operations;

        again(state);
        join(0, 1);
        operations = rig.operations;
        rig.fail_at = operations + n;
        ask(DEV(0));
        settle();
        assert_int_equal(DEV(0)->answer, IOTSEC_KM_KEYS_FOLLOW);
        if (n <= reads) {
            assert_int_equal(rig.operations, operations + n);
            assert_int_equal(DEV(0)->share.held % CHUNK, 0);
            run(5000);
        }
        assert_share(DEV(0));
        assert_int_equal(DEV(0)->shares, MESSAGES(DEGREE + 1));
    }
    /* For ever so long: the device is not given up for that, and its keys come all the same. */
    again(state);
    join(0, 1);
    ask(DEV(0));
    rig.fail_at = rig.operations + 3;
    rig.fail_more = 5000;
    settle();
    run(600000);
    assert_int_equal(DEV(0)->shares, 0);
    assert_int_equal(count_events(IOTSEC_MANAGER_UNREACHABLE, 0), 0);
    rig.fail_at = 0;
    run(10000);
    assert_share(DEV(0));
}

static void survives_power_loss_around_every_commit(void **state)
{
    static int gone; /* survives the jump */

    for (gone = 0; gone < 2; gone++) {
        again(state);
        join(0, 2);
        ask(DEV(0));
        settle();
        assert_share(DEV(0));
        rig.crash_at = rig.commits + 1;
        rig.crash_after = gone != 0;
        if (setjmp(rig.crash) == 0) {
            (void)act(RENEW);
            fail_msg("no crash");
        }
        rig.crash_at = 0;
        assert_int_equal(durable()->generation, 1 + gone);
        restart();
        device_boot(DEV(0));
        join(0, 1);
        ask(DEV(0));
        settle();
        assert_int_equal(DEV(0)->answer, gone != 0 ? IOTSEC_KM_KEYS_FOLLOW : IOTSEC_KM_DONE);
        assert_share(DEV(0));
    }
}

/* ---- The pool ---- */

static uint32_t count_deliveries(bool shares)
{
    uint32_t n = 0;
    uint16_t i;

    for (i = 0; i < rig.manager.deliveries_used; i++) {
        n += (rig.deliveries[i].kind == IOTSEC_KM_SHARE || rig.deliveries[i].kind == IOTSEC_KM_REVOKED) == shares;
    }
    return n;
}

static void shares_leave_room_for_keys(void **state)
{
    static const struct {
        uint16_t pool;
        uint32_t shares; /* at once */
    } rows[] = {
        /*  1 */ { 1, 1 },
        /*  2 */ { 2, 1 },
        /*  3 */ { 3, 2 },
        /*  4 */ { 4, 3 },
        /*  5 */ { 6, 4 },
        /*  6 */ { 8, 6 },
        /*  7 */ { 12, 9 },
    };
    size_t i;
    size_t k;

    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        again(state);
        rig.config.delivery_count = rows[i].pool;
        restart();
        join(0, 14);
        for (k = 0; k < 13; k++) {
            DEV(k)->share_mute = true;
            ask(DEV(k));
        }
        run(100);
        if (count_deliveries(true) != rows[i].shares) {
            fail_msg("row %zu: %u", i + 1, count_deliveries(true));
        }
        if (rows[i].pool != 1) { /* keys get through at once, though nobody acknowledges a share */
            assert_int_equal(iotsec_manager_group_renew(&rig.manager, GROUP_A, 0), IOTSEC_OK);
            run(1000);
            for (k = 0; k < 14; k++) {
                assert_member(DEV(k), GROUP_A);
            }
        }
        for (k = 0; k < 13; k++) {
            DEV(k)->share_mute = false;
        }
        run(60000);
        for (k = 0; k < 13; k++) {
            assert_share(DEV(k));
        }
        assert_int_equal(DEV(13)->shares, 0);
        rig.config.delivery_count = DEVICES;
    }
}

/* One delivery at a time, and every acknowledgement of a piece could be followed by the next piece. */
static void keys_come_before_the_next_piece(void **state)
{
    size_t i;

    (void)state;
    rig.config.delivery_count = 1;
    restart();
    assert_int_equal(iotsec_manager_poly_renew(&rig.manager, 255, 0), IOTSEC_OK);
    join(0, 8);
    DEV(0)->share_mute = true;
    ask(DEV(0));
    settle();
    assert_int_equal(count_deliveries(true), 1);
    assert_int_equal(iotsec_manager_group_renew(&rig.manager, GROUP_A, 0), IOTSEC_OK);
    (void)iotsec_manager_poll(&rig.manager);
    assert_int_equal(count_deliveries(true), 1); /* what has begun goes on */
    DEV(0)->share_mute = false;
    device_acknowledge(DEV(0), DEV(0)->share_message, IOTSEC_KM_DONE);
    for (i = 0; i < 8; i++) {
        settle();
        assert_true(DEV(0)->share.held < 3 * CHUNK);
        (void)iotsec_manager_poll(&rig.manager);
    }
    settle();
    for (i = 0; i < 8; i++) {
        assert_member(DEV(i), GROUP_A);
    }
    run(20000);
    assert_share(DEV(0));
    rig.config.delivery_count = DEVICES;
}

/* More contacts than one call looks at: the manager wants to be called again at once. */
static uint32_t meddler;
static unsigned meddlings;

/* An application that renews and evicts from within whatever it is told. */
static void meddle(const struct iotsec_manager_event *event)
{
    rig.event_count = 0; /* there are more of them than the rig keeps */
    if (meddlings == 0) {
        return;
    }
    meddlings--;
    meddler = meddler * 1664525u + 1013904223u;
    switch (meddler >> 24 & 3) {
    case 0:
        assert_int_equal(iotsec_manager_poly_renew(&rig.manager, 1 + (meddler >> 16) % DEGREE, (int)(meddler >> 12 & 1)), IOTSEC_OK);
        break;
    case 1:
        if (event->device > 4) {
            (void)iotsec_manager_evict(&rig.manager, event->device);
        }
        break;
    case 2:
        assert_int_equal(iotsec_manager_evict(&rig.manager, 100 + (meddler >> 16) % 50), IOTSEC_OK);
        break;
    default:
        (void)iotsec_manager_group_renew(&rig.manager, GROUP_A, 0);
        break;
    }
}

static void callbacks_may_call_back_in(void **state)
{
    uint32_t seed;
    size_t i;

    for (seed = 1; seed <= 40; seed++) {
        again(state);
        join(0, 6);
        meddler = seed;
        meddlings = 30;
        rig.on_event = meddle;
        for (i = 0; i < 6; i++) {
            ask(DEV(i));
        }
        run(20000);
        assert_int_equal(iotsec_manager_poly_renew(&rig.manager, DEGREE, 1), IOTSEC_OK);
        run(20000);
        assert_int_equal(meddlings, 0);
        assert_int_equal(iotsec_manager_poly_renew(&rig.manager, DEGREE, 0), IOTSEC_OK);
        run(20000);
        for (i = 0; i < 4; i++) { /* the others may be evicted */
            assert_share(DEV(i));
        }
        assert_int_equal(rig.manager.deliveries_used, 0);
        rig.on_event = NULL;
    }
}

static void many_contacts_take_several_looks(void **state)
{
    static struct iotsec_manager_contact contacts[200];
    uint32_t looks = 0;

    (void)state;
    rig.config.contacts = contacts;
    rig.config.contact_count = 200;
    restart();
    join(0, 2);
    ask(DEV(0));
    ask(DEV(1));
    settle();
    rig.manager.walk_slot[WALK_SHARES] = 1; /* the first one comes last */
    assert_int_equal(iotsec_manager_poly_renew(&rig.manager, DEGREE, 0), IOTSEC_OK);
    while (iotsec_manager_poll(&rig.manager) == 0) {
        looks++;
    }
    assert_int_equal(looks, 3);
    settle();
    assert_share(DEV(0));
    assert_share(DEV(1));
    iotsec_manager_wipe(&rig.manager);
    rig.config.contacts = rig.contacts;
    rig.config.contact_count = DEVICES;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(coefficients_are_random, setup, teardown),
        cmocka_unit_test_setup_teardown(a_renewal_is_another_polynomial, setup_poly, teardown),
        cmocka_unit_test_setup_teardown(an_overlap_carries_marks_over, setup_poly, teardown),
        cmocka_unit_test_setup_teardown(lists_are_those_of_a_model, setup_poly, teardown),
        cmocka_unit_test_setup_teardown(carried_marks_come_with_the_new_share, setup_poly, teardown),
        cmocka_unit_test_setup_teardown(degrees_have_a_range, setup, teardown),
        cmocka_unit_test_setup_teardown(generations_run_out, setup_poly, teardown),
        cmocka_unit_test_setup_teardown(every_device_gets_its_share, setup_poly, teardown),
        cmocka_unit_test_setup_teardown(pieces_fit_the_link, setup_poly, teardown),
        cmocka_unit_test_setup_teardown(who_does_not_ask_gets_nothing, setup_poly, teardown),
        cmocka_unit_test_setup_teardown(shares_go_on_where_the_device_says, setup_poly, teardown),
        cmocka_unit_test_setup_teardown(a_repeated_request_is_answered_again, setup_poly, teardown),
        cmocka_unit_test_setup_teardown(a_new_request_goes_on_elsewhere, setup_poly, teardown),
        cmocka_unit_test_setup_teardown(a_group_cancels_no_share, setup_poly, teardown),
        cmocka_unit_test_setup_teardown(a_domain_may_have_none, setup, teardown),
        cmocka_unit_test_setup_teardown(a_registry_has_all_of_it_or_nothing, setup_poly, teardown),
        cmocka_unit_test_setup_teardown(nothing_of_it_stays, setup_poly, teardown),
        cmocka_unit_test_setup_teardown(shares_survive_losses, setup_poly, teardown),
        cmocka_unit_test_setup_teardown(late_acknowledgements_move_nothing, setup_poly, teardown),
        cmocka_unit_test_setup_teardown(a_share_goes_on_in_the_next_session, setup_poly, teardown),
        cmocka_unit_test_setup_teardown(a_renewal_begins_anew, setup_poly, teardown),
        cmocka_unit_test_setup_teardown(who_has_no_room_is_let_alone, setup_poly, teardown),
        cmocka_unit_test_setup_teardown(who_fails_is_asked_again, setup_poly, teardown),
        cmocka_unit_test_setup_teardown(a_device_may_be_ahead, setup_poly, teardown),
        cmocka_unit_test_setup_teardown(an_eviction_reaches_everybody, setup_poly, teardown),
        cmocka_unit_test_setup_teardown(an_evicted_device_gets_nothing_more, setup_poly, teardown),
        cmocka_unit_test_setup_teardown(a_mark_is_made_once, setup_poly, teardown),
        cmocka_unit_test_setup_teardown(who_leaves_gets_nothing_before_it_asks_again, setup_poly, teardown),
        cmocka_unit_test_setup_teardown(a_full_list_brings_a_new_polynomial, setup_poly, teardown),
        cmocka_unit_test_setup_teardown(a_list_is_full_with_carried_marks, setup_poly, teardown),
        cmocka_unit_test_setup_teardown(every_failing_operation_changes_nothing, setup_poly, teardown),
        cmocka_unit_test_setup_teardown(an_unreadable_polynomial_sends_nothing, setup_poly, teardown),
        cmocka_unit_test_setup_teardown(survives_power_loss_around_every_commit, setup_poly, teardown),
        cmocka_unit_test_setup_teardown(shares_leave_room_for_keys, setup_poly, teardown),
        cmocka_unit_test_setup_teardown(keys_come_before_the_next_piece, setup_poly, teardown),
        cmocka_unit_test_setup_teardown(callbacks_may_call_back_in, setup_poly, teardown),
        cmocka_unit_test_setup_teardown(many_contacts_take_several_looks, setup_poly, teardown),
    };

    return cmocka_run_group_tests_name("manager_poly", tests, NULL, NULL);
}

#else

int main(void)
{
    return 0;
}

#endif
