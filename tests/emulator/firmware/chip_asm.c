/* SPDX-License-Identifier: BSD-3-Clause */
/* The AES module. The vector is FIPS-197's, appendix C.1. */
#include "board.h"

static const uint32_t key[4] = {0x00010203, 0x04050607, 0x08090a0b, 0x0c0d0e0f};
static const uint32_t plain[4] = {0x00112233, 0x44556677, 0x8899aabb, 0xccddeeff};

#define CTR (1u << 25)
#define CBC (1u << 24)
#define START (1u << 24)
#define CLEAR (1u << 25)
#define CLEAR_IRQ (1u << 31)

static void load(const uint32_t data[4], const uint32_t counter[4])
{
    static const uint32_t zero[4];

    for (uint32_t i = 0; i < 4; i++) {
        R32(ASM + 4 * i) = key[i];
        R32(ASM + 0x10 + 4 * i) = data != NULL ? data[i] : zero[i];
        R32(ASM + 0x20 + 4 * i) = counter != NULL ? counter[i] : zero[i];
    }
}

static uint32_t done(void)
{
    return R32(ASM + 0x58) >> 24 & 1;
}

static uint32_t self_test(void)
{
    R32(ASM + 0x54) = 1u | 1u << 26;
    R32(ASM + 0x50) = START;
    for (uint32_t i = 0; i < 2000 && (R32(ASM + 0x58) >> 25 & 1) == 0; i++) {
    }
    R32(ASM + 0x50) = CLEAR_IRQ;
    return R32(ASM + 0x58) >> 25 & 1;
}

static void run(uint32_t mode)
{
    R32(ASM + 0x54) = 3u | mode | 1u << 31;
    R32(ASM + 0x50) = START;
    for (uint32_t i = 0; i < 100 && !done(); i++) {
    }
}

static void ready(void)
{
    regulators_up();
    self_test();
}

static void unpowered(void) { R32(ASM + 0x54) = 1; }

static void untested(void)
{
    regulators_up();
    load(NULL, plain);
    run(CTR);
    say("done", done());
    say("result", R32(ASM + 0x30));
}

static void selftest(void)
{
    regulators_up();
    say("pass", self_test());
}

static void block(void)
{
    ready();
    load(NULL, plain);
    run(CTR);
    say("result", R32(ASM + 0x30));
    say("result", R32(ASM + 0x3c));
}

static void boot_mode(void)
{
    ready();
    load(NULL, plain);
    R32(ASM + 0x54) = 1u | CTR | 1u << 31;
    R32(ASM + 0x50) = START;
    wait_us(10);
    say("own key", R32(ASM + 0x30) == 0x69c4e0d8);
}

static void write_only(void)
{
    ready();
    load(NULL, plain);
    say("key", R32(ASM) | R32(ASM + 4) | R32(ASM + 8) | R32(ASM + 12));
}

/* START does not take DONE back: who polls it without CLEAR_IRQ gets what was there before. */
static void sticky(void)
{
    uint32_t first, second, at_once;

    ready();
    load(NULL, plain);
    run(CTR);
    first = R32(ASM + 0x30);
    load(NULL, key);
    R32(ASM + 0x50) = START;
    second = R32(ASM + 0x30);
    at_once = done();
    say("done at once", at_once);
    say("stale", first == second);
    wait_us(10);
    say("later", R32(ASM + 0x30) != first);
    R32(ASM + 0x50) = CLEAR_IRQ;
    say("cleared", done());
}

static void bypass(void)
{
    ready();
    load(plain, key);
    run(CTR | 1u << 2);
    say("result", R32(ASM + 0x30));
}

/* CBC goes on from its last result until CLEAR or LOAD_MAC. */
static void chain(void)
{
    uint32_t first;

    ready();
    R32(ASM + 0x50) = CLEAR;
    load(plain, NULL);
    run(CBC);
    first = R32(ASM + 0x40);
    say("first", first);
    R32(ASM + 0x50) = CLEAR_IRQ;
    run(CBC);
    say("chained", R32(ASM + 0x40) != first);
    R32(ASM + 0x50) = CLEAR_IRQ | CLEAR;
    run(CBC);
    say("cleared", R32(ASM + 0x40) == first);
    for (uint32_t i = 0; i < 4; i++) {
        R32(ASM + 0x60 + 4 * i) = 0;
    }
    R32(ASM + 0x50) = CLEAR_IRQ | 1u << 26;
    run(CBC);
    say("loaded", R32(ASM + 0x40) == first);
}

/* Both in one, as CCM wants it: the MAC is over DATA, not over the result. */
static void both(void)
{
    ready();
    R32(ASM + 0x50) = CLEAR | CLEAR_IRQ;
    load(plain, plain);
    run(CTR | CBC);
    say("ctr", R32(ASM + 0x30));
    say("cbc", R32(ASM + 0x40));
}

static void changed(void)
{
    ready();
    load(NULL, plain);
    R32(ASM + 0x54) = 3u | CTR | 1u << 31;
    R32(ASM + 0x50) = START;
    R32(ASM + 0x20) = plain[0];
    wait_us(10);
    say("spoiled", R32(ASM + 0x30) != 0x69c4e0d8);
}

static void hook(void) { R32(ASM + 0x50) = CLEAR_IRQ; }

static void interrupt(void)
{
    ready();
    irq_total = 0;
    irq_hook = hook;
    R32(ITC + 0x08) = 0;
    load(NULL, plain);
    INTERRUPTS_ON();
    run(CTR);
    wait_us(10);
    say("masked", irq_total);
    R32(ASM + 0x50) = CLEAR_IRQ;
    R32(ASM + 0x54) = 3u | CTR;
    R32(ASM + 0x50) = START;
    wait_us(10);
    say("came", irq_total);
    INTERRUPTS_OFF();
    R32(ITC + 0x10) = 0;
}

const struct chip_case chip_cases[] = {
    {"unpowered", unpowered}, {"untested", untested}, {"selftest", selftest}, {"block", block}, {"boot-mode", boot_mode},
    {"write-only", write_only}, {"sticky", sticky}, {"bypass", bypass}, {"chain", chain}, {"both", both}, {"changed", changed},
    {"interrupt", interrupt}, {NULL, NULL},
};
