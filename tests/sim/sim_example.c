/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The worked examples of docs/protocol.md, every byte: one join and one group message (section 11), and a session between two
 * devices (section 14). The test makes them anew and compares; `sim_example --print` and `--print-pair` write them to
 * standard output, for when the protocol was changed on purpose.
 *
 * What is printed beside the bytes is computed here from the document's formulas, not asked of the library's state.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "amikey/keymgmt.h"
#include "base/bytes.h"
#include "hal/crypto.h"
#include "scenario.h"

#define BEGIN_MARK "<!-- example begins -->\n"
#define END_MARK "<!-- example ends -->\n"
#define PAIR_BEGIN_MARK "<!-- pair example begins -->\n"
#define PAIR_END_MARK "<!-- pair example ends -->\n"
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
    struct iotsec_slice seed[] = {{NULL, 0}, {(const uint8_t *)label, sizeof label - 1}, {server_random, IOTSEC_RANDOM_BYTES},
                                  {client_random, IOTSEC_RANDOM_BYTES}};
    struct iotsec_hmac hmac;

    assert_int_equal(iotsec_hmac_key(hal, &hmac, master, sizeof master), IOTSEC_OK);
    assert_int_equal(iotsec_p_hash(hal, &hmac, seed, 4, block, 40), IOTSEC_OK);
    iotsec_hmac_done(hal, &hmac);
}

