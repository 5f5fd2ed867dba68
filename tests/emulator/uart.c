/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * UARTs with 32 bytes of FIFO each way and real byte times. Who does not read in time loses bytes and finds ROE; who writes to
 * a full FIFO loses that byte and finds TOE. The other end of the wire of UART1 runs at 115200 baud; another rate, or pins
 * that are not the UART's, make nothing of it.
 */
#include "emulator.h"

#include <string.h>

#define CON_TXE 0x0001u
#define CON_RXE 0x0002u
#define CON_XTIM 0x0400u
#define CON_MTXR 0x2000u
#define CON_MRXR 0x4000u
#define STAT_TOE 0x08u
#define STAT_ROE 0x10u
#define STAT_RUE 0x20u
#define STAT_RXRDY 0x40u
#define STAT_TXRDY 0x80u
#define HOST_BYTE (EMU_HZ * 10 / 115200)

static uint64_t byte_time(const struct uart *uart)
{
    uint64_t mod = uart->baud & 0xffff, inc = (uart->baud >> 16) + 1;

    return mod == 0 ? EMU_S : 10 * ((uart->con & CON_XTIM) != 0 ? 8u : 16u) * mod / inc;
}

/* A receiver tolerates some per cent of wrong rate. */
static bool understood(const struct node *node, const struct uart *uart)
{
    uint64_t time = byte_time(uart);

    return gpio_uart(node) && time * 100 > HOST_BYTE * 97 && time * 100 < HOST_BYTE * 103;
}

static void uart_reset(struct uart *uart)
{
    memset(uart, 0, sizeof *uart);
    uart->con = CON_MTXR | CON_MRXR;
    uart->tx_shift = -1;
    uart->tx_done = EMU_NEVER;
    uart->host_next = EMU_NEVER;
}

static void reset1(struct node *node)
{
    uart_reset(&node->uart[0]);
}

static void reset2(struct node *node)
{
    uart_reset(&node->uart[1]);
}

static void shift(struct node *node, struct uart *uart)
{
    if (uart->tx_shift < 0 && uart->tx_count > 0 && (uart->con & CON_TXE) != 0) {
        uart->tx_shift = uart->tx[0];
        memmove(uart->tx, uart->tx + 1, --uart->tx_count);
        uart->tx_done = (uart->tx_done == EMU_NEVER ? node->now : uart->tx_done) + byte_time(uart);
    }
}

static void hear(struct node *node, struct uart *uart, uint8_t byte)
{
    if (uart != &node->uart[0] || !gpio_uart(node)) {
        return;
    }
    if (!understood(node, uart)) {
        byte = '?';
    }
    if (byte == '\n' || uart->line_len == sizeof uart->line - 1) {
        uart->line[uart->line_len] = '\0';
        uart->line_len = 0;
        world_line(node->world, node, uart->line);
    }
    if (byte != '\n' && byte != '\r') {
        uart->line[uart->line_len++] = byte >= ' ' && byte < 0x7f ? (char)byte : '.';
    }
}

static void advance(struct node *node, struct uart *uart)
{
    while (uart->tx_done <= node->now) {
        uint8_t byte = (uint8_t)uart->tx_shift;

        uart->tx_shift = -1;
        shift(node, uart);
        if (uart->tx_shift < 0) {
            uart->tx_done = EMU_NEVER;
        }
        hear(node, uart, byte);
    }
    while (uart->host_next <= node->now) {
        uint8_t byte = uart->host[uart->host_head];

        uart->host_head = (uart->host_head + 1) % UART_HOST;
        uart->host_next = --uart->host_count > 0 ? uart->host_next + HOST_BYTE : EMU_NEVER;
        if ((uart->con & CON_RXE) == 0 || !understood(node, uart)) {
            continue;
        }
        if (uart->rx_count == UART_FIFO) {
            uart->errors |= STAT_ROE;
            uart->overruns++;
            continue;
        }
        uart->rx[uart->rx_count++] = byte;
    }
}

static void advance1(struct node *node)
{
    advance(node, &node->uart[0]);
}

static void advance2(struct node *node)
{
    advance(node, &node->uart[1]);
}

static uint64_t next1(const struct node *node)
{
    const struct uart *uart = &node->uart[0];

    return uart->tx_done < uart->host_next ? uart->tx_done : uart->host_next;
}

static uint64_t next2(const struct node *node)
{
    return node->uart[1].tx_done;
}

