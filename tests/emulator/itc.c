/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Interrupt controller. Lines are levels: who does not quieten the source comes back. A source that is enabled inside a section
 * that restores INTENABLE afterwards is lost, as on the chip, because the restore writes what was read before.
 */
#include "emulator.h"

static uint32_t lines(const struct node *node)
{
    static const struct model *const sources[] = {&model_asm, &model_uart1, &model_uart2, &model_crm, &model_tmr, &model_maca,
                                                  &model_adc};
    uint32_t raised = node->itc.force;

    for (unsigned i = 0; i < sizeof sources / sizeof sources[0]; i++) {
        if (sources[i]->line(node)) {
            raised |= 1u << sources[i]->irq;
        }
    }
    return raised;
}

uint32_t itc_pending(const struct node *node)
{
    return node->itc.enable == 0 ? 0 : lines(node) & node->itc.enable;
}

bool itc_fast(const struct node *node)
{
    return (itc_pending(node) & node->itc.type) != 0;
}

static uint32_t highest(uint32_t pending)
{
    for (uint32_t i = IRQ_COUNT; i-- > 0;) {
        if ((pending >> i & 1) != 0) {
            return i;
        }
    }
    return UINT32_MAX; /* none */
}

static void itc_reset(struct node *node)
{
    node->itc = (struct itc){.mask = 0x1f};
}

static uint32_t itc_read(struct node *node, uint32_t offset, unsigned size)
{
    const struct itc *itc = &node->itc;

    if (size != 4) {
        node_fail(node, "ITC +%02x read with %u bytes", offset, size);
        return 0;
    }
    switch (offset) {
    case 0x00: return itc->control;
    case 0x04: return itc->mask;
    case 0x10: return itc->enable;
    case 0x14: return itc->type;
    case 0x28: return highest(itc_pending(node) & ~itc->type);
    case 0x2c: return highest(itc_pending(node) & itc->type);
    case 0x30: return lines(node);
    case 0x34: return itc->force;
    case 0x38: return itc_pending(node) & ~itc->type;
    case 0x3c: return itc_pending(node) & itc->type;
    default: return 0;
    }
}

static void itc_write(struct node *node, uint32_t offset, unsigned size, uint32_t value)
{
    struct itc *itc = &node->itc;
    const uint32_t all = (1u << IRQ_COUNT) - 1;

    if (size != 4) {
        node_fail(node, "ITC +%02x written with %u bytes", offset, size);
        return;
    }
    switch (offset) {
    case 0x00: itc->control = value; break;
    case 0x04: itc->mask = value; break;
    case 0x08: itc->enable |= 1u << (value & 31) & all; break;
    case 0x0c: itc->enable &= ~(1u << (value & 31)); break;
    case 0x10: itc->enable = value & all; break;
    case 0x14: itc->type = value & all; break;
    case 0x34: itc->force = value & all; break;
    default: break;
    }
}

const struct model model_itc = {.name = "ITC", .reset = itc_reset, .read = itc_read, .write = itc_write};
