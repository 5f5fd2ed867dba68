/* SPDX-License-Identifier: BSD-3-Clause */
/* A switch in the lamp's place: it joins, and tells lamp-1 alone. tests/scripts/test_readme.sh builds it and runs it. */
#include <stdio.h>
#include <iotsec/iotsec.h>
#include "board.h"

#define DEGREE 31 /* the largest of a domain's polynomial that there is room for: iotsec manager poly renew --degree */

static int has_share;

static void on_event(void *user, const struct iotsec_device_event *event)
{
    (void)user;
    if (event->kind == IOTSEC_DEVICE_SHARE)
        has_share = event->reason == IOTSEC_OK;
    printf("event %d, %s\n", (int)event->kind, iotsec_status_name(event->reason));
}

static void on_message(void *user, const struct iotsec_peer *from, const uint8_t *data, size_t len)
{
    (void)user; /* `from` has proved who it is */
    printf("%.*s: %.*s\n", (int)from->identity_len, (const char *)from->identity, (int)len, (const char *)data);
}

int lamp(const struct iotsec_hal *hal, const struct iotsec_addr *manager, const uint8_t psk[16])
{
    static struct iotsec_device device;
    static struct iotsec_dtls_session sessions[3]; /* the manager's, one for a peer, and one that a new one comes to stand in */
    static struct iotsec_dtls_handshake handshakes[2];
    static struct iotsec_pair pairs[1];
    static uint8_t shares[2][DEGREE + 1][IOTSEC_POLY_ELEMENT_BYTES]; /* the one in use, and the one that is coming */
    static uint8_t waiting[1][64]; /* what was said while there is no session yet */
    static uint8_t tx[256], rx[1280];
    static const struct iotsec_device_callbacks callbacks = { .event = on_event, .receive = on_message };
    static const uint8_t text[] = "dim slowly";
    const struct iotsec_device_config config = {
        .hal = hal, .callbacks = &callbacks, .identity = (const uint8_t *)"switch", .identity_len = 6, .psk = psk, .psk_len = 16,
        .sessions = sessions, .session_count = 3, .handshakes = handshakes, .handshake_count = 2, .tx = tx, .tx_size = sizeof tx,
        .pairs = pairs, .pair_count = 1, .shares = shares[0][0], .share_degree_max = DEGREE,
        .pair_messages = waiting[0], .pair_message_size = sizeof waiting[0],
    };
    /* whom, and where: how an address is found is yours */
    const struct iotsec_peer lamp_1 = {
        .identity = (const uint8_t *)"lamp-1", .identity_len = 6, .addr = { .ip = { 0xFD, 1, [15] = 0x21 }, .port = 5685 },
    };
    struct iotsec_addr from, to;
    int said = 0;
    int len;

    if (iotsec_device_init(&device, &config) != IOTSEC_OK || iotsec_join(&device, manager, NULL, 0) != IOTSEC_OK)
        return -1;
    while ((len = board_receive(iotsec_poll(&device), &from, &to, rx, sizeof rx)) >= 0) {
        if (len > 0)
            iotsec_input(&device, &from, &to, rx, (size_t)len);
        if (has_share && !said) /* what becomes of it: PEER_OPEN or PEER_FAILED */
            said = iotsec_send(&device, &lamp_1, text, sizeof text - 1) == IOTSEC_OK;
    }
    iotsec_device_wipe(&device);
    return 0;
}
