/* SPDX-License-Identifier: BSD-3-Clause */
#include "board.h"

volatile uint32_t irq_total, fiq_total;
void (*irq_hook)(void);
uint32_t exception_base;

/* The compiler calls it. */
void *memset(void *to, int value, size_t len);
void *memset(void *to, int value, size_t len)
{
    volatile uint8_t *at = to;

    while (len-- > 0) {
        *at++ = (uint8_t)value;
    }
    return to;
}

void on_irq(void)
{
    irq_total++;
    if (irq_hook != NULL) {
        irq_hook();
    }
}

void on_fiq(void)
{
    fiq_total++;
    R32(ITC + 0x34) = 0;
}

static void put_byte(uint8_t byte)
{
    while ((R32(UART1 + 0x10) & 0x3f) == 0) {
    }
    R32(UART1 + 0x08) = byte;
}

void put(const char *text)
{
    while (*text != '\0') {
        put_byte((uint8_t)*text++);
    }
}

void put_hex(uint32_t value)
{
    for (unsigned i = 8; i-- > 0;) {
        put_byte((uint8_t)"0123456789abcdef"[value >> (4 * i) & 15]);
    }
}

void say(const char *name, uint32_t value)
{
    put(name);
    put(" ");
    put_hex(value);
    put("\n");
}

uint8_t get_byte(void)
{
    while (R32(UART1 + 0x0c) == 0) {
    }
    return (uint8_t)R32(UART1 + 0x08);
}

void wait_us(uint32_t us)
{
    for (volatile uint32_t i = 0; i < us; i++) {
    }
}

void regulators_up(void)
{
    R32(CRM + 0x00) = 0x18;
    R32(CRM + 0x48) = 0x0f04;
    wait_us(1000);
    R32(CRM + 0x48) = 0x0ff8;
    while ((R32(CRM + 0x18) >> 18 & 3) != 3) {
    }
}

void crystal_up(void)
{
    R32(CRM + 0x3c) = 0;
    R32(CRM + 0x44) = 1;
    R32(CRM + 0x00) |= 1u << 5;
    for (uint32_t before = rtc(); rtc() == before;) {
    }
}

uint32_t rtc(void)
{
    return R32(CRM + 0x28);
}

void flash_ready(void)
{
    regulators_up();
    rom_data_init();
    ((uint32_t (*)(uint32_t))0x7085)(0);
}

void on_exception(uint32_t which, uint32_t lr)
{
    say(which == 1 ? "undefined" : which == 2 ? "prefetch" : "data", lr - exception_base);
    say("near", lr - exception_base < 24 || exception_base - lr < 24);
    for (;;) {
    }
}

static int same(const char *a, const char *b)
{
    while (*a != '\0' && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

int main(void)
{
    char line[32];

    R32(UART1 + 0x00) = 0x6000;
    R32(UART1 + 0x18) = 767u << 16 | 9999u;
    R32(UART1 + 0x00) = 0x6003;
    R32(GPIO + 0x18) = 5u << 28;
    put("ready\n");
    for (;;) {
        unsigned len = 0;
        uint8_t byte;
        const struct chip_case *c;

        while ((byte = get_byte()) != '\n') {
            if (len < sizeof line - 1) {
                line[len++] = (char)byte;
            }
        }
        line[len] = '\0';
        for (c = chip_cases; c->name != NULL && !same(c->name, line); c++) {
        }
        if (c->name == NULL) {
            put("no such case\n");
            continue;
        }
        c->run();
        put("done\n");
    }
}
