/* SPDX-License-Identifier: BSD-3-Clause */
/* The air as a capture file: LINKTYPE_IEEE802_15_4_WITHFCS, nanoseconds of virtual time. */
#include "emulator.h"

#define MAGIC_NANOSECONDS 0xa1b23c4du
#define LINKTYPE 195u

static void put32(FILE *file, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++) {
        fputc((int)(value >> (8 * i) & 0xff), file);
    }
}

bool pcap_open(struct world *world, const char *path)
{
    world->pcap = fopen(path, "wb");
    if (world->pcap == NULL) {
        return false;
    }
    put32(world->pcap, MAGIC_NANOSECONDS);
    put32(world->pcap, 2 | 4u << 16); /* version 2.4 */
    put32(world->pcap, 0);
    put32(world->pcap, 0);
    put32(world->pcap, 256);
    put32(world->pcap, LINKTYPE);
    return true;
}

void pcap_frame(struct world *world, uint64_t start, const uint8_t *psdu, unsigned len)
{
    if (world->pcap == NULL) {
        return;
    }
    put32(world->pcap, (uint32_t)(start / EMU_S));
    put32(world->pcap, (uint32_t)(start % EMU_S * 125 / 3)); /* 24 MHz: a cycle is 125/3 ns */
    put32(world->pcap, len);
    put32(world->pcap, len);
    fwrite(psdu, 1, len, world->pcap);
}
