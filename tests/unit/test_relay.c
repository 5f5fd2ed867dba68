/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The relay between neighbours and a manager that are made up: what leaves it is looked at byte by byte, and
 * time, random numbers and NVM do as the test says.
 */
#include "test_hal_support.h"

#include <iotsec/config.h>

#if IOTSEC_ROLE_RELAY

#include <stdbool.h>

#include <iotsec/relay.h>

#include "base/bytes.h"
#include "hal/crypto.h"

#define BUCKETS 64u
#define ENTRIES 4u
#define SLOT 5u
#define SLOT_BYTES 39u
#define CONTENT 60u
#define HEADER_AT 2u /* behind the array's head and a byte string's */
#define CONTENT_AT (HEADER_AT + IOTSEC_RELAY_HEADER_BYTES + 2u)

/* What left the relay last. */
struct wire {
    unsigned count;
    struct iotsec_addr to;
    uint16_t slot;
    uint8_t data[IOTSEC_RELAY_CONTENT_MAX + IOTSEC_RELAY_OVERHEAD_MAX];
    size_t len;
};

static struct test_hal t;
static struct iotsec_relay relay;
static struct iotsec_relay_config config;
static struct iotsec_relay_entry entries[ENTRIES];
static struct iotsec_relay_bucket buckets[BUCKETS];
static uint8_t tx[IOTSEC_RELAY_CONTENT_MAX + IOTSEC_RELAY_OVERHEAD_MAX];
static struct wire up;
static struct wire down;
static bool send_fails;
static uint8_t nvm[SLOT_BYTES];
static int nvm_len;
static unsigned nvm_writes;
static bool nvm_fails;
static bool crypto_fails;
static struct iotsec_crypto crypto;
static const struct iotsec_crypto *provider;

/* ---- The surroundings ---- */

static int record(struct wire *wire, uint16_t slot, const struct iotsec_addr *to, const uint8_t *data, size_t len)
{
    if (send_fails) {
        return -1;
    }
    assert_true(len <= sizeof wire->data);
    wire->count++;
    wire->slot = slot;
    wire->to = *to;
    memcpy(wire->data, data, len);
    wire->len = len;
    return 0;
}

static int send_up(void *user, uint16_t slot, const struct iotsec_addr *to, const uint8_t *data, size_t len)
{
    assert_ptr_equal(user, &relay);
    return record(&up, slot, to, data, len);
}

static int send_down(void *user, const struct iotsec_addr *to, const uint8_t *data, size_t len)
{
    assert_ptr_equal(user, &relay);
    return record(&down, 0, to, data, len);
}

static const struct iotsec_relay_callbacks callbacks = { send_up, send_down };

static int nvm_read(void *user, uint16_t slot, uint8_t *data, size_t size)
{
    (void)user;
    assert_int_equal(slot, SLOT);
    assert_true(size >= SLOT_BYTES);
    if (nvm_len > 0) {
        memcpy(data, nvm, (size_t)nvm_len);
    }
    return nvm_len;
}

static int nvm_write(void *user, uint16_t slot, const uint8_t *data, size_t len)
{
    (void)user;
    assert_int_equal(slot, SLOT);
    assert_int_equal(len, SLOT_BYTES);
    nvm_writes++;
    if (nvm_fails) {
        return -1;
    }
    memcpy(nvm, data, len);
    nvm_len = (int)len;
    return 0;
}

static int sha256_start(void *user, struct iotsec_sha256 *sha)
{
    return crypto_fails ? -1 : provider->sha256_start(user, sha);
}

static struct iotsec_addr manager_addr(void)
{
    struct iotsec_addr addr = { { 0xFD, 0x00, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1 }, 5684, 0 };

    return addr;
}

static struct iotsec_addr neighbour_addr(unsigned number)
{
    struct iotsec_addr addr = { { 0xFE, 0x80, 0, 0, 0, 0, 0, 0, 0x12, 0x34, 0x56, 0x78, 0x9A, 0xBC, 0, 0 }, 40000, 3 };

    addr.ip[14] = (uint8_t)(number >> 8);
    addr.ip[15] = (uint8_t)number;
    return addr;
}

/* Sets the surroundings up, but not the relay. */
static void prepare(uint8_t mode)
{
    struct test_provider providers[2];

    test_providers(providers);
    provider = providers[0].crypto;
    test_hal_init(&t, &crypto);
    crypto = *provider;
    crypto.sha256_start = sha256_start;
    t.hal.nvm_read = nvm_read;
    t.hal.nvm_write = nvm_write;
    t.now = 1000;
    t.next_random = 1;
    send_fails = nvm_fails = crypto_fails = false;
    nvm_len = 0;
    nvm_writes = 0;
    memset(&up, 0, sizeof up);
    memset(&down, 0, sizeof down);
    memset(&config, 0, sizeof config);
    /* nothing may rely on storage being clear */
    memset(&relay, 0xA5, sizeof relay);
    memset(entries, 0xA5, sizeof entries);
    memset(buckets, 0xA5, sizeof buckets);
    config.hal = &t.hal;
    config.callbacks = &callbacks;
    config.user = &relay;
    config.manager = manager_addr();
    config.buckets = buckets;
    config.bucket_count = BUCKETS;
    config.mode = mode;
    config.nvm_slot = SLOT;
    if (mode == IOTSEC_RELAY_STATEFUL) {
        config.entries = entries;
        config.entry_count = ENTRIES;
    } else {
        config.tx = tx;
        config.tx_size = sizeof tx;
    }
}

static void start(uint8_t mode)
{
    prepare(mode);
    assert_int_equal(iotsec_relay_init(&relay, &config), IOTSEC_OK);
    assert_int_equal(iotsec_relay_open(&relay, 0), IOTSEC_OK);
}

static void start_kept(void)
{
    prepare(IOTSEC_RELAY_STATELESS);
    config.keep_key = 1;
    assert_int_equal(iotsec_relay_init(&relay, &config), IOTSEC_OK);
    assert_int_equal(iotsec_relay_open(&relay, 0), IOTSEC_OK);
}

/* Closes, and waits until nothing of the last joins can be under way. */
static void settle(void)
{
    iotsec_relay_close(&relay);
    t.now += IOTSEC_RELAY_IDLE_MS;
}

static const uint8_t *content(void)
{
    static uint8_t bytes[IOTSEC_RELAY_CONTENT_MAX + 1];
    size_t i;

    for (i = 0; bytes[0] == 0 && i < sizeof bytes - 1; i++) {
        bytes[i + 1] = (uint8_t)(i * 7);
    }
    bytes[0] = IOTSEC_CONTENT_HANDSHAKE;
    return bytes;
}

static enum iotsec_status from(unsigned number)
{
    struct iotsec_addr addr = neighbour_addr(number);

    return iotsec_relay_from_neighbour(&relay, &addr, 0, content(), CONTENT);
}

static enum iotsec_status reply(uint16_t slot, const uint8_t *data, size_t len)
{
    struct iotsec_addr addr = manager_addr();

    return iotsec_relay_from_manager(&relay, slot, &addr, data, len);
}

/* Replies with what went up, which a manager may do in either mode. */
static enum iotsec_status echo(void)
{
    return reply(up.slot, up.data, up.len);
}

/* One drop for this reason and none for another since the last look. */
static void expect_drop(enum iotsec_relay_drop reason, enum iotsec_status expected, enum iotsec_status status)
{
    unsigned i;

    assert_int_equal(status, expected);
    for (i = 0; i < IOTSEC_RELAY_DROP_COUNT; i++) {
        if (relay.stats.drops[i] != (i == (unsigned)reason)) {
            fail_msg("%s: %u", iotsec_relay_drop_name((enum iotsec_relay_drop)i), relay.stats.drops[i]);
        }
    }
    memset(relay.stats.drops, 0, sizeof relay.stats.drops);
}

/* ---- Figure 2 ---- */

