/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Numbered slots of up to 256 bytes in flash sectors 24 to 29, as hal.h's nvm_read and nvm_write want them. A power cut at any
 * moment leaves each slot's old or its new value; sectors are used in rotation; places that do not take a write are
 * passed over. One store; not re-entrant. How it works: store.c.
 */
#ifndef MC1322X_STORE_H
#define MC1322X_STORE_H

#include <stddef.h>
#include <stdint.h>

#define STORE_SLOTS 120u     /* slots are 0 to 119 */
#define STORE_VALUE_MAX 256u /* bytes in a slot */

/*
 * Each value takes STORE_COST(its length) bytes of STORE_CAPACITY. Capacity is what is promised while all six sectors work;
 * every sector that is worn out takes some 3.8 KB off.
 */
#define STORE_COST(len) (12u + (((unsigned)(len) + 3u) & ~3u))
#define STORE_CAPACITY 14900u

enum {
    STORE_OK = 0,
    STORE_ERR_ARGUMENT = -1, /* no such slot, or too long */
    STORE_ERR_DAMAGED = -2,  /* the slot's value cannot be read any more; writing the slot heals it */
    STORE_ERR_FULL = -3,     /* no room: nothing was changed. Values may still be replaced by no longer ones, and erased */
    STORE_ERR_FLASH = -4,    /* the flash fails or is worn out: nothing was changed */
    STORE_ERR_FORMAT = -5    /* the sectors were written by a newer firmware: nothing was touched */
};

/* What store_open found, and what happened since. For the console and for tests. */
struct store_status {
    uint32_t erases_max;     /* erasures of the most erased sector */
    uint32_t erases_min;
    uint16_t used;           /* bytes, as STORE_COST counts them */
    uint16_t capacity;       /* with the sectors that work */
    uint16_t damaged;        /* values found unreadable since store_open */
    uint16_t skipped;        /* places that did not take a write since store_open */
    uint8_t sectors_bad;     /* sectors that do not erase any more */
    uint8_t sectors_cleaned; /* sectors that were found half-erased or unfinished by store_open */
};

/* Finds what is stored; finishes or undoes what a power cut interrupted. Call once before the others. */
int store_open(void);

/* > 0: the value's length; its first `size` bytes at most are in `data`. 0: the slot is empty. < 0: STORE_ERR_. */
int store_read(uint16_t slot, uint8_t *data, size_t size);

/* 0: durable, and the old value is overwritten. < 0: the old value stands. `len` of 0 empties the slot. */
int store_write(uint16_t slot, const uint8_t *data, size_t len);

/* The same as writing no bytes. */
int store_erase(uint16_t slot);

void store_status(struct store_status *status);

#endif
