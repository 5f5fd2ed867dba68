/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The serial flash, 128 KiB in 32 sectors of 4 KiB: writing turns ones into zeros, erasing a sector makes all of it ones.
 * On the chip through the boot ROM's services; the host tests bring their own. Interrupts are held back for one
 * step at a time: 64 bytes read or written, or one sector erased (some 25 ms).
 */
#ifndef MC1322X_FLASH_H
#define MC1322X_FLASH_H

#include <stddef.h>
#include <stdint.h>

#define FLASH_SECTOR_BYTES 4096u
#define FLASH_STORE_FIRST 24u  /* first sector of the store */
#define FLASH_STORE_SECTORS 6u
#define FLASH_PROVISION 30u    /* written at production */
#define FLASH_CALIBRATION 31u  /* the factory's radio calibration: can be read, never written or erased */

enum {
    FLASH_OK = 0,
    FLASH_ERR_RANGE = -1,  /* outside of the flash, or a sector that may not be changed */
    FLASH_ERR_ROM = -2,    /* the service refused */
    FLASH_ERR_VERIFY = -3  /* done, but what is read back is not what was meant: worn out */
};

/* Finds the flash. Needs the regulators. */
int flash_start(void);

int flash_read(uint32_t address, void *data, size_t len);

/* What was there before stays where `data` has ones: verified is that every byte equals the old one AND `data`'s zeros,
 * that is, that it reads as `data` where it was erased before. */
int flash_write(uint32_t address, const void *data, size_t len);

/* One of the sectors 0 to 29; verified to be all ones. */
int flash_erase(unsigned sector);

#endif
