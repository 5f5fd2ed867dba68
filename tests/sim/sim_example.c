/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The worked example of docs/protocol.md, section 11: one join and one group message, every byte. The
 * test makes it anew and compares; `sim_example --print` writes it to standard output, for when the
 * protocol was changed on purpose.
 *
 * What is printed beside the bytes is computed here from the document's formulas, not asked of the library's state.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "hal/crypto.h"
#include "scenario.h"

#define BEGIN_MARK "<!-- example begins -->\n"
#define END_MARK "<!-- example ends -->\n"
#define GROUP 7u

static char text[65536];
static size_t text_len;
static uint8_t master[IOTSEC_MASTER_SECRET_BYTES];
static int master_known;

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *format, ...)
{
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(text + text_len, sizeof text - text_len, format, args);
    va_end(args);
    assert_true(n >= 0 && (size_t)n < sizeof text - text_len);
    text_len += (size_t)n;
}

static void say_hex(const uint8_t *data, size_t len, const char *indent)
{
    size_t i;

    for (i = 0; i < len; i++) {
        say("%s%02x", i % 32 == 0 ? (i == 0 ? indent : "\n    ") : (i % 4 == 0 ? " " : ""), data[i]);
    }
    say("\n");
}

static void say_secret(const char *name, const uint8_t *data, size_t len)
{
    say("%s:\n", name);
    say_hex(data, len, "    ");
}

/* "CLIENT_RANDOM <64 hex> <96 hex>" */
static void take_keylog(void *user, const char *line)
{
    size_t i;

    (void)user;
    assert_true(strlen(line) >= 14 + 64 + 1 + 96);
    for (i = 0; i < sizeof master; i++) {
        char digits[3] = {line[14 + 64 + 1 + 2 * i], line[14 + 64 + 2 + 2 * i], 0};

        master[i] = (uint8_t)strtoul(digits, NULL, 16);
    }
    master_known = 1;
}

/* The key block, from the master secret and the randoms that stand in the hellos. */
static void derive_key_block(const struct iotsec_hal *hal, const uint8_t *client_random, const uint8_t *server_random,
                             uint8_t block[40])
{
    static const char label[] = "key expansion";
    const struct iotsec_slice seed[] = {
        {(const uint8_t *)label, sizeof label - 1}, {server_random, IOTSEC_RANDOM_BYTES}, {client_random, IOTSEC_RANDOM_BYTES}};
    struct iotsec_hmac hmac;

    assert_int_equal(iotsec_hmac_key(hal, &hmac, master, sizeof master), IOTSEC_OK);
    assert_int_equal(iotsec_p_hash(hal, &hmac, seed, 3, block, 40), IOTSEC_OK);
    iotsec_hmac_done(hal, &hmac);
}

static const char *message_name(uint8_t type, const uint8_t *body)
{
    static const char *const km[] = {"?", "MASTER_KEY", "PARAMETERS", "PARAMETERS_EVICTION", "ACK", "STATUS"};

    switch (type) {
    case IOTSEC_CONTENT_CHANGE_CIPHER_SPEC:
        return "ChangeCipherSpec";
    case IOTSEC_CONTENT_HANDSHAKE:
        return body[0] == IOTSEC_HS_CLIENT_HELLO          ? "ClientHello"
               : body[0] == IOTSEC_HS_SERVER_HELLO        ? "ServerHello"
               : body[0] == IOTSEC_HS_SERVER_HELLO_DONE   ? "ServerHelloDone"
               : body[0] == IOTSEC_HS_CLIENT_KEY_EXCHANGE ? "ClientKeyExchange"
               : body[0] == IOTSEC_HS_FINISHED            ? "Finished"
                                                          : "?";
    case IOTSEC_CONTENT_MASTER_KEY_DATA:
    case IOTSEC_CONTENT_SECURITY_PARAMETERS:
        return body[0] < sizeof km / sizeof km[0] ? km[body[0]] : "?";
    default:
        return "?";
    }
}

