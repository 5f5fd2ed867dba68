/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A domain manager's registry in memory, with real transactions: `durable` is what a power loss would
 * leave, `staged` what an open transaction has done so far. It can be told to fail or to die at any
 * operation, and it checks at every commit what must hold for ever: key numbers never go back, a sender ID
 * never gets a second owner within a generation, an L2 number never a second key, and a generation of the
 * polynomial neither other coefficients nor a shorter list of revocations.
 *
 * Its address is the `user` of struct iotsec_manager_config. No heap: a copy of it is a snapshot.
 */
#ifndef IOTSEC_TESTS_REGISTRY_MEMORY_H
#define IOTSEC_TESTS_REGISTRY_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <iotsec/manager.h>

#define REGISTRY_DEVICES_MAX 256u
#define REGISTRY_GROUPS_MAX 8u
#define REGISTRY_MEMBERS_MAX 256u
#define REGISTRY_OWNERS_MAX 4096u /* a power of two */
#define REGISTRY_DEGREE_MAX 63u   /* of the polynomial: every state has room for it */
/* Coefficients a[i][j] with j <= i of all rows before the i-th: those of row i begin there. */
#define REGISTRY_ROW(i) ((size_t)(i) * ((size_t)(i) + 1u) / 2u)

/* What the operator has entered: not part of any transaction. */
struct registry_device {
    uint8_t identity[IOTSEC_IDENTITY_MAX];
    size_t identity_len;
    uint8_t psk[IOTSEC_PSK_MAX];
    size_t psk_len;
    uint16_t groups[REGISTRY_GROUPS_MAX]; /* it may be in */
    size_t group_count;
    uint32_t number;   /* 0: a free slot */
    bool not_admitted; /* found, but not authorised */
    bool slow;         /* its PSK has to be asked for: IOTSEC_ERR_PENDING */
};

/* What transactions change. */
struct registry_state {
    struct iotsec_registry_group groups[REGISTRY_GROUPS_MAX];
    struct iotsec_registry_member members[REGISTRY_MEMBERS_MAX];
    uint32_t evicted[REGISTRY_DEVICES_MAX];
    struct iotsec_registry_access access; /* number 0: none */
    struct iotsec_registry_poly poly;     /* generation 0: none */
    uint8_t coefficients[REGISTRY_ROW(REGISTRY_DEGREE_MAX + 1u)][IOTSEC_POLY_ELEMENT_BYTES];
    size_t coefficient_count; /* that have been written; all of them, once a transaction ends */
    size_t group_count;
    size_t member_count;
    size_t evicted_count;
};

struct registry_memory {
    struct registry_device devices[REGISTRY_DEVICES_MAX];
    struct registry_state durable;
    struct registry_state staged;
    bool open;              /* a transaction is */
    bool dead;              /* killed: nothing works any more until registry_revive */
    unsigned operations;    /* begin, put, delete, commit: counted from 1 */
    unsigned commits;       /* that became durable */
    unsigned fail_at;       /* the operation with this number fails; 0: none */
    unsigned fail_count;    /* and so many after it */
    unsigned kill_at;       /* the manager dies in this operation; 0: never */
    bool kill_after_commit; /* if that is a commit: once it is durable, rather than before */
    iotsec_dtls_handle pending[16]; /* look-ups that wait, and for whom; 0: none */
    uint32_t pending_device[16];
    const char *broken; /* a sentence, once something happened that must never happen */
    void *owner;        /* the test's */
    /* Owners of (group, generation, sender ID), as a hash table that only grows. */
    struct registry_owner {
        uint32_t generation; /* the beginning of its RAND */
        uint32_t device;     /* 0: free */
        uint16_t group_id;
        uint16_t sender_id;
    } owners[REGISTRY_OWNERS_MAX];
    size_t owner_count;
};

extern const struct iotsec_registry registry_memory;

void registry_init(struct registry_memory *registry, void *owner);
/* A device that the operator enters. Returns its slot, for the flags; number is not 0. */
struct registry_device *registry_add_device(struct registry_memory *registry, uint32_t number, const void *identity,
                                            size_t identity_len, const uint8_t *psk, size_t psk_len);
void registry_allow(struct registry_device *device, uint16_t group_id);
struct registry_device *registry_device(struct registry_memory *registry, uint32_t number);
const struct iotsec_registry_group *registry_group(const struct registry_memory *registry, uint16_t group_id);
/* NULL if the device is no member. */
const struct iotsec_registry_member *registry_member(const struct registry_memory *registry, uint32_t device,
                                                     uint16_t group_id);
bool registry_evicted(const struct registry_memory *registry, uint32_t device);
/* Lets an evicted device in again. */
void registry_readmit(struct registry_memory *registry, uint32_t device);

/* After a kill: what was staged is lost, what was durable stands. */
void registry_revive(struct registry_memory *registry);
/* An old backup is put in place of the present state. */
void registry_restore(struct registry_memory *registry, const struct registry_state *backup);

#endif
