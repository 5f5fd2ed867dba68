/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the tests of the device share: devices on a wire in memory, with virtual time and an NVM each. Group keys come either from a DTLS
 * endpoint that the test plays the domain manager with, or straight through the message path. The manager is reached at
 * two addresses: a link-local one, which stands for a relay's, and its own.
 */
#ifndef IOTSEC_TESTS_UNIT_DEVICE_WORLD_H
#define IOTSEC_TESTS_UNIT_DEVICE_WORLD_H

#include "test_hal_support.h"

#include <iotsec/device.h>

#include "access/device_state.h"
#include "amikey/keymgmt.h"
#include "base/bytes.h"

#define GROUP 7u
#define OTHER 9u
#define K 0x00010203u
#define RENEWED 0x00010300u
#define SLOTS 4u /* senders that a device knows in each group */
#define GROUPS 2u
#define QUEUE 64u
#define DATAGRAM 512u
#define NVM_BYTES 128u
#define CHECK_ID 0x70u /* of the manager's PATH_CHECK */

static const uint8_t psk[16] = "0123456789abcdef";
static const uint8_t tgks[4][16] = { { 1 }, { 2 }, { 3 }, { 4 } };
static const uint8_t rands[2][16] = { { 0xA0 }, { 0xB0 } };

struct datagram {
    struct iotsec_addr from;
    struct iotsec_addr to;
    size_t len;
    uint8_t data[DATAGRAM];
};

struct device {
    struct iotsec_device device;
    struct iotsec_device_config config;
    struct iotsec_hal hal;
    struct iotsec_addr addr; /* link-local */
    struct iotsec_addr own;  /* routable: what it sends to the manager's own address comes from there */
    struct iotsec_dtls_session sessions[2];
    struct iotsec_dtls_handshake handshakes[2];
    struct iotsec_device_group groups[GROUPS];
#if IOTSEC_PAIRWISE
    struct iotsec_pair pairs[1];
    uint8_t shares[2 * 256 * IOTSEC_POLY_ELEMENT_BYTES];
#endif
    struct iotsec_sender senders[GROUPS * SLOTS];
    uint8_t tx[256];
    uint8_t nvm[GROUPS][NVM_BYTES];
    size_t nvm_len[GROUPS];
    unsigned nvm_writes;
    int nvm_fails;      /* writes fail while it is set */
    unsigned listens;   /* multicast addresses joined */
    unsigned received;  /* messages handed to the application */
    uint8_t last[64];   /* the last one */
    size_t last_len;
    uint16_t last_sender;
    unsigned events[IOTSEC_DEVICE_PEER_CLOSED + 1];
    enum iotsec_status reason; /* of the last event */
    struct iotsec_device_event event;
    void (*on_event)(struct device *d, const struct iotsec_device_event *event);
    char l2[128];       /* what the link layer was told: "+1" installed, "!1" used, "-1" removed */
    uint8_t l2_key[16]; /* installed last */
    size_t queued_then; /* datagrams on the wire when a key was removed */
    bool install_fails;
    bool use_fails;
    unsigned told;      /* calls of `access` */
    struct iotsec_access access; /* the last one */
    void (*on_access)(struct device *d);
};

static struct {
    struct test_hal base;
    struct device devices[3];
    struct datagram queue[QUEUE];
    size_t queued;
    bool lose; /* everything that is sent */
    uint32_t seed;
    /* the manager's end */
    struct iotsec_dtls dtls;
    struct iotsec_dtls_config dtls_config;
    struct iotsec_hal manager_hal;
    struct iotsec_addr manager_addr; /* link-local */
    struct iotsec_addr manager_own;
    struct iotsec_dtls_session sessions[4];
    struct iotsec_dtls_handshake handshakes[4];
    uint8_t tx[1024];
    iotsec_dtls_handle session;
    bool no_extension; /* it is a server, but no manager */
    uint8_t hello[32]; /* body of the last group_request */
    size_t hello_len;
    struct iotsec_km_message heard[128]; /* what it was sent */
    size_t heard_count;
    bool own_silent;  /* nothing that is sent to manager_own arrives */
    bool link_silent; /* nor to manager_addr */
    uint8_t moved_id; /* the MOVED whose path is being checked */
    unsigned checks;  /* paths checked */
    int answer; /* how it answers requests; negative: not at all */
    int share_answer; /* ... SHARE_STATUS */
    unsigned sessions_made;
} w;

