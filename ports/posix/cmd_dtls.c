/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Plain DTLS-PSK, for experiments and for interoperability: a server that echoes, and a client that
 * sends lines. No iotsec extension is offered, and by default every peer that RFC 6347 and RFC 4279
 * allow is accepted.
 */
#include "cmd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <iotsec/dtls.h>
#include <iotsec/iotsec.h>

#include "addr.h"
#include "options.h"
#include "output.h"
#include "port.h"
#include "secret.h"

#define TX_BYTES (IOTSEC_RECORD_PAYLOAD_MAX + 64)
#define PEER_NUMBER 1             /* there is one identity */
#define SESSIONS_DEFAULT 1024
#define HANDSHAKES_MAX 256
#define WAIT_DEFAULT_MS 1000      /* without an answer, after the input's end */
#define HANDSHAKE_DEFAULT_MS 9000 /* a server that drops a wrong key's Finished in silence is told apart at the end only */
#define OUTSTANDING_MAX 32768     /* bytes sent and not yet answered before the client reads on */
#define OUTSTANDING_WAIT_MS 100   /* and how long it waits for that: the server need not be an echo */

enum {
    OPTION_LISTEN = 1, OPTION_CONNECT, OPTION_IDENTITY, OPTION_PSK, OPTION_PSK_FILE, OPTION_CIPHER, OPTION_COOKIE, OPTION_EMS,
    OPTION_RENEGOTIATION, OPTION_PLAIN_HELLO, OPTION_WAIT, OPTION_TIMEOUT, OPTION_SESSIONS, OPTION_IDLE, OPTION_FRAGMENT,
    OPTION_CID, OPTION_RELAYED, OPTION_REBIND, OPTION_EXPORTER
};

static const struct option_row server_rows[] = {
    { "--listen", OPTION_LISTEN, "[ADDR]:PORT", "where to listen: [::]:5684 for everywhere; port 0 for any, which is printed" },
    { "--psk-identity", OPTION_IDENTITY, "ID", "the one PSK identity that is known" },
    { "--psk-file", OPTION_PSK_FILE, "FILE", "its key: one line of 32 to 128 hexadecimal digits, readable for its owner only" },
    { "--psk", OPTION_PSK, "HEX", "its key on the command line, where others can read it: for experiments" },
    { "--cookie", OPTION_COOKIE, "WHEN", "off, always or under-load: when clients have to prove their address (default under-load)" },
    { "--cipher", OPTION_CIPHER, "SUITE", "CCM8, CCM or both (default both)" },
    { "--require-ems", OPTION_EMS, NULL, "refuse clients without extended master secret (RFC 7627)" },
    { "--require-renegotiation-info", OPTION_RENEGOTIATION, NULL, "refuse clients without RFC 5746 signalling" },
    { "--refuse-plain-hello", OPTION_PLAIN_HELLO, NULL, "refuse hellos without any extension" },
    { "--max-sessions", OPTION_SESSIONS, "N", "clients at once (default 1024)" },
    { "--idle-timeout", OPTION_IDLE, "SECONDS", "close sessions that are silent for so long (default: never)" },
    { "--connection-id", OPTION_CID, "WHEN", "off or on: whether clients that ask for it keep their session when their address changes (default off)" },
    { "--exporter", OPTION_EXPORTER, NULL, "print the keying material that a session exports (RFC 5705); for experiments only, it is secret" },
    { "--relayed", OPTION_RELAYED, NULL, "take datagrams that stateless relays have wrapped, and answer in kind" },
    { NULL, 0, NULL, NULL },
};

static const struct command server_command = {
    "iotsec dtls server --listen [ADDR]:PORT --psk-identity ID --psk-file FILE [option]...",
    "Answers DTLS 1.2 clients with a pre-shared key and echoes what they send, until Ctrl-C or SIGTERM.\n"
    "With a Connection ID a client may go on from another address: what comes from there is echoed there, and its next\n"
    "message from there makes that its address. (An echo is no proof that a particular message was received, which is\n"
    "good enough here; a domain manager asks for one.)",
    server_rows, true,
};

