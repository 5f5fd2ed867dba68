/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Are the models as unkind as they say? Each row has a small program (firmware/) do one thing and expects its console
 * lines, in this order, or the failure that ends the run. A model that became friendly fails its row.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "emulator.h"

struct row {
    const char *name;            /* the case that the program is told */
    const char *lines[8];        /* expected in this order; others may be between them. A leading "!" : must not come */
    const char *failure;         /* part of the failure expected, NULL: none */
    uint64_t time;               /* 0: 1 s */
    void (*prepare)(struct world *, struct node *);
};

static void load(struct node *node, const char *name)
{
    char path[1024];
    static uint8_t image[RAM_SIZE];
    FILE *file;
    size_t len;

    snprintf(path, sizeof path, "%s/%s.bin", EMULATOR_IMAGES, name);
    file = fopen(path, "rb");
    assert_non_null(file);
    len = fread(image, 1, sizeof image, file);
    fclose(file);
    assert_true(node_flash_image(node, image, len));
}

static void command(struct node *node, const char *text)
{
    node_type(node, text, strlen(text));
    node_type(node, "\n", 1);
}

static void dump(const struct world *world)
{
    for (size_t i = 0; i < world->line_count; i++) {
        print_error("    %s | %s\n", world->node[world->lines[i].node]->name, world->lines[i].text);
    }
}

static bool said(const struct world *world, unsigned node, const char *text, size_t *from)
{
    for (size_t i = *from; i < world->line_count; i++) {
        if (world->lines[i].node == node && strcmp(world->lines[i].text, text) == 0) {
            *from = i + 1;
            return true;
        }
    }
    return false;
}

static bool row_holds(const char *program, const struct row *row)
{
    struct world *world = world_new(1);
    struct node *node = world_node(world, "chip");
    size_t from = 0;
    bool good = true;

    load(node, program);
    node_power_on(node);
    if (row->prepare != NULL) {
        row->prepare(world, node);
    }
    (void)world_run(world, 100 * EMU_MS);
    command(node, row->name);
    (void)world_run(world, row->time == 0 ? EMU_S : row->time);
    for (unsigned i = 0; i < 8 && row->lines[i] != NULL; i++) {
        size_t all = 0;
        bool found = row->lines[i][0] == '!' ? !said(world, 0, row->lines[i] + 1, &all) : said(world, 0, row->lines[i], &from);

        if (!found) {
            print_error("%s, %s: not as expected: \"%s\"\n", program, row->name, row->lines[i]);
            good = false;
        }
    }
    if (world->failed != (row->failure != NULL) || (row->failure != NULL && strstr(world->failure, row->failure) == NULL)) {
        print_error("%s, %s: %s, expected %s\n", program, row->name, world->failed ? world->failure : "did not fail",
                    row->failure != NULL ? row->failure : "none");
        good = false;
    }
    if (!good) {
        dump(world);
    }
    world_free(world);
    return good;
}

static void rows_hold(const char *program, const struct row *rows, size_t count)
{
    unsigned bad = 0;

    for (size_t i = 0; i < count; i++) {
        bad += !row_holds(program, &rows[i]);
    }
    assert_int_equal(bad, 0);
}
#define ROWS_HOLD(program, rows) rows_hold(program, rows, sizeof(rows) / sizeof(rows)[0])

static void strictly(struct world *world, struct node *node)
{
    (void)node;
    world->strict = true;
}

static void own_exceptions(struct world *world, struct node *node)
{
    (void)world;
    node->own_exceptions = true;
}

static void no_wait4irq(struct world *world, struct node *node)
{
    (void)node;
    world->wait4irq = false;
}

static void no_selftest(struct world *world, struct node *node)
{
    (void)world;
    node->sabotage.asm_selftest = true;
}

static void no_done(struct world *world, struct node *node)
{
    (void)world;
    node->sabotage.asm_done = true;
}

static void stuck_bypass(struct world *world, struct node *node)
{
    (void)world;
    node->sabotage.asm_bypass = true;
}

