/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One manager and up to ten thousand devices, all of them real, in virtual time and in memory.
 *
 *     scale sizes                   bytes that the manager's tables have for a device: session, contact, membership
 *     scale air                     one line for each length of a datagram up to 1280: frames, and microseconds on the air
 *     scale cost SIZE               10 000 in groups of SIZE join one after the other; for callgrind, which counts what the
 *                                   manager does for some of them, and for records of devices that are there
 *     scale group MEMBERS LOSS SEED DELIVERIES
 *                                   a group: one more joins, then one is evicted; DELIVERIES: messages of the manager's that
 *                                   are under way at once
 *     scale storm DEVICES LOSS SEED WAIT SPREAD
 *                                   all come back within SPREAD ms, and the manager with them; one line a second, then a
 *                                   summary. Who has failed begins anew after a random time up to WAIT ms
 *
 * LOSS in permille, of each datagram at each receiver. The link: one of 250 kbit/s that all share, and on which one datagram
 * is at a time; what is sent meanwhile waits in a queue of QUEUE_MAX datagrams, and is dropped when that is full. Times are
 * those of IEEE 802.15.4 frames under 6LoWPAN as bench/part_messages.py counts them, without acknowledgements, gaps and
 * back-off.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <iotsec/iotsec.h>

#include "registry.h"

#ifdef __has_include
#if __has_include(<valgrind/callgrind.h>)
#include <valgrind/callgrind.h>
#endif
#endif
#ifndef CALLGRIND_START_INSTRUMENTATION
#define CALLGRIND_START_INSTRUMENTATION
#define CALLGRIND_STOP_INSTRUMENTATION
#define CALLGRIND_ZERO_STATS
#define CALLGRIND_DUMP_STATS_AT(name) (void)(name)
#endif

#define DEVICES_MAX 10000u
#define GROUP_SIZE 100u /* in a storm */
#define QUEUE_MAX 256u
#define HANDSHAKES 256u
#define DELIVERIES_MAX 64u
#define SENDERS 4u
#define SAMPLES 20u
#define KEPT_BYTES 64u /* of a device's last datagram */
#define MS 1000u
#define NOBODY UINT64_MAX

/* ---- Random numbers (splitmix64) ---- */

static uint64_t dice;

