/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages in pieces, and what may follow what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "handshake/engine.h"
#include "pair.h"

#if IOTSEC_DTLS_CLIENT && IOTSEC_DTLS_SERVER

static struct iotsec_dtls_handshake hs;
static uint8_t text[600];

static void fill_text(void)
{
    size_t i;

    memset(&hs, 0, sizeof hs);
    for (i = 0; i < sizeof text; i++) {
        text[i] = (uint8_t)(i * 37 + i / 256);
    }
}

static enum iotsec_status add(uint8_t type, uint16_t seq, uint32_t length, uint32_t offset, uint32_t piece)
{
    struct iotsec_hs_message m;
    uint8_t *exact = malloc(piece + 1); /* its own block, so that reading past its end is seen */
    enum iotsec_status status;

    memcpy(exact, text + offset, piece);
    m.type = type;
    m.seq = seq;
    m.length = length;
    m.offset = offset;
    m.piece = piece;
    m.body = exact;
    status = iotsec_reassembly_add(&hs, &m);
    free(exact);
    return status;
}

static void assert_whole(uint16_t seq, uint32_t length)
{
    struct iotsec_hs_message m;

    assert_true(iotsec_reassembly_whole(&hs, seq, &m));
    assert_int_equal(m.length, length);
    assert_int_equal(m.piece, length);
    assert_int_equal(m.offset, 0);
    assert_int_equal(m.seq, seq);
    assert_memory_equal(m.body, text, length);
}

static void assert_not_whole(uint16_t seq)
{
    struct iotsec_hs_message m;

    assert_false(iotsec_reassembly_whole(&hs, seq, &m));
}

static void joins_every_split(void **state)
{
    uint32_t a;
    uint32_t b;

    (void)state;
    fill_text();
    for (a = 0; a <= 20; a++) {
        for (b = a; b <= 20; b++) {
            static const uint8_t orders[6][3] = { { 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 }, { 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 } };
            uint32_t from[3] = { 0, a, b };
            uint32_t to[3] = { a, b, 20 };
            size_t o;

            for (o = 0; o < 6; o++) {
                size_t i;

                memset(&hs, 0, sizeof hs);
                for (i = 0; i < 3; i++) {
                    size_t k = orders[o][i];

                    assert_int_equal(add(2, 0, 20, from[k], to[k] - from[k]), IOTSEC_OK);
                    assert_int_equal(add(2, 0, 20, from[k], to[k] - from[k]), IOTSEC_OK); /* copies do no harm */
                }
                assert_whole(0, 20);
            }
        }
    }
}

static void joins_overlaps_by_seed(void **state)
{
    uint64_t random = 5;
    unsigned run;

    (void)state;
    for (run = 0; run < 3000; run++) {
        uint32_t length = (uint32_t)(wire_random(&random) % 445);
        bool have[600] = { false };
        uint32_t missing = length;

        fill_text();
        while (missing != 0) {
            uint32_t from = (uint32_t)(wire_random(&random) % length);
            uint32_t len = (uint32_t)(wire_random(&random) % (length - from + 1)) % 40;
            uint32_t i;

            assert_not_whole(3);
            assert_int_equal(add(12, 3, length, from, len), IOTSEC_OK);
            for (i = from; i < from + len; i++) {
                missing -= !have[i];
                have[i] = true;
            }
        }
        if (length == 0) {
            assert_int_equal(add(12, 3, 0, 0, 0), IOTSEC_OK);
        }
        assert_whole(3, length);
    }
}

static void keeps_messages_apart(void **state)
{
    (void)state;
    fill_text();
    assert_int_equal(add(14, 2, 0, 0, 0), IOTSEC_OK);
    assert_int_equal(add(12, 1, 100, 50, 50), IOTSEC_OK);
    assert_int_equal(add(2, 0, 90, 0, 45), IOTSEC_OK);
    assert_not_whole(0);
    assert_not_whole(1);
    assert_whole(2, 0);
    assert_int_equal(add(2, 0, 90, 45, 45), IOTSEC_OK);
    assert_whole(0, 90);
    iotsec_reassembly_forget(&hs, 0);
    assert_not_whole(0);
    assert_int_equal(add(12, 1, 100, 0, 50), IOTSEC_OK);
    assert_whole(1, 100);
    iotsec_reassembly_forget(&hs, 2);
    assert_whole(1, 100);
    iotsec_reassembly_forget(&hs, 7);
    iotsec_reassembly_clear(&hs);
    assert_not_whole(1);
}

