/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The store of the MC1322x port over a fake flash, beside a model that remembers what each slot has to hold. The flash cuts
 * the power at any write or erasure; a bit that was to change in it has changed, or has not, or reads differently from one
 * time to the next until it is written or erased again. Places wear out, and bits go bad by themselves.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "flash.h"
#include "store.h"

#define SECTOR FLASH_SECTOR_BYTES
#define FIRST (FLASH_STORE_FIRST * SECTOR)
#define BYTES (FLASH_STORE_SECTORS * SECTOR)
#define ROOM 12u /* what STORE_COST adds */

/* ---- Random numbers ---- */

static uint64_t seed_now;

static uint32_t rnd(uint32_t below)
{
    seed_now = seed_now * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((seed_now >> 33) % below);
}

/* ---- The flash ---- */

static struct flash {
    uint8_t byte[BYTES];
    uint8_t unsure[BYTES];  /* bits that were half written: they read as the present start likes */
    uint8_t stuck_1[BYTES]; /* do not become 0 any more */
    uint8_t stuck_0[BYTES]; /* do not become 1 any more */
} flash;
static unsigned zeros;       /* of 256 readings of an unsure bit, so many; it is another chip at another temperature */
static uint32_t operations;  /* writes and erasures so far */
static uint32_t refuse_at;   /* this write is done, and said to have failed */
static uint32_t cut_at;      /* the power fails in this one; 0: never */
static uint32_t erasures;
static uint32_t written;     /* bytes */
static jmp_buf power_cut;

/* `odds` of 8 bits that were to change have changed; of the others `doubt` of 8 have half. */
static uint8_t half_done(uint8_t from, uint8_t to, unsigned odds, unsigned doubt, uint8_t *unsure)
{
    uint8_t changing = (uint8_t)(from ^ to);
    unsigned bit;

    for (bit = 0; bit < 8; bit++) {
        uint8_t mask = (uint8_t)(1u << bit);

        if ((changing & mask) != 0) {
            if (rnd(8) < odds) {
                from ^= mask;
                *unsure &= (uint8_t)~mask;
            } else if (rnd(8) < doubt) {
                *unsure |= mask;
            }
        }
    }
    return from;
}

/* 0: the cut was a moment before; 8: it was all done. */
static unsigned cut_odds(void)
{
    static const unsigned odds[] = { 0, 1, 4, 7, 8 };

    return odds[rnd(5)];
}

static uint8_t read_byte(size_t at)
{
    uint8_t byte = flash.byte[at];
    unsigned bit;

    for (bit = 0; flash.unsure[at] >> bit != 0; bit++) {
        if ((flash.unsure[at] >> bit & 1) != 0) {
            uint8_t mask = (uint8_t)(1u << bit);

            byte = rnd(256) < zeros ? (uint8_t)(byte & ~mask) : (uint8_t)(byte | mask);
        }
    }
    return byte;
}

int flash_read(uint32_t address, void *data, size_t len)
{
    uint8_t *out = data;
    size_t i;

    assert_true(address >= FIRST && address + len <= FIRST + BYTES);
    for (i = 0; i < len; i++) {
        out[i] = read_byte(address - FIRST + i);
    }
    return 0;
}

int flash_write(uint32_t address, const void *data, size_t len)
{
    const uint8_t *in = data;
    bool cut = ++operations == cut_at;
    unsigned odds = cut ? cut_odds() : 0;
    unsigned doubt = cut ? rnd(9) : 0;
    int status = operations == refuse_at ? FLASH_ERR_VERIFY : 0;
    size_t i;

    assert_true(address >= FIRST && address + len <= FIRST + BYTES);
    assert_true(address / SECTOR == (address + len - 1) / SECTOR);
    for (i = 0; i < len; i++) {
        size_t at = address - FIRST + i;
        uint8_t wanted = (uint8_t)((flash.byte[at] & in[i]) | (flash.stuck_1[at] & flash.byte[at]));

        if (cut) {
            flash.byte[at] = half_done(flash.byte[at], wanted, odds, doubt, &flash.unsure[at]);
        } else {
            flash.byte[at] = wanted;
            flash.unsure[at] &= in[i]; /* a zero that is written once more is a sure one */
            if (read_byte(at) != in[i]) {
                status = FLASH_ERR_VERIFY;
            }
        }
    }
    written += (uint32_t)len;
    if (cut) {
        longjmp(power_cut, 1);
    }
    return status;
}