static const struct option_row client_rows[] = {
    { "--connect", OPTION_CONNECT, "[ADDR]:PORT", "the server: [::1]:5684, 127.0.0.1:5684, [fe80::1%eth0]:5684" },
    { "--psk-identity", OPTION_IDENTITY, "ID", "who we are" },
    { "--psk-file", OPTION_PSK_FILE, "FILE", "our key: one line of 32 to 128 hexadecimal digits, readable for its owner only" },
    { "--psk", OPTION_PSK, "HEX", "our key on the command line, where others can read it: for experiments" },
    { "--cipher", OPTION_CIPHER, "SUITE", "CCM8, CCM or both (default both, CCM8 preferred)" },
    { "--require-ems", OPTION_EMS, NULL, "refuse a server without extended master secret (RFC 7627)" },
    { "--require-renegotiation-info", OPTION_RENEGOTIATION, NULL, "refuse a server without RFC 5746 signalling" },
    { "--max-fragment-length", OPTION_FRAGMENT, "BYTES", "ask for records of up to 512, 1024, 2048 or 4096 bytes (RFC 6066)" },
    { "--connection-id", OPTION_CID, "WHEN", "off or on: ask that the session outlives a change of our address (RFC 9146; default off)" },
    { "--exporter", OPTION_EXPORTER, NULL, "print the keying material that a session exports (RFC 5705); for experiments only, it is secret" },
    { "--rebind-after", OPTION_REBIND, "N", "after N messages go on from another port" },
    { "--timeout", OPTION_TIMEOUT, "SECONDS", "give up a handshake after so long (default 9)" },
    { "--wait", OPTION_WAIT, "MS", "after the input's end, wait for answers until none came for so long (default 1000)" },
    { NULL, 0, NULL, NULL },
};

static const struct command client_command = {
    "iotsec dtls client --connect [ADDR]:PORT --psk-identity ID --psk-file FILE [option]...",
    "Connects to a DTLS 1.2 server with a pre-shared key. Each line of standard input is one message; answers go\n"
    "to standard output as they are, events to standard error. At the end of the input, and of the answers, the\n"
    "session is closed with close_notify.",
    client_rows, true,
};

/* What both ends have. */
struct endpoint {
    struct common_options common;
    struct port port;
    struct port_options port_options;
    struct iotsec_dtls dtls;
    struct iotsec_dtls_config config;
    struct iotsec_addr addr;      /* to listen at, or to connect to */
    bool addr_given;
    const char *identity;
    struct psk psk;
    uint32_t wait_ms;             /* client: after the end of the input */
    bool exporter;                /* print what a session exports */

    /* the server's sessions: a session that has ended no longer says where it went */
    struct {
        iotsec_dtls_handle session;
        struct iotsec_addr addr;
        struct iotsec_addr candidate; /* another address, which an echo went to; port 0: none */
    } *known;
    struct iotsec_addr from;      /* of the datagram that is being taken */

    /* the client */
    enum iotsec_status result;    /* OK until something ended it */
    bool connected;
    bool ended;
    bool input_over;
    iotsec_dtls_handle session;
    uint64_t sent;
    uint64_t received;
    uint32_t last_sent;
    uint32_t last_heard;
    uint64_t messages;
    uint64_t rebind_after;        /* 0: never */
    struct port_socket old;       /* before that */
    size_t line_len;
    char line[IOTSEC_RECORD_PAYLOAD_MAX];
};

/* ---- The command line ---- */

static int take_cipher(const char *value, uint8_t *suites)
{
    if (strcmp(value, "CCM8") == 0) {
        *suites = 1;
    } else if (strcmp(value, "CCM") == 0) {
        *suites = 2;
    } else if (strcmp(value, "both") == 0) {
        *suites = 3;
    } else {
        return fail_usage("--cipher: '%s' is none of CCM8, CCM and both", value);
    }
    if (!IOTSEC_SUITE_CCM && *suites != 1) {
        return fail("UNSUPPORTED", "--cipher: this build has CCM8 alone");
    }
    return 0;
}

static int take_cookie(const char *value, uint8_t *policy)
{
    if (strcmp(value, "off") == 0) {
        *policy = IOTSEC_COOKIE_OFF;
    } else if (strcmp(value, "always") == 0) {
        *policy = IOTSEC_COOKIE_ALWAYS;
    } else if (strcmp(value, "under-load") == 0) {
        *policy = IOTSEC_COOKIE_UNDER_LOAD;
    } else {
        return fail_usage("--cookie: '%s' is none of off, always and under-load", value);
    }
    return 0;
}

