/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What makes one board different from the next: written to flash sector 30 at production by the tool `provision` beside this
 * file, read at each start. docs/mc1322x.md has the format.
 *
 *     "IOTP"  version (2)  length of the fields (2)  fields: { type (1), length (1), value } ...  CRC-32 (4) over all before
 *
 * Numbers are little-endian. Fields of unknown type from 128 up are passed over, unknown ones below are damage.
 */
#ifndef MC1322X_PROVISION_H
#define MC1322X_PROVISION_H

#include <stddef.h>
#include <stdint.h>

#define PROVISION_VERSION 1u
#define PROVISION_IDENTITY_MAX 32u
#define PROVISION_PSK_MIN 16u
#define PROVISION_PSK_MAX 32u
#define PROVISION_SECRET_BYTES 32u
#define PROVISION_FIELDS_MAX 256u /* bytes of all fields together */

enum provision_role { ROLE_MANAGER = 1, ROLE_DEVICE, ROLE_LAMP, ROLE_SWITCH };

struct provision {
    uint8_t identity[PROVISION_IDENTITY_MAX];
    uint8_t identity_len;
    uint8_t psk[PROVISION_PSK_MAX];             /* secret; a manager has none: psk_len 0 */
    uint8_t psk_len;
    uint8_t secret[PROVISION_SECRET_BYTES];     /* secret: seeds the random numbers, together with the boot counter */
    uint8_t eui64[8];                           /* as printed, first byte first */
    uint8_t role;                               /* enum provision_role */
    uint8_t channel;                            /* 11 to 26 */
    uint16_t pan;
    uint16_t short_address;                     /* the manager's own; others get theirs by the join: 0xFFFE */
    uint8_t prefix[8];                          /* the manager's: the /64 of the network; all zero otherwise */
    uint16_t group;                             /* what a lamp joins and a switch commands; 0: none */
};

/* NULL: all fields are there and make sense. Otherwise the name of the fault: "provision-absent", "provision-damaged",
 * "provision-version", "flash"; `out` is then wiped. */
const char *provision_load(struct provision *out);

#endif
