/* SPDX-License-Identifier: BSD-3-Clause */
#include "radio.h"

#include <stdbool.h>
#include <string.h>

#include "crm.h"
#include "fault.h"
#include "itc.h"
#include "regs.h"

/*
 * What the MACA does, and what the driver makes of it:
 *
 *     LISTENING   a receive is posted. DI: a frame is in memory; ACPL: the sequence is over, an acknowledgement included.
 *                 FLT, CRC: not for us, or damaged. Each of them ends it, and a new one is posted at once.
 *     SENDING     ACPL: sent and, if it was asked for, acknowledged; or not: the code of STATUS says why.
 *
 * After each end the sequence is aborted as the maker's own driver does it: without that the MACA may hang. A clock of the
 * MACA's own (CPL) ends what does not end by itself; if the MACA as a whole stands still, radio_poll sees that and
 * starts it again.
 */
enum state { OFF, LISTENING, SENDING };
/* What becomes of the frame that is being sent. */
enum job { NONE, WAITING, ON_AIR };

/* The MACA's clock: 4 us, 8 for each byte. */
#define CLOCKS_PER_MS 250u
#define SEND_CLOCKS (2 * 128 * 8u)  /* a frame, an acknowledgement, and room */
#define ACK_CLOCKS 200u             /* from DI to the end of our acknowledgement */
/* Nothing takes this long, if the MACA is alive: it gives up after 8.2 ms by itself. */
#define DEAD_MS 50u
/* A receiver that has heard nothing for so long is posted anew: it costs microseconds, and heals one that is deaf. */
#define SILENT_MS 1000u
/* Longer than a frame takes on the air. */
#define FRAME_US 5000
#define RESTARTS_MAX 3u

/* IEEE 802.15.4-2006, table 86. */
#define BACKOFF_US 320u
#define EXPONENT_MIN 3u
#define EXPONENT_MAX 5u
#define LOOKS_MAX 5u
#define REPEATS_MAX 3u

#define FCF_ACK_REQUEST 0x20u
#define PLACE_BYTES 132u /* length, PSDU, and what DMA may round up to */

static struct {
    struct radio_config config;
    struct radio_stats stats;
    volatile uint8_t state;     /* enum state; changed by the interrupt while it listens and sends */
    volatile uint8_t arrived;   /* a frame is in the place, but its acknowledgement is still on the air */
    volatile uint8_t job;       /* enum job */
    volatile uint8_t looks;     /* at the channel, for this try */
    volatile uint8_t repeats;
    volatile uint8_t exponent;
    volatile uint8_t first;     /* of the ring: the oldest frame */
    volatile uint8_t next;      /* where the receiver writes */
    volatile uint8_t restarts;  /* in a row, without a sign of life */
    uint8_t tx_len;
    volatile uint32_t due;      /* clock_us: when the next look at the channel is */
    volatile uint32_t began;    /* clock_ms: of what the MACA does now */
    uint8_t tx[RADIO_FRAME_MAX + 3];
} radio;
/* Filled by DMA. */
static volatile uint8_t ring[RADIO_RING + 1][PLACE_BYTES] __attribute__((aligned(4)));

/* ---- The MACA ---- */

static void wait_clocks(uint32_t clocks)
{
    uint32_t start = MACA_CLK;
    unsigned turns;

    for (turns = 0; MACA_CLK - start < clocks && turns < 100 * clocks; turns++) {
    }
}

/*
 * Ends what is going on: abort, pause, nop, pause. The modem's sequencer is told to take the step that it takes last when it
 * shuts down, and its table is put back behind that.
 */
static void end_sequence(void)
{
    volatile uint32_t *steps = &REG32(0x80009300);
    uint32_t numbers = REG32(0x80009204);
    volatile uint32_t *up = &steps[numbers & 31], *down = &steps[numbers >> 8 & 31];
    uint32_t saved = *up;

    *up = *down;
    MACA_CONTROL = MACA_SEQ_ABORT;
    wait_clocks(3);
    MACA_CONTROL = MACA_SEQ_NOP;
    wait_clocks(3);
    *up = saved;
    MACA_TMRDIS = MACA_TMR_CPL | MACA_TMR_SFT;
    MACA_CLRIRQ = 0xFFFF;
}

static unsigned after(unsigned place)
{
    return place == RADIO_RING ? 0 : place + 1;
}

static void listen(void)
{
    radio.state = LISTENING;
    radio.arrived = 0;
    radio.began = clock_ms();
    MACA_TXLEN = 127u << 16; /* how much may be received */
    MACA_DMARX = (uint32_t)(uintptr_t)ring[radio.next];
    MACA_CONTROL = MACA_PRECOUNT(4) | MACA_ASAP | MACA_SEQ_RX;
}