void uart_type(struct node *node, const uint8_t *data, size_t len)
{
    struct uart *uart = &node->uart[0];

    for (size_t i = 0; i < len && uart->host_count < UART_HOST; i++) {
        uart->host[(uart->host_head + uart->host_count++) % UART_HOST] = data[i];
    }
    if (uart->host_count > 0 && uart->host_next == EMU_NEVER) {
        uart->host_next = node->world->now + HOST_BYTE;
    }
}

static uint32_t status(const struct uart *uart)
{
    uint32_t level = uart->rx_level == 0 ? 1 : uart->rx_level;

    return uart->errors | (uart->rx_count >= level ? STAT_RXRDY : 0) |
           (UART_FIFO - uart->tx_count >= uart->tx_level && uart->tx_count < UART_FIFO ? STAT_TXRDY : 0);
}

static bool line(const struct uart *uart)
{
    uint32_t now = status(uart);

    return ((now & STAT_RXRDY) != 0 && (uart->con & (CON_MRXR | CON_RXE)) == CON_RXE) ||
           ((now & STAT_TXRDY) != 0 && (uart->con & (CON_MTXR | CON_TXE)) == CON_TXE);
}

static bool line1(const struct node *node)
{
    return line(&node->uart[0]);
}

static bool line2(const struct node *node)
{
    return line(&node->uart[1]);
}

static uint32_t uart_read(struct node *node, struct uart *uart, uint32_t offset, unsigned size)
{
    uint32_t value;

    if (size != 4 && !(offset == 0x08 && size == 1)) {
        node_fail(node, "UART +%02x read with %u bytes", offset, size);
        return 0;
    }
    switch (offset) {
    case 0x00: return uart->con;
    case 0x04:
        value = status(uart);
        if (uart->errors != 0) {
            node->effects++;
            uart->errors = 0; /* errors are told once */
        }
        return value;
    case 0x08:
        node->effects++;
        if (uart->rx_count == 0) {
            uart->errors |= STAT_RUE;
            return (uint32_t)world_random(node->seed, node->now, 0x75, 0) & 0xff;
        }
        value = uart->rx[0];
        memmove(uart->rx, uart->rx + 1, --uart->rx_count);
        return value;
    case 0x0c: return uart->rx_count;
    case 0x10: return UART_FIFO - uart->tx_count;
    case 0x18: return uart->baud;
    default: return 0;
    }
}

static void uart_write(struct node *node, struct uart *uart, uint32_t offset, unsigned size, uint32_t value)
{
    if (size != 4 && !(offset == 0x08 && size == 1)) {
        node_fail(node, "UART +%02x written with %u bytes", offset, size);
        return;
    }
    switch (offset) {
    case 0x00:
        uart->con = value;
        shift(node, uart);
        break;
    case 0x08:
        if ((uart->con & CON_TXE) == 0) {
            break;
        }
        if (uart->tx_count == UART_FIFO) {
            uart->errors |= STAT_TOE;
            break;
        }
        uart->tx[uart->tx_count++] = (uint8_t)value;
        shift(node, uart);
        break;
    case 0x0c: uart->rx_level = value & 0x1f; break;
    case 0x10: uart->tx_level = value & 0x1f; break;
    case 0x18:
        if ((uart->con & (CON_TXE | CON_RXE)) == 0) {
            uart->baud = value; /* the divider takes a new value only while the UART is off */
        }
        break;
    default: break;
    }
}

static uint32_t read1(struct node *node, uint32_t offset, unsigned size)
{
    return uart_read(node, &node->uart[0], offset, size);
}

static uint32_t read2(struct node *node, uint32_t offset, unsigned size)
{
    return uart_read(node, &node->uart[1], offset, size);
}

static void write1(struct node *node, uint32_t offset, unsigned size, uint32_t value)
{
    uart_write(node, &node->uart[0], offset, size, value);
}

static void write2(struct node *node, uint32_t offset, unsigned size, uint32_t value)
{
    uart_write(node, &node->uart[1], offset, size, value);
}

const struct model model_uart1 = {.name = "UART1", .reset = reset1, .read = read1, .write = write1, .advance = advance1,
                                  .next = next1, .line = line1, .irq = IRQ_UART1};
const struct model model_uart2 = {.name = "UART2", .reset = reset2, .read = read2, .write = write2, .advance = advance2,
                                  .next = next2, .line = line2, .irq = IRQ_UART2};
