/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Clocks, regulators, RTC, sleep, watchdog.
 *
 * The RTC stands until a clock for it is set up, begins anywhere (often just before its counter wraps), and its wake-up event
 * takes two of its clocks to go away after it was cleared. The watchdog resets. A reset says nothing about its cause.
 */
#include "emulator.h"

#include <string.h>

#define SYS_CNTL 0x00
#define WU_CNTL 0x04
#define SLEEP_CNTL 0x08
#define BS_CNTL 0x0c
#define COP_CNTL 0x10
#define COP_SERVICE 0x14
#define STATUS 0x18
#define RTC_COUNT 0x28
#define RTC_TIMEOUT 0x2c
#define CAL_CNTL 0x34
#define CAL_COUNT 0x38
#define RINGOSC_CNTL 0x3c
#define XTAL_CNTL 0x40
#define XTAL32_CNTL 0x44
#define VREG_CNTL 0x48
#define SW_RST 0x50

#define STATUS_SLEEP_SYNC (1u << 0)
#define STATUS_HIB_WU (1u << 1)
#define STATUS_DOZE_WU (1u << 2)
#define STATUS_RTC_WU (1u << 3)
#define STATUS_CAL_DONE (1u << 9)
#define STATUS_COP (1u << 10)

#define COP_STEP (1u << 21)
#define COP_KEY 0xc0de5afeu
#define RESET_KEY 0x87651234u
#define VREG_TIME (2 * EMU_MS)

/* value * to / from without overflow */
static uint64_t scale(uint64_t value, uint64_t to, uint64_t from)
{
    return value / from * to + value % from * to / from;
}

uint64_t crm_ticks(uint64_t cycles, uint64_t hz)
{
    return scale(cycles, hz, EMU_HZ);
}

static uint64_t tick_cycles(const struct crm *crm, uint64_t ticks)
{
    return crm->rtc_hz == 0 ? EMU_S : scale(ticks, EMU_HZ, crm->rtc_hz) + 1;
}

static uint64_t ring_hz(const struct node *node)
{
    return 1500 + world_random(node->seed, 0x72696e67, 0, 0) % 1000;
}

bool crm_powered(const struct node *node)
{
    return node->crm.vreg_at <= node->now;
}

bool crm_trimmed(const struct node *node)
{
    uint32_t xtal = node->crm.reg[XTAL_CNTL / 4];

    return (xtal & 0xff) == 0x52 && (xtal >> 16 & 0x1ff) != 0;
}

static void crm_reset(struct node *node)
{
    struct crm *crm = &node->crm;
    uint64_t start = world_random(node->seed, 0x727463, node->count.boots, 0);

    memset(crm, 0, sizeof *crm);
    crm->reg[VREG_CNTL / 4] = 0xf20;
    crm->reg[RINGOSC_CNTL / 4] = 0;
    crm->reg[XTAL_CNTL / 4] = 0x00000052;
    crm->vreg_at = crm->rtc_from = crm->rtc_timeout_at = crm->rtc_clear_at = crm->cop_at = crm->calibrated_at =
        crm->sleep_sync_at = EMU_NEVER;
    /* One start in two wraps the counter within the first minute. */
    crm->rtc_base = (start & 1) != 0 ? 0u - (uint32_t)((start >> 8) % (60 * EMU_RTC_HZ)) : (uint32_t)(start >> 8);
}

static uint32_t rtc_count(const struct node *node)
{
    const struct crm *crm = &node->crm;

    return crm->rtc_from > node->now ? crm->rtc_base
                                     : crm->rtc_base + (uint32_t)crm_ticks(node->now - crm->rtc_from, crm->rtc_hz);
}

static void rtc_clock(struct node *node)
{
    struct crm *crm = &node->crm;
    bool ring = (crm->reg[RINGOSC_CNTL / 4] & 1) != 0;
    bool crystal = !ring && (crm->reg[XTAL32_CNTL / 4] & 1) != 0 && (crm->reg[SYS_CNTL / 4] >> 5 & 1) != 0;
    uint64_t hz = ring ? ring_hz(node) : crystal ? EMU_RTC_HZ : 0;

    if (hz == crm->rtc_hz) {
        return;
    }
    crm->rtc_base = rtc_count(node);
    crm->rtc_hz = hz;
    /* A watch crystal takes its time to begin. */
    crm->rtc_from = hz == 0 ? EMU_NEVER
                    : ring  ? node->now
                            : node->now + 100 * EMU_MS + world_random(node->seed, 0x78746c, 0, 0) % (300 * EMU_MS);
}

