/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The link layer's keys as a device gets them. Linux takes them through a daemon of its own (for IEEE 802.15.4,
 * wpan-tools); a file tells it which there are. Each time something changes the file is replaced, whole:
 *
 *   index=2 key=00112233445566778899aabbccddeeff use=yes
 *   index=1 key=ffeeddccbbaa99887766554433221100 use=no
 *
 * `use=yes` stands in the one line of the key to send under, if there is one yet; under the others frames are still, or
 * already, received.
 */
#ifndef IOTSEC_POSIX_L2_KEYS_H
#define IOTSEC_POSIX_L2_KEYS_H

#include <stdbool.h>
#include <stdint.h>

#define L2_KEYS_MAX 4 /* at once: one before, one in use, one to come, and one to spare */

struct l2_key {
    uint8_t index; /* 0: free */
    uint8_t key[16];
};

struct l2_keys {
    const char *path; /* NULL: they are only remembered */
    struct l2_key keys[L2_KEYS_MAX];
    uint8_t used;     /* index to send under; 0: none */
};

/* As struct iotsec_hal asks. Where the file cannot be written nothing changes, and -1 is returned. */
int l2_keys_install(struct l2_keys *l2, uint8_t index, const uint8_t key[16]);
int l2_keys_use(struct l2_keys *l2, uint8_t index);
void l2_keys_remove(struct l2_keys *l2, uint8_t index);

#endif