static void every_frame_is_treated_as_the_figure_says(void **state)
{
    enum { NORMAL = IOTSEC_RELAY_NORMAL, PASS = IOTSEC_RELAY_PASS, DROP = IOTSEC_RELAY_DROP };
    enum {
        NONE = -1,
        CLOSED = IOTSEC_RELAY_DROP_CLOSED,
        FAR = IOTSEC_RELAY_DROP_NOT_LINK_LOCAL,
        OPEN_AIR = IOTSEC_RELAY_DROP_NOT_SECURED
    };
    static const struct {
        int number, secured, link_local, join_port, joining, verdict, why;
    } rows[] = {
        { 1, 0, 0, 0, 0, DROP, OPEN_AIR },
        { 2, 0, 0, 0, 1, DROP, OPEN_AIR },
        { 3, 0, 0, 1, 0, DROP, CLOSED },
        { 4, 0, 0, 1, 1, DROP, FAR },
        { 5, 0, 1, 0, 0, DROP, OPEN_AIR },
        { 6, 0, 1, 0, 1, DROP, OPEN_AIR },
        { 7, 0, 1, 1, 0, DROP, CLOSED },
        { 8, 0, 1, 1, 1, PASS, NONE },
        { 9, 1, 0, 0, 0, NORMAL, NONE },
        { 10, 1, 0, 0, 1, NORMAL, NONE },
        { 11, 1, 0, 1, 0, DROP, CLOSED },
        { 12, 1, 0, 1, 1, DROP, FAR },
        { 13, 1, 1, 0, 0, NORMAL, NONE },
        { 14, 1, 1, 0, 1, NORMAL, NONE },
        { 15, 1, 1, 1, 0, DROP, CLOSED },
        { 16, 1, 1, 1, 1, PASS, NONE },
    };
    size_t i;

    (void)state;
    assert_int_equal(sizeof rows / sizeof rows[0], 16);
    for (i = 0; i < 16; i++) {
        enum iotsec_relay_drop why = IOTSEC_RELAY_DROP_COUNT;
        int verdict = (int)iotsec_relay_decide(rows[i].secured, rows[i].link_local, rows[i].join_port, rows[i].joining, &why);
        int named = why == IOTSEC_RELAY_DROP_COUNT ? -1 : (int)why;

        if (verdict != rows[i].verdict || (verdict == DROP && named != rows[i].why)) {
            fail_msg("row %d: verdict %d, why %d", rows[i].number, verdict, named);
        }
        assert_int_equal(iotsec_relay_decide(rows[i].secured, rows[i].link_local, rows[i].join_port, rows[i].joining, NULL),
                         rows[i].verdict);
    }
}

static void every_reason_has_a_name(void **state)
{
    static const char *const names[IOTSEC_RELAY_DROP_COUNT] = {
        "closed", "not_link_local", "not_secured", "form", "loop", "neighbour_rate", "rate", "full", "not_manager", "header",
        "no_entry", "send", "crypto"
    };
    int i;

    (void)state;
    for (i = 0; i < (int)IOTSEC_RELAY_DROP_COUNT; i++) {
        assert_string_equal(iotsec_relay_drop_name((enum iotsec_relay_drop)i), names[i]);
    }
    assert_string_equal(iotsec_relay_drop_name(IOTSEC_RELAY_DROP_COUNT), "unknown");
    assert_string_equal(iotsec_relay_drop_name((enum iotsec_relay_drop)15), "unknown");
}

/* ---- Set-up ---- */

static void refuses(enum iotsec_status expected)
{
    assert_int_equal(iotsec_relay_init(&relay, &config), expected);
}

static void init_checks_its_arguments(void **state)
{
    static const struct iotsec_relay_callbacks no_up = { NULL, send_down };
    static const struct iotsec_relay_callbacks no_down = { send_up, NULL };
    static const struct {
        uint8_t first, second;
    } refused[] = { { 0xFF, 0x02 }, { 0xFE, 0x80 }, { 0xFE, 0xBF } };
    size_t i;

    (void)state;
    prepare(IOTSEC_RELAY_STATELESS);
    assert_int_equal(iotsec_relay_init(NULL, &config), IOTSEC_ERR_ARGUMENT);
    assert_int_equal(iotsec_relay_init(&relay, NULL), IOTSEC_ERR_ARGUMENT);
    assert_int_equal(iotsec_relay_init_checked(&relay, &config, IOTSEC_CONFIG_ID ^ 1u, sizeof relay), IOTSEC_ERR_CONFIG);
    assert_int_equal(iotsec_relay_init_checked(&relay, &config, IOTSEC_CONFIG_ID, sizeof relay + 4), IOTSEC_ERR_CONFIG);

#define REFUSED(mode, change)                                                                                                  \
    do {                                                                                                                       \
        prepare(mode);                                                                                                         \
        change;                                                                                                                \
        refuses(IOTSEC_ERR_ARGUMENT);                                                                                          \
    } while (0)
    REFUSED(IOTSEC_RELAY_STATELESS, config.hal = NULL);
    REFUSED(IOTSEC_RELAY_STATELESS, t.hal.crypto = NULL);
    REFUSED(IOTSEC_RELAY_STATELESS, t.hal.random = NULL);
    REFUSED(IOTSEC_RELAY_STATELESS, t.hal.now_ms = NULL);
    REFUSED(IOTSEC_RELAY_STATELESS, config.callbacks = NULL);
    REFUSED(IOTSEC_RELAY_STATELESS, config.callbacks = &no_up);
    REFUSED(IOTSEC_RELAY_STATELESS, config.callbacks = &no_down);
    REFUSED(IOTSEC_RELAY_STATELESS, config.buckets = NULL);
    REFUSED(IOTSEC_RELAY_STATELESS, config.bucket_count = 0);
    REFUSED(IOTSEC_RELAY_STATELESS, config.bucket_count = 65535);
    REFUSED(IOTSEC_RELAY_STATELESS, config.mode = 2);
    REFUSED(IOTSEC_RELAY_STATELESS, config.tx = NULL);
    REFUSED(IOTSEC_RELAY_STATELESS, config.tx_size = IOTSEC_RELAY_OVERHEAD_MAX);
    REFUSED(IOTSEC_RELAY_STATELESS, config.manager.port = 0);
    REFUSED(IOTSEC_RELAY_STATEFUL, config.entries = NULL);
    REFUSED(IOTSEC_RELAY_STATEFUL, config.entry_count = 0);
    REFUSED(IOTSEC_RELAY_STATEFUL, config.entry_count = 1025);
    for (i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        REFUSED(IOTSEC_RELAY_STATEFUL, (config.manager.ip[0] = refused[i].first, config.manager.ip[1] = refused[i].second));
    }
#undef REFUSED

    /* what the other mode needs is not asked for */
    prepare(IOTSEC_RELAY_STATEFUL);
    t.hal.nvm_read = NULL;
    config.keep_key = 1;
    refuses(IOTSEC_OK);
    prepare(IOTSEC_RELAY_STATELESS);
    config.tx_size = IOTSEC_RELAY_OVERHEAD_MAX + 1;
    refuses(IOTSEC_OK);
    t.hal.nvm_read = NULL;
    refuses(IOTSEC_OK);
    config.keep_key = 1;
    refuses(IOTSEC_ERR_UNSUPPORTED);
    t.hal.nvm_read = nvm_read;
    t.hal.nvm_write = NULL;
    refuses(IOTSEC_ERR_UNSUPPORTED);
}

static void no_relay_starts_without_random_numbers(void **state)
{
    uint8_t mode;

    (void)state;
    for (mode = IOTSEC_RELAY_STATELESS; mode <= IOTSEC_RELAY_STATEFUL; mode++) {
        prepare(mode);
        t.random_fails = 1;
        refuses(IOTSEC_ERR_RANDOM);
    }
}

