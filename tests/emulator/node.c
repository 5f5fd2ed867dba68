/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One node: the processor, its memories, and the way its models' registers, interrupts and time meet it.
 *
 * Time comes from a hook at each block of code: instructions times a constant. A block runs to its end, so interrupts are
 * late by a block at most. The boot ROM is a model too: it takes the image out of the flash and enters it.
 */
#include "emulator.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define PERIPHERALS 0x80000000u
#define PERIPHERALS_SIZE 0x10000u
#define ITC_BASE 0x80020000u
#define MAILBOX 0x80030000u
#define ROM_DATA_INIT 0x108d0u
#define BOOT_TIME (40 * EMU_MS) /* ROM: copies the image over SPI */

#define CPSR_THUMB 0x20u
#define CPSR_FIQ_OFF 0x40u
#define CPSR_IRQ_OFF 0x80u
#define MODE_FIQ 0x11u
#define MODE_IRQ 0x12u
#define MODE_SVC 0x13u
#define MODE_ABT 0x17u
#define MODE_UND 0x1bu

#define WATCH_CYCLES 20000u     /* how long a loop may be and still be found idle */
#define WATCH_PAUSE_MAX (2 * EMU_MS)

static const struct model *const models[] = {&model_itc, &model_gpio, &model_crm, &model_maca, &model_uart1, &model_uart2,
                                             &model_tmr, &model_asm, &model_modem, &model_adc};
#define MODELS (sizeof models / sizeof models[0])

#define HOOK(function) hook_address((void (*)(void))(function))

/* By page of the peripherals' 64 KiB. */
static const struct {
    const struct model *model;
    uint32_t base;
} pages[16] = {
    [0x0] = {&model_gpio, 0x0000}, [0x3] = {&model_crm, 0x3000},   [0x4] = {&model_maca, 0x4000},
    [0x5] = {&model_uart1, 0x5000}, [0x7] = {&model_tmr, 0x7000},  [0x8] = {&model_asm, 0x8000},
    [0x9] = {&model_modem, 0x9000}, [0xa] = {&model_modem, 0x9000}, [0xb] = {&model_uart2, 0xb000},
    [0xd] = {&model_adc, 0xd000},
};

static void die(const char *what, uc_err error)
{
    fprintf(stderr, "emulator: %s: %s\n", what, uc_strerror(error));
    abort();
}

static uint32_t reg(const struct node *node, int id)
{
    uint32_t value = 0;

    uc_reg_read(node->uc, id, &value);
    return value;
}

static void set_reg(struct node *node, int id, uint32_t value)
{
    uc_reg_write(node->uc, id, &value);
}

bool node_in_ram(uint32_t address, uint32_t len)
{
    return address >= RAM_BASE && len <= RAM_SIZE && address - RAM_BASE <= RAM_SIZE - len;
}

void node_kick(struct node *node)
{
    node->deadline = 0;
    node->watch_hits = 0;
    node->looping = false;
}

void node_fail(struct node *node, const char *format, ...)
{
    va_list args;
    size_t len;

    if (node->failed) {
        return;
    }
    node->failed = true;
    va_start(args, format);
    vsnprintf(node->failure, sizeof node->failure, format, args);
    va_end(args);
    len = strlen(node->failure);
    if (node->uc != NULL) {
        len += (size_t)snprintf(node->failure + len, sizeof node->failure - len,
                                " (code at %08x, pc %08x lr %08x sp %08x cpsr %08x r0-3 %08x %08x %08x %08x)", node->block,
                                reg(node, UC_ARM_REG_PC), reg(node, UC_ARM_REG_LR), reg(node, UC_ARM_REG_SP),
                                reg(node, UC_ARM_REG_CPSR), reg(node, UC_ARM_REG_R0), reg(node, UC_ARM_REG_R1),
                                reg(node, UC_ARM_REG_R2), reg(node, UC_ARM_REG_R3));
    }
    world_fail(node->world, "%s: %s", node->name, node->failure);
    node_kick(node);
}

