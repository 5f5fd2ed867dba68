/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What scripts/pairwise-cost counts the instructions of: all that run inside `measured`.
 *
 *     pairwise value T      a share of degree T, evaluated at the other device's point
 *     pairwise keys T       both keys of two devices: the other's point, the value, PSK and TGK
 *     pairwise client       one DTLS-PSK handshake, its client's part of the work
 *     pairwise server       and its server's
 */
#include <stdlib.h>
#include <string.h>

#include <iotsec/dtls.h>
#include <iotsec/polykey.h>

#define IDENTITY "lamp.kitchen.1"
#define PEER "switch.hall.2"
#define SHARE_MAX (IOTSEC_POLY_DEGREE_MAX + 1)
#define QUEUE 8

#if defined(__x86_64__)
/* The C library picks these by the processor, and the figures are to be the same everywhere. By words, as its plainest are. */
void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
    char *t = to;
    const char *f = from;

    for (; n >= 8; n -= 8, t += 8, f += 8) {
        uint64_t word;

        __builtin_memcpy(&word, f, 8);
        __builtin_memcpy(t, &word, 8);
    }
    while (n-- != 0) {
        *t++ = *f++;
    }
    return to;
}

void *memset(void *to, int value, size_t n)
{
    const uint64_t word = 0x0101010101010101u * (uint8_t)value;
    char *t = to;

    for (; n >= 8; n -= 8, t += 8) {
        __builtin_memcpy(t, &word, 8);
    }
    while (n-- != 0) {
        *t++ = (char)value;
    }
    return to;
}

void *memmove(void *to, const void *from, size_t n)
{
    char *t = to;
    const char *f = from;

    if (t <= f) {
        return memcpy(to, from, n); /* forwards, a word at a time: safe downwards */
    }
    while (n-- != 0) {
        t[n] = f[n];
    }
    return to;
}

int memcmp(const void *a, const void *b, size_t n)
{
    const unsigned char *x = a;
    const unsigned char *y = b;

    for (; n != 0; n--, x++, y++) {
        if (*x != *y) {
            return *x - *y;
        }
    }
    return 0;
}
#endif

static uint32_t dice = 0x12345678;

static int draw(void *user, uint8_t *out, size_t len)
{
    (void)user;
    while (len-- != 0) {
        dice = dice * 1664525u + 1013904223u;
        *out++ = (uint8_t)(dice >> 24);
    }
    return 0;
}

static uint32_t now_ms(void *user)
{
    (void)user;
    return 1;
}

/* ---- One handshake ---- */

struct end {
    struct iotsec_addr addr;
    struct iotsec_hal hal;
    struct iotsec_dtls_config config;
    struct iotsec_dtls dtls;
    struct iotsec_dtls_session session;
    struct iotsec_dtls_handshake handshake;
    uint8_t tx[512];
    int established;
};

static struct end client, server;
static struct {
    struct end *to;
    size_t len;
    uint8_t data[512];
} queue[QUEUE];
static size_t queue_len;
static const uint8_t psk[IOTSEC_PAIR_PSK_BYTES] = { 1, 2, 3, 4 };

static int put(void *user, const struct iotsec_addr *to, const uint8_t *data, size_t len)
{
    (void)to;
    if (queue_len == QUEUE || len > sizeof queue[0].data) {
        return -1;
    }
    queue[queue_len].to = user == &client ? &server : &client;
    queue[queue_len].len = len;
    memcpy(queue[queue_len++].data, data, len);
    return 0;
}

static enum iotsec_status find_psk(void *user, iotsec_dtls_handle handshake, const uint8_t *identity, size_t len,
                                   struct iotsec_dtls_psk *found)
{
    (void)user;
    (void)handshake;
    if (len != sizeof IDENTITY - 1 || memcmp(identity, IDENTITY, len) != 0) {
        return IOTSEC_ERR_UNKNOWN_IDENTITY;
    }
    memcpy(found->key, psk, sizeof psk);
    found->len = sizeof psk;
    found->peer = 1;
    return IOTSEC_OK;
}

static void established(void *user, const struct iotsec_dtls_info *info)
{
    (void)info;
    ((struct end *)user)->established++;
}

static const struct iotsec_dtls_callbacks callbacks = { .psk = find_psk, .established = established };

