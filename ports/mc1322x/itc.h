/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Interrupts. All are normal interrupts (no FIQ), handled in IRQ mode on a stack of IRQ_STACK_BYTES (mc1322x.ld), one
 * after the other and never nested. A handler clears its own source; one that has none installed is switched off.
 */
#ifndef MC1322X_ITC_H
#define MC1322X_ITC_H

#include <stdint.h>

enum {
    IRQ_ASM,
    IRQ_UART1,
    IRQ_UART2,
    IRQ_CRM,
    IRQ_I2C,
    IRQ_TMR,
    IRQ_SPIF,
    IRQ_MACA,
    IRQ_SSI,
    IRQ_ADC,
    IRQ_SPI,
    IRQ_NUMBERS
};

/* Holds back all handlers. Nests: each irq_unlock takes what its irq_lock returned. */
uint32_t irq_lock(void);
void irq_unlock(uint32_t saved);

/* Before irq_enable. The handler runs in IRQ mode, so it may not block and may not call irq_enable. */
void irq_handler_set(unsigned number, void (*handler)(void));

/* Not between irq_lock and irq_unlock: the latter would switch it off again. */
void irq_enable(unsigned number);
void irq_disable(unsigned number);

/* How many interrupts were handled so far. */
uint32_t irq_count(void);

#endif