static void fall_asleep(struct node *node)
{
    struct crm *crm = &node->crm;

    if ((node->maca.reg[1] & 2) != 0) {
        world_say(node->world, node, node->now, "sleeps with the radio's clock on");
        node_reset(node, "woke with the radio on");
        return;
    }
    crm->asleep = true;
    node_kick(node);
}

void crm_wake(struct node *node)
{
    struct crm *crm = &node->crm;
    static const uint32_t retained[4] = {0x2000, 0x8000, 0x10000, 0x18000};
    uint32_t keep = retained[crm->reg[SLEEP_CNTL / 4] >> 4 & 3];
    uint64_t slept = node->now;

    crm->asleep = false;
    crm->woken = true; /* the handshake's second half: this SLEEP_SYNC does not send it to sleep again */
    crm->status |= (crm->reg[SLEEP_CNTL / 4] & 1) != 0 ? STATUS_HIB_WU : STATUS_DOZE_WU;
    crm->status |= STATUS_SLEEP_SYNC;
    for (uint32_t i = keep; i < RAM_SIZE; i++) {
        node->ram[i] = (uint8_t)world_random(node->seed, i, slept, 0x736c70);
    }
    if ((crm->reg[SLEEP_CNTL / 4] >> 6 & 1) == 0) {
        node_reset(node, "woke without the processor's state");
        return;
    }
    crm->vreg_at = (crm->reg[VREG_CNTL / 4] & 0x98) == 0x98 ? node->now + VREG_TIME : EMU_NEVER;
    node_kick(node);
}

static void crm_advance(struct node *node)
{
    struct crm *crm = &node->crm;

    while (crm->rtc_timeout_at <= node->now) {
        crm->rtc_timeout_at += tick_cycles(crm, crm->reg[RTC_TIMEOUT / 4] == 0 ? 1 : crm->reg[RTC_TIMEOUT / 4]);
        if ((crm->reg[WU_CNTL / 4] >> 1 & 1) != 0) {
            crm->status |= STATUS_RTC_WU;
            crm->rtc_clear_at = EMU_NEVER;
            if (crm->asleep && (crm->reg[WU_CNTL / 4] >> 17 & 1) != 0) {
                crm_wake(node);
            }
        }
    }
    if (crm->rtc_clear_at <= node->now) {
        crm->rtc_clear_at = EMU_NEVER;
        crm->status &= ~STATUS_RTC_WU;
    }
    if (crm->calibrated_at <= node->now) {
        uint64_t ticks = crm->reg[CAL_CNTL / 4] & 0xffff, jitter;

        crm->calibrated_at = EMU_NEVER;
        jitter = world_random(node->seed, 0x63616c, crm->calibrations++, node->count.boots) % 64;
        crm->reg[CAL_COUNT / 4] = (uint32_t)(scale(ticks, EMU_HZ, ring_hz(node)) + jitter);
        crm->status |= STATUS_CAL_DONE;
    }
    if (crm->sleep_sync_at <= node->now) {
        crm->sleep_sync_at = EMU_NEVER;
        crm->status |= STATUS_SLEEP_SYNC;
    }
    if (crm->cop_at <= node->now) {
        crm->cop_at = EMU_NEVER;
        crm->status |= STATUS_COP;
        if ((crm->reg[COP_CNTL / 4] & 2) == 0) {
            node_reset(node, "watchdog");
        }
    }
}

static uint64_t crm_next(const struct node *node)
{
    const struct crm *crm = &node->crm;
    uint64_t due[] = {crm->rtc_timeout_at, crm->rtc_clear_at, crm->calibrated_at, crm->sleep_sync_at,
                      crm->asleep ? EMU_NEVER : crm->cop_at,
                      crm->vreg_at > node->now ? crm->vreg_at : EMU_NEVER,
                      crm->rtc_from > node->now ? crm->rtc_from : EMU_NEVER};
    uint64_t next = EMU_NEVER;

    for (unsigned i = 0; i < sizeof due / sizeof due[0]; i++) {
        next = due[i] < next ? due[i] : next;
    }
    return next;
}

static bool crm_line(const struct node *node)
{
    const struct crm *crm = &node->crm;

    return ((crm->status & STATUS_RTC_WU) != 0 && (crm->reg[WU_CNTL / 4] >> 17 & 1) != 0) ||
           ((crm->status & STATUS_CAL_DONE) != 0 && (crm->reg[CAL_CNTL / 4] >> 17 & 1) != 0) ||
           ((crm->status & STATUS_COP) != 0 && (crm->reg[COP_CNTL / 4] & 2) != 0);
}