static int start(struct end *end, uint8_t number)
{
    end->addr.ip[0] = 0xFE;
    end->addr.ip[1] = 0x80;
    end->addr.ip[15] = number;
    end->addr.port = 4000;
    end->hal.crypto = &iotsec_crypto_mbedtls;
    end->hal.user = end;
    end->hal.random = draw;
    end->hal.now_ms = now_ms;
    end->hal.send = put;
    end->config.hal = &end->hal;
    end->config.callbacks = &callbacks;
    end->config.user = end;
    end->config.sessions = &end->session;
    end->config.session_count = 1;
    end->config.handshakes = &end->handshake;
    end->config.handshake_count = 1;
    end->config.tx = end->tx;
    end->config.tx_size = sizeof end->tx;
    return iotsec_dtls_init(&end->dtls, &end->config) == IOTSEC_OK;
}

/* ---- What is measured ---- */

static uint8_t share[SHARE_MAX * IOTSEC_POLY_ELEMENT_BYTES];
static uint8_t point[IOTSEC_POLY_ELEMENT_BYTES], value[IOTSEC_POLY_ELEMENT_BYTES];
static uint8_t key[IOTSEC_PAIR_PSK_BYTES], tgk[IOTSEC_KEY_BYTES];

enum work { VALUE, KEYS, CONNECT, INPUT };

static int work(enum work what, unsigned t, struct end *end, uint8_t *data, size_t len)
{
    struct iotsec_polykey_pair pair;
    struct iotsec_polykey_sum sum;

    switch (what) {
    case VALUE:
        iotsec_polykey_sum_start(&sum, point);
        iotsec_polykey_sum_add(&sum, share, t + 1);
        iotsec_polykey_sum_finish(&sum, value);
        return 1;
    case KEYS:
        pair.share = share;
        pair.degree = (uint8_t)t;
        pair.generation = 1;
        pair.own = (const uint8_t *)IDENTITY;
        pair.own_len = sizeof IDENTITY - 1;
        pair.peer = (const uint8_t *)PEER;
        pair.peer_len = sizeof PEER - 1;
        return iotsec_polykey_keys(&client.hal, &pair, key, tgk) == IOTSEC_OK;
    case CONNECT:
        return iotsec_dtls_connect(&client.dtls, &server.addr, (const uint8_t *)IDENTITY, sizeof IDENTITY - 1, psk, sizeof psk,
                                   1, NULL) == IOTSEC_OK;
    default:
        return iotsec_dtls_input(&end->dtls, end == &client ? &server.addr : &client.addr, data, len) == IOTSEC_OK;
    }
}

__attribute__((noinline)) int measured(enum work what, unsigned t, struct end *end, uint8_t *data, size_t len)
{
    int done = work(what, t, end, data, len);

    __asm__ __volatile__("" : : : "memory");
    return done;
}

/* A trace of a processor that knows no calls ends the measurement here. */
__attribute__((noinline)) void measured_end(void)
{
    __asm__ __volatile__("" : : : "memory");
}

static int measure(enum work what, unsigned t, struct end *end, uint8_t *data, size_t len)
{
    int done = measured(what, t, end, data, len);

    measured_end();
    return done;
}

static int handshake(const struct end *watched)
{
    size_t i;

    if (!(watched == &client ? measure(CONNECT, 0, NULL, NULL, 0) : work(CONNECT, 0, NULL, NULL, 0))) {
        return 0;
    }
    for (i = 0; i < queue_len; i++) {
        struct end *to = queue[i].to;
        int done = to == watched ? measure(INPUT, 0, to, queue[i].data, queue[i].len)
                                 : work(INPUT, 0, to, queue[i].data, queue[i].len);

        if (!done) {
            return 0;
        }
    }
    return client.established == 1 && server.established == 1;
}

int main(int argc, char **argv)
{
    unsigned t;
    unsigned i;

    if (argc < 2 || !start(&client, 1) || !start(&server, 2)) {
        return 2;
    }
    if (strcmp(argv[1], "client") == 0) {
        return !handshake(&client);
    }
    if (strcmp(argv[1], "server") == 0) {
        return !handshake(&server);
    }
    t = argc == 3 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;
    if (t < 1 || t > IOTSEC_POLY_DEGREE_MAX || iotsec_polykey_draw(&client.hal, share, t + 1) != IOTSEC_OK ||
        iotsec_polykey_draw(&client.hal, point, 1) != IOTSEC_OK) {
        return 2;
    }
    i = strcmp(argv[1], "value") == 0 ? VALUE : KEYS;
    return !measure((enum work)i, t, NULL, NULL, 0);
}
