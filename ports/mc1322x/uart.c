/* SPDX-License-Identifier: BSD-3-Clause */
#include "uart.h"

#include "crm.h"
#include "itc.h"
#include "regs.h"

#define RX_RING 128u /* powers of two */
#define TX_RING 256u
#define BAUD_115200 (767u << 16 | 9999u) /* 24 MHz / 16 * 768 / 9999 */
#define PATIENCE_US 5000u /* a byte takes 87 us */
#define RX_LEVEL 1u
#define TX_LEVEL 16u

struct uart_counters uart_counters;

/* Each index is moved by one side only, and is never reduced: what is between them is in the ring. */
static struct {
    volatile uint8_t rx_in;
    volatile uint8_t rx_out;
    volatile uint16_t tx_in;
    volatile uint16_t tx_out;
    uint8_t lost; /* bytes did not get into the ring; it does not say so yet */
    uint8_t rx[RX_RING];
    uint8_t tx[TX_RING];
} uart;

/* From the ring to the transmitter, with interrupts held back. */
static void send_held(void)
{
    while (uart.tx_out != uart.tx_in && (UART_UTXCON & UART_LEVEL_MASK) != 0) {
        UART_UDATA = uart.tx[uart.tx_out % TX_RING];
        uart.tx_out++;
    }
    if (uart.tx_out == uart.tx_in) {
        UART_UCON |= UCON_MTXR; /* an empty transmitter would ask for ever */
    } else {
        UART_UCON &= ~UCON_MTXR;
    }
}

static void handler(void)
{
    if ((UART_USTAT & (USTAT_ROE | USTAT_FE)) != 0) {
        uart_counters.rx_errors++;
        uart.lost = 1;
    }
    while ((UART_URXCON & UART_LEVEL_MASK) != 0) {
        uint8_t byte = (uint8_t)UART_UDATA;

        if ((uint8_t)(uart.rx_in - uart.rx_out) + uart.lost >= RX_RING) {
            uart_counters.rx_dropped++;
            uart.lost = 1;
            continue;
        }
        if (uart.lost) {
            uart.rx[uart.rx_in++ % RX_RING] = UART_LOST;
            uart.lost = 0;
        }
        uart.rx[uart.rx_in++ % RX_RING] = byte;
    }
    send_held();
}

static void send_some(void)
{
    uint32_t saved = irq_lock();

    send_held();
    irq_unlock(saved);
}

void uart_start(void)
{
    UART_UCON = UCON_MTXR | UCON_MRXR; /* off, as the rate can only be set then */
    UART_UBRCNT = BAUD_115200;
    UART_URXCON = RX_LEVEL;
    UART_UTXCON = TX_LEVEL;
    UART_UCON = UCON_TXE | UCON_RXE | UCON_MTXR;
    GPIO_FUNC_SEL0 = (GPIO_FUNC_SEL0 & ~(GPIO_PAD_FUNCTION(PAD_UART1_TX, 3) | GPIO_PAD_FUNCTION(PAD_UART1_RX, 3))) |
                     GPIO_PAD_FUNCTION(PAD_UART1_TX, 1) | GPIO_PAD_FUNCTION(PAD_UART1_RX, 1);
    irq_handler_set(IRQ_UART1, handler);
    irq_enable(IRQ_UART1);
}

int uart_get(void)
{
    uint8_t byte;

    if (uart.rx_in == uart.rx_out) {
        return -1;
    }
    byte = uart.rx[uart.rx_out % RX_RING];
    uart.rx_out++;
    return byte;
}

/* Until at most `left` bytes are in the ring. 0: the transmitter stands. */
static int wait_for(unsigned left)
{
    uint16_t out = uart.tx_out;
    unsigned waited = 0;

    for (;;) {
        send_some();
        if ((uint16_t)(uart.tx_in - uart.tx_out) <= left) {
            return 1;
        }
        if (uart.tx_out != out) {
            out = uart.tx_out;
            waited = 0;
        } else if (waited >= PATIENCE_US) {
            return 0;
        }
        clock_wait_us(50);
        waited += 50;
    }
}

void uart_put(uint8_t byte)
{
    if (!wait_for(TX_RING - 1)) {
        uart_counters.tx_dropped++;
        return;
    }
    uart.tx[uart.tx_in % TX_RING] = byte;
    uart.tx_in++;
    send_some();
}

void uart_text(const char *text)
{
    while (*text != '\0') {
        uart_put((uint8_t)*text++);
    }
}

void uart_hex(uint32_t value, unsigned digits)
{
    char text[9];
    unsigned i;

    for (i = 0; i < digits && i < 8; i++) {
        text[i] = "0123456789abcdef"[value >> 4 * (digits - 1 - i) & 15];
    }
    text[i] = '\0';
    uart_text(text);
}

void uart_decimal(uint32_t value)
{
    char text[11];
    char *first = text + sizeof text - 1;

    *first = '\0';
    do {
        *--first = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    uart_text(first);
}

void uart_flush(void)
{
    unsigned waited;

    (void)wait_for(0);
    for (waited = 0; (UART_UTXCON & UART_LEVEL_MASK) != UART_FIFO_BYTES && waited < PATIENCE_US; waited += 50) {
        clock_wait_us(50);
    }
    clock_wait_us(100); /* the byte that is under way */
}
