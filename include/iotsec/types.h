/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file
 * Parts that several public structures embed. Nothing here is for the application to read or write.
 */
#ifndef IOTSEC_TYPES_H
#define IOTSEC_TYPES_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Private to the library's tables: makes an array that the caller passes searchable without a
 * second array. Slot i's `head` belongs to hash bucket i, its `next` to whatever stands in slot i.
 */
struct iotsec_link {
    uint16_t head; /**< first slot of this bucket, 0xFFFF: none */
    uint16_t next; /**< next slot of the same bucket as this slot's entry, 0xFFFF: none */
};

#ifdef __cplusplus
}
#endif

#endif