static inline struct iotsec_addr group_addr(uint16_t group_id)
{
    struct iotsec_addr addr;

    memset(&addr, 0, sizeof addr);
    addr.ip[0] = 0xFF;
    addr.ip[1] = 0x02;
    addr.ip[15] = (uint8_t)group_id;
    addr.port = 5683;
    return addr;
}

/* ---- HAL ---- */

static inline int random_bytes(void *user, uint8_t *out, size_t len)
{
    (void)user;
    while (len-- != 0) {
        w.seed = w.seed * 1664525u + 1013904223u;
        *out++ = (uint8_t)(w.seed >> 24);
    }
    return 0;
}

static inline uint32_t now_ms(void *user)
{
    (void)user;
    return w.base.now;
}

static inline int queue_datagram(const struct iotsec_addr *from, const struct iotsec_addr *to, const uint8_t *data, size_t len)
{
    struct datagram *d = &w.queue[w.queued];

    if (w.lose) {
        return 0;
    }
    assert_true(w.queued < QUEUE && len <= DATAGRAM);
    d->from = *from;
    d->to = *to;
    d->len = len;
    memcpy(d->data, data, len);
    w.queued++;
    return 0;
}

static inline int device_send(void *user, const struct iotsec_addr *to, const uint8_t *data, size_t len)
{
    const struct device *d = user;

    if (iotsec_addr_equal(to, &w.manager_own) ? w.own_silent : iotsec_addr_equal(to, &w.manager_addr) && w.link_silent) {
        return 0;
    }
    return queue_datagram(iotsec_addr_equal(to, &w.manager_own) ? &d->own : &d->addr, to, data, len);
}

static inline int manager_send(void *user, const struct iotsec_addr *to, const uint8_t *data, size_t len)
{
    (void)user;
    return queue_datagram(iotsec_addr_is_link_local(to) ? &w.manager_addr : &w.manager_own, to, data, len);
}

static inline int device_listen(void *user, const struct iotsec_addr *group)
{
    (void)group;
    ((struct device *)user)->listens++;
    return 0;
}

static inline void device_unlisten(void *user, const struct iotsec_addr *group)
{
    (void)group;
    ((struct device *)user)->listens--;
}

static inline int nvm_read(void *user, uint16_t slot, uint8_t *data, size_t size)
{
    struct device *d = user;

    assert_true(slot >= 10 && slot < 10 + GROUPS);
    if (d->nvm_len[slot - 10] > size) {
        return -1;
    }
    memcpy(data, d->nvm[slot - 10], d->nvm_len[slot - 10]);
    return (int)d->nvm_len[slot - 10];
}

static inline int nvm_write(void *user, uint16_t slot, const uint8_t *data, size_t len)
{
    struct device *d = user;

    assert_true(slot >= 10 && slot < 10 + GROUPS && len <= NVM_BYTES);
    d->nvm_writes++;
    if (d->nvm_fails) {
        return -1;
    }
    memcpy(d->nvm[slot - 10], data, len);
    d->nvm_len[slot - 10] = len;
    return 0;
}

static inline void log_l2(struct device *d, char what, uint8_t index)
{
    size_t len = strlen(d->l2);

    assert_true(snprintf(d->l2 + len, sizeof d->l2 - len, "%s%c%u", len != 0 ? " " : "", what, index) < (int)(sizeof d->l2 - len));
}

static inline int install_l2(void *user, uint8_t index, const uint8_t key[16])
{
    struct device *d = user;

    log_l2(d, d->install_fails ? '?' : '+', index);
    if (!d->install_fails) {
        memcpy(d->l2_key, key, sizeof d->l2_key);
    }
    return d->install_fails ? -1 : 0;
}

static inline int use_l2(void *user, uint8_t index)
{
    struct device *d = user;

    log_l2(d, d->use_fails ? '?' : '!', index);
    return d->use_fails ? -1 : 0;
}

static inline void remove_l2(void *user, uint8_t index)
{
    ((struct device *)user)->queued_then = w.queued;
    log_l2(user, '-', index);
}

/* ---- Devices ---- */

static inline void take_event(void *user, const struct iotsec_device_event *event)
{
    struct device *d = user;

    d->events[event->kind]++;
    d->event = *event;
    if (d->on_event != NULL) {
        d->on_event(d, event);
    }
}

