/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * MC1322x nodes (ARM7TDMI-S, 96 KiB of RAM, 802.15.4 radio) in one process and in virtual time. The firmware is what would be
 * flashed: the nodes share nothing with it but the chip's documented addresses.
 *
 *     world = world_new(7);                                seed: same seed, same output, to the byte
 *     n = world_node(world, "lamp");
 *     node_flash(n, "lamp-flash.bin");                     128 KiB, as the chip's serial flash
 *     world_link(world, NULL, NULL, &(struct link){.audible = true, .loss_ppm = 200000});
 *     node_power_on(n);
 *     world_run(world, 5 * EMU_S);
 *
 * The clock of everything is the chip's 24 MHz. Nodes run in lockstep, EMU_QUANTUM apart at most; what happens on the air
 * happens at its exact cycle, because a frame's first effect on another node comes later than a quantum after it is sent.
 *
 * The models are hostile: where the documents leave a choice, the model takes the one that hurts a careless driver. What the
 * chip leaves undefined ends the run with a named failure (node_fail).
 */
#ifndef IOTSEC_TESTS_EMULATOR_H
#define IOTSEC_TESTS_EMULATOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <unicorn/unicorn.h>

#define EMU_HZ 24000000ull
#define EMU_US 24ull
#define EMU_MS 24000ull
#define EMU_S EMU_HZ
#define EMU_NEVER UINT64_MAX
#define EMU_QUANTUM (64 * EMU_US) /* less than the 160 us of preamble before anybody can have synchronised to a frame */
#define EMU_RTC_HZ 32768ull
#define EMU_CPI_X10 20 /* cycles an instruction, times ten: code runs from RAM, Thumb mostly; a guess, see docs */

#define RAM_BASE 0x00400000u
#define RAM_SIZE 0x18000u
#define ROM_SIZE 0x14000u
#define FLASH_SIZE 0x20000u
#define FLASH_SECTOR 0x1000u
#define FLASH_SECTORS 32u
#define FLASH_CALIBRATION 31u /* the factory's table: a chip without it has no radio any more */

#define NODES_MAX 16
#define PSDU_MAX 127
#define AIR_FRAME_MAX 255 /* what a broken or malicious transmitter may send: the length field has eight bits */

enum { IRQ_ASM, IRQ_UART1, IRQ_UART2, IRQ_CRM, IRQ_I2C, IRQ_TMR, IRQ_SPIF, IRQ_MACA, IRQ_SSI, IRQ_ADC, IRQ_SPI, IRQ_COUNT };

struct node;
struct world;

/* One block of registers. Offsets count from its base. */
struct model {
    const char *name;
    void (*reset)(struct node *);
    uint32_t (*read)(struct node *, uint32_t offset, unsigned size);
    void (*write)(struct node *, uint32_t offset, unsigned size, uint32_t value);
    void (*advance)(struct node *);          /* does what is due at node->now; NULL: nothing ever is */
    uint64_t (*next)(const struct node *);   /* when the next thing is due */
    bool (*line)(const struct node *);       /* the level of its interrupt line; NULL: has none */
    unsigned irq;
};

extern const struct model model_gpio, model_crm, model_maca, model_uart1, model_uart2, model_tmr, model_asm, model_modem,
    model_adc, model_itc;

/* ---- The models' states ---- */

#define UART_FIFO 32u
#define UART_HOST 8192u

struct uart {
    uint32_t con, errors, rx_level, tx_level, baud;
    uint8_t rx[UART_FIFO], tx[UART_FIFO];
    unsigned rx_count, tx_count;
    uint64_t tx_done;            /* when the byte in the shift register is out */
    int tx_shift;                /* that byte; -1: none */
    uint8_t host[UART_HOST];     /* what the other end of the wire is about to send */
    unsigned host_head, host_count;
    uint64_t host_next;
    char line[512];
    unsigned line_len;
    uint64_t overruns;
};

