/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A DTLS-PSK client or server made of mbedTLS alone (2.28 or 3.6), for the interoperability tests:
 * nothing of iotsec is used here, so that a mistake of ours cannot cancel itself out.
 *
 *   mbedtls_peer version
 *   mbedtls_peer client|server [KEY=VALUE]...
 *     address=::1 port=N identity=ID psk=HEX
 *     cipher=CCM8|CCM     the one suite offered or taken
 *     cookie=on|off       server: HelloVerifyRequest
 *     ems=on|off          extended master secret
 *     mtu=N               handshake messages are cut so that a datagram has N bytes at most; 0: not cut
 *     mfl=512|1024|...    client: asks for max_fragment_length; 0: does not
 *     cid=empty|HEX       Connection IDs (RFC 9146) are used, and this end wants that one; not given: they are not
 *     rebind=N            client: goes on from another port before it sends line N + 1
 *     loss=P seed=N       drops datagrams both ways until this end is connected
 *     timeout=SECONDS     gives up when the handshake takes longer
 *
 * A client sends each line of stdin as one record and closes at its end. A server sends back whatever
 * comes; after a handshake that failed it listens again, after a session it ends. One line an event on
 * stdout: "listening", "established suite=...", "connection-id own=HEX peer=HEX", "rebound", "moved" (a server's client
 * has another address), "data TEXT", "closed", "failed at=... code=... text".
 * Exit: 0 after a session that was closed, 1 after a failure, 2 for bad usage.
 */
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include <netdb.h>
#include <netinet/in.h>

#include <mbedtls/version.h>

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/error.h>
#include <mbedtls/ssl.h>
#include <mbedtls/ssl_ciphersuites.h>
#include <mbedtls/ssl_cookie.h>
#if defined(MBEDTLS_PSA_CRYPTO_C)
#include <psa/crypto.h>
#endif

/* 2.28 knows a draft of RFC 9146 with another extension number and another AAD, and Debian leaves even that out. */
#if defined(MBEDTLS_SSL_DTLS_CONNECTION_ID) && MBEDTLS_VERSION_NUMBER >= 0x03020000 && \
    (!defined(MBEDTLS_SSL_DTLS_CONNECTION_ID_COMPAT) || MBEDTLS_SSL_DTLS_CONNECTION_ID_COMPAT == 0)
#define HAVE_CID 1
#else
#define HAVE_CID 0
#endif

enum { DATAGRAM_MAX = 2048, PSK_MAX = 64, LINE_MAX_BYTES = 1024, CID_MAX = 32 };

struct options {
    int is_server;
    const char *address;
    const char *port;
    const char *identity;
    unsigned char psk[PSK_MAX];
    size_t psk_len;
    int suites[2]; /* ends with 0 */
    int cookie;
    int ems;
    unsigned mtu;
    unsigned mfl;
    int use_cid;
    unsigned char cid[CID_MAX];
    size_t cid_len;
    unsigned rebind; /* 0: never */
    double loss;
    unsigned long seed;
    unsigned timeout_s;
};

/* The UDP end. A server takes its peer's address from what arrives until a session stands. */
struct link {
    int fd;
    struct sockaddr_storage peer;
    socklen_t peer_len;
    int peer_fixed;
    int roams; /* the peer is known by its Connection ID: records from elsewhere are shown to mbedTLS */
    struct sockaddr_storage from; /* of the last datagram */
    socklen_t from_len;
    double loss;
    uint64_t random;
};

/* mbedTLS' two timers: the intermediate one is only reported, the final one makes it retransmit. */
struct timer {
    int running;
    long long start;
    unsigned intermediate_ms;
    unsigned final_ms;
};