static void worn(struct world *world, struct node *node)
{
    (void)world;
    node->flash.worn0[24 * FLASH_SECTOR] = 0x08;
    node->flash.worn1[24 * FLASH_SECTOR + 1] = 0x80;
}

static void test_cpu(void **state)
{
    static const struct row rows[] = {
        {.name = "unaligned", .prepare = strictly, .failure = "unaligned read of 4 bytes"},
        {.name = "unmapped", .failure = "abort: read at 50000000"},
        {.name = "unmapped-write", .failure = "abort: write at 50000000"},
        {.name = "exceptions-data", .prepare = own_exceptions, .lines = {"near 00000001", "!done"}},
        {.name = "no-peripheral", .failure = "80001000, where no peripheral is"},
        {.name = "rom-write", .failure = "abort: write at 00000100"},
        {.name = "undefined", .failure = "undefined instruction at 004"},
        {.name = "exceptions-undefined", .prepare = own_exceptions, .lines = {"undefined 00000002", "!done"}},
        {.name = "lost", .failure = "execution at 60000000"},
        {.name = "mailbox", .failure = "80030014, where no peripheral is"},
        {.name = "jump-to-zero", .lines = {"ready", "ready"}},
        {.name = "uninitialised", .lines = {"zeros 00000000"}},
        {.name = "force", .lines = {"masked by the processor 00000000", "let in 00000001", "not enabled 00000001",
                                    "pending 00000000"}},
        {.name = "fast", .lines = {"fiq 00000001"}},
        {.name = "section", .lines = {"enabled 00000000"}},
        {.name = "storm", .time = 4 * EMU_S, .lines = {"came 00000064"}},
        {.name = "spin", .time = 4 * EMU_S, .lines = {"ticks 0000000a"}},
        {.name = "wait4irq", .time = 4 * EMU_S, .lines = {"ticks 0000000a"}},
        {.name = "wait4irq", .time = 4 * EMU_S, .prepare = no_wait4irq, .lines = {"ticks 0000000a"}},
        {.name = "count", .time = 4 * EMU_S, .lines = {"work 00000001"}},
    };

    (void)state;
    ROWS_HOLD("chip_cpu", rows);
}

static void test_asm(void **state)
{
    static const struct row rows[] = {
        {.name = "unpowered", .failure = "ASM +54 written before the regulators are up"},
        {.name = "untested", .lines = {"done 00000000", "result 00000000"}},
        {.name = "selftest", .lines = {"pass 00000001"}},
        {.name = "selftest", .prepare = no_selftest, .lines = {"pass 00000000"}},
        {.name = "block", .lines = {"result 69c4e0d8", "result 70b4c55a"}},
        {.name = "block", .prepare = no_done, .lines = {"result 00000000"}},
        {.name = "boot-mode", .lines = {"own key 00000000"}},
        {.name = "write-only", .lines = {"key 00000000"}},
        {.name = "sticky", .lines = {"done at once 00000001", "stale 00000001", "later 00000001", "cleared 00000000"}},
        {.name = "bypass", .lines = {"result 00112233"}},
        {.name = "block", .prepare = stuck_bypass, .lines = {"result 00000000"}},
        {.name = "chain", .lines = {"first 69c4e0d8", "chained 00000001", "cleared 00000001", "loaded 00000001"}},
        {.name = "both", .lines = {"ctr 69d5c2eb", "cbc 69c4e0d8"}},
        {.name = "changed", .lines = {"spoiled 00000001"}},
        {.name = "interrupt", .lines = {"masked 00000000", "came 00000001"}},
    };

    (void)state;
    ROWS_HOLD("chip_asm", rows);
}