void node_reset(struct node *node, const char *why)
{
    world_say(node->world, node, node->now, "reset: %s", why);
    node->reset_wanted = true;
    node_kick(node);
}

/* ---- Time and models ---- */

static uint64_t models_next(const struct node *node)
{
    uint64_t next = EMU_NEVER;

    for (unsigned i = 0; i < MODELS; i++) {
        uint64_t due = models[i]->next != NULL ? models[i]->next(node) : EMU_NEVER;

        if (due < next) {
            next = due;
        }
    }
    return next;
}

uint64_t node_next(const struct node *node)
{
    if (!node->running) {
        return node->power_at;
    }
    if (node->crm.asleep) {
        return model_crm.next(node);
    }
    return node->stalled_until > node->now && node->stalled_until < models_next(node) ? node->stalled_until : models_next(node);
}

void node_advance(struct node *node)
{
    node->watch_hits = 0;
    if (node->crm.asleep) {
        model_crm.advance(node); /* everything else stands */
        return;
    }
    for (unsigned i = 0; i < MODELS; i++) {
        if (models[i]->advance != NULL) {
            models[i]->advance(node);
        }
    }
}

bool node_busy(const struct node *node)
{
    bool pending;

    if (!node->running || node->failed || node->crm.asleep || node->stalled_until > node->now) {
        return false;
    }
    pending = (node->waiting || node->looping) && itc_pending(node) != 0;
    return !(node->waiting && !pending) && !(node->looping && (!pending || node->loop_masked));
}

/* ---- Accesses ---- */

static uint64_t read_peripheral(uc_engine *uc, uint64_t offset, unsigned size, void *user)
{
    struct node *node = user;
    unsigned page = (unsigned)(offset >> 12) & 15u;

    (void)uc;
    if (node->failed || node->cut_now) {
        return 0;
    }
    if (pages[page].model == NULL) {
        node_fail(node, "read of %08x, where no peripheral is", PERIPHERALS + (uint32_t)offset);
        return 0;
    }
    if ((offset & (size - 1)) != 0) {
        node_fail(node, "unaligned read of %08x", PERIPHERALS + (uint32_t)offset);
        return 0;
    }
    if (models_next(node) <= node->now) {
        node_advance(node);
    }
    return pages[page].model->read(node, (uint32_t)offset - pages[page].base, size);
}

static void write_peripheral(uc_engine *uc, uint64_t offset, unsigned size, uint64_t value, void *user)
{
    struct node *node = user;
    unsigned page = (unsigned)(offset >> 12) & 15u;

    (void)uc;
    if (node->failed || node->cut_now) {
        return;
    }
    node->effects++;
    if (pages[page].model == NULL) {
        node_fail(node, "write to %08x, where no peripheral is", PERIPHERALS + (uint32_t)offset);
        return;
    }
    if ((offset & (size - 1)) != 0) {
        node_fail(node, "unaligned write to %08x", PERIPHERALS + (uint32_t)offset);
        return;
    }
    if (models_next(node) <= node->now) {
        node_advance(node);
    }
    pages[page].model->write(node, (uint32_t)offset - pages[page].base, size, (uint32_t)value);
    node_kick(node);
}

static uint64_t read_itc(uc_engine *uc, uint64_t offset, unsigned size, void *user)
{
    struct node *node = user;

    (void)uc;
    if (models_next(node) <= node->now) {
        node_advance(node);
    }
    return model_itc.read(node, (uint32_t)offset, size);
}

static void write_itc(uc_engine *uc, uint64_t offset, unsigned size, uint64_t value, void *user)
{
    struct node *node = user;

    (void)uc;
    node->effects++;
    if (!node->cut_now) {
        model_itc.write(node, (uint32_t)offset, size, (uint32_t)value);
    }
    node_kick(node);
}