int flash_erase(unsigned sector)
{
    bool cut = ++operations == cut_at;
    unsigned odds = cut ? cut_odds() : 0;
    unsigned doubt = cut ? rnd(9) : 0;
    size_t at = (sector - FLASH_STORE_FIRST) * SECTOR;
    size_t end = at + SECTOR;
    int status = 0;

    assert_true(sector >= FLASH_STORE_FIRST && sector < FLASH_STORE_FIRST + FLASH_STORE_SECTORS);
    erasures++;
    for (; at < end; at++) {
        uint8_t wanted = (uint8_t)(0xFF & ~(flash.stuck_0[at] & ~flash.byte[at]));

        if (cut) {
            flash.byte[at] = half_done(flash.byte[at], wanted, odds, doubt, &flash.unsure[at]);
        } else {
            flash.byte[at] = wanted;
            flash.unsure[at] = 0;
            if (wanted != 0xFF) {
                status = FLASH_ERR_VERIFY;
            }
        }
    }
    if (cut) {
        longjmp(power_cut, 1);
    }
    return status;
}

/* ---- The model ---- */

struct value {
    uint16_t len;
    uint8_t data[STORE_VALUE_MAX];
};
static struct value model[STORE_SLOTS];
static struct value next;      /* what is being written */
static int next_slot = -1;     /* >= 0: a cut left it open whether that or the old value holds */
static unsigned slots_used;    /* of this run: 0 to slots_used - 1 */
static unsigned len_max;

static void reset(uint64_t seed, unsigned slots, unsigned len)
{
    seed_now = seed * 0x9E3779B97F4A7C15u + 1;
    memset(&flash, 0, sizeof flash);
    memset(flash.byte, 0xFF, sizeof flash.byte);
    memset(model, 0, sizeof model);
    operations = cut_at = refuse_at = erasures = written = 0;
    zeros = 128;
    next_slot = -1;
    slots_used = slots;
    len_max = len;
}

static bool holds(unsigned slot, const struct value *value)
{
    uint8_t data[STORE_VALUE_MAX];

    return store_read((uint16_t)slot, data, sizeof data) == value->len && memcmp(data, value->data, value->len) == 0;
}

/* Every slot has the value that the model has; the one that was being written may have the new one. */
static void check_all(const char *when)
{
    unsigned slot;

    for (slot = 0; slot < STORE_SLOTS; slot++) {
        if ((int)slot == next_slot && holds(slot, &next)) {
            model[slot] = next;
        } else if (!holds(slot, &model[slot])) {
            uint8_t data[STORE_VALUE_MAX];

            fail_msg("%s: slot %u answers %d, expected %u bytes%s", when, slot, store_read((uint16_t)slot, data, sizeof data),
                     model[slot].len, (int)slot == next_slot ? " or the new ones" : "");
        }
    }
    next_slot = -1;
}

/* One random change. True: it was done; false: refused, and the old value must stand. */
static bool change(void)
{
    unsigned slot = rnd(slots_used);
    int status;
    size_t i;

    /* small values are written often, as counters are */
    next.len = (uint16_t)(rnd(8) == 0 ? 0 : rnd(2) == 0 ? 1 + rnd(16) : rnd(len_max + 1));
    for (i = 0; i < next.len; i++) {
        next.data[i] = (uint8_t)(rnd(4) == 0 ? 0xFF : rnd(256));
    }
    next_slot = (int)slot;
    status = store_write((uint16_t)slot, next.data, next.len);
    next_slot = -1;
    if (status == STORE_OK) {
        model[slot] = next;
    }
    return status == STORE_OK;
}

