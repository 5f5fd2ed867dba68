/* SPDX-License-Identifier: BSD-3-Clause */
#include <iotsec/hal.h>

#include <string.h>

/* no padding, so comparing the bytes compares the members */
typedef char iotsec_addr_has_20_bytes[sizeof(struct iotsec_addr) == 20 ? 1 : -1];

int iotsec_addr_equal(const struct iotsec_addr *a, const struct iotsec_addr *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

int iotsec_addr_is_link_local(const struct iotsec_addr *addr)
{
    return addr->ip[0] == 0xFE && (addr->ip[1] & 0xC0) == 0x80;
}

int iotsec_addr_is_multicast(const struct iotsec_addr *addr)
{
    static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF };

    if (addr->ip[0] == 0xFF) {
        return 1;
    }
    /* 224.0.0.0/4 */
    return memcmp(addr->ip, mapped, sizeof mapped) == 0 && (addr->ip[12] & 0xF0) == 0xE0;
}
