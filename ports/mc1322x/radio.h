/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The radio (MACA, modem and transceiver): IEEE 802.15.4 frames, without their FCS, which the hardware appends and checks.
 * It filters addresses and acknowledges by itself; received frames wait in a ring, one frame at a time is being sent.
 *
 * The receiver takes one frame and is deaf until it is started again, which the interrupt does. Sending is CSMA/CA without
 * slots (IEEE 802.15.4-2006, 7.5.1.4): up to five looks at the channel, and up to three repetitions of a frame that asks
 * for an acknowledgement and gets none. Waits are paid in radio_poll, not in the interrupt.
 *
 * Main loop only, but for the interrupt itself.
 */
#ifndef MC1322X_RADIO_H
#define MC1322X_RADIO_H

#include <stddef.h>
#include <stdint.h>

#define RADIO_FRAME_MAX 125u /* a PSDU of 127 without the FCS */
#define RADIO_RING 4u        /* received frames that may wait, one less than places */

struct radio_config {
    uint8_t channel;        /* 11 to 26 */
    uint8_t eui64[8];       /* as printed, first byte first */
    uint16_t pan_id;
    uint16_t short_address; /* 0xFFFE: none */
};

/* What happened. Counters wrap. */
struct radio_stats {
    uint32_t sent;
    uint32_t received;
    uint16_t overruns;     /* received, and no place in the ring */
    uint16_t repeated;     /* sent once more, as no acknowledgement came */
    uint16_t unanswered;   /* given up for that reason */
    uint16_t channel_busy; /* given up, as the channel was never clear */
    uint16_t restarts;     /* the radio did not complete what it began, and was set up again */
};

/*
 * Sets the radio up and listens. Behind crm_start and flash_start: the chip's own calibration is in flash. Takes some
 * 150 ms. NULL: it works. Otherwise the name of a fault: "radio-calibration", "radio-dead".
 */
const char *radio_start(const struct radio_config *config);

/* Power off; radio_start sets it up again. */
void radio_stop(void);

/* Other addresses to listen to. */
void radio_address(uint16_t pan_id, uint16_t short_address);

/* Takes a frame of 3 to RADIO_FRAME_MAX bytes for sending. 0: copied. < 0: one is being sent, or its length is wrong. */
int radio_send(const uint8_t *frame, size_t len);

/* 1: a frame is being sent, radio_send takes none. */
int radio_busy(void);

/* The oldest frame received, copied to `frame`, which has room for RADIO_FRAME_MAX bytes: its length. 0: none. */
size_t radio_receive(uint8_t *frame);

/*
 * Does what is due. Returns the milliseconds until it wants to be called again, UINT32_MAX for when an interrupt has come.
 * A radio that does not complete what it began is set up again; if that does not help three times in a row, it is the
 * fault "radio-dead".
 */
uint32_t radio_poll(void);

const struct radio_stats *radio_stats(void);

/* ---- radio_init.c ---- */

/* Modem and transceiver: constants of the maker's and this chip's own from flash. NULL, or "radio-calibration". */
const char *radio_init_transceiver(void);
/* 11 to 26, behind radio_init_transceiver. */
void radio_init_channel(unsigned channel);

#endif