/* A pause before the next look at the channel, random: the MACA's shift register is good enough for that. */
static void back_off(void)
{
    radio.due = clock_us() + (MACA_RANDOM & ((1u << radio.exponent) - 1)) * BACKOFF_US;
    radio.job = WAITING;
}

static void send_now(void)
{
    end_sequence();
    radio.state = SENDING;
    radio.job = ON_AIR;
    radio.began = clock_ms();
    MACA_TXSEQNR = radio.tx[2];
    MACA_TXLEN = (radio.tx_len + 2u) | 3u << 16; /* and room for an acknowledgement */
    MACA_DMATX = (uint32_t)(uintptr_t)radio.tx;
    MACA_DMARX = (uint32_t)(uintptr_t)ring[radio.next];
    MACA_CPLCLK = MACA_CLK + SEND_CLOCKS;
    MACA_TMREN = MACA_TMR_CPL;
    MACA_CONTROL = MACA_PRECOUNT(4) | MACA_MODE_CCA | MACA_ASAP | MACA_SEQ_TX;
}

/* ---- The interrupt ---- */

static void received(void)
{
    unsigned place = radio.next;
    /* The register counts the FCS too; the length byte in front of the PSDU is the sender's word. */
    uint32_t len = MACA_GETRXLVL & 0xFF;

    if (len < 5 || len > 127) {
        return;
    }
    if (after(place) == radio.first) {
        radio.stats.overruns++;
        return;
    }
    ring[place][0] = (uint8_t)(len - 2);
    radio.next = (uint8_t)after(place);
    radio.stats.received++;
}

static void sent(uint32_t code)
{
    if (code == MACA_CODE_OK) {
        radio.stats.sent++;
        radio.job = NONE;
        return;
    }
    if (code == MACA_CODE_BUSY) {
        if (++radio.looks == LOOKS_MAX) {
            radio.stats.channel_busy++;
            radio.job = NONE;
            return;
        }
        if (radio.exponent < EXPONENT_MAX) {
            radio.exponent++;
        }
    } else {
        if (++radio.repeats > REPEATS_MAX) {
            radio.stats.unanswered++;
            radio.job = NONE;
            return;
        }
        radio.stats.repeated++;
        radio.looks = 0;
        radio.exponent = EXPONENT_MIN;
    }
    back_off();
}

static void on_interrupt(void)
{
    uint32_t what = MACA_IRQ;
    uint32_t code = MACA_CODE(MACA_STATUS);

    radio.restarts = 0;
    if (radio.state == SENDING) {
        /* A frame that was received at this moment is no longer there. */
        if (!(what & (MACA_IRQ_ACPL | MACA_IRQ_CM | MACA_IRQ_RST))) {
            MACA_CLRIRQ = what;
            return;
        }
        sent(what & MACA_IRQ_ACPL ? code : MACA_CODE_NO_ACK);
    } else if (radio.state == LISTENING) {
        if (what & MACA_IRQ_DI) {
            radio.arrived = 1;
            radio.began = clock_ms();
        }
        /* Who ends the sequence at once cuts the acknowledgement off that the MACA sends by itself. */
        if (radio.arrived && ring[radio.next][1] & FCF_ACK_REQUEST && !(what & (MACA_IRQ_ACPL | MACA_IRQ_SFT))) {
            MACA_CLRIRQ = what;
            MACA_SFTCLK = MACA_CLK + ACK_CLOCKS;
            MACA_TMREN = MACA_TMR_SFT;
            return;
        }
        if (radio.arrived) {
            received();
        }
    } else {
        MACA_CLRIRQ = 0xFFFF;
        return;
    }
    end_sequence();
    listen();
}

/* ---- For the main loop ---- */

static void set_addresses(void)
{
    const uint8_t *eui64 = radio.config.eui64;

    /* Numbers, whose lowest byte is the first on the air. */
    MACA_MACPANID = radio.config.pan_id;
    MACA_MAC16ADDR = radio.config.short_address;
    MACA_MAC64HI = (uint32_t)eui64[0] << 24 | (uint32_t)eui64[1] << 16 | (uint32_t)eui64[2] << 8 | eui64[3];
    MACA_MAC64LO = (uint32_t)eui64[4] << 24 | (uint32_t)eui64[5] << 16 | (uint32_t)eui64[6] << 8 | eui64[7];
}