static void test_nvm(void **state)
{
    static const struct row rows[] = {
        {.name = "basic", .lines = {"detect 00000000", "type 00000001", "write 00000000", "read 12345678"}},
        {.name = "zeros", .lines = {"write 00000000", "read 000000ff", "erase 00000000", "read ffffffff"}},
        {.name = "basic", .prepare = worn, .lines = {"write 00000000", "read 1234d670"}},
        {.name = "timing", .lines = {"takes 00000001"}},
        {.name = "errors", .lines = {"protected 00000004", "interface 00000001", "type 00000002", "pointer 00000003",
                                     "address 00000006", "other 00000000", "nothing there ffffffff"}},
        {.name = "calibration-erase", .failure = "erase of the calibration sector"},
        {.name = "calibration-write", .failure = "write to the calibration sector"},
        {.name = "unpowered", .failure = "before the regulators are up"},
        {.name = "no-variables", .failure = "before rom_data_init"},
        {.name = "variables", .failure = "the ROM's variables in RAM"},
        {.name = "slot", .failure = "patch slot at RAM +a0"},
        {.name = "interrupts", .failure = "with interrupts possible"},
        {.name = "thumb-init", .failure = "rom_data_init entered in Thumb state"},
        {.name = "log", .lines = {"complete"}},
    };

    (void)state;
    ROWS_HOLD("chip_nvm", rows);
}

static void type_much(struct world *world, struct node *node)
{
    /* Behind the name of the case, while the program does not listen. */
    (void)world_run(world, 100 * EMU_MS);
    command(node, "uart-overrun");
    for (unsigned i = 0; i < 50; i++) {
        node_type(node, "x", 1);
    }
}

static void test_crm(void **state)
{
    static const struct row rows[] = {
        {.name = "rtc-stands", .time = 4 * EMU_S, .lines = {"moved 00000000", "moved 00000000", "moved 00000001"}},
        {.name = "wake-clears-late", .lines = {"came again 00000001", "ticks 00000002"}},
        {.name = "regulators", .lines = {"ready at once 00000000", "ready 00000001"}},
        {.name = "watchdog", .lines = {"ready", "ready"}},
        {.name = "watchdog-served", .time = 4 * EMU_S, .lines = {"ready", "alive", "done"}},
        {.name = "wrong-key", .lines = {"ready", "alive", "ready"}},
        {.name = "calibrate", .lines = {"plausible 00000001"}},
        {.name = "sleep", .lines = {"slept 00000001"}},
        {.name = "sleep-with-radio", .lines = {"ready", "ready", "!slept 00000001"}},
        {.name = "sleep-little-ram", .lines = {"kept 00000000"}},
        {.name = "tmr-word", .failure = "16-bit registers"},
        {.name = "tmr-read-word", .failure = "16-bit registers"},
        {.name = "tmr-enable", .lines = {"one 00000000", "all 00000001"}},
        {.name = "tmr-once", .lines = {"flag 00000001", "stopped 00000000", "stays so 00000000"}},
        {.name = "uart-fifo", .lines = {"toe 00000001", "real time 00000001"}},
        {.name = "", .prepare = type_much, .lines = {"deaf", "waiting 00000020", "roe 00000001", "told once 00000000"}},
        {.name = "uart-rate", .lines = {"the divider does not move while the UART is on", "!abc"}},
        {.name = "uart-pins", .lines = {"before", "!nobody hears this"}},
    };

    (void)state;
    ROWS_HOLD("chip_crm", rows);
}

static void test_maca_alone(void **state)
{
    static const struct row rows[] = {
        {.name = "clock-off", .failure = "MACA +010 read with its clock off"},
        {.name = "not-set-up", .lines = {"code 0000000c"}},
        {.name = "no-table", .lines = {"code 0000000c"}},
        {.name = "not-trimmed", .lines = {"code 0000000c"}},
        {.name = "send", .lines = {"code 00000000"}},
        {.name = "send-acknowledged", .lines = {"code 00000005"}},
        {.name = "no-abort", .failure = "without an abort"},
        {.name = "on-top", .failure = "while another is under way"},
        {.name = "scribble", .failure = "was changed while it was being sent"},
        {.name = "bad-dma", .lines = {"code 0000000f"}},
        {.name = "random", .lines = {"a function of the seed 00000001", "moves 00000001"}},
        {.name = "soft-timeout", .lines = {"acpl 00000001", "irq 00000400", "code 00000001"}},
        {.name = "watchdog-clock", .lines = {"code 00000001"}},
    };

    (void)state;
    ROWS_HOLD("chip_maca", rows);
}