static uint64_t roll(void)
{
    uint64_t z = dice += 0x9E3779B97F4A7C15u;

    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static uint32_t below(uint32_t limit)
{
    return (uint32_t)((roll() >> 32) * limit >> 32);
}

/* ---- Events: a heap ---- */

struct datagram {
    uint32_t from; /* 0: the manager */
    struct iotsec_addr to;
    size_t len;
    uint8_t data[];
};

struct event {
    uint64_t time;
    uint64_t order;
    uint32_t node;             /* whose timer */
    struct datagram *datagram; /* or what arrives */
};

static uint64_t now; /* microseconds */
static struct event *heap;
static size_t heap_len, heap_room;
static uint64_t order;

static bool is_before(const struct event *a, const struct event *b)
{
    return a->time != b->time ? a->time < b->time : a->order < b->order;
}

static void push(uint64_t time, uint32_t node, struct datagram *datagram)
{
    struct event event;
    size_t i = heap_len++;

    if (heap_len > heap_room) {
        heap_room = heap_room == 0 ? 1024 : 2 * heap_room;
        heap = realloc(heap, heap_room * sizeof *heap);
        if (heap == NULL) {
            abort();
        }
    }
    event.time = time;
    event.order = order++;
    event.node = node;
    event.datagram = datagram;
    while (i != 0 && is_before(&event, &heap[(i - 1) / 2])) {
        heap[i] = heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    heap[i] = event;
}

static struct event pop(void)
{
    struct event first = heap[0];
    struct event last = heap[--heap_len];
    size_t i = 0;
    size_t child;

    while ((child = 2 * i + 1) < heap_len) {
        if (child + 1 < heap_len && is_before(&heap[child + 1], &heap[child])) {
            child++;
        }
        if (!is_before(&heap[child], &last)) {
            break;
        }
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = last;
    return first;
}

/* ---- The link ---- */

static struct {
    unsigned loss;    /* permille */
    bool shared;      /* else everything takes 1 ms */
    bool deaf;        /* nobody hears multicasts */
    uint64_t free_at; /* when the last datagram that waits will have left */
    uint64_t left[QUEUE_MAX]; /* when the latest ones have left, or will have: a ring */
    unsigned next;
    uint64_t datagrams, bytes, dropped, lost, air;
} link_;

/* What a datagram is, by its first record. */
enum kind { HELLO, HELLO_VERIFY, SERVER_HELLO, KEY_EXCHANGE, FINISHED, KEYS, ACKNOWLEDGEMENT, GROUP, OTHER, KINDS };
static const char *const kind_names[KINDS] = {
    "ClientHello",       "HelloVerifyRequest", "ServerHello",
    "ClientKeyExchange", "Finished of the manager, with keys", "keys alone",
    "acknowledgements and requests", "group messages", "other",
};
static uint64_t kind_count[KINDS], kind_air[KINDS];

static enum kind kind_of(uint32_t from, const struct iotsec_addr *to, const uint8_t *data)
{
    if (iotsec_addr_is_multicast(to)) {
        return GROUP;
    }
    switch (data[0]) {
    case IOTSEC_CONTENT_HANDSHAKE:
        switch (data[IOTSEC_RECORD_HEADER_BYTES]) {
        case IOTSEC_HS_CLIENT_HELLO:
            return HELLO;
        case IOTSEC_HS_HELLO_VERIFY_REQUEST:
            return HELLO_VERIFY;
        case IOTSEC_HS_SERVER_HELLO:
            return SERVER_HELLO;
        case IOTSEC_HS_CLIENT_KEY_EXCHANGE:
            return KEY_EXCHANGE;
        default:
            return OTHER;
        }
    case IOTSEC_CONTENT_CHANGE_CIPHER_SPEC:
        return FINISHED;
    case IOTSEC_CONTENT_MASTER_KEY_DATA:
    case IOTSEC_CONTENT_SECURITY_PARAMETERS:
        return from == 0 ? KEYS : ACKNOWLEDGEMENT;
    default:
        return OTHER;
    }
}

/* As in bench/part_messages.py. */
static unsigned frames_of(size_t len, uint64_t *air)
{
    const size_t header = 23, compressed = 9, frame = 127, first_header = 4, later_header = 5, preamble = 6, byte = 32;
    size_t first = (frame - header - first_header - compressed) / 8 * 8;
    size_t later = (frame - header - later_header) / 8 * 8;
    unsigned count = 1;

    if (len <= frame - header - compressed) {
        *air = (preamble + header + compressed + len) * byte;
        return count;
    }
    *air = (preamble + header + first_header + compressed + first) * byte;
    for (len -= first; len != 0; count++) {
        size_t piece = len < later ? len : later;

        *air += (preamble + header + later_header + piece) * byte;
        len -= piece;
    }
    return count;
}

/* ---- Nodes ---- */

static struct lamp {
    struct iotsec_hal hal;
    struct iotsec_addr addr;
    struct iotsec_device device;
    struct iotsec_device_config config;
    struct iotsec_dtls_session session;
    struct iotsec_dtls_handshake handshake;
    struct iotsec_device_group group;
    struct iotsec_sender senders[SENDERS];
    uint8_t identity[BENCH_IDENTITY_BYTES];
    uint8_t psk[IOTSEC_KEY_BYTES];
    uint8_t tx[256];
    uint8_t kept[KEPT_BYTES]; /* its last datagram */
    size_t kept_len;
    uint64_t due;      /* NOBODY: no timer */
    uint64_t start_at; /* when it joins; NOBODY: it has */
    uint64_t joined_at;
    uint32_t number;
    uint32_t key_number;
    bool listens, joined;
} *lamps;

static struct {
    struct iotsec_hal hal;
    struct iotsec_addr addr;
    struct iotsec_manager manager;
    struct iotsec_manager_config config;
    struct bench_registry registry;
    uint8_t tx[1280];
    uint64_t due;
} boss;

static uint32_t lamp_count, retry_ms;
static uint32_t joined_count, joins_failed, groups_refused, members_updated, members_joined, steps;

static int draw(void *user, uint8_t *out, size_t len)
{
    (void)user;
    while (len-- != 0) {
        *out++ = (uint8_t)(roll() >> 56);
    }
    return 0;
}

static uint32_t now_ms(void *user)
{
    (void)user;
    return (uint32_t)(now / MS);
}

static struct iotsec_addr addr_of(uint32_t number)
{
    struct iotsec_addr addr;

    memset(&addr, 0, sizeof addr);
    addr.ip[0] = 0xFD;
    addr.ip[14] = (uint8_t)(number >> 8);
    addr.ip[15] = (uint8_t)number;
    addr.port = IOTSEC_PORT;
    return addr;
}

static struct iotsec_addr group_addr(uint32_t group)
{
    struct iotsec_addr addr = addr_of(group);

    addr.ip[0] = 0xFF;
    addr.ip[1] = 0x05;
    return addr;
}

static uint32_t number_of(const struct iotsec_addr *addr)
{
    return (uint32_t)addr->ip[14] << 8 | addr->ip[15];
}

static void send_datagram(uint32_t from, const struct iotsec_addr *to, const uint8_t *data, size_t len)
{
    struct datagram *datagram;
    uint64_t at = now + MS;
    uint64_t air;

    (void)frames_of(len, &air);
    if (link_.shared) {
        if (link_.left[link_.next] > now) { /* as many wait as there is room for */
            link_.dropped++;
            return;
        }
        at = (link_.free_at > now ? link_.free_at : now) + air;
        link_.free_at = at;
        link_.left[link_.next] = at;
        link_.next = (link_.next + 1) % QUEUE_MAX;
    }
    link_.datagrams++;
    link_.bytes += len;
    link_.air += air;
    kind_count[kind_of(from, to, data)]++;
    kind_air[kind_of(from, to, data)] += air;
    datagram = malloc(sizeof *datagram + len);
    if (datagram == NULL) {
        abort();
    }
    datagram->from = from;
    datagram->to = *to;
    datagram->len = len;
    memcpy(datagram->data, data, len);
    push(at, 0, datagram);
}

static int boss_send(void *user, const struct iotsec_addr *to, const uint8_t *data, size_t len)
{
    (void)user;
    send_datagram(0, to, data, len);
    return 0;
}

static int lamp_send(void *user, const struct iotsec_addr *to, const uint8_t *data, size_t len)
{
    struct lamp *lamp = user;

    if (len <= sizeof lamp->kept) {
        lamp->kept_len = len;
        memcpy(lamp->kept, data, len);
    }
    send_datagram(lamp->number, to, data, len);
    return 0;
}

static int lamp_listen(void *user, const struct iotsec_addr *group)
{
    (void)group;
    ((struct lamp *)user)->listens = true;
    return 0;
}

static void lamp_event(void *user, const struct iotsec_device_event *event)
{
    struct lamp *lamp = user;

    if (event->kind == IOTSEC_DEVICE_GROUP_JOINED || event->kind == IOTSEC_DEVICE_GROUP_KEY) {
        lamp->key_number = event->key_number;
    }
    if (event->kind == IOTSEC_DEVICE_GROUP_JOINED && !lamp->joined) {
        lamp->joined = true;
        lamp->joined_at = now;
        joined_count++;
    } else if (event->kind == IOTSEC_DEVICE_JOIN_FAILED) {
        joins_failed++;
        lamp->start_at = now + (uint64_t)below(retry_ms + 1) * MS; /* looked at after the call */
    } else if (event->kind == IOTSEC_DEVICE_GROUP_REFUSED) {
        groups_refused++;
        lamp->start_at = now + (uint64_t)below(retry_ms + 1) * MS;
    }
}

static void boss_event(void *user, const struct iotsec_manager_event *event)
{
    (void)user;
    members_joined += event->kind == IOTSEC_MANAGER_MEMBER_JOINED;
    members_updated += event->kind == IOTSEC_MANAGER_MEMBER_UPDATED;
    steps += event->kind == IOTSEC_MANAGER_GROUP_KEY;
}

static const struct iotsec_device_callbacks lamp_callbacks = { .event = lamp_event };
static const struct iotsec_manager_callbacks boss_callbacks = { .event = boss_event };

static void *need(size_t count, size_t size)
{
    void *block = calloc(count, size);

    if (block == NULL) {
        abort();
    }
    return block;
}

static void set_up_lamp(uint32_t number)
{
    struct lamp *lamp = &lamps[number - 1];
    struct iotsec_device_config *config = &lamp->config;

    lamp->number = number;
    lamp->addr = addr_of(number);
    lamp->due = NOBODY;
    lamp->start_at = NOBODY;
    bench_identity(number, lamp->identity);
    bench_psk(number, lamp->psk);
    lamp->hal.crypto = &iotsec_crypto_mbedtls;
    lamp->hal.user = lamp;
    lamp->hal.random = draw;
    lamp->hal.now_ms = now_ms;
    lamp->hal.send = lamp_send;
    lamp->hal.multicast_join = lamp_listen;
    config->hal = &lamp->hal;
    config->callbacks = &lamp_callbacks;
    config->user = lamp;
    config->identity = lamp->identity;
    config->identity_len = sizeof lamp->identity;
    config->psk = lamp->psk;
    config->psk_len = sizeof lamp->psk;
    config->sessions = &lamp->session;
    config->session_count = 1;
    config->handshakes = &lamp->handshake;
    config->handshake_count = 1;
    config->groups = &lamp->group;
    config->group_count = 1;
    config->senders = lamp->senders;
    config->sender_count = SENDERS;
    config->tx = lamp->tx;
    config->tx_size = sizeof lamp->tx;
    if (iotsec_device_init(&lamp->device, config) != IOTSEC_OK) {
        abort();
    }
}

static void start_boss(void)
{
    if (iotsec_manager_init(&boss.manager, &boss.config) != IOTSEC_OK) {
        abort();
    }
    boss.due = NOBODY;
}

static void set_up(uint32_t count, uint32_t group_size, uint16_t deliveries, uint64_t seed)
{
    struct iotsec_manager_config *config = &boss.config;
    uint16_t groups = (uint16_t)((count + group_size - 1) / group_size);
    uint32_t i;

    dice = seed * 0x9E3779B97F4A7C15u + 1;
    lamp_count = count;
    lamps = need(count, sizeof *lamps);
    boss.registry.devices = count;
    boss.registry.group_size = group_size;
    boss.registry.group_room = groups;
    boss.registry.groups = need(groups, sizeof *boss.registry.groups);
    boss.registry.members = need(count, sizeof *boss.registry.members);
    boss.registry.evicted = need(count, 1);
    boss.addr = addr_of(0);
    boss.hal.crypto = &iotsec_crypto_mbedtls;
    boss.hal.random = draw;
    boss.hal.now_ms = now_ms;
    boss.hal.send = boss_send;
    config->hal = &boss.hal;
    config->callbacks = &boss_callbacks;
    config->registry = &bench_registry;
    config->user = &boss.registry;
    config->session_count = (uint16_t)(count + count / 100 + 8);
    config->contact_count = (uint16_t)(count + count / 100 + 8);
    config->sessions = need(config->session_count, sizeof *config->sessions);
    config->contacts = need(config->contact_count, sizeof *config->contacts);
    config->handshakes = need(HANDSHAKES, sizeof *config->handshakes);
    config->handshake_count = HANDSHAKES;
    config->groups = need(groups, sizeof *config->groups);
    config->group_count = groups;
    config->members = need(count, sizeof *config->members);
    config->member_count = (uint16_t)count;
    config->deliveries = need(deliveries, sizeof *config->deliveries);
    config->delivery_count = deliveries;
    config->cookie_policy = IOTSEC_COOKIE_UNDER_LOAD;
    config->tx = boss.tx;
    config->tx_size = sizeof boss.tx;
    start_boss();
    for (i = 1; i <= groups; i++) {
        struct iotsec_addr addr = group_addr(i);

        if (iotsec_manager_group_add(&boss.manager, (uint16_t)i, &addr) != IOTSEC_OK) {
            abort();
        }
    }
    for (i = 1; i <= count; i++) {
        set_up_lamp(i);
    }
}

/* ---- Time ---- */

static void set_timer(uint64_t *due, uint32_t node, uint32_t wait)
{
    uint64_t at = wait == UINT32_MAX ? NOBODY : (now / MS + wait) * MS;

    if (at != NOBODY && at < now) {
        at = now;
    }
    if (at != *due) {
        *due = at;
        if (at != NOBODY) {
            push(at, node, NULL);
        }
    }
}

/* What callgrind counts. */
__attribute__((noinline)) void manager_input(const struct iotsec_addr *from, uint8_t *data, size_t len)
{
    (void)iotsec_manager_input(&boss.manager, from, data, len);
}

__attribute__((noinline)) uint32_t manager_poll(void)
{
    return iotsec_manager_poll(&boss.manager);
}

static void poll_boss(void)
{
    set_timer(&boss.due, 0, manager_poll());
}

static void start_lamp(struct lamp *lamp)
{
    uint16_t group = (uint16_t)(1 + (lamp->number - 1) / boss.registry.group_size);

    enum iotsec_status status = iotsec_join(&lamp->device, &boss.addr, &group, 1);

    lamp->start_at = NOBODY;
    if (status == IOTSEC_ERR_STATE) { /* it is in the domain, but not in the group */
        status = iotsec_group_join(&lamp->device, group);
    }
    if (status != IOTSEC_OK && status != IOTSEC_ERR_EXISTS) {
        lamp->start_at = now + 1000u * MS;
    }
}

static void poll_lamp(struct lamp *lamp)
{
    uint32_t wait;

    if (lamp->start_at <= now) {
        start_lamp(lamp);
    }
    wait = iotsec_poll(&lamp->device);
    if (lamp->start_at != NOBODY && (lamp->start_at < now || (lamp->start_at - now) / MS < wait)) {
        wait = lamp->start_at < now ? 0 : (uint32_t)((lamp->start_at - now + MS - 1) / MS);
    }
    set_timer(&lamp->due, lamp->number, wait);
}

static void hand(struct lamp *lamp, const struct datagram *datagram)
{
    struct iotsec_addr from = addr_of(datagram->from);
    uint8_t copy[1280];

    memcpy(copy, datagram->data, datagram->len);
    (void)iotsec_input(&lamp->device, &from, &datagram->to, copy, datagram->len);
    poll_lamp(lamp);
}

static bool is_lost(void)
{
    bool lost = below(1000) < link_.loss;

    link_.lost += lost;
    return lost;
}

static void arrive(struct datagram *datagram)
{
    uint32_t number = number_of(&datagram->to);

    if (iotsec_addr_is_multicast(&datagram->to)) {
        uint32_t first = (number - 1) * boss.registry.group_size;
        uint32_t i;

        for (i = first; !link_.deaf && i < first + boss.registry.group_size && i < lamp_count; i++) {
            if (lamps[i].listens && lamps[i].number != datagram->from && !is_lost()) {
                hand(&lamps[i], datagram);
            }
        }
    } else if (!is_lost()) {
        if (number == 0) {
            struct iotsec_addr from = addr_of(datagram->from);

            manager_input(&from, datagram->data, datagram->len);
            poll_boss();
        } else {
            hand(&lamps[number - 1], datagram);
        }
    }
    free(datagram);
}

/* Until then, or until `done`. Whether it was done. */
static bool run(uint64_t until, bool (*done)(void))
{
    while (heap_len != 0 && heap[0].time <= until) {
        struct event event = pop();

        now = event.time;
        if (event.datagram != NULL) {
            arrive(event.datagram);
        } else if (event.node == 0) {
            if (boss.due == event.time) {
                boss.due = NOBODY;
                poll_boss();
            }
        } else if (lamps[event.node - 1].due == event.time) {
            lamps[event.node - 1].due = NOBODY;
            poll_lamp(&lamps[event.node - 1]);
        }
        if (done != NULL && done()) {
            return true;
        }
    }
    now = until;
    return false;
}

static void start_at(struct lamp *lamp, uint64_t time)
{
    lamp->start_at = time;
    poll_lamp(lamp);
}

/* ---- What is measured ---- */

static void print_values(const char *what, const int64_t *values, size_t count)
{
    size_t i;

    printf("%s", what);
    for (i = 0; i < count; i++) {
        printf(" %" PRId64, values[i]);
    }
    printf("\n");
}

static uint32_t wanted;

static bool all_joined(void)
{
    return joined_count >= wanted && members_joined >= wanted;
}

static bool all_updated(void)
{
    return members_updated >= wanted;
}

static void join_up_to(uint32_t count)
{
    while (wanted < count) {
        uint32_t end = wanted + GROUP_SIZE < count ? wanted + GROUP_SIZE : count;

        for (; wanted < end; wanted++) {
            start_at(&lamps[wanted], now + (uint64_t)below(1000) * MS);
        }
        if (!run(now + 600000u * MS, all_joined)) {
            fprintf(stderr, "scale: %" PRIu32 " of %" PRIu32 " have joined\n", joined_count, wanted);
            exit(1);
        }
    }
}

/* Joins one by one, and records that the manager has taken already: it looks their session up and drops them. */
static int measure_cost(uint32_t group_size)
{
    static const uint32_t at[] = { 100, 1000, 10000 - SAMPLES };
    static const char *const joins[] = { "join 100", "join 1000", "join 10000" };
    static const char *const records[] = { "record 100", "record 1000", "record 10000" };
    unsigned i;

    set_up(DEVICES_MAX, group_size, DELIVERIES_MAX, 1);
    link_.deaf = true;
    for (i = 0; i < 3; i++) {
        uint32_t k;

        join_up_to(at[i]);
        run(now + 5000u * MS, NULL);
        CALLGRIND_START_INSTRUMENTATION;
        CALLGRIND_ZERO_STATS;
        for (k = 0; k < SAMPLES; k++) {
            join_up_to(wanted + 1);
            run(now + 20000u * MS, NULL);
        }
        CALLGRIND_DUMP_STATS_AT(joins[i]);
        for (k = 0; k < SAMPLES; k++) {
            struct lamp *lamp = &lamps[(uint64_t)wanted * k / SAMPLES];
            uint8_t copy[KEPT_BYTES];

            memcpy(copy, lamp->kept, lamp->kept_len);
            manager_input(&lamp->addr, copy, lamp->kept_len);
        }
        CALLGRIND_DUMP_STATS_AT(records[i]);
        CALLGRIND_STOP_INSTRUMENTATION;
    }
    printf("samples %u\n", SAMPLES);
    return 0;
}

static void begin_count(void)
{
    link_.datagrams = link_.bytes = link_.dropped = link_.lost = link_.air = 0;
}

static void report(const char *what, uint32_t members, uint64_t began, bool done)
{
    uint32_t key = iotsec_manager_key_number(&boss.manager, 1);
    uint32_t current = 0;
    uint32_t i;

    for (i = 0; i < lamp_count; i++) {
        current += lamps[i].joined && lamps[i].key_number == key;
    }
    {
        const int64_t values[] = { members, link_.loss, done ? (int64_t)((now - began) / MS) : -1, (int64_t)link_.datagrams,
                                   (int64_t)link_.bytes, (int64_t)(link_.air / MS), current, (int64_t)link_.dropped };

        print_values(what, values, sizeof values / sizeof values[0]);
    }
}

static int measure_group(uint32_t members, unsigned loss, uint64_t seed, uint16_t deliveries)
{
    uint64_t began;
    bool done;

    set_up(members + 1, members + 1, deliveries, seed);
    join_up_to(members);
    run(now + 600000u * MS, NULL); /* the interval of steps has passed, however long it has grown */
    link_.shared = true;
    link_.loss = loss;
    begin_count();
    began = now;
    wanted++;
    start_at(&lamps[members], now);
    done = run(began + 600000u * MS, all_joined);
    report("join", members, began, done);
    run(now + 10000u * MS, NULL);
    report("follow", members, began, true);
    run(now + 600000u * MS, NULL);
    begin_count();
    began = now;
    members_updated = 0;
    wanted = members;
    if (iotsec_manager_evict(&boss.manager, members + 1) != IOTSEC_OK) {
        return 1;
    }
    poll_boss();
    lamps[members].joined = false;
    done = run(began + 600000u * MS, all_updated);
    report("eviction", members, began, done);
    return 0;
}

/* As if all had joined before the power went: the registry knows them, nobody else does. */
static void fill_registry(void)
{
    uint32_t i;

    for (i = 0; i < lamp_count; i++) {
        struct iotsec_registry_member *member = &boss.registry.members[i];
        struct iotsec_registry_group *group = &boss.registry.groups[i / boss.registry.group_size];

        member->device = i + 1;
        member->group_id = group->group_id;
        member->sender_id = group->next_sender++;
    }
}

static int measure_storm(uint32_t count, unsigned loss, uint64_t seed, uint32_t wait, uint32_t spread)
{
    uint64_t horizon = 1800;
    uint64_t second;
    uint32_t i;

    set_up(count, GROUP_SIZE, DELIVERIES_MAX, seed);
    iotsec_manager_wipe(&boss.manager);
    fill_registry();
    start_boss();
    link_.shared = true;
    link_.loss = loss;
    retry_ms = wait;
    now = 10000u * MS;
    poll_boss();
    wanted = count;
    for (i = 0; i < count; i++) {
        start_at(&lamps[i], now + (uint64_t)below(spread) * MS);
    }
    for (second = 1; second <= horizon; second++) {
        bool done = run((10 + second) * 1000u * MS, all_joined);

        const int64_t values[] = { (int64_t)second, joined_count, members_joined, (int64_t)link_.datagrams,
                                   (int64_t)link_.dropped, joins_failed, groups_refused };

        print_values("second", values, sizeof values / sizeof values[0]);
        if (done || joined_count == count) {
            break;
        }
    }
    {
        const int64_t values[] = { count, loss, joined_count, (int64_t)second, (int64_t)link_.datagrams, (int64_t)link_.bytes,
                                   (int64_t)(link_.air / MS), (int64_t)link_.dropped, joins_failed, steps };

        print_values("storm", values, sizeof values / sizeof values[0]);
    }
    for (i = 0; i < KINDS; i++) {
        printf("kind %" PRIu64 " %" PRIu64 " %s\n", kind_count[i], kind_air[i] / MS, kind_names[i]);
    }
    return 0;
}

static uint32_t number(const char *text)
{
    return (uint32_t)strtoul(text, NULL, 10);
}

int main(int argc, char **argv)
{
    size_t len;

    if (argc == 2 && strcmp(argv[1], "sizes") == 0) {
        printf("session %zu\ncontact %zu\nmember %zu\n", sizeof(struct iotsec_dtls_session),
               sizeof(struct iotsec_manager_contact), sizeof(struct iotsec_manager_member));
        printf("delivery %zu\nhandshake %zu\n", sizeof(struct iotsec_manager_delivery), sizeof(struct iotsec_dtls_handshake));
        return 0;
    }
    if (argc == 2 && strcmp(argv[1], "air") == 0) {
        for (len = 1; len <= 1280; len++) {
            uint64_t air;
            unsigned frames = frames_of(len, &air);

            printf("%u %" PRIu64 "\n", frames, air);
        }
        return 0;
    }
    if (argc == 3 && strcmp(argv[1], "cost") == 0) {
        return measure_cost(number(argv[2]));
    }
    if (argc == 6 && strcmp(argv[1], "group") == 0) {
        return measure_group(number(argv[2]), number(argv[3]), number(argv[4]), (uint16_t)number(argv[5]));
    }
    if (argc == 7 && strcmp(argv[1], "storm") == 0) {
        return measure_storm(number(argv[2]), number(argv[3]), number(argv[4]), number(argv[5]), number(argv[6]));
    }
    fprintf(stderr, "usage: scale sizes | air | cost SIZE | group MEMBERS LOSS SEED DELIVERIES | storm DEVICES LOSS SEED WAIT SPREAD\n");
    return 2;
}