/* store_open, or until the power fails in its `cut`th operation. True: it came through. */
static bool open_cut(uint32_t cut)
{
    static const unsigned often[] = { 0, 10, 128, 246, 256 };
    int status;

    zeros = often[rnd(5)];
    cut_at = cut != 0 ? operations + cut : 0;
    if (setjmp(power_cut) != 0) {
        cut_at = 0;
        return false;
    }
    status = store_open();
    cut_at = 0;
    if (status != STORE_OK) {
        fail_msg("store_open answers %d", status);
    }
    return true;
}

/* Changes until the power fails in the `cut`th operation, or `changes` are done. True: all are. */
static bool change_cut(uint32_t cut, unsigned changes, bool worn)
{
    volatile unsigned left = changes;

    cut_at = operations + cut;
    if (setjmp(power_cut) != 0) {
        cut_at = 0;
        return false;
    }
    for (; left > 0; left--) {
        bool done = change();

        assert_true(done || worn);
    }
    cut_at = 0;
    return true;
}

/* ---- Tests ---- */

static void keeps_values(void **state)
{
    uint8_t data[STORE_VALUE_MAX];
    uint8_t out[STORE_VALUE_MAX];
    struct store_status status;
    unsigned i;

    (void)state;
    reset(1, 1, 1);
    assert_int_equal(store_read(0, out, sizeof out), STORE_ERR_ARGUMENT); /* not open yet */
    assert_true(open_cut(0));
    for (i = 0; i < sizeof data; i++) {
        data[i] = (uint8_t)i;
    }
    assert_int_equal(store_read(7, out, sizeof out), 0);
    assert_int_equal(store_write(7, data, 256), 0);
    assert_int_equal(store_write(0, data + 1, 1), 0);
    assert_int_equal(store_write(STORE_SLOTS - 1, data, 5), 0);
    for (i = 0; i < 2; i++) {
        assert_int_equal(store_read(7, out, sizeof out), 256);
        assert_memory_equal(out, data, 256);
        assert_int_equal(store_read(0, out, sizeof out), 1);
        assert_int_equal(out[0], 1);
        assert_int_equal(store_read(STORE_SLOTS - 1, out, sizeof out), 5);
        memset(out, 0xAA, sizeof out);
        assert_int_equal(store_read(7, out, 100), 256); /* the first bytes, and how many there are */
        assert_memory_equal(out, data, 100);
        assert_int_equal(out[100], 0xAA);
        store_status(&status);
        assert_int_equal(status.used, STORE_COST(256) + STORE_COST(1) + STORE_COST(5));
        assert_true(status.capacity >= STORE_CAPACITY);
        assert_int_equal(status.damaged, 0);
        assert_true(open_cut(0));
    }
    assert_int_equal(store_erase(7), 0);
    assert_int_equal(store_erase(7), 0);
    assert_int_equal(store_erase(9), 0);
    assert_int_equal(store_read(7, out, sizeof out), 0);
    assert_true(open_cut(0));
    assert_int_equal(store_read(7, out, sizeof out), 0);
    assert_int_equal(store_write(STORE_SLOTS, data, 1), STORE_ERR_ARGUMENT);
    assert_int_equal(store_write(1, data, 257), STORE_ERR_ARGUMENT);
    assert_int_equal(store_write(1, NULL, 1), STORE_ERR_ARGUMENT);
    assert_int_equal(store_read(STORE_SLOTS, out, 1), STORE_ERR_ARGUMENT);
    assert_int_equal(store_erase(STORE_SLOTS), STORE_ERR_ARGUMENT);
}

