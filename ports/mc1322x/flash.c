/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Over the boot ROM's services. They talk to the serial flash bit by bit, so interrupts are held back, and they answer "done"
 * for some things that they have not done: all that is written is read back.
 */
#include "flash.h"

#include <string.h>

#include "base/bytes.h"
#include "itc.h"
#include "regs.h"

#define STEP 64u
#define INTERNAL 0u  /* the flash in the chip's package */
#define PROTECT 1u
#define SECTORS 32u
#define WRITABLE (FLASH_PROVISION * FLASH_SECTOR_BYTES) /* provisioning and calibration lie behind it */

typedef uint32_t rom_detect(uint32_t interface, uint32_t *type);
typedef uint32_t rom_transfer(uint32_t interface, uint32_t type, void *data, uint32_t address, uint32_t len);
typedef uint32_t rom_erase(uint32_t interface, uint32_t type, uint32_t sectors);
typedef void rom_setsvar(uint32_t value);

static uint32_t type;

/* One service call. What may be changed may be changed during it only. */
static int service(uint32_t entry, void *data, uint32_t address, uint32_t len)
{
    uint32_t saved = irq_lock();
    uint32_t status;

    ((rom_setsvar *)ROM_NVM_SETSVAR)(0);
    if (entry == ROM_NVM_ERASE) {
        status = ((rom_erase *)ROM_NVM_ERASE)(INTERNAL, type, 1u << address / FLASH_SECTOR_BYTES);
    } else if (entry == ROM_NVM_DETECT) {
        status = ((rom_detect *)ROM_NVM_DETECT)(INTERNAL, &type);
    } else {
        status = ((rom_transfer *)entry)(INTERNAL, type, data, address, len);
    }
    ((rom_setsvar *)ROM_NVM_SETSVAR)(PROTECT);
    irq_unlock(saved);
    return status == 0 ? FLASH_OK : FLASH_ERR_ROM;
}

int flash_start(void)
{
    return service(ROM_NVM_DETECT, NULL, 0, 0);
}

int flash_read(uint32_t address, void *data, size_t len)
{
    uint32_t step[STEP / 4]; /* aligned, whatever `data` is */
    uint8_t *out = data;
    int status = FLASH_OK;

    if (address > SECTORS * FLASH_SECTOR_BYTES || len > SECTORS * FLASH_SECTOR_BYTES - address) {
        return FLASH_ERR_RANGE;
    }
    while (status == FLASH_OK && len != 0) {
        size_t n = len < STEP ? len : STEP;

        status = service(ROM_NVM_READ, step, address, n);
        memcpy(out, step, n);
        address += n;
        out += n;
        len -= n;
    }
    iotsec_wipe(step, sizeof step);
    return status;
}

int flash_write(uint32_t address, const void *data, size_t len)
{
    uint32_t step[STEP / 4];
    const uint8_t *in = data;
    int status = FLASH_OK;

    if (address > WRITABLE || len > WRITABLE - address) {
        return FLASH_ERR_RANGE;
    }
    while (status == FLASH_OK && len != 0) {
        size_t n = len < STEP ? len : STEP;

        memcpy(step, in, n);
        status = service(ROM_NVM_WRITE, step, address, n);
        if (status == FLASH_OK) {
            status = service(ROM_NVM_READ, step, address, n);
        }
        if (status == FLASH_OK && memcmp(step, in, n) != 0) {
            status = FLASH_ERR_VERIFY;
        }
        address += n;
        in += n;
        len -= n;
    }
    iotsec_wipe(step, sizeof step);
    return status;
}

int flash_erase(unsigned sector)
{
    uint32_t step[STEP / 4];
    uint32_t address = sector * FLASH_SECTOR_BYTES;
    uint32_t end = address + FLASH_SECTOR_BYTES;
    unsigned i;

    if (sector >= FLASH_PROVISION) {
        return FLASH_ERR_RANGE;
    }
    if (service(ROM_NVM_ERASE, NULL, address, 0) != FLASH_OK) {
        return FLASH_ERR_ROM;
    }
    for (; address < end; address += STEP) {
        if (service(ROM_NVM_READ, step, address, STEP) != FLASH_OK) {
            return FLASH_ERR_ROM;
        }
        for (i = 0; i < STEP / 4; i++) {
            if (step[i] != 0xFFFFFFFFu) {
                return FLASH_ERR_VERIFY;
            }
        }
    }
    return FLASH_OK;
}
