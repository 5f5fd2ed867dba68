/* SPDX-License-Identifier: BSD-3-Clause */
/* A lamp: joins its domain, listens to one group, and switches its light as the group says. */
#include "board.h"

#define LIGHT_GROUP 1

/* All storage is static, so that its size is known when the firmware is linked. */
static struct iotsec_device device;
static struct iotsec_dtls_session sessions[2];
static struct iotsec_dtls_handshake handshakes[1];
static struct iotsec_device_group groups[1];
static struct iotsec_sender senders[4];
static uint8_t tx[256];
static uint8_t rx[1280];

static void on_event(void *user, const struct iotsec_device_event *event)
{
    (void)user;
    board_report(event);
}

static void on_group_message(void *user, uint16_t group_id, uint16_t sender_id, const uint8_t *data, size_t len)
{
    (void)user;
    (void)sender_id;
    if (group_id == LIGHT_GROUP && len == 1) {
        board_light(data[0] == '1');
    }
}

static const struct iotsec_device_callbacks callbacks = { .event = on_event, .group_receive = on_group_message };

int main(void)
{
    /* Static: the device keeps a pointer to it. */
    static struct iotsec_device_config config;
    static const uint16_t wanted[] = { LIGHT_GROUP };
    const struct board_identity *me = board_identity();

    config.hal = board_hal();
    config.callbacks = &callbacks;
    config.identity = me->identity;
    config.identity_len = me->identity_len;
    config.psk = me->psk;
    config.psk_len = me->psk_len;
    config.sessions = sessions;
    config.session_count = 2;
    config.handshakes = handshakes;
    config.handshake_count = 1;
    config.groups = groups;
    config.group_count = 1;
    config.senders = senders;
    config.sender_count = 4;
    config.tx = tx;
    config.tx_size = sizeof tx;

    if (iotsec_device_init(&device, &config) != IOTSEC_OK ||
        iotsec_join(&device, &me->manager, wanted, 1) != IOTSEC_OK) {
        return 1;
    }
    for (;;) {
        struct iotsec_addr from;
        struct iotsec_addr to;
        const int len = board_receive(iotsec_poll(&device), &from, &to, rx, sizeof rx);

        if (len < 0) {
            break;
        }
        if (len > 0) {
            /* What cannot be used is counted in device.stats; there is nothing to do about it here. */
            (void)iotsec_input(&device, &from, &to, rx, (size_t)len);
        }
    }
    iotsec_device_wipe(&device);
    return board_exit_code();
}
