/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How deep the stack is that each entry point uses: it is painted below the caller before every call, and looked at afterwards.
 * Two devices join a manager with a polynomial, talk to their group and to one another, one leaves, one is evicted. For the
 * ARM chip, under qemu-arm; the HAL and the callbacks below are as flat as can be, and counted.
 *
 * Prints a line for each entry point: name and bytes.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <iotsec/iotsec.h>

#include "registry.h"

#define DEVICES 2
#define GROUP 1
#define DEGREE 15
#define QUEUE 64
#define PAINTED_BYTES 6144u
#define PAINT 0xA5

/* ---- Painting ---- */

static struct {
    const char *name;
    unsigned deepest;
} entries[40];

static uintptr_t stack_pointer(void)
{
    uintptr_t sp;

    __asm__ volatile("mov %0, sp" : "=r"(sp));
    return sp;
}

/* From so far below the caller up to this frame: nothing less deep than this frame is seen. */
__attribute__((noinline)) static void paint(uintptr_t caller)
{
    volatile uint8_t *at = (volatile uint8_t *)(caller - PAINTED_BYTES);

    while ((uintptr_t)at < stack_pointer()) {
        *at++ = PAINT;
    }
}

__attribute__((noinline)) static void look(const char *name, uintptr_t caller)
{
    const volatile uint8_t *at = (const volatile uint8_t *)(caller - PAINTED_BYTES);
    unsigned i;

    while (*at == PAINT) {
        at++;
    }
    for (i = 0; entries[i].name != NULL && strcmp(entries[i].name, name) != 0; i++) {
    }
    entries[i].name = name;
    if (entries[i].deepest < caller - (uintptr_t)at) {
        entries[i].deepest = (unsigned)(caller - (uintptr_t)at);
    }
}

#define DEEP(name, call)                    \
    do {                                    \
        uintptr_t caller = stack_pointer(); \
        paint(caller);                       \
        call;                               \
        look(name, caller);                 \
    } while (0)

/* ---- Surroundings ---- */

static uint32_t now;
static uint32_t dice = 1;
static struct {
    struct iotsec_addr from;
    struct iotsec_addr to;
    size_t len;
    uint8_t data[1280];
} queue[QUEUE];
static unsigned queue_first, queue_len;

static int draw(void *user, uint8_t *out, size_t len)
{
    (void)user;
    while (len-- != 0) {
        dice = dice * 1664525u + 1013904223u;
        *out++ = (uint8_t)(dice >> 24);
    }
    return 0;
}

static uint32_t now_ms(void *user)
{
    (void)user;
    return now;
}

static int put(void *user, const struct iotsec_addr *to, const uint8_t *data, size_t len)
{
    unsigned at = (queue_first + queue_len) % QUEUE;

    if (queue_len == QUEUE || len > sizeof queue[0].data) {
        return -1;
    }
    queue_len++;
    queue[at].from = *(const struct iotsec_addr *)user;
    queue[at].to = *to;
    queue[at].len = len;
    memcpy(queue[at].data, data, len);
    return 0;
}

static int listen_to(void *user, const struct iotsec_addr *group)
{
    (void)user;
    (void)group;
    return 0;
}

static void listen_no_more(void *user, const struct iotsec_addr *group)
{
    (void)user;
    (void)group;
}

static int install_l2(void *user, uint8_t index, const uint8_t key[16])
{
    (void)user;
    (void)index;
    (void)key;
    return 0;
}

static int use_l2(void *user, uint8_t index)
{
    (void)user;
    (void)index;
    return 0;
}

static void remove_l2(void *user, uint8_t index)
{
    (void)user;
    (void)index;
}

static struct iotsec_addr addr_of(unsigned number)
{
    struct iotsec_addr addr;

    memset(&addr, 0, sizeof addr);
    addr.ip[0] = 0xFD;
    addr.ip[15] = (uint8_t)number;
    addr.port = IOTSEC_PORT;
    return addr;
}