static void leaves_a_newer_format_alone(void **state)
{
    struct flash before;
    uint32_t pair[2] = { 2u << 24 | 5, ~(2u << 24 | 5) };

    (void)state;
    reset(2, 1, 1);
    assert_true(open_cut(0));
    memset(flash.byte + 3 * SECTOR, 0xFF, SECTOR);
    memcpy(flash.byte + 3 * SECTOR, pair, sizeof pair);
    before = flash;
    assert_int_equal(store_open(), STORE_ERR_FORMAT);
    assert_memory_equal(flash.byte, before.byte, sizeof flash.byte);
    assert_int_equal(store_write(1, (const uint8_t *)"x", 1), STORE_ERR_ARGUMENT);
}

static void follows_a_model(void **state)
{
    static const struct {
        const char *name;
        unsigned slots, len;
    } rows[] = { { "few small", 3, 8 }, { "few large", 6, 256 }, { "many small", 120, 16 }, { "many of all sizes", 70, 256 } };
    unsigned row;
    unsigned i;

    (void)state;
    for (row = 0; row < sizeof rows / sizeof rows[0]; row++) {
        reset(row, rows[row].slots, rows[row].len);
        assert_true(open_cut(0));
        for (i = 0; i < 4000; i++) {
            assert_true(change());
            if (rnd(50) == 0) {
                assert_true(open_cut(0));
                check_all(rows[row].name);
            }
        }
        check_all(rows[row].name);
    }
}

/*
 * A long random run in segments; in each segment the power is cut at each single write and erasure in turn, and then once
 * more at each one that the recovery does.
 */
static void survives_a_cut_at_every_write(void **state)
{
    enum { CHANGES = 12, THOROUGH = 8 }; /* each eighth recovery is cut at all places */
    static const struct {
        const char *name;
        unsigned slots, len, segments;
    } rows[] = { { "counters", 4, 16, 40 }, { "records", 24, 120, 20 }, { "nearly full", 52, 256, 10 } };
    unsigned row;
    unsigned segment;

    (void)state;
    for (row = 0; row < sizeof rows / sizeof rows[0]; row++) {
        reset(100 + row, rows[row].slots, rows[row].len);
        assert_true(open_cut(0));
        for (segment = 0; segment < rows[row].segments; segment++) {
            struct flash flash_then = flash;
            static struct value model_then[STORE_SLOTS];
            uint64_t seed_then = seed_now;
            uint32_t cut = 1;
            bool done;

            memcpy(model_then, model, sizeof model);
            do {
                uint32_t again = 0;
                struct flash flash_cut;
                static struct value model_cut[STORE_SLOTS];
                struct value next_cut;
                int slot_cut;

                flash = flash_then;
                memcpy(model, model_then, sizeof model);
                seed_now = seed_then; /* the same changes; only what the cut does differs */
                assert_true(open_cut(0));
                done = change_cut(cut, CHANGES, false);
                seed_now += cut;
                flash_cut = flash;
                memcpy(model_cut, model, sizeof model);
                next_cut = next;
                slot_cut = next_slot;
                do {
                    bool opened;

                    flash = flash_cut;
                    memcpy(model, model_cut, sizeof model);
                    next = next_cut;
                    next_slot = slot_cut;
                    again++;
                    opened = open_cut(cut % THOROUGH == 0 ? again : 0);
                    if (!opened) {
                        assert_true(open_cut(0));
                    }
                    check_all(rows[row].name);
                    assert_true(change());
                    assert_true(open_cut(0));
                    check_all(rows[row].name);
                    if (opened) {
                        break;
                    }
                } while (true);
                cut++;
            } while (!done);
        }
    }
}