static uint64_t read_mailbox(uc_engine *uc, uint64_t offset, unsigned size, void *user)
{
    struct node *node = user;

    (void)uc;
    (void)size;
    return offset == 24 ? node->mailbox[6] : 0;
}

static void write_mailbox(uc_engine *uc, uint64_t offset, unsigned size, uint64_t value, void *user)
{
    struct node *node = user;

    (void)uc;
    (void)size;
    node->effects++;
    if (offset > 20 || node->cut_now || node->failed) {
        return;
    }
    if (node->block >= ROM_SIZE) {
        node_fail(node, "access to %08x, where no peripheral is", MAILBOX + (uint32_t)offset);
        return;
    }
    node->mailbox[offset / 4] = (uint32_t)value;
    if (offset != 20) {
        return;
    }
    switch (value) {
    case 7:
        rom_variables_made(node);
        break;
    case 8:
        node->mailbox[6] = node->maca.lqi;
        break;
    case 9:
        node_reset(node, "jump to 0");
        break;
    default:
        node->mailbox[6] = nvm_service(node, node->mailbox);
        break;
    }
    node_kick(node);
}

/* ---- Hooks ---- */

static bool same_state(struct node *node)
{
    static const int ids[17] = {UC_ARM_REG_R0, UC_ARM_REG_R1, UC_ARM_REG_R2, UC_ARM_REG_R3, UC_ARM_REG_R4, UC_ARM_REG_R5,
                                UC_ARM_REG_R6, UC_ARM_REG_R7, UC_ARM_REG_R8, UC_ARM_REG_R9, UC_ARM_REG_R10, UC_ARM_REG_R11,
                                UC_ARM_REG_R12, UC_ARM_REG_SP, UC_ARM_REG_LR, UC_ARM_REG_CPSR, UC_ARM_REG_SPSR};
    bool same = true;

    for (unsigned i = 0; i < 17; i++) {
        uint32_t value = reg(node, ids[i]);

        same = same && value == node->watch_regs[i];
        node->watch_regs[i] = value;
    }
    return same;
}

/* At a block that was chosen for it: the first pass takes a picture, the second and third compare. */
static void look_for_loop(struct node *node)
{
    if (node->effects != node->watch_effects || node->now > node->watch_until) {
        node->watching = false;
    } else if (node->watch_hits == 0) {
        (void)same_state(node);
        memcpy(node->watch_ram, node->ram, RAM_SIZE);
        node->watch_hits = 1;
    } else if (!same_state(node) || memcmp(node->watch_ram, node->ram, RAM_SIZE) != 0) {
        node->watching = false;
    } else if (++node->watch_hits > 2) {
        /* With no event in between: nothing will change but by an event, and node_run skips to it. */
        node->looping = true;
        node->loop_masked = (reg(node, UC_ARM_REG_CPSR) & CPSR_IRQ_OFF) != 0; /* then an interrupt does not end it */
        node->deadline = 0;
    }
}

static void on_block(uc_engine *uc, uint64_t address, uint32_t size, void *user)
{
    struct node *node = user;
    uint32_t at = (uint32_t)address, instructions;
    uint8_t *mode = at - RAM_BASE < RAM_SIZE ? &node->mode[(at - RAM_BASE) >> 1]
                    : at < ROM_SIZE ? &node->mode[(RAM_SIZE + at) >> 1] : NULL;

    if (mode == NULL) {
        node_fail(node, "execution left RAM and ROM at %08x", at);
        uc_emu_stop(uc);
        return;
    }
    if (*mode == 0) {
        if (at == ROM_DATA_INIT && (reg(node, UC_ARM_REG_CPSR) & CPSR_THUMB) != 0) {
            node_fail(node, "rom_data_init entered in Thumb state; it is ARM code");
            uc_emu_stop(uc);
            return;
        }
        *mode = (reg(node, UC_ARM_REG_CPSR) & CPSR_THUMB) != 0 ? 1 : 2;
    }
    instructions = size >> *mode;
    node->block = at;
    node->count.instructions += instructions;
    node->now += instructions * EMU_CPI_X10 / 10u;
    if (node->watching && at == node->watch) {
        look_for_loop(node);
    }
    if (node->unmasking != 0 && (reg(node, UC_ARM_REG_CPSR) & node->unmasking) == 0) {
        node->deadline = 0;
    }
    if (node->now >= node->deadline) {
        uc_emu_stop(uc);
    }
}

