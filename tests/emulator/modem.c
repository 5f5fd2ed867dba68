/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The radio's analog part (0x80009000 to 0x8000afff), which nobody outside the chip's maker understands: plain storage. Two
 * things can be told from it: whether somebody has written the long table of values, and the frequency, which is
 * 48 MHz x (integer + 3 + fraction / 2^25). A radio that is not set up, or tuned to no channel, hears nothing.
 *
 * And the ADC, as a source of noise of unknown worth.
 */
#include "emulator.h"

#include <string.h>

#define TABLE_REGISTERS 40u /* distinct ones that a complete setup writes, at least */
#define TUNE_CONTROL 0x800
#define TUNE_INTEGER 0x80c
#define TUNE_FRACTION 0x810

static void modem_reset(struct node *node)
{
    memset(node->modem, 0, sizeof node->modem);
    memset(node->modem_written, 0, sizeof node->modem_written);
    node->modem_count = 0;
}

int modem_channel(const struct node *node)
{
    uint64_t integer = node->modem[TUNE_INTEGER / 4] & 0xff, fraction = node->modem[TUNE_FRACTION / 4] & 0x1ffffff;
    uint64_t khz = 48000 * (integer + 3) + (48000 * fraction >> 25), offset;

    if (node->modem_count < TABLE_REGISTERS || (node->modem[TUNE_CONTROL / 4] >> 30 & 1) != 0 || khz < 2404900) {
        return 0;
    }
    offset = khz - 2404900;
    return offset % 5000 < 200 && offset / 5000 < 16 ? 11 + (int)(offset / 5000) : 0;
}

static uint32_t modem_read(struct node *node, uint32_t offset, unsigned size)
{
    if (size != 4) {
        node_fail(node, "modem +%04x read with %u bytes", offset, size);
        return 0;
    }
    return node->modem[offset / 4];
}

static void modem_write(struct node *node, uint32_t offset, unsigned size, uint32_t value)
{
    if (size != 4) {
        node_fail(node, "modem +%04x written with %u bytes", offset, size);
        return;
    }
    node->modem[offset / 4] = value;
    node->modem_count += node->modem_written[offset / 4] == 0;
    node->modem_written[offset / 4] = 1;
}

const struct model model_modem = {.name = "modem", .reset = modem_reset, .read = modem_read, .write = modem_write};

static void adc_reset(struct node *node)
{
    memset(node->adc, 0, sizeof node->adc);
}

static uint32_t adc_read(struct node *node, uint32_t offset, unsigned size)
{
    uint32_t noise;

    if (size != 2 || offset >= sizeof node->adc) {
        node_fail(node, "ADC +%02x read with %u bytes: it has 16-bit registers", offset, size);
        return 0;
    }
    switch (offset) {
    case 0x20: /* battery or reference: a level, and some bits of noise */
        node->effects++;
        noise = (uint32_t)world_random(node->seed, node->adc_reads++, 0x616463, node->count.boots) & 7;
        return (node->adc[0x18 / 2] & 1) == 0 ? 0 : 0x8000u | (0x640u + noise);
    case 0x24:
        return (node->adc[0x18 / 2] & 1) == 0 ? 0x20 : 4;
    default:
        return node->adc[offset / 2];
    }
}

static void adc_write(struct node *node, uint32_t offset, unsigned size, uint32_t value)
{
    if (size != 2 || offset >= sizeof node->adc) {
        node_fail(node, "ADC +%02x written with %u bytes: it has 16-bit registers", offset, size);
        return;
    }
    node->adc[offset / 2] = (uint16_t)value;
}

static bool adc_line(const struct node *node)
{
    (void)node;
    return false;
}

const struct model model_adc = {.name = "ADC", .reset = adc_reset, .read = adc_read, .write = adc_write, .line = adc_line,
                                .irq = IRQ_ADC};
