/* SPDX-License-Identifier: BSD-3-Clause */
/* A HAL for unit tests: time stands still until the test moves it, and random bytes count up. */
#ifndef IOTSEC_TEST_HAL_SUPPORT_H
#define IOTSEC_TEST_HAL_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <iotsec/hal.h>

#if defined(IOTSEC_WITH_PSA)
#include <psa/crypto.h>
#endif

struct test_hal {
    struct iotsec_hal hal;
    uint32_t now;
    uint8_t next_random;
    int random_fails;
    unsigned sent; /* datagrams handed to send, which drops them */
};

static inline int test_hal_random(void *user, uint8_t *out, size_t len)
{
    struct test_hal *t = user;
    size_t i;

    if (t->random_fails) {
        return -1;
    }
    for (i = 0; i < len; i++) {
        out[i] = t->next_random++;
    }
    return 0;
}

static inline uint32_t test_hal_now(void *user)
{
    return ((struct test_hal *)user)->now;
}

static inline int test_hal_send(void *user, const struct iotsec_addr *to, const uint8_t *data, size_t len)
{
    (void)to;
    (void)data;
    (void)len;
    ((struct test_hal *)user)->sent++;
    return 0;
}

static inline void test_hal_init(struct test_hal *t, const struct iotsec_crypto *crypto)
{
    memset(t, 0, sizeof *t);
    t->hal.crypto = crypto;
    t->hal.user = t;
    t->hal.random = test_hal_random;
    t->hal.now_ms = test_hal_now;
    t->hal.send = test_hal_send;
}

/* The providers that this build has. The PSA one needs psa_crypto_init, done here. */
struct test_provider {
    const char *name;
    const struct iotsec_crypto *crypto;
};

static inline size_t test_providers(struct test_provider out[2])
{
    size_t n = 0;

#if defined(IOTSEC_WITH_MBEDTLS)
    out[n].name = "mbedtls";
    out[n++].crypto = &iotsec_crypto_mbedtls;
#endif
#if defined(IOTSEC_WITH_PSA)
    assert_int_equal(psa_crypto_init(), PSA_SUCCESS);
    out[n].name = "psa";
    out[n++].crypto = &iotsec_crypto_psa;
#endif
    assert_true(n > 0);
    return n;
}

/* Hexadecimal text to bytes; fails the test when it is malformed or too long. */
static inline size_t test_unhex(uint8_t *out, size_t size, const char *hex)
{
    size_t n = strlen(hex) / 2;
    size_t i;

    assert_true(strlen(hex) % 2 == 0 && n <= size);
    for (i = 0; i < n; i++) {
        unsigned v;

        assert_int_equal(sscanf(hex + 2 * i, "%2x", &v), 1);
        out[i] = (uint8_t)v;
    }
    return n;
}

/* A CSV file of the vectors directory, behind its comments and its heading. */
static inline FILE *test_vectors_open(const char *name)
{
    char path[1024];
    char line[4096];
    FILE *f;

    assert_true(snprintf(path, sizeof path, "%s/%s", IOTSEC_VECTORS_DIR, name) < (int)sizeof path);
    f = fopen(path, "r");
    assert_non_null(f);
    do {
        assert_non_null(fgets(line, sizeof line, f));
    } while (line[0] == '#');
    return f;
}

/* The next row, split at its commas into count fields inside line. 0 at the end of the file. */
static inline int test_vectors_row(FILE *f, char *line, size_t size, char **fields, size_t count)
{
    size_t i;

    if (fgets(line, (int)size, f) == NULL) {
        return 0;
    }
    line[strcspn(line, "\r\n")] = '\0';
    for (i = 0; i < count; i++) {
        fields[i] = line;
        line += strcspn(line, ",");
        assert_true((*line == ',') == (i + 1 < count));
        if (*line == ',') {
            *line++ = '\0';
        }
    }
    return 1;
}

#endif
