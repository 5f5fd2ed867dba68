/* SPDX-License-Identifier: BSD-3-Clause */
/* The README's example: tests/scripts/test_readme.sh compares the two, builds this and runs it. */
#include <stdio.h>
#include <iotsec/iotsec.h>
#include "board.h" /* yours: board_receive(), and the struct iotsec_hal that docs/porting.md explains */

static void on_event(void *user, const struct iotsec_device_event *event)
{
    (void)user;
    printf("event %d, %s, group %u\n", (int)event->kind, iotsec_status_name(event->reason), event->group_id);
}

static void on_message(void *user, uint16_t group, uint16_t sender, const uint8_t *data, size_t len)
{
    (void)user;
    printf("group %u, sender %u: %.*s\n", group, sender, (int)len, (const char *)data);
}

int lamp(const struct iotsec_hal *hal, const struct iotsec_addr *manager, const uint8_t psk[16])
{
    static struct iotsec_device device; /* all storage is yours, its size known when you link: docs/size.md */
    static struct iotsec_dtls_session sessions[1];
    static struct iotsec_dtls_handshake handshakes[1];
    static struct iotsec_device_group groups[1];
    static struct iotsec_sender senders[8];
    static uint8_t tx[256], rx[1280];
    static const struct iotsec_device_callbacks callbacks = { .event = on_event, .group_receive = on_message };
    const struct iotsec_device_config config = {
        .hal = hal, .callbacks = &callbacks, .identity = (const uint8_t *)"lamp-1", .identity_len = 6, .psk = psk,
        .psk_len = 16, .sessions = sessions, .session_count = 1, .handshakes = handshakes, .handshake_count = 1,
        .groups = groups, .group_count = 1, .senders = senders, .sender_count = 8, .tx = tx, .tx_size = sizeof tx,
    };
    const uint16_t wanted[] = { 1 };
    struct iotsec_addr from, to;
    int len;

    if (iotsec_device_init(&device, &config) != IOTSEC_OK || iotsec_join(&device, manager, wanted, 1) != IOTSEC_OK)
        return -1;
    while ((len = board_receive(iotsec_poll(&device), &from, &to, rx, sizeof rx)) >= 0) /* 0: that long nothing came */
        if (len > 0)
            iotsec_input(&device, &from, &to, rx, (size_t)len);
    iotsec_device_wipe(&device);
    return 0;
}