static inline void take_group_message(void *user, uint16_t group_id, uint16_t sender_id, const uint8_t *data, size_t len)
{
    struct device *d = user;

    (void)group_id;
    assert_true(len != 0 && len <= sizeof d->last);
    d->received++;
    d->last_sender = sender_id;
    d->last_len = len;
    memcpy(d->last, data, len);
}

#if IOTSEC_ACCESS
static inline void take_access(void *user, const struct iotsec_access *access)
{
    struct device *d = user;

    d->told++;
    d->access = *access;
    if (d->on_access != NULL) {
        d->on_access(d);
    }
}
#endif

static const struct iotsec_device_callbacks device_callbacks = {
    .event = take_event,
    .group_receive = take_group_message,
#if IOTSEC_ACCESS
    .access = take_access,
#endif
};

static inline void boot(struct device *d)
{
    memset(&d->device, 0xA5, sizeof d->device);
    memset(d->groups, 0xA5, sizeof d->groups);
    memset(d->senders, 0xA5, sizeof d->senders);
    memset(d->events, 0, sizeof d->events);
    d->listens = 0;
    d->received = 0;
    assert_int_equal(iotsec_device_init(&d->device, &d->config), IOTSEC_OK);
}

static inline void prepare_device(struct device *d, uint8_t number)
{
    struct iotsec_device_config *config = &d->config;

    d->addr.ip[0] = 0xFE;
    d->addr.ip[1] = 0x80;
    d->addr.ip[15] = number;
    d->addr.port = 5684;
    d->addr.interface = 3;
    d->own.ip[0] = 0x20;
    d->own.ip[15] = number;
    d->own.port = 5684;
    d->hal = w.base.hal;
    d->hal.user = d;
    d->hal.random = random_bytes;
    d->hal.now_ms = now_ms;
    d->hal.send = device_send;
    d->hal.multicast_join = device_listen;
    d->hal.multicast_leave = device_unlisten;
    d->hal.l2_key_install = install_l2;
    d->hal.l2_key_use = use_l2;
    d->hal.l2_key_remove = remove_l2;
    d->hal.nvm_read = nvm_read;
    d->hal.nvm_write = nvm_write;
    config->hal = &d->hal;
    config->callbacks = &device_callbacks;
    config->user = d;
    config->identity = (const uint8_t *)"lamp";
    config->identity_len = 4;
    config->psk = psk;
    config->psk_len = sizeof psk;
    config->sessions = d->sessions;
    config->session_count = 2;
    config->handshakes = d->handshakes;
    config->handshake_count = 1;
    config->groups = d->groups;
    config->group_count = GROUPS;
    config->senders = d->senders;
    config->sender_count = GROUPS * SLOTS;
    config->tx = d->tx;
    config->tx_size = sizeof d->tx;
    config->nvm_slot = 10;
}

/* ---- The manager's end ---- */

static inline enum iotsec_status find_psk(void *user, iotsec_dtls_handle handshake, const uint8_t *identity, size_t len,
                                   struct iotsec_dtls_psk *found)
{
    (void)user;
    (void)handshake;
    (void)identity;
    (void)len;
    memcpy(found->key, psk, sizeof psk);
    found->len = sizeof psk;
    found->peer = 1;
    return IOTSEC_OK;
}

static inline void take_session(void *user, const struct iotsec_dtls_info *info)
{
    (void)user;
    w.session = info->session;
    w.sessions_made++;
}

static inline void say(const struct iotsec_km_message *message)
{
    uint8_t data[IOTSEC_KM_MAX_BYTES];
    size_t len;

    assert_int_equal(iotsec_km_encode(message, data, sizeof data, &len), IOTSEC_OK);
    assert_int_equal(iotsec_dtls_send(&w.dtls, w.session, iotsec_km_content_type(message->kind), data, len), IOTSEC_OK);
}

static inline void say_ack(uint8_t message_id, uint8_t result)
{
    struct iotsec_km_message ack;

    memset(&ack, 0, sizeof ack);
    ack.kind = IOTSEC_KM_ACK;
    ack.message = message_id;
    ack.code = result;
    say(&ack);
}

