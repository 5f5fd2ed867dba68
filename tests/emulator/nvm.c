/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The serial flash, and the ROM's services for it.
 *
 * Programming only clears bits, and says "done" even where a bit should have become 1; the wrong interface answers as if all
 * was well and reads as if it was erased. Only what was read back is known. The last sector holds the factory's calibration:
 * a run in which it is touched has failed.
 */
#include "emulator.h"

#include <stdlib.h>
#include <string.h>

#define SERVICE_DETECT 1u
#define SERVICE_READ 2u
#define SERVICE_ERASE 3u
#define SERVICE_WRITE 4u
#define SERVICE_VERIFY 5u
#define SERVICE_PROTECTION 6u

#define NVM_OK 0u
#define NVM_TYPE 2u
#define NVM_POINTER 3u
#define NVM_PROTECTED 4u
#define NVM_VERIFY 5u
#define NVM_ADDRESS 6u

#define TYPE_SST 1u
#define ROM_VARIABLES 0x120u
#define ROM_VARIABLES_END 0x800u

#define TIME_CALL (30 * EMU_US)
#define TIME_BYTE (8 * EMU_US)          /* one byte over SPI */
#define TIME_PROGRAM (28 * EMU_US)      /* one byte programmed */
#define TIME_ERASE (25 * EMU_MS)        /* one sector */

bool rom_load(struct node *node)
{
    static uint8_t rom[ROM_SIZE];
    static size_t len;

    if (len == 0) {
        FILE *file = fopen(EMULATOR_ROM, "rb");

        if (file == NULL) {
            return false;
        }
        len = fread(rom, 1, sizeof rom, file);
        fclose(file);
    }
    return len > 0 && uc_mem_write(node->uc, 0, rom, len) == UC_ERR_OK;
}

void nvm_format(struct node *node)
{
    uint8_t *table = node->flash.byte + FLASH_CALIBRATION * FLASH_SECTOR;

    memset(node->flash.byte, 0xff, FLASH_SIZE);
    memset(node->flash.worn0, 0, FLASH_SIZE);
    memset(node->flash.worn1, 0, FLASH_SIZE);
    /* Stands for the factory's table, with one entry of each kind: a pause, value 3, a masked write, a write, the end. */
    static const uint8_t calibration[] = {
        0xbc, 0x0a, 0x00, 0x00, 0x34, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x10, 0x00, 0x00, 0x00,
        0x40, 0x00, 0x00, 0x00, 0x47, 0x00, 0x00, 0x00,
        0x01, 0x00, 0x00, 0x00, 0xff, 0x00, 0x00, 0x00, 0x44, 0x94, 0x00, 0x80, 0x55, 0x00, 0x00, 0x00,
        0x0c, 0x9a, 0x00, 0x80, 0x00, 0x00, 0x00, 0x01,
        0x0f, 0x0e, 0x00, 0x00,
    };
    memcpy(table, calibration, sizeof calibration);
}

static uint32_t variables_sum(const struct node *node)
{
    uint32_t sum = 1;

    for (uint32_t i = ROM_VARIABLES; i < ROM_VARIABLES_END; i++) {
        sum = sum * 31u + node->ram[i];
    }
    return sum;
}

void rom_variables_made(struct node *node)
{
    for (uint32_t i = ROM_VARIABLES; i < ROM_VARIABLES_END; i++) {
        node->ram[i] = (uint8_t)world_random(node->seed, i, 0x766172, node->count.boots);
    }
    node->rom_ready = true;
    node->rom_sum = variables_sum(node);
}

/* What makes a call of a ROM service harmful on the chip. */
static bool call_allowed(struct node *node)
{
    uint32_t cpsr = 0;

    for (uint32_t slot = 0x20; slot <= 0xe0; slot += 0x40) {
        if (node->ram[slot] != 0x70 || node->ram[slot + 1] != 0x47) {
            node_fail(node, "ROM service called, and the patch slot at RAM +%02x does not return (bx lr)", slot);
            return false;
        }
    }
    if (!node->rom_ready) {
        node_fail(node, "ROM service called before rom_data_init");
        return false;
    }
    if (variables_sum(node) != node->rom_sum) {
        node_fail(node, "the ROM's variables in RAM +120 to +7ff were overwritten");
        return false;
    }
    uc_reg_read(node->uc, UC_ARM_REG_CPSR, &cpsr);
    if (node->world->masked_rom && (cpsr & 0x80) == 0 && node->itc.enable != 0) {
        node_fail(node, "ROM service called with interrupts possible (enabled: %03x)", node->itc.enable);
        return false;
    }
    if (!crm_powered(node)) {
        node_fail(node, "ROM service called before the regulators are up");
        return false;
    }
    /* It keeps state there. */
    node->ram[ROM_VARIABLES + 4]++;
    node->rom_sum = variables_sum(node);
    return true;
}

static uint8_t settle(const struct flash *flash, uint32_t at, uint8_t value)
{
    return (uint8_t)((value & ~flash->worn0[at]) | flash->worn1[at]);
}

static enum cut cut_wanted(struct node *node, const char *what, uint64_t number)
{
    enum cut cut = CUT_NONE;

    if (node->world->on_flash != NULL) {
        cut = node->world->on_flash(node->world, node, what, number, node->world->on_flash_user);
    }
    if (cut == CUT_NONE && node->sabotage.cut_in > 0 && --node->sabotage.cut_in == 0) {
        cut = node->sabotage.cut;
    }
    return cut;
}

