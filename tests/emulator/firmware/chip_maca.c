/* SPDX-License-Identifier: BSD-3-Clause */
/* The radio. The analog part's registers get any values: the model only counts them, and reads the frequency. */
#include "board.h"

#define CONTROL 0x0c
#define STATUS 0x10
#define IRQ 0xc0
#define CLRIRQ 0xc4
#define ASAP (1u << 9)
#define PRM (1u << 11)
#define PRECOUNT (4u << 16)
#define CCA (1u << 3)
#define TX 3u
#define RX 4u
#define ACPL 1u
#define DI 4u

static uint8_t tx_frame[128] __attribute__((aligned(4)));
static uint8_t rx_frame[136] __attribute__((aligned(4)));

static uint32_t maca(uint32_t offset) { return R32(MACA + offset); }
static void set(uint32_t offset, uint32_t value) { R32(MACA + offset) = value; }

static void end(void)
{
    uint32_t start;

    set(CONTROL, 1);
    for (start = maca(0x48); maca(0x48) - start < 4;) {
    }
    set(CONTROL, 0);
    set(CLRIRQ, 0xffff);
}

static void tune(uint32_t channel)
{
    uint32_t fraction = (uint32_t)((uint64_t)(channel - 10) * 0x00a00000 / 3);

    R32(MODEM + 0x80c) = 0x2f + (fraction >> 25);
    R32(MODEM + 0x810) = fraction & 0x1ffffff;
}

static void clock_only(void)
{
    set(0x04, 1);
    set(0x04, 2);
    set(0x114, 95);
}

static void ready(void)
{
    regulators_up();
    R32(CRM + 0x40) = 1u << 25 | 11u << 21 | 7u << 16 | 0x1fu << 8 | 0x52;
    clock_only();
    for (uint32_t i = 0; i < 48; i++) {
        R32(MODEM + 0x400 + 4 * i) = i;
    }
    tune(15);
    set(0x100, 0xabcd);
    set(0x104, 0x0002);
    end();
}

static uint32_t wait_for(uint32_t bits)
{
    for (uint32_t start = maca(0x48); (maca(IRQ) & bits) == 0 && maca(0x48) - start < 50000;) {
    }
    return maca(IRQ) & bits;
}

/* Data frame to PAN abcd, address 2, with a request for an acknowledgement if asked. */
static void make(uint32_t acknowledged, uint8_t sequence, const char *text, uint32_t *len)
{
    static const uint8_t header[9] = {0x41, 0x88, 0, 0xcd, 0xab, 0x02, 0x00, 0x01, 0x00};

    for (uint32_t i = 0; i < 9; i++) {
        tx_frame[i] = header[i];
    }
    tx_frame[0] |= acknowledged ? 0x20 : 0;
    tx_frame[2] = sequence;
    for (*len = 9; *text != '\0'; (*len)++) {
        tx_frame[*len] = (uint8_t)*text++;
    }
}

static void begin_send(uint32_t len, uint32_t flags)
{
    set(0x90, tx_frame[2]);
    set(0x8c, (len + 2) | 3u << 16);
    set(0x84, (uint32_t)tx_frame);
    set(0x80, (uint32_t)rx_frame);
    set(CONTROL, PRECOUNT | ASAP | flags | TX);
}

static uint32_t send_it(uint32_t len, uint32_t flags)
{
    uint32_t code;

    begin_send(len, flags);
    wait_for(ACPL);
    code = maca(STATUS) & 0xf;
    end();
    return code;
}

static void post(uint32_t flags, uint32_t room)
{
    set(0x8c, room << 16);
    set(0x80, (uint32_t)rx_frame);
    set(CONTROL, PRECOUNT | ASAP | flags | RX);
}

static void show(void)
{
    uint32_t len = maca(0x98);

    put("got ");
    for (uint32_t i = 9; i + 2 < len; i++) {
        char text[2] = {(char)rx_frame[1 + i], 0};

        put(text);
    }
    put("\n");
}