static int take_fragment(const struct arguments *arguments, uint8_t *code)
{
    uint64_t bytes;
    int status = argument_number(arguments, "--max-fragment-length", 512, 4096, &bytes);

    if (status != 0) {
        return status;
    }
    for (*code = 1; *code <= 4; (*code)++) {
        if (bytes == (uint64_t)256 << *code) {
            return 0;
        }
    }
    return fail_usage("--max-fragment-length: 512, 1024, 2048 or 4096");
}

static int take_option(struct endpoint *end, struct arguments *arguments, int id)
{
    uint64_t number;
    int status = 0;

    switch (id) {
    case OPTION_LISTEN:
    case OPTION_CONNECT:
        status = argument_addr(arguments, id == OPTION_LISTEN ? "--listen" : "--connect", id == OPTION_LISTEN, &end->addr);
        end->addr_given = true;
        break;
    case OPTION_IDENTITY:
        status = argument_identity(arguments, "--psk-identity", &end->identity);
        break;
    case OPTION_PSK:
        status = psk_from_argument(arguments->value, &end->psk);
        break;
    case OPTION_PSK_FILE:
        status = psk_from_file(arguments->value, &end->psk);
        break;
    case OPTION_CIPHER:
        status = take_cipher(arguments->value, &end->config.suites);
        break;
    case OPTION_COOKIE:
        status = take_cookie(arguments->value, &end->config.cookie_policy);
        break;
    case OPTION_EMS:
        end->config.require_extended_master_secret = 1;
        break;
    case OPTION_RENEGOTIATION:
        end->config.require_renegotiation_info = 1;
        break;
    case OPTION_PLAIN_HELLO:
        end->config.refuse_plain_hello = 1;
        break;
    case OPTION_FRAGMENT:
        status = take_fragment(arguments, &end->config.max_fragment_length);
        break;
    case OPTION_TIMEOUT:
        status = argument_seconds(arguments, "--timeout", 3600, &end->config.handshake_timeout_ms);
        break;
    case OPTION_IDLE:
        status = argument_seconds(arguments, "--idle-timeout", 1000000, &end->config.idle_timeout_ms);
        break;
    case OPTION_WAIT:
        status = argument_number(arguments, "--wait", 0, 3600000, &number);
        end->wait_ms = status == 0 ? (uint32_t)number : 0;
        break;
    case OPTION_CID:
        status = argument_connection_id(arguments, false, &end->config.connection_id);
        break;
    case OPTION_RELAYED:
        end->config.relayed = 1;
        break;
    case OPTION_EXPORTER:
        if (!IOTSEC_PAIRWISE) {
            return fail("UNSUPPORTED", "--exporter: this build exports no keying material");
        }
        end->exporter = true;
        break;
    case OPTION_REBIND:
        status = argument_number(arguments, "--rebind-after", 1, 1000000, &end->rebind_after);
        break;
    case OPTION_SESSIONS:
        status = argument_number(arguments, "--max-sessions", 1, 65534, &number);
        end->config.session_count = status == 0 ? (uint16_t)number : 0;
        break;
    default:
        break;
    }
    return status;
}

/* ARGUMENT_END if all is well, else the exit status to leave with. */
static int take_command_line(struct endpoint *end, const struct command *command, int count, char **list)
{
    struct arguments arguments;
    int status = 0;
    int id;

    arguments_start(&arguments, command, &end->common, count, list);
    end->config.suites = IOTSEC_SUITE_CCM ? 3 : 1;
    end->config.cookie_policy = IOTSEC_COOKIE_UNDER_LOAD;
    end->wait_ms = WAIT_DEFAULT_MS;
    while (status == 0 && (id = arguments_next(&arguments)) != ARGUMENT_END) {
        if (id == ARGUMENT_DONE) {
            return arguments.status;
        }
        if (id == ARGUMENT_POSITIONAL) {
            return fail_usage("'%s' is too much; --help shows what there is", arguments.value);
        }
        status = take_option(end, &arguments, id);
    }
    if (status != 0) {
        return status;
    }
    if (!end->addr_given) {
        return fail_usage("%s is missing", command == &server_command ? "--listen" : "--connect");
    }
    if (end->identity == NULL) {
        return fail_usage("--psk-identity is missing");
    }
    if (end->psk.len == 0) {
        return fail_usage("--psk-file is missing (or --psk, for experiments)");
    }
    return -1;
}