/* A battery that is nearly empty: the power fails again and again, sometimes before anything at all gets done. */
static void survives_brown_outs(void **state)
{
    unsigned seed;
    unsigned i;

    (void)state;
    for (seed = 0; seed < 40; seed++) {
        reset(200 + seed, 1 + seed % 50, 8u << seed % 6);
        assert_true(open_cut(0));
        for (i = 0; i < 100; i++) {
            unsigned storm = rnd(20) == 0 ? 60 : 1;

            if (!change_cut(1 + rnd(400), 100, false)) {
                unsigned tries = storm;

                while (tries-- != 0 && !open_cut(1 + rnd(12))) {
                }
                assert_true(open_cut(0));
                check_all("after a cut");
            }
            while (storm-- > 1) { /* each start gets as far as its first writes */
                if (!change_cut(1 + rnd(6), 1, false)) {
                    assert_true(open_cut(0));
                    check_all("after a cut in a storm");
                }
            }
        }
    }
}

static void spreads_the_wear(void **state)
{
    struct store_status status;
    uint8_t value[200];
    uint32_t i;
    unsigned slot;

    (void)state;
    reset(300, 1, 1);
    assert_true(open_cut(0));
    /* half of the store is never written again */
    for (slot = 10; slot < 45; slot++) {
        memset(value, (int)slot, sizeof value);
        assert_int_equal(store_write((uint16_t)slot, value, sizeof value), 0);
    }
    for (i = 0; i < 60000; i++) {
        assert_int_equal(store_write(3, (const uint8_t *)&i, sizeof i), 0);
    }
    store_status(&status);
    assert_true(status.erases_max - status.erases_min <= 2);
    assert_true(status.erases_max > 50);
    assert_true(status.erases_max * FLASH_STORE_SECTORS <= erasures + FLASH_STORE_SECTORS);
    assert_true(open_cut(0));
    store_status(&status);
    assert_true(status.erases_max - status.erases_min <= 2);
    for (slot = 10; slot < 45; slot++) {
        uint8_t out[200];

        memset(value, (int)slot, sizeof value);
        assert_int_equal(store_read((uint16_t)slot, out, sizeof out), sizeof out);
        assert_memory_equal(out, value, sizeof out);
    }
}

static void says_when_it_is_full(void **state)
{
    static const unsigned lens[] = { 1, 60, 150, 200, 256 };
    unsigned row;

    (void)state;
    for (row = 0; row < sizeof lens / sizeof lens[0]; row++) {
        unsigned len = lens[row];
        unsigned fits = STORE_CAPACITY / STORE_COST(len);
        uint8_t value[STORE_VALUE_MAX];
        unsigned slot;
        unsigned round;

        reset(400 + row, STORE_SLOTS, 256);
        assert_true(open_cut(0));
        for (slot = 0; slot < STORE_SLOTS; slot++) {
            int status;

            memset(value, (int)slot, sizeof value);
            status = store_write((uint16_t)slot, value, len);
            if (status != 0) {
                assert_int_equal(status, STORE_ERR_FULL);
                break;
            }
            memcpy(model[slot].data, value, len);
            model[slot].len = (uint16_t)len;
        }
        assert_true(slot == STORE_SLOTS || slot >= fits); /* what is promised does fit */
        check_all("full");
        if (slot == STORE_SLOTS) {
            continue;
        }
        /* full, and still values can be replaced by others of their length, many times over */
        for (round = 0; round < 2000; round++) {
            unsigned other = rnd(slot);

            memset(value, (int)rnd(256), sizeof value);
            assert_int_equal(store_write((uint16_t)other, value, len), 0);
            memcpy(model[other].data, value, len);
            assert_int_equal(store_write((uint16_t)slot, value, len), STORE_ERR_FULL);
        }
        check_all("replaced while full");
        assert_true(open_cut(0));
        assert_int_equal(store_write((uint16_t)slot, value, len), STORE_ERR_FULL);
        check_all("refused");
        /* and slots can be emptied, after which there is room again */
        assert_int_equal(store_erase(0), 0);
        assert_int_equal(store_erase(1), 0);
        model[0].len = model[1].len = 0;
        assert_int_equal(store_write((uint16_t)slot, value, len), 0);
        memcpy(model[slot].data, value, len);
        model[slot].len = (uint16_t)len;
        check_all("room again");
        for (; slot > 1; slot--) {
            assert_int_equal(store_erase((uint16_t)slot), 0);
            model[slot].len = 0;
        }
        check_all("emptied");
    }
}

