/* SPDX-License-Identifier: BSD-3-Clause */
/* Clocks, timers, console, sleep, watchdog. */
#include "board.h"

static void rtc_stands(void)
{
    uint32_t before = rtc();

    wait_us(50000);
    say("moved", rtc() != before);
    R32(CRM + 0x44) = 1;
    wait_us(1000000); /* longer than any crystal takes to begin */
    say("moved", rtc() != before);
    crystal_up();
    say("moved", rtc() != before);
}

static volatile uint32_t wake_first, wake_last;

static void wake_hook(void)
{
    if (irq_total == 1) {
        wake_first = rtc();
    }
    wake_last = rtc();
    R32(CRM + 0x18) = 1u << 3;
}

/* The event is cleared at once and yet comes again and again, for two ticks. */
static void wake_clears_late(void)
{
    crystal_up();
    irq_total = 0;
    irq_hook = wake_hook;
    R32(CRM + 0x04) = 1u << 1 | 1u << 17;
    R32(CRM + 0x2c) = 1000;
    R32(ITC + 0x08) = 3;
    INTERRUPTS_ON();
    for (uint32_t start = rtc(); rtc() - start < 1100;) {
    }
    INTERRUPTS_OFF();
    R32(ITC + 0x10) = 0;
    say("came again", irq_total > 1);
    say("ticks", wake_last - wake_first);
}

static void regulators_take_time(void)
{
    uint32_t turns = 0;

    R32(CRM + 0x48) = 0x0ff8;
    say("ready at once", R32(CRM + 0x18) >> 18 & 3);
    while ((R32(CRM + 0x18) >> 18 & 3) != 3) {
        turns++;
    }
    say("ready", turns > 0);
}

static void watchdog(void)
{
    R32(CRM + 0x10) = 1u | 1u << 8;
    for (;;) {
    }
}

static void watchdog_served(void)
{
    crystal_up();
    R32(CRM + 0x10) = 1u | 1u << 8;
    for (uint32_t start = rtc(); rtc() - start < 32768;) {
        R32(CRM + 0x14) = 0xc0de5afe;
    }
    R32(CRM + 0x10) = 0;
    put("alive\n");
}

static void wrong_key(void)
{
    R32(CRM + 0x50) = R32(CRM + 0x50);
    wait_us(100);
    put("alive\n");
    wait_us(10000);
    R32(CRM + 0x50) = 0x87651234;
    for (;;) {
    }
}

static void calibrate(void)
{
    uint32_t first;

    R32(CRM + 0x34) = 1u << 16 | 100;
    while ((R32(CRM + 0x18) >> 9 & 1) == 0) {
    }
    first = R32(CRM + 0x38);
    R32(CRM + 0x18) = 1u << 9;
    say("plausible", first > 24000000 / 2600 * 100 && first < 24000000 / 1400 * 100);
}

static void sleep_half_a_second(void)
{
    uint32_t before;

    crystal_up();
    R32(CRM + 0x04) = 1u << 1 | 1u << 17;
    R32(CRM + 0x2c) = 16384;
    before = rtc();
    R32(CRM + 0x08) = 1u | 3u << 4 | 1u << 6;
    while ((R32(CRM + 0x18) & 1) == 0) {
    }
    R32(CRM + 0x18) = 1;
    while ((R32(CRM + 0x18) & 1) == 0) {
    }
    R32(CRM + 0x18) = 1;
    say("slept", rtc() - before >= 16300 && rtc() - before < 16500);
    R32(CRM + 0x04) = 0;
}

static void sleep_with_radio(void)
{
    R32(MACA + 0x04) = 2;
    sleep_half_a_second();
}

static void sleep_little_ram(void)
{
    R32(0x00412000) = 0x600d600d;
    R32(CRM + 0x04) = 1u << 1 | 1u << 17;
    crystal_up();
    R32(CRM + 0x2c) = 1000;
    R32(CRM + 0x08) = 1u | 2u << 4 | 1u << 6;
    while ((R32(CRM + 0x18) & 1) == 0) {
    }
    R32(CRM + 0x18) = 1;
    while ((R32(CRM + 0x18) & 1) == 0) {
    }
    /* The stack was in the part that is lost: nothing may be trusted but registers. */
    __asm volatile("ldr r0, =0x00408000\nmov sp, r0" ::: "r0");
    say("kept", R32(0x00412000) == 0x600d600d);
    for (;;) {
    }
}

