/* SPDX-License-Identifier: BSD-3-Clause */
/* Pins. An output changes only where its direction says so; the UART reaches the wire only through pins that are its own. */
#include "emulator.h"

#include <string.h>

#define DIR 0x00
#define DATA 0x08
#define FUNC_SEL 0x18

static void gpio_reset(struct node *node)
{
    memset(node->gpio, 0, sizeof node->gpio);
}

bool gpio_uart(const struct node *node)
{
    return (node->gpio[FUNC_SEL / 4] >> 28 & 0xf) == 0x5; /* pins 14 and 15, function 1 each */
}

static uint32_t gpio_read(struct node *node, uint32_t offset, unsigned size)
{
    if (size != 4 || offset >= 0x80) {
        node_fail(node, "GPIO +%02x read with %u bytes", offset, size);
        return 0;
    }
    return offset >= 0x48 ? 0 : node->gpio[offset / 4];
}

static void gpio_write(struct node *node, uint32_t offset, unsigned size, uint32_t value)
{
    uint32_t *reg = node->gpio, before[2], word = offset >> 2 & 1;

    if (size != 4 || offset >= 0x80) {
        node_fail(node, "GPIO +%02x written with %u bytes", offset, size);
        return;
    }
    before[0] = reg[DATA / 4] & reg[DIR / 4];
    before[1] = reg[DATA / 4 + 1] & reg[DIR / 4 + 1];
    switch (offset & ~4u) {
    case 0x48: reg[DATA / 4 + word] |= value; break;
    case 0x50: reg[DATA / 4 + word] &= ~value; break;
    case 0x58: reg[DIR / 4 + word] |= value; break;
    case 0x60: reg[DIR / 4 + word] &= ~value; break;
    default: reg[offset / 4] = value; break;
    }
    for (unsigned pin = 0; pin < 64; pin++) {
        uint32_t now = reg[DATA / 4 + pin / 32] & reg[DIR / 4 + pin / 32];

        if (((now ^ before[pin / 32]) >> (pin % 32) & 1) != 0 && (pin == 44 || pin == 45)) {
            world_say(node->world, node, node->now, "%s LED %s", pin == 44 ? "red" : "green",
                      (now >> (pin % 32) & 1) != 0 ? "on" : "off");
        }
    }
}

const struct model model_gpio = {.name = "GPIO", .reset = gpio_reset, .read = gpio_read, .write = gpio_write};
