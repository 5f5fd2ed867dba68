/* SPDX-License-Identifier: BSD-3-Clause */
#include "fault.h"

#include <stdbool.h>

#include "crm.h"
#include "regs.h"
#include "uart.h"

#define STACK_PAINT 0x5AFE57ACu /* start.S */

extern uint32_t __stack_end[];
extern uint32_t __stack_top[];

uint32_t cpu_lock(void); /* start.S */

void fault_exception(unsigned number, uint32_t place) __attribute__((noreturn)); /* start.S calls it */

static void stop(const char *name, bool with_value, uint32_t value) __attribute__((noreturn));

static void stop(const char *name, bool with_value, uint32_t value)
{
    (void)cpu_lock();
    MACA_RESET = MACA_RESET_RST;
    uart_text("\nfault ");
    uart_text(name);
    if (with_value) {
        uart_text(" ");
        uart_hex(value, 8);
    }
    uart_text("\n");
    uart_flush();
    watchdog_start();
    for (;;) {
    }
}

void fault(const char *name)
{
    stop(name, false, 0);
}

void fault_at(const char *name, uint32_t value)
{
    stop(name, true, value);
}

void fault_exception(unsigned number, uint32_t place)
{
    static const char names[5][16] = { "undefined", "supervisor", "prefetch-abort", "data-abort", "fiq" };

    stop(names[number], true, place);
}

uint32_t stack_unused(void)
{
    const uint32_t *word = __stack_end;

    if (*word != STACK_PAINT) {
        fault("stack");
    }
    while (word < __stack_top && *word == STACK_PAINT) {
        word++;
    }
    return (uint32_t)(word - __stack_end) * 4;
}