static void on_access(uc_engine *uc, uc_mem_type type, uint64_t address, int size, int64_t value, void *user)
{
    struct node *node = user;

    (void)value;
    if ((address & (uint64_t)(size - 1)) != 0) {
        node_fail(node, "unaligned %s of %d bytes at %08x", type == UC_MEM_WRITE ? "write" : "read", size, (uint32_t)address);
        uc_emu_stop(uc);
    }
}

static bool on_invalid(uc_engine *uc, uc_mem_type type, uint64_t address, int size, int64_t value, void *user)
{
    struct node *node = user;
    const char *what = type == UC_MEM_FETCH_UNMAPPED || type == UC_MEM_FETCH_PROT ? "execution"
                       : type == UC_MEM_WRITE_UNMAPPED || type == UC_MEM_WRITE_PROT ? "write" : "read";

    (void)uc;
    (void)size;
    (void)value;
    node_fail(node, "abort: %s at %08x, where no memory is", what, (uint32_t)address);
    return false;
}

static void on_exception(uc_engine *uc, uint32_t number, void *user)
{
    struct node *node = user;
    static const char *const names[] = {"0", "undefined instruction", "software interrupt", "prefetch abort", "data abort"};

    node_fail(node, "exception: %s", number < 5 ? names[number] : "unknown");
    uc_emu_stop(uc);
}

/* Unicorn takes each kind of hook as an object pointer. */
static void *hook_address(void (*function)(void))
{
    void *address;

    memcpy(&address, &function, sizeof address);
    return address;
}

/* ---- Life ---- */

struct node *node_new(struct world *world, unsigned id, const char *name)
{
    struct node *node = calloc(1, sizeof *node);

    if (node == NULL) {
        abort();
    }
    node->world = world;
    node->id = id;
    snprintf(node->name, sizeof node->name, "%s", name);
    node->seed = world_random(world->seed, id, 0x6e6f6465, 0);
    if (posix_memalign((void **)&node->ram, 4096, RAM_SIZE) != 0) {
        abort();
    }
    node->pattern = malloc(RAM_SIZE);
    node->watch_ram = malloc(RAM_SIZE);
    node->mode = calloc(1, (RAM_SIZE + ROM_SIZE) / 2);
    if (node->pattern == NULL || node->watch_ram == NULL || node->mode == NULL) {
        abort();
    }
    node->power_at = EMU_NEVER;
    node->now = world->now;
    nvm_format(node);
    return node;
}

void node_free(struct node *node)
{
    if (node->uc != NULL) {
        uc_close(node->uc);
    }
    free(node->ram);
    free(node->pattern);
    free(node->watch_ram);
    free(node->mode);
    free(node);
}

bool node_flash(struct node *node, const char *path)
{
    FILE *file = fopen(path, "rb");
    size_t len;

    if (file == NULL) {
        return false;
    }
    nvm_format(node);
    len = fread(node->flash.byte, 1, FLASH_SIZE, file);
    fclose(file);
    return len > 8;
}

bool node_flash_image(struct node *node, const void *image, size_t len)
{
    uint8_t *to = node->flash.byte;

    if (len > FLASH_CALIBRATION * FLASH_SECTOR - 8) {
        return false;
    }
    memcpy(to, "OKOK", 4);
    for (unsigned i = 0; i < 4; i++) {
        to[4 + i] = (uint8_t)(len >> (8 * i));
    }
    memcpy(to + 8, image, len);
    return true;
}

