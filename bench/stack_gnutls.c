/* SPDX-License-Identifier: BSD-3-Clause */
/* GnuTLS 3.7. Its time is clock_gettime's, which bench/peers.c answers. */
#include "stacks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <gnutls/dtls.h>
#include <gnutls/gnutls.h>

#define PRIORITY "NONE:+VERS-DTLS1.2:+PSK:+AES-128-CCM-8:+AEAD:+SIGN-ALL:+COMP-NULL"

struct gnutls_end {
    struct end end;
    gnutls_session_t session;
    int proved; /* the cookie was there */
    int begun;  /* it has a time-out before that, which means nothing */
};

static gnutls_psk_client_credentials_t client;
static gnutls_psk_server_credentials_t server;
static gnutls_priority_t priority;
static gnutls_datum_t cookie_key;

static const char *version(void)
{
    return gnutls_check_version(NULL);
}

static int server_psk(gnutls_session_t session, const char *identity, gnutls_datum_t *key)
{
    (void)session;
    if (strcmp(identity, BENCH_IDENTITY) != 0) {
        return -1;
    }
    key->data = gnutls_malloc(sizeof bench_psk);
    if (key->data == NULL) {
        return -1;
    }
    memcpy(key->data, bench_psk, sizeof bench_psk);
    key->size = sizeof bench_psk;
    return 0;
}

static void start(void)
{
    unsigned char psk[sizeof bench_psk];
    gnutls_datum_t key = { psk, sizeof psk };

    memcpy(psk, bench_psk, sizeof psk);
    if (gnutls_global_init() != 0 || gnutls_psk_allocate_client_credentials(&client) != 0 ||
        gnutls_psk_set_client_credentials(client, BENCH_IDENTITY, &key, GNUTLS_PSK_KEY_RAW) != 0 ||
        gnutls_psk_allocate_server_credentials(&server) != 0 || gnutls_priority_init(&priority, PRIORITY, NULL) != 0 ||
        gnutls_key_generate(&cookie_key, GNUTLS_COOKIE_KEY_SIZE) != 0) {
        bench_die("GnuTLS: credentials");
    }
    gnutls_psk_set_server_credentials_function(server, server_psk);
}

static ssize_t put(gnutls_transport_ptr_t user, const void *data, size_t len)
{
    struct end *end = user;

    end->out(end, data, len);
    return (ssize_t)len;
}

static ssize_t take(gnutls_transport_ptr_t user, void *data, size_t size)
{
    struct gnutls_end *own = user;

    if (own->end.in == NULL) {
        gnutls_transport_set_errno(own->session, EAGAIN);
        return -1;
    }
    size = own->end.in_len < size ? own->end.in_len : size;
    memcpy(data, own->end.in, size);
    own->end.in = NULL;
    return (ssize_t)size;
}

static int is_there(gnutls_transport_ptr_t user, unsigned ms)
{
    (void)ms;
    return ((const struct end *)user)->in != NULL;
}

static struct end *open_end(int is_server, int cookie)
{
    struct gnutls_end *own = calloc(1, sizeof *own);

    if (own == NULL) {
        bench_die("no memory");
    }
    own->end.is_server = is_server;
    own->end.cookie = cookie;
    if (gnutls_init(&own->session, (is_server ? GNUTLS_SERVER : GNUTLS_CLIENT) | GNUTLS_DATAGRAM | GNUTLS_NONBLOCK |
                                       GNUTLS_NO_TICKETS | GNUTLS_NO_SIGNAL) != 0 ||
        gnutls_priority_set(own->session, priority) != 0 ||
        gnutls_credentials_set(own->session, GNUTLS_CRD_PSK, is_server ? (void *)server : (void *)client) != 0) {
        bench_die("gnutls_init");
    }
    gnutls_transport_set_ptr(own->session, own);
    gnutls_transport_set_push_function(own->session, put);
    gnutls_transport_set_pull_function(own->session, take);
    gnutls_transport_set_pull_timeout_function(own->session, is_there);
    gnutls_dtls_set_mtu(own->session, 1400);
    return &own->end;
}

static void close_end(struct end *end)
{
    gnutls_deinit(((struct gnutls_end *)end)->session);
    free(end);
}

/* Until the cookie has come there is no session. */
static int has_proved(struct gnutls_end *own)
{
    gnutls_dtls_prestate_st state;
    char name[] = "client";

    if (own->proved || !own->end.is_server || !own->end.cookie) {
        return 1;
    }
    if (own->end.in == NULL) {
        return 0;
    }
    memset(&state, 0, sizeof state);
    if (gnutls_dtls_cookie_verify(&cookie_key, name, sizeof name, own->end.in, own->end.in_len, &state) == 0) {
        gnutls_dtls_prestate_set(own->session, &state);
        own->proved = 1;
        return 1;
    }
    own->end.in = NULL;
    (void)gnutls_dtls_cookie_send(&cookie_key, name, sizeof name, &state, own, put);
    return 0;
}

static void run(struct end *end)
{
    struct gnutls_end *own = (struct gnutls_end *)end;
    char nothing[16];
    int status;

    if (!has_proved(own) || (end->is_server && !own->begun && end->in == NULL)) {
        return;
    }
    own->begun = 1;
    do {
        if (end->done) {
            (void)gnutls_record_recv(own->session, nothing, sizeof nothing);
            end->in = NULL;
            return;
        }
        status = gnutls_handshake(own->session);
        if (status == 0) {
            end->done = 1;
        } else if (gnutls_error_is_fatal(status)) {
            end->failed = 1;
            end->in = NULL;
        }
    } while (end->in != NULL);
}

static uint64_t deadline(const struct end *end)
{
    const struct gnutls_end *own = (const struct gnutls_end *)end;

    if (end->done || end->failed || !own->begun) {
        return BENCH_NEVER;
    }
    return bench_now() + gnutls_dtls_get_timeout(own->session);
}

static int send_data(struct end *end, const uint8_t *data, size_t len)
{
    return gnutls_record_send(((struct gnutls_end *)end)->session, data, len) == (ssize_t)len ? 0 : -1;
}

static int receive_data(struct end *end, uint8_t *data, size_t size)
{
    return (int)gnutls_record_recv(((struct gnutls_end *)end)->session, data, size);
}

const struct stack stack_gnutls = { "gnutls", version, start, open_end, close_end, run, deadline, send_data, receive_data };