static uint32_t crm_read(struct node *node, uint32_t offset, unsigned size)
{
    struct crm *crm = &node->crm;

    if (size != 4 || offset >= sizeof crm->reg) {
        node_fail(node, "CRM +%02x read with %u bytes", offset, size);
        return 0;
    }
    switch (offset) {
    case STATUS:
        return crm->status | (crm->vreg_at <= node->now ? 7u << 17 : 0);
    case RTC_COUNT:
        node->effects++;
        return rtc_count(node);
    default:
        return crm->reg[offset / 4];
    }
}

static void cop_start(struct node *node)
{
    struct crm *crm = &node->crm;
    uint64_t time = ((crm->reg[COP_CNTL / 4] >> 8 & 0x7f) + 1) * (uint64_t)COP_STEP;

    crm->cop_at = (crm->reg[COP_CNTL / 4] & 1) == 0 ? EMU_NEVER : node->now + time;
}

static void crm_write(struct node *node, uint32_t offset, unsigned size, uint32_t value)
{
    struct crm *crm = &node->crm;

    if (size != 4 || offset >= sizeof crm->reg) {
        node_fail(node, "CRM +%02x written with %u bytes", offset, size);
        return;
    }
    switch (offset) {
    case STATUS:
        if ((value & STATUS_SLEEP_SYNC) != 0 && (crm->status & STATUS_SLEEP_SYNC) != 0) {
            bool wanted = (crm->reg[SLEEP_CNTL / 4] & 3) != 0 && !crm->woken;

            crm->woken = false;
            crm->status &= ~STATUS_SLEEP_SYNC;
            if (wanted) {
                fall_asleep(node);
            }
        }
        crm->status &= ~(value & (STATUS_HIB_WU | STATUS_DOZE_WU | STATUS_CAL_DONE | STATUS_COP));
        if ((value & STATUS_RTC_WU) != 0 && (crm->status & STATUS_RTC_WU) != 0 && crm->rtc_clear_at == EMU_NEVER) {
            crm->rtc_clear_at = node->now + tick_cycles(crm, 2);
        }
        return;
    case RTC_COUNT:
        return; /* read-only */
    case COP_CNTL:
        if ((crm->reg[COP_CNTL / 4] & 4) == 0) { /* WP: what is set stays */
            crm->reg[COP_CNTL / 4] = value & 0x7f07u;
            cop_start(node);
        }
        return;
    case COP_SERVICE:
        if (value == COP_KEY) {
            cop_start(node);
        }
        return;
    case SW_RST:
        if (value == RESET_KEY) {
            node_reset(node, "software");
        }
        return;
    default:
        crm->reg[offset / 4] = value;
        break;
    }
    switch (offset) {
    case SLEEP_CNTL:
        crm->sleep_sync_at = (value & 3) != 0 ? node->now + tick_cycles(crm, 3) : EMU_NEVER;
        break;
    case BS_CNTL:
        if ((value & 3) == 3 && node->world->wait4irq) {
            node->waiting = true;
        }
        break;
    case RTC_TIMEOUT:
        crm->rtc_timeout_at = crm->rtc_hz == 0 ? EMU_NEVER
                                               : (crm->rtc_from > node->now ? crm->rtc_from : node->now) +
                                                     tick_cycles(crm, value == 0 ? 1 : value);
        break;
    case CAL_CNTL:
        crm->calibrated_at = (value >> 16 & 1) != 0 ? node->now + scale(value & 0xffff, EMU_HZ, ring_hz(node)) + 1 : EMU_NEVER;
        break;
    case SYS_CNTL:
    case RINGOSC_CNTL:
    case XTAL32_CNTL:
        rtc_clock(node);
        break;
    case VREG_CNTL:
        /* 1.5 V and 1.8 V both. Once up they stay up as long as both are asked for. */
        if ((value & 0x98) != 0x98) {
            crm->vreg_at = EMU_NEVER;
        } else if (crm->vreg_at == EMU_NEVER) {
            crm->vreg_at = node->now + VREG_TIME;
        }
        break;
    default:
        break;
    }
}

const struct model model_crm = {.name = "CRM", .reset = crm_reset, .read = crm_read, .write = crm_write,
                                .advance = crm_advance, .next = crm_next, .line = crm_line, .irq = IRQ_CRM};
