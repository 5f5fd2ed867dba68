/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Endpoints on a wire in memory, under a virtual clock: the test owns the time, the order, the loss.
 * Nothing here is random but by its seed.
 */
#ifndef IOTSEC_TESTS_UNIT_PAIR_H
#define IOTSEC_TESTS_UNIT_PAIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <iotsec/dtls.h>

#define END_SESSIONS 4
#define END_HANDSHAKES 4
#define END_HASHES 24
#define DATAGRAM_MAX 1500
#define WIRE_MAX 64

struct wire;

/* One endpoint, its storage, and what its callbacks saw. */
struct end {
    struct wire *wire;
    struct iotsec_addr addr;
    struct iotsec_crypto crypto;
    struct iotsec_hal hal;
    struct iotsec_dtls_callbacks callbacks;
    struct iotsec_dtls_config config;
    struct iotsec_dtls dtls;
    struct iotsec_dtls_session sessions[END_SESSIONS];
    struct iotsec_dtls_handshake handshakes[END_HANDSHAKES];
    uint8_t tx[DATAGRAM_MAX];
    uint64_t random;    /* generator's state */
    bool random_fails;
    bool send_fails;
    int crypto_fails;   /* counts down; at 1 an operation fails. 0: never */
    uint32_t hashed;    /* SHA-256 compressions */
    struct {
        const struct iotsec_sha256 *sha;
        uint32_t total;
    } hashes[END_HASHES]; /* states in use */
    uint32_t sent_bytes;
    uint32_t sent_datagrams;
    uint32_t poll_at;
    bool poll_never;

    /* the PSK that a server knows, and how it answers */
    const uint8_t *identity;
    size_t identity_len;
    const uint8_t *psk;
    size_t psk_len;
    uint32_t peer;
    enum iotsec_status psk_answer; /* OK: by the table above; else as it says */
    uint32_t asked;
    iotsec_dtls_handle asked_for;

    /* how a client that has connected without a key answers: `psk` above, or as it says */
    enum iotsec_status client_psk_answer;
    uint32_t client_asked;

    uint32_t established;
    uint32_t failed;
    uint32_t closed;
    uint32_t forgeries;
    struct iotsec_dtls_info info;  /* of the last established; pointers are not valid */
    uint8_t scratch[IOTSEC_HANDSHAKE_SCRATCH_BYTES];
#if IOTSEC_PAIRWISE
    uint8_t peer_identity[IOTSEC_IDENTITY_MAX]; /* info.identity */
    uint8_t exported[IOTSEC_EXPORTED_BYTES];
#endif
    iotsec_dtls_handle failed_handshake;
    enum iotsec_status failed_reason;
    enum iotsec_status first_reason;
    enum iotsec_status closed_reason;
    iotsec_dtls_handle closed_session;
    uint32_t received;
    uint8_t received_type;
    uint8_t data[256];
    size_t data_len;
    char keylog[256];

    /* what a test wants to do inside a callback */
    void (*on_established)(struct end *end, const struct iotsec_dtls_info *info);
    void (*on_failed)(struct end *end, iotsec_dtls_handle handshake, enum iotsec_status reason);
    void (*on_receive)(struct end *end, iotsec_dtls_handle session);
    void (*on_closed)(struct end *end, iotsec_dtls_handle session);
    void (*on_psk)(struct end *end, iotsec_dtls_handle handshake);
    void (*on_client_psk)(struct end *end, const struct iotsec_dtls_hello *hello);
    void (*on_forgeries)(struct end *end, iotsec_dtls_handle session);
};

struct datagram {
    bool used;
    uint32_t at;     /* when it arrives */
    uint32_t order;  /* among those that arrive together */
    struct iotsec_addr from;
    struct iotsec_addr to;
    size_t len;
    uint8_t data[DATAGRAM_MAX];
};

struct wire {
    uint32_t now;
    uint32_t delay_ms;
    uint32_t order;
    uint64_t random;
    uint8_t loss;      /* percent */
    uint8_t duplicate; /* percent */
    uint32_t reorder_ms; /* up to so much more delay */
    struct end *ends[3];
    size_t count;
    struct datagram queue[WIRE_MAX];
    uint32_t delivered;
    /* Sees each datagram as it is sent; may change it. false: it is lost. */
    bool (*filter)(struct wire *wire, struct datagram *datagram);
    void *filter_user;
};

/* A stateless relay on the wire: a filter for joiners that speak to `addr`. */
struct pair_relay {
    struct iotsec_addr addr;
    const struct end *server;
    const struct end *joiners[2];
    size_t header_len[2]; /* each joiner's header: its number, so many times */
    bool stopped;         /* passes nothing on */
};

extern const uint8_t pair_psk[16];
extern const uint8_t pair_identity[15];

/* A pseudo-random number (splitmix64). */
uint64_t wire_random(uint64_t *state);

void wire_init(struct wire *wire, uint64_t seed);
/* Attaches an endpoint with address `number`; config may still be changed before end_start. */
void end_init(struct end *end, struct wire *wire, uint8_t number);
/* Initialises its context. */
void end_start(struct end *end);
/* Gives it a client_psk callback (none if IOTSEC_PAIRWISE is 0); before end_start. */
void end_has_client_psk(struct end *end);
/* Two ends that share pair_psk, started: the usual case. */
void pair_init(struct wire *wire, struct end *client, struct end *server, uint64_t seed);
/* connect with pair_identity and pair_psk. */
iotsec_dtls_handle pair_connect(struct end *client, const struct end *server);

#if IOTSEC_DTLS_CLIENT
/* The same, to any address. */
iotsec_dtls_handle pair_connect_to(struct end *client, const struct iotsec_addr *to);
#endif
/* Puts a relay on the wire, with address `number`, in front of that server. */
void relay_init(struct pair_relay *relay, struct wire *wire, uint8_t number, const struct end *server);
/* What it does with a datagram: wire's filter. */
bool relay_pass(struct wire *wire, struct datagram *datagram);
/* A datagram as that relay wraps it: `header_len` times `fill`. Returns its length. */
size_t relay_wrap(uint8_t *out, uint8_t fill, size_t header_len, const uint8_t *data, size_t len);

/* Puts a datagram on the wire, as if `from` had sent it. */
void wire_inject(struct wire *wire, const struct iotsec_addr *from, const struct iotsec_addr *to, const uint8_t *data,
                 size_t len);
/* Delivers the next datagram that is on its way now; NULL: none. Returns a copy that lives until the next call. */
const struct datagram *wire_step(struct wire *wire);
/* The next datagram that is on its way; NULL: none. */
const struct datagram *wire_peek(struct wire *wire);
/* Lets time pass: delivers, polls. */
void wire_run(struct wire *wire, uint32_t ms);
/* Runs until nothing is on its way, without letting timers expire. */
void wire_settle(struct wire *wire);
/* Forgets what is on its way. */
void wire_clear(struct wire *wire);
/* Sum of all drop counters. */
uint32_t end_drops(const struct end *end);

#endif