/* A forged piece costs what came before it; the genuine message, repeated, is whole again. */
static void outlives_contradictions(void **state)
{
    static const struct {
        uint8_t type;
        uint32_t length;
        enum iotsec_status status;
        bool same;
    } rows[] = {
        /* 1 */ { 2, 50, IOTSEC_OK, true },
        /* 2 */ { 2, 51, IOTSEC_OK, false },
        /* 3 */ { 2, 49, IOTSEC_OK, false },
        /* 4 */ { 12, 50, IOTSEC_OK, false },
        /* 5 */ { 2, 0xFFFFFF, IOTSEC_ERR_FULL, false },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        fill_text();
        assert_int_equal(add(2, 0, 50, 0, 10), IOTSEC_OK);
        assert_int_equal(add(rows[i].type, 0, rows[i].length, 10, 10), rows[i].status);
        assert_int_equal(add(2, 0, 50, 10, 40), IOTSEC_OK);
        if (!rows[i].same) {
            assert_not_whole(0);
            assert_int_equal(add(2, 0, 50, 0, 10), IOTSEC_OK);
        }
        assert_whole(0, 50);
    }
}

static void keeps_within_its_memory(void **state)
{
    (void)state;
    if (IOTSEC_REASSEMBLY_BYTES != 512) {
        return; /* the numbers below are those of the default */
    }
    fill_text();
    /* 12 bytes of header, 444 of message and 56 of bitmap fill the buffer */
    assert_int_equal(add(2, 1, 445, 0, 1), IOTSEC_ERR_FULL);
    assert_int_equal(add(2, 1, 0xFFFFFF, 0, 1), IOTSEC_ERR_FULL);
    assert_int_equal(add(2, 1, 0x10001, 0, 1), IOTSEC_ERR_FULL);
    assert_int_equal(add(2, 1, 444, 0, 444), IOTSEC_OK);
    assert_whole(1, 444);
    /* what is farther out finds no room, what is nearer takes it */
    assert_int_equal(add(2, 2, 1, 0, 1), IOTSEC_ERR_FULL);
    assert_whole(1, 444);
    assert_int_equal(add(2, 0, 10, 0, 10), IOTSEC_OK);
    assert_whole(0, 10);
    assert_not_whole(1);
    /* the farthest goes first, and not more than have to */
    iotsec_reassembly_clear(&hs);
    assert_int_equal(add(2, 1, 100, 0, 100), IOTSEC_OK);
    assert_int_equal(add(2, 3, 110, 0, 110), IOTSEC_OK);
    assert_int_equal(add(2, 2, 120, 0, 120), IOTSEC_OK);
    assert_int_equal(add(2, 0, 130, 0, 130), IOTSEC_OK);
    assert_not_whole(3);
    assert_whole(0, 130);
    assert_whole(1, 100);
    assert_whole(2, 120);
    /* a record that is held takes its part of it */
    iotsec_reassembly_clear(&hs);
    hs.held_len = 96;
    memset(hs.reassembly + 512 - 96, 0xA5, 96);
    assert_int_equal(add(2, 0, 360, 0, 360), IOTSEC_ERR_FULL);
    assert_int_equal(add(2, 0, 359, 0, 359), IOTSEC_OK);
    assert_whole(0, 359);
    assert_int_equal(hs.reassembly[512 - 96], 0xA5);
}

/* ---- Through the endpoint ---- */

static struct wire wire;
static struct end client;
static struct end server;
static unsigned piece_size;
static unsigned order_kind;