static void say_record(const struct iotsec_hal *hal, struct iotsec_record *record, int from_client, const uint8_t block[40])
{
    struct iotsec_record_key key;
    uint8_t copy[256];
    uint8_t *content = record->body;
    size_t len = record->length;
    size_t whole = IOTSEC_RECORD_HEADER_BYTES + (size_t)record->length;

    assert_true(whole <= sizeof copy);
    memcpy(copy, record->header, whole);
    if (record->epoch == 1) {
        memcpy(key.key, block + (from_client ? 0 : 16), 16);
        memcpy(key.salt, block + (from_client ? 32 : 36), 4);
        assert_int_equal(iotsec_record_open(hal, &key, IOTSEC_TAG_CCM_8_BYTES, record, &content, &len), IOTSEC_OK);
    }
    say("%s, %zu bytes:\n", message_name(record->type, content), whole);
    say_hex(copy, whole, "    ");
    if (record->epoch == 1) {
        say("its plaintext:\n");
        say_hex(content, len, "    ");
    }
}

static void say_group_record(const struct iotsec_hal *hal, const uint8_t tek[16], uint16_t group_id, uint8_t *data, size_t size)
{
    struct iotsec_record record;
    uint8_t copy[256];
    uint8_t *content;
    size_t whole = size;
    size_t len;

    assert_true(size <= sizeof copy);
    memcpy(copy, data, size);
    assert_int_equal(iotsec_record_parse(&record, &data, &size), IOTSEC_OK);
    say_hex(copy, whole, "    ");
    say("its nonce:\n    %02x00%04x %04x%04x %08x\n", record.type, group_id, record.epoch,
        (unsigned)(record.sequence >> 32), (unsigned)record.sequence);
    assert_int_equal(iotsec_record_group_open(hal, tek, group_id, &record, &content, &len), IOTSEC_OK);
    if (len == 0) {
        say("its plaintext is empty.\n");
    } else {
        say("its plaintext, the text \"%.*s\":\n", (int)len, (const char *)content);
        say_hex(content, len, "    ");
    }
}

