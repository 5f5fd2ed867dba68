/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Our DTLS and others', linked from the system's packages, under one driver: see stacks.h.
 *
 *     peers versions                              name and version of each
 *     peers speed STACK                           to be run under callgrind: writes a profile for each measurement, named
 *                                                 handshake, handshake-cookie, record-16 ...
 *     peers rate SECONDS                          handshakes a second of every stack, in turns; client and server in one thread
 *     peers work                                  SHA-256 blocks, AES blocks and keys of one handshake of ours
 *     peers plain STACK COOKIE                    one line a datagram of one handshake: time, who sent it, bytes
 *     peers loss STACK LOSS BURST FIRST COUNT     one line a handshake, with cookies: seed; time when the client was done, in
 *                                                 ms, -1 if not within a minute; datagrams and bytes until then
 *
 * LOSS in permille of all datagrams, 10 ms one way. BURST 0: independent; else mean length of a burst (Gilbert-Elliott).
 */
#include "stacks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <valgrind/callgrind.h>

#define HORIZON_MS 60000
#define DELAY_MS 10
#define LATE_MS 5 /* a stack whose time has come is not asked again before */
#define QUEUE 64
#define WARM_UP 4  /* handshakes before the first that counts: symbols are bound, tables made */
#define COUNTED 10 /* handshakes, and records of each size */
#define EPOCH 1700000000

static const struct stack *const stacks[] = { &stack_iotsec, &stack_mbedtls, &stack_openssl, &stack_gnutls };
#define STACKS (sizeof stacks / sizeof stacks[0])

const uint8_t bench_psk[16] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 };

void bench_die(const char *what)
{
    fprintf(stderr, "peers: %s\n", what);
    exit(1);
}

/* ---- Time, for everybody in this process ---- */

static uint64_t now;

uint64_t bench_now(void)
{
    return now;
}

int gettimeofday(struct timeval *restrict value, void *restrict zone)
{
    (void)zone;
    value->tv_sec = EPOCH + (time_t)(now / 1000);
    value->tv_usec = (suseconds_t)(now % 1000 * 1000);
    return 0;
}

int clock_gettime(clockid_t clock, struct timespec *value)
{
    (void)clock;
    value->tv_sec = EPOCH + (time_t)(now / 1000);
    value->tv_nsec = (long)(now % 1000 * 1000000);
    return 0;
}

int timespec_get(struct timespec *value, int base)
{
    (void)clock_gettime(CLOCK_REALTIME, value);
    return base;
}

time_t time(time_t *value)
{
    if (value != NULL) {
        *value = EPOCH + (time_t)(now / 1000);
    }
    return EPOCH + (time_t)(now / 1000);
}

static double true_seconds(void)
{
    struct timespec value = { 0, 0 };

    (void)syscall(SYS_clock_gettime, CLOCK_PROCESS_CPUTIME_ID, &value);
    return (double)value.tv_sec + (double)value.tv_nsec / 1e9;
}

/* ---- Chance (splitmix64) ---- */

static uint64_t dice;
static uint64_t material = 1;

