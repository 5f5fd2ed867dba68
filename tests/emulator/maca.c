/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The MACA: the radio's digital part.
 *
 * An action is started by CONTROL and ends with ACPL and a code. The receiver is single shot, deaf unless it is posted, and
 * deaf with a receive length of 0; after a wrong checksum or a filtered frame it stands too. Between an action's end and
 * the next action there has to be an abort and, three clocks later, a nop. The byte behind the frame control is TXSEQNR's, as
 * it was when DMATX was written. A buffer that changes while it is being sent, a register touched with the clock off or an
 * action on top of another ends the run: nobody knows what the chip does then.
 */
#include "emulator.h"

#include <string.h>

#define RESET 0x04
#define RANDOM 0x08
#define CONTROL 0x0c
#define STATUS 0x10
#define EDVALUE 0x1c
#define TMREN 0x40
#define TMRDIS 0x44
#define CLK 0x48
#define STARTCLK 0x4c
#define CPLCLK 0x50
#define SFTCLK 0x54
#define DMARX 0x80
#define DMATX 0x84
#define TXLEN 0x8c
#define TXSEQNR 0x90
#define GETRXLVL 0x98
#define TIMESTAMP 0x68
#define IRQ 0xc0
#define CLRIRQ 0xc4
#define SETIRQ 0xc8
#define MASKIRQ 0xcc
#define PANID 0x100
#define SHORT 0x104
#define LONG_HI 0x108
#define LONG_LO 0x10c
#define CLKDIV 0x114
#define KEYS 0x158

#define SEQ_NOP 0u
#define SEQ_ABORT 1u
#define SEQ_TX 3u
#define SEQ_RX 4u
#define SEQ_CCA 6u
#define SEQ_ED 7u
#define CONTROL_ASAP (1u << 9)
#define CONTROL_PRM (1u << 11)
#define CONTROL_NOFC (1u << 12)

#define CODE_OK 0u
#define CODE_TIMEOUT 1u
#define CODE_BUSY 2u
#define CODE_CRC 3u
#define CODE_ABORTED 4u
#define CODE_NO_ACK 5u
#define CODE_UNLOCK 12u
#define CODE_RUNNING 14u
#define CODE_DMA 15u
#define STATUS_CRC (1u << 14)
#define STATUS_TO (1u << 15)

#define IRQ_ACPL (1u << 0)
#define IRQ_DI (1u << 2)
#define IRQ_SFT (1u << 10)
#define IRQ_FLT (1u << 11)
#define IRQ_CRC (1u << 12)
#define IRQ_CM (1u << 13)
#define IRQ_SYNC (1u << 14)
#define IRQ_STRT (1u << 15)

#define CLOCK 96u                   /* cycles a tick with CLKDIV 95 */
#define TIME_WARMUP (24 * CLOCK)
#define TIME_CCA (128 * EMU_US)
#define TIME_TURNAROUND (192 * EMU_US)
#define TIME_ACK_WAIT (864 * EMU_US)
#define TIME_ABORT (2 * CLOCK)
#define PREAMBLE_NEEDED (64 * EMU_US)

static void registers_reset(struct node *node)
{
    struct maca *maca = &node->maca;
    uint64_t actions = maca->actions;

    memset(maca, 0, sizeof *maca);
    maca->actions = actions;
    maca->at = maca->start_at = maca->complete_at = maca->soft_at = EMU_NEVER;
    maca->status = CODE_RUNNING;
    maca->clock_base = node->now;
    maca->random_base = node->now;
    maca->random_seed = 0x5eed1e55; /* the same in each chip: it is no entropy */
}

static uint32_t clk(const struct node *node)
{
    return (uint32_t)((node->now - node->maca.clock_base) / CLOCK);
}

static uint64_t clk_at(const struct node *node, uint32_t value)
{
    uint64_t now = (node->now - node->maca.clock_base) / CLOCK;

    return node->maca.clock_base + (now + (uint32_t)(value - (uint32_t)now)) * CLOCK;
}

static bool set_up(const struct node *node)
{
    return crm_powered(node) && crm_trimmed(node) && modem_channel(node) != 0 && node->maca.reg[CLKDIV / 4] == 95;
}

static void complete(struct node *node, uint32_t status)
{
    struct maca *maca = &node->maca;

    maca->action = MACA_IDLE;
    maca->at = EMU_NEVER;
    maca->locked = false;
    if (node->sabotage.radio_silent || node->sabotage.radio_dead) {
        maca->action = MACA_WARMING; /* for ever */
        return;
    }
    maca->status = status;
    maca->irq |= IRQ_ACPL;
    maca->needs_abort = true;
    node_kick(node);
}

