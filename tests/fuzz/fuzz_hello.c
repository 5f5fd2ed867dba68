/* SPDX-License-Identifier: BSD-3-Clause */
/* One hello's body, in a sound record, perhaps behind a relay: ClientHello to a server, ServerHello or HelloVerifyRequest
 * to a client; or to a device, from another one. */
#include "ends.h"
#include "script.h"
#include "world.h"

#define FLAG_DEVICE 64u

/* The real other end goes on meanwhile. */
static void greet_device(uint8_t flags, uint8_t kind, uint8_t *datagram, size_t len)
{
    struct iotsec_device *device;
    bool stolen;
    unsigned i;

    world_restore(kind == 1 ? WORLD_PAIR_SERVER : WORLD_PAIR_HELLO, flags & 3);
    device = world_device(PARTY_FIRST);
    /* whoever has heard the real hello, and is faster, can keep it away: its random is what it is known by */
    stolen = len >= 59 && memcmp(datagram + 27, world.queue[0].data + 27, IOTSEC_RANDOM_BYTES) == 0;
    (void)world_input(PARTY_FIRST, &world.addr[PARTY_SECOND], false, datagram, len);
    for (i = 0; i < 400; i++) {
        while (world_deliver()) {
        }
        world_pass(250);
        world_check_pairs(PARTY_FIRST);
    }
    script_check(device->dtls.handshakes_used == 0 && world_device(PARTY_SECOND)->dtls.handshakes_used == 0);
    /* one hello neither opens a session in somebody's name nor keeps the real one away */
    script_check(world.devices[1].told == 1 || kind == 1 || device->config->pairs[0].session == 0);
    script_check(kind != 1 || stolen || world.devices[0].told == 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t messages[] = { 1, 2, 3, 12 };
    struct iotsec_reader script;
    uint8_t flags;
    uint8_t kind;
    uint8_t *datagram;
    int target;

    iotsec_rd_init(&script, data, size);
    flags = script_u8(&script);
    kind = messages[(flags >> 2) & 3];
    target = kind == 1 ? END_SERVER : END_CLIENT;
    if ((flags & FLAG_DEVICE) == 0) {
        ends_restore(kind == 1 ? ENDS_IDLE : ENDS_HELLO_SENT, flags);
    }
    if (script.left > 1400) {
        return 0;
    }
    datagram = malloc(25 + script.left);
    script_check(datagram != NULL);
    memset(datagram, 0, 25);
    datagram[0] = 22;
    iotsec_put_u16(datagram + 1, kind == 3 ? IOTSEC_VERSION_DTLS_1_0 : IOTSEC_VERSION_DTLS_1_2);
    iotsec_put_u16(datagram + 11, (uint16_t)(12 + script.left));
    datagram[13] = kind;
    iotsec_put_u16(datagram + 15, (uint16_t)script.left);
    iotsec_put_u16(datagram + 23, (uint16_t)script.left);
    if (script.left != 0) {
        memcpy(datagram + 25, script.next, script.left);
    }
    if ((flags & FLAG_DEVICE) != 0) {
        greet_device(flags, kind, datagram, 25 + script.left);
        free(datagram);
        return 0;
    }
    if ((flags & 32) != 0) {
        (void)ends_input_relayed(target, flags, datagram, 25 + script.left);
    } else {
        (void)ends_input(target, false, datagram, 25 + script.left);
    }
    free(datagram);
    /* whoever was greeted so goes on with the real peer, or gives up in peace */
    while (ends_deliver()) {
    }
    ends_pass(40000);
    ends_pass(40000);
    script_check(ends.end[END_CLIENT].dtls.handshakes_used == 0 && ends.end[END_SERVER].dtls.handshakes_used == 0);
    return 0;
}