static uint64_t draw(uint64_t *state)
{
    uint64_t z = (*state += 0x9E3779B97F4A7C15u);

    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

void bench_random(void *out, size_t len)
{
    uint8_t *bytes = out;

    while (len-- > 0) {
        *bytes++ = (uint8_t)(draw(&material) >> 24);
    }
}

static int chance(double probability)
{
    return (double)(draw(&dice) >> 11) < probability * 9007199254740992.0;
}

/* ---- The link ---- */

struct flight {
    uint64_t at;
    struct end *to;
    size_t len;
    uint8_t data[BENCH_DATAGRAM_MAX];
};

static struct link {
    const struct stack *stack;
    struct end *ends[2]; /* client, server */
    struct flight queue[QUEUE];
    size_t first, count; /* a ring: all take equally long */
    double loss, to_bad, to_good;
    int bursts, bad, trace;
    uint64_t delay;
    unsigned datagrams, bytes;
} link_state;

static void put(struct end *end, const uint8_t *data, size_t len)
{
    struct link *link = end->link;
    struct flight *flight;

    link->datagrams++;
    link->bytes += (unsigned)len;
    if (link->trace) {
        printf("%u %s %u\n", (unsigned)now, end->is_server ? "server" : "client", (unsigned)len);
    }
    if (link->bursts) {
        link->bad = link->bad ? !chance(link->to_good) : chance(link->to_bad);
    }
    if (link->bursts ? link->bad : link->loss > 0 && chance(link->loss)) {
        return;
    }
    if (link->count == QUEUE || len > BENCH_DATAGRAM_MAX) {
        bench_die("more on the link than there is room for");
    }
    flight = &link->queue[(link->first + link->count++) % QUEUE];
    flight->at = now + link->delay;
    flight->to = link->ends[!end->is_server];
    flight->len = len;
    memcpy(flight->data, data, len);
}

static void open_link(struct link *link, const struct stack *stack, int cookie)
{
    int i;

    link->stack = stack;
    link->first = link->count = 0;
    link->datagrams = link->bytes = 0;
    for (i = 0; i < 2; i++) {
        link->ends[i] = stack->open(i, cookie);
        link->ends[i]->out = put;
        link->ends[i]->link = link;
    }
}

static void close_link(struct link *link)
{
    link->stack->close(link->ends[0]);
    link->stack->close(link->ends[1]);
}

/* The next datagram's stack has it. NULL: there is none. */
static struct end *deliver(struct link *link)
{
    struct flight *flight = &link->queue[link->first];

    if (link->count == 0) {
        return NULL;
    }
    link->first = (link->first + 1) % QUEUE;
    link->count--;
    flight->to->in = flight->data;
    flight->to->in_len = flight->len;
    return flight->to;
}

/* At once and without loss. */
static void shake_hands(struct link *link)
{
    struct end *end;

    link->stack->run(link->ends[0]);
    while ((end = deliver(link)) != NULL) {
        link->stack->run(end);
    }
    if (!link->ends[0]->done || !link->ends[1]->done) {
        bench_die(link->stack->name);
    }
}

/* Until the client is done, or the time is over. */
static int shake_hands_in_time(struct link *link)
{
    const struct stack *stack = link->stack;
    uint64_t started = now;
    uint64_t ran_at[2] = { 0, 0 }; /* because its time had come */

    stack->run(link->ends[0]);
    while (!link->ends[0]->done && !link->ends[0]->failed) {
        uint64_t next = link->count != 0 ? link->queue[link->first].at : BENCH_NEVER;
        int due = -1;
        int i;

        for (i = 0; i < 2; i++) {
            uint64_t deadline = stack->deadline(link->ends[i]);

            /* one that stays late (GnuTLS' client, once it has part of a flight) must not keep the other from its turn */
            if (deadline < ran_at[i] + LATE_MS) {
                deadline = ran_at[i] + LATE_MS;
            }
            /* a datagram first, if both come at once */
            if (deadline < next) {
                next = deadline;
                due = i;
            }
        }
        if (next == BENCH_NEVER || next > started + HORIZON_MS) {
            return -1;
        }
        now = next > now ? next : now;
        if (due >= 0) {
            ran_at[due] = now;
            stack->run(link->ends[due]);
        } else {
            stack->run(deliver(link));
        }
    }
    return link->ends[0]->done ? (int)(now - started) : -1;
}

/* ---- Measurements ---- */

static void count_handshakes(const struct stack *stack, int cookie, const char *name)
{
    int i;

    for (i = 0; i < WARM_UP + COUNTED; i++) {
        if (i == WARM_UP) {
            CALLGRIND_ZERO_STATS;
        }
        open_link(&link_state, stack, cookie);
        shake_hands(&link_state);
        close_link(&link_state);
    }
    CALLGRIND_DUMP_STATS_AT(name);
}

static void count_records(const struct stack *stack)
{
    static const unsigned sizes[] = { 16, 64, 256, 1024 };
    uint8_t data[1024];
    uint8_t got[1024];
    char name[32];
    size_t k;
    int i;

    memset(data, 0x5A, sizeof data);
    open_link(&link_state, stack, 0);
    shake_hands(&link_state);
    for (k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
        for (i = 0; i < WARM_UP + COUNTED; i++) {
            struct end *to;

            if (i == WARM_UP) {
                CALLGRIND_ZERO_STATS;
            }
            if (stack->send(link_state.ends[0], data, sizes[k]) != 0 || (to = deliver(&link_state)) == NULL ||
                stack->receive(to, got, sizeof got) != (int)sizes[k]) {
                bench_die("a record was not received");
            }
        }
        snprintf(name, sizeof name, "record-%u", sizes[k]);
        CALLGRIND_DUMP_STATS_AT(name);
        if (memcmp(got, data, sizes[k]) != 0) {
            bench_die("another record was received");
        }
    }
    close_link(&link_state);
}

static void measure_rate(double seconds)
{
    double spent[STACKS][2] = { { 0 } };
    unsigned done = 0;
    size_t k;
    int cookie;
    int i;

    while (spent[0][0] * 2 * STACKS < seconds) {
        for (cookie = 0; cookie < 2; cookie++) {
            for (k = 0; k < STACKS; k++) {
                double before = true_seconds();

                for (i = 0; i < 50; i++) {
                    open_link(&link_state, stacks[k], cookie);
                    shake_hands(&link_state);
                    close_link(&link_state);
                }
                spent[k][cookie] += true_seconds() - before;
            }
        }
        done += 50;
    }
    for (k = 0; k < STACKS; k++) {
        printf("%s %.0f %.0f\n", stacks[k]->name, done / spent[k][0], done / spent[k][1]);
    }
}

static void print_work(void)
{
    int cookie;

    bench_count_work(1);
    for (cookie = 0; cookie < 2; cookie++) {
        open_link(&link_state, &stack_iotsec, cookie);
        bench_count_work(1); /* what an endpoint draws at its start does not belong to a handshake */
        shake_hands(&link_state);
        printf("%s %lu %lu %lu\n", cookie ? "handshake-cookie" : "handshake", bench_work.sha_blocks, bench_work.aes_blocks,
               bench_work.aes_keys);
        close_link(&link_state);
    }
}

static void print_lossy(const struct stack *stack, unsigned loss, unsigned burst, uint64_t seed)
{
    struct link *link = &link_state;
    int done;

    dice = seed * 0xA0761D6478BD642Fu + 1;
    material = seed * 0xE7037ED1A0B428DBu + 1;
    link->delay = DELAY_MS;
    link->loss = loss / 1000.0;
    link->bursts = burst != 0;
    if (burst != 0) {
        link->to_good = 1.0 / burst;
        link->to_bad = loss / (1000.0 - loss) / burst;
        link->bad = chance(link->loss);
    }
    open_link(link, stack, 1);
    done = shake_hands_in_time(link);
    printf("%u %d %u %u\n", (unsigned)seed, done, link->datagrams, link->bytes);
    close_link(link);
}

int main(int argc, char **argv)
{
    const struct stack *stack = NULL;
    const char *what = argc > 1 ? argv[1] : "";
    size_t k;

    for (k = 0; k < STACKS; k++) {
        if (argc > 2 && strcmp(argv[2], stacks[k]->name) == 0) {
            stack = stacks[k];
        }
    }
    for (k = 0; k < STACKS; k++) {
        if (stack == NULL || stack == stacks[k]) {
            stacks[k]->start();
        }
    }
    if (strcmp(what, "versions") == 0) {
        for (k = 0; k < STACKS; k++) {
            printf("%s %s\n", stacks[k]->name, stacks[k]->version());
        }
    } else if (strcmp(what, "speed") == 0 && stack != NULL) {
        count_handshakes(stack, 0, "handshake");
        count_handshakes(stack, 1, "handshake-cookie");
        count_records(stack);
    } else if (strcmp(what, "rate") == 0 && argc == 3) {
        measure_rate(atof(argv[2]));
    } else if (strcmp(what, "work") == 0) {
        print_work();
    } else if (strcmp(what, "plain") == 0 && stack != NULL && argc == 4) {
        link_state.trace = 1;
        link_state.delay = DELAY_MS;
        open_link(&link_state, stack, atoi(argv[3]));
        if (shake_hands_in_time(&link_state) < 0) {
            bench_die("no handshake");
        }
        close_link(&link_state);
    } else if (strcmp(what, "loss") == 0 && stack != NULL && argc == 7) {
        uint64_t seed = strtoull(argv[5], NULL, 10);
        uint64_t end = seed + strtoull(argv[6], NULL, 10);

        for (; seed < end; seed++) {
            print_lossy(stack, (unsigned)atoi(argv[3]), (unsigned)atoi(argv[4]), seed);
        }
    } else {
        fprintf(stderr, "usage: see bench/peers.c\n");
        return 2;
    }
    return 0;
}
