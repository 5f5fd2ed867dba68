/* SPDX-License-Identifier: BSD-3-Clause */
#include "aes.h"

#include <string.h>

#include "regs.h"

/* The self-test takes 3330 clocks, a block 13, both kinds at once 26; a turn of the loop is four at least. */
#define TEST_TURNS 80000u
#define BLOCK_TURNS 650u

static const uint8_t zero[16];

static uint32_t load(const uint8_t *in)
{
    return (uint32_t)in[0] << 24 | (uint32_t)in[1] << 16 | (uint32_t)in[2] << 8 | in[3];
}

/* Register 0 takes the first four bytes, the first of them as the highest. */
static void put(volatile uint32_t *registers, const uint8_t in[16])
{
    unsigned i;

    for (i = 0; i < 4; i++) {
        registers[i] = load(in + 4 * i);
    }
}

static void get(const volatile uint32_t *registers, uint8_t out[16])
{
    unsigned i;

    for (i = 0; i < 4; i++, out += 4) {
        uint32_t word = registers[i];

        out[0] = (uint8_t)(word >> 24);
        out[1] = (uint8_t)(word >> 16);
        out[2] = (uint8_t)(word >> 8);
        out[3] = (uint8_t)word;
    }
}

/*
 * Runs the module once. DONE is sticky: a start does not clear it, and a loop that finds the last one reads the last
 * result. It is cleared before and after. BYPASS is looked at behind every block: with it, plaintext would come out.
 */
static enum aes_status run(uint32_t mode)
{
    enum aes_status status = AES_TIMEOUT;
    unsigned turns;

    ASM_CONTROL1 = ASM_ON | ASM_NORMAL_MODE | ASM_MASK_IRQ | mode;
    ASM_CONTROL0 = ASM_CLEAR_IRQ;
    ASM_CONTROL0 = ASM_START;
    for (turns = 0; turns < BLOCK_TURNS; turns++) {
        if (ASM_STATUS & ASM_DONE) {
            status = ASM_CONTROL1 & ASM_BYPASS ? AES_BYPASS : AES_OK;
            break;
        }
    }
    ASM_CONTROL0 = ASM_CLEAR_IRQ;
    return status;
}

enum aes_status aes_block(const uint8_t key[16], const uint8_t in[16], uint8_t out[16])
{
    enum aes_status status;

    put(&ASM_KEY, key);
    put(&ASM_DATA, zero);
    put(&ASM_CTR, in);
    status = run(ASM_CTR_MODE);
    if (status == AES_OK) {
        get(&ASM_CTR_RESULT, out);
    } else {
        memset(out, 0, 16);
    }
    return status;
}

enum aes_status aes_ccm_step(const uint8_t key[16], int opening, const uint8_t counter[16], uint8_t mac[16],
                             const uint8_t in[16], uint8_t out[16])
{
    enum aes_status status;

    put(&ASM_KEY, key);
    put(&ASM_MAC, mac);
    put(&ASM_CTR, counter);
    put(&ASM_DATA, in);
    ASM_CONTROL0 = ASM_LOAD_MAC;
    /* CBC goes over the data register: that is the plaintext only when sealing. */
    status = run(opening ? ASM_CTR_MODE : ASM_CTR_MODE | ASM_CBC_MODE);
    if (status == AES_OK) {
        get(&ASM_CTR_RESULT, out);
        if (opening) {
            put(&ASM_DATA, out);
            status = run(ASM_CBC_MODE);
        }
    }
    if (status == AES_OK) {
        get(&ASM_CBC_RESULT, mac);
    } else {
        memset(out, 0, 16);
        memset(mac, 0, 16);
    }
    return status;
}

enum aes_status aes_start_up(void)
{
    static const uint8_t key[16] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };
    static const uint8_t plain[16] = { 0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
                                       0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff };
    static const uint8_t cipher[16] = { 0x69, 0xc4, 0xe0, 0xd8, 0x6a, 0x7b, 0x04, 0x30,
                                        0xd8, 0xcd, 0xb7, 0x80, 0x70, 0xb4, 0xc5, 0x5a };
    uint8_t out[16], mac[16];
    enum aes_status status;
    unsigned turns;
    int opening;

    ASM_CONTROL1 = ASM_ON | ASM_SELF_TEST | ASM_MASK_IRQ;
    ASM_CONTROL0 = ASM_START;
    for (turns = 0; !(ASM_STATUS & ASM_TEST_PASS); turns++) {
        if (turns == TEST_TURNS) {
            return AES_SELF_TEST;
        }
    }
    status = aes_block(key, plain, out);
    if (status == AES_OK && memcmp(out, cipher, 16) != 0) {
        status = memcmp(out, plain, 16) == 0 ? AES_BYPASS : AES_KNOWN_ANSWER;
    }
    /* Both directions of a CCM step: with this counter and this MAC key stream and tag are the same known block. */
    for (opening = 0; status == AES_OK && opening < 2; opening++) {
        memcpy(mac, plain, 16);
        status = aes_ccm_step(key, opening, plain, mac, opening ? cipher : zero, out);
        if (status == AES_OK && (memcmp(mac, cipher, 16) != 0 || memcmp(out, opening ? zero : cipher, 16) != 0)) {
            status = AES_KNOWN_ANSWER;
        }
    }
    return status;
}

const char *aes_fault(enum aes_status status)
{
    switch (status) {
    case AES_SELF_TEST:
        return "aes-self-test";
    case AES_TIMEOUT:
        return "aes-timeout";
    case AES_BYPASS:
        return "aes-bypass";
    case AES_KNOWN_ANSWER:
        return "aes-known-answer";
    default:
        return NULL;
    }
}