/* Whatever is in it: a write costs so much at most. */
static void takes_bounded_time(void **state)
{
    uint32_t erasures_max = 0;
    uint32_t written_max = 0;
    unsigned i;

    (void)state;
    reset(500, 80, 256);
    assert_true(open_cut(0));
    for (i = 0; i < 20000; i++) {
        uint32_t e = erasures;
        uint32_t w = written;

        (void)change();
        erasures_max = erasures - e > erasures_max ? erasures - e : erasures_max;
        written_max = written - w > written_max ? written - w : written_max;
    }
    check_all("at the end");
    assert_true(erasures_max >= 1 && erasures_max <= 5);
    assert_true(written_max <= 5 * SECTOR);
}

static bool flash_has(const uint8_t *data, size_t len)
{
    size_t at;

    for (at = 0; at + len <= BYTES; at++) {
        if (memcmp(flash.byte + at, data, len) == 0) {
            return true;
        }
    }
    return false;
}

static void leaves_no_old_value_behind(void **state)
{
    static const uint8_t secret[] = "the old key's 16";
    static const uint8_t other[] = "the new key's 16";
    unsigned i;

    (void)state;
    reset(600, 40, 100);
    assert_true(open_cut(0));
    assert_int_equal(store_write(110, secret, 16), 0);
    for (i = 0; i < 500; i++) {
        (void)change(); /* it is moved a few times */
    }
    assert_true(flash_has(secret, 16));
    assert_int_equal(store_write(110, other, 16), 0);
    assert_false(flash_has(secret, 16));
    assert_int_equal(store_erase(110), 0);
    assert_false(flash_has(other, 16));
}

/* Bits that do not become 0 any more. Nothing is lost, and what is accepted can be read. */
static void passes_over_worn_places(void **state)
{
    unsigned seed;
    unsigned skipped = 0;
    unsigned refused = 0;

    (void)state;
    for (seed = 0; seed < 24; seed++) {
        struct store_status status;
        unsigned i;

        reset(700 + seed, 1 + seed % 30, 120);
        for (i = 0; i < 4u << seed % 8; i++) {
            flash.stuck_1[rnd(BYTES)] |= (uint8_t)(1u << rnd(8));
        }
        for (i = 0; i < seed % 5 * 20; i++) { /* words that take nothing at all */
            memset(flash.stuck_1 + 4 * rnd(BYTES / 4), 0xFF, 4);
        }
        if (seed % 3 == 0) { /* a sector that takes no record where it begins */
            memset(flash.stuck_1 + rnd(FLASH_STORE_SECTORS) * SECTOR + 16, 0xFF, 1000);
        }
        assert_true(open_cut(0));
        for (i = 0; i < 1500; i++) {
            if (!change()) {
                refused++;
            }
            if (rnd(40) == 0) {
                store_status(&status);
                skipped += status.skipped;
                if (rnd(2) == 0) {
                    (void)change_cut(1 + rnd(60), 20, true);
                }
                assert_true(open_cut(0));
                check_all("worn");
            }
        }
        check_all("worn, at the end");
    }
    assert_true(skipped > 400);
    assert_true(refused < 150); /* of 36 000: a sector that is worn where it begins is given up, not tried again and again */
}