static bool has_ack_request(const uint8_t *frame, unsigned len)
{
    return len >= 5 && (frame[0] >> 5 & 1) != 0;
}

/* ---- Sending ---- */

static void send(struct node *node)
{
    struct maca *maca = &node->maca;
    uint32_t len = maca->reg[TXLEN / 4] & 0x7f, room = maca->reg[TXLEN / 4] >> 16 & 0x7f, from = maca->reg[DMATX / 4];
    uint32_t extra = (maca->control & CONTROL_NOFC) != 0 ? 0 : 2;
    uint16_t fcs;

    if (len < 3 + extra || !node_in_ram(from, len - extra) || !node_in_ram(maca->reg[DMARX / 4], 1 + room)) {
        complete(node, CODE_DMA);
        return;
    }
    memcpy(maca->frame, node->ram + (from - RAM_BASE), len - extra);
    maca->frame[2] = maca->sequence;
    if (extra != 0) {
        fcs = air_fcs(maca->frame, len - 2);
        maca->frame[len - 2] = (uint8_t)fcs;
        maca->frame[len - 1] = (uint8_t)(fcs >> 8);
    }
    maca->frame_len = len;
    maca->action = MACA_SENDING;
    maca->at = node->now + air_duration(len);
    air_transmit(node->world, node, node->now, maca->frame, len, modem_channel(node));
}

static void sent(struct node *node)
{
    struct maca *maca = &node->maca;
    const uint8_t *now = node->ram + (maca->reg[DMATX / 4] - RAM_BASE);
    unsigned len = maca->frame_len - ((maca->control & CONTROL_NOFC) != 0 ? 0 : 2);

    if (memcmp(now, maca->frame, 2) != 0 || memcmp(now + 3, maca->frame + 3, len - 3) != 0) {
        node_fail(node, "the transmit buffer at %08x was changed while it was being sent", maca->reg[DMATX / 4]);
        return;
    }
    if ((maca->control & CONTROL_PRM) == 0 && has_ack_request(maca->frame, maca->frame_len)) {
        maca->action = MACA_AWAITING_ACK;
        maca->ack_sequence = maca->frame[2];
        maca->listening_since = node->now;
        maca->at = node->now + TIME_ACK_WAIT;
        return;
    }
    complete(node, CODE_OK);
}

/* ---- Receiving ---- */

bool maca_synchronise(struct node *node, uint64_t since)
{
    struct maca *maca = &node->maca;
    uint64_t now = node->world->now;
    bool listening = maca->action == MACA_LISTENING || maca->action == MACA_AWAITING_ACK;

    (void)since;
    if (!node->running || node->crm.asleep || !maca->clock_on || !listening || maca->locked ||
        maca->listening_since + PREAMBLE_NEEDED > now || !set_up(node) || (maca->reg[TXLEN / 4] >> 16 & 0x7f) == 0 ||
        node->sabotage.radio_silent || node->sabotage.radio_dead) {
        return false;
    }
    maca->locked = true;
    maca->reg[TIMESTAMP / 4] = clk(node);
    maca->irq |= IRQ_SYNC;
    node_kick(node);
    return true;
}

static bool address_matches(const uint8_t *bytes, uint32_t hi, uint32_t lo, unsigned len)
{
    for (unsigned i = 0; i < len; i++) {
        uint8_t ours = (uint8_t)(i < 4 ? lo >> (8 * i) : hi >> (8 * (i - 4)));

        if (bytes[i] != ours) {
            return false;
        }
    }
    return true;
}

/* Third filtering level of the standard, as far as the documents tell that this chip does it. */
static bool accepted(const struct node *node, const uint8_t *frame, unsigned len, bool *own)
{
    const struct maca *maca = &node->maca;
    unsigned mode = len >= 3 ? frame[1] >> 2 & 3 : 0;
    uint16_t pan;

    *own = false;
    if (len < 5 || (frame[0] & 7) > 3) {
        return false;
    }
    if ((frame[0] & 7) == 2) {
        return false; /* acknowledgements nobody waits for */
    }
    if (mode == 0) {
        return true;
    }
    if (mode == 1 || len < (mode == 2 ? 9u : 15u)) {
        return false;
    }
    pan = (uint16_t)(frame[3] | frame[4] << 8);
    if (pan != 0xffff && pan != (maca->reg[PANID / 4] & 0xffff)) {
        return false;
    }
    if (mode == 2 && frame[5] == 0xff && frame[6] == 0xff) {
        return true;
    }
    *own = mode == 2 ? address_matches(frame + 5, 0, maca->reg[SHORT / 4], 2)
                     : address_matches(frame + 5, maca->reg[LONG_HI / 4], maca->reg[LONG_LO / 4], 8);
    return *own;
}

