/* SPDX-License-Identifier: BSD-3-Clause */
/* A fuzzer's input read as a script. What is missing at its end is 0, so that every input is one. */
#ifndef IOTSEC_TESTS_FUZZ_SCRIPT_H
#define IOTSEC_TESTS_FUZZ_SCRIPT_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

#define SCRIPT_DATAGRAM_MAX 1600u
#define SCRIPT_STEPS_MAX 100u

static inline uint8_t script_u8(struct iotsec_reader *script)
{
    uint8_t v = 0;

    (void)iotsec_rd_u8(script, &v);
    return v;
}

static inline uint16_t script_u16(struct iotsec_reader *script)
{
    uint8_t high = script_u8(script);

    return (uint16_t)(high << 8 | script_u8(script));
}

/* A length (one byte; 255 is followed by two) and as many bytes, in memory of exactly that size: a sanitizer
 * sees a read behind the end. The caller frees it. */
static inline uint8_t *script_bytes(struct iotsec_reader *script, size_t *len)
{
    size_t wanted = script_u8(script);
    const uint8_t *view = NULL;
    uint8_t *copy;

    if (wanted == 255) {
        wanted = script_u16(script);
    }
    if (wanted > script->left) {
        wanted = script->left;
    }
    if (wanted > SCRIPT_DATAGRAM_MAX) {
        wanted = SCRIPT_DATAGRAM_MAX;
    }
    copy = malloc(wanted != 0 ? wanted : 1);
    if (copy == NULL) {
        abort();
    }
    (void)iotsec_rd_view(script, &view, wanted);
    if (wanted != 0) {
        memcpy(copy, view, wanted);
    }
    *len = wanted;
    return copy;
}

/* Like assert, in every build type: it is what the fuzzer looks for. */
#define script_check(condition)                                                                    \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                       \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
