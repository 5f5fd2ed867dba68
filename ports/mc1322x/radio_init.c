/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Modem and transceiver. The registers from 0x80009000 to 0x8000AFFF have no public description: the values below are facts
 * published with libmc1322x (BSD-3-Clause), whose authors took them from the maker's binary. Nothing in this file can
 * be verified without a chip and a second radio; the rest of the driver is in radio.c.
 */
#include "crm.h"
#include "flash.h"
#include "radio.h"
#include "regs.h"

struct setting {
    uint32_t address;
    uint32_t value;
};

/* An address of zero: wait for so many microseconds. The values for CRM_VREG_CNTL are left out: crm_start has set it. */
static const struct setting bring_up[] = {
    { 0x8000304C, 0x00607707 },
    { 0, 40000 },
    { 0x8000A050, 0x0000047B },
    { 0x8000A054, 0x0000007B },
    { 0x80009000, 0x80050100 },
    { 0x80009400, 0x00020017 },
    { 0x80009A04, 0x8185A0A4 },
    { 0x80009A00, 0x8C900025 },
    { 0, 30000 },
    { 0x80009A00, 0x8C900021 },
    { 0x80009A00, 0x8C900027 },
    { 0, 30000 },
    { 0x80009A00, 0x8C900000 },
    { 0x80009400, 0x00000017 },
    { 0x8000A050, 0 },
    { 0x8000A054, 0 },
    /* What replaces the values after reset. */
    { 0x80004118, 0x00180012 },
    { 0x80009204, 0x00000605 },
    { 0x80009208, 0x00000504 },
    { 0x8000920C, 0x00001111 },
    { 0x80009210, 0x0FC40000 },
    { 0x80009300, 0x20046000 },
    { 0x80009304, 0x4005580C },
    { 0x80009308, 0x40075801 },
    { 0x8000930C, 0x4005D801 },
    { 0x80009310, 0x5A45D800 },
    { 0x80009314, 0x4A45D800 },
    { 0x80009318, 0x40044000 },
    { 0x80009380, 0x00106000 },
    { 0x80009384, 0x00083806 },
    { 0x80009388, 0x00093807 },
    { 0x8000938C, 0x0009B804 },
    { 0x80009390, 0x000DB800 },
    { 0x80009394, 0x00093802 },
    { 0x8000A008, 0x00000015 },
    { 0x8000A018, 0x00000002 },
    { 0x8000A01C, 0x0000000F },
    { 0x80009424, 0x0000AAA0 },
    { 0x80009434, 0x01002020 },
    { 0x80009438, 0x016800FE },
    { 0x8000943C, 0x8E578248 },
    { 0x80009440, 0x000000DD },
    { 0x80009444, 0x00000946 },
    { 0x80009448, 0x0000035A },
    { 0x8000944C, 0x00100010 },
    { 0x80009450, 0x00000515 },
    { 0x80009460, 0x00397FEB },
    { 0x80009464, 0x00180358 },
    { 0x8000947C, 0x00000455 },
    { 0x800094E0, 0x00000001 },
    { 0x800094E4, 0x00020003 },
    { 0x800094E8, 0x00040014 },
    { 0x800094EC, 0x00240034 },
    { 0x800094F0, 0x00440144 },
    { 0x800094F4, 0x02440344 },
    { 0x800094F8, 0x04440544 },
    { 0x80009470, 0x0EE7FC00 },
    { 0x8000981C, 0x00000082 },
    { 0x80009828, 0x0000002A },
};

/* Behind the chip's own values: the flyback converter, and power level 15 of 18 (about 0 dBm) by the chip's antenna port. */
static const struct setting finish[] = {
    { 0x80009A0C, 0x00FFFFFF }, { 0x80009A10, 0x00000FFF }, { 0x80009A00, 0x00000010 },
    { 0x8000A014, 0x0000000B }, { 0x8000A020, 0x00002AC0 }, { 0x8000A054, 0x000423A0 },
};

/* The channel's frequency divider, from 2405 MHz in steps of 5 MHz: 5/16 each, in 25 bits behind the point. */
#define DIVIDER_WHOLE 0x2Fu
#define DIVIDER_STEP_TIMES_3 0x00A00000u

static uint8_t tuning; /* this chip's, of which the tuning voltage is computed */