static void clock_off(void) { (void)maca(STATUS); }

static void not_set_up(void)
{
    uint32_t len;

    regulators_up();
    clock_only();
    make(0, 1, "x", &len);
    say("code", send_it(len, PRM));
}

static void no_table(void)
{
    uint32_t len;

    regulators_up();
    R32(CRM + 0x40) = 1u << 25 | 11u << 21 | 7u << 16 | 0x1fu << 8 | 0x52;
    clock_only();
    tune(15);
    make(0, 1, "x", &len);
    say("code", send_it(len, PRM));
}

static void not_trimmed(void)
{
    uint32_t len;

    ready();
    R32(CRM + 0x40) = 0x52;
    make(0, 1, "x", &len);
    say("code", send_it(len, PRM));
}

static void send_one(void)
{
    uint32_t len;

    ready();
    make(0, 7, "hello", &len);
    say("code", send_it(len, PRM));
}

static void send_two(void)
{
    uint32_t len;

    ready();
    make(0, 7, "first", &len);
    send_it(len, PRM);
    wait_us(100000);
    make(0, 8, "second", &len);
    say("code", send_it(len, PRM));
}

static void receive(void)
{
    ready();
    post(PRM, 127);
    put("listening\n");
    say("di", wait_for(DI | ACPL | 1u << 12 | 1u << 11));
    say("code", maca(STATUS) & 0xf);
    if ((maca(IRQ) & DI) != 0) {
        say("phr", rx_frame[0]);
        show();
    }
}

/* Nobody posts again: the second frame is lost. */
static void receive_once(void)
{
    receive();
    set(CLRIRQ, 0xffff);
    say("second", wait_for(DI));
}

static void receive_both(void)
{
    receive();
    end();
    post(PRM, 127);
    say("second", wait_for(DI));
    show();
}

static void receive_no_room(void)
{
    ready();
    post(PRM, 0);
    put("listening\n");
    say("anything", wait_for(DI | ACPL));
}

static void receive_other_channel(void)
{
    ready();
    tune(20);
    post(PRM, 127);
    put("listening\n");
    say("anything", wait_for(DI | ACPL));
}

static void receive_filtered(void)
{
    ready();
    set(0x100, 0x1234);
    post(0, 127);
    put("listening\n");
    say("flt", wait_for(1u << 11 | ACPL));
    set(CLRIRQ, 0xffff);
    say("second", wait_for(DI | ACPL));
}

static void receive_acknowledging(void)
{
    ready();
    post(0, 127);
    put("listening\n");
    wait_for(DI);
    say("acpl with di", maca(IRQ) & ACPL);
    say("acpl", wait_for(ACPL));
    show();
}

static void receive_hasty(void)
{
    ready();
    post(0, 127);
    put("listening\n");
    wait_for(DI);
    end();
    show();
}

static void send_acknowledged(void)
{
    uint32_t len;

    ready();
    make(1, 9, "please", &len);
    say("code", send_it(len, 0));
}

static void no_abort(void)
{
    uint32_t len;

    ready();
    make(0, 7, "hello", &len);
    begin_send(len, PRM);
    wait_for(ACPL);
    begin_send(len, PRM);
}

static void on_top(void)
{
    uint32_t len;

    ready();
    make(0, 7, "hello", &len);
    post(PRM, 127);
    begin_send(len, PRM);
}

static void scribble(void)
{
    uint32_t len;

    ready();
    make(0, 7, "hello", &len);
    begin_send(len, PRM);
    wait_us(200);
    tx_frame[10] ^= 1;
    wait_for(ACPL);
}

static void sequence_late(void)
{
    uint32_t len;

    ready();
    make(0, 7, "hello", &len);
    set(0x90, 0x55);
    set(0x8c, (len + 2) | 3u << 16);
    set(0x84, (uint32_t)tx_frame);
    set(0x90, 7);
    set(0x80, (uint32_t)rx_frame);
    set(CONTROL, PRECOUNT | ASAP | PRM | TX);
    wait_for(ACPL);
}