/* Half of the bytes, and of the next one half of its bits: which, the seed says. */
static void program(struct node *node, uint32_t to, const uint8_t *from, uint32_t len, enum cut cut)
{
    struct flash *flash = &node->flash;
    uint32_t done = cut == CUT_HALF ? len / 2 : len;

    for (uint32_t i = 0; i < done; i++) {
        flash->byte[to + i] = settle(flash, to + i, flash->byte[to + i] & from[i]);
    }
    if (cut == CUT_HALF) {
        uint8_t keep = (uint8_t)world_random(node->seed, flash->writes, 0x68616c66, 0);

        flash->byte[to + done] = settle(flash, to + done, (uint8_t)(flash->byte[to + done] & (from[done] | keep)));
    }
}

/* An erase that was cut leaves bits that are neither: some are back at 1, some not. */
static void erase(struct node *node, uint32_t sector, enum cut cut)
{
    struct flash *flash = &node->flash;

    for (uint32_t i = sector * FLASH_SECTOR; i < (sector + 1) * FLASH_SECTOR; i++) {
        uint8_t up = cut == CUT_HALF ? (uint8_t)world_random(node->seed, flash->erases, i, 0x657261) : 0xff;

        flash->byte[i] = settle(flash, i, flash->byte[i] | up);
    }
    flash->erased[sector]++;
}

static uint32_t write_service(struct node *node, uint32_t interface, uint32_t from, uint32_t to, uint32_t len)
{
    struct flash *flash = &node->flash;
    enum cut cut;

    if (!node_in_ram(from, len)) {
        return NVM_POINTER;
    }
    if (to >= FLASH_SIZE || len > FLASH_SIZE - to) {
        return NVM_ADDRESS;
    }
    if (interface != 0) {
        return NVM_OK; /* nobody is there, and nobody says so */
    }
    if (!flash->unlocked) {
        return NVM_PROTECTED;
    }
    if (len > 0 && (to + len - 1) / FLASH_SECTOR == FLASH_CALIBRATION) {
        node_fail(node, "write to the calibration sector, at %05x", to);
        return NVM_ADDRESS;
    }
    flash->writes++;
    node->count.flash_writes++;
    node->count.flash_bytes += len;
    cut = cut_wanted(node, "write", flash->writes);
    if (cut != CUT_BEFORE) {
        program(node, to, node->ram + (from - RAM_BASE), len, cut);
    }
    node->cut_now = node->cut_now || cut != CUT_NONE;
    node->stalled_until = node->now + TIME_CALL + len * (TIME_BYTE + TIME_PROGRAM);
    return NVM_OK;
}

static uint32_t erase_service(struct node *node, uint32_t interface, uint32_t sectors)
{
    struct flash *flash = &node->flash;

    if (interface != 0) {
        return NVM_OK;
    }
    if (!flash->unlocked) {
        return NVM_PROTECTED;
    }
    if ((sectors >> FLASH_CALIBRATION & 1) != 0) {
        node_fail(node, "erase of the calibration sector (mask %08x)", sectors);
        return NVM_ADDRESS;
    }
    node->stalled_until = node->now + TIME_CALL;
    for (uint32_t i = 0; i < FLASH_SECTORS && !node->cut_now; i++) {
        if ((sectors >> i & 1) != 0) {
            enum cut cut;

            flash->erases++;
            node->count.flash_erases++;
            cut = cut_wanted(node, "erase", flash->erases);
            if (cut != CUT_BEFORE) {
                erase(node, i, cut);
            }
            node->cut_now = cut != CUT_NONE;
            node->stalled_until += TIME_ERASE;
        }
    }
    return NVM_OK;
}

uint32_t nvm_service(struct node *node, const uint32_t call[6])
{
    struct flash *flash = &node->flash;
    uint32_t interface = call[0], type = call[1];

    if (!call_allowed(node)) {
        return NVM_ADDRESS;
    }
    if (call[5] == SERVICE_PROTECTION) {
        flash->unlocked = call[0] == 0;
        return NVM_OK;
    }
    if (interface > 1) {
        return 1;
    }
    if (call[5] == SERVICE_DETECT) {
        if (!node_in_ram(call[1], 4)) {
            return NVM_POINTER;
        }
        node->ram[call[1] - RAM_BASE] = interface == 0 ? TYPE_SST : 0;
        memset(node->ram + (call[1] - RAM_BASE) + 1, 0, 3);
        node->stalled_until = node->now + TIME_CALL;
        return NVM_OK;
    }
    if (type != TYPE_SST && interface == 0) {
        return NVM_TYPE;
    }
    switch (call[5]) {
    case SERVICE_READ:
    case SERVICE_VERIFY: {
        uint32_t ram = call[2] - RAM_BASE, from = call[3], len = call[4];

        if (!node_in_ram(call[2], len)) {
            return NVM_POINTER;
        }
        if (from >= FLASH_SIZE || len > FLASH_SIZE - from) {
            return NVM_ADDRESS;
        }
        flash->reads++;
        node->stalled_until = node->now + TIME_CALL + len * TIME_BYTE;
        if (call[5] == SERVICE_VERIFY) {
            return interface != 0 || memcmp(node->ram + ram, flash->byte + from, len) == 0 ? NVM_OK : NVM_VERIFY;
        }
        if (ram < ROM_VARIABLES_END && ram + len > ROM_VARIABLES) {
            node_fail(node, "flash read into the ROM's variables");
            return NVM_POINTER;
        }
        if (interface == 0) {
            memcpy(node->ram + ram, flash->byte + from, len);
        } else {
            memset(node->ram + ram, 0xff, len);
        }
        return NVM_OK;
    }
    case SERVICE_WRITE:
        return write_service(node, interface, call[2], call[3], call[4]);
    case SERVICE_ERASE:
        return erase_service(node, interface, call[2]);
    default:
        node_fail(node, "unknown ROM service %u", call[5]);
        return NVM_ADDRESS;
    }
}
