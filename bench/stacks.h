/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What every DTLS stack looks like to bench/peers.c: one side of one connection takes datagrams, sends datagrams and has a
 * deadline. Each stack keeps its keys and contexts from one connection to the next, as its documentation advises, and makes
 * everything else anew. All speak DTLS 1.2 with TLS_PSK_WITH_AES_128_CCM_8, extended master secret, no tickets, one PSK of 16
 * bytes for one identity of 15.
 */
#ifndef IOTSEC_BENCH_STACKS_H
#define IOTSEC_BENCH_STACKS_H

#include <stddef.h>
#include <stdint.h>

#define BENCH_IDENTITY "lamp-kitchen-01"
#define BENCH_NEVER UINT64_MAX
#define BENCH_DATAGRAM_MAX 2048

struct end {
    int is_server;
    int cookie; /* a server asks for one */
    int done;   /* its handshake is */
    int failed;
    /* The datagram to be read next; the stack takes it by setting it to NULL. It may be written to. */
    uint8_t *in;
    size_t in_len;
    void (*out)(struct end *end, const uint8_t *data, size_t len);
    void *link;
};

struct stack {
    const char *name;
    const char *(*version)(void);
    void (*start)(void); /* once */
    struct end *(*open)(int is_server, int cookie);
    void (*close)(struct end *end); /* forgets it; sends nothing */
    void (*run)(struct end *end);   /* begins the handshake; goes on with it, or looks after it, when a datagram or the time has come */
    uint64_t (*deadline)(const struct end *end); /* when `run` is to be called though nothing came, in ms */
    int (*send)(struct end *end, const uint8_t *data, size_t len); /* 0: it left */
    int (*receive)(struct end *end, uint8_t *data, size_t size);  /* what is in the datagram that came: its length, or -1 */
};

extern const struct stack stack_iotsec, stack_mbedtls, stack_openssl, stack_gnutls;

extern const uint8_t bench_psk[16];
/* Virtual time in ms. The C library's clocks show it too, to the stacks that look there. */
uint64_t bench_now(void);
/* Not random: the same in every run. */
void bench_random(void *out, size_t len);
/* Work counted by the operations below stack_iotsec: SHA-256 blocks, AES blocks and AES keys. */
struct bench_work {
    unsigned long sha_blocks, aes_blocks, aes_keys;
};
extern struct bench_work bench_work;
void bench_count_work(int on);
void bench_die(const char *what);

#endif