static inline void say_check(void)
{
    struct iotsec_km_message check;

    memset(&check, 0, sizeof check);
    check.kind = IOTSEC_KM_PATH_CHECK;
    check.message = CHECK_ID;
    say(&check);
}

static inline void take_content(void *user, iotsec_dtls_handle session, uint32_t peer, uint8_t type, uint8_t *data, size_t len)
{
    struct iotsec_km_message *message = &w.heard[w.heard_count];
    int answer = w.answer;

    (void)user;
    (void)peer;
    assert_true(w.heard_count < sizeof w.heard / sizeof w.heard[0]);
    assert_int_equal(iotsec_km_decode(message, type, data, len), IOTSEC_OK);
    w.heard_count++;
#if IOTSEC_CONNECTION_ID
    if (iotsec_dtls_moved(&w.dtls, session) && message->kind == IOTSEC_KM_MOVED && w.answer == IOTSEC_KM_DONE) {
        w.moved_id = message->message;
        say_check();
        return;
    }
    if (message->kind == IOTSEC_KM_ACK && message->message == CHECK_ID && iotsec_dtls_move(&w.dtls, session) == IOTSEC_OK) {
        w.checks++;
        say_ack(w.moved_id, IOTSEC_KM_DONE);
        return;
    }
#else
    (void)session;
#endif
    if (message->kind == IOTSEC_KM_SHARE_STATUS) {
        answer = w.share_answer;
    }
    if (message->kind != IOTSEC_KM_ACK && answer >= 0) {
        say_ack(message->message, (uint8_t)answer);
    }
}

static inline enum iotsec_status write_extension(void *user, const struct iotsec_dtls_hello *hello, uint8_t *out, size_t size, size_t *len)
{
    (void)user;
    (void)hello;
    (void)out;
    (void)size;
    *len = 0;
    return w.no_extension ? IOTSEC_ERR_NOT_FOUND : IOTSEC_OK;
}

static inline enum iotsec_status parse_extension(void *user, const struct iotsec_dtls_hello *hello, const uint8_t *body, size_t len)
{
    (void)user;
    (void)hello;
    assert_true(len <= sizeof w.hello);
    if (len != 0) {
        memcpy(w.hello, body, len);
    }
    w.hello_len = len;
    return IOTSEC_OK;
}

static const struct iotsec_dtls_callbacks manager_callbacks = {
    .psk = find_psk, .established = take_session, .receive = take_content
};
static const struct iotsec_dtls_extension manager_extension = { 0xFF10, write_extension, parse_extension };

static inline int setup(void **state)
{
    struct test_provider providers[2];
    size_t i;

    (void)state;
    memset(&w, 0, sizeof w);
    test_providers(providers);
    test_hal_init(&w.base, providers[0].crypto);
    w.base.now = 0xFFFF0000u; /* the clock wraps in most tests */
    w.seed = 1;
    w.answer = IOTSEC_KM_DONE;
    w.share_answer = IOTSEC_KM_DONE;
    w.manager_addr.ip[0] = 0xFE;
    w.manager_addr.ip[1] = 0x80;
    w.manager_addr.ip[15] = 99;
    w.manager_addr.port = 5684;
    w.manager_addr.interface = 3;
    w.manager_own.ip[0] = 0x20;
    w.manager_own.ip[15] = 99;
    w.manager_own.port = 5684;
    w.manager_hal = w.base.hal;
    w.manager_hal.random = random_bytes;
    w.manager_hal.now_ms = now_ms;
    w.manager_hal.send = manager_send;
    w.dtls_config.hal = &w.manager_hal;
    w.dtls_config.callbacks = &manager_callbacks;
    w.dtls_config.sessions = w.sessions;
    w.dtls_config.session_count = 4;
    w.dtls_config.handshakes = w.handshakes;
    w.dtls_config.handshake_count = 4;
    w.dtls_config.extensions = &manager_extension;
    w.dtls_config.extension_count = 1;
    w.dtls_config.key_management = 1;
    w.dtls_config.connection_id = IOTSEC_CONNECTION_ID_ON;
    w.dtls_config.tx = w.tx;
    w.dtls_config.tx_size = sizeof w.tx;
    assert_int_equal(iotsec_dtls_init(&w.dtls, &w.dtls_config), IOTSEC_OK);
    for (i = 0; i < 3; i++) {
        prepare_device(&w.devices[i], (uint8_t)(i + 1));
        boot(&w.devices[i]);
    }
    return 0;
}