static void joining_is_closed_at_first(void **state)
{
    uint8_t mode;

    (void)state;
    for (mode = IOTSEC_RELAY_STATELESS; mode <= IOTSEC_RELAY_STATEFUL; mode++) {
        prepare(mode);
        refuses(IOTSEC_OK);
        assert_false(iotsec_relay_is_open(&relay));
        expect_drop(IOTSEC_RELAY_DROP_CLOSED, IOTSEC_ERR_UNEXPECTED, from(1));
        assert_int_equal(up.count, 0);
    }
}

/* ---- End to end ---- */

static void stateful_neighbours_have_a_port_each(void **state)
{
    struct iotsec_addr manager = manager_addr();
    struct iotsec_addr first = neighbour_addr(1);
    struct iotsec_addr second = neighbour_addr(1);
    uint16_t first_slot;
    uint8_t answer[3] = { IOTSEC_CONTENT_ALERT, 1, 2 };

    (void)state;
    start(IOTSEC_RELAY_STATEFUL);
    second.port++; /* two joiners behind one address */
    assert_int_equal(iotsec_relay_from_neighbour(&relay, &first, 0, content(), CONTENT), IOTSEC_OK);
    first_slot = up.slot;
    assert_true(iotsec_addr_equal(&up.to, &manager));
    assert_int_equal(up.len, CONTENT);
    assert_memory_equal(up.data, content(), CONTENT);
    assert_int_equal(iotsec_relay_from_neighbour(&relay, &second, 1, content(), CONTENT), IOTSEC_OK);
    assert_int_not_equal(up.slot, first_slot);
    assert_true(up.slot < ENTRIES);

    assert_int_equal(reply(first_slot, answer, sizeof answer), IOTSEC_OK);
    assert_true(iotsec_addr_equal(&down.to, &first));
    assert_int_equal(down.len, sizeof answer);
    assert_memory_equal(down.data, answer, sizeof answer);
    assert_int_equal(reply(up.slot, answer, sizeof answer), IOTSEC_OK);
    assert_true(iotsec_addr_equal(&down.to, &second));

    assert_int_equal(iotsec_relay_from_neighbour(&relay, &first, 0, content(), CONTENT), IOTSEC_OK);
    assert_int_equal(up.slot, first_slot);
    assert_int_equal(relay.stats.up, 3);
    assert_int_equal(relay.stats.down, 2);
}

static void stateless_wraps_as_the_wire_format_says(void **state)
{
    struct iotsec_addr manager = manager_addr();
    struct iotsec_addr joiner = neighbour_addr(0x0203);
    static const uint8_t head[2] = { 0x82, 0x55 };
    static const uint8_t fixed[13] = { 1, 0x12, 0x34, 0x56, 0x78, 0x9A, 0xBC, 2, 3, 0x9C, 0x40, 0, 3 };
    uint8_t key[16];
    uint8_t mac[32];
    uint8_t first[CONTENT_AT + CONTENT];
    struct iotsec_hmac hmac;
    struct iotsec_slice part = { fixed, sizeof fixed };
    unsigned i;

    (void)state;
    start(IOTSEC_RELAY_STATELESS);
    assert_int_equal(from(0x0203), IOTSEC_OK);
    assert_true(iotsec_addr_equal(&up.to, &manager));
    assert_int_equal(up.len, CONTENT_AT + CONTENT);
    assert_memory_equal(up.data, head, sizeof head);
    assert_memory_equal(up.data + HEADER_AT, fixed, sizeof fixed);
    assert_int_equal(up.data[CONTENT_AT - 2], 0x58);
    assert_int_equal(up.data[CONTENT_AT - 1], CONTENT);
    assert_memory_equal(up.data + CONTENT_AT, content(), CONTENT);

    /* random numbers count up: four of the seed, then the key */
    for (i = 0; i < 16; i++) {
        key[i] = (uint8_t)(5 + i);
    }
    assert_int_equal(iotsec_hmac_key(&t.hal, &hmac, key, 16), IOTSEC_OK);
    assert_int_equal(iotsec_hmac_compute(&t.hal, &hmac, &part, 1, mac), IOTSEC_OK);
    iotsec_hmac_done(&t.hal, &hmac);
    assert_memory_equal(up.data + HEADER_AT + 13, mac, 8);

    assert_int_equal(echo(), IOTSEC_OK);
    assert_true(iotsec_addr_equal(&down.to, &joiner));
    assert_int_equal(down.len, CONTENT);
    assert_memory_equal(down.data, content(), CONTENT);
    assert_int_equal(relay.stats.up, 1);
    assert_int_equal(relay.stats.down, 1);

    /* deterministic, and another port or interface is another joiner */
    memcpy(first, up.data, sizeof first);
    t.now += 100000;
    assert_int_equal(from(0x0203), IOTSEC_OK);
    assert_memory_equal(up.data, first, sizeof first);
    joiner.port = 0xFFFE;
    joiner.interface = 0xABCD;
    assert_int_equal(iotsec_relay_from_neighbour(&relay, &joiner, 1, content(), 1), IOTSEC_OK);
    assert_int_equal(echo(), IOTSEC_OK);
    assert_true(iotsec_addr_equal(&down.to, &joiner));
    assert_int_equal(down.len, 1);
}

static void lengths_are_kept_to(void **state)
{
    struct iotsec_addr joiner = neighbour_addr(1);
    static const size_t lengths[] = { 1, 23, 24, 255, 256, IOTSEC_RELAY_CONTENT_MAX };
    uint8_t mode;
    size_t i;

    (void)state;
    for (mode = IOTSEC_RELAY_STATELESS; mode <= IOTSEC_RELAY_STATEFUL; mode++) {
        start(mode);
        for (i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
            assert_int_equal(iotsec_relay_from_neighbour(&relay, &joiner, 0, content(), lengths[i]), IOTSEC_OK);
            assert_int_equal(echo(), IOTSEC_OK);
            assert_int_equal(down.len, lengths[i]);
            assert_memory_equal(down.data, content(), lengths[i]);
        }
        expect_drop(IOTSEC_RELAY_DROP_FORM, IOTSEC_ERR_DECODE,
                    iotsec_relay_from_neighbour(&relay, &joiner, 0, content(), IOTSEC_RELAY_CONTENT_MAX + 1));
        expect_drop(IOTSEC_RELAY_DROP_FORM, IOTSEC_ERR_DECODE, iotsec_relay_from_neighbour(&relay, &joiner, 0, NULL, 0));
    }
    /* what does not fit the storage is too long as well */
    start(IOTSEC_RELAY_STATELESS);
    config.tx_size = 100 + IOTSEC_RELAY_OVERHEAD_MAX;
    assert_int_equal(iotsec_relay_from_neighbour(&relay, &joiner, 0, content(), 100), IOTSEC_OK);
    expect_drop(IOTSEC_RELAY_DROP_FORM, IOTSEC_ERR_DECODE, iotsec_relay_from_neighbour(&relay, &joiner, 0, content(), 101));
}

/* ---- Drops ---- */

static void only_dtls_passes(void **state)
{
    struct iotsec_addr joiner = neighbour_addr(1);
    uint8_t mode;
    unsigned first;

    (void)state;
    for (mode = IOTSEC_RELAY_STATELESS; mode <= IOTSEC_RELAY_STATEFUL; mode++) {
        start(mode);
        assert_int_equal(from(1), IOTSEC_OK);
        for (first = 0; first < 256; first++) {
            uint8_t *content_down = up.data + (mode == IOTSEC_RELAY_STATELESS ? CONTENT_AT : 0);
            uint8_t datagram[2] = { (uint8_t)first, 0 };
            enum iotsec_status status = iotsec_relay_from_neighbour(&relay, &joiner, 0, datagram, sizeof datagram);

            t.now += 1000;
            if (first >= 20 && first <= 63) {
                assert_int_equal(status, IOTSEC_OK);
                assert_int_equal(from(1), IOTSEC_OK);
            } else if (first >= 0x80 && first <= 0x97) {
                expect_drop(IOTSEC_RELAY_DROP_LOOP, IOTSEC_ERR_UNEXPECTED, status);
            } else {
                expect_drop(IOTSEC_RELAY_DROP_FORM, IOTSEC_ERR_DECODE, status);
            }
            content_down[0] = (uint8_t)first;
            if (first >= 20 && first <= 63) {
                assert_int_equal(echo(), IOTSEC_OK);
            } else {
                expect_drop(IOTSEC_RELAY_DROP_FORM, IOTSEC_ERR_DECODE, echo());
            }
        }
    }
}

