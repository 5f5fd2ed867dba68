/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A manager's registry in memory, as light as one can be: devices are numbered from 1 on and named by their numbers, each
 * is in one group, and every look-up is an index. Nothing fails; a transaction that is taken back ends the program.
 */
#ifndef IOTSEC_BENCH_REGISTRY_H
#define IOTSEC_BENCH_REGISTRY_H

#include <iotsec/manager.h>

#define BENCH_IDENTITY_BYTES 15 /* "lamp-0000000001" */

struct bench_registry {
    uint32_t devices;                       /* numbers 1 to this */
    uint32_t group_size;                    /* device n is allowed in group 1 + (n - 1) / group_size */
    uint16_t group_room;
    uint16_t group_count;
    struct iotsec_registry_group *groups;
    struct iotsec_registry_member *members; /* of device n at n - 1; device 0: none */
    uint8_t *evicted;                       /* likewise */
    struct iotsec_registry_access access;
    struct iotsec_registry_poly poly;
    uint8_t *coefficients;                  /* row by row; NULL: no polynomial */
};

extern const struct iotsec_registry bench_registry;

/* What a device is set up with. */
void bench_identity(uint32_t device, uint8_t identity[BENCH_IDENTITY_BYTES]);
void bench_psk(uint32_t device, uint8_t psk[IOTSEC_KEY_BYTES]);

#endif