static struct iotsec_addr group_addr(void)
{
    struct iotsec_addr addr = addr_of(GROUP);

    addr.ip[0] = 0xFF;
    addr.ip[1] = 0x05;
    return addr;
}

static void set_up_hal(struct iotsec_hal *hal, struct iotsec_addr *addr, unsigned number)
{
    *addr = addr_of(number);
    hal->crypto = &iotsec_crypto_mbedtls;
    hal->user = addr;
    hal->random = draw;
    hal->now_ms = now_ms;
    hal->send = put;
    hal->multicast_join = listen_to;
    hal->multicast_leave = listen_no_more;
    hal->l2_key_install = install_l2;
    hal->l2_key_use = use_l2;
    hal->l2_key_remove = remove_l2;
}

/* ---- Devices ---- */

static struct lamp {
    struct iotsec_hal hal;
    struct iotsec_addr addr;
    struct iotsec_device device;
    struct iotsec_device_config config;
    struct iotsec_dtls_session sessions[3];
    struct iotsec_dtls_handshake handshakes[2];
    struct iotsec_device_group groups[1];
    struct iotsec_sender senders[8];
    struct iotsec_pair pairs[2];
    uint8_t shares[2 * IOTSEC_POLY_ELEMENT_BYTES * (DEGREE + 1)];
    uint8_t messages[2 * 64];
    uint8_t identity[BENCH_IDENTITY_BYTES];
    uint8_t psk[IOTSEC_KEY_BYTES];
    uint8_t tx[512];
    unsigned joined, shared, opened, heard, told, left, evicted;
} lamps[DEVICES];
static unsigned lamps_used;

static void lamp_event(void *user, const struct iotsec_device_event *event)
{
    struct lamp *lamp = user;

    lamp->joined += event->kind == IOTSEC_DEVICE_GROUP_JOINED;
    lamp->shared += event->kind == IOTSEC_DEVICE_SHARE && event->reason == IOTSEC_OK;
    lamp->opened += event->kind == IOTSEC_DEVICE_PEER_OPEN;
    lamp->left += event->kind == IOTSEC_DEVICE_LEFT;
    lamp->evicted += event->kind == IOTSEC_DEVICE_EVICTED;
}

static void lamp_group_receive(void *user, uint16_t group_id, uint16_t sender_id, const uint8_t *data, size_t len)
{
    (void)group_id;
    (void)sender_id;
    (void)data;
    ((struct lamp *)user)->heard += len != 0;
}

static void lamp_receive(void *user, const struct iotsec_peer *peer, const uint8_t *data, size_t len)
{
    (void)peer;
    (void)data;
    ((struct lamp *)user)->told += len != 0;
}

static const struct iotsec_device_callbacks lamp_callbacks = {
    .event = lamp_event,
    .group_receive = lamp_group_receive,
    .receive = lamp_receive,
};

static void lamp_set_up(struct lamp *lamp, uint32_t number)
{
    struct iotsec_device_config *config = &lamp->config;

    set_up_hal(&lamp->hal, &lamp->addr, 1 + number);
    bench_identity(number, lamp->identity);
    bench_psk(number, lamp->psk);
    config->hal = &lamp->hal;
    config->callbacks = &lamp_callbacks;
    config->user = lamp;
    config->identity = lamp->identity;
    config->identity_len = sizeof lamp->identity;
    config->psk = lamp->psk;
    config->psk_len = sizeof lamp->psk;
    config->sessions = lamp->sessions;
    config->session_count = 3;
    config->handshakes = lamp->handshakes;
    config->handshake_count = 2;
    config->groups = lamp->groups;
    config->group_count = 1;
    config->senders = lamp->senders;
    config->sender_count = 8;
    config->pairs = lamp->pairs;
    config->pair_count = 2;
    config->shares = lamp->shares;
    config->share_degree_max = DEGREE;
    config->pair_messages = lamp->messages;
    config->pair_message_size = 64;
    config->connection_id = IOTSEC_CONNECTION_ID_ON;
    config->tx = lamp->tx;
    config->tx_size = sizeof lamp->tx;
}