/* Cuts each handshake message in the clear into pieces, each in a datagram of its own. */
static bool cut_messages(struct wire *w, struct datagram *d)
{
    size_t at = 0;
    struct datagram out[40];
    size_t count = 0;
    size_t i;

    while (at + 13 <= d->len) {
        size_t record = 13u + iotsec_get_u16(d->data + at + 11);
        const uint8_t *message = d->data + at + 13;
        size_t length;
        size_t offset = 0;

        if (d->data[at] != 22 || d->data[at + 4] != 0 || message[0] == IOTSEC_HS_HELLO_VERIFY_REQUEST) {
            assert_true(count < 40);
            out[count] = *d;
            memcpy(out[count].data, d->data + at, record);
            out[count++].len = record;
            at += record;
            continue;
        }
        length = iotsec_get_u16(message + 2);
        do {
            size_t piece = length - offset < piece_size ? length - offset : piece_size;
            uint8_t *to;

            assert_true(count < 40);
            out[count] = *d;
            to = out[count].data;
            memcpy(to, d->data + at, 13 + 12);
            iotsec_put_u16(to + 11, (uint16_t)(12 + piece));
            iotsec_put_u16(to + 13 + 7, (uint16_t)offset);
            iotsec_put_u16(to + 13 + 10, (uint16_t)piece);
            memcpy(to + 25, message + 12 + offset, piece);
            out[count++].len = 25 + piece;
            offset += piece;
        } while (offset < length);
        at += record;
    }
    for (i = 0; i < count; i++) {
        size_t k = order_kind == 0 ? i : order_kind == 1 ? count - 1 - i : (i * 7 + order_kind) % count;

        if (order_kind > 1 && count % 7 == 0) {
            k = i;
        }
        /* the server's fragments of header fields: offset and length have three bytes, the first is 0 */
        wire_inject(w, &out[k].from, &out[k].to, out[k].data, out[k].len);
        if (order_kind == 3) {
            wire_inject(w, &out[k].from, &out[k].to, out[k].data, out[k].len);
        }
    }
    return false;
}

static void handshakes_in_pieces(void **state)
{
    unsigned cookie;

    (void)state;
    for (order_kind = 0; order_kind < 4; order_kind++) {
        for (piece_size = 3; piece_size < 80; piece_size += piece_size < 10 ? 1 : 9) {
            for (cookie = 0; cookie < 2; cookie++) {
                wire_init(&wire, 8);
                end_init(&client, &wire, 1);
                end_init(&server, &wire, 2);
                wire.filter = cut_messages;
                server.config.cookie_policy = (uint8_t)cookie;
                end_start(&client);
                end_start(&server);
                pair_connect(&client, &server);
                wire_settle(&wire);
                if (cookie == 1 && piece_size < 58) { /* the hello with its cookie */
                    /* a fragment cannot be checked for its cookie, so nothing is kept */
                    assert_int_equal(server.dtls.handshakes_used, 0);
                    assert_true(server.dtls.stats.drops[IOTSEC_DROP_COOKIE] > 0);
                    continue;
                }
                if (client.established != 1 || server.established != 1) {
                    fail_msg("order %u, pieces of %u", order_kind, piece_size);
                }
            }
        }
    }
}

/* Several messages in one record, as some implementations send them. */
static bool join_messages(struct wire *w, struct datagram *d)
{
    (void)w;
    if (d->from.ip[15] == 2 && d->len == 99) {
        memmove(d->data + 74, d->data + 74 + 13, 12);
        d->data[12] += 12;
        d->len -= 13;
    }
    return true;
}

static void takes_several_in_one_record(void **state)
{
    (void)state;
    wire_init(&wire, 8);
    end_init(&client, &wire, 1);
    end_init(&server, &wire, 2);
    wire.filter = join_messages;
    end_start(&client);
    end_start(&server);
    pair_connect(&client, &server);
    wire_settle(&wire);
    assert_int_equal(client.established, 1);
    assert_int_equal(end_drops(&client), 0);
}

/* ---- What may follow what ---- */

