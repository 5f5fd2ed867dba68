/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The domain manager against DTLS clients that do as the test says, on a wire in memory, with a
 * registry in memory whose operations can fail and which can lose power around any commit.
 *
 * Two things are checked at every key that arrives anywhere: it was durable before its datagram left,
 * and its sender ID belongs to nobody else in that generation.
 *
 * Each test program has one of its own: all of it is here.
 */
#ifndef IOTSEC_TESTS_MANAGER_RIG_H
#define IOTSEC_TESTS_MANAGER_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <iotsec/csb.h>
#include <iotsec/manager.h>

#include "amikey/keymgmt.h"
#include "base/bytes.h"

#if defined(IOTSEC_WITH_PSA)
#include <psa/crypto.h>
#endif

#define DEVICES 24
#define GROUPS 4
#define MEMBERS 64
#define QUEUE 256
#define EVENTS 512
#define LOG 4096
#define EVICTED 128
#define NUMBERS 1000 /* from here up, devices have no identity */
#define COEFFICIENTS 32896 /* of a polynomial of degree 255 */

#define GROUP_A 7
#define GROUP_B 9

/* ---- What everything shares ---- */

struct packet {
    struct iotsec_addr from;
    struct iotsec_addr to;
    uint32_t commits; /* durable when it was sent */
    uint32_t at;      /* when it arrives */
    size_t len;
    uint8_t data[512];
};

struct store {
    struct iotsec_registry_group groups[GROUPS];
    size_t group_count;
    struct iotsec_registry_member members[MEMBERS];
    size_t member_count;
    uint32_t evicted[EVICTED];
    size_t evicted_count;
    struct iotsec_registry_access access; /* number 0: none */
    struct iotsec_registry_poly poly;     /* generation 0: none */
};

/* One put, for the check that keys come after it. An L2 key has group 0. */
struct put {
    uint32_t commit;
    uint32_t key_number; /* 0: a membership */
    uint32_t device;
    uint16_t group_id;
    uint16_t sender_id;
    uint8_t tgk[16];
};

struct held {
    uint16_t group_id;
    uint16_t sender_id;
    uint32_t key_number;
    uint8_t tgk[16];
    uint8_t rand[16];
    bool eviction;
    uint32_t pairs; /* that came, repeats included */
};

struct dev {
    uint32_t number;
    uint32_t life; /* distinguishes what it was before it lost its state */
    struct iotsec_addr addr;
    struct iotsec_hal hal;
    struct iotsec_dtls_callbacks callbacks;
    struct iotsec_dtls_config config;
    struct iotsec_dtls dtls;
    struct iotsec_dtls_session sessions[2];
    struct iotsec_dtls_handshake handshakes[1];
    uint8_t tx[512];
    uint8_t identity[4];
    uint8_t psk[16];

    bool no_extension;     /* sends no group_request */
    uint16_t hello[8];     /* groups in it */
    size_t hello_count;
    bool deaf;             /* hears nothing */
    bool mute;             /* acknowledges nothing */
    int result;            /* what keys are acknowledged with */

    iotsec_dtls_handle session;
    enum iotsec_status failed;
    enum iotsec_status closed;
    struct iotsec_km_message half;
    struct held held[GROUPS];
    size_t held_count;
    uint8_t next_id;
    int answer;            /* result of the last request, -1: none */
    uint32_t answers;
    uint32_t refused;
    uint16_t refused_group;
    uint8_t refused_code;
    uint32_t evicted;
    uint32_t removed;
    struct iotsec_addr also; /* it hears here too */
    struct iotsec_km_message access; /* the last ACCESS */
    int access_result;     /* what they are acknowledged with */
    uint32_t accesses;     /* that came, repeats included */
    uint32_t l2_newest;    /* highest L2 number that came */
    uint32_t l2_use;       /* highest that it is told to use */
    uint32_t access_at;    /* datagram that the first ACCESS came in */
    uint32_t path_checks;
    uint8_t path_id;       /* of the last */
    bool path_mute;        /* acknowledges none */
    uint32_t received;     /* key-management messages of any kind */
    uint32_t datagrams;
    struct {
        uint32_t generation; /* of the newest share, 0 none */
        uint16_t held;       /* its coefficients so far */
        uint8_t degree;
        uint8_t gentle;
        uint8_t revoked;     /* as the last message said */
        uint8_t marks;       /* that it holds */
        uint8_t elements[256][16];
        uint8_t mark[IOTSEC_REVOKED_MAX][IOTSEC_REVOKED_BYTES];
    } share;
    int share_result;      /* what they are acknowledged with */
    bool share_mute;       /* acknowledges none */
    uint32_t shares;       /* SHARE messages, repeats included */
    uint32_t marks;        /* REVOKED messages */
    uint32_t gaps;         /* of both, that began beyond what it holds */
    uint8_t share_first;   /* of the last SHARE or REVOKED */
    uint8_t share_count;
    uint8_t share_message; /* its message ID */
    uint32_t share_at;     /* datagram that the first SHARE came in */
};

struct owner {
    uint16_t group_id;
    uint16_t sender_id;
    uint32_t generation;
    uint8_t rand[16];
    uint32_t device;
    uint32_t life;
};

static struct rig {
    uint32_t now;
    uint64_t random;
    bool random_fails;
    struct packet queue[QUEUE];
    size_t queue_len;
    uint32_t delay;    /* of every datagram, ms */
    uint32_t service;  /* of the link that all share: ms that each datagram takes, one after the other */
    uint32_t link_free_at;

