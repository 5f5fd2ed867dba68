/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The board itself: the HAL over the chip's drivers. Those are the vendor's; here they are declared
 * and not defined, and the linker's list of what is missing is the list of what a port has to bring.
 */
#include "board.h"

#include <string.h>

/* Drivers: AES hardware with one key register, SHA-256 in the chip's ROM, a radio with UDP above it. */
extern void hw_aes_load_key(const uint8_t key[16]);
extern int hw_aes_encrypt(const uint8_t in[16], uint8_t out[16]);
extern void hw_aes_clear(void);
extern void hw_sha256_init(void *state);
extern void hw_sha256_update(void *state, const uint8_t *data, size_t len);
extern void hw_sha256_final(void *state, uint8_t digest[32]);
extern int hw_random(uint8_t *out, size_t len);
extern uint32_t hw_milliseconds(void);
extern int hw_udp_send(const uint8_t ip[16], uint16_t port, const uint8_t *data, size_t len);
extern int hw_udp_join(const uint8_t ip[16]);
extern int hw_udp_wait(uint32_t wait_ms, struct iotsec_addr *from, struct iotsec_addr *to, uint8_t *data, size_t size);
extern const struct board_identity *hw_factory_page(void);
extern void hw_lamp(int on);

#define HW_SHA256_STATE_BYTES 104
typedef char sha256_state_fits[HW_SHA256_STATE_BYTES <= sizeof(struct iotsec_sha256) ? 1 : -1];

/* Two keys can be in use at once (a hello's cookie while a record is sealed), and the hardware has
 * one register: the key is kept here and loaded for each block. */
static int chip_aes_start(void *user, struct iotsec_aes *aes, const uint8_t key[16])
{
    (void)user;
    memcpy(aes->storage, key, 16);
    return 0;
}

static int chip_aes_encrypt(void *user, struct iotsec_aes *aes, const uint8_t in[16], uint8_t out[16])
{
    uint8_t key[16];

    (void)user;
    memcpy(key, aes->storage, sizeof key);
    hw_aes_load_key(key);
    return hw_aes_encrypt(in, out);
}

static void chip_aes_done(void *user, struct iotsec_aes *aes)
{
    volatile uint64_t *words = aes->storage;

    (void)user;
    hw_aes_clear();
    for (size_t i = 0; i < sizeof aes->storage / sizeof aes->storage[0]; i++) {
        words[i] = 0;
    }
}

static int chip_sha256_start(void *user, struct iotsec_sha256 *sha)
{
    (void)user;
    hw_sha256_init(sha->storage);
    return 0;
}

static int chip_sha256_update(void *user, struct iotsec_sha256 *sha, const uint8_t *data, size_t len)
{
    (void)user;
    hw_sha256_update(sha->storage, data, len);
    return 0;
}

static int chip_sha256_clone(void *user, struct iotsec_sha256 *to, const struct iotsec_sha256 *from)
{
    (void)user;
    *to = *from;
    return 0;
}

static void chip_sha256_abort(void *user, struct iotsec_sha256 *sha)
{
    volatile uint64_t *words = sha->storage;

    (void)user;
    for (size_t i = 0; i < sizeof sha->storage / sizeof sha->storage[0]; i++) {
        words[i] = 0;
    }
}

static int chip_sha256_finish(void *user, struct iotsec_sha256 *sha, uint8_t digest[32])
{
    hw_sha256_final(sha->storage, digest);
    chip_sha256_abort(user, sha);
    return 0;
}

static const struct iotsec_crypto chip_crypto = {
    .aes_start = chip_aes_start,
    .aes_encrypt = chip_aes_encrypt,
    .aes_done = chip_aes_done,
    .sha256_start = chip_sha256_start,
    .sha256_update = chip_sha256_update,
    .sha256_clone = chip_sha256_clone,
    .sha256_finish = chip_sha256_finish,
    .sha256_abort = chip_sha256_abort,
};

static int chip_random(void *user, uint8_t *out, size_t len)
{
    (void)user;
    return hw_random(out, len);
}

static uint32_t chip_now(void *user)
{
    (void)user;
    return hw_milliseconds();
}

static int chip_send(void *user, const struct iotsec_addr *to, const uint8_t *data, size_t len)
{
    (void)user;
    return hw_udp_send(to->ip, to->port, data, len);
}

static int chip_multicast_join(void *user, const struct iotsec_addr *group)
{
    (void)user;
    return hw_udp_join(group->ip);
}

const struct iotsec_hal *board_hal(void)
{
    static const struct iotsec_hal hal = {
        .crypto = &chip_crypto,
        .random = chip_random,
        .now_ms = chip_now,
        .send = chip_send,
        .multicast_join = chip_multicast_join,
    };
    return &hal;
}

const struct board_identity *board_identity(void)
{
    return hw_factory_page();
}

int board_receive(uint32_t wait_ms, struct iotsec_addr *from, struct iotsec_addr *to, uint8_t *data, size_t size)
{
    return hw_udp_wait(wait_ms, from, to, data, size);
}

void board_light(int on)
{
    hw_lamp(on);
}

void board_report(const struct iotsec_device_event *event)
{
    /* A lamp without keys blinks no message: it tries again when it is switched on the next time. */
    (void)event;
}

int board_exit_code(void)
{
    return 0;
}