/* ---- Setting up ---- */

static int end_open(struct endpoint *end, const struct iotsec_dtls_callbacks *callbacks, uint16_t sessions,
                    uint16_t handshakes)
{
    enum iotsec_status status;
    int result;

    options_to_port(&end->common, &end->port_options);
    result = keylog_open(&end->common);
    if (result != 0) {
        return result;
    }
    end->config.callbacks = callbacks;
    end->config.hal = &end->port.hal;
    end->config.user = end;
    end->config.session_count = sessions;
    end->config.handshake_count = handshakes;
    end->config.link_payload = end->common.link_payload;
    end->config.tx_size = TX_BYTES;
    end->config.tx = calloc(1, TX_BYTES);
    end->config.sessions = calloc(sessions, sizeof end->config.sessions[0]);
    end->config.handshakes = calloc(handshakes, sizeof end->config.handshakes[0]);
    end->known = calloc(sessions, sizeof end->known[0]);
    if (end->config.tx == NULL || end->config.sessions == NULL || end->config.handshakes == NULL || end->known == NULL) {
        return fail("MEMORY", "out of memory: ask for fewer sessions");
    }
    result = port_open(&end->port, &end->port_options);
    if (result != 0) {
        return result;
    }
    status = iotsec_dtls_init(&end->dtls, &end->config);
    if (status != IOTSEC_OK) {
        port_close(&end->port);
        return fail_status(status, "starting DTLS");
    }
    return 0;
}

static void end_free(struct endpoint *end)
{
    keylog_close();
    psk_wipe(&end->psk);
    free(end->config.tx);
    free(end->config.sessions);
    free(end->config.handshakes);
    free(end->known);
    free(end);
}

static void end_close(struct endpoint *end)
{
    if (end->common.verbose) {
        out_stats("dtls", &end->dtls.stats);
        if (end->port.dropped != 0) {
            out_begin("lost");
            out_uint("datagrams", end->port.dropped);
            out_end();
        }
    }
    iotsec_dtls_wipe(&end->dtls);
    port_close(&end->port);
}

static void end_input(void *user, const struct iotsec_addr *from, const struct iotsec_addr *to, uint8_t *data, size_t len)
{
    struct endpoint *end = user;

    (void)to;
    end->from = *from;
    (void)iotsec_dtls_input(&end->dtls, from, data, len);
}

static void print_connected(const struct endpoint *end, const struct iotsec_dtls_info *info, bool connection_id)
{
    out_begin("connected");
    out_addr("addr", info->addr);
    out_word("cipher", info->suite == IOTSEC_SUITE_PSK_AES_128_CCM ? "CCM" : "CCM8");
    out_word("ems", info->extended_master_secret ? "yes" : "no");
    out_word("cid", connection_id ? "yes" : "no");
    if (info->relayed) {
        out_word("via", "relay");
    }
    out_end();
#if IOTSEC_PAIRWISE
    if (end->exporter && info->exported != NULL) {
        out_begin("exported");
        out_word("label", IOTSEC_EXPORTER_LABEL);
        out_octets("data", info->exported, IOTSEC_EXPORTED_BYTES);
        out_end();
    }
#else
    (void)end;
#endif
}

#if IOTSEC_PAIRWISE
/* Never asked, since the PSK is known beforehand. That it is there makes the engine export keying material. */
static enum iotsec_status no_psk(void *user, const struct iotsec_dtls_hello *hello, struct iotsec_dtls_psk *psk)
{
    (void)user;
    (void)hello;
    (void)psk;
    return IOTSEC_ERR_UNKNOWN_IDENTITY;
}
#endif

static void set_experiments(const struct endpoint *end, struct iotsec_dtls_callbacks *callbacks)
{
#if IOTSEC_KEYLOG
    callbacks->keylog = end->common.keylog != NULL ? keylog_write : NULL;
#endif
#if IOTSEC_PAIRWISE
    callbacks->client_psk = end->exporter ? no_psk : NULL;
#endif
    (void)end;
    (void)callbacks;
}

/* ---- The server ---- */

static enum iotsec_status server_psk(void *user, iotsec_dtls_handle handshake, const uint8_t *identity, size_t len,
                                     struct iotsec_dtls_psk *psk)
{
    struct endpoint *end = user;

