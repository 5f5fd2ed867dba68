/* SPDX-License-Identifier: BSD-3-Clause */
#include "stacks.h"

#include <stdlib.h>
#include <string.h>

#include <iotsec/dtls.h>
#include <mbedtls/sha256.h>
#include <mbedtls/version.h>

struct iotsec_end {
    struct end end;
    struct iotsec_addr peer;
    struct iotsec_hal hal;
    struct iotsec_dtls_config config;
    iotsec_dtls_handle handle;
    uint64_t due;
    int begun;
    uint8_t *to; /* where receive wants it */
    size_t room;
    int got;
    /* What follows needs no initialisation. */
    struct iotsec_dtls dtls;
    struct iotsec_dtls_session session;
    struct iotsec_dtls_handshake handshake;
    uint8_t tx[BENCH_DATAGRAM_MAX];
};

/* ---- The provider, counted ---- */

struct bench_work bench_work;
static int counting;
static struct iotsec_crypto crypto;

/* mbedTLS keeps the bytes hashed so far in its context. */
static unsigned hashed(const struct iotsec_sha256 *sha)
{
    const mbedtls_sha256_context *context = (const void *)sha->storage;

#if MBEDTLS_VERSION_NUMBER < 0x03000000
    return context->total[0];
#else
    return context->MBEDTLS_PRIVATE(total)[0];
#endif
}

static int count_start(void *user, struct iotsec_aes *aes, const uint8_t key[16])
{
    bench_work.aes_keys++;
    return iotsec_crypto_mbedtls.aes_start(user, aes, key);
}

static int count_encrypt(void *user, struct iotsec_aes *aes, const uint8_t in[16], uint8_t out[16])
{
    bench_work.aes_blocks++;
    return iotsec_crypto_mbedtls.aes_encrypt(user, aes, in, out);
}

static int count_update(void *user, struct iotsec_sha256 *sha, const uint8_t *data, size_t len)
{
    bench_work.sha_blocks += (hashed(sha) % 64 + len) / 64;
    return iotsec_crypto_mbedtls.sha256_update(user, sha, data, len);
}

static int count_finish(void *user, struct iotsec_sha256 *sha, uint8_t digest[32])
{
    bench_work.sha_blocks += hashed(sha) % 64 < 56 ? 1 : 2;
    return iotsec_crypto_mbedtls.sha256_finish(user, sha, digest);
}

void bench_count_work(int on)
{
    counting = on;
    memset(&bench_work, 0, sizeof bench_work);
}

/* ---- HAL and callbacks ---- */

static int draw(void *user, uint8_t *out, size_t len)
{
    (void)user;
    bench_random(out, len);
    return 0;
}

static uint32_t now_ms(void *user)
{
    (void)user;
    return (uint32_t)bench_now();
}

static int put(void *user, const struct iotsec_addr *to, const uint8_t *data, size_t len)
{
    struct iotsec_end *own = user;

    (void)to;
    own->end.out(&own->end, data, len);
    return 0;
}

static enum iotsec_status find_psk(void *user, iotsec_dtls_handle handshake, const uint8_t *identity, size_t len,
                                   struct iotsec_dtls_psk *found)
{
    (void)user;
    (void)handshake;
    if (len != sizeof BENCH_IDENTITY - 1 || memcmp(identity, BENCH_IDENTITY, len) != 0) {
        return IOTSEC_ERR_UNKNOWN_IDENTITY;
    }
    memcpy(found->key, bench_psk, sizeof bench_psk);
    found->len = sizeof bench_psk;
    found->peer = 1;
    return IOTSEC_OK;
}

static void established(void *user, const struct iotsec_dtls_info *info)
{
    struct iotsec_end *own = user;

    own->end.done = 1;
    own->handle = info->session;
}

static void failed(void *user, iotsec_dtls_handle handshake, const struct iotsec_addr *addr, uint32_t peer,
                   enum iotsec_status reason)
{
    struct iotsec_end *own = user;

    (void)handshake;
    (void)addr;
    (void)peer;
    (void)reason;
    own->end.failed = 1;
}

