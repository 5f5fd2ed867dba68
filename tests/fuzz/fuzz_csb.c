/* SPDX-License-Identifier: BSD-3-Clause */
/* A crypto session bundle under any order of messages, epochs and time: K and the counter never go back. */
#include <iotsec/csb.h>

#include "crypto.h"
#include "script.h"

static uint32_t now;

static uint32_t get_now(void *user)
{
    (void)user;
    return now;
}

static const uint32_t numbers[] = { 0x100, 0x101, 0x102, 0x111, 0x112, 0x1FF, 0x200, 0x201, 0x300, 0xFFFF, 0x10100, 0xFFFFFFFF };

static uint32_t script_number(struct iotsec_reader *script)
{
    uint8_t choice = script_u8(script);

    return choice < sizeof numbers / sizeof numbers[0] ? numbers[choice]
                                                      : (uint32_t)script_u16(script) << 16 | script_u16(script);
}

static void take_step(struct iotsec_reader *script, struct iotsec_csb *csb, const struct iotsec_hal *hal)
{
    uint8_t secret[IOTSEC_KEY_BYTES];
    struct iotsec_addr addr;
    enum iotsec_csb_place place;
    const uint8_t *tek;
    uint32_t number;
    uint32_t counter;
    enum iotsec_status status;

    switch (script_u8(script) % 8) {
    case 0:
        memset(secret, script_u8(script), sizeof secret);
        number = script_number(script);
        status = iotsec_csb_master_key(csb, number, script_u16(script), secret);
        script_check(status != IOTSEC_OK || iotsec_csb_install(csb, hal) != IOTSEC_OK || csb->key_number == number);
        break;
    case 1:
        memset(secret, script_u8(script), sizeof secret);
        memset(&addr, 0, sizeof addr);
        addr.ip[0] = script_u8(script);
        addr.port = 5683;
        number = script_number(script);
        status = iotsec_csb_parameters(csb, number, secret, &addr, script_u8(script) & 1);
        script_check(status != IOTSEC_OK || iotsec_csb_install(csb, hal) != IOTSEC_OK || csb->key_number == number);
        break;
    case 2:
    case 3:
        if (csb->key_number == 0) {
            break;
        }
        place = iotsec_csb_key(csb, hal, (uint16_t)script_number(script), &tek);
        script_check(place != IOTSEC_CSB_FAILED);
        script_check((tek != NULL) == (place <= IOTSEC_CSB_AHEAD));
        if (place == IOTSEC_CSB_AHEAD) {
            number = csb->ahead.key_number;
            script_check(number > csb->key_number && number - csb->key_number <= IOTSEC_STEPS_AHEAD_MAX);
            if ((script_u8(script) & 1) != 0) {
                script_check(iotsec_csb_advance(csb, hal) == IOTSEC_OK && csb->key_number == number);
            }
        }
        break;
    case 4:
        (void)iotsec_csb_advance(csb, hal);
        break;
    case 5:
        now += script_u16(script);
        (void)iotsec_csb_expire(csb, now);
        break;
    case 6:
        counter = csb->counter;
        status = iotsec_csb_take_counter(csb, &number);
        script_check(status != IOTSEC_OK || (number == counter && csb->counter == counter + 1));
        break;
    default:
        iotsec_csb_forget_half(csb);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct iotsec_reader script;
    struct iotsec_hal hal;
    struct iotsec_csb csb;
    unsigned steps;

    iotsec_rd_init(&script, data, size);
    memset(&hal, 0, sizeof hal);
    hal.crypto = fuzz_crypto();
    hal.now_ms = get_now;
    now = 0xFFFFF000u;
    iotsec_csb_init(&csb, 7);
    for (steps = 0; script.left != 0 && steps < SCRIPT_STEPS_MAX; steps++) {
        uint32_t key_number = csb.key_number;
        uint32_t counter = csb.counter;
        uint16_t sender = csb.sender_id;

        take_step(&script, &csb, &hal);
        script_check(csb.key_number >= key_number);
        script_check(csb.sender_id != sender || csb.counter >= counter);
    }
    iotsec_csb_wipe(&csb);
    return 0;
}
