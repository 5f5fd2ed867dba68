/* SPDX-License-Identifier: BSD-3-Clause */
/* CRC-32 as in Ethernet and zip. */
#ifndef MC1322X_CRC32_H
#define MC1322X_CRC32_H

#include <stddef.h>
#include <stdint.h>

/* Of several pieces: crc32_add(crc32_add(0, a, n), b, m). */
uint32_t crc32_add(uint32_t crc, const void *data, size_t len);

#endif