void node_power_on(struct node *node)
{
    if (!node->running) {
        node->power_at = node->world->now + BOOT_TIME;
        node->now = node->world->now;
    }
}

void node_power_off(struct node *node)
{
    if (node->running && node->maca.action >= MACA_ACKING) {
        air_cut_short(node->world, node, node->world->now);
    }
    node->running = false;
    node->power_at = EMU_NEVER;
}

void node_type(struct node *node, const char *text, size_t len)
{
    uart_type(node, (const uint8_t *)text, len);
}

static void open_engine(struct node *node)
{
    uc_err error;
    uc_hook hook;

    if (node->uc != NULL) {
        uc_close(node->uc); /* with everything that was translated */
        node->uc = NULL;
    }
    if ((error = uc_open(UC_ARCH_ARM, UC_MODE_ARM, &node->uc)) != UC_ERR_OK) {
        die("uc_open", error);
    }
    /* ARMv4T: the model that is taken by default would run instructions that this chip does not have. */
    if ((error = uc_ctl_set_cpu_model(node->uc, UC_CPU_ARM_TI925T)) != UC_ERR_OK ||
        (error = uc_mem_map_ptr(node->uc, RAM_BASE, RAM_SIZE, UC_PROT_ALL, node->ram)) != UC_ERR_OK ||
        (error = uc_mem_map(node->uc, 0, ROM_SIZE, UC_PROT_READ | UC_PROT_EXEC)) != UC_ERR_OK ||
        (error = uc_mmio_map(node->uc, PERIPHERALS, PERIPHERALS_SIZE, read_peripheral, node, write_peripheral, node)) !=
            UC_ERR_OK ||
        (error = uc_mmio_map(node->uc, ITC_BASE, 0x1000, read_itc, node, write_itc, node)) != UC_ERR_OK ||
        (error = uc_mmio_map(node->uc, MAILBOX, 0x1000, read_mailbox, node, write_mailbox, node)) != UC_ERR_OK) {
        die("memory map", error);
    }
    if (!rom_load(node)) {
        fprintf(stderr, "emulator: no ROM image, " EMULATOR_ROM "\n");
        abort();
    }
    if ((error = uc_hook_add(node->uc, &hook, UC_HOOK_BLOCK, HOOK(on_block), node, 1, 0)) != UC_ERR_OK ||
        (error = uc_hook_add(node->uc, &hook, UC_HOOK_MEM_INVALID, HOOK(on_invalid), node, 1, 0)) != UC_ERR_OK ||
        (error = uc_hook_add(node->uc, &hook, UC_HOOK_INTR, HOOK(on_exception), node, 1, 0)) != UC_ERR_OK) {
        die("hooks", error);
    }
    if (node->world->strict) {
        error = uc_hook_add(node->uc, &hook, UC_HOOK_MEM_READ | UC_HOOK_MEM_WRITE, HOOK(on_access), node, (uint64_t)RAM_BASE,
                            (uint64_t)(RAM_BASE + RAM_SIZE - 1));
        if (error != UC_ERR_OK) {
            die("hook", error);
        }
    }
}