struct pair_row {
    const char *receiver, *sender;
    const char *lines[8];        /* of the receiver */
    const char *sent;            /* the sender's, or NULL */
    struct link link;
};

static void test_maca_pairs(void **state)
{
    static const struct pair_row rows[] = {
        {"receive", "send", {"listening", "code 00000000", "phr 00000010", "got hello"}, "code 00000000", {.audible = true}},
        {"receive", "send", {"listening", "di 00000000", "!got hello"}, "code 00000000", {.audible = false}},
        {"receive", "send", {"listening", "di 00000000", "!got hello"}, NULL, {.audible = true, .loss_ppm = 1000000}},
        {"receive", "send", {"listening", "di 00001001", "code 00000003"}, NULL, {.audible = true, .corrupt_ppm = 1000000}},
        {"receive", "send", {"listening", "code 00000000", "!got hello"}, NULL, {.audible = true, .mangle_ppm = 1000000}},
        {"receive", "send", {"listening", "got hello"}, NULL, {.audible = true, .delay_us = 3000}},
        {"receive-once", "send-two", {"got first", "second 00000000"}, NULL, {.audible = true}},
        {"receive-both", "send-two", {"got first", "second 00000004", "got second"}, NULL, {.audible = true}},
        {"receive-no-room", "send", {"anything 00000000"}, NULL, {.audible = true}},
        {"receive-other-channel", "send", {"anything 00000000"}, NULL, {.audible = true}},
        {"receive-filtered", "send-two", {"flt 00000800", "second 00000000"}, NULL, {.audible = true}},
        {"receive-acknowledging", "send-acknowledged", {"acpl with di 00000000", "acpl 00000001", "got please"},
         "code 00000000", {.audible = true}},
        {"receive-hasty", "send-acknowledged", {"got please"}, "code 00000005", {.audible = true}},
        {"receive-sequence", "sequence-late", {"sequence 00000055"}, NULL, {.audible = true}},
        {"jam", "jam", {"sent 00000001"}, "busy 00000001", {.audible = true}},
    };
    unsigned bad = 0;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct pair_row *row = &rows[i];
        struct world *world = world_new(1);
        struct node *receiver = world_node(world, "receiver"), *sender = world_node(world, "sender");
        size_t from = 0;
        bool good = true;

        load(receiver, "chip_maca");
        load(sender, "chip_maca");
        world_link(world, NULL, NULL, &row->link);
        node_power_on(receiver);
        node_power_on(sender);
        (void)world_run(world, 100 * EMU_MS);
        command(receiver, row->receiver);
        (void)world_run(world, 20 * EMU_MS);
        command(sender, row->sender);
        good = world_run(world, EMU_S);
        for (unsigned j = 0; j < 8 && row->lines[j] != NULL; j++) {
            size_t all = 0;

            good = good && (row->lines[j][0] == '!' ? !said(world, 0, row->lines[j] + 1, &all)
                                                    : said(world, 0, row->lines[j], &from));
        }
        from = 0;
        good = good && (row->sent == NULL || said(world, 1, row->sent, &from));
        if (!good) {
            print_error("%s, %s: not as expected %s\n", row->receiver, row->sender, world->failure);
            dump(world);
            bad++;
        }
        world_free(world);
    }
    assert_int_equal(bad, 0);
}

/* Two that do not hear each other, a third that hears both: what overlaps there is lost to it. */
static void test_collisions(void **state)
{
    struct world *world = world_new(3);
    struct node *left = world_node(world, "left"), *right = world_node(world, "right"), *middle = world_node(world, "middle");
    struct link audible = {.audible = true};

    (void)state;
    load(left, "chip_maca");
    load(right, "chip_maca");
    load(middle, "chip_maca");
    world_link(world, left, middle, &audible);
    world_link(world, right, middle, &audible);
    node_power_on(left);
    node_power_on(right);
    node_power_on(middle);
    (void)world_run(world, 100 * EMU_MS);
    command(middle, "listen");
    (void)world_run(world, 20 * EMU_MS);
    command(left, "jam-blindly");
    (void)world_run(world, EMU_MS);
    command(right, "jam-blindly");
    assert_true(world_run(world, EMU_S));
    assert_true(left->count.tx_frames == 40 && right->count.tx_frames == 40);
    assert_true(middle->count.collided > 10);
    assert_true(middle->count.rx_frames < 70);
    world_free(world);
}

