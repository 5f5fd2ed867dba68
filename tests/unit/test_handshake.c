/* SPDX-License-Identifier: BSD-3-Clause */
/* Handshakes that succeed: every policy, every suite, every length; bytes and hashes counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "handshake/engine.h"
#include "pair.h"

#if IOTSEC_DTLS_CLIENT && IOTSEC_DTLS_SERVER

static struct wire wire;
static struct end client;
static struct end server;

/* ---- Plugged-in extensions ---- */

static enum iotsec_status write_groups(void *user, const struct iotsec_dtls_hello *hello, uint8_t *out, size_t size, size_t *len)
{
    (void)user;
    *len = 0;
    if (!hello->is_server) {
        if (size < 2) {
            return IOTSEC_ERR_BUFFER;
        }
        out[0] = 0x12;
        out[1] = 0x34;
        *len = 2;
    }
    return IOTSEC_OK;
}

static enum iotsec_status parse_groups(void *user, const struct iotsec_dtls_hello *hello, const uint8_t *body, size_t len)
{
    (void)user;
    if (hello->is_server) {
        if (len != 2) {
            return IOTSEC_ERR_DECODE;
        }
        memcpy(hello->scratch, body, len);
    } else {
        hello->scratch[0] = 1;
    }
    return IOTSEC_OK;
}

static const struct iotsec_dtls_extension groups[] = { { IOTSEC_EXTENSION_GROUP_REQUEST, write_groups, parse_groups } };

/* ---- What goes over the wire ---- */

static size_t sizes[32];
static size_t size_count;

static bool note_sizes(struct wire *w, struct datagram *d)
{
    size_t at = 0;

    (void)w;
    while (at + 13 <= d->len) {
        at += 13u + iotsec_get_u16(d->data + at + 11);
    }
    assert_int_equal(at, d->len);
    sizes[size_count++] = d->len;
    return true;
}

static void prepare(void)
{
    wire_init(&wire, 1);
    end_init(&client, &wire, 1);
    end_init(&server, &wire, 2);
    size_count = 0;
}

/* Data both ways. */
static void assert_talk(void)
{
    const uint8_t up[] = "up";
    const uint8_t down[] = "down";

    client.received = server.received = 0;
    assert_int_equal(iotsec_dtls_send(&client.dtls, client.info.session, 23, up, sizeof up), IOTSEC_OK);
    assert_int_equal(iotsec_dtls_flush(&client.dtls), IOTSEC_OK);
    assert_int_equal(iotsec_dtls_send(&server.dtls, server.info.session, 23, down, sizeof down), IOTSEC_OK);
    assert_int_equal(iotsec_dtls_flush(&server.dtls), IOTSEC_OK);
    wire_settle(&wire);
    assert_int_equal(server.received, 1);
    assert_int_equal(client.received, 1);
    assert_memory_equal(server.data, up, sizeof up);
    assert_memory_equal(client.data, down, sizeof down);
}