/* ---- The manager ---- */

static struct iotsec_registry_group registry_groups[1];
static struct iotsec_registry_member registry_members[DEVICES];
static uint8_t registry_evicted[DEVICES];
static uint8_t coefficients[(DEGREE + 1) * (DEGREE + 2) / 2 * IOTSEC_POLY_ELEMENT_BYTES];
static struct bench_registry registry = {
    .devices = DEVICES,
    .group_size = DEVICES,
    .group_room = 1,
    .groups = registry_groups,
    .members = registry_members,
    .evicted = registry_evicted,
    .coefficients = coefficients,
};

static struct boss {
    struct iotsec_hal hal;
    struct iotsec_addr addr;
    struct iotsec_manager manager;
    struct iotsec_manager_config config;
    struct iotsec_dtls_session sessions[4];
    struct iotsec_dtls_handshake handshakes[4];
    struct iotsec_manager_contact contacts[4];
    struct iotsec_manager_group groups[1];
    struct iotsec_manager_member members[4];
    struct iotsec_manager_delivery deliveries[4];
    uint8_t tx[1280];
} boss;

static void boss_event(void *user, const struct iotsec_manager_event *event)
{
    (void)user;
    (void)event;
}

static const struct iotsec_manager_callbacks boss_callbacks = { .event = boss_event };

static void boss_set_up(void)
{
    struct iotsec_manager_config *config = &boss.config;

    set_up_hal(&boss.hal, &boss.addr, 1);
    config->hal = &boss.hal;
    config->callbacks = &boss_callbacks;
    config->registry = &bench_registry;
    config->user = &registry;
    config->sessions = boss.sessions;
    config->session_count = 4;
    config->handshakes = boss.handshakes;
    config->handshake_count = 4;
    config->contacts = boss.contacts;
    config->contact_count = 4;
    config->groups = boss.groups;
    config->group_count = 1;
    config->members = boss.members;
    config->member_count = 4;
    config->deliveries = boss.deliveries;
    config->delivery_count = 4;
    config->cookie_policy = IOTSEC_COOKIE_ALWAYS;
    config->connection_id = IOTSEC_CONNECTION_ID_ON;
    config->tx = boss.tx;
    config->tx_size = sizeof boss.tx;
}

/* ---- Time ---- */

static bool drop_all; /* everything is lost, so that the timers have work */

/* Everything is delivered at once, and one tick passes. */
static void run_ms(uint32_t ms)
{
    uint32_t end;

    for (end = now + ms; now != end; now += 10) {
        unsigned i;

        while (queue_len != 0) {
            unsigned at = queue_first;

            queue_first = (queue_first + 1) % QUEUE;
            queue_len--;
            if (drop_all) {
                continue;
            }
            if (iotsec_addr_equal(&queue[at].to, &boss.addr)) {
                DEEP("iotsec_manager_input",
                     (void)iotsec_manager_input(&boss.manager, &queue[at].from, queue[at].data, queue[at].len));
                DEEP("iotsec_manager_poll", (void)iotsec_manager_poll(&boss.manager));
            }
            for (i = 0; i < lamps_used; i++) {
                struct lamp *lamp = &lamps[i];
                bool multicast = iotsec_addr_is_multicast(&queue[at].to) && !iotsec_addr_equal(&queue[at].from, &lamp->addr);
                static uint8_t copy[sizeof queue[0].data];

                if (multicast || iotsec_addr_equal(&queue[at].to, &lamp->addr)) {
                    memcpy(copy, queue[at].data, queue[at].len);
                    DEEP("iotsec_input",
                         (void)iotsec_input(&lamp->device, &queue[at].from, &queue[at].to, copy, queue[at].len));
                    DEEP("iotsec_poll", (void)iotsec_poll(&lamp->device));
                }
            }
        }
        DEEP("iotsec_manager_poll", (void)iotsec_manager_poll(&boss.manager));
        for (i = 0; i < lamps_used; i++) {
            DEEP("iotsec_poll", (void)iotsec_poll(&lamps[i].device));
        }
    }
}