    struct store durable;
    struct store staged;
    bool open;
    uint32_t operations;
    uint32_t fail_at;     /* this operation fails, counted from 1; 0: none */
    uint32_t fail_more;   /* and so many after it */
    uint32_t loss;        /* of a hundred datagrams, so many are lost */
    uint32_t commits;
    uint32_t crash_at;    /* power fails at this commit */
    bool crash_after;     /* when it is durable already */
    jmp_buf crash;
    bool psk_pending;
    iotsec_dtls_handle pending;
    uint32_t pending_device;
    uint16_t forbidden;   /* group that nobody may join */

    struct put log[LOG];
    size_t log_len;
    /* a[i][j] with j <= i, row after row; what a transaction has written replaces what is durable as it ends */
    uint8_t coefficients[COEFFICIENTS][16];
    uint8_t staged_coefficients[COEFFICIENTS][16];
    uint32_t staged_count;
    bool staged_new;
    uint32_t reads;       /* of coefficients */
    struct {
        uint32_t commit;
        uint32_t generation;
        uint8_t revoked;
    } polys[LOG];
    size_t poly_count;
    struct owner owners[LOG];
    size_t owner_count;

    struct iotsec_hal hal;
    struct iotsec_manager_config config;
    struct iotsec_manager manager;
    struct iotsec_dtls_session sessions[DEVICES + 4];
    struct iotsec_dtls_handshake handshakes[DEVICES];
    struct iotsec_manager_contact contacts[DEVICES];
    struct iotsec_manager_group groups[GROUPS];
    struct iotsec_manager_member members[MEMBERS];
    struct iotsec_manager_delivery deliveries[DEVICES];
    uint8_t tx[512];
    struct iotsec_addr addr;

    struct iotsec_manager_event events[EVENTS];
    size_t event_count;
    void (*on_event)(const struct iotsec_manager_event *event);
    uint32_t app_received;

    struct dev devices[DEVICES];
} rig;

static const struct iotsec_crypto *crypto;

static inline uint32_t rig_now(void *user)
{
    (void)user;
    return rig.now;
}