static void boot(struct node *node)
{
    const uint8_t *flash = node->flash.byte;
    static const int banked[] = {MODE_FIQ, MODE_IRQ, MODE_ABT, MODE_UND, 0x1f, MODE_SVC};
    uint32_t len;

    node->power_at = EMU_NEVER;
    node->count.boots++;
    if (memcmp(flash, "OKOK", 4) != 0 && memcmp(flash, "SECU", 4) != 0) {
        node_fail(node, "no image in the flash: it begins neither with OKOK nor with SECU");
        return;
    }
    len = (uint32_t)flash[4] | (uint32_t)flash[5] << 8 | (uint32_t)flash[6] << 16 | (uint32_t)flash[7] << 24;
    if (len == 0 || len > RAM_SIZE || len + 8 > FLASH_SIZE) {
        node_fail(node, "the image in the flash has %u bytes", len);
        return;
    }
    open_engine(node);
    for (uint32_t i = 0; i < RAM_SIZE; i += 8) {
        uint64_t word = world_random(node->seed, node->count.boots, i, 0x72616d);

        memcpy(node->pattern + i, &word, 8);
    }
    memcpy(node->ram, node->pattern, RAM_SIZE);
    memcpy(node->ram, flash + 8, len);
    memset(node->mode, 0, (RAM_SIZE + ROM_SIZE) / 2);
    node->image_size = len;
    node->waiting = node->looping = node->watching = node->reset_wanted = node->cut_now = node->rom_ready = false;
    node->unmasking = 0;
    node->watch_pause = 0;
    node->watch_until = node->stalled_until = 0;
    for (unsigned i = 0; i < MODELS; i++) {
        models[i]->reset(node);
    }
    /* No mode has a stack yet, and nothing says what the registers hold. */
    for (unsigned i = 0; i < sizeof banked / sizeof banked[0]; i++) {
        set_reg(node, UC_ARM_REG_CPSR, 0xc0u | (uint32_t)banked[i]);
        set_reg(node, UC_ARM_REG_SP, (uint32_t)world_random(node->seed, i, 0x7370, 0) | 0x10000000u);
        set_reg(node, UC_ARM_REG_LR, (uint32_t)world_random(node->seed, i, 0x6c72, 0) | 0x10000000u);
    }
    for (int i = UC_ARM_REG_R0; i <= UC_ARM_REG_R12; i++) {
        set_reg(node, i, (uint32_t)world_random(node->seed, (uint64_t)i, 0x72, 0));
    }
    set_reg(node, UC_ARM_REG_PC, RAM_BASE);
    node->running = true;
    world_say(node->world, node, node->now, "boots, image of %u bytes", len);
}

static void enter(struct node *node, uint32_t mode, uint32_t vector, uint32_t back)
{
    uint32_t cpsr = reg(node, UC_ARM_REG_CPSR);
    uint32_t off = CPSR_IRQ_OFF | (mode == MODE_FIQ ? CPSR_FIQ_OFF : 0);

    set_reg(node, UC_ARM_REG_CPSR, (cpsr & ~(0x1fu | CPSR_THUMB)) | off | mode);
    set_reg(node, UC_ARM_REG_SPSR, cpsr);
    set_reg(node, UC_ARM_REG_LR, back);
    set_reg(node, UC_ARM_REG_PC, RAM_BASE + vector);
}

static void interrupts(struct node *node)
{
    uint32_t cpsr, pc;

    node->unmasking = 0;
    if (itc_pending(node) == 0) {
        return;
    }
    cpsr = reg(node, UC_ARM_REG_CPSR);
    pc = reg(node, UC_ARM_REG_PC);
    /* No register of a model tells when the processor lets an interrupt in: while one waits, look at each block. */
    node->unmasking = itc_fast(node) ? CPSR_FIQ_OFF : CPSR_IRQ_OFF;
    if ((cpsr & node->unmasking) != 0) {
        return;
    }
    node->count.interrupts++;
    node->watching = false;
    node->watch_until = node->now;
    node->watch_pause = EMU_QUANTUM; /* not in the handler */
    if (node->unmasking == CPSR_FIQ_OFF) {
        enter(node, MODE_FIQ, 0x1c, pc + 4);
    } else {
        enter(node, MODE_IRQ, 0x18, pc + 4);
    }
}