struct aes_module {
    uint32_t key[4], data[4], counter[4], ctr_result[4], cbc_result[4], mac[4], control1;
    bool done, latched, tested, busy, spoiled;
    uint32_t running;            /* CONTROL1 as START found it */
    uint64_t at;
    uint64_t starts;
    uint64_t told[256];          /* keys that are in the key file already: a hash table */
};

enum maca_action { MACA_IDLE, MACA_ABORTING, MACA_WARMING, MACA_LISTENING, MACA_ACKING, MACA_ASSESSING, MACA_MEASURING,
                   MACA_SENDING, MACA_AWAITING_ACK };

struct maca {
    uint32_t reg[0x200 / 4];
    uint32_t irq, status;
    bool clock_on, needs_abort, needs_nop;
    uint64_t clock_base;         /* when CLK was 0 */
    uint32_t random_seed;
    uint64_t random_base;
    enum maca_action action;
    uint32_t control;            /* CONTROL as the action found it */
    uint64_t at;                 /* when the action's present step ends */
    uint64_t listening_since;
    uint64_t start_at, complete_at, soft_at;
    bool locked;                 /* synchronised to a frame */
    uint8_t sequence, ack_sequence;
    uint8_t frame[128];
    unsigned frame_len;
    uint8_t lqi;
    uint64_t actions;
};

struct crm {
    uint32_t reg[0x60 / 4];
    uint32_t status;
    uint64_t vreg_at;            /* when the regulators are up; EMU_NEVER: they are off */
    uint64_t rtc_from;           /* when the RTC starts or started to count; EMU_NEVER: it stands */
    uint64_t rtc_hz;
    uint32_t rtc_base;
    uint64_t rtc_timeout_at, rtc_clear_at;
    uint64_t cop_at;
    uint64_t calibrated_at;
    uint64_t calibrations;
    uint64_t sleep_sync_at;
    bool asleep, woken;
};

struct tmr_channel {
    uint16_t comp1, comp2, capt, load, hold, ctrl, sctrl, cmpld1, cmpld2, csctrl;
    uint16_t count;              /* at `base` */
    uint64_t base;
    bool running;
};
struct tmr {
    struct tmr_channel channel[4];
    uint16_t enable;
};

struct itc {
    uint32_t enable, force, type, control, mask;
};

struct flash {
    uint8_t byte[FLASH_SIZE];
    uint8_t worn0[FLASH_SIZE], worn1[FLASH_SIZE]; /* bits that stay 0, that stay 1 */
    bool unlocked;
    uint64_t writes, erases, reads;
    uint64_t erased[FLASH_SECTORS];
};

enum cut { CUT_NONE, CUT_BEFORE, CUT_HALF, CUT_AFTER };

/* What a scenario has broken in one node. */
struct sabotage {
    bool asm_selftest;           /* TEST_PASS never rises */
    bool asm_done;               /* DONE never rises again */
    bool asm_bypass;             /* data pass unencrypted whatever CONTROL1 says */
    bool radio_silent;           /* no action completes */
    bool radio_dead;             /* nor do its timers */
    bool radio_unlock;           /* every transmission ends in PLL_UNLOCK */
    enum cut cut;                /* power cut at one of the next flash operations */
    uint64_t cut_in;             /* 1: at the next */
};

struct counters {
    uint64_t instructions;
    uint64_t idle;               /* cycles in which the processor stood */
    uint64_t interrupts;
    uint64_t tx_frames, tx_bytes;   /* PSDU with FCS */
    uint64_t ack_frames, ack_bytes; /* part of the above */
    uint64_t rx_frames, rx_bytes;   /* handed to the firmware */
    uint64_t deaf;               /* frames that came while the receiver was not posted */
    uint64_t faded, corrupted, collided, filtered;
    uint64_t flash_writes, flash_bytes, flash_erases;
    uint64_t boots;
};