static void receive(void *user, iotsec_dtls_handle session, uint32_t peer, uint8_t type, uint8_t *data, size_t len)
{
    struct iotsec_end *own = user;

    (void)session;
    (void)peer;
    (void)type;
    if (own->to != NULL && len <= own->room) {
        memcpy(own->to, data, len);
        own->got = (int)len;
    }
}

static const struct iotsec_dtls_callbacks callbacks = {
    .psk = find_psk, .established = established, .failed = failed, .receive = receive
};

/* ---- The stack ---- */

static const char *version(void)
{
    return IOTSEC_VERSION_STRING;
}

static void start(void)
{
    crypto = iotsec_crypto_mbedtls;
    crypto.aes_start = count_start;
    crypto.aes_encrypt = count_encrypt;
    crypto.sha256_update = count_update;
    crypto.sha256_finish = count_finish;
}

static struct end *open_end(int is_server, int cookie)
{
    struct iotsec_end *own = malloc(sizeof *own);

    if (own == NULL) {
        bench_die("no memory");
    }
    memset(own, 0, offsetof(struct iotsec_end, dtls));
    own->end.is_server = is_server;
    own->end.cookie = cookie;
    own->peer.ip[0] = 0xFE;
    own->peer.ip[1] = 0x80;
    own->peer.ip[15] = is_server ? 2 : 1;
    own->peer.port = 4000;
    own->hal.crypto = counting ? &crypto : &iotsec_crypto_mbedtls;
    own->hal.user = own;
    own->hal.random = draw;
    own->hal.now_ms = now_ms;
    own->hal.send = put;
    own->config.hal = &own->hal;
    own->config.callbacks = &callbacks;
    own->config.user = own;
    own->config.sessions = &own->session;
    own->config.session_count = 1;
    own->config.handshakes = &own->handshake;
    own->config.handshake_count = 1;
    own->config.tx = own->tx;
    own->config.tx_size = sizeof own->tx;
    own->config.cookie_policy = cookie ? IOTSEC_COOKIE_ALWAYS : IOTSEC_COOKIE_OFF;
    own->due = BENCH_NEVER;
    if (iotsec_dtls_init(&own->dtls, &own->config) != IOTSEC_OK) {
        bench_die("iotsec_dtls_init");
    }
    return &own->end;
}

static void close_end(struct end *end)
{
    iotsec_dtls_wipe(&((struct iotsec_end *)end)->dtls);
    free(end);
}

static void run(struct end *end)
{
    struct iotsec_end *own = (struct iotsec_end *)end;
    uint8_t *in = end->in;
    uint32_t wait;

    if (!own->begun && !end->is_server) {
        own->begun = 1;
        if (iotsec_dtls_connect(&own->dtls, &own->peer, (const uint8_t *)BENCH_IDENTITY, sizeof BENCH_IDENTITY - 1, bench_psk,
                                sizeof bench_psk, 1, NULL) != IOTSEC_OK) {
            bench_die("iotsec_dtls_connect");
        }
    }
    if (in != NULL) {
        end->in = NULL;
        (void)iotsec_dtls_input(&own->dtls, &own->peer, in, end->in_len);
    }
    wait = iotsec_dtls_poll(&own->dtls);
    own->due = wait == UINT32_MAX ? BENCH_NEVER : bench_now() + wait;
}

static uint64_t deadline(const struct end *end)
{
    return ((const struct iotsec_end *)end)->due;
}

static int send_data(struct end *end, const uint8_t *data, size_t len)
{
    struct iotsec_end *own = (struct iotsec_end *)end;

    return iotsec_dtls_send(&own->dtls, own->handle, IOTSEC_CONTENT_APPLICATION_DATA, data, len) == IOTSEC_OK &&
                   iotsec_dtls_flush(&own->dtls) == IOTSEC_OK
               ? 0
               : -1;
}

static int receive_data(struct end *end, uint8_t *data, size_t size)
{
    struct iotsec_end *own = (struct iotsec_end *)end;

    own->to = data;
    own->room = size;
    own->got = -1;
    run(end);
    own->to = NULL;
    return own->got;
}

const struct stack stack_iotsec = { "iotsec", version, start, open_end, close_end, run, deadline, send_data, receive_data };
