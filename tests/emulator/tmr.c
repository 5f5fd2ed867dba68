/* SPDX-License-Identifier: BSD-3-Clause */
/* Four timers: counting up from the chip's clock to COMP1, the one use that is described well. 16-bit accesses only. */
#include "emulator.h"

#include <string.h>

#define SCTRL_TCF 0x8000u
#define SCTRL_TCFIE 0x4000u
#define SCTRL_TOF 0x2000u
#define SCTRL_TOFIE 0x1000u
#define CTRL_LENGTH 0x20u
#define CTRL_ONCE 0x40u
#define CSCTRL_TCF1 0x10u
#define CSCTRL_TCF2 0x20u
#define CSCTRL_TCF1EN 0x40u
#define CSCTRL_TCF2EN 0x80u

static void tmr_reset(struct node *node)
{
    memset(&node->tmr, 0, sizeof node->tmr);
    node->tmr.enable = 0xf;
}

static uint64_t step(const struct tmr_channel *channel)
{
    unsigned primary = channel->ctrl >> 9 & 15;

    return primary >= 8 ? 1ull << (primary - 8) : 0; /* sources below 8 are pins and other timers */
}

/* Hardware is known that ran only with all four enabled. */
static bool counts(const struct node *node, const struct tmr_channel *channel)
{
    return node->tmr.enable == 0xf && channel->ctrl >> 13 == 1 && step(channel) != 0;
}

static uint16_t count_now(const struct node *node, const struct tmr_channel *channel)
{
    uint64_t steps = channel->running ? (node->now - channel->base) / step(channel) : 0;

    return (uint16_t)(channel->count + steps);
}

/* Before anything that the counting depends on changes. */
static void hold(struct node *node, struct tmr_channel *channel)
{
    channel->count = count_now(node, channel);
    channel->base = node->now;
}

static uint64_t due(const struct tmr_channel *channel)
{
    uint32_t left = (uint16_t)(channel->comp1 - channel->count);

    return channel->running ? channel->base + (left + 1ull) * step(channel) : EMU_NEVER;
}

static void tmr_advance(struct node *node)
{
    for (unsigned i = 0; i < 4; i++) {
        struct tmr_channel *channel = &node->tmr.channel[i];

        while (due(channel) <= node->now) {
            channel->base = due(channel);
            channel->sctrl |= SCTRL_TCF;
            channel->csctrl |= CSCTRL_TCF1;
            channel->count = (channel->ctrl & CTRL_LENGTH) != 0 ? channel->load : (uint16_t)(channel->comp1 + 1);
            if ((channel->csctrl & 3) == 1) {
                channel->comp1 = channel->cmpld1;
            }
            if ((channel->ctrl & CTRL_ONCE) != 0) {
                channel->running = false;
                channel->ctrl &= 0x1fff;
            }
        }
    }
}

static uint64_t tmr_next(const struct node *node)
{
    uint64_t next = EMU_NEVER;

    for (unsigned i = 0; i < 4; i++) {
        uint64_t at = due(&node->tmr.channel[i]);

        next = at < next ? at : next;
    }
    return next;
}

static bool tmr_line(const struct node *node)
{
    for (unsigned i = 0; i < 4; i++) {
        const struct tmr_channel *channel = &node->tmr.channel[i];

        if ((channel->sctrl & (SCTRL_TCF | SCTRL_TCFIE)) == (SCTRL_TCF | SCTRL_TCFIE) ||
            (channel->sctrl & (SCTRL_TOF | SCTRL_TOFIE)) == (SCTRL_TOF | SCTRL_TOFIE) ||
            (channel->csctrl & (CSCTRL_TCF1 | CSCTRL_TCF1EN)) == (CSCTRL_TCF1 | CSCTRL_TCF1EN) ||
            (channel->csctrl & (CSCTRL_TCF2 | CSCTRL_TCF2EN)) == (CSCTRL_TCF2 | CSCTRL_TCF2EN)) {
            return true;
        }
    }
    return false;
}

static uint32_t tmr_read(struct node *node, uint32_t offset, unsigned size)
{
    struct tmr_channel *channel = &node->tmr.channel[offset >> 5 & 3];

    if (size != 2 || offset >= 0x80) {
        node_fail(node, "TMR +%02x read with %u bytes: it has 16-bit registers", offset, size);
        return 0;
    }
    switch (offset & 0x1f) {
    case 0x00: return channel->comp1;
    case 0x02: return channel->comp2;
    case 0x04: return channel->capt;
    case 0x06: return channel->load;
    case 0x08: return channel->hold;
    case 0x0a:
        node->effects++;
        return count_now(node, channel);
    case 0x0c: return channel->ctrl;
    case 0x0e: return channel->sctrl;
    case 0x10: return channel->cmpld1;
    case 0x12: return channel->cmpld2;
    case 0x14: return channel->csctrl;
    case 0x1e: return node->tmr.enable;
    default: return 0;
    }
}

static void tmr_write(struct node *node, uint32_t offset, unsigned size, uint32_t value)
{
    struct tmr_channel *channel = &node->tmr.channel[offset >> 5 & 3];
    uint16_t word = (uint16_t)value;

    if (size != 2 || offset >= 0x80) {
        node_fail(node, "TMR +%02x written with %u bytes: it has 16-bit registers", offset, size);
        return;
    }
    for (unsigned i = 0; i < 4; i++) {
        hold(node, &node->tmr.channel[i]);
    }
    switch (offset & 0x1f) {
    case 0x00: channel->comp1 = word; break;
    case 0x02: channel->comp2 = word; break;
    case 0x04: channel->capt = word; break;
    case 0x06: channel->load = word; break;
    case 0x08: channel->hold = word; break;
    case 0x0a: channel->count = word; break;
    case 0x0c: channel->ctrl = word; break;
    case 0x0e: channel->sctrl = word; break;
    case 0x10: channel->cmpld1 = word; break;
    case 0x12: channel->cmpld2 = word; break;
    case 0x14: channel->csctrl = word; break;
    case 0x1e:
        if (offset < 0x20) {
            node->tmr.enable = word & 0xf;
        }
        break;
    default: break;
    }
    for (unsigned i = 0; i < 4; i++) {
        node->tmr.channel[i].running = counts(node, &node->tmr.channel[i]);
    }
}

const struct model model_tmr = {.name = "TMR", .reset = tmr_reset, .read = tmr_read, .write = tmr_write,
                                .advance = tmr_advance, .next = tmr_next, .line = tmr_line, .irq = IRQ_TMR};
