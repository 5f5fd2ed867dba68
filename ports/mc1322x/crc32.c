/* SPDX-License-Identifier: BSD-3-Clause */
#include "crc32.h"

uint32_t crc32_add(uint32_t crc, const void *data, size_t len)
{
    const uint8_t *byte = data;
    unsigned bit;

    crc = ~crc;
    while (len-- != 0) {
        crc ^= *byte++;
        for (bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
        }
    }
    return ~crc;
}