static void completes(void **state)
{
    static const struct {
        uint8_t client_suites;
        uint8_t server_suites;
        uint8_t cookie;
        uint8_t require;
        uint8_t mfl;
        uint8_t link;
        uint16_t suite;
    } rows[] = {
        /*  1 */ { 0, 0, IOTSEC_COOKIE_OFF, 0, 0, 0, IOTSEC_SUITE_PSK_AES_128_CCM_8 },
        /*  2 */ { 0, 0, IOTSEC_COOKIE_ALWAYS, 0, 0, 0, IOTSEC_SUITE_PSK_AES_128_CCM_8 },
        /*  3 */ { 0, 0, IOTSEC_COOKIE_UNDER_LOAD, 0, 0, 0, IOTSEC_SUITE_PSK_AES_128_CCM_8 },
        /*  4 */ { 0, 0, IOTSEC_COOKIE_WHILE_BUSY, 0, 0, 0, IOTSEC_SUITE_PSK_AES_128_CCM_8 },
        /*  5 */ { 0, 0, IOTSEC_COOKIE_ALWAYS, 1, 0, 0, IOTSEC_SUITE_PSK_AES_128_CCM_8 },
        /*  6 */ { 0, 0, IOTSEC_COOKIE_OFF, 1, 0, 95, IOTSEC_SUITE_PSK_AES_128_CCM_8 },
        /*  7 */ { 0, 0, IOTSEC_COOKIE_OFF, 0, 0, 1, IOTSEC_SUITE_PSK_AES_128_CCM_8 },
#if IOTSEC_SUITE_CCM
        /*  8 */ { 1, 3, IOTSEC_COOKIE_OFF, 0, 0, 0, IOTSEC_SUITE_PSK_AES_128_CCM_8 },
        /*  9 */ { 3, 3, IOTSEC_COOKIE_OFF, 0, 0, 0, IOTSEC_SUITE_PSK_AES_128_CCM_8 },
        /* 10 */ { 3, 2, IOTSEC_COOKIE_OFF, 0, 0, 0, IOTSEC_SUITE_PSK_AES_128_CCM },
        /* 11 */ { 2, 3, IOTSEC_COOKIE_ALWAYS, 1, 0, 0, IOTSEC_SUITE_PSK_AES_128_CCM },
        /* 12 */ { 2, 2, IOTSEC_COOKIE_OFF, 1, 0, 95, IOTSEC_SUITE_PSK_AES_128_CCM },
#endif
#if IOTSEC_MAX_FRAGMENT_LENGTH
        /* 13 */ { 0, 0, IOTSEC_COOKIE_OFF, 0, 1, 0, IOTSEC_SUITE_PSK_AES_128_CCM_8 },
        /* 14 */ { 0, 0, IOTSEC_COOKIE_ALWAYS, 0, 4, 0, IOTSEC_SUITE_PSK_AES_128_CCM_8 },
#endif
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t big[600] = { 0 };

        prepare();
        client.config.suites = rows[i].client_suites;
        server.config.suites = rows[i].server_suites;
        server.config.cookie_policy = rows[i].cookie;
        client.config.require_extended_master_secret = server.config.require_extended_master_secret = rows[i].require;
        client.config.require_renegotiation_info = server.config.require_renegotiation_info = rows[i].require;
        client.config.max_fragment_length = rows[i].mfl;
        client.config.link_payload = server.config.link_payload = rows[i].link;
        end_start(&client);
        end_start(&server);
        pair_connect(&client, &server);
        wire_settle(&wire);
        if (client.established != 1 || server.established != 1) {
            fail_msg("row %u", (unsigned)i + 1);
        }
        assert_int_equal(client.info.suite, rows[i].suite);
        assert_int_equal(server.info.suite, rows[i].suite);
        assert_int_equal(client.info.extended_master_secret, 1);
        assert_int_equal(server.info.extended_master_secret, 1);
        assert_int_equal(client.info.is_server, 0);
        assert_int_equal(server.info.is_server, 1);
        assert_int_equal(client.info.peer, 1);
        assert_int_equal(server.info.peer, 7);
        assert_int_equal(end_drops(&client) + end_drops(&server), 0);
        assert_int_equal(client.failed + server.failed, 0);
        assert_int_equal(client.dtls.handshakes_used + server.dtls.handshakes_used, 0);
        assert_talk();
        assert_int_equal(iotsec_dtls_poll(&client.dtls), UINT32_MAX);
        assert_int_equal(iotsec_dtls_poll(&server.dtls), UINT32_MAX);
        /* both limit what they send */
        assert_int_equal(iotsec_dtls_send(&client.dtls, client.info.session, 23, big, 512), IOTSEC_OK);
        assert_int_equal(iotsec_dtls_send(&client.dtls, client.info.session, 23, big, 513),
                         rows[i].mfl == 1 ? IOTSEC_ERR_TOO_LONG : IOTSEC_OK);
        assert_int_equal(iotsec_dtls_send(&server.dtls, server.info.session, 23, big, 513),
                         rows[i].mfl == 1 ? IOTSEC_ERR_TOO_LONG : IOTSEC_OK);
        wire_clear(&wire);
    }
}