static const char *message_name(uint8_t type, const uint8_t *body)
{
    static const char *const km[] = {"?", "MASTER_KEY", "PARAMETERS", "PARAMETERS_EVICTION", "ACK", "STATUS",
                                     [IOTSEC_KM_SHARE_STATUS] = "SHARE_STATUS", [IOTSEC_KM_SHARE] = "SHARE"};

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
    case IOTSEC_CONTENT_APPLICATION_DATA:
        return "Application data";
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

/* ---- Two devices ---- */

#define DEGREE 2u

static void put_random(const uint8_t *data, const struct iotsec_record *record, const uint8_t *start, const uint8_t **out)
{
    *out = data + (record->header - start) + 13 + 12 + 2; /* after both headers and the version */
}

/* The plaintext of what manager and device say to each other of shares. */
static void say_shares(const struct net *net, size_t first, const struct node *m, const struct node *d)
{
    const uint8_t *client_random = NULL;
    const uint8_t *server_random = NULL;
    uint8_t block[40] = {0};
    size_t i;

    for (i = first; i < net->tap_count; i++) {
        const struct net_datagram *datagram = &net->tap[i];
        int from_client = datagram->sender == d;
        uint8_t copy[NET_DATAGRAM_MAX];
        uint8_t *at = copy;
        size_t left = datagram->len;

        if ((datagram->sender != d && datagram->sender != m) || iotsec_addr_is_multicast(&datagram->to)) {
            continue;
        }
        memcpy(copy, datagram->data, datagram->len);
        while (left != 0) {
            struct iotsec_record record;
            struct iotsec_record_key key;
            uint8_t *content;
            uint8_t type;
            size_t len;

            assert_int_equal(iotsec_record_parse(&record, &at, &left), IOTSEC_OK);
            type = record.epoch == 0 && record.type == IOTSEC_CONTENT_HANDSHAKE ? record.body[0] : 0;
            if (type == IOTSEC_HS_CLIENT_HELLO) {
                put_random(datagram->data, &record, copy, &client_random);
            } else if (type == IOTSEC_HS_SERVER_HELLO) {
                put_random(datagram->data, &record, copy, &server_random);
                derive_key_block(&d->hal, client_random, server_random, block);
            } else if (record.type == IOTSEC_CONTENT_MASTER_KEY_DATA || record.type == IOTSEC_CONTENT_SECURITY_PARAMETERS) {
                memcpy(key.key, block + (from_client ? 0 : 16), 16);
                memcpy(key.salt, block + (from_client ? 32 : 36), 4);
                assert_int_equal(iotsec_record_open(&d->hal, &key, IOTSEC_TAG_CCM_8_BYTES, &record, &content, &len), IOTSEC_OK);
                say("%s, %s:\n", from_client ? "device -> manager" : "manager -> device", message_name(record.type, content));
                say_hex(content, len, "    ");
            }
        }
    }
}

static void evaluate(const uint8_t *coefficients, const uint8_t point[16], uint8_t value[16])
{
    struct iotsec_polykey_sum sum;

    iotsec_polykey_sum_start(&sum, point);
    iotsec_polykey_sum_add(&sum, coefficients, DEGREE + 1);
    iotsec_polykey_sum_finish(&sum, value);
}

/* HMAC(K, label || generation || len || ID || len || ID) */
static void derive_pair_key(const struct iotsec_hal *hal, const uint8_t k[16], const char *label, const char *first,
                            const char *second, uint8_t out[32])
{
    uint8_t message[128];
    size_t len = strlen(label);
    struct iotsec_slice slice;
    struct iotsec_hmac hmac;

    memcpy(message, label, len);
    iotsec_put_u32(message + len, 1);
    len += 4;
    message[len++] = (uint8_t)strlen(first);
    memcpy(message + len, first, strlen(first));
    len += strlen(first);
    message[len++] = (uint8_t)strlen(second);
    memcpy(message + len, second, strlen(second));
    len += strlen(second);
    slice.data = message;
    slice.len = len;
    assert_int_equal(iotsec_hmac_key(hal, &hmac, k, 16), IOTSEC_OK);
    assert_int_equal(iotsec_hmac_compute(hal, &hmac, &slice, 1, out), IOTSEC_OK);
    iotsec_hmac_done(hal, &hmac);
}

/* The master secret, from the PSK and the hash of the messages up to ClientKeyExchange. */
static void check_master(const struct iotsec_hal *hal, const uint8_t psk[32], const uint8_t hash[32])
{
    static const char label[] = "extended master secret";
    struct iotsec_slice seed[] = {{NULL, 0}, {(const uint8_t *)label, sizeof label - 1}, {hash, 32}};
    uint8_t premaster[2 + 32 + 2 + 32] = {0, 32};
    uint8_t computed[IOTSEC_MASTER_SECRET_BYTES];
    struct iotsec_hmac hmac;

    premaster[35] = 32;
    memcpy(premaster + 36, psk, 32);
    assert_int_equal(iotsec_hmac_key(hal, &hmac, premaster, sizeof premaster), IOTSEC_OK);
    assert_int_equal(iotsec_p_hash(hal, &hmac, seed, 3, computed, sizeof computed), IOTSEC_OK);
    iotsec_hmac_done(hal, &hmac);
    assert_memory_equal(computed, master, sizeof master);
}

static void say_session(const struct net *net, size_t first, const struct node *client, const struct node *server,
                        const uint8_t psk[32], uint8_t exported[IOTSEC_EXPORTED_BYTES])
{
    static const char label[] = IOTSEC_EXPORTER_LABEL;
    const struct iotsec_hal *hal = &client->hal;
    const uint8_t *client_random = NULL;
    const uint8_t *server_random = NULL;
    struct iotsec_slice messages[8];
    struct iotsec_hmac hmac;
    uint8_t block[40] = {0};
    uint8_t hash[32];
    size_t count = 0;
    size_t i;

    for (i = first; i < net->tap_count; i++) {
        const struct net_datagram *datagram = &net->tap[i];
        int from_client = datagram->sender == client;
        uint8_t copy[NET_DATAGRAM_MAX];
        uint8_t *at = copy;
        size_t left = datagram->len;

        assert_true(datagram->sender == client || datagram->sender == server);
        memcpy(copy, datagram->data, datagram->len);
        say("%s%s, %zu bytes\n", i == first ? "" : "\n", from_client ? "switch -> lamp" : "lamp -> switch", datagram->len);
        while (left != 0) {
            struct iotsec_record record;
            uint8_t type;

            assert_int_equal(iotsec_record_parse(&record, &at, &left), IOTSEC_OK);
            type = record.epoch == 0 && record.type == IOTSEC_CONTENT_HANDSHAKE ? record.body[0] : 0;
            if (type == IOTSEC_HS_CLIENT_HELLO) {
                put_random(datagram->data, &record, copy, &client_random);
            } else if (type == IOTSEC_HS_SERVER_HELLO) {
                put_random(datagram->data, &record, copy, &server_random);
                derive_key_block(hal, client_random, server_random, block);
            }
            if (type != 0) {
                assert_true(count < sizeof messages / sizeof messages[0]);
                messages[count].data = datagram->data + (record.body - copy);
                messages[count++].len = record.length;
            }
            say_record(hal, &record, from_client, block);
            if (type == IOTSEC_HS_CLIENT_KEY_EXCHANGE) {
                struct iotsec_slice seed[] = {{NULL, 0}, {(const uint8_t *)label, sizeof label - 1},
                                              {client_random, IOTSEC_RANDOM_BYTES}, {server_random, IOTSEC_RANDOM_BYTES}};

                assert_int_equal(iotsec_sha256(hal, messages, count, hash), IOTSEC_OK);
                check_master(hal, psk, hash);
                say_secret("session_hash", hash, sizeof hash);
                say_secret("now the master secret is", master, sizeof master);
                say_secret("client_write_key", block, 16);
                say_secret("server_write_key", block + 16, 16);
                say_secret("client_write_IV", block + 32, 4);
                say_secret("server_write_IV", block + 36, 4);
                assert_int_equal(iotsec_hmac_key(hal, &hmac, master, sizeof master), IOTSEC_OK);
                assert_int_equal(iotsec_p_hash(hal, &hmac, seed, 4, exported, IOTSEC_EXPORTED_BYTES), IOTSEC_OK);
                iotsec_hmac_done(hal, &hmac);
            }
        }
    }
}

static void send_text(struct node *from, const struct node *to, const char *message)
{
    struct iotsec_peer peer;

    peer.identity = (const uint8_t *)to->name;
    peer.identity_len = strlen(to->name);
    peer.addr = to->addr;
    assert_int_equal(iotsec_send(&from->device, &peer, (const uint8_t *)message, strlen(message)), IOTSEC_OK);
    node_after(from);
    net_run_ms(from->net, 1000);
}

static void ignore(void *user, const struct iotsec_peer *peer, const uint8_t *data, size_t len)
{
    (void)user;
    (void)peer;
    (void)data;
    (void)len;
}

static void make_pair_example(void)
{
    struct net *net = scenario_begin(2);
    struct node *m = net_manager(net);
    struct node *nodes[2] = {net_device(net), net_device(net)};
    const struct iotsec_hal *hal = &nodes[0]->hal;
    const struct registry_state *state = &m->registry->durable;
    static const char *const names[2] = {"lamp-in-hallway", "switch-at-door"};
    struct iotsec_device_callbacks callbacks;
    uint8_t column[DEGREE + 1][16];
    uint8_t share[2][DEGREE + 1][16];
    uint8_t point[2][16];
    uint8_t k[2][16];
    uint8_t psk[32], tgk[32], key[16], theirs[16];
    uint8_t exported[IOTSEC_EXPORTED_BYTES];
    uint8_t label[4 + 1 + 4 + 16];
    struct iotsec_slice slices[] = {{NULL, 0}, {label, sizeof label}};
    struct iotsec_hmac hmac;
    size_t first;
    unsigned i;
    unsigned j;
    unsigned n;

    text_len = 0;
    node_boot(m);
    assert_int_equal(iotsec_manager_poly_renew(&m->manager, DEGREE, 0), IOTSEC_OK);
    node_after(m);
    callbacks = *nodes[0]->device_config.callbacks;
    callbacks.keylog = take_keylog;
    callbacks.receive = ignore;
    for (n = 0; n < 2; n++) {
        net_pairs(nodes[n], 2, DEGREE);
        strcpy(nodes[n]->name, names[n]);
        nodes[n]->device_config.identity_len = strlen(names[n]);
        nodes[n]->device_config.callbacks = &callbacks;
        net_enroll(m, nodes[n]);
        node_boot(nodes[n]);
        first = net->tap_count;
        node_join(nodes[n], m, 0);
        net_run_ms(net, 5000);
        assert_int_equal(nodes[n]->share_generation, 1);
    }

    say("The domain's polynomial has the degree %u and the generation 1. Its coefficients, a[i][j] = a[j][i]:\n\n```\n",
        DEGREE);
    for (i = 0; i <= DEGREE; i++) {
        for (j = 0; j <= i; j++) {
            char name[16];

            snprintf(name, sizeof name, "a[%u][%u]", i, j);
            say_secret(name, state->coefficients[REGISTRY_ROW(i) + j], 16);
        }
    }
    say("```\n\nThe points of two devices, and their shares:\n\n```\n");
    for (n = 0; n < 2; n++) {
        assert_int_equal(iotsec_polykey_point(hal, (const uint8_t *)names[n], strlen(names[n]), point[n]), IOTSEC_OK);
        say("%s\n", names[n]);
        say_secret("x", point[n], 16);
        for (j = 0; j <= DEGREE; j++) {
            char name[16];

            for (i = 0; i <= DEGREE; i++) {
                memcpy(column[i], state->coefficients[i > j ? REGISTRY_ROW(i) + j : REGISTRY_ROW(j) + i], 16);
            }
            evaluate(column[0], point[n], share[n][j]);
            assert_memory_equal(share[n][j], node_share(nodes[n], 1)->elements + 16u * j, 16);
            snprintf(name, sizeof name, "share[%u]", j);
            say_secret(name, share[n][j], 16);
        }
        say("%s", n == 0 ? "\n" : "");
    }
    say("```\n\nHow the switch gets its own, in its session with the manager (plaintext alone):\n\n```\n");
    say_shares(net, first, m, nodes[1]);
    evaluate(share[0][0], point[1], k[0]);
    evaluate(share[1][0], point[0], k[1]);
    assert_memory_equal(k[0], k[1], 16);
    derive_pair_key(hal, k[0], "iotsec pair psk", names[0], names[1], psk);
    derive_pair_key(hal, k[0], "iotsec pair tgk", names[0], names[1], tgk);
    say("```\n\nWhat both come to:\n\n```\n");
    say_secret("K", k[0], 16);
    say_secret("PSK", psk, 32);
    say_secret("TGK", tgk, 16);
    say("```\n\nThe switch says \"on\", and the lamp answers \"it is on\":\n\n```\n");
    first = net->tap_count;
    send_text(nodes[1], nodes[0], "on");
    send_text(nodes[0], nodes[1], "it is on");
    say_session(net, first, nodes[1], nodes[0], psk, exported);

    /* P(TGK, 2A D0 1C 64 || cs_id || CSB_ID || RAND) */
    iotsec_put_u32(label, IOTSEC_TEK_CONSTANT);
    label[4] = 2;
    memcpy(label + 5, exported, sizeof exported);
    assert_int_equal(iotsec_hmac_key(hal, &hmac, tgk, 16), IOTSEC_OK);
    assert_int_equal(iotsec_p_hash(hal, &hmac, slices, 2, key, sizeof key), IOTSEC_OK);
    iotsec_hmac_done(hal, &hmac);
    for (n = 0; n < 2; n++) {
        assert_int_equal(
            iotsec_peer_key(&nodes[n]->device, (const uint8_t *)names[1 - n], strlen(names[1 - n]), 2, theirs), IOTSEC_OK);
        assert_memory_equal(key, theirs, sizeof key);
    }
    say("```\n\nThe bundle of this session, and the key of the purpose 2:\n\n```\n");
    say_secret("CSB_ID", exported, 4);
    say_secret("RAND", exported + 4, 16);
    say_secret("key(2)", key, sizeof key);
    say("```\n");
    scenario_end(net);
}

/* ---- The document ---- */

static void check_section(const char *begin_mark, const char *end_mark, void (*make)(void), const char *how)
{
    static char page[262144];
    const char *begin;
    const char *end;
    FILE *file = fopen(IOTSEC_SOURCE_DIR "/docs/protocol.md", "r");
    size_t len;

    assert_non_null(file);
    len = fread(page, 1, sizeof page - 1, file);
    fclose(file);
    page[len] = '\0';
    begin = strstr(page, begin_mark);
    assert_non_null(begin);
    begin += strlen(begin_mark);
    end = strstr(begin, end_mark);
    assert_non_null(end);
    make();
    if ((size_t)(end - begin) != text_len || memcmp(begin, text, text_len) != 0) {
        fail_msg("docs/protocol.md, between its marks, differs from what `sim_example %s` writes", how);
    }
}

static void test_the_document_shows_what_happens(void **state)
{
    (void)state;
    check_section(BEGIN_MARK, END_MARK, make_example, "--print");
}

static void test_the_document_shows_a_pair(void **state)
{
    (void)state;
    check_section(PAIR_BEGIN_MARK, PAIR_END_MARK, make_pair_example, "--print-pair");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {scenario(test_the_document_shows_what_happens),
                                       scenario(test_the_document_shows_a_pair)};

    if (argc == 2 && (strcmp(argv[1], "--print") == 0 || strcmp(argv[1], "--print-pair") == 0)) {
        if (argv[1][7] == '\0') {
            make_example();
        } else {
            make_pair_example();
        }
        fputs(text, stdout);
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