static void expect(const char *what, int holds)
{
    if (!holds) {
        fprintf(stderr, "stack: %s\n", what);
        exit(1);
    }
}

int main(void)
{
    static const uint16_t group = GROUP;
    static const uint8_t text[32] = "how deep is it";
    static const uint8_t prefix[8] = { 0xFD };
    struct iotsec_addr multicast = group_addr();
    enum iotsec_status status = IOTSEC_ERR_STATE;
    struct iotsec_peer peer;
    unsigned i;

    boss_set_up();
    DEEP("iotsec_manager_init", status = iotsec_manager_init(&boss.manager, &boss.config));
    expect("the manager", status == IOTSEC_OK);
    DEEP("iotsec_manager_group_add", status = iotsec_manager_group_add(&boss.manager, GROUP, &multicast));
    expect("the group", status == IOTSEC_OK);
    DEEP("iotsec_manager_access_set", status = iotsec_manager_access_set(&boss.manager, 1, prefix, &boss.addr));
    expect("access parameters", status == IOTSEC_OK);
    DEEP("iotsec_manager_poly_renew", status = iotsec_manager_poly_renew(&boss.manager, DEGREE, 0));
    expect("the polynomial", status == IOTSEC_OK);
    run_ms(2000);
    for (i = 0; i < DEVICES; i++) {
        lamp_set_up(&lamps[i], i + 1);
        DEEP("iotsec_device_init", status = iotsec_device_init(&lamps[i].device, &lamps[i].config));
        expect("a device", status == IOTSEC_OK);
        lamps_used++;
        DEEP("iotsec_join", status = iotsec_join(&lamps[i].device, &boss.addr, &group, 1));
        expect("a join", status == IOTSEC_OK);
        drop_all = i == 1;
        run_ms(3000);
        drop_all = false;
        run_ms(10000);
        expect("a member", lamps[i].joined == 1);
    }
    run_ms(20000);
    expect("shares", lamps[0].shared == 1 && lamps[1].shared == 1);
    for (i = 0; i < DEVICES; i++) {
        DEEP("iotsec_group_send", status = iotsec_group_send(&lamps[i].device, GROUP, text, sizeof text));
        run_ms(3000);
    }
    expect("group messages", lamps[0].heard == 1 && lamps[1].heard == 1);
    peer.identity = lamps[1].identity;
    peer.identity_len = sizeof lamps[1].identity;
    peer.addr = lamps[1].addr;
    DEEP("iotsec_send", status = iotsec_send(&lamps[0].device, &peer, text, sizeof text));
    expect("a message to a device", status == IOTSEC_OK);
    run_ms(5000);
    DEEP("iotsec_send", status = iotsec_send(&lamps[0].device, &peer, text, sizeof text));
    run_ms(1000);
    expect("a session of two devices", lamps[0].opened == 1 && lamps[1].opened == 1 && lamps[1].told == 2);
    DEEP("iotsec_group_leave", status = iotsec_group_leave(&lamps[0].device, GROUP));
    run_ms(5000);
    DEEP("iotsec_group_join", status = iotsec_group_join(&lamps[0].device, GROUP));
    run_ms(10000);
    expect("a member again", lamps[0].joined == 2);
    DEEP("iotsec_manager_group_renew", status = iotsec_manager_group_renew(&boss.manager, GROUP, 0));
    run_ms(5000);
    DEEP("iotsec_manager_evict", status = iotsec_manager_evict(&boss.manager, 2));
    run_ms(10000);
    expect("the evicted", lamps[1].evicted == 1);
    DEEP("iotsec_leave", status = iotsec_leave(&lamps[0].device));
    run_ms(5000);
    expect("the leaver", lamps[0].left == 1);
    for (i = 0; entries[i].name != NULL; i++) {
        printf("%s %u\n", entries[i].name, entries[i].deepest);
    }
    return 0;
}