/* From time to time, and rarely where it was in vain, looks whether the processor goes round in circles. */
static void watch(struct node *node)
{
    if (node->now < node->watch_until + (node->watching ? 0 : node->watch_pause)) {
        return;
    }
    node->watching = true;
    node->watch_hits = 0;
    node->watch = reg(node, UC_ARM_REG_PC);
    node->watch_effects = node->effects;
    node->watch_until = node->now + WATCH_CYCLES;
    node->watch_pause = node->watch_pause < EMU_QUANTUM ? EMU_QUANTUM : 2 * node->watch_pause;
    if (node->watch_pause > WATCH_PAUSE_MAX) {
        node->watch_pause = WATCH_PAUSE_MAX;
    }
}

static void exception(struct node *node, uc_err error)
{
    uint32_t pc = reg(node, UC_ARM_REG_PC);
    bool thumb = (reg(node, UC_ARM_REG_CPSR) & CPSR_THUMB) != 0;

    if (error == UC_ERR_INSN_INVALID) {
        if (node->own_exceptions) {
            enter(node, MODE_UND, 0x04, pc + (thumb ? 2 : 4));
            return;
        }
        node_fail(node, "undefined instruction at %08x", pc);
        return;
    }
    if (node->failed && node->own_exceptions && strncmp(node->failure, "abort:", 6) == 0) {
        node->failed = node->world->failed = false;
        enter(node, MODE_ABT, error == UC_ERR_FETCH_UNMAPPED ? 0x0c : 0x10, pc + (error == UC_ERR_FETCH_UNMAPPED ? 4 : 8));
        return;
    }
    node_fail(node, "%s", uc_strerror(error));
}

void node_run(struct node *node, uint64_t until)
{
    while (node->now < until) {
        uint64_t next;
        uint32_t pc;
        uc_err error;

        if (node->failed) {
            node->now = until;
            return;
        }
        if (node->reset_wanted || node->cut_now) {
            bool cut = node->cut_now;

            node->running = node->reset_wanted = node->cut_now = false;
            if (node->maca.action >= MACA_ACKING) {
                air_cut_short(node->world, node, node->now);
            }
            node->power_at = cut ? EMU_NEVER : node->now + BOOT_TIME;
            if (cut) {
                world_say(node->world, node, node->now, "power is cut");
            }
        }
        if (!node->running) {
            if (node->power_at > node->now) {
                node->now = node->power_at < until ? node->power_at : until;
            }
            if (node->power_at <= node->now) {
                boot(node);
            }
            continue;
        }
        if (node_next(node) <= node->now) {
            node_advance(node);
        }
        next = node_next(node);
        if (!node_busy(node)) {
            uint64_t to = next < until ? next : until;

            if (to <= node->now) {
                to = node->now + 1;
            }
            node->count.idle += to - node->now;
            node->now = to;
            if (node->looping && next <= node->now) {
                /* It may wait for a status, not for an interrupt. It will be found again where it goes on looping. */
                node->looping = false;
                node->watch_hits = 0;
                node->watch_until = node->now + WATCH_CYCLES;
                node->watch_pause = 0;
            }
            continue;
        }
        node->waiting = node->looping = false;
        interrupts(node);
        watch(node);
        node->deadline = next < until ? next : until;
        pc = (reg(node, UC_ARM_REG_PC) & ~1u) | (reg(node, UC_ARM_REG_CPSR) >> 5 & 1u);
        error = uc_emu_start(node->uc, pc, 0xfffffff0u, 0, 0);
        if (error != UC_ERR_OK) {
            exception(node, error);
        }
        if (node->now >= next) {
            node->watch_hits = 0; /* some things only take time, as the regulators do */
        }
    }
}

void node_untouched(const struct node *node, uint32_t *start, uint32_t *len)
{
    uint32_t from = 0;

    *start = *len = 0;
    for (uint32_t i = 0; i <= RAM_SIZE; i += 4) {
        if (i == RAM_SIZE || memcmp(node->ram + i, node->pattern + i, 4) != 0) {
            if (i - from > *len) {
                *start = RAM_BASE + from;
                *len = i - from;
            }
            from = i + 4;
        }
    }
}