static void receive_sequence(void)
{
    ready();
    post(PRM, 127);
    put("listening\n");
    wait_for(DI);
    say("sequence", rx_frame[3]);
}

static void bad_dma(void)
{
    uint32_t len;

    ready();
    make(0, 7, "hello", &len);
    set(0x90, 7);
    set(0x8c, (len + 2) | 3u << 16);
    set(0x84, (uint32_t)tx_frame);
    set(0x80, 0);
    set(CONTROL, PRECOUNT | ASAP | PRM | TX);
    wait_for(ACPL);
    say("code", maca(STATUS) & 0xf);
}

/* Sends again and again; looks before it does so. */
static void jam(void)
{
    uint32_t len, busy = 0, sent = 0;

    ready();
    make(0, 7, "a long frame that keeps the channel busy for a while, so that others find it so", &len);
    put("jamming\n");
    for (uint32_t i = 0; i < 40; i++) {
        uint32_t code = send_it(len, PRM | CCA);

        busy += code == 2;
        sent += code == 0;
    }
    say("busy", busy > 0);
    say("sent", sent > 0);
}

/* The same without looking. */
static void jam_blindly(void)
{
    uint32_t len;

    ready();
    make(0, 7, "a long frame that keeps the channel busy for a while, so that others find it so", &len);
    put("jamming\n");
    for (uint32_t i = 0; i < 40; i++) {
        send_it(len, PRM);
    }
}

static void random_numbers(void)
{
    uint32_t first, second, third;

    clock_only();
    set(0x08, 1234);
    first = maca(0x08);
    wait_us(100);
    set(0x08, 1234);
    second = maca(0x08);
    set(0x08, 99);
    third = maca(0x08);
    say("a function of the seed", first == second && first != third);
    first = maca(0x08);
    wait_us(100);
    say("moves", maca(0x08) != first);
}

static void soft_timeout(void)
{
    ready();
    post(PRM, 127);
    set(0x54, maca(0x48) + 1000);
    set(0x40, 4);
    say("acpl", wait_for(ACPL));
    say("irq", maca(IRQ) & (1u << 10));
    say("code", maca(STATUS) & 0xf);
}

static void watchdog_clock(void)
{
    uint32_t len;

    ready();
    make(1, 9, "please", &len);
    set(0x50, maca(0x48) + 60);
    set(0x40, 2);
    say("code", send_it(len, 0));
}

/* For what is injected: prints what the registers and the length byte say, again and again. */
static void listen_for_long(void)
{
    ready();
    put("listening\n");
    for (;;) {
        uint32_t what;

        post(PRM, 127);
        while ((what = maca(IRQ) & (DI | ACPL | 1u << 12)) == 0) {
        }
        put((what & DI) != 0 ? "di " : "crc ");
        put_hex(rx_frame[0]);
        say("", maca(0x98));
        end();
    }
}

const struct chip_case chip_cases[] = {
    {"clock-off", clock_off}, {"not-set-up", not_set_up}, {"no-table", no_table}, {"not-trimmed", not_trimmed},
    {"send", send_one}, {"send-two", send_two},
    {"receive", receive}, {"receive-once", receive_once}, {"receive-both", receive_both}, {"receive-no-room", receive_no_room},
    {"receive-other-channel", receive_other_channel}, {"receive-filtered", receive_filtered},
    {"receive-acknowledging", receive_acknowledging}, {"receive-hasty", receive_hasty},
    {"send-acknowledged", send_acknowledged},
    {"no-abort", no_abort}, {"on-top", on_top}, {"scribble", scribble}, {"sequence-late", sequence_late},
    {"receive-sequence", receive_sequence}, {"bad-dma", bad_dma}, {"jam", jam}, {"jam-blindly", jam_blindly},
    {"random", random_numbers}, {"soft-timeout", soft_timeout}, {"watchdog-clock", watchdog_clock},
    {"listen", listen_for_long}, {NULL, NULL},
};