static bool store(struct node *node, const uint8_t *psdu, unsigned len, unsigned *stored)
{
    struct maca *maca = &node->maca;
    uint32_t to = maca->reg[DMARX / 4], room = maca->reg[TXLEN / 4] >> 16 & 0x7f;
    unsigned fits = len < room ? len : room;

    if (!node_in_ram(to, 1 + room)) {
        complete(node, CODE_DMA);
        return false;
    }
    node->ram[to - RAM_BASE] = (uint8_t)len; /* as it came over the air, right or wrong */
    memcpy(node->ram + (to - RAM_BASE) + 1, psdu, fits);
    *stored = fits;
    return true;
}

static void acknowledge(struct node *node, const uint8_t *psdu)
{
    struct maca *maca = &node->maca;
    uint8_t ack[5] = {0x02, 0x00, psdu[2], 0, 0};
    uint16_t fcs = air_fcs(ack, 3);
    uint64_t start = node->world->now + TIME_TURNAROUND;

    ack[3] = (uint8_t)fcs;
    ack[4] = (uint8_t)(fcs >> 8);
    maca->action = MACA_ACKING;
    maca->at = start + air_duration(5);
    air_transmit(node->world, node, start, ack, 5, modem_channel(node));
}

void maca_receive(struct node *node, const uint8_t *psdu, unsigned len, bool fcs_right, uint8_t lqi)
{
    struct maca *maca = &node->maca;
    unsigned stored;
    bool own = false;

    if (!maca->locked) {
        return; /* aborted meanwhile */
    }
    maca->locked = false;
    node_kick(node);
    if (maca->action == MACA_AWAITING_ACK) {
        if (fcs_right && len == 5 && (psdu[0] & 7) == 2 && psdu[2] == maca->ack_sequence && store(node, psdu, len, &stored)) {
            complete(node, CODE_OK);
        }
        return;
    }
    if (maca->action != MACA_LISTENING) {
        return;
    }
    if (!fcs_right && (maca->control & CONTROL_NOFC) == 0) {
        (void)store(node, psdu, len, &stored); /* what came is in the buffer all the same */
        node->count.corrupted++;
        maca->irq |= IRQ_CRC;
        complete(node, CODE_CRC | STATUS_CRC);
        return;
    }
    if ((maca->control & CONTROL_PRM) == 0 && !accepted(node, psdu, len, &own)) {
        node->count.filtered++;
        complete(node, CODE_RUNNING);
        maca->irq = (maca->irq & ~IRQ_ACPL) | IRQ_FLT; /* no other sign that the receiver stands */
        return;
    }
    if (!store(node, psdu, len, &stored)) {
        return;
    }
    maca->lqi = lqi;
    maca->reg[GETRXLVL / 4] = stored;
    maca->irq |= IRQ_DI;
    node->count.rx_frames++;
    node->count.rx_bytes += len;
    if ((maca->control & CONTROL_PRM) == 0 && own && has_ack_request(psdu, len)) {
        maca->status = CODE_RUNNING;
        acknowledge(node, psdu);
        return;
    }
    complete(node, CODE_OK);
}

/* ---- Actions ---- */

static void begin(struct node *node)
{
    struct maca *maca = &node->maca;

    maca->at = node->now + TIME_WARMUP;
    maca->irq |= IRQ_STRT;
    switch (maca->control & 7) {
    case SEQ_RX:
        maca->action = MACA_LISTENING;
        maca->listening_since = node->now + TIME_WARMUP;
        maca->at = EMU_NEVER;
        break;
    case SEQ_TX:
        if (!set_up(node) || node->sabotage.radio_unlock) {
            maca->action = MACA_WARMING;
            maca->control |= 1u << 31; /* ends without a frame */
            break;
        }
        maca->action = (maca->control >> 3 & 3) == 1 ? MACA_ASSESSING : MACA_WARMING;
        maca->at += maca->action == MACA_ASSESSING ? TIME_CCA : 0;
        break;
    case SEQ_CCA:
        maca->action = MACA_ASSESSING;
        maca->at += TIME_CCA;
        break;
    default:
        maca->action = MACA_MEASURING;
        maca->at += TIME_CCA;
        break;
    }
}