struct node {
    struct world *world;
    unsigned id;
    char name[24];
    uc_engine *uc;
    uint8_t *ram;
    uint8_t *pattern;            /* what RAM was filled with at power-up: tells what was never touched */
    uint8_t *mode;               /* instruction set of each block, found once */
    uint32_t image_size;
    uint64_t now, deadline;
    uint64_t power_at;           /* when it is switched on, or boots again; EMU_NEVER: it stays off */
    uint64_t stalled_until;      /* inside a ROM service that takes long */
    bool running, waiting, looping, loop_masked, failed, reset_wanted, cut_now;
    uint32_t unmasking;          /* the mask bit that keeps an interrupt out that waits */
    char failure[512];
    uint32_t block;              /* where the present block begins */
    uint32_t mailbox[8];
    bool rom_ready;
    uint32_t rom_sum;            /* of the ROM's variables in RAM */
    uint64_t seed;

    /* Idle loops: the same place, registers and memory twice, and nothing read in between that changes by itself. */
    uint64_t effects;            /* accesses that changed something or answered with the time */
    bool watching;
    uint32_t watch;
    unsigned watch_hits;
    uint64_t watch_effects, watch_until, watch_pause;
    uint32_t watch_regs[17];
    uint8_t *watch_ram;

    struct itc itc;
    struct crm crm;
    struct uart uart[2];
    struct aes_module aes;
    struct maca maca;
    struct tmr tmr;
    uint32_t gpio[0x80 / 4];
    uint32_t modem[0x2000 / 4];
    uint8_t modem_written[0x2000 / 4];
    unsigned modem_count;
    uint16_t adc[0x50 / 2];
    uint64_t adc_reads;
    struct flash flash;
    struct sabotage sabotage;
    struct counters count;
    bool own_exceptions;         /* undefined instructions and aborts go to the firmware's vectors */
};

struct link {
    bool audible;
    uint32_t loss_ppm;           /* frames that fade before anybody synchronises to them */
    uint32_t corrupt_ppm;        /* frames that arrive with wrong bits, and their FCS says so */
    uint32_t mangle_ppm;         /* frames that arrive with wrong bits and a right FCS */
    uint32_t delay_us;           /* up to that much later */
    uint8_t lqi;                 /* 0: 200 */
};

struct air;
struct monitor;
struct line {
    unsigned node;
    uint64_t at;
    char *text;
    bool used;                   /* by an expectation */
};

struct world {
    uint64_t seed, now;
    unsigned count;
    struct node *node[NODES_MAX];
    struct link link[NODES_MAX + 1][NODES_MAX]; /* the last row: what is injected */
    struct air *air;
    struct monitor *monitor;
    FILE *pcap;
    FILE *keys;                  /* each AES key that a node's AES module was given, once; NULL: nowhere */
    FILE *story;                 /* NULL: silent */
    struct line *lines;
    size_t line_count, line_room;
    bool strict;                 /* unaligned accesses fail */
    bool wait4irq;               /* BS_CNTL stops the processor until an interrupt, as documented but verified by nobody */
    bool masked_rom;             /* ROM services called with interrupts possible fail */
    bool failed;
    char failure[600];
    bool stop;                   /* makes world_run return at once */
    /* Called at each flash write or erase, before it happens. Answers how the power is to be cut in it. */
    enum cut (*on_flash)(struct world *, struct node *, const char *what, uint64_t number, void *user);
    void *on_flash_user;
};

/* ---- world.c ---- */

struct world *world_new(uint64_t seed);
void world_free(struct world *world);
struct node *world_node(struct world *world, const char *name);
struct node *world_find(struct world *world, const char *name);
void world_link(struct world *world, const struct node *from, const struct node *to, const struct link *link); /* NULL: all */
/* false: a node failed, or somebody asked to stop. */
bool world_run(struct world *world, uint64_t cycles);
void world_say(struct world *world, const struct node *node, uint64_t at, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void world_line(struct world *world, struct node *node, const char *text);
void world_fail(struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));
uint64_t world_random(uint64_t seed, uint64_t a, uint64_t b, uint64_t c); /* a function of its arguments */

