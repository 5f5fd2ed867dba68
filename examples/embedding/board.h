/* SPDX-License-Identifier: BSD-3-Clause */
/* What the lamp needs of its board beside the HAL. board_linux.c is one; a chip's would be another. */
#ifndef BOARD_H
#define BOARD_H

#include <stddef.h>
#include <stdint.h>

#include <iotsec/hal.h>

/*
 * Waits for a datagram, `wait_ms` at most (UINT32_MAX: for ever). Its length; 0 if none came; < 0 when the
 * board is to be switched off. `to` is the group that it was sent to; all zero does for our own address.
 */
int board_receive(uint32_t wait_ms, struct iotsec_addr *from, struct iotsec_addr *to, uint8_t *data, size_t size);

/* The product: joins, and serves until the board is switched off. < 0: it could not start. */
int lamp(const struct iotsec_hal *hal, const struct iotsec_addr *manager, const uint8_t psk[16]);

#endif