static void start(struct node *node, uint32_t control)
{
    struct maca *maca = &node->maca;

    if (maca->action != MACA_IDLE) {
        node_fail(node, "MACA action %u started while another is under way", control & 7);
        return;
    }
    if (maca->needs_abort || maca->needs_nop) {
        node_fail(node, "MACA action %u started without %s after the last one", control & 7,
                  maca->needs_abort ? "an abort" : "a nop");
        return;
    }
    if ((control & 7) == 2 || (control & 7) == 5 || (control >> 3 & 3) > 1 || (control >> 7 & 1) != 0) {
        node_fail(node, "MACA control %08x is not modelled", control);
        return;
    }
    maca->actions++;
    maca->control = control & 0x7fffffffu;
    maca->status = CODE_RUNNING;
    if ((control >> 16 & 0xf) != 4) {
        maca->control |= 1u << 31; /* a preamble of another length is heard by nobody */
    }
    if ((control & CONTROL_ASAP) == 0) {
        maca->action = MACA_WARMING;
        maca->at = EMU_NEVER;
        return; /* waits for STARTCLK */
    }
    begin(node);
}

static void advance_action(struct node *node)
{
    struct maca *maca = &node->maca;
    bool busy;

    maca->at = EMU_NEVER;
    switch (maca->action) {
    case MACA_ABORTING:
        maca->action = MACA_IDLE;
        maca->status = CODE_ABORTED;
        maca->irq |= IRQ_ACPL;
        maca->needs_abort = false;
        maca->needs_nop = true;
        node_kick(node);
        break;
    case MACA_WARMING:
        if (maca->control >> 31 != 0) {
            complete(node, CODE_UNLOCK);
        } else {
            send(node);
        }
        break;
    case MACA_ASSESSING:
        busy = air_busy(node->world, node, node->now - TIME_CCA, node->now);
        if ((maca->control & 7) == SEQ_TX && !busy && maca->control >> 31 == 0) {
            send(node);
        } else {
            complete(node, busy ? CODE_BUSY : maca->control >> 31 != 0 ? CODE_UNLOCK : CODE_OK);
        }
        break;
    case MACA_MEASURING:
        busy = air_busy(node->world, node, node->now - TIME_CCA, node->now);
        maca->reg[EDVALUE / 4] = (busy ? 0x60u : 0x10u) +
                                 (uint32_t)(world_random(node->seed, maca->actions, 0x6564, node->count.boots) & 7);
        complete(node, CODE_OK);
        break;
    case MACA_SENDING:
        sent(node);
        break;
    case MACA_ACKING:
        complete(node, CODE_OK);
        break;
    case MACA_AWAITING_ACK:
        complete(node, CODE_NO_ACK);
        break;
    default:
        break;
    }
}

static void stop(struct node *node)
{
    if (node->maca.action == MACA_SENDING || node->maca.action == MACA_ACKING) {
        air_cut_short(node->world, node, node->now);
    }
    node->maca.locked = false;
}

static void maca_advance(struct node *node)
{
    struct maca *maca = &node->maca;

    if (maca->start_at <= node->now) {
        maca->start_at = EMU_NEVER;
        if (maca->action == MACA_WARMING && maca->at == EMU_NEVER && (maca->control & CONTROL_ASAP) == 0) {
            begin(node);
        }
    }
    if (maca->at <= node->now) {
        advance_action(node);
    }
    if (node->sabotage.radio_dead) {
        maca->soft_at = maca->complete_at = EMU_NEVER;
    }
    if (maca->soft_at <= node->now) {
        maca->soft_at = EMU_NEVER;
        maca->irq |= IRQ_SFT;
        if (maca->action == MACA_LISTENING && !maca->locked) {
            complete(node, CODE_TIMEOUT | STATUS_TO);
        }
        node_kick(node);
    }
    if (maca->complete_at <= node->now) {
        maca->complete_at = EMU_NEVER;
        maca->irq |= IRQ_CM;
        if (maca->action != MACA_IDLE && maca->action != MACA_ABORTING) {
            stop(node);
            complete(node, CODE_TIMEOUT | STATUS_TO);
        }
        node_kick(node);
    }
}

