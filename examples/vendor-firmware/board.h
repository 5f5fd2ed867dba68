/* SPDX-License-Identifier: BSD-3-Clause */
/* What the firmware needs from a board. board_host.c and board_chip.c fill it in. */
#ifndef BOARD_H
#define BOARD_H

#include <stddef.h>
#include <stdint.h>

#include <iotsec/iotsec.h>

/* The library's surroundings on this board. Lives for ever. */
const struct iotsec_hal *board_hal(void);

/* What the factory wrote into the board. */
struct board_identity {
    const uint8_t *identity;
    size_t identity_len;
    const uint8_t *psk;
    size_t psk_len;
    struct iotsec_addr manager;
};
const struct board_identity *board_identity(void);

/*
 * Waits at most wait_ms (UINT32_MAX: for ever) for a datagram. Returns its length, 0 if none came,
 * or -1 when the board is switched off.
 */
int board_receive(uint32_t wait_ms, struct iotsec_addr *from, struct iotsec_addr *to, uint8_t *data, size_t size);

void board_light(int on);
void board_report(const struct iotsec_device_event *event);
int board_exit_code(void);

#endif