static void only_link_local_neighbours_are_relayed(void **state)
{
    static const struct {
        uint8_t at, value;
    } rows[] = { { 0, 0xFD }, { 1, 0x90 }, { 1, 0xC0 }, { 2, 1 }, { 5, 0x80 }, { 7, 1 } };
    uint8_t mode;
    size_t i;

    (void)state;
    for (mode = IOTSEC_RELAY_STATELESS; mode <= IOTSEC_RELAY_STATEFUL; mode++) {
        start(mode);
        for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            struct iotsec_addr joiner = neighbour_addr(1);

            joiner.ip[rows[i].at] = rows[i].value;
            expect_drop(IOTSEC_RELAY_DROP_NOT_LINK_LOCAL, IOTSEC_ERR_UNEXPECTED,
                        iotsec_relay_from_neighbour(&relay, &joiner, 1, content(), CONTENT));
        }
        assert_int_equal(up.count, 0);
    }
}

static void what_goes_round_is_dropped(void **state)
{
    struct iotsec_addr manager = manager_addr();

    (void)state;
    start(IOTSEC_RELAY_STATELESS);
    assert_int_equal(from(1), IOTSEC_OK);
    {
        struct iotsec_addr other = neighbour_addr(2);

        expect_drop(IOTSEC_RELAY_DROP_LOOP, IOTSEC_ERR_UNEXPECTED,
                    iotsec_relay_from_neighbour(&relay, &other, 0, up.data, up.len));
    }
    expect_drop(IOTSEC_RELAY_DROP_LOOP, IOTSEC_ERR_UNEXPECTED,
                iotsec_relay_from_neighbour(&relay, &manager, 1, content(), CONTENT));
    manager.port++; /* from whichever of its ports */
    expect_drop(IOTSEC_RELAY_DROP_LOOP, IOTSEC_ERR_UNEXPECTED,
                iotsec_relay_from_neighbour(&relay, &manager, 1, content(), CONTENT));
    iotsec_relay_close(&relay);
    expect_drop(IOTSEC_RELAY_DROP_CLOSED, IOTSEC_ERR_UNEXPECTED,
                iotsec_relay_from_neighbour(&relay, &manager, 1, content(), CONTENT));
}

static void only_the_manager_answers(void **state)
{
    uint8_t mode;
    unsigned i;

    (void)state;
    for (mode = IOTSEC_RELAY_STATELESS; mode <= IOTSEC_RELAY_STATEFUL; mode++) {
        start(mode);
        assert_int_equal(from(1), IOTSEC_OK);
        for (i = 0; i < 3; i++) {
            struct iotsec_addr other = manager_addr();

            if (i == 0) {
                other.ip[15]++;
            } else if (i == 1) {
                other.port++;
            } else {
                other.interface++;
            }
            expect_drop(IOTSEC_RELAY_DROP_NOT_MANAGER, IOTSEC_ERR_UNEXPECTED,
                        iotsec_relay_from_manager(&relay, up.slot, &other, up.data, up.len));
        }
        assert_int_equal(down.count, 0);
        assert_int_equal(echo(), IOTSEC_OK);
    }
}

static void a_port_that_cannot_send_is_counted(void **state)
{
    uint8_t mode;

    (void)state;
    for (mode = IOTSEC_RELAY_STATELESS; mode <= IOTSEC_RELAY_STATEFUL; mode++) {
        start(mode);
        assert_int_equal(from(1), IOTSEC_OK);
        send_fails = true;
        expect_drop(IOTSEC_RELAY_DROP_SEND, IOTSEC_ERR_SEND, from(1));
        expect_drop(IOTSEC_RELAY_DROP_SEND, IOTSEC_ERR_SEND, echo());
        assert_int_equal(relay.stats.up, 1);
        assert_int_equal(relay.stats.down, 0);
    }
}

static void nothing_leaves_without_a_mac(void **state)
{
    (void)state;
    start(IOTSEC_RELAY_STATELESS);
    assert_int_equal(from(1), IOTSEC_OK);
    crypto_fails = true;
    expect_drop(IOTSEC_RELAY_DROP_CRYPTO, IOTSEC_ERR_CRYPTO, from(1));
    expect_drop(IOTSEC_RELAY_DROP_CRYPTO, IOTSEC_ERR_CRYPTO, echo());
    assert_int_equal(up.count, 1);
    assert_int_equal(down.count, 0);
}

static void counters_saturate(void **state)
{
    (void)state;
    start(IOTSEC_RELAY_STATEFUL);
    relay.stats.up = relay.stats.down = UINT32_MAX - 1;
    relay.stats.drops[IOTSEC_RELAY_DROP_NO_ENTRY] = UINT16_MAX - 1;
    assert_int_equal(from(1), IOTSEC_OK);
    assert_int_equal(from(1), IOTSEC_OK);
    assert_int_equal(echo(), IOTSEC_OK);
    assert_int_equal(echo(), IOTSEC_OK);
    assert_int_equal(reply(3, content(), CONTENT), IOTSEC_ERR_NOT_FOUND);
    assert_int_equal(reply(3, content(), CONTENT), IOTSEC_ERR_NOT_FOUND);
    assert_true(relay.stats.up == UINT32_MAX && relay.stats.down == UINT32_MAX);
    assert_int_equal(relay.stats.drops[IOTSEC_RELAY_DROP_NO_ENTRY], UINT16_MAX);
}

/* ---- The header ---- */