static const char *set_up(void)
{
    const char *failed;
    uint32_t start;

    MACA_RESET = MACA_RESET_RST;
    clock_wait_us(100);
    MACA_RESET = MACA_RESET_CLKON;
    clock_wait_us(100);
    MACA_CONTROL = MACA_SEQ_NOP;
    MACA_CLRIRQ = 0xFFFF;
    failed = radio_init_transceiver();
    if (failed != NULL) {
        return failed;
    }
    MACA_CLKDIV = 95; /* 250 kHz */
    MACA_WARMUP = 0x00180012;
    MACA_EOFDELAY = 4;
    MACA_CCADELAY = 0x001A0022;
    MACA_TXCCADELAY = 0x25;
    MACA_FRAMESYNC0 = 0xA7;
    MACA_CLK = 8;
    MACA_RXACKDELAY = 30;
    MACA_RXEND = 180;
    MACA_TXACKDELAY = 68;
    MACA_SLOTOFFSET = 0x00350000;
    MACA_MASKIRQ = MACA_IRQ_RST | MACA_IRQ_ACPL | MACA_IRQ_CM | MACA_IRQ_FLT | MACA_IRQ_CRC | MACA_IRQ_DI | MACA_IRQ_SFT;
    radio_init_channel(radio.config.channel);
    set_addresses();
    start = MACA_CLK;
    clock_wait_us(100);
    return MACA_CLK == start ? "radio-dead" : NULL;
}

const char *radio_start(const struct radio_config *config)
{
    const char *failed;

    radio.config = *config;
    radio.job = NONE;
    failed = set_up();
    if (failed == NULL) {
        irq_handler_set(IRQ_MACA, on_interrupt);
        end_sequence();
        irq_enable(IRQ_MACA);
        listen();
    }
    return failed;
}

void radio_stop(void)
{
    irq_disable(IRQ_MACA);
    radio.state = OFF;
    MACA_RESET = MACA_RESET_RST;
}

void radio_address(uint16_t pan_id, uint16_t short_address)
{
    uint32_t saved = irq_lock();

    radio.config.pan_id = pan_id;
    radio.config.short_address = short_address;
    if (radio.state != OFF) {
        set_addresses();
    }
    irq_unlock(saved);
}

int radio_busy(void)
{
    return radio.job != NONE;
}

int radio_send(const uint8_t *frame, size_t len)
{
    if (radio.state == OFF || radio.job != NONE || len < 3 || len > RADIO_FRAME_MAX) {
        return -1;
    }
    memcpy(radio.tx, frame, len);
    radio.tx_len = (uint8_t)len;
    radio.looks = 0;
    radio.repeats = 0;
    radio.exponent = EXPONENT_MIN;
    back_off(); /* the interrupt does nothing to a frame that waits */
    return 0;
}

size_t radio_receive(uint8_t *frame)
{
    unsigned place = radio.first;
    size_t len, i;

    if (place == radio.next) {
        return 0;
    }
    len = ring[place][0];
    for (i = 0; i < len; i++) {
        frame[i] = ring[place][1 + i];
    }
    radio.first = (uint8_t)after(place);
    return len;
}

static void restart(void)
{
    const char *failed;

    if (++radio.restarts > RESTARTS_MAX) {
        fault("radio-dead");
    }
    radio_stop();
    radio.stats.restarts++;
    failed = set_up();
    if (failed != NULL) {
        fault(failed);
    }
    if (radio.job != NONE) {
        sent(MACA_CODE_NO_ACK);
    }
    end_sequence();
    irq_enable(IRQ_MACA); /* not before: the abort's own interrupt is no sign of life */
    listen();
}

/* Posts the receiver anew, and finds out whether the MACA's clock goes. */
static void listen_anew(void)
{
    uint32_t saved = irq_lock();
    uint32_t clock = MACA_CLK;

    if (radio.state == LISTENING) {
        end_sequence();
        listen();
    }
    irq_unlock(saved);
    clock_wait_us(20);
    if (MACA_CLK == clock) {
        restart();
    }
}

uint32_t radio_poll(void)
{
    uint32_t saved, elapsed;
    int32_t left;
    bool busy;

    if (radio.state == OFF) {
        return UINT32_MAX;
    }
    /* In this order, or what begins in between looks as old as what was before it, or older than all. */
    busy = radio.state == SENDING || radio.arrived;
    elapsed = radio.began;
    elapsed = clock_ms() - elapsed;
    if (busy && elapsed > DEAD_MS) {
        restart();
    } else if (elapsed > SILENT_MS) {
        listen_anew();
    }
    if (radio.job != WAITING) {
        return radio.job == ON_AIR ? DEAD_MS : SILENT_MS;
    }
    left = (int32_t)(radio.due - clock_us());
    if (left > 0) {
        return (uint32_t)left / 1000u;
    }
    saved = irq_lock();
    /* Who sends into a frame that is arriving loses it. The signs of one: its start was seen, or its end. */
    if (radio.state == LISTENING && !radio.arrived && !(MACA_IRQ & MACA_IRQ_DI) &&
        (left < -FRAME_US || !(MACA_IRQ & MACA_IRQ_SYNC))) {
        send_now();
    }
    irq_unlock(saved);
    return radio.job == ON_AIR ? DEAD_MS : 0;
}

const struct radio_stats *radio_stats(void)
{
    return &radio.stats;
}
