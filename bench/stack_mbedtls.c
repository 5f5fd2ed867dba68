/* SPDX-License-Identifier: BSD-3-Clause */
/* mbedTLS 2.28 or 3.x. */
#include "stacks.h"

#include <stdlib.h>
#include <string.h>

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/ssl.h>
#include <mbedtls/ssl_cookie.h>
#include <mbedtls/version.h>

struct mbedtls_end {
    struct end end;
    mbedtls_ssl_context ssl;
    uint64_t intermediate, final; /* of its timer; final 0: off */
};

static mbedtls_ssl_config configs[3]; /* client, server, server that asks for cookies */
static mbedtls_ssl_cookie_ctx cookies;
static mbedtls_ctr_drbg_context drbg;
static const int suites[] = { MBEDTLS_TLS_PSK_WITH_AES_128_CCM_8, 0 };

static int entropy(void *user, unsigned char *out, size_t len)
{
    (void)user;
    bench_random(out, len);
    return 0;
}

static const char *version(void)
{
    return MBEDTLS_VERSION_STRING;
}

static void start(void)
{
    int i;

    mbedtls_ctr_drbg_init(&drbg);
    mbedtls_ssl_cookie_init(&cookies);
    if (mbedtls_ctr_drbg_seed(&drbg, entropy, NULL, NULL, 0) != 0 ||
        mbedtls_ssl_cookie_setup(&cookies, mbedtls_ctr_drbg_random, &drbg) != 0) {
        bench_die("mbedTLS: random numbers");
    }
    for (i = 0; i < 3; i++) {
        mbedtls_ssl_config *config = &configs[i];

        mbedtls_ssl_config_init(config);
        if (mbedtls_ssl_config_defaults(config, i == 0 ? MBEDTLS_SSL_IS_CLIENT : MBEDTLS_SSL_IS_SERVER,
                                        MBEDTLS_SSL_TRANSPORT_DATAGRAM, MBEDTLS_SSL_PRESET_DEFAULT) != 0 ||
            mbedtls_ssl_conf_psk(config, bench_psk, sizeof bench_psk, (const unsigned char *)BENCH_IDENTITY,
                                 sizeof BENCH_IDENTITY - 1) != 0) {
            bench_die("mbedTLS: configuration");
        }
        mbedtls_ssl_conf_rng(config, mbedtls_ctr_drbg_random, &drbg);
        mbedtls_ssl_conf_ciphersuites(config, suites);
        mbedtls_ssl_conf_min_version(config, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
        mbedtls_ssl_conf_max_version(config, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
#if defined(MBEDTLS_SSL_SESSION_TICKETS)
        mbedtls_ssl_conf_session_tickets(config, MBEDTLS_SSL_SESSION_TICKETS_DISABLED);
#endif
        if (i == 2) {
            mbedtls_ssl_conf_dtls_cookies(config, mbedtls_ssl_cookie_write, mbedtls_ssl_cookie_check, &cookies);
        } else if (i == 1) {
            mbedtls_ssl_conf_dtls_cookies(config, NULL, NULL, NULL);
        }
    }
}

static int put(void *user, const unsigned char *data, size_t len)
{
    struct end *end = user;

    end->out(end, data, len);
    return (int)len;
}

static int take(void *user, unsigned char *data, size_t size)
{
    struct end *end = user;

    if (end->in == NULL) {
        return MBEDTLS_ERR_SSL_WANT_READ;
    }
    size = end->in_len < size ? end->in_len : size;
    memcpy(data, end->in, size);
    end->in = NULL;
    return (int)size;
}

static void set_timer(void *user, uint32_t intermediate, uint32_t final)
{
    struct mbedtls_end *own = user;

    own->intermediate = bench_now() + intermediate;
    own->final = final == 0 ? 0 : bench_now() + final;
}

static int get_timer(void *user)
{
    const struct mbedtls_end *own = user;

    if (own->final == 0) {
        return -1;
    }
    return bench_now() >= own->final ? 2 : bench_now() >= own->intermediate ? 1 : 0;
}

static void name_client(struct mbedtls_end *own)
{
    if (own->end.is_server && mbedtls_ssl_set_client_transport_id(&own->ssl, (const unsigned char *)"client", 6) != 0) {
        bench_die("mbedTLS: client's address");
    }
}

static struct end *open_end(int is_server, int cookie)
{
    struct mbedtls_end *own = calloc(1, sizeof *own);

    if (own == NULL) {
        bench_die("no memory");
    }
    own->end.is_server = is_server;
    own->end.cookie = cookie;
    mbedtls_ssl_init(&own->ssl);
    if (mbedtls_ssl_setup(&own->ssl, &configs[is_server ? 1 + (cookie != 0) : 0]) != 0) {
        bench_die("mbedtls_ssl_setup");
    }
    mbedtls_ssl_set_bio(&own->ssl, own, put, take, NULL);
    mbedtls_ssl_set_timer_cb(&own->ssl, own, set_timer, get_timer);
    mbedtls_ssl_set_mtu(&own->ssl, 1400);
    name_client(own);
    return &own->end;
}

static void close_end(struct end *end)
{
    mbedtls_ssl_free(&((struct mbedtls_end *)end)->ssl);
    free(end);
}

static void run(struct end *end)
{
    struct mbedtls_end *own = (struct mbedtls_end *)end;
    unsigned char nothing[16];
    int status;

    do {
        if (end->done) {
            (void)mbedtls_ssl_read(&own->ssl, nothing, sizeof nothing);
            end->in = NULL;
            return;
        }
        status = mbedtls_ssl_handshake(&own->ssl);
        if (status == 0) {
            end->done = 1;
        } else if (status == MBEDTLS_ERR_SSL_HELLO_VERIFY_REQUIRED) {
            if (mbedtls_ssl_session_reset(&own->ssl) != 0) {
                bench_die("mbedtls_ssl_session_reset");
            }
            name_client(own);
        } else if (status != MBEDTLS_ERR_SSL_WANT_READ && status != MBEDTLS_ERR_SSL_WANT_WRITE) {
            end->failed = 1;
            end->in = NULL;
        }
    } while (end->in != NULL);
}

static uint64_t deadline(const struct end *end)
{
    const struct mbedtls_end *own = (const struct mbedtls_end *)end;

    return own->final == 0 || end->failed ? BENCH_NEVER : own->final;
}

static int send_data(struct end *end, const uint8_t *data, size_t len)
{
    return mbedtls_ssl_write(&((struct mbedtls_end *)end)->ssl, data, len) == (int)len ? 0 : -1;
}

static int receive_data(struct end *end, uint8_t *data, size_t size)
{
    return mbedtls_ssl_read(&((struct mbedtls_end *)end)->ssl, data, size);
}

const struct stack stack_mbedtls = { "mbedtls", version, start, open_end, close_end, run, deadline, send_data, receive_data };