static long long now_ms(void)
{
    struct timespec t;

    if (clock_gettime(CLOCK_MONOTONIC, &t) != 0)
        return 0;
    return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void timer_set(void *user, uint32_t intermediate_ms, uint32_t final_ms)
{
    struct timer *timer = user;

    timer->running = final_ms != 0;
    timer->start = now_ms();
    timer->intermediate_ms = intermediate_ms;
    timer->final_ms = final_ms;
}

static int timer_get(void *user)
{
    const struct timer *timer = user;
    long long passed = now_ms() - timer->start;

    if (!timer->running)
        return -1;
    if (passed >= (long long)timer->final_ms)
        return 2;
    return passed >= (long long)timer->intermediate_ms ? 1 : 0;
}

/* Milliseconds until the final timer, for poll(2); -1 for none. */
static int timer_left(const struct timer *timer)
{
    long long left;

    if (!timer->running)
        return -1;
    left = timer->start + (long long)timer->final_ms - now_ms();
    return left < 0 ? 0 : (int)left;
}

/* splitmix64, not rand(3): a seed has to mean the same everywhere. */
static int lose(struct link *link)
{
    uint64_t z;

    if (link->loss <= 0)
        return 0;
    z = link->random += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    return (double)(z >> 11) / 9007199254740992.0 < link->loss; /* 53 bits over 2^53 */
}

static int link_send(void *user, const unsigned char *data, size_t len)
{
    struct link *link = user;
    ssize_t n;

    if (lose(link))
        return (int)len;
    n = sendto(link->fd, data, len, 0, (const struct sockaddr *)&link->peer, link->peer_len);
    /* An ICMP error of an earlier datagram is a loss to DTLS, not a failure. */
    if (n < 0)
        return errno == EAGAIN ? MBEDTLS_ERR_SSL_WANT_WRITE : (int)len;
    return (int)n;
}

static int link_receive(void *user, unsigned char *data, size_t size)
{
    struct link *link = user;
    struct sockaddr_storage from;

    for (;;) {
        socklen_t from_len = sizeof from;
        ssize_t n = recvfrom(link->fd, data, size, MSG_DONTWAIT, (struct sockaddr *)&from, &from_len);

        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return MBEDTLS_ERR_SSL_WANT_READ;
        if (n <= 0 || lose(link))
            continue;
        if (!link->peer_fixed) {
            link->peer = from;
            link->peer_len = from_len;
        } else if (link->roams) {
            link->from = from;
            link->from_len = from_len;
        } else if (from_len != link->peer_len || memcmp(&from, &link->peer, from_len) != 0) {
            continue;
        }
        return (int)n;
    }
}

static int fail(const char *what, int code)
{
    char text[128] = "";

    mbedtls_strerror(code, text, sizeof text);
    printf("failed at=%s code=-0x%04x %s\n", what, (unsigned)-code, text);
    fflush(stdout);
    return 1;
}

static int usage(const char *why)
{
    fprintf(stderr, "mbedtls_peer: %s; see the head of its source\n", why);
    return 2;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static int parse_hex(const char *text, unsigned char *out, size_t size, size_t *len)
{
    for (*len = 0; text[0] != '\0'; text += 2, (*len)++) {
        int high = hex_digit(text[0]);
        int low = high < 0 ? -1 : hex_digit(text[1]);

        if (low < 0 || *len == size)
            return 0;
        out[*len] = (unsigned char)(high << 4 | low);
    }
    return *len > 0;
}

static int parse_switch(const char *text, int *out)
{
    *out = strcmp(text, "on") == 0;
    return *out || strcmp(text, "off") == 0;
}

static int parse_cid(struct options *o, const char *text)
{
    o->use_cid = HAVE_CID;
    return HAVE_CID && (strcmp(text, "empty") == 0 || parse_hex(text, o->cid, sizeof o->cid, &o->cid_len));
}

static int parse_options(struct options *o, int argc, char **argv)
{
    memset(o, 0, sizeof *o);
    o->address = "::1";
    o->suites[0] = MBEDTLS_TLS_PSK_WITH_AES_128_CCM_8;
    o->cookie = 1;
    o->ems = 1;
    o->timeout_s = 60;
    if (argc < 2 || (strcmp(argv[1], "client") != 0 && strcmp(argv[1], "server") != 0))
        return usage("the first argument is client or server");
    o->is_server = strcmp(argv[1], "server") == 0;
    for (int i = 2; i < argc; i++) {
        char *value = strchr(argv[i], '=');
        int ok = 1;

        if (value == NULL)
            return usage("arguments are KEY=VALUE");
        *value++ = '\0';
        if (strcmp(argv[i], "address") == 0)
            o->address = value;
        else if (strcmp(argv[i], "port") == 0)
            o->port = value;
        else if (strcmp(argv[i], "identity") == 0)
            o->identity = value;
        else if (strcmp(argv[i], "psk") == 0)
            ok = parse_hex(value, o->psk, sizeof o->psk, &o->psk_len);
        else if (strcmp(argv[i], "cipher") == 0 && strcmp(value, "CCM") == 0)
            o->suites[0] = MBEDTLS_TLS_PSK_WITH_AES_128_CCM;
        else if (strcmp(argv[i], "cipher") == 0)
            ok = strcmp(value, "CCM8") == 0;
        else if (strcmp(argv[i], "cookie") == 0)
            ok = parse_switch(value, &o->cookie);
        else if (strcmp(argv[i], "ems") == 0)
            ok = parse_switch(value, &o->ems);
        else if (strcmp(argv[i], "mtu") == 0)
            o->mtu = (unsigned)strtoul(value, NULL, 10);
        else if (strcmp(argv[i], "mfl") == 0)
            o->mfl = (unsigned)strtoul(value, NULL, 10);
        else if (strcmp(argv[i], "cid") == 0)
            ok = parse_cid(o, value);
        else if (strcmp(argv[i], "rebind") == 0)
            o->rebind = (unsigned)strtoul(value, NULL, 10);
        else if (strcmp(argv[i], "loss") == 0)
            o->loss = strtod(value, NULL);
        else if (strcmp(argv[i], "seed") == 0)
            o->seed = strtoul(value, NULL, 10);
        else if (strcmp(argv[i], "timeout") == 0)
            o->timeout_s = (unsigned)strtoul(value, NULL, 10);
        else
            return usage("unknown key");
        if (!ok)
            return usage("bad value");
    }
    if (o->port == NULL || o->identity == NULL || o->psk_len == 0)
        return usage("port, identity and psk are needed");
    return 0;
}

static int open_link(struct link *link, const struct options *o)
{
    struct addrinfo hints;
    struct addrinfo *found = NULL;
    int status = 1;

    memset(link, 0, sizeof *link);
    link->loss = o->loss;
    link->random = o->seed;
    memset(&hints, 0, sizeof hints);
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_DGRAM;
    hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
    if (getaddrinfo(o->address, o->port, &hints, &found) != 0)
        return usage("address or port is no number");
    link->fd = socket(found->ai_family, SOCK_DGRAM, 0);
    if (link->fd < 0) {
        perror("mbedtls_peer: socket");
        goto out;
    }
    if (o->is_server) {
        if (bind(link->fd, found->ai_addr, found->ai_addrlen) != 0) {
            perror("mbedtls_peer: bind");
            goto out;
        }
    } else {
        memcpy(&link->peer, found->ai_addr, found->ai_addrlen);
        link->peer_len = found->ai_addrlen;
        link->peer_fixed = 1;
    }
    status = 0;
out:
    freeaddrinfo(found);
    return status;
}

static unsigned char mfl_code(unsigned bytes)
{
    switch (bytes) {
    case 512: return MBEDTLS_SSL_MAX_FRAG_LEN_512;
    case 1024: return MBEDTLS_SSL_MAX_FRAG_LEN_1024;
    case 2048: return MBEDTLS_SSL_MAX_FRAG_LEN_2048;
    case 4096: return MBEDTLS_SSL_MAX_FRAG_LEN_4096;
    default: return MBEDTLS_SSL_MAX_FRAG_LEN_NONE;
    }
}

static int configure(mbedtls_ssl_config *conf, const struct options *o, mbedtls_ctr_drbg_context *drbg,
                     mbedtls_ssl_cookie_ctx *cookies)
{
    int status = mbedtls_ssl_config_defaults(conf, o->is_server ? MBEDTLS_SSL_IS_SERVER : MBEDTLS_SSL_IS_CLIENT,
                                             MBEDTLS_SSL_TRANSPORT_DATAGRAM, MBEDTLS_SSL_PRESET_DEFAULT);

    if (status != 0)
        return status;
    mbedtls_ssl_conf_rng(conf, mbedtls_ctr_drbg_random, drbg);
#if MBEDTLS_VERSION_NUMBER >= 0x03020000
    mbedtls_ssl_conf_min_tls_version(conf, MBEDTLS_SSL_VERSION_TLS1_2);
    mbedtls_ssl_conf_max_tls_version(conf, MBEDTLS_SSL_VERSION_TLS1_2);
#else
    mbedtls_ssl_conf_min_version(conf, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
    mbedtls_ssl_conf_max_version(conf, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
#endif
    mbedtls_ssl_conf_ciphersuites(conf, o->suites);
    mbedtls_ssl_conf_extended_master_secret(conf, o->ems ? MBEDTLS_SSL_EXTENDED_MS_ENABLED
                                                         : MBEDTLS_SSL_EXTENDED_MS_DISABLED);
    if (o->is_server) {
        if (o->cookie) {
            status = mbedtls_ssl_cookie_setup(cookies, mbedtls_ctr_drbg_random, drbg);
            mbedtls_ssl_conf_dtls_cookies(conf, mbedtls_ssl_cookie_write, mbedtls_ssl_cookie_check, cookies);
        } else {
            mbedtls_ssl_conf_dtls_cookies(conf, NULL, NULL, NULL);
        }
    }
#if HAVE_CID
    if (status == 0 && o->use_cid)
        status = mbedtls_ssl_conf_cid(conf, o->cid_len, MBEDTLS_SSL_UNEXPECTED_CID_IGNORE);
#endif
    if (status == 0 && o->mfl != 0)
        status = mbedtls_ssl_conf_max_frag_len(conf, mfl_code(o->mfl));
    if (status == 0)
        status = mbedtls_ssl_conf_psk(conf, o->psk, o->psk_len, (const unsigned char *)o->identity,
                                      strlen(o->identity));
    return status;
}

/* A new handshake on a context, with what mbedtls_ssl_session_reset forgets. */
static int start(mbedtls_ssl_context *ssl, struct link *link, const struct options *o)
{
    int status = mbedtls_ssl_session_reset(ssl);

    if (status == 0 && o->is_server)
        status = mbedtls_ssl_set_client_transport_id(ssl, (const unsigned char *)&link->peer, link->peer_len);
#if HAVE_CID
    if (status == 0 && o->use_cid)
        status = mbedtls_ssl_set_cid(ssl, MBEDTLS_SSL_CID_ENABLED, o->cid, o->cid_len);
#endif
    return status;
}

static int handshake(mbedtls_ssl_context *ssl, struct link *link, struct timer *timer, const struct options *o)
{
    const long long deadline = now_ms() + 1000ll * o->timeout_s;
    struct pollfd wait = {link->fd, POLLIN, 0};
    int status;

    if (o->is_server) {
        /* The cookie covers the client's address, so that has to be known before the first message is read. */
        do {
            if (poll(&wait, 1, 1000) > 0) {
                link->peer_len = sizeof link->peer;
                if (recvfrom(link->fd, NULL, 0, MSG_PEEK, (struct sockaddr *)&link->peer, &link->peer_len) >= 0)
                    break;
            }
        } while (now_ms() < deadline);
    }
    status = start(ssl, link, o);
    while (status == 0 && (status = mbedtls_ssl_handshake(ssl)) != 0) {
        int wait_ms = timer_left(timer);

        if (status == MBEDTLS_ERR_SSL_HELLO_VERIFY_REQUIRED) {
            status = start(ssl, link, o);
            continue;
        }
        if (status != MBEDTLS_ERR_SSL_WANT_READ && status != MBEDTLS_ERR_SSL_WANT_WRITE)
            break;
        if (now_ms() >= deadline) {
            status = MBEDTLS_ERR_SSL_TIMEOUT;
            break;
        }
        if (wait_ms < 0 || wait_ms > 1000)
            wait_ms = 1000;
        if (poll(&wait, 1, wait_ms) < 0 && errno != EINTR) {
            perror("mbedtls_peer: poll");
            status = MBEDTLS_ERR_SSL_INTERNAL_ERROR;
            break;
        }
        status = 0;
    }
    return status;
}

static void print_hex(const char *name, const unsigned char *data, size_t len)
{
    printf(" %s=", name);
    for (size_t i = 0; i < len; i++)
        printf("%02x", data[i]);
}

/* Says which Connection IDs are in use, and lets the peer roam if it writes one. */
static int report_cid(mbedtls_ssl_context *ssl, struct link *link, const struct options *o)
{
#if HAVE_CID
    unsigned char cid[MBEDTLS_SSL_CID_OUT_LEN_MAX];
    size_t len = 0;
    int enabled = MBEDTLS_SSL_CID_DISABLED;
    int status = mbedtls_ssl_get_peer_cid(ssl, &enabled, cid, &len);

    if (status != 0 || enabled != MBEDTLS_SSL_CID_ENABLED)
        return status;
    link->roams = o->cid_len != 0;
    printf("connection-id");
    print_hex("own", o->cid, o->cid_len);
    print_hex("peer", cid, len);
    printf("\n");
    fflush(stdout);
#else
    (void)ssl;
    (void)link;
    (void)o;
    (void)print_hex;
#endif
    return 0;
}

/* A new socket, and so a new port. */
static int rebind(struct link *link)
{
    int fd = socket(link->peer.ss_family, SOCK_DGRAM, 0);

    if (fd < 0 || dup2(fd, link->fd) < 0) {
        perror("mbedtls_peer: rebind");
        return MBEDTLS_ERR_SSL_INTERNAL_ERROR;
    }
    close(fd);
    printf("rebound\n");
    fflush(stdout);
    return 0;
}

static int write_record(mbedtls_ssl_context *ssl, const unsigned char *data, size_t len)
{
    int n;

    do {
        n = mbedtls_ssl_write(ssl, data, len);
    } while (n == MBEDTLS_ERR_SSL_WANT_WRITE || n == MBEDTLS_ERR_SSL_WANT_READ);
    if (n >= 0 && (size_t)n != len)
        return MBEDTLS_ERR_SSL_INTERNAL_ERROR; /* one line, one record: that is what the tests compare */
    return n < 0 ? n : 0;
}

/* Reads what has arrived. 0: more may come. */
static int read_records(mbedtls_ssl_context *ssl, struct link *link, const struct options *o)
{
    unsigned char data[DATAGRAM_MAX];
    int n;

    while ((n = mbedtls_ssl_read(ssl, data, sizeof data)) > 0) {
        /* mbedTLS has verified a record, and what it reads at a time is one datagram: that is where the peer is now. */
        if (link->roams && link->from_len != 0 &&
            (link->from_len != link->peer_len || memcmp(&link->from, &link->peer, link->from_len) != 0)) {
            link->peer = link->from;
            link->peer_len = link->from_len;
            printf("moved\n");
        }
        printf("data %.*s\n", n - (data[n - 1] == '\n'), (const char *)data);
        fflush(stdout);
        if (o->is_server) {
            int status = write_record(ssl, data, (size_t)n);

            if (status != 0)
                return status;
        }
    }
    return n == MBEDTLS_ERR_SSL_WANT_READ || n == MBEDTLS_ERR_SSL_WANT_WRITE ? 0 : n;
}

/* Moves data until one end closes. */
static int talk(mbedtls_ssl_context *ssl, struct link *link, struct timer *timer, const struct options *o)
{
    char line[LINE_MAX_BYTES];
    size_t used = 0;
    unsigned sent = 0;
    struct pollfd wait[2] = {{link->fd, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
    const nfds_t count = o->is_server ? 1 : 2;

    for (;;) {
        /* First: a record may have come in the datagram that ended the handshake. */
        int status = read_records(ssl, link, o);

        if (status == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY || status == MBEDTLS_ERR_SSL_CONN_EOF)
            return 0;
        if (status != 0)
            return status;
        wait[0].revents = wait[1].revents = 0;
        if (poll(wait, count, timer_left(timer)) < 0 && errno != EINTR)
            return MBEDTLS_ERR_SSL_INTERNAL_ERROR;
        if (wait[1].revents != 0) {
            ssize_t n = read(STDIN_FILENO, line + used, sizeof line - used);
            char *end;

            if (n <= 0)
                return 0;
            used += (size_t)n;
            while ((end = memchr(line, '\n', used)) != NULL) {
                size_t len = (size_t)(end - line) + 1;

                status = o->rebind != 0 && sent++ == o->rebind ? rebind(link) : 0;
                if (status == 0)
                    status = write_record(ssl, (const unsigned char *)line, len);
                if (status != 0)
                    return status;
                used -= len;
                memmove(line, end + 1, used);
            }
            if (used == sizeof line)
                return MBEDTLS_ERR_SSL_BAD_INPUT_DATA; /* a line that is too long for one record */
        }
    }
}

int main(int argc, char **argv)
{
    struct options o;
    struct link link;
    struct timer timer = {0, 0, 0, 0};
    mbedtls_entropy_context entropy;
    mbedtls_ctr_drbg_context drbg;
    mbedtls_ssl_cookie_ctx cookies;
    mbedtls_ssl_config conf;
    mbedtls_ssl_context ssl;
    int status;
    int result;

    if (argc == 2 && strcmp(argv[1], "version") == 0) {
        printf("mbedTLS %s\nconnection-id %s\n", MBEDTLS_VERSION_STRING, HAVE_CID ? "yes" : "no");
        return 0;
    }
    result = parse_options(&o, argc, argv);
    if (result != 0)
        return result;
    if (open_link(&link, &o) != 0)
        return 2;
    mbedtls_entropy_init(&entropy);
    mbedtls_ctr_drbg_init(&drbg);
    mbedtls_ssl_cookie_init(&cookies);
    mbedtls_ssl_config_init(&conf);
    mbedtls_ssl_init(&ssl);
#if defined(MBEDTLS_PSA_CRYPTO_C)
    if (psa_crypto_init() != PSA_SUCCESS) {
        result = fail("psa", MBEDTLS_ERR_SSL_INTERNAL_ERROR);
        goto out;
    }
#endif
    status = mbedtls_ctr_drbg_seed(&drbg, mbedtls_entropy_func, &entropy, NULL, 0);
    if (status == 0)
        status = configure(&conf, &o, &drbg, &cookies);
    if (status == 0)
        status = mbedtls_ssl_setup(&ssl, &conf);
    if (status != 0) {
        result = fail("setup", status);
        goto out;
    }
    mbedtls_ssl_set_bio(&ssl, &link, link_send, link_receive, NULL);
    mbedtls_ssl_set_timer_cb(&ssl, &timer, timer_set, timer_get);
    mbedtls_ssl_set_mtu(&ssl, (uint16_t)o.mtu);
    if (o.is_server) {
        printf("listening\n");
        fflush(stdout);
    }

    while ((status = handshake(&ssl, &link, &timer, &o)) != 0) {
        result = fail("handshake", status);
        if (!o.is_server || status == MBEDTLS_ERR_SSL_TIMEOUT)
            goto out;
    }
    result = 0;
    link.loss = 0;
    link.peer_fixed = 1;
    mbedtls_ssl_set_mtu(&ssl, 0); /* it would limit records too */
    printf("established suite=%s\n", mbedtls_ssl_get_ciphersuite(&ssl));
    fflush(stdout);

    status = report_cid(&ssl, &link, &o);
    if (status == 0)
        status = talk(&ssl, &link, &timer, &o);
    if (status != 0) {
        result = fail("session", status);
        goto out;
    }
    /* The alert is one datagram: there is nothing to wait for and nobody to tell of a failure. */
    (void)mbedtls_ssl_close_notify(&ssl);
    printf("closed\n");
out:
    mbedtls_ssl_free(&ssl);
    mbedtls_ssl_config_free(&conf);
    mbedtls_ssl_cookie_free(&cookies);
    mbedtls_ctr_drbg_free(&drbg);
    mbedtls_entropy_free(&entropy);
    close(link.fd);
    return result;
}