    (void)handshake;
    if (len != strlen(end->identity) || memcmp(identity, end->identity, len) != 0) {
        out_begin("unknown-identity");
        out_bytes("id", identity, len);
        out_end();
        return IOTSEC_ERR_UNKNOWN_IDENTITY;
    }
    memcpy(psk->key, end->psk.key, end->psk.len);
    psk->len = end->psk.len;
    psk->peer = PEER_NUMBER;
    return IOTSEC_OK;
}

static void forget_known(struct endpoint *end, iotsec_dtls_handle session, struct iotsec_addr *addr)
{
    size_t i;

    memset(addr, 0, sizeof *addr);
    for (i = 0; session != 0 && i < end->config.session_count; i++) {
        if (end->known[i].session == session) {
            *addr = end->known[i].addr;
            end->known[i].session = 0;
            return;
        }
    }
}

static void server_established(void *user, const struct iotsec_dtls_info *info)
{
    struct endpoint *end = user;
    struct iotsec_addr addr;
    size_t i;

    forget_known(end, info->replaced, &addr);
    for (i = 0; i < end->config.session_count; i++) {
        if (end->known[i].session == 0) {
            end->known[i].session = info->session;
            end->known[i].addr = *info->addr;
            memset(&end->known[i].candidate, 0, sizeof end->known[i].candidate);
            break;
        }
    }
    print_connected(end, info, info->connection_id != 0);
}

static void server_failed(void *user, iotsec_dtls_handle handshake, const struct iotsec_addr *addr, uint32_t peer,
                          enum iotsec_status reason)
{
    (void)user;
    (void)handshake;
    (void)peer;
    out_begin("handshake-failed");
    out_addr("addr", addr);
    out_reason("reason", reason);
    out_end();
}

static void server_closed(void *user, iotsec_dtls_handle session, uint32_t peer, enum iotsec_status reason)
{
    struct endpoint *end = user;
    struct iotsec_addr addr;

    (void)peer;
    forget_known(end, session, &addr);
    out_begin("closed");
    out_addr("addr", &addr);
    out_reason("reason", reason);
    out_end();
}

/* A record from elsewhere that is the newest: its address is a candidate, and the next such record makes it the session's. */
static void follow_client(struct endpoint *end, iotsec_dtls_handle session)
{
    size_t i;

    for (i = 0; i < end->config.session_count && end->known[i].session != session; i++) {
    }
    if (i == end->config.session_count || !iotsec_dtls_moved(&end->dtls, session)) {
        return;
    }
    if (!iotsec_addr_equal(&end->known[i].candidate, &end->from)) {
        end->known[i].candidate = end->from;
        return;
    }
    if (iotsec_dtls_move(&end->dtls, session) == IOTSEC_OK) {
        end->known[i].addr = end->from;
        memset(&end->known[i].candidate, 0, sizeof end->known[i].candidate);
        out_begin("moved");
        out_addr("addr", &end->from);
        out_end();
    }
}

static void server_receive(void *user, iotsec_dtls_handle session, uint32_t peer, uint8_t type, uint8_t *data, size_t len)
{
    struct endpoint *end = user;
    struct iotsec_addr addr;
    enum iotsec_status status;

    (void)peer;
    follow_client(end, session);
    if (end->common.verbose && iotsec_dtls_peer(&end->dtls, session, &addr, NULL) == IOTSEC_OK) {
        out_begin("received");
        out_addr("addr", &addr);
        out_uint("bytes", len);
        out_end();
    }
    status = iotsec_dtls_send(&end->dtls, session, type, data, len);
    if (status != IOTSEC_OK) {
        warn(iotsec_status_name(status), "%zu bytes could not be echoed", len);
    }
}

static void server_forgeries(void *user, iotsec_dtls_handle session, uint32_t peer)
{
    struct endpoint *end = user;
    struct iotsec_addr addr;

    (void)peer;
    if (iotsec_dtls_peer(&end->dtls, session, &addr, NULL) == IOTSEC_OK) {
        out_begin("forgeries");
        out_addr("addr", &addr);
        out_end();
    }
}