/* Length bytes and frames that no honest transmitter sends. */
static void test_injected(void **state)
{
    static const struct {
        unsigned len;
        bool fcs;
        const char *line;
    } rows[] = {
        {5, true, "di 00000005 00000005"},
        {127, true, "di 0000007f 0000007f"},
        {128, true, "di 00000080 0000007f"},
        {255, true, "di 000000ff 0000007f"},
        {60, false, "crc 0000003c 00000000"},
        {2, false, "crc 00000002 00000000"},
        {3, true, "di 00000003 00000003"},
    };
    unsigned bad = 0;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct world *world = world_new(1);
        struct node *node = world_node(world, "chip");
        uint8_t frame[AIR_FRAME_MAX] = {0x41, 0x88, 0x07, 0xff, 0xff};
        uint16_t fcs = air_fcs(frame, rows[i].len - 2);
        size_t from = 0;

        frame[rows[i].len - 2] = (uint8_t)(rows[i].fcs ? fcs : ~fcs);
        frame[rows[i].len - 1] = (uint8_t)(fcs >> 8);
        load(node, "chip_maca");
        world_link(world, NULL, NULL, &(struct link){.audible = true});
        node_power_on(node);
        (void)world_run(world, 100 * EMU_MS);
        command(node, "listen");
        (void)world_run(world, 20 * EMU_MS);
        air_transmit(world, NULL, world->now, frame, rows[i].len, 0);
        (void)world_run(world, 100 * EMU_MS);
        if (!said(world, 0, rows[i].line, &from)) {
            print_error("%u bytes: not \"%s\"\n", rows[i].len, rows[i].line);
            dump(world);
            bad++;
        }
        world_free(world);
    }
    assert_int_equal(bad, 0);
}

static void radio_broken(bool silent, const char *line)
{
    struct world *world = world_new(1);
    struct node *node = world_node(world, "chip");
    size_t from = 0;

    load(node, "chip_maca");
    node->sabotage.radio_silent = silent;
    node->sabotage.radio_unlock = !silent;
    node_power_on(node);
    (void)world_run(world, 100 * EMU_MS);
    command(node, "send");
    (void)world_run(world, EMU_S);
    assert_true(said(world, 0, line, &from));
    world_free(world);
}

static void test_radio_broken(void **state)
{
    (void)state;
    radio_broken(true, "code 0000000e");
    radio_broken(false, "code 0000000c");
}

