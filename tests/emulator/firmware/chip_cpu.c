/* SPDX-License-Identifier: BSD-3-Clause */
/* Processor, memory, interrupts. */
#include "board.h"

static uint8_t bytes[8] __attribute__((aligned(4)));
static volatile uint32_t sink;

static void unaligned(void)
{
    uint32_t value, at = (uint32_t)bytes + 1;

    __asm volatile("ldr %0, [%1]" : "=l"(value) : "l"(at) : "memory");
    sink = value;
}

static void unmapped(void) { sink = R32(0x50000000); }
static void unmapped_write(void) { R32(0x50000000) = 1; }
static void no_peripheral(void) { sink = R32(0x80001000); }
static void rom_write(void) { R32(0x100) = 1; }
static void undefined(void) { __asm volatile(".short 0x4798"); /* blx r3: ARMv5 */ }
static void lost(void) { ((void (*)(void))0x60000001)(); }
static void mailbox(void) { R32(0x80030014) = 7; }
static void jump_to_zero(void) { __asm volatile("mov r0, #0\nbx r0" ::: "r0"); }

/* The exceptions' return addresses, counted from the instruction. */
extern const uint8_t loads_here[], undefined_here[];

static void exceptions_data(void)
{
    uint32_t value, at = 0x50000000;

    exception_base = (uint32_t)loads_here;
    __asm volatile(".global loads_here\nloads_here: ldr %0, [%1]" : "=l"(value) : "l"(at) : "memory");
    sink = value;
}

static void exceptions_undefined(void)
{
    exception_base = (uint32_t)undefined_here;
    __asm volatile(".global undefined_here\nundefined_here: .short 0x4798");
}

static void uninitialised(void)
{
    /* Far above everything that this program has. */
    uint32_t ones = 0, zeros = 0;

    for (uint32_t at = 0x00410000; at < 0x00411000; at += 4) {
        ones += R32(at) == 0xffffffff;
        zeros += R32(at) == 0;
    }
    say("zeros", zeros + ones);
}

static void forced(void) { R32(ITC + 0x34) = 0; }

static void force(void)
{
    irq_total = 0;
    irq_hook = forced;
    R32(ITC + 0x10) = 1u << 8;
    R32(ITC + 0x34) = 1u << 8;
    say("masked by the processor", irq_total);
    INTERRUPTS_ON();
    wait_us(10);
    say("let in", irq_total);
    R32(ITC + 0x10) = 0;
    R32(ITC + 0x34) = 1u << 8;
    wait_us(10);
    say("not enabled", irq_total);
    say("pending", R32(ITC + 0x38));
    R32(ITC + 0x34) = 0;
}

static void fast(void)
{
    fiq_total = 0;
    R32(ITC + 0x14) = 1u << 8;
    R32(ITC + 0x10) = 1u << 8;
    INTERRUPTS_ON();
    R32(ITC + 0x34) = 1u << 8;
    wait_us(10);
    say("fiq", fiq_total);
    R32(ITC + 0x10) = 0;
}

/* A source that is enabled inside a critical section is lost at its end. */
static void section(void)
{
    uint32_t saved = R32(ITC + 0x10);

    R32(ITC + 0x10) = 0;
    R32(ITC + 0x08) = 5;
    R32(ITC + 0x10) = saved;
    say("enabled", R32(ITC + 0x10));
}

/* A level that nobody quietens comes back at once. */
static void storm_hook(void)
{
    if (irq_total == 100) {
        R32(ITC + 0x34) = 0;
    }
}

static void storm(void)
{
    irq_total = 0;
    irq_hook = storm_hook;
    R32(ITC + 0x10) = 1u << 8;
    INTERRUPTS_ON();
    R32(ITC + 0x34) = 1u << 8;
    wait_us(100);
    say("came", irq_total);
    R32(ITC + 0x10) = 0;
}

static void ticked(void)
{
    R16(TMR + 0x0e) = 0;
    R16(TMR + 0x14) = 0x0040;
}

static void ticker(void)
{
    irq_total = 0;
    irq_hook = ticked;
    R16(TMR + 0x1e) = 0;
    R16(TMR + 0x14) = 0x0040;
    R16(TMR + 0x06) = 0;
    R16(TMR + 0x00) = 37499; /* 200 ms at 24 MHz / 128 */
    R16(TMR + 0x0a) = 0;
    R16(TMR + 0x0c) = 1u << 13 | 15u << 9 | 1u << 5;
    R16(TMR + 0x1e) = 0xf;
    R32(ITC + 0x08) = 5;
    INTERRUPTS_ON();
}

/* Nothing but a loop over memory: must be found idle, and yet see what the interrupt does. */
static void spin(void)
{
    ticker();
    while (irq_total < 10) {
    }
    INTERRUPTS_OFF();
    R32(ITC + 0x10) = 0;
    say("ticks", irq_total);
}

static void wait4irq(void)
{
    ticker();
    while (irq_total < 10) {
        R32(CRM + 0x0c) = 3;
    }
    INTERRUPTS_OFF();
    R32(ITC + 0x10) = 0;
    say("ticks", irq_total);
}

/* An interrupt waits and cannot get in: the loop stands all the same. */
static void masked(void)
{
    INTERRUPTS_OFF();
    R32(ITC + 0x10) = 1u << 8;
    R32(ITC + 0x34) = 1u << 8;
    for (;;) {
    }
}

/* The same with a counter: it is work, and must not be skipped. */
static void count(void)
{
    uint32_t turns = 0;

    ticker();
    while (irq_total < 2) {
        turns++;
    }
    INTERRUPTS_OFF();
    R32(ITC + 0x10) = 0;
    say("work", turns > 100000);
}

static void bench(void)
{
    static uint8_t table[256];
    uint32_t x = 12345;

    for (uint32_t i = 0; i < 2000000; i++) {
        x = x * 1664525u + 1013904223u;
        table[x >> 24] ^= (uint8_t)i;
        x ^= table[x >> 16 & 255];
    }
    say("bench", x);
}

const struct chip_case chip_cases[] = {
    {"unaligned", unaligned}, {"unmapped", unmapped}, {"unmapped-write", unmapped_write}, {"no-peripheral", no_peripheral},
    {"rom-write", rom_write}, {"undefined", undefined}, {"lost", lost}, {"mailbox", mailbox}, {"jump-to-zero", jump_to_zero},
    {"exceptions-data", exceptions_data}, {"exceptions-undefined", exceptions_undefined},
    {"uninitialised", uninitialised}, {"force", force}, {"fast", fast}, {"section", section}, {"storm", storm}, {"spin", spin},
    {"wait4irq", wait4irq}, {"masked", masked}, {"count", count}, {"bench", bench}, {NULL, NULL},
};