/* ---- node.c ---- */

struct node *node_new(struct world *world, unsigned id, const char *name);
void node_free(struct node *node);
bool node_flash(struct node *node, const char *path);
bool node_flash_image(struct node *node, const void *image, size_t len); /* wraps it with the header; the rest stays erased */
void node_power_on(struct node *node);
void node_power_off(struct node *node);
void node_run(struct node *node, uint64_t until);
uint64_t node_next(const struct node *node);
bool node_busy(const struct node *node);     /* it executes; otherwise it waits for node_next */
void node_advance(struct node *node);
void node_kick(struct node *node);           /* look at interrupts and states again, soon */
void node_reset(struct node *node, const char *why);
void node_fail(struct node *node, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool node_in_ram(uint32_t address, uint32_t len);
void node_type(struct node *node, const char *text, size_t len); /* console input */
void node_untouched(const struct node *node, uint32_t *start, uint32_t *len); /* longest stretch of RAM never written */

/* ---- The models, as far as they know of each other ---- */

uint32_t itc_pending(const struct node *node);
bool itc_fast(const struct node *node);
bool crm_powered(const struct node *node);
bool crm_trimmed(const struct node *node);
uint64_t crm_ticks(uint64_t cycles, uint64_t hz);
void crm_wake(struct node *node);
bool gpio_uart(const struct node *node);
int modem_channel(const struct node *node);  /* 11 to 26; 0: the radio is not set up */
bool maca_synchronise(struct node *node, uint64_t since);
void maca_receive(struct node *node, const uint8_t *psdu, unsigned len, bool fcs_right, uint8_t lqi);
void maca_lose(struct node *node);
void uart_type(struct node *node, const uint8_t *data, size_t len);

/* ---- nvm.c: the serial flash and the ROM's services for it ---- */

void nvm_format(struct node *node);
uint32_t nvm_service(struct node *node, const uint32_t call[6]);
bool rom_load(struct node *node);
void rom_variables_made(struct node *node);

/* ---- air.c ---- */

struct air *air_new(void);
void air_free(struct air *air);
/* from NULL: injected. Starts at `start`; `len` bytes, FCS included. */
void air_transmit(struct world *world, struct node *from, uint64_t start, const uint8_t *psdu, unsigned len, int channel);
void air_cut_short(struct world *world, struct node *from, uint64_t at);
bool air_busy(struct world *world, const struct node *node, uint64_t from, uint64_t to);
uint64_t air_next(const struct world *world);
void air_advance(struct world *world);
uint16_t air_fcs(const uint8_t *data, size_t len);
uint64_t air_duration(unsigned len);
void air_totals(const struct world *world, uint64_t *frames, uint64_t *bytes);

/* ---- monitor.c: what must hold on the air whatever the firmware does ---- */

struct monitor *monitor_new(void);
void monitor_free(struct monitor *monitor);
void monitor_frame(struct world *world, struct node *from, const uint8_t *psdu, unsigned len);
void monitor_secure_from_now(struct world *world, const struct node *node);
void monitor_enable(struct world *world, bool on);
uint64_t monitor_secured(const struct world *world);

/* ---- pcap.c ---- */

bool pcap_open(struct world *world, const char *path);
void pcap_frame(struct world *world, uint64_t start, const uint8_t *psdu, unsigned len);

/* ---- scenario.c ---- */

struct scenario_options {
    const char *folder;          /* where flash files are looked for */
    const char *pcap;            /* wins over the scenario's */
    const char *keys;            /* where the nodes' AES keys go, for those who want to read the capture */
    bool quiet;
    int64_t seed;                /* < 0: the scenario's */
    const char *set[16];         /* NAME=VALUE */
    unsigned set_count;
    unsigned jobs;               /* children at once when power cuts are enumerated */
};
/* 0: every expectation was met. 1: not. 2: the scenario itself is wrong. */
int scenario_run(const char *path, const struct scenario_options *options, FILE *out);

#endif
