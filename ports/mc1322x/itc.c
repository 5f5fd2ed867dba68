/* SPDX-License-Identifier: BSD-3-Clause */
#include "itc.h"

#include <stddef.h>

#include "regs.h"

static void (*handlers[IRQ_NUMBERS])(void);
static volatile uint32_t handled;

void irq_dispatch(void); /* start.S calls it, in IRQ mode */

uint32_t irq_lock(void)
{
    uint32_t saved = ITC_INTENABLE;

    ITC_INTENABLE = 0;
    return saved;
}

void irq_unlock(uint32_t saved)
{
    ITC_INTENABLE = saved;
}

void irq_handler_set(unsigned number, void (*handler)(void))
{
    handlers[number] = handler;
}

void irq_enable(unsigned number)
{
    ITC_INTENNUM = number;
}

void irq_disable(unsigned number)
{
    ITC_INTDISNUM = number;
}

uint32_t irq_count(void)
{
    return handled;
}

void irq_dispatch(void)
{
    uint32_t pending;

    while ((pending = ITC_NIPEND) != 0) {
        unsigned number = 0;

        while ((pending >> number & 1) == 0) {
            number++;
        }
        if (number < IRQ_NUMBERS && handlers[number] != NULL) {
            handlers[number]();
        } else {
            ITC_INTDISNUM = number; /* or it would be here again at once */
        }
        handled++;
    }
}