static void tmr_word(void) { R32(TMR) = 1; }
static void tmr_read_word(void) { (void)R32(TMR); }

static uint32_t counted(uint16_t enable)
{
    R16(TMR + 0x1e) = 0;
    R16(TMR + 0x00) = 0xffff;
    R16(TMR + 0x0a) = 0;
    R16(TMR + 0x0c) = 1u << 13 | 8u << 9;
    R16(TMR + 0x1e) = enable;
    wait_us(100);
    return R16(TMR + 0x0a);
}

static void tmr_enable(void)
{
    say("one", counted(1));
    say("all", counted(0xf) > 100);
}

static void tmr_once(void)
{
    R16(TMR + 0x1e) = 0;
    R16(TMR + 0x00) = 99;
    R16(TMR + 0x0a) = 0;
    R16(TMR + 0x14) = 0;
    R16(TMR + 0x0c) = 1u << 13 | 8u << 9 | 1u << 6;
    R16(TMR + 0x1e) = 0xf;
    wait_us(100);
    say("flag", R16(TMR + 0x0e) >> 15);
    say("stopped", R16(TMR + 0x0c) >> 13);
    R16(TMR + 0x0e) = 0;
    wait_us(10000);
    say("stays so", R16(TMR + 0x0e) >> 15);
}

/* 32 bytes and no more; one byte takes 87 us. */
static void uart_fifo(void)
{
    uint32_t start, end, lost;

    crystal_up();
    while (R32(UART1 + 0x10) != 32) {
    }
    wait_us(200);
    start = rtc();
    for (uint32_t i = 0; i < 40; i++) {
        R32(UART1 + 0x08) = (uint32_t)('a' + (i & 15));
    }
    lost = R32(UART1 + 0x04) >> 3 & 1;
    while (R32(UART1 + 0x10) != 32) {
    }
    end = rtc();
    put("\n");
    say("toe", lost);
    say("real time", end - start > 80);
}

static void uart_overrun(void)
{
    put("deaf\n");
    for (uint32_t i = 0; i < 100; i++) {
        wait_us(1000);
    }
    say("waiting", R32(UART1 + 0x0c));
    say("roe", R32(UART1 + 0x04) >> 4 & 1);
    say("told once", R32(UART1 + 0x04) >> 4 & 1);
    while (R32(UART1 + 0x0c) > 0) {
        (void)R32(UART1 + 0x08);
    }
}

static void uart_rate(void)
{
    R32(UART1 + 0x18) = 100u << 16 | 9999u;
    put("the divider does not move while the UART is on\n");
    wait_us(10000);
    R32(UART1 + 0x00) = 0x6000;
    R32(UART1 + 0x18) = 600u << 16 | 9999u;
    R32(UART1 + 0x00) = 0x6003;
    put("abc\n");
}

static void uart_pins(void)
{
    put("before\n");
    wait_us(10000);
    R32(GPIO + 0x18) = 0;
    put("nobody hears this\n");
    wait_us(10000);
    R32(GPIO + 0x18) = 5u << 28;
    put("after\n");
}

const struct chip_case chip_cases[] = {
    {"rtc-stands", rtc_stands}, {"wake-clears-late", wake_clears_late}, {"regulators", regulators_take_time},
    {"watchdog", watchdog}, {"watchdog-served", watchdog_served}, {"wrong-key", wrong_key}, {"calibrate", calibrate},
    {"sleep", sleep_half_a_second}, {"sleep-with-radio", sleep_with_radio}, {"sleep-little-ram", sleep_little_ram},
    {"tmr-word", tmr_word}, {"tmr-read-word", tmr_read_word}, {"tmr-enable", tmr_enable}, {"tmr-once", tmr_once},
    {"uart-fifo", uart_fifo}, {"uart-overrun", uart_overrun}, {"uart-rate", uart_rate}, {"uart-pins", uart_pins},
    {NULL, NULL},
};
