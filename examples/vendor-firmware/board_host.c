/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The board on a workbench: a virtual clock and a radio that nobody hears. So the join has to end in
 * NO_ANSWER, in no time; the exit code says whether it did.
 */
#include "board.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if !defined(IOTSEC_WITH_MBEDTLS)
#include <psa/crypto.h>
#endif

static uint32_t now;
static unsigned datagrams;
static int switched_off;
static enum iotsec_status outcome;

static int host_random(void *user, uint8_t *out, size_t len)
{
    FILE *source = fopen("/dev/urandom", "rb");
    size_t got = 0;

    (void)user;
    if (source != NULL) {
        got = fread(out, 1, len, source);
        (void)fclose(source);
    }
    return got == len ? 0 : -1;
}

static uint32_t host_now(void *user)
{
    (void)user;
    return now;
}

static int host_send(void *user, const struct iotsec_addr *to, const uint8_t *data, size_t len)
{
    (void)user;
    (void)to;
    (void)data;
    (void)len;
    datagrams++;
    return 0;
}

static int host_multicast_join(void *user, const struct iotsec_addr *group)
{
    (void)user;
    (void)group;
    return 0;
}

const struct iotsec_hal *board_hal(void)
{
    static const struct iotsec_hal hal = {
#if defined(IOTSEC_WITH_MBEDTLS)
        .crypto = &iotsec_crypto_mbedtls,
#else
        .crypto = &iotsec_crypto_psa,
#endif
        .random = host_random,
        .now_ms = host_now,
        .send = host_send,
        .multicast_join = host_multicast_join,
    };
#if !defined(IOTSEC_WITH_MBEDTLS)
    if (psa_crypto_init() != PSA_SUCCESS) {
        exit(1);
    }
#endif
    return &hal;
}

const struct board_identity *board_identity(void)
{
    static struct board_identity me;

    me.identity = (const uint8_t *)"lamp-1";
    me.identity_len = 6;
    me.psk = (const uint8_t *)"an example, no k";
    me.psk_len = 16;
    memset(&me.manager, 0, sizeof me.manager);
    me.manager.ip[15] = 1;
    me.manager.port = 5684;
    return &me;
}

int board_receive(uint32_t wait_ms, struct iotsec_addr *from, struct iotsec_addr *to, uint8_t *data, size_t size)
{
    (void)from;
    (void)to;
    (void)data;
    (void)size;
    if (switched_off || wait_ms == UINT32_MAX) {
        return -1;
    }
    now += wait_ms;
    return 0;
}

void board_light(int on)
{
    printf("light %s\n", on ? "on" : "off");
}

void board_report(const struct iotsec_device_event *event)
{
    printf("event kind=%d reason=%s at=%u ms datagrams=%u\n", (int)event->kind, iotsec_status_name(event->reason),
           (unsigned)now, datagrams);
    if (event->kind == IOTSEC_DEVICE_JOIN_FAILED) {
        outcome = event->reason;
        switched_off = 1;
    }
}

int board_exit_code(void)
{
    return outcome == IOTSEC_ERR_NO_ANSWER && datagrams > 0 ? 0 : 1;
}