static void takes_every_length(void **state)
{
    uint8_t identity[IOTSEC_IDENTITY_MAX];
    uint8_t psk[IOTSEC_PSK_MAX];
    size_t identity_len;
    size_t psk_len;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof identity; i++) {
        identity[i] = (uint8_t)(i * 7);
    }
    for (i = 0; i < sizeof psk; i++) {
        psk[i] = (uint8_t)(i * 31 + 1);
    }
    for (identity_len = 0; identity_len <= sizeof identity + 1; identity_len++) {
        psk_len = 15 + identity_len % (sizeof psk - 13);
        prepare();
        client.config.tx_size = server.config.tx_size = 256;
        server.identity = identity;
        server.identity_len = identity_len;
        server.psk = psk;
        server.psk_len = psk_len;
        end_start(&client);
        end_start(&server);
        if (identity_len < 1 || identity_len > sizeof identity || psk_len < 16 || psk_len > sizeof psk) {
            assert_int_equal(iotsec_dtls_connect(&client.dtls, &server.addr, identity, identity_len, psk, psk_len, 1, NULL),
                             IOTSEC_ERR_ARGUMENT);
            continue;
        }
        assert_int_equal(iotsec_dtls_connect(&client.dtls, &server.addr, identity, identity_len, psk, psk_len, 1, NULL),
                         IOTSEC_OK);
        wire_settle(&wire);
        assert_int_equal(client.established, 1);
        assert_int_equal(server.established, 1);
        assert_talk();
    }
}

/* docs/protocol.md counts on these. */
static void has_exact_sizes(void **state)
{
    static const struct {
        uint8_t cookie;
        uint16_t link;
        size_t count;
        size_t sizes[8];
    } rows[] = {
        /* 1 */ { IOTSEC_COOKIE_OFF, 0, 4, { 81, 103, 109, 67 } },
        /* 2 */ { IOTSEC_COOKIE_ALWAYS, 0, 6, { 81, 36, 89, 103, 109, 67 } },
        /* 3 */ { IOTSEC_COOKIE_OFF, 95, 6, { 81, 78, 25, 56, 53, 67 } },
        /* 4 */ { IOTSEC_COOKIE_OFF, 109, 4, { 81, 103, 109, 67 } },
        /* 5 */ { IOTSEC_COOKIE_OFF, 108, 5, { 81, 103, 56, 53, 67 } },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t j;

        prepare();
        wire.filter = note_sizes;
        client.config.extensions = server.config.extensions = groups;
        client.config.extension_count = server.config.extension_count = 1;
        client.config.link_payload = server.config.link_payload = rows[i].link;
        server.config.cookie_policy = rows[i].cookie;
        end_start(&client);
        end_start(&server);
        pair_connect(&client, &server);
        wire_settle(&wire);
        assert_int_equal(size_count, rows[i].count);
        for (j = 0; j < rows[i].count; j++) {
            if (sizes[j] != rows[i].sizes[j]) {
                fail_msg("row %u datagram %u: %u", (unsigned)i + 1, (unsigned)j, (unsigned)sizes[j]);
            }
        }
        assert_int_equal(server.scratch[0], 0x12);
        assert_int_equal(server.scratch[1], 0x34);
        assert_int_equal(client.scratch[0], 1);
    }
}

static void hashes_no_more_than_needed(void **state)
{
    (void)state;
    prepare();
    client.config.extensions = server.config.extensions = groups;
    client.config.extension_count = server.config.extension_count = 1;
    end_start(&client);
    end_start(&server);
    pair_connect(&client, &server);
    wire_settle(&wire);
    assert_int_equal(client.established, 1);
    print_message("SHA-256 compressions: client %u, server %u\n", (unsigned)client.hashed, (unsigned)server.hashed);
    assert_true(client.hashed + server.hashed <= 82);
}

/* ---- Hellos of other implementations ---- */

/* Sends the client's hello again after the test has changed it. */
static struct iotsec_dtls_handshake *start_edited(void)
{
    pair_connect(&client, &server);
    wire_clear(&wire);
    return &client.handshakes[0];
}

static void set_length(struct iotsec_dtls_handshake *hs, size_t len)
{
    hs->flight_len = (uint16_t)len;
    iotsec_put_u16(hs->flight + 2, (uint16_t)(len - 12));
    iotsec_put_u16(hs->flight + 10, (uint16_t)(len - 12));
}

/* header 12, version 2, random 32, session_id 1, cookie 1: suites at 48, with their length 6 bytes; compression 2 */
#define AT_SUITES 50u
#define AT_EXTENSIONS 56u