static void follows_the_table(void **state)
{
    static const struct {
        uint8_t from;
        uint8_t message;
        uint8_t to;
    } allowed[] = {
        /* 1 */ { HS_CLIENT_SENT_HELLO, 3, HS_CLIENT_SENT_HELLO },
        /* 2 */ { HS_CLIENT_SENT_HELLO, 2, HS_CLIENT_GOT_HELLO },
        /* 3 */ { HS_CLIENT_GOT_HELLO, 12, HS_CLIENT_GOT_KEY_EXCHANGE },
        /* 4 */ { HS_CLIENT_GOT_HELLO, 14, HS_CLIENT_GOT_DONE },
        /* 5 */ { HS_CLIENT_GOT_KEY_EXCHANGE, 14, HS_CLIENT_GOT_DONE },
        /* 6 */ { HS_CLIENT_SENT_FINISHED, 20, HS_DONE },
        /* 7 */ { HS_SERVER_GATHERS_HELLO, 1, HS_SERVER_SENT_DONE },
        /* 8 */ { HS_SERVER_SENT_DONE, 16, HS_SERVER_ASKED_PSK },
        /* 9 */ { HS_SERVER_GOT_KEYS, 20, HS_DONE },
    };
    unsigned from;
    unsigned message;

    (void)state;
    for (from = 0; from <= HS_DONE; from++) {
        for (message = 0; message < 256; message++) {
            uint8_t want = HS_FREE;
            size_t i;

            for (i = 0; i < sizeof allowed / sizeof allowed[0]; i++) {
                if (allowed[i].from == from && allowed[i].message == message) {
                    want = allowed[i].to;
                }
            }
            if (iotsec_hs_next((uint8_t)from, (uint8_t)message) != want) {
                fail_msg("state %u, message %u", from, message);
            }
        }
    }
    for (message = 0; message < 256; message++) {
        assert_int_equal(iotsec_hs_known(true, (uint8_t)message), message == 1 || message == 16 || message == 20);
        assert_int_equal(iotsec_hs_known(false, (uint8_t)message),
                         message == 2 || message == 3 || message == 12 || message == 14 || message == 20);
    }
}

/* Every message in every state, well formed and not: nobody falls. */
static void survives_every_message_in_every_state(void **state)
{
    unsigned steps;
    unsigned type;
    unsigned seq;

    (void)state;
    for (steps = 0; steps < 6; steps++) {
        for (type = 0; type < 26; type++) {
            for (seq = 0; seq < 4; seq++) {
                uint8_t record[13 + 12 + 4] = { 22, 0xFE, 0xFD };
                unsigned len;
                unsigned i;

                pair_init(&wire, &client, &server, 31);
                pair_connect(&client, &server);
                for (i = 0; i < steps; i++) {
                    (void)wire_step(&wire);
                }
                for (len = 0; len < 5; len += 2) {
                    record[10] = 99;
                    record[12] = (uint8_t)(12 + len);
                    record[13] = (uint8_t)type;
                    record[16] = record[24] = (uint8_t)len;
                    record[18] = (uint8_t)seq;
                    record[26] = (uint8_t)(len == 4 ? 2 : 0);
                    wire_inject(&wire, &server.addr, &client.addr, record, 25 + len);
                    wire_inject(&wire, &client.addr, &server.addr, record, 25 + len);
                }
                wire_run(&wire, 12000);
                if (client.established != 1 || server.established < 1) {
                    fail_msg("after %u datagrams, type %u, seq %u: %s", steps, type, seq,
                             iotsec_status_name(client.failed_reason));
                }
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(joins_every_split),
        cmocka_unit_test(joins_overlaps_by_seed),
        cmocka_unit_test(keeps_messages_apart),
        cmocka_unit_test(outlives_contradictions),
        cmocka_unit_test(keeps_within_its_memory),
        cmocka_unit_test(handshakes_in_pieces),
        cmocka_unit_test(takes_several_in_one_record),
        cmocka_unit_test(follows_the_table),
        cmocka_unit_test(survives_every_message_in_every_state),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

int main(void)
{
    return 0; /* a handshake takes two */
}

#endif
