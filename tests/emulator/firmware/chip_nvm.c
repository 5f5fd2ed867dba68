/* SPDX-License-Identifier: BSD-3-Clause */
/* The flash and the ROM's services. */
#include "board.h"

static uint32_t read_to(uint32_t interface, uint32_t type, void *to, uint32_t from, uint32_t len)
{
    return ((uint32_t (*)(uint32_t, uint32_t, void *, uint32_t, uint32_t))0x6d69)(interface, type, to, from, len);
}

static uint32_t write_to(uint32_t interface, uint32_t type, const void *data, uint32_t to, uint32_t len)
{
    return ((uint32_t (*)(uint32_t, uint32_t, const void *, uint32_t, uint32_t))0x6ec5)(interface, type, data, to, len);
}

static uint32_t erase(uint32_t interface, uint32_t type, uint32_t sectors)
{
    return ((uint32_t (*)(uint32_t, uint32_t, uint32_t))0x6e05)(interface, type, sectors);
}

static uint32_t word(uint32_t at)
{
    uint32_t value = 0;

    read_to(0, 1, &value, at, 4);
    return value;
}

#define SECTOR24 (24u * 4096u)
#define SECTOR31 (31u * 4096u)

static void basic(void)
{
    uint32_t type = 99, value = 0x12345678;

    flash_ready();
    say("detect", ((uint32_t (*)(uint32_t, uint32_t *))0x6cb9)(0, &type));
    say("type", type);
    say("write", write_to(0, 1, &value, SECTOR24, 4));
    say("read", word(SECTOR24));
}

/* Ones do not come back, and nobody says so. */
static void zeros(void)
{
    uint32_t value = 0x0000ffff;

    flash_ready();
    write_to(0, 1, &value, SECTOR24 + 8, 4);
    value = 0xffff00ff;
    say("write", write_to(0, 1, &value, SECTOR24 + 8, 4));
    say("read", word(SECTOR24 + 8));
    say("erase", erase(0, 1, 1u << 24));
    say("read", word(SECTOR24 + 8));
}

static void timing(void)
{
    uint32_t before;

    flash_ready();
    crystal_up();
    before = rtc();
    erase(0, 1, 1u << 24);
    say("takes", rtc() - before > 700);
}

static void errors(void)
{
    uint32_t value = 0;

    regulators_up();
    rom_data_init();
    say("protected", write_to(0, 1, &value, SECTOR24, 4));
    ((uint32_t (*)(uint32_t))0x7085)(0);
    say("interface", write_to(2, 1, &value, SECTOR24, 4));
    say("type", write_to(0, 2, &value, SECTOR24, 4));
    say("pointer", write_to(0, 1, (void *)0x20000000, SECTOR24, 4));
    say("address", write_to(0, 1, &value, 0x20000, 4));
    say("other", write_to(1, 1, &value, SECTOR24, 4));
    say("nothing there", word(SECTOR24));
}

static void calibration_erase(void)
{
    flash_ready();
    erase(0, 1, 1u << 31);
}

static void calibration_write(void)
{
    static const uint8_t zero[8];

    flash_ready();
    write_to(0, 1, zero, SECTOR31 - 4, 8);
}

static void unpowered(void)
{
    rom_data_init();
    word(0);
}

static void no_variables(void)
{
    regulators_up();
    word(0);
}

static void variables(void)
{
    flash_ready();
    R8(0x00400700) ^= 1;
    word(0);
}

static void slot(void)
{
    flash_ready();
    R16(0x004000a0) = 0;
    word(0);
}

static void interrupts(void)
{
    flash_ready();
    R32(ITC + 0x10) = 1u << 5;
    INTERRUPTS_ON();
    word(0);
}

static void thumb_init(void) { ((void (*)(void))0x108d1)(); }

/* Writes one after the other, for power cuts: after each restart it says how far it got. */
static void log_words(void)
{
    uint32_t n = 0;

    flash_ready();
    if (word(SECTOR24) != 0x600d600d) {
        uint32_t magic = 0x600d600d;

        erase(0, 1, 1u << 24);
        write_to(0, 1, &magic, SECTOR24, 4);
    }
    for (n = 1; n < 8; n++) {
        uint32_t there = word(SECTOR24 + 4 * n), value = n;

        if (there == 0xffffffff) {
            write_to(0, 1, &value, SECTOR24 + 4 * n, 4);
            there = word(SECTOR24 + 4 * n);
        }
        if (there != n) {
            say("torn", there);
        }
    }
    put("complete\n");
}

const struct chip_case chip_cases[] = {
    {"basic", basic}, {"zeros", zeros}, {"timing", timing}, {"errors", errors}, {"calibration-erase", calibration_erase},
    {"calibration-write", calibration_write}, {"unpowered", unpowered}, {"no-variables", no_variables},
    {"variables", variables}, {"slot", slot}, {"interrupts", interrupts}, {"thumb-init", thumb_init}, {"log", log_words},
    {NULL, NULL},
};