static void takes_other_hellos(void **state)
{
    enum { PLAIN, PLAIN_NO_SCSV, NO_EMS, NO_SCSV, MANY_SUITES, SESSION_ID, RI_EXTENSION, EMPTY_EXTENSIONS };
    static const struct {
        int edit;
        uint8_t require_ems;
        uint8_t require_ri;
        uint8_t refuse_plain;
        int ok;
        int ems;
        enum iotsec_status reason;
    } rows[] = {
        /*  1 */ { PLAIN, 0, 0, 0, 1, 0, IOTSEC_OK },
        /*  2 */ { PLAIN, 0, 1, 0, 1, 0, IOTSEC_OK },
        /*  3 */ { PLAIN, 0, 0, 1, 0, 0, IOTSEC_ERR_NO_CIPHER },
        /*  4 */ { PLAIN, 1, 0, 0, 0, 0, IOTSEC_ERR_NO_CIPHER },
        /*  5 */ { PLAIN_NO_SCSV, 0, 0, 0, 1, 0, IOTSEC_OK },
        /*  6 */ { PLAIN_NO_SCSV, 0, 1, 0, 0, 0, IOTSEC_ERR_NO_CIPHER },
        /*  7 */ { NO_EMS, 0, 0, 0, 1, 0, IOTSEC_OK },
        /*  8 */ { NO_EMS, 1, 0, 0, 0, 0, IOTSEC_ERR_NO_CIPHER },
        /*  9 */ { NO_SCSV, 1, 0, 0, 1, 1, IOTSEC_OK },
        /* 10 */ { NO_SCSV, 1, 1, 0, 0, 1, IOTSEC_ERR_NO_CIPHER },
        /* 11 */ { MANY_SUITES, 1, 0, 0, 1, 1, IOTSEC_OK },
        /* 12 */ { SESSION_ID, 1, 1, 1, 1, 1, IOTSEC_OK },
        /* 13 */ { RI_EXTENSION, 1, 1, 1, 1, 1, IOTSEC_OK },
        /* 14 */ { EMPTY_EXTENSIONS, 0, 1, 1, 1, 0, IOTSEC_OK },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct iotsec_dtls_handshake *hs;
        uint8_t *hello;

        prepare();
        server.config.require_extended_master_secret = rows[i].require_ems;
        server.config.require_renegotiation_info = rows[i].require_ri;
        server.config.refuse_plain_hello = rows[i].refuse_plain;
        end_start(&client);
        end_start(&server);
        hs = start_edited();
        hello = hs->flight;
        switch (rows[i].edit) {
        case PLAIN:
            set_length(hs, AT_EXTENSIONS);
            break;
        case PLAIN_NO_SCSV:
            iotsec_put_u16(hello + AT_SUITES + 2, 0xC0FF);
            set_length(hs, AT_EXTENSIONS);
            break;
        case NO_EMS:
            iotsec_put_u16(hello + AT_EXTENSIONS + 2, 0x7717);
            break;
        case NO_SCSV:
            iotsec_put_u16(hello + AT_SUITES + 2, 0xC0FF);
            break;
        case MANY_SUITES: /* 40 unknown ones in front */
            memmove(hello + AT_SUITES + 80, hello + AT_SUITES, hs->flight_len - AT_SUITES);
            memset(hello + AT_SUITES, 0x13, 80);
            hello[AT_SUITES - 1] = 84;
            set_length(hs, hs->flight_len + 80u);
            break;
        case SESSION_ID:
            memmove(hello + 47 + 32, hello + 47, hs->flight_len - 47u);
            memset(hello + 47, 0x55, 32);
            hello[46] = 32;
            set_length(hs, hs->flight_len + 32u);
            break;
        case RI_EXTENSION: /* instead of the SCSV */
            iotsec_put_u16(hello + AT_SUITES + 2, 0xC0FF);
            memcpy(hello + hs->flight_len, "\xFF\x01\x00\x01\x00", 5);
            hello[AT_EXTENSIONS + 1] = 9;
            set_length(hs, hs->flight_len + 5u);
            break;
        default:
            hello[AT_EXTENSIONS + 1] = 0;
            set_length(hs, AT_EXTENSIONS + 2);
            break;
        }
        wire_run(&wire, 15000);
        if (client.established != (uint32_t)rows[i].ok || server.established != (uint32_t)rows[i].ok) {
            fail_msg("row %u: client %s", (unsigned)i + 1, iotsec_status_name(client.failed_reason));
        }
        if (rows[i].ok) {
            assert_int_equal(client.info.extended_master_secret, rows[i].ems);
            assert_int_equal(server.info.extended_master_secret, rows[i].ems);
            assert_talk();
        } else {
            assert_int_equal(client.failed, 1);
            assert_int_equal(client.failed_reason, rows[i].reason);
            assert_int_equal(server.dtls.handshakes_used, 0);
        }
    }
}