/* The last write before the cut is whole, missing or torn, as it was asked for; the flash keeps that over the restart. */
static void test_power_cuts(void **state)
{
    static const struct {
        enum cut cut;
        const char *line;
    } rows[] = {
        {CUT_BEFORE, "complete"},
        {CUT_HALF, "torn"},
        {CUT_AFTER, "complete"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct world *world = world_new(2);
        struct node *node = world_node(world, "chip");
        const uint8_t *word = node->flash.byte + 24 * FLASH_SECTOR + 12;
        bool torn = false;

        load(node, "chip_nvm");
        node->sabotage.cut = rows[i].cut;
        node->sabotage.cut_in = 5; /* erase, magic, 1, 2, 3 */
        node_power_on(node);
        (void)world_run(world, 100 * EMU_MS);
        command(node, "log");
        (void)world_run(world, EMU_S);
        assert_false(node->running);
        assert_int_equal(word[0], rows[i].cut == CUT_BEFORE ? 0xff : 3);
        assert_int_equal(word[1], rows[i].cut == CUT_AFTER ? 0x00 : rows[i].cut == CUT_BEFORE ? 0xff : 0x00);
        assert_true((word[3] == 0x00) == (rows[i].cut == CUT_AFTER));
        assert_int_equal(word[4], 0xff);
        node_power_on(node);
        (void)world_run(world, 100 * EMU_MS);
        command(node, "log");
        assert_true(world_run(world, EMU_S));
        for (size_t j = 0; j < world->line_count; j++) {
            torn = torn || strncmp(world->lines[j].text, "torn", 4) == 0;
        }
        assert_true(torn == (rows[i].cut == CUT_HALF));
        world_free(world);
    }
}

/* Same seed, same lines at the same cycle; another seed, other lines. */
static uint64_t fingerprint(uint64_t seed)
{
    struct world *world = world_new(seed);
    struct node *left = world_node(world, "left"), *right = world_node(world, "right");
    uint64_t sum = 0;

    load(left, "chip_maca");
    load(right, "chip_maca");
    world_link(world, NULL, NULL, &(struct link){.audible = true, .loss_ppm = 300000});
    node_power_on(left);
    node_power_on(right);
    (void)world_run(world, 100 * EMU_MS);
    command(left, "listen");
    command(right, "jam");
    (void)world_run(world, EMU_S);
    for (size_t i = 0; i < world->line_count; i++) {
        sum = world_random(sum, world->lines[i].at, world->lines[i].node, (uint64_t)world->lines[i].text[0]);
    }
    sum = world_random(sum, left->count.instructions, right->count.instructions, left->count.rx_frames);
    world_free(world);
    return sum;
}

static void test_repeatable(void **state)
{
    (void)state;
    assert_true(fingerprint(7) == fingerprint(7));
    assert_true(fingerprint(7) != fingerprint(8));
}

/* A processor that waits costs no instructions. */
static void test_idle(void **state)
{
    static const struct {
        const char *name;
        uint64_t most;
    } rows[] = {{"spin", 1000000}, {"wait4irq", 1000000}, {"masked", 1000000}};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct world *world = world_new(1);
        struct node *node = world_node(world, "chip");

        load(node, "chip_cpu");
        node_power_on(node);
        (void)world_run(world, 100 * EMU_MS);
        command(node, rows[i].name);
        assert_true(world_run(world, 10 * EMU_S));
        assert_true(node->count.instructions < rows[i].most); /* of 120 million that fit into the time */
        assert_true(node->count.idle > 9 * EMU_S);
        world_free(world);
    }
}

static void send_secured(struct world *world, struct node *node, uint8_t counter, uint8_t text)
{
    uint8_t frame[24] = {0x49, 0x98, 1, 0xcd, 0xab, 2, 0, 1, 0, 0x0d, counter, 0, 0, 0, 1, text};

    monitor_frame(world, node, frame, sizeof frame);
}

static void test_monitor(void **state)
{
    struct world *world = world_new(1);
    struct node *a = world_node(world, "a"), *b = world_node(world, "b");
    uint8_t clear[12] = {0x41, 0x88, 1, 0xcd, 0xab, 2, 0, 1, 0, 'x'};

    (void)state;
    for (unsigned i = 0; i < 200; i++) {
        send_secured(world, a, (uint8_t)i, 'x');
        send_secured(world, b, (uint8_t)i, 'y');
    }
    send_secured(world, a, 17, 'x'); /* repeated as it was */
    monitor_frame(world, a, clear, sizeof clear);
    assert_false(world->failed);
    send_secured(world, a, 17, 'z');
    assert_true(world->failed);
    assert_non_null(strstr(world->failure, "frame counter 00000011 used for two different frames"));
    world->failed = false;
    monitor_secure_from_now(world, a);
    monitor_frame(world, b, clear, sizeof clear);
    assert_false(world->failed);
    monitor_frame(world, a, clear, sizeof clear);
    assert_true(world->failed);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cpu), cmocka_unit_test(test_asm), cmocka_unit_test(test_nvm), cmocka_unit_test(test_crm),
        cmocka_unit_test(test_maca_alone), cmocka_unit_test(test_maca_pairs), cmocka_unit_test(test_collisions),
        cmocka_unit_test(test_injected), cmocka_unit_test(test_radio_broken), cmocka_unit_test(test_power_cuts),
        cmocka_unit_test(test_repeatable), cmocka_unit_test(test_idle), cmocka_unit_test(test_monitor),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