static void a_changed_header_is_refused(void **state)
{
    unsigned bit;

    (void)state;
    start(IOTSEC_RELAY_STATELESS);
    assert_int_equal(from(1), IOTSEC_OK);
    for (bit = 0; bit < 8 * IOTSEC_RELAY_HEADER_BYTES; bit++) {
        up.data[HEADER_AT + bit / 8] ^= (uint8_t)(1u << bit % 8);
        expect_drop(IOTSEC_RELAY_DROP_HEADER, IOTSEC_ERR_AUTH, echo());
        up.data[HEADER_AT + bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(down.count, 0);
    assert_int_equal(echo(), IOTSEC_OK);
}

static void a_header_of_another_form_is_refused(void **state)
{
    static const uint8_t none[] = { 0x82, 0x40, 0x41, 22 };
    static const uint8_t plain[] = { 22, 0xFE, 0xFD };
    static const uint8_t three[] = { 0x83, 0x40, 0x41, 22, 0x40 };
    uint8_t shorter[CONTENT_AT + CONTENT];
    uint8_t longer[CONTENT_AT + CONTENT + 1];

    (void)state;
    start(IOTSEC_RELAY_STATELESS);
    assert_int_equal(from(1), IOTSEC_OK);
    expect_drop(IOTSEC_RELAY_DROP_HEADER, IOTSEC_ERR_AUTH, reply(0, none, sizeof none));
    expect_drop(IOTSEC_RELAY_DROP_FORM, IOTSEC_ERR_DECODE, reply(0, plain, sizeof plain));
    expect_drop(IOTSEC_RELAY_DROP_FORM, IOTSEC_ERR_DECODE, reply(0, three, sizeof three));
    expect_drop(IOTSEC_RELAY_DROP_FORM, IOTSEC_ERR_DECODE, reply(0, up.data, up.len - 1));
    expect_drop(IOTSEC_RELAY_DROP_FORM, IOTSEC_ERR_DECODE, reply(0, NULL, 0));
    /* a byte less, a byte more, of the same header */
    memcpy(shorter, up.data, CONTENT_AT - 3);
    memcpy(shorter + CONTENT_AT - 3, up.data + CONTENT_AT - 2, CONTENT + 2);
    shorter[1]--;
    expect_drop(IOTSEC_RELAY_DROP_HEADER, IOTSEC_ERR_AUTH, reply(0, shorter, up.len - 1));
    memcpy(longer, up.data, CONTENT_AT - 2);
    longer[CONTENT_AT - 2] = 0;
    memcpy(longer + CONTENT_AT - 1, up.data + CONTENT_AT - 2, CONTENT + 2);
    longer[1]++;
    expect_drop(IOTSEC_RELAY_DROP_HEADER, IOTSEC_ERR_AUTH, reply(0, longer, up.len + 1));
    assert_int_equal(down.count, 0);
}

static void another_relays_header_is_refused(void **state)
{
    struct wire others;

    (void)state;
    start(IOTSEC_RELAY_STATELESS);
    assert_int_equal(from(1), IOTSEC_OK);
    others = up;
    t.next_random = 100; /* the same joiner and key ID at a relay with another key */
    assert_int_equal(iotsec_relay_init(&relay, &config), IOTSEC_OK);
    assert_int_equal(iotsec_relay_open(&relay, 0), IOTSEC_OK);
    assert_int_equal(from(1), IOTSEC_OK);
    assert_memory_equal(up.data + HEADER_AT, others.data + HEADER_AT, 13);
    expect_drop(IOTSEC_RELAY_DROP_HEADER, IOTSEC_ERR_AUTH, reply(0, others.data, others.len));
}

static void rotation_keeps_one_key(void **state)
{
    struct wire first;
    struct wire second;

    (void)state;
    start(IOTSEC_RELAY_STATELESS);
    assert_int_equal(from(1), IOTSEC_OK);
    first = up;
    settle();
    assert_int_equal(iotsec_relay_rotate(&relay), IOTSEC_OK);
    assert_int_equal(iotsec_relay_open(&relay, 0), IOTSEC_OK);
    assert_int_equal(from(1), IOTSEC_OK);
    second = up;
    assert_int_equal(second.data[HEADER_AT], first.data[HEADER_AT] + 1);
    assert_memory_not_equal(second.data + HEADER_AT + 13, first.data + HEADER_AT + 13, 8);
    assert_int_equal(reply(0, first.data, first.len), IOTSEC_OK);
    assert_int_equal(reply(0, second.data, second.len), IOTSEC_OK);
    /* the old key under the new one's ID, and the other way round */
    first.data[HEADER_AT]++;
    expect_drop(IOTSEC_RELAY_DROP_HEADER, IOTSEC_ERR_AUTH, reply(0, first.data, first.len));
    first.data[HEADER_AT]--;
    settle();
    assert_int_equal(iotsec_relay_rotate(&relay), IOTSEC_OK);
    assert_int_equal(iotsec_relay_open(&relay, 0), IOTSEC_OK);
    expect_drop(IOTSEC_RELAY_DROP_HEADER, IOTSEC_ERR_AUTH, reply(0, first.data, first.len));
    assert_int_equal(reply(0, second.data, second.len), IOTSEC_OK);
}

/* Before a rotation the previous key is zeros, which anybody can compute a MAC under. */
static void there_is_no_previous_key_at_first(void **state)
{
    static const uint8_t zeros[16];
    struct iotsec_hmac hmac;
    struct iotsec_slice part;
    uint8_t mac[32];

    (void)state;
    start(IOTSEC_RELAY_STATELESS);
    assert_int_equal(from(1), IOTSEC_OK);
    up.data[HEADER_AT]--;
    part.data = up.data + HEADER_AT;
    part.len = 13;
    assert_int_equal(iotsec_hmac_key(&t.hal, &hmac, zeros, 16), IOTSEC_OK);
    assert_int_equal(iotsec_hmac_compute(&t.hal, &hmac, &part, 1, mac), IOTSEC_OK);
    iotsec_hmac_done(&t.hal, &hmac);
    memcpy(up.data + HEADER_AT + 13, mac, 8);
    expect_drop(IOTSEC_RELAY_DROP_HEADER, IOTSEC_ERR_AUTH, echo());
}

static void the_key_id_goes_round(void **state)
{
    struct wire before;
    unsigned i;

    (void)state;
    start(IOTSEC_RELAY_STATELESS);
    settle();
    for (i = 1; i < 255; i++) {
        assert_int_equal(iotsec_relay_rotate(&relay), IOTSEC_OK);
    }
    assert_int_equal(iotsec_relay_open(&relay, 0), IOTSEC_OK);
    assert_int_equal(from(1), IOTSEC_OK);
    before = up;
    assert_int_equal(before.data[HEADER_AT], 255);
    settle();
    assert_int_equal(iotsec_relay_rotate(&relay), IOTSEC_OK);
    assert_int_equal(iotsec_relay_open(&relay, 0), IOTSEC_OK);
    assert_int_equal(from(1), IOTSEC_OK);
    assert_int_equal(up.data[HEADER_AT], 0);
    assert_int_equal(reply(0, before.data, before.len), IOTSEC_OK);
}

static void rotation_waits_until_nobody_joins(void **state)
{
    (void)state;
    prepare(IOTSEC_RELAY_STATELESS);
    refuses(IOTSEC_OK);
    /* joins may be under way from before a restart */
    assert_int_equal(iotsec_relay_rotate(&relay), IOTSEC_ERR_STATE);
    t.now += IOTSEC_RELAY_IDLE_MS;
    assert_int_equal(iotsec_relay_rotate(&relay), IOTSEC_OK);
    assert_int_equal(iotsec_relay_open(&relay, 10), IOTSEC_OK);
    assert_int_equal(iotsec_relay_rotate(&relay), IOTSEC_ERR_STATE);
    t.now += 10000 + IOTSEC_RELAY_IDLE_MS - 1;
    assert_int_equal(iotsec_relay_rotate(&relay), IOTSEC_ERR_STATE);
    t.now++;
    assert_int_equal(iotsec_relay_rotate(&relay), IOTSEC_OK);
    assert_int_equal(iotsec_relay_open(&relay, 0), IOTSEC_OK);
    t.now += 1000000;
    assert_int_equal(iotsec_relay_rotate(&relay), IOTSEC_ERR_STATE);
    iotsec_relay_close(&relay);
    t.now += IOTSEC_RELAY_IDLE_MS - 1;
    iotsec_relay_close(&relay); /* was closed already */
    assert_int_equal(iotsec_relay_rotate(&relay), IOTSEC_ERR_STATE);
    t.now++;
    t.random_fails = 1;
    assert_int_equal(iotsec_relay_rotate(&relay), IOTSEC_ERR_RANDOM);
    t.random_fails = 0;
    assert_int_equal(iotsec_relay_rotate(&relay), IOTSEC_OK);

    start(IOTSEC_RELAY_STATEFUL);
    assert_int_equal(iotsec_relay_rotate(&relay), IOTSEC_ERR_UNSUPPORTED);
}

/* ---- Restarts ---- */

static void restart(void)
{
    memset(&relay, 0xA5, sizeof relay);
    memset(buckets, 0xA5, sizeof buckets);
    memset(entries, 0xA5, sizeof entries);
    assert_int_equal(iotsec_relay_init(&relay, &config), IOTSEC_OK);
    assert_int_equal(iotsec_relay_open(&relay, 0), IOTSEC_OK);
}

static void a_kept_key_outlives_a_restart(void **state)
{
    struct wire before;
    struct wire rotated;

    (void)state;
    start_kept();
    assert_int_equal(nvm_writes, 1);
    assert_int_equal(from(1), IOTSEC_OK);
    before = up;
    restart();
    assert_int_equal(nvm_writes, 1);
    assert_int_equal(reply(0, before.data, before.len), IOTSEC_OK);
    assert_int_equal(from(1), IOTSEC_OK);
    assert_int_equal(up.len, before.len);
    assert_memory_equal(up.data, before.data, before.len);

    /* and so do the previous one and its successor */
    settle();
    assert_int_equal(iotsec_relay_rotate(&relay), IOTSEC_OK);
    assert_int_equal(nvm_writes, 2);
    assert_int_equal(iotsec_relay_open(&relay, 0), IOTSEC_OK);
    assert_int_equal(from(1), IOTSEC_OK);
    rotated = up;
    restart();
    assert_int_equal(reply(0, before.data, before.len), IOTSEC_OK);
    assert_int_equal(from(1), IOTSEC_OK);
    assert_memory_equal(up.data, rotated.data, rotated.len);
}

static void the_slot_looks_as_documented(void **state)
{
    static const uint8_t zeros[16];

    (void)state;
    start_kept();
    assert_int_equal(nvm[0], 1);
    assert_int_equal(nvm[1], 1);
    assert_int_equal(nvm[2], 0);
    assert_int_equal(nvm[3], 5); /* random numbers count up: four of the seed, then the key */
    assert_int_equal(nvm[18], 20);
    assert_memory_equal(nvm + 19, zeros, 16);
    assert_int_equal(iotsec_get_u32(nvm + 35), iotsec_crc32(nvm, 35));
    /* the check value that is published for this CRC */
    assert_int_equal(iotsec_crc32((const uint8_t *)"123456789", 9), 0xCBF43926u);
}

static void without_nvm_a_restart_makes_another_key(void **state)
{
    struct wire before;

    (void)state;
    start(IOTSEC_RELAY_STATELESS);
    assert_int_equal(from(1), IOTSEC_OK);
    before = up;
    restart();
    assert_int_equal(nvm_writes, 0);
    expect_drop(IOTSEC_RELAY_DROP_HEADER, IOTSEC_ERR_AUTH, reply(0, before.data, before.len));
    assert_int_equal(from(1), IOTSEC_OK);
    assert_memory_not_equal(up.data, before.data, before.len);
    assert_int_equal(echo(), IOTSEC_OK);
}

static void a_restarted_table_fills_again(void **state)
{
    (void)state;
    start(IOTSEC_RELAY_STATEFUL);
    t.now = 0xA5A5A5A5u; /* what restart() leaves in memory looks used just now */
    assert_int_equal(from(1), IOTSEC_OK);
    restart();
    expect_drop(IOTSEC_RELAY_DROP_NO_ENTRY, IOTSEC_ERR_NOT_FOUND, echo());
    assert_int_equal(from(1), IOTSEC_OK);
    assert_int_equal(echo(), IOTSEC_OK);
}

static void a_damaged_slot_is_replaced(void **state)
{
    uint8_t sound[SLOT_BYTES];
    unsigned bit;

    (void)state;
    start_kept();
    memcpy(sound, nvm, sizeof sound);
    for (bit = 0; bit < 8 * SLOT_BYTES; bit++) {
        memcpy(nvm, sound, sizeof nvm);
        nvm[bit / 8] ^= (uint8_t)(1u << bit % 8);
        nvm_writes = 0;
        t.next_random = 100; /* so that the next key is another one */
        restart();
        assert_int_equal(nvm_writes, 1);
        assert_memory_not_equal(nvm + 3, sound + 3, 16);
    }
    /* too short, unreadable, or of another version */
    for (bit = 0; bit < 3; bit++) {
        memcpy(nvm, sound, sizeof nvm);
        nvm_len = bit == 0 ? (int)SLOT_BYTES - 1 : bit == 1 ? -1 : (int)SLOT_BYTES;
        nvm[0] = bit == 2 ? 2 : nvm[0];
        iotsec_put_u32(nvm + 35, iotsec_crc32(nvm, 35));
        nvm_writes = 0;
        restart();
        assert_int_equal(nvm_writes, 1);
        assert_int_equal(nvm_len, SLOT_BYTES);
    }
}

static void a_key_that_cannot_be_kept_is_not_used(void **state)
{
    struct wire before;

    (void)state;
    prepare(IOTSEC_RELAY_STATELESS);
    config.keep_key = 1;
    nvm_fails = true;
    refuses(IOTSEC_ERR_NVM);

    start_kept();
    assert_int_equal(from(1), IOTSEC_OK);
    before = up;
    settle();
    nvm_fails = true;
    assert_int_equal(iotsec_relay_rotate(&relay), IOTSEC_ERR_NVM);
    assert_int_equal(iotsec_relay_open(&relay, 0), IOTSEC_OK);
    assert_int_equal(from(1), IOTSEC_OK);
    assert_memory_equal(up.data, before.data, before.len);
    restart();
    assert_int_equal(from(1), IOTSEC_OK);
    assert_memory_equal(up.data, before.data, before.len);
}

static bool contains(const void *where, size_t size, const void *what, size_t len)
{
    const uint8_t *bytes = where;
    size_t i;

    for (i = 0; i + len <= size; i++) {
        if (memcmp(bytes + i, what, len) == 0) {
            return true;
        }
    }
    return false;
}

static void wiping_leaves_nothing(void **state)
{
    struct iotsec_addr joiner = neighbour_addr(1);

    (void)state;
    start_kept();
    assert_true(contains(&relay, sizeof relay, nvm + 3, 16));
    iotsec_relay_wipe(&relay);
    assert_false(contains(&relay, sizeof relay, nvm + 3, 16));
    assert_int_equal(nvm_len, SLOT_BYTES);
    iotsec_relay_wipe(&relay);
    restart();
    assert_int_equal(from(1), IOTSEC_OK);

    start(IOTSEC_RELAY_STATEFUL);
    assert_int_equal(from(1), IOTSEC_OK);
    assert_true(contains(entries, sizeof entries, joiner.ip, 16));
    iotsec_relay_wipe(&relay);
    assert_false(contains(entries, sizeof entries, joiner.ip, 16));
}

/* ---- The window ---- */

static void the_window_closes_by_itself(void **state)
{
    static const uint32_t starts[] = { 0, 1000, 0xFFFFF000u, 0xC4653600u, 0x7FFFFFFFu, 0x80000000u };
    static const uint32_t windows[] = { 1, 600, 1000000 };
    size_t i;
    size_t j;

    (void)state;
    for (i = 0; i < sizeof starts / sizeof starts[0]; i++) {
        for (j = 0; j < sizeof windows / sizeof windows[0]; j++) {
            prepare(IOTSEC_RELAY_STATELESS);
            t.now = starts[i];
            refuses(IOTSEC_OK);
            assert_int_equal(iotsec_relay_open(&relay, windows[j]), IOTSEC_OK);
            assert_int_equal(iotsec_relay_poll(&relay), windows[j] * 1000);
            t.now += windows[j] * 1000 - 1;
            assert_int_equal(iotsec_relay_poll(&relay), 1);
            assert_true(iotsec_relay_is_open(&relay));
            assert_int_equal(from(1), IOTSEC_OK);
            assert_int_equal(echo(), IOTSEC_OK);
            t.now++;
            assert_false(iotsec_relay_is_open(&relay)); /* without poll */
            expect_drop(IOTSEC_RELAY_DROP_CLOSED, IOTSEC_ERR_UNEXPECTED, from(1));
            expect_drop(IOTSEC_RELAY_DROP_CLOSED, IOTSEC_ERR_UNEXPECTED, echo());
            assert_int_equal(iotsec_relay_poll(&relay), IOTSEC_RELAY_IDLE_MS);
            t.now += IOTSEC_RELAY_IDLE_MS;
            assert_int_equal(iotsec_relay_poll(&relay), UINT32_MAX);
            /* and stays closed when the clock comes round */
            t.now = starts[i] + 1;
            assert_int_equal(iotsec_relay_poll(&relay), UINT32_MAX);
            assert_false(iotsec_relay_is_open(&relay));
            assert_int_equal(iotsec_relay_rotate(&relay), IOTSEC_OK);
        }
    }
}

static void the_window_is_the_operators(void **state)
{
    uint8_t mode;

    (void)state;
    for (mode = IOTSEC_RELAY_STATELESS; mode <= IOTSEC_RELAY_STATEFUL; mode++) {
        start(mode);
        assert_int_equal(iotsec_relay_poll(&relay), UINT32_MAX); /* open without end */
        t.now += 0x90000000u;
        assert_true(iotsec_relay_is_open(&relay));
        assert_int_equal(from(1), IOTSEC_OK);
        iotsec_relay_close(&relay);
        assert_false(iotsec_relay_is_open(&relay));
        expect_drop(IOTSEC_RELAY_DROP_CLOSED, IOTSEC_ERR_UNEXPECTED, from(1));
        expect_drop(IOTSEC_RELAY_DROP_CLOSED, IOTSEC_ERR_UNEXPECTED, echo());
        assert_int_equal(iotsec_relay_open(&relay, 1000001), IOTSEC_ERR_ARGUMENT);
        assert_false(iotsec_relay_is_open(&relay));
        assert_int_equal(iotsec_relay_open(&relay, 5), IOTSEC_OK);
        assert_int_equal(iotsec_relay_open(&relay, 1000001), IOTSEC_ERR_ARGUMENT);
        t.now += 4999;
        assert_true(iotsec_relay_is_open(&relay));
        assert_int_equal(iotsec_relay_open(&relay, 5), IOTSEC_OK); /* longer */
        t.now += 4999;
        assert_true(iotsec_relay_is_open(&relay));
        t.now++;
        assert_false(iotsec_relay_is_open(&relay));
    }
}

/* ---- The table ---- */

static void a_full_table_keeps_who_is_active(void **state)
{
    unsigned i;

    (void)state;
    start(IOTSEC_RELAY_STATEFUL);
    for (i = 0; i < ENTRIES; i++) {
        assert_int_equal(from(i), IOTSEC_OK);
        assert_int_equal(up.slot, i);
        t.now += 100;
    }
    /* neighbour 0 was heard 1999 ms ago */
    t.now += 1999 - 400;
    expect_drop(IOTSEC_RELAY_DROP_FULL, IOTSEC_ERR_FULL, from(100));
    /* a reply keeps it, so the next one in line goes */
    assert_int_equal(reply(0, content(), CONTENT), IOTSEC_OK);
    t.now += 101;
    assert_int_equal(from(100), IOTSEC_OK);
    assert_int_equal(up.slot, 1);
    assert_int_equal(from(0), IOTSEC_OK);
    assert_int_equal(up.slot, 0);
    /* neighbour 1 has lost its entry; its next datagram finds another one in time */
    expect_drop(IOTSEC_RELAY_DROP_FULL, IOTSEC_ERR_FULL, from(1));
    t.now += 100;
    assert_int_equal(from(1), IOTSEC_OK);
    assert_int_equal(up.slot, 2);
}

static void the_longest_silent_entry_goes_first(void **state)
{
    static const unsigned order[ENTRIES] = { 2, 0, 3, 1 };
    unsigned i;

    (void)state;
    start(IOTSEC_RELAY_STATEFUL);
    for (i = 0; i < ENTRIES; i++) {
        assert_int_equal(from(i), IOTSEC_OK);
    }
    for (i = 0; i < ENTRIES; i++) {
        t.now += 10;
        assert_int_equal(from(order[i]), IOTSEC_OK);
    }
    t.now += 2000;
    for (i = 0; i < ENTRIES; i++) {
        assert_int_equal(from(100 + i), IOTSEC_OK);
        assert_int_equal(up.slot, order[i]);
    }
}

static void idle_entries_are_forgotten(void **state)
{
    static const uint32_t idle[] = { 0, 5000, 1000 };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof idle / sizeof idle[0]; i++) {
        uint32_t ms = idle[i] != 0 ? idle[i] : IOTSEC_RELAY_IDLE_MS;

        start(IOTSEC_RELAY_STATEFUL);
        t.now = 0xFFFFFF00u;
        config.idle_ms = idle[i];
        assert_int_equal(iotsec_relay_poll(&relay), UINT32_MAX);
        assert_int_equal(from(1), IOTSEC_OK);
        assert_int_equal(iotsec_relay_poll(&relay), ms);
        t.now += 300; /* round the clock */
        assert_int_equal(from(2), IOTSEC_OK);
        assert_int_equal(iotsec_relay_poll(&relay), ms - 300);
        t.now += ms - 301;
        assert_int_equal(reply(0, content(), CONTENT), IOTSEC_OK);
        assert_int_equal(iotsec_relay_poll(&relay), 301);
        t.now += 301;
        assert_int_equal(iotsec_relay_poll(&relay), ms - 301);
        expect_drop(IOTSEC_RELAY_DROP_NO_ENTRY, IOTSEC_ERR_NOT_FOUND, reply(1, content(), CONTENT));
        t.now += ms - 302;
        assert_int_equal(iotsec_relay_poll(&relay), 1);
        t.now++; /* no poll: time alone decides */
        expect_drop(IOTSEC_RELAY_DROP_NO_ENTRY, IOTSEC_ERR_NOT_FOUND, reply(0, content(), CONTENT));
        assert_int_equal(iotsec_relay_poll(&relay), UINT32_MAX);
    }
}

static void a_port_of_nobody_answers_nobody(void **state)
{
    static const uint16_t slots[] = { 1, ENTRIES - 1, ENTRIES, ENTRIES + 1, 0xFFFF };
    size_t i;

    (void)state;
    start(IOTSEC_RELAY_STATEFUL);
    assert_int_equal(from(1), IOTSEC_OK);
    for (i = 0; i < sizeof slots / sizeof slots[0]; i++) {
        expect_drop(IOTSEC_RELAY_DROP_NO_ENTRY, IOTSEC_ERR_NOT_FOUND, reply(slots[i], content(), CONTENT));
    }
    assert_int_equal(down.count, 0);
}

/* ---- Rates ---- */

static unsigned passed(unsigned number, unsigned tries)
{
    unsigned before = up.count;

    while (tries-- != 0) {
        (void)from(number);
    }
    memset(relay.stats.drops, 0, sizeof relay.stats.drops);
    return up.count - before;
}

static unsigned answered(unsigned tries)
{
    unsigned before = down.count;

    while (tries-- != 0) {
        (void)echo();
    }
    memset(relay.stats.drops, 0, sizeof relay.stats.drops);
    return down.count - before;
}

/* A neighbour of another bucket than number 0. */
static unsigned other_bucket(void)
{
    unsigned number = 1;

    while (passed(number, 1) == 0) {
        assert_true(number++ < 100);
    }
    return number;
}

static void a_flooding_neighbour_stops_only_itself(void **state)
{
    uint8_t mode;

    (void)state;
    for (mode = IOTSEC_RELAY_STATELESS; mode <= IOTSEC_RELAY_STATEFUL; mode++) {
        unsigned other;

        start(mode);
        assert_int_equal(passed(0, 24), 24); /* the default burst */
        expect_drop(IOTSEC_RELAY_DROP_NEIGHBOUR_RATE, IOTSEC_ERR_AGAIN, from(0));
        {
            struct iotsec_addr port = neighbour_addr(0);

            port.port++; /* another port is no other neighbour */
            expect_drop(IOTSEC_RELAY_DROP_NEIGHBOUR_RATE, IOTSEC_ERR_AGAIN,
                        iotsec_relay_from_neighbour(&relay, &port, 0, content(), CONTENT));
        }
        assert_int_equal(answered(30), 24); /* the other way is counted apart */
        expect_drop(IOTSEC_RELAY_DROP_NEIGHBOUR_RATE, IOTSEC_ERR_AGAIN, echo());
        /* what was refused has cost the others nothing: 128 - 24 for all of them, 24 for each */
        assert_int_equal(passed(0, 1000), 0);
        other = other_bucket();
        assert_int_equal(passed(other, 100), 23);
        assert_int_equal(answered(30), 24);
        t.now += 1000;
        assert_int_equal(passed(0, 20), 8); /* the default rate */
        assert_int_equal(passed(0, 20), 0);
    }
}

static void a_flood_of_all_is_stopped(void **state)
{
    unsigned i;

    (void)state;
    start(IOTSEC_RELAY_STATELESS);
    for (i = 0; relay.stats.drops[IOTSEC_RELAY_DROP_RATE] == 0 && i < 100000; i++) {
        (void)from(i);
    }
    assert_int_equal(relay.stats.up, 128);
    memset(relay.stats.drops, 0, sizeof relay.stats.drops);
    /* a token that everybody's bucket refuses stays in the neighbour's */
    config.rate = 1;
    config.burst = 1;
    config.neighbour_burst = 2;
    config.neighbour_rate = 1;
    t.now += 1000000; /* a new seed fills the neighbours' buckets */
    assert_int_equal(passed(5, 1), 1);
    expect_drop(IOTSEC_RELAY_DROP_RATE, IOTSEC_ERR_AGAIN, from(5));
    expect_drop(IOTSEC_RELAY_DROP_RATE, IOTSEC_ERR_AGAIN, from(5));
    config.rate = 1000;
    t.now += 1; /* one token for all; the neighbour has had none since */
    assert_int_equal(passed(5, 1), 1);
    t.now += 1;
    expect_drop(IOTSEC_RELAY_DROP_NEIGHBOUR_RATE, IOTSEC_ERR_AGAIN, from(5));
}

/* So many calls at odd moments that rounding would show. */
static void tokens_do_not_drift(void **state)
{
    static const uint16_t rates[] = { 1, 3, 7, 64, 999, 1000, 60000 };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        uint32_t start_ms = 0xFFFFF000u; /* the clock wraps on the way */
        unsigned before;
        uint32_t ms = 0;

        prepare(IOTSEC_RELAY_STATEFUL);
        t.now = start_ms;
        config.neighbour_rate = config.neighbour_burst = 65535;
        config.rate = rates[i];
        config.burst = rates[i] > 1000 ? rates[i] : 2;
        refuses(IOTSEC_OK);
        assert_int_equal(iotsec_relay_open(&relay, 0), IOTSEC_OK);
        while (from(1) == IOTSEC_OK) {
        }
        before = up.count;
        while (ms < 20000) {
            unsigned step = 1 + (ms * 7 + 3) % 13;

            step = rates[i] > 500 && step > 1 ? 1 : step; /* a full bucket would lose some */
            ms += step;
            t.now += step;
            while (from(1) == IOTSEC_OK) {
            }
        }
        assert_int_equal(up.count - before, (uint64_t)ms * rates[i] / 1000);
    }
}