/* ---- What a server answers that our client refuses ---- */

static unsigned edit_kind;
static uint8_t last_alert; /* of the client */
enum { SH_NO_EMS = 1, SH_NO_RI, SH_VERSION, SH_SUITE, SH_COMPRESSION, SH_UNKNOWN_EXTENSION, SH_TRAILING, SH_SHORT, SH_TWICE };

/* Without extensions of ours: record 13, header 12, version 2, random 32, sid 1, suite 2, compression 1, length 2: RI at 65, EMS at 70 */
static bool edit_server_hello(struct wire *w, struct datagram *d)
{
    (void)w;
    if (d->from.ip[15] == 1 && d->data[0] == 21) {
        assert_int_equal(d->data[13], IOTSEC_ALERT_FATAL);
        last_alert = d->data[14];
    }
    if (d->from.ip[15] == 2 && d->data[0] == 22 && d->data[13] == 2) {
        assert_int_equal(iotsec_get_u16(d->data + 65), 0xFF01);
        assert_int_equal(iotsec_get_u16(d->data + 70), 0x0017);
        switch (edit_kind) {
        case SH_NO_EMS:
            d->data[64] = 5;
            d->data[12] -= 4;
            d->data[16] -= 4;
            d->data[24] -= 4;
            d->len = 70;
            break;
        case SH_NO_RI:
            memmove(d->data + 65, d->data + 70, 4);
            d->data[64] = 4;
            d->data[12] -= 5;
            d->data[16] -= 5;
            d->data[24] -= 5;
            d->len = 69;
            break;
        case SH_VERSION:
            d->data[26] = 0xFF;
            break;
        case SH_SUITE:
            d->data[61] = 0xA9;
            break;
        case SH_COMPRESSION:
            d->data[62] = 1;
            break;
        case SH_UNKNOWN_EXTENSION:
            d->data[71] = 0x16;
            break;
        case SH_TRAILING:
            d->data[64] = 5;
            break;
        case SH_SHORT:
            d->data[59] = 33;
            break;
        default:
            memcpy(d->data + 65, "\x00\x17\x00\x00\x00\x17\x00\x00", 8);
            d->data[64] = 8;
            d->data[12] -= 1;
            d->data[16] -= 1;
            d->data[24] -= 1;
            d->len = 73;
            break;
        }
    }
    return true;
}

static void names_what_a_server_has_wrong(void **state)
{
    static const struct {
        unsigned edit;
        enum iotsec_status reason;
        uint8_t alert;
    } rows[] = {
        /* 1 */ { SH_NO_EMS, IOTSEC_ERR_NO_EMS, IOTSEC_ALERT_HANDSHAKE_FAILURE },
        /* 2 */ { SH_NO_RI, IOTSEC_ERR_NO_RENEGOTIATION_INFO, IOTSEC_ALERT_HANDSHAKE_FAILURE },
        /* 3 */ { SH_VERSION, IOTSEC_ERR_VERSION, IOTSEC_ALERT_PROTOCOL_VERSION },
        /* 4 */ { SH_SUITE, IOTSEC_ERR_NO_CIPHER, IOTSEC_ALERT_HANDSHAKE_FAILURE },
        /* 5 */ { SH_COMPRESSION, IOTSEC_ERR_PROTOCOL, IOTSEC_ALERT_ILLEGAL_PARAMETER },
        /* 6 */ { SH_UNKNOWN_EXTENSION, IOTSEC_ERR_PROTOCOL, IOTSEC_ALERT_ILLEGAL_PARAMETER },
        /* 7 */ { SH_TRAILING, IOTSEC_ERR_PROTOCOL, IOTSEC_ALERT_DECODE_ERROR },
        /* 8 */ { SH_SHORT, IOTSEC_ERR_PROTOCOL, IOTSEC_ALERT_DECODE_ERROR },
        /* 9 */ { SH_TWICE, IOTSEC_ERR_PROTOCOL, IOTSEC_ALERT_DECODE_ERROR },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint32_t start;

        prepare();
        client.config.require_extended_master_secret = client.config.require_renegotiation_info = 1;
        wire.filter = edit_server_hello;
        edit_kind = rows[i].edit;
        end_start(&client);
        end_start(&server);
        pair_connect(&client, &server);
        start = wire.now;
        wire_run(&wire, 100);
        assert_int_equal(client.failed, 0);
        assert_int_equal(client.handshakes[0].slot.state, HS_CLIENT_SENT_HELLO);
        assert_int_equal(last_alert, rows[i].alert);
        while (client.failed == 0 && wire.now - start < 12000) {
            wire_run(&wire, 100);
        }
        if (client.failed_reason != rows[i].reason) {
            fail_msg("row %u: %s", (unsigned)i + 1, iotsec_status_name(client.failed_reason));
        }
        assert_true(wire.now - start < 10000);
        assert_int_equal(client.dtls.handshakes_used, 0);

        /* the same, but a genuine answer comes before the third round is over */
        prepare();
        client.config.require_extended_master_secret = client.config.require_renegotiation_info = 1;
        wire.filter = edit_server_hello;
        end_start(&client);
        end_start(&server);
        pair_connect(&client, &server);
        wire_run(&wire, 900);
        assert_int_equal(client.failed, 0);
        wire.filter = NULL;
        wire_run(&wire, 3000);
        assert_int_equal(client.established, 1);
        assert_int_equal(server.established, 1);
    }
}