/* ---- The wire ---- */

static inline enum iotsec_status hand(struct device *d, const struct datagram *datagram)
{
    uint8_t copy[DATAGRAM];

    memcpy(copy, datagram->data, datagram->len);
    return iotsec_input(&d->device, &datagram->from, &datagram->to, copy, datagram->len);
}

/* Takes the oldest datagram off the wire. */
static inline struct datagram take(void)
{
    struct datagram first = w.queue[0];

    assert_true(w.queued > 0);
    w.queued--;
    memmove(w.queue, w.queue + 1, w.queued * sizeof w.queue[0]);
    return first;
}

static inline void deliver_all(void)
{
    while (w.queued != 0) {
        struct datagram datagram = take();
        size_t i;

        if (iotsec_addr_equal(&datagram.to, &w.manager_addr) || iotsec_addr_equal(&datagram.to, &w.manager_own)) {
            uint8_t copy[DATAGRAM];

            memcpy(copy, datagram.data, datagram.len);
            (void)iotsec_dtls_input(&w.dtls, &datagram.from, copy, datagram.len);
        }
        for (i = 0; i < 3; i++) {
            struct device *d = &w.devices[i];

            if (iotsec_addr_is_multicast(&datagram.to) ? !iotsec_addr_equal(&datagram.from, &d->addr)
                                                        : iotsec_addr_equal(&datagram.to, &d->addr) ||
                                                              iotsec_addr_equal(&datagram.to, &d->own)) {
                (void)hand(d, &datagram);
            }
        }
    }
}

/* Lets time pass for everybody. */
static inline void run(uint32_t ms)
{
    unsigned idle = 0;

    for (;;) {
        uint32_t wait = ms;
        size_t i;

        deliver_all();
        for (i = 0; i < 3; i++) {
            wait = iotsec_min_u32(wait, iotsec_poll(&w.devices[i].device));
        }
        wait = iotsec_min_u32(wait, iotsec_dtls_poll(&w.dtls));
        if (w.queued != 0) {
            continue;
        }
        assert_true(wait != 0 || ++idle < 100 || ms == 0); /* nobody wants to be called for ever */
        if (ms == 0) {
            return;
        }
        ms -= wait;
        w.base.now += wait;
    }
}

/* ---- Shorthand ---- */

/* What the manager would send, taken as if it came over its session. */
static inline void give(struct device *d, const struct iotsec_km_message *message)
{
    uint8_t data[IOTSEC_KM_MAX_BYTES];
    size_t len;

    assert_int_equal(iotsec_km_encode(message, data, sizeof data, &len), IOTSEC_OK);
    iotsec_dev_take_message(&d->device, iotsec_km_content_type(message->kind), data, len);
}

static inline void fill_pair(struct iotsec_km_message pair[2], uint16_t group_id, uint32_t key_number, uint16_t sender, unsigned tgk,
                      bool eviction)
{
    memset(pair, 0, 2 * sizeof pair[0]);
    pair[0].kind = IOTSEC_KM_MASTER_KEY;
    pair[1].kind = eviction ? IOTSEC_KM_PARAMETERS_EVICTION : IOTSEC_KM_PARAMETERS;
    pair[0].message = pair[1].message = 0x40;
    pair[0].group_id = pair[1].group_id = group_id;
    pair[0].key_number = pair[1].key_number = key_number;
    pair[0].sender_id = sender;
    memcpy(pair[0].secret, tgks[tgk], 16);
    memcpy(pair[1].secret, rands[(key_number >> 8) & 1], 16);
    pair[1].addr = group_addr(group_id);
}

static inline void give_keys(struct device *d, uint32_t key_number, uint16_t sender, unsigned tgk, bool eviction)
{
    struct iotsec_km_message pair[2];

    if (iotsec_dev_group(&d->device, GROUP) == NULL) {
        assert_non_null(iotsec_dev_group_new(&d->device, GROUP));
    }
    fill_pair(pair, GROUP, key_number, sender, tgk, eviction);
    give(d, &pair[0]);
    give(d, &pair[1]);
    assert_int_equal(iotsec_dev_group(&d->device, GROUP)->csb.key_number, key_number);
}

