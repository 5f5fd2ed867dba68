/* SPDX-License-Identifier: BSD-3-Clause */
/* The console: UART1, 115200 8N1, interrupt driven. Not for interrupt handlers. */
#ifndef MC1322X_UART_H
#define MC1322X_UART_H

#include <stddef.h>
#include <stdint.h>

/* What was lost, for good, since the start. */
struct uart_counters {
    uint32_t rx_dropped; /* bytes that came faster than they were read: the ring was full */
    uint32_t rx_errors;  /* the chip's receiver overran (bytes unknown), or a byte had no stop bit */
    uint32_t tx_dropped; /* bytes that a transmitter that makes no progress kept out */
};
extern struct uart_counters uart_counters;

void uart_start(void);

/* The next byte received, or -1: there is none. UART_LOST stands where bytes were lost. */
#define UART_LOST 0
int uart_get(void);

/* Into the ring; waits for room as long as the transmitter makes progress. */
void uart_put(uint8_t byte);
void uart_text(const char *text);
void uart_hex(uint32_t value, unsigned digits); /* lower case, the lowest `digits` digits */
void uart_decimal(uint32_t value);

/* Waits until all is sent. Works with interrupts off too. */
void uart_flush(void);

#endif
