/* SPDX-License-Identifier: BSD-3-Clause */
/* OpenSSL 3.0. Its time is gettimeofday's, which bench/peers.c answers. */
#include "stacks.h"

#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include <openssl/err.h>
#include <openssl/hmac.h>
#include <openssl/ssl.h>

#define MTU 1400

struct openssl_end {
    struct end end;
    SSL *ssl;
};

static SSL_CTX *contexts[3]; /* client, server, server that asks for cookies */
static BIO_METHOD *method;
static unsigned char cookie_key[32];

static const char *version(void)
{
    return OpenSSL_version(OPENSSL_VERSION_STRING);
}

static unsigned client_psk(SSL *ssl, const char *hint, char *identity, unsigned identity_size, unsigned char *psk, unsigned size)
{
    (void)ssl;
    (void)hint;
    if (identity_size < sizeof BENCH_IDENTITY || size < sizeof bench_psk) {
        return 0;
    }
    memcpy(identity, BENCH_IDENTITY, sizeof BENCH_IDENTITY);
    memcpy(psk, bench_psk, sizeof bench_psk);
    return sizeof bench_psk;
}

static unsigned server_psk(SSL *ssl, const char *identity, unsigned char *psk, unsigned size)
{
    (void)ssl;
    if (strcmp(identity, BENCH_IDENTITY) != 0 || size < sizeof bench_psk) {
        return 0;
    }
    memcpy(psk, bench_psk, sizeof bench_psk);
    return sizeof bench_psk;
}

/* What applications do for a cookie: an HMAC over the client's address. */
static int make_cookie(SSL *ssl, unsigned char *cookie, unsigned *len)
{
    (void)ssl;
    return HMAC(EVP_sha256(), cookie_key, sizeof cookie_key, (const unsigned char *)"client", 6, cookie, len) != NULL;
}

static int check_cookie(SSL *ssl, const unsigned char *cookie, unsigned len)
{
    unsigned char expected[32];
    unsigned expected_len = sizeof expected;

    return make_cookie(ssl, expected, &expected_len) && len == expected_len && CRYPTO_memcmp(cookie, expected, len) == 0;
}

static int put(BIO *bio, const char *data, int len)
{
    struct end *end = BIO_get_data(bio);

    end->out(end, (const uint8_t *)data, (size_t)len);
    return len;
}

static int take(BIO *bio, char *data, int size)
{
    struct end *end = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    if (end->in == NULL) {
        BIO_set_retry_read(bio);
        return -1;
    }
    size = end->in_len < (size_t)size ? (int)end->in_len : size;
    memcpy(data, end->in, (size_t)size);
    end->in = NULL;
    return size;
}

static long control(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    switch (command) {
    case BIO_CTRL_FLUSH:
        return 1;
    case BIO_CTRL_DGRAM_QUERY_MTU:
    case BIO_CTRL_DGRAM_GET_FALLBACK_MTU:
        return MTU;
    default:
        return 0;
    }
}

static void start(void)
{
    int i;

    bench_random(cookie_key, sizeof cookie_key);
    method = BIO_meth_new(BIO_TYPE_SOURCE_SINK | BIO_get_new_index(), "virtual link");
    if (method == NULL || !BIO_meth_set_write(method, put) || !BIO_meth_set_read(method, take) ||
        !BIO_meth_set_ctrl(method, control)) {
        bench_die("OpenSSL: BIO");
    }
    for (i = 0; i < 3; i++) {
        SSL_CTX *context = SSL_CTX_new(i == 0 ? DTLS_client_method() : DTLS_server_method());

        if (context == NULL || !SSL_CTX_set_min_proto_version(context, DTLS1_2_VERSION) ||
            !SSL_CTX_set_cipher_list(context, "PSK-AES128-CCM8:@SECLEVEL=0")) {
            bench_die("OpenSSL: context");
        }
        SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_QUERY_MTU);
        (void)SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
        SSL_CTX_set_psk_client_callback(context, client_psk);
        SSL_CTX_set_psk_server_callback(context, server_psk);
        if (i == 2) {
            SSL_CTX_set_options(context, SSL_OP_COOKIE_EXCHANGE);
            SSL_CTX_set_cookie_generate_cb(context, make_cookie);
            SSL_CTX_set_cookie_verify_cb(context, check_cookie);
        }
        contexts[i] = context;
    }
}

static struct end *open_end(int is_server, int cookie)
{
    struct openssl_end *own = calloc(1, sizeof *own);
    BIO *bio = BIO_new(method);

    if (own == NULL || bio == NULL) {
        bench_die("no memory");
    }
    own->end.is_server = is_server;
    own->end.cookie = cookie;
    own->ssl = SSL_new(contexts[is_server ? 1 + (cookie != 0) : 0]);
    if (own->ssl == NULL) {
        bench_die("SSL_new");
    }
    BIO_set_data(bio, own);
    BIO_set_init(bio, 1);
    SSL_set_bio(own->ssl, bio, bio);
    (void)SSL_set_mtu(own->ssl, MTU);
    if (is_server) {
        SSL_set_accept_state(own->ssl);
    } else {
        SSL_set_connect_state(own->ssl);
    }
    return &own->end;
}

static void close_end(struct end *end)
{
    SSL_free(((struct openssl_end *)end)->ssl);
    free(end);
}

static uint64_t deadline(const struct end *end)
{
    struct timeval left;

    if (end->failed || !DTLSv1_get_timeout(((const struct openssl_end *)end)->ssl, &left)) {
        return BENCH_NEVER;
    }
    return bench_now() + (uint64_t)left.tv_sec * 1000 + (uint64_t)(left.tv_usec + 999) / 1000;
}

static void run(struct end *end)
{
    SSL *ssl = ((struct openssl_end *)end)->ssl;
    char nothing[16];
    int status;

    if (end->in == NULL && deadline(end) <= bench_now() && DTLSv1_handle_timeout(ssl) < 0) {
        end->failed = 1;
        return;
    }
    do {
        if (end->done) {
            (void)SSL_read(ssl, nothing, sizeof nothing);
            end->in = NULL;
            break;
        }
        status = SSL_do_handshake(ssl);
        if (status == 1) {
            end->done = 1;
        } else if (SSL_get_error(ssl, status) != SSL_ERROR_WANT_READ) {
            end->failed = 1;
            end->in = NULL;
        }
    } while (end->in != NULL);
    ERR_clear_error();
}

static int send_data(struct end *end, const uint8_t *data, size_t len)
{
    return SSL_write(((struct openssl_end *)end)->ssl, data, (int)len) == (int)len ? 0 : -1;
}

static int receive_data(struct end *end, uint8_t *data, size_t size)
{
    return SSL_read(((struct openssl_end *)end)->ssl, data, (int)size);
}

const struct stack stack_openssl = { "openssl", version, start, open_end, close_end, run, deadline, send_data, receive_data };