/* All three are members: sender IDs 1, 2, 3; and their announcements are over. */
static inline void make_members(void)
{
    size_t i;

    for (i = 0; i < 3; i++) {
        w.devices[i].device.manager = w.manager_addr;
        w.devices[i].device.interface = w.manager_addr.interface;
        give_keys(&w.devices[i], K, (uint16_t)(i + 1), 0, false);
    }
    run(3000);
    for (i = 0; i < 3; i++) {
        w.devices[i].received = 0;
        memset(w.devices[i].events, 0, sizeof w.devices[i].events);
        memset(&w.devices[i].device.stats, 0, sizeof w.devices[i].device.stats);
    }
}

static inline struct iotsec_device_group *group_of(struct device *d)
{
    return iotsec_dev_group(&d->device, GROUP);
}

static inline struct datagram sent_by(struct device *d)
{
    assert_int_equal(w.queued, 0);
    assert_int_equal(iotsec_group_send(&d->device, GROUP, (const uint8_t *)"on", 2), IOTSEC_OK);
    return take();
}

/* A record that a device with these keys would send. */
static inline struct datagram forge(const struct device *d, uint16_t sender, uint32_t key_number, uint32_t counter)
{
    struct iotsec_csb csb = d->groups[0].csb;
    struct datagram datagram;

    memset(&datagram, 0, sizeof datagram);
    datagram.from = w.devices[2].addr;
    datagram.to = group_addr(GROUP);
    datagram.to.interface = 3;
    while (csb.key_number < key_number) {
        csb.key_number++;
        assert_int_equal(iotsec_csb_ratchet(&w.base.hal, GROUP, csb.key_number, csb.rand, csb.tgk, csb.tgk), IOTSEC_OK);
        assert_int_equal(iotsec_csb_derive_tek(&w.base.hal, GROUP, csb.tgk, csb.rand, csb.tek), IOTSEC_OK);
    }
    assert_int_equal(iotsec_record_group_seal(&w.base.hal, csb.tek, GROUP, (uint16_t)key_number, sender, counter, 23,
                                              datagram.data, DATAGRAM, &datagram.len, (const uint8_t *)"x", 1),
                     IOTSEC_OK);
    return datagram;
}

static inline unsigned dropped(const struct device *d, enum iotsec_drop reason)
{
    return d->device.stats.drops[reason];
}

static inline const struct iotsec_km_message *heard(uint8_t kind)
{
    size_t i;

    for (i = w.heard_count; i > 0; i--) {
        if (w.heard[i - 1].kind == kind) {
            return &w.heard[i - 1];
        }
    }
    return NULL;
}

static inline void say_pair(uint16_t group_id, uint32_t key_number, uint16_t sender, unsigned tgk)
{
    struct iotsec_km_message pair[2];

    fill_pair(pair, group_id, key_number, sender, tgk, false);
    say(&pair[0]);
    say(&pair[1]);
    (void)iotsec_dtls_flush(&w.dtls);
}

static inline void say_kind(uint8_t kind, uint16_t group_id, uint8_t code)
{
    struct iotsec_km_message message;

    memset(&message, 0, sizeof message);
    message.kind = kind;
    message.message = 0x55;
    message.group_id = group_id;
    message.code = code;
    say(&message);
    (void)iotsec_dtls_flush(&w.dtls);
}

/* Device a is joined, a member of GROUP with sender ID 5. */
static inline struct device *join(void)
{
    struct device *a = &w.devices[0];
    const uint16_t groups[] = { GROUP };

    assert_int_equal(iotsec_join(&a->device, &w.manager_addr, groups, 1), IOTSEC_OK);
    run(100);
    assert_int_equal(w.hello_len, 2);
    assert_int_equal(iotsec_get_u16(w.hello), GROUP);
    assert_int_equal(a->events[IOTSEC_DEVICE_JOINED], 0);
    say_pair(GROUP, K, 5, 0);
    run(3000);
    assert_int_equal(a->events[IOTSEC_DEVICE_GROUP_JOINED], 1);
    assert_int_equal(a->events[IOTSEC_DEVICE_JOINED], 1);
    assert_int_equal(w.heard_count, 1);
    assert_int_equal(w.heard[0].kind, IOTSEC_KM_ACK);
    assert_int_equal(w.heard[0].message, 0x40);
    assert_int_equal(w.heard[0].code, IOTSEC_KM_DONE);
    w.heard_count = 0;
    return a;
}

#endif
