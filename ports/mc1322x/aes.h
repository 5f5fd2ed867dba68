/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * AES-128 encryption by the chip's advanced security module (ASM). For the main loop alone: an interrupt handler never
 * comes here. The module has one set of registers, and every call loads its key anew, so nothing is left to a caller
 * between two calls.
 */
#ifndef MC1322X_AES_H
#define MC1322X_AES_H

#include <stdint.h>

enum aes_status {
    AES_OK = 0,
    AES_SELF_TEST = -1,    /* the module's own test did not pass: it stays inert */
    AES_TIMEOUT = -2,      /* DONE did not come within a hundred times its time */
    AES_BYPASS = -3,       /* the module passes data through as they are */
    AES_KNOWN_ANSWER = -4, /* FIPS-197, C.1, came out differently */
};

/** Switches the module on: its self-test, then a known answer. Before it has returned AES_OK nothing else works. */
enum aes_status aes_start_up(void);

/** out = AES(key, in); `out` may be `in`. AES_TIMEOUT or AES_BYPASS leave zeros in `out`. */
enum aes_status aes_block(const uint8_t key[16], const uint8_t in[16], uint8_t out[16]);

/** One step of CCM as iotsec_crypto's ccm_step has it (iotsec/hal.h): mac = AES(mac ^ plain), out = in ^ AES(counter). */
enum aes_status aes_ccm_step(const uint8_t key[16], int opening, const uint8_t counter[16], uint8_t mac[16],
                             const uint8_t in[16], uint8_t out[16]);

/** The name of the fault that a status is; NULL: none. */
const char *aes_fault(enum aes_status status);

#endif