static inline uint64_t rig_next_random(void)
{
    uint64_t z = rig.random += 0x9E3779B97F4A7C15u;

    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static inline int rig_random(void *user, uint8_t *out, size_t len)
{
    size_t i;

    if (user == &rig && rig.random_fails) {
        return -1;
    }
    for (i = 0; i < len; i++) {
        out[i] = (uint8_t)rig_next_random();
    }
    return 0;
}

static inline void rig_queue(const struct iotsec_addr *from, const struct iotsec_addr *to, const uint8_t *data, size_t len)
{
    struct packet *p;

    assert_true(rig.queue_len < QUEUE && len <= sizeof p->data);
    p = &rig.queue[rig.queue_len++];
    p->from = *from;
    p->to = *to;
    p->commits = rig.commits;
    if (rig.service == 0 || iotsec_time_reached(rig.now, rig.link_free_at)) {
        rig.link_free_at = rig.now;
    }
    rig.link_free_at += rig.service;
    p->at = rig.link_free_at + rig.delay;
    p->len = len;
    memcpy(p->data, data, len);
}

static inline int manager_send(void *user, const struct iotsec_addr *to, const uint8_t *data, size_t len)
{
    (void)user;
    rig_queue(&rig.addr, to, data, len);
    return 0;
}

static inline int device_send(void *user, const struct iotsec_addr *to, const uint8_t *data, size_t len)
{
    rig_queue(&((struct dev *)user)->addr, to, data, len);
    return 0;
}

/* ---- The registry ---- */

static inline enum iotsec_status operate(void)
{
    rig.operations++;
    return rig.fail_at != 0 && rig.operations - rig.fail_at <= rig.fail_more ? IOTSEC_ERR_REGISTRY : IOTSEC_OK;
}

static inline struct iotsec_registry_group *find_row(struct store *s, uint16_t group_id)
{
    size_t i;

    for (i = 0; i < s->group_count; i++) {
        if (s->groups[i].group_id == group_id) {
            return &s->groups[i];
        }
    }
    return NULL;
}

static inline struct iotsec_registry_member *find_member(struct store *s, uint32_t device, uint16_t group_id)
{
    size_t i;

    for (i = 0; i < s->member_count; i++) {
        if (s->members[i].device == device && s->members[i].group_id == group_id) {
            return &s->members[i];
        }
    }
    return NULL;
}

static inline bool is_evicted(const struct store *s, uint32_t device)
{
    size_t i;

    for (i = 0; i < s->evicted_count; i++) {
        if (s->evicted[i] == device) {
            return true;
        }
    }
    return false;
}

static inline enum iotsec_status reg_psk(void *user, iotsec_dtls_handle handshake, const uint8_t *identity, size_t len,
                                  struct iotsec_dtls_psk *psk)
{
    uint32_t device;

    assert_ptr_equal(user, &rig);
    assert_int_equal(len, 4);
    device = iotsec_get_u32(identity);
    if (device == 0 || device > DEVICES) {
        return IOTSEC_ERR_UNKNOWN_IDENTITY;
    }
    if (rig.psk_pending) {
        rig.pending = handshake;
        rig.pending_device = device;
        return IOTSEC_ERR_PENDING;
    }
    memset(psk->key, (int)device, 16);
    psk->len = 16;
    psk->peer = device;
    return IOTSEC_OK;
}

static inline enum iotsec_status reg_authorised(void *user, uint32_t device)
{
    (void)user;
    return is_evicted(&rig.durable, device) ? IOTSEC_ERR_NOT_AUTHORISED : IOTSEC_OK;
}

static inline enum iotsec_status reg_group_allowed(void *user, uint32_t device, uint16_t group_id)
{
    (void)user;
    (void)device;
    return group_id == rig.forbidden ? IOTSEC_ERR_GROUP_REFUSED : IOTSEC_OK;
}

static inline enum iotsec_status reg_group_at(void *user, uint32_t index, struct iotsec_registry_group *group)
{
    (void)user;
    if (index >= rig.durable.group_count) {
        return IOTSEC_ERR_NOT_FOUND;
    }
    *group = rig.durable.groups[index];
    return IOTSEC_OK;
}

static inline enum iotsec_status reg_member_at(void *user, uint32_t index, struct iotsec_registry_member *member)
{
    (void)user;
    if (index >= rig.durable.member_count) {
        return IOTSEC_ERR_NOT_FOUND;
    }
    *member = rig.durable.members[index];
    return IOTSEC_OK;
}

static inline enum iotsec_status reg_begin(void *user)
{
    (void)user;
    assert_false(rig.open);
    if (operate() != IOTSEC_OK) {
        return IOTSEC_ERR_REGISTRY;
    }
    rig.open = true;
    rig.staged = rig.durable;
    rig.staged_new = false;
    return IOTSEC_OK;
}

static inline void note_put(const struct put *put)
{
    assert_true(rig.log_len < LOG);
    rig.log[rig.log_len] = *put;
    rig.log[rig.log_len++].commit = rig.commits + 1;
}

static inline enum iotsec_status reg_put_group(void *user, const struct iotsec_registry_group *group)
{
    struct iotsec_registry_group *row = find_row(&rig.staged, group->group_id);
    struct put put;

    (void)user;
    assert_true(rig.open);
    if (operate() != IOTSEC_OK) {
        return IOTSEC_ERR_REGISTRY;
    }
    if (row == NULL) {
        assert_true(rig.staged.group_count < GROUPS);
        row = &rig.staged.groups[rig.staged.group_count++];
    }
    *row = *group;
    memset(&put, 0, sizeof put);
    put.key_number = group->key_number;
    put.group_id = group->group_id;
    memcpy(put.tgk, group->tgk, 16);
    note_put(&put);
    return IOTSEC_OK;
}

static inline enum iotsec_status reg_delete_member(void *user, uint32_t device, uint16_t group_id)
{
    struct iotsec_registry_member *row = find_member(&rig.staged, device, group_id);

    (void)user;
    assert_true(rig.open);
    if (operate() != IOTSEC_OK) {
        return IOTSEC_ERR_REGISTRY;
    }
    assert_non_null(row);
    *row = rig.staged.members[--rig.staged.member_count];
    return IOTSEC_OK;
}

static inline enum iotsec_status reg_delete_group(void *user, uint16_t group_id)
{
    struct iotsec_registry_group *row = find_row(&rig.staged, group_id);
    size_t i;

    (void)user;
    assert_true(rig.open);
    if (operate() != IOTSEC_OK) {
        return IOTSEC_ERR_REGISTRY;
    }
    assert_non_null(row);
    *row = rig.staged.groups[--rig.staged.group_count];
    for (i = 0; i < rig.staged.member_count;) {
        if (rig.staged.members[i].group_id == group_id) {
            rig.staged.members[i] = rig.staged.members[--rig.staged.member_count];
        } else {
            i++;
        }
    }
    return IOTSEC_OK;
}

static inline enum iotsec_status reg_put_member(void *user, const struct iotsec_registry_member *member)
{
    struct iotsec_registry_member *row = find_member(&rig.staged, member->device, member->group_id);
    struct put put;

    (void)user;
    assert_true(rig.open);
    if (operate() != IOTSEC_OK) {
        return IOTSEC_ERR_REGISTRY;
    }
    if (row == NULL) {
        assert_true(rig.staged.member_count < MEMBERS);
        row = &rig.staged.members[rig.staged.member_count++];
    }
    *row = *member;
    memset(&put, 0, sizeof put);
    put.device = member->device;
    put.group_id = member->group_id;
    put.sender_id = member->sender_id;
    note_put(&put);
    return IOTSEC_OK;
}

static inline enum iotsec_status reg_put_evicted(void *user, uint32_t device)
{
    (void)user;
    assert_true(rig.open);
    if (operate() != IOTSEC_OK) {
        return IOTSEC_ERR_REGISTRY;
    }
    assert_true(rig.staged.evicted_count < EVICTED);
    rig.staged.evicted[rig.staged.evicted_count++] = device;
    return IOTSEC_OK;
}

static inline enum iotsec_status reg_access(void *user, struct iotsec_registry_access *access)
{
    (void)user;
    *access = rig.durable.access;
    return access->number != 0 ? IOTSEC_OK : IOTSEC_ERR_NOT_FOUND;
}

static inline enum iotsec_status reg_put_access(void *user, const struct iotsec_registry_access *access)
{
    struct put put;

    (void)user;
    assert_true(rig.open);
    if (operate() != IOTSEC_OK) {
        return IOTSEC_ERR_REGISTRY;
    }
    rig.staged.access = *access;
    memset(&put, 0, sizeof put);
    put.key_number = access->number;
    memcpy(put.tgk, access->key, 16);
    note_put(&put);
    if (access->next_number != 0) {
        put.key_number = access->next_number;
        memcpy(put.tgk, access->next_key, 16);
        note_put(&put);
    }
    return IOTSEC_OK;
}

#if IOTSEC_PAIRWISE
static inline size_t coefficient_at(uint32_t row, uint32_t column)
{
    return row >= column ? row * (row + 1) / 2 + column : column * (column + 1) / 2 + row;
}

static inline enum iotsec_status reg_poly(void *user, struct iotsec_registry_poly *poly)
{
    (void)user;
    *poly = rig.durable.poly;
    return poly->generation != 0 ? IOTSEC_OK : IOTSEC_ERR_NOT_FOUND;
}

static inline enum iotsec_status reg_put_poly(void *user, const struct iotsec_registry_poly *poly)
{
    (void)user;
    assert_true(rig.open);
    if (operate() != IOTSEC_OK) {
        return IOTSEC_ERR_REGISTRY;
    }
    assert_true(poly->generation >= rig.durable.poly.generation);
    rig.staged_new = poly->generation != rig.durable.poly.generation;
    rig.staged_count = 0;
    rig.staged.poly = *poly;
    return IOTSEC_OK;
}

static inline enum iotsec_status reg_put_coefficients(void *user, uint8_t row, uint8_t first, uint16_t count, const uint8_t *elements)
{
    (void)user;
    assert_true(rig.open && rig.staged_new);
    if (operate() != IOTSEC_OK) {
        return IOTSEC_ERR_REGISTRY;
    }
    assert_true(row <= rig.staged.poly.degree && first + count <= row + 1);
    assert_int_equal(rig.staged_count, coefficient_at(row, first));
    memcpy(rig.staged_coefficients[rig.staged_count], elements, 16u * count);
    rig.staged_count += count;
    return IOTSEC_OK;
}

static inline enum iotsec_status reg_coefficients(void *user, uint8_t row, uint8_t first, uint16_t count, uint8_t *elements)
{
    uint32_t i;

    (void)user;
    if (operate() != IOTSEC_OK) {
        memset(elements, 0x55, 16u * count); /* half of it may have been read */
        return IOTSEC_ERR_REGISTRY;
    }
    assert_true(row <= rig.durable.poly.degree && first + count <= rig.durable.poly.degree + 1);
    for (i = 0; i < count; i++) {
        memcpy(elements + 16 * i, rig.coefficients[coefficient_at(row, first + i)], 16);
    }
    rig.reads++;
    return IOTSEC_OK;
}

static inline void device_point(uint32_t device, uint8_t point[16])
{
    uint8_t identity[4];

    iotsec_put_u32(identity, device);
    assert_int_equal(iotsec_polykey_point(&rig.hal, identity, sizeof identity, point), IOTSEC_OK);
}

static inline enum iotsec_status reg_point(void *user, uint32_t device, uint8_t point[16])
{
    (void)user;
    if (operate() != IOTSEC_OK) {
        return IOTSEC_ERR_REGISTRY;
    }
    if (device >= NUMBERS) {
        return IOTSEC_ERR_NOT_FOUND;
    }
    device_point(device, point);
    return IOTSEC_OK;
}

/* What the manager promises of a polynomial. */
static inline void check_poly(void)
{
    const struct iotsec_registry_poly *old = &rig.durable.poly;
    const struct iotsec_registry_poly *poly = &rig.staged.poly;

    if (rig.staged_new) {
        assert_int_equal(rig.staged_count, coefficient_at(poly->degree + 1u, 0));
        assert_true(iotsec_polykey_are_elements(rig.staged_coefficients[0], rig.staged_count));
        assert_int_equal(poly->revoked_count, poly->carried);
        assert_int_equal(poly->carried, poly->gentle ? old->revoked_count - old->carried : 0);
        assert_memory_equal(poly->revoked, old->revoked[old->carried], IOTSEC_REVOKED_BYTES * (size_t)poly->carried);
        assert_true(!poly->gentle || poly->generation == old->generation + 1);
        memcpy(rig.coefficients, rig.staged_coefficients, sizeof rig.coefficients[0] * rig.staged_count);
    } else {
        assert_true(poly->degree == old->degree && poly->gentle == old->gentle && poly->carried == old->carried);
        assert_true(poly->revoked_count >= old->revoked_count);
        assert_memory_equal(poly->revoked, old->revoked, IOTSEC_REVOKED_BYTES * (size_t)old->revoked_count);
    }
    if (memcmp(poly, old, sizeof *poly) != 0) {
        assert_true(rig.poly_count < LOG);
        rig.polys[rig.poly_count].commit = rig.commits + 1;
        rig.polys[rig.poly_count].generation = poly->generation;
        rig.polys[rig.poly_count++].revoked = poly->revoked_count;
    }
}
#endif

static inline void roll_back(void)
{
    rig.open = false;
    while (rig.log_len != 0 && rig.log[rig.log_len - 1].commit > rig.commits) {
        rig.log_len--;
    }
}

static inline enum iotsec_status reg_commit(void *user)
{
    size_t i;
    size_t j;

    (void)user;
    assert_true(rig.open);
    if (operate() != IOTSEC_OK) {
        roll_back();
        return IOTSEC_ERR_REGISTRY;
    }
    if (rig.commits + 1 == rig.crash_at && !rig.crash_after) {
        roll_back();
        longjmp(rig.crash, 1);
    }
    /* what the manager promises of a registry */
    for (i = 0; i < rig.staged.member_count; i++) {
        const struct iotsec_registry_member *a = &rig.staged.members[i];
        const struct iotsec_registry_group *group = find_row(&rig.staged, a->group_id);

        assert_non_null(group);
        assert_true(a->sender_id >= 1 && a->sender_id < group->next_sender);
        for (j = 0; j < i; j++) {
            const struct iotsec_registry_member *b = &rig.staged.members[j];

            assert_false(a->group_id == b->group_id && a->sender_id == b->sender_id);
        }
    }
#if IOTSEC_PAIRWISE
    check_poly();
#endif
    rig.open = false;
    rig.durable = rig.staged;
    rig.commits++;
    if (rig.commits == rig.crash_at) {
        longjmp(rig.crash, 1);
    }
    return IOTSEC_OK;
}

static inline void reg_abort(void *user)
{
    (void)user;
    assert_true(rig.open);
    roll_back();
}

static const struct iotsec_registry registry = {
    reg_psk, reg_authorised, reg_group_allowed, reg_group_at, reg_member_at, reg_begin, reg_put_group,
    reg_delete_group, reg_put_member, reg_delete_member, reg_put_evicted, reg_commit, reg_abort,
    reg_access, reg_put_access,
#if IOTSEC_PAIRWISE
    reg_poly, reg_put_poly, reg_put_coefficients, reg_coefficients, reg_point,
#else
    NULL, NULL, NULL, NULL, NULL,
#endif
};

/* ---- The manager's application ---- */

static inline void on_event(void *user, const struct iotsec_manager_event *event)
{
    assert_ptr_equal(user, &rig);
    assert_true(rig.event_count < EVENTS);
    rig.events[rig.event_count] = *event;
    rig.events[rig.event_count++].addr = NULL;
    if (rig.on_event != NULL) {
        rig.on_event(event);
    }
}

static inline void on_app_receive(void *user, uint32_t device, const uint8_t *data, size_t len)
{
    (void)user;
    (void)device;
    assert_int_equal(len, 2);
    assert_memory_equal(data, "hi", 2);
    rig.app_received++;
}

static const struct iotsec_manager_callbacks callbacks = { .event = on_event, .receive = on_app_receive };

static inline size_t count_events(enum iotsec_manager_event_kind kind, uint32_t device)
{
    size_t n = 0;
    size_t i;

    for (i = 0; i < rig.event_count; i++) {
        n += rig.events[i].kind == kind && (device == 0 || rig.events[i].device == device);
    }
    return n;
}

static inline const struct iotsec_manager_event *last_event(enum iotsec_manager_event_kind kind)
{
    size_t i = rig.event_count;

    while (i-- > 0) {
        if (rig.events[i].kind == kind) {
            return &rig.events[i];
        }
    }
    return NULL;
}

/* ---- The devices ---- */

static inline struct held *find_held(struct dev *d, uint16_t group_id)
{
    size_t i;

    for (i = 0; i < d->held_count; i++) {
        if (d->held[i].group_id == group_id) {
            return &d->held[i];
        }
    }
    return NULL;
}

static inline void device_say(struct dev *d, const struct iotsec_km_message *message)
{
    uint8_t bytes[IOTSEC_KM_MAX_BYTES];
    size_t len;

    assert_int_equal(iotsec_km_encode(message, bytes, sizeof bytes, &len), IOTSEC_OK);
    assert_int_equal(iotsec_dtls_send(&d->dtls, d->session, iotsec_km_content_type(message->kind), bytes, len), IOTSEC_OK);
    (void)iotsec_dtls_flush(&d->dtls);
}

static inline void device_acknowledge(struct dev *d, uint8_t message, int result)
{
    struct iotsec_km_message ack;

    memset(&ack, 0, sizeof ack);
    ack.kind = IOTSEC_KM_ACK;
    ack.message = message;
    ack.code = (uint8_t)result;
    if (!d->mute) {
        device_say(d, &ack);
    }
}

/* The two promises. `commits`: what was durable when the datagram left. */
static inline void check_pair(const struct dev *d, const struct iotsec_km_message *key, const uint8_t rand[16], uint32_t commits)
{
    bool group = false;
    bool member = false;
    size_t i;

    for (i = 0; i < rig.log_len && rig.log[i].commit <= commits; i++) {
        const struct put *put = &rig.log[i];

        if (put->group_id != key->group_id) {
            continue;
        }
        group |= put->key_number == key->key_number && memcmp(put->tgk, key->secret, 16) == 0;
        member |= put->key_number == 0 && put->device == d->number && put->sender_id == key->sender_id;
    }
    assert_true(group);
    assert_true(member);
    for (i = 0; i < rig.owner_count; i++) {
        const struct owner *o = &rig.owners[i];

        if (o->group_id == key->group_id && o->sender_id == key->sender_id && o->generation == key->key_number >> 8 &&
            memcmp(o->rand, rand, 16) == 0) {
            /* its counter goes on; anybody else's would start again under the same keys */
            assert_int_equal(o->device, d->number);
            assert_int_equal(o->life, d->life);
            return;
        }
    }
    assert_true(rig.owner_count < LOG);
    rig.owners[rig.owner_count].group_id = key->group_id;
    rig.owners[rig.owner_count].sender_id = key->sender_id;
    rig.owners[rig.owner_count].generation = key->key_number >> 8;
    memcpy(rig.owners[rig.owner_count].rand, rand, 16);
    rig.owners[rig.owner_count].device = d->number;
    rig.owners[rig.owner_count++].life = d->life;
}

static uint32_t arriving_commits;

static inline void device_install(struct dev *d, const struct iotsec_km_message *parameters)
{
    struct held *h = find_held(d, parameters->group_id);

    check_pair(d, &d->half, parameters->secret, arriving_commits);
    if (d->result == IOTSEC_KM_DONE) {
        if (h == NULL) {
            assert_true(d->held_count < GROUPS);
            h = &d->held[d->held_count++];
            memset(h, 0, sizeof *h);
        }
        h->pairs++;
        if (d->half.key_number > h->key_number) {
            h->group_id = d->half.group_id;
            h->sender_id = d->half.sender_id;
            h->key_number = d->half.key_number;
            memcpy(h->tgk, d->half.secret, 16);
            memcpy(h->rand, parameters->secret, 16);
            h->eviction = parameters->kind == IOTSEC_KM_PARAMETERS_EVICTION;
        }
    }
    device_acknowledge(d, parameters->message, d->result);
}

/* An L2 key that arrives was durable before its datagram left. */
static inline void device_take_access(struct dev *d, const struct iotsec_km_message *m)
{
    bool durable = false;
    size_t i;

    for (i = 0; i < rig.log_len && rig.log[i].commit <= arriving_commits; i++) {
        durable |= rig.log[i].group_id == 0 && rig.log[i].key_number == m->key_number && memcmp(rig.log[i].tgk, m->secret, 16) == 0;
    }
    assert_true(durable);
    d->access = *m;
    if (d->accesses++ == 0) {
        d->access_at = d->datagrams;
    }
    if (d->access_result == IOTSEC_KM_DONE && m->key_number > d->l2_newest) {
        d->l2_newest = m->key_number;
    }
    if (d->access_result == IOTSEC_KM_DONE && (m->code & IOTSEC_KM_ACCESS_USE) != 0 && m->key_number > d->l2_use) {
        d->l2_use = m->key_number;
    }
    device_acknowledge(d, m->message, d->access_result);
}

#if IOTSEC_PAIRWISE
/* SHARE and REVOKED, as docs/protocol.md, section 14 says. What they tell was durable before the datagram left. */
static inline void device_take_share(struct dev *d, const struct iotsec_km_message *m)
{
    bool marks = m->kind == IOTSEC_KM_REVOKED;
    bool durable = false;
    uint32_t held;
    size_t i;

    for (i = 0; i < rig.poly_count && rig.polys[i].commit <= arriving_commits; i++) {
        durable |= rig.polys[i].generation == m->key_number && rig.polys[i].revoked >= m->revoked;
    }
    assert_true(durable);
    d->marks += marks;
    if (!marks && d->shares++ == 0) {
        d->share_at = d->datagrams;
    }
    d->share_first = m->first;
    d->share_count = m->count;
    d->share_message = m->message;
    if (d->share_result == IOTSEC_KM_DONE && m->key_number >= d->share.generation) {
        if (m->key_number > d->share.generation) {
            assert_true(!marks && m->first == 0);
            memset(&d->share, 0, sizeof d->share);
            d->share.generation = m->key_number;
            d->share.degree = m->degree;
            d->share.gentle = (m->code & IOTSEC_KM_SHARE_GENTLE) != 0;
        }
        held = marks ? d->share.marks : d->share.held;
        if (m->first > held) {
            d->gaps++;
            return;
        }
        d->share.revoked = m->revoked;
        if (marks && m->first + m->count > (int)held) {
            assert_int_equal(m->first, held);
            assert_true(held + m->count <= IOTSEC_REVOKED_MAX);
            memcpy(d->share.mark[held], m->tail, (size_t)m->count * IOTSEC_REVOKED_BYTES);
            d->share.marks = (uint8_t)(held + m->count);
        } else if (!marks && m->first + m->count > (int)held) {
            assert_int_equal(m->first, held);
            assert_int_equal(m->degree, d->share.degree);
            assert_true(held + m->count <= m->degree + 1u);
            memcpy(d->share.elements[held], m->tail, (size_t)m->count * 16);
            d->share.held = (uint16_t)(held + m->count);
        }
    }
    if (!d->share_mute) {
        device_acknowledge(d, m->message, d->share_result);
    }
}
#endif

static inline void device_receive(void *user, iotsec_dtls_handle session, uint32_t peer, uint8_t type, uint8_t *data, size_t len)
{
    struct dev *d = user;
    struct iotsec_km_message m;

    (void)peer;
    assert_int_equal(session, d->session);
    assert_int_equal(iotsec_km_decode(&m, type, data, len), IOTSEC_OK);
    d->received++;
    switch (m.kind) {
    case IOTSEC_KM_MASTER_KEY:
        d->half = m;
        break;
    case IOTSEC_KM_PARAMETERS:
    case IOTSEC_KM_PARAMETERS_EVICTION:
        assert_int_equal(d->half.message, m.message);
        assert_int_equal(d->half.key_number, m.key_number);
        assert_int_equal(d->half.group_id, m.group_id);
        device_install(d, &m);
        break;
    case IOTSEC_KM_ACK:
        assert_int_equal(m.message, (uint8_t)(d->next_id - 1));
        d->answer = m.code;
        d->answers++;
        break;
    case IOTSEC_KM_REFUSED:
        d->refused++;
        d->refused_group = m.group_id;
        d->refused_code = m.code;
        device_acknowledge(d, m.message, IOTSEC_KM_DONE);
        break;
    case IOTSEC_KM_EVICTED:
        d->evicted++;
        device_acknowledge(d, m.message, IOTSEC_KM_DONE);
        break;
    case IOTSEC_KM_GROUP_REMOVED:
        d->removed++;
        device_acknowledge(d, m.message, IOTSEC_KM_DONE);
        break;
    case IOTSEC_KM_ACCESS:
        device_take_access(d, &m);
        break;
    case IOTSEC_KM_PATH_CHECK:
        d->path_checks++;
        d->path_id = m.message;
        if (!d->path_mute) {
            device_acknowledge(d, m.message, IOTSEC_KM_DONE);
        }
        break;
#if IOTSEC_PAIRWISE
    case IOTSEC_KM_SHARE:
    case IOTSEC_KM_REVOKED:
        device_take_share(d, &m);
        break;
#endif
    default:
        fail_msg("kind %u", m.kind);
    }
}

static inline void device_established(void *user, const struct iotsec_dtls_info *info)
{
    struct dev *d = user;

    d->session = info->session;
}

static inline void device_failed(void *user, iotsec_dtls_handle handshake, const struct iotsec_addr *addr, uint32_t peer,
                          enum iotsec_status reason)
{
    (void)handshake;
    (void)addr;
    (void)peer;
    ((struct dev *)user)->failed = reason;
}

static inline void device_closed(void *user, iotsec_dtls_handle session, uint32_t peer, enum iotsec_status reason)
{
    struct dev *d = user;

    (void)peer;
    if (session == d->session) {
        d->session = 0;
        d->closed = reason;
    }
}

static inline enum iotsec_status write_groups(void *user, const struct iotsec_dtls_hello *hello, uint8_t *out, size_t size, size_t *len)
{
    struct dev *d = user;
    size_t i;

    (void)hello;
    if (d->no_extension) {
        return IOTSEC_ERR_NOT_FOUND;
    }
    assert_true(size >= 2 * d->hello_count);
    for (i = 0; i < d->hello_count; i++) {
        iotsec_put_u16(out + 2 * i, d->hello[i]);
    }
    *len = 2 * d->hello_count;
    return IOTSEC_OK;
}

static inline enum iotsec_status parse_groups(void *user, const struct iotsec_dtls_hello *hello, const uint8_t *body, size_t len)
{
    (void)user;
    (void)hello;
    (void)body;
    return len == 0 ? IOTSEC_OK : IOTSEC_ERR_DECODE;
}

static const struct iotsec_dtls_extension device_extensions[] = {
    { IOTSEC_EXTENSION_GROUP_REQUEST, write_groups, parse_groups },
};

/* Power on: nothing is remembered. */
static inline void device_boot(struct dev *d)
{
    iotsec_dtls_wipe(&d->dtls);
    assert_int_equal(iotsec_dtls_init(&d->dtls, &d->config), IOTSEC_OK);
    d->life++;
    d->session = 0;
    d->held_count = 0;
    memset(d->held, 0, sizeof d->held);
    d->accesses = 0;
    d->l2_newest = 0;
    d->l2_use = 0;
}

static inline void device_init(struct dev *d, uint32_t number)
{
    d->number = number;
    d->addr.ip[0] = 0xFD;
    d->addr.ip[15] = (uint8_t)number;
    d->addr.port = 1000;
    d->hal.crypto = crypto;
    d->hal.user = d;
    d->hal.random = rig_random;
    d->hal.now_ms = rig_now;
    d->hal.send = device_send;
    d->callbacks.established = device_established;
    d->callbacks.failed = device_failed;
    d->callbacks.closed = device_closed;
    d->callbacks.receive = device_receive;
    d->config.hal = &d->hal;
    d->config.callbacks = &d->callbacks;
    d->config.user = d;
    d->config.sessions = d->sessions;
    d->config.session_count = 2;
    d->config.handshakes = d->handshakes;
    d->config.handshake_count = 1;
    d->config.extensions = device_extensions;
    d->config.extension_count = 1;
    d->config.tx = d->tx;
    d->config.tx_size = sizeof d->tx;
    d->config.key_management = 1;
    iotsec_put_u32(d->identity, number);
    memset(d->psk, (int)number, sizeof d->psk);
    d->answer = -1;
    assert_int_equal(iotsec_dtls_init(&d->dtls, &d->config), IOTSEC_OK);
}

static inline void device_connect(struct dev *d)
{
    d->session = 0;
    d->next_id = 0;
    d->failed = IOTSEC_OK;
    assert_int_equal(iotsec_dtls_connect(&d->dtls, &rig.addr, d->identity, sizeof d->identity, d->psk, sizeof d->psk, 0, NULL),
                     IOTSEC_OK);
}

static inline void device_join(struct dev *d, uint16_t a, uint16_t b)
{
    d->hello_count = 0;
    if (a != 0) {
        d->hello[d->hello_count++] = a;
    }
    if (b != 0) {
        d->hello[d->hello_count++] = b;
    }
    device_connect(d);
}

static inline void device_request(struct dev *d, uint8_t kind, uint16_t group_id, uint32_t key_number, uint16_t sender_id, uint8_t flags)
{
    struct iotsec_km_message m;

    memset(&m, 0, sizeof m);
    m.kind = kind;
    m.message = d->next_id++;
    m.group_id = group_id;
    m.key_number = key_number;
    m.sender_id = sender_id;
    m.code = flags;
    d->answer = -1;
    device_say(d, &m);
}

/* ---- Time and the wire ---- */

static inline struct dev *device_at(const struct iotsec_addr *addr)
{
    size_t i;

    for (i = 0; i < DEVICES; i++) {
        if (iotsec_addr_equal(&rig.devices[i].addr, addr) || iotsec_addr_equal(&rig.devices[i].also, addr)) {
            return &rig.devices[i];
        }
    }
    return NULL; /* it has moved */
}

static inline void settle(void)
{
    static struct packet p;

    while (rig.queue_len != 0 && iotsec_time_reached(rig.now, rig.queue[0].at)) {
        p = rig.queue[0];
        memmove(&rig.queue[0], &rig.queue[1], --rig.queue_len * sizeof p);
        if (rig.loss != 0 && rig_next_random() % 100 < rig.loss) {
            continue;
        }
        if (iotsec_addr_equal(&p.to, &rig.addr)) {
            (void)iotsec_manager_input(&rig.manager, &p.from, p.data, p.len);
        } else {
            struct dev *d = device_at(&p.to);

            if (d != NULL && !d->deaf) {
                d->datagrams++;
                arriving_commits = p.commits;
                (void)iotsec_dtls_input(&d->dtls, &p.from, p.data, p.len);
            }
        }
    }
}

static inline void run(uint32_t ms)
{
    uint32_t end = rig.now + ms;
    uint32_t turns;

    for (turns = 0; turns < 100000; turns++) {
        uint32_t wait = end - rig.now;
        size_t i;

        settle();
        wait = iotsec_min_u32(wait, iotsec_manager_poll(&rig.manager));
        for (i = 0; i < DEVICES; i++) {
            wait = iotsec_min_u32(wait, iotsec_dtls_poll(&rig.devices[i].dtls));
        }
        if (rig.queue_len != 0) {
            uint32_t left = iotsec_time_left(rig.now, rig.queue[0].at);

            if (left == 0) {
                continue;
            }
            wait = iotsec_min_u32(wait, left);
        }
        if (rig.now == end && wait == 0 && iotsec_manager_poll(&rig.manager) != 0) {
            return;
        }
        rig.now += wait;
    }
    fail_msg("never at rest");
}

/* ---- Set-up ---- */

static inline void group_addr(struct iotsec_addr *addr, uint16_t group_id)
{
    memset(addr, 0, sizeof *addr);
    addr->ip[0] = 0xFF;
    addr->ip[1] = 0x15;
    iotsec_put_u16(addr->ip + 14, group_id);
    addr->port = 5000;
}

static inline void manager_start(void)
{
    assert_int_equal(iotsec_manager_init(&rig.manager, &rig.config), IOTSEC_OK);
}

static inline int setup(void **state)
{
    uint32_t i;
    struct iotsec_addr addr;

    (void)state;
#if defined(IOTSEC_WITH_MBEDTLS)
    crypto = &iotsec_crypto_mbedtls;
#else
    assert_int_equal(psa_crypto_init(), PSA_SUCCESS);
    crypto = &iotsec_crypto_psa;
#endif
    memset(&rig, 0, sizeof rig);
    rig.random = 1;
    rig.now = 0xFFFFF000u; /* the clock comes round during the tests */
    rig.addr.ip[0] = 0xFD;
    rig.addr.port = 2000;
    rig.hal.crypto = crypto;
    rig.hal.user = &rig;
    rig.hal.random = rig_random;
    rig.hal.now_ms = rig_now;
    rig.hal.send = manager_send;
    rig.config.hal = &rig.hal;
    rig.config.callbacks = &callbacks;
    rig.config.registry = &registry;
    rig.config.user = &rig;
    rig.config.sessions = rig.sessions;
    rig.config.session_count = sizeof rig.sessions / sizeof rig.sessions[0];
    rig.config.handshakes = rig.handshakes;
    rig.config.handshake_count = DEVICES;
    rig.config.contacts = rig.contacts;
    rig.config.contact_count = DEVICES;
    rig.config.groups = rig.groups;
    rig.config.group_count = GROUPS;
    rig.config.members = rig.members;
    rig.config.member_count = MEMBERS;
    rig.config.deliveries = rig.deliveries;
    rig.config.delivery_count = DEVICES;
    rig.config.tx = rig.tx;
    rig.config.tx_size = sizeof rig.tx;
    for (i = 0; i < DEVICES; i++) {
        device_init(&rig.devices[i], i + 1);
    }
    manager_start();
    group_addr(&addr, GROUP_A);
    assert_int_equal(iotsec_manager_group_add(&rig.manager, GROUP_A, &addr), IOTSEC_OK);
    group_addr(&addr, GROUP_B);
    assert_int_equal(iotsec_manager_group_add(&rig.manager, GROUP_B, &addr), IOTSEC_OK);
    rig.event_count = 0;
    return 0;
}

static inline int teardown(void **state)
{
    size_t i;

    (void)state;
    iotsec_manager_wipe(&rig.manager);
    for (i = 0; i < DEVICES; i++) {
        iotsec_dtls_wipe(&rig.devices[i].dtls);
    }
    return 0;
}

/* The manager starts anew from what is durable; the devices' sessions lead nowhere from now on. */
static inline void restart(void)
{
    iotsec_manager_wipe(&rig.manager);
    rig.open = false;
    rig.queue_len = 0;
    manager_start();
}

#define DEV(n) (&rig.devices[n])

static inline uint32_t key_number(uint16_t group_id)
{
    return iotsec_manager_key_number(&rig.manager, group_id);
}

/* The device holds the group's present generation, and the sender ID that the registry says. */
static inline void assert_member(struct dev *d, uint16_t group_id)
{
    const struct held *h = find_held(d, group_id);
    const struct iotsec_registry_member *row = find_member(&rig.durable, d->number, group_id);

    assert_non_null(h);
    assert_non_null(row);
    assert_int_equal(h->key_number >> 8, key_number(group_id) >> 8);
    assert_int_equal(h->sender_id, row->sender_id);
    assert_memory_equal(h->rand, find_row(&rig.durable, group_id)->rand, 16);
}

#endif