static uint64_t maca_next(const struct node *node)
{
    const struct maca *maca = &node->maca;
    uint64_t next = maca->at < maca->start_at ? maca->at : maca->start_at;

    next = maca->soft_at < next ? maca->soft_at : next;
    return maca->complete_at < next ? maca->complete_at : next;
}

static bool maca_line(const struct node *node)
{
    return (node->maca.irq & node->maca.reg[MASKIRQ / 4]) != 0;
}

static void maca_reset(struct node *node)
{
    registers_reset(node);
}

/* ---- Registers ---- */

static bool reachable(struct node *node, const char *what, uint32_t offset, unsigned size)
{
    if (size != 4 || offset >= sizeof node->maca.reg) {
        node_fail(node, "MACA +%03x %s with %u bytes", offset, what, size);
        return false;
    }
    if (!node->maca.clock_on && offset != RESET) {
        node_fail(node, "MACA +%03x %s with its clock off: the chip may hang", offset, what);
        return false;
    }
    return true;
}

static uint32_t maca_read(struct node *node, uint32_t offset, unsigned size)
{
    struct maca *maca = &node->maca;

    if (!reachable(node, "read", offset, size)) {
        return 0;
    }
    switch (offset) {
    case RANDOM:
        node->effects++;
        return (uint32_t)world_random(maca->random_seed, (node->now - maca->random_base) / CLOCK, 0x6c667372, 0);
    case STATUS: return maca->status;
    case CLK:
        node->effects++;
        return clk(node);
    case IRQ: return maca->irq;
    case CONTROL: return maca->control & 0xffffu;
    default:
        return offset >= KEYS && offset < KEYS + 16 ? 0 : maca->reg[offset / 4];
    }
}

static void reset_written(struct node *node, uint32_t value)
{
    struct maca *maca = &node->maca;

    if ((value & 1) != 0) {
        stop(node);
        registers_reset(node);
    }
    maca->clock_on = (value & 2) != 0;
    maca->reg[RESET / 4] = value & 2;
}

static void timers_written(struct node *node)
{
    struct maca *maca = &node->maca;
    uint32_t enabled = maca->reg[TMREN / 4];

    maca->start_at = (enabled & 1) != 0 ? clk_at(node, maca->reg[STARTCLK / 4]) : EMU_NEVER;
    maca->complete_at = (enabled & 2) != 0 ? clk_at(node, maca->reg[CPLCLK / 4]) : EMU_NEVER;
    maca->soft_at = (enabled & 4) != 0 ? clk_at(node, maca->reg[SFTCLK / 4]) : EMU_NEVER;
}

static void maca_write(struct node *node, uint32_t offset, unsigned size, uint32_t value)
{
    struct maca *maca = &node->maca;

    if (!reachable(node, "written", offset, size)) {
        return;
    }
    switch (offset) {
    case RESET:
        reset_written(node, value);
        return;
    case RANDOM:
        maca->random_seed = value;
        maca->random_base = node->now;
        return;
    case CONTROL:
        if ((value & 7) == SEQ_NOP) {
            if (maca->action == MACA_IDLE && !maca->needs_abort) {
                maca->needs_nop = false;
            }
        } else if ((value & 7) == SEQ_ABORT) {
            stop(node);
            maca->action = MACA_ABORTING;
            maca->at = node->now + TIME_ABORT;
        } else {
            start(node, value);
        }
        return;
    case STATUS:
    case IRQ:
    case GETRXLVL:
        return; /* read-only */
    case CLK:
        maca->clock_base = node->now - (uint64_t)value * CLOCK;
        timers_written(node);
        return;
    case CLRIRQ: maca->irq &= ~value; return;
    case SETIRQ: maca->irq |= value; return;
    case TMREN: maca->reg[TMREN / 4] |= value & 7; timers_written(node); return;
    case TMRDIS:
        maca->reg[TMREN / 4] &= ~(value & 7) & ~(value >> 3 & 7);
        timers_written(node);
        return;
    case STARTCLK:
    case CPLCLK:
    case SFTCLK:
        maca->reg[offset / 4] = value;
        timers_written(node);
        return;
    case DMATX:
        maca->sequence = (uint8_t)maca->reg[TXSEQNR / 4];
        break;
    default:
        break;
    }
    maca->reg[offset / 4] = value;
}

const struct model model_maca = {.name = "MACA", .reset = maca_reset, .read = maca_read, .write = maca_write,
                                 .advance = maca_advance, .next = maca_next, .line = maca_line, .irq = IRQ_MACA};