static void names_what_a_server_refuses(void **state)
{
    (void)state;
    /* no suite in common */
#if IOTSEC_SUITE_CCM
    prepare();
    client.config.suites = 1;
    server.config.suites = 2;
    end_start(&client);
    end_start(&server);
    pair_connect(&client, &server);
    wire_run(&wire, 10000);
    assert_int_equal(client.failed, 1);
    assert_int_equal(client.failed_reason, IOTSEC_ERR_NO_CIPHER);
#endif
    /* nobody there */
    prepare();
    end_start(&client);
    end_start(&server);
    server.callbacks.psk = NULL;
    pair_connect(&client, &server);
    wire_run(&wire, IOTSEC_HANDSHAKE_TIMEOUT_MS - 1);
    assert_int_equal(client.failed, 0);
    wire_run(&wire, 1);
    assert_int_equal(client.failed, 1);
    assert_int_equal(client.failed_reason, IOTSEC_ERR_NO_ANSWER);
    assert_int_equal(end_drops(&server), server.dtls.stats.drops[IOTSEC_DROP_UNEXPECTED]);
    /* a hello of an older version */
    prepare();
    end_start(&client);
    end_start(&server);
    iotsec_put_u16(start_edited()->flight + 12, IOTSEC_VERSION_DTLS_1_0);
    wire_run(&wire, 10000);
    assert_int_equal(client.failed, 1);
    assert_int_equal(client.failed_reason, IOTSEC_ERR_VERSION);
    assert_true(server.dtls.stats.drops[IOTSEC_DROP_VERSION] > 0);
    /* and of a newer one, which is served */
    prepare();
    end_start(&client);
    end_start(&server);
    iotsec_put_u16(start_edited()->flight + 12, 0xFEFC);
    wire_run(&wire, 10000);
    assert_int_equal(client.established, 1);
}

/* ---- Key schedule ---- */

static size_t from_hex(uint8_t *out, size_t size, const char *hex)
{
    size_t len = strlen(hex) / 2;
    size_t i;

    assert_true(len <= size);
    for (i = 0; i < len; i++) {
        unsigned byte;

        assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
        out[i] = (uint8_t)byte;
    }
    return len;
}