static int server_run(struct endpoint *end)
{
    struct iotsec_dtls_callbacks callbacks;
    uint16_t sessions = end->config.session_count != 0 ? end->config.session_count : SESSIONS_DEFAULT;
    size_t i;
    int status;

    memset(&callbacks, 0, sizeof callbacks);
    callbacks.psk = server_psk;
    callbacks.established = server_established;
    callbacks.failed = server_failed;
    callbacks.closed = server_closed;
    callbacks.receive = server_receive;
    callbacks.forgeries = server_forgeries;
    set_experiments(end, &callbacks);
    end->port_options.listen = end->addr;
    status = end_open(end, &callbacks, sessions, sessions < HANDSHAKES_MAX ? sessions : HANDSHAKES_MAX);
    if (status != 0) {
        return status;
    }
    out_begin("listening");
    out_addr("addr", &end->port.socket.local);
    out_end();
    while ((port_wait(&end->port, iotsec_dtls_poll(&end->dtls), -1, end_input, end) & PORT_STOP) == 0) {
    }
    for (i = 0; i < end->config.session_count; i++) {
        if (end->known[i].session != 0) {
            (void)iotsec_dtls_close(&end->dtls, end->known[i].session, IOTSEC_ALERT_CLOSE_NOTIFY);
        }
    }
    (void)iotsec_dtls_flush(&end->dtls);
    end_close(end);
    return 0;
}

/* ---- The client ---- */

static void client_established(void *user, const struct iotsec_dtls_info *info)
{
    struct endpoint *end = user;

    end->connected = true;
    end->session = info->session;
    /* the question is here whether the server wants to see one: then it could be spoken to elsewhere as well */
    print_connected(end, info, end->config.connection_id != IOTSEC_CONNECTION_ID_OFF &&
                              iotsec_dtls_readdress(&end->dtls, info->session, info->addr) != IOTSEC_ERR_STATE);
}

static void client_failed(void *user, iotsec_dtls_handle handshake, const struct iotsec_addr *addr, uint32_t peer,
                          enum iotsec_status reason)
{
    struct endpoint *end = user;

    (void)handshake;
    (void)addr;
    (void)peer;
    end->ended = true;
    end->result = reason;
}

static void client_closed(void *user, iotsec_dtls_handle session, uint32_t peer, enum iotsec_status reason)
{
    struct endpoint *end = user;

    (void)session;
    (void)peer;
    end->ended = true;
    end->session = 0;
    /* a server may close when it has answered everything */
    end->result = reason == IOTSEC_ERR_CLOSED && end->input_over ? IOTSEC_OK : reason;
    out_begin("closed");
    out_reason("reason", reason);
    out_end();
}

static void client_receive(void *user, iotsec_dtls_handle session, uint32_t peer, uint8_t type, uint8_t *data, size_t len)
{
    struct endpoint *end = user;

    (void)session;
    (void)peer;
    (void)type;
    end->received += len;
    end->last_heard = port_now_ms();
    fwrite(data, 1, len, stdout);
    fflush(stdout);
}

/* Sends what stands in the line buffer, in pieces if the server takes small records only. */
static void client_send_line(struct endpoint *end)
{
    const uint8_t *next = (const uint8_t *)end->line;
    size_t left = end->line_len;
    size_t piece = left;

    while (left > 0 && end->session != 0) {
        enum iotsec_status status;

        if (piece > left) {
            piece = left;
        }
        status = iotsec_dtls_send(&end->dtls, end->session, IOTSEC_CONTENT_APPLICATION_DATA, next, piece);
        if (status == IOTSEC_ERR_TOO_LONG && piece > 1) {
            piece = (piece + 1) / 2;
            continue;
        }
        if (status != IOTSEC_OK) {
            end->ended = true;
            end->result = status;
            return;
        }
        next += piece;
        left -= piece;
        end->sent += piece;
    }
    /* one line, one datagram: the next one may be long in coming */
    (void)iotsec_dtls_flush(&end->dtls);
    end->line_len = 0;
    end->last_sent = port_now_ms();
    if (++end->messages == end->rebind_after) {
        if (port_rebind(&end->port, &end->old, end_input, end) != 0) {
            end->ended = true;
            end->result = IOTSEC_ERR_SEND;
            return;
        }
        out_begin("rebound");
        out_addr("addr", &end->port.socket.local);
        out_end();
    }
}