static void make_example(void)
{
    static const uint8_t psk[16] = {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07,
                                    0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f};
    struct net *net = scenario_begin(1);
    struct node *m = net_manager(net);
    struct node *d = net_device(net);
    const struct iotsec_hal *hal = &d->hal;
    struct iotsec_device_callbacks callbacks;
    const struct iotsec_registry_group *before;
    uint8_t tgk[16], rand_bytes[16], next[16], tek[16];
    uint8_t block[40] = {0};
    const uint8_t *client_random = NULL;
    const uint8_t *server_random = NULL;
    size_t i;

    text_len = 0;
    strcpy(d->name, "lamp-in-hallway");
    d->device_config.identity_len = strlen(d->name);
    memcpy(d->psk, psk, sizeof psk);
    node_boot(m);
    manager_group(m, GROUP);
    net_enroll(m, d);
    net_allow(m, d, GROUP);
    net_run_ms(net, 2000);
    before = registry_group(m->registry, GROUP);
    assert_non_null(before);
    memcpy(tgk, before->tgk, sizeof tgk);
    memcpy(rand_bytes, before->rand, sizeof rand_bytes);

    callbacks = *d->device_config.callbacks;
    callbacks.keylog = take_keylog;
    d->device_config.callbacks = &callbacks;
    node_boot(d);
    node_join(d, m, GROUP);
    net_run_ms(net, 5000);
    assert_member(d, GROUP);
    assert_true(master_known);
    assert_int_equal(iotsec_group_send(&d->device, GROUP, (const uint8_t *)"hello", 5), IOTSEC_OK);
    net_run_ms(net, 100);

    assert_int_equal(iotsec_csb_ratchet(hal, GROUP, 0x101, rand_bytes, tgk, next), IOTSEC_OK);
    assert_int_equal(iotsec_csb_derive_tek(hal, GROUP, next, rand_bytes, tek), IOTSEC_OK);

    say("The device `%s` has the PSK 000102030405060708090a0b0c0d0e0f. Group %u has key number 0x100, and\n\n", d->name, GROUP);
    say("```\n");
    say_secret("TGK(0x100)", tgk, sizeof tgk);
    say_secret("RAND", rand_bytes, sizeof rand_bytes);
    say("```\n\nThe join, without a cookie:\n\n```\n");
    for (i = 0; i < net->tap_count; i++) {
        const struct net_datagram *datagram = &net->tap[i];
        int from_client = datagram->sender == d;
        uint8_t copy[NET_DATAGRAM_MAX];
        uint8_t *at = copy;
        size_t left = datagram->len;

        memcpy(copy, datagram->data, datagram->len);
        if (iotsec_addr_is_multicast(&datagram->to)) {
            if (text[text_len - 1] == '\n' && server_random != NULL) {
                server_random = NULL; /* once */
                say("```\n\nThe keys of the group after the join, key number 0x101:\n\n```\n");
                say_secret("TGK(0x101)", next, sizeof next);
                say_secret("TEK(0x101)", tek, sizeof tek);
                say("```\n\nThe announcement and a message, from the device to %s:\n\n```\n", "the group's address and port");
            } else {
                say("\n");
            }
            say_group_record(hal, tek, GROUP, copy, left);
            continue;
        }
        say("%s%s, %zu bytes\n", i == 0 ? "" : "\n", from_client ? "device -> manager" : "manager -> device", datagram->len);
        while (left != 0) {
            struct iotsec_record record;

            assert_int_equal(iotsec_record_parse(&record, &at, &left), IOTSEC_OK);
            if (record.epoch == 0 && record.type == IOTSEC_CONTENT_HANDSHAKE) {
                /* after both headers and the version */
                const uint8_t *stay = datagram->data + (record.header - copy) + 13 + 12 + 2;

                if (record.body[0] == IOTSEC_HS_CLIENT_HELLO) {
                    client_random = stay;
                } else if (record.body[0] == IOTSEC_HS_SERVER_HELLO) {
                    server_random = stay;
                    derive_key_block(hal, client_random, server_random, block);
                }
            }
            say_record(hal, &record, from_client, block);
            if (record.epoch == 0 && record.type == IOTSEC_CONTENT_HANDSHAKE &&
                record.body[0] == IOTSEC_HS_CLIENT_KEY_EXCHANGE) {
                say_secret("now the master secret is", master, sizeof master);
                say_secret("client_write_key", block, 16);
                say_secret("server_write_key", block + 16, 16);
                say_secret("client_write_IV", block + 32, 4);
                say_secret("server_write_IV", block + 36, 4);
            }
        }
    }
    say("```\n");
    scenario_end(net);
}

static void test_the_document_shows_what_happens(void **state)
{
    static char page[262144];
    const char *begin;
    const char *end;
    FILE *file = fopen(IOTSEC_SOURCE_DIR "/docs/protocol.md", "r");
    size_t len;

    (void)state;
    assert_non_null(file);
    len = fread(page, 1, sizeof page - 1, file);
    fclose(file);
    page[len] = '\0';
    begin = strstr(page, BEGIN_MARK);
    assert_non_null(begin);
    begin += strlen(BEGIN_MARK);
    end = strstr(begin, END_MARK);
    assert_non_null(end);
    make_example();
    if ((size_t)(end - begin) != text_len || memcmp(begin, text, text_len) != 0) {
        fail_msg("docs/protocol.md, section 11, differs from what `sim_example --print` writes");
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {scenario(test_the_document_shows_what_happens)};

    if (argc == 2 && strcmp(argv[1], "--print") == 0) {
        make_example();
        fputs(text, stdout);
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