static void derives_the_keys(void **state)
{
    static char line[4096];
    FILE *file = fopen(IOTSEC_VECTORS_DIR "/handshake_keys.csv", "r");
    unsigned rows = 0;

    (void)state;
    assert_non_null(file);
    assert_non_null(fgets(line, sizeof line, file));
    while (fgets(line, sizeof line, file) != NULL) {
        char *fields[11];
        char *at = strtok(line, ",\n");
        size_t i;
        int is_server;

        for (i = 0; i < 11; i++) {
            assert_non_null(at);
            fields[i] = at;
            at = strtok(NULL, ",\n");
        }
        rows++;
        if (strlen(fields[2]) / 2 > IOTSEC_PSK_MAX) {
            continue;
        }
        for (is_server = 0; is_server < 2; is_server++) {
            struct iotsec_dtls_handshake *hs;
            struct iotsec_dtls_path path;
            uint8_t psk[64];
            uint8_t transcript[512];
            uint8_t want[64];
            uint8_t finished[FINISHED_BYTES];
            size_t psk_len = from_hex(psk, sizeof psk, fields[2]);
            size_t transcript_len = from_hex(transcript, sizeof transcript, fields[5]);

            prepare();
            end_has_client_psk(&client);
            end_start(&client);
            iotsec_path_set(&path, &server.addr);
            hs = iotsec_handshake_new(&client.dtls, &path, is_server ? ROLE_SERVER : ROLE_CLIENT, false);
            assert_non_null(hs);
            if (atoi(fields[0])) {
                hs->slot.flags |= HS_EMS;
            }
            hs->peer = 1;
            hs->send_seq = (uint16_t)(is_server ? 77 : atoi(fields[1]));
            hs->receive_seq = (uint16_t)(is_server ? atoi(fields[1]) : 78);
            (void)from_hex(hs->client_random, 32, fields[3]);
            (void)from_hex(hs->u.open.server_random, 32, fields[4]);
            assert_int_equal(iotsec_transcript_add(&client.dtls, hs, transcript, transcript_len), IOTSEC_OK);
            assert_int_equal(iotsec_keys_derive(&client.dtls, hs, psk, psk_len, finished), IOTSEC_OK);

            (void)from_hex(want, 40, fields[7]);
            assert_memory_equal(is_server ? hs->u.keyed.read_key.key : hs->u.keyed.write_key.key, want, 16);
            assert_memory_equal(is_server ? hs->u.keyed.write_key.key : hs->u.keyed.read_key.key, want + 16, 16);
            assert_memory_equal(is_server ? hs->u.keyed.read_key.salt : hs->u.keyed.write_key.salt, want + 32, 4);
            assert_memory_equal(is_server ? hs->u.keyed.write_key.salt : hs->u.keyed.read_key.salt, want + 36, 4);
            (void)from_hex(want, 12, fields[is_server ? 8 : 9]);
            assert_memory_equal(hs->u.keyed.expected, want, 12);
            (void)from_hex(want, 12, fields[is_server ? 9 : 8]);
            assert_memory_equal(finished + 12, want, 12);
            assert_int_equal(iotsec_get_u16(finished + 4), is_server ? 77 : atoi(fields[1]));
#if IOTSEC_PAIRWISE
            (void)from_hex(want, IOTSEC_EXPORTED_BYTES, fields[10]);
            assert_memory_equal(hs->u.keyed.exported, want, IOTSEC_EXPORTED_BYTES);
#endif
#if IOTSEC_KEYLOG
            assert_int_equal(strlen(client.keylog), 14 + 64 + 1 + 96);
            assert_memory_equal(client.keylog, "CLIENT_RANDOM ", 14);
            assert_memory_equal(client.keylog + 14, fields[3], 64);
            assert_int_equal(client.keylog[78], ' ');
            assert_memory_equal(client.keylog + 79, fields[6], 96);
#endif
        }
    }
    (void)fclose(file);
    assert_int_equal(rows, 8);
}

/* ---- Setting up ---- */

static void refuses_a_bad_configuration(void **state)
{
    struct iotsec_dtls_config good;
    struct iotsec_hal hal;
    unsigned row;

    (void)state;
    prepare();
    good = client.config;
    for (row = 0; row < 20; row++) {
        enum iotsec_status want = IOTSEC_ERR_ARGUMENT;
        struct iotsec_dtls_config *c = &client.config;

        *c = good;
        hal = *good.hal;
        c->hal = &hal;
        client.random_fails = false;
        switch (row) {
        case 0: c->hal = NULL; break;
        case 1: hal.crypto = NULL; break;
        case 2: hal.random = NULL; break;
        case 3: hal.now_ms = NULL; break;
        case 4: hal.send = NULL; break;
        case 5: c->callbacks = NULL; break;
        case 6: c->sessions = NULL; break;
        case 7: c->handshakes = NULL; break;
        case 8: c->tx = NULL; break;
        case 9: c->tx_size = 255; break;
        case 10: c->session_count = 0; break;
        case 11: c->session_count = 65535; break;
        case 12: c->handshake_count = 0; break;
        case 13: c->extension_count = 9; c->extensions = groups; break;
        case 14: c->extension_count = 1; c->extensions = NULL; break;
        case 15: c->cookie_policy = 4; break;
        case 16: c->suites = 4; break;
        case 17: c->max_fragment_length = 5; break;
        case 18: client.random_fails = true; want = IOTSEC_ERR_RANDOM; break;
        default: want = IOTSEC_OK; break;
        }
        if (iotsec_dtls_init(&client.dtls, c) != want) {
            fail_msg("row %u", row);
        }
    }
    assert_int_equal(iotsec_dtls_init(NULL, &client.config), IOTSEC_ERR_ARGUMENT);
    assert_int_equal(iotsec_dtls_init(&client.dtls, NULL), IOTSEC_ERR_ARGUMENT);
    assert_int_equal(iotsec_dtls_init_checked(&client.dtls, &client.config, IOTSEC_CONFIG_ID ^ 1,
                                              sizeof(struct iotsec_dtls_session), sizeof(struct iotsec_dtls_handshake)),
                     IOTSEC_ERR_CONFIG);
    assert_int_equal(iotsec_dtls_init_checked(&client.dtls, &client.config, IOTSEC_CONFIG_ID,
                                              sizeof(struct iotsec_dtls_session) + 1, sizeof(struct iotsec_dtls_handshake)),
                     IOTSEC_ERR_CONFIG);
    assert_int_equal(iotsec_dtls_init_checked(&client.dtls, &client.config, IOTSEC_CONFIG_ID,
                                              sizeof(struct iotsec_dtls_session), sizeof(struct iotsec_dtls_handshake) + 1),
                     IOTSEC_ERR_CONFIG);
}

