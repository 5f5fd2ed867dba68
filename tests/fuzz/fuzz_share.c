/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shares and revocations as a manager in disorder sends them: in any order, twice, of any generation and degree. Every
 * element says what it is, so that a share which was put together from two of them shows.
 *
 *     steps, for a device that has the manager's share of generation 1:
 *       0..127    SHARE: generation (2 bits of the step), degree, first and count, flags, revoked
 *       128..191  REVOKED: generation, first and count, revoked
 *       192..207  time passes
 *       208..223  the session ends, and another one begins
 *       224..255  the manager's real messages arrive
 */
#include "amikey/keymgmt.h"
#include "script.h"
#include "world.h"

static void make_element(uint8_t out[IOTSEC_POLY_ELEMENT_BYTES], uint32_t generation, uint8_t degree, unsigned power)
{
    memset(out, 0x11, IOTSEC_POLY_ELEMENT_BYTES);
    iotsec_put_u32(out + 4, generation);
    out[8] = degree;
    out[9] = (uint8_t)power;
}

static void make_mark(uint8_t out[IOTSEC_REVOKED_BYTES], uint32_t generation, unsigned place)
{
    memset(out, 0x22, IOTSEC_REVOKED_BYTES);
    iotsec_put_u32(out + 2, generation);
    out[7] = (uint8_t)place;
}

static void check_marks(const struct iotsec_device *device)
{
    unsigned i;
    unsigned place = 0;
    uint8_t mark[IOTSEC_REVOKED_BYTES];

    /* each generation's from its first on, in order */
    for (i = 0; i < device->revoked_count; i++) {
        place = i != 0 && memcmp(device->revoked[i], device->revoked[i - 1], 6) == 0 ? place + 1 : 0;
        make_mark(mark, iotsec_get_u32(device->revoked[i] + 2), place);
        script_check(memcmp(device->revoked[i], mark, sizeof mark) == 0);
    }
}

static void check_shares(const struct iotsec_device *device)
{
    unsigned count = (device->pair_flags & 4u) != 0 ? 2 : 1; /* that serve */
    unsigned i;

    world_check_pairs(PARTY_FIRST);
    for (i = 0; i < 2; i++) {
        const struct iotsec_share *share = &device->share[i];
        uint8_t element[IOTSEC_POLY_ELEMENT_BYTES];
        unsigned k;

        for (k = 0; k < share->held && share->generation > 1; k++) { /* the first one is the manager's */
            make_element(element, share->generation, share->degree, k);
            script_check(memcmp(share->elements + k * sizeof element, element, sizeof element) == 0);
        }
        /* what serves is whole, and comes with its revocations */
        script_check(i >= count || share->held == 0 || share->held == share->degree + 1u);
    }
    script_check(count == 1 || device->share[0].generation == device->share[1].generation + 1);
    check_marks(device);
}

static uint32_t newest(const struct iotsec_device *device)
{
    return device->share[device->share[1].generation > device->share[0].generation].generation;
}

static void put_message(uint8_t kind, const uint8_t *content, size_t len)
{
    uint8_t datagram[600];
    size_t datagram_len =
        world_seal(PARTY_MANAGER, PARTY_FIRST, iotsec_km_content_type(kind), content, len, datagram, sizeof datagram);

    if (datagram_len != 0) {
        (void)world_input(PARTY_FIRST, &world.addr[PARTY_MANAGER], false, datagram, datagram_len);
    }
    world.queued = 0; /* what it answers, nobody hears */
}

static void put_share(struct iotsec_reader *script, uint8_t step, uint8_t message)
{
    uint32_t generation = 2u + (step & 3u) + ((step & 4) != 0 ? 60u : 0u);
    uint8_t shape = script_u8(script);
    uint8_t degree = (uint8_t)(1 + (shape & 3)); /* 4 is one too many */
    uint8_t first = (uint8_t)((shape >> 2) & 3);
    uint8_t count = (uint8_t)(1 + (shape >> 4) % 5);
    uint8_t content[IOTSEC_KM_SHARE_BYTES + 5 * IOTSEC_POLY_ELEMENT_BYTES];
    unsigned i;

    content[0] = IOTSEC_KM_SHARE;
    content[1] = message;
    iotsec_put_u32(content + 2, generation);
    content[6] = degree;
    content[7] = first;
    content[8] = (uint8_t)((step >> 3) & 3); /* revocations that there are */
    content[9] = (uint8_t)((step >> 5) & 1); /* gentle */
    for (i = 0; i < count; i++) {
        make_element(content + IOTSEC_KM_SHARE_BYTES + i * IOTSEC_POLY_ELEMENT_BYTES, generation, degree, first + i);
    }
    if ((step & 64) != 0 && (shape & 0xC0) == 0xC0) { /* an element that is none */
        memset(content + IOTSEC_KM_SHARE_BYTES, 0xFF, IOTSEC_POLY_ELEMENT_BYTES);
    }
    put_message(IOTSEC_KM_SHARE, content, IOTSEC_KM_SHARE_BYTES + count * (size_t)IOTSEC_POLY_ELEMENT_BYTES);
}

static void put_revoked(struct iotsec_reader *script, uint8_t step, uint8_t message)
{
    uint32_t generation = 2u + (step & 3u) + ((step & 4) != 0 ? 60u : 0u);
    uint8_t first = script_u8(script) % IOTSEC_REVOKED_MAX;
    uint8_t count = (uint8_t)(1 + ((step >> 3) & 7));
    uint8_t content[IOTSEC_KM_REVOKED_BYTES + 8 * IOTSEC_REVOKED_BYTES];
    unsigned i;

    content[0] = IOTSEC_KM_REVOKED;
    content[1] = message;
    iotsec_put_u32(content + 2, generation);
    content[6] = first;
    content[7] = (uint8_t)(first + count);
    for (i = 0; i < count; i++) {
        make_mark(content + IOTSEC_KM_REVOKED_BYTES + i * IOTSEC_REVOKED_BYTES, generation, first + i);
    }
    put_message(IOTSEC_KM_REVOKED, content, IOTSEC_KM_REVOKED_BYTES + count * (size_t)IOTSEC_REVOKED_BYTES);
}

static void renew_session(void)
{
    unsigned i;

    (void)iotsec_dtls_close(&world.devices[0].device.dtls, world.devices[0].device.session, IOTSEC_ALERT_CLOSE_NOTIFY);
    for (i = 0; i < 120 && world.devices[0].device.session == 0; i++) {
        while (world_deliver()) {
        }
        world_pass(250);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct iotsec_reader script;
    struct iotsec_device *device = world_device(PARTY_FIRST);
    unsigned steps;

    iotsec_rd_init(&script, data, size);
    world_restore(WORLD_PAIRED, 0);
    for (steps = 0; script.left != 0 && steps < SCRIPT_STEPS_MAX; steps++) {
        uint32_t generation = newest(device);
        uint8_t step = script_u8(&script);

        if (step < 128) {
            put_share(&script, step, (uint8_t)steps);
        } else if (step < 192) {
            put_revoked(&script, step, (uint8_t)steps);
        } else if (step < 208) {
            world_pass((uint32_t)script_u8(&script) * 250u);
        } else if (step < 224) {
            renew_session();
        } else {
            (void)world_deliver();
        }
        script_check(newest(device) >= generation);
        check_shares(device);
    }
    iotsec_device_wipe(device);
    return 0;
}