static void buckets_hold_their_burst_and_no_more(void **state)
{
    static const uint32_t silences[] = { 1, 65537, 65538, 65535u * 1000u, 0x7FFFFFFFu, 0x80000000u, 0xFFFFFFFFu };
    static const uint16_t rates[] = { 1, 65535 };
    uint64_t tokens;
    size_t i;
    size_t j;

    (void)state;
    for (j = 0; j < sizeof rates / sizeof rates[0]; j++) {
        for (i = 0; i < sizeof silences / sizeof silences[0]; i++) {
            start(IOTSEC_RELAY_STATEFUL);
            config.neighbour_rate = config.neighbour_burst = 65535;
            config.rate = rates[j];
            config.burst = 65535;
            t.now += 65535u * 1000u;
            while (from(1) == IOTSEC_OK) {
            }
            up.count = 0;
            t.now += silences[i];
            while (from(1) == IOTSEC_OK) {
            }
            /* 65538 * 65535 is small modulo 2^32 */
            tokens = (uint64_t)silences[i] * rates[j] / 1000;
            assert_int_equal(up.count, tokens < 65535 ? tokens : 65535);
        }
    }
}

static void the_seed_changes(void **state)
{
    uint32_t seed;

    (void)state;
    start(IOTSEC_RELAY_STATELESS);
    t.now = 0xFFFFC000u; /* the clock wraps before the next one */
    assert_int_equal(iotsec_relay_init(&relay, &config), IOTSEC_OK);
    assert_int_equal(iotsec_relay_open(&relay, 0), IOTSEC_OK);
    config.rate = 1;
    config.neighbour_rate = 1;
    seed = relay.seed;
    assert_int_equal(passed(0, 30), 24);
    t.now += 29999;
    assert_int_equal(passed(0, 30), 24); /* 29 tokens, of which it holds 24 */
    assert_int_equal(relay.seed, seed);
    t.now++;
    t.random_fails = 1; /* the old one stays */
    expect_drop(IOTSEC_RELAY_DROP_NEIGHBOUR_RATE, IOTSEC_ERR_AGAIN, from(0));
    assert_int_equal(relay.seed, seed);
    t.random_fails = 0;
    assert_int_equal(passed(0, 30), 24); /* full again */
    assert_int_not_equal(relay.seed, seed);
    /* but everybody's bucket is not */
    t.now += 30000;
    relay.all.tokens[0] = 0;
    relay.all.filled_at = t.now;
    expect_drop(IOTSEC_RELAY_DROP_RATE, IOTSEC_ERR_AGAIN, from(0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_frame_is_treated_as_the_figure_says),
        cmocka_unit_test(every_reason_has_a_name),
        cmocka_unit_test(init_checks_its_arguments),
        cmocka_unit_test(no_relay_starts_without_random_numbers),
        cmocka_unit_test(joining_is_closed_at_first),
        cmocka_unit_test(stateful_neighbours_have_a_port_each),
        cmocka_unit_test(stateless_wraps_as_the_wire_format_says),
        cmocka_unit_test(lengths_are_kept_to),
        cmocka_unit_test(only_dtls_passes),
        cmocka_unit_test(only_link_local_neighbours_are_relayed),
        cmocka_unit_test(what_goes_round_is_dropped),
        cmocka_unit_test(only_the_manager_answers),
        cmocka_unit_test(a_port_that_cannot_send_is_counted),
        cmocka_unit_test(nothing_leaves_without_a_mac),
        cmocka_unit_test(counters_saturate),
        cmocka_unit_test(a_changed_header_is_refused),
        cmocka_unit_test(a_header_of_another_form_is_refused),
        cmocka_unit_test(another_relays_header_is_refused),
        cmocka_unit_test(rotation_keeps_one_key),
        cmocka_unit_test(there_is_no_previous_key_at_first),
        cmocka_unit_test(the_key_id_goes_round),
        cmocka_unit_test(rotation_waits_until_nobody_joins),
        cmocka_unit_test(a_kept_key_outlives_a_restart),
        cmocka_unit_test(the_slot_looks_as_documented),
        cmocka_unit_test(without_nvm_a_restart_makes_another_key),
        cmocka_unit_test(a_restarted_table_fills_again),
        cmocka_unit_test(a_damaged_slot_is_replaced),
        cmocka_unit_test(a_key_that_cannot_be_kept_is_not_used),
        cmocka_unit_test(wiping_leaves_nothing),
        cmocka_unit_test(the_window_closes_by_itself),
        cmocka_unit_test(the_window_is_the_operators),
        cmocka_unit_test(a_full_table_keeps_who_is_active),
        cmocka_unit_test(the_longest_silent_entry_goes_first),
        cmocka_unit_test(idle_entries_are_forgotten),
        cmocka_unit_test(a_port_of_nobody_answers_nobody),
        cmocka_unit_test(a_flooding_neighbour_stops_only_itself),
        cmocka_unit_test(a_flood_of_all_is_stopped),
        cmocka_unit_test(tokens_do_not_drift),
        cmocka_unit_test(buckets_hold_their_burst_and_no_more),
        cmocka_unit_test(the_seed_changes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

int main(void)
{
    return 0; /* a library without relays */
}

#endif