static void refuses_bad_calls(void **state)
{
    struct iotsec_addr multicast;
    uint8_t byte = 0;

    (void)state;
    pair_init(&wire, &client, &server, 3);
    multicast = server.addr;
    multicast.ip[0] = 0xFF;
    assert_int_equal(iotsec_dtls_connect(&client.dtls, &multicast, pair_identity, 15, pair_psk, 16, 1, NULL),
                     IOTSEC_ERR_ARGUMENT);
    client.random_fails = true;
    assert_int_equal(iotsec_dtls_connect(&client.dtls, &server.addr, pair_identity, 15, pair_psk, 16, 1, NULL),
                     IOTSEC_ERR_RANDOM);
    client.random_fails = false;
    assert_int_equal(client.dtls.handshakes_used, 0);
    client.send_fails = true; /* counts as a loss */
    assert_int_equal(iotsec_dtls_connect(&client.dtls, &server.addr, pair_identity, 15, pair_psk, 16, 1, NULL), IOTSEC_OK);
    assert_int_equal(iotsec_dtls_connect(&client.dtls, &server.addr, pair_identity, 15, pair_psk, 16, 1, NULL),
                     IOTSEC_ERR_EXISTS);
    client.send_fails = false;
    assert_int_equal(iotsec_dtls_input(&client.dtls, &server.addr, &byte, 0), IOTSEC_ERR_DECODE);
    assert_int_equal(iotsec_dtls_input(&client.dtls, NULL, &byte, 1), IOTSEC_ERR_ARGUMENT);
    assert_int_equal(iotsec_dtls_send(&client.dtls, 1, 23, &byte, 1), IOTSEC_ERR_NOT_FOUND);
    assert_int_equal(iotsec_dtls_send(&client.dtls, 1, 22, &byte, 1), IOTSEC_ERR_ARGUMENT);
    assert_int_equal(iotsec_dtls_close(&client.dtls, 0, 0), IOTSEC_ERR_NOT_FOUND);
    assert_int_equal(iotsec_dtls_cancel(&client.dtls, 0), IOTSEC_ERR_NOT_FOUND);
    assert_int_equal(iotsec_dtls_peer(&client.dtls, 0, NULL, NULL), IOTSEC_ERR_NOT_FOUND);
    assert_int_equal(iotsec_dtls_find(&client.dtls, &server.addr), 0);
    wire_run(&wire, 2000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(completes),
        cmocka_unit_test(takes_every_length),
        cmocka_unit_test(has_exact_sizes),
        cmocka_unit_test(hashes_no_more_than_needed),
        cmocka_unit_test(takes_other_hellos),
        cmocka_unit_test(names_what_a_server_has_wrong),
        cmocka_unit_test(names_what_a_server_refuses),
        cmocka_unit_test(derives_the_keys),
        cmocka_unit_test(refuses_a_bad_configuration),
        cmocka_unit_test(refuses_bad_calls),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

int main(void)
{
    return 0; /* a handshake takes two */
}

#endif