/* A write that is done and reads back wrong, once: nothing of it may be taken for a record some day. */
static void believes_a_refusal(void **state)
{
    unsigned nth;
    unsigned i;

    (void)state;
    for (nth = 1; nth < 400; nth++) {
        reset(1100 + nth, 12, 100);
        assert_true(open_cut(0));
        for (i = 0; i < 5; i++) {
            assert_true(change());
        }
        refuse_at = operations + nth;
        for (i = 0; i < 80; i++) {
            assert_true(change());
        }
        check_all("refused");
        assert_true(open_cut(0));
        check_all("refused, opened");
        assert_true(change());
        assert_true(open_cut(0));
        check_all("refused, opened again");
    }
}

/* Sectors that do not erase any more are left out, one after the other; with too few of them only writing fails. */
static void does_without_sectors_that_do_not_erase(void **state)
{
    unsigned seed;

    (void)state;
    for (seed = 0; seed < 12; seed++) {
        unsigned bad;
        unsigned i;
        struct store_status status;

        reset(800 + seed, 10, 60);
        assert_true(open_cut(0));
        for (bad = 1; bad < FLASH_STORE_SECTORS; bad++) {
            unsigned refused = 0;
            size_t at = (bad - 1) * SECTOR;

            memset(flash.stuck_0 + at + rnd(SECTOR - 300), 0x10, 200);
            for (i = 0; i < 1500; i++) {
                refused += !change();
                if (rnd(200) == 0 && bad <= 4) {
                    assert_true(open_cut(0));
                    check_all("a sector less");
                }
            }
            store_status(&status);
            assert_int_equal(status.sectors_bad, bad);
            assert_true((refused != 0) == (bad == 5)); /* the last sector has nowhere to go */
            check_all("a sector less, at the end");
        }
    }
}

/* Single bytes that change by themselves: at most one slot is lost, it says so, and it can be written again. */
static void tells_of_corruption(void **state)
{
    unsigned damaged = 0;
    unsigned unharmed = 0;
    unsigned seed;

    (void)state;
    for (seed = 0; seed < 3000; seed++) {
        static const uint8_t nothing[STORE_VALUE_MAX];
        static struct flash before;
        uint8_t data[STORE_VALUE_MAX];
        int lost = -1;
        unsigned slot;
        unsigned i;
        size_t at;

        if (seed % 20 == 0) {
            reset(900 + seed, 40, 200);
            assert_true(open_cut(0));
            for (i = 0; i < 150; i++) {
                assert_true(change());
            }
        } else {
            (void)change();
        }
        before = flash;
        do {
            at = rnd(20) == 0 ? rnd(FLASH_STORE_SECTORS) * SECTOR + rnd(16) : rnd(BYTES);
        } while (flash.byte[at] == 0xFF && rnd(8) != 0);
        flash.byte[at] ^= (uint8_t)(1 + rnd(255));
        if (rnd(3) != 0) {
            assert_true(open_cut(0));
        }
        for (slot = 0; slot < STORE_SLOTS; slot++) {
            if (!holds(slot, &model[slot])) {
                assert_int_equal(store_read((uint16_t)slot, data, sizeof data), STORE_ERR_DAMAGED);
                assert_memory_equal(data, nothing, sizeof data);
                assert_int_equal(lost, -1);
                lost = (int)slot;
            }
        }
        if (lost < 0) {
            unharmed++;
            flash = before; /* one at a time: a record whose head and commit word are both bad is nobody's */
            assert_true(open_cut(0));
            continue;
        }
        damaged++;
        /* it stays lost when everything has been moved, and after another start */
        memset(&model[lost], 0, sizeof model[lost]);
        for (i = 0; i < 60; i++) {
            unsigned other = 100 + rnd(20);

            other -= other == (unsigned)lost;
            assert_int_equal(store_write((uint16_t)other, memset(data, (int)i, sizeof data), sizeof data), 0);
            memcpy(model[other].data, data, sizeof data);
            model[other].len = sizeof data;
        }
        assert_true(open_cut(0));
        assert_int_equal(store_read((uint16_t)lost, data, sizeof data), STORE_ERR_DAMAGED);
        assert_int_equal(store_write((uint16_t)lost, (const uint8_t *)"healed", 6), 0);
        memcpy(model[lost].data, "healed", 6);
        model[lost].len = 6;
        assert_true(open_cut(0));
        check_all("healed");
        for (slot = 99; slot < STORE_SLOTS; slot++) {
            assert_int_equal(store_erase((uint16_t)slot), 0);
            model[slot].len = 0;
        }
    }
    assert_in_range(damaged, 200, 2000);
    assert_in_range(unharmed, 200, 2900);
}

