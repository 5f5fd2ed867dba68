/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A manager and two devices in static memory, brought to a chosen moment by their own real traffic. As in
 * ends.h, a snapshot is one memcpy.
 */
#ifndef IOTSEC_TESTS_FUZZ_WORLD_H
#define IOTSEC_TESTS_FUZZ_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <iotsec/device.h>
#include <iotsec/manager.h>

#include "base/bytes.h"
#include "registry_memory.h"

#define WORLD_DEVICES 2
#define WORLD_GROUPS 3
#define WORLD_GROUP 7
#define WORLD_QUEUE_MAX 24
#define WORLD_DATAGRAM_MAX 512
#define WORLD_NVM_SLOTS 8
#define WORLD_NVM_BYTES 128

enum { PARTY_MANAGER, PARTY_FIRST, PARTY_SECOND, PARTY_COUNT };

enum world_state {
    WORLD_IDLE,
    WORLD_HELLO_SENT,    /* the first device's hello is on its way */
    WORLD_FINISHED_SENT, /* its last flight is */
    WORLD_PSK_PENDING,   /* the manager asks elsewhere for its PSK */
    WORLD_KEYS_SENT,     /* its keys are on their way */
    WORLD_KEYS_TAKEN,    /* their acknowledgement is */
    WORLD_ALONE,         /* in the domain and in no group */
    WORLD_JOINED,        /* both devices are in the group */
    WORLD_LEAVING,       /* the first one's leave is on its way */
    WORLD_EVICTED,       /* so says the manager, and the message is on its way */
    WORLD_PERSISTED,     /* the first one was switched off and on, with keys in NVM */
    /* With WORLD_PAIRS, whether it is set or not: */
    WORLD_SHARE_SENT,    /* a share of the next polynomial is on its way to the first one, in pieces */
    WORLD_PAIR_HELLO,    /* its hello to the second one is */
    WORLD_PAIR_SERVER,   /* the second one's hello to the first one is */
    WORLD_PAIR_FINISHED, /* the second one's last flight is */
    WORLD_PAIRED,        /* a session stands between them */
    WORLD_STATES
};

#define WORLD_PAIRS 4u /* in `flags`: the domain has a polynomial and devices have room for its shares */
#define WORLD_DEGREE 3u
#define WORLD_PLACES 2u

struct world_datagram {
    int from;
    struct iotsec_addr to;
    size_t len;
    uint8_t data[WORLD_DATAGRAM_MAX];
};

struct world_device {
    struct iotsec_device_config config;
    struct iotsec_device device;
    struct iotsec_dtls_session sessions[WORLD_PLACES + 2];
    struct iotsec_dtls_handshake handshakes[4];
    struct iotsec_pair pairs[WORLD_PLACES];
    uint8_t shares[2 * IOTSEC_POLY_ELEMENT_BYTES * (WORLD_DEGREE + 1)];
    uint8_t pair_messages[WORLD_PLACES * 16];
    struct iotsec_device_group groups[WORLD_GROUPS];
    struct iotsec_sender senders[WORLD_GROUPS * 4];
    uint8_t tx[WORLD_DATAGRAM_MAX];
    uint8_t nvm[WORLD_NVM_SLOTS][WORLD_NVM_BYTES];
    uint16_t nvm_len[WORLD_NVM_SLOTS];
    unsigned events;
    unsigned messages;
    unsigned told; /* messages of the other device */
    uint8_t last; /* byte of the last one */
    bool joined;
    bool nvm_fails;
    bool calls_back;
};

struct world {
    struct iotsec_addr addr[PARTY_COUNT];
    struct iotsec_hal hal[PARTY_COUNT];
    struct world_device devices[WORLD_DEVICES];
    struct registry_memory registry;
    struct iotsec_manager_config config;
    struct iotsec_manager manager;
    struct iotsec_dtls_session sessions[4];
    struct iotsec_dtls_handshake handshakes[3];
    struct iotsec_manager_contact contacts[3];
    struct iotsec_manager_group groups[WORLD_GROUPS];
    struct iotsec_manager_member members[6];
    struct iotsec_manager_delivery deliveries[3];
    uint8_t tx[WORLD_DATAGRAM_MAX];
    unsigned manager_events;
    struct world_datagram queue[WORLD_QUEUE_MAX];
    size_t queued;
    uint32_t now;
    uint64_t random;
};

extern struct world world;

/* Bits 0 and 1 of `flags`: the manager's cookie policy. */
void world_restore(enum world_state state, uint8_t flags);
bool world_has_pairs(void);
/* One device says something to an identity at an address. */
enum iotsec_status world_tell(int from, int identity, const struct iotsec_addr *addr);
/* What holds of shares, revocations and sessions with other devices at any time. */
void world_check_pairs(int party);
/* Delivers the oldest datagram. False: there was none. */
bool world_deliver(void);
/* The same, after the script has perhaps spoilt, shortened or doubled it. */
void world_change_queue(struct iotsec_reader *script, uint8_t step);
/* Bytes from an address to a party, by unicast or (devices) to the group. */
enum iotsec_status world_input(int to, const struct iotsec_addr *from, bool multicast, uint8_t *data, size_t len);
void world_poll(void);
void world_pass(uint32_t ms);
/* The next record of one party's session with another; 0 without one. */
size_t world_seal(int from, int to, uint8_t type, const uint8_t *content, size_t len, uint8_t *out, size_t size);
struct iotsec_addr world_group_addr(uint16_t group_id);
struct iotsec_device *world_device(int party);

#endif