static void apply(const struct setting *settings, unsigned count)
{
    unsigned i;

    for (i = 0; i < count; i++) {
        if (settings[i].address == 0) {
            clock_wait_us(settings[i].value);
        } else {
            REG32(settings[i].address) = settings[i].value;
        }
    }
}

/* ---- The chip's own values ---- */

#define CALIBRATION_MAGIC 0x00000ABCu
#define ENTRY_WAIT 0u         /* and how long: turns of a loop, some 10 clocks each */
#define ENTRY_MASKED 1u       /* and mask, address, value */
#define ENTRY_BYTE_FIRST 16u  /* 16 (n + 1), and a byte to keep as number n */
#define ENTRY_BYTE_LAST 0xFFF0u
#define ENTRY_END 0x00000E0Fu
#define ENTRY_COMMAND_LAST 0x0013FFFFu /* above it: an address, and its value */
#define TUNING 3u
#define WAIT_MAX 1000000u

/* What a damaged table must not reach: only the blocks that are the radio's. */
static int is_radio(uint32_t address)
{
    return (address & 3) == 0 && ((address >= MACA_BASE && address < MACA_BASE + 0x1000) ||
                                  (address >= MODEM_BASE && address < RF_BASE + 0x1000) ||
                                  (address >= CRM_BASE + 0x40 && address <= CRM_BASE + 0x4C && address != CRM_BASE + 0x48));
}

static const char *calibrate(void)
{
    uint32_t at = FLASH_CALIBRATION * FLASH_SECTOR_BYTES, end, entry[4];

    if (flash_read(at, entry, 8) != FLASH_OK || entry[0] != CALIBRATION_MAGIC) {
        return "radio-calibration";
    }
    end = at + (entry[1] & 0xFFFF);
    if (end > (FLASH_CALIBRATION + 1) * FLASH_SECTOR_BYTES - sizeof entry) {
        return "radio-calibration";
    }
    for (at += 8; at + 4 < end;) {
        uint32_t *mask = &entry[1], *address = &entry[2], *value = &entry[3];

        if (flash_read(at, entry, sizeof entry) != FLASH_OK) {
            return "radio-calibration";
        }
        if (entry[0] == ENTRY_END) {
            break;
        }
        at += entry[0] == ENTRY_MASKED ? 16 : 8;
        if (entry[0] == ENTRY_WAIT) {
            clock_wait_us((entry[1] < WAIT_MAX ? entry[1] : WAIT_MAX) / 2);
        } else if (entry[0] == ENTRY_MASKED) {
            if (!is_radio(*address)) {
                return "radio-calibration";
            }
            REG32(*address) = (REG32(*address) & ~*mask) | (*value & *mask);
        } else if (entry[0] > ENTRY_COMMAND_LAST) {
            /* The regulators stay as they are. */
            if (entry[0] != CRM_BASE + 0x48) {
                if (!is_radio(entry[0])) {
                    return "radio-calibration";
                }
                REG32(entry[0]) = entry[1];
            }
        } else if (entry[0] >= ENTRY_BYTE_FIRST && entry[0] <= ENTRY_BYTE_LAST) {
            if ((entry[0] >> 4) - 1 == TUNING) {
                tuning = (uint8_t)entry[1];
            }
        } else {
            return "radio-calibration";
        }
    }
    return NULL;
}

const char *radio_init_transceiver(void)
{
    const char *failed;

    apply(bring_up, sizeof bring_up / sizeof bring_up[0]);
    failed = calibrate();
    REG32(0x80009A08) |= 0x0000F7DF;
    apply(finish, sizeof finish / sizeof finish[0]);
    return failed;
}

void radio_init_channel(unsigned channel)
{
    uint32_t n = channel - 11;
    uint32_t divider = (n + 1) * DIVIDER_STEP_TIMES_3 / 3;
    uint32_t voltage = (uint32_t)((int32_t)(n * 0x00DFBE77u + ((uint32_t)tuning << 22) + 0x023126E9u) >> 25);

    REG32(0x80009800) &= ~(1u << 30);
    REG32(0x8000980C) = DIVIDER_WHOLE + (divider >> 25);
    REG32(0x80009810) = divider & 0x01FFFFFFu;
    REG32(0x80009830) |= 1u << 1;
    REG32(0x80009830) |= 1u << 2;
    REG32(0x80009830) = (REG32(0x80009830) & ~0x1F00u) | (voltage << 8 & 0x1F00u);
}