static size_t find_record(unsigned slot, unsigned len)
{
    uint32_t head = (slot + 1) << 9 | len;
    size_t at;

    head |= ~head << 16;
    for (at = 0; at < BYTES; at += 4) {
        if (memcmp(flash.byte + at, &head, sizeof head) == 0) {
            return at;
        }
    }
    fail();
    return 0;
}

/*
 * A record is ruined, both head and commit word, and its value looks like the heads of others. Those behind it are found; a bad
 * one among them is known as such.
 */
static void finds_the_way_behind_a_ruin(void **state)
{
    uint32_t like_heads[64];
    uint8_t value[40];
    uint8_t out[STORE_VALUE_MAX];
    unsigned slot;
    size_t at;

    (void)state;
    reset(1300, 1, 1);
    assert_true(open_cut(0));
    for (slot = 0; slot < 64; slot++) {
        like_heads[slot] = (3u + 1) << 9 | 200;
        like_heads[slot] |= ~like_heads[slot] << 16;
    }
    assert_int_equal(store_write(5, (const uint8_t *)like_heads, sizeof like_heads), 0);
    for (slot = 6; slot < 20; slot++) {
        assert_int_equal(store_write((uint16_t)slot, memset(value, (int)slot, sizeof value), sizeof value), 0);
    }
    at = find_record(5, sizeof like_heads);
    flash.byte[at] ^= 0x40;
    flash.byte[at + 8 + sizeof like_heads] ^= 0x40;
    flash.byte[find_record(6, sizeof value) + 10] ^= 1;
    assert_true(open_cut(0));
    assert_int_equal(store_read(3, out, sizeof out), 0);
    assert_int_equal(store_read(6, out, sizeof out), STORE_ERR_DAMAGED);
    for (slot = 7; slot < 20; slot++) {
        assert_int_equal(store_read((uint16_t)slot, out, sizeof out), sizeof value);
        assert_memory_equal(out, memset(value, (int)slot, sizeof value), sizeof value);
    }
}

/* Another program's data, or noise: there is nothing in it, and it is used. */
static void begins_anew_on_foreign_content(void **state)
{
    unsigned seed;

    (void)state;
    for (seed = 0; seed < 50; seed++) {
        size_t i;

        reset(1000 + seed, 20, 100);
        for (i = 0; i < BYTES; i++) {
            flash.byte[i] = (uint8_t)(seed == 0 ? 0 : rnd(256));
        }
        assert_true(open_cut(0));
        check_all("foreign");
        for (i = 0; i < 100; i++) {
            assert_true(change());
        }
        check_all("foreign, used");
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_values),
        cmocka_unit_test(leaves_a_newer_format_alone),
        cmocka_unit_test(follows_a_model),
        cmocka_unit_test(survives_a_cut_at_every_write),
        cmocka_unit_test(survives_brown_outs),
        cmocka_unit_test(spreads_the_wear),
        cmocka_unit_test(says_when_it_is_full),
        cmocka_unit_test(takes_bounded_time),
        cmocka_unit_test(leaves_no_old_value_behind),
        cmocka_unit_test(passes_over_worn_places),
        cmocka_unit_test(believes_a_refusal),
        cmocka_unit_test(does_without_sectors_that_do_not_erase),
        cmocka_unit_test(tells_of_corruption),
        cmocka_unit_test(finds_the_way_behind_a_ruin),
        cmocka_unit_test(begins_anew_on_foreign_content),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
