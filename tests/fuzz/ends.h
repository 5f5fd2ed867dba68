/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two plain DTLS endpoints in static memory, brought to a chosen moment of a real handshake. A snapshot of
 * everything is one memcpy, so each fuzz input starts from the same state at the cost of a copy.
 */
#ifndef IOTSEC_TESTS_FUZZ_ENDS_H
#define IOTSEC_TESTS_FUZZ_ENDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <iotsec/dtls.h>

#define ENDS_QUEUE_MAX 16
#define ENDS_DATAGRAM_MAX 512

enum { END_CLIENT, END_SERVER, END_COUNT };

/* Moments of a handshake; the other end is as far as it has to be. */
enum ends_state {
    ENDS_IDLE,
    ENDS_HELLO_SENT,    /* the client's hello left, and is lost */
    ENDS_COOKIE_SENT,   /* the server's HelloVerifyRequest is on its way */
    ENDS_HELLO_TAKEN,   /* the server's hello flight is on its way */
    ENDS_FINISHED_SENT, /* the client's last flight is on its way */
    ENDS_PSK_PENDING,   /* the server has it, and has to ask for the key */
    ENDS_WRONG_KEY,     /* the server has it, and another key */
    ENDS_HALF_DONE,     /* the server's last flight is on its way */
    ENDS_ESTABLISHED,
    ENDS_STATES
};

struct ends_datagram {
    int from;
    size_t len;
    uint8_t data[ENDS_DATAGRAM_MAX];
};

struct end {
    struct iotsec_addr addr;
    struct iotsec_hal hal;
    struct iotsec_dtls_config config;
    struct iotsec_dtls dtls;
    struct iotsec_dtls_session sessions[3];
    struct iotsec_dtls_handshake handshakes[3];
    uint8_t tx[ENDS_DATAGRAM_MAX];
    iotsec_dtls_handle pending; /* a look-up that waits */
    unsigned established;
    unsigned failed;
    unsigned closed;
    unsigned received;
    enum iotsec_status psk_answer;
    bool wrong_psk;
    bool echo;
    bool inside; /* in a callback: it calls back in */
};

struct ends {
    struct end end[END_COUNT];
    struct ends_datagram queue[ENDS_QUEUE_MAX]; /* not yet delivered; what does not fit is lost */
    size_t queued;
    uint32_t now;
    uint64_t random;
};

extern struct ends ends;

/* Restores the state as it was prepared (once). Bits 0 and 1 of `flags`: the server's cookie policy; bit 4: both ends
 * use Connection IDs. */
void ends_restore(enum ends_state state, uint8_t flags);
/* Delivers the oldest datagram of the queue. False: there was none. */
bool ends_deliver(void);
/* Bytes from the other end's address (or a stranger's) to this one. */
enum iotsec_status ends_input(int to, bool stranger, uint8_t *data, size_t len);
/* The same, as a stateless relay at that address wraps it. `fill`: the joiner. */
enum iotsec_status ends_input_relayed(int to, uint8_t fill, const uint8_t *data, size_t len);
/* Lets time pass and polls both. */
void ends_pass(uint32_t ms);
/* Seals content under the session that `from` has with the other end (or under its handshake's keys), as its
 * next record. Returns the length, 0 if it has no keys. */
size_t ends_seal(int from, uint8_t type, const uint8_t *content, size_t len, uint8_t *out, size_t size);

#endif