static void client_read(struct endpoint *end)
{
    char input[4096];
    ssize_t n = read(STDIN_FILENO, input, sizeof input);
    ssize_t i;

    if (n < 0 && (errno == EINTR || errno == EAGAIN)) {
        return;
    }
    for (i = 0; i < n; i++) {
        end->line[end->line_len++] = input[i];
        if (input[i] == '\n' || end->line_len == sizeof end->line) {
            client_send_line(end);
        }
    }
    if (n <= 0) {
        if (end->line_len > 0) {
            client_send_line(end);
        }
        end->input_over = true;
        end->last_heard = port_now_ms();
    }
}

/* Whether the client may read more, and when it wants to look again. */
static bool client_may_read(const struct endpoint *end, uint32_t *wait)
{
    uint32_t since;

    if (!end->connected || end->input_over) {
        return false;
    }
    since = port_now_ms() - end->last_sent;
    if (end->sent - end->received < OUTSTANDING_MAX || end->sent < end->received || since >= OUTSTANDING_WAIT_MS) {
        return true;
    }
    if (*wait > OUTSTANDING_WAIT_MS - since) {
        *wait = OUTSTANDING_WAIT_MS - since;
    }
    return false;
}

static bool client_is_done(const struct endpoint *end, uint32_t *wait)
{
    uint32_t since;

    if (end->ended) {
        return true;
    }
    if (!end->input_over) {
        return false;
    }
    since = port_now_ms() - end->last_heard;
    if (since >= end->wait_ms) {
        return true;
    }
    if (*wait > end->wait_ms - since) {
        *wait = end->wait_ms - since;
    }
    return false;
}

static int client_run(struct endpoint *end)
{
    struct iotsec_dtls_callbacks callbacks;
    enum iotsec_status started;
    char text[ADDR_TEXT_BYTES];
    int status;

    memset(&callbacks, 0, sizeof callbacks);
    callbacks.established = client_established;
    callbacks.failed = client_failed;
    callbacks.closed = client_closed;
    callbacks.receive = client_receive;
    set_experiments(end, &callbacks);
    end->port_options.peer = end->addr;
    out_to(stderr);
    if (end->config.handshake_timeout_ms == 0) {
        end->config.handshake_timeout_ms = HANDSHAKE_DEFAULT_MS;
    }
    status = end_open(end, &callbacks, 2, 1);
    if (status != 0) {
        return status;
    }
    started = iotsec_dtls_connect(&end->dtls, &end->addr, (const uint8_t *)end->identity, strlen(end->identity),
                                  end->psk.key, end->psk.len, PEER_NUMBER, NULL);
    if (started != IOTSEC_OK) {
        end->ended = true;
        end->result = started;
    }
    for (;;) {
        uint32_t wait = iotsec_dtls_poll(&end->dtls);
        unsigned events;
        bool reading;

        if (client_is_done(end, &wait)) {
            break;
        }
        reading = client_may_read(end, &wait);
        events = port_wait(&end->port, wait, reading ? STDIN_FILENO : -1, end_input, end);
        if ((events & PORT_STOP) != 0) {
            break;
        }
        if ((events & PORT_EXTRA) != 0) {
            client_read(end);
        }
    }
    if (end->session != 0) {
        (void)iotsec_dtls_close(&end->dtls, end->session, IOTSEC_ALERT_CLOSE_NOTIFY);
        (void)iotsec_dtls_flush(&end->dtls);
    }
    end_close(end);
    if (end->result == IOTSEC_OK) {
        return 0;
    }
    addr_format(&end->addr, text);
    return fail_status(end->result, text);
}

/* ---- Both ---- */

static int run_end(const struct command *command, int (*run)(struct endpoint *end), int count, char **list)
{
    struct endpoint *end = calloc(1, sizeof *end);
    int status;

    if (end == NULL) {
        return fail("MEMORY", "out of memory");
    }
    status = take_command_line(end, command, count, list);
    if (status < 0) {
        status = run(end);
    }
    end_free(end);
    return status;
}

int cmd_dtls(int count, char **list)
{
    if (count > 0 && strcmp(list[0], "server") == 0) {
        return run_end(&server_command, server_run, count - 1, list + 1);
    }
    if (count > 0 && strcmp(list[0], "client") == 0) {
        return run_end(&client_command, client_run, count - 1, list + 1);
    }
    if (count > 0 && (strcmp(list[0], "--help") == 0 || strcmp(list[0], "-h") == 0)) {
        command_help(&server_command);
        putchar('\n');
        command_help(&client_command);
        return 0;
    }
    return fail_usage("iotsec dtls server or iotsec dtls client; --help says more");
}
